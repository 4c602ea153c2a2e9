from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from serupa.encoders import Card, is_name_of, load_card
from serupa.encoders.hub import Name, with_precision
from serupa.encoders.known import known_encoders
from serupa.errors import UnavailableError, UsageError
from tests.conftest import draw_photo
from tests.encoders.hub import REVISION, Hub, repository, serving
from tests.reference.make_hub import HERE

NAMES = ("clip", "clip-joined", "siglip", "dinov2")

ENCODE = """
import io, json, sys
import numpy as np
from serupa.encoders import load_encoder
from tests.reference.make_hub import TEXTS, photos
found, cards = {}, {}
for name in sys.argv[2:]:
    encoder = load_encoder(f"hf:tiny/{name}")
    pixels = []
    for photo in photos():
        file = io.BytesIO()
        photo.save(file, "PNG")
        pixels.append(encoder.preprocess(file.getvalue()))
    found[f"{name}.images"] = encoder.encode(np.stack(pixels))
    if encoder.understands_words:
        found[f"{name}.texts"] = encoder.encode_texts(TEXTS)
        alone = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
        np.testing.assert_allclose(alone, found[f"{name}.texts"], atol=1e-5)  # whatever it stands beside
    cards[name] = encoder.card.to_dict()
np.savez(sys.argv[1], **found)
print(json.dumps(cards))
"""

LOAD = """
import sys
from serupa.encoders import load_encoder
from serupa.errors import SerupaError
for name in sys.argv[1:]:
    try:
        encoder = load_encoder(name)
        if encoder.understands_words:
            encoder.encode_texts(["red dress"])
        print(encoder.name, encoder.card.weights.file)
    except SerupaError as error:
        print(type(error).__name__, error)
"""

