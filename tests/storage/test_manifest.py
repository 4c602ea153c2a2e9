"""Manifests of all times: older ones are upgraded in place, newer, damaged and other engines' refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serupa import Catalog
from serupa.encoders import load_card
from serupa.errors import DamagedError, UnavailableError
from serupa.storage import manifest as formats
from serupa.storage.local.backend import LocalBackend
from serupa.storage.manifest import CatalogManifest, StoreLayout, TuningInfo

OLD = {  # what version 0.1 wrote, word for word
    "format": 1,
    "serupa": "0.1.0",
    "created": "2026-01-31T12:00:00+00:00",
    "weights": None,
    "metrics": ["cosine"],
    "points": "points",
    "fields": {},
}
TUNING = TuningInfo(dimension=64, when="2026", file="tuning-3.npz", sha256="0" * 64, notes={"ridge": 0.1})


@pytest.fixture
def catalog_path(tmp_path: Path) -> Path:
    Catalog.create(tmp_path / "c", kinds=0.0).close()
    return tmp_path / "c"


def written(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((path / "catalog.json").read_text())
    return values


def without_checksum(path: Path, version: int) -> None:
    """Make a catalogue's manifest one of format 1 or 2."""
    now = written(path)
    del now["checksum"]
    if version == 1:
        now = OLD | {name: now[name] for name in ("encoder", "weights_sha256")}
    (path / "catalog.json").write_text(json.dumps(now | {"format": version}))


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_one_is_upgraded_in_place_and_kept(catalog_path: Path, version: int) -> None:
    without_checksum(catalog_path, version)
    old, before = catalog_path / f"catalog-format-{version}.json", written(catalog_path)
    with Catalog.open(catalog_path) as catalog:
        assert catalog.manifest.tuning is None
        assert len(catalog) == 0
    now = written(catalog_path)
    assert now["format"] == formats.FORMAT == 3
    assert now["engine"] == formats.EDGE_ENGINE
    assert {name: now[name] for name in OLD if name != "format"} == {
        name: before[name] for name in OLD if name != "format"
    }
    assert json.loads(old.read_bytes()) == before
    Catalog.open(catalog_path).close()
    assert json.loads(old.read_bytes()) == before


def test_weights_that_were_once_a_pickle_are_found_in_their_file_of_today(tmp_path: Path) -> None:
    Catalog.create(tmp_path / "c", "efficientnet-lite0", resize="pad", kinds=0.0).close()
    values = written(tmp_path / "c")
    values["weights_sha256"] = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    values["encoder"]["weights"] = {"file": "efficientnet-lite0-57934424.pth", "package": "gone"}
    manifest = CatalogManifest.from_dict(values, "a catalogue")
    card = load_card("efficientnet-lite0")
    assert manifest.weights_sha256 == card.weights.sha256
    assert manifest.card == formats.replace(card, resize="pad")


def test_nothing_is_written_where_it_is_only_read(catalog_path: Path) -> None:
    without_checksum(catalog_path, 1)
    before = written(catalog_path)
    assert LocalBackend(catalog_path).load().engine == formats.EDGE_ENGINE
    assert written(catalog_path) == before
    assert not list(catalog_path.glob("catalog-format-*"))


def test_the_first_copy_is_the_one_that_is_kept(catalog_path: Path) -> None:
    """An upgrade that was cut short after the copy goes on from it and does not lose it."""
    without_checksum(catalog_path, 1)
    (catalog_path / "catalog-format-1.json").write_text("the copy")
    Catalog.open(catalog_path).close()
    assert (catalog_path / "catalog-format-1.json").read_text() == "the copy"
    assert written(catalog_path)["format"] == formats.FORMAT


def test_a_newer_one_is_refused_and_not_touched(catalog_path: Path) -> None:
    newer = json.dumps(written(catalog_path) | {"format": formats.FORMAT + 1, "serupa": "9.0"})
    (catalog_path / "catalog.json").write_text(newer)
    with pytest.raises(UnavailableError) as told:
        Catalog.open(catalog_path)
    assert "9.0" in told.value.problem
    assert (catalog_path / "catalog.json").read_text() == newer


def test_another_engines_points_are_refused(catalog_path: Path) -> None:
    manifest = LocalBackend(catalog_path).load()
    LocalBackend(catalog_path).write(formats.replace(manifest, engine="qdrant-edge 1.4"))
    with pytest.raises(UnavailableError) as told:
        Catalog.open(catalog_path)
    assert "qdrant-edge 1.4" in told.value.problem


def test_the_engine_is_the_one_that_is_installed() -> None:
    from importlib.metadata import version

    assert f"qdrant-edge {version('qdrant-edge-py').rsplit('.', 1)[0]}" == formats.EDGE_ENGINE


def test_a_write_that_fails_leaves_the_old_one(catalog_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, before = LocalBackend(catalog_path), (catalog_path / "catalog.json").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UnavailableError):
        backend.write(backend.load())
    assert (catalog_path / "catalog.json").read_bytes() == before
    assert not list(catalog_path.glob("*.new"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metrics", ["manhattan"]),
        ("fields", {"price": "number"}),
        ("weights_sha256", "1" * 64),
        ("created", "yesterday"),
    ],
)
def test_a_change_by_anybody_else_is_noticed(catalog_path: Path, name: str, value: object) -> None:
    (catalog_path / "catalog.json").write_text(json.dumps(written(catalog_path) | {name: value}))
    with pytest.raises(DamagedError):
        Catalog.open(catalog_path)


def test_it_comes_back_as_it_was_written() -> None:
    manifest = CatalogManifest(
        card=load_card("efficientnet-lite0"),
        weights_sha256="0" * 64,
        metrics=("euclidean", "cosine"),
        fields={"price": "number", 'a "name"': "text"},
        tuning=TUNING,
        layout=StoreLayout(replicas=2, quantization="none"),
    )
    assert CatalogManifest.from_json(manifest.to_json(), "c") == manifest
    assert manifest.dimensions == {"euclidean": 64, "cosine": 64, "raw": 1280}
    assert TUNING.to_dict()["ridge"] == 0.1


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": True},
        {"format": 0},
        {"metrics": []},
        {"metrics": ["cosine", "cosine"]},
        {"metrics": ["hamming"]},
        {"fields": {"price": "money"}},
        {"weights_sha256": "../../etc"},
        {"tuning": {"file": "t", "sha256": ""}},
        {"tuning": {"file": "t", "sha256": "", "dimension": 4096}},
        {"encoder": {"name": "x"}},
    ],
)
def test_what_nobody_writes_is_damaged(wrong: dict[str, Any]) -> None:
    values = CatalogManifest(
        card=load_card("efficientnet-lite0"), weights_sha256="0" * 64, metrics=("cosine",)
    ).to_dict()
    with pytest.raises(DamagedError):
        CatalogManifest.from_dict(values | wrong, "c")
