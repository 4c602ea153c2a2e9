"""Random damage to any file of a catalogue that was closed, or whose process was killed: named, or harmless.

``SERUPA_FLIPS=600 pytest -s tests/faults/test_flips.py`` for more, ``SERUPA_SEED`` for others.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from serupa.files.atomic import blocks
from tests.faults import shop
from tests.faults.conftest import Nursery, copy_tree

FLIPS = int(os.environ.get("SERUPA_FLIPS", "40"))
SEED = int(os.environ.get("SERUPA_SEED", "0"))
_KINDS = ("bit", "bit", "bit", "byte", "beginning", "zeros", "cut", "empty", "delete")


def damage(file: Path, rng: random.Random) -> str:
    """Damage a file where there is something in it; say how."""
    with file.open("rb") as stream:
        places = [at + n for at, block in blocks(stream) for n, byte in enumerate(block) if byte]
    size = file.stat().st_size
    kind = (
        rng.choice(_KINDS) if places else rng.choice(("beginning", "cut", "delete") if size else ("delete",))
    )
    if kind == "delete":
        file.unlink()
        return kind
    if kind in ("cut", "empty"):
        length = rng.randrange(size) if kind == "cut" else 0
        os.truncate(file, length)
        return f"cut to {length} of {size}"
    place = rng.randrange(min(size, 4096)) if kind == "beginning" else rng.choice(places)
    with file.open("r+b") as stream:
        if kind == "zeros":
            place -= place % 4096
            stream.seek(place)
            stream.write(bytes(min(4096, size - place)))
            return f"4 kB of zeros at {place}"
        stream.seek(place)
        before = stream.read(1)[0]
        after = rng.randrange(256) if kind == "byte" else before ^ (1 << rng.randrange(8))
        stream.seek(place)
        stream.write(bytes([after]))
    return f"{before} to {after} at {place}"


def closed(nursery: Nursery, root: Path, rng: random.Random) -> None:
    nursery.run("fill", root=root, count=30)


def tuned(nursery: Nursery, root: Path, rng: random.Random) -> None:
    nursery.run("fill", root=root, count=30)
    nursery.run("tune", root=root)


def killed_at_work(nursery: Nursery, root: Path, rng: random.Random) -> None:
    nursery.run("fill", root=root, count=30)
    nursery.ask(
        {
            "job": "work",
            "args": {"root": str(root), "seed": rng.randrange(10**6)},
            "kill_s": rng.uniform(0.0, 0.05),
            "kill_from_event": rng.choice((3, 5, 7, 9)),
        }
    )


def killed_at_rest(nursery: Nursery, root: Path, rng: random.Random) -> None:
    nursery.run("fill", root=root, count=30)
    nursery.run("add_and_die", root=root, expect=-9)


@pytest.mark.slow
@pytest.mark.parametrize("left", [closed, tuned, killed_at_rest, killed_at_work])
def test_random_damage_is_named_or_harmless(nursery: Nursery, new: Path, memory: Path, left: Any) -> None:
    rng = random.Random(f"{SEED} {left.__name__}")  # noqa: S311
    catalog, whole = shop.catalog_of(new), memory / "whole"
    tally: Counter[str] = Counter()
    silent = []
    try:
        for number in range(FLIPS):
            if number % 25 == 0:
                shutil.rmtree(whole, ignore_errors=True)
                shutil.rmtree(catalog, ignore_errors=True)
                left(nursery, new, rng)
                copy_tree(catalog, whole)
                (truth,) = nursery.run("snapshot", root=new)
                assert "items" in truth, truth
                names = [
                    file.relative_to(whole)
                    for file in sorted(whole.rglob("*"))
                    if file.is_file() and file.name not in ("lock", "holder.json")
                ]
                rng.shuffle(names)
            shutil.rmtree(catalog)
            copy_tree(whole, catalog)
            name = names[number % len(names)]
            what = damage(catalog / name, rng)
            answer = nursery.ask({"job": "snapshot", "args": {"root": str(new)}})
            told = answer["events"][-1] if answer["events"] else {}
            if told == truth:
                tally["harmless"] += 1
            elif "refused" in told:
                tally["named"] += 1
            else:
                differs = [one for one in truth if one in told and told[one] != truth[one]]
                silent.append((str(name), what, answer["code"], differs or str(told)[-300:]))
                print(*silent[-1], flush=True)
    finally:
        shutil.rmtree(whole, ignore_errors=True)
    print(f"{left.__name__}: {FLIPS} times, {dict(tally)}, silent {len(silent)}")
    assert not silent
