"""Figures of an evaluation: each function takes plain data and returns a Matplotlib figure.

One style for all: ink on paper and one accent, the title above, what it takes to read the figure below. Where
classes need colours of their own, they are those of Okabe and Ito [1]_, which people with any colour vision
can tell apart, and markers differ as well. Nothing here goes through pyplot, so no window system and no state
of the caller's is touched.

References
----------
.. [1] M. Okabe, K. Ito, "Color universal design: how to make figures and presentations that are friendly to
   colorblind people", 2008.
.. [2] L. van der Maaten, G. Hinton, "Visualizing data using t-SNE", JMLR 9, 2008.
.. [3] J. A. Hanley, B. J. McNeil, "The meaning and use of the area under a ROC curve", Radiology 143, 1982.
"""

from __future__ import annotations

import functools
import io
import itertools
import textwrap
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps

from serupa.errors import MissingExtraError
from serupa.evaluation.protocol import Estimate
from serupa.vectors import Metric, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

P = ParamSpec("P")
R = TypeVar("R")

INK, SOFT, LINE, TINT, PAPER, ACCENT = "#191816", "#5f5b55", "#d9d6d1", "#efedea", "#ffffff", "#bf3417"
OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", INK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MAP_ITEMS = 1_000
"""How many items a map shows, as in the paper."""

