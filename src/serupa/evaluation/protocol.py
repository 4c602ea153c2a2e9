"""The paper's experiment on any catalogue: each query is left out of its results, relevant = same label.

Average precision and R-precision need the whole ranking of the gallery, which no search engine returns in
reasonable time. So the ranking that is measured is put together: first what the search under test returns,
in its order, then every other item in exact order. Precision, recall, hit rate and nDCG at K depend on the
first part alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serupa.errors import CatalogError
from serupa.evaluation import intervals, measures
from serupa.evaluation.ranking import METRICS, ArrayRanker, Neighbors, Ranker, id_order, relevant_ranks

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many queries are done, and of how many."""

AT_K = ("precision", "recall", "hit_rate", "ndcg")
WHOLE = ("map", "r_precision")
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
class EmbeddedItems:
    """Items as arrays: a gallery, or a set of queries.

    Parameters
    ----------
    ids : sequence of str
        Unique.
    labels : sequence
        The class of each item: a text, number or truth value; None or an empty text where it has none.
    embeddings : (n, d) array of float32
        Not normalised.
    """

    ids: Sequence[str]
    labels: Sequence[Hashable]
    embeddings: NDArray[np.float32]

    def __post_init__(self) -> None:
        n = len(self.ids)
        if len(self.labels) != n or self.embeddings.ndim != 2 or len(self.embeddings) != n:
            shape = self.embeddings.shape
            raise ValueError(f"{n} ids, {len(self.labels)} labels and embeddings of shape {shape} do not fit")
        if len(set(self.ids)) != n:
            raise ValueError("ids are not unique")
        if not np.isfinite(self.embeddings).all():
            raise CatalogError("some embeddings hold NaN or infinity: index these photos again")


