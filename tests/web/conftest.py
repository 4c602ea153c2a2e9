"""A server on a small catalogue, and a browser that watches what a page does."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from serupa import Catalog
from serupa_sample import write_sample

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: from the first of them on, an event loop runs in this thread."""
    items.sort(key=lambda item: "browser" in getattr(item, "fixturenames", ()))


@dataclass
class Served:
    """A running server."""

    url: str
    stop: Callable[[], None]


def serve(catalog: Catalog, **settings: Any) -> Served:
    """Run a server in a thread, on a free loopback port."""
    import uvicorn

    from serupa.web.app import create_app
    from serupa.web.settings import Settings

    config = uvicorn.Config(
        create_app(catalog, Settings(**settings)),
        host="127.0.0.1",
        port=0,
        log_level="warning",
        log_config=None,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline, "the server takes too long to start"
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]

    def stop() -> None:
        server.should_exit = server.force_exit = True
        thread.join(10)

    return Served(f"http://127.0.0.1:{port}", stop)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of a small sample catalogue: 10 products, one of each category."""
    return write_sample(tmp_path_factory.mktemp("sample"), products=10)


@pytest.fixture(scope="session")
def sample_photo(sample: Path) -> Path:
    """A photo of the sample catalogue."""
    return min((sample.parent / "photos").glob("*_street-1.jpg"))


@pytest.fixture(scope="session")
def sample_catalog(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """The small sample catalogue, searchable by all three metrics."""
    folder = tmp_path_factory.mktemp("web") / "catalog"
    with Catalog.create(folder, metrics=("cosine", "euclidean", "manhattan")) as made:
        made.add(sample)
        yield made


@pytest.fixture(scope="session")
def served(sample_catalog: Catalog) -> Iterator[Served]:
    """A server on the small sample catalogue."""
    running = serve(sample_catalog)
    yield running
    running.stop()


def find_chromium() -> str | None:
    """Return where a Chromium is: SERUPA_CHROMIUM, or on the path."""
    names = (
        os.environ.get("SERUPA_CHROMIUM"),
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    )
    return next((found for name in names if name and (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium; without one the tests are skipped, except in CI, which must have it."""
    absent = pytest.fail if os.environ.get("CI") else pytest.skip
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("needs playwright: pip install 'serupa[dev]'")
    chromium = find_chromium()
    if chromium is None:
        absent("needs Chromium: install Debian's package chromium, or set SERUPA_CHROMIUM")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield running
        running.close()


@dataclass
class Watched:
    """What pages asked for and complained of."""

    host: str
    strangers: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Complaints that a test is about: parts of their texts."""

    def watch(self, context: BrowserContext) -> None:
        """Record the requests and errors of every page of a context."""
        context.on("request", lambda request: self._request(request.url))
        context.on(
            "console", lambda message: message.type in ("error", "warning") and self._complain(message.text)
        )
        context.on("weberror", lambda error: self._complain(str(error.error)))

    def check(self) -> None:
        """Fail if a request left the host or a page complained."""
        assert not self.strangers
        assert not [text for text in self.complaints if not any(part in text for part in self.expected)]

    def _request(self, url: str) -> None:
        if urlsplit(url).scheme not in ("blob", "data") and urlsplit(url).netloc != self.host:
            self.strangers.append(url)

    def _complain(self, text: str) -> None:
        self.complaints.append(text)


@dataclass
class Window:
    """Opens pages in a browser of their own: no cookies, no kept photos."""

    browser: Browser
    url: str
    watched: Watched
    contexts: list[BrowserContext] = field(default_factory=list)

    def open(self, path: str = "/", **options: Any) -> Page:
        """Open a path of the server; options are those of a browser context."""
        settings = {"viewport": DESK, "locale": "en-GB", "reduced_motion": "reduce"} | options
        context = self.browser.new_context(base_url=self.url, **settings)
        context.set_default_timeout(10_000)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.watched.watch(context)
        self.contexts.append(context)
        page = context.new_page()
        page.goto(path)
        return page


@pytest.fixture
def window(browser: Browser, served: Served) -> Iterator[Window]:
    """A window on the server; at the end, nothing may have gone to another host or to the console."""
    made = Window(browser, served.url, Watched(urlsplit(served.url).netloc))
    yield made
    for context in made.contexts:
        context.close()
    made.watched.check()
