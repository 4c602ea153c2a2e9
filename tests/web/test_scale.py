"""Several replicas of one catalogue on a server, and several catalogues in one service."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from serupa import Catalog, Item
from serupa.errors import UsageError
from serupa.storage.qdrant import lease
from serupa.web import service as web_service
from serupa.web.app import create_app
from serupa.web.settings import Settings, key_sha256
from serupa.web.tenants import Tenant, Tenants, read_tenants, share_encoders
from tests.qdrant_server import Server, running
from tests.storage.test_qdrant_backend import whitening

READ_A, READ_B, WRITE_B = (f"{letter * 20}" for letter in "abc")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as made:
        yield made


def wait_for(what: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def hits(client: TestClient, item: str = "item-00") -> list[tuple[str, float]]:
    answer = client.get(f"/api/v1/items/{item}/similar", params={"k": 5})
    assert answer.status_code == 200, answer.text
    return [(h["id"], round(h["distance"], 6)) for h in answer.json()["hits"]]


def test_status_tells_where_the_catalogue_lies(server: Server, items: list[Item], tmp_path: Path) -> None:
    with Catalog.create(server.address("lies", shards=2)) as catalog:
        catalog.add(items)
    settings = Settings(api_key_sha256=key_sha256(WRITE_B))
    key = {"X-API-Key": WRITE_B}
    with TestClient(create_app(Catalog.open(server.address("lies")), settings)) as client:
        assert client.get("/api/v1/status").status_code == 401
        status = client.get("/api/v1/status", headers=key).json()
        assert (status["items"], status["server"]["shards"], status["server"]["deviations"]) == (24, 2, [])
        (one, two) = status["server"]["placement"]
        assert one["replicas"][0]["points"] + two["replicas"][0]["points"] == 24
    with Catalog.create(tmp_path / "shop") as catalog:
        catalog.add(items[:3])
    with TestClient(create_app(Catalog.open(tmp_path / "shop"), settings)) as client:
        assert client.get("/api/v1/status", headers=key).json() == {"items": 3, "server": None}


def test_replicas_share_everything(
    server: Server, items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one replica is told, the other answers; a switch reaches both, and no request fails meanwhile."""
    monkeypatch.setattr(lease, "SETTLE_S", 0.0)
    monkeypatch.setattr(web_service, "_REFRESH_S", 0.1)
    address, photo = server.address("replicas"), Path(items[0].image).read_bytes()
    with Catalog.create(address) as made:
        made.add(items)
    settings = Settings(api_key_sha256=key_sha256(WRITE_B), photos=str(tmp_path / "uploads"))
    catalogs = [Catalog.open(address) for _ in range(2)]
    share_encoders(catalogs)
    with (
        TestClient(create_app(catalogs[0], settings)) as one,
        TestClient(create_app(catalogs[1], settings)) as two,
    ):
        assert [c.get("/readyz").status_code for c in (one, two)] == [200, 200]
        before = hits(one)
        assert before == hits(two)
        sent = one.post(
            "/api/v1/items",
            files={"photo": photo},
            data={"id": "new", "attributes": '{"fit": "slim"}'},
            headers={"X-API-Key": WRITE_B},
        )
        assert sent.status_code == 201, sent.text
        assert two.get("/api/v1/items/new").status_code == 200
        assert two.get("/api/v1/items/new/image").status_code == 200
        wait_for(lambda: "fit" in two.get("/api/v1/info").json()["fields"])
        info = two.get("/api/v1/info").json()
        assert info["size_bytes"] is None and "127.0.0.1" not in str(info)
        before = hits(one)  # with the new item
        with Catalog.open(address) as tuner:
            tuner.use_whitening(whitening(tuner))
        for client in (one, two):
            hits(client)
            wait_for(lambda client=client: hits(client) != before)
            found = client.post("/api/v1/search", files={"photo": photo}, data={"k": "2"}).json()["hits"]
            assert {h["id"] for h in found} == {"item-00", "new"}
        assert hits(one) == hits(two)
    for catalog in catalogs:
        catalog.close()


