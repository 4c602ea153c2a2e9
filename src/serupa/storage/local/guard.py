"""The engine behind a guard: its failures become errors of ours, and a full disk is met before it is hit.

The engine (Qdrant Edge 0.9) writes through memory maps over files with holes. On a full disk that is not an
error but a signal (SIGBUS) that ends the process at once, also on opening. And its panics are no
`Exception`, so nothing that catches errors would catch them.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Condition, Lock
from typing import Any, TypeVar

from serupa.errors import SerupaError, UnavailableError
from serupa.storage.local.integrity import ChecksumManifest

_T = TypeVar("_T")

OPENING_BYTES = 8 * 2**20
"""Free space without which a store is not opened: the engine writes on opening, too."""

WRITING_BYTES = 32 * 2**20
"""Free space without which nothing is written: many times what one batch takes."""


class GuardedShard:
    """An open shard of the engine; has its methods.

    Parameters
    ----------
    directory : Path
        The engine's directory.
    load : callable
        Opens the shard.
    reserve : int
        Bytes to be free on opening beyond what it needs anyway; twice that on writing.

    Raises
    ------
    DamagedError
        If files are not what they were when they were last closed.
    UnavailableError
        If the disk is full, or the engine fails.
    """

    def __init__(self, directory: Path, load: Callable[[], Any], reserve: int = 0) -> None:
        self._directory = directory
        self._reserve = reserve
        self._checksums = ChecksumManifest(directory)
        self._lock = Lock()
        self._calls = _Calls()
        self._checksums.check()
        require_room(directory, OPENING_BYTES + reserve)
        self._checksums.set_aside()
        try:
            self._shard = guarded(directory, load)
        finally:
            self._checksums.put_back()

    def update(self, operation: Any) -> None:
        """Change the store; refused, and nothing changed, where the disk is nearly full."""
        require_room(self._directory, WRITING_BYTES + 2 * self._reserve)
        self._drop_checksums()
        self._call("update", operation)

    def optimize(self) -> None:
        """Bring the index up to date, unless there is no room for it: searches are right without, too."""
        if self._room_for_index(self._reserve):
            self._drop_checksums()
            self._call("optimize")

    def exchange(self, load: Callable[[], Any], reserve: int) -> bool:
        """Open the shard anew with other settings, unless there is no room; calls wait for that.

        Returns
        -------
        bool
            Whether there was room.
        """
        if not self._room_for_index(reserve):
            return False
        self._drop_checksums()
        with self._calls.none():
            guarded(self._directory, self._shard.close)
            self._shard = guarded(self._directory, load)
        self._reserve = reserve
        return True

    def _room_for_index(self, reserve: int) -> bool:
        used = sum(f.stat().st_blocks * 512 for f in self._directory.rglob("*") if f.is_file())
        return shutil.disk_usage(self._directory).free >= WRITING_BYTES + 2 * (reserve + used)

    def close(self) -> None:
        """Close the shard and write down its files' checksums."""
        guarded(self._directory, self._shard.close)
        self._checksums.write()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args: self._call(name, *args)

    def _call(self, name: str, *args: Any) -> Any:
        with self._calls.one():
            return guarded(self._directory, lambda: getattr(self._shard, name)(*args))

    def _drop_checksums(self) -> None:
        with self._lock:
            self._checksums.drop()


class _Calls:
    """Calls under way: many at once, or none for as long as the shard is exchanged."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._under_way = 0
        self._exchanging = False

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._exchanging)
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def none(self) -> Iterator[None]:
        with self._changed:
            self._exchanging = True  # or calls that keep coming would never leave a moment
            try:
                self._changed.wait_for(lambda: not self._under_way)
                yield
            finally:
                self._exchanging = False
                self._changed.notify_all()


def require_room(directory: Path, needed: int) -> None:
    """Refuse to go on where the disk is nearly full.

    Raises
    ------
    UnavailableError
        If fewer than `needed` bytes are free.
    """
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise UnavailableError(
            directory,
            f"its disk is full ({free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB needed)",
            "make room, then try again: what was stored is there",
        )


def guarded(directory: Path, call: Callable[[], _T]) -> _T:
    """Call the engine; whatever it raises becomes an `UnavailableError` that names the store."""
    try:
        return call()
    except (SerupaError, KeyboardInterrupt, SystemExit, TypeError, ValueError, OverflowError):
        raise  # the last three: our own mistake in calling it
    except BaseException as error:  # a panic is no Exception
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UnavailableError(
            directory,
            f"the store cannot be opened or used: {reason}",
            "if it stays so, restore a backup (serupa restore)",
        ) from error
