"""Experiments on catalogues: what is measured is the catalogue's own search."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from serupa import Catalog, Item, SerupaError
from serupa.errors import InvalidInputError, UsageError
from serupa.evaluation.experiment import CatalogRanker, embedded_items, evaluate_catalog
from serupa.learning.whitening import Whitening
from serupa.sources.fashion_mnist import read_fashion_mnist
from serupa.vectors import METRICS
from tests.conftest import draw_photo
from tests.idx import write_fashion_mnist_files


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """Photos of 8 products, 3 of each, and one product alone; one item without a category."""
    folder = tmp_path_factory.mktemp("shop")
    items = []
    for number in range(25):
        product = number // 3
        photo = draw_photo(folder / f"{number:02}.png", product * 10 + number % 2)
        category = {} if number == 0 else {"category": ("dress", "hat")[product % 2]}
        items.append(Item(f"i{number:02}", str(photo), f"P{product}", category | {"tags": ["a", "b"]}))
    with Catalog.create(folder / "catalog", metrics=METRICS, kinds=0.0) as catalog:
        catalog.add(items)
        yield catalog


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Queries from elsewhere: 6 photos of known products, one of an unknown one, one of none."""
    path = tmp_path / "queries.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "product_id"])
        for number in range(8):
            draw_photo(tmp_path / f"q{number}.png", number * 10)
            rows.writerow([f"q{number}.png", {6: "unknown", 7: ""}.get(number, f"P{number}")])
    return path


def test_measures_what_similar_returns(shop: Catalog) -> None:
    result = evaluate_catalog(shop, "product_id", ks=[1, 3])
    assert result.metrics.keys() == set(METRICS)
    assert (result.items, result.classes, result.skipped, result.unlabelled) == (25, 9, 1, 0)
    assert len(result.query_ids) == 24
    for metric, found in result.metrics.items():
        relevant = []
        for query, neighbors in zip(result.query_ids, found.results, strict=True):
            hits = shop.similar(query, 3, metric=metric)
            assert [name for name, _ in neighbors] == [hit.item.id for hit in hits]
            relevant.append([hit.item.product_id == shop.get(query).product_id for hit in hits])
        assert found.estimates["precision@1"].mean == pytest.approx(np.mean(np.array(relevant)[:, 0]))
        assert found.estimates["precision@3"].mean == pytest.approx(np.mean(relevant))
        assert found.search_recall == 1


def test_sampled_queries_are_seeded(shop: Catalog) -> None:
    once, again, other = (
        evaluate_catalog(shop, "product_id", queries=10, seed=seed, metrics=["cosine"]) for seed in (1, 1, 2)
    )
    assert once.to_dict() == again.to_dict()
    assert len(once.query_ids) == 10
    assert once.query_ids != other.query_ids


def test_some_metrics_in_the_order_asked_for(shop: Catalog) -> None:
    result = evaluate_catalog(shop, "category", metrics=["manhattan", "cosine"])
    assert list(result.metrics) == ["manhattan", "cosine"]
    assert result.unlabelled == 1


def test_what_cannot_be_evaluated(shop: Catalog) -> None:
    with pytest.raises(UsageError):
        evaluate_catalog(shop, "colour")
    with pytest.raises(InvalidInputError):  # no two items have the same
        evaluate_catalog(shop, "id")
    with pytest.raises(InvalidInputError):  # lists
        evaluate_catalog(shop, "tags")


def test_an_empty_catalogue_and_a_metric_that_it_has_not(tmp_path: Path) -> None:
    with Catalog.create(tmp_path / "empty") as catalog:
        with pytest.raises(InvalidInputError):
            evaluate_catalog(catalog, "product_id")
        catalog.add([Item(str(i), str(draw_photo(tmp_path / f"{i}.png", i)), "P") for i in range(2)])
        with pytest.raises(SerupaError):
            evaluate_catalog(catalog, "product_id", metrics=["manhattan"])


