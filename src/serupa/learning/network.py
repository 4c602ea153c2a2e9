"""EfficientNet-Lite0 as a PyTorch module that is trained from a block on, with batch norm as at inference.

The blocks before stay as they are, so what they give for a view can be kept and used in every later step.
Batch norm keeps its running mean and variance and is folded into the convolution before it at every step:
its weight and bias are learned, and a step touches each activation once less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as f
from numpy.typing import NDArray
from torch import Tensor, nn

from serupa.encoders.efficientnet import EPSILON, HEAD, STAGES, STEM

_PIECE = 32


class Network(nn.Module):  # type: ignore[misc]
    """The encoder.

    Parameters
    ----------
    state : mapping of str to ndarray
        The weights, by the names that `serupa.encoders.efficientnet.build_graph` knows.
    frozen : int
        How many blocks stay as they are; the stem always does.
    """

    def __init__(self, state: Mapping[str, NDArray[Any]], frozen: int) -> None:
        super().__init__()
        self.frozen = frozen
        self.stem = _ConvNorm(3, STEM, 3, stride=2, names=("_conv_stem", "_bn0"))
        blocks: list[_Block] = []
        channels = STEM
        for count, kernel, first_stride, expansion, out in STAGES:
            for stride in (first_stride, *[1] * (count - 1)):
                blocks.append(
                    _Block(len(blocks), channels, out, kernel=kernel, stride=stride, expansion=expansion)
                )
                channels = out
        self.blocks = nn.ModuleList(blocks)
        self.head = _ConvNorm(channels, HEAD, 1, names=("_conv_head", "_bn1"))
        self._load(state)
        for part in (self.stem, *self.blocks[:frozen]):
            part.requires_grad_(False)

    def front(self, pixels: Tensor) -> Tensor:
        """Return what the frozen part makes of pixels, uint8 (n, s, s, 3)."""
        x = f.relu6(self.stem((pixels.permute(0, 3, 1, 2).float() - 127) / 128))
        for block in self.blocks[: self.frozen]:
            x = block(x)
        return x

    def back(self, front: Tensor) -> Tensor:
        """Return the embeddings (n, d) of what `front` gave."""
        x = front
        for block in self.blocks[self.frozen :]:
            x = block(x)
        return f.relu6(self.head(x)).mean((2, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the embeddings (n, d) of pixels, uint8 (n, s, s, 3)."""
        return self.back(self.front(pixels))

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return HEAD

    def fronts(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return what `front` gives for any number of photos."""
        with torch.no_grad():
            found = [
                self.front(torch.from_numpy(pixels[start : start + _PIECE])).numpy().astype(np.float16)
                for start in range(0, len(pixels), _PIECE)
            ]
        return np.concatenate(found) if found else np.empty((0,), np.float16)

    def backs(self, fronts: NDArray[np.float16]) -> NDArray[np.float32]:
        """Return the embeddings of what `fronts` gave."""
        device = self.head.weight.device
        with torch.no_grad():
            found = [
                self.back(torch.from_numpy(fronts[start : start + _PIECE]).float().to(device)).cpu().numpy()
                for start in range(0, len(fronts), _PIECE)
            ]
        return np.concatenate(found) if found else np.empty((0, self.dimension), np.float32)

    def export(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights as they were given to the constructor."""
        state = {}
        for part in self._parts():
            conv, norm = part.names
            state[f"{conv}.weight"] = part.weight
            state[f"{norm}.weight"] = part.scale
            state[f"{norm}.bias"] = part.bias
            state[f"{norm}.running_mean"] = part.mean
            state[f"{norm}.running_var"] = part.variance
        return {name: tensor.detach().cpu().float().numpy().copy() for name, tensor in state.items()}

    def _parts(self) -> list[_ConvNorm]:
        return [part for part in self.modules() if isinstance(part, _ConvNorm)]

    def _load(self, state: Mapping[str, NDArray[Any]]) -> None:
        with torch.no_grad():
            for part in self._parts():
                conv, norm = part.names
                for tensor, name in (
                    (part.weight, f"{conv}.weight"),
                    (part.scale, f"{norm}.weight"),
                    (part.bias, f"{norm}.bias"),
                    (part.mean, f"{norm}.running_mean"),
                    (part.variance, f"{norm}.running_var"),
                ):
                    tensor.copy_(torch.from_numpy(np.array(state[name], np.float32)))


class _ConvNorm(nn.Module):  # type: ignore[misc]
    """A convolution without bias and the batch norm after it."""

    weight: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        names: tuple[str, str],
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.groups, self.names = kernel, stride, groups, names
        self.weight = nn.Parameter(torch.empty(out, channels // groups, kernel, kernel))
        self.scale = nn.Parameter(torch.empty(out))
        self.bias = nn.Parameter(torch.empty(out))
        self.register_buffer("mean", torch.empty(out))
        self.register_buffer("variance", torch.empty(out))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.scale * torch.rsqrt(self.variance + EPSILON)
        weight = self.weight * scale[:, None, None, None]
        bias = self.bias - self.mean * scale
        side = x.shape[-1]
        # TensorFlow's SAME padding: the odd pixel goes to the bottom and to the right
        total = max((math.ceil(side / self.stride) - 1) * self.stride + self.kernel - side, 0)
        before = total // 2
        if total % 2:
            x = f.pad(x, (before, total - before, before, total - before))
            before = 0
        if self.groups > 1 and x.device.type == "cpu" and torch.is_grad_enabled():
            x = x.to(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else x
            y: Tensor = _Depthwise.apply(x.contiguous(), weight.to(x.dtype), self.stride, before)
            return y + bias.to(x.dtype)[:, None, None]
        return f.conv2d(x, weight, bias, self.stride, before, 1, self.groups)


class _Block(nn.Module):  # type: ignore[misc]
    def __init__(
        self, number: int, channels: int, out: int, *, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide, name = channels * expansion, f"_blocks.{number}."
        self.expand = (
            _ConvNorm(channels, wide, 1, names=(f"{name}_expand_conv", f"{name}_bn0"))
            if expansion != 1
            else None
        )
        self.depthwise = _ConvNorm(
            wide, wide, kernel, stride=stride, groups=wide, names=(f"{name}_depthwise_conv", f"{name}_bn1")
        )
        self.project = _ConvNorm(wide, out, 1, names=(f"{name}_project_conv", f"{name}_bn2"))
        self.adds = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else f.relu6(self.expand(x))
        y = self.project(f.relu6(self.depthwise(y)))
        return x + y if self.adds else y


class _Depthwise(torch.autograd.Function):  # type: ignore[misc]
    """A depthwise convolution whose gradients are cheap on a processor.

    The library's own gradient of a strided one takes twenty times as long as the same as a convolution; that
    of 5 x 5 kernels, a fourth of the whole step, is estimated from every fourth photo of the batch.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return f.conv2d(x, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        stride, padding, kernel, channels = ctx.stride, ctx.padding, weight.shape[-1], len(weight)
        spread = gradient
        if stride > 1:
            height, width = gradient.shape[2:]
            spread = gradient.new_zeros(
                len(gradient), channels, (height - 1) * stride + 1, (width - 1) * stride + 1
            )
            spread[:, :, ::stride, ::stride] = gradient
        edge = kernel - 1 - padding
        rest = x.shape[-1] - (spread.shape[-1] + 2 * edge - kernel + 1)
        spread = f.pad(spread, (edge, edge + rest, edge, edge + rest))
        of_x = f.conv2d(spread, weight.flip(2, 3), None, 1, 0, 1, channels)
        of_weight = None
        if ctx.needs_input_grad[1]:
            every = _SAMPLED if kernel > 3 and len(x) >= 2 * _SAMPLED else 1
            _, of_weight, _ = torch.ops.aten.convolution_backward(
                gradient[::every].contiguous(),
                x[::every].contiguous(),
                weight,
                None,
                [stride, stride],
                [padding, padding],
                [1, 1],
                False,
                [0, 0],
                channels,
                [False, True, False],
            )
            of_weight = every * of_weight
        return of_x, of_weight, None, None


_SAMPLED = 4
