"""What a shop asks for an item, and results in the order of it."""

from __future__ import annotations

from typing import Any

import pytest

from serupa import Item
from serupa.catalog.offers import Offer, in_order, newest_field, offer_of
from serupa.items import Hit


def offer(**attributes: Any) -> Offer:
    return offer_of(Item("1", "1.jpg", None, attributes))


@pytest.mark.parametrize(
    ("attributes", "paid", "before"),
    [
        ({"price": 52}, 52.0, None),
        ({"price": 52, "sale_price": 39.5}, 39.5, 52.0),  # Google, WooCommerce, Magento
        ({"price": 39.5, "compare_at_price": 52}, 39.5, 52.0),  # Shopify
        ({"price": 52, "compare_at_price": 52}, 52.0, None),
        ({"price": 52, "compare_at_price": 0, "sale_price": 0}, 52.0, None),
        ({"price": 52, "sale_price": 60}, 52.0, None),
        ({"price": "52.00 USD"}, 52.0, None),
        ({"price": "1.299"}, None, None),  # either mark makes sense: better no price than a wrong one
        ({"price": "on request"}, None, None),
        ({}, None, None),
        ({"price": 52, "sale_price": 39, "sale_price_effective_date": "2020-01-01/2020-02-01"}, 52.0, None),
        (
            {"price": 52, "sale_price": 39, "sale_price_effective_date": "2020-01-01T00:00Z/2999-01-01"},
            39.0,
            52.0,
        ),
    ],
)
def test_prices(attributes: dict[str, Any], paid: float | None, before: float | None) -> None:
    found = offer(**attributes)
    assert (found.price, found.list_price) == (paid, before)


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("https://shop.example/a?b=c", "https://shop.example/a?b=c"),
        ("http://shop.example/a", None),
        ("javascript:alert(1)", None),
        ("https:///nohost", None),
        ("", None),
    ],
)
def test_only_secure_links(link: str, url: str | None) -> None:
    assert offer(link=link).url == url


@pytest.mark.parametrize(
    ("attributes", "there"),
    [
        ({"availability": "in_stock"}, True),
        ({"availability": "https://schema.org/OutOfStock"}, False),
        ({"availability": "out of stock"}, False),
        ({"in_stock": True}, True),
        ({"in_stock": 0}, False),
        ({"stock": 7}, True),
        ({"availability": "ask us", "quantity": 0}, False),
        ({"availability": "ask us"}, None),
        ({}, None),
    ],
)
def test_stock(attributes: dict[str, Any], there: bool | None) -> None:
    assert offer(**attributes).in_stock is there


def test_the_rest_of_an_offer() -> None:
    found = offer(currency="idr", vendor="Batik Keris", brand="")
    assert (found.currency, found.brand) == ("IDR", "Batik Keris")


def hits(*attributes: dict[str, Any]) -> list[Hit]:
    return [Hit(n, Item(str(n), "x.jpg", None, one), n / 10, 1.0) for n, one in enumerate(attributes, 1)]


def test_results_by_what_is_to_be_paid() -> None:
    found = hits({"price": 50}, {"price": 80, "sale_price": 20}, {}, {"price": 50})
    assert [hit.item.id for hit in in_order(found, "price")] == ["2", "1", "4", "3"]
    assert [hit.item.id for hit in in_order(found, "-price")] == ["1", "4", "2", "3"]


def test_results_by_when_they_came() -> None:
    found = hits({"created": "2026-01-30"}, {"created": "2026-11-02"}, {"created": "2025-12-31"})
    assert [hit.item.id for hit in in_order(found, "-created")] == ["2", "1", "3"]
    assert newest_field({"created": "text", "price": "number"}) == "created"
    assert newest_field({"date": "words"}) is None
