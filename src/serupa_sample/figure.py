"""The figure that wears a garment: a neck, arms and legs, cropped below the eyes, and hangers."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from serupa_sample.bottoms import hook
from serupa_sample.cloth import Part, Seam
from serupa_sample.fabrics import Fabric, rgb, shade, solid
from serupa_sample.outlines import ellipse, flip, limb, mirror, path, rectangle, tube
from serupa_sample.sewing import Cut, Pose, flipped
from serupa_sample.tops import arm_length, arm_root

SKINS = ("#e8bfa2", "#d9a47f", "#c08a62", "#96643f", "#6e4630", "#4f3325")
HAIRS = ("#2a211d", "#3b2a20", "#5d3f29", "#8a6239", "#1d1b1c", "#b08a58")
WAIST = 41.0
"""How far the waist lies below the neck's side, in centimetres."""


def skin_and_hair(rng: Generator) -> tuple[Fabric, Fabric]:
    """Return a skin and a hair that go together."""
    i = int(rng.integers(len(SKINS)))
    j = int(rng.integers(len(HAIRS))) if i < 3 else int(rng.integers(2)) * 4
    return solid(SKINS[i], sheen=0.12), solid(HAIRS[j], sheen=0.35)


def hair_behind(hair: Fabric, rng: Generator, *, always: bool = False) -> list[Part]:
    """Return hair that falls behind the shoulders, or none."""
    if rng.random() < 0.45 and not always:
        return []
    long = rng.uniform(-8, 20)
    half = path(
        (0, -36), (11, -36, 12, -24, 11.5, -12), (11.5, 0, 13, long - 4, 9, long), (4, long + 2, 0, long + 1)
    )
    strands = tuple(
        Seam(path((x * 0.7, -30), (x, -12, x * 1.02, long)), 0.4, 0.86)
        for x in np.linspace(-11, 11, 14).tolist()
    )
    return [Part(mirror(half), hair, lift=0.5, round=1.6, rumple=0.3, seams=strands)]


def head(skin: Fabric, hair: Fabric, *, glasses: bool) -> list[Part]:
    """Return a face without much in it, for photos that show it."""
    half = path((0, -33), (9.6, -33, 9.8, -22, 8.9, -16.5), (8.2, -11.5, 4.2, -7.6, 0, -7.4))
    ear = Part(ellipse(9.1, -19.5, 1.3, 2.8), skin, tone=0.92, lift=0.2, round=0.5, rumple=0)
    nose = path((-1.5, -15.7), (-0.6, -14.7, 0.6, -14.7, 1.5, -15.7))
    mouth = path((-2.9, -11.9), (-1.4, -12.9, -0.5, -12.7, 0, -12.4), (0.5, -12.7, 1.4, -12.9, 2.9, -11.9),
                 (1.4, -10.7, -1.4, -10.7, -2.9, -11.9))  # fmt: skip
    lips = solid(shade(skin.mean * np.float32(0.55) + rgb("#a8434a") * np.float32(0.45), -0.05), sheen=0.3)
    parts = [
        ear,
        flipped(ear),
        Part(mirror(half), skin, lift=0.6, round=2.0, rumple=0.02, seams=(Seam(nose, 0.45, 0.86),)),
        Part(
            mouth,
            lips,
            lift=0.0,
            round=0.25,
            rumple=0,
            seams=(Seam(path((-2.6, -11.9), (0, -11.6, 2.6, -11.9)), 0.16, 0.7),),
        ),
    ]
    if glasses:
        lens = path(
            (1.0, -22.4),
            (4, -23.2, 7.6, -22.8),
            (8.2, -19.5, 7.0, -17.4, 4.6, -17.4),
            (2.0, -17.4, 1.2, -19, 1.0, -22.4),
        )
        dark = solid("#17181a", sheen=0.9)
        one = Part(lens, dark, lift=0.35, round=0.7, rumple=0)
        bridge = Part(
            tube(path((-1.6, -21.6), (0, -22.4, 1.6, -21.6)), 0.6), dark, lift=0.2, round=0.2, rumple=0
        )
        arm = Part(tube(path((7.6, -22.0), (9.0, -21.4)), 0.7), dark, lift=0.1, round=0.2, rumple=0)
        parts += [bridge, arm, flipped(arm), one, flipped(one)]
    return parts


def neck(skin: Fabric) -> list[Part]:
    """Return jaw, neck and shoulders."""
    half = path(
        (0, -16),
        (5.6, -16),
        (5.0, -8, 5.2, -3.6, 6.4, -1.6),
        (9, 1.6, 13, 2.4, 16.4, 4.2),
        (20.0, 6.5, 17.5, 18, 16.5, 26),
        (0, 34),
    )
    return [Part(mirror(half), skin, lift=0.0, round=2.4, rumple=0.03)]


