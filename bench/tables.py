"""Tables in Markdown, which every script here prints, and back to values, for the JSON of bench/run.py."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_SPREAD = re.compile(r"(?P<median>-?[\d,.]+) \((?P<low>-?[\d,.]+) to (?P<high>-?[\d,.]+)\)")


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column is text and the others numbers."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Write measurements as their median, with the smallest and the largest."""
    median, low, high = statistics.median(values), min(values), max(values)
    if len(values) == 1:
        return f"{median:,.{digits}f}"
    return f"{median:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def judged(value: float, target: float, *, at_least: bool, digits: int = 2) -> str:
    """Write a value beside its target and whether it holds."""
    holds = value >= target if at_least else value <= target
    sign = ">=" if at_least else "<="
    return f"{value:.{digits}f} ({sign} {target:g}: {'holds' if holds else 'falls short'})"


def parse(text: str) -> list[list[dict[str, Any]]]:
    """Return the tables of a Markdown text, a mapping a row; cells that are numbers as numbers."""
    tables: list[list[dict[str, Any]]] = []
    for block in _blocks(text):
        head, _, *rows = [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in block]
        tables.append([dict(zip(head, map(_value, row), strict=False)) for row in rows])
    return tables


def _blocks(text: str) -> Iterator[list[str]]:
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            block.append(line)
        elif block:
            if len(block) > 1:
                yield block
            block = []


def _value(cell: str) -> Any:
    cell = cell.strip("*`")
    if found := _SPREAD.fullmatch(cell):
        return {name: _value(part) for name, part in found.groupdict().items()}
    try:
        return float(cell.replace(",", ""))
    except ValueError:
        return cell
