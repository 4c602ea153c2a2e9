"""How long it takes to count what there is to choose from: python -m bench.facets [PRODUCTS].

Three photos a product, 300 brands, ten fields; 100,000 products unless given. Prints the best of five, in
milliseconds, and how long it took to read the items.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from serupa.catalog.counts import By, Counts
from serupa.items import Item

FIELDS = {"name": "text", "price": "number"} | dict.fromkeys(
    ("brand", "category", "color", "gender", "material", "season", "style", "size"), "text"
)
FILTERS: tuple[list[str], ...] = (
    [],
    ["brand=Brand 7|Brand 9"],
    ["category=C3", "price=10..50", "color=col1"],
)


def shop(products: int) -> Any:
    """Stand in for a catalogue: its fields and its items are all that is read."""
    drawn = random.Random(0)  # noqa: S311

    def items(where: object = None) -> Iterator[Item]:
        for product in range(products):
            shared = {
                "brand": f"Brand {drawn.randrange(300)}", "category": f"C{drawn.randrange(40)}",
                "price": 100 * drawn.random(), "name": f"name {product}", "gender": drawn.choice("mf"),
                "material": [drawn.choice("abcdef"), drawn.choice("ghij")], "season": drawn.choice("sw"),
                "style": f"s{drawn.randrange(30)}",
            }  # fmt: skip
            for photo in range(3):
                own = {"color": f"col{drawn.randrange(20)}", "size": drawn.choice(["S", "M", "L", "XL"])}
                yield Item(f"{product}-{photo}", f"{product}-{photo}.jpg", f"P{product}", shared | own)

    return SimpleNamespace(manifest=SimpleNamespace(fields=FIELDS), items=items)


def best(counts: Counts, where: list[str], by: By) -> float:
    times = []
    for _ in range(5):
        started = time.perf_counter()
        counts.facets(where, by=by, limit=401)
        times.append(time.perf_counter() - started)
    return 1e3 * min(times)


def main() -> None:
    products = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    started = time.perf_counter()
    counts = Counts.of(shop(products))
    print(f"{len(counts):,} items, made and read in {time.perf_counter() - started:.1f} s")
    for where in FILTERS:
        told = [f"{by}s {best(counts, where, by):.0f} ms" for by in ("item", "product")]  # type: ignore[arg-type]
        print(", ".join(told), "where", ", ".join(where) or "nothing is chosen")


if __name__ == "__main__":
    main()
