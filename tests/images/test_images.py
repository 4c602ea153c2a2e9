"""The image reader: every format, every way a photo can be wrong, and no more decoded than needed."""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, ImageFile

from serupa import images
from serupa.errors import (
    InvalidInputError,
    NotFoundError,
    SerupaError,
    UnavailableError,
    UsageError,
)
from serupa.images import Crop, decoding, encode_jpeg, open_photo, photo_pixels, read_bytes, thumbnail

RED, GREEN, BLUE, BLACK = (220, 20, 30), (20, 200, 40), (30, 40, 210), (10, 10, 10)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def quarters(width: int = 96, height: int = 64) -> Image.Image:
    """Four colours, so that any turn or mirroring shows."""
    image = Image.new("RGB", (width, height), BLACK)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 2 - 1, height // 2 - 1), fill=RED)
    draw.rectangle((width // 2, 0, width - 1, height // 2 - 1), fill=GREEN)
    draw.rectangle((0, height // 2, width // 2 - 1, height - 1), fill=BLUE)
    return image


def scene(width: int = 300, height: int = 200, seed: int = 0) -> Image.Image:
    """A smooth picture of many colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (10, 15, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def close(image: Image.Image | np.ndarray, other: Image.Image | np.ndarray, tolerance: float = 4.0) -> None:
    one, two = np.asarray(image).astype(int), np.asarray(other).astype(int)
    assert one.shape == two.shape
    assert np.abs(one - two).mean() <= tolerance


def png_header(width: int, height: int) -> bytes:
    """A PNG that is all promise: its header, a little data, its end."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def display_p3() -> bytes:
    """A colour profile with the primaries of Display P3 and a gamma of 2.2, written by hand."""

    def xyz(x: float, y: float, z: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in (x, y, z))

    def text(words: bytes) -> bytes:
        return b"desc\0\0\0\0" + struct.pack(">I", len(words) + 1) + words + b"\0" * 79

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    tags = {
        b"desc": text(b"Wide"),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.5151, 0.2412, -0.0011),
        b"gXYZ": xyz(0.2920, 0.6922, 0.0419),
        b"bXYZ": xyz(0.1571, 0.0666, 0.7841),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, body, offset = b"", b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        padded = data + b"\0" * (-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += padded
    head = struct.pack(">I4sI4s4s4s", offset + len(body), b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    head += b"".join(struct.pack(">i", round(v * 65536)) for v in (0.9642, 1.0, 0.8249))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


# --- formats and modes


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("PNG", {}),
        ("WEBP", {"quality": 95}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {"quality": 95}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg", "quality": 95}),
    ],
)
def test_every_format(kind: str, options: dict[str, object], tmp_path: Path) -> None:
    data = encode(quarters(), kind, **options)
    path = tmp_path / "named-wrongly.txt"  # content counts, not the name
    path.write_bytes(data)
    for photo in (data, path, str(path), io.BytesIO(data)):
        image = open_photo(photo)
        assert (image.mode, image.size, image.info) == ("RGB", (96, 64), {})
        close(image, quarters())


@pytest.mark.parametrize("kind", ["EPS", "PCX", "PPM", "ICO", "TGA", "SGI"])
def test_no_other_plugin_runs(kind: str) -> None:
    with pytest.raises(InvalidInputError, match="not an image that can be read"):
        open_photo(encode(quarters(), kind))


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palette(mode: str) -> None:
    image = quarters().convert(mode)
    close(open_photo(encode(image, "PNG")), image.convert("RGB"), 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_put_on_white(mode: str) -> None:
    image = Image.new(mode, (40, 40), 0)
    image.paste(Image.new(mode, (20, 40), (0, 0, 0, 255) if mode == "RGBA" else (0, 255)), (0, 0))
    for kind in ("PNG", "WEBP", "TIFF") if mode == "RGBA" else ("PNG",):
        pixels = np.asarray(open_photo(encode(image, kind)))
        assert pixels[:, :19].max() <= 2
        assert pixels[:, 21:].min() >= 253
    half = np.asarray(open_photo(encode(Image.new("RGBA", (10, 10), (0, 0, 0, 128)), "PNG")))
    assert set(half.ravel()) == {127}


def test_transparent_colours() -> None:
    palette = quarters().quantize(4)
    red = palette.getpixel((1, 1))
    for data in (
        encode(palette, "PNG", transparency=red),
        encode(palette, "PNG", transparency=bytes(0 if i == red else 255 for i in range(4))),
        encode(palette, "GIF", transparency=red),
        encode(quarters(), "PNG", transparency=RED),
    ):
        pixels = np.asarray(open_photo(data))
        assert tuple(pixels[5, 5]) == (255, 255, 255)
        close(pixels[40:, :40], np.asarray(quarters())[40:, :40])
    grey = Image.fromarray(np.repeat(np.array([[0, 90]], np.uint8), 10, 0).repeat(10, 1))
    assert tuple(np.asarray(open_photo(encode(grey, "PNG", transparency=0)))[0, [0, 15], 0]) == (255, 90)


def test_cmyk_as_photoshop_writes_it() -> None:
    cmyk = Image.new(
        "CMYK", (64, 64), (0, 255, 255, 0)
    )  # Pillow writes the inverted values and the Adobe marker
    data = encode(cmyk, "JPEG", quality=95)
    assert b"Adobe" in data
    assert np.abs(np.asarray(open_photo(data))[32, 32].astype(int) - (255, 0, 0)).max() < 8
    assert np.abs(np.asarray(open_photo(encode(cmyk, "TIFF")))[32, 32].astype(int) - (255, 0, 0)).max() == 0


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(kind: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    pixels = np.asarray(open_photo(encode(Image.fromarray(ramp), kind)))[..., 0]
    assert pixels.ravel().tolist() == list(range(256))


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0, 1e9])
def test_grey_of_32_bits(top: float) -> None:
    ramp = (np.linspace(0, 1, 256) * top).astype(np.float32).reshape(16, 16)
    pixels = np.asarray(open_photo(encode(Image.fromarray(ramp), "TIFF")))[..., 0].astype(int).ravel()
    assert np.abs(pixels - np.arange(256)).max() <= 1
    ramp[0, 0] = np.nan
    assert np.asarray(open_photo(encode(Image.fromarray(ramp), "TIFF")))[0, 0, 0] == 0
    if top > 1:
        whole = Image.fromarray(np.nan_to_num(ramp).astype(np.int32))
        assert np.abs(np.asarray(open_photo(encode(whole, "TIFF")))[-1, -1].astype(int) - 255).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_animated_gives_the_first_frame(kind: str) -> None:
    frames = [quarters(), Image.new("RGB", (96, 64), "white"), Image.new("RGB", (96, 64), "black")]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    close(open_photo(data), quarters())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(kind: str, orientation: int) -> None:
    stored = quarters()
    undo = {**decoding._TRANSPOSE, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    if orientation > 1:
        stored = stored.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(stored, kind, exif=exif, **({"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}))
    upright = open_photo(data)
    assert upright.size == (96, 64)
    close(upright, quarters())
    corner = np.asarray(open_photo(data, min_side=10, crop=Crop(0.5, 0, 0.5, 0.5)))
    assert np.abs(np.median(corner, axis=(0, 1)) - GREEN).max() < 12


@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*" + b"\xff" * 40]
)
def test_damaged_metadata_does_not_matter(exif: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        close(open_photo(encode(quarters(), "JPEG", exif=exif, quality=95)), quarters())
    close(open_photo(encode(quarters(), "JPEG", icc_profile=b"nonsense" * 30, quality=95)), quarters())


# --- colour profiles


def test_wide_gamut_is_converted_and_srgb_is_left_alone() -> None:
    plain = open_photo(encode(quarters(), "PNG"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(open_photo(encode(quarters(), "PNG", icc_profile=srgb)), plain)
    for kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        wide = np.asarray(
            open_photo(encode(Image.new("RGB", (32, 32), (200, 80, 80)), kind, icc_profile=display_p3()))
        )
        red, green, blue = wide[16, 16].astype(int)
        assert red >= 208  # the same numbers are a stronger red in a wider space
        assert green <= 76
        assert blue <= 80
    grey = np.asarray(
        open_photo(encode(Image.new("RGB", (9, 9), (128,) * 3), "PNG", icc_profile=display_p3()))
    )
    assert np.ptp(grey[4, 4].astype(int)) <= 2


def test_profile_of_another_mode_is_ignored() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    close(open_photo(encode(quarters(), "PNG", icc_profile=lab)), quarters(), 0)


# --- refusals


def refusal(photo: images.Photo, kind: type[SerupaError] = InvalidInputError, **options: int) -> str:
    with pytest.raises(kind) as caught:
        open_photo(photo, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"hello, I am a text file", "looks like text"),
        ("müde".encode("latin-1"), "looks like text"),
        (b"BM this starts like a bitmap", "looks like text"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\n <HTML>", "web page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?>\n<!-- made -->\n<svg/>", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", "video"),
        (b"PK\x03\x04\x14\0", "archive"),
        (b"\0" * 100, "zeros"),
        (bytes(range(256)), "no known kind"),
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"GIF89a", "GIF"),
        (b"RIFF\0\0\0\0WEBP", "WebP"),
        (b"II*\0", "TIFF"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "AVIF"),
    ],
)
def test_what_is_no_image(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    assert words in refusal(data)
    assert refusal(data).startswith("the photo: ")
    assert refusal(path).startswith(f"{path}: ")


def test_missing_folder_empty_and_odd_paths(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    loop = tmp_path / "loop.jpg"
    loop.symlink_to(loop)
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    assert "no such file" in refusal(tmp_path / "none.jpg", NotFoundError)
    assert "no such file" in refusal(empty / "below-a-file.jpg", NotFoundError)
    assert "is a folder" in refusal(tmp_path)
    assert "is empty" in refusal(empty)
    assert "is empty" in refusal(b"")
    assert "is empty" in refusal(io.BytesIO())
    assert "leads back to itself" in refusal(loop)
    assert "not a file" in refusal(pipe)
    for url in (
        f"file://{pipe}",
        f"FILE://{pipe}",
        f"local://{pipe}",
        f"file://localhost{pipe}",
        "file:///dev/zero",
    ):
        assert "not a file" in refusal(url)
    assert "not a file" in refusal(f"zip://a.png::file://{pipe}", UnavailableError)
    assert "on the web" in refusal("zip://a.png::http://127.0.0.1:1/a.zip", UnavailableError)
    assert "not a file" in refusal("/dev/zero")
    assert "null byte" in refusal("a\0b.jpg")
    assert "Protocol not known" in refusal("nothing://example.org/a.jpg", SerupaError)
    assert "cannot be read" in refusal("x" * 5000)
    assert "binary mode" in refusal(io.StringIO("text"))  # type: ignore[arg-type]


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.jpg"
    path.write_bytes(encode(quarters(), "JPEG"))
    path.chmod(0)
    if os.geteuid() == 0:  # nothing is unreadable to root

        def refuse(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
    assert refusal(path, UnavailableError) == f"{path}: no permission to read it"


@pytest.mark.parametrize(
    "name", ["line\nbreak.jpg", "not-utf8-\udcff.jpg", "späti 服.jpg", "-c.jpg", " .jpg"]
)
def test_odd_names(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(encode(quarters(), "JPEG"))
    assert open_photo(path).size == (96, 64)
    path.write_bytes(b"no image")
    refusal(path).encode()


@pytest.mark.parametrize("kind", ["JPEG", "PROGRESSIVE", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("min_side", [None, 32])
def test_truncated(kind: str, min_side: int | None) -> None:
    options = {"progressive": True} if kind == "PROGRESSIVE" else {}
    data = encode(scene(), "JPEG" if options else kind, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cut in [*range(16, len(data) - 8, len(data) // 12), len(data) - 8, len(data) - 5]:
            with pytest.raises(InvalidInputError, match=r"cut.short"):
                open_photo(data[:cut], min_side=min_side)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = png_header(30_000, 30_000)
    assert len(bomb) < 200
    assert "30000 x 30000 pixels is over the limit of 100,000,000" in refusal(bomb)
    data = encode(quarters(), "PNG")
    assert "over the limit of 6,143" in refusal(data, max_pixels=96 * 64 - 1)
    assert open_photo(data, max_pixels=96 * 64).size == (96, 64)
    assert "1 x 1 pixels is too small" in refusal(encode(Image.new("RGB", (1, 1)), "PNG"))
    assert "too small" in refusal(encode(Image.new("RGB", (500, 7)), "PNG"))
    assert photo_pixels(encode(Image.new("L", (28, 28)), "PNG"), 224).shape == (224, 224, 3)

    path = tmp_path / "big.png"
    path.write_bytes(data)
    for photo in (path, data, io.BytesIO(data)):
        assert f"over the limit of {len(data) - 9:,} bytes" in refusal(photo, max_bytes=len(data) - 9)
        if isinstance(photo, io.BytesIO):
            assert photo.tell() == len(data) - 8  # the limit and one byte
            photo.seek(0)
        assert read_bytes(photo, max_bytes=len(data)) == data
    sparse = tmp_path / "sparse.jpg"
    with sparse.open("wb") as file:
        file.truncate(2**40)
    assert "over the limit of 64 MiB" in refusal(sparse)


def test_pillows_own_limit_is_neither_met_nor_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo over Pillow's limit and within ours opens without a warning, in any thread."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    failures: list[Exception] = []

    def read(kind: str) -> None:
        try:
            open_photo(encode(quarters(), kind))
        except Exception as error:
            failures.append(error)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threads = [
            threading.Thread(target=read, args=(kind,)) for kind in ("JPEG", "PNG", "GIF", "BMP", "AVIF")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_a_jpeg_of_a_million_scans() -> None:
    data = encode(scene(), "JPEG", progressive=True)
    end = data.rindex(b"\xff\xd9")
    last_scan = data[data.rindex(b"\xff\xda") : end]
    assert open_photo(data[:end] + last_scan * 10 + b"\xff\xd9").size == (300, 200)
    assert "scans" in refusal(data[:end] + last_scan * 1000 + b"\xff\xd9")
    baseline = encode(scene().convert("L"), "JPEG")
    scan = baseline[baseline.rindex(b"\xff\xda") : -2]
    assert "scans" in refusal(baseline[:-2] + scan * 1000 + b"\xff\xd9")
    assert open_photo(baseline + scan * 1000).size == (300, 200)  # what follows the end does not count


@pytest.mark.parametrize(
    "raised",
    [
        OSError("broken"), SyntaxError("odd"), ValueError(), struct.error("x"), EOFError(), KeyError(1),
        IndexError("i"), TypeError("t"), AttributeError("a"), OverflowError("o"), MemoryError(),
        Image.DecompressionBombError("b"), ZeroDivisionError("z"), RecursionError("r"),
        UnicodeDecodeError("utf-8", b"", 0, 1, "bad\nbyte"),
    ],
)  # fmt: skip
def test_whatever_pillow_raises_is_one_line_of_ours(
    raised: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        raise raised

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    kind = UnavailableError if isinstance(raised, MemoryError) else InvalidInputError
    assert refusal(encode(quarters(), "JPEG"), kind).startswith("the photo: ")


# --- crops


def test_crop_validation() -> None:
    assert Crop.parse("0.1, 0.2,0.5,0.6") == Crop(0.1, 0.2, 0.5, 0.6)
    assert Crop.parse("0,0,1,1") == Crop(0, 0, 1, 1)
    assert Crop(-1e-7, 0.5, 1 + 5e-7, 0.5 + 5e-7) == Crop(0, 0.5, 1, 0.5)
    for text in ("", "1,2,3", "a,b,c,d", "0,0,1,1,1", "0,0,nan,1", "inf,0,1,1", "0,0,0,1", "0,0,1,-0.5",
                 "0.5,0,0.6,1", "-0.1,0,0.5,0.5", "1,0,0.1,1", "0,2,1,1", "1e999,0,1,1"):  # fmt: skip
        with pytest.raises(UsageError, match=r"^crop "):
            Crop.parse(text)


def test_crop_takes_its_part() -> None:
    data = encode(quarters(), "PNG")
    for crop, color in (
        (Crop(0, 0, 0.5, 0.5), RED),
        (Crop(0.5, 0, 0.5, 0.5), GREEN),
        (Crop(0, 0.5, 0.5, 0.5), BLUE),
    ):
        image = open_photo(data, crop=crop)
        assert image.size == (48, 32)
        assert image.getcolors() == [(48 * 32, color)]
        assert np.array_equal(np.unique(photo_pixels(data, 16, crop=crop).reshape(-1, 3), axis=0), [color])
    assert open_photo(data, crop=Crop(0.999, 0.999, 0.0001, 0.0001)).size == (1, 1)
    assert photo_pixels(data, 8, crop=Crop(0.999, 0.999, 0.0001, 0.0001)).shape == (8, 8, 3)
    assert np.array_equal(open_photo(data, crop=Crop(0, 0, 1, 1)), quarters())


sides = st.integers(8, 700)
part = st.tuples(st.floats(0, 0.99), st.floats(0.001, 1)).map(lambda p: (p[0], min(p[1], 1 - p[0])))


@settings(max_examples=40, deadline=None)
@given(
    sides, sides, st.integers(1, 300), part, part, st.sampled_from([1, 6]), st.sampled_from(["JPEG", "PNG"])
)
@example(1080, 1340, 224, (0.1, 0.5), (0.1, 0.5), 6, "JPEG")
def test_never_decoded_too_small(
    width: int,
    height: int,
    min_side: int,
    across: tuple[float, float],
    down: tuple[float, float],
    orientation: int,
    kind: str,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.new("RGB", (width, height)), kind, exif=exif)
    crop = Crop(across[0], down[0], across[1], down[1])
    for wanted in (None, crop):
        full = open_photo(data, crop=wanted)
        small = open_photo(data, min_side=min_side, crop=wanted)
        assert min(small.size) >= min(min_side, *full.size) - (min(full.size) < min_side)
        assert max(small.size) <= max(full.size)
    assert min(open_photo(data, min_side=min_side).size) < 2 * min_side or min(width, height) < 2 * min_side


def test_a_crop_of_a_turned_photo_is_decoded_large_enough() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.new("RGB", (1600, 200)), "JPEG", exif=exif)  # upright 200 x 1600
    assert open_photo(data, min_side=25, crop=Crop(0, 0, 0.125, 1)).size == (25, 1600)
    assert open_photo(data, min_side=25, crop=Crop(0, 0, 1, 0.125)).size == (25, 25)


# --- resizing


def test_resize_modes() -> None:
    data = encode(quarters(96, 64), "PNG")
    squash = photo_pixels(data, 32, resize="squash")
    cut = photo_pixels(data, 32, resize="crop")
    pad = photo_pixels(data, 32, resize="pad")
    for pixels in (squash, cut, pad):
        assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)
        assert tuple(pixels[12, 4]) == RED
        assert tuple(pixels[12, 28]) == GREEN
    close(squash, quarters(96, 64).resize((32, 32), Image.Resampling.BILINEAR), 1)
    centre = quarters(96, 64).resize((48, 32), Image.Resampling.BILINEAR).crop((8, 0, 40, 32))
    close(cut, centre, 1)
    assert (pad[:5] == 255).all()
    assert (pad[-5:] == 255).all()
    assert tuple(pad[6, 3]) == RED
    with pytest.raises(UsageError, match="stretch"):
        photo_pixels(data, 32, resize="stretch")  # type: ignore[arg-type]


def test_bicubic_differs_from_bilinear() -> None:
    data = encode(scene(), "PNG")
    one, two = (photo_pixels(data, 64, resample=name) for name in ("bilinear", "bicubic"))
    assert not np.array_equal(one, two)
    close(one, two, 6)


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize(("width", "height"), [(64_000, 10), (10, 64_000)])
def test_elongated_photos(width: int, height: int, resize: images.Resize) -> None:
    data = encode(Image.new("RGB", (width, height), RED), "PNG")
    pixels = photo_pixels(data, 224, resize=resize)
    assert tuple(pixels[112, 112]) == RED or resize == "pad"


def test_squashing_does_not_widen_before_it_shortens() -> None:
    """Done in the wrong order, as by Pillow 11 left to itself, 8 x 3,000,000 pixels to 224 take 2.6 GB."""
    resource = pytest.importorskip("resource")
    data = encode(Image.new("L", (8, 3_000_000)), "PNG")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    photo_pixels(data, 224, resize="squash")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # KiB


def test_reduced_decoding_stays_close_to_full() -> None:
    photo = scene(1200, 1500)
    full = np.asarray(photo.resize((224, 224), Image.Resampling.BILINEAR))
    for kind in ("JPEG", "PNG", "WEBP"):
        close(photo_pixels(encode(photo, kind, quality=95), 224, resize="squash"), full, 1)


def test_reduced_decoding_of_real_photos() -> None:
    photos = sorted(Path("../shared/data/luma/images").glob("*.jpg"))[::80]
    if not photos:
        pytest.skip("no photos here")
    for path in photos:
        full = open_photo(path).resize((224, 224), Image.Resampling.BILINEAR)
        close(photo_pixels(path, 224, resize="squash"), full, 0.6)


def test_thumbnail() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Maker"
    data = encode(scene(1200, 900), "JPEG", exif=exif, comment=b"who took it", quality=90)
    small = thumbnail(data, 320)
    image = Image.open(io.BytesIO(small))
    assert (image.format, image.size) == ("JPEG", (240, 320))
    assert not image.getexif()
    assert b"who took it" not in small
    assert Image.open(io.BytesIO(thumbnail(encode(quarters(), "PNG"), 320))).size == (96, 64)
    assert Image.open(io.BytesIO(encode_jpeg(quarters()))).size == (96, 64)


# --- fuzzing


SEEDS = [
    encode(scene(40, 30), "JPEG"),
    encode(scene(40, 30), "JPEG", progressive=True),
    encode(scene(40, 30), "PNG"),
    encode(scene(40, 30).quantize(16), "PNG"),
    encode(scene(40, 30), "WEBP"),
    encode(scene(40, 30), "GIF"),
    encode(scene(40, 30), "BMP"),
    encode(scene(40, 30), "TIFF", compression="tiff_lzw"),
    encode(scene(40, 30), "AVIF"),
]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 255)), max_size=6),
    st.floats(0.5, 1.5),
    st.sampled_from([None, 8]),
)
def test_mutated_files(
    seed: bytes, changes: list[tuple[float, int]], length: float, min_side: int | None
) -> None:
    data = bytearray(seed)
    for where, value in changes:
        data[int(where * len(data))] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = open_photo(
                bytes(data[: max(1, int(length * len(data)))]), min_side=min_side, max_pixels=10**6
            )
        except InvalidInputError as error:
            assert "\n" not in str(error)
        else:
            assert image.mode == "RGB"
            assert min(image.size) >= images.MIN_SIDE


@settings(max_examples=100, deadline=None)
@given(
    st.binary(min_size=1, max_size=200),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"BM", b"RIFF"]),
)
def test_arbitrary_bytes(data: bytes, head: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            open_photo(head + data, max_pixels=10**6)
        except InvalidInputError as error:
            assert "\n" not in str(error)
