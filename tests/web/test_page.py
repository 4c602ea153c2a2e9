"""What a shopper sees: at every width, language and theme, and where something is odd or goes wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.conftest import Window
from tests.web.test_browser import after, drop, refused, results, settled

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

OFFER = dict.fromkeys(("url", "price", "list_price", "currency", "brand", "in_stock"))
SHIFT = """() => {
  window.shift = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
  }).observe({type: "layout-shift", buffered: true});
}"""
PASTE = """(text) => {
  const data = new DataTransfer();
  data.setData("text/plain", text);
  const options = {clipboardData: data, bubbles: true, cancelable: true};
  document.body.dispatchEvent(new ClipboardEvent("paste", options));
}"""


def whole(page: Page, what: str) -> None:
    """Fail where a page is wider than its window, or axe-core finds any fault."""
    from axe_playwright_python.sync_playwright import Axe

    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0, what
    found = Axe().run(page).response["violations"]
    assert [f"{what}: {f['id']}: {[n['html'][:120] for n in f['nodes']]}" for f in found] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "theme", "locale"),
    [
        (320, "light", "id-ID"),
        (390, "dark", "en-GB"),
        (820, "light", "en-GB"),
        (1024, "dark", "id-ID"),
        (1440, "light", "id-ID"),
    ],
)
def test_every_page_at_every_width(
    window: Window, sample_photo: Path, width: int, theme: str, locale: str
) -> None:
    """Nothing reaches beyond the window or moves while it loads; no barrier, complaint or stranger."""
    phone = {"has_touch": True, "is_mobile": True} if width < 600 else {}
    page = window.open(
        "/", viewport={"width": width, "height": 900}, color_scheme=theme, locale=locale, **phone
    )
    page.add_init_script(f"({SHIFT})()")
    page.reload()
    page.wait_for_load_state("networkidle")
    whole(page, "first page")
    assert page.evaluate("() => window.shift") == pytest.approx(0, abs=1e-4)
    page.set_input_files("#browse", sample_photo)
    settled(page)
    whole(page, "results")
    for number in range(2):
        page.locator("#grid .heart").nth(number).click()
    page.goto(page.locator("#grid .name").first.get_attribute("href") or "")
    settled(page)
    whole(page, "product")
    page.locator("#complete").click()
    page.wait_for_selector("#said .outfit, #said p, #said .strip")
    whole(page, "outfit")
    page.goto("/for-you")
    settled(page)
    whole(page, "for you")
    assert page.evaluate("() => window.shift") == pytest.approx(0, abs=0.02)
    page.goto("/wardrobe")
    page.set_input_files("#add-piece", {
        "name": "a_photo_with_a_very_long_name_" * 6 + ".jpg", "mimeType": "image/jpeg",
        "buffer": sample_photo.read_bytes(),
    })  # fmt: skip
    page.wait_for_selector(".piece")
    page.set_input_files("#own-photo", sample_photo)
    page.wait_for_selector(".verdict")
    whole(page, "wardrobe")


# What was forgotten can be had back


def test_hearts_and_wardrobe_come_back(window: Window, sample_photo: Path) -> None:
    page = results(window, sample_photo)
    page.locator("#grid .heart").first.click()
    page.goto("/for-you")
    settled(page)
    page.locator("#forget").click()
    assert page.locator("#liked li").count() == 0
    page.get_by_role("button", name="Undo").click()
    page.wait_for_selector("#liked li")
    page.goto("/wardrobe")
    page.set_input_files("#add-piece", sample_photo)
    page.wait_for_selector(".piece")
    page.locator("#forget-wardrobe").click()
    page.wait_for_selector(".piece", state="detached")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_selector(".piece")


def test_the_wardrobe_asks_where_it_guesses(window: Window, sample_photo: Path) -> None:
    page = window.open("/wardrobe")
    guess = {"category": "hats", "confidence": 0.7, "kind": "hat", "kind_probability": 0.7,
             "pattern": None, "slot": "accessory", "colors": [], "signature": ""}  # fmt: skip
    page.route("**/api/v1/garment", lambda route: route.fulfill(json=guess))
    page.set_input_files("#add-piece", sample_photo)
    page.wait_for_selector(".perhaps")
    assert page.locator(".perhaps span").inner_text() == "Perhaps hat?"
    complete = page.get_by_role("button", name=re.compile("Complete the outfit"))
    assert complete.is_disabled()
    assert page.locator(".piece option").count() == 28  # every kind there is, and the question
    page.get_by_role("button", name="Yes").click()
    page.wait_for_selector(".perhaps", state="detached")
    assert complete.is_enabled()
    assert page.locator(".piece select").input_value() == "hat"


def test_what_takes_a_while_says_so(window: Window) -> None:
    window.watched.expected.append("503")
    page = window.open()
    page.goto(page.locator("#start .name").first.get_attribute("href") or "")
    settled(page)
    waiting: list[Route] = []
    page.route("**/api/v1/outfits", lambda route: waiting.append(route))
    page.locator("#complete").click()
    assert page.locator("#said .wait").inner_text() == "Looking …"
    while not waiting:
        page.wait_for_timeout(20)
    problem = '{"status": 503, "code": "time", "detail": "no answer within 30 s"}'
    waiting[0].fulfill(status=503, body=problem, headers={"Retry-After": "1"})
    page.wait_for_selector("#said .strip")
    assert page.locator("#said .strip").inner_text().startswith("This takes longer than usual")
    assert page.locator("#said .wait").count() == 0


# Photos come in


def test_a_photo_is_named_by_its_file(window: Window, sample_photo: Path, tmp_path: Path) -> None:
    window.watched.expected.append("422")
    page = window.open()
    damaged = tmp_path / "holiday.jpg"
    damaged.write_bytes(sample_photo.read_bytes()[:200])
    page.set_input_files("#browse", damaged)
    assert refused(page, "unreadable") == "holiday.jpg cannot be read"


def test_addresses_and_several_photos_are_answered_for(window: Window, sample_photo: Path) -> None:
    page = window.open()
    page.evaluate(PASTE, "https://elsewhere.example/coat.jpg")
    assert refused(page, "elsewhere") == "Photos on other sites are not fetched"
    drop(page, sample_photo)
    ids = settled(page)
    after(page, lambda: page.evaluate(PASTE, f"{window.url}/item/{ids[3].replace('/', '%2F')}"))
    assert page.url.endswith(f"?q={ids[3]}")
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          for (const name of ["one.txt", "two.txt"]) data.items.add(new File(["text"], name));
          document.querySelector("main").dispatchEvent(
            new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
        }"""
    )
    assert refused(page, "not_photo") == "one.txt is not a photo"
    page.reload()
    settled(page)


