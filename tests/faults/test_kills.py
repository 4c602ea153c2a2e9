"""Killed at any moment: the catalogue opens, says what it holds, and nothing acknowledged is gone."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults import shop
from tests.faults.conftest import Nursery, copy_tree

KILLS = int(os.environ.get("SERUPA_KILLS", "200"))
SEED = int(os.environ.get("SERUPA_SEED", "0"))

Events = list[dict[str, Any]]
States = dict[str, Any]


class Known:
    """What a catalogue must hold, from what was told by the processes that were killed over it."""

    def __init__(self, held: States, tuned: bool) -> None:
        self.held, self.tuned = dict(held), tuned
        self.acknowledged = 0
        self._under_way: dict[str, Any] | None = None

    def hear(self, events: Events) -> None:
        """Take in what a process did: what it acknowledged is certain, what it had begun is not."""
        for event in events:
            if "done" in event and self._under_way is not None:
                self._do(self._under_way)
                self.acknowledged += 1
                self._under_way = None
            elif {"put", "drop", "tune"} & set(event):
                self._under_way = event

    def _do(self, event: dict[str, Any]) -> None:
        self.held.update(event.get("put", {}))
        for one in event.get("drop", ()):
            self.held.pop(one, None)
        self.tuned = event.get("tune", self.tuned)

    def compare(self, told: dict[str, Any]) -> None:
        """Compare with what the catalogue says: each item as it was, or as it was about to become."""
        found, event = told["holds"], self._under_way or {}
        put, dropped = event.get("put", {}), set(event.get("drop", ()))
        for one, state in self.held.items():
            if one in dropped and one not in found:
                continue
            assert one in found, f"{one} was acknowledged and is gone, while {event or 'nothing'}"
            assert found[one] in (state, put.get(one)), f"{one} is {found[one]}, not {state}, while {event}"
        for one in found.keys() - self.held.keys():
            assert found[one] == put.get(one), f"{one} is there, and was never added"
        assert told["tuned"] in (self.tuned, event.get("tune", self.tuned))
        self.held, self.tuned, self._under_way = dict(found), told["tuned"], None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("exact_below", "kills"), [(20_000, KILLS), (60, KILLS // 2)], ids=["scanned", "graph"]
)
def test_killed_at_random(nursery: Nursery, new: Path, exact_below: int, kills: int) -> None:
    """One catalogue, killed over and over while items are added, replaced, removed, and it is tuned."""
    rng = random.Random(SEED)  # noqa: S311
    known = Known({}, tuned=False)
    working = 0
    for number in range(kills):
        opening = number % 8 == 7  # some while it is opened, which is where it is repaired
        answer = nursery.ask(
            {
                "job": "work",
                "args": {"root": str(new), "seed": SEED + 1000 * number},
                "kill_s": rng.uniform(0.0, 0.05),
                "exact_below": exact_below,
                "kill_from_event": 0 if opening else rng.choice((1, 2, 2, 3, 4, 5)),
            }
        )
        events = answer["events"]
        assert answer["code"] == -9, (number, events[-2:])
        if events:
            assert "holds" in events[0], (number, events)
            known.compare(events[0])
            known.hear(events[1:])
            working += len(events) > 1
    (told,) = nursery.run("look", root=new)
    known.compare(told)
    print(f"{kills} kills, {working} while it worked, {known.acknowledged} changes acknowledged")
    assert working > kills / 2
    assert known.acknowledged > kills / 4


def downgrade(root: Path) -> None:
    """Make a catalogue's settings those of format 1."""
    file = shop.catalog_of(root) / "catalog.json"
    settings = json.loads(file.read_text()) | {"format": 1}
    for name in ("engine", "tuning", "checksum"):
        settings.pop(name)
    file.write_text(json.dumps(settings))


def nothing(root: Path) -> None:
    pass


def tuned(root: Path) -> None:
    # a kill leaves what a switch left behind, too
    (shop.catalog_of(root) / "points-7.new").mkdir()
    (shop.catalog_of(root) / "tuning-7.npz").write_bytes(b"unfinished")


def test_what_a_killed_process_was_writing_is_removed(root: Path) -> None:
    catalog = shop.catalog_of(root)
    left = [catalog / ".catalog.json.7-1.new", catalog / "points" / ".tally.log.7-1.new"]
    for file in left:
        file.write_bytes(b"unfinished")
    (catalog / ".mine.7-1.new").write_bytes(b"")
    shop.Catalog.open(catalog).close()
    assert not any(file.exists() for file in left)
    assert (catalog / ".mine.7-1.new").exists()


def test_a_catalogue_is_made_where_one_was_begun(new: Path) -> None:
    shop.catalog_of(new).mkdir(exist_ok=True)
    left = shop.catalog_of(new) / ".holder.json.7-1.new"
    left.write_bytes(b"unfinished")
    shop.create(new).close()
    assert not left.exists()


