"""The views of a product: flat lay, hanger, two in the street, and another colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.random import Generator
from PIL import Image

from serupa_sample import figure, hats, scenes
from serupa_sample.assortment import CATEGORIES, Product, materials
from serupa_sample.bottoms import LegCut, SkirtCut, build_legs, build_skirt, clip_hanger
from serupa_sample.cloth import Camera, Part, bounds, moved, sway
from serupa_sample.fabrics import Fabric, Pixels, solid
from serupa_sample.hats import HatCut, build_hat
from serupa_sample.scenes import HEIGHT, WIDTH, compose
from serupa_sample.sewing import Cut, Materials, Pose
from serupa_sample.tops import WORN_EASE, build_top

TEE = Cut(drop=10, chest=24, waist=21.5, hem=21, length=51)
"""What the figure wears above a bottom, or below a hat."""
Scene = Callable[[Product, Materials, Generator], Image.Image]
VIEWS = ("flat", "hanger", "street-1", "street-2", "colour")


def has_other_color(product: Product) -> bool:
    """Tell whether the product is also shown in its other colour: three in five are, of each category."""
    return (product.index + product.index // len(CATEGORIES)) % 5 in (0, 1, 3)


def render(product: Product, seed: int) -> Iterator[tuple[str, Image.Image]]:
    """Yield the photos of a product with their view's name, always the same for the same seed."""
    own = np.random.default_rng([seed, product.index, 3])
    cloth = materials(product, product.colors[0], own)
    outside: list[Scene] = [_worn, _sunny, _on_wall, _on_ground]
    first = int(own.choice(4, p=(0.55, 0.15, 0.15, 0.15)))
    second = int(own.choice([i for i in range(4) if i != first]))
    draw: dict[str, Scene] = {
        "flat": _flat,
        "hanger": _hanger,
        "street-1": outside[first],
        "street-2": outside[second],
        "colour": _colour,
    }
    for number, view in enumerate(VIEWS):
        rng = np.random.default_rng([seed, product.index, 10 + number])
        if view == "colour":
            if not has_other_color(product):
                continue
            cloth = materials(product, product.colors[1], rng)
        yield view, draw[view](product, cloth, rng)


def _pose(product: Product, name: str, rng: Generator) -> Pose:
    """Return a pose with some chance in it."""
    long = isinstance(product.style.cut, Cut) and product.style.cut.sleeve > 30
    if name == "flat":
        upper, fore = ((15, 27), (-4, 14)) if long else ((32, 46), (26, 40))
    elif name == "hang":
        upper, fore = ((6, 11), (2, 7)) if long else ((14, 22), (8, 14))
    else:
        upper, fore = ((18, 25), (-34, -24))
    right, left = ((float(rng.uniform(*upper)), float(rng.uniform(*fore))) for _ in range(2))
    return Pose(name, (right, left), {"flat": 1.0, "hang": 0.95, "worn": WORN_EASE}[name])


def _build(
    product: Product, cloth: Materials, pose: Pose, rng: Generator, within: tuple[Part, ...] = ()
) -> list[Part]:
    cut = product.style.cut
    if isinstance(cut, Cut):
        return build_top(cut, cloth, pose, rng, within)
    if isinstance(cut, LegCut):
        return build_legs(cut, cloth, pose, rng)
    if isinstance(cut, SkirtCut):
        return build_skirt(cut, cloth, pose, rng)
    return build_hat(cut, cloth, rng)


def _fit(parts: list[Part], rng: Generator, *, share: float, tilt: float, stray: float = 10.0) -> Camera:
    """Return a camera that shows all parts within a share of the photo."""
    x0, y0, x1, y1 = bounds(parts)
    a = abs(np.radians(tilt))
    w, h = x1 - x0, y1 - y0
    wide, tall = w * np.cos(a) + h * np.sin(a), h * np.cos(a) + w * np.sin(a)
    scale = float(min(WIDTH * share / wide, HEIGHT * share / tall))
    center = (WIDTH / 2 + rng.uniform(-stray, stray), HEIGHT / 2 + rng.uniform(-stray, stray))
    return Camera(scale, center, ((x0 + x1) / 2, (y0 + y1) / 2), tilt, sway(rng))


def _size(product: Product) -> float:
    return 0.66 if isinstance(product.style.cut, HatCut) else 0.84


def _flat(product: Product, cloth: Materials, rng: Generator) -> Image.Image:
    parts = _build(product, cloth, _pose(product, "flat", rng), rng)
    ground = scenes.paper(rng, str(rng.choice(scenes.PAPERS)))
    camera = _fit(parts, rng, share=_size(product), tilt=rng.uniform(-3, 3))
    return compose(ground, parts, camera, rng, shadows=scenes.LYING)


