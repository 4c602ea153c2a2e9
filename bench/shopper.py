"""Whether a shopper's own photo finds the right garment: people's photos asked of shops, as one table.

    python -m bench.shopper CLOTHING_DIR SHOP_TABLE... [--flat MORE...] [--encoder NAME_OR_CARD]

CLOTHING_DIR has one folder of photos a category, as people photograph their own clothes; each SHOP_TABLE is a
shop's, with category, name, product_id and, where shots are one exposure recoloured, shot_id. Asked are the
photos of the kinds that a shop sells, through `Catalog.search`, by product. Kinds are told by heads that
learned neither from the photo asked (five folds) nor from the shop. "The look alone" is plain cosine.

Prints Markdown: shares with Wilson's intervals, differences with a bootstrap over products, 95 %.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

from serupa import Catalog, Item
from serupa.catalog.query import SearchRequest
from serupa.encoders import load_encoder
from serupa.evaluation.intervals import wilson_interval
from serupa.garments.head import KindHead, head_of
from serupa.garments.kinds import kinds_of
from serupa.images import open_photo
from tools.amateur_like import amateur_like, cut_out
from tools.fit_kinds import Photos, embed, fit, readable

FOLDS = 5
FIRST = 4
# What people's folders call what a shop may sell under another word
SOLD_AS = {
    "longsleeve": {"sweater", "longsleeve"},
    "outwear": {"jacket", "coat"},
    "pants": {"trousers", "jeans", "leggings"},
    "shirt": {"shirt", "blouse"},
}


def wanted(category: str) -> set[str]:
    return SOLD_AS.get(category) or set(kinds_of(category))


def sold(item: Item) -> frozenset[str]:
    return kinds_of(str(item.attributes["category"]), str(item.attributes.get("name", "")))


def share(right: Sequence[bool]) -> str:
    low, high = wilson_interval(float(np.mean(right)), len(right))
    return f"{np.mean(right):.3f} ({low:.3f} to {high:.3f})"


def difference(before: Sequence[float], after: Sequence[float], clusters: Sequence[str]) -> str:
    """Mean difference, with a bootstrap that draws whole products."""
    gain = np.asarray(after) - np.asarray(before)
    _, which = np.unique(clusters, return_inverse=True)
    sums, counts = np.bincount(which, gain), np.bincount(which)
    drawn = np.random.default_rng(0).integers(0, len(sums), (2000, len(sums)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [0.025, 0.975])
    return f"{np.mean(before):.3f} to {np.mean(after):.3f} ({gain.mean():+.3f}, {low:+.3f} to {high:+.3f})"


@contextmanager
def using(catalog: Catalog, head: KindHead) -> Iterator[None]:
    """Let a catalogue tell kinds by a head."""
    with patch("serupa.garments.head.head_of", lambda *_: head):
        catalog.use_kinds()
        yield


class Asked:
    """What came of asking a shop."""

    def __init__(self) -> None:
        self.first: list[bool] = []
        self.four: list[float] = []
        self.photos: Counter[str] = Counter()

    def ask(self, catalog: Catalog, embedding: np.ndarray, kinds: set[str], kind: str | None) -> None:
        hits = catalog.ask(SearchRequest(embedding=embedding, k=FIRST, by="product", kind=kind))
        right = [bool(kinds & KNOWN[hit.item.id]) for hit in hits]
        self.first.append(right[0])
        self.four.append(float(np.mean(right)))
        self.photos[hits[0].item.id] += 1

    def row(self, name: str) -> str:
        most = self.photos.most_common(1)[0][1] / len(self.first)
        return f"| {name} | {share(self.first)} | {np.mean(self.four):.3f} | {most:.3f} |"


KNOWN: dict[str, frozenset[str]] = {}


def precision(
    catalog: Catalog, item: Item, search: Callable[[int], list[Item]]
) -> tuple[float, float] | None:
    """P@1 and average precision of the product among other shots; None where there is no other shot."""
    found = [one for one in search(catalog.count()) if shot(one) != shot(item)]
    relevant = np.flatnonzero([one.product_id == item.product_id for one in found])
    if not len(relevant):
        return None
    return float(relevant[0] == 0), float(np.mean((np.arange(len(relevant)) + 1) / (relevant + 1)))


def shot(item: Item) -> str:
    return str(item.attributes.get("shot_id", item.id))


def same_product(catalog: Catalog, asked: list[tuple[Item, np.ndarray]], name: str) -> None:
    values: dict[str | None, list[tuple[float, float]]] = {"any": [], None: []}
    products = []
    for item, embedding in asked:
        both = {}
        for kind in values:

            def search(k: int, kind: str | None = kind, embedding: np.ndarray = embedding) -> list[Item]:
                return [hit.item for hit in catalog.ask(SearchRequest(embedding=embedding, k=k, kind=kind))]

            both[kind] = precision(catalog, item, search)
        if both["any"] and both[None]:
            products.append(str(item.product_id))
            for kind, one in both.items():
                values[kind].append(one)
    for column, measure in enumerate(("P@1", "mAP")):
        before, after = ([one[column] for one in values[kind]] for kind in ("any", None))
        print(f"- {name}, same product, {measure}: {difference(before, after, products)}")


def without_categories(items: Sequence[Item]) -> list[Item]:
    return [replace(i, attributes={k: v for k, v in i.attributes.items() if k == "shot_id"}) for i in items]


def composites(items: Sequence[Item], people: Sequence[Item], side: int) -> Iterator[tuple[Item, np.ndarray]]:
    rng = np.random.default_rng(7)
    grounds = [cut for item in people[::13] if (cut := _cut(item))]
    for item in items:
        if cut := _cut(item):
            yield item, amateur_like(*cut, grounds, side, rng)


def _cut(item: Item) -> tuple[np.ndarray, np.ndarray] | None:
    photo = open_photo(item.image, min_side=544)
    scale = 272 / min(photo.size)
    pixels = np.asarray(
        photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BOX)
    )
    mask = cut_out(pixels)
    return None if mask is None else (pixels, mask)


def left_out(photos: Photos, shop: int, asked: np.ndarray) -> Photos:
    kept = photos.source != shop
    kept[asked] = False
    return photos.of(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clothing")
    parser.add_argument("shops", nargs="+")
    parser.add_argument("--flat", nargs="*", default=[])
    parser.add_argument("--encoder", default="efficientnet-lite0")
    given = parser.parse_args()
    encoder = load_encoder(given.encoder)
    shipped = head_of(encoder.card, encoder.weights_sha256)
    assert shipped is not None
    sources = [readable(source) for source in (given.clothing, *given.flat, *given.shops)]
    flat = 1 + len(given.flat)
    people = [item for item in sources[0] if kinds_of(str(item.attributes["category"]))]
    photos = embed(encoder, [people, *sources[1:]], flat, shipped.kinds)
    deal = np.random.default_rng(0).permutation(len(people)) % FOLDS
    right = []
    for number, table in enumerate(given.shops, flat):
        items = sources[number]
        KNOWN.update({item.id: sold(item) for item in items})
        sells = frozenset().union(*(KNOWN[item.id] for item in items))
        rows = [row for row, item in enumerate(people) if wanted(str(item.attributes["category"])) & sells]
        results = {
            name: Asked() for name in ("the look alone", "with kinds", "kinds guessed from the photos")
        }
        with tempfile.TemporaryDirectory() as folder, \
                Catalog.create(Path(folder) / "a", given.encoder) as shop, \
                Catalog.create(Path(folder) / "b", given.encoder) as bare:  # fmt: skip
            shop.add(items)
            bare.add(without_categories(items))
            for fold in range(FOLDS):
                test = np.flatnonzero(deal == fold)
                head = fit(left_out(photos, number, test), shipped.kinds, shipped.temperatures)
                guess = head.probabilities(photos.rows[test])
                right += list(photos.truth[test][np.arange(len(test)), guess.argmax(axis=1)])
                with using(shop, head), using(bare, head):
                    for row in rows:
                        if deal[row] == fold:
                            kinds, embedding = (
                                wanted(str(people[row].attributes["category"])),
                                photos.rows[row],
                            )
                            results["the look alone"].ask(shop, embedding, kinds, "any")
                            results["with kinds"].ask(shop, embedding, kinds, None)
                            results["kinds guessed from the photos"].ask(bare, embedding, kinds, None)
            print(f"\n## {Path(table).parent.name}: {len(rows)} photos of people's own\n")
            print("| | right kind first | of the first four | most often first |\n| --- | --- | --- | --- |")
            for name, result in results.items():
                print(result.row(name))
            print()
            made = list(composites(items, people, encoder.input_size))
            rowed = encoder.encode(np.stack([pixels for _, pixels in made]))
            with using(shop, head):
                own = dict(zip(*shop.embeddings(), strict=True))
                same_product(shop, [(item, own[item.id]) for item in items], "its own photos")
                same_product(
                    shop,
                    [(item, row) for (item, _), row in zip(made, rowed, strict=True)],
                    "made amateur-like",
                )
    print(f"\nKinds of people's photos, of those that the head knows: {share(right)}")


if __name__ == "__main__":
    main()
