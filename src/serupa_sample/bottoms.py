"""Bottoms: trousers, shorts and skirts. The waist's front is at y = 0."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from serupa_sample.cloth import Crease, Drape, Part, Seam
from serupa_sample.fabrics import rgb, solid
from serupa_sample.outlines import Points, ellipse, mirror, path, rectangle, tube
from serupa_sample.sewing import Materials, Pose, button, flipped, radiate, threads


@dataclass(frozen=True)
class LegCut:
    """Measures of trousers or shorts in centimetres; widths of the body are halves."""

    waist: float = 19.5
    hip: float = 25.5
    rise: float = 28.0
    length: float = 103.0
    knee: float = 22.0
    hem: float = 19.0
    band: float = 4.0
    closure: str = "fly"
    pockets: str = "slant"
    cuff: str = "hem"
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class SkirtCut:
    """Measures of a skirt in centimetres; widths are halves."""

    waist: float = 17.5
    hip: float = 24.0
    hem: float = 33.0
    length: float = 62.0
    band: float = 3.5
    folds: float = 0.8
    count: float = 4.0
    extras: tuple[str, ...] = ()


def build_legs(cut: LegCut, cloth: Materials, pose: Pose, rng: Generator) -> list[Part]:
    """Return the parts of trousers or shorts, from the back to the front."""
    worn = pose.name == "worn"
    if worn and cut.length > 70:
        cut = replace(cut, length=cut.length + 6)
    if cut.length < 70:
        cut = replace(cut, hem=cut.hem * 0.88)
    if worn:
        cut = replace(cut, waist=cut.waist * 0.79, hip=cut.hip * 0.8, knee=cut.knee * 0.86, hem=cut.hem * 0.9)
    legs, outer, inner = _legs(cut, worn)
    parts: list[Part] = [] if worn else [_back(cut.waist, cloth)]
    parts.append(_leg_cloth(cut, cloth, pose, (legs, outer, inner), rng))
    parts += _leg_pockets(cut, cloth)
    if cut.cuff in ("turnup", "rib"):
        parts += _leg_cuffs(cut, cloth, outer, inner)
    parts += _waistband(cut.waist, cut.band, cloth, cut.closure)
    return parts


def _legs(cut: LegCut, worn: bool) -> tuple[Points, Points, Points]:
    """Return the outline of both legs, and the right leg's outer and inner edges from the hip and crotch."""
    long = cut.length > 70
    gap = (2.6 if long else 3.4) + (2.6 if worn and long else 0.0)
    w, h, r, end = cut.waist, cut.hip, cut.rise, cut.length
    middle = gap + cut.hem / 2 + (0.0 if cut.hem < 26 or worn else -1.5)
    hem_out, hem_in = middle + cut.hem / 2, middle - cut.hem / 2
    knee_y = r + (end - r) * 0.42
    knee_mid = (middle + h / 2) / 2
    knee_out, knee_in = knee_mid + cut.knee / 2, max(knee_mid - cut.knee / 2, 0.8)
    outer = path(
        (w, 0), (w + 2.4, 6, h, 10, h, 19), (h, r + 6, knee_out + 0.6, knee_y - 10, knee_out, knee_y)
    )
    if long:
        outer = path(
            (w, 0),
            (w + 2.4, 6, h, 10, h, 19),
            (h, r + 6, knee_out + 0.8, knee_y - 12, knee_out, knee_y),
            (knee_out - 0.4, knee_y + 14, hem_out, end - 20, hem_out, end),
        )
        inner = path(
            (hem_in, end + 0.3),
            (hem_in, end - 20, knee_in - 0.2, knee_y + 14, knee_in, knee_y),
            (knee_in, knee_y - 14, 1.2, r + 8, 0, r),
        )
    else:
        outer = path(
            (w, 0), (w + 2.4, 6, h, 10, h, 17), (h + 1.0, r, hem_out - 0.6, end - 8, hem_out, end - 1.2)
        )
        inner = path((hem_in, end + 0.8), (hem_in - 0.4, end - 6, 1.4, r + 3, 0, r))
    half = np.concatenate([[[0.0, 0.9]], outer, [[middle, end + 1.0]], inner])
    return mirror(half), outer, inner


