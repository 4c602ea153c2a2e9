"""An experiment on a catalogue: what is measured is the catalogue's own search, as its users get it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.encoders.session import available_cpus
from serupa.errors import CatalogError, ImageError
from serupa.evaluation.protocol import EmbeddedItems, Evaluation, Progress, evaluate
from serupa.evaluation.ranking import Neighbors
from serupa.files.memory import keep_freed_memory
from serupa.storage.base import grouped
from serupa.storage.opening import place_of

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.items import Item
    from serupa.sources import Source
    from serupa.storage.qdrant.address import ServerAddress

_BATCH = 256  # queries between two words of progress
_DECODED = 64  # query photos held as pixels at once: 10 MB


class CatalogRanker:
    """A catalogue's own search as a `serupa.evaluation.Ranker`.

    Parameters
    ----------
    catalog : Catalog
        What is searched.
    queries : EmbeddedItems, optional
        Queries that are not items of the catalogue, with raw embeddings; without them, queries
        are items, each left out of its own results.
    exact : bool
        Compare with every item, also where the catalogue has an approximate index.
    """

    def __init__(
        self, catalog: Catalog, queries: EmbeddedItems | None = None, *, exact: bool = False
    ) -> None:
        self._catalog = catalog
        self._exact = exact
        self._embedding_of = dict(zip(queries.ids, queries.embeddings, strict=True)) if queries else None

    def rank(self, queries: Sequence[str], metric: str, limit: int) -> Iterator[Neighbors]:
        """Yield the nearest items of each query; see `serupa.evaluation.Ranker.rank`."""
        if self._embedding_of is not None:
            for query in queries:
                found = self._catalog.search_embedding(
                    self._embedding_of[query], limit, metric=metric, exact=self._exact
                )
                yield [(hit.item.id, hit.distance) for hit in found]
            return
        size = max(1, len(queries)) if self._exact else _BATCH  # exact ones share their passes
        for start in range(0, len(queries), size):
            batch = queries[start : start + size]
            yield from self._catalog.rank(batch, limit, metric=metric, exact=self._exact)


def evaluate_catalog(
    catalog: Catalog,
    label: str,
    *,
    queries: int | None = None,
    queries_from: Source | None = None,
    ks: Sequence[int] = (1, 5, 10),
    metrics: Sequence[str] | None = None,
    seed: int = 0,
    exact: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure how well a catalogue's search finds items of the same label.

    Parameters
    ----------
    catalog : Catalog
        What is searched.
    label : str
        ``product_id`` or an attribute: two items are relevant to one another when it is the same.
    queries : int, optional
        How many random items to query with; all unless given.
    queries_from : source, optional
        Photos to query with instead, with labels of the same name (consumer-to-shop).
    ks, seed, progress
        See `serupa.evaluation.evaluate`.
    metrics : sequence of str, optional
        Some of the catalogue's metrics; all of them unless given.
    exact : bool
        Measure exact search, also where the catalogue has an approximate index.

    Returns
    -------
    Evaluation

    Raises
    ------
    CatalogError
        If no two items share a label, or the catalogue has no such field or metric.
    """
    chosen = tuple(metrics or catalog.metrics)
    gallery = embedded_items(catalog, label)
    asked: int | EmbeddedItems | None = queries
    ranker = CatalogRanker(catalog, exact=exact)
    counts: dict[str, Any] = {}
    if queries_from is not None:
        items = _source_items(queries_from)
        usable = _usable(items, label, gallery)
        if queries is not None and 0 < queries < len(usable):
            # Drawn before they are encoded, which takes the time; what that leaves aside is counted too.
            unlabelled = sum(item.label(label) in (None, "") for item in items)
            counts = {
                "eligible": len(usable),
                "unlabelled": unlabelled,
                "skipped": len(items) - len(usable) - unlabelled,
            }
            rows = np.sort(np.random.default_rng(seed).choice(len(usable), queries, replace=False))
            items = [usable[row] for row in rows.tolist()]
        raw, unreadable = _embedded(catalog, items, label, progress)
        counts["unreadable"] = unreadable
        ranker = CatalogRanker(catalog, raw, exact=exact)
        asked = replace(raw, embeddings=catalog.as_searched(raw.embeddings))
    evaluation = evaluate(
        gallery,
        label=label,
        metrics=chosen,
        ranker=ranker,
        queries=asked,
        ks=ks,
        seed=seed,
        progress=progress,
    )
    return replace(evaluation, **counts)


