"""A minute of fuzzing in all; SERUPA_FUZZ_SECONDS gives each target more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serupa.errors import SerupaError
from tests.fuzz.fuzz import corpus
from tests.fuzz.targets import TARGETS, ours, seeds

SECONDS = os.environ.get("SERUPA_FUZZ_SECONDS", "8")


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "api"])
def test_what_was_kept_passes(name: str) -> None:
    inputs = [*seeds(name), *corpus(name)]
    assert inputs
    for data in inputs:
        TARGETS[name](data)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_fuzz(name: str, tmp_path: Path) -> None:
    """In a process of its own, with bounds on memory and on the time of each input."""
    command = [sys.executable, "-m", "tests.fuzz.fuzz", name, "--seconds", SECONDS]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "SERUPA_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=60 + 4 * int(SECONDS),
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    print((done.stdout + done.stderr)[-400:])


def test_the_fuzzer_can_fail() -> None:
    """Only one line of ours passes."""
    with pytest.raises(ValueError, match="not ours"), ours():
        raise ValueError("not ours")
    with pytest.raises(AssertionError), ours():
        raise SerupaError("")
    with ours():
        raise SerupaError("one line")
