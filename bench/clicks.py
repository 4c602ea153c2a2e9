"""Do clicks help a search? Shoppers with a known taste are simulated on catalogues, and tuning is asked.

python bench/clicks.py CATALOG...
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from serupa import Catalog, Item
from serupa.catalog.query import read_all
from serupa.events import Click, Search, followed_together
from serupa.learning.tuning import CLICKS, CLICKS_WEIGHT, FEWEST_PRODUCTS, learn

SEARCHES = 1_500
SHOWN = 12
Choice = Callable[[Item, Sequence[Item], np.random.Generator], Sequence[Item]]


def in_order(_: Item, shown: Sequence[Item], rng: np.random.Generator) -> Sequence[Item]:
    """Follow what stands on top, whatever it is."""
    return [shown[min(len(shown), int(rng.geometric(0.35))) - 1] for _ in range(2)]


def at_random(_: Item, shown: Sequence[Item], rng: np.random.Generator) -> Sequence[Item]:
    """Follow anything."""
    return [shown[place] for place in rng.integers(len(shown), size=2)]


def same_color(asked: Item, shown: Sequence[Item], _: np.random.Generator) -> Sequence[Item]:
    """Follow the first two that have the colour of what was asked."""
    return [one for one in shown if one.label("color") == asked.label("color")][:2]


SHOPPERS: dict[str, Choice] = {"in order": in_order, "at random": at_random, "same colour": same_color}


def events(items: Sequence[Item], near: dict[str, list[Item]], choose: Choice) -> Iterator[Search | Click]:
    """Yield a log of searches with random items, and of what a shopper follows."""
    rng = np.random.default_rng(0)
    for number in range(SEARCHES):
        asked = items[rng.integers(len(items))]
        shown = near[asked.id]
        yield Search(id=str(number), by="item", item=asked.id, shown=tuple(one.id for one in shown))
        for one in choose(asked, shown, rng):
            yield Click(search=str(number), item=one.id)


def main() -> None:
    """Print what becomes of each shopper's clicks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("catalogs", nargs="+")
    for path in parser.parse_args().catalogs:
        with Catalog.open(path) as catalog:
            items, embeddings = read_all(catalog)
            found = {item.id: catalog.similar(item.id, SHOWN, by="product") for item in items}
            near = {item_id: [hit.item for hit in hits] for item_id, hits in found.items()}
        products = [item.product_id for item in items]
        for name, choose in SHOPPERS.items():
            groups = followed_together(events(items, near, choose))
            print(f"{path}, {name}: {len(groups)} groups")
            if len(groups) < FEWEST_PRODUCTS:
                continue
            group = {item_id: number for number, ids in enumerate(groups) for item_id in ids}
            tuning = learn(
                embeddings,
                {"product_id": products, CLICKS: [group.get(item.id) for item in items]},
                weights={"product_id": 1.0, CLICKS: CLICKS_WEIGHT},
                rival={"product_id": 1.0},
                products=products,
            )
            print(
                f"  {'used' if tuning.clicks_help else 'not used'}: what is followed together, then products"
            )
            for label in (CLICKS, "product_id"):
                print(f"  {tuning.over[label][0]}")


if __name__ == "__main__":
    main()
