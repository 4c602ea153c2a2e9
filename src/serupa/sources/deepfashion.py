"""The three DeepFashion benchmarks, read from the folders that their authors' archives unpack to.

What is missing is said precisely, and nothing is downloaded. All lists begin with the number of rows and the
names of the columns; where somebody has deleted the first of these lines, as the instructions of other
projects ask for, the list is read without that check.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import compress
from pathlib import Path
from typing import Any, TextIO

from serupa.errors import InvalidInputError, NotFoundError
from serupa.items import Attribute, Item

HOW_TO_GET_DEEPFASHION = (
    "DeepFashion is for non-commercial research and given by its authors on request: sign the agreement on "
    "the DeepFashion page of the Multimedia Laboratory, The Chinese University of Hong Kong "
    "(mmlab.ie.cuhk.edu.hk), and send it to them"
)

_PARTITION = "list_eval_partition.txt"
_CATEGORY_LISTS = ("list_category_img.txt", "list_category_cloth.txt", "list_attr_img.txt")
_FIRST_COLUMNS = {"image_name", "image_pair_name_1", "item_id", "category_name", "attribute_name"}
_PHOTOS = {".jpg", ".jpeg", ".png"}
_CLOTHES_TYPES = {"1": "upper body", "2": "lower body", "3": "full body"}
_OTHER_LISTS = ("list_item_inshop.txt", "list_bbox_inshop.txt", "list_item_consumer2shop.txt")
_LINE_LENGTH = 1_000  # of a header; the first line of any other file may be as long as the file


def detect_deepfashion(directory: str | Path) -> str | None:
    """Say which benchmark a folder holds, by its lists.

    Returns
    -------
    {"deepfashion-category", "deepfashion-inshop", "deepfashion-consumer-to-shop"} or None
        None for anything else: a folder of photos that merely is called ``img``, for one.
    """
    root = Path(directory)
    columns = _columns(_find_list(root, _PARTITION))
    if columns[:2] == ["image_pair_name_1", "image_pair_name_2"]:
        return "deepfashion-consumer-to-shop"
    if columns[:2] == ["image_name", "item_id"]:
        return "deepfashion-inshop"
    if columns[:2] == ["image_name", "evaluation_status"] or any(
        _find_list(root, name) for name in _CATEGORY_LISTS
    ):
        return "deepfashion-category"
    return None


def missing_of_deepfashion(directory: str | Path) -> str:
    """Say what a folder lacks that is nearly a benchmark; nothing where it is none, or whole."""
    root = Path(directory)
    lists = [name for name in (_PARTITION, *_OTHER_LISTS) if _find_list(root, name)]
    if not lists or detect_deepfashion(root) is not None:
        return ""
    return f"{', '.join(lists)} is DeepFashion's, but no {_PARTITION} says which photos are of which product"


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
    NotFoundError
        The folder is missing or has no photos. Says how to ask for the data set.
    InvalidInputError
        A list is damaged.
    """
    root = _folder(directory)
    photos = _photo_root(root)
    categories = _categories(root)
    splits = _pairs(root, _PARTITION)
    attributes_of = _attribute_names(root, "list_attr_img.txt")
    empty = True
    for path in _category_photos(photos):
        empty = False
        name = path.relative_to(photos).as_posix()
        attributes: dict[str, Attribute] = {"name": path.parent.name.replace("_", " ")}
        attributes |= categories.get(name, {})
        if attributes_of.get(name):
            attributes["attributes"] = attributes_of[name]
        if name in splits:
            attributes["split"] = splits[name]
        yield Item(id=name, image=str(path), product_id=path.parent.name, attributes=attributes)
    if empty:
        raise _incomplete(root, "its folder 'img' has no folder with photos: is img.zip unpacked?")


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
        ``attributes``. A photo that is not there fails when it is opened.

    Raises
    ------
    NotFoundError
        The folder is not laid out like this. Says how to ask for the data set.
    InvalidInputError
        A list is damaged.
    """
    root = _folder(directory)
    photos, partition = _photo_root(root), _partition(root)
    descriptions = _descriptions(root)
    attributes_of = _attribute_names(root, "list_attr_items.txt")
    for number, (name, item_id, status) in _rows(partition, 3):
        _check_status(status, ("train", "query", "gallery"), partition, number)
        path = _photo(photos, name, partition, number)
        attributes: dict[str, Attribute] = {"split": status, "role": status, **_of_path(name)}
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
        ``train``. A photo that is not there fails when it is opened.

    Raises
    ------
    NotFoundError
        The folder is not laid out like this. Says how to ask for the data set.
    InvalidInputError
        A list is damaged.
    """
    root = _folder(directory)
    photos, partition = _photo_root(root), _partition(root)
    attributes_of = _attribute_names(root, "list_attr_items.txt")
    seen: set[str] = set()
    for number, (consumer, shop, item_id, status) in _rows(partition, 4):
        _check_status(status, ("train", "val", "test"), partition, number)
        roles = {"consumer": "query" if status == "test" else "val", "shop": "gallery"}
        for name, domain in ((consumer, "consumer"), (shop, "shop")):
            if name in seen:
                continue
            seen.add(name)
            role = "train" if status == "train" else roles[domain]
            attributes: dict[str, Attribute] = {
                "split": status,
                "domain": domain,
                "role": role,
                **_of_path(name),
            }
            if attributes_of.get(item_id):
                attributes["attributes"] = attributes_of[item_id]
            path = _photo(photos, name, partition, number)
            yield Item(id=name, image=str(path), product_id=item_id, attributes=attributes)


