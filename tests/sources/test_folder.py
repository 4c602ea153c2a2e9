"""Folders with all that folders hold."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from serupa import Catalog
from serupa.errors import ConflictError, InvalidInputError, NotFoundError, SerupaError
from serupa.images import open_photo
from serupa.items import Failure
from serupa.sources import count_source, read_source
from tests.sources.made import failures, ids, listing, photo, read, refusal, table


def test_folder(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "dress/summer/2.webp", "dress/1.avif", "hat/x.TIFF", "e.jfif"):
        photo(tmp_path / name)
    for name in (".hidden.jpg", ".cache/1.jpg", "dress/._1.avif"):
        photo(tmp_path / name)
    table(tmp_path / "notes.txt", "no photo")
    (tmp_path / "empty").mkdir()
    items = read(tmp_path)
    assert [item.id for item in items] == [
        "a.PNG", "b.jpg", "dress/1.avif", "dress/summer/2.webp", "e.jfif", "hat/x.TIFF",
    ]  # fmt: skip
    categories = [item.attributes.get("category") for item in items]
    assert categories == [None, None, "dress", "dress/summer", None, "hat"]
    assert [item.image for item in items] == [str(tmp_path / item.id) for item in items]
    assert all(item.product_id is None for item in items)
    assert read(str(tmp_path) + "/") == items
    assert count_source(tmp_path) == len(items)
    assert read_source(tmp_path).name == str(tmp_path)


def test_ids_do_not_depend_on_where_the_process_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "shop" / "a" / "1.jpg")
    monkeypatch.chdir(tmp_path)
    assert read("shop") == read(tmp_path / "shop")
    monkeypatch.chdir(tmp_path / "shop" / "a")
    assert read("..") == read(tmp_path / "shop")
    (tmp_path / "link").symlink_to("shop")
    assert ids(tmp_path / "link") == ["a/1.jpg"]


def test_bad_files_fail_when_they_are_opened(tmp_path: Path) -> None:
    photo(tmp_path / "good.jpg")
    table(tmp_path / "text.jpg", "hello")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "gone-notes").symlink_to("nowhere")
    entries = list(read_source(tmp_path))
    assert [entry.id for entry in entries] == ["empty.jpg", "gone.jpg", "good.jpg", "text.jpg"]
    for entry in entries:
        if entry.id != "good.jpg":
            with pytest.raises(SerupaError):
                open_photo(entry.image)


def test_links_to_folders(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    photo(root / "hats" / "1.jpg")
    photo(tmp_path / "elsewhere" / "2.jpg")
    photo(tmp_path / "elsewhere" / "deep" / "3.jpg")
    (root / "up").symlink_to("..")
    (root / "hats" / "self").symlink_to(".")
    (root / "again").symlink_to("hats")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (root / "out-again").symlink_to(tmp_path / "elsewhere" / "deep")
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "elsewhere")
    (root / "linked.jpg").symlink_to(tmp_path / "elsewhere" / "2.jpg")
    assert ids(root) == ["hats/1.jpg", "linked.jpg", "out/2.jpg", "out/deep/3.jpg"]


def test_what_cannot_be_looked_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "a" / "1.jpg")
    photo(tmp_path / "closed" / "2.jpg")
    photo(tmp_path / "z" / "3.jpg")
    (tmp_path / "loop").symlink_to("loop")
    scandir = os.scandir

    def refuse(path: Any) -> Any:  # root may list everything
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    entries = list(read_source(tmp_path))
    assert [entry.id for entry in entries] == ["a/1.jpg", "closed", "loop", "z/3.jpg"]
    closed, loop = (entry for entry in entries if isinstance(entry, Failure))
    assert "Permission denied" in closed.reason and "loop" in loop.reason
    assert "cannot be listed (Permission denied)" in refusal(tmp_path / "closed")


def test_odd_names(tmp_path: Path) -> None:
    names = ["line\nbreak.jpg", "späti 服.jpg", " .jpg", "a\\b.jpg", "-x.jpg", "%41.jpg", "a'b\"c.jpg"]
    if sys.platform == "linux":
        names.append("not-utf8-\udcff.jpg")
    for name in names:
        photo(tmp_path / "ka\nt" / name)
    items = read(tmp_path)
    assert len(items) == len(names)
    for item in items:
        assert open_photo(item.image).size == (16, 16)
    if sys.platform == "linux":
        assert "ka\nt/not-utf8-\\udcff.jpg" in ids(tmp_path)
        photo(tmp_path / "\udcfe" / "1.jpg")
        assert "\\udcfe/1.jpg" in ids(tmp_path)
    (tmp_path / "no\nphotos").mkdir()
    refusal(tmp_path / "no\nphotos")


def test_deep_folders(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 1200)
    try:
        deep.mkdir(parents=True)
    except (OSError, RecursionError):
        deep = tmp_path.joinpath(*["d"] * 400)
        deep.mkdir(parents=True)
    photo(deep / "1.jpg")
    (item,) = read(tmp_path)
    assert item.id.endswith("d/1.jpg")


def test_what_is_no_source(tmp_path: Path) -> None:
    for missing in (tmp_path / "none", "a\0b", tmp_path / "none.csv"):
        with pytest.raises(NotFoundError):  # at once, not at the first item
            read_source(missing)
        with pytest.raises(NotFoundError):
            count_source(missing)
    with pytest.raises(InvalidInputError):
        list(read_source(tmp_path))
    assert ".csv, " in refusal(photo(tmp_path / "one.jpg"))
    assert "CSV" in refusal(table(tmp_path / "list.xlsx", ""))


def test_photos_that_cannot_be_read_are_counted_and_named(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "sub" / "IMG_8")  # a photo without an ending
    photo(tmp_path / "b.jpg_large")
    for name in ("c.jxl", "d.psd", "e.CR2"):
        (tmp_path / name).write_bytes(b"...")
    table(tmp_path / "README", "no photo")
    found = listing(tmp_path)
    assert [entry.id for entry in found] == ["a.jpg"]
    (note,) = found.notes
    assert note.startswith("5 files")
    assert "c.jxl" in note
    assert found.is_complete


def test_heic_is_read_where_the_extra_is_there(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    (tmp_path / "IMG_7.HEIC").write_bytes(b"...")
    found = listing(tmp_path)
    if find_spec("pillow_heif"):
        assert [entry.id for entry in found] == ["IMG_7.HEIC", "a.jpg"]
    else:
        assert [entry.id for entry in found] == ["a.jpg"]
        assert "IMG_7.HEIC" in found.notes[0] and "serupa[heif]" in found.notes[0]


def test_what_systems_keep_beside_photos_is_left_out(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    for folder in ("@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", ".thumbnails"):
        photo(tmp_path / "sub" / folder / "SYNOPHOTO_THUMB.jpg")
    assert ids(tmp_path) == ["a.jpg"]


def test_a_catalogue_among_the_photos_is_left_out(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    with Catalog.create(tmp_path / "shop"):
        photo(tmp_path / "shop" / "photos" / "kept.jpg")
    found = listing(tmp_path)
    assert [entry.id for entry in found] == ["a.jpg"]
    assert "shop" in found.notes[0]
    with pytest.raises(ConflictError):
        read_source(tmp_path / "shop")


def test_patterns(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.gif", "drafts/b.jpg", "drafts/deep/c.jpg", "hats/d.jpg"):
        photo(tmp_path / name)
    assert ids(tmp_path, exclude=("*.gif", "drafts")) == ["a.jpg", "hats/d.jpg"]
    assert ids(tmp_path, exclude=("drafts/*",)) == ["a.gif", "a.jpg", "hats/d.jpg"]
    assert ids(tmp_path, include=("hats/*", "*.gif")) == ["a.gif", "hats/d.jpg"]
    assert failures(tmp_path, exclude=("*.gif",)) == []


def test_a_folder_that_is_nearly_a_data_set_says_what_it_lacks(tmp_path: Path) -> None:
    photo(tmp_path / "img" / "WOMEN" / "1.jpg")
    (tmp_path / "Anno").mkdir()
    table(tmp_path / "Anno" / "list_item_inshop.txt", "1\nid_00000001\n")
    found = listing(tmp_path)
    assert [entry.id for entry in found] == ["img/WOMEN/1.jpg"]
    assert "list_eval_partition.txt" in found.notes[0]
