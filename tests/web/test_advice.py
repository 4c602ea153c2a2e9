"""Advice over the API, and as people use it on the page: hearts, for you, wardrobe, outfits."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from serupa.garments.kinds import KINDS
from serupa.web.service import Service
from tests.web.conftest import PHONE, Served, Window
from tests.web.test_browser import check

if TYPE_CHECKING:
    from playwright.sync_api import Page


def send(served: Served, path: str, *, photo: Path | None = None, **fields: Any) -> dict[str, Any]:
    """Send a form; return the answer, with its status where it is a problem."""
    mark = uuid.uuid4().hex
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, values in fields.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    if photo is not None:
        head = f'--{mark}\r\nContent-Disposition: form-data; name="photo"; filename="p.jpg"\r\n\r\n'
        parts.append(head.encode() + photo.read_bytes() + b"\r\n")
    body = b"".join(parts) + f"--{mark}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={mark}"}
    request = urllib.request.Request(f"{served.url}/api/v1/{path}", body, headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        found = json.load(error)
    return found


def piece_of(served: Served, photo: Path, name: str) -> dict[str, Any]:
    seen = send(served, "garment", photo=photo)
    wanted = ("category", "pattern", "colors", "signature")
    return {"id": name, "name": name} | {key: seen[key] for key in wanted}


@pytest.fixture(scope="module")
def shown(sample: Path) -> dict[str, Path]:
    """A photo of each product of the sample, by the first letters of its id."""
    return {path.name[:3]: path for path in sorted((sample.parent / "photos").glob("*_flat.jpg"))}


def test_recommend(served: Served) -> None:
    varied = send(served, "recommend", k=5)
    assert len(varied["hits"]) == 5
    assert varied["more"] is True
    assert {hit["because"] for hit in varied["hits"]} == {None}
    liked = varied["hits"][0]
    taste = {"likes": [{"id": liked["id"], "at": "2026-01-01T00:00:00Z"}, {"id": "gone"}]}
    found = send(served, "recommend", taste=json.dumps(taste), k=20)
    assert liked["product_id"] not in {hit["product_id"] for hit in found["hits"]}
    assert {hit["because"] for hit in found["hits"]} == {liked["id"]}
    assert found["groups"] == [[liked["id"]]]
    assert found["unknown"] == ["gone"]
    assert found["more"] is False
    second = send(served, "recommend", taste=json.dumps(taste), k=3, offset=3)
    assert [hit["id"] for hit in second["hits"]] == [hit["id"] for hit in found["hits"][3:6]]
    assert [hit["rank"] for hit in second["hits"]] == [4, 5, 6]
    some = send(served, "recommend", k=9, where=["category=Hats|Tees"])
    assert {hit["attributes"]["category"] for hit in some["hits"]} <= {"Hats", "Tees"}


def test_garment_and_owned_already(served: Served, shown: dict[str, Path]) -> None:
    seen = send(served, "garment", photo=shown["TEE"])
    assert seen["kind"] in {kind.name for kind in KINDS} | {None}
    assert 0 < seen["kind_probability"] <= 1
    hat = piece_of(served, shown["TEE"], "my tee")
    assert hat["colors"][0]["share"] > 0.3
    assert len(hat["signature"]) > 3000
    wardrobe = json.dumps([hat, piece_of(served, shown["SKI"], "my skirt")])
    same = send(served, "own", photo=shown["TEE"], wardrobe=wardrobe)
    assert same["matches"][0]["id"] == "my tee"
    assert same["matches"][0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert [match["id"] for match in same["matches"]] == ["my tee", "my skirt"]
    nothing = send(served, "own", item_id=f"photos/{shown['TEE'].name}", wardrobe="[]")
    assert nothing["verdict"] == "new"
    assert nothing["matches"] == []


def test_outfits(served: Served, shown: dict[str, Path]) -> None:
    tee = piece_of(served, shown["TEE"], "my tee") | {"category": "Tees"}
    skirt = piece_of(served, shown["SKI"], "my skirt") | {"category": "Skirts"}
    alone = send(served, "outfits", piece="my tee", wardrobe=json.dumps([tee, skirt]), shop="false")
    (outfit,) = alone["outfits"]
    assert [(part["id"], part["slot"], part["owned"]) for part in outfit["parts"]] == [
        ("my tee", "top", True),
        ("my skirt", "bottom", True),
    ]
    assert outfit["reasons"][0]["text"]
    with_shop = send(served, "outfits", piece="my tee", wardrobe=json.dumps([tee, skirt]))
    for outfit in with_shop["outfits"]:
        assert sum(not part["owned"] for part in outfit["parts"]) <= 1
    item = f"photos/{shown['TRS'].name}"
    around = send(served, "outfits", piece=item)
    assert item in {part["id"] for part in around["outfits"][0]["parts"]}
    assert all(part["image"] for part in around["outfits"][0]["parts"])


@pytest.mark.parametrize(
    ("path", "fields", "told"),
    [
        ("recommend", {"taste": "["}, "taste: must be JSON"),
        ("recommend", {"taste": "[]"}, "taste: must be a JSON object"),
        ("recommend", {"taste": '{"likes": [{"id": "a", "at": "never"}]}'}, "likes"),
        ("recommend", {"diversity": "2"}, "diversity"),
        ("recommend", {"where": ["colour=Red"]}, "colour"),
        ("own", {"wardrobe": "[]"}, "send either photo or item_id"),
        ("own", {"item_id": "x", "wardrobe": "{}"}, "wardrobe: must be a JSON list"),
        ("own", {"item_id": "x", "wardrobe": '[{"id": "a"}]'}, "wardrobe: must be a list of pieces"),
        (
            "own",
            {"item_id": "x", "wardrobe": '[{"id": "a", "signature": "AAAA"}]'},
            "signature of a is not of",
        ),
        ("outfits", {"piece": "nothing"}, "no item 'nothing'"),
    ],
)
def test_refusals(served: Served, path: str, fields: dict[str, Any], told: str) -> None:
    problem = send(served, path, **fields)
    assert problem["status"] in (404, 422)
    assert told in problem["detail"]


# On the page


def settled(page: Page) -> list[str]:
    page.wait_for_selector("#found:not(.busy) #grid .card:not(.waiting)")
    return page.eval_on_selector_all("#grid .card", "cards => cards.map(card => card.dataset.id)")


def test_hearts_lead_to_what_is_for_you(window: Window) -> None:
    page = window.open("/for-you", viewport=PHONE, has_touch=True)
    varied = settled(page)
    assert "A bit of everything" in page.locator("#lead").inner_text()
    first = page.locator("#grid .card").first
    first.locator(".heart").click()
    assert first.locator(".heart").get_attribute("aria-pressed") == "true"
    assert page.locator("#lead").inner_text().startswith("From 1 heart")
    page.reload()
    mine = settled(page)
    assert varied[0] not in mine
    assert page.locator("#liked li").count() == 1
    kept = page.evaluate("() => JSON.parse(localStorage.getItem('serupa:taste'))")
    assert [one["id"] for one in kept["likes"]] == [varied[0]]
    with page.expect_download() as saved:
        page.locator("#export").click()
    assert json.loads(Path(saved.value.path()).read_text()) == kept
    page.locator("#forget").click()
    settled(page)
    page.wait_for_function("() => localStorage.getItem('serupa:taste') === null")
    assert page.locator("#taste-actions").is_hidden()


def test_a_wardrobe_of_ones_own(window: Window, shown: dict[str, Path]) -> None:
    page = window.open("/wardrobe", viewport=PHONE, has_touch=True)
    assert page.locator("#own-pick").is_hidden()
    page.set_input_files("#add-piece", shown["TEE"])
    page.wait_for_selector("[data-piece]")
    page.set_input_files("#add-piece", shown["SKI"])
    page.wait_for_function("() => document.querySelectorAll('[data-piece]').length === 2")
    for n, category in enumerate(("t-shirt", "skirt")):
        select = page.locator("[data-piece] select").nth(n)
        select.evaluate("one => one.dataset.before = 1")
        select.select_option(category)
        page.wait_for_selector("[data-before]", state="detached")  # kept, and shown anew
    page.reload()
    page.wait_for_function("() => document.querySelectorAll('[data-piece] option').length > 4")
    shown_now = [page.locator("[data-piece] select").nth(n).input_value() for n in (0, 1)]
    assert shown_now == ["t-shirt", "skirt"]
    assert page.locator("#wardrobe-lead").inner_text().startswith("2 pieces")
    page.get_by_role("button", name="Complete the outfit").first.click()
    page.wait_for_selector("#said .outfit")
    assert page.locator("#said .outfit").first.get_by_text("Yours").count() >= 2
    assert page.locator("#said .reasons li").count() > 0
    page.set_input_files("#own-photo", shown["TEE"])
    page.wait_for_selector("#said .verdict")
    assert "T-shirt" in page.locator("#said .verdict").inner_text()
    wide = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
    page.locator("#forget-wardrobe").click()
    page.wait_for_function("() => document.querySelectorAll('[data-piece]').length === 0")


def test_advice_on_a_product(window: Window, shown: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "notices_owned", True)
    page = window.open(f"/item/photos%2F{shown['TRS'].name}", locale="id-ID")
    settled(page)
    assert page.locator("#own").is_hidden()
    page.locator("#heart .heart").click()
    assert page.locator("#heart .heart").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Lengkapi padanan").click()
    page.wait_for_selector("#said .outfit")
    assert page.locator("#said .outfit").first.get_by_text("Dari toko").count() >= 2
    page.goto("/wardrobe")
    page.set_input_files("#add-piece", shown["TRS"])
    page.wait_for_selector("[data-piece]")
    page.goto(f"/item/photos%2F{shown['TRS'].name}")
    page.get_by_role("button", name="Sudah punya ini?").click()
    page.wait_for_selector("#said .verdict")
    monkeypatch.setattr(Service, "notices_owned", False)  # too little of it: it is not offered
    page.reload()
    settled(page)
    page.wait_for_load_state("networkidle")
    assert page.locator("#own").is_hidden()


def test_a_file_that_is_no_garment_changes_nothing(window: Window, tmp_path: Path) -> None:
    page = window.open("/wardrobe")
    (tmp_path / "notes.txt").write_text("no photo")
    page.set_input_files("#add-piece", tmp_path / "notes.txt")
    page.wait_for_selector("#wardrobe-notice .strip")
    assert "notes.txt" in page.locator("#wardrobe-notice").inner_text()
    assert page.locator("[data-piece]").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_barrier(window: Window, shown: dict[str, Path], theme: str) -> None:
    """axe-core finds no serious or critical fault on these pages."""
    page = window.open("/for-you", viewport=PHONE, has_touch=True, is_mobile=True, color_scheme=theme)
    settled(page)
    page.locator(".heart").first.click()
    check(page, "for you")
    page.goto("/wardrobe")
    check(page, "no pieces")
    page.set_input_files("#add-piece", shown["TEE"])
    page.wait_for_selector("[data-piece]")
    page.locator("[data-piece] select").select_option("t-shirt")
    page.get_by_role("button", name="Complete the outfit").click()
    page.wait_for_selector("#said .outfit")
    check(page, "an outfit")
