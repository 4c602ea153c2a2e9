"""What commands print: JSON for programs on stdout, tables and messages for people."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import typer

from serupa.errors import printable

if TYPE_CHECKING:
    from rich.table import Table

    from serupa.catalog.results import Recommendation, SearchResult
    from serupa.evaluation import Evaluation
    from serupa.evaluation.comparison import Difference

_CONTROLS = re.compile(
    r"[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)  # those that json leaves as they are
_FOLDED = 6


def as_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    # An encoding that cannot hold every letter gets escapes, which JSON reads back as the letters
    text = json.dumps(value, ensure_ascii=not _is_unicode(sys.stdout), allow_nan=False, indent=2)
    typer.echo(_CONTROLS.sub(lambda control: f"\\u{ord(control[0]):04x}", text))


def message(text: str) -> None:
    """Tell a person something, on stderr."""
    _echo(text, err=True)


def line(text: str) -> None:
    """Print what was asked for, on stdout."""
    _echo(text, err=False)


def _echo(text: str, *, err: bool) -> None:
    typer.echo("\n".join(map(printable, text.split("\n"))), err=err)


def _is_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().startswith("utf")


def size(count: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under ``(title, "left" or "right")`` columns on stdout, as wide as they need.

    Numbers (right) are never broken: a terminal too narrow for them gets a list of its values for each row.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[printable(cell) for cell in row] for row in rows]
    # piped into a file there is no width to respect, and cut cells would lose what was asked for
    console = Console(width=None if sys.stdout.isatty() else 200)
    if sys.stdout.isatty() and console.width < _narrowest(columns, cells):
        for row in cells:
            pairs({title: cell for (title, _), cell in zip(columns, row, strict=True) if cell})
            line("")
        return
    drawn: Table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for title, side in columns:
        number = side == "right"
        drawn.add_column(title, justify="right" if number else "left", overflow="fold", no_wrap=number)
    for row in cells:
        drawn.add_row(*map(Text, row))
    console.print(drawn)


def _narrowest(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> int:
    """Return the least width that a table needs: numbers whole, texts folded to a few letters."""
    widths = [
        max(len(title), *(len(row[number]) for row in rows)) if side == "right" else _FOLDED
        for number, (title, side) in enumerate(columns)
        if rows
    ]
    return sum(widths) + 2 * len(widths)


def pairs(values: Mapping[str, str]) -> None:
    """Print names and values in two columns on stdout."""
    widest = max(map(len, values), default=0)
    for name, value in values.items():
        line(f"{name:<{widest}}  {value}".rstrip())


def placement(server: Mapping[str, Any]) -> None:
    """Print where the shards of a catalogue on a server lie, and which are on their way."""
    moving = {(one["shard"], one["target"]): one["done"] for one in server["transfers"]}
    rows = []
    for one in server["placement"]:
        for replica in one["replicas"]:
            done = moving.get((one["shard"], replica["node"]))
            share = "" if done is None else f", {done:.0%}"
            points = "" if replica["points"] is None else f"{replica['points']:,}"
            rows.append((str(one["shard"]), replica["node"], replica["state"] + share, points))
    table((("Shard", "left"), ("Node", "left"), ("State", "left"), ("Points", "right")), rows)


def hits(result: SearchResult) -> None:
    """Print a search as a table: rank, name, distance, similarity and what tells the items apart."""
    for one in result.understood:
        if not one.found:
            message(f"No item has {one.text!r}.")
        elif one.role == "word" and one.value != one.text.lower():
            message(f"{one.text!r} was taken for {one.value!r}.")
    if not result.hits:
        line("Nothing found: no item passes the filter, or has the words.")
        return
    categorised = any("category" in hit.item.attributes for hit in result.hits)
    columns = [("Rank", "right"), ("Name", "left"), *([("Category", "left")] * categorised)]
    worded = ["Words"] * bool(result.understood)
    columns += [(name, "right") for name in ("Distance", "Similarity", *worded)] + [("Id", "left")]
    rows = []
    for hit in result.hits:
        category = [str(hit.item.attributes.get("category", ""))] * categorised
        numbers = [f"{hit.distance:.4f}", f"{hit.similarity:.4f}", *(f"{hit.words:.2f}" for _ in worded)]
        rows.append((str(hit.rank), hit.item.name, *category, *numbers, hit.item.id))
    table(columns, rows)
    if result.kind is not None and result.kind.name is not None:
        message(f"Looks like: {result.kind.name} ({result.kind.probability:.0%}); without that: --no-kind")
    if result.close is False:
        message("Nothing very close.")
    timing = ", ".join(f"{name} {ms:.1f} ms" for name, ms in result.timing_ms.items())
    message(f"{result.metric}, {result.encoder}: {timing}")


def recommendation(result: Recommendation, likes: Sequence[str]) -> None:
    """Print what is recommended as a table, each with the like that it is near to."""
    if not result.hits:
        line("Nothing to recommend: no item passes the filter.")
        return
    rows = []
    for hit, because in zip(result.hits, result.because, strict=True):
        category = str(hit.item.attributes.get("category", ""))
        like = "" if because is None else likes[because]
        rows.append(
            (
                str(hit.rank),
                hit.item.name,
                category,
                f"{hit.similarity:.4f}" if like else "",
                like,
                hit.item.id,
            )
        )
    columns = ("Rank", "right"), ("Name", "left"), ("Category", "left"), ("Similarity", "right")
    table([*columns, ("To", "left"), ("Id", "left")], rows)
    if not likes:
        message("Nothing is liked yet: a varied sample of the catalogue.")


def evaluation(result: Evaluation) -> None:
    """Print an evaluation as a table of means with intervals, and what the paired tests show."""
    rows = [
        (heading, *(str(measured.estimates[key]) for measured in result.metrics.values()))
        for key, heading in result.columns()
    ]
    line(result.description())
    table([("Measure", "left"), *((name.capitalize(), "right") for name in result.metrics)], rows)
    line(f"Mean over the queries (95 % bootstrap interval, {result.resamples:,} resamples).")
    for comparison in result.comparisons:
        line(f"- {comparison}")


def differences(by_label: Mapping[str, Sequence[Difference]]) -> None:
    """Print what changes by each label as a table: means before and after, and intervals of the change."""
    rows = [
        (label if not number else "", *one.cells())
        for label, changes in by_label.items()
        for number, one in enumerate(changes)
    ]
    columns = [("Label", "left"), ("Measure", "left"), ("Before", "right"), ("After", "right")]
    table([*columns, ("Change", "right"), ("95 % interval", "right"), ("", "left")], rows)
