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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serupa.garments.colors import NEUTRAL, Color, lab_of
from serupa.styling.compatibility import Compatibility, unit
from serupa.styling.harmony import harmony
from serupa.styling.slots import Slot, wearable_together

_GOOD = 0.5  # score from which on two pieces go together: the middle of the scale
Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A garment that an outfit may use.

    Parameters
    ----------
    id, name, image : str
    category : str or None
    slot : Slot
    colors : tuple of Color
        The largest share first; empty where nobody looked.
    pattern : str or None
    embedding : (d,) array of float32
        Raw.
    owned : bool
        From the wardrobe, and not from the shop.
    """

    id: str
    name: str
    image: str
    category: str | None
    slot: Slot
    colors: tuple[Color, ...]
    pattern: str | None
    embedding: Rows
    owned: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values, without the embedding."""
        return {
            "id": self.id,
            "name": self.name,
            "image": self.image,
            "category": self.category,
            "slot": self.slot,
            "color": self.colors[0].name if self.colors else None,
            "pattern": self.pattern,
            "owned": self.owned,
        }


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
    pieces : tuple of Candidate
        From the top down.
    score : float
        0 to 1; the mean over its pairs.
    reasons : tuple of Reason
    """

    pieces: tuple[Candidate, ...]
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

    def pair(self, one: Candidate, other: Candidate) -> tuple[float, tuple[Reason, ...]]:
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

    def _learned(self, one: Candidate, other: Candidate) -> float | None:
        known = self.compatibility
        if known is None or not known.used or not one.colors or not other.colors:
            return None
        a, b = (
            known.features(unit(piece.embedding[None])[0], lab_of(piece.colors[0]), piece.slot)
            for piece in (one, other)
        )
        return None if a is None or b is None else known.score(a, b, (one.slot, other.slot))

    def propose(self, piece: Candidate, others: Sequence[Candidate], k: int = 3) -> list[Outfit]:
        """Return up to `k` outfits around a piece, those that need the least from the shop first.

        Slots that no candidate can fill stay empty. An outfit takes at most one thing from the shop as long
        as anything else is owned. No other garment is in two of the outfits, where there are enough of them.
        """
        used: dict[str, int] = defaultdict(int)
        outfits: list[Outfit] = []
        for _ in range(k):
            outfit = self._outfit(piece, others, used)
            if outfit is None or any(_same(outfit, known) for known in outfits):
                break
            outfits.append(outfit)
            for one in outfit.pieces:
                used[one.id] += 1
        return outfits

    def _outfit(
        self, piece: Candidate, others: Sequence[Candidate], used: Mapping[str, int]
    ) -> Outfit | None:
        chosen = [piece]
        owning = piece.owned or any(one.owned for one in others)
        bought = 0 if piece.owned else 1
        for slot in _needed(piece.slot, others):
            free = [
                one for one in others
                if one.slot == slot and one.id != piece.id
                and all(wearable_together(one.slot, c.slot) for c in chosen)
            ]  # fmt: skip
            best = self._best(free, chosen, used, may_buy=not owning or bought < 1)
            if best is not None:
                chosen.append(best)
                bought += not best.owned
        if len(chosen) == 1:
            return None
        order = {slot: n for n, slot in enumerate(_FROM_THE_TOP)}
        chosen.sort(key=lambda one: order[one.slot])
        judged = [self.pair(a, b) for a, b in combinations(chosen, 2)]
        reasons = tuple(reason for _, found in judged for reason in found)
        return Outfit(tuple(chosen), float(np.mean([score for score, _ in judged])), reasons)

    def _best(
        self,
        free: Sequence[Candidate],
        chosen: Sequence[Candidate],
        used: Mapping[str, int],
        *,
        may_buy: bool,
    ) -> Candidate | None:
        """Return the candidate that goes best with what is chosen: an owned one if one goes well."""
        scored = [
            (used.get(one.id, 0), -float(np.mean([self.pair(one, c)[0] for c in chosen])), one.id, one)
            for one in free
        ]
        scored.sort(key=lambda entry: entry[:3])
        owned = [entry for entry in scored if entry[3].owned]
        shop = [entry for entry in scored if not entry[3].owned] if may_buy else []
        well = [entry for entry in owned if -entry[1] >= _GOOD]
        for entries in (well, shop, owned):
            if entries:
                return entries[0][3]
        return None

    def orphans(self, pieces: Sequence[Candidate]) -> list[Candidate]:
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


_FROM_THE_TOP: tuple[Slot, ...] = ("accessory", "outerwear", "top", "one-piece", "bottom", "shoes")


def _needed(slot: Slot, others: Sequence[Candidate]) -> list[Slot]:
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


def _patterned(piece: Candidate) -> bool:
    names = {name.strip().lower() for name in (piece.pattern or "").split(",")}
    return bool(names - {"", "plain", "solid", "polos"})


def _words(rule: str, one: Candidate, other: Candidate) -> str:
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
