"""What the cells of a table mean: numbers, prices with their currency, lists, codes; decided by column."""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

from serupa.errors import UsageError
from serupa.items import Attribute
from serupa.sources.prices import Price, PriceColumn, parse_price

ColumnType = Literal["text", "number", "truth", "list", "price"]
"""What a column may be stated to hold."""

TYPES: tuple[ColumnType, ...] = ("text", "number", "truth", "list", "price")

_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")  # what fits 64 bits; leading zeros are part of a code
_FLOAT = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_BOOL = re.compile(r"true|false", re.IGNORECASE)
_WHOLE_FLOAT = re.compile(r"(-?[0-9]+)\.0+")
# 90.750 as a number would lose its last zero, which prices (9.50) and fixed decimals (59.0000) can spare.
_TRAILING_ZERO = re.compile(r"-?[0-9]+\.[0-9]{2}0")
# Labels joined by bars. Prose has spaces around a bar, ends of sentences, or parts too long for a label.
_LABEL = r"[^\s|](?:[^|\n]{0,38}[^\s|])?"
_LIST = re.compile(rf"(?!.*[.!?](?:[\s|]|$)){_LABEL}(?:\|{_LABEL})*")
_NEVER_A_LIST = frozenset({"name", "title", "description"})

_EMPTY = frozenset({"nan", "n/a", "na", "n.a.", "#n/a", "null", "none", "-", "--", "–", "—"})
"""How programs write that there is no number."""

_WORDS = re.compile(r"[^\W\d_]+")
_CODE_NAMES = """
sku code codes ean gtin upc isbn asin mpn barcode plu article artikel artikelnummer style ref
reference  model part handle zip postcode phone
"""
_CODE_WORDS = frozenset(_CODE_NAMES.split())
_PRICE_NAMES = """
price prices cost msrp rrp uvp amount preis preise prix precio preco preço prezzo prijs pris cena
harga  fiyat цена 价格 価格 가격
"""
_PRICE_WORDS = frozenset(_PRICE_NAMES.split())


def words_of(name: str) -> set[str]:
    """Return the words of a column's name in small letters: of ``Variant SKU``, ``salePrice``."""
    return {word.lower() for word in _WORDS.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))}


def is_price_name(name: str) -> bool:
    """Tell whether a column's name speaks of prices."""
    return bool(words_of(name) & _PRICE_WORDS) and "currency" not in words_of(name)


def _is_int(cell: str) -> bool:
    return _INT.fullmatch(cell) is not None


def _is_float(cell: str) -> bool:
    if cell.lstrip("-").isdigit():  # too long for 64 bits, it would lose digits as a float: a code, so text
        return _is_int(cell)
    return _FLOAT.fullmatch(cell) is not None and math.isfinite(float(cell))


def _is_bool(cell: str) -> bool:
    return _BOOL.fullmatch(cell) is not None


def _is_list(cell: str) -> bool:
    return _LIST.fullmatch(cell) is not None


