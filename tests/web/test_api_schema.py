"""The API does what its description says, whatever it is asked: made-up requests to a real server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serupa import Catalog, Item
from tests.web.test_api_server import KEY, get, serving

# To the description any bytes are a photo and any text is a filter; what they are is found out later
UNCHECKED = "positive_data_acceptance"


def test_no_request_breaks_it(tmp_path: Path, items: list[Item]) -> None:
    pytest.importorskip("schemathesis")
    with Catalog.create(tmp_path / "catalog") as made:
        made.add(items[:6])
    with serving(tmp_path / "catalog", SERUPA_API_KEY=KEY) as (url, process):
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            *("run", f"{url}/openapi.json", "--no-color", "--continue-on-failure"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "8", "--seed", "1"),
            *("--header", f"X-API-Key: {KEY}", "--exclude-checks", UNCHECKED),
            *("--generation-database", "none"),
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        assert get(f"{url}/readyz") == {"status": "ok"}
        process.terminate()
        _, errors = process.communicate(timeout=20)
        assert "Traceback" not in errors
