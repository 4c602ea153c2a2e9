"""``serupa serve``: the page and the API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serupa.cli.options import Wait
from serupa.cli.printing import message


def serve(
    catalog: Annotated[
        str | None,
        typer.Option(
            "-c",
            "--catalog",
            help="The catalogue's directory, or its address on a server: qdrant://host:6333/name. Left out "
            "where --config names tenants.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="The address to listen at; 127.0.0.1 is this machine alone.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="8000 unless given; 0 takes a free one.")] = None,
    workers: Annotated[int, typer.Option(help="An embedded catalogue is held by one process: 1.", min=1)] = 1,
    api_key: Annotated[
        str | None,
        typer.Option(
            help="The key for adding and removing items, off without one. Other users of the machine can see "
            "flags: better SERUPA_API_KEY, or the file.",
            show_default=False,
        ),
    ] = None,
    read_key: Annotated[
        str | None,
        typer.Option(help="The key for reading, free without one; or SERUPA_READ_KEY.", show_default=False),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(help="A site whose pages may call the API. May be repeated.", show_default=False),
    ] = None,
    frame_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="A site whose pages may show these pages in a frame. May be repeated.", show_default=False
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A name that requests may call the server by, without the port: those of this machine where "
            "it listens at 127.0.0.1, else all, unless given. May be repeated.",
            show_default=False,
        ),
    ] = None,
    limit_mb: Annotated[float | None, typer.Option(help="Largest request: 20 MB unless given.")] = None,
    queue: Annotated[
        int | None, typer.Option(help="Photos that may wait for the encoder: 64 unless given.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds that a request may take: 30 unless given.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Requests per minute that one key or address may make: no limit unless given."),
    ] = None,
    photos: Annotated[
        str | None,
        typer.Option(
            help="Directory for photos that come through the API; a directory catalogue's own unless given.",
            show_default=False,
        ),
    ] = None,
    backups: Annotated[
        str | None,
        typer.Option(
            help="Directory for backups that are asked for over HTTP; none are made without one.",
            show_default=False,
        ),
    ] = None,
    brand: Annotated[
        str | None,
        typer.Option(
            metavar="TOML",
            help="The shop's name, logo, colours, words and menu, for the page.",
            show_default=False,
        ),
    ] = None,
    events_days: Annotated[
        int | None,
        typer.Option(
            help="Days that an anonymous log of searches, clicks and purchases is kept; none unless given."
        ),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Where the log is kept; in a directory catalogue itself unless given.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file with any of these settings, which flags outweigh, and with tenants.",
            show_default=False,
        ),
    ] = None,
    wait: Wait = 0.0,
) -> None:
    """Serve the search page and the REST API, until Ctrl-C or SIGTERM."""
    from serupa.web.settings import load_settings

    settings = load_settings(
        config,
        {
            "host": host,
            "port": port,
            "api_key": api_key,
            "read_key": read_key,
            "cors_origins": cors_origin or None,
            "frame_origins": frame_origin or None,
            "allowed_hosts": allowed_host or None,
            "limit_mb": limit_mb,
            "queue": queue,
            "time_limit_s": time_limit,
            "rate_per_minute": rate,
            "photos": photos,
            "backups": backups,
            "brand": brand,
            "events_days": events_days,
            "events": events,
        },
    )
    from serupa.web.server import run
    from serupa.web.tenants import read_tenants

    tenants = [] if config is None else read_tenants(config, settings)
    if (catalog is None) == (not tenants):
        raise typer.BadParameter(
            "give a catalogue with -c, or a --config that names tenants", param_hint="--catalog"
        )
    run(catalog or tenants, settings, workers=workers, wait_s=wait, announce=message)
