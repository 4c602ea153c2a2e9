"""Compatibility: what goes with what, learned from pairs that a shop shows together.

A garment is described by the mean embedding of its photos and by its colour in Oklab. Within each slot the
mean is taken off, so that nothing is learned but what tells garments of one slot apart; what is left is
reduced by PCA and whitened with a ridge. For two slots, the cross-covariance ``C`` of the pairs gives the
bilinear form ``x' C y`` that tells pairs from random ones, in closed form; its largest singular directions
are kept (`RANK`), as canonical correlation analysis [1]_ does.

A form is used only where it is shown to find pairs of products that it was not learned from: over random
halvings of the products, the area under the ROC curve of pairs against other garments of the same two
categories, 0.5 being chance.

References
----------
.. [1] H. Hotelling, "Relations between two sets of variates", Biometrika 28, 1936.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from serupa.errors import InvalidInputError
from serupa.garments.colors import Color
from serupa.garments.products import Garments, garments_of, read_pairs
from serupa.garments.slots import Slot
from serupa.styling.harmony import harmony
from serupa.vectors import unit

if TYPE_CHECKING:
    from serupa.catalog import Catalog

Rows = NDArray[np.float32]
Doubles = NDArray[np.float64]
Pair = tuple[int, int]

RANK = 8
HALVINGS = 20
FEWEST_PAIRS = 20
"""Fewer pairs of two slots than this teach nothing."""

_DIRECTIONS = 48
_RIDGE = 1.0  # of the mean variance: few pairs must not be trusted in directions of little variance
_COLOR_WEIGHT = 2.0  # variance of the colour beside that of the photo, before whitening


@dataclass(frozen=True, slots=True)
class Area:
    """The mean area under the ROC curve over halvings, and the interval that 95 % of them fall in."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """How well pairs of products that had no part in it are told from other pairs of the same categories.

    Parameters
    ----------
    learned, color, visual : Area
        By the learned form, by colour harmony alone, and by visual similarity alone; chance is 0.5.
    products, pairs : int
        What there was to learn from.
    """

    learned: Area
    color: Area
    visual: Area
    products: int
    pairs: int

    @property
    def shown(self) -> bool:
        """Whether the pairs hold a signal: the interval is above chance."""
        return self.learned.low > 0.5

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return asdict(self) | {"shown": self.shown}


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """The learned form of two slots: ``score = (a @ left) . (b @ right)``, scaled.

    Parameters
    ----------
    left, right : (f, r) arrays of float64
    middle, spread : float
        Of the scores of random pairs.
    """

    left: Doubles
    right: Doubles
    middle: float
    spread: float


@dataclass(frozen=True, slots=True, eq=False)
class Compatibility:
    """What goes with what. Make one with `learn_compatibility`.

    Parameters
    ----------
    means : dict of Slot to (f,) array
        Of the features of each slot.
    projection : (d + 3, f) array
        From centred features to whitened ones; `origin` is taken off before.
    origin : (d + 3,) array
    forms : dict of (Slot, Slot) to Form
        Only of slots whose pairs were enough.
    evidence : Evidence
    """

    origin: Doubles
    projection: Doubles
    means: Mapping[str, Doubles]
    forms: Mapping[tuple[str, str], Form]
    evidence: Evidence

    @property
    def used(self) -> bool:
        """Whether outfits go by it: where the pairs hold no signal they do not."""
        return self.evidence.shown

    def features(self, embedding: Rows, color: Doubles, slot: Slot) -> Doubles | None:
        """Return what a garment is compared by; None for a slot that was not learned."""
        if slot not in self.means:
            return None
        described = _described(embedding[None], color[None])[0]
        return np.asarray((described - self.origin) @ self.projection - self.means[slot], np.float64)

    def score(self, one: Doubles, other: Doubles, slots: tuple[Slot, Slot]) -> float | None:
        """Return how well two garments go together, 0 to 1 with random pairs around 0.5; None if unknown."""
        if slots in self.forms:
            form, a, b = self.forms[slots], one, other
        elif slots[::-1] in self.forms:
            form, a, b = self.forms[slots[::-1]], other, one
        else:
            return None
        value = float((a @ form.left) @ (b @ form.right))
        return float(0.5 * (1 + np.tanh((value - form.middle) / (2 * form.spread))))

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return it as JSON-ready values and arrays."""
        arrays: dict[str, NDArray[Any]] = {"origin": self.origin, "projection": self.projection}
        arrays |= {f"mean_{slot}": mean for slot, mean in self.means.items()}
        forms = []
        for number, ((one, other), form) in enumerate(self.forms.items()):
            arrays |= {f"left_{number}": form.left, f"right_{number}": form.right}
            forms.append([one, other, form.middle, form.spread])
        return {"forms": forms, "slots": list(self.means), "evidence": self.evidence.to_dict()}, arrays

    @classmethod
    def from_arrays(cls, notes: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read what `to_arrays` gives."""
        measured = notes["evidence"]
        learned, color, visual = (Area(**measured[name]) for name in ("learned", "color", "visual"))
        evidence = Evidence(learned, color, visual, measured["products"], measured["pairs"])
        forms = {
            (one, other): Form(arrays[f"left_{n}"], arrays[f"right_{n}"], middle, spread)
            for n, (one, other, middle, spread) in enumerate(notes["forms"])
        }
        means = {slot: arrays[f"mean_{slot}"] for slot in notes["slots"]}
        return cls(arrays["origin"], arrays["projection"], means, forms, evidence)


def learn_compatibility(garments: Garments, pairs: Sequence[Pair], *, seed: int = 0) -> Compatibility | None:
    """Learn what goes with what from pairs of garments, and measure what that is worth.

    Parameters
    ----------
    garments : Garments
    pairs : sequence of (int, int)
        Rows of garments that go together, in any order.
    seed : int
        Of the halvings.

    Returns
    -------
    Compatibility or None
        None where no two slots have enough pairs.
    """
    everything = np.ones(len(garments.slots), bool)
    fitted = _fitted(garments, pairs, everything)
    if not fitted.forms:
        return None
    evidence = measure_pairs(garments, pairs, seed=seed)
    return replace(fitted, evidence=evidence)


_NOTHING_SHOWN = Evidence(Area(0.5, 0.5, 0.5), Area(0.5, 0.5, 0.5), Area(0.5, 0.5, 0.5), 0, 0)


def _fitted(garments: Garments, pairs: Sequence[Pair], learning: NDArray[np.bool_]) -> Compatibility:
    """Learn from some of the garments and the pairs among them."""
    described = _described(garments.embeddings, garments.colors)
    slots = np.array(garments.slots)
    centred = described.copy()
    centers = {slot: described[learning & (slots == slot)].mean(axis=0) for slot in set(slots[learning])}
    for slot, center in centers.items():
        centred[slots == slot] -= center
    own_rows = centred[learning]
    directions = np.linalg.svd(own_rows, full_matrices=False)[2][:_DIRECTIONS].T
    reduced = own_rows @ directions
    covariance = reduced.T @ reduced / len(reduced)
    ridge = _RIDGE * float(np.trace(covariance)) / len(covariance)
    values, vectors = np.linalg.eigh(covariance + ridge * np.eye(len(covariance)))
    projection = directions @ (vectors * values**-0.5) @ vectors.T
    origin = described[learning].mean(axis=0)
    means = {str(slot): (center - origin) @ projection for slot, center in centers.items()}
    rows = centred @ projection
    by_slots: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for one, other in pairs:
        if learning[one] and learning[other]:
            a, b = sorted((one, other), key=lambda n: (garments.slots[n], n))
            by_slots[garments.slots[a], garments.slots[b]].append((a, b))
            if garments.slots[a] == garments.slots[b]:
                by_slots[garments.slots[a], garments.slots[b]].append((b, a))
    forms = {
        names: _form(
            rows,
            own,
            np.flatnonzero(learning & (slots == names[0])),
            np.flatnonzero(learning & (slots == names[1])),
        )
        for names, own in sorted(by_slots.items())
        if len(own) >= FEWEST_PAIRS
    }
    return Compatibility(origin, projection, means, forms, _NOTHING_SHOWN)


def _form(rows: Doubles, pairs: Sequence[Pair], ones: NDArray[np.intp], others: NDArray[np.intp]) -> Form:
    first, second = np.array(pairs).T
    left, strengths, right = np.linalg.svd(rows[first].T @ rows[second] / len(pairs))
    left, right = left[:, :RANK] * strengths[:RANK], right[:RANK].T
    random = (rows[ones] @ left) @ (rows[others] @ right).T
    return Form(left, right, float(random.mean()), float(random.std()) or 1.0)


def measure_pairs(garments: Garments, pairs: Sequence[Pair], *, seed: int = 0) -> Evidence:
    """Measure how well pairs are told from others, learned on half of the garments, tried on the other half.

    Each halving takes half of every category. A pair of two unseen garments is compared with all pairs of
    unseen garments of the same two categories that are not known to go together.
    """
    rng = np.random.default_rng(seed)
    categories = np.array(garments.categories)
    together = {tuple(sorted(pair)) for pair in pairs}
    rows = unit(garments.embeddings)
    visual = (rows @ rows.T).astype(np.float64)
    color = _harmonies(garments.palettes)
    areas: dict[str, list[float]] = defaultdict(list)
    for _ in range(HALVINGS):
        learning = np.zeros(len(categories), bool)
        for category in sorted(set(categories)):
            own = rng.permutation(np.flatnonzero(categories == category))
            learning[own[: len(own) // 2]] = True
        scores = _learned_scores(garments, _fitted(garments, pairs, learning))
        tables = {"learned": scores, "color": color, "visual": visual}
        for name, value in _areas(tables, categories, together, ~learning).items():
            areas[name].append(value)
    spread = {
        name: Area(float(np.mean(v)), float(np.quantile(v, 0.025)), float(np.quantile(v, 0.975)))
        for name, v in areas.items()
    }
    learned, by_color, by_look = (
        spread.get(name, Area(0.5, 0.0, 1.0)) for name in ("learned", "color", "visual")
    )
    return Evidence(learned, by_color, by_look, len(categories), len(together))


def _learned_scores(garments: Garments, fitted: Compatibility) -> Doubles:
    slots = np.array(garments.slots)
    described = (_described(garments.embeddings, garments.colors) - fitted.origin) @ fitted.projection
    for slot, mean in fitted.means.items():
        described[slots == slot] -= mean
    scores = np.zeros((len(slots), len(slots)))
    for (one, other), form in fitted.forms.items():
        a, b = np.flatnonzero(slots == one), np.flatnonzero(slots == other)
        block = (described[a] @ form.left) @ (described[b] @ form.right).T
        scores[np.ix_(a, b)] = block
        scores[np.ix_(b, a)] = block.T
    return scores


def _areas(
    tables: Mapping[str, Doubles],
    categories: NDArray[np.str_],
    together: set[tuple[int, ...]],
    unseen: NDArray[np.bool_],
) -> dict[str, float]:
    """Return the areas over all pairs of categories, each weighted by its pairs."""
    of_categories: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for one, other in sorted(together):
        if unseen[one] and unseen[other]:
            a, b = sorted((one, other), key=lambda n: (str(categories[n]), n))
            of_categories[str(categories[a]), str(categories[b])].append((a, b))
    sums: dict[str, float] = defaultdict(float)
    weight = 0
    for (first, second), own in of_categories.items():
        ones, others = (
            np.flatnonzero(unseen & (categories == first)),
            np.flatnonzero(unseen & (categories == second)),
        )
        grid = [(a, b) for a in ones for b in others if a != b and tuple(sorted((a, b))) not in together]
        if not grid:
            continue
        yes, no = np.array(own).T, np.array(grid).T
        for name, table in tables.items():
            sums[name] += len(own) * area_under_roc(table[yes[0], yes[1]], table[no[0], no[1]])
        weight += len(own)
    return {name: total / weight for name, total in sums.items()} if weight else {}


def area_under_roc(positives: Doubles, negatives: Doubles) -> float:
    """Return how often a positive scores above a negative, ties counting half (Mann-Whitney)."""
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, side="left")
    at_most = np.searchsorted(ordered, positives, side="right")
    return float((below + at_most).sum() / (2 * len(positives) * len(negatives)))


def _harmonies(palettes: Sequence[tuple[Color, ...]]) -> Doubles:
    table = np.zeros((len(palettes), len(palettes)))
    for a, b in combinations(range(len(palettes)), 2):
        table[a, b] = table[b, a] = harmony(palettes[a], palettes[b])[0]
    return table


def compatibility_of(catalog: Catalog, related: str | os.PathLike[str]) -> Compatibility | None:
    """Learn what goes with what in a catalogue from a table of ``product_id, linked_product_id``.

    Raises
    ------
    InvalidInputError
        If the table cannot be read, or names no two products of the catalogue.
    """
    garments, products = garments_of(catalog)
    place = {product: n for n, product in enumerate(products)}
    pairs = {
        (min(place[a], place[b]), max(place[a], place[b]))
        for a, b in read_pairs(related)
        if a in place and b in place and a != b
    }
    if not pairs:
        raise InvalidInputError(os.fspath(related), f"none of its pairs are two garments of {catalog.path}")
    return learn_compatibility(garments, sorted(pairs))


def _described(embeddings: Rows, colors: Doubles) -> Doubles:
    return np.concatenate([embeddings.astype(np.float64), _COLOR_WEIGHT * colors], axis=1)
