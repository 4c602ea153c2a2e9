"""``serupa index``: make or extend a catalogue from a folder, a table or a shop's feed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serupa.cli.options import CatalogPath, Json, Wait
from serupa.cli.printing import as_json, message
from serupa.errors import ConflictError, InvalidInputError, UsageError

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.catalog.ingest import AddReport
    from serupa.sources import Listing

_SHOWN_FAILURES = 20
_SHOWN_GONE = 5
_ASKED_ABOVE = 0.1  # of the items of a source: what is gone is more likely a mistake than a sale

FailOn = Literal["all", "any", "none"]


def index(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder of photos, a table (CSV, TSV, JSON, JSONL, XML, Parquet) or a shop's feed; "
            "a path or a URL.",
            show_default=False,
        ),
    ],
    catalog: CatalogPath,
    sync: Annotated[bool, typer.Option("--sync", help="Remove what is gone from the source.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before much is removed.")] = False,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            help="What columns are called: image=Photo,product_id=SKU. May be repeated.", show_default=False
        ),
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            help="What a column holds: sku=text, price=number, or truth, list, price. May be repeated.",
            show_default=False,
        ),
    ] = None,
    constants: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="An attribute of all items: currency=EUR, link=https://shop.example/{product_id}. May be "
            "repeated.",
            show_default=False,
        ),
    ] = None,
    feed: Annotated[
        str | None,
        typer.Option(
            help="The export's format: google, shopify, shopify-json, woocommerce, magento, or table; its "
            "columns tell.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            help="Where relative photos of a table start: a folder or a URL; the table's own.",
            show_default=False,
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(help="Take only what fits: dresses/*, *.jpg. May be repeated.", show_default=False),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Leave out what fits: drafts, *.gif. May be repeated.", show_default=False),
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds that the download of a photo may take.", min=0.1)
    ] = 15.0,
    source_name: Annotated[
        str | None,
        typer.Option(
            help="What the source is remembered by, where its file's name changes; its path.",
            show_default=False,
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let items take the ids of another source's photos.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Add nothing if a row cannot be used; implies --fail-on any.")
    ] = False,
    fail_on: Annotated[
        FailOn, typer.Option(help="End with status 1 when all, any or none of the photos failed.")
    ] = "all",
    encoder: Annotated[
        str | None,
        typer.Option(
            help="For a new catalogue: an encoder's name, hf:OWNER/REPO[@REVISION] for one of the hub, or a "
            "card; serupa-clothes.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Of an encoder of the hub: float, fp16 or int8; float.", show_default=False),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="The encoder's weights: .safetensors.", show_default=False)
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
    kinds: Annotated[
        bool,
        typer.Option(
            "--kinds/--no-kinds",
            help="For a new catalogue: let the kind of garment count beside the look.",
        ),
    ] = True,
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
    from serupa.sources import SourceOptions, read_source

    if engine not in ("local", "ray"):
        raise typer.BadParameter(f"{engine!r} is none; there are local and ray", param_hint="--engine")
    if engine == "local" and (ray_address or workers or worker_threads):
        raise typer.BadParameter("means nothing without --engine ray", param_hint="--ray-address, --workers")
    options = SourceOptions(
        columns=_pairs("--columns", [part for one in columns or () for part in one.split(",")]),
        types=_pairs("--type", types or ()),
        constants=_pairs("--set", constants or ()),
        exclude=tuple(exclude or ()),
        include=tuple(include or ()),
        feed=feed,
        images=images,
        name=source_name,
        timeout_s=timeout,
        strict=strict,
    )
    if precision is not None:
        from serupa.encoders.hub import with_precision

        encoder = with_precision(encoder or "", precision)
    is_new = "://" not in catalog and not Path(catalog).exists()
    listing = read_source(source, options)  # before a catalogue is made: a refused source leaves none behind
    ray = {"address": ray_address, "workers": workers, "threads": worker_threads} if engine == "ray" else None
    with Catalog.create(
        catalog,
        encoder,
        metrics=metrics.split(",") if metrics else ("cosine",),
        resize=resize,  # type: ignore[arg-type]  # checked by the library
        weights=weights,
        kinds=None if kinds else 0.0,
        exist_ok=True,
        wait_s=wait,
    ) as opened:
        if metrics and sorted(metrics.split(",")) != sorted(opened.manifest.metrics):
            raise ConflictError(
                catalog,
                f"its metrics are {','.join(opened.manifest.metrics)}",
                f"for {metrics} use another directory",
            )
        report = _add(opened, listing, replace, ray)
        removed = _remove_gone(opened, listing.name, report.gone, yes) if sync else 0
        total = opened.count()
    _tell(report, catalog, total, profile)
    _tell_gone(report.gone, removed, sync)
    if json:
        as_json(report.to_dict() | {"removed": removed, "catalog": catalog, "items": total})
    if report.failures and (strict or fail_on == "any"):
        raise InvalidInputError(source, f"{len(report.failures)} of {report.seen} could not be used")
    if report.failures and fail_on == "all" and not total:
        if is_new:
            shutil.rmtree(catalog)
        raise InvalidInputError(source, f"none of its {report.seen} photos could be used")


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """Return ``name=value`` options as a mapping."""
    pairs = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (equals and name.strip() and value.strip()):
            raise UsageError(option, f"{one!r} is not NAME=VALUE")
        pairs[name.strip()] = value.strip()
    return pairs


def _add(opened: Catalog, listing: Listing, replace: bool, ray: dict[str, Any] | None) -> AddReport:
    from serupa.cli.progress import bar

    expected = listing.count()
    with bar("Indexing", "photos") as update:

        def progress(report: AddReport) -> None:
            failed = len(report.failures)
            update(report.seen, expected, f"{failed} failed" if failed else "")

        try:
            if ray is not None:
                from serupa.cluster import add_with_ray

                return add_with_ray(opened, listing, replace=replace, progress=progress, **ray)
            return opened.add(listing, replace=replace, progress=progress)
        except KeyboardInterrupt:
            message(f"Stopped; {opened.count()} items are stored. Run the same command to go on.")
            raise typer.Exit(130) from None


def _remove_gone(opened: Catalog, source: str, gone: Sequence[str], yes: bool) -> int:
    """Remove what is gone from the source; ask first where that is much of it."""
    if not gone:
        return 0
    before = opened.count({"indexed_from": source})
    if len(gone) > _ASKED_ABOVE * before and not yes:
        question = f"{len(gone)} of {before} items are gone from {source}"
        if not sys.stdin.isatty():
            raise ConflictError(question, "more than a tenth is not removed unasked", "--yes removes them")
        if not typer.confirm(f"{question}. Remove them?", err=True):
            return 0
    return opened.remove(gone)


def _tell(report: AddReport, catalog: str, total: int, profile: bool) -> None:
    for note in report.notes:
        message(f"note: {note}")
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


def _tell_gone(gone: Sequence[str], removed: int, sync: bool) -> None:
    if not gone:
        return
    first = ", ".join(gone[:_SHOWN_GONE]) + (", ..." if len(gone) > _SHOWN_GONE else "")
    if sync:
        message(f"{removed} removed, gone from the source: {first}")
    else:
        message(
            f"gone from the source, and still in the catalogue: {len(gone)} ({first}); --sync removes them"
        )
