"""One way to ask a catalogue: a request becomes a vector, and what is near to it becomes hits."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serupa.catalog import words
from serupa.catalog.compared import (
    ANY_KIND,
    Query,
    compared,
    is_close,
    item_query,
    query_vectors,
    refuse_kind,
)
from serupa.catalog.offers import in_order
from serupa.catalog.reading import known_photo, stored_points
from serupa.catalog.results import By, Recommendation, SearchResult
from serupa.catalog.schema import content_of, item_of
from serupa.errors import UsageError
from serupa.filters import Condition, Filter, Where, as_filter
from serupa.images import read_bytes
from serupa.items import OWN_FIELDS, Hit
from serupa.storage.base import Neighbor, Point, first_of_each_product, grouped
from serupa.vectors import Metric, Vector, mean_direction, similarity_of, unit

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.encoders import Encoder
    from serupa.images import Crop, Photo
    from serupa.recommend.engine import Example, ExamplePoints

TEXT_WEIGHT = 0.4
"""The share of the words in the ranking beside a photo; chosen by bench/words.py."""
LONGEST_TEXT = 500

ORDERED = 200
"""How many of the nearest there are in another order than nearness, at most."""

ALIKE = 0.6
"""How similar they are at least, as a share of the first's similarity: where kinds count, what is of another
kind than asked for mostly lies below it (two shops, 20 photos, 13 items); it may not come first."""

_USUAL_SCORE = 2.5  # about that of an item which has one common word, such as a colour
_CANDIDATES = 256  # by look and by words each, that are ranked by both
_LOOKUP = 256  # points read from the store at once
_TOGETHER = 64  # queries that an index answers at once
_EXACT_TOGETHER = (
    40_000  # exact queries that share one pass over the vectors; of 1,280 values they take 200 MB
)


@dataclass(frozen=True, slots=True, eq=False)
class SearchRequest:
    """What is asked of a catalogue, and how it is to be answered.

    Parameters
    ----------
    photos : tuple of path, bytes or binary file
        Photos to search with; several show one garment.
    item_id : str, optional
        An item to search with; it is left out and, by product, so is its whole product.
    embedding : (d,) array of float32, optional
        A raw embedding of the catalogue's encoder to search with.
    content : str, optional
        The hash of the photo that the embedding is of (`serupa.catalog.schema.content_of`): a photo that is
        an item's own is taken for what the item is.
    likes, dislikes : tuple of str or Example
        What a recommendation starts from: ids of items, or examples.
    metric : {"cosine", "euclidean", "manhattan"}, optional
        One of the catalogue's metrics; its first unless given.
    k : int
        How many hits to return.
    offset : int
        How many of the nearest to pass over (the next page).
    where : mapping, sequence of str or filter, optional
        See `serupa.filters.as_filter`.
    by : {"item", "product"}
        Hits are items, or distinct products, each shown by its nearest photo.
    crop : Crop, optional
        The part of the photos to search with.
    kind : str, optional
        The kind of garment to prefer; ``"any"`` for none. Unless given, what the photo seems to show; of an
        item, its own.
    sort : str, optional
        The order of what is alike (of the `ORDERED` nearest those `ALIKE` enough): a field (``price`` is what
        is to be paid), or ``-field`` for the largest first; nearest first unless given.
    exact : bool
        Compare with every item, also where an approximate index would be faster.
    exclude : tuple of str
        Ids of items that are left out.
    diversity : float
        Of a recommendation: 0 for the nearest, up to 1 for what is most unlike the hits before it.
    text : str, optional
        Words to search with, in English or Indonesian; alone, or beside photos, an item or an embedding.
    text_weight : float
        The share of the words beside something else, 0 to 1: in the ranking and, where the encoder
        understands words, in the vector that is searched.

    Raises
    ------
    UsageError
        If a number is out of its range, or things are given to search with that do not go together.
    """

    photos: tuple[Photo, ...] = ()
    item_id: str | None = None
    embedding: Vector | None = None
    content: str | None = None
    likes: tuple[str | Example, ...] = ()
    dislikes: tuple[str | Example, ...] = ()
    metric: str | None = None
    k: int = 10
    offset: int = 0
    where: Where = None
    by: By = "item"
    crop: Crop | None = None
    kind: str | None = None
    sort: str | None = None
    exact: bool = False
    exclude: tuple[str, ...] = ()
    diversity: float = 0.0
    text: str | None = None
    text_weight: float = TEXT_WEIGHT

    def __post_init__(self) -> None:
        if self.k < 1 or self.offset < 0:
            raise UsageError(
                "search", f"k must be at least 1 and offset at least 0, not {self.k} and {self.offset}"
            )
        if self.by not in ("item", "product"):
            raise UsageError("search", f"by must be item or product, not {self.by!r}")
        if not 0.0 <= self.diversity <= 1.0:
            raise UsageError("recommend", f"diversity must be from 0 to 1, not {self.diversity:g}")
        if not 0.0 <= self.text_weight <= 1.0:
            raise UsageError(
                "search", f"the weight of the text must be from 0 to 1, not {self.text_weight:g}"
            )
        if self.text is not None and not 0 < len(self.text.strip()) <= LONGEST_TEXT:
            raise UsageError("search", f"the text must have 1 to {LONGEST_TEXT} letters")
        items, embeddings = self.item_id is not None, self.embedding is not None
        if bool(self.photos) + items + embeddings + bool(self.likes or self.dislikes) > 1:
            raise UsageError("search", "photos, an item, an embedding or examples: only one of them")


class Encoded(NamedTuple):
    """An embedding ``(d,)``, raw, and the milliseconds that each step to it took."""

    embedding: Vector
    timing_ms: dict[str, float]


def encode_photos(encoder: Encoder, photos: Sequence[Photo], crop: Crop | None = None) -> Encoded:
    """Return the embedding of a photo, or the one that stands for several.

    Raises
    ------
    InvalidInputError
        If one of the photos cannot be used.
    """
    start = time.perf_counter()
    pixels = np.stack([encoder.preprocess(photo, crop) for photo in photos])
    decoded = time.perf_counter()
    embeddings = encoder.encode(pixels)
    encoded = time.perf_counter()
    timing = {"decode": 1e3 * (decoded - start), "encode": 1e3 * (encoded - decoded)}
    return Encoded(embeddings[0] if len(embeddings) == 1 else mean_direction(embeddings), timing)


def search(catalog: Catalog, request: SearchRequest) -> SearchResult:
    """Answer a request from photos, an item, an embedding or a text; errors as of `Catalog.search`."""
    if request.sort is not None:
        check_sort(catalog, request.sort)
        found = search(catalog, replace(request, sort=None, k=ORDERED, offset=0))
        end, best = request.offset + request.k, max((hit.similarity for hit in found), default=0.0)
        alike = [hit for hit in found if hit.similarity >= min(best, ALIKE * best)]
        return replace(found, hits=tuple(in_order(alike, request.sort)[request.offset : end]))
    metric, where = choose_metric(catalog, request.metric), conditions_of(catalog, request.where)
    exclude, embedding, content = request.exclude, request.embedding, request.content
    start = time.perf_counter()
    asked = None if request.text is None else words.ask(catalog, request.text)
    said = None if request.text is None else words.embedding_of(catalog, request.text)
    kind = request.kind if asked is None else request.kind or asked.kind
    counts = catalog.schema.map.kinds is not None and kind is None
    timing: dict[str, float] = {} if asked is None else {"words": 1e3 * (time.perf_counter() - start)}
    if request.photos:
        photos = request.photos
        if counts and len(photos) == 1 and request.crop is None:
            data = read_bytes(photos[0])
            content = content_of(data)
            if not isinstance(photos[0], str | os.PathLike):  # a file is read once; a path is named in errors
                photos = (data,)
        embedding, took = encode_photos(catalog.encoder, photos, request.crop)
        timing |= took
    start = time.perf_counter()
    known = None
    if counts and content is not None and said is None:
        known = known_photo(catalog, content, [metric])
    query, item = _look(catalog, request, embedding, known, said, metric=metric, kind=kind)
    if item is not None:
        exclude = (*exclude, item.id)
        product = item.payload["product_id"]
        # the same style in another colour may be what the words ask for
        if request.by == "product" and product is not None and asked is None:
            where = (*where, Condition("product_id", none_of=(product,)))
    if query is None and asked is None:
        raise UsageError("search", "there is nothing to search with", "give a photo or a text")
    neighbors = _found(catalog, query, asked, request, metric=metric, where=where, exclude=exclude)
    close = None
    if query is not None:
        if not query.prefers:
            without = catalog.schema.map.without_kind
            neighbors = [replace(one, distance=without(one.distance, metric)) for one in neighbors]
        if neighbors and not request.offset and said is None:
            close = is_close(catalog, query, neighbors[0], metric)
    timing["search"] = 1e3 * (time.perf_counter() - start)
    return SearchResult(
        _hits(neighbors, metric, request.offset, asked, looked=query is not None),
        metric,
        catalog.manifest.card.name,
        timing,
        None if query is None else query.kind,
        close,
        () if asked is None else asked.understood,
    )


def _look(
    catalog: Catalog,
    request: SearchRequest,
    embedding: Vector | None,
    known: Point | None,
    said: Vector | None,
    *,
    metric: Metric,
    kind: str | None,
) -> tuple[Query | None, Point | None]:
    """Return what items are compared by, if by more than their words, and the item that a request names.

    Where the encoder understands words, ``said`` is their embedding: it moves that of a photo.
    """
    if known is not None:
        return item_query(catalog, known, metric, None), None
    item = None
    if request.item_id is not None:
        vector = metric if said is None else catalog.schema.embedding_name
        (item,) = stored_points(catalog, [request.item_id], [vector])
        if said is None:
            return item_query(catalog, item, metric, kind), item
        embedding = catalog.schema.embedding(item)
    if said is not None and embedding is not None:
        looks, means = unit(np.stack([embedding, said]))
        embedding = (1 - request.text_weight) * looks + request.text_weight * means
    elif said is not None:
        embedding = said
    return None if embedding is None else compared(catalog, embedding, metric, kind), item


def recommend(catalog: Catalog, request: SearchRequest) -> Recommendation:
    """Answer a request from likes and dislikes; errors as of `Catalog.recommend`."""
    from serupa.recommend import engine

    metric, where = choose_metric(catalog, request.metric), conditions_of(catalog, request.where)
    start = time.perf_counter()
    likes, dislikes = (_example_points(catalog, given, metric) for given in (request.likes, request.dislikes))
    both = {p.id for p in likes.items} & {p.id for p in dislikes.items}
    if both:
        raise UsageError(", ".join(sorted(both)), "both liked and disliked", "choose one")
    picks, groups = engine.recommend(
        catalog.store,
        likes,
        dislikes,
        request.offset + request.k,
        metric=metric,
        where=where,
        by_product=request.by == "product",
        diversity=request.diversity,
    )
    timing = {"search": 1e3 * (time.perf_counter() - start)}
    picks = picks[request.offset :]
    hits = _hits([pick.neighbor for pick in picks], metric, request.offset)
    because = tuple(pick.like for pick in picks)
    name = catalog.manifest.card.name
    return Recommendation(hits, metric, name, timing, because=because, groups=groups)


def rank(
    catalog: Catalog,
    queries: Sequence[str] | NDArray[np.float32],
    limit: int,
    *,
    metric: str | None = None,
    where: Where = None,
    exact: bool = False,
    kind: str | None = None,
) -> Iterator[list[tuple[str, float]]]:
    """Yield, for each of many queries, the ids and distances of its nearest items, without reading the items.

    Parameters
    ----------
    catalog : Catalog
    queries : sequence of str, or (n, d) array of float32
        Ids of items, each left out of its own results; or raw embeddings.
    limit : int
        How many items; fewer only where there are no more.
    metric, where, exact
        As in `SearchRequest`.
    kind : {"any"}, optional
        Compare the look alone.
    """
    chosen, conditions = choose_metric(catalog, metric), conditions_of(catalog, where)
    size = _EXACT_TOGETHER if exact else _TOGETHER
    for start in range(0, len(queries), size):
        batch = queries[start : start + size]
        own: Sequence[str | None] = [None] * len(batch)
        wanted = limit
        if isinstance(batch, np.ndarray):
            vectors = query_vectors(catalog, batch, chosen, kind)
        else:
            own = batch
            # one more is asked for and the item taken out here: queries that differ in their vector alone are
            # scored together by the engine, 4 times as fast as with a filter each
            wanted = limit + 1
            points = (stored_points(catalog, part, [chosen]) for part in grouped(batch, _LOOKUP))
            vectors = np.stack(
                [item_query(catalog, point, chosen, kind).vector for part in points for point in part]
            )
        answers = catalog.store.search(vectors, chosen, wanted, where=conditions, exact=exact, payload=False)
        for item_id, answer in zip(own, answers, strict=True):
            near = [(n.id, n.distance) for n in answer if n.id != item_id][:limit]
            if kind == ANY_KIND:
                near = [(one, catalog.schema.map.without_kind(distance, chosen)) for one, distance in near]
            yield near


def check(catalog: Catalog, request: SearchRequest) -> None:
    """Refuse a request that the catalogue cannot answer, before anything is encoded for it.

    Raises
    ------
    UsageError
        As `choose_metric`, `conditions_of` and `check_sort`.
    """
    choose_metric(catalog, request.metric)
    conditions_of(catalog, request.where)
    check_sort(catalog, request.sort)
    kinds = catalog.schema.map.kinds
    if kinds is None:
        refuse_kind(catalog, request.kind)
    elif request.kind not in (None, ANY_KIND):
        kinds.head.one_kind(request.kind)


def choose_metric(catalog: Catalog, name: str | None) -> Metric:
    """Return the metric to search by: the catalogue's first unless named.

    Raises
    ------
    UsageError
        If the catalogue does not have it.
    """
    metrics = catalog.manifest.metrics
    for metric in metrics:
        if name in (None, metric):
            return metric
    raise UsageError(catalog.path, f"cannot be searched by {name!r}", f"it has {', '.join(metrics)}")


def conditions_of(catalog: Catalog, where: Where) -> Filter:
    """Return a filter whose conditions the catalogue's fields can meet.

    Raises
    ------
    UsageError
        If no item has a field, or a number is asked of a text, or a text of a number.
    """
    conditions = as_filter(where)
    if not conditions:
        return ()
    fields = OWN_FIELDS | catalog.manifest.fields
    for condition in conditions:
        kind, subject = fields.get(condition.field), f"filter on {condition.field!r}"
        if kind is None:
            raise UsageError(subject, "no item has such a field", f"there are {', '.join(fields)}")
        if condition.has_range and kind != "number":
            values = catalog.store.facet(condition.field, limit=1) if kind == "text" else ()
            example = f", such as {values[0][0]!r}" if values else ""
            raise UsageError(subject, f"holds text here{example}, which has no range", "use = or !=")
        values_asked = (*condition.any_of, *condition.none_of)
        if kind == "number" and values_asked and all(isinstance(v, str | bool) for v in values_asked):
            raise UsageError(subject, f"holds numbers here, not {values_asked[0]!r}", "such as 9.5 or 10..50")
    return conditions


def check_sort(catalog: Catalog, sort: str | None) -> None:
    """Refuse an order by what no item has.

    Raises
    ------
    UsageError
        If there is no such field, or it is prose.
    """
    fields = {name: kind for name, kind in catalog.manifest.fields.items() if kind != "words"}
    if sort is not None and sort.removeprefix("-") not in fields:
        raise UsageError(f"order by {sort!r}", "no item has such a field", f"there are {', '.join(fields)}")


def _example_points(catalog: Catalog, examples: Sequence[str | Example], metric: Metric) -> ExamplePoints:
    """Look up what is liked or disliked."""
    from serupa.recommend.engine import Example, ExamplePoints

    given = [Example(one) if isinstance(one, str) else one for one in examples]
    stored = iter(stored_points(catalog, [one.item_id for one in given if one.item_id is not None], [metric]))
    vectors = np.empty((len(given), catalog.schema.map.dimension), np.float32)
    points: list[Point | None] = []
    for row, example in enumerate(given):
        if example.embedding is None:
            point = next(stored)
            vectors[row] = point.vectors[metric]
            points.append(point)
        else:
            vectors[row] = compared(catalog, example.embedding, metric).vector
            points.append(None)
    return ExamplePoints(vectors, np.array([example.weight for example in given]), tuple(points))


def _found(
    catalog: Catalog,
    query: Query | None,
    asked: words.Asked | None,
    request: SearchRequest,
    *,
    metric: Metric,
    where: Filter,
    exclude: Sequence[str],
) -> list[Neighbor]:
    """Return ranks ``offset + 1`` to ``offset + k``, by look, by words or by both."""
    store, end, exact = catalog.store, request.offset + request.k, request.exact

    def ranked(limit: int) -> list[Neighbor]:
        if query is None:
            if asked is None or not asked.terms:
                return []
            (found,) = store.find_words([asked.terms], limit, where=where, exclude=exclude, payload=False)
            return [replace(one, words=asked.share(one.words)) for one in found]
        if asked is None or not asked.terms:
            (found,) = store.search(
                query.vector[None], metric, limit, where=where, exclude=[exclude], exact=exact
            )
            return found
        found = store.search_with_words(
            query.vector, metric, asked.terms, limit, where=where, exclude=exclude, exact=exact
        )
        found = _by_both(found, limit, request.text_weight)
        return [replace(one, words=asked.share(one.words)) for one in found]

    limit = end if request.by == "item" else 4 * end
    if asked is not None:  # also of words alone: many score the same, and pages have to agree on their order
        limit = max(limit, _CANDIDATES)
    while True:
        neighbors = ranked(limit)
        distinct = neighbors if request.by == "item" else first_of_each_product(neighbors)
        if len(distinct) >= end or len(neighbors) < limit:
            page = distinct[request.offset : end]
            if query is not None:
                return page
            stored = store.get([one.id for one in page])  # many are compared, and only these are shown
            return [replace(one, payload=stored[one.id].payload) for one in page if one.id in stored]
        limit *= 4


def _by_both(neighbors: Sequence[Neighbor], limit: int, weight: float) -> list[Neighbor]:
    """Order what is near, or has the words, by the weighted sum of the two.

    The look counts from 1 for the nearest to 0 for the last of the ``limit`` nearest, and for all beyond;
    words by their score, so that a name that few items have counts more than a colour that many have.
    """
    if not neighbors:
        return []
    nearest, last = neighbors[0].distance, neighbors[min(limit, len(neighbors)) - 1].distance
    span = (last - nearest) or 1.0

    def score(one: Neighbor) -> float:
        return weight * one.words / _USUAL_SCORE + (1 - weight) * max(0.0, (last - one.distance) / span)

    return sorted(neighbors, key=lambda one: (-score(one), one.distance, one.id))


def _hits(
    neighbors: Sequence[Neighbor],
    metric: Metric,
    offset: int,
    asked: words.Asked | None = None,
    *,
    looked: bool = True,
) -> tuple[Hit, ...]:
    """Return what was found as hits; found by words alone, what it lacks of them is its distance."""
    return tuple(
        Hit(
            rank,
            item_of(one.payload),
            one.distance if looked else 1 - one.words,
            similarity_of(one.distance, metric) if looked else one.words,
            None if asked is None else one.words,
        )
        for rank, one in enumerate(neighbors, offset + 1)
    )
