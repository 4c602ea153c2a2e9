"""How fast neighbours are found among many vectors, beside other engines at equal recall.

    python -m bench.search [--sizes 10000 70000] [--peers-up-to 70000] [--rounds 3] [--scratch DIR] [--quick]

1,280 values a vector, clustered as real embeddings are (bench/vectors.py). Each engine is a process of its
own; builds come one after the other, queries in turns. Every graph gets the smallest search width at which it
finds 0.99 of the 10 true neighbours; Serupa's own width is not chosen here, it is what a catalogue uses. A
million vectors (`--sizes 1000000 --peers-up-to 0`) need 15 GB of disk and some 15 minutes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench import vectors
from bench.tables import judged, markdown, spread

RECALL = 0.99
GRAPHS = ("faiss-hnsw", "hnswlib", "usearch")
EXACT = ("faiss-flat", "scikit-learn")
WIDTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
ALL_QUERIES = ("serupa", "faiss-flat")
EXACT_QUERIES = 100  # for engines that answer one exact query at a time in tens of milliseconds


class Engine:
    """A process that holds one engine, and what was measured of it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        command = [sys.executable, "-m", "bench.engines", name, str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.width = 0
        self.once: dict[str, float] = {}
        self.rounds: dict[str, list[float]] = defaultdict(list)

    def ask(self, what: str, **options: Any) -> dict[str, float]:
        self._process.stdin.write(json.dumps({"do": what, **options}) + "\n")
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: stopped while asked to {what}")
        answer: dict[str, float] = json.loads(line)
        return answer

    def reopen(self, folder: Path) -> None:
        """Open in a process of its own: memory that building took is not counted."""
        self.close()
        self.__dict__.update(Engine(self.name, folder).__dict__ | {"once": self.once})
        self.once |= self.ask("open")

    def choose_width(self) -> None:
        for width in WIDTHS:
            self.width = width
            if self.ask("batch", width=width)["recall"] >= RECALL:
                return

    def note(self, kind: str, answer: dict[str, float]) -> None:
        for name, value in answer.items():
            self.rounds[f"{kind} {name}"].append(value)

    def close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 70_000])
    parser.add_argument("--peers-up-to", type=int, default=70_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="where vectors are kept for the next time")
    parser.add_argument("--quick", action="store_true", help="10,000 vectors, one round")
    asked = parser.parse_args()
    sizes, rounds = ([10_000], 1) if asked.quick else (asked.sizes, asked.rounds)
    curve = []
    for size in sizes:
        scratch = asked.scratch or Path(tempfile.mkdtemp(prefix="serupa-bench-"))
        try:
            curve.append(measure(size, size <= asked.peers_up_to, scratch / str(size), rounds))
        finally:
            if asked.scratch is None:
                shutil.rmtree(scratch, ignore_errors=True)
    print("### Serupa, by size\n")
    print(markdown(CURVE, curve))


def measure(size: int, peers: bool, folder: Path, rounds: int) -> list[str]:
    vectors.write(folder, size)
    names = ("serupa", *GRAPHS, *EXACT) if peers else ("serupa",)
    engines = {name: Engine(name, folder) for name in names}
    for engine in engines.values():
        engine.once |= engine.ask("build")
        engine.reopen(folder)
        if engine.name in GRAPHS:
            engine.choose_width()
    for turn in range(rounds + 1):  # the first one warms
        for engine in engines.values():
            answers = ask_all(engine, exact=peers)
            if turn:
                for kind, answer in answers.items():
                    engine.note(kind, answer)
    if peers:
        for name in ALL_QUERIES:
            answer = engines[name].ask("all")
            engines[name].once |= {f"all_{what}": value for what, value in answer.items()}
    print(f"### {size:,} vectors\n")
    show(engines, size)
    if targets := targets_of(size, engines["serupa"]):
        print(markdown(["target", "measured"], targets) + "\n")
    for engine in engines.values():
        engine.close()
    return row_of(size, engines["serupa"], folder)


def ask_all(engine: Engine, *, exact: bool) -> dict[str, dict[str, float]]:
    answers = {}
    if engine.name not in EXACT:
        answers["single"] = engine.ask("single", width=engine.width)
        answers["batch"] = engine.ask("batch", width=engine.width)
    else:
        answers["exact single"] = engine.ask("single", queries=EXACT_QUERIES)
    if exact and engine.name not in GRAPHS:
        answers["exact"] = engine.ask("batch", exact=True)
    return answers