def test_recent_photos_are_kept_here_and_can_be_forgotten(window: Window, sample_photo: Path) -> None:
    page = results(window, sample_photo)
    ids = settled(page)
    page.goto("/")
    page.wait_for_selector("#samples a[href*='upload']")
    assert after(page, lambda: page.locator("#samples a").first.click()) == ids
    page.go_back()  # one step, not two
    page.wait_for_selector("[data-view=start]")
    page.goto("/")
    page.get_by_role("button", name="Forget them").click()
    page.wait_for_selector("#samples a", state="detached")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_selector("#samples a[href*='upload']")


# The garments in a photo of a person


def test_each_garment_of_a_photo_is_a_dot_that_searches_for_it(window: Window, sample_photo: Path) -> None:
    page = window.open()
    boxes = {"jacket": [0.2, 0.1, 0.5, 0.4], "trousers": [0.2, 0.5, 0.5, 0.4]}
    found = [{"part": "upper", "kind": kind, "score": 0.9, "box": box} for kind, box in boxes.items()]
    page.route("**/api/v1/regions", lambda route: route.fulfill(json={"regions": found}))
    drop(page, sample_photo)
    settled(page)
    page.wait_for_selector(".dot")
    whole(page, "dots")
    after(page, lambda: page.get_by_role("button", name="Search for this alone: Trousers").click())
    assert "crop=0.2,0.5,0.5,0.4" in page.url.replace("%2C", ",")
    page.unroute("**/api/v1/regions")
    page.route("**/api/v1/regions", lambda route: route.fulfill(json={"regions": found[:1]}))
    page.reload()
    settled(page)
    page.wait_for_load_state("networkidle")
    assert page.locator(".dot").count() == 0  # one garment is what the whole photo shows


# Words


