"""How an item is kept as a point: its payload, and the named vectors that its embedding becomes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.catalog.mapping import KindPart, VectorMap
from serupa.encoders import Card
from serupa.errors import ConflictError, InvalidInputError, UsageError
from serupa.items import Attribute, FieldKind, Item, attribute_problem, is_unicode
from serupa.storage.base import Point
from serupa.storage.manifest import KindsInfo
from serupa.vectors import Metric, Vector

if TYPE_CHECKING:
    from serupa.catalog.own import OwnItems
    from serupa.garments.head import KindHead
    from serupa.learning.whitening import Whitening
    from serupa.storage.manifest import CatalogManifest, TuningInfo

MAX_FIELDS = 100
"""Fields that a catalogue may have: most have an index, which every write and every opening pays for."""

_LABEL_LENGTH = 100  # a text that is longer is prose: shown, not counted


@dataclass(frozen=True, slots=True)
class PointSchema:
    """The named vectors of a catalogue's points.

    Parameters
    ----------
    metrics : tuple of {"cosine", "euclidean", "manhattan"}
        One searched vector each.
    map : VectorMap
        What these went through; raw embeddings are kept as ``raw`` where it loses them.
    """

    metrics: tuple[Metric, ...]
    map: VectorMap

    @property
    def embedding_name(self) -> str:
        """The named vector that raw embeddings are worked out from."""
        if self.map.loses:
            return "raw"
        return self._metric

    @property
    def _metric(self) -> Metric:
        return next((metric for metric in self.metrics if metric != "cosine"), "cosine")

    def embedding(self, point: Point) -> Vector:
        """Return the raw embedding of a stored point."""
        if self.map.loses:
            return point.vectors["raw"]
        return self.map.embedding(point.vectors[self._metric], point.payload["norm"], self._metric)

    def points(self, payloads: Sequence[Mapping[str, Any]], embeddings: NDArray[np.float32]) -> list[Point]:
        """Return points with these payloads and raw embeddings ``(n, d)``."""
        known = [payload["attributes"] for payload in payloads]
        searched = self.map.of_items(embeddings, known, self.metrics)
        vectors: dict[str, NDArray[np.float32]] = {metric: searched[metric] for metric in self.metrics}
        if self.map.loses:
            vectors["raw"] = embeddings
        return [
            Point(payload["id"], {name: rows[row] for name, rows in vectors.items()}, payload)
            for row, payload in enumerate(payloads)
        ]

    def moves(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
        """Return whether a point's vectors change with its payload: its attributes may say another kind."""
        if self.map.kinds is None:
            return False
        one, other = before["attributes"], after["attributes"]
        return any(one.get(name) != other.get(name) for name in ("category", "name"))


def schema_of(
    manifest: CatalogManifest, read: Callable[[TuningInfo], bytes], own: OwnItems | None = None
) -> PointSchema:
    """Return the schema of a catalogue.

    Parameters
    ----------
    manifest : CatalogManifest
    read : callable
        Gives the bytes of its whitening when they are needed.
    own : OwnItems, optional
        What its items teach about kinds; what only reads or writes items needs none.
    """
    encoded, tuning, info = manifest.card.dimension, manifest.tuning, manifest.kinds
    kinds = None if info is None else KindPart(info.names, info.share, lambda: _head_for(manifest), own)
    if tuning is None:
        return PointSchema(manifest.metrics, VectorMap(encoded, kinds=kinds))

    def load() -> Whitening:
        from serupa.learning.whitening import Whitening

        return Whitening.from_bytes(read(tuning))

    return PointSchema(manifest.metrics, VectorMap(encoded, tuning.dimension, load, kinds))


def kinds_for(card: Card, weights_sha256: str, share: float | None) -> KindsInfo | None:
    """Return what a catalogue remembers of kinds; None where they do not count.

    Parameters
    ----------
    card : Card
    weights_sha256 : str
        Of the encoder.
    share : float or None
        The share of the kind in a similarity; None is what was measured for the encoder.

    Raises
    ------
    UsageError
        If the share is not in 0 to 1, or nobody learned kinds for the encoder.
    """
    from serupa.garments.head import head_of

    if share is not None and not 0.0 <= share < 1.0:
        raise UsageError("the share of the kind", f"must be from 0 to below 1, not {share:g}")
    if share == 0.0:
        return None
    head = head_of(card, weights_sha256)
    if head is None and share is not None:
        raise UsageError(f"the encoder {card.name}", "has no head for kinds of garment", "leave kinds out")
    if head is None or (share is None and head.share == 0.0):
        return None
    return KindsInfo(names=head.kinds, share=round(head.share, 6) if share is None else share)


def _head_for(manifest: CatalogManifest) -> KindHead:
    from serupa.garments.head import head_of

    head = head_of(manifest.card, manifest.weights_sha256)
    if head is None or manifest.kinds is None or head.kinds != manifest.kinds.names:
        problem = "kinds count in it, and the head that told them is not here any more"
        raise ConflictError("the catalogue", problem, "renew them or do without: serupa kinds --help")
    return head


def content_of(data: bytes) -> str:
    """Return what tells one photo's file from another."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def payload_of(
    item: Item, content: str, norm: float, colors: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Return what is stored with an item.

    Truth values are kept as text, since the engine has no other filter. ``content`` is the hash of the photo,
    ``norm`` the length of its raw embedding, ``colors`` the share of each colour seen in it.
    """
    truths = sorted(name for name, value in item.attributes.items() if isinstance(value, bool))
    attributes = {n: str(v).lower() if n in truths else v for n, v in item.attributes.items()}
    payload: dict[str, Any] = {
        "id": item.id,
        "product_id": item.product_id,
        "image": item.image,
        "content": content,
        "norm": norm,
        "attributes": attributes,
    }
    if truths:
        payload["truths"] = truths
    if colors:
        payload["colors"] = dict(colors)
    return payload


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
    """Return the fields of an item that are not among these, or are of another kind now.

    Raises
    ------
    InvalidInputError
        If the item cannot be kept: one of its texts, names or values, or one field too many.
    """
    for text in (item.id, item.image, item.product_id or ""):
        if not is_unicode(text):
            raise InvalidInputError(ascii(text), "its name is not UTF-8", "rename the file")
    new: dict[str, FieldKind] = {}
    for name, value in item.attributes.items():
        if problem := attribute_problem(name, value):
            raise InvalidInputError("attributes", problem)
        kind, before = kind_of(value), fields.get(name)
        if {kind, before} == {"number", "text"}:
            kind = "text"  # what holds both is text
        if before not in (kind, "words"):
            new[name] = kind
    added = new.keys() - fields.keys()
    if added and len(fields) + len(added) > MAX_FIELDS:
        raise InvalidInputError(
            "attributes",
            f"{min(added)!r} would be one field too many: a catalogue has at most {MAX_FIELDS}",
            "leave attributes out",
        )
    return new
