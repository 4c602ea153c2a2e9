"""How well labels are guessed from photos alone: each item judged by the others, or by its colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.errors import InvalidInputError, SerupaError, UsageError
from serupa.evaluation.intervals import wilson_interval
from serupa.garments.colors import basic_name, colors_of
from serupa.garments.garments import classifier_of, leads

if TYPE_CHECKING:
    from serupa.catalog import Catalog

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)
"""Shares of the items, the most confident first, that accuracy is given for."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often the guess is right for the most confident share of the items, with its 95 % interval."""

    coverage: float
    mean: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Return it as JSON-ready values."""
        return {"coverage": self.coverage, "accuracy": self.mean, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True)
class Guesses:
    """How well a label is guessed.

    Parameters
    ----------
    label : str
    by : {"neighbours", "colours"}
    items, skipped : int
        Guessed; and left out, since the label is missing or is no colour's name, or the photo is gone.
    accuracies : tuple of Accuracy
    """

    label: str
    by: str
    items: int
    skipped: int
    accuracies: tuple[Accuracy, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "label": self.label,
            "by": self.by,
            "items": self.items,
            "skipped": self.skipped,
            "accuracies": [one.to_dict() for one in self.accuracies],
        }


def measure_guesses(catalog: Catalog, label: str) -> Guesses:
    """Measure how well a label of a catalogue's items is guessed from their photos.

    A label of colour names is guessed by colours, any other one by neighbours, where each item is judged by
    those of other products.

    Raises
    ------
    UsageError
        If there is nothing to guess.
    """
    counted = catalog.facets(label) if label in catalog.manifest.fields else None
    if not isinstance(counted, list):
        raise UsageError(catalog.path, f"{label} is no label with values to guess")
    named = sum(count for value, count in counted if basic_name(str(value)) is not None)
    if named > sum(count for _, count in counted) / 2:
        return _by_colors(catalog, label)
    classifier = classifier_of(catalog, label)
    if classifier is None:
        raise UsageError(catalog.path, f"every {label} is the same: there is nothing to guess")
    scores = classifier.leave_one_out()
    right = scores.argmax(axis=1) == classifier.codes
    return Guesses(label, "neighbours", len(right), 0, accuracies(right, leads(scores)))


def _by_colors(catalog: Catalog, label: str) -> Guesses:
    right, shares, skipped = [], [], 0
    for item in catalog.items():
        expected = basic_name(str(item.attributes.get(label, "")))
        try:
            colors = colors_of(item.image) if expected is not None else ()
        except SerupaError:
            colors = ()
        if not colors:
            skipped += 1
            continue
        right.append(basic_name(colors[0].name) == expected)
        shares.append(colors[0].share)
    if not right:
        raise InvalidInputError(catalog.path, "none of its photos can be read")
    return Guesses(label, "colours", len(right), skipped, accuracies(np.array(right), np.array(shares)))


def accuracies(right: NDArray[np.bool_], confidence: NDArray[np.float64]) -> tuple[Accuracy, ...]:
    """Return the accuracy of the most confident guesses at each of `COVERAGES`."""
    order = np.argsort(-confidence, kind="stable")
    found = []
    for coverage in COVERAGES:
        kept = right[order[: max(1, round(coverage * len(order)))]]
        mean = float(kept.mean())
        found.append(Accuracy(coverage, mean, *wilson_interval(mean, len(kept))))
    return tuple(found)
