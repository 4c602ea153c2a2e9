"""A shop small enough to be broken hundreds of times: a one-convolution encoder and tiny photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from serupa import Catalog, Item, load_encoder
from serupa.catalog.query import SearchRequest
from serupa.learning.whitening import Whitening
from tests.encoders.conftest import CARD, DIMENSION, SIDE, tiny_model

PHOTOS = 64
METRICS = ("cosine", "euclidean")


def write_shop(root: Path) -> None:
    """Write the encoder's card, the photos, and what each photo's embedding must be."""
    root.mkdir(parents=True, exist_ok=True)
    onnx.save(tiny_model(), root / "model.onnx")
    (root / "tiny.toml").write_text(CARD.replace("LAYOUT", "NCHW"))
    (root / "photos").mkdir(exist_ok=True)
    (root / "photos.txt").write_text(str(root / "photos"))  # a copy of the shop shows the same photos
    rng = np.random.default_rng(11)
    for number in range(PHOTOS):
        coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        picture.save(photo(root, number))
    encoder = load_encoder(str(root / "tiny.toml"))
    pixels = np.stack([encoder.preprocess(photo(root, number)) for number in range(PHOTOS)])
    np.save(root / "embeddings.npy", encoder.encode(pixels))


def photo(root: Path, number: int) -> Path:
    return Path((root / "photos.txt").read_text()) / f"{number:02}.png"


def catalog_of(root: Path) -> Path:
    return root / "catalog"


def create(root: Path) -> Catalog:
    return Catalog.create(catalog_of(root), str(root / "tiny.toml"), metrics=METRICS, exist_ok=True)


def item(root: Path, item_id: str, state: tuple[int, int]) -> Item:
    """Return an item in a state: the number of its photo, and its price."""
    number, price = state
    color = ("red", "blue")[price % 2]
    attributes = {"price": float(price), "name": f"{item_id} for {price}", "color": color}
    return Item(item_id, str(photo(root, number)), f"P{number % 8}", attributes)


def whitening(seed: int) -> Whitening:
    rng = np.random.default_rng(seed)
    return Whitening(
        rng.normal(size=DIMENSION).astype(np.float32), rng.normal(size=(3, DIMENSION)).astype(np.float32)
    )


def held(root: Path, catalog: Catalog) -> dict[str, tuple[int, int]]:
    """Return the state of every item, having checked each of them to the last value.

    Raises
    ------
    AssertionError
        If an item is not whole, or the catalogue contradicts itself.
    """
    expected = np.load(root / "embeddings.npy")
    states: dict[str, tuple[int, int]] = {}
    ids, embeddings = catalog.embeddings()
    by_id = dict(zip(ids, embeddings, strict=True))
    for one in catalog.items():
        state = int(Path(one.image).stem), int(one.attributes["price"])  # type: ignore[call-overload]
        assert one.id not in states, f"{one.id} is there twice"
        assert one == item(root, one.id, state), f"{one.id} is half of one state and half of another: {one}"
        np.testing.assert_allclose(by_id[one.id], expected[state[0]], rtol=1e-3, atol=1e-4)
        states[one.id] = state
    assert sorted(ids) == sorted(states), "embeddings and items are not of the same ids"
    assert len(catalog) == len(states), f"count says {len(catalog)}, there are {len(states)}"
    searched = catalog.schema.map.of_queries(embeddings, "cosine") if ids else embeddings
    for metric in catalog.manifest.metrics:
        stored = catalog.store.get(ids, vectors=[metric])
        for row, one_id in enumerate(ids):
            vector = searched[row] / np.linalg.norm(searched[row]) if metric == "cosine" else searched[row]
            np.testing.assert_allclose(stored[one_id].vectors[metric], vector, rtol=1e-3, atol=1e-3)
    for color in ("red", "blue"):
        wanted = {one for one, state in states.items() if state[1] % 2 == ("red", "blue").index(color)}
        if "color" in catalog.manifest.fields:
            assert {one.id for one in catalog.items({"color": color})} == wanted, f"filter color={color}"
    if ids:
        found = catalog.ask(SearchRequest(embedding=by_id[ids[0]], k=len(ids), exact=True))
        assert sorted(hit.item.id for hit in found) == sorted(ids), "a search does not find every item"
    return states
