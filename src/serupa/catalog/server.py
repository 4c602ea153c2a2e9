"""What only a catalogue on a server has: shards and replicas, whether they are whole, and other ones."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serupa.catalog.archive import Kind, read_archive, write_archive
from serupa.catalog.catalog import Catalog
from serupa.catalog.copy import difference
from serupa.catalog.reindex import rewrite
from serupa.errors import ConflictError, DamagedError, SerupaError, UnavailableError, UsageError
from serupa.items import OWN_FIELDS, is_attribute_name
from serupa.progress import Progress, silent
from serupa.storage.base import Point
from serupa.storage.engine import point_uuid
from serupa.storage.local.backend import LocalBackend
from serupa.storage.local.snapshot import points_of_snapshot
from serupa.storage.manifest import CatalogManifest, StoreLayout, replace
from serupa.storage.qdrant.address import parse_address
from serupa.storage.qdrant.backend import QdrantBackend
from serupa.storage.qdrant.lease import Lease
from serupa.storage.qdrant.scaling import scale as scale_collection
from serupa.storage.qdrant.snapshots import download, upload
from serupa.storage.qdrant.store import QdrantStore

KIND: Kind = "serupa server backup 1"

_SNAPSHOT = re.compile(r"shards/(\d+)\.snapshot")
_ROUNDING = 1e-5
_NAMED = 1000


@dataclass(slots=True)
class ServerReport:
    """What a look at a catalogue on a server found.

    Parameters
    ----------
    items : int
        How many it holds.
    server : dict
        How the server keeps it: ``nodes``, ``placement``, ``transfers``, ``deviations`` and more.
    faults : list of str
        What is wrong with the points themselves, in words.
    """

    items: int
    server: dict[str, Any]
    faults: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {"items": self.items, "server": self.server, "faults": self.faults}

    def problem(self, subject: object) -> SerupaError | None:
        """Return the error that it amounts to; None where all is well."""
        if self.faults:
            return DamagedError(subject, "; ".join(self.faults), "restore a backup, or index again")
        if self.server["deviations"]:
            return UnavailableError(subject, "; ".join(self.server["deviations"]))
        return None


def check(catalog: Catalog, *, deep: bool = False, progress: Progress | None = None) -> ServerReport:
    """Look at a catalogue on a server.

    Parameters
    ----------
    catalog : Catalog
    deep : bool
        Read every point from every node that the address names, and compare: a node answers from its own
        replicas where it has them.
    progress : callable, optional

    Raises
    ------
    DamagedError
        If the tuning is not what was kept.
    UnavailableError
        If the server does not answer.
    """
    backend, store = _on_server(catalog)
    items = store.count()
    catalog.schema.map.whitening  # noqa: B018 -- refuses one that is not what was kept
    known = backend.describe()["server"] | backend.status()
    report = ServerReport(items, known)
    for name in catalog.manifest.dimensions:
        if without := store.count_without(name):
            report.faults.append(f"{without} points have no {name} vector")
    fields = [
        name
        for name, kind in (OWN_FIELDS | catalog.manifest.fields).items()
        if kind != "words" and (name in OWN_FIELDS or is_attribute_name(name))
    ]
    if items and (unindexed := store.unindexed(fields)):
        report.faults.append(f"no index on {', '.join(unindexed)}: index again with the same command")
    counts = _counts(backend, store)
    if len(set(counts.values())) > 1 and len(set((counts := _counts(backend, store)).values())) > 1:
        told = ", ".join(f"{count:,} on {node}" for node, count in counts.items())
        report.faults.append(f"replicas disagree about how many points there are: {told}")
    if deep:
        names = tuple(catalog.manifest.dimensions)
        report.faults += _compare(backend, store, names, items, progress or silent)
    return report


def scale(
    catalog: Catalog,
    *,
    shards: int | None = None,
    replicas: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Keep a catalogue in other shards or replicas, evenly spread over the nodes; it serves meanwhile.

    Replicas are copied, moved and dropped by the cluster. Another number of shards takes a collection made
    anew beside the one in use, and the disk space of both until it is switched to.

    Parameters
    ----------
    catalog : Catalog
    shards, replicas : int, optional
        As they are unless given: then replicas are spread over the nodes that there are now.
    progress : callable, optional

    Returns
    -------
    dict
        As `serupa.storage.qdrant.backend.QdrantBackend.status`.

    Raises
    ------
    UsageError
        If the catalogue is in a directory.
    ConflictError
        If it is being switched over.
    UnavailableError
        If a node does not answer, there are too few, or the server does not end a transfer.
    """
    backend, store = _on_server(catalog)
    kept = catalog.manifest.layout or StoreLayout()
    wanted = replace(kept, shards=shards or kept.shards, replicas=replicas or kept.replicas)
    if wanted.write_consistency > wanted.replicas:
        raise UsageError("--replicas", f"write_consistency={kept.write_consistency} needs as many")
    tell = progress or silent
    if shards is not None and shards != backend.describe()["server"]["shards"]:
        manifest = replace(catalog.manifest, layout=wanted)
        rewrite(catalog, manifest, catalog.schema.map.whitening, tell)
    else:
        connection, tuning = backend.connection.patient, catalog.manifest.tuning
        lease = Lease(connection, store.collection, store.collection)
        try:
            for collection in [store.collection, *([tuning.file] if tuning else [])]:
                scale_collection(connection, collection, wanted.replicas, tell)
            catalog.manifest = replace(backend.collections.manifest(), layout=wanted)
            backend.collections.note_manifest(catalog.manifest)
        finally:
            lease.give_back()
    return backend.status()


