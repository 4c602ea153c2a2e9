"""The embedded store: Qdrant Edge, the engine of the Qdrant server, inside this process."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import RLock, Thread
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.errors import DamagedError, UnavailableError
from serupa.files.atomic import read_bounded, sync_directory
from serupa.filters import Filter, Scalar
from serupa.items import FieldKind
from serupa.storage import scan as scanning
from serupa.storage.base import Examples, Neighbor, Point, Terms, TermsOf, payload_key
from serupa.storage.engine import WORDS, EngineStore, point_of, point_uuid, require_finite
from serupa.storage.local.graph import GraphBuilder
from serupa.storage.local.guard import WRITING_BYTES, GuardedShard, guarded, require_room
from serupa.storage.local.integrity import SETTINGS, ChecksumManifest
from serupa.storage.local.names import FIRST_STORE, next_number, unfinished
from serupa.storage.local.pages import huge_pages
from serupa.storage.local.tally import RESTORE, UNREADABLE, Tally, hash_of
from serupa.vectors import METRICS, Metric, Vector, as_metric, unit

if TYPE_CHECKING:
    import qdrant_edge as engine

_log = logging.getLogger("serupa.storage")

EXACT_BELOW = 20_000
"""Catalogues smaller than this are scanned: exact, and a few milliseconds at 1,280 values."""

# Chosen by bench/search.py; what each costs and gains stands in docs/performance.md. Points are dealt into
# parts with a graph each: two smaller graphs, walked at once, find more in less time than a large one.
_M = 24
_EF_CONSTRUCT = 128
_LEAST_EF_SEARCH = 128
_EF_SEARCH_OVER_ROOT = 0.7
_SCAN_BELOW_KB = 10_000
_SEGMENT_POINTS = 500_000

_CHUNK_BYTES = 34 * 2**20
"""What the engine maps at once for small vectors of new points; a disk in memory has to have all of it."""

_INDEXES = "payload_index"
"""The engine's directory, in each segment, of the indexes of fields."""

_VERSION_BYTES = 8  # of each point that a segment has or had, in the engine's id_tracker.versions
_MOST_WASTED = 0.2  # of the points that a store keeps, those that were removed or replaced
_LEAST_CHANGES = 1_000  # for which it is looked at again: a store is not copied after every item

_FLUSH_EVERY = 2_048  # points; bounds what a power cut can cost and how long reopening replays


def ef_search(points: int) -> int:
    """Return how many candidates a search keeps in each part.

    What finds 99 % of the true neighbours grows as the root of the part's size.
    """
    return max(_LEAST_EF_SEARCH, round(_EF_SEARCH_OVER_ROOT * math.sqrt(min(points, _SEGMENT_POINTS))))


