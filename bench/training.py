"""Whether a trained encoder carries over to a shop that it never saw: leave one shop out, as one table.

    python -m bench.training CLOTHING_DIR SHOP_TABLE... [--flat MORE...] [--without NAME...]

For each shop (a table with category, name, product_id; shot_id or view, variant_id) an encoder is trained by
`serupa.learning.training` on all other sources, less every other photo of CLOTHING_DIR and the senders of
tools/serupa-clothes/held-out.txt. Judged are the shop's own photos and the photos that were kept aside, by
plain cosine, against EfficientNet-Lite0. A run that was stopped goes on. Needs the extra `train`.

Prints Markdown: differences with a bootstrap over products, 95 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import numpy as np

from bench.shopper import sold, wanted
from serupa import Item
from serupa.encoders import Encoder, load_encoder
from serupa.evaluation import measures
from serupa.evaluation.comparison import Values, paired_differences
from serupa.garments.kinds import kinds_of
from serupa.learning.material import read_held
from serupa.learning.run import Recipe
from serupa.learning.training import START, train
from serupa.vectors import unit
from tools.fit_kinds import readable

HELD_OUT = Path(__file__).parents[1] / "tools" / "serupa-clothes" / "held-out.txt"
SELDOM = ("shoes", "hat", "bag")

Same = Callable[[Item, Item], bool]


def embeddings(encoder: Encoder, items: Sequence[Item]) -> np.ndarray:
    batches = [items[start : start + 32] for start in range(0, len(items), 32)]
    pixels = (np.stack([encoder.preprocess(item.image) for item in batch]) for batch in batches)
    return unit(np.concatenate([encoder.encode(one) for one in pixels]))


def ranked(rows: np.ndarray, items: Sequence[Item], same: Same, passed_over: Same) -> Values:
    """Precision of the first hit and average precision of each photo among the others."""
    found: dict[str, list[float]] = {"precision@1": [], "map": []}
    for row, order in enumerate(np.argsort(-(rows @ rows.T), axis=1, kind="stable")):
        asked = items[row]
        hits = [items[n] for n in order if n != row and not passed_over(asked, items[n])]
        relevant = np.array([[same(asked, hit) for hit in hits]])
        any_one = bool(relevant.any())
        found["precision@1"].append(float(relevant[0, 0]) if any_one else np.nan)
        found["map"].append(measures.average_precision(relevant, [relevant.sum()])[0] if any_one else np.nan)
    return {name: np.array(values) for name, values in found.items()}


def field(name: str) -> Callable[[Item], Hashable]:
    return lambda item: item.label(name)


def alike(name: str) -> Same:
    value = field(name)
    return lambda one, other: value(one) is not None and value(one) == value(other)


def one_kind(item: Item) -> frozenset[str]:
    return kinds_of(str(item.label("category") or ""), item.name)


def lines(
    encoder: Encoder, shop: Sequence[Item], people: Sequence[Item], others: Sequence[Item]
) -> dict[str, tuple[Values, list[Hashable]]]:
    rows, asked = embeddings(encoder, shop), embeddings(encoder, people)
    product = alike("product_id")
    products: list[Hashable] = [item.product_id for item in shop]
    shots = "shot_id" if shop[0].label("shot_id") else "view"
    found = {
        "same product": (ranked(rows, shop, product, lambda *_: False), products),
        f"same product, another {shots}": (
            ranked(rows, shop, product, lambda a, b: product(a, b) and alike(shots)(a, b)),
            products,
        ),
    }
    if shop[0].label("variant_id"):
        found["same variant"] = ranked(rows, shop, alike("variant_id"), lambda *_: False), products
    ids: list[Hashable] = [item.id for item in people]
    found["people's photos, same category"] = (
        ranked(asked, people, alike("category"), lambda *_: False),
        ids,
    )
    sells = [sold(item) for item in shop]
    first = (asked @ rows.T).argmax(axis=1)
    right = [
        float(bool(kinds & sells[hit])) if kinds & frozenset().union(*sells) else np.nan
        for kinds, hit in zip((wanted(str(item.label("category"))) for item in people), first, strict=True)
    ]
    found["people's photos asked of the shop, right kind"] = {"precision@1": np.array(right)}, ids
    seldom = [item for item in (*people, *others) if one_kind(item) & set(SELDOM)]
    found["people's shoes, hats and bags, same kind"] = (
        ranked(
            embeddings(encoder, seldom), seldom, lambda a, b: one_kind(a) == one_kind(b), lambda *_: False
        ),
        [item.id for item in seldom],
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clothing")
    parser.add_argument("shops", nargs="+")
    parser.add_argument("--flat", nargs="*", default=[])
    parser.add_argument("--without", nargs="*", help="folders of the shops to leave out; each, unless given")
    parser.add_argument("--work", type=Path, default=Path("build/bench/training"))
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    given = parser.parse_args()
    senders = read_held(HELD_OUT)["sender_id"]
    people = readable(given.clothing)[::2]
    others = [
        item for flat in given.flat for item in readable(flat) if str(item.label("sender_id")) in senders
    ]
    held = {"id": frozenset(item.id for item in people), "sender_id": senders}
    for table in given.shops:
        name = Path(table).parent.name
        if given.without and name not in given.without:
            continue
        trained = train(
            [given.clothing, *given.flat, *(shop for shop in given.shops if shop != table)],
            given.work / name,
            name=f"without-{name}",
            apart="sender_id",
            held=held,
            recipe=Recipe(steps=given.steps),
        )
        shop = readable(table)
        before = lines(load_encoder(START), shop, people, others)
        after = lines(load_encoder(trained.card), shop, people, others)
        print(f"\n## Without {name}: {trained.photos} photos, {given.steps} steps\n")
        print("| | | before | after | change | 95 % | |\n| --- | --- | --- | --- | --- | --- | --- |")
        for line, (values, clusters) in before.items():
            for gain in paired_differences(values, after[line][0], clusters=clusters):
                print(f"| {line} | {' | '.join(gain.cells())} |", flush=True)


if __name__ == "__main__":
    main()
