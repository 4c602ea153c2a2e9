"""An append-only log of searches, clicks and purchases: a file of JSON lines a day, removed when it is old.

It holds no address, key, cookie or photo, and no time but the hour; the number of a search ties what followed
to it and to nothing else.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec

from serupa.errors import InvalidInputError, UnavailableError, UsageError
from serupa.files.atomic import make_directory

FOLDER = "events"
"""Where a catalogue in a directory keeps its log."""

_DAY_BYTES = 1_000_000_000  # some millions of searches: whoever floods a server does not fill its disk
_WORDS = 100  # characters that are kept of what somebody wrote


class _Event(msgspec.Struct, frozen=True, tag_field="event", omit_defaults=True, kw_only=True):
    at: str = ""


class Search(_Event, tag="search", frozen=True):
    """A search, and the items that it showed.

    Parameters
    ----------
    id : str
        A number drawn for this search alone.
    by : {"photo", "item", "words"}
        What was searched with.
    shown : tuple of str
        Ids of items, from the top.
    item : str, optional
        The item that was searched with.
    words : str, optional
        What was written; only in small letters and cut to 100.
    kind : str, optional
        The kind of garment that a photo seemed to show.
    where : tuple of str
        The filters.
    close : bool, optional
        Whether the first hit was likely what was looked for; None where nobody can say.
    offset : int
        How many results earlier pages of the same search had shown.
    """

    id: str
    by: str
    shown: tuple[str, ...] = ()
    item: str | None = None
    words: str | None = None
    kind: str | None = None
    where: tuple[str, ...] = ()
    close: bool | None = None
    offset: int = 0

    def __post_init__(self) -> None:
        if self.words is not None:
            msgspec.structs.force_setattr(self, "words", " ".join(self.words.lower().split())[:_WORDS])


class Click(_Event, tag="click", frozen=True):
    """A result that was followed: to its page here (``item``), or to the shop."""

    search: str
    item: str
    to: str = "item"


class Purchase(_Event, tag="purchase", frozen=True):
    """An item that was bought, as the shop says; of which search, where it knows."""

    item: str
    search: str | None = None


Event = Search | Click | Purchase
_decoder = msgspec.json.Decoder(Event)


class EventLog:
    """A log in a directory. Several threads, and several processes on one machine, may append to it.

    Parameters
    ----------
    folder : path
        Made when the first event is written.
    days : int
        How many days events are kept.

    Raises
    ------
    UsageError
        If it is less than a day.
    """

    def __init__(self, folder: str | os.PathLike[str], days: int) -> None:
        if days < 1:
            raise UsageError("events", "are kept for at least a day", "0 days is no log at all")
        self.folder, self._days = Path(folder), days
        self._lock = threading.Lock()
        self._swept: date | None = None

    def sweep(self) -> None:
        """Remove the files of days that are over."""
        today = datetime.now(UTC).date()
        for day, path in _days(self.folder):
            if day <= today - timedelta(days=self._days):
                path.unlink(missing_ok=True)

    def append(self, event: Event) -> None:
        """Write an event at the end of today's file, unless that is full, and remove what is too old.

        Raises
        ------
        UnavailableError
            If it cannot be written.
        """
        now = datetime.now(UTC)
        line = msgspec.json.encode(msgspec.structs.replace(event, at=now.strftime("%Y-%m-%dT%HZ"))) + b"\n"
        try:
            with self._lock:
                if self._swept != now.date():
                    make_directory(self.folder)
                    self.sweep()
                    self._swept = now.date()
                # one write to a file open for appending: lines of several processes do not mix
                descriptor = os.open(self._path(now.date()), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                try:
                    if os.fstat(descriptor).st_size < _DAY_BYTES:
                        os.write(descriptor, line)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise UnavailableError(
                self.folder, f"events cannot be written: {error.strerror or error}"
            ) from None

    def _path(self, day: date) -> Path:
        return self.folder / f"{day.isoformat()}.jsonl"


def folder_of(catalog: Path | None, given: str | os.PathLike[str] | None) -> Path:
    """Return where a log is: where that is said, else in a catalogue's directory.

    Raises
    ------
    UsageError
        If the catalogue has no directory, and nothing is said.
    """
    if given is not None:
        return Path(given)
    if catalog is None:
        raise UsageError(
            "events", "have no directory of a catalogue's own to be kept in", "give --events DIR"
        )
    return catalog / FOLDER


def read_events(folder: str | os.PathLike[str], days: int | None = None) -> Iterator[Event]:
    """Yield the events of a log, oldest first; a line that was cut off is passed over.

    Parameters
    ----------
    folder : path
    days : int, optional
        Only those of so many days, today included.

    Raises
    ------
    InvalidInputError
        If a file cannot be read.
    """
    since = None if days is None else datetime.now(UTC).date() - timedelta(days=days - 1)
    for day, path in _days(Path(folder)):
        if since is not None and day < since:
            continue
        try:
            with path.open("rb") as lines:
                for line in lines:
                    try:
                        yield _decoder.decode(line)
                    except msgspec.MsgspecError:
                        continue
        except OSError as error:
            raise InvalidInputError(path, f"cannot be read: {error.strerror or error}") from None


def _days(folder: Path) -> list[tuple[date, Path]]:
    """Return the files of a log by their days, oldest first; none where there is no log."""
    found = []
    for path in folder.glob("*.jsonl"):
        try:
            found.append((date.fromisoformat(path.stem), path))
        except ValueError:
            continue  # not ours
    return sorted(found)
