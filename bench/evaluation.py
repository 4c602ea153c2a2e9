"""How long an evaluation takes: 13,779 items of 2,048 values, each of them a query, by three metrics.

    python bench/evaluation.py [--queries 1000] [--catalog]

Synthetic embeddings, like those of ResNet-50 behind its ReLU: 100 classes of about 138 photos. Timed for each
metric: `ArrayRanker`, the exact search over arrays; `relevant_ranks`, which follows the ranking to the end of
the gallery for average precision; and with --catalog a whole `evaluate` of the engine's search. Fewer queries
make it shorter; times are then scaled up, and the table says so.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serupa.evaluation import EmbeddedItems, evaluate
from serupa.evaluation.ranking import ArrayRanker, relevant_ranks
from serupa.vectors import METRICS

ITEMS, DIMENSION, CLASSES, K = 13_779, 2_048, 100, 10
BUDGET_S = 300


def drawn(items: int, dimension: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, items)
    latent = rng.standard_normal((CLASSES, 64), np.float32)[labels]
    latent += np.float32(1.5) * rng.standard_normal((items, 64), np.float32)
    embeddings = latent @ rng.standard_normal((64, dimension), np.float32)
    return np.maximum(embeddings, 0, out=embeddings), labels


def seconds(steps: Iterable[object]) -> float:
    started = time.perf_counter()
    for _ in steps:
        pass
    return time.perf_counter() - started


def arrays(
    embeddings: NDArray[np.float32], labels: NDArray[np.int64], queries: int
) -> list[tuple[str, str, float]]:
    ids = [f"{row:05}" for row in range(len(labels))]
    members = [np.flatnonzero(labels == label) for label in range(CLASSES)]
    relevant = [members[label] for label in labels[:queries]]
    ranker, timed = ArrayRanker(ids, embeddings), []
    for metric in METRICS:
        timed.append(("ArrayRanker", metric, seconds(ranker.rank(ids[:queries], metric, K))))
        first = [np.arange(K)] * queries
        ranks = relevant_ranks(
            embeddings[:queries],
            embeddings,
            metric,
            relevant=relevant,
            first=first,
            exclude=np.arange(queries),
        )
        timed.append(("relevant_ranks", metric, seconds(ranks)))
    return timed


def catalog(
    embeddings: NDArray[np.float32], labels: NDArray[np.int64], queries: int
) -> list[tuple[str, str, float]]:
    """Time the whole of `evaluate` on a store that holds the embeddings, as a catalogue's does."""
    from serupa.storage.base import Point
    from serupa.storage.local.store import LocalStore

    ids = [f"{row:05}" for row in range(len(labels))]
    gallery = EmbeddedItems(ids, labels.tolist(), embeddings)
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder) / "points", dict.fromkeys(METRICS, embeddings.shape[1]))
        for start in range(0, len(ids), 512):
            rows = range(start, min(start + 512, len(ids)))
            store.upsert(
                [Point(ids[row], dict.fromkeys(METRICS, embeddings[row]), {"id": ids[row]}) for row in rows]
            )
        store.optimize()
        stages: dict[tuple[str, str], list[float]] = {}

        def note(step: str, *_: Any) -> None:
            name, _, metric = step.partition(" by ")
            stages.setdefault((name, metric), []).append(time.perf_counter())

        started = time.perf_counter()
        evaluate(
            gallery,
            label="class",
            metrics=METRICS,
            ranker=_StoreRanker(store, embeddings),
            queries=None if queries == len(ids) else queries,
            progress=note,
        )
        whole = time.perf_counter() - started
        store.close()
    timed = [(name, metric, times[-1] - times[0]) for (name, metric), times in stages.items()]
    return [*timed, ("evaluate", "all", whole)]


class _StoreRanker:
    """`Catalog.rank`, over a store alone."""

    def __init__(self, store: Any, embeddings: NDArray[np.float32]) -> None:
        self.store, self.embeddings = store, embeddings

    def rank(self, queries: Any, metric: str, limit: int) -> Any:
        for start in range(0, len(queries), 64):
            batch = queries[start : start + 64]
            vectors = self.embeddings[[int(name) for name in batch]]
            found = self.store.search(vectors, metric, limit + 1, where=(), exact=False, payload=False)
            for name, neighbors in zip(batch, found, strict=True):
                yield [(n.id, n.distance) for n in neighbors if n.id != name][:limit]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--dimension", type=int, default=DIMENSION)
    parser.add_argument("--queries", type=int, help="the first so many items; all unless given")
    parser.add_argument("--catalog", action="store_true", help="time the embedded engine's search, too")
    asked = parser.parse_args()
    queries = min(asked.queries or asked.items, asked.items)
    embeddings, labels = drawn(asked.items, asked.dimension)
    timed = arrays(embeddings, labels, queries)
    if asked.catalog:
        timed += catalog(embeddings, labels, queries)
    scale = asked.items / queries
    scaled = "" if queries == asked.items else f" (timed for {queries:,}, scaled)"
    print(f"{asked.items:,} items x {asked.dimension:,} values, every item a query{scaled}")
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the end\n")
    print("| step | metric | seconds | ms a query |")
    print("| --- | --- | ---: | ---: |")
    for name, metric, taken in timed:
        print(f"| {name} | {metric} | {taken * scale:.1f} | {1e3 * taken / queries:.2f} |")
    if asked.catalog:
        print(f"\nWithin {BUDGET_S} s: {'yes' if timed[-1][2] * scale <= BUDGET_S else 'no'}")


if __name__ == "__main__":
    main()
