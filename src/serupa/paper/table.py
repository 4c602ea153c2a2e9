"""The paper's own results, and a table of them beside an evaluation's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from serupa.evaluation.comparison import title
from serupa.evaluation.intervals import wilson_interval
from serupa.evaluation.protocol import Evaluation
from serupa.evaluation.report import Published, Row
from serupa.vectors import Metric

SOURCE = "Jurnal Informatik, 21st edition, no. 2, August 2025"
ITEMS, CLASSES, QUERIES = 13_779, 100, 100
KEYS = ("precision@1", "precision@5", "precision@10", "recall@1", "recall@5", "recall@10")
RESULTS: Mapping[Metric, Mapping[str, float]] = {
    "cosine": dict(zip(KEYS, (0.230, 0.160, 0.126, 0.002, 0.006, 0.009), strict=True)),
    "euclidean": dict(zip(KEYS, (0.190, 0.148, 0.115, 0.001, 0.005, 0.008), strict=True)),
    "manhattan": dict(zip(KEYS, (0.200, 0.148, 0.115, 0.001, 0.005, 0.008), strict=True)),
}
"""The paper's results: means over 100 queries among 13,779 images of 100 DeepFashion classes."""

_EstimateWithBounds = tuple[float, float, float]


def beside_paper(evaluation: Evaluation) -> Published:
    """Return the paper's results beside an evaluation's, with what may be concluded from them."""
    rows = []
    for metric, results in RESULTS.items():
        low, high = wilson_interval(results["precision@1"], QUERIES)
        cells = [f"{results[key]:.3f}" for key in KEYS]
        rows.append(Row(metric, "paper", [f"{cells[0]} ({low:.3f} to {high:.3f})", *cells[1:]]))
        if metric in evaluation.metrics:
            estimates = evaluation.metrics[metric].estimates
            rows.append(Row(metric, "here", [str(estimates.get(key, "–")) for key in KEYS]))
    return Published("Beside the paper", [title(key) for key in KEYS], rows, list(_notes(evaluation)))


def _notes(evaluation: Evaluation) -> Iterator[str]:
    yield (
        f"The paper: {SOURCE}; {QUERIES} queries. With 95 % intervals: here by bootstrap over "
        "the queries; for the paper's P@1, which is a share of yes-or-no queries, Wilson's interval. For its "
        "P@5, P@10 and recall no interval can be worked out from what was published."
    )
    if (evaluation.items, evaluation.classes) != (ITEMS, CLASSES):
        yield (
            f"Other data: the paper searched {ITEMS:,} items in {CLASSES:,} classes of "
            f"DeepFashion, here they are {evaluation.items:,} in {evaluation.classes:,}. What differs is the "
            "task as well as the search."
        )
    papers = {metric: _share(results["precision@1"]) for metric, results in RESULTS.items()}
    cosine, other = papers["cosine"], papers["manhattan"]
    low, high = difference_interval(cosine, other)
    yield (
        f"Within the paper, cosine leads by {cosine[0] - other[0]:.3f} at P@1 ({cosine[0]:.3f} against "
        f"{other[0]:.3f}); as far as can be told without the values of each query, the 95 % interval of that "
        f"lead is {low:+.3f} to {high:+.3f}: it is not shown that one metric is better."
    )
    for metric, theirs in papers.items():
        result = evaluation.metrics.get(metric)
        if result is None or "precision@1" not in result.estimates:
            continue
        ours = result.estimates["precision@1"]
        low, high = difference_interval((ours.mean, ours.low, ours.high), theirs)
        says = "more than chance would make" if low > 0 or high < 0 else "no more than chance would make"
        yield (
            f"P@1 by {metric}: {ours.mean:.3f} here, {theirs[0]:.3f} in the paper, "
            f"{ours.mean - theirs[0]:+.3f} (95 % interval {low:+.3f} to {high:+.3f}): {says}."
        )


def _share(mean: float) -> _EstimateWithBounds:
    return (mean, *wilson_interval(mean, QUERIES))


def difference_interval(first: _EstimateWithBounds, second: _EstimateWithBounds) -> tuple[float, float]:
    """Interval of the difference of two independent estimates, from the interval of each.

    The distances of the bounds from the estimates are added as squares: ``low = a - b - sqrt((a - a_low)^2 +
    (b_high - b)^2)``, and alike for the upper bound. For two shares with Wilson's intervals that is
    Newcombe's method [1]_; it holds for intervals of other kinds as well [2]_.

    Parameters
    ----------
    first, second : (estimate, low, high)

    Returns
    -------
    tuple of float
        Bounds of first minus second.

    References
    ----------
    .. [1] R. G. Newcombe, "Interval estimation for the difference between independent proportions",
       Statistics in Medicine 17, 1998, method 10.
    .. [2] G. Y. Zou, A. Donner, "Construction of confidence limits about effect measures", Statistics in
       Medicine 27, 2008.

    Examples
    --------
    >>> [round(bound, 3) for bound in difference_interval((0.5, 0.4, 0.6), (0.2, 0.1, 0.3))]
    [0.159, 0.441]
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    down = ((a - a_low) ** 2 + (b_high - b) ** 2) ** 0.5
    up = ((a_high - a) ** 2 + (b - b_low) ** 2) ** 0.5
    return (a - b - down, a - b + up)
