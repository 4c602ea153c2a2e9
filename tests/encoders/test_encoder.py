from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from serupa import Catalog
from serupa.encoders import DEFAULT, Encoder, describe, load_card, load_encoder
from serupa.encoders.session import available_cpus, choose_providers
from serupa.errors import (
    DamagedError,
    InvalidInputError,
    SerupaError,
    UnavailableError,
    UsageError,
)
from tests.conftest import draw_photo
from tests.encoders.checkpoints import pictures
from tests.encoders.conftest import DIMENSION, MEAN, SIDE, STD, WriteCard, tiny_model, tiny_weights


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder()


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)


# --- what every encoder does


def test_what_is_known_of_the_default(encoder: Encoder) -> None:
    assert (encoder.name, encoder.dimension, encoder.input_size) == (DEFAULT, 1280, 224)
    assert encoder.card == load_card(DEFAULT)
    assert encoder.weights_sha256 == encoder.card.weights.sha256
    assert repr(encoder) == f"Encoder('{DEFAULT}', weights {encoder.weights_sha256[:12]})"


@pytest.mark.parametrize("count", [0, 1, 2, 19])
def test_any_number_of_photos(encoder: Encoder, count: int) -> None:
    photos = pictures(4, 224)[np.arange(count) % 4]
    embeddings = encoder.encode(photos)
    maps = encoder.feature_maps(photos)
    assert (embeddings.dtype, embeddings.shape) == (np.float32, (count, 1280))
    assert (maps.dtype, maps.shape) == (np.float32, (count, 1280, 7, 7))
    np.testing.assert_allclose(maps.mean((2, 3)), embeddings, rtol=1e-5, atol=1e-5)
    for number in range(count):  # a photo's embedding does not depend on its company
        alone = encoder.encode(photos[number : number + 1])[0]
        np.testing.assert_allclose(embeddings[number], alone, rtol=1e-4, atol=1e-5)


def test_pixels_may_lie_anyhow_in_memory(encoder: Encoder) -> None:
    photos = pictures(4, 224)
    np.testing.assert_array_equal(encoder.encode(photos[::2, ::-1]), encoder.encode(photos[::2, ::-1].copy()))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((224, 224, 3), np.uint8),
        np.zeros((1, 3, 224, 224), np.uint8),
        np.zeros((1, 225, 224, 3), np.uint8),
        np.zeros((1, 224, 224, 3), np.float32),
        [[0]],
    ],
)
def test_other_pixels_are_refused(encoder: Encoder, wrong: NDArray[np.uint8]) -> None:
    for method in (encoder.encode, encoder.feature_maps):
        with pytest.raises(UsageError, match=r"takes pixels as uint8 \(n, 224, 224, 3\), not "):
            method(wrong)


