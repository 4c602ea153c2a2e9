"""Readers for research data sets: the three DeepFashion benchmarks, and Fashion-MNIST.

Each takes the folder that its authors' archive unpacks to, says precisely what is missing, and downloads
nothing.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from serupa.errors import SourceError
from serupa.items import Attribute, Item
from serupa.sources.tables import shown

HOW_TO_GET_DEEPFASHION = (
    "DeepFashion is for non-commercial research and given by its authors on request: sign the agreement on "
    "the DeepFashion page of the Multimedia Laboratory, The Chinese University of Hong Kong "
    "(mmlab.ie.cuhk.edu.hk), and send it to them"
)
FASHION_MNIST_CLASSES = (
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

_PHOTOS = {".jpg", ".jpeg", ".png"}
_CLOTHES_TYPES = {"1": "upper body", "2": "lower body", "3": "full body"}
_IDX_FILES = {"train": "train", "test": "t10k"}
_HEADER_LENGTH = 1_000
_T = TypeVar("_T")
_MAX_PICTURES_BYTES = 2**30  # a header may promise anything; Fashion-MNIST has 47 MB


def detect(directory: str | Path) -> str | None:
    """Say which data set a folder holds.

    Parameters
    ----------
    directory : path
        A folder.

    Returns
    -------
    {"deepfashion-category", "deepfashion-inshop", "deepfashion-consumer-to-shop", "fashion-mnist"} or None
        None for anything else: a folder of photos that merely is called ``img``, for one.
    """
    root = Path(directory)
    if not root.is_dir():
        return None
    if any(_idx_path(root, split, what) for split in _IDX_FILES for what in ("images", "labels")):
        return "fashion-mnist"
    header = _header(_find_list(root, "list_eval_partition.txt"))
    if header[:2] == ["image_pair_name_1", "image_pair_name_2"]:
        return "deepfashion-consumer-to-shop"
    if header[:2] == ["image_name", "item_id"]:
        return "deepfashion-inshop"
    lists = ("list_category_img.txt", "list_category_cloth.txt", "list_attr_img.txt")
    if header[:2] == ["image_name", "evaluation_status"] or any(_find_list(root, name) for name in lists):
        return "deepfashion-category"
    return None


def deepfashion_category(directory: str | Path) -> Iterator[Item]:
    """Read DeepFashion, Category and Attribute Prediction: a class is a folder under ``img``.

    Parameters
    ----------
    directory : path
        The benchmark's folder: ``img/<Product_Name>/img_00000001.jpg`` (or ``Img/img/...``) and, as far as
        they are there, ``list_category_cloth.txt``, ``list_category_img.txt``, ``list_attr_cloth.txt``,
        ``list_attr_img.txt`` and ``list_eval_partition.txt`` in ``Anno``, ``Anno_coarse``, ``Eval`` or
        beside ``img``.

    Yields
    ------
    Item
        Folder by folder and photo by photo, in the order of their names. ``id`` is the photo's name as the
        lists write it (``img/Tweed_Boyfriend_Blazer/img_00000001.jpg``), ``product_id`` the folder.
        Attributes: ``name`` (the folder without underscores), and from the lists ``category``,
        ``category_type``, ``attributes`` and ``split`` (train, val, test).

    Raises
    ------
    SourceError
        The folder is missing or not laid out like this, or a list is damaged. Says how to ask for the data
        set.
    """
    root = _folder(directory)
    photos = _photo_root(root)
    if photos is None:
        raise _not_deepfashion(root, "no folder 'img': is Img/img.zip unpacked?")
    about = _Lists(root)
    found = False
    for path in _category_photos(photos):
        found = True
        name = path.relative_to(photos).as_posix()
        product = path.parent.name
        attributes = {"name": product.replace("_", " "), **about.of(name)}
        yield Item(id=name, image=str(path), product_id=product, attributes=attributes)
    if not found:
        raise _not_deepfashion(root, "its folder 'img' has no folder with photos: is img.zip unpacked?")


def deepfashion_inshop(directory: str | Path) -> Iterator[Item]:
    """Read DeepFashion, In-shop Clothes Retrieval.

    Parameters
    ----------
    directory : path
        The benchmark's folder: ``Eval/list_eval_partition.txt`` (image_name, item_id, evaluation_status),
        the photos it names under ``img`` (or ``Img/img``) and, as far as they are there,
        ``list_attr_cloth.txt``, ``list_attr_items.txt`` and ``list_description_inshop.json`` in ``Anno``.

    Yields
    ------
    Item
        In the order of the partition file. ``id`` is the photo's name in it, ``product_id`` the item id.
        Attributes: ``split`` and ``role`` (train, query or gallery), ``department`` and ``category`` from
        the path, ``view`` from the file's name, and from the lists ``color``, ``description`` and
        ``attributes``.

    Raises
    ------
    SourceError
        The folder is not laid out like this, a photo is missing, or a list is damaged. Says how to ask for
        the data set.
    """
    root = _folder(directory)
    photos, partition = _retrieval_benchmark(root)
    descriptions = _descriptions(root)
    attributes_of = _item_attributes(root)
    for number, (name, item_id, status) in _rows(partition, 3):
        if status not in ("train", "query", "gallery"):
            raise _error(partition, number, f"{status!r} is not train, query or gallery")
        path = _photo(photos, name, partition, number)
        parts = Path(name).parts
        attributes: dict[str, Attribute] = {"split": status, "role": status}
        if len(parts) >= 5:
            attributes |= {"department": parts[1].title(), "category": parts[2].replace("_", " ")}
        view = path.stem.split("_", 2)
        if len(view) == 3:
            attributes["view"] = view[2]
        attributes |= descriptions.get(item_id, {})
        if attributes_of.get(item_id):
            attributes["attributes"] = attributes_of[item_id]
        yield Item(id=name, image=str(path), product_id=item_id, attributes=attributes)


def deepfashion_consumer_to_shop(directory: str | Path) -> Iterator[Item]:
    """Read DeepFashion, Consumer-to-shop Clothes Retrieval.

    Parameters
    ----------
    directory : path
        The benchmark's folder: ``Eval/list_eval_partition.txt`` (image_pair_name_1, image_pair_name_2,
        item_id, evaluation_status: a consumer's photo, a shop's photo, their item), the photos it names
        under ``img`` (or ``Img/img``) and, as far as they are there, ``list_attr_cloth.txt`` and
        ``list_attr_items.txt`` in ``Anno``.

    Yields
    ------
    Item
        Each photo once, however many pairs it is in. ``product_id`` is the item id. Attributes: ``split``
        (train, val, test), ``domain`` (consumer, shop), ``role``, ``department`` and ``category`` from the
        path, and ``attributes``. The benchmark searches with the consumers' photos of the test items among
        the shops' photos of the validation and test items; their ``role`` is ``query`` and ``gallery``.
        Consumers' photos of the validation items have the role ``val``, all photos of training items
        ``train``.

    Raises
    ------
    SourceError
        The folder is not laid out like this, a photo is missing, or a list is damaged. Says how to ask for
        the data set.
    """
    root = _folder(directory)
    photos, partition = _retrieval_benchmark(root)
    attributes_of = _item_attributes(root)
    seen: set[str] = set()
    for number, (consumer, shop, item_id, status) in _rows(partition, 4):
        if status not in ("train", "val", "test"):
            raise _error(partition, number, f"{status!r} is not train, val or test")
        for name, domain in ((consumer, "consumer"), (shop, "shop")):
            if name in seen:
                continue
            seen.add(name)
            path = _photo(photos, name, partition, number)
            parts = Path(name).parts
            attributes: dict[str, Attribute] = {
                "split": status,
                "domain": domain,
                "role": _role(status, domain),
            }
            if len(parts) >= 5:
                department, category = parts[1].title(), parts[2].replace("_", " ")
                attributes |= {"department": department, "category": category}
            if attributes_of.get(item_id):
                attributes["attributes"] = attributes_of[item_id]
            yield Item(id=name, image=str(path), product_id=item_id, attributes=attributes)


def fashion_mnist(
    directory: str | Path, pictures: str | Path, *, split: str | None = None, limit: int | None = None
) -> Iterator[Item]:
    """Read Fashion-MNIST, and write each of its pictures as a PNG file, since an item is a photo in a file.

    Parameters
    ----------
    directory : path
        The folder with ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, or
        ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, or all four; plain or as ``.gz``.
    pictures : path
        Where to write: ``train/00000.png`` and so on. A file that is already there is kept, not written
        again.
    split : {"train", "test"}, optional
        60,000 or 10,000 pictures; those that are there by default.
    limit : int, optional
        Only the first so many of each split.

    Yields
    ------
    Item
        ``id`` is ``train/00000.png``. Attributes: ``category`` (``"Ankle boot"``), ``label`` (0 to 9),
        ``split``.

    Raises
    ------
    SourceError
        A file is missing, is not IDX, or ends early; or a picture cannot be written.
    """
    root = _folder(directory)
    for part in _splits(root, split):
        images, labels = _read_idx(root, part, limit)
        folder = Path(pictures).absolute() / part
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(f"{shown(folder)}: cannot be made ({error.strerror})") from None
        for number, (pixels, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            path = folder / f"{number:05}.png"
            if not path.exists():
                _write_picture(path, pixels)
            yield Item(
                id=f"{part}/{path.name}",
                image=str(path),
                attributes={"category": FASHION_MNIST_CLASSES[label], "label": label, "split": part},
            )


def write_fashion_mnist(
    directory: str | Path, out: str | Path, *, split: str | None = None, limit: int | None = None
) -> Path:
    """Turn Fashion-MNIST into a folder of PNG files and a table of them.

    Parameters
    ----------
    directory : path
        As for `fashion_mnist`.
    out : path
        A folder; made if it is not there.
    split, limit
        As for `fashion_mnist`.

    Returns
    -------
    Path
        ``out/catalog.csv`` with the columns id, image, category, label and split; written last, so that
        where it is, all is.

    Raises
    ------
    SourceError
        As for `fashion_mnist`.
    """
    folder = Path(out)
    items = list(fashion_mnist(directory, folder, split=split, limit=limit))
    table = folder / "catalog.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "image", "category", "label", "split"])
        rows.writerows([item.id, item.id, *item.attributes.values()] for item in items)
    return table


def _fashion_mnist_in_cache(directory: str | Path) -> Iterator[Item]:
    """Read Fashion-MNIST with its pictures in the cache: written at the first reading, then found there."""
    from serupa.files.cache import cache_dir, file_sha256

    root = _folder(directory)
    # By content and not by path: another data set in the same place never shows the pictures of the last.
    content = hashlib.sha256()
    for split in _splits(root, None):
        path = _idx_path(root, split, "images")
        if path:
            content.update(f"{split} {_reading(file_sha256, path)} ".encode())
    return fashion_mnist(root, cache_dir() / "fashion-mnist" / content.hexdigest()[:16])


def _count_category(directory: str | Path) -> int:
    photos = _photo_root(_folder(directory))
    return sum(1 for _ in _category_photos(photos)) if photos else 0


def _count_inshop(directory: str | Path) -> int:
    _, partition = _retrieval_benchmark(_folder(directory))
    return sum(1 for _ in _lines(partition))


def _count_consumer_to_shop(directory: str | Path) -> int:
    _, partition = _retrieval_benchmark(_folder(directory))
    return len({name for _, (consumer, shop, *_) in _rows(partition, 4) for name in (consumer, shop)})


def _count_fashion_mnist(directory: str | Path) -> int:
    root = _folder(directory)
    return sum(len(_read_idx(root, split, None)[1]) for split in _splits(root, None))


@dataclass(frozen=True, slots=True)
class Dataset:
    """How to read and to count one data set, given its folder."""

    read: Callable[[str | Path], Iterator[Item]]
    count: Callable[[str | Path], int]


DATASETS = {
    "deepfashion-category": Dataset(deepfashion_category, _count_category),
    "deepfashion-inshop": Dataset(deepfashion_inshop, _count_inshop),
    "deepfashion-consumer-to-shop": Dataset(deepfashion_consumer_to_shop, _count_consumer_to_shop),
    "fashion-mnist": Dataset(_fashion_mnist_in_cache, _count_fashion_mnist),
}
"""The data sets that `detect` names."""


class _Lists:
    """What the lists of Category and Attribute Prediction say of a photo; each is optional."""

    def __init__(self, root: Path) -> None:
        self._categories = self._read_categories(root)
        self._splits = _mapping(root, "list_eval_partition.txt")
        self._attributes = _flags(root, "list_attr_img.txt")

    @staticmethod
    def _read_categories(root: Path) -> dict[str, tuple[str, str]]:
        names, photos = _find_list(root, "list_category_cloth.txt"), _find_list(root, "list_category_img.txt")
        if not (names and photos):
            return {}
        known = [(name, _CLOTHES_TYPES.get(kind, kind)) for _, (name, kind) in _rows(names, 2)]
        categories = {}
        for number, (photo, category) in _rows(photos, 2):
            # Numbered from 1.
            if not category.isdecimal() or not 1 <= int(category) <= len(known):
                problem = f"category {category!r} is not in {names.name} (1 to {len(known)})"
                raise _error(photos, number, problem)
            categories[photo] = known[int(category) - 1]
        return categories

    def of(self, photo: str) -> dict[str, Attribute]:
        attributes: dict[str, Attribute] = {}
        if photo in self._categories:
            attributes["category"], attributes["category_type"] = self._categories[photo]
        if self._attributes.get(photo):
            attributes["attributes"] = self._attributes[photo]
        if photo in self._splits:
            attributes["split"] = self._splits[photo]
        return attributes


def _folder(directory: str | Path) -> Path:
    root = Path(directory).absolute()
    if not root.is_dir():
        raise SourceError(f"{shown(root)}: {'not a folder' if root.exists() else 'no such folder'}")
    return root


def _not_deepfashion(root: Path, why: str) -> SourceError:
    return SourceError(f"{shown(root)}: not a whole DeepFashion benchmark: {why}. {HOW_TO_GET_DEEPFASHION}.")


def _error(path: Path, number: int, problem: str) -> SourceError:
    return SourceError(f"{shown(path)}, line {number}: {problem}")


def _reading(read: Callable[[Path], _T], path: Path) -> _T:
    try:
        return read(path)
    except OSError as error:
        raise SourceError(f"{shown(path)}: cannot be read ({error.strerror or error})") from None


def _photo_root(root: Path) -> Path | None:
    """Return the folder that holds ``img``: photos are named relative to it in all lists."""
    return next((path for path in (root, root / "Img") if (path / "img").is_dir()), None)


def _category_photos(photos: Path) -> Iterator[Path]:
    for folder in _reading(_entries, photos / "img"):
        if folder.is_dir():
            yield from (path for path in _reading(_entries, folder) if path.suffix.lower() in _PHOTOS)


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _find_list(root: Path, name: str) -> Path | None:
    folders = ("", "Anno", "Anno_coarse", "Eval", "Anno/attributes", "Anno_fine")
    return next((path for path in (root / folder / name for folder in folders) if path.is_file()), None)


def _header(path: Path | None) -> list[str]:
    """Return the names of a list's columns, which are on its second line; none where there is no list."""
    if path is None:
        return []
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            lines.readline(_HEADER_LENGTH)
            return lines.readline(_HEADER_LENGTH).split()
    except OSError:
        return []  # whoever reads it will say so


