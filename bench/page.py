"""What the page weighs and how soon it is there: python -m bench.page URL PHOTO.

URL is a running server (``serupa serve -c DIR``), PHOTO what to search with. Prints a Markdown table:
requests, bytes over the wire, first contentful paint and long tasks (over 50 ms), of the first view,
the same view again, and a screen of results, on a desk (1440 x 900) with two device pixels each. Needs
playwright and Chromium, which SERUPA_CHROMIUM names or the path has.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from os import environ
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

DESK = {"viewport": {"width": 1440, "height": 900}, "device_scale_factor": 2}
WATCH = """() => {
  window.long = [];
  new PerformanceObserver((list) => window.long.push(...list.getEntries().map((one) => one.duration)))
    .observe({type: "longtask", buffered: true});
}"""
PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"


@dataclass
class Wire:
    """What goes over the wire, by Chromium's own account of encoded bytes."""

    page: Page
    own: int = 0
    photos: int = 0
    requests: int = 0

    def __post_init__(self) -> None:
        self.kinds: dict[str, str] = {}
        session = self.page.context.new_cdp_session(self.page)
        session.send("Network.enable")
        self.cached: set[str] = set()
        session.on("Network.requestServedFromCache", lambda event: self.cached.add(event["requestId"]))
        session.on("Network.responseReceived", self._answer)
        session.on("Network.loadingFinished", self._end)

    def _answer(self, event: dict) -> None:
        answer = event["response"]
        cached = answer.get("fromDiskCache") or event["requestId"] in self.cached
        if not cached and not answer["url"].startswith(("blob:", "data:")):
            self.kinds[event["requestId"]] = answer["mimeType"]

    def _end(self, event: dict) -> None:
        kind = self.kinds.pop(event["requestId"], None)
        if kind is None:
            return
        self.requests += 1
        if kind.startswith("image/") and "svg" not in kind:
            self.photos += int(event["encodedDataLength"])
        else:
            self.own += int(event["encodedDataLength"])

    def row(self, name: str, paint: float | None, tasks: list[float]) -> str:
        """Return what came since the last row, and begin anew."""
        told = (
            f"| {name} | {self.requests} | {self.own / 1e3:.0f} kB | {self.photos / 1e3:.0f} kB | "
            f"{'' if paint is None else f'{paint:.0f} ms'} | {len(tasks)}, {max(tasks, default=0):.0f} ms |"
        )
        self.own = self.photos = self.requests = 0
        return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("photo", type=Path)
    given = parser.parse_args()
    chromium = environ.get("SERUPA_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(base_url=given.url, **DESK).new_page()
        page.add_init_script(f"({WATCH})()")
        wire = Wire(page)
        print(
            "| | requests | page | photos | first paint | long tasks |\n| --- | --- | --- | --- | --- | --- |"
        )
        for name in ("first view", "again"):
            page.goto("/")
            page.wait_for_load_state("networkidle")
            print(wire.row(name, page.evaluate(PAINT), page.evaluate("() => window.long")))
        page.set_input_files("#browse", given.photo)
        page.wait_for_selector("#found:not(.busy) .card:not(.waiting)")
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(1_000)
        print(wire.row("a screen of results", None, page.evaluate("() => window.long")))
        browser.close()


if __name__ == "__main__":
    main()