def test_threads_may_share_it(encoder: Encoder) -> None:
    photos = pictures(4, 224)
    expected = encoder.encode(photos)
    found: list[NDArray[np.float32]] = []
    threads = [
        threading.Thread(target=lambda: found.extend(encoder.encode(photos) for _ in range(5)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert all(np.array_equal(expected, embeddings) for embeddings in found)


def test_a_photo(encoder: Encoder, tmp_path: Path) -> None:
    photo = draw_photo(tmp_path / "photo.png", 1)
    shown = encoder.preprocess(photo)
    assert (shown.dtype, shown.shape) == (np.uint8, (224, 224, 3))
    np.testing.assert_array_equal(encoder.encode_photo(photo), encoder.encode(shown[None])[0])
    squashed = load_encoder(resize="squash")
    assert squashed.card.resize == "squash"
    assert not np.array_equal(squashed.preprocess(photo), shown)
    (tmp_path / "photo.jpg").write_text("text")
    with pytest.raises(InvalidInputError, match=r"photo\.jpg"):
        encoder.encode_photo(tmp_path / "photo.jpg")


def test_a_resize_that_does_not_exist() -> None:
    with pytest.raises(InvalidInputError, match="resize"):
        load_encoder(resize="fit")  # type: ignore[arg-type]


def test_real_photos_look_as_they_did(encoder: Encoder, luma: Path) -> None:
    """Most real photos are nearest to one of the same product, unless the pixels are wrong."""
    import csv

    with (luma / "catalog.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:60]
    squashed = load_encoder(resize="squash")
    vectors = np.stack([squashed.encode_photo(luma / row["image"]) for row in rows])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = vectors @ vectors.T - 2 * np.eye(len(rows))
    products = np.array([row["product_id"] for row in rows])
    assert (products[similarity.argmax(1)] == products).mean() > 0.5


# --- the session


def test_threads_are_set_once() -> None:
    assert available_cpus() >= 1
    one = load_encoder(threads=1)
    assert one._session.get_session_options().intra_op_num_threads == 1
    assert load_encoder()._session.get_session_options().intra_op_num_threads == available_cpus()
    with pytest.raises(UsageError, match="threads"):
        load_encoder(threads=0)


def test_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERUPA_PROVIDERS", raising=False)
    assert choose_providers() == ["CPUExecutionProvider"]
    assert choose_providers(["cpu"]) == choose_providers(["CPUExecutionProvider"]) == ["CPUExecutionProvider"]
    monkeypatch.setattr(
        ort,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "DmlExecutionProvider", "CPUExecutionProvider"],
    )
    assert choose_providers() == ["CPUExecutionProvider"]
    monkeypatch.setenv("SERUPA_PROVIDERS", "directml, CUDA,cpu")
    assert choose_providers() == ["DmlExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    with pytest.raises(UnavailableError, match="coreml: .*it has CUDAExecutionProvider, Dml"):
        choose_providers(["coreml"])


def test_a_provider_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime itself goes on with the CPU."""
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("needs a machine without CUDA")
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: available)
    with (
        pytest.warns(UserWarning, match="CUDA"),
        pytest.raises(UnavailableError, match="CUDAExecutionProvider"),
    ):
        load_encoder(providers=["cuda"])


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SERUPA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_graphs_are_kept_and_damaged_ones_replaced(own_cache: Path) -> None:
    photos = pictures(1, 224)
    expected = load_encoder("efficientnet-lite0").encode(photos)
    kept = [next((own_cache / kind).glob("*.onnx")) for kind in ("graphs", "optimized")]
    whole = [path.read_bytes() for path in kept]
    for damage in (b"", b"nonsense", whole[1][:-100], whole[1][:5000] + b"\0" + whole[1][5001:]):
        for path in kept:
            path.write_bytes(damage)
        np.testing.assert_array_equal(load_encoder("efficientnet-lite0").encode(photos), expected)
        assert kept[0].read_bytes() == whole[0]
        assert len(kept[1].read_bytes()) == len(whole[1])


def test_a_graph_that_rots_in_the_cache_is_made_anew(own_cache: Path) -> None:
    """Its bytes are hashed, not its time of change, which bit rot leaves alone."""
    photos = pictures(1, 224)
    expected = load_encoder().encode(photos)
    (kept,) = (own_cache / "optimized").glob("*.onnx")
    os.utime(kept, (time.time() - 60,) * 2)
    load_encoder()
    state, whole = kept.stat(), kept.read_bytes()
    middle = len(whole) // 2
    kept.write_bytes(
        whole[:middle] + bytes(byte ^ 4 for byte in whole[middle : middle + 400]) + whole[middle + 400 :]
    )
    os.utime(kept, ns=(state.st_atime_ns, state.st_mtime_ns))
    np.testing.assert_array_equal(load_encoder().encode(photos), expected)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SERUPA_CACHE", str(tmp_path / "file"))
    assert load_encoder().encode(pictures(1, 224)).shape == (1, 1280)


def test_a_kept_graph_needs_no_onnx(own_cache: Path) -> None:
    load_encoder()
    code = "import sys; from serupa import load_encoder; load_encoder(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"onnx", "huggingface_hub", "safetensors", "torch"} & set(loaded.split())


# --- a card of one's own


def by_hand(pixels: NDArray[np.uint8], *, normalised: bool = True) -> NDArray[np.float64]:
    values = (pixels / 255 - MEAN) / STD if normalised else pixels.astype(np.float64)
    maps: NDArray[np.float64] = np.einsum(
        "oc,nhwc->nohw", tiny_weights()[:, :, 0, 0].astype(np.float64), values
    )
    return maps


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8])
@pytest.mark.parametrize("batch", ["n", 1])
def test_any_onnx_model(
    write_card: WriteCard, pixels: NDArray[np.uint8], layout: str, kind: int, batch: str | int
) -> None:
    encoder = load_encoder(str(write_card(layout, kind=kind, batch=batch)))
    expected = by_hand(pixels, normalised=kind != TensorProto.UINT8)
    tolerance = 2e-2 if kind == TensorProto.FLOAT16 else 1e-4
    np.testing.assert_allclose(encoder.feature_maps(pixels), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(encoder.encode(pixels), expected.mean((2, 3)), rtol=tolerance, atol=tolerance)
    assert (encoder.name, encoder.card.resize) == ("tiny", "pad")


def test_an_embedding_may_keep_its_pooled_axes(write_card: WriteCard, pixels: NDArray[np.uint8]) -> None:
    encoder = load_encoder(str(write_card(replace=('"vector"', '"pooled"'))))
    np.testing.assert_allclose(encoder.encode(pixels), by_hand(pixels).mean((2, 3)), rtol=1e-4, atol=1e-4)


def test_a_card_without_feature_maps(write_card: WriteCard, pixels: NDArray[np.uint8]) -> None:
    encoder = load_encoder(str(write_card(replace=('feature_map = "maps"\n', ""))))
    assert encoder.encode(pixels).shape == (3, DIMENSION)
    with pytest.raises(UsageError, match="feature maps"):
        encoder.feature_maps(pixels)


def test_a_model_instead_of_the_cards(
    write_card: WriteCard, tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    card = write_card()
    doubled = tiny_model()
    doubled.graph.initializer[0].CopyFrom(numpy_helper.from_array(2 * tiny_weights(), "weight"))
    onnx.save(doubled, tmp_path / "better.onnx")
    plain, better = load_encoder(str(card)), load_encoder(str(card), weights=tmp_path / "better.onnx")
    np.testing.assert_allclose(better.encode(pixels), 2 * plain.encode(pixels), rtol=1e-5)
    assert plain.weights_sha256 != better.weights_sha256


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('input = "image"', 'input = "pixels"', "the model has no input 'pixels', only image"),
        ('layout = "NCHW"', 'layout = "NHWC"', r"input 'image' is \['n', 3, 32, 32\]; its card says NHWC"),
        ("input_size = 32", "input_size = 64", r"input_size 64, which is \(n, 3, 64, 64\)"),
        ('output = "vector"', 'output = "v"', r"no output 'v' \(output\), only vector, maps, pooled"),
        ('output = "vector"', 'output = "maps"', "has shape"),
        (
            "dimension = 5",
            "dimension = 6",
            r"output 'vector' \(output\) is \['n', 5\]; its card says \(n, 6\)",
        ),
        ('feature_map = "maps"', 'feature_map = "vector"', r"\(feature_map\) is .* says \(n, 5, h, w\)"),
        (
            'file = "model.onnx"',
            'file = "other.onnx"',
            r"other\.onnx",
        ),
        ('file = "model.onnx"', 'file = "tiny.toml"', r"tiny\.toml: not an ONNX model"),
        ("[weights]", f"[weights]\nsha256 = '{'0' * 64}'", r"model\.onnx: is not the file of its card"),
    ],
)
def test_a_card_that_does_not_fit_its_model(
    write_card: WriteCard, pixels: NDArray[np.uint8], before: str, after: str, message: str
) -> None:
    with pytest.raises(SerupaError, match=message):
        load_encoder(str(write_card(replace=(before, after)))).encode(pixels)


def test_a_model_for_exactly_so_many_photos(write_card: WriteCard) -> None:
    with pytest.raises(InvalidInputError, match="takes exactly 4 photos at once"):
        load_encoder(str(write_card(batch=4)))


def test_values_that_are_not_finite(write_card: WriteCard, tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    card = write_card()
    model = tiny_model()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(tiny_weights() * np.inf, "weight"))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(DamagedError, match=r"output 'vector' holds values that are not finite"):
        load_encoder(str(card)).encode(pixels)


@pytest.mark.parametrize("location", ["weights.bin", "../../etc/passwd", "/etc/passwd"])
def test_a_model_may_not_read_other_files(write_card: WriteCard, tmp_path: Path, location: str) -> None:
    card = write_card()
    (tmp_path / "weights.bin").write_bytes(tiny_weights().tobytes())
    model = tiny_model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidInputError, match=r"model\.onnx: keeps its weights in further files"):
        load_encoder(str(card))


def test_nor_from_within_a_subgraph(write_card: WriteCard, tmp_path: Path) -> None:
    from onnx import helper

    card = write_card()
    model = tiny_model()
    hidden = helper.make_tensor("hidden", TensorProto.FLOAT, (1,), [0.0])
    hidden.ClearField("float_data")
    hidden.data_location = TensorProto.EXTERNAL
    hidden.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=hidden))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidInputError, match="keeps its weights in further files"):
        load_encoder(str(card))


# --- a model that a package brings with it


@pytest.fixture
def packaged(write_card: WriteCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A card whose model lies in an installed package, as that of an encoder that Serupa brings itself."""
    folder = tmp_path / "site" / "shipping" / "data"
    folder.mkdir(parents=True)
    onnx.save(tiny_model("NHWC", kind=TensorProto.UINT8), folder / "tiny.onnx")
    content = (folder / "tiny.onnx").read_bytes()
    monkeypatch.syspath_prepend(tmp_path / "site")
    weights = f"""[weights]
file = "tiny.onnx"
size = {len(content)}
sha256 = "{hashlib.sha256(content).hexdigest()}"
package = "shipping"
package_path = "shipping/data/tiny.onnx"
"""
    return write_card("NHWC", replace=('[weights]\nfile = "model.onnx"\n', weights))


def test_a_model_in_a_package(packaged: Path, tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    encoder = load_encoder(str(packaged))
    np.testing.assert_allclose(
        encoder.encode(pixels), by_hand(pixels, normalised=False).mean((2, 3)), rtol=1e-4
    )
    weights = describe(encoder.card).weights
    assert weights is not None
    assert weights.origin == "package"
    assert "shipping" not in sys.modules  # found without running it


def test_a_catalogue_of_a_model_in_a_package(packaged: Path, tmp_path: Path) -> None:
    photo = draw_photo(tmp_path / "photos" / "a.png", 1)
    draw_photo(tmp_path / "photos" / "b.png", 2)
    with Catalog.create(tmp_path / "shop", encoder=str(packaged)) as catalog:
        catalog.add(tmp_path / "photos")
    packaged.unlink()  # a catalogue keeps its card
    with Catalog.open(tmp_path / "shop") as catalog:
        (hit,) = catalog.search(photo, k=1)
        assert (hit.item.id, catalog.encoder.card.architecture) == ("a.png", "onnx")


def test_a_model_in_a_package_that_is_damaged(packaged: Path, tmp_path: Path) -> None:
    model = tmp_path / "site" / "shipping" / "data" / "tiny.onnx"
    state = model.stat()
    load_encoder(str(packaged))
    model.write_bytes(bytes([*model.read_bytes()[:-1], 1]))
    os.utime(model, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(UnavailableError, match=r"tiny\.onnx: is not the file of its card"):
        load_encoder(str(packaged))
