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

import base64
import contextlib
import hashlib
import itertools
import re
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import msgspec

from serupa.errors import ConflictError, DamagedError, NotFoundError, SerupaError, UsageError
from serupa.items import FieldKind
from serupa.storage.base import VectorStore
from serupa.storage.manifest import CatalogManifest, StoreLayout, TuningInfo, replace
from serupa.storage.qdrant.address import ServerAddress
from serupa.storage.qdrant.client import Connection, ExistsError, MissingError, connect
from serupa.storage.qdrant.lease import Lease, holder_of
from serupa.storage.qdrant.store import QdrantStore, create_collection

_OWN, _FIELD, _REPLACED = "serupa", "field:", "replaced"
_ENGINE = "qdrant"
_PART = 512 * 1024  # bytes of a tuning in one point
_GRACE_S = 600.0
"""How long a store that was replaced stays: every reader has noticed by then."""
_CLEANING_S = 5.0
"""Patience with a server that is to remove what nobody needs."""


class QdrantBackend:
    """A name on a server; see `serupa.storage.base.Backend`.

    Parameters
    ----------
    address : ServerAddress
    connection : Connection, optional
        Made from the address unless given.
    """

    folder = None

    def __init__(self, address: ServerAddress, connection: Connection | None = None) -> None:
        self._address = address
        self.connection = connection or connect(address)
        self._cleaning: threading.Thread | None = None

    @property
    def address(self) -> ServerAddress:
        """Where it is."""
        return self._address

    def exists(self) -> bool:
        """Return whether there is a collection by this name."""
        return self.connection.metadata(self._address.name) is not None

    def refuse_occupied(self) -> None:
        """Do nothing: `load` refuses a collection that is not ours."""

    def lock(self, wait_s: float) -> None:
        """Do nothing: any number of processes may use it at once."""

    def load(self) -> CatalogManifest:
        """Read the metadata of the collection in use."""
        manifest = self._manifest_of(self._address.name)
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
        new = replace(manifest, engine=_ENGINE, layout=self._address.layout)
        aliases = self.connection.aliases()
        for number in itertools.count(1):
            name = self.store_name(number)
            if aliases.get(name, self._address.name) != self._address.name:
                continue  # it was published under another name
            try:
                self.make(replace(new, store=name), tuning)
            except ExistsError:
                self._manifest_of(name)
            if not self.exists():
                self.point_alias(name)
            return self.load()
        raise AssertionError

    def add_fields(self, manifest: CatalogManifest, kinds: Mapping[str, FieldKind]) -> None:
        """Add keys to the metadata."""
        self.connection.note(manifest.store, {f"{_FIELD}{name}": kind for name, kind in kinds.items()})

    def open(self, manifest: CatalogManifest) -> VectorStore:
        """Open the collection that the manifest names."""
        return QdrantStore(self.connection, manifest.store, lambda: self.after_write(manifest.store))

    def read_tuning(self, tuning: TuningInfo) -> bytes:
        """Put the tuning's parts together."""
        try:
            records, _ = self.connection.read(lambda client: client.scroll(tuning.file, limit=10_000))
        except MissingError:
            records = []
        parts = {int(record.id): (record.payload or {})["data"] for record in records}
        data = b"".join(base64.b64decode(parts[number]) for number in sorted(parts))
        if hashlib.sha256(data).hexdigest() != tuning.sha256:
            raise DamagedError(
                self._address,
                f"the tuning ({tuning.file}) cannot be read or has changed",
                f"go back with: serupa tune --undo -c {self._address}",
            )
        return data

    def begin(self, store: VectorStore) -> QdrantDraft:
        """Begin to replace the collection in use: take the lease."""
        return QdrantDraft(self, store)

    def describe(self) -> dict[str, Any]:
        """Say what the server says of the collection, and what was asked for where that differs.

        It does not tell bytes.
        """
        manifest = self.load()
        asked = manifest.layout or StoreLayout()
        info = self.connection.read(lambda client: client.get_collection(manifest.store))
        params = info.config.params
        layout = replace(
            asked,
            shards=params.shard_number or asked.shards,
            replicas=params.replication_factor or asked.replicas,
            write_consistency=params.write_consistency_factor or asked.write_consistency,
        )
        missing = {
            name: getattr(asked, name)
            for name in ("shards", "replicas", "write_consistency")
            if getattr(asked, name) not in (None, getattr(layout, name))
        }
        return {
            "path": str(self._address),
            "size_bytes": None,
            "server": {
                "collection": manifest.store,
                "status": str(getattr(info.status, "value", info.status)),
                **msgspec.to_builtins(layout),
                **({"asked": missing} if missing else {}),
            },
        }

    def close(self) -> None:
        """Close the connection, having given what is being removed a moment."""
        if self._cleaning is not None:
            self._cleaning.join(_CLEANING_S)
        self.connection.close()

    # --- for drafts

    def store_name(self, number: int) -> str:
        """Return the name of a collection; a catalogue's own name has no dot."""
        return f"{self._address.name}.{number}"

    def next_number(self) -> int:
        """Return a number that no collection has."""
        return 1 + max((number for number, _ in self._own_collections()), default=0)

    def make(self, manifest: CatalogManifest, tuning: bytes | None) -> CatalogManifest:
        """Make the collection that a manifest names, and its tuning's; `ExistsError` if it is there."""
        layout = manifest.layout or StoreLayout()
        if manifest.tuning is not None and tuning is not None:
            name = f"{manifest.store}.tuning"
            sha256 = hashlib.sha256(tuning).hexdigest()
            manifest = replace(manifest, tuning=replace(manifest.tuning, file=name, sha256=sha256))
        create_collection(
            self.connection, manifest.store, manifest.dimensions, layout, _metadata_of(manifest)
        )
        if manifest.tuning is not None and tuning is not None:
            self._keep_tuning(manifest.tuning.file, tuning, layout)
        return manifest

    def point_alias(self, store: str, *, instead_of: str | None = None) -> None:
        """Let the catalogue's name, and no other one given, stand for a collection."""
        from qdrant_client import models

        create = models.CreateAlias(collection_name=store, alias_name=self._address.name)
        actions: list[Any] = [models.CreateAliasOperation(create_alias=create)]
        if self._address.name in self.connection.aliases().values():
            delete = models.DeleteAlias(alias_name=self._address.name)
            actions.insert(0, models.DeleteAliasOperation(delete_alias=delete))
        if instead_of is not None:
            delete = models.DeleteAlias(alias_name=instead_of)
            actions.append(models.DeleteAliasOperation(delete_alias=delete))
        self.connection.write(lambda client: client.update_collection_aliases(actions))

    def note_replaced(self, store: str, before: str) -> None:
        """Write into the metadata of a collection that it takes the place of another."""
        replaced = _replaced_by(self.connection.metadata(before) or {})
        self.connection.note(store, {_REPLACED: replaced | {before: time.time()}})

    def note_manifest(self, manifest: CatalogManifest) -> None:
        """Write a manifest into its collection's metadata."""
        self.connection.note(manifest.store, _metadata_of(manifest))

    def remove(self, store: str) -> None:
        """Remove a collection and its tuning, where the server answers."""
        for name in (store, f"{store}.tuning"):
            with contextlib.suppress(SerupaError, MissingError):
                self.connection.drop(name, patience_s=_CLEANING_S)

    def remove_leftovers(self) -> None:
        """Remove what was replaced a while ago, and drafts that nobody is making any more.

        Only the collection in use is looked at: a leftover may lie on a node that is away.
        """
        with contextlib.suppress(SerupaError, MissingError):
            aliases = self.connection.aliases()
            metadata = self.connection.metadata(self._address.name) or {}
            in_use = metadata.get(_OWN, {}).get("points")
            holder = holder_of(metadata)
            replaced = _replaced_by(metadata)
            recent = {name for name, when in replaced.items() if time.time() - when <= _GRACE_S}
            kept = {in_use, *recent, *aliases} | ({holder.draft} if holder else set())
            for name in {self.store_name(number) for number, _ in self._own_collections()} | set(replaced):
                if in_use is not None and name not in kept:
                    self.remove(name)

    def _keep_tuning(self, name: str, data: bytes, layout: StoreLayout) -> None:
        from qdrant_client import models

        parts = [data[start : start + _PART] for start in range(0, len(data), _PART)]
        self.connection.write(
            lambda client: client.create_collection(
                name,
                vectors_config={},
                shard_number=1,
                replication_factor=layout.replicas,
                write_consistency_factor=layout.write_consistency,
                on_disk_payload=True,
            )
        )
        for number, part in enumerate(parts):
            payload = {"of": len(parts), "data": base64.b64encode(part).decode()}
            point = models.PointStruct(id=number, vector={}, payload=payload)
            self._put(name, point)

    def _put(self, collection: str, point: Any) -> None:
        self.connection.write(lambda client: client.upsert(collection, [point], wait=True))

    def _own_collections(self) -> list[tuple[int, str]]:
        own = re.compile(re.escape(self._address.name) + r"\.(\d+)(?:\.tuning)?")
        matches = (own.fullmatch(name) for name in self.connection.collections())
        return [(int(match[1]), match[0]) for match in matches if match]

    def _manifest_of(self, collection: str) -> CatalogManifest:
        metadata = self.connection.metadata(collection)
        if metadata is None:
            hint = f"make one with: serupa index SOURCE -c {self._address}"
            raise NotFoundError(self._address, "no catalogue there", hint)
        if _OWN not in metadata:
            raise ConflictError(self._address, "a collection that Serupa did not make", "choose another name")
        fields = {k.removeprefix(_FIELD): v for k, v in metadata.items() if k.startswith(_FIELD)}
        manifest = CatalogManifest.from_dict(dict(metadata[_OWN]) | {"fields": fields}, self._address)
        return manifest if manifest.layout else replace(manifest, layout=StoreLayout())

    def after_write(self, store: str) -> None:
        """Refuse a write that may be lost; begin to clean up after the first that is not."""
        metadata = self.connection.metadata(self._address.name) or {}
        holder = holder_of(metadata)
        if metadata.get(_OWN, {}).get("points") != store or (holder is not None and holder.frozen):
            raise ConflictError(
                self._address,
                "is being switched over to other points, so that the last changes may be lost",
                "run the same command again in a minute, it goes on from there",
            )
        if self._cleaning is None:
            self._cleaning = threading.Thread(
                target=self.remove_leftovers, name="serupa-leftovers", daemon=True
            )
            self._cleaning.start()


