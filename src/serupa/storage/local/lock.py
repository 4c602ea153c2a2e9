"""The lock of a catalogue's directory: one process at a time, and the next is told who has it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from serupa.errors import ConflictError, UnavailableError
from serupa.files.atomic import read_bounded, write_atomic

PASSING = ("lock", "holder.json")
"""Files in a catalogue's directory that say who has it, and nothing of what it holds."""


class DirectoryLock:
    """The lock of an embedded catalogue; released by `release`, or by the system when the process ends.

    The engine has a lock of its own, but it comes too late: the attempt to open a shard that
    another process holds shortens files under it (Qdrant Edge 0.9.0), so nobody may try to open
    one without holding this lock.

    Parameters
    ----------
    directory : Path
        The catalogue's directory; it must exist.
    wait_s : float
        How long to wait for another process to let go.

    Raises
    ------
    ConflictError
        If another process holds the catalogue.
    UnavailableError
        If the directory cannot be written.
    """

    def __init__(self, directory: Path, wait_s: float = 0.0) -> None:
        self._lock = FileLock(directory / "lock")
        holder = directory / "holder.json"
        try:
            self._lock.acquire(timeout=wait_s)
            write_atomic(holder, json.dumps(_self_description()).encode(), durable=False)
        except Timeout:
            raise ConflictError(
                directory,
                f"in use by {_describe(holder)}",
                "if that is a server, ask it over HTTP, else wait for its end: --wait SECONDS",
            ) from None
        except OSError as error:
            self._lock.release()
            raise UnavailableError(directory, f"cannot be written: {error.strerror or error}") from error

    def release(self) -> None:
        """Let the next process in."""
        self._lock.release()


@contextlib.contextmanager
def reading(directory: Path) -> Iterator[None]:
    """Keep writers out of a catalogue that this process may only read, for as long as the block takes.

    Raises
    ------
    ConflictError
        If a process that may write has it.
    """
    try:
        lock = os.open(directory / "lock", os.O_RDONLY)
    except OSError:  # nobody ever had it, or it is none of our business
        yield
        return
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConflictError(directory, f"in use by {_describe(directory / 'holder.json')}") from None
    finally:
        os.close(lock)


def _self_description() -> dict[str, str | int]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "program": Path(sys.argv[0]).name or "python",
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _describe(holder: Path) -> str:
    try:
        known = json.loads(read_bounded(holder, 2**16))
        return f"{known['program']} (process {known['pid']} on {known['host']}, since {known['since']})"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