def _on_server(catalog: Catalog) -> tuple[QdrantBackend, QdrantStore]:
    if not isinstance(catalog.backend, QdrantBackend) or not isinstance(catalog.store, QdrantStore):
        raise UsageError(catalog.path, "is in a directory: it has no shards and replicas")
    return catalog.backend, catalog.store


def _counts(backend: QdrantBackend, store: QdrantStore) -> dict[str, int]:
    """Count the points by each node that answers, from its own replicas where it has them."""
    found = {}
    for address, link in backend.connection.by_node():
        with contextlib.suppress(SerupaError):  # that it does not answer is told already
            found[str(address)] = QdrantStore(link, store.collection).count()
    return found


def _compare(
    backend: QdrantBackend, store: QdrantStore, names: tuple[str, ...], total: int, progress: Progress
) -> list[str]:
    """Read every point from each node at once, in the order of their ids, and return what differs."""
    nodes = {
        str(address): QdrantStore(link, store.collection)
        for address, link in backend.connection.by_node(patience_s=10.0)
    }
    reading = {name: _points(node, names) for name, node in nodes.items()}
    heads = {name: next(points, None) for name, points in reading.items()}
    doubtful: list[str] = []
    done = 0
    while any(heads.values()):
        first = min(point_uuid(point.id) for point in heads.values() if point is not None)
        here = {n: p for n, p in heads.items() if p is not None and point_uuid(p.id) == first}
        if len(here) < len(nodes) or not _alike(list(here.values())):
            doubtful.append(next(iter(here.values())).id)
        heads |= {name: next(reading[name], None) for name in here}
        done += 1
        if done % 256 == 0:
            progress("comparing replicas", done, total)
    # what was written in the meantime is alike by now
    differ: list[str] = []
    for one in doubtful[:_NAMED]:
        told = [node.get([one], vectors=names).get(one) for node in nodes.values()]
        there = [point for point in told if point is not None]
        if there and (len(there) < len(told) or not _alike(there)):
            differ.append(one)
    if not differ:
        return []
    more = " or more" if len(doubtful) > _NAMED else ""
    return [f"{len(differ)}{more} points are not the same on {' and '.join(nodes)}, such as {differ[0]}"]


def _points(store: QdrantStore, names: tuple[str, ...]) -> Iterator[Point]:
    for batch in store.scroll(vectors=names):
        yield from batch


def _alike(points: list[Point]) -> bool:
    first = points[0]
    return all(p.payload == first.payload and difference(first, p) <= _ROUNDING for p in points[1:])


