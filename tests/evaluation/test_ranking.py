"""Rankings against SciPy in float64: order, ties, duplicates, and where the relevant items are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from serupa.evaluation import ranking
from serupa.evaluation.ranking import ArrayRanker, relevant_ranks
from serupa.vectors import METRICS

SCIPY = {"cosine": "cosine", "euclidean": "euclidean", "manhattan": "cityblock"}


def embeddings(n: int, d: int = 24, seed: int = 0) -> NDArray[np.float32]:
    """Shifted from the origin, as activations after a ReLU are."""
    return np.random.default_rng(seed).gamma(0.7, 1.0, (n, d)).astype(np.float32)


def names(n: int, seed: int = 0) -> list[str]:
    """Ids whose order is not that of the rows."""
    return [f"i{number:04}" for number in np.random.default_rng(seed).permutation(n)]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (40, 24), (300, 7)])
def test_exact_order_and_distances(metric: str, shape: tuple[int, int]) -> None:
    n, d = shape
    gallery, ids = embeddings(n, d) + 1, names(n)
    distances = cdist(gallery.astype(float), gallery.astype(float), SCIPY[metric])
    for limit in (1, 5, n + 10):
        for row, found in enumerate(ArrayRanker(ids, gallery).rank(ids, metric, limit)):
            order = [i for i in np.lexsort((ids, distances[row])) if i != row][:limit]
            # one dimension has one cosine, so the order there is of rounding's making
            if d > 1 or metric != "cosine":
                assert [name for name, _ in found] == [ids[i] for i in order]
            assert [distance for _, distance in found] == pytest.approx(distances[row][order], abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_queries_that_are_not_in_the_gallery(metric: str) -> None:
    gallery, queries = embeddings(50), embeddings(6, seed=1)
    queries[3] = gallery[7]
    distances = cdist(queries.astype(float), gallery.astype(float), SCIPY[metric])
    ids, asked = names(50), [f"i{number:04}" for number in range(6)]  # the same names on purpose
    ranker = ArrayRanker(ids, gallery, asked, queries)
    for row, found in zip((3, 0), ranker.rank([asked[3], asked[0]], metric, 4), strict=True):
        assert [name for name, _ in found] == [ids[i] for i in np.argsort(distances[row])[:4]]
    (nearest, *_), *_ = ranker.rank([asked[3]], metric, 1)
    assert nearest == (ids[7], pytest.approx(0, abs=1e-7))


@given(
    st.integers(1, 25).flatmap(
        lambda n: st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=n, max_size=n)
    ),
    st.sampled_from(["euclidean", "manhattan"]),
    st.integers(1, 8),
)
@settings(deadline=None)
def test_ties_are_settled_by_id(points: list[tuple[int, int]], metric: str, limit: int) -> None:
    gallery, ids = np.array(points, np.float32), names(len(points))
    distances = cdist(gallery.astype(float), gallery.astype(float), SCIPY[metric])
    for row, found in enumerate(ArrayRanker(ids, gallery).rank(ids, metric, limit)):
        order = [i for i in np.lexsort((ids, distances[row])) if i != row][:limit]
        assert [name for name, _ in found] == [ids[i] for i in order]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shown", [0, 10, 500])
def test_relevant_ranks_against_the_whole_order(metric: str, shown: int) -> None:
    n, classes = 211, 7
    gallery, ids = embeddings(n), names(n)
    gallery[100:110] = gallery[0]  # duplicates tie, wherever they stand
    gallery[50] = gallery[20] = gallery[205]
    labels = np.random.default_rng(2).integers(0, classes, n)
    members = [np.flatnonzero(labels == label) for label in labels]
    row_of = {name: row for row, name in enumerate(ids)}
    first = (
        [
            np.array([row_of[name] for name, _ in found], np.int64)
            for found in ArrayRanker(ids, gallery).rank(ids, metric, shown)
        ]
        if shown
        else [np.empty(0, np.int64)] * n
    )
    distances = cdist(gallery.astype(float), gallery.astype(float), SCIPY[metric])
    distances[:, [20, 205]] = distances[:, [50, 50]]  # equal vectors are at equal distances
    distances[:, 100:110] = distances[:, [0]]
    found = relevant_ranks(
        gallery, gallery, metric,
        relevant=members, first=first, exclude=np.arange(n), order=ranking.id_order(ids),
    )  # fmt: skip
    for row, where in enumerate(found):
        order = [i for i in np.lexsort((ids, distances[row])) if i != row]
        expected = [rank for rank, i in enumerate(order, 1) if labels[i] == labels[row]]
        assert where.ranks.tolist() == expected
        assert where.agreement == 1 if shown else np.isnan(where.agreement)


def test_what_the_search_returned_comes_first() -> None:
    gallery = np.arange(6, dtype=np.float32)[:, None]
    (where,) = relevant_ranks(
        gallery[:1], gallery, "euclidean",
        relevant=[np.array([0, 1, 3, 5])], first=[np.array([5, 2])], exclude=np.array([0]),
    )  # fmt: skip
    # 5 and 2 as the search had them, then 1, 3, 4
    assert where.ranks.tolist() == [1, 3, 4]
    assert where.agreement == 0.5  # of 5 and 2, only 2 is among the two nearest


def test_a_search_that_finds_nothing_or_everything() -> None:
    gallery = np.arange(4, dtype=np.float32)[:, None]
    relevant = [np.array([1, 2])]
    for first, agreement in (([], float("nan")), ([3, 2, 1, 0], 1.0)):
        (where,) = relevant_ranks(
            gallery[:1], gallery, "manhattan", relevant=relevant, first=[np.array(first, np.int64)]
        )
        assert where.ranks.tolist() == [2, 3]
        assert where.agreement == pytest.approx(agreement, nan_ok=True)


@pytest.mark.parametrize("metric", METRICS)
def test_many_chunks_give_what_one_gives(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, relevant = embeddings(90), [np.arange(row % 30, 90, 30) for row in range(90)]
    nothing = [np.empty(0, np.int64)] * 90

    def ranks() -> list[list[int]]:
        found = relevant_ranks(
            gallery, gallery, metric, relevant=relevant, first=nothing, exclude=np.arange(90)
        )
        return [where.ranks.tolist() for where in found]

    whole = ranks()
    monkeypatch.setattr(ranking, "_CHUNK_ROWS", 7)
    monkeypatch.setattr(ranking, "_BLOCK_VALUES", 5 * 24)
    assert ranks() == whole


@pytest.mark.parametrize("metric", METRICS)
def test_large_offsets_do_not_blur_the_order(metric: str) -> None:
    """Embeddings far from the origin: what float32 must not lose."""
    gallery = embeddings(60) + np.float32(300 if metric != "cosine" else 5)
    distances = cdist(gallery.astype(float), gallery.astype(float), SCIPY[metric])
    ids = [f"{row:02}" for row in range(60)]
    for row, found in enumerate(ArrayRanker(ids, gallery).rank(ids, metric, 10)):
        order = [i for i in np.argsort(distances[row]) if i != row][:10]
        assert [name for name, _ in found] == [ids[i] for i in order]


def test_cosine_of_nothing_is_far_from_everything() -> None:
    gallery = np.array([[0, 0], [1, 0], [2, 0]], np.float32)
    assert list(ArrayRanker(["a", "b", "c"], gallery).rank(["a", "b"], "cosine", 5)) == [
        [("b", 1.0), ("c", 1.0)],
        [("c", 0.0), ("a", 1.0)],
    ]


def test_one_item_and_no_item() -> None:
    one = np.ones((1, 3), np.float32)
    assert list(ArrayRanker(["a"], one).rank(["a"], "cosine", 5)) == [[]]
    (where,) = relevant_ranks(
        one, one, "manhattan", relevant=[np.array([0])], first=[np.empty(0, np.int64)], exclude=np.array([0])
    )
    assert where.ranks.tolist() == []
    nothing = np.empty((0, 3), np.float32)
    for metric in METRICS:
        assert list(ArrayRanker([], nothing, ["q"], one).rank(["q"], metric, 5)) == [[]]
        assert list(ArrayRanker(["a"], one).rank([], metric, 5)) == []


def test_refuses_an_unknown_metric_and_half_of_the_queries() -> None:
    one = np.ones((1, 3), np.float32)
    with pytest.raises(ValueError, match="hamming"):
        list(ArrayRanker(["a"], one).rank(["a"], "hamming", 1))
    with pytest.raises(ValueError, match="query_embeddings"):
        ArrayRanker(["a"], one, ["q"])
