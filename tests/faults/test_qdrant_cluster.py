"""Nodes of a Qdrant cluster fail in all the ways that they have; the shop notices as little as can be.

``SERUPA_TEST_QDRANT=qdrant://a,b,c`` runs the scenario on a real cluster, too; docs/scale.md says how.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from serupa import Catalog, Item
from serupa.catalog import backup as backups
from serupa.catalog import server
from serupa.catalog.archive import write_archive
from serupa.catalog.copy import copy_catalog
from serupa.catalog.reindex import Copying
from serupa.cli.commands import app
from serupa.errors import ConflictError, DamagedError, NotFoundError, UnavailableError, UsageError
from serupa.storage.base import Point
from serupa.storage.manifest import StoreLayout
from serupa.storage.qdrant import client, collections, lease, nodes, scaling
from serupa.storage.qdrant.address import parse_address
from serupa.storage.qdrant.backend import publish
from serupa.storage.qdrant.client import connect
from serupa.storage.qdrant.scaling import plan
from serupa.storage.qdrant.store import QdrantStore, create_collection
from serupa.storage.qdrant.topology import read_topology
from tests.catalog.test_catalog import same_hits
from tests.conftest import draw_photo
from tests.faults.cluster import REAL, STOP, Cluster, RealCluster, StandIn, standing_in, wait_until_whole
from tests.storage.test_qdrant_backend import whitening


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_LOOK_EVERY_S", 0.1)


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    with standing_in() as made:
        yield made


@pytest.fixture
def cluster(stand_in: StandIn) -> Iterator[StandIn]:
    """All nodes well at first, and let go of at the end."""
    yield stand_in
    for node in stand_in.server.nodes:
        node.hangs, node.slow_s = False, 0.0
        node.loses.clear()
        node.lacks.clear()
        node.come_back()


@pytest.fixture(params=["stand-in", "real"])
def any_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    if request.param == "stand-in":
        yield request.getfixturevalue("cluster")
        return
    base = os.environ.get(REAL, "")
    if base.count(",") < 2 or STOP not in os.environ:
        pytest.skip(
            f"needs a cluster of three nodes: set {REAL}=qdrant://a,b,c and {STOP}, see docs/scale.md"
        )
    yield RealCluster(base)


def quick_on_the_stand_in(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(cluster, StandIn):
        monkeypatch.setattr(lease, "SETTLE_S", 0.0)
        monkeypatch.setattr(scaling, "_LOOK_EVERY_S", 0.01)


def unique(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


def remove(catalog: Catalog) -> None:
    """Remove a catalogue and what is left of it from a server that is somebody's."""
    link = catalog.backend.connection  # type: ignore[attr-defined]
    name = catalog.manifest.store.partition(".")[0]
    for collection in link.collections():
        if collection.startswith(f"{name}."):
            link.drop(collection)


POINTS = [
    Point(f"p{n}", {"euclidean": row}, {"id": f"p{n}", "product_id": None, "attributes": {"n": n}})
    for n, row in enumerate(np.random.default_rng(3).normal(size=(40, 4)).astype(np.float32))
]


@pytest.fixture(params=["grpc", "rest"])
def store(request: pytest.FixtureRequest, cluster: StandIn) -> Iterator[QdrantStore]:
    name = f"{request.node.name}".replace("[", "-").strip("]")
    link = connect(parse_address(cluster.address(name, transport=request.param, timeout_s=1)))
    create_collection(link, name, {"euclidean": 4}, StoreLayout(replicas=2), {})
    made = QdrantStore(link, name)
    made.upsert(POINTS)
    yield made
    link.close()


def asked_first(cluster: StandIn, store: QdrantStore) -> int:
    """Return the node that is asked first."""
    before = [node.asked for node in cluster.server.nodes]
    store.count()
    return int(np.argmax([n.asked - b for n, b in zip(cluster.server.nodes, before, strict=True)]))


def test_a_node_that_is_away_is_replaced_at_once(cluster: StandIn, store: QdrantStore) -> None:
    first = asked_first(cluster, store)
    cluster.server.nodes[first].leave()
    assert store.count() == len(POINTS)
    store.upsert(POINTS[:3])
    assert asked_first(cluster, store) != first
    assert store._connection.repeated == 1
    refused = cluster.server.nodes[first].asked
    store.count()
    assert cluster.server.nodes[first].asked == refused  # nobody waits for it again


def test_a_node_that_hangs_is_given_up_after_the_limit_of_one_request(
    cluster: StandIn, store: QdrantStore
) -> None:
    first = asked_first(cluster, store)
    cluster.server.nodes[first].hangs = True
    assert store.count() == len(POINTS)
    assert store._connection.repeated == 1
    assert [node.well for node in store._connection.nodes][first] is False


