"""The files that catalog.json names: a catalogue's points, and the tuning that they were made with.

Whatever replaces them is written beside them under the next number, and catalog.json, replaced in one step,
says which are in use. What it does not name is a leftover: of a switch that was cut short, or of the one
before.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FIRST_POINTS = "points"
"""The points of a catalogue that was never switched over."""

_OURS = re.compile(r"points(?:-(?P<points>\d+))?(?:\.new)?|tuning-(?P<tuning>\d+)\.npz")


def points_name(number: int) -> str:
    """Return the name of the points directory with this number."""
    return f"{FIRST_POINTS}-{number}"


def tuning_name(number: int) -> str:
    """Return the name of the tuning file with this number."""
    return f"tuning-{number}.npz"


def is_points(name: object) -> bool:
    """Return whether a name is one that points directories have."""
    match = _OURS.fullmatch(name) if isinstance(name, str) else None
    return match is not None and not match["tuning"] and not match[0].endswith(".new")


def is_tuning(name: object) -> bool:
    """Return whether a name is one that tuning files have."""
    match = _OURS.fullmatch(name) if isinstance(name, str) else None
    return match is not None and match["tuning"] is not None


def next_number(directory: Path) -> int:
    """Return a number that nothing in a catalogue's directory has."""
    matches = (_OURS.fullmatch(entry.name) for entry in directory.iterdir())
    return 1 + max((int(match["points"] or match["tuning"] or 1) for match in matches if match), default=1)


def clear_leftovers(directory: Path, settings: Mapping[str, Any]) -> None:
    """Remove the points and tunings that are not in use. The caller holds the catalogue's lock.

    Nothing is removed while the points in use are not there: then something else is wrong, and what looks
    like a leftover may be all that is left.
    """
    if not (directory / settings["points"]).exists():
        return
    tuning = settings.get("tuning")
    used = {settings["points"], None if tuning is None else tuning["file"]}
    for entry in list(directory.iterdir()):
        if _OURS.fullmatch(entry.name) and entry.name not in used:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
