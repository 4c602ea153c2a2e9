"""What is known of an encoder, as data: the cards that come with Serupa and the user's own."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

from serupa.errors import EncoderError

Architecture = Literal["efficientnet-lite0", "resnet50", "onnx"]
Layout = Literal["NCHW", "NHWC"]

# The same values as serupa.images.Resize; written out so that reading a card imports no image library.
_RESIZE = ("squash", "crop", "pad")
_RESAMPLE = ("bilinear", "bicubic")
_LAYOUT = get_args(Layout)
_ARCHITECTURES = get_args(Architecture)
_DIMENSIONS = {"efficientnet-lite0": 1280, "resnet50": 2048}
_LARGEST_INPUT = 4096
_LARGEST_DIMENSION = 65_536


@dataclass(frozen=True, slots=True)
class WeightsSource:
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
        An installable package that holds the file, and the path in it.
    repo, revision : str, optional
        A repository of the Hugging Face hub that holds the file, and the commit to take it from.
    """

    file: str
    size: int | None = None
    sha256: str | None = None
    package: str | None = None
    package_path: str | None = None
    repo: str | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class OnnxPorts:
    """How to talk to an ONNX model of the user's own.

    Parameters
    ----------
    input : str
        Name of the pixel input.
    layout : {"NCHW", "NHWC"}
        Order of the input's axes. A float input is given ``(pixels / 255 - mean) / std``; a ``uint8`` input
        is given the pixels as they are, for a graph that normalises them itself.
    output : str
        Name of the embedding output, (n, d).
    feature_map : str, optional
        Name of the output (n, d, h, w) whose mean over (h, w) is the embedding.
    """

    input: str
    layout: Layout
    output: str
    feature_map: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of an encoder.

    Parameters
    ----------
    name, title : str
        To call it by, and to show to people.
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
    licence, source : str
        Of the weights: their licence, and where they are described.
    weights : WeightsSource
        Where they come from.
    onnx : OnnxPorts, optional
        For architecture "onnx" only.
    """

    name: str
    title: str
    architecture: Architecture
    dimension: int
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: Literal["squash", "crop", "pad"]
    resample: Literal["bilinear", "bicubic"]
    licence: str
    source: str
    weights: WeightsSource
    onnx: OnnxPorts | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain values, fit for JSON; what is unknown is left out."""
        return cast("dict[str, Any]", _plain(asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Card:
        """Return the card that `to_dict` made these values from.

        Raises
        ------
        EncoderError
            If a field is missing, unknown or has a value that is not allowed.
        """
        name = values.get("name")
        return _read_card(values, name if isinstance(name, str) and name else "a card without a name")


def list_cards() -> list[Card]:
    """Return the cards that come with Serupa, the default first."""
    return list(_shipped_cards().values())


def load_card(name_or_path: str | os.PathLike[str]) -> Card:
    """Return the card of a name, or read the user's own from a ``.toml`` file.

    Raises
    ------
    EncoderError
        If there is no such card, or the file is not a card.
    """
    name = os.fspath(name_or_path)
    shipped = _shipped_cards()
    if name in shipped:
        return shipped[name]
    if not name.endswith(".toml"):
        known = ", ".join(shipped)
        raise EncoderError(f"there is no encoder {name!r}: use one of {known}, or the path of a card (.toml)")
    return _read_card_file(Path(name))


@cache
def _shipped_cards() -> dict[str, Card]:
    text = Path(__file__).with_name("cards.toml").read_text(encoding="utf-8")
    return {name: _read_card({"name": name, **table}, name) for name, table in tomllib.loads(text).items()}


def _read_card_file(path: Path) -> Card:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EncoderError(f"{path}: cannot read the card ({error.strerror})") from error
    except ValueError as error:  # TOML that does not parse, or text that is not UTF-8
        raise EncoderError(f"{path}: not a card: {error}") from error
    card = _read_card(
        {"name": path.stem, "title": path.stem, "licence": "not stated", "source": str(path), **values},
        str(path),
    )
    if card.weights.repo is not None or card.weights.package is not None:
        return card
    file = str((path.parent / card.weights.file).resolve())
    return dataclasses.replace(card, weights=dataclasses.replace(card.weights, file=file))


def _plain(value: Any) -> Any:
    """Tuples to lists, and no key whose value is None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return list(value) if isinstance(value, tuple) else value


class _Fields:
    """The values of one table of a card; each reader says what is allowed when a value is not."""

    def __init__(self, values: object, where: str, prefix: str = "") -> None:
        if not isinstance(values, Mapping):
            raise EncoderError(f"{where}: {prefix.rstrip('.') or 'the card'} must be a table")
        self._values = dict(values)
        self._where = where
        self._prefix = prefix

    def wrong(self, field: str, allowed: str) -> EncoderError:
        value = self._values.get(field)
        got = "is missing" if field not in self._values else f"is {value!r:.80}"
        return EncoderError(f"{self._where}: {self._prefix}{field} {got}: it must be {allowed}")

    def refuse_unknown(self, known: type) -> None:
        names = [field.name for field in fields(known)]
        for name in self._values:
            if name not in names:
                allowed = ", ".join(names)
                raise EncoderError(
                    f"{self._where}: {self._prefix}{name} is not a field of a card: use {allowed}"
                )

    def has(self, field: str) -> bool:
        return field in self._values

    def table(self, field: str) -> _Fields:
        if not isinstance(self._values.get(field), Mapping):
            raise self.wrong(field, "a table")
        return _Fields(self._values[field], self._where, f"{field}.")

    def text(self, field: str) -> str:
        value = self._values.get(field)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(field, "a text that is not empty")
        return value

    def optional_text(self, field: str) -> str | None:
        return self.text(field) if field in self._values else None

    def pattern(self, field: str, pattern: str, allowed: str) -> str | None:
        value = self.optional_text(field)
        if value is not None and not re.fullmatch(pattern, value):
            raise self.wrong(field, allowed)
        return value

    def choice(self, field: str, choices: tuple[str, ...]) -> Any:
        value = self._values.get(field)
        if value not in choices:
            raise self.wrong(field, "one of " + ", ".join(choices))
        return value

    def integer(self, field: str, lowest: int, highest: int) -> int:
        value = self._values.get(field)
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            allowed = f"a whole number from {lowest} to {highest}" if lowest < highest else str(lowest)
            raise self.wrong(field, allowed)
        return value

    def three(self, field: str, *, positive: bool) -> tuple[float, float, float]:
        value = self._values.get(field)
        allowed = f"three {'numbers above 0' if positive else 'numbers'} (red, green, blue; pixels in 0..1)"
        if not isinstance(value, list | tuple) or len(value) != 3:
            raise self.wrong(field, allowed)
        for number in value:
            real = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
            if not real or (positive and number <= 0):
                raise self.wrong(field, allowed)
        red, green, blue = (float(number) for number in value)
        return red, green, blue


def _read_card(values: object, where: str) -> Card:
    card = _Fields(values, where)
    card.refuse_unknown(Card)
    architecture = card.choice("architecture", _ARCHITECTURES)
    if architecture != "onnx" and card.has("onnx"):
        raise EncoderError(f"{where}: onnx is for architecture 'onnx' only, not {architecture!r}")
    dimension = _DIMENSIONS.get(architecture)
    # A name is a folder in the cache
    name = card.pattern("name", r"\w[\w.+-]*", "letters, digits and . _ + - only, and begin with no sign")
    if name is None:
        raise card.wrong("name", "given")
    return Card(
        name=name,
        title=card.text("title"),
        architecture=architecture,
        dimension=card.integer("dimension", dimension or 1, dimension or _LARGEST_DIMENSION),
        input_size=card.integer("input_size", 32, _LARGEST_INPUT),
        mean=card.three("mean", positive=False),
        std=card.three("std", positive=True),
        resize=card.choice("resize", _RESIZE),
        resample=card.choice("resample", _RESAMPLE),
        licence=card.text("licence"),
        source=card.text("source"),
        weights=_read_weights(card.table("weights")),
        onnx=_read_ports(card.table("onnx")) if architecture == "onnx" else None,
    )


def _read_weights(weights: _Fields) -> WeightsSource:
    weights.refuse_unknown(WeightsSource)
    source = WeightsSource(
        file=weights.text("file"),
        size=weights.integer("size", 1, 2**40) if weights.has("size") else None,
        sha256=weights.pattern("sha256", "[0-9a-f]{64}", "64 lower-case hexadecimal digits"),
        package=weights.optional_text("package"),
        package_path=weights.optional_text("package_path"),
        repo=weights.pattern("repo", r"[\w.-]+/[\w.-]+", "owner/name"),
        revision=weights.pattern("revision", "[0-9a-f]{40}", "a full commit hash, not a branch or a tag"),
    )
    # A file that is fetched runs on the user's machine later: which one it is must be said beforehand.
    for field in ("revision", "size", "sha256"):
        if source.repo is not None and getattr(source, field) is None:
            raise weights.wrong(field, "given where repo is, so that what is fetched can be checked")
    # Such a file is looked for below a folder of the cache or of a package, and never elsewhere
    for field, path in (("file", source.file), ("package_path", source.package_path)):
        fetched = source.repo is not None or source.package is not None
        if fetched and path is not None and not re.fullmatch(r"\w[\w.+-]*(/\w[\w.+-]*)*", path):
            raise weights.wrong(field, "a relative path with / and without ..")
    return source


def _read_ports(onnx: _Fields) -> OnnxPorts:
    onnx.refuse_unknown(OnnxPorts)
    return OnnxPorts(
        input=onnx.text("input"),
        layout=onnx.choice("layout", _LAYOUT),
        output=onnx.text("output"),
        feature_map=onnx.optional_text("feature_map"),
    )
