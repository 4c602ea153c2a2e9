"""The map: what an embedding goes through before it is compared.

Without a tuning and without kinds, embeddings are compared as they are. Else, with ``v`` what is compared of
the photo (its embedding, or what the tuning makes of it; of length 1), ``p`` the chances of its kind
(`serupa.garments.head`) and ``s`` the share of the kind in a similarity, a photo becomes

* for cosine and Euclidean ``x = (sqrt(1 - s) v, sqrt(s) sqrt(p))``. Both parts are of length 1, so x is
  too, and the cosine of two photos is ``(1 - s) cos(v, v') + s BC(p, p')``: the look, and how far the two
  agree on the kind, by the coefficient of Bhattacharyya ``BC(p, p') = sum_k sqrt(p_k p'_k)`` [1]_,
  weighted. It is 1 for the photo itself, and ``similarity = 1 - distance`` holds. The Euclidean distance
  is ``sqrt(2 - 2 cos)``: the same order.
* for Manhattan ``x = (v, c p)``: to the distance of the photos comes c times twice the total variation of
  their kinds, ``sum_k |p_k - p'_k|``. ``c = 0.35 sqrt(m) s / (1 - s)`` for m values makes it weigh about
  as much, by measurement: the Manhattan distance of embeddings is some ``sqrt(m) / 2`` times the Euclidean
  one.

So one search of the engine finds what is of the kind and alike: nothing is ranked again afterwards. A query
without a preference has zeros for its kind. What that adds to every item's distance is the same for all of
them, and `Mapping.without_kind` takes it off again: the distances are those of the look alone.

Photos that people take of their own clothes have more in common with each other than with a shop's, and a
few of a shop's photos are near to all of them. So from the embedding u of such a query, of length 1, the mean
of such photos of its kind is taken off first (`serupa.garments.head.KindHead.centre`), as far as the items
are not such photos themselves; with a tuning, what the tuning makes of the two. Items stay as they are, and
so do queries like them.

References
----------
.. [1] A. Bhattacharyya, "On a measure of divergence between two statistical populations defined by their
   probability distributions", Bulletin of the Calcutta Mathematical Society 35, 1943.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Attributes
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.vectors import Metric, unit

if TYPE_CHECKING:
    from serupa.catalog.own import OwnItems
    from serupa.garments.head import KindHead
    from serupa.learning.whitening import Whitening

Rows = NDArray[np.float32]
Doubles = NDArray[np.float64]

_SURELY_FLAT = 0.99  # above it, what worn photos of the shop teach cannot matter


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What photos that search are taken for.

    Parameters
    ----------
    chances : (n, K) array of float32
        The chance of each kind.
    prefer : (n,) array of bool
        Whether the kind counts.
    flat : (n,) array of float32
        The chance that the photo is of the flat world, and the items are not.
    centre : (n, d) array of float32
        Taken off the unit-length embedding.
    """

    chances: Rows
    prefer: NDArray[np.bool_]
    flat: Rows
    centre: Rows


@dataclass(frozen=True, slots=True, eq=False)
class KindPart:
    """How kinds count in a catalogue.

    Parameters
    ----------
    names : tuple of str
        The kinds that searched vectors have a value for, K.
    share : float
        The share of the kind in a similarity, above 0 and below 1.
    load : callable
        Gives the head that tells kinds from embeddings, when it is first needed.
    own : OwnItems, optional
        What the catalogue's items teach.
    """

    names: tuple[str, ...]
    share: float
    load: Callable[[], KindHead]
    own: OwnItems | None = None

    @property
    def head(self) -> KindHead:
        """What tells kinds from embeddings."""
        return self.load()

    def asked(self, embeddings: Rows, kind: str | None = None) -> Asked:
        """Work out what photos with these raw embeddings ``(n, d)`` show.

        Parameters
        ----------
        embeddings : (n, d) array of float32
        kind : str, optional
            What they are known to show.

        Raises
        ------
        UsageError
            If there is no such kind.
        """
        head = self.head
        flat, items_flat = head.flat(embeddings), 0.0 if self.own is None else self.own.flat()
        apart = np.float32(1 - items_flat) * flat
        prefer = np.ones(len(embeddings), bool)
        if kind is not None:
            chances = np.tile(head.one_kind(kind), (len(embeddings), 1))
            return Asked(chances, prefer, apart, head.centre(chances, apart))
        chances = head.probabilities(embeddings)
        if (flat < _SURELY_FLAT).any():
            shop = self.own.head() if self.own is not None and items_flat < 0.5 else None
            if shop is None:
                prefer = flat >= 0.5  # a guess that is often wrong would do more harm than good
            else:
                weight = flat[:, None]
                chances = weight * chances + (1 - weight) * shop.probabilities(embeddings)
        return Asked(chances, prefer, apart, head.centre(chances, apart))


