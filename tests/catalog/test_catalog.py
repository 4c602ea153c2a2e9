from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from serupa import (
    AddReport,
    Catalog,
    ConflictError,
    Crop,
    Hit,
    Item,
    NotFoundError,
    load_encoder,
)
from serupa.catalog.query import SearchRequest, rank
from serupa.encoders import Card, load_card
from serupa.errors import DamagedError, InvalidInputError, SerupaError, UnavailableError, UsageError
from serupa.storage.manifest import replace as manifest_with
from serupa.vectors import METRICS, unit
from tests.conftest import draw_photo


def test_add_then_search_by_every_photo(catalog: Catalog, items: list[Item]) -> None:
    for item in items:
        first, *others = catalog.search(item.image, k=5)
        assert first.item == item
        assert first.distance == pytest.approx(0, abs=1e-5)
        assert len(others) == 4
        assert [hit.rank for hit in others] == [2, 3, 4, 5]
        distances = [hit.distance for hit in others]
        assert distances == sorted(distances)


@pytest.mark.parametrize("metric", METRICS)
def test_agrees_with_brute_force(catalog: Catalog, metric: str) -> None:
    ids, embeddings = catalog.embeddings()
    brute = NearestNeighbors(n_neighbors=6, algorithm="brute", metric=metric).fit(unit(embeddings))
    distances, rows = brute.kneighbors(unit(embeddings))
    for row in range(len(ids)):
        request = SearchRequest(embedding=embeddings[row], k=6, metric=metric, kind="any")
        found = catalog.ask(request)
        assert [hit.item.id for hit in found] == [ids[other] for other in rows[row]]
        scale = max(1.0, float(distances[row].max()))
        np.testing.assert_allclose([h.distance for h in found], distances[row], atol=2e-3 * scale)


