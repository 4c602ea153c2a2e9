"""Tables that list photos: CSV and TSV, JSON Lines, Parquet."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from serupa.errors import MissingExtraError, SourceError
from serupa.items import Attribute, Item

_PARQUET_ROWS = 1024  # at once in memory

_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")  # what fits 64 bits; leading zeros are part of a code
_FLOAT = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_BOOL = re.compile(r"true|false", re.IGNORECASE)
# Labels joined by bars. Prose has spaces around a bar, ends of sentences, or parts too long for a label.
_LABEL = r"[^\s|](?:[^|\n]{0,38}[^\s|])?"
_LIST = re.compile(rf"(?!.*[.!?](?:[\s|]|$)){_LABEL}(?:\|{_LABEL})*")
_NEVER_A_LIST = frozenset({"name", "title", "description"})


@dataclass(frozen=True, slots=True)
class Table:
    """How to read and to count one kind of table."""

    read: Callable[[Path], Iterator[Item]]
    count: Callable[[Path], int]


def shown(path: str | Path) -> str:
    """Return a path as messages show it: on one line, whatever its name holds."""
    text = str(path)
    return text if text.isprintable() else repr(text)[1:-1]


def encodable(text: str) -> str:
    """Return a text that UTF-8 can hold: what stands for a byte of another encoding is written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


# --- rows to items


@dataclass(slots=True)
class _Items:
    """Makes items out of the rows of one table, each with where it is for messages."""

    path: Path
    unit: str = "line"
    seen: set[int] = field(default_factory=set)

    def error(self, number: int, problem: str) -> SourceError:
        return SourceError(f"{shown(self.path)}, {self.unit} {number}: {problem}")

    def make(self, number: int, row: Mapping[str, Any]) -> Item:
        image = row.get("image")
        if not (isinstance(image, str) and image.strip()):
            raise self.error(number, "no image; the column must hold the path of a photo")
        photo = image if _is_url(image) else str(Path(self.path.parent, image))
        identity = self._text(number, row, "id") or encodable(image.replace(os.sep, "/"))
        # The hash alone: the ids of millions of rows need not stay in memory.
        if hash(identity) in self.seen:
            raise self.error(number, f"the id {identity[:80]!r} is there twice; give each row one of its own")
        self.seen.add(hash(identity))
        return Item(
            id=identity,
            image=photo,
            product_id=self._text(number, row, "product_id"),
            attributes=self._attributes(number, row),
        )

    def _text(self, number: int, row: Mapping[str, Any], name: str) -> str | None:
        value = row.get(name)
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.error(number, f"{name} must be a text, not {_kind(value)}")
        return encodable(str(value))

    def _attributes(self, number: int, row: Mapping[str, Any]) -> dict[str, Attribute]:
        attributes: dict[str, Attribute] = {}
        for name, value in row.items():
            if name in ("", "image", "id", "product_id"):
                continue
            try:
                attribute = _attribute(value)
            except TypeError as problem:
                raise self.error(number, f"column {name[:80]!r} holds {problem}") from None
            if attribute is not None:
                attributes[encodable(name)] = attribute
        return attributes


