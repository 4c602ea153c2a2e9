"""``serupa words``: let items of a catalogue of before be found by words."""

from __future__ import annotations

from serupa.cli.options import CatalogPath, Json, Wait
from serupa.cli.printing import as_json, message


def words(catalog: CatalogPath, wait: Wait = 0.0, json: Json = False) -> None:
    """Let the items of an older catalogue be found by words. No photo is encoded again."""
    from serupa.catalog import Catalog
    from serupa.catalog.words import add_words
    from serupa.cli.progress import steps

    with Catalog.open(catalog, wait_s=wait) as opened, steps() as progress:
        looked_at = add_words(opened, progress=progress)
        items = opened.count()
    if json:
        as_json({"catalog": catalog, "items": items, "looked_at": looked_at})
    message(f"{catalog}: its {items} items can be found by words; the colours of {looked_at} were looked at.")
