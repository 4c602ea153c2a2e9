from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serupa.encoders import DEFAULT, Card, list_cards, load_card, load_encoder
from serupa.encoders.weights import find_weights
from serupa.errors import InvalidInputError, NotFoundError
from tests.encoders.conftest import CARD, SIDE


def test_the_default_comes_first() -> None:
    cards = list_cards()
    assert [card.name for card in cards] == [DEFAULT, "efficientnet-lite0", "resnet50"]
    assert (cards[0].dimension, cards[0].resize) == (1280, "crop")
    assert (cards[2].dimension, cards[2].resize) == (2048, "squash")  # the paper's preprocessing


def test_pixels_of_the_default_are_centred_as_its_weights_were_trained() -> None:
    card = load_card(DEFAULT)
    assert [255 * value for value in card.mean] == [127.0] * 3
    assert [255 * value for value in card.std] == [128.0] * 3


def test_what_is_fetched_is_pinned() -> None:
    for card in list_cards():
        assert card.weights.sha256 is not None
        assert card.weights.size is not None
        assert card.weights.repo is None or len(card.weights.revision or "") == 40


@pytest.mark.parametrize("card", list_cards(), ids=lambda card: card.name)
def test_a_card_survives_json(card: Card) -> None:
    assert Card.from_dict(json.loads(json.dumps(card.to_dict()))) == card


def test_a_card_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(CARD.replace("LAYOUT", "NHWC"))
    card = load_card(path)
    assert (card.name, card.title, card.input_size, card.resample) == ("shop", "shop", SIDE, "bicubic")
    assert card.onnx is not None
    assert (card.onnx.layout, card.onnx.feature_map) == ("NHWC", "maps")
    assert card.weights.file == str(tmp_path / "model.onnx")  # relative to the card, not to the process
    assert Card.from_dict(card.to_dict()) == card


def test_a_card_of_ones_own_weights(tmp_path: Path) -> None:
    card = load_card("resnet50").to_dict()
    lines = [f"{key} = {json.dumps(card[key])}" for key in card if key not in ("name", "weights")]
    path = tmp_path / "tuned.toml"
    path.write_text("\n".join([*lines, '[weights]\nfile = "tuned.pth"']))
    assert load_card(str(path)).weights.file == str(tmp_path / "tuned.pth")
    path.write_text(path.read_text().replace("2048", "1000"))
    with pytest.raises(InvalidInputError, match="dimension"):
        load_card(str(path))


def test_an_unknown_name_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as raised:
        load_card("resnet")
    assert all(card.name in raised.value.hint for card in list_cards())
    with pytest.raises(NotFoundError):
        load_card(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "content", [b"a = ", b"\xff\xfe", b"[a]\na=1\na=2", b"a = " + b"[" * 9999, b"a = 1\n" + b"#" * 2_000_000]
)
def test_a_card_that_is_not_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "card.toml"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError) as raised:
        load_card(path)
    assert raised.value.subject == path


def test_a_pipe_is_no_card(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(InvalidInputError):
        load_card(tmp_path / "pipe.toml")


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ("dimension = 5\n", "", "dimension"),
        ("dimension = 5", "dimension = 0", "dimension"),
        ("dimension = 5", "dimension = true", "dimension"),
        ("dimension = 5", "name = '../up'\ndimension = 5", "name"),
        ("dimension = 5", "dimensions = 5", "dimension"),
        ('architecture = "onnx"', 'architecture = "vgg"', "architecture"),
        ('architecture = "onnx"', 'architecture = "resnet50"', "onnx"),
        ("mean = [0.5, 0.4, 0.3]", "mean = [0.5, 0.4]", "mean"),
        ("mean = [0.5, 0.4, 0.3]", "mean = [0.5, nan, 0.3]", "mean"),
        ("std = [0.2, 0.25, 0.5]", "std = [0.2, 0, 0.5]", "std"),
        ('resize = "pad"', 'resize = "fit"', "resize"),
        ('resample = "bicubic"', 'resample = ["bicubic"]', "resample"),
        ('file = "model.onnx"', "", "file"),
        ('file = "model.onnx"', 'file = " "', r"weights\.file"),
        ("[weights]", "[weights]\nsha256 = 'ABC'", r"weights\.sha256"),
        ('file = "model.onnx"', 'file = "../a"\npackage = "b"', r"relative path.*weights"),
        ("[weights]", "[weights]\nrepo = 'me/shop'", "revision.*weights"),
        ("[weights]", "[weights]\nrepo = 'me/shop'\nrevision = 'main'", r"weights\.revision"),
        ('[weights]\nfile = "model.onnx"', "weights = 'model.onnx'", "weights"),
        ('layout = "NCHW"', 'layout = "CHW"', r"onnx\.layout"),
        ('output = "vector"', 'outputs = "vector"', "output"),
    ],
)
def test_a_wrong_card_is_named_with_its_field(tmp_path: Path, before: str, after: str, field: str) -> None:
    path = tmp_path / "card.toml"
    text = CARD.replace("LAYOUT", "NCHW")
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(InvalidInputError, match=field) as raised:
        load_card(path)
    assert raised.value.subject == path


def test_a_card_from_a_catalogue_is_checked_too() -> None:
    values = {**load_card(DEFAULT).to_dict(), "input_size": "224"}
    with pytest.raises(InvalidInputError, match="input_size"):
        Card.from_dict(values)


def test_reading_cards_imports_nothing_heavy() -> None:
    code = "import sys, serupa.encoders as e; e.list_cards(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"onnx", "onnxruntime", "huggingface_hub", "PIL", "safetensors"} & set(loaded.split())


def test_the_card_in_the_documentation_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "encoders.md").read_text(encoding="utf-8")
    path = tmp_path / "my-encoder.toml"
    path.write_text(page.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    assert load_card(path).weights.file == str(tmp_path / "my-encoder.onnx")


def test_the_encoder_in_the_package_is_the_file_of_its_card_and_small() -> None:
    found = find_weights(load_card("serupa-clothes"), download=False)
    assert found.origin == "package"
    assert found.path.stat().st_size < 8_000_000
    encoder = load_encoder("serupa-clothes")
    grey = np.full((1, 224, 224, 3), 127, np.uint8)
    embedding, maps = encoder.encode(grey), encoder.feature_maps(grey)
    np.testing.assert_allclose(maps.mean((2, 3)), embedding, atol=1e-4)
