"""The power is cut: what was acknowledged is there, and each flush in the source is what it takes.

See `tests.faults.recorder` for how a cut is played; ``SERUPA_CUTS=1`` cuts after each single flush.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import shop, tracing
from tests.faults.conftest import Nursery, copy_tree
from tests.faults.test_kills import Known

BETWEEN = int(os.environ.get("SERUPA_CUTS", "40"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not tracing.FLUSHING, reason="needs Linux on x86-64 or ARM"),
]

JOBS = ("fill", "create_bare", "change_much", "change_after_kill", "keep_photos", "back_up", "bring_back")
_ANEW = ("fill", "create_bare", "keep_photos")


class Cut:
    """What one job did, and what power cuts left of it."""

    def __init__(self, nursery: Nursery, stocked: Path, drawn: Path, room: Path, job: str) -> None:
        self._nursery, self._job = nursery, job
        self.root = copy_tree(drawn if job in _ANEW else stocked, room / "root")
        arguments: dict[str, Any] = {"root": str(self.root)}
        if job == "fill":
            arguments["count"] = 8
        elif job == "change_after_kill":
            nursery.run("add_and_die", root=self.root, expect=-9)
            job = "change_much"
        elif job == "bring_back":
            nursery.run("back_up", root=self.root)
            shutil.rmtree(shop.catalog_of(self.root))
        self._look = "look_at_photos" if job in ("keep_photos", "create_bare") else "look"
        self._before: dict[str, Any] = {}
        if shop.catalog_of(self.root).exists():  # looked at in a copy: opening mends what a kill has left
            self._before = self._holds(copy_tree(self.root, room / "before"))
        if job == "bring_back":
            self._whole = self._holds(stocked)
        (room / "cuts").mkdir()
        record = {
            "root": str(self.root),
            "into": str(room / "cuts"),
            "between": BETWEEN,
            "deep": job == "fill",
        }
        answer = nursery.ask({"job": job, "args": arguments, "record": record})
        self.events: list[dict[str, Any]] = answer["events"]
        self.cuts: list[dict[str, Any]] = answer["cuts"]
        assert not [event for event in self.events if "crash" in event or "refused" in event], self.events

    def _holds(self, root: Path | str) -> dict[str, Any]:
        (told,) = self._nursery.run(self._look, root=root)
        assert "holds" in told, told
        return dict(told["holds"])

    def check(self, cut: dict[str, Any]) -> None:
        """Raise `AssertionError` unless what was acknowledged before a cut is there, whole."""
        root, heard = Path(cut["root"]), self.events[: cut["events"]]
        done = any("done" in event for event in heard)
        if self._job == "back_up":
            if done or (root / "shop.backup").exists():
                (told,) = self._nursery.run("verify", root=root)
                assert "done" in told
            assert self._holds(root) == self._before
        elif self._job == "bring_back":
            if done or shop.catalog_of(root).exists():
                assert self._holds(root) == self._whole
        elif done or (shop.catalog_of(root) / "catalog.json").exists():
            known = Known(self._before, tuned=False)
            known.hear(heard)
            (told,) = self._nursery.run(self._look, root=root)
            assert "holds" in told, told
            known.compare(told)


@pytest.fixture(scope="module")
def recorded(nursery: Nursery, stocked: Path, drawn: Path, memory: Path) -> Iterator[Callable[[str], Cut]]:
    """Records a job when it is first asked for."""

    @functools.cache
    def record(job: str) -> Cut:
        room = memory / f"cut-{job}"
        room.mkdir()
        rooms.append(room)
        return Cut(nursery, stocked, drawn, room, job)

    rooms: list[Path] = []
    yield record
    for room in rooms:
        shutil.rmtree(room)


@pytest.mark.parametrize("job", JOBS)
def test_what_was_acknowledged_is_there(recorded: Callable[[str], Cut], job: str) -> None:
    done = recorded(job)
    cuts = [cut for cut in done.cuts if not cut["without"]]
    assert len(cuts) > 3
    print(f"{job}: {len(cuts)} power cuts")
    for cut in cuts:
        try:
            done.check(cut)
        except AssertionError as error:
            raise AssertionError(f"{cut}: {error}") from error


def test_each_flush_is_needed(recorded: Callable[[str], Cut]) -> None:
    """Without any one of them a cut loses something: so taking one out of the source is noticed here."""
    needed: dict[str, bool] = {}
    for job in JOBS:
        done = recorded(job)
        for cut in done.cuts:
            place = cut["without"]
            if place and not needed.setdefault(place, False):
                try:
                    done.check(cut)
                except AssertionError:
                    needed[place] = True
    assert len(needed) > 12
    print(f"{len(needed)} places that flush")
    idle = [place for place, is_needed in needed.items() if not is_needed]
    assert not idle, "\n".join(idle)
