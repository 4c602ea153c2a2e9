"""The graphs give PyTorch's numbers: compared with small stored outputs, so without PyTorch."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from serupa.encoders import Card, Encoder, load_card, load_encoder
from serupa.encoders.graph import GraphBuilder
from serupa.errors import InvalidInputError
from tests.encoders.checkpoints import Array, pictures, write_safetensors
from tests.reference.make_reference import COUNT, HERE, MAP_STEP, ODD_SIZE


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray((left * right).sum(1) / lengths)


def compare(encoder: Encoder, pixels: NDArray[np.uint8], name: str) -> None:
    embeddings = encoder.encode(pixels)
    maps = encoder.feature_maps(pixels)
    with np.load(HERE / f"{name}.npz") as reference:
        assert cosines(embeddings, reference["embedding"]).min() > 0.99999
        scale = np.abs(reference["embedding"]).mean()
        np.testing.assert_allclose(embeddings, reference["embedding"], rtol=1e-4, atol=1e-4 * scale)
        largest = np.abs(reference["feature_map"]).max()
        np.testing.assert_allclose(
            maps[:, ::MAP_STEP], reference["feature_map"], rtol=1e-4, atol=1e-4 * largest
        )
    np.testing.assert_allclose(maps.mean((2, 3)), embeddings, rtol=1e-5, atol=1e-5)


def test_efficientnet_lite0() -> None:
    compare(load_encoder("efficientnet-lite0"), pictures(COUNT, 224), "efficientnet-lite0")


def test_efficientnet_lite0_pads_odd_sides_as_it_was_trained() -> None:
    card = msgspec.structs.replace(load_card("efficientnet-lite0"), input_size=ODD_SIZE)
    compare(load_encoder(card), pictures(2, ODD_SIZE), "efficientnet-lite0-200")


def test_resnet50(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resnet_state: dict[str, Array]) -> None:
    monkeypatch.setenv("SERUPA_CACHE", str(tmp_path / "cache"))
    path = write_safetensors(tmp_path / "w.safetensors", resnet_state)
    compare(load_encoder("resnet50", weights=path), pictures(COUNT, 224), "resnet50")
    for file in [path, *tmp_path.glob("cache/*/*")]:
        file.unlink()  # a third of a gigabyte that pytest would keep


def build(state: dict[str, Array]) -> bytes:
    from serupa.encoders import resnet

    return resnet.build_graph(state, load_card("resnet50"))


def test_the_classifier_may_be_missing(resnet_state: dict[str, Array]) -> None:
    bare = {name: array for name, array in resnet_state.items() if not name.startswith("fc.")}
    bare = {name: array for name, array in bare.items() if not name.endswith("num_batches_tracked")}
    assert build(bare) == build(resnet_state)


def test_weights_that_do_not_fit_are_named(resnet_state: dict[str, Array]) -> None:
    state = dict(resnet_state)
    del state["layer1.0.conv1.weight"]
    state["conv1.weight"] = np.zeros((64, 3, 3, 3), np.float32)
    state["bn1.weight"] = np.zeros(64, np.int64)
    state |= {f"head.{number}": np.zeros(1, np.float32) for number in range(9)}
    with pytest.raises(InvalidInputError) as caught:
        build(state)
    assert caught.value.problem == (
        "these are not weights of resnet50 (1 missing: layer1.0.conv1.weight; 2 of another shape: "
        "conv1.weight (float32 (64, 3, 3, 3), not (64, 3, 7, 7)), bn1.weight (int64 (64,), not (64,)); "
        "9 unknown: head.0, head.1, head.2, head.3, ...)"
    )


def test_weights_of_another_architecture_are_named_with_their_file(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "other.safetensors", {"a": np.zeros(1, np.float32)})
    with pytest.raises(
        InvalidInputError, match=r"other\.safetensors: these are not weights of efficientnet-lite0 \(2"
    ):
        load_encoder("efficientnet-lite0", weights=path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bn1.running_var", -1.0, "bn1.running_var has values below 0"),
        ("bn1.bias", np.nan, "the weights of bn1 are not finite"),
        ("conv1.weight", np.inf, "the weights of conv1 are not finite"),
    ],
)
def test_damaged_numbers_are_refused(
    resnet_state: dict[str, Array], name: str, value: float, message: str
) -> None:
    state = {**resnet_state, name: resnet_state[name].copy()}
    state[name].flat[0] = value
    with pytest.raises(InvalidInputError, match=message):
        build(state)


def test_batch_norm_is_folded_in_double_precision() -> None:
    rng = np.random.default_rng(0)
    state = {
        "conv.weight": rng.standard_normal((4, 3, 1, 1)).astype(np.float16),
        "norm.weight": rng.standard_normal(4).astype(np.float32),
        "norm.bias": rng.standard_normal(4).astype(np.float32),
        "norm.running_mean": rng.standard_normal(4).astype(np.float32),
        "norm.running_var": rng.random(4).astype(np.float32),
    }
    card = Card.from_dict({**load_card("resnet50").to_dict(), "input_size": 32})
    graph = GraphBuilder(state, card, epsilon=1e-5)
    graph.conv_norm(graph.centred_pixels(), "conv", "norm", (4, 3, 1, 1), from_pixels=True)
    import onnxruntime as ort

    pixels = rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
    session = ort.InferenceSession(graph.finish(), providers=["CPUExecutionProvider"])
    (maps,) = session.run(["feature_map"], {"pixels": pixels})

    inputs = ((pixels / 255 - card.mean) / card.std).transpose(0, 3, 1, 2)
    plain = np.einsum("oc,nchw->nohw", state["conv.weight"][:, :, 0, 0].astype(np.float64), inputs)
    gain, bias, mean, variance = (
        state[f"norm.{part}"].astype(np.float64)[:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    expected = (plain - mean) / np.sqrt(variance + 1e-5) * gain + bias
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-5)
