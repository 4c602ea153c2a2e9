"""A catalogue on a Qdrant server: nothing of it is kept by the process that uses it.

``NAME`` is an alias of the collection ``NAME.1``, or of whatever took its place. The settings are that
collection's metadata, so that the alias moves points and settings together, in one step:

* ``serupa``: everything of catalog.json but the fields;
* ``field:PRICE`` and so on: the kind of each field, a key of its own, so that two writers who meet new fields
  at the same moment do not undo each other (the server merges metadata key by key);
* ``switching``: who is making what is to take this collection's place.

A whitening is too large for metadata and stands in ``NAME.2.tuning``, cut into points without vectors.

Whoever writes looks at ``switching`` after each change, before it is acknowledged. A switch first marks the
collection as frozen, then copies what was written since it began, then moves the alias. So a write is either
copied, or its writer is told that it may be lost.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from serupa.errors import CatalogError
from serupa.storage.base import Store
from serupa.storage.opening import Settings, checked_settings
from serupa.storage.qdrant.address import Layout, ServerAddress
from serupa.storage.qdrant.client import Connection, ExistsError, MissingError, connect
from serupa.storage.qdrant.store import QdrantStore, create_collection

if TYPE_CHECKING:
    from serupa.learning.whitening import Whitening

_OWN, _FIELD, _SWITCHING = "serupa", "field:", "switching"
_PART = 512 * 1024  # bytes of a whitening in one point
_SETTLE_S = 1.0  # for a change of metadata to reach every node of a cluster
_FROZEN_FOR_S = 900.0
"""A switch that was cut short while frozen stops being one after this long."""
_LEASE_S = 900.0
_RENEW_S = 60.0
_GRACE_S = 600.0
"""How long points that were replaced stay: every reader has noticed by then."""


class Server:
    """A name on a server; see `serupa.storage.opening.Place`.

    Parameters
    ----------
    address : ServerAddress
    connection : Connection, optional
        Made from the address unless given.
    """

    folder = None
    engine = "qdrant"

    def __init__(self, address: ServerAddress, connection: Connection | None = None) -> None:
        self._address = address
        self._connection = connection or connect(address)
        self._token: str | None = None
        self._leased = ("", 0.0)

    @property
    def address(self) -> ServerAddress:
        """Where it is."""
        return self._address

    @property
    def first_points(self) -> str:
        """The name of the first collection."""
        return self.points_name(1)

    def has_catalog(self) -> bool:
        """Whether there is a collection by this name."""
        return self._metadata(self._address.name) is not None

    def refuse_occupied(self) -> None:
        """Do nothing: `read` refuses a collection that is not ours."""

    def claim(self, wait_s: float) -> None:
        """Do nothing: any number of processes may use it at once."""

    def release(self) -> None:
        """Close the connection."""
        self._connection.close()

    def create(self, settings: Settings, dimensions: Mapping[str, int]) -> Settings:
        """Make the collection with its settings, then its alias: of two who try at once, the second joins."""
        settings["server"] = self._address.layout.to_dict()
        points = settings["points"]
        try:
            create_collection(self._connection, points, dimensions, self._address.layout, _kept(settings))
        except ExistsError:
            self._settings_of(points)
        if not self.has_catalog():
            self._alias(points)
        return self.read()

    def read(self) -> Settings:
        """Read the metadata of the collection in use."""
        settings = self._settings_of(self._address.name)
        layout = settings["server"]
        for name in sorted(self._address.asked):
            asked = getattr(self._address.layout, name)
            if asked != layout[name]:
                raise CatalogError(
                    f"{self._address}: was made with {name}={layout[name]}, not {asked}; leave {name} out, "
                    "or copy it under another name (serupa copy)"
                )
        return settings

    def note_fields(self, settings: Settings, new: Mapping[str, str]) -> None:
        """Add keys to the metadata."""
        self._note(settings["points"], {f"{_FIELD}{name}": kind for name, kind in new.items()})

    def open_store(self, settings: Settings, dimensions: Mapping[str, int], *, new: bool = False) -> Store:
        """Open the collection that the settings name."""
        points = settings["points"]
        if new:
            try:
                create_collection(self._connection, points, dimensions, self._address.layout, _kept(settings))
            except ExistsError:
                raise CatalogError(f"{self._address}: {points} is being made by another process") from None
            return QdrantStore(self._connection, points, self._renew_lease)
        return QdrantStore(self._connection, points, lambda: self._after_write(points))

    def next_number(self) -> int:
        """Begin a switch: take the lease, and return a number that no collection has."""
        self._take_lease(self.read()["points"])
        return 1 + max(self._generations(), default=1)

    def points_name(self, number: int) -> str:
        """Return the name of a collection; a catalogue's own name has no dot."""
        return f"{self._address.name}.{number}"

    def save_tuning(self, number: int, whitening: Whitening) -> dict[str, str]:
        """Keep it in a collection of its own."""
        from qdrant_client import models

        data, name = whitening.to_bytes(), f"{self.points_name(number)}.tuning"
        parts = [data[start : start + _PART] for start in range(0, len(data), _PART)]
        layout = self._address.layout
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
        for start, part in enumerate(parts):
            payload = {"of": len(parts), "data": base64.b64encode(part).decode()}
            self._put(name, models.PointStruct(id=start, vector={}, payload=payload))
        return {"file": name, "sha256": hashlib.sha256(data).hexdigest()}

    def _put(self, collection: str, point: Any) -> None:
        self._connection.write(lambda client: client.upsert(collection, [point], wait=True))

    def load_tuning(self, tuning: Mapping[str, Any]) -> Whitening:
        """Put its parts together."""
        from serupa.learning.whitening import Whitening

        name = tuning["file"]
        try:
            records, _ = self._connection.read(lambda client: client.scroll(name, limit=10_000))
        except MissingError:
            records = []
        parts = {int(record.id): (record.payload or {})["data"] for record in records}
        data = b"".join(base64.b64decode(parts[number]) for number in sorted(parts))
        return Whitening.from_bytes(data, tuning["sha256"], f"{self._address} ({name})")

    def switch(self, settings: Settings, catch_up: Callable[[], None]) -> None:
        """Freeze the points in use, copy what was written meanwhile, move the alias."""
        before = self.read()
        if not self._holds(before["points"]):
            raise CatalogError(f"{self._address}: was switched over by somebody else meanwhile; try again")
        self._leased = ("", 0.0)
        self._note(before["points"], {_SWITCHING: self._lease(frozen=True)})
        time.sleep(_SETTLE_S)
        catch_up()
        settings["fields"] = self.read()["fields"]
        self._note(settings["points"], _kept(settings) | {"before": before["points"]})
        self._alias(settings["points"])
        self._note(before["points"], {_SWITCHING: {"switched": time.time()}})

    def clear_leftovers(self, settings: Settings) -> None:
        """Remove what was replaced a while ago, and what a switch of this process's own left unfinished."""
        used = settings["points"]
        own = self._token is not None and self._holds(used)
        found = {self.points_name(number) for number in self._generations()}
        found.add(str((self._metadata(used) or {}).get("before", used)))
        for points in found - {used}:
            switching = (self._metadata(points) or {}).get(_SWITCHING) or {}
            replaced = switching.get("switched")
            if (replaced is None and own) or (replaced is not None and _age(replaced) > _GRACE_S):
                self._drop(points)
                self._drop(f"{points}.tuning")
        if own:
            self._note(used, {_SWITCHING: {}})
        self._token, self._leased = None, ("", 0.0)

    def describe(self) -> dict[str, Any]:
        """Say what the server says of the collection; it does not tell bytes."""
        settings = self.read()
        info = self._connection.read(lambda client: client.get_collection(settings["points"]))
        params = info.config.params
        return {
            "path": str(self._address),
            "size_bytes": None,
            "server": {
                "collection": settings["points"],
                "status": str(getattr(info.status, "value", info.status)),
                **settings["server"],
                "shards": params.shard_number or settings["server"]["shards"],
            },
        }

    # --- collections

    def _metadata(self, collection: str) -> dict[str, Any] | None:
        """Return a collection's metadata; None where there is no such collection."""
        try:
            info = self._connection.read(lambda client: client.get_collection(collection))
        except MissingError:
            return None
        return dict(info.config.metadata or {})

    def _settings_of(self, collection: str) -> Settings:
        metadata = self._metadata(collection)
        if metadata is None:
            raise CatalogError(
                f"{self._address}: no catalogue there; make one with: serupa index SOURCE -c {self._address}"
            )
        if _OWN not in metadata:
            raise CatalogError(f"{self._address}: a collection that Serupa did not make; choose another name")
        try:
            fields = {k.removeprefix(_FIELD): v for k, v in metadata.items() if k.startswith(_FIELD)}
            settings = checked_settings(dict(metadata[_OWN]) | {"fields": fields}, self._address)
            Layout(**settings["server"])
        except (ValueError, KeyError, TypeError) as error:
            raise CatalogError(f"{self._address}: its metadata is damaged: {error}") from error
        return settings

    def _note(self, collection: str, metadata: Mapping[str, Any]) -> None:
        self._connection.write(lambda client: client.update_collection(collection, metadata=dict(metadata)))

    def _alias(self, points: str, *, instead_of: str | None = None) -> None:
        """Let the catalogue's name, and no other one given, stand for a collection."""
        from qdrant_client import models

        create = models.CreateAlias(collection_name=points, alias_name=self._address.name)
        actions: list[Any] = [models.CreateAliasOperation(create_alias=create)]
        if self._aliased(self._address.name):
            delete = models.DeleteAlias(alias_name=self._address.name)
            actions.insert(0, models.DeleteAliasOperation(delete_alias=delete))
        if instead_of is not None:
            delete = models.DeleteAlias(alias_name=instead_of)
            actions.append(models.DeleteAliasOperation(delete_alias=delete))
        self._connection.write(lambda client: client.update_collection_aliases(actions))

    def _aliased(self, name: str) -> bool:
        found = self._connection.read(lambda client: client.get_aliases())
        return any(alias.alias_name == name for alias in found.aliases)

    def _generations(self) -> list[int]:
        found = self._connection.read(lambda client: client.get_collections())
        own = re.compile(re.escape(self._address.name) + r"\.(\d+)(?:\.tuning)?")
        return [int(match[1]) for one in found.collections if (match := own.fullmatch(one.name))]

    def _drop(self, collection: str) -> None:
        try:
            self._connection.write(lambda client: client.delete_collection(collection))
        except MissingError:
            return

    # --- switching

    def _after_write(self, points: str) -> None:
        metadata = self._metadata(self._address.name) or {}
        switching = metadata.get(_SWITCHING) or {}
        frozen = switching.get("frozen") and _age(switching["since"]) < _FROZEN_FOR_S
        if metadata.get(_OWN, {}).get("points") != points or frozen:
            raise CatalogError(
                f"{self._address}: is being switched over to other points, so that the last changes may be "
                "lost; run the same command again in a minute, it goes on from there"
            )

    def _take_lease(self, points: str) -> None:
        switching = (self._metadata(points) or {}).get(_SWITCHING) or {}
        if switching.get("token") not in (None, self._token) and _age(switching["since"]) < _LEASE_S:
            since = datetime.fromtimestamp(switching["since"], UTC).isoformat(timespec="seconds")
            raise CatalogError(
                f"{self._address}: is being switched over by {switching['by']}, since {since}; wait for it; "
                f"if that process is no more, try again in {_LEASE_S / 60:.0f} minutes"
            )
        self._token = uuid.uuid4().hex
        self._leased = (points, time.time())
        self._note(points, {_SWITCHING: self._lease(frozen=False)})
        time.sleep(_SETTLE_S)
        if not self._holds(points):
            raise CatalogError(f"{self._address}: is being switched over by somebody else; try again later")

    def _renew_lease(self) -> None:
        """Say that the switch goes on; called whenever some of what it makes was written."""
        points, since = self._leased
        if points and _age(since) > _RENEW_S:
            self._leased = (points, time.time())
            self._note(points, {_SWITCHING: self._lease(frozen=False)})

    def _lease(self, *, frozen: bool) -> dict[str, Any]:
        who = f"process {os.getpid()} on {socket.gethostname()}"
        return {"token": self._token, "by": who, "since": time.time(), "frozen": frozen}

    def _holds(self, points: str) -> bool:
        switching = (self._metadata(points) or {}).get(_SWITCHING) or {}
        return self._token is not None and switching.get("token") == self._token


def publish(staged: ServerAddress, live: ServerAddress) -> None:
    """Let a catalogue take the place of another on the same server, in one step; its own name ends.

    For what cannot be switched over from within: the same photos with another encoder.

    Raises
    ------
    CatalogError
        If one of them is no catalogue, or they are the same or on different servers.
    """
    if (staged.host, staged.port) != (live.host, live.port):
        raise CatalogError(f"{live}: is on another server than {staged}; copy it there first (serupa copy)")
    if staged.name == live.name:
        raise CatalogError(f"{live}: cannot take its own place")
    source = Server(staged)
    try:
        target = Server(live, source._connection)
        points = source.read()["points"]
        before = target.read()["points"] if target.has_catalog() else None
        if before is not None:
            source._note(points, {"before": before})
        target._alias(points, instead_of=staged.name)
        if before is not None:
            source._note(before, {_SWITCHING: {"switched": time.time()}})
    finally:
        source.release()


def _kept(settings: Settings) -> dict[str, Any]:
    """Return settings as metadata."""
    own = {name: value for name, value in settings.items() if name != "fields"}
    return {_OWN: own} | {f"{_FIELD}{name}": kind for name, kind in settings["fields"].items()}


def _age(since: float) -> float:
    return time.time() - since
