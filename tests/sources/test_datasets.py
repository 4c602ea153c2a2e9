"""Research data sets, in trees that the tests make: real names of folders and lists, and what goes wrong."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serupa import Catalog
from serupa.errors import InvalidInputError, NotFoundError, UnavailableError
from serupa.items import Item
from serupa.sources import count_source, read_source
from serupa.sources.datasets import dataset_in
from serupa.sources.deepfashion import (
    deepfashion_category,
    deepfashion_consumer_to_shop,
    deepfashion_inshop,
)
from serupa.sources.fashion_mnist import CLASSES, read_fashion_mnist
from tests.idx import idx, pictures, write_fashion_mnist_files

PERMISSION = "given by its authors on request: sign the agreement on the DeepFashion page"


def write_list(path: Path, header: str, rows: list[str], count: int | None = None) -> Path:
    """Write a list file as the benchmarks have them: how many rows, the names of the columns, the rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([str(len(rows) if count is None else count), header, *rows]) + "\n", "utf-8")
    return path


def photo(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (value % 256, 0, 0)).save(path)


def detect(folder: Path) -> str | None:
    dataset = dataset_in(folder)
    return None if dataset is None else dataset.name


def read(folder: Path) -> dict[str, Item]:
    items = list(read_source(folder))
    assert count_source(folder) == len(items)
    assert len({item.id for item in items}) == len(items)
    for item in items:
        assert Path(item.image).is_absolute()
        assert Path(item.image).is_file()
    return {item.id: item for item in items}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


# --- Category and Attribute Prediction

PRODUCTS = {"Sheer_Pleated-Front_Blouse": 3, "Tweed_Boyfriend_Blazer": 2, "A-Line_Dress": 1}


