"""A catalogue's path or address, to the backend that keeps it."""

from __future__ import annotations

import os
from pathlib import Path

from serupa.storage.base import Backend
from serupa.storage.qdrant.address import is_server, parse_address


def backend_of(path: str | os.PathLike[str]) -> Backend:
    """Return the backend that a path or an address names; nothing is opened yet.

    Raises
    ------
    UsageError
        If it is an address that cannot be understood.
    MissingExtraError
        If it is on a server and the ``qdrant`` extra is not installed.
    """
    if is_server(path):
        from serupa.storage.qdrant.backend import QdrantBackend

        return QdrantBackend(parse_address(str(path)))
    from serupa.storage.local.backend import LocalBackend

    return LocalBackend(Path(path))
