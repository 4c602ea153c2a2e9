"""The errors that Serupa raises on purpose, by cause.

::

    SerupaError
    ├── UsageError           the call itself is wrong: an option, a filter, a metric that is not there
    ├── InvalidInputError    what was given cannot be used: a photo, a table, a card
    ├── NotFoundError        no such item, file or catalogue
    ├── ConflictError        something else is there, or somebody else is at work
    ├── DamagedError         stored files are not what was written
    └── UnavailableError     it cannot be done now or here: no answer, no room, no weights
        └── MissingExtraError   an optional dependency is not installed
"""

from __future__ import annotations

import re

# Control characters, those that turn the direction of text, and what stands for undecodable bytes
_NOT_SHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return a text on one line that drives no terminal: control characters are written out."""
    return _NOT_SHOWN.sub(lambda found: repr(found[0])[1:-1], text)


class SerupaError(Exception):
    """Base of every error that Serupa raises on purpose.

    The command line prints it as one line and exits with its `exit_status`; the REST API answers with its
    `http_status`.

    Parameters
    ----------
    subject : object
        What it is about: a path, an address, an item's id, the name of an option.
    problem : str
        What is wrong with it.
    hint : str
        What to do about it.
    """

    exit_status = 1
    http_status = 500

    def __init__(self, subject: object, problem: str = "", hint: str = "") -> None:
        self.subject = subject
        self.problem = problem
        self.hint = hint
        super().__init__(subject, problem, hint)

    def __str__(self) -> str:
        """Return the error as one line: ``subject: problem; hint``."""
        text = f"{self.subject}: {self.problem}" if self.problem else str(self.subject)
        return printable(f"{text}; {self.hint}" if self.hint else text)


class UsageError(SerupaError):
    """The call itself is wrong: an option, a filter, a metric that the catalogue does not have."""

    exit_status = 2
    http_status = 422


class InvalidInputError(SerupaError):
    """What was given cannot be used: a photo, a table, a card, a checkpoint."""

    exit_status = 1
    http_status = 422


class NotFoundError(SerupaError):
    """There is no such item, file or catalogue."""

    exit_status = 3
    http_status = 404


class ConflictError(SerupaError):
    """Something else is there already, or another process is at work on it."""

    exit_status = 4
    http_status = 409


class DamagedError(SerupaError):
    """Stored files are not what was written."""

    exit_status = 5
    http_status = 500


class UnavailableError(SerupaError):
    """It cannot be done now or here: a server does not answer, a disk is full, weights cannot be had."""

    exit_status = 6
    http_status = 503


class MissingExtraError(UnavailableError):
    """A feature needs an optional dependency that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(feature, "needs an extra", f"pip install 'serupa[{extra}]'")
        self.extra = extra


EARLIER_NAMES = frozenset(
    (
        "CatalogError",
        "EncoderError",
        "FilterError",
        "ImageError",
        "ItemNotFoundError",
        "SourceError",
        "StoreError",
        "TasteError",
        "WeightsError",
    )
)
"""Of errors before there was one for each cause: whoever catches one of them catches every error."""

TYPE_CHECKING = False
if not TYPE_CHECKING:  # for programs that run, not for code that is written now

    def __getattr__(name: str) -> object:
        if name in EARLIER_NAMES:
            return SerupaError
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
