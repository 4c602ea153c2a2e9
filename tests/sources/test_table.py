"""Tables with all that goes wrong: a row that cannot be used stops no other."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serupa import SerupaError
from serupa.errors import InvalidInputError, MissingExtraError, UsageError
from serupa.items import Failure, Item
from serupa.sources import count_source, read_source
from serupa.sources.table import open_table
from tests.sources.made import (
    csv_table,
    failures,
    hold_to_account,
    ids,
    listing,
    photos,
    read,
    refusal,
    table,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with photos 1.jpg to 9.jpg for tables to speak of."""
    photos(tmp_path, *(f"{number}.jpg" for number in range(1, 10)))
    return tmp_path


# --- items made by a program


def test_items_pass_through() -> None:
    items = [Item("1", "a.jpg"), Item("2", "b.jpg", "p", {"price": 3})]
    assert list(read_source(items)) == items
    assert count_source(items) == 2
    assert list(read_source(iter(items))) == items
    assert count_source(iter(items)) is None
    assert list(read_source([])) == []
    assert next(iter(read_source(item for item in items))) is items[0]  # as a stream
    for bad in ("photo.jpg", Item("", "a.jpg"), Item(5, "a.jpg")):  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError):
            list(read_source([items[0], bad]))


# --- CSV and TSV


def test_csv(folder: Path) -> None:
    rows = [
        ["image", "id", "product_id", "name", "price"],
        ["1.jpg", "7", "007", "Tee", "52"],
        [folder / "2.jpg", "8", "12", "Hat", "9.50"],
        ["3.jpg", "9", "", "", ""],
    ]
    path = csv_table(folder / "t.csv", rows)
    one, two, three = read(path)
    assert one == Item("7", str(folder / "1.jpg"), "007", {"name": "Tee", "price": 52.0})
    assert (two.product_id, two.image) == ("12", str(folder / "2.jpg"))
    assert (three.product_id, three.attributes) == (None, {})
    assert count_source(path) == 3
    assert read_source(path).name == str(path)


@pytest.mark.parametrize(
    ("name", "text", "encoding"),
    [
        ("bom.csv", "image,color\n1.jpg,späti\n", "utf-8-sig"),
        ("crlf.csv", "image,color\r\n1.jpg,späti\r\n", "utf-8"),
        ("mac.csv", "image,color\r1.jpg,späti\r", "utf-8"),
        ("spaces.csv", "image , color\n1.jpg, späti \n\n   \n , \n", "utf-8"),
        ("quoted.csv", '"image","color"\n"1.jpg","späti"', "utf-8"),
        ("semicolon.csv", "image;color\n1.jpg;späti\n", "utf-8-sig"),
        ("comma in a name.csv", 'image;color;"price, EUR"\n1.jpg;späti;\n', "utf-8"),
        ("sep.csv", "sep=;\nimage;color\n1.jpg;späti\n", "utf-8"),
        ("sep tab.csv", '"sep=\t"\r\nimage\tcolor\r\n1.jpg\tspäti\r\n', "utf-8"),
        ("sep comma.csv", "\ufeffSEP=,\nimage,color\n1.jpg,späti\n", "utf-8"),
        ("bars.csv", "image|color\n1.jpg|späti\n", "utf-8"),
        ("tabs.tsv", "image\tcolor\n1.jpg\tspäti\n", "utf-8"),
        ("commas.tsv", "image,color\n1.jpg,späti\n", "utf-8"),
        ("tabs.csv", "image\tcolor\n1.jpg\tspäti\n", "utf-8"),
        ("unicode.csv", "image\tcolor\r\n1.jpg\tspäti\r\n", "utf-16"),
        ("tabs.txt", "image\tcolor\n1.jpg\tspäti\n", "utf-8"),
        ("UPPER.CSV", "Image,color\n1.jpg,späti\n", "utf-8"),
        ("unnamed.csv", ",image,color,\n0,1.jpg,späti,\n", "utf-8"),
        ("trailing.csv", "image,color\n1.jpg,späti,,,\n", "utf-8"),
    ],
)
def test_csv_dialects(name: str, text: str, encoding: str, folder: Path) -> None:
    assert read(table(folder / name, text, encoding)) == [
        Item("1.jpg", str(folder / "1.jpg"), None, {"color": "späti"})
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("2.jpg", "line 3: 1 cells where the header has 2 columns"),
        ("2.jpg,2,3", "line 3: 3 cells"),
        (",3", "line 3: no image"),
        ("gone.jpg,3", "line 3: gone.jpg: no such file"),
        ("1.jpg,b", "line 3: the id '1.jpg' is there twice"),
        ('"2.jpg"x,2', "line 3: not a row"),
        ('"2.jpg,2', "line 3: not a row"),
        ('"2.jpg\nand,more', "line 3: not a row"),
        ("2.jpg," + "x" * 10_000_000, "line 3: not a row (field larger than field limit"),
        ("sp\udce4ti.jpg,x", "line 3: byte 0xe4 is not UTF-8"),
    ],
)
def test_a_row_that_cannot_be_used_stops_no_other(row: str, said: str, folder: Path) -> None:
    path = folder / "t.csv"
    path.write_bytes(f"image,price\n1.jpg,1\n{row}\n4.jpg,4\n5.jpg,5\n".encode("utf-8", "surrogateescape"))
    entries = list(read_source(path))
    assert [entry.id for entry in entries if isinstance(entry, Item)] == ["1.jpg", "4.jpg", "5.jpg"]
    assert said in failures(path)[0]
    assert all(reason.startswith(f"{path}, line ") for reason in failures(path))
    with pytest.raises(InvalidInputError):
        listing(path, strict=True)


