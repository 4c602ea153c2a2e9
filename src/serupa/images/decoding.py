"""Decodes photos, within limits of bytes, pixels and time, and no larger than they are needed."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from serupa.errors import InvalidInputError, MissingExtraError, SerupaError, UnavailableError
from serupa.images.color import to_srgb
from serupa.images.crop import Crop
from serupa.images.kinds import READABLE, kind_of
from serupa.images.metadata import MAX_PROFILE_BYTES, Stripped, TooManyPartsError, strip
from serupa.images.reading import MAX_BYTES, Photo, name_of, one_line, read_bytes

MAX_PIXELS = 100_000_000
"""Largest photo that is decoded; here WebP takes 1.5 GB of memory, a JPEG that is scaled down 0.3 GB."""

LARGE_BYTES = 200 * 2**20
"""Photos that take more memory to decode are decoded one at a time, where nothing else bounds it."""

MIN_SIDE = 8
"""The smallest side that shows anything, in pixels."""

WHITE = (255, 255, 255)

# A JPEG may hold any number of scans over all of its pixels: encoders write about 10, files made to keep a
# server busy hold millions. A scan of 100 million pixels takes up to a second.
_MAX_SCANS = 500
_MAX_SCANNED_PIXELS = 10 * MAX_PIXELS

# Pillow decodes run-length encoded BMP in Python: 0.1 s a million pixels, and no other thread runs
_MAX_RLE_PIXELS = 4_000_000

# What decoding takes, in bytes a pixel, as measured (tests/images/test_decoding.py): the decoder itself, then
# each step to 8 bits, upright RGB
_DECODER_BYTES = {"WebP": 16, "AVIF": 13, "HEIC": 16, "TIFF": 8}
_OTHER_DECODER_BYTES = 4
_FLOAT_BYTES, _CONVERSION_BYTES, _FULL_SIZE_BYTES = 13, 8, 8
_COEFFICIENT_BYTES = 2  # of each channel of a JPEG of several scans: all of it is kept until the last one

Room = Callable[[int], AbstractContextManager[object]]
"""Is asked for so many bytes of memory; they are in use until the block ends."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of decoding: the arguments of `open_photo`, and what errors call the photo."""

    name: str
    min_side: int | None = None
    crop: Crop | None = None
    max_pixels: int = MAX_PIXELS


Decoder = Callable[[bytes, Wanted], Image.Image]

_one_large = threading.Lock()
_decoder: Decoder | None = None


def decode_by(decoder: Decoder | None) -> None:
    """Let all photos of this process be decoded by something else than `decode` from now on; None ends it."""
    global _decoder  # noqa: PLW0603
    _decoder = decoder


