"""Colour spaces: sRGB from a photo's profile, and Oklab, where equal distances look about equally different.

References
----------
.. [1] B. Ottosson, "A perceptual color space for image processing", 2020, bottosson.github.io/posts/oklab.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Floats = NDArray[np.float64]

# Linear sRGB to the responses of the eye's cones, and their cube roots to Oklab; both from [1].
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert an image from its colour profile; a profile that is damaged or does not fit is ignored."""
    try:
        transform = _transform(profile, image.mode)
        return image if transform is None else ImageCms.applyTransform(image, transform) or image
    except Exception:  # lcms says so in many ways
        return image


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> Any:
    """Return the transform from a profile to sRGB; None where the profile is sRGB already."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if mode == "RGB" and "srgb" in ImageCms.getProfileDescription(source).lower():
        return None
    return ImageCms.buildTransform(
        source,
        _srgb_profile(),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


@lru_cache(maxsize=1)
def _srgb_profile() -> Any:
    return ImageCms.createProfile("sRGB")


def oklab(rgb: NDArray[Any]) -> Floats:
    """Turn sRGB colours ``(..., 3)`` of 0 to 255 into Oklab [1]_."""
    part = np.asarray(rgb, np.float64) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.cbrt(linear @ _TO_CONES.T) @ _TO_OKLAB.T, np.float64)


def linear_rgb(lab: Floats) -> Floats:
    """Turn Oklab colours ``(..., 3)`` into linear sRGB, 0 to 1, cut off where a screen cannot show them."""
    cones = (lab @ np.linalg.inv(_TO_OKLAB).T) ** 3
    return np.asarray(np.clip(cones @ np.linalg.inv(_TO_CONES).T, 0.0, 1.0), np.float64)


def srgb(linear: Floats) -> NDArray[np.uint8]:
    """Turn linear sRGB, 0 to 1, into the levels of sRGB, 0 to 255."""
    part = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * part).astype(np.uint8)
