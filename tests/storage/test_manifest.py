"""Catalogues of other times: older ones are upgraded in place, newer ones and other engines' refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serupa import Catalog, CatalogError
from serupa.storage import manifest as formats

OLD = {  # what version 0.1 of the settings looked like, word for word
    "format": 1,
    "serupa": "0.1.0",
    "created": "2026-01-31T12:00:00+00:00",
    "weights": None,
    "metrics": ["cosine"],
    "points": "points",
    "fields": {},
}


@pytest.fixture
def catalog_path(tmp_path: Path) -> Path:
    Catalog.create(tmp_path / "c").close()
    return tmp_path / "c"


def settings_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "catalog.json").read_text())
    return found


@pytest.fixture
def old(catalog_path: Path) -> Path:
    """A catalogue whose settings are those of format 1."""
    now = settings_of(catalog_path)
    kept = {name: now[name] for name in ("encoder", "weights_sha256")}
    (catalog_path / "catalog.json").write_text(json.dumps(OLD | kept))
    return catalog_path


def test_an_older_one_is_upgraded_in_place_and_kept(old: Path) -> None:
    before = (old / "catalog.json").read_bytes()
    with Catalog.open(old) as catalog:
        assert catalog.tuning is None
        assert len(catalog) == 0
    now = settings_of(old)
    assert now["format"] == formats.FORMAT == 2
    assert now["engine"] == formats.ENGINE
    assert {name: now[name] for name in OLD if name != "format"} == {
        n: v for n, v in OLD.items() if n != "format"
    }
    assert (old / "catalog-format-1.json").read_bytes() == before
    Catalog.open(old).close()
    assert (old / "catalog-format-1.json").read_bytes() == before


def test_nothing_is_written_where_it_is_only_read(old: Path) -> None:
    before = (old / "catalog.json").read_bytes()
    assert formats.read_settings(old)["format"] == 2
    assert (old / "catalog.json").read_bytes() == before
    assert not (old / "catalog-format-1.json").exists()


def test_the_first_copy_is_the_one_that_is_kept(old: Path) -> None:
    """An upgrade that was cut short after the copy goes on from it and does not lose it."""
    (old / "catalog-format-1.json").write_text("the copy")
    Catalog.open(old).close()
    assert (old / "catalog-format-1.json").read_text() == "the copy"
    assert settings_of(old)["format"] == 2


def test_every_format_has_a_way_up() -> None:
    assert sorted(formats._UPGRADES) == list(range(1, formats.FORMAT))


def test_a_newer_one_is_refused_and_not_touched(catalog_path: Path) -> None:
    newer = json.dumps(settings_of(catalog_path) | {"format": formats.FORMAT + 1, "serupa": "9.0"})
    (catalog_path / "catalog.json").write_text(newer)
    with pytest.raises(CatalogError, match=r"newer Serupa \(9\.0\); pip install -U serupa"):
        Catalog.open(catalog_path)
    assert (catalog_path / "catalog.json").read_text() == newer


def test_another_engines_points_are_refused(catalog_path: Path) -> None:
    other = json.dumps(settings_of(catalog_path) | {"engine": "qdrant-edge 1.4"})
    (catalog_path / "catalog.json").write_text(other)
    with pytest.raises(CatalogError, match="its points are of qdrant-edge 1.4"):
        Catalog.open(catalog_path)


def test_the_engine_is_the_one_that_is_installed() -> None:
    from importlib.metadata import version

    assert f"qdrant-edge {version('qdrant-edge-py').rsplit('.', 1)[0]}" == formats.ENGINE


def test_a_write_that_fails_leaves_the_old_one(catalog_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (catalog_path / "catalog.json").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CatalogError, match=r"catalog\.json: cannot be written: No space left"):
        formats.write_json(catalog_path / "catalog.json", {"much": "more"})
    assert (catalog_path / "catalog.json").read_bytes() == before
    assert not (catalog_path / "catalog.json.new").exists()
