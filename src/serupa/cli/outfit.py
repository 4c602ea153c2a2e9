"""``serupa outfit``: whole outfits around one piece."""

from __future__ import annotations

from typing import Annotated

import typer

from serupa.cli import options
from serupa.cli.printing import as_json, table
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
    from serupa.styling.opening import outfits_around

    if wardrobe is None and catalog is None:
        raise typer.BadParameter("give a wardrobe (-w), a shop (-c), or both", param_hint="-w / -c")
    own, outfits = outfits_around(
        piece, shop=catalog, wardrobe=wardrobe, related=related, where=where, k=k, wait_s=wait
    )
    if json:
        as_json({"piece": own.to_dict(), "outfits": [one.to_dict() for one in outfits]})
        return
    if not outfits:
        typer.echo("Nothing here goes with it: no other slot has a garment.")
    for number, one in enumerate(outfits, 1):
        typer.echo(f"Outfit {number}, {one.score:.2f}")
        rows = []
        for part in one.pieces:
            color = part.colors[0].name if part.colors else ""
            rows.append((part.slot, part.name, color, "owned" if part.owned else "shop", part.id))
        table([("Slot", "left"), ("Name", "left"), ("Color", "left"), ("From", "left"), ("Id", "left")], rows)
        names = {part.id: part.name for part in one.pieces}
        for reason in one.reasons:
            first, second = (names[part] for part in reason.pieces)
            typer.echo(f"- {first} and {second}: {reason.text}")
        typer.echo("")
