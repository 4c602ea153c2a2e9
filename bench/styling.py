"""What recommending and styling are worth, on real photos and on a drawn catalogue that follows a rule.

    python bench/styling.py LUMA_DIR CLOTHING_DIR [--products 300]

LUMA_DIR has catalog.csv and related.csv of a shop, with several photos a product; CLOTHING_DIR has one folder
of photos a category. Prints Markdown. Every figure has a 95 % interval: Wilson's for shares; for areas under
the ROC curve, the range that 95 % of the halvings of the products fall in.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from serupa import Catalog, Example
from serupa.catalog.query import SearchRequest
from serupa.evaluation.guessing import accuracies, measure_guesses
from serupa.evaluation.intervals import wilson_interval
from serupa.garments.colors import basic_name, colors_of
from serupa.garments.garments import classifier_of, learn_label
from serupa.garments.products import garments_of, read_pairs
from serupa.styling.compatibility import learn_compatibility
from serupa.styling.ownership import learn_ownership
from serupa_sample import write_sample

TRIPLES = 300
# What the clothing folders call what the shop sells; the shop's other words have no folder of their own.
TRANSFER = {"Tees": "t-shirt", "Pants": "pants", "Shorts": "shorts", "Jackets": "outwear"}


def share(right: int, all_: int) -> str:
    low, high = wilson_interval(right / all_, all_)
    return f"{right / all_:.3f} ({low:.3f} to {high:.3f}), {right} of {all_}"


def recommending(shop: Catalog) -> None:
    items = list(shop.items())
    products = Counter(item.product_id for item in items)
    asked = [item for item in items if products[item.product_id] > 1]
    _, embeddings = shop.embeddings([item.id for item in asked])
    searched = recommended = same = 0
    for item, embedding in zip(asked, embeddings, strict=True):
        others = {"id": {"not": [item.id]}}
        one = shop.ask(SearchRequest(embedding=embedding, k=9, by="product", where=others))
        two = shop.recommend([Example(embedding=embedding)], k=9, where=others)
        searched += one[0].item.product_id == item.product_id
        recommended += two[0].item.product_id == item.product_id
        same += [hit.item.id for hit in one] == [hit.item.id for hit in two]
    print(f"- the product of a photo comes first, by search: {share(searched, len(asked))}")
    print(f"- by recommend from that photo: {share(recommended, len(asked))}")
    print(f"- the same nine in the same order: {share(same, len(asked))}")
    rng = np.random.default_rng(0)
    by_category: dict[str, list[str]] = {}
    for item in items:
        by_category.setdefault(str(item.attributes["category"]), []).append(item.id)
    for diversity in (0.0, 0.5):
        held = 0
        for _ in range(TRIPLES):
            wanted = {str(name) for name in rng.choice(sorted(by_category), 3, replace=False)}
            likes = [str(rng.choice(by_category[name])) for name in sorted(wanted)]
            found = shop.recommend(likes, k=9, diversity=diversity)
            held += wanted <= {str(hit.item.attributes["category"]) for hit in found}
        print(f"- likes of 3 categories, all 3 in the first 9, diversity {diversity}: {share(held, TRIPLES)}")


def categories(shop: Catalog, clothing: Catalog) -> None:
    for one in measure_guesses(clothing, "category").accuracies:
        print(f"- clothing, each judged by all others, the {one.coverage:.0%} most confident: {one}")
    classifier = classifier_of(clothing, "category")
    assert classifier is not None
    items = list(clothing.items())
    embeddings = clothing.embeddings([item.id for item in items])[1]
    values = [str(item.attributes["category"]) for item in items]
    fold = np.random.default_rng(0).permutation(len(items)) % 10
    right, lead, sure = np.zeros(len(items), bool), np.zeros(len(items)), np.zeros(len(items), bool)
    for part in range(10):
        known = np.flatnonzero(fold != part)
        fitted = learn_label(embeddings[known], [values[n] for n in known])
        assert fitted is not None
        for n in np.flatnonzero(fold == part):
            guess = fitted.guess(embeddings[n], unsure=0.0)
            right[n], lead[n] = guess.value == values[n], guess.confidence
            sure[n] = guess.confidence >= 0.9
    for one in accuracies(right, lead):
        print(f"- clothing, in ten folds, the {one.coverage:.0%} most confident: {one}")
    print(f"- of those it is 90 % sure of: {share(int(right[sure].sum()), int(sure.sum()))}")
    hits = total = known_hits = known_total = 0
    for item in shop.items():
        expected = TRANSFER.get(str(item.attributes["category"]))
        if expected is None:
            continue
        guess = classifier.guess(shop.embeddings([item.id])[1][0])
        total += 1
        hits += max(guess.votes, key=lambda name: guess.votes[name]) == expected
        known_total += guess.value is not None
        known_hits += guess.value == expected
    print(f"- a shop's photos judged by the clothing photos, everything: {share(hits, total)}")
    print(f"- where it is not unknown: {share(known_hits, known_total)}")


def colors(shop: Catalog) -> None:
    found: dict[str, list[bool]] = {}
    for item in shop.items():
        if item.attributes.get("pattern") not in ("Solid", ["Solid"]):
            continue
        named = basic_name(colors_of(item.image)[0].name)
        expected = basic_name(str(item.attributes["color"]))
        found.setdefault(str(item.attributes["view"]), []).append(named == expected)
    for view, right in sorted(found.items()):
        print(f"- colour of plain garments, {view} photos: {share(sum(right), len(right))}")
    everything = [one for right in found.values() for one in right]
    print(f"- all photos of plain garments: {share(sum(everything), len(everything))}")


def ownership(shop: Catalog) -> None:
    items = list(shop.items())
    _, embeddings = shop.embeddings([item.id for item in items])
    products = [item.product_id for item in items]
    said = right = owned = 0
    precisions = []
    for seed in range(10):
        model = learn_ownership(embeddings, products, seed=10 * seed)
        if model is None or model.check is None:
            continue
        check = model.check
        said, owned = said + check.said, owned + check.owned
        right += round((check.precision or 0) * check.said)
        precisions.append(check.precision or 0.0)
    spread = f"{min(precisions):.3f} to {max(precisions):.3f} over {len(precisions)} seeds"
    print(f"- said to be owned, and is: {right / said:.3f} ({spread})")
    print(f"- of what is owned, noticed: {right / owned:.3f}")


def pairs(name: str, shop: Catalog, table: Path) -> None:
    garments, products = garments_of(shop)
    place = {product: n for n, product in enumerate(products)}
    known = {
        (min(place[a], place[b]), max(place[a], place[b]))
        for a, b in read_pairs(table)
        if a in place and b in place and a != b
    }
    learned = learn_compatibility(garments, sorted(known))
    if learned is None:
        print(f"| {name} | {len(products)} | {len(known)} | too few pairs | |")
        return
    evidence = learned.evidence
    for by, area in (
        ("learned", evidence.learned),
        ("colour", evidence.color),
        ("likeness", evidence.visual),
    ):
        interval = f"{area.mean:.3f} ({area.low:.3f} to {area.high:.3f})"
        print(f"| {name} | {evidence.products} | {evidence.pairs} | {by} | {interval} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("luma", type=Path)
    parser.add_argument("clothing", type=Path)
    parser.add_argument("--products", type=int, default=300, help="of the drawn catalogue")
    parser.add_argument("--work", type=Path, help="keep the catalogues here, and use those that are there")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        work = asked.work or Path(made)
        sample = work / f"sample-{asked.products}"
        if not (sample / "catalog.csv").exists():
            write_sample(sample, products=asked.products)
        sources = {
            "luma": asked.luma / "catalog.csv",
            "clothing": asked.clothing,
            "drawn": sample / "catalog.csv",
        }
        shops = {}
        for name, source in sources.items():
            shops[name] = Catalog.create(work / f"{name}-catalog", exist_ok=True)
            shops[name].add(source)
        print("Recommend (luma):")
        recommending(shops["luma"])
        print("\nCategory by neighbours:")
        categories(shops["luma"], shops["clothing"])
        print("\nColours (luma):")
        colors(shops["luma"])
        print("\nOwned already? (luma):")
        ownership(shops["luma"])
        print("\nWhat goes with what, area under the ROC curve, chance 0.5:\n")
        print("| pairs of | products | pairs | scored by | area |\n| --- | --- | --- | --- | --- |")
        pairs("luma", shops["luma"], asked.luma / "related.csv")
        pairs("drawn, by a rule", shops["drawn"], sample / "related.csv")
        for shop in shops.values():
            shop.close()


if __name__ == "__main__":
    main()
