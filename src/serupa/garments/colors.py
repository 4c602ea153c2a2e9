"""The colours of a garment in a photo, by name: in a perceptual space, the background left out.

The photo is made small and its pixels go to Oklab [1]_, where equal distances look about equally different. A
few clusters (k-means) stand for its colours. A cluster with a larger share of the photo's frame than of its
centre is background: the garment is what a shop photo is centred on. Skin counts little where there is
something else. What is left is weighted by how near to the centre it lies, and each cluster gets a name.

There is no model in this, so it fails where its assumptions do: a white shirt on a white table, a garment
beside another one, a photo taken in coloured light.

References
----------
.. [1] B. Ottosson, "A perceptual color space for image processing", 2020, bottosson.github.io/posts/oklab.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serupa.images import Crop, Photo, open_photo
from serupa.images.color import linear_rgb, oklab, srgb

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

NAMES = (
    "black", "grey", "white", "beige", "brown", "red", "pink", "orange", "yellow", "green", "blue", "navy",
    "purple",
)  # fmt: skip
"""Every name that a colour can have."""

NEUTRAL = frozenset({"black", "grey", "white", "beige", "navy"})
"""Colours that go with every other one."""

_BASIC = {
    "gray": "grey",
    "navy": "blue",
    "beige": "brown",
    "lavender": "purple",
    "violet": "purple",
    "khaki": "brown",
}
"""Shops' words, and finer names, for one of the eleven basic colours."""

_SIDE = 96  # pixels; colours do not need more, and k-means over 9,000 of them takes some 20 ms
_CLUSTERS = 8
_ROUNDS = 12
_CHROMA = 2.0  # hue tells garments from a background better than light and shade do
_FRAME = 0.04  # width of the frame, in shares of the shorter side
_CENTRE = 0.2  # half the side of the centre, in shares of each side
_SPREAD = 0.2  # of the weight that falls off from the centre
_ENOUGH = 0.2  # share of the weight that must be left when something is taken out
_SKIN = 0.25  # weight of skin where there is something else
_LEAST = 0.08  # share below which a colour is not named


@dataclass(frozen=True, slots=True)
class Color:
    """A colour of a garment.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    share : float
        Of the garment, 0 to 1.
    rgb : str
        The mean colour as ``#rrggbb``.
    lightness, chroma, hue : float
        In Oklab's polar form: 0 to 1; 0 for grey to about 0.3; degrees, 0 to 360.
    """

    name: str
    share: float
    rgb: str
    lightness: float
    chroma: float
    hue: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "name": self.name,
            "share": round(self.share, 4),
            "rgb": self.rgb,
            "lightness": round(self.lightness, 4),
            "chroma": round(self.chroma, 4),
            "hue": round(self.hue, 1),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Color:
        """Read what `to_dict` gives."""
        return cls(**{field: data[field] for field in cls.__slots__})


def colors_of(photo: Photo, crop: Crop | None = None) -> tuple[Color, ...]:
    """Return the colours of the garment in a photo, the largest share first.

    Parameters
    ----------
    photo : path, bytes or binary file
    crop : Crop, optional
        The part of the photo to look at.

    Returns
    -------
    tuple of Color
        At least one; shares below 0.08 are left out, the others add up to at most 1.

    Raises
    ------
    InvalidInputError
        If the photo cannot be used.
    """
    image = open_photo(photo, min_side=_SIDE, crop=crop)
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    return colors_in(np.asarray(image))


def colors_in(pixels: NDArray[np.uint8]) -> tuple[Color, ...]:
    """Return the colours of the garment in sRGB pixels ``(h, w, 3)``, as `colors_of`."""
    lab = oklab(pixels.reshape(-1, 3))
    weights = garment_weights(lab, pixels.shape[:2])
    garment = weights > 0
    lab, weights = lab[garment], weights[garment]
    labels = _clusters(lab, _CLUSTERS)
    by_name: dict[str, tuple[float, Floats]] = {}
    for label in range(_CLUSTERS):
        member = labels == label
        if not member.any():
            continue
        share = float(weights[member].sum() / weights.sum())
        mean = np.average(lab[member], axis=0, weights=weights[member])
        name = name_of(mean)
        before, center = by_name.get(name, (0.0, np.zeros(3)))
        by_name[name] = (before + share, center + share * mean)
    ordered = sorted(by_name.items(), key=lambda entry: (-entry[1][0], entry[0]))
    named = [entry for entry in ordered if entry[1][0] >= _LEAST] or ordered[:1]
    return tuple(_color(name, share, total / share) for name, (share, total) in named)


def _color(name: str, share: float, lab: Floats) -> Color:
    lightness, chroma, hue = polar(lab)
    rgb = "#{:02x}{:02x}{:02x}".format(*srgb(linear_rgb(lab)).tolist())
    return Color(name, share, rgb, float(lightness), float(chroma), float(hue))


