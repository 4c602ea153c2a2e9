"""Cloth: draws a garment, part by part, with its weave, folds, seams and the shade of each part on the next.

A part is cut out at three times the size and made smaller, so that its edge is smooth. Folds, drape and
roundness make one field of heights; its slope towards the light is how light the cloth is, and also pushes
the pattern aside, as real folds do.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from serupa_sample.fabrics import Fabric, Pixels
from serupa_sample.outlines import Points

EDGE = 3  # a part's edge is cut at this many times the photo's size
AMBIENT = 0.30


@dataclass(frozen=True)
class Seam:
    """A line sewn on a part, in centimetres; ``tone`` below 1 is a groove, ``color`` a visible thread."""

    line: Points
    width: float = 0.25
    tone: float = 0.72
    dash: float = 0.0
    color: Pixels | None = None


@dataclass(frozen=True)
class Crease:
    """One fold: a line in centimetres, as wide and as high as given in its middle, thin at its ends."""

    line: Points
    width: float
    height: float


@dataclass(frozen=True)
class Drape:
    """Folds that fall from top to bottom and share the part's width; heights in centimetres."""

    count: float
    top: float
    bottom: float


@dataclass(frozen=True)
class Part:
    """One piece of a garment, or of what holds it.

    Parameters
    ----------
    outline : Points
        Shape (n, 2), centimetres.
    fabric : Fabric
        What fills it.
    angle : float
        Degrees by which the cloth is turned, clockwise.
    origin : pair of float
        Where the cloth's pattern begins.
    tone : float
        Multiplies the colour: below 1 for the inside.
    lift : float
        How far it lies above what is below it, in centimetres: the width of the shade it throws there.
    round : float
        How much its edges curve away, in centimetres.
    rumple : float
        Height of its small unevenness, in centimetres.
    seams, creases, drape
        What is sewn on it, and how it falls.
    """

    outline: Points
    fabric: Fabric
    angle: float = 0.0
    origin: tuple[float, float] = (0.0, 0.0)
    tone: float = 1.0
    lift: float = 0.5
    round: float = 0.9
    rumple: float = 0.16
    seams: tuple[Seam, ...] = ()
    creases: tuple[Crease, ...] = ()
    drape: Drape | None = None


@dataclass(frozen=True)
class Camera:
    """Maps centimetres to pixels.

    Parameters
    ----------
    scale : float
        Pixels in a centimetre.
    center : pair of float
        The pixel on which ``focus`` falls.
    focus : pair of float
        In centimetres.
    tilt : float
        Degrees, clockwise.
    sway : NDArray
        Shape (k, 4): waves (frequency x, frequency y, phase, height) that make outlines less than perfect.
    """

    scale: float
    center: tuple[float, float]
    focus: tuple[float, float]
    tilt: float = 0.0
    sway: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))

    def __call__(self, points: Points) -> Points:
        """Return the pixels (n, 2) on which points fall."""
        p = points.astype(np.float64)
        for k, (fx, fy, phase, height) in enumerate(self.sway):
            p[:, k % 2] += height * np.sin(points[:, 0] * fx + points[:, 1] * fy + phase)
        a = np.radians(self.tilt)
        turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        return np.asarray((p - np.array(self.focus)) @ turn.T * self.scale + np.array(self.center))


def sway(rng: Generator, height: float = 0.28) -> NDArray[np.float64]:
    """Return waves for `Camera.sway`."""
    waves = rng.uniform(-1, 1, (6, 4))
    waves[:, :2] *= 0.16
    waves[:, 2] *= np.pi
    waves[:, 3] *= height
    return waves


def moved(part: Part, dx: float, dy: float) -> Part:
    """Return the part with all that is on it moved by centimetres."""
    d = np.array([dx, dy])
    return replace(
        part,
        outline=part.outline + d,
        origin=(part.origin[0] + dx, part.origin[1] + dy),
        seams=tuple(replace(s, line=s.line + d) for s in part.seams),
        creases=tuple(replace(c, line=c.line + d) for c in part.creases),
    )


