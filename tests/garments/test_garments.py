"""What a garment is: votes, confidence, unknown; and how well labels are guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serupa import Catalog, Item
from serupa.errors import UsageError
from serupa.evaluation.guessing import accuracies, measure_guesses
from serupa.garments.calibration import calibrate
from serupa.garments.garments import Classifier, classifier_of, eye_of, learn_label
from serupa.garments.slots import slot_of, wearable_together


def drawn(each: int = 40, spread: float = 0.8) -> tuple[np.ndarray, list[str]]:
    """Embeddings of three classes, of which two overlap."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 32))
    centres[2] = centres[1] + 0.35 * rng.normal(size=32)
    rows = np.concatenate([centre + spread * rng.normal(size=(each, 32)) for centre in centres])
    return rows.astype(np.float32), [name for name in ("hats", "pants", "shorts") for _ in range(each)]


def learned(*references: Any) -> Classifier:
    classifier = learn_label(*references)
    assert classifier is not None
    return classifier


def test_the_guess_and_its_confidence() -> None:
    embeddings, values = drawn()
    known = np.arange(120) % 2 == 0
    classifier = learned(embeddings[known], [v for v, k in zip(values, known, strict=True) if k])
    guesses = [classifier.guess(one, unsure=0.0) for one in embeddings[~known]]
    right = np.array([g.value == v for g, v in zip(guesses, np.array(values)[~known], strict=True)])
    confidence = np.array([g.confidence for g in guesses])
    assert right.mean() > 0.75
    assert abs(confidence.mean() - right.mean()) < 0.12  # it knows how often it is right
    sure = np.argsort(-confidence)[:30]
    assert right[sure].mean() > right.mean()
    hat = guesses[0]
    assert max(hat.votes, key=lambda name: hat.votes[name]) == hat.value
    assert sum(hat.votes.values()) <= 1 + 1e-9


def test_what_is_unsure_is_unknown() -> None:
    embeddings, values = drawn()
    classifier = learned(embeddings, values)
    between = (embeddings[41] + embeddings[81]) / 2
    guess = classifier.guess(between)
    assert (guess.value is None) == (guess.confidence < 0.6)
    assert classifier.guess(between, unsure=1.0).value is None


def test_photos_of_one_product_do_not_vouch_for_each_other() -> None:
    """Each product is its own corner of the space: with its other photos gone, nobody knows it."""
    rng = np.random.default_rng(1)
    corners = np.repeat(rng.normal(size=(20, 16)), 4, axis=0)
    rows = (corners + 0.01 * rng.normal(size=(80, 16))).astype(np.float32)
    values = [("a", "b")[product % 2] for product in range(20) for _ in range(4)]
    products = [product for product in range(20) for _ in range(4)]
    fair, vain = learned(rows, values, products), learned(rows, values)
    assert (fair.leave_one_out().argmax(axis=1) == fair.codes).mean() < 0.8
    assert fair.guess(rows[0]).confidence < vain.guess(rows[0]).confidence


def test_one_class_is_nothing_to_tell_apart(catalog: Catalog) -> None:
    assert learn_label(np.ones((3, 4), np.float32), ["a", "a", "a"]) is None
    assert classifier_of(catalog, "pattern") is None
    eye = eye_of(catalog)
    assert eye.pattern is None
    assert eye.category is not None
    assert eye.category.classes == ("dresses", "hats", "shirts")


def test_looking_at_a_photo(catalog: Catalog, items: list[Item]) -> None:
    garment = eye_of(catalog).look(items[0].image, catalog.embeddings(["item-00"])[1][0])
    assert garment.pattern.value is None
    assert garment.colors
    told = garment.to_dict()
    assert set(told) == {"category", "pattern", "colors"}
    assert told["colors"][0]["rgb"].startswith("#")


def test_accuracy_of_the_most_confident() -> None:
    right = np.array([True] * 8 + [False] * 2)
    found = accuracies(right, np.linspace(1, 0, 10))
    assert [(one.coverage, one.mean) for one in found] == [
        (1.0, 0.8), (0.9, pytest.approx(8 / 9)), (0.8, 1.0), (0.7, 1.0), (0.5, 1.0),
    ]  # fmt: skip
    assert all(one.low <= one.mean <= one.high + 1e-9 for one in found)


def test_measuring_guesses(catalog: Catalog) -> None:
    found = measure_guesses(catalog, "category")
    assert (found.by, found.items) == ("neighbours", 24)
    with pytest.raises(UsageError):
        measure_guesses(catalog, "price")


def test_categories_of_real_photos(clothing: Path, tmp_path: Path) -> None:
    """A quarter of the photos, so less to go by than the figures in the docs had."""
    photos = sorted(clothing.rglob("*.jpg"))[::4]
    items = [Item(f"{p.parent.name}/{p.name}", str(p), None, {"category": p.parent.name}) for p in photos]
    with Catalog.create(tmp_path / "clothing") as made:
        made.add(items)
        found = measure_guesses(made, "category")
    everything, most = found.accuracies[0], found.accuracies[2]
    assert everything.mean > 0.65
    assert most.mean > everything.mean


def test_calibration() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=4000)
    right = rng.random(4000) < 1 / (1 + np.exp(-(2 * scores - 1)))
    fitted = calibrate(scores, right)
    assert fitted.slope == pytest.approx(2, abs=0.2)
    assert fitted.offset == pytest.approx(-1, abs=0.2)
    assert fitted(fitted.score_at(0.9)) == pytest.approx(0.9)
    apart = calibrate([0.0, 0.1, 0.9, 1.0], [False, False, True, True])
    assert np.isfinite([apart.slope, apart.offset]).all()
    assert apart(1.0) > 0.6 > 0.4 > apart(0.0)
    upside_down = calibrate([0.0, 1.0, 2.0, 3.0], [True, True, False, False])
    assert upside_down.slope == 0
    assert calibrate([1.0, 1.0], [True, False])(1.0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("category", "slot"),
    [
        ("Hoodies & Sweatshirts", "top"),
        ("Pants", "bottom"),
        ("outwear", "outerwear"),
        ("Dresses", "one-piece"),
        ("t-shirt", "top"),
        ("celana jeans", "bottom"),
        ("kaus kaki", "accessory"),
        ("Raincoats", "outerwear"),
        ("Shirt dress", "one-piece"),
        ("Capes", "outerwear"),
        ("Scarves", "accessory"),
        ("Sneakers", "shoes"),
        ("Gift cards", None),
        ("", None),
        (None, None),
    ],
)
def test_slots(category: str | None, slot: str | None) -> None:
    assert slot_of(category) == slot


def test_what_is_worn_together() -> None:
    assert wearable_together("top", "bottom")
    assert not wearable_together("top", "top")
    assert not wearable_together("one-piece", "bottom")
    assert wearable_together("one-piece", "outerwear")
