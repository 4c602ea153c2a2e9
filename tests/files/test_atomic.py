"""A file is replaced in one step, and is on the disk when that is said."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from serupa.files.atomic import replacing, write_atomic


def test_a_file_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for data in (b"old", b"new"):
        write_atomic(file, data)
        assert file.read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_what_cannot_be_finished_leaves_the_old_one(tmp_path: Path, error: BaseException) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    with pytest.raises(type(error)), replacing(file) as stream:
        stream.write(b"half")
        raise error
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_nobody_sees_a_half(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_atomic(file, b"a" * 100_000)
    wrong = []

    def write(letter: bytes) -> None:
        for _ in range(50):
            write_atomic(file, letter * 100_000, durable=False)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        data = file.read_bytes()
        if data != data[:1] * 100_000:
            wrong.append(data)
    assert wrong == []


def test_durable_means_flushed_before_it_has_its_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def flushed(descriptor: int) -> None:
        steps.append("folder" if os.path.isdir(descriptor) else "file")  # noqa: PTH112
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        steps.append("name")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    write_atomic(tmp_path / "file", b"data")
    assert steps == ["file", "name", "folder"]
    write_atomic(tmp_path / "file", b"data", durable=False)
    assert steps == ["file", "name", "folder", "name"]
