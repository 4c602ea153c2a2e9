"""The page of those who run the search, and what it stands on: jobs, proof, failures; for the key alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from PIL import Image

from serupa import Catalog
from serupa.catalog import reports
from serupa.catalog.backup import restore
from serupa.web.jobs import Shared
from serupa.web.settings import Settings, key_sha256
from tests.web.conftest import PHONE, Watched, Window, serve
from tests.web.test_api import BEARER, KEY, Client, client_of, is_problem
from tests.web.test_browser import check

SETTINGS = {"api_key_sha256": key_sha256(KEY), "events_days": 30}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """Twelve products of three photos each, enough to learn from, and a file that is no photo."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(4)
    rows = ["image,product_id,name,category,price"]
    for product in range(12):
        base = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        for shot in range(3):
            photo = base.rotate(8 * shot).resize((64 + 8 * shot, 80), Image.Resampling.BICUBIC)
            photo.save(folder / f"p{product}-{shot}.png")
            rows.append(
                f"p{product}-{shot}.png,P{product},Product {product},{'ab'[product % 2]},{product + 1}"
            )
    (folder / "broken.png").write_text("not a photo")
    (folder / "table.csv").write_text("\n".join([*rows, "broken.png,P99,Broken,a,1"]))
    with Catalog.create(tmp_path_factory.mktemp("admin") / "catalog") as made:
        made.add(folder / "table.csv")
        yield made


def done(client: Client) -> dict[str, Any]:
    for _ in range(300):
        job: dict[str, Any] = client.get("/api/v1/admin/job", headers=BEARER).json()
        if not job["runs"]:
            return job
        time.sleep(0.05)
    raise AssertionError("the job does not end")


def test_nobody_sees_it_without_the_api_key(shop: Catalog) -> None:
    with client_of(shop, Settings(**SETTINGS)) as client:
        for path in ("", "/job", "/insights"):
            assert is_problem(client.get(f"/api/v1/admin{path}"), 401)
        for path in ("/evaluate", "/tune", "/untune", "/backup"):
            assert is_problem(client.post(f"/api/v1/admin{path}", json={}), 401)
        page = client.get("/admin")
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert "P1" not in page.text


def test_what_could_not_be_used_is_told_with_its_reason(shop: Catalog) -> None:
    with client_of(shop, Settings(**SETTINGS)) as client:
        imported = client.get("/api/v1/admin", headers=BEARER).json()["imported"]
    assert (imported["added"], imported["failed"]) == (36, 1)
    assert "not an image" in imported["failures"][0]["reason"]


def test_measuring_and_learning_while_the_server_answers(shop: Catalog) -> None:
    item = next(shop.items()).id
    with client_of(shop, Settings(**SETTINGS)) as client:
        assert is_problem(client.get("/api/v1/admin/job", headers=BEARER), 404)
        started = client.post("/api/v1/admin/evaluate", json={}, headers=BEARER)
        assert (started.status_code, started.json()["name"]) == (202, "evaluate")
        measured = done(client)["result"]
        assert measured["queries"] == 36
        assert client.get("/api/v1/admin", headers=BEARER).json()["evaluation"]["label"] == "product_id"
        assert client.post("/api/v1/admin/tune", json={"label": "nothing"}, headers=BEARER).status_code == 202
        assert "no item has such a field" in done(client)["problem"]
        stop, answers = threading.Event(), []

        def search() -> None:
            while not stop.is_set():
                answers.append(client.get(f"/api/v1/items/{item}/similar?k=3").status_code)

        searching = threading.Thread(target=search)
        searching.start()
        try:
            assert client.post("/api/v1/admin/tune", json={}, headers=BEARER).status_code == 202
            assert is_problem(client.post("/api/v1/admin/tune", json={}, headers=BEARER), 409, "running")
            proof = done(client)["result"]
            assert proof["gains"]["product_id"][0]["measure"] == "map"
            if not proof["found"]:  # drawn photos may be too easy to get better at
                shop.use_whitening(None)
            assert client.post("/api/v1/admin/untune", headers=BEARER).status_code == 202
            done(client)
        finally:
            stop.set()
            searching.join()
        assert set(answers) == {200}
        assert client.get("/api/v1/admin", headers=BEARER).json()["tuning"] is None


def test_a_backup_is_made_while_the_server_answers(shop: Catalog, tmp_path: Path) -> None:
    with client_of(shop, Settings(**SETTINGS)) as client:
        assert is_problem(client.post("/api/v1/admin/backup", headers=BEARER), 403, "--backups")
    with client_of(shop, Settings(**SETTINGS, backups=str(tmp_path))) as client:
        assert is_problem(client.post("/api/v1/admin/backup"), 401)
        assert client.post("/api/v1/admin/backup", headers=BEARER).status_code == 202
        job = done(client)
        assert job["problem"] is None
        assert job["result"]["items"] == len(shop)
        assert str(tmp_path) not in str(job)
        assert client.get("/readyz").status_code == 200
    (written,) = tmp_path.iterdir()
    assert written.name == job["result"]["name"]
    restore(written, tmp_path / "again")
    with Catalog.open(tmp_path / "again") as catalog:
        assert len(catalog) == len(shop)


