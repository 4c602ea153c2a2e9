"""Garments in a photo of a person: the box of the largest sum, heads that are damaged, and a drawn person."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serupa.encoders import load_encoder
from serupa.errors import DamagedError, InvalidInputError
from serupa.garments.head import head_of
from serupa.garments.regions import CLASSES, RegionHead, find_regions, largest_sum, region_head_of
from serupa_sample import write_sample

ENCODER = "efficientnet-lite0"


def random_head() -> RegionHead:
    rng = np.random.default_rng(0)
    shapes = ((3, 16, 4), (4,), (4, len(CLASSES)), (len(CLASSES),))
    return RegionHead(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))


def test_no_rectangle_has_a_larger_sum() -> None:
    values = np.random.default_rng(1).normal(-0.1, 1, (7, 9))
    left, top, right, bottom, most = largest_sum(values)
    assert most == pytest.approx(values[top:bottom, left:right].sum())
    every = [
        values[y:b, x:r].sum()
        for y in range(7)
        for b in range(y + 1, 8)
        for x in range(9)
        for r in range(x + 1, 10)
    ]
    assert most == pytest.approx(max(every))


def test_a_head_comes_back(tmp_path: Path) -> None:
    head = random_head()
    head.save(tmp_path / "head.npz")
    again = RegionHead.load(tmp_path / "head.npz")
    hidden = np.random.default_rng(2).normal(size=(5, 6, 4)).astype(np.float32)
    np.testing.assert_allclose(again.chances(hidden), head.chances(hidden), atol=0.01)
    np.testing.assert_allclose(head.chances(hidden).sum(axis=-1), 1, atol=1e-6)


def test_a_damaged_head_is_said_to_be_one(tmp_path: Path) -> None:
    file = tmp_path / "head.npz"
    random_head().save(file)
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(DamagedError, match="make it again"):
        RegionHead.load(file)


@pytest.mark.slow
def test_drawn_people_wear_what_is_found(tmp_path: Path) -> None:
    table = write_sample(tmp_path, seed=5, products=10)
    encoder = load_encoder(ENCODER)
    names = head_of(encoder.card, encoder.weights_sha256)
    with table.open() as file:
        worn = [
            row for row in csv.DictReader(file) if row["view"] == "street-1" and row["category"] != "Hats"
        ]
    parts = [
        {region.part for region in find_regions(encoder, tmp_path / row["image"], names)} for row in worn
    ]
    assert sum(bool(one & {"upper", "lower", "whole"}) for one in parts) >= 0.8 * len(worn)


def test_an_empty_photo_shows_no_garment(tmp_path: Path) -> None:
    encoder = load_encoder(ENCODER)
    assert region_head_of(encoder.card, encoder.weights_sha256) is not None
    Image.new("RGB", (300, 400), "white").save(tmp_path / "white.png")
    assert find_regions(encoder, tmp_path / "white.png") == ()
    with pytest.raises(InvalidInputError):
        find_regions(encoder, b"not a photo")
