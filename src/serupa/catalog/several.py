"""Several photos as one query: what they have in common is what is looked for.

The query is the mean of the photos' embeddings, each of length 1, so that no photo counts more than another,
scaled to their mean length, so that it lies among embeddings of photos for every metric. Why the mean, and
not the best of each: ``bench/query_views.py``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serupa.errors import CatalogError
from serupa.filters import Where

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.catalog.results import By, SearchResult
    from serupa.images import Photo


def search_several(
    catalog: Catalog,
    photos: Sequence[Photo],
    k: int = 10,
    *,
    metric: str | None = None,
    where: Where = None,
    by: By = "item",
    offset: int = 0,
    exact: bool = False,
) -> SearchResult:
    """Find what looks like several photos together, such as the front and the back of one garment.

    Parameters
    ----------
    catalog : Catalog
        What is searched.
    photos : sequence of path, bytes or binary file
        At least one.
    k, metric, where, by, offset, exact
        As for `Catalog.search`.

    Returns
    -------
    SearchResult
        As of a single photo; the times of decode and encode are those of all photos together.

    Raises
    ------
    SerupaError
        If one of the photos cannot be used.
    CatalogError
        If there is none.
    """
    if not photos:
        raise CatalogError("there is nothing to search with: give at least one photo")
    encoder = catalog.encoder
    start = time.perf_counter()
    pixels = np.stack([encoder.preprocess(photo) for photo in photos])
    decoded = time.perf_counter()
    embedding = mean_direction(encoder.encode(pixels))
    encoded = time.perf_counter()
    found = catalog.search_embedding(
        embedding, k, metric=metric, where=where, by=by, offset=offset, exact=exact
    )
    timing = {"decode": 1e3 * (decoded - start), "encode": 1e3 * (encoded - decoded)}
    return replace(found, timing_ms={**timing, **found.timing_ms})


def mean_direction(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the embedding that stands for several ``(n, d)``: their mean direction, their mean length.

    Examples
    --------
    >>> mean_direction(np.array([[3.0, 0.0], [0.0, 1.0]], np.float32)).round(3)
    array([1.414, 1.414], dtype=float32)
    """
    rows = embeddings.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    mean = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0).mean(axis=0)
    size = float(np.linalg.norm(mean))
    scaled: NDArray[np.float32] = (mean * (lengths.mean() / size if size else 0.0)).astype(np.float32)
    return scaled
