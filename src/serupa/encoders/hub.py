"""Encoders of the Hugging Face hub, in the layout of transformers.js: a name becomes a card.

The first time that a name is used, what the hub has is trusted: its commit, and the size and SHA-256 of every
file, go into the card, which is kept in the cache and goes into the catalogues that are made with it. From
then on anything else is refused.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from serupa.encoders.cards import HUB, Card, OnnxPorts, TextSide, WeightsSource
from serupa.encoders.known import known_encoders
from serupa.encoders.weights import asking_hub, download, find_source, hub_folder, is_offline
from serupa.errors import DamagedError, InvalidInputError, UnavailableError, UsageError
from serupa.files.cache import cache_dir, file_sha256, write_whole

if TYPE_CHECKING:
    import onnx

_NAME = re.compile(
    r"hf:(?P<repo>[\w.-]+/[\w.-]+)(\+(?P<precision>[a-z0-9]+))?(@(?P<revision>[\w.-][\w./-]*))?\Z"
)
_FILES = {"float": ("",), "fp16": ("_fp16",), "int8": ("_int8", "_quantized", "_uint8")}
"""What the files of a precision end in, best first."""

_PIXELS = "pixel_values"
_IMAGE_OUTPUTS = ("image_embeds", "pooler_output", "last_hidden_state")
_TEXT_OUTPUTS = ("text_embeds", "pooler_output")
_FIRST_TOKEN = ("vit", "deit", "dino", "dinov2", "dinov2_with_registers", "dinov3_vit")
"""Networks whose class token describes a photo; their pooler, if any, was trained for something else."""
_RESAMPLE = {2: "bilinear", 3: "bicubic"}  # PIL.Image.Resampling
_LARGEST_CONFIG = 2**22
_LONGEST_CONTEXT = 512  # where a tokenizer claims to take any length


@dataclass(frozen=True, slots=True)
class Name:
    """The parts of ``hf:OWNER/REPO[+PRECISION][@REVISION]``."""

    repo: str
    precision: str
    revision: str | None

    def __str__(self) -> str:
        precision = "" if self.precision == "float" else f"+{self.precision}"
        return f"{HUB}{self.repo}{precision}"

    @classmethod
    def parse(cls, name: str) -> Name:
        """Read a name.

        Raises
        ------
        UsageError
            If it is not written like this, or there is no such precision.
        """
        found = _NAME.match(name)
        precision = "float" if found is None else found["precision"] or "float"
        if found is None or ".." in name or precision not in _FILES:
            hint = f"write hf:OWNER/REPO[+PRECISION][@REVISION]; precisions are {', '.join(_FILES)}"
            raise UsageError(name, "not the name of a hub's encoder", hint)
        return cls(found["repo"], precision, found["revision"])


def with_precision(name: str, precision: str) -> str:
    """Return the name of an encoder of the hub in another precision.

    Raises
    ------
    UsageError
        If the name is not a hub's, or there is no such precision.
    """
    if not name.startswith(HUB):
        hint = "make another one faster with: serupa encoders quantize"
        raise UsageError(f"precision {precision}", "only encoders of the hub have several", hint)
    repo, _, revision = name.partition("@")
    plain = repo.partition("+")[0]
    return f"{plain}+{precision}" + (f"@{revision}" if revision else "")


def hub_card(name: str, *, renew: bool = False, download: bool = True) -> Card:
    """Return the card of an encoder of the hub: from the cache, or made of its files.

    Parameters
    ----------
    name : str
        ``hf:OWNER/REPO[+PRECISION][@REVISION]``; unless a revision is named, the one that is known, else the
        newest.
    renew : bool
        Ask the hub anew, if it may be asked.
    download : bool
        Whether it may.

    Raises
    ------
    UsageError
        If the name is not written like this.
    NotFoundError
        If the hub has no such repository or revision.
    UnavailableError
        If the hub may not be asked, does not answer, or asks for terms to be accepted.
    InvalidInputError
        If the repository holds no encoder in this layout, or one that cannot be used.
    DamagedError
        If a file is not the one that is known.
    """
    parsed = Name.parse(name)
    if not renew or is_offline():
        with contextlib.suppress(
            OSError, ValueError, InvalidInputError
        ):  # not there, or not what was written
            return Card.from_dict(msgspec.json.decode(_kept(parsed).read_bytes(), type=dict[str, Any]))
    if is_offline():
        problem = "is not on this machine, and HF_HUB_OFFLINE keeps the hub from being asked"
        raise UnavailableError(name, problem, f"unset it and run: serupa encoders fetch {name}")
    if not download:
        raise UnavailableError(name, "is not on this machine", f"run: serupa encoders fetch {name}")
    card = _Repository(parsed).card()
    write_whole(_kept(parsed), json.dumps(card.to_dict(), indent=1).encode())
    return card


def _revision(name: Name) -> str:
    known = known_encoders().get(HUB + name.repo)
    return name.revision or (known and known.revision) or "main"


def _kept(name: Name) -> Path:
    file = f"{name.repo}+{name.precision}@{_revision(name)}.json"
    return cache_dir() / "cards" / file.replace("/", "--")


class _Repository:
    """A repository of the hub at one commit."""

    def __init__(self, name: Name) -> None:
        from huggingface_hub import HfApi

        self._name = name
        with asking_hub(name.repo):
            info = HfApi().model_info(name.repo, revision=_revision(name))
        self._commit = str(info.sha)
        self._files = [one.rfilename for one in info.siblings or ()]
        self._known = known = known_encoders().get(HUB + name.repo)
        stated = getattr(info.card_data, "license", None) or "not stated"
        self._licence = known.licence if known else str(stated)

    def card(self) -> Card:
        """Make the card."""
        try:
            return self._card()
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            self._refuse(f"its configuration is not understood ({error!s:.200})")

    def _card(self) -> Card:
        image_file = self._choose("vision_model", "model", precision=self._name.precision)
        if image_file is None:
            self._refuse(
                f"has no onnx/vision_model*.onnx or onnx/model*.onnx in {self._name.precision}",
                self._other_precisions(),
            )
        weights = self._pin(image_file)
        graph = self._graph(weights)
        inputs, outputs = _ports(graph)
        joined = "input_ids" in inputs
        if _PIXELS not in inputs:
            self._refuse(f"{image_file} takes {', '.join(inputs)}, not {_PIXELS}: it encodes no photos")
        config = self._read_json("config.json")
        output, pooling = self._image_output(outputs, str(config.get("model_type", "")))
        text = self._text_side(config, weights if joined else None)
        card = Card(
            name=str(self._name),
            title=self._known.title if self._known else self._name.repo,
            architecture="onnx",
            dimension=1,
            **self._preprocessing(),
            licence=self._licence,
            source=f"https://huggingface.co/{self._name.repo}",
            weights=weights,
            onnx=OnnxPorts(_PIXELS, "NCHW", output, pooling=pooling),
            text=text,
            joined=joined,
        )
        return Card.from_dict({**card.to_dict(), "dimension": self._dimension(card)})

    def _dimension(self, card: Card) -> int:
        """Return the length of an embedding, which only a try tells."""
        import numpy as np

        from serupa.encoders.session import open_session

        session = open_session(card, find_source(card, card.weights))
        kind = np.float16 if session.get_inputs()[0].type == "tensor(float16)" else np.float32
        grey = np.zeros((1, 3, card.input_size, card.input_size), kind)
        output, pooling = (card.onnx.output, card.onnx.pooling) if card.onnx else ("", None)
        try:
            (found,) = session.run([output], {_PIXELS: grey})
        except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
            side = card.input_size
            self._refuse(f"fails on {side} x {side} pixels ({str(error).splitlines()[0]:.200})")
        return int(found.shape[2 if pooling else 1])

    def _image_output(self, outputs: Sequence[str], model_type: str) -> tuple[str, Any]:
        wanted = ("last_hidden_state",) if model_type in _FIRST_TOKEN else _IMAGE_OUTPUTS
        for output in (*wanted, *_IMAGE_OUTPUTS):
            if output in outputs:
                return output, "first" if output == "last_hidden_state" else None
        self._refuse(f"its graph gives {', '.join(outputs)}, none of {', '.join(_IMAGE_OUTPUTS)}")

    def _text_side(self, config: Mapping[str, Any], joined: WeightsSource | None) -> TextSide | None:
        weights = joined
        if weights is None:
            file = self._choose("text_model", precision=self._name.precision)
            file = file or self._choose("text_model", precision="float")
            if file is None:
                return None
            weights = self._pin(file)
        if "tokenizer.json" not in self._files:
            self._refuse("has a graph for words, but no tokenizer.json")
        inputs, outputs = _ports(self._graph(weights))
        output = next((one for one in _TEXT_OUTPUTS if one in outputs), None)
        if output is None:
            self._refuse(f"its text graph gives {', '.join(outputs)}, none of {', '.join(_TEXT_OUTPUTS)}")
        tokenizer = self._pin("tokenizer.json")
        model_type = str(config.get("model_type"))
        context, pad = self._context(config.get("text_config") or {}, 64 if "siglip" in model_type else 77)
        # A mask lets a text be as long as it is. SigLIP was trained on texts filled up, and without a mask
        fill = "attention_mask" not in inputs or "siglip" in model_type
        return TextSide(weights, tokenizer, output, context=context, pad=pad, fill=fill)

    def _context(self, text: Mapping[str, Any], usual: int) -> tuple[int, int]:
        """Return how many tokens a text has at most, and the token that fills it up."""
        tokenizer = self._read_json("tokenizer.json", largest=2**27)
        padding, truncation = tokenizer.get("padding") or {}, tokenizer.get("truncation") or {}
        strategy = padding.get("strategy")
        settings = self._read_json("tokenizer_config.json") if "tokenizer_config.json" in self._files else {}
        lengths = (
            strategy.get("Fixed") if isinstance(strategy, dict) else None,
            truncation.get("max_length"),
            text.get("max_position_embeddings"),
            settings.get("model_max_length"),  # of some, any number of digits
        )
        known = [int(one) for one in lengths if one is not None and 2 <= one <= _LONGEST_CONTEXT]
        context = min(known) if known else usual
        if "pad_id" in padding:
            return context, int(padding["pad_id"])
        token = settings.get("pad_token")
        token = token.get("content") if isinstance(token, dict) else token
        added = {one["content"]: one["id"] for one in tokenizer.get("added_tokens", ())}
        return context, int(added.get(token, text.get("pad_token_id") or 0))

    def _preprocessing(self) -> dict[str, Any]:
        """Return what the image processor does to a photo, as fields of a card."""
        values = self._read_json("preprocessor_config.json")

        def unfit(what: str) -> NoReturn:
            self._refuse(f"its preprocessor_config.json {what}, which is not supported")

        crops = bool(values.get("do_center_crop", "crop_size" in values))
        size, crop = values.get("size"), values.get("crop_size")
        if isinstance(size, int):
            size = {"shortest_edge": size} if crops else {"height": size, "width": size}
        if isinstance(crop, int):
            crop = {"height": crop, "width": crop}
        size, crop = size or {}, crop or {}
        resample = _RESAMPLE.get(values.get("resample", 2))
        if not values.get("do_resize", True) or not values.get("do_rescale", True) or resample is None:
            unfit("does not resize by bilinear or bicubic resampling, or keeps pixels in 0 to 255")
        if "shortest_edge" in size and crops and crop.get("height") == crop.get("width"):
            square = {"resize": "crop", "short_side": size["shortest_edge"], "input_size": crop.get("height")}
        elif size.get("height") is not None and size.get("height") == size.get("width"):
            if crops and crop not in ({}, size):
                unfit("cuts the centre out of a squashed photo")
            square = {"resize": "squash", "input_size": size["height"]}
        else:
            unfit(f"makes no square (size {size}, crop_size {crop})")
        normal = bool(values.get("do_normalize", True))
        mean, std = (
            values.get(name) if normal else [one] * 3
            for name, one in (("image_mean", 0.0), ("image_std", 1.0))
        )
        if not (isinstance(mean, list) and isinstance(std, list)):
            unfit("says no mean and std")
        return {**square, "resample": resample, "mean": tuple(mean), "std": tuple(std)}

    def _choose(self, *stems: str, precision: str) -> str | None:
        candidates = (f"onnx/{stem}{ending}.onnx" for stem in stems for ending in _FILES[precision])
        return next((one for one in candidates if one in self._files), None)

    def _other_precisions(self) -> str:
        others = [one for one in _FILES if self._choose("vision_model", "model", precision=one)]
        if others:
            return f"it has {', '.join(others)}: choose with --precision"
        return "look for an export of it, such as those of onnx-community"

    def _fetch(self, file: str) -> Path:
        if file not in self._files:
            self._refuse(f"has no {file}")
        folder = hub_folder(self._name.repo, self._commit)
        path = folder / file
        return path if path.is_file() else download(self._name.repo, file, self._commit, folder)

    def _pin(self, file: str) -> WeightsSource:
        """Fetch a file, and write down what it is."""
        path = self._fetch(file)
        sha256 = file_sha256(path, remember=False)
        known = self._known
        if known is not None and known.revision == self._commit and known.sha256.get(file, sha256) != sha256:
            path.unlink()
            problem = (
                f"{file} is not the file that is known (sha256 {sha256[:12]}, not {known.sha256[file][:12]})"
            )
            raise DamagedError(self._name.repo, problem, "it was deleted")
        beside = f"{file}_data"
        return WeightsSource(
            file=file,
            size=path.stat().st_size,
            sha256=sha256,
            repo=self._name.repo,
            revision=self._commit,
            external=self._pin(beside) if beside in self._files else None,
        )

    def _graph(self, source: WeightsSource) -> onnx.GraphProto:
        import onnx
        from google.protobuf.message import DecodeError

        try:
            return onnx.load(str(self._fetch(source.file)), load_external_data=False).graph
        except DecodeError:
            self._refuse(f"{source.file} is not an ONNX model")

    def _read_json(self, file: str, largest: int = _LARGEST_CONFIG) -> dict[str, Any]:
        path = self._fetch(file)
        try:
            if path.stat().st_size <= largest:
                return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(str(self._name), f"its {file} is not JSON: {error}") from error
        self._refuse(f"its {file} is too large")

    def _refuse(self, problem: str, hint: str = "") -> NoReturn:
        raise InvalidInputError(str(self._name), problem, hint)


def _ports(graph: onnx.GraphProto) -> tuple[list[str], list[str]]:
    """Return the names of a graph's inputs and outputs."""
    constants = {one.name for one in graph.initializer}
    return [one.name for one in graph.input if one.name not in constants], [one.name for one in graph.output]
