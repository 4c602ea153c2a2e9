"""The shop's own name on the page: what is checked, and what visitors see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from serupa import Catalog
from serupa.errors import InvalidInputError, NotFoundError, SerupaError, UsageError
from serupa.web.brand import read_brand
from tests.web.conftest import Watched, Window, serve

LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="30"><rect width="90" height="30" fill="{}"/>'
    "</svg>"
)
BRAND = """
name = "Lestari"
font = "Georgia"
menu = ["search", "wardrobe"]
[light]
accent = "#0a6b4f"
logo = "day.svg"
[dark]
accent = "#5fd3ae"
logo = "night.svg"
[words.en]
start = "Show us what you love."
"""


@pytest.fixture
def brand(tmp_path: Path) -> Path:
    for name, color in (("day", "green"), ("night", "lightgreen")):
        (tmp_path / f"{name}.svg").write_text(LOGO.format(color))
    file = tmp_path / "brand.toml"
    file.write_text(BRAND)
    return file


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (('name = "Lestari"', 'nam = "Lestari"'), UsageError, "nam:"),
        (('"#0a6b4f"', '"green"'), UsageError, "light.accent"),
        (('"#0a6b4f"', '"#ffcc00"'), UsageError, "contrast of 1.4"),
        (('"#5fd3ae"', '"#0a6b4f"'), UsageError, "dark.accent"),
        (('"wardrobe"', '"checkout"'), UsageError, "menu.1"),
        (('["search", "wardrobe"]', '["outfits"]'), UsageError, "menu"),
        (("words.en", "words.xx"), UsageError, "words.xx"),
        (('start = "Show', 'headline = "Show'), UsageError, "words.en.headline"),
        (('"day.svg"', '"none.svg"'), NotFoundError, "none.svg"),
        (('"day.svg"', '"brand.toml"'), InvalidInputError, "a logo is"),
        (('font = "Georgia"', 'font_file = "day.svg"'), InvalidInputError, "WOFF2"),
        (('font = "Georgia"', 'font = "}body{display:none"'), UsageError, "font:"),
        (('name = "Lestari"', "name = "), InvalidInputError, "not a TOML file"),
    ],
)
def test_what_cannot_be_is_refused(
    brand: Path, change: tuple[str, str], kind: type[SerupaError], says: str
) -> None:
    brand.write_text(BRAND.replace(*change))
    with pytest.raises(kind, match=re.escape(says)):
        read_brand(brand)


def test_without_a_file_it_is_serupa_s_own() -> None:
    assert (read_brand(None).name, read_brand(None).css, read_brand(None).home) == ("Serupa", None, "/")


@pytest.fixture
def branded(browser: object, brand: Path, sample_catalog: Catalog) -> Iterator[Window]:
    running = serve(sample_catalog, brand=str(brand))
    made = Window(browser, running.url, Watched(urlsplit(running.url).netloc))  # type: ignore[arg-type]
    yield made
    for context in made.contexts:
        context.close()
    running.stop()
    made.watched.check()


def test_visitors_see_the_shop(branded: Window) -> None:
    branded.watched.expected.append("404")
    page = branded.open("/")
    assert page.title().endswith("– Lestari")
    assert page.get_by_role("heading", level=1).inner_text() == "Show us what you love."
    assert page.locator("nav a").all_inner_texts() == ["Search", "Wardrobe"]
    assert page.get_by_role("img", name="Lestari").count() == 1
    colors = "() => [getComputedStyle(document.querySelector('#theme'), null).fontFamily]"
    assert page.evaluate(colors) == ["Georgia, sans-serif"]
    logo = page.locator(".logo:visible")
    assert logo.evaluate("(one) => one.naturalWidth") == 90
    day = logo.get_attribute("src")
    page.locator("#theme").click()
    assert page.locator(".logo:visible").get_attribute("src") != day
    assert page.goto("/for-you").status == 404  # type: ignore[union-attr]


def test_without_the_search_another_page_is_the_first(branded: Window, brand: Path) -> None:
    assert read_brand(brand).home == "/"
    brand.write_text(BRAND.replace('"search", ', ""))
    assert read_brand(brand).home == "/wardrobe"
