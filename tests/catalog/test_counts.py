"""What there is to choose from: items and products, each field under the filters on the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serupa import Catalog, Item
from serupa.catalog.counts import Counts
from serupa.errors import UsageError


def test_counts_of_items_are_the_engines(catalog: Catalog) -> None:
    counts = Counts.of(catalog)
    conditions = (
        "price>=15",
        "category!=hats",
        "sale=true",
        "season=summer",
        "product_id=P1|P2|P3",
        "stock=4|9",
    )
    for where in ([], *([one] for one in conditions), ["price=12..30", "category=hats|shirts"]):
        found = counts.facets(where)
        for name, kind in catalog.manifest.fields.items():
            if kind == "words":
                assert name not in found
                continue
            others = [one for one in where if not one.startswith(name)]
            told: Any = catalog.facets(name, where=others)
            ours: Any = found.get(name)
            if isinstance(told, list):
                assert dict(ours) == dict(told), (where, name)
            else:
                assert ours == told, (where, name)
    with pytest.raises(UsageError):
        counts.facets(["nothing=1"])


def test_a_product_counts_once_and_by_any_of_its_items(catalog: Catalog) -> None:
    counts = Counts.of(catalog)
    assert counts.product_count == 8
    found = counts.facets(by="product")
    assert dict(found["category"]) == {"dresses": 8, "hats": 8, "shirts": 8}  # type: ignore[arg-type]
    assert dict(found["name"]) == {f"Product {n}": 1 for n in range(8)}  # type: ignore[arg-type]
    few = counts.facets(["price<13", "category=hats"], by="product")
    assert dict(few["category"]) == {"dresses": 1, "hats": 1, "shirts": 1}  # type: ignore[arg-type]
    assert few["price"] == (11.0, 32.0)


def test_a_catalogue_of_nothing_has_nothing_to_choose_from() -> None:
    def nothing(where: object = None) -> list[Item]:
        return []

    empty: Any = SimpleNamespace(manifest=SimpleNamespace(fields={"color": "text"}), items=nothing)
    assert Counts.of(empty).facets() == {}
    assert Counts.of(empty).product_count == 0


def test_many_values_come_most_frequent_first() -> None:
    rng = np.random.default_rng(0)
    brands = [f"Brand {n}" for n in rng.zipf(1.3, 2_000) % 300]
    made = [Item(str(n), "x.jpg", None, {"brand": brand}) for n, brand in enumerate(brands)]

    def items(where: object = None) -> list[Item]:
        return made

    shop: Any = SimpleNamespace(manifest=SimpleNamespace(fields={"brand": "text"}), items=items)
    found = Counts.of(shop).facets(limit=140)["brand"]
    counts = [count for _, count in found]  # type: ignore[misc]
    assert len(found) == 140
    assert counts == sorted(counts, reverse=True)
    assert {str(name) for name, _ in found} <= set(brands)  # type: ignore[misc]
