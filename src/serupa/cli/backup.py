"""``serupa check``, ``backup``, ``restore``: is a catalogue whole, and how it comes back when it is not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serupa.cli.options import CatalogPath, Json, Wait
from serupa.cli.printing import as_json, message, placement, size

if TYPE_CHECKING:
    from serupa.catalog.backup import Backup


def check(
    catalog: CatalogPath,
    deep: Annotated[
        bool, typer.Option("--deep", help="On a server: compare every point on every node, too.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Write anew what can still be read, where it is damaged.")
    ] = False,
    wait: Wait = 0.0,
    json: Json = False,
) -> None:
    """Read a whole catalogue and compare every file with what it was when it was last closed.

    On a server: every shard and replica, vectors that are missing, fields without an index, the tuning.
    """
    from serupa.catalog import backup as backups
    from serupa.storage.qdrant.address import is_server

    if is_server(catalog):
        if repair:
            problem = "is for a catalogue in a directory; a server brings its replicas up to date by itself"
            raise typer.BadParameter(problem, param_hint="--repair")
        _check_server(catalog, deep, json)
        return
    if deep:
        raise typer.BadParameter("is for a catalogue on a server", param_hint="--deep")
    if repair:
        _repair(catalog, wait, json)
        return
    items = backups.check(catalog, wait_s=wait)
    message(f"{catalog} is whole: {items} items.")
    if json:
        as_json({"items": items})


def _repair(catalog: str, wait: float, json: bool) -> None:
    from serupa.catalog.repair import repair

    done = repair(catalog, wait_s=wait)
    message(f"{catalog}: {done.items} items, {done.lost} lost.")
    if not done.is_proven:
        message("Not all are sure to be as they were: serupa index SOURCE encodes them again.")
    for photo in done.photos:
        message(f"{photo}: damaged; add its item again.")
    if json:
        as_json(done.to_dict())


def _check_server(catalog: str, deep: bool, json: bool) -> None:
    from serupa.catalog import Catalog
    from serupa.catalog.server import check as look
    from serupa.cli.progress import steps

    with Catalog.open(catalog) as opened, steps() as progress:
        report = look(opened, deep=deep, progress=progress)
        address = opened.path
    if json:
        as_json(report.to_dict())
    else:
        placement(report.server)
    if problem := report.problem(address):
        raise problem
    message(f"{catalog} is whole: {report.items} items.")


def backup(
    catalog: CatalogPath,
    target: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.", show_default=False)],
    wait: Wait = 0.0,
    json: Json = False,
) -> None:
    """Write a catalogue into one file, checked on the way. Photos outside of its directory stay there.

    On a server: its own snapshots of every shard, taken while it serves.
    """
    from serupa.catalog import backup as backups

    _tell(backups.backup(catalog, target, wait_s=wait), "written and verified", json)


def restore(
    archive: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.", show_default=False)],
    catalog: Annotated[
        str | None,
        typer.Option(
            "-c",
            "--catalog",
            help="A new directory; of a server's catalogue, also a new address.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only verify the backup; write nothing.")] = False,
    json: Json = False,
) -> None:
    """Bring a backup back, every byte verified by its checksum."""
    from serupa.catalog import backup as backups

    if check:
        _tell(backups.verify(archive), "is whole", json)
    elif catalog is None:
        raise typer.BadParameter("give a new directory with -c DIR, or --check")
    else:
        _tell(backups.restore(archive, catalog), f"restored into {catalog}", json)


def _tell(done: Backup, what: str, json: bool) -> None:
    message(
        f"{done.path}: {what}; {done.items} items in {done.files} files ({size(done.size_bytes)}), "
        f"made {done.created}."
    )
    if json:
        as_json(done.to_dict())