def _leg_cloth(
    cut: LegCut, cloth: Materials, pose: Pose, outlines: tuple[Points, Points, Points], rng: Generator
) -> Part:
    legs, outer, inner = outlines
    r, end = cut.rise, cut.length
    strength = {"flat": 0.26, "hang": 0.3, "worn": 0.45}[pose.name]
    creases: list[Crease] = []
    for side in (1, -1):
        up = (-60, -15) if side > 0 else (195, 240)
        creases += radiate(rng, (side * 1.5, r - 2), angles=up, lengths=(8, 15), count=3, height=strength)
        creases += radiate(
            rng, (side * 4, r + 2), angles=(60, 120), lengths=(10, 22), count=2, height=strength
        )
        if end > 70:
            mid = float(inner[0, 0] + outer[-1, 0]) / 2
            knee = (side * (mid + 1.0), r + (end - r) * 0.42)
            creases += radiate(rng, knee, angles=(150, 210), lengths=(5, 9), count=2, height=strength)
            creases += radiate(rng, knee, angles=(-30, 30), lengths=(5, 9), count=2, height=strength)
            creases += radiate(
                rng, (side * mid, end - 12), angles=(-25, 25), lengths=(4, 8), count=2, height=strength
            )
    seams = [Seam(path((0, cut.band), (0, r)), 0.3, 0.62)]
    if cut.closure in ("fly", "button"):
        j = path((3.4, cut.band), (3.4, 15), (3.2, 19.5, 0.2, 20.5))
        seams += threads([j], cloth)
    for side in (1, -1):
        sign = np.array([side, 1.0])
        hem = path((float(outer[-1, 0]) + 1, end - 2.6), (float(inner[0, 0]) - 1, end - 2.4)) * sign
        if cut.cuff == "hem":
            seams += threads([hem], cloth) if cloth.thread else [Seam(hem, 0.2, 0.8)]
        if "crease" in cut.extras:
            x = float(inner[0, 0] + outer[-1, 0]) / 2
            line = path((9.5, cut.band), (10.5, r, x, end * 0.6, x, end)) * sign
            seams.append(Seam(line, 0.3, 0.82))
        if "pleats" in cut.extras:
            for x in (7.0, 10.5):
                seams.append(Seam(path((x, cut.band), (x + 0.8, cut.band + 11)) * sign, 0.35, 0.62))
    return Part(
        legs,
        cloth.main,
        lift=0.4,
        round={"flat": 1.0, "hang": 1.3, "worn": 2.0}[pose.name],
        rumple=0.18,
        seams=tuple(seams),
        creases=tuple(creases),
        drape=Drape(5, 0.02, 0.35) if "wide" in cut.extras and pose.name != "flat" else None,
    )


def _leg_pockets(cut: LegCut, cloth: Materials) -> list[Part]:
    parts: list[Part] = []
    b, w = cut.band, cut.waist
    if cut.pockets == "cargo":
        y = cut.rise + (14 if cut.length > 70 else 3)
        for side in (1, -1):
            x = side * (cut.hip * 0.5 + (cut.knee * 0.34 if cut.length > 70 else 4.0))
            box = rectangle(x - 6.5, y, x + 6.5, y + 17, 0.5)
            flap = rectangle(x - 7, y - 1.5, x + 7, y + 4, 0.6)
            parts += [
                Part(box, cloth.main, lift=0.5, round=0.5, seams=tuple(threads([box], cloth))),
                Part(flap, cloth.main, lift=0.5, round=0.4),
                button(x, y + 2, cloth),
            ]
    for side in (1, -1):
        sign = np.array([side, 1.0])
        if cut.pockets == "scoop":
            line = path((w * 0.52, b), (w * 0.56, b + 8, w + 1.0, b + 8.5, w + 3.4, b + 7.6))
        elif cut.pockets == "patch":
            box = path((7, b + 8), (19, b + 8), (19, b + 21), (13, b + 23), (7, b + 21)) * sign
            edge = np.concatenate([box, box[:1]])
            inner = edge.mean(axis=0) + (edge - edge.mean(axis=0)) * 0.93
            parts.append(Part(box, cloth.main, lift=0.4, round=0.4, seams=tuple(threads([inner], cloth))))
            continue
        else:
            line = path((w * 0.66, b), (w + 3.0, b + 15))
        # A pocket's mouth: its lip casts a thin shade on the bag behind it.
        lip = tube(line * sign, 0.5)
        stitch = line * sign + np.array([-side * 0.8, 0.4])
        parts.append(Part(lip, cloth.main, tone=0.62, lift=0.0, round=0.0, rumple=0))
        parts.append(
            Part(
                tube(stitch, 0.7),
                cloth.main,
                lift=0.25,
                round=0.2,
                rumple=0,
                seams=tuple(threads([stitch], cloth)),
            )
        )
    return parts


