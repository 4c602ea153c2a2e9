"""Learned whitening against what the formulas say, worked out another way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serupa.errors import DamagedError, InvalidInputError
from serupa.learning.whitening import Whitening, centred, fit_whitening, moments_of
from serupa.vectors import unit

Doubles = NDArray[np.float64]


def drawn(
    seed: int, photos: int, dimension: int, classes: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw photos whose variances differ from direction to direction, so that principal ones are distinct."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, photos - classes)])
    scales = 1.3 ** -np.arange(dimension)
    points = rng.normal(size=(classes, dimension))[labels] + rng.normal(size=(photos, dimension))
    return (points * scales + 0.5).astype(np.float32), labels


def by_hand(
    embeddings: NDArray[np.float32], labels: NDArray[np.int64], dimension: int, ridge: float
) -> tuple[Doubles, Doubles, float]:
    """Return photos in principal directions ``(n, k)``, their covariance within classes, the ridge."""
    rows = embeddings.astype(np.float64)
    rows /= np.sqrt((rows**2).sum(axis=1, keepdims=True))
    rows -= rows.mean(axis=0)
    turned = rows @ np.linalg.svd(rows, full_matrices=False)[2][:dimension].T
    within = np.zeros((turned.shape[1],) * 2)
    for label in np.unique(labels):
        own = turned[labels == label]
        within += (own - own.mean(axis=0)).T @ (own - own.mean(axis=0))
    within /= len(rows) - len(np.unique(labels))
    return turned, within, ridge * float(np.mean(np.diag(within)))


shapes = st.tuples(
    st.integers(0, 2**32 - 1),  # seed
    st.integers(24, 90),  # photos
    st.integers(3, 12),  # values
    st.integers(2, 8),  # classes
)


@settings(max_examples=60, deadline=None)
@given(shapes, st.floats(0.0, 1.0), st.sampled_from([0.01, 0.1, 1.0]))
def test_cosine_of_whitened_photos_is_the_mahalanobis_form(
    shape: tuple[int, int, int, int], share: float, ridge: float
) -> None:
    embeddings, labels = drawn(*shape)
    dimension = 1 + round(share * (shape[2] - 1))
    learned = fit_whitening(embeddings, [labels], dimension=dimension, ridge=ridge)
    photos, within, added = by_hand(embeddings, labels, dimension, ridge)
    form = photos @ np.linalg.solve(within + added * np.eye(dimension), photos.T)
    lengths = np.sqrt(np.diag(form))
    expected = form / np.outer(lengths, lengths)
    whitened = learned.apply(embeddings)
    assert whitened.shape == (len(embeddings), learned.dimension) == (len(embeddings), dimension)
    sure = lengths > 1e-2 * lengths.mean()  # next to nothing is left of a photo in the mean
    np.testing.assert_allclose((whitened @ whitened.T)[sure][:, sure], expected[sure][:, sure], atol=2e-3)


@settings(max_examples=60, deadline=None)
@given(shapes, st.sampled_from([1e-6, 0.1, 1.0]))
def test_covariance_within_classes_becomes_the_identity_up_to_the_ridge(
    shape: tuple[int, int, int, int], ridge: float
) -> None:
    embeddings, labels = drawn(*shape)
    learned = fit_whitening(embeddings, [labels], dimension=shape[2], ridge=ridge)
    mapped = (unit(embeddings).astype(np.float64) - learned.mean) @ learned.projection.T.astype(np.float64)
    within = np.zeros((learned.dimension,) * 2)
    for label in np.unique(labels):
        own = mapped[labels == label] - mapped[labels == label].mean(axis=0)
        within += own.T @ own
    within /= len(labels) - len(np.unique(labels))
    _, before, added = by_hand(embeddings, labels, shape[2], ridge)
    # L^-1 W L^-T has the eigenvalues v / (v + ridge) of W's v: all 1 but for the ridge
    variances = np.linalg.eigvalsh(before)
    np.testing.assert_allclose(np.linalg.eigvalsh(within), variances / (variances + added), atol=2e-3)
    if ridge < 1e-3 and variances[0] > 1e-3 * variances[-1]:
        np.testing.assert_allclose(within, np.eye(learned.dimension), atol=5e-3)


def test_labels_are_averaged_by_weight() -> None:
    embeddings, labels = drawn(5, 60, 8, 6)
    coarse = labels // 2
    both = fit_whitening(embeddings, [labels, coarse], weights=[1.0, 0.5], dimension=8, ridge=0.1)
    photos, fine, _ = by_hand(embeddings, labels, 8, 0)
    _, wide, _ = by_hand(embeddings, coarse, 8, 0)
    within = (fine + 0.5 * wide) / 1.5
    form = photos @ np.linalg.solve(within + 0.1 * np.mean(np.diag(within)) * np.eye(8), photos.T)
    lengths = np.sqrt(np.diag(form))
    whitened = both.apply(embeddings)
    np.testing.assert_allclose(whitened @ whitened.T, form / np.outer(lengths, lengths), atol=2e-3)
    alone = fit_whitening(embeddings, [labels, coarse], weights=[1.0, 1e-9], dimension=8, ridge=0.1)
    first = fit_whitening(embeddings, [labels], dimension=8, ridge=0.1)
    np.testing.assert_allclose(alone.apply(embeddings), first.apply(embeddings), atol=1e-4)


def test_photos_without_a_label_shape_the_directions_only() -> None:
    embeddings, labels = drawn(6, 80, 6, 5)
    some = np.where(np.arange(80) < 60, labels, -1)
    whole = moments_of(centred(embeddings).rows, [some])
    assert (whole.count, whole.freedom) == (80, (60 - 5,))


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    embeddings, labels = drawn(7, 60, 6, 5)
    labels = np.sort(labels)
    cut = int(np.searchsorted(labels, 3))  # no class on both sides
    prepared = centred(embeddings)
    parts = [moments_of(prepared.rows[s], [labels[s]]) for s in (slice(cut), slice(cut, None))]
    summed, whole = parts[0] + parts[1], moments_of(prepared.rows, [labels])
    np.testing.assert_allclose(summed.within_covariance([1]), whole.within_covariance([1]), atol=1e-9)
    np.testing.assert_allclose(summed.scatter, whole.scatter, atol=1e-9)
    assert (summed.count, summed.freedom) == (whole.count, whole.freedom)


def test_fewer_photos_than_values() -> None:
    rng = np.random.default_rng(8)
    labels = np.repeat(np.arange(10), 3)
    embeddings = (rng.normal(size=(10, 200))[labels] + rng.normal(size=(30, 200))).astype(np.float32)
    learned = fit_whitening(embeddings, [labels], dimension=64, ridge=0.3)
    assert learned.dimension == 29  # what 30 photos span about their mean, and no rounding noise
    photos, within, added = by_hand(embeddings, labels, 29, 0.3)
    form = photos @ np.linalg.solve(within + added * np.eye(29), photos.T)
    lengths = np.sqrt(np.diag(form))
    whitened = learned.apply(embeddings)
    np.testing.assert_allclose(whitened @ whitened.T, form / np.outer(lengths, lengths), atol=2e-3)


def test_zeros_stay_zeros_and_others_have_length_1() -> None:
    embeddings, labels = drawn(9, 40, 6, 4)
    learned = fit_whitening(embeddings, [labels], dimension=4, ridge=0.1)
    assert not learned.apply(np.zeros((2, 6), np.float32)).any()
    np.testing.assert_allclose(np.linalg.norm(learned.apply(embeddings), axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(learned.apply(7 * embeddings), learned.apply(embeddings), atol=1e-5)


def test_nothing_to_learn_from() -> None:
    with pytest.raises(InvalidInputError):
        fit_whitening(np.eye(4, dtype=np.float32), [np.arange(4)], dimension=2, ridge=0.1)
    with pytest.raises(ValueError, match="do not fit"):
        Whitening(np.zeros(3, np.float32), np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match="NaN"):
        Whitening(np.full(3, np.nan, np.float32), np.zeros((2, 3), np.float32))


def test_it_comes_back_as_it_was_written() -> None:
    embeddings, labels = drawn(10, 40, 6, 4)
    learned = fit_whitening(embeddings, [labels], dimension=4, ridge=0.1)
    again = Whitening.from_bytes(learned.to_bytes())
    np.testing.assert_array_equal(again.projection, learned.projection)
    np.testing.assert_array_equal(again.mean, learned.mean)
    with pytest.raises(DamagedError):
        Whitening.from_bytes(learned.to_bytes()[:-200])
