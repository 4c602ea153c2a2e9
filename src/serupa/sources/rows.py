"""The rows of a table to items: columns named and typed, photos found, what cannot be used told apart."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from serupa.errors import InvalidInputError, NotFoundError, UsageError
from serupa.items import Attribute, Failure, Item, is_attribute_name
from serupa.sources.embedded import is_embedded, unpack
from serupa.sources.feeds import FEEDS, Feed, feed_of
from serupa.sources.listing import Entry, Listing, Row, RowOrFailure, SourceOptions, Table
from serupa.sources.photos import PhotoFinder
from serupa.sources.prices import Price
from serupa.sources.products import photo_id, split_photos
from serupa.sources.values import (
    Column,
    attribute_of,
    checked_types,
    encodable,
    identity_of,
    is_price_name,
    shown,
    whole_number,
)

_OWN = ("image", "id", "product_id")


def list_table(table: Table, base: str, options: SourceOptions) -> Listing:
    """Return the items that a table lists.

    Parameters
    ----------
    table : Table
        As it lies there.
    base : str
        The folder or address that its relative photos start at.
    options : SourceOptions

    Raises
    ------
    InvalidInputError
        If it has no column of photos, or no rows.
    UsageError
        If an option names a column or a format that is not there.
    """
    feed = _feed(table, options)
    reader = _Reader(table, feed, PhotoFinder(options.images or base), options)
    reader.look()
    count = table.count if feed is None else lambda: None
    return Listing(reader.entries, count=count, notes=reader.notes)


def _feed(table: Table, options: SourceOptions) -> Feed | None:
    if options.feed is None:
        return None if "image" in options.columns else feed_of(table)
    if options.feed == "table":
        return None
    if options.feed not in FEEDS:
        raise UsageError("--feed", f"there is no format {options.feed!r}", f"use {', '.join(FEEDS)} or table")
    return FEEDS[options.feed]


@dataclass(slots=True)
class _Reader:
    """Reads one table: once to find out what its columns hold, then for its items."""

    table: Table
    feed: Feed | None
    finder: PhotoFinder
    options: SourceOptions
    notes: list[str] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    whole_ids: set[str] = field(default_factory=set)

    # --- what columns are called

    def _rows(self, notes: list[str]) -> Iterator[RowOrFailure]:
        """Yield rows with our names of columns."""
        if self.feed is not None:
            yield from self.feed.rows(self.table, self.options.columns, notes)
            return
        names = self._names()
        for row in self.table.rows():
            if isinstance(row, Failure) or not names:
                yield row
            else:
                yield replace(row, cells={names.get(name, name): value for name, value in row.cells.items()})

    def _names(self) -> dict[str, str]:
        """Return what columns of a plain table are to be called."""
        names = {theirs: ours for ours, theirs in self.options.columns.items()}
        for ours in _OWN:
            alike = [column for column in self.table.columns if column.strip().lower() == ours]
            if ours not in self.table.columns and ours not in self.options.columns and len(alike) == 1:
                names[alike[0]] = ours
        return names

    def _check_columns(self) -> None:
        columns = self.table.columns
        listed = shown(", ".join(name[:40] for name in columns[:20])) or "none"
        for theirs in self.options.columns.values():
            if theirs not in columns and columns:
                raise UsageError(
                    "--columns", f"{self.table.name} has no column {theirs!r}", f"it has {listed}"
                )
        names = self._names()
        if self.feed is None and "image" not in {names.get(name, name) for name in columns}:
            problem = f"no column is called image (columns: {listed})"
            hint = "name the one that holds the paths of the photos: --columns image=NAME"
            if len(columns) == 1 and any(mark in columns[0] for mark in ";|\t"):
                hint = "its columns have another separator than a comma, semicolon, tab or bar"
            raise InvalidInputError(self.table.name, problem, hint)

    # --- what columns hold

    def look(self) -> None:
        """Find out what the columns hold, and say what a person should know of it.

        Raises
        ------
        InvalidInputError, UsageError
            As `list_table`.
        """
        self._check_columns()
        stated = checked_types(self.options.types)
        ids: dict[str, set[str]] = {"id": set(), "product_id": set()}
        has_rows = False
        for row in self._rows(self.notes):
            has_rows = True
            if isinstance(row, Row):
                self._look_at(row, stated, ids)
        if not has_rows:
            raise InvalidInputError(self.table.name, "the table has no rows")
        self.whole_ids = {name for name, kinds in ids.items() if kinds == {"whole"}}
        for name in stated:
            if name not in self.columns and name not in _OWN:
                raise UsageError("--type", f"{self.table.name} has no column {name!r}")
        for name in sorted(self.left_out):
            self.notes.append(
                f"column {shown(name[:40])} is left out: a name may not hold quotes or backslashes, nor be "
                "one of Serupa's own; --columns gives it another"
            )
        notes = (column.note(self.table.unit) for column in self.columns.values())
        self.notes.extend(note for note in notes if note)

    def _look_at(self, row: Row, stated: Mapping[str, Any], ids: dict[str, set[str]]) -> None:
        for name, value in row.cells.items():
            if name in ids:
                if value not in (None, ""):
                    text = str(value)
                    ids[name].add("whole" if whole_number(text) != text else "other")
            elif name != "image" and name:
                if not is_attribute_name(name):
                    self.left_out.add(name)
                elif self._is_typed_by_us(name, value, stated):
                    column = self.columns.get(name)
                    if column is None:
                        column = self.columns[name] = Column(name, stated.get(name))
                    column.look_at(row.number, value)

    def _is_typed_by_us(self, name: str, value: Any, stated: Mapping[str, Any]) -> bool:
        if name in stated:
            return True
        texts = isinstance(value, str) or (isinstance(value, list) and self.table.is_text)
        return texts and (self.table.is_text or is_price_name(name))

    # --- items

    def entries(self) -> Iterator[Entry]:
        """Yield the items, and a failure for each row and photo that cannot be used."""
        seen: set[int] = set()
        for row in self._rows([]):
            if isinstance(row, Failure):
                yield row
                continue
            for entry in self._entries_of(row):
                # the hash alone: the ids of millions of rows need not stay in memory
                if isinstance(entry, Item) and hash(entry.id) in seen:
                    problem = f"the id {entry.id[:80]!r} is there twice; give each row one of its own"
                    yield self.table.failure(row.number, problem, "", entry.image)
                    continue
                if isinstance(entry, Item):
                    seen.add(hash(entry.id))
                yield entry

    def _entries_of(self, row: Row) -> Iterator[Entry]:
        try:
            identity, product = self._identity(row, "id"), self._identity(row, "product_id")
            attributes = self._attributes(row)
            photos = self._photos(row.cells.get("image"))
        except ValueError as problem:
            yield self.table.failure(row.number, str(problem), str(row.cells.get("id") or ""))
            return
        if product is None and len(photos) > 1:
            product = identity or _path_id(photos[0])
        for position, photo in enumerate(photos, 1):
            own = photo_id(identity, position) if identity else _path_id(photo)
            try:
                image = unpack(photo) if is_embedded(photo) else self.finder.find(photo)
            except (NotFoundError, InvalidInputError) as error:
                yield self.table.failure(row.number, str(error), own, photo if isinstance(photo, str) else "")
                continue
            yield Item(own, image, product, attributes)

    def _photos(self, value: Any) -> list[Any]:
        """Return what a cell says of photos: a path or address each, or photos as they are."""
        if isinstance(value, dict) and not is_embedded(value):
            value = value.get("path") or value.get("src")
        if is_embedded(value):
            return [value]
        if isinstance(value, list | tuple):
            photos = [one for one in value if is_embedded(one) or (isinstance(one, str) and one.strip())]
        elif isinstance(value, str) and value.strip():
            photos = split_photos(value)
            if len(photos) > 1 and self._is_one(value):
                photos = [value]
        else:
            photos = []
        if not photos:
            raise ValueError("no image; the column must hold the path of a photo")
        return photos

    def _is_one(self, text: str) -> bool:
        try:
            return os.path.lexists(self.finder.find(text))
        except NotFoundError:
            return False

    def _identity(self, row: Row, name: str) -> str | None:
        value = row.cells.get(name)
        try:
            identity = identity_of(value)
        except TypeError as problem:
            raise ValueError(f"{name} must be a text, not {problem}") from None
        return whole_number(identity) if identity and name in self.whole_ids else identity

    def _attributes(self, row: Row) -> dict[str, Attribute]:
        attributes: dict[str, Attribute] = {}
        currency: str | None = None
        for name, cell in row.cells.items():
            if not name or name in _OWN or name in self.left_out:
                continue
            try:
                value = self._value(name, cell)
            except TypeError as problem:
                raise ValueError(f"column {name[:80]!r} holds {problem}") from None
            if isinstance(value, Price):
                currency = currency or value.currency
                value = value.value(self.columns[name].decimal_mark)
            if value is not None:
                attributes[encodable(name)] = value
        if currency:
            attributes.setdefault("currency", currency)
        for name, template in self.options.constants.items():
            attributes[name] = _filled(template, row.cells)
        return attributes

    def _value(self, name: str, cell: Any) -> Attribute | Price | None:
        column = self.columns.get(name)
        if column is None or cell is None or cell == "":
            return attribute_of(cell)
        try:
            return column.convert(cell)
        except ValueError:
            raise ValueError("the table was changed while it was read; try again") from None


def _path_id(photo: Any) -> str:
    return encodable(photo.replace(os.sep, "/")) if isinstance(photo, str) else unpack(photo, name_only=True)


def _filled(template: str, cells: Mapping[str, Any]) -> str:
    text = template
    for name, value in cells.items():
        if isinstance(value, str | int | float):
            text = text.replace(f"{{{name}}}", str(value))
    return text
