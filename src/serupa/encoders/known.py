"""The encoders to choose from: those that come with Serupa, and those of the hub that were looked at."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from serupa.encoders.cards import HUB, list_cards

Speed = Literal["fast", "medium", "slow"]
"""Photos a second on two cores of a processor, in float: at least 100, at least 10, fewer."""

_SPEEDS: dict[str, Speed] = {"efficientnet-lite0": "fast", "resnet50": "medium", "serupa-clothes": "fast"}


class KnownEncoder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one chooses an encoder by; known before any of its files is here.

    Parameters
    ----------
    name, title, licence : str
    dimension, input_size : int
    words : bool
        Whether it understands words.
    megabytes : int
        Of its files, in float.
    speed : {"fast", "medium", "slow"}
        See `Speed`.
    revision : str, optional
        Of one of the hub: the commit that is taken unless another one is named.
    sha256 : dict of str to str
        Of files of this revision, as far as they were looked up.
    """

    name: str
    title: str
    licence: str
    dimension: int
    input_size: int
    words: bool
    megabytes: int
    speed: Speed
    revision: str | None = None
    sha256: dict[str, str] = {}


@cache
def known_encoders() -> Mapping[str, KnownEncoder]:
    """Return the encoders that are known by name, the default first, those of the hub last."""
    shipped = [
        KnownEncoder(
            name=card.name,
            title=card.title,
            licence=card.licence,
            dimension=card.dimension,
            input_size=card.input_size,
            words=card.understands_words,
            megabytes=round((card.weights.size or 0) / 1e6),
            speed=_SPEEDS[card.name],
        )
        for card in list_cards()
    ]
    tables = tomllib.loads(Path(__file__).with_name("hub.toml").read_text(encoding="utf-8"))
    hub = [msgspec.convert({"name": HUB + repo, **table}, KnownEncoder) for repo, table in tables.items()]
    return {one.name: one for one in (*shipped, *hub)}