def test_a_table_that_cannot_be_read_is_refused(folder: Path) -> None:
    def said(text: str, encoding: str = "utf-8") -> str:
        return refusal(table(folder / "t.csv", text, encoding))

    assert "no column is called image" in said("")
    assert "(columns: file, price)" in said("file,price\n1.jpg,2\n")
    assert "separator" in said("image^price\n1.jpg^2\n") or "image^price" in said("image^price\n1.jpg^2\n")
    assert "no rows" in said("image,price\n")
    assert "two columns are called price" in said("image,price,price\n1.jpg,2,3\n")
    assert "line 1: byte 0xe4" in said("image,fäbe\n1.jpg,red\n", "latin-1")
    assert "UTF-16" in said("image,color\n1.jpg,red\n", "utf-16-le")
    assert "no column is called image" in said("n" * 100_000 + ",b\n1,2\n")
    assert "no column is called image" in said("x" * 10_000_000)
    assert csv.field_size_limit() == 131072


def test_csv_changed_while_it_is_read(folder: Path) -> None:
    rows = "".join("1.jpg,1\n" for _ in range(50_000))
    path = table(folder / "t.csv", f"image,price\n{rows}")
    entries = iter(read_source(path))
    next(entries)
    table(path, f"image,price\n{rows.replace(',1', ',dear')}")
    assert "changed while it was read" in list(entries)[-1].reason  # type: ignore[union-attr]


def test_columns_are_named(folder: Path) -> None:
    path = csv_table(folder / "t.csv", [["Photo", "SKU", "Titel", "color"], ["1.jpg", "007", "Tee", "red"]])
    columns = {"image": "Photo", "product_id": "SKU", "name": "Titel"}
    assert read(path, columns=columns) == [
        Item("1.jpg", str(folder / "1.jpg"), "007", {"name": "Tee", "color": "red"})
    ]
    with pytest.raises(UsageError):
        read(path, columns={"image": "Foto"})
    assert "--columns image=NAME" in refusal(path)


