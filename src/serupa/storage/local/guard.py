"""The engine behind a guard: its failures become errors of ours, and a full disk is met before it is hit.

The engine (Qdrant Edge 0.9) writes through memory maps over files with holes. On a full disk that is not an
error but a signal (SIGBUS) that ends the process at once, also on opening. And its panics are no
`Exception`, so nothing that catches errors would catch them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Condition, Lock
from typing import Any, TypeVar

from serupa.errors import SerupaError, UnavailableError
from serupa.files.atomic import copy_sparse
from serupa.storage.local.integrity import NAME as CHECKSUMS
from serupa.storage.local.integrity import ChecksumManifest

_T = TypeVar("_T")

OPENING_BYTES = 8 * 2**20
"""Free space without which a store is not opened: the engine writes on opening, too."""

WRITING_BYTES = 32 * 2**20
"""Free space without which nothing is written: many times what one batch takes."""

MAPPED_BYTES = 512 * 2**20
"""What the engine maps on opening a small store, and more than it needs to say so when it gets no memory."""

_LAST_CHANGES = 32  # that are made on a copy while writers wait


class _Opened:
    """A shard of the engine that is open, and how many calls it is answering."""

    def __init__(self, directory: Path, load: Callable[[], Any], reserve: int) -> None:
        self.directory = directory
        self.reserve = reserve
        self.checksums = ChecksumManifest(directory)
        self.calls = 0
        self.is_verified = self.checksums.check()
        require_room(directory, OPENING_BYTES + reserve)
        require_memory(directory)
        self.checksums.set_aside()
        self.shard = guarded(directory, load)

    def close(self) -> None:
        guarded(self.directory, self.shard.close)


class GuardedShard:
    """An open shard of the engine; has its methods, and can go on with another copy of its files.

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
        self._opened = _Opened(directory, load, reserve)
        self._calls = Condition()
        self._writes = Lock()
        self._since_copy: list[Any] | None = None  # changes, while there is a copy that lacks them

    @property
    def directory(self) -> Path:
        """Where the files in use are."""
        return self._opened.directory

    @property
    def is_verified(self) -> bool:
        """Whether the files were what checksums say when they were opened."""
        return self._opened.is_verified

    def update(self, operation: Any) -> None:
        """Change the store; refused, and nothing changed, where the disk is nearly full."""
        with self._writes:
            require_room(self.directory, WRITING_BYTES + 2 * self._opened.reserve)
            self._opened.checksums.are_old = True
            self._call("update", operation)
            if self._since_copy is not None:
                self._since_copy.append(operation)

    def copy(self, target: Path, reserve: int) -> bool:
        """Copy the files, and note what is changed from then on; unless there is no room to work on a copy.

        Returns
        -------
        bool
            Whether there was room.
        """
        used = sum(f.stat().st_blocks * 512 for f in self.directory.rglob("*") if f.is_file())
        if shutil.disk_usage(self.directory).free < WRITING_BYTES + 2 * (reserve + used):
            return False
        with self._writes:
            self._call("flush")
            ignored = shutil.ignore_patterns(f"{CHECKSUMS}*")
            shutil.copytree(self.directory, target, copy_function=copy_sparse, ignore=ignored)
            self._since_copy = []
        return True

    def forget_copy(self) -> None:
        """Stop noting changes."""
        self._since_copy = None

    def switch(
        self, directory: Path, load: Callable[[], Any], reserve: int, commit: Callable[[], None]
    ) -> Path:
        """Go on with a copy, brought up to date; no call waits for it but those that write.

        Parameters
        ----------
        directory : Path
            Where the copy is by now.
        load : callable
            Opens it.
        reserve : int
            As for the class.
        commit : callable
            Makes it the one that is opened from now on. Before it is called, the copy is on the disk.

        Returns
        -------
        Path
            The directory that was in use, closed.
        """
        opened = _Opened(directory, load, reserve)
        try:
            while len(self._since_copy or ()) > _LAST_CHANGES:
                self._catch_up(opened)
            with self._writes:
                self._catch_up(opened)
                guarded(directory, opened.shard.flush)
                commit()
                with self._calls:
                    before, self._opened = self._opened, opened
                self._since_copy = None
        except BaseException:
            opened.close()
            raise
        with self._calls:
            self._calls.wait_for(lambda: not before.calls)
        before.close()
        return before.directory

    def _catch_up(self, opened: _Opened) -> None:
        noted = self._since_copy or []
        for _ in range(len(noted)):
            guarded(opened.directory, lambda: opened.shard.update(noted[0]))
            del noted[0]

    def close(self, *, keep: bool) -> None:
        """Close the shard and, where its files are kept, write down their checksums."""
        self._opened.close()
        if keep:
            self._opened.checksums.write()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args: self._call(name, *args)

    def _call(self, name: str, *args: Any) -> Any:
        with self._calls:
            opened = self._opened
            opened.calls += 1
        try:
            return guarded(opened.directory, lambda: getattr(opened.shard, name)(*args))
        finally:
            with self._calls:
                opened.calls -= 1
                self._calls.notify_all()


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


def require_memory(directory: Path) -> None:
    """Refuse to go on where this process may have little more memory: without it, the engine stands still.

    Raises
    ------
    UnavailableError
        If a limit of the process (``ulimit -v``) leaves less than the engine maps on opening.
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):  # no Linux
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    left = limit - pages * resource.getpagesize()
    if limit != resource.RLIM_INFINITY and left < MAPPED_BYTES:
        raise UnavailableError(
            directory,
            f"cannot be opened with {max(0, left) / 1e6:.0f} MB of memory left to this process",
            f"raise its limit (ulimit -v) until {MAPPED_BYTES / 1e6:.0f} MB are",
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
