"""Which regions make two photos alike: exact maps, not guesses.

An embedding is the mean of the cells of a feature map, so every measure that is linear in the embedding, the
other one and the norms being fixed, is a sum over cells. With ``q`` the query's embedding, ``q_k`` its cells
(k = 1..n) and ``o`` the item's embedding, cell k contributes

=========  ===============================================  ==========================
metric     contribution of cell k                           sum over the cells
=========  ===============================================  ==========================
cosine     ``q_k . o / (n |q| |o|)``                        the cosine similarity
euclidean  ``(q_k - o) . (q - o) / (n |q - o|)``            the distance ``|q - o|``
manhattan  ``sum_j (q_kj - o_j) sign(q_j - o_j) / n``       the distance ``|q - o|_1``
=========  ===============================================  ==========================

and the same with the two exchanged for the item's map. For cosine a large cell makes the photos alike; for
the two distances a large cell keeps them apart, and a negative one brings them together.

A tuned catalogue compares what its whitening makes of embeddings (`serupa.learning.whitening`): scaled to
length 1, shifted, projected, scaled again. With both norms fixed that is an affine map, and the mean of
mapped cells is the mapped mean: the same sums over the mapped cells are exact there, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from serupa.catalog.reading import known_photo
from serupa.catalog.schema import content_of
from serupa.errors import ConflictError
from serupa.images import open_photo, read_bytes
from serupa.images.color import linear_rgb, srgb
from serupa.images.sheet import font_for, save_picture, wrap
from serupa.items import Item
from serupa.vectors import Metric, as_metric, distances, similarity_of, unit

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.encoders import Encoder
    from serupa.images import Crop, Photo, Resize

Box = tuple[float, float, float, float]
"""x, y, width, height in fractions of an upright photo."""

_SAME = 1e-3  # how far, in cosine, an item's photo may be from its stored embedding to be the same photo


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """What each cell of one photo contributes.

    Parameters
    ----------
    cells : ndarray of float32, shape (rows, columns)
        They add up to the measure.
    box : tuple of float
        The part of the upright photo that the cells cover, x, y, width, height in fractions of its sides; it
        reaches beyond the photo where the encoder saw a margin.
    """

    cells: NDArray[np.float32]
    box: Box

    def to_dict(self) -> dict[str, Any]:
        """Return the map as JSON-ready values."""
        rows, columns = self.cells.shape
        return {"rows": rows, "columns": columns, "cells": self.cells.tolist(), "box": list(self.box)}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a photo and an item are as alike as they are.

    Parameters
    ----------
    metric : {"cosine", "euclidean", "manhattan"}
        What was measured.
    what : {"similarity", "distance"}
        What the cells of each map add up to: the similarity for cosine, else the distance.
    similarity, distance : float
        As a search gives them.
    query, item : Heat
        What each cell of the two photos contributes.
    """

    metric: Metric
    what: Literal["similarity", "distance"]
    similarity: float
    distance: float
    query: Heat
    item: Heat

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON-ready values."""
        return {
            "metric": self.metric,
            "what": self.what,
            "similarity": self.similarity,
            "distance": self.distance,
            "query": self.query.to_dict(),
            "item": self.item.to_dict(),
        }


def explain(
    catalog: Catalog, photo: Photo, item: str | Item, *, crop: Crop | None = None, metric: str | None = None
) -> Explanation:
    """Find out which regions of a photo and of an item's photo make them alike.

    Parameters
    ----------
    catalog : Catalog
        Its encoder must give feature maps.
    photo : path, bytes or binary file
        The query.
    item : str or Item
        An item of the catalogue, or its id.
    crop : Crop, optional
        The part of the query that is compared.
    metric : {"cosine", "euclidean", "manhattan"}, optional
        Any of the three, also one that the catalogue is not searched by; its first unless given.

    Returns
    -------
    Explanation

    Raises
    ------
    NotFoundError
        If the catalogue has no such item.
    SerupaError
        If one of the photos cannot be read.
    UsageError
        If the encoder gives no feature maps, or the metric is none of the three.
    ConflictError
        If the item's photo is another than when it was indexed.
    """
    chosen = as_metric(metric or catalog.manifest.metrics[0])
    held = catalog.get(item) if isinstance(item, str) else item
    encoder = catalog.encoder
    pixels = np.stack([encoder.preprocess(photo, crop), encoder.preprocess(held.image)])
    query_map, item_map = encoder.feature_maps(pixels)
    query_cells, item_cells = _cells(query_map), _cells(item_map)
    _refuse_changed(catalog, held, item_cells.mean(axis=0))
    known = known_photo(catalog, content_of(read_bytes(photo))) if crop is None else None
    shown = (None if known is None else known.payload["attributes"], held.attributes)
    query_cells, item_cells = _mapped(catalog, (query_cells, item_cells), shown, chosen)
    query, other = query_cells.mean(axis=0), item_cells.mean(axis=0)
    distance = float(distances(query[None], other[None], chosen)[0, 0])
    grid = query_map.shape[1:]
    return Explanation(
        chosen,
        "similarity" if chosen == "cosine" else "distance",
        similarity_of(distance, chosen),
        distance,
        Heat(contributions(query_cells, other, chosen).reshape(grid), _box(encoder, photo, crop)),
        Heat(contributions(item_cells, query, chosen).reshape(grid), _box(encoder, held.image, None)),
    )


def _mapped(
    catalog: Catalog,
    cells: tuple[NDArray[np.float64], NDArray[np.float64]],
    shown: tuple[Mapping[str, Any] | None, Mapping[str, Any]],
    metric: Metric,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map the cells of a query and of an item to what a search compares.

    ``shown`` is the attributes of the item whose photo each is; None for a photo that is no item's.
    """
    vector_map, (query, other) = catalog.schema.map, cells
    if vector_map.kinds is None:
        return vector_map.apply_to_cells(query, metric), vector_map.apply_to_cells(other, metric)
    head = vector_map.kinds.head
    means = [one.mean(axis=0, dtype=np.float64)[None].astype(np.float32) for one in cells]
    mapped = vector_map.apply_to_cells(other, metric, head.of_items(means[1], [shown[1]])[0])
    if shown[0] is not None:
        return vector_map.apply_to_cells(query, metric, head.of_items(means[0], [shown[0]])[0]), mapped
    return vector_map.apply_to_cells(query, metric, asked=vector_map.kinds.asked(means[0])), mapped


