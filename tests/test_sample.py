"""The sample catalogue: what is drawn is what the table says, the same each time."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serupa.errors import UnavailableError, UsageError
from serupa_sample import CATEGORIES, VIEWS, write_sample
from serupa_sample.assortment import go_together, plan
from serupa_sample.fabrics import COLORS, GRAINS, PATTERNS, make_fabric
from serupa_sample.styles import STYLES

PRODUCTS = 10


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One product of each category."""
    return write_sample(tmp_path_factory.mktemp("sample"), products=PRODUCTS).parent


def test_every_row_is_a_photo_and_every_photo_a_row(sample: Path) -> None:
    rows = read_table(sample / "catalog.csv")
    names = ["image", "product_id", "name", "category", "color", "pattern", "price", "view"]
    assert list(rows[0]) == names
    assert all(row[name] for row in rows for name in names)
    files = {p.relative_to(sample).as_posix() for p in (sample / "photos").iterdir()}
    assert Counter(row["image"] for row in rows) == Counter(files)


def test_a_product_of_each_category_in_four_or_five_views(sample: Path) -> None:
    rows = read_table(sample / "catalog.csv")
    assert {row["category"] for row in rows} == set(CATEGORIES)
    views: dict[str, list[str]] = {}
    for row in rows:
        views.setdefault(row["product_id"], []).append(row["view"])
    assert len(views) == PRODUCTS
    assert all(tuple(v) in (VIEWS, VIEWS[:-1]) for v in views.values())
    assert {len(v) for v in views.values()} == {4, 5}


def test_photos_decode_are_light_and_have_a_subject(sample: Path) -> None:
    for path in sorted((sample / "photos").iterdir()):
        assert path.stat().st_size < 80_000, path.name
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (600, 750))
            pixels = np.asarray(image, dtype=np.float32)
        center, corners = pixels[200:550, 150:450], pixels[:60, :60]
        assert pixels.std() > 12, path.name
        assert np.abs(center.mean(axis=(0, 1)) - corners.mean(axis=(0, 1))).max() > 4, path.name


def test_photos_of_a_product_differ(sample: Path) -> None:
    for product in plan(0, PRODUCTS):
        small = []
        for path in sorted((sample / "photos").glob(f"{product.product_id}_*.jpg")):
            with Image.open(path) as image:
                small.append(np.asarray(image.resize((24, 30)), dtype=np.float32))
        for i, one in enumerate(small):
            for other in small[i + 1 :]:
                assert np.abs(one - other).mean() > 4, product.product_id


def test_the_other_colour_is_another_colour(sample: Path) -> None:
    rows = read_table(sample / "catalog.csv")
    own = {row["product_id"]: row["color"] for row in rows if row["view"] == "flat"}
    other = {row["product_id"]: row["color"] for row in rows if row["view"] == "colour"}
    assert other
    assert all(own[product] != color for product, color in other.items())
    assert all(row["color"] == own[row["product_id"]] for row in rows if row["view"] != "colour")


def test_the_same_seed_writes_the_same_bytes_and_fewer_products_are_the_first(
    sample: Path, tmp_path: Path
) -> None:
    write_sample(tmp_path, products=3)
    again, all_files = digests(tmp_path), digests(sample)
    photos = {name for name in again if name.startswith("photos/")}
    assert len(photos) >= 12
    assert all(again[name] == all_files[name] for name in photos)
    rows, all_rows = read_table(tmp_path / "catalog.csv"), read_table(sample / "catalog.csv")
    assert rows == all_rows[: len(rows)]


def test_writing_again_replaces_its_own_files_and_leaves_others(tmp_path: Path) -> None:
    write_sample(tmp_path, products=1)
    before = digests(tmp_path)
    (tmp_path / "photos" / "TEE-01_flat.jpg").write_bytes(b"damaged")
    (tmp_path / "photos" / "mine.jpg").write_bytes(b"mine")
    write_sample(tmp_path, products=1)
    assert digests(tmp_path) == {**before, "photos/mine.jpg": hashlib.sha256(b"mine").hexdigest()}


def test_another_seed_is_another_collection(sample: Path, tmp_path: Path) -> None:
    table = write_sample(tmp_path, seed=7, products=1)
    row = read_table(table)[0]
    assert (tmp_path / row["image"]).read_bytes() != (sample / row["image"]).read_bytes()
    names = [[p.name for p in plan(seed, 60)] for seed in (0, 7)]
    assert names[0] != names[1]


