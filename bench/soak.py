"""Load a server for a while, then ten times as much: errors, latency, memory, shedding, recovery.

    python bench/soak.py [--minutes 15] [--clients 16]

Starts `serupa serve` on the sample catalogue. The clients search with photos, ask for look-alikes of items
and for advice, add items and remove them, each one request after the other; every five minutes the search is
tuned, or the tuning undone. Anything but the answer that was asked for, or 429, is an error. Memory is that
of the server and of the processes that decode for it. Then ten times as many clients send at once for 10 s,
and after them it is tried every 50 ms how soon a search is answered as quickly as before. Server and clients
share this machine's processors.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

_TUNING_S = 300.0
KEY = "a-key-of-the-soak-test-alone"
ADDED = 40  # items that a client has at most


class Client(threading.Thread):
    """Sends requests until told to stop, and notes what came back."""

    def __init__(
        self, number: int, port: int, photos: list[bytes], ids: list[str], stop: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self._rng = random.Random(number)  # noqa: S311
        self._port, self._photos, self._ids, self._stop_it = port, photos, ids, stop
        self._number, self._mine = number, collections.deque[str]()
        self.notes: list[tuple[float, str, int, float]] = []

    def run(self) -> None:
        line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._stop_it.is_set():
            kind, method, path, form, wanted = self._next()
            started = time.perf_counter()
            try:
                status = ask(line, method, path, form)
            except (OSError, http.client.HTTPException):
                status = 0
                line.close()
            if status not in (wanted, 429):
                print(f"  {kind}: {status}", file=sys.stderr)
            self.notes.append((time.time(), kind, status, time.perf_counter() - started))
            if status == 429:
                time.sleep(self._rng.uniform(0, 0.1))  # fewer than Retry-After says: an impatient client

    def _next(self) -> tuple[str, str, str, list[tuple[str, bytes]], int]:
        photo, chance = self._rng.choice(self._photos), self._rng.random()
        if chance < 0.08 and len(self._mine) < ADDED:
            name = f"soak-{self._number}-{time.time_ns()}"
            self._mine.append(name)
            return "add", "POST", "/api/v1/items", [("photo", photo), ("id", name.encode())], 201
        if chance < 0.16 and len(self._mine) > 3:
            return "remove", "DELETE", f"/api/v1/items/{self._mine.popleft()}", [], 204
        if chance < 0.19:
            liked = json.dumps({"likes": [{"id": self._rng.choice(self._ids), "at": "2026-08-01T12:00:00Z"}]})
            return "recommend", "POST", "/api/v1/recommend", [("taste", liked.encode())], 200
        if chance < 0.21:
            return "garment", "POST", "/api/v1/garment", [("photo", photo)], 200
        if chance < 0.22:
            piece = self._rng.choice(self._ids).encode()
            return "outfits", "POST", "/api/v1/outfits", [("piece", piece)], 200
        if chance < 0.3:
            return "similar", "GET", f"/api/v1/items/{self._rng.choice(self._ids)}/similar?k=10", [], 200
        return "search", "POST", "/api/v1/search", [("photo", photo), ("k", b"10")], 200


def ask(line: http.client.HTTPConnection, method: str, path: str, form: list[tuple[str, bytes]]) -> int:
    body = b""
    for name, value in form:
        file = b'; filename="a"' if name == "photo" else b""
        body += b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (
            name.encode(),
            file,
            value,
        )
    headers = {"X-API-Key": KEY}
    if form:
        headers["Content-Type"], body = "multipart/form-data; boundary=x", body + b"--x--\r\n"
    line.request(method, path, body or None, headers)
    answer = line.getresponse()
    answer.read()
    return answer.status


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = 0.0
    for one in (pid, *children):
        with contextlib.suppress(OSError):
            said = Path(f"/proc/{one}/status").read_text()
            found += int(re.search(r"VmRSS:\s+(\d+)", said)[1]) / 1024  # type: ignore[index]
    return found


def change(port: int, stop: threading.Event) -> None:
    """Tune the search and undo it, in turns."""
    number = 0
    while not stop.wait(_TUNING_S):
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        path = "untune" if number % 2 else "tune"
        headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
        line.request("POST", f"/api/v1/admin/{path}", b"{}", headers)
        status, number = line.getresponse().status, number + 1
        if status != 202:
            print(f"  {path}: {status}", file=sys.stderr)
        line.close()


def load(
    clients: int, seconds: float, port: int, photos: list[bytes], ids: list[str], pid: int, base: int = 0
):  # type: ignore[no-untyped-def]
    stop, memory = threading.Event(), []
    threads = [Client(base + number, port, photos, ids, stop) for number in range(clients)]
    threads.append(threading.Thread(target=change, args=(port, stop), daemon=True))
    started = time.time()
    for thread in threads:
        thread.start()
    while time.time() - started < seconds:
        time.sleep(min(1.0, seconds / 20))
        memory.append(memory_mb(pid))
    stop.set()
    for thread in threads:
        thread.join(90)
    return [note for thread in threads if isinstance(thread, Client) for note in thread.notes], memory


def told(notes: list[tuple[float, str, int, float]], seconds: float) -> None:
    statuses = collections.Counter(status for _, _, status, _ in notes)
    print(
        f"  {len(notes)} requests, {len(notes) / seconds:.0f} a second; statuses "
        f"{dict(sorted(statuses.items()))}"
    )
    for kind in ("search", "similar", "recommend", "garment", "outfits", "add", "remove"):
        ms = [1e3 * s for _, k, status, s in notes if k == kind and status in (200, 201, 204)]
        if ms:
            p50, p95, p99 = np.percentile(ms, (50, 95, 99))
            print(f"  {kind:9} {len(ms):7}   p50 {p50:6.0f} ms   p95 {p95:6.0f} ms   p99 {p99:6.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description="Load a server, then ten times as much.")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--clients", type=int, default=16)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = [sys.executable, "-m", "serupa"]
        subprocess.run([*run, "sample", str(folder / "sample")], check=True, capture_output=True)
        subprocess.run(
            [*run, "index", str(folder / "sample/catalog.csv"), "-c", str(folder / "c")],
            check=True,
            capture_output=True,
        )
        photos = [path.read_bytes() for path in sorted((folder / "sample/photos").iterdir())]
        from serupa import Catalog

        with Catalog.open(folder / "c") as catalog:
            ids, before = [item.id for item in catalog.items()], len(catalog)
        server = subprocess.Popen(
            [*run, "serve", "-c", str(folder / "c"), "--port", "0"],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"SERUPA_API_KEY": KEY},
        )
        assert server.stderr is not None
        port = int(re.search(r":(\d+)$", server.stderr.readline().strip())[1])  # type: ignore[index]
        threading.Thread(target=lambda: collections.deque(server.stderr, 0), daemon=True).start()
        try:
            measure(given, port, photos, ids, server.pid)
        finally:
            server.terminate()
            server.wait(60)
        with Catalog.open(folder / "c") as catalog:
            ours = sum(item.id.startswith("soak-") for item in catalog.items())
            print(
                f"Afterwards: {len(catalog)} items, {before} of before and {ours} added; "
                f"exit {server.returncode}"
            )


def measure(given: argparse.Namespace, port: int, photos: list[bytes], ids: list[str], pid: int) -> None:
    load(given.clients, 5, port, photos, ids, pid, 1000)  # until everything is loaded
    seconds = 60 * given.minutes
    print(f"Soak: {given.clients} clients, {given.minutes:g} minutes")
    notes, memory = load(given.clients, seconds, port, photos, ids, pid)
    told(notes, seconds)
    minute = max(1, round(len(memory) / max(1, given.minutes)))
    print(
        "  MB, a minute each:",
        *(f"{np.median(memory[n : n + minute]):.0f}" for n in range(0, len(memory), minute)),
    )
    third = max(1, len(memory) // 3)
    first, last = np.median(memory[:third]), np.median(memory[-third:])
    print(
        f"  memory: {first:.0f} MB in the first third, {last:.0f} MB in the last, "
        f"{max(memory):.0f} MB at most"
    )
    calm = float(np.median([s for _, kind, status, s in notes if kind == "search" and status == 200]))
    alone = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    search = ("POST", "/api/v1/search", [("photo", photos[0]), ("k", b"10")])
    ask(alone, *search)
    print(f"Overload: {10 * given.clients} clients, 10 s")
    notes, memory = load(10 * given.clients, 10, port, photos, ids, pid, 5000)
    ended = time.time()
    told(notes, 10)
    print(f"  memory: {max(memory):.0f} MB at most")
    alone.close()
    while True:
        started = time.perf_counter()
        status = ask(alone, *search)
        if status == 200 and time.perf_counter() - started < calm:
            break
        time.sleep(0.05)
    print(f"  recovered {time.time() - ended:.1f} s later: a search within {1e3 * calm:.0f} ms again")


if __name__ == "__main__":
    main()
