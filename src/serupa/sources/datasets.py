"""Data sets for research that a folder may hold, and how each is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from serupa.items import Item
from serupa.sources.deepfashion import (
    count_deepfashion,
    deepfashion_category,
    deepfashion_consumer_to_shop,
    deepfashion_inshop,
    detect_deepfashion,
)
from serupa.sources.fashion_mnist import count_fashion_mnist, read_fashion_mnist, splits_in


@dataclass(frozen=True, slots=True)
class Dataset:
    """How to read and to count one data set, given its folder."""

    name: str
    read: Callable[[str | Path], Iterator[Item]]
    count: Callable[[str | Path], int]


_DEEPFASHION = {
    "deepfashion-category": deepfashion_category,
    "deepfashion-inshop": deepfashion_inshop,
    "deepfashion-consumer-to-shop": deepfashion_consumer_to_shop,
}


def dataset_in(directory: str | Path) -> Dataset | None:
    """Return the data set that a folder holds, None for anything else."""
    if splits_in(directory):
        return Dataset("fashion-mnist", read_fashion_mnist, count_fashion_mnist)
    benchmark = detect_deepfashion(directory)
    if benchmark is None:
        return None
    return Dataset(benchmark, _DEEPFASHION[benchmark], partial(count_deepfashion, benchmark=benchmark))