def test_readiness_tells_the_truth(items: list[Item], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serupa.storage.qdrant.client.READ_PATIENCE_S", 0.3)
    with running() as server:
        catalog = Catalog.create(server.address("away"))
        catalog.add(items[:3])
        client = TestClient(create_app(catalog)).__enter__()
        assert client.get("/readyz").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200
    answer = client.get("/api/v1/items/item-00/similar")
    assert (answer.status_code, answer.json()["code"]) == (503, "store")
    assert "127.0.0.1" not in answer.text and answer.headers["retry-after"]
    client.__exit__(None, None, None)
    catalog.close()


def test_photos_need_a_place(server: Server, items: list[Item]) -> None:
    with Catalog.create(server.address("nowhere")) as catalog:
        settings = Settings(api_key_sha256=key_sha256(WRITE_B))
        with TestClient(create_app(catalog, settings)) as client:
            photo = Path(items[0].image).read_bytes()
            headers = {"X-API-Key": WRITE_B}
            answer = client.post("/api/v1/items", files={"photo": photo}, data={"id": "x"}, headers=headers)
            assert answer.status_code == 403 and "--photos" in answer.json()["detail"]


@pytest.fixture(scope="module")
def tenants(items: list[Item], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("tenants")
    a = Catalog.create(folder / "a")
    b = Catalog.create(folder / "b")
    a.add(items[:8])
    b.add(items[8:12])
    share_encoders([a, b])
    assert a.encoder is b.encoder
    settings = {
        "a": Settings(read_key_sha256=key_sha256(READ_A)),
        "b": Settings(read_key_sha256=key_sha256(READ_B), api_key_sha256=key_sha256(WRITE_B)),
    }
    apps = {"a": create_app(a, settings["a"]), "b": create_app(b, settings["b"])}
    with TestClient(Tenants(apps, Settings())) as client:
        yield client
    a.close()
    b.close()


def test_each_sees_their_own(tenants: TestClient, items: list[Item]) -> None:
    def ids(headers: dict[str, str]) -> set[str]:
        return {item["id"] for item in tenants.get("/api/v1/items", headers=headers).json()["items"]}

    first, second = {i.id for i in items[:8]}, {i.id for i in items[8:12]}
    assert ids({"X-API-Key": READ_A}) == ids({"Authorization": f"Bearer {READ_A}"}) == first
    assert ids({"X-API-Key": READ_B}) == ids({"X-API-Key": WRITE_B}) == second
    for key, own, other in ((READ_A, "item-00", "item-09"), (READ_B, "item-09", "item-00")):
        headers = {"X-API-Key": key}
        for path in ("", "/similar", "/image"):
            assert tenants.get(f"/api/v1/items/{own}{path}", headers=headers).status_code == 200
            assert tenants.get(f"/api/v1/items/{other}{path}", headers=headers).status_code == 404
        photo = {"photo": Path(items[0].image).read_bytes()}
        found = tenants.post("/api/v1/search", files=photo, data={"k": "50"}, headers=headers).json()["hits"]
        assert {h["id"] for h in found} == (first if key == READ_A else second)
    text = tenants.get("/metrics", headers={"X-API-Key": READ_B}).text
    assert "serupa_catalog_items 4.0" in text
    assert tenants.get("/", auth=("anybody", READ_A)).status_code == 200


def test_nobody_writes_into_another_s(tenants: TestClient) -> None:
    for key, item in ((READ_A, "item-00"), (READ_B, "item-09"), (READ_A, "item-09")):
        answer = tenants.delete(f"/api/v1/items/{item}", headers={"X-API-Key": key})
        assert answer.status_code == 403
    assert tenants.delete("/api/v1/items/item-00", headers={"X-API-Key": WRITE_B}).status_code == 404
    assert tenants.delete("/api/v1/items/item-09", headers={"X-API-Key": WRITE_B}).status_code == 204


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "x" * 20}, {"Authorization": "Basic eA=="}])
@pytest.mark.parametrize("path", ["/", "/api/v1/info", "/metrics", "/docs", "/openapi.json", "/static/x.css"])
def test_strangers_see_nothing(tenants: TestClient, headers: dict[str, str], path: str) -> None:
    answer = tenants.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["code"] == "key-needed" and "Basic" in answer.headers["www-authenticate"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_health_needs_no_key(tenants: TestClient) -> None:
    assert tenants.get("/healthz").json() == tenants.get("/readyz").json() == {"status": "ok"}


def test_tenants_are_read(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(
        f"""
        port = 0
        [tenants.a]
        catalog = "a"
        read_key = "{READ_A}"
        [tenants.b]
        catalog = "qdrant://host/b"
        read_key_sha256 = "{key_sha256(READ_B)}"
        api_key = "{WRITE_B}"
        photos = "uploads"
        """
    )
    found = read_tenants(file, Settings(rate_per_minute=60))
    assert [(t.name, t.catalog) for t in found] == [("a", "a"), ("b", "qdrant://host/b")]
    assert found[1].settings == Settings(
        rate_per_minute=60,
        read_key_sha256=key_sha256(READ_B),
        api_key_sha256=key_sha256(WRITE_B),
        photos="uploads",
    )
    assert isinstance(found[0], Tenant)


@pytest.mark.parametrize(
    "text",
    [
        '[tenants.a]\nread_key = "{a}"',
        '[tenants.a]\ncatalog = "a"',
        '[tenants.a]\ncatalog = "a"\nread_key = "short"',
        '[tenants.a]\ncatalog = "a"\nread_key = "{a}"\nport = 1',
        '[tenants.a]\ncatalog = 1\nread_key = "{a}"',
        '[tenants."A b"]\ncatalog = "a"\nread_key = "{a}"',
        '[tenants.a]\ncatalog = "a"\nread_key = "{a}"\n[tenants.b]\ncatalog = "b"\nread_key = "{a}"',
        '[tenants.a]\ncatalog = "a"\nread_key = "{a}"\n[tenants.b]\ncatalog = "a"\nread_key = "{b}"',
        "tenants = 3",
        "tenants.a = 3",
    ],
)
def test_tenants_that_are_not_whole(tmp_path: Path, text: str) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(text.replace("{a}", READ_A).replace("{b}", READ_B))
    with pytest.raises(UsageError) as told:
        read_tenants(file, Settings())
    assert READ_A not in str(told.value)


def test_strangers_are_logged_and_counted(tenants: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "serupa.access")
    tenants.get("/api/v1/info", headers={"X-API-Key": "guessed-key-of-20-letters"})
    tenants.get("/api/v1/info", headers={"X-API-Key": READ_A})
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "serupa.access"]
    assert [(line["status"], line["tenant"]) for line in lines] == [(401, None), (200, "a")]
    assert READ_A not in caplog.text


def test_the_damage_of_one_is_theirs_alone(items: list[Item], tmp_path: Path) -> None:
    settings = {
        "a": Settings(read_key_sha256=key_sha256(READ_A)),
        "b": Settings(read_key_sha256=key_sha256(READ_B)),
    }
    origin = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    with Catalog.create(tmp_path / "b") as b:
        b.add(items[:2])
        apps = {"b": create_app(b, settings["b"])}
        server = Tenants(apps, Settings(cors_origins=("https://shop.example",)), {"a": settings["a"]})
        with TestClient(server) as client:
            assert client.get("/api/v1/info", headers={"X-API-Key": READ_B}).status_code == 200
            closed = client.get("/api/v1/info", headers={"X-API-Key": READ_A})
            assert (closed.status_code, closed.json()["code"]) == (503, "store")
            preflight = client.options("/api/v1/search", headers=origin)  # browsers send it without a key
            assert preflight.status_code == 200
            assert preflight.headers["access-control-allow-origin"] == "https://shop.example"


def test_the_command_wants_one_or_the_other(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "serupa", "serve"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "names tenants" in done.stderr


def test_strangers_have_a_rate(items: list[Item], tmp_path: Path) -> None:
    settings = Settings(read_key_sha256=key_sha256(READ_A))
    with Catalog.create(tmp_path / "a") as catalog:
        server = Tenants({"a": create_app(catalog, settings)}, Settings(rate_per_minute=8))
        with TestClient(server) as client:
            guesses = [client.get("/", headers={"X-API-Key": f"guess-{n:020}"}).status_code for n in range(5)]
            assert guesses == [401, 401, 429, 429, 429]
            assert client.get("/", headers={"X-API-Key": READ_A}).status_code == 200
