"""Chosen points: every step that changes the disk is counted, and the process can be killed at any of them.

A step is the moment before and the moment after a change of a file's place (rename, replace, unlink, mkdir,
rmtree), a flush to the disk (fsync), and a call of the engine that writes. Between two steps nothing changes
that a crash could cut in two but what is inside one call, and random kills meet that.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ENGINE = ("update", "flush", "optimize", "close")


def install(kill_at: int | None, tell: Callable[[Any], None]) -> None:
    """Count steps in this process; at step `kill_at` kill it."""
    count = 0

    def step(name: str) -> None:
        nonlocal count
        if count == kill_at:
            tell({"killed_at": name})
            os.kill(os.getpid(), signal.SIGKILL)
        if kill_at is None:
            tell({"step": name})
        count += 1

    def counted(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def both_sides(*args: Any, **kwargs: Any) -> Any:
            step(f"before {name}")
            result = function(*args, **kwargs)
            step(f"after {name}")
            return result

        return both_sides

    for owner, names in (
        (os, ("fsync", "replace", "rename")),
        (Path, ("replace", "rename", "unlink", "mkdir", "write_text", "write_bytes")),
        (shutil, ("rmtree", "copyfile", "copytree")),
        (tempfile, ("mkstemp",)),
    ):
        for name in names:
            setattr(owner, name, counted(getattr(owner, name), name))

    import qdrant_edge

    shard = qdrant_edge.EdgeShard

    class Counted:
        """The engine's shard, its writing calls counted."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        @staticmethod
        def create(*args: Any) -> Any:
            return Counted(counted(shard.create, "create")(*args))

        @staticmethod
        def load(*args: Any) -> Any:
            return Counted(counted(shard.load, "load")(*args))

        def __getattr__(self, name: str) -> Any:
            function = getattr(self._inner, name)
            return counted(function, name) if name in _ENGINE else function

    qdrant_edge.EdgeShard = Counted  # type: ignore[misc,assignment]
