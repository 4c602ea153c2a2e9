"""Servers that stores are tested on: the client's local mode, a small server, and a real one if there is."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping

import pytest
from qdrant_client import QdrantClient

from serupa.storage.manifest import StoreLayout
from serupa.storage.qdrant.address import NodeAddress, ServerAddress, parse_address
from serupa.storage.qdrant.client import Connection, connect
from serupa.storage.qdrant.nodes import Node, Nodes
from serupa.storage.qdrant.store import QdrantStore, create_collection
from tests.qdrant_server import Server, running

REAL = "SERUPA_TEST_QDRANT"
"""Set to ``qdrant://host:port`` to run every test of a store on that server, too."""


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A small server for all tests of this session; every test takes a name of its own."""
    with running() as made:
        yield made


def connection_to(kind: str, request: pytest.FixtureRequest) -> Connection:
    """Connect to the kind of server that a test is to run on."""
    if kind == "local":
        local, client = NodeAddress("local", 1, 2), QdrantClient(":memory:")
        nodes = Nodes([Node(local, lambda *_: client)], lambda *_: True)
        return Connection(ServerAddress((local,), "local"), nodes)
    if kind == "real":
        base = os.environ.get(REAL)
        if not base:
            pytest.skip(f"needs a Qdrant server: set {REAL}=qdrant://host:port")
        return connect(parse_address(f"{base}/test"))
    server: Server = request.getfixturevalue("server")
    return connect(parse_address(server.address("test", transport=kind)))


def new_store(connection: Connection, dimensions: Mapping[str, int]) -> QdrantStore:
    """Make a collection of a new name, and open it as a store."""
    name = f"test-{uuid.uuid4().hex}"
    create_collection(connection, name, dimensions, StoreLayout(), {})
    return QdrantStore(connection, name)
