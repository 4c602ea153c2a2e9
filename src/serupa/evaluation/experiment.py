"""An experiment on a catalogue: what is measured is the catalogue's own search, as its users get it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from serupa.catalog.compared import query_vectors
from serupa.catalog.query import rank
from serupa.catalog.reading import read_all
from serupa.encoders.session import available_cpus
from serupa.errors import InvalidInputError, SerupaError, UsageError
from serupa.evaluation.comparison import Difference
from serupa.evaluation.protocol import EmbeddedItems, Evaluation, compare, evaluate, has_label
from serupa.evaluation.ranking import Neighbors
from serupa.progress import Progress, silent
from serupa.storage.base import grouped
from serupa.storage.opening import backend_of
from serupa.vectors import Metric

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.items import Item
    from serupa.sources import Source

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
    kind : {"any"}, optional
        Compare the look alone.
    """

    def __init__(
        self,
        catalog: Catalog,
        queries: EmbeddedItems | None = None,
        *,
        exact: bool = False,
        kind: str | None = None,
    ) -> None:
        self._catalog = catalog
        self._exact = exact
        self._kind = kind
        self._embedding_of = dict(zip(queries.ids, queries.embeddings, strict=True)) if queries else None

    def rank(self, queries: Sequence[str], metric: Metric, limit: int) -> Iterator[Neighbors]:
        """Yield the nearest items of each query; see `serupa.evaluation.Ranker.rank`."""
        asked: Sequence[str] | NDArray[np.float32] = queries
        if self._embedding_of is not None:
            asked = np.stack([self._embedding_of[query] for query in queries])
        yield from rank(self._catalog, asked, limit, metric=metric, exact=self._exact, kind=self._kind)


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
    InvalidInputError
        If no two items share a label, or there is no query that can be used.
    UsageError
        If the catalogue has no such field or metric.
    """
    for metric in metrics or ():
        if metric not in catalog.manifest.metrics:
            has = ", ".join(catalog.manifest.metrics)
            raise UsageError(metric, "the catalogue cannot be searched by it", f"it has {has}")
    gallery = embedded_items(catalog, label)
    asked: int | EmbeddedItems | None = queries
    kind = blind_to(catalog, label)
    ranker = CatalogRanker(catalog, exact=exact, kind=kind)
    counts: dict[str, Any] = {}
    if queries_from is not None:
        items, counts = _query_photos(queries_from, label, gallery, queries, seed)
        raw, counts["unreadable"] = _embedded(catalog, items, label, progress)
        ranker = CatalogRanker(catalog, raw, exact=exact, kind=kind)
        if kind is None:
            own = {one: query_vectors(catalog, raw.embeddings, one) for one in catalog.manifest.metrics}
            asked = replace(raw, embeddings=own[catalog.manifest.metrics[0]], own=own)
        else:
            asked = replace(raw, embeddings=catalog.schema.map.looks_of(raw.embeddings))
    evaluation = evaluate(
        gallery,
        label=label,
        metrics=cast("Sequence[Metric]", metrics or catalog.manifest.metrics),
        ranker=ranker,
        queries=asked,
        ks=ks,
        seed=seed,
        progress=progress,
    )
    return replace(evaluation, **counts)


def compare_catalog(
    catalog: Catalog,
    before: Evaluation,
    other: str,
    measure: Callable[[Catalog], Evaluation],
    *,
    progress: Progress | None = None,
) -> list[Difference]:
    """Measure another set-up in the same way, and compare the two on the queries that both have.

    Parameters
    ----------
    catalog : Catalog
        The first set-up.
    before : Evaluation
        Of it.
    other : str
        See `other_catalog`.
    measure : callable
        What `before` was made by: `evaluate_catalog` with its arguments.
    progress : callable, optional
        Called with what is being done, how much is done, and of how much.

    Returns
    -------
    list of Difference
        With intervals that draw whole products.
    """
    products = {item.id: item.product_id for item in catalog.items()}
    with (
        tempfile.TemporaryDirectory(prefix="serupa-") as folder,
        other_catalog(catalog, other, Path(folder) / "catalog", progress) as second,
    ):
        return compare(before, measure(second), clusters=products)


def report_catalog(
    catalog: Catalog, evaluation: Evaluation, directory: Path, *, progress: Progress | None = None
) -> Path:
    """Write the report of a catalogue's evaluation.

    See `serupa.evaluation.report.write_report` for what is written and raised.

    Returns
    -------
    Path
        The page in ``directory``.
    """
    from serupa.evaluation.report import write_report

    name = catalog.path.name if catalog.backend.folder is None else catalog.backend.folder.resolve().name
    page = write_report(
        evaluation,
        directory,
        gallery=embedded_items(catalog, evaluation.label),
        items={item.id: item for item in catalog.items()},
        title=f"{name}: search by {evaluation.label}",
        progress=progress,
    )
    return page


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
    UsageError
        If it is the same catalogue.
    InvalidInputError
        If one of its photos cannot be read any more.
    """
    from serupa.catalog import Catalog

    backend = backend_of(other)
    address = backend.address.resolve() if isinstance(backend.address, Path) else backend.address
    if str(address) == str(catalog.path.resolve() if isinstance(catalog.path, Path) else catalog.path):
        raise UsageError(other, "is the catalogue that it would be compared with")
    if backend.exists():
        backend.close()
        return Catalog.open(other)
    total, tell = catalog.count(), progress or silent
    kinds = None if catalog.manifest.kinds is not None else 0.0
    made = Catalog.create(directory, other, metrics=catalog.manifest.metrics, kinds=kinds)
    name = made.manifest.card.name
    try:
        report = made.add(
            list(catalog.items()),
            progress=lambda report: tell(f"indexing with {name}", report.seen, total),
        )
        if report.failures:  # a smaller gallery is easier: the two would not be compared on the same terms
            raise InvalidInputError(
                catalog.path,
                f"{len(report.failures)} photos cannot be indexed with {name}, so there is no fair "
                f"comparison; the first: {report.failures[0].reason}",
            )
    except BaseException:
        made.close()
        raise
    return made


