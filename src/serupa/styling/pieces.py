"""A garment that somebody owns or a shop sells, as styling sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serupa.garments.colors import Color
from serupa.garments.slots import Slot, slot_of


@dataclass(frozen=True, slots=True)
class Piece:
    """A garment of a wardrobe or of a shop.

    Parameters
    ----------
    id, name, image : str
        The image is empty where the photo is the owner's own business.
    category, pattern : str or None
        None where nobody knows.
    colors : tuple of Color
        The garment's main colour first; empty where nobody looked.
    embedding : (d,) array of float32
        Of its photo; the length does not matter.
    owned : bool
        From a wardrobe, and not from a shop.
    said_color : str or None
        What the owner calls the colour, where that is none of `colors`.
    confidence : float or None
        Of a guessed category; None where it was said.
    """

    id: str
    name: str
    image: str
    category: str | None
    pattern: str | None
    colors: tuple[Color, ...]
    embedding: NDArray[np.float32] = field(compare=False, repr=False)
    owned: bool
    said_color: str | None = None
    confidence: float | None = None

    @property
    def slot(self) -> Slot | None:
        """Where on the body it is worn; None where its category does not say."""
        return slot_of(self.category)

    @property
    def color(self) -> str | None:
        """The name of its main colour."""
        return self.said_color or (self.colors[0].name if self.colors else None)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values, without the embedding."""
        return {
            "id": self.id,
            "image": self.image,
            "name": self.name,
            "category": self.category,
            "slot": self.slot,
            "color": self.color,
            "pattern": self.pattern,
            "confidence": self.confidence,
            "colors": [color.to_dict() for color in self.colors],
            "owned": self.owned,
        }


@dataclass(frozen=True, slots=True)
class Match:
    """A piece that is like a photo.

    Parameters
    ----------
    piece : Piece
    similarity : float
        Cosine, as a search gives it.
    probability : float or None
        That the two are the same product; None where a shop could not teach it.
    """

    piece: Piece
    similarity: float
    probability: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return self.piece.to_dict() | {"similarity": self.similarity, "probability": self.probability}
