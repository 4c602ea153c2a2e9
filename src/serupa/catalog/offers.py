"""What a shop asks for an item, read from attributes as shops name them; and results in the order of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from serupa.items import FieldKind, Hit, Item
from serupa.sources.prices import parse_price

_DATES = ("published_at", "created_at", "release_date", "published", "created", "added", "date", "year")
_STOCK = ("in_stock", "availability", "stock_status", "stock", "quantity", "inventory")
_THERE = frozenset({"true", "yes", "instock", "available", "preorder", "backorder", "limitedavailability"})
_GONE = frozenset({"false", "no", "outofstock", "soldout", "unavailable", "discontinued"})


@dataclass(frozen=True, slots=True)
class Offer:
    """What a shop asks for an item; None is what the catalogue does not say.

    Parameters
    ----------
    url : str or None
        The item's page in the shop, ``https://`` only.
    price : float or None
        What is to be paid.
    list_price : float or None
        What was to be paid before, where that was more.
    currency : str or None
        ISO 4217 code.
    brand : str or None
    in_stock : bool or None
    """

    url: str | None
    price: float | None
    list_price: float | None
    currency: str | None
    brand: str | None
    in_stock: bool | None


def offer_of(item: Item) -> Offer:
    """Return what a shop asks for an item."""
    known = item.attributes
    sale = _amount(known.get("sale_price")) if _runs(known.get("sale_price_effective_date")) else None
    regular, before = _amount(known.get("price")), _amount(known.get("compare_at_price"))
    price = min((amount for amount in (regular, sale) if amount is not None), default=None)
    most = max((amount for amount in (regular, before) if amount is not None), default=None)
    url, stated, brand = (
        next((str(known[name]).strip() for name in names if known.get(name)), None)
        for names in (("url", "link", "product_url"), ("currency",), ("brand", "vendor"))
    )
    return Offer(
        url=url if url and re.match(r"https://[^\s/]", url) else None,
        price=price,
        list_price=most if price is not None and most is not None and most > price else None,
        currency=stated.upper() if stated else None,
        brand=brand,
        in_stock=next((there for name in _STOCK if (there := _there(known.get(name))) is not None), None),
    )


def newest_field(fields: Mapping[str, FieldKind]) -> str | None:
    """Return the field that says when items came, ``published_at`` or another name of it, if there is one."""
    return next((name for name in _DATES if fields.get(name) in ("text", "number")), None)


def in_order(hits: Sequence[Hit], sort: str) -> list[Hit]:
    """Return hits by a field, ``-field`` largest first; those without it last, equal ones nearest first.

    ``price`` is what is to be paid. Numbers are compared as numbers, all else as text: dates as ISO 8601
    writes them.
    """
    name = sort.removeprefix("-")
    values = [offer_of(hit.item).price if name == "price" else hit.item.label(name) for hit in hits]
    known = [(value, hit) for value, hit in zip(values, hits, strict=True) if value not in (None, "", [])]
    known.sort(key=lambda pair: _key(pair[0]), reverse=sort.startswith("-"))
    return [hit for _, hit in known] + [
        hit for value, hit in zip(values, hits, strict=True) if value in (None, "", [])
    ]


def _key(value: Any) -> tuple[bool, float, str]:
    is_text = not isinstance(value, int | float)
    return is_text, 0.0 if is_text else value, str(value).casefold() if is_text else ""


def _amount(value: Any) -> float | None:
    """Return a price's amount; None where it is 0, which shops write for none, or can be read in two ways."""
    if isinstance(value, str):
        price = parse_price(value)
        value = None if price is None or price.is_ambiguous else price.value(min(price.decimal_marks))
    return float(value) if value and not isinstance(value, list) and value > 0 else None


def _there(value: Any) -> bool | None:
    """Return whether a value says that there is stock: a number, a truth value, or a word for it."""
    if isinstance(value, int | float):
        return value > 0
    word = re.sub(r"[\W_]+", "", str(value).rpartition("/")[2]).lower()
    return True if word in _THERE else False if word in _GONE else None


def _runs(period: Any) -> bool:
    """Return whether a sale is on now; its period is written ``2026-11-01/2026-11-30T23:59+07:00``."""
    try:
        start, end = (datetime.fromisoformat(part.strip()) for part in str(period).split("/"))
    except ValueError:
        return True
    start, end = (one if one.tzinfo else one.replace(tzinfo=UTC) for one in (start, end))
    return start <= datetime.now(UTC) <= end
