"""The log of what shoppers did: anonymous, append-only, removed in time; and what it says."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serupa.cli.commands import app
from serupa.errors import UnavailableError, UsageError
from serupa.events import Click, EventLog, Purchase, Search, followed_together, insights_of
from serupa.events.log import read_events


def test_what_is_written_is_read(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events", 90)
    log.append(Search(id="a", by="photo", shown=("1", "2"), kind="shorts", where=("price<=50",)))
    log.append(Click(search="a", item="2", to="shop"))
    log.append(Purchase(item="2", search="a"))
    search, click, purchase = read_events(tmp_path / "events")
    assert isinstance(search, Search)
    assert (search.shown, search.kind) == (("1", "2"), "shorts")
    assert isinstance(click, Click)
    assert click.to == "shop"
    assert isinstance(purchase, Purchase)
    assert datetime.strptime(search.at, "%Y-%m-%dT%HZ")  # the hour and no more
    assert "photo" in (line := next((tmp_path / "events").glob("*.jsonl")).read_text())
    assert len(line.splitlines()) == 3


def test_old_days_go_and_other_files_stay(tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    for age in (1, 6, 7, 400):
        (tmp_path / f"{today - timedelta(days=age)}.jsonl").write_text('{"event":"purchase","item":"1"}\n')
    (tmp_path / "notes.jsonl").touch()
    EventLog(tmp_path, 7).append(Purchase(item="2"))
    left = {path.stem for path in tmp_path.glob("*.jsonl")}
    assert left == {"notes", *(str(today - timedelta(days=age)) for age in (0, 1, 6))}
    assert len(list(read_events(tmp_path))) == 3
    assert len(list(read_events(tmp_path, days=2))) == 2


def test_many_at_once_mix_no_lines_and_a_torn_one_is_passed_over(tmp_path: Path) -> None:
    logs = [EventLog(tmp_path, 7) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: logs[n % 4].append(Click(search=str(n), item="x" * 500)), range(400)))
    (file,) = tmp_path.glob("*.jsonl")
    with file.open("a") as end:
        end.write('{"event":"click","sea')
    assert {event.search for event in read_events(tmp_path)} == {str(n) for n in range(400)}  # type: ignore[union-attr]


def test_a_log_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="cannot be written"):
        EventLog(tmp_path / "file" / "events", 7).append(Purchase(item="1"))
    with pytest.raises(UsageError):
        EventLog(tmp_path, 0)


def searches(count: int, **what: str) -> list[Search]:
    name = "-".join(what.values())
    return [Search(id=f"{name}{n}", by="photo", shown=("1", "2", "3"), **what) for n in range(count)]


def test_what_it_says() -> None:
    found = insights_of(
        [
            *searches(4, kind="shorts"),
            *searches(3, words="Red  Dress"),
            *searches(2, words="a very private matter"),
            Search(id="shorts0-2", by="photo", kind="shorts", shown=("4",), offset=3),
            Search(id="none", by="photo", kind="hat", where=("color=Red",)),
            Click(search="shorts0", item="2"),
            Click(search="shorts0", item="2"),
            Click(search="shorts1", item="3"),
            Click(search="shorts1", item="not shown"),
            Click(search="never", item="1"),
            Click(search="shorts0-2", item="4"),
            Click(search="red dress0", item="1"),
            Click(search="Red  Dress0", item="1"),
            Purchase(item="2", search="shorts0"),
            Purchase(item="9"),
        ]
    )
    assert (found.searches, found.clicked, found.bought, found.purchases) == (10, 3, 1, 2)
    assert [(one.by, one.what, one.searches, one.clicked, one.first, one.bought) for one in found.asked] == [
        ("kind", "shorts", 4, 2, 0, 1),
        ("words", "red dress", 3, 1, 1, 0),
        ("kind", "hat", 1, 0, 0, 0),
    ]
    assert [one.what for one in found.not_found] == ["hat"]
    assert [one.what for one in found.not_first] == ["shorts"]
    assert found.filters == [("color=Red", 1)]
    assert [(one.rank, one.shown, one.clicked) for one in found.ranks] == [
        (1, 9, 1), (2, 9, 1), (3, 9, 1), (4, 1, 1),
    ]  # fmt: skip


def test_what_shoppers_follow_together() -> None:
    shown = tuple("bcdefghijk")
    log: list[Search | Click] = []

    def ask(item: str | None, *clicks: str) -> None:
        number = str(len(log))
        log.append(Search(id=number, by="item", item=item, shown=shown))
        log.extend(Click(search=number, item=one) for one in clicks)

    for n in range(200):  # what stands on top is followed, whatever was asked
        ask(f"x{n // 4 % 5}", shown[(0, 0, 1, 2)[n % 4]])
    assert followed_together(log) == []
    for _ in range(6):  # and some go on to what stands far below
        ask("a", "i")
        ask(None, "j", "k")
        ask("y", "z")  # which was not shown
    ask("i", "h")  # once may be chance
    log.append(Click(search="never", item="a"))
    assert followed_together(log) == [["a", "i"], ["j", "k"]]


def test_the_command(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert "no searches yet" in run(app, ["insights", "-c", str(tmp_path)]).output
    log = EventLog(tmp_path / "events", 7)
    for event in (*searches(2, kind="shorts"), Click(search="shorts0", item="1")):
        log.append(event)
    told = run(app, ["insights", "-c", str(tmp_path)]).output
    assert "2 searches; a result was followed in 50%" in told
    assert "shorts" in told
    asked = json.loads(run(app, ["insights", "--events", str(tmp_path / "events"), "--json"]).stdout)["asked"]
    assert asked == [{"by": "kind", "what": "shorts", "searches": 2, "clicked": 1, "first": 1, "bought": 0}]
    assert run(app, ["insights"]).exit_code != 0