class LocalStore(EngineStore):
    """A store in one directory. The caller holds the lock (`serupa.storage.local.lock.DirectoryLock`).

    Parameters
    ----------
    directory : Path
        Where the engine keeps its files.
    dimensions : mapping of str to int
        The named vectors and their dimensions; a name is a metric, or ``raw`` for values that are
        kept and never searched.
    terms : callable, optional
        What points are found by in words; whoever made the files had one, or had none.
    read_only : bool
        Whether to refuse changes.
    moved : callable, optional
        Told the old and the new directory, when `optimize` has made one that is to be opened from now on.

    Raises
    ------
    UnavailableError
        If the engine cannot make or read its files.
    """

    def __init__(
        self,
        directory: Path,
        dimensions: Mapping[str, int],
        *,
        terms: TermsOf | None = None,
        read_only: bool = False,
        moved: Callable[[Path, Path], None] = lambda before, after: None,
    ) -> None:
        import qdrant_edge

        self._api = qdrant_edge
        self.directory = directory
        """Where its files are: another place once `optimize` had much to do."""
        self._read_only = read_only
        self._moved = moved
        self._builder = GraphBuilder()
        self.replacing = RLock()
        """Held while the files in use are replaced, or copied."""
        self._dimensions = dict(dimensions)
        self._terms = terms
        self._named, self._searched = len(dimensions), len(dimensions.keys() - {"raw"})
        self._unflushed, self.changes = 0, _LEAST_CHANGES
        self._quantized = _is_quantized(directory)
        is_new = not os.path.lexists(directory)
        if is_new:
            self._create(directory)
        self._tally = Tally(directory)
        self._changing = RLock()
        self._names: dict[str, set[str]] = {}  # of the engine's files, by directory, that are on the disk
        if self._tally.points < EXACT_BELOW and not ChecksumManifest(directory).check():
            self._forget_indexes()
        with huge_pages():
            self._shard: Any = GuardedShard(
                directory, lambda: self._load(directory, self._quantized), self._reserve(self._quantized)
            )
        self._indexes = {key: index.data_type for key, index in self._shard.info().payload_schema.items()}
        self._adapt()
        if is_new:
            self._tally.restart(0, 0)
        else:
            self._recognize()

    def _recognize(self) -> None:
        """Compare what was opened with what was stored, where that is not known from checksums."""
        if self._shard.is_verified:
            self._names = dict(self._listing(self.directory))
        elif self._scanned:
            self.verify()
            self._renew_words()
        else:  # reading everything takes minutes
            self._tally.check_count(self.count())
        if self._scanned and not self._tally.is_known:
            self.verify()

    def _renew_words(self) -> None:
        """Write what points are found by in words anew: after a kill it may be that of before a change."""
        with contextlib.suppress(UnavailableError):  # no room now
            for batch in self.scroll():
                for operation in self._new_words([point.payload for point in batch]):
                    self._shard.update(operation)

    def verify(self) -> int:
        """Compare every point with what was stored; return how many there are.

        Raises
        ------
        DamagedError
            If one is missing, or is not what was stored.
        """
        with self._changing:
            points, sum_, torn = self._tally.check(self._hashes())
            if torn:
                self._shard.update(self._api.UpdateOperation.delete_points(torn))
            if not self._read_only:
                self._tally.restart(points, sum_)
            return points

    def drop_unreadable(self) -> int:
        """Remove the points that cannot be read whole, or that no search finds; return how many."""
        with self._changing:
            keys = [key for key, hash_ in self._hashes() if hash_ == UNREADABLE]
            if keys:
                self._shard.update(self._api.UpdateOperation.delete_points(keys))
            return len(keys)

    def _hashes(self) -> Iterator[tuple[str, int]]:
        names, offset = tuple(self._dimensions), None
        reached = self._reached() if self._scanned else None
        while True:
            records, offset = self._page((), limit=256, offset=offset, vectors=names)
            for record in records:
                key, payload = str(record.id), record.payload or {}
                is_itself = key == point_uuid(str(payload.get("id", "")))
                is_whole = is_itself and (reached is None or key in reached)
                is_whole &= (
                    isinstance(record.vector, dict) and record.vector.keys() == self._dimensions.keys()
                )
                yield key, hash_of(point_of(record)) if is_whole else UNREADABLE
            if offset is None:
                return

    def _forget_indexes(self) -> None:
        """Have the engine make the indexes of fields anew: of their files nothing is known after a kill."""
        for index in self.directory.glob(f"segments/*/{_INDEXES}/*/"):
            shutil.rmtree(index, ignore_errors=True)
        for status in self.directory.glob("segments/*/*/deleted/status.dat"):
            # the engine makes room for as many flags as this says, and is ended where there is none
            flags = sum(file.stat().st_size for file in status.parent.glob("flags_*.dat"))
            if int.from_bytes(status.read_bytes()[:8], "little") > 8 * flags:
                raise DamagedError(status, "is damaged", RESTORE)

    def _reached(self) -> set[str]:
        """Return the engine's ids of all points that every kind of search finds."""
        points, exact = int(self._shard.info().points_count), self._api.SearchParams(exact=True)
        reached = []
        for metric in (as_metric(name) for name in self._dimensions if name in METRICS):
            query = self._nearest(np.ones(self._dimensions[metric], np.float32), metric)
            request = self._request(query, metric, limit=points + 1, params=exact)
            reached.append({str(scored.id) for scored in self._answers([request])[0]})
        return set.intersection(*reached)

    def _load(self, directory: Path, quantized: bool) -> Any:
        """Open the shard. The settings are those of this version, whichever made the files."""
        return self._api.EdgeShard.load(str(directory), self._config(quantized))

    def _reserve(self, quantized: bool) -> int:
        """Return the bytes that small vectors may take of the disk at once."""
        return _CHUNK_BYTES * self._searched if quantized else 0

    def _adapt(self) -> None:
        """Search as suits the number of points."""
        points = self._shard.info().points_count
        self._scanned, self._ef_search = points < EXACT_BELOW, ef_search(points)

    def _create(self, directory: Path) -> None:
        """Make the shard beside its place, then move it there: a crash leaves no half of one."""
        made = unfinished(directory)
        shutil.rmtree(made, ignore_errors=True)
        try:
            made.mkdir(parents=True)
            require_room(made, WRITING_BYTES)
            self._create_empty(made, quantized=False)
            made.rename(directory)
        except OSError as error:
            raise UnavailableError(directory, f"cannot be made: {error.strerror or error}") from error

    def _create_empty(self, directory: Path, *, quantized: bool) -> None:
        guarded(
            directory, lambda: self._api.EdgeShard.create(str(directory), self._config(quantized)).close()
        )

    def _config(self, quantized: bool) -> Any:
        q, dimensions = self._api, self._dimensions
        distances = {
            "cosine": q.Distance.Cosine,
            "euclidean": q.Distance.Euclid,
            "manhattan": q.Distance.Manhattan,
        }
        return q.EdgeConfig(
            vectors={
                name: self._kept_vector(size)
                if name == "raw"
                else self._indexed_vector(size, distances[name], quantized)
                for name, size in dimensions.items()
            },
            sparse_vectors=None
            if self._terms is None
            else {WORDS: q.EdgeSparseVectorParams(modifier=q.Modifier.Idf)},
            hnsw_config=q.HnswIndexConfig(
                m=_M, ef_construct=_EF_CONSTRUCT, full_scan_threshold=_SCAN_BELOW_KB
            ),
            optimizers=q.EdgeOptimizersConfig(
                indexing_threshold=_kilobytes(EXACT_BELOW, dimensions),
                default_segment_number=1,
                max_segment_size=_kilobytes(_SEGMENT_POINTS, dimensions),
            ),
        )

    def _indexed_vector(self, size: int, distance: Any, quantized: bool) -> Any:
        """Full precision on disk; once there is a graph, half a byte a value in memory, to walk it."""
        q = self._api
        small = self._quantization(distance) if quantized else None
        return q.EdgeVectorParams(size, distance, memory=q.Memory.Cold, quantization_config=small)

    def _quantization(self, distance: Any) -> Any:
        q = self._api
        if distance == q.Distance.Manhattan:  # half a byte goes with a rotation, which changes this distance
            return q.ScalarQuantizationConfig(q.ScalarType.Int8, memory=q.Memory.Pinned)
        return q.TurboQuantQuantizationConfig(bits=q.TurboQuantBitSize.Bits4, memory=q.Memory.Pinned)

    def _kept_vector(self, size: int) -> Any:
        q = self._api
        # raw values are read when something is worked out from them, and never searched: no graph (m=0)
        no_index = q.HnswIndexConfig(m=0, ef_construct=_EF_CONSTRUCT, full_scan_threshold=_SCAN_BELOW_KB)
        return q.EdgeVectorParams(size, q.Distance.Dot, memory=q.Memory.Cold, hnsw_config=no_index)

    def upsert(self, points: Sequence[Point]) -> None:
        q = self._api
        if not points:
            return
        self._require_writable()
        require_finite(points)
        after = {point.id: _as_kept(point) for point in points}
        operation = q.UpdateOperation.upsert_points(
            [
                q.Point(point_uuid(p.id), dict(p.vectors) | self._words(p.payload), dict(p.payload))
                for p in after.values()
            ]
        )
        with self._changing:
            self._change(self._whole(list(after)), after, [operation])

    def replace_payloads(self, payloads: Sequence[Mapping[str, Any]]) -> None:
        if not payloads:
            return
        self._require_writable()
        replace = self._api.UpdateOperation.overwrite_payload
        with self._changing:
            before = self._whole([payload["id"] for payload in payloads])
            there = [payload for payload in payloads if payload["id"] in before]
            after = {one["id"]: Point(one["id"], before[one["id"]].vectors, one) for one in there}
            replaced = [replace([point_uuid(one["id"])], dict(one)) for one in there]
            self._change(before, after, replaced + self._new_words(there))

    def _new_words(self, payloads: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return what is to be done to find these points by their words."""
        if self._terms is None or not payloads:
            return []
        points = [self._api.PointVectors(point_uuid(one["id"]), self._words(one)) for one in payloads]
        return [self._api.UpdateOperation.update_vectors(points)]

    def _whole(self, ids: Sequence[str]) -> dict[str, Point]:
        return self.get(ids, vectors=tuple(self._dimensions))

    def _change(
        self, before: Mapping[str, Point], after: Mapping[str, Point | None], operations: Sequence[Any]
    ) -> None:
        """Change points, having noted how they were and how they are to be."""
        hashes = {point_uuid(i): (_hash(before.get(i)), _hash(point)) for i, point in after.items()}
        self._tally.begin(hashes)
        try:
            for operation in operations:
                self._shard.update(operation)
        except BaseException:
            found = self._whole(list(after))
            there = {point_uuid(i): _hash(found.get(i)) for i in after}
            self._tally.begin({key: (now, there[key]) for key, (_, now) in hashes.items()})
            raise
        self._count_unflushed(len(after))

    def _require_writable(self) -> None:
        if self._read_only:
            raise UnavailableError("the catalogue", "may only be read here", "change its permissions")

    def _count_unflushed(self, points: int) -> None:
        self._unflushed += points
        self.changes += points
        if self._unflushed >= _FLUSH_EVERY:
            self.flush()
            if self._shard.info().points_count - self.indexed() >= _SEGMENT_POINTS:
                self.optimize()

    def delete(self, ids: Sequence[str]) -> None:
        if ids:
            self._require_writable()
            operation = self._api.UpdateOperation.delete_points([point_uuid(i) for i in ids])
            with self._changing:
                before = self._whole(ids)
                self._change(before, dict.fromkeys(before), [operation])

    def get(self, ids: Sequence[str], *, vectors: Sequence[str] = ()) -> dict[str, Point]:
        records = self._shard.retrieve([point_uuid(i) for i in ids], True, list(vectors)) if ids else []
        return {point.id: point for point in map(point_of, records)}

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
        plain = exact and not payload and exclude is None
        if plain and metric in scanning.METRICS and len(vectors) >= scanning.FROM:
            return self._scan(vectors, metric, limit, where)
        return super().search(
            vectors, metric, limit, where=where, exclude=exclude, exact=exact, payload=payload
        )

    def _condition(
        self, key: str, *, text: str | None = None, bounds: dict[str, float | None] | None = None
    ) -> Any:
        q = self._api
        if bounds is None:
            return q.FieldCondition(key, match=q.MatchValue(text))
        return q.FieldCondition(key, range=q.RangeFloat(**dict.fromkeys(("gt", "gte", "lt", "lte")) | bounds))

    def _has_id(self, keys: list[str]) -> Any:
        return self._api.HasIdCondition(set(keys))

    def _nearest(self, vector: Vector, metric: Metric) -> Any:
        return self._api.Query.Nearest(np.ascontiguousarray(vector, np.float32), using=metric)

    def _best_score(self, examples: Examples, metric: Metric) -> Any:
        q = self._api
        likes = [np.ascontiguousarray(v, np.float32) for v in examples.likes]
        dislikes = [np.ascontiguousarray(v, np.float32) for v in examples.dislikes]
        return q.Query.RecommendBestScore(q.RecommendQuery(likes, dislikes), using=metric)

    def _mmr(self, vector: Vector, metric: Metric, diversity: float, candidates: int) -> Any:
        return self._api.Mmr(vector, 1.0 - diversity, candidates, using=metric)

    def _sparse(self, terms: Terms) -> Any:
        return self._api.SparseVector(list(terms), list(terms.values()))

    def _of_words(self, terms: Terms) -> Any:
        return self._api.Query.Nearest(self._sparse(terms), using=WORDS)

    def _request(self, query: Any, using: str, *, prefetch: Sequence[Any] = (), **more: Any) -> Any:
        return self._api.QueryRequest(query=query, prefetches=list(prefetch), **more)

    def _prefetch(self, query: Any, using: str, **more: Any) -> Any:
        return self._api.Prefetch(query=query, **more)

    def _page(
        self,
        where: Filter,
        *,
        limit: int,
        offset: Any = None,
        vectors: Sequence[str] = (),
        order: Any = None,
    ) -> tuple[Sequence[Any], Any]:
        request = self._api.ScrollRequest(
            offset=offset,
            limit=limit,
            filter=self._filter(where),
            with_payload=True,
            with_vector=list(vectors),
            order_by=order,
        )
        records, following = self._shard.scroll(request)
        return records, following

    def _order(self, key: str, *, descending: bool) -> Any:
        direction = self._api.Direction.Desc if descending else self._api.Direction.Asc
        return self._api.OrderBy(key, direction)

    def _answers(self, requests: list[Any]) -> Sequence[Sequence[engine.ScoredPoint]]:
        if len(requests) == 1:
            return [self._shard.query(requests[0])]
        return self._shard.query_batch(self._api.QueryBatchRequest(requests)) if requests else []

    def _scan(
        self, vectors: NDArray[np.float32], metric: Metric, limit: int, where: Filter
    ) -> list[list[Neighbor]]:
        points = self.scroll(where, vectors=(metric,), batch=1_024)
        found = scanning.scan(points, vectors, metric, limit)
        return [[Neighbor(name, distance, {"id": name}) for name, distance in one] for one in found]

    def count(self, where: Filter = ()) -> int:
        return int(self._shard.count(self._api.CountRequest(exact=True, filter=self._filter(where))))

    def index_field(self, field: str, kind: FieldKind) -> None:
        q = self._api
        key = payload_key(field)
        schema = q.PayloadSchemaType.Keyword if kind == "text" else q.PayloadSchemaType.Float
        # the engine lists its indexes under the key without its quotes where none are needed
        before = self._indexes.get(key, self._indexes.get(key.replace('"', "")))
        if kind == "words" or before == schema:
            return
        self._sync_names(self.directory)  # the engine flushes now, and names in one file what is in another
        self._shard.update(q.UpdateOperation.create_field_index(key, schema))
        self._indexes[key] = schema

    def facet(self, field: str, where: Filter = (), limit: int = 100) -> list[tuple[Scalar, int]]:
        answer = self._shard.facet(
            self._api.FacetRequest(payload_key(field), limit=limit, exact=True, filter=self._filter(where))
        )
        # values whose points are all deleted stay in the engine's index until it is opened again
        return [(hit.value, hit.count) for hit in answer.hits if hit.count]

    def flush(self) -> None:
        with self._changing:
            if self._unflushed:
                self._sync_names(self.directory)  # or what is in them would be on the disk, and not they
                self._shard.flush()
                self._sync_names(self.directory)
                self._tally.settle()
                self._unflushed = 0

    def _sync_names(self, directory: Path) -> None:
        """Bring the names of new files to the disk: the engine flushes what is in its files.

        Without the indexes of fields, of which there are many files: after a power cut they are made anew.
        """
        for folder, names in self._listing(directory):
            if self._names.get(folder) != names and _INDEXES not in Path(folder).parts:
                sync_directory(Path(folder))
                self._names[folder] = names

    @staticmethod
    def _listing(directory: Path) -> Iterator[tuple[str, set[str]]]:
        for part in ("segments", "wal"):
            for folder, folders, files in os.walk(directory / part, topdown=False):
                yield folder, {*folders, *files}

    def optimize(self, *, wait: bool = True) -> None:
        self.flush()
        if not self._is_due():
            self._adapt()
        elif wait:
            self._rebuild_alone()
        else:
            Thread(target=self._rebuild_aside, name="optimize", daemon=True).start()

    def _rebuild_aside(self) -> None:
        try:
            self._rebuild_alone()
        except UnavailableError as error:
            _log.warning("%s", error)

    def _rebuild_alone(self) -> None:
        """Rebuild, unless somebody does, or replaces the files in another way."""
        if self.replacing.acquire(blocking=False):
            try:
                self.changes = 0
                self._rebuild()
                self._adapt()
            finally:
                self.replacing.release()

    def _is_due(self) -> bool:
        """Whether a graph is missing, or much room is taken by what was removed or replaced."""
        if self._read_only or self.changes < _LEAST_CHANGES:
            return False
        points = int(self._shard.info().points_count)
        if points >= EXACT_BELOW and not (self._quantized and points - self.indexed() < EXACT_BELOW):
            return True
        versions = self.directory.glob("segments/*/*id_tracker.versions")
        kept = sum(file.stat().st_size for file in versions) // _VERSION_BYTES
        return kept - points > max(_LEAST_CHANGES, _MOST_WASTED * kept)

    def _rebuild(self) -> None:
        """Have the engine work on a copy, in a process of its own; then go on with that."""
        before = self.directory
        directory = before.with_name(f"{FIRST_STORE}-{next_number(before.parent)}")
        copy = unfinished(directory)
        # not before there is a graph: the engine makes them of new points, too, and would search those
        quantized = self._quantized or self._shard.info().points_count >= EXACT_BELOW
        reserve = self._reserve(quantized)
        try:
            self._create_empty(copy, quantized=quantized)
            settings = (copy / SETTINGS).read_bytes()
            shutil.rmtree(copy)
            if not self._shard.copy(copy, reserve):
                return
            (copy / SETTINGS).write_bytes(settings)
            self._builder.build(copy)
            ChecksumManifest(copy).write()  # of what is written once: it is compared after a kill, too
            copy.rename(directory)
            sync_directory(directory.parent)
            with huge_pages():
                self._shard.switch(
                    directory,
                    lambda: self._load(directory, quantized),
                    reserve,
                    lambda: self._move(before, directory),
                )
            self._quantized = quantized
        except OSError as error:
            raise UnavailableError(directory, f"cannot be made: {error.strerror or error}") from error
        finally:
            self._shard.forget_copy()
            self.directory = self._shard.directory
            for unused in {copy, directory, before} - {self.directory}:
                shutil.rmtree(unused, ignore_errors=True)

    def _move(self, before: Path, directory: Path) -> None:
        self._sync_names(directory)
        self._tally.move(directory)
        try:
            self._moved(before, directory)
        except BaseException:
            self._tally.move(before)
            raise

    def snapshot(self, directory: Path) -> None:
        """Copy the files as they are at this moment into a new directory; changes wait, and searches do not.

        Raises
        ------
        UnavailableError
            If there is no room, or it cannot be written.
        """
        with self.replacing, self._changing:
            self.flush()
            try:
                if not self._shard.copy(directory, 0):
                    raise UnavailableError(directory, "there is no room for a copy", "make room")
            except OSError as error:
                raise UnavailableError(directory, f"cannot be written: {error.strerror or error}") from error
            finally:
                self._shard.forget_copy()

    def indexed(self) -> int:
        return self._indexed(self._shard.info().indexed_vectors_count, self._searched, self._named)

    def for_writing(self) -> LocalStore:
        return self

    def close(self, *, keep: bool = True) -> None:
        """Write everything, unless the files are not kept, and let go of them; a second time does nothing."""
        self._builder.stop()
        with self.replacing:
            if not hasattr(self, "_shard"):
                return
            if keep:
                self.flush()
                if not self._read_only:
                    self._tally.close()
            self._shard.close(keep=keep)
            del self._shard


def _as_kept(point: Point) -> Point:
    """Return a point with its vectors as the engine keeps them, to the bit.

    It scales those that are compared by cosine to length 1, and leaves what has that length already.
    """
    vectors = {
        name: np.asarray(unit(np.asarray(v, np.float64)) if name == "cosine" else v, np.float32)
        for name, v in point.vectors.items()
    }
    return Point(point.id, vectors, point.payload)


def _hash(point: Point | None) -> int | None:
    return None if point is None else hash_of(point)


def _is_quantized(directory: Path) -> bool:
    """Whether the engine was last told to keep vectors in memory in fewer bits."""
    try:
        return b"quantization_config" in read_bounded(directory / SETTINGS)
    except FileNotFoundError:  # the engine says what is wrong with its files
        return False
    except OSError as error:  # it would wait for a pipe
        raise DamagedError(directory / SETTINGS, f"cannot be read ({error.strerror or error})") from error


def _kilobytes(points: int, dimensions: Mapping[str, int]) -> int:
    """Return the size, as the engine counts it, of a part with so many points: by its longest vector."""
    return points * max(dimensions.values()) * 4 // 1024
