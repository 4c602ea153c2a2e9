"""Photos of items that came through the API: kept in one directory, named by their content."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from serupa.catalog.schema import new_fields
from serupa.errors import InvalidInputError, NotFoundError, UnavailableError
from serupa.files.atomic import make_directory, write_atomic
from serupa.files.cache import discard
from serupa.images.kinds import ENDINGS, kind_of
from serupa.items import Item
from serupa.web.problems import ProblemError, photo_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from serupa.catalog import Catalog
    from serupa.catalog.ingest import AddReport
    from serupa.items import Attribute


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
        if folder is None and catalog.backend.folder is not None:
            folder = catalog.backend.folder / "photos"
        self._folder = None if folder is None else Path(folder).resolve()

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
            If the photo cannot be used, or not be stored; nothing is changed then.
        """
        if self._folder is None:
            raise ProblemError(
                403,
                "photos cannot be added here: the catalogue is on a server, and no directory that keeps them "
                "is set (serupa serve --photos DIR)",
            )
        try:  # before any of it is written
            self._catalog.encoder.preprocess(photo)
        except InvalidInputError as error:
            raise photo_problem(error) from None
        new_fields(Item(item_id, "", product_id, dict(attributes)), self._catalog.manifest.fields)
        content = hashlib.blake2b(photo, digest_size=16).hexdigest()
        path = self._folder / f"{content}{ENDINGS.get(kind_of(photo), ('.bin',))[0]}"
        before = self._item(item_id)
        item = Item(item_id, str(path), product_id, dict(attributes))
        try:
            self._store(path, photo)
            report = self._catalog.add([item])
            if report.failures:
                raise UnavailableError(path, f"could not be indexed: {report.failures[0].reason}")
        except BaseException:
            self._discard_unused(path)
            raise
        if before is not None and before.image != item.image:
            self._discard_unused(Path(before.image))
        return item, before is None

    def add_from_web(self, items: Sequence[Item]) -> AddReport:
        """Add items whose photos are at web addresses."""
        before = [item for item in map(self._item, (one.id for one in items)) if item is not None]
        report = self._catalog.add(items)
        for item in before:
            self._discard_unused(Path(item.image))
        return report

    def remove_all(self, ids: Sequence[str]) -> int:
        """Remove those of the items that are there; return how many were."""
        removed = 0
        for item_id in dict.fromkeys(ids):
            with contextlib.suppress(NotFoundError):
                self.remove(item_id)
                removed += 1
        return removed

    @staticmethod
    def _store(path: Path, photo: bytes) -> None:
        """Write a photo, unless exactly it is there already; flushed before the item that names it."""
        with contextlib.suppress(OSError):
            if path.read_bytes() == photo:
                return
        try:
            make_directory(path.parent)
            write_atomic(path, photo)
        except OSError as error:
            raise UnavailableError(path, f"cannot be written: {error.strerror or error}") from error

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
