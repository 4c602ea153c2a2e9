"""What happens when there is too much: of clients, of bytes, of time. Nothing hangs, nothing is lost."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from serupa import Catalog, Item
from serupa.errors import ConflictError, DamagedError, NotFoundError, UnavailableError, UsageError
from serupa.storage.qdrant.address import parse_address
from serupa.styling.shopfront import Shopfront
from serupa.web import Settings, create_app
from serupa.web.limits import RateLimit
from serupa.web.problems import ProblemError, problem_of, public_text
from serupa.web.service import Advice, Service
from serupa.web.settings import key_sha256
from serupa.web.thumbnails import Thumbnails

KEY = "a-write-key-of-24-letters"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, items: list[Item]) -> Iterator[Catalog]:
    with Catalog.create(tmp_path_factory.mktemp("shop") / "catalog") as made:
        made.add(items[:12])
        yield made


class Held:
    """An encoder that waits: what was asked of it, and the word to go on."""

    def __init__(self, catalog: Catalog, patch: pytest.MonkeyPatch) -> None:
        self.batches: list[int] = []
        self.go = threading.Event()
        self.busy = threading.Event()
        encode = catalog.encoder.encode

        def held(pixels: Any) -> Any:
            self.busy.set()
            assert self.go.wait(30)
            self.batches.append(len(pixels))
            return encode(pixels)

        patch.setattr(catalog.encoder, "encode", held)


@contextmanager
def running(catalog: Catalog, **settings: Any) -> Iterator[tuple[TestClient, Service]]:
    app = create_app(catalog, Settings(**settings))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client, app.state.service


def search(client: TestClient, photo: str | bytes, **fields: Any) -> Any:
    data = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
    return client.post("/api/v1/search", files={"photo": ("photo.png", data)}, data=fields)


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


def decoded(service: Service) -> float:
    """How many photos have been decoded."""
    return float(service.metrics.registry.get_sample_value("serupa_decode_seconds_count") or 0)


def test_requests_that_come_together_are_encoded_together(
    shop: Catalog, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [shop.search(item.image, 5).to_dict()["hits"] for item in items[:12]]
    with running(shop, batch=8) as (client, service), ThreadPoolExecutor(12) as clients:
        held = Held(shop, monkeypatch)
        first = clients.submit(search, client, items[0].image, k=5)
        assert held.busy.wait(10)
        rest = [clients.submit(search, client, item.image, k=5) for item in items[1:12]]
        until(lambda: service.pool.taken == 12 and decoded(service) == 12)
        assert "serupa_queue_photos 12.0" in client.get("/metrics").text
        held.go.set()
        answers = [future.result(20) for future in [first, *rest]]
    assert held.batches == [1, 8, 3]
    for answer, wanted in zip(answers, alone, strict=True):
        assert answer.status_code == 200
        told = answer.json()["hits"]
        assert [hit["id"] for hit in told] == [hit["id"] for hit in wanted]
        assert [hit["distance"] for hit in told] == pytest.approx([h["distance"] for h in wanted], abs=1e-5)


def test_full_queue_refuses_at_once_and_recovers(
    shop: Catalog, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(shop, queue=3) as (client, service), ThreadPoolExecutor(3) as clients:
        held = Held(shop, monkeypatch)
        waiting = [clients.submit(search, client, item.image) for item in items[:3]]
        until(lambda: service.pool.taken == 3)
        started = time.monotonic()
        for address, fields in (("search", {}), ("explain", {"item_id": items[1].id})):
            refused = client.post(
                f"/api/v1/{address}", files={"photo": Path(items[0].image).read_bytes()}, data=fields
            )
            assert refused.status_code == 429, refused.text
            assert refused.headers["content-type"] == "application/problem+json"
            assert int(refused.headers["retry-after"]) >= 1
        assert time.monotonic() - started < 5
        assert client.get("/healthz").status_code == client.get("/api/v1/items/item-00").status_code == 200
        held.go.set()
        assert [future.result(20).status_code for future in waiting] == [200] * 3
        assert search(client, items[0].image).status_code == 200
        assert 'serupa_refused_total{reason="queue"} 2.0' in client.get("/metrics").text


def test_answer_that_takes_too_long(
    shop: Catalog, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(shop, time_limit_s=0.2, queue=1) as (client, service):
        held = Held(shop, monkeypatch)
        late = search(client, items[0].image)
        assert late.status_code == 503
        assert late.json()["code"] == "time"
        assert int(late.headers["retry-after"]) >= 1
        assert service.pool.taken == 0  # its place is free again
        held.go.set()
        until(lambda: search(client, items[0].image).status_code == 200)


def asgi_search(photo: bytes, *, leaves: asyncio.Event) -> tuple[dict[str, Any], Callable[[], Any]]:
    """A search as a server hands it on, from a client that leaves."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
        + photo
        + b"\r\n--x--\r\n"
    )
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/api/v1/search",
        "raw_path": b"/api/v1/search",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "headers": [
            (b"content-type", b"multipart/form-data; boundary=x"),
            (b"transfer-encoding", b"chunked"),
        ],
    }
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await leaves.wait()
        return {"type": "http.disconnect"}

    return scope, receive


