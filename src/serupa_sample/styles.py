"""Styles: what the label makes: cuts, and the cloths, colours and prices that each comes in."""

from __future__ import annotations

from dataclasses import dataclass, replace

from serupa_sample.bottoms import LegCut, SkirtCut
from serupa_sample.hats import HatCut
from serupa_sample.sewing import Cut

AnyCut = Cut | LegCut | SkirtCut | HatCut

SOFT = ("White", "Ecru", "Oat", "Blush", "Sky", "Sage", "Lilac")
BASIC = ("White", "Ecru", "Grey", "Navy", "Black", "Sage", "Terracotta", "Stone")
BLUES = ("Denim", "Indigo", "Sky", "Black", "Ecru")


@dataclass(frozen=True)
class Cloth:
    """A cloth that a style comes in: its weave, its pattern, and how a name says them."""

    word: str
    weave: str
    pattern: str = "plain"
    pattern_word: str = ""
    size: float = 3.0
    upright: bool = False
    share: float = 0.4
    tones: int = 2


@dataclass(frozen=True)
class Style:
    """A style of a category: its cut, and the cloths and colours that it comes in."""

    noun: str
    cut: AnyCut
    cloths: tuple[Cloth, ...]
    colors: tuple[str, ...]
    price: int
    mood: str
    thread: str | None = None


JERSEY = Cloth("Cotton", "jersey")
BRETON = Cloth("Cotton", "jersey", "stripes", "Breton", 4.4, share=0.36)
FINE = Cloth("Cotton", "jersey", "stripes", "Fine Stripe", 2.2, share=0.3)
POPLIN = Cloth("Poplin", "poplin")
BENGAL = Cloth("Poplin", "poplin", "stripes", "Bengal Stripe", 1.8, True, 0.45)
GINGHAM = Cloth("Cotton", "poplin", "plaid", "Gingham", 3.6)
LINEN = Cloth("Linen", "linen")
LINEN_STRIPE = Cloth("Linen", "linen", "stripes", "Stripe", 5.0, True, 0.34, 3)
FLANNEL = Cloth("Flannel", "wool", "plaid", "Plaid", 14.0, tones=3)
DOT = Cloth("Viscose", "satin", "dots", "Dot", 3.0)
PIN_DOT = Cloth("Silk", "satin", "dots", "Pin Dot", 1.9)
MEADOW = Cloth("Viscose", "poplin", "floral", "Meadow", 4.6, tones=3)
GARDEN = Cloth("Cotton", "poplin", "floral", "Garden", 7.5, tones=3)
SATIN = Cloth("Satin", "satin")
FLEECE = Cloth("Brushed", "fleece")
LOOPBACK = Cloth("Loopback", "jersey")
DENIM = Cloth("Denim", "denim")
TWILL = Cloth("Twill", "twill")
WOOL = Cloth("Wool", "wool")
CHECK = Cloth("Wool", "wool", "plaid", "Check", 11.0, tones=3)
PINSTRIPE = Cloth("Wool", "twill", "stripes", "Chalk Stripe", 3.4, True, 0.07)
CORD = Cloth("Corduroy", "corduroy")
NYLON = Cloth("Ripstop", "nylon")
KNIT = Cloth("Merino", "knit")
SEERSUCKER = Cloth("Seersucker", "linen", "stripes", "Stripe", 1.6, True, 0.5)
MADRAS = Cloth("Madras", "linen", "plaid", "Plaid", 9.0, tones=3)
CASUAL, SMART = "casual", "smart"

LONG = Cut(sleeve=53, sleeve_end=12)
BOXY = Cut(chest=28, shoulder=25, waist=27.5, hem=27.5, slope=5.5)
LONG_BOXY = replace(BOXY, sleeve=53, sleeve_end=12)