def count_deepfashion(directory: str | Path, benchmark: str) -> int:
    """Count the photos of a benchmark that `detect_deepfashion` names; raises as its reader."""
    root = _folder(directory)
    if benchmark == "deepfashion-category":
        return sum(1 for _ in _category_photos(_photo_root(root)))
    if benchmark == "deepfashion-inshop":
        return sum(1 for _ in _lines(_partition(root)))
    return len({name for _, (*names, _, _) in _rows(_partition(root), 4) for name in names})


def _folder(directory: str | Path) -> Path:
    root = Path(directory).absolute()
    if not root.is_dir():
        raise NotFoundError(root, "not a folder" if root.exists() else "no such folder")
    return root


def _incomplete(root: Path, problem: str) -> NotFoundError:
    return NotFoundError(root, f"not a whole DeepFashion benchmark: {problem}", HOW_TO_GET_DEEPFASHION)


def _damaged(path: Path, number: int, problem: str) -> InvalidInputError:
    return InvalidInputError(path, f"line {number}: {problem}")


def _unreadable(path: Path, error: OSError) -> InvalidInputError:
    return InvalidInputError(path, f"cannot be read: {error.strerror or error}")


def _photo_root(root: Path) -> Path:
    """Return the folder that holds ``img``: photos are named relative to it in all lists."""
    for path in (root, root / "Img"):
        if (path / "img").is_dir():
            return path
    raise _incomplete(root, "no folder 'img': is Img/img.zip unpacked?")


def _partition(root: Path) -> Path:
    path = _find_list(root, _PARTITION)
    if path is None:
        raise _incomplete(root, f"no Eval/{_PARTITION}")
    return path


def _category_photos(photos: Path) -> Iterator[Path]:
    for folder in _entries(photos / "img"):
        if folder.is_dir():
            yield from (path for path in _entries(folder) if path.suffix.lower() in _PHOTOS)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise _unreadable(folder, error) from None


def _find_list(root: Path, name: str) -> Path | None:
    folders = ("", "Anno", "Anno_coarse", "Eval", "Anno/attributes", "Anno_fine")
    return next((path for path in (root / folder / name for folder in folders) if path.is_file()), None)


def _columns(path: Path | None) -> list[str]:
    """Return the names of a list's columns; none where there is no list."""
    if path is None:
        return []
    try:
        with _opened(path) as file:
            return _header(file)[1]
    except OSError:
        return []  # whoever reads it will say so


