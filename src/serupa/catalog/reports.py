"""What came of the last import and evaluation, kept in a catalogue's directory for the admin page."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from serupa.files.atomic import read_bounded, write_atomic

if TYPE_CHECKING:
    from serupa.storage.base import Backend

Name = Literal["import", "evaluation"]


def keep(backend: Backend, name: Name, report: dict[str, Any]) -> None:
    """Keep a report, in place of the one before; not worth failing for where it cannot be written."""
    if backend.folder is not None:
        dated = {"when": datetime.now(UTC).isoformat(timespec="seconds"), **report}
        with contextlib.suppress(OSError):
            write_atomic(backend.folder / f"{name}.json", json.dumps(dated).encode())


def kept(backend: Backend, name: Name) -> dict[str, Any] | None:
    """Return the last report; None where there is none that can be read."""
    if backend.folder is None:
        return None
    try:
        report = json.loads(read_bounded(backend.folder / f"{name}.json"))
    except (OSError, ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) else None
