"""Finds the garments in a photo of a dressed person, from the feature maps of the catalogue's encoder.

The photo's long side is cut into 1, 2 and 4 squares, the short side into as many as cover it, and each square
goes through the encoder. A cell of a feature map sees a part of its square; at every point of a fine grid the
cells of the three scales are interpolated, and a small network with one hidden layer gives the chances that
the point shows background, the person, or a garment of the upper body, of the lower or the whole body, or
shoes. A garment's box is the rectangle in which the chance, less a threshold, adds up to most [1]_.

References
----------
.. [1] J. Bentley, "Programming pearls: algorithm design techniques", Communications of the ACM 27, 1984.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serupa.errors import DamagedError, UnavailableError
from serupa.garments import kinds
from serupa.garments.head import UNSURE, KindGuess, KindHead, head_file, head_of
from serupa.images import Crop, Photo, open_photo, read_bytes

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.encoders import Card, Encoder

Rows = NDArray[np.float32]

SCALES = (1, 2, 4)
"""Into how many squares the long side is cut."""

CLASSES = ("background", "person", "upper", "lower", "whole", "feet")
"""What a point of a photo can show."""

_PARTS = (
    (("upper",), 0.25),
    (("lower", "whole"), 0.25),
    (("feet",), 0.15),
)  # what is boxed together, from where
_LEAST = 0.004  # share of the photo, weighed by the chance, below which nothing was found
_FINE = 3  # points a cell of the finest grid, along each side, at which a box can end
_GREY = (127, 127, 127)
_ARRAYS = ("weight", "bias", "out_weight", "out_bias")


@dataclass(frozen=True, slots=True)
class Region:
    """A garment in a photo.

    Parameters
    ----------
    part : {"upper", "lower", "whole", "feet"}
        Where it is worn.
    box : Crop
        Where it is in the photo.
    score : float
        The mean chance inside the box, 0 to 1.
    kind : KindGuess
        What it seems to be, of the kinds worn there.
    """

    part: str
    box: Crop
    score: float
    kind: KindGuess

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "part": self.part,
            "kind": self.kind.name,
            "kind_probability": round(self.kind.probability, 4),
            "score": round(self.score, 4),
            "box": [round(side, 4) for side in (self.box.x, self.box.y, self.box.w, self.box.h)],
        }


@dataclass(frozen=True, slots=True, eq=False)
class RegionHead:
    """The network for one encoder's feature maps. Find the one of an encoder with `region_head_of`.

    Parameters
    ----------
    weight : (3, d, m) array of float32
        From the cells of each scale to m hidden units.
    bias : (m,) array of float32
    out_weight : (m, 6) array of float32
        To `CLASSES`.
    out_bias : (6,) array of float32
    """

    weight: Rows
    bias: Rows
    out_weight: Rows
    out_bias: Rows

    def __post_init__(self) -> None:
        scales, _, hidden = self.weight.shape
        shapes = (self.bias.shape, self.out_weight.shape, self.out_bias.shape)
        wanted = ((hidden,), (hidden, len(CLASSES)), (len(CLASSES),))
        if scales != len(SCALES) or shapes != wanted:
            raise ValueError(f"the parts of a head do not fit: {shapes}")
        if not all(np.isfinite(getattr(self, name)).all() for name in _ARRAYS):
            raise ValueError("a head holds NaN or infinity")

    def chances(self, hidden: Rows) -> Rows:
        """Return the chances ``(..., 6)`` from sums over the scales ``(..., m)``."""
        x = hidden + self.bias
        x = 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))  # GELU, Hendrycks and Gimpel 2016
        scores = x @ self.out_weight + self.out_bias
        raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float32)

    def save(self, file: Path) -> None:
        """Write the head as an .npz file, in half precision."""
        arrays = {name: getattr(self, name).astype(np.float16) for name in _ARRAYS}
        with file.open("wb") as out:
            np.savez_compressed(out, **arrays)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        DamagedError
            If it is not what was written.
        """
        try:
            with np.load(file, allow_pickle=False) as arrays:
                return cls(**{name: arrays[name].astype(np.float32) for name in _ARRAYS})
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise DamagedError(file, f"is no head for regions ({error})", "make it again") from error


