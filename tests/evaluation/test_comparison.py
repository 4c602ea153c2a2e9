"""Two set-ups on the same queries: differences, clusters, and what cannot be compared."""

from __future__ import annotations

import json

import numpy as np
import pytest

from serupa.errors import ConflictError, InvalidInputError
from serupa.evaluation import EmbeddedItems, Evaluation, compare, evaluate
from serupa.evaluation.comparison import Difference, paired_differences


def evaluation(noise: float, *, names: str = "i", label: str = "product", classes: int = 20) -> Evaluation:
    rng = np.random.default_rng(1)
    labels = np.arange(120) % classes
    points = rng.normal(size=(classes, 8))[labels] + noise * rng.normal(size=(120, 8))
    ids = [f"{names}{row:03}" for row in range(120)]
    return evaluate(
        EmbeddedItems(ids, labels.tolist(), points.astype(np.float32)), label=label, ks=[1], resamples=300
    )


def test_a_clear_gain_and_a_clear_loss() -> None:
    worse, better = evaluation(1.5), evaluation(0.3)
    first, *others = compare(worse, better)
    assert first.measure == "map"
    assert {one.measure for one in others} == {
        "precision@1", "recall@1", "hit_rate@1", "ndcg@1", "r_precision",
    }  # fmt: skip
    assert first.better
    assert not first.worse
    assert first.queries == 120
    assert first.difference == pytest.approx(first.after - first.before)
    assert first.low <= first.difference <= first.high
    assert "better" in str(first)
    assert json.loads(json.dumps(first.to_dict()))["ci95"] == [first.low, first.high]
    back = compare(better, worse)[0]
    assert back.worse
    assert back.difference == pytest.approx(-first.difference)


def test_no_difference() -> None:
    same = compare(evaluation(0.5), evaluation(0.5))[0]
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    assert not same.better
    assert not same.worse
    assert str(same).endswith("no difference shown")


def test_queries_that_belong_together_count_as_one() -> None:
    rng = np.random.default_rng(0)
    change = np.repeat(rng.normal(0.1, 1.0, 30), 10)  # ten photos a product, all alike
    before, after = {"map": np.zeros(300)}, {"map": change}
    alone = paired_differences(before, after)[0]
    products = np.repeat(np.arange(30), 10).tolist()
    together = paired_differences(before, after, clusters=products)[0]
    of_means = paired_differences({"map": np.zeros(30)}, {"map": change[::10]})[0]
    assert together.high - together.low == pytest.approx(of_means.high - of_means.low, rel=1e-9)
    assert together.high - together.low > 2.5 * (alone.high - alone.low)
    assert together.difference == pytest.approx(alone.difference)
    nobody = paired_differences(before, after, clusters=[None] * 300)[0]
    assert nobody == alone


def test_queries_without_a_value_are_passed_over() -> None:
    before = {"map": np.array([0.0, np.nan, 0.5])}
    after = {"map": np.array([1.0, 1.0, np.nan])}
    (found,) = paired_differences(before, after)
    assert (found.queries, found.before, found.after) == (1, 0, 1)
    with pytest.raises(InvalidInputError):
        paired_differences({"map": np.array([np.nan])}, {"map": np.array([1.0])})


def test_what_cannot_be_compared() -> None:
    one = evaluation(0.5)
    for other in ({"label": "colour"}, {"names": "j"}, {"classes": 21}):
        with pytest.raises(ConflictError):
            compare(one, evaluation(0.5, **other))


def test_evaluations_are_compared_by_clusters_and_by_the_metrics_asked_for() -> None:
    before, after = (
        evaluate(
            EmbeddedItems(
                [f"i{row:02}" for row in range(40)],
                (np.arange(40) % 8).tolist(),
                np.random.default_rng(seed).normal(size=(40, 6)).astype(np.float32),
            ),
            label="product",
            metrics=["cosine", "euclidean"],
            ks=[1],
            resamples=100,
            seed=seed,
        )
        for seed in (3, 4)
    )
    products = {query: int(query[1:]) % 8 for query in before.query_ids}
    found = compare(before, after, metrics=("euclidean", "cosine"), clusters=products)
    values = before.metrics["euclidean"].values, after.metrics["cosine"].values
    by_hand = paired_differences(
        *({one.measure: own[one.measure] for one in found} for own in values),
        clusters=list(products.values()),
        resamples=100,
        seed=3,
    )
    assert found == by_hand
    assert [one.measure for one in found].count("map") == 1
    assert found != compare(before, after, metrics=("euclidean", "cosine"))
    assert found != compare(before, after, clusters=products)


def test_a_difference_as_json() -> None:
    one = Difference("map", 0.25, 0.5, 0.25, 0.125, 0.375, 0.01, 7)
    assert one.to_dict() == {
        "measure": "map",
        "before": 0.25,
        "after": 0.5,
        "difference": 0.25,
        "ci95": [0.125, 0.375],
        "p_value": 0.01,
        "queries": 7,
    }
    assert str(one) == "mAP 0.250 to 0.500, +0.250 (+0.125 to +0.375): better"
