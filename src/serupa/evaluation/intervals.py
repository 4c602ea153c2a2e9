"""How sure a mean over queries is: bootstrap intervals, and a paired test of a difference.

The queries are the sample. A resample draws as many queries as there are, with replacement, and takes the
mean; 2,000 resamples show how far the mean would move with other queries from the same catalogue. The same
resamples serve every measure and every metric, so differences between metrics are *paired*: a query that is
hard for all of them cancels out.

Queries of the same class share their relevant items, so they are not quite independent. The intervals say
how the search would do with other queries of these classes, and are too narrow for the question how it would
do on other classes. Where every query has the same value the interval has no width; that says that the sample
is small, not that the value is certain.

References
----------
.. [1] B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall, 1993, chapters 13 and
   16.
.. [2] T. Sakai, "Evaluating evaluation metrics based on the bootstrap", SIGIR 2006.
.. [3] S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6, 1979.
.. [4] E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
"""

# SciPy, which has a bootstrap and Wilson's interval, is not in the default install, where `serupa evaluate`
# and `serupa tune` need them; nor does its bootstrap share resamples between measures.

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

RESAMPLES = 2_000
CONFIDENCE = 0.95
_CHUNK = 64  # resamples at a time: 64 x 13,779 weights take 7 MB


def bootstrap_means(values: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Means of resampled queries, for many measures at once.

    Parameters
    ----------
    values : (q, m) array of float
        One row a query, one column a measure. No NaN.
    resamples, seed : int
        How many resamples to draw; the same seed draws the same ones.

    Returns
    -------
    (resamples, m) array of float64
    """
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or not len(matrix):
        raise ValueError(
            f"values has shape {matrix.shape}; expected (queries, measures), with a query or more"
        )
    queries = len(matrix)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, matrix.shape[1]))
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        # How often each query is drawn is all a mean needs: the resampling becomes one matrix product.
        drawn = rng.integers(0, queries, size=(size, queries))
        counts = np.stack([np.bincount(row, minlength=queries) for row in drawn]).astype(np.float64)
        means[start : start + size] = counts @ matrix / queries
    return means


def percentile_interval(means: Floats, *, confidence: float = CONFIDENCE) -> Floats:
    """Percentile bootstrap interval [1]_: the bounds ``(2, ...)`` of means ``(resamples, ...)``."""
    tail = (1.0 - confidence) / 2.0
    return np.asarray(np.quantile(means, [tail, 1.0 - tail], axis=0), dtype=np.float64)


def difference_p_value(observed: float, differences: Floats) -> float:
    """Two-sided bootstrap p-value of a paired difference of means.

    The resampled differences, moved so that their centre is 0, stand for a world without any difference;
    the p-value is the share of them that is as far from 0 as the one observed [1]_ [2]_, never below ``1 /
    (resamples + 1)``.

    Parameters
    ----------
    observed : float
        The mean difference over the queries.
    differences : (resamples,) array of float
        The same over each resample.

    Returns
    -------
    float
        1.0 where the two are the same for every query.
    """
    slack = 1e-12  # rounding must not decide whether a resample is "as far"
    extreme = np.count_nonzero(np.abs(differences - observed) >= abs(observed) - slack)
    return float((extreme + 1) / (len(differences) + 1))


def holm(p_values: ArrayLike) -> Floats:
    """Adjust p-values ``(c,)`` for having made several comparisons, after Holm [3]_; in the order given.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def wilson_interval(mean: float, n: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Interval of a share of `n` yes-or-no queries, known only by its mean, 0 to 1 [4]_.

    For published results that come without the values of each query: precision@1 is such a share.

    Examples
    --------
    >>> [round(bound, 3) for bound in wilson_interval(0.23, 100)]
    [0.158, 0.322]
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    centre = mean + z * z / (2 * n)
    half = z * (mean * (1 - mean) / n + z * z / (4 * n * n)) ** 0.5
    scale = 1 + z * z / n
    return (max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale))
