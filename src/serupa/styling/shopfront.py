"""What a shop has for outfits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from serupa.files.urls import is_remote
from serupa.filters import as_filter
from serupa.garments.colors import Color
from serupa.garments.products import category_of, palette_of
from serupa.garments.slots import slot_of
from serupa.styling.pieces import Piece

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.filters import Where
    from serupa.items import Item

_EACH = 24
"""Products of a category that a proposal chooses from: each is looked at, some 10 ms a photo."""
_FETCHING_S = 5.0
"""How long photos are fetched from elsewhere for a proposal; without them, colours are unknown."""


class Shopfront:
    """What a shop has for outfits. Colours are seen once a photo, and remembered.

    Parameters
    ----------
    catalog : Catalog
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._palettes: dict[tuple[str, int], tuple[Color, ...]] = {}

    def pieces(self, where: Where = None) -> list[Piece]:
        """Return up to 24 products of each category that pass a filter.

        Raises
        ------
        UsageError
            If the filter is not one of the catalogue.
        """
        return self._pieces(self._items(where))

    def look_ahead(self, wanted: Callable[[], bool]) -> None:
        """See the colours of what is proposed without a filter, for as long as it is wanted."""
        for item in self._items(None):
            if not wanted():
                return
            if not is_remote(item.image):
                self._palette(item)

    def _items(self, where: Where) -> list[Item]:
        catalog = self._catalog
        counted = (
            catalog.facets("category", where=where, limit=100)
            if "category" in catalog.manifest.fields
            else None
        )
        products: dict[str, Item] = {}
        for value, _ in counted if isinstance(counted, list) else ():
            if slot_of(str(value)) is None:
                continue
            most = len(products) + _EACH
            for item in catalog.items((*as_filter(where), *as_filter({"category": value}))):
                products.setdefault(item.product_id or item.id, item)
                if len(products) == most:
                    break
        return list(products.values())

    def piece(self, item_id: str) -> Piece:
        """Return one item.

        Raises
        ------
        NotFoundError
            If the catalogue does not have it.
        """
        return self._pieces([self._catalog.get(item_id)])[0]

    def _pieces(self, items: Sequence[Item]) -> list[Piece]:
        fetched_until = time.monotonic() + _FETCHING_S
        _, embeddings = self._catalog.embeddings([item.id for item in items])
        return [
            Piece(
                item.id,
                item.name,
                item.image,
                category_of(item),
                _pattern_of(item),
                () if is_remote(item.image) and time.monotonic() > fetched_until else self._palette(item),
                embedding,
                owned=False,
            )
            for item, embedding in zip(items, embeddings, strict=True)
        ]

    def _palette(self, item: Item) -> tuple[Color, ...]:
        try:
            version = Path(item.image).stat().st_mtime_ns
        except (OSError, ValueError):
            version = 0
        key = item.image, version
        if key not in self._palettes:
            self._palettes[key] = palette_of(item)
        return self._palettes[key]


def _pattern_of(item: Item) -> str | None:
    pattern = item.attributes.get("pattern")
    if pattern is None:
        return None
    return ", ".join(pattern) if isinstance(pattern, list) else str(pattern)
