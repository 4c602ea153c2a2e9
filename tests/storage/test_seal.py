"""The seal notices damage, and never takes the engine's own work for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from serupa import Catalog, Item
from serupa.errors import DamagedError
from serupa.storage.local.integrity import ChecksumManifest


def test_removing_in_several_processes_is_no_damage(tmp_path: Path, items: list[Item]) -> None:
    """After deletions the engine repeats its log when it opens, which changes files that were sealed."""
    with Catalog.create(tmp_path / "catalog") as catalog:
        catalog.add(items)
    for number in range(3):
        with Catalog.open(tmp_path / "catalog") as catalog:
            catalog.remove([items[number].id])
        with Catalog.open(tmp_path / "catalog") as catalog:
            assert len(catalog) == len(items) - number - 1
        with Catalog.open(tmp_path / "catalog") as catalog:
            assert len(catalog) == len(items) - number - 1


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / "data").write_bytes(b"one")
    seal = ChecksumManifest(tmp_path)
    seal.write()
    return tmp_path


def test_comes_back_where_opening_changed_nothing(sealed: Path) -> None:
    seal = ChecksumManifest(sealed)
    seal.set_aside()
    # killed here, there would be no seal, and nothing that could be wrong
    assert not (sealed / "seal.json").exists()
    seal.put_back()
    (sealed / "segments" / "data").write_bytes(b"two")
    with pytest.raises(DamagedError):
        ChecksumManifest(sealed).check()


def test_is_written_anew_where_opening_changed_something(sealed: Path) -> None:
    seal = ChecksumManifest(sealed)
    seal.set_aside()
    (sealed / "segments" / "data").write_bytes(b"two")
    seal.put_back()
    assert not (sealed / "seal.json").exists()
    seal.write()
    ChecksumManifest(sealed).check()
