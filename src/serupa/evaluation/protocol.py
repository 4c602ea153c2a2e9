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

from serupa.errors import ConflictError, InvalidInputError
from serupa.evaluation import intervals, measures
from serupa.evaluation.comparison import Difference, paired_differences, title
from serupa.evaluation.ranking import ArrayRanker, Neighbors, Ranker, id_order, relevant_ranks
from serupa.progress import Progress, silent
from serupa.vectors import METRICS, Metric

AT_K = ("precision", "recall", "hit_rate", "ndcg")
WHOLE = ("map", "r_precision")


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
    own : mapping of metric to (n, d) array of float32
        Where a metric compares something else.
    """

    ids: Sequence[str]
    labels: Sequence[Hashable]
    embeddings: NDArray[np.float32]
    own: Mapping[Metric, NDArray[np.float32]] = field(default_factory=dict)

    def compared(self, metric: Metric) -> NDArray[np.float32]:
        """Return what a metric compares, ``(n, d)``."""
        return self.own.get(metric, self.embeddings)

    def __post_init__(self) -> None:
        n = len(self.ids)
        if len(self.labels) != n or self.embeddings.ndim != 2 or len(self.embeddings) != n:
            shape = self.embeddings.shape
            raise ValueError(f"{n} ids, {len(self.labels)} labels and embeddings of shape {shape} do not fit")
        if len(set(self.ids)) != n:
            raise ValueError("ids are not unique")
        if not np.isfinite(self.embeddings).all():
            raise InvalidInputError("embeddings", "some hold NaN or infinity", "index these photos again")


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

    def __str__(self) -> str:
        measure = title(self.measure)
        by = (
            f"{self.difference:+.4f} (95 % interval {self.low:+.4f} to {self.high:+.4f}, "
            f"adjusted p = {self.p_value:.3f})"
        )
        if self.shown:
            return f"{measure}: {self.best} is better than {self.other}, by {by}."
        if self.difference > 0:
            return f"{measure}: {self.best} is not shown to be better than {self.other}: {by}."
        return f"{measure}: {self.best}, the best by mAP, is not ahead of {self.other}: {by}."

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-ready values."""
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
    metrics: dict[Metric, MetricResult]
    best: Metric
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

    def to_markdown(self) -> str:
        """Return the table of results, with intervals, the paired tests, and what they rest on."""
        lines = [self.description(), "", "| measure | " + " | ".join(self.metrics) + " |"]
        lines.append("| --- |" + " ---: |" * len(self.metrics))
        for key, heading in self.columns():
            cells = (str(result.estimates[key]) for result in self.metrics.values())
            lines.append(f"| {heading} | " + " | ".join(cells) + " |")
        lines += ["", f"Mean over the queries (95 % bootstrap interval, {self.resamples:,} resamples)."]
        if self.comparisons:
            lines += ["", *(f"- {comparison}" for comparison in self.comparisons)]
        return "\n".join(lines) + "\n"


def evaluate(
    gallery: EmbeddedItems,
    *,
    label: str,
    metrics: Sequence[Metric] = ("cosine",),
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
    InvalidInputError
        The gallery is empty, no two items have the same label, or labels are lists.
    ConflictError
        The search returns items that are not in the gallery.
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
        raise InvalidInputError("evaluation", "there are no items")
    plan = _plan(gallery, label, queries, seed)
    if ranker is None and plan.from_gallery:
        ranker = ArrayRanker(gallery.ids, gallery.embeddings)
    elif ranker is None:
        ranker = ArrayRanker(gallery.ids, gallery.embeddings, plan.items.ids, plan.items.embeddings)
    measured = {
        metric: _measure(gallery, plan, ranker, metric, ks=ks, progress=progress or silent)
        for metric in metrics
    }
    # Intervals and tests of all measures come from the same resamples: their differences are paired.
    columns = [(metric, key) for metric, one in measured.items() for key in one.values]
    matrix = np.column_stack([measured[metric].values[key] for metric, key in columns])
    resampled = intervals.bootstrap_means(matrix, resamples=resamples, seed=seed)
    estimates: dict[str, dict[str, Estimate]] = {metric: {} for metric in measured}
    bounds = intervals.percentile_interval(resampled)
    for (metric, key), mean, low, high in zip(columns, matrix.mean(axis=0), *bounds, strict=True):
        estimates[metric][key] = Estimate(float(mean), float(low), float(high))
    results = {metric: MetricResult(estimates[metric], *one) for metric, one in measured.items()}
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
        comparisons=_comparisons(best, results, ks, dict(zip(columns, resampled.T, strict=True))),
    )