def test_client_that_leaves_frees_its_place(
    shop: Catalog, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(shop, Settings(queue=3))
    service: Service = app.state.service
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        async with app.router.lifespan_context(app):
            held = Held(shop, monkeypatch)
            leaves = asyncio.Event()
            calls = []
            for number, item in enumerate(items[:3], 1):
                photo = Path(item.image).read_bytes()
                calls.append(asyncio.create_task(app(*asgi_search(photo, leaves=leaves), send)))  # type: ignore[arg-type]
                while service.pool.taken < number or not held.busy.is_set():
                    await asyncio.sleep(0.005)
            leaves.set()
            await asyncio.wait_for(asyncio.gather(*calls), 60)
            assert service.pool.taken == 0
            held.go.set()
        assert held.batches == [1]  # nothing is encoded for nobody

    asyncio.run(main())
    assert not sent


def test_stopping_answers_those_who_wait(
    shop: Catalog, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(shop)
    with ThreadPoolExecutor(1) as clients:
        with TestClient(app) as client:
            held = Held(shop, monkeypatch)
            waiting = clients.submit(search, client, items[0].image)
            assert held.busy.wait(10)
            threading.Timer(0.1, held.go.set).start()
            assert waiting.result(10).status_code == 200
        with pytest.raises(ProblemError, match="starting or stopping"):
            app.state.service.pool  # noqa: B018


# Bodies


def noise(size: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def test_body_over_the_limit_is_refused(shop: Catalog, items: list[Item]) -> None:
    photo = noise(300)
    with running(shop, limit_mb=0.1) as (client, service):
        refused = search(client, photo)
        assert refused.status_code == 413
        assert refused.headers["content-type"] == "application/problem+json"
        assert "0.1 MB" in refused.json()["detail"]

        def unsized() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
            for start in range(0, len(photo), 10_000):
                yield photo[start : start + 10_000]
            yield b"\r\n--x--\r\n"

        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        assert client.post("/api/v1/search", content=unsized(), headers=kind).status_code == 413
        assert search(client, items[0].image).status_code == 200
        assert 'route="unmatched",status="413"' in client.get("/metrics").text


def test_bodies_of_all_clients_are_bounded(shop: Catalog, items: list[Item]) -> None:
    with running(shop, limit_mb=10, held_mb=0.2) as (client, _):
        refused = search(client, noise(300))
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        for item in items[:8]:  # what was held is let go of
            assert search(client, item.image).status_code == 200


def test_body_that_does_not_come(shop: Catalog) -> None:
    app = create_app(shop, Settings(time_limit_s=0.2))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        async with app.router.lifespan_context(app):
            scope, _ = asgi_search(b"", leaves=asyncio.Event())
            messages = [{"type": "http.request", "body": b"--x\r\n", "more_body": True}]

            async def receive() -> Any:
                return messages.pop() if messages else await asyncio.sleep(3600)

            call = app(scope, receive, send)  # type: ignore[arg-type]
            await asyncio.wait_for(call, 120)

    asyncio.run(main())
    assert sent[0]["status"] == 408


# Rates


def test_rate_is_a_bucket_that_fills_again() -> None:
    now = [0.0]
    limit = RateLimit(60, lambda: now[0])
    for _ in range(15):
        limit.take("one")
    with pytest.raises(ProblemError) as refused:
        limit.take("one")
    assert refused.value.status == 429
    assert refused.value.headers["Retry-After"] == "1"
    limit.take("other")
    now[0] += 1
    limit.take("one")
    with pytest.raises(ProblemError):
        limit.take("one")
    for client in range(RateLimit._CLIENTS + 5):
        limit.take(f"client {client}")
    assert len(limit._buckets) == RateLimit._CLIENTS


def test_rate_is_by_key_else_by_address(shop: Catalog) -> None:
    with running(shop, rate_per_minute=8, api_key_sha256=key_sha256(KEY)) as (client, _):
        statuses = [client.get("/api/v1/info").status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        refused = client.get("/api/v1/info", headers={"X-API-Key": "made-up"})  # brings no bucket of its own
        assert refused.status_code == 429
        assert refused.json()["code"] == "rate"
        assert client.get("/api/v1/info", headers={"X-API-Key": KEY}).status_code == 200
        assert (
            client.get("/api/v1/items/item-00/image").status_code == 200
        )  # photos and pages are not counted
        assert client.get("/healthz").status_code == 200


# Thumbnails


def test_thumbnails_stay_within_their_room(tmp_path: Path, items: list[Item]) -> None:
    folder = tmp_path / "thumbnails"
    kept = Thumbnails(folder, 10_000_000)
    wanted = [kept.identify(item.image, 160) for item in items[:6]]
    sizes = [len(kept.read(item.image, one)[0]) for item, one in zip(items, wanted, strict=False)]
    assert [kept.read(item.image, one)[1] for item, one in zip(items, wanted, strict=False)] == [True] * 6

    smaller = Thumbnails(folder, sum(sizes[1:6]))
    smaller.read(items[1].image, wanted[1])
    names = {path.name for path in folder.iterdir()}
    assert wanted[0].name not in names  # the one that was used longest ago
    _, from_disk = smaller.read(items[0].image, wanted[0])
    assert not from_disk
    names = {path.name for path in folder.iterdir()}
    assert {wanted[0].name, wanted[1].name} <= names
    assert sum(path.stat().st_size for path in folder.iterdir()) <= sum(sizes[1:6])


def test_thumbnails_do_without_a_folder(tmp_path: Path, items: list[Item]) -> None:
    (tmp_path / "file").write_text("in the way")
    none = Thumbnails(tmp_path / "file" / "thumbnails", 1_000)
    data, kept = none.read(items[0].image, none.identify(items[0].image, 160))
    assert data.startswith(b"\xff\xd8")
    assert not kept


def test_what_an_error_is_about_is_not_sent_where_it_is_a_path() -> None:
    folder = Path("/srv/my shops/hats")
    hint = f"make one with: serupa index SOURCE -c {folder}"
    for error, shown in (
        (ConflictError(folder, "is being switched over", "try again"), "is being switched over; try again"),
        (NotFoundError(folder, "no catalogue there", hint), "no catalogue there"),
        (NotFoundError("dresses/02.png", "no such item"), "dresses/02.png: no such item"),
        (UsageError(parse_address("qdrant://host:6333/shop"), "no such metric"), "no such metric"),
    ):
        assert public_text(error) == shown
        assert problem_of(error).status == error.http_status


def test_the_servers_own_faults_say_no_more_than_that() -> None:
    for error, status in (
        (DamagedError("/srv/shop/points", "/srv/shop/points/a is damaged"), 500),
        (UnavailableError("/srv/shop", "no room on /srv"), 503),
    ):
        problem = problem_of(error)
        assert problem.status == status
        assert "srv" not in problem.detail


def test_advice_is_learned_once_and_anew_after_a_change(
    tmp_path: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request never waits for advice to be learned again: meanwhile it gets that of before."""
    go, learned = threading.Event(), []
    learn = Advice.of

    def slowly(catalog: Catalog, shopfront: Shopfront) -> Advice:
        learned.append(catalog.count())
        if len(learned) > 1:
            assert go.wait(30)
        return learn(catalog, shopfront)

    monkeypatch.setattr(Advice, "of", slowly)
    monkeypatch.setattr("serupa.web.service._REST_S", 0.0)
    monkeypatch.setattr("serupa.web.service._REST", 0.0)
    photo = Path(items[0].image).read_bytes()
    with Catalog.create(tmp_path / "catalog") as catalog:
        catalog.add(items[:6])
        with running(catalog, api_key_sha256=key_sha256(KEY)) as (client, _):
            for _ in range(3):
                assert client.post("/api/v1/garment", files={"photo": photo}).status_code == 200
            assert learned == [6]
            added = client.post(
                "/api/v1/items", files={"photo": photo}, data={"id": "new"}, headers={"X-API-Key": KEY}
            )
            assert added.status_code == 201
            until(lambda: learned == [6, 7])
            assert client.post("/api/v1/garment", files={"photo": photo}).status_code == 200
            go.set()


def test_advice_is_not_learned_after_each_of_many_changes(
    tmp_path: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Learning takes a small share of the time, however many items are added and removed."""
    learned = []
    learn = Advice.of

    def noted(catalog: Catalog, shopfront: Shopfront) -> Advice:
        learned.append(catalog.count())
        return learn(catalog, shopfront)

    monkeypatch.setattr(Advice, "of", noted)
    monkeypatch.setattr("serupa.web.service._REST_S", 0.5)
    photo = Path(items[0].image).read_bytes()
    key = {"X-API-Key": KEY}
    with Catalog.create(tmp_path / "catalog") as catalog:
        catalog.add(items[:6])
        with running(catalog, api_key_sha256=key_sha256(KEY)) as (client, _):
            until(lambda: len(learned) == 1)
            for number in range(8):
                assert client.post(
                    "/api/v1/items", files={"photo": photo}, data={"id": f"{number}"}, headers=key
                ).is_success
            until(lambda: len(learned) > 1 and learned[-1] == 14)
            assert len(learned) < 6


def test_a_store_without_room_is_the_servers_fault_and_leaves_nothing(
    tmp_path: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise UnavailableError(tmp_path, "no room left on the disk")

    photo = Path(items[0].image).read_bytes()
    with Catalog.create(tmp_path / "catalog") as catalog:
        with running(catalog, api_key_sha256=key_sha256(KEY)) as (client, _):
            monkeypatch.setattr(catalog, "add", full)
            answer = client.post(
                "/api/v1/items", files={"photo": photo}, data={"id": "new"}, headers={"X-API-Key": KEY}
            )
        assert (answer.status_code, answer.json()["code"]) == (503, "store")
        assert str(tmp_path) not in answer.text
        assert not list((tmp_path / "catalog" / "photos").glob("*"))


def test_thumbnails_of_a_server_stay_within_its_setting(
    shop: Catalog, items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERUPA_CACHE", str(tmp_path))
    with running(shop, thumbnails_mb=0.01) as (client, _):
        sizes = [
            len(client.get(f"/api/v1/items/{item.id}/image?size={size}").content)
            for item in items[:12]
            for size in (160, 320)
        ]
    assert sum(sizes) > 10_000
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.jpg")) <= 10_000


def test_decoders_that_are_stuck_make_it_not_ready(
    shop: Catalog, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    go, preprocess = threading.Event(), shop.encoder.preprocess

    def stuck(*given: Any) -> Any:
        assert go.wait(30)
        return preprocess(*given)

    monkeypatch.setattr("serupa.web.service._READY_S", 0.3)
    with running(shop) as (client, service), ThreadPoolExecutor(64) as clients:
        assert client.get("/readyz").status_code == 200
        monkeypatch.setattr(shop.encoder, "preprocess", stuck)
        waiting = [clients.submit(search, client, items[0].image) for _ in range(40)]
        until(lambda: service.pool.taken == 40)
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        go.set()
        assert {future.result(30).status_code for future in waiting} == {200}
        assert client.get("/readyz").status_code == 200


def test_learning_that_meets_a_change_is_done_again(
    tmp_path: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    learn, calls = Advice.of, []

    def gone(catalog: Catalog, shopfront: Shopfront) -> Advice:
        calls.append(catalog)
        if len(calls) == 1:
            raise NotFoundError("item-00", "no such item")
        return learn(catalog, shopfront)

    monkeypatch.setattr(Advice, "of", gone)
    photo = Path(items[0].image).read_bytes()
    with Catalog.create(tmp_path / "catalog") as catalog:
        catalog.add(items[:3])
        with running(catalog) as (client, _):
            until(lambda: bool(calls))
            statuses = [client.post("/api/v1/garment", files={"photo": photo}).status_code for _ in range(2)]
            assert statuses[-1] == 200
    assert "Traceback" not in caplog.text