# The plug-ins are called directly, and not through Image.open: no other one can ever run, and Pillow's own
# pixel limit, one for the whole process, need not be changed. (TIFF alone asks it too: over 89 million
# pixels it warns, which does no harm.)
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "AVIF": AvifImagePlugin.AvifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
}

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_photo(
    photo: Photo,
    *,
    min_side: int | None = None,
    crop: Crop | None = None,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> Image.Image:
    """Decode a photo: upright, RGB, on white, its first frame where it is animated, in sRGB colours.

    Parameters
    ----------
    photo : path, URL, bytes or binary file
        JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF; HEIC with the extra ``heif``.
    min_side : int, optional
        The photo may be decoded smaller, for speed, as long as neither side of the result falls under this
        many pixels (a photo that has fewer comes as it is). None decodes at full size.
    crop : Crop, optional
        Return this rectangle of the upright photo only.
    max_pixels, max_bytes : int
        Limits, checked before anything is decoded or read.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, with no metadata.

    Raises
    ------
    NotFoundError, UnavailableError
        As `read_bytes`; and when there is not enough memory, or an extra is missing.
    InvalidInputError
        When it is no image, is cut short or damaged, over a limit, or has a side under ``MIN_SIDE`` pixels.
    """
    name = name_of(photo)
    data = read_bytes(photo, max_bytes=max_bytes)
    wanted = Wanted(name, min_side, crop, max_pixels)
    if _decoder is not None:
        return _decoder(data, wanted)
    return decode(data, wanted, _one_large_at_a_time)


def decode(data: bytes, wanted: Wanted, room: Room) -> Image.Image:
    """Decode the bytes of a photo in this thread, as `open_photo` says, once there is room for it."""
    name, min_side, crop = wanted.name, wanted.min_side, wanted.crop
    kind = kind_of(data)
    plugin = _plugin(kind, name)
    with _refusing(name, kind):
        stripped = strip(data, kind)
        image: Image.Image = plugin(io.BytesIO(stripped.data))
        if stripped.exif is not None:
            image.info["exif"] = stripped.exif
        _check_size(image, name, wanted.max_pixels)
        _check_work(image, kind, stripped.scans, name)
        full = image.width * image.height
        if kind == "JPEG":
            _draft(image, min_side, crop)
        needed = _memory(image, kind, min_side, crop)
        if stripped.scans > 1:
            needed += full * _COEFFICIENT_BYTES * len(image.getbands())
    with room(needed), _refusing(name, kind, damaged=True):
        image.load()
        return _finish(image, stripped, min_side, crop)


def _one_large_at_a_time(needed: int) -> AbstractContextManager[object]:
    return _one_large if needed > LARGE_BYTES else contextlib.nullcontext()


def _memory(image: Image.Image, kind: str, min_side: int | None, crop: Crop | None) -> int:
    """Return the bytes that decoding takes at most, about."""
    each = _DECODER_BYTES.get(kind, _OTHER_DECODER_BYTES)
    if image.mode in ("I", "F"):
        each += _FLOAT_BYTES
    elif image.mode not in ("L", "RGB", "CMYK") or image.has_transparency_data:
        each += _CONVERSION_BYTES
    if _shrink(image.size, 1, min_side, crop) < 2:
        each += _FULL_SIZE_BYTES
    return each * image.width * image.height


def _finish(image: Image.Image, stripped: Stripped, min_side: int | None, crop: Crop | None) -> Image.Image:
    """Bring a decoded image to 8 bits, upright, cropped, on white and in sRGB."""
    profile = stripped.profile or image.info.get("icc_profile")
    orientation = _orientation(image)
    shrink = _shrink(image.size, orientation, min_side, crop)
    image = _eight_bit(image)
    if stripped.white_is_zero:
        image = ImageChops.invert(image)
    if shrink > 1:  # averaging squares of pixels first spares the steps that follow most of their work
        image = image.reduce(shrink)
    if orientation in _TRANSPOSE:
        image = image.transpose(_TRANSPOSE[orientation])
    if crop is not None:
        image = image.crop(crop.box(*image.size))
    if image.mode == "RGBA":
        flat = Image.new("RGB", image.size, WHITE)
        flat.paste(image, mask=image.getchannel("A"))
        image = flat
    if profile and image.mode in ("RGB", "CMYK") and len(profile) < MAX_PROFILE_BYTES:
        image = to_srgb(image, profile)
    image = image.convert("RGB")
    image.info.clear()
    return image


def _plugin(kind: str, name: str) -> type[ImageFile.ImageFile]:
    if kind == "HEIC":
        try:
            from pillow_heif import HeifImageFile
        except ImportError:
            raise MissingExtraError(f"{name}: a HEIC photo", "heif") from None
        plugin: type[ImageFile.ImageFile] = HeifImageFile
        return plugin
    if kind not in _PLUGINS:
        raise InvalidInputError(name, f"not an image that can be read ({kind})", f"use {READABLE}")
    return _PLUGINS[kind]


@contextmanager
def _refusing(name: str, kind: str, *, damaged: bool = False) -> Iterator[None]:
    """Turn whatever Pillow raises into an error of ours: it raises nearly everything on damaged files."""
    try:
        yield
    except SerupaError:
        raise
    except MemoryError:
        raise UnavailableError(name, "not enough memory to decode it", "make it smaller first") from None
    except TooManyPartsError:
        problem = f"a {kind} file of more parts than any program writes"
        raise InvalidInputError(name, problem, "save it anew first") from None
    except Exception as error:
        reason = one_line(error) or type(error).__name__
        if "truncated" in reason.lower() or isinstance(error, EOFError):
            problem = f"the {kind} file is cut short"
            raise InvalidInputError(name, problem, "copy or download it again") from None
        what = "damaged or cut short" if damaged else "cut short, damaged or of a rare sort"
        raise InvalidInputError(name, f"the {kind} file cannot be read: {what} ({reason})") from None


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        problem = f"{width} x {height} pixels is over the limit of {max_pixels:,}"
        raise InvalidInputError(name, problem, "make it smaller first")
    if min(image.size) < MIN_SIDE:
        problem = f"{width} x {height} pixels is too small to show anything"
        raise InvalidInputError(name, problem, f"both sides must have at least {MIN_SIDE}")


def _check_work(image: Image.Image, kind: str, scans: int, name: str) -> None:
    """Refuse what would take much longer to decode than its pixels do in any other file."""
    pixels = image.width * image.height
    if scans > _MAX_SCANS or scans * pixels > max(_MAX_SCANNED_PIXELS, pixels):
        raise InvalidInputError(name, f"a JPEG of {scans:,} scans of its pixels", "save it anew first")
    coded = any(tile.codec_name == "bmp_rle" for tile in getattr(image, "tile", ()))
    if kind == "BMP" and coded and pixels > _MAX_RLE_PIXELS:
        problem = f"run-length encoded, and over the limit of {_MAX_RLE_PIXELS:,} pixels for such BMP files"
        raise InvalidInputError(name, problem, "save it as PNG first")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        return value if value in _TRANSPOSE else 1
    except Exception:  # damaged metadata is no reason to refuse a photo
        return 1


def _shrink(size: tuple[int, int], orientation: int, min_side: int | None, crop: Crop | None) -> int:
    """Return how many times an image may shrink while the sides that are wanted stay >= min_side."""
    if min_side is None:
        return 1
    width, height = size if orientation < 5 else size[::-1]
    if crop is not None:
        width, height = int(crop.w * width), int(crop.h * height)
    return max(1, min(width, height) // max(1, min_side))


def _draft(image: Image.Image, min_side: int | None, crop: Crop | None) -> None:
    """Ask libjpeg for a half, a quarter or an eighth of the size: it computes that much less."""
    shrink = _shrink(image.size, _orientation(image), min_side, crop)
    scale = next(scale for scale in (8, 4, 2, 1) if scale <= shrink)
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return the image in mode L, RGB, RGBA or CMYK."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        return Image.fromarray(_scale_levels(np.asarray(image)))
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def _scale_levels(levels: NDArray[Any]) -> NDArray[np.uint8]:
    """Bring grey levels of 32 bits to 0..255; such files do not say what white is, so the range does."""
    tops = (255.0, 65535.0) if levels.dtype.kind == "i" else (1.0, 255.0, 65535.0)
    scaled = np.nan_to_num(levels.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    highest = float(scaled.max())
    scaled *= 255.0 / next((top for top in tops if highest <= top), highest)
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)
