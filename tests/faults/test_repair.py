"""What is damaged is mended where that can be, and what was lost is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serupa import Catalog
from serupa.catalog.backup import check
from serupa.catalog.repair import repair
from serupa.errors import DamagedError
from serupa.web.uploads import Uploads
from tests.faults import shop
from tests.faults.test_damage import empty, flip

States = dict[str, Any]


def test_what_is_whole_is_left(root: Path, stock: States) -> None:
    before = (shop.catalog_of(root) / "catalog.json").read_bytes()
    done = repair(shop.catalog_of(root))
    assert (done.items, done.lost, done.is_proven) == (len(stock), 0, True)
    assert (shop.catalog_of(root) / "catalog.json").read_bytes() == before


@pytest.mark.parametrize("name", ["seal.json", "status.dat", "gaps.dat", "segment.json", "tally.log"])
def test_what_can_be_made_again_is(root: Path, stock: States, name: str) -> None:
    """Checksums, indexes, what the engine notes: of the items nothing is lost."""
    catalog = shop.catalog_of(root)
    for file in [*catalog.rglob(f"payload_index/*/{name}"), catalog / "points" / name]:
        if file.exists():
            flip(file)
    done = repair(catalog)
    assert (done.items, done.lost) == (len(stock), 0)
    assert check(catalog) == len(stock)
    with Catalog.open(catalog) as opened:
        assert opened.facets("color")
        assert opened.add([shop.item(root, "more", (50, 50))]).added == 1


def test_what_is_lost_is_counted_and_the_rest_goes_on(root: Path, stock: States) -> None:
    catalog = shop.catalog_of(root)
    for flags in catalog.rglob("vector_storage-cosine/deleted/flags_a.dat"):
        with flags.open("r+b") as stream:
            stream.write(b"\x06")  # two vectors are said to be deleted
    with pytest.raises(DamagedError):
        check(catalog)
    done = repair(catalog)
    assert (done.items, done.lost, done.is_proven) == (len(stock) - 2, 2, False)
    assert check(catalog) == len(stock) - 2
    with Catalog.open(catalog) as opened:
        items = [shop.item(root, one, tuple(state)) for one, state in stock.items()]
        report = opened.add(items)
        assert (report.added, report.encoded) == (2, len({state[0] for state in stock.values()}))
        assert {one: list(state) for one, state in shop.held(root, opened).items()} == stock


def test_kept_photos_that_are_damaged_are_named(root: Path, stock: States) -> None:
    catalog = shop.catalog_of(root)
    photo = shop.photo(root, 60).read_bytes()
    with Catalog.open(catalog) as opened:
        Uploads(opened).add("sent", photo, None, {})
    (kept,) = (catalog / "photos").iterdir()
    empty(kept)
    with pytest.raises(DamagedError) as told:
        check(catalog)
    assert told.value.subject == kept
    done = repair(catalog)
    assert (done.items, done.lost, done.photos) == (len(stock) + 1, 0, (str(kept),))
    with Catalog.open(catalog) as opened:
        Uploads(opened).add("sent", photo, None, {})
    assert check(catalog) == len(stock) + 1


def test_settings_are_beyond_repair(root: Path) -> None:
    flip(shop.catalog_of(root) / "catalog.json")
    with pytest.raises(DamagedError):
        repair(shop.catalog_of(root))
