"""What the cells of a column mean: numbers, prices, lists, codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serupa.errors import UsageError
from serupa.sources.prices import parse_price
from tests.sources.made import csv_table, listing, photos, read, table


def column(folder: Path, cells: list[str], name: str = "x", **options: Any) -> tuple[list[Any], list[str]]:
    """Return what a column's cells became, and what was said of it."""
    photos(folder, *(f"{i}.jpg" for i in range(len(cells))))
    path = csv_table(
        folder / "t.csv", [["image", name], *([f"{i}.jpg", cell] for i, cell in enumerate(cells))]
    )
    found = listing(path, **options)
    return [item.attributes.get(name) for item in found.items()], found.notes


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
        (["nan", "1"], [None, 1]),
        (["N/A", "1.5"], [None, 1.5]),
        (["None", "red"], ["None", "red"]),
        (["-", "-"], ["-", "-"]),
        (["1e999", "1"], ["1e999", "1"]),
        (["Infinity", "1"], ["Infinity", "1"]),
        (["9" * 18, "1"], [10**18 - 1, 1]),
        (["9" * 19, "1"], ["9" * 19, "1"]),
        (["9" * 19, "1.5"], ["9" * 19, "1.5"]),
        (["90.750", "12.500"], ["90.750", "12.500"]),
        (["59.0000", "7.5000"], [59.0, 7.5]),
        (["True", "FALSE"], [True, False]),
        (["true", "yes"], ["true", "yes"]),
        (["a|b", "c"], [["a", "b"], ["c"]]),
        (["36|38", "40"], [["36", "38"], ["40"]]),
        (["1.5mm|2mm", "x"], [["1.5mm", "2mm"], ["x"]]),
        (["36,38", "40,42"], ["36,38", "40,42"]),
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
def test_types_are_decided_by_column(cells: list[str], values: list[Any], tmp_path: Path) -> None:
    found, _ = column(tmp_path, cells)
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("cells", "values", "currency"),
    [
        (["$1,299.00", "$15.00", "$9.50"], [1299.0, 15.0, 9.5], "USD"),
        (["1.299,00", "15,00", "9,50"], [1299.0, 15.0, 9.5], None),
        (["1.299,00 €", "15 €"], [1299.0, 15.0], "EUR"),
        (["IDR 349.900", "IDR 59.000"], [349900.0, 59000.0], "IDR"),
        (["Rp349.900", "Rp1.250.000"], [349900.0, 1250000.0], "IDR"),
        (["19.99 USD", "1299.00 USD"], [19.99, 1299.0], "USD"),
        (["CHF 1'299.00", "CHF 5.-"], [1299.0, 5.0], "CHF"),
        (["1 299,00 zł", "15,00 zł"], [1299.0, 15.0], "PLN"),
        (["1\u202f299,00\xa0€", "9,5 €"], [1299.0, 9.5], "EUR"),
        (["KWD 12.500", "KWD 9.750"], [12.5, 9.75], "KWD"),
        (["¥1,200", "¥980"], [1200.0, 980.0], "JPY"),
        (["R$ 1.299,90", "R$ 10,00"], [1299.9, 10.0], "BRL"),
        (["NaN", "15.00"], [None, 15.0], None),
        (["", "15"], [None, 15], None),
        (["9.50", "52"], [9.5, 52.0], None),
        (["1,299", "15"], [1299.0, 15.0], None),
    ],
)
def test_prices(cells: list[str], values: list[Any], currency: str | None, tmp_path: Path) -> None:
    found, _ = column(tmp_path, cells, "price")
    assert found == values
    items = read(tmp_path / "t.csv")
    assert {item.attributes.get("currency") for item in items if "price" in item.attributes} == {currency}


def test_each_row_has_its_own_currency(tmp_path: Path) -> None:
    photos(tmp_path, "1.jpg", "2.jpg")
    path = table(tmp_path / "t.csv", "image;price;sale_price\n1.jpg;5 EUR;4,50 EUR\n2.jpg;7 USD;\n")
    one, two = read(path)
    assert one.attributes == {"price": 5.0, "sale_price": 4.5, "currency": "EUR"}
    assert two.attributes == {"price": 7.0, "currency": "USD"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "free",
        "on request",
        "from $5",
        "5 pieces",
        "1.2.3",
        "1,2,3",
        "12-15",
        "$5 €",
        "1.29.900",
        "--",
        "$",
    ],
)
def test_what_is_no_price(text: str) -> None:
    assert parse_price(text) is None


def test_what_became_text_is_said_with_its_line(tmp_path: Path) -> None:
    found, notes = column(tmp_path, ["15.00", "on request", "9.50"], "price")
    assert found == ["15.00", "on request", "9.50"]
    (note,) = notes
    assert "price" in note and "line 3" in note and "'on request'" in note and "--type price=number" in note
    found, notes = column(tmp_path, ["90.750", "12.5"], "size")
    assert found == ["90.750", "12.5"]
    assert "line 2" in notes[0]
    assert column(tmp_path, ["red", "5", "blue"])[1] == []
    assert "349900" in column(tmp_path, ["349.900", "59.000"], "price")[1][0]


@pytest.mark.parametrize("name", ["sku", "EAN", "Variant SKU", "style_code", "articleNumber", "MPN"])
def test_codes_stay_codes(name: str, tmp_path: Path) -> None:
    assert column(tmp_path, ["90.750", "12"], name) == (["90.750", "12"], [])


def test_types_can_be_stated(tmp_path: Path) -> None:
    assert column(tmp_path, ["7", "8"], types={"x": "text"}) == (["7", "8"], [])
    found, notes = column(tmp_path, ["15", "on request", "1,299.50"], "price", types={"price": "number"})
    assert found == [15, None, 1299.5]
    assert "1 cells" in notes[0] and "line 3" in notes[0]
    assert column(tmp_path, ["90.750", "1"], types={"x": "number"})[0] == [90.75, 1]
    assert column(tmp_path, ["7", "8"], "sku", types={"sku": "number"})[0] == [7, 8]
    assert column(tmp_path, ["yes", "0", "x"], types={"x": "truth"})[0] == [True, False, None]
    assert column(tmp_path, ["a | b", "c"], types={"x": "list"})[0] == [["a", "b"], ["c"]]
    with pytest.raises(UsageError):
        column(tmp_path, ["7"], types={"x": "colour"})
    with pytest.raises(UsageError):
        column(tmp_path, ["7"], types={"y": "text"})


def test_ids_that_passed_through_floats_are_whole_numbers_again(tmp_path: Path) -> None:
    photos(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    path = table(tmp_path / "t.csv", "image,id,product_id\n1.jpg,1.0,101.0\n2.jpg,2.0,\n3.jpg,3.0,102.0\n")
    assert [(item.id, item.product_id) for item in read(path)] == [("1", "101"), ("2", None), ("3", "102")]
    path = table(tmp_path / "t.csv", "image,product_id\n1.jpg,1.0\n2.jpg,1.5\n")
    assert [item.product_id for item in read(path)] == ["1.0", "1.5"]


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
