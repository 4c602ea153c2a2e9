"""Tuning: a gain that is there is found, one that is not is refused, and the catalogue goes through it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serupa import Catalog, Item
from serupa.catalog.query import SearchRequest
from serupa.encoders import Encoder
from serupa.errors import DamagedError, InvalidInputError, SerupaError, UsageError
from serupa.evaluation.experiment import evaluate_catalog
from serupa.learning.tuning import Tuning, learn, parse_labels, tune, undo
from serupa.vectors import METRICS, unit
from serupa_sample import write_sample
from tests.synthetic import filled, product_photos


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Catalog]:
    """A catalogue of 60 products that pose hides."""
    with filled(tmp_path / "shop", *product_photos(60)) as catalog:
        yield catalog


@pytest.fixture
def never_encoding(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count what the encoder is asked for."""
    asked: list[int] = []
    encode = Encoder.encode

    def counted(self: Encoder, pixels: Any) -> Any:
        asked.append(len(pixels))
        return encode(self, pixels)

    monkeypatch.setattr(Encoder, "encode", counted)
    return asked


def answers(catalog: Catalog, count: int = 20) -> list[list[str]]:
    _, embeddings = catalog.embeddings([f"{row:04}" for row in range(count)])
    return [[hit.item.id for hit in catalog.ask(SearchRequest(embedding=row, k=10))] for row in embeddings]


def test_a_gain_is_found_on_products_not_learned_from() -> None:
    drawn, products, categories = product_photos(90)
    embeddings, others, new = drawn[:240], drawn[240:], np.repeat(np.arange(30), 4)
    labels = {"product_id": products[:240], "category": categories[:240]}
    found = learn(embeddings, labels, weights={"product_id": 1.0})
    assert found.found
    assert (found.photos, found.products, found.metric) == (240, 60, "cosine")
    assert [gain.measure for gain in found.gains["product_id"]] == [
        "map", "precision@1", "precision@5", "precision@10",
    ]  # fmt: skip
    assert all(gain.queries == 240 and gain.better for gain in found.gains["product_id"])
    # and it holds for further products, which no fold has seen
    plain, tuned = unit(others), found.whitening.apply(others)
    assert first_hit(tuned, new) > first_hit(plain, new) + 0.1


def styles(count: int = 30) -> tuple[np.ndarray, list[str], list[int]]:
    """Return embeddings, products and styles, whose products differ by a print that shoppers do not mind."""
    rng, size = np.random.default_rng(1), 64
    prints = np.linalg.qr(rng.normal(size=(size, size)))[0][:, :8]
    rows, products, own = [], [], []
    for style in range(count):
        shared = rng.normal(size=size)
        for product in range(3):
            printed = shared + 0.8 * rng.normal(size=size) + 5.0 * prints @ rng.normal(size=8)
            rows += [printed + 0.9 * rng.normal(size=size) for _ in range(3)]
            products += [f"P{style}-{product}"] * 3
            own += [style] * 3
    return np.array(rows, np.float32), products, own


@pytest.mark.parametrize("helpful", [True, False])
def test_clicks_count_where_they_are_shown_to_help(tmp_path: Path, helpful: bool) -> None:
    embeddings, products, own = styles()
    if not helpful:
        own = np.random.default_rng(2).permutation(own).tolist()
    together = [[f"{row:04}" for row, one in enumerate(own) if one == style] for style in range(30)]
    with filled(tmp_path / "shop", embeddings, products) as shop:
        found = tune(shop, clicks=together, force=True)
        assert found.clicks_help is helpful
        assert set(found.over) >= {"product_id", "clicks"}
        assert set(found.labels) == ({"product_id", "clicks"} if helpful else {"product_id"})
        assert set(shop.info()["tuning"]["labels"]) == set(found.labels)
        with pytest.raises(InvalidInputError, match="too few"):
            tune(shop, clicks=together[:3])


def first_hit(vectors: np.ndarray, labels: np.ndarray) -> float:
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return float((labels[scores.argmax(axis=1)] == labels).mean())


@pytest.mark.parametrize("seed", range(4))
def test_random_labels_teach_nothing(seed: int) -> None:
    embeddings, products, _ = product_photos(60)
    shuffled = np.random.default_rng(seed).permutation(products).tolist()
    found = learn(embeddings, {"product_id": shuffled}, seed=seed)
    assert not found.found
    assert found.gain.low < 0.0 < found.gain.high + 0.01


