"""The ``serupa`` command: one module a command, and here how every one of them ends."""

from __future__ import annotations

import os
import sys
import warnings
from io import TextIOWrapper

from serupa.errors import SerupaError, printable

TYPE_CHECKING = False  # as typing has it, which takes a while to load: Ctrl-C is heeded from `main` on
if TYPE_CHECKING:
    from typing import NoReturn, TextIO

TRACEBACK = "SERUPA_TRACEBACK"
"""Environment variable for developers: any value shows where an error came from, and libraries' warnings."""


def main() -> NoReturn:
    """Run the command line; whatever goes wrong is one line on stderr and an exit status of its own."""
    status = 0
    developing = bool(os.environ.get(TRACEBACK))
    if not developing and not sys.warnoptions:
        warnings.simplefilter("ignore")
    sys.stdout = _that_takes_everything(sys.stdout)
    sys.stderr = _that_takes_everything(sys.stderr)
    try:
        try:
            from serupa.cli.commands import app  # what is imported here takes longest: Ctrl-C may come now

            app()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        status = _end("stopped", 130)
    except BrokenPipeError:  # whoever read our output has stopped reading, as `| head` does
        status = _end("", 0)
    except Exception as error:
        if _was_interrupted(error):
            status = _end("stopped", 130)
        elif isinstance(error, SerupaError):
            status = _end(str(error), error.exit_status)
        elif developing:
            raise
        else:
            status = _end(_reason(error), 1)
    sys.exit(status)


def _was_interrupted(error: BaseException | None) -> bool:
    """Tell whether an error comes of Ctrl-C: libraries that are being loaded make others of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'output'}: {error.strerror}"
    if isinstance(error, MemoryError):
        return "not enough memory"
    return f"{type(error).__name__}: {error}; to see where it came from, set {TRACEBACK}=1"


def _end(text: str, status: int) -> int:
    """Say why the command ends, and let go of an output that cannot be written: Python would try again."""
    try:
        if text:
            print(printable(f"serupa: {text}"), file=sys.stderr, flush=True)
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _that_takes_everything(stream: TextIO | None) -> TextIO:
    """Return a stream that writes out what its encoding lacks; one that leads nowhere where there is none."""
    if stream is None:
        return open(os.devnull, "w")  # noqa: PTH123
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream
