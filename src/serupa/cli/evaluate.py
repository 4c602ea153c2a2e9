"""``serupa evaluate``: how good a catalogue's search is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from serupa.cli.options import CatalogPath, Exact, Json, Wait
from serupa.cli.printing import as_json, evaluation, line, message, table


def evaluate(
    catalog: CatalogPath,
    label: Annotated[
        str,
        typer.Option(
            help="Two items are relevant when this is the same: product_id or an attribute.",
            show_default=False,
        ),
    ],
    queries: Annotated[str, typer.Option(metavar="N|all", help="How many random items to ask with.")] = "all",
    queries_from: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", help="Ask with the photos of a folder or table instead.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed asks with other items.", min=0)] = 0,
    k: Annotated[str, typer.Option("-k", help="The Ks of precision@K and so on.")] = "1,5,10",
    metrics: Annotated[
        str | None,
        typer.Option(help="Some of the catalogue's metrics; all unless given.", show_default=False),
    ] = None,
    exact: Exact = False,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="CATALOG|ENCODER",
            help="Compare with another catalogue of the same items, or with another encoder.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a page with table and figures.", show_default=False),
    ] = None,
    guess: Annotated[
        bool,
        typer.Option("--guess", help="Measure how well the label is guessed from a photo alone instead."),
    ] = False,
    wait: Wait = 0.0,
    json: Json = False,
) -> None:
    """Measure how well a catalogue's own search finds items of the same label.

    Each query is left out of its own results. Every measure comes with a 95 % interval.
    """
    from serupa.catalog import Catalog, reports
    from serupa.cli.progress import steps
    from serupa.evaluation.experiment import compare_catalog, evaluate_catalog, report_catalog

    if guess:
        _guesses(catalog, label, wait, json=json)
        return
    with Catalog.open(catalog, wait_s=wait) as opened, steps() as progress:
        measure = partial(
            evaluate_catalog,
            label=label,
            queries=_count(queries),
            queries_from=queries_from,
            ks=_numbers(k),
            metrics=metrics.split(",") if metrics else None,
            seed=seed,
            exact=exact,
            progress=progress,
        )
        result = measure(opened)
        reports.keep(opened.backend, "evaluation", result.to_dict())
        page = None if report is None else report_catalog(opened, result, report, progress=progress)
        differences = (
            [] if compare is None else compare_catalog(opened, result, compare, measure, progress=progress)
        )
    for reason in result.unreadable:
        message(f"failed: {reason}")
    if page is not None:
        message(f"The report: {page}")
    if json:
        compared = {"compared_with": compare, "differences": [one.to_dict() for one in differences]}
        as_json(result.to_dict() | (compared if differences else {}))
        return
    evaluation(result)
    if differences:
        line(f"{compare}, compared with {catalog} on the same queries:")
        for one in differences:
            line(f"- {one}")


def _guesses(catalog: str, label: str, wait: float, *, json: bool) -> None:
    from serupa.catalog import Catalog
    from serupa.evaluation.guessing import measure_guesses

    with Catalog.open(catalog, wait_s=wait) as opened:
        found = measure_guesses(opened, label)
    if json:
        as_json(found.to_dict())
        return
    line(f"{found.label}, guessed by {found.by}: {found.items:,} items, {found.skipped:,} left out")
    rows = [(f"{one.coverage:.0%}", str(one)) for one in found.accuracies]
    table([("Most confident", "right"), ("Accuracy", "left")], rows)


def _count(text: str) -> int | None:
    if text == "all":
        return None
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise typer.BadParameter(f"{text!r} is neither a number above 0 nor all", param_hint="--queries")


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"{text!r}: write numbers above 0, such as 1,5,10", param_hint="-k")
    return [int(part) for part in parts]
