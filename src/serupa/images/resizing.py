"""Photos brought to a size: squares of pixels for an encoder, and thumbnails."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serupa.errors import UsageError
from serupa.images.crop import Crop
from serupa.images.decoding import WHITE, open_photo
from serupa.images.reading import Photo

Resize = Literal["squash", "crop", "pad"]
"""How a photo becomes a square: aspect not kept, short side scaled then centre cut, or letterbox on white."""

_RESAMPLE = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

# How many times larger than its target a photo is decoded. Measured on 60 progressive JPEG photos of
# 1080 x 1340 and 1274 x 1580, to 224 pixels, bilinear, one thread; the difference is from the full decode,
# in levels of 0..255, and in the cosine of EfficientNet-Lite0 embeddings (mean, smallest of 48):
#   full decode                   59 img/s
#   full decode, reducing_gap 2   67 img/s   mean 0.13   largest  7
#   draft to 2 x the target      122 img/s   mean 0.13   largest 28   0.9997, 0.9990
#   draft to 1 x the target      157 img/s   mean 0.61   largest 68   0.9975, 0.9740
_OVERSAMPLE = 2
# It also bounds memory: without it, squashing 8 x 10,000,000 pixels would widen them first
_REDUCING_GAP = 2.0
_WEBP_METHOD = 2  # of 6: 4 takes twice as long for 6 % fewer bytes


# A photo that is longer, in short sides, is not scaled as a whole: a strip would take any amount of memory
_WIDEST = 8


def photo_pixels(
    photo: Photo,
    size: int,
    *,
    resize: Resize = "crop",
    resample: Literal["bilinear", "bicubic"] = "bilinear",
    short_side: int | None = None,
    crop: Crop | None = None,
) -> NDArray[np.uint8]:
    """Decode a photo into a square of pixels, as an encoder wants it.

    Parameters
    ----------
    photo : path, URL, bytes or binary file
    size : int
        Side of the square, in pixels.
    resize : {"crop", "squash", "pad"}
        Scale the short side and cut the centre out; squash both sides; or letterbox on white.
    resample : {"bilinear", "bicubic"}
        Both with antialiasing.
    short_side : int, optional
        With ``resize="crop"``: scale the short side to this many pixels, at least `size`, and cut out whole
        ones, rounding as the image processors of ``transformers`` do.
    crop : Crop, optional
        Take this rectangle of the upright photo only.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)

    Raises
    ------
    SerupaError
        As `open_photo`.
    """
    image = open_photo(photo, min_side=_OVERSAMPLE * size, crop=crop)
    width, height = image.size
    box, inner = (0.0, 0.0, float(width), float(height)), (size, size)
    match resize:
        case "squash":
            pass
        case "crop" if short_side is not None and max(width, height) <= _WIDEST * min(width, height):
            short = min(width, height)
            inner = short_side * width // short, short_side * height // short
        case "crop":
            side = min(width, height) * size / (short_side or size)
            left, upper = (width - side) / 2, (height - side) / 2
            box = (left, upper, left + side, upper + side)
        case "pad":
            scale = size / max(width, height)
            inner = max(1, round(width * scale)), max(1, round(height * scale))
        case _:
            raise UsageError(f"resize {resize!r}", "not one of squash, crop, pad")
    scaled = image.resize(inner, _RESAMPLE[resample], box, reducing_gap=_REDUCING_GAP)
    if resize == "crop":
        left, upper = (inner[0] - size) // 2, (inner[1] - size) // 2
        scaled = scaled.crop((left, upper, left + size, upper + size))
    elif inner != (size, size):
        square = Image.new("RGB", (size, size), WHITE)
        square.paste(scaled, ((size - inner[0]) // 2, (size - inner[1]) // 2))
        scaled = square
    return np.asarray(scaled)


def thumbnail(photo: Photo, size: int, *, quality: int = 85, webp: bool = False) -> bytes:
    """Return a photo as a small JPEG or WebP: upright, without metadata, its long side at most `size` pixels.

    Raises
    ------
    SerupaError
        As `open_photo`.
    """
    image = open_photo(photo, min_side=size)
    image.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)
    if not webp:
        return encode_jpeg(image, quality)
    out = io.BytesIO()
    image.save(out, "WEBP", quality=quality, method=_WEBP_METHOD)
    return out.getvalue()


def encode_jpeg(image: Image.Image, quality: int = 85) -> bytes:
    """Return an RGB image as the bytes of a JPEG without metadata."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()
