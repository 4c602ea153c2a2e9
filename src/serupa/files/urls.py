"""Photos and tables at URLs: whatever fsspec reads, such as ``s3://``, ``gs://``, ``https://`` or ``file://``."""

from __future__ import annotations

import errno
import os
import queue
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from serupa.errors import SerupaError

_LONGEST_S = 30.0
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a URL."""
    return _URL.match(os.fspath(path)) is not None


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Tell whether a photo or table is somewhere else than in the files of this machine."""
    return is_url(path) and scheme_of(os.fspath(path)) not in ("file", "local")


def read_url(url: str, limit: int) -> bytes:
    """Read what is at a URL, and no more than one byte over the limit.

    Raises
    ------
    OSError
        If it cannot be read: it says why, and which package is missing where one is.
    """
    if url.lower().startswith(("http://", "https://")):
        return _downloaded(url, limit)
    _refuse_archive(url)

    def read() -> bytes:
        system, path = open_system(url)
        with system.open(path, "rb") as stream:
            data: bytes = stream.read(limit + 1)
            return data

    try:
        return _in_time(read)
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "no such file", url) from error
    except OSError:
        raise
    except Exception as error:  # each file system has exceptions of its own
        raise OSError(_reason(error)) from error


def scheme_of(url: str) -> str:
    """Return how what is at a URL is had, in small letters."""
    return url.partition("://")[0].lower()


def _refuse_archive(url: str) -> None:
    """Refuse something inside a file that is no file, or is fetched by other ways than ours."""
    *inner, archive = url.split("::")
    if not inner:
        return
    if scheme_of(archive) in ("http", "https"):
        raise OSError("an archive on the web cannot be read; download it first")
    if scheme_of(archive) == "file" and not Path(url2pathname(urlsplit(archive).path)).is_file():
        raise OSError("the archive is not a file")


def _in_time(read: Callable[[], bytes]) -> bytes:
    """Return what a file system gives, unless it takes too long: then its thread is left behind."""
    answers: queue.SimpleQueue[bytes | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(read())
        except BaseException as error:
            answers.put(error)

    threading.Thread(target=work, name="url", daemon=True).start()
    try:
        answer = answers.get(timeout=_LONGEST_S)
    except queue.Empty:
        raise TimeoutError(f"no answer within {_LONGEST_S:g} s") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


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
