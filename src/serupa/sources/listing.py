"""What a source lists: its items one after the other, and what of it could not be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from serupa.files.http import TIMEOUT_S
from serupa.items import Failure, Item

Entry = Item | Failure


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a source is to be read.

    Parameters
    ----------
    columns : mapping of str to str
        Our names of columns (``image``, ``product_id``, ``price``, any attribute) to the table's.
    types : mapping of str to str
        What a column is stated to hold: ``text``, ``number``, ``truth``, ``list`` or ``price``.
    exclude, include : sequence of str
        Patterns (``*.gif``, ``drafts/*``) of what is left out of a folder, and of what alone is taken.
    constants : mapping of str to str
        Attributes of all items; ``{product_id}`` and other columns are filled in.
    feed : str, optional
        The format of a shop's export, where it is not to be found out; ``table`` for none.
    images : str, optional
        The folder or address that relative photos start at; the table's own unless given.
    name : str, optional
        What the source is remembered by; its path or address unless given.
    timeout_s : float
        How long a download may take.
    strict : bool
        Whether a row that cannot be used is an error.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    constants: Mapping[str, str] = field(default_factory=dict)
    feed: str | None = None
    images: str | None = None
    name: str | None = None
    timeout_s: float = TIMEOUT_S
    strict: bool = False


@dataclass(slots=True)
class Listing:
    """The items of a source, and the rows, files and folders of it that cannot be used.

    Parameters
    ----------
    entries : callable
        Begins to read: an item or a failure each. May be called again where the source can be read again.
    name : str
        What the source is remembered by; empty for items that a program made.
    count : callable
        How many entries there will be; None where only reading would tell.
    notes : list of str
        What a person should know besides, a line each; complete when all was read.
    is_complete : bool
        Whether it was read to its end, and nothing of it broke off.
    timeout_s : float, optional
        How long the download of a photo may take.
    is_part : bool
        Whether it is one of several parts of a source, so that what it lacks may be in another.
    """

    entries: Callable[[], Iterator[Entry]]
    name: str = ""
    count: Callable[[], int | None] = lambda: None
    notes: list[str] = field(default_factory=list)
    is_complete: bool = False
    timeout_s: float | None = None
    is_part: bool = False

    def __iter__(self) -> Iterator[Entry]:
        self.is_complete = False
        is_whole = True
        for entry in self.entries():
            is_whole = is_whole and not (isinstance(entry, Failure) and entry.breaks_off)
            yield entry
        self.is_complete = is_whole

    def items(self) -> Iterator[Item]:
        """Yield the items alone."""
        return (entry for entry in self if isinstance(entry, Item))


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: where it stands, and its cells by column."""

    number: int
    cells: Mapping[str, Any]


RowOrFailure = Row | Failure
Rows = Iterable[RowOrFailure]


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it lies there.

    Parameters
    ----------
    name : str
        For messages.
    columns : tuple of str
        The names of its columns; of its first row where each row has its own.
    rows : callable
        Begins to read.
    count : callable
        How many rows there are.
    unit : str
        What its numbers count: line, row or item.
    is_text : bool
        Whether its cells are text whose meaning is to be found out, as in CSV.
    """

    name: str
    columns: tuple[str, ...]
    rows: Callable[[], Iterator[RowOrFailure]]
    count: Callable[[], int | None]
    unit: str = "line"
    is_text: bool = False

    def failure(self, number: int, problem: str, identity: str = "", image: str = "") -> Failure:
        """Return what is wrong with a row, with its place."""
        place = f"{self.unit} {number}"
        return Failure(identity, image, f"{self.name}, {place}: {problem}", problem=f"{place}: {problem}")

    def break_off(self, number: int, problem: str) -> Failure:
        """Return why nothing can be read from a row on."""
        return replace(self.failure(number, problem), breaks_off=True)
