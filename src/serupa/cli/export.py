"""``serupa export``: the paper's artefacts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serupa.cli.options import CatalogPath, Json, Wait
from serupa.cli.printing import as_json, message


def export(
    catalog: CatalogPath,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.", show_default=False)],
    label: Annotated[
        str | None,
        typer.Option(help="What the classes are: category or product_id unless given.", show_default=False),
    ] = None,
    wait: Wait = 0.0,
    json: Json = False,
) -> None:
    """Write features.npy, labels.npy, image_paths.pkl, class_names.pkl, knn_*.pkl and items.parquet.

    The .pkl files are for the paper's own scripts; load pickles only from where you trust.
    """
    from serupa.catalog import Catalog
    from serupa.paper.artefacts import write_artefacts

    with Catalog.open(catalog, wait_s=wait) as opened:
        files = write_artefacts(opened, out, label=label)
    message(f"Wrote {', '.join(file.name for file in files)} to {out}")
    if json:
        as_json({"directory": str(out), "files": [file.name for file in files]})
