"""``serupa remove``: take items out of a catalogue."""

from __future__ import annotations

from typing import Annotated

import typer

from serupa.cli.options import CatalogPath, Json, Wait, Where
from serupa.cli.printing import as_json, message


def remove(
    catalog: CatalogPath,
    item_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ITEM_ID]...", help="Ids of items.", show_default=False)
    ] = None,
    where: Where = None,
    wait: Wait = 0.0,
    json: Json = False,
) -> None:
    """Remove items, by id or by filter. The photos themselves stay where they are."""
    from serupa.catalog import Catalog

    with Catalog.open(catalog, wait_s=wait) as opened:
        removed = opened.remove(item_ids or (), where=where)
        left = opened.count()
    message(f"{removed} removed; {catalog} holds {left} items.")
    if json:
        as_json({"removed": removed, "items": left})
