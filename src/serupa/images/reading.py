"""The bytes of a photo: from a path, a URL or an open file, and no more than the limit."""

from __future__ import annotations

import errno
import os
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from serupa.errors import InvalidInputError, NotFoundError, SerupaError, UnavailableError
from serupa.files.atomic import open_regular
from serupa.files.urls import is_remote, is_url, read_url

Photo = str | os.PathLike[str] | bytes | BinaryIO
"""A path or URL, the bytes of an image file, or an open binary file."""

MAX_BYTES = 64 * 2**20
"""The largest file that is read."""


def read_bytes(photo: Photo, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Read the whole of an image file, and no more than the limit.

    Parameters
    ----------
    photo : path, URL, bytes or binary file
        An open file is read from where it stands.
    max_bytes : int
        The limit; a path is checked before it is read.

    Returns
    -------
    bytes

    Raises
    ------
    NotFoundError
        When there is no such file.
    InvalidInputError
        When it is empty, over the limit, or no file at all.
    UnavailableError
        When it cannot be read: no permission, no answer.
    """
    name = name_of(photo)
    try:
        data = _read(photo, name, max_bytes)
    except OSError as error:
        raise _os_error(name, error) from None
    except ValueError as error:  # a path with a null byte, a closed file
        raise InvalidInputError(name, f"cannot be read ({one_line(error)})") from None
    if len(data) > max_bytes:
        raise _too_many_bytes(name, max_bytes)
    if not data:
        raise InvalidInputError(name, "the file is empty")
    return data


def name_of(photo: Photo) -> str:
    """Return what errors call a photo: the end of its path, or "the photo"."""
    if not isinstance(photo, str | os.PathLike):
        return "the photo"
    path = str(os.fspath(photo))
    return path if len(path) <= 300 else "..." + path[-300:]


def one_line(text: object) -> str:
    """Return the beginning of another library's message."""
    return " ".join(str(text).split())[:120]


def _read(photo: Photo, name: str, max_bytes: int) -> bytes:
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    if not isinstance(photo, str | os.PathLike):
        data = photo.read(max_bytes + 1)
        if not isinstance(data, bytes):
            raise InvalidInputError(name, "opened as text", "open it in binary mode")
        return data
    path = os.fspath(photo)
    if is_url(path):
        if is_remote(path):
            return read_url(path, max_bytes)
        path = _local_path(path)
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > max_bytes:
            raise _too_many_bytes(name, max_bytes)
        return file.read(max_bytes + 1)


def _local_path(url: str) -> str:
    """Return the path of a ``file://`` URL, whether or not its letters are percent-encoded."""
    path = url.partition("://")[2]
    return path if os.path.lexists(path) else url2pathname(urlsplit(url).path)


def _os_error(name: str, error: OSError) -> SerupaError:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return NotFoundError(name, "no such file")
        case errno.ELOOP:
            return InvalidInputError(name, "a symbolic link that leads back to itself")
        case errno.EISDIR | errno.EINVAL:
            what = "a folder" if error.errno == errno.EISDIR else "not a file"
            return InvalidInputError(name, f"is {what}", "give the path of a photo")
        case errno.ENAMETOOLONG:
            return InvalidInputError(name, "cannot be read: the name is too long")
        case errno.EACCES | errno.EPERM:
            return UnavailableError(name, "no permission to read it")
        case _:
            return UnavailableError(name, f"cannot be read ({one_line(error.strerror or error)})")


def _too_many_bytes(name: str, limit: int) -> InvalidInputError:
    size = f"{limit / 2**20:.3g} MiB" if limit >= 2**20 else f"{limit:,} bytes"
    return InvalidInputError(name, f"the file is over the limit of {size}", "make it smaller first")