def test_constants(folder: Path) -> None:
    path = csv_table(folder / "t.csv", [["image", "product_id"], ["1.jpg", "P1"]])
    constants = {"currency": "EUR", "link": "https://shop.example/p/{product_id}"}
    (item,) = read(path, constants=constants)
    assert item.attributes == {"currency": "EUR", "link": "https://shop.example/p/P1"}


def test_names_that_the_engine_cannot_ask_for_are_left_out(folder: Path) -> None:
    path = csv_table(
        folder / "t.csv", [["image", "Men\\Women", 'a"b', "content", "ok"], ["1.jpg", "5", "6", "7", "8"]]
    )
    found = listing(path)
    (item,) = found.items()
    assert item.attributes == {"ok": 8}
    assert len(found.notes) == 3
    (renamed,) = read(path, columns={"for": "Men\\Women"})
    assert renamed.attributes == {"for": 5, "ok": 8}


# --- several photos


@pytest.mark.parametrize(
    "cell", ["1.jpg, 2.jpg", "1.jpg|2.jpg", "1.jpg,2.jpg", "1.jpg;2.jpg", "1.jpg\n2.jpg", "1.jpg, 2.jpg,"]
)
def test_several_photos_in_a_cell(cell: str, folder: Path) -> None:
    path = csv_table(folder / "t.csv", [["image", "sku"], [cell, "A-1"], ["3.jpg", "A-2"]])
    assert [(i.id, i.product_id, i.attributes["sku"]) for i in read(path)] == [
        ("1.jpg", "1.jpg", "A-1"), ("2.jpg", "1.jpg", "A-1"), ("3.jpg", None, "A-2"),
    ]  # fmt: skip
    with_ids = csv_table(folder / "i.csv", [["image", "id"], [cell, "A-1"], ["3.jpg", "A-2"]])
    assert [(i.id, i.product_id) for i in read(with_ids)] == [
        ("A-1", "A-1"), ("A-1#02", "A-1"), ("A-2", None),
    ]  # fmt: skip


def test_a_name_with_a_comma_is_one_photo(folder: Path) -> None:
    photos(folder, "shirt, blue.jpg")
    assert ids(csv_table(folder / "t.csv", [["image"], ["shirt, blue.jpg"]])) == ["shirt, blue.jpg"]
    address = "https://cdn.example/w_300,h_400/a.jpg?x=1,2"
    assert ids(csv_table(folder / "t.csv", [["image"], [address]])) == [address]
    cell = f"{address},https://cdn.example/b.jpg"
    assert len(read(csv_table(folder / "t.csv", [["image"], [cell]]))) == 2


# --- JSON


