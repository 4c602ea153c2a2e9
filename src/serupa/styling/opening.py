"""Opening wardrobes, and saying in words what they answer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serupa.errors import CatalogError
from serupa.styling.advisor import Advisor
from serupa.styling.compatibility import compatibility_of
from serupa.styling.outfits import Candidate, Outfit, Stylist
from serupa.styling.shopfront import Shopfront, owned_candidates
from serupa.styling.wardrobe import Answer, Wardrobe


def wardrobe_at(
    path: str | os.PathLike[str], shop: str | os.PathLike[str] | None, *, wait_s: float = 0.0
) -> Wardrobe:
    """Open a wardrobe; make it, learning from a shop, where there is none and a shop is given.

    Raises
    ------
    CatalogError
        If there is no wardrobe and no shop to make it from, or another process holds one of them.
    """
    from serupa.catalog import Catalog

    if shop is None or (Path(path) / "advisor.npz").exists():
        return Wardrobe.open(path, wait_s=wait_s)
    with Catalog.open(shop, wait_s=wait_s) as opened:
        return Wardrobe.create(path, opened)


@contextmanager
def taught(path: Path, shop: str, related: str | None, *, wait_s: float = 0.0) -> Iterator[Wardrobe]:
    """Open a wardrobe that has just learned from a shop (again).

    Raises
    ------
    CatalogError, SourceError
        If one of the two cannot be opened, or the table of pairs cannot be used.
    """
    from serupa.catalog import Catalog

    with Catalog.open(shop, wait_s=wait_s) as opened:
        advisor = Advisor.learn(opened, related)
        wardrobe = Wardrobe.create(path, opened, advisor)
    with wardrobe:
        yield wardrobe


def learned(advisor: Advisor) -> dict[str, Any]:
    """Return what an advisor knows, as JSON-ready values, and as ``lines`` for people."""
    lines = []
    found: dict[str, Any] = {"encoder": advisor.encoder}
    for name, voters in (("category", advisor.eye.category), ("pattern", advisor.eye.pattern)):
        found[name] = list(voters.classes) if voters else None
        classes = ", ".join(voters.classes) if voters else "nothing to learn from"
        lines.append(f"{name.capitalize()}: {classes}")
    check = advisor.ownership.check if advisor.ownership else None
    found["ownership"] = check.to_dict() if check else None
    if check is None:
        lines.append("Owned already: too few products with several photos to learn from")
    else:
        said = "nothing was called owned" if check.precision is None else f"right {check.precision:.0%}"
        lines.append(f"Owned already: {said}, notices {check.recall:.0%} of what is owned")
    pairs = advisor.compatibility
    found["pairs"] = pairs.evidence.to_dict() if pairs else None
    if pairs is not None:
        area = pairs.evidence.learned
        verdict = "used" if pairs.used else "no signal in the pairs: colours alone are used"
        lines.append(
            f"What goes together: area under the ROC curve {area.mean:.2f} ({area.low:.2f} to "
            f"{area.high:.2f}) on unseen products, chance 0.50; {verdict}"
        )
    return found | {"lines": lines}


def overview(wardrobe: Wardrobe) -> dict[str, Any]:
    """Return everything that is owned, what is there twice, and what nothing goes with."""
    stylist = Stylist(wardrobe.advisor.compatibility)
    owned = owned_candidates(wardrobe)
    return {
        "pieces": [piece.to_dict() for piece in wardrobe.pieces()],
        "twice": [
            {"pieces": [one.id, other.id], "similarity": similarity}
            for one, other, similarity in wardrobe.twice()
        ],
        "orphans": [one.id for one in stylist.orphans(owned)],
    }


def said_of(answer: Answer) -> str:
    """Put an answer into one sentence."""
    if not answer.matches:
        return "The wardrobe is empty."
    best = answer.matches[0]
    chance = "" if best.probability is None else f" ({int(100 * best.probability)}% sure)"
    return {
        "owned": f"You own this: {best.piece.name}{chance}.",
        "similar": f"You own something close: {best.piece.name}{chance}.",
        "new": "You own nothing like this.",
        "unknown": f"The closest that you own is {best.piece.name}; how close is the same nobody has taught.",
    }[answer.verdict]


def outfits_around(
    piece: str,
    *,
    shop: str | None,
    wardrobe: str | None,
    related: str | None = None,
    where: list[str] | None = None,
    k: int = 3,
    wait_s: float = 0.0,
) -> tuple[Candidate, list[Outfit]]:
    """Propose outfits around a piece of a wardrobe, or of a shop.

    Parameters
    ----------
    piece : str
        Its id; looked for in the wardrobe first.
    shop, wardrobe : path, optional
        Where garments come from; at least one.
    related : path, optional
        A table of pairs to learn from now.
    where : list of str, optional
        A filter on what the shop may add.
    k : int
        How many outfits.

    Raises
    ------
    CatalogError
        If neither is given, the piece is in none, or its category has no place in an outfit.
    """
    from serupa.catalog import Catalog

    candidates: list[Candidate] = []
    compatibility = None
    own: Candidate | None = None
    if wardrobe is not None:
        with Wardrobe.open(wardrobe, wait_s=wait_s) as opened:
            candidates += owned_candidates(opened)
            compatibility = opened.advisor.compatibility
            own = next((one for one in candidates if one.id == piece), None)
            if own is None and not opened.catalog.missing([piece]):
                raise CatalogError(
                    f"{piece}: its category is {opened.piece(piece).category or 'unknown'}, no part of an "
                    f"outfit; correct it: serupa wardrobe correct {piece} category=Shirt -w {wardrobe}"
                )
    if shop is not None:
        with Catalog.open(shop, wait_s=wait_s) as opened_shop:
            front = Shopfront(opened_shop)
            candidates += front.candidates(where)
            if related is not None:
                compatibility = compatibility_of(opened_shop, related)
            if own is None and not opened_shop.missing([piece]):
                item = opened_shop.get(piece)
                own = front.candidate(item)
                if own is None:
                    category = item.attributes.get("category", "unknown")
                    raise CatalogError(f"{piece}: its category is {category}, which is no part of an outfit")
    if own is None:
        places = " and ".join(str(one) for one in (wardrobe, shop) if one is not None)
        raise CatalogError(f"{places or 'nowhere to look'}: no piece {piece!r}")
    others = [one for one in candidates if one.id != own.id]
    return own, Stylist(compatibility).propose(own, others, k)
