"""Scenes: backdrops, light and what makes a drawing a photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from serupa_sample.cloth import Camera, Part, draw, offset, resize, ridges, soften
from serupa_sample.fabrics import Pixels, rgb, shade

WIDTH, HEIGHT = 600, 750
SIZE = (WIDTH, HEIGHT)

PAPERS = ("#efece6", "#ebe7e0", "#e9e4da", "#e6e6e4", "#f1efec")
TINTS = ("#dccfc0", "#d9c3b6", "#cdd2c8", "#c9d2d8", "#e3d7c3", "#d5cbd6", "#c3c7b8", "#d8b9a6")


@dataclass(frozen=True)
class Shadow:
    """A soft shadow on the ground behind: its offset, blur (pixels) and strength."""

    dx: float
    dy: float
    blur: float
    strength: float


LYING = (Shadow(2, 3, 3, 0.30), Shadow(9, 12, 16, 0.30))
HANGING = (Shadow(10, 8, 9, 0.16), Shadow(30, 22, 26, 0.26))
NONE: tuple[Shadow, ...] = ()


def _grid() -> tuple[Pixels, Pixels]:
    """Return x of shape (1, w) and y of shape (h, 1), from 0 to 1."""
    x = np.linspace(0, 1, WIDTH, dtype=np.float32)[None]
    y = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None]
    return x, y


def _cloud(rng: Generator, cells: int) -> Pixels:
    """Return smooth noise (h, w) of deviation about 1."""
    waves = rng.standard_normal((cells * 5 // 4 + 1, cells + 1), dtype=np.float32)
    return resize(waves, SIZE)


def _tinted(color: Pixels, light: NDArray[np.floating]) -> Pixels:
    """Return a colour in a light (h, w), shape (3, h, w)."""
    tinted: Pixels = np.clip(color[:, None, None] * light.astype(np.float32), 0, 1)
    return tinted


def _planes(image: Image.Image) -> Pixels:
    """Return an image's channels, shape (3, h, w), from 0 to 1."""
    return np.stack([np.asarray(band, dtype=np.float32) for band in image.split()]) / np.float32(255)


def paper(rng: Generator, color: str) -> Pixels:
    """Return a studio's paper: soft light from the upper left."""
    x, y = _grid()
    cx, cy = rng.uniform(0.2, 0.45), rng.uniform(0.15, 0.4)
    light = 1.04 - 0.16 * ((x - cx) ** 2 + (y - cy) ** 2)
    return _tinted(rgb(color), light)


def plaster(rng: Generator) -> Pixels:
    """Return a plastered wall."""
    color = str(rng.choice(["#d9cfc2", "#cfc4b6", "#c9cbc6", "#d7bfae", "#bfc5c4", "#c7b49d"]))
    rough = 0.020 * _cloud(rng, 5) + 0.016 * _cloud(rng, 22) + 0.012 * _cloud(rng, 90)
    x, y = _grid()
    light = 1.02 + rough - 0.14 * np.abs(x - rng.uniform(0.2, 0.8)) - 0.08 * y
    return _tinted(rgb(color), light)