def garment_weights(lab: Floats, size: tuple[int, int]) -> Floats:
    """Return how much each pixel says about the garment, 0 where it is background.

    Parameters
    ----------
    lab : (h * w, 3) array of float64
        The photo in Oklab, row by row.
    size : (int, int)
        Its height and width.

    Returns
    -------
    (h * w,) array of float64
        Some are above 0.
    """
    height, width = size
    y, x = np.meshgrid(
        (np.arange(height) + 0.5) / height - 0.5, (np.arange(width) + 0.5) / width - 0.5, indexing="ij"
    )
    nearness = np.exp(-(x**2 + y**2) / (2 * _SPREAD**2)).ravel()
    margin = max(1, round(_FRAME * min(size)))
    frame = np.ones(size, bool)
    frame[margin:-margin, margin:-margin] = False
    centre = (np.abs(x) < _CENTRE) & (np.abs(y) < _CENTRE)
    labels = _clusters(lab, _CLUSTERS)
    of_frame = np.bincount(labels[frame.ravel()], minlength=_CLUSTERS) / frame.sum()
    of_centre = np.bincount(labels[centre.ravel()], minlength=_CLUSTERS) / centre.sum()
    background = (of_frame > of_centre)[labels]
    if nearness[~background].sum() < _ENOUGH * nearness.sum():
        background[:] = False  # the garment has the background's colour
    weights = np.where(background, 0.0, nearness)
    skin = _is_skin(lab)
    if weights[~skin].sum() > _ENOUGH * weights.sum():
        weights[skin] *= _SKIN
    return np.asarray(weights, np.float64)


def _is_skin(lab: Floats) -> Mask:
    """Tell which pixels have a colour that skin can have; beige and brown clothes have it too."""
    lightness, chroma, hue = polar(lab)
    return (
        (hue > 32) & (hue < 78) & (chroma > 0.035) & (chroma < 0.13) & (lightness > 0.3) & (lightness < 0.9)
    )


def _clusters(lab: Floats, count: int) -> NDArray[np.intp]:
    """Deal pixels out to at most `count` clusters: k-means from starts as far apart as can be."""
    points = lab * (1.0, _CHROMA, _CHROMA)
    first = points[((points - points.mean(axis=0)) ** 2).sum(axis=1).argmin()]
    centers, apart = [first], ((points - first) ** 2).sum(axis=1)
    for _ in range(count - 1):
        centers.append(points[apart.argmax()])
        apart = np.minimum(apart, ((points - centers[-1]) ** 2).sum(axis=1))
    means = np.array(centers)
    for _ in range(_ROUNDS):
        # the squared length of a point is the same for all centres
        labels = ((means**2).sum(axis=1) - 2 * points @ means.T).argmin(axis=1)
        sizes = np.bincount(labels, minlength=count)
        sums = np.stack([np.bincount(labels, points[:, axis], minlength=count) for axis in range(3)], axis=1)
        means = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], means)
    return np.asarray(labels, np.intp)


def polar(lab: Floats) -> tuple[Floats, Floats, Floats]:
    """Return lightness, chroma and hue (degrees, 0 to 360) of Oklab colours ``(..., 3)``."""
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360
    return lab[..., 0], np.hypot(lab[..., 1], lab[..., 2]), hue


def lab_of(color: Color) -> Floats:
    """Return a colour in Oklab, ``(3,)``."""
    angle = np.radians(color.hue)
    return np.array([color.lightness, color.chroma * np.cos(angle), color.chroma * np.sin(angle)])


def name_of(lab: Floats) -> str:
    """Return the name of one Oklab colour ``(3,)``: one of `NAMES`.

    The bounds are those of everyday words for clothes: light red is pink, dark orange is brown, pale orange
    is beige, dark blue is navy, and what has next to no chroma is black, grey or white.

    Examples
    --------
    >>> [name_of(oklab(rgb)) for rgb in ([20, 20, 20], [200, 30, 40], [25, 35, 70], [225, 205, 170])]
    ['black', 'red', 'navy', 'beige']
    """
    lightness, chroma, hue = (float(value) for value in polar(lab))
    if lightness < 0.26 and chroma < 0.05:
        return "black"
    if chroma < 0.022 or (chroma < 0.035 and lightness < 0.35):
        return "black" if lightness < 0.34 else "white" if lightness > 0.82 else "grey"
    for end, name in _HUES:
        if hue < end:
            return name(lightness, chroma)
    return _pinks(lightness, chroma)


def basic_name(name: str) -> str | None:
    """Return the basic colour of a name, to compare the names that two parties give; None if it is none.

    Examples
    --------
    >>> basic_name("Gray"), basic_name("navy"), basic_name("Blue"), basic_name("Sunset")
    ('grey', 'blue', 'blue', None)
    """
    plain = name.lower().strip()
    basic = _BASIC.get(plain, plain)
    return basic if basic in NAMES else None


def _pinks(lightness: float, chroma: float) -> str:
    return "pink" if lightness > 0.6 else "red"


def _reds(lightness: float, chroma: float) -> str:
    if lightness > 0.76:
        return "pink"
    return "red" if chroma > 0.08 else "brown"


def _oranges(lightness: float, chroma: float) -> str:
    if chroma < 0.055:
        return "beige" if lightness > 0.62 else "brown"
    if lightness > 0.65 and chroma > 0.085:
        return "orange"
    return "beige" if lightness > 0.72 else "brown"


def _yellows(lightness: float, chroma: float) -> str:
    if lightness < 0.62:
        return "green"  # olive
    return "yellow" if chroma > 0.07 else "beige"


def _greens(_lightness: float, _chroma: float) -> str:
    return "green"


def _blues(lightness: float, chroma: float) -> str:
    return "navy" if lightness < 0.36 and chroma < 0.11 else "blue"


def _purples(lightness: float, chroma: float) -> str:
    return "navy" if lightness < 0.33 and chroma < 0.06 else "purple"


def _magentas(lightness: float, chroma: float) -> str:
    return "pink" if lightness > 0.6 else "purple"


_HUES = (
    (9, _pinks), (36, _reds), (85, _oranges), (122, _yellows), (187, _greens), (283, _blues), (318, _purples),
    (345, _magentas),
)  # fmt: skip
"""Where each family of hues ends, in degrees of Oklab; from 345 on the pinks again."""
