"""Photos of items that came through the API: kept in one directory, named by their content."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from serupa.errors import CatalogError, InvalidInputError, NotFoundError
from serupa.files.cache import discard, write_whole
from serupa.items import Item

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serupa.catalog import Catalog
    from serupa.items import Attribute

_ENDINGS = (
    (rb"\xff\xd8\xff", "jpg"),
    (rb"\x89PNG", "png"),
    (rb"RIFF.{4}WEBP", "webp"),
    (rb".{4}ftyp", "avif"),
    (rb"GIF8", "gif"),
    (rb"BM", "bmp"),
    (rb"II|MM", "tif"),
)


class Uploads:
    """Adds and removes items whose photos the catalogue keeps itself.

    Not for several threads at once: two that share a photo might delete it under each other.

    Parameters
    ----------
    catalog : Catalog
    folder : path, optional
        Where the photos are kept: in the catalogue's directory unless given. A catalogue on a server has
        none; all who serve it need to share one.
    """

    def __init__(self, catalog: Catalog, folder: str | os.PathLike[str] | None = None) -> None:
        self._catalog = catalog
        own = None if catalog.folder is None else catalog.folder / "photos"
        chosen = own if folder is None else Path(folder)
        self._folder = None if chosen is None else chosen.resolve()

    def add(
        self, item_id: str, photo: bytes, product_id: str | None, attributes: Mapping[str, Attribute]
    ) -> tuple[Item, bool]:
        """Store a photo and add its item, or replace the item that has this id.

        Returns
        -------
        tuple of (Item, bool)
            The item, and whether it is new.

        Raises
        ------
        SerupaError
            If it cannot be read as a photo; nothing is changed then.
        CatalogError
            If the photo cannot be stored.
        """
        if self._folder is None:
            raise CatalogError(
                "photos cannot be added here: the catalogue is on a server, and no directory that keeps them "
                "is set (serupa serve --photos DIR)"
            )
        content = hashlib.blake2b(photo, digest_size=16).hexdigest()
        path = self._folder / f"{content}.{_ending(photo)}"
        before = self._item(item_id)
        item = Item(item_id, str(path), product_id, dict(attributes))
        if not path.exists() and not write_whole(path, photo):
            raise CatalogError("the photo cannot be stored: the catalogue's directory cannot be written")
        report = self._catalog.add([item])
        for failure in report.failures:
            self._discard_unused(path)
            raise InvalidInputError(failure.reason.replace(str(path), "the photo"))
        if before is not None and before.image != item.image:
            self._discard_unused(Path(before.image))
        return item, before is None

    def remove(self, item_id: str) -> None:
        """Remove an item, and its photo if it came through here and no other item shows it.

        Raises
        ------
        NotFoundError
            If the catalogue has no such item.
        """
        image = self._catalog.get(item_id).image
        self._catalog.remove([item_id])
        self._discard_unused(Path(image))

    def _item(self, item_id: str) -> Item | None:
        try:
            return self._catalog.get(item_id)
        except NotFoundError:
            return None

    def _discard_unused(self, path: Path) -> None:
        # the name of a file of ours is its content, by which the catalogue knows who shows it
        if path.parent == self._folder and not self._catalog.count({"content": path.stem}):
            discard(path)


def _ending(photo: bytes) -> str:
    """Return what the file's name is to end in; adding it finds out whether it is a photo at all."""
    return next((end for start, end in _ENDINGS if re.match(start, photo[:16], re.DOTALL)), "bin")