def test_a_node_that_comes_back_is_asked_again_once_it_has_caught_up(
    cluster: StandIn, store: QdrantStore
) -> None:
    first = asked_first(cluster, store)
    node = cluster.server.nodes[first]
    node.leave()
    assert store.count() == len(POINTS)
    node.come_back(caught_up=False)
    time.sleep(0.5)
    asked = node.asked
    assert store.count() == len(POINTS)
    assert node.asked == asked
    node.come_back()
    time.sleep(0.5)
    store._connection.nodes._first = first
    assert asked_first(cluster, store) == first


def test_an_answer_that_was_lost_changes_nothing(cluster: StandIn, store: QdrantStore) -> None:
    for node in cluster.server.nodes:
        node.loses = {"upsert"}
    store.upsert([replace(POINTS[0], payload=dict(POINTS[0].payload) | {"attributes": {"n": -1}})])
    assert store.get(["p0"])["p0"].payload["attributes"] == {"n": -1}
    assert store.count() == len(POINTS)


def test_what_a_node_does_not_know_yet_another_does(cluster: StandIn, stand_in: StandIn) -> None:
    """A node that came back tells of no collection that was made meanwhile."""
    stand_in.server.nodes[0].leave()
    link = connect(parse_address(cluster.address("late")))
    create_collection(link, "late", {"euclidean": 4}, StoreLayout(replicas=2), {"made": "late"})
    stand_in.server.nodes[0].come_back(caught_up=False)
    for first in range(3):
        link.nodes._first = first
        assert link.metadata("late") == {"made": "late"}
    assert link.metadata("never") is None
    link.close()
    asked = stand_in.server.nodes[0].asked
    new = connect(parse_address(cluster.address("late")))  # of a process that never met it before
    new.nodes._first = 0
    assert new.metadata("late") == {"made": "late"}
    assert stand_in.server.nodes[0].asked == asked
    new.close()


def test_a_slow_node_is_waited_for(cluster: StandIn, store: QdrantStore) -> None:
    for node in cluster.server.nodes:
        node.slow_s = 0.3
    assert store.count() == len(POINTS)
    assert all(node.well is not False for node in store._connection.nodes)


def test_a_shard_without_a_replica_is_missed_until_it_is_back(
    cluster: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "READ_PATIENCE_S", 0.3)
    link = connect(parse_address(cluster.address("alone")))
    create_collection(link, "alone", {"euclidean": 4}, StoreLayout(shards=3), {})
    store = QdrantStore(link, "alone")
    store.upsert(POINTS)
    cluster.server.nodes[1].leave()
    with pytest.raises(UnavailableError, match="1 of 1 read operations failed"):
        store.count()
    cluster.server.nodes[1].come_back()
    assert store.count() == len(POINTS)
    link.close()


