"""Folders and tables at URLs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from serupa.errors import SourceError
from serupa.files.urls import open_system
from serupa.items import Item
from serupa.sources.folder import IMAGE_ENDINGS
from serupa.sources.tables import TABLES, encodable, shown


def read_remote(url: str) -> Iterator[Item]:
    """Read a folder or a table at a URL; see `serupa.sources.read_source`.

    A table is downloaded; its photos are read where they are, when they are needed.

    Raises
    ------
    SourceError
        When it cannot be read or holds nothing.
    """
    kind = PurePosixPath(url.partition("?")[0]).suffix.lower()
    return _read_table(url, kind) if kind in TABLES else _read_folder(url)


def _read_table(url: str, kind: str) -> Iterator[Item]:
    base = url.rpartition("/")[0]
    with tempfile.TemporaryDirectory(prefix="serupa-") as folder:
        table = Path(folder) / f"table{kind}"
        try:
            system, path = open_system(url)
            system.get_file(path, str(table))
        except Exception as error:  # each file system has exceptions of its own
            raise SourceError(f"{shown(url)}: {error}") from None
        for item in TABLES[kind].read(table):
            inside = item.image.removeprefix(f"{folder}/")
            yield item if inside == item.image else replace(item, image=f"{base}/{inside}")


def _read_folder(url: str) -> Iterator[Item]:
    found = False
    try:
        system, root = open_system(url)
        for folder, _, names in system.walk(root):
            inside = str(folder).removeprefix(root).strip("/")
            if any(part.startswith(".") for part in inside.split("/")):
                continue
            for name in sorted(names):
                if name.startswith(".") or PurePosixPath(name).suffix.lower() not in IMAGE_ENDINGS:
                    continue
                found = True
                path = f"{inside}/{name}".lstrip("/")
                attributes = {"category": encodable(inside)} if inside else {}
                yield Item(encodable(path), f"{url.rstrip('/')}/{path}", attributes=dict(attributes))
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(f"{shown(url)}: {error}") from None
    if not found:
        raise SourceError(f"{shown(url)}: no photo there; looked for {', '.join(sorted(IMAGE_ENDINGS))}")
