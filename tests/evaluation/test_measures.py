"""The measures against trec_eval, against their definitions, and at their edges."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from serupa.evaluation import measures

KS = (1, 2, 5, 10, 60)
TREC = {
    "map",
    "Rprec",
    *(f"{name}.{','.join(map(str, KS))}" for name in ("P", "recall", "ndcg_cut", "success")),
}

Drawn = tuple[NDArray[np.bool_], NDArray[np.int64]]


@st.composite
def rankings(draw: st.DrawFn) -> Drawn:
    """Rankings of a few queries, and at least as many relevant items as each shows."""
    n = draw(st.integers(0, 12))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1, max_size=4))
    more = draw(st.lists(st.integers(0, 5), min_size=len(rows), max_size=len(rows)))
    relevant = np.array(rows, bool).reshape(len(rows), n)
    return relevant, relevant.sum(axis=1) + np.array(more)


def trec(scores: NDArray[np.int64], relevant: NDArray[np.bool_]) -> dict[str, float]:
    """Measure one query with trec_eval, which orders ties by name, the last first: so the names go down."""
    names = [f"{len(scores) - i:04}" for i in range(len(scores))]
    judged = {"q": {name: int(flag) for name, flag in zip(names, relevant.tolist(), strict=True)}}
    run = {"q": {name: float(score) for name, score in zip(names, scores.tolist(), strict=True)}}
    found: dict[str, float] = pytrec_eval.RelevanceEvaluator(judged, TREC).evaluate(run)["q"]
    return found


@pytest.mark.parametrize("seed", range(40))
def test_agrees_with_trec_eval_on_rankings_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 50))
    scores = rng.integers(0, max(1, n // 3), n)
    unordered = rng.random(n) < rng.uniform(0.05, 0.7)
    unordered[rng.integers(n)] = True
    expected = trec(scores, unordered)

    relevant = unordered[np.lexsort((np.arange(n), -scores))][None]
    total = np.array([unordered.sum()])
    ranks = 1 + np.flatnonzero(relevant[0])
    close = {"rel": 0.0, "abs": 1e-9}
    for k in KS:
        assert measures.precision_at_k(relevant, k)[0] == pytest.approx(expected[f"P_{k}"], **close)
        assert measures.recall_at_k(relevant, total, k)[0] == pytest.approx(expected[f"recall_{k}"], **close)
        assert measures.ndcg_at_k(relevant, total, k)[0] == pytest.approx(expected[f"ndcg_cut_{k}"], **close)
        assert measures.hit_rate_at_k(relevant, k)[0] == pytest.approx(expected[f"success_{k}"], **close)
    assert measures.average_precision(relevant, total)[0] == pytest.approx(expected["map"], **close)
    assert measures.r_precision(relevant, total)[0] == pytest.approx(expected["Rprec"], **close)
    assert measures.average_precision_of_ranks(ranks, total[0]) == pytest.approx(expected["map"], **close)
    assert measures.r_precision_of_ranks(ranks, total[0]) == pytest.approx(expected["Rprec"], **close)


@given(rankings(), st.integers(1, 20))
def test_definitions(drawn: Drawn, k: int) -> None:
    relevant, totals = drawn
    for row, total, precision, recall, hit, ndcg, ap, rp in zip(
        relevant,
        totals.tolist(),
        measures.precision_at_k(relevant, k),
        measures.recall_at_k(relevant, totals, k),
        measures.hit_rate_at_k(relevant, k),
        measures.ndcg_at_k(relevant, totals, k),
        measures.average_precision(relevant, totals),
        measures.r_precision(relevant, totals),
        strict=True,
    ):
        flags = row.tolist()
        assert precision == pytest.approx(sum(flags[:k]) / k)
        assert hit == float(any(flags[:k]))
        if not total:
            assert all(math.isnan(value) for value in (recall, ndcg, ap, rp))
            continue
        gained = sum(flag / math.log2(rank + 1) for rank, flag in enumerate(flags[:k], 1))
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, total) + 1))
        at_hits = [sum(flags[:rank]) / rank for rank, flag in enumerate(flags, 1) if flag]
        assert recall == pytest.approx(sum(flags[:k]) / total)
        assert ndcg == pytest.approx(gained / ideal)
        assert ap == pytest.approx(sum(at_hits) / total)
        assert rp == pytest.approx(sum(flags[:total]) / total)


@given(rankings())
def test_from_ranks_alone_is_the_same(drawn: Drawn) -> None:
    relevant, totals = drawn
    whole = measures.average_precision(relevant, totals), measures.r_precision(relevant, totals)
    for row, total, ap, rp in zip(relevant, totals.tolist(), *whole, strict=True):
        ranks = 1 + np.flatnonzero(row)
        assert measures.average_precision_of_ranks(ranks, total) == pytest.approx(ap, nan_ok=True)
        assert measures.r_precision_of_ranks(ranks, total) == pytest.approx(rp, nan_ok=True)


@given(rankings(), st.integers(1, 20))
def test_stay_within_bounds_and_grow_with_k(drawn: Drawn, k: int) -> None:
    relevant, totals = drawn
    for values in (
        measures.precision_at_k(relevant, k),
        measures.recall_at_k(relevant, totals, k),
        measures.ndcg_at_k(relevant, totals, k),
        measures.average_precision(relevant, totals),
        measures.r_precision(relevant, totals),
    ):
        known = values[~np.isnan(values)]
        assert np.all((known >= 0) & (known <= 1 + 1e-12))
    more = measures.recall_at_k(relevant, totals, k + 1) - measures.recall_at_k(relevant, totals, k)
    assert np.all(more[~np.isnan(more)] >= 0)
    assert np.all(measures.hit_rate_at_k(relevant, k + 1) >= measures.hit_rate_at_k(relevant, k))


@given(rankings(), st.data())
def test_moving_a_relevant_item_up_never_hurts(drawn: Drawn, data: st.DataObject) -> None:
    relevant, totals = drawn
    swappable = [(i, j) for i in range(len(relevant)) for j in range(1, relevant.shape[1]) if relevant[i, j]]
    if not swappable:
        return
    i, j = data.draw(st.sampled_from(swappable))
    better = relevant.copy()
    better[i, [j - 1, j]] = better[i, [j, j - 1]]
    for measure in (measures.average_precision, measures.r_precision):
        assert measure(better, totals)[i] >= measure(relevant, totals)[i] - 1e-12


def test_perfect_and_empty_rankings() -> None:
    best = [[True, True, False, False]]
    assert measures.average_precision(best, [2]) == 1
    assert measures.r_precision(best, [2]) == 1
    assert measures.ndcg_at_k(best, [2], 4) == 1
    nothing = np.zeros((1, 0), bool)
    assert measures.precision_at_k(nothing, 5) == 0
    assert measures.recall_at_k(nothing, [3], 5) == 0
    assert measures.ndcg_at_k(nothing, [3], 5) == 0
    assert measures.hit_rate_at_k(nothing, 5) == 0
    assert measures.average_precision(nothing, [3]) == 0
    assert measures.r_precision(nothing, [3]) == 0
    assert measures.average_precision(np.zeros((0, 7), bool), []).shape == (0,)


def test_k_larger_than_the_gallery_divides_by_k() -> None:
    assert measures.precision_at_k([[True]], 10) == pytest.approx(0.1)
    assert measures.recall_at_k([[True]], [1], 10) == 1
    assert measures.ndcg_at_k([[True]], [1], 10) == 1


def test_a_query_without_relevant_items_has_no_value() -> None:
    flags = [[False, False], [True, False]]
    assert np.isnan(measures.recall_at_k(flags, [0, 1], 1)).tolist() == [True, False]
    assert np.isnan(measures.ndcg_at_k(flags, [0, 1], 1)).tolist() == [True, False]
    assert np.isnan(measures.average_precision(flags, [0, 1])).tolist() == [True, False]
    assert np.isnan(measures.r_precision(flags, [0, 1])).tolist() == [True, False]
    assert math.isnan(measures.average_precision_of_ranks([], 0))
    assert math.isnan(measures.r_precision_of_ranks([], 0))
    assert measures.precision_at_k(flags, 1).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: measures.precision_at_k([[True]], 0), "k must be at least 1, not 0"),
        (lambda: measures.ndcg_at_k([[True]], [1], -2), "k must be at least 1, not -2"),
        (lambda: measures.precision_at_k([True], 1), r"shape \(1,\); expected \(queries, ranks\)"),
        (lambda: measures.recall_at_k([[True]], [1, 1], 1), "one value a query"),
        (lambda: measures.recall_at_k([[True, True]], [1], 1), "total is smaller"),
        (lambda: measures.average_precision_of_ranks([0, 1], 2), "ascending"),
        (lambda: measures.average_precision_of_ranks([2, 2], 2), "ascending"),
        (lambda: measures.r_precision_of_ranks([1, 2, 3], 2), "at most total in number"),
    ],
)
def test_refuses_what_makes_no_sense(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