def _leg_cuffs(cut: LegCut, cloth: Materials, outer: Points, inner: Points) -> list[Part]:
    y, x0, x1 = cut.length, float(inner[0, 0]), float(outer[-1, 0])
    if cut.cuff == "rib":
        mid = (x0 + x1) / 2
        wide = (x1 - x0) * 0.42
        ring = path(
            (mid - wide, y - 0.5), (mid + wide, y - 0.5), (mid + wide * 0.9, y + 6), (mid - wide * 0.9, y + 6)
        )
        part = Part(ring, cloth.trim, lift=0.2, round=0.8, rumple=0)
    else:
        up = 0.0 if y > 70 else 1.2
        ring = path(
            (x0 - 0.4, y - 3.4), (x1 + 0.3, y - 3.6 - up), (x1 + 0.4, y + 0.6 - up), (x0 - 0.3, y + 0.9)
        )
        part = Part(ring, cloth.main, tone=1.03, lift=0.5, round=0.6, rumple=0.1)
    return [part, flipped(part)]


def _back(waist: float, cloth: Materials) -> Part:
    """Return the inside of the waist's back, which stands a little above the front."""
    half = path((0, -1.3), (waist * 0.6, -1.2, waist - 0.3, -0.2), (waist - 0.3, 3), (0, 4))
    return Part(mirror(half), cloth.lining, tone=0.62, lift=0.2, round=0.4, rumple=0.05)


def _waistband(waist: float, deep: float, cloth: Materials, closure: str) -> list[Part]:
    w, b = waist, deep
    half = path((0, 0.9), (w * 0.6, 0.8, w, -0.2), (w + 1.5, b - 0.2), (w * 0.6, b + 0.9, 0, b + 1.0))
    ring = mirror(half)
    edge = path((-w - 1.4, b - 0.5), (0, b + 1.2, w + 1.4, b - 0.5))
    parts: list[Part] = []
    if closure in ("drawstring", "elastic"):
        gather = tuple(
            Seam(path((x, 0.4), (x * 1.05, b + 0.8)), 0.35, 0.84) for x in np.linspace(-w, w, 30).tolist()
        )
        parts.append(Part(ring, cloth.main, lift=0.3, round=0.8, rumple=0.15, seams=gather))
        if closure == "drawstring":
            cord = solid("Ecru")
            for s in (1, -1):
                line = path((s * 1.2, b * 0.6), (s * 2.6, b + 6, s * 1.6, b + 12 + s * 0.8))
                parts.append(Part(tube(line, 0.7), cord, lift=0.35, round=0.25, rumple=0))
            parts.append(Part(ellipse(0, b * 0.6, 1.5, 0.8), cord, lift=0.3, round=0.3, rumple=0))
        return parts
    parts.append(
        Part(
            ring, cloth.main, angle=90, lift=0.3, round=0.5, rumple=0.06, seams=tuple(threads([edge], cloth))
        )
    )
    if closure == "fly":
        for x in (-w * 0.86, -w * 0.42, w * 0.42, w * 0.86):
            loop = rectangle(x - 0.65, -0.1, x + 0.65, b + 1.3, 0.2)
            parts.append(Part(loop, cloth.main, lift=0.35, round=0.25, rumple=0))
        parts.append(button(0.8, b * 0.55 + 0.5, cloth, 0.85))
    if closure == "belt":
        belt = path(
            (-w - 1.2, 0.2), (0, 1.4, w + 1.2, 0.2), (w + 1.6, b - 0.4), (0, b + 0.6, -w - 1.6, b - 0.4)
        )
        parts.append(Part(belt, cloth.trim, lift=0.5, round=0.6, rumple=0.1))
        for bend, length in ((2.0, 17.0), (4.6, 13.0)):
            tail = path((1.0, b * 0.6), (bend, b + length * 0.4, bend, b + length))
            parts.append(Part(tube(tail, 2.6), cloth.trim, lift=0.4, round=0.5, rumple=0.15))
        parts.append(Part(rectangle(-1.8, 0.2, 1.9, b + 0.8, 1.2), cloth.trim, lift=0.4, round=0.7))
    return parts


