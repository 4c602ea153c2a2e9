"""What is asked of a catalogue: several photos as one query, and what cannot be asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from serupa import Catalog, Item
from serupa.catalog.query import SearchRequest
from serupa.cli.commands import app
from serupa.errors import NotFoundError, UsageError
from serupa.vectors import METRICS, mean_direction
from tests.synthetic import filled


def test_one_photo_is_a_search(catalog: Catalog, items: list[Item]) -> None:
    for metric in METRICS:
        one, same = (
            [hit.item.id for hit in found]
            for found in (
                catalog.search([items[3].image], 8, metric=metric),
                catalog.search(items[3].image, 8, metric=metric),
            )
        )
        assert one == same


def test_what_two_photos_have_in_common_is_nearest(catalog: Catalog, items: list[Item]) -> None:
    for metric in METRICS:
        found = catalog.search([items[3].image, items[9].image], 4, metric=metric)
        assert {hit.item.id for hit in found[:2]} == {items[3].id, items[9].id}
        assert set(found.timing_ms) == {"decode", "encode", "search"}
    hats = catalog.search(
        [Path(items[3].image).read_bytes(), items[9].image], where="category=hats", by="product"
    )
    assert {hit.item.attributes["category"] for hit in hats} == {"hats"}


def test_no_photo_counts_more_than_another() -> None:
    small, large = np.array([1.0, 0.0], np.float32), np.array([0.0, 9.0], np.float32)
    np.testing.assert_allclose(mean_direction(np.stack([small, large])), 5 / np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(mean_direction(large[None]), large)
    assert not mean_direction(np.zeros((2, 3), np.float32)).any()
    assert not mean_direction(np.stack([small, -small])).any()


def test_what_cannot_be_asked(catalog: Catalog, items: list[Item], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        catalog.search([])
    with pytest.raises(UsageError):
        SearchRequest(item_id="item-00", photos=(items[0].image,))
    with pytest.raises(UsageError):
        SearchRequest(likes=("item-00",), embedding=np.zeros(1280, np.float32))
    with pytest.raises(NotFoundError, match="gone"):
        catalog.search([items[0].image, tmp_path / "gone.jpg"])


def test_command(items: list[Item], tmp_path: Path) -> None:
    with Catalog.create(tmp_path / "c") as made:
        made.add(items[:8])
    call = ["search", items[1].image, items[2].image, "-c", str(tmp_path / "c"), "-k", "2"]
    done = CliRunner().invoke(app, [*call, "--sheet", str(tmp_path / "sheet.png")])
    assert done.exit_code == 0, done.output
    assert "item-01" in done.stdout
    assert "item-02" in done.stdout
    assert (tmp_path / "sheet.png").exists()
    assert CliRunner().invoke(app, [*call, "--crop", "0,0,1,0.5"]).exit_code == 2


def test_another_order_is_one_of_what_is_alike(tmp_path: Path) -> None:
    embeddings = np.array([[1.0, 0.0], [0.95, 0.31], [0.9, 0.44], [0.3, 0.95]], np.float32)
    with filled(tmp_path / "shop", embeddings, list("PQRS"), list("dcba")) as shop:
        asked = np.zeros(shop.manifest.card.dimension, np.float32)
        asked[0] = 1.0
        request = SearchRequest(embedding=asked, sort="category")
        assert [hit.item.product_id for hit in shop.ask(request)] == ["R", "Q", "P"]
        assert [hit.rank for hit in shop.ask(replace(request, sort="-category", k=2, offset=1))] == [2, 3]
        with pytest.raises(UsageError, match="no item has such a field"):
            shop.ask(replace(request, sort="nothing"))


def test_words_beside_a_photo_where_nothing_passes_the_filter(catalog: Catalog, items: list[Item]) -> None:
    assert not catalog.search(items[3].image, text="hats", where=["price>=1000000"])
    assert catalog.search(items[3].image, text="hats")
