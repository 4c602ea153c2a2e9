"""A disk that fails, once or from then on, with EIO or ENOSPC: named, and nothing acknowledged is lost.

``SERUPA_ERRORS=100`` tries so many of each command, ``SERUPA_SEED`` others.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.faults import shop, tracing
from tests.faults.conftest import Nursery, copy_tree
from tests.faults.test_kills import Known

ERRORS = int(os.environ.get("SERUPA_ERRORS", "12"))
SEED = int(os.environ.get("SERUPA_SEED", "0"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not tracing.CHANGING, reason="needs Linux on x86-64"),
]

States = dict[str, Any]


@pytest.mark.parametrize("job", ["add_some", "remove_some", "tune", "back_up", "bring_back", "open_only"])
def test_a_call_that_fails(nursery: Nursery, root: Path, memory: Path, stock: States, job: str) -> None:
    rng = random.Random(f"{SEED} {job}")  # noqa: S311
    if job == "bring_back":
        nursery.run("back_up", root=root)
        shutil.rmtree(shop.catalog_of(root))
    before = copy_tree(root, memory / "before")
    names = ("catalog", ".catalog.restoring", "shop.backup", ".shop.backup.new")  # not the test's own files
    how: dict[str, Any] = {
        "of": [str(root / name) for name in names],
        "at": None,
        "on": False,
        "error": errno.EIO,
    }
    try:
        count = nursery.ask({"job": job, "args": {"root": str(root)}, "fail": how})["count"]
        assert count > 5
        print(f"{job}: {count} calls, {min(ERRORS, count)} failed")
        for at in sorted(rng.sample(range(count), min(ERRORS, count))):
            shutil.rmtree(root)
            copy_tree(before, root)
            how |= {"at": at, "on": rng.random() < 0.4, "error": rng.choice((errno.EIO, errno.ENOSPC))}
            answer = nursery.ask({"job": job, "args": {"root": str(root)}, "fail": how})
            events, where = answer["events"], (at, how, answer["what"])
            assert answer["code"] == 0, (where, events[-1:])
            was_said = any("done" in event for event in events)
            if job == "bring_back":
                assert was_said or not shop.catalog_of(root).exists(), where
                if was_said:
                    assert nursery.run("look", root=root)[0].get("holds") == stock, where
                continue
            (told,) = nursery.run("look", root=root)
            assert "holds" in told, (where, told)
            known = Known(stock, tuned=False)
            known.hear(events)
            known.compare(told)
            if job == "back_up" and (was_said or (root / "shop.backup").exists()):
                assert "done" in nursery.run("verify", root=root)[0], where
    finally:
        shutil.rmtree(before)
