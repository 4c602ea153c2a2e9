"""What a catalogue's files look like, by version: older ones are upgraded in place, newer ones are refused.

`catalog.json` says its format. An upgrade changes `catalog.json` alone, and in one step; what it was before
is kept beside it, as ``catalog-format-N.json``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from serupa.encoders import Card
from serupa.errors import CatalogError, SerupaError
from serupa.files.atomic import sync_directory
from serupa.storage.local.generations import FIRST_POINTS, is_points, is_tuning
from serupa.vectors import METRICS

FORMAT = 2
"""Version of catalog.json; raised when an older Serupa could not read a newer catalogue."""

ENGINE = "qdrant-edge 0.9"
"""What wrote the points. An engine that cannot read them needs another name here, and an upgrade."""

Settings = dict[str, Any]


def _from_1(settings: Settings) -> Settings:
    """Format 1 did not say which engine its points are of, nor always where they are."""
    return {"points": FIRST_POINTS, "tuning": None} | settings | {"engine": ENGINE}


_UPGRADES: dict[int, Callable[[Settings], Settings]] = {1: _from_1}
"""By the format that an upgrade starts from; each leads to the next."""


def read_settings(path: Path) -> Settings:
    """Read a catalogue's settings as they would be in the format of today; nothing is written.

    Parameters
    ----------
    path : Path
        The catalogue's directory.

    Raises
    ------
    CatalogError
        If there is no catalogue, its settings are damaged, or they are of a newer format.
    """
    file = path / "catalog.json"
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        version = settings["format"]
        if not isinstance(version, int) or isinstance(version, bool) or version < min(_UPGRADES):
            raise ValueError(f"its format is {version!r:.40}")
        if version > FORMAT:
            raise CatalogError(
                f"{path}: was written by a newer Serupa ({settings['serupa']}); pip install -U serupa"
            )
        upgraded = _upgraded(settings)
        _check(upgraded)
    except (FileNotFoundError, NotADirectoryError):
        raise CatalogError(
            f"{path}: no catalogue there; make one with: serupa index SOURCE -c {path}"
        ) from None
    except CatalogError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SerupaError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CatalogError(
            f"{file}: damaged or unreadable: {reason}; restore a backup (serupa restore), or index again "
            "into a new directory"
        ) from error
    if upgraded["engine"] != ENGINE:
        raise CatalogError(
            f"{path}: its points are of {upgraded['engine']}, this Serupa reads those of {ENGINE}: use the "
            f"Serupa that wrote it ({upgraded['serupa']}), or index again into a new directory"
        )
    return upgraded


def upgrade(path: Path, settings: Mapping[str, Any]) -> None:
    """Write settings that `read_settings` brought to today's format. The caller holds the catalogue's lock.

    Raises
    ------
    CatalogError
        If the directory cannot be written.
    """
    file = path / "catalog.json"
    try:
        before = file.read_bytes()
        version = json.loads(before)["format"]
        if version == FORMAT:
            return
        kept = path / f"catalog-format-{version}.json"
        if not kept.exists():
            unfinished = kept.with_name(kept.name + ".new")
            _write(unfinished, before)
            unfinished.replace(kept)
        write_json(file, settings)
    except OSError as error:
        raise CatalogError(
            f"{path}: is of an older format, and cannot be written to upgrade it: {error.strerror or error}"
        ) from error


def write_json(file: Path, value: Any) -> None:
    """Replace a JSON file in one step: after a crash there is the old one or the new one.

    Raises
    ------
    CatalogError
        If it cannot be written; the old one is there then.
    """
    unfinished = file.with_name(file.name + ".new")
    try:
        _write(unfinished, json.dumps(value, indent=2, ensure_ascii=False).encode())
        unfinished.replace(file)
        sync_directory(file.parent)  # what it no longer names is removed next: not before it is there
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise CatalogError(f"{file}: cannot be written: {error.strerror or error}") from error


def _write(file: Path, data: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _upgraded(settings: Settings) -> Settings:
    while settings["format"] < FORMAT:
        version = settings["format"]
        settings = _UPGRADES[version](settings) | {"format": version + 1}
    return settings


def _check(settings: Settings) -> None:
    """Refuse settings that could not have been written by us: a damaged file may still be JSON.

    Names of files are those that we give, so that no other file is opened, whoever wrote them.
    """
    Card.from_dict(settings["encoder"])
    metrics, tuning, fields = settings["metrics"], settings["tuning"], settings["fields"]
    _require(isinstance(metrics, list) and 0 < len(metrics) == len(set(metrics)), "metrics")
    _require(set(metrics) <= set(METRICS), "metrics")
    _require(isinstance(settings["weights_sha256"], str), "weights_sha256")
    _require(re.fullmatch(r"[0-9a-f]{64}", settings["weights_sha256"]) is not None, "weights_sha256")
    _require(settings["weights"] is None or isinstance(settings["weights"], str), "weights")
    _require(all(isinstance(settings[name], str) for name in ("serupa", "created", "engine")), "serupa")
    _require(is_points(settings["points"]), "points")
    _require(isinstance(fields, dict) and set(fields.values()) <= {"text", "number", "words"}, "fields")
    if tuning is not None:
        _require(is_tuning(tuning["file"]) and isinstance(tuning["sha256"], str), "tuning")
        dimension = tuning["dimension"]
        _require(type(dimension) is int and 0 < dimension <= settings["encoder"]["dimension"], "tuning")


def _require(holds: bool, name: str) -> None:
    if not holds:
        raise ValueError(f"its {name} cannot be")
