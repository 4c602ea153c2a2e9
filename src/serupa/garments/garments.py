"""What a garment is, from its photo alone: category by a vote of neighbours, colours, pattern.

The vote. Reference items, of which the label is known, stand for their classes. Neighbours are weighed by
cosine after the mean of the references is taken off, less how near each of the two is to everybody
(cross-domain similarity local scaling [1]_): without that, a few photos that are near to all others decide
too much. A class scores the mean over its nearest few references; the highest score wins. How far it is
ahead of the second gives the confidence, calibrated on the references themselves, each judged by the others
(photos of its own product left out): below `UNSURE` the answer is that nobody knows.

The confidence holds for photos like the references. A shopper's photo on a bed, judged by a studio's photos,
is less often right than it says; the page on styling has figures.

References
----------
.. [1] A. Conneau et al., "Word translation without parallel data", ICLR 2018, section 2.3.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.errors import CatalogError
from serupa.garments.colors import Color, colors_of
from serupa.styling.calibration import Calibration, calibrate

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.filters import Where
    from serupa.images import Crop, Photo

UNSURE = 0.6
"""Confidence below which a guess is not made."""

_EACH = 200  # references of a class; more cost memory and change little
_MOST_CLASSES = 100
_NEAREST = 5  # references of a class that its score is the mean of
_CROWD = 10  # neighbours that tell how near a reference is to everybody

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


@dataclass(frozen=True, slots=True, eq=False)
class Voters:
    """References that guess one label of a photo. Make them with `voters_of` or `gather`.

    Parameters
    ----------
    label : str
    classes : tuple of str
    rows : (n, d) array of float32
        The references, of length 1 after `mean` is taken off.
    codes : (n,) array of int
        The class of each.
    crowding : (n,) array of float32
        How near each is to its nearest neighbours.
    mean : (d,) array of float32
    calibration : Calibration
        From a lead to a confidence.
    products : sequence
        Which photos are of the same product; not kept when it is written down.
    """

    label: str
    classes: tuple[str, ...]
    rows: Rows
    codes: NDArray[np.intp]
    crowding: Rows
    mean: Rows
    calibration: Calibration
    products: Sequence[Hashable] = ()

    def guess(self, embedding: Rows, *, unsure: float = UNSURE) -> Guess:
        """Guess the label of a photo from its raw embedding ``(d,)``."""
        row = _unit(_unit(embedding[None]) - self.mean)
        return self._guess(self._scores(row)[0], unsure)

    def _guess(self, scores: NDArray[np.float64], unsure: float) -> Guess:
        order = np.argsort(-scores, kind="stable")
        confidence = self.calibration(leads(scores[None])[0])
        shares = np.exp((scores - scores[order[0]]) / 0.05)
        shares /= shares.sum()
        votes = {self.classes[n]: float(shares[n]) for n in order[:3] if shares[n] > 0.005}
        best = self.classes[order[0]]
        return Guess(best if confidence >= unsure else None, confidence, votes)

    def _scores(self, rows: Rows) -> NDArray[np.float64]:
        return class_scores(2 * rows @ self.rows.T - self.crowding, self.codes, len(self.classes))


def class_scores(nearness: Rows, codes: NDArray[np.intp], classes: int) -> NDArray[np.float64]:
    """Return the score ``(q, c)`` of each class: the mean over its nearest references.

    Parameters
    ----------
    nearness : (q, n) array
        Of queries to references; minus infinity takes a reference out.
    codes : (n,) array of int
    classes : int
    """
    scores = np.full((len(nearness), classes), -np.inf)
    for code in range(classes):
        own = nearness[:, codes == code].astype(np.float64)
        kept = min(_NEAREST, own.shape[1])
        if kept:
            top = np.sort(own, axis=1)[:, -kept:]
            seen = np.isfinite(top)
            sums = np.where(seen, top, 0.0).sum(axis=1)
            counts = seen.sum(axis=1)
            scores[:, code] = np.where(counts > 0, sums / np.maximum(counts, 1), -np.inf)
    return scores


def judged_by_the_others(
    rows: Rows, codes: NDArray[np.intp], crowding: Rows, products: Sequence[Hashable], classes: int
) -> NDArray[np.float64]:
    """Return the scores ``(n, c)`` of references, each without itself and the photos of its product."""
    nearness = 2 * rows @ rows.T - crowding
    groups = np.unique([str(p) for p in products], return_inverse=True)[1]
    nearness[groups[:, None] == groups[None, :]] = -np.inf
    return class_scores(nearness, codes, classes)


def voters_of(
    label: str, embeddings: Rows, values: Sequence[str], products: Sequence[Hashable] | None = None
) -> Voters:
    """Make voters of references.

    Parameters
    ----------
    label : str
    embeddings : (n, d) array of float32
        Raw.
    values : sequence of str
        The label of each.
    products : sequence, optional
        Photos of the same product do not vouch for each other in the calibration.

    Raises
    ------
    CatalogError
        If there are fewer than two classes.
    """
    classes = tuple(sorted(set(values)))
    if len(classes) < 2:
        raise CatalogError(f"{label}: needs items of two values or more to tell them apart, not {classes}")
    codes = np.array([classes.index(value) for value in values])
    unit = _unit(embeddings)
    mean = unit.mean(axis=0)
    rows = _unit(unit - mean)
    crowding = _crowding(rows)
    things: Sequence[Hashable] = range(len(rows)) if products is None else products
    judged = judged_by_the_others(rows, codes, crowding, things, len(classes))
    fair = np.isfinite(judged).sum(axis=1) > 1
    right = judged.argmax(axis=1) == codes
    calibration = calibrate(leads(judged[fair]), right[fair]) if fair.any() else Calibration(0.0, 0.0)
    return Voters(label, classes, rows, codes, crowding, mean, calibration, things)


def gather(catalog: Catalog, label: str = "category", *, where: Where = None) -> Voters:
    """Make voters of a catalogue's own items: up to 200 of each value of a label.

    Raises
    ------
    CatalogError
        If the catalogue has no such label, or it has fewer than two values.
    """
    counted = catalog.facets(label, where=where, limit=_MOST_CLASSES) if label in catalog.fields else None
    if not isinstance(counted, list):
        raise CatalogError(f"{catalog.path}: its items have no {label} to guess from")
    ids: list[str] = []
    values: list[str] = []
    products: list[Hashable] = []
    for value, _ in counted:
        for number, item in enumerate(catalog.items({label: value})):
            if number == _EACH:
                break
            ids.append(item.id)
            values.append(str(value))
            products.append(item.product_id or item.id)
    return voters_of(label, catalog.embeddings(ids)[1], values, products)


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


NOBODY_KNOWS = Guess(None, 0.0)


@dataclass(frozen=True, slots=True)
class Eye:
    """Looks at photos: the voters of a catalogue. Make one with `eye_of`."""

    category: Voters | None
    pattern: Voters | None

    def look(self, photo: Photo, embedding: Rows, crop: Crop | None = None) -> Garment:
        """Say what a photo shows; the embedding is its raw one, of the catalogue's encoder."""
        category = self.category.guess(embedding) if self.category else NOBODY_KNOWS
        pattern = self.pattern.guess(embedding) if self.pattern else NOBODY_KNOWS
        return Garment(category, pattern, colors_of(photo, crop))


def eye_of(catalog: Catalog) -> Eye:
    """Gather what a catalogue knows of categories and patterns; what it does not label stays unknown."""
    voters: dict[str, Voters | None] = {}
    for label in ("category", "pattern"):
        try:
            voters[label] = gather(catalog, label)
        except CatalogError:
            voters[label] = None
    return Eye(voters["category"], voters["pattern"])


def leads(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far the best class is ahead of the second."""
    top = np.sort(scores, axis=1)
    lead = top[:, -1] - np.where(np.isfinite(top[:, -2]), top[:, -2], top[:, -1] - 1.0)
    return np.where(np.isfinite(lead), lead, 0.0)


def _crowding(rows: Rows) -> Rows:
    near = rows @ rows.T
    np.fill_diagonal(near, -np.inf)
    kept = max(1, min(_CROWD, len(rows) - 1))
    return np.asarray(np.sort(near, axis=1)[:, -kept:].mean(axis=1), np.float32)


def _unit(rows: Rows) -> Rows:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0), np.float32)
