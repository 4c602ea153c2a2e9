"""Events over HTTP: what a search, a click and a purchase leave behind, and who may tell them."""

from __future__ import annotations

from pathlib import Path

from serupa import Catalog, Item
from serupa.events import Click, Purchase, Search
from serupa.events.log import read_events
from serupa.web.settings import Settings, key_sha256
from tests.web.test_api import BEARER, KEY, client_of, is_problem, post


def test_a_search_its_click_and_its_purchase(catalog: Catalog, items: list[Item], tmp_path: Path) -> None:
    catalog.add(items)
    folder = tmp_path / "events"
    settings = Settings(events_days=7, events=str(folder), api_key_sha256=key_sha256(KEY))
    with client_of(catalog, settings) as client:
        found = post(client, "search", items[0].image, k=3, where="price>=1").json()
        alike = client.get(f"/api/v1/items/{items[0].id}/similar?k=2&offset=1").json()
        click = {"search": found["search"], "item": found["hits"][1]["id"], "to": "shop"}
        assert client.post("/api/v1/events/click", json=click).status_code == 204
        assert is_problem(client.post("/api/v1/events/click", json=click | {"who": "me"}), 422, "who")
        sold = {"item": found["hits"][1]["id"], "search": found["search"]}
        assert is_problem(client.post("/api/v1/events/purchase", json=sold), 401)
        assert client.post("/api/v1/events/purchase", json=sold, headers=BEARER).status_code == 204
    first, second, clicked, bought = read_events(folder)
    assert isinstance(first, Search)
    assert (first.id, first.by, first.where) == (found["search"], "photo", ("price>=1",))
    assert first.shown == tuple(hit["id"] for hit in found["hits"])
    assert isinstance(second, Search)
    assert (second.by, second.item, second.offset) == ("item", items[0].id, 1)
    assert second.id == alike["search"] != first.id
    assert isinstance(clicked, Click)
    assert isinstance(bought, Purchase)
    written = "".join(path.read_text() for path in folder.iterdir())
    assert "testclient" not in written
    assert KEY not in written


def test_nothing_is_kept_unless_the_shop_says_so(catalog: Catalog, items: list[Item]) -> None:
    catalog.add(items[:2])
    with client_of(catalog) as client:
        assert client.get(f"/api/v1/items/{items[0].id}/similar").json()["search"] is None
        answer = client.post("/api/v1/events/click", json={"search": "x", "item": "1"})
        assert is_problem(answer, 403, "events are off")
    assert catalog.backend.folder is not None
    assert not (catalog.backend.folder / "events").exists()


def test_a_log_that_cannot_be_written_fails_no_search(
    catalog: Catalog, items: list[Item], tmp_path: Path
) -> None:
    catalog.add(items[:2])
    (tmp_path / "file").touch()
    with client_of(catalog, Settings(events_days=1, events=str(tmp_path / "file"))) as client:
        assert client.get(f"/api/v1/items/{items[0].id}/similar").status_code == 200
