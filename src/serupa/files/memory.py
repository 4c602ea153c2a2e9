"""Memory that one photo gives back is kept for the next."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

# <malloc.h>; the first is as much as glibc takes
_MMAP_THRESHOLD, _MMAP_BYTES = -3, 32 * 2**20
_TRIM_THRESHOLD, _TRIM_BYTES = -1, 64 * 2**20


def give_back_memory() -> None:
    """Have the C library return what is free to the system: after work that took much, and is done rarely."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


@cache
def keep_freed_memory() -> None:
    """Ask the C library not to return every piece of freed memory to the system at once.

    A photo of two megapixels takes some 15 MB while it is decoded. glibc returns them after each one, and
    the system hands them out again page by page, zeroed: a quarter of the time of decoding
    (docs/performance.md). From here on each thread's heap keeps up to 64 MB. This holds for the whole
    process, so it is for what decodes one photo after the other, not for an import. Other C libraries are
    left alone.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_TRIM_THRESHOLD, _TRIM_BYTES)