def jaw(skin: Fabric) -> list[Part]:
    """Return the lower face, for photos cropped at the mouth."""
    half = path((0, -33), (9.6, -33, 9.8, -22, 8.9, -16.5), (8.2, -11.5, 4.2, -7.4, 0, -7.2))
    return [Part(mirror(half), skin, lift=1.1, round=1.8, rumple=0.02)]


def arms(skin: Fabric, pose: Pose, cut: Cut) -> list[Part]:
    """Return what a top's sleeves leave of both arms; the hands are behind the hips."""
    parts = []
    root, length = arm_root(cut), arm_length(cut)
    for side, (upper, fore) in zip((1, -1), pose.arms, strict=True):
        line = limb(root, (upper, fore), length)
        t = np.linspace(0, 1, len(line))
        width = np.interp(t, [0, 0.2, 0.48, 0.62, 1.0], [10.6, 9.8, 8.0, 8.0, 5.2])
        bare = min(int(len(line) * 0.8 * cut.sleeve / length), len(line) - 4)
        arm = [Part(tube(line[bare:], width[bare:]), skin, lift=0.4, round=1.5, rumple=0.02)]
        if cut.sleeve == 0:
            arm.insert(
                0, Part(ellipse(root[0], root[1] + 0.4, 5.3, 5.6), skin, lift=0.0, round=1.5, rumple=0)
            )
        end, way = line[-1], (line[-1] - line[-3]) / np.hypot(*(line[-1] - line[-3]))
        palm = np.stack([end + way * d for d in (-1.0, 4.0, 9.0, 13.0, 15.5)])
        arm.insert(
            0, Part(tube(palm, np.array([5.0, 6.8, 7.4, 5.4, 2.6])), skin, lift=0.2, round=1.2, rumple=0.05)
        )
        parts += arm if side > 0 else [flipped(p) for p in arm]
    return parts


def legs(skin: Fabric, shoe: Fabric, sole: Fabric) -> list[Part]:
    """Return legs from the hip down, with plain shoes; y is counted from the neck's side."""
    parts: list[Part] = []
    line = path((9.2, 58), (10.4, 84, 9.6, 108), (9.8, 128, 9.2, 156))
    t = np.linspace(0, 1, len(line))
    width = np.interp(t, [0, 0.25, 0.5, 0.62, 0.74, 1.0], [18.0, 16.0, 11.2, 10.2, 10.8, 6.4])
    leg = Part(tube(line, width), skin, lift=0.3, round=1.9, rumple=0.03)
    upper = path(
        (5.4, 155),
        (5.2, 152, 13.2, 152, 13.2, 155),
        (15.6, 159, 15.8, 164.5),
        (12, 166.4, 7, 166.4, 3.6, 164.5),
        (4.0, 159, 5.4, 155),
    )
    rim = path((3.5, 163.4), (7, 165.6, 12, 165.6, 15.9, 163.4), (16.0, 166.2), (12, 168, 7, 168, 3.4, 166.2))
    laces = tuple(Seam(path((7.2, y), (11.6, y)), 0.5, 1.25) for y in (156.5, 158.4, 160.3))
    tongue = Part(
        path((7, 153.0), (11.8, 153.0), (11.6, 160), (7.4, 160)),
        shoe,
        tone=0.92,
        lift=0.1,
        round=0.3,
        rumple=0,
        seams=laces,
    )
    for part in (
        leg,
        Part(upper, shoe, lift=0.4, round=1.0, rumple=0.05),
        tongue,
        Part(rim, sole, lift=0.2, round=0.4, rumple=0),
    ):
        parts += [part, flipped(part)]
    return parts


def torso(skin: Fabric) -> list[Part]:
    """Return the trunk, for garments that show some of it."""
    half = path(
        (0, 20), (16.4, 20), (16, 32, 13.4, 36, 13.6, 42), (14, 50, 18, 54, 18.2, 62), (18, 70, 0, 74)
    )
    return [Part(mirror(half), skin, lift=0.2, round=2.2, rumple=0.03)]


def hanger(shoulder: float, slope: float, rng: Generator) -> list[Part]:
    """Return a wooden hanger as wide as a garment's shoulders."""
    tone = ("#b98f63", "#8d623f", "#d2b48a", "#2f2b29")[int(rng.integers(4))]
    wood = solid(tone, sheen=0.35)
    reach = shoulder * 0.86
    line = path((0, -1.0), (5, -0.9, reach * 0.55, slope * 0.45 + 1.2, reach, slope * 0.84 + 2.8))
    high, low = line - np.array([0, 1.3]), line + np.array([0, 1.5])
    ring = np.concatenate([high, low[::-1], flip(low), flip(high)[::-1]])
    return [hook(-3.0), Part(ring, wood, lift=0.5, round=0.7, rumple=0.01)]


def rail(y: float, metal: bool) -> Part:
    """Return a rail that runs across the photo."""
    fabric = solid("#b4b2ae", sheen=0.9) if metal else solid("#a27a52", sheen=0.3)
    return Part(rectangle(-90, y - 0.95, 90, y + 0.95), fabric, lift=0.0, round=0.8, rumple=0)
