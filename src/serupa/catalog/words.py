"""Words: what an item is found by, and what a text asks for.

An item's terms are the stems of the words that its shop says of it, and what these mean: its kind of garment
and its colours, also those seen in its photo. They are weighed by BM25F [1]_, the inverse document frequency
left to the engine: ``tf / (k + tf)``, where ``tf`` adds up how often a term occurs, times the weight of the
field, which falls with the length of prose. Stems are English and Indonesian ones (Snowball [2]_) at once:
catalogues mix the two.

A word that no item has may be misspelt. Items are also found by every label's word with one letter left out
[3]_: two words that differ in one letter have such a form in common.

References
----------
.. [1] S. Robertson, H. Zaragoza, "The probabilistic relevance framework: BM25 and beyond", Foundations and
   Trends in Information Retrieval 3, 2009.
.. [2] M. F. Porter, "Snowball: a language for stemming algorithms", 2001, snowballstem.org.
.. [3] W. Garbe, "SymSpell: symmetric delete spelling correction", 2012, github.com/wolfgarbe/SymSpell.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serupa.catalog.schema import item_of
from serupa.errors import UsageError
from serupa.garments.colors import NAMES as COLORS
from serupa.garments.colors import colors_in
from serupa.garments.kinds import judged_as, kinds_of, phrases, plain, vocabulary
from serupa.garments.products import palette_of
from serupa.progress import Progress, silent
from serupa.storage.base import Neighbor, Terms, VectorStore
from serupa.vectors import Vector

if TYPE_CHECKING:
    from serupa.catalog import Catalog

VERSION = 1
"""Of how terms are made; raised where items of before could not be found by the terms of today's queries."""

Role = Literal["kind", "color", "word"]

_K = 1.2  # how soon a term that occurs often counts no more
_PROSE_LENGTH = 60  # words, about; longer prose counts less a word
_LENGTH_COUNTS = 0.75  # how far the length of prose matters
_WEIGHTS = {"name": 4.0, "category": 3.0, "color": 3.0, "colour": 3.0, "warna": 3.0, "description": 1.0}
_LABEL, _PROSE = 2.0, 1.0
_MEANING = 4.0  # of a kind or a colour that the shop names
_LABEL_LENGTH = 100
_MOST_WORDS = 2_000  # of one item
_LEAST_MISSPELT = 4  # letters of a word that may be misspelt
_LONGEST_MISSPELT = 24
_SIDE = 64  # pixels; shares of colours do not need more
_LOOKED_AT = 24  # items that have a word like a misspelt one

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_STOPWORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "as",
        "at",
        "but",
        "by",
        "for",
        "from",
        "have",
        "i",
        "in",
        "is",
        "it",
        "like",
        "me",
        "my",
        "of",
        "on",
        "one",
        "or",
        "please",
        "similar",
        "some",
        "something",
        "that",
        "the",
        "this",
        "to",
        "want",
        "with",
        "would",
        "you",
        "ada",
        "adalah",
        "agar",
        "aku",
        "atau",
        "bagi",
        "cari",
        "dalam",
        "dan",
        "dari",
        "dengan",
        "di",
        "ingin",
        "ini",
        "itu",
        "ke",
        "kepada",
        "lebih",
        "mau",
        "mirip",
        "oleh",
        "pada",
        "saya",
        "sebuah",
        "seperti",
        "serupa",
        "tapi",
        "tetapi",
        "tolong",
        "untuk",
        "warna",
        "yang",
    ]
)
_COLOR_WORDS: dict[str, tuple[str, ...]] = {
    "black": ("hitam",),
    "grey": ("gray", "charcoal", "silver", "abu", "abu abu", "kelabu"),
    "white": ("putih", "off white", "ivory"),
    "beige": ("cream", "tan", "krem", "sand", "ecru"),
    "brown": ("coklat", "cokelat", "chocolate", "cocoa", "mocha", "camel", "khaki"),
    "red": ("merah", "marun", "maroon", "burgundy", "crimson", "scarlet", "wine"),
    "pink": ("merah muda", "merah jambu", "rose", "fuchsia", "magenta"),
    "orange": ("oranye", "jingga", "peach", "coral"),
    "yellow": ("kuning", "mustard", "gold", "emas"),
    "green": ("hijau", "olive", "mint", "teal", "emerald"),
    "blue": ("biru", "turquoise", "tosca", "toska"),
    "navy": ("navy blue", "dark blue", "midnight blue", "biru tua", "biru dongker"),
    "purple": ("ungu", "lilac", "lavender", "violet", "plum"),
}
_SHADES_BEFORE = ("light", "dark", "pale", "bright", "deep", "soft")
_SHADES_AFTER = ("muda", "tua", "terang", "gelap")