def build_skirt(cut: SkirtCut, cloth: Materials, pose: Pose, rng: Generator) -> list[Part]:
    """Return the parts of a skirt, from the back to the front."""
    worn = pose.name == "worn"
    if worn:
        slim = 0.84 if cut.hem < 28 else 0.93
        cut = replace(cut, waist=cut.waist * 0.85, hip=cut.hip * 0.86, hem=cut.hem * slim)
    w, h, x, end, b = cut.waist, cut.hip, cut.hem, cut.length, cut.band
    hip_y = min(20.0, end * 0.42)
    edge = path((w, 0), (w + 2.2, 5, h - 0.6, hip_y - 7, h, hip_y), (h + (x - h) * 0.35, end * 0.62, x, end))
    hem = path((x, end), (x * 0.55, end + 3.2, 0, end + 3.0))
    half = np.concatenate([[[0.0, 0.9]], edge, hem[1:]])
    fall = cut.folds * (0.7 if pose.name == "flat" else 1.0)
    seams = _skirt_seams(cut, cloth)
    creases = radiate(rng, (w, b + 3), angles=(100, 170), lengths=(8, 16), count=3, height=0.3)
    creases += radiate(rng, (-w, b + 3), angles=(10, 80), lengths=(8, 16), count=3, height=0.3)
    parts: list[Part] = [] if worn else [_back(w, cloth)]
    parts.append(
        Part(
            mirror(half),
            cloth.main,
            lift=0.4,
            round={"flat": 1.0, "hang": 1.4, "worn": 2.2}[pose.name],
            rumple=0.18,
            seams=tuple(seams),
            creases=tuple(creases),
            drape=Drape(cut.count, 0.06, fall) if cut.folds else None,
        )
    )
    parts += _skirt_extras(cut, cloth, edge)
    closure = next((e for e in ("drawstring", "elastic", "belt", "fly") if e in cut.extras), "plain")
    return [*parts, *_waistband(w, b, cloth, closure)]


def _skirt_seams(cut: SkirtCut, cloth: Materials) -> list[Seam]:
    seams: list[Seam] = []
    w, x, end, b = cut.waist, cut.hem, cut.length, cut.band
    if "pleats" in cut.extras:
        for u in np.linspace(-0.9, 0.9, 15).tolist():
            line = path((u * (w + 0.5), b), (u * cut.hip, end * 0.4, u * x, end + 3))
            seams.append(Seam(line, 0.4, 0.66))
    if "tiers" in cut.extras:
        for share in (0.36, 0.68):
            y = end * share
            line = path((-x, y - 0.5), (0, y + 2.6, x, y - 0.5))
            seams.append(Seam(line, 0.5, 0.6))
            # The gathers below a tier's seam.
            for u in np.linspace(-1, 1, 34).tolist():
                at = y + 1.0 - 1.3 * u * u
                seams.append(
                    Seam(path((u * x * 0.95, at), (u * x * 0.97, at + 4.5 + 2 * np.sin(u * 40))), 0.3, 0.84)
                )
    if "jeans" in cut.extras:
        seams.append(Seam(path((0, b), (0, end + 2)), 0.3, 0.65))
        for side in (1, -1):
            scoop = path(
                (side * w * 0.52, b),
                (side * w * 0.56, b + 8, side * (w + 1), b + 8.5, side * (w + 4), b + 7.6),
            )
            seams += [Seam(scoop, 0.4, 0.6), *threads([scoop + np.array([0, 0.8])], cloth)]
        seams += threads([path((-x, end - 0.6), (0, end + 2.2, x, end - 0.6))], cloth)
    else:
        seams.append(Seam(path((-x, end - 2.0), (0, end + 1.8, x, end - 2.0)), 0.2, 0.8))
    if "slit" in cut.extras:
        seams.append(Seam(path((6, end * 0.66), (6.2, end * 0.9, 7.4, end + 3)), 0.5, 0.45))
    return seams


