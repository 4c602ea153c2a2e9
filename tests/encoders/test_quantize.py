"""Quantising a small network, on drawn photos: it is quick, and every step is the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from serupa.encoders import load_card, load_encoder
from serupa.encoders import quantize as quantizing
from serupa.encoders.quantize import quantize
from serupa.encoders.session import NEEDS
from serupa.errors import InvalidInputError, UnavailableError, UsageError

SIDE = 32
DIMENSION = 16
CARD = f"""
architecture = "onnx"
dimension = {DIMENSION}
input_size = {SIDE}
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
resize = "squash"
resample = "bilinear"
licence = "CC0-1.0"

[weights]
file = "small.onnx"

[onnx]
input = "pixels"
layout = "NHWC"
output = "embedding"
feature_map = "feature_map"
"""


def small_model(kind: int = TensorProto.UINT8) -> onnx.ModelProto:
    """Two convolutions and their mean, from pixels as our own graphs take them."""
    draw = np.random.default_rng(5)
    weights = {
        "mean": np.full((1, 3, 1, 1), 127.5, np.float32),
        "first": draw.normal(0, 0.004, (12, 3, 3, 3)).astype(np.float32),
        "second": draw.normal(0, 0.2, (DIMENSION, 12, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=(0, 3, 1, 2)),
        helper.make_node("Cast", ["planes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["floats", "mean"], ["centred"]),
        helper.make_node("Conv", ["centred", "first"], ["one"], strides=(2, 2)),
        helper.make_node("Relu", ["one"], ["bent"]),
        helper.make_node("Conv", ["bent", "second"], ["two"]),
        helper.make_node("Relu", ["two"], ["feature_map"]),
        helper.make_node("GlobalAveragePool", ["feature_map"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", kind, ("n", SIDE, SIDE, 3))],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ("n", DIMENSION)),
            helper.make_tensor_value_info("feature_map", TensorProto.FLOAT, ("n", DIMENSION, 13, 13)),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    onnx.save(small_model(), tmp_path / "small.onnx")
    (tmp_path / "small.toml").write_text(CARD)
    return tmp_path / "small.toml"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw = np.random.default_rng(1)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(24):
        coarse = draw.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(coarse).resize((48, 48)).save(folder / f"{number:02}.png")
    (folder / "broken.png").write_bytes(b"not a photo")
    return folder


def test_a_quantised_encoder_is_an_encoder(card: Path, photos: Path, tmp_path: Path) -> None:
    made = quantize(str(card), photos, out=tmp_path / "out")
    assert made.photos == 24
    assert made.cosine >= quantizing.MEAN_COSINE
    assert made.method in ("minmax", "percentile", "entropy")
    assert made.precision is None  # photos of a folder have no product
    in_float, quantized = load_encoder(str(card)), load_encoder(str(made.card))
    assert quantized.name == "small-int8"
    assert load_card(made.card).source == in_float.card.source
    pixels = np.stack([in_float.preprocess(path) for path in sorted(photos.glob("[0-9]*.png"))])
    expected, found = in_float.encode(pixels), quantized.encode(pixels)
    cosine = (expected * found).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(cosine.mean(), made.cosine, atol=1e-3)
    np.testing.assert_allclose(quantized.feature_maps(pixels).mean((2, 3)), found, atol=1e-4)
    types = {node.op_type for node in onnx.load(made.model).graph.node}
    assert "QuantizeLinear" in types


def test_a_catalogue_can_use_it(card: Path, photos: Path, tmp_path: Path) -> None:
    from serupa import Catalog

    made = quantize(str(card), photos, out=tmp_path / "out")
    with Catalog.create(tmp_path / "catalog", encoder=str(made.card)) as catalog:
        assert catalog.add(photos).added == 24
        (hit,) = catalog.search(photos / "03.png", k=1)
        assert hit.item.id == "03.png"


def test_refuses_what_is_not_good_enough(
    card: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantizing, "MEAN_COSINE", 1.01)
    with pytest.raises(InvalidInputError, match=r"small: not quantised: .* mean cosine of [01]\.\d+"):
        quantize(str(card), photos, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_refuses_too_few_photos(card: Path, photos: Path, tmp_path: Path) -> None:
    for path in sorted(photos.glob("[0-9]*.png"))[10:]:
        path.unlink()
    with pytest.raises(InvalidInputError, match="10 photos can be used; calibration needs 16"):
        quantize(str(card), photos, out=tmp_path / "out")


def test_an_encoder_of_the_hub_has_files_of_its_own(photos: Path) -> None:
    with pytest.raises(UsageError, match=r"take the hub's own files: hf:a/b\+int8"):
        quantize("hf:a/b", photos)


def test_seven_bits_without_vnni(
    card: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantizing, "has_vnni", lambda: False)
    made = quantize(str(card), photos, out=tmp_path / "out")
    model = onnx.load(made.model)
    signed = [numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == TensorProto.INT8]
    assert max(int(abs(array.astype(int)).max()) for array in signed if array.ndim == 4) <= 64
    assert NEEDS not in {entry.key for entry in model.metadata_props}


def test_eight_bits_are_refused_without_vnni(
    card: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantizing, "has_vnni", lambda: True)
    made = quantize(str(card), photos, out=tmp_path / "out")
    monkeypatch.setattr("serupa.encoders.session.has_vnni", lambda: False)
    with pytest.raises(UnavailableError, match="quantised for processors with VNNI"):
        load_encoder(str(made.card))


def test_precision_counts_products_with_several_photos() -> None:
    embeddings = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9], [0.5, 0.5]], np.float32)
    labels = np.array(["a", "a", "b", "c", "b"])
    assert quantizing._precision_at_1(embeddings, labels) == 0.5
    assert quantizing._precision_at_1(embeddings, np.array(list("abcde"))) is None


def test_photos_are_taken_in_runs() -> None:
    items = list(range(5000))
    taken = quantizing._spread(items)  # type: ignore[arg-type]
    assert len(taken) == 1000
    assert taken[:51] == [*range(50), taken[50]]  # type: ignore[comparison-overlap]
    assert taken[-1] == 4999  # type: ignore[comparison-overlap]


def test_looks_for_sensitive_layers_only_where_it_pays(
    card: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(quantizing, "_FAITHFUL", 0.99)
    assert not quantize(str(card), photos, out=tmp_path / "faithful", tell=told.append).kept_float
    assert not any("sensitive" in line for line in told)
    monkeypatch.setattr(quantizing, "_FAITHFUL", 1.01)
    quantize(str(card), photos, out=tmp_path / "not", tell=told.append)
    assert any("sensitive" in line for line in told)