@dataclass(frozen=True, slots=True)
class Understood:
    """A piece of a text that searches, and what it was taken for.

    Parameters
    ----------
    text : str
        The piece as it was written.
    role : {"kind", "color", "word"}
    value : str
        The kind of garment, the colour, or the word itself, corrected where it was misspelt.
    found : bool
        Whether any item has it.
    """

    text: str
    role: Role
    value: str
    found: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {"text": self.text, "role": self.role, "value": self.value, "found": self.found}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a text asks of a catalogue.

    Parameters
    ----------
    understood : tuple of Understood
        Piece by piece, in the order in which they were written.
    terms : dict of int to float
        What is searched; empty where no item has any of it.
    full : float
        The most that an item can score: the sum of what the best item scores for each piece.
    kind : str or None
        The one kind of garment that it names, as far as kinds count in the catalogue.
    """

    understood: tuple[Understood, ...]
    terms: Terms
    full: float
    kind: str | None

    def share(self, score: float) -> float:
        """Return how much of it an item with this score has, 0 to 1."""
        return min(1.0, score / self.full) if self.full > 0 else 0.0


@dataclass(frozen=True, slots=True)
class _Piece:
    """Words that belong together, and what they mean."""

    text: str
    words: tuple[str, ...]
    role: Role = "word"
    meanings: tuple[str, ...] = ()

    def understood(self, found: bool) -> Understood:
        value = self.meanings[0] if len(self.meanings) == 1 else " ".join(self.words)
        return Understood(self.text, self.role, value, found)

    def terms(self) -> Terms:
        """Return what it is searched by: what it means, and its words as they are."""
        terms = {_id(f"{self.role}:{meaning}"): 1.0 for meaning in self.meanings}
        for word in self.words:
            stems = _stems(word)
            for stem in stems:
                terms[_id(stem)] = 1.0 / len(stems) / len(self.words)
        return terms


def terms_of(payload: Mapping[str, Any]) -> Terms:
    """Return what an item is found by, from its point's payload."""
    attributes = {n: v for n, v in payload["attributes"].items() if n not in payload.get("truths", ())}
    texts = {name: _joined(value) for name, value in attributes.items()}
    counts: defaultdict[str, float] = defaultdict(float)
    misspelt: set[str] = set()
    for name, text in texts.items():
        words = [plain(word) for _, _, word in islice(_words(text), _MOST_WORDS)]
        is_prose = name == "description" or len(text) > _LABEL_LENGTH
        weight = _WEIGHTS.get(name, _PROSE if is_prose else _LABEL)
        if is_prose:
            weight /= 1 - _LENGTH_COUNTS + _LENGTH_COUNTS * max(1.0, len(words) / _PROSE_LENGTH)
        for word in words:
            for stem in _stems(word):
                counts[stem] += weight
            if not is_prose:
                misspelt.update(_one_left_out(word))
    for meaning, weight in _meanings(texts, payload.get("colors", {})):
        counts[meaning] += weight
    weights = {_id(f"~{form}"): 1.0 for form in misspelt}
    return weights | {_id(term): count / (_K + count) for term, count in counts.items()}


def color_is_named(attributes: Mapping[str, Any]) -> bool:
    """Return whether a shop says the colour of an item in words that have a meaning here."""
    return bool(_colors_named({name: _joined(value) for name, value in attributes.items()}))


def seen_colors(pixels: NDArray[np.uint8]) -> dict[str, float]:
    """Return the share of each colour of the garment in a photo ``(h, w, 3)``."""
    photo = Image.fromarray(pixels)
    photo.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    return {color.name: round(color.share, 3) for color in colors_in(np.asarray(photo))}


