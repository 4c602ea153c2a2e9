"""From what somebody likes and dislikes to products: groups of likes, each with results of its own.

Likes that differ are not averaged: between a hat and a coat there is nothing that anybody asked for. They are
put into groups (agglomerative clustering, average linkage), each group finds what is near to one of its likes
and not near to a dislike, and the results take turns, each group as often as its likes weigh. So do Pal et
al. [1]_ for a site with hundreds of millions of users.

How far apart two likes of one group may be depends on the encoder and on the catalogue, so it is read from
the catalogue: two random items are seldom that near to each other.

Turns follow the highest averages method of Webster and Sainte-Lague: next is the group of the largest
``weight / (2 * turns so far + 1)``. It needs no chance, so the same likes give the same order.

References
----------
.. [1] A. Pal et al., "PinnerSage: multi-modal user embedding framework for recommendations at Pinterest",
   KDD 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from serupa.filters import Condition, Filter
from serupa.storage.base import Examples, Neighbor, Point, VectorStore, first_of_each_product, product_of
from serupa.vectors import Metric, Vector, distances

ALIKE = 0.1
"""Two likes are in one group when they are nearer than this share of the pairs of items."""

# The first items of the store's own order, that of hashes, stand for the catalogue: it is as good as random.
_PAIRED = 200
_SHOWN = 400
_VARIED = 0.7  # diversity of what is shown to somebody of whom nothing is known
_MOST_LIKES = 64  # the weightiest count; clustering more costs time and changes little
_POOL = 8  # candidates for each result, of which products and diversity choose


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """Something that somebody likes or dislikes: an item of the catalogue, or a photo by its embedding.

    Parameters
    ----------
    item_id : str, optional
        An item of the catalogue.
    embedding : (d,) array of float32, optional
        The raw embedding of a photo, where it is no item.
    weight : float
        How much it counts, above 0; of a dislike it is not used.
    """

    item_id: str | None = None
    embedding: Vector | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if (self.item_id is None) == (self.embedding is None):
            raise ValueError("an example is an item or an embedding")
        if not self.weight > 0:
            raise ValueError(f"an example's weight must be above 0, not {self.weight}")


@dataclass(frozen=True, slots=True)
class Group:
    """Likes that belong together.

    Parameters
    ----------
    likes : tuple of int
        Which likes, by their place in what was passed in.
    weight : float
        The sum of their weights.
    """

    likes: tuple[int, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class Pick:
    """A product that is recommended.

    Parameters
    ----------
    neighbor : Neighbor
        The item, with its distance to `like`.
    like : int or None
        The nearest of the likes, by its place; None where there are no likes.
    """

    neighbor: Neighbor
    like: int | None


@dataclass(frozen=True, slots=True, eq=False)
class ExamplePoints:
    """Likes or dislikes as a store knows them.

    Parameters
    ----------
    vectors : (n, d) array of float32
        As they are searched.
    weights : (n,) array of float64
    points : tuple of Point or None
        The items; None for a photo that is none.
    """

    vectors: NDArray[np.float32]
    weights: NDArray[np.float64]
    points: tuple[Point | None, ...]

    @property
    def items(self) -> tuple[Point, ...]:
        """Those that are items."""
        return tuple(point for point in self.points if point is not None)


def recommend(
    store: VectorStore,
    likes: ExamplePoints,
    dislikes: ExamplePoints,
    k: int,
    *,
    metric: Metric,
    where: Filter = (),
    by_product: bool = True,
    diversity: float = 0.0,
) -> tuple[list[Pick], tuple[Group, ...]]:
    """Find what somebody may like.

    Parameters
    ----------
    store : VectorStore
    likes, dislikes : ExamplePoints
    k : int
        How many picks.
    metric : {"cosine", "euclidean", "manhattan"}
    where : tuple of Condition
        What may be recommended at all.
    by_product : bool
        Recommend products, each by its best photo, and none of the products that were liked or disliked; else
        items, and none of those.
    diversity : float
        0 for the nearest, up to 1 for what is most unlike the picks before it.

    Returns
    -------
    picks : list of Pick
        Best first.
    groups : tuple of Group
        What the likes fell into, the weightiest group first.
    """
    examples = (*likes.items, *dislikes.items)
    exclude = [point.id for point in examples]
    products = sorted({p.payload["product_id"] for p in examples if p.payload["product_id"] is not None})
    if by_product and products:
        where = (*where, Condition("product_id", none_of=tuple(products)))
    if not len(likes.vectors):
        points = [point for point in _sample(store, metric, _SHOWN, where) if point.id not in exclude]
        return _varied(
            store,
            points,
            dislikes,
            k,
            metric=metric,
            by_product=by_product,
            diversity=max(diversity, _VARIED),
        ), ()
    groups = _groups(store, likes, metric)
    asked = [Examples(likes.vectors[list(group.likes)], dislikes.vectors) for group in groups[:k]]
    answers = store.recommend(asked, metric, _POOL * k, where=where, exclude=exclude)
    lists = []
    for group, one, answer in zip(groups, asked, answers, strict=False):
        near = first_of_each_product(answer) if by_product else answer
        if diversity:
            near = _diversified(store, near, one.likes.mean(axis=0), metric, k=k, diversity=diversity)
        near = _liked_categories_first(near, [likes.points[n] for n in group.likes])
        lists.append(_picks(store, near, group, likes, metric))
    return _taking_turns(lists, [group.weight for group in groups[:k]], k, by_product), groups


def _groups(store: VectorStore, likes: ExamplePoints, metric: Metric) -> tuple[Group, ...]:
    weightiest = np.argsort(-likes.weights, kind="stable")[:_MOST_LIKES]
    vectors, weights = likes.vectors[weightiest], likes.weights[weightiest]
    limit = alike(store, metric) if len(vectors) > 1 else 0.0
    groups = [
        Group(tuple(sorted(int(weightiest[i]) for i in members)), float(weights[members].sum()))
        for members in cluster(distances(vectors, vectors, metric), limit)
    ]
    return tuple(sorted(groups, key=lambda group: (-group.weight, group.likes)))


def _varied(
    store: VectorStore,
    points: Sequence[Point],
    dislikes: ExamplePoints,
    k: int,
    *,
    metric: Metric,
    by_product: bool,
    diversity: float,
) -> list[Pick]:
    """Return what is unlike each other, for somebody who has not yet liked anything."""
    if not points:
        return []
    vectors = np.stack([point.vectors[metric] for point in points])
    centre = vectors.mean(axis=0)
    apart = distances(vectors, centre[None], metric)[:, 0]
    wanted = np.ones(len(points), bool)
    if len(dislikes.vectors):
        wanted = distances(vectors, dislikes.vectors, metric).min(axis=1) >= alike(store, metric)
    neighbors = [
        Neighbor(p.id, float(d), p.payload) for p, d, ok in zip(points, apart, wanted, strict=True) if ok
    ]
    neighbors.sort(key=lambda n: (n.distance, n.id))
    if by_product:
        neighbors = first_of_each_product(neighbors)
    return [Pick(n, None) for n in _diversified(store, neighbors, centre, metric, k=k, diversity=diversity)]


def _diversified(
    store: VectorStore,
    neighbors: Sequence[Neighbor],
    centre: Vector,
    metric: Metric,
    *,
    k: int,
    diversity: float,
) -> list[Neighbor]:
    by_id = {neighbor.id: neighbor for neighbor in neighbors}
    return [by_id[i] for i in store.diversify(list(by_id), centre, metric, k, diversity)]


def _picks(
    store: VectorStore, neighbors: Sequence[Neighbor], group: Group, likes: ExamplePoints, metric: Metric
) -> list[Pick]:
    """Find out which like of a group each result is nearest to."""
    if not neighbors or len(group.likes) == 1:
        return [Pick(neighbor, group.likes[0]) for neighbor in neighbors]
    points = store.get([neighbor.id for neighbor in neighbors], vectors=[metric])
    there = [neighbor for neighbor in neighbors if neighbor.id in points]
    vectors = np.stack([points[neighbor.id].vectors[metric] for neighbor in there])
    nearest = distances(vectors, likes.vectors[list(group.likes)], metric).argmin(axis=1)
    return [Pick(neighbor, group.likes[int(n)]) for neighbor, n in zip(there, nearest, strict=True)]


def _taking_turns(
    lists: Sequence[Sequence[Pick]], weights: Sequence[float], k: int, by_product: bool
) -> list[Pick]:
    """Merge lists by the method of Webster and Sainte-Lague; what is in two of them is taken once."""
    turns, places = [0] * len(lists), [0] * len(lists)
    merged: dict[tuple[str, str], Pick] = {}
    while len(merged) < k:
        open_lists = [n for n, picks in enumerate(lists) if places[n] < len(picks)]
        if not open_lists:
            break
        turn = max(open_lists, key=lambda n: (weights[n] / (2 * turns[n] + 1), -n))
        pick = lists[turn][places[turn]]
        places[turn] += 1
        thing = product_of(pick.neighbor) if by_product else ("item", pick.neighbor.id)
        if merged.setdefault(thing, pick) is pick:
            turns[turn] += 1
    return list(merged.values())


def _liked_categories_first(neighbors: Sequence[Neighbor], likes: Sequence[Point | None]) -> list[Neighbor]:
    """Put the nearest of each category that was liked first, where the catalogue has categories.

    A like of a jacket has hoodies near to it; whoever liked it is to be shown a jacket all the same.
    """
    wanted = {_category(like.payload) for like in likes if like is not None} - {None}
    first, rest = [], []
    for neighbor in neighbors:
        category = _category(neighbor.payload)
        if category in wanted:
            wanted.discard(category)
            first.append(neighbor)
        else:
            rest.append(neighbor)
    return first + rest


def _category(payload: Mapping[str, Any]) -> str | None:
    category = payload["attributes"].get("category")
    return category if isinstance(category, str) else None


_ALIKE: WeakKeyDictionary[VectorStore, tuple[int, dict[Metric, float]]] = WeakKeyDictionary()
"""What `alike` found of a store, as long as the number of its items stays the same."""


def alike(store: VectorStore, metric: Metric) -> float:
    """Return the distance that a share `ALIKE` of the pairs of items is below: these are unusually near."""
    items = store.count()
    counted, limits = _ALIKE.get(store, (-1, {}))
    if counted != items:
        limits = {}
        _ALIKE[store] = items, limits
    if metric not in limits:
        points = _sample(store, metric, _PAIRED)
        limits[metric] = 0.0
        if len(points) > 1:
            vectors = np.stack([point.vectors[metric] for point in points])
            apart = distances(vectors, vectors, metric)
            limits[metric] = float(np.quantile(apart[np.triu_indices(len(vectors), 1)], ALIKE))
    return limits[metric]


def _sample(store: VectorStore, metric: Metric, size: int, where: Filter = ()) -> list[Point]:
    """Return up to `size` items with their vectors, the same ones as long as the store does not change."""
    return next(iter(store.scroll(where, vectors=[metric], batch=size)), [])


def cluster(apart: NDArray[np.float64], limit: float) -> list[list[int]]:
    """Put what is near together: agglomerative clustering with average linkage.

    The two clusters of the smallest mean distance between their members become one, as long as that is at
    most `limit`.

    Parameters
    ----------
    apart : (n, n) array of float64
        Distances, symmetric.
    limit : float

    Returns
    -------
    list of list of int
        The members of each cluster, in order.

    Examples
    --------
    >>> import numpy as np
    >>> cluster(np.abs(np.subtract.outer([0.0, 1.0, 10.0], [0.0, 1.0, 10.0])), 2.0)
    [[0, 1], [2]]
    """
    clusters = [[n] for n in range(len(apart))]
    means = apart.astype(np.float64)
    np.fill_diagonal(means, np.inf)
    while len(clusters) > 1:
        first, second = sorted(divmod(int(means.argmin()), len(means)))
        if means[first, second] > limit:
            break
        sizes = len(clusters[first]), len(clusters[second])
        merged = (sizes[0] * means[first] + sizes[1] * means[second]) / sum(sizes)
        means[first], means[:, first] = merged, merged
        means[first, first] = np.inf
        means = np.delete(np.delete(means, second, axis=0), second, axis=1)
        clusters[first] = sorted(clusters[first] + clusters.pop(second))
    return clusters
