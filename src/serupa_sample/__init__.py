"""The sample catalogue: the products of an invented label, drawn, so that everything runs with no download.

The products are fiction and so are the photos: outlines (`outlines`) are filled with fabrics (`fabrics`) and
given folds and seams (`cloth`), as tops, bottoms and hats, worn by a figure or not, and set in scenes. No
font and no picture is read, so a seed gives the same pixels wherever Pillow and NumPy are the same.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

from PIL import Image

from serupa.errors import UnavailableError, UsageError
from serupa_sample.assortment import CATEGORIES, Product, go_together, plan
from serupa_sample.views import VIEWS, has_other_color, render

__all__ = ["CATEGORIES", "VIEWS", "write_sample"]

MAX_PRODUCTS = 900
MAX_BYTES = 80_000
"""A photo is smaller than this, so that a page of them loads at once."""


def write_sample(
    directory: str | Path,
    *,
    seed: int = 0,
    products: int = 60,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the sample catalogue: photos, ``catalog.csv`` and ``related.csv``.

    Each product has four or five photos of 600 × 750 pixels: ``flat`` (lying on paper), ``hanger`` (hats: on
    a stand), ``street-1`` and ``street-2`` (worn, on a wall or on the ground; other light, crop and tilt)
    and, for three products in five, ``colour``: the same product in another colour.

    ``related.csv`` says which products go together. A top and a bottom are linked, in both directions, when
    they share a mood (casual or smart), one of the two has no pattern, their colours differ, and either one
    colour is neutral (white to black, navy, denim) or both are warm or both are cool.

    Parameters
    ----------
    directory : path
        Where to write; made if missing. Files of the same names are replaced, others are left alone.
    seed : int
        Another seed is another collection. The same seed gives the same files.
    products : int
        How many products, from 1 to 900. The first products of a seed do not depend on it; the categories
        take turns, so 10 products are one of each.
    progress : callable, optional
        Called after each photo with the number of photos written and the number of all.

    Returns
    -------
    Path
        The ``catalog.csv``. Its columns are ``image`` (relative to it), ``product_id``, ``name``,
        ``category``, ``color``, ``pattern``, ``price`` (whole euros) and ``view``.

    Raises
    ------
    UsageError
        If ``seed`` or ``products`` is out of range.
    UnavailableError
        If the directory cannot be written.
    """
    if not 1 <= products <= MAX_PRODUCTS:
        raise UsageError("products", f"the sample has 1 to {MAX_PRODUCTS}, not {products}")
    if seed < 0:
        raise UsageError("seed", f"must be 0 or more, not {seed}")
    folder = Path(directory)
    assortment = plan(seed, products)
    try:
        (folder / "photos").mkdir(parents=True, exist_ok=True)
        rows = _write_photos(folder, assortment, seed, progress)
        table = folder / "catalog.csv"
        _write_table(table, rows)
        _write_table(folder / "related.csv", _related(assortment))
    except OSError as error:
        problem = f"the sample cannot be written there: {error.strerror or error}"
        raise UnavailableError(error.filename or folder, problem, "name another folder") from error
    return table


def _write_photos(
    folder: Path, assortment: list[Product], seed: int, progress: Callable[[int, int], None] | None
) -> list[dict[str, object]]:
    """Draw and write all photos, and return the table's rows."""
    total = sum(len(VIEWS) - (not has_other_color(p)) for p in assortment)
    rows: list[dict[str, object]] = []
    # Threads, as most of the time goes by in Pillow and NumPy, which let go of the interpreter.
    pool = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))
    try:
        for product_rows in pool.map(lambda product: _write_product(folder, product, seed), assortment):
            for row in product_rows:
                rows.append(row)
                if progress is not None:
                    progress(len(rows), total)
    finally:
        pool.shutdown(cancel_futures=True)
    return rows


def _write_product(folder: Path, product: Product, seed: int) -> list[dict[str, object]]:
    """Draw and write a product's photos, and return their rows."""
    rows: list[dict[str, object]] = []
    for view, photo in render(product, seed):
        image = f"photos/{product.product_id}_{view}.jpg"
        (folder / image).write_bytes(_jpeg(photo))
        rows.append(
            {
                "image": image,
                "product_id": product.product_id,
                "name": product.name,
                "category": product.category,
                "color": product.colors[1 if view == "colour" else 0],
                "pattern": product.cloth.pattern,
                "price": product.price,
                "view": view,
            }
        )
    return rows


def _jpeg(photo: Image.Image) -> bytes:
    """Return a photo as JPEG, at a lower quality where a fine pattern would make it large."""
    data = b""
    for quality in (88, 80, 70, 58):
        file = BytesIO()
        photo.save(file, "JPEG", quality=quality, optimize=True)
        data = file.getvalue()
        if len(data) <= MAX_BYTES:
            break
    return data


def _related(assortment: list[Product]) -> list[dict[str, object]]:
    """Return the pairs of products that go together, each in both directions."""
    rows: list[dict[str, object]] = []
    for one in assortment:
        for other in assortment:
            if go_together(one, other) or go_together(other, one):
                rows.append({"product_id": one.product_id, "linked_product_id": other.product_id})
    return rows


def _write_table(path: Path, rows: Iterable[dict[str, object]]) -> None:
    rows = list(rows)
    fields = list(rows[0]) if rows else ["product_id", "linked_product_id"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
