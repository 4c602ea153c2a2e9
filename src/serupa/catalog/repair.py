"""Repair of a catalogue in a directory: what can still be read of it is written anew."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from serupa.catalog import Catalog
from serupa.catalog.backup import check, damaged_photos
from serupa.catalog.reindex import rewrite
from serupa.errors import DamagedError
from serupa.storage.base import grouped
from serupa.storage.local.backend import LocalBackend
from serupa.storage.local.integrity import ChecksumManifest
from serupa.storage.local.tally import NAME as TALLY

if TYPE_CHECKING:
    from serupa.storage.local.store import LocalStore


@dataclass(frozen=True, slots=True)
class Repair:
    """What came of a repair.

    Parameters
    ----------
    items : int
        How many there are now.
    lost : int
        How many could not be read any more.
    is_proven : bool
        Whether those that are there are as they were stored. Where not, the next indexing encodes them again.
    photos : tuple of str
        Photos that the catalogue keeps and that are damaged: add their items again.
    """

    items: int
    lost: int = 0
    is_proven: bool = True
    photos: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return asdict(self)


def repair(catalog: str | os.PathLike[str], *, wait_s: float = 0.0) -> Repair:
    """Mend a catalogue in a directory: leave one that is whole, else write anew what can be read.

    Indexes, graphs and checksums are made again from the items. The files in use stay what they are until the
    new ones are complete.

    Raises
    ------
    DamagedError
        If ``catalog.json`` or the tuning is damaged: restore a backup.
    UnavailableError
        If the engine cannot read what is left, or there is no room.
    """
    path = Path(catalog)
    photos = tuple(map(str, damaged_photos(path / "photos")))
    if not photos:
        try:
            return Repair(check(path, wait_s=wait_s))
        except DamagedError:
            pass
    backend = LocalBackend(path)
    directory = path / backend.load().store
    backend.lock(wait_s)
    try:
        ChecksumManifest(directory).forget()
    finally:
        backend.close()
    try:
        with Catalog.open(path, wait_s=wait_s) as opened:  # compared with what was stored
            rewrite(opened, opened.manifest, opened.schema.map.whitening)
            return Repair(opened.count(), photos=photos)
    except DamagedError as error:
        if error.subject not in (directory, directory / TALLY):
            raise
    (directory / TALLY).unlink(missing_ok=True)
    with Catalog.open(path, wait_s=wait_s) as opened:
        lost = cast("LocalStore", opened.store).drop_unreadable()
        rewrite(opened, opened.manifest, opened.schema.map.whitening)
        _encode_again(opened, path / "photos")
        return Repair(opened.count(), lost, is_proven=False, photos=photos)


def _encode_again(catalog: Catalog, kept: Path) -> None:
    """Have the next indexing take no item for known, but those whose photos the catalogue keeps itself."""
    payloads = (
        dict(point.payload) | {"content": ""}
        for batch in catalog.store.scroll()
        for point in batch
        if Path(point.payload["image"]).parent != kept.resolve()
    )
    for batch in grouped(list(payloads), 256):
        catalog.store.replace_payloads(batch)
    catalog.store.optimize()
