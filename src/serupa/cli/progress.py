"""Progress bars, on stderr, so that stdout stays what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(title: str, unit: str) -> Iterator[Callable[..., None]]:
    """Show a bar with count, rate and time left.

    Yields
    ------
    callable
        ``update(done, total, note="")``; ``total`` may be None while it is unknown.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.0f} {unit}/s" if speed else "")

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        task = progress.add_task(title, total=None, note="")

        def update(done: int, total: int | None, note: str = "") -> None:
            progress.update(task, completed=done, total=total, note=note)

        yield update


@contextmanager
def steps() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar after another, as the work names its steps.

    Yields
    ------
    callable
        ``progress(step, done, total)``.
    """
    with bar("", "done") as update:

        def progress(step: str, done: int, total: int) -> None:
            update(done, total, step)

        yield progress
