"""What stands in a catalogue's directory besides catalog.json: stores and tunings under numbers."""

from __future__ import annotations

import re
from pathlib import Path

FIRST_STORE = "points"
STORE = re.compile(r"points(-\d+)?")
TUNING = re.compile(r"tuning-\d+\.npz")
REPLACEABLE = re.compile(r"points(-\d+)?(\.new)?|tuning-\d+\.npz")
"""What is left over where the manifest does not name it."""

UNFINISHED = re.compile(
    r"\.((catalog(-format-\d+)?|holder|import|evaluation)\.json"
    r"|advice\.npz|tuning-\d+\.npz|tally\.log)\.\d+-\d+\.new"
)
"""A file that a process was writing when it was killed: see `serupa.files.atomic.replacing`."""

_NUMBERED = re.compile(r"points-(\d+)(?:\.new)?|tuning-(\d+)\.npz")


def next_number(folder: Path) -> int:
    """Return a number that no store or tuning has."""
    matches = (_NUMBERED.fullmatch(entry.name) for entry in folder.iterdir())
    return 1 + max((int(match[1] or match[2]) for match in matches if match), default=1)


def unfinished(directory: Path) -> Path:
    """Return where a directory is made before it is moved to its place whole."""
    return directory.with_name(directory.name + ".new")
