"""How much memory indexing takes as a catalogue grows: photo by photo, and as a figure.

    python -m bench.memory [--photos 100000] [--side 224] [--figure FILE.svg] [--quick]

The photos are generated (432 x 536 JPEG, each with content of its own). Memory is read from outside the
process, twice a second: what is the process's own, and the pages of files (the engine's vectors) that the
system keeps for it and takes back when others need memory. A smaller side of the encoder's input makes a long
run shorter: what could grow does not depend on it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import photos
from bench.tables import markdown, spread

STEPS = 10
Sample = tuple[float, int, float, float]  # seconds, photos, own MB, pages of files MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=224, help="of the pixels that the encoder takes")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--quick", action="store_true", help="1,000 photos")
    asked = parser.parse_args()
    count = 1_000 if asked.quick else asked.photos
    with tempfile.TemporaryDirectory(prefix="serupa-bench-") as scratch:
        folder = Path(scratch) / "photos"
        folder.mkdir()
        for _ in photos.generated(folder, count):
            pass
        samples = index(folder, Path(scratch) / "catalog", asked.side)
    print(f"{count:,} photos, encoded at {asked.side} pixels, in {samples[-1][0]:.0f} s.\n")
    print(markdown(["photos stored", "own MB", "pages of files MB"], by_progress(samples, count)))
    indexing = [own for _, seen, own, _ in samples if 0.1 * count < seen < count]
    if len(indexing) > 4:
        half = len(indexing) // 2
        first, second = max(indexing[:half]), max(indexing[half:])
        print(f"\nPeak of its own memory: {first:.0f} MB in the first half, {second:.0f} MB in the second.")
    if asked.figure:
        draw(samples, asked.figure)


def index(folder: Path, catalog: Path, side: int) -> list[Sample]:
    command = [sys.executable, "-m", "bench.memory_job", str(folder), str(catalog), str(side)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    samples, started = [], time.perf_counter()
    for line in process.stdout:  # the job tells where it is twice a second
        told = json.loads(line)
        samples.append((time.perf_counter() - started, told["seen"], told["own_mb"], told["file_mb"]))
    if process.wait():
        raise SystemExit("indexing failed")
    return samples


def by_progress(samples: list[Sample], count: int) -> list[list[str]]:
    rows = []
    for step in range(STEPS):
        low, high = step * count / STEPS, (step + 1) * count / STEPS
        within = [
            sample
            for sample in samples
            if low <= sample[1] < high or (step == STEPS - 1 and sample[1] == high)
        ]
        if within:
            own, files = ([sample[i] for sample in within] for i in (2, 3))
            rows.append([f"{high:,.0f}", spread(own, 0), spread(files, 0)])
    return rows


def draw(samples: list[Sample], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    seen = [sample[1] for sample in samples]
    axes.plot(seen, [sample[2] for sample in samples], color="black", label="the process's own")
    axes.plot(seen, [sample[3] for sample in samples], color="0.6", label="pages of files")
    axes.set(xlabel="photos indexed", ylabel="MB", ylim=(0, None), xlim=(0, max(seen)))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


if __name__ == "__main__":
    main()
