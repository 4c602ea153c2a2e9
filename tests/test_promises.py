"""docs/reliability.md names a test for each promise: it has to be there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
TEXT = (TESTS.parent / "docs" / "reliability.md").read_text("utf-8").partition("## Measured")[0]


def test_each_promise_has_its_test() -> None:
    count = 0
    for line in TEXT.splitlines():
        file = None
        for named, test in re.findall(r"`([\w/]+\.py)?(?:::(test_\w+))?`", line):
            file = TESTS / named if named else file
            if file is None:
                continue
            assert file.is_file(), line
            assert not test or f"def {test}(" in file.read_text("utf-8"), f"{test}: {line}"
            count += 1
    assert count > 40