def test_jsonl(folder: Path) -> None:
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
        {"image": ["3.jpg", "4.jpg"], "ratio": float("inf"), "odd": "\ud800", "line": "a\u2028b\nc"},
        {"image": "5.jpg", "price": "$1,299.00"},
    ]
    text = "\n\n".join(json.dumps(row) for row in rows) + "\n"
    for name in ("t.jsonl", "t.ndjson"):
        one, two, three, four, five = read(table(folder / name, text))
        assert (one.id, one.product_id, one.image) == ("5", "p", str(folder / "1.jpg"))
        assert one.attributes == {"price": 3, "ratio": 0.5, "sale": True, "tags": ["a", "b"]}
        assert two.attributes == {"code": "007"}
        assert three.attributes == four.attributes == {"odd": "\\ud800", "line": "a\u2028b\nc"}
        assert five.attributes == {"price": 1299.0, "currency": "USD"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{'image': 1}", "not JSON"),
        ('{"image": "2.jpg"', "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"name": "x"}', "no image"),
        ('{"image": 5}', "no image"),
        ('{"image": "1.jpg"}', "the id '1.jpg' is there twice"),
        ('{"image": "2.jpg", "size": {"a": 1}}', "column 'size' holds nested columns"),
        ('{"image": "2.jpg", "size": [1, 2]}', "column 'size' holds a list of other"),
        (
            '{"image": "2.jpg", "size": 9223372036854775808}',
            "column 'size' holds a whole number of more than 64 bits",
        ),
        ('{"image": "2.jpg", "product_id": 1.5}', "product_id must be a text"),
        ('{"image": "2.jpg", "id": true}', "id must be a text"),
        ('{"image": "\udce4.jpg"}', "byte 0xe4"),
        ("[" * 100_000, "not JSON"),
        ('{"image": "2.jpg", "n": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_jsonl_mistakes(line: str, said: str, folder: Path) -> None:
    path = folder / "t.jsonl"
    good = '{"image": "1.jpg"}\n', '{"image": "3.jpg"}\n'
    path.write_bytes(f"{good[0]}{line}\n{good[1]}".encode("utf-8", "surrogateescape"))
    (reason,) = failures(path)
    assert f"line 2: {said}" in reason
    assert [item.id for item in read_source(path).items()] == ["1.jpg", "3.jpg"]


def test_json(folder: Path) -> None:
    for text in (
        '[{"image": "1.jpg"}, 5, {"image": "2.jpg"}]',
        '{"items": [{"image": "1.jpg"}, 5, {"image": "2.jpg"}]}',
    ):
        path = table(folder / "t.json", text)
        assert [item.id for item in read_source(path).items()] == ["1.jpg", "2.jpg"]
        assert "item 2" in failures(path)[0]
    assert "no rows" in refusal(table(folder / "t.jsonl", "\n\n"))
    assert "(columns: file)" in refusal(table(folder / "t.jsonl", '{"file": "1.jpg"}'))
    assert "not JSON" in refusal(table(folder / "t.json", "{"))
    assert "not a table" in refusal(table(folder / "t.json", '{"a": 1}'))


# --- XML


def test_xml_that_breaks_off(folder: Path) -> None:
    text = "<rss><channel><item><id>1</id><image>1.jpg</image></item><item><id>2</id>"
    path = table(folder / "t.xml", text)
    (reason,) = failures(path)
    assert "breaks off" in reason
    assert [item.id for item in read_source(path).items()] == ["1"]


def test_xml_that_declares_entities_is_refused(folder: Path) -> None:
    entities = '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">'
    bomb = f"<!DOCTYPE r [{entities}]><rss><item><id>&b;</id></item></rss>"
    assert "entities" in refusal(table(folder / "t.xml", bomb))
    assert "no <item>" in refusal(table(folder / "t.xml", "<html></html>"))


# --- Parquet


def test_parquet(folder: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    when = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
    columns = {
        "image": ["1.jpg", "2.jpg"],
        "id": pa.array([5, 6], pa.int32()),
        "product_id": pa.array([101.0, None]),
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
    parquet.write_table(pa.table(columns), folder / "t.parquet", row_group_size=1)
    one, two = read(folder / "t.parquet")
    assert (one.id, one.product_id, one.image) == ("5", "101", str(folder / "1.jpg"))
    assert one.attributes == {
        "price": 1.5, "stock": 3, "sale": True, "tags": ["a", "b"], "color": "red", "day": "2024-05-06",
        "at": "2024-05-06T07:08:09+00:00", "cost": 9.9,
    }  # fmt: skip
    assert (two.product_id, two.attributes) == (None, {"sale": False, "color": "red"})


def test_photos_within_parquet(folder: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    data = (folder / "1.jpg").read_bytes(), (folder / "2.jpg").read_bytes()
    images = [
        {"bytes": data[0], "path": "train/1.jpg"},
        {"bytes": data[1], "path": None},
        {"bytes": None, "path": None},
    ]
    parquet.write_table(pa.table({"image": images, "label": ["a", "b", "c"]}), folder / "t.parquet")
    one, two = read_source(folder / "t.parquet").items()
    assert one.id == "train/1.jpg"
    assert Path(one.image).read_bytes() == data[0] and Path(two.image).read_bytes() == data[1]
    assert "row 3: no image" in failures(folder / "t.parquet")[0]


def test_parquet_mistakes(folder: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = folder / "t.parquet"

    def written(**columns: Any) -> Path:
        parquet.write_table(pa.table(columns), path)
        return path

    assert "(columns: file, price)" in refusal(written(file=["1.jpg"], price=[1]))
    assert "no rows" in refusal(written(image=pa.array([], pa.string())))
    assert "row 2: no image" in failures(written(image=["1.jpg", None]))[0]
    assert "row 2: the id 'a' is there twice" in failures(written(image=["1.jpg", "2.jpg"], id=["a", "a"]))[0]
    assert "column 'blob' holds bytes" in failures(written(image=["1.jpg"], blob=[b"x"]))[0]
    data = path.read_bytes()
    for broken in (data[: len(data) // 2], b"PAR1" + bytes(range(256)) * 10 + b"PAR1", b""):
        path.write_bytes(broken)
        assert "not a Parquet table" in refusal(path)


def test_parquet_whose_values_are_damaged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dictionary that its values do not fit is noticed only when they are turned into Python's."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"image": ["1.jpg"]}), folder / "t.parquet")

    def damaged(_: Any) -> list[dict[str, Any]]:
        raise IndexError("index with value of 77 is out-of-bounds")

    monkeypatch.setattr("serupa.sources.table.python_rows", damaged)
    assert "damaged Parquet table from here on (index with" in failures(folder / "t.parquet")[0]


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError):
        read_source(table(tmp_path / "t.parquet", "PAR1"))


# --- fuzzing


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([".csv", ".tsv", ".jsonl", ".json", ".xml"]),
    st.one_of(
        st.text(st.sampled_from('image,id;\t\n\r"|1.0e-nx {}[]:\0\ufeff<>/&'), max_size=80).map(str.encode),
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
    with tempfile.TemporaryDirectory() as name:
        photos(Path(name), "1.jpg")
        path = Path(name, "t" + ending)
        path.write_bytes(data)
        try:
            entries = list(read_source(path))
        except SerupaError as error:
            assert "\n" not in str(error)
            return
        hold_to_account([entry for entry in entries if isinstance(entry, Item)])
        assert all(entry.reason for entry in entries if isinstance(entry, Failure))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"]), max_size=20), min_size=1, max_size=5))
def test_what_a_csv_writer_writes_is_read_back(cells: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        photos(Path(name), *(f"{i}.jpg" for i in range(len(cells))))
        rows = [["image", "x"], *([f"{i}.jpg", f"t {cell}"] for i, cell in enumerate(cells))]
        for item, cell in zip(read(csv_table(Path(name, "t.csv"), rows)), cells, strict=True):
            value = item.attributes["x"]
            assert ("|".join(value) if isinstance(value, list) else value) == f"t {cell}".strip()


def test_parquet_whose_rows_are_larger_than_the_file(tmp_path: Path) -> None:
    """A text that many rows name is there once in the file: those rows fail one by one, others are read."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    count = 200
    long = pa.DictionaryArray.from_arrays(
        pa.array([0, 1] * (count // 2), pa.int32()), ["x" * 8_000_000, "short"]
    )
    nested = pa.array([["y" * 5_000_000] if n == 1 else ["z"] for n in range(count)])
    ids = [str(n) for n in range(count)]
    table = pa.table({"image": [f"{n}.png" for n in ids], "id": ids, "name": long, "tags": nested})
    parquet.write_table(table, tmp_path / "t.parquet", compression="zstd")
    rows = list(open_table(tmp_path / "t.parquet", "t.parquet").rows())
    assert len(rows) == count
    failures = [row for row in rows if isinstance(row, Failure)]
    assert len(failures) == count // 2 + 1
    assert "more than 4 MiB in one row" in failures[0].reason and len(failures[0].reason) < 200
    assert rows[3].cells["name"] == "short" and rows[3].cells["tags"] == ["z"]