@pytest.mark.parametrize("metric", METRICS)
def test_items_agree_with_brute_force_over_what_is_searched(catalog: Catalog, metric: str) -> None:
    points = [point for batch in catalog.store.scroll(vectors=(metric,)) for point in batch]
    vectors = np.stack([point.vectors[metric] for point in points])
    brute = NearestNeighbors(n_neighbors=6, algorithm="brute", metric=metric).fit(vectors)
    distances, rows = brute.kneighbors(vectors)
    for row, point in enumerate(points):
        similar = catalog.similar(point.id, 5, metric=metric)
        assert [hit.item.id for hit in similar] == [points[other].id for other in rows[row][1:]]
        np.testing.assert_allclose([h.distance for h in similar], distances[row][1:], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_without_kinds_raw_embeddings_agree_with_brute_force(
    tmp_path: Path, items: list[Item], metric: str
) -> None:
    with Catalog.create(tmp_path / "c", metrics=(metric,), kinds=0.0) as catalog:
        catalog.add(items)
        ids, embeddings = catalog.embeddings()
        brute = NearestNeighbors(n_neighbors=6, algorithm="brute", metric=metric).fit(embeddings)
        distances, rows = brute.kneighbors(embeddings)
        for row in range(len(ids)):
            found = catalog.ask(SearchRequest(embedding=embeddings[row], k=6))
            assert [hit.item.id for hit in found] == [ids[other] for other in rows[row]]
            scale = max(1.0, float(distances[row].max()))
            np.testing.assert_allclose([h.distance for h in found], distances[row], atol=1e-4 * scale)


def test_similarity_goes_with_distance(catalog: Catalog, items: list[Item]) -> None:
    for metric in METRICS:
        for hit in catalog.similar(items[0].id, 3, metric=metric):
            expected = 1 - hit.distance if metric == "cosine" else 1 / (1 + hit.distance)
            assert hit.similarity == pytest.approx(expected)


def test_items_come_back_as_they_were(catalog: Catalog, items: list[Item]) -> None:
    assert sorted(catalog.items(), key=lambda item: item.id) == items
    assert catalog.get("item-05") == items[5]
    assert catalog.get("item-05").attributes["sale"] is False
    assert len(catalog) == catalog.count() == 24


def test_embeddings_are_the_encoders(catalog: Catalog, items: list[Item]) -> None:
    encoder = catalog.encoder
    expected = encoder.encode(np.stack([encoder.preprocess(item.image) for item in items[:3]]))
    ids, found = catalog.embeddings([item.id for item in items[:3]])
    assert ids == [item.id for item in items[:3]]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_raw_embeddings_of_a_catalogue_with_cosine_alone(tmp_path: Path, items: list[Item]) -> None:
    with Catalog.create(tmp_path / "c") as catalog:
        catalog.add(items[:2])
        expected = catalog.encoder.encode_photo(items[0].image)
        np.testing.assert_allclose(catalog.embeddings([items[0].id])[1][0], expected, rtol=1e-4, atol=1e-5)


def test_filters(catalog: Catalog, items: list[Item]) -> None:
    def found(where: object) -> set[str]:
        return {hit.item.id for hit in catalog.search(items[0].image, 24, where=where)}  # type: ignore[arg-type]

    assert found({"category": "hats"}) == {i.id for i in items if i.attributes["category"] == "hats"}
    assert found({"sale": True}) == found("sale=true") == {i.id for i in items if i.attributes["sale"]}
    assert found(["price>=20", "price<23"]) == {"item-10", "item-11", "item-12"}
    assert found("stock=7") == {"item-07"}
    assert found({"season": "winter"}) == {i.id for n, i in enumerate(items) if n % 4 == 0}
    assert found({"product_id": ["P0", "P1"]}) == {i.id for i in items[:6]}
    assert catalog.count({"category": ["hats", "shirts"]}) == 16
    with pytest.raises(UsageError):
        catalog.search(items[0].image, where={"colour": "red"})


def test_by_product(catalog: Catalog, items: list[Item]) -> None:
    found = catalog.search(items[4].image, 8, by="product")
    assert sorted(hit.item.product_id or "" for hit in found) == [f"P{n}" for n in range(8)]
    assert found[0].item == items[4]
    every = catalog.search(items[4].image, 24)
    for hit in found:
        best = next(h for h in every if h.item.product_id == hit.item.product_id)
        assert best.item == hit.item
    assert "P1" not in {hit.item.product_id for hit in catalog.similar("item-04", 8, by="product")}
    assert len(catalog.similar("item-04", 8, by="product")) == 7


def same_hits(some: Iterable[Hit], others: Iterable[Hit]) -> None:
    """Compare hits: a stand-in for a server sums otherwise for another number of queries, in the last bit."""
    some, others = list(some), list(others)
    assert [(h.rank, h.item) for h in some] == [(h.rank, h.item) for h in others]
    assert [h.distance for h in some] == pytest.approx([h.distance for h in others], abs=1e-6)


def test_pages(catalog: Catalog, items: list[Item]) -> None:
    for by in ("item", "product"):
        whole = catalog.search(items[0].image, 8, by=by)  # type: ignore[arg-type]
        pages = [catalog.search(items[0].image, 4, by=by, offset=offset) for offset in (0, 4)]  # type: ignore[arg-type]
        same_hits([h for page in pages for h in page], whole)
    assert len(catalog.search(items[0].image, 10, offset=20)) == 4
    assert len(catalog.search(items[0].image, 10, offset=100)) == 0


def test_a_crop_is_searched_with(catalog: Catalog, items: list[Item]) -> None:
    whole = catalog.search(items[0].image, 3)
    part = catalog.search(items[0].image, 3, crop=Crop(0.5, 0.5, 0.5, 0.5))
    assert part[0].distance > whole[0].distance + 1e-3


def test_rank_is_similar_for_many(catalog: Catalog, items: list[Item]) -> None:
    for metric in METRICS:
        ranked = rank(catalog, [item.id for item in items], 5, metric=metric)
        for item, one in zip(items, ranked, strict=True):
            hits = catalog.similar(item.id, 5, metric=metric)
            assert [other for other, _ in one] == [h.item.id for h in hits]
            assert [distance for _, distance in one] == pytest.approx([h.distance for h in hits], abs=1e-6)


def test_rank_takes_embeddings_too(items: list[Item], tmp_path: Path) -> None:
    # without kinds: an item's is known, an embedding's is guessed
    with Catalog.create(tmp_path / "c", metrics=["manhattan"], kinds=0.0) as catalog:
        catalog.add(items)
        ids, embeddings = catalog.embeddings([item.id for item in items])
        for one, ranked in zip(ids, rank(catalog, embeddings, 3, metric="manhattan"), strict=True):
            found = catalog.ask(SearchRequest(item_id=one, k=2, metric="manhattan"))
            assert [name for name, _ in ranked] == [one, *(hit.item.id for hit in found)]


def test_items_after_an_item(catalog: Catalog) -> None:
    every = [item.id for item in catalog.items()]
    assert [item.id for item in catalog.items(after=every[9])] == every[10:]
    assert [item.id for item in catalog.items(after=every[-1])] == []
    catalog.remove([every[9]])  # a page may end with an item that is gone when the next one is asked for
    assert [item.id for item in catalog.items(after=every[9])] == every[10:]
    hats = [item.id for item in catalog.items("category=hats")]
    assert [item.id for item in catalog.items("category=hats", after=hats[2])] == hats[3:]


def test_filters_that_do_not_fit_a_field(catalog: Catalog) -> None:
    for where in ("category>3", "price=cheap", "price!=cheap", {"price": True}, "description<1"):
        with pytest.raises(UsageError):
            catalog.count(where)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="dresses"):  # an example of what is there
        catalog.count("category>=3")
    assert catalog.count("price=10|cheap") == 1


