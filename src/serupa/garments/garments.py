"""What a garment is, from its photo alone: category and pattern by its nearest neighbours, and colours.

A label is guessed by a nearest-neighbour classifier: reference items, of which the label is known, stand for
their classes. Neighbours are weighed by cosine after the mean of the references is taken off, less the
hubness of the two, how near each is to everybody (cross-domain similarity local scaling [1]_): without that,
a few photos that are near to all others decide too much. A class scores the mean over its nearest few
references; the highest score wins. How far it is ahead of the second gives the confidence, calibrated on the
references themselves, each judged by those of other products: below `UNSURE` the label is unknown.

The confidence holds for photos like the references. A shopper's photo on a bed, judged by a studio's photos,
is less often right than it says; the page on styling has figures.

References
----------
.. [1] A. Conneau et al., "Word translation without parallel data", ICLR 2018, section 2.3.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.garments.calibration import Calibration, calibrate
from serupa.garments.colors import Color, colors_of
from serupa.vectors import unit

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.filters import Where
    from serupa.images import Crop, Photo

UNSURE = 0.6
"""Confidence below which a guess is not made."""

_EACH = 200  # references of a class; more cost memory and change little
_MOST = 6_000  # references: each is compared with each
_MOST_CLASSES = 100
_NEAREST = 5  # references of a class that its score is the mean of
_NEIGHBORS = 10  # references that tell how near a photo is to everybody
_SAME_PHOTO = 1 - 1e-3  # cosine

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Guess:
    """A label that was guessed.

    Parameters
    ----------
    value : str or None
        None is "unknown".
    confidence : float
        How often a guess with such a lead is right, 0 to 1.
    votes : dict of str to float
        The shares of the classes that came closest, the largest first.
    """

    value: str | None
    confidence: float
    votes: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        votes = {name: round(share, 4) for name, share in self.votes.items()}
        return {"value": self.value, "confidence": round(self.confidence, 4), "votes": votes}


UNKNOWN = Guess(None, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """Guesses one label of a photo by its nearest references. Made by `classifier_of` or `learn_label`.

    Parameters
    ----------
    classes : tuple of str
    rows : (n, d) array of float32
        The references, of length 1 after `mean` is taken off.
    codes : (n,) array of int
        The class of each.
    hubness : (n,) array of float32
        How near each is to its nearest neighbours.
    mean : (d,) array of float32
    calibration : Calibration
        From a lead to a confidence.
    products : sequence
        Which photos are of the same product; not kept when it is written down.
    """

    classes: tuple[str, ...]
    rows: Rows
    codes: NDArray[np.intp]
    hubness: Rows
    mean: Rows
    calibration: Calibration
    products: Sequence[Hashable] = ()

    def guess(self, embedding: Rows, *, unsure: float = UNSURE) -> Guess:
        """Guess the label of a photo from its raw embedding ``(d,)``."""
        row = unit(unit(embedding) - self.mean)
        scores = self._scores(2 * row[None] @ self.rows.T - self.hubness)
        order = np.argsort(-scores[0], kind="stable")
        confidence = self.calibration(leads(scores)[0])
        shares = np.exp((scores[0] - scores[0, order[0]]) / 0.05)
        shares /= shares.sum()
        votes = {self.classes[n]: float(shares[n]) for n in order[:3] if shares[n] > 0.005}
        best = self.classes[order[0]]
        return Guess(best if confidence >= unsure else None, confidence, votes)

    def leave_one_out(self) -> NDArray[np.float64]:
        """Return the scores ``(n, c)`` of the references, each judged by those of other products."""
        nearness = 2 * self.rows @ self.rows.T - self.hubness
        products = np.unique([str(product) for product in self.products], return_inverse=True)[1]
        nearness[products[:, None] == products] = -np.inf
        return self._scores(nearness)

    def _scores(self, nearness: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the score ``(q, c)`` of each class: the mean over its nearest references.

        `nearness` is that of queries to references, ``(q, n)``; minus infinity takes a reference out.
        """
        scores = np.full((len(nearness), len(self.classes)), -np.inf)
        for code in range(len(self.classes)):
            own = nearness[:, self.codes == code].astype(np.float64)
            top = np.sort(own, axis=1)[:, -_NEAREST:]
            there = np.isfinite(top)
            sums, counts = np.where(there, top, 0.0).sum(axis=1), there.sum(axis=1)
            np.divide(sums, counts, out=scores[:, code], where=counts > 0)
        return scores


