"""The checksum manifest of the engine's files: what they were when they were last closed, to notice damage.

The engine (Qdrant Edge 0.9) checks little of what it reads: without one of its small files it opens as an
empty store, and says nothing. So the size and the hash of every file are written down when a store is closed,
and compared before it is opened again. They are dropped before the first change and written anew at the end:
a process that is killed in between leaves none, and then the engine's own log says what is there.

Opening is a change, too, when the engine has something in its log to repeat (deletions, say). So they are set
aside before the engine opens the files, and come back only if the files are still the same afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from serupa.errors import DamagedError, UnavailableError
from serupa.files.atomic import fingerprint, sync_directory

NAME = "seal.json"

_READ_WHOLE = 16 * 2**20
"""On opening, larger files are compared by size alone: reading gigabytes would take seconds."""

# the engine changes these on opening, when nothing else changes: one is rewritten, the other comes and goes
_REWRITTEN = "segment.json"
_PASSING = "tracker_journal.dat"


class ChecksumManifest:
    """The sizes and hashes of one store's files.

    Parameters
    ----------
    directory : Path
        The engine's directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / NAME
        self._aside = directory / f"{NAME}.aside"
        try:
            self._whole = self._file.exists()
        except OSError as error:
            raise UnavailableError(self._file, f"cannot be read ({error.strerror or error})") from error

    @property
    def is_there(self) -> bool:
        """Whether anything is written down."""
        return self._whole

    def check(self, *, everything: bool = False) -> bool:
        """Compare the files with what was written down; where nothing was, there is nothing to compare.

        Parameters
        ----------
        everything : bool
            Read large files, too.

        Returns
        -------
        bool
            Whether there was something to compare with.

        Raises
        ------
        DamagedError
            If a file is missing, or is not what it was.
        """
        if self._whole:
            self._compare(self._file, everything)
        return self._whole

    def _compare(self, checksums: Path, everything: bool) -> None:
        try:
            noted: dict[str, list[object]] = json.loads(checksums.read_bytes())["files"]
            for name, (size, sum_) in noted.items():
                problem = _problem(self._directory / name, size, sum_, everything)
                if problem:
                    raise self._damaged(self._directory / name, problem)
        except OSError as error:
            raise self._damaged(self._file, f"cannot be read ({error.strerror or error})") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._damaged(self._file, "is damaged") from None

    def _damaged(self, file: Path, problem: str) -> DamagedError:
        return DamagedError(
            file, problem, "restore a backup (serupa restore), or index again into a new directory"
        )

    def set_aside(self) -> None:
        """Set the checksums aside while the engine opens the files."""
        if self._whole:
            self._file.replace(self._aside)
            sync_directory(self._directory)

    def put_back(self) -> None:
        """Put the checksums back, unless opening has changed the files."""
        if not self._whole:
            return
        try:
            self._compare(self._aside, everything=False)
        except DamagedError:  # it was right before the engine opened the files
            self._aside.unlink(missing_ok=True)
            self._whole = False
        else:
            self._aside.replace(self._file)

    def drop(self) -> None:
        """Remove the checksums, down to the disk. To be called before the first change."""
        if self._whole:
            self._file.unlink(missing_ok=True)
            sync_directory(self._directory)
            self._whole = False

    def write(self) -> None:
        """Write down what the files are, unless nothing was changed; nothing, where that cannot be."""
        if self._whole:
            return
        with contextlib.suppress(OSError):
            files = {
                path.relative_to(self._directory).as_posix(): [path.stat().st_size, fingerprint(path)]
                for path in _files(self._directory / "segments")
            }
            unfinished = self._directory / f"{NAME}.new"
            with unfinished.open("w", encoding="utf-8") as stream:
                json.dump({"files": files}, stream)
                stream.flush()
                os.fsync(stream.fileno())
            unfinished.replace(self._file)
            self._whole = True


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file() and path.name != _PASSING)


def _problem(path: Path, size: object, sum_: object, everything: bool) -> str:
    try:
        found = path.stat().st_size
        if path.name == _REWRITTEN:
            return ""
        if found != size:
            return f"has {found:,} bytes, not the {size:,} that it was closed with"
        if (everything or _data_bytes(path) <= _READ_WHOLE) and fingerprint(path) != sum_:
            return "is damaged: its content is not what it was closed with"
    except FileNotFoundError:
        return "is missing"
    return ""


def _data_bytes(path: Path) -> int:
    """Return the size of what is in a file, without its holes where the system can tell them."""
    state = path.stat()
    return min(state.st_size, getattr(state, "st_blocks", state.st_size) * 512)
