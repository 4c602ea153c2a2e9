"""What the first page shows of a shop: photos to try, what kinds of things there are, and some of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from serupa.catalog.offers import newest_field

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.catalog.counts import Counts
    from serupa.items import Item

_KINDS = 12
_PRODUCTS = 12
_SAMPLES = 3
_LOOKED_AT = 12  # items of a kind, for one whose photo shows the front
_FRONT = re.compile("main|front|street", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Front:
    """What the first page shows. Made by `of` when the catalogue has changed.

    Parameters
    ----------
    about : dict
        What `Catalog.info` says.
    kinds : tuple of (str, Item)
        The categories with the most products, each with a photo.
    products : tuple of Item
        The newest products where the catalogue says what is new, else a varied few.
    newest : bool
        Whether they are the newest.
    """

    about: dict[str, Any]
    kinds: tuple[tuple[str, Item], ...]
    products: tuple[Item, ...]
    newest: bool

    @classmethod
    def of(cls, counts: Counts) -> Self:
        """Choose what to show of a catalogue."""
        catalog = counts.catalog
        categories = counts.facets(by="product", limit=_KINDS).get("category")
        found = [
            (str(value), shown)
            for value, _ in (categories if isinstance(categories, list) else ())
            if (shown := _shown(catalog, {"category": str(value)}))
        ]
        newest = newest_field(catalog.manifest.fields)
        ids = () if newest is None else counts.latest(newest, _PRODUCTS)
        products = [catalog.get(one) for one in ids]
        if not products and len(counts):
            products = [hit.item for hit in catalog.recommend((), (), _PRODUCTS, diversity=0.5).hits]
        # a product by its front, not by whatever photo of it was found
        products = [
            item if item.product_id is None else _shown(catalog, {"product_id": item.product_id}) or item
            for item in products
        ]
        kinds = tuple(found) if len(found) > 1 else ()
        return cls(catalog.info(), kinds, tuple(products), bool(ids))

    @property
    def samples(self) -> tuple[Item, ...]:
        """A few photos that differ, to try the search with."""
        items = [item for _, item in self.kinds] or list(self.products)
        if len(items) < _SAMPLES:
            items = list(self.products)
        step = max(1, len(items) // _SAMPLES)
        return tuple(items[::step][:_SAMPLES])


def _shown(catalog: Catalog, where: dict[str, str]) -> Item | None:
    """Return an item that passes, rather one whose photo shows the front than a back or a detail."""
    items = list(islice(catalog.items(where), _LOOKED_AT))
    return next(
        (item for item in items if _FRONT.search(str(item.attributes.get("view", "")))),
        items[0] if items else None,
    )