def _hung(product: Product, cloth: Materials, rng: Generator) -> list[Part]:
    """Return the product on a hanger, a peg or a stand."""
    cut = product.style.cut
    pose = _pose(product, "hang", rng)
    if isinstance(cut, Cut):
        slim = "straps" in cut.extras
        wood = figure.hanger(cut.neck + 4 if slim else cut.shoulder, cut.slope, rng)
        if slim:
            wood = [moved(p, 0, -11.0) for p in wood]
        return _build(product, cloth, pose, rng, tuple(wood))
    parts = _build(product, cloth, pose, rng)
    if isinstance(cut, HatCut):
        return [*hats.stand(), *parts]
    return [*parts, *clip_hanger(cut.waist)]


def _hanger(product: Product, cloth: Materials, rng: Generator) -> Image.Image:
    parts = _hung(product, cloth, rng)
    tint = str(rng.choice(scenes.TINTS + scenes.PAPERS))
    ground = scenes.paper(rng, tint)
    shadows = scenes.HANGING
    camera = _fit(parts, rng, share=min(0.88, _size(product) + 0.04), tilt=rng.uniform(-1.2, 1.2))
    if not isinstance(product.style.cut, HatCut) and rng.random() < 0.7:
        top = bounds(parts)[1] + 1.2
        parts = [figure.rail(top, bool(rng.random() < 0.5)), *parts]
    return compose(ground, parts, camera, rng, shadows=shadows, warmth=rng.uniform(-0.03, 0.05))


def _colour(product: Product, cloth: Materials, rng: Generator) -> Image.Image:
    flat = rng.random() < 0.6
    parts = _build(product, cloth, _pose(product, "flat", rng), rng) if flat else _hung(product, cloth, rng)
    ground = scenes.paper(rng, str(rng.choice(scenes.TINTS)))
    camera = _fit(parts, rng, share=_size(product) - 0.02, tilt=rng.uniform(-6, 6) if flat else 0.0)
    return compose(ground, parts, camera, rng, shadows=scenes.LYING if flat else scenes.HANGING)


def _worn(product: Product, cloth: Materials, rng: Generator) -> Image.Image:
    kind = str(rng.choice(list(scenes.STREETS), p=scenes.ODDS))
    ground = scenes.street(rng, kind)
    parts, top, bottom = _dressed(product, cloth, rng)
    tall = bottom - top
    scale = HEIGHT / tall
    focus = (rng.uniform(-5, 5) * tall / 100, (top + bottom) / 2)
    camera = Camera(scale, (WIDTH / 2, HEIGHT / 2), focus, rng.uniform(-3, 3), sway(rng, 0.2))
    warm = {"golden": 0.10, "evening": -0.05, "park": 0.02, "overcast": -0.04, "pastel": 0.04}[kind]
    bright = {"evening": 0.84, "golden": 1.03}.get(kind, 0.98)
    side = float(rng.choice([-1, 1]))
    return compose(
        ground, parts, camera, rng,
        light=(0.5 * side, -0.42, 0.72),
        warmth=warm, exposure=bright * rng.uniform(0.95, 1.05), vignette=0.16,
    )  # fmt: skip


def _sunny(product: Product, cloth: Materials, rng: Generator) -> Image.Image:
    """Return a photo of the product worn in front of a wall."""
    parts, top, bottom = _dressed(product, cloth, rng)
    ground = _wall(rng)
    beams = scenes.sunlight(rng) if rng.random() < 0.7 else None
    tall = (bottom - top) * rng.uniform(0.8, 0.96)
    focus = (rng.uniform(-6, 6) * tall / 100, (top + bottom) / 2 + rng.uniform(-0.04, 0.04) * tall)
    camera = Camera(HEIGHT / tall, (WIDTH / 2, HEIGHT / 2), focus, rng.uniform(-5, 5), sway(rng, 0.2))
    return compose(
        ground, parts, camera, rng,
        shadows=(scenes.Shadow(26, 14, 20, 0.32),), beams=beams,
        warmth=rng.uniform(-0.03, 0.09), vignette=0.12,
    )  # fmt: skip


def _wall(rng: Generator) -> Pixels:
    return scenes.bricks(rng) if rng.random() < 0.4 else scenes.plaster(rng)


def _on_wall(product: Product, cloth: Materials, rng: Generator) -> Image.Image:
    parts = _hung(product, cloth, rng)
    if isinstance(product.style.cut, HatCut):
        parts = [*hats.peg(), *_build(product, cloth, _pose(product, "hang", rng), rng)]
    beams = scenes.sunlight(rng)
    camera = _fit(
        parts, rng, share=_size(product) * rng.uniform(0.92, 1.12), tilt=rng.uniform(-5, 5), stray=28
    )
    return compose(
        _wall(rng), parts, camera, rng,
        light=(float(rng.choice([-0.5, 0.5])), -0.45, 0.7),
        shadows=scenes.HANGING, beams=beams, warmth=rng.uniform(0.0, 0.1), vignette=0.14,
    )  # fmt: skip