def learn_label(
    embeddings: Rows, values: Sequence[str], products: Sequence[Hashable] | None = None
) -> Classifier | None:
    """Make a classifier of references.

    Parameters
    ----------
    embeddings : (n, d) array of float32
        Raw.
    values : sequence of str
        The label of each.
    products : sequence, optional
        Photos of the same product do not vouch for each other in the calibration.

    Returns
    -------
    Classifier or None
        None where there are fewer than two classes to tell apart.
    """
    classes, codes = np.unique(np.array(values, str), return_inverse=True)
    if len(classes) < 2:
        return None
    mean = unit(embeddings).mean(axis=0)
    rows = unit(unit(embeddings) - mean)
    things: Sequence[Hashable] = range(len(rows)) if products is None else products
    names = tuple(map(str, classes))
    unfitted = Classifier(names, rows, codes, hubness(rows, rows), mean, Calibration(0.0, 0.0), things)
    scores = unfitted.leave_one_out()
    fair = np.isfinite(scores).sum(axis=1) > 1
    if not fair.any():
        return unfitted
    calibration = calibrate(leads(scores[fair]), (scores.argmax(axis=1) == codes)[fair])
    return replace(unfitted, calibration=calibration)


def classifier_of(catalog: Catalog, label: str = "category", *, where: Where = None) -> Classifier | None:
    """Make a classifier of a catalogue's own items: up to 200 of each value of a label.

    Returns
    -------
    Classifier or None
        None where the catalogue has no such label, or fewer than two values of it.
    """
    counted = (
        catalog.facets(label, where=where, limit=_MOST_CLASSES) if label in catalog.manifest.fields else None
    )
    if not isinstance(counted, list):
        return None
    each = min(_EACH, max(2 * _NEAREST, _MOST // max(1, len(counted))))
    references = [
        (item, str(value)) for value, _ in counted for item in islice(catalog.items({label: value}), each)
    ]
    _, embeddings = catalog.embeddings([item.id for item, _ in references])
    products = [item.product_id or item.id for item, _ in references]
    return learn_label(embeddings, [value for _, value in references], products)


@dataclass(frozen=True, slots=True)
class Garment:
    """What a photo shows.

    Parameters
    ----------
    category, pattern : Guess
        The pattern is unknown where no item of the catalogue has one.
    colors : tuple of Color
        The largest share first.
    """

    category: Guess
    pattern: Guess
    colors: tuple[Color, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "category": self.category.to_dict(),
            "pattern": self.pattern.to_dict(),
            "colors": [color.to_dict() for color in self.colors],
        }


@dataclass(frozen=True, slots=True)
class Eye:
    """Looks at photos: the classifiers of a catalogue. Made by `eye_of`."""

    category: Classifier | None
    pattern: Classifier | None

    def look(self, photo: Photo, embedding: Rows, crop: Crop | None = None) -> Garment:
        """Say what a photo shows; the embedding is its raw one, of the catalogue's encoder."""
        category = self.category.guess(embedding) if self.category else UNKNOWN
        pattern = self.pattern.guess(embedding) if self.pattern else UNKNOWN
        return Garment(category, pattern, colors_of(photo, crop))


def eye_of(catalog: Catalog) -> Eye:
    """Learn what a catalogue knows of categories and patterns; what it does not label stays unknown."""
    return Eye(classifier_of(catalog, "category"), classifier_of(catalog, "pattern"))


def leads(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far the best class is ahead of the second."""
    top = np.sort(scores, axis=1)
    lead = top[:, -1] - np.where(np.isfinite(top[:, -2]), top[:, -2], top[:, -1] - 1.0)
    return np.where(np.isfinite(lead), lead, 0.0)


def hubness(rows: Rows, references: Rows) -> Rows:
    """Return how near rows ``(n, d)`` are to their nearest references, the same photo left out."""
    near = rows @ references.T
    near[near > _SAME_PHOTO] = -1.0
    count = max(1, min(_NEIGHBORS, len(references) - 1))
    return np.asarray(np.partition(near, -count, axis=1)[:, -count:].mean(axis=1), np.float32)
