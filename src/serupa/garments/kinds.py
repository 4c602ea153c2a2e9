"""Kinds of garment: the vocabulary, and what shops' categories name of it.

Data (``kinds.toml``) and a matcher. A kind's ``like`` is the kind that a photo can hardly tell it from (jeans
are trousers): where a judge of photos has not learned a kind of its own, it answers for that one.

The matcher reads a category as shops write it, also a path of them ("Men/Tops/Tees", "Apparel & Accessories >
Clothing > Shirts & Tops"). In each run of words between conjunctions one kind is named: in English by the
last word that names one ("shirt dress" is a dress), in Indonesian by the first ("celana jeans"). The deepest
level of a path that names anything decides; levels above it only narrow it down.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

Region = Literal["upper", "lower", "whole", "feet", "other"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of garment.

    Parameters
    ----------
    name : str
        The key, English, singular.
    en, id : str
        What it is called on a page, in English and Indonesian.
    region : {"upper", "lower", "whole", "feet", "other"}
        The part of a dressed person that it covers.
    words_en, words_id : tuple of str
        What shops call it, singular, lower case, hyphens as spaces.
    like : str or None
        The kind that a photo can hardly tell it from.
    """

    name: str
    en: str
    id: str
    region: Region
    words_en: tuple[str, ...]
    words_id: tuple[str, ...] = ()
    like: str | None = None


def _read() -> tuple[Kind, ...]:
    text = Path(__file__).with_name("kinds.toml").read_text(encoding="utf-8")
    return tuple(
        msgspec.convert({"name": name, **table}, Kind) for name, table in tomllib.loads(text).items()
    )


KINDS: tuple[Kind, ...] = _read()
"""Every kind, in the order in which it is shown."""

NAMES: tuple[str, ...] = tuple(kind.name for kind in KINDS)
BY_NAME: dict[str, Kind] = {kind.name: kind for kind in KINDS}

_UPPER = frozenset(k.name for k in KINDS if k.region == "upper")
_LOWER = frozenset(k.name for k in KINDS if k.region == "lower")
_LIGHT = frozenset({"t-shirt", "tank", "longsleeve", "shirt", "blouse", "sweater", "hoodie"})

GROUPS: dict[str, frozenset[str]] = {
    "top": _LIGHT,
    "atasan": _LIGHT,
    "baju atasan": _LIGHT,
    "bottom": _LOWER,
    "bawahan": _LOWER,
    "outerwear": frozenset({"jacket", "coat"}),
    "outwear": frozenset({"jacket", "coat"}),
    "pakaian luar": frozenset({"jacket", "coat"}),
    "shirts and tops": _LIGHT,
}
"""Words that name several kinds at once; what they name is narrowed down by the rest of a category."""

_BETWEEN_LEVELS = re.compile(r"\s*(?:[/>|»›]|->|::)\s*")
_CONJUNCTIONS = re.compile(r"[&,;+()\[\]]|\b(?:and|or|dan|atau)\b")
_WORD = re.compile(r"[a-z0-9]+")
_NOT_PLURAL = ("ss", "us", "is")


def kinds_named(category: str) -> frozenset[str]:
    """Return the kinds that a shop's category names: one, several, or none.

    Examples
    --------
    >>> sorted(kinds_named("Bottoms/Pants & Shorts"))
    ['shorts', 'trousers']
    >>> sorted(kinds_named("Pakaian Pria > Kaos Kaki"))
    ['socks']
    """
    found: frozenset[str] = frozenset()
    for level in reversed(_BETWEEN_LEVELS.split(_plain(category))):
        named = frozenset().union(*map(_named_by_run, _CONJUNCTIONS.split(level)))
        if not found:
            found = named
        elif found & named:
            found &= named
    return found


def judged_as(name: str, learned: frozenset[str] | tuple[str, ...]) -> str | None:
    """Return the kind as which a judge that has learned some kinds answers for this one, or None."""
    kind: str | None = name
    while kind is not None and kind not in learned:
        kind = BY_NAME[kind].like
    return kind


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c)).replace("-", " ").replace("_", " ")


def _named_by_run(run: str) -> frozenset[str]:
    words = _WORD.findall(run.replace("'", ""))
    matches = list(_matches(words))
    if not matches:
        return frozenset()
    indonesian = any(language == "id" for language, _ in matches)
    exact = [kinds for _, kinds in matches if len(kinds) == 1]
    candidates = exact or [kinds for _, kinds in matches]
    return candidates[0] if indonesian else candidates[-1]


def _matches(words: list[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Walk through words, always taking the longest phrase that names something."""
    table, longest = _table()
    at = 0
    while at < len(words):
        for length in range(min(longest, len(words) - at), 0, -1):
            phrase = words[at : at + length]
            entry = table.get(" ".join(phrase)) or table.get(" ".join((*phrase[:-1], _singular(phrase[-1]))))
            if entry is not None:
                yield entry
                at += length - 1
                break
        at += 1


@cache
def _table() -> tuple[dict[str, tuple[str, frozenset[str]]], int]:
    table: dict[str, tuple[str, frozenset[str]]] = {}
    for kind in KINDS:
        for language, words in (("id", kind.words_id), ("en", kind.words_en)):
            for word in (*words, kind.name.replace("-", " ")):
                table[word] = (language if word in words else "en", frozenset({kind.name}))
    for word, kinds in GROUPS.items():
        table[word] = ("en", kinds)
    return table, max(len(word.split()) for word in table)


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word == "scarves":
        return "scarf"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(_NOT_PLURAL) and len(word) > 2:
        return word[:-1]
    return word


def kinds_of(category: str, name: str = "") -> frozenset[str]:
    """Return the kinds that a category names, narrowed down by the product's name where that can.

    Examples
    --------
    >>> sorted(kinds_of("Bottoms/Pants & Shorts", "Portia Shorts"))
    ['shorts']
    """
    found = kinds_named(category)
    if len(found) > 1 and name:
        found = (found & kinds_named(name)) or found
    return found
