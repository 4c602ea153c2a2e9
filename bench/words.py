"""What words find, alone and beside a photo, in shops with a table; and how fast in a large catalogue.

    python -m bench.words SHOP_TABLE... [--weights 0.3 0.5 0.7] [--products 70000]

Queries are made from what a table says: words of a product's name, its colour and the English or Indonesian
word for its kind of garment, also with a wrong letter. A hit by look counts only where it is another exposure
(where the table has `shot_id`, else another photo) than the photo asked with. The large catalogue repeats the
shop's texts under names and descriptions drawn from words of Zipf's frequencies; its embeddings are random.

Prints Markdown: shares with Wilson's intervals, 95 %.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from serupa import Catalog, Item
from serupa.catalog import query
from serupa.catalog.query import SearchRequest
from serupa.catalog.schema import payload_of
from serupa.evaluation.intervals import wilson_interval
from serupa.garments.kinds import BY_NAME, kinds_of
from serupa.storage.base import Neighbor, grouped

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def share(right: Sequence[float]) -> str:
    low, high = wilson_interval(float(np.mean(right)), len(right))
    return f"{np.mean(right):.3f} ({low:.3f} to {high:.3f})"


def kinds(item: Item) -> frozenset[str]:
    return kinds_of(str(item.attributes["category"]), item.name)


def color(item: Item) -> str:
    return str(item.attributes.get("color", ""))


def misspelt(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    return rng.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + rng.choice(_LETTERS) + word[at + 1 :],
            word[:at] + rng.choice(_LETTERS) + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        )
    )


def variants(items: Sequence[Item]) -> dict[tuple[str, str], list[Item]]:
    """Return the photos of each product in each colour."""
    found: defaultdict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        found[str(item.product_id), color(item)].append(item)
    return dict(found)


def name_words(item: Item) -> list[str]:
    """Return the words of a name that tell it from others of its kind."""
    return [word for word in item.name.split() if len(word) > 3 and not kinds_of(word) and word.isalpha()]


def named(items: Sequence[Item], language: str, wrong: bool = False) -> Iterator[tuple[str, Item]]:
    """Yield queries of one word of the name, colour and kind, with what they are for."""
    rng = random.Random(0)  # noqa: S311
    for photos in variants(items).values():
        item, words = photos[0], name_words(photos[0])
        kind = next(iter(sorted(kinds(item))), None)
        if words and kind:
            word = rng.choice(words)
            parts = [misspelt(word, rng) if wrong else word, color(item), getattr(BY_NAME[kind], language)]
            rng.shuffle(parts)
            yield " ".join(parts), item


def by_words(shop: Catalog, items: Sequence[Item]) -> Iterator[tuple[str, ...]]:
    asked = {
        "the name, colour": [
            (f"{photos[0].name} {color(photos[0])}", photos[0]) for photos in variants(items).values()
        ],
        "a word of the name, colour, kind": list(named(items, "en")),
        "the same, a letter of the name's word wrong": list(named(items, "en", wrong=True)),
        "a word of the name, colour, kind in Indonesian": list(named(items, "id")),
    }
    for what, queries in asked.items():
        first, five, right = [], [], []
        for text, item in queries:
            hits = [hit.item for hit in shop.search(text=text, k=5, by="product")]
            first.append(bool(hits) and hits[0].product_id == item.product_id)
            five.append(item.product_id in {hit.product_id for hit in hits})
            right.append(first[-1] and color(hits[0]) == color(item))
        yield what, str(len(queries)), share(first), share(five), share(right)


def by_kind_and_color(shop: Catalog, items: Sequence[Item]) -> tuple[str, str, str]:
    """Ask for each kind in each colour: how many of the first ten (or of as many as there are) are both."""
    there: defaultdict[tuple[str, str], int] = defaultdict(int)
    for item in items:
        for kind in kinds(item):
            there[kind, color(item)] += 1
    places = []
    for (kind, shade), count in there.items():
        hits = [hit.item for hit in shop.search(text=f"{shade} {BY_NAME[kind].en}", k=min(10, count))]
        places += [kind in kinds(hit) and color(hit) == shade for hit in hits]
    return "kind and colour", str(len(there)), share(places)


class Shop:
    """A catalogue, its items, and which of them are one exposure, recoloured."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.items = list(catalog.items())
        self.variants = variants(self.items)
        self._shots: defaultdict[object, list[str]] = defaultdict(list)
        for item in self.items:
            self._shots[self._shot(item)].append(item.id)

    @staticmethod
    def _shot(item: Item) -> object:
        return item.attributes.get("shot_id", item.id)

    def elsewhere(self, item: Item, variant: tuple[str, str]) -> bool:
        """Return whether a variant has a photo of another exposure."""
        return any(self._shot(one) != self._shot(item) for one in self.variants[variant])

    def ask(self, item: Item, k: int, *, any_shot: bool = False, **more: Any) -> list[Item]:
        """Ask with a photo of the catalogue, its own exposure left out unless any shot will do."""
        exclude = (item.id,) if any_shot else tuple(self._shots[self._shot(item)])
        return [hit.item for hit in self.catalog.ask(SearchRequest(k=k, exclude=exclude, **more))]


