"""A connection to a Qdrant server: requests are repeated, to one node or the next, until one answers."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from serupa.errors import MissingExtraError, UnavailableError
from serupa.storage.qdrant.address import NodeAddress, ServerAddress
from serupa.storage.qdrant.nodes import Node, Nodes

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_T = TypeVar("_T")

KEY_VARIABLE = "SERUPA_QDRANT_API_KEY"
READ_PATIENCE_S = 10.0
"""A search that takes longer helps nobody; whoever waits for it is told."""
WRITE_PATIENCE_S = 120.0
"""Long enough for a node to restart in the middle of indexing."""

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0

# a request that ended so may have been carried out or not: all of ours may be repeated
_TRANSIENT_GRPC = {
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "ABORTED",
    "CANCELLED",
    "INTERNAL",
    "UNKNOWN",
    "FAILED_PRECONDITION",
}
_AWAY_GRPC = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"}
_AWAY_STATUS = {502, 503, 504}
_DENIED_GRPC = {"UNAUTHENTICATED", "PERMISSION_DENIED"}


class MissingError(Exception):
    """The server has no such collection."""


class ExistsError(Exception):
    """The server has such a collection already."""


class Connection:
    """Sends requests to the nodes of a server. May be used by several threads.

    Every request of Serupa's says what is to be there afterwards, not what is to change, so that one whose
    answer was lost is sent again without harm, to any node.

    Parameters
    ----------
    address : ServerAddress
        For messages, and the time limit of one request.
    nodes : Nodes
    read_patience_s, write_patience_s : float, optional
        How long a request is repeated while there is no answer; the defaults above unless given.
    """

    def __init__(
        self,
        address: ServerAddress,
        nodes: Nodes,
        *,
        read_patience_s: float | None = None,
        write_patience_s: float | None = None,
    ) -> None:
        self.address = address
        self.nodes = nodes
        self._read_patience_s = READ_PATIENCE_S if read_patience_s is None else read_patience_s
        self._write_patience_s = WRITE_PATIENCE_S if write_patience_s is None else write_patience_s
        self._random = random.Random()  # noqa: S311 -- spreads retries, keeps no secret
        self.repeated = 0

    @cached_property
    def patient(self) -> Connection:
        """The same connection for what belongs to a write: reads have its patience, too."""
        patience_s = self._write_patience_s
        return Connection(self.address, self.nodes, read_patience_s=patience_s, write_patience_s=patience_s)

    def by_node(self, limit_s: int = 10, patience_s: float = 0.0) -> Iterator[tuple[NodeAddress, Connection]]:
        """Yield every node with a connection to it alone: its time for one request, and for repeating it."""
        address = replace(self.address, timeout_s=min(self.address.timeout_s, limit_s))
        for node in self.nodes:
            alone = Nodes([node], lambda *_: True)
            yield (
                node.address,
                Connection(address, alone, read_patience_s=patience_s, write_patience_s=patience_s),
            )

    def read(self, ask: Callable[[QdrantClient], _T]) -> _T:
        """Ask for something.

        Raises
        ------
        MissingError
            If the collection is not there.
        UnavailableError
            If there is no answer, or the server refuses.
        """
        # a node that hangs is to leave time for the others, also where what follows would wait longer
        limit_s = min(self.address.timeout_s, max(1, int(READ_PATIENCE_S / len(self.nodes))))
        return self._until(ask, self._read_patience_s, limit_s)

    def write(self, change: Callable[[QdrantClient], _T], patience_s: float | None = None) -> _T:
        """Change something; as `read`, with more patience. `ExistsError` if it is there already."""
        patience_s = self._write_patience_s if patience_s is None else patience_s
        return self._until(change, patience_s, self.address.timeout_s)

    def metadata(self, collection: str) -> dict[str, Any] | None:
        """Return the metadata of a collection or an alias; None where there is no such collection."""
        try:
            info = self.read(lambda client: client.get_collection(collection))
        except MissingError:
            return None
        return dict(info.config.metadata or {})

    def note(self, collection: str, metadata: Mapping[str, Any], *, patience_s: float | None = None) -> None:
        """Put keys into the metadata of a collection; others stay."""
        self.write(lambda client: client.update_collection(collection, metadata=dict(metadata)), patience_s)

    def aliases(self) -> dict[str, str]:
        """Return the alias of each collection that has one."""
        answer = self.read(lambda client: client.get_aliases())
        return {alias.collection_name: alias.alias_name for alias in answer.aliases}

    def collections(self) -> list[str]:
        """Return the names of all collections."""
        return [one.name for one in self.read(lambda client: client.get_collections()).collections]

    def drop(self, collection: str, *, patience_s: float | None = None) -> None:
        """Remove a collection; `MissingError` if it is not there."""
        self.write(lambda client: client.delete_collection(collection), patience_s)

    def close(self) -> None:
        """Close the connection."""
        self.nodes.close()

    def _until(self, send: Callable[[QdrantClient], _T], patience_s: float, limit_s: int) -> _T:
        started, pause = time.monotonic(), _FIRST_PAUSE_S
        while True:
            missing: MissingError | None = None
            for node, last in self.nodes.in_turn():
                try:
                    answer = send(node.client(self.address.timeout_s if last else limit_s))
                except Exception as error:
                    try:
                        wait = self._wait(error, pause)
                    except MissingError as told:  # a node that was away may not have heard of it yet
                        missing = told
                        continue
                    failure: Exception = error
                    if _away(error):
                        self.nodes.failed(node)
                    self.repeated += 1
                else:
                    self.nodes.answered(node)
                    return answer
            if missing is not None:
                raise missing
            if time.monotonic() + wait - started > patience_s:
                raise UnavailableError(
                    self.address,
                    f"no answer within {time.monotonic() - started:.1f} s ({_reason(failure)})",
                    f"is a Qdrant server there, with gRPC at port {self.address.nodes[0].grpc_port}?"
                    if self.address.transport == "grpc"
                    else "is a Qdrant server there?",
                ) from failure
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _wait(self, error: Exception, pause: float) -> float:
        """Return how long to wait before trying again; raise what trying again would not change."""
        status, code = getattr(error, "status_code", None), _grpc_code(error)
        text = _reason(error)
        missing = isinstance(error, ValueError) and text.startswith("Collection ")
        if status == 404 or code == "NOT_FOUND" or (missing and text.endswith("not found")):
            raise MissingError(text) from error
        if status == 409 or code == "ALREADY_EXISTS" or "already exists" in text:
            raise ExistsError(text) from error
        if status in (401, 403) or code in _DENIED_GRPC:
            raise UnavailableError(self.address, "the server wants a key", f"set {KEY_VARIABLE}") from error
        asked = getattr(error, "retry_after_s", None)
        if asked is not None:
            return min(float(asked), _LONGEST_PAUSE_S)
        if code in _TRANSIENT_GRPC or (status is not None and (status >= 500 or status in (408, 429))):
            return pause * self._random.uniform(0.5, 1.0)
        if _lost(error):
            return pause * self._random.uniform(0.5, 1.0)
        raise UnavailableError(self.address, f"the server refused: {text}") from error


def connect(address: ServerAddress) -> Connection:
    """Make a connection; nothing is sent yet.

    The server's key is taken from ``SERUPA_QDRANT_API_KEY``.

    Raises
    ------
    MissingExtraError
        If the ``qdrant`` extra is not installed.
    """
    try:
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise MissingExtraError("a catalogue on a server", "qdrant") from error

    # reading the certificates of the world takes 0.1 s for each client
    unencrypted: dict[str, Any] = {} if address.tls else {"verify": False}

    def make(node: NodeAddress, limit_s: int) -> QdrantClient:
        return QdrantClient(
            host=str(node).rpartition(":")[0],
            port=node.port,
            grpc_port=node.grpc_port,
            prefer_grpc=address.transport == "grpc",
            https=address.tls,
            api_key=os.environ.get(KEY_VARIABLE) or None,
            timeout=limit_s,
            check_compatibility=False,
            grpc_options={"grpc.max_reconnect_backoff_ms": 1000, "grpc.initial_reconnect_backoff_ms": 200},
            **unencrypted,
        )

    def ready(node: NodeAddress, limit_s: float) -> bool:
        import httpx

        try:
            url = f"{'https' if address.tls else 'http'}://{node}/readyz"
            return httpx.get(url, timeout=limit_s, verify=address.tls).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    return Connection(address, Nodes([Node(node, make) for node in address.nodes], ready))


def _away(error: Exception) -> bool:
    """Whether it is the node that does not answer, not a part of its work that failed."""
    return (
        _grpc_code(error) in _AWAY_GRPC or getattr(error, "status_code", None) in _AWAY_STATUS or _lost(error)
    )


def _grpc_code(error: Exception) -> str | None:
    code = getattr(error, "code", None)
    return getattr(code(), "name", None) if callable(code) else None


def _lost(error: Exception) -> bool:
    """Whether the connection failed: there is no status because there was no answer."""
    import httpx

    source = getattr(error, "source", error)
    return isinstance(source, httpx.HTTPError | ConnectionError | TimeoutError)


def _reason(error: Exception) -> str:
    """Return the server's own words on one line."""
    details = getattr(error, "details", None)
    text = details() if callable(details) else None
    if text is None and getattr(error, "content", None):
        text = _rest_reason(error)
    text = str(text or getattr(error, "source", None) or error or type(error).__name__)
    return " ".join(text.split())[:300]


def _rest_reason(error: Any) -> str:
    try:
        return str(error.structured()["status"]["error"])
    except (ValueError, KeyError, TypeError):
        return f"{error.status_code} {error.reason_phrase}".strip()
