"""Tables as they lie there: CSV and TSV in any dialect, JSON and JSON Lines, XML feeds, Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from serupa.errors import InvalidInputError, MissingExtraError, SerupaError
from serupa.files.atomic import open_regular
from serupa.sources.listing import Row, RowOrFailure, Table
from serupa.sources.values import shown

_BATCH_ROWS = 64  # of Parquet, at once in memory
_LONGEST_LINE = 4 * 2**20  # characters of JSON
_LARGEST_ROW = 4 * 2**20  # bytes
_LARGEST_PART = 2**30  # bytes of a row group, unpacked
_CHUNK_BYTES = 1 << 16
_DELIMITERS = (",", ";", "\t", "|")
_HEADER_CHARACTERS = 1 << 17


def open_table(path: Path, name: str = "") -> Table:
    """Open a table by the ending of its name; nothing but its header is read.

    Parameters
    ----------
    path : path
        A file.
    name : str
        What messages call it, where it is a copy.

    Raises
    ------
    InvalidInputError
        If it cannot be read at all, is not what its name says, or has no rows.
    MissingExtraError
        When it is a Parquet table and pyarrow is not installed.
    """
    return TABLES[path.suffix.lower()](path, name or shown(path))


def _counted(rows: Callable[[], Iterator[RowOrFailure]]) -> Callable[[], int]:
    return lambda: sum(1 for _ in rows())


# --- text files


def _open_text(path: Path, name: str) -> TextIO:
    """Open a text: UTF-8, or UTF-16 as Excel writes it; bytes of other encodings come as surrogates."""
    try:
        file = open_regular(path)
    except OSError as error:
        raise InvalidInputError(name, f"cannot be read ({error.strerror})") from None
    start = file.read(4)
    file.seek(0)
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if encoding == "utf-8-sig" and b"\0" in start:
        file.close()
        raise InvalidInputError(name, "not UTF-8 (UTF-16 without its mark?)", "save the table as UTF-8")
    errors = "replace" if encoding == "utf-16" else "surrogateescape"
    return io.TextIOWrapper(file, encoding, errors, newline="")


def _encoding_problem(text: str) -> str | None:
    """Name the first byte of a line that is not UTF-8."""
    byte = next((character for character in text if "\udc80" <= character <= "\udcff"), None)
    if byte is None:
        return None
    return f"byte 0x{ord(byte) - 0xDC00:02x} is not UTF-8; save the table as UTF-8"


# --- CSV and TSV


def _csv(path: Path, name: str) -> Table:
    with _open_text(path, name) as file:
        head = file.read(_HEADER_CHARACTERS)
    skipped, delimiter = _dialect(head, path.suffix.lower())
    header = _first_record(_without_lines(head, skipped), delimiter)
    problem = _encoding_problem("".join(header))
    if problem:
        raise InvalidInputError(name, f"line {skipped + 1}: {problem}")
    columns = tuple(cell.strip() for cell in header)
    for column in columns:
        if column and columns.count(column) > 1:
            raise InvalidInputError(name, f"two columns are called {shown(column[:40])}", "rename one")

    def rows() -> Iterator[RowOrFailure]:
        with _open_text(path, name) as file:
            records = _Records(file, delimiter)
            for _ in range(skipped):
                records.skip_line()
            next(iter(records), None)
            for number, cells, problem in records:
                made = _csv_row(columns, number, cells) if cells is not None else problem
                if isinstance(made, str):
                    yield table.failure(number, made)
                elif made is not None:
                    yield made

    table = Table(name, columns, rows, _counted(rows), is_text=True)
    return table


def _csv_row(columns: tuple[str, ...], number: int, cells: list[str]) -> Row | str | None:
    """Return a row, what is wrong with it, or nothing where it is empty, as spreadsheets leave them."""
    if not any(cell.strip() for cell in cells):
        return None
    problem = _encoding_problem("".join(cells))
    if problem:
        return problem
    while len(cells) > len(columns) and not cells[-1].strip():
        cells.pop()
    if len(cells) != len(columns):
        return f"{len(cells)} cells where the header has {len(columns)} columns"
    filled = {name: cell.strip() for name, cell in zip(columns, cells, strict=True) if name}
    return Row(number, filled)


def _dialect(head: str, ending: str) -> tuple[int, str]:
    """Return how many lines stand before the header, and what separates cells."""
    first, _, rest = head.partition("\n")
    said = first.strip().strip('"').lower()
    if said.startswith("sep=") and rest:
        separator = first.strip().strip('"')[4:5] or "\t"
        return 1, separator
    counts = {mark: len(_first_record(head, mark)) for mark in _DELIMITERS}
    preferred = "\t" if ending == ".tsv" else ","
    best = max(counts, key=lambda mark: (counts[mark], mark == preferred))
    return 0, best if counts[best] > 1 else preferred


def _without_lines(text: str, count: int) -> str:
    for _ in range(count):
        text = text.partition("\n")[2]
    return text


def _first_record(text: str, delimiter: str) -> list[str]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        return next(reader, [])
    except csv.Error:
        return []


class _Records:
    """The records of a CSV with their lines; one with a broken quote is a problem, and the next goes on."""

    def __init__(self, file: TextIO, delimiter: str) -> None:
        self._file = file
        self._delimiter = delimiter
        self._again: deque[str] = deque()  # lines that a broken record has taken
        self._taken: list[str] = []
        self._line = 0

    def skip_line(self) -> None:
        """Pass over one line."""
        next(self._lines(), None)

    def _lines(self) -> Iterator[str]:
        while True:
            line = self._again.popleft() if self._again else self._file.readline()
            if not line:
                return
            self._line += 1
            self._taken.append(line)
            yield line

    def __iter__(self) -> Iterator[tuple[int, list[str] | None, str]]:
        while True:
            lines = self._lines()
            reader = csv.reader(lines, delimiter=self._delimiter, strict=True, skipinitialspace=True)
            self._taken.clear()
            start = self._line + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                self._give_back()
                yield start, None, f"not a row ({error})"
                continue
            if cells is None:
                return
            yield start, cells, ""

    def _give_back(self) -> None:
        """Let all lines but the first of a broken record be read again."""
        again = self._taken[1:]
        self._line -= len(again)
        self._again.extendleft(reversed(again))


# --- JSON and JSON Lines


def _jsonl(path: Path, name: str) -> Table:
    with _open_text(path, name):
        pass

    def rows() -> Iterator[RowOrFailure]:
        with _open_text(path, name) as file:
            for number, line in enumerate(_lines(file), 1):
                if line.strip():
                    value = _encoding_problem(line) or _parsed(line)
                    yield Row(number, value) if isinstance(value, dict) else table.failure(number, value)

    table = Table(name, (), rows, _counted(rows))
    return _of_first_row(table)


def _lines(file: TextIO) -> Iterator[str]:
    """Yield lines; of one that is longer than any row, the beginning."""
    while line := file.readline(_LONGEST_LINE):
        yield line
        while len(line) == _LONGEST_LINE and not line.endswith("\n"):
            line = file.readline(_LONGEST_LINE)


def _parsed(line: str) -> dict[str, Any] | str:
    """Return an object, or what is wrong with it."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON ({getattr(error, 'msg', 'too deep or too long')})"
    return value if isinstance(value, dict) else "not a JSON object; write one object a line"