def test_facets(catalog: Catalog) -> None:
    assert dict(catalog.facets("category")) == {"dresses": 8, "hats": 8, "shirts": 8}  # type: ignore[arg-type]
    assert catalog.facets("price") == (10.0, 33.0)
    assert catalog.facets("price", where={"category": "hats"}) == (11.0, 32.0)
    assert dict(catalog.facets("sale")) == {"true": 12, "false": 12}  # type: ignore[arg-type]
    catalog.remove(where={"category": "hats"})  # what nothing has any more is no choice, at once
    assert dict(catalog.facets("category")) == {"dresses": 8, "shirts": 8}  # type: ignore[arg-type]
    assert len(catalog.facets("product_id") or ()) == 8
    for name in ("description", "nothing"):
        with pytest.raises(UsageError):
            catalog.facets(name)


def test_adding_again_encodes_nothing(catalog: Catalog, items: list[Item]) -> None:
    report = catalog.add(items)
    assert (report.seen, report.unchanged, report.encoded, report.added) == (24, 24, 0, 0)


def test_other_attributes_are_an_update_without_encoding(catalog: Catalog, items: list[Item]) -> None:
    dearer = replace(items[3], attributes=dict(items[3].attributes) | {"price": 99.0, "label": "new"})
    report = catalog.add([*items[:3], dearer])
    assert (report.updated, report.unchanged, report.encoded) == (1, 3, 0)
    assert catalog.get(items[3].id) == dearer
    assert [i.id for i in catalog.items({"label": "new"})] == [items[3].id]
    assert catalog.search(items[3].image, 1)[0].item == dearer


def test_another_photo_is_an_update(catalog: Catalog, items: list[Item], tmp_path: Path) -> None:
    other = draw_photo(tmp_path / "other.png", 1000)
    report = catalog.add([replace(items[3], image=str(other))])
    assert (report.added, report.updated, report.encoded) == (0, 1, 1)
    assert catalog.search(other, 1)[0].item.id == items[3].id
    assert len(catalog) == 24


def test_a_photo_known_under_another_id_is_not_encoded(catalog: Catalog, items: list[Item]) -> None:
    report = catalog.add([Item("moved", items[3].image, "P99")])
    assert (report.added, report.encoded) == (1, 0)
    ids, embeddings = catalog.embeddings(["moved", items[3].id])
    np.testing.assert_allclose(embeddings[0], embeddings[1], rtol=1e-5)


def test_remove(catalog: Catalog, items: list[Item]) -> None:
    assert catalog.remove(["item-00", "item-01"]) == 2
    assert catalog.remove(where={"category": "hats"}) == 7
    assert len(catalog) == 15
    assert catalog.search(items[0].image, 1)[0].item != items[0]
    with pytest.raises(NotFoundError, match="'item-00'"):
        catalog.remove(["item-02", "item-00"])
    assert catalog.get("item-02")
    assert catalog.remove(["item-02", "item-03"], where={"category": "shirts"}) == 1
    with pytest.raises(UsageError):
        catalog.remove()
    assert catalog.add(items).added == 10