def _is_url(image: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", image) is not None


def _kind(value: object) -> str:
    names = {
        bool: "true or false",
        bytes: "bytes",
        dict: "nested columns",
        float: "a number",
        int: "a whole number of more than 64 bits",
        list: "a list of other things than texts",
    }
    return names.get(type(value), type(value).__name__)


def _attribute(value: Any) -> Attribute | None:
    """Return what a filter can compare; None for nothing, which a number that is none (NaN) is as well.

    Raises
    ------
    TypeError
        What the value is, when it cannot be kept.
    """
    match value:
        case None | "" | []:
            return None
        case str():
            return encodable(value)
        case int() if -(2**63) <= value < 2**63:  # true and false as well
            return value
        case float() | decimal.Decimal():
            return float(value) if math.isfinite(value) else None
        case datetime.date() | datetime.time():
            return value.isoformat()
        case list() if all(isinstance(part, str) for part in value):
            return [encodable(part) for part in value]
    raise TypeError(f"{_kind(value)}; leave the column out, or write it as text")


def _check_columns(path: Path, columns: list[str]) -> None:
    if "image" not in columns:
        found = shown(", ".join(name[:40] for name in columns[:20])) or "none"
        problem = "no column is called image; rename the one that holds the paths of the photos"
        raise SourceError(f"{shown(path)}: {problem} (columns: {found})")
    for name in columns:
        if name and columns.count(name) > 1:
            raise SourceError(f"{shown(path)}: two columns are called {shown(name[:40])}; rename one")


# --- CSV and TSV


def _read_csv(path: Path) -> Iterator[Item]:
    columns = _csv_header(path)
    return _csv_items(path, columns)


def _csv_items(path: Path, columns: list[str]) -> Iterator[Item]:
    # Two passes, so that the type of a column is known at its first row; errors come before any item, too.
    found = {name: _Column(name) for name in columns if name and name not in ("image", "id", "product_id")}
    checked = _Items(path)
    for number, row in _csv_rows(path, columns):
        checked.make(number, row)
        for name, column in found.items():
            column.look_at(row[name])
    if not checked.seen:
        raise SourceError(f"{shown(path)}: the table has no rows")
    convert = {name: column.converter() for name, column in found.items()}
    items = _Items(path)
    for number, row in _csv_rows(path, columns):
        try:
            typed = {n: convert[n](v) if n in convert and v else v for n, v in row.items()}
        except ValueError:
            raise items.error(number, "the table was changed while it was read; try again") from None
        yield items.make(number, typed)


def _csv_header(path: Path) -> list[str]:
    header = next((cells for _, cells in _csv_cells(path)), [])
    columns = [cell.strip() for cell in header]
    _check_columns(path, columns)
    return columns


def _csv_rows(path: Path, columns: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row and its line; a column without a name is left out."""
    cells = _csv_cells(path)
    next(cells, None)
    for number, row in cells:
        if len(row) != len(columns):
            raise SourceError(
                f"{shown(path)}, line {number}: {len(row)} cells where the header has {len(columns)} columns"
            )
        yield number, {name: cell.strip() for name, cell in zip(columns, row, strict=True) if name}


def _csv_cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    with _open_text(path) as file:
        reader = csv.reader(file, delimiter=_delimiter(path, file), strict=True, skipinitialspace=True)
        try:
            for row in reader:
                if any(cell.strip() for cell in row):  # spreadsheets leave rows of empty cells
                    yield reader.line_num, row
        except csv.Error as error:
            raise SourceError(f"{shown(path)}, line {reader.line_num}: not a row ({error})") from None
        except UnicodeDecodeError as error:
            raise _encoding_error(path, error) from None


def _delimiter(path: Path, file: TextIO) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    try:
        header = file.readline(65536)
    except UnicodeDecodeError as error:
        raise _encoding_error(path, error) from None
    file.seek(0)
    return ";" if ";" in header and "," not in header else ","  # spreadsheets write ; where , is in numbers


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


class _Column:
    """What the cells of one column of a CSV have in common."""

    def __init__(self, name: str) -> None:
        self.fits = [_is_int, _is_float, _is_bool] + ([] if name in _NEVER_A_LIST else [_is_list])
        self.has_bar = False

    def look_at(self, cell: str) -> None:
        if cell:
            self.has_bar = self.has_bar or "|" in cell
            self.fits = [test for test in self.fits if test(cell)]

    def converter(self) -> Callable[[str], Attribute]:
        if _is_int in self.fits:
            return int
        if _is_float in self.fits:
            return float
        if _is_bool in self.fits:
            return lambda cell: cell.lower() == "true"
        if _is_list in self.fits and self.has_bar:
            return lambda cell: cell.split("|")
        return str


def _count_csv(path: Path) -> int:
    return max(0, sum(1 for _ in _csv_cells(path)) - 1)


# --- text files


def _open_text(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise SourceError(f"{shown(path)}: cannot be read ({error.strerror})") from None


def _encoding_error(path: Path, error: UnicodeDecodeError) -> SourceError:
    """Name the line and the byte: the decoder knows its place only within the block that it was given."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as first:
                where = f"line {number}, byte {first.start + 1} (0x{line[first.start]:02x})"
                return SourceError(f"{shown(path)}, {where}: not UTF-8; save the table as UTF-8")
    return SourceError(f"{shown(path)}: not UTF-8 ({error.reason}); save the table as UTF-8")


# --- JSON Lines


def _read_jsonl(path: Path) -> Iterator[Item]:
    with _open_text(path):
        pass
    return _jsonl_items(path)


def _jsonl_items(path: Path) -> Iterator[Item]:
    items = _Items(path)
    for number, line in _jsonl_lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "too deep or too long")
            raise items.error(number, f"not JSON ({reason})") from None
        if not isinstance(row, dict):
            raise items.error(number, "not a JSON object; write one object a line")
        if not items.seen:
            _check_columns(path, list(row))
        yield items.make(number, row)
    if not items.seen:
        raise SourceError(f"{shown(path)}: the table has no rows")


def _jsonl_lines(path: Path) -> Iterator[tuple[int, str]]:
    with _open_text(path) as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
        except UnicodeDecodeError as error:
            raise _encoding_error(path, error) from None


def _count_jsonl(path: Path) -> int:
    return sum(1 for _ in _jsonl_lines(path))


# --- Parquet


def _read_parquet(path: Path) -> Iterator[Item]:
    file = _open_parquet(path)
    columns = [name for name in file.schema_arrow.names if not name.startswith("__index_level_")]
    _check_columns(path, columns)
    if not file.metadata.num_rows:
        raise SourceError(f"{shown(path)}: the table has no rows")
    return _parquet_items(path, file, columns)


def _parquet_items(path: Path, file: Any, columns: list[str]) -> Iterator[Item]:
    items = _Items(path, "row")
    number = 0
    for rows in _parquet_rows(path, file, columns):
        for row in rows:
            number += 1
            yield items.make(number, row)


def _parquet_rows(path: Path, file: Any, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    batches = file.iter_batches(batch_size=_PARQUET_ROWS, columns=columns)
    while True:
        try:
            batch = next(batches, None)
            rows = None if batch is None else _microseconds(batch).to_pylist()
        except Exception as error:  # a damaged file shows in many ways
            raise SourceError(f"{shown(path)}: a damaged Parquet table ({_one_line(error)})") from None
        if rows is None:
            return
        yield rows


def _microseconds(batch: Any) -> Any:
    """Cut times to microseconds: Python's own times hold no more."""
    import pyarrow as pa

    schema = pa.schema(
        field.with_type(pa.timestamp("us", field.type.tz)) if pa.types.is_timestamp(field.type) else field
        for field in batch.schema
    )
    return batch.cast(schema, safe=False)


def _open_parquet(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("reading Parquet tables", "parquet") from None
    try:
        return pyarrow.parquet.ParquetFile(path)
    except Exception as error:
        raise SourceError(f"{shown(path)}: not a Parquet table ({_one_line(error)})") from None


def _count_parquet(path: Path) -> int:
    return int(_open_parquet(path).metadata.num_rows)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:120]


_CSV = Table(_read_csv, _count_csv)
_JSONL = Table(_read_jsonl, _count_jsonl)
TABLES = {
    ".csv": _CSV,
    ".tsv": _CSV,
    ".jsonl": _JSONL,
    ".ndjson": _JSONL,
    ".parquet": Table(_read_parquet, _count_parquet),
}
"""Kinds of tables by the ending of their names."""
