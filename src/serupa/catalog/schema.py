"""How an item is kept as a point: its payload, and the named vectors that its embedding becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.items import Attribute, FieldKind, Item
from serupa.storage.base import Point
from serupa.vectors import Metric, Vector

if TYPE_CHECKING:
    from serupa.learning.whitening import Whitening
    from serupa.storage.manifest import CatalogManifest, TuningInfo

_LABEL_LENGTH = 100  # a text that is longer is prose: shown, not counted


class VectorMap:
    """What raw embeddings go through before they are compared: a whitening, or nothing.

    Parameters
    ----------
    encoded : int
        Length of a raw embedding, d.
    dimension : int, optional
        Length of what is compared, m, where there is a whitening.
    load : callable, optional
        Gives the whitening when it is first needed: raw embeddings can be had without it.
    """

    def __init__(
        self, encoded: int, dimension: int | None = None, load: Callable[[], Whitening] | None = None
    ) -> None:
        self.encoded = encoded
        self.dimension = encoded if dimension is None else dimension
        self._load = load

    @property
    def is_identity(self) -> bool:
        """Whether embeddings are compared as they are."""
        return self._load is None

    @cached_property
    def whitening(self) -> Whitening | None:
        """The whitening; None where there is none."""
        return None if self._load is None else self._load()

    def apply(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn raw embeddings ``(n, d)`` into what is compared, ``(n, m)``: whitened ones have length 1."""
        return embeddings if self.whitening is None else self.whitening.apply(embeddings)

    def apply_to_cells(self, cells: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map cells ``(n, d)`` so that their mean ``(m,)`` is what their mean ``(d,)`` is compared as.

        With its norms fixed a whitening is an affine map, and the mean of mapped cells is the mapped mean.
        """
        if self.whitening is None:
            return cells
        norm = float(np.linalg.norm(cells.mean(axis=0)))
        if not norm:
            return np.zeros((len(cells), self.dimension))
        mapped = (cells / norm - self.whitening.mean) @ self.whitening.projection.T.astype(np.float64)
        norm = float(np.linalg.norm(mapped.mean(axis=0)))
        return mapped / norm if norm else np.zeros_like(mapped)


@dataclass(frozen=True, slots=True)
class PointSchema:
    """The named vectors of a catalogue's points.

    Parameters
    ----------
    metrics : tuple of {"cosine", "euclidean", "manhattan"}
        One searched vector each.
    map : VectorMap
        What these went through; raw embeddings are kept as ``raw`` where it changes them.
    """

    metrics: tuple[Metric, ...]
    map: VectorMap

    @property
    def embedding_name(self) -> str:
        """The named vector that raw embeddings are worked out from."""
        if not self.map.is_identity:
            return "raw"
        return next((metric for metric in self.metrics if metric != "cosine"), "cosine")

    def embedding(self, point: Point) -> Vector:
        """Return the raw embedding of a stored point: cosine vectors are kept at length 1."""
        name = self.embedding_name
        vector = point.vectors[name]
        return np.float32(point.payload["norm"]) * vector if name == "cosine" else vector

    def points(self, payloads: Sequence[Mapping[str, Any]], embeddings: NDArray[np.float32]) -> list[Point]:
        """Return points with these payloads and raw embeddings ``(n, d)``."""
        vectors: dict[str, NDArray[np.float32]] = dict.fromkeys(self.metrics, self.map.apply(embeddings))
        if not self.map.is_identity:
            vectors["raw"] = embeddings
        return [
            Point(payload["id"], {name: rows[row] for name, rows in vectors.items()}, payload)
            for row, payload in enumerate(payloads)
        ]


def schema_of(manifest: CatalogManifest, read: Callable[[TuningInfo], bytes]) -> PointSchema:
    """Return the schema of a catalogue; `read` gives the bytes of its whitening when they are needed."""
    encoded, tuning = manifest.card.dimension, manifest.tuning
    if tuning is None:
        return PointSchema(manifest.metrics, VectorMap(encoded))

    def load() -> Whitening:
        from serupa.learning.whitening import Whitening

        return Whitening.from_bytes(read(tuning))

    return PointSchema(manifest.metrics, VectorMap(encoded, tuning.dimension, load))


def payload_of(item: Item, content: str, norm: float) -> dict[str, Any]:
    """Return what is stored with an item.

    Truth values are kept as text, since the engine has no other filter. ``content`` is the hash of the photo,
    ``norm`` the length of its raw embedding.
    """
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


def new_fields(item: Item, fields: Mapping[str, FieldKind]) -> dict[str, FieldKind]:
    """Return the fields of an item that are not among these, or are of another kind now."""
    new: dict[str, FieldKind] = {}
    for name, value in item.attributes.items():
        kind, before = kind_of(value), fields.get(name)
        if {kind, before} == {"number", "text"}:
            kind = "text"  # what holds both is text
        if before not in (kind, "words"):
            new[name] = kind
    return new
