"""A wardrobe: photos in, corrections, owned already, twice, and what was learned written down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serupa import Catalog, Item
from serupa.errors import DamagedError, InvalidInputError, NotFoundError, SerupaError, UsageError
from serupa.styling.advisor import Advisor
from serupa.styling.ownership import Check, Ownership, learn_ownership
from serupa.styling.wardrobe import Wardrobe
from tests.conftest import draw_photo


def products(count: int, each: int = 4, noise: float = 0.7) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=(count, 24)), each, axis=0)
    rows = centres + noise * rng.normal(size=centres.shape)
    return rows.astype(np.float32), [n for n in range(count) for _ in range(each)]


@pytest.fixture
def shop(tmp_path: Path, items: list[Item]) -> Iterator[Catalog]:
    with Catalog.create(tmp_path / "shop") as made:
        made.add(items)
        yield made


@pytest.fixture
def wardrobe(tmp_path: Path, shop: Catalog) -> Iterator[Wardrobe]:
    with Wardrobe.create(tmp_path / "mine", shop) as made:
        yield made


def test_photos_in(wardrobe: Wardrobe, tmp_path: Path) -> None:
    photo = draw_photo(tmp_path / "my shirt.png", 100)
    piece = wardrobe.add(photo)
    assert piece.name == "my shirt"
    assert piece.color == piece.colors[0].name
    assert wardrobe.add(photo) == piece
    photo.unlink()
    assert wardrobe.pieces() == [piece]
    assert Path(piece.image).is_file()
    with pytest.raises(SerupaError) as refused:
        wardrobe.add(tmp_path / "nothing.png")
    assert "nothing.png" in str(refused.value)
    with pytest.raises(InvalidInputError):
        wardrobe.add(b"no photo")
    wardrobe.remove([piece.id])
    assert wardrobe.pieces() == []
    assert not Path(piece.image).exists()


def test_corrections_win_and_stay(wardrobe: Wardrobe, tmp_path: Path, shop: Catalog) -> None:
    piece = wardrobe.add(draw_photo(tmp_path / "a.png", 101))
    said = wardrobe.correct(piece.id, {"category": "Dresses", "color": "navy", "name": "The blue one"})
    assert (said.category, said.color, said.name, said.slot) == (
        "Dresses",
        "navy",
        "The blue one",
        "one-piece",
    )
    assert said.confidence is None
    assert wardrobe.piece(piece.id) == said
    for wrong in ({"price": "3"}, {"color": "mauve"}, {"name": ""}):
        with pytest.raises(UsageError):
            wardrobe.correct(piece.id, wrong)
    with pytest.raises(NotFoundError):
        wardrobe.correct("nothing", {"name": "x"})
    with pytest.raises(NotFoundError):
        wardrobe.remove([piece.id, "nothing"])
    assert wardrobe.pieces() == [said]


def test_opened_again_without_the_shop(tmp_path: Path, shop: Catalog) -> None:
    with Wardrobe.create(tmp_path / "mine", shop) as made:
        piece = made.add(draw_photo(tmp_path / "a.png", 102))
    with Wardrobe.open(tmp_path / "mine") as again:
        assert again.pieces() == [piece]
        answer, garment = again.own(tmp_path / "a.png")
        assert garment.colors[0].name == piece.color
        assert answer.matches[0].piece == piece
        assert answer.matches[0].similarity > 0.97
    with pytest.raises(NotFoundError):
        Wardrobe.open(tmp_path / "nowhere")


def test_nearly_the_same_twice(wardrobe: Wardrobe, tmp_path: Path) -> None:
    from PIL import Image

    first = draw_photo(tmp_path / "a.png", 103)
    brighter = Image.open(first).point([min(255, round(1.02 * value)) for value in range(256)] * 3)
    brighter.save(tmp_path / "b.png")
    ids = {wardrobe.add(path).id for path in (first, tmp_path / "b.png", draw_photo(tmp_path / "c.png", 3))}
    assert len(ids) == 3
    ((one, other, similarity),) = wardrobe.twice()
    assert {one.name, other.name} == {"a", "b"}
    assert similarity >= 0.97


def test_an_empty_wardrobe_owns_nothing(wardrobe: Wardrobe, tmp_path: Path) -> None:
    answer, garment = wardrobe.own(draw_photo(tmp_path / "a.png", 5))
    assert answer.matches == ()
    assert answer.verdict == "new"
    assert garment.colors


def taught(rows: np.ndarray, codes: list[int]) -> Ownership:
    model = learn_ownership(rows, codes)
    assert model is not None
    return model


def test_what_a_similarity_is_worth() -> None:
    rows, codes = products(40, noise=0.5)
    model = taught(rows, codes)
    assert model.check is not None
    assert model.check.precision is not None
    assert model.check.precision >= 0.85
    assert 0 < model.check.recall <= 1
    same = model.calibration(float(model.scores(rows[:1], rows[1:2])[0, 0]))
    other = model.calibration(float(model.scores(rows[:1], rows[8:9])[0, 0]))
    assert same > other
    assert model.verdict(0.95) == "owned"
    assert model.verdict(0.6) == "similar"
    assert model.verdict(0.1) == "new"


def test_a_threshold_that_failed_its_check_is_not_used() -> None:
    rows, codes = products(40, noise=0.5)
    model = taught(rows, codes)
    failed = replace(model, check=Check(0.7, 0.9, 100, 80))
    assert (model.verdict(0.95), failed.verdict(0.95), failed.verdict(0.1)) == ("owned", "similar", "new")
    rare = replace(model, check=Check(0.95, 0.1, 100, 900))
    assert (model.worth_asking, failed.worth_asking, rare.worth_asking) == (True, False, False)


def test_photos_that_tell_nothing_are_not_called_owned() -> None:
    rows, codes = products(40)
    shuffled = np.random.default_rng(1).permutation(codes)
    model = taught(rows, list(shuffled))
    assert model.check is not None
    assert model.check.said <= 0.02 * 40 * 4 * 12


def test_too_few_products_teach_nothing() -> None:
    rows, codes = products(5)
    assert learn_ownership(rows, codes) is None


def test_what_a_catalogue_taught_is_kept_and_learned_anew_when_much_has_changed(
    tmp_path: Path, shop: Catalog, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, calls, learn = shop.path / "advice.npz", [], Advisor.learn  # type: ignore[operator]

    def counted(catalog: Catalog) -> Advisor:
        calls.append(len(catalog))
        return learn(catalog)

    monkeypatch.setattr(Advisor, "learn", counted)
    first = Advisor.kept(shop, file)
    assert first.eye.category is not None
    assert Advisor.kept(shop, file).items.tolist() == first.items.tolist()
    shop.remove([items[0].id])  # one of 24
    Advisor.kept(shop, file)
    assert calls == [24]
    shop.remove([items[1].id])
    shop.add([replace(items[0], attributes=items[0].attributes | {"category": "coats"})])
    assert len(Advisor.kept(shop, file).items) == 23  # as many as were left before, and not the same
    assert calls == [24, 23]
    file.write_bytes(b"PK damaged")
    Advisor.kept(shop, file)
    assert calls == [24, 23, 23]


def test_learned_and_written_down(tmp_path: Path, shop: Catalog) -> None:
    learned = Advisor.learn(shop)
    learned.save(tmp_path / "advisor.npz")
    again = Advisor.load(tmp_path / "advisor.npz")
    ids, rows = shop.embeddings()
    assert again.eye.category is not None
    assert learned.eye.category is not None
    for row in rows[:6]:
        one, other = learned.eye.category.guess(row), again.eye.category.guess(row)
        assert one.confidence == pytest.approx(other.confidence, abs=0.02)
    assert isinstance(again.ownership, Ownership)
    assert learned.ownership is not None
    np.testing.assert_allclose(
        again.ownership.scores(rows[:2], rows), learned.ownership.scores(rows[:2], rows), atol=5e-3
    )
    assert again.ownership.check == learned.ownership.check
    (tmp_path / "advisor.npz").write_bytes(b"PK damaged")
    with pytest.raises(DamagedError) as damaged:
        Advisor.load(tmp_path / "advisor.npz")
    assert "serupa wardrobe learn" in damaged.value.hint


def test_nothing_in_it_is_unpickled(tmp_path: Path) -> None:
    file = tmp_path / "advisor.npz"
    np.savez(file, notes=np.array([{"format": 1}], dtype=object))
    with pytest.raises(DamagedError):
        Advisor.load(file)
