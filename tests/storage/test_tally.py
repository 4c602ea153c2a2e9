"""What a store must hold is known after a kill, too: lost, changed and foreign points are told apart."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from serupa.errors import DamagedError
from serupa.storage.base import Point
from serupa.storage.engine import point_uuid
from serupa.storage.local.store import LocalStore
from serupa.storage.local.tally import NAME, UNREADABLE, Tally, hash_of


@pytest.fixture
def counted(tmp_path: Path) -> Tally:
    """Two points, settled."""
    tally = Tally(tmp_path)
    tally.restart(0, 0)
    tally.begin({"a": (None, 10), "b": (None, 20)})
    tally.settle()
    return tally


def after_a_kill(tmp_path: Path) -> Tally:
    return Tally(tmp_path)


def test_what_was_settled_must_be_there(counted: Tally, tmp_path: Path) -> None:
    again = after_a_kill(tmp_path)
    assert again.check([("a", 10), ("b", 20)]) == (2, 30, [])
    for found in ([("a", 10)], [("a", 10), ("b", 21)], [("a", 10), ("b", 20), ("c", 5)], []):
        with pytest.raises(DamagedError):
            again.check(found)


@pytest.mark.parametrize("found", [[("a", 10)], [("a", 11)], [("a", 10), ("c", 7)], [("a", 11), ("c", 7)]])
def test_what_was_being_changed_is_as_before_or_after(
    counted: Tally, tmp_path: Path, found: list[tuple[str, int]]
) -> None:
    counted.begin({"a": (10, 11), "c": (None, 7)})
    assert after_a_kill(tmp_path).check([*found, ("b", 20)])[0] == len(found) + 1
    after_a_kill(tmp_path).check_count(len(found) + 1)


@pytest.mark.parametrize("found", [[("b", 20)], [("a", 12), ("b", 20)], [("a", 11), ("b", 21)], [("a", 10)]])
def test_and_nothing_else(counted: Tally, tmp_path: Path, found: list[tuple[str, int]]) -> None:
    counted.begin({"a": (10, 11), "c": (None, 7)})
    with pytest.raises(DamagedError):
        after_a_kill(tmp_path).check(found)


def test_what_a_power_cut_left_half_written_goes_if_it_was_new(
    counted: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted.begin({"a": (10, 11), "c": (None, 7)})
    monkeypatch.setattr("serupa.storage.local.tally.boot", lambda: "another")
    again = after_a_kill(tmp_path)
    assert again.check([("a", 10), ("b", 20), ("c", UNREADABLE)]) == (2, 30, ["c"])
    for found in ([("a", 12), ("b", 20)], [("a", 10), ("b", UNREADABLE)]):
        with pytest.raises(DamagedError):
            again.check(found)


def test_counts_alone(counted: Tally, tmp_path: Path) -> None:
    """Of a store that is too large to be read on opening."""
    counted.begin({"a": (10, None), "c": (None, 7), "d": (None, 8)})
    again = after_a_kill(tmp_path)
    for found in (1, 2, 3, 4):
        again.check_count(found)
    for found in (0, 5):
        with pytest.raises(DamagedError):
            again.check_count(found)


def test_settled_is_not_as_before(counted: Tally, tmp_path: Path) -> None:
    counted.begin({"a": (10, 11)})
    counted.settle()
    with pytest.raises(DamagedError):
        after_a_kill(tmp_path).check([("a", 10), ("b", 20)])


def test_a_line_that_was_cut_short_had_not_begun(counted: Tally, tmp_path: Path) -> None:
    whole = (tmp_path / NAME).read_bytes()
    counted.begin({"a": (10, 11)})
    longer = (tmp_path / NAME).read_bytes()
    for length in range(len(whole), len(longer)):
        (tmp_path / NAME).write_bytes(longer[:length])
        assert after_a_kill(tmp_path).check([("a", 10), ("b", 20)]) == (2, 30, [])


def test_every_bit_of_the_notes_counts(counted: Tally, tmp_path: Path) -> None:
    whole = (tmp_path / NAME).read_bytes()
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 4
        (tmp_path / NAME).write_bytes(changed)
        with pytest.raises(DamagedError):
            after_a_kill(tmp_path).check([("a", 10), ("b", 20)])


def test_hashes_outlive_a_restart_of_the_engine(tmp_path: Path) -> None:
    """Vectors come back to the bit, and numbers nearly: hashes must be the same for all of them."""
    rng = np.random.default_rng(0)
    floats = rng.normal(size=200) * 10.0 ** rng.uniform(-9, 9, size=200)
    attributes = {"list": ["b", "a"], "whole": 3.0, "large": 2**60 + 1, "text": 'quoted "é" \\'}
    store = LocalStore(tmp_path / "points", {"cosine": 64, "euclidean": 64})
    rows = rng.normal(size=(200, 64)).astype(np.float32)
    store.upsert(
        [
            Point(
                f"i{n}",
                {"cosine": row, "euclidean": row},
                {"id": f"i{n}", "attributes": attributes | {"n": f}},
            )
            for n, (row, f) in enumerate(zip(rows, floats.tolist(), strict=True))
        ]
    )
    store.replace_payloads([{"id": "i3", "attributes": {"n": math.pi}}])
    store.delete(["i4", "nobody"])
    assert store.verify() == 199
    store.flush()
    (seal := tmp_path / "points" / "seal.json").unlink(missing_ok=True)
    store.close()
    seal.unlink()
    again = LocalStore(tmp_path / "points", {"cosine": 64, "euclidean": 64})
    assert again.verify() == 199
    again.close()


def test_a_number_counts_to_the_ninth_digit() -> None:
    def of(value: float) -> int:
        return hash_of(Point("a", {}, {"id": "a", "attributes": {"n": value}}))

    assert of(0.1 + 0.2) == of(0.3)
    assert of(12345678.0) != of(12345679.0)
    assert of(1.2345678) != of(1.2345679)


def test_a_store_settles_what_it_has_flushed(tmp_path: Path) -> None:
    """After that, a point as it was before is a loss."""
    store = LocalStore(tmp_path / "points", {"euclidean": 2})
    before, after = (
        Point("a", {"euclidean": np.full(2, n, np.float32)}, {"id": "a", "attributes": {}}) for n in (1, 2)
    )
    store.upsert([before])
    store.flush()
    store.upsert([after])
    key = point_uuid("a")
    assert Tally(tmp_path / "points").check([(key, hash_of(before))])[0] == 1
    store.flush()
    with pytest.raises(DamagedError):
        Tally(tmp_path / "points").check([(key, hash_of(before))])
    store.close()


def test_a_point_that_no_search_finds_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path / "points", {"euclidean": 2})
    names = ("a", "b")
    store.upsert([Point(one, {"euclidean": np.ones(2)}, {"id": one, "attributes": {}}) for one in names])
    assert store._reached() == set(map(point_uuid, names))
    monkeypatch.setattr(store, "_reached", lambda: {point_uuid("a")})
    with pytest.raises(DamagedError):
        store.verify()
    store.close()
