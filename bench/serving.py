"""Search requests with 1, 4 and 16 clients at once: throughput and latency, beside the work itself.

python bench/serving.py [--source TABLE_OR_FOLDER] [--seconds 15] [--json]

A catalogue of the source (the drawn sample catalogue unless given) is indexed twice: `serupa serve` holds
one, this process the other. The photos that are sent are those of the source. There are two yardsticks, both
in this process:

* alone: decode, encode and search one photo, nothing around it. Whole requests of one client and this are
  measured in turns, so that a busy machine slows both.
* the encoder's bound: photos a second that the encoder does in batches of 16, already decoded.

The clients are threads of this process with a connection each, so that they take processor time from the
server, as clients on the same machine do.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from serupa import Catalog
from serupa_sample import write_sample

K = 24  # what the page asks for
CLIENTS = (1, 4, 16)
PAUSE_S = 0.05  # ONNX Runtime's threads go on spinning for a while: let them come to rest
BOUNDARY = "serupa-bench"


class Client:
    """A client with a connection that stays open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def search(self, body: bytes) -> tuple[float, int]:
        """Send a photo; return the seconds until the whole answer was there, and its status."""
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        started = time.perf_counter()
        self._connection.request("POST", "/api/v1/search", body, kind)
        answer = self._connection.getresponse()
        answer.read()
        return time.perf_counter() - started, answer.status


def form(photo: bytes) -> bytes:
    parts = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="k"\r\n\r\n{K}\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="photo.jpg"\r\n\r\n'
    )
    return parts.encode() + photo + f"\r\n--{BOUNDARY}--\r\n".encode()


@contextmanager
def server(catalog: Path) -> Iterator[int]:
    """Run `serupa serve`; yield its port."""
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "serupa", "serve", "-c", str(catalog), "--port", "0"]
        process = subprocess.Popen(command, stderr=log)
        try:
            while True:
                log.seek(0)
                told = log.read()
                if found := re.search(r"http://127\.0\.0\.1:(\d+)\n", told):
                    break
                if process.poll() is not None:
                    raise SystemExit(told)
                time.sleep(0.1)
            yield int(found[1])
        finally:
            process.terminate()
            process.wait()


def alone(catalog: Catalog, photo: bytes) -> float:
    """Return the seconds of decode + encode + search."""
    return sum(catalog.search(photo, K).timing_ms.values()) / 1e3


def one_client(port: int, catalog: Catalog, photos: list[bytes], seconds: float) -> dict[str, Any]:
    """Measure whole requests and the work alone in turns."""
    client = Client(port)
    whole, work = [], []
    ends = time.monotonic() + 2 * seconds
    while time.monotonic() < ends or len(whole) < 20:
        photo = photos[len(whole) % len(photos)]
        for measure in (0, 1) if len(whole) % 2 else (1, 0):
            if measure:
                work.append(alone(catalog, photo))
            else:
                spent, status = client.search(form(photo))
                if status != 200:
                    raise SystemExit(f"the server answered {status}")
                whole.append(spent)
            time.sleep(PAUSE_S)
    ratios = [a / b for a, b in zip(whole, work, strict=True)]
    return {
        "requests": len(whole),
        "whole_ms": 1e3 * statistics.median(whole),
        "alone_ms": 1e3 * statistics.median(work),
        "ratio": statistics.median(whole) / statistics.median(work),
        "median_of_ratios": statistics.median(ratios),
    }


def many_clients(port: int, clients: int, photos: list[bytes], seconds: float) -> dict[str, Any]:
    """Let clients ask as fast as they are answered."""
    spent: list[float] = []
    refused = [0]
    lock = threading.Lock()
    ends = time.monotonic() + seconds

    def ask(number: int) -> None:
        client = Client(port)
        turn = number
        while time.monotonic() < ends:
            took, status = client.search(form(photos[turn % len(photos)]))
            turn += clients
            with lock:
                if status == 200:
                    spent.append(took)
                else:
                    refused[0] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.monotonic() - started
    p50, p95, p99 = np.percentile(spent, (50, 95, 99)) * 1e3
    return {
        "clients": clients,
        "requests": len(spent),
        "refused": refused[0],
        "per_s": len(spent) / wall,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
    }


def encoder_bound(catalog: Catalog, photos: list[bytes], seconds: float) -> float:
    """Return the photos a second of the encoder, in batches of 16."""
    encoder = catalog.encoder
    pixels = np.stack([encoder.preprocess(photos[i % len(photos)]) for i in range(16)])
    encoder.encode(pixels)
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        encoder.encode(pixels)
        done += len(pixels)
    return done / (time.perf_counter() - started)


def measure(folder: Path, source: Path, seconds: float) -> dict[str, Any]:
    for name in ("served", "own"):
        with Catalog.create(folder / name) as made:
            made.add(source)
    with Catalog.open(folder / "own") as own, server(folder / "served") as port:
        files = [item.image for item in own.items()]
        photos = [Path(file).read_bytes() for file in files[:: max(1, len(files) // 64)][:64]]
        for photo in photos[:8]:  # so that everything is loaded
            alone(own, photo)
            Client(port).search(form(photo))
        single = one_client(port, own, photos, seconds)
        rows = []
        for clients in CLIENTS:
            before = encoder_bound(own, photos, seconds / 4)
            time.sleep(1)
            row = many_clients(port, clients, photos, seconds)
            time.sleep(1)
            row["bound_per_s"] = (before + encoder_bound(own, photos, seconds / 4)) / 2
            row["of_bound"] = row["per_s"] / row["bound_per_s"]
            rows.append(row)
        return {
            "items": len(own),
            "encoder": own.manifest.card.name,
            "cpus": os.cpu_count(),
            "photo_bytes": round(statistics.median(map(len, photos))),
            "one_client": single,
            "clients": rows,
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, help="a table or a folder of photos; drawn ones unless given")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = chosen.source or write_sample(Path(folder) / "sample", products=60)
        found = measure(Path(folder), source, chosen.seconds)
    if chosen.json:
        print(json.dumps(found, indent=2))
        return
    single = found["one_client"]
    print(f"{found['items']} items, {found['encoder']}, {found['cpus']} processors")
    print(
        f"1 client: whole request {single['whole_ms']:.1f} ms, decode + encode + search alone "
        f"{single['alone_ms']:.1f} ms: {single['ratio']:.2f} times"
    )
    print("clients  per s  of encoder's bound   p50 ms   p95 ms   p99 ms  refused")
    for row in found["clients"]:
        print(
            f"{row['clients']:7}  {row['per_s']:5.1f}  {row['of_bound']:5.0%} of {row['bound_per_s']:6.1f}  "
            f"   {row['p50_ms']:7.1f}  {row['p95_ms']:7.1f}  {row['p99_ms']:7.1f}  {row['refused']:7}"
        )


if __name__ == "__main__":
    main()
