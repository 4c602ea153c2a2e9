"""Outlines: smooth paths of points, in centimetres, from which every shape is cut.

The origin is the middle of the garment's top edge, x grows to the right and y downwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Shape (n, 2): x and y in centimetres."""

Point = tuple[float, float]


def path(start: Point, *steps: tuple[float, ...], samples: int = 14) -> Points:
    """Return the points of a path of lines and Bézier curves.

    Parameters
    ----------
    start : pair of float
        Where the path begins.
    *steps : tuples
        ``(x, y)`` is a line, ``(cx, cy, x, y)`` a quadratic and ``(ax, ay, bx, by, x, y)`` a cubic curve
        to (x, y).
    samples : int
        Points for each curve.

    Returns
    -------
    Points
        Shape (n, 2).
    """
    points = [np.array([start], dtype=np.float64)]
    t = np.linspace(0, 1, samples + 1)[1:, None]
    for step in steps:
        p = points[-1][-1]
        c = np.array(step, dtype=np.float64).reshape(-1, 2)
        if len(c) == 1:
            points.append(c)
        elif len(c) == 2:
            points.append((1 - t) ** 2 * p + 2 * t * (1 - t) * c[0] + t**2 * c[1])
        else:
            points.append(
                (1 - t) ** 3 * p + 3 * t * (1 - t) ** 2 * c[0] + 3 * t**2 * (1 - t) * c[1] + t**3 * c[2]
            )
    return np.concatenate(points)


def flip(points: Points) -> Points:
    """Return the mirror image, left for right."""
    return np.multiply(points, [-1.0, 1.0])


def mirror(half: Points) -> Points:
    """Close a right half, drawn from the top middle to the bottom middle, with its mirror image."""
    return np.concatenate([half, flip(half)[::-1]])


def ellipse(cx: float, cy: float, rx: float, ry: float, samples: int = 40) -> Points:
    """Return an ellipse."""
    t = np.linspace(0, 2 * np.pi, samples, endpoint=False)
    return np.stack([cx + rx * np.cos(t), cy + ry * np.sin(t)], axis=1)


def rectangle(x0: float, y0: float, x1: float, y1: float, radius: float = 0.0) -> Points:
    """Return a rectangle with rounded corners."""
    r = radius
    return path(
        (x0 + r, y0),
        (x1 - r, y0),
        (x1, y0, x1, y0 + r),
        (x1, y1 - r),
        (x1, y1, x1 - r, y1),
        (x0 + r, y1),
        (x0, y1, x0, y1 - r),
        (x0, y0 + r),
        (x0, y0, x0 + r, y0),
        samples=5,
    )


def normals(line: Points) -> Points:
    """Return the unit normals of a line, on its left where it runs to the right."""
    d = np.gradient(line, axis=0)
    d /= np.maximum(np.hypot(d[:, 0], d[:, 1]), 1e-9)[:, None]
    return np.stack([d[:, 1], -d[:, 0]], axis=1)


def tube(line: Points, widths: float | NDArray[np.float64]) -> Points:
    """Return the outline of a tube around a middle line; ``widths`` are full widths along it."""
    n = normals(line) * (np.broadcast_to(np.asarray(widths, dtype=np.float64), len(line)) / 2)[:, None]
    return np.concatenate([line + n, (line - n)[::-1]])


def band(edge: Points, width: float) -> Points:
    """Return the strip between a line and the same line moved by ``width`` to its left."""
    return np.concatenate([edge, (edge + normals(edge) * width)[::-1]])


def limb(
    start: Point, angles: tuple[float, float], length: float, whole: float | None = None, samples: int = 26
) -> Points:
    """Return the middle line of a limb that turns smoothly from one angle to another.

    Angles are degrees from straight down, positive to the right. It turns in the middle of its ``whole``
    length, of which the first ``length`` is returned.
    """
    t = np.linspace(0, length / (whole or length), samples)
    turn = np.clip((t - 0.3) / 0.4, 0, 1)
    a = np.radians(angles[0] + (angles[1] - angles[0]) * turn * turn * (3 - 2 * turn))
    step = length / (samples - 1)
    d = np.stack([np.sin(a), np.cos(a)], axis=1) * step
    steps = np.concatenate([np.array([start]), (d[1:] + d[:-1]) / 2])
    return np.cumsum(steps, axis=0)
