"""The way in: items are read, decoded, encoded and stored in overlapping stages of bounded memory."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.encoders.session import available_cpus
from serupa.errors import CatalogError, SerupaError
from serupa.filters import Condition
from serupa.images import read_bytes
from serupa.items import Failure, Item
from serupa.storage.base import Point, Store
from serupa.vectors import Vector

if TYPE_CHECKING:
    from serupa.encoders import Encoder

BATCH = 32  # photos encoded at once
_CHUNK = 64  # photos looked up in the store at once
_AHEAD = 4 * BATCH  # photos read or decoded but not yet encoded, at most


@dataclass(slots=True)
class AddReport:
    """What came of adding a source to a catalogue.

    Parameters
    ----------
    seen : int
        Items that the source held.
    added, updated, unchanged : int
        New items; items that were there with another photo or other attributes; items that were
        there already.
    encoded : int
        Photos that went through the encoder; the others were known by their content.
    failures : list of Failure
        The photos that could not be used.
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
            "failed": [{"id": f.id, "image": f.image, "reason": f.reason} for f in self.failures],
            "seconds": round(self.seconds, 3),
            "stages_s": {name: round(seconds, 3) for name, seconds in self.stages_s.items()},
        }


MakePoint = Callable[[Item, str, Vector], Point]
MakePayload = Callable[[Item, str, float], Mapping[str, Any]]


@dataclass(slots=True)
class _Read:
    """What a reading thread made of one item: exactly one of the last four is set."""

    item: Item
    content: str = ""
    read_s: float = 0.0
    decode_s: float = 0.0
    pixels: NDArray[np.uint8] | None = None
    known: Point | None = None  # another item of the store has this very photo
    payload: Mapping[str, Any] | None = None  # same photo, other attributes
    failure: str = ""


