"""The seal notices damage, and never takes the engine's own work for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from serupa import Catalog, Item
from serupa.catalog.backup import check
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
    (tmp_path / "edge_config.json").write_bytes(b"{}")
    seal = ChecksumManifest(tmp_path)
    seal.write()
    return tmp_path


def test_comes_back_where_opening_changed_nothing(sealed: Path) -> None:
    seal = ChecksumManifest(sealed)
    seal.set_aside()
    assert not (sealed / "seal.json").exists()
    assert ChecksumManifest(sealed).check()  # of a process that was killed, and had changed nothing
    seal.write()
    (sealed / "segments" / "data").write_bytes(b"two")
    with pytest.raises(DamagedError):
        ChecksumManifest(sealed).check()


def test_proves_nothing_where_a_process_was_killed_that_changed_something(sealed: Path) -> None:
    seal = ChecksumManifest(sealed)
    seal.set_aside()
    (sealed / "segments" / "data").write_bytes(b"two")
    assert not ChecksumManifest(sealed).check()


def test_is_written_anew_where_opening_changed_something(sealed: Path) -> None:
    seal = ChecksumManifest(sealed)
    seal.set_aside()
    (sealed / "segments" / "data").write_bytes(b"two")
    seal.write()
    assert ChecksumManifest(sealed).check()
    assert {path.name for path in sealed.iterdir()} == {"segments", "edge_config.json", "seal.json"}


def test_what_is_changed_has_new_checksums(
    tmp_path: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where files are so large that opening compares their sizes alone."""
    monkeypatch.setattr("serupa.storage.local.integrity._READ_WHOLE", 0)
    with Catalog.create(tmp_path / "catalog") as catalog:
        catalog.add(items)
    with Catalog.open(tmp_path / "catalog") as catalog:
        payloads = [
            dict(point.payload) | {"norm": 2.5} for batch in catalog.store.scroll() for point in batch
        ]
        catalog.store.replace_payloads(payloads)
    monkeypatch.undo()
    assert check(tmp_path / "catalog") == len(items)
