"""Views of a photo to train on: cropped and tilted, in other light, before another background, in grey.

Colour says much about a garment, so hues are kept: brightness, contrast, saturation and the white balance
vary as they do from camera to camera.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from serupa.garments.kinds import BY_NAME

Pixels = NDArray[np.uint8]
Mask = NDArray[np.uint8]

SHORT_SIDE = 272
"""Photos are kept at this size: views of a third of their area still fill 160 pixels."""

_STEP = 4  # a mask is found on a photo so many times smaller
_WHITE = 235
_TRIES = 12


class Photo(NamedTuple):
    """A photo, and where its garment is; None where that could not be told."""

    pixels: Pixels
    mask: Mask | None


def plain(photo: Photo, side: int, rng: np.random.Generator) -> Pixels:
    """Return a view of the whole photo or of a part, at least 0.35 of its area."""
    return _lit(_warped(photo.pixels, side, rng, 0.35), rng)


def grey(photo: Photo, side: int, rng: np.random.Generator) -> Pixels:
    """Return a coarse grey view of the photo, every second time a negative."""
    small = (
        Image.fromarray(_warped(photo.pixels, side, rng, 0.6))
        .convert("L")
        .resize((28, 28), Image.Resampling.BOX)
    )
    large = np.asarray(small.resize((side, side), Image.Resampling.BILINEAR).convert("RGB"))
    return 255 - large if rng.random() < 0.5 else large


def elsewhere(photo: Photo, scene: Photo | None, side: int, rng: np.random.Generator) -> Pixels:
    """Return a view of the garment before another background, a part of `scene` or a drawn one."""
    if photo.mask is None:
        return plain(photo, side, rng)
    four = np.dstack([photo.pixels, photo.mask])
    view = _warped(four, side, rng, 0.45)
    share = view[..., 3:] / np.float32(255)
    behind = _background(scene, side, rng)
    return _lit((view[..., :3] * share + behind * (1 - share)).astype(np.uint8), rng)


def find_garment(pixels: Pixels) -> Mask | None:
    """Tell what differs in colour from the photo's border; None where that is no single thing.

    Returns
    -------
    ndarray of uint8, shape (h, w), or None
        255 on the garment (and on who wears it), soft at its edge.
    """
    height, width = pixels.shape[:2]
    small = np.asarray(
        Image.fromarray(pixels).resize(
            (max(width // _STEP, 8), max(height // _STEP, 8)), Image.Resampling.BOX
        ),
        np.float32,
    )
    band = max(2, round(0.05 * min(small.shape[:2])))
    border = np.ones(small.shape[:2], bool)
    border[band:-band, band:-band] = False
    top = np.median(small[:band].reshape(-1, 3), axis=0)
    studio = bool(top.min() > _WHITE)
    if studio:
        found = np.abs(small - top).max(-1) > 14
    else:
        distances = _distances(small, np.median(small[border], axis=0))
        found = distances > np.percentile(distances[border], 88) * 1.25 + 6
    found = _single(found)
    share = found.mean()
    if not 0.08 < share < 0.72:
        return None
    rows, columns = (slice(size // 4, size - size // 4) for size in found.shape)
    if not studio and (found[border].mean() > 0.12 or found[rows, columns].mean() < 0.35):
        return None
    large = Image.fromarray((found * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(large.filter(ImageFilter.GaussianBlur(1.5)))


class Worn:
    """Lays garments that were cut out of flat photos on the models of studio photos.

    A rough picture of a garment worn: it is what tells the network that a dress on the floor and a dress on a
    model before white are one kind of thing, and of one product where no shop shows it both ways.

    Parameters
    ----------
    photos : sequence of (Photo, kind)
        Studio photos before white, of models, and the kind of garment that each shows.
    """

    def __init__(self, photos: Sequence[tuple[Photo, str | None]]) -> None:
        self._upper: list[_Body] = []
        self._lower: list[_Body] = []
        for photo, kind in photos:
            region = _region(kind)
            if region is None or photo.mask is None:
                continue
            body = _upper_body(photo) if region in ("upper", "whole") else _lower_body(photo)
            if body is not None:
                (self._upper if region in ("upper", "whole") else self._lower).append(body)

    def wears(self, kind: str | None) -> bool:
        """Tell whether a garment of a kind can be shown worn."""
        needed = {"upper": (self._upper,), "lower": (self._lower,), "whole": (self._upper, self._lower)}
        region = _region(kind)
        return region is not None and all(needed[region])

    def view(self, photo: Photo, kind: str, side: int, rng: np.random.Generator) -> Pixels:
        """Return a view of the garment worn; `wears` said that it can be."""
        if photo.mask is None:
            raise ValueError("the garment was not found in its photo")
        garment = _cropped(photo)
        ratio = garment.shape[0] / garment.shape[1]
        region = _region(kind)
        if region == "lower":
            body = self._lower[rng.integers(len(self._lower))]
            scene = body.pixels.copy()
            width = body.width * (rng.uniform(1.1, 1.6) if kind == "skirt" else rng.uniform(1, 1.25))
            top = rng.uniform(0.04, 0.14) * len(scene)
            _lay(scene, garment, body.centre, top, (width, width * ratio * rng.uniform(0.9, 1.15)))
        elif region == "upper":
            body = self._upper[rng.integers(len(self._upper))]
            scene = body.pixels.copy()
            width = body.width * rng.uniform(1.1, 1.45)
            top = body.top - rng.uniform(-0.01, 0.04) * len(scene)
            _lay(scene, garment, body.centre, top, (width, width * ratio * rng.uniform(0.9, 1.15)))
        else:
            scene = self._dressed(garment, ratio, rng)
        return _lit(_warped(scene, side, rng, 0.5), rng)

    def _dressed(self, garment: Pixels, ratio: float, rng: np.random.Generator) -> Pixels:
        """Put the head of one photo above the legs of another, and a dress between them."""
        upper = self._upper[rng.integers(len(self._upper))]
        lower = self._lower[rng.integers(len(self._lower))]
        scale = 0.8 * upper.width / lower.width
        legs = _resized(
            lower.pixels, max(1, int(lower.pixels.shape[1] * scale)), max(1, int(len(lower.pixels) * scale))
        )
        width = upper.width * rng.uniform(1.05, 1.5)
        length = min(width * ratio * rng.uniform(0.95, 1.2), 3.2 * upper.width)
        hem = upper.top + length
        scene = np.full(
            (int(max(0.92 * hem + 0.45 * len(legs), len(upper.pixels))), upper.pixels.shape[1], 3),
            255,
            np.uint8,
        )
        chest = min(len(upper.pixels), int(upper.top + 0.6 * length))
        scene[:chest] = upper.pixels[:chest]
        first, left = int(hem - 0.5 * len(legs)), int(upper.centre - lower.centre * scale)
        start, end = max(chest, first), min(len(scene), first + len(legs))
        x0, x1 = max(0, left), min(scene.shape[1], left + legs.shape[1])
        if start < end and x0 < x1:
            scene[start:end, x0:x1] = legs[start - first : end - first, x0 - left : x1 - left]
        rise = 0.02 * len(scene)
        _lay(scene, garment, upper.centre, upper.top - rise, (width, length + rise))
        return scene


def _region(kind: str | None) -> str | None:
    """Return the part of the body that a kind of garment is laid on, or None."""
    region = BY_NAME[kind].region if kind in BY_NAME else None
    return region if region in ("upper", "lower", "whole") else None


class _Body(NamedTuple):
    """A model in a photo: where shoulders or waist are, how wide and where in the middle; in pixels."""

    pixels: Pixels
    top: float
    width: float
    centre: float


def _upper_body(photo: Photo) -> _Body | None:
    """Find the shoulders below a head that is in the photo."""
    mask = np.asarray(photo.mask) > 128
    height, width = mask.shape
    if photo.pixels[:3].min() <= 225:
        return None
    widths = mask.sum(1)
    torso = float(np.median(widths[int(0.45 * height) : int(0.8 * height)]))
    wide = np.flatnonzero(widths > 0.72 * torso)
    if not 0.15 * width < torso < 0.8 * width or not len(wide) or not 0.06 < wide[0] / height < 0.4:
        return None
    return _Body(photo.pixels, float(wide[0]), torso, float(np.flatnonzero(mask[height // 2]).mean()))


def _lower_body(photo: Photo) -> _Body | None:
    """Find the hips of somebody whose upper part is outside the photo."""
    mask = np.asarray(photo.mask) > 128
    height, width = mask.shape
    if photo.pixels[:3].min() >= 200 or not mask[int(0.6 * height)].any() or not mask[height // 5].any():
        return None
    hips = float(np.median(mask[int(0.12 * height) : int(0.35 * height)].sum(1)))
    if not 0.12 * width < hips < 0.6 * width:
        return None
    return _Body(photo.pixels, 0.0, hips, float(np.flatnonzero(mask[height // 5]).mean()))


def _cropped(photo: Photo) -> Pixels:
    """Return the garment and its mask as a fourth channel, cut to what the mask covers."""
    mask = np.asarray(photo.mask)
    rows, columns = (np.flatnonzero((mask > 128).any(axis)) for axis in (1, 0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.dstack([photo.pixels, mask])[part]


def _lay(scene: Pixels, garment: Pixels, centre: float, top: float, size: tuple[float, float]) -> None:
    """Lay a garment with its mask on a scene, which is changed; what reaches over its edge is cut off."""
    laid = _resized(garment, max(8, int(size[0])), max(8, int(size[1])))
    y, x = int(top), int(centre - laid.shape[1] / 2)
    y0, x0 = max(0, y), max(0, x)
    y1, x1 = min(len(scene), y + len(laid)), min(scene.shape[1], x + laid.shape[1])
    if y0 >= y1 or x0 >= x1:
        return
    part = laid[y0 - y : y1 - y, x0 - x : x1 - x]
    share = part[..., 3:] / np.float32(255)
    scene[y0:y1, x0:x1] = (part[..., :3] * share + scene[y0:y1, x0:x1] * (1 - share)).astype(np.uint8)


def _resized(pixels: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def _distances(pixels: NDArray[np.float32], colour: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return distances from a colour; light falls unevenly on a floor, so brightness counts for less."""
    change = pixels - colour
    brightness = change @ np.array([0.3, 0.6, 0.1], np.float32)
    chroma = change - brightness[..., None]
    distances: NDArray[np.float32] = np.sqrt((0.6 * brightness) ** 2 + 2 * (chroma**2).sum(-1))
    return distances