class Indexer:
    """Adds items to a store: three stages that overlap, none waiting for one that could run.

    Reading and decoding run on threads (Pillow lets go of the interpreter lock), encoding on the
    calling thread, writing on one thread of its own.

    Parameters
    ----------
    encoder : Encoder
        Turns pixels into raw embeddings.
    store : Store
        Takes the points.
    make_point : callable
        ``(item, content, embedding) -> Point``.
    make_payload : callable
        ``(item, content, norm) -> payload``, for items whose photo is stored already.
    embedding_of : callable
        ``(point) -> (d,)`` raw embedding of a stored point.
    vectors : tuple of str
        The named vectors that ``embedding_of`` reads.
    note : callable
        Told of every item that can be used, before it is stored.
    """

    def __init__(
        self,
        encoder: Encoder,
        store: Store,
        *,
        make_point: MakePoint,
        make_payload: MakePayload,
        embedding_of: Callable[[Point], Vector],
        vectors: tuple[str, ...],
        note: Callable[[Item], None],
    ) -> None:
        self._encoder = encoder
        self._store = store
        self._make_point = make_point
        self._make_payload = make_payload
        self._embedding_of = embedding_of
        self._vectors = vectors
        self._note = note
        size = encoder.input_size
        self._pixels = np.empty((BATCH, size, size, 3), np.uint8)
        self._waiting: list[_Read] = []
        self._payloads: list[Mapping[str, Any]] = []
        self._writes: deque[Future[float]] = deque()
        self.report = AddReport()

    def run(
        self, items: Iterable[Item | Failure], progress: Callable[[AddReport], None] | None = None
    ) -> AddReport:
        """Add every item; whatever stops this (an error, Ctrl-C), what was encoded is stored.

        Parameters
        ----------
        items : iterable of Item or Failure
            May be longer than memory: only a few batches are held at once.
        progress : callable, optional
            Called with the report so far, a few times a second.

        Returns
        -------
        AddReport
            What was added, updated, left, and failed.
        """
        report, started, before = self.report, time.perf_counter(), self._store.count()
        threads = available_cpus()
        pending: deque[Future[_Read]] = deque()
        told = 0.0
        with ThreadPoolExecutor(1, "write") as writer, ThreadPoolExecutor(threads, "read") as readers:
            try:
                for chunk in _chunks(self._usable(items)):
                    known = self._store.get([item.id for item in chunk])
                    pending.extend(readers.submit(self._read, item, known.get(item.id)) for item in chunk)
                    while len(pending) > _AHEAD:
                        self._take(pending.popleft().result(), writer)
                    if progress and time.perf_counter() - told > 0.1:
                        told, report.seconds = time.perf_counter(), time.perf_counter() - started
                        progress(report)
                while pending:
                    self._take(pending.popleft().result(), writer)
                self._encode(writer)
            finally:
                for future in pending:
                    future.cancel()
                self._write_payloads(writer)
                while self._writes:
                    report.stages_s["write"] += self._writes.popleft().result()
        written = report.added
        # others may write to a server meanwhile
        report.added = min(written, max(0, self._store.count() - before))
        report.updated += written - report.added
        report.seconds = time.perf_counter() - started
        if progress:
            progress(report)
        return report

    def _usable(self, entries: Iterable[Item | Failure]) -> Iterator[Item]:
        """Yield the items of a source; what of it cannot be used goes into the report."""
        for entry in entries:
            if isinstance(entry, Item):
                yield entry
            else:
                self.report.seen += 1
                self.report.failures.append(entry)

    def _read(self, item: Item, stored: Point | None) -> _Read:
        """Read one photo, on a thread; decode it only if its content is new to the store."""
        started = time.perf_counter()
        done = _Read(item)
        try:
            _check(item)
            data = read_bytes(item.image)
            done.content = hashlib.blake2b(data, digest_size=16).hexdigest()
            if stored is not None and stored.payload["content"] == done.content:
                done.payload = self._make_payload(item, done.content, stored.payload["norm"])
                if done.payload == stored.payload:
                    done.payload = {}
            else:
                done.known = self._with_content(done.content)
            done.read_s = time.perf_counter() - started
            if done.payload is None and done.known is None:
                started = time.perf_counter()
                done.pixels = self._decode(item, data)
                done.decode_s = time.perf_counter() - started
        except SerupaError as error:
            done.failure = str(error)
        return done

    def _decode(self, item: Item, data: bytes) -> NDArray[np.uint8]:
        try:
            return self._encoder.preprocess(data)
        except SerupaError as error:
            raise type(error)(item.image, error.problem, error.hint) from error

    def _with_content(self, content: str) -> Point | None:
        where = (Condition("content", any_of=(content,)),)
        for points in self._store.scroll(where, vectors=self._vectors, batch=1):
            return points[0]
        return None

    def _take(self, done: _Read, writer: ThreadPoolExecutor) -> None:
        report = self.report
        report.seen += 1
        report.stages_s["read"] += done.read_s
        report.stages_s["decode"] += done.decode_s
        if done.failure:
            report.failures.append(Failure(done.item.id, done.item.image, done.failure))
            return
        self._note(done.item)
        if done.known is not None:
            self._write([self._make_point(done.item, done.content, self._embedding_of(done.known))], writer)
        elif done.payload is not None:
            if done.payload:
                self._payloads.append(done.payload)
                report.updated += 1
            else:
                report.unchanged += 1
        elif done.pixels is not None:
            self._pixels[len(self._waiting)] = done.pixels
            done.pixels = None
            self._waiting.append(done)
            if len(self._waiting) == BATCH:
                self._encode(writer)

    def _encode(self, writer: ThreadPoolExecutor) -> None:
        if not self._waiting:
            return
        started = time.perf_counter()
        embeddings = self._encoder.encode(self._pixels[: len(self._waiting)])
        self.report.stages_s["encode"] += time.perf_counter() - started
        self.report.encoded += len(self._waiting)
        points = [
            self._make_point(done.item, done.content, embedding)
            for done, embedding in zip(self._waiting, embeddings, strict=True)
        ]
        self._waiting.clear()
        self._write(points, writer)
        self._write_payloads(writer)

    def _write(self, points: list[Point], writer: ThreadPoolExecutor) -> None:
        self.report.added += len(points)
        self._submit(writer, lambda: self._store.upsert(points))

    def _write_payloads(self, writer: ThreadPoolExecutor) -> None:
        payloads, self._payloads = self._payloads, []
        if payloads:
            self._submit(writer, lambda: self._store.replace_payloads(payloads))

    def _submit(self, writer: ThreadPoolExecutor, write: Callable[[], None]) -> None:
        def timed() -> float:
            started = time.perf_counter()
            write()
            return time.perf_counter() - started

        self._writes.append(writer.submit(timed))
        while len(self._writes) > 2:
            self.report.stages_s["write"] += self._writes.popleft().result()


def _check(item: Item) -> None:
    """Refuse what the engine cannot keep, naming the item."""
    try:
        item.image.encode()
    except UnicodeEncodeError:
        raise CatalogError(f"{item.image!a}: its name is not UTF-8, rename the file") from None
    for name, value in item.attributes.items():
        if not name or '"' in name:
            raise CatalogError(f"{item.image}: an attribute may not be named {name!r}")
        if name in ("id", "product_id", "content"):
            raise CatalogError(f"{item.image}: {name!r} is a name of Serupa's own, rename the attribute")
        if isinstance(value, float) and not np.isfinite(value):
            raise CatalogError(f"{item.image}: attribute {name!r} is {value}, not a finite number")
        if not isinstance(value, str | int | float | list):
            raise CatalogError(f"{item.image}: attribute {name!r} is a {type(value).__name__}")


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk
