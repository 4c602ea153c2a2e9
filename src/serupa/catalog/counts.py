"""How many items, or products, have which values: a catalogue's fields as arrays, counted in milliseconds.

The engine counts the values of one field among its points. A shopper chooses among products, not photos, and
sees each field under the conditions on the others, so that no choice leads to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from serupa.catalog.query import conditions_of
from serupa.filters import Condition, Scalar, Where

if TYPE_CHECKING:
    from serupa.catalog import Catalog

By = Literal["item", "product"]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Values:
    """Which item has which value of a text field: pairs, ordered by value and product.

    Parameters
    ----------
    values : tuple
        The values there are, in the order of their texts.
    rows, codes : (pairs,) array of int32
        An item, and the place of its value among `values`.
    starts : (groups,) array
        Where the pairs of each value and product begin.
    """

    values: tuple[Scalar, ...]
    rows: NDArray[np.int32]
    codes: NDArray[np.int32]
    starts: NDArray[np.intp]

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, Scalar]], products: NDArray[np.int32]) -> Self:
        places: dict[Scalar, int] = {}
        flat = [(row, places.setdefault(value, len(places))) for row, value in pairs]
        rows, codes = np.array(flat, np.int32).reshape(-1, 2).T
        values = sorted(places, key=str)
        rank = np.empty(len(values), np.int32)
        rank[[places[value] for value in values]] = np.arange(len(values), dtype=np.int32)
        codes = rank[codes]
        order = np.lexsort((products[rows], codes))
        rows, codes = rows[order], codes[order]
        its = products[rows]
        new = np.ones(len(rows), bool)
        new[1:] = (codes[1:] != codes[:-1]) | (its[1:] != its[:-1])
        return cls(tuple(values), rows, codes, np.flatnonzero(new))

    def count(self, passing: Mask, by: By) -> NDArray[np.intp]:
        """Return how many of those that pass have each value."""
        if not len(self.rows):
            return np.zeros(0, np.intp)
        among = passing[self.rows]
        if by == "item":
            return np.bincount(self.codes[among], minlength=len(self.values))
        kept = np.logical_or.reduceat(among, self.starts)
        return np.bincount(self.codes[self.starts][kept], minlength=len(self.values))

    def having(self, wanted: Iterable[Scalar], items: int) -> Mask:
        """Return which items have one of these values."""
        texts = {str(value).lower() if isinstance(value, bool) else value for value in wanted}
        chosen = np.array([value in texts for value in self.values], bool)
        mask = np.zeros(items, bool)
        mask[self.rows[chosen[self.codes]]] = True
        return mask


@dataclass(frozen=True, slots=True)
class Counts:
    """A catalogue's fields, ready to be counted. Made by `of`; holds what the catalogue held then.

    Parameters
    ----------
    catalog : Catalog
        Asked about conditions on fields that are not counted: ids, and prose.
    ids : tuple of str
    products : (n,) array of int32
        The product of each item; an item without one is a product of its own.
    texts : mapping of str to _Values
    numbers : mapping of str to (n,) array of float64
        NaN where an item has none.
    """

    catalog: Catalog
    ids: tuple[str, ...]
    products: NDArray[np.int32]
    texts: Mapping[str, _Values]
    numbers: Mapping[str, NDArray[np.float64]]

    @classmethod
    def of(cls, catalog: Catalog) -> Self:
        """Read every item of a catalogue."""
        fields = catalog.manifest.fields
        texts: dict[str, list[tuple[int, Scalar]]] = {n: [] for n, kind in fields.items() if kind == "text"}
        numbers: dict[str, dict[int, float]] = {n: {} for n, kind in fields.items() if kind == "number"}
        ids: list[str] = []
        products: list[int] = []
        known: dict[str, int] = {}
        for row, item in enumerate(catalog.items()):
            ids.append(item.id)
            products.append(known.setdefault(item.product_id or f"\0{item.id}", len(known)))
            for name, value in item.attributes.items():
                if name in texts:
                    several: Iterable[Any] = set(value) if isinstance(value, list) else (value,)
                    texts[name] += [(row, _stored(one)) for one in several]
                elif name in numbers and isinstance(value, int | float):
                    numbers[name][row] = float(value)
        own = np.array(products, np.int32)
        return cls(
            catalog,
            tuple(ids),
            own,
            {name: _Values.of(pairs, own) for name, pairs in texts.items()},
            {name: _column(values, len(ids)) for name, values in numbers.items()},
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def product_count(self) -> int:
        """How many products there are."""
        return int(self.products.max(initial=-1)) + 1

    def facets(
        self, where: Where = None, *, by: By = "item", limit: int = 100
    ) -> dict[str, list[tuple[Scalar, int]] | tuple[float, float]]:
        """Return what there is to choose from in every field, under the conditions on the other fields.

        Parameters
        ----------
        where : mapping, sequence of str or filter, optional
            See `serupa.filters.as_filter`.
        by : {"item", "product"}
            What is counted; a product counts once, if one of its items passes with the value.
        limit : int
            Most values of a field.

        Returns
        -------
        dict
            By field, in the catalogue's order: values with their counts, most frequent first; of numbers the
            smallest and the largest. Fields that no item has that passes are left out.

        Raises
        ------
        UsageError
            If the filter is not one of the catalogue.
        """
        masks = [(one.field, self._passing(one)) for one in conditions_of(self.catalog, where)]
        found: dict[str, list[tuple[Scalar, int]] | tuple[float, float]] = {}
        for name in self.catalog.manifest.fields:
            passing = np.ones(len(self), bool)
            for field, mask in masks:
                if field != name:
                    passing &= mask
            if name in self.texts:
                values, counts = self.texts[name].values, self.texts[name].count(passing, by)
                first = np.argsort(-counts, kind="stable")[:limit]
                if counts.any():
                    found[name] = [(values[n], int(counts[n])) for n in first if counts[n]]
            elif name in self.numbers:
                column = self.numbers[name][passing]
                column = column[~np.isnan(column)]
                if len(column):
                    found[name] = float(column.min()), float(column.max())
        return found

    def latest(self, field: str, limit: int) -> list[str]:
        """Return the ids of the items with the largest values of a field, one of each product."""
        rows: NDArray[Any]
        if field in self.numbers:
            column = np.nan_to_num(self.numbers[field], nan=-np.inf)
            rows = np.argsort(-column, kind="stable")[: np.isfinite(column).sum()]
        else:
            rows = self.texts[field].rows[::-1]  # in the order of their texts: dates of ISO 8601
        first: dict[int, str] = {}
        for row in rows:
            first.setdefault(int(self.products[row]), self.ids[row])
            if len(first) == limit:
                break
        return list(first.values())

    def _passing(self, condition: Condition) -> Mask:
        """Return which items meet a condition, as the engine would say."""
        name = condition.field
        if name in self.numbers:
            return _within(self.numbers[name], condition)
        if name not in self.texts:
            rows = {item_id: row for row, item_id in enumerate(self.ids)}
            mask = np.zeros(len(self), bool)
            mask[[rows[item.id] for item in self.catalog.items((condition,)) if item.id in rows]] = True
            return mask
        mask = np.ones(len(self), bool)
        if condition.any_of:
            mask &= self.texts[name].having(condition.any_of, len(self))
        if condition.none_of:
            mask &= ~self.texts[name].having(condition.none_of, len(self))
        return mask


def _stored(value: Scalar) -> Scalar:
    return str(value).lower() if isinstance(value, bool) else value


def _column(values: Mapping[int, float], items: int) -> NDArray[np.float64]:
    column = np.full(items, np.nan)
    column[list(values)] = list(values.values())
    return column


def _within(column: NDArray[np.float64], condition: Condition) -> Mask:
    mask = np.ones(len(column), bool)
    for bound, compare in (
        (condition.gt, np.greater),
        (condition.gte, np.greater_equal),
        (condition.lt, np.less),
        (condition.lte, np.less_equal),
    ):
        if bound is not None:
            mask &= compare(column, bound)
    for values, wanted in ((condition.any_of, True), (condition.none_of, False)):
        if values:
            asked = [float(value) for value in values if isinstance(value, int | float)]
            mask &= np.isin(column, asked) == wanted
    return mask
