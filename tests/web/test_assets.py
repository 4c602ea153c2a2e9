"""What the page weighs: its own files, kept for ever, small photos, compressed answers."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import pytest
from PIL import Image
from starlette.testclient import TestClient

from serupa import Catalog, Item
from serupa.web.app import create_app
from tests.conftest import draw_photo

FIRST_VIEW = 60_000  # bytes


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("assets")
    photo = draw_photo(folder / "photo.png", 0, (1200, 1500))
    with Catalog.create(folder / "catalog") as made:
        made.add([Item("large", str(photo), "P", {"name": "Large"})])
        with TestClient(create_app(made)) as client:
            yield client


def weight(client: TestClient, address: str) -> int:
    """The bytes of a body as they are sent."""
    with client.stream("GET", address) as answer:
        assert answer.headers["content-encoding"] == "gzip", address
        return sum(map(len, answer.iter_raw()))


@pytest.mark.parametrize("path", ["/", "/for-you", "/wardrobe", "/admin"])
def test_a_page_with_its_styles_and_modules_is_light(client: TestClient, path: str) -> None:
    page = client.get(path)
    own = set(re.findall(r'(?:href|src)="(/static/[^"#]+)"', page.text))
    modules = {one for one in own if one.endswith(".js")}
    assert any(one.endswith(".css") for one in own)
    # every module that is imported is named in the page: no second round trip
    for one in modules:
        for name in re.findall(r'from "\./([\w-]+\.js)"', client.get(one).text):
            assert one.rsplit("/", 1)[0] + "/" + name in modules, (one, name)
    assert weight(client, path) + sum(weight(client, one) for one in own) < FIRST_VIEW


def test_own_files_are_kept_for_ever_and_pages_are_asked_for(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["cache-control"] == "private, no-cache"
    assert {"Cookie", "Accept-Language"} <= set(re.split(", ?", page.headers["vary"]))
    own = re.findall(r'(?:href|src)="(/static/[^"#]+)"', page.text)
    for address in own:
        assert "immutable" in client.get(address).headers["cache-control"]
    old = re.sub(
        r"/static/\w+/", "/static/" + "0" * 12 + "/", own[0]
    )  # a page that was open before an update
    answer = client.get(old)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get(old, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_browsers_get_small_webp_and_others_jpeg(client: TestClient) -> None:
    address = "/api/v1/items/large/image?size=500"
    jpeg = client.get(address)
    webp = client.get(address, headers={"Accept": "image/avif,image/webp,*/*"})
    shown = [(one.headers["content-type"], Image.open(io.BytesIO(one.content))) for one in (jpeg, webp)]
    assert [(kind, image.format) for kind, image in shown] == [("image/jpeg", "JPEG"), ("image/webp", "WEBP")]
    assert shown[0][1].size == shown[1][1].size
    assert max(shown[0][1].size) == 640
    assert len(webp.content) < 0.7 * len(jpeg.content)
    assert jpeg.headers["vary"] == webp.headers["vary"] == "Accept"
    assert jpeg.headers["etag"] != webp.headers["etag"]
    assert "content-encoding" not in webp.headers
