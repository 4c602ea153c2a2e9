"""Fashion-MNIST: IDX files of pictures and labels, unpacked as PNG files, as an item is a photo in a file."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from serupa.errors import InvalidInputError, NotFoundError, UnavailableError
from serupa.items import Item

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_PREFIXES = {"train": "train", "test": "t10k"}  # of the files of each split
_MAX_PICTURES_BYTES = 2**30  # a header may promise anything; Fashion-MNIST has 47 MB


def splits_in(directory: str | Path) -> list[str]:
    """Return the splits, train and test, of which a folder has any file."""
    root = Path(directory)
    return [
        split
        for split, prefix in _PREFIXES.items()
        if _find(root, f"{prefix}-images-idx3-ubyte") or _find(root, f"{prefix}-labels-idx1-ubyte")
    ]


def read_fashion_mnist(directory: str | Path, pictures: str | Path | None = None) -> Iterator[Item]:
    """Read Fashion-MNIST, and write each of its pictures as a PNG file.

    Parameters
    ----------
    directory : path
        The folder with ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, or
        ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, or all four; plain or as ``.gz``.
    pictures : path, optional
        Where to write ``train/00000.png`` and so on; the cache unless given. A file that is already there is
        kept, not written again.

    Yields
    ------
    Item
        ``id`` is ``train/00000.png``. Attributes: ``category`` (``"Ankle boot"``), ``label`` (0 to 9),
        ``split``.

    Raises
    ------
    NotFoundError
        A file is missing.
    InvalidInputError
        A file is not IDX, or ends early.
    UnavailableError
        A picture cannot be written.
    """
    root = Path(directory).absolute()
    if not splits_in(root):
        raise NotFoundError(
            root, "not Fashion-MNIST: no train-images-idx3-ubyte nor t10k-images-idx3-ubyte here"
        )
    target = _cached_pictures(root) if pictures is None else Path(pictures).absolute()
    for split in splits_in(root):
        labels = _labels(root, split)
        path = _idx_path(root, split, "images-idx3")
        images = _read_idx(path, 3)
        if len(images) != len(labels):
            raise InvalidInputError(path, f"{len(images):,} pictures, but there are {len(labels):,} labels")
        try:
            (target / split).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnavailableError(target / split, f"cannot be made: {error.strerror}") from None
        for number, (pixels, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            picture = target / split / f"{number:05}.png"
            if not picture.exists():
                _write_picture(picture, pixels)
            yield Item(
                id=f"{split}/{picture.name}",
                image=str(picture),
                attributes={"category": CLASSES[label], "label": label, "split": split},
            )


def count_fashion_mnist(directory: str | Path) -> int:
    """Count the pictures of the splits that are there, by their labels; raises as `read_fashion_mnist`."""
    root = Path(directory).absolute()
    return sum(len(_labels(root, split)) for split in splits_in(root))


def _cached_pictures(root: Path) -> Path:
    from serupa.files.cache import cache_dir, file_sha256

    # By content and not by path: another data set in the same place never shows the pictures of the last.
    content = hashlib.sha256()
    for split in splits_in(root):
        path = _idx_path(root, split, "images-idx3")
        try:
            content.update(f"{split} {file_sha256(path)} ".encode())
        except OSError as error:
            raise InvalidInputError(path, f"cannot be read: {error.strerror or error}") from None
    return cache_dir() / "fashion-mnist" / content.hexdigest()[:16]


def _find(root: Path, name: str) -> Path | None:
    return next((path for path in (root / name, root / f"{name}.gz") if path.is_file()), None)


def _idx_path(root: Path, split: str, what: str) -> Path:
    name = f"{_PREFIXES[split]}-{what}-ubyte"
    path = _find(root, name)
    if path is None:
        raise NotFoundError(root, f"not the whole of Fashion-MNIST: neither {name} nor {name}.gz is here")
    return path


def _labels(root: Path, split: str) -> NDArray[np.uint8]:
    path = _idx_path(root, split, "labels-idx1")
    labels = _read_idx(path, 1)
    if len(labels) and labels.max() >= len(CLASSES):
        raise InvalidInputError(path, f"label {labels.max()} is not one of Fashion-MNIST's 0 to 9")
    return labels


def _read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read the header (0, 0, 8 for bytes, the number of dimensions, their sizes), then what it announces."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _read_idx_stream(cast(BinaryIO, file), path, dimensions)
    except EOFError:
        raise InvalidInputError(path, "ends early", "was it cut off?") from None
    except (OSError, zlib.error) as error:
        raise InvalidInputError(path, f"cannot be read: {error}") from None


def _read_idx_stream(file: BinaryIO, path: Path, dimensions: int) -> NDArray[np.uint8]:
    header = file.read(4 + 4 * dimensions)
    if len(header) < 4 + 4 * dimensions or header[:4] != bytes([0, 0, 8, dimensions]):
        raise InvalidInputError(path, f"not an IDX file of bytes with {dimensions} dimensions")
    sizes = struct.unpack(f">{dimensions}I", header[4:])
    size = math.prod(sizes)
    if 0 in sizes[1:] or size > _MAX_PICTURES_BYTES:
        raise InvalidInputError(path, f"its header says {' x '.join(map(str, sizes))}", "is it damaged?")
    data = file.read(size)
    if len(data) != size:
        raise InvalidInputError(path, f"ends after {len(data):,} of {size:,} bytes", "was it cut off?")
    return np.frombuffer(data, dtype=np.uint8).reshape(sizes)


def _write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    from PIL import Image

    from serupa.files.atomic import replacing

    try:
        with replacing(path, durable=False) as stream:
            Image.fromarray(pixels).save(stream, format="PNG")
    except OSError as error:
        raise UnavailableError(path, f"cannot be written: {error.strerror or error}") from None
