"""Outfits: a piece and one garment for each other slot, and why.

Two garments go together as far as their colours do (`serupa.styling.harmony`), two patterns being one too
many, and, where a shop's pairs have taught it, as far as the learned form says
(`serupa.styling.compatibility`). The score of an outfit is the mean over its pairs. Owned pieces come
first: something from the shop is proposed only for a slot that no owned piece fills well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from serupa.errors import InvalidInputError, NotFoundError
from serupa.garments.colors import NEUTRAL, lab_of
from serupa.garments.slots import Slot, wearable_together
from serupa.styling.compatibility import Compatibility
from serupa.styling.harmony import harmony
from serupa.styling.pieces import Piece
from serupa.vectors import unit

if TYPE_CHECKING:
    from serupa.filters import Where
    from serupa.styling.shopfront import Shopfront

_GOOD = 0.5  # score from which on two pieces go together: the middle of the scale


@dataclass(frozen=True, slots=True)
class Reason:
    """Why two garments were put together, from what was used.

    Parameters
    ----------
    code : str
        ``learned``, ``patterns``, or a rule of `harmony`.
    text : str
        In English.
    pieces : tuple of str
        The ids of the two.
    """

    code: str
    text: str
    pieces: tuple[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {"code": self.code, "text": self.text, "pieces": list(self.pieces)}


@dataclass(frozen=True, slots=True)
class Outfit:
    """A whole outfit.

    Parameters
    ----------
    pieces : tuple of Piece
        From the top down.
    score : float
        0 to 1; the mean over its pairs.
    reasons : tuple of Reason
    """

    pieces: tuple[Piece, ...]
    score: float
    reasons: tuple[Reason, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "score": round(self.score, 4),
            "pieces": [piece.to_dict() for piece in self.pieces],
            "reasons": [reason.to_dict() for reason in self.reasons],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Stylist:
    """Puts outfits together.

    Parameters
    ----------
    compatibility : Compatibility, optional
        Used only where it was shown to be worth something.
    """

    compatibility: Compatibility | None = None

    def pair(self, one: Piece, other: Piece) -> tuple[float, tuple[Reason, ...]]:
        """Return how well two garments go together, 0 to 1, and why."""
        ids = (one.id, other.id)
        score, rule = harmony(one.colors, other.colors)
        reasons = [Reason(rule, _words(rule, one, other), ids)]
        if _patterned(one) and _patterned(other):
            score = max(0.0, score - 0.25)
            reasons.append(Reason("patterns", "two patterns at once", ids))
        learned = self._learned(one, other)
        if learned is not None:
            if learned >= _GOOD + 0.1:
                reasons.insert(0, Reason("learned", "like what the shop shows together", ids))
            score = (score + 2 * learned) / 3
        return score, tuple(reasons)

    def _learned(self, one: Piece, other: Piece) -> float | None:
        model = self.compatibility
        if model is None or not model.used or not one.colors or not other.colors:
            return None
        if one.slot is None or other.slot is None:
            return None
        a = model.features(unit(one.embedding), lab_of(one.colors[0]), one.slot)
        b = model.features(unit(other.embedding), lab_of(other.colors[0]), other.slot)
        return None if a is None or b is None else model.score(a, b, (one.slot, other.slot))

    def propose(self, piece: Piece, others: Sequence[Piece], k: int = 3) -> list[Outfit]:
        """Return up to `k` outfits around a piece, those that need the least from the shop first.

        Slots that no piece can fill stay empty. An outfit takes at most one thing from the shop as long
        as anything else is owned. No other garment is in two of the outfits, where there are enough of them.
        """
        used: dict[str, int] = defaultdict(int)
        outfits: list[Outfit] = []
        others = [one for one in others if one.id != piece.id]
        for _ in range(k):
            outfit = self._outfit(piece, others, used)
            if outfit is None or any(_same(outfit, earlier) for earlier in outfits):
                break
            outfits.append(outfit)
            for one in outfit.pieces:
                used[one.id] += 1
        return outfits

    def _outfit(self, piece: Piece, others: Sequence[Piece], used: Mapping[str, int]) -> Outfit | None:
        worn = [piece]
        owning = piece.owned or any(one.owned for one in others)
        bought = not piece.owned
        for slot in _needed(piece.slot, others):
            free = [
                one
                for one in others
                if one.slot == slot and all(wearable_together(one.slot, other.slot) for other in worn)
            ]
            best = self._best(free, worn, used, may_buy=not owning or not bought)
            if best is not None:
                worn.append(best)
                bought = bought or not best.owned
        if len(worn) == 1:
            return None
        worn.sort(key=lambda one: _FROM_THE_TOP.index(one.slot) if one.slot else -1)
        judged = [self.pair(a, b) for a, b in combinations(worn, 2)]
        reasons = tuple(reason for _, own in judged for reason in own)
        return Outfit(tuple(worn), float(np.mean([score for score, _ in judged])), reasons)

    def _best(
        self, free: Sequence[Piece], worn: Sequence[Piece], used: Mapping[str, int], *, may_buy: bool
    ) -> Piece | None:
        """Return the piece that goes best with what is worn: an owned one if one goes well."""
        fits = {one.id: float(np.mean([self.pair(one, other)[0] for other in worn])) for one in free}
        ordered = sorted(free, key=lambda one: (used.get(one.id, 0), -fits[one.id], one.id))
        owned = [one for one in ordered if one.owned]
        shop = [one for one in ordered if not one.owned and may_buy]
        well = [one for one in owned if fits[one.id] >= _GOOD]
        return next(iter([*well, *shop, *owned]), None)

    def orphans(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Return the pieces that nothing else goes with."""
        return [
            one
            for one in pieces
            if not any(
                other.id != one.id
                and wearable_together(one.slot, other.slot)
                and self.pair(one, other)[0] >= _GOOD
                for other in pieces
            )
        ]


