"""The photos that are indexed: the user's own, or the sample catalogue's, enlarged to what a camera gives."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 1_080, 1_340
_GRAIN = 1.0  # standard deviation in levels: drawings have less of it than a camera gives


def source(given: str | None, folder: Path, limit: int | None = None) -> list[str]:
    """Return the paths of at most ``limit`` photos: those of a folder or a table, else drawn ones.

    Parameters
    ----------
    given : str, optional
        A folder or a table.
    folder : Path
        Where photos are drawn into, where none are given.
    limit : int, optional
        How many photos at most, evenly taken.
    """
    if given is None:
        paths = _enlarge(folder)
    else:
        from serupa.sources import read_source

        paths = [item.image for item in read_source(given).items()]
    if limit is None or limit >= len(paths):
        return paths
    return [paths[round(i)] for i in np.linspace(0, len(paths) - 1, limit)]


def table(paths: list[str], file: Path, given: str | None) -> Path:
    """Write a table of these photos, with their products where the user's table has them."""
    from serupa.sources import read_source

    products = {} if given is None else {i.image: i.product_id or "" for i in read_source(given).items()}
    with file.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["image", "product_id"])
        rows.writerows([path, products.get(path, product_of(path))] for path in paths)
    return file


def product_of(path: str) -> str:
    """Product of a drawn photo: the first part of its file's name."""
    return Path(path).stem.split("_")[0]


def _enlarge(folder: Path) -> list[str]:
    from serupa_sample import write_sample

    write_sample(folder / "sample")
    small = sorted((folder / "sample" / "photos").glob("*.jpg"))
    large = [folder / "photos" / path.name for path in small]
    (folder / "photos").mkdir(exist_ok=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(_enlarge_one, small, large, range(len(small))))
    return [str(path) for path in large]


def _enlarge_one(small: Path, large: Path, seed: int) -> None:
    with Image.open(small) as image:
        pixels = np.asarray(image.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC), np.float32)
    grain = np.random.default_rng(seed).normal(0, _GRAIN, (*pixels.shape[:2], 1)).astype(np.float32)
    Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)).save(large, quality=70)


def generated(folder: Path, count: int, size: tuple[int, int] = (432, 536)) -> Iterator[Path]:
    """Write any number of photos with different content, quickly: 200 drawings, each file with its number.

    The number stands behind the end of the JPEG, where no decoder looks but a hash does.
    """
    rng = np.random.default_rng(0)
    drawings = []
    for number in range(min(count, 200)):
        coarse = rng.integers(0, 256, (9, 7, 3), np.uint8)
        file = folder / f"drawing-{number}.jpg"
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(file, quality=85)
        drawings.append(file.read_bytes())
        file.unlink()
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"{number:06}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(drawings[number % len(drawings)] + number.to_bytes(4, "big"))
        yield path
