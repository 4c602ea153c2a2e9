"""A write that is refused leaves nothing behind, and never breaks the catalogue for the writes after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serupa import Catalog, Item
from serupa.catalog.schema import MAX_FIELDS
from serupa.errors import InvalidInputError, UnavailableError
from serupa.storage.local import guard as fence
from serupa.web.uploads import Uploads
from tests.faults import shop


def given(root: Path, attributes: dict[str, Any], item_id: str = "new") -> Item:
    return Item(item_id, str(shop.photo(root, 50)), None, attributes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size\\width", "small"),
        ('size"', "small"),
        ("", "small"),
        ("two\nlines", "small"),
        ("n" * 101, "small"),
        ("half a pair \ud800", "small"),
        ("content", "small"),
        ("size", "half a pair \ud800"),
        ("size", ["half a pair \ud800"]),
        ("size", [1, 2]),
        ("size", None),
        ("size", {"a": 1}),
        ("size", 2**63),
        ("size", float("nan")),
    ],
)
def test_what_cannot_be_kept_is_refused_before_anything_is_written(
    root: Path, name: str, value: object
) -> None:
    settings = shop.catalog_of(root) / "catalog.json"
    before = settings.read_bytes()
    with Catalog.open(shop.catalog_of(root)) as catalog:
        report = catalog.add([given(root, {name: value}), given(root, {"color": "red"}, "other")])
        assert [failure.id for failure in report.failures] == ["new"]
        assert report.failures[0].reason.startswith(str(shop.photo(root, 50)))
        assert report.added == 1
        assert "new" not in catalog
    assert settings.read_bytes() == before


def test_fields_are_bounded_and_other_writes_go_on(root: Path) -> None:
    with Catalog.open(shop.catalog_of(root)) as catalog:
        fields = len(catalog.manifest.fields)
        many = {f"f{n}": "x" for n in range(MAX_FIELDS)}
        assert catalog.add([given(root, many)]).failures
        assert len(catalog.manifest.fields) == fields
        # each is few enough, but not both: they are looked at before either is written
        halves = [{f"{half}{n}": "long " * 30 for n in range(MAX_FIELDS // 2)} for half in "ab"]
        report = catalog.add([given(root, half, f"half {n}") for n, half in enumerate(halves)])
        assert (report.added, [failure.id for failure in report.failures]) == (1, ["half 1"])
        assert catalog.add([given(root, {"color": "red"}, "other")]).added == 1


def test_a_photo_of_an_item_that_is_refused_is_not_kept(root: Path) -> None:
    photo = shop.photo(root, 50).read_bytes()
    with Catalog.open(shop.catalog_of(root)) as catalog:
        with pytest.raises(InvalidInputError):
            Uploads(catalog).add("new", photo, None, {f"f{n}": "x" for n in range(MAX_FIELDS)})
        assert not (shop.catalog_of(root) / "photos").exists()


def test_a_photo_that_finds_no_room_is_not_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = fence.WRITING_BYTES - 1

    settings = shop.catalog_of(root) / "catalog.json"
    before = settings.read_bytes()
    with Catalog.open(shop.catalog_of(root)) as catalog:
        uploads = Uploads(catalog)
        monkeypatch.setattr("serupa.storage.local.guard.shutil.disk_usage", lambda _: Usage)
        with pytest.raises(UnavailableError) as told:
            uploads.add("new", shop.photo(root, 50).read_bytes(), None, {"season": "summer"})
        assert told.value.http_status == 503
        assert "new" not in catalog
        assert not list((shop.catalog_of(root) / "photos").iterdir())
        assert settings.read_bytes() == before


def test_a_field_is_known_only_when_it_is_written_down(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with Catalog.open(shop.catalog_of(root)) as catalog:
        with monkeypatch.context() as patched:
            patched.setattr("serupa.storage.local.backend.write_atomic", fails)
            with pytest.raises(UnavailableError):
                catalog.add([given(root, {"season": "summer"})])
            assert "season" not in catalog.manifest.fields
        assert catalog.add([given(root, {"season": "summer"})]).added == 1
    with Catalog.open(shop.catalog_of(root)) as catalog:
        assert [item.id for item in catalog.items({"season": "summer"})] == ["new"]


def test_an_index_that_is_missing_is_made_on_opening(root: Path) -> None:
    """As after a kill between a field's being noted and its index: no count may depend on luck."""
    with Catalog.open(shop.catalog_of(root)) as catalog:
        catalog._add_fields({"season": "text", "weight": "number"})
    with Catalog.open(shop.catalog_of(root)) as catalog:
        assert catalog.facets("season") is None
        assert catalog.facets("weight") is None
        assert catalog.facets("color")
