"""`Catalog`: an encoder, a store, and what the two must agree on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

import serupa
from serupa.catalog import reindex as switching
from serupa.catalog.results import By, Recommendation, SearchResult
from serupa.catalog.schema import OWN_FIELDS, Layout, dimensions_of, item_of, kind_of, payload_of
from serupa.encoders import DEFAULT, Card, load_card, load_encoder
from serupa.errors import CatalogError, FilterError, ItemNotFoundError
from serupa.filters import Filter, Scalar, Where, as_filter
from serupa.items import Hit, Item
from serupa.sources import read_source
from serupa.storage.base import FieldKind, Neighbor, Point, Store, grouped
from serupa.storage.manifest import FORMAT
from serupa.storage.opening import Place, Settings, checked_metrics, place_of
from serupa.vectors import Metric, Vector, similarity_of

if TYPE_CHECKING:
    from serupa.catalog.ingest import AddReport, Progress
    from serupa.encoders import Encoder
    from serupa.images import Crop, Photo, Resize
    from serupa.learning.whitening import Whitening
    from serupa.recommend.engine import Example, Known
    from serupa.storage.qdrant.address import ServerAddress


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a search is to return, checked."""

    metric: Metric
    k: int
    offset: int
    where: Filter
    by: By
    exact: bool
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.k < 1 or self.offset < 0:
            raise CatalogError(f"k must be at least 1 and offset at least 0, not {self.k} and {self.offset}")
        if self.by not in ("item", "product"):
            raise CatalogError(f"by must be item or product, not {self.by!r}")


