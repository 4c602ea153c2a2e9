"""How fast the main job is on this machine: indexing full-size photos, and answering `serupa search`.

    python bench/main_job.py [PHOTOS] [--rounds N]

PHOTOS is a folder or a table, the sample catalogue if it is left out. Prints a table in Markdown; the
start-up times stand beside the time that Python takes to import what any such program must import.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORTS = "import numpy, PIL.Image, onnxruntime"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.photos or draw(Path(folder))
        report = index(source, Path(folder))
        query = first_photo(Path(folder))
        bare = seconds([sys.executable, "-c", IMPORTS], arguments.rounds)
        shown = seconds([sys.executable, "-m", "serupa", "--help"], arguments.rounds)
        searched = seconds(
            [sys.executable, "-m", "serupa", "search", query, "-c", f"{folder}/catalog"], arguments.rounds
        )
    print("| what | measured |\n| --- | --- |")
    print(f"| photos indexed | {report['encoded']} in {report['seconds']:.2f} s |")
    print(f"| photos a second, stored and searchable | **{report['encoded'] / report['seconds']:.0f}** |")
    for stage, busy in report["stages_s"].items():
        print(f"| {stage}: busy seconds, all threads | {busy:.2f} |")
    print(f"| `serupa search`, a process of its own | **{searched:.2f} s** |")
    print(f"| `serupa --help` | {shown:.2f} s |")
    print(f"| `{IMPORTS}` | {bare:.2f} s |")


def draw(folder: Path) -> str:
    subprocess.run([sys.executable, "-m", "serupa", "sample", str(folder / "sample")], check=True)
    return str(folder / "sample" / "catalog.csv")


def index(source: str, folder: Path) -> dict:
    """Index twice, the first time to warm the disk and the graph's cache; report the second."""
    for name in ("warm", "catalog"):
        done = subprocess.run(
            [sys.executable, "-m", "serupa", "index", source, "-c", str(folder / name), "--json"],
            check=True,
            capture_output=True,
            text=True,
        )
    return json.loads(done.stdout)


def first_photo(folder: Path) -> str:
    from serupa import Catalog

    with Catalog.open(folder / "catalog") as catalog:
        return next(catalog.items()).image


def seconds(command: list[str], rounds: int) -> float:
    taken = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=os.environ)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    main()
