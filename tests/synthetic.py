"""Catalogues of made-up embeddings: what the encoder would say, without photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serupa import Catalog, Item
from serupa.catalog.schema import payload_of


def product_photos(
    products: int, photos: int = 4, *, dimension: int = 48, seed: int = 0
) -> tuple[NDArray[np.float32], list[str], list[str]]:
    """Return embeddings, products and categories of products that pose and light hide.

    Twelve directions tell products apart; six others vary more, from photo to photo.
    """
    rng = np.random.default_rng(seed)
    own = np.repeat(rng.normal(size=(products, 12)), photos, axis=0)
    own[:, 0] += np.repeat(3.0 * (np.arange(products) % 4), photos)  # four categories
    pose = 2.5 * rng.normal(size=(products * photos, 6))
    turn = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    noise = 0.15 * rng.normal(size=(products * photos, dimension))
    embeddings = (np.hstack([own, pose]) @ turn[:18] + noise + 2.0 * turn[20]).astype(np.float32)
    names = [f"P{number:03}" for number in range(products) for _ in range(photos)]
    categories = [f"C{number % 4}" for number in range(products) for _ in range(photos)]
    return embeddings, names, categories


def filled(
    path: Path,
    embeddings: NDArray[np.float32],
    products: Sequence[str | None],
    categories: Sequence[str | list[str]] = (),
    *,
    metrics: Sequence[str] = ("cosine",),
) -> Catalog:
    """Make a catalogue whose items have these raw embeddings, in their first values."""
    catalog = Catalog.create(path, metrics=metrics, kinds=0.0)
    wide = np.zeros((len(embeddings), catalog.manifest.card.dimension), np.float32)
    wide[:, : embeddings.shape[1]] = embeddings
    payloads = []
    for row, product in enumerate(products):
        attributes = {"category": categories[row]} if categories else {}
        item = Item(f"{row:04}", f"none/{row:04}.jpg", product, attributes)  # type: ignore[arg-type]
        catalog._note_fields(item)
        payloads.append(payload_of(item, f"content {row}", float(np.linalg.norm(wide[row]))))
    catalog.store.upsert(catalog.schema.points(payloads, wide))
    catalog._index_fields()
    catalog.store.optimize()
    return catalog
