"""What a catalogue's own items teach of kinds: how its photos are taken, and what its worn photos show."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from serupa.filters import Condition
from serupa.vectors import unit

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.garments.head import ShopHead

_T = TypeVar("_T")

_LOOKED_AT = 256  # items whose world is looked at
_CATEGORIES = 60  # categories, the largest first, that the shop's own head learns from
_ITEMS = 40  # items of each
_FEWEST = 5.0  # items that a kind must have to be told from another


class _Kept(Generic[_T]):
    """A value that takes a while to work out. Nobody waits for a newer one where there is one already."""

    def __init__(self, work: Callable[[], _T]) -> None:
        self._work = work
        self._value: tuple[_T] | None = None
        self._lasts_until = 0.0
        self._lock = Lock()
        self.is_stale = True
        self.rests = 0.0

    def __call__(self) -> _T:
        value = self._value
        if value is not None and (not self.is_stale or time.monotonic() < self._lasts_until):
            return value[0]
        if not self._lock.acquire(blocking=value is None or not self.rests):
            return value[0]  # type: ignore[index]
        try:
            if self._value is None or self.is_stale:
                started = time.monotonic()
                self.is_stale = False  # before: what changes meanwhile counts
                try:
                    self._value = (self._work(),)
                except BaseException:
                    self.is_stale = True
                    raise
                ended = time.monotonic()
                self._lasts_until = ended + self.rests * (ended - started)
            return self._value[0]
        finally:
            self._lock.release()


class OwnItems:
    """What a few hundred items teach; worked out when it is first asked for, and after `forget` again.

    Parameters
    ----------
    catalog : Catalog
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._head = _Kept(self._learned)
        self._looks = _Kept(self._look)

    def forget(self) -> None:
        """Work everything out again: the items have changed."""
        self._head.is_stale = self._looks.is_stale = True

    def rest(self, times: float) -> None:
        """Keep what was worked out for so many times as long as that took, though items change."""
        self._head.rests = self._looks.rests = times

    def head(self) -> ShopHead | None:
        """Return the head that the items' categories teach; None where they name fewer than two kinds."""
        return self._head()

    def flat(self) -> float:
        """Return 1 where most of the items' photos are of the flat world, else 0."""
        return self._looks()[0]

    def usual_look(self) -> float:
        """Return how alike 19 of 20 items and the nearest of another product are at least: a cosine."""
        return self._looks()[1]

    def _look(self) -> tuple[float, float]:
        schema, store = self._catalog.schema, self._catalog.store
        points = next(iter(store.scroll(vectors=(schema.embedding_name,), batch=_LOOKED_AT)), [])
        if not points or schema.map.kinds is None:
            return 0.0, -1.0
        embeddings = np.stack([schema.embedding(point) for point in points])
        flat = float((schema.map.kinds.head.flat(embeddings) > 0.5).mean() > 0.5)
        looks = unit(schema.map.of_queries(embeddings, "cosine")[:, : schema.map.looks])
        products = np.array([str(point.payload["product_id"] or point.id) for point in points])
        alike = np.where(products[:, None] == products, -1.0, looks @ looks.T)
        return flat, float(np.quantile(alike.max(axis=1), 0.05))

    def _learned(self) -> ShopHead | None:
        from serupa.garments.head import learn_shop_head

        schema, store = self._catalog.schema, self._catalog.store
        kinds = schema.map.kinds
        if kinds is None or self._catalog.manifest.fields.get("category") != "text":
            return None
        rows: list[NDArray[np.float32]] = []
        known: list[Mapping[str, Any]] = []
        for value, _ in store.facet("category", (), _CATEGORIES):
            if kinds.head.allowed({"category": value}) is None:
                continue
            where = (Condition("category", any_of=(value,)),)
            points = next(iter(store.scroll(where, vectors=(schema.embedding_name,), batch=_ITEMS)), [])
            rows += [schema.embedding(point) for point in points]
            known += [point.payload["attributes"] for point in points]
        if not rows:
            return None
        embeddings = np.stack(rows)
        chances = kinds.head.of_items(embeddings, known)
        if np.count_nonzero(chances.sum(axis=0) >= _FEWEST) < 2:
            return None
        return learn_shop_head(embeddings, chances)
