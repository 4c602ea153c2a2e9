"""A catalogue on a server: the tests of one in a directory again, and what only a server can do."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from serupa import Catalog, Item
from serupa.catalog.reindex import Copying
from serupa.cli.commands import app
from serupa.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from serupa.learning.whitening import fit_whitening
from serupa.storage.manifest import StoreLayout
from serupa.storage.qdrant import collections as own_collections
from serupa.storage.qdrant import lease
from serupa.storage.qdrant.address import parse_address
from serupa.storage.qdrant.backend import publish
from serupa.vectors import METRICS

# the same tests, on the catalogue below
from tests.catalog.test_catalog import (  # noqa: F401
    same_hits,
    test_a_crop_is_searched_with,
    test_a_photo_known_under_another_id_is_not_encoded,
    test_add_then_search_by_every_photo,
    test_adding_again_encodes_nothing,
    test_agrees_with_brute_force,
    test_another_photo_is_an_update,
    test_by_product,
    test_embeddings_are_the_encoders,
    test_facets,
    test_fields_are_typed,
    test_filters,
    test_items_come_back_as_they_were,
    test_other_attributes_are_an_update_without_encoding,
    test_pages,
    test_rank_is_similar_for_many,
    test_remove,
    test_what_is_not_there,
)
from tests.qdrant_server import Server, running


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SETTLE_S", 0.0)


@pytest.fixture
def address(server: Server, request: pytest.FixtureRequest) -> str:
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)[:90]
    return server.address(name)


@pytest.fixture
def catalog(address: str, items: list[Item]) -> Iterator[Catalog]:
    with Catalog.create(address, metrics=METRICS) as made:
        made.add(items)
        yield made


def collections(server: Server, name: str) -> list[str]:
    found = server.engine.client.get_collections().collections
    return sorted(one.name for one in found if one.name.startswith(f"{name}."))


def test_any_process_opens_it(catalog: Catalog, address: str, items: list[Item]) -> None:
    with Catalog.open(address) as other:
        assert other.manifest.card == catalog.manifest.card
        assert other.manifest.fields == catalog.manifest.fields
        other.remove(["item-00"])
        assert len(catalog) == len(other) == 23
    with Catalog.create(address, exist_ok=True) as again:
        assert again.add(items).encoded == 0 or len(again) == 24
    with pytest.raises(ConflictError):
        Catalog.create(address, "resnet50", exist_ok=True)
    with pytest.raises(ConflictError):
        Catalog.create(address)


def test_two_writers_note_fields_together(catalog: Catalog, address: str, items: list[Item]) -> None:
    with Catalog.open(address) as other:
        catalog.add([replace(items[0], attributes={"fit": "slim"})])
        other.add([replace(items[1], attributes={"length": 3})])
    with Catalog.open(address) as third:
        assert (third.manifest.fields["fit"], third.manifest.fields["length"]) == ("text", "number")


def whitening(catalog: Catalog, dimension: int = 8):  # type: ignore[no-untyped-def]
    ids, embeddings = catalog.embeddings()
    codes = np.array([int((catalog.get(i).product_id or "P-1")[1:]) for i in ids])
    return fit_whitening(embeddings, [codes], dimension=dimension, ridge=0.1)


def test_tuning_moves_the_alias(catalog: Catalog, server: Server, address: str, items: list[Item]) -> None:
    name = parse_address(address).name
    reader = Catalog.open(address)
    before = reader.similar("item-00", 5)
    learned = whitening(catalog)
    catalog.use_whitening(learned, {"ridge": 0.1})
    assert collections(server, name) == [f"{name}.1", f"{name}.2", f"{name}.2.tuning"]
    assert catalog.manifest.tuning is not None and catalog.manifest.tuning.dimension == 8
    # whoever reads goes on, from the points that it knows, until it looks
    same_hits(reader.similar("item-00", 5), before)
    fresh = reader.refreshed()
    assert fresh is not reader and fresh.refreshed() is fresh
    np.testing.assert_array_equal(fresh.schema.map.whitening.projection, learned.projection)  # type: ignore[union-attr]
    same_hits(fresh.similar("item-00", 5), catalog.similar("item-00", 5))
    assert fresh.similar("item-00", 5)[0].distance != pytest.approx(before[0].distance, abs=1e-3)
    assert fresh.search(items[3].image, 1)[0].item.id == items[3].id
    # whoever writes to the old points is told
    with pytest.raises(ConflictError):
        reader.remove(["item-05"])
    catalog.use_whitening(None)
    assert f"{name}.3" in collections(server, name)
    assert {h.item.id for h in catalog.similar("item-00", 5)} == {h.item.id for h in before}
    reader.close()


def test_points_that_were_replaced_go_later(
    catalog: Catalog, server: Server, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.use_whitening(whitening(catalog))
    name = parse_address(address).name
    with Catalog.open(address) as other:
        other.remove(["item-00"])
    assert f"{name}.1" in collections(server, name)
    monkeypatch.setattr(own_collections, "_GRACE_S", -1.0)
    Catalog.open(address).close()
    assert f"{name}.1" in collections(server, name)  # whoever reads removes nothing
    with Catalog.open(address) as other:
        other.remove(["item-01"])
    assert collections(server, name) == [f"{name}.2", f"{name}.2.tuning"]


def test_what_is_written_during_a_switch_comes_along(
    catalog: Catalog, address: str, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items added and removed between the copy and the switch."""
    learned = whitening(catalog)
    writer = Catalog.open(address)
    copy = Copying.copy

    def copy_then_write(self: Copying, *args: object, **more: object) -> None:
        copy(self, *args, **more)  # type: ignore[arg-type]
        writer.add([Item("late", items[3].image, "P9", {"fit": "slim"})])
        writer.remove(["item-07"])

    monkeypatch.setattr(Copying, "copy", copy_then_write)
    catalog.use_whitening(learned)
    ids = {item.id for item in catalog.items()}
    assert "late" in ids and "item-07" not in ids and len(ids) == 24
    assert catalog.similar("late", 1)[0].item.id == "item-03"
    with Catalog.open(address) as fresh:
        assert fresh.manifest.fields["fit"] == "text"
    writer.close()


