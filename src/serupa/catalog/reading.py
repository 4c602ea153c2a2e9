"""Reading what a catalogue holds: points as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serupa.catalog.schema import item_of
from serupa.errors import NotFoundError
from serupa.filters import Condition
from serupa.items import Item
from serupa.storage.base import Point

if TYPE_CHECKING:
    from serupa.catalog import Catalog


def stored_points(catalog: Catalog, ids: Sequence[str], vectors: Sequence[str] = ()) -> list[Point]:
    """Return the points of items, in this order, with the vectors named.

    Raises
    ------
    NotFoundError
        If an id is not in the catalogue.
    """
    stored = catalog.store.get(ids, vectors=vectors)
    missing = [item_id for item_id in ids if item_id not in stored]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise NotFoundError(catalog.path, f"no item {', '.join(map(repr, missing[:3]))}{more}")
    return [stored[item_id] for item_id in ids]


def read_all(catalog: Catalog) -> tuple[list[Item], NDArray[np.float32]]:
    """Return every item and the raw embeddings of all, ``(n, d)``, in the store's order."""
    schema = catalog.schema
    items: list[Item] = []
    rows = [np.empty((0, schema.map.encoded), np.float32)]
    for batch in catalog.store.scroll(vectors=(schema.embedding_name,)):
        items += [item_of(point.payload) for point in batch]
        rows.append(np.stack([schema.embedding(point) for point in batch]))
    return items, np.concatenate(rows)


def known_photo(catalog: Catalog, content: str, vectors: Sequence[str] = ()) -> Point | None:
    """Return an item whose photo has this content, or None; what kind it is need not be guessed."""
    where = (Condition("content", any_of=(content,)),)
    return next((points[0] for points in catalog.store.scroll(where, vectors=vectors, batch=1)), None)
