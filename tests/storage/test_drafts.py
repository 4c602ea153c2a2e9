"""Drafts: a catalogue changes in one step, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serupa import Catalog, Item
from serupa.catalog.backup import check
from serupa.catalog.query import SearchRequest
from serupa.catalog.reindex import rewrite
from serupa.errors import ConflictError, DamagedError, UnavailableError
from serupa.learning.whitening import Whitening, fit_whitening
from serupa.storage.local.backend import LocalBackend
from serupa.storage.local.store import LocalStore
from serupa.storage.manifest import CatalogManifest
from tests.synthetic import filled, product_photos


def learned(catalog: Catalog, dimension: int) -> Whitening:
    _, embeddings = catalog.embeddings()
    return fit_whitening(embeddings, [np.arange(len(embeddings)) // 4], dimension=dimension, ridge=0.1)


def ours(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.name.startswith(("points", "tuning")))


@pytest.mark.parametrize("failing", ["upsert", "optimize"])
def test_a_draft_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    with filled(tmp_path / "shop", *product_photos(10)) as shop:
        new, files = learned(shop, 4), ours(tmp_path / "shop")
        query = shop.embeddings(["0003"])[1][0]
        before = shop.ask(SearchRequest(embedding=query, k=5)).hits

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, failing, full)
            with pytest.raises(UnavailableError):
                shop.use_whitening(new)
        assert shop.manifest.tuning is None
        assert ours(tmp_path / "shop") == files
        assert shop.ask(SearchRequest(embedding=query, k=5)).hits == before
        shop.use_whitening(new)
        assert shop.manifest.tuning is not None


def test_interrupted_right_after_the_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the new files are in use, and must stay."""
    write = LocalBackend.write

    def interrupted(self: LocalBackend, manifest: CatalogManifest) -> None:
        write(self, manifest)
        raise KeyboardInterrupt

    with filled(tmp_path / "shop", *product_photos(10)) as shop:
        new = learned(shop, 4)
        with monkeypatch.context() as patch:
            patch.setattr(LocalBackend, "write", interrupted)
            with pytest.raises(KeyboardInterrupt):
                shop.use_whitening(new)
    with Catalog.open(tmp_path / "shop") as shop:
        assert shop.manifest.tuning is not None
        assert shop.manifest.tuning.dimension == new.dimension
        assert len(shop.ask(SearchRequest(embedding=shop.embeddings()[1][0], k=5))) == 5
        assert len(ours(tmp_path / "shop")) == 2


def test_what_drafts_left_goes_when_it_is_opened_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "shop"
    with filled(path, *product_photos(10)) as shop:
        shop.use_whitening(learned(shop, 4))
        in_use = ours(path)
    for name in ("points", "points-7", "points-8.new", "points-x"):
        (path / name).mkdir()
    for name in ("tuning-7.npz", "tuning-9.npz", "tuning-7.npz.bak", "photo.jpg"):
        (path / name).write_bytes(b"")
    with Catalog.open(path) as shop:
        assert ours(path) == sorted([*in_use, "points-x", "tuning-7.npz.bak"])
        assert (path / "photo.jpg").exists()
        shop.use_whitening(None)
        assert ours(path) == ["points-3", "points-x", "tuning-7.npz.bak"]


def test_points_that_are_missing_are_named_and_nothing_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "shop"
    with filled(path, *product_photos(10)) as shop:
        shop.use_whitening(learned(shop, 4))
    (path / "points-2").rename(tmp_path / "elsewhere")
    (path / "points-1").mkdir()
    with pytest.raises(DamagedError) as told:
        Catalog.open(path)
    assert told.value.subject == path / "points-2"
    assert (path / "points-1").exists()
    (tmp_path / "elsewhere").rename(path / "points-2")
    Catalog.open(path).close()


def test_a_catalogue_that_may_only_be_read_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's, or on a read-only disk: it is searched in a copy, and never changed."""
    path, copies = tmp_path / "shop", tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(copies))
    with filled(path, *product_photos(10)) as shop:
        expected = shop.similar("0003", 5).hits
        with pytest.raises(ConflictError), monkeypatch.context() as patch:
            patch.setattr("os.access", lambda *_: False)
            Catalog.open(path)
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    monkeypatch.setattr("os.access", lambda *_: False)
    with Catalog.open(path) as shop:
        assert shop.similar("0003", 5).hits == expected
        assert len(list(copies.iterdir())) == 1
        with pytest.raises(UnavailableError):
            shop.remove(["0003"])
        assert len(shop) == 40
    assert check(path) == 40
    assert not list(copies.iterdir())
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


def test_what_changes_while_a_draft_is_made_is_in_it(tmp_path: Path, items: list[Item]) -> None:
    """Also an attribute that no item had before; and after the catalogue is opened again."""
    new = Item("late", items[5].image, "P9", {"newly": 7.0})

    @contextmanager
    def alone() -> Iterator[None]:
        catalog.add([new, replace(items[1], attributes={"name": "changed"})])
        catalog.remove([items[0].id])
        yield

    with Catalog.create(tmp_path / "catalog") as catalog:
        catalog.add(items[:4])
        rewrite(catalog, catalog.manifest, None, alone=alone)
        before = {item.id: item for item in catalog.items()}
    with Catalog.open(tmp_path / "catalog") as catalog:
        after = {item.id: item for item in catalog.items()}
        assert before == after
        assert after.keys() == {"late", *(item.id for item in items[1:4])}
        assert after[items[1].id].name == "changed" and after["late"].attributes == {"newly": 7.0}
        assert catalog.manifest.fields["newly"] == "number"
        assert [item.id for item in catalog.items({"newly": {"gte": 1}})] == ["late"]
        assert catalog.search(items[5].image, 1).hits[0].item.id == "late"
