"""How keys are compared: by their hashes, in a time that does not depend on how much of them is right."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from serupa import Catalog, Item
from serupa.web.app import create_app
from serupa.web.settings import Settings, key_sha256

KEY = "a-write-key-of-24-letters"


def test_keys_are_compared_by_hash_in_constant_time(
    tmp_path: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []
    compare = hmac.compare_digest

    def recorded(a: str, b: str) -> bool:
        compared.append((a, b))
        return compare(a, b)

    monkeypatch.setattr("serupa.web.security.hmac.compare_digest", recorded)
    with Catalog.create(tmp_path / "c") as catalog:
        catalog.add(items[:2])
        app = create_app(
            catalog, Settings(api_key_sha256=key_sha256(KEY), read_key_sha256=key_sha256(KEY[::-1]))
        )
        with TestClient(app) as client:
            for key in ("", KEY[:-1], KEY + "x", "\x00", "ä", KEY):
                compared.clear()
                answer = client.get("/api/v1/info", headers={"X-API-Key": key.encode()})
                assert answer.status_code == (200 if key == KEY else 401)
                given = hashlib.sha256(key.encode("latin-1" if key == "ä" else "utf-8")).hexdigest()
                assert len(compared) == 2
                assert {len(one) for pair in compared for one in pair} == {64}
                if key != "ä":
                    assert {a for a, _ in compared} == {given}
