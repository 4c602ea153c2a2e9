"""The experiment over arrays: against trec_eval, by hand, and at its edges."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import pytrec_eval
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from serupa.errors import ConflictError, InvalidInputError
from serupa.evaluation import EmbeddedItems, Evaluation, Neighbors, evaluate
from serupa.vectors import METRICS

KS = (1, 5, 10, 60)


def items(points: object, labels: Sequence[object], prefix: str = "i") -> EmbeddedItems:
    embeddings = np.asarray(points, np.float32)
    if embeddings.ndim == 1:
        embeddings = embeddings[:, None]
    return EmbeddedItems([f"{prefix}{row:03}" for row in range(len(labels))], list(labels), embeddings)


def tied(n: int, seed: int, prefix: str = "i") -> EmbeddedItems:
    """Items on a coarse grid: duplicates and equal distances everywhere, in an order unlike that of ids."""
    rng = np.random.default_rng(seed)
    names = [f"{prefix}{number:03}" for number in rng.permutation(n)]
    labels = [f"class {number}" for number in rng.integers(0, 6, n)]
    return EmbeddedItems(names, labels, rng.integers(0, 3, (n, 4)).astype(np.float32))


def trec(gallery: EmbeddedItems, queries: EmbeddedItems, metric: str, inside: bool) -> dict[str, dict]:
    """Measure with trec_eval, which orders ties by name, the last first: so the names are turned round."""
    turned = {name: f"{999 - place:03}" for place, name in enumerate(sorted(gallery.ids))}
    distances = cdist(queries.embeddings, gallery.embeddings, metric)
    judged: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    for name, label, row in zip(queries.ids, queries.labels, distances, strict=True):
        others = [i for i, other in enumerate(gallery.ids) if not (inside and other == name)]
        judged[name] = {turned[gallery.ids[i]]: int(gallery.labels[i] == label) for i in others}
        run[name] = {turned[gallery.ids[i]]: -float(row[i]) for i in others}
    cuts = ",".join(map(str, KS))
    wanted = {"map", "Rprec", f"P.{cuts}", f"recall.{cuts}", f"ndcg_cut.{cuts}", f"success.{cuts}"}
    found: dict[str, dict] = pytrec_eval.RelevanceEvaluator(judged, wanted).evaluate(run)
    return found


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(("metric", "theirs"), [("manhattan", "cityblock"), ("euclidean", "euclidean")])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_agrees_with_trec_eval_on_ties(metric: str, theirs: str, seed: int, inside: bool) -> None:
    gallery = tied(45, seed)
    queries = gallery if inside else tied(12, seed + 100)
    result = evaluate(
        gallery, label="class", metrics=[metric], queries=None if inside else queries, ks=KS, resamples=10
    )
    expected = trec(gallery, queries, theirs, inside)
    theirs_of = {"precision": "P", "recall": "recall", "hit_rate": "success", "ndcg": "ndcg_cut"}
    for row, query in enumerate(result.query_ids):
        values = {key: float(value[row]) for key, value in result.metrics[metric].values.items()}
        for name, other in theirs_of.items():
            for k in KS:
                assert values[f"{name}@{k}"] == pytest.approx(expected[query][f"{other}_{k}"], abs=1e-9)
        assert values["map"] == pytest.approx(expected[query]["map"], abs=1e-9)
        assert values["r_precision"] == pytest.approx(expected[query]["Rprec"], abs=1e-9)
    assert len(result.query_ids) == len(queries.ids)
    assert result.metrics[metric].search_recall == 1


def test_by_hand() -> None:
    gallery = items([0, 1, 2, 10, 13, 30], ["tee", "hat", "tee", "hat", "hat", "sock"])
    result = evaluate(gallery, label="category", metrics=["euclidean"], ks=[1, 2])
    assert result.query_ids == ["i000", "i001", "i002", "i003", "i004"]
    values = result.metrics["euclidean"].values
    # i000: 1 2 10 13 30 -> hat tee ...; i002: 1 0 ... -> hat tee; i001: 0 2 10 13 -> tee tee hat hat
    assert values["precision@1"].tolist() == [0, 0, 0, 1, 1]
    assert values["map"] == pytest.approx(
        [1 / 2, (1 / 3 + 2 / 4) / 2, 1 / 2, (1 + 2 / 3) / 2, (1 + 2 / 3) / 2]
    )
    assert values["recall@2"].tolist() == [1, 0, 1, 0.5, 0.5]
    assert [name for name, _ in result.metrics["euclidean"].results[0]] == ["i001", "i002"]
    assert (result.items, result.classes, result.skipped, result.unlabelled) == (6, 3, 1, 0)


def test_precision_at_1_is_the_nearest_neighbour_by_hand() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 300)
    embeddings = rng.normal(size=(300, 16)).astype(np.float32) + 0.4 * labels[:, None]
    gallery = items(embeddings, labels.tolist())
    result = evaluate(gallery, label="label", metrics=METRICS, ks=[1], resamples=10)
    for metric in METRICS:
        distances = cdist(embeddings, embeddings, "cityblock" if metric == "manhattan" else metric)
        np.fill_diagonal(distances, np.inf)
        expected = np.mean(labels[distances.argmin(axis=1)] == labels)
        assert result.metrics[metric].estimates["precision@1"].mean == pytest.approx(expected)


def test_k_larger_than_the_gallery() -> None:
    result = evaluate(items([0, 1, 5], ["a", "a", "b"]), label="x", metrics=["euclidean"], ks=[100])
    estimates = result.metrics["euclidean"].estimates
    assert estimates["precision@100"].mean == pytest.approx(0.01)
    assert estimates["recall@100"].mean == 1
    assert len(result.metrics["euclidean"].results[0]) == 2


def test_unlabelled_items_and_classes_of_one_are_no_queries_but_in_the_way() -> None:
    labels = ["a", None, "a", "", float("nan"), "b"]
    result = evaluate(items([0, 1, 2, 3, 4, 5], labels), label="x", metrics=["manhattan"], ks=[1])
    assert result.query_ids == ["i000", "i002"]
    assert (result.classes, result.skipped, result.unlabelled, result.eligible) == (2, 1, 3, 2)
    assert result.metrics["manhattan"].values["precision@1"].tolist() == [0, 0]
    assert "1 items whose class has no other member were not queries." in result.description()
    assert "3 items have no x." in result.description()


def test_labels_of_other_kinds_than_text() -> None:
    for labels in ([1, 1, 2, 2], [1.5, 1.5, 2.5, 2.5], [True, True, False, False]):
        result = evaluate(items([0, 1, 8, 9], labels), label="x", metrics=["euclidean"], ks=[1])
        assert result.metrics["euclidean"].estimates["map"].mean == 1
        assert result.classes == 2


def test_duplicates_are_found_first_and_settled_by_id() -> None:
    gallery = items([[1, 2]] * 4 + [[5, 1]], ["a", "b", "a", "b", "a"])
    result = evaluate(gallery, label="x", metrics=METRICS, ks=[1])
    for found in result.metrics.values():
        assert [neighbors[0][0] for neighbors in found.results[:4]] == ["i001", "i000", "i000", "i000"]
        assert found.values["precision@1"].tolist()[:4] == [0, 0, 1, 0]


def test_sampled_queries_are_seeded() -> None:
    gallery = tied(60, 3)
    runs = [evaluate(gallery, label="x", queries=20, seed=seed, ks=[1], resamples=50) for seed in (4, 4, 5)]
    assert runs[0].query_ids == runs[1].query_ids
    assert runs[0].to_dict() == runs[1].to_dict()
    assert runs[0].query_ids != runs[2].query_ids
    assert len(set(runs[0].query_ids)) == 20
    whole = evaluate(gallery, label="x", ks=[1], resamples=50)
    place = {name: row for row, name in enumerate(whole.query_ids)}
    rows = [place[name] for name in runs[0].query_ids]
    for key, values in runs[0].metrics["cosine"].values.items():
        assert np.array_equal(values, whole.metrics["cosine"].values[key][rows])
    assert "drawn at random, seed 4" in runs[0].description()
    assert "all, seed 0" in whole.description()
    assert len(evaluate(gallery, label="x", queries=10_000, resamples=10).query_ids) == whole.eligible
    assert len(evaluate(gallery, label="x", queries=np.int64(5), resamples=10).query_ids) == 5  # type: ignore[arg-type]


def test_a_query_set_takes_nothing_out() -> None:
    gallery = items([0, 1, 10], ["a", "b", "a"])
    queries = items([0, 9, 5, 5], ["a", "a", "sock", None])  # ids that the gallery has, too
    result = evaluate(gallery, label="x", metrics=["euclidean"], queries=queries, ks=[1])
    assert result.query_ids == ["i000", "i001"]
    assert result.query_labels == ["a", "a"]
    assert not result.from_gallery
    assert (result.skipped, result.unlabelled) == (1, 1)
    assert [found[0] for found in result.metrics["euclidean"].results] == [("i000", 0.0), ("i002", 1.0)]
    assert result.metrics["euclidean"].values["map"] == pytest.approx([(1 + 2 / 3) / 2, (1 + 2 / 3) / 2])
    assert "of their own set" in result.description()
    assert "whose class the gallery does not have" in result.description()


class Fixed:
    """A search with an answer of its own, whatever the question."""

    def __init__(self, answer: Callable[[str], list[str]]) -> None:
        self.answer = answer

    def rank(self, queries: Sequence[str], metric: str, limit: int) -> Iterator[Neighbors]:
        for query in queries:
            yield [(name, float(rank)) for rank, name in enumerate(self.answer(query)[:limit])]


def test_measures_the_search_that_is_given_and_not_a_better_one() -> None:
    gallery = items([0, 1, 10, 11], ["a", "a", "b", "b"])
    far_first = {"i000": ["i003"], "i001": ["i002"], "i002": ["i001"], "i003": ["i000"]}
    bad = evaluate(gallery, label="x", metrics=["euclidean"], ranker=Fixed(far_first.__getitem__), ks=[1])
    assert bad.metrics["euclidean"].estimates["precision@1"].mean == 0
    assert bad.metrics["euclidean"].estimates["map"].mean == 0.5  # found second, behind what came back
    assert bad.metrics["euclidean"].search_recall == 0


@pytest.mark.parametrize(
    "answer",
    [["ghost"], ["i001", "i001"], ["i000"]],
    ids=["not in the gallery", "twice", "the query itself"],
)
def test_refuses_a_search_that_cannot_be(answer: list[str]) -> None:
    gallery = items([0, 1, 2], ["a", "a", "a"])
    with pytest.raises(ConflictError):
        evaluate(gallery, label="x", ranker=Fixed(lambda _: answer), ks=[2])


@pytest.mark.parametrize(
    ("points", "labels", "subject"),
    [
        (np.empty((0, 2)), [], "evaluation"),
        ([1], ["a"], "colour"),
        ([1, 2, 3], ["a", "b", None], "colour"),
        ([1, 2], [["a"], ["a"]], "colour"),
        ([1, np.nan], ["a", "a"], "embeddings"),
        ([1, np.inf], ["a", "a"], "embeddings"),
    ],
)
def test_galleries_that_cannot_be_evaluated(points: object, labels: list[object], subject: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        evaluate(items(points, labels), label="colour")
    assert caught.value.subject == subject


def test_query_sets_that_do_not_fit() -> None:
    gallery = items([1, 2], ["a", "a"])
    with pytest.raises(InvalidInputError):  # no query has a colour that the gallery has
        evaluate(gallery, label="colour", queries=items([1], ["z"]))
    with pytest.raises(ConflictError):  # another number of values: not the same encoder
        evaluate(gallery, label="colour", queries=items([[1, 2]], ["a"]))
    with pytest.raises(InvalidInputError):
        evaluate(gallery, label="colour", queries=items([1], [["a"]]))


@pytest.mark.parametrize(
    ("name", "value"),
    [("ks", []), ("ks", [0, 1]), ("metrics", ["hamming"]), ("metrics", []), ("queries", 0)],
)
def test_wrong_arguments(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        evaluate(items([1, 2], ["a", "a"]), label="x", **{name: value})


@pytest.mark.parametrize(
    ("ids", "labels", "embeddings", "message"),
    [
        (["a", "a"], ["x", "x"], np.ones((2, 2)), "not unique"),
        (["a"], ["x", "x"], np.ones((2, 2)), "do not fit"),
        (["a", "b"], ["x", "x"], np.ones(2), "do not fit"),
    ],
)
def test_arrays_that_do_not_fit(ids: list[str], labels: list[str], embeddings: NDArray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EmbeddedItems(ids, labels, embeddings)


@pytest.fixture(scope="module")
def three() -> Evaluation:
    """Three metrics, of which cosine is the worst: the classes differ in length and not in direction."""
    rng = np.random.default_rng(5)
    labels = np.arange(90) % 3
    direction = rng.random((90, 8)) + 2
    return evaluate(
        items(
            direction / np.linalg.norm(direction, axis=1)[:, None] * (1 + labels[:, None]), labels.tolist()
        ),
        label="size",
        metrics=METRICS,
        ks=[5, 1],
    )


def test_the_best_metric_is_tested_against_the_others(three: Evaluation) -> None:
    assert three.best in ("euclidean", "manhattan")
    assert [comparison.measure for comparison in three.comparisons] == [
        measure for measure in ("map", "precision@1", "precision@5") for _ in range(2)
    ]
    against = {(one.measure, one.other): one for one in three.comparisons}
    clear = against["map", "cosine"]
    assert clear.shown
    assert 0 < clear.low <= clear.difference <= clear.high
    other = next(metric for metric in ("manhattan", "euclidean") if metric != three.best)
    assert not against["precision@1", other].shown  # both find everything
    assert against["precision@1", other].p_value == 1
    assert any("cosine" in verdict and "is better than" in verdict for verdict in map(str, three.comparisons))
    assert not three.best_is_shown or against["map", other].shown


def test_intervals_hold_the_means(three: Evaluation) -> None:
    for result in three.metrics.values():
        for key, estimate in result.estimates.items():
            assert estimate.low - 1e-12 <= estimate.mean <= estimate.high + 1e-12
            assert estimate.mean == pytest.approx(result.values[key].mean())


def test_as_json_and_as_markdown(three: Evaluation) -> None:
    told = json.loads(json.dumps(three.to_dict(), allow_nan=False))
    assert told["label"] == "size"
    assert (told["items"], told["queries"], told["seed"]) == (90, 90, 0)
    for metric in METRICS:
        found = told["metrics"][metric]
        assert set(found["precision"]) == {"1", "5"}
        low, high = found["ci95"]["precision"]["1"]
        assert low <= found["precision"]["1"] <= high
        assert found["ci95"]["map"][0] <= found["map"]
    table = [line for line in three.to_markdown().splitlines() if line.startswith("| ")]
    assert table[0] == "| measure | cosine | euclidean | manhattan |"
    assert [line.split(" | ")[0][2:] for line in table[2:]] == [
        "P@1", "P@5", "R@1", "R@5", "Hit@1", "Hit@5", "nDCG@1", "nDCG@5", "mAP", "R-precision",
    ]  # fmt: skip


def test_progress_counts_to_the_end() -> None:
    told: list[tuple[str, int, int]] = []
    evaluate(items([0, 1, 2], ["a"] * 3), label="x", progress=lambda *step: told.append(step), resamples=10)
    steps = ("searching by cosine", "ranking by cosine")
    assert told == [(step, done, 3) for step in steps for done in (1, 2, 3)]


def test_the_best_metric_is_that_of_the_highest_map() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    turned = np.eye(3)[labels] + 0.1 * rng.normal(size=(60, 3))  # classes are directions, lengths say nothing
    gallery = items(turned * rng.uniform(0.1, 10, (60, 1)), labels.tolist())
    result = evaluate(gallery, label="x", metrics=["manhattan", "cosine", "euclidean"], ks=[1])
    assert result.best == "cosine"
    assert result.best_is_shown
    assert "better" in str(result.comparisons[0])


def test_one_query_and_exactly_as_many_as_there_are() -> None:
    gallery = items([0, 1, 2, 3], ["a", "a", "b", "b"])
    assert len(evaluate(gallery, label="x", queries=1, resamples=10).query_ids) == 1
    assert evaluate(gallery, label="x", queries=4, resamples=10).query_ids == list(gallery.ids)


def test_items_that_no_result_shows_tie_by_id_and_not_by_row() -> None:
    gallery = EmbeddedItems(["q", "z", "a"], ["x", "x", "y"], np.array([[0], [1], [1]], np.float32))
    result = evaluate(gallery, label="class", metrics=["euclidean"], ranker=Fixed(lambda _: []), ks=[1])
    # z and a are equally near: a, which is not relevant, comes first
    assert result.metrics["euclidean"].values["map"][0] == 0.5


def test_the_bootstrap_is_as_it_was_asked_for(three: Evaluation) -> None:
    gallery = tied(45, 0)
    few, more, other = (
        evaluate(gallery, label="x", metrics=["euclidean"], ks=[1], resamples=resamples, seed=seed)
        for resamples, seed in ((50, 0), (200, 0), (50, 1))
    )
    lows = {one.metrics["euclidean"].estimates["map"].low for one in (few, more, other)}
    assert len(lows) == 3
    assert (few.resamples, more.resamples, other.seed) == (50, 200, 1)


def test_what_the_json_holds(three: Evaluation) -> None:
    told = three.to_dict()
    assert set(told) == {
        "label", "items", "classes", "queries", "queries_from", "eligible", "skipped", "unlabelled",
        "unreadable", "seed", "resamples", "ks", "metrics", "best", "comparisons",
    }  # fmt: skip
    assert told["queries_from"] == "gallery"
    assert told["best"] == {"metric": three.best, "by": "map", "shown": three.best_is_shown}
    one = three.comparisons[0]
    assert told["comparisons"][0] == {
        "measure": "map", "best": three.best, "other": one.other, "difference": one.difference,
        "ci95": [one.low, one.high], "p_value": one.p_value, "shown": one.shown,
    }  # fmt: skip
    assert set(told["metrics"]["cosine"]) == {
        "precision", "recall", "hit_rate", "ndcg", "map", "r_precision", "search_recall", "ci95",
    }  # fmt: skip
