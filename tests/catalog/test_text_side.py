"""Words beside photos where the encoder understands them: a tiny CLIP, as the hub would give it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from serupa import Catalog
from serupa.vectors import unit
from tests.encoders.hub import repository, serving
from tests.reference.make_hub import HERE

FETCH = "import sys; from serupa.encoders import fetch; fetch(sys.argv[1])"
SAID = "qwxyz"  # no item has such a word, so the encoder alone decides


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Iterator[Catalog]:
    with serving({"tiny/clip": repository(HERE / "clip")}) as hub:
        hub.run(FETCH, "hf:tiny/clip")
    with Catalog.create(tmp_path_factory.mktemp("shop") / "c", "hf:tiny/clip") as made:
        made.add(photos)
        yield made


def by_likeness(catalog: Catalog, query: NDArray[np.float32]) -> list[str]:
    ids, embeddings = catalog.embeddings()
    return [ids[number] for number in np.argsort(-(unit(embeddings) @ query))[:5]]


def test_words_find_photos_in_the_space_that_they_share(catalog: Catalog) -> None:
    (said,) = unit(catalog.encoder.encode_texts([SAID]))
    found = catalog.search(text=SAID, k=5)
    assert [hit.item.id for hit in found.hits] == by_likeness(catalog, said)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_words_move_a_photo_and_an_item_by_their_weight(
    catalog: Catalog, photos: Path, weight: float
) -> None:
    (said,) = unit(catalog.encoder.encode_texts([SAID]))
    (looks,) = unit(catalog.encoder.encode_photo(photos / "hats" / "01.png")[None])
    wanted = by_likeness(catalog, (1 - weight) * looks + weight * said)
    found = catalog.search(photos / "hats" / "01.png", text=SAID, text_weight=weight, k=5)
    assert [hit.item.id for hit in found.hits] == wanted
    similar = catalog.similar("hats/01.png", text=SAID, text_weight=weight, k=5)
    assert [hit.item.id for hit in similar.hits][:4] == [one for one in wanted if one != "hats/01.png"][:4]
