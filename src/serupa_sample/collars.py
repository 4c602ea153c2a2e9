"""Collars, necklines' bindings and hoods: from a cut's neckline to what finishes it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from serupa_sample.cloth import Drape, Part, Seam
from serupa_sample.fabrics import Fabric, solid
from serupa_sample.outlines import Points, band, ellipse, flip, mirror, normals, path, rectangle, tube
from serupa_sample.sewing import Cut, Materials, Pose, flipped, neck_edge, radiate


def collar(cut: Cut, cloth: Materials, pose: Pose, rng: Generator) -> list[Part]:
    """Return the parts of a cut's collar."""
    return COLLARS[cut.collar](cut, cloth, pose, rng)


def hood_behind(cloth: Materials, pose: Pose) -> list[Part]:
    """Return the part of a hood that lies behind the neck."""
    fabric = cloth.sleeve or cloth.main
    if pose.name != "flat":
        half = path((0, -5.5), (8, -6.5, 15, -3.5, 14.5, 5), (0, 9))
        return [Part(mirror(half), fabric, tone=0.85, round=2.0)]
    half = path((0, -21), (9, -21.5, 14.5, -14, 14, -5), (14, 1, 12, 4, 10.5, 7), (0, 12))
    opening = path((0, -16.5), (6.0, -16.5, 9.5, -10, 9.0, -3), (8.4, 3, 4, 8, 0, 10.5))
    edge = Seam(mirror(opening * 1.09), 0.2, 0.75)
    return [
        Part(mirror(half), fabric, round=1.8, seams=(edge,)),
        Part(mirror(opening), cloth.lining, tone=0.6, lift=0.0, round=0.6),
        Part(rectangle(-2.1, 1.6, 2.1, 4.2, 0.2), solid("Ecru"), lift=0.1, round=0.1, rumple=0),
    ]


def _neckline(cut: Cut) -> Points:
    """Return the whole front neckline, from the left to the right."""
    edge = neck_edge(cut)
    return np.concatenate([flip(edge)[::-1], edge[1:]])


def _around(line: Points, width: float | Points) -> Points:
    """Return the strip of a width below a neckline."""
    return np.concatenate([line, (line - normals(line) * np.reshape(width, (-1, 1)))[::-1]])


def _ribbed(cut: Cut, cloth: Materials, pose: Pose, rng: Generator) -> list[Part]:
    n = cut.neck
    wide = 2.3 if cut.collar == "crew" else 3.4
    front = Part(_around(_neckline(cut), wide), cloth.trim, lift=0.25, round=0.5, rumple=0.04)
    if pose.name == "worn":
        return [front]
    back = path((-n, -0.3), (-n * 0.6, 1.9, 0, 1.7), (n * 0.6, 1.9, n, -0.3))
    return [Part(band(back, -1.9), cloth.trim, tone=0.9, lift=0.15, round=0.35, rumple=0), front]


def _bound(cut: Cut, cloth: Materials, pose: Pose, rng: Generator) -> list[Part]:
    return [Part(_around(_neckline(cut), 0.9), cloth.main, tone=0.94, lift=0.15, round=0.25, rumple=0)]


def _ruffle(cut: Cut, cloth: Materials, pose: Pose, rng: Generator) -> list[Part]:
    line = _neckline(cut)
    frill = _around(line, 2.6 + 0.5 * np.sin(np.linspace(0, 40, len(line))))
    return [Part(frill, cloth.main, lift=0.5, round=0.4, rumple=0.1, drape=Drape(9, 0.35, 0.35))]


def _upright(cut: Cut, cloth: Materials, pose: Pose, rng: Generator) -> list[Part]:
    ring = band(_neckline(cut), 3.2)
    return [Part(ring, cloth.main, tone=0.97, lift=0.3, round=0.6, rumple=0.05)]


def _point(cut: Cut, cloth: Materials, pose: Pose, rng: Generator) -> list[Part]:
    n, d = cut.neck, cut.drop
    leaf = path(
        (0.3, d + 0.2),
        (3.0, d - 4.2, n - 1.6, -2.6),
        (n - 0.4, -3.4, n + 0.9, -0.6),
        (n + 1.4, 2.6, n + 0.2, 5.0),
        (n - 1.2, d + 5.2),
        (n - 3.6, d + 2.6, 0.3, d + 0.2),
    )
    return [*_stand(cut, cloth, pose), *_leaves(leaf, cloth.main, 0.7)]


def _camp(cut: Cut, cloth: Materials, pose: Pose, rng: Generator) -> list[Part]:
    n, d = cut.neck, cut.drop
    leaf = path(
        (0.2, d),
        (n * 0.5, d * 0.42, n - 1.3, -2.4),
        (n - 0.2, -3.2, n + 1.4, -0.4),
        (n + 3.0, 3.0, n + 4.6, 7.0),
        (n + 0.6, 8.4),
        (n + 2.6, 10.8),
        (n * 0.55, d - 0.5, 0.2, d + 1.2),
    )
    return [*_stand(cut, cloth, pose), *_leaves(leaf, cloth.main, 0.7)]


