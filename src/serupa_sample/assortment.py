"""The assortment: which products there are, in what colours, and which go together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from serupa_sample.fabrics import make_fabric, rgb, shade, solid
from serupa_sample.sewing import Cut, Materials
from serupa_sample.styles import STYLES, Cloth, Style

CATEGORIES: dict[str, tuple[str, str]] = {
    # category in the table: (prefix of the product's id, kind of builder)
    "Tees": ("TEE", "top"),
    "Trousers": ("TRS", "legs"),
    "Dresses": ("DRS", "dress"),
    "Shirts": ("SHI", "top"),
    "Hats": ("HAT", "hat"),
    "Skirts": ("SKI", "skirt"),
    "Hoodies": ("HOO", "top"),
    "Blouses": ("BLO", "top"),
    "Shorts": ("SHO", "legs"),
    "Jackets": ("JAC", "top"),
}

NEUTRAL = frozenset({"White", "Ecru", "Oat", "Stone", "Grey", "Charcoal", "Black", "Navy", "Denim", "Indigo"})
WARM = frozenset(
    {"Camel", "Mustard", "Terracotta", "Rust", "Blush", "Rose", "Burgundy", "Chocolate", "Olive"}
)
# Every other colour is cool.

LIGHT_ACCENTS = (
    ("Navy", "Terracotta"),
    ("Forest", "Rose"),
    ("Denim", "Mustard"),
    ("Black", "Stone"),
    ("Olive", "Rust"),
)
DARK_ACCENTS = (("Ecru", "Camel"), ("White", "Sky"), ("Oat", "Rust"))
ACCENTS = {
    # A ground between light and dark takes its own family's tones.
    "Sage": (("Ecru", "Forest"), ("Forest", "White")),
    "Sky": (("White", "Navy"), ("White", "Terracotta")),
    "Blush": (("White", "Burgundy"), ("Burgundy", "Olive")),
    "Lilac": (("White", "Navy"), ("Navy", "Ecru")),
    "Terracotta": (("Ecru", "Chocolate"), ("White", "Navy")),
    "Rose": (("White", "Burgundy"),),
    "Mustard": (("White", "Chocolate"), ("Ecru", "Forest")),
    "Camel": (("Ecru", "Chocolate"), ("Chocolate", "White")),
    "Grey": (("White", "Charcoal"), ("Charcoal", "White")),
    "Stone": (("White", "Charcoal"), ("Navy", "White")),
    "Denim": (("White", "Navy"),),
    "Rust": (("Ecru", "Navy"), ("Camel", "Chocolate")),
    "Olive": (("Ecru", "Terracotta"), ("Oat", "Rust")),
    "Teal": (("Ecru", "Blush"),),
    "Burgundy": (("Blush", "Ecru"), ("Ecru", "Camel")),
    "Forest": (("Ecru", "Navy"), ("Sage", "Ecru")),
}


@dataclass(frozen=True)
class Product:
    """One product of the sample catalogue; ``colors`` are its own and that of its other colourway."""

    product_id: str
    category: str
    style: Style
    cloth: Cloth
    colors: tuple[str, str]
    price: int
    index: int

    @property
    def name(self) -> str:
        """Its name, as a shop would write it."""
        noun = self.style.noun
        said = self.cloth.word in noun or (self.cloth.word == "Denim" and "Jeans" in noun)
        words = ("" if said else self.cloth.word, self.cloth.pattern_word, noun)
        return " ".join(w for w in words if w)

    @property
    def kind(self) -> str:
        """Which builder draws it."""
        return CATEGORIES[self.category][1]


def plan(seed: int, count: int) -> list[Product]:
    """Return the first ``count`` products of a seed's endless assortment, category after category in turn."""
    return [_product(seed, index) for index in range(count)]


