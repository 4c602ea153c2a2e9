"""Copying a catalogue as it is: from a directory to a server, back, or from one server to another.

No photo is read and nothing is encoded: points are copied with their vectors. Run again, a copy goes on where
it stopped. At the end everything is read back and compared.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serupa.catalog import Catalog
from serupa.errors import ConflictError, DamagedError, UsageError
from serupa.progress import Progress
from serupa.storage.base import Point, grouped
from serupa.storage.opening import backend_of

_BATCH = 256
_ROUNDING = 1e-5
"""Largest difference, relative to the vector's length, that two stores' scaling to length 1 may make."""


@dataclass(slots=True)
class CopyReport:
    """What came of copying a catalogue.

    Parameters
    ----------
    copied, unchanged, removed : int
        Points written, points that were there already, and points of the copy that its source does not have.
    repaired : int
        Points that were there, but with other vectors: found when everything was compared.
    items : int
        Points of both, counted by each store.
    largest_difference : float
        Between a vector and its copy, relative to the vector's length.
    checksums : dict of str to tuple of (str, str)
        By vector name, of the source and of the copy: equal where the store keeps vectors as they are; cosine
        vectors may differ in the last bit, since a store scales them to length 1.
    seconds : float
    """

    copied: int = 0
    unchanged: int = 0
    removed: int = 0
    repaired: int = 0
    items: int = 0
    largest_difference: float = 0.0
    checksums: dict[str, tuple[str, str]] = field(default_factory=dict)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {
            "copied": self.copied,
            "unchanged": self.unchanged,
            "removed": self.removed,
            "repaired": self.repaired,
            "items": self.items,
            "largest_difference": self.largest_difference,
            "checksums": {name: list(pair) for name, pair in self.checksums.items()},
            "seconds": round(self.seconds, 3),
        }


def copy_catalog(
    source: Catalog,
    target: str | os.PathLike[str],
    *,
    wait_s: float = 0.0,
    progress: Progress | None = None,
) -> CopyReport:
    """Make a catalogue the copy of another, and prove that it is.

    Parameters
    ----------
    source : Catalog
        Let nobody write to it meanwhile.
    target : path
        A directory or an address; new, or a copy that was begun before.
    wait_s : float
        How long to wait for another process that holds the target.
    progress : callable, optional

    Returns
    -------
    CopyReport

    Raises
    ------
    UsageError
        If the target is the source.
    ConflictError
        If the target is a catalogue of another encoder, other metrics or another tuning, or somebody wrote to
        one of the two meanwhile.
    DamagedError
        If what was written does not come back the same.
    """
    started, tell = time.perf_counter(), progress or (lambda *_: None)
    with _opened(source, target, wait_s) as copy:
        report = CopyReport()
        total = source.count()
        _copy_points(source, copy, report, total, tell)
        _remove_strangers(source, copy, report)
        copy.store.optimize()
        _compare(source, copy, report, total, tell)
        report.items = source.count()
        if copy.count() != report.items:
            raise ConflictError(
                copy.path,
                f"holds {copy.count()} items where {source.path} holds {report.items}",
                "somebody wrote to one of them meanwhile, run the same command again",
            )
    report.seconds = time.perf_counter() - started
    return report


def _opened(source: Catalog, target: str | os.PathLike[str], wait_s: float) -> Catalog:
    backend = backend_of(target)
    try:
        exists = backend.exists()
        if str(backend.address) == str(source.path):
            raise UsageError(target, "cannot be copied to itself")
        if not exists:
            backend.refuse_occupied()
            whitening = source.schema.map.whitening
            tuning = None if whitening is None else whitening.to_bytes()
            return Catalog(backend, backend.create(source.manifest, tuning, wait_s))
    except BaseException:
        backend.close()
        raise
    backend.close()
    copy = Catalog.open(target, wait_s=wait_s)
    try:
        _refuse_other(source, copy)
    except BaseException:
        copy.close()
        raise
    return copy


def _refuse_other(source: Catalog, copy: Catalog) -> None:
    one, other = source.manifest, copy.manifest
    same = {
        "encoder": one.same_encoder(other),
        "metrics": one.metrics == other.metrics,
        "tuning": (one.tuning and one.tuning.sha256) == (other.tuning and other.tuning.sha256),
    }
    for name, agrees in same.items():
        if not agrees:
            raise ConflictError(copy.path, f"has another {name} than {source.path}", "copy to a new place")


def _copy_points(source: Catalog, copy: Catalog, report: CopyReport, total: int, tell: Progress) -> None:
    for batch in source.store.scroll(batch=_BATCH):
        tell("copying", report.copied + report.unchanged, total)
        there = copy.store.get([point.id for point in batch])
        missing = [p.id for p in batch if p.id not in there or there[p.id].payload != p.payload]
        report.unchanged += len(batch) - len(missing)
        if missing:
            points = source.store.get(missing, vectors=tuple(source.manifest.dimensions))
            copy.put([points[i] for i in missing if i in points])
            report.copied += len(missing)
    tell("copying", total, total)


def _remove_strangers(source: Catalog, copy: Catalog, report: CopyReport) -> None:
    if copy.count() == source.count():
        return
    strangers: list[str] = []
    for batch in copy.store.scroll(batch=_BATCH):
        known = source.store.get([point.id for point in batch])
        strangers += [point.id for point in batch if point.id not in known]
    for ids in grouped(strangers, _BATCH):
        copy.store.delete(ids)
    report.removed = len(strangers)


def _compare(source: Catalog, copy: Catalog, report: CopyReport, total: int, tell: Progress) -> None:
    """Read everything back; what differs is written once more, and must not differ then."""
    names = tuple(source.manifest.dimensions)
    sums = {name: (_Checksum(), _Checksum()) for name in names}
    done = 0
    for batch in source.store.scroll(vectors=names, batch=_BATCH):
        tell("comparing", done, total)
        done += len(batch)
        ids = [point.id for point in batch]
        copies = copy.store.get(ids, vectors=names)
        wrong = [p for p in batch if p.id not in copies or difference(p, copies[p.id]) > _ROUNDING]
        if wrong:
            copy.store.upsert(wrong)
            report.repaired += len(wrong)
            copies |= copy.store.get([point.id for point in wrong], vectors=names)
        for point in batch:
            if point.id not in copies or (apart := difference(point, copies[point.id])) > _ROUNDING:
                raise DamagedError(copy.path, f"{point.id} was written and does not come back the same")
            report.largest_difference = max(report.largest_difference, apart)
        for name, (first, second) in sums.items():
            first.add(ids, [point.vectors[name] for point in batch])
            second.add(ids, [copies[i].vectors[name] for i in ids])
    tell("comparing", total, total)
    report.checksums = {name: (str(first), str(second)) for name, (first, second) in sums.items()}


def difference(one: Point, other: Point) -> float:
    """Return the largest difference between two points' vectors, relative to the first's length.

    Infinite where one of them lacks a vector.
    """
    apart = 0.0
    for name, vector in one.vectors.items():
        copied = other.vectors.get(name)
        if copied is None or copied.shape != vector.shape:
            return float("inf")
        length = float(np.linalg.norm(vector)) or 1.0
        apart = max(apart, float(np.abs(vector - copied).max(initial=0.0)) / length)
    return apart


class _Checksum:
    """A checksum of vectors and the ids they belong to, whatever their order: BLAKE2b of each, added up."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, ids: Sequence[str], vectors: Sequence[NDArray[np.float32]]) -> None:
        for one, vector in zip(ids, vectors, strict=True):
            digest = hashlib.blake2b(one.encode(), digest_size=16)
            digest.update(np.ascontiguousarray(vector, "<f4").tobytes())
            self._sum += int.from_bytes(digest.digest(), "little")

    def __str__(self) -> str:
        return f"{self._sum % 2**128:032x}"