def bounds(parts: list[Part]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of all parts, in centimetres."""
    points = np.concatenate([p.outline for p in parts])
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def resize(a: Pixels, size: tuple[int, int], how: Image.Resampling = Image.Resampling.BICUBIC) -> Pixels:
    """Resize a field of numbers (h, w) to ``size`` (w, h)."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(a, dtype=np.float32)).resize(size, how))


def soften(a: Pixels, sigma: float) -> Pixels:
    """Blur a field of numbers, on a smaller grid where the blur is wide: fast, same on every machine."""
    h, w = a.shape
    f = max(1.0, sigma / 1.3)
    small = (max(1, round(w / f)), max(1, round(h / f)))
    b = resize(a, small, Image.Resampling.BILINEAR) if f > 1 else a
    for axis in (0, 1):
        b = _binomial(b, axis)
    return resize(b, (w, h)) if f > 1 else b


def _binomial(a: Pixels, axis: int) -> Pixels:
    """Blur along an axis with the weights 1 4 6 4 1: a Gaussian of one pixel."""
    pad = [(0, 0), (0, 0)]
    pad[axis] = (2, 2)
    p = np.pad(a, pad, mode="edge")
    n = a.shape[axis]
    v = [p[i : i + n] if axis == 0 else p[:, i : i + n] for i in range(5)]
    blurred_rows: Pixels = (v[0] + v[4] + 4 * (v[1] + v[3]) + 6 * v[2]) * np.float32(1 / 16)
    return blurred_rows


def ridges(size: tuple[int, int], folds: list[tuple[Points, float, float]]) -> Pixels:
    """Return a field (h, w) of folds, each a line, a width and a height, all in pixels.

    A fold is drawn as three steps, which a blur makes a slope.
    """
    canvas = Image.new("F", size)
    pen = ImageDraw.Draw(canvas)
    for line, width, height in folds:
        d = np.gradient(line, axis=0)
        side = np.stack([d[:, 1], -d[:, 0]], axis=1) / np.maximum(np.hypot(d[:, 0], d[:, 1]), 1e-6)[:, None]
        taper = np.sin(np.linspace(0.02, 0.98, len(line)) * np.pi)
        for wide, sharp, share in ((1.0, 1.0, 0.33), (0.62, 1.6, 0.7), (0.3, 2.6, 1.0)):
            offset = side * (taper**sharp * width * wide / 2)[:, None]
            ring = np.concatenate([line + offset, (line - offset)[::-1]])
            pen.polygon(ring.ravel().tolist(), fill=float(height * share))
    return np.asarray(canvas)


def cover(points: Points, size: tuple[int, int]) -> Pixels:
    """Return how much of each pixel (h, w) of a window of ``size`` (w, h) a polygon covers.

    It is drawn on its side: Pillow joins two peaks that share a row by a line, and the two shoulders of a
    garment do share theirs.
    """
    w, h = size
    mask = Image.new("L", (h * EDGE, w * EDGE))
    ImageDraw.Draw(mask).polygon((points[:, ::-1] * EDGE).ravel().tolist(), fill=255)
    return np.asarray(mask.reduce(EDGE), dtype=np.float32).T / np.float32(255)


def offset(a: Pixels, dx: int, dy: int) -> Pixels:
    """Move a field of numbers (h, w) by whole pixels; its edges are drawn out."""
    h, w = a.shape
    padded = np.pad(a, ((max(dy, 0), max(-dy, 0)), (max(dx, 0), max(-dx, 0))), mode="edge")
    return padded[max(-dy, 0) :, max(-dx, 0) :][:h, :w]


def draw(
    parts: list[Part],
    camera: Camera,
    size: tuple[int, int],
    light: tuple[float, float, float],
    rng: Generator,
) -> tuple[Pixels, Pixels]:
    """Draw parts, first to last, on a transparent ground.

    Parameters
    ----------
    parts : list of Part
        From the back to the front.
    camera : Camera
        Where they fall.
    size : pair of int
        Width and height in pixels.
    light : three floats
        Towards the light: right, down, out of the photo.
    rng : Generator
        For the unevenness of cloth.

    Returns
    -------
    colors : Pixels
        Shape (3, h, w), from 0 to 1.
    alpha : Pixels
        Shape (h, w).
    """
    w, h = size
    colors = np.zeros((3, h, w), dtype=np.float32)
    alpha = np.zeros((h, w), dtype=np.float32)
    for part in parts:
        points = camera(part.outline)
        pad = 2 + part.lift * camera.scale * 2.5
        x0, y0 = np.maximum(np.floor(points.min(axis=0) - pad), 0).astype(int).tolist()
        x1, y1 = np.minimum(np.ceil(points.max(axis=0) + pad), (w, h)).astype(int).tolist()
        if x1 - x0 < 2 or y1 - y0 < 2:
            continue
        window = (slice(y0, y1), slice(x0, x1))
        corner = np.array([x0, y0])
        mask = cover(points - corner, (x1 - x0, y1 - y0))
        below = alpha[window]
        if part.lift and below.any():
            _throw(colors[:, *window], mask, part.lift * camera.scale, light)
        seen = replace(camera, center=(camera.center[0] - x0, camera.center[1] - y0))
        paint = _paint(part, seen, mask, light, rng)
        total = mask + below * (1 - mask)
        paint -= colors[:, *window]
        paint *= mask / np.maximum(total, np.float32(1e-4))
        colors[:, *window] += paint
        alpha[window] = total
    return colors, alpha


def _throw(colors: Pixels, mask: Pixels, reach: float, light: tuple[float, float, float]) -> None:
    """Darken what lies under a part, most where the part's edge is near and away from the light."""
    h, w = mask.shape
    half = resize(mask, (-(-w // 2), -(-h // 2)), Image.Resampling.BILINEAR)
    soft = soften(half, max(0.6, reach * 0.4))
    soft = offset(soft, round(-light[0] * reach / 2), round(-light[1] * reach / 2))
    colors *= 1 - np.float32(0.42) * resize(soft, (w, h), Image.Resampling.BILINEAR)


def _paint(
    part: Part, camera: Camera, mask: Pixels, light: tuple[float, float, float], rng: Generator
) -> Pixels:
    """Return the colours (3, h, w) of a part's window; the camera is that of the window."""
    h, w = mask.shape
    height = _heights(part, camera, mask, rng)
    gy, gx = _slopes(height)
    lx, ly, lz = light
    steep: Pixels = np.float32(1) + gx * gx + gy * gy
    facing = np.float32(lz) - np.float32(lx) * gx - np.float32(ly) * gy
    facing /= np.float32(lz) * np.sqrt(steep)
    # Valleys get less of the sky's light than ridges.
    lit: Pixels = np.float32(AMBIENT) + np.float32(1 - AMBIENT) * facing
    if part.creases or part.drape:
        lit -= np.clip(soften(height, 3.0) - height, 0, 4) * np.float32(0.09)
    lit = resize(np.clip(lit, 0.16, 1.6), (w, h))
    if part.fabric.plain:
        albedo = np.broadcast_to(part.fabric.tile * np.float32(part.tone), (3, h, w))
        albedo = albedo.copy() if part.seams else albedo
    else:
        bent_x, bent_y = (resize(g, (w, h), Image.Resampling.BILINEAR) for g in (gx, gy))
        albedo = _albedo(part, camera, bent_x, bent_y)
        albedo *= np.float32(part.tone)
    for _, alike in groupby(part.seams, key=lambda s: (s.width, s.tone, s.dash)):
        _sew(albedo, list(alike), camera)
    # Shade is a little cooler than light.
    dark = np.float32(0.05) * (np.minimum(lit, 1) - 1)
    out: Pixels = albedo * np.stack([lit + dark, lit, lit - dark])
    out += np.maximum(lit - 1, 0) * np.float32(0.05 + 0.5 * part.fabric.sheen)
    return out


def _slopes(height: Pixels) -> tuple[Pixels, Pixels]:
    """Return how steep a field is, down and to the right."""
    if min(height.shape) < 2:
        return np.zeros_like(height), np.zeros_like(height)
    down: Pixels = np.gradient(height, axis=0)
    right: Pixels = np.gradient(height, axis=1)
    return down, right


def _heights(part: Part, camera: Camera, mask: Pixels, rng: Generator) -> Pixels:
    """Return the height of the cloth on the coarse grid, in its pixels."""
    h, w = mask.shape
    # Folds are smooth: a coarser grid will do, but not for a button.
    coarse = 3 if min(w, h) > 80 else 2 if min(w, h) > 24 else 1
    gw, gh = -(-w // coarse), -(-h // coarse)
    k = camera.scale / coarse
    stiff = part.fabric.body
    body = resize(mask, (gw, gh), Image.Resampling.BILINEAR)
    height = np.zeros((gh, gw), dtype=np.float32)
    if part.round:
        for spread, share in ((1.0, 0.55), (3.2, 1.0)) if coarse > 2 else ((1.8, 1.4),):
            height += soften(body, max(0.8, spread * part.round * k)) * np.float32(part.round * k * share)
    if part.rumple:
        for period, share in ((10.0, 1.0), (4.0, 0.12)) if coarse > 2 else ((10.0, 1.0),):
            cells = (max(3, round(gw / (period * k))) + 1, max(3, round(gh / (period * 1.5 * k))) + 1)
            waves = rng.standard_normal(cells[::-1], dtype=np.float32)
            height += resize(waves, (gw, gh)) * np.float32(part.rumple * share * stiff * k)
    if part.drape:
        height += _fall(part.drape, body, rng) * np.float32(k)
    if part.creases:
        field = ridges(
            (gw, gh),
            [(camera(c.line) / coarse, c.width * k, c.height * stiff * k) for c in part.creases],
        )
        height += soften(field, max(0.8, 0.42 * k)) + soften(field, max(1.2, 1.1 * k)) * np.float32(0.8)
    return height


def _fall(drape: Drape, body: Pixels, rng: Generator) -> Pixels:
    """Return the height, in centimetres, of folds that share the width of each row of a part."""
    gh, gw = body.shape
    solid = np.asarray(body > 0.5)
    rows = np.asarray(solid.any(axis=1))
    if not rows.any():
        return np.zeros_like(body)
    left = np.where(rows, solid.argmax(axis=1), 0).astype(np.float32)
    right = np.where(rows, gw - solid[:, ::-1].argmax(axis=1), gw).astype(np.float32)
    first, last = int(rows.argmax()), int(gh - rows[::-1].argmax())
    # A curved hem has short rows: the folds there go on as above it.
    hem = max(first, int(last - 0.07 * (last - first)) - 1)
    left[hem:], right[hem:] = left[hem], right[hem]
    left, right = (soften(edge[None], gh / 24)[0] for edge in (left, right))
    y = np.clip((np.arange(gh, dtype=np.float32) - first) / max(1, last - first), 0, 1)
    u = (np.arange(gw, dtype=np.float32)[None] - left[:, None]) / np.maximum(right - left, 1)[:, None]
    u = np.clip(u, 0, 1)
    wave = np.zeros_like(body)
    for k, share in ((1.0, 1.0), (1.7, 0.5), (2.6, 0.13)):
        phase, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)
        # A fold seen from the front crowds towards the sides: u is bent as on a cylinder.
        around = np.arcsin(np.clip(2 * u - 1, -1, 1) * 0.92) / 2.4
        wave += share * np.sin(around * 2 * np.pi * drape.count * k + phase + bend * y[:, None] * 3)
    amount = drape.top + (drape.bottom - drape.top) * y
    return (wave * amount[:, None] / 1.6).astype(np.float32)


def _albedo(part: Part, camera: Camera, gx: Pixels, gy: Pixels) -> Pixels:
    """Look up the cloth's own colour for each pixel of a window whose slopes are given."""
    h, w = gx.shape
    tile = part.fabric.tile
    n = tile.shape[1]
    a = np.radians(camera.tilt + part.angle)
    k = part.fabric.density / camera.scale
    cos, sin = np.float32(np.cos(a) * k), np.float32(np.sin(a) * k)
    ox, oy = camera(np.array([part.origin]))[0].tolist()
    push = np.float32(0.35 * camera.scale)
    gx, gy = np.clip(gx, -1, 1), np.clip(gy, -1, 1)
    x = np.arange(w, dtype=np.float32)[None] - ox + gx * push
    y = np.arange(h, dtype=np.float32)[:, None] - oy + gy * push
    u = np.floor(x * cos + y * sin).astype(np.int32) % n
    v = np.floor(y * cos - x * sin).astype(np.int32) % n
    colors: Pixels = np.take(tile.reshape(3, -1), v * n + u, axis=1)
    return colors


def _sew(albedo: Pixels, seams: list[Seam], camera: Camera) -> None:
    """Draw seams of one kind: grooves with a lit lip, or a thread of its own colour."""
    h, w = albedo.shape[1:]
    seam = seams[0]
    lines = [camera(s.line) for s in seams]
    points = np.concatenate(lines)
    x0, y0 = np.maximum(np.floor(points.min(axis=0)) - 4, 0).astype(int).tolist()
    x1, y1 = np.minimum(np.ceil(points.max(axis=0)) + 4, (w, h)).astype(int).tolist()
    if x1 <= x0 or y1 <= y0:
        return
    window = (slice(y0, y1), slice(x0, x1))
    mask = Image.new("L", ((x1 - x0) * EDGE, (y1 - y0) * EDGE))
    pen = ImageDraw.Draw(mask)
    width = max(1, round(seam.width * camera.scale * EDGE))
    for line in lines:
        for piece in _dashes((line - (x0, y0)) * EDGE, seam.dash * camera.scale * EDGE):
            pen.line(piece.ravel().tolist(), fill=255, width=width, joint="curve")
    m = np.asarray(mask.reduce(EDGE), dtype=np.float32) / np.float32(255)
    part = albedo[:, *window]
    if seam.color is not None:
        albedo[:, *window] = part + (seam.color[:, None, None] - part) * m
    else:
        albedo[:, *window] = part * ((1 + (seam.tone - 1) * m) * (1 + 0.10 * offset(m, 1, 1) * (1 - m)))


def _dashes(points: Points, dash: float) -> list[Points]:
    """Cut a line into dashes as long as the gaps between them; no dash is the whole line."""
    if dash <= 0 or len(points) < 2:
        return [points]
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    starts = np.arange(0, along[-1], dash * 1.7)
    cuts = [np.linspace(s, min(s + dash, along[-1]), 3) for s in starts]
    return [np.stack([np.interp(c, along, points[:, i]) for i in (0, 1)], axis=1) for c in cuts]
