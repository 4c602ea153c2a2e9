"""``serupa copy`` and ``serupa publish``: catalogues moved between places, and put in each other's."""

from __future__ import annotations

from typing import Annotated

import typer

from serupa.cli.options import Json, Wait
from serupa.cli.printing import as_json, message


def copy(
    source: Annotated[str, typer.Argument(help="A catalogue's directory or address.", show_default=False)],
    target: Annotated[
        str, typer.Argument(help="Another directory or address, new or begun before.", show_default=False)
    ],
    wait: Wait = 0.0,
    json: Json = False,
) -> None:
    """Copy a catalogue as it is, to a server, back or between servers, and compare the two.

    Interrupt it at any moment and run it again: it goes on where it stopped.
    """
    from serupa.catalog import Catalog
    from serupa.catalog.copy import copy_catalog
    from serupa.cli.progress import bar

    with Catalog.open(source, wait_s=wait) as opened, bar("Copying", "points") as update:
        report = copy_catalog(
            opened, target, wait_s=wait, progress=lambda what, done, of: update(done, of, what)
        )
    parts = [f"{report.copied} copied", f"{report.unchanged} there already"]
    parts += [f"{report.removed} removed"] if report.removed else []
    parts += [f"{report.repaired} repaired"] if report.repaired else []
    message(
        f"{', '.join(parts)} in {report.seconds:.1f} s. {source} and {target} hold the same {report.items} "
        f"items; their vectors differ by {report.largest_difference:.1g} of their length at most."
    )
    if json:
        as_json(report.to_dict() | {"source": source, "target": target})


def publish(
    staged: Annotated[
        str, typer.Argument(help="The address of a catalogue; its own name ends.", show_default=False)
    ],
    live: Annotated[
        str, typer.Argument(help="The address that it is reached by from now on.", show_default=False)
    ],
) -> None:
    """Let a server's catalogue take the place of another in one step: no search fails meanwhile.

    For what no catalogue can change within itself, such as its encoder: index under another name first.
    """
    from serupa.storage.qdrant.address import parse_address
    from serupa.storage.qdrant.backend import publish as put

    put(parse_address(staged), parse_address(live))
    message(f"{parse_address(live)} is now what {parse_address(staged)} was.")
