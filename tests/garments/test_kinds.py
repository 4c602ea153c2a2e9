"""The vocabulary of kinds: shops' categories, in English and Indonesian, are recognised."""

from __future__ import annotations

import pytest

from serupa.garments.kinds import BY_NAME, KINDS, NAMES, judged_as, kinds_named, kinds_of


@pytest.mark.parametrize(
    ("category", "kinds"),
    [
        ("Tees", {"t-shirt"}),
        ("T-Shirts", {"t-shirt"}),
        ("Hoodies & Sweatshirts", {"hoodie"}),
        ("Bottoms/Pants & Shorts", {"trousers", "shorts"}),
        ("Tops/Blouses & Shirts", {"blouse", "shirt"}),
        ("Accessories/Scarves", {"scarf"}),
        ("Apparel & Accessories > Clothing > Outerwear > Coats & Jackets", {"coat", "jacket"}),
        ("T-shirt/top", {"t-shirt"}),
        ("Ankle boot", {"shoes"}),
        ("Shirt dresses", {"dress"}),
        ("Dress shirts", {"shirt"}),
        ("Swim shorts", {"swimwear"}),
        ("Women's Tank Tops", {"tank"}),
        ("Kaos kaki", {"socks"}),
        ("Kaos", {"t-shirt"}),
        ("Celana pendek", {"shorts"}),
        ("Celana jeans pria", {"jeans"}),
        ("Celana dalam", {"underwear"}),
        ("Pakaian > Kemeja Batik", {"shirt"}),
        ("Jas hujan", {"coat"}),
        ("Rok & gaun", {"skirt", "dress"}),
        ("Sepatu dan sandal", {"shoes"}),
        ("Blåzer", {"blazer"}),
        ("Clothing", set()),
        ("Sunglasses", set()),
        ("", set()),
    ],
)
def test_categories(category: str, kinds: set[str]) -> None:
    assert kinds_named(category) == kinds


def test_a_group_is_narrowed_down_by_the_levels_above_and_by_the_name() -> None:
    assert {"t-shirt", "blouse", "sweater"} <= kinds_named("Women > Tops")
    assert "trousers" not in kinds_named("Women > Tops")
    assert kinds_of("Bottoms/Pants & Shorts", "Portia Shorts") == {"shorts"}
    assert kinds_of("Bottoms/Pants & Shorts", "Portia") == {"shorts", "trousers"}
    assert kinds_of("Shorts", "Gym pant") == {"shorts"}


def test_every_kind_is_found_by_each_of_its_words_and_their_plurals() -> None:
    for kind in KINDS:
        for word in (*kind.words_en, *kind.words_id):
            assert kinds_named(word), word
        assert kind.name in kinds_named(kind.words_en[0])
        plural = kind.words_en[0].upper() + ("ES" if kind.name == "dress" else "S")
        assert kinds_named(plural) == kinds_named(kind.words_en[0])


def test_no_word_names_two_kinds() -> None:
    words = [(word, kind.name) for kind in KINDS for word in {*kind.words_en, *kind.words_id}]
    taken: dict[str, str] = {}
    for word, name in words:
        assert taken.setdefault(word, name) == name, word


def test_what_was_not_learned_is_judged_as_what_looks_like_it() -> None:
    assert judged_as("jeans", ("trousers", "shorts")) == "trousers"
    assert judged_as("jeans", ("jeans", "trousers")) == "jeans"
    assert judged_as("bag", ("trousers", "shorts")) is None
    assert all(kind.like is None or kind.like in BY_NAME for kind in KINDS)
    assert len(set(NAMES)) == len(NAMES)
