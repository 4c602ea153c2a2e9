"""A folder of photos and the folders in it, on this machine or at an address."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from serupa.errors import ConflictError, InvalidInputError, UnavailableError
from serupa.files.atomic import read_bounded
from serupa.files.urls import open_system
from serupa.images.kinds import ENDINGS, IMAGE_ENDINGS, UNREADABLE_ENDINGS, is_picture
from serupa.items import Failure, Item
from serupa.sources.listing import Entry, Listing, SourceOptions
from serupa.sources.values import encodable

_NOT_PHOTOS = frozenset(
    {"@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
)
"""Folders that systems keep beside photos: their thumbnails, resource forks and waste."""

_NAMED = 5


@dataclass(slots=True)
class _PassedOver:
    """Files that look like photos and cannot be read: how many, and the first of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)
    heif: bool = False

    def add(self, name: str) -> None:
        self.count += 1
        self.heif = self.heif or Path(name).suffix.lower() in ENDINGS["HEIC"]
        if len(self.first) < _NAMED:
            self.first.append(encodable(name))

    def note(self) -> str:
        names = ", ".join(self.first) + (", ..." if self.count > _NAMED else "")
        hint = "; HEIC is read with: pip install 'serupa[heif]'" if self.heif else ""
        return f"{self.count} files that look like photos were passed over: {names}{hint}"


def list_folder(root: Path, options: SourceOptions) -> Listing:
    """List a folder in the order of names.

    Hidden files and folders are left out, and so are catalogues and what systems keep beside photos. A link
    to a folder is followed when it leads out of the root, and each folder is read once: links that lead in
    circles end, and no photo comes twice.

    Raises
    ------
    InvalidInputError
        When the folder cannot be listed; while it is read, when it holds no photo.
    ConflictError
        If it is a catalogue.
    """
    if is_catalog(root):
        raise ConflictError(root, "a catalogue, not a folder of photos")
    try:
        next(os.scandir(root), None)
    except OSError as error:
        raise InvalidInputError(root, f"the folder cannot be listed ({error.strerror})") from None
    notes: list[str] = []

    def entries() -> Iterator[Entry]:
        walk = _Walk(root, options)
        yield from _not_empty(walk.entries(), root)
        notes[:] = walk.notes()

    return Listing(entries, count=lambda: sum(1 for _ in _Walk(root, options).entries()), notes=notes)


