"""The paper's files: loaded by a process that has no Serupa, they answer as its search does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serupa import Catalog, Item, MissingExtraError
from serupa.catalog.compared import ANY_KIND
from serupa.catalog.query import SearchRequest
from serupa.errors import InvalidInputError, UnavailableError, UsageError
from serupa.learning.whitening import Whitening
from serupa.paper.artefacts import write_artefacts
from serupa.vectors import METRICS, unit

# What somebody else's program does with the files; it may not even be able to import serupa.
READER = """
import sys

sys.modules["serupa"] = None
import json
import pickle
from pathlib import Path

import numpy as np

folder = Path(sys.argv[1])


def load(name):
    with (folder / name).open("rb") as file:
        return pickle.load(file)


features, labels = np.load(folder / "features.npy"), np.load(folder / "labels.npy")
answers = {}
for path in sorted(folder.glob("knn_*.pkl")):
    distances, rows = load(path.name).kneighbors(features)
    answers[path.stem[4:]] = {"distances": distances.tolist(), "rows": rows.tolist()}
names = [name for name in sys.modules if name.partition(".")[0] == "serupa"]
json.dump(
    {
        "features": [str(features.dtype), features.tolist()],
        "labels": [str(labels.dtype), labels.tolist()],
        "image_paths": load("image_paths.pkl"),
        "class_names": load("class_names.pkl"),
        "answers": answers,
        "serupa": [name for name in names if sys.modules[name] is not None],
    },
    sys.stdout,
)
"""


def read_elsewhere(folder: Path) -> dict:
    done = subprocess.run(
        [sys.executable, "-I", "-c", READER, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told: dict = json.loads(done.stdout)
    assert told["serupa"] == []
    return told


def check_answers(catalog: Catalog, told: dict) -> None:
    """Each model's neighbours are those of the catalogue's own search by the look alone."""
    ids, embeddings = catalog.embeddings()
    assert set(told["answers"]) == set(catalog.manifest.metrics)
    for metric, answer in told["answers"].items():
        for row, embedding in enumerate(embeddings):
            expected = catalog.ask(
                SearchRequest(embedding=embedding, k=len(answer["rows"][row]), metric=metric, kind=ANY_KIND)
            )
            distances = [hit.distance for hit in expected]
            scale = max(1.0, *distances)
            assert answer["distances"][row] == pytest.approx(distances, abs=1e-4 * scale)
            assert [ids[other] for other in answer["rows"][row]] == [hit.item.id for hit in expected]


def test_load_without_serupa_and_answer_as_its_search(catalog: Catalog, tmp_path: Path) -> None:
    written = write_artefacts(catalog, tmp_path / "new" / "out")
    assert sorted(path.name for path in written) == sorted(
        path.name for path in (tmp_path / "new" / "out").iterdir()
    )
    assert {path.name for path in written} == {
        "features.npy", "labels.npy", "image_paths.pkl", "class_names.pkl", "items.parquet",
        *(f"knn_{metric}.pkl" for metric in METRICS),
    }  # fmt: skip
    told = read_elsewhere(tmp_path / "new" / "out")

    ids, embeddings = catalog.embeddings()
    rows = [catalog.get(one) for one in ids]
    assert told["features"][0] == "float32"
    assert np.array_equal(np.array(told["features"][1], np.float32), unit(embeddings))
    assert told["labels"][0] == "int64"
    assert told["class_names"] == ["dresses", "hats", "shirts"]
    assert [told["class_names"][i] for i in told["labels"][1]] == [row.attributes["category"] for row in rows]
    assert told["image_paths"] == [row.image for row in rows]
    assert len(told["answers"]["cosine"]["rows"][0]) == 10
    check_answers(catalog, told)


def test_a_tuned_catalogue_gives_what_it_searches_by(catalog: Catalog, tmp_path: Path) -> None:
    raw = catalog.embeddings()[1]
    directions = raw / np.linalg.norm(raw, axis=1)[:, None]
    projection = np.random.default_rng(0).normal(size=(5, raw.shape[1])).astype(np.float32)
    catalog.use_whitening(Whitening(directions.mean(axis=0), projection))
    write_artefacts(catalog, tmp_path / "out", label="product_id")
    told = read_elsewhere(tmp_path / "out")
    assert np.array(told["features"][1]).shape == (24, 5)
    check_answers(catalog, told)


def test_the_safe_format_says_the_same(catalog: Catalog, items: list[Item], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write_artefacts(catalog, tmp_path)
    table = pq.read_table(tmp_path / "items.parquet")
    assert table.column_names == ["id", "product_id", "image", "label", "attributes", "vector"]
    rows = table.to_pylist()
    assert np.array_equal(
        np.array([row["vector"] for row in rows], np.float32), np.load(tmp_path / "features.npy")
    )
    for row in rows:
        item = catalog.get(row["id"])
        assert (row["product_id"], row["image"]) == (item.product_id, item.image)
        assert row["label"] == item.attributes["category"]
        assert json.loads(row["attributes"]) == item.attributes


def test_labels(catalog: Catalog, items: list[Item], tmp_path: Path) -> None:
    catalog.add([Item("bare", items[0].image)])
    write_artefacts(catalog, tmp_path)
    ids = catalog.embeddings()[0]
    assert np.load(tmp_path / "labels.npy")[ids.index("bare")] == -1
    write_artefacts(catalog, tmp_path, label="product_id")  # over what is there
    told = read_elsewhere(tmp_path)
    assert told["class_names"] == sorted(f"P{number}" for number in range(8))
    write_artefacts(catalog, tmp_path, label="stock")
    assert read_elsewhere(tmp_path)["class_names"] == sorted(map(str, range(24)))


def test_fewer_items_than_neighbours(items: list[Item], tmp_path: Path) -> None:
    with Catalog.create(tmp_path / "catalog") as catalog:
        catalog.add(items[:3])
        write_artefacts(catalog, tmp_path / "out")
        check_answers(catalog, read_elsewhere(tmp_path / "out"))


def test_what_cannot_be_written(catalog: Catalog, items: list[Item], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_artefacts(catalog, tmp_path / "out", label="colour")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError):
        write_artefacts(catalog, tmp_path / "file")
    with pytest.raises(InvalidInputError):
        write_artefacts(catalog, tmp_path / "out", label="season")
    with (
        Catalog.create(tmp_path / "empty") as empty,
        pytest.raises(InvalidInputError),
    ):
        write_artefacts(empty, tmp_path / "out")


@pytest.mark.parametrize("missing", ["sklearn.neighbors", "pyarrow.parquet"])
def test_the_extras_that_it_takes(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"serupa\[report,parquet\]"):
        write_artefacts(catalog, tmp_path)
