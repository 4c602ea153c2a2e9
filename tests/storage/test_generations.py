"""Switching over: whatever happens meanwhile, the catalogue is the old one or the new one, whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serupa import Catalog, CatalogError
from serupa.catalog.query import SearchRequest
from serupa.learning.whitening import Whitening, fit_whitening
from serupa.storage.local.generations import clear_leftovers, next_number
from serupa.storage.local.store import EdgeStore
from tests.synthetic import filled, product_photos


def learned(catalog: Catalog, dimension: int) -> Whitening:
    _, embeddings = catalog.embeddings()
    return fit_whitening(embeddings, [np.arange(len(embeddings)) // 4], dimension=dimension, ridge=0.1)


def ours(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.name.startswith(("points", "tuning")))


STRIDE = int(os.environ.get("SERUPA_KILL_STRIDE", "12"))  # 1 tries every moment: some 150 for each
needs_holes = pytest.mark.skipif(not hasattr(os, "SEEK_HOLE"), reason="needs fork, SIGKILL and sparse files")


@needs_holes
@pytest.mark.parametrize("tuned", [False, True])
def test_killed_while_switching(tmp_path: Path, tuned: bool) -> None:
    with filled(tmp_path / "shop", *product_photos(10)) as shop:
        if tuned:
            shop.use_whitening(learned(shop, 6), {"labels": {"old": 1}})
        new = learned(shop, 4)
        whole = float(np.abs(shop.embeddings()[1]).sum())
        query = shop.embeddings(["0003"])[1][0]
        before = [hit.item.id for hit in shop.ask(SearchRequest(embedding=query, k=5))]
    sha256 = new.save(tmp_path / "new.npz")
    script = Path(__file__).with_name("kill_while_switching.py")
    done = subprocess.run(
        [
            sys.executable,
            script,
            tmp_path / "shop",
            tmp_path / "new.npz",
            sha256,
            str(tuned * STRIDE // 2),
            str(STRIDE),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) * STRIDE > 100
    old_name, after = ["old"] if tuned else None, said[-1]["hits"]
    assert before != after
    names = [one["tuning"] for one in said]
    switched = names.index(["new"])
    assert 3 < switched < len(said) - 1  # moments on both sides, and the last one was not killed
    assert names == [old_name] * switched + [["new"]] * (len(said) - switched)
    for one in said:
        assert one["count"] == 40
        assert one["hits"] == (before if one["tuning"] == old_name else after)
        assert one["raw"] == pytest.approx(whole, rel=1e-5)
        assert one["files"] == (1 if one["tuning"] is None else 2)  # what was cut short is cleared away


@pytest.mark.parametrize("failing", ["upsert", "optimize"])
def test_a_switch_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    with filled(tmp_path / "shop", *product_photos(10)) as shop:
        new, files = learned(shop, 4), ours(shop.path)
        query = shop.embeddings(["0003"])[1][0]
        before = shop.ask(SearchRequest(embedding=query, k=5)).hits

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(EdgeStore, failing, full)
            with pytest.raises(CatalogError, match="shop: cannot be written: No space left on device"):
                shop.use_whitening(new)
        assert shop.tuning is None
        assert ours(shop.path) == files
        assert shop.ask(SearchRequest(embedding=query, k=5)).hits == before
        shop.use_whitening(new)
        assert shop.tuning is not None


def test_interrupted_right_after_the_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the new files are in use, and must stay."""
    from serupa.storage import manifest as module

    with filled(tmp_path / "shop", *product_photos(10)) as shop:
        new, write = learned(shop, 4), module.write_json

        def interrupted(file: Path, value: object) -> None:
            write(file, value)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(module, "write_json", interrupted)
            with pytest.raises(KeyboardInterrupt):
                shop.use_whitening(new)
    with Catalog.open(tmp_path / "shop") as shop:
        assert shop.tuning is not None
        assert shop.tuning["dimension"] == new.dimension
        assert len(shop.ask(SearchRequest(embedding=shop.embeddings()[1][0], k=5))) == 5
        assert len(ours(shop.path)) == 2


def test_names_and_leftovers(tmp_path: Path) -> None:
    assert next_number(tmp_path) == 2
    for name in ("points", "points-2", "points-3.new", "points-x"):
        (tmp_path / name).mkdir()
    for name in ("tuning-2.npz", "tuning-7.npz", "tuning-7.npz.bak", "photo.jpg"):
        (tmp_path / name).write_bytes(b"")
    assert next_number(tmp_path) == 8
    clear_leftovers(tmp_path, {"points": "points-9", "tuning": None})  # not there: nothing is touched
    assert len(list(tmp_path.iterdir())) == 8
    clear_leftovers(tmp_path, {"points": "points-2", "tuning": {"file": "tuning-2.npz"}})
    left = {entry.name for entry in tmp_path.iterdir()}
    assert left == {"points-2", "points-x", "tuning-2.npz", "tuning-7.npz.bak", "photo.jpg"}


def test_points_that_are_missing_are_named(tmp_path: Path) -> None:
    with filled(tmp_path / "shop", *product_photos(10)) as shop:
        shop.use_whitening(learned(shop, 4))
    (tmp_path / "shop" / "points-2").rename(tmp_path / "elsewhere")
    with pytest.raises(CatalogError, match="points-2: is missing; restore it"):
        Catalog.open(tmp_path / "shop")
    (tmp_path / "elsewhere").rename(tmp_path / "shop" / "points-2")
    Catalog.open(tmp_path / "shop").close()