def _retrieval_benchmark(root: Path) -> tuple[Path, Path]:
    partition = _find_list(root, "list_eval_partition.txt")
    if partition is None:
        raise _not_deepfashion(root, "no Eval/list_eval_partition.txt")
    photos = _photo_root(root)
    if photos is None:
        raise _not_deepfashion(root, "no folder 'img': is Img/img.zip unpacked?")
    return photos, partition


def _photo(photos: Path, name: str, partition: Path, number: int) -> Path:
    path = photos / name
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise _error(partition, number, f"{name!r} leads out of the folder")
    if not path.is_file():
        raise _error(partition, number, f"there is no photo {shown(path)}: unpack all of img.zip")
    return path


def _role(status: str, domain: str) -> str:
    if status == "train":
        return "train"
    if domain == "shop":
        return "gallery"
    return "query" if status == "test" else "val"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the rows of a list file, each with its line, after their number and a header, both checked."""
    with _reading(lambda path: path.open(encoding="utf-8-sig", errors="replace"), path) as file:
        first = file.readline().strip()
        if not first.isdecimal():
            raise _error(path, 1, f"must be the number of rows, not {first[:40]!r}")
        if not file.readline().strip():
            raise _error(path, 2, "must name the columns")
        read = 0
        for number, line in enumerate(file, start=3):
            if line.strip():
                read += 1
                yield number, line.strip()
    if read != int(first):
        raise SourceError(
            f"{shown(path)}: {read:,} rows where its first line says {int(first):,}: cut off, or changed"
        )


def _rows(path: Path, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Yield rows of so many columns, each with its line; the first may hold spaces."""
    for number, line in _lines(path):
        cells = line.rsplit(maxsplit=columns - 1)
        if len(cells) != columns:
            raise _error(path, number, f"{len(cells)} columns, not {columns}")
        yield number, cells


