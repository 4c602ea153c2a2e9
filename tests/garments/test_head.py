"""Heads that tell kinds: chances add up, categories come first, and a damaged file is said to be one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from serupa.encoders import load_card
from serupa.encoders.cards import OnnxPorts, WeightsSource
from serupa.errors import DamagedError, UsageError
from serupa.garments.head import KindHead, head_of, learn_shop_head
from serupa.garments.kinds import BY_NAME
from serupa.vectors import unit

KINDS = ("t-shirt", "trousers", "shorts")


@pytest.fixture
def head() -> KindHead:
    """A head for embeddings of eight values: each kind has a direction, and so has the flat world."""
    axes = np.eye(8, dtype=np.float32)
    return KindHead(
        KINDS,
        weight=6 * axes[:3],
        bias=np.zeros(3, np.float32),
        world_weight=np.stack([10 * axes[6], 10 * axes[7]]),
        world_bias=np.zeros(2, np.float32),
        temperatures=np.array([1.0, 0.25], np.float32),
        centres=axes[:3],
        share=0.4,
    )


def of(*values: float) -> np.ndarray:
    return np.array([[*values, *[0.0] * (8 - len(values))]], np.float32)


def test_chances_add_up_and_do_not_depend_on_the_length(head: KindHead) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    chances = head.probabilities(rows)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(head.probabilities(7 * rows), chances, atol=1e-5)


def test_a_worn_photo_is_judged_less_surely(head: KindHead) -> None:
    flat, worn = of(1, 0, 0, 0, 0, 0, 1), of(1, 0, 0, 0, 0, 0, 0, 1)
    assert head.flat(flat)[0] > 0.95 > 0.05 > head.flat(worn)[0]
    assert head.guess(flat[0]).name == "t-shirt"
    assert head.guess(flat[0]).probability > 0.9 > head.guess(worn[0]).probability


def test_unknown_where_nothing_is_likely(head: KindHead) -> None:
    guess = head.guess(of(0, 0, 0, 1)[0])
    assert guess.name is None
    assert guess.probability == pytest.approx(1 / 3, abs=0.01)


def test_the_category_comes_before_the_photo(head: KindHead) -> None:
    shirts = np.repeat(of(1, 0, 0.2, 0, 0, 0, 1), 4, axis=0)
    known = [{}, {"category": "Bottoms/Pants & Shorts"}, {"category": "Jeans"}, {"category": "Bags"}]
    chances = head.of_items(shirts, known)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)
    assert KINDS[chances[0].argmax()] == "t-shirt"
    assert chances[1, 0] == 0
    assert KINDS[chances[1].argmax()] == "shorts"  # of the two, the photo decides
    assert chances[2].tolist() == pytest.approx([0, 1, 0])  # jeans look like trousers
    np.testing.assert_allclose(chances[3], chances[0])  # a bag is nothing that it knows


def test_the_centre_is_taken_off_as_far_as_a_photo_is_flat(head: KindHead) -> None:
    chances = np.array([[0.5, 0.5, 0.0]], np.float32)
    np.testing.assert_allclose(head.centre(chances, np.array([0.5], np.float32))[0, :3], [0.25, 0.25, 0])


def test_one_kind(head: KindHead) -> None:
    assert head.one_kind("jeans").tolist() == [0, 1, 0]
    with pytest.raises(UsageError, match="not known here"):
        head.one_kind("bag")


def test_written_and_read(head: KindHead) -> None:
    again = KindHead.from_bytes(head.to_bytes(), "head")
    assert again.kinds == head.kinds
    assert again.share == pytest.approx(head.share)
    np.testing.assert_allclose(again.weight, head.weight)
    with pytest.raises(DamagedError, match="head"):
        KindHead.from_bytes(head.to_bytes()[:-40], "head")
    with pytest.raises(ValueError, match="do not fit"):
        dataclasses.replace(head, bias=np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="NaN"):
        dataclasses.replace(head, bias=np.full(3, np.nan, np.float32))


def test_a_shop_teaches_its_own_kinds() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.integers(3, size=90)
    rows = (3 * np.eye(8)[kinds] + rng.normal(size=(90, 8))).astype(np.float32)
    chances = np.eye(3, dtype=np.float32)[kinds]
    taught = learn_shop_head(rows[:60], chances[:60])
    found = taught.probabilities(rows[60:])
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert (found.argmax(axis=1) == kinds[60:]).mean() > 0.9


@pytest.mark.parametrize("count", [5, 8, 40])
def test_a_shop_head_is_ridge_regression(count: int) -> None:
    rng = np.random.default_rng(1)
    rows = unit(rng.normal(size=(count, 8)).astype(np.float32)).astype(np.float64)
    kinds = np.eye(2)[rng.integers(2, size=count)]
    taught = learn_shop_head(rows.astype(np.float32), kinds.astype(np.float32))
    centred = rows - rows.mean(axis=0)
    gram = centred.T @ centred + (centred**2).sum() / count * np.eye(8)
    np.testing.assert_allclose(
        taught.weight, np.linalg.solve(gram, centred.T @ (kinds - kinds.mean(axis=0))), atol=1e-5
    )


def test_the_default_encoder_has_a_head() -> None:
    card = load_card("efficientnet-lite0")
    head = head_of(card, str(card.weights.sha256))
    assert head is not None
    assert head.dimension == card.dimension
    assert len(head.kinds) > 12
    assert set(head.kinds) <= set(BY_NAME)


def test_an_encoder_of_ones_own_has_its_head_beside_it(tmp_path: Path, head: KindHead) -> None:
    ports = OnnxPorts(input="pixels", layout="NHWC", output="embedding")
    weights = WeightsSource(file=str(tmp_path / "m.onnx"))
    shipped = load_card("efficientnet-lite0")
    own = replace(shipped, architecture="onnx", onnx=ports, dimension=8, weights=weights)
    assert head_of(own, "0" * 64) is None
    (tmp_path / "m.onnx.kinds.npz").write_bytes(head.to_bytes())
    found = head_of(own, "0" * 64)
    assert found is not None
    assert found.kinds == KINDS
    with pytest.raises(DamagedError, match="8 values, not 1280"):
        head_of(replace(own, dimension=1280), "0" * 64)
