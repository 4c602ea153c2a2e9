"""Files that are sound but for their metadata are photos; files that would take for ever are refused."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serupa.errors import InvalidInputError, MissingExtraError
from serupa.images import decoding, metadata, open_photo
from serupa.images.kinds import ENDINGS, kind_of
from tests.images.test_images import close, display_p3, encode, quarters, scene


def chunk(name: bytes, body: bytes, checksum: int | None = None) -> bytes:
    crc = zlib.crc32(name + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc)


def png_with(*chunks: bytes) -> bytes:
    data = encode(quarters(), "PNG")
    return data[:33] + b"".join(chunks) + data[33:]  # behind the header


# --- metadata never refuses a photo

LONG = zlib.compress(b"x" * 5_000_000)
PROFILE = zlib.compress(display_p3())


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([chunk(b"zTXt", b"a\0\0" + LONG)], id="a long text"),
        pytest.param(
            [chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"y" * 2_000_000))], id="XMP"
        ),
        pytest.param([chunk(b"iTXt", b"\xff" * 30)], id="a text that is none"),
        pytest.param([chunk(b"tEXt", b"a\0b", 1)], id="the checksum of a text"),
        pytest.param([chunk(b"pHYs", b"\0" * 9, 1)], id="the checksum of a resolution"),
        pytest.param([chunk(b"pHYs", b"\0")], id="a resolution that is short"),
        pytest.param([chunk(b"gAMA", b"")], id="a gamma that is empty"),
        pytest.param([chunk(b"cHRM", b"\0")], id="primaries that are short"),
        pytest.param(
            [chunk(b"iCCP", b"p\0\0" + zlib.compress(b"z" * 5_000_000))], id="a profile that is too long"
        ),
        pytest.param([chunk(b"iCCP", b"p\0\0nonsense")], id="a profile that does not unpack"),
        pytest.param(
            [chunk(b"iCCP", b"p\0\0" + zlib.compress(display_p3()), 1)], id="the checksum of a profile"
        ),
        pytest.param([chunk(b"eXIf", b"\xff" * 9)], id="EXIF that is none"),
        pytest.param([chunk(b"acTL", b"\0")], id="an animation that is none"),
        pytest.param([chunk(b"oDDs", b"\0" * 99), chunk(b"tIME", b"")], id="chunks of one's own"),
    ],
)
def test_a_png_whose_pixels_are_whole(chunks: list[bytes]) -> None:
    close(open_photo(png_with(*chunks)), quarters(), 0)


def test_a_long_profile_still_counts() -> None:
    """Photoshop writes profiles of more than Pillow unpacks."""
    padded = display_p3()
    padded = struct.pack(">I", 1_500_000) + padded[4:] + b"\0" * (1_500_000 - len(padded))
    plain = np.asarray(open_photo(encode(Image.new("RGB", (32, 32), (200, 80, 80)), "PNG")))
    data = encode(Image.new("RGB", (32, 32), (200, 80, 80)), "PNG")
    wide = np.asarray(open_photo(data[:33] + chunk(b"iCCP", b"p\0\0" + zlib.compress(padded)) + data[33:]))
    assert wide[0, 0, 0] > plain[0, 0, 0]


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    data = encode(quarters(), "JPEG", quality=95)
    added = b"".join(
        bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body for marker, body in segments
    )
    return data[:2] + added + data[2:]


@pytest.mark.parametrize(
    "segment",
    [
        (0xE0, b"JFIF"),
        (0xE1, b"Exif\0\0" + b"\xff" * 20),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"ICC_PROFILE\0\1\1nonsense"),
        (0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
        (0xED, b"Photoshop 3.0\x008BIM\x04\x04\xff"),
        (0xEE, b"Adobe"),
        (0xFE, b"\xff\xfe who took it"),
    ],
)
def test_a_jpeg_whose_pixels_are_whole(segment: tuple[int, bytes]) -> None:
    close(open_photo(jpeg_with(segment)), quarters())


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "JPEG", "PNG"])
def test_exif_that_is_damaged(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 3, "Maker"
    data = encode(quarters(), kind, exif=exif, **({} if kind == "PNG" else {"quality": 95}))
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    assert block in data
    broken = data.replace(block, b"\xff" * len(block))
    assert open_photo(broken).size == (96, 64)


def test_a_gif_with_comments() -> None:
    data = encode(quarters(), "GIF", comment=b"x" * 100_000, transparency=255)
    close(open_photo(data), open_photo(encode(quarters(), "GIF")))


# --- 16 bits


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_in_which_white_is_zero(bits: int, order: str) -> None:
    """Scanners write it; baseline TIFF by hand, as Pillow cannot."""
    top = 2**bits - 1
    levels = np.linspace(0, top, 256).astype(f"{order}u{bits // 8}").reshape(16, 16)
    if bits == 32:
        levels = (np.linspace(0, 1, 256).astype(f"{order}f4")).reshape(16, 16)
    pixels = levels.tobytes()
    tags = [(256, 16), (257, 16), (258, bits), (259, 1), (262, 0), (273, 8 + 2 + 12 * 10 + 4), (277, 1)]
    tags += [(278, 16), (279, len(pixels)), (339, 3 if bits == 32 else 1)]
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    data = head + entries + struct.pack(order + "I", 0) + pixels
    grey = np.asarray(open_photo(data))[..., 0].astype(int).ravel()
    assert np.abs(grey - np.arange(255, -1, -1)).max() <= 1


# --- work is bounded


def jpeg_scans(width: int, height: int, scans: int, between: bytes = b"") -> bytes:
    """A progressive JPEG of a few bytes a scan."""
    frame = struct.pack(">HBHHB", 11, 8, height, width, 1) + bytes([1, 0x11, 0])
    tables = b"".join(
        b"\xff\xc4" + struct.pack(">HB", 20, number) + bytes([1] + [0] * 15) + symbol
        for number, symbol in ((0x10, b"\xe0"), (0x00, b"\0"))
    )
    blocks = -(-width // 8) * -(-height // 8)
    coded = b"\0" * (-(-blocks // 16384) * 15 // 8 + 2)
    scan = b"\xff\xda" + struct.pack(">HB", 8, 1) + bytes([1, 0x00, 1, 63, 0x10]) + coded
    first = b"\xff\xda" + struct.pack(">HB", 8, 1) + bytes([1, 0x00, 1, 63, 0x01]) + coded
    head = b"\xff\xd8\xff\xdb" + struct.pack(">HB", 67, 0) + b"\1" * 64 + b"\xff\xc2" + frame + tables
    return head + first + (between + scan) * scans + b"\xff\xd9"


def counts_as(data: bytes) -> int:
    return metadata.strip(data, "JPEG").scans


@pytest.mark.parametrize(
    "between",
    [
        b"",
        b"\xff\x01",
        b"\xff\xff\xff",
        b"\xff\x00",
        b"garbage",
        b"\xff\xd0",
        b"\xff\xfe\0\x04ab",
        b"\xff\xff\xff\x01",
    ],
)
def test_scans_are_counted_as_libjpeg_does(between: bytes) -> None:
    assert counts_as(jpeg_scans(64, 64, 600, between)) == 601
    with pytest.raises(InvalidInputError, match="scans"):
        open_photo(jpeg_scans(64, 64, 600, between))


def test_scans_are_not_hidden_behind_a_marker_without_a_length() -> None:
    """FF 01 is passed over by libjpeg; who reads a length there passes over 65,498 bytes of scans."""
    plain = jpeg_scans(1000, 1000, 3000)
    start = plain.index(b"\xff\xda")
    assert counts_as(plain[:start] + b"\xff\x01" + plain[start:]) > 500
    with pytest.raises(InvalidInputError, match="scans"):
        open_photo(plain[:start] + b"\xff\x01" + plain[start:])


def test_scans_are_bounded_by_the_pixels_that_they_go_over(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_photo(jpeg_scans(64, 64, 30)).size == (64, 64)
    monkeypatch.setattr(decoding, "_MAX_SCANNED_PIXELS", 20 * 64 * 64)
    with pytest.raises(InvalidInputError, match="scans"):
        open_photo(jpeg_scans(64, 64, 30))
    assert open_photo(encode(scene(), "JPEG")).size == (300, 200)  # one scan is a photo, whatever its size


def bmp_rle8(width: int, height: int) -> bytes:
    data = b"\x01\x05\0\0" * height + b"\0\1"
    offset = 14 + 40 + 1024
    head = b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset)
    head += struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 2835, 2835, 256, 0)
    return head + b"\0" * 1024 + data


def test_slow_bmp_is_bounded() -> None:
    assert open_photo(bmp_rle8(64, 64)).size == (64, 64)
    with pytest.raises(InvalidInputError, match="run-length"):
        open_photo(bmp_rle8(5000, 5000))


def gif_of_comments(parts: int) -> bytes:
    data = encode(Image.new("P", (32, 32)), "GIF")
    head = 13 + (3 * (2 << (data[10] & 7)) if data[10] & 0x80 else 0)
    return data[:head] + b"\x21\xfe" + b"\x01A" * parts + b"\0" + data[head:]


def tiff_of_strips(rows: int) -> bytes:
    offsets = 8 + 2 + 12 * 9 + 4
    tags = [
        (256, 1, 8),
        (257, 1, rows),
        (258, 1, 8),
        (259, 1, 1),
        (262, 1, 1),
        (273, rows, offsets),
        (277, 1, 1),
    ]
    tags += [(278, 1, 1), (279, rows, offsets + 4 * rows)]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    head += b"".join(struct.pack("<HHII", tag, 4, values, value) for tag, values, value in tags) + bytes(4)
    return head + struct.pack("<I", offsets + 8 * rows) * rows + struct.pack("<I", 8) * rows + bytes(8)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda n: png_with(*[chunk(b"tEXt", b"a\0b")] * n), id="PNG"),
        pytest.param(lambda n: jpeg_with(*[(0xFE, b"a")] * n), id="JPEG"),
        pytest.param(gif_of_comments, id="GIF"),
        pytest.param(tiff_of_strips, id="TIFF"),
    ],
)
def test_files_of_a_million_parts_are_refused(make: object) -> None:
    assert min(open_photo(make(500)).size) >= 8  # type: ignore[operator]
    with pytest.raises(InvalidInputError, match="parts"):
        open_photo(make(200_000))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("tag", "kind", "values"),
    [(258, 3, 2_000_000), (282, 5, 300_000), (339, 3, 2_000_000), (273, 4, 300_000)],
)
def test_tags_of_a_million_values_are_refused(tag: int, kind: int, values: int) -> None:
    data = b"II*\0" + struct.pack("<IHHHIII", 8, 1, tag, kind, values, 26, 0) + bytes(8 * values)
    with pytest.raises(InvalidInputError, match="parts"):
        open_photo(data)


def test_a_tiff_of_a_million_tags_is_refused() -> None:
    entry = struct.pack("<HHQQ", 305, 2, 1, 0)
    data = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 100_000) + entry * 100_000 + bytes(8)
    with pytest.raises(InvalidInputError, match="parts"):
        open_photo(data)


# --- damaged, cut short, or of a sort that is not read


def test_damaged_is_said_of_pixels_only() -> None:
    data = bytearray(encode(scene(), "PNG"))
    middle = len(data) // 2
    data[middle : middle + 50] = b"\xff" * 50
    with pytest.raises(InvalidInputError, match="damaged"):
        open_photo(bytes(data))


# --- HEIC


def heic() -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    pillow_heif.from_pillow(scene()).save(out, quality=90)
    return out.getvalue()


def test_heic(tmp_path: Path) -> None:
    path = tmp_path / "photo.heic"
    path.write_bytes(heic())
    assert kind_of(path.read_bytes()) == "HEIC"
    close(open_photo(path), scene(), 8)
    assert path.suffix in ENDINGS["HEIC"]


def test_heic_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for brand in (b"heicmif1", b"mif1heic"):
        with pytest.raises(MissingExtraError) as raised:
            open_photo(b"\0\0\0\x18ftyp" + brand[:4] + b"\0\0\0\0" + brand)
        assert raised.value.extra == "heif"
