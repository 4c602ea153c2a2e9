"""Exact search of many queries in one pass over the stored vectors: matrix products instead of one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from serupa.storage.base import Point
from serupa.vectors import Metric

METRICS: tuple[Metric, ...] = ("cosine", "euclidean")
"""What a matrix product gives; Manhattan distances have none."""

FROM = 1_000
"""Queries from which a pass pays: reading a vector out of the engine takes as long as 900 comparisons."""

_BLOCK = 4_096  # vectors, and queries, in one product: 64 MiB of scores
_PAIRS = 256  # pairs whose distances are summed at once: they stay in a processor's cache
_ROUNDING = 1e-5  # of single precision in a product, relative to the lengths, generously

Floats = NDArray[np.float32]
Ids = NDArray[np.object_]
Rows = NDArray[np.int64]


def scan(
    points: Iterable[Sequence[Point]], queries: Floats, metric: Metric, limit: int
) -> list[list[tuple[str, float]]]:
    """Return the nearest points of each query.

    Parameters
    ----------
    points : iterable of sequences of Point
        Each with the vector named by the metric; for cosine, of length 1.
    queries : ndarray, shape (q, d)
        Of any length.
    metric : {"cosine", "euclidean"}
        The distance.
    limit : int
        How many points to find; fewer where there are no more.

    Returns
    -------
    list of q lists of (str, float)
        Ids and distances, nearest first, equal distances by id. Products of single precision only choose the
        candidates; their distances are summed one by one, so equal vectors have equal distances.
    """
    if metric == "cosine":
        lengths = np.linalg.norm(queries, axis=1, keepdims=True)
        queries = np.divide(queries, lengths, out=np.zeros_like(queries), where=lengths > 0)
    groups = [
        _Nearest(np.ascontiguousarray(queries[start : start + _BLOCK]), metric, limit)
        for start in range(0, len(queries), _BLOCK)
    ]
    for ids, vectors in _blocks(points, metric):
        for group in groups:
            group.take(ids, vectors)
    return [found for group in groups for found in group.best()]


def _blocks(points: Iterable[Sequence[Point]], metric: Metric) -> Iterable[tuple[Ids, Floats]]:
    waiting: list[Point] = []
    for batch in points:
        waiting += batch
        while len(waiting) >= _BLOCK:
            yield _block(waiting[:_BLOCK], metric)
            del waiting[:_BLOCK]
    if waiting:
        yield _block(waiting, metric)


def _block(points: Sequence[Point], metric: Metric) -> tuple[Ids, Floats]:
    return np.array([point.id for point in points], object), np.stack([p.vectors[metric] for p in points])


class _Nearest:
    """The nearest points found so far of a group of queries."""

    def __init__(self, queries: Floats, metric: Metric, limit: int) -> None:
        self._queries = queries
        # scores order as distances do: minus the product; or the squared distance less the query's own size
        self._factors = queries * np.float32(-1 if metric == "cosine" else -2)
        self._metric = metric
        self._limit = limit
        self._sizes = np.einsum("ij,ij->i", queries, queries)
        self._worst = np.full(len(queries), np.inf, np.float32)  # the score that a point must not exceed
        self._rows = np.empty(0, np.int64)  # of what was found: the query, the distance, the point's id
        self._distances = np.empty(0, np.float64)
        self._ids: Ids = np.empty(0, object)

    def take(self, ids: Ids, vectors: Floats) -> None:
        """Compare every query with further vectors (n, d)."""
        scores = self._factors @ vectors.T
        sizes = np.einsum("ij,ij->i", vectors, vectors)
        if self._metric == "euclidean":
            scores += sizes
        slack = _ROUNDING * (self._sizes + sizes.max())
        bound = self._worst + slack
        if np.isinf(bound).any() and len(vectors) > self._limit:
            nth = np.partition(scores, self._limit - 1, axis=1)[:, self._limit - 1]
            np.minimum(bound, nth + 2 * slack, out=bound)
        rows, columns = np.divmod(np.flatnonzero(scores <= bound[:, None]), len(vectors))
        if len(rows):
            self._merge(rows, self._exact(rows, columns, vectors), ids[columns])

    def _exact(self, rows: Rows, columns: Rows, vectors: Floats) -> NDArray[np.float64]:
        """Return the distance of query ``rows[i]`` to vector ``columns[i]``."""
        distances = np.empty(len(rows), np.float64)
        for start in range(0, len(rows), _PAIRS):
            part = slice(start, start + _PAIRS)
            queries, points = self._queries[rows[part]], vectors[columns[part]]
            if self._metric == "euclidean":
                queries -= points
                distances[part] = np.sqrt(np.einsum("ij,ij->i", queries, queries))
            else:
                distances[part] = np.maximum(0, 1 - np.einsum("ij,ij->i", queries, points))
        return distances

    def _merge(self, rows: Rows, distances: NDArray[np.float64], ids: Ids) -> None:
        """Keep the nearest of each query, and all that are as far as the last of them."""
        rows, distances = np.append(self._rows, rows), np.append(self._distances, distances)
        ids = np.append(self._ids, ids)
        order = np.lexsort((distances, rows))
        rows, distances, ids = rows[order], distances[order], ids[order]
        starts = np.searchsorted(rows, np.arange(len(self._queries) + 1))
        last = starts[:-1] + self._limit - 1
        full = np.flatnonzero(last < starts[1:])
        farthest = np.full(len(self._queries), np.inf)
        farthest[full] = distances[last[full]]
        self._worst[full] = self._scores(full, farthest[full])
        kept = distances <= farthest[rows]
        self._rows, self._distances, self._ids = rows[kept], distances[kept], ids[kept]

    def _scores(self, rows: Rows, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        return distances - 1 if self._metric == "cosine" else distances**2 - self._sizes[rows]

    def best(self) -> list[list[tuple[str, float]]]:
        """Return ids and distances of each query."""
        ends = np.searchsorted(self._rows, np.arange(len(self._queries) + 1)).tolist()
        found = list(zip(self._distances.tolist(), self._ids.tolist(), strict=True))
        return [
            [(name, distance) for distance, name in sorted(found[start:end])[: self._limit]]
            for start, end in itertools.pairwise(ends)
        ]