def blind_to(catalog: Catalog, label: str) -> str | None:
    """Return ``"any"`` (compare the look alone) where kinds are told from the label that is measured."""
    return "any" if catalog.manifest.kinds is not None and label in ("category", "name") else None


def embedded_items(catalog: Catalog, label: str, *, look_alone: bool = False) -> EmbeddedItems:
    """Return a catalogue's items as arrays, with their labels and the vectors that its search compares.

    With ``look_alone``, kinds of garment are left out of these.

    Raises
    ------
    UsageError
        If no item has such a field.
    """
    if label not in ("product_id", "id", *catalog.manifest.fields):
        fields = ", ".join(("product_id", *catalog.manifest.fields))
        raise UsageError(label, "no item has such a field", f"there are {fields}")
    items, embeddings = read_all(catalog)
    ids, labels = [item.id for item in items], [item.label(label) for item in items]
    if look_alone or blind_to(catalog, label) is not None:
        return EmbeddedItems(ids, labels, catalog.schema.map.looks_of(embeddings))
    metrics = catalog.manifest.metrics
    own = catalog.schema.map.of_items(embeddings, [item.attributes for item in items], metrics)
    return EmbeddedItems(ids, labels, own[metrics[0]], own)


def _query_photos(
    source: Source, label: str, gallery: EmbeddedItems, count: int | None, seed: int
) -> tuple[list[Item], dict[str, Any]]:
    """Return the items to query with.

    Some of many are drawn before they are encoded, which takes the time; what that leaves aside is counted
    here, as fields of the `Evaluation`.
    """
    from serupa.sources import read_source

    items = list(read_source(source).items())
    if not items:
        raise InvalidInputError(source, "is empty: there are no queries")
    labels = {value for value in gallery.labels if isinstance(value, Hashable) and has_label(value)}
    usable = [
        item for item in items if isinstance(item.label(label), Hashable) and item.label(label) in labels
    ]
    if count is None or not 0 < count < len(usable):
        return items, {}
    unlabelled = sum(not has_label(item.label(label)) for item in items)
    rows = np.sort(np.random.default_rng(seed).choice(len(usable), count, replace=False))
    return [usable[row] for row in rows.tolist()], {
        "eligible": len(usable),
        "unlabelled": unlabelled,
        "skipped": len(items) - len(usable) - unlabelled,
    }


def _embedded(
    catalog: Catalog, items: list[Item], label: str, progress: Progress | None
) -> tuple[EmbeddedItems, tuple[str, ...]]:
    """Encode a query set; return also the photos that cannot be used, which stop no other."""
    encoder = catalog.encoder
    usable: list[Item] = []
    unreadable: list[str] = []
    rows = [np.empty((0, encoder.dimension), np.float32)]

    def pixels_of(item: Item) -> NDArray[np.uint8] | str:
        try:
            return encoder.preprocess(item.image)
        except SerupaError as error:
            return str(error)

    with ThreadPoolExecutor(available_cpus(), "query") as readers:
        for batch in grouped(items, _DECODED):
            pixels = []
            for item, read in zip(batch, readers.map(pixels_of, batch), strict=True):
                if isinstance(read, str):
                    unreadable.append(read)
                else:
                    usable.append(item)
                    pixels.append(read)
            if pixels:
                rows.append(encoder.encode(np.stack(pixels)))
            if progress:
                progress("encoding queries", len(usable) + len(unreadable), len(items))
    if not usable:
        raise InvalidInputError("queries", f"no photo can be used; the first: {unreadable[0]}")
    queries = EmbeddedItems(
        [item.id for item in usable], [item.label(label) for item in usable], np.concatenate(rows)
    )
    return queries, tuple(unreadable)
