"""Writes the ONNX graph of a convolutional encoder, with batch norm folded into the convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.errors import InvalidInputError

if TYPE_CHECKING:
    import onnx

    from serupa.encoders.cards import Card

OPSET = 17
_IR_VERSION = 8
_NAMED = 4


class GraphBuilder:
    """Takes weights out of a state dict and writes nodes; what is missing or left over is told at the end.

    Parameters
    ----------
    state : mapping of str to ndarray
        The state dict.
    card : Card
        Input size, mean and std.
    epsilon : float
        What batch norm adds to a variance.
    """

    def __init__(self, state: Mapping[str, NDArray[Any]], card: Card, epsilon: float) -> None:
        self._state = dict(state)
        self._card = card
        self._epsilon = epsilon
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._missing: list[str] = []
        self._misshaped: list[str] = []

    def take(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Take a weight out of the state dict; zeros where it is missing, so that all faults are found."""
        array = self._state.pop(name, None)
        if array is None:
            self._missing.append(name)
        elif array.shape != shape or array.dtype.kind != "f":
            self._misshaped.append(f"{name} ({array.dtype} {array.shape}, not {shape})")
        else:
            return array.astype(np.float64)
        return np.zeros(shape)

    def drop(self, *prefixes: str) -> None:
        """Forget weights that an encoder does not need, such as the classifier's."""
        for name in [name for name in self._state if name.startswith(prefixes)]:
            del self._state[name]

    def node(self, operator: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        from onnx import helper

        output = output or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, array: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        name = f"constant_{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def centred_pixels(self) -> str:
        """Add what turns ``pixels`` (n, s, s, 3) into float (n, 3, s, s) around 0; `conv_norm` scales them.

        The mean cannot be folded into the first convolution, whose padding is to be the mean: zero.
        """
        from onnx import TensorProto

        planes = self.node("Transpose", ["pixels"], perm=(0, 3, 1, 2))
        floats = self.node("Cast", [planes], to=TensorProto.FLOAT)
        mean = np.array(self._card.mean, np.float64) * 255
        return self.node("Sub", [floats, self.constant(mean.astype(np.float32).reshape(1, 3, 1, 1))])

    def conv_norm(
        self,
        x: str,
        conv: str,
        norm: str,
        shape: tuple[int, int, int, int],
        *,
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        stride: int = 1,
        groups: int = 1,
        from_pixels: bool = False,
    ) -> str:
        """Add a convolution without bias and the batch norm after it as one convolution.

        With g, b, m, v the norm's weight, bias, mean and variance: w' = w g / sqrt(v + eps), b' = b - m g /
        sqrt(v + eps), in float64. ``from_pixels`` divides the weights by ``255 std`` too.
        """
        weight = self.take(f"{conv}.weight", shape)
        out = shape[:1]
        scale, bias, mean, variance = (
            self.take(f"{norm}.{part}", out) for part in ("weight", "bias", "running_mean", "running_var")
        )
        self._state.pop(f"{norm}.num_batches_tracked", None)
        if (variance < 0).any():
            raise self._misfit(f"{norm}.running_var has values below 0: these are not trained weights")
        scale = scale / np.sqrt(variance + self._epsilon)
        weight = weight * scale[:, None, None, None]
        if from_pixels:
            weight = weight / (np.array(self._card.std, np.float64) * 255)[None, :, None, None]
        return self.node(
            "Conv",
            [x, self._single(weight, conv), self._single(bias - mean * scale, norm)],
            kernel_shape=shape[2:],
            strides=(stride, stride),
            pads=pads,
            group=groups,
        )

    def _single(self, array: NDArray[np.float64], name: str) -> str:
        with np.errstate(over="ignore"):
            single = array.astype(np.float32)
        if not np.isfinite(single).all():
            raise self._misfit(f"the weights of {name} are not finite numbers")
        return self.constant(single)

    def finish(self, outputs: Sequence[str] = ()) -> bytes:
        """Pool what the last node gives, the feature map, and return the model if every weight has its place.

        Other nodes named in ``outputs`` can be read, too.

        Raises
        ------
        InvalidInputError
            Naming the first few weights that do not fit.
        """
        from onnx import TensorProto, helper

        self._refuse_misfits()
        self._nodes[-1].output[0] = "feature_map"
        self.node("Flatten", [self.node("GlobalAveragePool", ["feature_map"])], "embedding", axis=1)
        card = self._card
        side = card.input_size
        graph = helper.make_graph(
            self._nodes,
            card.architecture,
            [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ("n", side, side, 3))],
            [
                helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ("n", card.dimension)),
                helper.make_tensor_value_info(
                    "feature_map", TensorProto.FLOAT, ("n", card.dimension, "h", "w")
                ),
                *(helper.make_empty_tensor_value_info(name) for name in outputs),
            ],
            self._initializers,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="serupa",
        )
        return bytes(model.SerializeToString())

    def _refuse_misfits(self) -> None:
        faults = {
            "missing": self._missing,
            "of another shape": self._misshaped,
            "unknown": sorted(self._state),
        }
        listed = [
            f"{len(names)} {kind}: {', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''}"
            for kind, names in faults.items()
            if names
        ]
        if listed:
            raise self._misfit(f"these are not weights of {self._card.architecture} ({'; '.join(listed)})")

    def _misfit(self, problem: str) -> InvalidInputError:
        return InvalidInputError(self._card.name, problem)


def half_weights(model: bytes) -> bytes:
    """Return a model whose convolutions keep their weights in half precision; it computes in single.

    The file is half as large, embeddings keep a cosine of 0.9999 to what they were.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    found = onnx.load_from_string(model)
    kernels = {node.input[1] for node in found.graph.node if node.op_type == "Conv"}
    tensors, casts = [], []
    for tensor in found.graph.initializer:
        if tensor.name in kernels:
            array = numpy_helper.to_array(tensor).astype(np.float16)
            tensors.append(numpy_helper.from_array(array, f"{tensor.name}_half"))
            casts.append(
                helper.make_node("Cast", [f"{tensor.name}_half"], [tensor.name], to=TensorProto.FLOAT)
            )
        else:
            tensors.append(tensor)
    nodes = [*casts, *found.graph.node]
    del found.graph.initializer[:], found.graph.node[:]
    found.graph.initializer.extend(tensors)
    found.graph.node.extend(nodes)
    return bytes(found.SerializeToString())
