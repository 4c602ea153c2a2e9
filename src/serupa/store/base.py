"""The ``Store`` protocol: points, metrics and filters as plain data, whatever engine keeps them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from serupa.errors import FilterError

Metric = Literal["cosine", "euclidean", "manhattan"]
METRICS: tuple[Metric, ...] = ("cosine", "euclidean", "manhattan")

T = TypeVar("T")

Vector = NDArray[np.float32]
Scalar = str | int | float | bool
FieldKind = Literal["text", "number", "words"]
"""How a field is indexed: text and numbers can be filtered and counted; words is prose, only shown."""


def similarity_of(distance: float, metric: Metric) -> float:
    """Return the similarity for a distance: ``1 - d`` for cosine, ``1 / (1 + d)`` for the others."""
    return 1.0 - distance if metric == "cosine" else 1.0 / (1.0 + distance)


def distances(rows: NDArray[np.float32], others: NDArray[np.float32], metric: Metric) -> NDArray[np.float64]:
    """Return the distances ``(n, m)`` of rows ``(n, d)`` from others ``(m, d)``.

    A vector of zeros has no direction: by cosine it is at distance 1 from everything.
    """
    a, b = rows.astype(np.float64), others.astype(np.float64)
    if metric == "manhattan":
        return np.stack([np.abs(a - one).sum(axis=1) for one in b], axis=1)
    if metric == "euclidean":
        return np.stack([np.linalg.norm(a - one, axis=1) for one in b], axis=1)
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    cosines: NDArray[np.float64] = np.divide(a @ b.T, lengths, out=np.zeros(lengths.shape), where=lengths > 0)
    return np.clip(1.0 - cosines, 0.0, 2.0)


@dataclass(frozen=True, slots=True)
class Point:
    """What a store keeps: an id, named vectors of shape ``(d,)``, and a JSON payload."""

    id: str
    vectors: Mapping[str, Vector]
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A point that a search found, with its distance (smaller is nearer)."""

    id: str
    distance: float
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What a recommendation starts from: vectors as they are searched, ``(p, d)`` and ``(n, d)``."""

    likes: NDArray[np.float32]
    dislikes: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on one field; all that are set must hold.

    Parameters
    ----------
    field : str
        ``id``, ``product_id`` or the name of an attribute.
    any_of : tuple of str, int, float or bool
        The field equals one of these; a list-valued field holds one of these.
    none_of : tuple of str, int, float or bool
        The field equals none of these.
    gt, gte, lt, lte : float, optional
        Bounds on a number.
    """

    field: str
    any_of: tuple[Scalar, ...] = ()
    none_of: tuple[Scalar, ...] = ()
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None

    @property
    def has_range(self) -> bool:
        """Whether the condition bounds a number."""
        return any(bound is not None for bound in (self.gt, self.gte, self.lt, self.lte))


Filter = tuple[Condition, ...]
Where = Mapping[str, Any] | Sequence[str] | Filter | None
"""What callers may pass as ``where``: a mapping, texts such as ``price<=50``, or conditions."""

_BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_TEXT = re.compile(r"(?P<field>[^=<>!]+?)\s*(?P<op>>=|<=|!=|=|<|>)\s*(?P<value>.*)", re.DOTALL)


def as_filter(where: Where) -> Filter:
    """Turn whatever a caller passed as ``where`` into conditions.

    Parameters
    ----------
    where : mapping, sequence of str, filter or None
        A mapping gives each field a value, a list of values (any of them), or bounds
        (``{"gte": 10, "lt": 50}``). Texts are ``field=value``, ``field=a|b`` (any of them),
        ``field!=value``, ``field=10..50`` and ``field>=10`` with the other comparisons.

    Returns
    -------
    tuple of Condition
        All of them must hold; empty when there is no condition.

    Raises
    ------
    FilterError
        If a condition cannot be understood.
    """
    if where is None:
        return ()
    if isinstance(where, Mapping):
        return tuple(_from_mapping(name, value) for name, value in where.items())
    if isinstance(where, str):
        return (_from_text(where),)
    return tuple(c if isinstance(c, Condition) else _from_text(c) for c in where)


def _from_mapping(field: str, value: Any) -> Condition:
    if isinstance(value, Mapping):
        unknown = set(value) - {"gt", "gte", "lt", "lte", "not", "any"}
        if unknown or not value:
            raise FilterError(
                f"filter on {field!r}: {', '.join(sorted(map(str, unknown))) or 'nothing'} given; "
                "use gt, gte, lt, lte, any or not"
            )
        bounds = {key: _number(field, value[key]) for key in ("gt", "gte", "lt", "lte") if key in value}
        return Condition(
            field,
            any_of=_scalars(field, value.get("any", ())),
            none_of=_scalars(field, value.get("not", ())),
            **bounds,
        )
    values = _scalars(field, value)
    if not values:
        raise FilterError(f"filter on {field!r}: an empty list matches nothing")
    return Condition(field, any_of=values)


def _scalars(field: str, value: Any) -> tuple[Scalar, ...]:
    values = tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)
    for one in values:
        finite = not isinstance(one, float) or math.isfinite(one)
        if not isinstance(one, str | int | float | bool) or not finite:
            raise FilterError(f"filter on {field!r}: {one!r} is not a text, a finite number or a truth value")
    return values


