"""``serupa wardrobe``: one's own clothes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from serupa.cli import options
from serupa.cli.printing import as_json, line, message, table

if TYPE_CHECKING:
    from serupa.styling.advisor import Advisor, Answer

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
    from serupa.errors import InvalidInputError, NotFoundError
    from serupa.styling.wardrobe import Wardrobe

    added, failed = [], []
    with Wardrobe.open(wardrobe, catalog, wait_s=wait) as opened:
        for photo in photos:
            try:
                added.append(opened.add(photo).to_dict())
            except (InvalidInputError, NotFoundError) as error:
                failed.append({"image": photo, "reason": str(error)})
    if json:
        as_json({"added": added, "failed": failed})
    else:
        _table(added)
        for one in failed:
            message(f"Left out: {one['reason']}")
    if failed:
        raise typer.Exit(1)


@app.command("list")
def list_(wardrobe: WardrobePath, wait: options.Wait = 0.0, json: options.Json = False) -> None:
    """List everything that is owned, what is there twice, and what nothing goes with."""
    from serupa.styling.wardrobe import Wardrobe

    with Wardrobe.open(wardrobe, wait_s=wait) as opened:
        overview = opened.overview()
    if json:
        as_json(overview)
        return
    _table(overview["pieces"])
    for pair in overview["twice"]:
        one, other = pair["pieces"]
        message(f"Nearly the same twice ({pair['similarity']:.2f}): {one} and {other}")
    if overview["orphans"]:
        message(f"Nothing goes with: {', '.join(overview['orphans'])}")


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
    from serupa.styling.wardrobe import Wardrobe

    changes = {field: value for field, _, value in (one.partition("=") for one in said)}
    with Wardrobe.open(wardrobe, wait_s=wait) as opened:
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
    from serupa.styling.wardrobe import Wardrobe

    with Wardrobe.open(wardrobe, wait_s=wait) as opened:
        opened.remove(pieces)
        left = opened.catalog.count()
    if json:
        as_json({"removed": pieces, "left": left})
    else:
        line(f"{len(pieces)} removed, {left} left.")


@app.command("own")
def own(
    photo: Annotated[str, typer.Argument(help="A photo of what is for sale.", show_default=False)],
    wardrobe: WardrobePath,
    k: options.K = 5,
    wait: options.Wait = 0.0,
    json: options.Json = False,
) -> None:
    """Do I own this? Compare a photo with what is owned."""
    from serupa.styling.wardrobe import Wardrobe

    with Wardrobe.open(wardrobe, wait_s=wait) as opened:
        answer, garment = opened.own(photo, k)
        check = opened.advisor.to_dict()["ownership"]
    matches = [match.to_dict() for match in answer.matches]
    if json:
        as_json({"verdict": answer.verdict, "garment": garment.to_dict(), "matches": matches, "check": check})
        return
    line(_sentence(answer))
    _table(matches)
    if check is not None and check["precision"] is not None:
        message(
            f"Checked on the shop's own products: of what it calls owned {check['precision']:.0%} is, and it "
            f"notices {check['recall']:.0%} of what is owned."
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
    from serupa.catalog import Catalog
    from serupa.styling.advisor import Advisor
    from serupa.styling.wardrobe import Wardrobe

    with Catalog.open(catalog, wait_s=wait) as shop:
        advisor = Advisor.learn(shop, related)
        Wardrobe.create(wardrobe, shop, advisor).close()
    lines = _lessons(advisor)
    if json:
        as_json(advisor.to_dict() | {"lines": lines})
        return
    for one in lines:
        line(one)


def _sentence(answer: Answer) -> str:
    """Put an answer into one sentence."""
    if not answer.matches:
        return "The wardrobe is empty."
    best = answer.matches[0]
    chance = "" if best.probability is None else f" ({int(100 * best.probability)}% sure)"
    return {
        "owned": f"You own this: {best.piece.name}{chance}.",
        "similar": f"You own something close: {best.piece.name}{chance}.",
        "new": "You own nothing like this.",
        "unknown": f"The closest that you own is {best.piece.name}; whether it is the same cannot be told.",
    }[answer.verdict]


def _lessons(advisor: Advisor) -> list[str]:
    """Say what an advisor has learned."""
    lines = []
    for name, classifier in (("Category", advisor.eye.category), ("Pattern", advisor.eye.pattern)):
        lines.append(f"{name}: {', '.join(classifier.classes) if classifier else 'nothing to learn from'}")
    check = advisor.ownership.check if advisor.ownership else None
    if check is None:
        lines.append("Owned already: too few products with several photos to learn from")
    else:
        right = "nothing was called owned" if check.precision is None else f"right {check.precision:.0%}"
        lines.append(f"Owned already: {right}, notices {check.recall:.0%} of what is owned")
    pairs = advisor.compatibility
    if pairs is not None:
        area = pairs.evidence.learned
        verdict = "used" if pairs.used else "no signal in the pairs: colours alone are used"
        lines.append(
            f"What goes together: area under the ROC curve {area.mean:.2f} ({area.low:.2f} to "
            f"{area.high:.2f}) on unseen products, chance 0.50; {verdict}"
        )
    return lines


def _table(pieces: list[dict[str, Any]]) -> None:
    """Print pieces, and what makes some of them matches."""
    matched = any("similarity" in piece for piece in pieces)
    columns = [("Id", "left"), ("Name", "left"), ("Category", "left"), ("Color", "left"), ("Pattern", "left")]
    columns += [("Similarity", "right"), ("Same", "right")] if matched else []
    rows = []
    for piece in pieces:
        cells = [str(piece[name] or "unknown") for name in ("id", "name", "category", "color", "pattern")]
        if matched:
            chance = piece["probability"]
            cells += [f"{piece['similarity']:.3f}", "" if chance is None else f"{int(100 * chance)}%"]
        rows.append(cells)
    if rows:
        table(columns, rows)
