"""Fabrics: colours, patterns and weaves, as seamless tiles that a garment's parts are filled with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Pixels = NDArray[np.float32]

COLORS: dict[str, str] = {
    "White": "#eeece6",
    "Ecru": "#e4dac6",
    "Oat": "#cdbb9c",
    "Camel": "#b98d5b",
    "Mustard": "#cc9a3b",
    "Terracotta": "#b9613f",
    "Rust": "#934527",
    "Blush": "#dcb0a6",
    "Rose": "#bd6f75",
    "Burgundy": "#672834",
    "Lilac": "#ab9cc2",
    "Sky": "#9fbdd2",
    "Denim": "#566f93",
    "Indigo": "#34425f",
    "Navy": "#252c41",
    "Teal": "#2f6367",
    "Sage": "#98a587",
    "Olive": "#666541",
    "Forest": "#2e4a3b",
    "Chocolate": "#513a2e",
    "Stone": "#a9a49a",
    "Grey": "#84868a",
    "Charcoal": "#3e4044",
    "Black": "#232325",
}
PATTERNS = ("plain", "stripes", "plaid", "dots", "floral")
TILE = 512


@dataclass(frozen=True)
class Fabric:
    """A seamless tile of cloth.

    Parameters
    ----------
    tile : Pixels
        Shape (3, n, n), colours from 0 to 1: one plane a channel, which NumPy is fastest with.
    density : float
        Pixels of the tile in a centimetre.
    sheen : float
        How much light the ridges of folds give back: 0 is matt, 1 is satin.
    body : float
        How stiff the cloth is: the height of its folds, where jersey is 1.
    """

    tile: Pixels
    density: float
    sheen: float = 0.1
    body: float = 1.0

    @property
    def plain(self) -> bool:
        """Whether the tile is a single colour."""
        return len(self.tile[0]) == 1

    @property
    def mean(self) -> Pixels:
        """The colour of the cloth from afar, shape (3,)."""
        mean: Pixels = self.tile.mean(axis=(1, 2))
        return mean


def rgb(color: str) -> Pixels:
    """Return a colour of the palette, or ``#rrggbb``, as three numbers from 0 to 1."""
    text = COLORS.get(color, color).lstrip("#")
    return np.array([int(text[i : i + 2], 16) for i in (0, 2, 4)], dtype=np.float32) / np.float32(255)


def shade(color: Pixels, amount: float) -> Pixels:
    """Return a colour made darker (negative) or lighter (positive), by at most 1."""
    target = np.float32(1.0 if amount > 0 else 0.0)
    return color + (target - color) * np.float32(abs(amount))


def wrap_blur(a: Pixels, rx: int, ry: int) -> Pixels:
    """Blur a seamless tile by two box means of radius ``rx`` and ``ry`` pixels, around its edges."""
    for axis, r in ((1, rx), (0, ry)):
        for _ in range(2 if r else 0):
            pad = [(0, 0)] * a.ndim
            pad[axis] = (r + 1, r)
            total = np.cumsum(np.pad(a, pad, mode="wrap"), axis=axis, dtype=np.float64)
            n = a.shape[axis]
            width = 2 * r + 1
            ends = np.take(total, range(width, width + n), axis=axis)
            a = ((ends - np.take(total, range(n), axis=axis)) / width).astype(np.float32)
    return a


@cache
def _still_noise(rx: int, ry: int) -> Pixels:
    a = np.random.default_rng([rx, ry]).standard_normal((TILE, TILE), dtype=np.float32)
    a = wrap_blur(a, rx, ry)
    return a / np.float32(a.std() + 1e-9)


def _noise(rng: Generator, rx: int, ry: int) -> Pixels:
    """Return seamless noise of deviation 1: the same each time, begun elsewhere."""
    dy, dx = rng.integers(0, TILE, 2).tolist()
    return np.roll(_still_noise(rx, ry), (dy, dx), axis=(0, 1))


def _smooth(tile: Pixels) -> Pixels:
    """Blur a seamless tile by a pixel."""
    for axis in (0, 1):
        tile = tile * np.float32(0.5) + (np.roll(tile, 1, axis) + np.roll(tile, -1, axis)) * np.float32(0.25)
    return tile


def _weave(kind: str, rng: Generator) -> Pixels:
    """Return how light each pixel of a weave is, around 1."""
    light: Pixels = _relief(kind).copy()
    for strength, rx, ry in GRAINS[kind]:
        light += np.float32(strength) * _noise(rng, rx, ry)
    return light


