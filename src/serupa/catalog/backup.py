"""Check, backup and restore: is a catalogue whole, and how it comes back when it is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from serupa.catalog import Catalog
from serupa.catalog.archive import Kind, read_archive, write_archive
from serupa.catalog.schema import content_of
from serupa.errors import ConflictError, DamagedError, UnavailableError, UsageError
from serupa.files.atomic import make_directory, sync_directory, sync_tree
from serupa.storage.local.backend import LocalBackend
from serupa.storage.local.integrity import ChecksumManifest
from serupa.storage.local.lock import PASSING
from serupa.storage.qdrant.address import is_server

if TYPE_CHECKING:
    from serupa.storage.local.store import LocalStore

_KIND: Kind = "serupa backup 1"


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
    if is_server(catalog):
        from serupa.catalog.server import check as look

        with Catalog.open(catalog) as opened:
            report = look(opened)
            if problem := report.problem(opened.path):
                raise problem
            return report.items
    path = Path(catalog)
    backend = LocalBackend(path)
    manifest = backend.load()
    backend.lock(wait_s)
    try:
        ChecksumManifest(path / manifest.store).check(everything=True)
    finally:
        backend.close()
    with Catalog.open(path, wait_s=wait_s) as opened:
        items = cast("LocalStore", opened.store).verify()
        opened.schema.map.whitening  # noqa: B018 -- refuses a file that is not the one that was written
    for photo in damaged_photos(path / "photos"):
        raise DamagedError(photo, "is not the photo that was kept", "add its item again, or restore a backup")
    return items


def damaged_photos(folder: Path) -> Iterator[Path]:
    """Yield the photos, of those that a catalogue keeps, that are not what they were: named by content."""
    for photo in sorted(folder.glob("*")):
        if not photo.name.startswith(".") and content_of(photo.read_bytes()) != photo.stem:
            yield photo


def backup(catalog: str | os.PathLike[str], target: str | os.PathLike[str], *, wait_s: float = 0.0) -> Backup:
    """Write a catalogue into one file, having checked that it is whole.

    Nothing else may use a directory meanwhile. On a server it goes on to be searched and written, and each
    shard is kept as it was at a moment of its own. The photos that items show stay where they are; those that
    came through the API lie in the catalogue's directory, and are kept.

    Parameters
    ----------
    catalog : path
        The catalogue's directory, or its address.
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
    target = Path(target)
    if is_server(catalog):
        from serupa.catalog.server import backup as of_server

        return _described(target, of_server(str(catalog), target))
    path = Path(catalog)
    if path.resolve() in target.resolve().parents:
        raise ConflictError(target, "is in the catalogue itself", "write the backup elsewhere")
    items = check(path, wait_s=wait_s)
    backend = LocalBackend(path)
    backend.lock(wait_s)
    try:
        manifest = write_archive(target, _KIND, str(path.resolve()), items, _files(path))
    finally:
        backend.close()
    return _described(target, manifest)


class Snapshot:
    """A backup of a catalogue in a directory that is open, and goes on to be searched and changed.

    Parameters
    ----------
    catalog : Catalog
        Let nobody change it until this returns: its files are copied. What follows is work on the copy.
    target : Path
        A file that does not exist yet.

    Raises
    ------
    UsageError
        If the catalogue is on a server, which makes its own.
    UnavailableError
        If there is no room for a copy.
    """

    def __init__(self, catalog: Catalog, target: Path) -> None:
        if not isinstance(catalog.backend, LocalBackend):
            raise UsageError(catalog.path, "is on a server", "serupa backup -c ADDRESS FILE")
        self._target, self._origin = target, catalog.backend.address
        self._copy = target.with_name(f".{target.name}.copy")
        shutil.rmtree(self._copy, ignore_errors=True)
        try:
            catalog.backend.snapshot(cast("LocalStore", catalog.store), self._copy)
        except BaseException:
            shutil.rmtree(self._copy, ignore_errors=True)
            raise

    def write(self) -> Backup:
        """Check the copy as `check` does, write the backup, and remove the copy.

        Raises
        ------
        DamagedError
            If the catalogue is damaged.
        ConflictError, UnavailableError
            If the file is there already, or cannot be written.
        """
        try:
            items = check(self._copy)
            origin = str(self._origin.resolve())
            return _described(
                self._target, write_archive(self._target, _KIND, origin, items, _files(self._copy))
            )
        finally:
            shutil.rmtree(self._copy, ignore_errors=True)


def verify(archive: str | os.PathLike[str]) -> Backup:
    """Read a whole backup and compare every byte with its checksums; nothing is written.

    Raises
    ------
    DamagedError
        If it is no backup, or damaged: the problem says which file in it.
    """
    path = Path(archive)
    return _described(path, read_archive(path))


def restore(archive: str | os.PathLike[str], catalog: str | os.PathLike[str]) -> Backup:
    """Write a backup's catalogue into a new or empty directory; it appears there whole, or not at all.

    A backup of a catalogue on a server may become one on a server again, under a name that is free.

    Raises
    ------
    DamagedError
        If the backup is damaged.
    ConflictError
        If the directory is not empty.
    UnavailableError
        If it cannot be written.
    """
    path = Path(archive)
    if is_server(catalog):
        from serupa.catalog.server import restore as to_server

        return _described(path, to_server(path, str(catalog)))
    target = Path(os.path.abspath(catalog))  # noqa: PTH100 -- a link stays what it is
    _refuse_occupied(target)
    unfinished = target.with_name(f".{target.name}.restoring")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        make_directory(target.parent)
        unfinished.mkdir()
        manifest = read_archive(path, unfinished)
        if manifest["kind"] != _KIND:
            from serupa.catalog.server import make_local

            make_local(path, unfinished)
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
        if path.is_file() and not path.is_symlink() and name not in PASSING and not name.endswith(".new"):
            yield name, path


def _described(path: Path, manifest: Mapping[str, Any]) -> Backup:
    files = manifest["files"]
    size = sum(entry["size"] for entry in files.values())
    return Backup(path, len(files), size, manifest["items"], manifest["created"])