def test_leftovers_on_a_node_that_is_away_take_nothing_down(
    cluster: StandIn, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a switch left them that failed, and whose cleaning up failed, too; the next writer removes them."""
    monkeypatch.setattr(collections, "CLEANING_S", 0.2)
    address = cluster.address("left", replicas=2)
    with Catalog.create(address) as catalog:
        catalog.add(items[:6])
        link = catalog.backend.connection  # type: ignore[attr-defined]
        for name in ("left.2", "left.2.tuning"):
            create_collection(link, name, {"cosine": 4}, StoreLayout(shards=1), {})
            cluster.server.engine.placements[name] = {0: {2: "Active"}}
    cluster.server.nodes[2].leave()
    with Catalog.open(address) as catalog:
        assert len(catalog.similar("item-00", k=3).hits) == 3
        assert catalog.info()["items"] == 6
        assert catalog.backend.connection.repeated <= 1  # type: ignore[attr-defined]
    cluster.server.nodes[2].come_back()
    with Catalog.open(address) as catalog:
        catalog.remove(["item-05"])
    assert not [name for name in cluster.server.engine.placements if name.startswith("left.2")]


def test_a_switch_that_fails_gives_its_lease_back(
    cluster: StandIn, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most nodes go away in the middle of it, and come back when it has given up."""
    monkeypatch.setattr(lease, "SETTLE_S", 0.0)
    monkeypatch.setattr(client, "WRITE_PATIENCE_S", 0.5)
    monkeypatch.setattr(client, "READ_PATIENCE_S", 0.5)
    with Catalog.create(cluster.address("failing", replicas=2)) as catalog:
        catalog.add(items)
        wanted = whitening(catalog)
        at_work = Copying.copy

        def leave(copying: Copying, *more: Any) -> None:
            for node in cluster.server.nodes[:2]:
                node.leave()
                threading.Timer(2.0, node.come_back).start()
            at_work(copying, *more)

        with monkeypatch.context() as patch, pytest.raises(UnavailableError):
            patch.setattr(Copying, "copy", leave)
            catalog.use_whitening(wanted)
        catalog.use_whitening(wanted)  # at once: nobody else holds it
        assert catalog.manifest.tuning is not None


def test_what_belongs_to_a_write_has_its_patience(
    cluster: StandIn, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole cluster is away for longer than a search would wait: indexing goes on."""
    monkeypatch.setattr(client, "READ_PATIENCE_S", 0.3)
    monkeypatch.setattr(client, "_LONGEST_PAUSE_S", 0.2)
    away = threading.Event()

    def leave(report: Any) -> None:
        if report.encoded and not away.is_set():
            away.set()
            for node in cluster.server.nodes:
                node.leave()
                threading.Timer(0.8, node.come_back).start()

    with Catalog.create(cluster.address("patient", replicas=2)) as catalog:
        catalog.add(items[:8])
        report = catalog.add(items, progress=leave)
        assert away.is_set() and not report.failures
        while any(node.away for node in cluster.server.nodes):
            time.sleep(0.05)
        assert catalog.count() == 24
        for node in cluster.server.nodes:
            node.leave()
        with pytest.raises(UnavailableError, match=r"no answer within 0\.\d s"):
            catalog.count()


def test_a_switch_whose_answers_are_lost_is_a_switch(
    cluster: StandIn, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changes anything is done three times before anybody hears of it: what is there is its own."""
    monkeypatch.setattr(lease, "SETTLE_S", 0.0)
    with Catalog.create(cluster.address("lossy", replicas=2)) as catalog:
        catalog.add(items)
        for node in cluster.server.nodes:
            node.loses = {"create", "update", "alias", "upsert", "index", "drop"}
        catalog.use_whitening(whitening(catalog))
        assert catalog.manifest.tuning is not None
        assert catalog.count() == 24
        assert not any("alias" in node.loses for node in cluster.server.nodes)


def test_a_node_that_is_behind_makes_nobody_remove_what_is_in_use(
    cluster: StandIn, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "SETTLE_S", 0.0)
    monkeypatch.setattr(collections, "_GRACE_S", -1.0)
    address = cluster.address("behind", replicas=2)
    with Catalog.create(address) as catalog:
        catalog.add(items[:6])
        cluster.server.nodes[0].leave()
        catalog.use_whitening(whitening(catalog, 4))
        in_use = catalog.manifest.store
    cluster.server.nodes[0].come_back(caught_up=False)
    with Catalog.open(address) as other:
        own = other.backend.collections  # type: ignore[attr-defined]
        for first in range(3):
            other.backend.connection.nodes._first = first  # type: ignore[attr-defined]
            own.remove_leftovers()
    assert in_use in cluster.server.engine.placements


def test_info_and_check_tell_what_the_server_has(cluster: StandIn, items: list[Item]) -> None:
    address = cluster.address("looked-at", replicas=2, shards=3)
    with Catalog.create(address) as catalog:
        catalog.add(items)
        assert server.check(catalog, deep=True).problem(address) is None
        status = catalog.backend.status()
        assert [len(one["replicas"]) for one in status["placement"]] == [2, 2, 2]
        assert sum(one["replicas"][0]["points"] for one in status["placement"]) == 24
        assert status["deviations"] == []

        cluster.server.nodes[1].lacks |= {"item-03", "item-04"}  # its replicas are behind
        disagree, differ = server.check(catalog, deep=True).faults
        assert "22 on 127.0.0.1" in disagree and differ.startswith("2 points are not the same on")
        cluster.server.nodes[1].lacks.clear()

        cluster.server.engine.indexes[catalog.manifest.store].pop("product_id")
        assert "no index on product_id" in server.check(catalog).faults[0]

        cluster.server.nodes[2].leave()
        told = catalog.backend.status()["deviations"]
        assert any("does not answer" in one for one in told)
        assert any("is Dead" in one for one in told)
        assert any("1 active of 2 replicas" in one for one in told)
        assert isinstance(server.check(catalog).problem(address), DamagedError | UnavailableError)
    told = CliRunner().invoke(app, ["info", "-c", address]).stdout
    assert "Not as asked" in told and "node" in told.lower()


def test_plan_spreads_replicas_evenly() -> None:
    assert plan({0: [1], 1: [2]}, [1, 2], 1) == []
    steps = plan({0: [1, 2], 1: [1, 2], 2: [1, 2]}, [1, 2, 3], 2)
    assert {step.kind for step in steps} == {"move"} and len(steps) == 2
    assert all(step.node == 3 for step in steps)
    steps = plan({0: [1], 1: [2], 2: [3]}, [1, 2, 3], 2)
    assert [step.kind for step in steps] == ["copy"] * 3
    assert sorted(step.node for step in steps) == [1, 2, 3]
    assert [step.kind for step in plan({0: [1, 2, 3]}, [1, 2, 3], 1)] == ["drop", "drop"]


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_scale_while_it_serves(
    any_cluster: Cluster, items: list[Item], transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_on_the_stand_in(any_cluster, monkeypatch)
    address = any_cluster.address(unique("scaled"), shards=3, transport=transport)
    with Catalog.create(address) as catalog:
        catalog.add(items)
        catalog.use_whitening(whitening(catalog))
        told: list[str] = []
        if isinstance(any_cluster, StandIn):  # what was begun is refused the second time
            for node in any_cluster.server.nodes:
                node.loses = {"setup"}
        known = server.scale(catalog, replicas=2, progress=lambda what, *_: told.append(what))
        assert [len(one["replicas"]) for one in known["placement"]] == [2, 2, 2]
        assert known["deviations"] == [] and any(one.startswith("copying shard") for one in told)
        connection = catalog.backend.connection  # type: ignore[attr-defined]
        tuning = read_topology(connection, f"{catalog.manifest.store}.tuning")
        assert [len(on) for on in tuning.shards.values()] == [2]
        with pytest.raises(UnavailableError, match="too few nodes for 4 replicas"):
            server.scale(catalog, replicas=4)
        before = catalog.manifest.store
        known = server.scale(catalog, shards=6)
        assert len(known["placement"]) == 6 and catalog.manifest.store != before
        assert all(len(one["replicas"]) == 2 for one in known["placement"])
        assert catalog.count() == 24 and catalog.manifest.tuning is not None
        known = server.scale(catalog, replicas=1)
        assert [len(one["replicas"]) for one in known["placement"]] == [1] * 6
        wanted = catalog.manifest.layout
        any_cluster.stop(0)
        with pytest.raises(UnavailableError, match="does not answer"):
            server.scale(catalog, replicas=2)
        any_cluster.start(0)
        wait_until_whole(address.partition("?")[0], catalog.manifest.store, 1)
    with Catalog.open(address.partition("?")[0]) as again:
        assert again.manifest.layout == wanted == StoreLayout(shards=6, replicas=1)
        remove(again)


@pytest.mark.slow
def test_backup_of_a_server_comes_back_on_another_and_in_a_directory(
    any_cluster: Cluster, items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_on_the_stand_in(any_cluster, monkeypatch)
    address, file = any_cluster.address(unique("kept"), replicas=2, shards=2), tmp_path / "kept.backup"
    with Catalog.create(address) as catalog:
        catalog.add(items)
        catalog.use_whitening(whitening(catalog))
        wanted = catalog.similar("item-00", k=5)
        by_words = {hit.item.id for hit in catalog.search(text="dress", k=24)}
        any_cluster.stop(0)  # each shard has a replica elsewhere
        made = backups.backup(address, file)
        any_cluster.start(0)
        assert (made.items, made.files) == (24, 4)
        assert catalog.backend.break_lock() == ""  # the lease was given back
        wait_until_whole(address.partition("?")[0], catalog.manifest.store, 2)
        remove(catalog)
    assert backups.verify(file).items == 24
    again = any_cluster.address(unique("again"))
    assert backups.restore(file, again).items == 24
    with Catalog.open(again) as catalog:
        wait_until_whole(again, catalog.manifest.store, 2)
        same_hits(catalog.similar("item-00", k=5), wanted)
        assert {hit.item.id for hit in catalog.search(text="dress", k=24)} == by_words
        assert catalog.manifest.layout == StoreLayout(shards=2, replicas=2)
        assert server.check(catalog, deep=True).faults == []
        with pytest.raises(ConflictError, match="already"):
            backups.restore(file, again)
        remove(catalog)
    assert backups.restore(file, tmp_path / "shop").items == 24
    with Catalog.open(tmp_path / "shop") as catalog:
        same_hits(catalog.similar("item-00", k=5), wanted)
    never = any_cluster.address(unique("never"))
    local = tmp_path / "local.backup"
    write_archive(local, "serupa backup 1", "shop", 0, ())
    with pytest.raises(UsageError, match="serupa copy DIR"):
        backups.restore(local, never)
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(DamagedError):
        backups.restore(file, never)
    with pytest.raises(NotFoundError):
        Catalog.open(never)


def test_scale_and_deep_check_are_for_servers(catalog: Catalog, tmp_path: Path) -> None:
    for call in (server.check, server.scale):
        with pytest.raises(UsageError, match="is in a directory"):
            call(catalog)  # type: ignore[operator]
    with pytest.raises(UsageError, match="no lock to break"):
        catalog.backend.break_lock()


class Searcher(threading.Thread):
    """Searches until it is told to stop, as a replica of the API does: a switch is noticed now and then."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.searches, self.failures = 0, list[str]()
        self.done = threading.Event()

    def run(self) -> None:
        catalog = Catalog.open(self.address)
        while not self.done.is_set():
            try:
                catalog = catalog.refreshed()
                hits = catalog.similar("item-00", k=5, exact=True).hits
                if len(hits) != 5:
                    self.failures.append(f"{len(hits)} hits")
            except Exception as error:
                self.failures.append(repr(error))
            self.searches += 1
            time.sleep(0.02)
        catalog.close()


def add(address: str, items: list[Item], acknowledged: set[str]) -> None:
    """Add items one by one, and again what was refused because of a switch."""
    with Catalog.open(address) as catalog:
        for item in items:
            while True:
                try:
                    report = catalog.refreshed().add([item])
                except ConflictError:
                    time.sleep(0.1)
                    continue
                assert not report.failures, report.failures
                acknowledged.add(item.id)
                break


def while_stopped(cluster: Cluster, node: int, address: str, work: Any) -> None:
    """Do something while a node is stopped in the middle of it and started again."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    working = threading.Thread(target=run)
    working.start()
    time.sleep(0.1)
    cluster.stop(node)
    working.join()
    cluster.start(node)
    assert failures == []
    with Catalog.open(address) as catalog:
        wait_until_whole(address, catalog.manifest.store, 2)


def kept(address: str) -> dict[str, Any]:
    with Catalog.open(address) as catalog:
        told, status = catalog.info()["server"], catalog.backend.status()
    assert status["deviations"] == []
    return {name: told[name] for name in StoreLayout.__struct_fields__} | {
        "replicas by shard": [len(one["replicas"]) for one in status["placement"]]
    }


@pytest.mark.slow
def test_each_node_in_turn_fails_a_working_shop(
    any_cluster: Cluster, items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Index, tune while somebody adds, publish; a node fails in the middle of each, and searches go on."""
    monkeypatch.setattr(collections, "_GRACE_S", 5.0)
    shop = unique("scenario")
    address, staged = any_cluster.address(shop), any_cluster.address(f"{shop}-next")
    layout = {"shards": 3, "replicas": 2, "quantization": "none"}
    more = [
        Item(f"more-{n:02}", str(draw_photo(tmp_path / f"{n}.png", 100 + n)), product_id=f"P{n // 3}")
        for n in range(12)
    ]
    acknowledged = {item.id for item in items}
    with Catalog.create(any_cluster.address(shop, **layout)) as catalog:
        catalog.add(items)
    before = kept(address)
    searcher = Searcher(address)
    searcher.start()

    while_stopped(any_cluster, 0, address, lambda: add(address, more[:6], acknowledged))

    def tune() -> None:
        with Catalog.open(address) as catalog:
            catalog.use_whitening(whitening(catalog))

    adding = threading.Thread(target=add, args=(address, more[6:], acknowledged))
    adding.start()
    while_stopped(any_cluster, 1, address, tune)
    adding.join()
    assert kept(address) == before

    def put_in_its_place() -> None:
        with Catalog.open(address) as catalog:
            copy_catalog(catalog, any_cluster.address(f"{shop}-next", **layout))
        publish(parse_address(staged), parse_address(address))

    while_stopped(any_cluster, 2, address, put_in_its_place)
    searcher.done.set()
    searcher.join()
    assert searcher.failures == []
    assert searcher.searches > 20
    assert kept(address) == before

    time.sleep(5.0)
    with Catalog.open(address) as catalog:
        assert {item.id for item in catalog.items()} == acknowledged
        assert catalog.manifest.tuning is not None
        in_use = {catalog.manifest.store, f"{catalog.manifest.store}.tuning"}
        catalog.remove(["more-00"])
    link = connect(parse_address(address))
    try:
        assert {name for name in link.collections() if name.startswith(shop)} == in_use
    finally:
        for name in in_use:
            link.drop(name)
        link.close()