STYLES: dict[str, tuple[Style, ...]] = {
    "Tees": (
        Style("Crew Tee", Cut(), (JERSEY, BRETON, FINE), BASIC, 28, CASUAL),
        Style("Pocket Tee", Cut(pockets=("chest",), length=71), (JERSEY, FINE), BASIC, 30, CASUAL),
        Style(
            "Boxy Tee",
            replace(BOXY, length=64, sleeve=21, sleeve_end=20),
            (JERSEY, BRETON),
            BASIC,
            34,
            CASUAL,
        ),
        Style("V-Neck Tee", Cut(neckline="vee", drop=14, neck=8), (JERSEY, FINE), BASIC, 29, CASUAL),
        Style("Long-Sleeve Tee", replace(LONG, collar="crew"), (BRETON, JERSEY, FINE), BASIC, 38, CASUAL),
        Style(
            "Graphic Tee",
            Cut(extras=("print",), length=70),
            (JERSEY,),
            ("White", "Ecru", "Navy", "Black", "Sage", "Terracotta"),
            32,
            CASUAL,
        ),
    ),
    "Shirts": (
        Style(
            "Oxford Shirt",
            replace(
                LONG,
                collar="point",
                front="buttons",
                drop=6,
                neck=7.6,
                cuff="button",
                hemline="shirttail",
                length=76,
                pockets=("chest",),
            ),
            (POPLIN, BENGAL, GINGHAM),
            ("White", "Sky", "Ecru", "Blush", "Navy"),
            64,
            SMART,
        ),
        Style(
            "Camp Shirt",
            replace(
                BOXY, collar="camp", front="buttons", drop=14, neck=8, length=71, sleeve=22, sleeve_end=20
            ),
            (LINEN, LINEN_STRIPE, GARDEN),
            ("Ecru", "Terracotta", "Sage", "Navy", "Sky", "Olive"),
            58,
            CASUAL,
        ),
        Style(
            "Overshirt",
            replace(
                LONG_BOXY,
                collar="point",
                front="buttons",
                drop=7,
                neck=8,
                cuff="button",
                length=74,
                pockets=("flaps",),
            ),
            (FLANNEL, CORD, TWILL),
            ("Olive", "Rust", "Navy", "Camel", "Forest", "Charcoal"),
            78,
            CASUAL,
        ),
        Style(
            "Grandad Shirt",
            replace(
                LONG,
                collar="stand",
                front="half",
                drop=7,
                neck=7.6,
                cuff="button",
                hemline="shirttail",
                length=76,
            ),
            (LINEN, BENGAL),
            ("White", "Ecru", "Sky", "Sage", "Oat"),
            62,
            CASUAL,
        ),
        Style(
            "Western Shirt",
            replace(
                LONG,
                collar="point",
                front="buttons",
                drop=6,
                neck=7.8,
                cuff="button",
                hemline="shirttail",
                length=75,
                pockets=("flaps",),
                extras=("yoke",),
            ),
            (DENIM, FLANNEL),
            ("Denim", "Indigo", "Sky", "Rust", "Ecru"),
            72,
            CASUAL,
        ),
    ),
    "Blouses": (
        Style(
            "Bow Blouse",
            replace(
                LONG,
                collar="bow",
                front="closed",
                neckline="vee",
                drop=9,
                neck=7.6,
                cuff="band",
                length=64,
                puff=0.16,
                chest=24,
                waist=22,
                hem=23,
                shoulder=20,
            ),
            (SATIN, PIN_DOT, MEADOW),
            (*SOFT, "Navy", "Burgundy"),
            68,
            SMART,
        ),
        Style(
            "Puff-Sleeve Blouse",
            Cut(
                collar="bound",
                neckline="square",
                drop=11,
                neck=11,
                sleeve=22,
                sleeve_end=15,
                cuff="band",
                puff=0.42,
                length=58,
                chest=23,
                waist=20.5,
                hem=23.5,
                waist_y=40,
                shoulder=18.5,
            ),
            (POPLIN, MEADOW, GINGHAM),
            SOFT,
            54,
            CASUAL,
        ),
        Style(
            "Peter Pan Blouse",
            replace(
                LONG,
                collar="pan",
                front="buttons",
                drop=7.5,
                neck=7.8,
                cuff="band",
                length=62,
                puff=0.14,
                chest=24,
                waist=22,
                hem=24,
                shoulder=20,
            ),
            (POPLIN, DOT, MEADOW),
            (*SOFT, "Navy"),
            59,
            SMART,
        ),
        Style(
            "Peplum Blouse",
            Cut(
                collar="bound",
                neckline="vee",
                drop=15,
                neck=8.5,
                sleeve=34,
                sleeve_end=18,
                cuff="hem",
                length=52,
                chest=23,
                waist=19.5,
                waist_y=42,
                hem=24,
                shoulder=19.5,
                extras=("ruffle hem", "gathers"),
                folds=0.3,
            ),
            (POPLIN, DOT, MEADOW),
            (*SOFT, "Terracotta", "Teal"),
            62,
            SMART,
        ),
        Style(
            "Ruffle Blouse",
            replace(
                LONG,
                collar="ruffle",
                front="half",
                drop=9,
                neck=8.2,
                cuff="band",
                length=63,
                puff=0.2,
                chest=24.5,
                waist=23,
                hem=24.5,
                shoulder=20,
            ),
            (POPLIN, SATIN, PIN_DOT),
            (*SOFT, "Black"),
            66,
            SMART,
        ),
    ),
    "Hoodies": (
        Style(
            "Pullover Hoodie",
            replace(
                LONG_BOXY,
                sleeve_end=13,
                collar="hood",
                cuff="rib",
                hemline="rib",
                length=62,
                pockets=("kangaroo",),
                extras=("print",),
            ),
            (FLEECE, LOOPBACK),
            (*BASIC, "Olive", "Lilac"),
            68,
            CASUAL,
        ),
        Style(
            "Zip Hoodie",
            replace(
                LONG_BOXY,
                sleeve_end=13.0,
                collar="hood",
                cuff="rib",
                hemline="rib",
                front="zip",
                length=61,
                pockets=("welt",),
            ),
            (FLEECE, LOOPBACK),
            (*BASIC, "Burgundy", "Forest"),
            74,
            CASUAL,
        ),
        Style(
            "Raglan Hoodie",
            replace(
                LONG,
                sleeve_end=13.0,
                chest=28,
                shoulder=24,
                slope=6,
                waist=27.5,
                hem=27,
                collar="hood",
                cuff="rib",
                hemline="rib",
                length=63,
                pockets=("kangaroo",),
                extras=("raglan",),
            ),
            (FLEECE, Cloth("Loopback", "jersey", "stripes", "Stripe", 9.0, share=0.5)),
            (*BASIC, "Sky", "Mustard"),
            72,
            CASUAL,
        ),
        Style(
            "Cropped Hoodie",
            replace(LONG_BOXY, sleeve_end=14.0, collar="hood", cuff="rib", hemline="rib", length=47),
            (FLEECE, LOOPBACK),
            (*SOFT, "Grey", "Black"),
            62,
            CASUAL,
        ),
    ),
    "Jackets": (
        Style(
            "Trucker Jacket",
            replace(
                LONG,
                sleeve_end=13.5,
                collar="point",
                front="buttons",
                drop=7,
                neck=8,
                cuff="button",
                hemline="band",
                length=56,
                pockets=("flaps",),
                extras=("yoke", "panels"),
                chest=27,
                shoulder=23.5,
                waist=25.5,
                hem=24,
            ),
            (DENIM, CORD),
            (*BLUES, "Camel"),
            118,
            CASUAL,
            "Mustard",
        ),
        Style(
            "Bomber Jacket",
            replace(
                LONG_BOXY,
                sleeve_end=13.5,
                collar="rib",
                front="zip",
                drop=7.5,
                neck=8.6,
                cuff="rib",
                hemline="rib",
                length=58,
                extras=("bomber",),
            ),
            (NYLON, SATIN, WOOL),
            ("Olive", "Navy", "Black", "Burgundy", "Stone"),
            128,
            CASUAL,
        ),
        Style(
            "Blazer",
            replace(
                LONG,
                sleeve=55,
                sleeve_end=14.0,
                collar="lapel",
                front="single",
                neckline="vee",
                drop=36,
                neck=8.4,
                length=75,
                chest=26.5,
                waist=24,
                waist_y=43,
                hem=27.5,
                shoulder=22.5,
                pockets=("flap",),
            ),
            (WOOL, CHECK, PINSTRIPE, LINEN),
            ("Navy", "Charcoal", "Camel", "Stone", "Black", "Chocolate"),
            168,
            SMART,
        ),
        Style(
            "Double-Breasted Blazer",
            replace(
                LONG,
                sleeve=55,
                sleeve_end=14.0,
                collar="lapel",
                front="double",
                neckline="vee",
                drop=33,
                neck=8.4,
                length=76,
                chest=27,
                waist=25,
                waist_y=43,
                hem=28,
                shoulder=23.5,
                pockets=("flap",),
            ),
            (WOOL, CHECK, PINSTRIPE),
            ("Navy", "Charcoal", "Camel", "Black", "Forest"),
            182,
            SMART,
        ),
        Style(
            "Puffer Jacket",
            replace(
                LONG,
                sleeve_end=15.0,
                chest=29,
                shoulder=25,
                waist=29,
                hem=28.5,
                slope=5.5,
                collar="stand",
                front="zip",
                drop=6,
                neck=8.6,
                cuff="band",
                length=63,
                extras=("quilt",),
                pockets=("welt",),
            ),
            (NYLON,),
            ("Olive", "Black", "Rust", "Navy", "Sage", "Ecru"),
            142,
            CASUAL,
        ),
        Style(
            "Chore Jacket",
            replace(
                LONG_BOXY,
                sleeve_end=15.0,
                collar="point",
                front="buttons",
                drop=8,
                neck=8,
                cuff="hem",
                length=70,
                pockets=("patch", "chest"),
            ),
            (TWILL, CORD, DENIM),
            ("Navy", "Olive", "Ecru", "Camel", "Indigo", "Chocolate"),
            112,
            CASUAL,
        ),
    ),
    "Dresses": (
        Style(
            "Wrap Dress",
            Cut(
                collar="bound",
                front="wrap",
                neckline="vee",
                drop=20,
                neck=8,
                sleeve=34,
                sleeve_end=18,
                length=112,
                chest=22.5,
                waist=18.5,
                waist_y=41,
                hem=40,
                shoulder=19,
                folds=1.0,
                extras=("belt",),
            ),
            (MEADOW, DOT, POPLIN),
            ("Navy", "Rust", "Forest", "Blush", "Black", "Sky"),
            96,
            SMART,
        ),
        Style(
            "Shirt Dress",
            replace(
                LONG,
                collar="point",
                front="buttons",
                drop=7,
                neck=7.8,
                cuff="button",
                length=108,
                chest=24,
                waist=21.5,
                waist_y=42,
                hem=34,
                shoulder=20.5,
                folds=0.7,
                extras=("belt",),
            ),
            (POPLIN, BENGAL, GINGHAM, LINEN),
            ("White", "Sky", "Sage", "Navy", "Oat"),
            92,
            SMART,
        ),
        Style(
            "Slip Dress",
            Cut(
                collar="bound",
                neckline="vee",
                drop=8,
                neck=9.5,
                sleeve=0,
                length=106,
                chest=20.5,
                armhole=17,
                waist=19,
                waist_y=40,
                hem=29,
                folds=0.8,
                extras=("straps",),
            ),
            (SATIN, PIN_DOT, MEADOW),
            ("Ecru", "Black", "Sage", "Blush", "Burgundy", "Oat"),
            88,
            SMART,
        ),
        Style(
            "Sun Dress",
            Cut(
                collar="bound",
                neckline="sweetheart",
                drop=10,
                neck=10,
                sleeve=0,
                length=98,
                chest=20,
                armhole=16,
                waist=17.5,
                waist_y=36,
                hem=40,
                folds=1.1,
                extras=("straps", "gathers"),
            ),
            (MEADOW, GINGHAM, LINEN, GARDEN),
            ("White", "Sky", "Blush", "Mustard", "Terracotta", "Sage"),
            79,
            CASUAL,
        ),
        Style(
            "Tea Dress",
            Cut(
                collar="pan",
                neckline="crew",
                drop=8,
                neck=7.8,
                sleeve=22,
                sleeve_end=15,
                cuff="band",
                puff=0.3,
                length=104,
                chest=22,
                waist=18.5,
                waist_y=40,
                hem=40,
                shoulder=18.5,
                folds=1.1,
                front="half",
                extras=("gathers",),
            ),
            (DOT, MEADOW, GINGHAM),
            ("Navy", "Burgundy", "Blush", "Forest", "Ecru"),
            94,
            SMART,
        ),
        Style(
            "Tee Dress",
            Cut(length=96, chest=25, waist=25, waist_y=48, hem=28, sleeve=21, folds=0.35),
            (JERSEY, BRETON),
            BASIC,
            54,
            CASUAL,
        ),
    ),
    "Skirts": (
        Style(
            "Pleated Skirt",
            SkirtCut(length=70, hem=38, count=8, folds=0.55, extras=("pleats",)),
            (SATIN, POPLIN, CHECK),
            ("Camel", "Forest", "Navy", "Blush", "Black", "Sage"),
            68,
            SMART,
        ),
        Style(
            "Pencil Skirt",
            SkirtCut(length=66, waist=17, hip=23, hem=20, folds=0.12, extras=("slit",)),
            (WOOL, CHECK, PINSTRIPE),
            ("Charcoal", "Navy", "Black", "Camel", "Burgundy"),
            64,
            SMART,
        ),
        Style(
            "Button Mini",
            SkirtCut(length=43, hip=24.5, hem=28, folds=0.1, extras=("buttons", "jeans", "fly")),
            (DENIM, CORD),
            ("Denim", "Indigo", "Ecru", "Rust", "Camel", "Black"),
            52,
            CASUAL,
            "Mustard",
        ),
        Style(
            "Tiered Skirt",
            SkirtCut(length=80, hem=44, hip=27, count=5, folds=0.9, extras=("tiers", "drawstring")),
            (MEADOW, POPLIN, LINEN, DOT),
            ("White", "Terracotta", "Sage", "Navy", "Sky"),
            66,
            CASUAL,
        ),
        Style(
            "Wrap Skirt",
            SkirtCut(length=72, hem=34, folds=0.6, count=3.4, extras=("wrap", "belt")),
            (LINEN, MEADOW, LINEN_STRIPE, DOT),
            ("Ecru", "Rust", "Olive", "Black", "Sky"),
            62,
            CASUAL,
        ),
        Style(
            "A-Line Skirt",
            SkirtCut(length=58, hem=34, folds=0.6, count=3.4, extras=("patch", "buttons")),
            (TWILL, LINEN, CHECK),
            ("Oat", "Olive", "Navy", "Terracotta", "Stone"),
            58,
            CASUAL,
        ),
    ),
    "Trousers": (
        Style("Straight Jeans", LegCut(pockets="scoop"), (DENIM,), BLUES, 84, CASUAL, "Mustard"),
        Style(
            "Wide-Leg Trousers",
            LegCut(knee=30, hem=34, waist=18, length=104, extras=("wide", "crease", "pleats")),
            (LINEN, WOOL, PINSTRIPE),
            ("Ecru", "Black", "Camel", "Navy", "Sage"),
            82,
            SMART,
        ),
        Style(
            "Tapered Chinos",
            LegCut(knee=20, hem=16, length=98, cuff="turnup"),
            (TWILL, CORD),
            ("Oat", "Olive", "Navy", "Camel", "Stone", "Rust"),
            72,
            CASUAL,
        ),
        Style(
            "Pleated Trousers",
            LegCut(knee=22, hem=18, length=101, extras=("pleats", "crease")),
            (WOOL, CHECK, PINSTRIPE),
            ("Charcoal", "Navy", "Camel", "Stone", "Chocolate"),
            96,
            SMART,
        ),
        Style(
            "Joggers",
            LegCut(knee=21, hem=17, length=93, closure="drawstring", cuff="rib", pockets="slant"),
            (FLEECE, LOOPBACK),
            ("Grey", "Black", "Navy", "Sage", "Oat"),
            56,
            CASUAL,
        ),
        Style(
            "Cargo Trousers",
            LegCut(knee=25, hem=21, length=100, pockets="cargo"),
            (TWILL, NYLON),
            ("Olive", "Black", "Stone", "Oat", "Charcoal"),
            88,
            CASUAL,
        ),
    ),
    "Shorts": (
        Style(
            "Chino Shorts",
            LegCut(length=49, hem=27.5, hip=26),
            (TWILL, SEERSUCKER, MADRAS),
            ("Oat", "Navy", "Olive", "Terracotta", "Sky", "Stone"),
            44,
            CASUAL,
        ),
        Style(
            "Denim Shorts",
            LegCut(length=39, hem=29.5, hip=26, pockets="scoop", cuff="turnup"),
            (DENIM,),
            BLUES,
            48,
            CASUAL,
            "Mustard",
        ),
        Style(
            "Drawstring Shorts",
            LegCut(length=45, hem=32, hip=26.5, closure="drawstring"),
            (LINEN, LINEN_STRIPE, GARDEN),
            ("Ecru", "Sage", "Sky", "Navy", "Terracotta"),
            46,
            CASUAL,
        ),
        Style(
            "Sweat Shorts",
            LegCut(length=51, hem=27, hip=26.5, closure="drawstring"),
            (FLEECE, LOOPBACK),
            ("Grey", "Black", "Navy", "Sage", "Ecru"),
            40,
            CASUAL,
        ),
        Style(
            "Tailored Shorts",
            LegCut(length=43, hem=32, hip=25.5, closure="belt", extras=("pleats", "crease")),
            (WOOL, CHECK, PINSTRIPE),
            ("Oat", "Black", "Camel", "Navy", "Stone"),
            58,
            SMART,
        ),
        Style(
            "Cargo Shorts",
            LegCut(length=52, hem=29, hip=26.5, knee=25, pockets="cargo"),
            (TWILL, NYLON),
            ("Olive", "Stone", "Black", "Camel"),
            52,
            CASUAL,
        ),
    ),
    "Hats": (
        Style(
            "Ball Cap",
            HatCut("cap", 8.2, ("badge",)),
            (TWILL, CORD, DENIM),
            ("Navy", "Olive", "Ecru", "Black", "Rust", "Sage"),
            28,
            CASUAL,
        ),
        Style(
            "Bucket Hat",
            HatCut("bucket", 9.0),
            (
                TWILL,
                Cloth("Cotton", "poplin", "floral", "Garden", 4.0, tones=3),
                CORD,
                Cloth("Cotton", "poplin", "plaid", "Gingham", 2.0),
            ),
            ("Oat", "Olive", "Sky", "Black", "Terracotta", "White"),
            34,
            CASUAL,
        ),
        Style(
            "Beanie",
            HatCut("beanie", 0.0, ("badge",)),
            (KNIT,),
            ("Mustard", "Navy", "Grey", "Forest", "Rust", "Ecru"),
            26,
            CASUAL,
        ),
        Style(
            "Fedora",
            HatCut("fedora", 18.0),
            (WOOL,),
            ("Camel", "Black", "Chocolate", "Grey", "Forest"),
            62,
            SMART,
        ),
        Style(
            "Sun Hat",
            HatCut("sun", 21.0, ("tails",)),
            (Cloth("Straw", "straw"),),
            ("Oat", "Ecru", "Camel", "Stone"),
            44,
            CASUAL,
        ),
        Style("Beret", HatCut("beret"), (WOOL,), ("Burgundy", "Black", "Navy", "Camel", "Forest"), 36, SMART),
        Style(
            "Bobble Beanie",
            HatCut("beanie", 1.5, ("pompom",)),
            (KNIT,),
            ("Ecru", "Blush", "Navy", "Grey", "Teal"),
            32,
            CASUAL,
        ),
    ),
}
