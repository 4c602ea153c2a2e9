"""What a catalogue holds and returns: items and hits."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from serupa.errors import printable

Attribute = str | int | float | bool | list[str]
"""A value that a filter can compare: text, a number, a truth value, or a list of texts."""

FieldKind = Literal["text", "number", "words"]
"""How a field is indexed: text and numbers can be filtered and counted; words is prose, only shown."""

_TAG = re.compile(r"</?[A-Za-z][^<>]*>")

OWN_FIELDS: dict[str, FieldKind] = {
    "id": "words",
    "product_id": "text",
    "content": "text",
    "indexed_from": "text",
}
"""The fields of items besides attributes: ``content`` is the photo's hash, ``indexed_from`` its source."""


_LONGEST_NAME = 100  # characters
_LARGEST_INTEGER = 2**63 - 1  # of the engine


def is_attribute_name(name: str) -> bool:
    """Return whether an attribute may be named so: the engine's paths end at quotes and backslashes."""
    return (
        0 < len(name) <= _LONGEST_NAME
        and name not in OWN_FIELDS
        and not set(name) & {'"', "\\"}
        and printable(name) == name
    )


def attribute_problem(name: str, value: object) -> str:
    """Say why an attribute cannot be kept; nothing where it can."""
    if not is_attribute_name(name):
        return f"an attribute may not be named {name[: _LONGEST_NAME + 1]!a}"
    match value:
        case bool():
            is_kept = True
        case int():
            is_kept = abs(value) <= _LARGEST_INTEGER
        case float():
            is_kept = math.isfinite(value)
        case str():
            is_kept = is_unicode(value)
        case list():
            is_kept = all(isinstance(one, str) and is_unicode(one) for one in value)
        case _:
            is_kept = False
    what = "a text without half a surrogate pair, a finite number, a truth value or a list of texts"
    return "" if is_kept else f"{name!r} is not {what}"


def is_unicode(text: str) -> bool:
    """Return whether a text is one: names of files that are not UTF-8 come with halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain(text: str) -> str:
    """Return a name without HTML's tags and character entities, which tables of shops often hold."""
    return html.unescape(_TAG.sub("", text)).strip() or text


@dataclass(frozen=True, slots=True)
class Item:
    """One photo of one product.

    Parameters
    ----------
    id : str
        Unique in its catalogue and stable: adding an item whose id is already there is an update.
    image : str
        Where the photo is: a path (absolute, or relative to the working directory).
    product_id : str, optional
        The product that the photo shows; items that share it are photos of the same product.
    attributes : mapping
        Everything else that is known: ``name``, ``category``, ``price``, ...
    """

    id: str
    image: str
    product_id: str | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name to show to people, without HTML: the ``name`` attribute, else the product, else the id."""
        return plain(str(self.attributes.get("name") or self.product_id or self.id))

    def label(self, name: str) -> Any:
        """Return the value of ``id``, ``product_id`` or an attribute; None where there is none."""
        if name in ("id", "product_id"):
            return getattr(self, name)
        return self.attributes.get(name)


@dataclass(frozen=True, slots=True)
class Failure:
    """A photo, or the row of a table, that could not be used.

    Parameters
    ----------
    id : str
        What its item would be; empty where that is not known.
    image : str
        Where the photo was to be; empty where that is not known.
    reason : str
        What is wrong with it: names the photo, or the table and the line.
    breaks_off : bool
        Whether nothing that comes after it can be read, either.
    problem : str
        What is wrong, without a path or an address.
    """

    id: str
    image: str
    reason: str
    breaks_off: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a search.

    Parameters
    ----------
    rank : int
        1 for the nearest.
    item : Item
        What was found.
    distance : float
        Smaller is nearer, in the units of the metric.
    similarity : float
        Larger is nearer: ``1 - distance`` for cosine, ``1 / (1 + distance)`` for the others.
    words : float or None
        How much of what was asked in words the item has, 0 to 1; None where nothing was. Found by words
        alone, it is the similarity, and 1 less it the distance.
    """

    rank: int
    item: Item
    distance: float
    similarity: float
    words: float | None = None
