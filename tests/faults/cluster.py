"""A cluster of Qdrant nodes that tests stop and start: the stand-in, or a real one, by given commands."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from serupa.errors import SerupaError
from serupa.storage.qdrant.address import parse_address
from serupa.storage.qdrant.client import connect
from serupa.storage.qdrant.topology import read_topology
from tests.qdrant_server import Server, running

REAL, STOP, START = "SERUPA_TEST_QDRANT", "SERUPA_TEST_QDRANT_STOP", "SERUPA_TEST_QDRANT_START"
"""The nodes (``qdrant://a,b,c``), and shell commands in which ``{node}`` is 0, 1 or 2."""

_BEHIND_S = 0.5


class Cluster(Protocol):
    def address(self, name: str, **settings: object) -> str: ...
    def stop(self, node: int) -> None: ...
    def start(self, node: int) -> None: ...


class StandIn:
    """Three nodes behind one state."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.address = server.address

    def stop(self, node: int) -> None:
        self.server.nodes[node].leave()

    def start(self, node: int) -> None:
        """Let it come back, behind the others for a while."""
        self.server.nodes[node].come_back(caught_up=False)
        threading.Timer(_BEHIND_S, self.server.nodes[node].come_back).start()


class RealCluster:
    """Somebody else's."""

    def __init__(self, base: str) -> None:
        self._base = base.rstrip("/")

    def address(self, name: str, **settings: object) -> str:
        query = "&".join(f"{key}={value}" for key, value in settings.items())
        return f"{self._base}/{name}" + (f"?{query}" if query else "")

    def stop(self, node: int) -> None:
        _run(os.environ[STOP], node)

    def start(self, node: int) -> None:
        _run(os.environ[START], node)


def _run(command: str, node: int) -> None:
    subprocess.run(command.format(node=node), shell=True, check=True)  # noqa: S602 -- it is the caller's own


@contextmanager
def standing_in() -> Iterator[StandIn]:
    with running(nodes=3) as server:
        yield StandIn(server)


def wait_until_whole(address: str, collection: str, replicas: int, seconds: float = 120.0) -> None:
    """Wait until every node answers and every shard has its replicas, all of them active."""
    deadline, told = time.monotonic() + seconds, ["not asked"]
    link = connect(parse_address(address))
    try:
        while told:
            assert time.monotonic() < deadline, told
            try:
                told = read_topology(link, collection).deviations(replicas)
                told += [str(node.address) for node in link.nodes if node.well is False]
            except SerupaError as error:
                told = [str(error)]
            time.sleep(0.1 if told else 0.0)
    finally:
        link.close()
