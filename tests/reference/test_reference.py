"""Make the stored references anew with PyTorch, and compare: `pytest -m reference`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from serupa.encoders import load_card, load_encoder
from serupa.encoders.checkpoint import read_checkpoint
from serupa.encoders.weights import find_weights
from tests.encoders.checkpoints import pictures, resnet50_state, write_safetensors
from tests.reference.make_reference import HERE, efficientnet_lite0, lite0_state, make, resnet50

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module", autouse=True)
def torch() -> None:
    pytest.importorskip("torch", reason="needs torch: run `make test-reference`")
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs it: run `make test-reference`")


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray((left * right).sum(1) / lengths)


def photos(folder: Path) -> NDArray[np.uint8]:
    """Every 20th photo of a folder, as the default encoder sees it."""
    encoder = load_encoder("efficientnet-lite0")
    return np.stack([encoder.preprocess(path) for path in sorted(folder.rglob("*.jpg"))[::20]])


@pytest.fixture(scope="module")
def remade(torch: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("remade")
    make(folder)
    return folder


def test_the_stored_references_are_what_torch_gives(remade: Path) -> None:
    stored = sorted(path.name for path in HERE.glob("*.npz"))
    assert stored == sorted(path.name for path in remade.glob("*.npz"))
    for name in stored:
        with np.load(HERE / name) as old, np.load(remade / name) as new:
            assert old.files == new.files
            for key in old.files:
                scale = np.abs(new[key]).max(initial=0)
                np.testing.assert_allclose(
                    old[key], new[key], rtol=1e-4, atol=1e-5 * scale, err_msg=f"{name}: {key}"
                )


def test_the_weights_that_come_with_serupa_are_the_packages(torch: None) -> None:
    ours = read_checkpoint(find_weights(load_card("efficientnet-lite0")).path)
    theirs = {name: tensor.numpy() for name, tensor in lite0_state().items() if not name.startswith("_fc.")}
    assert ours.keys() == {name for name in theirs if not name.endswith("num_batches_tracked")}
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])


def test_efficientnet_lite0_on_luma(luma: Path) -> None:
    pixels = photos(luma)
    assert (
        cosines(
            load_encoder("efficientnet-lite0").encode(pixels), efficientnet_lite0(pixels)["embedding"]
        ).min()
        > 0.9999
    )


def test_efficientnet_lite0_on_clothing(clothing: Path) -> None:
    pixels = photos(clothing)
    assert (
        cosines(
            load_encoder("efficientnet-lite0").encode(pixels), efficientnet_lite0(pixels)["embedding"]
        ).min()
        > 0.9999
    )


def test_resnet50_with_other_weights(tmp_path: Path) -> None:
    state = resnet50_state(seed=1)
    path = write_safetensors(tmp_path / "w.safetensors", state)
    pixels = pictures(2, 224)
    expected = resnet50(pixels, state)
    encoder = load_encoder("resnet50", weights=path)
    path.unlink()
    np.testing.assert_allclose(encoder.encode(pixels), expected["embedding"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(encoder.feature_maps(pixels), expected["feature_map"], rtol=1e-4, atol=1e-3)
