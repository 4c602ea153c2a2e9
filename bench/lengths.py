"""What Euclidean and Manhattan searches find, by how much the lengths of vectors vary.

    python -m bench.lengths [--size 70000] [--metric euclidean] [--spread 0.1]

Real embeddings have lengths that vary by 7 to 11 % of their mean, and those of bench/vectors.py by 7 %: these
are asked unless ``--spread`` is given. With it, each vector gets a length by chance (log-normal, of that
standard deviation), which no embedding has: vectors that are much alike then lie far apart.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import vectors
from bench.tables import markdown
from serupa.storage.base import Point
from serupa.storage.local.store import LocalStore
from serupa.vectors import METRICS, Metric

_QUERIES = 200
_BATCH = 500


def rows(asked: argparse.Namespace, rng: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """Yield the catalogue's vectors, (n, 1280) at a time."""
    if asked.spread is None:
        yield from vectors.raw_chunks(asked.size)
        return
    for chunk in vectors.chunks(asked.size):
        yield by_chance(chunk, asked.spread, rng)


def by_chance(chunk: NDArray[np.float32], spread: float, rng: np.random.Generator) -> NDArray[np.float32]:
    return chunk * rng.lognormal(0, spread, (len(chunk), 1)).astype(np.float32)


def fill(store: LocalStore, metric: Metric, chunks: Iterator[NDArray[np.float32]]) -> None:
    number = 0
    for chunk in chunks:
        for start in range(0, len(chunk), _BATCH):
            batch = chunk[start : start + _BATCH]
            ids = [str(number + n) for n in range(len(batch))]
            store.upsert(
                [Point(one, {metric: row}, {"id": one}) for one, row in zip(ids, batch, strict=True)]
            )
            number += len(batch)
    store.optimize()


def ask(store: LocalStore, metric: Metric, queries: NDArray[np.float32]) -> list[str]:
    limit = vectors.NEIGHBORS
    exact = store.search(queries, metric, limit, exact=True, payload=False)
    taken, hits = [], 0
    for row, nearest in zip(queries, exact, strict=True):
        started = time.perf_counter()
        (found,) = store.search(row[None], metric, limit, payload=False)
        taken.append(1e3 * (time.perf_counter() - started))
        hits += len({one.id for one in found} & {one.id for one in nearest})
    p50, p99 = np.quantile(taken, (0.5, 0.99))
    return [f"{hits / (limit * len(queries)):.4f}", f"{p50:.2f}", f"{p99:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=70_000)
    parser.add_argument("--metric", choices=METRICS, default="euclidean")
    parser.add_argument("--spread", type=float, help="lengths by chance; the vectors' own unless given")
    asked = parser.parse_args()
    rng = np.random.default_rng(1)
    queries = vectors.raw_queries(asked.size)[:_QUERIES]
    if asked.spread is not None:
        queries = by_chance(vectors.queries(asked.size)[:_QUERIES], asked.spread, rng)
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder) / "points", {asked.metric: vectors.DIMENSION})
        fill(store, asked.metric, rows(asked, rng))
        answer = ask(store, asked.metric, queries)
        store.close()
    lengths = "their own" if asked.spread is None else f"{asked.spread:g}, by chance"
    columns = ["vectors", "metric", "spread of lengths", "recall@10", "p50 ms", "p99 ms"]
    print(markdown(columns, [[f"{asked.size:,}", asked.metric, lengths, *answer]]))


if __name__ == "__main__":
    main()