class Catalog:
    """A searchable collection of product photos. Make one with `create`, open one with `open`.

    A catalogue in a directory is held by one process at a time, one on a server by any number; its methods
    may be called from several threads. Use it in a ``with`` statement, or call `close`.
    """

    def __init__(self, place: Place, settings: Settings) -> None:
        self._place = place
        self._settings = settings
        self._encoder: Encoder | None = None
        self._whitening: Whitening | None = None
        self._alike_by: dict[tuple[Metric, int, str], float] = {}
        self._store: Store = self._open_store(settings)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        encoder: str | Card | None = None,
        *,
        metrics: Sequence[str] = ("cosine",),
        resize: Resize | None = None,
        weights: str | os.PathLike[str] | None = None,
        exist_ok: bool = False,
        wait_s: float = 0.0,
    ) -> Self:
        """Make a catalogue in a new or empty directory, or on a Qdrant server.

        Parameters
        ----------
        path : path
            The catalogue's directory, or its address on a server: ``qdrant://host:6333/name``.
        encoder : str or Card, optional
            An encoder's name, the path of a card, or a card; ``efficientnet-lite0`` unless given.
        metrics : sequence of {"cosine", "euclidean", "manhattan"}
            The metrics that it can be searched by; the first is the default.
        resize : {"squash", "crop", "pad"}, optional
            How photos become squares; the encoder's card says unless given.
        weights : path, optional
            The encoder's weights, where they are not to be looked for.
        exist_ok : bool
            Open the catalogue that is there, if it agrees with what is asked for.
        wait_s : float
            How long to wait for another process that holds it.

        Raises
        ------
        CatalogError
            If there is something else in the directory, or a catalogue with other settings.
        SerupaError
            If the encoder is unknown or its weights cannot be had.
        """
        place = place_of(path)
        if place.has_catalog():
            if not exist_ok:
                raise CatalogError(
                    f"{place.address}: there is a catalogue already; open it, or choose another name"
                )
            catalog = cls._open(place, wait_s)
            try:
                catalog._refuse_other(encoder, resize, weights)
            except BaseException:
                catalog.close()
                raise
            return catalog
        place.refuse_occupied()
        chosen = checked_metrics(metrics)
        loaded = load_encoder(encoder or DEFAULT, weights=_text(weights), resize=resize)
        settings: Settings = {
            "format": FORMAT,
            "engine": place.engine,
            "serupa": serupa.__version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "encoder": loaded.card.to_dict(),
            "weights_sha256": loaded.weights_sha256,
            "weights": None if weights is None else str(Path(weights).resolve()),
            "metrics": list(chosen),
            "points": place.first_points,
            "tuning": None,
            "fields": {},
        }
        catalog = cls._create(place, settings, wait_s)
        try:
            catalog._refuse_other(encoder, resize, weights)  # whoever was faster may have wanted another
        except BaseException:
            catalog.close()
            raise
        catalog._encoder = loaded
        return catalog

    @classmethod
    def create_like(cls, path: str | os.PathLike[str], other: Catalog, *, wait_s: float = 0.0) -> Self:
        """Make a catalogue of the same encoder, metrics, fields and tuning, with no items.

        Raises
        ------
        CatalogError
            If there is something in its place.
        """
        place = place_of(path)
        if place.has_catalog():
            raise CatalogError(f"{place.address}: there is a catalogue already; choose another name")
        place.refuse_occupied()
        settings = other.settings | {"points": place.first_points, "engine": place.engine}
        settings.pop("server", None)
        return cls._create(place, settings, wait_s, other.whitening)

    @classmethod
    def _create(
        cls, place: Place, settings: Settings, wait_s: float, whitening: Whitening | None = None
    ) -> Self:
        place.claim(wait_s)
        try:
            if whitening is not None:
                settings["tuning"] = dict(settings["tuning"]) | place.save_tuning(1, whitening)
            settings = place.create(settings, dimensions_of(settings))
            return cls(place, settings)
        except BaseException:
            place.release()
            raise

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, wait_s: float = 0.0) -> Self:
        """Open a catalogue.

        Raises
        ------
        CatalogError
            If there is none, another process holds it, or its files are damaged or newer than
            this Serupa. One of an older format is upgraded (see `serupa.storage.manifest`).
        """
        return cls._open(place_of(path), wait_s)

    @classmethod
    def _open(cls, place: Place, wait_s: float) -> Self:
        try:
            place.read()
            place.claim(wait_s)
            # read again: whoever held it until now may have switched to other files
            settings = place.read()
            place.clear_leftovers(settings)
            return cls(place, settings)
        except BaseException:
            place.release()
            raise

    def close(self) -> None:
        """Write everything and let the next process in. Closing twice does nothing."""
        self._store.close()
        self._place.release()

    def refreshed(self) -> Self:
        """Return this catalogue, or another opening of it where it was switched over to other points.

        Only a catalogue on a server changes under its reader. The two share a connection and, where it is
        the same, the encoder; the one that was replaced may still answer for some minutes. New fields are
        noted in the catalogue itself.

        Raises
        ------
        CatalogError
            If the server does not answer, or the catalogue is gone.
        """
        if self.folder is not None:
            return self
        settings = self._place.read()
        if settings["points"] == self._settings["points"]:
            self._settings["fields"] = settings["fields"]
            return self
        found = type(self)(self._place, settings)
        if self._encoder is not None and settings["weights_sha256"] == self._settings["weights_sha256"]:
            found._encoder = self._encoder if found.card == self.card else None
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self.count()

    @property
    def path(self) -> Path | ServerAddress:
        """The catalogue's directory, or its address on a server; messages begin with it."""
        return self._place.address

    @property
    def folder(self) -> Path | None:
        """The catalogue's directory; None on a server."""
        return self._place.folder

    @property
    def store(self) -> Store:
        """The points themselves, for what moves them as they are; everything else asks the catalogue."""
        return self._store

    @property
    def settings(self) -> Settings:
        """What the encoder and the store agree on, as ``catalog.json`` has it: a copy."""
        return dict(self._settings) | {"fields": self.fields}

    @property
    def vector_names(self) -> tuple[str, ...]:
        """The named vectors of each point: the metrics and, of a tuned catalogue, ``raw``."""
        return tuple(dimensions_of(self._settings))

    @property
    def card(self) -> Card:
        """The encoder's card, with the resize mode that this catalogue uses."""
        return Card.from_dict(self._settings["encoder"])

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when first used; refused if its weights are not the catalogue's."""
        if self._encoder is None:
            weights = self._settings["weights"]
            if weights is not None and not Path(weights).exists():
                weights = None
            encoder = load_encoder(self.card, weights=weights)
            if encoder.weights_sha256 != self._settings["weights_sha256"]:
                raise CatalogError(
                    f"{self.path}: was made with other weights of {encoder.name} (sha256 "
                    f"{self._settings['weights_sha256'][:12]}, found {encoder.weights_sha256[:12]}); give it "
                    "those weights, or index into a new directory"
                )
            self._encoder = encoder
        return self._encoder

    def share_encoder(self, other: Catalog) -> bool:
        """Use the encoder that another catalogue has loaded, where it is the same; tell whether it is."""
        same = (
            self.card == other.card and self._settings["weights_sha256"] == other._settings["weights_sha256"]
        )
        if same:
            self._encoder = other.encoder
        return same

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that this catalogue can be searched by; the first is the default."""
        return tuple(self._settings["metrics"])

    @property
    def tuning(self) -> dict[str, Any] | None:
        """What the search was tuned with (see `serupa.learning.tuning`); None while it was not."""
        tuning: dict[str, Any] | None = self._settings.get("tuning")
        return None if tuning is None else dict(tuning)

    @property
    def whitening(self) -> Whitening | None:
        """The map that a tuned catalogue searches through; None where it is not tuned."""
        tuning = self._settings.get("tuning")
        if tuning is not None and self._whitening is None:
            self._whitening = self._place.load_tuning(tuning)
        return self._whitening

    def note_fields(self, fields: Mapping[str, FieldKind]) -> None:
        """Take over what is known of another catalogue's fields, and index them."""
        new = {name: kind for name, kind in fields.items() if self.fields.get(name) != kind}
        if new:
            self._settings["fields"] = self._settings["fields"] | new
            self._place.note_fields(self._settings, new)
        self.index_fields()

    def put(self, points: Sequence[Point], payloads: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write points that were made elsewhere, and payloads of points that are there."""
        for payload in (*(point.payload for point in points), *payloads):
            self._note_fields(item_of(payload))
        self._store.upsert(points)
        self._store.replace_payloads(payloads)

    def index_fields(self) -> None:
        """Make filters and counts on every field fast."""
        for name, kind in (OWN_FIELDS | self.fields).items():
            self._store.index_field(name, kind)

    @property
    def fields(self) -> dict[str, FieldKind]:
        """The attributes seen so far, and whether each is text, number or words (prose)."""
        return dict(self._settings["fields"])

    def add(
        self, source: str | os.PathLike[str] | Iterable[Item], *, progress: Progress | None = None
    ) -> AddReport:
        """Add items: new ones are encoded, changed ones replaced, known ones passed over.

        Interrupted at any moment, what was written stays; called again, it goes on from there.

        Parameters
        ----------
        source : path or iterable of Item
            A folder, a table (CSV, TSV, JSONL, Parquet) or items.
        progress : callable, optional
            Called with the `AddReport` so far, a few times a second.

        Returns
        -------
        AddReport
            What was added, updated and left, and the photos that could not be used, with reasons.

        Raises
        ------
        SourceError
            If the source as a whole cannot be read.
        """
        from serupa.catalog.ingest import Indexer

        self._store.index_field("product_id", "text")
        self._store.index_field("content", "text")
        layout = self.layout
        indexer = Indexer(
            self.encoder,
            self._store,
            make_point=layout.point,
            make_payload=payload_of,
            embedding_of=layout.embedding,
            vectors=(layout.embedding_name,),
            note=self._note_fields,
        )
        report = indexer.run(read_source(source), progress)
        for name, kind in self.fields.items():
            self._store.index_field(name, kind)
        if report.added or report.updated:
            self._store.optimize()
        return report

    def remove(self, ids: Sequence[str] = (), *, where: Where = None) -> int:
        """Remove items by id, by filter, or both together (items with these ids that pass the filter).

        Returns
        -------
        int
            How many items were removed.

        Raises
        ------
        ItemNotFoundError
            If an id is not in the catalogue; nothing is removed then.
        CatalogError
            If neither ids nor a filter are given.
        """
        conditions = self._filter(where)
        if not ids and not conditions:
            raise CatalogError("nothing to remove: give ids or a filter")
        if ids:
            found = self._store.get(ids)
            self._refuse_missing(ids, found)
            going = list(dict.fromkeys(ids))
            if conditions:
                passing = {p.id for batch in self._store.scroll(conditions) for p in batch}
                going = [i for i in going if i in passing]
        else:
            going = [p.id for batch in self._store.scroll(conditions) for p in batch]
        for batch in grouped(going, 1024):
            self._store.delete(batch)
        if going:
            self._store.optimize()
        return len(going)

    def search(
        self,
        photo: Photo,
        k: int = 10,
        *,
        metric: str | None = None,
        where: Where = None,
        by: By = "item",
        crop: Crop | None = None,
        offset: int = 0,
        exact: bool = False,
    ) -> SearchResult:
        """Find what looks like a photo.

        Parameters
        ----------
        photo : path, bytes or binary file
            The query.
        k : int
            How many hits to return.
        metric : {"cosine", "euclidean", "manhattan"}, optional
            One of the catalogue's metrics; its first unless given.
        where : mapping, sequence of str or filter, optional
            See `serupa.filters.as_filter`.
        by : {"item", "product"}
            Hits are items, or distinct products, each shown by its nearest photo.
        crop : Crop, optional
            The part of the photo to search with.
        offset : int
            How many of the nearest to pass over (the next page).
        exact : bool
            Compare with every item, also where an approximate index would be faster.

        Returns
        -------
        SearchResult
            The hits, nearest first; equal distances are ordered by id.

        Raises
        ------
        SerupaError
            If the photo cannot be used.
        FilterError, CatalogError
            If the filter or the metric is not one of this catalogue.
        """
        wanted = _Wanted(self._metric(metric), k, offset, self._filter(where), by, exact)
        encoder = self.encoder
        start = time.perf_counter()
        pixels = encoder.preprocess(photo, crop)
        decoded = time.perf_counter()
        embedding = encoder.encode(pixels[None])[0]
        encoded = time.perf_counter()
        neighbors = self._page(self.as_searched(embedding[None])[0], wanted)
        searched = time.perf_counter()
        timing = {
            "decode": 1e3 * (decoded - start),
            "encode": 1e3 * (encoded - decoded),
            "search": 1e3 * (searched - encoded),
        }
        return self._result(neighbors, wanted, timing)

    def search_embedding(
        self,
        embedding: NDArray[np.float32],
        k: int = 10,
        *,
        metric: str | None = None,
        where: Where = None,
        by: By = "item",
        offset: int = 0,
        exact: bool = False,
        exclude: Sequence[str] = (),
    ) -> SearchResult:
        """Search with a raw embedding ``(d,)`` of the catalogue's encoder; otherwise as `search`.

        ``exclude`` names items that are left out.
        """
        self._checked(embedding)
        wanted = _Wanted(self._metric(metric), k, offset, self._filter(where), by, exact, tuple(exclude))
        start = time.perf_counter()
        neighbors = self._page(self.as_searched(embedding[None])[0], wanted)
        return self._result(neighbors, wanted, {"search": 1e3 * (time.perf_counter() - start)})

    def similar(
        self,
        item_id: str,
        k: int = 10,
        *,
        metric: str | None = None,
        where: Where = None,
        by: By = "item",
        offset: int = 0,
        exact: bool = False,
    ) -> SearchResult:
        """Find what looks like an item of the catalogue, as `search` does from a photo.

        The item itself is left out; with ``by="product"``, so is its whole product.

        Raises
        ------
        ItemNotFoundError
            If the catalogue has no such item.
        """
        wanted = _Wanted(self._metric(metric), k, offset, self._filter(where), by, exact, (item_id,))
        start = time.perf_counter()
        (point,) = self._ordered([item_id], [wanted.metric])
        product = point.payload["product_id"]
        if by == "product" and product is not None:
            others = as_filter({"product_id": {"not": [product]}})
            wanted = replace(wanted, where=(*wanted.where, *others))
        neighbors = self._page(point.vectors[wanted.metric], wanted)
        return self._result(neighbors, wanted, {"search": 1e3 * (time.perf_counter() - start)})

    def recommend(
        self,
        likes: Sequence[str | Example] = (),
        dislikes: Sequence[str | Example] = (),
        k: int = 12,
        *,
        diversity: float = 0.0,
        metric: str | None = None,
        where: Where = None,
        by: By = "product",
    ) -> Recommendation:
        """Find what somebody may like, from what they like and dislike.

        Likes that differ form groups, each with results of its own; the groups take turns. Without likes it
        is a varied sample of the catalogue. The same call gives the same answer.

        Parameters
        ----------
        likes, dislikes : sequence of str or Example
            Ids of items, or examples: items with a weight, or photos by their embedding.
        k : int
            How many hits to return.
        diversity : float
            0 for the nearest, up to 1 for what is most unlike the hits before it.
        metric, where
            As in `search`.
        by : {"product", "item"}
            Recommend distinct products, none of which was liked or disliked by one of its photos; or items.

        Raises
        ------
        ItemNotFoundError
            If the catalogue has no such item.
        CatalogError
            If an item is both liked and disliked, the diversity is not in 0 to 1, or an embedding is not one
            of the catalogue's encoder.
        FilterError
            If the filter is not one of this catalogue.
        """
        from serupa.recommend.engine import Recommender

        wanted = _Wanted(self._metric(metric), k, 0, self._filter(where), by, exact=False)
        if not 0.0 <= diversity <= 1.0:
            raise CatalogError(f"diversity must be from 0 to 1, not {diversity:g}")
        start = time.perf_counter()
        liked, disliked = self._known(likes, wanted.metric), self._known(dislikes, wanted.metric)
        both = {p.id for p in liked.items} & {p.id for p in disliked.items}
        if both:
            raise CatalogError(f"{', '.join(sorted(both))}: both liked and disliked; choose one")
        recommender = Recommender(
            self._store, wanted.metric, wanted.where, by == "product", lambda: self._alike(wanted.metric)
        )
        picks, groups = recommender.run(liked, disliked, k, diversity)
        timing = {"search": 1e3 * (time.perf_counter() - start)}
        found = self._result([pick.neighbor for pick in picks], wanted, timing)
        because = tuple(pick.like for pick in picks)
        return Recommendation(found.hits, found.metric, found.encoder, timing, because, groups)

    def _alike(self, metric: Metric) -> float:
        """Return `serupa.recommend.engine.alike`, worked out again when the number of items has changed."""
        from serupa.recommend.engine import alike

        key = (metric, self._store.count(), self._settings["points"])
        if key not in self._alike_by:
            self._alike_by = {key: alike(self._store, metric)}
        return self._alike_by[key]

    def _known(self, examples: Sequence[str | Example], metric: Metric) -> Known:
        """Look up what is liked or disliked."""
        from serupa.recommend.engine import Example, Known

        given = [Example(one) if isinstance(one, str) else one for one in examples]
        stored = iter(self._ordered([one.item_id for one in given if one.item_id is not None], (metric,)))
        points = tuple(None if one.item_id is None else next(stored) for one in given)
        vectors = [
            point.vectors[metric] if point else self.as_searched(self._checked(one.vector)[None])[0]
            for one, point in zip(given, points, strict=True)
        ]
        size = self.card.dimension if self.whitening is None else self.whitening.dimension
        stacked = np.stack(vectors) if vectors else np.empty((0, size), np.float32)
        return Known(stacked, np.array([one.weight for one in given]), points)

    def get(self, item_id: str) -> Item:
        """Return an item.

        Raises
        ------
        ItemNotFoundError
            If the catalogue has no such item.
        """
        stored = self._store.get([item_id])
        self._refuse_missing([item_id], stored)
        return item_of(stored[item_id].payload)

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Return those of the ids that the catalogue does not have."""
        stored = self._store.get(ids)
        return [i for i in dict.fromkeys(ids) if i not in stored]

    def items(self, where: Where = None) -> Iterator[Item]:
        """Yield every item that a filter lets through, in a stable order of the store's own."""
        for batch in self._store.scroll(self._filter(where)):
            yield from (item_of(point.payload) for point in batch)

    def embeddings(self, ids: Sequence[str] | None = None) -> tuple[list[str], NDArray[np.float32]]:
        """Return ids and raw embeddings ``(n, d)``, of these items (in this order) or of all.

        Raises
        ------
        ItemNotFoundError
            If an id is not in the catalogue.
        """
        layout = self.layout
        names = (layout.embedding_name,)
        if ids is None:
            batches: Iterable[list[Point]] = self._store.scroll(vectors=names)
        else:
            batches = (self._ordered(batch, names) for batch in grouped(ids, 256))
        found: list[str] = []
        rows: list[NDArray[np.float32]] = []
        for batch in batches:
            found += [point.id for point in batch]
            rows.append(np.stack([layout.embedding(point) for point in batch]))
        return found, np.concatenate(rows) if rows else np.empty((0, self.card.dimension), np.float32)

    def as_searched(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn raw embeddings ``(n, d)`` into what the search compares.

        They come back as they are unless the catalogue is tuned; then ``(n, m)``, whitened, each of length 1.
        """
        return embeddings if self.whitening is None else self.whitening.apply(embeddings)

    def use_whitening(
        self,
        whitening: Whitening | None,
        notes: Mapping[str, Any] | None = None,
        *,
        progress: switching.Progress | None = None,
    ) -> None:
        """Search through a whitening from now on, or without one.

        No photo is encoded again: raw embeddings are kept. Everything is written beside what is in use, then
        switched to in one step: a crash leaves the old or the new whole. It takes the disk space of both
        until then. Let no other thread use the catalogue meanwhile.

        Parameters
        ----------
        whitening : Whitening or None
            None goes back to the search as the encoder made it.
        notes : mapping, optional
            JSON-ready values to remember it by; `tuning` and `info` return them.
        progress : callable, optional
            Called with what is being done, how much is done, and of how much.

        Raises
        ------
        CatalogError
            If it does not fit the encoder's embeddings, or cannot be written.
        """
        if whitening is not None and whitening.mean.shape != (self.card.dimension,):
            raise CatalogError(
                f"{self.path}: an embedding here is ({self.card.dimension},), the whitening takes "
                f"{whitening.mean.shape}"
            )
        number = self._place.next_number()
        settings = dict(self._settings) | {"points": self._place.points_name(number), "tuning": None}
        store: Store | None = None
        try:
            if whitening is not None:
                settings["tuning"] = {
                    **(notes or {}),
                    "when": datetime.now(UTC).isoformat(timespec="seconds"),
                    "dimension": whitening.dimension,
                    **self._place.save_tuning(number, whitening),
                }
            made = store = self._open_store(settings, new=True)
            after = Layout(self.metrics, whitening is not None, lambda: whitening)
            copying = switching.Copying(self._store, made, self.layout, after)
            copying.copy(self.fields, progress or (lambda *_: None))
            self._place.switch(settings, copying.catch_up)
        except BaseException as error:
            if store is not None:
                store.close()
            # interrupted right after the switch, the new files are in use: then whoever opens next clears up
            if self._place.read()["points"] == self._settings["points"]:
                self._place.clear_leftovers(self._settings)
            if isinstance(error, OSError):
                raise CatalogError(f"{self.path}: cannot be written: {error.strerror or error}") from error
            raise
        self._store.close()
        self._settings, self._store, self._whitening = settings, made, whitening
        self._place.clear_leftovers(settings)

    def move_images(self, before: Path, after: Path) -> int:
        """Let items show photos that were moved from one folder to another; return how many did."""
        moved = [
            dict(point.payload) | {"image": str(after / Path(point.payload["image"]).name)}
            for batch in self._store.scroll()
            for point in batch
            if Path(point.payload["image"]).parent == before
        ]
        self._store.replace_payloads(moved)
        return len(moved)

    def rank(
        self,
        ids: Sequence[str],
        limit: int,
        *,
        metric: str | None = None,
        where: Where = None,
        exact: bool = False,
    ) -> list[list[tuple[str, float]]]:
        """Return, for each of these items, the ids and distances of its nearest, itself left out.

        The search of `similar` for many items at once, without reading what the hits are.
        """
        chosen, conditions = self._metric(metric), self._filter(where)
        ranked: list[list[tuple[str, float]]] = []
        # many exact queries at once share one pass over the vectors; 40,000 of 1,280 values take 200 MB
        for batch in grouped(ids, 40_000 if exact else 64):
            vectors = np.stack(
                [p.vectors[chosen] for part in grouped(batch, 256) for p in self._ordered(part, (chosen,))]
            )
            # one more is asked for and the item taken out here: queries that differ in their vector
            # alone are scored together by the engine, 4 times as fast as with a filter each
            answers = self._store.search(
                vectors, chosen, limit + 1, where=conditions, exact=exact, payload=False
            )
            for one, answer in zip(batch, answers, strict=True):
                ranked.append([(n.id, n.distance) for n in answer if n.id != one][:limit])
        return ranked

    def count(self, where: Where = None) -> int:
        """Return how many items a filter lets through; all of them without one."""
        return self._store.count(self._filter(where))

    def facets(
        self, name: str, *, where: Where = None, limit: int = 100
    ) -> list[tuple[Scalar, int]] | tuple[float, float] | None:
        """Return what there is to choose from in a field.

        Returns
        -------
        list of (value, count), (smallest, largest) or None
            Counts for texts, most frequent first; bounds for numbers; None where no item that the
            filter lets through has the field.

        Raises
        ------
        FilterError
            If no item has such a field, or it holds prose.
        """
        kind = (OWN_FIELDS | self.fields).get(name)
        if kind is None or kind == "words":
            counted = [n for n, k in self.fields.items() if k != "words"]
            raise FilterError(f"{name!r} cannot be counted; {', '.join(counted) or 'no field'} can")
        conditions = self._filter(where)
        if kind == "number":
            return self._store.bounds(name, conditions)
        return self._store.facet(name, conditions, limit) or None

    def info(self) -> dict[str, Any]:
        """Return what the catalogue is and holds, as JSON-ready values."""
        card = self.card
        items = self.count()
        return {
            **self._place.describe(),
            "items": items,
            "products": len(self._store.facet("product_id", limit=items + 1)) if items else 0,
            "encoder": card.name,
            "dimension": card.dimension,
            "input_size": card.input_size,
            "resize": card.resize,
            "metrics": list(self.metrics),
            "tuning": self.tuning,
            "fields": self.fields,
            "indexed_vectors": self._store.indexed(),
            "created": self._settings["created"],
            "serupa": self._settings["serupa"],
        }

    def _open_store(self, settings: Mapping[str, Any], *, new: bool = False) -> Store:
        return self._place.open_store(dict(settings), dimensions_of(settings), new=new)

    def _refuse_other(
        self, encoder: str | Card | None, resize: Resize | None, weights: str | os.PathLike[str] | None
    ) -> None:
        """Refuse what would mix embeddings of two encoders."""
        card = self.card
        if encoder is not None:
            wanted = encoder if isinstance(encoder, Card) else load_card(encoder)
            if wanted.name != card.name:
                raise CatalogError(
                    f"{self.path}: its encoder is {card.name}; for {wanted.name} use another directory"
                )
        if resize is not None and resize != card.resize:
            raise CatalogError(
                f"{self.path}: its photos are resized by {card.resize}, not {resize}; use another directory"
            )
        if weights is not None:
            given = load_encoder(card, weights=_text(weights)).weights_sha256
            if given != self._settings["weights_sha256"]:
                raise CatalogError(
                    f"{self.path}: was made with other weights than {weights}; use another directory"
                )

    def _note_fields(self, item: Item) -> None:
        """Record what attributes an item has, before the item is stored."""
        fields = self._settings["fields"]
        new = {}
        for name, value in item.attributes.items():
            kind, known = kind_of(value), fields.get(name)
            if {kind, known} == {"number", "text"}:
                kind = "text"  # what holds both is text
            if known not in (kind, "words"):
                new[name] = kind
        if new:
            fields.update(new)
            self._place.note_fields(self._settings, new)

    @property
    def layout(self) -> Layout:
        """How embeddings become the vectors of points, for what writes points of its own."""
        return Layout(self.metrics, self.tuning is not None, lambda: self.whitening)

    def _checked(self, embedding: Vector) -> Vector:
        if embedding.shape != (self.card.dimension,):
            raise CatalogError(
                f"{self.path}: an embedding here is ({self.card.dimension},), not {embedding.shape}"
            )
        if not np.isfinite(embedding).all():
            raise CatalogError(f"{self.path}: the embedding to search with holds NaN or infinity")
        return embedding

    def _ordered(self, ids: Sequence[str], vectors: Sequence[str]) -> list[Point]:
        stored = self._store.get(ids, vectors=vectors)
        self._refuse_missing(ids, stored)
        return [stored[i] for i in ids]

    def _refuse_missing(self, ids: Iterable[str], found: Mapping[str, Point]) -> None:
        missing = [i for i in ids if i not in found]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise ItemNotFoundError(f"{self.path}: no item {', '.join(map(repr, missing[:3]))}{more}")

    def _metric(self, metric: str | None) -> Metric:
        if metric is None:
            return self.metrics[0]
        for known in self.metrics:
            if known == metric:
                return known
        raise CatalogError(f"{self.path}: cannot be searched by {metric!r}; it has {', '.join(self.metrics)}")

    def _filter(self, where: Where) -> Filter:
        conditions = as_filter(where)
        known = OWN_FIELDS | self.fields
        for condition in conditions:
            if condition.field not in known:
                raise FilterError(f"no item has a field {condition.field!r}; there are {', '.join(known)}")
        return conditions

    def _page(self, vector: Vector, wanted: _Wanted) -> list[Neighbor]:
        """Return ranks ``offset + 1`` to ``offset + k``."""
        end = wanted.offset + wanted.k
        limit = end if wanted.by == "item" else 4 * end
        while True:
            (found,) = self._store.search(
                vector[None],
                wanted.metric,
                limit,
                where=wanted.where,
                exclude=[wanted.exclude],
                exact=wanted.exact,
            )
            kept = found if wanted.by == "item" else _first_of_each_product(found)
            if len(kept) >= end or len(found) < limit:
                return kept[wanted.offset : end]
            limit *= 4

    def _result(
        self, neighbors: Sequence[Neighbor], wanted: _Wanted, timing_ms: Mapping[str, float]
    ) -> SearchResult:
        hits = tuple(
            Hit(rank, item_of(n.payload), n.distance, similarity_of(n.distance, wanted.metric))
            for rank, n in enumerate(neighbors, wanted.offset + 1)
        )
        return SearchResult(hits, wanted.metric, self.card.name, timing_ms)


def _first_of_each_product(neighbors: Iterable[Neighbor]) -> list[Neighbor]:
    """Keep the nearest item of each product; an item without a product stands for itself."""
    first: dict[tuple[bool, str], Neighbor] = {}
    for neighbor in neighbors:
        product = neighbor.payload["product_id"]
        first.setdefault((product is None, neighbor.id if product is None else product), neighbor)
    return list(first.values())


def _text(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)
