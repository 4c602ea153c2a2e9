"""Photos of items at other servers: one that is slow keeps nothing else waiting."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2

from serupa import Catalog, Item
from tests.files.web_server import Server
from tests.web.test_api_server import serving


def test_a_slow_one_keeps_nothing_waiting(tmp_path: Path, items: list[Item]) -> None:
    photo = Path(items[0].image)
    with Server(photo.parent, stall_s=60.0) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        with Catalog.create(tmp_path / "catalog") as catalog:
            address = f"{elsewhere.base}/file/{photo.name}"
            catalog.add([Item(f"far-{n}", f"{address}?{n}") for n in range(3)] + [Item("near", str(photo))])
            assert len(catalog) == 4
        elsewhere.stalls = True
        with serving(tmp_path / "catalog", "--time-limit", "3") as (url, process):
            client = httpx2.Client(base_url=url, timeout=30)

            def get(path: str) -> int:
                return client.get(path).status_code

            def post(path: str, photo: bytes | None = None, **fields: str) -> int:
                files = {name: (None, value) for name, value in fields.items()}
                return client.post(
                    path, files=files | ({} if photo is None else {"photo": photo})
                ).status_code

            with ThreadPoolExecutor(12) as threads:
                far = [threads.submit(get, f"/api/v1/items/far-{n % 3}/image") for n in range(6)]
                far += [
                    threads.submit(post, "/api/v1/explain", item_id="near", from_id=f"far-{n % 3}")
                    for n in range(4)
                ]
                time.sleep(0.5)
                assert get("/api/v1/items/near/image") == 200
                assert post("/api/v1/search", photo=photo.read_bytes()) == 200
                assert post("/api/v1/explain", item_id="near", photo=photo.read_bytes()) == 200
                assert not any(one.done() for one in far)
                assert {one.result() for one in far} == {503}
            process.tell(signal.SIGTERM)
            assert process.ended()[0] == 0
