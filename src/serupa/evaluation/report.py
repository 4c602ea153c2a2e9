"""An evaluation as a page, as figures for print, and as data."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.errors import CatalogError, ImageError, MissingExtraError
from serupa.evaluation import figures
from serupa.evaluation.figures import Example, Shown
from serupa.evaluation.intervals import wilson_interval
from serupa.evaluation.protocol import EmbeddedItems, Estimate, Evaluation, Progress
from serupa.evaluation.protocol import title as measure_title
from serupa.evaluation.ranking import pair_distances
from serupa.images import thumbnail
from serupa.items import Item
from serupa.paper.selection import Selection
from serupa.vectors import similarity_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER_SOURCE = "Jurnal Informatik, 21st edition, no. 2, August 2025"
PAPER_ITEMS, PAPER_CLASSES, PAPER_QUERIES = 13_779, 100, 100
PAPER_KS = (1, 5, 10)
PAPER: Mapping[str, Mapping[str, float]] = {
    "cosine": {
        "precision@1": 0.230,
        "precision@5": 0.160,
        "precision@10": 0.126,
        "recall@1": 0.002,
        "recall@5": 0.006,
        "recall@10": 0.009,
    },
    "euclidean": {
        "precision@1": 0.190,
        "precision@5": 0.148,
        "precision@10": 0.115,
        "recall@1": 0.001,
        "recall@5": 0.005,
        "recall@10": 0.008,
    },
    "manhattan": {
        "precision@1": 0.200,
        "precision@5": 0.148,
        "precision@10": 0.115,
        "recall@1": 0.001,
        "recall@5": 0.005,
        "recall@10": 0.008,
    },
}
"""The paper's results: means over 100 queries among 13,779 images of 100 DeepFashion classes."""

FIGURES = (
    "precision-and-recall",
    "images-per-class",
    "largest-classes",
    "map-of-items",
    "similarity-of-pairs",
    "example-queries",
    "best-queries",
    "worst-queries",
)
"""Names of the files in ``figures/``, each as ``.svg`` and ``.png``."""

_EXAMPLES = 4
_HITS = 5
_PHOTO = 280  # pixels: what a column of the printed figure has
_PAIRS = 20_000
_BASELINE = 2_000_000  # pairs looked through at most for some of different classes


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure of the report, and what it shows in words."""

    figure: Figure
    alt: str


def write_report(
    evaluation: Evaluation,
    directory: str | Path,
    *,
    gallery: EmbeddedItems,
    items: Mapping[str, Item],
    title: str,
    query_items: Mapping[str, Item] | None = None,
    selection: Selection | None = None,
    paper: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write an evaluation as a page that opens from disk, with its figures, table and data beside it.

    Parameters
    ----------
    evaluation : Evaluation
        What to report.
    directory : path
        Where ``index.html``, ``table.md``, ``evaluation.json`` and ``figures/*.svg`` and ``.png`` go; made
        if it is not there. A report that is there already is replaced.
    gallery : EmbeddedItems
        What was searched.
    items : mapping of id to Item
        For names and photos; what is missing is shown as an empty frame.
    title : str
        Of the page.
    query_items : mapping of id to Item, optional
        The queries, where they are a set of their own; without it they are shown by their ids.
    selection : Selection, optional
        Which classes were kept, where some were chosen.
    paper : bool
        Show the paper's own results beside these.
    progress : callable, optional
        Called with what is being done, how much is done, and of how much.

    Returns
    -------
    Path
        ``index.html``.

    Raises
    ------
    MissingExtraError
        If Matplotlib, scikit-learn or Jinja2 are not installed.
    CatalogError
        If the files cannot be written.
    """
    _require_extra()
    tell = progress or (lambda *_: None)
    material = _Material(evaluation, gallery, items, query_items)
    drawn: dict[str, Drawn] = {}
    tell("drawing the report", 0, len(FIGURES) + 1)
    for number, name in enumerate(FIGURES):
        figure = _DRAW[name](material)
        if figure is not None:
            drawn[name] = figure
        tell("drawing the report", number + 1, len(FIGURES) + 1)
    beside = _beside_paper(evaluation) if paper else None
    folder = Path(directory)
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        svgs = _write_figures(folder / "figures", drawn)
        data = json.dumps(evaluation.to_dict(), indent=2, ensure_ascii=False) + "\n"
        (folder / "evaluation.json").write_text(data, encoding="utf-8")
        table = _markdown(evaluation, title, selection, beside)
        (folder / "table.md").write_text(table, encoding="utf-8")
        html = _page(material, title=title, selection=selection, beside=beside, drawn=drawn, svgs=svgs)
        page = folder / "index.html"
        page.write_text(html, encoding="utf-8")
    except OSError as error:
        raise CatalogError(f"{folder}: cannot be written: {error.strerror or error}") from error
    tell("drawing the report", len(FIGURES) + 1, len(FIGURES) + 1)
    return page