def test_an_exchange_waits_for_readers_and_they_for_it() -> None:
    shared, seen, begun, go = Shared(), [], threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        go.wait(5)
        seen.append("read")

    reader = threading.Thread(target=shared.reading(slow))
    reader.start()
    begun.wait(5)

    def exchange() -> None:
        with shared.alone():
            seen.append("exchanged")

    exchanger = threading.Thread(target=exchange)
    exchanger.start()
    late = threading.Thread(target=shared.reading(lambda: seen.append("late")))
    time.sleep(0.05)
    late.start()
    time.sleep(0.05)
    assert seen == []
    go.set()
    for thread in (reader, exchanger, late):
        thread.join(5)
    assert seen == ["read", "exchanged", "late"]


def test_reports_are_kept_where_there_is_a_place_for_them(shop: Catalog, tmp_path: Path) -> None:
    assert reports.kept(shop.backend, "import") is not None
    (shop.path / "import.json").write_text("[" * 5000)  # type: ignore[operator]
    assert reports.kept(shop.backend, "import") is None


@pytest.fixture
def running(browser: object, shop: Catalog, tmp_path: Path) -> Iterator[Window]:
    running = serve(shop, **SETTINGS, backups=str(tmp_path / "backups"))
    made = Window(browser, running.url, Watched(urlsplit(running.url).netloc))  # type: ignore[arg-type]
    made.watched.expected.append("401")
    yield made
    for context in made.contexts:
        context.close()
    running.stop()
    made.watched.check()


@pytest.mark.parametrize("options", [{}, {"viewport": PHONE, "locale": "id-ID"}])
def test_the_page(running: Window, shop: Catalog, sample_photo: Path, options: dict[str, Any]) -> None:
    item = next(shop.items())
    running.open(f"/item/{quote(item.id, safe='')}").wait_for_selector("#found .card:not(.waiting)")
    page = running.open("/admin", **options)
    page.locator("#sign-in input").fill("a-wrong-key-of-twenty-four")
    page.locator("#sign-in button").click()
    page.locator("#notice p").wait_for()
    page.locator("#sign-in input").fill(KEY)
    page.locator("#sign-in button").click()
    page.locator("#about dd").first.wait_for()
    assert page.locator("#about dd").first.inner_text() == "36"
    page.locator("#evaluate button").click()
    page.locator("#measured .big").wait_for()
    page.locator("summary").click()
    form = page.locator("#add")
    form.locator("[name=photo]").set_input_files(sample_photo)
    form.locator("[name=id]").fill("NEW-1")
    form.locator("[name=product_id]").fill("NEW")
    form.locator("[name=name]").fill("A new hat")
    form.locator("button").click()
    page.locator("#changed", has_text="NEW-1").wait_for()
    page.locator("#find input").fill("NEW")
    page.locator("#find button").click()
    remove = page.locator("#found-items button")
    remove.click()
    remove.click()
    page.locator("#found-items button").wait_for(state="detached")
    assert "NEW-1" not in shop
    page.locator("#back-up").click()
    page.locator("#backed-up p", has_text=".backup").wait_for()
    page.locator("#new-key").click()
    assert page.locator("#made pre").last.inner_text().startswith('api_key_sha256 = "')
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.get_by_role("heading", level=2).count() == 8
    page.locator("#told th", has_text=item.name).first.wait_for()  # what was looked at, by its name
    check(page, "admin")


def test_a_catalogue_on_servers_shows_where_it_lies(running: Window) -> None:
    replicas = [
        {"node": "one", "state": "Active", "points": 36},
        {"node": "two", "state": "Dead", "points": None},
    ]
    server = {
        "placement": [{"shard": 0, "replicas": replicas}],
        "deviations": ["shard 0 has 1 of 2 replicas"],
    }
    page = running.open("/admin")
    page.route("**/api/v1/status", lambda route: route.fulfill(json={"items": 36, "server": server}))
    page.route(
        "**/api/v1/admin",
        lambda route: route.fulfill(json=route.fetch().json() | {"size_bytes": None}),
    )
    page.locator("#sign-in input").fill(KEY)
    page.locator("#sign-in button").click()
    page.locator("#servers li", has_text="1 of 2 replicas").wait_for()
    assert page.locator("#servers td").inner_text() == "one: Active, 36 · two: Dead"
