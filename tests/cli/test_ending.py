"""However a command ends, the user sees one line and the exit status says which kind of end it was."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serupa import cli
from serupa.cli import commands, printing
from serupa.errors import (
    ConflictError,
    DamagedError,
    InvalidInputError,
    MissingExtraError,
    NotFoundError,
    SerupaError,
    UnavailableError,
    UsageError,
)


@pytest.fixture
def ending(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[BaseException], tuple[object, str]]:
    """Run a command that raises; return its exit status and what it says."""

    def run(error: BaseException) -> tuple[object, str]:
        def command() -> None:
            raise error

        monkeypatch.setattr(commands, "app", command)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (SerupaError, 1),
        (InvalidInputError, 1),
        (UsageError, 2),
        (NotFoundError, 3),
        (ConflictError, 4),
        (DamagedError, 5),
        (UnavailableError, 6),
    ],
)
def test_errors_by_cause(
    kind: type[SerupaError], status: int, ending: Callable[[BaseException], tuple[object, str]]
) -> None:
    said = ending(kind("shop", "cannot be", "make another"))
    assert said == (status, "serupa: shop: cannot be; make another\n")


def test_a_missing_extra_is_named(ending: Callable[[BaseException], tuple[object, str]]) -> None:
    status, said = ending(MissingExtraError("serupa serve", "web"))
    assert (status, "serupa[web]" in said) == (6, True)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (ZeroDivisionError("odd"), 1, "ZeroDivisionError: odd"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "output: No space left"),
        (OSError(errno.EACCES, "Permission denied", "a\nb"), 1, r"a\nb: Permission denied"),
        (MemoryError(), 1, "memory"),
    ],
)
def test_foreign_errors_are_one_line(
    error: BaseException,
    status: int,
    words: str,
    ending: Callable[[BaseException], tuple[object, str]],
) -> None:
    code, said = ending(error)
    assert (code, said.count("\n")) == (status, 1)
    assert words in said


def test_developers_see_where_it_came_from(
    monkeypatch: pytest.MonkeyPatch, ending: Callable[[BaseException], tuple[object, str]]
) -> None:
    monkeypatch.setenv(cli.TRACEBACK, "1")
    with pytest.raises(ZeroDivisionError):
        ending(ZeroDivisionError("odd"))


def test_names_drive_no_terminal(
    capsys: pytest.CaptureFixture[str], ending: Callable[[BaseException], tuple[object, str]]
) -> None:
    evil = "\x1b]52;c;ZXZpbA==\x07\x9b2JSALE\u202e"
    printing.table([("Name", "left")], [(evil,)])
    printing.pairs({"Name": evil})
    printing.line(evil)
    printing.as_json({"name": evil + "\udcff"})
    shown = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)
    assert r"\x1b]52" in shown
    assert json.loads(shown[shown.index("{") :])["name"] == evil + "\udcff"
    assert "\x1b" not in ending(NotFoundError(evil, "is not there"))[1]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_letters_that_the_output_cannot_hold(encoding: str) -> None:
    code = """
from serupa import cli
from serupa.cli import commands, printing
def app():
    printing.table([("Name", "left")], [("caf\\u00e9 \\U0001f457",)])
    printing.message("caf\\u00e9 \\U0001f457")
    printing.as_json(["caf\\u00e9 \\U0001f457"])
commands.app = app
cli.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        check=True,
    )
    out = done.stdout.decode(encoding)
    assert json.loads(out[out.rindex("[") :]) == ["caf\u00e9 \U0001f457"]
    assert done.stderr.startswith(b"caf")


def serupa(*arguments: str, stdout: int | io.FileIO = subprocess.DEVNULL) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "serupa", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["encoders", "list", "--json"]])
def test_an_output_that_is_full(arguments: list[str]) -> None:
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
        status, said = serupa(*arguments, stdout=full)
    assert status == 1
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_whoever_stops_reading_is_told_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        _, said = serupa("encoders", "list", "--json", stdout=writing)
    finally:
        os.close(writing)
    assert said == ""


@pytest.mark.parametrize("while_importing", [True, False])
def test_ctrl_c(while_importing: bool) -> None:
    code = f"""
import os, signal, sys, types
if {while_importing}:
    class Finder:
        def find_spec(self, name, *_):
            if name == "serupa.cli.commands":
                os.kill(os.getpid(), signal.SIGINT)
    sys.meta_path.insert(0, Finder())
    sys.argv = ["serupa", "--version"]
else:
    import serupa.encoders as encoders
    def interrupted():
        os.kill(os.getpid(), signal.SIGINT)
    encoders.known_encoders = interrupted
    sys.argv = ["serupa", "encoders", "list"]
from serupa.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "serupa: stopped\n")


def test_ctrl_c_of_which_a_library_makes_another_error(
    ending: Callable[[BaseException], tuple[object, str]],
) -> None:
    error = ImportError("initialization failed")
    error.__cause__ = KeyboardInterrupt()
    assert ending(error) == (130, "serupa: stopped\n")
    hidden = MissingExtraError("reading Parquet tables", "parquet")
    hidden.__context__ = error
    assert ending(hidden) == (130, "serupa: stopped\n")


def test_warnings_of_libraries_stay_with_developers() -> None:
    code = """
import warnings
from serupa import cli
from serupa.cli import commands
commands.app = lambda: warnings.warn("odd")
cli.main()
"""
    for environment, shown in ({}, False), ({cli.TRACEBACK: "1"}, True):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | environment,
        )
        assert ("odd" in done.stderr) == shown


@pytest.mark.parametrize("width", [20, 40, 120])
def test_numbers_are_whole_however_narrow_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    columns = [("Rank", "right"), ("Name", "left"), ("Distance", "right"), ("Similarity", "right")]
    printing.table([*columns, ("Id", "left")], [("1", "white linen shirt", "0.1234", "0.8766", "white.jpg")])
    shown = capsys.readouterr().out
    for value in ("0.1234", "0.8766"):
        assert value in shown


def test_errors_by_their_earlier_names() -> None:
    """Programs that catch what a room raised once catch what it raises now."""
    import serupa
    from serupa import errors

    for name in errors.EARLIER_NAMES:
        assert getattr(errors, name) is getattr(serupa, name) is SerupaError
    with pytest.raises(AttributeError):
        errors.NothingError  # noqa: B018


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_streams_that_are_closed(closed: str) -> None:
    command = f"{sys.executable} -m serupa encoders list --json {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
