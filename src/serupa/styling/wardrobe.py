"""A wardrobe: a small catalogue of one's own clothes.

It is a `Catalog` in a directory of its own, with a small copy of each photo beside it, so that the photos
that were added may be moved or deleted. Beside it lies what was learned from a shop
(`serupa.styling.advisor`), so that the shop need not be at hand. What the owner corrects is kept apart from
what was guessed, and wins.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from serupa.errors import CatalogError, ItemNotFoundError
from serupa.garments.colors import NAMES, Color
from serupa.garments.garments import Garment
from serupa.images import read_bytes, thumbnail
from serupa.items import Item
from serupa.styling.advisor import Advisor
from serupa.styling.slots import Slot, slot_of

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.images import Photo

CORRECTABLE = ("category", "color", "pattern", "name")
"""What the owner may say better."""

TWICE = 0.97
"""Cosine from which on two pieces are nearly the same; a photo and its mirror image have about 0.97."""

_PHOTO_SIDE = 1_024


@dataclass(frozen=True, slots=True)
class Piece:
    """A garment that is owned.

    Parameters
    ----------
    id : str
    image : str
        The wardrobe's own copy of the photo.
    name : str
    category, color, pattern : str or None
        Corrected by the owner, else guessed; None where nobody knows.
    colors : tuple of Color
        As seen in the photo.
    confidence : float or None
        Of the guessed category; None where the owner said it.
    """

    id: str
    image: str
    name: str
    category: str | None
    color: str | None
    pattern: str | None
    colors: tuple[Color, ...]
    confidence: float | None

    @property
    def slot(self) -> Slot | None:
        """Where on the body it is worn."""
        return slot_of(self.category)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
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


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether something is owned.

    Parameters
    ----------
    verdict : {"owned", "similar", "new", "unknown"}
        Unknown where the wardrobe knows no shop that could teach what a similarity is worth.
    matches : tuple of Match
        The most likely first.
    garment : Garment
        What the photo shows.
    """

    verdict: str
    matches: tuple[Match, ...]
    garment: Garment

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "verdict": self.verdict,
            "garment": self.garment.to_dict(),
            "matches": [match.to_dict() for match in self.matches],
        }