def but_another_color(shop: Shop, any_shot: bool, **more: Any) -> list[bool]:
    """Ask with a photo of each variant, 'but COLOUR' for each other one: is that among the first five?"""
    found = []
    for (product, shade), photos in shop.variants.items():
        others = [one for one in shop.variants if one[0] == product and one[1] != shade]
        for wanted in others:
            if any_shot or shop.elsewhere(photos[0], wanted):
                text = f"but {wanted[1]}"
                hits = shop.ask(photos[0], 5, any_shot=any_shot, item_id=photos[0].id, text=text, **more)
                found.append(wanted in {(str(hit.product_id), color(hit)) for hit in hits})
    return found


def both_sides(shop: Shop, weights: Sequence[float]) -> Iterator[tuple[str, ...]]:
    """Ask for each product by a photo and words: is the first hit, another exposure, of the product?"""
    rng = random.Random(1)  # noqa: S311
    texts: dict[str, Callable[[Item], str | None]] = {
        "colour": color,
        "kind": lambda item: next((BY_NAME[kind].en for kind in sorted(kinds(item))), None),
        "a word of the name": lambda item: rng.choice(name_words(item) or [""]) or None,
        "that and the colour": lambda item: f"{rng.choice(name_words(item) or [''])} {color(item)}",
    }
    asked = [photos[0] for one, photos in shop.variants.items() if shop.elsewhere(photos[0], one)]
    for what, text_of in texts.items():
        queries = [(item, text) for item in asked if (text := text_of(item))]

        def first(side: Callable[[Item, str], dict[str, Any]]) -> str:
            return share(
                [
                    bool(hits) and hits[0].product_id == item.product_id
                    for item, text in queries  # noqa: B023
                    for hits in [shop.ask(item, 1, **side(item, text))]
                ]
            )

        yield (
            what,
            first(lambda item, _: {"item_id": item.id}),
            first(lambda _, text: {"text": text}),
            *(
                first(lambda item, text, w=w: {"item_id": item.id, "text": text, "text_weight": w})
                for w in weights
            ),
        )


def by_ranks(neighbors: Sequence[Neighbor], limit: int, weight: float) -> list[Neighbor]:
    """Order by reciprocal rank fusion [G. V. Cormack et al., SIGIR 2009], to compare with."""
    look = {one.id: rank for rank, one in enumerate(neighbors, 1)}
    named = sorted((one for one in neighbors if one.words), key=lambda one: -one.words)
    words = {one.id: rank for rank, one in enumerate(named, 1)}

    def score(one: Neighbor) -> float:
        return (1 - weight) / (60 + look[one.id]) + (weight / (60 + words[one.id]) if one.words else 0.0)

    return sorted(neighbors, key=lambda one: (-score(one), one.id))


