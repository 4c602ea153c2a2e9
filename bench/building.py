"""What others wait for while a graph is built: ``python -m bench.building [--points N] [--dimension N]``."""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from serupa.storage.base import Point
from serupa.storage.local.store import LocalStore

_BATCH = 256


def main() -> None:
    """Fill a store, build its graph, and print the longest waits meanwhile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=1_280)
    options = parser.parse_args()
    rng = np.random.default_rng(0)

    def points(start: int, count: int) -> list[Point]:
        rows = rng.normal(size=(count, options.dimension)).astype(np.float32)
        return [
            Point(f"i{start + n}", {"cosine": row}, {"id": f"i{start + n}"}) for n, row in enumerate(rows)
        ]

    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder) / "points", {"cosine": options.dimension})
        for start in range(0, options.points, _BATCH):
            store.upsert(points(start, min(_BATCH, options.points - start)))
        added = iter(range(options.points, 10**9))
        asked = rng.normal(size=(1, options.dimension)).astype(np.float32)
        works: dict[str, Callable[[], object]] = {
            "a thread that sleeps 10 ms": lambda: time.sleep(0.01),
            "a search": lambda: store.search(asked, "cosine", 10),
            "adding an item every 50 ms": lambda: (store.upsert(points(next(added), 1)), time.sleep(0.05)),
        }
        done = threading.Event()
        longest: dict[str, float] = dict.fromkeys(works, 0.0)
        times = dict.fromkeys(works, 0)

        def repeat(name: str) -> None:
            while not done.is_set():
                started = time.perf_counter()
                works[name]()
                longest[name] = max(longest[name], time.perf_counter() - started)
                times[name] += 1

        threads = [threading.Thread(target=repeat, args=(name,)) for name in works]
        for thread in threads:
            thread.start()
        started = time.perf_counter()
        store.optimize()
        seconds = time.perf_counter() - started
        done.set()
        for thread in threads:
            thread.join()
        print(f"{options.points:,} x {options.dimension}: graph built in {seconds:.1f} s")
        for name in works:
            print(f"- {name}: {times[name]:,} times, the longest {1e3 * longest[name]:.0f} ms")
        store.close()


if __name__ == "__main__":
    main()