def test_survives_closing(tmp_path: Path, items: list[Item]) -> None:
    with Catalog.create(tmp_path / "c") as catalog:
        catalog.add(items)
        before = catalog.search(items[0].image)
    with Catalog.open(tmp_path / "c") as catalog:
        assert catalog.search(items[0].image).hits == before.hits
        assert catalog.manifest.fields["price"] == "number"
        assert catalog.add(items).encoded == 0


def test_fields_are_typed(catalog: Catalog) -> None:
    assert catalog.manifest.fields == {
        "name": "text",
        "category": "text",
        "price": "number",
        "stock": "number",
        "sale": "text",
        "season": "text",
        "description": "words",
    }


def test_info(catalog: Catalog) -> None:
    known = catalog.info()
    assert (known["items"], known["products"], known["dimension"]) == (24, 8, 1280)
    assert known["metrics"] == list(METRICS)
    assert known["size_bytes"] > 24 * 1280 * 4 * 3
    json.dumps(known)


def test_what_is_not_there(catalog: Catalog, items: list[Item], tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="'nothing'"):
        catalog.get("nothing")
    with pytest.raises(NotFoundError):
        catalog.similar("nothing")
    with pytest.raises(NotFoundError):
        catalog.embeddings(["item-00", "nothing"])
    with pytest.raises(UsageError):
        catalog.search(items[0].image, metric="hamming")
    with pytest.raises(NotFoundError, match=r"none\.jpg"):
        catalog.search(tmp_path / "none.jpg")
    for wrong in ({"k": 0}, {"offset": -1}, {"by": "shop"}):
        with pytest.raises(UsageError):
            catalog.search(items[0].image, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError):
        catalog.ask(SearchRequest(embedding=np.ones(3, np.float32)))


def test_an_empty_catalogue_answers(tmp_path: Path, items: list[Item]) -> None:
    with Catalog.create(tmp_path / "c") as catalog:
        assert len(catalog.search(items[0].image)) == 0
        assert catalog.add([]).seen == 0
        assert catalog.embeddings()[1].shape == (0, 1280)
        assert catalog.info()["items"] == 0


def test_create_refuses_what_is_occupied(tmp_path: Path, photos: Path, items: list[Item]) -> None:
    with pytest.raises(ConflictError):
        Catalog.create(photos)
    Catalog.create(tmp_path / "c").close()
    with pytest.raises(ConflictError):
        Catalog.create(tmp_path / "c")
    (tmp_path / "file").write_text("")
    with pytest.raises(SerupaError):
        Catalog.create(tmp_path / "file")
    with pytest.raises(NotFoundError):
        Catalog.open(tmp_path / "nothing")
    with pytest.raises(UsageError):
        Catalog.create(tmp_path / "d", metrics=["hamming"])
    with pytest.raises(NotFoundError):
        Catalog.create(tmp_path / "d", encoder="nothing")
    assert not (tmp_path / "d").exists()


def test_made_with_a_card_of_ones_own(tmp_path: Path, items: list[Item]) -> None:
    """A card need not be in a file; the catalogue keeps it."""
    card = Card.from_dict({**load_card("efficientnet-lite0").to_dict(), "name": "small", "input_size": 96})
    with Catalog.create(tmp_path / "c", card) as catalog:
        assert catalog.add(items[:2]).added == 2
    with Catalog.create(tmp_path / "c", card, exist_ok=True) as catalog:
        assert catalog.manifest.card == card
        assert catalog.search(items[0].image, 1)[0].item.id == items[0].id
    with pytest.raises(ConflictError):
        Catalog.create(tmp_path / "c", "efficientnet-lite0", exist_ok=True)