def _opened(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", errors="replace")


def _header(file: TextIO) -> tuple[str, list[str]]:
    """Read the number of rows, which may be missing (an empty text), and the names of the columns."""
    first = file.readline(_LINE_LENGTH).split()
    if first and first[0] in _FIRST_COLUMNS:
        return "", first
    return " ".join(first), file.readline(_LINE_LENGTH).split()


def _photo(photos: Path, name: str, partition: Path, number: int) -> Path:
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise _damaged(partition, number, f"{name!r} leads out of the folder")
    return photos / name


def _check_status(status: str, expected: tuple[str, str, str], partition: Path, number: int) -> None:
    if status not in expected:
        raise _damaged(partition, number, f"{status!r} is not {expected[0]}, {expected[1]} or {expected[2]}")


def _of_path(name: str) -> dict[str, Attribute]:
    """Return what ``img/WOMEN/Blouses_Shirts/id_00000001/01_1_front.jpg`` says."""
    parts = name.split("/")
    if len(parts) < 5:
        return {}
    return {"department": parts[1].title(), "category": parts[2].replace("_", " ")}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the rows of a list file, each with the number of its line."""
    try:
        with _opened(path) as file:
            count, columns = _header(file)
            if count and not count.isdecimal():
                raise _damaged(path, 1, f"must be the number of rows, not {count[:40]!r}")
            if not columns:
                raise _damaged(path, 2, "must name the columns")
            rows = 0
            for number, line in enumerate(file, start=3 if count else 2):
                if line.strip():
                    rows += 1
                    yield number, line.strip()
    except OSError as error:
        raise _unreadable(path, error) from None
    if count and rows != int(count):
        problem = f"{rows:,} rows where its first line says {int(count):,}"
        raise InvalidInputError(path, problem, "was it cut off, or changed?")


def _rows(path: Path, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Yield rows of so many columns, each with its line; the first may hold spaces."""
    for number, line in _lines(path):
        cells = line.rsplit(maxsplit=columns - 1)
        if len(cells) != columns:
            raise _damaged(path, number, f"{len(cells)} columns, not {columns}")
        yield number, cells


def _pairs(root: Path, name: str) -> dict[str, str]:
    path = _find_list(root, name)
    return {key: value for _, (key, value) in _rows(path, 2)} if path else {}


def _categories(root: Path) -> dict[str, dict[str, Attribute]]:
    """Return the category of each photo and its type, from two lists that are optional together."""
    names, photos = _find_list(root, "list_category_cloth.txt"), _find_list(root, "list_category_img.txt")
    if not (names and photos):
        return {}
    categories: list[dict[str, Attribute]] = [
        {"category": name, "category_type": _CLOTHES_TYPES.get(kind, kind)}
        for _, (name, kind) in _rows(names, 2)
    ]
    category_of = {}
    for line, (photo, number) in _rows(photos, 2):  # numbered from 1
        if not number.isdecimal() or not 1 <= int(number) <= len(categories):
            problem = f"category {number!r} is not in {names.name} (1 to {len(categories)})"
            raise _damaged(photos, line, problem)
        category_of[photo] = categories[int(number) - 1]
    return category_of


def _attribute_names(root: Path, name: str) -> dict[str, list[str]]:
    """Read rows of 1, 0 and -1, one for each attribute of list_attr_cloth.txt, as lists of names."""
    names_path, path = _find_list(root, "list_attr_cloth.txt"), _find_list(root, name)
    if not (names_path and path):
        return {}
    names = [_english(line) for _, line in _lines(names_path)]
    names_of = {}
    for number, line in _lines(path):
        key, *flags = line.split()
        if len(flags) != len(names):
            raise _damaged(path, number, f"{len(flags)} flags where {names_path.name} has {len(names)} names")
        names_of[key] = list(compress(names, map("1".__eq__, flags)))  # a few of a thousand, many times
    return names_of


def _english(line: str) -> str:
    """Return an attribute's name without its type, and of a Chinese and an English name the English one."""
    cells = line.split()
    if len(cells) > 1 and cells[-1].isdecimal():
        cells = cells[:-1]
    return " ".join([cell for cell in cells if cell.isascii()] or cells)


def _descriptions(root: Path) -> dict[str, dict[str, Attribute]]:
    path = _find_list(root, "list_description_inshop.json")
    if path is None:
        return {}
    try:
        return {str(entry["item"]): _description(entry) for entry in json.loads(path.read_text("utf-8"))}
    except OSError as error:
        raise _unreadable(path, error) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        problem = "not the list of items with color and description that it should be"
        raise InvalidInputError(path, problem) from None


def _description(entry: dict[str, Any]) -> dict[str, Attribute]:
    texts = {"color": str(entry.get("color", "")), "description": " ".join(entry.get("description", []))}
    return {name: text for name, text in texts.items() if text}
