"""What a catalogue asks of its storage: `VectorStore`, `Backend`, and `Draft` to replace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from serupa.filters import Filter, Scalar
from serupa.items import OWN_FIELDS, FieldKind
from serupa.storage.manifest import CatalogManifest, TuningInfo
from serupa.vectors import Metric, Vector, distances

if TYPE_CHECKING:
    from serupa.storage.qdrant.address import ServerAddress

T = TypeVar("T")

Terms = Mapping[int, float]
"""Weights by term: a sparse vector."""
TermsOf = Callable[[Mapping[str, Any]], Terms]
"""What a point is found by in words, from its payload."""


@dataclass(frozen=True, slots=True)
class Point:
    """What a store keeps: an id, named vectors of shape ``(d,)``, and a JSON payload."""

    id: str
    vectors: Mapping[str, Vector]
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A point that a search found, with its distance (smaller is nearer) and its score by words."""

    id: str
    distance: float
    payload: Mapping[str, Any]
    words: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What a recommendation starts from: vectors as they are searched, ``(p, d)`` and ``(n, d)``."""

    likes: NDArray[np.float32]
    dislikes: NDArray[np.float32]


def payload_key(field: str) -> str:
    """Return where a field stands in a point's payload, as a path that the engine reads."""
    if field in OWN_FIELDS:
        return field
    return f'attributes."{field}"'


class VectorStore(Protocol):
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
        self,
        where: Filter = (),
        *,
        vectors: Sequence[str] = (),
        batch: int = 256,
        after: str | None = None,
    ) -> Iterator[list[Point]]:
        """Yield every point that the filter lets through, in batches, in a stable order.

        ``after`` is the id of a point, there or not: only what comes behind it in that order is yielded.
        """

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

    def find_words(
        self,
        words: Sequence[Terms],
        limit: int,
        *,
        where: Filter = (),
        exclude: Sequence[str] = (),
        payload: bool = True,
    ) -> list[list[Neighbor]]:
        """Return, for each of these, the points that have any of its terms, the best score first.

        A score is the sum over terms of weight asked, weight kept, and inverse document frequency among all
        points. Distances mean nothing. Without ``payload`` each has the id and the product's alone.
        """

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
        """Return the ``limit`` nearest points and the ``limit`` of the best scores by words, nearest first.

        Each has its distance and its score, 0 where it has none of the terms.
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
        """Make filters and counts on a field fast; called again for the same kind, it does nothing."""

    def facet(self, field: str, where: Filter = (), limit: int = 100) -> list[tuple[Scalar, int]]:
        """Return the values of an indexed text field with their counts, most frequent first."""

    def bounds(self, field: str, where: Filter = ()) -> tuple[float, float] | None:
        """Return the smallest and the largest value of an indexed number field."""

    def optimize(self, *, wait: bool = True) -> None:
        """Bring what was changed to the disk, and the index up to date: that is needed for speed only.

        Unless ``wait``, the index is brought up to date beside what follows.
        """

    def indexed(self) -> int:
        """Return how many vectors are reached by the approximate index; the others are scanned."""

    def for_writing(self) -> VectorStore:
        """Return this store with the patience of a write, for the questions that one depends on."""

    def close(self) -> None:
        """Write everything and let go of it."""


class Backend(Protocol):
    """Where a catalogue lives: keeps its manifest, its store and what it was tuned with.

    The manifest names what is in use; whatever replaces it is a `Draft` beside it until then.
    """

    @property
    def address(self) -> Path | ServerAddress:
        """Where it is; errors are about it."""

    @property
    def folder(self) -> Path | None:
        """The directory for what stands beside the points; None where there is none."""

    def exists(self) -> bool:
        """Return whether there is a catalogue."""

    def refuse_occupied(self) -> None:
        """Raise `ConflictError` if something else is there."""

    def lock(self, wait_s: float) -> None:
        """Take the exclusive right to a catalogue that exists, where one is needed, waiting for it that long.

        Raises
        ------
        ConflictError
            If another process has it.
        """

    def load(self) -> CatalogManifest:
        """Read the manifest.

        Raises
        ------
        NotFoundError, DamagedError, UnavailableError
            If there is no catalogue, it cannot be read, or a newer Serupa made it.
        """

    def create(self, manifest: CatalogManifest, tuning: bytes | None, wait_s: float) -> CatalogManifest:
        """Lock the place of a new catalogue and keep its manifest there.

        Returns
        -------
        CatalogManifest
            The one in force: another's, if it was faster.
        """

    def add_fields(self, manifest: CatalogManifest, kinds: Mapping[str, FieldKind]) -> None:
        """Keep the kinds of fields that are new; the manifest has them already."""

    def open(self, manifest: CatalogManifest, terms: TermsOf) -> VectorStore:
        """Open the store that a manifest names, and remove what is left of drafts.

        Where the manifest says so, points are kept with their terms.
        """

    def read_tuning(self, tuning: TuningInfo) -> bytes:
        """Return what was kept with `Draft.create`; raise `DamagedError` if it is not that any more."""

    def begin(self, store: VectorStore) -> Draft:
        """Begin to replace the store in use, which is closed and removed when it was replaced."""

    def describe(self) -> dict[str, Any]:
        """Return what `Catalog.info` says of it: ``path``, ``size_bytes`` and more, as JSON-ready values."""

    def status(self) -> dict[str, Any]:
        """Return where its parts lie on a server, as JSON-ready values; nothing where it is in one place."""

    def break_lock(self) -> str:
        """Take the right to replace the store from whoever has it; return who that was.

        Raises
        ------
        UsageError
            Where the lock of a process that is gone is gone with it.
        """

    def close(self) -> None:
        """Give up the lock, and let go of everything else."""


class Draft(Protocol):
    """A store being made beside the one in use, in a ``with`` statement.

    Left without `commit`, nothing has changed and nothing of it remains.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def create(self, manifest: CatalogManifest, tuning: bytes | None, terms: TermsOf) -> VectorStore:
        """Make the empty store that a manifest describes, under a name that is chosen here; keep a tuning."""

    def commit(self, catch_up: Callable[[], None]) -> CatalogManifest:
        """Put the draft in the place of what is in use, in one step.

        ``catch_up`` brings the new store up to date once more where others may have written meanwhile.

        Returns
        -------
        CatalogManifest
            The one in force from now on.
        """


def nearest_likes(examples: Examples, candidates: Sequence[Point], metric: Metric) -> list[Neighbor]:
    """Order what an engine recommends as `VectorStore.recommend` promises.

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
    neighbors = [
        Neighbor(point.id, float(distance), point.payload)
        for point, distance, refused in zip(candidates, liked, disliked, strict=True)
        if distance < refused
    ]
    return sorted(neighbors, key=lambda n: (n.distance, n.id))


def product_of(neighbor: Neighbor) -> tuple[str, str]:
    """Return what makes a product of an item: its product's id; an item without one stands for itself."""
    product = neighbor.payload["product_id"]
    return ("item", neighbor.id) if product is None else ("product", product)


def first_of_each_product(neighbors: Sequence[Neighbor]) -> list[Neighbor]:
    """Return the first item of each product."""
    first: dict[tuple[str, str], Neighbor] = {}
    for neighbor in neighbors:
        first.setdefault(product_of(neighbor), neighbor)
    return list(first.values())


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
