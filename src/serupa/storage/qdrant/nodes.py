"""The nodes of a Qdrant server: what one does not answer goes to the next, and it is tried again later."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from serupa.storage.qdrant.address import NodeAddress

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

MakeClient = Callable[[NodeAddress, int], "QdrantClient"]
"""Makes the client of a node whose requests may take so many seconds."""

_LOOK_EVERY_S = 1.0
_LOOK_LIMIT_S = 2.0


class Node:
    """One node, with a client for each time limit, made when first needed."""

    def __init__(self, address: NodeAddress, make: MakeClient) -> None:
        self.address = address
        self.well: bool | None = None
        """None until it is asked for the first time."""
        self._make = make
        self._clients: dict[int, QdrantClient] = {}
        self._lock = threading.Lock()

    def client(self, limit_s: int) -> QdrantClient:
        """Return the client whose requests take so long at most."""
        with self._lock:
            if limit_s not in self._clients:
                self._clients[limit_s] = self._make(self.address, limit_s)
            return self._clients[limit_s]

    def close(self) -> None:
        """Close its clients."""
        with self._lock:
            for client in self._clients.values():
                client.close()


class Nodes:
    """All nodes that an address names; used by several threads.

    The one that answered last is asked first, so that what was written is read from where it was written. A
    node is passed over until it says that it is ready, when it is met and when it failed: one that comes back
    is behind the others for a while, and would tell of collections that are gone.

    Parameters
    ----------
    nodes : sequence of Node
    ready : callable
        Whether a node may be asked; not looked at where there is only one.
    """

    def __init__(self, nodes: Sequence[Node], ready: Callable[[NodeAddress, float], bool]) -> None:
        self._nodes = list(nodes)
        self._ready = ready
        self._first = random.randrange(len(self._nodes))  # noqa: S311 -- spreads replicas of the API over nodes
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watching = False

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes)

    def in_turn(self) -> Iterator[tuple[Node, bool]]:
        """Yield the nodes to ask, one after the other, and whether it is the last one.

        They are those that are well; all, where none is.
        """
        with self._lock:
            turned = self._nodes[self._first :] + self._nodes[: self._first]
        none = True
        for number, node in enumerate(turned):
            if node.well is None and len(turned) > 1:
                node.well = self._ready(node.address, _LOOK_LIMIT_S)
                if not node.well:
                    self.failed(node)
            if node.well is not False:
                none = False
                yield node, all(other.well is False for other in turned[number + 1 :])
        if none:
            for node in turned:
                yield node, node is turned[-1]

    def answered(self, node: Node) -> None:
        """Ask this node first from now on."""
        with self._lock:
            self._first = self._nodes.index(node)

    def failed(self, node: Node) -> None:
        """Pass this node over until it is ready again."""
        if len(self._nodes) == 1:
            return
        with self._lock:
            node.well = False
            if self._watching or self._closed.is_set():
                return
            self._watching = True
        threading.Thread(target=self._watch, name="serupa-nodes", daemon=True).start()

    def close(self) -> None:
        """Close every client."""
        self._closed.set()
        for node in self._nodes:
            node.close()

    def _watch(self) -> None:
        while not self._closed.wait(_LOOK_EVERY_S):
            for node in self._nodes:
                if not node.well:
                    node.well = self._ready(node.address, _LOOK_LIMIT_S)
            with self._lock:
                if all(node.well for node in self._nodes):
                    self._watching = False
                    return
