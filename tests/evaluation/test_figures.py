"""Figures: each is made from plain data, says what it shows, and nothing in it runs into anything else."""

from __future__ import annotations

import io
import itertools
import sys
import warnings
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from serupa.errors import MissingExtraError
from serupa.evaluation import figures
from serupa.evaluation.figures import Example, Shown
from serupa.evaluation.protocol import Estimate

matplotlib = pytest.importorskip("matplotlib")

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox


def estimates(ks: list[int], level: float = 0.5) -> dict[str, Estimate]:
    return {
        f"{name}@{k}": Estimate(level / k, level / k * 0.8, level / k * 1.2)
        for name in ("precision", "recall")
        for k in ks
    }


def texts(figure: Figure) -> list[str]:
    """Every text that is drawn."""
    root = ET.fromstring(figures.to_svg(figure))  # noqa: S314  # our own
    return ["".join(one.itertext()).strip() for one in root.iter("{http://www.w3.org/2000/svg}text")]


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every text that is drawn, and where."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas = FigureCanvasAgg(figure)
    with matplotlib.style.context(["default", figures._STYLE]):
        canvas.draw()
    unseen = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not axis.get_visible() or not low <= tick.get_loc() <= high:
                    unseen |= {tick.label1, tick.label2}
            if not axis.get_visible():
                unseen |= {axis.label, axis.offsetText}
    return [
        (text.get_text(), text.get_window_extent(canvas.get_renderer()))
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in unseen
    ]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that run into one another."""
    return [
        (a, b)
        for (a, one), (b, other) in itertools.combinations(boxes(figure), 2)
        if min(one.x1, other.x1) - max(one.x0, other.x0) > 1
        and min(one.y1, other.y1) - max(one.y0, other.y0) > 2
    ]


def outside(figure: Figure) -> list[str]:
    """Texts that the edge of the page cuts."""
    found = boxes(figure)
    width, height = figure.bbox.size
    return [
        text for text, box in found if box.x0 < -1 or box.x1 > width + 1 or box.y0 < -1 or box.y1 > height + 1
    ]


@pytest.mark.parametrize("classes", [1, 2, 5, 12, 13, 60, 61, 400, 5_000])
def test_sizes_of_any_number_of_classes(classes: int) -> None:
    sizes = np.random.default_rng(classes).integers(10, 40, classes).tolist()
    figure = figures.images_per_class(sizes, label="category")
    assert any(f"{sum(sizes):,} images" in text for text in texts(figure))
    assert not overlapping(figure)
    assert not outside(figure)


def test_very_unequal_classes_get_a_logarithmic_axis() -> None:
    even = figures.images_per_class([10, 8, 6], label="category")
    uneven = figures.images_per_class([3_000, 200, 10, 1, 1], label="category")
    assert even.axes[0].get_yscale() == "linear"
    assert uneven.axes[0].get_yscale() == "log"
    assert "Images, logarithmic" in texts(uneven)
    assert not overlapping(uneven)


@pytest.mark.parametrize("classes", [1, 6, 400])
def test_largest_classes_are_named_and_counted(classes: int) -> None:
    counts = {f"Sheer_Pleated-Front_Blouse_with_Lace_and_Long_Sleeves_{i}": 1_000 - i for i in range(classes)}
    figure = figures.largest_classes(counts, label="product_id")
    shown = texts(figure)
    assert "1,000" in shown
    assert sum(text.startswith("Sheer") for text in shown) == min(classes, 20)
    assert not overlapping(figure)
    assert not outside(figure)


def test_names_are_no_markup() -> None:
    counts = {"$5 tee_$2": 3, "<b>& co": 2, "\n\ttabs": 1}
    shown = texts(figures.largest_classes(counts, label="category"))
    assert {"$5 tee $2", "<b>& co", "tabs"} <= set(shown)


def test_a_script_without_a_font_is_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.to_png(figures.largest_classes({"東京のシャツ": 3, "𓀀": 1}, label="category"))


@pytest.mark.parametrize("ks", [[1], [10], [1, 5, 10], [1, 2, 3, 5, 10, 20, 50, 100, 1_000]])
@pytest.mark.parametrize("metrics", [["cosine"], ["cosine", "euclidean", "manhattan"]])
def test_curves_at_any_ks(ks: list[int], metrics: list[str]) -> None:
    figure = figures.curves({metric: estimates(ks) for metric in metrics}, ks, queries=100)
    shown = texts(figure)
    assert {"Precision@K", "Recall@K", "K, number of results", *metrics} <= set(shown)
    assert not overlapping(figure)
    assert not outside(figure)
    assert all(axes.get_ylim()[0] == 0 for axes in figure.axes)


def test_curves_where_nothing_is_found() -> None:
    nothing = {f"{name}@1": Estimate(0.0, 0.0, 0.0) for name in ("precision", "recall")}
    assert figures.to_png(figures.curves({"cosine": nothing}, [1], queries=1))


@pytest.mark.parametrize("metrics", [["cosine"], ["cosine", "euclidean", "manhattan"]])
def test_similarities(metrics: list[str]) -> None:
    rng = np.random.default_rng(0)
    same, other = rng.normal(0.7, 0.1, 600), rng.normal(0.4, 0.1, 2_000)
    scale = {"cosine": 1.0, "euclidean": 0.1, "manhattan": 0.004}
    figure = figures.similarities(
        {metric: np.abs(same) * scale[metric] for metric in metrics},
        {metric: np.abs(other) * scale[metric] for metric in metrics},
        label="product_id",
    )
    shown = texts(figure)
    assert {"same product_id", "different product_id"} <= set(shown)
    assert not overlapping(figure)
    assert not outside(figure)


def test_similarities_that_are_all_the_same() -> None:
    for metric in ("cosine", "euclidean"):
        figure = figures.similarities({metric: [1.0]}, {metric: [1.0, 1.0]}, label="category")
        assert f"{metric}: 50.0%" in texts(figure)


def test_ordered_share_is_the_area_under_the_curve() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 9, 40), rng.integers(0, 7, 30)
    by_hand = np.mean([(a > b) + 0.5 * (a == b) for a in first for b in second])
    assert figures.ordered_share(first, second) == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize("classes", [1, 5, 8, 9, 400])
def test_map_colours_the_largest_classes(classes: int) -> None:
    rng = np.random.default_rng(0)
    labels = [f"Tweed_Boyfriend_Blazer_of_a_very_long_name_{i % classes}" for i in range(400)]
    figure = figures.item_map(rng.normal(size=(400, 2)), labels, label="product_id", total=13_779)
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert sum("Tweed" in text for text in legend) == min(classes, 8)
    rest = {9: ["another class"], 400: ["392 other classes"]}
    assert [text for text in legend if "other" in text] == rest.get(classes, [])
    looks = {
        (tuple(one.get_facecolor()[0]), one.get_paths()[0].vertices.shape)
        for one in figure.axes[0].collections
    }
    assert len(looks) == len(legend)
    assert any("400 of 13,779 items" in text for text in texts(figure))
    assert not overlapping(figure)
    assert not outside(figure)


def test_map_of_items_without_a_label() -> None:
    figure = figures.item_map([[0, 0], [1, 1], [2, 0]], ["tee", None, ""], label="category")
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["tee", "without category"]


@pytest.mark.parametrize("items", [1, 2, 3, 5, 40])
def test_map_points_of_any_number(items: int) -> None:
    embeddings = np.random.default_rng(0).normal(size=(items, 16)).astype(np.float32)
    points = figures.map_points(embeddings, seed=3)
    assert points.shape == (items, 2)
    assert np.isfinite(points).all()
    assert np.array_equal(points, figures.map_points(embeddings, seed=3))


def test_map_points_keep_groups_together() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1], 20)
    embeddings = (rng.normal(size=(2, 16))[groups] * 10 + rng.normal(size=(40, 16))).astype(np.float32)
    points = figures.map_points(embeddings)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    same = groups[:, None] == groups[None]
    assert apart[same].mean() < apart[~same].mean() / 2


@pytest.mark.parametrize("embeddings", [np.zeros((6, 4)), np.ones((6, 4)), np.ones((6, 1))])
def test_map_points_of_doubles(embeddings: np.ndarray) -> None:
    assert np.isfinite(figures.map_points(embeddings.astype(np.float32))).all()


def jpeg(color: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 50), color).save(out, "JPEG")
    return out.getvalue()


@pytest.mark.parametrize("hits", [0, 2, 5])
def test_examples_show_scores_and_relevance_in_words(hits: int) -> None:
    long = "A Very Long Name of a Sheer Pleated-Front Blouse With Lace"
    example = Example(
        Shown("Dotted Chiffon Blouse", "blouse", jpeg("red")),
        [Shown(long, "blouse", jpeg("blue"), 0.8519, True), Shown("Gone", "hat", None, 0.0021, False)][:hits]
        + [Shown(long, long, jpeg("green"), 0.5, False)] * (hits - 2),
        "AP 0.500",
    )
    figure = figures.example_queries([example] * 2, title="Queries", metric="cosine", label="category")
    shown = texts(figure)
    assert "AP 0.500" in shown
    if hits:
        assert {"0.8519  ✓ relevant", "0.00210  × not", "no photo"} <= set(shown)
    assert not overlapping(figure)
    assert not outside(figure)


def test_shorten_keeps_both_ends_and_one_line() -> None:
    assert figures.shorten("Sheer_Blouse", 20) == "Sheer Blouse"
    assert figures.shorten("a\nb\tc", 20) == "a b c"
    cut = figures.shorten("Sheer_Pleated-Front_Blouse", 12)
    assert len(cut) <= 12
    assert cut.startswith("Sheer")
    assert cut.endswith("ouse")
    assert len(figures.shorten("東" * 30, 10)) <= 5


def test_same_data_same_files() -> None:
    made = [figures.largest_classes({"tee": 3, "hat": 2}, label="category") for _ in range(2)]
    assert figures.to_svg(made[0]) == figures.to_svg(made[1])
    assert figures.to_png(made[0]) == figures.to_png(made[1])


def test_the_callers_style_and_pyplot_are_left_alone() -> None:
    before = dict(matplotlib.rcParams)
    figures.to_png(figures.images_per_class([3, 2], label="category"))
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"serupa\[report\]"):
        figures.images_per_class([1], label="category")


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(MissingExtraError, match=r"serupa\[report\]"):
        figures.map_points(np.ones((3, 2), np.float32))