GRAPH_COLUMNS = [
    "engine",
    "width",
    "recall@10",
    "p50 ms",
    "p99 ms",
    "batch: queries/s",
    "build s",
    "build CPU s",
    "resident MB",
]


def show(engines: dict[str, Engine], size: int) -> None:
    rows = [
        [
            name,
            str(engine.width or "its own"),
            f"{statistics.median(engine.rounds['batch recall']):.4f}",
            spread(engine.rounds["single p50_ms"]),
            spread(engine.rounds["single p99_ms"]),
            spread([vectors.QUERIES / s for s in engine.rounds["batch seconds"]], 0),
            f"{engine.once['build_s']:.1f}",
            f"{engine.once['build_cpu_s']:.1f}",
            f"{engine.once['resident_mb']:.0f}",
        ]
        for name, engine in engines.items()
        if name not in EXACT
    ]
    print(markdown(GRAPH_COLUMNS, rows) + "\n")
    exact = [engine for engine in engines.values() if engine.rounds["exact seconds"]]
    if not exact:
        return
    rows = [
        [
            engine.name,
            f"{statistics.median(engine.rounds['exact recall']):.4f}",
            spread([vectors.QUERIES / s for s in engine.rounds["exact seconds"]], 0),
            spread([1e3 * s / vectors.QUERIES for s in engine.rounds["exact cpu_s"]]),
        ]
        for engine in exact
    ]
    print(f"Exact search, {vectors.QUERIES} queries at once:\n")
    print(markdown(["engine", "recall@10", "queries/s", "CPU ms a query"], rows) + "\n")
    rows = [
        [name, f"{engines[name].once['all_seconds']:.1f}", f"{engines[name].once['all_cpu_s']:.1f}"]
        for name in ALL_QUERIES
    ]
    print(f"Exact search, all {size:,} vectors as queries, once:\n")
    print(markdown(["engine", "s", "CPU s"], rows) + "\n")
    mine, flat = (engines[name].once["all_seconds"] for name in ALL_QUERIES)
    verdict = judged(mine / flat, 1.5, at_least=False)
    print(markdown(["target", "measured"], [["all queries: Serupa's time over FAISS's", verdict]]) + "\n")


CURVE = [
    "vectors",
    "recall@10",
    "p50 ms",
    "p99 ms",
    "batch: queries/s",
    "build s",
    "build CPU s",
    "resident MB, opened",
    "resident MB, after queries",
    "bytes a vector, opened",
    "disk MB",
]


TARGETS = {70_000: {"p99 ms": 3.0}, 1_000_000: {"p99 ms": 5.0, "resident MB": 2_500.0, "build s": 900.0}}
"""Upper limits, by the number of vectors, at a recall of at least `RECALL`."""


def targets_of(size: int, engine: Engine) -> list[list[str]]:
    """Judge what was measured at sizes that have targets."""
    if size not in TARGETS:
        return []
    found = {
        "p99 ms": statistics.median(engine.rounds["single p99_ms"]),
        "resident MB": engine.once["resident_mb"],
        "build s": engine.once["build_s"],
    }
    recall = judged(statistics.median(engine.rounds["batch recall"]), RECALL, at_least=True, digits=4)
    limits = [[name, judged(found[name], limit, at_least=False)] for name, limit in TARGETS[size].items()]
    return [["recall@10", recall], *limits]


def row_of(size: int, engine: Engine, folder: Path) -> list[str]:
    rounds = engine.rounds
    resident = engine.once["resident_mb"]
    disk = sum(f.stat().st_blocks * 512 for f in (folder / "serupa").rglob("*") if f.is_file())
    return [
        f"{size:,}",
        f"{statistics.median(rounds['batch recall']):.4f}",
        spread(rounds["single p50_ms"]),
        spread(rounds["single p99_ms"]),
        spread([vectors.QUERIES / s for s in rounds["batch seconds"]], 0),
        f"{engine.once['build_s']:.0f}",
        f"{engine.once['build_cpu_s']:.0f}",
        f"{resident:.0f}",
        f"{statistics.median(rounds['single resident_mb']):.0f}",
        f"{1e6 * resident / size:.0f}",
        f"{disk / 1e6:.0f}",
    ]


if __name__ == "__main__":
    main()
