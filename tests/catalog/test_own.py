"""What a catalogue's own items teach is worked out when it is needed, and not too often."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from serupa.catalog.own import _Kept


def test_it_is_worked_out_anew_after_a_change() -> None:
    values = iter(range(10))
    kept = _Kept(lambda: next(values))
    assert [kept(), kept()] == [0, 0]
    kept.is_stale = True
    assert [kept(), kept()] == [1, 1]


def test_where_it_rests_a_change_waits_and_nobody_waits_for_it() -> None:
    values, go = iter(range(10)), threading.Event()

    def work() -> int:
        value = next(values)
        assert value != 1 or go.wait(10)
        time.sleep(0.02)
        return value

    kept = _Kept(work)
    kept.rests = 10.0
    assert kept() == 0
    kept.is_stale = True
    assert kept() == 0  # 0.2 s
    time.sleep(0.25)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(kept)  # works it out
        while kept.is_stale:
            time.sleep(0.001)
        kept.is_stale = True
        assert kept() == 0  # and others have what there is
        go.set()
        assert first.result() == 1


def test_what_failed_is_tried_again() -> None:
    failing = [True]

    def work() -> int:
        if failing:
            failing.pop()
            raise RuntimeError
        return 7

    kept = _Kept(work)
    with pytest.raises(RuntimeError):
        kept()
    assert kept() == 7
