"""What a query gains from more than one view of it, with no training: mirrored, cropped, several photos.

    python bench/query_views.py luma/catalog.csv:product_id clothing/:category

Each argument is a source and the label that says what is relevant. Photos are indexed once, as `serupa index`
does; only the query changes. A row compares a way to ask with asking by the whole photo alone, on the same
queries, with the interval of the paired bootstrap; products are drawn where there are products.

Views of one photo: the photo itself; its mirror image; the middle; the middle and the four corners. Views are
put together by the mean of their embeddings (each of length 1) or by the best similarity of any of them.

Several photos as one query: two photos that share the label, both left out of the results, compared with the
mean of what each of the two finds alone. Where products have several photos these are two photos of a
product; where not, two photos of one category.

Each is measured as the encoder made it; by product also through a tuning, learned on other products than
those that are asked with and searched (five folds).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serupa import Catalog, Crop
from serupa.evaluation import measures
from serupa.evaluation.comparison import Difference, paired_differences
from serupa.learning.whitening import fit_whitening
from serupa.vectors import unit

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Scorer = Callable[[Floats], Floats]
"""Views (v, d) of one query to similarities (n,)."""

_MIDDLE = Crop(0.125, 0.125, 0.75, 0.75)
_CORNERS = tuple(Crop(x, y, 0.7, 0.7) for x in (0.0, 0.3) for y in (0.0, 0.3))
WHOLE, MIRROR, MIDDLE = 0, 1, 2
WAYS = {
    "mirrored": (WHOLE, MIRROR),
    "middle": (WHOLE, MIDDLE),
    "middle and corners": (WHOLE, MIDDLE, 3, 4, 5, 6),
    "middle alone": (MIDDLE,),
}
AT = (1, 5, 10)


def views_of(catalog: Catalog, image: str) -> Floats:
    """Encode the views of a photo, (7, d)."""
    encoder = catalog.encoder
    whole = encoder.preprocess(image)
    crops = [encoder.preprocess(image, crop) for crop in (_MIDDLE, *_CORNERS)]
    return encoder.encode(np.stack([whole, np.ascontiguousarray(whole[:, ::-1]), *crops]))


def mean_of(gallery: Floats) -> Scorer:
    return lambda views: gallery @ unit(views.mean(axis=0, keepdims=True))[0]


def best_of(gallery: Floats) -> Scorer:
    return lambda views: (gallery @ views.T).max(axis=1)


def values_of(scores: Floats, relevant: NDArray[np.bool_], out: Sequence[int]) -> dict[str, float]:
    """Measure one ranking, without the rows that asked."""
    kept = np.ones(len(scores), bool)
    kept[list(out)] = False
    ranked = relevant[kept][np.argsort(-scores[kept], kind="stable")][None]
    total = np.count_nonzero(ranked, axis=1)
    if not total[0]:
        return dict.fromkeys(("map", *(f"precision@{k}" for k in AT)), float("nan"))
    found = {"map": measures.average_precision(ranked, total)[0]}
    return found | {f"precision@{k}": measures.precision_at_k(ranked, k)[0] for k in AT}


class Data:
    """A data set as the encoder made it, or through a tuning: views (n, 7, d), of length 1, and labels."""

    def __init__(self, views: Floats, codes: Rows, products: Rows | None) -> None:
        self.views, self.codes, self.products = views, codes, products

    @property
    def gallery(self) -> Floats:
        return self.views[:, WHOLE]

    def parts(self) -> list[Data]:
        return [self]


class Tuned(Data):
    """Five folds of products, each through a whitening learned on the other four."""

    def parts(self) -> list[Data]:
        fold = np.random.default_rng(0).permutation(self.codes.max() + 1)[self.codes] % 5
        made = []
        for number in range(5):
            own, other = fold == number, fold != number
            learned = fit_whitening(self.views[other, WHOLE], [self.codes[other]], dimension=256, ridge=0.3)
            flat = learned.apply(self.views[own].reshape(-1, self.views.shape[-1]))
            made.append(Data(flat.reshape(*self.views[own].shape[:2], -1), self.codes[own], self.codes[own]))
        return made


def one_photo(data: Data, rows: Sequence[int], combine: Callable[[Floats], Scorer]) -> list[Difference]:
    before, after, clusters = [], [], []
    for part in data.parts():
        alone, together = mean_of(part.gallery), combine(part.gallery)
        for row, code in enumerate(part.codes):
            relevant = part.codes == code
            before.append(values_of(alone(part.views[row, [WHOLE]]), relevant, [row]))
            after.append(values_of(together(part.views[row, list(rows)]), relevant, [row]))
            clusters.append(None if part.products is None else int(code))
    return compared(before, after, clusters)


def two_photos(data: Data, combine: Callable[[Floats], Scorer]) -> list[Difference]:
    rng = np.random.default_rng(0)
    before, after, clusters = [], [], []
    for part in data.parts():
        alone, together = mean_of(part.gallery), combine(part.gallery)
        for row, code in enumerate(part.codes):
            others = np.flatnonzero((part.codes == code) & (np.arange(len(part.codes)) != row))
            if len(others) < 2:
                continue
            pair = [row, int(rng.choice(others))]
            relevant = part.codes == code
            single = [values_of(alone(part.gallery[[one]]), relevant, pair) for one in pair]
            before.append({name: float(np.mean([s[name] for s in single])) for name in single[0]})
            after.append(values_of(together(part.gallery[pair]), relevant, pair))
            clusters.append(None if part.products is None else int(code))
    return compared(before, after, clusters)


def compared(
    before: list[dict[str, float]], after: list[dict[str, float]], clusters: list[int | None]
) -> list[Difference]:
    names = before[0]
    return paired_differences(
        {name: np.array([values[name] for values in before]) for name in names},
        {name: np.array([values[name] for values in after]) for name in names},
        clusters=clusters,
    )


def row(name: str, differences: Sequence[Difference]) -> str:
    cells = [
        f"{d.before:.3f} to {d.after:.3f}, {d.difference:+.3f} ({d.low:+.3f} to {d.high:+.3f})"
        for d in differences
        if d.measure in ("map", "precision@1", "precision@10")
    ]
    return f"| {name} | {' | '.join(cells)} |"


def report(title: str, data: Data) -> None:
    print(f"\n### {title}\n\n| way to ask | mAP | P@1 | P@10 |\n| --- | --- | --- | --- |")
    for name, rows in WAYS.items():
        print(row(f"{name}, mean", one_photo(data, rows, mean_of)))
        if len(rows) > 1:
            print(row(f"{name}, best", one_photo(data, rows, best_of)))
    for name, combine in (("mean", mean_of), ("best", best_of)):
        print(row(f"two photos, {name}", two_photos(data, combine)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+", metavar="SOURCE:LABEL")
    parser.add_argument("--encoder", default=None)
    for given in parser.parse_args().sources:
        source, _, label = given.rpartition(":")
        with (
            tempfile.TemporaryDirectory() as folder,
            Catalog.create(Path(folder) / "catalog", parser.parse_args().encoder) as catalog,
        ):
            catalog.add(source)
            items = sorted(catalog.items(), key=lambda item: item.id)
            raw = np.stack([views_of(catalog, item.image) for item in items])
        numbers: dict[object, int] = {}
        codes = np.array([numbers.setdefault(item.label(label), len(numbers)) for item in items])
        lengths = unit(raw.reshape(-1, raw.shape[-1])).reshape(raw.shape)
        products = codes if label == "product_id" else None
        report(f"{source}, {label}, {len(items)} photos", Data(lengths, codes, products))
        if products is not None:
            report(f"{source}, {label}, tuned on other products", Tuned(raw, codes, products))


if __name__ == "__main__":
    main()