@pytest.fixture(params=["plain", "Img, Anno_coarse and Eval"])
def category(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    root = tmp_path / "Category and Attribute Prediction Benchmark"
    plain = request.param == "plain"
    photos, anno, evaluation = (
        (root, root / "Anno", root) if plain else (root / "Img", root / "Anno_coarse", root / "Eval")
    )
    names = [
        f"img/{product}/img_{number:08}.jpg"
        for product, count in PRODUCTS.items()
        for number in range(1, count + 1)
    ]
    for number, name in enumerate(names):
        photo(photos / name, number)
    kinds = ["Blouse  1", "Blazer  1", "Dress  3"]
    write_list(anno / "list_category_cloth.txt", "category_name  category_type", kinds)
    category_of = {name: 1 + list(PRODUCTS).index(name.split("/")[1]) for name in names}
    rows = [f"{name}   {number}" for name, number in category_of.items()]
    write_list(anno / "list_category_img.txt", "image_name  category_label", rows)
    attributes = ["a-line  3", "abstract diamond  1", "tweed  2"]
    write_list(anno / "list_attr_cloth.txt", "attribute_name  attribute_type", attributes)
    flags = {1: "-1 1 -1", 2: "1 1 1", 3: "-1 -1 0"}
    rows = [f"{name}   {flags[number]}" for name, number in category_of.items()]
    write_list(anno / "list_attr_img.txt", "image_name  attribute_labels", rows)
    parts = ["train", "val", "test"]
    rows = [f"{name}  {parts[number % 3]}" for number, name in enumerate(names)]
    write_list(evaluation / "list_eval_partition.txt", "image_name  evaluation_status", rows)
    return root


def anno(root: Path, name: str) -> Path:
    return next(root.rglob(name))


def test_category_with_all_lists(category: Path) -> None:
    assert detect(category) == "deepfashion-category"
    items = read(category)
    assert len(items) == sum(PRODUCTS.values())
    first = items["img/Sheer_Pleated-Front_Blouse/img_00000001.jpg"]
    assert first.product_id == "Sheer_Pleated-Front_Blouse"
    assert first.attributes == {
        "name": "Sheer Pleated-Front Blouse",
        "category": "Blouse",
        "category_type": "upper body",
        "attributes": ["abstract diamond"],
        "split": "train",
    }
    blazer = items["img/Tweed_Boyfriend_Blazer/img_00000002.jpg"]
    assert blazer.attributes["attributes"] == ["a-line", "abstract diamond", "tweed"]
    dress = items["img/A-Line_Dress/img_00000001.jpg"]
    assert (dress.attributes["category"], dress.attributes["category_type"]) == ("Dress", "full body")
    assert "attributes" not in dress.attributes


def test_category_with_one_list_or_another(category: Path) -> None:
    for name in ("list_attr_img.txt", "list_eval_partition.txt", "list_category_img.txt"):
        anno(category, name).unlink()
        assert detect(category) == "deepfashion-category"
        assert len(read(category)) == sum(PRODUCTS.values())
    assert set(next(iter(read(category).values())).attributes) == {"name"}


def test_photos_that_no_list_names_and_files_that_are_none(category: Path) -> None:
    folder = anno(category, "A-Line_Dress")
    photo(folder / "img_00000099.jpg")
    (folder / "Thumbs.db").write_text("")
    photo(folder / ".hidden.jpg")
    assert read(category)["img/A-Line_Dress/img_00000099.jpg"].attributes == {"name": "A-Line Dress"}
    assert len(read(category)) == sum(PRODUCTS.values()) + 1


def test_a_catalogue_of_it(category: Path, tmp_path: Path) -> None:
    with Catalog.create(tmp_path / "catalog") as catalog:
        assert catalog.add(category).added == 6
        assert catalog.count({"category": "Blouse"}) == 3
        assert catalog.count({"attributes": "tweed"}) == 2
        assert catalog.add(category).unchanged == 6


@pytest.mark.parametrize(
    ("name", "old", "new", "where"),
    [
        ("list_category_img.txt", "   2", "   7", "line 6"),
        ("list_category_img.txt", "   2", "   x", "line 6"),
        ("list_category_img.txt", "6\n", "7\n", "6 rows .* 7"),
        ("list_category_img.txt", "6\n", "six\n", "line 1"),
        ("list_category_img.txt", "6\nimage_name  category_label\n", "6\n\n", "line 2"),
        ("list_category_cloth.txt", "Blazer  1", "Blazer", "line 4"),
        ("list_attr_img.txt", "1 1 1", "1 1", "line 6"),
        ("list_eval_partition.txt", "  val", "", "line 4"),
    ],
)
def test_damaged_lists_of_category(category: Path, name: str, old: str, new: str, where: str) -> None:
    edit(anno(category, name), old, new)
    with pytest.raises(InvalidInputError, match=where) as caught:
        list(read_source(category))
    assert caught.value.subject == anno(category, name)


def test_lists_whose_first_line_was_deleted(category: Path) -> None:
    before = read(category)
    for path in category.rglob("list_*.txt"):
        path.write_text(path.read_text("utf-8").split("\n", 1)[1], "utf-8")
    assert detect(category) == "deepfashion-category"
    assert read(category) == before


def test_category_without_photos_says_how_to_ask(category: Path) -> None:
    for path in category.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(NotFoundError, match=PERMISSION):
        list(read_source(category))
    for path in sorted(category.rglob("img/**"), reverse=True):
        path.rmdir()
    with pytest.raises(NotFoundError, match=PERMISSION):
        list(read_source(category))


# --- In-shop Clothes Retrieval

INSHOP = {
    "img/WOMEN/Dresses/id_00000002/02_1_front.jpg": ("id_00000002", "train"),
    "img/WOMEN/Blouses_Shirts/id_00000001/01_1_front.jpg": ("id_00000001", "query"),
    "img/WOMEN/Blouses_Shirts/id_00000001/01_2_side.jpg": ("id_00000001", "gallery"),
    "img/MEN/Tees_Tanks/id_00000003/01_7_additional.jpg": ("id_00000003", "gallery"),
}


@pytest.fixture
def inshop(tmp_path: Path) -> Path:
    root = tmp_path / "In-shop Clothes Retrieval Benchmark"
    for name in INSHOP:
        photo(root / "Img" / name)
    rows = [f"{name}      {item}  {status}" for name, (item, status) in INSHOP.items()]
    write_list(root / "Eval/list_eval_partition.txt", "image_name item_id evaluation_status", rows)
    write_list(root / "Anno/list_attr_cloth.txt", "attribute_name", ["100 percent cotton", "collar", "zip"])
    write_list(
        root / "Anno/list_attr_items.txt",
        "item_id attribute_labels",
        ["id_00000001 1 -1 1", "id_00000002 -1 -1 -1", "id_00000003 -1 1 0"],
    )
    described = [
        {"item": "id_00000001", "color": "Cream", "description": ["A blouse.", "98% cotton"]},
        {"item": "id_00000002", "color": "", "description": []},
    ]
    (root / "Anno/list_description_inshop.json").write_text(json.dumps(described), "utf-8")
    return root


def test_inshop(inshop: Path) -> None:
    assert detect(inshop) == "deepfashion-inshop"
    items = read(inshop)
    assert list(items) == list(INSHOP)
    for name, (item, status) in INSHOP.items():
        assert items[name].product_id == item
        assert items[name].attributes["role"] == items[name].attributes["split"] == status
    assert items["img/WOMEN/Blouses_Shirts/id_00000001/01_2_side.jpg"].attributes == {
        "split": "gallery",
        "role": "gallery",
        "department": "Women",
        "category": "Blouses Shirts",
        "view": "side",
        "color": "Cream",
        "description": "A blouse. 98% cotton",
        "attributes": ["100 percent cotton", "zip"],
    }
    bare = items["img/WOMEN/Dresses/id_00000002/02_1_front.jpg"].attributes
    assert set(bare) == {"split", "role", "department", "category", "view"}


def test_inshop_without_annotations(inshop: Path) -> None:
    for path in (inshop / "Anno").iterdir():
        path.unlink()
    assert len(read(inshop)) == 4


@pytest.mark.parametrize(
    ("name", "old", "new", "where"),
    [
        ("list_eval_partition.txt", "query", "qury", "line 4"),
        ("list_eval_partition.txt", "  train", "", "line 3"),
        ("list_eval_partition.txt", "4\n", "52712\n", "4 rows .* 52,712"),
        ("list_eval_partition.txt", "img/MEN", "../MEN", "line 6"),
        ("list_eval_partition.txt", "img/MEN", "/img/MEN", "line 6"),
        ("list_attr_items.txt", " 1 -1 1", " 1 -1", "line 3"),
        ("list_description_inshop.json", "[{", "{", "not the list"),
        ("list_description_inshop.json", '"item"', '"items"', "not the list"),
        ("list_description_inshop.json", '["A blouse.", "98% cotton"]', "[1]", "not the list"),
    ],
)
def test_damaged_lists_of_inshop(inshop: Path, name: str, old: str, new: str, where: str) -> None:
    edit(anno(inshop, name), old, new)
    with pytest.raises(InvalidInputError, match=where) as caught:
        list(read_source(inshop))
    assert caught.value.subject == anno(inshop, name)


def test_a_photo_that_is_missing_stops_no_other(inshop: Path, tmp_path: Path) -> None:
    missing, *others = INSHOP
    (inshop / "Img" / missing).unlink()
    with Catalog.create(tmp_path / "catalog") as catalog:
        report = catalog.add(inshop)
        assert report.added == len(others)
        assert [failure.id for failure in report.failures] == [missing]


def test_inshop_that_is_not_unpacked_says_how_to_ask(inshop: Path) -> None:
    (inshop / "Img/img").rename(inshop / "Img/elsewhere")
    with pytest.raises(NotFoundError, match=PERMISSION):
        list(read_source(inshop))


# --- Consumer-to-shop Clothes Retrieval

_BLOUSE, _LACE, _SHIRT = (
    "img/CLOTHING/Blouse/id_00003278",
    "img/DRESSES/Lace_Dress/id_00000001",
    "img/TOPS/T_Shirt/id_00000009",
)
PAIRS = [  # "comsumer" is how the benchmark spells it
    (f"{_BLOUSE}/comsumer_01.jpg", f"{_BLOUSE}/shop_01.jpg", "train"),
    (f"{_LACE}/comsumer_01.jpg", f"{_LACE}/shop_01.jpg", "val"),
    (f"{_SHIRT}/comsumer_01.jpg", f"{_SHIRT}/shop_01.jpg", "test"),
    (f"{_SHIRT}/comsumer_02.jpg", f"{_SHIRT}/shop_01.jpg", "test"),
]


@pytest.fixture
def street(tmp_path: Path) -> Path:
    root = tmp_path / "Consumer-to-shop Clothes Retrieval Benchmark"
    for consumer, shop, _ in PAIRS:
        photo(root / consumer)
        photo(root / shop)
    rows = [f"{consumer}  {shop}  {shop.split('/')[3]}  {status}" for consumer, shop, status in PAIRS]
    header = "image_pair_name_1 image_pair_name_2 item_id evaluation_status"
    write_list(root / "Eval/list_eval_partition.txt", header, rows)
    names = ["套头  pullover  1", "开衫 open front 1"]
    write_list(root / "Anno/list_attr_cloth.txt", "attribute_name attribute_type", names)
    write_list(root / "Anno/list_attr_items.txt", "item_id attribute_labels", ["id_00000009 0 1"])
    return root


def test_consumer_to_shop(street: Path) -> None:
    assert detect(street) == "deepfashion-consumer-to-shop"
    items = read(street)
    assert len(items) == 7  # each photo once, however many pairs it is in
    role = {name: item.attributes["role"] for name, item in items.items()}
    assert [role[consumer] for consumer, _, _ in PAIRS] == ["train", "val", "query", "query"]
    assert [role[shop] for _, shop, _ in PAIRS] == ["train", "gallery", "gallery", "gallery"]
    assert items[PAIRS[2][0]].product_id == items[PAIRS[2][1]].product_id == "id_00000009"
    assert items[PAIRS[2][0]].attributes == {
        "split": "test",
        "domain": "consumer",
        "role": "query",
        "department": "Tops",
        "category": "T Shirt",
        "attributes": ["open front"],
    }


def test_names_of_attributes_in_another_encoding(street: Path) -> None:
    names = anno(street, "list_attr_cloth.txt")
    names.write_bytes(names.read_text("utf-8").encode("gb18030"))
    assert read(street)[PAIRS[2][0]].attributes["attributes"] == ["open front"]


@pytest.mark.parametrize(("new", "where"), [("  valid", "line 4"), ("", "line 4")])
def test_damaged_lists_of_consumer_to_shop(street: Path, new: str, where: str) -> None:
    edit(anno(street, "list_eval_partition.txt"), "  val", new)
    with pytest.raises(InvalidInputError, match=where):
        list(read_source(street))


# --- Fashion-MNIST


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SERUPA_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"


@pytest.mark.parametrize("packed", [True, False])
def test_fashion_mnist(tmp_path: Path, fresh_cache: Path, packed: bool) -> None:
    write_fashion_mnist_files(tmp_path / "idx", train=12, test=7, packed=packed)
    assert detect(tmp_path / "idx") == "fashion-mnist"
    items = read(tmp_path / "idx")
    assert list(items) == [
        *(f"train/{number:05}.png" for number in range(12)),
        *(f"test/{number:05}.png" for number in range(7)),
    ]
    drawn, labels = pictures(12, seed=len("train"))
    for item, pixels, label in zip(items.values(), drawn, labels.tolist(), strict=False):
        assert np.array_equal(np.asarray(Image.open(item.image)), pixels)
        assert item.attributes == {
            "category": CLASSES[label],
            "label": label,
            "split": "train",
        }
        assert Path(item.image).is_relative_to(fresh_cache)


def test_fashion_mnist_is_unpacked_once(tmp_path: Path, fresh_cache: Path) -> None:
    write_fashion_mnist_files(tmp_path / "idx", test=5)
    first = read(tmp_path / "idx")
    times = [Path(item.image).stat().st_mtime_ns for item in first.values()]
    assert read(tmp_path / "idx") == first
    assert [Path(item.image).stat().st_mtime_ns for item in first.values()] == times
    Path(first["test/00003.png"].image).unlink()  # a cache may be cleared, in part as well
    assert read(tmp_path / "idx") == first


def test_another_data_set_in_the_same_place_has_its_own_pictures(tmp_path: Path, fresh_cache: Path) -> None:
    write_fashion_mnist_files(tmp_path / "idx", test=5)
    before = read(tmp_path / "idx")
    images, _ = pictures(5, seed=1)
    (tmp_path / "idx/t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    after = read(tmp_path / "idx")
    assert list(after) == list(before)
    for item, pixels in zip(after.values(), images, strict=True):
        assert np.array_equal(np.asarray(Image.open(item.image)), pixels)
    assert after["test/00000.png"].image != before["test/00000.png"].image


def test_one_split_is_enough(tmp_path: Path, fresh_cache: Path) -> None:
    write_fashion_mnist_files(tmp_path / "idx", train=3)
    assert {item.attributes["split"] for item in read(tmp_path / "idx").values()} == {"train"}


IMAGES, LABELS = pictures(4)


@pytest.mark.parametrize(
    ("images", "labels", "where"),
    [
        (b"", idx(LABELS), "images"),
        (idx(IMAGES[0]), idx(LABELS), "images"),
        (idx(IMAGES), b"\0\0\x0d\1" + bytes(8), "labels"),
        (idx(IMAGES)[:-1], idx(LABELS), "images"),
        (idx(IMAGES), idx(LABELS[:3]), "images"),
        (idx(IMAGES), idx(LABELS + np.uint8(200)), "labels"),
        (idx(IMAGES)[:4] + b"\xff" * 12, idx(LABELS), "images"),
        (idx(np.zeros((4, 0, 28), np.uint8)), idx(LABELS), "images"),
    ],
)
def test_damaged_idx_files(
    tmp_path: Path, fresh_cache: Path, images: bytes, labels: bytes, where: str
) -> None:
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(images)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(InvalidInputError) as caught:
        list(read_source(tmp_path))
    assert where in Path(str(caught.value.subject)).name


@pytest.mark.parametrize("missing", ["images-idx3", "labels-idx1"])
def test_one_file_of_two(tmp_path: Path, fresh_cache: Path, missing: str) -> None:
    write_fashion_mnist_files(tmp_path, test=2)
    (tmp_path / f"t10k-{missing}-ubyte.gz").unlink()
    with pytest.raises(NotFoundError, match=missing):
        list(read_source(tmp_path))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"no gzip" + data,
        lambda data: data[:40] + bytes(60) + data[100:],
    ],
)
def test_damaged_gzip_files(tmp_path: Path, fresh_cache: Path, damage: Callable[[bytes], bytes]) -> None:
    write_fashion_mnist_files(tmp_path / "idx", test=50)
    file = tmp_path / "idx/t10k-images-idx3-ubyte.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InvalidInputError) as caught:
        list(read_source(tmp_path / "idx"))
    assert caught.value.subject == file


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fashion_mnist_files(tmp_path / "idx", test=2)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SERUPA_CACHE", str(tmp_path / "file"))
    with pytest.raises(UnavailableError):
        list(read_source(tmp_path / "idx"))


# --- what is no data set


def test_a_folder_of_photos_stays_one(tmp_path: Path) -> None:
    photo(tmp_path / "img/Tweed_Blazer/1.jpg")
    photo(tmp_path / "list_of_things.jpg")
    write_list(tmp_path / "list_eval_partition.txt", "something else", ["1 2 3"])
    assert detect(tmp_path) is None
    items = read(tmp_path)
    assert items["img/Tweed_Blazer/1.jpg"].attributes == {"category": "img/Tweed_Blazer"}
    assert items["img/Tweed_Blazer/1.jpg"].product_id is None


def test_what_is_no_folder(tmp_path: Path) -> None:
    assert detect(tmp_path / "nowhere") is None
    photo(tmp_path / "photo.jpg")
    assert detect(tmp_path / "photo.jpg") is None
    for reader in (deepfashion_category, deepfashion_inshop, deepfashion_consumer_to_shop):
        for folder in ("nowhere", "photo.jpg"):
            with pytest.raises(NotFoundError):
                list(reader(tmp_path / folder))
        with pytest.raises(NotFoundError, match=PERMISSION):
            list(reader(tmp_path))
    with pytest.raises(NotFoundError):
        list(read_fashion_mnist(tmp_path))
