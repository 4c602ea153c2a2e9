"""Tops: tees, shirts, blouses, hoodies, jackets, and dresses, which begin as tops."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from serupa_sample.cloth import Crease, Drape, Part, Seam
from serupa_sample.collars import collar, hood_behind
from serupa_sample.fabrics import solid
from serupa_sample.outlines import (
    Point,
    Points,
    band,
    ellipse,
    flip,
    limb,
    mirror,
    path,
    rectangle,
    tube,
)
from serupa_sample.sewing import (
    Cut,
    Materials,
    Pose,
    button,
    crease,
    flipped,
    neck_edge,
    radiate,
    threads,
)

CUFFS = {"button": 6.0, "rib": 6.0, "band": 2.5}
"""How deep each kind of cuff is, in centimetres."""
WORN_EASE = 0.78
"""Half of a garment's front goes around the figure, out of sight."""


def build_top(
    cut: Cut, cloth: Materials, pose: Pose, rng: Generator, within: tuple[Part, ...] = ()
) -> list[Part]:
    """Return the parts of a top, from the back to the front, around the parts that it is on."""
    worn = pose.name == "worn"
    if worn:
        cut = _tried_on(cut)
    body = _body(cut, pose)
    parts: list[Part] = []
    if not worn:
        parts += _inside(cut, cloth)
    if cut.collar == "hood":
        parts += hood_behind(cloth, pose)
    parts += within
    if cut.sleeve > 0:
        for side in (1, -1):
            parts += _sleeve(cut, cloth, pose, side, rng)
    parts.append(_front(cut, cloth, pose, body, rng))
    if "quilt" in cut.extras:
        parts += _quilt(body, cut, cloth)
    if "raglan" in cut.extras:
        parts += _raglan(cut, cloth, pose)
    parts += _hem(cut, cloth, pose)
    parts += _pockets(cut, cloth, pose)
    parts += _opening(cut, cloth, pose)
    parts += collar(cut, cloth, pose, rng)
    parts += _extras(cut, cloth, pose, rng)
    return parts


def arm_root(cut: Cut) -> Point:
    """Return where the middle of a sleeve begins on a figure: the arm begins there too."""
    pose = Pose("worn", ((0, 0), (0, 0)), WORN_EASE)
    s, u, _ = _side(_tried_on(cut), pose)
    return ((s[0] + u[0]) / 2, (s[1] + u[1]) / 2) if cut.sleeve > 0 else (16.2, 10.0)


def arm_length(cut: Cut) -> float:
    """Return how far an arm reaches from its root to the wrist."""
    return max(47.0, cut.sleeve + 3.0)


def _tried_on(cut: Cut) -> Cut:
    """Return the cut as a figure's shoulders shape it."""
    return replace(
        cut,
        shoulder=cut.shoulder * 0.87,
        slope=cut.slope + 1.0,
        armhole=cut.armhole - 2.5,
        neck=min(cut.neck, 11) * 0.92,
    )


def _side(cut: Cut, pose: Pose) -> tuple[Point, Point, Point]:
    """Return the shoulder point, the underarm and the corner of the hem."""
    s = (cut.shoulder, cut.slope)
    u = (cut.chest * pose.ease, cut.armhole)
    h = (cut.hem * (pose.ease if cut.hem < 34 else (1 + pose.ease) / 2), cut.length)
    return s, u, h


def _body(cut: Cut, pose: Pose) -> Points:
    s, u, h = _side(cut, pose)
    w = (cut.waist * pose.ease, cut.waist_y)
    edge = [tuple(p) for p in neck_edge(cut)]
    flare = (h[0] - w[0]) * 0.25
    steps: list[tuple[float, ...]] = [*edge[1:]]
    if "straps" in cut.extras:
        steps += [(cut.neck + 1.2, 0), (cut.neck + 2.5, 9, u[0] - 4.5, u[1] - 2.0, u[0], u[1])]
    elif cut.sleeve > 0:
        steps += [s, (s[0] - 1.8, s[1] + 7, u[0] - 4.5, u[1] - 4, u[0], u[1])]
    else:
        steps += [s, (s[0] - 3.4, s[1] + 8, s[0] - 2.5, u[1] - 2.5, u[0], u[1])]
    steps.append((u[0] - 0.6, u[1] + 6, w[0], w[1] - 9, w[0], w[1]))
    if cut.hemline == "shirttail":
        side_y = cut.length - 8.5
        steps += [
            (w[0] + flare, w[1] + 8, h[0], side_y - 10, h[0], side_y),
            (h[0] - 1.0, cut.length + 0.5, h[0] * 0.6, cut.length + 0.6, 0, cut.length + 0.8),
        ]
    else:
        steps += [
            (w[0] + flare, w[1] + (h[1] - w[1]) * 0.3, h[0] - flare * 0.8, h[1] - (h[1] - w[1]) * 0.3, *h),
            (h[0] * 0.5, cut.length + 1.1, 0, cut.length + 1.1),
        ]
    return mirror(path(edge[0], *steps))


