"""Pipes, devices and files of holes where a file of ours should be: one line, at once, in little memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import shop
from tests.faults.conftest import copy_tree

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")

_LIMITED = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (2**31,) * 2); "
    "from serupa.cli import main; main()"
)


def hole(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(5 * 2**30)


def deep(path: Path) -> None:
    path.write_text("[" * 500_000)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def told(*arguments: object) -> str:
    """Run a command that is to fail; return what it said, which is one line."""
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode in (1, 2, 3, 5, 6), done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("make", [os.mkfifo, hole, deep, zeros], ids=["pipe", "hole", "deep", "device"])
@pytest.mark.parametrize("name", ["catalog.json", "points/seal.json", "points/edge_config.json"])
def test_in_a_catalogue(root: Path, tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    catalog = copy_tree(shop.catalog_of(root), tmp_path / "catalog")
    (catalog / name).unlink()
    make(catalog / name)
    assert Path(name).name in told("info", "-c", catalog) or name == "points/edge_config.json"


def test_who_holds_a_catalogue_is_written_over(root: Path, tmp_path: Path) -> None:
    catalog = copy_tree(shop.catalog_of(root), tmp_path / "catalog")
    (catalog / "holder.json").unlink(missing_ok=True)
    os.mkfifo(catalog / "holder.json")
    command = [sys.executable, "-m", "serupa", "info", "-c", str(catalog)]
    assert subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("make", [os.mkfifo, hole, zeros], ids=["pipe", "hole", "device"])
def test_given_to_a_command(root: Path, tmp_path: Path, make: Callable[[Path], None]) -> None:
    catalog = shop.catalog_of(root)
    for name in ("t.jsonl", "t.xml", "t.toml", "t.backup", "t.pth"):
        make(tmp_path / name)
    told("restore", tmp_path / "t.backup", "--check")
    told("serve", "-c", catalog, "--config", tmp_path / "t.toml")
    if make is not hole:  # which may be as large, and its lines many
        told("index", root, "-c", tmp_path / "new", "--weights", tmp_path / "t.pth")
        told("index", tmp_path / "t.jsonl", "-c", catalog)
        told("index", tmp_path / "t.xml", "-c", catalog)
    shutil.rmtree(tmp_path / "new", ignore_errors=True)
