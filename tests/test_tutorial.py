"""Every step of docs/tutorial.md prints what it shows.

``console`` blocks are commands and their output, ``python`` blocks are doctests; both are run in order in one
folder. ``...`` stands for anything, white space for white space, a decimal for one about as large.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.md"
BLOCKS = re.findall(r"^```(console|python)\n((?s:.*?))^```$", TUTORIAL.read_text("utf-8"), re.MULTILINE)

DECIMAL = r"[0-9]+\.[0-9]+"


def run(command: str, folder: Path) -> str:
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "120"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        text=True,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def check(expected: str, actual: str) -> None:
    """Compare an output with what is shown of it."""
    kinds = [(r"\.\.\.", "(?s:.*?)"), (r"\s+", r"\s+"), ("─+", "─+"), (DECIMAL, f"({DECIMAL})")]
    pattern = ""
    for part in re.split("(" + "|".join(kind for kind, _ in kinds) + ")", expected.strip()):
        pattern += next((stands for kind, stands in kinds if re.fullmatch(kind, part)), re.escape(part))
    numbers = [float(number) for number in re.findall(DECIMAL, expected)]
    match = re.fullmatch(pattern, actual.strip())
    assert match, f"shown:\n{expected}\nprinted:\n{actual}"
    assert [float(number) for number in match.groups()] == pytest.approx(numbers, abs=0.02)


@pytest.mark.slow
def test_each_step_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    steps = 0
    for kind, text in BLOCKS:
        if kind == "python":
            examples = doctest.DocTestParser().get_doctest(text, {}, TUTORIAL.name, str(TUTORIAL), 0)
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
            assert runner.run(examples).failed == 0
        else:
            command, _, expected = text.removeprefix("$ ").partition("\n")
            check(expected, run(command, tmp_path))
        steps += 1
    assert steps > 10


def test_another_output_is_noticed() -> None:
    check("a ... c\n── 0.51 d", "a b\n\n c  ──── 0.50\nd\n")
    for wrong in ("a b c ── 0.60 d", "a b c ── 0.51", "b c ── 0.51 d"):
        with pytest.raises(AssertionError):
            check("a ... c\n── 0.51 d", wrong)
