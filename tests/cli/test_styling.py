"""``serupa recommend``, ``wardrobe``, ``outfit`` and ``evaluate --guess`` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_cli import serupa
from tests.conftest import draw_photo


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of three categories that outfits have a place for."""
    folder = tmp_path_factory.mktemp("shop")
    for number in range(15):
        category = ("shirts", "trousers", "shoes")[number % 3]
        draw_photo(folder / "photos" / category / f"{number:02}.png", number)
    serupa("index", folder / "photos", "-c", folder / "catalog")
    return folder


def test_recommend(shop: Path, tmp_path: Path) -> None:
    catalog = shop / "catalog"
    found = json.loads(
        serupa("recommend", "-c", catalog, "--like", "shirts/00.png", "-k", 4, "--json").stdout
    )
    assert len(found["hits"]) == 4
    assert "shirts/00.png" not in [hit["id"] for hit in found["hits"]]
    assert {hit["because"] for hit in found["hits"]} == {0}
    taste = tmp_path / "taste.json"
    taste.write_text(json.dumps({"likes": [{"id": "shirts/00.png"}, {"id": "gone"}]}))
    by_file = serupa("recommend", "-c", catalog, "--taste", taste, "-k", 4)
    assert "Passed over, no longer in the catalogue: gone" in by_file.stderr
    assert "shirts/00.png" in by_file.stdout
    photo = shop / "photos" / "shirts" / "00.png"
    by_photo = serupa("recommend", "-c", catalog, "--like-photo", photo, "-k", 1, "--json")
    assert json.loads(by_photo.stdout)["hits"][0]["id"] == "shirts/00.png"
    assert "a varied sample" in serupa("recommend", "-c", catalog).stderr
    assert "no item 'nope'" in serupa("recommend", "-c", catalog, "--like", "nope", code=None).stderr


def test_wardrobe_and_outfit(shop: Path, tmp_path: Path) -> None:
    mine, catalog = tmp_path / "mine", shop / "catalog"
    photos = [draw_photo(tmp_path / f"{name}.png", n) for n, name in enumerate(("tee", "jeans"), 50)]
    assert "make one" in serupa("wardrobe", "list", "-w", mine, code=3).stderr
    added = json.loads(serupa("wardrobe", "add", *photos, "-w", mine, "-c", catalog, "--json").stdout)[
        "added"
    ]
    assert [piece["name"] for piece in added] == ["tee", "jeans"]
    ids = [piece["id"] for piece in added]
    for piece, category in zip(ids, ("Tees", "Jeans"), strict=True):
        said = serupa("wardrobe", "correct", piece, f"category={category}", "-w", mine, "--json")
        assert json.loads(said.stdout)["category"] == category
    overview = json.loads(serupa("wardrobe", "list", "-w", mine, "--json").stdout)
    assert {piece["slot"] for piece in overview["pieces"]} == {"top", "bottom"}
    assert set(overview) == {"pieces", "twice", "orphans"}
    own = json.loads(serupa("wardrobe", "own", photos[0], "-w", mine, "--json").stdout)
    assert own["matches"][0]["id"] == ids[0]
    assert own["matches"][0]["similarity"] > 0.97
    (outfit,) = json.loads(serupa("outfit", ids[0], "-w", mine, "--json").stdout)["outfits"]
    assert [part["id"] for part in outfit["pieces"]] == ids
    assert outfit["reasons"][0]["text"]
    shopped = serupa("outfit", ids[0], "-w", mine, "-c", catalog, "-k", 1).stdout
    assert "Outfit 1" in shopped
    assert "shop" in shopped
    assert "1 removed, 1 left" in serupa("wardrobe", "remove", ids[1], "-w", mine).stdout
    assert "nothing: " in serupa("outfit", "nothing", "-w", mine, code=3).stderr
    assert "give a wardrobe" in serupa("outfit", ids[0], code=2).stderr


def test_guesses(shop: Path) -> None:
    found = json.loads(
        serupa("evaluate", "-c", shop / "catalog", "--label", "category", "--guess", "--json").stdout
    )
    assert (found["by"], found["items"]) == ("neighbours", 15)
    assert [one["coverage"] for one in found["accuracies"]] == [1.0, 0.9, 0.8, 0.7, 0.5]
    refused = serupa("evaluate", "-c", shop / "catalog", "--label", "brand", "--guess", code=None)
    assert "brand is no label" in refused.stderr