def _on_ground(product: Product, cloth: Materials, rng: Generator) -> Image.Image:
    parts = _build(product, cloth, _pose(product, "flat", rng), rng)
    grounds: list[Callable[[Generator], Pixels]] = [scenes.planks, scenes.concrete, scenes.bedding]
    ground = grounds[int(rng.integers(3))](rng)
    beams = scenes.sunlight(rng) if rng.random() < 0.45 else None
    tilt = float(rng.choice([-1, 1])) * rng.uniform(6, 24)
    camera = _fit(parts, rng, share=_size(product) * rng.uniform(1.0, 1.22), tilt=tilt, stray=26)
    return compose(
        ground, parts, camera, rng,
        shadows=scenes.LYING, beams=beams,
        warmth=rng.uniform(-0.06, 0.08), exposure=rng.uniform(0.86, 1.04), vignette=0.14,
    )  # fmt: skip


def _plain(color: str, weave_body: float = 1.0) -> Materials:
    fabric = solid(color, body=weave_body)
    return Materials(fabric, fabric, fabric, solid("Ecru", sheen=0.5))


def _dressed(product: Product, cloth: Materials, rng: Generator) -> tuple[list[Part], float, float]:
    """Return a figure that wears the product, and from where to where it is shown (cm)."""
    skin, hair = figure.skin_and_hair(rng)
    pose = _pose(product, "worn", rng)
    cut = product.style.cut
    if isinstance(cut, HatCut):
        return _hatted(product, cloth, skin, hair, rng)
    back = figure.hair_behind(hair, rng)
    arms = figure.arms(skin, pose, cut if isinstance(cut, Cut) else TEE)
    face = [*figure.neck(skin), *figure.jaw(skin)]
    if isinstance(cut, Cut):
        if product.kind == "dress":
            shoes = figure.legs(skin, solid(str(rng.choice(["White", "Black", "Camel"]))), solid("Ecru"))
            body = [*back, *arms, *shoes, *figure.torso(skin), *face]
            return _build(product, cloth, pose, rng, tuple(body)), -11.5, min(cut.length + 14, 128)
        low = str(rng.choice(["Indigo", "Black", "Stone", "Charcoal", "Oat", "Olive"]))
        under = build_legs(LegCut(), _plain(low), pose, rng)
        body = [*back, *arms, *(moved(p, 0, figure.WAIST + 2) for p in under), *face]
        if product.category == "Jackets":
            tee = build_top(
                Cut(sleeve=0, shoulder=18, chest=23),
                _plain(str(rng.choice(["White", "Grey", "Black"]))),
                pose,
                rng,
            )
            body += tee
        return _build(product, cloth, pose, rng, tuple(body)), -12.5, max(cut.length, 58) + rng.uniform(4, 10)
    tone = str(rng.choice(["White", "Black", "Grey", "Ecru", "Navy"]))
    tee = build_top(TEE, _plain(tone), pose, rng, (*back, *arms, *face))
    shoes = figure.legs(skin, solid(str(rng.choice(["White", "Black", "Camel", "Grey"]))), solid("White"))
    below = [moved(p, 0, figure.WAIST) for p in _build(product, cloth, pose, rng)]
    bottom = 171.0 if cut.length > 85 else figure.WAIST + cut.length + rng.uniform(10, 20)
    return [*shoes, *tee, *below], 24.0 if cut.length > 60 else 20.0, bottom


def _hatted(
    product: Product, cloth: Materials, skin: Fabric, hair: Fabric, rng: Generator
) -> tuple[list[Part], float, float]:
    pose = Pose("worn", ((14, 0), (14, 0)), WORN_EASE)
    tone = str(rng.choice(["White", "Black", "Grey", "Ecru", "Navy", "Olive"]))
    behind = figure.hair_behind(hair, rng, always=True)
    body = (
        *behind,
        *figure.arms(skin, pose, TEE),
        *figure.neck(skin),
        *figure.head(skin, hair, glasses=True),
    )
    tee = build_top(TEE, _plain(tone), pose, rng, body)
    hat = _build(product, cloth, pose, rng)
    at = {"beret": -29.0, "beanie": -25.5, "cap": -26.0}.get(getattr(product.style.cut, "kind", ""), -25.0)
    top = min(bounds(hat)[1] + at, -36.0) - rng.uniform(4, 7)
    return [*tee, *(moved(p, 0, at) for p in hat)], top, rng.uniform(6, 16)
