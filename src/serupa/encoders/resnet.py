"""ResNet-50: state dict to ONNX graph.

Architecture: He et al., Deep Residual Learning for Image Recognition (2015), with the stride in the 3 x 3
convolution of a block ("v1.5"), as torchvision and timm have it; key names: theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from serupa.encoders.graph import GraphBuilder

if TYPE_CHECKING:
    from serupa.encoders.cards import Card

_EPSILON = 1e-5
_BLOCKS = (3, 4, 6, 3)
_EXPANSION = 4


def build_graph(state: Mapping[str, NDArray[Any]], card: Card) -> bytes:
    """Return the ONNX model of a state dict: ``pixels`` (n, s, s, 3) to ``embedding`` and ``feature_map``.

    Raises
    ------
    InvalidInputError
        If the state dict is not of this architecture.
    """
    graph = GraphBuilder(state, card, _EPSILON)
    graph.drop("fc.")
    x = graph.conv_norm(
        graph.centred_pixels(),
        "conv1",
        "bn1",
        (64, 3, 7, 7),
        stride=2,
        pads=(3, 3, 3, 3),
        from_pixels=True,
    )
    x = graph.node("Relu", [x])
    x = graph.node("MaxPool", [x], kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    channels = 64
    for stage, blocks in enumerate(_BLOCKS):
        width = 64 * 2**stage
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _bottleneck(
                graph, x, f"layer{stage + 1}.{block}", channels=channels, width=width, stride=stride
            )
            channels = width * _EXPANSION
    return graph.finish()


def _bottleneck(graph: GraphBuilder, x: str, name: str, *, channels: int, width: int, stride: int) -> str:
    out = width * _EXPANSION

    def conv(x: str, conv: str, norm: str, shape: tuple[int, int, int, int], stride: int = 1) -> str:
        pad = shape[-1] // 2
        return graph.conv_norm(
            x,
            f"{name}.{conv}",
            f"{name}.{norm}",
            shape,
            stride=stride,
            pads=(pad, pad, pad, pad),
        )

    y = graph.node("Relu", [conv(x, "conv1", "bn1", (width, channels, 1, 1))])
    y = graph.node("Relu", [conv(y, "conv2", "bn2", (width, width, 3, 3), stride)])
    y = conv(y, "conv3", "bn3", (out, width, 1, 1))
    if stride != 1 or channels != out:
        x = conv(x, "downsample.0", "downsample.1", (out, channels, 1, 1), stride)
    return graph.node("Relu", [graph.node("Add", [y, x])])
