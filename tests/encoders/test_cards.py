from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from serupa.encoders import DEFAULT, Card, list_cards, load_card
from serupa.errors import EncoderError
from tests.encoders.conftest import CARD, SIDE


def test_the_default_comes_first() -> None:
    cards = list_cards()
    assert [card.name for card in cards] == [DEFAULT, "resnet50"]
    assert (cards[0].dimension, cards[0].resize) == (1280, "crop")
    assert (cards[1].dimension, cards[1].resize) == (2048, "squash")  # the paper's preprocessing


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
    with pytest.raises(EncoderError, match=r"tuned\.toml: dimension is 1000: it must be 2048"):
        load_card(str(path))


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(EncoderError, match=r"no encoder 'resnet'.*efficientnet-lite0, resnet50.*\.toml"):
        load_card("resnet")


def test_a_card_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"none\.toml: cannot read the card"):
        load_card(tmp_path / "none.toml")


@pytest.mark.parametrize("content", [b"a = ", b"\xff\xfe", b"[a]\na=1\na=2"])
def test_a_card_that_is_not_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "card.toml"
    path.write_bytes(content)
    with pytest.raises(EncoderError, match=r"card\.toml: not a card"):
        load_card(path)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("dimension = 5\n", "", "dimension is missing: it must be a whole number from 1 to 65536"),
        ("dimension = 5", "dimension = 0", "dimension is 0"),
        ("dimension = 5", "dimension = true", "dimension is True"),
        ("dimension = 5", "name = '../up'\ndimension = 5", "name is '../up': it must be letters, digits"),
        ("dimension = 5", "dimensions = 5", "dimensions is not a field of a card: use name, title"),
        ('architecture = "onnx"', 'architecture = "vgg"', "one of efficientnet-lite0, resnet50, onnx"),
        ('architecture = "onnx"', 'architecture = "resnet50"', "onnx is for architecture 'onnx' only"),
        ("mean = [0.5, 0.4, 0.3]", "mean = [0.5, 0.4]", "mean is .*three numbers"),
        ("mean = [0.5, 0.4, 0.3]", "mean = [0.5, nan, 0.3]", "mean is .*three numbers"),
        ("std = [0.2, 0.25, 0.5]", "std = [0.2, 0, 0.5]", "std is .*three numbers above 0"),
        ('resize = "pad"', 'resize = "fit"', "resize is 'fit': it must be one of squash, crop, pad"),
        ('resample = "bicubic"', 'resample = ["bicubic"]', "resample is .*one of bilinear, bicubic"),
        ('file = "model.onnx"', "", r"weights\.file is missing"),
        ('file = "model.onnx"', 'file = " "', r"weights\.file is ' '"),
        ("[weights]", "[weights]\nsha256 = 'ABC'", r"weights\.sha256 is 'ABC': it must be 64 lower-case"),
        (
            'file = "model.onnx"',
            'file = "../a"\npackage = "b"',
            r"weights\.file is '\.\./a': it must be a relative path",
        ),
        ("[weights]", "[weights]\nrepo = 'me/shop'", r"weights\.revision is missing.*can be checked"),
        ("[weights]", "[weights]\nrepo = 'me/shop'\nrevision = 'main'", "a full commit hash, not a branch"),
        (
            '[weights]\nfile = "model.onnx"',
            "weights = 'model.onnx'",
            "weights is 'model.onnx': it must be a table",
        ),
        ('layout = "NCHW"', 'layout = "CHW"', r"onnx\.layout is 'CHW': it must be one of NCHW, NHWC"),
        ('output = "vector"', 'outputs = "vector"', r"onnx\.outputs is not a field"),
    ],
)
def test_a_wrong_card_is_named_with_its_field(tmp_path: Path, before: str, after: str, message: str) -> None:
    path = tmp_path / "card.toml"
    text = CARD.replace("LAYOUT", "NCHW")
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(EncoderError, match=rf"card\.toml: .*{message}"):
        load_card(path)


def test_a_card_from_a_catalogue_is_checked_too() -> None:
    values = {**load_card(DEFAULT).to_dict(), "input_size": "224"}
    with pytest.raises(EncoderError, match="efficientnet-lite0: input_size is '224'"):
        Card.from_dict(values)


def test_reading_cards_imports_nothing_heavy() -> None:
    code = "import sys, serupa.encoders as e; e.list_cards(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"onnx", "onnxruntime", "huggingface_hub", "PIL", "safetensors"} & set(loaded.split())
