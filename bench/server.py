"""What a Qdrant server takes and answers: insert rate, time to the graph, latency by its clock and by ours.

    python -m bench.server qdrant://host:6333 [COUNT]

Makes a collection of COUNT (60,000 unless given) drawn vectors of 1,280 values, kept as a catalogue is
(`SERUPA_QDRANT_API_KEY` is its key, settings after ``?`` as for a catalogue), and removes it at the end. For
each number of candidates (`hnsw_ef`) and oversampling: recall@10 against an exact search, the time of one
search as a client sees it, and the part of it that the server says it took.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.vectors import DIMENSION, NEIGHBORS, chunks, queries
from serupa.storage.base import Point
from serupa.storage.engine import point_uuid
from serupa.storage.qdrant.address import parse_address
from serupa.storage.qdrant.client import Connection, connect
from serupa.storage.qdrant.store import QdrantStore, create_collection

COLLECTION = "serupa-bench"
CANDIDATES = (64, 128, 200, 300)
OVERSAMPLING = (1.0, 2.0, 3.0)


def measure(address: str, count: int) -> dict[str, Any]:
    """Fill a collection, wait for its graph, and search it in every way."""
    nodes, _, settings = address.partition("?")
    link = connect(parse_address(f"{nodes.rstrip('/')}/{COLLECTION}?{settings}"))
    asked = queries(count)
    create_collection(link, COLLECTION, {"cosine": DIMENSION}, link.address.layout, {})
    try:
        store = QdrantStore(link, COLLECTION)
        seconds, nearest = _fill(store, count, asked)
        ready_s = _wait_until_green(link)
        info = link.read(lambda client: client.get_collection(COLLECTION))
        return {
            "points": count,
            "inserted_per_s": round(count / seconds),
            "graph_ready_s": round(ready_s, 1),
            "segments": info.segments_count,
            "searches": [
                _search(link, asked, nearest, ef, oversampling)
                for ef, oversampling in itertools.product(CANDIDATES, OVERSAMPLING)
            ],
        }
    finally:
        link.drop(COLLECTION)
        link.close()


def _fill(store: QdrantStore, count: int, asked: NDArray[np.float32]) -> tuple[float, list[set[str]]]:
    """Write all vectors; return the seconds that took, and the ids of the true neighbours of each query."""
    seconds, done = 0.0, 0
    best = [np.empty((len(asked), 0), np.float32), np.empty((len(asked), 0), np.int64)]
    for rows in chunks(count):
        points = [
            Point(f"p{n}", {"cosine": row}, {"id": f"p{n}", "product_id": None, "attributes": {}})
            for n, row in enumerate(rows, done)
        ]
        started = time.perf_counter()
        store.upsert(points)
        seconds += time.perf_counter() - started
        numbers = np.broadcast_to(np.arange(done, done + len(rows)), (len(asked), len(rows)))
        scores, ids = np.hstack([best[0], asked @ rows.T]), np.hstack([best[1], numbers])
        top = np.argsort(-scores, axis=1)[:, :NEIGHBORS]
        best = [np.take_along_axis(scores, top, 1), np.take_along_axis(ids, top, 1)]
        done += len(rows)
    return seconds, [{point_uuid(f"p{n}") for n in row} for row in best[1]]


def _wait_until_green(link: Connection) -> float:
    started, seen = time.perf_counter(), 0
    while seen < 3:  # it is green for a moment before the optimiser begins
        info = link.read(lambda client: client.get_collection(COLLECTION))
        seen = seen + 1 if info.status.value == "green" else 0
        time.sleep(0.5)
    return time.perf_counter() - started - 1.5


def _search(
    link: Connection, asked: NDArray[np.float32], nearest: list[set[str]], ef: int, oversampling: float
) -> dict[str, Any]:
    from qdrant_client import grpc, models
    from qdrant_client.conversions.conversion import RestToGrpc

    quantization = models.QuantizationSearchParams(rescore=True, oversampling=oversampling)
    params = models.SearchParams(hnsw_ef=ef, quantization=quantization)
    ours, theirs, found = [], [], 0
    for vector, wanted in zip(asked, nearest, strict=True):
        request = models.QueryRequest(
            query=vector.tolist(), using="cosine", limit=NEIGHBORS, params=params, with_payload=["id"]
        )
        message = grpc.QueryBatchPoints(
            collection_name=COLLECTION, query_points=[RestToGrpc.convert_query_request(request, COLLECTION)]
        )
        started = time.perf_counter()
        answer = link.read(lambda client: client.grpc_points.QueryBatch(message))  # noqa: B023
        ours.append(time.perf_counter() - started)
        theirs.append(answer.time)
        found += len({point.id.uuid for point in answer.result[0].result} & wanted)

    def ms(seconds: list[float], quantile: float) -> float:
        return round(1e3 * float(np.quantile(seconds, quantile)), 2)

    return {
        "ef": ef,
        "oversampling": oversampling,
        "recall": round(found / (len(asked) * NEIGHBORS), 4),
        "p50_ms": ms(ours, 0.5),
        "p99_ms": ms(ours, 0.99),
        "server_p50_ms": ms(theirs, 0.5),
        "server_p99_ms": ms(theirs, 0.99),
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 60_000), indent=2))
