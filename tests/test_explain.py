"""Explanations: the cells add up to what a search says, and the drawing can be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from serupa import Catalog, Item
from serupa.cli.commands import app
from serupa.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from serupa.explain import color_map, contributions, draw, explain
from serupa.images import Crop
from serupa.learning.whitening import fit_whitening
from serupa.vectors import METRICS, Metric, distances

TOLERANCE = 1e-4


@pytest.mark.parametrize("tuned", [False, True], ids=["as encoded", "tuned"])
@pytest.mark.parametrize("metric", METRICS)
def test_cells_of_both_photos_add_up_to_what_search_says(
    catalog: Catalog, items: list[Item], metric: Metric, tuned: bool
) -> None:
    photo = items[5].image
    if tuned:
        before = explain(catalog, photo, items[0].id, metric=metric)
        ids, embeddings = catalog.embeddings()
        products = np.array([int(catalog.get(one).product_id[1:]) for one in ids])  # type: ignore[index]
        catalog.use_whitening(fit_whitening(embeddings, [products], dimension=12, ridge=0.1))
        assert explain(catalog, photo, items[0].id, metric=metric).distance != before.distance
    for hit in catalog.search(photo, 6, metric=metric)[1:]:
        found = explain(catalog, photo, hit.item.id, metric=metric)
        whole = found.similarity if found.what == "similarity" else found.distance
        assert found.what == ("similarity" if metric == "cosine" else "distance")
        for heat in (found.query, found.item):
            assert heat.cells.sum(dtype=np.float64) == pytest.approx(whole, abs=TOLERANCE * max(1.0, whole))
        assert found.similarity == pytest.approx(hit.similarity, abs=TOLERANCE)
        assert found.distance == pytest.approx(hit.distance, abs=TOLERANCE * max(1.0, hit.distance))


@pytest.mark.parametrize("metric", METRICS)
def test_formulas_hold_for_any_cells_and_through_an_affine_map(metric: Metric) -> None:
    rng = np.random.default_rng(0)
    cells, other = rng.normal(size=(49, 12)), rng.normal(size=12)
    shift, turn = rng.normal(size=12), rng.normal(size=(12, 7))
    for seen, compared in ((cells, other), ((cells - shift) @ turn, (other - shift) @ turn)):
        distance = distances(seen.mean(axis=0)[None], compared[None], metric)[0, 0]
        measured = 1 - distance if metric == "cosine" else distance
        shares = contributions(seen, compared, metric)
        assert shares.shape == (49,)
        assert shares.sum() == pytest.approx(measured, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_the_same_and_the_empty_have_no_division_by_zero(metric: Metric) -> None:
    cells = np.ones((4, 3))
    assert np.isfinite(contributions(cells, cells.mean(axis=0), metric)).all()
    assert np.isfinite(contributions(np.zeros((4, 3)), np.zeros(3), metric)).all()


def test_what_is_alike_lights_up(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    patch = rng.integers(0, 256, (112, 112, 3), np.uint8)
    patch = np.asarray(Image.fromarray(patch[::8, ::8]).resize((112, 112), Image.Resampling.NEAREST))
    shown = np.full((224, 224, 3), 235, np.uint8)
    shown[:112, :112] = patch
    whole = np.tile(patch, (2, 2, 1))
    Image.fromarray(shown).save(tmp_path / "corner.png")
    Image.fromarray(whole).save(tmp_path / "whole.png")
    with Catalog.create(tmp_path / "catalog", "efficientnet-lite0") as made:
        made.add([Item("whole", str(tmp_path / "whole.png"))])
        cells = explain(made, tmp_path / "corner.png", "whole").query.cells
    middle = cells.shape[0] // 2
    assert cells[:middle, :middle].mean() > 1.5 * cells[-middle:, -middle:].mean()


def test_box_is_what_the_encoder_saw(catalog: Catalog, items: list[Item]) -> None:
    found = explain(catalog, items[0].image, items[1])
    assert found.query.box == pytest.approx((0, 0.1, 1, 0.8))  # 96 x 120, the middle square
    assert found.query.cells.shape == found.item.cells.shape
    part = explain(catalog, items[0].image, items[1], crop=Crop(0.5, 0, 0.5, 0.4))
    assert part.query.box == pytest.approx((0.5, 0, 0.5, 0.4), abs=0.02)  # 48 x 48, whole
    assert part.item.box == found.item.box


@pytest.mark.parametrize(("resize", "box"), [("squash", (0, 0, 1, 1)), ("pad", (-0.125, 0, 1.25, 1))])
def test_box_of_the_other_ways_to_resize(
    tmp_path: Path, items: list[Item], resize: str, box: tuple[float, ...]
) -> None:
    with Catalog.create(tmp_path / "catalog", resize=resize) as made:  # type: ignore[arg-type]
        made.add(items[:2])
        found = explain(made, items[0].image, items[1].id)
    assert found.query.box == pytest.approx(box)


def test_refusals_say_what_to_do(
    catalog: Catalog, items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFoundError, match="no item 'nobody'"):
        explain(catalog, items[0].image, "nobody")
    with pytest.raises(UsageError):
        explain(catalog, items[0].image, items[1].id, metric="angle")
    with pytest.raises(NotFoundError, match="no such file"):
        explain(catalog, tmp_path / "gone.jpg", items[1].id)
    with pytest.raises(ConflictError):
        explain(catalog, items[0].image, Item(items[1].id, items[2].image))

    def without_maps(_: object) -> None:
        raise UsageError("gives no feature maps")

    monkeypatch.setattr(catalog.encoder, "feature_maps", without_maps)
    with pytest.raises(UsageError, match="no feature maps"):
        explain(catalog, items[0].image, items[1].id)


def test_colors_grow_evenly_lighter() -> None:
    colors = color_map().astype(float) / 255
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    assert np.ptp(np.diff(lightness[::16])) < 0.6
    assert lightness[0] < 15 < 85 < lightness[-1]


def test_drawing_shows_both_photos(catalog: Catalog, items: list[Item], tmp_path: Path) -> None:
    found = explain(catalog, items[0].image, items[1], metric="manhattan")
    draw(tmp_path / "why.png", found, items[0].image, items[1], title="A very long title " * 9)
    with Image.open(tmp_path / "why.png") as sheet:
        assert sheet.width > 2 * 90
        assert len(sheet.convert("RGB").getcolors(1 << 24) or ()) > 500
    with pytest.raises(UnavailableError):
        draw(tmp_path / "no" / "why.png", found, items[0].image, items[1])


def test_command_draws_and_prints(items: list[Item], tmp_path: Path) -> None:
    with Catalog.create(tmp_path / "catalog") as made:
        made.add(items[:3])
    call = ["explain", items[0].image, items[1].id, "-c", str(tmp_path / "catalog")]
    done = CliRunner().invoke(app, [*call, "-o", str(tmp_path / "why.png"), "--json", "--crop", "0,0,1,0.5"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "why.png").stat().st_size > 10_000
    told = json.loads(done.stdout)
    assert np.sum(told["query"]["cells"]) == pytest.approx(told["similarity"], abs=TOLERANCE)
    assert len(told["item"]["cells"]) == told["item"]["rows"]
    assert isinstance(CliRunner().invoke(app, call).exception, UsageError)
