"""Views to train on: what is found in a photo, what a view keeps, and that a seed decides all of it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("scipy", reason="finds a garment's parts")

from serupa.learning import views

RED, WHITE, FLOOR = (200, 30, 30), (255, 255, 255), (120, 110, 90)


def drawn(
    background: tuple[int, int, int], box: tuple[int, int, int, int] = (80, 80, 200, 260)
) -> views.Pixels:
    image = Image.new("RGB", (272, 340), background)
    ImageDraw.Draw(image).rectangle(box, fill=RED)
    return np.asarray(image)


@pytest.mark.parametrize("background", [WHITE, FLOOR])
def test_a_garment_is_found_by_its_colour(background: tuple[int, int, int]) -> None:
    mask = views.find_garment(drawn(background))
    assert mask is not None
    inside, outside = mask[100:240, 100:180], mask[:60]
    assert inside.min() > 200
    assert outside.max() < 50


@pytest.mark.parametrize("box", [(0, 0, 272, 340), (130, 160, 140, 170)])
def test_what_fills_the_photo_or_is_a_speck_is_no_garment(box: tuple[int, int, int, int]) -> None:
    assert views.find_garment(drawn(WHITE, box)) is None


def test_another_background_keeps_the_garments_hue() -> None:
    pixels = drawn(FLOOR)
    photo = views.Photo(pixels, views.find_garment(pixels))
    for seed in range(8):
        view = views.elsewhere(photo, None, 96, np.random.default_rng(seed)).astype(int)
        reddest = (view[..., 0] - view[..., 1:].max(-1)).max()
        assert reddest > 40
        # nothing of the floor is left at the corners
        corners = view[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert (np.abs(corners - FLOOR).max(-1) > 5).any()


def test_a_seed_decides_a_view_and_another_seed_another() -> None:
    photo = views.Photo(drawn(FLOOR), None)
    one, same, other = (views.plain(photo, 64, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (64, 64, 3)
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_grey_views_have_no_colour() -> None:
    view = views.grey(views.Photo(drawn(FLOOR), None), 64, np.random.default_rng(0))
    np.testing.assert_array_equal(view[..., 0], view[..., 2])


def model(*, head: bool) -> views.Photo:
    """A figure before white: head, shoulders and trunk, or hips and legs that begin outside the photo."""
    image = Image.new("RGB", (272, 340), WHITE)
    draw = ImageDraw.Draw(image)
    if head:
        draw.ellipse((116, 15, 156, 65), fill=(180, 140, 120))
        draw.rectangle((76, 65, 196, 340), fill=(40, 60, 160))
    else:
        draw.rectangle((90, 0, 180, 330), fill=(180, 140, 120))
    pixels = np.asarray(image)
    return views.Photo(pixels, views.find_garment(pixels))


def test_garments_are_laid_where_they_are_worn() -> None:
    worn = views.Worn([(model(head=True), "t-shirt"), (model(head=False), "shorts")])
    assert worn.wears("dress")
    assert worn.wears("skirt")
    assert not worn.wears("shoes")
    assert not worn.wears(None)
    pixels = drawn(FLOOR)
    photo = views.Photo(pixels, views.find_garment(pixels))
    for kind in ("t-shirt", "skirt", "dress"):
        view = worn.view(photo, kind, 96, np.random.default_rng(3)).astype(int)
        red = (view[..., 0] > view[..., 1] + 40) & (view[..., 0] > view[..., 2] + 40)
        assert red.mean() > 0.05, kind


def test_without_models_nothing_is_worn() -> None:
    worn = views.Worn([(views.Photo(drawn(FLOOR), None), "t-shirt")])
    assert not worn.wears("t-shirt")