def _mapping(root: Path, name: str) -> dict[str, str]:
    path = _find_list(root, name)
    return dict(cast("tuple[str, str]", cells) for _, cells in _rows(path, 2)) if path else {}


def _flags(root: Path, name: str) -> dict[str, list[str]]:
    """Read rows of 1, 0 and -1, one for each attribute of list_attr_cloth.txt, as lists of names."""
    names_path, path = _find_list(root, "list_attr_cloth.txt"), _find_list(root, name)
    if not (names_path and path):
        return {}
    names = [_attribute_name(line) for _, line in _lines(names_path)]
    flags = {}
    for number, line in _lines(path):
        key, *cells = line.split()
        if len(cells) != len(names):
            raise _error(path, number, f"{len(cells)} flags where {names_path.name} has {len(names)} names")
        flags[key] = [names[place] for place in _places(cells, "1")]
    return flags


def _places(cells: list[str], wanted: str) -> list[int]:
    """Return where a value is in a list: a few among a thousand, so the list itself does the looking."""
    places: list[int] = []
    try:
        while True:
            places.append(cells.index(wanted, places[-1] + 1 if places else 0))
    except ValueError:
        return places


def _attribute_name(line: str) -> str:
    """Return the name without its type, and of a Chinese and an English name the English one."""
    cells = line.split()
    if len(cells) > 1 and cells[-1].isdecimal():
        cells = cells[:-1]
    english = [cell for cell in cells if cell.isascii()]
    return " ".join(english or cells)


