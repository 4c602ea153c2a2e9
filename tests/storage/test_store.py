"""What every store must do; each test runs on each store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from serupa.errors import InvalidInputError, UnavailableError
from serupa.filters import as_filter
from serupa.storage import scan
from serupa.storage.base import Examples, Point, VectorStore
from serupa.storage.local import graph
from serupa.storage.local import store as edge
from serupa.storage.local.store import LocalStore, ef_search
from serupa.vectors import METRICS, Metric, distances
from tests.storage.conftest import connection_to, new_store

# what local mode says of things that only a server does
pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]

DIMENSION = 16
COUNT = 300


def point(number: int, vector: np.ndarray) -> Point:
    attributes = {
        "color": ("red", "green", "blue")[number % 3],
        "price": float(number),
        "seasons": ["summer", "winter"] if number % 2 else ["spring"],
        'my "odd" name'.replace('"', ""): "x",
        "mixed": number if number % 2 else str(number),
    }
    payload = {
        "id": f"p{number:03}",
        "product_id": f"g{number // 4}",
        "content": "",
        "attributes": attributes,
    }
    return Point(f"p{number:03}", dict.fromkeys(METRICS, vector), payload)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(COUNT, DIMENSION)).astype(np.float32) * 3


@pytest.fixture(params=["edge", "local", "grpc", "rest", "real"])
def store(request: pytest.FixtureRequest, tmp_path: Path, vectors: np.ndarray) -> Iterator[VectorStore]:
    dimensions = dict.fromkeys(METRICS, DIMENSION)
    connection = None if request.param == "edge" else connection_to(request.param, request)
    made: VectorStore = (
        LocalStore(tmp_path / "points", dimensions)
        if connection is None
        else new_store(connection, dimensions)
    )
    made.upsert([point(number, vector) for number, vector in enumerate(vectors)])
    made.index_field("product_id", "text")
    made.index_field("color", "text")
    made.index_field("price", "number")
    yield made
    made.close()
    if connection is not None:
        connection.write(lambda client: client.delete_collection(made.collection))  # type: ignore[attr-defined]
        connection.close()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("exact", [False, True])
def test_agrees_with_brute_force(
    store: VectorStore, vectors: np.ndarray, metric: Metric, exact: bool
) -> None:
    queries = np.random.default_rng(1).normal(size=(20, DIMENSION)).astype(np.float32)
    brute = NearestNeighbors(n_neighbors=10, algorithm="brute", metric=metric).fit(vectors)
    distances, rows = brute.kneighbors(queries)
    found = store.search(queries, metric, 10, exact=exact)
    assert [[n.id for n in one] for one in found] == [[f"p{row:03}" for row in one] for one in rows]
    np.testing.assert_allclose([[n.distance for n in one] for one in found], distances, atol=1e-4)


def test_one_query_equals_many(store: VectorStore, vectors: np.ndarray) -> None:
    together = store.search(vectors[:5], "cosine", 7)
    alone = [store.search(vector[None], "cosine", 7)[0] for vector in vectors[:5]]
    assert [[n.id for n in one] for one in together] == [[n.id for n in one] for one in alone]
    distances = [[[n.distance for n in one] for one in answers] for answers in (together, alone)]
    np.testing.assert_allclose(*distances, atol=1e-6)  # a matrix product may round otherwise


def test_equal_distances_are_ordered_by_id(store: VectorStore) -> None:
    same = np.ones(DIMENSION, np.float32) * 100
    store.upsert([point(number, same) for number in (290, 5, 120)])
    (found,) = store.search(same[None], "euclidean", 3)
    assert [n.id for n in found] == ["p005", "p120", "p290"]


@pytest.mark.parametrize("metric", scan.METRICS)
def test_many_exact_queries_are_one_pass(
    store: VectorStore, vectors: np.ndarray, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks that divide neither points nor queries; equal vectors are ordered by id, also at the end."""
    if not isinstance(store, LocalStore):
        pytest.skip("how the embedded store does it; a server does its own")
    points = vectors.copy()
    points[[5, 120, 290]] = points[17]
    store.upsert([point(number, points[number]) for number in (5, 120, 290)])
    queries = np.concatenate([points, np.random.default_rng(1).normal(size=(20, DIMENSION))])
    monkeypatch.setattr(store, "scroll", counted := Counted(store.scroll))
    monkeypatch.setattr(scan, "FROM", 10)
    monkeypatch.setattr(scan, "_BLOCK", 64)
    found = store.search(queries.astype(np.float32), metric, 10, exact=True, payload=False)
    assert counted.calls == 1
    for query, one in zip(queries, found, strict=True):
        distances = np.sqrt(((points - query) ** 2).sum(axis=1))
        if metric == "cosine":
            lengths = np.linalg.norm(points, axis=1) * np.linalg.norm(query)
            distances = 1 - (points * query).sum(axis=1) / lengths
        nearest = np.lexsort((np.arange(COUNT), distances))[:10]
        assert [n.id for n in one] == [f"p{row:03}" for row in nearest]
        np.testing.assert_allclose([n.distance for n in one], distances[nearest], atol=1e-5)