def bricks(rng: Generator) -> Pixels:
    """Return a brick wall, painted or bare."""
    base = rgb(str(rng.choice(["#a4654b", "#b98a70", "#d8d2c8", "#8e6a5a", "#c9c2b7"])))
    bh = int(rng.integers(30, 40))
    bw = int(bh * 2.9)
    scale = 2
    image = Image.new("RGB", (WIDTH * scale, HEIGHT * scale), _rgb255(shade(base, 0.28)))
    pen = ImageDraw.Draw(image)
    for row in range(HEIGHT // bh + 2):
        for col in range(-1, WIDTH // bw + 2):
            x = (col * bw + (row % 2) * bw // 2) * scale
            y = row * bh * scale
            tone = shade(base, float(np.clip(rng.normal(0, 0.07), -0.3, 0.2)))
            box = (x + 3, y + 3, x + bw * scale - 3, y + bh * scale - 3)
            pen.rounded_rectangle(box, 5, fill=_rgb255(tone))
    wall = _planes(image.reduce(scale))
    mean = wall.mean(axis=0)
    relief = np.roll(mean, (2, 2), (0, 1)) - np.roll(mean, (-1, -1), (0, 1))
    rough = 1 + 0.03 * _cloud(rng, 60) + 0.04 * _cloud(rng, 5) + 0.35 * relief
    photo: Pixels = np.clip(wall * rough, 0, 1)
    return photo


def planks(rng: Generator) -> Pixels:
    """Return a wooden floor."""
    base = rgb(str(rng.choice(["#b48a60", "#c9a780", "#8b6445", "#d6c1a1", "#9a8269"])))
    wide = int(rng.integers(78, 120))
    grain = resize(rng.standard_normal((60, 300), dtype=np.float32), SIZE)
    grain = 0.05 * grain + 0.03 * resize(rng.standard_normal((14, 140), dtype=np.float32), SIZE)
    light = 1 + grain
    for x in range(-int(rng.integers(0, wide)), WIDTH, wide):
        left, right = max(0, x), max(0, min(WIDTH, x + wide))
        light[:, left:right] = np.roll(light[:, left:right], int(rng.integers(0, HEIGHT)), axis=0)
        light[:, left:right] *= np.float32(1 + rng.normal(0, 0.05))
        joint = int(rng.integers(0, HEIGHT))
        light[joint : joint + 2, left:right] *= np.float32(0.62)
        if 0 < x < WIDTH:
            light[:, x - 1 : x + 1] *= np.float32(0.58)
    if rng.random() < 0.5:
        light = resize(np.rot90(light), SIZE, Image.Resampling.BILINEAR)
    return _tinted(base, light)


def concrete(rng: Generator) -> Pixels:
    """Return a pavement of slabs."""
    color = rgb(str(rng.choice(["#b3b0aa", "#9d9b98", "#c4beb3", "#a6a9ac"])))
    light = 1 + 0.04 * _cloud(rng, 4) + 0.03 * _cloud(rng, 26) + 0.035 * _cloud(rng, 150)
    x, y = _grid()
    a = rng.uniform(-0.15, 0.15)
    for at, line in ((rng.uniform(0.1, 0.9), x + a * y), (rng.uniform(0.1, 0.9), y - a * x)):
        gap = np.abs(line - at) * WIDTH
        light *= 1 - 0.42 * np.clip(2.4 - gap, 0, 1)
    return _tinted(color, light)


def bedding(rng: Generator) -> Pixels:
    """Return a linen sheet with a few soft folds."""
    color = rgb(str(rng.choice(["#e6e1d8", "#d9d3ca", "#cfd3d3", "#ddcfc2", "#b9bfb6"])))
    w, h = WIDTH // 3, HEIGHT // 3
    folds = []
    way = rng.uniform(0.3, 1.2)
    for _ in range(9):
        start = rng.uniform((-40, -40), (w, h))
        a, length = way + rng.normal(0, 0.35), rng.uniform(90, 220)
        end = start + length * np.array([np.cos(a), np.sin(a)])
        bow = np.array([-np.sin(a), np.cos(a)]) * rng.uniform(-24, 24)
        t = np.linspace(0, 1, 24)[:, None]
        folds.append(
            ((1 - t) * start + t * end + np.sin(t * np.pi) * bow, rng.uniform(14, 34), rng.uniform(2, 5))
        )
    field = ridges((w, h), folds)
    height = soften(field, 3.0) + soften(field, 9.0)
    height += resize(rng.standard_normal((7, 6), dtype=np.float32), (w, h)) * np.float32(3)
    gy, gx = np.gradient(height)
    light = resize(np.clip(1 - 0.30 * gx - 0.34 * gy, 0.62, 1.12), SIZE)
    threads = resize(rng.standard_normal((HEIGHT, 40), dtype=np.float32), SIZE)
    threads = threads + resize(rng.standard_normal((50, WIDTH), dtype=np.float32), SIZE)
    return _tinted(color, light + 0.014 * threads)


STREETS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, str]] = {
    # sky and far light, walls, ground, lamps
    "golden": (("#f3d9b0", "#e8b98a"), ("#a07a5e", "#8b6b58", "#c59f7c", "#6f5a50"), "#b39a82", "#ffe3b0"),
    "overcast": (("#dfe4e8", "#c6cdd3"), ("#8d8f91", "#a8a39b", "#6f757b", "#b7b1a6"), "#a3a2a0", "#fff4e0"),
    "park": (("#e5efd6", "#c4d7a8"), ("#6f8a58", "#587548", "#86a06a", "#49633f"), "#a9b488", "#fbffe0"),
    "evening": (("#4c5673", "#2f3650"), ("#272b3c", "#3b3a4c", "#1f2230", "#4d4350"), "#353644", "#ffcf8a"),
    "pastel": (("#f6e4dc", "#f0cfc4"), ("#d9a48f", "#e7c3a7", "#b9c4bd", "#cf8f7d"), "#cbb8ab", "#fff6ea"),
}

ODDS = (0.26, 0.24, 0.2, 0.1, 0.2)


def street(rng: Generator, kind: str) -> Pixels:
    """Return a street or park far out of focus."""
    sky, walls, ground, lamp = STREETS[kind]
    w, h = WIDTH // 4, HEIGHT // 4
    y = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    base = rgb(sky[0]) * (1 - y) + rgb(sky[1]) * y
    image = Image.fromarray((np.broadcast_to(base, (h, w, 3)) * 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    horizon = h * rng.uniform(0.62, 0.8)
    gap = w * rng.uniform(0.3, 0.7)
    x = -10.0
    while x < w:
        wide = rng.uniform(16, 46)
        near = abs(x + wide / 2 - gap) / w
        top = h * np.clip(0.55 - near * 1.4 + rng.uniform(-0.08, 0.08), -0.1, 0.6)
        wall = shade(rgb(walls[int(rng.integers(len(walls)))]), float(rng.uniform(-0.12, 0.18)))
        if kind == "park":
            for _ in range(7):
                cx, cy, r = x + rng.uniform(0, wide), top + rng.uniform(0, h * 0.5), rng.uniform(7, 18)
                tone = _rgb255(shade(wall, float(rng.uniform(-0.15, 0.25))))
                pen.ellipse((cx - r, cy - r, cx + r, cy + r), fill=tone)
        else:
            pen.rectangle((x, top, x + wide, horizon), fill=_rgb255(wall))
            for wy in np.arange(top + 6, horizon - 12, 15):
                for wx in np.arange(x + 4, x + wide - 6, 11):
                    lit = rng.random() < (0.35 if kind == "evening" else 0.15)
                    pane = _rgb255(rgb(lamp) if lit else shade(wall, -0.3))
                    pen.rectangle((wx, wy, wx + 5, wy + 9), fill=pane)
        x += wide * rng.uniform(0.8, 1.1)
    pen.rectangle((0, horizon, w, h), fill=_rgb255(rgb(ground)))
    pen.polygon([(gap - 6, horizon), (gap + 6, horizon), (gap + w * 0.7, h), (gap - w * 0.7, h)],
                fill=_rgb255(shade(rgb(ground), 0.12)))  # fmt: skip
    for _ in range(int(rng.integers(2, 6))):
        cx, tall = rng.uniform(0, w), rng.uniform(12, 34)
        tone = _rgb255(shade(rgb(walls[int(rng.integers(len(walls)))]), float(rng.uniform(-0.5, 0.3))))
        pen.rounded_rectangle((cx, horizon + 6 - tall, cx + tall * 0.36, horizon + 8), 3, fill=tone)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(4.0, 6.5)))
    far = _planes(image.resize(SIZE, Image.Resampling.BICUBIC))
    return _bokeh(far, rng, kind, lamp)


def _bokeh(far: Pixels, rng: Generator, kind: str, lamp: str) -> Pixels:
    """Lay discs of light on a background: what a lens makes of lamps and leaves."""
    disc = Image.new("L", (WIDTH // 2, HEIGHT // 2))
    count = {"evening": 26, "park": 30, "golden": 18}.get(kind, 10)
    size = rng.uniform(7, 15)
    for _ in range(count):
        x, y = rng.uniform(0, WIDTH / 2), rng.uniform(0, HEIGHT / 2 * 0.62)
        r = size * rng.uniform(0.6, 1.2)
        spot = Image.new("L", disc.size)
        ImageDraw.Draw(spot).ellipse((x - r, y - r, x + r, y + r), fill=int(rng.uniform(25, 95)))
        disc = Image.fromarray(np.maximum(np.asarray(disc), np.asarray(spot)))
    soft = disc.filter(ImageFilter.GaussianBlur(1.4)).resize(SIZE, Image.Resampling.BICUBIC)
    glow = np.asarray(soft, dtype=np.float32) / np.float32(255)
    return far + (1 - far) * (glow * rgb(lamp)[:, None, None])


def sunlight(rng: Generator) -> Pixels:
    """Return light (h, w) that fell through a window or leaves: about 1 in the sun, less in the shade."""
    image = Image.new("L", (WIDTH // 2, HEIGHT // 2), 0)
    pen = ImageDraw.Draw(image)
    if rng.random() < 0.5:
        slant, x0, y0 = rng.uniform(-0.5, 0.5), rng.uniform(-40, 60), rng.uniform(-60, 20)
        wide, tall = rng.uniform(80, 120), rng.uniform(100, 150)
        for i in range(2 + (wide < 100)):
            for j in range(3):
                x, y = x0 + i * (wide + 12), y0 + j * (tall + 12)
                quad = [
                    (x, y),
                    (x + wide, y + wide * slant),
                    (x + wide, y + wide * slant + tall),
                    (x, y + tall),
                ]
                pen.polygon([(u + v * 0.22, v) for u, v in quad], fill=255)
        blur = rng.uniform(2.5, 6)
    else:
        image.paste(255, (0, 0, WIDTH // 2, HEIGHT // 2))
        for _ in range(int(rng.integers(60, 120))):
            x, y = rng.uniform(-20, 320), rng.uniform(-20, 260) * rng.uniform(0.4, 1.4)
            a, length = rng.normal(0.8, 0.5), rng.uniform(14, 44)
            t = np.linspace(0, 2 * np.pi, 18)
            u, v = np.cos(t) * length / 2, np.sin(t) * length * 0.13
            leaf = zip(x + u * np.cos(a) - v * np.sin(a), y + u * np.sin(a) + v * np.cos(a), strict=True)
            pen.polygon([(float(p), float(q)) for p, q in leaf], fill=0)
        blur = rng.uniform(4, 8)
    soft = image.filter(ImageFilter.GaussianBlur(blur)).resize(SIZE, Image.Resampling.BICUBIC)
    deep = rng.uniform(0.3, 0.42)
    return 1.06 - np.float32(deep) * (1 - np.asarray(soft, dtype=np.float32) / np.float32(255))


def compose(
    ground: Pixels,
    parts: list[Part],
    camera: Camera,
    rng: Generator,
    *,
    light: tuple[float, float, float] = (-0.42, -0.55, 0.72),
    shadows: tuple[Shadow, ...] = NONE,
    beams: Pixels | None = None,
    warmth: float = 0.0,
    exposure: float = 1.0,
    vignette: float = 0.06,
) -> Image.Image:
    """Draw parts on a ground, and return the photo.

    Parameters
    ----------
    ground : Pixels
        Shape (3, h, w).
    parts, camera, light
        As for `serupa_sample.cloth.draw`.
    rng : Generator
        Where chance comes from.
    shadows : tuple of Shadow
        What the parts throw on the ground.
    beams : Pixels, optional
        Shape (h, w): light that falls on ground and parts alike.
    warmth : float
        Above 0 is yellower, below 0 bluer.
    exposure : float
        Multiplies the light.
    vignette : float
        How much darker the corners are.
    """
    colors, alpha = draw(parts, camera, SIZE, light, rng)
    if shadows:
        ground = ground * _shade(alpha, shadows)
    photo = colors
    photo -= ground
    photo *= alpha
    photo += ground
    x, y = _grid()
    fall = np.float32(exposure) * (1 - np.float32(vignette * 2) * ((x - 0.5) ** 2 + (y - 0.5) ** 2))
    if beams is not None:
        fall = fall * beams
    grain = rng.standard_normal((HEIGHT // 2, WIDTH // 2), dtype=np.float32).repeat(2, 0).repeat(2, 1)
    grain *= np.float32(0.004)
    bands = []
    for channel, gain in enumerate((1 + 0.5 * warmth, 1 + 0.12 * warmth, 1 - 0.5 * warmth)):
        plane = photo[channel] * (fall * np.float32(gain)) + grain
        # A gentle shoulder keeps bright cloth from burning out.
        high = np.clip(plane - np.float32(0.8), 0, 0.4)
        plane -= high * high * np.float32(0.9)
        bands.append(Image.fromarray(np.clip(plane * 255 + np.float32(0.5), 0, 255).astype(np.uint8)))
    return Image.merge("RGB", bands)


def _shade(alpha: Pixels, shadows: tuple[Shadow, ...]) -> Pixels:
    """Return how light the ground (h, w) is under shadows, which are soft: a third of the size will do."""
    f = 3
    small = resize(alpha, (WIDTH // f, HEIGHT // f), Image.Resampling.BILINEAR)
    light = np.ones_like(small)
    for s in shadows:
        soft = offset(soften(small, s.blur / f), round(s.dx / f), round(s.dy / f))
        light *= 1 - np.float32(s.strength) * soft
    return resize(light, SIZE, Image.Resampling.BILINEAR)


def _rgb255(color: Pixels) -> tuple[int, int, int]:
    r, g, b = (int(c) for c in np.clip(color * 255, 0, 255))
    return r, g, b