def test_words_alone_and_beside_a_photo(window: Window, sample_photo: Path) -> None:
    page = window.open()
    sent: list[bytes] = []
    told = [
        {"text": "red", "role": "color", "value": "red", "found": True},
        {"text": "jackt", "role": "kind", "value": "jacket", "found": True},
        {"text": "zeppelin", "role": "word", "value": "zeppelin", "found": False},
    ]

    def answer(route: Route) -> None:
        sent.append(route.request.post_data_buffer or b"")
        understood = [one for one in told if str(one["text"]).encode() in sent[-1]]
        found = {"metric": "cosine", "encoder": "e", "timing_ms": {}, "offset": 0, "more": False}
        route.fulfill(json=found | {"hits": [hit(1, name="Red jacket")], "understood": understood})

    page.route("**/api/v1/search", answer)
    field = page.locator("#start [data-ask] input")
    field.fill("red jackt zeppelin")
    field.press("Enter")
    settled(page)
    assert page.url.endswith("/?text=red+jackt+zeppelin")
    assert page.get_by_role("heading", level=1).text_content() == "\u201cred jackt zeppelin\u201d"
    assert page.locator(".chip span").all_inner_texts() == ["red", "jackt: jacket", "zeppelin"]
    assert page.locator(".chip.none").inner_text() == "zeppelin"
    assert b'name="photo"' not in sent[-1]
    after(page, lambda: page.locator(".chip.none").click())
    assert page.url.endswith("/?text=red+jackt")
    after(page, lambda: page.set_input_files("#with-photo", sample_photo))
    assert re.search(r"\?q=upload:\w+&text=red\+jackt$", page.url)
    assert b'name="photo"' in sent[-1]
    assert b"red jackt" in sent[-1]
    field = page.locator("#found [data-ask] input")
    assert field.input_value() == "red jackt"
    field.fill("")
    after(page, lambda: field.press("Enter"))
    assert "text=" not in page.url
    assert page.locator("#asked option").evaluate_all("all => all.map(one => one.value)") == [
        "red jackt zeppelin"
    ]


# Filters


def test_choices_lead_to_as_many_products_as_they_say(window: Window, sample_photo: Path) -> None:
    page = results(window, sample_photo)
    page.get_by_role("button", name="Colour").click()
    page.wait_for_selector(".menu:popover-open .tick")
    after(page, lambda: page.locator(".menu:popover-open .tick").first.click())
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)  # counts follow
    page.get_by_role("button", name="Category").click()
    rows = page.locator(".menu:popover-open .tick:visible")
    assert 0 < rows.count() < 10  # those that lead to nothing are hidden
    count = int(rows.first.locator(".many").inner_text())
    assert len(after(page, lambda: rows.first.click())) == count


def test_many_brands_have_a_field_and_sizes_their_order(window: Window, sample_photo: Path) -> None:
    def values(names: list[str]) -> list[dict[str, Any]]:
        return [{"value": name, "count": 3} for name in names]

    fields = [
        {
            "name": "brand",
            "kind": "text",
            "more": False,
            "values": values([f"Brand {n}" for n in range(140)]),
        },
        {"name": "size", "kind": "text", "more": False, "values": values(["XL", "S", "XXL", "M", "XS", "L"])},
        {"name": "view", "kind": "text", "more": False, "values": values(["main", "back"])},
    ]
    page = window.open()
    page.route("**/api/v1/facets*", lambda route: route.fulfill(json={"fields": fields}))
    page.set_input_files("#browse", sample_photo)
    settled(page)
    page.get_by_role("button", name="Brand").click()
    page.get_by_role("searchbox", name="Find in brand").fill("139")
    assert page.locator(".menu:popover-open .tick:visible").all_inner_texts() == ["Brand 139\n3"]
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Size", exact=True).click()
    rows = page.locator(".menu:popover-open .tick > span:first-of-type").all_inner_texts()
    assert rows == ["XS", "S", "M", "L", "XL", "XXL"]
    assert (
        page.locator(".pick").count() == 3
    )  # brand, size and the options: a photo's view is nothing to a shopper


# Odd data


def hit(number: int, **attributes: Any) -> dict[str, Any]:
    offer = attributes.pop("offer", {})
    return {"id": f"item-{number}", "product_id": f"MP{number}", "image": "/static/icon.svg", "rank": number,
            "distance": 0.1, "similarity": 0.9, "attributes": attributes, "offer": OFFER | offer}  # fmt: skip


def answering(page: Page, hits: list[dict[str, Any]]) -> None:
    """Answer searches with these hits, page by page."""

    def answer(route: Route) -> None:
        form = route.request.post_data_buffer or b""
        number = {name: int(value) for name, value in re.findall(rb'name="(k|offset)"\r\n\r\n(\d+)', form)}
        start, k = number.get(b"offset", 0), number[b"k"]
        found = {"metric": "cosine", "encoder": "e", "timing_ms": {}, "offset": start}
        route.fulfill(json=found | {"hits": hits[start : start + k], "more": start + k < len(hits)})

    page.route("**/api/v1/search", answer)


