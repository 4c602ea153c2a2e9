"""A catalogue in a directory: its points embedded in this process, one process at a time.

``catalog.json`` is replaced in one step and names the files in use. What replaces them is written beside
them under the next number; what it does not name, a draft left behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from serupa.errors import ConflictError, DamagedError, NotFoundError, UnavailableError, UsageError
from serupa.files.atomic import copy_sparse, make_directory, read_bounded, sync_directory, write_atomic
from serupa.items import FieldKind
from serupa.storage.base import TermsOf, VectorStore
from serupa.storage.local.guard import WRITING_BYTES, require_room
from serupa.storage.local.lock import PASSING, DirectoryLock, reading
from serupa.storage.local.names import FIRST_STORE, REPLACEABLE, STORE, TUNING, UNFINISHED, next_number
from serupa.storage.manifest import (
    EDGE_ENGINE,
    FORMAT,
    CatalogManifest,
    TuningInfo,
    replace,
)

if TYPE_CHECKING:
    from serupa.storage.local.store import LocalStore


class LocalBackend:
    """A directory; see `serupa.storage.base.Backend`.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path / "catalog.json"
        self._lock: DirectoryLock | None = None
        self._writing = Lock()
        self._copy: Path | None = None  # of the store, where the directory may only be read

    @property
    def address(self) -> Path:
        """The directory."""
        return self._path

    @property
    def folder(self) -> Path:
        """The directory."""
        return self._path

    def exists(self) -> bool:
        """Return whether there is a catalog.json."""
        return self._file.exists()

    def refuse_occupied(self) -> None:
        """Refuse a directory that has something else in it."""
        ours = ("catalog.json", ".catalog.json", "lock", "holder.json", "advice.npz")
        try:
            names = [entry.name for entry in self._path.iterdir()]
            strangers = [name for name in names if not (name.startswith(ours) or UNFINISHED.fullmatch(name))]
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConflictError(
                self._path, f"cannot be a catalogue's directory: {error.strerror or error}"
            ) from error
        if strangers:
            raise ConflictError(self._path, f"is not empty (it has {strangers[0]})", "choose a new directory")

    def lock(self, wait_s: float) -> None:
        """Take the directory's lock; where it may only be read, there is nothing to lock."""
        if os.access(self._path, os.W_OK):
            self._lock = DirectoryLock(self._path, wait_s)

    def load(self) -> CatalogManifest:
        """Read catalog.json, as it would be in the format of today; nothing is written."""
        try:
            data = read_bounded(self._file)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(
                self._path, "no catalogue there", f"make one with: serupa index SOURCE -c {self._path}"
            ) from None
        except OSError as error:
            raise UnavailableError(self._file, f"cannot be read: {error.strerror or error}") from error
        manifest = CatalogManifest.from_json(data, self._file)
        tuning = manifest.tuning
        # no other file is ever opened, whoever wrote the manifest
        if not STORE.fullmatch(manifest.store) or (tuning and not TUNING.fullmatch(tuning.file)):
            raise DamagedError(self._file, "damaged: it names files that no catalogue has")
        if manifest.engine != EDGE_ENGINE:
            raise UnavailableError(
                self._path,
                f"its points are of {manifest.engine}, this Serupa reads those of {EDGE_ENGINE}",
                f"use the Serupa that wrote it ({manifest.serupa}), or index again into a new directory",
            )
        return manifest

    def create(self, manifest: CatalogManifest, tuning: bytes | None, wait_s: float) -> CatalogManifest:
        """Make the directory, lock it, and write catalog.json."""
        try:
            make_directory(self._path)
        except OSError as error:
            raise UnavailableError(self._path, f"cannot be made: {error.strerror or error}") from error
        self.lock(wait_s)
        if self.exists():  # whoever had the lock until now made it
            return self.load()
        # fields are noted with the first items that have them: a catalogue without any may lack its store
        named = replace(manifest, store=FIRST_STORE, engine=EDGE_ENGINE, layout=None, fields={})
        named = self._keep_tuning(named, 1, tuning)
        self.write(named)
        return named

    def add_fields(self, manifest: CatalogManifest, kinds: Mapping[str, FieldKind]) -> None:
        """Write catalog.json; refused where the items that have these fields would find no room."""
        require_room(self._path, WRITING_BYTES)
        with self._writing:
            self.write(replace(manifest, store=self.load().store))  # which may have moved

    def open(self, manifest: CatalogManifest, terms: TermsOf) -> VectorStore:
        """Open the embedded engine's directory, having upgraded catalog.json. The caller holds the lock.

        The engine writes when it only reads, too: of a directory that may not be written, a copy is opened.
        """
        from serupa.storage.local.store import LocalStore

        directory = self._path / manifest.store
        # a catalogue that was just made has none yet, nor any field
        if (manifest.store != FIRST_STORE or manifest.fields) and not directory.exists():
            raise DamagedError(directory, "is missing", "restore it, or index into a new directory")
        kept = terms if manifest.words else None
        if self._lock is None:
            return LocalStore(self._copied(directory), manifest.dimensions, terms=kept, read_only=True)
        self._upgrade(manifest)
        self.remove_unused(manifest)
        self._remove_unfinished(directory)
        is_new = not directory.exists()
        store = LocalStore(directory, manifest.dimensions, terms=kept, moved=self._moved)
        if is_new:
            sync_directory(self._path)
        return store

    def _copied(self, directory: Path) -> Path:
        self._copy = Path(tempfile.mkdtemp(prefix="serupa-"))
        try:
            with reading(self._path):
                shutil.copytree(directory, self._copy / directory.name, copy_function=copy_sparse)
                for folder, _, _ in os.walk(self._copy):  # copied with their modes
                    Path(folder).chmod(0o700)
        except OSError as error:
            raise UnavailableError(
                directory, f"may only be read, and cannot be copied: {error.strerror or error}"
            ) from error
        return self._copy / directory.name

    def read_tuning(self, tuning: TuningInfo) -> bytes:
        """Read the tuning's file."""
        file, way_back = self._path / tuning.file, f"go back with: serupa tune --undo -c {self._path}"
        try:
            data = read_bounded(file, 2**30)
        except OSError as error:
            raise DamagedError(
                file,
                f"the tuning cannot be read ({error.strerror or error})",
                f"restore the file, or {way_back}",
            ) from error
        if hashlib.sha256(data).hexdigest() != tuning.sha256:
            raise DamagedError(file, "the tuning has changed", f"restore the file, or {way_back}")
        return data

    def begin(self, store: VectorStore) -> LocalDraft:
        """Begin to replace the store in use."""
        return LocalDraft(self, cast("LocalStore", store))

    def snapshot(self, store: LocalStore, target: Path) -> None:
        """Copy the catalogue as it is at this moment into a new directory; its photos are linked, not copied.

        Raises
        ------
        UnavailableError
            If there is no room, or it cannot be written.
        """
        try:
            with store.replacing:  # so that catalog.json names what was copied
                target.mkdir()
                store.snapshot(target / store.directory.name)
                for path in self._path.iterdir():
                    if path.is_dir() and not STORE.fullmatch(path.name.removesuffix(".new")):
                        copied = _linked if path.name == "photos" else shutil.copyfile
                        shutil.copytree(path, target / path.name, copy_function=copied)
                    elif path.is_file() and path.name not in PASSING and not path.name.endswith(".new"):
                        shutil.copyfile(path, target / path.name)
        except OSError as error:
            raise UnavailableError(target, f"cannot be written: {error.strerror or error}") from error

    def describe(self) -> dict[str, Any]:
        """Say how much of the disk it takes."""
        size = sum(f.stat().st_blocks * 512 for f in self._path.rglob("*") if f.is_file())
        return {"path": str(self._path), "size_bytes": size}

    def status(self) -> dict[str, Any]:
        """Return nothing: it is all in one place."""
        return {}

    def break_lock(self) -> str:
        """Refuse: the system takes the lock of a process that is gone."""
        raise UsageError(self._path, "has no lock to break: it ends with its process")

    def close(self) -> None:
        """Let the next process in."""
        if self._lock is not None:
            self._lock.release()
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)

    def _moved(self, before: Path, after: Path) -> None:
        """Name the directory in which a store goes on; that of a draft is named when it is switched to."""
        with self._writing:
            manifest = self.load()
            if manifest.store == before.name:
                self.write(replace(manifest, store=after.name))

    # --- for drafts

    def write(self, manifest: CatalogManifest) -> None:
        """Replace catalog.json in one step, down to the disk; raise `UnavailableError` if that cannot be."""
        self._write_file(self._file, manifest.to_json())

    def prepare(
        self, manifest: CatalogManifest, tuning: bytes | None, terms: TermsOf
    ) -> tuple[CatalogManifest, LocalStore]:
        """Keep a tuning and make an empty store under the next number; return a manifest that names them."""
        from serupa.storage.local.store import LocalStore

        number = next_number(self._path)
        named = self._keep_tuning(replace(manifest, store=f"{FIRST_STORE}-{number}"), number, tuning)
        kept = terms if named.words else None
        directory = self._path / named.store
        return named, LocalStore(directory, named.dimensions, terms=kept, moved=self._moved)

    def remove_unused(self, manifest: CatalogManifest) -> None:
        """Remove the stores and tunings that a manifest, in use, does not name.

        Nothing is removed while the store in use is not there: then something else is wrong, and what looks
        like a leftover may be all that is left. What cannot be removed stays for the next time.
        """
        if not (self._path / manifest.store).exists():
            return
        used = {manifest.store, manifest.tuning.file if manifest.tuning else ""}
        with contextlib.suppress(OSError):
            for entry in list(self._path.iterdir()):
                if REPLACEABLE.fullmatch(entry.name) and entry.name not in used:
                    if entry.is_dir() and not entry.is_symlink():
                        shutil.rmtree(entry, ignore_errors=True)
                    else:
                        entry.unlink(missing_ok=True)

    def _remove_unfinished(self, store: Path) -> None:
        """Remove what killed processes were writing; only on opening, when nobody writes."""
        for folder in (self._path, store):
            with contextlib.suppress(OSError):
                for entry in list(folder.iterdir()):
                    if UNFINISHED.fullmatch(entry.name):
                        entry.unlink(missing_ok=True)

    def _keep_tuning(self, manifest: CatalogManifest, number: int, data: bytes | None) -> CatalogManifest:
        if manifest.tuning is None or data is None:
            return replace(manifest, tuning=None)
        name = f"tuning-{number}.npz"
        self._write_file(self._path / name, data)
        sha256 = hashlib.sha256(data).hexdigest()
        return replace(manifest, tuning=replace(manifest.tuning, file=name, sha256=sha256))

    def _write_file(self, file: Path, data: bytes) -> None:
        try:
            write_atomic(file, data)
        except OSError as error:
            raise UnavailableError(file, f"cannot be written: {error.strerror or error}") from error

    def _upgrade(self, manifest: CatalogManifest) -> None:
        """Write a manifest of an older format in today's, and keep what it was before beside it."""
        before = read_bounded(self._file)
        version = json.loads(before)["format"]
        if version == FORMAT:
            return
        copy = self._path / f"catalog-format-{version}.json"
        if not copy.exists():
            self._write_file(copy, before)
        self.write(manifest)