def _number(field: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise FilterError(f"filter on {field!r}: {value!r} is not a finite number")
    return number


def _from_text(text: str) -> Condition:
    match = _TEXT.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise FilterError(f"filter {text!r}: write field=value, field!=value, field=1..9 or field>=1")
    field, op, value = match["field"], match["op"], match["value"].strip()
    if op in _BOUNDS:
        return Condition(field, **{_BOUNDS[op]: _number(field, value)})  # type: ignore[arg-type]
    if op == "=" and (bounds := re.fullmatch(r"(-?[\d.]*\d)?\.\.(-?[\d.]*\d)?", value)) and value != "..":
        low, high = (None if bound is None else _number(field, bound) for bound in bounds.groups())
        return Condition(field, gte=low, lte=high)
    choices = tuple(typed for choice in value.split("|") for typed in _typed(choice.strip()))
    return Condition(field, any_of=choices) if op == "=" else Condition(field, none_of=choices)


def _typed(text: str) -> tuple[Scalar, ...]:
    """Return what a text may stand for: "52" is also the number 52."""
    try:
        number = float(text)
    except ValueError:
        return (text,)
    return (text, number) if math.isfinite(number) else (text,)


def payload_key(field: str) -> str:
    """Return where a field stands in a point's payload, as a path that the engine reads."""
    if field in ("id", "product_id", "content"):
        return field
    return f'attributes."{field}"'


class Store(Protocol):
    """What Serupa asks of an engine.

    Vectors are named: one name a metric. Every method may be called from several threads.
    """

    def upsert(self, points: Sequence[Point]) -> None:
        """Add points, replacing those whose id is there; durable when the call returns."""

    def replace_payloads(self, payloads: Sequence[Mapping[str, Any]]) -> None:
        """Replace the payloads of points that are there (found by ``payload["id"]``), vectors kept."""

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; ids that are not there are passed over."""

    def get(self, ids: Sequence[str], *, vectors: Sequence[str] = ()) -> dict[str, Point]:
        """Return the points that are there, with the vectors named."""

    def scroll(
        self, where: Filter = (), *, vectors: Sequence[str] = (), batch: int = 256
    ) -> Iterator[list[Point]]:
        """Yield every point that the filter lets through, in batches, in a stable order."""

    def search(
        self,
        vectors: NDArray[np.float32],
        metric: Metric,
        limit: int,
        *,
        where: Filter = (),
        exclude: Sequence[Sequence[str]] | None = None,
        exact: bool = False,
        payload: bool = True,
    ) -> list[list[Neighbor]]:
        """Return the nearest points of each query in ``vectors`` ``(q, d)``, nearest first.

        ``exclude`` names, for each query, the ids left out of its results. Equal distances are
        ordered by id.
        """

    def recommend(
        self,
        examples: Sequence[Examples],
        metric: Metric,
        limit: int,
        *,
        where: Filter = (),
        exclude: Sequence[str] = (),
    ) -> list[list[Neighbor]]:
        """Return, for each of the examples, what is near to one of its likes, nearest first.

        A distance is the one to the nearest like, of which there is at least one. What is at least as near to
        a dislike is left out, so that fewer than ``limit`` may come back. ``exclude`` names ids left out of
        all results. Equal distances are ordered by id.
        """

    def diversify(
        self, ids: Sequence[str], vector: Vector, metric: Metric, limit: int, diversity: float
    ) -> list[str]:
        """Order these points so that each is near to ``vector`` and unlike those before it.

        Maximal marginal relevance [1]_: each next point is the one of the largest
        ``(1 - diversity) * relevance - diversity * similarity to the most similar before it``. Ids that are
        not there are passed over; at most ``limit`` come back.

        .. [1] J. Carbonell, J. Goldstein, "The use of MMR, diversity-based reranking for reordering
           documents and producing summaries", SIGIR 1998.
        """

    def count(self, where: Filter = ()) -> int:
        """Return how many points the filter lets through."""

    def index_field(self, field: str, kind: FieldKind) -> None:
        """Make filters and counts on a field fast; called again, it does nothing."""

    def facet(self, field: str, where: Filter = (), limit: int = 100) -> list[tuple[Scalar, int]]:
        """Return the values of an indexed text field with their counts, most frequent first."""

    def bounds(self, field: str, where: Filter = ()) -> tuple[float, float] | None:
        """Return the smallest and the largest value of an indexed number field."""

    def optimize(self) -> None:
        """Bring the index up to date; needed for speed only."""

    def indexed(self) -> int:
        """Return how many vectors are reached by the approximate index; the others are scanned."""

    def close(self) -> None:
        """Write everything and let go of it."""


def nearest_likes(examples: Examples, candidates: Sequence[Point], metric: Metric) -> list[Neighbor]:
    """Order what an engine recommends as `Store.recommend` promises.

    Engines rank by a score in which large distances are squeezed together, so that their digits are lost.
    The candidates bring the vector of the metric.
    """
    if not candidates:
        return []
    rows = np.stack([point.vectors[metric] for point in candidates])
    liked = distances(rows, examples.likes, metric).min(axis=1)
    if len(examples.dislikes):
        disliked = distances(rows, examples.dislikes, metric).min(axis=1)
    else:
        disliked = np.full(len(rows), np.inf)
    found = [
        Neighbor(point.id, float(distance), point.payload)
        for point, distance, refused in zip(candidates, liked, disliked, strict=True)
        if distance < refused
    ]
    return sorted(found, key=lambda n: (n.distance, n.id))


def grouped(these: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut anything into lists of at most ``size``."""
    batch: list[T] = []
    for one in these:
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
