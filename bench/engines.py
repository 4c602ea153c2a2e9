"""The search engines that bench/search.py compares; run by it, one process each: `python -m bench.engines`.

The process reads one JSON command a line and answers with one JSON line, so that engines can take turns.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.vectors import NEIGHBORS

Rows = NDArray[np.int64]
_LINKS, _BUILD_WIDTH = 16, 128  # of every HNSW alike


class Serupa:
    """The embedded store as a catalogue uses it; ``width`` 0 is what it does by itself."""

    def __init__(self, folder: Path, width: int = 0) -> None:
        from serupa.storage.local import store as edge

        self._edge, self._path, self._store = edge, folder / "serupa" / "points", None

    def build(self, vectors: NDArray[np.float32]) -> None:
        from serupa.storage.base import Point

        shutil.rmtree(self._path.parent, ignore_errors=True)
        store = self._edge.LocalStore(self._path, {"cosine": vectors.shape[1]})
        for start in range(0, len(vectors), 512):
            rows = np.array(vectors[start : start + 512])
            store.upsert(
                [
                    Point(str(start + i), {"cosine": row}, {"id": str(start + i), "product_id": None})
                    for i, row in enumerate(rows)
                ]
            )
        store.optimize()
        self._path = store.directory
        store.close()

    def open(self, vectors: NDArray[np.float32]) -> None:
        self._store = self._edge.LocalStore(self._path, {"cosine": vectors.shape[1]})

    def search(self, asked: NDArray[np.float32], width: int, exact: bool) -> Rows:
        if width:
            self._store._ef_search = width
        found = self._store.search(asked, "cosine", NEIGHBORS, exact=exact, payload=False)
        return np.array([[int(one.id) for one in answer] for answer in found])


class FaissFlat:
    def __init__(self, folder: Path) -> None:
        import faiss

        self._faiss = faiss

    def build(self, vectors: NDArray[np.float32]) -> None:
        pass

    def open(self, vectors: NDArray[np.float32]) -> None:
        self._index = self._faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(np.array(vectors))

    def search(self, asked: NDArray[np.float32], width: int, exact: bool) -> Rows:
        return self._index.search(asked, NEIGHBORS)[1]


class FaissHnsw:
    def __init__(self, folder: Path) -> None:
        import faiss

        self._faiss, self._file = faiss, str(folder / "faiss-hnsw.index")

    def build(self, vectors: NDArray[np.float32]) -> None:
        index = self._faiss.IndexHNSWFlat(vectors.shape[1], _LINKS, self._faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _BUILD_WIDTH
        index.add(np.array(vectors))
        self._faiss.write_index(index, self._file)

    def open(self, vectors: NDArray[np.float32]) -> None:
        self._index = self._faiss.read_index(self._file)

    def search(self, asked: NDArray[np.float32], width: int, exact: bool) -> Rows:
        self._index.hnsw.efSearch = width
        return self._index.search(asked, NEIGHBORS)[1]


class Hnswlib:
    def __init__(self, folder: Path) -> None:
        import hnswlib

        self._hnswlib, self._file = hnswlib, str(folder / "hnswlib.index")

    def build(self, vectors: NDArray[np.float32]) -> None:
        index = self._hnswlib.Index("cosine", vectors.shape[1])
        index.init_index(len(vectors), M=_LINKS, ef_construction=_BUILD_WIDTH)
        index.add_items(np.array(vectors))
        index.save_index(self._file)

    def open(self, vectors: NDArray[np.float32]) -> None:
        self._index = self._hnswlib.Index("cosine", vectors.shape[1])
        self._index.load_index(self._file)

    def search(self, asked: NDArray[np.float32], width: int, exact: bool) -> Rows:
        self._index.set_ef(width)
        return self._index.knn_query(asked, NEIGHBORS)[0].astype(np.int64)


class Usearch:
    def __init__(self, folder: Path) -> None:
        from usearch.index import Index

        self._make, self._file = Index, str(folder / "usearch.index")

    def _index_of(self, dimension: int) -> Any:
        return self._make(
            ndim=dimension, metric="cos", dtype="f32", connectivity=_LINKS, expansion_add=_BUILD_WIDTH
        )

    def build(self, vectors: NDArray[np.float32]) -> None:
        index = self._index_of(vectors.shape[1])
        index.add(np.arange(len(vectors)), np.array(vectors))
        index.save(self._file)

    def open(self, vectors: NDArray[np.float32]) -> None:
        self._index = self._index_of(vectors.shape[1])
        self._index.load(self._file)

    def search(self, asked: NDArray[np.float32], width: int, exact: bool) -> Rows:
        self._index.expansion_search = width
        found = self._index.search(asked, NEIGHBORS)
        return np.asarray(found.keys).reshape(len(asked), -1).astype(np.int64)


class ScikitLearn:
    def __init__(self, folder: Path) -> None:
        from sklearn.neighbors import NearestNeighbors

        self._index = NearestNeighbors(n_neighbors=NEIGHBORS, algorithm="brute", metric="cosine")

    def build(self, vectors: NDArray[np.float32]) -> None:
        pass

    def open(self, vectors: NDArray[np.float32]) -> None:
        self._index.fit(np.array(vectors))

    def search(self, asked: NDArray[np.float32], width: int, exact: bool) -> Rows:
        return self._index.kneighbors(asked, return_distance=False)


ENGINES: dict[str, Any] = {
    "serupa": Serupa,
    "faiss-hnsw": FaissHnsw,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
    "faiss-flat": FaissFlat,
    "scikit-learn": ScikitLearn,
}


def resident_mb() -> float:
    """Return the memory that this process holds now, mapped files with it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def single(engine: Any, asked: NDArray[np.float32], width: int, exact: bool) -> dict[str, float]:
    taken = []
    for row in asked:
        start = time.perf_counter()
        engine.search(row[None], width, exact)
        taken.append(1e3 * (time.perf_counter() - start))
    return {"p50_ms": float(np.median(taken)), "p99_ms": float(np.quantile(taken, 0.99))}


def batch(engine: Any, asked: NDArray[np.float32], truth: Rows, width: int, exact: bool) -> dict[str, float]:
    start, cpu = time.perf_counter(), time.process_time()
    found = engine.search(asked, width, exact)
    seconds, busy = time.perf_counter() - start, time.process_time() - cpu
    hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist(), strict=True))
    return {"seconds": seconds, "cpu_s": busy, "recall": hits / truth.size}


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    asked, truth = np.load(folder / "queries.npy"), np.load(folder / "truth.npy")
    engine = ENGINES[name](folder)
    for line in sys.stdin:
        command = json.loads(line)
        width, exact = command.get("width", 0), command.get("exact", False)
        answer: dict[str, float] = {}
        if command["do"] == "build":
            start, cpu = time.perf_counter(), time.process_time()
            engine.build(vectors)
            answer = {"build_s": time.perf_counter() - start, "build_cpu_s": time.process_time() - cpu}
        elif command["do"] == "open":
            before, start = resident_mb(), time.perf_counter()
            engine.open(vectors)
            answer = {"open_s": time.perf_counter() - start, "resident_mb": resident_mb() - before}
        elif command["do"] == "all":  # every vector as a query, as an evaluation does
            start, cpu = time.perf_counter(), time.process_time()
            engine.search(np.array(vectors), width, True)
            answer = {"seconds": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}
        elif command["do"] == "single":
            answer = single(engine, asked[: command.get("queries", len(asked))], width, exact)
            answer["resident_mb"] = resident_mb()
        else:
            rows = command.get("queries", len(asked))
            answer = batch(engine, asked[:rows], truth[:rows], width, exact)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