def add_words(catalog: Catalog, *, progress: Progress = silent) -> int:
    """Let the items of a catalogue of before be found by words; no photo is encoded again.

    Photos whose colours the shop does not name are looked at, where they can still be read. Then the points
    are written anew beside those in use, and switched to in one step.

    Returns
    -------
    int
        How many photos were looked at.
    """
    looked_at, done, total = 0, 0, catalog.count()
    for batch in catalog.store.scroll():
        progress("looking at colours", done, total)
        done += len(batch)
        unseen = [
            p for p in batch if "colors" not in p.payload and not color_is_named(p.payload["attributes"])
        ]
        seen = [(point, palette_of(item_of(point.payload))) for point in unseen]
        changed = [
            {**point.payload, "colors": {color.name: round(color.share, 3) for color in palette}}
            for point, palette in seen
            if palette
        ]
        catalog.store.replace_payloads(changed)
        looked_at += len(changed)
    kinds = catalog.manifest.kinds
    catalog.use_kinds(0.0 if kinds is None else kinds.share, progress=progress)  # writes every point anew
    return looked_at


def embedding_of(catalog: Catalog, text: str) -> Vector | None:
    """Return the embedding of a text ``(d,)``, raw; None where the encoder does not understand words.

    Raises
    ------
    MissingExtraError, UnavailableError, DamagedError
        As `serupa.encoders.Encoder.encode_texts`.
    """
    if not catalog.manifest.card.understands_words:
        return None
    embedding: Vector = catalog.encoder.encode_texts([text])[0]
    return embedding


def ask(catalog: Catalog, text: str) -> Asked:
    """Work out what a text asks of a catalogue.

    Parameters
    ----------
    catalog : Catalog
    text : str
        In English or Indonesian, or both.

    Raises
    ------
    UsageError
        If its items cannot be found by words.
    """
    if catalog.manifest.words != VERSION:
        problem = "was made when items could not be found by words"
        raise UsageError(catalog.path, problem, f"serupa words -c {catalog.path}")
    store, pieces = catalog.store, list(_pieces(text))
    best = _best(store, pieces)
    corrected = {
        number: better
        for number, piece in enumerate(pieces)
        if best[number] is None and piece.role == "word" and (better := _corrected(store, piece)) is not None
    }
    for number, score in zip(corrected, _best(store, list(corrected.values())), strict=True):
        pieces[number], best[number] = corrected[number], score
    terms: defaultdict[int, float] = defaultdict(float)
    for piece, score in zip(pieces, best, strict=True):
        for term, weight in piece.terms().items() if score is not None else ():
            terms[term] += weight
    kinds = {kind for piece in pieces if piece.role == "kind" for kind in piece.meanings}
    known = catalog.manifest.kinds
    return Asked(
        tuple(piece.understood(score is not None) for piece, score in zip(pieces, best, strict=True)),
        dict(terms),
        sum(score for score in best if score is not None),
        judged_as(kinds.pop(), known.names) if len(kinds) == 1 and known is not None else None,
    )


def _best(store: VectorStore, pieces: Sequence[_Piece]) -> list[float | None]:
    """Return what the best item scores for each piece; None where no item has it."""
    answers = store.find_words([piece.terms() for piece in pieces], 1, payload=False)
    return [answer[0].words if answer else None for answer in answers]


def _pieces(text: str) -> Iterator[_Piece]:
    found = list(_words(text))
    words = [" ".join(plain(word).split()) for _, _, word in found]
    for part, meaning in phrases(words, _table()):
        start, end = found[part][0][0], found[part][-1][1]
        piece = _Piece(text[start:end], tuple(words[part]))
        if meaning is not None:
            yield replace(piece, role=meaning[0], meanings=meaning[1])
        elif words[part][0] not in _STOPWORDS:
            yield piece


