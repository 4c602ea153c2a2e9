"""Large memory goes onto huge pages, unchanged; small and sparse memory is left alone."""

from __future__ import annotations

import mmap
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from serupa.storage.local import pages


@pytest.fixture(autouse=True)
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_wanted", threading.Event())
    pages.use_huge_pages()


def test_nothing_is_done_in_a_process_that_did_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_wanted", threading.Event())
    monkeypatch.setattr(pages, "_advise", lambda _: pytest.fail("asked for huge pages"))
    with pages.huge_pages():
        filled = np.ones(pages.SMALLEST // 4)
    settle()
    assert filled.sum() == len(filled)


def settle() -> None:
    for thread in threading.enumerate():
        if thread.name == "serupa-pages":
            thread.join()


# In a process of its own: in one that keeps freed memory, a large array may be no new mapping.
MOVES = """
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from serupa.storage.local import pages


def huge_kb():
    return int(re.search(r"AnonHugePages:\\s+(\\d+)", Path("/proc/self/smaps_rollup").read_text())[1])


pages.use_huge_pages()
before = huge_kb()
with pages.huge_pages():
    filled = np.arange(pages.SMALLEST // 4, dtype=np.float64)  # twice the smallest
for thread in threading.enumerate():
    if thread.name == "serupa-pages":
        thread.join()
assert (filled == np.arange(len(filled))).all()
print(huge_kb() - before)
"""


def test_large_memory_moves_and_stays_as_it_is() -> None:
    done = subprocess.run([sys.executable, "-c", MOVES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if setting.exists() and "[madvise]" in setting.read_text():
        assert int(done.stdout) >= pages.SMALLEST // 1024


def test_only_what_is_new_large_and_filled_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    advise = pages._advise
    monkeypatch.setattr(pages, "_advise", lambda found: (asked.extend(found), advise(found)))
    old = np.ones(pages.SMALLEST // 8 + 4096)
    resident = pages._filled()
    with pages.huge_pages():
        small = np.ones(1000)
        sparse = mmap.mmap(-1, 2 * pages.SMALLEST, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        sparse[0] = 1
    settle()
    assert not {(start, end) for start, end in asked if start <= old.ctypes.data < end}
    assert len(asked) <= 1 and not set(asked) & pages._filled()
    assert resident <= pages._filled() | resident and small.sum() == 1000
    sparse.close()


def test_where_there_are_no_mappings_to_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pages, "_MAPS", tmp_path / "none")
    with pages.huge_pages():
        filled = np.ones(pages.SMALLEST // 4)
    assert filled.sum() == len(filled)