def _item_attributes(root: Path) -> dict[str, list[str]]:
    return _flags(root, "list_attr_items.txt")


def _descriptions(root: Path) -> dict[str, dict[str, Attribute]]:
    path = _find_list(root, "list_description_inshop.json")
    if path is None:
        return {}
    try:
        return {str(entry["item"]): _description(entry) for entry in json.loads(_reading(_text, path))}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise SourceError(
            f"{shown(path)}: not the list of items with color and description that it should be"
        ) from None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _description(entry: dict[str, Any]) -> dict[str, Attribute]:
    texts = {"color": str(entry.get("color", "")), "description": " ".join(entry.get("description", []))}
    return {name: text for name, text in texts.items() if text}


def _idx_path(root: Path, split: str, what: str) -> Path | None:
    name = f"{_IDX_FILES[split]}-{what}-idx{3 if what == 'images' else 1}-ubyte"
    return next((path for path in (root / name, root / f"{name}.gz") if path.is_file()), None)


def _splits(root: Path, split: str | None) -> list[str]:
    """Return the splits to read: the one that is asked for, or those of which something is there."""
    if split not in (None, *_IDX_FILES):
        raise SourceError(f"Fashion-MNIST has the splits train and test, not {split!r}")
    if split is not None:
        return [split]
    there = [
        part for part in _IDX_FILES if _idx_path(root, part, "images") or _idx_path(root, part, "labels")
    ]
    if not there:
        names = " nor ".join(f"{prefix}-images-idx3-ubyte" for prefix in _IDX_FILES.values())
        raise SourceError(f"{shown(root)}: not Fashion-MNIST: neither {names} is here, plain or as .gz")
    return there