def contributions(
    cells: NDArray[np.float64], other: NDArray[np.float64], metric: Metric
) -> NDArray[np.float32]:
    """Return what each cell contributes to the measure between the cells' mean and another embedding.

    The space is the caller's: an affine map that embeddings go through (a whitening after a norm that is held
    fixed, say) may be applied to each cell first, since the mean of mapped cells is the mapped mean.

    Parameters
    ----------
    cells : ndarray, shape (n, d)
        Their mean is an embedding.
    other : ndarray, shape (d,)
        The embedding that it is compared with.
    metric : {"cosine", "euclidean", "manhattan"}

    Returns
    -------
    ndarray of float32, shape (n,)
        They add up to the cosine similarity of the mean and ``other``, or to their distance; zeros where a
        norm is 0.
    """
    mean = cells.mean(axis=0)
    if metric == "cosine":
        length = float(np.linalg.norm(mean)) or np.inf
        shares = cells @ (unit(other) / length)
    else:
        gap = mean - other
        shares = (cells - other) @ (unit(gap) if metric == "euclidean" else np.sign(gap))
    shared: NDArray[np.float32] = (shares / len(cells)).astype(np.float32)
    return shared


def _cells(feature_map: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return a map (d, h, w) as cells (h * w, d)."""
    return feature_map.reshape(len(feature_map), -1).T.astype(np.float64)


def _refuse_changed(catalog: Catalog, item: Item, now: NDArray[np.float64]) -> None:
    _, (stored,) = catalog.embeddings([item.id])
    if distances(stored[None], now[None], "cosine")[0, 0] > _SAME:
        raise ConflictError(
            item.id, "its photo is another than when it was indexed", "index it again, then explain"
        )


def _box(encoder: Encoder, photo: Photo, crop: Crop | None) -> Box:
    """Return the part of an upright photo that an encoder sees."""
    width, height = open_photo(photo, min_side=2 * encoder.input_size, crop=crop).size
    x, y, w, h = _seen(width, height, encoder.card.resize)
    if crop is None:
        return x, y, w, h
    return crop.x + x * crop.w, crop.y + y * crop.h, w * crop.w, h * crop.h


def _seen(width: int, height: int, resize: Resize) -> Box:
    """Return what becomes the encoder's square: of an image, in fractions of its sides."""
    if resize == "squash":
        return 0.0, 0.0, 1.0, 1.0
    side = min(width, height) if resize == "crop" else max(width, height)
    w, h = side / width, side / height
    return (1 - w) / 2, (1 - h) / 2, w, h


_PANEL = 520  # longest side of a photo in a drawing, in pixels
_GAP = 32
_PAPER, _INK, _QUIET = "#fbfaf8", "#1c1b1a", "#65615c"


def draw(
    file: str | Path, explanation: Explanation, photo: Photo, item: Item, *, title: str = "Query"
) -> None:
    """Draw a photo and an item side by side, the regions that make them alike lit up.

    Both maps have one scale. What the encoder did not see is faded.

    Parameters
    ----------
    file : path
        Where to write; its ending says the format.
    explanation : Explanation
        What `explain` said of the two.
    photo : path, bytes or binary file
        The query, as given to `explain`.
    item : Item
    title : str
        What stands over the query.

    Raises
    ------
    SerupaError
        If one of the photos cannot be read.
    UsageError, UnavailableError
        If the file's ending is that of no picture, or it cannot be written.
    """
    heats = (explanation.query, explanation.item)
    photos = [_fitted(open_photo(one, min_side=_PANEL)) for one in (photo, item.image)]
    # for a distance, what adds least is what makes the two alike
    sign = 1.0 if explanation.what == "similarity" else -1.0
    alike = [sign * heat.cells for heat in heats]
    low, high = float(min(map(np.min, alike))), float(max(map(np.max, alike)))
    panels = [
        _lit(one, (cells - low) / max(high - low, 1e-12), heat.box)
        for one, cells, heat in zip(photos, alike, heats, strict=True)
    ]
    top, bottom = 132, 92
    height = max(panel.height for panel in panels)
    widths = [max(panel.width, 240) for panel in panels]
    sheet = Image.new("RGB", (sum(widths) + 3 * _GAP, top + height + bottom), _PAPER)
    pen = ImageDraw.Draw(sheet)
    measured = f"{explanation.metric} distance {explanation.distance:.4f}"
    pen.text(
        (_GAP, 24), f"Similarity {explanation.similarity:.4f}", fill=_INK, font=ImageFont.load_default(32)
    )
    pen.text((_GAP, 66), measured, fill=_QUIET, font=ImageFont.load_default(16))
    x = _GAP
    for panel, width, name in zip(panels, widths, (title, item.name), strict=True):
        font, letters = font_for(name, 16)
        pen.text((x, top - 28), wrap(letters, font, width, 1)[0], fill=_INK, font=font)
        sheet.paste(panel, (x, top))
        x += width + _GAP
    _legend(sheet, top + height + 24, explanation, sign * low, sign * high)
    save_picture(sheet, file)


def color_map(steps: int = 256) -> NDArray[np.uint8]:
    """Return colours from dark violet over red to light yellow, shape (steps, 3).

    The path is one in OKLCh (B. Ottosson, "A perceptual color space for image processing", 2020); along it,
    colours are chosen so that the lightness of CIELAB grows evenly: equal differences look equal, also in
    print and to the colour-blind.
    """
    t = np.linspace(0.0, 1.0, 4 * steps)
    chroma = 0.10 + 0.12 * np.sin(np.pi * (0.15 + 0.85 * t))
    hue = np.radians(300.0 + 165.0 * t)
    lab = np.stack([0.20 + 0.74 * t, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    linear = linear_rgb(lab)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    lightness = np.cbrt(luminance)
    even = np.linspace(lightness[0], lightness[-1], steps)
    linear = np.stack([np.interp(even, lightness, channel) for channel in linear.T], axis=1)
    return srgb(linear)


def _fitted(photo: Image.Image) -> Image.Image:
    photo.thumbnail((_PANEL, _PANEL), Image.Resampling.LANCZOS)
    return photo


def _lit(photo: Image.Image, warmth: NDArray[np.float32], box: Box) -> Image.Image:
    """Lay a map, 0 to 1, over the part of a photo that it is of; fade the rest."""
    width, height = photo.size
    left, upper = round(box[0] * width), round(box[1] * height)
    size = (max(1, round(box[2] * width)), max(1, round(box[3] * height)))
    smooth = Image.fromarray(warmth.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    heat = np.clip(np.asarray(smooth), 0.0, 1.0)
    # the map may reach beyond the photo (a margin that the encoder saw): only what lies on it is drawn
    x0, y0, x1, y1 = max(0, left), max(0, upper), min(width, left + size[0]), min(height, upper + size[1])
    heat = heat[y0 - upper : y1 - upper, x0 - left : x1 - left]
    pixels = np.asarray(photo, np.float32)
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    drawn = np.repeat((0.35 * grey + 0.65 * 251)[..., None], 3, axis=2)
    colors = color_map()[np.round(255 * heat).astype(int)].astype(np.float32)
    # only the photo's outlines show through, hardly its lights: a black coat is not a cold region
    blurred = np.asarray(photo.convert("L").filter(ImageFilter.GaussianBlur(_PANEL / 80)), np.float32)
    outlines = (grey - blurred)[y0:y1, x0:x1, None]
    drawn[y0:y1, x0:x1] = 0.82 * colors + 0.18 * grey[y0:y1, x0:x1, None] + 0.8 * outlines
    return Image.fromarray(np.clip(drawn, 0, 255).astype(np.uint8))


def _legend(sheet: Image.Image, y: int, explanation: Explanation, low: float, high: float) -> None:
    pen = ImageDraw.Draw(sheet)
    width = min(256, sheet.width - 2 * _GAP)
    bar = Image.fromarray(color_map(width)[None]).resize((width, 12))
    sheet.paste(bar, (_GAP, y))
    ends = (f"{low:.4f}", f"{high:.4f}")
    pen.text((_GAP, y + 16), ends[0], fill=_QUIET, font=ImageFont.load_default(14))
    pen.text((_GAP + width, y + 16), ends[1], fill=_QUIET, font=ImageFont.load_default(14), anchor="ra")
    words = f"What each region adds to the {explanation.what}; lighter is more alike"
    pen.text((_GAP, y + 38), words, fill=_INK, font=ImageFont.load_default(14))
