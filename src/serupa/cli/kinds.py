"""``serupa kinds``: how much the kind of garment counts in a catalogue's search."""

from __future__ import annotations

from typing import Annotated

import typer

from serupa.cli.options import CatalogPath, Json, Wait
from serupa.cli.printing import as_json, message


def kinds(
    catalog: CatalogPath,
    share: Annotated[
        float | None,
        typer.Option(
            help="The share of the kind in a similarity, 0 to 1; as measured for the encoder unless given.",
            show_default=False,
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Compare the look alone from now on.")] = False,
    wait: Wait = 0.0,
    json: Json = False,
) -> None:
    """Let the kind of garment count beside the look, or not. No photo is encoded again."""
    from serupa.catalog import Catalog
    from serupa.cli.progress import steps

    if off and share is not None:
        raise typer.BadParameter("goes alone", param_hint="--off")
    with Catalog.open(catalog, wait_s=wait) as opened, steps() as progress:
        opened.use_kinds(0.0 if off else share, progress=progress)
        known = opened.manifest.kinds
    if json:
        as_json({"catalog": catalog, "kinds": None if known is None else known.to_dict()})
    if known is None:
        message(f"{catalog}: compares the look alone.")
    else:
        message(f"{catalog}: {known.share:.0%} of a similarity is the kind, one of {len(known.names)}.")
