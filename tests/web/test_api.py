"""The REST API: what every route takes, returns and refuses."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from serupa import Catalog, Crop, Item
from serupa.errors import InvalidInputError, NotFoundError, UsageError
from serupa.vectors import METRICS
from serupa.web import Settings, create_app
from serupa.web.settings import key_sha256, load_settings
from tests.files.web_server import Server

KEY, READ_KEY = "a-write-key-of-24-letters", "a-read-key-of-23-letters"
WRITE = Settings(api_key_sha256=key_sha256(KEY))
BEARER = {"Authorization": f"Bearer {KEY}"}

Client = TestClient


@contextmanager
def client_of(catalog: Catalog, settings: Settings | None = None) -> Iterator[TestClient]:
    # an error that nobody foresaw is to be seen as the client sees it
    with TestClient(create_app(catalog, settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, items: list[Item]) -> Iterator[Catalog]:
    with Catalog.create(tmp_path_factory.mktemp("shop") / "catalog", metrics=METRICS) as made:
        made.add(items)
        yield made


@pytest.fixture(scope="module")
def client(shop: Catalog) -> Iterator[Client]:
    with client_of(shop) as made:
        yield made


@pytest.fixture
def writing(catalog: Catalog) -> Iterator[Client]:
    with client_of(catalog, WRITE) as made:
        yield made


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Catalog]]:
    """An empty catalogue that can be changed, for what does not change it."""
    with (
        Catalog.create(tmp_path_factory.mktemp("shelf") / "catalog") as made,
        client_of(made, WRITE) as client,
    ):
        yield client, made


def post(client: Client, address: str, photo: str | bytes, **fields: Any) -> Any:
    data = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
    return client.post(f"/api/v1/{address}", files={"photo": ("photo.png", data)}, data=fields)


def jpeg(size: tuple[int, int] = (400, 300), **options: Any) -> bytes:
    rng = np.random.default_rng(size[0])
    pixels = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize(size)
    out = io.BytesIO()
    pixels.save(out, "JPEG", **options)
    return out.getvalue()


def is_problem(answer: Any, status: int, *words: str) -> bool:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert {"type", "title", "detail", "code"} <= set(body)
    assert all(word in body["detail"] for word in words), body["detail"]
    return True


# Search


@pytest.mark.parametrize("by", ["item", "product"])
@pytest.mark.parametrize("metric", METRICS)
def test_search_finds_what_the_library_finds(
    client: Client, shop: Catalog, items: list[Item], metric: str, by: Any
) -> None:
    where, crop = ["category=hats|shirts", "price>=12"], Crop(0.1, 0.1, 0.8, 0.7)
    wanted = shop.search(items[4].image, 5, metric=metric, by=by, where=where, crop=crop, offset=1).to_dict()
    answer = post(
        client, "search", items[4].image, k=5, metric=metric, by=by, where=where, crop=str(crop), offset=1
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    for hit in wanted["hits"]:
        hit["image"] = f"/api/v1/items/{quote(hit['id'], safe='')}/image"
    for hit in told["hits"]:
        assert hit.pop("offer")["price"] == hit["attributes"]["price"]
        assert hit.pop("name") == hit["attributes"]["name"]
    assert told["hits"] == wanted["hits"]
    assert (told["metric"], told["encoder"], told["offset"]) == (metric, shop.manifest.card.name, 1)
    assert all(told["timing_ms"][step] >= 0 for step in ("decode", "wait", "encode", "search"))


def test_search_says_whether_there_is_more(client: Client, items: list[Item]) -> None:
    assert post(client, "search", items[0].image, k=23).json()["more"] is True
    last = post(client, "search", items[0].image, k=10, offset=20).json()
    assert (len(last["hits"]), last["more"], last["hits"][0]["rank"]) == (4, False, 21)
    assert len(post(client, "search", items[0].image).json()["hits"]) == 10


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"k": 0}, ("k",)),
        ({"k": 101}, ("k",)),
        ({"k": "many"}, ("k",)),
        ({"metric": "angle"}, ("metric",)),
        ({"by": "shop"}, ("by",)),
        ({"offset": -1}, ("offset",)),
        ({"offset": 10**30}, ("offset",)),
        ({"crop": "0,0,2,2"}, ("crop",)),
        ({"crop": "left"}, ("crop",)),
        ({"where": "size=3"}, ("size",)),
        ({"where": "price"}, ("price",)),
        ({"where": "price>=cheap"}, ("price",)),
        ({"unknown": "1"}, ("unknown",)),
    ],
)
def test_search_refuses_what_it_cannot_use(
    client: Client, items: list[Item], fields: dict[str, Any], words: tuple[str, ...]
) -> None:
    assert is_problem(post(client, "search", items[0].image, **fields), 422, *words)


@pytest.mark.parametrize(
    ("photo", "words"),
    [
        (b"just some text", "looks like text"),
        (b"", "empty"),
        (jpeg()[:2000], "cut short"),
        (jpeg((4, 4)), "too small"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\x86\xa0\0\1\x86\xa0\x08\2\0\0\0", ""),  # 100,000 x 100,000
    ],
)
def test_search_refuses_what_is_no_photo(client: Client, photo: bytes, words: str) -> None:
    answer = post(client, "search", photo)
    assert is_problem(answer, 422, words)
    assert answer.json()["code"] == "photo"


def test_search_refuses_what_is_no_form(client: Client) -> None:
    assert is_problem(client.post("/api/v1/search", json={"photo": "x"}), 415, "multipart/form-data")
    assert is_problem(client.post("/api/v1/search"), 415)
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    assert is_problem(client.post("/api/v1/search", content=b"--y\r\nnothing", headers=broken), 400)
    no_boundary = {"Content-Type": "multipart/form-data"}
    assert is_problem(client.post("/api/v1/search", content=b"--y", headers=no_boundary), 400)
    assert is_problem(client.post("/api/v1/search", files={"other": b"x"}), 422, "other")
    assert is_problem(client.post("/api/v1/search", files={"k": (None, "3")}), 422, "give a photo or a text")
    twice = [("photo", ("a.jpg", jpeg())), ("photo", ("b.jpg", jpeg()))]
    assert is_problem(client.post("/api/v1/search", files=twice), 400, "many files")


def test_metric_that_the_catalog_has_not(tmp_path: Path, items: list[Item]) -> None:
    with Catalog.create(tmp_path / "catalog") as made, client_of(made) as client:
        assert is_problem(post(client, "search", items[0].image, metric="manhattan"), 422, "it has cosine")
        assert post(client, "search", items[0].image).json()["hits"] == []


def test_photo_of_a_query_touches_no_disk(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def rollover(*_: object) -> None:
        raise AssertionError("a photo was written to a temporary file")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", rollover)
    large = jpeg((3000, 3000), quality=98) + bytes(5_000_000)
    assert post(client, "search", large).status_code == 200


# Items


def test_items_are_listed_in_pages(client: Client, items: list[Item]) -> None:
    seen: list[str] = []
    more = True
    while more:
        page = client.get("/api/v1/items", params={"limit": 10, "offset": len(seen)}).json()
        seen += [one["id"] for one in page["items"]]
        more = page["more"]
    assert sorted(seen) == sorted(item.id for item in items)
    hats = client.get("/api/v1/items", params={"where": ["category=hats", "price<20"]}).json()
    assert {one["id"] for one in hats["items"]} == {"item-01", "item-04", "item-07"}
    assert not hats["more"]
    assert is_problem(client.get("/api/v1/items?where=colour=red"), 422, "colour")


def test_item_comes_with_the_photos_of_its_product(client: Client, items: list[Item]) -> None:
    told = client.get("/api/v1/items/item-04").json()
    assert told["attributes"] == dict(items[4].attributes)
    assert told["image"] == "/api/v1/items/item-04/image"
    assert [one["id"] for one in told["photos"]] == ["item-03", "item-05"]
    assert is_problem(client.get("/api/v1/items/nobody"), 404, "no item 'nobody'")


def test_ids_may_hold_anything(tmp_path: Path, items: list[Item]) -> None:
    ids = ["a/b.jpg", "../up", "with space", "ü?#&", "/slash", "a//b"]
    with Catalog.create(tmp_path / "catalog") as made:
        made.add([Item(one, items[n].image) for n, one in enumerate(ids)])
        with client_of(made) as client:
            for one in ids:
                address = f"/api/v1/items/{quote(one, safe='')}"
                assert client.get(address).json()["id"] == one
                assert client.get(f"{address}/similar").status_code == 200
                assert client.get(client.get(address).json()["image"]).status_code == 200
                assert client.get(f"/item/{quote(one, safe='')}").status_code == 200


def test_ids_may_end_as_addresses_do(tmp_path: Path, items: list[Item]) -> None:
    with Catalog.create(tmp_path / "catalog") as made:
        made.add([Item(one, items[0].image) for one in ("hat", "hat/image", "hat/similar")])
        with client_of(made) as client:
            for one in ("hat/image", "hat/similar"):
                assert client.get(f"/api/v1/items/{quote(one, safe='')}").json()["id"] == one
            assert client.get("/api/v1/items/hat/similar").json()["hits"]
            assert client.get("/api/v1/items/hat/image").headers["content-type"] == "image/jpeg"
            nested = client.get(f"/api/v1/items/{quote('hat/image', safe='')}/image")
            assert nested.headers["content-type"] == "image/jpeg"


def test_results_in_another_order_are_the_library_s(client: Client, shop: Catalog) -> None:
    wanted = shop.similar("item-02", 4, sort="-price", offset=1)
    told = client.get("/api/v1/items/item-02/similar?k=4&sort=-price&offset=1").json()
    assert [hit["id"] for hit in told["hits"]] == [hit.item.id for hit in wanted]
    assert [hit["offer"]["price"] for hit in told["hits"]] == [hit.item.attributes["price"] for hit in wanted]
    assert told["more"]
    assert is_problem(client.get("/api/v1/items/item-02/similar?sort=nothing"), 422)
    assert is_problem(client.post("/api/v1/search", files={"photo": b"x"}, data={"sort": "nothing"}), 422)


def test_similar_is_the_library_s(client: Client, shop: Catalog) -> None:
    for by in ("item", "product"):
        wanted = shop.similar("item-02", 4, by=by, where=["price<=30"]).to_dict()  # type: ignore[arg-type]
        told = client.get(f"/api/v1/items/item-02/similar?k=4&by={by}&where=price<=30").json()
        assert [(h["id"], h["distance"]) for h in told["hits"]] == [
            (h["id"], h["distance"]) for h in wanted["hits"]
        ]
        assert told["timing_ms"]["decode"] is None
    assert is_problem(client.get("/api/v1/items/nobody/similar"), 404)
    assert is_problem(client.get("/api/v1/items/item-02/similar?k=1000"), 422, "k")


# Photos


def test_thumbnails_are_small_upright_and_without_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010E] = "where I live"
    (tmp_path / "turned.jpg").write_bytes(jpeg((3000, 2000), exif=exif))
    with Catalog.create(tmp_path / "catalog") as made:
        made.add([Item("turned", str(tmp_path / "turned.jpg"))])
        with client_of(made) as client:
            for asked, side in ((1, 160), (160, 160), (161, 320), (None, 640), (1280, 1280)):
                answer = client.get("/api/v1/items/turned/image", params={"size": asked} if asked else {})
                assert answer.headers["content-type"] == "image/jpeg"
                with Image.open(io.BytesIO(answer.content)) as image:
                    assert image.format == "JPEG"
                    assert image.size == (round(side * 2 / 3), side)
                    assert not dict(image.getexif())
                assert b"where I live" not in answer.content
            assert is_problem(client.get("/api/v1/items/turned/image?size=1281"), 422, "size")
            assert is_problem(client.get("/api/v1/items/turned/image?size=0"), 422, "size")


def test_thumbnails_are_not_sent_twice(client: Client) -> None:
    first = client.get("/api/v1/items/item-00/image?size=160")
    etag = first.headers["etag"]
    assert etag.startswith('"')
    assert "max-age" in first.headers["cache-control"]
    for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        again = client.get("/api/v1/items/item-00/image?size=160", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    other = client.get("/api/v1/items/item-00/image?size=320", headers={"If-None-Match": etag})
    assert other.status_code == 200
    assert other.headers["etag"] != etag


def test_photo_that_is_gone_or_damaged(catalog: Catalog, tmp_path: Path) -> None:
    photo = tmp_path / "here.jpg"
    photo.write_bytes(jpeg())
    catalog.add([Item("here", str(photo))])
    with client_of(catalog) as client:
        first = client.get("/api/v1/items/here/image").headers["etag"]
        photo.write_bytes(jpeg((300, 400)))
        assert client.get("/api/v1/items/here/image").headers["etag"] != first
        photo.write_bytes(b"no photo")
        assert is_problem(client.get("/api/v1/items/here/image"), 404, "missing")
        photo.unlink()
        gone = client.get("/api/v1/items/here/image")
        assert is_problem(gone, 404, "missing")
        assert gone.json()["code"] == "photo-missing"
        assert is_problem(client.get("/api/v1/items/nobody/image"), 404, "no item")


# What else there is


def test_facets_count_and_bound(client: Client) -> None:
    fields = {one["name"]: one for one in client.get("/api/v1/facets").json()["fields"]}
    assert fields["category"]["values"] == [
        {"value": name, "count": 8} for name in ("dresses", "hats", "shirts")
    ]
    assert (fields["price"]["kind"], fields["price"]["min"], fields["price"]["max"]) == ("number", 10, 33)
    assert "description" not in fields
    fewer = client.get("/api/v1/facets", params={"where": ["price=10..12"]}).json()["fields"]
    assert {one["name"]: one for one in fewer}["category"]["values"][0]["count"] == 1
    assert {one["name"]: one for one in fewer}["price"]["max"] == 33  # what else could be chosen
    products = client.get("/api/v1/facets", params={"by": "product", "values": 2}).json()["fields"]
    category = {one["name"]: one for one in products}["category"]
    assert category["values"] == [{"value": name, "count": 8} for name in ("dresses", "hats")]
    assert category["more"]
    assert is_problem(client.get("/api/v1/facets?where=x>1"), 422)


def test_facets_follow_changes(writing: Client) -> None:
    def hats() -> int:
        fields = {one["name"]: one for one in writing.get("/api/v1/facets").json()["fields"]}
        return {one["value"]: one["count"] for one in fields["category"]["values"]}["hats"]

    before = hats()
    assert writing.delete("/api/v1/items/item-01", headers=BEARER).status_code == 204
    assert hats() == before - 1


def test_info_tells_no_path(client: Client, shop: Catalog) -> None:
    info = client.get("/api/v1/info").json()
    assert (info["items"], info["products"], info["metrics"]) == (24, 8, list(METRICS))
    assert info["limits"] == {"body_bytes": 20_000_000, "pixels": 100_000_000, "k": 100}
    assert (info["writable"], info["explains"]) == (False, True)
    assert "path" not in info
    assert str(shop.path.parent) not in json.dumps(info)


def test_regions(client: Client, items: list[Item]) -> None:
    assert client.get("/api/v1/info").json()["regions"]
    found = post(client, "regions", items[3].image).json()["regions"]
    for region in found:
        x, y, w, h = region["box"]
        assert 0 <= x < x + w <= 1.001 and 0 <= y < y + h <= 1.001
    assert is_problem(post(client, "regions", b"text"), 422, "not an image")


def test_explain(client: Client, items: list[Item]) -> None:
    told = post(client, "explain", items[3].image, item_id="item-07", crop="0,0,1,0.5").json()
    assert (told["metric"], told["what"]) == ("cosine", "similarity")
    for part in ("query", "item"):
        heat = told[part]
        assert np.shape(heat["cells"]) == (heat["rows"], heat["columns"])
        assert np.sum(heat["cells"]) == pytest.approx(told["similarity"], abs=1e-4)
    from_item = {"from_id": (None, "item-03"), "item_id": (None, "item-07"), "metric": (None, "euclidean")}
    stored = client.post("/api/v1/explain", files=from_item).json()
    assert np.sum(stored["query"]["cells"]) == pytest.approx(stored["distance"], rel=1e-4)


def test_explain_refusals(client: Client, items: list[Item]) -> None:
    both = post(client, "explain", items[3].image, item_id="item-07", from_id="item-03")
    assert is_problem(both, 422, "either photo or from_id")
    neither = client.post("/api/v1/explain", files={"item_id": (None, "item-07")})
    assert is_problem(neither, 422, "either photo or from_id")
    assert is_problem(post(client, "explain", items[3].image, item_id="nobody"), 404, "nobody")
    assert is_problem(post(client, "explain", b"text", item_id="item-07"), 422, "not an image")
    assert is_problem(post(client, "explain", items[3].image), 422, "item_id")


def test_health_and_metrics(client: Client, items: list[Item]) -> None:
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}
    assert client.head("/healthz").status_code == client.head("/readyz").status_code == 200
    post(client, "search", items[0].image)
    client.get("/api/v1/items/item-01")
    client.get("/made/up/address")
    text = client.get("/metrics").text
    for line in (
        'serupa_requests_total{method="POST",route="/api/v1/search",status="200"}',
        'serupa_request_seconds_count{method="GET",route="/api/v1/items/{item_id:path}"}',
        'route="unmatched",status="404"',
        "serupa_encode_seconds_count",
        "serupa_search_seconds_count",
        "serupa_decode_seconds_count",
        "serupa_batch_photos_bucket",
        "serupa_queue_photos 0.0",
        "serupa_catalog_items 24.0",
    ):
        assert line in text, line
    assert "item-01" not in text
    assert "made/up" not in text


def test_not_ready_once_it_is_closed(tmp_path: Path, items: list[Item]) -> None:
    with Catalog.create(tmp_path / "catalog") as made, client_of(made) as client:
        made.close()
        assert is_problem(client.get("/readyz"), 503)
        assert client.get("/healthz").status_code == 200
        broken = client.get("/api/v1/info")
        assert is_problem(broken, 500, "its log says why")
        assert "Traceback" not in broken.text
        assert "shard" not in broken.text


def test_addresses_and_methods_that_are_not_there(client: Client) -> None:
    assert is_problem(client.get("/api/v2/search"), 404)
    answer = client.put("/api/v1/items/item-00")
    assert is_problem(answer, 405)
    assert "GET" in answer.headers["allow"] or "DELETE" in answer.headers["allow"]
    assert is_problem(client.put("/api/v1/search"), 405)


# Adding and removing


def test_single_changes_of_a_shop(writing: Client, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "hat.jpg").write_bytes(jpeg((300, 200)))
    with Server(tmp_path) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hat = {"id": "hat", "image": f"{server.base}/file/hat.jpg", "attributes": {"price": 9.5}}
        lost = {"id": "lost", "image": f"{server.base}/404/hat.jpg"}
        body = {"items": [hat, lost], "removed": ["item-03", "nobody"]}
        assert is_problem(writing.post("/api/v1/items:sync", json=body), 401)
        told = writing.post("/api/v1/items:sync", json=body, headers=BEARER).json()
        again = writing.post("/api/v1/items:sync", json={"items": [hat]}, headers=BEARER).json()
        server.shutdown()
    assert (told["added"], told["removed"], [one["id"] for one in told["failed"]]) == (1, 1, ["lost"])
    assert "404" in told["failed"][0]["reason"]
    assert again["unchanged"] == 1 and server.sent == 1
    assert catalog.get("hat").attributes == {"price": 9.5}
    with pytest.raises(NotFoundError):
        catalog.get("item-03")


@pytest.mark.parametrize(
    "body",
    [
        {"items": [{"id": "x", "image": "/etc/passwd"}]},
        {"items": [{"id": "x", "image": "file:///etc/passwd"}]},
        {"items": [{"id": "", "image": "https://shop.example/1.jpg"}]},
        {"items": [{"id": "x", "image": "https://shop.example/1.jpg", "attributes": {"a\\b": 1}}]},
        {"items": [{"id": "x", "image": "https://shop.example/1.jpg", "attributes": {"a": {"b": 1}}}]},
        {"items": 5},
        {"more": []},
    ],
)
def test_changes_that_cannot_be_used(body: dict[str, Any], writing: Client, catalog: Catalog) -> None:
    before = catalog.count()
    assert is_problem(writing.post("/api/v1/items:sync", json=body, headers=BEARER), 422)
    assert catalog.count() == before


def test_items_are_added_replaced_and_removed(writing: Client, catalog: Catalog) -> None:
    photo, other = jpeg((300, 200)), jpeg((200, 300))
    fields = {"id": "new/hat", "product_id": "H1", "attributes": json.dumps({"price": 9.5, "sale": True})}
    answer = writing.post("/api/v1/items", files={"photo": photo}, data=fields, headers=BEARER)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == "/api/v1/items/new%2Fhat"
    assert answer.json()["attributes"] == {"price": 9.5, "sale": True}
    assert post(writing, "search", photo, k=1).json()["hits"][0]["id"] == "new/hat"
    kept = catalog.path / "photos"
    (file,) = kept.iterdir()
    assert file.suffix == ".jpg"
    assert file.read_bytes() == photo

    again = writing.post("/api/v1/items", files={"photo": other}, data=fields, headers={"X-API-Key": KEY})
    assert again.status_code == 200
    (file,) = kept.iterdir()
    assert file.read_bytes() == other

    twin = writing.post("/api/v1/items", files={"photo": other}, data={"id": "twin"}, headers=BEARER)
    assert twin.status_code == 201
    assert writing.delete("/api/v1/items/new%2Fhat", headers=BEARER).status_code == 204
    assert file.exists()  # the twin shows it
    assert writing.delete("/api/v1/items/twin", headers=BEARER).status_code == 204
    assert not file.exists()
    assert is_problem(writing.get("/api/v1/items/twin"), 404)
    assert is_problem(writing.delete("/api/v1/items/twin", headers=BEARER), 404)


def test_removing_keeps_photos_that_are_not_ours(writing: Client, items: list[Item]) -> None:
    assert writing.delete("/api/v1/items/item-00", headers=BEARER).status_code == 204
    assert Path(items[0].image).exists()


@pytest.mark.parametrize(
    ("fields", "photo", "words"),
    [
        ({}, jpeg(), ("id",)),
        ({"id": ""}, jpeg(), ("id",)),
        ({"id": "two\nlines"}, jpeg(), ("id", "printable")),
        ({"id": "x" * 501}, jpeg(), ("id",)),
        ({"id": "x", "attributes": "["}, jpeg(), ("attributes", "JSON")),
        ({"id": "x", "attributes": "[" * 99_000}, jpeg(), ("attributes", "JSON")),
        ({"id": "x", "attributes": "[1]"}, jpeg(), ("attributes", "JSON object")),
        ({"id": "x", "attributes": '{"a": null}'}, jpeg(), ("attributes", "'a'")),
        ({"id": "x", "attributes": '{"a": NaN}'}, jpeg(), ("attributes", "'a'")),
        ({"id": "x", "attributes": '{"a": 1e999}'}, jpeg(), ("attributes", "'a'")),
        ({"id": "x", "attributes": f'{{"a": {10**30}}}'}, jpeg(), ("attributes", "'a'")),
        ({"id": "x", "attributes": '{"a": [1]}'}, jpeg(), ("attributes", "'a'")),
        ({"id": "x", "attributes": '{"id": "y"}'}, jpeg(), ("attributes", "'id'")),
        ({"id": "x", "attributes": '{"a": "\\ud800"}'}, jpeg(), ("attributes", "surrogate")),
        ({"id": "x"}, b"text", ("the photo", "text")),
        ({"id": "x"}, jpeg()[:900], ("the photo", "cut short")),
    ],
)
def test_items_that_cannot_be_added(
    shelf: tuple[Client, Catalog], fields: dict[str, str], photo: bytes, words: tuple[str, ...]
) -> None:
    client, catalog = shelf
    answer = client.post("/api/v1/items", files={"photo": ("x.jpg", photo)}, data=fields, headers=BEARER)
    assert is_problem(answer, 422, *words)
    assert str(catalog.path.parent) not in answer.text
    assert not list(catalog.path.glob("photos/*"))
    assert catalog.count() == 0


# Keys


def test_changing_is_off_without_a_key(client: Client) -> None:
    for headers in ({}, BEARER):
        answer = client.post("/api/v1/items", files={"photo": b"x"}, data={"id": "x"}, headers=headers)
        assert is_problem(answer, 403, "--api-key")
        assert is_problem(client.delete("/api/v1/items/item-00", headers=headers), 403, "--api-key")


def test_keys_say_who_may_what(shop: Catalog) -> None:
    settings = Settings(api_key_sha256=key_sha256(KEY), read_key_sha256=key_sha256(READ_KEY))
    with client_of(shop, settings) as client:
        for address in (
            "/",
            "/api/v1/info",
            "/api/v1/items/item-00/image",
            "/metrics",
            "/docs",
            "/item/item-00",
        ):
            refused = client.get(address)
            assert is_problem(refused, 401, "key")
            challenges = refused.headers.get_list("www-authenticate")
            assert [one.partition(" ")[0] for one in challenges] == ["Basic", "Bearer"]
            for key in (KEY, READ_KEY):
                assert client.get(address, headers={"X-API-Key": key}).status_code == 200
                assert client.get(address, headers={"Authorization": f"Bearer {key}"}).status_code == 200
                assert client.get(address, auth=("anyone", key)).status_code == 200
            assert client.get(address, headers={"X-API-Key": KEY + "x"}).status_code == 401
            assert client.get(address, headers={"Authorization": "Basic ???"}).status_code == 401
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
        image = client.get("/api/v1/items/item-00/image", headers={"X-API-Key": READ_KEY})
        assert "private" in image.headers["cache-control"]
        nobody = "/api/v1/items/nobody"
        assert is_problem(client.delete(nobody), 401)
        assert is_problem(client.delete(nobody, headers={"X-API-Key": READ_KEY}), 403, "only read")
        assert is_problem(client.delete(nobody, auth=("anyone", KEY)), 401)  # not what a browser remembers
        assert is_problem(client.delete(nobody, headers={"X-API-Key": KEY}), 404)


def test_settings_keep_hashes_only(tmp_path: Path) -> None:
    file = tmp_path / "serupa.toml"
    file.write_text('port = 9000\napi_key = "from-the-file-01234"\ncors_origins = ["https://a.example"]\n')
    settings = load_settings(file, {"host": None, "queue": 3}, {})
    assert (settings.port, settings.queue, settings.host) == (9000, 3, "127.0.0.1")
    assert settings.cors_origins == ("https://a.example",)
    assert settings.api_key_sha256 == key_sha256("from-the-file-01234")
    assert "from-the-file" not in repr(settings)
    environment = {"SERUPA_API_KEY": "from-the-environment", "SERUPA_READ_KEY": READ_KEY}
    settings = load_settings(file, {}, environment)
    assert settings.api_key_sha256 == key_sha256("from-the-environment")
    assert settings.read_key_sha256 == key_sha256(READ_KEY)
    given = load_settings(file, {"api_key": KEY}, environment)
    assert given.api_key_sha256 == key_sha256(KEY)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("colour = 1", "colour"),
        ("port = 'x'", "port"),
        ("port = true", "port"),
        ("port = 99999", "port"),
        ("queue = 0", "queue"),
        ("limit_mb = -1", "limit_mb"),
        ("api_key = 'short'", "key"),
        ("api_key_sha256 = 'abc'", "api_key_sha256"),
        ("cors_origins = ['shop.example/x']", "cors_origins"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, text: str, name: str) -> None:
    file = tmp_path / "serupa.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as told:
        load_settings(file, {}, {})
    assert name in str(told.value.subject)


def test_settings_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "serupa.toml").write_text("port =")
    with pytest.raises(InvalidInputError):
        load_settings(tmp_path / "serupa.toml", {}, {})
    with pytest.raises(NotFoundError):
        load_settings(tmp_path / "none.toml", {}, {})


# What browsers are told


def test_headers_keep_browsers_safe(client: Client) -> None:
    for address in (
        "/",
        "/docs",
        "/admin",
        "/api/v1/info",
        "/api/v1/items/item-00/image",
        "/nothing",
        "/static/icon.svg",
    ):
        headers = client.get(address).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_a_server_answers_to_its_own_names(shop: Catalog) -> None:
    assert Settings().serving().allowed_hosts
    assert not Settings(host="10.0.0.7").serving().allowed_hosts
    with client_of(shop, Settings().serving()) as client:
        for host, status in (("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("evil", 421)):
            assert client.get("/api/v1/info", headers={"Host": host}).status_code == status
        assert is_problem(client.get("/", headers={"Host": "rebound.example"}), 421)
        assert client.get("/healthz", headers={"Host": "10.0.0.7:8000"}).status_code == 200


def test_guessed_keys_are_counted_wherever_they_are_tried(shop: Catalog) -> None:
    settings = Settings(read_key_sha256=key_sha256(READ_KEY), rate_per_minute=8)
    for address in ("/", "/docs", "/metrics", "/api/v1/items/item-00/image", "/api/v1/info"):
        with client_of(shop, settings) as client:
            statuses = [
                client.get(address, headers={"X-API-Key": f"guessed-key-{n}"}).status_code for n in range(6)
            ]
            assert statuses[0] == 401
            assert statuses[-1] == 429
            assert client.get(address, headers={"X-API-Key": READ_KEY}).status_code == 200


def test_other_sites_are_let_in_by_name_only(shop: Catalog, client: Client) -> None:
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client.get("/api/v1/info", headers=asked).headers
    assert client.options("/api/v1/search", headers=asked).status_code == 405
    with client_of(shop, Settings(cors_origins=("https://shop.example",))) as open_client:
        allowed = open_client.get("/api/v1/info", headers=asked).headers
        assert allowed["access-control-allow-origin"] == "https://shop.example"
        assert open_client.options("/api/v1/search", headers=asked).status_code == 200
        other = open_client.get("/api/v1/info", headers={"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers


def test_no_answer_shows_a_path_of_the_machine(shop: Catalog, client: Client, items: list[Item]) -> None:
    folders = {str(shop.path.parent), str(Path(items[0].image).parent), str(Path.home()), str(Path.cwd())}
    answers = [
        client.get("/"),
        client.get("/item/item-00"),
        client.get("/admin"),
        client.get("/docs"),
        client.get("/openapi.json"),
        client.get("/api/v1/items"),
        client.get("/api/v1/items/item-00"),
        client.get("/api/v1/items/nobody"),
        client.get("/api/v1/items/nobody/similar"),
        client.get("/api/v1/items/item-00/similar"),
        client.get("/api/v1/facets?where=x=1"),
        client.get("/metrics"),
        post(client, "search", items[0].image),
        post(client, "search", b"x"),
        post(client, "search", items[0].image, metric="angle"),
        post(client, "explain", items[0].image, item_id="item-01"),
    ]
    for answer in answers:
        assert not [folder for folder in folders if folder in answer.text], answer.request.url


def test_photos_that_are_gone_are_named_by_their_item(tmp_path: Path, items: list[Item]) -> None:
    photos = [tmp_path / "srv secret, inside" / f"{n}.jpg" for n in range(3)]
    photos[0].parent.mkdir()
    for n, photo in enumerate(photos):
        photo.write_bytes(jpeg((300 + n, 200)))
    with Catalog.create(tmp_path / "catalog") as made:
        made.add(
            [Item("url", f"file://{photos[0]}"), Item("local", str(photos[1])), Item("ok", str(photos[2]))]
        )
        photos[0].unlink()
        photos[1].write_bytes(b"damaged")
        with client_of(made) as client:
            for one in ("url", "local"):
                answer = client.post(
                    "/api/v1/explain", files={"from_id": (None, one), "item_id": (None, "ok")}
                )
                assert answer.status_code in (404, 422)
                assert "secret" not in answer.text
                assert "inside" not in answer.text


def http_scope(method: str, path: str, query: bytes = b"", headers: Any = ()) -> dict[str, Any]:
    """A request as a server hands it on, which no client library would send."""
    return {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": list(headers),
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }


def test_a_query_that_is_no_text_is_no_failure(client: Client) -> None:
    statuses = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(client.app(http_scope("GET", "/nothing", b"\xff"), receive, send))  # type: ignore[arg-type]
    assert statuses[0] == 404


def test_clients_that_leave_in_the_middle_are_no_failure(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def leave() -> None:
        headers = [(b"content-type", b"multipart/form-data; boundary=x"), (b"content-length", b"1000")]
        scope = http_scope("POST", "/api/v1/search", headers=headers)
        messages = [
            {"type": "http.disconnect"},
            {"type": "http.request", "body": b"--x\r\n", "more_body": True},
        ]

        async def receive() -> Any:
            return messages.pop()

        async def send(message: Any) -> None:
            raise AssertionError(message)

        await client.app(scope, receive, send)

    asyncio.run(leave())
    assert '"status": 499' in caplog.text
    assert "Traceback" not in caplog.text


def test_logs_hold_no_key_and_no_query(
    writing: Client, items: list[Item], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "serupa.access")
    writing.get("/api/v1/items?where=category=hats&api_key=secret-in-address", headers=BEARER)
    post(writing, "search", items[0].image)
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "serupa.access"]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", "/api/v1/items", 200),
        ("POST", "/api/v1/search", 200),
    ]
    assert all(line["ms"] > 0 for line in lines)
    assert KEY not in caplog.text
    assert "secret-in-address" not in caplog.text


# Pages


def test_pages(client: Client) -> None:
    for address in ("/", "/?q=item-00", "/item/item-00", "/admin"):
        answer = client.get(address)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert client.head(address).status_code == 200
    assert client.get("/item/nobody").status_code == 404
    assert client.get("/static/serupa.css").headers["content-type"].startswith("text/css")
    for made_up in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/none.js"):
        assert is_problem(client.get(made_up), 404)


def test_a_person_at_an_address_of_nothing_sees_a_page(client: Client) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
    page = client.get("/nosuchpage", headers=browser)
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert 'href="/"' in page.text
    assert is_problem(client.get("/nosuchpage"), 404)
    assert is_problem(client.get("/api/v1/nothing", headers=browser), 404)


def test_reference_names_every_route_and_no_other_host(client: Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in page.text
    assert "http://testserver/api/v1/search" in page.text
    assert "<script" not in page.text
    assert "style=" not in page.text
    assert "https://" not in page.text
    assert client.get("/docs/reference.css").headers["content-type"].startswith("text/css")


@pytest.fixture
def call_unforeseen(shop: Catalog, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("/secret/path and a value")

    with client_of(shop) as client:
        monkeypatch.setattr(shop, "get", fails)
        yield lambda: client.get("/api/v1/items/item-00")


def test_unforeseen_errors_tell_nothing(call_unforeseen: Callable[[], Any]) -> None:
    answer = call_unforeseen()
    assert is_problem(answer, 500)
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_full_store_is_the_servers_fault(
    shelf: tuple[Client, Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1_000_000

    client, catalog = shelf
    before = len(catalog)
    monkeypatch.setattr("serupa.storage.local.guard.shutil.disk_usage", lambda _: Usage)
    for data in ({"id": "one more"}, {"id": "one more", "attributes": '{"season": "summer"}'}):
        answer = client.post("/api/v1/items", files={"photo": jpeg()}, data=data, headers=BEARER)
        assert is_problem(answer, 503)
    assert len(catalog) == before
    assert "season" not in catalog.manifest.fields
