"""Which classes are kept: exactly those that the rule says."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from serupa.paper.selection import select_classes

LABELS = st.lists(st.sampled_from(["a", "b", "c", "d", "", None]), max_size=60)


def test_largest_that_are_large_enough() -> None:
    labels = ["tee"] * 5 + ["hat"] * 3 + ["coat"] * 3 + ["sock"] * 2 + [None, ""]
    kept = select_classes(labels, classes=3, min_images=3)
    assert kept.counts == {"tee": 5, "coat": 3, "hat": 3}
    assert list(kept.counts) == ["tee", "coat", "hat"]
    assert kept.indices.tolist() == list(range(11))
    assert (kept.classes_before, kept.images_before) == (4, 15)
    assert (kept.classes_after, kept.images_after) == (3, 11)


def test_the_size_of_a_class_decides_before_its_name() -> None:
    labels = ["zebra"] * 3 + ["ant"] * 2 + ["bee"] * 2
    assert list(select_classes(labels, classes=2, min_images=1).counts) == ["zebra", "ant"]
    assert list(select_classes(labels, classes=2, min_images=3).counts) == ["zebra"]


@given(LABELS, st.integers(0, 5), st.integers(0, 10))
def test_rule(labels: list[str | None], classes: int, min_images: int) -> None:
    sizes = Counter(label for label in labels if label)
    kept = select_classes(labels, classes=classes, min_images=min_images)
    large = [name for name in sizes if sizes[name] >= min_images]
    assert len(kept.counts) == min(classes, len(large))
    assert all(kept.counts[name] == sizes[name] >= min_images for name in kept.counts)
    left = [sizes[name] for name in large if name not in kept.counts]
    assert not left or not kept.counts or max(left) <= min(kept.counts.values())
    assert [labels[i] in kept.counts for i in range(len(labels))] == [
        i in set(kept.indices.tolist()) for i in range(len(labels))
    ]


@given(LABELS, st.randoms())
def test_order_of_images_does_not_matter(labels: list[str | None], random: object) -> None:
    shuffled = list(labels)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (select_classes(some, classes=2, min_images=2) for some in (labels, shuffled))
    assert list(one.counts.items()) == list(other.counts.items())


def test_nothing_to_keep() -> None:
    for kept in (select_classes([]), select_classes([None, ""]), select_classes(["a"], min_images=2)):
        assert kept.counts == {}
        assert kept.indices.tolist() == []
        assert kept.images_after == 0


def test_reported_in_words_and_as_json() -> None:
    kept = select_classes(["tee"] * 1_200 + ["hat"], classes=100, min_images=75)
    assert str(kept) == (
        "The 100 largest classes with at least 75 images: "
        "2 classes and 1,201 images before, 1 and 1,200 after."
    )
    assert json.loads(json.dumps(kept.to_dict())) == {
        "rule": {"classes": 100, "min_images": 75},
        "before": {"classes": 2, "images": 1_201},
        "after": {"classes": 1, "images": 1_200},
        "classes": {"tee": 1_200},
    }