class _Material:
    """What the figures and the page are made of, each part worked out once."""

    def __init__(
        self,
        evaluation: Evaluation,
        gallery: EmbeddedItems,
        items: Mapping[str, Item],
        query_items: Mapping[str, Item] | None,
    ) -> None:
        self.evaluation = evaluation
        # The metric of the queries shown: what people get unless another one is better beyond chance.
        self.metric = evaluation.best if evaluation.best_is_shown else next(iter(evaluation.metrics))
        self.gallery = gallery
        self._items = items
        self._query_items = items if evaluation.from_gallery else query_items or {}
        self._label_of = dict(zip(gallery.ids, gallery.labels, strict=True))
        self._thumbnails: dict[str, bytes | None] = {}

    @cached_property
    def counts(self) -> dict[str, int]:
        """Images of each class of the gallery, from the largest."""
        counted = Counter(str(label) for label in self.gallery.labels if _has(label))
        return dict(sorted(counted.items(), key=lambda entry: (-entry[1], entry[0])))

    @cached_property
    def examples(self) -> list[Example]:
        """Some queries, drawn at random."""
        count = len(self.evaluation.query_ids)
        rng = np.random.default_rng(self.evaluation.seed)
        return self._examples(np.sort(rng.choice(count, min(_EXAMPLES, count), replace=False)))

    @cached_property
    def best(self) -> list[Example]:
        """The queries with the highest average precision, of different classes if there are."""
        return self._examples(self._extreme(-1))

    @cached_property
    def worst(self) -> list[Example]:
        """The queries with the lowest average precision, of different classes if there are."""
        return self._examples(self._extreme(1))

    def _extreme(self, sign: int) -> NDArray[np.int64]:
        values = self.evaluation.metrics[self.metric].values["map"]
        order = np.argsort(sign * values, kind="stable")
        wanted = min(_EXAMPLES, max(1, len(order) // 2))
        seen: set[Hashable] = set()
        first = []
        for row in order.tolist():
            label = self.evaluation.query_labels[row]
            if label not in seen:
                first.append(row)
                seen.add(label)
        rest = [row for row in order.tolist() if row not in set(first[:wanted])]
        return np.array((first[:wanted] + rest)[:wanted], np.int64)

    def _examples(self, rows: NDArray[np.int64]) -> list[Example]:
        return [self._example(row) for row in rows.tolist()]

    def _example(self, row: int) -> Example:
        evaluation = self.evaluation
        result = evaluation.metrics[self.metric]
        query, wanted = evaluation.query_ids[row], evaluation.query_labels[row]
        hits = [
            self._shown(
                self._items.get(found),
                found,
                self._label_of.get(found),
                similarity=similarity_of(distance, self.metric),  # type: ignore[arg-type]
                relevant=self._label_of.get(found) == wanted,
            )
            for found, distance in result.results[row][:_HITS]
        ]
        precision = result.values["map"][row]
        shown = self._shown(self._query_items.get(query), query, wanted)
        return Example(shown, hits, f"AP {precision:.3f}")

    def _shown(
        self,
        item: Item | None,
        item_id: str,
        label: Hashable,
        *,
        similarity: float | None = None,
        relevant: bool | None = None,
    ) -> Shown:
        name = item.name if item else item_id
        text = str(label) if _has(label) and str(label).replace("_", " ") != name.replace("_", " ") else ""
        photo = self._thumbnail(item.image) if item else None
        return Shown(name, text, photo, similarity, relevant)

    def _thumbnail(self, image: str) -> bytes | None:
        if image not in self._thumbnails:
            try:
                self._thumbnails[image] = thumbnail(image, _PHOTO, quality=80)
            except ImageError:
                self._thumbnails[image] = None  # gone or damaged: the report is about the search
        return self._thumbnails[image]


def _draw_curves(material: _Material) -> Drawn:
    evaluation = material.evaluation
    estimates = {metric: result.estimates for metric, result in evaluation.metrics.items()}
    figure = figures.curves(estimates, evaluation.ks, queries=len(evaluation.query_ids))
    keys = [f"{name}@{k}" for name in ("precision", "recall") for k in _first_last(evaluation.ks)]
    said = "; ".join(
        f"{metric} " + ", ".join(f"{measure_title(key)} {found[key].mean:.3f}" for key in keys)
        for metric, found in estimates.items()
    )
    return Drawn(figure, f"Line charts of precision and recall at K, a line a metric: {said}.")


def _first_last(ks: Sequence[int]) -> list[int]:
    return list(dict.fromkeys((ks[0], ks[-1])))


def _draw_sizes(material: _Material) -> Drawn:
    sizes = list(material.counts.values())
    figure = figures.images_per_class(sizes, label=material.evaluation.label)
    alt = f"Bars of the images of each of {len(sizes):,} classes, from {sizes[0]:,} down to {sizes[-1]:,}."
    return Drawn(figure, alt)


def _draw_largest(material: _Material) -> Drawn:
    counts = material.counts
    figure = figures.largest_classes(counts, label=material.evaluation.label)
    first = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:5])
    return Drawn(figure, f"Bars of the largest classes by name; the first: {first}.")


