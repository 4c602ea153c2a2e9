"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


def silent(_doing: str, _done: int, _total: int) -> None:
    """Take progress that nobody asked for."""