def test_progress_counts_each_photo_once(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    table = write_sample(tmp_path, products=2, progress=lambda done, total: seen.append((done, total)))
    rows = len(read_table(table))
    assert seen == [(n, rows) for n in range(1, rows + 1)]


def test_sixty_products_share_categories_colors_and_patterns_but_no_two_are_one() -> None:
    products = plan(0, 60)
    assert len({p.product_id for p in products}) == 60
    assert set(Counter(p.category for p in products).values()) == {6}
    looks = [(p.style.noun, p.cloth, p.colors[0]) for p in products]
    assert len(set(looks)) == 60
    assert {p.cloth.pattern for p in products} == set(PATTERNS)
    shared = Counter((p.category, p.colors[0]) for p in products)
    assert sum(count > 1 for count in shared.values()) >= 5
    # Shoppers look for words: none is said twice in a name.
    assert not [p.name for p in products if len(set(p.name.split())) < len(p.name.split())]
    assert all(5 < p.price < 300 for p in products)


def test_every_style_can_be_cut_from_its_cloths_and_colors() -> None:
    styles = [style for category in CATEGORIES for style in STYLES[category]]
    assert {s.mood for s in styles} == {"casual", "smart"}
    assert {color for s in styles for color in s.colors} <= set(COLORS)
    assert all(len(set(s.colors)) == len(s.colors) > 1 for s in styles)
    cloths = {cloth for s in styles for cloth in s.cloths}
    assert {c.weave for c in cloths} <= set(GRAINS)
    assert {c.pattern for c in cloths} == set(PATTERNS)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_tile_is_seamless(pattern: str) -> None:
    tile = make_fabric(
        "poplin", ["White", "Navy", "Rust"], np.random.default_rng(0), pattern=pattern, size=6.0
    ).tile
    assert tile.shape[0] == 3
    assert 0 <= tile.min() <= tile.max() <= 1
    for axis in (1, 2):
        steps = np.abs(np.diff(tile, axis=axis)).mean(axis=(0, 3 - axis))
        seam = np.abs(np.take(tile, 0, axis) - np.take(tile, -1, axis)).mean()
        assert seam <= steps.max() + 0.02


def test_related_pairs_follow_the_rule(sample: Path) -> None:
    products = {p.product_id: p for p in plan(0, PRODUCTS)}
    pairs = {(r["product_id"], r["linked_product_id"]) for r in read_table(sample / "related.csv")}
    assert pairs
    assert all((b, a) in pairs for a, b in pairs)
    for a, one in products.items():
        for b, other in products.items():
            assert ((a, b) in pairs) == (go_together(one, other) or go_together(other, one))


def test_the_rule_links_some_but_not_most_tops_and_bottoms() -> None:
    products = plan(0, 60)
    tops = [p for p in products if p.category in ("Tees", "Shirts", "Hoodies", "Blouses", "Jackets")]
    bottoms = [p for p in products if p.category in ("Trousers", "Skirts", "Shorts")]
    links = [[go_together(t, b) for b in bottoms] for t in tops]
    assert 0.1 < np.mean(links) < 0.6
    assert np.mean(np.any(links, axis=1)) > 0.9


def test_no_related_pair_leaves_an_empty_table(tmp_path: Path) -> None:
    write_sample(tmp_path, products=1)
    text = (tmp_path / "related.csv").read_text(encoding="utf-8")
    assert text == "product_id,linked_product_id\n"


@pytest.mark.parametrize("where", ["taken", "taken/inside"])
def test_a_file_in_the_way_is_named(tmp_path: Path, where: str) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UnavailableError, match="taken"):
        write_sample(tmp_path / where, products=1)
    assert (tmp_path / "taken").read_text() == "a file"


def test_a_folder_where_a_photo_should_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "photos" / "TEE-01_flat.jpg").mkdir(parents=True)
    with pytest.raises(UnavailableError):
        write_sample(tmp_path, products=2)
    assert not (tmp_path / "catalog.csv").exists()


@pytest.mark.parametrize(("seed", "products"), [(0, 0), (0, -3), (0, 901), (-1, 5)])
def test_what_cannot_be_drawn_is_refused(tmp_path: Path, seed: int, products: int) -> None:
    with pytest.raises(UsageError):
        write_sample(tmp_path / "new", seed=seed, products=products)
    assert not (tmp_path / "new").exists()
