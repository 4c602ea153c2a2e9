"""Measures of a ranking, as functions over arrays.

All take the same two arguments:

``relevant`` : (q, n) array of bool
    Row *i* is the ranking of query *i*, nearest first; ``relevant[i, j]`` says whether the item at rank
    ``j + 1`` is relevant.
``total`` : (q,) array of int
    How many relevant items the whole gallery has for each query, in the ranking or not.

and return one value a query, ``(q,)`` float64. The functions ending in ``_of_ranks`` take one query, as the
ranks of its relevant items, where a row as long as the gallery would be a waste.

Three rules hold throughout:

* A ranking may be shorter than ``k``: the ranks that do not exist count as not relevant, so precision still
  divides by ``k``, as in trec_eval.
* A query without any relevant item (``total`` = 0) has no recall, nDCG, R-precision or average precision: the
  result is NaN there, never a silent 0.
* ``total`` counts at least the relevant items of the ranking; a smaller one is a ValueError, as is a ``k``
  below 1.

Ties are settled by whoever made the ranking (here by distance, then by id).

References
----------
.. [1] C. D. Manning, P. Raghavan, H. Schütze, "Introduction to Information Retrieval", Cambridge, 2008,
   chapter 8.
.. [2] K. Järvelin, J. Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), 2002.
.. [3] C. Buckley, E. M. Voorhees, "Evaluating evaluation measure stability", SIGIR 2000.
"""

# scikit-learn, which has some of these, is not in the default install, where `serupa tune` needs them.

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def precision_at_k(relevant: ArrayLike, k: int) -> Floats:
    """Share of the first `k` results that is relevant: ``(relevant in ranks 1..k) / k`` [1]_.

    Examples
    --------
    >>> precision_at_k([[True, False, True]], 2)
    array([0.5])
    >>> precision_at_k([[True, False, True]], 10)
    array([0.2])
    """
    return _relevant_within(_matrix(relevant), k) / k


def recall_at_k(relevant: ArrayLike, total: ArrayLike, k: int) -> Floats:
    """Share of all relevant items in the first `k` results: ``(relevant in ranks 1..k) / total`` [1]_.

    At most ``k / total``: with 138 photos of a product, R@1 cannot be above 0.007.

    Examples
    --------
    >>> recall_at_k([[True, False, True]], [4], 3)
    array([0.5])
    """
    matrix = _matrix(relevant)
    return _divide(_relevant_within(matrix, k), _totals(total, matrix))


def hit_rate_at_k(relevant: ArrayLike, k: int) -> Floats:
    """1 where the first `k` results hold at least one relevant item, else 0.

    Its mean over the queries is the "top-k retrieval accuracy" of the DeepFashion benchmarks.

    Examples
    --------
    >>> hit_rate_at_k([[False, True], [False, False]], 2)
    array([1., 0.])
    """
    return (_relevant_within(_matrix(relevant), k) > 0).astype(np.float64)


def ndcg_at_k(relevant: ArrayLike, total: ArrayLike, k: int) -> Floats:
    """Normalised discounted cumulative gain of the first `k` results, with gains of 0 and 1.

    ``DCG@k = sum over ranks r = 1..k of relevant(r) / log2(r + 1)``, divided by the DCG of the ideal
    ranking, which puts ``min(k, total)`` relevant items first [2]_.

    Examples
    --------
    >>> ndcg_at_k([[True, False, False]], [1], 3)
    array([1.])
    """
    matrix = _matrix(relevant)
    totals = _totals(total, matrix)
    _check_k(k)
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    gained = matrix[:, :k] @ discounts[: matrix.shape[1]]
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(totals, k)]
    return _divide(gained, ideal)


def r_precision(relevant: ArrayLike, total: ArrayLike) -> Floats:
    """Precision at rank ``total``, where it equals recall [1]_; the ranking should be at least that long.

    Examples
    --------
    >>> r_precision([[True, False, True]], [2])
    array([0.5])
    """
    matrix = _matrix(relevant)
    totals = _totals(total, matrix)
    within = np.arange(matrix.shape[1]) < totals[:, None]
    return _divide(np.count_nonzero(matrix & within, axis=1).astype(np.float64), totals)


def average_precision(relevant: ArrayLike, total: ArrayLike) -> Floats:
    """Mean of the precisions at the rank of each relevant item; its mean over the queries is mAP.

    ``AP = (1 / total) * sum over the relevant ranks r of P@r`` [3]_, not interpolated. Relevant items that
    the ranking does not show add 0, so the whole gallery should be ranked.

    Examples
    --------
    >>> average_precision([[True, False, True]], [2]).round(4)
    array([0.8333])
    """
    matrix = _matrix(relevant)
    totals = _totals(total, matrix)
    precisions = np.cumsum(matrix, axis=1) / np.arange(1, matrix.shape[1] + 1)
    return _divide((precisions * matrix).sum(axis=1), totals)


def average_precision_of_ranks(ranks: ArrayLike, total: int) -> float:
    """Average precision of one query: ``(1 / total) * sum over i of i / rank_i``; NaN where `total` is 0.

    ``ranks`` are those of the relevant items that the ranking shows, (r,), from 1, ascending.

    Examples
    --------
    >>> round(average_precision_of_ranks([1, 3], 2), 4)
    0.8333
    """
    places = _ranks(ranks, total)
    return float(np.sum(np.arange(1, len(places) + 1) / places) / total) if total else float("nan")


def r_precision_of_ranks(ranks: ArrayLike, total: int) -> float:
    """R-precision of one query, from the same ranks as `average_precision_of_ranks`; NaN where `total` is 0.

    Examples
    --------
    >>> r_precision_of_ranks([1, 3], 2)
    0.5
    """
    places = _ranks(ranks, total)
    return float(np.count_nonzero(places <= total) / total) if total else float("nan")


def _matrix(relevant: ArrayLike) -> NDArray[np.bool_]:
    matrix = np.asarray(relevant, dtype=bool)
    if matrix.ndim != 2:
        raise ValueError(f"relevant has shape {matrix.shape}; expected (queries, ranks)")
    return matrix


def _totals(total: ArrayLike, matrix: NDArray[np.bool_]) -> NDArray[np.int64]:
    totals = np.asarray(total, dtype=np.int64)
    if totals.shape != matrix.shape[:1]:
        raise ValueError(f"total has shape {totals.shape}; expected ({len(matrix)},), one value a query")
    if np.any(np.count_nonzero(matrix, axis=1) > totals):
        raise ValueError("total is smaller than the number of relevant items in the ranking")
    return totals


def _ranks(ranks: ArrayLike, total: int) -> NDArray[np.int64]:
    places = np.asarray(ranks, dtype=np.int64)
    if places.ndim != 1 or len(places) > total or np.any(np.diff(places, prepend=0) < 1):
        raise ValueError("ranks must be from 1, ascending, and at most total in number")
    return places


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")


def _relevant_within(matrix: NDArray[np.bool_], k: int) -> Floats:
    _check_k(k)
    return np.asarray(np.count_nonzero(matrix[:, :k], axis=1), dtype=np.float64)


def _divide(values: Floats, by: NDArray[np.int64] | Floats) -> Floats:
    shares: Floats = np.divide(values, by, out=np.full(len(values), np.nan), where=by > 0)
    return shares
