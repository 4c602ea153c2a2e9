"""Requests to `serupa serve` by four clients while each node of a Qdrant cluster is stopped, then hangs.

    python -m bench.failover PHOTOS

On the cluster of ``SERUPA_TEST_QDRANT`` (docs/scale.md), or the tests' stand-in, whose nodes can hang, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import ExitStack
from typing import Any

import numpy as np

from serupa import Catalog
from tests.faults.cluster import REAL, RealCluster, StandIn, standing_in

CLIENTS = 4
PORT = 8765
AWAY_S, HANGS_S, BETWEEN_S = 3.0, 5.0, 1.5


def measure(photos: str) -> dict[str, Any]:
    """Index, serve, and ask for look-alikes of one item until every node has failed in every way."""
    answers: Counter[str] = Counter()
    seconds: list[float] = []
    done = threading.Event()
    with ExitStack() as stack:
        base = os.environ.get(REAL)
        cluster = RealCluster(base) if base else stack.enter_context(standing_in())
        address = cluster.address("bench-failover")
        with Catalog.create(
            cluster.address("bench-failover", shards=3, replicas=2), exist_ok=True
        ) as catalog:
            catalog.add(photos)
            item = next(catalog.items())
        serving = subprocess.Popen(
            [sys.executable, "-m", "serupa", "serve", "-c", address, "--port", str(PORT)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(serving.wait)
        stack.callback(serving.terminate)
        path = urllib.request.pathname2url(item.id).replace("/", "%2F")
        url = f"http://127.0.0.1:{PORT}/api/v1/items/{path}/similar?k=5"
        while _ask(url) != "200":
            time.sleep(0.5)

        def search() -> None:
            while not done.wait(0.02):
                started = time.perf_counter()
                answers[_ask(url)] += 1
                seconds.append(time.perf_counter() - started)

        clients = [threading.Thread(target=search) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for node in range(3):
            cluster.stop(node)
            time.sleep(AWAY_S)
            cluster.start(node)
            time.sleep(BETWEEN_S)
        longest_while_stopped = max(seconds)
        for one in cluster.server.nodes if isinstance(cluster, StandIn) else ():
            one.hangs = True
            time.sleep(HANGS_S)
            one.hangs = False
            time.sleep(BETWEEN_S)
        done.set()
        for client in clients:
            client.join()
    p50, p99 = np.quantile(seconds, [0.5, 0.99])
    return {
        "answers": dict(answers),
        "p50_ms": round(1e3 * p50, 1),
        "p99_ms": round(1e3 * p99, 1),
        "longest_s": round(max(seconds), 2),
        "longest_while_stopped_s": round(longest_while_stopped, 2),
    }


def _ask(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 -- this machine's own
            answer.read()
            return str(answer.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except OSError as error:
        return type(error).__name__


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1]), indent=2))
