"""Where items come from: a folder of photos, a table or a shop's feed, or items made by a program."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any

from serupa.errors import InvalidInputError, NotFoundError
from serupa.files.urls import is_url
from serupa.items import Failure, Item
from serupa.sources.datasets import dataset_in
from serupa.sources.deepfashion import missing_of_deepfashion
from serupa.sources.folder import list_folder, list_remote_folder
from serupa.sources.listing import Entry, Listing, SourceOptions
from serupa.sources.remote import is_remote_table, local_path, remote_table
from serupa.sources.rows import list_table
from serupa.sources.table import TABLES, open_table

__all__ = ["Listing", "Source", "SourceOptions", "count_source", "read_source"]

Source = str | os.PathLike[str] | Iterable[Item] | Any
"""A folder, a data set's folder, a table's path, an address, items, or a table in memory."""


def read_source(source: Source, options: SourceOptions | None = None) -> Listing:
    """List the items of a source.

    A folder gives one item for each image file in it and below. Its id is the path from the folder, with
    slashes; its ``category`` is the subfolder that holds it, as a path (``dresses/summer``).

    The folder of a data set for research is known by its lists: DeepFashion (Category and Attribute, In-shop,
    Consumer-to-shop) and Fashion-MNIST, whose pictures are unpacked into the cache once; see
    `serupa.sources.datasets`.

    Either may be at a URL that fsspec reads (``s3://bucket/photos``), or in a ``.zip``; ids are paths from
    there.

    A table (CSV, TSV, JSON, JSON Lines, XML, Parquet) lists photos by its column ``image``: paths that are
    not absolute start at the table; a cell may hold several, the main one first. ``id`` is the path as
    written where the table has no such column; ``product_id`` is taken as it is; every other column becomes
    an attribute, absent where its cell is empty. JSON and Parquet say their types; those of CSV are found by
    column: numbers, prices with their currency, true and false, lists of short texts joined by ``|``, else
    text. The exports of shop systems are known by their columns; see `serupa.sources.feeds`.

    Parameters
    ----------
    source : path, URL, iterable of Item, or a pandas, Polars, Arrow or Hugging Face table
    options : SourceOptions, optional

    Returns
    -------
    Listing
        Iterate it: an `Item` with an absolute path or an address as its image, or a `Failure` for a row or a
        folder that cannot be used. The path of a file whose name is not UTF-8 holds surrogates, as Python's
        file functions want it; its id does not.

    Raises
    ------
    NotFoundError
        When there is no such file or folder.
    InvalidInputError
        When the source as a whole cannot be read, or holds nothing; if ``options.strict``, when a row of it
        cannot be used.
    MissingExtraError
        When reading it needs an optional dependency that is not installed.
    """
    options = options or SourceOptions()
    if isinstance(source, Listing):
        return source
    listing = _listing(source, options)
    if options.name is not None:
        listing.name = options.name
    listing.timeout_s = options.timeout_s
    if options.strict:
        _refuse_failures(listing)
    return listing


def count_source(source: Source) -> int | None:
    """Count the entries of a source, for a progress bar, without opening a photo.

    Returns
    -------
    int or None
        None where only reading would tell.

    Raises
    ------
    NotFoundError, InvalidInputError
        As `read_source`.
    """
    return read_source(source).count()


def _listing(source: Source, options: SourceOptions) -> Listing:
    if not isinstance(source, str | os.PathLike):
        return _of_objects(source, options)
    address = os.fspath(source)
    if is_url(address):
        address = local_path(address) or address
    if is_url(address):
        return _remote(address, options)
    path = Path(os.path.abspath(address))  # noqa: PTH100 -- a link stays what it is
    return replace(_local(path, options), name=str(path))


def _of_objects(source: Any, options: SourceOptions) -> Listing:
    from serupa.sources.frames import frame_table, is_frame

    if is_frame(source):
        return list_table(frame_table(source), str(Path.cwd()), options)
    count = (lambda: len(source)) if isinstance(source, Sized) else (lambda: None)
    return Listing(lambda: _checked(source), count=count)


def _local(path: Path, options: SourceOptions) -> Listing:
    if _is_folder(path):
        dataset = dataset_in(path)
        if dataset is None:
            return _plain_folder(path, options)
        return Listing(lambda: dataset.read(path), count=lambda: dataset.count(path))
    if path.suffix.lower() == ".zip":
        return list_remote_folder(f"zip://::{path.as_uri()}", options)
    if path.suffix.lower() not in TABLES:
        kinds = ", ".join(TABLES)
        hint = f"give a folder of photos, or a table ({kinds})"
        if path.suffix.lower() in (".xlsx", ".xls", ".ods"):
            hint = "save the sheet as CSV (UTF-8)"
        raise InvalidInputError(path, "not a source", hint)
    return list_table(open_table(path), str(path.parent), options)


def _plain_folder(path: Path, options: SourceOptions) -> Listing:
    listing = list_folder(path, options)
    missing = missing_of_deepfashion(path)
    if not missing:
        return listing
    note = f"read as a folder of photos: {missing}"
    entries = listing.entries

    def noted() -> Iterator[Entry]:
        yield from entries()
        listing.notes.append(note)

    return replace(listing, entries=noted)


def _remote(url: str, options: SourceOptions) -> Listing:
    name = url.partition("?")[0]
    if not is_remote_table(url):
        return replace(list_remote_folder(url, options), name=name)
    folder = tempfile.TemporaryDirectory(prefix="serupa-")
    table = remote_table(url, Path(folder.name))
    listing = list_table(table, name.rpartition("/")[0], options)
    entries = listing.entries

    def kept() -> Iterator[Entry]:
        folder.name  # noqa: B018 -- the copy is there for as long as the listing is
        yield from entries()

    return replace(listing, entries=kept, name=name)


def _refuse_failures(listing: Listing) -> None:
    for entry in listing:
        if isinstance(entry, Failure):
            raise InvalidInputError(entry.reason)


def _is_folder(path: Path) -> bool:
    try:
        if path.is_dir():
            return True
        if path.is_file():
            return False
    except OSError as error:
        raise InvalidInputError(path, f"cannot be read ({error.strerror})") from None
    raise NotFoundError(path, "no such file or folder")


def _checked(items: Iterable[Item]) -> Iterator[Entry]:
    for number, item in enumerate(items):
        if isinstance(item, Failure):
            yield item
            continue
        if not isinstance(item, Item):
            raise InvalidInputError(f"item {number}", f"a {type(item).__name__}", "give serupa.Item objects")
        if not (isinstance(item.id, str) and item.id):
            raise InvalidInputError(f"item {number}", "its id must be a text that is not empty")
        yield item
