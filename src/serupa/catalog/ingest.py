"""The way in: photos are read, decoded, encoded and stored in overlapping stages of bounded memory."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.catalog.schema import PointSchema, content_of, new_fields, payload_of
from serupa.catalog.words import color_is_named, seen_colors
from serupa.encoders.session import available_cpus
from serupa.errors import ConflictError, InvalidInputError, SerupaError, UnavailableError
from serupa.files import http
from serupa.filters import Condition
from serupa.images import MAX_BYTES, read_bytes
from serupa.items import Failure, FieldKind, Item
from serupa.storage.base import Point, VectorStore, grouped

if TYPE_CHECKING:
    from serupa.encoders import Encoder

BATCH = 32  # photos encoded at once
_CHUNK = 64  # photos looked up in the store at once
_AHEAD = 4 * BATCH  # photos that are read and decoded ahead of the encoder, at most
_AHEAD_BYTES = 64 * 2**20  # of files that were read and wait, about

# What a payload says besides the item itself: a point that differs in these alone is the same item.
_SOURCE, _VALIDATORS = "indexed_from", "validators"


@dataclass(slots=True)
class AddReport:
    """What came of adding a source to a catalogue.

    Parameters
    ----------
    seen : int
        Items that the source held, with those that could not be used.
    added, updated, unchanged : int
        New items; items that were there with another photo or other attributes; items that were
        there already.
    encoded : int
        Photos that went through the encoder; the others were known by their content.
    failures : list of Failure
        The photos and rows that could not be used.
    gone : list of str
        Items that came from this source before and that it holds no more.
    notes : list of str
        What a person should know besides, a line each: what was passed over, what became text.
    seconds : float
        Time taken.
    stages_s : dict of str to float
        Busy seconds of each stage: read (files), decode (to pixels), encode, write; those of read
        and decode are summed over threads.
    """

    seen: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    encoded: int = 0
    failures: list[Failure] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    stages_s: dict[str, float] = field(
        default_factory=lambda: {"read": 0.0, "decode": 0.0, "encode": 0.0, "write": 0.0}
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {
            "seen": self.seen,
            "added": self.added,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "encoded": self.encoded,
            "failed": [
                {"id": f.id, "image": f.image, "reason": f.reason, "problem": f.problem}
                for f in self.failures
            ],
            "gone": self.gone,
            "notes": self.notes,
            "seconds": round(self.seconds, 3),
            "stages_s": {name: round(seconds, 3) for name, seconds in self.stages_s.items()},
        }


@dataclass(frozen=True, slots=True)
class AddOptions:
    """How items are added.

    Parameters
    ----------
    source : str
        What they are remembered to come from; empty for items made by a program.
    replace : bool
        Whether an item may take an id from the photo of another source.
    timeout_s : float, optional
        How long one download may take.
    """

    source: str = ""
    replace: bool = False
    timeout_s: float | None = None


@dataclass(slots=True)
class _Photo:
    """One item on its way in."""

    item: Item
    stored: Mapping[str, Any] | None  # the payload of the item with this id
    is_new: bool
    content: str = ""
    data: bytes = b""
    validators: Mapping[str, str] = field(default_factory=dict)
    pixels: NDArray[np.uint8] | None = None
    colors: Mapping[str, float] = field(default_factory=dict)  # where the shop names none
    failure: SerupaError | None = None
    read_s: float = 0.0
    decode_s: float = 0.0
    alike: list[_Photo] = field(default_factory=list)  # further items that show this very photo


def add_entries(
    encoder: Encoder,
    store: VectorStore,
    schema: PointSchema,
    entries: Iterable[Item | Failure],
    *,
    fields: Callable[[], Mapping[str, FieldKind]],
    note: Callable[[Item], None],
    options: AddOptions | None = None,
    progress: Callable[[AddReport], None] | None = None,
) -> AddReport:
    """Add items to a store; whatever stops this (an error, Ctrl-C), what was encoded is stored.

    Reading and decoding run on threads (Pillow lets go of the interpreter lock), downloads on a loop of
    their own, encoding on the calling thread, writing on one thread; none waits for one that could run.

    Parameters
    ----------
    encoder : Encoder
        Turns pixels into raw embeddings.
    store : VectorStore
        Takes the points.
    schema : PointSchema
        How items are kept as points.
    entries : iterable of Item or Failure
        May be longer than memory: only a few batches are held at once.
    fields : callable
        Returns the fields that are noted so far.
    note : callable
        Told of every item before it is stored; it raises `InvalidInputError` if it takes one field too many.
    options : AddOptions, optional
    progress : callable, optional
        Called with the report so far, a few times a second.

    Returns
    -------
    AddReport
        What was added, updated, left, and failed.
    """
    options = options or AddOptions()
    report, started = AddReport(), time.perf_counter()

    told = started

    def tell() -> None:
        nonlocal told
        now = time.perf_counter()
        if progress and now - told > 0.1:
            told, report.seconds = now, now - started
            progress(report)

    def telling(photos: Iterator[_Photo]) -> Iterator[_Photo]:
        for photo in photos:
            yield photo
            tell()

    threads = available_cpus()
    with _Writer(store, report) as writer, ThreadPoolExecutor(threads, "read") as readers:
        way_in = _WayIn(store, schema, report, writer, fields, note, options)
        read = _read(way_in.look_up(entries), readers, options.timeout_s)
        with closing(_decode(way_in.sort_out(telling(read)), readers, encoder)) as decoded:
            for batch in grouped(way_in.decoded(decoded), BATCH):
                way_in.store_encoded(batch, _encode(encoder, batch, report))
                tell()
    report.seconds = time.perf_counter() - started
    if progress:
        progress(report)
    return report


def remembered(entries: Iterable[Item | Failure], seen: set[int]) -> Iterator[Item | Failure]:
    """Yield entries, and put the hashes of their ids into a set: the ids themselves would take more room."""
    for entry in entries:
        if entry.id:
            seen.add(hash(entry.id))
        yield entry


def gone_from(store: VectorStore, source: str, seen: set[int]) -> list[str]:
    """Return the ids of items that came from a source before and that it holds no more.

    Parameters
    ----------
    store : VectorStore
    source : str
        What they are remembered to come from.
    seen : set of int
        The hashes of all ids that it holds now.
    """
    where = (Condition(_SOURCE, any_of=(source,)),)
    return [point.id for points in store.scroll(where) for point in points if hash(point.id) not in seen]


# --- reading


def _read(photos: Iterator[_Photo], pool: Executor, timeout_s: float | None) -> Iterator[_Photo]:
    """Yield photos with the bytes of their files, in their order; downloads as they come."""
    reading: deque[Future[_Photo]] = deque()
    downloads: dict[Future[http.Fetched], _Photo] = {}
    is_over = False
    try:
        while True:
            while not is_over and len(reading) + len(downloads) < _AHEAD and not _is_full(reading):
                photo = next(photos, None)
                if photo is None:
                    is_over = True
                elif photo.failure or not http.is_http(photo.item.image):
                    reading.append(pool.submit(_read_file, photo))
                else:
                    downloads[_download(photo, timeout_s)] = photo
            if downloads:
                done, _ = wait(downloads, 0 if reading else None, FIRST_COMPLETED)
                reading.extend(pool.submit(_take_download, downloads.pop(one), one) for one in done)
            if reading:
                yield reading.popleft().result()
            elif not downloads:
                return
    finally:
        for read in reading:
            read.cancel()
        for download in downloads:
            download.cancel()


def _is_full(reading: Iterable[Future[_Photo]]) -> bool:
    return sum(len(future.result().data) for future in reading if future.done()) > _AHEAD_BYTES


def _download(photo: _Photo, timeout_s: float | None) -> Future[http.Fetched]:
    stored = photo.stored or {}
    known = stored.get(_VALIDATORS) if stored.get("image") == photo.item.image else None
    return http.submit(photo.item.image, MAX_BYTES, known=known, timeout_s=timeout_s)


def _read_file(photo: _Photo) -> _Photo:
    if photo.failure:
        return photo
    started = time.perf_counter()
    try:
        photo.data = read_bytes(photo.item.image)
        photo.content = content_of(photo.data)
    except SerupaError as error:
        photo.failure = error
    photo.read_s = time.perf_counter() - started
    return photo


def _take_download(photo: _Photo, download: Future[http.Fetched]) -> _Photo:
    try:
        fetched = download.result()
    except SerupaError as error:
        photo.failure = error
        return photo
    photo.validators = fetched.validators
    if fetched.data is None and photo.stored is not None:
        photo.content = photo.stored["content"]
    elif not fetched.data:
        photo.failure = InvalidInputError(photo.item.image, "the file is empty")
    else:
        photo.data = fetched.data
        photo.content = content_of(photo.data)
    return photo


# --- decoding and encoding


def _decode(photos: Iterator[_Photo], pool: Executor, encoder: Encoder) -> Generator[_Photo, None, None]:
    """Yield photos with their pixels, in their order."""

    def decode(photo: _Photo) -> _Photo:
        started = time.perf_counter()
        try:
            photo.pixels = encoder.preprocess(photo.data)
            if not all(color_is_named(one.item.attributes) for one in (photo, *photo.alike)):
                photo.colors = seen_colors(photo.pixels)
        except SerupaError as error:
            photo.failure = InvalidInputError(photo.item.image, error.problem or str(error), error.hint)
        photo.data = b""
        photo.decode_s = time.perf_counter() - started
        return photo

    decoding: deque[Future[_Photo]] = deque()
    try:
        for photo in photos:
            decoding.append(pool.submit(decode, photo))
            while len(decoding) > _AHEAD or (decoding and decoding[0].done() and len(decoding) > BATCH):
                yield decoding.popleft().result()
        while decoding:
            yield decoding.popleft().result()
    finally:
        for future in decoding:
            future.cancel()


def _encode(encoder: Encoder, photos: Sequence[_Photo], report: AddReport) -> NDArray[np.float32]:
    started = time.perf_counter()
    embeddings = encoder.encode(np.stack([photo.pixels for photo in photos if photo.pixels is not None]))
    report.stages_s["encode"] += time.perf_counter() - started
    report.encoded += len(photos)
    return embeddings


# --- looking up and storing


@dataclass(slots=True)
class _WayIn:
    """What the stages that ask and tell the store have in common."""

    _store: VectorStore
    _schema: PointSchema
    _report: AddReport
    _writer: _Writer
    _fields: Callable[[], Mapping[str, FieldKind]]
    _note: Callable[[Item], None]
    _options: AddOptions

    def look_up(self, entries: Iterable[Item | Failure]) -> Iterator[_Photo]:
        """Yield items with what is stored of them; what cannot be used goes into the report."""
        for chunk in grouped(self._usable(entries), _CHUNK):
            stored = self._store.get([item.id for item in chunk])
            for item in chunk:
                point = stored.get(item.id)
                is_new = point is None and item.id not in self._writer.on_the_way
                self._writer.on_the_way.add(item.id)
                photo = _Photo(item, None if point is None else point.payload, is_new)
                self._admit(photo, lambda item: new_fields(item, self._fields()))
                yield photo

    @staticmethod
    def _admit(photo: _Photo, ask: Callable[[Item], object]) -> None:
        try:
            ask(photo.item)
        except InvalidInputError as error:
            photo.failure = InvalidInputError(photo.item.image, str(error))

    def _usable(self, entries: Iterable[Item | Failure]) -> Iterator[Item]:
        for entry in entries:
            if isinstance(entry, Item):
                yield entry
            else:
                self._report.seen += 1
                self._report.failures.append(entry)

    def sort_out(self, photos: Iterator[_Photo]) -> Iterator[_Photo]:
        """Yield the photos that are to be encoded; those that the store knows are written as they are."""
        for chunk in grouped(photos, _CHUNK):
            new: dict[str, _Photo] = {}
            for photo in chunk:
                self._report.seen += 1
                self._report.stages_s["read"] += photo.read_s
                photo.failure = photo.failure or self._clash(photo)
                if photo.failure:
                    self._fail(photo)
                elif photo.stored is not None and photo.stored["content"] == photo.content:
                    self._keep(photo, photo.stored)
                elif photo.content in new:
                    new[photo.content].alike.append(photo)
                else:
                    new[photo.content] = photo
            yield from self._unknown(new)

    def _unknown(self, photos: Mapping[str, _Photo]) -> Iterator[_Photo]:
        """Write the photos that another item shows already; yield the others."""
        if not photos:
            return
        where = (Condition("content", any_of=tuple(photos)),)
        points: dict[str, Point] = {}
        for batch in self._store.scroll(where, vectors=(self._schema.embedding_name,)):
            points |= {point.payload["content"]: point for point in batch}
            if len(points) == len(photos):
                break
        for content, photo in photos.items():
            if content in points:
                photo.data = b""
                photo.colors = points[content].payload.get("colors", {})
                self._store_all([photo], self._schema.embedding(points[content])[None])
            else:
                yield photo

    def _clash(self, photo: _Photo) -> SerupaError | None:
        """Say which other source's photo has this id, where that is another photo and still there."""
        stored, options = photo.stored, self._options
        if stored is None or options.replace or not options.source:
            return None
        before, image = stored.get(_SOURCE, ""), stored["image"]
        is_other = bool(before) and before != options.source and image != photo.item.image
        if not is_other or stored["content"] == photo.content:
            return None
        if "://" not in image and not os.path.lexists(image):
            return None
        return ConflictError(
            photo.item.image,
            f"the id {photo.item.id!r} is another photo's already",
            f"that is from {before}: give each its own id, or replace it (--replace)",
        )

    def decoded(self, photos: Iterator[_Photo]) -> Iterator[_Photo]:
        """Yield the photos that have pixels; the others go into the report."""
        for photo in photos:
            self._report.stages_s["decode"] += photo.decode_s
            if photo.failure:
                for one in (photo, *photo.alike):
                    one.failure = photo.failure
                    self._fail(one)
            else:
                yield photo

    def store_encoded(self, photos: Sequence[_Photo], embeddings: NDArray[np.float32]) -> None:
        """Write photos, and the items that show the same, with their raw embeddings ``(n, d)``."""
        self._store_all(photos, embeddings)
        for photo in photos:
            photo.pixels = None

    def _store_all(self, photos: Sequence[_Photo], embeddings: NDArray[np.float32]) -> None:
        every = [(one, row) for row, photo in enumerate(photos) for one in (photo, *photo.alike)]
        payloads: list[dict[str, Any]] = []
        rows: list[int] = []
        for one, row in every:
            one.colors = photos[row].colors
            self._admit(one, self._note)
            if one.failure:
                self._fail(one)
                continue
            rows.append(row)
            self._report.added += one.is_new
            self._report.updated += not one.is_new
            payloads.append(self._payload(one, float(np.linalg.norm(embeddings[row]))))
        if payloads:
            self._writer.write(self._schema.points(payloads, embeddings[rows]))

    def _keep(self, photo: _Photo, stored: Mapping[str, Any]) -> None:
        """Leave an item as it is, or write what is said of it, and its vectors where they depend on that."""
        self._admit(photo, self._note)
        photo.data = b""
        if photo.failure:
            self._fail(photo)
            return
        photo.colors = stored.get("colors", {})
        payload = self._payload(photo, stored["norm"])
        if self._schema.moves(stored, payload):
            name = self._schema.embedding_name
            point = self._store.get([photo.item.id], vectors=(name,)).get(photo.item.id)
            if point is not None and name in point.vectors:  # a worker of a cluster has none
                self._report.updated += 1
                self._writer.write(self._schema.points([payload], self._schema.embedding(point)[None]))
                return
        if _without_origin(payload) == _without_origin(stored):
            self._report.unchanged += 1
        else:
            self._report.updated += 1
        if payload == stored:
            self._writer.on_the_way.discard(photo.item.id)
        else:
            self._writer.write_payload(payload)

    def _payload(self, photo: _Photo, norm: float) -> dict[str, Any]:
        payload = payload_of(photo.item, photo.content, norm, photo.colors)
        source = self._options.source or (photo.stored or {}).get(_SOURCE)  # a single change moves no item
        if source:
            payload[_SOURCE] = source
        if photo.validators:
            payload[_VALIDATORS] = dict(photo.validators)
        return payload

    def _fail(self, photo: _Photo) -> None:
        self._writer.on_the_way.discard(photo.item.id)
        error = photo.failure or SerupaError(photo.item.image, "cannot be used")
        # what others say of their files and servers is for who runs this, not for who asks over the web
        problem = "cannot be had now" if isinstance(error, UnavailableError) else error.problem
        self._report.failures.append(Failure(photo.item.id, photo.item.image, str(error), problem=problem))


