"""An evaluation as a page, as figures for print, and as data."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.errors import MissingExtraError, SerupaError, UnavailableError
from serupa.evaluation import figures
from serupa.evaluation.comparison import title as measure_title
from serupa.evaluation.figures import Example, Shown
from serupa.evaluation.protocol import EmbeddedItems, Estimate, Evaluation, has_label
from serupa.images import thumbnail
from serupa.items import Item
from serupa.progress import Progress, silent
from serupa.vectors import Metric, similarity_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EXAMPLES = 4
_HITS = 5
_PHOTO = 280  # pixels: what a column of the printed figure has
_PAIRS = 20_000
_TRIES = 2_000_000  # pairs looked through at most for some of different classes
_CHUNK = 2_000  # pairs compared at once: 2 x 16 MB of 2,048 values
_VARIABLES = {
    figures.INK: "ink",
    figures.SOFT: "soft",
    figures.LINE: "line",
    figures.TINT: "tint",
    figures.PAPER: "paper",
    figures.ACCENT: "accent",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One metric's results from one source: a text for each measure."""

    metric: str
    source: str
    cells: list[str]


@dataclass(frozen=True, slots=True)
class Published:
    """Results published elsewhere beside these, under `heading`."""

    heading: str
    columns: list[str]
    rows: list[Row]
    notes: list[str]

    def to_markdown(self) -> str:
        """Return the table and what must be said about it."""
        lines = [f"## {self.heading}", "", f"| metric | | {' | '.join(self.columns)} |"]
        lines.append("| --- | --- |" + " ---: |" * len(self.columns))
        lines += [f"| {row.metric} | {row.source} | {' | '.join(row.cells)} |" for row in self.rows]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes), ""])


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
    about: str = "",
    published: Published | None = None,
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
    about : str
        A sentence about the data, such as which classes were selected.
    published : Published, optional
        Results to show beside these.
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
    UnavailableError
        If the files cannot be written.
    """
    _require_extra()
    tell = progress or silent
    material = _Material(evaluation, gallery, items, query_items)
    drawn: dict[str, Drawn] = {}
    tell("drawing the report", 0, len(FIGURES) + 1)
    for number, (name, draw) in enumerate(FIGURES.items()):
        figure = draw(material)
        if figure is not None:
            drawn[name] = figure
        tell("drawing the report", number + 1, len(FIGURES) + 1)
    table = [f"# {title}", "", *([about, ""] if about else []), evaluation.to_markdown()]
    if published is not None:
        table.append(published.to_markdown())
    folder = Path(directory)
    page = folder / "index.html"
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        svgs = _write_figures(folder / "figures", drawn)
        data = json.dumps(evaluation.to_dict(), indent=2, ensure_ascii=False) + "\n"
        (folder / "evaluation.json").write_text(data, encoding="utf-8")
        (folder / "table.md").write_text("\n".join(table), encoding="utf-8")
        charts = {name: inline_svg(svg, name, drawn[name].alt) for name, svg in svgs.items()}
        page.write_text(_page(material, title, about, published, charts), encoding="utf-8")
    except OSError as error:
        raise UnavailableError(folder, f"cannot be written: {error.strerror or error}") from error
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

    @cached_property
    def counts(self) -> dict[str, int]:
        """Images of each class of the gallery, from the largest."""
        return _sizes_of(self.gallery.labels)

    @cached_property
    def examples(self) -> list[Example]:
        """Some queries, drawn at random."""
        count = len(self.evaluation.query_ids)
        rng = np.random.default_rng(self.evaluation.seed)
        rows = np.sort(rng.choice(count, min(_EXAMPLES, count), replace=False))
        return [self._example(row) for row in rows.tolist()]

    @cached_property
    def best(self) -> list[Example]:
        """The queries with the highest average precision, of different classes if there are."""
        return self._first(-self.evaluation.metrics[self.metric].values["map"])

    @cached_property
    def worst(self) -> list[Example]:
        """The queries with the lowest average precision, of different classes if there are."""
        return self._first(self.evaluation.metrics[self.metric].values["map"])

    def _first(self, values: NDArray[np.float64]) -> list[Example]:
        order = np.argsort(values, kind="stable").tolist()
        wanted = min(_EXAMPLES, max(1, len(order) // 2))
        one_a_class: dict[Hashable, int] = {}
        for row in order:
            one_a_class.setdefault(self.evaluation.query_labels[row], row)
        first = list(one_a_class.values())[:wanted]
        rest = [row for row in order if row not in first]
        return [self._example(row) for row in (first + rest)[:wanted]]

    def _example(self, row: int) -> Example:
        evaluation = self.evaluation
        result = evaluation.metrics[self.metric]
        query, wanted = evaluation.query_ids[row], evaluation.query_labels[row]
        hits = [
            self._shown(
                self._items.get(name),
                name,
                self._label_of.get(name),
                similarity=similarity_of(distance, self.metric),
                relevant=self._label_of.get(name) == wanted,
            )
            for name, distance in result.results[row][:_HITS]
        ]
        shown = self._shown(self._query_items.get(query), query, wanted)
        return Example(shown, hits, f"AP {result.values['map'][row]:.3f}")

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
        text = str(label) if has_label(label) else ""
        if text.replace("_", " ") == name.replace("_", " "):
            text = ""
        return Shown(name, text, _thumbnail(item), similarity, relevant)


def _thumbnail(item: Item | None) -> bytes | None:
    try:
        return None if item is None else thumbnail(item.image, _PHOTO, quality=80)
    except SerupaError:
        return None  # gone or damaged: the report is about the search


def _sizes_of(labels: Sequence[Hashable]) -> dict[str, int]:
    """Count the items of each class, from the largest; equal ones by name."""
    counted = Counter(str(label) for label in labels if has_label(label))
    return dict(sorted(counted.items(), key=lambda entry: (-entry[1], entry[0])))


def _draw_curves(material: _Material) -> Drawn:
    evaluation = material.evaluation
    estimates = {metric: result.estimates for metric, result in evaluation.metrics.items()}
    figure = figures.curves(estimates, evaluation.ks, queries=len(evaluation.query_ids))
    ends = dict.fromkeys((evaluation.ks[0], evaluation.ks[-1]))
    keys = [f"{name}@{k}" for name in ("precision", "recall") for k in ends]
    said = "; ".join(
        f"{metric} " + ", ".join(f"{measure_title(key)} {own[key].mean:.3f}" for key in keys)
        for metric, own in estimates.items()
    )
    return Drawn(figure, f"Line charts of precision and recall at K, a line a metric: {said}.")


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
    largest = ", ".join(list(_sizes_of(labels))[:8])
    return Drawn(
        figure, f"Map of {len(rows):,} items as points, alike ones near one another; coloured: {largest}."
    )


def _draw_pairs(material: _Material) -> Drawn | None:
    gallery, evaluation = material.gallery, material.evaluation
    same, different = sample_pairs(gallery.labels, seed=evaluation.seed)
    if not len(same) or not len(different):
        return None  # a gallery of one photo a product, or of one class
    relevant, irrelevant = (
        {metric: _similarities(gallery.embeddings, pairs, metric) for metric in evaluation.metrics}
        for pairs in (same, different)
    )
    figure = figures.similarities(relevant, irrelevant, label=evaluation.label)
    said = ", ".join(
        f"{metric} {figures.ordered_share(relevant[metric], irrelevant[metric]):.1%}" for metric in relevant
    )
    return Drawn(
        figure,
        f"Histograms of the similarity of pairs of the same {evaluation.label} and of different ones. How "
        f"often a pair of the same is more alike: {said}.",
    )


def _similarities(
    embeddings: NDArray[np.float32], pairs: NDArray[np.int64], metric: Metric
) -> NDArray[np.float64]:
    """Return the similarity of each pair of rows, as searches show it."""
    from sklearn.metrics.pairwise import paired_distances

    parts = []
    for chunk in np.array_split(pairs, max(1, len(pairs) // _CHUNK)):
        a, b = (embeddings[chunk[:, side]].astype(np.float64) for side in (0, 1))
        parts.append(paired_distances(a, b, metric=metric))
    distances = np.concatenate(parts)
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
    labelled = np.array([row for row, label in enumerate(labels) if has_label(label)], np.int64)
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
    tries = rng.integers(0, len(labelled), (min(_TRIES, 20 * most), 2))
    different = tries[codes[tries[:, 0]] != codes[tries[:, 1]]][:most]
    return by_class[positions], labelled[different]


def _draw_queries(title: str, detail: str, examples: Callable[[_Material], list[Example]]) -> Draw:
    def draw(material: _Material) -> Drawn:
        figure = figures.example_queries(
            examples(material),
            title=title,
            metric=material.metric,
            label=material.evaluation.label,
            detail=detail,
        )
        return Drawn(figure, title)

    return draw


Draw = Callable[[_Material], Drawn | None]

FIGURES: Mapping[str, Draw] = {
    "precision-and-recall": _draw_curves,
    "images-per-class": _draw_sizes,
    "largest-classes": _draw_largest,
    "map-of-items": _draw_map,
    "similarity-of-pairs": _draw_pairs,
    "example-queries": _draw_queries(
        "Queries drawn at random, and their first results", "AP: average precision.", lambda m: m.examples
    ),
    "best-queries": _draw_queries("The best queries", "Highest average precision (AP).", lambda m: m.best),
    "worst-queries": _draw_queries("The worst queries", "Lowest average precision (AP).", lambda m: m.worst),
}
"""How each of the files in ``figures/`` is drawn; each is written as ``.svg`` and ``.png``."""


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


def _page(
    material: _Material, title: str, about: str, published: Published | None, charts: Mapping[str, Any]
) -> str:
    from jinja2 import Environment, StrictUndefined

    from serupa import __version__

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "photo": lambda photo: "data:image/jpeg;base64," + base64.b64encode(photo).decode("ascii"),
        "score": figures.score,
        "short": figures.shorten,
        "signed": lambda value: f"{value:+.4f}".replace("-", "−"),
    }
    source = (files("serupa.evaluation") / "templates" / "report.html").read_text(encoding="utf-8")
    evaluation = material.evaluation
    groups: dict[str, list[tuple[str, str]]] = {}  # measures that differ in K alone stand together
    for key, name in evaluation.columns():
        groups.setdefault(key.partition("@")[0] if "@" in key else "whole", []).append((key, name))
    return environment.from_string(source).render(
        title=title,
        evaluation=evaluation,
        metric=material.metric,
        summary=_summary(evaluation),
        about=about,
        published=published,
        charts=charts,
        rows=[
            ("example-queries", "Drawn at random", material.examples),
            ("best-queries", "The best, by average precision", material.best),
            ("worst-queries", "The worst, by average precision", material.worst),
        ],
        measure=measure_title,
        groups=list(groups.values()),
        version=__version__,
    )


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


def _require_extra() -> None:
    """Fail before anything is written, rather than half-way."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
        import sklearn.manifold  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("the report", "report") from error
