"""A wardrobe: a small catalogue of one's own clothes.

It is a `Catalog` in a directory of its own, with a small copy of each photo beside it, so that the photos
that were added may be moved or deleted. Beside it lies what was learned from a shop
(`serupa.styling.advisor`), so that the shop need not be at hand. What the owner corrects is stored apart from
what was guessed, and wins.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from serupa.catalog import Catalog
from serupa.errors import InvalidInputError, NotFoundError, UsageError
from serupa.files.atomic import write_atomic
from serupa.garments.colors import NAMES, Color
from serupa.garments.garments import Garment
from serupa.images import read_bytes, thumbnail
from serupa.items import Item
from serupa.styling.advisor import Advisor, Answer
from serupa.styling.outfits import Stylist
from serupa.styling.pieces import Piece
from serupa.vectors import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serupa.images import Photo

CORRECTABLE = ("category", "color", "pattern", "name")
"""What the owner may say better."""

TWICE = 0.97
"""Cosine from which on two pieces are nearly the same; a photo and its mirror image have about 0.97."""

_PHOTO_SIDE = 1_024


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
        ConflictError
            If there is something else in the directory, or a wardrobe with another encoder.
        """
        folder = Path(path)
        catalog = Catalog.create(
            folder / "clothes",
            encoder=shop.manifest.card.name,
            resize=shop.manifest.card.resize,
            kinds=0.0,
            exist_ok=True,
        )
        try:
            learned = advisor or Advisor.learn(shop)
            learned.save(folder / "advisor.npz")
        except BaseException:
            catalog.close()
            raise
        return cls(folder, catalog, learned)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], shop: str | os.PathLike[str] | None = None, *, wait_s: float = 0.0
    ) -> Self:
        """Open a wardrobe; make it, learning from a shop, where there is none and a shop is given.

        Parameters
        ----------
        path : path
        shop : path, optional
            The catalogue of a shop, for a new wardrobe.
        wait_s : float
            How long to wait for another process that has one of the two open.

        Raises
        ------
        NotFoundError
            If there is no wardrobe, and no shop to make it from.
        ConflictError
            If another process has it open.
        """
        folder = Path(path)
        if shop is not None and not (folder / "advisor.npz").exists():
            with Catalog.open(shop, wait_s=wait_s) as opened:
                return cls.create(folder, opened)
        if not (folder / "clothes" / "catalog.json").exists():
            hint = f"make one: serupa wardrobe add PHOTO... -w {folder} -c SHOP"
            raise NotFoundError(folder, "no wardrobe there", hint)
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
        InvalidInputError
            If the photo cannot be used.
        """
        data = read_bytes(photo)
        item_id = hashlib.sha256(data).hexdigest()[:12]
        with contextlib.suppress(NotFoundError):
            return self.piece(item_id)
        file = os.fspath(photo) if isinstance(photo, str | os.PathLike) else ""
        small = thumbnail(file or data, _PHOTO_SIDE)  # of the file, so that an error names it
        copy = self.path / "photos" / f"{item_id}.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(copy, small)
        garment = self.advisor.look(small, self.catalog.encoder.encode_photo(small))
        attributes = _attributes(garment) | {"name": name or Path(file).stem or item_id}
        report = self.catalog.add([Item(item_id, str(copy), None, attributes)])
        if report.failures:
            raise InvalidInputError(file or "the photo", report.failures[0].reason)
        return self.piece(item_id)

    def pieces(self) -> list[Piece]:
        """Return everything that is owned, ordered by slot, category, name."""
        items = list(self.catalog.items())
        _, embeddings = self.catalog.embeddings([item.id for item in items])
        pieces = [_piece(item, row) for item, row in zip(items, embeddings, strict=True)]
        return sorted(pieces, key=lambda p: (p.slot or "~", p.category or "~", p.name, p.id))

    def piece(self, piece_id: str) -> Piece:
        """Return one piece.

        Raises
        ------
        NotFoundError
            If there is no such piece.
        """
        return _piece(self._item(piece_id), self.catalog.embeddings([piece_id])[1][0])

    def correct(self, piece_id: str, changes: Mapping[str, str]) -> Piece:
        """Say what a piece is: its category, color, pattern or name.

        Raises
        ------
        NotFoundError
            If there is no such piece.
        UsageError
            If something else is to be changed, or the color is none of `serupa.garments.colors.NAMES`.
        """
        item = self._item(piece_id)
        for field, value in changes.items():
            if field not in CORRECTABLE or not value:
                problem = f"say one of {', '.join(CORRECTABLE)}, and what it is"
                raise UsageError(f"{field}={value}", problem)
        color = changes.get("color")
        if color is not None and color not in NAMES:
            raise UsageError(repr(color), "is no colour here", f"choose from {', '.join(NAMES)}")
        said = {f"your_{field}": value for field, value in changes.items()}
        self.catalog.add([Item(item.id, item.image, None, dict(item.attributes) | said)])
        return self.piece(piece_id)

    def remove(self, ids: Sequence[str]) -> None:
        """Forget pieces and their photos.

        Raises
        ------
        NotFoundError
            If there is no such piece; nothing is removed then.
        """
        photos = [Path(self._item(one).image) for one in ids]
        if ids:
            self.catalog.remove(ids)
        for photo in photos:
            photo.unlink(missing_ok=True)

    def _item(self, piece_id: str) -> Item:
        try:
            return self.catalog.get(piece_id)
        except NotFoundError:
            hint = "list them with: serupa wardrobe list"
            raise NotFoundError(self.path, f"no piece {piece_id!r}", hint) from None

    def own(self, photo: Photo, k: int = 5) -> tuple[Answer, Garment]:
        """Answer whether what a photo shows is owned, and what it shows.

        Raises
        ------
        InvalidInputError
            If the photo cannot be used.
        """
        embedding = self.catalog.encoder.encode_photo(photo)
        return self.advisor.own(embedding, self.pieces(), k), self.advisor.look(photo, embedding)

    def twice(self) -> list[tuple[Piece, Piece, float]]:
        """Return pairs of pieces that are nearly the same, the most alike first."""
        pieces = self.pieces()
        if not pieces:
            return []
        rows = unit(np.stack([piece.embedding for piece in pieces]))
        near = rows @ rows.T
        pairs = [(pieces[a], pieces[b], float(near[a, b])) for a, b in np.argwhere(np.triu(near >= TWICE, 1))]
        return sorted(pairs, key=lambda pair: (-pair[2], pair[0].id, pair[1].id))

    def overview(self) -> dict[str, Any]:
        """Return everything that is owned, what is there twice, and what nothing goes with, JSON-ready."""
        pieces = self.pieces()
        return {
            "pieces": [piece.to_dict() for piece in pieces],
            "twice": [
                {"pieces": [one.id, other.id], "similarity": similarity}
                for one, other, similarity in self.twice()
            ],
            "orphans": [one.id for one in Stylist(self.advisor.compatibility).orphans(pieces)],
        }


def _attributes(garment: Garment) -> dict[str, Any]:
    """Return what was guessed of a garment as attributes of an item."""
    attributes: dict[str, Any] = {
        "color": garment.colors[0].name,
        "colors": [color.name for color in garment.colors],
        # numbers of each colour, as one text: an item's attributes hold no objects
        "palette": [_packed(color) for color in garment.colors],
        "confidence": round(garment.category.confidence, 4),
    }
    for field, guess in (("category", garment.category), ("pattern", garment.pattern)):
        if guess.value is not None:
            attributes[field] = guess.value
    return attributes


def _packed(color: Color) -> str:
    values = (color.name, f"{color.share:.4f}", color.rgb)
    return " ".join((*values, f"{color.lightness:.4f}", f"{color.chroma:.4f}", f"{color.hue:.1f}"))


def _unpacked(text: str) -> Color:
    name, share, rgb, lightness, chroma, hue = text.split()
    return Color(name, float(share), rgb, float(lightness), float(chroma), float(hue))


def _piece(item: Item, embedding: NDArray[np.float32]) -> Piece:
    def said(field: str) -> str | None:
        value = item.attributes.get(f"your_{field}", item.attributes.get(field))
        return None if value is None else str(value)

    palette = item.attributes.get("palette", [])
    colors = [_unpacked(text) for text in palette] if isinstance(palette, list) else []
    color = said("color")
    colors.sort(key=lambda one: one.name != color)  # the owner knows which of them is the garment's
    guessed = None if "your_category" in item.attributes else item.attributes.get("confidence")
    return Piece(
        item.id,
        said("name") or item.id,
        item.image,
        said("category"),
        said("pattern"),
        tuple(colors),
        embedding,
        owned=True,
        said_color=color if not colors or colors[0].name != color else None,
        confidence=guessed if isinstance(guessed, float) else None,
    )
