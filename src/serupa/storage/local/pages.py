"""Huge pages for what a search walks at random.

A graph is walked from anywhere to anywhere, so with pages of 4 kB nearly every vector costs a miss of the
processor's address cache as well. Linux gives pages of 2 MB to memory that asks for them; at a million
vectors a search then takes two thirds of the time (docs/performance.md).
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import threading
from collections.abc import Iterator
from pathlib import Path

SMALLEST = 32 * 2**20
"""Bytes of a mapping from which it matters: smaller ones stay in the processor's caches anyway."""

_HUGE = 2 * 2**20
_MAPS, _SMAPS = Path("/proc/self/maps"), Path("/proc/self/smaps")
_BOUNDS = re.compile(r"([0-9a-f]+)-([0-9a-f]+) ")
_ANONYMOUS = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p 00000000 00:00 0\s*(?:\[(?:anon|heap)[^\]]*\])?")
_ON_REQUEST = 14  # MADV_HUGEPAGE, <linux/mman.h>
_NOW = 25  # MADV_COLLAPSE, Linux 6.1; older ones do it by and by


_wanted = threading.Event()


def use_huge_pages() -> None:
    """Let `huge_pages` do what it says in this process, from now on: for commands and servers."""
    _wanted.set()


@contextlib.contextmanager
def huge_pages() -> Iterator[None]:
    """Put large memory that is allocated inside the block onto huge pages, in the background, after it.

    Only in a process that said so by `use_huge_pages`: the memory may be another library's. Nothing happens
    where the system has none, or refuses.
    """
    if not _wanted.is_set():
        yield
        return
    before = set(_mappings())
    yield
    new = [mapping for mapping in _mappings() if mapping not in before]
    if new:
        threading.Thread(target=_advise, args=(new,), name="serupa-pages", daemon=True).start()


def _mappings() -> list[tuple[int, int]]:
    """Return the bounds of the process's large anonymous mappings."""
    try:
        lines = _MAPS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no Linux
        return []
    matches = (_ANONYMOUS.fullmatch(line.rstrip()) for line in lines)
    bounds = ((int(match[1], 16), int(match[2], 16)) for match in matches if match)
    return [(start, end) for start, end in bounds if end - start >= SMALLEST]


def _advise(mappings: list[tuple[int, int]]) -> None:
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start, end in sorted(_filled() & set(mappings)):
        first, last = -(-start // _HUGE) * _HUGE, end // _HUGE * _HUGE
        for advice in (_ON_REQUEST, _NOW):
            madvise(first, last - first, advice)  # refused, or for memory that is gone, it does nothing


def _filled() -> set[tuple[int, int]]:
    """Return the mappings that are in use nearly whole: where there are gaps, huge pages would fill them."""
    found: set[tuple[int, int]] = set()
    bounds = (0, 0)
    for line in _SMAPS.read_text(encoding="utf-8", errors="replace").splitlines():
        if match := _BOUNDS.match(line):
            bounds = int(match[1], 16), int(match[2], 16)
        elif line.startswith("Rss:") and 1024 * int(line.split()[1]) >= 0.9 * (bounds[1] - bounds[0]):
            found.add(bounds)
    return found
