"""What tests share: a small catalogue's photos, and real photos where they are at hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serupa import Catalog, Item

REAL_PHOTOS = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the tests' own: a user's cache neither helps nor is changed."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("SERUPA_CACHE", str(folder))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield folder


@pytest.fixture(scope="session")
def luma() -> Path:
    """A shop's photos, 319 of 72 products; not part of the project, so not on every machine."""
    if not (REAL_PHOTOS / "luma").is_dir():
        pytest.skip("needs the luma photos beside the checkout")
    return REAL_PHOTOS / "luma"


@pytest.fixture(scope="session")
def clothing() -> Path:
    """Amateur photos of clothes, 800 in 10 categories; not part of the project."""
    if not (REAL_PHOTOS / "clothing").is_dir():
        pytest.skip("needs the clothing photos beside the checkout")
    return REAL_PHOTOS / "clothing"


def draw_photo(path: Path, seed: int, size: tuple[int, int] = (96, 120)) -> Path:
    """Write a photo of a few coloured shapes; every seed another one."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 5, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 photos in three subfolders: a catalogue whose categories are its folders."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(24):
        category = ("dresses", "hats", "shirts")[number % 3]
        draw_photo(folder / category / f"{number:02}.png", number)
    return folder


@pytest.fixture(scope="session")
def items(photos: Path) -> list[Item]:
    """The same photos as items of 8 products, with attributes of every kind."""
    return [
        Item(
            f"item-{number:02}",
            str(photos / ("dresses", "hats", "shirts")[number % 3] / f"{number:02}.png"),
            f"P{number // 3}",
            {
                "name": f"Product {number // 3}",
                "category": ("dresses", "hats", "shirts")[number % 3],
                "price": 10.0 + number,
                "stock": number,
                "sale": number % 2 == 0,
                "season": ["summer", "spring"] if number % 4 else ["winter"],
                "description": "A long text about this product. " * 5,
            },
        )
        for number in range(24)
    ]


@pytest.fixture
def catalog(tmp_path: Path, items: list[Item]) -> Iterator[Catalog]:
    """A catalogue of those items, searchable by all three metrics."""
    metrics = ("cosine", "euclidean", "manhattan")
    with Catalog.create(tmp_path / "catalog", metrics=metrics) as made:
        made.add(items)
        yield made