def test_queries_from_a_table(shop: Catalog, table: Path) -> None:
    told: list[tuple[str, int, int]] = []
    result = evaluate_catalog(
        shop, "product_id", queries_from=table, metrics=["cosine"], progress=lambda *step: told.append(step)
    )
    assert result.query_ids == [f"q{number}.png" for number in range(6)]
    assert (result.skipped, result.unlabelled, result.eligible) == (1, 1, 6)
    assert not result.from_gallery
    # the photos drawn are those of each product's first item
    assert result.metrics["cosine"].estimates["precision@1"].mean == 1
    for query, neighbors in zip(result.query_ids, result.metrics["cosine"].results, strict=True):
        hits = shop.search(table.parent / query, 10)
        assert [name for name, _ in neighbors] == [hit.item.id for hit in hits]
    assert told[0] == ("encoding queries", 8, 8)


def test_some_queries_from_a_table_are_drawn_before_they_are_encoded(shop: Catalog, table: Path) -> None:
    told: list[tuple[str, int, int]] = []
    once, again = (
        evaluate_catalog(
            shop, "product_id", queries=3, queries_from=table, metrics=["cosine"],
            progress=lambda *step: told.append(step),
        )
        for _ in range(2)
    )  # fmt: skip
    assert once.query_ids == again.query_ids
    assert len(once.query_ids) == 3
    assert (once.eligible, once.skipped, once.unlabelled) == (6, 1, 1)
    assert "3 queries (drawn at random, seed 0) of their own set" in once.description()
    assert [step for step in told if step[0] == "encoding queries"] == 2 * [("encoding queries", 3, 3)]


def test_query_sets_that_cannot_be_used(shop: Catalog, table: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError):
        evaluate_catalog(shop, "product_id", queries_from=[])
    with pytest.raises(InvalidInputError):
        evaluate_catalog(shop, "category", queries_from=table)
    for photo in tmp_path.glob("*.png"):
        photo.write_text("no photo")
    with pytest.raises(InvalidInputError, match=r"q0\.png"):
        evaluate_catalog(shop, "product_id", queries_from=table)


def test_a_broken_query_photo_stops_no_other(shop: Catalog, table: Path, tmp_path: Path) -> None:
    (tmp_path / "q3.png").write_text("no photo")
    result = evaluate_catalog(shop, "product_id", queries_from=table)
    assert result.query_ids == [f"q{number}.png" for number in (0, 1, 2, 4, 5)]
    (reason,) = result.unreadable
    assert "q3.png" in reason
    assert "1 query photos could not be used" in result.description()
    assert result.to_dict()["unreadable"] == [reason]


def test_a_tuned_catalogue_is_measured_as_it_searches(tmp_path: Path, items: list[Item]) -> None:
    rng = np.random.default_rng(0)
    with Catalog.create(tmp_path / "tuned", metrics=("cosine", "euclidean"), kinds=0.0) as catalog:
        catalog.add(items)
        size = catalog.manifest.card.dimension
        mean = catalog.embeddings()[1].mean(axis=0)
        catalog.use_whitening(Whitening(mean, rng.normal(size=(6, size)).astype(np.float32)))
        gallery = embedded_items(catalog, "product_id")
        assert gallery.embeddings.shape == (24, 6)
        result = evaluate_catalog(catalog, "product_id", ks=[3])
        for metric, found in result.metrics.items():
            assert found.search_recall == 1  # the ranking behind the search is that of the same vectors
            for query, neighbors in zip(result.query_ids, found.results, strict=True):
                hits = catalog.similar(query, 3, metric=metric)
                assert [name for name, _ in neighbors] == [hit.item.id for hit in hits]
        outside = evaluate_catalog(catalog, "product_id", queries_from=items, ks=[1])
        assert outside.metrics["cosine"].estimates["precision@1"].mean == 1  # each finds itself


def test_ranker_takes_more_queries_than_one_batch(shop: Catalog) -> None:
    ids = embedded_items(shop, "product_id").ids
    many = list(CatalogRanker(shop).rank(ids * 20, "cosine", 2))
    assert len(many) == 500
    assert [name for name, _ in many[-1]] == [hit.item.id for hit in shop.similar(ids[-1], 2)]


def nearest_has_its_class(embeddings: NDArray[np.float32], classes: list[str], metric: str) -> float:
    """P@1 by hand: the share of pictures whose nearest other picture has their class."""
    vectors = embeddings.astype(np.float64)
    if metric == "cosine":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    right = 0
    for row, vector in enumerate(vectors):
        if metric == "manhattan":
            distances = np.abs(vectors - vector).sum(axis=1)
        else:  # of vectors of length 1, the nearest by Euclidean distance is the nearest by cosine
            distances = ((vectors - vector) ** 2).sum(axis=1)
        distances[row] = np.inf
        right += classes[distances.argmin()] == classes[row]
    return right / len(vectors)


