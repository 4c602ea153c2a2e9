"""What people do with the page, in a real browser."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from serupa import Catalog, Item
from tests.web.conftest import PHONE, Served, Window, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DROP = """
async ([name, type, address]) => {
  const bytes = await (await fetch(address)).arrayBuffer();
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, {type}));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.querySelector("main").dispatchEvent(
      new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
  }
}
"""


def drop(page: Page, path: Path) -> None:
    """Drop a file onto the page, as a person does who drags it from a folder."""
    address = "/test-file/" + path.name
    page.route("**" + address, lambda route: route.fulfill(body=path.read_bytes()))
    page.evaluate(DROP, [path.name, "image/jpeg", address])


def settled(page: Page) -> list[str]:
    """Wait until results are there; return the ids."""
    page.wait_for_selector("#found:not(.busy) #grid .card:not(.waiting)")
    return page.eval_on_selector_all("#grid .card", "cards => cards.map(card => card.dataset.id)")


def after(page: Page, act: Callable[[], object]) -> list[str]:
    """Do something that searches anew; return the ids that then are there."""
    with page.expect_response(re.compile(r"/api/v1/(search|items/.*/similar)")):
        act()
    return settled(page)


def results(window: Window, photo: Path, **options: object) -> Page:
    """Open the page and search with a photo."""
    page = window.open("/", **options)
    page.set_input_files("#browse", photo)
    settled(page)
    return page


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    page.mouse.move(*end)
    page.mouse.up()


def frame_point(page: Page, x: float, y: float) -> tuple[float, float]:
    box = page.locator("#frame").bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


# A photo comes in


def test_drop_shows_results(window: Window, sample_photo: Path) -> None:
    page = window.open()
    assert page.get_by_role("heading", level=1).inner_text() == "Drop a photo. See what looks like it."
    with page.expect_response("**/api/v1/search") as answer:
        drop(page, sample_photo)
    ids = settled(page)
    assert len(ids) == 10  # products, each once
    hits = answer.value.json()["hits"]
    assert ids == [hit["id"] for hit in hits]
    scores = [hit["similarity"] for hit in hits]
    assert scores[0] == pytest.approx(1, abs=0.02)  # the photo itself is in the catalogue
    assert sample_photo.stem in ids[0]
    assert page.locator("#count").inner_text().startswith("10 look-alikes")
    assert re.search(r"\?q=upload:\w+$", page.url)
    assert page.locator("#photo").evaluate("photo => photo.naturalWidth") == 600


def test_paste(window: Window, sample_photo: Path) -> None:
    page = window.open()
    page.route("**/pasted.jpg", lambda route: route.fulfill(body=sample_photo.read_bytes()))
    page.evaluate(
        """async () => {
          const data = new DataTransfer();
          const blob = await (await fetch("/pasted.jpg")).blob();
          data.items.add(new File([blob], "image.jpg", {type: "image/jpeg"}));
          const options = {clipboardData: data, bubbles: true, cancelable: true};
          document.body.dispatchEvent(new ClipboardEvent("paste", options));
        }"""
    )
    assert sample_photo.stem in settled(page)[0]


def test_sample_photos_are_offered(window: Window) -> None:
    page = window.open()
    page.wait_for_selector("#samples a")
    assert page.locator("#samples a").count() == 3
    ids = after(page, lambda: page.locator("#samples a").first.click())
    assert ids
    assert "q=photos" in page.url


def test_results_keep_their_place_while_loading(window: Window, sample_photo: Path) -> None:
    page = window.open()
    page.evaluate(
        """() => {
          window.shift = 0;
          new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) window.shift += entry.value;
          }).observe({type: "layout-shift", buffered: true});
        }"""
    )
    page.set_input_files("#browse", sample_photo)
    settled(page)
    page.wait_for_timeout(300)
    # leaving the drop area is a change of view; from then on only loading moves things
    before = page.evaluate("() => window.shift")
    after(page, lambda: page.locator(".frame .region").press("Shift+ArrowLeft"))
    page.wait_for_timeout(300)
    assert page.evaluate("() => window.shift") - before < 0.01


# The rectangle


def test_region_by_mouse(window: Window, sample_photo: Path) -> None:
    page = results(window, sample_photo)
    whole = settled(page)
    drawn = after(page, lambda: drag(page, frame_point(page, 0.1, 0.05), frame_point(page, 0.5, 0.3)))
    assert drawn != whole
    assert re.search(r"crop=0\.1\d*,0\.05\d*,0\.4\d*,0\.25\d*|crop=", page.url)
    moved = after(page, lambda: drag(page, frame_point(page, 0.3, 0.2), frame_point(page, 0.6, 0.7)))
    x, y, w, h = (float(n) for n in page.url.split("crop=")[1].split(","))
    assert (x, y) == pytest.approx((0.4, 0.55), abs=0.02)
    resized = after(page, lambda: drag(page, frame_point(page, x + w, y + h), frame_point(page, 0.95, 0.95)))
    assert len({tuple(ids) for ids in (whole, drawn, moved, resized)}) >= 3
    assert after(page, lambda: page.get_by_role("button", name="Whole photo").click()) == whole
    assert "crop" not in page.url


def test_region_by_touch(window: Window, sample_photo: Path) -> None:
    page = results(window, sample_photo, viewport=PHONE, has_touch=True, is_mobile=True)
    page.wait_for_load_state("networkidle")  # a page that is busy lets go of a finger
    touch = page.context.new_cdp_session(page)
    start, end = frame_point(page, 1, 1), frame_point(page, 0.5, 0.5)

    def finger(kind: str, *points: tuple[float, float]) -> None:
        points_ = [{"x": x, "y": y} for x, y in points]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points_})

    def swipe() -> None:
        finger("touchStart", start)
        finger("touchMove", ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
        finger("touchMove", end)
        finger("touchEnd")

    after(page, swipe)
    crop = [float(n) for n in page.url.split("crop=")[1].split(",")]
    assert crop == pytest.approx([0, 0, 0.5, 0.5], abs=0.03)


def test_region_by_keyboard(window: Window, sample_photo: Path) -> None:
    page = results(window, sample_photo)
    page.locator(".frame .region").focus()
    after(page, lambda: [page.keyboard.press("Shift+ArrowUp") for _ in range(10)])
    assert page.url.endswith("crop=0,0,1,0.8")
    after(page, lambda: [page.keyboard.press("ArrowDown") for _ in range(3)])
    assert page.url.endswith("crop=0,0.06,1,0.8")
    page.get_by_role("button", name="Upper left corner").focus()
    after(page, lambda: page.keyboard.press("ArrowRight"))
    assert page.url.endswith("crop=0.02,0.06,0.98,0.8")
    after(page, lambda: page.keyboard.press("Escape"))
    assert "crop" not in page.url


# Filters and choices


def test_filters(window: Window, sample_photo: Path) -> None:
    page = results(window, sample_photo)
    everything = settled(page)
    page.get_by_role("button", name="Category").click()
    after(page, lambda: page.locator(".menu:popover-open .tick").first.click())
    category = page.locator(".chip span").first.inner_text()
    assert category.startswith("Category: ")
    two = after(page, lambda: page.locator(".menu:popover-open .tick").nth(1).click())
    assert 0 < len(two) < len(everything)
    page.keyboard.press("Escape")
    assert page.locator(".menu:popover-open").count() == 0
    page.get_by_role("button", name="Price").click()
    page.get_by_label("To", exact=True).fill("1")
    page.get_by_label("To", exact=True).press("Tab")
    page.wait_for_selector("[data-state=none]")
    assert "where=price" in page.url
    page.keyboard.press("Escape")
    again = after(page, lambda: page.locator("[data-state=none] button").click())
    assert again == everything
    assert page.locator(".chip").count() == 0
    page.go_back()
    page.wait_for_selector("[data-state=none]")
    assert page.locator(".chip").count() == 4  # two categories, a price, and clearing them
    page.go_back()
    assert settled(page) == two


def test_measure_and_number(window: Window, sample_photo: Path) -> None:
    page = results(window, sample_photo)
    page.get_by_role("button", name="Options").click()
    after(page, lambda: page.locator(".menu:popover-open").get_by_text("Manhattan").click())
    assert "metric=manhattan" in page.url
    after(page, lambda: page.locator(".menu:popover-open").get_by_text("Photos").click())
    assert (
        len(after(page, lambda: page.locator(".menu:popover-open").get_by_text("12", exact=True).click()))
        == 12
    )
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Show more").click()
    page.wait_for_function("() => document.querySelectorAll('#grid .card:not(.waiting)').length === 24")
    ids = settled(page)
    assert len(set(ids)) == 24
    page.reload()
    assert settled(page) == ids


# Places


def test_product_and_back_to_the_same_place(window: Window, sample_photo: Path) -> None:
    page = results(window, sample_photo, viewport={"width": 900, "height": 600})
    ids = settled(page)
    link = page.locator("#grid .card .name").nth(7)
    link.scroll_into_view_if_needed()
    page.wait_for_timeout(100)
    top = page.evaluate("() => scrollY")
    assert top > 100
    name = link.inner_text()
    link.click()
    page.wait_for_url("**/item/**")
    assert page.get_by_role("heading", level=1).inner_text() == name
    assert page.locator("#views a").count() >= 4
    assert page.locator("#attributes dt").count() >= 3
    assert len(settled(page)) >= 5
    assert page.title() == f"{name} – Serupa"
    page.locator("#views a").nth(1).click()  # another photo is not another place
    settled(page)
    page.locator("#back").click()
    page.wait_for_url("**/?q=upload:*")
    assert settled(page) == ids
    assert page.evaluate("() => scrollY") == pytest.approx(top, abs=2)
    assert page.evaluate("() => document.activeElement.textContent") == name
    assert (
        page.locator("#photo").evaluate(
            "photo => photo.naturalWidth"
            " || new Promise(done => photo.onload = () => done(photo.naturalWidth))"
        )
        == 600
    )


def test_reload_and_share(window: Window, sample_photo: Path) -> None:
    page = results(window, sample_photo)
    page.locator(".frame .region").focus()
    ids = after(page, lambda: [page.keyboard.press("Shift+ArrowUp") for _ in range(10)])
    page.reload()
    assert settled(page) == ids
    assert page.evaluate("() => document.querySelector('.hole').style.height") == "80%"
    # another device has not got the photo, and says so
    other = window.open(page.url)
    assert other.locator("[data-state=lost] h2").inner_text() == "This photo is on another device"
    # with an item as the query, it has
    page.goto(page.locator("#grid .card .name").first.get_attribute("href") or "")
    page.get_by_role("link", name="Search with this photo").click()
    ids = settled(page)
    assert settled(window.open(page.url)) == ids


def test_result_dragged_onto_the_photo_is_searched_with(window: Window, sample_photo: Path) -> None:
    page = results(window, sample_photo)
    wanted = settled(page)[2]
    ids = after(page, lambda: page.locator("#grid .card").nth(2).drag_to(page.locator("#frame")))
    assert page.url.endswith(f"?q={wanted}")
    assert wanted not in ids


def test_item_with_region(window: Window) -> None:
    page = window.open("/")
    page.wait_for_selector("#samples a")
    page.locator("#samples a").first.click()
    settled(page)
    page.locator(".frame .region").focus()
    with page.expect_response("**/api/v1/search"):
        for _ in range(10):
            page.keyboard.press("Shift+ArrowUp")
    settled(page)
    assert "crop=0,0,1,0.8" in page.url


def test_unknown_product(window: Window) -> None:
    window.watched.expected.append("404")
    page = window.open("/item/nothing-of-the-kind")
    assert page.locator("[data-state=missing] h2").inner_text() == "No longer in the catalogue"


def test_keyboard_alone(window: Window, sample_photo: Path) -> None:
    """From the first page to a product and back, with the Tab, arrow, Enter and Escape keys."""
    page = window.open()
    # from here on, not only while the key is pressed: the browser takes a moment to begin listening
    page.on("filechooser", lambda chooser: chooser.set_files(sample_photo))

    def tab_to(selector: str, limit: int = 60) -> None:
        for _ in range(limit):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        pytest.fail(f"Tab does not reach {selector}")

    tab_to("#browse")
    page.keyboard.press("Enter")
    settled(page)
    tab_to(".region")
    after(page, lambda: [page.keyboard.press("Shift+ArrowUp") for _ in range(5)])
    tab_to(".pick")
    page.keyboard.press("Enter")
    tab_to(".menu:popover-open input[type=checkbox]")
    after(page, lambda: page.keyboard.press("Space"))
    page.keyboard.press("Escape")
    tab_to(".why")
    with page.expect_response("**/api/v1/explain"):
        page.keyboard.press("Enter")
    page.wait_for_selector("#grid .card.explained")
    page.keyboard.press("Shift+Tab")  # the heart
    page.keyboard.press("Shift+Tab")  # the name
    page.keyboard.press("Enter")
    page.wait_for_url("**/item/**")
    settled(page)
    tab_to("#back")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=upload:*")
    settled(page)
    assert page.evaluate("() => document.activeElement.matches('.name')")


# Why alike


@pytest.mark.parametrize(("metric", "what"), [("cosine", "similarity"), ("manhattan", "distance")])
def test_why_alike_adds_up(window: Window, sample_photo: Path, metric: str, what: str) -> None:
    page = results(window, sample_photo)
    if metric != "cosine":
        page.get_by_role("button", name="Options").click()
        after(page, lambda: page.locator(".menu:popover-open").get_by_text(metric.capitalize()).click())
        page.keyboard.press("Escape")
    card = page.locator("#grid .card").nth(1)
    with page.expect_response("**/api/v1/explain") as answer:
        card.locator(".why").click()
    explained = answer.value.json()
    for side in ("query", "item"):
        assert np.sum(explained[side]["cells"]) == pytest.approx(explained[what], rel=1e-5, abs=1e-4)
    assert explained["what"] == what
    page.wait_for_selector("#grid .card.explained .picture:not(.pair) canvas.heat")
    legend = page.locator("#legend p").inner_text()
    assert what in legend
    total = re.search(r"[\d.,]*\d", legend)
    assert total is not None
    assert float(total[0].replace(",", "")) == pytest.approx(explained[what], abs=1e-4)
    inked = """canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
        .data.some(v => v > 0)"""
    for canvas in page.locator("canvas.heat:visible").all():
        assert canvas.evaluate(inked)
    card.locator(".why").click()
    assert page.locator(".explained").count() == 0


# Languages and themes


def test_language_of_the_browser_and_switch(window: Window, sample_photo: Path) -> None:
    page = results(window, sample_photo, locale="id-ID")
    assert page.locator("html").get_attribute("lang") == "id"
    assert page.title() == "Serupa foto Anda – Serupa"
    assert page.get_by_role("heading", level=1).text_content() == "Serupa foto Anda"
    ids = settled(page)
    page.get_by_role("link", name="English").click()
    page.wait_for_selector("html[lang=en]")
    assert settled(page) == ids
    assert page.get_by_role("link", name="Search", exact=True).is_visible()
    page.goto("/wardrobe")  # kept
    assert page.locator("html").get_attribute("lang") == "en"
    page.get_by_role("link", name="Bahasa Indonesia").click()
    page.wait_for_selector("html[lang=id]")
    page.go_back()  # also by a page that was left in the other language
    page.wait_for_selector("html[lang=id]")
    assert settled(page) == ids


def test_theme_is_kept(window: Window) -> None:
    page = window.open()
    paper = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate(paper)
    assert dark != light
    page.goto("/wardrobe")
    assert page.evaluate(paper) == dark


# What can go wrong


def refused(page: Page, kind: str) -> str:
    return page.locator(f"[data-state={kind}] :is(h2, strong)").inner_text()


def test_text_file(window: Window, tmp_path: Path) -> None:
    page = window.open()
    text = tmp_path / "notes.txt"
    text.write_text("This is no photo. " * 100)
    drop(page, text)
    assert refused(page, "not_photo") == "notes.txt is not a photo"


def test_bad_file_beside_results(window: Window, sample_photo: Path, tmp_path: Path) -> None:
    page = results(window, sample_photo)
    ids = settled(page)
    empty = tmp_path / "empty.jpg"
    empty.write_bytes(b"")
    drop(page, empty)
    assert refused(page, "empty_file") == "empty.jpg is empty"
    assert settled(page) == ids
    page.get_by_role("button", name="Dismiss").click()
    assert page.locator("[data-state]").count() == 0


def test_large_photo_is_made_small(window: Window, tmp_path: Path, sample_photo: Path) -> None:
    page = window.open()
    large = tmp_path / "large.jpg"
    Image.open(sample_photo).resize((6000, 4000)).save(large, quality=90)
    with page.expect_request("**/api/v1/search") as sent:
        drop(page, large)
    assert len(sent.value.post_data_buffer or b"") < 1_000_000
    assert len(settled(page)) == 10
    assert page.locator("#photo").evaluate("photo => [photo.naturalWidth, photo.naturalHeight]") == [
        1280,
        853,
    ]


def test_50_mb(window: Window, tmp_path: Path) -> None:
    page = window.open()
    huge = tmp_path / "huge.jpg"
    huge.write_bytes(b"\xff\xd8\xff" + bytes(50_000_000))
    page.set_input_files("#browse", huge)
    assert refused(page, "large") == "huge.jpg is too large"
    assert "50 MB" in page.locator("[data-state=large]").inner_text()


def test_damaged_photo(window: Window, tmp_path: Path, sample_photo: Path) -> None:
    window.watched.expected.append("422")
    page = window.open()
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(sample_photo.read_bytes()[:200])
    page.set_input_files("#browse", damaged)
    page.wait_for_selector("[data-state=unreadable]")


def test_photo_that_only_the_server_reads(window: Window, tmp_path: Path, sample_photo: Path) -> None:
    page = window.open()
    tiff = tmp_path / "scan.tiff"
    Image.open(sample_photo).save(tiff)
    page.set_input_files("#browse", tiff)
    settled(page)
    assert page.locator(".frame.unseeable").count() == 1
    page.goto(f"{page.url}&kind=any")  # other bytes than the item's: its kind would be guessed
    assert sample_photo.stem in settled(page)[0]


def test_server_stopped(
    browser: Browser, sample_catalog: Catalog, sample_photo: Path, window: Window
) -> None:
    stopping: Served = serve(sample_catalog)
    window.url = stopping.url
    window.watched.host = stopping.url.removeprefix("http://")
    window.watched.expected.append("ERR_CONNECTION_REFUSED")
    page = window.open()
    page.wait_for_selector("#samples a img")
    page.wait_for_load_state("networkidle")
    stopping.stop()
    page.set_input_files("#browse", sample_photo)
    assert refused(page, "gone") == "The server does not answer"
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("[data-state=gone]")


def test_busy_server_is_asked_again(window: Window, sample_photo: Path) -> None:
    window.watched.expected.append("429")
    page = window.open()
    answers = iter([429])

    def answer(route: object) -> None:
        if next(answers, None) is None:
            route.continue_()  # type: ignore[attr-defined]
        else:
            problem = '{"status": 429, "code": "busy", "detail": "busy"}'
            route.fulfill(status=429, body=problem, headers={"Retry-After": "1"})  # type: ignore[attr-defined]

    page.route("**/api/v1/search", answer)
    page.set_input_files("#browse", sample_photo)
    assert refused(page, "busy") == "Many people are searching"
    assert len(settled(page)) == 10


def test_empty_catalogue(browser: Browser, window: Window, tmp_path: Path) -> None:
    with Catalog.create(tmp_path / "empty") as nothing:
        running = serve(nothing)
        window.url, window.watched.host = running.url, running.url.removeprefix("http://")
        page = window.open()
        assert refused(page, "empty") == "The catalogue is empty"
        running.stop()


# Everybody


def test_a_product_has_other_colours(window: Window, sample_photo: Path, tmp_path: Path) -> None:
    described = [("1", "Red", "main"), ("2", "Red", "back"), ("3", "Blue", "back"), ("4", "Blue", "main")]
    with Catalog.create(tmp_path / "catalog") as shop:
        shop.add([Item(i, str(sample_photo), "P1", {"color": c, "view": v}) for i, c, v in described])
        running = serve(shop)
        window.url, window.watched.host = running.url, running.url.removeprefix("http://")
        page = window.open("/item/1")
        other = page.locator("#colors a")
        assert other.all_inner_texts() == ["Blue"]
        assert page.locator("#views a").count() == 2
        other.click()
        assert page.url.endswith("/item/4")  # seen from the same side
        assert other.all_inner_texts() == ["Red"]
        running.stop()


def check(page: Page, what: str) -> None:
    """Fail for a serious or critical fault that axe-core finds."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    serious = [f for f in found if f["impact"] in ("serious", "critical")]
    told = [f"{what}: {f['id']}: {[n['html'][:120] for n in f['nodes']]}" for f in serious]
    assert not told


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("viewport", ["desk", "phone"])
def test_no_barrier(window: Window, sample_photo: Path, theme: str, viewport: str) -> None:
    """axe-core finds no serious or critical fault on any page or in any state."""
    shape: dict[str, object] = (
        {"viewport": PHONE, "has_touch": True, "is_mobile": True} if viewport == "phone" else {}
    )

    page = window.open("/", color_scheme=theme, **shape)
    page.wait_for_selector("#samples a img")
    check(page, "first visit")
    page.set_input_files("#browse", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"})
    page.wait_for_selector("[data-state]")
    check(page, "refused")
    page.set_input_files("#browse", sample_photo)
    settled(page)
    page.wait_for_selector("#choices .pick")
    check(page, "results")
    page.locator(".why").nth(1).click()
    page.wait_for_selector("#grid .card.explained")
    check(page, "why alike")
    page.locator(".pick").first.click()
    page.locator(".menu:popover-open .tick").first.click()
    settled(page)
    check(page, "filtered")
    page.goto(page.locator("#grid .name").first.get_attribute("href") or "")
    settled(page)
    check(page, "product")
    page.goto("/docs")
    check(page, "reference")


def test_phone_has_no_sideways_scroll_and_room_for_fingers(window: Window, sample_photo: Path) -> None:
    page = window.open("/", viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    too_small = """() => [...document.querySelectorAll("a, button, label.button, .tick, .segments label")]
      .filter((one) => one.checkVisibility() && !one.closest(".card") && !one.matches(".skip, [popover] *"))
      .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
      .filter(([, box]) => box.width > 0 && (box.height < 43.5 || box.width < 43.5))
      .map(([html, box]) => `${html} ${box.width} x ${box.height}`)"""
    wide = "() => document.documentElement.scrollWidth - innerWidth"
    page.wait_for_selector("#samples a img")
    assert page.evaluate(wide) <= 0
    assert page.evaluate(too_small) == []
    page.set_input_files("#browse", sample_photo)
    settled(page)
    assert page.evaluate(wide) <= 0
    assert page.evaluate(too_small) == []
    href = page.locator("#grid .name").first.get_attribute("href") or ""
    page.goto(href)
    settled(page)
    assert page.evaluate(wide) <= 0
    assert page.evaluate(too_small) == []


def test_hostile_attributes_stay_text(window: Window, sample_catalog: Catalog) -> None:
    """Names and values of a catalogue are shown, never run."""
    page = window.open()
    attack = '<img src=x onerror="window.ran = true">'
    body = io.BytesIO()
    Image.new("RGB", (40, 50), "red").save(body, "PNG")
    answer = {
        "metric": "cosine", "encoder": "e", "timing_ms": {}, "offset": 0, "more": False,
        "hits": [{"rank": 1, "id": attack, "product_id": attack, "image": "/static/icon.svg", "distance": 0.1,
                  "similarity": 0.9, "attributes": {"name": attack, "category": attack, "price": attack},
                  "offer": {"url": None, "price": None, "list_price": None, "currency": attack,
                            "brand": attack, "in_stock": None}}],
    }  # fmt: skip
    page.route("**/api/v1/search", lambda route: route.fulfill(json=answer))
    page.set_input_files("#browse", {"name": "a.png", "mimeType": "image/png", "buffer": body.getvalue()})
    settled(page)
    assert page.locator("#grid .name").inner_text() == attack
    assert page.evaluate("() => window.ran") is None