def _of_first_row(table: Table) -> Table:
    """Return a table with the columns of its first row that is one."""
    unusable = ""
    for row in table.rows():
        if isinstance(row, Row):
            return replace(table, columns=tuple(row.cells))
        unusable = unusable or row.reason
    raise InvalidInputError(unusable) if unusable else InvalidInputError(table.name, "the table has no rows")


def _json(path: Path, name: str) -> Table:
    """Open a JSON file with one list of objects, as a whole or under a name (``products``)."""
    with _open_text(path, name) as file:
        try:
            value = json.load(file)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(name, f"not JSON ({getattr(error, 'msg', 'too deep')})") from None
    lists = [value] if isinstance(value, list) else []
    if isinstance(value, dict):
        lists = [one for one in value.values() if isinstance(one, list)]
    if len(lists) != 1:
        raise InvalidInputError(
            name, "not a table", "give a list of objects, or an object with one such list"
        )
    (objects,) = lists

    def rows() -> Iterator[RowOrFailure]:
        for number, one in enumerate(objects, 1):
            made = Row(number, one) if isinstance(one, dict) else None
            yield made or table.failure(number, "not a JSON object")

    table = Table(name, (), rows, lambda: len(objects), unit="item")
    return _of_first_row(table)


# --- XML: RSS and Atom, an element an item


def _xml(path: Path, name: str) -> Table:
    with _open_text(path, name):
        pass

    def rows() -> Iterator[RowOrFailure]:
        items = _XmlItems()
        with open_regular(path) as file:
            while True:
                data = file.read(_CHUNK_BYTES)
                problem = items.feed(data)
                yield from items.taken()
                if problem:
                    yield table.break_off(items.line, f"the feed breaks off here ({problem})")
                if problem or not data:
                    return

    table = Table(name, (), rows, _counted(rows), is_text=True)
    first = next(table.rows(), None)
    if not isinstance(first, Row):
        reason = first.reason if first else f"{name}: no <item> or <entry> in this feed"
        raise InvalidInputError(reason)
    return _of_first_row(table)