def _product(seed: int, index: int) -> Product:
    names = list(CATEGORIES)
    turn, number = index % len(names), index // len(names)
    category = names[turn]
    styles = STYLES[category]
    order = np.random.default_rng([seed, turn, 1]).permutation(len(styles))
    again, place = divmod(number, len(styles))
    style = styles[int(order[place])]
    # A style that comes again comes in another cloth and in other colours.
    choice = np.random.default_rng([seed, turn, place, 5])
    cloth = style.cloths[int(choice.permutation(len(style.cloths))[again % len(style.cloths)])]
    colors = choice.permutation(len(style.colors))
    first, second = (int(colors[(2 * again + i) % len(colors)]) for i in (0, 1))
    rng = np.random.default_rng([seed, index, 2])
    price = style.price + int(rng.integers(-2, 4)) * max(1, style.price // 20)
    return Product(
        product_id=f"{CATEGORIES[category][0]}-{number + 1:02d}",
        category=category,
        style=style,
        cloth=cloth,
        colors=(style.colors[first], style.colors[second]),
        price=price,
        index=index,
    )


def materials(product: Product, color: str, rng: Generator) -> Materials:
    """Return what a product is made of in one of its colours."""
    cloth = product.cloth
    ground = rgb(color)
    accents = _accents(color, product.index)
    density = 26.0 if product.kind == "hat" else 11.5
    main = make_fabric(
        cloth.weave,
        [color, *accents[: cloth.tones - 1]],
        rng,
        pattern=cloth.pattern,
        size=cloth.size,
        share=cloth.share,
        upright=cloth.upright,
        density=density,
    )
    if product.kind == "hat":
        trim = solid(shade(ground, -0.45) if product.style.noun == "Beret" else rgb(accents[0]), sheen=0.25)
    elif product.category in ("Tees", "Hoodies", "Jackets"):
        trim = solid(shade(ground, -0.1 if ground.mean() > 0.2 else 0.06), ribs=True)
    elif (
        isinstance(product.style.cut, Cut) and product.style.cut.collar == "pan" and cloth.pattern != "plain"
    ):
        trim = solid("White")
    else:
        trim = main
    button = solid(accents[0] if ground.mean() < 0.3 else "Ecru", sheen=0.6)
    if product.index % 3 == 0 or product.style.noun == "Blazer":
        button = solid(shade(rgb("Chocolate"), -0.1), sheen=0.6)
    lining = solid(shade(main.mean, -0.06))
    sleeve = None
    if "raglan" in getattr(product.style.cut, "extras", ()) and cloth.pattern == "plain":
        sleeve = make_fabric(cloth.weave, [accents[0]], rng, density=density)
    return Materials(main, trim, lining, button, product.style.thread, sleeve)


def _accents(color: str, index: int) -> tuple[str, str]:
    """Return two colours that go with a ground: what a pattern is printed in."""
    pairs = ACCENTS.get(color) or (LIGHT_ACCENTS if rgb(color).mean() > 0.6 else DARK_ACCENTS)
    return pairs[index // 3 % len(pairs)]


def warmth(color: str) -> str:
    """Return ``neutral``, ``warm`` or ``cool``."""
    if color in NEUTRAL:
        return "neutral"
    return "warm" if color in WARM else "cool"


def go_together(top: Product, bottom: Product) -> bool:
    """Tell whether a top and a bottom make an outfit.

    The rule: they have the same mood (``casual`` or ``smart``), at most one of them has a pattern, and one of
    their colours is neutral or both are warm or both are cool; but not the same colour twice.
    """
    tones = {warmth(top.colors[0]), warmth(bottom.colors[0])}
    return (
        top.category in ("Tees", "Shirts", "Hoodies", "Blouses", "Jackets")
        and bottom.category in ("Trousers", "Skirts", "Shorts")
        and top.style.mood == bottom.style.mood
        and "plain" in (top.cloth.pattern, bottom.cloth.pattern)
        and ("neutral" in tones or len(tones) == 1)
        and top.colors[0] != bottom.colors[0]
    )
