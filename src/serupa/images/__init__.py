"""Photos in, pixels out: reads what is an image, refuses what is not, and decodes no more than is needed."""

from __future__ import annotations

import errno
import io
import math
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from serupa.errors import ImageError
from serupa.files.urls import is_url, read_url

Resize = Literal["squash", "crop", "pad"]
"""How a photo becomes a square: aspect not kept, short side scaled then centre cut, or letterbox on white."""

Photo = str | os.PathLike[str] | bytes | BinaryIO
"""A path, the bytes of an image file, or an open binary file."""

MAX_PIXELS = 100_000_000
"""Largest photo that is decoded; here WebP takes 1.5 GB of memory, a JPEG that is scaled down 0.3 GB."""

MAX_BYTES = 64 * 2**20
MIN_SIDE = 8
"""The smallest side that shows anything, in pixels."""

_WHITE = (255, 255, 255)
_RESAMPLE = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

# How many times larger than its target a photo is decoded. Measured on 60 progressive JPEG photos of
# 1080 x 1340 and 1274 x 1580, to 224 pixels, bilinear, one thread; the difference is from the full decode,
# in levels of 0..255, and in the cosine of EfficientNet-Lite0 embeddings (mean, smallest of 48):
#   full decode                   59 img/s
#   full decode, reducing_gap 2   67 img/s   mean 0.13   largest  7
#   draft to 2 x the target      122 img/s   mean 0.13   largest 28   0.9997, 0.9990
#   draft to 1 x the target      157 img/s   mean 0.61   largest 68   0.9975, 0.9740
_OVERSAMPLE = 2
_REDUCING_GAP = 2.0

# A JPEG may hold any number of scans over all of its pixels: encoders write about 10, files made to keep a
# server busy hold millions.
_MAX_SCANS = 500
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")

_MAX_PROFILE_BYTES = 4 * 2**20

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