def _draw_map(material: _Material) -> Drawn:
    gallery, seed = material.gallery, material.evaluation.seed
    total = len(gallery.ids)
    rows = np.arange(total)
    if total > figures.MAP_ITEMS:
        rows = np.sort(np.random.default_rng(seed).choice(total, figures.MAP_ITEMS, replace=False))
    points = figures.map_points(gallery.embeddings[rows], seed=seed)
    labels = [gallery.labels[row] for row in rows.tolist()]
    figure = figures.item_map(points, labels, label=material.evaluation.label, total=total)
    shown = list(Counter(str(label) for label in labels if _has(label)).items())
    largest = ", ".join(name for name, _ in sorted(shown, key=lambda entry: (-entry[1], entry[0]))[:8])
    alt = f"Map of {len(rows):,} items as points, alike ones near one another; coloured: {largest}."
    return Drawn(figure, alt)


def _draw_pairs(material: _Material) -> Drawn | None:
    gallery, label = material.gallery, material.evaluation.label
    same, different = sample_pairs(gallery.labels, seed=material.evaluation.seed)
    if not len(same) or not len(different):
        return None  # a gallery of one photo a product, or of one class
    relevant = {metric: _similarities(gallery, same, metric) for metric in material.evaluation.metrics}
    other = {metric: _similarities(gallery, different, metric) for metric in material.evaluation.metrics}
    figure = figures.similarities(relevant, other, label=label)
    said = ", ".join(
        f"{metric} {figures.ordered_share(relevant[metric], other[metric]):.1%}" for metric in relevant
    )
    return Drawn(
        figure,
        f"Histograms of the similarity of pairs of the same {label} and of different ones. How often a pair "
        f"of the same is more alike: {said}.",
    )