def test_the_same_seed_learns_the_same() -> None:
    embeddings, products, _ = product_photos(30)
    one, two = (learn(embeddings, {"product_id": products}, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.whitening.projection, two.whitening.projection)
    assert one.gains == two.gains


def test_nothing_of_a_product_is_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is learned without a fold does not change when that fold's photos do."""
    from serupa.learning import tuning

    embeddings, products, _ = product_photos(40)
    codes = tuning.codes_of(products, "product_id")
    rng = np.random.default_rng(0)
    folds = tuning._deal(tuning._groups(codes, products), codes, rng)
    assert sorted(np.concatenate(folds).tolist()) == list(range(160))
    assert max(map(len, folds)) - min(map(len, folds)) <= 4
    for one in range(5):
        for other in range(one):
            assert not set(codes[folds[one]]) & set(codes[folds[other]])


def test_groups_keep_a_product_whole_under_a_coarser_label() -> None:
    from serupa.learning import tuning

    codes = np.array([0, 1, 1, -1, -1])
    assert tuning._groups(codes, ["a", "a", "b", "b", None]).tolist() == [0, 0, 1, 1, 2]
    assert tuning._groups(codes, None).tolist() == [0, 1, 1, 2, 3]


@pytest.mark.parametrize("metrics", [("cosine",), ("euclidean", "cosine"), METRICS[::-1]])
def test_tuning_a_catalogue(tmp_path: Path, metrics: tuple[str, ...], never_encoding: list[int]) -> None:
    told: list[tuple[str, int, int]] = []
    with filled(tmp_path / "shop", *product_photos(60), metrics=metrics) as shop:
        before = {m: evaluate_catalog(shop, "product_id").metrics[m].estimates for m in shop.manifest.metrics}
        raw = shop.embeddings()
        found = tune(shop, progress=lambda *step: told.append(step))
        assert found.found
        assert found.metric == metrics[0]
        assert set(found.gains) == {"product_id", "category"}
        assert shop.manifest.tuning is not None
        assert shop.info()["tuning"]["labels"] == {"product_id": 1.0}
        assert shop.info()["tuning"]["dimension"] == found.whitening.dimension < 1280
        after = evaluate_catalog(shop, "product_id")
        for metric in shop.manifest.metrics:  # all of them go through the tuning, though one was measured by
            assert after.metrics[metric].estimates["map"].mean > before[metric]["map"].mean + 0.05
        ids, embeddings = shop.embeddings()
        assert ids == raw[0]
        np.testing.assert_allclose(embeddings, raw[1], rtol=1e-4, atol=1e-5)
        expected = found.whitening.apply(embeddings)
        for metric in shop.manifest.metrics:
            hits = shop.ask(SearchRequest(embedding=embeddings[7], k=4, metric=metric))
            gaps = {
                "cosine": 1 - expected @ expected[7],
                "euclidean": np.linalg.norm(expected - expected[7], axis=1),
                "manhattan": np.abs(expected - expected[7]).sum(axis=1),
            }[metric]
            assert [hit.item.id for hit in hits] == [ids[row] for row in np.argsort(gaps)[:4]]
            np.testing.assert_allclose([hit.distance for hit in hits], np.sort(gaps)[:4], atol=1e-3)
            similar = shop.similar(ids[7], 3, metric=metric)
            assert [hit.item.id for hit in similar] == [hit.item.id for hit in hits[1:]]
    assert {step for step, _, _ in told} == {
        "reading embeddings", "learning", "writing vectors", "building the index",
    }  # fmt: skip
    assert not never_encoding
    with Catalog.open(tmp_path / "shop") as shop:  # and it lasts
        np.testing.assert_allclose(shop.schema.map.of_queries(raw[1], "cosine"), expected, atol=1e-4)


@pytest.mark.slow
def test_random_products_change_nothing(tmp_path: Path) -> None:
    embeddings, products, _ = product_photos(60)
    with filled(tmp_path / "shop", embeddings, np.random.default_rng(0).permutation(products)) as shop:
        files = sorted(path.name for path in shop.path.iterdir())
        before = answers(shop)
        found = tune(shop)
        assert not found.found
        assert shop.manifest.tuning is None
        assert answers(shop) == before
        assert sorted(path.name for path in shop.path.iterdir()) == files
        assert not tune(shop, force=True).found
        assert shop.manifest.tuning is not None
        assert answers(shop) != before


@pytest.mark.slow
def test_tuning_again_starts_from_raw_embeddings(shop: Catalog) -> None:
    once = tune(shop)
    searched = shop.schema.map.of_queries(shop.embeddings()[1], "cosine")
    twice = tune(shop)
    np.testing.assert_allclose(
        shop.schema.map.of_queries(shop.embeddings()[1], "cosine"), searched, atol=1e-4
    )
    assert twice.gain.before == pytest.approx(once.gain.before, abs=1e-6)
    assert twice.gain.after == pytest.approx(once.gain.after, abs=1e-3)
    assert len([path for path in shop.path.iterdir() if path.name.startswith(("points", "tuning"))]) == 2


def test_undo(shop: Catalog) -> None:
    before, raw = answers(shop), shop.embeddings()[1]
    tune(shop)
    assert answers(shop) != before
    undo(shop)
    assert shop.manifest.tuning is None
    assert answers(shop) == before
    np.testing.assert_allclose(shop.embeddings()[1], raw, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError):
        undo(shop)


def test_a_lost_tuning_says_so_and_can_be_undone(shop: Catalog) -> None:
    before = answers(shop)
    tune(shop)
    file = shop.path / shop.manifest.tuning.file  # type: ignore[union-attr]
    shop.close()
    file.unlink()
    with Catalog.open(shop.path) as opened:
        with pytest.raises(DamagedError, match="serupa tune --undo"):
            answers(opened)
        undo(opened)
        assert answers(opened) == before


def test_photos_added_later_go_through_the_tuning(
    tmp_path: Path, items: list[Item], never_encoding: list[int]
) -> None:
    with Catalog.create(tmp_path / "c", kinds=0.0) as catalog:
        catalog.add(items[:20])
        embeddings = catalog.embeddings()[1]
        found = learn_anything(embeddings)
        never_encoding.clear()
        catalog.use_whitening(found)
        assert not never_encoding
        report = catalog.add(items)
        assert (report.added, report.encoded, sum(never_encoding)) == (4, 4, 4)
        everything, raw = catalog.embeddings([item.id for item in items])
        expected = found.apply(raw)
        for row in (3, 22):
            hits = catalog.search(items[row].image, 5)
            best = np.argsort(-(expected @ expected[row]), kind="stable")[:5]
            assert [hit.item.id for hit in hits] == [everything[other] for other in best]
            assert hits[0].distance == pytest.approx(0, abs=1e-4)
        # known by its content: neither encoded again, nor another
        assert catalog.add([Item("again", items[0].image)]).encoded == 0
        assert {hit.item.id for hit in catalog.search(items[0].image, 2)} == {"again", items[0].id}
        plain = catalog.encoder.encode_photo(items[22].image)
        np.testing.assert_allclose(raw[22], plain, rtol=1e-4, atol=1e-4)


def learn_anything(embeddings: np.ndarray) -> Any:
    from serupa.learning.whitening import fit_whitening

    return fit_whitening(embeddings, [np.arange(len(embeddings)) // 2], dimension=8, ridge=0.1)


@pytest.mark.parametrize(
    ("products", "labels", "error"),
    [
        (["P"] * 40, "product_id", InvalidInputError),
        ([f"P{row}" for row in range(40)], "product_id", InvalidInputError),
        ([None] * 40, "product_id", UsageError),
        ([f"P{row // 2}" for row in range(40)], "colour", UsageError),
        ([f"P{row // 2}" for row in range(40)], {"product_id": 0.0}, UsageError),
        ([f"P{row // 2}" for row in range(40)], {"product_id": float("nan")}, UsageError),
        ([f"P{row // 2}" for row in range(40)], "category", UsageError),
    ],
)
def test_too_little_to_learn_from(
    tmp_path: Path, products: list[Any], labels: Any, error: type[SerupaError]
) -> None:
    embeddings = product_photos(10)[0]
    with filled(tmp_path / "c", embeddings, products, [["a", "b"]] * 40) as catalog:
        with pytest.raises(error):
            tune(catalog, labels)
        assert catalog.manifest.tuning is None


def test_categories_that_are_lists_are_not_in_the_way(tmp_path: Path) -> None:
    embeddings, products, _ = product_photos(30)
    with filled(tmp_path / "c", embeddings, products, [["a", "b"]] * 120) as catalog:
        assert set(tune(catalog).gains) == {"product_id"}


def test_an_empty_catalogue_and_one_whose_photos_are_all_the_same(tmp_path: Path) -> None:
    with Catalog.create(tmp_path / "empty") as catalog, pytest.raises(UsageError):
        tune(catalog)
    same = np.ones((60, 8), np.float32)
    products = [f"P{row // 3}" for row in range(60)]
    with filled(tmp_path / "same", same, products) as catalog:
        with pytest.raises(InvalidInputError):
            tune(catalog)
        assert catalog.manifest.tuning is None


def test_a_whitening_of_another_encoder_is_refused(shop: Catalog) -> None:
    with pytest.raises(UsageError):
        shop.use_whitening(learn_anything(product_photos(5)[0]))


def test_labels_as_the_command_line_writes_them() -> None:
    assert parse_labels(["product_id", "category:0.3"]) == {"product_id": 1.0, "category": 0.3}
    with pytest.raises(UsageError):
        parse_labels(["category:much"])
    with pytest.raises(UsageError):
        parse_labels(["product_id", "product_id:2"])


def test_two_labels(shop: Catalog) -> None:
    found = tune(shop, {"product_id": 1.0, "category": 0.3})
    assert list(found.labels) == ["product_id", "category"]
    assert found.gain == found.gains["product_id"][0]
    assert shop.manifest.tuning.notes["labels"] == {"product_id": 1.0, "category": 0.3}  # type: ignore[union-attr]


@pytest.mark.slow
def test_real_photos(luma: Path, clothing: Path, tmp_path: Path) -> None:
    """The gain that tuning is for, and what it costs photos of another kind; the encoder saw neither."""
    with Catalog.create(tmp_path / "luma", "efficientnet-lite0") as catalog:
        catalog.add(luma / "catalog.csv")
        found = tune(catalog)
        assert found.found
        mean_ap, first = found.gains["product_id"][:2]
        assert mean_ap.low > 0.0 < first.low
        assert mean_ap.difference >= 0.15 * mean_ap.before
        assert first.difference >= 0.04
        shuffled = np.random.default_rng(0).permutation([i.product_id or "" for i in catalog.items()])
        assert not learn(catalog.embeddings()[1], {"product_id": shuffled.tolist()}).found
    with Catalog.create(tmp_path / "clothing", "efficientnet-lite0") as catalog:
        catalog.add(clothing)
        plain = evaluate_catalog(catalog, "category").metrics["cosine"].estimates["precision@10"].mean
        catalog.use_whitening(found.whitening)
        tuned = evaluate_catalog(catalog, "category").metrics["cosine"].estimates["precision@10"].mean
        assert tuned > plain - 0.02


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample catalogue, indexed once."""
    folder = tmp_path_factory.mktemp("sample")
    table = write_sample(folder / "sample", products=12)
    with Catalog.create(folder / "catalog") as catalog:
        catalog.add(table)
    return folder / "catalog"


def serupa(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "serupa", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_command(sample: Path) -> None:
    known = json.loads(serupa("tune", "-c", sample, "--force", "--json").stdout)
    assert known["applied"]
    assert set(known["gains"]) == {"product_id", "category"}
    assert known["gain"]["ci95"][0] <= known["gain"]["difference"] <= known["gain"]["ci95"][1]
    assert known["tuning"]["dimension"] == known["dimension"]
    assert json.loads(serupa("info", "-c", sample, "--json").stdout)["tuning"] == known["tuning"]
    assert "by product_id, " in serupa("info", "-c", sample).stdout
    table = serupa("tune", "-c", sample, "--label", "product_id", "--label", "category:0.5", "--force")
    for word in ("Before", "After", "95 % interval", "P@1", "mAP", "category", "category:0.5"):
        assert word in table.stdout
    assert "values instead of 1,280" in table.stderr
    assert "as the encoder made it" in serupa("tune", "--undo", "-c", sample).stderr
    assert json.loads(serupa("info", "-c", sample, "--json").stdout)["tuning"] is None
    assert "nothing to undo" in serupa("tune", "--undo", "-c", sample, code=2).stderr
    serupa("tune", "--undo", "--force", "-c", sample, code=2)


def test_command_refuses_and_changes_nothing(tmp_path: Path) -> None:
    embeddings, products, _ = product_photos(40)
    filled(tmp_path / "shop", embeddings, np.random.default_rng(1).permutation(products)).close()
    refused = serupa("tune", "-c", tmp_path / "shop")
    assert "No gain is shown" in refused.stderr
    assert "stays as it was" in refused.stderr
    assert "no difference shown" in refused.stdout
    assert json.loads(serupa("tune", "-c", tmp_path / "shop", "--json").stdout)["applied"] is False
    one_line = serupa("tune", "-c", tmp_path / "shop", "--label", "colour", code=2).stderr
    assert "colour" in one_line
    assert len(one_line.strip().splitlines()) == 1


def test_a_catalogue_in_use_is_left_alone(shop: Catalog) -> None:
    refused = serupa("tune", "-c", shop.path, code=4)
    assert "in use by" in refused.stderr
    assert shop.manifest.tuning is None


def test_notes_are_plain_data(shop: Catalog) -> None:
    found: Tuning = tune(shop)
    assert json.loads(json.dumps(found.to_dict()))["found"] is True
