"""The checksum manifest of the engine's files: what they were when they were last closed, to notice damage.

The engine (Qdrant Edge 0.9) checks little of what it reads: without one of its small files it opens as an
empty store, and says nothing. So the size and the hash of every file are written down when a store is closed,
and compared before it is opened again.

While it is open they are set aside, for opening may be a change, too, when the engine has something in its
log to repeat. They come back at the end if nothing was changed, and are written anew if something was. What a
process that was killed leaves aside proves that files are whole where all still agree. Where they do not, the
files of a graph must agree all the same, for the engine writes them once; of the others the notes of what was
stored say what must be there (`tally`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from serupa.errors import DamagedError, UnavailableError
from serupa.files.atomic import fingerprint, read_bounded

NAME = "seal.json"

SETTINGS = "edge_config.json"
"""The engine's file of the settings that it was last given."""

_READ_WHOLE = 16 * 2**20
"""On opening, larger files are compared by size alone: reading gigabytes would take seconds."""

# the engine changes these on opening, when nothing else changes: one is rewritten, the other comes and goes
_REWRITTEN = "segment.json"
_PASSING = "tracker_journal.dat"

_WRITTEN_ONCE = frozenset(
    (
        "graph.bin",
        "hnsw_config.json",
        "id_tracker.mappings",
        "links_compressed.bin",
        "matrix.dat",
        "quantized.config.json",
        "quantized.data",
        "quantized.meta.json",
    )
)
"""Files of a part that has a graph: the engine writes them with it, and never again."""


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
        self.are_old = False
        """Whether the files were changed since: then they are written anew, however alike they look."""
        try:
            self._whole = self._file.exists()
        except OSError as error:
            raise UnavailableError(self._file, f"cannot be read ({error.strerror or error})") from error

    def check(self, *, everything: bool = False) -> bool:
        """Compare the files with what was written down.

        Parameters
        ----------
        everything : bool
            Read large files, too.

        Returns
        -------
        bool
            Whether they are known to be whole; False where nothing was written down, or the process that had
            them open was killed after it had changed them.

        Raises
        ------
        DamagedError
            If a file is missing, or is not what it was.
        """
        if self._whole:
            for path, problem in self._differences(self._file, everything):
                raise self._damaged(path, problem)
            return True
        if not self._aside.exists():
            return False
        is_whole = True
        for path, problem in self._differences(self._aside, everything):
            part = self._directory.joinpath(*path.relative_to(self._directory).parts[:2])
            if path.name in _WRITTEN_ONCE and part.exists():
                raise self._damaged(path, problem)
            is_whole = False
        return is_whole

    def _differences(self, checksums: Path, everything: bool) -> Iterator[tuple[Path, str]]:
        """Yield the files that are not what was written down, and what is wrong with each."""
        try:
            noted: dict[str, list[object]] = json.loads(read_bounded(checksums))["files"]
            for name, (size, sum_) in noted.items():
                problem = _problem(self._directory / name, size, sum_, everything)
                if problem:
                    yield self._directory / name, problem
        except OSError as error:
            raise self._damaged(checksums, f"cannot be read ({error.strerror or error})") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._damaged(checksums, "is damaged") from None

    def _damaged(self, file: Path, problem: str) -> DamagedError:
        return DamagedError(
            file, problem, "restore a backup (serupa restore), or index again into a new directory"
        )

    def set_aside(self) -> None:
        """Set the checksums aside before the engine opens the files; as it does, it flushes the directory."""
        if self._whole:
            self._file.replace(self._aside)
            self._whole = False

    def forget(self) -> None:
        """Remove the checksums, whatever they say."""
        self._file.unlink(missing_ok=True)
        self._aside.unlink(missing_ok=True)
        self._whole = False

    def write(self) -> None:
        """Write down what the files are, now that they are closed; nothing, where that cannot be."""
        with contextlib.suppress(OSError, DamagedError):  # what is damaged now is named when it is opened
            if not self.are_old and self.check():
                self._aside.replace(self._file)
                return
            files = {
                path.relative_to(self._directory).as_posix(): [path.stat().st_size, _sum_of(path)]
                for path in (*_files(self._directory / "segments"), self._directory / SETTINGS)
            }
            unfinished = self._directory / f"{NAME}.new"
            with unfinished.open("w", encoding="utf-8") as stream:
                json.dump({"files": files}, stream)
                stream.flush()
                os.fsync(stream.fileno())
            unfinished.replace(self._file)
            self._aside.unlink(missing_ok=True)


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file() and path.name != _PASSING)


def _problem(path: Path, size: object, sum_: object, everything: bool) -> str:
    try:
        found = path.stat().st_size
        if path.name == _REWRITTEN:
            return ""
        if found != size:
            return f"has {found:,} bytes, not the {size:,} that it was closed with"
        if (everything or _data_bytes(path) <= _READ_WHOLE) and _sum_of(path) != sum_:
            return "is damaged: its content is not what it was closed with"
    except FileNotFoundError:
        return "is missing"
    except (ValueError, RecursionError):
        return "is damaged"
    return ""


def _sum_of(path: Path) -> str:
    if path.name != SETTINGS:
        return fingerprint(path)
    values = json.loads(read_bounded(path))  # the engine writes it on opening, in any order
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _data_bytes(path: Path) -> int:
    """Return the size of what is in a file, without its holes where the system can tell them."""
    state = path.stat()
    return min(state.st_size, getattr(state, "st_blocks", state.st_size) * 512)