_WIDTH = 7.2  # inches: the text width of a journal page
_HEADING, _TEXT, _SMALL = 11.0, 8.5, 7.0
_DPI = 200
_LETTERS = 108  # of a line of text, over the whole width
_FONTS = ("Helvetica Neue", "Helvetica", "Arial", "Liberation Sans")
_OTHER_SCRIPTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans Thai", "Noto Sans Arabic")
_LINES = (
    {"color": ACCENT, "marker": "o", "linestyle": "-"},
    {"color": INK, "marker": "s", "linestyle": (0, (5, 2))},
    {"color": SOFT, "marker": "^", "linestyle": (0, (1.5, 1.5))},
)
_UNBALANCED = 50  # times larger than the smallest class: too much for a linear axis
_ROUND = (1, 2, 2.5, 5, 10)
_SINGLE_BARS = 60  # more classes than this are drawn as one outline
_STYLE = {
    "font.size": _TEXT,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called "$5 tee"
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.labelsize": _TEXT,
    "axes.titlesize": _TEXT,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "figure.titlesize": _HEADING,
    "figure.titleweight": "bold",
    "figure.labelsize": _TEXT,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.constrained_layout.h_pad": 0.06,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.labelsize": _TEXT - 0.5,
    "ytick.labelsize": _TEXT - 0.5,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": _TEXT - 0.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 5,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud, and is small
    "svg.hashsalt": "serupa",  # the same figure is the same file
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A photo in a row of results.

    Parameters
    ----------
    name, label : str
        What stands under it: the item's name, and its class (empty where the name says it).
    photo : bytes, optional
        A small image file; an empty frame without.
    similarity : float, optional
        None for the query.
    relevant : bool, optional
        None for the query.
    """

    name: str
    label: str = ""
    photo: bytes | None = None
    similarity: float | None = None
    relevant: bool | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A query and its first results; `note` is what is said of them, such as the average precision."""

    query: Shown
    hits: Sequence[Shown]
    note: str = ""


def _styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run with the style of the house, and say what to install where Matplotlib is missing."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            from matplotlib import style
        except ImportError as error:
            raise MissingExtraError("the report", "report") from error
        with style.context(["default", _STYLE | {"font.family": _fonts()}]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a script that no font here has
            return draw(*args, **kwargs)

    return styled


@functools.cache
def _fonts() -> list[str]:
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    first = [name for name in _FONTS if name in installed][:1]
    return [*first, "DejaVu Sans", *(name for name in _OTHER_SCRIPTS if name in installed), "sans-serif"]


@_styled
def to_png(figure: Figure) -> bytes:
    """Return a figure as a PNG, 200 dots an inch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    out = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(out, format="png", metadata={"Software": "Serupa"}, dpi=_DPI)
    return out.getvalue()


@_styled
def to_svg(figure: Figure) -> str:
    """Return a figure as an SVG document; its texts are texts."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    FigureCanvasSVG(figure)
    undated: dict[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(out, format="svg", metadata=undated, dpi=_DPI)
    return out.getvalue()


@_styled
def images_per_class(counts: Sequence[int], *, label: str) -> Figure:
    """Draw how many images each class has, from the largest to the smallest.

    Parameters
    ----------
    counts : sequence of int
        Images of each class, in any order; at least one, each at least 1.
    label : str
        What the classes are: ``"category"``.

    Returns
    -------
    Figure
        A bar a class, or one outline where there are many; logarithmic where classes are very unequal.
    """
    sizes = np.sort(np.asarray(counts, np.int64))[::-1]
    figure = _figure(
        2.9,
        "Images per class",
        f"{_classes(len(sizes), label)}, {sizes.sum():,} images. Largest {sizes[0]:,}, "
        f"median {_plain(float(np.median(sizes)))}, smallest {sizes[-1]:,}.",
    )
    axes = figure.add_subplot()
    ranks = np.arange(1, len(sizes) + 1)
    logarithmic = sizes[0] > _UNBALANCED * sizes[-1]
    floor = 0.8 if logarithmic else 0
    if len(sizes) <= _SINGLE_BARS:
        axes.bar(ranks, sizes - floor, bottom=floor, width=0.72, color=INK)
    else:
        edges = np.arange(len(sizes) + 1) + 0.5
        axes.stairs(sizes, edges, baseline=floor, fill=True, color=TINT)
        axes.stairs(sizes, edges, baseline=floor, color=INK, linewidth=1.2)
    if logarithmic:
        axes.set_yscale("log")
    axes.set_ylim(floor, sizes[0] * (1.3 if logarithmic else 1.06))
    axes.set_xlim(0.4, len(sizes) + 0.6)
    axes.set_xlabel("Class, by size (1 = largest)")
    axes.set_ylabel("Images, logarithmic" if logarithmic else "Images")
    _count_axis(axes.yaxis, logarithmic=logarithmic)
    _rank_axis(axes.xaxis, len(sizes))
    return figure


@_styled
def largest_classes(counts: Mapping[str, int], *, label: str, most: int = 20) -> Figure:
    """Draw the largest classes by name.

    Parameters
    ----------
    counts : mapping of str to int
        Images of each class; at least one class.
    label : str
        What the classes are.
    most : int
        How many to show.
    """
    order = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:most]
    total, shown = sum(counts.values()), sum(count for _, count in order)
    title, part = f"Images of each {label}", ""
    if len(order) < len(counts):
        title = f"The {len(order)} largest of {_classes(len(counts), label)}"
        part = f", which hold {shown / total:.0%} of all {total:,} images"
    figure = _figure(0.75 + 0.2 * len(order), title, f"Images per class{part}.")
    axes = figure.add_subplot()
    bars = axes.barh(
        [shorten(name, 40) for name, _ in order], [count for _, count in order], height=0.66, color=INK
    )
    axes.bar_label(bars, fmt="{:,.0f}", padding=4, color=SOFT, fontsize=_TEXT - 0.5)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(0, order[0][1] * 1.1)
    axes.grid(visible=False)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return figure


@_styled
def curves(estimates: Mapping[Metric, Mapping[str, Estimate]], ks: Sequence[int], *, queries: int) -> Figure:
    """Draw precision and recall at each K, one line a metric, with 95 % intervals.

    Parameters
    ----------
    estimates : mapping of metric to mapping of measure to Estimate
        ``{"cosine": {"precision@1": Estimate(...), "recall@1": ...}}``.
    ks : sequence of int
        The Ks, ascending.
    queries : int
        How many queries the means are over.
    """
    from matplotlib.transforms import ScaledTranslation

    figure = _figure(
        3.3,
        "Precision and recall of the first K results",
        f"Mean over {queries:,} queries; bars are 95 % bootstrap intervals. Each axis has its own scale.",
    )
    panels = figure.subplots(1, 2)
    for axes, measure in zip(panels, ("precision", "recall"), strict=True):
        top = 0.0
        for number, (metric, own) in enumerate(estimates.items()):
            at = [own[f"{measure}@{k}"] for k in ks]
            means = np.array([one.mean for one in at])
            low, high = (np.array([getattr(one, side) for one in at]) for side in ("low", "high"))
            # side by side, so that no interval hides another, whatever the axis
            aside = 5.0 * (number - (len(estimates) - 1) / 2) / 72
            axes.errorbar(
                ks,
                means,
                yerr=[np.maximum(means - low, 0), np.maximum(high - means, 0)],
                label=metric,
                transform=axes.transData + ScaledTranslation(aside, 0, figure.dpi_scale_trans),
                elinewidth=0.9,
                capsize=2,
                **_LINES[number % len(_LINES)],
            )
            top = max(top, float(high.max()))
        axes.set_ylim(0, min(1.02, top * 1.1) if top > 0 else 1.0)
        axes.set_title(f"{measure.capitalize()}@K", color=INK)
        axes.set_xlabel("K, number of results")
        _k_axis(axes, ks)
    panels[0].set_ylabel("Share, 0 to 1")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", handlelength=2.8)
    return figure


@_styled
def similarities(
    relevant: Mapping[Metric, ArrayLike], irrelevant: Mapping[Metric, ArrayLike], *, label: str
) -> Figure:
    """Draw how alike relevant and irrelevant pairs are, a panel a metric.

    Parameters
    ----------
    relevant, irrelevant : mapping of metric to (p,) array of float
        Similarities of sampled pairs of the same class, and of different classes; not empty.
    label : str
        What makes a pair relevant.

    Notes
    -----
    The number over each panel is the probability that a relevant pair is more alike than an irrelevant one
    [3]_, ties counting half: 1 where the two are apart, 0.5 where similarity says nothing.
    """
    first = next(iter(relevant))
    figure = _figure(
        3.2,
        "Similarity of pairs (1 = the same)",
        f"{np.size(relevant[first]):,} pairs of the same {label}, {np.size(irrelevant[first]):,} of "
        "different ones. Percentage: how often a pair of the same is more alike than one of different ones.",
    )
    panels = np.atleast_1d(figure.subplots(1, len(relevant)))
    for axes, metric in zip(panels, relevant, strict=True):
        same = np.asarray(relevant[metric], np.float64)
        other = np.asarray(irrelevant[metric], np.float64)
        # 1 / (1 + distance) crowds near 0, where all but the doubles are; a cosine does not
        logarithmic = metric != "cosine" and min(same.min(), other.min()) > 0
        bins = _bins(same, other, logarithmic=logarithmic)
        for values, name, color, line in (
            (same, f"same {label}", ACCENT, "-"),
            (other, f"different {label}", SOFT, (0, (4, 1.5))),
        ):
            shares = np.histogram(values, bins)[0] / len(values) * 100
            area: dict[str, Any] = {"facecolor": color, "alpha": 0.22}
            if values is other:
                area = {"facecolor": "none", "edgecolor": LINE, "hatch": "/////"}
            axes.stairs(shares, bins, fill=True, linewidth=0, **area)
            axes.stairs(shares, bins, color=color, linestyle=line, linewidth=1.3, label=name)
        axes.set_title(f"{metric}: {ordered_share(same, other):.1%}", color=INK)
        axes.set_xlabel("Similarity, logarithmic" if logarithmic else "Similarity")
        axes.set_ylim(0)
        axes.set_xlim(bins[0], bins[-1])
        _similarity_axis(axes, logarithmic=logarithmic)
        axes.locator_params(axis="y", nbins=5)
    panels[0].set_ylabel("Share of pairs in a bar, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", handlelength=2.8)
    return figure


@_styled
def item_map(
    points: ArrayLike, labels: Sequence[Hashable], *, label: str, total: int | None = None
) -> Figure:
    """Draw items as a map, coloured by the largest classes.

    Parameters
    ----------
    points : (n, 2) array of float
        From `map_points`; at least one.
    labels : sequence of n values
        The class of each; None or an empty text where it has none.
    label : str
        What the classes are.
    total : int, optional
        How many items there are, where only some are shown.
    """
    where = np.asarray(points, np.float64)
    names = ["" if value is None else str(value) for value in labels]
    counted = Counter(name for name in names if name)
    order = sorted(counted, key=lambda name: (-counted[name], name))
    coloured = order[: len(OKABE_ITO)]
    sample = "" if total in (None, len(names)) else f"{len(names):,} of {total:,} items, drawn at random. "
    figure = _figure(
        4.7,
        "Map of the items (t-SNE)",
        f"{sample}Near on the map = near in the space that is searched; long distances, directions and "
        "sizes of groups mean nothing, so the axes have no units.",
    )
    axes = figure.add_subplot()
    rest = np.array([name not in coloured for name in names], bool)
    size = 26 if len(names) <= 400 else 15
    if rest.any():
        others = len(counted) - len(coloured)
        parts = [f"{others:,} other classes" if others > 1 else "another class"] if others else []
        parts += [f"without {label}"] if "" in names else []
        text = " and ".join(parts)
        axes.scatter(where[rest, 0], where[rest, 1], s=size * 0.45, color="#b9b5ae", linewidths=0, label=text)
    for name, color, marker in zip(coloured, OKABE_ITO, MARKERS, strict=False):
        mine = np.array([one == name for one in names], bool)
        axes.scatter(
            where[mine, 0],
            where[mine, 1],
            s=size * (1.5 if marker == "*" else 1),
            color=color,
            marker=marker,
            edgecolors=INK,
            linewidths=0.35,
            label=shorten(name, 26),
        )
    handles, texts = axes.get_legend_handles_labels()
    if rest.any():
        handles, texts = handles[1:] + handles[:1], texts[1:] + texts[:1]
    legend = axes.legend(
        handles,
        texts,
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        title=label,
        alignment="left",
        handletextpad=0.3,
        labelspacing=0.7,
        borderaxespad=0,
    )
    legend.get_title().set(color=SOFT, fontsize=_TEXT - 0.5)
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_visible(True)
    axes.margins(0.04)
    return figure


def map_points(embeddings: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.float64]:
    """Lay items out on a plane by t-SNE [2]_, so that those that are alike come near one another.

    Parameters
    ----------
    embeddings : (n, d) array of float
        Not normalised; their directions are compared, as cosine does.
    seed : int
        The same seed gives the same map.

    Returns
    -------
    (n, 2) array of float64

    Raises
    ------
    MissingExtraError
        If scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise MissingExtraError("the report", "report") from error
    directions = unit(embeddings)
    start = _plane(directions, seed)
    if len(directions) < 5:
        return start
    perplexity = min(30.0, (len(directions) - 1) / 3)
    model = TSNE(2, perplexity=perplexity, init=(start * 1e-4).astype(np.float32), random_state=seed)
    # Its threads wait for one another; on a busy machine that took ten times as long.
    with threadpool_limits(1, "openmp"):
        return np.asarray(model.fit_transform(directions), np.float64)


@_styled
def example_queries(
    examples: Sequence[Example], *, title: str, metric: str, label: str, detail: str = ""
) -> Figure:
    """Draw queries with their first results: photos, names, scores, and which are relevant.

    Parameters
    ----------
    examples : sequence of Example
        A row each, with at most five results.
    title : str
        What these queries are.
    metric : str
        What the scores are of.
    label : str
        What makes a result relevant.
    detail : str
        One more sentence.
    """
    caption = f"Score: {metric} similarity. Framed and ticked: the same {label} as the query. {detail}"
    figure = _figure(0.7 + 2.05 * len(examples), title, caption)
    panels = figure.subplots(len(examples), 6, squeeze=False)
    for row, example in zip(panels, examples, strict=True):
        for axes, shown in itertools.zip_longest(row, (example.query, *example.hits)):
            if shown is None:
                axes.set_visible(False)
            elif shown is example.query:
                _photo(axes, shown, example.note, INK, 1.2)
            else:
                text = f"{score(shown.similarity or 0.0)}  {'✓ relevant' if shown.relevant else '× not'}"
                _photo(axes, shown, text, *((ACCENT, 2.4) if shown.relevant else (LINE, 0.8)))
    return figure


def ordered_share(larger: ArrayLike, smaller: ArrayLike) -> float:
    """Return how often a value of the first array is above one of the second; equal ones count half [3]_.

    Parameters
    ----------
    larger, smaller : (n,) and (m,) arrays of float
        Not empty.

    Examples
    --------
    >>> ordered_share([0.9, 0.5], [0.1, 0.5])
    0.875
    """
    from sklearn.metrics import roc_auc_score

    values = np.concatenate([larger, smaller])
    return float(roc_auc_score(np.arange(len(values)) < np.size(larger), values))


def shorten(text: str, most: int) -> str:
    """Return a text on one line of at most `most` narrow letters; its middle gives way, not its ends.

    Examples
    --------
    >>> shorten("Sheer Pleated-Front Blouse", 20)
    'Sheer Plea…nt Blouse'
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split()).replace("_", " ")
    if _width(line) <= most:
        return line
    head, tail = most // 2, (most - 1) // 2
    return f"{_beginning(line, head).rstrip()}…{_beginning(line[::-1], tail)[::-1].lstrip()}"


def _beginning(text: str, room: int) -> str:
    return text[: sum(width <= room for width in itertools.accumulate(map(_width, text)))]


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _figure(height: float, title: str, caption: str) -> Figure:
    """Return an empty figure of `height` inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height))
    figure.suptitle(title, x=0.01, ha="left")
    figure.supxlabel(textwrap.fill(caption, _LETTERS), x=0.01, ha="left", color=SOFT)
    return figure


def _numbers(axis: Axis, locator: Locator, text: str = "{x:,.0f}") -> None:
    from matplotlib.ticker import NullLocator

    axis.set_major_locator(locator)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(text)


def _k_axis(axes: Axes, ks: Sequence[int]) -> None:
    from matplotlib.ticker import FixedLocator

    logarithmic = ks[-1] > 20 * ks[0]
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(ks[0] / 1.4, ks[-1] * 1.4)
    else:
        pad = max((ks[-1] - ks[0]) * 0.08, 0.5)
        axes.set_xlim(ks[0] - pad, ks[-1] + pad)
    _numbers(axes.xaxis, FixedLocator(_apart(ks, logarithmic=logarithmic)))


def _apart(ks: Sequence[int], *, logarithmic: bool) -> list[int]:
    """Leave out the Ks whose numbers would run into one another; the first and the last stay."""
    places = [float(np.log(k)) if logarithmic else float(k) for k in ks]
    least = 0.07 * (places[-1] - places[0])
    apart, before = [ks[0]], places[0]
    for k, place in zip(ks[1:-1], places[1:-1], strict=True):
        if place - before >= least and places[-1] - place >= least:
            apart.append(k)
            before = place
    return [*apart, ks[-1]] if len(ks) > 1 else apart


def _count_axis(axis: Axis, *, logarithmic: bool) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator

    low, high = axis.get_view_interval()
    if not logarithmic:
        _numbers(axis, MaxNLocator(5, steps=_ROUND, integer=True))
    else:
        _numbers(axis, LogLocator(subs=(1.0,) if high > 300 * low else (1.0, 2.0, 5.0)))


def _rank_axis(axis: Axis, classes: int) -> None:
    """Mark the first rank, the last, and round ones between."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    ticks = list(range(1, classes + 1))
    if classes > 12:
        steps = MaxNLocator(6, steps=_ROUND, integer=True).tick_values(0, classes)
        room = classes * 0.06
        ticks = [1, *(int(step) for step in steps if 1 + room < step < classes - room), classes]
    _numbers(axis, FixedLocator(ticks))


def _bins(same: NDArray[np.float64], other: NDArray[np.float64], *, logarithmic: bool) -> NDArray[np.float64]:
    """Edges of bars over nearly all values: a few doubles (1 / (1 + 0) = 1) must not squeeze the rest."""
    ends = np.concatenate([np.quantile(values, [0.002, 0.998]) for values in (same, other)])
    first, last = float(ends.min()), float(ends.max())
    if last - first < 1e-9 * max(1.0, abs(last)):
        first, last = (first / 2, last * 2) if logarithmic else (first - 0.5, last + 0.5)
    number = int(np.clip(2 * min(len(same), len(other)) ** 0.4, 12, 60))
    return np.geomspace(first, last, number + 1) if logarithmic else np.linspace(first, last, number + 1)


def _similarity_axis(axes: Axes, *, logarithmic: bool) -> None:
    from matplotlib.ticker import LogLocator

    if not logarithmic:
        axes.locator_params(axis="x", nbins=4)
        return
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    decades = np.log10(high / low)
    # a narrow range takes as many numbers a decade as fit, a wide one its round powers alone
    subs = (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.2 else (1.0, 2.0, 5.0)
    _numbers(axes.xaxis, LogLocator(subs=subs if decades > 0.5 else tuple(np.arange(1.0, 10.0))), "{x:g}")


def _plane(directions: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """First two principal components, of spread 1, and a little noise that tells doubles apart."""
    from sklearn.decomposition import PCA

    points = np.random.default_rng(seed).normal(scale=1e-3, size=(len(directions), 2))
    if np.ptp(directions, axis=0).max() > 1e-6:
        components = PCA(min(2, *directions.shape), svd_solver="full").fit_transform(
            directions.astype(np.float64)
        )
        points[:, : components.shape[1]] += components / max(float(components[:, 0].std()), 1e-12)
    return points


def _photo(axes: Axes, shown: Shown, text: str, frame: str, width: float) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.set_title(text, fontsize=_SMALL, color=ACCENT if shown.relevant else INK, pad=3)
    if shown.photo is None:
        axes.set_facecolor(TINT)
        axes.text(0.5, 0.5, "no photo", ha="center", va="center", color=SOFT, transform=axes.transAxes)
        axes.set_box_aspect(1.25)
    else:
        picture = Image.open(io.BytesIO(shown.photo)).convert("RGB")
        axes.imshow(ImageOps.pad(picture, (240, 300), color=PAPER))
    for side in axes.spines.values():
        side.set(visible=True, edgecolor=frame, linewidth=width)
    lines = textwrap.wrap(shorten(shown.name, 38), 20, break_on_hyphens=False)[:2]
    lines += [shorten(shown.label, 21)] if shown.label else []
    axes.set_xlabel("\n".join(lines), fontsize=_SMALL, loc="left", labelpad=4)


def score(similarity: float) -> str:
    """Return a similarity as people read it: four decimals, or three digits where it is small."""
    return f"{similarity:.4f}" if abs(similarity) >= 0.01 or similarity == 0 else f"{similarity:#.3g}"


def _classes(count: int, label: str) -> str:
    return f"{count:,} {'class' if count == 1 else 'classes'} ({label})"


def _plain(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")
