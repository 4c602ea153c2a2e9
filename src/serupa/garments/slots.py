"""Slots: where on the body a garment is worn, read from the name of its category."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

Slot = Literal["top", "bottom", "one-piece", "outerwear", "shoes", "accessory"]
SLOTS: tuple[Slot, ...] = ("outerwear", "top", "one-piece", "bottom", "shoes", "accessory")

# English and Indonesian. The first slot with a word in the name wins: a "shirt dress" is a dress.
_WORDS: Mapping[Slot, str] = MappingProxyType(
    {
        "one-piece": "dress(?:es)?|gown|jumpsuit|playsuit|romper|overall|dungaree|kaftan|bodysuit|gaun|gamis"
        "|terusan|daster",
        "shoes": "shoe|sneaker|boot|sandal|heel|loafer|trainer|slipper|footwear|sepatu|sendal",
        "accessory": "hat|cap|beanie|beret|scar(?:f|ve)|belt|bag|glove|tie|sock|sunglasses|watch(?:es)?"
        "|jewel(?:le)?ry|accessor(?:y|ie)|topi|syal|sabuk|tas|sarung tangan|dasi|kaus kaki"
        "|kacamata|aksesori|hijab|kerudung",
        "outerwear": "jacket|coat|blazer|outer|outerwear|outwear|parka|anorak|vest|gilet|cardigan|cape|jaket"
        "|mantel|jas|rompi|kardigan",
        "bottom": "pant|trouser|jean|short|skirt|legging|chino|bottom|jogger|tight|culotte|celana|rok|sarung"
        "|kulot",
        "top": "top|tee|t-?shirt|shirt|blouse|tank|hoodie|hoody|sweatshirt|sweater|jumper|pullover|polo"
        "|longsleeve|tunic|kemeja|kaus|kaos|blus|baju|atasan|batik|kebaya",
    }
)
_ENDINGS = {slot: re.compile(rf"(?:{words})s?(?![a-z])") for slot, words in _WORDS.items()}
_WHOLE = {slot: re.compile(rf"(?<![a-z])(?:{words})s?(?![a-z])") for slot, words in _WORDS.items()}


@lru_cache(1_024)
def slot_of(category: str | None) -> Slot | None:
    """Return the slot of a category; None where its name says nothing.

    Examples
    --------
    >>> slot_of("Hoodies & Sweatshirts"), slot_of("celana jeans"), slot_of("Gift cards")
    ('top', 'bottom', None)
    """
    if not category:
        return None
    name = category.lower()
    # a whole word says more than the end of one: "tie" is an accessory, a "necktie" too, a "bowtie" as well
    for patterns in (_WHOLE, _ENDINGS):
        for slot, pattern in patterns.items():
            if pattern.search(name):
                return slot
    return None


def wearable_together(one: Slot | None, other: Slot | None) -> bool:
    """Tell whether two garments have different places on one body; no place is none."""
    if one is None or other is None:
        return False
    if one == other:
        return one == "accessory"
    return {one, other} not in ({"one-piece", "top"}, {"one-piece", "bottom"})