def backup(address: str, target: Path) -> dict[str, Any]:
    """Write a catalogue on a server into an archive: its manifest, its tuning, and a snapshot of each shard.

    Raises
    ------
    UnavailableError
        If a shard is on no node that the address names, or the archive cannot be written.
    """
    with Catalog.open(address) as catalog:
        backend, store = _on_server(catalog)
        connection = backend.connection.patient
        lease = Lease(connection, store.collection, store.collection)  # no switch takes it away meanwhile
        try:
            layout = replace(catalog.manifest.layout or StoreLayout(), shards=len(_shards(backend)))
            manifest = replace(catalog.manifest, layout=layout)
            whitening = catalog.schema.map.whitening
            tuning = None if whitening is None else whitening.to_bytes()

            def files(folder: Path) -> Iterator[tuple[str, Path]]:
                file = folder / "part"
                for name, data in (("catalog.json", manifest.to_json()), ("tuning.npz", tuning)):
                    if data is not None:
                        file.write_bytes(data)
                        yield name, file
                for shard in _shards(backend):
                    download(connection, store.collection, shard, file)
                    yield f"shards/{shard}.snapshot", file

            with tempfile.TemporaryDirectory(prefix=".serupa-", dir=target.resolve().parent) as folder:
                return write_archive(target, KIND, str(catalog.path), store.count(), files(Path(folder)))
        finally:
            lease.give_back()


def restore(archive: Path, address: str) -> dict[str, Any]:
    """Make a catalogue on a server of a backup of one; return the backup's manifest.

    Raises
    ------
    UsageError
        If the backup is of a directory.
    ConflictError
        If there is a catalogue by this name.
    DamagedError
        If the backup is damaged.
    UnavailableError
        If the server does not take it.
    """
    backend = QdrantBackend(parse_address(address))
    try:
        if backend.exists():
            raise ConflictError(backend.address, "there is a catalogue already", "choose another name")
        with tempfile.TemporaryDirectory(prefix=".serupa-", dir=archive.resolve().parent) as folder:
            kept = read_archive(archive, Path(folder))
            if kept["kind"] != KIND:
                raise UsageError(
                    archive,
                    "is of a catalogue in a directory",
                    f"restore it into one, then: serupa copy DIR {backend.address}",
                )
            manifest, tuning = _kept(archive, Path(folder))
            if "shards" in backend.address.asked:
                raise UsageError(
                    address, "a backup has its own shards", "change them afterwards: serupa scale"
                )
            catalog = Catalog(backend, backend.create(manifest, tuning, 0.0))
            _, store = _on_server(catalog)
            try:
                for name in sorted(kept["files"]):
                    if shard := _SNAPSHOT.fullmatch(name):
                        upload(backend.connection, store.collection, int(shard[1]), Path(folder) / name)
                catalog.put([])  # an index on every field, as after any writing
                return kept | {"items": store.for_writing().count()}
            except BaseException:
                backend.collections.remove(store.collection)  # whole, or not there
                raise
    finally:
        backend.close()


def make_local(archive: Path, folder: Path) -> None:
    """Make a catalogue in a directory of what `read_archive` wrote there of a server's backup.

    Raises
    ------
    UnavailableError
        If the embedded engine cannot read the server's snapshots.
    """
    manifest, tuning = _kept(archive, folder)
    with tempfile.TemporaryDirectory(prefix=".serupa-", dir=folder.parent) as scratch:
        kept = Path(scratch) / "kept"
        folder.rename(kept)
        folder.mkdir()
        backend = LocalBackend(folder)
        with Catalog(backend, backend.create(manifest, tuning, 0.0)) as catalog:
            for snapshot in sorted((kept / "shards").iterdir()):
                names = tuple(manifest.dimensions)
                for batch in points_of_snapshot(snapshot, Path(scratch) / snapshot.stem, names):
                    catalog.put(batch)
            catalog.store.optimize()


def _kept(archive: Path, folder: Path) -> tuple[CatalogManifest, bytes | None]:
    """Return the manifest and the tuning of a server's backup that was written into a folder."""
    manifest = CatalogManifest.from_json((folder / "catalog.json").read_bytes(), archive)
    return manifest, (folder / "tuning.npz").read_bytes() if manifest.tuning is not None else None


def _shards(backend: QdrantBackend) -> list[int]:
    return [one["shard"] for one in backend.status()["placement"]]
