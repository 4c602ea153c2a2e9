"""The web component in a shop's own page: the docs' example, at another origin, under a strict policy."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from serupa import Catalog
from serupa.web.settings import key_sha256
from tests.web.conftest import DESK, PHONE, Watched, serve
from tests.web.test_api import READ_KEY
from tests.web.test_browser import check

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DOCS = Path(__file__).parents[2] / "docs" / "web.md"
SERVER = "https://search.shop.example"


class Shop(SimpleHTTPRequestHandler):
    """A shop's server, as strict as one can be."""

    policy = ""

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", self.policy)
        super().end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def addresses(sample_catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The addresses of the shop's page, and of the search server that it may call."""
    folder = tmp_path_factory.mktemp("shop")
    shop = ThreadingHTTPServer(("127.0.0.1", 0), partial(Shop, directory=str(folder)))
    origin = f"http://127.0.0.1:{shop.server_port}"
    events = {"events_days": 1, "events": str(folder / "events")}
    running = serve(sample_catalog, cors_origins=(origin,), frame_origins=(origin,), **events)
    Shop.policy = (
        f"default-src 'none'; style-src 'self'; script-src 'self' {running.url}; connect-src {running.url}; "
        f"img-src {running.url}; frame-src {running.url}; require-trusted-types-for 'script'"
    )
    example = DOCS.read_text().partition("## In a shop's own pages")[2]
    for language, name in (("html", "index.html"), ("css", "shop.css"), ("js", "shop.js")):
        code = re.search(rf"```{language}\n(.*?)```", example, re.S)
        assert code is not None
        (folder / name).write_text(code[1].replace(SERVER, running.url))
    (folder / "favicon.ico").touch()
    (folder / "frame.html").write_text(
        f'<!doctype html><title>Shop</title><iframe src="{running.url}"></iframe>'
    )
    threading.Thread(target=shop.serve_forever, daemon=True).start()
    yield origin, running.url
    shop.shutdown()
    shop.server_close()
    running.stop()


@pytest.fixture
def page(browser: Browser, addresses: tuple[str, str], request: pytest.FixtureRequest) -> Iterator[Page]:
    """The shop's page; nothing may go elsewhere or be refused by the policy."""
    options: dict[str, Any] = {"viewport": DESK, "locale": "en-GB"} | getattr(request, "param", {})
    context = browser.new_context(base_url=addresses[0], **options)
    context.set_default_timeout(10_000)
    watched = Watched(urlsplit(addresses[0]).netloc)
    watched.watch(context)
    opened = context.new_page()
    yield opened
    context.close()
    assert {urlsplit(url).netloc for url in watched.strangers} == {urlsplit(addresses[1]).netloc}
    assert not watched.complaints


def search(page: Page, photo: Path) -> None:
    page.goto("/")
    page.locator("serupa-search input[type=file]").set_input_files(photo)
    page.locator("serupa-search .card").first.wait_for()


@pytest.mark.parametrize("page", [{}, {"viewport": PHONE}], indirect=True, ids=["desk", "phone"])
def test_the_example_of_the_docs(page: Page, sample_photo: Path) -> None:
    search(page, sample_photo)
    assert page.locator("#said").inner_text() == "8 results"
    assert page.locator("serupa-search canvas").is_visible()
    card = page.locator("serupa-search .card").first
    assert card.locator("img").evaluate("(one) => one.decode().then(() => one.naturalWidth)") > 0
    shape = card.locator("img").evaluate("(one) => one.clientHeight / one.clientWidth")
    assert shape == pytest.approx(1.25, abs=0.02)
    assert re.search(r"\d", card.locator(".price").inner_text())
    name = card.locator(".name")
    assert name.evaluate("(one) => getComputedStyle(one).fontWeight") == "600"
    with page.expect_response("**/api/v1/events/click") as told:
        card.click()
    assert told.value.status == 204
    assert page.locator("#said").inner_text() == name.inner_text()
    page.get_by_role("button", name="Show more").click()
    page.locator("serupa-search .card").nth(9).wait_for()
    assert page.evaluate("document.querySelector('serupa-search').answer.hits.length") == 10
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    check(page, "component")


@pytest.mark.parametrize("page", [{"locale": "id-ID"}], indirect=True)
def test_what_is_no_photo_is_said(page: Page, tmp_path: Path) -> None:
    page.goto("/")
    page.evaluate("document.documentElement.lang = 'id'")
    file = tmp_path / "notes.txt"
    file.write_text("not a photo")
    page.locator("serupa-search input[type=file]").set_input_files(file)
    page.locator("serupa-search .status", has_text="Foto tidak dapat dibaca.").wait_for()


def test_more_like_an_item(page: Page) -> None:
    page.goto("/")
    page.evaluate("""async () => {
        const { hits } = await new Promise((done) => {
          const element = document.createElement("serupa-search");
          element.setAttribute("item", "photos/HAT-01_hanger.jpg");
          element.setAttribute("where", "price>=1");
          element.addEventListener("serupa:search", (event) => done(event.detail.answer), { once: true });
          document.querySelector("main").append(element);
        });
        window.found = hits;
    }""")
    found = page.evaluate("window.found")
    assert len(found) == 9
    assert all(hit["id"] != "photos/HAT-01_hanger.jpg" for hit in found)


def test_words_alone_and_beside_a_photo(page: Page, sample_photo: Path) -> None:
    page.goto("/")
    words = page.locator("serupa-search [part=words]")
    words.fill("hat")
    words.press("Enter")
    page.locator("serupa-search .card").first.wait_for()
    first = "document.querySelector('serupa-search').answer.hits[0].attributes.category"
    assert page.evaluate(first) == "Hats"
    with page.expect_response("**/api/v1/search") as answered:
        page.locator("serupa-search input[type=file]").set_input_files(sample_photo)
    assert [one["value"] for one in answered.value.json()["understood"]] == ["hat"]


def test_the_page_in_a_frame(page: Page) -> None:
    page.goto("/frame.html")
    page.frame_locator("iframe").get_by_role("heading", level=1).wait_for()


def test_where_reading_needs_a_key(browser: Browser, sample_catalog: Catalog) -> None:
    running = serve(sample_catalog, read_key_sha256=key_sha256(READ_KEY))
    context = browser.new_context(
        base_url=running.url, http_credentials={"username": "anyone", "password": READ_KEY}
    )
    page = context.new_page()
    page.goto("/wardrobe")
    page.evaluate(
        """async (key) => {
          await import("/static/js/serupa-search.js");
          const element = document.createElement("serupa-search");
          element.setAttribute("item", "photos/HAT-01_hanger.jpg");
          element.setAttribute("key", key);
          document.querySelector("main").prepend(element);
        }""",
        READ_KEY,
    )
    photo = page.locator("serupa-search img").first
    photo.wait_for()
    loaded = "(one) => one.naturalWidth || new Promise((done) => one.addEventListener('load', () => done(1)))"
    assert photo.evaluate(loaded)
    context.close()
    running.stop()