class Wardrobe:
    """One's own clothes. Open one with `open`, make one with `create`; close it or use ``with``."""

    def __init__(self, path: Path, catalog: Catalog, advisor: Advisor) -> None:
        self.path = path
        self.catalog = catalog
        self.advisor = advisor

    @classmethod
    def create(cls, path: str | os.PathLike[str], shop: Catalog, advisor: Advisor | None = None) -> Self:
        """Make a wardrobe, or open the one that is there, and let it learn from a shop.

        Parameters
        ----------
        path : path
        shop : Catalog
            Its encoder is the wardrobe's.
        advisor : Advisor, optional
            What was learned from the shop, where that is at hand.

        Raises
        ------
        CatalogError
            If there is something else in the directory, or a wardrobe with another encoder.
        """
        from serupa.catalog import Catalog

        folder = Path(path)
        catalog = Catalog.create(
            folder / "clothes", encoder=shop.card.name, resize=shop.card.resize, exist_ok=True
        )
        try:
            learned = advisor or Advisor.learn(shop)
            learned.save(folder / "advisor.npz")
        except BaseException:
            catalog.close()
            raise
        return cls(folder, catalog, learned)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, wait_s: float = 0.0) -> Self:
        """Open a wardrobe.

        Raises
        ------
        CatalogError
            If there is none, or another process holds it.
        """
        from serupa.catalog import Catalog

        folder = Path(path)
        if not (folder / "clothes" / "catalog.json").exists():
            raise CatalogError(
                f"{folder}: no wardrobe there; make one: serupa wardrobe add PHOTO... -w {folder} -c SHOP"
            )
        advisor = Advisor.load(folder / "advisor.npz")
        return cls(folder, Catalog.open(folder / "clothes", wait_s=wait_s), advisor)

    def close(self) -> None:
        """Let the next process in."""
        self.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, photo: Photo, *, name: str | None = None) -> Piece:
        """Add a photo of a garment: category, colours and pattern are filled in.

        The same photo again is no second piece.

        Raises
        ------
        SerupaError
            If the photo cannot be used.
        """
        data = read_bytes(photo)
        item_id = hashlib.sha256(data).hexdigest()[:12]
        if not self.catalog.missing([item_id]):
            return self.piece(item_id)
        kept = self.path / "photos" / f"{item_id}.jpg"
        named = isinstance(photo, str | os.PathLike)  # so that an error names the file
        small = thumbnail(photo if named else data, _PHOTO_SIDE)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(small)
        garment = self.advisor.look(small, self.catalog.encoder.encode_photo(small))
        given = os.fspath(photo) if isinstance(photo, str | os.PathLike) else ""
        attributes = _seen(garment) | {"name": name or Path(given).stem or item_id}
        report = self.catalog.add([Item(item_id, str(kept), None, attributes)])
        if report.failures:
            raise CatalogError(report.failures[0].reason)
        return self.piece(item_id)

    def pieces(self) -> list[Piece]:
        """Return everything that is owned, ordered by slot, category, name."""
        pieces = [_piece(item) for item in self.catalog.items()]
        return sorted(pieces, key=lambda p: (p.slot or "~", p.category or "~", p.name, p.id))

    def piece(self, piece_id: str) -> Piece:
        """Return one piece.

        Raises
        ------
        ItemNotFoundError
            If there is no such piece.
        """
        if self.catalog.missing([piece_id]):
            raise ItemNotFoundError(
                f"{self.path}: no piece {piece_id!r}; list them with: serupa wardrobe list"
            )
        return _piece(self.catalog.get(piece_id))

    def correct(self, piece_id: str, changes: Mapping[str, str]) -> Piece:
        """Say what a piece is: its category, color, pattern or name.

        Raises
        ------
        ItemNotFoundError
            If there is no such piece.
        CatalogError
            If something else is to be changed, or the color is none of `serupa.garments.colors.NAMES`.
        """
        self.piece(piece_id)
        for field, value in changes.items():
            if field not in CORRECTABLE or not value:
                raise CatalogError(f"{field}={value}: say one of {', '.join(CORRECTABLE)}, and what it is")
        color = changes.get("color")
        if color is not None and color not in NAMES:
            raise CatalogError(f"{color!r} is no colour here; choose from {', '.join(NAMES)}")
        item = self.catalog.get(piece_id)
        said = {f"your_{field}": value for field, value in changes.items()}
        self.catalog.add([Item(item.id, item.image, None, dict(item.attributes) | said)])
        return self.piece(piece_id)

    def remove(self, ids: Sequence[str]) -> None:
        """Forget pieces and their photos.

        Raises
        ------
        ItemNotFoundError
            If there is no such piece; nothing is removed then.
        """
        photos = [Path(self.piece(one).image) for one in ids]
        if ids:
            self.catalog.remove(ids)
        for photo in photos:
            photo.unlink(missing_ok=True)

    def own(self, photo: Photo, k: int = 5) -> Answer:
        """Answer whether what a photo shows is owned.

        Raises
        ------
        SerupaError
            If the photo cannot be used.
        """
        embedding = self.catalog.encoder.encode_photo(photo)
        garment = self.advisor.look(photo, embedding)
        ids, owned = self.catalog.embeddings()
        judged = self.advisor.compare(embedding, owned)
        order = sorted(range(len(ids)), key=lambda n: (-judged.scores[n], -judged.similarities[n], ids[n]))[
            :k
        ]
        matches = tuple(
            Match(self.piece(ids[n]), float(judged.similarities[n]), judged.probability(int(n)))
            for n in order
        )
        best = matches[0].probability if matches else 0.0
        return Answer(self.advisor.verdict(best), matches, garment)

    def twice(self) -> list[tuple[Piece, Piece, float]]:
        """Return pairs of pieces that are nearly the same, the most alike first."""
        ids, embeddings = self.catalog.embeddings()
        near = _cosines(embeddings)
        found = [
            (self.piece(ids[a]), self.piece(ids[b]), float(near[a, b]))
            for a, b in np.argwhere(np.triu(near >= TWICE, 1))
        ]
        return sorted(found, key=lambda pair: (-pair[2], pair[0].id, pair[1].id))


def _cosines(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return np.asarray(unit @ unit.T, np.float32)


def _seen(garment: Garment) -> dict[str, Any]:
    """Return what was guessed of a garment as attributes of an item."""
    seen: dict[str, Any] = {
        "color": garment.colors[0].name,
        "colors": [color.name for color in garment.colors],
        # numbers of each colour, as one text: an item's attributes hold no objects
        "palette": [_packed(color) for color in garment.colors],
        "confidence": round(garment.category.confidence, 4),
    }
    for field, guess in (("category", garment.category), ("pattern", garment.pattern)):
        if guess.value is not None:
            seen[field] = guess.value
    return seen


def _packed(color: Color) -> str:
    values = (color.name, f"{color.share:.4f}", color.rgb)
    return " ".join((*values, f"{color.lightness:.4f}", f"{color.chroma:.4f}", f"{color.hue:.1f}"))


def _unpacked(text: str) -> Color:
    name, share, rgb, lightness, chroma, hue = text.split()
    return Color(name, float(share), rgb, float(lightness), float(chroma), float(hue))


def _piece(item: Item) -> Piece:
    def said(field: str) -> str | None:
        value = item.attributes.get(f"your_{field}", item.attributes.get(field))
        return None if value is None else str(value)

    palette = item.attributes.get("palette", [])
    colors = tuple(_unpacked(text) for text in palette) if isinstance(palette, list) else ()
    sure = "your_category" in item.attributes
    confidence = item.attributes.get("confidence")
    return Piece(
        item.id,
        item.image,
        said("name") or item.id,
        said("category"),
        said("color"),
        said("pattern"),
        colors,
        None if sure or not isinstance(confidence, float) else confidence,
    )
