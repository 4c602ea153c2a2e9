"""What links, build width, bits, parts and pages give: how the embedded store's settings were chosen.

    python -m bench.graph [--size 200000] [--bits 4] [--links 24] [--build-width 128] [--parts 1]
                          [--again 20] [--float16] [--small-pages] [--widths 128 256 384 512] [--scratch DIR]

The engine by itself, on the vectors of bench/vectors.py: builds once, opens, asks 500 queries one by one at
each width. `--bits` 8 is a byte a value without rotation; 4 and 2 are rotated; `2-thresholds` is the engine's
binary quantisation of two bits. `--again` is how many candidates are compared again in full precision.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as q

from bench import vectors
from bench.engines import resident_mb
from bench.tables import markdown
from serupa.storage.local.pages import huge_pages, use_huge_pages

_BATCH = 512


def quantized(bits: str) -> Any:
    """Return what is kept of each vector in memory."""
    if bits == "8":
        return q.ScalarQuantizationConfig(q.ScalarType.Int8, memory=q.Memory.Pinned)
    if bits == "2-thresholds":
        return q.BinaryQuantizationConfig(
            encoding=q.BinaryQuantizationEncoding.TwoBits,
            query_encoding=q.BinaryQuantizationQueryEncoding.Scalar8Bits,
            memory=q.Memory.Pinned,
        )
    size = {"4": q.TurboQuantBitSize.Bits4, "2": q.TurboQuantBitSize.Bits2}[bits]
    return q.TurboQuantQuantizationConfig(bits=size, memory=q.Memory.Pinned)


def config(asked: argparse.Namespace) -> Any:
    kind = q.VectorStorageDatatype.Float16 if asked.float16 else q.VectorStorageDatatype.Float32
    kept = q.EdgeVectorParams(
        vectors.DIMENSION,
        q.Distance.Cosine,
        memory=q.Memory.Cold,
        quantization_config=quantized(asked.bits),
        datatype=kind,
    )
    kilobytes = vectors.DIMENSION * 4 / 1024
    return q.EdgeConfig(
        vectors={"cosine": kept},
        hnsw_config=q.HnswIndexConfig(
            m=asked.links, ef_construct=asked.build_width, full_scan_threshold=10_000
        ),
        optimizers=q.EdgeOptimizersConfig(
            indexing_threshold=1_000,
            default_segment_number=1,
            max_segment_size=int(asked.size / asked.parts * kilobytes),
        ),
    )


def build(folder: Path, asked: argparse.Namespace) -> float:
    """Write all vectors, a part's graph whenever a part is full; return the seconds that it took."""
    rows = np.load(folder / "vectors.npy", mmap_mode="r")
    place = folder / "graph"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    started = time.perf_counter()
    shard = q.EdgeShard.create(str(place), config(asked))
    waiting, part = 0, -(-asked.size // asked.parts)
    for start in range(0, asked.size, _BATCH):
        batch = np.array(rows[start : start + _BATCH])
        points = [q.Point(start + i, {"cosine": row}, {}) for i, row in enumerate(batch)]
        shard.update(q.UpdateOperation.upsert_points(points))
        waiting += len(points)
        if waiting >= part:
            shard.flush()
            shard.optimize()
            waiting = 0
    shard.flush()
    shard.optimize()
    shard.close()
    return time.perf_counter() - started


def ask(shard: Any, folder: Path, width: int, asked: argparse.Namespace) -> list[str]:
    """Ask every query alone at a width; return a row of the table."""
    truth = np.load(folder / "truth.npy")
    params = q.SearchParams(
        hnsw_ef=width,
        exact=False,
        quantization=q.QuantizationSearchParams(
            ignore=False, rescore=True, oversampling=asked.again / vectors.NEIGHBORS
        ),
    )
    taken, hits, cpu = [], 0, time.process_time()
    for row, nearest in zip(np.load(folder / "queries.npy"), truth.tolist(), strict=True):
        started = time.perf_counter()
        found = shard.query(
            q.QueryRequest(limit=vectors.NEIGHBORS, query=q.Query.Nearest(row, using="cosine"), params=params)
        )
        taken.append(1e3 * (time.perf_counter() - started))
        hits += len({point.id for point in found} & set(nearest))
    cpu_ms = 1e3 * (time.process_time() - cpu) / len(truth)
    p50, p99 = np.quantile(taken, (0.5, 0.99))
    return [str(width), f"{hits / truth.size:.4f}", f"{p50:.2f}", f"{p99:.2f}", f"{cpu_ms:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=200_000)
    parser.add_argument("--bits", choices=("8", "4", "2", "2-thresholds"), default="4")
    parser.add_argument("--links", type=int, default=24)
    parser.add_argument("--build-width", type=int, default=128)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--again", type=int, default=20)
    parser.add_argument("--float16", action="store_true", help="halve what is on disk")
    parser.add_argument("--small-pages", action="store_true", help="do not ask for huge pages")
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 256, 384, 512])
    parser.add_argument("--scratch", type=Path, help="where vectors are kept for the next time")
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        scratch = asked.scratch or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = scratch / str(asked.size)
        vectors.write(folder, asked.size)
        seconds, before = build(folder, asked), resident_mb()
        use_huge_pages()
        with contextlib.nullcontext() if asked.small_pages else huge_pages():
            shard = q.EdgeShard.load(str(folder / "graph"), config(asked))
        for thread in threading.enumerate():
            if thread.name == "serupa-pages":
                thread.join()
        opened = resident_mb() - before
        ask(shard, folder, asked.widths[0], asked)  # warms
        rows = [ask(shard, folder, width, asked) for width in asked.widths]
        shard.close()
        disk = sum(f.stat().st_blocks * 512 for f in (folder / "graph").rglob("*") if f.is_file()) / 1e6
        shutil.rmtree(folder / "graph")
    print(f"built in {seconds:.0f} s, opened {opened:.0f} MB, {disk:.0f} MB on disk\n")
    print(markdown(["width", "recall@10", "p50 ms", "p99 ms", "CPU ms"], rows))


if __name__ == "__main__":
    main()
