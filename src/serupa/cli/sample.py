"""``serupa sample``: write the sample catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serupa.cli.printing import message


def sample(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write it.", show_default=False)],
    products: Annotated[int, typer.Option(help="How many products.", min=1)] = 60,
    seed: Annotated[int, typer.Option(help="Another seed draws other photos.", min=0)] = 0,
) -> None:
    """Write the sample catalogue: drawn photos, catalog.csv and related.csv."""
    from serupa.cli.progress import bar
    from serupa_sample import write_sample

    with bar("Drawing", "photos") as update:
        table = write_sample(directory, products=products, seed=seed, progress=update)
    message(f"Wrote {table}. Next: serupa index {table} -c CATALOG_DIR")