def _corrected(store: VectorStore, piece: _Piece) -> _Piece | None:
    """Return a piece with the word that was meant: one that differs in a letter, of ours or of the shop's."""
    (word,) = piece.words
    forms = _one_left_out(word)
    if not forms:
        return None
    ours = sorted({known for form in forms for known in _misspelt().get(form, ()) if _is_near(word, known)})
    if not ours:
        (alike,) = store.find_words([{_id(f"~{form}"): 1.0 for form in forms}], _LOOKED_AT)
        counted = Counter(w for one in alike for w in _label_words(one) if _is_near(word, w))
        ours = [known for known, _ in counted.most_common(1)]
    if not ours:
        return None
    (better,) = _pieces(ours[0])
    return replace(better, text=piece.text)


def _label_words(neighbor: Neighbor) -> set[str]:
    return {
        plain(w) for value in neighbor.payload["attributes"].values() for _, _, w in _words(_joined(value))
    }


def _is_near(word: str, other: str) -> bool:
    """Return whether words differ in one letter: another one, one too many, or two that changed places."""
    if word == other or abs(len(word) - len(other)) > 1:
        return False
    pairs = zip(word, other, strict=False)
    same = next((at for at, (one, two) in enumerate(pairs) if one != two), min(len(word), len(other)))
    one, two = word[same:], other[same:]
    return (
        one[1:] == two[1:] or one[1:] == two or one == two[1:] or (one[1::-1], one[2:]) == (two[:2], two[2:])
    )


def _one_left_out(word: str) -> set[str]:
    """Return a word and its forms with one letter left out; none of a word that is too short or too long."""
    if not _LEAST_MISSPELT <= len(word) <= _LONGEST_MISSPELT:
        return set()
    return {word} | {word[:at] + word[at + 1 :] for at in range(len(word))}


def _meanings(texts: Mapping[str, str], seen: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    kinds = kinds_of(texts.get("category", ""), texts.get("name", "")) or kinds_of(texts.get("name", ""))
    for kind in kinds:
        yield f"kind:{kind}", _MEANING / len(kinds)
    named = _colors_named(texts)
    for color, share in dict.fromkeys(named, 1.0).items() if named else seen.items():
        yield f"color:{color}", _MEANING * share


def _colors_named(texts: Mapping[str, str]) -> set[str]:
    for fields in (("color", "colour", "warna"), ("name",)):
        text = " ".join(texts.get(field, "") for field in fields)
        named = {m for piece in _pieces(text) if piece.role == "color" for m in piece.meanings}
        if named:
            return named
    return set()


@cache
def _table() -> dict[str, tuple[Role, tuple[str, ...]]]:
    """Return every phrase that has a meaning, and what it means."""
    table: dict[str, tuple[Role, tuple[str, ...]]] = {
        phrase: ("kind", tuple(sorted(kinds))) for phrase, (_, kinds) in vocabulary().items()
    }
    for color in COLORS:
        for word in (color, *_COLOR_WORDS[color]):
            shaded = (*(f"{s} {word}" for s in _SHADES_BEFORE), *(f"{word} {s}" for s in _SHADES_AFTER))
            table |= {phrase: ("color", (color,)) for phrase in shaded if phrase not in table}
            table[word] = ("color", (color,))
    return table


@cache
def _misspelt() -> dict[str, list[str]]:
    """Return the words that have a meaning, by their forms with a letter left out."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for known in _table():
        for form in _one_left_out(known) if " " not in known else ():
            found[form].append(known)
    return dict(found)


def _words(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _WORD.finditer(text):
        yield match.start(), match.end(), match[0].replace("'", "").replace("’", "")


def _joined(value: object) -> str:
    if isinstance(value, list):
        return " , ".join(value)
    return value if isinstance(value, str) else ""


_stemming = Lock()


@lru_cache(50_000)
def _stems(word: str) -> tuple[str, ...]:
    """Return the stems of a word: in English, and without what Indonesian puts before and after it."""
    with _stemming:  # a stemmer works on one word at a time
        english, indonesian = _stemmers()
        return tuple(dict.fromkeys((english(word), english(indonesian(word)))))


@cache
def _stemmers() -> tuple[Any, Any]:
    import snowballstemmer

    return tuple(snowballstemmer.stemmer(name).stemWord for name in ("english", "indonesian"))


def _id(term: str) -> int:
    """Return the number by which the engine knows a term."""
    return zlib.crc32(term.encode())
