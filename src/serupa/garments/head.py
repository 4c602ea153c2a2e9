"""Tells the kind of garment, and the world that a photo is of, from an embedding.

A photo's world is how it was taken: ``flat``, which is how people photograph their own clothes (on a bed,
a hanger, a door), or ``worn``, on a person, as shops do. With ``u`` an embedding of length 1, the chance
of each world is ``p(w | u) = softmax(A u + c)``, and that of each kind ``p(k | u) = softmax(t(u) (W u +
b))`` where the inverse temperature ``t(u) = sum_w p(w | u) t_w`` makes the chances true in each world, on
photos of people and shops that the head has not seen [1]_. Worn photos show more than the garment in
question: there a head learned from other shops knows little, and `ShopHead`, learned from a catalogue's
own items, takes its place.

A head is a few rows of numbers, learned by ``tools/fit_kinds.py`` for one encoder's weights.

References
----------
.. [1] C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural networks", ICML 2017.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from serupa.errors import DamagedError, UsageError
from serupa.garments.kinds import BY_NAME, judged_as, kinds_of
from serupa.vectors import unit

if TYPE_CHECKING:
    from serupa.encoders import Card

Rows = NDArray[np.float32]

UNSURE = 0.5
"""Chance below which a kind is not named."""

_FOLDER = Path(__file__).with_name("heads")
_ARRAYS = ("weight", "bias", "world_weight", "world_bias", "temperatures", "centres")
_RIDGE = 1.0  # of the shop's own head, as a multiple of the mean squared length of a centred row
_SHARPNESS = 6.0  # from the shop's own scores, which are near 0 and 1, to chances


@dataclass(frozen=True, slots=True)
class KindGuess:
    """The kind of garment that a photo shows.

    Parameters
    ----------
    name : str or None
        None is "unknown": nothing is likely enough.
    probability : float
        The chance of the likeliest kind, 0 to 1.
    """

    name: str | None
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class KindHead:
    """A head for one encoder. Find the one of an encoder with `head_of`.

    Parameters
    ----------
    kinds : tuple of str
        The K kinds that it has learned, of `serupa.garments.kinds.NAMES`.
    weight : (K, d) array of float32
    bias : (K,) array of float32
    world_weight : (2, d) array of float32
    world_bias : (2,) array of float32
        Of the worlds, flat and worn.
    temperatures : (2,) array of float32
        Inverse temperatures of the worlds; larger is surer.
    centres : (K, d) array of float32
        For each kind, the mean of the unit-length embeddings of flat photos; see `centre`.
    share : float
        How much of a similarity is the kind's unless a catalogue says otherwise, 0 to 1.
    """

    kinds: tuple[str, ...]
    weight: Rows
    bias: Rows
    world_weight: Rows
    world_bias: Rows
    temperatures: Rows
    centres: Rows
    share: float

    def __post_init__(self) -> None:
        count, dimension = len(self.kinds), self.weight.shape[-1]
        shapes = tuple(getattr(self, name).shape for name in _ARRAYS)
        rows = (count, dimension)
        if shapes != (rows, (count,), (2, dimension), (2,), (2,), rows) or count < 2:
            raise ValueError(f"the parts of a head do not fit: {shapes}")
        if not all(np.isfinite(getattr(self, name)).all() for name in _ARRAYS):
            raise ValueError("a head holds NaN or infinity")
        if not set(self.kinds) <= BY_NAME.keys() or not 0.0 <= self.share < 1.0:
            raise ValueError("a head speaks of kinds or a share that cannot be")

    @property
    def dimension(self) -> int:
        """How many values an embedding has, d."""
        return int(self.weight.shape[1])

    def probabilities(self, embeddings: Rows) -> Rows:
        """Return the chance of each kind ``(n, K)`` from raw embeddings ``(n, d)``; rows add up to 1."""
        rows = unit(embeddings)
        flat = self._flat(rows)
        sharpness = flat * self.temperatures[0] + (1 - flat) * self.temperatures[1]
        return _softmax(sharpness[:, None] * (rows @ self.weight.T + self.bias))

    def flat(self, embeddings: Rows) -> Rows:
        """Return the chance ``(n,)`` that photos are of the flat world, from raw embeddings ``(n, d)``."""
        return self._flat(unit(embeddings))

    def centre(self, chances: Rows, flat: Rows) -> Rows:
        """Return what is taken off unit-length embeddings of queries before they are compared, ``(n, d)``.

        The mean of flat photos of the query's kind, as far as the query is flat itself; ``chances`` is
        ``(n, K)``, ``flat`` is ``(n,)``.
        """
        return np.asarray(flat[:, None] * (chances @ self.centres), np.float32)

    def _flat(self, rows: Rows) -> Rows:
        return _softmax(rows @ self.world_weight.T + self.world_bias)[:, 0]

    def guess(self, embedding: Rows, *, unsure: float = UNSURE) -> KindGuess:
        """Name the kind that a photo shows from its raw embedding ``(d,)``."""
        return self.named(self.probabilities(embedding[None])[0], unsure=unsure)

    def named(self, chances: Rows, *, unsure: float = UNSURE) -> KindGuess:
        """Name the likeliest kind of chances ``(K,)``."""
        best = int(chances.argmax())
        probability = float(chances[best])
        return KindGuess(self.kinds[best] if probability >= unsure else None, probability)

    def allowed(self, attributes: Mapping[str, Any]) -> NDArray[np.bool_] | None:
        """Return which kinds ``(K,)`` an item's category leaves; None where it says nothing of them.

        Kinds that the head has not learned stand for those that look like them; a category that names only
        others says nothing, and the photo decides.
        """
        category, name = attributes.get("category"), attributes.get("name")
        texts = category if isinstance(category, list) else [category]
        named = {kind for text in texts if isinstance(text, str) for kind in kinds_of(text, str(name or ""))}
        judged = {judged_as(kind, self.kinds) for kind in named}
        mask = np.array([kind in judged for kind in self.kinds])
        return mask if mask.any() else None

    def of_items(self, embeddings: Rows, attributes: Sequence[Mapping[str, Any]]) -> Rows:
        """Return the chance of each kind ``(n, K)`` of items: their category's word first, then the photo's.

        Among the kinds that a category leaves, the photo decides: "Pants & Shorts" is one of the two.
        """
        chances = self.probabilities(embeddings).astype(np.float64)
        for row, known in enumerate(attributes):
            mask = self.allowed(known)
            if mask is not None:
                kept = np.where(mask, chances[row] + 1e-9, 0.0)
                chances[row] = kept / kept.sum()
        return chances.astype(np.float32)

    def one_kind(self, kind: str) -> Rows:
        """Return the chances ``(K,)`` of a photo that is known to show a kind.

        Raises
        ------
        UsageError
            If the head knows neither the kind nor one that looks like it.
        """
        judged = judged_as(kind, self.kinds) if kind in BY_NAME else None
        if judged is None:
            raise UsageError(f"kind {kind!r:.40}", "is not known here", f"use one of {', '.join(self.kinds)}")
        return np.array([name == judged for name in self.kinds], np.float32)

    def to_bytes(self) -> bytes:
        """Return the head as the bytes of an .npz file, in half precision."""
        written = io.BytesIO()
        arrays = {name: getattr(self, name).astype(np.float16) for name in _ARRAYS}
        np.savez_compressed(written, kinds=np.array(self.kinds), share=np.float32(self.share), **arrays)
        return written.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Self:
        """Read what `to_bytes` returned; messages call it ``name``.

        Raises
        ------
        DamagedError
            If it is not what was written.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                parts = {part: arrays[part].astype(np.float32) for part in _ARRAYS}
                return cls(tuple(map(str, arrays["kinds"])), **parts, share=float(arrays["share"]))
        except (OSError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile) as error:
            raise DamagedError(name, f"is no head for kinds of garment ({error})", "make it again") from error