@cache
def _relief(kind: str) -> Pixels:
    """Return the part of a weave that repeats: ribs, twill lines, stitches or plaits."""
    i = np.arange(TILE, dtype=np.float32)
    x, y = i[None], i[:, None]
    turn = np.float32(2 * np.pi)
    relief: NDArray[np.floating] = np.zeros((1, 1), dtype=np.float32)
    if kind in ("denim", "twill"):
        relief = {"denim": 0.045, "twill": 0.028}[kind] * np.sin((x + y) * turn / 8)
    elif kind == "knit":
        relief = 0.085 * np.sin((y / 10 + np.abs((x / 16) % 1 - 0.5) * 1.5) * turn)
    elif kind == "corduroy":
        relief = 0.12 * np.sin(x * turn / 10)
    elif kind == "straw":
        over = (x // 10 + y // 10) % 2
        relief = 0.05 * over - 0.07 + 0.14 * np.sin(np.where(over > 0, x, y) % 10 * turn / 20)
    light: Pixels = np.broadcast_to(1 + relief, (TILE, TILE)).astype(np.float32)
    return light


def _stripe(phase: Pixels, width: float, period: float) -> Pixels:
    """Return the cover, 0 to 1, of a band of ``width`` (a share of the period), ``period`` in pixels."""
    cover: Pixels = np.clip((width / 2 - np.abs(phase - 0.5)) * period + 0.5, 0, 1)
    return cover


def _lay(base: Pixels, cover: Pixels, color: Pixels) -> Pixels:
    return base + (color - base) * cover[..., None]


def _stripes(colors: list[Pixels], density: float, size: float, *, share: float, upright: bool) -> Pixels:
    """Draw a stripe a period, and a thin line between two where there is a third colour."""
    n = TILE
    repeats = max(2, round(n / density / size))
    period = n / repeats
    phase = (np.arange(n, dtype=np.float32) + 0.5) / np.float32(period) % 1
    line = np.broadcast_to(colors[0], (n, 3))
    line = _lay(line, _stripe(phase, share, period), colors[1])
    if len(colors) > 2:
        line = _lay(line, _stripe((phase + 0.5) % 1, 0.10, period), colors[2])
    tile = np.broadcast_to(line[None] if upright else line[:, None], (n, n, 3))
    return tile.astype(np.float32)


def _plaid(colors: list[Pixels], density: float, size: float) -> Pixels:
    """Draw a gingham of two colours, or a tartan of three: half of each band's threads are the ground's."""
    n = TILE
    repeats = max(1, round(n / density / size))
    period = n / repeats
    phase = (np.arange(n, dtype=np.float32) + 0.5) / np.float32(period) % 1
    tile: Pixels = np.broadcast_to(colors[0], (n, n, 3)).astype(np.float32)
    bands = [(0.0, 0.5, colors[1], 0.5)]
    if len(colors) > 2:
        bands = [(0.0, 0.44, colors[1], 0.5), (0.0, 0.04, colors[0], 0.5)]
        bands += [(at, 0.035, colors[2], 0.7) for at in (0.36, 0.64)]
    for at, width, color, strength in bands:
        cover = _stripe((phase + 0.5 - at) % 1, width, period) * np.float32(strength)
        tile = _lay(tile, np.broadcast_to(cover[:, None], (n, n)), color)
        tile = _lay(tile, np.broadcast_to(cover[None], (n, n)), color)
    return tile


def _dots(colors: list[Pixels], density: float, size: float) -> Pixels:
    """Draw dots, each in the middle of four."""
    n = TILE
    repeats = max(2, round(n / density / size))
    period = n / repeats
    y, x = (np.mgrid[0:n, 0:n].astype(np.float32) + 0.5) / np.float32(period)
    near = np.minimum(np.hypot(x % 1 - 0.5, y % 1 - 0.5), np.hypot((x + 0.5) % 1 - 0.5, (y + 0.5) % 1 - 0.5))
    cover = np.clip((0.17 - near) * period + 0.5, 0, 1).astype(np.float32)
    return _lay(np.broadcast_to(colors[0], (n, n, 3)).astype(np.float32), cover, colors[1])


def _floral(colors: list[Pixels], density: float, size: float, rng: Generator) -> Pixels:
    """Scatter five-petalled flowers and leaves, each drawn again over the tile's edges."""
    n = TILE
    scale = 2
    image = Image.new("RGB", (n * scale, n * scale), _hex(colors[0]))
    draw = ImageDraw.Draw(image)
    cells = max(3, round(n / density / size))
    cell = n * scale / cells
    petals = [shade(c, a) for c in colors[1:] for a in (-0.08, 0.1)]
    leaf = _hex(colors[0] * np.float32(0.45) + rgb("#5f7350") * np.float32(0.55))
    for i, j in np.ndindex(cells, cells):
        x, y = ((np.array([j + 0.5 * (i % 2), i]) + rng.uniform(-0.22, 0.22, 2)) * cell).tolist()
        r = cell * rng.uniform(0.16, 0.3)
        turn = rng.uniform(0, 2 * np.pi)
        color = _hex(petals[rng.integers(len(petals))])
        heart = _hex(shade(colors[1 + (i + j) % (len(colors) - 1)], 0.55))
        for ox, oy in np.ndindex(3, 3):
            cx, cy = x + (ox - 1) * n * scale, y + (oy - 1) * n * scale
            if -cell < cx < n * scale + cell and -cell < cy < n * scale + cell:
                for side in (-1, 1):
                    draw.polygon(_leaf(cx, cy, r * 2.1, turn + side * 1.1), fill=leaf)
                for k in range(5):
                    a = turn + k * 2 * np.pi / 5
                    px, py, pr = cx + r * 0.62 * np.cos(a), cy + r * 0.62 * np.sin(a), r * 0.52
                    draw.ellipse((px - pr, py - pr, px + pr, py + pr), fill=color)
                hr = r * 0.3
                draw.ellipse((cx - hr, cy - hr, cx + hr, cy + hr), fill=heart)
    return np.asarray(image.reduce(scale), dtype=np.float32) / np.float32(255)


def _leaf(x: float, y: float, length: float, angle: float) -> list[tuple[float, float]]:
    t = np.linspace(0, 1, 9)
    along, across = t * length, np.sin(t * np.pi) * length * 0.17
    u = np.concatenate([along, along[::-1]])
    v = np.concatenate([across, -across[::-1]])
    c, s = np.cos(angle), np.sin(angle)
    return [(float(x + a * c - b * s), float(y + a * s + b * c)) for a, b in zip(u, v, strict=True)]


def _hex(color: Pixels) -> tuple[int, int, int]:
    r, g, b = (round(float(c) * 255) for c in np.clip(color, 0, 1))
    return r, g, b


GRAINS: dict[str, tuple[tuple[float, int, int], ...]] = {
    # weave: (how much lighter or darker, how far it runs across and down in pixels), ...
    "jersey": ((0.014, 1, 1), (0.010, 0, 3)),
    "poplin": ((0.014, 1, 1), (0.010, 0, 3)),
    "linen": ((0.035, 14, 0), (0.03, 0, 14), (0.015, 1, 1)),
    "denim": ((0.05, 0, 9), (0.035, 1, 1)),
    "twill": ((0.018, 1, 1),),
    "knit": ((0.02, 2, 2),),
    "corduroy": ((0.02, 1, 3),),
    "wool": ((0.045, 2, 2), (0.03, 1, 0)),
    "fleece": ((0.016, 1, 1), (0.014, 4, 4)),
    "straw": ((0.03, 3, 3),),
    "satin": ((0.008, 3, 3),),
    "nylon": ((0.008, 3, 3),),
}
SHEEN = {"satin": 0.8, "nylon": 0.6}
BODY = {
    "denim": 1.15,
    "twill": 0.95,
    "wool": 0.9,
    "fleece": 1.1,
    "corduroy": 1.0,
    "knit": 0.8,
    "straw": 0.2,
    "linen": 1.15,
}


def make_fabric(
    weave: str,
    colors: list[str],
    rng: Generator,
    *,
    pattern: str = "plain",
    size: float = 3.0,
    share: float = 0.4,
    upright: bool = False,
    density: float = 12.0,
) -> Fabric:
    """Weave a fabric.

    Parameters
    ----------
    weave : str
        ``jersey``, ``poplin``, ``linen``, ``denim``, ``twill``, ``knit``, ``corduroy``, ``wool``, ``fleece``,
        ``straw``, ``satin`` or ``nylon``.
    colors : list of str
        The ground, then the pattern's colours.
    rng : Generator
        Where chance comes from.
    pattern : str
        One of `PATTERNS`.
    size : float
        The pattern's period in centimetres, made to fit the tile.
    share : float
        How much of the period a stripe takes.
    upright : bool
        Stripes run down rather than across.
    density : float
        Pixels of the tile in a centimetre: about twice that of the photo.

    Returns
    -------
    Fabric
    """
    tones = [rgb(c) for c in colors]
    if pattern == "stripes":
        base = _stripes(tones, density, size, share=share, upright=upright)
    elif pattern == "plaid":
        base = _plaid(tones, density, size)
    elif pattern == "dots":
        base = _dots(tones, density, size)
    elif pattern == "floral":
        base = _floral(tones, density, size, rng)
    else:
        base = np.broadcast_to(tones[0], (TILE, TILE, 3))
    light = _weave(weave, rng)
    tile = base * light[..., None]
    if weave == "denim":
        # The white weft shows between the dyed warp.
        fleck = np.clip(_noise(rng, 0, 2) - 0.6, 0, 1)[..., None] * np.float32(0.10)
        tile = tile + (1 - tile) * fleck
    # The photo has half the tile's density: without this the nearest pixel of the tile would sparkle.
    tile = np.clip(_smooth(tile.astype(np.float32)), 0.01, 1)
    return Fabric(
        np.ascontiguousarray(tile.transpose(2, 0, 1)), density, SHEEN.get(weave, 0.08), BODY.get(weave, 1.0)
    )


def solid(color: str | Pixels, *, sheen: float = 0.1, body: float = 1.0, ribs: bool = False) -> Fabric:
    """Return a plain fabric of one colour, for trims, skin, wood and the like; ``ribs`` run down."""
    base = rgb(color) if isinstance(color, str) else color
    if not ribs:
        return Fabric(base.reshape(3, 1, 1), 12.0, sheen, body)
    light = np.broadcast_to(1 + 0.09 * np.sin(np.arange(32) * 2 * np.pi / 8), (32, 32))
    return Fabric((base[:, None, None] * light).astype(np.float32), 12.0, sheen, body)
