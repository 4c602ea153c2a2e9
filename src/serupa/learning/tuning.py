"""Tuning: a search that learns a shop's own catalogue, and proves that it got better.

Products with several photos each are what there is to learn from: the whitening
(`serupa.learning.whitening`) that makes photos of one product lie close together. How many directions it
keeps and how strong its ridge is are chosen by cross-validation over products, and what that gains is
measured on products that had no part in it, not even in the choice:

* Products are dealt into five folds; no product is in two of them.
* Each fold in turn is set aside. On the other four, the setting is chosen (each of the four is set aside in
  turn, the others learned from, every setting tried) and a whitening learned with it. Then the photos of the
  fold set aside search one another, before and after. Queries, relevant photos and everything that stands in
  their way are new to the whitening.
* The gain is the mean difference over all those queries, with a bootstrap interval that draws whole products.
* The whitening that a catalogue gets is made by the same steps from all five folds.

Among settings that do as well as the best one, to within one standard error, the one with the strongest
ridge is taken, then the one with the fewest directions [1]_: what trusts these products the least carries
over best to others.

What shoppers followed can be learned from too: items that were searched with and followed together are a
label, ``clicks``. It counts only where it is shown to help: on products set aside, what is followed together
must come nearer than it does without that label, and by the first label it must be as good.

References
----------
.. [1] L. Breiman, J. Friedman, R. Olshen, C. Stone, "Classification and Regression Trees", 1984, section
   3.4.3 (the rule of one standard error).
.. [2] S. Varma, R. Simon, "Bias in error estimation when using cross-validation for model selection", BMC
   Bioinformatics 7, 2006 (why the choice must be inside).
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serupa.catalog.reading import read_all
from serupa.errors import DamagedError, InvalidInputError, UsageError
from serupa.evaluation import measures
from serupa.evaluation.comparison import Difference, paired_differences
from serupa.evaluation.ranking import relevant_ranks
from serupa.learning import whitening as w
from serupa.progress import Progress, silent
from serupa.vectors import Metric, unit

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.catalog.reindex import Alone

Codes = w.Codes

DIMENSIONS = (64, 128, 256, 512)
RIDGES = (0.02, 0.05, 0.1, 0.3, 1.0)
FOLDS = 5
CLICKS = "clicks"
"""The label of what shoppers follow together."""

CLICKS_WEIGHT = 0.3
_STAYS = 0.01  # mAP: what the first label may lose, at the lower end of its interval, for the sake of clicks

FEWEST_PRODUCTS = 10
"""Fewer products with several photos than this teach nothing that could be shown to hold for others."""

_CHOOSING = 500  # photos of a fold that settings are tried on
_PROVING = 400  # queries of a fold that the gain is measured on
_AT = (1, 5, 10)


class Setting(NamedTuple):
    """What cross-validation chooses."""

    dimension: int
    ridge: float


@dataclass(frozen=True)
class Tuning:
    """A learned whitening, and what it gains on products that it has not seen.

    Parameters
    ----------
    whitening : Whitening
        Learned from all products.
    setting : Setting
        What it was learned with.
    labels : dict of str to float
        The labels that it was learned from, and their weights; the first decides.
    gains : dict of str to list of Difference
        By label: mAP, P@1, P@5 and P@10 before and after.
    over : dict of str to list of Difference
        What it gains over the same without `CLICKS`, where that is one of the labels.
    metric : str
        The metric that the gains are measured by.
    photos, products : int
        Photos learned from, and how many different values the first label has on several photos.
    seconds : float
        Time that learning and proving took.
    """

    whitening: w.Whitening
    setting: Setting
    labels: dict[str, float]
    gains: dict[str, list[Difference]]
    metric: Metric
    photos: int
    products: int
    seconds: float
    over: dict[str, list[Difference]] = field(default_factory=dict)

    @property
    def gain(self) -> Difference:
        """The difference that decides: mAP by the first label."""
        return self.gains[next(iter(self.labels))][0]

    @property
    def found(self) -> bool:
        """Whether a gain is shown: its interval is above zero."""
        return self.gain.better

    @property
    def clicks_help(self) -> bool:
        """Whether clicks are shown to help: what is followed together comes nearer, the first label stays."""
        over = self.over.get(CLICKS, [])
        return bool(over) and over[0].better and self.over[next(iter(self.labels))][0].low > -_STAYS

    def notes(self) -> dict[str, Any]:
        """Return what a catalogue remembers of it, as JSON-ready values."""
        return {
            "labels": dict(self.labels),
            "ridge": self.setting.ridge,
            "metric": self.metric,
            "photos": self.photos,
            "products": self.products,
            "gain": self.gain.to_dict(),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the whitening itself, as JSON-ready values."""
        return {
            **self.notes(),
            "dimension": self.whitening.dimension,
            "found": self.found,
            "gains": {label: [d.to_dict() for d in gains] for label, gains in self.gains.items()},
            "over": {label: [d.to_dict() for d in gains] for label, gains in self.over.items()},
            "seconds": round(self.seconds, 2),
        }


