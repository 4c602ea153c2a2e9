"""EfficientNet-Lite0: state dict to ONNX graph.

Architecture: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (no squeeze and
excitation, ReLU6 for swish); key names: those of ``efficientnet_pytorch`` and its descendants.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.encoders.graph import GraphBuilder

if TYPE_CHECKING:
    from serupa.encoders.cards import Card

EPSILON = 1e-3
STEM = 32
HEAD = 1280
# blocks, kernel, stride of the first, expansion, channels
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


FRONT = "front"


def build_graph(state: Mapping[str, NDArray[Any]], card: Card, *, front: int | None = None) -> bytes:
    """Return the ONNX model of a state dict: ``pixels`` (n, s, s, 3) to ``embedding`` and ``feature_map``.

    With ``front``, what the stem and as many blocks make of the pixels is an output, too.

    Raises
    ------
    InvalidInputError
        If the state dict is not of this architecture.
    """
    graph = GraphBuilder(state, card, EPSILON)
    graph.drop("_fc.")
    zero, six = (graph.constant(np.array(value, np.float32)) for value in (0, 6))

    def relu6(x: str) -> str:
        return graph.node("Clip", [x, zero, six])

    side = card.input_size
    x = graph.centred_pixels()
    pads = _same_pads(side, 3, 2)
    x = relu6(
        graph.conv_norm(x, "_conv_stem", "_bn0", (STEM, 3, 3, 3), stride=2, pads=pads, from_pixels=True)
    )
    side = math.ceil(side / 2)
    channels = STEM
    block = 0
    for blocks, kernel, first_stride, expansion, out in STAGES:
        for stride in (first_stride, *[1] * (blocks - 1)):
            name = f"_blocks.{block}"
            wide = channels * expansion
            y = x
            if expansion != 1:
                shape = (wide, channels, 1, 1)
                y = relu6(graph.conv_norm(y, f"{name}._expand_conv", f"{name}._bn0", shape))
            depthwise = graph.conv_norm(
                y,
                f"{name}._depthwise_conv",
                f"{name}._bn1",
                (wide, 1, kernel, kernel),
                stride=stride,
                pads=_same_pads(side, kernel, stride),
                groups=wide,
            )
            shape = (out, wide, 1, 1)
            y = graph.conv_norm(relu6(depthwise), f"{name}._project_conv", f"{name}._bn2", shape)
            x = graph.node("Add", [y, x]) if stride == 1 and channels == out else y
            if block + 1 == front:
                x = graph.node("Identity", [x], FRONT)
            side = math.ceil(side / stride)
            channels = out
            block += 1
    relu6(graph.conv_norm(x, "_conv_head", "_bn1", (HEAD, channels, 1, 1)))
    return graph.finish(() if front is None else (FRONT,))


def _same_pads(side: int, kernel: int, stride: int) -> tuple[int, int, int, int]:
    """TensorFlow's SAME padding for a square input: the odd pixel goes to the bottom and to the right."""
    total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
    before = total // 2
    return before, before, total - before, total - before
