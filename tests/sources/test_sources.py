"""Where items come from: folders with all that folders hold, tables with all that goes wrong."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from serupa.errors import ImageError, MissingExtraError, SerupaError, SourceError
from serupa.images import open_photo
from serupa.items import Item
from serupa.sources import Source, count_source, read_source


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16)).save(path, "PNG")
    return path


def table(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def read(source: Source) -> list[Item]:
    """Read all, and hold every item to what all of them promise."""
    items = list(read_source(source))
    assert count_source(source) == len(items)
    for item in items:
        json.dumps(
            [item.id, item.product_id, dict(item.attributes)], ensure_ascii=False, allow_nan=False
        ).encode()
        assert item.id
        assert Path(item.image).is_absolute() or "://" in item.image
    assert len({item.id for item in items}) == len(items)
    return items


def ids(items: Iterable[Item]) -> list[str]:
    return [item.id for item in items]


def refusal(source: Any) -> str:
    with pytest.raises(SourceError) as caught:
        list(read_source(source))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


# --- folders


def test_folder(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "dress/summer/2.webp", "dress/1.avif", "hat/x.TIFF", "e.jfif"):
        photo(tmp_path / name)
    for name in (".hidden.jpg", ".cache/1.jpg", "notes.txt", "dress/._1.avif", "README", "jpg"):
        photo(tmp_path / name)
    (tmp_path / "empty").mkdir()
    items = read(tmp_path)
    assert ids(items) == ["a.PNG", "b.jpg", "dress/1.avif", "dress/summer/2.webp", "e.jfif", "hat/x.TIFF"]
    assert [item.attributes.get("category") for item in items] == [
        None,
        None,
        "dress",
        "dress/summer",
        None,
        "hat",
    ]
    assert [item.image for item in items] == [str(tmp_path / item.id) for item in items]
    assert all(item.product_id is None for item in items)
    assert read(str(tmp_path) + "/") == items


def test_ids_do_not_depend_on_where_the_process_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "shop" / "a" / "1.jpg")
    monkeypatch.chdir(tmp_path)
    assert read("shop") == read(tmp_path / "shop")
    monkeypatch.chdir(tmp_path / "shop" / "a")
    assert read("..") == read(tmp_path / "shop")
    (tmp_path / "link").symlink_to("shop")
    assert ids(read(tmp_path / "link")) == ["a/1.jpg"]


def test_bad_files_are_items_like_others(tmp_path: Path) -> None:
    photo(tmp_path / "good.jpg")
    table(tmp_path / "text.jpg", "hello")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "gone-notes").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "loop2.jpg").symlink_to("loop2.jpg")
    items = read(tmp_path)
    assert ids(items) == ["empty.jpg", "gone.jpg", "good.jpg", "loop", "loop2.jpg", "text.jpg"]
    failed = []
    for item in items:
        try:
            open_photo(item.image)
        except ImageError:
            failed.append(item.id)
    assert failed == ["empty.jpg", "gone.jpg", "loop", "loop2.jpg", "text.jpg"]


def test_links_to_folders(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    photo(root / "hats" / "1.jpg")
    photo(tmp_path / "elsewhere" / "2.jpg")
    photo(tmp_path / "elsewhere" / "deep" / "3.jpg")
    (root / "up").symlink_to("..")
    (root / "hats" / "self").symlink_to(".")
    (root / "again").symlink_to("hats")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (root / "out-again").symlink_to(tmp_path / "elsewhere" / "deep")
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "elsewhere")
    (root / "linked.jpg").symlink_to(tmp_path / "elsewhere" / "2.jpg")
    assert ids(read(root)) == ["hats/1.jpg", "linked.jpg", "out/2.jpg", "out/deep/3.jpg"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "a" / "1.jpg")
    photo(tmp_path / "closed" / "2.jpg")
    photo(tmp_path / "z" / "3.jpg")
    (tmp_path / "closed").chmod(0)
    scandir = os.scandir

    def refuse(path: Any) -> Any:  # root may list everything
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    items = read(tmp_path)
    assert ids(items) == ["a/1.jpg", "closed", "z/3.jpg"]
    with pytest.raises(ImageError, match="closed"):
        open_photo(items[1].image)
    assert "cannot be listed (Permission denied)" in refusal(tmp_path / "closed")
    (tmp_path / "closed").chmod(0o700)


def test_odd_names(tmp_path: Path) -> None:
    names = ["line\nbreak.jpg", "späti 服.jpg", " .jpg", "a\\b.jpg", "-x.jpg", "%41.jpg", "a'b\"c.jpg"]
    if sys.platform == "linux":
        names.append("not-utf8-\udcff.jpg")
    for name in names:
        photo(tmp_path / "ka\nt" / name)
    items = read(tmp_path)
    assert len(items) == len(names)
    for item in items:
        assert open_photo(item.image).size == (16, 16)
    if sys.platform == "linux":
        assert "ka\nt/not-utf8-\\udcff.jpg" in ids(items)
        photo(tmp_path / "\udcfe" / "1.jpg")
        assert "\\udcfe/1.jpg" in ids(read(tmp_path))
    (tmp_path / "no\nphotos").mkdir()
    assert "no\\nphotos" in refusal(tmp_path / "no\nphotos")


def test_a_folder_without_photos_and_other_mistakes(tmp_path: Path) -> None:
    assert "no photo in this folder" in refusal(tmp_path)
    assert "no such file or folder" in refusal(tmp_path / "none")
    assert "no such file or folder" in refusal("a\0b")
    assert "give a folder of photos, or a table (.csv, " in refusal(photo(tmp_path / "one.jpg"))
    assert "not a source" in refusal(table(tmp_path / "list.xlsx", ""))
    with pytest.raises(SourceError):  # at once, not at the first item
        read_source(tmp_path / "none.csv")
    with pytest.raises(SourceError):
        count_source(tmp_path / "none.csv")


def test_deep_folders(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 1200)
    try:
        deep.mkdir(parents=True)
    except (OSError, RecursionError):
        deep = tmp_path.joinpath(*["d"] * 400)
        deep.mkdir(parents=True)
    photo(deep / "1.jpg")
    (item,) = read(tmp_path)
    assert item.id.endswith("d/1.jpg")


# --- items made by a program


def test_items_pass_through() -> None:
    items = [Item("1", "a.jpg"), Item("2", "b.jpg", "p", {"price": 3})]
    assert list(read_source(items)) == items
    assert count_source(items) == 2
    assert list(read_source(iter(items))) == items
    assert count_source(iter(items)) is None
    assert list(read_source([])) == []
    assert "item 1: a str" in refusal([items[0], "photo.jpg"])
    assert "id" in refusal([Item("", "a.jpg")])
    assert "id" in refusal([Item(5, "a.jpg")])  # type: ignore[arg-type]
    taken = read_source(item for item in items)
    assert next(taken) is items[0]  # as a stream


# --- CSV and TSV


def test_csv_columns_and_types(tmp_path: Path) -> None:
    rows = [
        ["image", "id", "product_id", "name", "price", "stock", "sale", "ean", "tags", "note", "empty", "big",
         "ratio"],
        ["img/1.jpg", "7", "007", "A|B", "52", "3", "true", "0123", "Cool|Indoor", "Soft. Warm|dry.", "",
         "9" * 25, "1e-3"],
        ["/abs/2.jpg", "8", "12", "Tee", "9.50", "-4", "FALSE", "4567", "Windy", "ok", "", "1", "-.5"],
        ["img/3.jpg", "9", "", "Hat", "", "", "", "", "", "", "", "", "1e300"],
    ]  # fmt: skip
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    one, two, three = read(tmp_path / "t.csv")
    assert (one.id, one.product_id, one.image) == ("7", "007", str(tmp_path / "img/1.jpg"))
    assert (two.product_id, two.image) == ("12", "/abs/2.jpg")
    assert (three.product_id, three.attributes) == (None, {"name": "Hat", "ratio": 1e300})
    assert one.attributes == {
        "name": "A|B", "price": 52.0, "stock": 3, "sale": True, "ean": "0123", "tags": ["Cool", "Indoor"],
        "note": "Soft. Warm|dry.", "big": "9" * 25, "ratio": 0.001,
    }  # fmt: skip
    assert two.attributes["tags"] == ["Windy"]
    assert two.attributes["sale"] is False
    assert type(two.attributes["stock"]) is int
    assert type(one.attributes["price"]) is float


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "2"], [1, 2]),
        (["1", "2.5"], [1.0, 2.5]),
        (["01", "2"], ["01", "2"]),
        (["0", "-0.0"], [0.0, 0.0]),
        (["007.5", "1"], ["007.5", "1"]),
        (["1", "x"], ["1", "x"]),
        (["+1", "2"], ["+1", "2"]),
        (["1_000", "2"], ["1_000", "2"]),
        (["١", "2"], ["١", "2"]),
        (["nan", "1"], ["nan", "1"]),
        (["1e999", "1"], ["1e999", "1"]),
        (["Infinity", "1"], ["Infinity", "1"]),
        (["9" * 18, "1"], [10**18 - 1, 1]),
        (["9" * 19, "1"], ["9" * 19, "1"]),
        (["9" * 19, "1.5"], ["9" * 19, "1.5"]),
        (["True", "FALSE"], [True, False]),
        (["true", "yes"], ["true", "yes"]),
        (["a|b", "c"], [["a", "b"], ["c"]]),
        (["36|38", "40"], [["36", "38"], ["40"]]),
        (["1.5mm|2mm", "x"], [["1.5mm", "2mm"], ["x"]]),
        (["a | b", "c"], ["a | b", "c"]),
        (["a||b", "c"], ["a||b", "c"]),
        (["|a", "c"], ["|a", "c"]),
        (["a|b.", "c"], ["a|b.", "c"]),
        (["a|b", "It fits. Really"], ["a|b", "It fits. Really"]),
        (["a|b", "x" * 41], ["a|b", "x" * 41]),
        (["plain", "words"], ["plain", "words"]),
        (["null\0byte", "x"], ["null\0byte", "x"]),
        (["two\nlines", "a|b"], ["two\nlines", "a|b"]),
        (["\u2028", "é"], [None, "é"]),
    ],
)
def test_csv_typing(cells: list[str], values: list[Any], tmp_path: Path) -> None:
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "x"], *([f"{i}.jpg", cell] for i, cell in enumerate(cells))])
    found = [item.attributes.get("x") for item in read(tmp_path / "t.csv")]
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_csv_dialects(tmp_path: Path) -> None:
    for name, text, encoding in (
        ("bom.csv", "image,color\n1.jpg,späti\n", "utf-8-sig"),
        ("crlf.csv", "image,color\r\n1.jpg,späti\r\n", "utf-8"),
        ("spaces.csv", "image , color\n1.jpg, späti \n\n   \n , \n", "utf-8"),
        ("quoted.csv", '"image","color"\n"1.jpg","späti"', "utf-8"),
        ("semicolon.csv", "image;color\n1.jpg;späti\n", "utf-8-sig"),
        ("tabs.tsv", "image\tcolor\n1.jpg\tspäti\n", "utf-8"),
        ("UPPER.CSV", "image,color\n1.jpg,späti\n", "utf-8"),
        ("unnamed.csv", ",image,color\n0,1.jpg,späti\n", "utf-8"),
    ):
        (item,) = read(table(tmp_path / name, text, encoding))
        assert item == Item("1.jpg", str(tmp_path / "1.jpg"), None, {"color": "späti"}), name


def test_csv_mistakes(tmp_path: Path) -> None:
    def said(text: str, encoding: str = "utf-8") -> str:
        return refusal(table(tmp_path / "t.csv", text, encoding))

    assert "no column is called image" in said("")
    assert "(columns: file, price)" in said("file,price\n1.jpg,2\n")
    assert "no rows" in said("image,price\n")
    assert "two columns are called price" in said("image,price,price\n1.jpg,2,3\n")
    assert "line 3: 1 cells where the header has 2 columns" in said("image,price\n1.jpg,2\n2.jpg\n")
    assert "line 2: 3 cells" in said("image,price\n1.jpg,2,3\n")
    assert "line 3: no image" in said("image,price\n1.jpg,2\n,3\n")
    assert "line 3: the id '1.jpg' is there twice" in said("image,view\n1.jpg,a\n1.jpg,b\n")
    assert "line 3: the id '5' is there twice" in said("image,id\n1.jpg,5\n2.jpg,5\n")
    assert "line 2: not a row" in said('image,price\n"1.jpg"x,2\n')
    assert "unexpected end of data" in said('image,price\n"1.jpg,2\n3,4\n')
    assert "line 3, byte 3 (0xe4): not UTF-8" in said("image,color\n1.jpg,red\nspäti.jpg,x\n", "latin-1")
    assert "line 1, byte 1 (0xff): not UTF-8" in said("image,color\n1.jpg,red\n", "utf-16")
    assert "field larger than field limit" in said("image,note\n1.jpg," + "x" * 10_000_000 + "\n")
    assert "field larger than field limit" in said("x" * 10_000_000)
    assert csv.field_size_limit() == 131072
    assert "no column is called image" in said("n" * 100_000 + ",b\n1,2\n")


def test_csv_errors_come_before_any_item(tmp_path: Path) -> None:
    rows = "".join(f"{i}.jpg,1\n" for i in range(100))
    items = read_source(table(tmp_path / "t.csv", f"image,price\n{rows}bad\n"))
    with pytest.raises(SourceError, match="line 102"):
        next(items)


def test_csv_changed_while_it_is_read(tmp_path: Path) -> None:
    rows = "".join(f"{i}.jpg,1\n" for i in range(50_000))
    path = table(tmp_path / "t.csv", f"image,price\n{rows}")
    items = read_source(path)
    next(items)
    table(path, f"image,price\n{rows.replace(',1', ',dear')}")
    with pytest.raises(SourceError, match=r"t\.csv, line \d+: "):
        list(items)


def test_urls_are_kept_for_the_reader_to_refuse(tmp_path: Path) -> None:
    (item,) = read(table(tmp_path / "t.csv", "image\nnothing://example.org/1.jpg\n"))
    assert item.image == item.id == "nothing://example.org/1.jpg"
    with pytest.raises(ImageError, match="Protocol not known"):
        open_photo(item.image)


def test_a_real_table() -> None:
    path = Path("../shared/data/luma/catalog.csv")
    if not path.exists():
        pytest.skip("no photos here")
    items = read(path)
    assert len(items) == 319
    assert items[0].product_id == "MH01"

    def kinds(name: str) -> set[type]:
        return {type(item.attributes[name]) for item in items if name in item.attributes}

    for name in ("climate", "style", "material", "pattern"):
        assert kinds(name) == {list}
    assert kinds("price") == {float}
    assert kinds("name") == kinds("category") == kinds("description") == {str}
    assert items[0].attributes["climate"] == ["All-weather", "Cool", "Indoor", "Spring", "Windy"]


# --- JSON Lines


def test_jsonl(tmp_path: Path) -> None:
    rows = [
        {
            "image": "1.jpg",
            "id": 5,
            "product_id": "p",
            "price": 3,
            "ratio": 0.5,
            "sale": True,
            "tags": ["a", "b"],
        },
        {
            "image": "2.jpg",
            "price": None,
            "ratio": float("nan"),
            "tags": [],
            "note": "",
            "code": "007",
            "": "x",
        },
        {"image": "3.jpg", "ratio": float("inf"), "odd": "\ud800", "line": "a\u2028b\nc"},
    ]
    text = "\n\n".join(json.dumps(row) for row in rows) + "\n"
    for name in ("t.jsonl", "t.ndjson"):
        one, two, three = read(table(tmp_path / name, text))
        assert (one.id, one.product_id, one.image) == ("5", "p", str(tmp_path / "1.jpg"))
        assert one.attributes == {"price": 3, "ratio": 0.5, "sale": True, "tags": ["a", "b"]}
        assert two.attributes == {"code": "007"}
        assert three.attributes == {"odd": "\\ud800", "line": "a\u2028b\nc"}


def test_jsonl_mistakes(tmp_path: Path) -> None:
    good = '{"image": "1.jpg"}\n'

    def said(text: str, encoding: str = "utf-8") -> str:
        return refusal(table(tmp_path / "t.jsonl", text, encoding))

    assert "no rows" in said("\n\n")
    assert "(columns: file)" in said('{"file": "1.jpg"}')
    assert "line 2: not JSON" in said(good + "{'image': 1}")
    assert "line 2: not JSON" in said(good + '{"image": "2.jpg"')
    assert "line 2: not a JSON object" in said(good + "[1]")
    assert "line 3: no image" in said(good + '\n{"name": "x"}')
    assert "line 2: no image" in said(good + '{"image": 5}')
    assert "line 2: the id '1.jpg' is there twice" in said(good + good)
    assert "column 'size' holds nested columns" in said('{"image": "1.jpg", "size": {"a": 1}}')
    assert "column 'size' holds a list of other" in said('{"image": "1.jpg", "size": [1, 2]}')
    assert "more than 64 bits" in said('{"image": "1.jpg", "size": 9223372036854775808}')
    assert "product_id must be a text" in said('{"image": "1.jpg", "product_id": 1.5}')
    assert "id must be a text" in said('{"image": "1.jpg", "id": true}')
    assert "line 2, byte 12 (0xe4)" in said(good + '{"image": "ä.jpg"}', "latin-1")
    assert "line 1: not JSON" in said("[" * 100_000)
    assert "line 1: not JSON" in said('{"image": "1.jpg", "n": ' + "9" * 5000 + "}")


# --- Parquet


def test_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    when = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
    columns = {
        "image": ["1.jpg", "2.jpg"],
        "id": pa.array([5, 6], pa.int32()),
        "product_id": pa.array(["p", None]),
        "price": pa.array([1.5, float("nan")], pa.float32()),
        "stock": pa.array([3, None], pa.uint8()),
        "sale": [True, False],
        "tags": [["a", "b"], []],
        "color": pa.array(["red", "red"]).dictionary_encode(),
        "day": pa.array([datetime.date(2024, 5, 6), None]),
        "at": pa.array([when, None], pa.timestamp("ns", "UTC")),
        "cost": pa.array([decimal.Decimal("9.90"), None]),
        "__index_level_0__": [7, 8],
    }
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=1)
    one, two = read(tmp_path / "t.parquet")
    assert (one.id, one.product_id, one.image) == ("5", "p", str(tmp_path / "1.jpg"))
    assert one.attributes == {
        "price": 1.5, "stock": 3, "sale": True, "tags": ["a", "b"], "color": "red", "day": "2024-05-06",
        "at": "2024-05-06T07:08:09+00:00", "cost": 9.9,
    }  # fmt: skip
    assert (two.product_id, two.attributes) == (None, {"sale": False, "color": "red"})


def test_parquet_mistakes(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"

    def said(**columns: Any) -> str:
        parquet.write_table(pa.table(columns), path)
        return refusal(path)

    assert "(columns: file, price)" in said(file=["1.jpg"], price=[1])
    assert "no rows" in said(image=pa.array([], pa.string()))
    assert "row 2: no image" in said(image=["1.jpg", None])
    assert "row 2: the id 'a' is there twice" in said(image=["1.jpg", "2.jpg"], id=["a", "a"])
    assert "column 'blob' holds bytes" in said(image=["1.jpg"], blob=[b"x"])
    assert "column 'box' holds nested columns" in said(image=["1.jpg"], box=[{"x": 1}])
    assert "no image" in said(image=[{"bytes": b"", "path": "1.jpg"}])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert "not a Parquet table" in refusal(path)
    path.write_bytes(b"PAR1" + bytes(range(256)) * 10 + b"PAR1")
    assert "not a Parquet table" in refusal(path)
    path.write_bytes(b"")
    assert "not a Parquet table" in refusal(path)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"serupa\[parquet\]"):
        read_source(table(tmp_path / "t.parquet", "PAR1"))


# --- fuzzing


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([".csv", ".tsv", ".jsonl"]),
    st.one_of(
        st.text(st.sampled_from('image,id;\t\n\r"|1.0e-nx {}[]:\0\ufeff'), max_size=80).map(str.encode),
        st.text(max_size=60).map(lambda text: ("image,x\n" + text).encode("utf-8", "surrogatepass")),
        st.binary(max_size=60).map(lambda data: b"image,x\n1.jpg," + data),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps({"image": "1.jpg", "x": value}).encode()),
    ),
)
def test_arbitrary_tables(ending: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t" + ending)
        path.write_bytes(data)
        try:
            read(path)
        except SerupaError as error:
            assert "\n" not in str(error)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"]), max_size=20), min_size=1, max_size=5))
def test_what_a_csv_writer_writes_is_read_back(cells: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.csv")
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(
                [["image", "x"], *([f"{i}.jpg", f"t {cell}"] for i, cell in enumerate(cells))]
            )
        for item, cell in zip(read(path), cells, strict=True):
            value = item.attributes["x"]
            assert ("|".join(value) if isinstance(value, list) else value) == f"t {cell}".strip()
