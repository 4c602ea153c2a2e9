"""Every comparison in one run: what `make bench` does.

    python -m bench.run [PHOTOS] [--quick] [--full] [--only NAME ...] [--out DIR]

PHOTOS is a folder or a table to index; the sample catalogue, enlarged, if it is left out. Writes DIR/bench.md
and DIR/bench.json (build/bench unless given): the machine, and each script's tables.

To add a comparison, write a script that prints Markdown and add a line to SCRIPTS.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine
from bench.tables import parse


@dataclass(frozen=True)
class Script:
    """One comparison.

    Parameters
    ----------
    name, title : str
        ``bench/<name>.py``, and its heading.
    photos : str, optional
        The option by which it takes the user's photos; empty where they are its first argument.
    usual, quick, full : tuple of str
        Its arguments: by default, with --quick, and with --full.
    """

    name: str
    title: str
    photos: str | None = None
    usual: tuple[str, ...] = ()
    quick: tuple[str, ...] = ("--quick",)
    full: tuple[str, ...] = ()


_MILLION = ("--sizes", "10000", "70000", "200000", "1000000")

SCRIPTS = (
    Script("startup", "Start-up", photos=""),
    Script("indexing", "Indexing", photos=""),
    Script("search", "Search", full=_MILLION),
    Script(
        "memory",
        "Memory while indexing",
        usual=("--photos", "5000", "--figure", "{out}/memory.svg"),
        full=("--photos", "100000", "--side", "96", "--figure", "{out}/memory.svg"),
    ),
    Script("serving", "Serving", photos="--source", quick=("--seconds", "2")),
    Script(
        "tuning",
        "A tuned catalogue",
        usual=("size", "--count", "20000"),
        quick=("size", "--count", "2000"),
        full=("size", "--count", "100000"),
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="?")
    parser.add_argument("--quick", action="store_true", help="small and rough, to see that everything runs")
    parser.add_argument(
        "--full", action="store_true", help="with a million vectors and 100,000 photos: hours"
    )
    parser.add_argument("--only", nargs="+", choices=[script.name for script in SCRIPTS])
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    mode = "quick" if asked.quick else "full" if asked.full else "usual"
    found: dict[str, Any] = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "mode": mode}
    found |= {"machine": machine.describe(), "scripts": {}}
    text = f"# Speed, {found['when'][:10]}, {mode} run\n\n{machine.markdown(found['machine'])}\n"
    failed = []
    for script in SCRIPTS:
        if asked.only and script.name not in asked.only:
            continue
        arguments = [argument.format(out=asked.out) for argument in getattr(script, mode) or script.usual]
        if script.photos is not None and asked.photos:
            arguments = [*([script.photos] if script.photos else []), asked.photos, *arguments]
        printed, seconds = run(script.name, arguments)
        if printed is None:
            failed.append(script.name)
            continue
        shown = printed.strip() if parse(printed) else f"```\n{printed.strip()}\n```"  # lines of plain text
        text += f"\n## {script.title}\n\n{shown}\n"
        found["scripts"][script.name] = {
            "arguments": arguments,
            "seconds": round(seconds, 1),
            "tables": parse(printed),
        }
        (asked.out / "bench.md").write_text(text)
        (asked.out / "bench.json").write_text(json.dumps(found, indent=2) + "\n")
    print(text)
    print(f"Written: {asked.out / 'bench.md'}, {asked.out / 'bench.json'}", file=sys.stderr)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def run(name: str, arguments: list[str]) -> tuple[str | None, float]:
    print(f"{time.strftime('%H:%M:%S')} {name} {' '.join(arguments)}", file=sys.stderr, flush=True)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{name}", *arguments], check=False, stdout=subprocess.PIPE, text=True
    )
    return (None if done.returncode else done.stdout), time.perf_counter() - started


if __name__ == "__main__":
    main()
