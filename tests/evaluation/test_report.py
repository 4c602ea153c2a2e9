"""The report: every file is there, the page needs nothing else, what is missing does not stop it."""

from __future__ import annotations

import json
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from serupa import Item
from serupa.errors import MissingExtraError, UnavailableError
from serupa.evaluation import EmbeddedItems, Evaluation, evaluate, report
from serupa.evaluation.report import FIGURES, Published, Row, sample_pairs, write_report
from tests.conftest import draw_photo
from tests.web.conftest import FLAGS, find_chromium

METRICS = ("cosine", "euclidean", "manhattan")
LABELS = ["Sheer_Blouse"] * 8 + ["Tweed <Blazer>"] * 6 + ["$5 tee & co"] * 4 + ["alone"] + [None]


def gallery_of(labels: list[str | None]) -> EmbeddedItems:
    rng = np.random.default_rng(0)
    centre = {label: rng.normal(size=12) for label in dict.fromkeys(labels)}
    rows = np.stack([centre[label] + rng.normal(scale=0.8, size=12) for label in labels])
    return EmbeddedItems([f"item-{i:02}" for i in range(len(labels))], labels, rows.astype(np.float32))


@pytest.fixture(scope="module")
def gallery() -> EmbeddedItems:
    return gallery_of(LABELS)


@pytest.fixture(scope="module")
def evaluation(gallery: EmbeddedItems) -> Evaluation:
    return evaluate(gallery, label="product_id", metrics=METRICS, resamples=200)


@pytest.fixture(scope="module")
def shown(gallery: EmbeddedItems, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Item]:
    """Every item but one, every photo but some: gone, or no image."""
    folder = tmp_path_factory.mktemp("report-photos")
    items = {}
    for number, item_id in enumerate(gallery.ids[:-1]):
        path = folder / f"{number}.jpg"
        if number % 5 == 3:
            path.write_bytes(b"not an image")
        elif number % 5 != 4:
            draw_photo(path, number)
        items[item_id] = Item(item_id, str(path), attributes={"name": f"Product <{number}>"})
    return items


