"""Hats, seen from the front. The head's band is at y = 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from serupa_sample.cloth import Drape, Part, Seam
from serupa_sample.fabrics import solid
from serupa_sample.outlines import Points, ellipse, mirror, path, rectangle, tube
from serupa_sample.sewing import Materials, radiate, threads


@dataclass(frozen=True)
class HatCut:
    """What kind of hat, and its one or two measures in centimetres."""

    kind: str
    brim: float = 0.0
    extras: tuple[str, ...] = ()


def build_hat(cut: HatCut, cloth: Materials, rng: Generator) -> list[Part]:
    """Return the parts of a hat, from the back to the front."""
    return {
        "cap": _cap,
        "bucket": _bucket,
        "beanie": _beanie,
        "fedora": _fedora,
        "sun": _sun,
        "beret": _beret,
    }[cut.kind](cut, cloth, rng)


def _cap(cut: HatCut, cloth: Materials, rng: Generator) -> list[Part]:
    crown = path(
        (-9.7, -0.5),
        (-10.6, -8.5, -7.2, -14.0, 0.2, -14.2),
        (7.4, -14.0, 10.5, -8.5, 9.7, -0.5),
        (5, 2.6, -5, 2.6, -9.7, -0.5),
    )
    panels = [
        path((0, -14.2), (0.3, -6, 0, 1.6)),
        path((0, -14.2), (-7.2, -11, -7.0, 1.0)),
        path((0, -14.2), (7.2, -11, 7.0, 1.0)),
    ]
    seams = [s for line in panels for s in (Seam(line, 0.14, 0.68), *_beside(line, cloth))]
    out = cut.brim
    brim = path(
        (-9.8, -1.2),
        (-11.6, 0.6, -12.2, out - 2.4, -9.0, out - 1.4),
        (-4.5, out + 0.4, 4.5, out + 0.4, 9.0, out - 1.4),
        (12.2, out - 2.4, 11.6, 0.6, 9.8, -1.2),
        (6, 1.5, -6, 1.5, -9.8, -1.2),
    )
    middle = np.array([0.0, -1.0])
    rows = [Seam(middle + (brim[14:44] - middle) * s, 0.1, 0.8) for s in (0.94, 0.86, 0.78, 0.70)]
    parts = [
        Part(crown, cloth.main, lift=0.4, round=1.1, rumple=0.05, seams=tuple(seams)),
        Part(ellipse(0, -14.2, 0.9, 0.55), cloth.main, lift=0.2, round=0.3, rumple=0),
        Part(
            brim,
            cloth.trim if "contrast" in cut.extras else cloth.main,
            lift=0.8,
            round=0.7,
            rumple=0.02,
            seams=tuple(rows),
        ),
    ]
    for x in (-3.8, 3.8):
        parts.append(
            Part(ellipse(x, -9.6, 0.32, 0.32, 14), cloth.lining, tone=0.5, lift=0, round=0, rumple=0)
        )
    if "badge" in cut.extras:
        patch = rectangle(-2.8, -8.0, 2.8, -4.2, 0.5)
        stitch = rectangle(-2.5, -7.7, 2.5, -4.5, 0.4)
        parts.append(
            Part(
                patch,
                cloth.button,
                lift=0.15,
                round=0.1,
                rumple=0,
                seams=(Seam(stitch, 0.1, 0.7, dash=0.25),),
            )
        )
        hills = path((-1.9, -5.2), (-0.8, -6.9), (0.1, -5.7), (0.8, -6.4), (1.9, -5.2))
        parts.append(Part(tube(hills, 0.25), cloth.main, lift=0, round=0, rumple=0))
    return parts


def _beside(line: Points, cloth: Materials) -> list[Seam]:
    stitch = [Seam(line + np.array([dx, 0.0]), 0.08, 0.82, dash=0.22) for dx in (-0.4, 0.4)]
    return threads([line + np.array([0.4, 0.0])], cloth) if cloth.thread else stitch


def _bucket(cut: HatCut, cloth: Materials, rng: Generator) -> list[Part]:
    half = path((0, -11.2), (4, -11.5, 6.8, -11.2, 7.8, -10.0), (8.5, -7, 9.5, -3, 9.8, 0), (6, 2.2, 0, 2.2))
    top = path((-7.7, -9.5), (-3, -8.3, 3, -8.3, 7.7, -9.5))
    side = Seam(path((8.0, -9.4), (8.6, -5, 8.2, 1)), 0.12, 0.8)
    crown = Part(
        mirror(half), cloth.main, lift=0.3, round=1.2, rumple=0.1, seams=(Seam(top, 0.16, 0.66), side)
    )
    w = 9.7 + cut.brim * 0.62
    d = cut.brim
    edge = path(
        (0, 1.0),
        (6, 1.0, 9.6, -1.4),
        (10.6, 1.5, w - 0.8, d - 3.5, w, d - 2.4),
        (w * 0.6, d + 1.4, 0, d + 1.4),
    )
    rows = []
    for s in np.linspace(0.2, 0.92, 6).tolist():
        x, y0, y1 = 9.6 + (w - 9.6) * s, -1.4 + (d - 1.0) * s, 1.0 + (d + 0.4) * s
        rows.append(Seam(path((-x, y0), (-x * 0.55, y1 + 0.3, x * 0.55, y1 + 0.3, x, y0)), 0.1, 0.8))
    brim = Part(
        mirror(edge),
        cloth.main,
        lift=0.7,
        round=0.7,
        rumple=0.12,
        seams=tuple(rows),
        drape=Drape(1.6, 0.05, 0.25),
    )
    eyelets = [
        Part(ellipse(x, -4.2, 0.3, 0.3, 14), cloth.button, lift=0.05, round=0.1, rumple=0)
        for x in (-6.8, -5.4)
    ]
    return [crown, brim, *eyelets]


def _beanie(cut: HatCut, cloth: Materials, rng: Generator) -> list[Part]:
    top = -17.0 - cut.brim
    half = path((0, top), (5.6, top + 0.2, 9.9, top + 5, 10.3, -6.5), (10.5, 0), (0, 1))
    ribs = []
    for u in np.linspace(-0.94, 0.94, 17).tolist():
        ribs.append(Seam(path((u * 2.2, top + 0.4), (u * 10.8, top + 3.5, u * 10.2, -5)), 0.34, 0.8))
    dome = Part(mirror(half), cloth.main, lift=0.4, round=1.3, rumple=0.08, seams=tuple(ribs))
    fold = path((0, -6.2), (6, -6.2, 10.7, -7.6), (11.2, -6.8, 11.2, -0.8, 10.8, 0.2), (6, 1.9, 0, 1.9))
    lines = tuple(
        Seam(path((u * 10.9, -6.8), (u * 11.4, -2.5, u * 11.0, 1.6)), 0.3, 0.76)
        for u in np.linspace(-0.96, 0.96, 23)
    )
    cuff = Part(mirror(fold), cloth.main, lift=0.7, round=0.8, rumple=0.05, seams=lines)
    parts = [dome, cuff]
    if "badge" in cut.extras:
        parts.append(
            Part(rectangle(-2.0, -4.6, 2.0, -1.4, 0.2), cloth.button, lift=0.15, round=0.15, rumple=0)
        )
    if "pompom" in cut.extras:
        t = np.linspace(0, 2 * np.pi, 90, endpoint=False)
        r = 4.0 + 0.08 * np.sin(t * 23) + rng.normal(0, 0.13, 90)
        ball = np.stack([r * np.cos(t), top - 1.8 + r * np.sin(t) * 0.95], axis=1)
        parts.append(Part(ball, cloth.trim, lift=0.5, round=1.4, rumple=0.5))
    return parts


def _brim(cut: HatCut, cloth: Materials, rise: float) -> list[Part]:
    """Return a wide brim: its far side, the shade inside it and its near side."""
    b = cut.brim
    far = Part(
        path((-b, 0.4), (-b * 0.86, -rise - 2, -b * 0.4, -rise - 2.6, 0, -rise - 2.6),
             (b * 0.4, -rise - 2.6, b * 0.86, -rise - 2, b, 0.4), (0, 3, -b, 0.4)),
        cloth.main, tone=0.86, lift=0.4, round=0.4, rumple=0.05,
    )  # fmt: skip
    near = path(
        (-b, 0.2),
        (-b * 0.8, 5.2, -b * 0.36, 7.6, 0, 7.6),
        (b * 0.36, 7.6, b * 0.8, 5.2, b, 0.2),
        (b * 0.7, -1.6, 9.4, -1.8, 8.6, -1.4),
        (5, 1.6, -5, 1.6, -8.6, -1.4),
        (-9.4, -1.8, -b * 0.7, -1.6, -b, 0.2),
    )
    edge = Seam(near[:29] * np.array([0.98, 0.97]), 0.2, 0.8)
    return [
        far,
        Part(near, cloth.main, lift=0.5, round=0.7, rumple=0.05, seams=(edge,), drape=Drape(1.3, 0.1, 0.3)),
    ]


def _ribbon(cloth: Materials, wide: float, deep: float, tails: bool) -> list[Part]:
    line = path((-wide, -1.6), (-wide * 0.55, 1.9, wide * 0.55, 1.9, wide, -1.6))
    up = line[::-1] * np.array([0.965, 1.0]) - np.array([0.0, deep])
    band = Part(np.concatenate([line, up]), cloth.trim, lift=0.15, round=0.4, rumple=0.03)
    bow = path(
        (wide * 0.72, -2.6), (wide * 0.9, -5.4), (wide * 1.02, -4.6), (wide * 1.0, -0.6), (wide * 0.86, 0.8)
    )
    parts = [band, Part(bow, cloth.trim, angle=20, lift=0.25, round=0.4, rumple=0.05)]
    if tails:
        tail = path(
            (wide * 0.85, -1.0),
            (wide * 1.1, 3, wide * 1.25, 5),
            (wide * 1.4, 4.2),
            (wide * 1.2, 1, wide * 1.0, -1.8),
        )
        parts.append(Part(tail, cloth.trim, lift=0.3, round=0.3, rumple=0.1))
    return parts


def _fedora(cut: HatCut, cloth: Materials, rng: Generator) -> list[Part]:
    half = path(
        (0, -11.4), (2.2, -11.6, 3.6, -13.6, 5.6, -13.0), (8.0, -12.0, 8.6, -6, 9.2, -1.4), (5, 2.2, 0, 2.2)
    )
    dents = [
        *radiate(rng, (-3.4, -10.4), angles=(60, 90), lengths=(4, 6), count=1, height=-0.7),
        *radiate(rng, (3.4, -10.4), angles=(90, 120), lengths=(4, 6), count=1, height=-0.7),
    ]
    crown = Part(mirror(half), cloth.main, lift=0.7, round=1.2, rumple=0.06, creases=tuple(dents))
    return [*_brim(cut, cloth, 0.6), crown, *_ribbon(cloth, 9.15, 3.0, False)]


def _sun(cut: HatCut, cloth: Materials, rng: Generator) -> list[Part]:
    half = path((0, -11.0), (5, -11.0, 8.2, -9.4, 8.8, -5), (9.1, -1.4), (5, 2.2, 0, 2.2))
    rings = tuple(
        Seam(path((-9.4, y), (0, y + 3.2, 9.4, y)), 0.1, 0.86) for y in np.arange(-10, 1, 1.2).tolist()
    )
    crown = Part(mirror(half), cloth.main, lift=0.7, round=1.4, rumple=0.04, seams=rings)
    return [*_brim(cut, cloth, 1.6), crown, *_ribbon(cloth, 9.05, 2.6, "tails" in cut.extras)]


def _beret(cut: HatCut, cloth: Materials, rng: Generator) -> list[Part]:
    body = path(
        (-9.4, 0.2),
        (-15.5, -2.2, -15.0, -9.0, -6.0, -11.0),
        (2, -12.6, 15.0, -10.0, 14.6, -4.2),
        (14.2, -1.0, 11.0, -0.4, 9.2, 0.6),
        (4, 2.0, -4, 2.0, -9.4, 0.2),
    )
    folds = [
        *radiate(rng, (8.5, -0.5), angles=(200, 260), lengths=(4, 8), count=3, height=0.35),
        *radiate(rng, (-8, -0.8), angles=(-80, -20), lengths=(4, 8), count=3, height=0.35),
    ]
    edge = path((-9.5, 0.4), (-4, 2.2, 4, 2.2, 9.3, 0.8))
    stem = path((-1.2, -11.4), (-1.0, -12.6), (-0.2, -13.2))
    return [
        Part(tube(stem, 0.55), cloth.main, lift=0.1, round=0.2, rumple=0),
        Part(body, cloth.main, lift=0.5, round=1.6, rumple=0.14, creases=tuple(folds)),
        Part(tube(edge, 1.5), cloth.trim, lift=0.2, round=0.4, rumple=0),
    ]


def peg() -> list[Part]:
    """Return a wooden peg on a wall."""
    wood = solid("#a97f56", sheen=0.3)
    return [Part(ellipse(0, -9.5, 2.4, 2.4), wood, lift=0.8, round=0.8, rumple=0)]


def stand() -> list[Part]:
    """Return a milliner's wooden head on its foot."""
    wood = solid("#c2a077", sheen=0.3)
    half = path((0, -12), (6, -12, 8.6, -6, 8.4, 1), (8.0, 6, 5.6, 9, 3.6, 11.4), (3.0, 13, 3.0, 20), (0, 20))
    foot = path((0, 19), (7, 19, 8.2, 20.4), (8.2, 21.6), (0, 22.4))
    grain = tuple(
        Seam(path((x, -10), (x * 1.1, 2, x * 0.5, 12)), 0.16, 0.93) for x in np.linspace(-7, 7, 9).tolist()
    )
    return [
        Part(mirror(foot), wood, lift=0.3, round=0.6, rumple=0.02),
        Part(mirror(half), wood, lift=0.3, round=2.2, rumple=0.02, seams=grain),
    ]
