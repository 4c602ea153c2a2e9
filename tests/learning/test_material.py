"""What training reads: which photos are held back, and from what list."""

from __future__ import annotations

from pathlib import Path

import pytest

from serupa.errors import InvalidInputError
from serupa.learning.material import read_held


def test_a_list_of_photos_to_hold_back(tmp_path: Path) -> None:
    path = tmp_path / "held.txt"
    path.write_text("# a tenth\nproduct_id=MH05\nproduct_id = VA04 # a scarf\n\nsender_id=48\n")
    assert read_held(path) == {"product_id": {"MH05", "VA04"}, "sender_id": {"48"}}


@pytest.mark.parametrize("text", ["MH05\n", "product_id=\n", "=MH05\n"])
def test_a_line_that_says_nothing_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "held.txt"
    path.write_text(f"product_id=A\n{text}")
    with pytest.raises(InvalidInputError, match="line 2"):
        read_held(path)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_held(tmp_path / "none.txt")