@dataclass(frozen=True)
class Estimate:
    """A mean over queries and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class MetricResult:
    """How well the search did by one metric.

    Parameters
    ----------
    estimates : dict of str to Estimate
        ``"precision@1"``, ``"recall@1"``, ``"hit_rate@1"``, ``"ndcg@1"`` and so on for each K, ``"map"``,
        ``"r_precision"``.
    values : dict of str to (q,) array
        The same for each query.
    results : list of sequences of (id, distance)
        What the search returned for each query, nearest first, as many as the largest K.
    search_recall : float
        Mean share of those results that are among the truly nearest items: 1 for an exact search.
    """

    estimates: dict[str, Estimate]
    values: dict[str, NDArray[np.float64]]
    results: list[Neighbors]
    search_recall: float

    def to_dict(self, ks: Sequence[int]) -> dict[str, Any]:
        """Return the means, and under ``ci95`` their intervals in the same shape."""

        def shaped(value_of: Callable[[Estimate], Any]) -> dict[str, Any]:
            at_k = {name: {str(k): value_of(self.estimates[f"{name}@{k}"]) for k in ks} for name in AT_K}
            return at_k | {name: value_of(self.estimates[name]) for name in WHOLE}

        means = shaped(lambda estimate: estimate.mean)
        bounds = shaped(lambda estimate: [estimate.low, estimate.high])
        return means | {"search_recall": self.search_recall, "ci95": bounds}


@dataclass(frozen=True)
class Comparison:
    """A paired test of the best metric against another, by one measure.

    Parameters
    ----------
    measure : str
        ``"map"``, ``"precision@1"``, ...
    best, other : str
        Metrics.
    difference, low, high : float
        Best minus other, mean over the queries, and its 95 % interval.
    p_value : float
        Two-sided paired bootstrap test, adjusted after Holm for all comparisons of the evaluation. The best
        metric is chosen by the same data, so a p-value close to 0.05 deserves a second look with other
        queries.
    """

    measure: str
    best: str
    other: str
    difference: float
    low: float
    high: float
    p_value: float

    @property
    def shown(self) -> bool:
        """Whether the data shows the best metric to be better by this measure, at the 5 % level."""
        return self.p_value < 1 - intervals.CONFIDENCE and self.difference > 0

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain data."""
        return {
            "measure": self.measure,
            "best": self.best,
            "other": self.other,
            "difference": self.difference,
            "ci95": [self.low, self.high],
            "p_value": self.p_value,
            "shown": self.shown,
        }


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Parameters
    ----------
    label : str
        What made two items relevant to one another.
    items, classes : int
        Size of the gallery, and how many different labels it has.
    skipped : int
        Items that could not be queries: no other item of the gallery has their label.
    unlabelled : int
        Items without a label: never queries, never relevant, but in everybody's way.
    eligible : int
        Items that could be queries; `query_ids` are all of them or a random sample.
    query_ids : list of str
        The queries, in the order of the values of each `MetricResult`.
    query_labels : list
        Their labels.
    from_gallery : bool
        Whether the queries are items of the gallery (each left out of its own results) or a set of their own.
    ks : tuple of int
        The Ks.
    seed : int
        Of the sample of queries and of the bootstrap.
    resamples : int
        Of the bootstrap.
    metrics : dict of str to MetricResult
        One entry a metric.
    best : str
        The metric with the highest mAP.
    comparisons : list of Comparison
        The best metric against each other one, by mAP and by precision at each K.
    unreadable : tuple of str
        Photos of the query set that could not be used, each with the reason; they are no queries.
    """

    label: str
    items: int
    classes: int
    skipped: int
    unlabelled: int
    eligible: int
    query_ids: list[str]
    query_labels: list[Hashable]
    from_gallery: bool
    ks: tuple[int, ...]
    seed: int
    resamples: int
    metrics: dict[str, MetricResult]
    best: str
    comparisons: list[Comparison] = field(default_factory=list)
    unreadable: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the values of single queries, ready for `json.dumps`."""
        return {
            "label": self.label,
            "items": self.items,
            "classes": self.classes,
            "queries": len(self.query_ids),
            "queries_from": "gallery" if self.from_gallery else "query set",
            "eligible": self.eligible,
            "skipped": self.skipped,
            "unlabelled": self.unlabelled,
            "unreadable": list(self.unreadable),
            "seed": self.seed,
            "resamples": self.resamples,
            "ks": list(self.ks),
            "metrics": {name: result.to_dict(self.ks) for name, result in self.metrics.items()},
            "best": {"metric": self.best, "by": "map", "shown": self.best_is_shown},
            "comparisons": [comparison.to_dict() for comparison in self.comparisons],
        }

    @property
    def best_is_shown(self) -> bool:
        """Whether the best metric is shown to be better than each of the others by mAP."""
        by_map = [comparison for comparison in self.comparisons if comparison.measure == "map"]
        return bool(by_map) and all(comparison.shown for comparison in by_map)

    def columns(self) -> list[tuple[str, str]]:
        """Return the key and the title of each measure, in the order of the table."""
        keys = [*(f"{name}@{k}" for name in AT_K for k in self.ks), *WHOLE]
        return [(key, title(key)) for key in keys]

    def description(self) -> str:
        """Say in one or two sentences what was measured."""
        among = (
            "from the gallery, each left out of its own results" if self.from_gallery else "of their own set"
        )
        number = "all" if len(self.query_ids) == self.eligible else "drawn at random"
        text = (
            f"{len(self.query_ids):,} queries ({number}, seed {self.seed}) {among}; "
            f"{self.items:,} items in {self.classes:,} classes; relevant = same {self.label}."
        )
        if self.skipped:
            holds = (
                "whose class has no other member"
                if self.from_gallery
                else "whose class the gallery does not have"
            )
            text += f" {self.skipped:,} items {holds} were not queries."
        if self.unlabelled:
            text += f" {self.unlabelled:,} items have no {self.label}."
        if self.unreadable:
            text += f" {len(self.unreadable):,} query photos could not be used."
        return text

    def verdicts(self) -> list[str]:
        """Say of each comparison, in one sentence, what it shows."""
        return [_verdict(comparison) for comparison in self.comparisons]

    def to_markdown(self) -> str:
        """Return the table of results, with intervals, the paired tests, and what they rest on."""
        lines = [self.description(), "", "| measure | " + " | ".join(self.metrics) + " |"]
        lines.append("| --- |" + " ---: |" * len(self.metrics))
        for key, heading in self.columns():
            cells = (str(result.estimates[key]) for result in self.metrics.values())
            lines.append(f"| {heading} | " + " | ".join(cells) + " |")
        lines += ["", f"Mean over the queries (95 % bootstrap interval, {self.resamples:,} resamples)."]
        if self.comparisons:
            lines += ["", *(f"- {verdict}" for verdict in self.verdicts())]
        return "\n".join(lines) + "\n"


