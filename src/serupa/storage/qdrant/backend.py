"""A catalogue on a Qdrant server: nothing of it is kept by the process that uses it.

``NAME`` is an alias of the collection ``NAME.1``, or of whatever took its place. The manifest is that
collection's metadata, so that the alias moves points and manifest together, in one step:

* ``serupa``: everything of catalog.json but the fields;
* ``field:PRICE`` and so on: the kind of each field, a key of its own, so that two writers who meet new fields
  at the same moment do not undo each other (the server merges metadata key by key);
* ``switching``: who is making what is to take this collection's place (see `serupa.storage.qdrant.lease`);
* ``replaced``: collections that this one took the place of, and when.

A tuning is too large for metadata and stands in ``NAME.2.tuning``, cut into points without vectors.

Whoever writes looks at ``switching`` after each change, before it is acknowledged. A draft first marks the
collection as frozen, then copies what was written since it began, then moves the alias. So a write is either
copied, or its writer is told that it may be lost.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import msgspec

from serupa.errors import ConflictError, SerupaError, UsageError
from serupa.items import FieldKind
from serupa.storage.base import TermsOf, VectorStore
from serupa.storage.manifest import CatalogManifest, StoreLayout, TuningInfo, replace
from serupa.storage.qdrant.address import ServerAddress
from serupa.storage.qdrant.client import Connection, ExistsError, connect
from serupa.storage.qdrant.collections import CLEANING_S, FIELD, Collections
from serupa.storage.qdrant.lease import Lease, break_lease
from serupa.storage.qdrant.store import QdrantStore, layout_of
from serupa.storage.qdrant.topology import Replica, Topology, read_topology

_ENGINE = "qdrant"


class QdrantBackend:
    """A name on a server; see `serupa.storage.base.Backend`.

    Parameters
    ----------
    address : ServerAddress
    connection : Connection, optional
        Made from the address unless given.

    Attributes
    ----------
    collections : Collections
        What stands behind the name, with the patience of a write.
    """

    folder = None

    def __init__(self, address: ServerAddress, connection: Connection | None = None) -> None:
        self._address = address
        self.connection = connection or connect(address)
        self._collections = Collections(self.connection, address)
        self.collections = Collections(self.connection.patient, address)
        self._cleaning: threading.Thread | None = None

    @property
    def address(self) -> ServerAddress:
        """Where it is."""
        return self._address

    def exists(self) -> bool:
        """Return whether there is a collection by this name."""
        return self._collections.exist()

    def refuse_occupied(self) -> None:
        """Do nothing: `load` refuses a collection that is not ours."""

    def lock(self, wait_s: float) -> None:
        """Do nothing: any number of processes may use it at once."""

    def load(self) -> CatalogManifest:
        """Read the metadata of the collection in use."""
        manifest = self._collections.manifest()
        for name in sorted(self._address.asked):
            asked, actual = getattr(self._address.layout, name), getattr(manifest.layout, name)
            if asked != actual:
                raise ConflictError(
                    self._address,
                    f"was made with {name}={actual}, not {asked}",
                    f"leave {name} out, or copy it under another name (serupa copy)",
                )
        return manifest

    def create(self, manifest: CatalogManifest, tuning: bytes | None, wait_s: float) -> CatalogManifest:
        """Make the collection with its metadata, then its alias: of two who try at once, the second joins."""
        asked = {name: getattr(self._address.layout, name) for name in self._address.asked}
        layout = replace(manifest.layout or StoreLayout(), **asked)  # of a copy, as what it is made from
        new = replace(manifest, engine=_ENGINE, layout=layout)
        collections = self.collections
        aliases = self.connection.patient.aliases()
        for number in itertools.count(1):
            name = collections.numbered(number)
            if aliases.get(name, self._address.name) != self._address.name:
                continue  # it was published under another name
            try:
                collections.make(replace(new, store=name), tuning)
            except ExistsError:
                collections.manifest(name)
            if not collections.exist():
                collections.point_alias(name)
            return self.load()
        raise AssertionError

    def add_fields(self, manifest: CatalogManifest, kinds: Mapping[str, FieldKind]) -> None:
        """Add keys to the metadata."""
        self.connection.note(manifest.store, {f"{FIELD}{name}": kind for name, kind in kinds.items()})

    def open(self, manifest: CatalogManifest, terms: TermsOf) -> VectorStore:
        """Open the collection that the manifest names."""
        kept = terms if manifest.words else None
        return QdrantStore(self.connection, manifest.store, lambda: self.after_write(manifest.store), kept)

    def read_tuning(self, tuning: TuningInfo) -> bytes:
        """Put the tuning's parts together."""
        return self._collections.read_tuning(tuning)

    def begin(self, store: VectorStore) -> QdrantDraft:
        """Begin to replace the collection in use: take the lease."""
        return QdrantDraft(self, store)

    def describe(self) -> dict[str, Any]:
        """Say which collection it is and how the server keeps it; it does not tell bytes."""
        manifest, layout, status = self._looked_at()
        server = {"collection": manifest.store, "status": status, **msgspec.to_builtins(layout)}
        return {"path": str(self._address), "size_bytes": None, "server": server}

    def status(self) -> dict[str, Any]:
        """Say where each shard lies, and where that is not what was asked for; every node is asked."""
        manifest, layout, _ = self._looked_at()
        asked = manifest.layout or StoreLayout()
        wanted, actual = msgspec.to_builtins(asked), msgspec.to_builtins(layout)
        topology = read_topology(self.connection, manifest.store)
        return {
            "nodes": [{"id": str(one), "address": address} for one, address in topology.nodes.items()],
            "placement": [
                {"shard": shard, "replicas": [_told(one, topology) for one in replicas]}
                for shard, replicas in topology.shards.items()
            ],
            "transfers": [
                msgspec.to_builtins(one)
                | {"source": topology.name(one.source), "target": topology.name(one.target)}
                for one in topology.transfers
            ],
            "deviations": [
                *(
                    f"{name} is {actual[name]}, {value} was asked for"
                    for name, value in wanted.items()
                    if value not in (None, actual[name])
                ),
                *topology.deviations(asked.replicas),
            ],
        }

    def _looked_at(self) -> tuple[CatalogManifest, StoreLayout, str]:
        manifest = self._collections.manifest()
        info = self.connection.read(lambda client: client.get_collection(manifest.store))
        return manifest, layout_of(info, manifest.layout or StoreLayout()), str(info.status.value)

    def break_lock(self) -> str:
        """Let the next draft begin, whoever has the lease; return who had it, in words."""
        return break_lease(self.connection.patient, self._collections.manifest().store)

    def close(self) -> None:
        """Close the connection, having given what is being removed a moment."""
        if self._cleaning is not None:
            self._cleaning.join(CLEANING_S)
        self.connection.close()

    def after_write(self, store: str) -> None:
        """Refuse a write that may be lost; begin to clean up after the first that is not."""
        self.collections.require_in_use(store)
        if self._cleaning is None:
            self._cleaning = threading.Thread(
                target=self.collections.remove_leftovers, name="serupa-leftovers", daemon=True
            )
            self._cleaning.start()


