"""A small training run on the sample catalogue, with PyTorch: `make test-reference`."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from serupa.encoders import load_encoder
from serupa.encoders.checkpoint import read_checkpoint
from serupa.encoders.efficientnet import build_graph
from serupa.encoders.weights import find_weights
from serupa.errors import ConflictError
from serupa.evaluation.comparison import Difference

pytestmark = [pytest.mark.reference, pytest.mark.timeout(600)]
pytest.importorskip("torch", reason="needs torch: run `make test-reference`")

from serupa.learning import run, training  # noqa: E402 - after the check

RECIPE = training.Recipe(steps=40, pairs=16, rounds=4, side=128)


class StoppedError(Exception):
    pass


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from serupa_sample import write_sample

    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder)
    return folder / "catalog.csv"


@pytest.fixture(scope="module")
def trained(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> training.Trained:
    return training.train([sample], tmp_path_factory.mktemp("trained"), name="own", recipe=RECIPE)


def test_products_that_were_held_back_are_told_better(trained: training.Trained) -> None:
    assert trained.held >= 20
    gains: dict[str, Difference] = {label: found[0] for label, found in trained.gains.items()}
    assert gains["product"].difference > 0
    assert gains["kind"].better


def test_the_card_is_one_that_every_command_takes(trained: training.Trained, sample: Path) -> None:
    encoder = load_encoder(str(trained.card))
    assert encoder.name == "own"
    photo = next(sample.parent.rglob("*.jpg"))
    pixels = encoder.preprocess(photo)[None]
    embedding, maps = encoder.encode(pixels), encoder.feature_maps(pixels)
    np.testing.assert_allclose(maps.mean((2, 3)), embedding, atol=1e-4)
    start = load_encoder(training.START).encode(pixels)
    cosine = (start * embedding).sum() / np.linalg.norm(start) / np.linalg.norm(embedding)
    assert cosine < 0.99
    assert trained.model.stat().st_size < 8_000_000


def test_the_model_is_what_torch_computes(sample: Path) -> None:
    import onnxruntime as ort
    import torch

    from serupa.learning.network import Network

    encoder = load_encoder(training.START)
    state = read_checkpoint(find_weights(encoder.card).path)
    rng = np.random.default_rng(0)
    state = {
        name: value * rng.uniform(0.9, 1.1, value.shape).astype(np.float32)
        if value.dtype.kind == "f"
        else value
        for name, value in state.items()
    }
    network = Network(state, 6)
    photos = sorted(sample.parent.rglob("*.jpg"))[::60]
    pixels = np.stack([encoder.preprocess(photo) for photo in photos])
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels)).numpy()
    session = ort.InferenceSession(build_graph(network.export(), encoder.card))
    (found,) = session.run(["embedding"], {"pixels": pixels})
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_gradients_of_depthwise_convolutions_are_those_of_the_library() -> None:
    import torch
    import torch.nn.functional as f

    from serupa.learning.network import _Depthwise

    generator = torch.Generator().manual_seed(0)
    for kernel, stride, side in ((3, 1, 12), (3, 2, 13), (5, 1, 12), (5, 2, 15)):
        padding = 0 if stride == 2 else kernel // 2
        # four photos: every one of them is looked at
        x = torch.randn((4, 6, side, side), generator=generator, requires_grad=True)
        weight = torch.randn((6, 1, kernel, kernel), generator=generator, requires_grad=True)
        f.conv2d(x, weight, None, stride, padding, 1, 6).pow(2).sum().backward()
        assert x.grad is not None
        assert weight.grad is not None
        expected = x.grad.clone(), weight.grad.clone()
        x.grad = weight.grad = None
        _Depthwise.apply(x, weight, stride, padding).pow(2).sum().backward()
        torch.testing.assert_close(x.grad, expected[0], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(weight.grad, expected[1], rtol=1e-3, atol=1e-3)


def test_stopped_and_called_again_it_ends_with_the_same_weights(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_SAVED_EVERY", 4)
    recipe = dataclasses.replace(RECIPE, steps=10, rounds=2, pairs=8)
    whole = training.train([sample], tmp_path / "whole", name="own", recipe=recipe)

    for moment in (("preparing", 200), ("training", 1), ("loss", 7)):

        def stop(doing: str, done: int, _total: int, moment: tuple[str, int] = moment) -> None:
            if doing.startswith(moment[0]) and done >= moment[1]:
                raise StoppedError

        with contextlib.suppress(StoppedError):
            training.train([sample], tmp_path / "parts", name="own", recipe=recipe, progress=stop)
    again = training.train([sample], tmp_path / "parts", name="own", recipe=recipe)
    assert again.model.read_bytes() == whole.model.read_bytes()
    assert again.losses == whole.losses


def test_a_folder_with_another_run_is_refused(trained: training.Trained, sample: Path) -> None:
    with pytest.raises(ConflictError, match="another recipe"):
        training.train([sample], trained.card.parent, recipe=dataclasses.replace(RECIPE, seed=1))
