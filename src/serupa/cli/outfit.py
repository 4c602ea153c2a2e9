"""``serupa outfit``: whole outfits around one piece."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from serupa.cli import options
from serupa.cli.printing import as_json, line, table
from serupa.cli.wardrobe import Related


def outfit(
    piece: Annotated[
        str,
        typer.Argument(
            metavar="PIECE", help="A piece of the wardrobe or an item of the shop.", show_default=False
        ),
    ],
    wardrobe: Annotated[
        str | None,
        typer.Option("-w", "--wardrobe", help="The wardrobe's directory.", metavar="DIR", show_default=False),
    ] = None,
    catalog: Annotated[
        str | None,
        typer.Option("-c", "--catalog", help="The shop's catalogue.", metavar="DIR", show_default=False),
    ] = None,
    related: Related = None,
    where: options.Where = None,
    k: Annotated[int, typer.Option("-k", help="How many outfits.", min=1)] = 3,
    wait: options.Wait = 0.0,
    json: options.Json = False,
) -> None:
    """Propose outfits around a piece, owned garments first, and say why."""
    if wardrobe is None and catalog is None:
        raise typer.BadParameter("give a wardrobe (-w), a shop (-c), or both", param_hint="-w / -c")
    from serupa.catalog import Catalog
    from serupa.styling.compatibility import compatibility_of
    from serupa.styling.outfits import outfits_around
    from serupa.styling.shopfront import Shopfront
    from serupa.styling.wardrobe import Wardrobe

    owned, compatibility, shop = [], None, None
    with ExitStack() as stack:
        if wardrobe is not None:
            mine = stack.enter_context(Wardrobe.open(wardrobe, wait_s=wait))
            owned, compatibility = mine.pieces(), mine.advisor.compatibility
        if catalog is not None:
            opened = stack.enter_context(Catalog.open(catalog, wait_s=wait))
            shop = Shopfront(opened)
            if related is not None:
                compatibility = compatibility_of(opened, related)
        own, outfits = outfits_around(piece, owned, shop, where=where, compatibility=compatibility, k=k)
    if json:
        as_json({"piece": own.to_dict(), "outfits": [one.to_dict() for one in outfits]})
        return
    if not outfits:
        line("Nothing here goes with it: no other slot has a garment.")
    for number, one in enumerate(outfits, 1):
        line(f"Outfit {number}, {one.score:.2f}")
        rows = []
        for part in one.pieces:
            source = "owned" if part.owned else "shop"
            rows.append((part.slot or "", part.name, part.color or "", source, part.id))
        table([("Slot", "left"), ("Name", "left"), ("Color", "left"), ("From", "left"), ("Id", "left")], rows)
        names = {part.id: part.name for part in one.pieces}
        for reason in one.reasons:
            first, second = (names[part] for part in reason.pieces)
            line(f"- {first} and {second}: {reason.text}")
        line("")