def other_catalog(catalog: Catalog, other: str, directory: Path, progress: Progress | None = None) -> Catalog:
    """Open what a catalogue is to be compared with; the caller closes it.

    Parameters
    ----------
    catalog : Catalog
        The first set-up.
    other : str
        The directory or the address of another catalogue of the same items; or an encoder, with which the
        first one's photos are then indexed anew in ``directory``.
    directory : Path
        A new directory.
    progress : callable, optional
        Called with what is being done, how much is done, and of how much.

    Raises
    ------
    CatalogError
        If it is the same catalogue, or one of its photos cannot be read any more.
    """
    from serupa.catalog import Catalog

    place = place_of(other)
    if _same_place(place.address, catalog.path):
        raise CatalogError(f"{other}: is the catalogue that it would be compared with")
    if place.has_catalog():
        place.release()
        return Catalog.open(other)
    total, tell = catalog.count(), progress or (lambda *_: None)
    made = Catalog.create(directory, other, metrics=catalog.metrics)
    try:
        report = made.add(
            list(catalog.items()),
            progress=lambda report: tell(f"indexing with {made.card.name}", report.seen, total),
        )
        if report.failures:  # a smaller gallery is easier: the two would not be compared on the same terms
            raise CatalogError(
                f"cannot compare with {made.card.name}: {len(report.failures)} photos of {catalog.path} "
                f"cannot be read, the first: {report.failures[0].reason}"
            )
    except BaseException:
        made.close()
        raise
    return made


def embedded_items(catalog: Catalog, label: str) -> EmbeddedItems:
    """Return a catalogue's items as arrays, with their labels and the vectors that its search compares.

    Raises
    ------
    CatalogError
        If no item has such a field.
    """
    if label not in ("product_id", "id") and label not in catalog.fields:
        known = ", ".join(("product_id", *catalog.fields))
        raise CatalogError(f"no item has a field {label!r} to evaluate by; there are {known}")
    ids, embeddings = catalog.embeddings()
    labels = {item.id: item.label(label) for item in catalog.items()}
    return EmbeddedItems(ids, [labels[one] for one in ids], catalog.as_searched(embeddings))


def _source_items(source: Source) -> list[Item]:
    from serupa.sources import read_source

    items = list(read_source(source))
    if not items:
        raise CatalogError("there are no queries: the source that they are to come from is empty")
    return items


def _usable(items: list[Item], label: str, gallery: EmbeddedItems) -> list[Item]:
    """Return the items whose label the gallery has; `evaluate` refuses labels that are lists."""
    known = {value for value in gallery.labels if isinstance(value, Hashable)} - {None, ""}
    return [item for item in items if isinstance(item.label(label), Hashable) and item.label(label) in known]


def _embedded(
    catalog: Catalog, items: list[Item], label: str, progress: Progress | None
) -> tuple[EmbeddedItems, tuple[str, ...]]:
    """Encode a query set; return also the photos that cannot be used, which stop no other."""
    keep_freed_memory()
    encoder = catalog.encoder
    usable: list[Item] = []
    unreadable: list[str] = []
    rows = [np.empty((0, encoder.dimension), np.float32)]

    def pixels_of(item: Item) -> NDArray[np.uint8] | str:
        try:
            return encoder.preprocess(item.image)
        except ImageError as error:
            return str(error)

    with ThreadPoolExecutor(available_cpus(), "query") as readers:
        for batch in grouped(items, _DECODED):
            read = list(zip(batch, readers.map(pixels_of, batch), strict=True))
            unreadable += [found for _, found in read if isinstance(found, str)]
            good = [(item, found) for item, found in read if not isinstance(found, str)]
            if good:
                rows.append(encoder.encode(np.stack([found for _, found in good])))
                usable += [item for item, _ in good]
            if progress:
                progress("encoding queries", len(usable) + len(unreadable), len(items))
    if not usable:
        raise CatalogError(f"no query photo can be used; the first: {unreadable[0]}")
    queries = EmbeddedItems(
        [item.id for item in usable], [item.label(label) for item in usable], np.concatenate(rows)
    )
    return queries, tuple(unreadable)


def _same_place(one: Path | ServerAddress, other: Path | ServerAddress) -> bool:
    if isinstance(one, Path) and isinstance(other, Path):
        return one.resolve() == other.resolve()
    return str(one) == str(other)
