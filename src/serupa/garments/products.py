"""The garments that a shop sells, as arrays: what styling learns from and what outfits are made of."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serupa.errors import InvalidInputError, SerupaError
from serupa.garments.colors import Color, colors_of, lab_of
from serupa.garments.slots import Slot, slot_of
from serupa.vectors import unit

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.items import Item

MOST = 2_000
"""Products that are learned from."""

_NO_COLOR = np.array([0.5, 0.0, 0.0])  # a medium grey in Oklab


@dataclass(frozen=True, slots=True, eq=False)
class Garments:
    """Garments as arrays, for learning.

    Parameters
    ----------
    embeddings : (n, d) array of float32
        Of length 1, or means of such.
    colors : (n, 3) array of float64
        The main colour in Oklab.
    categories, slots : sequences of str
    palettes : sequence of tuple of Color
    """

    embeddings: NDArray[np.float32]
    colors: NDArray[np.float64]
    categories: Sequence[str]
    slots: Sequence[Slot]
    palettes: Sequence[tuple[Color, ...]]


def read_pairs(table: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Read a CSV of ``product_id, linked_product_id``.

    Raises
    ------
    InvalidInputError
        If it cannot be read, or has other columns.
    """
    path = Path(table)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"product_id", "linked_product_id"} - set(reader.fieldnames or ())
            if missing:
                raise InvalidInputError(path, f"has no column {', '.join(sorted(missing))}")
            return [(row["product_id"], row["linked_product_id"]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(path, f"cannot be read: {reason}") from error


def garments_of(catalog: Catalog) -> tuple[Garments, list[str]]:
    """Return the products of a catalogue that have a slot, and the id of each.

    An embedding is the mean over a product's photos, a palette that of the photo nearest to it.
    """
    photos: dict[str, list[Item]] = {}
    slots: dict[str, Slot] = {}
    for item in catalog.items():
        slot = slot_of(category_of(item))
        if item.product_id is None or slot is None:
            continue
        if item.product_id in photos or len(photos) < MOST:
            photos.setdefault(item.product_id, []).append(item)
            slots.setdefault(item.product_id, slot)
    products = sorted(photos)
    items = [item for product in products for item in sorted(photos[product], key=lambda item: item.id)]
    rows = iter(unit(catalog.embeddings([item.id for item in items])[1]))
    embeddings, palettes, categories = [], [], []
    for product in products:
        shots = sorted(photos[product], key=lambda item: item.id)
        own = np.stack([next(rows) for _ in shots])
        mean = own.mean(axis=0)
        embeddings.append(mean)
        palettes.append(palette_of(shots[int((own @ mean).argmax())]))  # not its one photo in another colour
        categories.append(str(category_of(shots[0])))
    colors = np.array([lab_of(palette[0]) if palette else _NO_COLOR for palette in palettes]).reshape(-1, 3)
    stacked = np.array(embeddings, np.float32).reshape(len(products), catalog.manifest.card.dimension)
    return Garments(stacked, colors, categories, [slots[product] for product in products], palettes), products


def category_of(item: Item) -> str | None:
    """Return an item's category; None where it has none, or something else than a text."""
    category = item.attributes.get("category")
    return category if isinstance(category, str) else None


def palette_of(item: Item) -> tuple[Color, ...]:
    """Return the colours of an item's photo; empty where the photo cannot be read any more."""
    try:
        return colors_of(item.image)
    except SerupaError:
        return ()
