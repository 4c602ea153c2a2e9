"""``serupa doctor``: what is installed, reachable and writable, and how fast this machine encodes."""

from __future__ import annotations

from typing import Annotated

import typer

from serupa.cli.options import Json
from serupa.cli.printing import as_json, pairs


def doctor(
    encoder: Annotated[str, typer.Option(help="The encoder to try.")] = "serupa-clothes",
    json: Json = False,
) -> None:
    """Say what is installed, reachable and writable, and how fast this machine encodes."""
    from serupa.cli.diagnosis import diagnose

    findings = diagnose(encoder)
    if json:
        as_json({finding.name: {"ok": finding.ok, "found": finding.found} for finding in findings})
    else:
        pairs({f"{'ok ' if f.ok else 'no '} {f.name}": f.found for f in findings})
    if not all(finding.ok for finding in findings if finding.needed):
        raise typer.Exit(1)
