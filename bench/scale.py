"""What docs/scale.md says was measured: rates of one processor, two stores compared, Ray against one machine.

    python -m bench.scale rates  PHOTOS          decode and encode photos a second, and bytes of payloads
    python -m bench.scale stores PHOTOS          5,000 real embeddings: embedded store against server client
    python -m bench.scale ray    PHOTOS [COUNT]  the same photos, and COUNT drawn ones, by both engines

PHOTOS is a folder or a table. Needs the dev extra.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from serupa import Catalog, Item, load_encoder
from serupa.filters import as_filter
from serupa.images import Crop
from serupa.sources import read_source
from serupa.storage.base import Point, VectorStore
from serupa.storage.local.store import LocalStore
from serupa.vectors import METRICS

WANTED = 5_000
ROUND = 2e-5  # distances nearer than this, relative, may come in either order: float32 sums


def rates(source: str) -> dict[str, Any]:
    """Measure on one processor, by the time it was busy, so that others on the machine matter less."""
    os.environ["SERUPA_THREADS"] = "1"
    encoder = load_encoder()
    items = list(itertools.islice(read_source(source).items(), 200))
    started = time.process_time()
    pixels = np.stack([encoder.preprocess(item.image) for item in items])
    decode = time.process_time() - started
    encoder.encode(pixels[:32])
    started = time.process_time()
    encoder.encode(pixels)
    encode = time.process_time() - started
    with tempfile.TemporaryDirectory() as folder, Catalog.create(Path(folder) / "c") as catalog:
        catalog.add(items[:50])
        payloads = [len(json.dumps(p.payload)) for batch in catalog.store.scroll() for p in batch]
    return {
        "decode_per_s": round(len(items) / decode, 1),
        "encode_per_s": round(len(items) / encode, 1),
        "payload_bytes": round(float(np.mean(payloads))),
    }


def real_embeddings(source: str, count: int) -> np.ndarray:
    """Embed every photo whole and in parts, until there are as many as wanted."""
    encoder = load_encoder()
    sides = (1.0, 0.8, 0.65, 0.5, 0.4)
    crops = [
        Crop(x * (1 - s), y * (1 - s), s, s) for s in sides for x, y in ((0.5, 0.5), (0.2, 0.3), (0.8, 0.7))
    ]
    jobs = [(item, crop) for crop in crops for item in read_source(source).items()][:count]
    rows = []
    for start in range(0, len(jobs), 64):
        pixels = [encoder.preprocess(item.image, crop) for item, crop in jobs[start : start + 64]]
        rows.append(encoder.encode(np.stack(pixels)))
    return np.concatenate(rows)


def stores(source: str) -> dict[str, Any]:
    """Ask both stores the same of the same embeddings: every metric, filter and page."""
    from serupa.storage.qdrant.address import parse_address
    from serupa.storage.qdrant.client import connect
    from serupa.storage.qdrant.store import QdrantStore, create_collection
    from tests.qdrant_server import running

    rows = real_embeddings(source, WANTED)
    points = [_point(number, row) for number, row in enumerate(rows)]
    dimensions = dict.fromkeys(METRICS, rows.shape[1])
    report: dict[str, Any] = {
        "embeddings": len(rows),
        "hits": 0,
        "differing": 0,
        "largest_difference": 0.0,
    }
    with tempfile.TemporaryDirectory() as folder, running() as server:
        link = connect(parse_address(server.address("bench", timeout_s=300)))
        create_collection(link, "bench.1", dimensions, link.address.layout, {})
        both: list[VectorStore] = [
            LocalStore(Path(folder) / "points", dimensions),
            QdrantStore(link, "bench.1"),
        ]
        for store in both:
            for start in range(0, len(points), 128):
                store.upsert(points[start : start + 128])
            for name, kind in (("color", "text"), ("price", "number"), ("seasons", "text")):
                store.index_field(name, kind)
        filters = (
            None,
            "color=red",
            "color!=red",
            "price=100..900",
            "seasons=winter",
            ["color=red|blue", "price<50"],
        )
        for where, metric in itertools.product(filters, METRICS):
            conditions = as_filter(where)
            _same(store.count(conditions) for store in both)
            _same(store.bounds("price", conditions) for store in both)
            _same(sorted(store.facet("color", conditions)) for store in both)
            for limit in (10, 20, 40):  # pages: ranks 1 to 10, to 20, to 40
                answers = [
                    store.search(rows[:: len(rows) // 10], metric, limit, where=conditions) for store in both
                ]
                for one, other in zip(*answers, strict=True):
                    _compare(one, other, report)
        scrolled = [[p.id for part in store.scroll(batch=300) for p in part] for store in both]
        _same(sorted(ids) for ids in (*scrolled, [p.id for p in points]))
        link.close()
    return report


def _same(values: Iterable[Any]) -> None:
    first, *others = values
    if any(other != first for other in others):
        raise SystemExit(f"the stores do not agree: {first} and {others}")


def _point(number: int, row: np.ndarray) -> Point:
    attributes = {
        "color": ("red", "green", "blue")[number % 3],
        "price": float(number % 1_000),
        "seasons": ["summer", "winter"] if number % 2 else ["spring"],
    }
    payload = {"id": f"p{number:05}", "product_id": None, "content": "", "attributes": attributes}
    return Point(payload["id"], dict.fromkeys(METRICS, row), payload)


def _compare(one: Any, other: Any, report: dict[str, Any]) -> None:
    """Compare two answers: the same ids in the same order, but where only rounding tells distances apart."""
    _same(len(answer) for answer in (one, other))
    for a, b in zip(one, other, strict=True):
        apart = abs(a.distance - b.distance) / max(1.0, abs(a.distance))
        report["hits"] += 1
        report["differing"] += a.id != b.id and apart > ROUND
        report["largest_difference"] = max(report["largest_difference"], apart)


def ray(source: str, count: int) -> dict[str, Any]:
    """Index twice, with two workers and with none; compare vectors and rates."""
    from serupa.cluster import add_with_ray

    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        sets: dict[str, list[Item]] = {"photos": list(read_source(source).items())}
        if count:
            sets["drawn"] = [
                Item(f"d{n}", str(_draw(folder / "drawn" / f"{n}.jpg", n))) for n in range(count)
            ]
        report: dict[str, Any] = {}
        for name, items in sets.items():
            with (
                Catalog.create(folder / name / "alone") as alone,
                Catalog.create(folder / name / "ray") as spread,
            ):
                one = alone.add(items)
                two = add_with_ray(spread, items, workers=2)
                ids = [item.id for item in alone.items()]
                apart = float(np.abs(alone.embeddings(ids)[1] - spread.embeddings(ids)[1]).max())
                again = add_with_ray(spread, items, workers=2)
            report[name] = {
                "items": len(items),
                "added": [one.added, two.added],
                "largest_difference": apart,
                "seconds": [round(one.seconds, 1), round(two.seconds, 1)],
                "throughput_ratio": round(one.seconds / two.seconds, 2),
                "second_run": {"encoded": again.encoded, "unchanged": again.unchanged},
            }
    return report


def _draw(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)
    Image.fromarray(coarse).resize((240, 300), Image.Resampling.BICUBIC).save(path, quality=85)
    return path


def main() -> None:
    what, source, *more = sys.argv[1:]
    if what == "ray":
        result = ray(source, int(more[0]) if more else 20_000)
    else:
        result = {"rates": rates, "stores": stores}[what](source)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
