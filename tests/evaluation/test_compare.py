"""``serupa evaluate --compare``: another catalogue, or another encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serupa import Catalog, Item
from serupa.cli.commands import app
from serupa.encoders import DEFAULT
from serupa.errors import InvalidInputError, UsageError
from serupa.evaluation.experiment import other_catalog
from tests.conftest import draw_photo


@pytest.fixture
def own_items(tmp_path: Path) -> list[Item]:
    return [
        Item(f"i{n:02}", str(draw_photo(tmp_path / "photos" / f"{n:02}.png", n // 2)), f"P{n // 4}")
        for n in range(16)
    ]


@pytest.fixture
def shop(tmp_path: Path, own_items: list[Item]) -> Path:
    with Catalog.create(tmp_path / "shop") as catalog:
        catalog.add(own_items)
    return tmp_path / "shop"


def test_with_another_catalogue(shop: Path, own_items: list[Item], tmp_path: Path) -> None:
    with Catalog.create(tmp_path / "squashed", resize="squash") as other:
        other.add(own_items)
    call = ["evaluate", "-c", str(shop), "--label", "product_id", "--compare", str(tmp_path / "squashed")]
    done = CliRunner().invoke(app, [*call, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["compared_with"] == str(tmp_path / "squashed")
    assert told["differences"][0]["measure"] == "map"
    for one in told["differences"]:
        assert one["difference"] == pytest.approx(one["after"] - one["before"])
        assert one["ci95"][0] <= one["difference"] <= one["ci95"][1]
    text = CliRunner().invoke(app, call).stdout
    assert "on the same queries" in text
    assert "- mAP" in text


def test_with_an_encoder_that_is_the_same(shop: Path) -> None:
    call = ["evaluate", "-c", str(shop), "--label", "product_id", "--compare", DEFAULT, "--json"]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    assert {one["difference"] for one in json.loads(done.stdout)["differences"]} == {0.0}


def test_what_would_not_be_compared_on_the_same_terms(
    shop: Path, own_items: list[Item], tmp_path: Path
) -> None:
    with Catalog.open(shop) as catalog:
        with pytest.raises(UsageError):
            other_catalog(catalog, str(shop), tmp_path / "new")
        Path(own_items[0].image).unlink()
        with pytest.raises(InvalidInputError, match=r"1 photos .*00\.png"):
            other_catalog(catalog, "efficientnet-lite0", tmp_path / "new")
