"""What tuning gains, what it costs other photos, and how long it takes.

    python bench/tuning.py gain luma/catalog.csv [--other clothing/] [--encoder NAME]
    python bench/tuning.py size [--count 100000]

`gain` tunes by product_id and by product_id with category, and prints what the search gains on products that
were not learned from: in five folds, each searching only itself (what `serupa tune` prints); with half of the
products to learn from and half to test on, both ways; and in the whole catalogue, where photos of products
that were learned from stand in the way too. Then what the search of another kind of photos (by category)
loses or gains through a tuning that was learned here.

`size` draws vectors of 1,280 values (bench/vectors.py), four photos a product, fills a catalogue with them,
tunes it, and compares memory and latency before and after. Each part runs in a process of its own, so that
peaks of memory are its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serupa import Catalog
from serupa.catalog.query import SearchRequest
from serupa.catalog.schema import payload_of
from serupa.evaluation import EmbeddedItems, compare, evaluate
from serupa.evaluation.comparison import Difference, paired_differences
from serupa.learning.tuning import Tuning, codes_of, learn, tune
from serupa.learning.whitening import fit_whitening

Floats = NDArray[np.float32]
SHOWN = ("map", "precision@1", "precision@5", "precision@10")
WAYS: tuple[Mapping[str, float], ...] = (
    {"product_id": 1.0},
    {"product_id": 1.0, "category": 0.3},
    {"product_id": 1.0, "category": 1.0},
)


def show(title: str, differences: list[Difference]) -> None:
    for one in differences:
        if one.measure in SHOWN:
            measure, before, after, change, interval, verdict = one.cells()
            print(f"| {title} | {measure} | {before} | {after} | {change} ({interval}) | {verdict} |")


def read(source: str, encoder: str | None) -> tuple[Floats, dict[str, list[Any]]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Catalog.create(Path(folder) / "catalog", encoder) as catalog,
    ):
        catalog.add(source)
        items = {item.id: item for item in catalog.items()}
        ids, embeddings = catalog.embeddings()
    return embeddings, {name: [items[one].label(name) for one in ids] for name in ("product_id", "category")}


def searched(
    before: Floats, after: Floats, labels: list[Any], products: list[Any], name: str
) -> list[Difference]:
    ids = [f"{row:05}" for row in range(len(labels))]
    ran = [evaluate(EmbeddedItems(ids, labels, rows), label=name) for rows in (before, after)]
    return compare(*ran, clusters=dict(zip(ids, products, strict=True)))


def unseen(
    embeddings: Floats, labels: Mapping[str, list[Any]], found: Tuning, parts: int, *, alone: bool
) -> list[Difference]:
    """Deal products into parts; ask with each, tuned by the others, alone or in the whole catalogue."""
    products = labels["product_id"]
    codes = codes_of(products, "product_id")
    part_of = np.random.default_rng(0).permutation(codes.max() + 1)[codes] % parts
    own = {name: codes_of(labels[name], name) for name in found.labels}
    before: dict[str, list[NDArray[np.float64]]] = {measure: [] for measure in SHOWN}
    after: dict[str, list[NDArray[np.float64]]] = {measure: [] for measure in SHOWN}
    clusters = []
    for number in range(parts):
        others = np.flatnonzero(part_of != number)
        learned = fit_whitening(
            embeddings[others],
            [own[name][others] for name in found.labels],
            weights=list(found.labels.values()),
            dimension=found.setting.dimension,
            ridge=found.setting.ridge,
        )
        rows = np.flatnonzero(part_of == number) if alone else np.arange(len(codes))
        ids = [f"{row:05}" for row in rows]
        held = [products[row] for row in rows]
        for kept, vectors in ((before, embeddings[rows]), (after, learned.apply(embeddings[rows]))):
            result = evaluate(EmbeddedItems(ids, held, vectors), label="product_id")
            asked = np.array([int(query) for query in result.query_ids])
            new = part_of[asked] == number
            for measure in SHOWN:
                kept[measure].append(result.metrics["cosine"].values[measure][new])
        clusters += [products[row] for row in asked[new]]
    joined = [{name: np.concatenate(values) for name, values in kept.items()} for kept in (before, after)]
    return paired_differences(*joined, clusters=clusters)


def gain(source: str, other: str | None, encoder: str | None) -> None:
    embeddings, labels = read(source, encoder)
    print(f"{len(embeddings)} photos of {len(set(labels['product_id']))} products\n")
    print("| what | measure | before | after | change (95 % interval) | |")
    print("| --- | --- | ---: | ---: | --- | --- |")
    learned = []
    for weights in WAYS:
        named = ", ".join(f"{name}:{weight:g}" for name, weight in weights.items())
        found = learn(embeddings, labels, weights=weights)
        learned.append((named, found))
        for label, differences in found.gains.items():
            show(f"by {named}: {label}, folds", differences)
        show(f"by {named}: product_id, halves", unseen(embeddings, labels, found, 2, alone=True))
        show(f"by {named}: product_id, whole catalogue", unseen(embeddings, labels, found, 5, alone=False))
    shuffled = np.random.default_rng(0).permutation(labels["product_id"]).tolist()
    show(
        "by products dealt at random: folds", learn(embeddings, {"product_id": shuffled}).gains["product_id"]
    )
    if other is not None:
        foreign, theirs = read(other, encoder)
        for named, found in learned:
            after = found.whitening.apply(foreign)
            alone = [None] * len(foreign)
            show(
                f"{other} by category, tuned by {named}",
                searched(foreign, after, theirs["category"], alone, "category"),
            )
    for named, found in learned:
        print(f"\nby {named}: {found.whitening.dimension} values, ridge {found.setting.ridge}", end="")
    print()


def fill(path: Path, count: int) -> None:
    """Make a catalogue of drawn vectors, four photos a product; its photos do not exist."""
    from vectors import chunks  # type: ignore[import-not-found]

    from serupa import Item

    with Catalog.create(path) as catalog:
        row = 0
        products = np.random.default_rng(0)
        for chunk in chunks(count):
            # bench/vectors.py draws which product each photo shows; these are photos of products of our own
            centers = chunk[: -(-len(chunk) // 4)]
            own = np.repeat(centers, 4, axis=0)[: len(chunk)]
            noise = np.abs(products.standard_normal(own.shape, np.float32)) * np.float32(0.02)
            for start in range(0, len(own), 1_000):
                vectors = own[start : start + 1_000] + noise[start : start + 1_000]
                payloads = []
                for vector in vectors:
                    item = Item(f"{row:07}", f"none/{row}.jpg", f"P{row // 4}")
                    payloads.append(payload_of(item, str(row), float(np.linalg.norm(vector))))
                    row += 1
                catalog.store.upsert(catalog.schema.points(payloads, vectors))
        catalog.store.index_field("product_id", "text")
        catalog.store.optimize()


def resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1e3
    return float("nan")


def part(name: str, path: Path, count: int) -> dict[str, Any]:
    """One part of `size`, as numbers."""
    started = time.perf_counter()
    said: dict[str, Any] = {}
    if name == "fill":
        fill(path, count)
    elif name == "learn":
        with Catalog.open(path) as catalog:
            ids, embeddings = catalog.embeddings()
            products = [f"P{int(one) // 4}" for one in ids]
        said["read_s"] = time.perf_counter() - started
        began = time.perf_counter()
        found = learn(embeddings, {"product_id": products})
        said |= {"learn_s": time.perf_counter() - began, "gain": str(found.gain)}
        said["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    elif name == "tune":
        with Catalog.open(path) as catalog:
            found = tune(catalog, force=True)
        said = {"learn_s": found.seconds, "dimension": found.whitening.dimension, "gain": str(found.gain)}
        said["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    else:
        import serupa.encoders  # noqa: F401

        empty = resident_mb()
        with Catalog.open(path) as catalog:
            asked = catalog.embeddings([f"{row:07}" for row in range(0, count, max(1, count // 300))])[1]
            catalog.ask(SearchRequest(embedding=asked[0]))
            taken = []
            for vector in asked:
                began = time.perf_counter()
                catalog.ask(SearchRequest(embedding=vector))
                taken.append(1e3 * (time.perf_counter() - began))
            known = catalog.info()
            said = {"p50_ms": float(np.median(taken)), "p99_ms": float(np.quantile(taken, 0.99))}
            said |= {"resident_mb": resident_mb() - empty, "disk_mb": known["size_bytes"] / 1e6}
    return said | {"seconds": time.perf_counter() - started}


def size(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalog"
        for name in ("fill", "learn", "search", "tune", "search"):
            done = subprocess.run(
                [sys.executable, __file__, "part", name, str(path), str(count)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(done.stderr)
            shown = {
                key: round(value, 2) if isinstance(value, float) else value
                for key, value in json.loads(done.stdout).items()
            }
            print(f"{name}: {shown}", flush=True)
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    one = kinds.add_parser("gain")
    one.add_argument("source")
    one.add_argument("--other")
    one.add_argument("--encoder")
    two = kinds.add_parser("size")
    two.add_argument("--count", type=int, default=100_000)
    three = kinds.add_parser("part")
    three.add_argument("name")
    three.add_argument("path", type=Path)
    three.add_argument("count", type=int)
    asked = parser.parse_args()
    if asked.kind == "gain":
        gain(asked.source, asked.other, asked.encoder)
    elif asked.kind == "size":
        size(asked.count)
    else:
        print(json.dumps(part(asked.name, asked.path, asked.count)))


if __name__ == "__main__":
    main()
