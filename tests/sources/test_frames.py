"""Tables in memory: pandas, Arrow, and what Polars and Hugging Face give."""

from __future__ import annotations

import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serupa import Catalog
from serupa.items import Failure
from serupa.sources import count_source, read_source
from tests.conftest import draw_photo
from tests.sources.made import photos, read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    return tmp_path


def test_pandas(folder: Path) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "image": [str(folder / f"{n}.jpg") for n in (1, 2, 3)],
            "product_id": [101.0, None, 103.0],
            "price": [1.5, float("nan"), 3.0],
            "stock": pd.array([1, None, 3], dtype="Int64"),
            "color": pd.Categorical(["red", None, "blue"]),
            "sale": pd.array([True, None, False], dtype="boolean"),
            "tags": [["a", "b"], None, np.array(["c"])],
            "day": pd.to_datetime(["2024-05-06", None, "2024-05-07"]),
            "ratio": np.array([0.5, 1.0, 2.0], np.float32),
            "cost": ["$5.00", None, "$1,200.00"],
        },
        index=[10, 20, 30],
    )
    assert count_source(frame) == 3
    one, two, three = read(frame)
    assert (one.product_id, two.product_id, three.product_id) == ("101", None, "103")
    assert one.attributes == {
        "price": 1.5, "stock": 1, "color": "red", "sale": True, "tags": ["a", "b"],
        "day": "2024-05-06T00:00:00",         "ratio": 0.5, "cost": 5.0, "currency": "USD",
    }  # fmt: skip
    assert two.attributes == {"ratio": 1.0}
    assert three.attributes["tags"] == ["c"] and three.attributes["cost"] == 1200.0
    (failure,) = (e for e in read_source(pd.DataFrame({"image": [None]})) if isinstance(e, Failure))
    assert "row 1: no image" in failure.reason


def test_arrow_and_whatever_gives_its_stream(folder: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"image": [str(folder / "1.jpg")], "when": [datetime.date(2024, 5, 6)], "price": [2]})

    class Streaming:
        """As Polars and DuckDB have it: columns, and Arrow's stream."""

        columns = table.column_names

        def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
            return table.__arrow_c_stream__(requested_schema)

    for frame in (table, Streaming()):
        (item,) = read(frame)
        assert item.attributes == {"when": "2024-05-06", "price": 2}


def test_a_data_set_of_hugging_face(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    data = [draw_photo(tmp_path / f"{n}.png", n).read_bytes() for n in range(3)]
    images = [{"bytes": one, "path": f"{n}.png"} for n, one in enumerate(data)]

    class Dataset:
        """What `datasets.Dataset` gives of itself."""

        column_names = ("image", "label")

        @property
        def features(self) -> dict[str, Any]:
            return {"image": object(), "label": SimpleNamespace(names=["dress", "hat"])}

        def __len__(self) -> int:
            return 3

        def with_format(self, kind: str) -> Dataset:
            assert kind == "arrow"
            return self

        def iter(self, batch_size: int) -> Any:
            yield pa.table({"image": images, "label": [0, 1, None]})

    assert count_source(Dataset()) == 3
    one, two, three = read(Dataset())
    assert (one.id, one.attributes, two.attributes) == ("0.png", {"label": "dress"}, {"label": "hat"})
    assert three.attributes == {}
    with Catalog.create(tmp_path / "c") as catalog:
        assert catalog.add(Dataset()).added == 3
        assert catalog.search(data[1], 1)[0].item.id == "1.png"


def test_pictures_in_memory(folder: Path) -> None:
    pd = pytest.importorskip("pandas")
    picture = Image.new("RGB", (16, 12), "red")
    frame = pd.DataFrame({"image": [picture, np.zeros((9, 16, 3), np.uint8), "text"]})
    one, two, failure = read_source(frame)
    assert Image.open(one.image).size == (16, 12) and Image.open(two.image).size == (16, 9)
    assert isinstance(failure, Failure)


def test_hits_as_a_table_and_in_a_notebook(catalog: Catalog, items: list[Any]) -> None:
    pytest.importorskip("pandas")
    result = catalog.search(items[0].image, 3)
    table = result.to_pandas()
    assert list(table["id"]) == [hit.item.id for hit in result]
    assert list(table["price"]) == [hit.item.attributes["price"] for hit in result]
    drawn = result._repr_html_()
    assert drawn.count("<img") == 3 and "data:image/jpeg;base64," in drawn
    assert list(catalog.search(items[0].image, 3, where={"price": {"gt": 1e6}}).to_pandas()["id"]) == []