class _XmlItems:
    """Rows of a feed as its text comes in: the children of each ``item`` or ``entry``, without namespaces."""

    def __init__(self) -> None:
        from xml.parsers import expat

        self._error = expat.ExpatError
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.EntityDeclHandler = self._refuse
        self._rows: list[Row] = []
        self._row: dict[str, Any] | None = None
        self._number = 0
        self._depth = 0
        self._cell: list[str] = []

    @property
    def line(self) -> int:
        """Where the parser is."""
        return self._parser.CurrentLineNumber

    def feed(self, data: bytes) -> str | None:
        """Parse more of it, nothing at its end; return what is wrong with it."""
        try:
            self._parser.Parse(data, not data)
        except (self._error, SerupaError) as error:
            return str(error)
        return None

    def taken(self) -> list[Row]:
        """Return the rows that are complete, once."""
        rows, self._rows = self._rows, []
        return rows

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(" ")[2]
        if self._row is None:
            if name in ("item", "entry"):
                self._row, self._number, self._depth = {}, self.line, 0
            return
        self._depth += 1
        if self._depth == 1:
            # an Atom link is an attribute
            self._cell = [attributes["href"]] if name == "link" and "href" in attributes else []

    def _text(self, text: str) -> None:
        if self._row is not None and self._depth == 1:
            self._cell.append(text)

    def _end(self, tag: str) -> None:
        if self._row is None:
            return
        if self._depth == 0:
            self._rows.append(Row(self._number, self._row))
            self._row = None
            return
        if self._depth == 1:
            self._add(tag.rpartition(" ")[2], "".join(self._cell).strip())
        self._depth -= 1

    def _add(self, name: str, text: str) -> None:
        assert self._row is not None  # noqa: S101 -- called within an item
        if not text:
            return
        before = self._row.get(name)
        if before is None:
            self._row[name] = text
        elif isinstance(before, list):
            before.append(text)
        else:
            self._row[name] = [before, text]

    @staticmethod
    def _refuse(*_: object) -> None:
        raise InvalidInputError("it declares entities of its own")


# --- Parquet


def _parquet(path: Path, name: str) -> Table:
    file = _open_parquet(path, name)
    columns = tuple(column for column in file.schema_arrow.names if not column.startswith("__index_level_"))

    def rows() -> Iterator[RowOrFailure]:
        opened = _open_parquet(path, name)
        batches = opened.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns))
        every = (cells for batch in batches for cells in _bounded_rows(batch))
        number = 0
        while True:
            number += 1
            try:
                cells = next(every)
            except StopIteration:
                return
            except Exception as error:  # a damaged file shows in many ways
                problem = f"a damaged Parquet table from here on ({_one_line(error)})"
                yield table.break_off(number, problem)
                return
            if cells is None:
                yield table.failure(number, f"more than {_LARGEST_ROW // 2**20} MiB in one row")
            else:
                yield Row(number, cells)

    table = Table(name, columns, rows, lambda: int(file.metadata.num_rows), unit="row")
    if not file.metadata.num_rows:
        raise InvalidInputError(name, "the table has no rows")
    return table


def _bounded_rows(batch: Any) -> Iterator[dict[str, Any] | None]:
    """Yield the rows of an Arrow batch; None for one that is too large to be turned into Python's objects.

    A text that many rows name is there once in the file and in Arrow, and would be there once for each row.
    """
    import pyarrow as pa

    def size(rows: Any) -> int:
        return sum(
            (one.dictionary_decode() if pa.types.is_dictionary(one.type) else one).nbytes
            for one in rows.columns
        )

    if batch.nbytes <= _LARGEST_ROW:  # dictionaries and all: then each row is smaller
        yield from python_rows(batch)
        return
    for number in range(batch.num_rows):
        row = batch.slice(number, 1)
        yield python_rows(row)[0] if size(row) <= _LARGEST_ROW else None


def python_rows(batch: Any) -> list[dict[str, Any]]:
    """Return the rows of an Arrow batch or table, its times cut to the microseconds of Python's own."""
    import pyarrow as pa

    schema = pa.schema(
        field.with_type(pa.timestamp("us", field.type.tz)) if pa.types.is_timestamp(field.type) else field
        for field in batch.schema
    )
    rows: list[dict[str, Any]] = batch.cast(schema, safe=False).to_pylist()
    return rows


def _open_parquet(path: Path, name: str) -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("reading Parquet tables", "parquet") from None
    try:
        schema = pyarrow.parquet.read_schema(path)
        texts = [field.name for field in schema if field.type in (pyarrow.string(), pyarrow.large_string())]
        file = pyarrow.parquet.ParquetFile(path, read_dictionary=texts)
        parts = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        largest = max((part.total_byte_size for part in parts), default=0)
    except Exception as error:
        raise InvalidInputError(name, f"not a Parquet table ({_one_line(error)})") from None
    if largest > _LARGEST_PART:
        problem = f"row groups of more than {_LARGEST_PART // 2**20} MiB"
        raise InvalidInputError(name, problem, "write it anew with smaller ones")
    return file


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


TABLES: dict[str, Callable[[Path, str], Table]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".txt": _csv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".xml": _xml,
    ".rss": _xml,
    ".parquet": _parquet,
}
"""Kinds of tables by the ending of their names."""
