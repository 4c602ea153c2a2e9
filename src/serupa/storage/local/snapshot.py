"""What a snapshot of a server's shard holds, read by the embedded engine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from serupa.storage.base import Point
from serupa.storage.engine import point_of
from serupa.storage.local.guard import guarded

_BATCH = 256


def points_of_snapshot(snapshot: Path, scratch: Path, vectors: tuple[str, ...]) -> Iterator[list[Point]]:
    """Yield every point of a snapshot, in batches, with the vectors named.

    Parameters
    ----------
    snapshot : Path
        As the server gave it.
    scratch : Path
        A directory that is not there: it is unpacked into it, and removed at the end.
    vectors : tuple of str

    Raises
    ------
    UnavailableError
        If the engine cannot read it: that of another version may.
    """
    import qdrant_edge

    guarded(snapshot, lambda: qdrant_edge.EdgeShard.unpack_snapshot(str(snapshot), str(scratch)))
    shard = guarded(snapshot, lambda: qdrant_edge.EdgeShard.load(str(scratch)))
    try:
        offset = None
        while True:
            request = qdrant_edge.ScrollRequest(
                limit=_BATCH, offset=offset, with_payload=True, with_vector=list(vectors)
            )
            records, offset = guarded(snapshot, lambda: shard.scroll(request))  # noqa: B023
            if records:
                yield [point_of(record) for record in records]
            if offset is None:
                return
    finally:
        shard.close()
        shutil.rmtree(scratch, ignore_errors=True)
