"""What goes with what: learned where there is something to learn, colours, owned first, reasons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serupa import Catalog, Item
from serupa.errors import InvalidInputError, NotFoundError
from serupa.garments.colors import Color
from serupa.garments.products import Garments, read_pairs
from serupa.garments.slots import Slot
from serupa.styling.compatibility import (
    Compatibility,
    area_under_roc,
    learn_compatibility,
)
from serupa.styling.outfits import Stylist, outfits_around
from serupa.styling.pieces import Piece
from serupa.styling.shopfront import Shopfront

BLACK = Color("black", 1.0, "#101010", 0.17, 0.0, 0.0)
RED = Color("red", 1.0, "#c81428", 0.52, 0.2, 22.0)
GREEN = Color("green", 1.0, "#148c3c", 0.55, 0.15, 150.0)


def garments(each: int = 60, *, rule: bool) -> tuple[Garments, list[tuple[int, int]]]:
    """Tops and bottoms; with a rule, a hidden trait of the two must agree, else pairs are drawn at random."""
    rng = np.random.default_rng(0)
    traits = rng.normal(size=(2 * each, 3))
    mixing = rng.normal(size=(2, 3, 32))  # the trait looks different on a top and on a bottom
    rows = np.concatenate([traits[:each] @ mixing[0], traits[each:] @ mixing[1]])
    rows += 0.5 * rng.normal(size=rows.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    agreement = traits[:each] @ traits[each:].T
    chosen = agreement > np.quantile(agreement, 0.9) if rule else rng.random(agreement.shape) < 0.1
    pairs = [(int(a), int(b) + each) for a, b in np.argwhere(chosen)]
    slots: list[Slot] = ["top"] * each + ["bottom"] * each
    categories = ["Tees"] * each + ["Pants"] * each
    palettes = [(BLACK,)] * (2 * each)
    described = Garments(rows.astype(np.float32), np.zeros((2 * each, 3)), categories, slots, palettes)
    return described, pairs


def test_a_rule_is_learned() -> None:
    known, pairs = garments(rule=True)
    learned = learn_compatibility(known, pairs)
    assert learned is not None
    assert learned.used
    assert learned.evidence.learned.mean > 0.7
    assert learned.evidence.color.mean == pytest.approx(0.5)  # all are black
    assert learned.evidence.learned.low > learned.evidence.visual.high - 0.2
    scores = {
        pair: scored(learned, known, *pair) for pair in ((a, b) for a in range(20) for b in range(60, 80))
    }
    together = [score for pair, score in scores.items() if pair in pairs]
    apart = [score for pair, score in scores.items() if pair not in pairs]
    assert np.mean(together) > 0.6 > np.mean(apart)


def scored(learned: Compatibility, known: Garments, one: int, other: int) -> float:
    a = learned.features(known.embeddings[one], known.colors[one], known.slots[one])
    b = learned.features(known.embeddings[other], known.colors[other], known.slots[other])
    assert a is not None
    assert b is not None
    score = learned.score(a, b, (known.slots[one], known.slots[other]))
    assert score == learned.score(b, a, (known.slots[other], known.slots[one]))
    assert score is not None
    return score


def test_pairs_at_random_are_not_used() -> None:
    learned = learn_compatibility(*garments(rule=False))
    assert learned is not None
    assert learned.evidence.learned.low < 0.5 < learned.evidence.learned.high
    assert not learned.used


def test_few_pairs_teach_nothing() -> None:
    known, pairs = garments(rule=True)
    assert learn_compatibility(known, pairs[:5]) is None


def test_written_down_and_read_again() -> None:
    known, pairs = garments(rule=True)
    learned = learn_compatibility(known, pairs)
    assert learned is not None
    again = Compatibility.from_arrays(*learned.to_arrays())
    assert again.evidence == learned.evidence
    assert scored(again, known, 0, 60) == pytest.approx(scored(learned, known, 0, 60))


def test_area_under_roc() -> None:
    assert area_under_roc(np.array([2.0, 3.0]), np.array([1.0, 0.0])) == 1
    assert area_under_roc(np.array([1.0, 1.0]), np.array([1.0])) == 0.5
    assert area_under_roc(np.array([0.0, 3.0]), np.array([1.0, 2.0])) == 0.5


def piece(name: str, slot: str, color: Color, *, owned: bool = True, pattern: str | None = None) -> Piece:
    category = {"one-piece": "dress"}.get(slot, slot)
    return Piece(name, name, f"{name}.jpg", category, pattern, (color,), np.ones(4, np.float32), owned)


def names(outfits: list) -> list[list[str]]:  # type: ignore[type-arg]
    return [[part.id for part in outfit.pieces] for outfit in outfits]


def test_a_whole_outfit_from_the_top_down() -> None:
    tee = piece("tee", "top", RED)
    others = [
        piece("boots", "shoes", BLACK), piece("jeans", "bottom", BLACK), piece("coat", "outerwear", BLACK),
        piece("gown", "one-piece", BLACK), piece("other tee", "top", BLACK),
    ]  # fmt: skip
    (first, *_) = Stylist().propose(tee, others)
    assert [part.id for part in first.pieces] == ["coat", "tee", "jeans", "boots"]
    assert {reason.code for reason in first.reasons} == {"neutral", "same"}
    assert first.reasons[0].pieces == ("coat", "tee")
    assert "black goes with red" in first.reasons[0].text


def test_owned_comes_first_and_one_thing_is_bought() -> None:
    tee = piece("tee", "top", RED)
    owned_well = piece("owned", "bottom", BLACK)
    places: list[Slot] = ["bottom", "shoes", "outerwear"]
    sold = [piece(f"sold {slot}", slot, BLACK, owned=False) for slot in places]
    (outfit, *_) = Stylist().propose(tee, [owned_well, *sold], 1)
    assert "owned" in {part.id for part in outfit.pieces}
    assert sum(not part.owned for part in outfit.pieces) == 1
    clashing = piece("clashing", "bottom", GREEN)
    (outfit, *_) = Stylist().propose(tee, [clashing, *sold], 1)
    assert "sold bottom" in {part.id for part in outfit.pieces}
    (outfit, *_) = Stylist().propose(tee, [clashing], 1)
    assert [part.id for part in outfit.pieces] == ["tee", "clashing"]


def test_outfits_differ() -> None:
    tee = piece("tee", "top", RED)
    bottoms = [piece(f"bottom {n}", "bottom", BLACK) for n in range(3)]
    found = Stylist().propose(tee, bottoms, 5)
    assert sorted(names(found)) == [["tee", f"bottom {n}"] for n in range(3)]
    assert Stylist().propose(tee, [piece("other", "top", BLACK)]) == []


def test_two_patterns_are_one_too_many() -> None:
    striped = piece("striped", "top", RED, pattern="Striped")
    dotted = piece("dotted", "bottom", BLACK, pattern="Dots")
    plain = piece("plain", "bottom", BLACK, pattern="Solid")
    stylist = Stylist()
    assert stylist.pair(striped, dotted)[0] < stylist.pair(striped, plain)[0]
    assert "patterns" in [reason.code for reason in stylist.pair(striped, dotted)[1]]


def test_pieces_that_nothing_goes_with() -> None:
    red, green, black = (
        piece("red", "top", RED),
        piece("green", "bottom", GREEN),
        piece("black", "shoes", BLACK),
    )
    assert [one.id for one in Stylist().orphans([red, green])] == ["red", "green"]
    assert Stylist().orphans([red, green, black]) == []


def test_tables_of_pairs(tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("product_id,linked_product_id\nA,B\n")
    assert read_pairs(table) == [("A", "B")]
    table.write_text("one,two\n")
    with pytest.raises(InvalidInputError) as refused:
        read_pairs(table)
    assert refused.value.subject == table
    with pytest.raises(InvalidInputError):
        read_pairs(tmp_path / "nothing.csv")


def test_a_piece_that_cannot_be_part_of_an_outfit() -> None:
    owned = [piece("tee", "top", RED), piece("voucher", "gift card", RED), piece("jeans", "bottom", BLACK)]
    own, proposed = outfits_around("tee", owned, None)
    assert own == owned[0]
    assert names(proposed) == [["tee", "jeans"]]
    with pytest.raises(InvalidInputError):
        outfits_around("voucher", owned, None)
    with pytest.raises(NotFoundError):
        outfits_around("nothing", owned, None)


def test_a_shop_is_looked_at_ahead(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def palette(item: Item) -> tuple[Color, ...]:
        seen.append(item.id)
        return (BLACK,)

    monkeypatch.setattr("serupa.styling.shopfront.palette_of", palette)
    shop = Shopfront(catalog)
    shop.look_ahead(lambda: len(seen) < 2)
    assert len(seen) == 2
    shop.look_ahead(lambda: True)
    before = len(seen)
    assert len(shop.pieces()) == before  # no photo is looked at twice
    assert len(seen) == before
