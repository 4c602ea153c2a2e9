"""A backup's file: a tar archive of which every byte is checked on the way out and on the way in.

``manifest.json`` is its last member: a backup that was cut short has none. Blocks of zeros, which the
engine's files are full of, are left out; the manifest says where what is kept of a file belongs, and has the
SHA-256 of each member.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import serupa
from serupa.errors import ConflictError, DamagedError, NotFoundError, UnavailableError
from serupa.files.atomic import BLOCK, blocks, open_regular, sync_directory

Kind = Literal["serupa backup 1", "serupa server backup 1"]

_MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 256 * 2**20


def write_archive(
    target: Path, kind: Kind, catalog: str, items: int, files: Iterable[tuple[str, Path]]
) -> dict[str, Any]:
    """Write files into a new archive, read it again and compare; return its manifest.

    Parameters
    ----------
    target : Path
        A file that does not exist yet; it appears whole, or not at all.
    kind : str
        What the files are.
    catalog : str
        Where they come from.
    items : int
        How many items they hold.
    files : iterable of (str, Path)
        The name of each in the archive; a file may go once the next one is asked for.

    Raises
    ------
    ConflictError
        If the target is there already.
    UnavailableError
        If it cannot be written.
    """
    if target.exists() or target.is_symlink():
        raise ConflictError(target, "is there already", "give the backup a name of its own")
    unfinished = target.with_name(f".{target.name}.new")
    manifest: dict[str, Any] = {
        "kind": kind,
        "serupa": serupa.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "catalog": catalog,
        "items": items,
        "files": {},
    }
    try:
        with unfinished.open("wb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
                for name, file in files:
                    manifest["files"][name] = _put(archive, name, file)
                _put_bytes(archive, _MANIFEST, json.dumps(manifest).encode())
            stream.flush()
            os.fsync(stream.fileno())
        read_archive(unfinished)
        unfinished.rename(target)
        sync_directory(target.parent)
    except OSError as error:
        raise UnavailableError(target, f"the backup cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
    return manifest


def read_archive(path: Path, into: Path | None = None) -> dict[str, Any]:
    """Compare an archive with its manifest, and write its files into a directory; return the manifest.

    Raises
    ------
    NotFoundError, DamagedError
        If there is none, or it is not what was written.
    UnavailableError
        If a file cannot be read or written.
    """
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            members = {member.name: member for member in archive}
            manifest = _manifest(archive, members)
            if set(members) - {_MANIFEST} != set(manifest["files"]):
                raise ValueError("its list of files is not that of its manifest")
            for name, entry in manifest["files"].items():
                _take(archive, members[name], entry, None if into is None else into / _safe(name))
    except FileNotFoundError as error:
        raise NotFoundError(path, "no such backup") from error
    except OSError as error:
        raise UnavailableError(error.filename or path, error.strerror or str(error)) from error
    except (tarfile.TarError, EOFError, LookupError, ValueError, TypeError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DamagedError(path, f"not a whole backup: {reason}", "use another one") from error
    return manifest


def _put(archive: tarfile.TarFile, name: str, path: Path) -> dict[str, Any]:
    """Put what is not zeros of a file into the archive; return its entry of the manifest."""
    digest = hashlib.sha256()
    runs: list[list[int]] = []
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        for offset, block in blocks(file):
            digest.update(block)
            if runs and sum(runs[-1]) == offset:
                runs[-1][1] += len(block)
            else:
                runs.append([offset, len(block)])
        entry = tarfile.TarInfo(name)
        entry.size = sum(length for _, length in runs)
        archive.addfile(entry, _Runs(file, runs))
    return {"size": size, "sha256": digest.hexdigest(), "runs": runs}


class _Runs(io.RawIOBase):
    """Reads pieces of a file as if they were all of it."""

    def __init__(self, file: Any, runs: list[list[int]]) -> None:
        self._file = file
        self._left = [list(run) for run in reversed(runs)]

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        found = b""
        while self._left and (size < 0 or len(found) < size):
            run = self._left[-1]
            self._file.seek(run[0])
            part = self._file.read(run[1] if size < 0 else min(run[1], size - len(found)))
            found += part
            run[0], run[1] = run[0] + len(part), run[1] - len(part)
            if not run[1] or not part:
                self._left.pop()
        return found


def _put_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _manifest(archive: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo]) -> dict[str, Any]:
    member = members.get(_MANIFEST)
    if member is None:
        raise ValueError("it has no manifest, so it was cut short, or is something else")
    manifest: dict[str, Any] = json.loads(_content(archive, member).read(_LARGEST_MANIFEST))
    if manifest["kind"] not in get_args(Kind):
        raise ValueError(f"it is of another kind, {manifest['kind']!r:.40}")
    texts = (manifest["catalog"], manifest["created"])
    if not all(isinstance(text, str) for text in texts) or type(manifest["items"]) is not int:
        raise ValueError("its manifest is damaged")
    return manifest


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    stream = archive.extractfile(member) if member.isreg() else None
    if stream is None:
        raise ValueError(f"{member.name!r:.80} in it is no file")
    return stream


def _take(
    archive: tarfile.TarFile, member: tarfile.TarInfo, entry: Mapping[str, Any], to: Path | None
) -> None:
    """Check one file, and write it."""
    size, runs = entry["size"], entry["runs"]
    at = 0
    for offset, length in runs:
        if not (type(offset) is type(length) is int and at <= offset and 0 < length <= size - offset):
            raise ValueError(f"the manifest is wrong about {member.name!r:.80}")
        at = offset + length
    if member.size != sum(length for _, length in runs):
        raise ValueError(f"{member.name!r:.80} in it is damaged")
    digest = hashlib.sha256()
    stream = _content(archive, member)
    if to is not None:
        to.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as closing:
        written = None if to is None else closing.enter_context(to.open("xb"))
        for offset, length in runs:
            if written is not None:
                written.seek(offset)
            for start in range(0, length, BLOCK):
                part = stream.read(min(BLOCK, length - start))
                digest.update(part)
                if written is not None:
                    written.write(part)
        if written is not None:
            written.truncate(size)
    if digest.hexdigest() != entry["sha256"]:
        raise ValueError(f"{member.name!r:.80} in it is damaged: its checksum is wrong")


def _safe(name: str) -> PurePosixPath:
    """Refuse a name that would lead out of the directory that is restored into."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or {"..", "."} & set(path.parts) or "\\" in name or ":" in name:
        raise ValueError(f"{name!r:.80} in it would be written outside of the catalogue")
    return path
