"""Two set-ups on the same queries: by how much one is better, and how sure that is.

The comparison is paired: what counts is each query's own difference, so a query that is hard for both cancels
out. Queries that belong together (photos of one product) rise and fall together; given as clusters they are
drawn together in the bootstrap [1]_, and the interval is as wide as the number of products, not of photos,
allows.

References
----------
.. [1] A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", Cambridge, 1997, section 3.8.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serupa.errors import InvalidInputError
from serupa.evaluation import intervals

Values = Mapping[str, NDArray[np.float64]]
"""The value of each query, ``(q,)``, by measure: ``"map"``, ``"precision@1"``, ...; NaN where it has none."""

TITLES = {
    "precision": "P@{k}",
    "recall": "R@{k}",
    "hit_rate": "Hit@{k}",
    "ndcg": "nDCG@{k}",
    "map": "mAP",
    "r_precision": "R-precision",
}


def title(measure: str) -> str:
    """Return the name that people know a measure by: ``"precision@5"`` is ``"P@5"``."""
    name, _, k = measure.partition("@")
    return TITLES[name].format(k=k)


@dataclass(frozen=True)
class Difference:
    """How much better one set-up is than another, by one measure.

    Parameters
    ----------
    measure : str
        ``"map"``, ``"precision@1"``, ...
    before, after : float
        Means over the queries of the first set-up and the second.
    difference, low, high : float
        After minus before, and its 95 % interval.
    p_value : float
        Two-sided paired bootstrap test, not adjusted for the number of measures.
    queries : int
        How many queries both have a value for.
    """

    measure: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    p_value: float
    queries: int

    @property
    def better(self) -> bool:
        """Whether the second set-up is shown to be better: the interval is above zero."""
        return self.low > 0

    @property
    def worse(self) -> bool:
        """Whether the second set-up is shown to be worse: the interval is below zero."""
        return self.high < 0

    def __str__(self) -> str:
        measure, before, after, change, interval, verdict = self.cells()
        return f"{measure} {before} to {after}, {change} ({interval}): {verdict}"

    def cells(self) -> tuple[str, str, str, str, str, str]:
        """Return measure, before, after, change, interval and verdict for a table."""
        return (
            title(self.measure),
            f"{self.before:.3f}",
            f"{self.after:.3f}",
            f"{self.difference:+.3f}",
            f"{self.low:+.3f} to {self.high:+.3f}",
            "better" if self.better else "worse" if self.worse else "no difference shown",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as JSON-ready values."""
        return {
            "measure": self.measure,
            "before": self.before,
            "after": self.after,
            "difference": self.difference,
            "ci95": [self.low, self.high],
            "p_value": self.p_value,
            "queries": self.queries,
        }


def paired_differences(
    before: Values,
    after: Values,
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = intervals.RESAMPLES,
    seed: int = 0,
) -> list[Difference]:
    """Compare the values of the same queries before and after, measure by measure.

    Parameters
    ----------
    before, after : mapping of str to (q,) arrays
        The same measures, the same queries in the same order; a query without a value (NaN) in either is
        passed over for that measure.
    clusters : sequence of q hashables, optional
        Queries with the same value are drawn together; each stands for itself unless given, as does None.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    list of Difference
        One a measure, in the order of `before`.

    Raises
    ------
    InvalidInputError
        If no query has a value in both.
    """
    return [
        _difference(measure, values, after[measure], clusters, resamples=resamples, seed=seed)
        for measure, values in before.items()
    ]


def _difference(
    measure: str,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    clusters: Sequence[Hashable] | None,
    *,
    resamples: int,
    seed: int,
) -> Difference:
    rows = np.flatnonzero(np.isfinite(before) & np.isfinite(after))
    if not len(rows):
        raise InvalidInputError(title(measure), "no query has a value in both")
    change = after[rows] - before[rows]
    member = _cluster_numbers(clusters, rows)
    sums, sizes = np.bincount(member, weights=change), np.bincount(member)
    drawn = intervals.bootstrap_means(np.column_stack([sums, sizes]), resamples=resamples, seed=seed)
    resampled = drawn[:, 0] / drawn[:, 1]
    low, high = intervals.percentile_interval(resampled).tolist()
    mean = float(change.mean())
    return Difference(
        measure,
        before=float(before[rows].mean()),
        after=float(after[rows].mean()),
        difference=mean,
        low=low,
        high=high,
        p_value=intervals.difference_p_value(mean, resampled),
        queries=len(rows),
    )


def _cluster_numbers(clusters: Sequence[Hashable] | None, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the cluster of each of some queries."""
    if clusters is None:
        return np.arange(len(rows))
    numbers: dict[Hashable, int] = {}
    names = [("alone", row) if clusters[row] is None else ("with", clusters[row]) for row in rows.tolist()]
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)
