"""Metrics, distances and lengths of vectors: defined here once for everything that compares embeddings."""

from __future__ import annotations

from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from serupa.errors import UsageError

Metric = Literal["cosine", "euclidean", "manhattan"]
METRICS: tuple[Metric, ...] = get_args(Metric)

Vector = NDArray[np.float32]

_Float = TypeVar("_Float", bound=np.floating[Any])


def as_metric(name: str) -> Metric:
    """Return the metric of this name.

    Raises
    ------
    UsageError
        If there is none.
    """
    for metric in METRICS:
        if metric == name:
            return metric
    raise UsageError(f"metric {name!r}", "is unknown", f"choose from {', '.join(METRICS)}")


def similarity_of(distance: float, metric: Metric) -> float:
    """Return the similarity for a distance: ``1 - d`` for cosine, ``1 / (1 + d)`` for the others."""
    return 1.0 - distance if metric == "cosine" else 1.0 / (1.0 + distance)


def unit(rows: NDArray[_Float]) -> NDArray[_Float]:
    """Scale vectors ``(..., d)`` to length 1, in a new array; zeros stay zeros."""
    lengths = np.sqrt(np.einsum("...i,...i->...", rows, rows))[..., None]
    scaled: NDArray[_Float] = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return scaled


def mean_direction(embeddings: NDArray[np.float32]) -> Vector:
    """Return the embedding that stands for several ``(n, d)``: their mean direction, at their mean length.

    No photo counts more than another, and the result lies among embeddings of photos for every metric. Why
    the mean, and not the best of each: ``bench/query_views.py``.

    Examples
    --------
    >>> mean_direction(np.array([[3.0, 0.0], [0.0, 1.0]], np.float32)).round(3)
    array([1.414, 1.414], dtype=float32)
    """
    rows = embeddings.astype(np.float64)
    length = np.linalg.norm(rows, axis=1).mean()
    mean: Vector = (length * unit(unit(rows).mean(axis=0))).astype(np.float32)
    return mean


def distances(rows: NDArray[Any], others: NDArray[Any], metric: Metric) -> NDArray[np.float64]:
    """Return the distances ``(n, m)`` of rows ``(n, d)`` from others ``(m, d)``.

    Cosine ``1 - a.b / (|a| |b|)``, Euclidean ``sqrt(sum (a - b)^2)``, Manhattan ``sum |a - b|``. A vector of
    zeros has no direction: by cosine it is at distance 1 from everything.
    """
    a, b = rows.astype(np.float64), others.astype(np.float64)
    if metric == "manhattan":
        return np.stack([np.abs(a - one).sum(axis=1) for one in b], axis=1)
    if metric == "euclidean":
        return np.stack([np.linalg.norm(a - one, axis=1) for one in b], axis=1)
    return np.clip(1.0 - unit(a) @ unit(b).T, 0.0, 2.0)