def outfits_around(
    piece_id: str,
    owned: Sequence[Piece],
    shop: Shopfront | None,
    *,
    buy: bool = True,
    where: Where = None,
    compatibility: Compatibility | None = None,
    k: int = 3,
) -> tuple[Piece, list[Outfit]]:
    """Propose outfits around a piece that is owned, else one that is sold.

    Parameters
    ----------
    piece_id : str
    owned : sequence of Piece
    shop : Shopfront, optional
    buy : bool
        Whether the shop may add garments.
    where : mapping, sequence of str or filter, optional
        Which of its garments.
    compatibility : Compatibility, optional
        What goes with what.
    k : int
        How many outfits.

    Returns
    -------
    tuple of (Piece, list of Outfit)
        The piece, and up to `k` outfits.

    Raises
    ------
    NotFoundError
        If the piece is neither owned nor sold.
    InvalidInputError
        If its category has no place in an outfit.
    """
    own = next((one for one in owned if one.id == piece_id), None)
    if own is None and shop is not None:
        own = shop.piece(piece_id)
    if own is None:
        raise NotFoundError(piece_id, "no such piece", "list them with: serupa wardrobe list")
    if own.slot is None:
        problem = f"its category is {own.category or 'unknown'}, no part of an outfit"
        hint = "correct it: serupa wardrobe correct" if own.owned else ""
        raise InvalidInputError(piece_id, problem, hint)
    others = [*owned, *(shop.pieces(where) if shop is not None and buy else ())]
    return own, Stylist(compatibility).propose(own, others, k)


_FROM_THE_TOP: tuple[Slot, ...] = ("accessory", "outerwear", "top", "one-piece", "bottom", "shoes")


def _needed(slot: Slot | None, others: Sequence[Piece]) -> list[Slot]:
    """Return the other slots of an outfit around a piece: what dresses a body first."""
    there = {one.slot for one in others}
    whole: list[Slot] = ["top", "bottom"]
    if (
        slot in ("outerwear", "shoes", "accessory")
        and "one-piece" in there
        and not {"top", "bottom"} <= there
    ):
        whole = ["one-piece"]
    if slot == "one-piece":
        whole = []
    wanted: list[Slot] = [*whole, "outerwear", "shoes", "accessory"]
    return [one for one in wanted if one != slot and one in there]


def _same(one: Outfit, other: Outfit) -> bool:
    return {piece.id for piece in one.pieces} == {piece.id for piece in other.pieces}


def _patterned(piece: Piece) -> bool:
    names = {name.strip().lower() for name in (piece.pattern or "").split(",")}
    return bool(names - {"", "plain", "solid", "polos"})


def _words(rule: str, one: Piece, other: Piece) -> str:
    a, b = (piece.colors[0].name if piece.colors else "" for piece in (one, other))
    neutral = a if a in NEUTRAL else b
    return {
        "unknown": "nothing is known of the colour of one of the two",
        "neutral": f"{neutral} goes with {b if neutral == a else a}",
        "same": f"{a} twice" if a == b else f"{a} and {b}, much the same",
        "tonal": f"{a} in two shades" if a == b else f"{a} and {b}, shades of one hue",
        "near": f"{a} and {b} lie side by side",
        "opposite": f"{a} and {b} are opposites",
        "loud": f"{a} and {b} are both loud",
        "plain": f"{a} with {b}",
    }[rule]