def region_head_of(card: Card, weights_sha256: str) -> RegionHead | None:
    """Return the head that was learned for an encoder, or None; found as that for kinds is.

    Raises
    ------
    DamagedError
        If there is one and it cannot be read, or is of another encoder.
    """
    file = head_file(card, weights_sha256, "regions")
    if file is None:
        return None
    head = _read(file)
    if head.weight.shape[1] != card.dimension:
        raise DamagedError(file, f"is for maps of {head.weight.shape[1]} values, not {card.dimension}")
    return head


@cache
def _read(file: Path) -> RegionHead:
    return RegionHead.load(file)


def find_regions(encoder: Encoder, photo: Photo, names: KindHead | None = None) -> tuple[Region, ...]:
    """Find the garments in a photo.

    Parameters
    ----------
    encoder : Encoder
    photo : path, bytes or binary file
    names : KindHead, optional
        What names their kinds; without it they are unknown.

    Returns
    -------
    tuple of Region
        The one that shows most first; at most one for the upper body, for the lower or the whole body, and
        for shoes. Empty where none is found.

    Raises
    ------
    UnavailableError
        If nothing has been learned for the encoder.
    SerupaError
        If the photo cannot be read.
    """
    head = region_head_of(encoder.card, encoder.weights_sha256)
    if head is None:
        problem = "finds no garments in a photo: nothing was learned for it"
        raise UnavailableError(encoder.name, problem, "use an encoder that comes with Serupa")
    data = read_bytes(photo)
    image = open_photo(data, min_side=SCALES[-1] * encoder.input_size)
    found = _boxes(chances_of(encoder, image, head))
    if names is None or not found:
        return tuple(Region(part, box, score, KindGuess(None, 0.0)) for part, box, score in found)
    embeddings = encoder.encode(np.stack([encoder.preprocess(data, box) for _, box, _ in found]))
    guesses = zip(found, names.probabilities(embeddings), strict=True)
    return tuple(Region(part, box, score, _named(names, part, row)) for (part, box, score), row in guesses)


def regions_in(catalog: Catalog, photo: Photo) -> tuple[Region, ...]:
    """Find the garments in a photo with a catalogue's encoder; as `find_regions`."""
    encoder = catalog.encoder
    return find_regions(encoder, photo, head_of(encoder.card, encoder.weights_sha256))


def chances_of(encoder: Encoder, image: Image.Image, head: RegionHead) -> Rows:
    """Return the chances ``(h, w, 6)`` of `CLASSES` on a grid over an RGB image."""
    side = SCALES[-1] * encoder.input_size
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    left, top = (side - width) // 2, (side - height) // 2
    canvas = Image.new("RGB", (side, side), _GREY)
    canvas.paste(image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0), (left, top))
    hidden: Rows = np.zeros((), np.float32)
    for weight, parts in zip(head.weight, SCALES, strict=True):
        length = side // parts
        xs, ys = _starts(left, width, length), _starts(top, height, length)
        size = (encoder.input_size, encoder.input_size)
        pixels = [
            np.asarray(canvas.resize(size, Image.Resampling.BILINEAR, (x, y, x + length, y + length)))
            for y in ys
            for x in xs
        ]
        maps = np.einsum("ndhw,dm->nhwm", encoder.feature_maps(np.stack(pixels)), weight, optimize=True)
        cells = maps.shape[1]
        joined = maps.reshape(len(ys), len(xs), cells, cells, -1).transpose(0, 2, 1, 3, 4)
        joined = joined.reshape(len(ys) * cells, len(xs) * cells, -1)
        points = SCALES[-1] * cells  # along the square
        down = _weights(ys, length, cells, _points(top, height, side, points))
        across = _weights(xs, length, cells, _points(left, width, side, points))
        part = np.einsum("ya,abm,xb->yxm", down, joined, across, optimize=True)
        hidden = hidden + part
    return head.chances(hidden)