def compare(
    before: Evaluation,
    after: Evaluation,
    *,
    metrics: tuple[Metric, Metric] | None = None,
    clusters: Mapping[str, Hashable] | None = None,
) -> list[Difference]:
    """Compare two evaluations on the queries that both have.

    Parameters
    ----------
    before, after : Evaluation
        Of two catalogues, encoders, resize modes or tunings, with the same label and the same ids.
    metrics : (str, str), optional
        The metric to take of each; the first of each unless given.
    clusters : mapping of query id to hashable, optional
        Queries with the same value are drawn together; each stands for itself unless given. None in it
        stands for itself too.

    Returns
    -------
    list of Difference
        By mAP, then by each other measure that both have.

    Raises
    ------
    ConflictError
        If the labels differ, no query is in both, or a query has another label in the other.
    """
    if before.label != after.label:
        problem = f"relevant is same {before.label} in one, {after.label} in the other"
        raise ConflictError("comparison", problem)
    row_after = {query: row for row, query in enumerate(after.query_ids)}
    shared = [(row, row_after[query]) for row, query in enumerate(before.query_ids) if query in row_after]
    if not shared:
        raise ConflictError("comparison", "the two have no query in common", "are the ids the same?")
    for a, b in shared:
        if before.query_labels[a] != after.query_labels[b]:
            raise ConflictError(before.query_ids[a], f"has another {before.label} in the other")
    rows_a, rows_b = (np.array(rows, np.int64) for rows in zip(*shared, strict=True))
    first, second = metrics or (next(iter(before.metrics)), next(iter(after.metrics)))
    values_a, values_b = before.metrics[first].values, after.metrics[second].values
    keys = ["map", *(key for key in values_a if key in values_b and key != "map")]
    groups = None if clusters is None else [clusters.get(before.query_ids[row]) for row in rows_a]
    return paired_differences(
        {key: values_a[key][rows_a] for key in keys},
        {key: values_b[key][rows_b] for key in keys},
        clusters=groups,
        resamples=before.resamples,
        seed=before.seed,
    )


def has_label(value: Hashable) -> bool:
    """Whether a label says anything: not None, an empty text or NaN."""
    return value is not None and value != "" and value == value  # noqa: PLR0124 -- unlike NaN


class _Measured(NamedTuple):
    """What one metric's search did, query by query: the last three fields of its `MetricResult`."""

    values: dict[str, NDArray[np.float64]]
    results: list[Neighbors]
    search_recall: float


@dataclass(frozen=True)
class _Plan:
    """Which items are queries, and which rows of the gallery are relevant to each."""

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
    from_gallery = not isinstance(queries, EmbeddedItems)
    items, wanted = (queries, None) if isinstance(queries, EmbeddedItems) else (gallery, queries)
    for value in (*gallery.labels, *items.labels):
        if isinstance(value, (list, set, dict)):
            raise InvalidInputError(label, "holds lists; an evaluation needs a label with one value an item")
    if items.embeddings.shape[1] != gallery.embeddings.shape[1]:
        sizes = f"have {items.embeddings.shape[1]} values, the gallery's {gallery.embeddings.shape[1]}"
        raise ConflictError("the queries' embeddings", sizes, "use the same encoder")
    members = _rows_by_label(gallery.labels)
    relevant = [members.get(value, np.empty(0, np.int64)) for value in items.labels]
    totals = np.array([len(rows) for rows in relevant], dtype=np.int64) - from_gallery
    labelled = np.array([has_label(value) for value in items.labels], dtype=bool)
    rows = np.flatnonzero(labelled & (totals > 0))
    eligible = len(rows)
    if not eligible:
        problem = (
            "no two items have the same one" if from_gallery else "no query has one that the gallery has"
        )
        raise InvalidInputError(label, problem)
    if wanted is not None and wanted < 1:
        raise ValueError(f"queries must be at least 1, not {wanted}")
    if wanted is not None and wanted < eligible:
        rows = np.sort(np.random.default_rng(seed).choice(rows, size=wanted, replace=False))
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


def _rows_by_label(labels: Sequence[Hashable]) -> dict[Hashable, NDArray[np.int64]]:
    rows: dict[Hashable, list[int]] = {}
    for row, value in enumerate(labels):
        if has_label(value):
            rows.setdefault(value, []).append(row)
    return {value: np.array(own, dtype=np.int64) for value, own in rows.items()}


def _measure(
    gallery: EmbeddedItems,
    plan: _Plan,
    ranker: Ranker,
    metric: Metric,
    *,
    ks: tuple[int, ...],
    progress: Progress,
) -> _Measured:
    row_of = {name: row for row, name in enumerate(gallery.ids)}
    count, depth = len(plan.rows), ks[-1]
    results: list[Neighbors] = []
    first: list[NDArray[np.int64]] = []
    relevant = np.zeros((count, depth), dtype=bool)
    for i, (query, neighbors) in enumerate(zip(plan.ids, ranker.rank(plan.ids, metric, depth), strict=True)):
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
        plan.items.compared(metric)[plan.rows],
        gallery.compared(metric),
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
    """Return the gallery's rows of what a search returned, which must be other items than the query."""
    names = [name for name, _ in neighbors]
    if unknown := [name for name in names if name not in row_of]:
        raise ConflictError(
            unknown[0], "the search returned it, the gallery does not have it", "did it change?"
        )
    if len(set(names)) < len(names) or query in names:
        raise ConflictError("the search", f"returned an item twice for {query!r}, or the query itself")
    return np.array([row_of[name] for name in names], dtype=np.int64)


def _comparisons(
    best: Metric,
    results: Mapping[Metric, MetricResult],
    ks: tuple[int, ...],
    resampled: Mapping[tuple[Metric, str], NDArray[np.float64]],
) -> list[Comparison]:
    """Test the best metric against each other one, by mAP and by precision at each K."""
    by = ["map", *(f"precision@{k}" for k in ks)]
    pairs = [(measure, other) for measure in by for other in results if other != best]
    tests = []
    for measure, other in pairs:
        own, their = (results[metric].estimates[measure].mean for metric in (best, other))
        differences = resampled[best, measure] - resampled[other, measure]
        low, high = intervals.percentile_interval(differences).tolist()
        tests.append((own - their, low, high, intervals.difference_p_value(own - their, differences)))
    adjusted = intervals.holm([p_value for *_, p_value in tests]).tolist()
    return [
        Comparison(measure, best, other, difference, low, high, p_value)
        for (measure, other), (difference, low, high, _), p_value in zip(pairs, tests, adjusted, strict=True)
    ]
