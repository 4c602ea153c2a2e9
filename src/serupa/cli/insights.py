"""``serupa insights``: what shoppers look for, and what they take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serupa.cli.options import Json
from serupa.cli.printing import as_json, line, message, table

if TYPE_CHECKING:
    from serupa.events import Asked


def insights(
    catalog: Annotated[
        Path | None,
        typer.Option("-c", "--catalog", help="The catalogue's directory.", metavar="DIR", show_default=False),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(
            "--events",
            help="The log's directory, where it is another one.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    days: Annotated[int | None, typer.Option(help="Only the last days, today included.", min=1)] = None,
    json: Json = False,
) -> None:
    """Say what shoppers look for, what finds nothing, and which results they take.

    From the log that `serupa serve --events-days N` keeps; it may be running meanwhile.
    """
    from serupa.events import insights_of
    from serupa.events.log import folder_of, read_events

    folder = folder_of(catalog, events)
    found = insights_of(read_events(folder, days))
    if json:
        as_json(found.to_dict())
        return
    if not found.searches:
        message(f"{folder}: no searches yet. The log is kept by: serupa serve --events-days 90")
        return
    line(
        f"{found.searches:,} searches; a result was followed in {found.clicked / found.searches:.0%}, "
        f"bought in {found.bought / found.searches:.1%}. {found.purchases:,} purchases in all."
    )
    _rows("What people look for", found.asked)
    _rows("What finds nothing, or nothing close", found.not_found)
    _rows("Where the first result is never the one", found.not_first)
    if found.filters:
        line("")
        table([("Filter", "left"), ("Searches", "right")], [(name, f"{n:,}") for name, n in found.filters])
    line("")
    ranks = [(f"{r.rank}", f"{r.shown:,}", f"{r.clicked / r.shown:.1%}") for r in found.ranks]
    table([("Rank", "right"), ("Shown", "right"), ("Followed", "right")], ranks)


def _rows(title: str, rows: Sequence[Asked]) -> None:
    if not rows:
        return
    line("")
    table(
        [(title, "left"), ("By", "left"), ("Searches", "right"), ("Followed", "right"), ("Bought", "right")],
        [(one.what, one.by, f"{one.searches:,}", f"{one.clicked:,}", f"{one.bought:,}") for one in rows],
    )