def is_catalog(folder: Path) -> bool:
    """Tell whether a folder is a catalogue."""
    try:
        settings = json.loads(read_bounded(folder / "catalog.json"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(settings, dict) and {"format", "encoder"} <= set(settings)


def _not_empty(entries: Iterator[Entry], root: Path | str) -> Iterator[Entry]:
    is_empty = True
    for entry in entries:
        is_empty = False
        yield entry
    if is_empty:
        looked_for = ", ".join(sorted(IMAGE_ENDINGS))
        raise InvalidInputError(root, "no photo in this folder", f"looked for {looked_for}")


class _Walk:
    """One walk through a folder: remembers where it has been, and what it passed over."""

    def __init__(self, root: Path, options: SourceOptions) -> None:
        self._start = root
        self._root = Path(os.path.realpath(root))
        self._options = options
        self._entered: set[tuple[int, int]] = set()
        self._passed_over = _PassedOver()
        self._catalogs: list[str] = []

    def notes(self) -> list[str]:
        """Say what was passed over; complete after the walk."""
        notes = [self._passed_over.note()] if self._passed_over.count else []
        if self._catalogs:
            notes.append(f"left out, since they are catalogues: {', '.join(self._catalogs[:_NAMED])}")
        return notes

    def entries(self) -> Iterator[Entry]:
        """Yield an item a photo, and a failure for what cannot be looked at."""
        # A stack of iterators and not recursion: a thousand folders in each other are no reason to fail.
        parents: tuple[str, ...] = ()
        stack = [(iter(self._enter(self._start)), parents)]
        while stack:
            rest, parents = stack[-1]
            entry = next(rest, None)
            if entry is None:
                stack.pop()
                continue
            inside = "/".join((*parents, entry.name))
            if _matches(self._options.exclude, inside):
                continue
            try:
                if not entry.is_dir():
                    if self._is_wanted(entry, inside):
                        yield _item(entry.path, parents, entry.name)
                elif self._is_walked(entry, inside):
                    stack.append((iter(self._enter(entry.path)), (*parents, entry.name)))
            except OSError as error:
                problem = f"cannot be looked at ({error.strerror})"
                path = encodable(entry.path)
                yield Failure(encodable(inside), path, f"{path}: {problem}", problem=problem)

    def _enter(self, folder: str | Path) -> list[os.DirEntry[str]]:
        """List a folder by name; nothing where it was entered before."""
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in self._entered:
            return []
        self._entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)

    def _is_wanted(self, entry: os.DirEntry[str], inside: str) -> bool:
        if self._options.include and not _matches(self._options.include, inside):
            return False
        if Path(entry.name).suffix.lower() in IMAGE_ENDINGS:
            return True
        if _looks_like_photo(entry.path):
            self._passed_over.add(inside)
        return False

    def _is_walked(self, entry: os.DirEntry[str], inside: str) -> bool:
        if entry.name in _NOT_PHOTOS or (entry.is_symlink() and self._leads_back(entry.path)):
            return False
        if is_catalog(Path(entry.path)):
            self._catalogs.append(encodable(inside))
            return False
        return True

    def _leads_back(self, link: str) -> bool:
        """Whether a link leads into the root, whose photos come under their own names, or above it."""
        target = Path(os.path.realpath(link))
        return target.is_relative_to(self._root) or self._root.is_relative_to(target)


def _matches(patterns: tuple[str, ...], inside: str) -> bool:
    """Tell whether a path below the folder, or its last part, fits one of the patterns."""
    name = inside.rpartition("/")[2]
    return any(fnmatch(inside, pattern) or fnmatch(name, pattern) for pattern in patterns)


def _looks_like_photo(path: str) -> bool:
    if Path(path).suffix.lower() in UNREADABLE_ENDINGS:
        return True
    try:
        with Path(path).open("rb") as file:
            return is_picture(file.read(16))
    except OSError:
        return False


def _item(image: str, parents: tuple[str, ...], name: str) -> Item:
    attributes = {"category": encodable("/".join(parents))} if parents else {}
    return Item(id=encodable("/".join((*parents, name))), image=image, attributes=attributes)


# --- at an address


def list_remote_folder(url: str, options: SourceOptions) -> Listing:
    """List a folder of photos, or one in an archive, in a file system of fsspec's.

    Raises
    ------
    UnavailableError
        While it is read, if it cannot be listed.
    InvalidInputError
        While it is read, if it holds no photo.
    """
    notes: list[str] = []

    def entries() -> Iterator[Entry]:
        passed_over = _PassedOver()
        yield from _not_empty(_remote_entries(url, options, passed_over), url)
        notes[:] = [passed_over.note()] if passed_over.count else []

    return Listing(entries, notes=notes)


def _remote_entries(url: str, options: SourceOptions, passed_over: _PassedOver) -> Iterator[Entry]:
    for inside in _remote_paths(url):
        *parents, name = inside.split("/")
        ending = PurePosixPath(name).suffix.lower()
        if _is_hidden(inside) or _matches(options.exclude, inside):
            continue
        if options.include and not _matches(options.include, inside):
            continue
        if ending in IMAGE_ENDINGS:
            yield _item(join_url(url, inside), tuple(parents), name)
        elif ending in UNREADABLE_ENDINGS:
            passed_over.add(inside)


def _remote_paths(url: str) -> Iterator[str]:
    try:
        system, root = open_system(url)
        for folder, _, names in system.walk(root):
            below = str(folder).removeprefix(root).strip("/")
            yield from (f"{below}/{name}".lstrip("/") for name in sorted(names))
    except Exception as error:  # each file system has exceptions of its own
        raise UnavailableError(url, str(error) or type(error).__name__) from None


def _is_hidden(inside: str) -> bool:
    return any(part.startswith(".") or part in _NOT_PHOTOS for part in inside.split("/"))


def join_url(url: str, inside: str) -> str:
    """Return the address of what is inside a folder or an archive (``zip://::file:///a.zip``)."""
    head, chain, archive = url.partition("::")
    start = head if head.endswith("://") else f"{head.rstrip('/')}/"
    return f"{start}{inside}{chain}{archive}"
