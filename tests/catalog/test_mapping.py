"""What embeddings go through: kinds and a tuning, forth and back, and distances that can be read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from serupa.catalog.mapping import Asked, KindPart, VectorMap
from serupa.garments.head import KindHead
from serupa.learning.whitening import Whitening
from serupa.vectors import METRICS, Metric, distances, unit

KINDS = ("t-shirt", "trousers", "shorts")
D = 16


class OfFlatItems:
    """Items whose photos are flat, too."""

    def flat(self) -> float:
        return 1.0


@pytest.fixture
def head() -> KindHead:
    rng = np.random.default_rng(0)
    weight, worlds = rng.normal(size=(3, D)), rng.normal(size=(2, D))
    return KindHead(
        KINDS,
        weight=(4 * weight).astype(np.float32),
        bias=np.zeros(3, np.float32),
        world_weight=(3 * worlds).astype(np.float32),
        world_bias=np.zeros(2, np.float32),
        temperatures=np.ones(2, np.float32),
        centres=(0.1 * weight).astype(np.float32),
        share=0.4,
    )


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(1).normal(1, 2, size=(30, D)).astype(np.float32)


def mapped(head: KindHead, whitening: Whitening | None = None, share: float = 0.4) -> VectorMap:
    part = KindPart(KINDS, share, lambda: head)
    if whitening is None:
        return VectorMap(D, kinds=part)
    return VectorMap(D, whitening.dimension, lambda: whitening, part)


def learned() -> Whitening:
    rng = np.random.default_rng(2)
    return Whitening(rng.normal(size=D).astype(np.float32) / 9, rng.normal(size=(6, D)).astype(np.float32))


def nobody(count: int) -> list[dict[str, str]]:
    return [{}] * count


def test_without_anything_embeddings_stay_as_they_are(rows: np.ndarray) -> None:
    plain = VectorMap(D)
    assert plain.is_identity
    assert plain.of_items(rows, nobody(30), METRICS)["manhattan"] is rows
    np.testing.assert_array_equal(plain.of_queries(rows, "cosine"), rows)


@pytest.mark.parametrize("tuned", [False, True])
def test_similarity_is_the_look_and_the_kind_weighted(head: KindHead, rows: np.ndarray, tuned: bool) -> None:
    whitening = learned() if tuned else None
    vector_map = mapped(head, whitening)
    items = vector_map.of_items(rows, nobody(30), METRICS)
    np.testing.assert_allclose(np.linalg.norm(items["cosine"], axis=1), 1, atol=1e-5)
    looks = unit(rows) if whitening is None else whitening.apply(rows)
    chances = head.probabilities(rows)
    expected = 0.6 * looks @ looks.T + 0.4 * np.sqrt(chances) @ np.sqrt(chances).T
    np.testing.assert_allclose(1 - distances(items["cosine"], items["cosine"], "cosine"), expected, atol=1e-5)
    euclidean = distances(items["euclidean"], items["euclidean"], "euclidean")
    np.testing.assert_allclose(euclidean**2, np.maximum(0, 2 - 2 * expected), atol=1e-4)
    manhattan = distances(items["manhattan"], items["manhattan"], "manhattan")
    scale = 0.35 * np.sqrt(looks.shape[1]) * 0.4 / 0.6
    parts = distances(looks, looks, "manhattan") + scale * distances(chances, chances, "manhattan")
    np.testing.assert_allclose(manhattan, parts, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_raw_embeddings_come_back(head: KindHead, rows: np.ndarray, metric: Metric) -> None:
    vector_map = mapped(head)
    vectors = vector_map.of_items(rows, nobody(30), [metric])[metric]
    for row, vector in zip(rows, vectors, strict=True):
        back = vector_map.embedding(vector, float(np.linalg.norm(row)), metric)
        np.testing.assert_allclose(back, row, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_no_preference_gives_the_distances_of_the_look(
    head: KindHead, rows: np.ndarray, metric: Metric
) -> None:
    vector_map = mapped(head)
    items = vector_map.of_items(rows, nobody(30), [metric])[metric]
    query = vector_map.of_queries(rows[:5], metric)
    found = distances(query, items, metric)
    read = np.array([[vector_map.without_kind(d, metric) for d in one] for one in found])
    np.testing.assert_allclose(read, distances(unit(rows[:5]), unit(rows), metric), atol=2e-3)
    neutral = vector_map.with_kind(items[3], metric, None)
    np.testing.assert_allclose(neutral, query[3], atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_a_preference_for_a_kind_brings_it_first(head: KindHead, rows: np.ndarray, metric: Metric) -> None:
    vector_map = mapped(head, share=0.9)
    assert vector_map.kinds is not None
    known = [{"category": name} for name in ("Tees", "Pants", "Shorts")] * 10
    items = vector_map.of_items(rows, known, [metric])[metric]
    for number, kind in enumerate(KINDS):
        asked = vector_map.kinds.asked(rows[:4], kind)
        query = vector_map.of_queries(rows[:4], metric, asked)
        best = distances(query, items, metric).argsort(axis=1)[:, :10]
        assert set((best % 3).ravel()) == {number}
        chances = vector_map.kind_of(items[number], metric)
        np.testing.assert_allclose(chances, head.one_kind(kind), atol=1e-5)


def test_what_is_asked_depends_on_the_items(head: KindHead, rows: np.ndarray) -> None:
    flat = head.flat(rows)
    assert flat.min() < 0.2
    assert flat.max() > 0.8
    part = KindPart(KINDS, 0.4, lambda: head)
    asked = part.asked(rows)
    np.testing.assert_array_equal(asked.prefer, flat >= 0.5)
    np.testing.assert_allclose(asked.flat, flat)
    same_world = replace(part, own=OfFlatItems()).asked(rows)  # type: ignore[arg-type]
    assert not same_world.centre.any()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("tuned", [False, True])
def test_cells_add_up_to_what_is_compared(head: KindHead, metric: Metric, tuned: bool) -> None:
    vector_map = mapped(head, learned() if tuned else None)
    cells = np.random.default_rng(5).normal(1, 1, size=(49, D))
    mean = cells.mean(axis=0)[None].astype(np.float32)
    assert vector_map.kinds is not None
    asked = replace_flat(vector_map.kinds.asked(mean, "shorts"), 0.7, head)
    query = vector_map.apply_to_cells(cells, metric, asked=asked)
    np.testing.assert_allclose(query.mean(axis=0), vector_map.of_queries(mean, metric, asked)[0], atol=1e-5)
    chances = head.of_items(mean, [{}])
    item = vector_map.apply_to_cells(cells, metric, chances[0])
    np.testing.assert_allclose(
        item.mean(axis=0), vector_map.of_items(mean, [{}], [metric])[metric][0], atol=1e-5
    )


def replace_flat(asked: Asked, flat: float, head: KindHead) -> Asked:
    row = np.array([flat], np.float32)
    return replace(asked, flat=row, centre=head.centre(asked.chances, row))
