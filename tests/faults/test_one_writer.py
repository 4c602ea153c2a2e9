"""One writer at a time, and readers beside it that never see half of what it writes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from serupa import Catalog, Item
from serupa.catalog.query import SearchRequest
from serupa.errors import ConflictError
from tests.faults import shop


def test_the_second_process_is_told_who_and_what_to_do(root: Path) -> None:
    command = [sys.executable, "-m", "serupa", "info", "-c", str(shop.catalog_of(root))]
    with Catalog.open(shop.catalog_of(root)):
        second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert second.returncode == ConflictError.exit_status
        (line,) = second.stderr.splitlines()
        assert f"(process {os.getpid()} on " in line
        assert "if that is a server, ask it over HTTP, else wait for its end: --wait SECONDS" in line
        waiting = subprocess.Popen([*command, "--wait", "60"], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(2)
    out, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert "24 photos" in out


def test_the_engine_lets_no_reader_share(root: Path) -> None:
    """Why readers go through the server: the engine (Qdrant Edge 0.9) opens a store once."""
    import qdrant_edge

    with Catalog.open(shop.catalog_of(root)), pytest.raises(Exception, match="WouldBlock"):
        qdrant_edge.EdgeShard.load(str(shop.catalog_of(root) / "points"))


def test_a_lock_that_somebody_left_behind_holds_nobody_up(root: Path) -> None:
    (shop.catalog_of(root) / "holder.json").write_text("{not json")
    (shop.catalog_of(root) / "lock").write_text("99999")
    with Catalog.open(shop.catalog_of(root)) as catalog:
        assert len(catalog) == 24
        with pytest.raises(ConflictError):
            Catalog.open(shop.catalog_of(root))


@pytest.mark.slow
def test_searches_never_show_half_an_item(root: Path) -> None:
    """While items are added, replaced and removed, every hit is one that was there at some moment, whole."""
    names = [f"x{number}" for number in range(8)]
    known: dict[str, list[Item]] = {name: [] for name in names}
    wrong: list[Item] = []
    looks = [0, 0]
    ended = threading.Event()

    def write(number: int) -> None:
        one = shop.item(root, names[number % 8], ((number * 7) % shop.PHOTOS, number))
        known[one.id].append(one)
        catalog.add([one])

    def look(which: int) -> None:
        while not ended.is_set() or looks[which] < 10:
            hits = [hit.item for hit in catalog.ask(SearchRequest(embedding=embedding, k=50))]
            wrong.extend(
                one for one in [*hits, *catalog.items()] if one.id in known and one not in known[one.id]
            )
            looks[which] += 1

    with Catalog.open(shop.catalog_of(root)) as catalog:
        embedding = catalog.embeddings(["i000"])[1][0]
        lookers = [threading.Thread(target=look, args=(which,)) for which in (0, 1)]
        for looker in lookers:
            looker.start()
        for number in range(40):
            write(number)
            if number % 5 == 4:
                catalog.remove([names[number % 8]])
        ended.set()
        for looker in lookers:
            looker.join()
        assert not wrong
        assert min(looks) >= 10
