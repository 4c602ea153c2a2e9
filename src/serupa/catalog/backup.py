"""Backup and restore: a catalogue as one file, every byte of it checked on the way out and on the way in.

A backup is a tar archive of the catalogue's files, in the order of their names, with ``manifest.json`` last:
a backup that was cut short has none. Blocks of zeros, which the engine's files are full of, are left out; the
manifest says where what is kept of a file belongs, and has the SHA-256 of each member.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import serupa
from serupa.catalog import Catalog
from serupa.errors import ConflictError, DamagedError, NotFoundError, UnavailableError
from serupa.files.atomic import BLOCK, blocks, make_directory, sync_directory, sync_tree
from serupa.storage.local.backend import LocalBackend
from serupa.storage.local.integrity import ChecksumManifest

_MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 256 * 2**20
_KIND = "serupa backup 1"
_NOT_KEPT = ("lock", "holder.json")


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds.

    Parameters
    ----------
    path : Path
        The backup's file.
    files, size_bytes : int
        How many files of the catalogue, and how large they are, holes included.
    items : int
        How many items the catalogue held.
    created : str
        When it was made, in ISO 8601.
    """

    path: Path
    files: int
    size_bytes: int
    items: int
    created: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "path": str(self.path),
            "files": self.files,
            "size_bytes": self.size_bytes,
            "items": self.items,
            "created": self.created,
        }


def check(catalog: str | os.PathLike[str], *, wait_s: float = 0.0) -> int:
    """Read a whole catalogue and compare it with what it should be; return how many items it holds.

    Every file is compared with what it was when the catalogue was last closed, large ones, too (opening it
    compares those by size alone), then every item is read.

    Raises
    ------
    DamagedError
        If anything is not what was written: its subject is what.
    """
    path = Path(catalog)
    backend = LocalBackend(path)
    manifest = backend.load()
    backend.lock(wait_s)
    try:
        ChecksumManifest(path / manifest.store).check(everything=True)
    finally:
        backend.close()
    with Catalog.open(path, wait_s=wait_s) as opened:
        read = sum(1 for _ in opened.items())
        found = len(opened.embeddings()[0])
        counted = opened.count()
        if not read == found == counted:
            raise DamagedError(
                path,
                f"counts {counted} items, and {read} can be read",
                "restore a backup (serupa restore)",
            )
        opened.schema.map.whitening  # noqa: B018 -- refuses a file that is not the one that was written
        return counted


def backup(catalog: str | os.PathLike[str], target: str | os.PathLike[str], *, wait_s: float = 0.0) -> Backup:
    """Write a catalogue into one file, having checked that it is whole; nothing else may use it meanwhile.

    The photos that items show stay where they are; those that came through the API lie in the catalogue's
    directory, and are kept.

    Parameters
    ----------
    catalog : path
        The catalogue's directory.
    target : path
        A file that does not exist yet.
    wait_s : float
        How long to wait for another process that holds the catalogue.

    Returns
    -------
    Backup

    Raises
    ------
    DamagedError
        If the catalogue is damaged.
    ConflictError
        If another process holds it, or the file is there already.
    UnavailableError
        If the file cannot be written.
    """
    path, target = Path(catalog), Path(target)
    items = check(path, wait_s=wait_s)
    backend = LocalBackend(path)
    backend.lock(wait_s)
    unfinished = target.with_name(f".{target.name}.new")
    try:
        _refuse_target(target, path)
        files = dict(_files(path))
        manifest: dict[str, Any] = {
            "kind": _KIND,
            "serupa": serupa.__version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "catalog": str(path.resolve()),
            "items": items,
            "files": {},
        }
        with unfinished.open("wb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
                for name, file in files.items():
                    manifest["files"][name] = _put(archive, name, file)
                _put_bytes(archive, _MANIFEST, json.dumps(manifest).encode())
            stream.flush()
            os.fsync(stream.fileno())
        _verified(unfinished)
        unfinished.rename(target)
        sync_directory(target.parent)
    except OSError as error:
        raise UnavailableError(target, f"the backup cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        backend.close()
    return _described(target, manifest)


def verify(archive: str | os.PathLike[str]) -> Backup:
    """Read a whole backup and compare every byte with its checksums; nothing is written.

    Raises
    ------
    DamagedError
        If it is no backup, or damaged: the problem says which file in it.
    """
    path = Path(archive)
    return _described(path, _verified(path))


def restore(archive: str | os.PathLike[str], catalog: str | os.PathLike[str]) -> Backup:
    """Write a backup's catalogue into a new or empty directory; it appears there whole, or not at all.

    Raises
    ------
    DamagedError
        If the backup is damaged.
    ConflictError
        If the directory is not empty.
    UnavailableError
        If it cannot be written.
    """
    path, target = Path(archive), Path(os.path.abspath(catalog))  # noqa: PTH100 -- a link stays what it is
    _refuse_occupied(target)
    unfinished = target.with_name(f".{target.name}.restoring")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        make_directory(unfinished)
        manifest = _verified(path, unfinished)
        LocalBackend(unfinished).load()
        _move_photos(unfinished, Path(manifest["catalog"]) / "photos", target / "photos")
        if target.exists():
            target.rmdir()
        sync_tree(unfinished)
        unfinished.rename(target)
        sync_directory(target.parent)
    except OSError as error:
        raise UnavailableError(target, f"cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return _described(path, manifest)


def _move_photos(restored: Path, before: Path, after: Path) -> None:
    """Let items whose photos lie in the catalogue's own directory show those of the restored one."""
    if before != after and (restored / "photos").is_dir():
        with Catalog.open(restored) as catalog:
            moved = [
                dict(point.payload) | {"image": str(after / Path(point.payload["image"]).name)}
                for batch in catalog.store.scroll()
                for point in batch
                if Path(point.payload["image"]).parent == before
            ]
            catalog.store.replace_payloads(moved)


def _refuse_target(target: Path, catalog: Path) -> None:
    if target.exists() or target.is_symlink():
        raise ConflictError(target, "is there already", "give the backup a name of its own")
    if catalog.resolve() in target.resolve().parents:
        raise ConflictError(target, "is in the catalogue itself", "write the backup elsewhere")


def _refuse_occupied(target: Path) -> None:
    try:
        occupied = next(target.iterdir(), None) is not None
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConflictError(target, f"cannot be a catalogue's directory: {error.strerror}") from error
    if occupied:
        raise ConflictError(target, "is not empty", "restore into a new directory")


def _files(catalog: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name and path of every file of a catalogue, links not followed."""
    for path in sorted(catalog.rglob("*")):
        name = path.relative_to(catalog).as_posix()
        if path.is_file() and not path.is_symlink() and name not in _NOT_KEPT and not name.endswith(".new"):
            yield name, path


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


def _verified(path: Path, into: Path | None = None) -> dict[str, Any]:
    """Compare a backup with its manifest, and write its files into a directory; return the manifest."""
    try:
        with tarfile.open(path, "r:") as archive:
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


def _manifest(archive: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo]) -> dict[str, Any]:
    member = members.get(_MANIFEST)
    if member is None:
        raise ValueError("it has no manifest, so it was cut short, or is something else")
    manifest: dict[str, Any] = json.loads(_content(archive, member).read(_LARGEST_MANIFEST))
    if manifest["kind"] != _KIND:
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


def _described(path: Path, manifest: Mapping[str, Any]) -> Backup:
    files = manifest["files"]
    size = sum(entry["size"] for entry in files.values())
    return Backup(path, len(files), size, manifest["items"], manifest["created"])