class Column:
    """One column of a table whose cells are text: what all of them are, and which cell was in the way.

    Parameters
    ----------
    name : str
        Some names are taken for codes (``sku``) or prices (``sale_price``).
    stated : str, optional
        What it was stated to hold: one of `TYPES`.
    """

    def __init__(self, name: str, stated: ColumnType | None = None) -> None:
        self.name = name
        self.stated = stated
        self._fits = [_is_int, _is_float, _is_bool] + ([] if name in _NEVER_A_LIST else [_is_list])
        self._is_code = bool(words_of(name) & _CODE_WORDS)
        self._is_price = is_price_name(name)
        self._prices: PriceColumn | None = PriceColumn()
        self._cells = 0
        self._numbers = 0
        self._empty = 0
        self._has_bar = False
        self._has_list = False
        self._cut_zero: tuple[int, str] | None = None
        self._odd: tuple[int, str] | None = None

    def look_at(self, number: int, value: Any) -> None:
        """Take one more cell into account, and where it stands."""
        if isinstance(value, list):
            self._has_list = True
            return
        cell = "" if value is None else str(value)
        if not cell:
            return
        if cell.lower() in _EMPTY:
            self._empty += 1
            self._fits = [test for test in self._fits if test in (_is_int, _is_float) or test(cell)]
            return
        self._cells += 1
        self._has_bar = self._has_bar or "|" in cell
        self._fits = [test for test in self._fits if test(cell)]
        if self._cut_zero is None and _TRAILING_ZERO.fullmatch(cell):
            self._cut_zero = (number, cell)
        price = parse_price(cell)
        if price is None:
            self._odd = self._odd or (number, cell)
        else:
            self._numbers += 1
        if self._prices is not None and not (price and self._prices.take(price)):
            self._prices = None
            self._odd = self._odd or (number, cell)

    @property
    def type(self) -> ColumnType:
        """What the column holds."""
        if self.stated is not None:
            return self.stated
        if self._holds_prices():
            return "price"
        if self._holds_numbers():
            return "number"
        if _is_bool in self._fits and self._cells:
            return "truth"
        is_list = self._has_list or (_is_list in self._fits and self._has_bar)
        return "list" if is_list else "text"

    def _holds_prices(self) -> bool:
        if self._prices is None or not self._cells or self._is_code or self._prices.mark is None:
            return False
        if None not in self._prices.currencies:
            return True
        plain = _is_float in self._fits
        if self._is_price:
            return not plain or self._prices.mark == "," or len(self._prices.currencies) > 1
        return not plain and self._prices.grouped

    def _holds_numbers(self) -> bool:
        if self._is_code or self._has_list or not self._cells:
            return False
        return _is_float in self._fits and not self._loses_zero()

    def _loses_zero(self) -> bool:
        return self._cut_zero is not None and not self._is_price

    def convert(self, value: Any) -> Attribute | Price | None:
        """Return the value of a cell; None where it is empty, or not what the column was stated to hold.

        Raises
        ------
        ValueError
            If it is not what the column holds: the table was changed since.
        """
        kind = self.type
        if isinstance(value, list):
            return [str(part) for part in value] if kind == "list" else "|".join(map(str, value))
        cell = str(value)
        if kind == "text":
            return cell
        if cell.lower() in _EMPTY and kind in ("number", "price"):
            return None
        converted = self._converted(kind, cell)
        if converted is None and self.stated is None:
            raise ValueError(cell)
        return converted

    def _converted(self, kind: ColumnType, cell: str) -> Attribute | Price | None:
        if kind == "number":
            return self._number(cell)
        if kind == "price":
            return parse_price(cell)
        if kind == "truth":
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(
                cell.lower()
            )
        return [part.strip() for part in cell.split("|") if part.strip()]

    def _number(self, cell: str) -> int | float | None:
        if _is_int in self._fits or (self.stated and _is_int(cell)):
            return int(cell)
        if _is_float(cell):
            return float(cell)
        price = parse_price(cell) if self.stated else None
        return price.value(self.decimal_mark) if price else None

    @property
    def decimal_mark(self) -> str:
        """What stands before the decimals of its prices."""
        return (self._prices and self._prices.mark) or "."

    def note(self, unit: str) -> str | None:
        """Say what a person should know of how the column was read; None where there is nothing to say."""
        if self.stated is not None:
            return self._note_of_empty(unit)
        kind = self.type
        if kind == "price" and self._prices and self._prices.ambiguous and len(self._prices.marks) > 1:
            example = self._prices.example
            value = Price(example, None).value(self.decimal_mark)
            return None if value is None else f"column {self.name}: {example} is read as {value:g}"
        if kind != "text" or self._is_code:
            return None
        if self._loses_zero() and _is_float in self._fits and self._cut_zero:
            number, cell = self._cut_zero
            return (
                f"column {self.name} is text: {cell} ({unit} {number}) would lose its last zero as a number; "
                f"--type {self.name}=number makes it one"
            )
        if self._odd and self._numbers and (self._is_price or 2 * self._numbers > self._cells):
            number, cell = self._odd
            return (
                f"column {self.name} is text: {cell[:40]!r} ({unit} {number}) is no number; "
                f"--type {self.name}=number leaves such cells empty"
            )
        return None

    def _note_of_empty(self, unit: str) -> str | None:
        if self.stated not in ("number", "price") or self._odd is None or self._cells == self._numbers:
            return None
        number, cell = self._odd
        count = self._cells - self._numbers
        return f"column {self.name}: {count} cells are no number, {cell[:40]!r} ({unit} {number}) first"


def whole_number(text: str) -> str:
    """Return an id without the ``.0`` that a program which knows floats alone has put behind it."""
    match = _WHOLE_FLOAT.fullmatch(text)
    return match[1] if match else text


def attribute_of(value: Any) -> Attribute | None:
    """Return what a filter can compare; None for nothing, which a number that is none (NaN) is as well.

    Raises
    ------
    TypeError
        What the value is, when it cannot be kept.
    """
    match value:
        case None | "" | [] | ():
            return None
        case str():
            return encodable(value)
        case int() if -(2**63) <= value < 2**63:  # true and false as well
            return value
        case float() | decimal.Decimal():
            return float(value) if math.isfinite(value) else None
        case datetime.date() | datetime.time():
            return value.isoformat()
        case list() | tuple() if all(isinstance(part, str) for part in value):
            return [encodable(part) for part in value if part]
    raise TypeError(f"{kind_name(value)}; leave the column out, or write it as text")


def identity_of(value: Any) -> str | None:
    """Return an id as text: whole numbers too, also those that came as floats; None for nothing.

    Raises
    ------
    TypeError
        What the value is, when it cannot be an id.
    """
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float | decimal.Decimal) and value == int(value):
        return str(int(value))
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(kind_name(value))
    return encodable(str(value))


def kind_name(value: object) -> str:
    """Say what a value is, in words."""
    names = {
        bool: "true or false",
        bytes: "bytes",
        dict: "nested columns",
        float: "a number",
        int: "a whole number of more than 64 bits",
        list: "a list of other things than texts",
    }
    return names.get(type(value), type(value).__name__)


def encodable(text: str) -> str:
    """Return a text that UTF-8 can hold: what stands for a byte of another encoding is written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def shown(path: object) -> str:
    """Return a path as messages show it: on one line, whatever its name holds."""
    text = str(path)
    return text if text.isprintable() else repr(text)[1:-1]


def checked_types(types: Mapping[str, str]) -> dict[str, ColumnType]:
    """Return stated types.

    Raises
    ------
    UsageError
        If one of them is not in `TYPES`.
    """
    checked: dict[str, ColumnType] = {}
    for name, given in types.items():
        match = next((known for known in TYPES if known == given), None)
        if match is None:
            raise UsageError(
                f"the type of {name!r}", f"there is no type {given!r}", f"use {', '.join(TYPES)}"
            )
        checked[name] = match
    return checked