@pytest.fixture(scope="module")
def page(
    evaluation: Evaluation,
    gallery: EmbeddedItems,
    shown: dict[str, Item],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    return write_report(
        evaluation,
        tmp_path_factory.mktemp("report") / "new" / "folder",
        gallery=gallery,
        items=shown,
        title="A <shop> & its search",
        about="The 4 largest <classes>.",
        published=Published(
            "Elsewhere", ["P@1"], [Row("cosine", "paper", ["0.230 (0.158 to 0.322)"])], ["A <note>."]
        ),
    )


class Page(HTMLParser):
    """What a page refers to, and what is wrong with it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.headers: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [str(found[name]) for name in ("src", "href", "xlink:href") if name in found]
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "img" or found.get("role") == "img":
            self.images.append(found)
        if tag == "th":
            self.headers.append(found)


def test_every_file_is_written(page: Path) -> None:
    folder = page.parent
    assert page.name == "index.html"
    wanted = {f"figures/{name}.{ending}" for name in FIGURES for ending in ("svg", "png")}
    wanted |= {"index.html", "table.md", "evaluation.json"}
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == wanted


def test_data_is_the_evaluation(page: Path, evaluation: Evaluation) -> None:
    data = json.loads((page.parent / "evaluation.json").read_text(encoding="utf-8"))
    assert data == evaluation.to_dict()


def test_table_has_the_results_and_those_published(page: Path, evaluation: Evaluation) -> None:
    table = (page.parent / "table.md").read_text(encoding="utf-8")
    assert evaluation.to_markdown() in table
    assert "| cosine | paper | 0.230 (0.158 to 0.322) |" in table
    assert "The 4 largest <classes>." in table


def test_page_refers_to_nothing_elsewhere(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert not re.findall(r"(?:https?:)?//[a-z0-9]", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html))
    parsed = Page(html)
    for address in parsed.addresses:
        assert address.startswith(("data:", "#")) or (page.parent / address).is_file(), address
    assert "<script" not in html


def test_page_is_accessible(page: Path) -> None:
    parsed = Page(page.read_text(encoding="utf-8"))
    assert parsed.images
    assert all(image.get("alt") or image.get("aria-label") for image in parsed.images)
    assert all(header.get("scope") for header in parsed.headers)
    assert len(parsed.ids) == len(set(parsed.ids))
    for address in parsed.addresses:
        assert not address.startswith("#") or address[1:] in parsed.ids


def test_texts_are_escaped(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert "<title>A &lt;shop&gt; &amp; its search</title>" in html
    assert "<Blazer>" not in html
    assert "Product &lt;" in html


def test_photos_that_are_missing_are_empty_frames(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert html.count('src="data:image/jpeg;base64,') > 4
    assert ", no photo" in html


def test_figures_take_the_colours_of_the_page(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    charts = re.findall(r"<svg class=\"chart\".*?</svg>", html, re.DOTALL)
    assert len(charts) == 5
    for chart in charts:
        assert "var(--ink)" in chart
        assert "#191816" not in chart


def test_a_report_replaces_the_one_before(page: Path, tmp_path: Path) -> None:
    single = gallery_of(["tee"] * 5)  # one class: no pairs of different ones
    result = evaluate(single, label="category", resamples=50)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "similarity-of-pairs.svg").write_text("old")
    written = write_report(result, tmp_path, gallery=single, items={}, title="One class")
    assert not (tmp_path / "figures" / "similarity-of-pairs.svg").exists()
    assert "similarity-of-pairs" not in written.read_text(encoding="utf-8")
    assert "Elsewhere" not in written.read_text(encoding="utf-8")


def test_queries_of_their_own(tmp_path: Path, shown: dict[str, Item], gallery: EmbeddedItems) -> None:
    rows = list(range(0, 18, 3))
    asked = EmbeddedItems(
        [gallery.ids[row] for row in rows], [LABELS[row] for row in rows], gallery.embeddings[rows] + 0.01
    )
    result = evaluate(gallery, label="product_id", queries=asked, ks=[2], resamples=50)
    written = write_report(result, tmp_path, gallery=gallery, items=shown, title="To shop")
    html = written.read_text(encoding="utf-8")
    assert "Of the first 2 results" in html
    # same ids, other photos: a gallery's photo is never shown as the query's
    assert re.search(r'class="query">\s*<div class="photo none"', html)
    assert not re.search(r'class="query">\s*<img', html)
    again = write_report(
        result, tmp_path, gallery=gallery, items=shown, title="To shop", query_items=shown
    ).read_text(encoding="utf-8")
    assert re.search(r'class="query">\s*<img', again)


def test_progress_is_told(evaluation: Evaluation, gallery: EmbeddedItems, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    write_report(
        evaluation,
        tmp_path,
        gallery=gallery,
        items={},
        title="t",
        progress=lambda what, done, total: told.append((what, done, total)),
    )
    assert [done for _, done, _ in told] == list(range(told[-1][2] + 1))


def test_a_folder_that_cannot_be_written(
    evaluation: Evaluation, gallery: EmbeddedItems, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError):
        write_report(evaluation, tmp_path / "file", gallery=gallery, items={}, title="t")


@pytest.mark.parametrize("module", ["matplotlib", "sklearn.manifold", "jinja2"])
def test_without_the_extra_nothing_is_written(
    module: str,
    evaluation: Evaluation,
    gallery: EmbeddedItems,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"serupa\[report\]"):
        write_report(evaluation, tmp_path / "report", gallery=gallery, items={}, title="t")
    assert not (tmp_path / "report").exists()


def test_best_and_worst_are_those_of_average_precision(
    evaluation: Evaluation, gallery: EmbeddedItems
) -> None:
    material = report._Material(evaluation, gallery, {}, None)
    values = evaluation.metrics[material.metric].values["map"]
    assert material.best[0].note == f"AP {values.max():.3f}"
    assert material.worst[0].note == f"AP {values.min():.3f}"
    for example in [*material.best, *material.worst, *material.examples]:
        assert len(example.hits) == 5
        own = evaluation.query_labels[evaluation.query_ids.index(example.query.name)]
        for hit in example.hits:
            label = gallery.labels[gallery.ids.index(hit.name)]
            assert hit.relevant == (label == own)


@pytest.mark.parametrize("most", [5, 10_000])
def test_pairs_are_of_one_class_or_of_two(most: int) -> None:
    same, different = sample_pairs(LABELS, most=most, seed=1)
    assert len(same) == min(most, 28 + 15 + 6)
    assert all(LABELS[a] == LABELS[b] and a != b for a, b in same.tolist())
    assert len(different)
    assert len(different) <= most
    assert all(LABELS[a] != LABELS[b] and None not in (LABELS[a], LABELS[b]) for a, b in different.tolist())


@pytest.mark.parametrize("labels", [["a"], ["a", "a"], ["a", "b"], [None, "a", "a"]])
def test_pairs_of_very_few_items(labels: list[str | None]) -> None:
    same, different = sample_pairs(labels, seed=0)
    assert same.shape[1] == different.shape[1] == 2
    assert len(same) == (labels.count("a") == 2)
    assert bool(len(different)) == ("b" in labels)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_from_disk_with_no_request_and_no_complaint(page: Path, scheme: str) -> None:
    absent = pytest.fail if os.environ.get("CI") else pytest.skip
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("needs playwright: pip install 'serupa[dev]'")
    chromium = find_chromium()
    if chromium is None:
        absent("needs Chromium: install Debian's package chromium, or set SERUPA_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        context = browser.new_context(color_scheme=scheme, viewport={"width": 390, "height": 844})
        requests: list[str] = []
        complaints: list[str] = []
        context.on("request", lambda request: requests.append(request.url))
        context.on("console", lambda message: complaints.append(message.text))
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        opened = context.new_page()
        opened.goto(page.as_uri())
        opened.wait_for_load_state("networkidle")
        broken = opened.eval_on_selector_all("img", "all => all.filter(one => !one.naturalWidth).length")
        too_wide = opened.evaluate("document.documentElement.scrollWidth > window.innerWidth")
        ink = opened.evaluate("getComputedStyle(document.body).color")
        browser.close()
    assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()]
    assert not complaints
    assert not broken
    assert not too_wide
    assert (ink == "rgb(25, 24, 22)") == (scheme == "light")