def _similarities(gallery: EmbeddedItems, pairs: NDArray[np.int64], metric: str) -> NDArray[np.float64]:
    found = []
    for chunk in np.array_split(pairs, max(1, len(pairs) // 2_000)):
        a, b = (gallery.embeddings[chunk[:, side]] for side in (0, 1))
        found.append(pair_distances(a, b, metric))
    distances = np.concatenate(found)
    return 1.0 - distances if metric == "cosine" else 1.0 / (1.0 + distances)


def sample_pairs(
    labels: Sequence[Hashable], *, most: int = _PAIRS, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw pairs of items of the same class, and pairs of different classes.

    Parameters
    ----------
    labels : sequence of n values
        The class of each item; items with None or an empty text are in no pair.
    most : int
        How many pairs of each kind at most. Where there are no more pairs of the same class than that, all
        are taken.
    seed : int
        The same seed draws the same pairs.

    Returns
    -------
    same, different : (p, 2) and (q, 2) arrays of int
        Positions; empty where there are no such pairs.
    """
    rng = np.random.default_rng(seed)
    labelled = np.array([row for row, label in enumerate(labels) if _has(label)], np.int64)
    numbers: dict[Hashable, int] = {}
    codes = np.array([numbers.setdefault(labels[row], len(numbers)) for row in labelled.tolist()], np.int64)
    by_class = labelled[np.argsort(codes, kind="stable")]
    sizes = np.bincount(codes, minlength=1)
    starts = np.cumsum(sizes) - sizes
    pairs = sizes * (sizes - 1) // 2
    if pairs.sum() <= most:
        same = [
            start + np.column_stack(np.triu_indices(size, 1))
            for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)
        ]
        positions = np.concatenate(same)
    else:
        drawn = rng.choice(len(sizes), most, p=pairs / pairs.sum())
        first = rng.integers(0, sizes[drawn])
        second = rng.integers(0, sizes[drawn] - 1)
        second += second >= first
        positions = starts[drawn][:, None] + np.column_stack([first, second])
    if len(numbers) < 2:
        return by_class[positions], np.empty((0, 2), np.int64)
    # Where one class holds nearly all items most draws are of the same class; that many are enough for any.
    tries = rng.integers(0, len(labelled), (min(_BASELINE, 20 * most), 2))
    different = tries[codes[tries[:, 0]] != codes[tries[:, 1]]][:most]
    return by_class[positions], labelled[different]


def _draw_examples(material: _Material) -> Drawn:
    return _photos(
        material,
        material.examples,
        "Queries drawn at random, and their first results",
        "AP: average precision.",
    )


def _draw_best(material: _Material) -> Drawn:
    return _photos(material, material.best, "The best queries", "Highest average precision (AP).")


def _draw_worst(material: _Material) -> Drawn:
    return _photos(material, material.worst, "The worst queries", "Lowest average precision (AP).")


def _photos(material: _Material, examples: list[Example], title: str, detail: str) -> Drawn:
    evaluation = material.evaluation
    figure = figures.example_queries(
        examples, title=title, metric=material.metric, label=evaluation.label, detail=detail
    )
    return Drawn(figure, title)


_DRAW: dict[str, Any] = {
    "precision-and-recall": _draw_curves,
    "images-per-class": _draw_sizes,
    "largest-classes": _draw_largest,
    "map-of-items": _draw_map,
    "similarity-of-pairs": _draw_pairs,
    "example-queries": _draw_examples,
    "best-queries": _draw_best,
    "worst-queries": _draw_worst,
}


def _write_figures(folder: Path, drawn: Mapping[str, Drawn]) -> dict[str, str]:
    """Write each figure twice; return the SVG documents."""
    svgs = {}
    for name in FIGURES:
        if name not in drawn:  # of a report that was here before
            for ending in ("svg", "png"):
                (folder / f"{name}.{ending}").unlink(missing_ok=True)
            continue
        svgs[name] = figures.to_svg(drawn[name].figure)
        (folder / f"{name}.svg").write_text(svgs[name], encoding="utf-8")
        (folder / f"{name}.png").write_bytes(figures.to_png(drawn[name].figure))
    return svgs


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One metric's results, the paper's or ours: a text for each measure."""

    metric: str
    source: str
    cells: list[str]


@dataclass(frozen=True, slots=True)
class BesidePaper:
    """The paper's results beside ours."""

    headings: list[str]
    rows: list[PaperRow]
    notes: list[str]


def _beside_paper(evaluation: Evaluation) -> BesidePaper:
    keys = [f"{name}@{k}" for name in ("precision", "recall") for k in PAPER_KS]
    rows = []
    for metric, published in PAPER.items():
        rows.append(PaperRow(metric, "paper", [_published(key, published[key]) for key in keys]))
        ours = evaluation.metrics.get(metric)
        if ours is not None:
            rows.append(PaperRow(metric, "here", [_ours(ours.estimates.get(key)) for key in keys]))
    return BesidePaper([measure_title(key) for key in keys], rows, list(_paper_notes(evaluation)))


def _published(key: str, value: float) -> str:
    if key != "precision@1":
        return f"{value:.3f}"
    low, high = wilson_interval(value, PAPER_QUERIES)
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _ours(estimate: Estimate | None) -> str:
    return "–" if estimate is None else str(estimate)


def _paper_notes(evaluation: Evaluation) -> Iterator[str]:
    yield (
        f"The paper: {PAPER_SOURCE}; {PAPER_QUERIES} queries. With 95 % intervals: here by bootstrap over "
        "the queries; for the paper's P@1, which is a share of yes-or-no queries, Wilson's interval. For its "
        "P@5, P@10 and recall no interval can be worked out from what was published."
    )
    if (evaluation.items, evaluation.classes) != (PAPER_ITEMS, PAPER_CLASSES):
        yield (
            f"Other data: the paper searched {PAPER_ITEMS:,} items in {PAPER_CLASSES:,} classes of "
            f"DeepFashion, here they are {evaluation.items:,} in {evaluation.classes:,}. What differs is the "
            "task as well as the search."
        )
    cosine, other = PAPER["cosine"]["precision@1"], PAPER["manhattan"]["precision@1"]
    low, high = difference_interval(
        (cosine, *wilson_interval(cosine, PAPER_QUERIES)), (other, *wilson_interval(other, PAPER_QUERIES))
    )
    yield (
        f"Within the paper, cosine leads by {cosine - other:.3f} at P@1 ({cosine:.3f} against "
        f"{other:.3f}); as far as can be told without the values of each query, the 95 % interval of that "
        f"lead is {low:+.3f} to {high:+.3f}: it is not shown that one metric is better."
    )
    for metric, published in PAPER.items():
        result = evaluation.metrics.get(metric)
        if result is None or "precision@1" not in result.estimates:
            continue
        ours, theirs = result.estimates["precision@1"], published["precision@1"]
        low, high = difference_interval(
            (ours.mean, ours.low, ours.high), (theirs, *wilson_interval(theirs, PAPER_QUERIES))
        )
        says = "more than chance would make" if low > 0 or high < 0 else "no more than chance would make"
        yield (
            f"P@1 by {metric}: {ours.mean:.3f} here, {theirs:.3f} in the paper, {ours.mean - theirs:+.3f} "
            f"(95 % interval {low:+.3f} to {high:+.3f}): {says}."
        )


def difference_interval(
    first: tuple[float, float, float], second: tuple[float, float, float]
) -> tuple[float, float]:
    """Interval of the difference of two independent estimates, from the interval of each.

    The distances of the bounds from the estimates are added as squares: ``low = a - b - sqrt((a - a_low)^2 +
    (b_high - b)^2)``, and alike for the upper bound. For two shares with Wilson's intervals that is
    Newcombe's method [1]_; it holds for intervals of other kinds as well [2]_.

    Parameters
    ----------
    first, second : (estimate, low, high)

    Returns
    -------
    tuple of float
        Bounds of first minus second.

    References
    ----------
    .. [1] R. G. Newcombe, "Interval estimation for the difference between independent proportions",
       Statistics in Medicine 17, 1998, method 10.
    .. [2] G. Y. Zou, A. Donner, "Construction of confidence limits about effect measures", Statistics in
       Medicine 27, 2008.

    Examples
    --------
    >>> [round(bound, 3) for bound in difference_interval((0.5, 0.4, 0.6), (0.2, 0.1, 0.3))]
    [0.159, 0.441]
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    down = ((a - a_low) ** 2 + (b_high - b) ** 2) ** 0.5
    up = ((a_high - a) ** 2 + (b - b_low) ** 2) ** 0.5
    return (a - b - down, a - b + up)


def _markdown(
    evaluation: Evaluation, title: str, selection: Selection | None, beside: BesidePaper | None
) -> str:
    lines = [f"# {title}", ""]
    if selection is not None:
        lines += [str(selection), ""]
    lines.append(evaluation.to_markdown())
    if beside is not None:
        lines += ["## Beside the paper", "", f"| metric | | {' | '.join(beside.headings)} |"]
        lines.append("| --- | --- |" + " ---: |" * len(beside.headings))
        lines += [f"| {row.metric} | {row.source} | {' | '.join(row.cells)} |" for row in beside.rows]
        lines += ["", *(f"- {note}" for note in beside.notes), ""]
    return "\n".join(lines)


def _page(
    material: _Material,
    *,
    title: str,
    selection: Selection | None,
    beside: BesidePaper | None,
    drawn: Mapping[str, Drawn],
    svgs: Mapping[str, str],
) -> str:
    from jinja2 import Environment, StrictUndefined

    from serupa import __version__

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "photo": _data_uri,
        "score": figures.score,
        "short": figures.shorten,
        "signed": lambda value: f"{value:+.4f}".replace("-", "−"),
    }
    source = (files("serupa.evaluation") / "templates" / "report.html").read_text(encoding="utf-8")
    evaluation = material.evaluation
    charts = {
        name: {"svg": inline_svg(svg, name, drawn[name].alt), "name": name} for name, svg in svgs.items()
    }
    return environment.from_string(source).render(
        title=title,
        evaluation=evaluation,
        metric=material.metric,
        summary=_summary(evaluation),
        selection=selection,
        beside=beside,
        charts=charts,
        rows=[
            ("example-queries", "Drawn at random", material.examples),
            ("best-queries", "The best, by average precision", material.best),
            ("worst-queries", "The worst, by average precision", material.worst),
        ],
        measure=measure_title,
        groups=_measure_groups(evaluation),
        version=__version__,
    )


def _measure_groups(evaluation: Evaluation) -> list[list[tuple[str, str]]]:
    """Return keys and titles of the measures, those that differ in K alone together."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for key, name in evaluation.columns():
        kind = key.partition("@")[0] if "@" in key else "whole"
        groups.setdefault(kind, []).append((key, name))
    return list(groups.values())


def _summary(evaluation: Evaluation) -> list[str]:
    """Say the result as a person would."""
    found = evaluation.metrics[evaluation.best].estimates
    first, last = evaluation.ks[0], evaluation.ks[-1]
    precision, hit = found[f"precision@{first}"], found[f"hit_rate@{last}"]
    lines = [
        f"The first result has the query's {evaluation.label} in {_percent(precision)} of searches."
        if first == 1
        else f"Of the first {first} results, {_percent(precision)} have the query's {evaluation.label}."
    ]
    if last > 1:
        lines.append(f"At least one of the first {last} does in {_percent(hit)}.")
    shown = [one.other for one in evaluation.comparisons if one.measure == "map" and one.shown]
    open_ = [one.other for one in evaluation.comparisons if one.measure == "map" and not one.shown]
    if shown:
        lines.append(f"By mAP, {evaluation.best} is better than {' and '.join(shown)}.")
    if open_:
        lines.append(f"Whether {evaluation.best} is better than {' or '.join(open_)} by mAP is not shown.")
    return lines


def _percent(estimate: Estimate) -> str:
    mean, low, high = (f"{100 * value:.0f}" for value in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} % ({low} to {high} %)"


def inline_svg(svg: str, name: str, alt: str) -> Any:
    """Return an SVG document as an element of a page: names of its own, colours of the page's.

    Parameters
    ----------
    svg : str
        From `serupa.evaluation.figures.to_svg`.
    name : str
        Put before every id, so that several figures can be in one page.
    alt : str
        What the figure shows, in words.
    """
    from markupsafe import Markup, escape

    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"\sxmlns(:\w+)?=\"[^\"]*\"", "", body)
    body = body.replace("xlink:href", "href")
    body = re.sub(r"\bid=\"([^\"]+)\"", rf'id="{name}-\1"', body)
    body = re.sub(r"href=\"#([^\"]+)\"", rf'href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    for color, variable in _VARIABLES.items():
        body = re.sub(re.escape(color) + r"\b", f"var(--{variable})", body, flags=re.IGNORECASE)
    body = re.sub(r"\s(width|height)=\"[\d.]+pt\"", "", body, count=2)
    said = f'<svg class="chart" role="img" aria-label="{escape(alt)}"'
    return Markup(body.replace("<svg", said, 1))  # noqa: S704  # texts in it were escaped by Matplotlib


_VARIABLES = {
    figures.INK: "ink",
    figures.SOFT: "soft",
    figures.LINE: "line",
    figures.TINT: "tint",
    figures.PAPER: "paper",
    figures.ACCENT: "accent",
}


def _data_uri(photo: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(photo).decode("ascii")


def _has(label: Hashable) -> bool:
    return label is not None and label != "" and label == label  # noqa: PLR0124  # NaN is not itself


def _require_extra() -> None:
    """Fail before anything is written, rather than half-way."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
        import sklearn.manifold  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("the report", "report") from error