def test_names_and_prices_of_other_worlds(window: Window, sample_photo: Path) -> None:
    page = window.open()
    arabic = "\u0641\u0633\u062a\u0627\u0646 \u0635\u064a\u0641\u064a Summer 2026"
    answering(page, [
        hit(1, name=arabic, offer={"price": 1200.0, "currency": "JPY"}),
        hit(2, name="Tom &amp; <b>Jerry</b>",
            offer={"price": 9.5, "list_price": 19.0, "currency": "EUR", "brand": "Acme"}),
        hit(3, category="Men/Tops/Shirts", offer={"in_stock": False}),
        hit(4, name="Shirt", offer={"url": "https://shop.example/shirt", "price": 20.0}),
    ])  # fmt: skip
    page.set_input_files("#browse", sample_photo)
    settled(page)
    cards = page.locator("#grid .card")
    assert cards.nth(0).locator(".name").evaluate("name => getComputedStyle(name).direction") == "rtl"
    assert "1,200" in cards.nth(0).inner_text()
    assert "1,200." not in cards.nth(0).inner_text()
    assert cards.nth(1).locator(".name").inner_text() == "Tom & Jerry"
    assert cards.nth(1).locator("ins").inner_text() == "€9.50"
    assert cards.nth(1).locator("del").inner_text() == "€19"
    assert "Acme" in cards.nth(1).inner_text()
    assert cards.nth(2).locator(".name").inner_text() == "Shirts"
    assert "Sold out" in cards.nth(2).inner_text()
    link = cards.nth(3).get_by_role("link", name="View in shop: Shirt")
    assert (link.get_attribute("href"), link.get_attribute("rel")) == (
        "https://shop.example/shirt",
        "noopener nofollow",
    )


def test_descriptions_lose_their_markup_and_keep_their_lines(window: Window) -> None:
    page = window.open()
    told = page.evaluate(
        """async () => {
          const { prose } = await import("/static/js/texts.js");
          return prose("<p>Soft &amp; <b>warm</b>.</p><ul><li>Wool</li><li>Size &lt; 40</li></ul>"
            + "<script>ran()</" + "script>");
        }"""
    )
    assert told == "Soft & warm.\nWool\nSize < 40"


def test_a_long_list_keeps_its_place_and_its_size(window: Window, sample_photo: Path) -> None:
    page = window.open("/", viewport={"width": 1280, "height": 900})
    answering(page, [hit(n, name=f"Thing {n}") for n in range(1, 601)])
    page.set_input_files("#browse", sample_photo)
    settled(page)
    for seen in range(48, 289, 24):
        page.get_by_role("button", name="Show more").click()
        page.wait_for_function(
            f"() => document.querySelectorAll('#grid .card:not(.waiting)').length === {seen}"
        )
    page.locator("#grid .card").nth(250).scroll_into_view_if_needed()
    page.wait_for_timeout(400)
    top = page.evaluate("() => scrollY")
    assert page.locator("#grid .card").nth(250).locator(".name").inner_text() == "Thing 251"
    assert page.evaluate("() => document.querySelectorAll('#grid *').length") < 3_000
    page.reload()
    settled(page)
    page.wait_for_function("() => document.querySelectorAll('#grid .card').length >= 288")
    page.wait_for_timeout(400)
    assert page.evaluate("() => scrollY") == pytest.approx(top, abs=2)
    assert page.locator("#grid .card").nth(250).locator(".name").inner_text() == "Thing 251"


def test_a_product_tells_what_a_shopper_asks(window: Window, sample_photo: Path) -> None:
    page = results(window, sample_photo)
    page.goto(page.locator("#grid .name").first.get_attribute("href") or "")
    settled(page)
    told = page.locator("#attributes dt").all_inner_texts()
    assert "Category" in told
    assert not {"View", "Product", "Name", "Price"} & set(told)
    assert page.locator("meta[property='og:image']").get_attribute("content", timeout=1_000)
    page.get_by_role("button", name="Share").click()
    page.get_by_role("button", name="Link copied").wait_for()
    assert page.evaluate("() => navigator.clipboard.readText()") == page.url
    page.get_by_role("link", name=re.compile("More in this colour")).click()
    page.wait_for_url(re.compile("where=color"))


def test_a_category_of_the_first_page_leads_to_its_products(window: Window) -> None:
    page = window.open()
    link = page.locator(".kinds a").first
    name = link.inner_text()
    with page.expect_response("**/api/v1/recommend"):
        link.click()
    settled(page)
    assert page.get_by_role("heading", level=1).text_content() == name
    assert page.title().startswith(name)
    assert page.locator(".query").is_hidden()
    page.get_by_role("button", name="Options").click()
    assert page.locator(".menu:popover-open legend:visible").all_inner_texts() == ["How many at a time"]


def test_missing_photos_and_refused_filters_are_told_in_the_pages_language(window: Window) -> None:
    window.watched.expected += ["404", "422"]
    page = window.open("/", locale="id-ID")
    page.route("**/image?size=*", lambda route: route.fulfill(status=404, json={}))
    page.reload()
    page.wait_for_selector("#samples img.broken", state="attached")
    assert (
        page.locator("#samples img").first.evaluate("photo => getComputedStyle(photo).visibility") == "hidden"
    )
    page.goto("/?where=nothing%3D1")
    assert refused(page, "refused") == "Pencarian ini tidak bisa dilakukan"
    assert "field" not in page.locator("[data-state=refused]").inner_text()