def large(shop: Catalog, folder: str, products: int) -> tuple[str, ...]:
    """Return the times of searches by words in a catalogue of many products."""
    rng, numbers = random.Random(2), np.random.default_rng(2)  # noqa: S311
    items = list(shop.items())
    made_up = ["".join(rng.choices(_LETTERS, k=rng.randrange(4, 10))) for _ in range(20_000)]
    weights = [1 / rank for rank in range(1, len(made_up) + 1)]
    with Catalog.create(Path(folder) / "large", kinds=0.0) as catalog:
        queries = []
        for numbered in grouped(range(products), 1_000):
            payloads = []
            for number in numbered:
                like, own = rng.choice(items), rng.choices(made_up, weights, k=42)
                name = f"{own[0].title()} {own[1].title()} {like.name.split()[-1]}"
                attributes = {**like.attributes, "name": name, "description": " ".join(own[2:])}
                one = Item(f"{number}", "none.jpg", f"P{number}", attributes)
                payloads.append(payload_of(one, str(number), 1.0))
                if number % (products // 500) == 0:
                    queries.append(f"{own[0]} {color(like)} {like.name.split()[-1]}")
            embeddings = numbers.normal(size=(len(payloads), catalog.manifest.card.dimension))
            catalog.store.upsert(catalog.schema.points(payloads, embeddings.astype(np.float32)))
        catalog.store.optimize()
        times, work = [], []
        for text in queries + [misspelt(text, rng) for text in queries]:
            start, used = time.perf_counter(), time.process_time()
            catalog.ask(SearchRequest(text=text, k=10, by="product"))
            times.append(1e3 * (time.perf_counter() - start))
            work.append(1e3 * (time.process_time() - used))
        first = 10  # until then, words and pages are met for the first time
        found = [*np.percentile(times[first:], [50, 99]), *np.percentile(work[first:], [50, 99])]
        return f"{products:,}", str(len(times)), *(f"{ms:.1f} ms" for ms in found)


def table(title: str, columns: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def measured(catalog: Catalog, name: str, weights: Sequence[float]) -> None:
    shop = Shop(catalog)
    columns = ("words", "queries", "product first", "in the first five", "first, in the colour")
    table(f"{name}: by words alone", columns, by_words(catalog, shop.items))
    columns = ("words", "queries", "of the first ten places")
    table(f"{name}: kinds in colours", columns, iter([by_kind_and_color(catalog, shop.items)]))
    kept = tuple(f"both, {weight:g}" for weight in weights)
    ranks = tuple(f"by ranks, {weight:g}" for weight in weights)
    title = f"{name}: a photo and words, the product first by another exposure"
    table(title, ("words", "photo alone", "words alone", *kept), both_sides(shop, weights))
    with patch.object(query, "_by_both", by_ranks):
        table(title, ("words", "photo alone", "words alone", *ranks), both_sides(shop, weights))

    def recolored() -> Iterator[tuple[str, ...]]:
        for any_shot in (True, False):
            sides = [but_another_color(shop, any_shot, text_weight=weight) for weight in weights]
            with patch.object(query, "_by_both", by_ranks):
                sides += [but_another_color(shop, any_shot, text_weight=weight) for weight in weights]
            if sides[0]:
                yield "any photo" if any_shot else "another exposure", str(len(sides[0])), *map(share, sides)

    title = f"{name}: like this, but COLOUR: the style in that colour among the first five"
    table(title, ("by", "queries", *kept, *ranks), recolored())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tables", type=Path, nargs="+", metavar="SHOP_TABLE")
    parser.add_argument("--weights", type=float, nargs="+", default=[query.TEXT_WEIGHT])
    parser.add_argument("--products", type=int, default=0, help="how many a large catalogue is to have")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(given.tables):
            with Catalog.create(Path(folder) / f"{number}") as catalog:
                catalog.add(path)
                measured(catalog, path.parent.name, given.weights)
                if given.products and not number:
                    columns = ("products", "queries", "p50", "p99", "CPU p50", "CPU p99")
                    table("Search by words", columns, iter([large(catalog, folder, given.products)]))


if __name__ == "__main__":
    main()
