"""Recommending: groups instead of averages, turns, diversity, what is left out, a stable order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serupa import Catalog, Example, Item, NotFoundError
from serupa.catalog.query import SearchRequest
from serupa.errors import InvalidInputError, UsageError
from serupa.recommend.engine import ExamplePoints, Group, cluster, recommend
from serupa.storage.base import Point
from serupa.storage.local.store import LocalStore
from serupa.vectors import Metric, distances
from serupa_sample import write_sample


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("shop")
    with Catalog.create(folder / "catalog") as made:
        made.add(write_sample(folder / "sample", products=40))
        yield made  # type: ignore[misc]


def categories(shop: Catalog, result: object) -> list[str]:
    return [hit.item.attributes["category"] for hit in result]  # type: ignore[attr-defined]


def one_of(shop: Catalog, category: str) -> Item:
    return min(shop.items({"category": category}), key=lambda item: item.id)


def test_likes_of_three_categories_give_all_three(shop: Catalog) -> None:
    likes = [one_of(shop, category).id for category in ("Hats", "Skirts", "Hoodies")]
    found = shop.recommend(likes, k=9)
    assert {"Hats", "Skirts", "Hoodies"} <= set(categories(shop, found))
    assert len(found.groups) == 3
    assert len({hit.item.product_id for hit in found}) == 9


def test_groups_find_what_the_average_does_not(tmp_path: Path) -> None:
    """Two likes in two corners; the average of the two is somewhere else, and so is what is near to it."""
    rng = np.random.default_rng(0)
    corners = {"left": (0.0, 0.0), "right": (10.0, 0.0), "between": (5.0, 0.0), "far": (5.0, 30.0)}
    store = LocalStore(tmp_path / "points", {"euclidean": 2})
    for name, corner in corners.items():
        rows = (np.array(corner) + 0.3 * rng.normal(size=(30, 2))).astype(np.float32)
        payloads = [{"id": f"{name}-{n:02}", "product_id": None, "attributes": {}} for n in range(30)]
        store.upsert([Point(str(p["id"]), {"euclidean": v}, p) for p, v in zip(payloads, rows, strict=True)])
    likes = np.array([corners["left"], corners["right"], corners["left"]], np.float32)
    nothing = ExamplePoints(np.empty((0, 2), np.float32), np.empty(0), ())
    photos = ExamplePoints(likes, np.ones(3), (None,) * 3)
    picks, groups = recommend(store, photos, nothing, 9, metric="euclidean")
    assert [group.likes for group in groups] == [(0, 2), (1,)]
    found = [pick.neighbor.id.split("-")[0] for pick in picks]
    assert (found.count("left"), found.count("right")) == (6, 3)  # as the likes weigh
    (average,) = store.search(likes[:2].mean(axis=0)[None], "euclidean", 9)
    assert {neighbor.id.split("-")[0] for neighbor in average} == {"between"}
    store.close()


def test_likes_of_one_product_are_one_group(shop: Catalog) -> None:
    product = one_of(shop, "Hats").product_id
    views = [item.id for item in shop.items({"product_id": product}) if item.attributes["view"] != "colour"]
    found = shop.recommend([*views, one_of(shop, "Skirts").id], k=8)
    assert max(len(group.likes) for group in found.groups) > 1
    assert product not in {hit.item.product_id for hit in found}


@pytest.mark.parametrize("by", ["product", "item"])
def test_what_is_liked_or_disliked_is_not_recommended(shop: Catalog, by: str) -> None:
    liked, disliked = one_of(shop, "Tees"), one_of(shop, "Shirts")
    found = shop.recommend([liked.id], [disliked.id], k=200, by=by)  # type: ignore[arg-type]
    assert found
    assert not {liked.id, disliked.id} & {hit.item.id for hit in found}
    if by == "product":
        assert not {liked.product_id, disliked.product_id} & {hit.item.product_id for hit in found}


def test_dislikes_keep_away_what_is_like_them(shop: Catalog) -> None:
    liked = one_of(shop, "Tees")
    before = shop.recommend([liked.id], k=10)
    disliked = before[0].item
    after = shop.recommend([liked.id], [disliked.id], k=10)
    ids = [hit.item.id for hit in after]
    _, rows = shop.embeddings(ids)
    _, pair = shop.embeddings([liked.id, disliked.id])
    apart = distances(rows, pair, "cosine")
    assert (apart[:, 0] < apart[:, 1]).all()
    assert ids != [hit.item.id for hit in before]


def test_one_photo_recommends_what_it_finds(shop: Catalog) -> None:
    item = one_of(shop, "Jackets")
    embedding = shop.encoder.encode_photo(item.image)
    found = shop.recommend([Example(embedding=embedding)], k=10)
    searched = shop.ask(SearchRequest(embedding=embedding, k=10, by="product"))
    assert [hit.item.id for hit in found] == [hit.item.id for hit in searched]
    np.testing.assert_allclose([hit.distance for hit in found], [hit.distance for hit in searched], atol=1e-5)
    assert found[0].item.product_id == item.product_id


def test_the_same_call_gives_the_same_answer(shop: Catalog) -> None:
    likes = [one_of(shop, category).id for category in ("Hats", "Trousers")]
    for settings in ({}, {"diversity": 0.5}, {"k": 5, "where": {"category": "Tees"}}):
        first = shop.recommend(likes, **settings)  # type: ignore[arg-type]
        assert first.hits == shop.recommend(likes, **settings).hits  # type: ignore[arg-type]
    assert shop.recommend().hits == shop.recommend().hits


def test_diversity_spreads_the_results(shop: Catalog) -> None:
    liked = one_of(shop, "Tees").id

    def apart(diversity: float) -> float:
        found = shop.recommend([liked], k=6, diversity=diversity)
        assert len(found) == 6
        _, rows = shop.embeddings([hit.item.id for hit in found])
        return float(distances(rows, rows, "cosine").mean())

    assert apart(0.0) < apart(0.5) <= apart(1.0)


def test_without_likes_it_is_a_varied_sample(shop: Catalog) -> None:
    found = shop.recommend(k=12)
    assert len(set(categories(shop, found))) >= 6
    assert found.groups == ()
    assert set(found.because) == {None}
    disliked = found[0].item
    assert disliked.product_id not in {hit.item.product_id for hit in shop.recommend((), [disliked.id])}
    assert set(categories(shop, shop.recommend(where={"category": "Hats"}))) == {"Hats"}


def test_weights_share_out_the_results(shop: Catalog) -> None:
    hat, dress = one_of(shop, "Hats").id, one_of(shop, "Dresses").id
    found = shop.recommend([Example(hat, weight=3.0), Example(dress)], k=4, diversity=0.0)
    assert list(found.because) == [0, 0, 1, 0]
    assert found.groups == (Group((0,), 3.0), Group((1,), 1.0))


def test_plain_data(shop: Catalog) -> None:
    found = shop.recommend([one_of(shop, "Hats").id], k=2).to_dict()
    assert [hit["because"] for hit in found["hits"]] == [0, 0]
    assert found["groups"] == [{"likes": [0], "weight": 1.0}]
    assert found["metric"] == "cosine"


def test_refusals(shop: Catalog) -> None:
    item = one_of(shop, "Hats").id
    with pytest.raises(NotFoundError, match="'gone'"):
        shop.recommend(["gone"])
    with pytest.raises(UsageError):
        shop.recommend([item], [item])
    with pytest.raises(UsageError):
        shop.recommend([item], diversity=2)
    with pytest.raises(InvalidInputError):
        shop.recommend([Example(embedding=np.ones(3, np.float32))])
    with pytest.raises(UsageError):
        shop.recommend([item], k=0)
    with pytest.raises(ValueError, match="an item or an embedding"):
        Example()


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_other_metrics_and_empty_catalogues(catalog: Catalog, metric: Metric) -> None:
    found = catalog.recommend(["item-00", "item-09"], ["item-20"], metric=metric, diversity=0.3)
    assert {"P0", "P3", "P6"}.isdisjoint({hit.item.product_id for hit in found})
    assert found
    catalog.remove(where={"category": ["dresses", "hats", "shirts"]})
    assert list(catalog.recommend(metric=metric)) == []


def test_a_tuned_catalogue_recommends_too(catalog: Catalog) -> None:
    from serupa.learning.whitening import fit_whitening

    ids, embeddings = catalog.embeddings()
    products = np.array([int(catalog.get(i).product_id[1:]) for i in ids])  # type: ignore[index]
    catalog.use_whitening(fit_whitening(embeddings, [products], dimension=8, ridge=0.1))
    photo = embeddings[ids.index("item-00")]
    found = catalog.recommend([Example(embedding=photo)], k=3)
    assert found[0].item.product_id == "P0"
    assert len(catalog.recommend(k=3)) == 3


def test_clusters() -> None:
    places = np.array([0.0, 1.0, 10.0, 0.6, 11.0, 30.0])
    apart = np.abs(np.subtract.outer(places, places))
    assert cluster(apart, 2.0) == [[0, 1, 3], [2, 4], [5]]
    assert cluster(apart, 100.0) == [[0, 1, 2, 3, 4, 5]]
    assert cluster(apart, 0.0) == [[n] for n in range(6)]
    assert cluster(apart[:1, :1], 1.0) == [[0]]


def test_real_photos_of_three_categories(luma: Path, tmp_path: Path) -> None:
    wanted = {"Tees", "Pants", "Jackets"}
    from serupa.sources import read_source

    items = [item for item in read_source(luma / "catalog.csv") if item.attributes["view"] == "main"][::4]
    with Catalog.create(tmp_path / "luma") as shop:
        shop.add(items)
        likes = [one_of(shop, category).id for category in sorted(wanted)]
        assert wanted <= set(categories(shop, shop.recommend(likes, k=9)))