@pytest.mark.parametrize(
    ("job", "prepare", "exact_below"),
    [
        ("add_some", nothing, 20_000),
        ("add_some", nothing, 60),
        ("remove_some", nothing, 20_000),
        ("tune", tuned, 20_000),
        ("open_only", downgrade, 20_000),
    ],
    ids=["add", "first-graph", "remove", "tune", "upgrade"],
)
def test_killed_at_every_step(
    nursery: Nursery,
    root: Path,
    memory: Path,
    stock: States,
    job: str,
    prepare: Callable[[Path], None],
    exact_below: int,
) -> None:
    """Killed before and after each step; then it is whole, and the same command brings it to its end."""
    prepare(root)
    before = copy_tree(root, memory / "before")
    try:
        events = nursery.run(job, root=root, count_steps=True, exact_below=exact_below)
        steps = [e["step"] for e in events if "step" in e]
        assert len(steps) > 8
        (after,) = nursery.run("look", root=root)
        for number in _some(range(len(steps))):
            shutil.rmtree(root)
            copy_tree(before, root)
            events = nursery.run(job, root=root, kill_step=number, expect=-9, exact_below=exact_below)
            known = Known(stock, tuned=False)
            known.hear(events)
            (told,) = nursery.run("look", root=root)
            known.compare(told)
            if number % 3 == 0:
                nursery.run(
                    job, root=root, expect=None, exact_below=exact_below
                )  # what was removed already may be refused
                (told,) = nursery.run("look", root=root)
                if job != "remove_some":
                    assert told == after
        names = {entry.name for entry in shop.catalog_of(root).iterdir()}
        assert not {name for name in names if name.endswith(".new")}
    finally:
        shutil.rmtree(before)


def test_killed_at_every_step_of_making_one(nursery: Nursery, new: Path) -> None:
    steps = [e["step"] for e in nursery.run("fill", root=new, count=8, count_steps=True) if "step" in e]
    (after,) = nursery.run("look", root=new)
    for number in _some(range(len(steps))):
        shutil.rmtree(shop.catalog_of(new))
        nursery.run("fill", root=new, count=8, kill_step=number, expect=None)
        nursery.run("fill", root=new, count=8)  # what `serupa index` says: run it again
        (told,) = nursery.run("look", root=new)
        assert told == after


def test_killed_at_every_step_of_backup_and_restore(nursery: Nursery, root: Path, stock: States) -> None:
    """The catalogue stays what it was; a backup is whole or not there; so is a restored catalogue."""
    archive, catalog = root / "shop.backup", shop.catalog_of(root)
    steps = [e["step"] for e in nursery.run("back_up", root=root, count_steps=True) if "step" in e]
    assert len(steps) > 4
    for number in _some(range(len(steps))):
        archive.unlink(missing_ok=True)
        nursery.run("back_up", root=root, kill_step=number, expect=-9)
        if archive.exists():
            nursery.run("verify", root=root)
    nursery.run("back_up", root=root)
    assert nursery.run("look", root=root)[0]["holds"] == stock
    shutil.rmtree(catalog)
    steps = [e["step"] for e in nursery.run("bring_back", root=root, count_steps=True) if "step" in e]
    assert len(steps) > 20
    for number in _some(range(len(steps))):
        shutil.rmtree(catalog, ignore_errors=True)
        nursery.run("bring_back", root=root, kill_step=number, expect=-9)
        if not catalog.exists() or not any(catalog.iterdir()):
            nursery.run("bring_back", root=root)
        assert nursery.run("look", root=root)[0]["holds"] == stock


def test_killed_at_every_step_of_copying(nursery: Nursery, root: Path, stock: States) -> None:
    """The catalogue stays what it was; the same command then goes on, and the copy is proved to be whole."""
    copied = root / "copied"
    steps = [e["step"] for e in nursery.run("copy_over", root=root, count_steps=True) if "step" in e]
    assert len(steps) > 8
    for number in _some(range(len(steps))):
        shutil.rmtree(copied)
        nursery.run("copy_over", root=root, kill_step=number, expect=-9)
        assert nursery.run("look", root=root)[0]["holds"] == stock
        (report,) = nursery.run("copy_over", root=root)
        assert report["items"] == len(stock)
        assert nursery.run("look", root=root, name="copied")[0]["holds"] == stock


def _some(numbers: range) -> list[int]:
    """Return a dozen of the steps, or with SERUPA_KILLS above 200 all of them."""
    if KILLS > 200 or len(numbers) <= 12:
        return list(numbers)
    return sorted(random.Random(SEED).sample(numbers, 12))  # noqa: S311