_SIGNATURES = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"\xff\xd8\xff", "JPEG"),
        (rb"\x89PNG\r\n\x1a\n", "PNG"),
        (rb"RIFF.{4}WEBP", "WebP"),
        (rb".{4}ftyp(?:.{4}){0,30}?avi[fs]", "AVIF"),
        (rb"GIF8[79]a", "GIF"),
        (rb"BM.{4}\0{4}", "BMP"),
        (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "TIFF"),
        (rb".{4}ftyp(?:.{4}){0,30}?(?:hei[cmsx]|hev[cmsx]|mif1|msf1)", "HEIC: save it as JPEG first"),
        (rb".{4}ftyp", "it looks like a video"),
        (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL: save it as JPEG first"),
        (rb"\0\0\0\x0cjP  ", "JPEG 2000: save it as JPEG first"),
        (rb"\0\0\x01\0", "it looks like an icon"),
        (rb"8BPS", "it looks like a Photoshop file"),
        (rb"%PDF", "it looks like a PDF"),
        (rb"%!PS", "it looks like PostScript"),
        (rb"PK\x03\x04|\x1f\x8b", "it looks like an archive"),
        (rb"(?i:(?:\xef\xbb\xbf)?\s*<(?:svg|!doctype svg|(?:\?xml|!--).*<svg))", "SVG: save it as PNG first"),
        (rb"(?i:(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|head|body))", "it looks like a web page"),
        (rb"\0+\Z", "it holds nothing but zeros"),
        (rb"[^\x00-\x08\x0e-\x1a\x7f]*\Z", "it looks like text"),
        (rb"", "its content is of no known kind"),
    )
)
_READABLE = "JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF"

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Crop:
    """A rectangle of a photo, in fractions of its upright width and height.

    Parameters
    ----------
    x, y : float
        The left and upper edge, 0 to 1.
    w, h : float
        Width and height, above 0; ``x + w`` and ``y + h`` are at most 1.

    Raises
    ------
    ImageError
        When the rectangle is empty or not inside the photo (by more than 1e-6; less is cut off).
    """

    x: float
    y: float
    w: float
    h: float

    def __post_init__(self) -> None:
        for start, length in (("x", "w"), ("y", "h")):
            low, size = getattr(self, start), getattr(self, length)
            if not (math.isfinite(low) and math.isfinite(size)):
                raise ImageError(f"crop {self}: not a finite number")
            if size <= 0:
                raise ImageError(f"crop {self}: {length} must be above 0")
            if low < -1e-6 or low + size > 1 + 1e-6 or low >= 1:
                raise ImageError(
                    f"crop {self}: not inside the photo; keep {start} and {start} + {length} in 0 to 1"
                )
            object.__setattr__(self, start, max(0.0, float(low)))
            object.__setattr__(self, length, min(float(size), 1.0 - max(0.0, float(low))))

    def __str__(self) -> str:
        return f"{self.x:g},{self.y:g},{self.w:g},{self.h:g}"

    @classmethod
    def parse(cls, text: str) -> Crop:
        """Read ``"x,y,w,h"``.

        Raises
        ------
        ImageError
            When the text is not four numbers, or not a rectangle inside the photo.
        """
        try:
            x, y, w, h = (float(part) for part in text.split(","))
        except ValueError:
            raise ImageError(
                f"crop {text[:60]!r}: write four fractions of the photo, x,y,w,h, such as 0.1,0.2,0.5,0.6"
            ) from None
        return cls(x, y, w, h)

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the whole pixels (left, upper, right, lower) of an image of this size; at least one."""
        left, right = _whole_pixels(self.x, self.w, width)
        upper, lower = _whole_pixels(self.y, self.h, height)
        return left, upper, right, lower


def read_bytes(photo: Photo, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Read the whole of an image file, and no more than the limit.

    Parameters
    ----------
    photo : path, bytes or binary file
        An open file is read from where it stands.
    max_bytes : int
        The limit; a path is checked before it is read.

    Returns
    -------
    bytes

    Raises
    ------
    ImageError
        When the file is missing, unreadable, empty, over the limit, or no file at all.
    """
    name = _name(photo)
    try:
        data = _read(photo, name, max_bytes)
    except OSError as error:
        raise ImageError(f"{name}: {_os_reason(error)}") from None
    except ValueError as error:  # a path with a null byte, a closed file
        raise ImageError(f"{name}: cannot be read ({_one_line(error)})") from None
    if len(data) > max_bytes:
        raise _too_many_bytes(name, max_bytes)
    if not data:
        raise ImageError(f"{name}: the file is empty")
    return data


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
    photo : path, bytes or binary file
        JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF.
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
    ImageError
        When it cannot be read, is no image, is cut short or damaged, has a side under ``MIN_SIDE`` pixels, or
        is over a limit.
    """
    name = _name(photo)
    data = read_bytes(photo, max_bytes=max_bytes)
    kind = _kind(data)
    if kind not in _PLUGINS:
        raise ImageError(f"{name}: not an image that can be read ({kind}); use {_READABLE}")
    with _refusing(name, kind):
        image: Image.Image = _PLUGINS[kind](io.BytesIO(data))
        _check_size(image.size, name, max_pixels)
        if kind == "PNG" and b"IEND" not in data:  # Pillow does without, once it has all pixels
            raise EOFError
        if kind == "JPEG":
            _check_scans(data, name)
            _draft(image, min_side, crop)
        image.load()
        orientation = _orientation(image)
        profile = image.info.get("icc_profile")
        shrink = _shrink(image.size, orientation, min_side, crop)
        image = _eight_bit(image)
        if shrink > 1:  # averaging squares of pixels first spares the steps that follow most of their work
            image = image.reduce(shrink)
        if orientation in _TRANSPOSE:
            image = image.transpose(_TRANSPOSE[orientation])
        if crop is not None:
            image = image.crop(crop.box(*image.size))
        return _to_rgb(image, profile)


def photo_pixels(
    photo: Photo,
    size: int,
    *,
    resize: Resize = "crop",
    resample: Literal["bilinear", "bicubic"] = "bilinear",
    crop: Crop | None = None,
) -> NDArray[np.uint8]:
    """Decode a photo into a square of pixels, as an encoder wants it.

    Parameters
    ----------
    photo : path, bytes or binary file
    size : int
        Side of the square, in pixels.
    resize : {"crop", "squash", "pad"}
        Scale the short side and cut the centre out; squash both sides; or letterbox on white.
    resample : {"bilinear", "bicubic"}
        Both with antialiasing.
    crop : Crop, optional
        Take this rectangle of the upright photo only.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)

    Raises
    ------
    ImageError
        As `open_photo`.
    """
    image = open_photo(photo, min_side=_OVERSAMPLE * size, crop=crop)
    return np.asarray(_square(image, size, resize, _RESAMPLE[resample]))


def thumbnail(photo: Photo, size: int, *, quality: int = 85) -> bytes:
    """Return a photo as a small JPEG: upright, without metadata, its long side at most `size` pixels.

    Raises
    ------
    ImageError
        As `open_photo`.
    """
    image = open_photo(photo, min_side=size)
    image.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)
    return encode_jpeg(image, quality)


def encode_jpeg(image: Image.Image, quality: int = 85) -> bytes:
    """Return an RGB image as the bytes of a JPEG without metadata."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()


def _whole_pixels(start: float, length: float, side: int) -> tuple[int, int]:
    """Return the first pixel of an interval and the one after its last: every pixel that it touches."""
    first = min(math.floor(start * side + 1e-6), side - 1)
    return first, min(max(math.ceil((start + length) * side - 1e-6), first + 1), side)