class VectorMap:
    """What raw embeddings go through before they are compared: a tuning, kinds, both or nothing.

    Parameters
    ----------
    encoded : int
        Length of a raw embedding, d.
    whitened : int, optional
        Length of what the tuning makes of it, where there is one.
    load : callable, optional
        Gives the tuning when it is first needed: raw embeddings can be had without it.
    kinds : KindPart, optional
        How kinds count, where they do.
    """

    def __init__(
        self,
        encoded: int,
        whitened: int | None = None,
        load: Callable[[], Whitening] | None = None,
        kinds: KindPart | None = None,
    ) -> None:
        self.encoded = encoded
        self.looks = encoded if whitened is None else whitened
        self.kinds = kinds
        self._load = load

    @property
    def dimension(self) -> int:
        """Length of what is compared: the look and, where kinds count, the kind."""
        return self.looks + (0 if self.kinds is None else len(self.kinds.names))

    @property
    def is_identity(self) -> bool:
        """Whether embeddings are compared as they are."""
        return self._load is None and self.kinds is None

    @property
    def loses(self) -> bool:
        """Whether raw embeddings cannot be had from what is compared, and are kept beside it."""
        return self._load is not None

    @cached_property
    def whitening(self) -> Whitening | None:
        """The tuning; None where there is none."""
        return None if self._load is None else self._load()

    def of_items(
        self, embeddings: Rows, attributes: Sequence[Attributes[str, Any]], metrics: Sequence[Metric]
    ) -> dict[Metric, Rows]:
        """Return the searched vectors ``(n, m)`` of items, by metric, from raw embeddings ``(n, d)``."""
        chances = None if self.kinds is None else self.kinds.head.of_items(embeddings, attributes)
        look = self._look(embeddings)
        return {metric: self._joined(look, chances, metric) for metric in metrics}

    def of_queries(self, embeddings: Rows, metric: Metric, asked: Asked | None = None) -> Rows:
        """Return the searched vectors ``(n, m)`` of photos that search.

        Parameters
        ----------
        embeddings : (n, d) array of float32
            Raw.
        metric : {"cosine", "euclidean", "manhattan"}
        asked : Asked, optional
            What they are taken for; without it they are compared by their look alone.
        """
        if asked is None or self.kinds is None:
            return self._joined(self._look(embeddings), None, metric)
        chances = np.where(asked.prefer[:, None], asked.chances, np.float32(0))
        return self._joined(self._look(embeddings, asked), chances, metric)

    def looks_of(self, embeddings: Rows) -> Rows:
        """Return the part that tells the look ``(n, looks)`` of raw embeddings ``(n, d)``."""
        return self._look(embeddings)

    def apply_to_cells(
        self, cells: Doubles, metric: Metric, chances: Rows | None = None, asked: Asked | None = None
    ) -> Doubles:
        """Map cells ``(n, d)`` so that their mean ``(m,)`` is what their mean ``(d,)`` is compared as.

        With its norms fixed the map is affine: the mean of mapped cells is the mapped mean. Every cell has
        the kind of the whole photo.

        Parameters
        ----------
        cells : (n, d) array of float64
        metric : {"cosine", "euclidean", "manhattan"}
        chances : (K,) array of float32, optional
            The kind of an item; None has no preference.
        asked : Asked, optional
            What a query is taken for.
        """
        if self.is_identity:
            return cells
        norm = float(np.linalg.norm(cells.mean(axis=0)))
        if norm:
            shift, flat = (asked.centre[0], float(asked.flat[0])) if asked is not None else (0.0, 0.0)
            cells = cells / norm - shift
            if self.whitening is not None:
                cells = cells - (1 - flat) * self.whitening.mean
                cells = cells @ self.whitening.projection.T.astype(np.float64)
            norm = float(np.linalg.norm(cells.mean(axis=0)))
            cells = cells / norm if norm else np.zeros_like(cells)
        else:
            cells = np.zeros((len(cells), self.looks))
        if self.kinds is None:
            return cells
        if asked is not None:
            chances = asked.chances[0] if asked.prefer[0] else None
        kind = self._kind(None if chances is None else chances[None], 1, metric)
        return np.concatenate([self._weight(metric) * cells, np.tile(kind, (len(cells), 1))], axis=1)

    def embedding(self, vector: Rows, norm: float, metric: Metric) -> Rows:
        """Return the raw embedding ``(d,)`` of length ``norm`` from the searched vector of an item.

        Only where the map does not lose it.
        """
        if self.kinds is not None:
            return np.float32(norm / self._weight(metric)) * vector[: self.looks]
        return np.float32(norm) * vector if metric == "cosine" else vector

    def kind_of(self, vector: Rows, metric: Metric) -> Rows:
        """Return the chances ``(K,)`` of kinds in the searched vector of an item."""
        kind = vector[self.looks :]
        if metric == "manhattan":
            return kind / np.float32(self._scale() or 1.0)
        return kind**2 / np.float32(self.kinds.share if self.kinds is not None else 1.0)

    def with_kind(self, vector: Rows, metric: Metric, chances: Rows | None) -> Rows:
        """Return a searched vector ``(m,)`` with these chances ``(K,)`` of kinds, or with no preference."""
        if self.kinds is None:
            return vector
        kind = self._kind(None if chances is None else chances[None], 1, metric)
        return np.concatenate([vector[: self.looks], kind[0]])

    def without_kind(self, distance: float, metric: Metric) -> float:
        """Return the distance of the look alone from one to a query that has no preference."""
        if self.kinds is None:
            return distance
        share = self.kinds.share
        if metric == "cosine":
            # brought to length 1, the query has sqrt(1 - s) times the cosine of the look
            return max(0.0, 1 - (1 - distance) / math.sqrt(1 - share))
        if metric == "euclidean":
            return math.sqrt(max(0.0, distance**2 - share) / (1 - share))
        return max(0.0, distance - self._scale())

    def _look(self, embeddings: Rows, asked: Asked | None = None) -> Rows:
        if asked is None:
            if self.whitening is not None:
                return self.whitening.apply(embeddings)
            return embeddings if self.kinds is None else unit(embeddings)
        rows = unit(embeddings) - asked.centre
        if self.whitening is not None:
            rows -= (1 - asked.flat[:, None]) * self.whitening.mean
            rows = rows @ self.whitening.projection.T
        return unit(rows)

    def _joined(self, look: Rows, chances: Rows | None, metric: Metric) -> Rows:
        if self.kinds is None:
            return look
        kind = self._kind(chances, len(look), metric)
        return np.concatenate([np.float32(self._weight(metric)) * look, kind], axis=1)

    def _kind(self, chances: Rows | None, count: int, metric: Metric) -> Rows:
        names, share = (self.kinds.names, self.kinds.share) if self.kinds is not None else ((), 0.0)
        if chances is None:
            return np.zeros((count, len(names)), np.float32)
        if metric == "manhattan":
            return np.float32(self._scale()) * chances
        kind: Rows = np.sqrt(np.float32(share) * chances)
        return kind

    def _weight(self, metric: Metric) -> float:
        """Return the length of the part that tells the look."""
        if self.kinds is None or metric == "manhattan":
            return 1.0
        return math.sqrt(1 - self.kinds.share)

    def _scale(self) -> float:
        """Return the weight c of the kind in a Manhattan distance."""
        share = 0.0 if self.kinds is None else self.kinds.share
        return 0.35 * math.sqrt(self.looks) * share / (1 - share)
