"""The right to replace a catalogue's collection, so that two drafts do not get into each other's way.

It is kept in the metadata of the collection in use, under ``switching``: who has it, when it was renewed, for
which draft, and whether the collection is frozen. It is renewed while it is held, and ends soon after that.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from serupa.errors import ConflictError, SerupaError
from serupa.storage.qdrant.client import Connection

KEY = "switching"
RENEW_S = 10.0
EXPIRES_S = 60.0
SETTLE_S = 1.0
"""For a change of metadata to reach every node of a cluster."""
_GIVE_BACK_S = 30.0


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who replaces a collection, as its metadata says it."""

    token: str
    by: str = "another process"
    since: float = 0.0
    frozen: bool = False
    draft: str = ""
    host: str = ""
    pid: int = 0

    @property
    def alive(self) -> bool:
        """Whether it still counts: it was renewed lately, and its process is not known to be gone."""
        if time.time() - self.since > EXPIRES_S:
            return False
        return self.host != socket.gethostname() or _runs(self.pid)


def holder_of(metadata: dict[str, Any]) -> Holder | None:
    """Return whoever holds the lease by a collection's metadata; None where nobody does any more."""
    try:
        holder = msgspec.convert(metadata.get(KEY) or None, Holder | None, strict=False)
    except msgspec.ValidationError:  # of an older version, after a switch: nobody
        return None
    return holder if holder is not None and holder.alive else None


def break_lease(connection: Connection, collection: str) -> str:
    """Take the lease from whoever has it; return who that was, in words, or nothing where nobody had it.

    A draft that is still being made notices before it takes the collection's place, and gives up.
    """
    holder = holder_of(connection.metadata(collection) or {})
    connection.note(collection, {KEY: {}})
    return "" if holder is None else holder.by


class Lease:
    """The lease of one draft.

    Parameters
    ----------
    connection : Connection
    collection : str
        The one in use.
    draft : str
        What is to take its place.

    Raises
    ------
    ConflictError
        If another draft is under way.
    """

    def __init__(self, connection: Connection, collection: str, draft: str) -> None:
        self._connection = connection
        self._collection = collection
        self._holder = Holder(
            token=uuid.uuid4().hex,
            by=f"process {os.getpid()} on {socket.gethostname()}",
            draft=draft,
            host=socket.gethostname(),
            pid=os.getpid(),
        )
        self._ended = threading.Event()
        self._renewing = threading.Lock()
        other = self._read()
        if other is not None:
            since = datetime.fromtimestamp(other.since, UTC).isoformat(timespec="seconds")
            raise ConflictError(
                connection.address,
                f"is being switched over by {other.by}, last heard of {since}",
                f"wait for it; if it is no more: serupa tune --break-lock, or wait {EXPIRES_S:.0f} s",
            )
        self._renew(frozen=False)
        time.sleep(SETTLE_S)
        self.require()
        self._thread = threading.Thread(target=self._keep_renewing, name="serupa-lease", daemon=True)
        self._thread.start()

    @property
    def token(self) -> str:
        """What tells this draft from any other."""
        return self._holder.token

    def require(self) -> None:
        """Raise `ConflictError` unless the lease is still this draft's."""
        holder = self._read()
        if holder is None or holder.token != self._holder.token:
            raise ConflictError(
                self._connection.address, "is being switched over by somebody else", "try again later"
            )

    def freeze(self) -> None:
        """Tell whoever writes to the collection that its last changes may be lost."""
        self._renew(frozen=True)
        time.sleep(SETTLE_S)

    def give_back(self) -> None:
        """Let the next draft begin: at once, or when this expires, where the server does not answer."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(SerupaError):
            holder = self._read()
            if holder is not None and holder.token == self._holder.token:
                self._connection.note(self._collection, {KEY: {}}, patience_s=_GIVE_BACK_S)

    def _read(self) -> Holder | None:
        return holder_of(self._connection.metadata(self._collection) or {})

    def _renew(self, *, frozen: bool, patience_s: float | None = None) -> None:
        with self._renewing:
            self._holder = msgspec.structs.replace(self._holder, since=time.time(), frozen=frozen)
            values = {KEY: msgspec.to_builtins(self._holder)}
            self._connection.note(self._collection, values, patience_s=patience_s)

    def _keep_renewing(self) -> None:
        while not self._ended.wait(RENEW_S):
            with contextlib.suppress(SerupaError):  # whether it is still held is asked before it matters
                self._renew(frozen=self._holder.frozen, patience_s=RENEW_S)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True
