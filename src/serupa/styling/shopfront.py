"""A shop's and a wardrobe's garments as outfits see them."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from serupa.errors import SerupaError, SourceError
from serupa.filters import as_filter
from serupa.garments.colors import Color, colors_of, lab_of
from serupa.styling.compatibility import Garments, unit
from serupa.styling.outfits import Candidate
from serupa.styling.slots import Slot, slot_of

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.filters import Where
    from serupa.items import Item
    from serupa.styling.wardrobe import Wardrobe

MOST = 2_000
"""Products that are learned from."""

_EACH = 24
"""Products of a category that a proposal chooses from: each is looked at, some 10 ms a photo."""


def read_pairs(table: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Read a CSV of ``product_id, linked_product_id``.

    Raises
    ------
    SourceError
        If it cannot be read, or has other columns.
    """
    path = Path(table)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"product_id", "linked_product_id"} - set(reader.fieldnames or ())
            if missing:
                raise SourceError(f"{path}: has no column {', '.join(sorted(missing))}")
            return [(row["product_id"], row["linked_product_id"]) for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def garments_of(catalog: Catalog) -> tuple[Garments, list[str]]:
    """Return the products of a catalogue that have a slot, and the id of each.

    An embedding is the mean over a product's photos, a palette that of the photo nearest to it.
    """
    photos: dict[str, list[Item]] = {}
    for item in catalog.items():
        category = item.attributes.get("category")
        if item.product_id is None or not isinstance(category, str) or slot_of(category) is None:
            continue
        if item.product_id in photos or len(photos) < MOST:
            photos.setdefault(item.product_id, []).append(item)
    products = sorted(photos)
    ids = [item.id for product in products for item in photos[product]]
    place = {item_id: n for n, item_id in enumerate(ids)}
    every = unit(catalog.embeddings(ids)[1])
    embeddings, palettes, categories, slots = [], [], [], []
    for product in products:
        items = sorted(photos[product], key=lambda item: item.id)
        rows = every[[place[item.id] for item in items]]
        mean = rows.mean(axis=0)
        embeddings.append(mean)
        palettes.append(palette_of(items[int((rows @ mean).argmax())]))  # not its one photo in another colour
        category = str(items[0].attributes["category"])
        categories.append(category)
        slots.append(_slot(category))
    labs = np.array([lab_of(p[0]) if p else np.array([0.5, 0.0, 0.0]) for p in palettes])
    size = catalog.card.dimension
    stacked = np.stack(embeddings) if embeddings else np.empty((0, size), np.float32)
    return Garments(stacked, labs.reshape(-1, 3), categories, slots, palettes), products


def palette_of(item: Item) -> tuple[Color, ...]:
    """Return the colours of an item's photo; empty where the photo cannot be read any more."""
    try:
        return colors_of(item.image)
    except SerupaError:
        return ()


class Shopfront:
    """What a shop has for outfits. Colours are seen once a photo, and remembered.

    Parameters
    ----------
    catalog : Catalog
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._palettes: dict[str, tuple[Color, ...]] = {}

    def candidates(self, where: Where = None) -> list[Candidate]:
        """Return up to 24 products of each category that pass a filter.

        Raises
        ------
        FilterError
            If the filter is not one of the catalogue.
        """
        catalog = self._catalog
        counted = catalog.facets("category", where=where, limit=100) if "category" in catalog.fields else None
        chosen: list[Item] = []
        for value, _ in counted if isinstance(counted, list) else ():
            if slot_of(str(value)) is None:
                continue
            seen: set[str] = set()
            for item in catalog.items((*as_filter(where), *as_filter({"category": value}))):
                product = item.product_id or item.id
                if product not in seen:
                    seen.add(product)
                    chosen.append(item)
                if len(seen) == _EACH:
                    break
        return self._seen(chosen)

    def candidate(self, item: Item) -> Candidate | None:
        """Return one item as an outfit sees it; None where its category has no slot."""
        found = self._seen([item])
        return found[0] if found else None

    def _seen(self, items: Sequence[Item]) -> list[Candidate]:
        known = [(item, slot) for item in items if (slot := slot_of(_category(item))) is not None]
        _, embeddings = self._catalog.embeddings([item.id for item, _ in known])
        found = []
        for (item, slot), embedding in zip(known, embeddings, strict=True):
            pattern = item.attributes.get("pattern")
            if item.id not in self._palettes:
                self._palettes[item.id] = palette_of(item)
            colors = self._palettes[item.id]
            named = ", ".join(pattern) if isinstance(pattern, list) else pattern
            worn = None if named is None else str(named)
            found.append(
                Candidate(
                    item.id,
                    item.name,
                    item.image,
                    _category(item),
                    slot,
                    colors,
                    worn,
                    embedding,
                    owned=False,
                )
            )
        return found


def _category(item: Item) -> str | None:
    category = item.attributes.get("category")
    return category if isinstance(category, str) else None


def owned_candidates(wardrobe: Wardrobe) -> list[Candidate]:
    """Return the pieces of a wardrobe whose category is known."""
    found = []
    for piece in wardrobe.pieces():
        if piece.slot is None:
            continue
        _, (embedding,) = wardrobe.catalog.embeddings([piece.id])
        colors = piece.colors
        if piece.color is not None and colors and colors[0].name != piece.color:
            # the owner knows better which of the colours is the garment's
            colors = tuple(sorted(colors, key=lambda c: c.name != piece.color))
        found.append(
            Candidate(
                piece.id,
                piece.name,
                piece.image,
                piece.category,
                piece.slot,
                colors,
                piece.pattern,
                embedding,
                True,
            )
        )
    return found


def _slot(category: str) -> Slot:
    slot = slot_of(category)
    if slot is None:
        raise ValueError(f"{category!r} has no slot")
    return slot