class QdrantDraft:
    """A collection made beside the one in use; see `serupa.storage.base.Draft`."""

    def __init__(self, backend: QdrantBackend, replaced: VectorStore) -> None:
        self._backend = backend
        self._replaced = replaced
        self._before = backend.load()
        self._name = backend.store_name(backend.next_number())
        self._manifest = self._before
        self._committed = False
        self._lease = Lease(backend.connection, self._before.store, self._name)

    def __enter__(self) -> Self:
        return self

    def create(self, manifest: CatalogManifest, tuning: bytes | None) -> VectorStore:
        """Make the collection, kept as the one in use is."""
        new = replace(manifest, store=self._name, layout=self._before.layout)
        try:
            self._manifest = self._backend.make(new, tuning)
        except ExistsError:
            raise ConflictError(
                self._backend.address, f"{self._name} is being made by another process"
            ) from None
        return QdrantStore(self._backend.connection, self._name, self._after_write)

    def commit(self, catch_up: Callable[[], None]) -> CatalogManifest:
        """Freeze the collection in use, copy what was written meanwhile, move the alias."""
        backend = self._backend
        if backend.load().store != self._before.store:
            raise ConflictError(backend.address, "was switched over by somebody else meanwhile", "try again")
        self._lease.require()
        self._lease.freeze()
        catch_up()
        self._manifest = replace(self._manifest, fields=backend.load().fields)
        backend.note_manifest(self._manifest)
        backend.note_replaced(self._name, self._before.store)
        self._lease.require()
        backend.point_alias(self._name)
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
            self._backend.remove(self._name)
        self._lease.give_back()
        if in_use is not None:
            self._backend.remove_leftovers()


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
    if (staged.host, staged.port) != (live.host, live.port):
        raise UsageError(live, f"is on another server than {staged}", "copy it there first (serupa copy)")
    if staged.name == live.name:
        raise UsageError(live, "cannot take its own place")
    source = QdrantBackend(staged)
    try:
        target = QdrantBackend(live, source.connection)
        store = source.load().store
        if target.exists():
            source.note_replaced(store, target.load().store)
        target.point_alias(store, instead_of=staged.name)
    finally:
        source.close()


def _metadata_of(manifest: CatalogManifest) -> dict[str, Any]:
    """Return a manifest as a collection's metadata."""
    values = manifest.to_dict()
    fields = values.pop("fields")
    return {_OWN: values} | {f"{_FIELD}{name}": kind for name, kind in fields.items()}


def _replaced_by(metadata: Mapping[str, Any]) -> dict[str, float]:
    """Return what a collection took the place of, and when: by name."""
    replaced = {str(name): float(when) for name, when in (metadata.get(_REPLACED) or {}).items()}
    if "before" in metadata:  # as an older version noted it
        replaced.setdefault(str(metadata["before"]), 0.0)
    return replaced
