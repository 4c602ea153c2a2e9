"""How an item is kept as a point: its payload, and the named vectors that its embedding becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.encoders import Card
from serupa.items import Attribute, Item
from serupa.storage.base import FieldKind, Point
from serupa.vectors import Metric, Vector

if TYPE_CHECKING:
    from serupa.learning.whitening import Whitening

OWN_FIELDS: dict[str, FieldKind] = {"id": "words", "product_id": "text", "content": "text"}
"""The fields that every point has, besides the attributes."""

_LABEL_LENGTH = 100  # a text that is longer is prose: shown, not counted


@dataclass(frozen=True, slots=True)
class Layout:
    """The named vectors of a catalogue's points.

    Parameters
    ----------
    metrics : tuple of {"cosine", "euclidean", "manhattan"}
        One searched vector each.
    tuned : bool
        Whether searched vectors went through a whitening; raw embeddings are then kept as ``raw``.
    whitening : callable
        Gives the whitening where one is needed: raw embeddings can be had without it.
    """

    metrics: tuple[Metric, ...]
    tuned: bool
    whitening: Callable[[], Whitening | None]

    def vectors(self, embeddings: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return what is stored of raw embeddings ``(n, d)``, by name."""
        whitening = self.whitening() if self.tuned else None
        if whitening is None:
            return dict.fromkeys(self.metrics, embeddings)
        return dict.fromkeys(self.metrics, whitening.apply(embeddings)) | {"raw": embeddings}

    @property
    def embedding_name(self) -> str:
        """The named vector that raw embeddings are worked out from."""
        if self.tuned:
            return "raw"
        return next((metric for metric in self.metrics if metric != "cosine"), "cosine")

    def embedding(self, point: Point) -> Vector:
        """Return the raw embedding of a stored point: cosine vectors are kept at length 1."""
        name = self.embedding_name
        vector = point.vectors[name]
        return np.float32(point.payload["norm"]) * vector if name == "cosine" else vector

    def point(self, item: Item, content: str, embedding: Vector) -> Point:
        """Return the point of an item with this raw embedding ``(d,)``; ``content`` is its photo's hash."""
        vectors = {name: rows[0] for name, rows in self.vectors(embedding[None]).items()}
        return Point(item.id, vectors, payload_of(item, content, float(np.linalg.norm(embedding))))


def dimensions_of(settings: Mapping[str, Any]) -> dict[str, int]:
    """Return the named vectors of a catalogue's points, with their dimensions."""
    raw, tuning = Card.from_dict(settings["encoder"]).dimension, settings.get("tuning")
    if tuning is None:
        return dict.fromkeys(settings["metrics"], raw)
    return dict.fromkeys(settings["metrics"], tuning["dimension"]) | {"raw": raw}


def payload_of(item: Item, content: str, norm: float) -> dict[str, Any]:
    """Return what is stored with an item; truth values as text, since the engine has no other filter."""
    truths = sorted(name for name, value in item.attributes.items() if isinstance(value, bool))
    attributes = {n: str(v).lower() if n in truths else v for n, v in item.attributes.items()}
    payload = {
        "id": item.id,
        "product_id": item.product_id,
        "image": item.image,
        "content": content,
        "norm": norm,
        "attributes": attributes,
    }
    return payload | {"truths": truths} if truths else payload


def item_of(payload: Mapping[str, Any]) -> Item:
    """Return the item that a payload was made from."""
    attributes: dict[str, Attribute] = dict(payload["attributes"])
    for name in payload.get("truths", ()):
        attributes[name] = attributes[name] == "true"
    return Item(payload["id"], payload["image"], payload["product_id"], attributes)


def kind_of(value: Attribute) -> FieldKind:
    """Return what kind of field an attribute with this value is."""
    if isinstance(value, str):
        return "text" if len(value) <= _LABEL_LENGTH else "words"
    return "text" if isinstance(value, bool | list) else "number"
