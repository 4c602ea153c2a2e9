"""What the two engines of Qdrant's have in common: ids, filters, queries and answers, once for both.

Embedded and on a server they have classes of the same names, made in somewhat different ways: how, is all
that the two stores add.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serupa.errors import InvalidInputError
from serupa.filters import Condition, Filter, Scalar
from serupa.storage.base import Examples, Neighbor, Point, Terms, TermsOf, nearest_likes, payload_key
from serupa.vectors import Metric, Vector

_IDS = uuid.UUID("6f2a1c0e-5a0b-5c59-9d3c-0f6a3a1b7a11")
_OVERSAMPLING = 2.0

WORDS = "words"
"""The name of the sparse vector of a point's terms."""


def point_uuid(item_id: str) -> str:
    """Return the engine's id for an item id: the engine takes only integers and UUIDs."""
    return str(uuid.uuid5(_IDS, item_id))


def require_finite(points: Sequence[Point]) -> None:
    """Raise `InvalidInputError` if a vector holds NaN or infinity."""
    for point in points:
        for name, vector in point.vectors.items():
            if not np.isfinite(vector).all():
                raise InvalidInputError(point.id, f"its {name} vector holds NaN or infinity")


class EngineStore(ABC):
    """The questions of a `serupa.storage.base.VectorStore`, in an engine's classes."""

    _api: Any
    """The module of the engine's classes."""
    _ef_search: int
    """Candidates that a search keeps, at least."""
    _scanned = False
    """Whether every search is exact."""
    _terms: TermsOf | None
    """What points are found by in words; None where they are not."""

    @abstractmethod
    def count(self, where: Filter = ()) -> int:
        """Return how many points pass a filter."""

    @abstractmethod
    def _condition(
        self, key: str, *, text: str | None = None, bounds: dict[str, float | None] | None = None
    ) -> Any:
        """Return the condition that a field is a text, or lies within bounds."""

    @abstractmethod
    def _has_id(self, keys: list[str]) -> Any:
        """Return the condition that a point is one of these."""

    @abstractmethod
    def _nearest(self, vector: Vector, metric: Metric) -> Any:
        """Return the query for what is near to a vector."""

    @abstractmethod
    def _sparse(self, terms: Terms) -> Any:
        """Return terms as the engine's sparse vector."""

    @abstractmethod
    def _of_words(self, terms: Terms) -> Any:
        """Return the query for what has terms."""

    @abstractmethod
    def _best_score(self, examples: Examples, metric: Metric) -> Any:
        """Return the query for what is nearer to one of the likes than to any of the dislikes."""

    @abstractmethod
    def _mmr(self, vector: Vector, metric: Metric, diversity: float, candidates: int) -> Any:
        """Return the query for what is near to a vector and unlike what comes before it."""

    @abstractmethod
    def _request(self, query: Any, using: str, **more: Any) -> Any:
        """Return a query of a named vector, with how much of what to return."""

    @abstractmethod
    def _prefetch(self, query: Any, using: str, **more: Any) -> Any:
        """Return a query whose answer is what another query is about."""

    @abstractmethod
    def _answers(self, requests: list[Any]) -> Sequence[Sequence[Any]]:
        """Return the scored points of each request."""

    @abstractmethod
    def _page(
        self,
        where: Filter,
        *,
        limit: int,
        offset: Any = None,
        vectors: Sequence[str] = (),
        order: Any = None,
    ) -> tuple[Sequence[Any], Any]:
        """Return some of the points that a filter lets through, and where the others begin."""

    @abstractmethod
    def _order(self, key: str, *, descending: bool) -> Any:
        """Return the order by a field."""

    def _indexed(self, counted: int, searched: int, named: int) -> int:
        """Return how many vectors a graph finds: an engine counts those of words and of no search, too."""
        words = self.count() if self._terms is not None else 0
        return max(0, counted - words) * searched // max(1, named)

    def _words(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Return the named sparse vector of what a point is found by; none where it is not found by words."""
        if self._terms is None:
            return {}
        return {WORDS: self._sparse(self._terms(payload))}

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
        params = self._params(limit, exact=exact)
        requests = [
            self._request(
                self._nearest(np.ascontiguousarray(vector, np.float32), metric),
                metric,
                limit=limit,
                filter=self._filter(where, () if exclude is None else exclude[row]),
                params=params,
                with_payload=True if payload else ["id"],
            )
            for row, vector in enumerate(vectors)
        ]
        return [_neighbors(answer, metric) for answer in self._answers(requests)]

    def find_words(
        self,
        words: Sequence[Terms],
        limit: int,
        *,
        where: Filter = (),
        exclude: Sequence[str] = (),
        payload: bool = True,
    ) -> list[list[Neighbor]]:
        requests = [
            self._request(
                self._of_words(terms),
                WORDS,
                limit=limit,
                filter=self._filter(where, exclude),
                with_payload=True if payload else ["id", "product_id"],
            )
            for terms in words
        ]
        return [[_by_words(scored) for scored in answer] for answer in self._answers(requests)]

    def search_with_words(
        self,
        vector: Vector,
        metric: Metric,
        words: Terms,
        limit: int,
        *,
        where: Filter = (),
        exclude: Sequence[str] = (),
        exact: bool = False,
    ) -> list[Neighbor]:
        conditions, params = self._filter(where, exclude), self._params(limit, exact=exact)

        def of_both(query: Any, using: str, payload: bool | list[str]) -> Any:
            prefetches = [
                self._prefetch(near, metric, limit=limit, filter=conditions, params=params),
                self._prefetch(named, WORDS, limit=limit, filter=conditions),
            ]
            return self._request(
                query, using, limit=2 * limit, prefetch=prefetches, params=params, with_payload=payload
            )

        near = self._nearest(np.ascontiguousarray(vector, np.float32), metric)
        named = self._of_words(words)
        by_look, by_words = self._answers(
            [of_both(near, metric, payload=True), of_both(named, WORDS, payload=["id"])]
        )
        scores = {one.id: one.words for one in map(_by_words, by_words)}
        return [replace(one, words=scores.get(one.id, 0.0)) for one in _neighbors(by_look, metric)]

    def recommend(
        self,
        examples: Sequence[Examples],
        metric: Metric,
        limit: int,
        *,
        where: Filter = (),
        exclude: Sequence[str] = (),
    ) -> list[list[Neighbor]]:
        requests = []
        for one in examples:
            alone = len(one.likes) == 1 and not len(one.dislikes)
            # the same order; the engine keeps more digits of a distance
            query = self._nearest(one.likes[0], metric) if alone else self._best_score(one, metric)
            requests.append(
                self._request(
                    query,
                    metric,
                    limit=limit,
                    filter=self._filter(where, exclude),
                    params=self._params(limit),
                    with_payload=True,
                    with_vector=[metric],
                )
            )
        answers = self._answers(requests)
        return [
            nearest_likes(one, [point_of(scored) for scored in answer], metric)
            for one, answer in zip(examples, answers, strict=True)
        ]

    def diversify(
        self, ids: Sequence[str], vector: Vector, metric: Metric, limit: int, diversity: float
    ) -> list[str]:
        if not ids:
            return []
        request = self._request(
            self._mmr(np.ascontiguousarray(vector, np.float32), metric, diversity, len(ids)),
            metric,
            limit=limit,
            filter=self._api.Filter(must=[self._has_id([point_uuid(i) for i in ids])]),
            params=self._params(len(ids), exact=True),
            with_payload=["id"],
        )
        (answer,) = self._answers([request])
        return [(scored.payload or {})["id"] for scored in answer]

    def scroll(
        self,
        where: Filter = (),
        *,
        vectors: Sequence[str] = (),
        batch: int = 256,
        after: str | None = None,
    ) -> Iterator[list[Point]]:
        offset = None if after is None else point_uuid(after)  # from this one on, itself included
        while True:
            records, offset = self._page(where, limit=batch, offset=offset, vectors=vectors)
            points = [point for point in map(point_of, records) if point.id != after]
            if points:
                yield points
            if offset is None:
                return

    def bounds(self, field: str, where: Filter = ()) -> tuple[float, float] | None:
        ends: list[float] = []
        for descending in (False, True):
            order = self._order(payload_key(field), descending=descending)
            records, _ = self._page(where, limit=1, order=order)
            ends += [float(record.payload["attributes"][field]) for record in records if record.payload]
        return (ends[0], ends[1]) if len(ends) == 2 else None

    def _params(self, limit: int, *, exact: bool = False) -> Any:
        exact = exact or self._scanned
        return self._api.SearchParams(
            exact=exact,
            hnsw_ef=max(self._ef_search, 2 * limit),
            quantization=self._api.QuantizationSearchParams(
                ignore=exact, rescore=True, oversampling=_OVERSAMPLING
            ),
        )

    def _filter(self, where: Filter, exclude: Sequence[str] = ()) -> Any:
        must: list[Any] = []
        must_not = [self._has_id([point_uuid(i) for i in exclude])] if exclude else []
        for condition in where:
            if condition.has_range:
                must.append(self._within(condition))
            if condition.any_of:
                choices = [self._equals(condition.field, value) for value in condition.any_of]
                must.append(self._api.Filter(should=choices))
            must_not += [self._equals(condition.field, value) for value in condition.none_of]
        return self._api.Filter(must=must, must_not=must_not) if must or must_not else None

    def _within(self, condition: Condition) -> Any:
        bounds = {name: getattr(condition, name) for name in ("gt", "gte", "lt", "lte")}
        return self._condition(payload_key(condition.field), bounds=bounds)

    def _equals(self, field: str, value: Scalar) -> Any:
        if isinstance(value, bool):  # the embedded engine's bindings take True for 1: truth is kept as text
            value = str(value).lower()
        if isinstance(value, str):
            return self._condition(payload_key(field), text=value)
        return self._condition(payload_key(field), bounds={"gte": float(value), "lte": float(value)})


def point_of(record: Any) -> Point:
    """Return the point that an engine's record or scored point stands for, without its terms."""
    payload = record.payload or {}
    vectors = record.vector if isinstance(record.vector, dict) else {}
    named = {name: np.asarray(values, np.float32) for name, values in vectors.items() if name != WORDS}
    return Point(payload["id"], named, payload)


def _by_words(scored: Any) -> Neighbor:
    payload = scored.payload or {}
    return Neighbor(payload["id"], 0.0, payload, scored.score)


def _neighbors(answer: Sequence[Any], metric: Metric) -> list[Neighbor]:
    neighbors = []
    for scored in answer:
        distance = max(0.0, 1.0 - scored.score) if metric == "cosine" else scored.score
        payload = scored.payload or {}
        neighbors.append(Neighbor(payload["id"], distance, payload))
    return sorted(neighbors, key=lambda n: (n.distance, n.id))
