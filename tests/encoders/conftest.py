"""A network of one convolution, as an ONNX card of one's own, and random weights of a whole ResNet-50."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.encoders.checkpoints import Array, resnet50_state

SIDE = 32
DIMENSION = 5
MEAN = (0.5, 0.4, 0.3)
STD = (0.2, 0.25, 0.5)
CARD = f"""
architecture = "onnx"
dimension = {DIMENSION}
input_size = {SIDE}
mean = {list(MEAN)}
std = {list(STD)}
resize = "pad"
resample = "bicubic"

[weights]
file = "model.onnx"

[onnx]
input = "image"
layout = "LAYOUT"
output = "vector"
feature_map = "maps"
"""


def tiny_weights() -> Array:
    return np.random.default_rng(3).standard_normal((DIMENSION, 3, 1, 1)).astype(np.float32)


def tiny_model(
    layout: str = "NCHW", kind: int = TensorProto.FLOAT, batch: int | str = "n"
) -> onnx.ModelProto:
    """A 1 x 1 convolution and its mean, for each way to give it pixels."""
    shape = (batch, 3, SIDE, SIDE) if layout == "NCHW" else (batch, SIDE, SIDE, 3)
    nodes = [helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT)]
    planes = "float"
    if layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [planes], ["planes"], perm=(0, 3, 1, 2)))
        planes = "planes"
    nodes += [
        helper.make_node("Conv", [planes, "weight"], ["maps"]),
        helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["vector"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", kind, shape)],
        [
            helper.make_tensor_value_info("vector", TensorProto.FLOAT, (batch, DIMENSION)),
            helper.make_tensor_value_info("maps", TensorProto.FLOAT, (batch, DIMENSION, SIDE, SIDE)),
            helper.make_tensor_value_info("pooled", TensorProto.FLOAT, (batch, DIMENSION, 1, 1)),
        ],
        [numpy_helper.from_array(tiny_weights(), "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


WriteCard = Callable[..., Path]


@pytest.fixture
def write_card(tmp_path: Path) -> WriteCard:
    """Write a card and its model into a folder; returns the card's path."""

    def write(layout: str = "NCHW", replace: tuple[str, str] = ("", ""), **model: Any) -> Path:
        onnx.save(tiny_model(layout, **model), tmp_path / "model.onnx")
        card = tmp_path / "tiny.toml"
        card.write_text(CARD.replace("LAYOUT", layout).replace(*replace))
        return card

    return write


@pytest.fixture(scope="session")
def resnet_state() -> dict[str, Array]:
    return resnet50_state()
