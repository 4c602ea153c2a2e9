"""Photos as a shopper might take them, made from a shop's own.

What is in front is cut out by its distance in colour from the border, tilted, laid on another photo's
background or on a plain one, and lit differently. So the product that such a photo shows is known, which no
real photo of a shopper's tells. Three in four photos or more can be cut out; `cut_out` says which.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.uint8]
Mask = NDArray[np.uint8]

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def cut_out(pixels: Pixels) -> Mask | None:
    """Return how much of each pixel ``(h, w)`` is in front, 0 to 255, of pixels ``(h, w, 3)``.

    None where the outline that is found cannot be one: too small, too large, or along the border.
    """
    from scipy import ndimage

    height, width = pixels.shape[:2]
    small = np.asarray(Image.fromarray(pixels).resize((width // 4, height // 4), Image.Resampling.BOX))
    small = small.astype(np.float32)
    band = max(2, round(0.05 * min(small.shape[:2])))
    border = np.zeros(small.shape[:2], bool)
    border[:band], border[-band:], border[:, :band], border[:, -band:] = True, True, True, True
    top = np.median(small[:band].reshape(-1, 3), axis=0)
    white = bool(top.min() > 235)  # a studio: a model may leave the photo at the top or the bottom
    if white:
        front = np.abs(small - top).max(axis=-1) > 14
    else:
        middle = np.median(small[border], axis=0)
        away = _distance(small - middle)
        front = away > 1.25 * np.percentile(away[border], 88) + 6
    front = ndimage.binary_closing(ndimage.binary_opening(front), iterations=3)
    parts, count = ndimage.label(front)
    if not count:
        return None
    sizes = ndimage.sum(front, parts, range(1, count + 1))
    front = ndimage.binary_fill_holes(np.isin(parts, np.flatnonzero(sizes > 0.15 * sizes.max()) + 1))
    rows, columns = front.shape
    centre = front[rows // 4 : -rows // 4, columns // 4 : -columns // 4].mean()
    if not 0.08 < front.mean() < 0.72 or (not white and (front[border].mean() > 0.12 or centre < 0.35)):
        return None
    mask = Image.fromarray((255 * front).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(mask.filter(ImageFilter.GaussianBlur(1.5)))


def amateur_like(
    pixels: Pixels,
    mask: Mask,
    others: list[tuple[Pixels, Mask]],
    side: int,
    rng: np.random.Generator,
) -> Pixels:
    """Return a square photo ``(side, side, 3)`` of what `cut_out` found in front.

    Parameters
    ----------
    pixels : (h, w, 3) array of uint8
    mask : (h, w) array of uint8
    others : list of (pixels, mask)
        Photos whose backgrounds may be used.
    side : int
    rng : numpy.random.Generator
    """
    (front, share), fill = _tilted(pixels, mask, side, rng), _background(others, side, rng)
    weight = share[..., None] / 255.0
    return _lit(front * weight + fill * (1 - weight), rng)


def _distance(offsets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance in colour where light falls unevenly: brightness counts less than colour."""
    light = offsets @ _LUMINANCE
    colour = offsets - light[..., None]
    return np.asarray(np.sqrt((0.6 * light) ** 2 + 2 * (colour**2).sum(axis=-1)), np.float32)


def _tilted(pixels: Pixels, mask: Mask, side: int, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    height, width = pixels.shape[:2]
    area, aspect = rng.uniform(0.55, 1.0) * height * width, math.exp(rng.uniform(-0.25, 0.25))
    w, h = min(math.sqrt(area * aspect), width), min(math.sqrt(area / aspect), height)
    x = rng.uniform(w / 2, width - w / 2) if width > w else width / 2
    y = rng.uniform(h / 2, height - h / 2) if height > h else height / 2
    turn, mirror = math.radians(rng.uniform(-12, 12)), rng.choice([-1, 1])
    cos, sin, sx, sy = math.cos(turn), math.sin(turn), mirror * w / side, h / side
    half = side / 2
    affine = (
        sx * cos, -sy * sin, x - (sx * cos - sy * sin) * half,
        sx * sin, sy * cos, y - (sx * sin + sy * cos) * half,
    )  # fmt: skip
    size, how = (side, side), (Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    image = Image.fromarray(pixels)
    shrink = min(w, h) / side
    if shrink > 1.6:
        image = image.filter(ImageFilter.BoxBlur(0.4 * shrink - 0.4))
    return (
        np.asarray(image.transform(size, *how, fillcolor=(255, 255, 255))),
        np.asarray(Image.fromarray(mask).transform(size, *how, fillcolor=0)),
    )


def _background(others: list[tuple[Pixels, Mask]], side: int, rng: np.random.Generator) -> Pixels:
    """Return what surrounds another photo's garment or, where none is found, a plain surface."""
    draw = rng.random()
    for _ in range(12 if others and draw < 0.6 else 0):
        pixels, mask = others[rng.integers(len(others))]
        height, width = mask.shape
        size = int(rng.uniform(0.22, 0.4) * min(height, width))
        y, x = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
        y, x = [(0, x), (height - size, x), (y, 0), (y, width - size)][rng.integers(4)]
        if mask[y : y + size, x : x + size].mean() < 12:
            piece = Image.fromarray(pixels[y : y + size, x : x + size])
            return np.asarray(piece.resize((side, side), Image.Resampling.BICUBIC))
    if draw < 0.85:
        base = rng.uniform(225, 255) + rng.normal(0, 2, 3)
    else:
        base = rng.uniform(30, 230) + rng.normal(0, 25, 3)
    slope, turn = np.linspace(-1, 1, side), rng.uniform(0, 2 * np.pi)
    shade = (np.cos(turn) * slope[:, None] + np.sin(turn) * slope[None]) * rng.uniform(0, 14)
    grain = rng.normal(0, 1.5, (side, side, 1))
    return np.asarray(np.clip(base + shade[..., None] + grain, 0, 255), np.uint8)


def _lit(pixels: NDArray[np.floating], rng: np.random.Generator) -> Pixels:
    """Change brightness, white balance, contrast and saturation; hues stay."""
    lit = pixels.astype(np.float32) * rng.uniform(0.7, 1.2)
    lit = lit * np.exp(rng.normal(0, 0.05, 3)).astype(np.float32)
    lit = (lit - lit.mean()) * rng.uniform(0.7, 1.3) + lit.mean()
    grey = (lit @ _LUMINANCE)[..., None]
    return np.asarray(np.clip((lit - grey) * rng.uniform(0.75, 1.25) + grey, 0, 255), np.uint8)
