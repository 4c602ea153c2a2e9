"""The API does what its description says, whatever it is asked: made-up requests to a real server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from serupa import Catalog, Item
from tests.web.test_api_server import KEY, get, serving

# To the description any bytes are a photo and any text is a filter; what they are is found out later
UNCHECKED = "positive_data_acceptance"
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
KEYS = f"""
[auth.openapi.HTTPBearer]
bearer = "{KEY}"
[auth.openapi.APIKeyHeader]
api_key = "{KEY}"
"""


@pytest.mark.slow
def test_no_request_breaks_it(tmp_path: Path, items: list[Item]) -> None:
    pytest.importorskip("schemathesis")
    with Catalog.create(tmp_path / "catalog", metrics=("cosine", "euclidean")) as made:
        made.add(items)
    (tmp_path / "schemathesis.toml").write_text(KEYS)
    with serving(tmp_path / "catalog", SERUPA_API_KEY=KEY) as (url, process):
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            *("run", f"{url}/openapi.json", "--no-color", "--continue-on-failure"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "12", "--seed", "1"),
            *("--request-timeout", "20", "--exclude-checks", UNCHECKED, "--generation-database", "none"),
        ]
        hooked = os.environ | {"SCHEMATHESIS_HOOKS": str(HOOKS)}
        done = subprocess.run(
            command, cwd=tmp_path, env=hooked, capture_output=True, text=True, timeout=200, check=False
        )
        told = re.sub(r"(.{400}).+", r"\1 ...", done.stdout)  # made-up addresses can be very long
        assert done.returncode == 0, told[-8000:] + done.stderr[-2000:]
        assert get(f"{url}/readyz") == {"status": "ok"}
        process.tell(signal.SIGTERM)
        code, log = process.ended()
    assert code == 0
    assert "Traceback" not in log, log[log.index("Traceback") - 300 :][:3000]
    asked = Counter(
        (line["method"], line["route"], line["status"])
        for line in map(json.loads, (one for one in log.splitlines() if one.startswith("{")))
    )
    for method, route, status in (  # not refused at the door: what was made up reached what it was made for
        ("POST", "/api/v1/search", 200),
        ("POST", "/api/v1/items", 201),
        ("DELETE", "/api/v1/items/{item_id:path}", 204),
        ("GET", "/api/v1/items/{item_id:path}/similar", 200),
        ("GET", "/api/v1/facets", 200),
    ):
        assert asked[method, route, status] > 0, (method, route, asked)
