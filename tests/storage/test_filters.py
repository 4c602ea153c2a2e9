from __future__ import annotations

import pytest

from serupa import UsageError
from serupa.filters import Condition, as_filter
from serupa.storage.base import grouped
from serupa.vectors import similarity_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("color=Black", Condition("color", any_of=("Black",))),
        ("color = Black ", Condition("color", any_of=("Black",))),
        ("color=Black|Navy Blue", Condition("color", any_of=("Black", "Navy Blue"))),
        ("color!=Red", Condition("color", none_of=("Red",))),
        ("size=52", Condition("size", any_of=("52", 52.0))),
        ("price=10..50", Condition("price", gte=10.0, lte=50.0)),
        ("price=10.5..", Condition("price", gte=10.5)),
        ("price=..50", Condition("price", lte=50.0)),
        ("price=-5..-1", Condition("price", gte=-5.0, lte=-1.0)),
        ("price>=10", Condition("price", gte=10.0)),
        ("price > 10", Condition("price", gt=10.0)),
        ("price<50", Condition("price", lt=50.0)),
        ("price<=5e1", Condition("price", lte=50.0)),
        ("name=a=b", Condition("name", any_of=("a=b",))),
        ("name=..", Condition("name", any_of=("..",))),
        ("name=", Condition("name", any_of=("",))),
    ],
)
def test_texts(text: str, expected: Condition) -> None:
    assert as_filter([text]) == (expected,)
    assert as_filter(text) == (expected,)


@pytest.mark.parametrize("text", ["", "color", "=x", "price>cheap", "price<nan", "price>=inf", "!"])
def test_texts_that_say_nothing(text: str) -> None:
    with pytest.raises(UsageError):
        as_filter([text])


def test_mappings() -> None:
    where = {"category": "hats", "color": ["Red", "Blue"], "price": {"gte": 1, "lt": 2}, "sale": True}
    assert as_filter(where) == (
        Condition("category", any_of=("hats",)),
        Condition("color", any_of=("Red", "Blue")),
        Condition("price", gte=1.0, lt=2.0),
        Condition("sale", any_of=(True,)),
    )
    assert as_filter({"color": {"not": ["Red"]}}) == (Condition("color", none_of=("Red",)),)
    assert as_filter(None) == as_filter({}) == as_filter([]) == ()


@pytest.mark.parametrize(
    "where",
    [
        {"a": None},
        {"a": []},
        {"a": {}},
        {"a": {"near": 1}},
        {"a": float("nan")},
        {"a": {"gte": "x"}},
        {"a": [None]},
    ],
)
def test_mappings_that_say_nothing(where: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="'a'"):
        as_filter(where)


def test_conditions_pass_through() -> None:
    conditions = (Condition("a", any_of=(1,)),)
    assert as_filter(conditions) == conditions


def test_similarity() -> None:
    assert similarity_of(0.25, "cosine") == 0.75
    assert similarity_of(3.0, "euclidean") == similarity_of(3.0, "manhattan") == 0.25


def test_grouped() -> None:
    assert list(grouped("abcde", 2)) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(grouped([], 2)) == []
