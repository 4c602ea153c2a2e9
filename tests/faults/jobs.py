"""What children of the nursery do. Each tells what it is about to do, and when that is acknowledged."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from serupa import Catalog, Item, SerupaError
from serupa.catalog import backup as backups
from serupa.catalog.copy import copy_catalog
from serupa.catalog.query import SearchRequest
from serupa.catalog.schema import content_of
from serupa.web.uploads import Uploads
from tests.faults import shop

Tell = Callable[[Any], None]
States = dict[str, tuple[int, int]]


def look(root: str, tell: Tell, name: str = "catalog") -> None:
    """Tell what the catalogue holds, every item checked."""
    with Catalog.open(Path(root) / name) as catalog:
        tell({"holds": shop.held(Path(root), catalog), "tuned": catalog.manifest.tuning is not None})


def snapshot(root: str, tell: Tell) -> None:
    """Tell everything that a catalogue answers."""
    here = Path(root)
    with Catalog.open(shop.catalog_of(here)) as catalog:
        ids, embeddings = catalog.embeddings()
        queries = np.load(here / "embeddings.npy")[:3]
        asked = [
            SearchRequest(embedding=query, k=8, metric=metric, exact=exact)
            for query in queries
            for metric in catalog.manifest.metrics
            for exact in (False, True)
        ]
        tell(
            {
                "count": len(catalog),
                "items": {
                    item.id: [item.image, item.product_id, dict(item.attributes)] for item in catalog.items()
                },
                "embeddings": dict(zip(ids, np.round(embeddings, 4).tolist(), strict=True)),
                "found": [[round(h.distance, 4) for h in catalog.ask(one)] for one in asked],
                "words": [
                    catalog.ask(SearchRequest(text=one, k=1)).hits[0].item.id for one in sorted(ids)[:4]
                ],
                # of items that are equally near, which come first is nobody's promise
                "similar": [[round(h.distance, 4) for h in catalog.similar(i, 5)] for i in sorted(ids)[:4]],
                "reached": sorted(hit.item.id for hit in catalog.ask(replace(asked[0], k=len(ids)))),
                "facets": {n: catalog.facets(n) for n, k in catalog.manifest.fields.items() if k != "words"},
                "red": sorted(item.id for item in catalog.items({"color": "red"})),
                "dear": sorted(item.id for item in catalog.items({"price": {"gte": 500}})),
                "products": [catalog.count({"product_id": f"P{n}"}) for n in range(8)],
                "fields": dict(catalog.manifest.fields),
                "tuned": catalog.manifest.tuning is not None,
            }
        )


def fill(root: str, count: int, tell: Tell) -> None:
    """Make the catalogue and add items, as one call."""
    here = Path(root)
    with shop.create(here) as catalog:
        put(here, catalog, {f"i{n:03}": (n % shop.PHOTOS, n) for n in range(count)}, tell)


def work(root: str, seed: int, tell: Tell, rounds: int = 1_000_000) -> None:
    """Add, replace, change, remove, tune and undo at random, until killed."""
    here, rng = Path(root), random.Random(seed)  # noqa: S311
    with shop.create(here) as catalog:
        tell({"holds": shop.held(here, catalog), "tuned": catalog.manifest.tuning is not None})
        for number in range(rounds):
            held = sorted(item.id for item in catalog.items())
            _act(here, catalog, held, rng, seed + number, tell)


def put(root: Path, catalog: Catalog, states: States, tell: Tell) -> None:
    tell({"put": states})
    report = catalog.add([shop.item(root, one, state) for one, state in states.items()])
    assert not report.failures, report.failures
    tell({"done": True})


def drop(catalog: Catalog, ids: list[str], tell: Tell) -> None:
    tell({"drop": ids})
    catalog.remove(ids)
    tell({"done": True})


def tune(root: str, tell: Tell, seed: int | None = 1) -> None:
    with Catalog.open(shop.catalog_of(Path(root))) as catalog:
        tell({"tune": seed is not None})
        catalog.use_whitening(None if seed is None else shop.whitening(seed))
        tell({"done": True})


def add_some(root: str, tell: Tell) -> None:
    """Add new items, replace photos and change attributes, in one call."""
    here = Path(root)
    states = {f"i{n:03}": (n % shop.PHOTOS, 1000 + n) for n in range(4, 12)}  # other attributes
    states |= {f"i{n:03}": (63 - n, 2000 + n) for n in range(4)}  # other photos
    states |= {f"n{n:03}": (n, n) for n in range(40)}
    with Catalog.open(shop.catalog_of(here)) as catalog:
        put(here, catalog, states, tell)


def remove_some(root: str, tell: Tell) -> None:
    with Catalog.open(shop.catalog_of(Path(root))) as catalog:
        drop(catalog, [f"i{n:03}" for n in range(0, 20, 2)], tell)


def create_bare(root: str, tell: Tell) -> None:
    """Make the catalogue, then add an item of which nothing is known."""
    here = Path(root)
    with shop.create(here) as catalog:
        tell({"done": True})
        tell({"put": {"bare": content_of(shop.photo(here, 1).read_bytes())}})
        catalog.add([Item("bare", str(shop.photo(here, 1)))])
        tell({"done": True})


def open_only(root: str, tell: Tell) -> None:
    Catalog.open(shop.catalog_of(Path(root))).close()
    tell({"done": True})


def add_until_full(root: str, tell: Tell) -> None:
    """Add items one call after the other until one is refused."""
    here = Path(root)
    with shop.create(here) as catalog:
        for number in range(100_000):
            try:
                put(here, catalog, {f"f{number:05}-{n}": (n, number) for n in range(40)}, tell)
            except SerupaError as error:
                tell({"refused": str(error)})
                return


def _act(root: Path, catalog: Catalog, held: list[str], rng: random.Random, number: int, tell: Tell) -> None:
    chance = rng.random()
    if chance < 0.25 and len(held) > 20:
        drop(catalog, rng.sample(held, rng.randint(1, 12)), tell)
    elif chance < 0.4:
        tell({"tune": True})
        catalog.use_whitening(shop.whitening(number))
        tell({"done": True})
    elif chance < 0.45:
        tell({"tune": False})
        catalog.use_whitening(None)
        tell({"done": True})
    elif chance < 0.65 and held:
        known = rng.sample(held, min(len(held), rng.randint(1, 8)))
        put(root, catalog, {one: (rng.randrange(shop.PHOTOS), rng.randrange(1000)) for one in known}, tell)
    else:
        names = {f"i{rng.randrange(120):03}" for _ in range(rng.randint(1, 40))}
        put(root, catalog, {one: (rng.randrange(shop.PHOTOS), rng.randrange(1000)) for one in names}, tell)


def back_up(root: str, tell: Tell) -> None:
    target = Path(root) / "shop.backup"
    target.unlink(missing_ok=True)  # not by us: a person who tries again
    backups.backup(shop.catalog_of(Path(root)), target)
    tell({"done": True})


def bring_back(root: str, tell: Tell) -> None:
    backups.restore(Path(root) / "shop.backup", shop.catalog_of(Path(root)))
    tell({"done": True})


def copy_over(root: str, tell: Tell) -> None:
    with Catalog.open(shop.catalog_of(Path(root))) as catalog:
        report = copy_catalog(catalog, Path(root) / "copied")
    tell({"copied": report.copied, "items": report.items})


def verify(root: str, tell: Tell) -> None:
    backups.verify(Path(root) / "shop.backup")
    tell({"done": True})


def add_folder(root: str, folder: str, tell: Tell) -> None:
    with Catalog.open(shop.catalog_of(Path(root))) as catalog:
        report = catalog.add(folder)
        tell({"added": report.added, "failed": [failure.reason for failure in report.failures]})


def count(root: str, tell: Tell) -> None:
    with Catalog.open(shop.catalog_of(Path(root))) as catalog:
        tell({"items": len(catalog)})


def add_and_die(root: str, tell: Tell) -> None:
    """Add items as a server does, one call each, and be killed at rest."""
    here = Path(root)
    with Catalog.open(shop.catalog_of(here)) as catalog:
        for number in range(6):
            put(here, catalog, {f"d{number:03}": (40 + number, 700 + number)}, tell)
        os.kill(os.getpid(), signal.SIGKILL)


def keep_photos(root: str, tell: Tell) -> None:
    """Add items whose photos the catalogue keeps, replace one, and remove one, as a server does."""
    here = Path(root)
    with shop.create(here) as catalog:
        uploads = Uploads(catalog)
        for number in (40, 41, 42, 40):
            photo, one = shop.photo(here, number).read_bytes(), f"u{number % 2}"
            tell({"put": {one: content_of(photo)}})
            uploads.add(one, photo, None, {})
            tell({"done": True})
        tell({"drop": ["u1"]})
        uploads.remove("u1")
        tell({"done": True})


def look_at_photos(root: str, tell: Tell) -> None:
    """Tell the content of each item's photo; the photos that the catalogue keeps must be that."""
    here = Path(root)
    with Catalog.open(shop.catalog_of(here)) as catalog:
        holds = {}
        for point in (point for batch in catalog.store.scroll() for point in batch):
            image, content = Path(point.payload["image"]), point.payload["content"]
            holds[point.id] = content
            if image.parent.parent.name == "catalog":
                kept = shop.catalog_of(here) / "photos" / image.name
                assert content_of(kept.read_bytes()) == content, kept
        tell({"holds": holds, "tuned": catalog.manifest.tuning is not None})


def change_much(root: str, tell: Tell) -> None:
    """Add (with a field that is new), replace, remove, tune and undo that, one call each."""
    here = Path(root)
    with Catalog.open(shop.catalog_of(here)) as catalog:
        put(here, catalog, {f"n{n:03}": (n, n) for n in range(3)}, tell)
        put(here, catalog, {"i001": (50, 500), "n004": (51, 501)}, tell)
        put(here, catalog, {"i001": (50, 502)}, tell)  # another price alone
        drop(catalog, ["i002", "n000"], tell)
        tell({"tune": True})
        catalog.use_whitening(shop.whitening(1))
        tell({"done": True})
        put(here, catalog, {"t000": (52, 503)}, tell)
        tell({"tune": False})
        catalog.use_whitening(None)
        tell({"done": True})
