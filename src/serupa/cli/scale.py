"""``serupa scale``: shards and replicas of a catalogue on a server, while it serves."""

from __future__ import annotations

from typing import Annotated

import typer

from serupa.cli.options import CatalogPath, Json
from serupa.cli.printing import as_json, message, placement


def scale(
    catalog: CatalogPath,
    replicas: Annotated[
        int | None,
        typer.Option(min=1, help="Nodes that keep each shard; as it is unless given.", show_default=False),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(
            min=1, help="Pieces that the points are dealt into; as it is unless given.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Change shards and replicas of a catalogue on a server; without options, spread them over its nodes.

    Searches and changes go on. Another number of shards is written anew beside the old ones.
    """
    from serupa.catalog import Catalog
    from serupa.catalog.server import scale as change
    from serupa.cli.progress import steps

    with Catalog.open(catalog) as opened, steps() as progress:
        known = change(opened, shards=shards, replicas=replicas, progress=progress)
    if json:
        as_json(known)
    else:
        placement(known)
    for one in known["deviations"]:
        message(f"{catalog}: {one}")
