"""Copying catalogues: to a server, back, on from where it stopped, and told when it is not the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from serupa import Catalog, Item
from serupa.catalog.copy import copy_catalog
from serupa.cli.commands import app
from serupa.errors import ConflictError, UsageError
from serupa.learning.whitening import fit_whitening
from serupa.storage.qdrant import lease
from tests.qdrant_server import Server, running


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lease, "SETTLE_S", 0.0)
        yield


def same(one: Catalog, other: Catalog) -> None:
    assert sorted(one.items(), key=lambda i: i.id) == sorted(other.items(), key=lambda i: i.id)
    assert (one.manifest.fields, one.manifest.tuning and one.manifest.tuning.sha256) == (
        other.manifest.fields,
        other.manifest.tuning and other.manifest.tuning.sha256,
    )
    for metric in one.manifest.metrics:
        for item in ("item-00", "item-13"):
            found = [
                [(h.item.id, round(h.distance, 4)) for h in c.similar(item, 8, metric=metric)]
                for c in (one, other)
            ]
            assert found[0] == found[1]


def test_there_and_back(catalog: Catalog, server: Server, tmp_path: Path, items: list[Item]) -> None:
    address = server.address("there")
    report = copy_catalog(catalog, address)
    assert (report.copied, report.unchanged, report.items) == (24, 0, 24)
    assert report.largest_difference < 1e-6
    for name in ("euclidean", "manhattan"):
        assert len(set(report.checksums[name])) == 1
    with Catalog.open(address) as there:
        same(catalog, there)
        back = copy_catalog(there, tmp_path / "back")
        assert back.copied == 24
        assert back.checksums["euclidean"] == report.checksums["euclidean"]
        with Catalog.open(tmp_path / "back") as again:
            same(catalog, again)
            assert again.add(items).encoded == 0


def test_a_copy_goes_on_and_follows(catalog: Catalog, server: Server, items: list[Item]) -> None:
    address = server.address("follows")

    def stop(what: str, done: int, of: int) -> None:
        if what == "comparing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_catalog(catalog, address, progress=stop)
    report = copy_catalog(catalog, address)
    assert (report.copied, report.unchanged) == (0, 24)
    catalog.remove(["item-03"])
    catalog.add([replace(items[4], attributes={"price": 1.0})])
    report = copy_catalog(catalog, address)
    assert (report.copied, report.unchanged, report.removed, report.items) == (1, 22, 1, 23)


def test_a_tuned_catalogue_is_copied_with_its_tuning(
    catalog: Catalog, server: Server, tmp_path: Path
) -> None:
    ids, embeddings = catalog.embeddings()
    codes = np.array([int(str(catalog.get(i).product_id)[1:]) for i in ids])
    catalog.use_whitening(fit_whitening(embeddings, [codes], dimension=8, ridge=0.1), {"ridge": 0.1})
    copy_catalog(catalog, server.address("tuned"))
    with Catalog.open(server.address("tuned")) as there:
        same(catalog, there)
        np.testing.assert_array_equal(there.embeddings(ids)[1], embeddings)
        copy_catalog(there, tmp_path / "back")
    with Catalog.open(tmp_path / "back") as back:
        same(catalog, back)


def test_vectors_that_were_damaged_are_repaired(catalog: Catalog, server: Server) -> None:
    address = server.address("damaged")
    copy_catalog(catalog, address)
    with Catalog.open(address) as there:
        names = tuple(there.manifest.dimensions)
        (point,) = there.store.get(["item-05"], vectors=names).values()
        there.store.upsert([replace(point, vectors={n: v + 0.01 for n, v in point.vectors.items()})])
    report = copy_catalog(catalog, address)
    assert (report.copied, report.repaired) == (0, 1)
    assert report.largest_difference < 1e-6


def test_what_is_not_alike_is_refused(catalog: Catalog, server: Server, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        copy_catalog(catalog, catalog.path)  # type: ignore[arg-type]
    Catalog.create(server.address("other"), metrics=["cosine"]).close()
    with pytest.raises(ConflictError, match="metrics"):
        copy_catalog(catalog, server.address("other"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ConflictError):
        copy_catalog(catalog, tmp_path / "full")


def test_commands(catalog: Catalog, server: Server, tmp_path: Path) -> None:
    catalog.close()
    run = CliRunner()
    done = run.invoke(app, ["copy", str(catalog.path), server.address("by-command"), "--json"])
    assert json.loads(done.stdout)["copied"] == 24
    assert "hold the same 24 items" in done.stderr
    found = run.invoke(app, ["similar", "item-00", "-c", server.address("by-command"), "-k", "3", "--json"])
    assert len(json.loads(found.stdout)["hits"]) == 3
    told = run.invoke(app, ["info", "-c", server.address("by-command")])
    assert "by-command.1" in told.stdout
    moved = run.invoke(app, ["publish", server.address("by-command"), server.address("live")])
    assert "/live is now what" in moved.stderr
    assert run.invoke(app, ["info", "-c", server.address("live"), "--json"]).exit_code == 0
