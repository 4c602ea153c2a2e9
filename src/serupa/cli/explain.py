"""``serupa explain``: which regions make a photo and an item alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serupa.cli import options
from serupa.cli.printing import as_json, message


def explain(
    photo: Annotated[str, typer.Argument(help="The photo to compare.", show_default=False)],
    item_id: Annotated[str, typer.Argument(metavar="ITEM_ID", help="An item's id.", show_default=False)],
    catalog: options.CatalogPath,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Draw both photos with their maps.", metavar="OUT.png"),
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(
            help="Compare a part of the photo, in fractions of its sides.",
            metavar="X,Y,W,H",
            show_default=False,
        ),
    ] = None,
    metric: options.Metric = None,
    wait: options.Wait = 0.0,
    json: options.Json = False,
) -> None:
    """Show which regions make a photo and an item alike; the regions add up to the score."""
    from serupa.catalog import Catalog
    from serupa.errors import UsageError
    from serupa.explain import draw
    from serupa.explain import explain as why
    from serupa.images import Crop

    if out is None and not json:
        raise UsageError("-o", "is missing", "say where to draw with -o OUT.png, or ask for --json")
    part = Crop.parse(crop) if crop else None
    with Catalog.open(catalog, wait_s=wait) as opened:
        item = opened.get(item_id)
        found = why(opened, photo, item, crop=part, metric=metric)
    if out is not None:
        draw(out, found, photo, item, title=Path(photo).name)
        message(f"Wrote {out}")
    if json:
        as_json(found.to_dict())
