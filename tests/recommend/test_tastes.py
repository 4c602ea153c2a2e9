"""Tastes: plain data of the person's own, which fades."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from serupa import Catalog
from serupa.errors import InvalidInputError, NotFoundError
from serupa.recommend.tastes import MOST, Taste, decayed, taste_from_file

NOW = datetime(2026, 8, 1, tzinfo=UTC)


def test_the_last_word_counts() -> None:
    taste = Taste().liking("a").disliking("b").liking("b").disliking("a").liking("c").without("c")
    assert [m.what for m in taste.likes] == ["b"]
    assert [m.what for m in taste.dislikes] == ["a"]


def test_export_and_import() -> None:
    photo = np.arange(4, dtype=np.float32)
    taste = Taste().liking("a", at=NOW).liking(photo, at=NOW, encoder="mine").disliking("b", at=NOW)
    exported = json.loads(json.dumps(taste.to_dict()))
    assert exported["likes"][0] == {"id": "a", "at": "2026-08-01T00:00:00+00:00"}
    again = Taste.from_dict(exported)
    assert again.to_dict() == exported
    np.testing.assert_array_equal(again.likes[1].what, photo)
    assert Taste.from_dict({}) == Taste()


def test_of_two_entries_the_later_one_counts() -> None:
    early, late = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
    taste = Taste.from_dict({"likes": [{"id": "a", "at": late}], "dislikes": [{"id": "a", "at": early}]})
    assert [m.what for m in taste.likes] == ["a"]
    assert not taste.dislikes


def test_likes_fade() -> None:
    assert decayed(NOW, NOW, 90) == 1
    assert decayed(NOW - timedelta(days=90), NOW, 90) == pytest.approx(0.5)
    assert decayed(NOW - timedelta(days=180), NOW, 90) == pytest.approx(0.25)
    assert decayed(NOW + timedelta(days=1), NOW, 90) == 1  # a clock that is wrong
    assert decayed(NOW - timedelta(days=36_500), NOW, 90) > 0


def test_what_is_new_comes_first(catalog: Catalog) -> None:
    taste = Taste().liking("item-00", at=NOW - timedelta(days=400)).liking("item-10", at=NOW)
    examples = taste.examples(catalog, now=NOW)
    assert [e.weight for e in examples.likes] == [pytest.approx(2 ** (-400 / 90)), 1.0]
    found = catalog.recommend(examples.likes, k=3)
    assert found.because[0] == 1


def test_items_that_are_gone_are_passed_over_or_named(catalog: Catalog) -> None:
    taste = Taste().liking("item-00").liking("gone").disliking("lost")
    examples = taste.examples(catalog)
    assert [e.item_id for e in examples.likes] == ["item-00"]
    assert examples.dislikes == ()
    assert examples.unknown == ("gone", "lost")
    with pytest.raises(NotFoundError, match="'gone', 'lost'"):
        taste.examples(catalog, strict=True)


def test_a_photo_of_another_encoder_is_refused(catalog: Catalog) -> None:
    with pytest.raises(InvalidInputError, match="resnet50"):
        Taste().liking(np.ones(2048, np.float32), encoder="resnet50").examples(catalog)


def test_it_holds_so_many() -> None:
    marks = [{"id": str(n), "at": f"2026-01-01T00:00:00.{n:06}Z"} for n in range(MOST + 5)]
    taste = Taste.from_dict({"likes": marks})
    assert len(taste.likes) == MOST
    assert taste.likes[0].what == "5"


@pytest.mark.parametrize(
    "data",
    [
        [],
        {"format": 2},
        {"likes": "a"},
        {"likes": [3]},
        {"likes": [{}]},
        {"likes": [{"id": "a", "at": "yesterday"}]},
        {"likes": [{"embedding": ["x"]}]},
        {"likes": [{"embedding": [float("nan")]}]},
        {"dislikes": [{"embedding": []}]},
    ],
)
def test_what_is_no_taste_is_refused(data: object) -> None:
    with pytest.raises(InvalidInputError):
        Taste.from_dict(data)


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "taste.json"
    with pytest.raises(NotFoundError, match="taste"):
        taste_from_file(file)
    for text in ("{", "[1]", '{"likes": 3}'):
        file.write_text(text)
        with pytest.raises(InvalidInputError, match="taste"):
            taste_from_file(file)
    file.write_text(json.dumps(Taste().liking("a").to_dict()))
    assert [m.what for m in taste_from_file(file).likes] == ["a"]
