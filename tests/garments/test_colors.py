"""Colours of garments by name: Oklab, names, the background left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from serupa import Crop, NotFoundError
from serupa.garments.colors import (
    NAMES,
    basic_name,
    colors_in,
    colors_of,
    lab_of,
    name_of,
    polar,
)
from serupa.images.color import linear_rgb, oklab, srgb
from serupa.sources import read_source
from serupa.styling.harmony import harmony


def photo(garment: tuple[int, int, int], background: tuple[int, int, int], noise: int = 6) -> np.ndarray:
    """A garment in the middle of a background, both a little uneven."""
    image = Image.new("RGB", (80, 100), background)
    ImageDraw.Draw(image).polygon([(22, 20), (58, 20), (70, 50), (60, 90), (20, 90), (10, 50)], fill=garment)
    spread = np.random.default_rng(0).integers(-noise, noise + 1, (100, 80, 1))
    return np.clip(np.asarray(image) + spread, 0, 255).astype(np.uint8)


def test_oklab_is_oklab() -> None:
    """Values of Ottosson's own table for the primaries, and there and back again."""
    np.testing.assert_allclose(oklab([255, 255, 255]), [1, 0, 0], atol=1e-3)
    np.testing.assert_allclose(oklab([255, 0, 0]), [0.62796, 0.22486, 0.12585], atol=1e-4)
    np.testing.assert_allclose(oklab([0, 0, 255]), [0.45201, -0.03246, -0.31153], atol=1e-4)
    for rgb in ((12, 200, 90), (0, 0, 0), (255, 254, 3), (128, 128, 128)):
        assert tuple(srgb(linear_rgb(oklab(rgb)))) == rgb


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((10, 10, 12), "black"),
        ((250, 250, 248), "white"),
        ((128, 128, 130), "grey"),
        ((222, 205, 175), "beige"),
        ((101, 67, 33), "brown"),
        ((200, 20, 40), "red"),
        ((250, 170, 190), "pink"),
        ((245, 130, 30), "orange"),
        ((250, 220, 50), "yellow"),
        ((30, 130, 60), "green"),
        ((40, 90, 220), "blue"),
        ((20, 30, 70), "navy"),
        ((120, 50, 160), "purple"),
        ((110, 110, 40), "green"),
        ((200, 40, 160), "purple"),
    ],
)
def test_names(rgb: tuple[int, int, int], name: str) -> None:
    assert name_of(oklab(rgb)) == name


def test_every_colour_has_a_name() -> None:
    every = np.stack(np.meshgrid(*[range(0, 256, 15)] * 3), axis=-1).reshape(-1, 3)
    assert {name_of(lab) for lab in oklab(every)} == set(NAMES)


@pytest.mark.parametrize("background", [(255, 255, 255), (180, 150, 110), (30, 60, 140), (15, 15, 15)])
def test_the_background_is_left_out(background: tuple[int, int, int]) -> None:
    (found, *rest) = colors_in(photo((180, 25, 40), background))
    assert found.name == "red"
    assert found.share > 0.85
    assert sum(color.share for color in (found, *rest)) <= 1 + 1e-9


def test_a_garment_of_the_backgrounds_colour() -> None:
    assert colors_in(photo((250, 250, 250), (255, 255, 255)))[0].name == "white"


def test_two_colours_have_their_shares() -> None:
    pixels = photo((180, 25, 40), (255, 255, 255))
    pixels[50:, :][pixels[50:, :, 1] < 100] = (30, 50, 200)
    found = {color.name: color.share for color in colors_in(pixels)}
    assert set(found) == {"red", "blue"}
    assert 0.3 < found["red"] < 0.7


def test_skin_counts_little_beside_a_garment_and_much_alone() -> None:
    pixels = photo((30, 130, 60), (255, 255, 255))
    pixels[20:40, :][pixels[20:40, :, 0] < 150] = (205, 150, 120)
    assert colors_in(pixels)[0].name == "green"
    assert colors_in(photo((205, 150, 120), (255, 255, 255)))[0].name in ("brown", "beige", "orange")


def test_photos_and_crops(tmp_path: Path) -> None:
    file = tmp_path / "two.png"
    pair = np.concatenate([photo((180, 25, 40), (255,) * 3), photo((30, 50, 200), (255,) * 3)], axis=1)
    Image.fromarray(pair).save(file)
    assert colors_of(file, Crop(0, 0, 0.5, 1))[0].name == "red"
    assert colors_of(file, Crop(0.5, 0, 0.5, 1))[0].name == "blue"
    with pytest.raises(NotFoundError, match="nothing.png"):
        colors_of(tmp_path / "nothing.png")


def test_other_words_for_colours() -> None:
    assert [basic_name(name) for name in ("Gray", "navy ", "LAVENDER", "Sunset")] == [
        "grey", "blue", "purple", None,
    ]  # fmt: skip


def test_harmony() -> None:
    def of(rgb: tuple[int, int, int]) -> tuple:  # type: ignore[type-arg]
        return colors_in(photo(rgb, (255, 255, 255)))

    red, wine, green, black, white = map(
        of, ((200, 20, 40), (110, 10, 25), (20, 140, 60), (12, 12, 12), (235, 235, 230))
    )
    assert harmony(red, black)[1] == "neutral"
    assert harmony(black, black)[1] == "same"
    assert harmony(red, wine)[1] == "tonal"
    assert harmony(red, green)[1] in ("loud", "plain")
    assert harmony((), red) == (0.5, "unknown")
    assert harmony(red, black)[0] > harmony(red, red)[0] > harmony(red, green)[0]
    assert harmony(red, white) == harmony(white, red)


def test_a_colour_knows_its_place() -> None:
    (color, *_) = colors_in(photo((40, 90, 220), (255, 255, 255)))
    np.testing.assert_allclose(polar(lab_of(color))[2], color.hue, atol=1e-6)
    np.testing.assert_allclose(lab_of(color)[0], color.lightness, atol=1e-6)


def test_real_photos_of_plain_garments(luma: Path) -> None:
    """At least three in four plain garments get the shop's own name; the rest are mostly shades between."""
    items = [
        item
        for item in read_source(luma / "catalog.csv")
        if item.attributes["view"] == "main" and item.attributes["pattern"] in ("Solid", ["Solid"])
    ][::3]
    right = [
        basic_name(colors_of(item.image)[0].name) == basic_name(str(item.attributes["color"]))
        for item in items
    ]
    assert len(right) > 40
    assert np.mean(right) >= 0.75
