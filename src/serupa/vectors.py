"""Metrics, distances and lengths of vectors."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Metric = Literal["cosine", "euclidean", "manhattan"]


METRICS: tuple[Metric, ...] = ("cosine", "euclidean", "manhattan")


Vector = NDArray[np.float32]

_Float = TypeVar("_Float", bound=np.floating[Any])


def similarity_of(distance: float, metric: Metric) -> float:
    """Return the similarity for a distance: ``1 - d`` for cosine, ``1 / (1 + d)`` for the others."""
    return 1.0 - distance if metric == "cosine" else 1.0 / (1.0 + distance)


def unit(rows: NDArray[_Float]) -> NDArray[_Float]:
    """Scale vectors ``(..., d)`` to length 1, in a new array; zeros stay zeros."""
    lengths = np.sqrt(np.einsum("...i,...i->...", rows, rows))[..., None]
    scaled: NDArray[_Float] = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return scaled


def distances(rows: NDArray[np.float32], others: NDArray[np.float32], metric: Metric) -> NDArray[np.float64]:
    """Return the distances ``(n, m)`` of rows ``(n, d)`` from others ``(m, d)``.

    A vector of zeros has no direction: by cosine it is at distance 1 from everything.
    """
    a, b = rows.astype(np.float64), others.astype(np.float64)
    if metric == "manhattan":
        return np.stack([np.abs(a - one).sum(axis=1) for one in b], axis=1)
    if metric == "euclidean":
        return np.stack([np.linalg.norm(a - one, axis=1) for one in b], axis=1)
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    cosines: NDArray[np.float64] = np.divide(a @ b.T, lengths, out=np.zeros(lengths.shape), where=lengths > 0)
    return np.clip(1.0 - cosines, 0.0, 2.0)
