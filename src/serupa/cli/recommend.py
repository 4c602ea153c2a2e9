"""``serupa recommend``: from likes and dislikes to products."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serupa.cli import options
from serupa.cli.printing import as_json, message, recommendation


def recommend(
    catalog: options.CatalogPath,
    like: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="An item that is liked. May be repeated.", show_default=False),
    ] = None,
    dislike: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="An item that is not. May be repeated.", show_default=False),
    ] = None,
    like_photo: Annotated[
        list[str] | None,
        typer.Option(metavar="PHOTO", help="A photo of what is liked. May be repeated.", show_default=False),
    ] = None,
    taste: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A taste, as the page exports it.", show_default=False),
    ] = None,
    diversity: Annotated[
        float, typer.Option(help="0 for the nearest, up to 1 for what is unlike the hits before it.")
    ] = 0.0,
    k: options.K = 12,
    metric: options.Metric = None,
    where: options.Where = None,
    by: options.By = "product",
    wait: options.Wait = 0.0,
    json: options.Json = False,
) -> None:
    """Recommend products from what is liked; without likes, a varied sample."""
    from serupa.catalog import Catalog
    from serupa.recommend.tastes import Taste, taste_from_file

    with Catalog.open(catalog, wait_s=wait) as opened:
        known = Taste() if taste is None else taste_from_file(taste)
        for item_id in like or ():
            known = known.liking(item_id)
        for photo in like_photo or ():
            known = known.liking(opened.encoder.encode_photo(photo), encoder=opened.manifest.card.name)
        for item_id in dislike or ():
            known = known.disliking(item_id)
        examples = known.examples(opened, strict=taste is None)
        found = opened.recommend(
            examples.likes, examples.dislikes, k, diversity=diversity, metric=metric, where=where, by=by  # type: ignore[arg-type]
        )  # fmt: skip
    if examples.unknown:
        message(f"Passed over, no longer in the catalogue: {', '.join(examples.unknown)}")
    if json:
        as_json(found.to_dict() | {"unknown": list(examples.unknown)})
    else:
        recommendation(found, [one.item_id or "a photo" for one in examples.likes])