def _inside(cut: Cut, cloth: Materials) -> list[Part]:
    """Return the back of the neck as seen through the neckline, with its label."""
    n, d = cut.neck, cut.drop
    half = path((0, 1.6), (n * 0.6, 1.6, n * 0.9, 1.0, n, -0.3), (n + 2, 2), (n * 0.8, d + 6), (0, d + 8))
    back = Part(mirror(half), cloth.lining, tone=0.66, round=0.5, rumple=0.1)
    label = Part(rectangle(-2.1, 2.6, 2.1, 4.9, 0.2), solid("Ecru"), lift=0.1, round=0.1, rumple=0)
    return [back] if "straps" in cut.extras else [back, label]


def _sleeve(cut: Cut, cloth: Materials, pose: Pose, side: int, rng: Generator) -> list[Part]:
    s, u, _ = (np.array(p) for p in _side(cut, pose))
    upper, fore = pose.arms[0 if side > 0 else 1]
    middle = (s + u) / 2
    whole = arm_length(cut) if pose.name == "worn" else None
    line = limb((middle[0], middle[1]), (upper, fore), cut.sleeve + 3.0, whole)
    n = len(line)
    t = np.linspace(0, 1, n)
    start = float(np.hypot(*(s - u)))
    end = cut.sleeve_end * (0.86 if pose.name == "worn" else 1.0)
    width = start * 0.92 + (end - start * 0.92) * t**0.85
    width = width * (1 + cut.puff * np.sin(np.clip(t * 1.02, 0, 1) ** 0.9 * np.pi))
    d = np.gradient(line, axis=0)
    d /= np.hypot(d[:, 0], d[:, 1])[:, None]
    across = np.stack([d[:, 1], -d[:, 0]], axis=1) * (width / 2)[:, None]
    hold = np.clip(t * (cut.sleeve + 3.0) / (13.0 if cut.puff > 0.25 else 24.0), 0, 1)
    hold = (hold * hold * (3 - 2 * hold))[:, None]
    offset = (s - u) / 2 * (1 - hold) + across * hold
    top, under = line + offset, line - offset
    inner = np.array([[s[0] - 4, s[1] + 1.0], [u[0] - 5, u[1] - 1]])
    ring = np.concatenate([inner[:1], top, under[::-1], inner[1:]])
    angle = float(np.degrees(np.arctan2(d[n // 2, 1], d[n // 2, 0])) - 90)
    hem = (Seam(np.stack([top[n - 3], under[n - 3]]), 0.2, 0.78),) if cut.cuff == "hem" else ()
    creases = _arm_creases(line, width, d, rng)
    parts = [
        Part(
            ring,
            cloth.sleeve or cloth.main,
            angle=angle,
            origin=(float(s[0]), float(s[1])),
            lift=0.7,
            round=1.5 if pose.name == "worn" or cut.puff else 1.0,
            rumple=0.2,
            seams=hem,
            creases=tuple(creases),
            drape=Drape(2.5, 0.3, 0.3) if cut.puff > 0.25 else None,
        )
    ]
    if "quilt" in cut.extras:
        for i in range(4, n - 4, 4):
            piece = np.concatenate([top[i : i + 5], under[i : i + 5][::-1]])
            parts.append(Part(piece, cloth.main, angle=angle, lift=0.3, round=1.2, rumple=0.3))
    if cut.cuff in CUFFS:
        parts.append(_cuff(line[-1], d[-1], float(width[-1]), cut.cuff, cloth))
        if cut.cuff == "button":
            at = (
                line[-1]
                + d[-1] * CUFFS["button"] / 2
                + np.array([-d[-1, 1], d[-1, 0]]) * float(width[-1]) * 0.2
            )
            parts.append(button(float(at[0]), float(at[1]), cloth, 0.55))
    if side < 0:
        parts = [flipped(p) for p in parts]
    return parts


def _cuff(at: Points, d: Points, width: float, kind: str, cloth: Materials) -> Part:
    depth = CUFFS[kind]
    line = np.stack([at - d * 0.5, at + d * depth])
    share = 0.84 if kind == "rib" else 0.92
    ring = tube(line, np.array([width * share, width * share * 0.97]))
    angle = float(np.degrees(np.arctan2(d[1], d[0])) - 90)
    inner = tube(np.stack([at, at + d * (depth - 0.5)]), width * share * 0.9)
    seams = (Seam(inner, 0.18, 0.8),) if kind == "button" else ()
    fabric = cloth.trim if kind == "rib" else cloth.main
    return Part(ring, fabric, angle=angle, origin=(float(at[0]), float(at[1])), lift=0.3, seams=seams)


def _arm_creases(line: Points, width: Points, d: Points, rng: Generator) -> list[Crease]:
    """Return folds around the elbow of a sleeve."""
    creases = []
    n = len(line)
    long = float(np.hypot(*(line[-1] - line[0]))) > 40
    for _ in range(8 if long else 3):
        i = int(np.clip(rng.normal(0.5, 0.2) * n, 2, n - 3)) if long else int(rng.integers(4, n - 4))
        slant = rng.uniform(0.5, 1.3) * rng.choice([-1, 1])
        side = rng.uniform(-0.25, 0.25)
        normal = np.array([d[i, 1], -d[i, 0]])
        half = float(width[i]) * rng.uniform(0.22, 0.46)
        mid = line[i] + normal * float(width[i]) * side
        a = mid + normal * half + d[i] * half * slant
        b = mid - normal * half - d[i] * half * slant
        creases.append(crease(a, b, rng, width=rng.uniform(2.0, 3.8), height=rng.uniform(0.22, 0.55)))
    return creases


def _front(cut: Cut, cloth: Materials, pose: Pose, body: Points, rng: Generator) -> Part:
    _, u, h = _side(cut, pose)
    creases: list[Crease] = []
    strength = {"flat": 0.34, "hang": 0.42, "worn": 0.6}[pose.name]
    for side in (1, -1):
        inward = (150, 215) if side > 0 else (-35, 30)
        creases += radiate(
            rng, (side * (u[0] - 1), u[1]), angles=inward, lengths=(7, 17), count=3, height=strength
        )
        down = (100, 150) if side > 0 else (30, 80)
        creases += radiate(
            rng, (side * (u[0] - 2), u[1] - 4), angles=down, lengths=(12, 26), count=2, height=strength
        )
        if pose.name == "worn":
            w = (side * cut.waist * pose.ease * 0.95, cut.waist_y)
            creases += radiate(rng, w, angles=inward, lengths=(6, 15), count=3, height=strength * 0.9)
    if pose.name == "flat":
        for _ in range(4):
            at = (rng.uniform(-u[0], u[0]) * 0.7, rng.uniform(u[1], cut.length * 0.85))
            creases += radiate(rng, at, angles=(0, 360), lengths=(8, 20), count=1, height=0.3)
    drape = None
    if cut.folds:
        fall = cut.folds * (0.75 if pose.name == "flat" else 1.0)
        drape = Drape(3.6, 0.05, fall)
    elif pose.name != "flat":
        drape = Drape(2.6, 0.1, 0.6)
    return Part(
        body,
        cloth.main,
        lift=0.35,
        round={"flat": 1.0, "hang": 1.4, "worn": 2.6}[pose.name],
        rumple=0.2,
        seams=tuple(_front_seams(cut, cloth, h[0])),
        creases=tuple(creases),
        drape=drape,
    )


def _front_seams(cut: Cut, cloth: Materials, hem: float) -> list[Seam]:
    seams: list[Seam] = []
    if cut.hemline == "straight":
        y = cut.length - 2.2
        seams.append(Seam(path((-hem, y), (0, y + 2.0, hem, y)), 0.2, 0.8))
    if "yoke" in cut.extras:
        y = 17.0
        seams += [Seam(path((-40, y - 0.5), (0, y + 1.0, 40, y - 0.5)), 0.28, 0.68)]
        seams += threads([path((-40, y + 0.3), (0, y + 1.8, 40, y + 0.3))], cloth)
    if "panels" in cut.extras:
        for side in (1, -1):
            line = path((side * 10.5, 23), (side * 7.5, cut.length))
            seams += [Seam(line, 0.28, 0.7), *threads([line + np.array([side * 0.7, 0.0])], cloth)]
    if "gathers" in cut.extras:
        y = cut.waist_y
        seams.append(Seam(path((-40, y), (0, y + 0.8, 40, y)), 0.3, 0.7))
    return seams


def _hem(cut: Cut, cloth: Materials, pose: Pose) -> list[Part]:
    if cut.hemline not in ("rib", "band"):
        return []
    _, _, h = _side(cut, pose)
    y = cut.length
    deep = 6.5 if cut.hemline == "rib" else 4.5
    x = h[0] * 0.985
    half = path((0, y), (x * 0.5, y, x, y - 1.0), (x * 0.96, y + deep - 1), (x * 0.5, y + deep, 0, y + deep))
    fabric = cloth.trim if cut.hemline == "rib" else cloth.main
    return [Part(mirror(half), fabric, lift=0.25, round=0.9, rumple=0.1)]


def _quilt(body: Points, cut: Cut, cloth: Materials) -> list[Part]:
    """Return the filled channels of a puffer's front, from below the shoulders to the hem."""
    half = body[: len(body) // 2]
    edge = half[int(np.argmax(half[:, 0] >= cut.shoulder * 0.999)) :]
    edge = edge[: int(np.argmax(edge[:, 1])) + 1]
    parts = []
    tops = np.linspace(cut.slope + 2.0, cut.length + 0.6, 8)
    for y0, y1 in pairwise(tops.tolist()):
        ys = np.linspace(y0, y1, 7)
        xs = np.interp(ys, edge[:, 1], edge[:, 0]) + 0.5 * np.sin(np.linspace(0, np.pi, 7))
        sag = path((float(xs[-1]), y1), (0, y1 + 1.2, -float(xs[-1]), y1))
        right = np.stack([xs, ys], axis=1)
        crown = path((-float(xs[0]), y0), (0, y0 + 1.2, float(xs[0]), y0))
        ring = np.concatenate([right, sag, flip(right)[::-1], crown])
        parts.append(Part(ring, cloth.main, lift=0.35, round=1.5, rumple=0.35))
    return parts


def _raglan(cut: Cut, cloth: Materials, pose: Pose) -> list[Part]:
    """Return the shoulders of sleeves that are cut up to the neck."""
    s, u, _ = _side(cut, pose)
    ring = path(
        (cut.neck - 0.4, 0.2),
        (cut.neck + 1, 9, u[0] - 7, 17, u[0], u[1]),
        (u[0] - 4.5, u[1] - 4, s[0] - 1.8, s[1] + 7, s[0], s[1]),
    )
    shoulder = Part(ring, cloth.sleeve or cloth.main, angle=-28, origin=s, lift=0.2, round=0.8, rumple=0.15)
    return [shoulder, flipped(shoulder)]


def _opening(cut: Cut, cloth: Materials, pose: Pose) -> list[Part]:
    """Return what closes the front: a button band, a zip, or a henley's short placket."""
    top = cut.drop
    bottom = cut.length + (0.6 if cut.hemline != "rib" else 6.2)
    if cut.front in ("buttons", "half"):
        end = bottom if cut.front == "buttons" else top + 15
        ring = rectangle(-1.7, top - 0.5, 1.7, end, 0.2)
        stitch = [path((x, top), (x, end)) for x in (-1.3, 1.3)]
        seams = (*threads(stitch, cloth),)
        placket = Part(ring, cloth.main, lift=0.25, round=0.2, rumple=0.05, seams=seams)
        count = max(3, round((end - top) / 9.5))
        ys = np.linspace(top + 2.4, end - (4.0 if cut.front == "buttons" else 2.0), count)
        return [placket, *(button(0, float(y), cloth) for y in ys)]
    if cut.front == "zip":
        tape = Part(
            rectangle(-1.0, top - 1, 1.0, bottom), cloth.lining, tone=0.8, lift=0.2, round=0.2, rumple=0
        )
        metal = solid("#8f8f90", sheen=0.8)
        teeth = Part(rectangle(-0.3, top - 1, 0.3, bottom), metal, lift=0.1, round=0.2, rumple=0)
        ys = np.arange(top - 1, bottom, 0.9)
        teeth = replace(teeth, seams=tuple(Seam(path((-0.4, y), (0.4, y)), 0.25, 0.55) for y in ys.tolist()))
        pull = Part(rectangle(-0.55, top + 0.5, 0.55, top + 4.2, 0.4), metal, lift=0.4, round=0.3, rumple=0)
        return [tape, teeth, pull]
    if cut.front == "double":
        line = path((0, cut.drop), (5.5, cut.drop + 4), (5.5, cut.length))
        ring = np.concatenate([line, [[0.0, cut.length], [-4, cut.drop]]])
        flap = Part(ring, cloth.main, lift=0.4, round=0.3, rumple=0.1)
        ys = np.linspace(cut.drop + 5, cut.drop + 27, 3).tolist()
        return [flap, *(button(x, y, cloth, 0.95) for y in ys for x in (-5.5, 4.0))]
    if cut.front == "single":
        line = path(
            (0, cut.drop), (1.2, cut.drop + 3), (1.2, cut.length - 9), (0.5, cut.length, -5, cut.length + 1)
        )
        seam = Seam(line, 0.35, 0.5)
        ring = np.concatenate([line, [[-9.0, cut.length + 1], [-9.0, cut.drop + 2]]])
        flap = Part(ring, cloth.main, lift=0.45, round=0.25, rumple=0.1, seams=(seam,))
        return [flap, *(button(-0.4, float(y), cloth, 0.95) for y in (cut.drop + 2.5, cut.drop + 13))]
    if cut.front == "wrap":
        w = cut.waist * pose.ease
        line = path((-cut.neck, 0), (-2, cut.drop * 0.8, w * 0.75, cut.waist_y - 2))
        return [Part(band(line, 1.6), cloth.main, angle=35, lift=0.4, round=0.4, rumple=0.05)]
    return []


def _pockets(cut: Cut, cloth: Materials, pose: Pose) -> list[Part]:
    parts: list[Part] = []
    x = cut.chest * pose.ease * 0.46
    if "chest" in cut.pockets:
        parts.append(_patch(x - 5.2, 21, 10.4, 11.5, cloth))
    if "flaps" in cut.pockets:
        for side in (-1, 1):
            left = side * x - 5.2
            parts.append(_patch(left, 21, 10.4, 11.5, cloth))
            flap = path(
                (left - 0.3, 20), (left + 10.7, 20), (left + 10.7, 23.5), (left + 5.2, 26), (left - 0.3, 23.5)
            )
            sewn = tuple(threads([flap * 0.94 + flap.mean(axis=0) * 0.06], cloth))
            parts.append(Part(flap, cloth.main, lift=0.4, round=0.3, rumple=0.05, seams=sewn))
            parts.append(button(left + 5.2, 24.3, cloth))
    if "kangaroo" in cut.pockets:
        y1 = cut.length + 0.4
        y0 = y1 - 21
        half = path((0, y0), (9.5, y0), (11.5, y0 + 6, 16, y0 + 10, 16.5, y0 + 13), (16.5, y1), (0, y1))
        ring = mirror(half)
        stitch = Seam(
            np.concatenate([ring, ring[:1]]) * 0.965 + np.array([0, (y0 + y1) / 2]) * 0.035, 0.18, 0.8
        )
        parts.append(Part(ring, cloth.main, lift=0.5, round=0.7, rumple=0.2, seams=(stitch,)))
    low = cut.length - 24
    if "patch" in cut.pockets:
        for side in (-1, 1):
            parts.append(_patch(side * cut.chest * pose.ease * 0.52 - 7, low + 3, 14, 16, cloth))
    if "welt" in cut.pockets or "flap" in cut.pockets:
        for side in (-1, 1):
            cx = side * cut.chest * pose.ease * 0.54
            if "flap" in cut.pockets:
                ring = rectangle(cx - 6.8, low, cx + 6.8, low + 5, 0.8)
            else:
                ring = tube(path((cx - side * 3, low + 8), (cx + side * 2.4, low - 6)), 2.2)
            parts.append(Part(ring, cloth.main, tone=0.97, lift=0.4, round=0.35, rumple=0.05))
    return parts


def _patch(x: float, y: float, w: float, h: float, cloth: Materials) -> Part:
    half = [(x, y), (x + w, y), (x + w, y + h - 2), (x + w / 2, y + h), (x, y + h - 2)]
    ring = path(half[0], *half[1:])
    middle = ring.mean(axis=0)
    inner = middle + (ring - middle) * 0.92
    seams = (
        *threads([np.concatenate([inner, inner[:1]])], cloth),
        Seam(path((x, y + 1.8), (x + w, y + 1.8)), 0.18, 0.82),
    )
    return Part(ring, cloth.main, origin=(x + 1.3, y + 0.7), lift=0.3, round=0.35, rumple=0.08, seams=seams)


def _extras(cut: Cut, cloth: Materials, pose: Pose, rng: Generator) -> list[Part]:
    parts: list[Part] = []
    _, _, h = _side(cut, pose)
    w = cut.waist * pose.ease
    y = cut.waist_y
    if "straps" in cut.extras:
        for side in (1, -1):
            line = path(
                (side * (cut.neck + 0.6), 0.5), (side * (cut.neck - 0.4), -9), (side * (cut.neck - 1.5), -11)
            )
            parts.insert(0, Part(tube(line, 1.1), cloth.main, lift=0.3, round=0.3, rumple=0))
    if "ruffle hem" in cut.extras:
        half = path((0, cut.length - 0.5), (h[0] * 0.5, cut.length - 0.5, h[0] - 0.3, cut.length - 1.5))
        low = path((h[0] + 2.5, cut.length + 14), (h[0] * 0.5, cut.length + 16.5, 0, cut.length + 16.5))
        frill = mirror(np.concatenate([half, low]))
        parts.append(Part(frill, cloth.main, lift=0.4, round=1.0, drape=Drape(5, 0.25, 0.55), rumple=0.2))
    if "belt" in cut.extras:
        belt = path(
            (-w - 0.5, y - 2),
            (0, y - 0.8, w + 0.5, y - 2),
            (w + 0.5, y + 1.6),
            (0, y + 2.8, -w - 0.5, y + 1.6),
        )
        parts.append(Part(belt, cloth.trim, lift=0.5, round=0.7, rumple=0.15))
        for bend, length in ((2.5, 24.0), (5.5, 19.0)):
            tail = path((1.0, y + 0.6), (bend, y + length * 0.4, bend * 0.9, y + length))
            parts.append(Part(tube(tail, 3.0), cloth.trim, lift=0.5, round=0.6, rumple=0.15))
        parts.append(Part(rectangle(-2.0, y - 1.9, 2.2, y + 2.8, 1.4), cloth.trim, lift=0.5, round=0.8))
    if "print" in cut.extras:
        parts += _print(cloth, rng)
    if "bomber" in cut.extras:
        for side in (1, -1):
            ring = tube(path((side * 13, 47), (side * 17.5, 58)), 1.8)
            parts.append(Part(ring, cloth.trim, lift=0.2, round=0.4, rumple=0))
    return parts


def _print(cloth: Materials, rng: Generator) -> list[Part]:
    """Return a small printed emblem: a sun over hills."""
    ink = cloth.button
    sun = Part(ellipse(0, 24, 4.6, 4.6), ink, lift=0, round=0, rumple=0.1)
    parts = [sun]
    for k in range(3):
        y = 26.0 + k * 1.9
        hill = path((-9 + k, y), (-4, y - 1.8 + rng.uniform(-0.4, 0.4), 0, y), (4, y + 1.6, 9 - k, y))
        parts.append(Part(tube(hill, 1.1), cloth.main if k == 0 else ink, lift=0, round=0, rumple=0.1))
    return parts
