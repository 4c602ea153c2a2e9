"""``serupa index``: make or extend a catalogue from a folder or a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from serupa.cli.options import CatalogPath, Json, Wait
from serupa.cli.printing import as_json, message
from serupa.errors import CatalogError

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.catalog.ingest import AddReport

_SHOWN_FAILURES = 20


def index(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder of photos, or a table: CSV, TSV, JSONL, Parquet; a path or a URL.",
            show_default=False,
        ),
    ],
    catalog: CatalogPath,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="An encoder's name or card; efficientnet-lite0 for a new catalogue.", show_default=False
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="The encoder's weights: .safetensors or .pth.", show_default=False)
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="For a new catalogue: cosine,euclidean,manhattan or some of them.", show_default=False
        ),
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            help="For a new catalogue: squash, crop or pad; the encoder's card says.", show_default=False
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="local: this machine encodes; ray: the workers of a Ray cluster do.")
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="The cluster: auto, or ray://host:10001. One on this machine, as long as needed, unless "
            "given.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="With ray: how many; as many as there is room for unless given.", min=1),
    ] = None,
    worker_threads: Annotated[
        int | None, typer.Option(help="With ray: processors of each worker.", min=1, show_default=False)
    ] = None,
    wait: Wait = 0.0,
    profile: Annotated[bool, typer.Option("--profile", help="Say where the time went.")] = False,
    json: Json = False,
) -> None:
    """Index photos: add the new ones, update the changed ones, pass over the known ones.

    Interrupt it at any moment and run it again: it goes on where it stopped.
    """
    from serupa.catalog import Catalog

    if engine not in ("local", "ray"):
        raise typer.BadParameter(f"{engine!r} is none; there are local and ray", param_hint="--engine")
    if engine == "local" and (ray_address or workers or worker_threads):
        raise typer.BadParameter("means nothing without --engine ray", param_hint="--ray-address, --workers")
    options = {"address": ray_address, "workers": workers, "threads": worker_threads}
    with Catalog.create(
        catalog,
        encoder,
        metrics=metrics.split(",") if metrics else ("cosine",),
        resize=resize,  # type: ignore[arg-type]  # checked by the library
        weights=weights,
        exist_ok=True,
        wait_s=wait,
    ) as opened:
        if metrics and sorted(metrics.split(",")) != sorted(opened.metrics):
            raise CatalogError(
                f"{catalog}: its metrics are {','.join(opened.metrics)}; for {metrics} use another directory"
            )
        report = _add(opened, source, options if engine == "ray" else None)
        total = opened.count()
    _tell(report, catalog, total, profile, json)
    if report.failures and not total:
        raise CatalogError(f"{source}: none of its {report.seen} photos could be used")


def _add(opened: Catalog, source: str, ray: dict[str, Any] | None) -> AddReport:
    from serupa.cli.progress import bar
    from serupa.sources import count_source

    expected = count_source(source)
    with bar("Indexing", "photos") as update:

        def progress(report: AddReport) -> None:
            failed = len(report.failures)
            update(report.seen, expected, f"{failed} failed" if failed else "")

        try:
            if ray is not None:
                from serupa.cluster import add_with_ray

                return add_with_ray(opened, source, progress=progress, **ray)
            return opened.add(source, progress=progress)
        except KeyboardInterrupt:
            message(f"Stopped; {opened.count()} items are stored. Run the same command to go on.")
            raise typer.Exit(130) from None


def _tell(report: AddReport, catalog: str, total: int, profile: bool, json: bool) -> None:
    for failure in report.failures[:_SHOWN_FAILURES]:
        message(f"failed: {failure.reason}")
    if len(report.failures) > _SHOWN_FAILURES:
        message(f"... and {len(report.failures) - _SHOWN_FAILURES} more; --json lists them all")
    rate = report.encoded / report.seconds if report.seconds else 0.0
    message(
        f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged, "
        f"{len(report.failures)} failed in {report.seconds:.1f} s ({rate:.0f} photos/s encoded). "
        f"{catalog} holds {total} items."
    )
    if profile:
        for stage, seconds in report.stages_s.items():
            message(f"  {stage:<7}{seconds:8.2f} s busy, {100 * seconds / report.seconds:4.0f} % of the time")
    if json:
        as_json(report.to_dict() | {"catalog": catalog, "items": total})