def _without_origin(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name not in (_SOURCE, _VALIDATORS)}


class _Writer:
    """One thread that writes, no more than two batches behind; leaving it, everything is written."""

    def __init__(self, store: VectorStore, report: AddReport) -> None:
        self._store = store
        self._report = report
        self._pool = ThreadPoolExecutor(1, "write")
        self._writes: deque[tuple[Future[float], list[str]]] = deque()
        self._payloads: list[Mapping[str, Any]] = []
        self.on_the_way: set[str] = set()  # ids that were looked up and are not written yet

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._flush_payloads()
            while self._writes:
                self._finish_one()
        finally:
            self._pool.shutdown()

    def write(self, points: list[Point]) -> None:
        """Write points, and the payloads that came before them."""
        self._submit(lambda: self._store.upsert(points), [point.id for point in points])
        self._flush_payloads()

    def write_payload(self, payload: Mapping[str, Any]) -> None:
        """Write the payload of a point that is there, with others."""
        self._payloads.append(payload)
        if len(self._payloads) >= 4 * _CHUNK:
            self._flush_payloads()

    def _flush_payloads(self) -> None:
        payloads, self._payloads = self._payloads, []
        if payloads:
            ids = [payload["id"] for payload in payloads]
            self._submit(lambda: self._store.replace_payloads(payloads), ids)

    def _submit(self, write: Callable[[], None], ids: list[str]) -> None:
        def timed() -> float:
            started = time.perf_counter()
            write()
            return time.perf_counter() - started

        self._writes.append((self._pool.submit(timed), ids))
        while len(self._writes) > 2:
            self._finish_one()

    def _finish_one(self) -> None:
        future, ids = self._writes.popleft()
        self._report.stages_s["write"] += future.result()
        self.on_the_way.difference_update(ids)