def test_encoders_are_not_mixed(tmp_path: Path) -> None:
    Catalog.create(tmp_path / "c", resize="squash").close()
    with Catalog.create(tmp_path / "c", exist_ok=True) as catalog:
        assert catalog.manifest.card.resize == catalog.encoder.card.resize == "squash"
    Catalog.create(tmp_path / "c", "serupa-clothes", resize="squash", exist_ok=True).close()
    with pytest.raises(ConflictError):
        Catalog.create(tmp_path / "c", "resnet50", exist_ok=True)
    with pytest.raises(ConflictError):
        Catalog.create(tmp_path / "c", resize="pad", exist_ok=True)
    settings = json.loads((tmp_path / "c" / "catalog.json").read_text())
    settings |= {"weights_sha256": "0" * 64, "format": 2}
    del settings["checksum"]
    (tmp_path / "c" / "catalog.json").write_text(json.dumps(settings))
    with (
        Catalog.open(tmp_path / "c") as catalog,
        pytest.raises(ConflictError),
    ):
        catalog.encoder  # noqa: B018
    Catalog.create(tmp_path / "c", exist_ok=True).close()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{", DamagedError),
        ("[]", DamagedError),
        ('{"format": 99, "serupa": "9.0"}', UnavailableError),
        ("{}", DamagedError),
    ],
)
def test_damaged_settings_are_named(tmp_path: Path, content: str, error: type[SerupaError]) -> None:
    (tmp_path / "catalog.json").write_text(content)
    with pytest.raises(error):
        Catalog.open(tmp_path)


def test_one_process_at_a_time(catalog: Catalog) -> None:
    script = f"from serupa import Catalog; Catalog.open({str(catalog.path)!r})"
    second = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert f"(process {os.getpid()} on " in second.stderr
    assert len(catalog) == 24
    catalog.add([Item("more", catalog.get("item-00").image)])
    catalog.close()
    with Catalog.open(catalog.path) as reopened:
        assert len(reopened) == 25


def test_bad_attributes_fail_alone(tmp_path: Path, items: list[Item]) -> None:
    bad = [
        replace(items[0], id="a", attributes={'quo"ted': 1}),
        replace(items[0], id="b", attributes={"price": float("nan")}),
        replace(items[0], id="c", attributes={"nested": {"x": 1}}),  # type: ignore[dict-item]
        replace(items[0], id="d", attributes={"content": "mine"}),
    ]
    with Catalog.create(tmp_path / "c") as catalog:
        report = catalog.add([*bad, items[1]])
        assert [f.id for f in report.failures] == ["a", "b", "c", "d"]
        assert [i.id for i in catalog.items()] == [items[1].id]


@pytest.mark.parametrize("name", ["price\\net", 'size "EU"'])
def test_a_field_that_the_engine_cannot_index_is_left_out(
    tmp_path: Path, items: list[Item], name: str
) -> None:
    """A catalogue of an earlier version may have noted one: it opens, grows and opens again."""
    with Catalog.create(tmp_path / "c") as catalog:
        catalog.backend.add_fields(manifest_with(catalog.manifest, fields={name: "text"}), {name: "text"})
    for number in (2, 3):
        with Catalog.open(tmp_path / "c") as catalog:
            catalog.add(items[:number])
            assert len(catalog) == number


def test_names_that_are_not_text_fail_alone(tmp_path: Path, items: list[Item]) -> None:
    photo = Path(items[0].image).read_bytes()
    folder = tmp_path / "photos"
    folder.mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png")).write_bytes(photo)
    (folder / "line\nbreak.png").write_bytes(photo)
    with Catalog.create(tmp_path / "c") as catalog:
        report = catalog.add(folder)
        assert [f.reason.isascii() and "not UTF-8" in f.reason for f in report.failures] == [True]
        assert [item.id for item in catalog.items()] == ["line\nbreak.png"]