def test_fashion_mnist_as_a_nearest_neighbour_check_by_hand(tmp_path: Path) -> None:
    """IDX files indexed as a folder; P@1 is the share of pictures whose nearest other has their class."""
    write_fashion_mnist_files(tmp_path / "idx", test=60)
    with Catalog.create(tmp_path / "catalog", metrics=METRICS, kinds=0.0) as catalog:
        assert catalog.add(tmp_path / "idx").added == 60
        result = evaluate_catalog(catalog, "category", ks=[1])
        ids, embeddings = catalog.embeddings()
        classes = [str(catalog.get(one).attributes["category"]) for one in ids]
    for metric, found in result.metrics.items():
        by_hand = nearest_has_its_class(embeddings, classes, metric)
        assert found.estimates["precision@1"].mean == pytest.approx(by_hand)
        assert by_hand > 0.3  # the pictures of a class look alike


@pytest.mark.slow
def test_real_fashion_mnist(tmp_path: Path) -> None:
    """2,000 real pictures, by scikit-learn's exact nearest neighbours."""
    real = Path("/usr/share/datasets/fashion-mnist")
    if not real.is_dir():
        absent = pytest.fail if os.environ.get("CI") else pytest.skip
        absent("needs Debian's package dataset-fashion-mnist")
    for file in real.glob("t10k-*"):
        (tmp_path / file.name).symlink_to(file)
    pictures = list(islice(read_fashion_mnist(tmp_path, tmp_path / "pictures"), 2_000))
    with Catalog.create(tmp_path / "catalog") as catalog:
        assert catalog.add(pictures).added == 2_000
        found = evaluate_catalog(catalog, "category", queries=500, ks=[1])
        ids, embeddings = catalog.embeddings()
    classes = {picture.id: picture.attributes["category"] for picture in pictures}
    rows = [ids.index(query) for query in found.query_ids]
    nearest = NearestNeighbors(n_neighbors=2, algorithm="brute", metric="cosine").fit(embeddings)
    second = nearest.kneighbors(embeddings[rows], return_distance=False)[:, 1]
    by_hand = np.mean([classes[ids[a]] == classes[ids[b]] for a, b in zip(rows, second, strict=True)])
    assert found.metrics["cosine"].estimates["precision@1"].mean == pytest.approx(by_hand, abs=2e-3)
    assert by_hand > 0.6


@pytest.mark.slow
def test_luma_as_measured_before_the_first_line_of_code(luma: Path, tmp_path: Path) -> None:
    with Catalog.create(tmp_path / "catalog", "efficientnet-lite0", resize="squash", kinds=0.0) as catalog:
        catalog.add(luma / "catalog.csv")
        result = evaluate_catalog(catalog, "product_id")
    assert result.items == 319
    means = {key: estimate.mean for key, estimate in result.metrics["cosine"].estimates.items()}
    expected = {
        "precision@1": 0.589, "precision@5": 0.269, "precision@10": 0.161,
        "recall@1": 0.161, "recall@5": 0.386, "recall@10": 0.463, "map": 0.383,
    }  # fmt: skip
    assert {key: means[key] for key in expected} == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("metric", METRICS)
def test_by_category_a_search_is_not_told_the_category(
    tmp_path: Path, items: list[Item], metric: str
) -> None:
    results = []
    for kinds in (None, 0.0):
        with Catalog.create(tmp_path / f"kinds {kinds}", metrics=(metric,), kinds=kinds) as catalog:
            catalog.add(items)
            assert (catalog.manifest.kinds is None) == (kinds == 0.0)
            results.append(evaluate_catalog(catalog, "category", ks=[3]).metrics[metric])  # type: ignore[index]
    told, plain = results
    assert told.search_recall == pytest.approx(1, abs=0.02)
    assert told.estimates["map"].mean < 0.9
    if metric == "cosine":
        assert told.estimates["map"].mean == pytest.approx(plain.estimates["map"].mean, abs=1e-3)
