"""What a query is compared by: its look and, where kinds of garment count, the kind that it prefers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serupa.catalog.mapping import Asked
from serupa.catalog.reading import stored_points
from serupa.errors import InvalidInputError, UsageError
from serupa.garments.head import UNSURE, KindGuess
from serupa.storage.base import Neighbor, Point
from serupa.vectors import Metric, Vector, unit

if TYPE_CHECKING:
    from serupa.catalog import Catalog

ANY_KIND = "any"
"""In place of a kind: compare the look alone."""


class Query(NamedTuple):
    """A searched vector ``(m,)``, whether it prefers a kind, and what a photo is taken for."""

    vector: Vector
    prefers: bool
    kind: KindGuess | None
    asked: Asked | None = None


def compared(catalog: Catalog, embedding: Vector, metric: Metric, kind: str | None = None) -> Query:
    """Return what a raw embedding is compared by."""
    dimension = catalog.manifest.card.dimension
    if embedding.shape != (dimension,):
        raise InvalidInputError(catalog.path, f"an embedding here is ({dimension},), not {embedding.shape}")
    if not np.isfinite(embedding).all():
        raise InvalidInputError(catalog.path, "the embedding to search with holds NaN or infinity")
    vector_map = catalog.schema.map
    if vector_map.kinds is None:
        refuse_kind(catalog, kind)
        return Query(vector_map.of_queries(embedding[None], metric)[0], True, None)
    asked = vector_map.kinds.asked(embedding[None], None if kind == ANY_KIND else kind)
    guess = vector_map.kinds.head.named(asked.chances[0]) if asked.prefer[0] else KindGuess(None, 0.0)
    if kind == ANY_KIND:
        return Query(vector_map.of_queries(embedding[None], metric)[0], False, guess)
    vector = vector_map.of_queries(embedding[None], metric, asked)[0]
    return Query(vector, bool(asked.prefer[0]), guess, asked)


def is_close(catalog: Catalog, query: Query, nearest: Neighbor, metric: Metric) -> bool | None:
    """Return whether the nearest item is likely of the kind that a photo shows, and looks alike.

    A worn photo looks alike where it is as near as items of this catalogue are to other products. How near
    people's own photos ought to be to a shop's is not known: of these the kind alone decides.
    """
    vector_map, asked = catalog.schema.map, query.asked
    if vector_map.kinds is None or asked is None or not asked.prefer[0]:
        return None
    (point,) = stored_points(catalog, [nearest.id], [metric])
    vector = point.vectors[metric]
    if float(asked.chances[0] @ vector_map.kind_of(vector, metric)) < UNSURE:
        return False
    if asked.flat[0] > 0.5:
        return True
    looks = unit(np.stack([query.vector, vector])[:, : vector_map.looks])
    return float(looks[0] @ looks[1]) >= catalog.own.usual_look()


def item_query(catalog: Catalog, point: Point, metric: Metric, kind: str | None) -> Query:
    """Return what an item is compared by: its own vector, or that with another kind."""
    vector_map, vector = catalog.schema.map, point.vectors[metric]
    if vector_map.kinds is None:
        refuse_kind(catalog, kind)
        return Query(vector, True, None)
    if kind is None:
        return Query(vector, True, None)
    chances = None if kind == ANY_KIND else vector_map.kinds.head.one_kind(kind)
    return Query(vector_map.with_kind(vector, metric, chances), chances is not None, None)


def refuse_kind(catalog: Catalog, kind: str | None) -> None:
    """Raise `UsageError` if a kind is asked for: called where kinds do not count."""
    if kind not in (None, ANY_KIND):
        raise UsageError(
            catalog.path, "kinds of garment do not count in it", f"serupa kinds -c {catalog.path}"
        )


def query_vectors(
    catalog: Catalog, embeddings: NDArray[np.float32], metric: Metric, kind: str | None = None
) -> NDArray[np.float32]:
    """Return what raw embeddings ``(n, d)`` of photos are compared by, ``(n, m)``; ``kind`` as in `rank`."""
    vector_map = catalog.schema.map
    plain = vector_map.kinds is None or kind == ANY_KIND
    asked = None if plain or vector_map.kinds is None else vector_map.kinds.asked(embeddings)
    return vector_map.of_queries(embeddings, metric, asked)