def tune(
    catalog: Catalog,
    labels: Mapping[str, float] | str = "product_id",
    *,
    clicks: Sequence[Sequence[str]] | None = None,
    force: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> Tuning:
    """Learn from a catalogue's own products, and search with what was learned if that is shown to be better.

    Parameters
    ----------
    catalog : Catalog
        Changed in one step (`Catalog.use_whitening`); without a gain it stays as it is. Let no other thread
        use it meanwhile.
    labels, clicks, seed, progress
        As for `study`.
    force : bool
        Search with what was learned even where no gain is shown.

    Returns
    -------
    Tuning
        ``found`` says whether there is a gain.

    Raises
    ------
    UsageError, InvalidInputError
        As `study`.
    """
    tuning = study(catalog, labels, clicks=clicks, seed=seed, progress=progress)
    if tuning.found or force:
        catalog.use_whitening(tuning.whitening, tuning.notes(), progress=progress)
    return tuning


def study(
    catalog: Catalog,
    labels: Mapping[str, float] | str = "product_id",
    *,
    clicks: Sequence[Sequence[str]] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Tuning:
    """Learn from a catalogue's own products, and measure what it gains; the catalogue is only read.

    Starts from the raw embeddings, also where the catalogue is tuned already. The gain is measured by the
    catalogue's first metric: what its users get.

    Parameters
    ----------
    catalog : Catalog
    labels : str or mapping of str to float
        What photos that should lie close share: one label, or several with their weights. The first decides.
    clicks : sequence of sequences of str, optional
        Ids of items that shoppers follow together (`serupa.events.followed_together`): learned from, too,
        where that is shown to help.
    seed : int
        Of the folds and the bootstrap.
    progress : callable, optional
        Called with what is being done, how much is done, and of how much.

    Raises
    ------
    UsageError
        If no item has a label.
    InvalidInputError
        If there is too little to learn from.
    """
    weights = {labels: 1.0} if isinstance(labels, str) else dict(labels)
    for name in weights:
        if name not in ("product_id", *catalog.manifest.fields):
            fields = ", ".join(("product_id", *catalog.manifest.fields))
            raise UsageError(name, "no item has such a field to learn from", f"there are {fields}")
    progress("reading embeddings", 0, 1)
    items, embeddings = read_all(catalog)
    values = {name: [item.label(name) for item in items] for name in weights}
    if "category" in catalog.manifest.fields and "category" not in weights:
        categories = [item.label("category") for item in items]
        if not any(isinstance(category, list) for category in categories):
            values["category"] = categories
    learned = partial(
        learn,
        embeddings,
        products=[item.product_id for item in items],
        metric=catalog.manifest.metrics[0],
        seed=seed,
        progress=progress,
    )
    if clicks is None:
        return learned(values, weights=weights)
    if len(clicks) < FEWEST_PRODUCTS:
        problem = f"too few to learn from: {len(clicks)} groups of items that shoppers follow together"
        raise InvalidInputError(CLICKS, problem, f"tuning needs {FEWEST_PRODUCTS}")
    group = {item_id: number for number, ids in enumerate(clicks) for item_id in ids}
    followed = values | {CLICKS: [group.get(item.id) for item in items]}
    tuning = learned(followed, weights=weights | {CLICKS: CLICKS_WEIGHT}, rival=weights)
    return tuning if tuning.clicks_help else replace(learned(values, weights=weights), over=tuning.over)


def parse_labels(texts: Sequence[str]) -> dict[str, float]:
    """Read labels with weights, as the command line writes them: ``["product_id", "category:0.3"]``.

    Raises
    ------
    UsageError
        If a weight is no number above 0, or a label is given twice.

    Examples
    --------
    >>> parse_labels(["product_id", "category:0.3"])
    {'product_id': 1.0, 'category': 0.3}
    """
    labels: dict[str, float] = {}
    for text in texts:
        name, colon, weight = text.rpartition(":")
        name = name if colon else text
        if name in labels:
            raise UsageError("--label", f"{name} is given twice")
        try:
            labels[name] = float(weight) if colon else 1.0
        except ValueError:
            raise UsageError(
                text, "is no label with a weight", f"write FIELD or FIELD:WEIGHT, such as {name}:0.3"
            ) from None
    return labels


def undo(catalog: Catalog, *, alone: Alone = nullcontext, progress: Progress = silent) -> None:
    """Go back to the search as the encoder made it; `alone` as for `Catalog.use_whitening`.

    Raises
    ------
    UsageError
        If the catalogue is not tuned.
    """
    if catalog.manifest.tuning is None:
        raise UsageError(catalog.path, "is not tuned, there is nothing to undo")
    catalog.use_whitening(None, alone=alone, progress=progress)


def learn(
    embeddings: NDArray[np.float32],
    labels: Mapping[str, Sequence[Hashable]],
    *,
    weights: Mapping[str, float] | None = None,
    rival: Mapping[str, float] | None = None,
    products: Sequence[Hashable] | None = None,
    metric: Metric = "cosine",
    seed: int = 0,
    progress: Progress = silent,
) -> Tuning:
    """Learn a whitening from photos, and measure what it gains on products that it has not seen.

    Parameters
    ----------
    embeddings : (n, d) array of float32
        Raw embeddings.
    labels : mapping of str to sequence of n values
        What gains are measured by; None where a photo has no such label.
    weights : mapping of str to float, optional
        The labels to learn from; the first of `labels` alone unless given. Its first decides.
    rival : mapping of str to float, optional
        Other weights: what is learned is compared with what they teach, too. The first label is the same.
    products : sequence of n values, optional
        Photos with the same value are never on both sides of a split; where it is None, and where it is not
        given, that holds for the first label.
    metric : {"cosine", "euclidean", "manhattan"}
        What gains are measured by.
    seed : int
        Of the folds and the bootstrap: the same gives the same.
    progress : callable, optional
        Called with what is being done, how much is done, and of how much.

    Returns
    -------
    Tuning

    Raises
    ------
    InvalidInputError
        If there is too little to learn from.
    """
    started = time.perf_counter()
    learned = dict(weights) if weights is not None else {next(iter(labels)): 1.0}
    _check_weights(learned, labels)
    codes = {name: codes_of(values, name) for name, values in labels.items()}
    first = next(iter(learned))
    groups = _groups(codes[first], products)
    several = int(np.count_nonzero(np.bincount(codes[first][codes[first] >= 0]) > 1))
    if several < FEWEST_PRODUCTS:
        raise InvalidInputError(
            first,
            f"too little to learn from: {several} values are on two photos or more, tuning needs "
            f"{FEWEST_PRODUCTS}",
        )
    if not np.isfinite(embeddings).all():
        raise DamagedError("embeddings", "some hold NaN or infinity", "index these photos again")
    study, *others = (
        _Study(embeddings, codes, dict(one), groups, rng=np.random.default_rng(seed), progress=progress)
        for one in (learned, *([] if rival is None else [rival]))
    )
    gains, over = study.prove(metric, seed, *others)
    setting, basis, root = study.learn(frozenset())
    return Tuning(
        whitening=w.whitening(study.prepared, basis, root),
        setting=setting,
        labels=learned,
        gains=gains,
        metric=metric,
        photos=int(np.count_nonzero(codes[first] >= 0)),
        products=several,
        seconds=time.perf_counter() - started,
        over=over,
    )


def codes_of(values: Sequence[Hashable], name: str) -> Codes:
    """Return the classes of photos as numbers ``(n,)``; -1 where a value is None or empty.

    Raises
    ------
    UsageError
        If a value is a list.
    """
    numbers: dict[Hashable, int] = {}
    if any(isinstance(value, list) for value in values):
        raise UsageError(name, "holds lists", "tuning needs a label with one value an item")
    return np.array(
        [-1 if value is None or value == "" else numbers.setdefault(value, len(numbers)) for value in values],
        np.int64,
    )


class _Study:
    """Photos dealt into folds, and what cross-validation over them takes."""

    def __init__(
        self,
        embeddings: NDArray[np.float32],
        codes: dict[str, Codes],
        weights: dict[str, float],
        groups: Codes,
        *,
        rng: np.random.Generator,
        progress: Progress,
    ) -> None:
        self._progress, self._done = progress, 0
        self._embeddings, self._codes, self._groups = embeddings, codes, groups
        self._weights, self._first = list(weights.values()), codes[next(iter(weights))]
        self.prepared = w.centred(embeddings)
        self._folds = _deal(groups, self._first, rng)
        self._moments = [
            w.moments_of(self.prepared.rows[rows], [codes[name][rows] for name in weights])
            for rows in self._folds
        ]
        self._bases: dict[frozenset[int], tuple[w.Basis, NDArray[np.float64]]] = {}
        self._tried = [_whole_groups(rows, groups, _CHOOSING, rng) for rows in self._folds]
        self._asked = [_whole_groups(rows, groups, _PROVING, rng) for rows in self._folds]

    def prove(self, metric: Metric, seed: int, *rivals: _Study) -> list[dict[str, list[Difference]]]:
        """Measure the gain on each fold with what is learned from the others.

        First that over the embeddings as they are, then that over what a rival of the same folds learns.
        """
        measured: list[dict[str, list[_Values]]] = [
            {name: [] for name in self._codes} for _ in range(2 + len(rivals))
        ]
        for fold, rows in enumerate(self._folds):
            queries = np.flatnonzero(np.isin(rows, self._asked[fold]))
            tuned = [one._tuned(fold, rows) for one in (self, *rivals)]
            for vectors, values in zip((*tuned, self._embeddings[rows]), measured, strict=True):
                for name, codes in self._codes.items():
                    values[name].append(_measure(vectors, codes[rows], queries, metric))
            self._step()
        clusters = self._groups[np.concatenate(self._asked)].tolist()
        after, *others = measured
        gains = [
            {
                name: paired_differences(
                    _joined(before[name]), _joined(after[name]), clusters=clusters, seed=seed
                )
                for name in self._codes
                if any(np.isfinite(values["map"]).any() for values in before[name])
            }
            for before in reversed(others)
        ]
        return gains if rivals else [*gains, {}]

    def _tuned(self, fold: int, rows: Codes) -> NDArray[np.float32]:
        """Return photos of a fold as what is learned from the other folds makes them."""
        _, basis, root = self.learn(frozenset({fold}))
        return _whitened(self._coordinates(rows, basis), root)

    def learn(self, aside: frozenset[int]) -> tuple[Setting, w.Basis, NDArray[np.float64]]:
        """Choose a setting by cross-validation over the folds that are not set aside, and learn with it."""
        folds = [fold for fold in range(FOLDS) if fold not in aside]
        settings = self._settings()
        precisions: list[NDArray[np.float64]] = []
        for fold in folds:
            rows = self._tried[fold]
            basis, within = self._learned(aside | {fold})
            coordinates = self._coordinates(rows, basis)
            tried = (_whitened(coordinates, _root(within, setting)) for setting in settings)
            precisions.append(np.stack([_average_precision(one, self._first[rows]) for one in tried]))
            self._step()
        groups = self._groups[np.concatenate([self._tried[fold] for fold in folds])]
        setting = _choose(settings, np.concatenate(precisions, axis=1), groups)
        basis, within = self._learned(aside)
        return setting, basis, _root(within, setting)

    def _step(self) -> None:
        self._done += 1
        self._progress("learning", self._done, FOLDS * FOLDS + FOLDS)  # 5 x (4 + 1) to prove, 5 to choose

    def _settings(self) -> list[Setting]:
        """Return what is tried: dimensions beyond what the photos span would all be the same."""
        reach = self.prepared.rows.shape[1]
        dimensions = [d for d in DIMENSIONS if d < reach] or [min(DIMENSIONS)]
        return [Setting(dimension, ridge) for dimension in dimensions for ridge in RIDGES]

    def _learned(self, aside: frozenset[int]) -> tuple[w.Basis, NDArray[np.float64]]:
        """Return the directions of the other folds and their covariance within classes."""
        if aside not in self._bases:
            moments = [own for fold, own in enumerate(self._moments) if fold not in aside]
            summed = sum(moments[1:], start=moments[0])
            basis = w.principal_basis(summed, max(DIMENSIONS))
            self._bases[aside] = basis, w.within_of(summed, basis, self._weights)
        return self._bases[aside]

    def _coordinates(self, rows: Codes, basis: w.Basis) -> NDArray[np.float32]:
        directions = basis.directions.astype(np.float32)
        return (self.prepared.rows[rows] - basis.mean.astype(np.float32)) @ directions


_Values = dict[str, NDArray[np.float64]]
_NONE = np.empty(0, np.int64)


def _root(within: NDArray[np.float64], setting: Setting) -> NDArray[np.float64]:
    size = setting.dimension
    return w.root_of(within[:size, :size], setting.ridge)


def _whitened(coordinates: NDArray[np.float32], root: NDArray[np.float64]) -> NDArray[np.float32]:
    return unit(coordinates[:, : len(root)] @ root.T.astype(np.float32))


def _average_precision(vectors: NDArray[np.float32], codes: Codes) -> NDArray[np.float64]:
    """Search a few photos of length 1 among themselves by cosine; NaN for a photo that has no other."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, :-1]
    relevant = (codes[ranked] == codes[:, None]) & (codes[:, None] >= 0)
    return measures.average_precision(relevant, np.count_nonzero(relevant, axis=1))


def _measure(vectors: NDArray[np.float32], codes: Codes, queries: Codes, metric: Metric) -> _Values:
    """Search photos among themselves: the value of each query, NaN where it has none."""
    relevant = [np.flatnonzero(codes == code) if (code := codes[row]) >= 0 else _NONE for row in queries]
    rankings = relevant_ranks(
        vectors[queries],
        vectors,
        metric,
        relevant=relevant,
        first=[_NONE] * len(queries),
        exclude=queries,
    )
    values = {name: np.full(len(queries), np.nan) for name in ("map", *(f"precision@{k}" for k in _AT))}
    for query, ranking in enumerate(rankings):
        ranks = ranking.ranks
        if len(ranks):
            values["map"][query] = measures.average_precision_of_ranks(ranks, len(ranks))
            for k in _AT:
                values[f"precision@{k}"][query] = np.count_nonzero(ranks <= k) / k
    return values


def _joined(parts: Sequence[_Values]) -> _Values:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _choose(settings: Sequence[Setting], values: NDArray[np.float64], groups: Codes) -> Setting:
    """Choose by the rule of one standard error.

    Parameters
    ----------
    settings : sequence of s Settings
    values : (s, q) array of float
        Average precision of each query, NaN where it has none.
    groups : (q,) array of int
        The product of each query.
    """
    asked = np.isfinite(values[0])
    values, groups = values[:, asked], groups[asked]
    _, member = np.unique(groups, return_inverse=True)
    means = values.mean(axis=1)
    best = int(np.argmax(means))
    good = []
    for setting, own in zip(settings, values, strict=True):
        behind = values[best] - own
        # queries of one product are not independent: the error is that of the products' sums
        off = np.bincount(member, weights=behind - behind.mean())
        error = float(np.sqrt(np.sum(off**2))) / len(behind)
        if behind.mean() <= error:
            good.append(setting)
    return max(good, key=lambda setting: (setting.ridge, -setting.dimension))


def _groups(codes: Codes, products: Sequence[Hashable] | None) -> Codes:
    """Return the number of what must not be split: the product, else the class, else the photo."""
    owners = [("class", code) if code >= 0 else ("photo", row) for row, code in enumerate(codes.tolist())]
    if products is None:
        return codes_of(owners, "groups")
    pairs = zip(products, owners, strict=True)
    named = [owner if product is None else ("product", product) for product, owner in pairs]
    return codes_of(named, "groups")


def _deal(groups: Codes, codes: Codes, rng: np.random.Generator) -> list[Codes]:
    """Deal groups into folds at random, those that can be queries evenly: the rows of each fold."""
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    of_class = np.bincount(codes[codes >= 0], minlength=1)
    asks = np.zeros(len(sizes), bool)
    labelled = codes >= 0
    asks[member[labelled]] = of_class[codes[labelled]] > 1
    shuffled = rng.permutation(len(sizes))
    shuffled = shuffled[np.argsort(~asks[shuffled], kind="stable")]
    fold = np.empty(len(sizes), np.int64)
    fold[shuffled] = np.arange(len(sizes)) % FOLDS
    return [np.flatnonzero(fold[member] == number) for number in range(FOLDS)]


def _whole_groups(rows: Codes, groups: Codes, limit: int, rng: np.random.Generator) -> Codes:
    """Draw whole groups at random until there are `limit` photos; ascending rows."""
    if len(rows) <= limit:
        return rows
    names, member, sizes = np.unique(groups[rows], return_inverse=True, return_counts=True)
    shuffled = rng.permutation(len(names))
    enough = 1 + int(np.searchsorted(np.cumsum(sizes[shuffled]), limit))
    return rows[np.isin(member, shuffled[:enough])]


def _check_weights(weights: Mapping[str, float], labels: Mapping[str, Sequence[Hashable]]) -> None:
    for name, weight in weights.items():
        if name not in labels or all(value is None or value == "" for value in labels[name]):
            raise UsageError(name, "no item has it", "tuning needs a label that several photos share")
        if not (np.isfinite(weight) and weight > 0):
            raise UsageError(name, f"its weight must be above 0, not {weight}")
