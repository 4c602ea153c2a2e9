"""Builds a store's graph in a process of its own: the engine holds the interpreter lock meanwhile.

Run as ``python -m serupa.storage.local.graph DIRECTORY`` on a copy that nobody has open.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from serupa.errors import UnavailableError
from serupa.files.atomic import sync_tree

_BUILDING = ("-m", __name__)
_NICER = 5  # searches go first
_PARENT_DIES = 1  # PR_SET_PDEATHSIG, <linux/prctl.h>


class GraphBuilder:
    """The process that builds; one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def build(self, directory: Path) -> None:
        """Build what is missing, flushed to the disk.

        Raises
        ------
        UnavailableError
            If it cannot be built, or `stop` was called.
        """
        command = [sys.executable, *_BUILDING, str(directory)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with self._lock:
            if self._stopped:
                raise UnavailableError(directory, "its graph is not built: the store is being closed")
            self._process = process = subprocess.Popen(  # noqa: S603 -- ourselves
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        try:
            _, said = process.communicate()
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            lines = said.decode(errors="replace").split("\n")
            reason = next((line.strip() for line in reversed(lines) if line.strip()), "")[:300]
            raise UnavailableError(
                directory,
                f"its graph could not be built ({reason or f'status {process.returncode}'})",
                "searches are right without it, but slower",
            )

    def stop(self) -> None:
        """End what is being built, and build nothing any more."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()


def _build(directory: Path) -> None:
    """Let the engine build by the settings that it finds with its files."""
    with contextlib.suppress(AttributeError, OSError):  # not on every system
        ctypes.CDLL(None).prctl(_PARENT_DIES, signal.SIGKILL)
        os.nice(_NICER)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to say
    import qdrant_edge

    shard = qdrant_edge.EdgeShard.load(str(directory))
    shard.optimize()
    shard.close()
    sync_tree(directory)


if __name__ == "__main__":
    _build(Path(sys.argv[1]))
