"""Input that was made to do harm: refused in one line, with bounded memory, or read as what it is."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serupa import Catalog, InvalidInputError, Item, SerupaError
from serupa.catalog.query import SearchRequest
from serupa.catalog.schema import payload_of
from serupa.images import MAX_PIXELS, open_photo, photo_pixels, thumbnail
from serupa.items import Failure
from serupa.sources import read_source
from tests.faults import shop


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(width: int, height: int, rows: bytes) -> bytes:
    """Return a PNG of one-bit grey whose rows are these compressed bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PHOTO = Image.radial_gradient("L").convert("RGB").resize((64, 48))

MEMORY = """
import resource, sys, tracemalloc
from pathlib import Path
from serupa import InvalidInputError, SerupaError
from serupa.images import photo_pixels
photo_pixels(sys.argv[2], 224)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    photo_pixels(sys.argv[1], 224)
except SerupaError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def memory_mb(photo: bytes, folder: Path) -> tuple[str, float]:
    """Decode a photo in a process of its own; return what was said, and how much more memory it took."""
    (folder / "bomb").write_bytes(photo)
    (folder / "small").write_bytes(encoded(PHOTO, "PNG"))
    command = [sys.executable, "-c", MEMORY, str(folder / "bomb"), str(folder / "small")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    *said, used = done.stdout.splitlines()
    return "\n".join(said), float(used)


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    """A few kilobytes that say they are 10^10 pixels."""
    said, used = memory_mb(png(100_000, 100_000, zlib.compress(bytes(12_501 * 500))), tmp_path)
    assert "100000 x 100000 pixels is over the limit" in said
    assert used < 20


def test_the_largest_that_is_let_in_takes_bounded_memory(tmp_path: Path) -> None:
    """12 kB of PNG that are 10^8 pixels, the limit: no more than what docs/reliability.md says."""
    side = int(MAX_PIXELS**0.5)
    said, used = memory_mb(png(side, side, zlib.compress(bytes((side // 8 + 1) * side), 9)), tmp_path)
    assert said == ""
    assert used < 700


def test_64k_wide(tmp_path: Path) -> None:
    for size in ((65_535, 16), (16, 65_500)):
        for kind in ("PNG", "JPEG", "BMP", "GIF"):
            if kind == "JPEG" and max(size) > 65_500:
                continue
            data = encoded(Image.new("L", size, 90), kind)
            for resize in ("crop", "squash", "pad"):
                assert photo_pixels(data, 32, resize=resize).shape == (32, 32, 3)  # type: ignore[arg-type]
            assert Image.open(io.BytesIO(thumbnail(data, 320))).width <= 320
    wide = encoded(Image.new("1", (65_535, 1_600)), "PNG")
    with pytest.raises(InvalidInputError, match="65535 x 1600 pixels is over the limit"):
        open_photo(wide)


@pytest.mark.parametrize(
    "prefix",
    [
        b"GIF89a",
        b"%PDF-1.7\n",
        b"PK\x03\x04",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<html>",
        b"#!/bin/sh\n",
    ],
)
def test_polyglots_are_what_they_begin_with(prefix: bytes) -> None:
    """A photo after something else is not searched for; something else after a photo is never looked at."""
    for kind in ("JPEG", "PNG"):
        photo = encoded(PHOTO, kind)
        with pytest.raises(InvalidInputError):
            open_photo(prefix + photo)
        assert open_photo(photo + prefix).size == PHOTO.size
        again = thumbnail(photo + prefix, 64)  # what is served again holds nothing of it
        assert prefix not in again


@pytest.mark.parametrize(
    "text",
    [
        "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;</svg>",
        "\ufeff  <SVG/>",
    ],
)
def test_svg_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="SVG: save it as PNG first"):
        open_photo(text.encode())


@pytest.mark.parametrize(
    "profile", [b"", b"\0" * 128, b"acsp" * 1000, bytes(range(256)) * 2000, b"\xff" * 70_000]
)
def test_odd_colour_profiles_are_ignored(profile: bytes) -> None:
    expected = np.asarray(open_photo(encoded(PHOTO, "PNG")))
    found = np.asarray(open_photo(encoded(PHOTO, "PNG", icc_profile=profile)))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0"
        + b"II*\0"
        + struct.pack("<I", 8)
        + struct.pack("<H", 65_535),  # 65,535 entries, none there
        b"Exif\0\0" + b"II*\0" + struct.pack("<I", 0xFFFFFFFF),
        b"Exif\0\0" + b"MM\0*" + struct.pack(">IHHHII", 8, 1, 0x112, 3, 1, 99 << 16),  # orientation 99
        # a directory whose next directory is itself
        b"Exif\0\0" + b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, 1, 0, 8),
        b"Exif\0\0",
        b"garbage",
    ],
)
def test_odd_exif_is_ignored(exif: bytes) -> None:
    assert open_photo(encoded(PHOTO, "JPEG", exif=exif)).size == PHOTO.size


def test_names_with_newlines_and_paths_stay_names(root: Path, tmp_path: Path) -> None:
    photo = shop.photo(root, 1).read_bytes()
    folder = tmp_path / "photos"
    folder.mkdir()
    names = [
        "line\nbreak.png",
        "tab\there.png",
        "dots..png",
        "-rf.png",
        "$(id).png",
        "%2e%2e%2f.png",
        "\u202egnp.png",
    ]
    for name in names:
        (folder / name).write_bytes(photo)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png")).write_bytes(photo)
    with Catalog.open(shop.catalog_of(root)) as catalog:
        report = catalog.add(folder)
        assert [("not UTF-8" in f.reason, "\n" in f.reason) for f in report.failures] == [(True, False)]
        assert set(names) <= {item.id for item in catalog.items()}
        for name in names:
            assert Path(catalog.get(name).image) == folder / name


def test_a_table_may_name_any_file_but_only_photos_are_read(root: Path, tmp_path: Path) -> None:
    """Only photos come in, and nothing of what is in other files."""
    (tmp_path / "secret.txt").write_text("the password is swordfish")
    rows = ["../secret.txt", "/etc/passwd", "https://shop.example/1.jpg", "file:///etc/passwd", "a\0b.png"]
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "t.csv").write_text("image\n" + "\n".join(rows) + "\n")
    with Catalog.open(shop.catalog_of(root)) as catalog:
        report = catalog.add(tmp_path / "tables" / "t.csv")
        assert (report.added, len(report.failures)) == (0, len(rows))
        assert not [f for f in report.failures if "swordfish" in f.reason or "\n" in f.reason]


def test_a_field_of_ten_megabytes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,note\n1.jpg," + "x" * 10_000_000 + "\n")
    (failure,) = read_source(tmp_path / "t.csv")
    assert isinstance(failure, Failure) and len(failure.reason) < 500
    (tmp_path / "t.jsonl").write_text('{"image": "1.jpg", "x": ' + "[" * 100_000 + "\n")
    with pytest.raises(SerupaError):
        list(read_source(tmp_path / "t.jsonl"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_vectors_that_are_no_numbers(root: Path, bad: float) -> None:
    with Catalog.open(shop.catalog_of(root)) as catalog:
        vector = catalog.embeddings(["i000"])[1][0]
        vector[1] = bad
        for metric in catalog.manifest.metrics:
            with pytest.raises(InvalidInputError):
                catalog.ask(SearchRequest(embedding=vector, metric=metric))
        assert len(catalog) == 24


def test_zero_vectors_are_as_far_as_can_be(root: Path) -> None:
    """Under cosine a vector of zeros has no direction: it is at distance 1 from all, and never NaN."""
    with Catalog.open(shop.catalog_of(root)) as catalog:
        zeros = np.zeros(catalog.manifest.card.dimension, np.float32)
        hits = catalog.ask(SearchRequest(embedding=zeros, k=24)).hits
        assert {hit.distance for hit in hits} == {1.0}
        payload = payload_of(Item("zero", str(shop.photo(root, 0))), "none", 0.0)
        catalog.store.upsert(catalog.schema.points([payload], zeros[None]))
        found = {hit.item.id: hit.distance for hit in catalog.similar("i000", 30)}
        assert found["zero"] == 1.0
        np.testing.assert_array_equal(catalog.embeddings(["zero"])[1][0], zeros)
