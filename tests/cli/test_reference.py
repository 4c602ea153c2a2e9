"""The reference in docs/ is made from the code; here it must still be what the code says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_reference_is_up_to_date() -> None:
    command = [sys.executable, "-m", "typer", "serupa.cli.commands", "utils", "docs", "--name", "serupa"]
    made = subprocess.run(
        [*command, "--title", "The serupa command"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "80"},
    )
    assert made.stdout.strip() == PAGE.read_text().strip(), "run: make docs"
