"""Kill a process at every moment of a switch, and look at what is left; prints one JSON line a moment.

    python tests/kill_while_switching.py CATALOG WHITENING SHA256 FIRST STRIDE

Every STRIDE-th moment is tried, from FIRST on, until one comes too late. A moment is the first time that a
line of the code that takes part is reached. Each is tried on a copy of the catalogue, in a process of its
own that kills itself there; another one opens the copy and asks it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import serupa.storage.local.store
from serupa import Catalog
from serupa.catalog import catalog
from serupa.catalog import reindex as switching
from serupa.catalog.query import SearchRequest
from serupa.learning import whitening
from serupa.learning.whitening import Whitening
from serupa.storage.local import generations

MODULES = (catalog, switching, generations, whitening, serupa.storage.local.store, shutil)
WATCHED = {module.__file__ for module in MODULES}


def copy(start: Path, path: Path) -> None:
    """Copy a catalogue without the holes in its files: the engine sets aside 145 MB and uses one."""
    for file in start.rglob("*"):
        to = path / file.relative_to(start)
        if file.is_dir():
            to.mkdir(parents=True, exist_ok=True)
            continue
        to.parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as source, to.open("wb") as target:
            size, at = file.stat().st_size, 0
            target.truncate(size)
            while at < size:
                try:
                    at = os.lseek(source.fileno(), at, os.SEEK_DATA)
                except OSError:  # only a hole is left
                    break
                end = os.lseek(source.fileno(), at, os.SEEK_HOLE)
                source.seek(at)
                target.seek(at)
                target.write(source.read(end - at))
                at = end


def in_child(work: Callable[[], None]) -> int:
    """Run something in a process of its own, and return how that ended."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def switch(path: Path, new: Whitening, moment: int) -> None:
    """Switch over, and be killed at the moment with this number."""
    opened = Catalog.open(path)
    seen: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            seen.add((frame.f_code.co_filename, frame.f_lineno))
            if len(seen) > moment:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    opened.use_whitening(new, {"labels": {"new": 1}})
    sys.settrace(None)
    opened.close()


def ask(path: Path, moment: int) -> None:
    """Open what is left, and print what it says."""
    with Catalog.open(path) as opened:
        ids, raw = opened.embeddings()
        hits = [hit.item.id for hit in opened.ask(SearchRequest(embedding=raw[ids.index("0003")], k=5))]
        tuning = opened.tuning
        left = sorted(p.name for p in path.iterdir() if p.name.startswith(("points", "tuning")))
        said = {
            "moment": moment,
            "count": len(opened),
            "tuning": list(tuning["labels"]) if tuning else None,
            "hits": hits,
            "raw": float(np.abs(raw).sum()),
            "files": len(left),
        }
    print(json.dumps(said), flush=True)


def main() -> None:
    start, file, sha256, first, stride = sys.argv[1:]
    new = Whitening.load(Path(file), sha256)
    path, moment, killed = Path(start).with_name("copy"), int(first), True
    while killed:
        shutil.rmtree(path, ignore_errors=True)
        copy(Path(start), path)
        ended = in_child(lambda: switch(path, new, moment))  # noqa: B023
        killed = ended == -signal.SIGKILL
        if not killed and ended:
            sys.exit(f"the switch failed at moment {moment}")
        if in_child(lambda: ask(path, moment)):  # noqa: B023
            sys.exit(f"what was left at moment {moment} does not answer")
        moment += int(stride)


if __name__ == "__main__":
    main()
