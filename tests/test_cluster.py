"""Encoding with Ray: the same as on one machine, whatever happens to a worker. One small cluster for all."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from serupa import AddReport, Catalog, Item, NotFoundError, UnavailableError
from serupa.cli.commands import app
from serupa.cluster import add_with_ray
from tests.conftest import draw_photo
from tests.qdrant_server import Server, running

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def cluster(cache: Path) -> Iterator[None]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    for left in (2, 1, 0):
        try:
            ray.init(
                num_cpus=2,
                include_dashboard=False,
                object_store_memory=100 * 2**20,
                logging_level="ERROR",
                log_to_driver=False,
            )
            break
        except Exception:  # a machine that is busy may be too slow for it
            ray.shutdown()
            if not left:
                raise
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as made:
        yield made


@pytest.fixture(scope="module")
def alone(items: list[Item], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """What one machine makes of the items."""
    with Catalog.create(tmp_path_factory.mktemp("alone") / "c", metrics=("cosine", "euclidean")) as made:
        made.add(items)
        yield made


def same(catalog: Catalog, alone: Catalog) -> None:
    assert {i.id: i for i in catalog.items()} == {i.id: i for i in alone.items()}
    assert catalog.manifest.fields == alone.manifest.fields
    ids = [item.id for item in alone.items()]
    np.testing.assert_allclose(catalog.embeddings(ids)[1], alone.embeddings(ids)[1], atol=1e-5)


@pytest.mark.parametrize("where", ["directory", "server"])
def test_the_same_as_one_machine(
    where: str, alone: Catalog, items: list[Item], tmp_path: Path, server: Server
) -> None:
    path = tmp_path / "c" if where == "directory" else server.address("ray")
    broken = tmp_path / "broken.jpg"
    broken.write_text("no photo")
    with Catalog.create(path, metrics=("cosine", "euclidean")) as catalog:
        report = add_with_ray(catalog, [*items, Item("bad", str(broken))], workers=2)
        assert (report.seen, report.added, report.updated, report.encoded) == (25, 24, 0, 24)
        assert [f.id for f in report.failures] == ["bad"] and "broken.jpg" in report.failures[0].reason
        same(catalog, alone)
        dearer = replace(items[0], attributes=dict(items[0].attributes) | {"price": 1.0, "fit": "slim"})
        again = add_with_ray(catalog, [dearer, *items[1:]], workers=1)
        assert (again.added, again.updated, again.unchanged, again.encoded) == (0, 1, 23, 0)
        assert catalog.get(items[0].id) == dearer
        assert (catalog if where == "directory" else Catalog.open(path)).manifest.fields["fit"] == "text"


def workers() -> set[int]:
    """Return the processes of Ray's that are actors of ours."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                name = (entry / "cmdline").read_bytes().split(b"\0")[0]
            except OSError:
                continue
            if b"MapWorker" in name and b"Worker" in name:
                found.add(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds workers in /proc")
def test_a_killed_worker_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("serupa.cluster.BATCH", 16)
    photos = [Item(f"p{n}", str(draw_photo(tmp_path / f"{n}.png", n, (64, 64)))) for n in range(160)]
    before, killed = workers(), []

    def kill(report: AddReport) -> None:
        mine = workers() - before
        if not killed and mine:
            killed.append(mine.pop())
            os.kill(killed[0], signal.SIGKILL)

    with Catalog.create(tmp_path / "c") as catalog:
        report = add_with_ray(catalog, photos, workers=2, progress=kill)
        assert killed
        assert (report.added, report.failures) == (160, [])
        assert {item.id for item in catalog.items()} == {photo.id for photo in photos}
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")  # nor does Ray speak of it


def test_no_room(tmp_path: Path, items: list[Item]) -> None:
    with (
        Catalog.create(tmp_path / "c") as catalog,
        pytest.raises(UnavailableError, match="no room for 3 workers"),
    ):
        add_with_ray(catalog, items, workers=3)


def test_a_worker_that_cannot_begin_says_why(
    server: Server, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Catalog.create(server.address("gone")) as catalog:
        monkeypatch.setattr(
            "serupa.cluster._told",
            lambda *_: {
                "address": server.address("nothing-there"),
                "source": "",
                "replace": False,
                "timeout_s": None,
            },
        )
        with pytest.raises(NotFoundError, match="nothing-there: no catalogue there"):
            add_with_ray(catalog, items[:2], workers=1)


def test_command(photos: Path, tmp_path: Path) -> None:
    command = ["index", str(photos), "-c", str(tmp_path / "c"), "--json"]
    done = CliRunner().invoke(app, [*command, "--engine", "ray", "--workers", "1"])
    assert json.loads(done.stdout)["added"] == 24, done.stderr
    assert CliRunner().invoke(app, [*command, "--engine", "spark"]).exit_code == 2
    assert CliRunner().invoke(app, [*command, "--workers", "2"]).exit_code == 2
