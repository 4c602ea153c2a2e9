"""Search by words: what items are found by, what a text is taken for, and words beside a photo."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from serupa import Catalog, Item
from serupa.catalog.schema import payload_of
from serupa.catalog.words import Understood, terms_of
from serupa.cli.commands import app
from serupa.errors import UsageError
from tests.qdrant_server import Server, running

SHOP = {  # name, category, colour that the shop names, colour that the photo shows, other attributes
    "hoodie-grey": ("Chaz Kangaroo Hoodie", "Men/Hoodies", "Gray", (120, 120, 120), {"pattern": "Solid"}),
    "hoodie-red": ("Chaz Kangaroo Hoodie", "Men/Hoodies", "Red", (200, 20, 30), {"pattern": "Solid"}),
    "jacket-black": ("Montana Wind Jacket", "Men/Jackets", "Black", (15, 15, 15), {"pattern": "Striped"}),
    "jacket-blue": ("Proteus Jackshirt", "Men/Jackets", "Blue", (30, 60, 200), {"of": ["Wool", "Nylon"]}),
    "dress-red": ("Alma Dress", "Women/Dresses", None, (205, 25, 30), {"description": "With pockets."}),
    "dress-green": ("Bella Dress", "Women/Dresses", "Rain", (20, 150, 60), {"motif": "bergaris"}),
    "shirt-white": ("Toko Oxford", "Kemeja Pria", "Putih", (240, 240, 240), {"sale": True, "price": 9.5}),
}  # fmt: skip


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    folder = tmp_path_factory.mktemp("worded")
    made = []
    for number, (one, (name, category, color, rgb, more)) in enumerate(SHOP.items()):
        pixels = np.full((96, 96, 3), 255, np.uint8)
        pixels[16:80, 20:76] = rgb
        pixels[16 + 4 * number : 22 + 4 * number, 20:40] = 90
        Image.fromarray(pixels).save(folder / f"{one}.png")
        attributes = {"name": name, "category": category, **({"color": color} if color else {}), **more}
        made.append(Item(one, str(folder / f"{one}.png"), name.split()[0].lower(), attributes))
    return made


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as made:
        yield made


@pytest.fixture(scope="module", params=["directory", "rest", "grpc"])
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, items: list[Item]
) -> Iterator[Catalog]:
    if request.param == "directory":
        address = str(tmp_path_factory.mktemp("shop") / "catalog")
    else:
        address = request.getfixturevalue("server").address(f"w-{request.param}", transport=request.param)
    with Catalog.create(address) as made:
        made.add(items)
        yield made


def first(shop: Catalog, text: str, count: int = 1) -> list[str]:
    return [hit.item.id for hit in shop.search(text=text, k=count)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("chaz hoodie red", "hoodie-red"),
        ("CHAZ, Hoodies — grey?", "hoodie-grey"),
        ("hodie grey", "hoodie-grey"),  # a letter too few
        ("montanna jacket", "jacket-black"),  # one too many
        ("protues", "jacket-blue"),  # two that changed places
        ("jaket hitam", "jacket-black"),
        ("hooded jumper in merah, please", "hoodie-red"),
        ("red dress", "dress-red"),  # its colour is in its photo alone
        ("gaun hijau", "dress-green"),  # the shop calls it Rain
        ("stripe", "jacket-black"),
        ("garis", "dress-green"),
        ("pocket", "dress-red"),
        ("woollen nylon", "jacket-blue"),
        ("white shirt", "shirt-white"),
    ],
)
def test_what_is_found(shop: Catalog, text: str, found: str) -> None:
    assert first(shop, text) == [found]


def test_what_a_text_is_taken_for(shop: Catalog) -> None:
    result = shop.search(text="Red jakcet like a qqqq, montanna, kimono skirt", k=3)
    assert result.understood == (
        Understood("Red", "color", "red", found=True),
        Understood("jakcet", "kind", "jacket", found=True),
        Understood("qqqq", "word", "qqqq", found=False),
        Understood("montanna", "word", "montana", found=True),
        Understood("kimono", "word", "kimono", found=False),
        Understood("skirt", "kind", "skirt", found=False),
    )
    assert json.loads(json.dumps(result.to_dict()))["understood"][3]["value"] == "montana"
    assert shop.search(text="qqqq the", k=3).hits == ()


def test_how_much_of_a_text_a_hit_has(shop: Catalog) -> None:
    hits = shop.search(text="red hoodie", k=4).hits
    assert hits[0].words == pytest.approx(1)
    assert [hit.words for hit in hits] == sorted((hit.words for hit in hits if hit.words), reverse=True)
    for hit in hits:
        assert hit.similarity == hit.words == pytest.approx(1 - hit.distance)
    assert shop.search(text="red hoodie", k=1, where={"color": "Gray"})[0].words == pytest.approx(
        next(hit.words for hit in hits if hit.item.id == "hoodie-grey"), rel=1e-5
    )


def test_words_beside_a_photo(shop: Catalog, items: list[Item]) -> None:
    by_id = {item.id: item for item in items}
    photo = by_id["hoodie-grey"].image
    plain = {hit.item.id: hit.distance for hit in shop.search(photo, len(items))}
    both = shop.search(photo, len(items), text="but red")
    assert both[0].item.id == "hoodie-red"
    for hit in both:
        assert hit.distance == pytest.approx(plain[hit.item.id], abs=1e-5)
    nothing = shop.search(photo, 3, text="qqqq")
    assert [hit.item.id for hit in nothing] == [hit.item.id for hit in shop.search(photo, 3)]
    assert shop.search(photo, 3, text="red", where={"category": "Women/Dresses", "color": "Red"}).hits == ()
    (alone,) = {hit.item.id for hit in shop.search(photo, 1, text="montana", text_weight=1.0)}
    assert alone == "jacket-black"
    look = [hit.item.id for hit in shop.search(photo, 3, text="red", text_weight=0.0)]
    assert look == [hit.item.id for hit in shop.search(photo, 3)]


def test_like_an_item_but_red(shop: Catalog) -> None:
    assert shop.similar("hoodie-grey", 1, text="red", by="product")[0].item.id == "hoodie-red"
    assert all(hit.item.product_id != "chaz" for hit in shop.similar("hoodie-grey", 5, by="product"))


def test_pages(shop: Catalog) -> None:
    every = [hit.item.id for hit in shop.search(text="red jacket dress", k=7)]
    assert len(every) >= 5
    assert [shop.search(text="red jacket dress", k=1, offset=n)[0].item.id for n in range(5)] == every[:5]
    products = [hit.item.product_id for hit in shop.search(text="red hoodie", k=7, by="product")]
    assert len(products) == len(set(products))


def test_what_cannot_be_asked(shop: Catalog) -> None:
    for text in ("", "  ", "x" * 501):
        with pytest.raises(UsageError):
            shop.search(text=text)
    with pytest.raises(UsageError):
        shop.search(text="red", text_weight=1.5)
    with pytest.raises(UsageError, match="photo or a text"):
        shop.search()
    for odd in ("?!", "the", "🙂", "\x00", "a'b’c", "e\u0301"):
        assert shop.search(text=odd).metric == "cosine"


def test_items_that_change_are_found_by_what_they_are_now(tmp_path: Path, items: list[Item]) -> None:
    with Catalog.create(tmp_path / "catalog") as shop:
        shop.add(items)
        (dress,) = (item for item in items if item.id == "dress-red")
        assert shop.add([replace(dress, attributes={**dress.attributes, "occasion": "wedding"})]).encoded == 0
        assert first(shop, "wedding") == ["dress-red"]
        assert first(shop, "red dress") == ["dress-red"]  # seen when it was added
        shop.add([replace(dress, attributes={"name": "Alma", "category": "Skirts", "color": "Green"})])
        assert first(shop, "green skirt") == ["dress-red"]
        assert first(shop, "wedding") == []
        shop.remove(["dress-red"])
        assert "dress-red" not in first(shop, "skirt", 7)


def test_a_catalogue_of_before(tmp_path: Path, items: list[Item]) -> None:
    path = tmp_path / "catalog"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serupa.catalog.words.VERSION", 0)
        Catalog.create(path).close()
    with Catalog.open(path) as shop:
        shop.add(items)
        payloads = [
            {k: v for k, v in p.payload.items() if k != "colors"} for b in shop.store.scroll() for p in b
        ]
        shop.store.replace_payloads(payloads)
        before = shop.embeddings()
        with pytest.raises(UsageError, match="serupa words"):
            shop.search(text="red")
        assert not shop.info()["words"]
    done = CliRunner().invoke(app, ["words", "-c", str(path), "--json"])
    assert json.loads(done.stdout) == {"catalog": str(path), "items": 7, "looked_at": 2}
    with Catalog.open(path) as shop:
        assert first(shop, "red dress") == ["dress-red"]
        assert shop.embeddings()[0] == before[0]
        np.testing.assert_allclose(shop.embeddings()[1], before[1], rtol=1e-5)


def test_commands(shop: Catalog, items: list[Item], tmp_path: Path) -> None:
    if shop.backend.folder is None:
        pytest.skip("one place is enough")
    with Catalog.create(tmp_path / "catalog") as made:
        made.add(items)
    run, where = CliRunner().invoke, ["-c", str(tmp_path / "catalog")]
    found = json.loads(run(app, ["search", *where, "--text", "red dress", "--json"]).stdout)
    assert found["hits"][0]["id"] == "dress-red"
    assert found["hits"][0]["words"] > found["hits"][1]["words"]
    shown = run(app, ["search", *where, "--text", "montanna qqqq"])
    assert "'montanna' was taken for 'montana'" in shown.stderr
    assert "No item has 'qqqq'" in shown.stderr
    photo = items[0].image
    both = json.loads(run(app, ["search", photo, *where, "--text", "red", "--json"]).stdout)
    assert both["hits"][0]["id"] == "hoodie-red"
    like = json.loads(run(app, ["similar", "hoodie-grey", *where, "--text", "red", "--json"]).stdout)
    assert like["hits"][0]["id"] == "hoodie-red"
    for refused in (["search", *where], ["search", *where, "--text", "red", "--crop", "0,0,1,1"]):
        assert run(app, refused).exit_code


def test_long_prose_counts_less() -> None:
    def terms(description: str) -> dict[int, float]:
        return dict(terms_of(payload_of(Item("i", "i.png", None, {"description": description}), "", 1.0)))

    (zip_alone,) = set(terms("zip")) & set(terms("zip " + "filler words " * 100))
    assert terms("zip")[zip_alone] > 1.5 * terms("zip " + "filler words " * 100)[zip_alone]
