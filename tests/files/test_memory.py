"""Freed memory is kept: photos that follow one another are decoded into the same pages."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from serupa.cli.commands import app
from serupa.files import memory

_DECODE = """
import resource, sys, threading
from serupa.images import photo_pixels
from serupa.files.memory import keep_freed_memory

def decode():
    for _ in range(5):
        photo_pixels(sys.argv[1], 224)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        photo_pixels(sys.argv[1], 224)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 10)

if sys.argv[2] == "kept":
    keep_freed_memory()
thread = threading.Thread(target=decode)
thread.start()
thread.join()
"""


def faults_per_photo(photo: str, mode: str) -> int:
    command = [sys.executable, "-c", _DECODE, photo, mode]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, whose allocator this is about")
def test_pages_are_used_again(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (395, 319, 3), np.uint8)
    photo = tmp_path / "photo.jpg"
    Image.fromarray(levels).resize((1276, 1580)).save(photo, quality=80, progressive=True, subsampling=0)
    kept, given_back = (faults_per_photo(str(photo), mode) for mode in ("kept", "given back"))
    assert given_back > 400
    assert kept < given_back / 4


@pytest.mark.parametrize("where", ["darwin", "linux"])
def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(memory.sys, "platform", where)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    memory.keep_freed_memory.__wrapped__()


@pytest.mark.parametrize(("command", "kept"), [("tune", True), ("evaluate", True), ("info", False)])
def test_commands_that_decode_many_photos_keep_it(
    command: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting for the whole process: made by commands, never by a call of the library."""
    calls: list[str] = []
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: calls.append(command))
    CliRunner().invoke(app, [command, "-c", str(tmp_path / "none")])
    assert bool(calls) == kept