def _lapel(cut: Cut, cloth: Materials, pose: Pose, rng: Generator) -> list[Part]:
    n, d = cut.neck, cut.drop
    leaf = path(
        (-0.4, d + 0.6),
        (n * 0.42, d * 0.5, n - 1.6, -2.8),
        (n - 0.2, -3.6, n + 1.6, -0.6),
        (n + 3.4, 4.0, n + 4.4, 8.2),
        (n + 1.4, 10.0),
        (n + 5.4, 12.4),
        (n + 2.2, d * 0.66, -0.4, d + 1.2),
    )
    return [*_stand(cut, cloth, pose), *_leaves(leaf, cloth.main, 0.9)]


def _peter_pan(cut: Cut, cloth: Materials, pose: Pose, rng: Generator) -> list[Part]:
    n, d = cut.neck, cut.drop
    leaf = path(
        (0.2, d),
        (n * 0.64, d, n * 0.97, d * 0.5, n, -0.8),
        (n + 2.2, -1.4, n + 3.4, 1.8),
        (n + 4.2, 8, n * 0.9, d + 6.6, n * 0.35, d + 5.6),
        (0.4, d + 4.8, 0.2, d),
    )
    return _leaves(leaf, cloth.trim, 0.5)


def _stand(cut: Cut, cloth: Materials, pose: Pose) -> list[Part]:
    """Return the back of a turned-down collar, seen inside the neck."""
    if pose.name == "worn":
        return []
    n = cut.neck
    half = path(
        (0, -2.6), (n * 0.6, -2.8, n - 1.2, -2.8), (n + 0.4, -2.4, n + 0.4, 0), (n * 0.6, 3.0, 0, 3.2)
    )
    return [Part(mirror(half), cloth.main, tone=0.84, lift=0.3, round=0.6, rumple=0.05)]


def _leaves(leaf: Points, fabric: Fabric, lift: float) -> list[Part]:
    middle = leaf.mean(axis=0)
    stitch = Seam(middle + (leaf - middle) * 0.9, 0.15, 0.84)
    part = Part(leaf, fabric, angle=-28, lift=lift, round=0.4, rumple=0.06, seams=(stitch,))
    return [part, flipped(part)]


def _hood(cut: Cut, cloth: Materials, pose: Pose, rng: Generator) -> list[Part]:
    """Return the hood's two edges as they cross under the chin, and its cords."""
    d = cut.drop
    if pose.name == "flat":
        side = path(
            (0.2, d + 3.2),
            (5.6, d - 1, 8.6, 2, 9.4, -4),
            (12.6, -2, 13, 3, 10.6, 7),
            (6, d + 2, 0.2, d + 3.2),
        )
    else:
        side = path(
            (0.4, d + 3.5), (6, d - 2, 7.6, 2, 7.0, -5), (13, -4, 15, 3, 12, 8), (7, d + 3, 0.4, d + 3.5)
        )
    part = Part(side, cloth.sleeve or cloth.main, angle=-30, lift=0.7, round=1.3)
    parts = [flipped(part), part]
    for s in (1, -1):
        line = path((s * 3.4, d - 0.4), (s * 5.0, d + 8, s * (4.0 + s * 0.4), d + 17 + s * 0.8))
        x, y = line[-1].tolist()
        parts.append(Part(tube(line, 0.75), solid("Ecru"), lift=0.4, round=0.3, rumple=0))
        parts.append(
            Part(tube(path((x, y), (x, y + 2.2)), 0.95), cloth.button, lift=0.3, round=0.3, rumple=0)
        )
    return parts


def _bow(cut: Cut, cloth: Materials, pose: Pose, rng: Generator) -> list[Part]:
    d = cut.drop
    pleats = radiate(rng, (1.5, d), angles=(-28, 14), lengths=(4, 8), count=4, height=0.5)
    tail = path(
        (0.2, d), (3, d + 8, 2.6, d + 20, 5.6, d + 27), (9.6, d + 25.5), (7, d + 18, 5, d + 8, 0.8, d - 1)
    )
    loop = path((0, d), (5, d - 7.5, 12, d - 6.0, 12.4, d - 1.2), (12, d + 4.4, 5, d + 4.0, 0, d))
    tails = Part(tail, cloth.main, angle=-10, tone=0.97, lift=1.1, round=0.8, rumple=0.25)
    loops = Part(
        loop, cloth.main, angle=70, tone=0.94, lift=1.2, round=1.3, rumple=0.3, creases=tuple(pleats)
    )
    knot = Part(ellipse(0, d, 1.9, 2.1), cloth.main, angle=30, lift=0.9, round=0.9)
    return [tails, flipped(tails), loops, flipped(loops), knot]


COLLARS: dict[str, Callable[[Cut, Materials, Pose, Generator], list[Part]]] = {
    "crew": _ribbed,
    "rib": _ribbed,
    "bound": _bound,
    "point": _point,
    "camp": _camp,
    "pan": _peter_pan,
    "lapel": _lapel,
    "stand": _upright,
    "hood": _hood,
    "bow": _bow,
    "ruffle": _ruffle,
}
