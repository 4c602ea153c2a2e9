"""Files and directories on the disk.

The engine's files are mostly holes, so they are read block by block, and blocks of zeros are left out.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

BLOCK = 64 * 1024
_ZEROS = bytes(BLOCK)


def blocks(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield offset and content of every block of a file that is not all zeros.

    Offsets are multiples of `BLOCK`. Holes are not read where the system can tell them, which is what makes
    a small catalogue's 300 MB of mostly nothing quick to read.
    """
    size = os.fstat(file.fileno()).st_size
    offset = 0
    while offset < size:
        offset = _next_data(file.fileno(), offset, size)
        file.seek(offset)
        block = file.read(BLOCK)
        if not block:
            return
        if block != _ZEROS[: len(block)]:
            yield offset, block
        offset += BLOCK


def _next_data(descriptor: int, offset: int, size: int) -> int:
    """Return the start of the next block that is no hole."""
    if not hasattr(os, "SEEK_DATA"):
        return offset
    try:
        found = os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        return size if error.errno == errno.ENXIO else offset
    return found - found % BLOCK


def copy_sparse(source: str, target: str) -> None:
    """Copy a file's content, holes left out.

    Raises
    ------
    OSError
        If it cannot be read or written.
    """
    with open_regular(source) as reading, Path(target).open("wb") as writing:
        writing.truncate(os.fstat(reading.fileno()).st_size)
        for offset, block in blocks(reading):
            writing.seek(offset)
            writing.write(block)


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file for reading, and nothing else: a pipe would be waited for, a device has no end.

    Raises
    ------
    OSError
        If it cannot be opened, or is no file.
    """
    # not blocking, so that a pipe that nobody writes to is refused and does not hang
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    raise OSError(errno.EINVAL, "not a file", os.fspath(path))


def read_bounded(path: str | os.PathLike[str], limit: int = 64 * 2**20) -> bytes:
    """Read a file that is never larger than a limit, holes counted.

    Raises
    ------
    OSError
        If it cannot be read, is no file, or larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit / 2**20:g} MiB", os.fspath(path))
        return file.read(size)  # as much room as is read is taken beforehand


def fingerprint(path: Path) -> str:
    """Return a hash of a file's size and content: the same for two files that read the same, holes or not.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    with open_regular(path) as file:
        digest.update(os.fstat(file.fileno()).st_size.to_bytes(8, "little"))
        for offset, block in blocks(file):
            digest.update(offset.to_bytes(8, "little"))
            digest.update(block)
    return digest.hexdigest()


def sync_file(path: Path) -> None:
    """Bring what is in a file to the disk.

    Raises
    ------
    OSError
        If it cannot be read or flushed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Bring a change of a directory to the disk, where the system can."""
    with contextlib.suppress(OSError):
        sync_file(directory)


def make_directory(directory: Path) -> None:
    """Make a directory and those above it, unless they are there; down to the disk.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    missing = [one for one in (directory, *directory.parents) if not one.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for one in missing:
        sync_directory(one.parent)


def sync_tree(directory: Path) -> None:
    """Bring every file and directory below a directory to the disk, and itself; its own name is not.

    Raises
    ------
    OSError
        If a file cannot be read or flushed.
    """
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names:
            sync_file(Path(folder, name))
        sync_directory(Path(folder))


def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace a file in one step by these bytes: see `replacing`.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with replacing(path, durable=durable) as stream:
        stream.write(data)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file to be written whole: whoever reads it, also after a crash, sees the old one or the new one.

    Parameters
    ----------
    path : Path
        The file; its folder must be there.
    durable : bool
        Whether it is on the disk, under its name, when the block ends: not needed for what can be made again.

    Yields
    ------
    binary file
        What is written to it takes the file's place at the end of the block, unless the block raises.

    Raises
    ------
    OSError
        If it cannot be written; the old one is still there.
    """
    # A name of this thread alone: others may write the same file
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    try:
        with unfinished.open("w+b") as stream:
            yield stream
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)