def _skirt_extras(cut: SkirtCut, cloth: Materials, edge: Points) -> list[Part]:
    w, x, end, b = cut.waist, cut.hem, cut.length, cut.band
    parts: list[Part] = []
    if "buttons" in cut.extras:
        ring = rectangle(-1.9, b, 1.9, end + 2.9, 0.2)
        stitch = threads([path((1.5, b), (1.5, end + 2)), path((-1.5, b), (-1.5, end + 2))], cloth)
        parts.append(Part(ring, cloth.main, lift=0.3, round=0.25, rumple=0.06, seams=tuple(stitch)))
        parts += [
            button(0, float(y), cloth, 0.8) for y in np.linspace(b + 4, end - 3, max(4, round(end / 9)))
        ]
    if "wrap" in cut.extras:
        side = edge[edge[:, 1] > b]
        line = path((-w * 0.55, b), (-w * 0.2, end * 0.5, x * 0.12, end * 0.86), (x * 0.2, end + 2.6))
        ring = np.concatenate([line, [[x * 0.6, end + 2.2]], side[::-1]])
        parts.append(
            Part(
                ring,
                cloth.main,
                angle=6,
                lift=0.6,
                round=0.5,
                rumple=0.2,
                drape=Drape(3, 0.05, cut.folds * 0.8),
            )
        )
    if "patch" in cut.extras:
        for s in (1, -1):
            box = path((s * 5, b + 9), (s * 17, b + 9), (s * 17.4, b + 21), (s * 11, b + 23), (s * 5, b + 21))
            inner = box.mean(axis=0) + (box - box.mean(axis=0)) * 0.92
            parts.append(Part(box, cloth.main, lift=0.4, round=0.4, seams=tuple(threads([inner], cloth))))
    return parts


def clip_hanger(waist: float) -> list[Part]:
    """Return the clips and bar that hold a waist, and the bar's hook."""
    steel = solid("#a4a4a2", sheen=0.9)
    wood = solid("#b08a62", sheen=0.3)
    bar = tube(path((-waist - 2, -5), (waist + 2, -5)), 2.0)
    parts = [hook(-5.5), Part(bar, wood, lift=0.5, round=0.7, rumple=0)]
    for side in (-1, 1):
        x = side * waist * 0.72
        parts.append(Part(rectangle(x - 1.7, -6.4, x + 1.7, 1.9, 0.5), steel, lift=0.6, round=0.6, rumple=0))
        parts.append(
            Part(
                rectangle(x - 1.9, 0.2, x + 1.9, 2.6, 0.4), solid(rgb("Black")), lift=0.3, round=0.4, rumple=0
            )
        )
    return parts


def hook(y: float) -> Part:
    """Return a hanger's hook that rises from ``y`` to a rail 10.5 cm above."""
    fabric = solid("#a4a4a2", sheen=0.9)
    line = path(
        (0, y),
        (0, y - 5),
        (0.2, y - 7, 3.4, y - 7.6, 3.2, y - 10),
        (2.6, y - 13.6, -3.2, y - 13.6, -3.4, y - 9.8),
    )
    return Part(tube(line, 0.7), fabric, lift=0.3, round=0.25, rumple=0)