def evaluate(
    gallery: EmbeddedItems,
    *,
    label: str,
    metrics: Sequence[str] = ("cosine",),
    ranker: Ranker | None = None,
    queries: int | EmbeddedItems | None = None,
    ks: Sequence[int] = (1, 5, 10),
    seed: int = 0,
    resamples: int = intervals.RESAMPLES,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure how well a search finds items of the same label.

    Parameters
    ----------
    gallery : EmbeddedItems
        What is searched.
    label : str
        What the labels are, for the report: ``"product_id"``, ``"category"``, ...
    metrics : sequence of {"cosine", "euclidean", "manhattan"}
        Distances to search by, each measured on the same queries.
    ranker : Ranker, optional
        The search under test; by default an exact one over the embeddings.
    queries : int or EmbeddedItems, optional
        How many random items of the gallery to query with (all by default, and where there are fewer), each
        left out of its own results; or a set of queries of its own, which takes nothing out, whatever the
        ids.
    ks : sequence of int
        The Ks of precision@K and so on; each may be larger than the gallery.
    seed : int
        Of the random queries and of the bootstrap; the same seed gives the same numbers.
    resamples : int
        Bootstrap resamples.
    progress : callable, optional
        Called with what is being done, the queries done and their number.

    Returns
    -------
    Evaluation

    Raises
    ------
    CatalogError
        The gallery is empty, no two items have the same label, labels are lists, or the search returns
        items that are not in the gallery.
    ValueError
        `ks`, `metrics`, `queries` or the arrays are not what they should be.

    Examples
    --------
    >>> import numpy as np
    >>> embeddings = np.array([[0.0], [1.0], [5.0], [7.0]], dtype=np.float32)
    >>> items = EmbeddedItems(["a", "b", "c", "d"], ["tee", "tee", "hat", "hat"], embeddings)
    >>> result = evaluate(items, label="category", metrics=["euclidean"], ks=[1])
    >>> result.metrics["euclidean"].estimates["precision@1"].mean
    1.0
    """
    ks = tuple(sorted(set(ks)))
    if not ks or ks[0] < 1:
        raise ValueError("ks needs at least one K, each at least 1")
    if not metrics or set(metrics) - set(METRICS):
        raise ValueError(f"metrics must be among {', '.join(METRICS)}, not {', '.join(metrics) or 'none'}")
    if not len(gallery.ids):
        raise CatalogError("nothing to evaluate: there are no items")
    plan = _plan(gallery, label, queries, seed)
    if ranker is None:
        asked = None if plan.from_gallery else plan.items
        ranker = ArrayRanker(
            gallery.ids, gallery.embeddings, *((asked.ids, asked.embeddings) if asked else ())
        )
    measured = {
        metric: _measure(gallery, plan, ranker, metric, ks=ks, progress=progress or (lambda *_: None))
        for metric in metrics
    }
    return _conclude(gallery, plan, measured, label=label, ks=ks, seed=seed, resamples=resamples)


class _Measured(NamedTuple):
    """What one metric's search did, query by query."""

    values: dict[str, NDArray[np.float64]]
    results: list[Neighbors]
    search_recall: float


@dataclass(frozen=True)
class _Plan:
    """Which items are queries, and what is relevant to each."""

    items: EmbeddedItems
    rows: NDArray[np.int64]
    relevant: list[NDArray[np.int64]]
    totals: NDArray[np.int64]
    from_gallery: bool
    classes: int
    skipped: int
    unlabelled: int
    eligible: int

    @property
    def ids(self) -> list[str]:
        return [self.items.ids[row] for row in self.rows]


def _plan(gallery: EmbeddedItems, label: str, queries: int | EmbeddedItems | None, seed: int) -> _Plan:
    members = _members(gallery.labels, label)
    from_gallery = not isinstance(queries, EmbeddedItems)
    items = queries if isinstance(queries, EmbeddedItems) else gallery
    _check_labels(items.labels, label)
    if items.embeddings.shape[1] != gallery.embeddings.shape[1]:
        sizes = f"{items.embeddings.shape[1]} values, the gallery's {gallery.embeddings.shape[1]}"
        raise CatalogError(f"the queries' embeddings have {sizes}: use the same encoder")
    nobody = np.empty(0, dtype=np.int64)
    relevant = [members.get(value, nobody) for value in items.labels]
    totals = np.array([len(found) for found in relevant], dtype=np.int64) - from_gallery
    labelled = np.array([_has(value) for value in items.labels], dtype=bool)
    rows = np.flatnonzero(labelled & (totals > 0))
    if not len(rows):
        has = (
            f"no two items have the same {label}"
            if from_gallery
            else f"no query has a {label} that the gallery has"
        )
        raise CatalogError(f"nothing to evaluate: {has}")
    eligible = len(rows)
    if queries is not None and not isinstance(queries, EmbeddedItems):
        if queries < 1:
            raise ValueError(f"queries must be at least 1, not {queries}")
        if queries < eligible:
            rows = np.sort(np.random.default_rng(seed).choice(rows, size=queries, replace=False))
    return _Plan(
        items=items,
        rows=rows,
        relevant=[relevant[row] for row in rows],
        totals=totals[rows],
        from_gallery=from_gallery,
        classes=len(members),
        skipped=int(np.count_nonzero(labelled & (totals < 1))),
        unlabelled=int(np.count_nonzero(~labelled)),
        eligible=eligible,
    )


def _members(labels: Sequence[Hashable], label: str) -> dict[Hashable, NDArray[np.int64]]:
    _check_labels(labels, label)
    rows: dict[Hashable, list[int]] = {}
    for row, value in enumerate(labels):
        if _has(value):
            rows.setdefault(value, []).append(row)
    return {value: np.array(found, dtype=np.int64) for value, found in rows.items()}


def _check_labels(labels: Sequence[Hashable], label: str) -> None:
    if any(isinstance(value, (list, set, dict)) for value in labels):
        raise CatalogError(f"{label} holds lists; an evaluation needs a label with one value an item")


def _has(value: Hashable) -> bool:
    return value is not None and value != "" and value == value  # noqa: PLR0124 -- unlike NaN


def _measure(
    gallery: EmbeddedItems,
    plan: _Plan,
    ranker: Ranker,
    metric: str,
    *,
    ks: tuple[int, ...],
    progress: Progress,
) -> _Measured:
    row_of = {name: row for row, name in enumerate(gallery.ids)}
    count, depth = len(plan.rows), ks[-1]
    results: list[Neighbors] = []
    first: list[NDArray[np.int64]] = []
    relevant = np.zeros((count, depth), dtype=bool)
    found = ranker.rank(plan.ids, metric, depth)
    for i, (query, neighbors) in enumerate(zip(plan.ids, found, strict=True)):
        rows = _rows(neighbors[:depth], row_of, query if plan.from_gallery else None)
        relevant[i, : len(rows)] = np.isin(rows, plan.relevant[i])
        results.append(list(neighbors[:depth]))
        first.append(rows)
        progress(f"searching by {metric}", i + 1, count)

    values = {}
    for k in ks:
        values[f"precision@{k}"] = measures.precision_at_k(relevant, k)
        values[f"recall@{k}"] = measures.recall_at_k(relevant, plan.totals, k)
        values[f"hit_rate@{k}"] = measures.hit_rate_at_k(relevant, k)
        values[f"ndcg@{k}"] = measures.ndcg_at_k(relevant, plan.totals, k)

    whole = relevant_ranks(
        plan.items.embeddings[plan.rows],
        gallery.embeddings,
        metric,
        relevant=plan.relevant,
        first=first,
        exclude=plan.rows if plan.from_gallery else None,
        order=id_order(gallery.ids),
    )
    values["map"], values["r_precision"] = np.empty(count), np.empty(count)
    agreement = np.empty(count)
    for i, (ranking, total) in enumerate(zip(whole, plan.totals.tolist(), strict=True)):
        values["map"][i] = measures.average_precision_of_ranks(ranking.ranks, total)
        values["r_precision"][i] = measures.r_precision_of_ranks(ranking.ranks, total)
        agreement[i] = ranking.agreement
        progress(f"ranking by {metric}", i + 1, count)
    compared = agreement[np.isfinite(agreement)]
    return _Measured(values, results, float(compared.mean()) if len(compared) else 0.0)


def _rows(neighbors: Neighbors, row_of: Mapping[str, int], query: str | None) -> NDArray[np.int64]:
    try:
        rows = np.array([row_of[name] for name, _ in neighbors], dtype=np.int64)
    except KeyError as error:
        raise CatalogError(
            f"the search returned {error.args[0]!r}, which is not in the gallery: did it change?"
        ) from None
    if len(np.unique(rows)) != len(rows) or (query is not None and query in {name for name, _ in neighbors}):
        raise CatalogError(f"the search for {query!r} returned an item twice, or the query itself")
    return rows


def _conclude(
    gallery: EmbeddedItems,
    plan: _Plan,
    measured: dict[str, _Measured],
    *,
    label: str,
    ks: tuple[int, ...],
    seed: int,
    resamples: int,
) -> Evaluation:
    """Add intervals to the means, and tests to their differences, all from the same resamples."""
    keys = [(metric, key) for metric, found in measured.items() for key in found.values]
    matrix = np.column_stack([measured[metric].values[key] for metric, key in keys])
    means = matrix.mean(axis=0)
    resampled = intervals.bootstrap_means(matrix, resamples=resamples, seed=seed)
    lows, highs = intervals.percentile_interval(resampled)
    estimates: dict[str, dict[str, Estimate]] = {metric: {} for metric in measured}
    for (metric, key), mean, low, high in zip(keys, means, lows, highs, strict=True):
        estimates[metric][key] = Estimate(float(mean), float(low), float(high))
    results = {metric: MetricResult(estimates[metric], *found) for metric, found in measured.items()}
    best = max(results, key=lambda metric: results[metric].estimates["map"].mean)
    return Evaluation(
        label=label,
        items=len(gallery.ids),
        classes=plan.classes,
        skipped=plan.skipped,
        unlabelled=plan.unlabelled,
        eligible=plan.eligible,
        query_ids=plan.ids,
        query_labels=[plan.items.labels[row] for row in plan.rows],
        from_gallery=plan.from_gallery,
        ks=ks,
        seed=seed,
        resamples=resamples,
        metrics=results,
        best=best,
        comparisons=_compare(best, ks, keys, means=means, resampled=resampled),
    )


def _compare(
    best: str,
    ks: tuple[int, ...],
    keys: list[tuple[str, str]],
    *,
    means: NDArray[np.float64],
    resampled: NDArray[np.float64],
) -> list[Comparison]:
    column = {key: i for i, key in enumerate(keys)}
    others = [metric for metric in dict.fromkeys(metric for metric, _ in keys) if metric != best]
    pairs = [(measure, other) for measure in ("map", *(f"precision@{k}" for k in ks)) for other in others]
    rows = []
    for measure, other in pairs:
        a, b = column[best, measure], column[other, measure]
        difference = float(means[a] - means[b])
        resampled_difference = resampled[:, a] - resampled[:, b]
        low, high = intervals.percentile_interval(resampled_difference[:, None])[:, 0]
        p_value = intervals.difference_p_value(difference, resampled_difference)
        rows.append((difference, float(low), float(high), p_value))
    adjusted = intervals.holm([row[3] for row in rows])
    return [
        Comparison(measure, best, other, difference, low, high, float(p))
        for (measure, other), (difference, low, high, _), p in zip(pairs, rows, adjusted, strict=True)
    ]


def _verdict(comparison: Comparison) -> str:
    measure = title(comparison.measure)
    by = (
        f"{comparison.difference:+.4f} (95 % interval {comparison.low:+.4f} to {comparison.high:+.4f}, "
        f"adjusted p = {comparison.p_value:.3f})"
    )
    if comparison.shown:
        return f"{measure}: {comparison.best} is better than {comparison.other}, by {by}."
    if comparison.difference > 0:
        return f"{measure}: {comparison.best} is not shown to be better than {comparison.other}: {by}."
    return f"{measure}: {comparison.best}, the best by mAP, is not ahead of {comparison.other}: {by}."
