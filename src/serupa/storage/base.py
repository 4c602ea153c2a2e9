"""What a catalogue asks of a vector store: points as plain data, whatever engine keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from serupa.filters import Filter, Scalar
from serupa.items import OWN_FIELDS, FieldKind
from serupa.vectors import Metric, Vector, distances

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Point:
    """What a store keeps: an id, named vectors of shape ``(d,)``, and a JSON payload."""

    id: str
    vectors: Mapping[str, Vector]
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A point that a search found, with its distance (smaller is nearer)."""

    id: str
    distance: float
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What a recommendation starts from: vectors as they are searched, ``(p, d)`` and ``(n, d)``."""

    likes: NDArray[np.float32]
    dislikes: NDArray[np.float32]


def payload_key(field: str) -> str:
    """Return where a field stands in a point's payload, as a path that the engine reads."""
    if field in OWN_FIELDS:
        return field
    return f'attributes."{field}"'


class Store(Protocol):
    """What Serupa asks of an engine.

    Vectors are named: one name a metric. Every method may be called from several threads.
    """

    def upsert(self, points: Sequence[Point]) -> None:
        """Add points, replacing those whose id is there; durable when the call returns."""

    def replace_payloads(self, payloads: Sequence[Mapping[str, Any]]) -> None:
        """Replace the payloads of points that are there (found by ``payload["id"]``), vectors kept."""

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; ids that are not there are passed over."""

    def get(self, ids: Sequence[str], *, vectors: Sequence[str] = ()) -> dict[str, Point]:
        """Return the points that are there, with the vectors named."""

    def scroll(
        self,
        where: Filter = (),
        *,
        vectors: Sequence[str] = (),
        batch: int = 256,
        after: str | None = None,
    ) -> Iterator[list[Point]]:
        """Yield every point that the filter lets through, in batches, in a stable order.

        ``after`` is the id of a point, there or not: only what comes behind it in that order is yielded.
        """

    def search(
        self,
        vectors: NDArray[np.float32],
        metric: Metric,
        limit: int,
        *,
        where: Filter = (),
        exclude: Sequence[Sequence[str]] | None = None,
        exact: bool = False,
        payload: bool = True,
    ) -> list[list[Neighbor]]:
        """Return the nearest points of each query in ``vectors`` ``(q, d)``, nearest first.

        ``exclude`` names, for each query, the ids left out of its results. Equal distances are
        ordered by id.
        """

    def recommend(
        self,
        examples: Sequence[Examples],
        metric: Metric,
        limit: int,
        *,
        where: Filter = (),
        exclude: Sequence[str] = (),
    ) -> list[list[Neighbor]]:
        """Return, for each of the examples, what is near to one of its likes, nearest first.

        A distance is the one to the nearest like, of which there is at least one. What is at least as near to
        a dislike is left out, so that fewer than ``limit`` may come back. ``exclude`` names ids left out of
        all results. Equal distances are ordered by id.
        """

    def diversify(
        self, ids: Sequence[str], vector: Vector, metric: Metric, limit: int, diversity: float
    ) -> list[str]:
        """Order these points so that each is near to ``vector`` and unlike those before it.

        Maximal marginal relevance [1]_: each next point is the one of the largest
        ``(1 - diversity) * relevance - diversity * similarity to the most similar before it``. Ids that are
        not there are passed over; at most ``limit`` come back.

        .. [1] J. Carbonell, J. Goldstein, "The use of MMR, diversity-based reranking for reordering
           documents and producing summaries", SIGIR 1998.
        """

    def count(self, where: Filter = ()) -> int:
        """Return how many points the filter lets through."""

    def index_field(self, field: str, kind: FieldKind) -> None:
        """Make filters and counts on a field fast; called again, it does nothing."""

    def facet(self, field: str, where: Filter = (), limit: int = 100) -> list[tuple[Scalar, int]]:
        """Return the values of an indexed text field with their counts, most frequent first."""

    def bounds(self, field: str, where: Filter = ()) -> tuple[float, float] | None:
        """Return the smallest and the largest value of an indexed number field."""

    def optimize(self) -> None:
        """Bring the index up to date; needed for speed only."""

    def indexed(self) -> int:
        """Return how many vectors are reached by the approximate index; the others are scanned."""

    def close(self) -> None:
        """Write everything and let go of it."""


def nearest_likes(examples: Examples, candidates: Sequence[Point], metric: Metric) -> list[Neighbor]:
    """Order what an engine recommends as `Store.recommend` promises.

    Engines rank by a score in which large distances are squeezed together, so that their digits are lost.
    The candidates bring the vector of the metric.
    """
    if not candidates:
        return []
    rows = np.stack([point.vectors[metric] for point in candidates])
    liked = distances(rows, examples.likes, metric).min(axis=1)
    if len(examples.dislikes):
        disliked = distances(rows, examples.dislikes, metric).min(axis=1)
    else:
        disliked = np.full(len(rows), np.inf)
    found = [
        Neighbor(point.id, float(distance), point.payload)
        for point, distance, refused in zip(candidates, liked, disliked, strict=True)
        if distance < refused
    ]
    return sorted(found, key=lambda n: (n.distance, n.id))


def product_of(neighbor: Neighbor) -> tuple[str, str]:
    """Return what makes a product of an item: its product's id; an item without one stands for itself."""
    product = neighbor.payload["product_id"]
    return ("item", neighbor.id) if product is None else ("product", product)


def first_of_each_product(neighbors: Sequence[Neighbor]) -> list[Neighbor]:
    """Return the first item of each product."""
    first: dict[tuple[str, str], Neighbor] = {}
    for neighbor in neighbors:
        first.setdefault(product_of(neighbor), neighbor)
    return list(first.values())


def grouped(these: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut anything into lists of at most ``size``."""
    batch: list[T] = []
    for one in these:
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