def _read(photo: Photo, name: str, max_bytes: int) -> bytes:
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    if not isinstance(photo, str | os.PathLike):
        data = photo.read(max_bytes + 1)
        if not isinstance(data, bytes):
            raise ImageError(f"{name}: opened as text; open it in binary mode")
        return data
    if is_url(photo):
        return read_url(os.fspath(photo), max_bytes)
    # Non-blocking, so that a named pipe that nobody writes to is refused and does not hang.
    descriptor = os.open(photo, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a file"
            raise ImageError(f"{name}: is {what}; give the path of a photo")
        if status.st_size > max_bytes:
            raise _too_many_bytes(name, max_bytes)
        return file.read(max_bytes + 1)


def _name(photo: Photo) -> str:
    """Return what messages call the photo: its path on one line, or "the photo"."""
    if not isinstance(photo, str | os.PathLike):
        return "the photo"
    path = str(os.fspath(photo))
    if len(path) > 300:
        path = "..." + path[-300:]
    return path if path.isprintable() else repr(path)[1:-1]


def _os_reason(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return "no such file"
        case errno.ELOOP:
            return "a symbolic link that leads back to itself"
        case errno.EACCES | errno.EPERM:
            return "no permission to read it"
        case errno.EISDIR:  # what Windows and macOS may say on opening one
            return "is a folder; give the path of a photo"
        case _:
            return f"cannot be read ({_one_line(error.strerror or error)})"


def _too_many_bytes(name: str, limit: int) -> ImageError:
    size = f"{limit / 2**20:.3g} MiB" if limit >= 2**20 else f"{limit:,} bytes"
    return ImageError(f"{name}: the file is over the limit of {size}; make it smaller first")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:120]


def _kind(data: bytes) -> str:
    """Return the key of a plug-in, or a few words on what the data looks like."""
    return next(kind for pattern, kind in _SIGNATURES if pattern.match(data[:1024]))


@contextmanager
def _refusing(name: str, kind: str) -> Iterator[None]:
    """Turn whatever Pillow raises on bad data into one line of ours."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(f"{name}: not enough memory to decode it; make it smaller first") from None
    except Exception as error:  # Pillow's plug-ins raise nearly everything on damaged files
        reason = _one_line(error)
        if "truncated" in reason.lower() or isinstance(error, EOFError):
            raise ImageError(f"{name}: the {kind} file is cut short; copy or download it again") from None
        reason = reason or type(error).__name__
        raise ImageError(f"{name}: a damaged or cut-short {kind} file ({reason})") from None


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            f"{name}: {width} x {height} pixels is over the limit of {max_pixels:,}; make it smaller first"
        )
    if min(size) < MIN_SIDE:
        raise ImageError(
            f"{name}: {width} x {height} pixels is too small to show anything; "
            f"both sides must have at least {MIN_SIDE}"
        )


def _check_scans(data: bytes, name: str) -> None:
    """Refuse a JPEG with more scans than any encoder writes."""
    position, scans = 2, 0
    while (found := _JPEG_MARKER.search(data, position)) is not None:
        marker = data[found.end() - 1]
        if marker == 0xD9:  # end of image
            return
        scans += marker == 0xDA
        if scans > _MAX_SCANS:
            raise ImageError(f"{name}: a JPEG of more than {_MAX_SCANS} scans; save it anew first")
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata is no reason to refuse a photo
        return 1
    return value if value in _TRANSPOSE else 1


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


def _to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return the image on white and in sRGB."""
    if image.mode == "RGBA":
        flat = Image.new("RGB", image.size, _WHITE)
        flat.paste(image, mask=image.getchannel("A"))
        image = flat
    if profile and image.mode in ("RGB", "CMYK") and len(profile) <= _MAX_PROFILE_BYTES:
        image = _to_srgb(image, profile)
    image = image.convert("RGB")
    image.info.clear()
    return image


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert from an embedded colour profile; a profile that is damaged or does not fit is ignored."""
    try:
        transform = _color_transform(profile, image.mode)
        return image if transform is None else ImageCms.applyTransform(image, transform) or image
    except Exception:  # lcms says so in many ways
        return image


@lru_cache(maxsize=16)
def _color_transform(profile: bytes, mode: str) -> Any:
    """Return the transform from a profile to sRGB; None where the profile is sRGB already."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if mode == "RGB" and "srgb" in ImageCms.getProfileDescription(source).lower():
        return None
    return ImageCms.buildTransform(
        source,
        _srgb(),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


@lru_cache(maxsize=1)
def _srgb() -> Any:
    return ImageCms.createProfile("sRGB")


def _square(image: Image.Image, size: int, resize: Resize, resample: Image.Resampling) -> Image.Image:
    width, height = image.size
    if resize == "squash":
        return _resize(image, (size, size), resample, (0, 0, width, height))
    if resize == "crop":
        side = min(width, height)
        left, upper = (width - side) / 2, (height - side) / 2
        return _resize(image, (size, size), resample, (left, upper, left + side, upper + side))
    if resize != "pad":
        raise ValueError(f"resize {resize!r} is not one of squash, crop, pad")
    scale = size / max(width, height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    square = Image.new("RGB", (size, size), _WHITE)
    scaled = _resize(image, inner, resample, (0, 0, width, height))
    square.paste(scaled, ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return square


def _resize(
    image: Image.Image,
    size: tuple[int, int],
    resample: Image.Resampling,
    box: tuple[float, float, float, float],
) -> Image.Image:
    # The reducing gap also bounds memory: without it, squashing 8 x 10,000,000 pixels would widen them first.
    return image.resize(size, resample, box, reducing_gap=_REDUCING_GAP)
