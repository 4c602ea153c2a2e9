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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

T = TypeVar("T")
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
_LONGEST = 4  # words of a phrase
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
    for level in reversed(_BETWEEN_LEVELS.split(plain(category))):
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


def plain(text: str) -> str:
    """Return a text in lower case, without accents, hyphens and underscores as spaces."""
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
    return (entry for _, entry in phrases(words, vocabulary()) if entry is not None)


def phrases(words: Sequence[str], known: Mapping[str, T]) -> Iterator[tuple[slice, T | None]]:
    """Walk through words, always taking the longest phrase that is known; else the next word, and None.

    A phrase is also known where its last word is a plural.
    """
    at = 0
    while at < len(words):
        found, stop = None, at + 1
        for end in range(min(at + _LONGEST, len(words)), at, -1):
            phrase = words[at:end]
            found = known.get(" ".join(phrase)) or known.get(" ".join((*phrase[:-1], _singular(phrase[-1]))))
            if found is not None:
                stop = end
                break
        yield slice(at, stop), found
        at = stop


@cache
def vocabulary() -> dict[str, tuple[str, frozenset[str]]]:
    """Return every phrase that names kinds, with its language and what it names."""
    table: dict[str, tuple[str, frozenset[str]]] = {}
    for kind in KINDS:
        for language, words in (("id", kind.words_id), ("en", kind.words_en)):
            for word in (*words, kind.name.replace("-", " ")):
                table[word] = (language if word in words else "en", frozenset({kind.name}))
    for word, kinds in GROUPS.items():
        table[word] = ("en", kinds)
    return table


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
