"""Sewing: what all garments share: measures, poses, materials, stitches, buttons and folds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from serupa_sample.cloth import Crease, Part, Seam
from serupa_sample.fabrics import Fabric, rgb
from serupa_sample.outlines import Point, Points, ellipse, flip, path


@dataclass(frozen=True)
class Pose:
    """How a garment lies, hangs or is worn.

    Parameters
    ----------
    name : str
        ``flat``, ``hang`` or ``worn``.
    arms : two pairs of float
        Angle of upper arm and forearm from straight down, outwards, for the right and left of the photo.
    ease : float
        Width of the body, where 1 is lying flat.
    """

    name: str
    arms: tuple[tuple[float, float], tuple[float, float]]
    ease: float


@dataclass(frozen=True)
class Materials:
    """What a garment is made of."""

    main: Fabric
    trim: Fabric
    lining: Fabric
    button: Fabric
    thread: str | None = None
    sleeve: Fabric | None = None


@dataclass(frozen=True)
class Cut:
    """Measures of a top in centimetres; widths are halves, y is counted from the neck's side."""

    length: float = 71
    neck: float = 8.6
    drop: float = 9.5
    shoulder: float = 21.8
    slope: float = 5.0
    chest: float = 25
    armhole: float = 24
    waist: float = 24.8
    waist_y: float = 44
    hem: float = 25.2
    neckline: str = "crew"
    collar: str = "crew"
    sleeve: float = 20.0
    sleeve_end: float = 17.5
    puff: float = 0.0
    cuff: str = "hem"
    front: str = "closed"
    hemline: str = "straight"
    pockets: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    folds: float = 0.0


def neck_edge(cut: Cut) -> Points:
    """Return the right half of the front neckline, from the middle to the side of the neck."""
    n, d = cut.neck, cut.drop
    if cut.neckline == "vee":
        return path((0, d), (n * 0.55, d * 0.46, n, 0))
    if cut.neckline == "square":
        return path((0, d), (n * 0.86, d), (n * 0.93, d, n * 0.94, d - 1.2), (n, 0))
    if cut.neckline == "sweetheart":
        return path((0, d), (n * 0.3, d - 4, n * 0.8, d - 4.5, n, 0))
    return path((0, d), (n * 0.64, d, n * 0.97, d * 0.5, n, 0))


def threads(lines: list[Points], cloth: Materials) -> list[Seam]:
    """Return lines of stitches in the thread's own colour, or in a shade of the cloth."""
    if cloth.thread is None:
        return [Seam(line, 0.16, 0.78, dash=0.5) for line in lines]
    return [Seam(line, 0.2, color=rgb(cloth.thread), dash=0.55) for line in lines]


def button(x: float, y: float, cloth: Materials, radius: float = 0.65) -> Part:
    """Return a button."""
    return Part(ellipse(x, y, radius, radius, 20), cloth.button, lift=0.3, round=0.35, rumple=0)


def crease(a: Points, b: Points, rng: Generator, *, width: float, height: float) -> Crease:
    """Return a fold from one point to another, bowed a little."""
    t = np.linspace(0, 1, 12)[:, None]
    bow = rng.uniform(-0.14, 0.14) * np.array([b[1] - a[1], a[0] - b[0]])
    return Crease((1 - t) * a + t * b + np.sin(t * np.pi) * bow, width, height)


def radiate(
    rng: Generator,
    at: Point,
    *,
    angles: tuple[float, float],
    lengths: tuple[float, float],
    count: int,
    height: float,
) -> list[Crease]:
    """Return folds that run out from a point; angles in degrees, 0 to the right and 90 down."""
    creases = []
    for _ in range(count):
        a = np.radians(rng.uniform(*angles))
        way = np.array([np.cos(a), np.sin(a)])
        start = np.array(at) + way * rng.uniform(0.5, 3.0) + rng.uniform(-1.5, 1.5, 2)
        end = start + way * rng.uniform(*lengths)
        creases.append(
            crease(start, end, rng, width=rng.uniform(2.2, 4.6), height=height * rng.uniform(0.5, 1.2))
        )
    return creases


def flipped(part: Part) -> Part:
    """Return the mirror image of a part."""
    return replace(
        part,
        outline=flip(part.outline),
        angle=-part.angle,
        origin=(-part.origin[0], part.origin[1]),
        seams=tuple(replace(s, line=flip(s.line)) for s in part.seams),
        creases=tuple(replace(c, line=flip(c.line)) for c in part.creases),
    )
