"""Photos that a table holds itself, as Hugging Face data sets do: unpacked into the cache, once."""

from __future__ import annotations

import hashlib
import io
from typing import Any

from serupa.errors import InvalidInputError, UnavailableError
from serupa.files.cache import cache_dir, write_whole
from serupa.sources.values import encodable


def is_embedded(value: object) -> bool:
    """Tell whether a cell holds a photo and not the path of one: bytes, a Pillow image, an array.

    A mapping with ``bytes`` and ``path`` is how data sets keep photos in Arrow and Parquet.
    """
    if isinstance(value, dict):
        return isinstance(value.get("bytes"), bytes) and bool(value["bytes"])
    return isinstance(value, bytes) or hasattr(value, "__array_interface__")


def unpack(value: Any, *, name_only: bool = False) -> str:
    """Write a photo into the cache under the hash of its bytes, and return its path.

    Parameters
    ----------
    value : bytes, mapping, PIL.Image.Image or (h, w, 3) uint8 array
    name_only : bool
        Return what it is called instead: its own path where one is known, else the hash.

    Raises
    ------
    InvalidInputError
        If an array is no picture.
    UnavailableError
        If the cache cannot be written.
    """
    data = _bytes_of(value)
    name = hashlib.blake2b(data, digest_size=16).hexdigest()
    if name_only:
        own = value.get("path") if isinstance(value, dict) else None
        return encodable(own) if isinstance(own, str) and own else name
    path = cache_dir() / "photos" / name[:2] / name
    if not path.exists() and not write_whole(path, data):
        raise UnavailableError(path, "cannot be written", "set SERUPA_CACHE to a folder that can")
    return str(path)


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, dict):
        value = value["bytes"]
    if isinstance(value, bytes):
        return value
    from PIL import Image

    try:
        picture = value if isinstance(value, Image.Image) else Image.fromarray(value)
        out = io.BytesIO()
        picture.save(out, "PNG", compress_level=1)
    except (OSError, TypeError, ValueError) as error:
        raise InvalidInputError("a picture in the table", f"cannot be kept ({error})") from None
    return out.getvalue()
