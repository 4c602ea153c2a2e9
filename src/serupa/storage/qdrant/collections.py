"""The collections behind a catalogue's name: the one in use, how a new one is made, what is left over."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import time
from collections.abc import Mapping
from typing import Any

from serupa.errors import ConflictError, DamagedError, NotFoundError, SerupaError
from serupa.storage.manifest import CatalogManifest, StoreLayout, TuningInfo, replace
from serupa.storage.qdrant.address import ServerAddress
from serupa.storage.qdrant.client import Connection, ExistsError, MissingError
from serupa.storage.qdrant.lease import holder_of
from serupa.storage.qdrant.store import create_collection

FIELD = "field:"
"""Begins the metadata's key of the kind of a field."""

_OWN, _REPLACED, _MADE_BY = "serupa", "replaced", "draft"
_PART = 512 * 1024  # bytes of a tuning in one point
_GRACE_S = 600.0
"""How long a store that was replaced stays: every reader has noticed by then."""
CLEANING_S = 5.0
"""Patience with a server that is to remove what nobody needs."""


class Collections:
    """The collections of one catalogue.

    Parameters
    ----------
    connection : Connection
        Its patience is that of what they are needed for.
    address : ServerAddress
        Its name is the alias.
    """

    def __init__(self, connection: Connection, address: ServerAddress) -> None:
        self._connection = connection
        self._address = address

    def exist(self) -> bool:
        """Return whether there is a collection by the catalogue's name."""
        return self._connection.metadata(self._address.name) is not None

    def manifest(self, collection: str | None = None) -> CatalogManifest:
        """Read the metadata of a collection, or of the one in use."""
        metadata = self._connection.metadata(collection or self._address.name)
        if metadata is None:
            hint = f"make one with: serupa index SOURCE -c {self._address}"
            raise NotFoundError(self._address, "no catalogue there", hint)
        if _OWN not in metadata:
            raise ConflictError(self._address, "a collection that Serupa did not make", "choose another name")
        fields = {k.removeprefix(FIELD): v for k, v in metadata.items() if k.startswith(FIELD)}
        manifest = CatalogManifest.from_dict(dict(metadata[_OWN]) | {"fields": fields}, self._address)
        return manifest if manifest.layout else replace(manifest, layout=StoreLayout())

    def require_in_use(self, store: str) -> None:
        """Refuse what was written to a collection that is being replaced: it may be lost."""
        metadata = self._connection.metadata(self._address.name) or {}
        holder = holder_of(metadata)
        if metadata.get(_OWN, {}).get("points") != store or (holder is not None and holder.frozen):
            raise ConflictError(
                self._address,
                "is being switched over to other points, so that the last changes may be lost",
                "run the same command again in a minute, it goes on from there",
            )

    def numbered(self, number: int) -> str:
        """Return the name of a collection; a catalogue's own name has no dot."""
        return f"{self._address.name}.{number}"

    def next_number(self) -> int:
        """Return a number that no collection has."""
        return 1 + max((number for number, _ in self._own()), default=0)

    def make(
        self, manifest: CatalogManifest, tuning: bytes | None, token: str | None = None
    ) -> CatalogManifest:
        """Make the collection that a manifest names, and its tuning's.

        Parameters
        ----------
        token : str, optional
            Of the only one who may make it: that it is there already is then the answer that was lost.

        Raises
        ------
        ExistsError
            If it is there, made by somebody else.
        """
        layout = manifest.layout or StoreLayout()
        if manifest.tuning is not None and tuning is not None:
            name = f"{manifest.store}.tuning"
            sha256 = hashlib.sha256(tuning).hexdigest()
            manifest = replace(manifest, tuning=replace(manifest.tuning, file=name, sha256=sha256))
        metadata = _metadata_of(manifest) | ({} if token is None else {_MADE_BY: token})
        try:
            create_collection(
                self._connection,
                manifest.store,
                manifest.dimensions,
                layout,
                metadata,
                words=bool(manifest.words),
            )
        except ExistsError:
            if token is None or (self._connection.metadata(manifest.store) or {}).get(_MADE_BY) != token:
                raise
        if manifest.tuning is not None and tuning is not None:
            self._keep_tuning(manifest.tuning.file, tuning, layout)
        return manifest

    def read_tuning(self, tuning: TuningInfo) -> bytes:
        """Put the tuning's parts together."""
        try:
            records, _ = self._connection.read(lambda client: client.scroll(tuning.file, limit=10_000))
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

    def point_alias(self, store: str, *, instead_of: str | None = None) -> None:
        """Let the catalogue's name, and no other one given, stand for a collection."""
        from qdrant_client import models

        create = models.CreateAlias(collection_name=store, alias_name=self._address.name)
        actions: list[Any] = [models.CreateAliasOperation(create_alias=create)]
        if self._address.name in self._connection.aliases().values():
            delete = models.DeleteAlias(alias_name=self._address.name)
            actions.insert(0, models.DeleteAliasOperation(delete_alias=delete))
        if instead_of is not None:
            delete = models.DeleteAlias(alias_name=instead_of)
            actions.append(models.DeleteAliasOperation(delete_alias=delete))
        self._connection.write(lambda client: client.update_collection_aliases(actions))

    def note_replaced(self, store: str, before: str) -> None:
        """Write into the metadata of a collection that it takes the place of another."""
        replaced = _replaced_by(self._connection.metadata(before) or {})
        self._connection.note(store, {_REPLACED: replaced | {before: time.time()}})

    def note_manifest(self, manifest: CatalogManifest) -> None:
        """Write a manifest into its collection's metadata."""
        self._connection.note(manifest.store, _metadata_of(manifest))

    def remove(self, store: str) -> None:
        """Remove a collection and its tuning, where the server answers."""
        for name in (store, f"{store}.tuning"):
            with contextlib.suppress(SerupaError, MissingError):
                self._connection.drop(name, patience_s=CLEANING_S)

    def remove_leftovers(self) -> None:
        """Remove what was replaced a while ago, and drafts that nobody is making any more.

        Only the collection in use is looked at: a leftover may lie on a node that is away.
        """
        with contextlib.suppress(SerupaError, MissingError):
            aliases = dict(self._connection.aliases())
            for _, node in self._connection.by_node():  # the one that was asked may be behind the others
                with contextlib.suppress(SerupaError):
                    aliases |= node.aliases()
            metadata = self._connection.metadata(self._address.name) or {}
            in_use = metadata.get(_OWN, {}).get("points")
            holder = holder_of(metadata)
            replaced = _replaced_by(metadata)
            recent = {name for name, when in replaced.items() if time.time() - when <= _GRACE_S}
            kept = {in_use, *recent, *aliases} | ({holder.draft} if holder else set())
            for name in {self.numbered(number) for number, _ in self._own()} | set(replaced):
                if in_use is not None and name not in kept:
                    self.remove(name)

    def _keep_tuning(self, name: str, data: bytes, layout: StoreLayout) -> None:
        from qdrant_client import models

        parts = [data[start : start + _PART] for start in range(0, len(data), _PART)]
        with contextlib.suppress(ExistsError):  # of a request whose answer was lost
            self._connection.write(
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
        self._connection.write(lambda client: client.upsert(collection, [point], wait=True))

    def _own(self) -> list[tuple[int, str]]:
        own = re.compile(re.escape(self._address.name) + r"\.(\d+)(?:\.tuning)?")
        matches = (own.fullmatch(name) for name in self._connection.collections())
        return [(int(match[1]), match[0]) for match in matches if match]


def _metadata_of(manifest: CatalogManifest) -> dict[str, Any]:
    """Return a manifest as a collection's metadata."""
    values = manifest.to_dict()
    fields = values.pop("fields")
    return {_OWN: values} | {f"{FIELD}{name}": kind for name, kind in fields.items()}


def _replaced_by(metadata: Mapping[str, Any]) -> dict[str, float]:
    """Return what a collection took the place of, and when: by name."""
    replaced = {str(name): float(when) for name, when in (metadata.get(_REPLACED) or {}).items()}
    if "before" in metadata:  # as an older version noted it
        replaced.setdefault(str(metadata["before"]), 0.0)
    return replaced
