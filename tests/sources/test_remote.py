"""Sources and photos at URLs, in a file system that fsspec keeps in memory."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from serupa import Catalog
from serupa.errors import InvalidInputError, NotFoundError, UnavailableError
from serupa.images import read_bytes
from serupa.sources import count_source, read_source

ROOT = "memory://bucket"


@pytest.fixture(scope="module")
def bucket(photos: Path) -> Iterator[None]:
    system = fsspec.filesystem("memory")
    for photo in photos.rglob("*.png"):
        system.pipe(f"/bucket/photos/{photo.relative_to(photos)}", photo.read_bytes())
    system.pipe("/bucket/photos/.hidden/1.png", b"")
    system.pipe("/bucket/photos/notes.txt", b"no photo")
    system.pipe(
        "/bucket/shop.csv", b"image,product_id,price\nphotos/hats/01.png,P1,5\nmemory://bucket/x.png,P2,6\n"
    )
    yield
    system.rm("/bucket", recursive=True)


@pytest.mark.usefixtures("bucket")
def test_a_folder(photos: Path, tmp_path: Path) -> None:
    here = {item.id: item.attributes for item in read_source(photos).items()}
    there = {item.id: item.attributes for item in read_source(f"{ROOT}/photos").items()}
    assert there == here
    assert count_source(f"{ROOT}/photos") is None
    with Catalog.create(tmp_path / "c") as catalog:
        assert catalog.add(f"{ROOT}/photos/hats").added == 8
        assert catalog.get("01.png").image == f"{ROOT}/photos/hats/01.png"
        assert catalog.search(photos / "hats" / "01.png", 1)[0].item.id == "01.png"
        assert catalog.search(f"{ROOT}/photos/hats/04.png", 1)[0].item.id == "04.png"
        assert catalog.add(f"{ROOT}/photos/hats").unchanged == 8


@pytest.mark.usefixtures("bucket")
def test_a_table() -> None:
    first, second = read_source(f"{ROOT}/shop.csv").items()
    assert (first.id, first.image) == ("photos/hats/01.png", f"{ROOT}/photos/hats/01.png")
    assert (second.image, second.attributes) == ("memory://bucket/x.png", {"price": 6})


@pytest.mark.usefixtures("bucket")
def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nothing\.png: no such file"):
        read_bytes(f"{ROOT}/nothing.png")
    with pytest.raises(InvalidInputError, match="over the limit"):
        read_bytes(f"{ROOT}/photos/hats/01.png", max_bytes=10)
    with pytest.raises(InvalidInputError):
        list(read_source(f"{ROOT}/empty"))
    with pytest.raises(UnavailableError):
        list(read_source(f"{ROOT}/nothing.csv"))
    with pytest.raises(UnavailableError):
        list(read_source("nothing://bucket/photos"))
    with Catalog.create(tmp_path / "c") as catalog:
        report = catalog.add(f"{ROOT}/shop.csv")
        assert report.added == 1 and "memory://bucket/x.png: no such file" in report.failures[0].reason


def test_photos_in_an_archive(photos: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "shop.zip", "w") as archive:
        for photo in sorted((photos / "hats").iterdir()):
            archive.write(photo, f"hats/{photo.name}")
            archive.writestr(f"__MACOSX/hats/._{photo.name}", b"")
        archive.writestr("b.jxl", b"")
    for source in (tmp_path / "shop.zip", f"zip://::file://{tmp_path}/shop.zip"):
        listing = read_source(source)
        items = list(listing.items())
        assert len(items) == 8
        assert items[0].id == "hats/01.png" and items[0].attributes == {"category": "hats"}
        assert read_bytes(items[0].image) == (photos / "hats" / "01.png").read_bytes()
        assert "b.jxl" in listing.notes[0]
