"""Take a screenshot of every state of the page: python bench/screenshots.py URL PHOTO FOLDER.

URL is a running server (``serupa serve -c DIR``), PHOTO what to search with. Each state is taken on a desk,
a tablet and a phone, light and dark. Needs playwright and Chromium (SERUPA_CHROMIUM, or on the path).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from os import environ
from pathlib import Path

from playwright.sync_api import Browser, Page, Route, sync_playwright

SHAPES = {
    "desk": {"viewport": {"width": 1280, "height": 900}},
    "tablet": {"viewport": {"width": 820, "height": 1180}, "has_touch": True, "device_scale_factor": 2},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "has_touch": True,
        "is_mobile": True,
        "device_scale_factor": 2,
    },
}
BUSY = '{"status": 429, "code": "busy", "detail": "busy"}'


def settle(page: Page) -> None:
    page.wait_for_selector("#found:not(.busy) .card:not(.waiting), #found:not(.busy) [data-state]")
    pictured(page)


def pictured(page: Page) -> None:
    """Wait until the photos that can be seen are there."""
    page.wait_for_function(
        """() => [...document.images].every((one) => {
          const box = one.getBoundingClientRect();
          if (one.complete || !one.getAttribute("src") || !one.checkVisibility()) return true;
          return box.bottom < 0 || box.top > innerHeight;
        })"""
    )
    page.wait_for_timeout(250)


def search(page: Page, photo: Path) -> None:
    page.goto("/")
    page.set_input_files("#browse", photo)
    settle(page)


def give(page: Page, name: str, content: bytes) -> None:
    page.goto("/")
    page.set_input_files("#browse", {"name": name, "mimeType": "image/jpeg", "buffer": content})
    page.wait_for_selector("[data-state]")


def mark(page: Page) -> None:
    page.locator(".region").focus()
    for _ in range(20):
        page.keyboard.press("Shift+ArrowUp")
    for _ in range(15):
        page.keyboard.press("Shift+ArrowLeft")
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)
    settle(page)


def first(page: Page, photo: Path) -> None:
    page.goto("/")
    page.wait_for_load_state("networkidle")


def dragging(page: Page, photo: Path) -> None:
    first(page, photo)
    page.evaluate("document.body.classList.add('dragging')")


def indonesian(page: Page, photo: Path) -> None:
    page.goto("/?lang=id")
    page.wait_for_load_state("networkidle")


def results(page: Page, photo: Path) -> None:
    search(page, photo)


def results_scrolled(page: Page, photo: Path) -> None:
    search(page, photo)
    page.evaluate("scrollTo(0, 700)")
    page.wait_for_timeout(200)
    pictured(page)


def results_end(page: Page, photo: Path) -> None:
    search(page, photo)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(200)
    pictured(page)


def region(page: Page, photo: Path) -> None:
    search(page, photo)
    mark(page)


def waiting(page: Page, photo: Path) -> None:
    page.goto("/")
    page.route("**/api/v1/search", lambda route: None)
    page.set_input_files("#browse", photo)
    page.wait_for_selector("#found.busy .waiting")
    page.wait_for_timeout(400)


def filters(page: Page, photo: Path) -> None:
    search(page, photo)
    page.locator(".pick").first.click()
    page.wait_for_timeout(200)


def filtered(page: Page, photo: Path) -> None:
    search(page, photo)
    for number in (0, 1):
        page.locator(".pick").nth(number).click()
        page.locator(".menu:popover-open .tick").first.click()
        settle(page)
        page.keyboard.press("Escape")
    page.wait_for_timeout(300)


def more_filters(page: Page, photo: Path) -> None:
    search(page, photo)
    page.locator("#filters .pick").last.click()
    page.wait_for_timeout(200)


def options(page: Page, photo: Path) -> None:
    search(page, photo)
    page.locator("#choices .pick").click()
    page.wait_for_timeout(200)


def why(page: Page, photo: Path) -> None:
    search(page, photo)
    page.locator(".why").nth(2).click()
    page.wait_for_selector(".card.explained")
    page.locator(".card.explained").scroll_into_view_if_needed()
    pictured(page)


def no_result(page: Page, photo: Path) -> None:
    page.goto("/")
    page.set_input_files("#browse", photo)
    settle(page)
    page.goto(page.url + "&where=price=0..0.01")
    settle(page)


def product(page: Page, photo: Path) -> None:
    search(page, photo)
    page.goto(page.locator("#grid .name").nth(1).get_attribute("href") or "")
    settle(page)


def product_alike(page: Page, photo: Path) -> None:
    product(page, photo)
    page.locator(".why").first.click()
    page.wait_for_selector(".card.explained")
    page.locator("#found").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('#alike').scrollIntoView()")
    page.wait_for_timeout(200)
    pictured(page)


def missing(page: Page, photo: Path) -> None:
    page.goto("/item/nothing-of-the-kind")
    page.wait_for_selector("[data-state]")


def text_file(page: Page, photo: Path) -> None:
    give(page, "notes.txt", b"This is no photo.")


def text_file_beside_results(page: Page, photo: Path) -> None:
    search(page, photo)
    page.set_input_files("#another", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"text"})
    page.wait_for_selector("[data-state]")


def too_large(page: Page, photo: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        huge = Path(folder) / "huge.jpg"
        huge.write_bytes(b"\xff\xd8\xff" + bytes(50_000_000))
        page.goto("/")
        page.set_input_files("#browse", huge)
        page.wait_for_selector("[data-state]")


def damaged(page: Page, photo: Path) -> None:
    give(page, "damaged.jpg", b"\xff\xd8\xff\xe0" + bytes(200))


def gone(page: Page, photo: Path) -> None:
    page.goto("/")
    page.route("**/api/v1/search", lambda route: route.abort("connectionrefused"))
    page.set_input_files("#browse", photo)
    page.wait_for_selector("[data-state]")


def busy(page: Page, photo: Path) -> None:
    def answer(route: Route) -> None:
        route.fulfill(status=429, body=BUSY, headers={"Retry-After": "9"})

    page.goto("/")
    page.route("**/api/v1/search", answer)
    page.set_input_files("#browse", photo)
    page.wait_for_selector("[data-state]")


def lost(page: Page, photo: Path) -> None:
    page.goto("/?q=upload:0")
    page.wait_for_selector("[data-state]")
    page.wait_for_load_state("networkidle")


def words(page: Page, photo: Path) -> None:
    page.goto("/?text=blue+jackt+zeppelin")
    settle(page)


def words_beside_a_photo(page: Page, photo: Path) -> None:
    search(page, photo)
    page.goto(page.url + "&text=blue")
    settle(page)


def category(page: Page, photo: Path) -> None:
    page.goto("/")
    page.locator(".kinds a").first.click()
    settle(page)


def outfit(page: Page, photo: Path) -> None:
    product(page, photo)
    page.locator("#complete").click()
    page.wait_for_selector("#said .outfit, #said .strip", timeout=60_000)
    pictured(page)


def for_you(page: Page, photo: Path) -> None:
    search(page, photo)
    for number in range(3):
        page.locator("#grid .heart").nth(number).click()
    page.goto("/for-you")
    settle(page)


def wardrobe(page: Page, photo: Path) -> None:
    page.goto("/wardrobe")
    page.set_input_files("#add-piece", photo)
    page.wait_for_selector(".piece", timeout=60_000)


def forgotten(page: Page, photo: Path) -> None:
    wardrobe(page, photo)
    page.locator("#forget-wardrobe").click()
    page.wait_for_selector(".undo")


STATES: list[Callable[[Page, Path], None]] = [
    first, dragging, indonesian, waiting, results, results_scrolled, results_end, region, filters, filtered,
    more_filters, options, why, no_result, product, product_alike, missing, text_file,
    text_file_beside_results, too_large, damaged, gone, busy, lost, words, words_beside_a_photo, category,
    outfit, for_you, wardrobe, forgotten,
]  # fmt: skip


def take(browser: Browser, url: str, photo: Path, folder: Path, wanted: list[str], full: bool) -> None:
    for shape, settings in SHAPES.items():
        for theme in ("light", "dark"):
            for state in STATES:
                name = f"{state.__name__.replace('_', '-')}-{shape}-{theme}"
                if wanted and not any(part in name for part in wanted):
                    continue
                context = browser.new_context(
                    base_url=url, color_scheme=theme, locale="en-GB", reduced_motion="reduce", **settings
                )
                page = context.new_page()
                state(page, photo)
                page.wait_for_timeout(100)
                page.screenshot(path=folder / f"{name}.png", full_page=full)
                context.close()
                print(folder / f"{name}.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("photo", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="parts of names, such as why-phone")
    parser.add_argument("--full", action="store_true", help="the whole page, not what a screen shows")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    chromium = environ.get("SERUPA_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        take(browser, chosen.url, chosen.photo, chosen.folder, chosen.only, chosen.full)
        browser.close()


if __name__ == "__main__":
    main()
