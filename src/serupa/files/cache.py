"""The folder where Serupa keeps what it can make or fetch again: weights, graphs, hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

from serupa.files.atomic import open_regular, write_atomic

_SETTLED_NS = 2_000_000_000


def cache_dir() -> Path:
    """Return the folder, which may not exist yet: ``SERUPA_CACHE``, else ``serupa`` in the user's caches."""
    folder = os.environ.get("SERUPA_CACHE")
    if folder:
        return Path(folder).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("serupa", appauthor=False))


def write_whole(path: Path, data: bytes) -> bool:
    """Write a file so that a reader sees all of it or none; return False where the folder cannot be written.

    A cache that cannot be written makes things slow, never wrong, so that is not an error.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data, durable=False)
    except OSError:
        return False
    return True


def discard(path: Path) -> None:
    """Delete a file of the cache if it is there and can be deleted."""
    with contextlib.suppress(OSError):
        path.unlink()


def file_sha256(path: Path, *, remember: bool = True) -> str:
    """Return the SHA-256 of a file.

    Parameters
    ----------
    path : Path
        The file.
    remember : bool
        Whether it may come from the cache while the file's size and time of change stay the same: for large
        files that say by other means when a bit of them is wrong.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    if not remember:
        return _digest(path)
    state = path.stat()
    identity = f"{path.resolve()}\0{state.st_size}\0{state.st_mtime_ns}\0{state.st_ino}"
    note = cache_dir() / "hashes" / hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()
    with contextlib.suppress(OSError, ValueError):
        noted = note.read_text("ascii")
        if len(noted) == 64 and not noted.strip("0123456789abcdef"):
            return noted
    digest = _digest(path)
    # A file that has just changed may change once more within one tick of its clock: such a hash is not kept.
    if time.time_ns() - state.st_mtime_ns > _SETTLED_NS:
        write_whole(note, digest.encode("ascii"))
    return digest


def _digest(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