def _linked(source: str, target: str) -> None:
    """Give a file that is never changed, only replaced, another name; or copy it to another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


class LocalDraft:
    """A store that is written beside the one in use; see `serupa.storage.base.Draft`."""

    def __init__(self, backend: LocalBackend, replaced: LocalStore) -> None:
        self._backend = backend
        self._replaced = replaced
        self._store: LocalStore | None = None

    def __enter__(self) -> Self:
        self._replaced.replacing.acquire()
        self._before = self._manifest = self._backend.load()
        self._changes = self._replaced.changes
        return self

    def create(self, manifest: CatalogManifest, tuning: bytes | None, terms: TermsOf) -> VectorStore:
        """Make the store under the next number."""
        self._manifest, self._store = self._backend.prepare(manifest, tuning, terms)
        return self._store

    def commit(self, catch_up: Callable[[], None]) -> CatalogManifest:
        """Replace catalog.json; who has the catalogue open may have written until now."""
        if self._store is not None:
            fields = self._backend.load().fields
            for name in fields.keys() - self._before.fields.keys():
                self._store.index_field(name, fields[name])
            if self._replaced.changes != self._changes:
                catch_up()
                self._store.flush()
            self._manifest = replace(self._manifest, store=self._store.directory.name, fields=fields)
        self._backend.write(self._manifest)
        return self._manifest

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            in_use = self._backend.load()  # an interruption may come right after the manifest was replaced
            unused = self._store if in_use.store == self._before.store else self._replaced
            if unused is not None:
                unused.close(keep=False)
            self._backend.remove_unused(in_use)
        finally:
            self._replaced.replacing.release()
        if isinstance(error, OSError):
            raise UnavailableError(
                self._backend.address, f"cannot be written: {error.strerror or error}"
            ) from error
