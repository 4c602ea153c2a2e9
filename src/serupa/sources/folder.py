"""A folder of photos, and the folders in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from serupa.errors import SourceError
from serupa.items import Item
from serupa.sources.tables import encodable, shown

IMAGE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"}
)


def read_folder(root: Path) -> Iterator[Item]:
    """Read a folder, in the order of names; hidden files and folders are left out.

    A link to a folder is followed when it leads out of the root, and each folder is read once: links that
    lead in circles end, and no photo comes twice.

    Raises
    ------
    SourceError
        When the folder cannot be listed or holds no image.
    """
    walk = _Walk(root)
    try:
        entries = walk.enter(root)
    except OSError as error:
        raise SourceError(f"{shown(root)}: the folder cannot be listed ({error.strerror})") from None
    return _not_empty(walk.items(entries, ()), root)


def _not_empty(items: Iterator[Item], root: Path) -> Iterator[Item]:
    found = False
    for item in items:
        found = True
        yield item
    if not found:
        raise SourceError(
            f"{shown(root)}: no photo in this folder; looked for {', '.join(sorted(IMAGE_ENDINGS))}"
        )


class _Walk:
    """One walk through a folder: remembers where it has been."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self.seen: set[tuple[int, int]] = set()

    def enter(self, folder: str | Path) -> list[os.DirEntry[str]]:
        """List a folder by name; nothing where it was entered before.

        Raises
        ------
        OSError
        """
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in self.seen:
            return []
        self.seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)

    def items(self, entries: list[os.DirEntry[str]], parents: tuple[str, ...]) -> Iterator[Item]:
        # A stack of iterators and not recursion: a thousand folders in each other are no reason to fail.
        stack = [(iter(entries), parents)]
        while stack:
            rest, parents = stack[-1]
            entry = next(rest, None)
            if entry is None:
                stack.pop()
                continue
            try:
                if not entry.is_dir():
                    if _is_image(entry.name):
                        yield _item(entry, parents)
                elif not (entry.is_symlink() and self._leads_back(entry.path)):
                    stack.append((iter(self.enter(entry.path)), (*parents, entry.name)))
            except OSError:  # a folder that cannot be listed, a link to itself: named when it is opened
                yield _item(entry, parents)

    def _leads_back(self, link: str) -> bool:
        """Whether a link leads into the root, whose photos come under their own names, or above it."""
        target = Path(os.path.realpath(link))
        return target.is_relative_to(self.root) or self.root.is_relative_to(target)


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_ENDINGS


def _item(entry: os.DirEntry[str], parents: tuple[str, ...]) -> Item:
    attributes = {"category": encodable("/".join(parents))} if parents else {}
    return Item(id=encodable("/".join((*parents, entry.name))), image=entry.path, attributes=attributes)
