"""Fashion-MNIST files made by the tests: IDX, plain or gzip, each class with a pattern of its own."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def idx(array: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def pictures(count: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return pictures (count, 28, 28) and their classes (count,)."""
    patterns = np.random.default_rng(99).integers(0, 200, (10, 4, 4))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    noise = rng.integers(0, 56, (count, 28, 28))
    return (patterns[labels].repeat(7, 1).repeat(7, 2) + noise).astype(np.uint8), labels.astype(np.uint8)


def write_fashion_mnist_files(folder: Path, *, train: int = 0, test: int = 0, packed: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, count in (("train", train), ("t10k", test)):
        if count:
            images, labels = pictures(count, seed=len(prefix))
            for name, array in (("images-idx3", images), ("labels-idx1", labels)):
                file = folder / f"{prefix}-{name}-ubyte{'.gz' if packed else ''}"
                file.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
