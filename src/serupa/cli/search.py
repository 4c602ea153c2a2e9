"""``serupa search`` and ``serupa similar``: find look-alikes of a photo or of an item."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serupa.cli import options
from serupa.cli.printing import as_json, hits, message

if TYPE_CHECKING:
    from serupa.catalog.results import SearchResult
    from serupa.images import Crop


def search(
    catalog: options.CatalogPath,
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PHOTO...]",
            help="The photo to search with, or several that show one garment.",
            show_default=False,
        ),
    ] = None,
    text: options.Text = None,
    text_weight: options.TextWeight = 0.4,
    k: options.K = 10,
    metric: options.Metric = None,
    where: options.Where = None,
    by: options.By = "item",
    crop: Annotated[
        str | None,
        typer.Option(
            help="Search with a part of the photo, in fractions of its sides.",
            metavar="X,Y,W,H",
            show_default=False,
        ),
    ] = None,
    garments: Annotated[
        bool,
        typer.Option(
            "--garments", help="Find the garments in a photo of a person, and search with what shows most."
        ),
    ] = False,
    kind: Annotated[
        str | None,
        typer.Option(
            help="The kind of garment to prefer, such as shorts; what the photo seems to show unless given.",
            show_default=False,
        ),
    ] = None,
    no_kind: Annotated[
        bool, typer.Option("--no-kind", help="Compare the look alone, whatever the kind.")
    ] = False,
    sort: options.Sort = None,
    offset: options.Offset = 0,
    exact: options.Exact = False,
    wait: options.Wait = 0.0,
    sheet: options.Sheet = None,
    json: options.Json = False,
) -> None:
    """Find what looks like a photo, or like several together; what has some words; or both."""
    from serupa.catalog import Catalog
    from serupa.garments.regions import regions_in
    from serupa.images import Crop

    if kind is not None and no_kind:
        raise typer.BadParameter("does not go with --kind", param_hint="--no-kind")
    part = Crop.parse(crop) if crop else None
    first, others = (photos[0], photos[1:]) if photos else (None, [])
    if first is None and (part or sheet):
        raise typer.BadParameter("goes with a photo", param_hint="--crop" if part else "--sheet")
    if others and part is not None:
        raise typer.BadParameter("goes with one photo", param_hint="--crop")
    if garments and (first is None or others or part is not None):
        raise typer.BadParameter("goes with one photo, without --crop", param_hint="--garments")
    with Catalog.open(catalog, wait_s=wait) as opened:
        regions = regions_in(opened, first) if garments and first is not None else ()
        if garments and not regions:
            message("No garment was found in the photo: it is searched as a whole.")
        for region in regions:
            message(f"{region.kind.name or region.part}: --crop {region.box}")
        part = regions[0].box if regions else part
        found = opened.search(
            photos or None,
            k,
            text=text,
            text_weight=text_weight,
            metric=metric,
            where=where,
            by=by,  # type: ignore[arg-type]  # checked by the library
            crop=part,
            kind="any" if no_kind else kind,
            sort=sort,
            offset=offset,
            exact=exact,
        )
    title = "" if first is None else Path(first).name + (f" and {len(others)} more" if others else "")
    more = {"regions": [region.to_dict() for region in regions]} if garments else {}
    _show(found, first or "", title, part, sheet=sheet, json=json, more=more)


def similar(
    item_id: Annotated[str, typer.Argument(metavar="ITEM_ID", help="An item's id.", show_default=False)],
    catalog: options.CatalogPath,
    text: options.Text = None,
    text_weight: options.TextWeight = 0.4,
    k: options.K = 10,
    metric: options.Metric = None,
    where: options.Where = None,
    by: options.By = "item",
    sort: options.Sort = None,
    offset: options.Offset = 0,
    exact: options.Exact = False,
    wait: options.Wait = 0.0,
    sheet: options.Sheet = None,
    json: options.Json = False,
) -> None:
    """Find what looks like an item of the catalogue, itself left out."""
    from serupa.catalog import Catalog

    with Catalog.open(catalog, wait_s=wait) as opened:
        item = opened.get(item_id)
        found = opened.similar(
            item_id,
            k,
            text=text,
            text_weight=text_weight,
            metric=metric,
            where=where,
            by=by,  # type: ignore[arg-type]  # checked by the library
            sort=sort,
            offset=offset,
            exact=exact,
        )
    _show(found, item.image, item.name, None, sheet=sheet, json=json)


def _show(
    found: SearchResult,
    query: str,
    title: str,
    crop: Crop | None,
    *,
    sheet: Path | None,
    json: bool,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    if sheet is not None:
        from serupa.images.sheet import write_sheet

        write_sheet(sheet, query, found, title=title, crop=crop)
        message(f"Wrote {sheet}")
    if json:
        as_json(found.to_dict() | dict(more))
    else:
        hits(found)
