"""How long commands take, beside what Python takes to import the libraries that any such program needs.

    python -m bench.startup [PHOTOS] [--rounds 9] [--quick]

Every command is a process of its own; they take turns. Memory and disk are warm, as in daily use.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import photos
from bench.tables import judged, markdown, spread

IMPORTS = "import numpy, PIL, onnxruntime"
HELP_S, SEARCH_S = 0.25, 0.9
_PHOTOS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="?")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="serupa-bench-") as scratch:
        paths = photos.source(asked.photos, Path(scratch), _PHOTOS)
        table = photos.table(paths, Path(scratch) / "photos.csv", asked.photos)
        catalog = f"{scratch}/catalog"
        serupa = [sys.executable, "-m", "serupa"]
        subprocess.run([*serupa, "index", str(table), "-c", catalog], check=True, capture_output=True)
        commands = {
            "`python -c pass`": [sys.executable, "-c", "pass"],
            f"`python -c '{IMPORTS}'`": [sys.executable, "-c", IMPORTS],
            "`serupa --help`": [*serupa, "--help"],
            "`serupa info`": [*serupa, "info", "-c", catalog],
            "`serupa search`": [*serupa, "search", paths[0], "-c", catalog],
        }
        wall, busy = measure(commands, 3 if asked.quick else asked.rounds)
    rows = [[title, spread(wall[title]), spread(busy[title])] for title in commands]
    print(markdown(["command", "seconds", "CPU seconds"], rows) + "\n")
    targets = [
        [title, judged(statistics.median(wall[title]), limit, at_least=False)]
        for title, limit in (("`serupa --help`", HELP_S), ("`serupa search`", SEARCH_S))
    ]
    print(markdown(["target, seconds", "measured"], targets))


def measure(
    commands: dict[str, list[str]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    wall: dict[str, list[float]] = {title: [] for title in commands}
    busy: dict[str, list[float]] = {title: [] for title in commands}
    for turn in range(rounds + 1):  # the first one warms
        for title, command in commands.items():
            before, started = os.times(), time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds, after = time.perf_counter() - started, os.times()
            if turn:
                wall[title].append(seconds)
                busy[title].append(
                    after.children_user
                    + after.children_system
                    - before.children_user
                    - before.children_system
                )
    return wall, busy


if __name__ == "__main__":
    main()
