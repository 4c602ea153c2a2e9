"""``serupa wardrobe``: one's own clothes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serupa.cli import options
from serupa.cli.printing import as_json, message, table

app = typer.Typer(
    help="One's own clothes: what is there, what is there twice, is this owned already?",
    no_args_is_help=True,
    rich_markup_mode=None,
)

WardrobePath = Annotated[
    str, typer.Option("-w", "--wardrobe", help="The wardrobe's directory.", metavar="DIR", show_default=False)
]
ShopPath = Annotated[
    str | None,
    typer.Option(
        "-c",
        "--catalog",
        help="The shop to learn from; needed once, for a new wardrobe.",
        metavar="DIR",
        show_default=False,
    ),
]
Related = Annotated[
    str | None,
    typer.Option(
        metavar="CSV",
        help="A table of product_id, linked_product_id: what the shop shows together.",
        show_default=False,
    ),
]
PieceId = Annotated[str, typer.Argument(metavar="PIECE", help="A piece's id.", show_default=False)]


@app.command("add")
def add(
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTO...", help="Photos, one garment each.", show_default=False)
    ],
    wardrobe: WardrobePath,
    catalog: ShopPath = None,
    wait: options.Wait = 0.0,
    json: options.Json = False,
) -> None:
    """Add photos of garments; category, colours and pattern are filled in."""
    from serupa.errors import SerupaError
    from serupa.styling.opening import wardrobe_at

    added, failed = [], []
    with wardrobe_at(wardrobe, catalog, wait_s=wait) as opened:
        for photo in photos:
            try:
                added.append(opened.add(photo))
            except SerupaError as error:
                failed.append({"image": photo, "reason": str(error)})
    if json:
        as_json({"added": [piece.to_dict() for piece in added], "failed": failed})
    else:
        _table([piece.to_dict() for piece in added])
        for one in failed:
            message(f"Left out: {one['reason']}")
    if failed:
        raise typer.Exit(1)


@app.command("list")
def list_(wardrobe: WardrobePath, wait: options.Wait = 0.0, json: options.Json = False) -> None:
    """List everything that is owned, what is there twice, and what nothing goes with."""
    from serupa.styling.opening import overview, wardrobe_at

    with wardrobe_at(wardrobe, None, wait_s=wait) as opened:
        found = overview(opened)
    if json:
        as_json(found)
        return
    _table(found["pieces"])
    for pair in found["twice"]:
        one, other = pair["pieces"]
        message(f"Nearly the same twice ({pair['similarity']:.2f}): {one} and {other}")
    if found["orphans"]:
        message(f"Nothing goes with: {', '.join(found['orphans'])}")


@app.command("correct")
def correct(
    piece: PieceId,
    said: Annotated[
        list[str],
        typer.Argument(
            metavar="FIELD=VALUE...", help="category, color, pattern or name.", show_default=False
        ),
    ],
    wardrobe: WardrobePath,
    wait: options.Wait = 0.0,
    json: options.Json = False,
) -> None:
    """Say what a piece is; it counts for more than what was guessed."""
    from serupa.styling.opening import wardrobe_at

    changes = {field: value for field, _, value in (one.partition("=") for one in said)}
    with wardrobe_at(wardrobe, None, wait_s=wait) as opened:
        corrected = opened.correct(piece, changes).to_dict()
    if json:
        as_json(corrected)
    else:
        _table([corrected])


@app.command("remove")
def remove(
    pieces: Annotated[
        list[str], typer.Argument(metavar="PIECE...", help="Ids of pieces.", show_default=False)
    ],
    wardrobe: WardrobePath,
    wait: options.Wait = 0.0,
    json: options.Json = False,
) -> None:
    """Forget pieces and their photos."""
    from serupa.styling.opening import wardrobe_at

    with wardrobe_at(wardrobe, None, wait_s=wait) as opened:
        opened.remove(pieces)
        left = len(opened.pieces())
    if json:
        as_json({"removed": pieces, "left": left})
    else:
        typer.echo(f"{len(pieces)} removed, {left} left.")


@app.command("own")
def own(
    photo: Annotated[str, typer.Argument(help="A photo of what is for sale.", show_default=False)],
    wardrobe: WardrobePath,
    k: options.K = 5,
    wait: options.Wait = 0.0,
    json: options.Json = False,
) -> None:
    """Do I own this? Compare a photo with what is owned."""
    from serupa.styling.opening import said_of, wardrobe_at

    with wardrobe_at(wardrobe, None, wait_s=wait) as opened:
        answer = opened.own(photo, k)
        check = opened.advisor.ownership.check if opened.advisor.ownership else None
    if json:
        as_json(answer.to_dict() | {"check": check.to_dict() if check else None})
        return
    typer.echo(said_of(answer))
    _table([match.to_dict() for match in answer.matches])
    if check is not None and check.precision is not None:
        message(
            f"Checked on the shop's own products: of what it calls owned {check.precision:.0%} is, and it "
            f"notices {check.recall:.0%} of what is owned."
        )


@app.command("learn")
def learn(
    wardrobe: WardrobePath,
    catalog: options.CatalogPath,
    related: Related = None,
    wait: options.Wait = 0.0,
    json: options.Json = False,
) -> None:
    """Learn again from a shop, and what goes with what from a table of pairs."""
    from serupa.styling.opening import learned, taught

    with taught(Path(wardrobe), catalog, related, wait_s=wait) as opened:
        found = learned(opened.advisor)
    if json:
        as_json(found)
        return
    for line in found["lines"]:
        typer.echo(line)


def _table(pieces: list[dict[str, object]]) -> None:
    """Print pieces, and what makes some of them matches."""
    matched = any("similarity" in piece for piece in pieces)
    columns = [("Id", "left"), ("Name", "left"), ("Category", "left"), ("Color", "left"), ("Pattern", "left")]
    columns += [("Similarity", "right"), ("Same", "right")] if matched else []
    rows = []
    for piece in pieces:
        cells = [str(piece[name] or "unknown") for name in ("id", "name", "category", "color", "pattern")]
        if matched:
            chance = piece["probability"]
            cells += [
                f"{piece['similarity']:.3f}",
                "" if not isinstance(chance, float) else f"{int(100 * chance)}%",
            ]
        rows.append(cells)
    if rows:
        table(columns, rows)
