"""What a store must hold, known apart from the engine's files: how many points, and a sum of them all.

While nobody writes, checksums say whether the files are what they were (`integrity`). A process that is
killed leaves none, and the engine opens what is left of its files without a word. So every change is noted
here before the engine is told of it: which points, and the hash of each as it was and as it is to be. After a
kill or a power cut each point that was being changed must be one of these, and all others together must add
up to the same sum.

The notes are lines of JSON, each behind its own checksum, appended and flushed. A line that was cut short by
a power cut belongs to a change that had not begun.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from serupa.errors import DamagedError, UnavailableError
from serupa.files.atomic import read_bounded, write_atomic
from serupa.storage.base import Point

NAME = "tally.log"

_LONGEST = 8 * 2**20
"""Bytes of notes from which they are summed up."""

RESTORE = "see what can be kept (serupa check --repair), or restore a backup (serupa restore)"

Change = tuple[int | None, int | None]
"""A point's hash before and after; None where it is not there."""

UNREADABLE = -1
"""Stands for the hash of a point that cannot be read."""


def boot() -> str:
    """Return what tells one run of this machine from the next; empty where that is not known."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().decode().strip()
    return ""


def hash_of(point: Point) -> int:
    """Return a hash of all that a store keeps of a point, which no restart of the engine changes.

    The engine gives vectors back to the bit, and other numbers with an error in the 16th digit.
    """
    digest = hashlib.blake2b(json.dumps(_stable(point.payload), sort_keys=True).encode(), digest_size=16)
    for name in sorted(point.vectors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(point.vectors[name], "<f4").tobytes())
    return int.from_bytes(digest.digest(), "little")


def _stable(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() and math.fabs(value) < 2**53 else f"{value:.9g}"
    if isinstance(value, Mapping):
        return {name: _stable(one) for name, one in value.items()}
    return [_stable(one) for one in value] if isinstance(value, list) else value


class Tally:
    """The notes of one store. May be used from several threads.

    Parameters
    ----------
    directory : Path
        The engine's directory.

    Attributes
    ----------
    points : int
        How many there are, once all that was begun is done.
    is_known : bool
        Whether anything was noted: nothing is for stores of a Serupa that did not.

    Raises
    ------
    DamagedError
        If the notes are not what was written.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / NAME
        self._lock = Lock()
        self.points = self._sum = self._bytes = 0
        self._changing: dict[str, list[int | None]] = {}
        self._was_cut = False  # the machine started anew: a change may be half on the disk
        self.is_known = self._read()

    def _read(self) -> bool:
        try:
            *lines, _ = read_bounded(self._file, 2**30).split(b"\n")
            if not lines:
                raise ValueError
            for line in lines:
                sum_, _, text = line.partition(b" ")
                if sum_ != _sum_of(text):
                    raise ValueError
                self._take(json.loads(text))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise UnavailableError(self._file, f"cannot be read ({error.strerror or error})") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise DamagedError(self._file, "is damaged", RESTORE) from None
        return True

    def _take(self, note: dict[str, Any]) -> None:
        if "points" in note:
            self.points, self._sum = note["points"], int(note["sum"], 16)
            self._was_cut = note["boot"] != boot()
            self._changing = {id_: list(map(_number, hashes)) for id_, hashes in note["changing"].items()}
        elif "settled" in note:
            self._changing.clear()
        else:
            self._change({id_: (_number(a), _number(b)) for id_, (a, b) in note["change"].items()})

    def begin(self, changes: Mapping[str, Change]) -> None:
        """Note what is about to be changed, down to the disk.

        Raises
        ------
        UnavailableError
            If it cannot be written; nothing may be changed then.
        """
        with self._lock:
            if not self.is_known:
                return
            self._append(
                {"change": {id_: [_text(a), _text(b)] for id_, (a, b) in changes.items()}}, sync=True
            )
            self._change(changes)

    def _append(self, note: dict[str, Any], *, sync: bool) -> None:
        try:
            with self._file.open("ab") as stream:
                self._bytes = stream.tell() + stream.write(_line(note))
                stream.flush()
                if sync:
                    os.fdatasync(stream.fileno())
        except OSError as error:
            raise UnavailableError(self._file, f"cannot be written: {error.strerror or error}") from error

    def _change(self, changes: Mapping[str, Change]) -> None:
        for id_, (before, after) in changes.items():
            self._changing.setdefault(id_, [before]).append(after)
            self.points += (after is not None) - (before is not None)
            self._sum += (after or 0) - (before or 0)

    def settle(self) -> None:
        """Take what was changed so far for certain: the engine has it on the disk."""
        with self._lock:
            if self._changing:
                self._changing.clear()
                if self._bytes > _LONGEST:
                    self._write()
                else:  # it comes to the disk with the next change: until then there is nothing to tell apart
                    self._append({"settled": True}, sync=False)

    def restart(self, points: int, sum_: int) -> None:
        """Begin anew with what was counted."""
        with self._lock:
            self.points, self._sum, self.is_known = points, sum_, True
            self._changing.clear()
            self._write()

    def move(self, directory: Path) -> None:
        """Go on in another directory, which holds the same."""
        with self._lock:
            before, self._file = self._file, directory / NAME
            try:
                if self.is_known:
                    self._write()
            except BaseException:
                self._file = before
                raise

    def close(self) -> None:
        """Sum up the notes."""
        with self._lock:
            if self.is_known and self._bytes:
                self._write()

    def _write(self) -> None:
        changing = {id_: list(map(_text, hashes)) for id_, hashes in self._changing.items()}
        note = {"points": self.points, "sum": _text(self._sum), "changing": changing, "boot": boot()}
        try:
            write_atomic(self._file, _line(note))
        except OSError as error:
            raise UnavailableError(self._file, f"cannot be written: {error.strerror or error}") from error
        self._bytes = 0

    def check_count(self, found: int) -> None:
        """Compare how many points there are with how many there can be.

        Raises
        ------
        DamagedError
            If that cannot be.
        """
        rest = self.points - sum(hashes[-1] is not None for hashes in self._changing.values())
        least = rest + sum(None not in hashes for hashes in self._changing.values())
        most = rest + sum(any(hashes) for hashes in self._changing.values())
        if self.is_known and not least <= found <= most:
            raise self._damaged(f"has {found} items, not the {self.points} that were stored")

    def check(self, found: Iterable[tuple[str, int]]) -> tuple[int, int, list[str]]:
        """Compare ids and hashes of all points with what was noted.

        Returns
        -------
        tuple of (int, int, list of str)
            How many there are, their sum, and ids of further ones that a power cut left half written: new,
            and never acknowledged.

        Raises
        ------
        DamagedError
            If something that was stored is missing, or is not what was stored.
        """
        points, sum_, torn = 0, 0, []
        others = self.points - sum(hashes[-1] is not None for hashes in self._changing.values())
        rest = self._sum - sum(hashes[-1] or 0 for hashes in self._changing.values())
        unseen = dict(self._changing)
        for id_, hash_ in found:
            hashes = unseen.pop(id_, None)
            if hashes is None:
                others, rest = others - 1, rest - hash_
            elif hash_ not in hashes:
                if not self._was_cut or None not in hashes:
                    raise self._damaged("holds an item that is not as it was stored")
                torn.append(id_)
                continue
            points, sum_ = points + 1, sum_ + hash_
        if not self.is_known:
            return points, sum_, torn
        lost = next((id_ for id_, hashes in unseen.items() if None not in hashes), None)
        if others or lost is not None:
            raise self._damaged(f"has {points} items, not the {self.points} that were stored")
        if rest:
            raise self._damaged("holds items that are not as they were stored")
        return points, sum_, torn

    def _damaged(self, problem: str) -> DamagedError:
        return DamagedError(self._file.parent, problem, RESTORE)


def _text(hash_: int | None) -> str | None:
    return None if hash_ is None else f"{hash_:x}"


def _number(text: str | None) -> int | None:
    return None if text is None else int(text, 16)


def _line(note: dict[str, Any]) -> bytes:
    text = json.dumps(note).encode()
    return _sum_of(text) + b" " + text + b"\n"


def _sum_of(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=8).hexdigest().encode()
