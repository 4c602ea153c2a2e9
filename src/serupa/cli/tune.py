"""``serupa tune``: a search that learns the catalogue's own products."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serupa.cli.options import CatalogPath, Json, Wait
from serupa.cli.printing import as_json, differences, message

if TYPE_CHECKING:
    from serupa.learning.tuning import Tuning


def tune(
    catalog: CatalogPath,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD[:WEIGHT]",
            help="What photos that belong together share; product_id unless given. May be repeated, the one "
            "that counts most first, such as product_id and category:0.3.",
            show_default=False,
        ),
    ] = None,
    clicks: Annotated[
        bool,
        typer.Option("--clicks", help="Learn from what shoppers follow, too, where that is shown to help."),
    ] = False,
    events: Annotated[
        Path | None,
        typer.Option(
            "--events",
            metavar="DIR",
            help="Where the log of events is; in the catalogue's directory unless given.",
            show_default=False,
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Go back to the search before tuning.")] = False,
    break_lock: Annotated[
        bool,
        typer.Option(
            "--break-lock",
            help="On a server: take the lock of a process that tunes and is no more, then stop.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Tune even where no gain is shown.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed splits the products otherwise.", min=0)] = 0,
    wait: Wait = 0.0,
    json: Json = False,
) -> None:
    """Learn from the catalogue's own products, and search with it if that is shown to be better.

    The gain is measured on products that were not learned from. Where none is shown, nothing changes. No
    photo is encoded again.
    """
    from serupa.catalog import Catalog
    from serupa.cli.progress import steps
    from serupa.events import followed_together
    from serupa.events.log import folder_of, read_events
    from serupa.learning import tuning

    for alone, name in ((undo, "--undo"), (break_lock, "--break-lock")):
        if alone and (label or force or clicks or (undo and break_lock)):
            raise typer.BadParameter("goes alone: there is nothing to learn", param_hint=name)
    with Catalog.open(catalog, wait_s=wait) as opened, steps() as progress:
        if break_lock:
            holder = opened.backend.break_lock()
            message(f"{catalog}: the lock of {holder} is broken." if holder else f"{catalog}: is not locked.")
            return
        if undo:
            tuning.undo(opened, progress=progress)
            found = None
        else:
            labels = tuning.parse_labels(label or ["product_id"])
            together = None
            if clicks:
                together = followed_together(read_events(folder_of(opened.backend.folder, events)))
            found = tuning.tune(opened, labels, clicks=together, force=force, seed=seed, progress=progress)
        known, dimension = opened.manifest.tuning, opened.manifest.card.dimension
    if found is None:
        message(f"{catalog}: searches as the encoder made it again.")
        if json:
            as_json({"catalog": catalog, "tuning": None})
        return
    applied = found.found or force
    if json:
        as_json(
            found.to_dict() | {"catalog": catalog, "applied": applied, "tuning": known and known.to_dict()}
        )
    else:
        _show(found)
    message(_outcome(found, catalog, dimension, tuned=known is not None, applied=applied))


def _show(found: Tuning) -> None:
    weights = ", ".join(
        name if weight == 1 else f"{name}:{weight:g}" for name, weight in found.labels.items()
    )
    typer.echo(
        f"Learned by {weights} from {found.photos:,} photos ({found.products:,} values on several of them). "
        f"Measured by {found.metric} on products that were not learned from:"
    )
    differences(found.gains)
    if found.over:
        helped = "They are used" if found.clicks_help else "They are not used"
        typer.echo(f"{helped}: with what shoppers follow, compared with the same without it:")
        differences(found.over)


def _outcome(found: Tuning, catalog: str, dimension: int, *, tuned: bool, applied: bool) -> str:
    if not applied:
        stays = "keeps the tuning it has" if tuned else "stays as it was"
        return f"No gain is shown: {catalog} {stays}. To tune it none the less: --force"
    doubt = "" if found.found else "No gain is shown; tuned none the less, as asked. "
    return (
        f"{doubt}{catalog}: searches through {found.whitening.dimension} values instead of {dimension:,}. "
        f"Back: serupa tune --undo -c {catalog}"
    )
