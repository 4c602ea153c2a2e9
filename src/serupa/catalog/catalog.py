"""`Catalog`: an encoder, a store, and what the two must agree on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from serupa.catalog import query, reports, words
from serupa.catalog.own import OwnItems
from serupa.catalog.query import SearchRequest, conditions_of
from serupa.catalog.reading import read_all, stored_points
from serupa.catalog.reindex import Alone, rewrite
from serupa.catalog.results import By, Recommendation, SearchResult
from serupa.catalog.schema import item_of, kind_of, kinds_for, new_fields, schema_of
from serupa.encoders import DEFAULT, Card, is_name_of, load_encoder
from serupa.errors import ConflictError, UnavailableError, UsageError
from serupa.filters import Scalar, Where
from serupa.items import OWN_FIELDS, FieldKind, Item, is_attribute_name
from serupa.progress import Progress
from serupa.storage.base import Backend, Point, VectorStore, grouped
from serupa.storage.manifest import CatalogManifest, TuningInfo, replace
from serupa.storage.opening import backend_of
from serupa.vectors import METRICS, as_metric

if TYPE_CHECKING:
    from serupa.catalog.ingest import AddReport
    from serupa.encoders import Encoder
    from serupa.images import Crop, Photo, Resize
    from serupa.learning.whitening import Whitening
    from serupa.recommend.engine import Example
    from serupa.sources import Source, SourceOptions
    from serupa.storage.qdrant.address import ServerAddress


class Catalog:
    """A searchable collection of product photos. Make one with `create`, open one with `open`.

    A catalogue in a directory is held by one process at a time, one on a server by any number; its methods
    may be called from several threads. Use it in a ``with`` statement, or call `close`.

    Attributes
    ----------
    backend : Backend
        Where it lives.
    manifest : CatalogManifest
        What the encoder and the store agree on: the encoder's card, the metrics, the fields, the tuning.
    store : VectorStore
        The points themselves, for what moves them as they are; everything else asks the catalogue.
    schema : PointSchema
        How items are kept as points, and what their embeddings go through before they are compared.
    own : OwnItems
        What its items teach about kinds of garment.
    waits_for_index : bool
        Whether adding and removing end only when the index is up to date, too; a server sets it to False.
    """

    def __init__(self, backend: Backend, manifest: CatalogManifest) -> None:
        self.backend = backend
        self.manifest = manifest
        self._encoder: Encoder | None = None
        self.own = OwnItems(self)
        self.schema = schema_of(manifest, backend.read_tuning, self.own)
        self.store = backend.open(manifest, words.terms_of)
        self.waits_for_index = True

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        encoder: str | Card | None = None,
        *,
        metrics: Sequence[str] = ("cosine",),
        resize: Resize | None = None,
        weights: str | os.PathLike[str] | None = None,
        kinds: float | None = None,
        exist_ok: bool = False,
        wait_s: float = 0.0,
    ) -> Self:
        """Make a catalogue in a new or empty directory, or on a Qdrant server.

        Parameters
        ----------
        path : path
            The catalogue's directory, or its address on a server: ``qdrant://host:6333/name``.
        encoder : str or Card, optional
            An encoder's name, ``hf:OWNER/REPO`` for one of the hub, the path of a card, or a card;
            ``serupa-clothes`` unless given.
        metrics : sequence of {"cosine", "euclidean", "manhattan"}
            The metrics that it can be searched by; the first is the default.
        resize : {"squash", "crop", "pad"}, optional
            How photos become squares; the encoder's card says unless given.
        weights : path, optional
            The encoder's weights, where they are not to be looked for.
        kinds : float, optional
            The share of the kind of garment in a similarity, 0 to 1; 0 compares the look alone. Unless given,
            what was measured for the encoder, and 0 where nobody learned kinds for it.
        exist_ok : bool
            Open the catalogue that is there, if it agrees with what is asked for.
        wait_s : float
            How long to wait for another process that holds it.

        Raises
        ------
        ConflictError
            If there is something else in the directory, or a catalogue of another encoder.
        UsageError
            If a metric is unknown.
        SerupaError
            If the encoder is unknown or its weights cannot be had.
        """
        backend = backend_of(path)
        if backend.exists():
            if not exist_ok:
                raise ConflictError(
                    backend.address, "there is a catalogue already", "open it, or choose another name"
                )
            catalog = cls._open(backend, wait_s)
            try:
                catalog._refuse_other(encoder, resize, weights)
            except BaseException:
                catalog.close()
                raise
            return catalog
        backend.refuse_occupied()
        chosen = tuple(dict.fromkeys(map(as_metric, metrics)))
        if not chosen:
            raise UsageError("metrics", "there is none", f"choose from {', '.join(METRICS)}")
        loaded = load_encoder(encoder or DEFAULT, weights=_text(weights), resize=resize)
        manifest = CatalogManifest(
            card=loaded.card,
            weights_sha256=loaded.weights_sha256,
            weights=None if weights is None else str(Path(weights).resolve()),
            metrics=chosen,
            kinds=kinds_for(loaded.card, loaded.weights_sha256, kinds),
            words=words.VERSION,
        )
        catalog = cls._opened(backend, lambda: backend.create(manifest, None, wait_s))
        try:
            catalog._refuse_other(encoder, resize, weights)  # whoever was faster may have wanted another
        except BaseException:
            catalog.close()
            raise
        catalog._encoder = loaded
        return catalog

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, wait_s: float = 0.0) -> Self:
        """Open a catalogue.

        Raises
        ------
        NotFoundError
            If there is none.
        ConflictError
            If another process holds it.
        DamagedError
            If its files are not what was written.
        UnavailableError
            If a newer Serupa made it (one of an older format is upgraded), or its server does not answer.
        """
        return cls._open(backend_of(path), wait_s)

    @classmethod
    def _open(cls, backend: Backend, wait_s: float) -> Self:
        def load() -> CatalogManifest:
            backend.load()
            backend.lock(wait_s)
            # read again: whoever had the lock until now may have switched to other files
            return backend.load()

        return cls._opened(backend, load)

    @classmethod
    def _opened(cls, backend: Backend, load: Callable[[], CatalogManifest]) -> Self:
        try:
            catalog = cls(backend, load())
        except BaseException:
            backend.close()
            raise
        if backend.folder is not None:
            # a field is noted before it has an index, and a process may have been killed in between
            with contextlib.suppress(UnavailableError):  # on a full disk, what needs no new index goes on
                catalog._index_fields()
        return catalog

    def close(self) -> None:
        """Write everything and let the next process in. Closing twice does nothing."""
        self.store.close()
        self.backend.close()

    def refreshed(self) -> Self:
        """Return this catalogue, or another opening of it where it was switched over to other points.

        Only a catalogue on a server changes under its reader. The two share a connection and, where it is
        the same, the encoder; the one that was replaced may still answer for some minutes. New fields are
        noted in the catalogue itself.

        Raises
        ------
        UnavailableError, NotFoundError
            If the server does not answer, or the catalogue is gone.
        """
        if self.backend.folder is not None:
            return self
        manifest = self.backend.load()
        if manifest.store == self.manifest.store:
            self.manifest = manifest
            return self
        other = type(self)(self.backend, manifest)
        if manifest.same_encoder(self.manifest):
            other._encoder = self._encoder
        return other

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self.count()

    def __contains__(self, item_id: str) -> bool:
        return item_id in self.store.get([item_id])

    @property
    def path(self) -> Path | ServerAddress:
        """The catalogue's directory, or its address on a server; messages begin with it."""
        return self.backend.address

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when first used; refused if its weights are not the catalogue's."""
        if self._encoder is None:
            weights = self.manifest.weights
            if weights is not None and not Path(weights).exists():
                weights = None
            self.encoder = load_encoder(self.manifest.card, weights=weights)
        return cast("Encoder", self._encoder)

    @encoder.setter
    def encoder(self, encoder: Encoder) -> None:
        if encoder.weights_sha256 != self.manifest.weights_sha256:
            raise ConflictError(
                self.path,
                f"was made with other weights of {encoder.name} (sha256 {self.manifest.weights_sha256[:12]}, "
                f"not {encoder.weights_sha256[:12]})",
                "give it those weights, or index into a new directory",
            )
        self._encoder = encoder

    def put(self, points: Sequence[Point], payloads: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write points that were made elsewhere, and payloads of points that are there."""
        for payload in (*(point.payload for point in points), *payloads):
            self._note_fields(item_of(payload))
        self._writing.upsert(points)
        self._writing.replace_payloads(payloads)
        self._index_fields()

    def add(
        self,
        source: Source,
        *,
        options: SourceOptions | None = None,
        replace: bool = False,
        progress: Callable[[AddReport], None] | None = None,
    ) -> AddReport:
        """Add items: new ones are encoded, changed ones replaced, known ones passed over.

        Interrupted at any moment, what was written stays; called again, it goes on from there.

        Parameters
        ----------
        source : path, URL, iterable of Item, or table in memory
            A folder, a table or a shop's feed (see `serupa.sources.read_source`), items, or a table of
            pandas, Polars, Arrow or Hugging Face.
        options : SourceOptions, optional
            How to read it.
        replace : bool
            Whether an item may take an id from another source's photo, which is refused otherwise.
        progress : callable, optional
            Called with the `AddReport` so far, a few times a second.

        Returns
        -------
        AddReport
            What was added, updated and left, the photos and rows that could not be used, with reasons, and
            what came from this source before and is gone from it.

        Raises
        ------
        NotFoundError, InvalidInputError
            If the source as a whole cannot be read.
        """
        from serupa.catalog.ingest import AddOptions, add_entries, gone_from, remembered
        from serupa.sources import read_source

        listing = read_source(source, options)
        for name in ("product_id", "content", "indexed_from"):
            self._writing.index_field(name, OWN_FIELDS[name])
        seen: set[int] = set()
        numbers: set[str] = set()

        def note(item: Item) -> None:
            self._note_fields(item)
            numbers.update(name for name, value in item.attributes.items() if kind_of(value) == "number")

        report = add_entries(
            self.encoder,
            self._writing,
            self.schema,
            remembered(listing, seen) if listing.name else listing,
            fields=lambda: self.manifest.fields,
            note=note,
            options=AddOptions(listing.name, replace, listing.timeout_s),
            progress=progress,
        )
        report.notes = listing.notes
        if listing.name and listing.is_complete and not listing.is_part:
            report.gone = gone_from(self._writing, listing.name, seen)
        self._note_mended(numbers)
        self._index_fields()
        if report.added or report.updated:
            self.own.forget()
            self.store.optimize(wait=self.waits_for_index)
        if listing.name:
            reports.keep(self.backend, "import", {"source": listing.name} | report.to_dict())
        return report

    def remove(self, ids: Sequence[str] = (), *, where: Where = None) -> int:
        """Remove items by id, by filter, or both together (items with these ids that pass the filter).

        Returns
        -------
        int
            How many items were removed.

        Raises
        ------
        NotFoundError
            If an id is not in the catalogue; nothing is removed then.
        UsageError
            If neither ids nor a filter are given.
        """
        conditions = conditions_of(self, where)
        if not ids and not conditions:
            raise UsageError("remove", "there is nothing to remove", "give ids or a filter")
        if ids:
            stored_points(self, ids)
            going = list(dict.fromkeys(ids))
            if conditions:
                passing = {p.id for batch in self._writing.scroll(conditions) for p in batch}
                going = [i for i in going if i in passing]
        else:
            going = [p.id for batch in self._writing.scroll(conditions) for p in batch]
        for batch in grouped(going, 1024):
            self._writing.delete(batch)
        if going:
            self.own.forget()
            self.store.optimize(wait=self.waits_for_index)
        return len(going)

    def search(
        self,
        photo: Photo | Sequence[Photo] | None = None,
        k: int = 10,
        *,
        text: str | None = None,
        text_weight: float = query.TEXT_WEIGHT,
        metric: str | None = None,
        where: Where = None,
        by: By = "item",
        crop: Crop | None = None,
        kind: str | None = None,
        sort: str | None = None,
        offset: int = 0,
        exact: bool = False,
    ) -> SearchResult:
        """Find what looks like a photo, or like several together; what has some words; or both.

        Parameters
        ----------
        photo : path, bytes or binary file, or a sequence of these, optional
            The query; several photos show one garment, such as its front and its back.
        k : int
            How many hits to return.
        text : str, optional
            Words in English or Indonesian, such as ``"red floral dress"`` or, beside a photo, ``"but red"``:
            what shops say of an item, kinds of garment and colours, also those that its photo shows.
        text_weight : float
            The share of the words in the ranking beside a photo, 0 to 1.
        metric : {"cosine", "euclidean", "manhattan"}, optional
            One of the catalogue's metrics; its first unless given.
        where : mapping, sequence of str or filter, optional
            See `serupa.filters.as_filter`.
        by : {"item", "product"}
            Hits are items, or distinct products, each shown by its nearest photo.
        crop : Crop, optional
            The part of the photo to search with.
        kind : str, optional
            The kind of garment to prefer; ``"any"`` compares the look alone. Unless given, what the photo
            seems to show, where kinds count in the catalogue.
        sort : str, optional
            The order of what is alike (of the 200 nearest, what is at least 0.6 as similar as the first): a
            field (``price`` is what is to be paid), or ``-field`` for the largest first; nearest first unless
            given.
        offset : int
            How many of the hits to pass over (the next page).
        exact : bool
            Compare with every item, also where an approximate index would be faster.

        Returns
        -------
        SearchResult
            The hits; equal distances are ordered by id.

        Raises
        ------
        InvalidInputError, NotFoundError
            If a photo cannot be used.
        UsageError
            If the filter, the metric or the order is not of this catalogue, there is neither a photo nor a
            text, or the items cannot be found by words yet.
        """
        photos = () if photo is None else tuple(photo) if isinstance(photo, list | tuple) else (photo,)
        request = SearchRequest(
            photos=photos,
            text=text,
            text_weight=text_weight,
            k=k,
            metric=metric,
            where=where,
            by=by,
            crop=crop,
            kind=kind,
            sort=sort,
            offset=offset,
            exact=exact,
        )
        return query.search(self, request)

    def similar(
        self,
        item_id: str,
        k: int = 10,
        *,
        text: str | None = None,
        text_weight: float = query.TEXT_WEIGHT,
        metric: str | None = None,
        where: Where = None,
        by: By = "item",
        sort: str | None = None,
        offset: int = 0,
        exact: bool = False,
    ) -> SearchResult:
        """Find what looks like an item of the catalogue, as `search` does from a photo.

        The item itself is left out; with ``by="product"``, so is its whole product, unless there is a text.

        Raises
        ------
        NotFoundError
            If the catalogue has no such item.
        """
        request = SearchRequest(
            item_id=item_id,
            text=text,
            text_weight=text_weight,
            k=k,
            metric=metric,
            where=where,
            by=by,
            sort=sort,
            offset=offset,
            exact=exact,
        )
        return query.search(self, request)

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
        offset: int = 0,
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
        metric, where, offset
            As in `search`.
        by : {"product", "item"}
            Recommend distinct products, none of which was liked or disliked by one of its photos; or items.

        Raises
        ------
        NotFoundError
            If the catalogue has no such item.
        InvalidInputError
            If an embedding is not one of the catalogue's encoder.
        UsageError
            If an item is both liked and disliked, the diversity is not in 0 to 1, or the filter or the metric
            is not one of this catalogue.
        """
        request = SearchRequest(
            likes=tuple(likes),
            dislikes=tuple(dislikes),
            k=k,
            diversity=diversity,
            metric=metric,
            where=where,
            by=by,
            offset=offset,
        )
        return query.recommend(self, request)

    def ask(self, request: SearchRequest) -> SearchResult:
        """Answer a request from photos, an item or an embedding: `search` and `similar` in one.

        Raises
        ------
        InvalidInputError
            If an embedding is not one of the catalogue's encoder.
        """
        return query.search(self, request)

    def get(self, item_id: str) -> Item:
        """Return an item.

        Raises
        ------
        NotFoundError
            If the catalogue has no such item.
        """
        (point,) = stored_points(self, [item_id])
        return item_of(point.payload)

    def items(self, where: Where = None, *, after: str | None = None) -> Iterator[Item]:
        """Yield every item that a filter lets through, in a stable order of the store's own.

        Parameters
        ----------
        where : mapping, sequence of str or filter, optional
            See `serupa.filters.as_filter`.
        after : str, optional
            The id of the last item of the page before: only what comes behind it is yielded, also where that
            item is gone.
        """
        for batch in self.store.scroll(conditions_of(self, where), after=after):
            yield from (item_of(point.payload) for point in batch)

    def embeddings(self, ids: Sequence[str] | None = None) -> tuple[list[str], NDArray[np.float32]]:
        """Return ids and raw embeddings ``(n, d)``, of these items (in this order) or of all.

        Raises
        ------
        NotFoundError
            If an id is not in the catalogue.
        """
        if ids is None:
            items, embeddings = read_all(self)
            return [item.id for item in items], embeddings
        schema = self.schema
        embeddings = np.empty((len(ids), schema.map.encoded), np.float32)
        points = (stored_points(self, batch, [schema.embedding_name]) for batch in grouped(ids, 256))
        for row, point in enumerate(chain.from_iterable(points)):
            embeddings[row] = schema.embedding(point)
        return list(ids), embeddings

    def use_whitening(
        self,
        whitening: Whitening | None,
        notes: Mapping[str, Any] | None = None,
        *,
        alone: Alone = nullcontext,
        progress: Progress | None = None,
    ) -> None:
        """Search through a whitening from now on, or without one.

        No photo is encoded again: raw embeddings are kept. Everything is written beside what is in use, then
        switched to in one step: a crash leaves the old or the new whole. It takes the disk space of both
        until then. Nothing else may change the catalogue meanwhile.

        Parameters
        ----------
        whitening : Whitening or None
            None goes back to the search as the encoder made it.
        notes : mapping, optional
            JSON-ready values to remember it by; `tuning` and `info` return them.
        alone : callable, optional
            Makes a context in which no other thread uses the catalogue: that of the last step. Without it,
            let none use it at all.
        progress : callable, optional
            Called with what is being done, how much is done, and of how much.

        Raises
        ------
        UsageError
            If it does not fit the encoder's embeddings.
        ConflictError
            If another process is replacing the points, too.
        UnavailableError
            If it cannot be written.
        """
        encoded = self.manifest.card.dimension
        if whitening is not None and whitening.mean.shape != (encoded,):
            problem = f"an embedding here is ({encoded},), the whitening takes {whitening.mean.shape}"
            raise UsageError(self.path, problem)
        tuning = None
        if whitening is not None:
            when = datetime.now(UTC).isoformat(timespec="seconds")
            tuning = TuningInfo(dimension=whitening.dimension, when=when, notes=dict(notes or {}))
        rewrite(self, replace(self.manifest, tuning=tuning), whitening, progress, alone)

    def use_kinds(self, share: float | None = None, *, progress: Progress | None = None) -> None:
        """Let the kind of garment count from now on, another share of it, or (0) the look alone.

        As `use_whitening`: no photo is encoded again, and it is switched to in one step. Call it too where
        another head for kinds came with the encoder.

        Parameters
        ----------
        share : float, optional
            The share of the kind in a similarity, 0 to below 1; as measured for the encoder unless given.
        progress : callable, optional
            Called with what is being done, how much is done, and of how much.

        Raises
        ------
        UsageError
            If the share is not in that range, or nobody learned kinds for the encoder.
        ConflictError
            If another process is replacing the points, too.
        UnavailableError
            If it cannot be written.
        """
        kinds = kinds_for(self.manifest.card, self.manifest.weights_sha256, share)
        rewrite(self, replace(self.manifest, kinds=kinds), self.schema.map.whitening, progress)

    def count(self, where: Where = None) -> int:
        """Return how many items a filter lets through; all of them without one."""
        return self.store.count(conditions_of(self, where))

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
        UsageError
            If no item has such a field, or it holds prose.
        """
        kind = (OWN_FIELDS | self.manifest.fields).get(name)
        if kind is None or kind == "words":
            counted = [n for n, k in self.manifest.fields.items() if k != "words"]
            raise UsageError(
                f"field {name!r}", "cannot be counted", f"{', '.join(counted) or 'no field'} can"
            )
        conditions = conditions_of(self, where)
        if kind == "number":
            return self.store.bounds(name, conditions)
        return self.store.facet(name, conditions, limit) or None

    def info(self) -> dict[str, Any]:
        """Return what the catalogue is and holds, as JSON-ready values."""
        card = self.manifest.card
        items = self.count()
        return {
            **self.backend.describe(),
            "items": items,
            "products": len(self.store.facet("product_id", limit=items + 1)) if items else 0,
            "encoder": card.name,
            "dimension": card.dimension,
            "input_size": card.input_size,
            "resize": card.resize,
            "metrics": list(self.manifest.metrics),
            "tuning": None if self.manifest.tuning is None else self.manifest.tuning.to_dict(),
            "kinds": None if self.manifest.kinds is None else self.manifest.kinds.to_dict(),
            "words": self.manifest.words == words.VERSION,
            "fields": dict(self.manifest.fields),
            "indexed_vectors": self.store.indexed(),
            "created": self.manifest.created,
            "serupa": self.manifest.serupa,
        }

    def _refuse_other(
        self, encoder: str | Card | None, resize: Resize | None, weights: str | os.PathLike[str] | None
    ) -> None:
        """Refuse what would mix embeddings of two encoders."""
        card = self.manifest.card
        if encoder is not None:
            wanted = encoder.name if isinstance(encoder, Card) else encoder
            same = wanted == card.name or (isinstance(encoder, str) and is_name_of(encoder, card))
            if not same:
                raise ConflictError(
                    self.path, f"its encoder is {card.name}, not {wanted}", "use another directory"
                )
        if resize is not None and resize != card.resize:
            raise ConflictError(
                self.path, f"its photos are resized by {card.resize}, not {resize}", "use another directory"
            )
        if weights is not None:
            given = load_encoder(card, weights=_text(weights)).weights_sha256
            if given != self.manifest.weights_sha256:
                raise ConflictError(
                    self.path, f"was made with other weights than {weights}", "use another directory"
                )

    def _note_mended(self, numbers: set[str]) -> None:
        """Record which of these fields are numbers again, since no item has text there any more."""
        fields = self.manifest.fields
        texts = [name for name in numbers if fields.get(name) == "text"]
        for name in texts:
            self._writing.index_field(name, "text")
        self._add_fields({name: "number" for name in texts if not self._writing.facet(name, limit=1)})

    def _note_fields(self, item: Item) -> None:
        """Record what attributes an item has, before the item is stored."""
        self._add_fields(new_fields(item, self.manifest.fields))

    def _add_fields(self, kinds: Mapping[str, FieldKind]) -> None:
        if kinds:
            manifest = replace(self.manifest, fields=self.manifest.fields | dict(kinds))
            self.backend.add_fields(manifest, kinds)
            self.manifest = manifest

    def _index_fields(self) -> None:
        """Make filters and counts on every field fast."""
        for name, kind in (OWN_FIELDS | self.manifest.fields).items():
            if name in OWN_FIELDS or is_attribute_name(name):  # older catalogues may have taken other names
                self._writing.index_field(name, kind)

    @property
    def _writing(self) -> VectorStore:
        return self.store.for_writing()


def _text(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)
