"""What is known of an encoder, as data: the cards that come with Serupa and the user's own."""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from serupa.errors import InvalidInputError, NotFoundError, UnavailableError

DIMENSIONS = {"efficientnet-lite0": 1280, "resnet50": 2048}
"""Length of an embedding by architecture, where the architecture says it."""

HUB = "hf:"
"""What the names of the hub's encoders begin with: ``hf:OWNER/REPO[+PRECISION][@REVISION]``."""

_LARGEST_CARD = 2**20

_Text = Annotated[str, Meta(pattern=r"\S")]
_Name = Annotated[str, Meta(pattern=r"^(hf:[\w.-]+/)?\w[\w.+-]*\Z")]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What cards are made of: a field that a card does not have is refused."""


class WeightsSource(_Part, frozen=True):
    """Where an encoder's weights come from; what is None is unknown or does not apply.

    Parameters
    ----------
    file : str
        Name of the file; for a card of the user's own, its path.
    size : int, optional
        In bytes.
    sha256 : str, optional
        Of the whole file, in lower-case hexadecimal.
    package, package_path : str, optional
        An installable package that holds the file, and the path in it. ``serupa`` is one.
    repo, revision : str, optional
        A repository of the Hugging Face hub that holds the file, and the commit to take it from.
    external : WeightsSource, optional
        The file beside it that holds an ONNX graph's numbers, where they are not in the graph.
    """

    file: _Text
    size: Annotated[int, Meta(ge=1)] | None = None
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None
    package: _Text | None = None
    package_path: _Text | None = None
    repo: Annotated[str, Meta(pattern=r"^[\w.-]+/[\w.-]+\Z")] | None = None
    revision: Annotated[str, Meta(pattern=r"^[0-9a-f]{40}\Z")] | None = None
    external: WeightsSource | None = None

    def __post_init__(self) -> None:
        # What is fetched runs on the user's machine later: which file it is must be said beforehand
        if self.repo is not None and None in (self.revision, self.size, self.sha256):
            raise ValueError("weights in a repo need revision, size and sha256, so that they can be checked")
        # Such a file is looked for below a folder of the cache or of a package, and never elsewhere
        if self.repo is not None or self.package is not None:
            for path in filter(None, (self.file, self.package_path)):
                if not all(part.strip(".") for part in path.split("/")) or "\\" in path or ":" in path:
                    raise ValueError(f"{path!r} must be a relative path with / and without ..")


class OnnxPorts(_Part, frozen=True):
    """How to talk to an ONNX model.

    Parameters
    ----------
    input : str
        Name of the pixel input.
    layout : {"NCHW", "NHWC"}
        Order of the input's axes. A float input is given ``(pixels / 255 - mean) / std``; a ``uint8`` input
        is given the pixels as they are, for a graph that normalises them itself.
    output : str
        Name of the embedding output, (n, d); with a pooling, (n, t, d).
    feature_map : str, optional
        Name of the output (n, d, h, w) whose mean over (h, w) is the embedding.
    pooling : {"first", "mean"}, optional
        Which of t tokens is the embedding: the first (the class token), or the mean of all.
    """

    input: _Text
    layout: Literal["NCHW", "NHWC"]
    output: _Text
    feature_map: _Text | None = None
    pooling: Literal["first", "mean"] | None = None


class TextSide(_Part, frozen=True):
    """The side of an encoder that turns words into embeddings of the photos' space: a graph and a tokenizer.

    Parameters
    ----------
    weights, tokenizer : WeightsSource
        The graph, and the ``tokenizer.json``.
    output : str
        Name of the embedding output, (n, d).
    context : int
        How many tokens it takes at most; longer texts are cut.
    pad : int
        The token that fills up shorter texts.
    fill : bool
        Whether every text is filled up to `context`; else as far as the longest of those encoded together.
    """

    weights: WeightsSource
    tokenizer: WeightsSource
    output: _Text
    context: Annotated[int, Meta(ge=2, le=65_536)]
    pad: Annotated[int, Meta(ge=0)]
    fill: bool


class Card(_Part, frozen=True):
    """What is known of an encoder.

    Parameters
    ----------
    name, title : str
        To call it by, and to show to people. A folder of this name is made in the cache.
    architecture : {"efficientnet-lite0", "resnet50", "onnx"}
        The code that turns its weights into a graph; "onnx" where the weights are a graph already.
    dimension : int
        Length of an embedding.
    input_size : int
        Side of the square input, in pixels.
    mean, std : tuple of 3 floats
        Of red, green and blue, of pixels in 0..1.
    resize, resample : str
        How a photo is brought to the input size; see `serupa.images.photo_pixels`.
    short_side : int, optional
        With "crop": what the short side is scaled to before the centre is cut out, if not the input size.
    licence, source : str
        Of the weights: their licence, and where they are described.
    weights : WeightsSource
        Where they come from.
    onnx : OnnxPorts, optional
        For architecture "onnx" only.
    text : TextSide, optional
        What understands words, if anything does.
    joined : bool
        Whether one graph holds both sides; each is cut out of it.
    """

    name: _Name
    title: _Text
    architecture: Literal["efficientnet-lite0", "resnet50", "onnx"]
    dimension: Annotated[int, Meta(ge=1, le=65_536)]
    input_size: Annotated[int, Meta(ge=32, le=4096)]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: Literal["squash", "crop", "pad"]
    resample: Literal["bilinear", "bicubic"]
    licence: _Text
    source: _Text
    weights: WeightsSource
    onnx: OnnxPorts | None = None
    text: TextSide | None = None
    joined: bool = False
    short_side: Annotated[int, Meta(ge=32, le=8192)] | None = None

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
            raise ValueError("mean and std must be three finite numbers each, those of std above 0")
        if (self.architecture == "onnx") != (self.onnx is not None):
            raise ValueError("the table onnx is for architecture 'onnx', and for no other")
        if self.short_side is not None and (self.resize != "crop" or self.short_side < self.input_size):
            raise ValueError("short_side goes with resize 'crop' and is at least input_size")
        dimension = DIMENSIONS.get(self.architecture, self.dimension)
        if self.dimension != dimension:
            raise ValueError(f"dimension is {self.dimension}, but that of {self.architecture} is {dimension}")

    @property
    def understands_words(self) -> bool:
        """Whether it has a side that turns words into embeddings."""
        return self.text is not None

    @property
    def sources(self) -> tuple[WeightsSource, ...]:
        """Every file that it is made of."""
        sides = () if self.text is None else (self.text.weights, self.text.tokenizer)
        files = [one for side in (self.weights, *sides) for one in (side, side.external) if one is not None]
        return tuple(dict.fromkeys(files))

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain values, fit for JSON; what is unknown is left out."""
        return cast("dict[str, Any]", msgspec.json.decode(msgspec.json.encode(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Card:
        """Return the card that `to_dict` made these values from.

        Raises
        ------
        InvalidInputError
            If a field is missing, unknown or has a value that is not allowed.
        """
        return _checked(values, values.get("name") or "a card without a name")


def list_cards() -> list[Card]:
    """Return the cards that come with Serupa, the default first."""
    return list(_shipped_cards().values())


def load_card(name_or_path: str | os.PathLike[str], *, download: bool = True) -> Card:
    """Return the card of a name: one that comes with Serupa, a ``.toml`` file, or an encoder of the hub.

    Parameters
    ----------
    name_or_path : str or path-like
        A name from `list_cards`, the path of a card, or ``hf:OWNER/REPO[+PRECISION][@REVISION]``.
    download : bool
        Whether the hub may be asked about an encoder of its own.

    Raises
    ------
    NotFoundError
        If there is no such card.
    InvalidInputError
        If the file is not a card.
    SerupaError
        If the name is a hub's: as `serupa.encoders.hub.hub_card`.
    """
    name = os.fspath(name_or_path)
    if name.startswith(HUB):
        from serupa.encoders.hub import hub_card

        return hub_card(name, download=download)
    shipped = _shipped_cards()
    if name in shipped:
        return shipped[name]
    if not name.endswith(".toml"):
        names = ", ".join(shipped)
        hint = f"use one of {names}, the path of a card (.toml), or hf:OWNER/REPO"
        raise NotFoundError(name, "no such encoder", hint)
    return _read_card_file(Path(name))


def is_name_of(name: str, card: Card) -> bool:
    """Tell whether a name, as `load_card` takes it, is that of a card; the hub is not asked.

    Raises
    ------
    SerupaError
        As `load_card`, if nothing has that name.
    """
    if not name.startswith(HUB):
        return load_card(name).name == card.name
    from serupa.encoders.hub import Name

    parsed = Name.parse(name)
    revision = str(card.weights.revision)
    return str(parsed) == card.name and (parsed.revision is None or revision.startswith(parsed.revision))


def card_toml(card: Card) -> str:
    """Return a card of architecture "onnx" as TOML, whose texts, numbers and lists are written as in JSON."""
    values = card.to_dict()
    tables = {name: values.pop(name) for name in ("weights", "onnx")}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


@cache
def _shipped_cards() -> dict[str, Card]:
    text = Path(__file__).with_name("cards.toml").read_text(encoding="utf-8")
    return {name: _checked({"name": name, **table}, name) for name, table in tomllib.loads(text).items()}


def _read_card_file(path: Path) -> Card:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_CARD:
            problem = "is too long for a card" if path.is_file() else "there is no such card"
            raise (InvalidInputError if path.exists() else NotFoundError)(path, problem)
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnavailableError(path, f"the card cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # TOML that does not parse, or text that is not UTF-8
        raise InvalidInputError(path, f"not a card: {error}") from error
    defaults = {"name": path.stem, "title": path.stem, "licence": "not stated", "source": str(path)}
    card = _checked({**defaults, **values}, path)
    if card.weights.repo is not None or card.weights.package is not None:
        return card
    beside = msgspec.structs.replace(card.weights, file=str((path.parent / card.weights.file).resolve()))
    return msgspec.structs.replace(card, weights=beside)


def _checked(values: Mapping[str, Any], subject: object) -> Card:
    try:
        return msgspec.convert(values, Card)
    except msgspec.ValidationError as error:
        raise InvalidInputError(subject, f"not a card: {error}") from error
