"""What tests of sources share: photos and tables that are made, and what is held of all that is read."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from serupa import SerupaError
from serupa.items import Failure, Item
from serupa.sources import Listing, Source, SourceOptions, read_source


def photo(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (seed * 37 % 256, seed * 91 % 256, seed % 256)).save(path, "PNG")
    return path


def photos(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        photo(folder / name, number)


def table(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def csv_table(path: Path, rows: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def listing(source: Source, **options: Any) -> Listing:
    return read_source(source, SourceOptions(**options))


def read(source: Source, **options: Any) -> list[Item]:
    """Read all items, none of which may fail, and hold each to what all of them promise."""
    entries = list(listing(source, **options))
    assert [entry.reason for entry in entries if isinstance(entry, Failure)] == []
    items = [entry for entry in entries if isinstance(entry, Item)]
    hold_to_account(items)
    return items


def hold_to_account(items: Sequence[Item]) -> None:
    for item in items:
        json.dumps(
            [item.id, item.product_id, dict(item.attributes)], ensure_ascii=False, allow_nan=False
        ).encode()
        assert item.id
        assert Path(item.image).is_absolute() or "://" in item.image
    assert len({item.id for item in items}) == len(items)


def ids(source: Source, **options: Any) -> list[str]:
    return [item.id for item in read(source, **options)]


def failures(source: Source, **options: Any) -> list[str]:
    """Return the reasons of what cannot be used, each on one line."""
    reasons = [entry.reason for entry in listing(source, **options) if isinstance(entry, Failure)]
    assert not any("\n" in reason for reason in reasons)
    return reasons


def refusal(source: Any, **options: Any) -> str:
    """Return why a source as a whole cannot be read."""
    with pytest.raises(SerupaError) as caught:
        list(listing(source, **options))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message
