"""Photos and tables at URLs: whatever fsspec reads, such as ``s3://``, ``gs://``, ``https://`` or ``file://``."""

from __future__ import annotations

import errno
import os
import re
from typing import Any

from serupa.errors import SerupaError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a URL."""
    return _URL.match(os.fspath(path)) is not None


def read_url(url: str, limit: int) -> bytes:
    """Read what is at a URL, and no more than one byte over the limit.

    Raises
    ------
    OSError
        If it cannot be read: it says why, and which package is missing where one is.
    """
    if url.lower().startswith(("http://", "https://")):
        return _downloaded(url, limit)
    system, path = open_system(url)
    try:
        with system.open(path, "rb") as stream:
            data: bytes = stream.read(limit + 1)
            return data
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "no such file", url) from error
    except OSError:
        raise
    except Exception as error:  # each file system has exceptions of its own
        raise OSError(_reason(error)) from error


def _downloaded(url: str, limit: int) -> bytes:
    from serupa.files.http import fetch

    try:
        return fetch(url, limit).data or b""
    except SerupaError as error:
        raise OSError(error.problem) from None


def open_system(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and its path there.

    Raises
    ------
    OSError
        If there is none for it.
    """
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise OSError(f"its file system is not installed: {_reason(error)}") from error
    except Exception as error:
        raise OSError(_reason(error)) from error
    return system, path


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