@pytest.mark.slow
def test_killed_while_indexing(tmp_path: Path) -> None:
    """Killed in the middle and run again: nothing lost, nothing double, nothing encoded twice."""
    for number in range(300):
        draw_photo(tmp_path / "photos" / f"{number:03}.png", number, (64, 64))
    script = f"""
import os, signal
from serupa import Catalog
with Catalog.create({str(tmp_path / "c")!r}, exist_ok=True) as catalog:
    catalog.add({str(tmp_path / "photos")!r}, progress=lambda report:
        os.kill(os.getpid(), signal.SIGKILL) if report.encoded >= 96 else None)
"""
    stored = 0
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        with Catalog.open(tmp_path / "c") as catalog:
            ids = [item.id for item in catalog.items()]
            assert len(ids) == len(set(ids)) > stored
            stored = len(ids)
    with Catalog.open(tmp_path / "c") as catalog:
        report = catalog.add(tmp_path / "photos")
        assert (report.unchanged, report.encoded, report.added) == (stored, 300 - stored, 300 - stored)
        assert {item.id for item in catalog.items()} == {f"{number:03}.png" for number in range(300)}
        again = catalog.add(tmp_path / "photos")
        assert (again.unchanged, again.encoded) == (300, 0)


def test_interrupted_while_indexing(tmp_path: Path, items: list[Item]) -> None:
    def interrupt(report: AddReport) -> None:
        if report.added:
            raise KeyboardInterrupt

    with Catalog.create(tmp_path / "c") as catalog:
        many = [replace(items[n % 24], id=f"{n}") for n in range(400)]
        with pytest.raises(KeyboardInterrupt):
            catalog.add(many, progress=interrupt)
        stored = catalog.count()
        assert 0 < stored < 400
        assert catalog.add(many).added == 400 - stored


def test_a_folder_with_everything_wrong_in_it(tmp_path: Path, photos: Path) -> None:
    """Exactly the bad files fail, each named; everything else is found."""
    folder = tmp_path / "photos"
    for number in range(10):
        draw_photo(folder / "good" / f"{number}.jpg", number)
    bad = folder / "bad"
    bad.mkdir()
    (bad / "text.jpg").write_text("not a photo at all")
    whole = (folder / "good" / "0.jpg").read_bytes()
    (bad / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    draw_photo(bad / "tiny.png", 1, (1, 1))
    (bad / "huge.png").write_bytes(_png_header(30_000, 30_000))
    (bad / "empty.jpg").write_bytes(b"")
    (bad / "loop.jpg").symlink_to("loop.jpg")
    (bad / "round").symlink_to("..", target_is_directory=True)
    expected = {"text.jpg", "truncated.jpg", "tiny.png", "huge.png", "empty.jpg", "loop.jpg"}
    draw_photo(bad / "secret.jpg", 77)
    (bad / "secret.jpg").chmod(0)
    if os.geteuid():  # root reads everything; see test_images for the refusal
        expected.add("secret.jpg")
    with Catalog.create(tmp_path / "c") as catalog:
        report = catalog.add(folder)
        assert {Path(f.image).name for f in report.failures} == expected
        for failure in report.failures:
            assert Path(failure.image).name in failure.reason
        assert catalog.count({"category": "good"}) == 10
        assert report.added == report.seen - len(expected)


def _png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has almost no pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.slow
def test_real_photos(luma: Path, tmp_path: Path) -> None:
    """The reference run: P@1 on products, every photo a query, itself left out (0.589, to 0.02)."""
    with Catalog.create(tmp_path / "c", "efficientnet-lite0", resize="squash") as catalog:
        report = catalog.add(luma / "catalog.csv")
        assert (report.added, report.failures) == (319, [])
        products = {item.id: item.product_id for item in catalog.items()}
        ids = list(products)
        ranked = rank(catalog, ids, 1)
        right = sum(products[one] == products[best[0][0]] for one, best in zip(ids, ranked, strict=True))
        assert right / len(ids) == pytest.approx(0.589, abs=0.02)


def test_encoder_is_loaded_when_needed_only(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.close()
    monkeypatch.setattr(
        "serupa.catalog.catalog.load_encoder", lambda *_, **__: pytest.fail("loaded the encoder")
    )
    with Catalog.open(catalog.path) as reopened:
        reopened.similar("item-00")
        reopened.info()
        reopened.remove(["item-00"])


def test_shared_encoder_gives_the_same(items: list[Item]) -> None:
    first, second = load_encoder(), load_encoder()
    np.testing.assert_array_equal(first.encode_photo(items[0].image), second.encode_photo(items[0].image))
