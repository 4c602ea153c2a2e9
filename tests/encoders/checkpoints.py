"""Writes checkpoints without torch; draws random weights, and pictures to try them on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def write_safetensors(path: Path, arrays: Mapping[str, Array]) -> Path:
    from safetensors.numpy import save_file

    save_file({name: np.array(array, order="C") for name, array in arrays.items()}, path)
    return path


class Uniform:
    """Numbers that every version of NumPy draws alike: only a bit generator's raw stream is promised."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def __call__(self, low: float, high: float, shape: tuple[int, ...]) -> NDArray[np.float32]:
        raw = self._bits.random_raw(int(np.prod(shape))) >> np.uint64(11)
        values: NDArray[np.float64] = low + (high - low) * (raw * 2.0**-53)
        return values.astype(np.float32).reshape(shape)


def resnet50_state(seed: int = 0) -> OrderedDict[str, Array]:
    """A ResNet-50 in torchvision's layout, drawn so that no activation vanishes or explodes."""
    uniform = Uniform(seed)
    state: OrderedDict[str, Array] = OrderedDict()

    def conv(name: str, shape: tuple[int, int, int, int]) -> None:
        bound = float(np.sqrt(6 / np.prod(shape[1:])))  # He et al. 2015, uniform
        state[f"{name}.weight"] = uniform(-bound, bound, shape)

    def norm(name: str, width: int, gain: float = 1.0) -> None:
        state[f"{name}.weight"] = uniform(0.8 * gain, 1.2 * gain, (width,))
        state[f"{name}.bias"] = uniform(-0.1, 0.1, (width,))
        state[f"{name}.running_mean"] = uniform(-0.2, 0.2, (width,))
        state[f"{name}.running_var"] = uniform(0.5, 2.0, (width,))
        state[f"{name}.num_batches_tracked"] = np.array(1000, np.int64)

    conv("conv1", (64, 3, 7, 7))
    norm("bn1", 64)
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        width = 32 * 2**stage
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            conv(f"{name}.conv1", (width, channels, 1, 1))
            norm(f"{name}.bn1", width)
            conv(f"{name}.conv2", (width, width, 3, 3))
            norm(f"{name}.bn2", width)
            conv(f"{name}.conv3", (4 * width, width, 1, 1))
            norm(f"{name}.bn3", 4 * width, gain=0.3)
            if block == 0:
                conv(f"{name}.downsample.0", (4 * width, channels, 1, 1))
                norm(f"{name}.downsample.1", 4 * width)
            channels = 4 * width
    state["fc.weight"] = uniform(-0.02, 0.02, (1000, channels))
    state["fc.bias"] = uniform(-0.02, 0.02, (1000,))
    return state


def pictures(count: int, size: int) -> NDArray[np.uint8]:
    """Pictures with gradients, edges and noise, (n, size, size, 3); in whole numbers: the same everywhere."""
    bits = np.random.PCG64(7)
    rows, columns = np.mgrid[:size, :size]
    result = np.empty((count, size, size, 3), np.uint8)
    for number in range(count):
        cell = 8 + 6 * number
        for channel in range(3):
            raw = bits.random_raw(size * size + 64 * 64)
            noise = (raw[: size * size] >> np.uint64(59)).astype(np.int64).reshape(size, size)
            patches = (raw[size * size :] >> np.uint64(56)).astype(np.int64).reshape(64, 64)
            slope = (rows * (channel + 1) + columns * (number + 1)) % 256
            coarse = patches[(rows // cell) % 64, (columns // cell) % 64]
            result[number, :, :, channel] = (2 * coarse + slope) // 3 * 220 // 255 + noise
    return result