@pytest.mark.slow
def test_many_exact_queries_with_a_filter(store: VectorStore, vectors: np.ndarray) -> None:
    many = np.tile(vectors, (scan.FROM // COUNT + 1, 1))
    red = as_filter({"color": "red"})
    found = store.search(many, "cosine", 200, where=red, exact=True, payload=False)
    assert {len(one) for one in found} == {COUNT // 3}
    few = store.search(vectors, "cosine", 200, where=red, exact=True, payload=False)
    assert [[n.id for n in one] for one in found[:COUNT]] == [[n.id for n in one] for one in few]


class Counted:
    def __init__(self, function: Callable[..., object]) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *args: object, **options: object) -> object:
        self.calls += 1
        return self.function(*args, **options)


def test_filters(store: VectorStore, vectors: np.ndarray) -> None:
    def numbers(where: object) -> set[int]:
        conditions = as_filter(where)  # type: ignore[arg-type]
        (found,) = store.search(vectors[:1], "cosine", COUNT, where=conditions)
        scrolled = {p.id for batch in store.scroll(conditions, batch=50) for p in batch}
        assert scrolled == {n.id for n in found}
        assert store.count(conditions) == len(found)
        return {int(n.id[1:]) for n in found}

    everything = set(range(COUNT))
    assert numbers(None) == everything
    assert numbers({"color": "red"}) == {n for n in everything if n % 3 == 0}
    assert numbers({"color": ["red", "blue"]}) == {n for n in everything if n % 3 != 1}
    assert numbers("color!=red") == {n for n in everything if n % 3}
    assert numbers({"price": {"gte": 10, "lt": 12}}) == {10, 11}
    assert numbers("price=10..12") == {10, 11, 12}
    assert numbers({"price": 10}) == numbers("price=10") == {10}
    assert numbers({"seasons": "winter"}) == {n for n in everything if n % 2}
    assert numbers({"seasons": ["spring", "winter"]}) == everything
    assert numbers(["color=red", "price>=100", "price<=110"]) == {102, 105, 108}
    assert numbers({"product_id": "g2"}) == {8, 9, 10, 11}
    assert numbers({"my odd name": "x"}) == everything
    assert numbers(["mixed=11|12"]) == {11, 12}
    assert numbers({"color": "violet"}) == set()


def test_exclude_is_for_each_query(store: VectorStore, vectors: np.ndarray) -> None:
    found = store.search(vectors[:3], "cosine", 1, exclude=[["p000"], [], ["p000", "p002"]])
    assert found[0][0].id != "p000"
    assert found[1][0].id == "p001"
    assert found[2][0].id not in ("p000", "p002")


def test_get_and_vectors(store: VectorStore, vectors: np.ndarray) -> None:
    found = store.get(["p007", "nothing", "p001"], vectors=["euclidean", "cosine"])
    assert set(found) == {"p007", "p001"}
    np.testing.assert_array_equal(found["p007"].vectors["euclidean"], vectors[7])
    np.testing.assert_allclose(
        found["p007"].vectors["cosine"], vectors[7] / np.linalg.norm(vectors[7]), atol=1e-6
    )
    assert not store.get(["p001"])["p001"].vectors
    assert store.get([]) == {}


def test_upsert_replaces(store: VectorStore, vectors: np.ndarray) -> None:
    store.upsert([point(3, -vectors[3])])
    assert store.count() == COUNT
    np.testing.assert_array_equal(
        store.get(["p003"], vectors=["manhattan"])["p003"].vectors["manhattan"], -vectors[3]
    )


def test_payload_alone_is_replaced(store: VectorStore, vectors: np.ndarray) -> None:
    changed = dict(point(3, vectors[3]).payload) | {"attributes": {"color": "violet"}}
    store.replace_payloads([changed])
    assert store.get(["p003"])["p003"].payload == changed
    assert store.count(as_filter({"color": "violet"})) == 1
    assert store.search(vectors[3:4], "euclidean", 1)[0][0].id == "p003"


def test_delete(store: VectorStore, vectors: np.ndarray) -> None:
    store.delete(["p003", "nothing"])
    store.delete([])
    assert store.count() == COUNT - 1
    assert not store.get(["p003"])
    assert store.search(vectors[3:4], "euclidean", 1)[0][0].id != "p003"


def test_facets_and_bounds(store: VectorStore) -> None:
    assert dict(store.facet("color")) == {"red": 100, "green": 100, "blue": 100}
    assert dict(store.facet("color", as_filter("price<4"))) == {"red": 2, "green": 1, "blue": 1}
    assert len(store.facet("product_id", limit=1000)) == COUNT // 4
    assert store.bounds("price") == (0.0, COUNT - 1.0)
    assert store.bounds("price", as_filter({"color": "green"})) == (1.0, COUNT - 2.0)
    assert store.bounds("price", as_filter({"color": "violet"})) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_no_number(store: VectorStore, bad: float) -> None:
    vector = np.ones(DIMENSION, np.float32)
    vector[2] = bad
    with pytest.raises(InvalidInputError, match="p009"):
        store.upsert([point(9, vector)])
    assert store.count() == COUNT


def test_zero_vectors_are_as_far_as_can_be(store: VectorStore) -> None:
    store.upsert([point(9, np.zeros(DIMENSION, np.float32))])
    (found,) = store.search(np.ones((1, DIMENSION), np.float32), "cosine", COUNT)
    assert next(n.distance for n in found if n.id == "p009") == 1.0


def test_reopened(tmp_path: Path, vectors: np.ndarray) -> None:
    for _ in range(2):
        store = LocalStore(tmp_path / "points", dict.fromkeys(METRICS, DIMENSION))
        store.upsert([point(number, vector) for number, vector in enumerate(vectors)])
        store.index_field("color", "text")
        store.optimize()
        assert store.count() == COUNT
        assert dict(store.facet("color")) == {"red": 100, "green": 100, "blue": 100}
        store.close()
        store.close()


def test_what_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "points").mkdir()
    (tmp_path / "points" / "edge_config.json").write_text("not a shard")
    with pytest.raises(UnavailableError):
        LocalStore(tmp_path / "points", {"cosine": 4})


def test_approximate_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the size where scanning is fast, most neighbours are found without it."""
    monkeypatch.setattr("serupa.storage.local.store.EXACT_BELOW", 1000)
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(50, DIMENSION))
    data = (centres[rng.integers(0, 50, 3000)] + 0.3 * rng.normal(size=(3000, DIMENSION))).astype(np.float32)
    store = LocalStore(tmp_path / "points", {"cosine": DIMENSION})
    store.upsert([Point(f"{n}", {"cosine": v}, {"id": f"{n}"}) for n, v in enumerate(data)])
    assert store.indexed() == 0
    store.optimize()
    assert store.indexed() == 3000
    exact = store.search(data[:50], "cosine", 10, exact=True)
    quick = store.search(data[:50], "cosine", 10)
    shared = [len({n.id for n in a} & {n.id for n in b}) for a, b in zip(exact, quick, strict=True)]
    assert sum(shared) / 500 > 0.95
    store.close()


def test_parts_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points are dealt into parts with a graph each; all are found, changed and removed alike."""
    monkeypatch.setattr("serupa.storage.local.store.EXACT_BELOW", 500)
    monkeypatch.setattr("serupa.storage.local.store._SEGMENT_POINTS", 1000)
    monkeypatch.setattr("serupa.storage.local.store._FLUSH_EVERY", 200)
    rng = np.random.default_rng(3)
    data = rng.normal(size=(3400, DIMENSION)).astype(np.float32)
    points = [Point(f"{n}", {"cosine": v}, {"id": f"{n}"}) for n, v in enumerate(data)]
    store = LocalStore(tmp_path / "points", {"cosine": DIMENSION})
    for start in range(0, 3400, 200):
        store.upsert(points[start : start + 200])
    assert store.indexed() == 3000  # without being asked
    store.optimize()
    assert store._shard.info().segments_count >= 4
    store.close()
    store = LocalStore(store.directory, {"cosine": DIMENSION})
    assert store.count() == 3400
    own = store.search(data[::100], "cosine", 2)
    assert [found[0].id for found in own] == [f"{n}" for n in range(0, 3400, 100)]
    exact = store.search(data[:60], "cosine", 10, exact=True)
    quick = store.search(data[:60], "cosine", 10)
    shared = [len({n.id for n in a} & {n.id for n in b}) for a, b in zip(exact, quick, strict=True)]
    assert sum(shared) / 600 > 0.95
    store.upsert([Point("5", {"cosine": data[6]}, {"id": "5"})])
    store.delete(["6"])
    assert store.count() == 3399 and store.search(data[6:7], "cosine", 1)[0][0].id == "5"
    store.close()


def quantized_files(store: LocalStore) -> list[Path]:
    return sorted(store.directory.rglob("quantized*"))


def test_small_vectors_come_with_the_first_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below that there are none, and every search is exact."""
    monkeypatch.setattr("serupa.storage.local.store.EXACT_BELOW", 1000)
    monkeypatch.setattr(
        "serupa.storage.local.store._SCAN_BELOW_KB", 10
    )  # else the engine scans so little by itself
    rng = np.random.default_rng(5)
    data = rng.normal(size=(2400, 64)).astype(np.float32)
    points = [Point(f"{n}", {"cosine": v}, {"id": f"{n}"}) for n, v in enumerate(data)]
    store = LocalStore(tmp_path / "points", {"cosine": 64})
    store.upsert(points[:900])
    store.optimize()
    assert not quantized_files(store)
    asked = rng.normal(size=(40, 64)).astype(np.float32)
    assert store.search(asked, "cosine", 10) == store.search(asked, "cosine", 10, exact=True)

    store.upsert(points[900:2000])
    store.optimize()
    assert store.indexed() == 2000 and quantized_files(store)
    store.close()

    store = LocalStore(store.directory, {"cosine": 64})
    store.upsert(points[2000:])
    assert store.indexed() == 2000  # the others are searched by their small vectors, then compared in full
    own = store.search(data[1900:2100], "cosine", 1)
    assert [found[0].id for found in own] == [f"{n}" for n in range(1900, 2100)]
    exact = store.search(asked, "cosine", 10, exact=True)
    truth = (
        1 - asked / np.linalg.norm(asked, axis=1)[:, None] @ (data / np.linalg.norm(data, axis=1)[:, None]).T
    )
    assert [[n.id for n in found] for found in exact] == [
        [f"{n}" for n in row] for row in np.argsort(truth, axis=1)[:, :10]
    ]
    store.delete([f"{n}" for n in range(900, 2400)])
    store.close()

    monkeypatch.setattr("serupa.storage.local.store._LEAST_EF_SEARCH", 8)  # the graph alone would miss some
    store = LocalStore(store.directory, {"cosine": 64})  # small again: exact again
    assert store.search(asked, "cosine", 10) == store.search(asked, "cosine", 10, exact=True)
    store.close()


@pytest.mark.slow
def test_searches_and_changes_go_on_while_a_graph_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serupa.storage.local.store.EXACT_BELOW", 8000)
    rng = np.random.default_rng(5)
    data = rng.normal(size=(9000, 64)).astype(np.float32)
    points = [Point(f"{n}", {"cosine": v}, {"id": f"{n}", "kind": "old"}) for n, v in enumerate(data)]
    store = LocalStore(tmp_path / "points", {"cosine": 64})
    store.upsert(points[:8000])
    build, spans, answered, done = store._builder.build, [], [], threading.Event()

    def building(directory: Path) -> None:
        started = time.monotonic()
        build(directory)
        spans.append((started, time.monotonic()))

    def ask() -> None:
        while not done.is_set():
            assert store.search(data[:1], "cosine", 1)[0][0].id == "0"
            answered.append(time.monotonic())

    monkeypatch.setattr(store._builder, "build", building)
    with ThreadPoolExecutor(2) as pool:
        asking, made = pool.submit(ask), pool.submit(store.optimize)
        number = 8000
        while not made.done():
            if number < 9000:
                store.upsert(points[number : number + 1])
                store.replace_payloads([{"id": f"{number - 8000}", "kind": "new"}])
                store.delete([f"{number - 4000}"])
                number += 1
            time.sleep(0.002)
        made.result()
        done.set()
        asking.result()
    ((started, ended),) = spans
    during = [one for one in answered if started < one < ended]
    assert len(during) > 10 and number > 8010
    assert max(np.diff([started, *during, ended])) < 0.5
    assert store.directory.name == "points-2" and not (tmp_path / "points").exists()
    store.close()

    store = LocalStore(store.directory, {"cosine": 64})
    assert store.count() == 8000
    expected = {f"{n}" for n in range(number)} - {f"{n - 4000}" for n in range(8000, number)}
    kept = {p.id: p for batch in store.scroll(vectors=["cosine"]) for p in batch}
    assert kept.keys() == expected
    assert {i for i, p in kept.items() if p.payload["kind"] == "new"} == {
        f"{n}" for n in range(number - 8000)
    }
    for one in kept.values():
        np.testing.assert_allclose(
            one.vectors["cosine"], data[int(one.id)] / np.linalg.norm(data[int(one.id)]), atol=1e-6
        )
    store.close()


def test_a_graph_that_cannot_be_built_leaves_the_store_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serupa.storage.local.store.EXACT_BELOW", 100)
    data = np.random.default_rng(5).normal(size=(300, 64)).astype(np.float32)
    store = LocalStore(tmp_path / "points", {"cosine": 64})
    store.upsert([Point(f"{n}", {"cosine": v}, {"id": f"{n}"}) for n, v in enumerate(data)])
    build = store._builder.build

    def damaged(copy: Path) -> None:
        next((copy / "segments").glob("*/segment.json")).write_text("{")
        build(copy)

    monkeypatch.setattr(store._builder, "build", damaged)
    with pytest.raises(UnavailableError, match="graph could not be built"):
        store.optimize()
    store.optimize()  # not again after every item
    assert [entry.name for entry in tmp_path.iterdir()] == ["points"]
    assert [found[0].id for found in store.search(data, "cosine", 1)] == [f"{n}" for n in range(300)]
    store.close()


def test_closing_ends_what_is_being_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serupa.storage.local.store.EXACT_BELOW", 100)
    monkeypatch.setattr(graph, "_BUILDING", ("-c", "import time; time.sleep(60)"))
    data = np.random.default_rng(5).normal(size=(300, 64)).astype(np.float32)
    store = LocalStore(tmp_path / "points", {"cosine": 64})
    store.upsert([Point(f"{n}", {"cosine": v}, {"id": f"{n}"}) for n, v in enumerate(data)])
    with ThreadPoolExecutor(1) as pool:
        building = pool.submit(store.optimize)
        while (
            not (tmp_path / "points-2.new" / "edge_config.json").exists() or store._builder._process is None
        ):
            time.sleep(0.01)
        store.close()
        with pytest.raises(UnavailableError):
            building.result(10)
    assert [entry.name for entry in tmp_path.iterdir()] == ["points"]


def test_what_was_removed_is_given_back(tmp_path: Path) -> None:
    """Also of a small store, and across processes that each remove a little."""
    data = np.random.default_rng(5).normal(size=(4000, 64)).astype(np.float32)
    store = LocalStore(tmp_path / "points", {"cosine": 64})
    store.upsert([Point(f"{n}", {"cosine": v}, {"id": f"{n}"}) for n, v in enumerate(data)])
    store.delete([f"{n}" for n in range(700)])
    store.optimize()
    assert store.directory.name == "points"
    store.close()
    store = LocalStore(tmp_path / "points", {"cosine": 64})
    store.delete([f"{n}" for n in range(700, 1400)])
    store.optimize()
    assert store.directory.name == "points-2"
    kept = sum(f.stat().st_size for f in store.directory.glob("segments/*/*id_tracker.versions"))
    assert kept == 2600 * 8
    assert store.count() == 2600
    store.close()


def test_where_there_is_no_room_for_a_graph_all_is_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serupa.storage.local.store.EXACT_BELOW", 100)
    monkeypatch.setattr("serupa.storage.local.store._CHUNK_BYTES", 2**60)
    data = np.random.default_rng(5).normal(size=(300, 64)).astype(np.float32)
    store = LocalStore(tmp_path / "points", {"cosine": 64})
    store.upsert([Point(f"{n}", {"cosine": v}, {"id": f"{n}"}) for n, v in enumerate(data)])
    store.optimize()
    assert not quantized_files(store)
    assert [found[0].id for found in store.search(data, "cosine", 1)] == [f"{n}" for n in range(300)]
    store.close()


def examples(likes: np.ndarray, dislikes: np.ndarray | None = None) -> Examples:
    return Examples(likes, np.empty((0, DIMENSION), np.float32) if dislikes is None else dislikes)


def to_each(vectors: np.ndarray, others: np.ndarray, metric: Metric) -> np.ndarray:
    fitted = NearestNeighbors(n_neighbors=len(others), algorithm="brute", metric=metric).fit(others)
    return fitted.kneighbors(vectors)[0][:, 0]


@pytest.mark.parametrize("metric", METRICS)
def test_recommends_what_is_near_to_a_like_and_not_to_a_dislike(
    store: VectorStore, vectors: np.ndarray, metric: Metric
) -> None:
    likes, dislikes = vectors[[3, 90, 201]] + 0.1, vectors[[4, 91]]
    (found,) = store.recommend([examples(likes, dislikes)], metric, COUNT)
    liked, disliked = to_each(vectors, likes, metric), to_each(vectors, dislikes, metric)
    expected = sorted((d, f"p{n:03}") for n, d in enumerate(liked) if d < disliked[n])
    assert 100 < len(expected) < COUNT
    assert [n.id for n in found] == [name for _, name in expected]
    np.testing.assert_allclose([n.distance for n in found], [d for d, _ in expected], atol=1e-4)
    assert found[0].payload["attributes"]["color"] == "red"


@pytest.mark.parametrize("metric", METRICS)
def test_one_like_is_a_search(store: VectorStore, vectors: np.ndarray, metric: Metric) -> None:
    (searched,) = store.search(vectors[8:9], metric, 20, exclude=[["p008"]])
    (found,) = store.recommend([examples(vectors[8:9])], metric, 20, exclude=["p008"])
    assert [n.id for n in found] == [n.id for n in searched]
    np.testing.assert_allclose([n.distance for n in found], [n.distance for n in searched], atol=1e-5)


def test_each_of_several_examples_has_its_own_answer(store: VectorStore, vectors: np.ndarray) -> None:
    asked = [examples(vectors[:1]), examples(vectors[5:7], vectors[9:10])]
    where = as_filter({"color": "red"})
    together = store.recommend(asked, "cosine", 5, where=where, exclude=["p000"])
    assert together == [
        store.recommend([one], "cosine", 5, where=where, exclude=["p000"])[0] for one in asked
    ]
    assert all(int(n.id[1:]) % 3 == 0 and n.id != "p000" for found in together for n in found)
    assert store.recommend([], "cosine", 5) == []


def test_a_large_distance_keeps_its_digits(tmp_path: Path) -> None:
    """The engine's own score cannot tell 2,000.0 from 2,000.1."""
    store = LocalStore(tmp_path / "points", {"manhattan": 4})
    rows = np.array([[2000 + n / 100, 0, 0, 0] for n in range(50)], np.float32)
    store.upsert([Point(f"{n:02}", {"manhattan": v}, {"id": f"{n:02}"}) for n, v in enumerate(rows)])
    asked = Examples(np.zeros((2, 4), np.float32), np.full((1, 4), 1e6, np.float32))
    (found,) = store.recommend([asked], "manhattan", 50)
    assert [n.id for n in found] == [f"{n:02}" for n in range(50)]
    store.close()


@pytest.mark.parametrize("metric", METRICS)
def test_diversity(store: VectorStore, vectors: np.ndarray, metric: Metric) -> None:
    """None of it is the search's order; with all of it, each is as unlike those before as it can be."""
    (near,) = store.search(vectors[:1], metric, 30)
    ids = [n.id for n in near]
    assert store.diversify(ids[::-1], vectors[0], metric, 10, 0.0) == ids[:10]
    varied = store.diversify([*ids, "nothing"], vectors[0], metric, 30, 1.0)
    assert sorted(varied) == sorted(ids)
    among = distances(vectors[:1], vectors, metric)  # the first is the nearest
    assert varied[0] == f"p{int(among.argmin()):03}"
    rows = vectors[[int(i[1:]) for i in varied]]
    apart = distances(rows, rows, metric)
    for n in range(1, 29):
        assert apart[n, :n].min() >= apart[n + 1 :, :n].min(axis=1).max() - 1e-4
    assert store.diversify([], vectors[0], metric, 3, 0.5) == []


def test_files_with_other_settings_open(
    tmp_path: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that was made with another graph is searched as it is, and takes more points."""
    monkeypatch.setattr(edge, "_M", 8)
    monkeypatch.setattr(edge, "EXACT_BELOW", 0)
    made = LocalStore(tmp_path / "points", {"cosine": DIMENSION})
    made.upsert([Point(f"p{i:03}", {"cosine": v}, {"id": f"p{i:03}"}) for i, v in enumerate(vectors[:200])])
    made.optimize()
    made.close()
    monkeypatch.undo()
    opened = LocalStore(made.directory, {"cosine": DIMENSION})
    assert [one[0].id for one in opened.search(vectors[:200], "cosine", 1)] == [
        f"p{i:03}" for i in range(200)
    ]
    opened.upsert([Point("new", {"cosine": vectors[200]}, {"id": "new"})])
    opened.optimize()
    assert opened.search(vectors[200:201], "cosine", 1)[0][0].id == "new"
    assert opened.count() == 201
    opened.close()


def test_search_width_grows_with_the_catalogue() -> None:
    widths = [ef_search(size) for size in (0, 20_000, 70_000, 200_000, 1_000_000)]
    assert widths == sorted(widths)
    assert widths[0] == 128
    assert widths[-1] == ef_search(500_000) == 495  # of each part
