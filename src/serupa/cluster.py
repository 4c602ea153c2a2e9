"""Encoding on many machines: Ray Data hands out the photos, each worker does what one machine does alone.

A worker is a process with a share of a machine's processors, or a GPU. It runs the indexing of one machine
(`serupa.catalog.ingest`) on the items that it is given, so that there is one way of reading, decoding and
encoding:

* into a catalogue on a server, it looks up what is there and writes what is new itself;
* into a catalogue in a directory, which one process holds, it is told what is there, and what it encodes is
  written by that process.

All writes may be repeated, so that a worker that is lost is simply replaced: Ray gives its items to another.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Self, TextIO, cast

import numpy as np

from serupa import errors
from serupa.catalog import Catalog
from serupa.catalog.ingest import AddReport, gone_from, remembered
from serupa.errors import MissingExtraError, SerupaError, UnavailableError
from serupa.filters import Filter
from serupa.items import Failure, FieldKind, Item
from serupa.sources import Listing, Source, SourceOptions, read_source
from serupa.storage.base import Point, VectorStore, grouped
from serupa.storage.manifest import CatalogManifest, TuningInfo

if TYPE_CHECKING:
    from serupa.storage.base import Backend, TermsOf
    from serupa.storage.qdrant.address import ServerAddress

WAVE = 50_000
"""Items that are handed out at a time: bounds what the process that reads the list holds of it."""
BATCH = 128
"""Items that a worker is given at once: what a lost worker costs at most."""

_log = logging.getLogger("serupa.cluster")

_RAYS_LISTENER = "ray_listen_error_messages"
_THREADS = 4
_LOOKUP = 256


def add_with_ray(
    catalog: Catalog,
    source: Source,
    *,
    address: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    options: SourceOptions | None = None,
    replace: bool = False,
    progress: Callable[[AddReport], None] | None = None,
) -> AddReport:
    """Add items as `Catalog.add` does, encoded by the workers of a Ray cluster.

    Parameters
    ----------
    catalog : Catalog
        Open. Workers reach one on a server by themselves.
    source : path, URL or iterable of Item
        Every machine of the cluster must be able to read its photos: a shared directory, or URLs.
    address : str, optional
        The cluster (``auto``, ``ray://host:10001``); one on this machine is started, and ended, unless given.
    workers : int, optional
        How many; as many as there is room for unless given.
    threads : int, optional
        Processors of each worker: 4 unless given, fewer on a smaller machine.
    options, replace
        As `Catalog.add`.
    progress : callable, optional

    Returns
    -------
    AddReport
        As on one machine; the busy seconds of stages are summed over workers.

    Raises
    ------
    MissingExtraError
        If the ``ray`` extra is not installed.
    UnavailableError
        If the cluster cannot be reached, has no room for a worker, or a worker cannot do its work.
    """
    report, started, before = AddReport(), time.perf_counter(), catalog.count()
    listing = read_source(source, options)
    seen: set[int] = set()
    items = remembered(listing, seen)
    with _Cluster(address) as cluster:
        plan = cluster.plan(workers, threads)
        while entries := list(islice(items, WAVE)):
            wave = [entry for entry in entries if isinstance(entry, Item)]
            unusable = [entry for entry in entries if isinstance(entry, Failure)]
            report.failures += unusable
            report.seen += len(unusable)
            for row in (
                cluster.run(plan, _rows(catalog, wave), _told(catalog, listing, replace)) if wave else ()
            ):
                _take(catalog, row, report)
                if progress:
                    report.seconds = time.perf_counter() - started
                    progress(report)
    catalog.refreshed()  # workers that write to a server note fields there
    written = report.added + report.updated
    # what a lost worker wrote is not in its report, and others may write to a server meanwhile
    report.added = max(0, catalog.count() - before)
    report.updated = max(0, written - report.added)
    if written:
        catalog.store.optimize()
    report.notes = listing.notes
    if listing.name and listing.is_complete:
        report.gone = gone_from(catalog.store.for_writing(), listing.name, seen)
    report.seconds = time.perf_counter() - started
    return report


class Worker:
    """One process of the cluster: a catalogue of its own, opened once.

    Parameters
    ----------
    told : mapping
        What `_told` says of the catalogue.
    threads : int
        How many processors it may use.
    """

    def __init__(self, told: Mapping[str, Any], threads: int) -> None:
        os.environ["SERUPA_THREADS"] = str(threads)
        self._outbox = None if "address" in told else _Outbox()
        self._told = told
        self._source, self._replace, self._timeout_s = told["source"], told["replace"], told["timeout_s"]

    def __call__(self, batch: Mapping[str, Sequence[str]]) -> dict[str, list[Any]]:
        """Index items; return one row: what came of it, and what is still to be written.

        An error of ours is a row, too: raised here, it would come out as a text of Ray's.
        """
        items = [Item(**json.loads(one)) for one in batch["item"]]
        try:
            if self._outbox is None:
                return {"report": [_written(self._add(items))]}
            self._outbox.clear([json.loads(one) for one in batch["stored"] if one])
            report = self._add(items)
        except SerupaError as error:
            plain = next(one for one in type(error).__mro__ if one.__init__ is SerupaError.__init__)  # type: ignore[misc]
            return {"error": [json.dumps([plain.__name__, str(error.subject), error.problem, error.hint])]}
        return {"report": [_written(report)]} | self._outbox.rows(tuple(self._catalog.manifest.dimensions))

    @cached_property
    def _catalog(self) -> Catalog:
        if self._outbox is None:
            return Catalog.open(self._told["address"])
        manifest = CatalogManifest.from_json(self._told["manifest"], "the catalogue")
        return Catalog(cast("Backend", _Relay(manifest, self._told["tuning"], self._outbox)), manifest)

    def _add(self, items: Sequence[Item]) -> AddReport:
        part = Listing(lambda: iter(items), self._source, timeout_s=self._timeout_s, is_part=True)
        return self._catalog.add(part, replace=self._replace)


class _Outbox:
    """The part of a store that indexing uses, for a worker that cannot reach the real one."""

    def __init__(self) -> None:
        self.clear([])

    def clear(self, stored: Sequence[Mapping[str, Any]]) -> None:
        """Begin anew, knowing the payloads of what the real store has of the items to come."""
        self._stored = {payload["id"]: Point(payload["id"], {}, payload) for payload in stored}
        self._points: dict[str, Point] = {}
        self._payloads: list[Mapping[str, Any]] = []

    def rows(self, names: Sequence[str]) -> dict[str, list[Any]]:
        """Return what is to be written, as one row of plain columns."""
        points = list(self._points.values())
        payloads = {
            "points": [json.dumps([p.payload for p in points])],
            "payloads": [json.dumps(self._payloads)],
        }
        vectors = {f"vector:{n}": [b"".join(_bytes(p.vectors[n]) for p in points)] for n in names}
        return payloads | vectors

    def get(self, ids: Sequence[str], *, vectors: Sequence[str] = ()) -> dict[str, Point]:
        return {i: self._stored[i] for i in ids if i in self._stored}

    def scroll(
        self,
        where: Filter = (),
        *,
        vectors: Sequence[str] = (),
        batch: int = 256,
        after: str | None = None,
    ) -> Iterator[list[Point]]:
        return iter(())

    def upsert(self, points: Sequence[Point]) -> None:
        self._points |= {point.id: point for point in points}

    def replace_payloads(self, payloads: Sequence[Mapping[str, Any]]) -> None:
        self._payloads += payloads

    def count(self, where: Filter = ()) -> int:
        return len(self._points)

    def index_field(self, field: str, kind: FieldKind) -> None:
        """Leave it to the real store."""

    def optimize(self, *, wait: bool = True) -> None:
        """Leave it to the real store."""

    def for_writing(self) -> Self:
        return self


class _Relay:
    """The part of a backend that indexing uses: a tuning that came along, and an outbox for a store."""

    folder = None

    def __init__(self, manifest: CatalogManifest, tuning: bytes, outbox: _Outbox) -> None:
        self.address = manifest.store
        self._tuning = tuning
        self._outbox = outbox

    def open(self, manifest: CatalogManifest, terms: TermsOf) -> VectorStore:
        return cast("VectorStore", self._outbox)

    def read_tuning(self, tuning: TuningInfo) -> bytes:
        return self._tuning

    def add_fields(self, manifest: CatalogManifest, kinds: Mapping[str, FieldKind]) -> None:
        """Leave it to whoever writes the points."""


class _WithoutNotices:
    """Standard output without what Ray's listener prints there of workers that were lost and replaced."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, unless it is the listener that does."""
        if threading.current_thread().name == _RAYS_LISTENER:
            _log.debug("Ray: %s", text.strip())
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Cluster:
    """A Ray cluster: one that is there, or one of this machine's own for as long as it is needed."""

    def __init__(self, address: str | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # lost workers are replaced
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise MissingExtraError("indexing with Ray", "ray") from error
        self._ray = ray
        self._address = address
        self._own = False
        self._quiet = contextlib.redirect_stdout(cast("TextIO", _WithoutNotices(sys.stdout)))

    def __enter__(self) -> Self:
        ray = self._ray
        if not ray.is_initialized():
            local: dict[str, Any] = {} if self._address else {"include_dashboard": False}
            try:
                ray.init(self._address, logging_level="ERROR", log_to_driver=False, **local)
            except Exception as error:  # Ray's errors at this point are of many kinds
                raise UnavailableError(
                    f"the Ray cluster {self._address or 'of this machine'}",
                    f"cannot be reached: {_line(error)}",
                ) from error
            self._own = True
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        self._quiet.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._own:
            self._ray.shutdown()
        self._quiet.__exit__(*error)

    def plan(self, workers: int | None, threads: int | None) -> dict[str, int]:
        """Return how many workers there are to be, with how many processors and GPUs each."""
        there: dict[str, float] = self._ray.cluster_resources()  # type: ignore[no-untyped-call]
        cpus, gpus = int(there.get("CPU", 0)), int(there.get("GPU", 0))
        on_gpus = "cuda" in os.environ.get("SERUPA_PROVIDERS", "").lower()
        if workers is None and on_gpus:
            workers = max(1, gpus)
        if threads is None:
            threads = min(_THREADS, cpus) if workers is None else cpus // workers
        workers = workers or max(1, cpus // max(1, threads))
        if threads < 1 or workers * threads > cpus or (on_gpus and workers > gpus):
            raise UnavailableError(
                "the Ray cluster",
                f"has {cpus} processors and {gpus} GPUs: no room for {workers} workers of "
                f"{max(1, threads)} processors{' and a GPU' if on_gpus else ''} each",
            )
        return {"workers": workers, "threads": threads, "gpus": int(on_gpus)}

    def run(
        self, plan: Mapping[str, int], rows: list[dict[str, str]], told: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Give rows to the workers; yield theirs as they come."""
        data = self._ray.data
        blocks = math.ceil(len(rows) / BATCH)
        dataset = data.from_items(rows, override_num_blocks=blocks).map_batches(
            Worker,
            fn_constructor_kwargs={"told": told, "threads": plan["threads"]},
            batch_size=BATCH,
            batch_format="numpy",
            compute=data.ActorPoolStrategy(size=min(plan["workers"], blocks)),
            num_cpus=plan["threads"],
            num_gpus=plan["gpus"],
        )  # a worker that is lost is replaced, its batch given to another: Ray Data's own default
        try:
            for row in dataset.iter_rows():
                if "error" in row:
                    kind, *told = json.loads(row["error"])
                    raise getattr(errors, kind)(*told)
                yield row
        except self._ray.exceptions.RayError as error:
            raise UnavailableError("a worker", f"cannot go on: {_line(error)}") from error


def _told(catalog: Catalog, listing: Listing, replace: bool) -> dict[str, Any]:
    """Return what a worker needs to know of a catalogue and a source."""
    told = {"source": listing.name, "replace": replace, "timeout_s": listing.timeout_s}
    if catalog.backend.folder is None:
        return told | {"address": cast("ServerAddress", catalog.path).full}
    whitening = catalog.schema.map.whitening
    return told | {
        "manifest": catalog.manifest.to_json(),
        "tuning": b"" if whitening is None else whitening.to_bytes(),
    }


def _rows(catalog: Catalog, wave: Sequence[Item]) -> list[dict[str, str]]:
    """Return items as rows, with what is stored of them where the workers cannot look it up."""
    stored: dict[str, Point] = {}
    if catalog.backend.folder is not None:
        for ids in grouped((item.id for item in wave), _LOOKUP):
            stored |= catalog.store.for_writing().get(ids)
    return [
        {
            "item": json.dumps(asdict(item) | {"attributes": dict(item.attributes)}),
            "stored": json.dumps(stored[item.id].payload) if item.id in stored else "",
        }
        for item in wave
    ]


def _written(report: AddReport) -> str:
    return json.dumps(report.to_dict())


def _take(catalog: Catalog, row: Mapping[str, Any], report: AddReport) -> None:
    """Write what a worker could not, and add its report to the whole."""
    part = json.loads(row["report"])
    if "points" in row:
        started = time.perf_counter()
        _write(catalog, row)
        report.stages_s["write"] += time.perf_counter() - started
    for name in ("seen", "added", "updated", "unchanged", "encoded"):
        setattr(report, name, getattr(report, name) + part[name])
    report.failures += [
        Failure(f["id"], f["image"], f["reason"], problem=f["problem"]) for f in part["failed"]
    ]
    for name, seconds in part["stages_s"].items():
        report.stages_s[name] += seconds


def _write(catalog: Catalog, row: Mapping[str, Any]) -> None:
    payloads = json.loads(row["points"])
    names = tuple(catalog.manifest.dimensions)
    vectors = {
        name: np.frombuffer(row[f"vector:{name}"], np.float32).reshape(len(payloads), -1)
        for name in (names if payloads else ())
    }
    points = [
        Point(payload["id"], {name: vectors[name][number] for name in names}, payload)
        for number, payload in enumerate(payloads)
    ]
    catalog.put(points, json.loads(row["payloads"]))


def _bytes(vector: Any) -> bytes:
    return np.ascontiguousarray(vector, np.float32).tobytes()


def _line(error: Exception) -> str:
    """Return what went wrong with Ray, in its own words, on one line."""
    lines = str(error).strip().splitlines()
    return (lines[-1].strip() if lines else type(error).__name__)[:300]
