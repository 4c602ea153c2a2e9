"""Intervals and tests: that they cover what they promise, and agree with SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from serupa.evaluation import intervals

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_agrees_with_scipys_bootstrap() -> None:
    values = np.random.default_rng(1).beta(0.5, 1.0, 200)
    ours = intervals.percentile_interval(intervals.bootstrap_means(values[:, None], seed=3))[:, 0]
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=5_000, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    assert ours == pytest.approx([theirs.low, theirs.high], abs=0.006)


@pytest.mark.parametrize(("confidence", "low", "high"), [(0.95, 25, 975), (0.5, 250, 750)])
def test_what_an_interval_leaves_on_either_side(confidence: float, low: float, high: float) -> None:
    means = np.random.default_rng(0).permutation(np.arange(1_001.0))
    assert intervals.percentile_interval(means, confidence=confidence) == pytest.approx([low, high])


def test_means_of_resamples_are_means_of_drawn_queries() -> None:
    values = np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])
    means = intervals.bootstrap_means(values, resamples=300, seed=0)
    assert means.shape == (300, 2)
    possible = {round((a + b + c) / 3, 9) for a in (1, 2, 4) for b in (1, 2, 4) for c in (1, 2, 4)}
    assert {round(mean, 9) for mean in means[:, 0].tolist()} <= possible
    assert means[:, 1] == pytest.approx(10 * means[:, 0])  # the same queries for every measure
    assert means[:, 0].mean() == pytest.approx(values[:, 0].mean(), abs=0.2)


def test_seeded() -> None:
    values = np.random.default_rng(0).random((50, 3))
    once, again = (intervals.bootstrap_means(values, resamples=100, seed=9) for _ in range(2))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, intervals.bootstrap_means(values, resamples=100, seed=10))
    longer = intervals.bootstrap_means(values, resamples=128, seed=9)
    assert np.array_equal(longer[:64], once[:64])


def test_coverage_of_a_share() -> None:
    """95 % intervals of precision@1 over 200 queries hold the true value about 95 times in 100."""
    rng = np.random.default_rng(7)
    truth, held = 0.6, 0
    samples = (rng.random((200, 400)) < truth).astype(float)  # 400 experiments of 200 queries
    means = intervals.bootstrap_means(samples, resamples=1_000, seed=1)
    low, high = intervals.percentile_interval(means)
    held = np.count_nonzero((low <= truth) & (truth <= high))
    assert 0.91 <= held / 400 <= 0.98


def test_false_alarms_of_the_paired_test() -> None:
    """Where there is no difference, about 5 in 100 tests say that there is one."""
    rng = np.random.default_rng(11)
    differences = rng.normal(0, 1, (150, 300))  # 300 experiments of 150 queries
    resampled = intervals.bootstrap_means(differences, resamples=500, seed=2)
    p_values = [
        intervals.difference_p_value(float(differences[:, i].mean()), resampled[:, i]) for i in range(300)
    ]
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09


def test_p_value_of_no_and_of_a_clear_difference() -> None:
    assert intervals.difference_p_value(0.0, np.zeros(100)) == 1.0
    clear = intervals.bootstrap_means(np.full((50, 1), 0.3) + np.linspace(0, 0.1, 50)[:, None])[:, 0]
    assert intervals.difference_p_value(float(clear.mean()), clear) == pytest.approx(1 / 2_001)


def test_interval_narrows_with_queries_and_widens_with_confidence() -> None:
    rng = np.random.default_rng(3)
    few, many = (intervals.bootstrap_means(rng.random((n, 1)), seed=1) for n in (50, 5_000))
    widths = [np.ptp(intervals.percentile_interval(means)) for means in (few, many)]
    assert widths[1] < widths[0] / 5
    assert np.ptp(intervals.percentile_interval(few, confidence=0.99)) > widths[0]


def test_one_query_and_equal_queries_have_no_width() -> None:
    for values in (np.array([[0.5]]), np.full((20, 1), 0.5)):
        assert intervals.percentile_interval(intervals.bootstrap_means(values)).tolist() == [[0.5], [0.5]]


@pytest.mark.parametrize("values", [np.empty((0, 2)), np.ones(3)])
def test_bootstrap_refuses_no_queries(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="shape"):
        intervals.bootstrap_means(values)


def test_holm_by_hand() -> None:
    assert intervals.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert intervals.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert intervals.holm([0.02]) == pytest.approx([0.02])
    assert intervals.holm([]).shape == (0,)


@given(P_VALUES)
def test_holm_against_its_definition(values: list[float]) -> None:
    ordered = sorted(range(len(values)), key=values.__getitem__)
    expected, largest = [0.0] * len(values), 0.0
    for step, i in enumerate(ordered):
        largest = max(largest, (len(values) - step) * values[i])
        expected[i] = min(1.0, largest)
    assert intervals.holm(values) == pytest.approx(expected)


@given(P_VALUES, st.randoms())
def test_holm_does_not_depend_on_order(values: list[float], random: object) -> None:
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    adjusted = intervals.holm(values)
    assert intervals.holm([values[i] for i in order]) == pytest.approx(adjusted[order])
    assert np.all(adjusted >= np.array(values) - 1e-15)
    assert np.all(adjusted <= len(values) * np.array(values) + 1e-15) or adjusted.max() <= 1


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(share: tuple[int, int]) -> None:
    found, n = share
    ours = intervals.wilson_interval(found / n, n)
    theirs = stats.binomtest(found, n).proportion_ci(method="wilson")
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-9)
