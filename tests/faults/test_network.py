"""The network fails in the middle of writing: in the end every point is there once."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

from serupa.errors import UnavailableError
from serupa.storage.base import Point, grouped
from serupa.storage.manifest import StoreLayout
from serupa.storage.qdrant import client as connection
from serupa.storage.qdrant.address import parse_address
from serupa.storage.qdrant.store import QdrantStore, create_collection
from tests.faults.proxy import misbehaving
from tests.qdrant_server import running

COUNT, DIMENSION = 400, 16


def points() -> list[Point]:
    rows = np.random.default_rng(3).normal(size=(COUNT, DIMENSION)).astype(np.float32)
    return [
        Point(f"p{n}", {"euclidean": row}, {"id": f"p{n}", "product_id": None, "attributes": {"n": n}})
        for n, row in enumerate(rows)
    ]


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_every_point_is_there_once(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(connection, "READ_PATIENCE_S", 60.0)
    wanted = points()
    with running() as server:
        target = server.port if transport == "rest" else server.grpc_port
        with misbehaving(target, cut=0.05, refuse=0.15, delay_s=0.002) as proxy:
            ports = {"rest": (proxy.port, 1), "grpc": (1, proxy.port)}[transport]
            address = (
                f"qdrant://127.0.0.1:{ports[0]}/shop?grpc_port={ports[1]}&transport={transport}&timeout_s=2"
            )
            link = connection.connect(parse_address(address))
            with suppress(connection.ExistsError):  # made by a request whose answer was lost
                create_collection(link, "shop.1", {"euclidean": DIMENSION}, StoreLayout(), {})
            store = QdrantStore(link, "shop.1")
            ids = {point.id: point for point in wanted}
            for batch in grouped(ids, 16):
                store.upsert([ids[i] for i in batch])
            store.delete(["p0", "p1"])
            store.replace_payloads([dict(ids["p2"].payload) | {"attributes": {"n": -2}}])
            found = {p.id: p for part in store.scroll(vectors=["euclidean"], batch=50) for p in part}
            assert store.count() == len(found) == COUNT - 2
            assert proxy.cuts > 0 and link.repeated > 0
            if transport == "rest":  # one connection a request; gRPC keeps few, so that chance may spare them
                assert proxy.refusals > 0
            link.close()
    assert found["p2"].payload["attributes"] == {"n": -2}
    for point in wanted[2:]:
        np.testing.assert_array_equal(found[point.id].vectors["euclidean"], point.vectors["euclidean"])


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_patience_ends(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that goes away for good is named, with what to look at."""
    monkeypatch.setattr(connection, "WRITE_PATIENCE_S", 0.5)
    monkeypatch.setattr(connection, "READ_PATIENCE_S", 0.5)
    with running() as server:
        link = connection.connect(parse_address(server.address("shop", transport=transport, timeout_s=1)))
        create_collection(link, "shop.1", {"euclidean": DIMENSION}, StoreLayout(), {})
        store = QdrantStore(link, "shop.1")
        store.upsert(points()[:5])
    with pytest.raises(UnavailableError, match="no answer"):
        store.upsert(points()[:5])
    with pytest.raises(UnavailableError, match="no answer"):
        store.count()
