"""What answers and the log say of files and addresses that only the shop may know."""

from __future__ import annotations

from pathlib import Path

import pytest

from serupa import Catalog, Item
from serupa.errors import InvalidInputError, NotFoundError, UnavailableError
from serupa.web.problems import last_name, log_text, public_text
from serupa.web.settings import key_sha256
from tests.web.test_api_limits import running

KEY = "a-key-of-sixteen-letters"
SIGNED = "http://user:secret@127.0.0.1:1/private/a.jpg?X-Amz-Signature=abcdef"


def test_changes_tell_what_is_wrong_and_not_where(tmp_path: Path, items: list[Item]) -> None:
    with Catalog.create(tmp_path / "catalog") as catalog:
        catalog.add(items[:2])
        with running(catalog, api_key_sha256=key_sha256(KEY)) as (client, _):
            changes = {"items": [{"id": "a", "image": SIGNED}]}
            answer = client.post("/api/v1/items:sync", json=changes, headers={"X-API-Key": KEY})
    assert answer.json()["failed"] == [{"id": "a", "reason": "cannot be had now"}]
    assert "secret" not in answer.text and "Signature" not in answer.text


@pytest.mark.parametrize("source", ["/srv/shop/feed.csv", "https://user:secret@shop/x/feed.csv?token=1#a"])
def test_of_a_source_the_last_name_is_told(source: str) -> None:
    assert last_name(source) == "feed.csv"


def test_the_log_names_an_address_without_what_lets_in() -> None:
    error = NotFoundError(SIGNED, "no such file", "see")
    assert log_text(error) == "http://127.0.0.1:1/private/a.jpg: no such file; see"
    assert log_text(InvalidInputError(Path("/a/b"), "is no photo")) == "/a/b: is no photo"


def test_answers_name_no_address() -> None:
    assert public_text(InvalidInputError(SIGNED, "is no photo")) == "is no photo"
    assert public_text(UnavailableError(Path("/a/b"), "cannot be read")) == "cannot be read"
    assert public_text(NotFoundError("item-7", "no such item")) == "item-7: no such item"