def test_a_write_into_a_frozen_catalogue_is_refused(
    catalog: Catalog, address: str, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Catalog.open(address)
    caught: list[str] = []

    def write(self: Copying, *_: object) -> None:
        with pytest.raises(ConflictError) as told:
            writer.remove(["item-07"])
        caught.append(told.value.hint)

    monkeypatch.setattr(Copying, "catch_up", write)
    catalog.use_whitening(whitening(catalog))
    assert "run the same command again" in caught[0]
    writer.close()


def test_one_draft_at_a_time(catalog: Catalog, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learned = whitening(catalog)
    with Catalog.open(address) as other:
        with catalog.backend.begin(catalog.store) as draft:
            with pytest.raises(ConflictError):
                other.use_whitening(learned)
            with monkeypatch.context() as patch:
                patch.setattr(lease, "EXPIRES_S", -1.0)  # whoever had it was not heard of for long
                patch.setattr(lease.Lease, "require", lambda _: None)
                other.use_whitening(learned)
            with pytest.raises(ConflictError):
                draft.commit(lambda: None)
        assert other.refreshed().manifest.tuning is not None


def test_a_draft_that_fails_leaves_nothing(
    catalog: Catalog, server: Server, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = parse_address(address).name

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Copying, "copy", fail)
        catalog.use_whitening(whitening(catalog))
    assert collections(server, name) == [f"{name}.1"]
    catalog.use_whitening(whitening(catalog))
    assert len(catalog) == 24


def test_a_draft_is_kept_as_the_catalogue_is(server: Server, items: list[Item]) -> None:
    """Not as the address says that was given to the command: replicas are asked for when it is made."""
    with Catalog.create(server.address("replicated", replicas=2, shards=3)) as made:
        made.add(items)
    with Catalog.open(server.address("replicated")) as catalog:
        catalog.use_whitening(whitening(catalog))
        told = catalog.info()["server"]
        assert (told["replicas"], told["shards"]) == (2, 3)
        layouts = server.engine.layouts
        assert layouts["replicated.2"] == layouts["replicated.1"]
        assert layouts["replicated.2.tuning"]["replication_factor"] == 2
        layouts["replicated.2"]["replication_factor"] = 1
        assert "replicas is 1, 2 was asked for" in catalog.backend.status()["deviations"]


def test_a_lease_of_a_process_that_is_gone_is_taken_at_once(catalog: Catalog, address: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    now = {"token": "t", "since": time.time(), "host": socket.gethostname(), "pid": child.pid}
    with Catalog.open(address) as other:
        metadata = {"switching": {**now, "pid": os.getpid(), "draft": "theirs"}}
        other.backend.connection.note(catalog.manifest.store, metadata)  # type: ignore[attr-defined]
        with pytest.raises(ConflictError):
            catalog.use_whitening(None)
        assert catalog.backend.break_lock() == "another process"
        assert catalog.backend.break_lock() == ""
        other.backend.connection.note(catalog.manifest.store, {"switching": now})  # type: ignore[attr-defined]
        catalog.use_whitening(None)


def test_leftovers_of_a_draft_never_decide_whether_it_opens(
    catalog: Catalog, server: Server, address: str
) -> None:
    """Only the collection in use is looked at; the next writer removes the others."""
    name = parse_address(address).name
    for left in (f"{name}.7", f"{name}.7.tuning"):
        server.engine.client.create_collection(left, vectors_config={})
    asked: list[str] = []
    backend = catalog.backend
    look = backend.connection.metadata  # type: ignore[attr-defined]
    backend.connection.metadata = lambda one: asked.append(one) or look(one)  # type: ignore
    backend.open(backend.load(), lambda payload: {})
    assert set(asked) == {name}
    with Catalog.open(address) as writer:
        writer.remove(["item-00"])
    assert collections(server, name) == [f"{name}.1"]


def test_a_name_that_was_published_can_be_used_again(server: Server, items: list[Item]) -> None:
    live, staged = server.address("shown"), server.address("prepared")
    for number in (3, 4):
        with Catalog.create(staged) as new:
            assert len(new) == 0
            new.add(items[:number])
        publish(parse_address(staged), parse_address(live))
        with Catalog.open(live) as opened:
            assert len(opened) == number


def test_publish(server: Server, items: list[Item]) -> None:
    live, staged = server.address("live"), server.address("staged")
    with Catalog.create(live) as old, Catalog.create(staged, resize="pad") as new:
        old.add(items[:4])
        new.add(items[:6])
        publish(parse_address(staged), parse_address(live))
        fresh = old.refreshed()
        assert (len(fresh), fresh.manifest.card.resize) == (6, "pad")
        assert fresh.encoder is not old.encoder
        with pytest.raises(NotFoundError):
            Catalog.open(staged)
        with pytest.raises(NotFoundError):
            publish(parse_address(staged), parse_address(live))
        with pytest.raises(UsageError):
            publish(parse_address(live), parse_address(live))
        with pytest.raises(UsageError):
            publish(parse_address(live), parse_address("qdrant://elsewhere/live"))


def test_two_who_make_it_at_once_share_it(server: Server, items: list[Item]) -> None:
    address, failures = server.address("at-once"), []

    def make(part: list[Item]) -> None:
        try:
            with Catalog.create(address, exist_ok=True) as made:
                made.add(part)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=make, args=(items[n::3],)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Catalog.open(address) as opened:
        assert len(opened) == 24


def test_a_stranger_s_collection_is_left_alone(server: Server) -> None:
    server.engine.client.create_collection("theirs", vectors_config={})
    for call in (Catalog.open, lambda a: Catalog.create(a, exist_ok=True)):
        with pytest.raises(ConflictError):
            call(server.address("theirs"))


def test_what_is_asked_for_must_be_so(catalog: Catalog, address: str) -> None:
    with pytest.raises(ConflictError):
        Catalog.open(f"{address}&replicas=3")
    Catalog.open(f"{address}&replicas=1").close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("qdrant://", "not an address"),
        ("qdrant://host", "a catalogue's name is"),
        ("qdrant://host/a.b", "a catalogue's name is"),
        ("qdrant://host:x/a", "not an address"),
        ("qdrant://a,,b/shop", "not an address"),
        ("qdrant://me:secret@host/a", "SERUPA_QDRANT_API_KEY"),
        ("qdrant://host/a?shards=0", "shards must be a whole number"),
        ("qdrant://host/a?quantization=int4", "int8 or binary or none"),
        ("qdrant://host/a?replica=2", "unknown setting 'replica'"),
        ("qdrant://host/a?write_consistency=2", "needs as many replicas"),
    ],
)
def test_addresses_that_are_none(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as told:
        Catalog.open(text)
    assert "secret" not in str(told.value)


def test_addresses() -> None:
    address = parse_address("qdrant://db.example:443/shop?tls=true&transport=rest&replicas=2&on_disk=false")
    (node,) = address.nodes
    assert (node.host, node.port, node.grpc_port, address.tls) == ("db.example", 443, 444, True)
    assert address.layout == StoreLayout(replicas=2, on_disk=False)
    assert parse_address("qdrant://[::1]/shop").nodes[0].port == 6333
    assert str(parse_address("qdrant://[::1]/shop?shards=3")) == "qdrant://[::1]:6333/shop"
    again = parse_address(address.full)
    assert (again.nodes, again.transport, again.tls) == (address.nodes, "rest", True)


def test_addresses_of_several_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    address = parse_address("qdrant://a,b:7000,[::1]:6340,a/shop?replicas=2")
    assert [(node.host, node.port, node.grpc_port) for node in address.nodes] == [
        ("a", 6333, 6334),
        ("b", 7000, 7001),
        ("::1", 6340, 6341),
    ]
    assert str(address) == "qdrant://a:6333,b:7000,[::1]:6340/shop"
    assert parse_address(address.full).nodes == address.nodes
    with pytest.raises(UsageError, match="SERUPA_QDRANT_URL"):
        parse_address("qdrant:///shop")
    monkeypatch.setenv("SERUPA_QDRANT_URL", "https://a:6333/, https://b")
    assert [str(node) for node in parse_address("qdrant:///shop").nodes] == ["a:6333", "b:6333"]
    assert parse_address("qdrant:///shop").tls
    assert not parse_address("qdrant:///shop?tls=false").tls


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_a_server_that_is_not_there(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serupa.storage.qdrant.client.READ_PATIENCE_S", 0.2)
    with pytest.raises(UnavailableError):
        Catalog.open(f"qdrant://127.0.0.1:1/shop?transport={transport}")


def test_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(key="a key of the server's") as closed:
        for transport in ("grpc", "rest"):
            address = closed.address("shop", transport=transport)
            with pytest.raises(UnavailableError, match="SERUPA_QDRANT_API_KEY"):
                Catalog.open(address)
            with monkeypatch.context() as patch:
                patch.setenv("SERUPA_QDRANT_API_KEY", "a key of the server's")
                with pytest.raises(NotFoundError), pytest.warns(UserWarning):
                    Catalog.open(address)


@pytest.mark.slow
def test_every_command_takes_an_address(catalog: Catalog, address: str, tmp_path: Path) -> None:
    """Each does what it does with a directory; what cannot be done on a server says so."""

    def run(*command: str) -> str:
        done = CliRunner().invoke(app, [command[0], *command[1:], "-c", address])
        assert done.exit_code == 0, (command, done.output, done.exception)
        return done.output

    photo = catalog.get("item-00").image
    catalog.use_whitening(whitening(catalog))
    for command in (
        ("info",),
        ("check", "--deep"),
        ("search", photo),
        ("similar", "item-00"),
        ("recommend", "--like", "item-00"),
        ("evaluate", "--label", "product_id"),
        ("explain", photo, "item-01", "--json"),
        ("export", "--out", str(tmp_path / "out")),
        ("kinds", "--off"),
        ("scale",),
        ("tune", "--break-lock"),
        ("tune", "--undo"),
        ("backup", str(tmp_path / "backup")),
        ("remove", "item-00"),
    ):
        run(*command)
    assert len(catalog.refreshed()) == 23


def test_info(catalog: Catalog) -> None:
    known = catalog.info()
    assert (known["items"], known["products"], known["size_bytes"]) == (24, 8, None)
    assert known["server"]["replicas"] == 1
    json.dumps(known)
