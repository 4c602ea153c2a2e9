"""Is this the same garment? A similarity between two photos, and how sure it makes us.

Two photos are compared by cosine, after the shop's mean is taken off, less the hubness of the two, how near
each is to the shop's photos in general (as in `serupa.garments.garments`): two plain black tees are alike,
but so are all plain black tees. How sure a score makes us is learned from the shop's products with several
photos: some of them play the wardrobe, with one photo each; every other photo asks whether its product is
owned, and the products that are not owned are what a shop shows most of the time. The best match of each is
right or wrong, and from these a probability is fitted (`serupa.garments.calibration`). Products are dealt
into halves for the check of the threshold, four times: learned on one, measured on the other.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from serupa.garments.calibration import Calibration, calibrate
from serupa.garments.garments import hubness
from serupa.vectors import unit

if TYPE_CHECKING:
    from serupa.catalog import Catalog

Rows = NDArray[np.float32]
Doubles = NDArray[np.float64]
Verdict = Literal["owned", "similar", "new", "unknown"]

SURE = 0.9
"""Probability from which on a photo is said to show what is owned."""

NOTICED = 0.3
"""Where less of what is owned is noticed in the check, it is not worth asking."""

SIMILAR = 0.5
"""Probability from which on something close is owned: worth a look before buying."""

FEWEST_PRODUCTS = 8
"""Fewer products with several photos than this cannot show what a score is worth."""

_SLACK = 0.05  # of the precision in the check, which is an estimate itself
_REFERENCES = 2_000
_HALVINGS = 4  # of the products, for the check
_DRAWS = 12  # wardrobes that are played with; each owns a random half of the products


@dataclass(frozen=True, slots=True)
class Check:
    """How a threshold did on products that it was not learned from.

    Parameters
    ----------
    precision : float or None
        Of what was said to be owned, the share that was; None where nothing was said to be.
    recall : float
        Of what was owned, the share that was said to be.
    said, owned : int
        Photos that were said to show what is owned, and that did.
    """

    precision: float | None
    recall: float
    said: int
    owned: int


@dataclass(frozen=True, slots=True, eq=False)
class Ownership:
    """Compares photos. Made by `ownership_of` or `learn_ownership`.

    Parameters
    ----------
    mean : (d,) array of float32
        Taken off embeddings of length 1.
    references : (n, d) array of float32
        The shop's photos that tell how near a photo is to everybody, prepared.
    calibration : Calibration
        From a score to the probability that two photos show the same product.
    check : Check or None
        How the threshold `SURE` did; None where there was too little to check it with.
    """

    mean: Rows
    references: Rows
    calibration: Calibration
    check: Check | None

    @property
    def worth_asking(self) -> bool:
        """Whether the check found that enough of what is owned is noticed, and rightly."""
        return self._borne_out and self.check is not None and self.check.recall >= NOTICED

    def scores(self, photos: Rows, owned: Rows) -> Doubles:
        """Return the scores ``(q, n)`` of raw embeddings ``(q, d)`` and ``(n, d)``."""
        return _scores(self.prepared(photos), self.prepared(owned), self.references)

    def prepared(self, embeddings: Rows) -> Rows:
        """Return raw embeddings ``(n, d)`` as they are compared: of length 1, the mean off, of length 1."""
        return unit(unit(embeddings) - self.mean)

    def verdict(self, probability: float) -> Verdict:
        """Put a probability into words; a threshold that failed its check is not used."""
        if probability >= SURE and self._borne_out:
            return "owned"
        return "similar" if probability >= SIMILAR else "new"

    @property
    def _borne_out(self) -> bool:
        return self.check is not None and (self.check.precision or 0.0) >= SURE - _SLACK


def ownership_of(catalog: Catalog) -> Ownership | None:
    """Learn from a shop's catalogue what a similarity is worth; None as for `learn_ownership`."""
    products = {item.id: item.product_id for item in catalog.items() if item.product_id is not None}
    ids = list(islice(products, _REFERENCES))
    return learn_ownership(catalog.embeddings(ids)[1], [products[one] for one in ids])


def learn_ownership(embeddings: Rows, products: Sequence[Hashable], *, seed: int = 0) -> Ownership | None:
    """Learn from raw embeddings ``(n, d)`` of photos and the product of each.

    Returns
    -------
    Ownership or None
        None where fewer than 8 products have several photos.
    """
    _, codes = np.unique([str(p) for p in products], return_inverse=True)
    several = np.flatnonzero(np.bincount(codes) > 1) if len(codes) else np.empty(0, np.intp)
    if len(several) < FEWEST_PRODUCTS:
        return None
    said = right = owned = 0
    for number in range(seed, seed + _HALVINGS):
        halves = np.array_split(np.random.default_rng(number).permutation(several), 2)
        for learned, tested in (halves, halves[::-1]):
            model = _fitted(embeddings, codes, learned, np.random.default_rng(number), None)
            rng = np.random.default_rng(number + 1)
            scores, same, is_owned = _played(model, embeddings, codes, tested, rng)
            sure = scores >= model.calibration.score_at(SURE)
            said += int(sure.sum())
            right += int((sure & same).sum())
            owned += int(is_owned.sum())
    check = Check(right / said if said else None, right / max(owned, 1), said, owned)
    return _fitted(embeddings, codes, several, np.random.default_rng(seed), check)


def _fitted(
    embeddings: Rows,
    codes: NDArray[np.intp],
    products: NDArray[np.intp],
    rng: np.random.Generator,
    check: Check | None,
) -> Ownership:
    rows = unit(embeddings[np.isin(codes, products)])
    mean = rows.mean(axis=0)
    unfitted = Ownership(mean, unit(rows - mean), Calibration(0.0, 0.0), check)
    scores, same, _ = _played(unfitted, embeddings, codes, products, rng)
    return replace(unfitted, calibration=calibrate(scores, same))


def _played(
    model: Ownership,
    embeddings: Rows,
    codes: NDArray[np.intp],
    products: NDArray[np.intp],
    rng: np.random.Generator,
) -> tuple[Doubles, NDArray[np.bool_], NDArray[np.bool_]]:
    """Play wardrobes: the best score of each asking photo, whether it was right, whether it could be."""
    among = np.flatnonzero(np.isin(codes, products))
    rows = model.prepared(embeddings[among])
    own = codes[among]
    apart = _scores(rows, rows, model.references)
    scores, same, owned = [], [], []
    for _ in range(_DRAWS):
        mine = rng.permutation(products)[: len(products) // 2]
        wardrobe = np.array([rng.choice(np.flatnonzero(own == product)) for product in mine])
        asking = np.setdiff1d(np.arange(len(own)), wardrobe)
        best = apart[np.ix_(asking, wardrobe)].argmax(axis=1)
        scores.append(apart[asking, wardrobe[best]])
        same.append(own[asking] == own[wardrobe[best]])
        owned.append(np.isin(own[asking], mine))
    return np.concatenate(scores), np.concatenate(same), np.concatenate(owned)


def _scores(photos: Rows, owned: Rows, references: Rows) -> Doubles:
    scores = 2 * photos @ owned.T - hubness(photos, references)[:, None] - hubness(owned, references)
    return np.asarray(scores, np.float64)