def _starts(start: float, length: float, side: float) -> list[float]:
    """Return where squares begin that cover a length evenly; one in its middle where it is shorter."""
    if length <= side:
        return [min(max(0.0, start + (length - side) / 2), SCALES[-1] * side)]
    count = math.ceil(length / side - 1e-6)
    return [float(one) for one in np.linspace(start, start + length - side, count)]


def _points(start: float, length: float, side: float, points: int) -> NDArray[np.float64]:
    """Return where the points of a photo's grid are on the canvas."""
    count = max(4, round(_FINE * points * length / side))
    return start + (np.arange(count) + 0.5) * length / count


def _weights(starts: Sequence[float], side: float, cells: int, points: NDArray[np.float64]) -> Rows:
    """Return what cells of squares beside each other count at points, ``(n, len(starts) * cells)``.

    Linear between the middles of cells; where squares overlap, the one whose middle is nearer counts more.
    """
    weights = np.zeros((len(points), len(starts), cells))
    rows = np.arange(len(points))
    for number, start in enumerate(starts):
        at = (points - start) / side
        near = np.where((at >= 0) & (at <= 1), np.minimum(at, 1 - at) + 0.02, 0.0)
        place = np.clip(at * cells - 0.5, 0, cells - 1)
        first = np.minimum(place.astype(int), cells - 2)
        weights[rows, number, first] += near * (1 - (place - first))
        weights[rows, number, first + 1] += near * (place - first)
    flat = weights.reshape(len(points), -1)
    return np.asarray(flat / np.maximum(flat.sum(axis=1, keepdims=True), 1e-9), np.float32)


def _boxes(chances: Rows) -> list[tuple[str, Crop, float]]:
    """Return part, box and score of what a grid of chances ``(h, w, 6)`` shows, the most first."""
    height, width = chances.shape[:2]
    found: list[tuple[float, str, Crop, float]] = []
    for parts, threshold in _PARTS:
        each = chances[..., [CLASSES.index(part) for part in parts]]
        values = each.sum(axis=-1)
        x0, y0, x1, y1, most = largest_sum(values - threshold)
        if most < _LEAST * values.size:
            continue
        inside = each[y0:y1, x0:x1]
        part = parts[int(inside.sum(axis=(0, 1)).argmax())]
        box = Crop(x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height)
        found.append((most, part, box, float(inside.sum(axis=-1).mean())))
    return [one[1:] for one in sorted(found, key=lambda one: -one[0])]


def largest_sum(values: NDArray[np.floating]) -> tuple[int, int, int, int, float]:
    """Return the rectangle of the largest sum of values ``(h, w)``: left, top, right, bottom, and the sum.

    Examples
    --------
    >>> largest_sum(np.array([[-1.0, 2.0, -1.0], [-1.0, 3.0, 1.0]]))
    (1, 0, 2, 2, 5.0)
    """
    height, width = values.shape
    sums = np.concatenate([np.zeros((1, width)), values.cumsum(axis=0)])
    top, bottom = np.triu_indices(height + 1, 1)
    columns = sums[bottom] - sums[top]  # for every pair of rows, Kadane's way along the columns
    now, start = np.zeros(len(top)), np.zeros(len(top), int)
    best, left, right = np.full(len(top), -np.inf), start.copy(), start.copy()
    for x in range(width):
        start = np.where(now <= 0, x, start)
        now = np.maximum(now, 0) + columns[:, x]
        better = now > best
        best, left, right = (
            np.where(better, now, best),
            np.where(better, start, left),
            np.where(better, x + 1, right),
        )
    k = int(best.argmax())
    return int(left[k]), int(top[k]), int(right[k]), int(bottom[k]), float(best[k])


def _named(names: KindHead, part: str, chances: Rows) -> KindGuess:
    """Name the likeliest kind that is worn at a part of the body."""
    there = np.array([kinds.BY_NAME[name].region == part for name in names.kinds])
    if not there.any():
        return KindGuess(None, 0.0)
    own = np.where(there, chances, 0.0)
    best = int(own.argmax())
    chance = float(own[best] / max(float(own.sum()), 1e-9))
    return KindGuess(names.kinds[best] if chance >= UNSURE else None, chance)
