"""The worst that strangers can send, in the memory of a container: ``python -m bench.hostile``.

Starts `serupa serve` on the sample catalogue in a control group of 2 GiB (Linux, as root; else without a
limit), holds idle connections, and has many clients send photos made to take much memory or time, and bodies
of the largest size; with ``--ordinary``, photos of the catalogue. Meanwhile one client searches with an
ordinary photo. Server and clients share the processors.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import io
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from bench.soak import ask

_GROUPS = Path("/sys/fs/cgroup")


def worst() -> list[bytes]:
    """Return photos that take much for their size."""

    def encoded(image: Image.Image, kind: str, **more: object) -> bytes:
        out = io.BytesIO()
        image.save(out, kind, **more)  # type: ignore[arg-type]
        return out.getvalue()

    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (2400, 2400, 3), np.uint8), "RGB")
    return [
        encoded(Image.new("RGB", (10_000, 10_000), (9, 99, 200)), "WEBP", lossless=True, method=0),
        encoded(Image.new("RGB", (7_000, 7_000), (9, 99, 200)), "WEBP", lossless=True, method=0),
        encoded(Image.new("RGBA", (6_000, 6_000), (9, 99, 200, 7)), "WEBP", lossless=True, method=0),
        encoded(Image.new("RGB", (7_000, 7_000)), "AVIF", speed=10, subsampling="4:4:4"),
        encoded(Image.new("LA", (8_000, 8_000)), "PNG"),
        encoded(Image.new("CMYK", (9_000, 9_000)), "JPEG", progressive=True),
        encoded(Image.new("F", (5_000, 5_000)), "TIFF", compression="tiff_lzw"),
        encoded(Image.new("P", (8_000, 8_000)), "GIF", transparency=0),
        encoded(noise, "PNG", compress_level=1),  # 17 MB
        encoded(noise, "BMP"),
    ]


@contextlib.contextmanager
def group(limit: int) -> Iterator[Path | None]:
    """Make a control group with a limit of memory; None where that cannot be."""
    v1 = _GROUPS / "memory"
    folder = (v1 if v1.is_dir() else _GROUPS) / f"serupa-hostile-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if v1.is_dir() else "memory.max")).write_text(str(limit))
    except OSError as error:
        print(f"- without a limit of memory: {error}")
        yield None
        return
    yield folder
    with contextlib.suppress(OSError):
        folder.rmdir()


def most_used(folder: Path) -> str:
    """Say how much memory the group used at most, and whether a process was killed for it."""
    peak = next(
        folder / name for name in ("memory.max_usage_in_bytes", "memory.peak") if (folder / name).exists()
    )
    events = next(
        folder / name for name in ("memory.oom_control", "memory.events") if (folder / name).exists()
    )
    killed = re.search(r"oom_kill (\d+)", events.read_text())
    used = f"{int(peak.read_text()) / 2**20:,.0f} MiB at most, files in memory counted"
    return f"{used}; {killed[1] if killed else '?'} processes killed for it"


def main() -> None:
    """Run it and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=160)
    parser.add_argument("--idle", type=int, default=2_000)
    parser.add_argument("--ordinary", action="store_true")
    options = parser.parse_args()
    run = [sys.executable, "-m", "serupa"]
    with tempfile.TemporaryDirectory() as name, group(2**31) as limited:
        folder = Path(name)
        for command in (
            ["sample", f"{folder}/sample"],
            ["index", f"{folder}/sample/catalog.csv", "-c", f"{folder}/c"],
        ):
            subprocess.run([*run, *command], check=True, capture_output=True)
        ordinary = next((folder / "sample/photos").iterdir()).read_bytes()
        enter = f"echo $$ > {limited}/cgroup.procs; " if limited else ""
        log = folder / "log"
        serve = " ".join([*run, "serve", "-c", f"{folder}/c", "--port", "0"])
        server = subprocess.Popen(["sh", "-c", f"{enter}exec {serve} 2> {log}"])
        try:
            while not (found := re.search(r"http://[\d.]+:(\d+)\n", log.read_text() if log.exists() else "")):
                time.sleep(0.1)
            attack(options, int(found[1]), ordinary)
            if limited:
                print(f"- memory of the server and its decoders: {most_used(limited)}")
            state = "runs" if server.poll() is None else "ended"
            print(f"- the server {state}; {log.stat().st_size / 1e6:.1f} MB of log")
        finally:
            server.terminate()
            server.wait(60)


def attack(options: argparse.Namespace, port: int, ordinary: bytes) -> None:
    """Send the worst from all sides, and search meanwhile."""
    photos, done = [ordinary] if options.ordinary else worst(), threading.Event()
    statuses: collections.Counter[str] = collections.Counter()

    def send(number: int) -> None:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not done.is_set():
            photo = photos[number % len(photos)]
            number += 1
            try:
                statuses[str(ask(line, "POST", "/api/v1/search", [("photo", photo)]))] += 1
            except (OSError, http.client.HTTPException):
                statuses["connection lost"] += 1
                line.close()
            time.sleep(0.01)

    idle = []
    for _ in range(options.idle):
        with contextlib.suppress(OSError):
            idle.append(socket.create_connection(("127.0.0.1", port), 5))
    threads = [threading.Thread(target=send, args=(n,), daemon=True) for n in range(options.clients)]
    for thread in threads:
        thread.start()
    seconds, answers = [], collections.Counter[str]()
    ended = time.monotonic() + options.seconds
    while time.monotonic() < ended:
        started = time.monotonic()
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            answers[str(ask(line, "POST", "/api/v1/search", [("photo", ordinary)]))] += 1
        except (OSError, http.client.HTTPException):
            answers["connection lost"] += 1
        line.close()
        seconds.append(time.monotonic() - started)
        time.sleep(0.2)
    done.set()
    for thread in threads:
        thread.join(60)
    for one in idle:
        one.close()
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    started = time.monotonic()
    after = ask(line, "POST", "/api/v1/search", [("photo", ordinary)])
    print(f"- {options.clients} clients and {len(idle)} idle connections, {options.seconds:g} s")
    print(f"- their requests: {dict(sorted(statuses.items()))}")
    print(f"- ordinary searches meanwhile: {dict(sorted(answers.items()))}, the longest {max(seconds):.2f} s")
    print(f"- afterwards: {after} in {time.monotonic() - started:.2f} s")


if __name__ == "__main__":
    main()
