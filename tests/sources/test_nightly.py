"""The import of every night: what changed, what is gone, and a web server that fails by turns."""

from __future__ import annotations

import json
import os
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serupa import AddReport, Catalog, SerupaError
from serupa.cli.commands import app
from serupa.errors import UsageError
from serupa.files import http
from serupa.sources import SourceOptions
from tests.conftest import draw_photo
from tests.files.web_server import Server
from tests.sources.made import csv_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six photos."""
    for number in range(6):
        draw_photo(tmp_path / "photos" / f"{number}.png", number)
    return tmp_path / "photos"


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http, "_BACKOFF_S", 0.01)
    with Server(folder) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def index(*arguments: object) -> tuple[int, dict[str, object], str]:
    """Run ``serupa index``; return its status, its JSON and what it said."""
    done = CliRunner().invoke(app, ["index", *map(str, arguments), "--json"])
    status = done.exception.exit_status if isinstance(done.exception, SerupaError) else done.exit_code
    report = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    return status, report, done.stderr + str(done.exception or "")


def counts(report: AddReport) -> tuple[int, int, int, int]:
    return report.added, report.updated, report.unchanged, report.encoded


def test_a_second_sync_encodes_and_downloads_nothing(server: Server, tmp_path: Path) -> None:
    rows = [["id", "image_link", "title", "link", "price"]]
    rows += [
        [f"P{n}", f"{server.base}/file/{n}.png", f"Hat {n}", f"https://shop.example/{n}", f"{n}.50 EUR"]
        for n in range(6)
    ]
    feed = csv_table(tmp_path / "feed.tsv", rows, "\t")
    with Catalog.create(tmp_path / "c") as catalog:
        first = catalog.add(feed)
        assert counts(first) == (6, 0, 0, 6) and server.sent == 6
        assert catalog.get("P3").attributes == {
            "name": "Hat 3", "link": "https://shop.example/3", "price": 3.5, "currency": "EUR",
        }  # fmt: skip
        second = catalog.add(feed)
        assert counts(second) == (0, 0, 6, 0) and server.sent == 6
        rows[1][4] = "9.00 EUR"
        csv_table(feed, rows[:-1], "\t")
        third = catalog.add(feed)
        assert counts(third) == (0, 1, 4, 0) and server.sent == 6
        assert third.gone == ["P5"]


def test_sync_removes_what_is_gone(folder: Path, tmp_path: Path) -> None:
    for number in range(6, 24):
        draw_photo(folder / f"{number}.png", number)
    draw_photo(tmp_path / "other" / "x.png", 99)
    shop = tmp_path / "c"
    assert index(folder, "-c", shop)[0] == 0
    assert index(tmp_path / "other", "-c", shop)[0] == 0
    (folder / "3.png").unlink()
    status, report, said = index(folder, "-c", shop)
    assert (status, report["gone"], report["removed"], report["items"]) == (0, ["3.png"], 0, 25)
    assert "--sync" in said
    status, report, said = index(folder, "-c", shop, "--sync")
    assert (report["removed"], report["items"]) == (1, 24)
    for number in range(10):
        (folder / f"{number}.png").unlink(missing_ok=True)
    status, _, said = index(folder, "-c", shop, "--sync")
    assert status != 0 and "--yes" in said  # more than a tenth
    status, report, _ = index(folder, "-c", shop, "--sync", "--yes")
    assert (status, report["removed"], report["items"]) == (0, 9, 15)
    with Catalog.open(shop) as catalog:
        assert catalog.get("x.png").id == "x.png"


def test_what_failed_today_or_was_cut_off_is_not_gone(server: Server, tmp_path: Path) -> None:
    items = "".join(
        f"<item><id>{n}</id><image_link>{server.base}/file/{n}.png</image_link></item>" for n in range(4)
    )
    feed = tmp_path / "feed.xml"
    feed.write_text(f"<rss><channel>{items}</channel></rss>")
    with Catalog.create(tmp_path / "c") as catalog:
        assert catalog.add(feed).added == 4
        feed.write_text(f"<rss><channel>{items.replace('file/1.png', '404')}</channel></rss>")
        report = catalog.add(feed)
        assert (len(report.failures), report.gone) == (1, [])
        feed.write_text(f"<rss><channel>{items[: len(items) // 2]}")
        assert catalog.add(feed).gone == []


def test_no_source_takes_the_id_of_anothers_photo(tmp_path: Path) -> None:
    for number, year in enumerate(("2023", "2024")):
        draw_photo(tmp_path / year / "IMG_1.png", number)
        csv_table(tmp_path / year / "t.csv", [["image"], ["IMG_1.png"]])
    with Catalog.create(tmp_path / "c") as catalog:
        catalog.add(tmp_path / "2023")
        for second in (tmp_path / "2024", tmp_path / "2024" / "t.csv"):
            report = catalog.add(second)
            assert (report.added, report.updated, len(report.failures)) == (0, 0, 1)
            assert "2023" in report.failures[0].reason
        assert catalog.get("IMG_1.png").image == str(tmp_path / "2023" / "IMG_1.png")
        assert catalog.add(tmp_path / "2024", replace=True).updated == 1


def test_photos_that_moved_are_the_same(folder: Path, tmp_path: Path) -> None:
    with Catalog.create(tmp_path / "c") as catalog:
        catalog.add(folder)
        moved = folder.rename(tmp_path / "moved")
        report = catalog.add(moved)
        assert counts(report) == (0, 6, 0, 0)
        assert catalog.get("3.png").image == str(moved / "3.png")
        draw_photo(moved / "3.png", 77)
        again = moved.rename(tmp_path / "again")
        assert catalog.add(again).failures == []


def test_one_photo_of_several_items_is_encoded_once(server: Server, tmp_path: Path) -> None:
    rows = [["id", "image"], *([f"{size}", f"{server.base}/file/1.png"] for size in range(5))]
    with Catalog.create(tmp_path / "c") as catalog:
        assert counts(catalog.add(csv_table(tmp_path / "t.csv", rows))) == (5, 0, 0, 1)


def test_what_cron_sees(folder: Path, tmp_path: Path) -> None:
    rows = [["image"], ["0.png"], ["gone.png"], ["1.png"]]
    path = csv_table(folder / "t.csv", rows)
    assert index(path, "-c", tmp_path / "a")[0] == 0
    status, report, _ = index(path, "-c", tmp_path / "b", "--fail-on", "any")
    assert status == 1 and report["items"] == 2
    assert index(path, "-c", tmp_path / "s", "--strict")[0] == 1
    assert not (tmp_path / "s").exists()
    none = csv_table(folder / "none.csv", [["image"], ["gone.png"]])
    assert index(none, "-c", tmp_path / "n")[0] == 1
    assert not (tmp_path / "n").exists()
    assert index(none, "-c", tmp_path / "n", "--fail-on", "none")[0] == 0


def test_a_refused_source_leaves_no_catalogue_behind(folder: Path, tmp_path: Path) -> None:
    bad = csv_table(folder / "bad.csv", [["file"], ["0.png"]])
    for source in (bad, tmp_path / "none", tmp_path / "none.csv"):
        assert index(source, "-c", tmp_path / "c")[0] != 0
        assert not (tmp_path / "c").exists()


def test_options_of_the_command(folder: Path, tmp_path: Path) -> None:
    path = csv_table(
        folder / "t.csv", [["Photo", "SKU", "style"], ["0.png", "007", "12"], ["1.png", "8", "9"]]
    )
    options = ("--columns", "image=Photo,product_id=SKU", "--type", "style=number", "--set", "currency=EUR")
    assert index(path, "-c", tmp_path / "c", *options)[0] == 0
    with Catalog.open(tmp_path / "c") as catalog:
        item = catalog.get("0.png")
        assert (item.product_id, item.attributes) == ("007", {"style": 12, "currency": "EUR"})
    assert index(path, "-c", tmp_path / "d", "--columns", "Photo")[0] == 2
    assert index(folder, "-c", tmp_path / "e", "--include", "[0-2].png", "--exclude", "1*")[1]["items"] == 2


@pytest.mark.parametrize("count", [int(os.environ.get("SERUPA_ADDRESSES", "300"))])
def test_thousands_of_addresses_that_fail_stall_and_limit_by_turns(
    count: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_BACKOFF_S", 0.01)
    kinds = ["file"] * 13 + ["after-429-1", "after-503-1", "after-stall-1", "404", "500", "stall", "403"]
    bad = {"404", "500", "stall", "403"}
    with Server(folder, stall_s=8.0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        rows = [["id", "image"]]
        for number in range(count):
            kind = kinds[number % len(kinds)]
            rows.append([f"{kind}-{number}", f"{server.base}/{kind}/{number % 6}.png?{number}"])
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        with Catalog.create(tmp_path / "c") as catalog:
            report = catalog.add(csv_table(tmp_path / "t.csv", rows), options=SourceOptions(timeout_s=3.0))
        server.shutdown()
    wanted = {row[0] for row in rows[1:] if row[0].rpartition("-")[0] in bad}
    assert {failure.id for failure in report.failures} == wanted
    assert report.added == count - len(wanted)
    assert all("http://127.0.0.1" in failure.reason for failure in report.failures)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{count} addresses: {time.perf_counter() - started:.1f} s, {grown_mb:.0f} MB more")
    assert grown_mb < 1500


def test_a_table_that_was_mended_gets_its_types_back(folder: Path, tmp_path: Path) -> None:
    path = csv_table(folder / "t.csv", [["image", "price"], ["0.png", "on request"], ["1.png", "5"]])
    with Catalog.create(tmp_path / "c") as catalog:
        catalog.add(path)
        with pytest.raises(UsageError):
            list(catalog.items(["price<6"]))
        csv_table(path, [["image", "price"], ["0.png", "7"], ["1.png", "5"]])
        catalog.add(path)
        assert catalog.facets("price") == (5, 7)
        assert [item.id for item in catalog.items(["price<6"])] == ["1.png"]
    with Catalog.open(tmp_path / "c") as catalog:
        csv_table(path, [["image", "price"], ["0.png", "free"], ["1.png", "5"]])
        catalog.add(path)
        assert catalog.facets("price") == [("5", 1), ("free", 1)]