INDEX = """
import sys
from serupa import Catalog
from serupa.errors import SerupaError
shop, photos, *encoders = sys.argv[1:]
for encoder in encoders:
    try:
        with Catalog.create(shop, encoder or None, exist_ok=True) as catalog:
            catalog.add(photos)
            hits = catalog.search(photos + "/0.png").hits
            print(len(catalog), catalog.info()["encoder"], hits[0].item.id)
    except SerupaError as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SERUPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("PYTHONPATH", ":".join((str(Path(__file__).parents[2]), *sys.path)))
    return tmp_path


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving({f"tiny/{name}": repository(HERE / name) for name in NAMES}) as server:
        yield server


def unit(rows: NDArray[Any]) -> NDArray[Any]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_photos_and_words_are_encoded_as_by_pytorch(folder: Path, hub: Hub) -> None:
    cards = json.loads(hub.run(ENCODE, str(folder / "found.npz"), *NAMES))
    with np.load(folder / "found.npz") as found, np.load(HERE / "hub.npz") as expected:
        for name in expected.files:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-4, err_msg=name)
        for side in ("images", "texts"):  # a graph that compares the two gives them at length 1
            want = unit(expected[f"clip.{side}"])
            np.testing.assert_allclose(found[f"clip-joined.{side}"], want, atol=1e-4)
    clip, siglip, dinov2 = (Card.from_dict(cards[name]) for name in ("clip", "siglip", "dinov2"))
    assert clip.name == "hf:tiny/clip"
    assert (clip.resize, clip.short_side, clip.input_size, clip.resample) == ("crop", 36, 32, "bicubic")
    assert (siglip.resize, siglip.short_side) == ("squash", None)
    assert clip.text is not None
    assert siglip.text is not None
    assert (clip.text.fill, siglip.text.fill) == (False, True)
    assert (dinov2.understands_words, dinov2.licence) == (False, "mit")
    for card in (clip, siglip, dinov2):
        assert all(one.revision == REVISION and one.sha256 and one.size for one in card.sources)


def test_a_catalogue_is_held_to_what_was_fetched_first(folder: Path, hub: Hub) -> None:
    for number in range(3):
        draw_photo(folder / "photos" / f"{number}.png", number)
    shop, photos = str(folder / "shop"), str(folder / "photos")
    assert hub.run(INDEX, shop, photos, "hf:tiny/clip") == "3 hf:tiny/clip 0.png\n"
    asked = len(hub.asked)
    names = ("", "hf:tiny/clip@0123456", "hf:tiny/siglip")
    again, named, other = hub.run(INDEX, shop, photos, *names, HF_HUB_OFFLINE="1").splitlines()
    assert again == named == "3 hf:tiny/clip 0.png"
    assert re.search(r"ConflictError .*its encoder is hf:tiny/clip, not hf:tiny/siglip", other)
    assert len(hub.asked) == asked  # what is here is not asked for again
    for path in (folder / "cache" / "weights").rglob("vision_model.onnx"):
        path.unlink()  # on another machine, and the hub changed the file of that commit
    files = hub.repositories["tiny/clip"]
    files["onnx/vision_model.onnx"] = files["onnx/text_model.onnx"]
    (changed,) = hub.run(INDEX, shop, photos, "").splitlines()
    assert "what came from the hub has" in changed
    assert "it was deleted" in changed


def test_what_goes_wrong_with_the_hub_is_said_in_a_line(folder: Path, hub: Hub) -> None:
    files = hub.repositories["tiny/clip"]
    lists = b'{"size": {"height": [], "width": []}, "image_mean": [], "image_std": []}'
    hub.repositories |= {
        "tiny/torch": {"config.json": b"{}", "model.safetensors": b""},
        "tiny/half": {name.replace(".onnx", "_fp16.onnx"): data for name, data in files.items()},
        "tiny/mute": {name: data for name, data in files.items() if name != "tokenizer.json"},
        "tiny/odd": files | {"preprocessor_config.json": b'{"do_resize": true, "size": {"longest_edge": 9}}'},
        "tiny/list": files | {"preprocessor_config.json": lists},
        "tiny/broken": files | {"config.json": b"{", "onnx/vision_model.onnx": b"not a graph"},
        "tiny/gated": files,
    }
    hub.gated.add("tiny/gated")
    expected = {
        "hf:tiny/none": "NotFoundError tiny/none: the hub has no such repository, or does not show it to you",
        "hf:tiny/clip@v9": "NotFoundError tiny/clip: the hub has no such revision of it",
        "hf:tiny/gated": "UnavailableError tiny/gated: the hub gives it only to people who accepted",
        "hf:tiny/torch": "InvalidInputError hf:tiny/torch: has no onnx/vision_model*.onnx or onnx",
        "hf:tiny/half": r"InvalidInputError hf:tiny/half: has no onnx.*; it has fp16: choose with",
        "hf:tiny/mute": "InvalidInputError hf:tiny/mute: has a graph for words, but no tokenizer.json",
        "hf:tiny/odd": "InvalidInputError hf:tiny/odd: its preprocessor_config.json makes no square",
        "hf:tiny/list": "InvalidInputError hf:tiny/list: its configuration is not understood",
        "hf:tiny/broken": "InvalidInputError hf:tiny/broken: onnx/vision_model.onnx is not an ONNX model",
        "hf:tiny": "UsageError hf:tiny: not the name of a hub's encoder; write hf:OWNER/REPO",
    }
    lines = hub.run(LOAD, *expected).splitlines()
    assert len(lines) == len(expected)
    for line, (name, start) in zip(lines, expected.items(), strict=True):
        assert re.match(start.replace("*.", r"\*."), line), (name, line)
    (offline,) = hub.run(LOAD, "hf:tiny/clip", HF_HUB_OFFLINE="1").splitlines()
    assert "HF_HUB_OFFLINE keeps the hub from being asked; unset it" in offline
    (gone,) = hub.run(LOAD, "hf:tiny/clip", HF_ENDPOINT="http://127.0.0.1:9").splitlines()
    assert re.match(r"UnavailableError tiny/clip: the hub did not give it \(", gone)


def test_a_download_that_was_cut_goes_on(folder: Path, hub: Hub) -> None:
    graph = onnx.load_model_from_string(hub.repositories["tiny/dinov2"]["onnx/model.onnx"])
    graph.doc_string = "x" * 25_000_000  # the hub's library writes 10 MB at a time
    hub.repositories["tiny/dinov2"]["onnx/model.onnx"] = graph.SerializeToString()
    hub.cut["onnx/model.onnx"] = 21_000_000
    assert hub.run(LOAD, "hf:tiny/dinov2") == "hf:tiny/dinov2 onnx/model.onnx\n"
    ranges = [wanted for path, wanted in hub.asked if path.endswith("model.onnx") and wanted]
    assert re.fullmatch(r"bytes=\d{8}-", ranges[0])


def test_precisions_and_weights_beside_the_graph(folder: Path, hub: Hub) -> None:
    files = hub.repositories["tiny/clip"]
    files["onnx/vision_model_quantized.onnx"] = files["onnx/vision_model.onnx"]
    apart = onnx.load_model_from_string(files["onnx/vision_model.onnx"])
    onnx.save(apart, folder / "m.onnx", save_as_external_data=True, location="model_fp16.onnx_data")
    hub.repositories["tiny/apart"] = {
        **{name: data for name, data in files.items() if name.endswith(".json")},
        "onnx/model_fp16.onnx": (folder / "m.onnx").read_bytes(),
        "onnx/model_fp16.onnx_data": (folder / "model_fp16.onnx_data").read_bytes(),
    }
    names = ["hf:tiny/clip+int8", "hf:tiny/apart+fp16"]
    assert hub.run(LOAD, *names).splitlines() == [
        "hf:tiny/clip+int8 onnx/vision_model_quantized.onnx",
        "hf:tiny/apart+fp16 onnx/model_fp16.onnx",
    ]
    (data,) = (folder / "cache").rglob("model_fp16.onnx_data")
    data.write_bytes(data.read_bytes()[::-1])
    assert "is not the file of its card" in hub.run(LOAD, names[1], HF_HUB_OFFLINE="1")


def test_names() -> None:
    name = Name.parse("hf:Owner/some.repo-2+fp16@refs/pr/1")
    assert (name.repo, name.precision, name.revision) == ("Owner/some.repo-2", "fp16", "refs/pr/1")
    assert str(name) == "hf:Owner/some.repo-2+fp16"
    assert with_precision("hf:a/b@main", "int8") == "hf:a/b+int8@main"
    assert str(Name.parse(with_precision("hf:a/b+int8", "float"))) == "hf:a/b"
    for wrong in ("hf:", "hf:a", "hf:a/b/c", "hf:../b", "hf:a/b@", "hf:a/b+q4", "hf:a/b@../../x", "hf:a/b c"):
        with pytest.raises(UsageError):
            Name.parse(wrong)
    with pytest.raises(UsageError, match="only encoders of the hub"):
        with_precision("resnet50", "int8")
    assert not is_name_of("hf:a/b", load_card("resnet50"))


def test_known_encoders_are_pinned_to_a_commit() -> None:
    hub = [known for name, known in known_encoders().items() if name.startswith("hf:")]
    assert len(hub) >= 5
    for known in hub:
        assert re.fullmatch(r"[0-9a-f]{40}", known.revision or "")
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in known.sha256.values())
    with pytest.raises(UnavailableError, match="serupa encoders fetch hf:Marqo/marqo-fashionSigLIP"):
        load_card("hf:Marqo/marqo-fashionSigLIP")