def head_of(card: Card, weights_sha256: str) -> KindHead | None:
    """Return the head that was learned for an encoder, or None.

    Heads of the encoders that come with Serupa are found by their weights; one of an encoder of the user's
    own stands beside its model, as ``MODEL.kinds.npz``.

    Raises
    ------
    DamagedError
        If there is one and it cannot be read, or is of another encoder.
    """
    file = head_file(card, weights_sha256, "kinds")
    if file is None:
        return None
    head = _read(file)
    if head.dimension != card.dimension:
        raise DamagedError(file, f"is for embeddings of {head.dimension} values, not {card.dimension}")
    return head


def head_file(card: Card, weights_sha256: str, what: Literal["kinds", "regions"]) -> Path | None:
    """Return the file of an encoder's head: beside a model of the user's own, else in the package."""
    beside = Path(f"{card.weights.file}.{what}.npz")
    own = card.weights.repo is None and card.weights.package is None and beside.is_file()
    file = (
        beside if own else _FOLDER / (weights_sha256[:16] + ("" if what == "kinds" else ".regions") + ".npz")
    )
    return file if file.is_file() else None


@cache
def _read(file: Path) -> KindHead:
    return KindHead.from_bytes(file.read_bytes(), str(file))


@dataclass(frozen=True, slots=True, eq=False)
class ShopHead:
    """Tells the kinds that a shop sells, learned from its own items. Make one with `learn_shop_head`.

    Least squares from centred unit-length embeddings to 1 for an item's kind and 0 for the others, with a
    ridge: for a few hundred photos in a thousand dimensions, as good as logistic regression and exact.

    Parameters
    ----------
    mean : (d,) array of float32
    weight : (d, K) array of float32
    bias : (K,) array of float32
    """

    mean: Rows
    weight: Rows
    bias: Rows

    def probabilities(self, embeddings: Rows) -> Rows:
        """Return the chance of each kind ``(n, K)`` from raw embeddings ``(n, d)``."""
        return _softmax(_SHARPNESS * ((unit(embeddings) - self.mean) @ self.weight + self.bias))


def learn_shop_head(embeddings: Rows, chances: Rows) -> ShopHead:
    """Learn a head from the raw embeddings ``(n, d)`` of items and the chances ``(n, K)`` of their kinds."""
    rows = unit(embeddings).astype(np.float64)
    mean, bias = rows.mean(axis=0), chances.mean(axis=0, dtype=np.float64)
    centred, targets = rows - mean, chances - bias
    ridge = _RIDGE * float((centred**2).sum()) / max(len(rows), 1) + 1e-12
    few = len(rows) <= rows.shape[1]  # the same solution either way; the smaller system is faster
    gram = centred @ centred.T if few else centred.T @ centred
    gram[np.diag_indices_from(gram)] += ridge
    weight = centred.T @ np.linalg.solve(gram, targets) if few else np.linalg.solve(gram, centred.T @ targets)
    return ShopHead(mean.astype(np.float32), weight.astype(np.float32), bias.astype(np.float32))


def digest(head: KindHead) -> str:
    """Return what tells one head from another."""
    return hashlib.sha256(head.to_bytes()).hexdigest()


def _softmax(scores: NDArray[np.floating]) -> Rows:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)
