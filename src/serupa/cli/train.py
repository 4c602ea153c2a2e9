"""``serupa train``: an encoder that learns a shop's own photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serupa.cli.options import Json
from serupa.cli.printing import as_json, differences, message


def train(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Folders or tables of photos, as for index; several shops may be given.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="The folder to write to.", metavar="DIR", show_default=False),
    ],
    name: Annotated[
        str | None, typer.Option(help="Of the encoder; the folder's unless given.", show_default=False)
    ] = None,
    label: Annotated[
        str, typer.Option(metavar="FIELD", help="What photos of one product share.")
    ] = "product_id",
    apart: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Photos that share it, such as who took them, are learned from or judged by together.",
            show_default=False,
        ),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Which photos to judge by, a line FIELD=VALUE each; a tenth of the products unless given.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="How long to train.", min=1)] = 450,
    pairs: Annotated[int, typer.Option(help="Pairs of views a step.", min=2)] = 48,
    views: Annotated[int, typer.Option(help="Views that are made of each photo.", min=2)] = 16,
    size: Annotated[int, typer.Option(help="Of a view, in pixels.", min=64)] = 192,
    seed: Annotated[int, typer.Option(help="Another seed draws otherwise.", min=0)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json: Json = False,
) -> None:
    """Train an encoder on photos, best several of each product, and write its card, its model and a report.

    Stopped, it goes on when the same command is given again. What it gains is measured on products that it
    did not learn from. To use it: serupa index SOURCE -c CATALOG --encoder DIR/card.toml
    """
    from serupa.cli.progress import steps as bars
    from serupa.learning.material import read_held
    from serupa.learning.run import Recipe
    from serupa.learning.training import train as trained

    if device not in ("auto", "cpu", "cuda"):
        raise typer.BadParameter("must be auto, cpu or cuda", param_hint="--device")
    recipe = Recipe(steps=steps, pairs=pairs, rounds=views, side=size, seed=seed)
    with bars() as progress:
        found = trained(
            sources,
            out,
            name=name,
            label=label,
            apart=apart,
            held=read_held(held_out) if held_out is not None else None,
            recipe=recipe,
            device="cpu" if device == "cpu" else "cuda" if device == "cuda" else "auto",
            progress=progress,
        )
    if json:
        as_json(found.to_dict())
    else:
        typer.echo(
            f"Learned from {found.photos:,} photos, {found.products:,} products with several of them. "
            f"Measured on {found.held:,} photos that were not learned from:"
        )
        differences(found.gains)
    message(f"{found.card}: use it with --encoder {found.card}; the report is beside it.")