def _single(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop specks, fill holes, and keep the parts that are not small beside the largest."""
    from scipy import ndimage

    smooth = ndimage.binary_closing(ndimage.binary_opening(found), iterations=3)
    labels, count = ndimage.label(smooth)
    if not count:
        return np.zeros_like(found)
    sizes = ndimage.sum(smooth, labels, range(1, count + 1))
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(
        np.isin(labels, np.flatnonzero(sizes > 0.15 * sizes.max()) + 1)
    )
    return filled


def _warped(pixels: Pixels, side: int, rng: np.random.Generator, least: float) -> Pixels:
    """Return a square part of a photo, at least so much of its area: stretched, tilted, mirrored or not.

    A fourth channel is taken for a mask: beyond the photo's edge it is 0.
    """
    height, width = pixels.shape[:2]
    area, aspect = rng.uniform(least, 1) * height * width, math.exp(rng.uniform(-0.25, 0.25))
    part_width, part_height = min(math.sqrt(area * aspect), width), min(math.sqrt(area / aspect), height)
    x = part_width / 2 + rng.uniform(0, 1) * (width - part_width)
    y = part_height / 2 + rng.uniform(0, 1) * (height - part_height)
    tilt, mirror = math.radians(rng.uniform(-12, 12)), -1 if rng.random() < 0.5 else 1
    cos, sin = math.cos(tilt), math.sin(tilt)
    sx, sy = part_width / side * mirror, part_height / side
    image = Image.fromarray(pixels)
    reduction = min(part_width, part_height) / side
    if reduction > 1.6:
        image = image.filter(ImageFilter.BoxBlur(0.4 * reduction - 0.4))
    edge = tuple(int(value) for value in np.median(pixels[:6, :, :3].reshape(-1, 3), axis=0))
    half = side / 2
    return np.asarray(
        image.transform(
            (side, side),
            Image.Transform.AFFINE,
            (
                sx * cos,
                -sy * sin,
                x - (sx * cos - sy * sin) * half,
                sx * sin,
                sy * cos,
                y - (sx * sin + sy * cos) * half,
            ),
            Image.Resampling.BILINEAR,
            fillcolor=(*edge, 0)[: pixels.shape[2]],
        )
    )


def _lit(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Return a view in other light, taken by another camera."""
    values = pixels.astype(np.float32)
    values *= rng.uniform(0.7, 1.2) * np.exp(rng.normal(0, 0.05, 3)).astype(np.float32)
    mean = values.mean()
    values = (values - mean) * rng.uniform(0.7, 1.3) + mean
    brightness = values @ np.array([0.299, 0.587, 0.114], np.float32)
    values = (values - brightness[..., None]) * rng.uniform(0.75, 1.25) + brightness[..., None]
    lit: Pixels = np.clip(values, 0, 255).astype(np.uint8)
    return lit


def _background(scene: Photo | None, side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return what lies beside another photo's garment, or a plain surface in uneven light."""
    kind = rng.random()
    if scene is not None and scene.mask is not None and kind < 0.6:
        found = _beside(scene, rng)
        if found is not None:
            return _resized(found, side, side).astype(np.float32)
    if kind < 0.85:
        colour = rng.uniform(225, 255) + rng.normal(0, 2, 3)
    else:
        colour = rng.uniform(30, 230) + rng.normal(0, 25, 3)
    slope, angle = np.linspace(-1, 1, side), rng.uniform(0, 2 * math.pi)
    shade = (math.cos(angle) * slope[:, None] + math.sin(angle) * slope) * rng.uniform(0, 14)
    surface = colour + shade[..., None] + rng.normal(0, 1.5, (side, side, 1))
    return np.clip(surface, 0, 255).astype(np.float32)


def _beside(scene: Photo, rng: np.random.Generator) -> Pixels | None:
    """Return a part of a photo at one of its edges that shows none of its garment."""
    height, width = scene.pixels.shape[:2]
    for _ in range(_TRIES):
        size = int(rng.uniform(0.22, 0.4) * min(height, width))
        y, x = int(rng.integers(0, height - size + 1)), int(rng.integers(0, width - size + 1))
        y, x = ((0, x), (height - size, x), (y, 0), (y, width - size))[rng.integers(4)]
        part = np.s_[y : y + size, x : x + size]
        if np.asarray(scene.mask)[part].mean() < 12:
            return scene.pixels[part]
    return None
