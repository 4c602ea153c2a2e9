"""Where items come from: a folder of photos, a table that lists them, or items made by a program."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path

from serupa.errors import SourceError
from serupa.files.urls import is_url
from serupa.items import Item
from serupa.sources.datasets import dataset_in
from serupa.sources.folder import read_folder
from serupa.sources.remote import read_remote
from serupa.sources.tables import TABLES, shown

__all__ = ["Source", "count_source", "read_source"]

Source = str | os.PathLike[str] | Iterable[Item]
"""A folder, a data set's folder, a .csv, .tsv, .jsonl, .ndjson or .parquet table, or items."""


def read_source(source: Source) -> Iterator[Item]:
    """Read the items of a source, one after the other.

    A folder gives one item for each image file in it and below. Its id is the path from the folder, with
    slashes; its ``category`` is the subfolder that holds it, as a path (``dresses/summer``).

    The folder of a data set for research is known by its lists: DeepFashion (Category and Attribute, In-shop,
    Consumer-to-shop) and Fashion-MNIST, whose pictures are unpacked into the cache once; see
    `serupa.sources.datasets`.

    Either may be at a URL that fsspec reads (``s3://bucket/photos``); ids are paths from there.

    A table gives one item a row. The column ``image`` is required: paths that are not absolute start at the
    table. ``id`` is the path as written where the table has no such column; ``product_id`` is taken as it is;
    every other column becomes an attribute, absent where its cell is empty. JSON Lines and Parquet say their
    types; those of CSV and TSV are found by column: whole numbers, numbers, true and false, lists of short
    texts joined by ``|``, else text.

    Parameters
    ----------
    source : path or iterable of Item

    Yields
    ------
    Item
        With an absolute path as its image. A photo that cannot be read is an item like any other: it fails
        when it is opened, and a folder that cannot be listed comes as such an item. The path of a file whose
        name is not UTF-8 holds surrogates, as Python's file functions want it; its id does not.

    Raises
    ------
    SourceError
        When the source is missing, holds nothing, or is not what its name says: the message gives the line.
        Two rows of one table with the same id are an error, too.
    MissingExtraError
        When a Parquet table is given and pyarrow is not installed.
    """
    if not isinstance(source, str | os.PathLike):
        return _checked(source)
    if is_url(source):
        return read_remote(os.fspath(source))
    path = Path(os.path.abspath(source))  # noqa: PTH100 -- a link stays what it is
    if _is_folder(path):
        dataset = dataset_in(path)
        return read_folder(path) if dataset is None else dataset.read(path)
    return TABLES[_table_kind(path)].read(path)


def count_source(source: Source) -> int | None:
    """Count the items of a source, for a progress bar, without opening a photo.

    Parameters
    ----------
    source : path or iterable of Item

    Returns
    -------
    int or None
        None where only reading would tell.

    Raises
    ------
    SourceError
        As `read_source`.
    """
    if not isinstance(source, str | os.PathLike):
        return len(source) if isinstance(source, Sized) else None
    if is_url(source):
        return None
    path = Path(os.path.abspath(source))  # noqa: PTH100
    if _is_folder(path):
        dataset = dataset_in(path)
        return sum(1 for _ in read_folder(path)) if dataset is None else dataset.count(path)
    return TABLES[_table_kind(path)].count(path)


def _is_folder(path: Path) -> bool:
    try:
        if path.is_dir():
            return True
        if path.is_file():
            return False
    except OSError as error:
        raise SourceError(f"{shown(path)}: cannot be read ({error.strerror})") from None
    raise SourceError(f"{shown(path)}: no such file or folder")


def _table_kind(path: Path) -> str:
    kind = path.suffix.lower()
    if kind not in TABLES:
        raise SourceError(
            f"{shown(path)}: not a source; give a folder of photos, or a table ({', '.join(TABLES)})"
        )
    return kind


def _checked(items: Iterable[Item]) -> Iterator[Item]:
    for number, item in enumerate(items):
        if not isinstance(item, Item):
            raise SourceError(f"item {number}: a {type(item).__name__}; give serupa.Item objects")
        if not (isinstance(item.id, str) and item.id):
            raise SourceError(f"item {number}: its id must be a text that is not empty")
        yield item
