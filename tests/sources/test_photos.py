"""Paths of photos as other systems write them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from serupa.errors import NotFoundError
from serupa.sources.photos import PhotoFinder
from tests.sources.made import csv_table, failures, photo, read


@pytest.mark.parametrize(
    ("file", "written"),
    [
        ("a.jpg", "./a.jpg"),
        ("a.jpg", " a.jpg "),
        ("sub/a.jpg", "sub\\a.jpg"),
        ("sub/a.jpg", ".\\sub\\a.jpg"),
        ("with space.jpg", "with%20space.jpg"),
        ("100%.jpg", "100%.jpg"),
        ("IMG_1.JPG", "img_1.jpg"),
        ("Photos/IMG_1.JPG", "photos/img_1.JPG"),
        ("m/h/mh01.jpg", "/m/h/mh01.jpg"),
        ("pub/media/catalog/product/m/h/mh01.jpg", "/m/h/mh01.jpg"),
        (unicodedata.normalize("NFD", "Größe é.jpg"), unicodedata.normalize("NFC", "Größe é.jpg")),
        (unicodedata.normalize("NFC", "Größe é.jpg"), unicodedata.normalize("NFD", "Größe é.jpg")),
        (f"{unicodedata.normalize('NFD', 'é')}/{unicodedata.normalize('NFC', 'é')}.jpg", "é/é.jpg"),
    ],
)
def test_a_photo_is_found(file: str, written: str, tmp_path: Path) -> None:
    photo(tmp_path / file)
    found = PhotoFinder(str(tmp_path)).find(written)
    assert Path(found).samefile(tmp_path / file)


def test_addresses(tmp_path: Path) -> None:
    finder = PhotoFinder(str(tmp_path))
    photo(tmp_path / "with space.jpg")
    assert finder.find((tmp_path / "with space.jpg").as_uri()) == str(tmp_path / "with space.jpg")
    assert finder.find(f"file://localhost{tmp_path}/with%20space.jpg") == str(tmp_path / "with space.jpg")
    assert finder.find("https://shop.example/a b.jpg") == "https://shop.example/a%20b.jpg"
    assert finder.find("//cdn.example/a.jpg") == "https://cdn.example/a.jpg"
    assert finder.find("s3://bucket/a.jpg") == "s3://bucket/a.jpg"
    assert PhotoFinder("https://shop.example/media/").find("/a.jpg") == "https://shop.example/media/a.jpg"


def test_the_likely_cause_is_named(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "A.jpg")
    finder = PhotoFinder(str(tmp_path))
    for written, said in (
        ("none.jpg", f"no such file in {tmp_path}"),
        ("C:\\photos\\a.jpg", "Windows"),
        ("a.JPG", "no such file"),  # two are meant, or none
        ("x" * 300 + ".jpg", "name too long"),
        ("a\0b.jpg", "no such file"),
    ):
        with pytest.raises(NotFoundError) as caught:
            finder.find(written)
        assert said.lower() in str(caught.value).lower()


def test_photos_may_lie_elsewhere(tmp_path: Path) -> None:
    photo(tmp_path / "media" / "a.jpg")
    (tmp_path / "tables").mkdir()
    path = csv_table(tmp_path / "tables" / "t.csv", [["image"], ["a.jpg"]])
    assert "no such file" in failures(path)[0]
    (item,) = read(path, images=str(tmp_path / "media"))
    assert item.image == str(tmp_path / "media" / "a.jpg")
    (item,) = read(path, images="https://shop.example/media")
    assert item.image == "https://shop.example/media/a.jpg"