class QdrantDraft:
    """A collection made beside the one in use; see `serupa.storage.base.Draft`."""

    def __init__(self, backend: QdrantBackend, replaced: VectorStore) -> None:
        self._backend = backend
        self._collections = backend.collections
        self._replaced = replaced
        self._before = self._collections.manifest()
        self._name = self._collections.numbered(self._collections.next_number())
        self._manifest = self._before
        self._committed = False
        self._lease = Lease(backend.connection.patient, self._before.store, self._name)

    def __enter__(self) -> Self:
        return self

    def create(self, manifest: CatalogManifest, tuning: bytes | None, terms: TermsOf) -> VectorStore:
        """Make the collection, kept as the one in use is unless the manifest asks for another layout."""
        layout = manifest.layout or self._before.layout
        new = replace(manifest, store=self._name, layout=layout)
        self._manifest = self._collections.make(new, tuning, self._lease.token)
        kept = terms if new.words else None
        return QdrantStore(self._backend.connection, self._name, self._after_write, kept)

    def commit(self, catch_up: Callable[[], None]) -> CatalogManifest:
        """Freeze the collection in use, copy what was written meanwhile, move the alias."""
        collections = self._collections
        if collections.manifest().store != self._before.store:
            raise ConflictError(
                self._backend.address, "was switched over by somebody else meanwhile", "try again"
            )
        self._lease.require()
        self._lease.freeze()
        catch_up()
        self._manifest = replace(self._manifest, fields=collections.manifest().fields)
        collections.note_manifest(self._manifest)
        collections.note_replaced(self._name, self._before.store)
        self._lease.require()
        collections.point_alias(self._name)
        self._committed = True
        return self._manifest

    def _after_write(self) -> None:
        if self._committed:
            self._backend.after_write(self._name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        in_use = None
        with contextlib.suppress(SerupaError):
            in_use = self._backend.load().store
        if in_use == self._name:
            self._replaced.close()
        elif in_use is not None:
            self._collections.remove(self._name)
        self._lease.give_back()
        if in_use is not None:
            self._collections.remove_leftovers()


def _told(replica: Replica, topology: Topology) -> dict[str, Any]:
    return {"node": topology.name(replica.node), "state": replica.state, "points": replica.points}


def publish(staged: ServerAddress, live: ServerAddress) -> None:
    """Let a catalogue take the place of another on the same server, in one step; its own name ends.

    For what cannot be switched over from within: the same photos with another encoder.

    Raises
    ------
    NotFoundError, ConflictError
        If the first is no catalogue, or the second is something else.
    UsageError
        If they are the same, or on different servers.
    """
    if not set(staged.nodes) & set(live.nodes):
        raise UsageError(live, f"is on another server than {staged}", "copy it there first (serupa copy)")
    if staged.name == live.name:
        raise UsageError(live, "cannot take its own place")
    source = QdrantBackend(staged)
    try:
        new, old = source.collections, Collections(source.connection.patient, live)
        store = new.manifest().store
        if old.exist():
            new.note_replaced(store, old.manifest().store)
        old.point_alias(store, instead_of=staged.name)
    finally:
        source.close()