def _read_idx(root: Path, split: str, limit: int | None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    paths = [_idx_path(root, split, what) for what in ("images", "labels")]
    for path, what, kind in zip(paths, ("images", "labels"), ("idx3", "idx1"), strict=True):
        if path is None:
            name = f"{_IDX_FILES[split]}-{what}-{kind}-ubyte"
            raise SourceError(f"{shown(root)}: not Fashion-MNIST: neither {name} nor {name}.gz is here")
    images, labels = (
        _idx_array(cast(Path, path), dims, limit) for path, dims in zip(paths, (3, 1), strict=True)
    )
    if len(images) != len(labels):
        raise SourceError(f"{shown(root)}: {len(images):,} {split} pictures but {len(labels):,} labels")
    if len(labels) and labels.max() >= len(FASHION_MNIST_CLASSES):
        raise SourceError(
            f"{shown(cast(Path, paths[1]))}: label {labels.max()} is not one of Fashion-MNIST's 0 to 9"
        )
    return images, labels


def _idx_array(path: Path, dimensions: int, limit: int | None) -> NDArray[np.uint8]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _read_idx_stream(cast(BinaryIO, file), path, dimensions, limit)
    except EOFError:
        raise SourceError(f"{shown(path)}: ends early: cut off?") from None
    except (OSError, zlib.error) as error:
        raise SourceError(f"{shown(path)}: cannot be read ({error})") from None


def _read_idx_stream(file: BinaryIO, path: Path, dimensions: int, limit: int | None) -> NDArray[np.uint8]:
    """Read the header (0, 0, 8 for bytes, the number of dimensions, their sizes), then what it announces."""
    header = file.read(4 + 4 * dimensions)
    if len(header) < 4 + 4 * dimensions or header[:4] != bytes([0, 0, 8, dimensions]):
        raise SourceError(f"{shown(path)}: not an IDX file of bytes with {dimensions} dimensions")
    count, *sides = struct.unpack(f">{dimensions}I", header[4:])
    if 0 in sides or math.prod([count, *sides]) > _MAX_PICTURES_BYTES:
        sizes = " x ".join(map(str, [count, *sides]))
        raise SourceError(f"{shown(path)}: its header says {sizes}, which cannot be: damaged?")
    wanted = count if limit is None else min(count, max(limit, 0))
    size = math.prod([wanted, *sides])
    data = file.read(size)
    if len(data) != size:
        raise SourceError(f"{shown(path)}: ends after {len(data):,} of {size:,} bytes: cut off?")
    return np.frombuffer(data, dtype=np.uint8).reshape(wanted, *sides)


def _write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    from PIL import Image

    # Under another name first, so that an interrupted run leaves no half of a file.
    partial = path.with_suffix(".part")
    try:
        Image.fromarray(pixels).save(partial, format="PNG")
        partial.replace(path)
    except OSError as error:
        raise SourceError(f"{shown(path)}: cannot be written ({error.strerror or error})") from None
