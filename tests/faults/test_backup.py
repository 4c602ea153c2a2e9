"""Backup and restore: what comes back is what was there, byte by byte, or nothing comes back."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from serupa import Catalog
from serupa.catalog.backup import Snapshot, backup, check, restore, verify
from serupa.errors import ConflictError, DamagedError, NotFoundError, UnavailableError
from serupa.files.atomic import fingerprint
from serupa.web.uploads import Uploads
from tests.faults import shop

States = dict[str, Any]


@pytest.fixture
def archive(root: Path, tmp_path: Path) -> Path:
    backup(shop.catalog_of(root), tmp_path / "shop.backup")
    return tmp_path / "shop.backup"


def contents(catalog: Path) -> dict[str, str]:
    """Return what every file holds but those of the lock, and the two that change on opening."""
    passing = ("lock", "holder.json", "segment.json", "tracker_journal.dat")
    return {
        str(file.relative_to(catalog)): fingerprint(file)
        for file in catalog.rglob("*")
        if file.is_file() and file.name not in passing
    }


def test_what_comes_back_is_what_was_there(root: Path, archive: Path, tmp_path: Path, stock: States) -> None:
    restored = restore(archive, tmp_path / "again")
    assert restored.items == len(stock)
    assert contents(tmp_path / "again") == contents(shop.catalog_of(root))
    with Catalog.open(tmp_path / "again") as catalog:
        assert {one: list(state) for one, state in shop.held(root, catalog).items()} == stock
        assert catalog.add([shop.item(root, "more", (50, 50))]).added == 1
    assert check(tmp_path / "again") == len(stock) + 1
    assert check(shop.catalog_of(root)) == len(stock)


def test_a_tuned_catalogue_comes_back_tuned(root: Path, tmp_path: Path) -> None:
    with Catalog.open(shop.catalog_of(root)) as catalog:
        catalog.use_whitening(shop.whitening(3), {"labels": {"x": 1.0}})
        expected = catalog.similar("i003", 24).hits
    backup(shop.catalog_of(root), tmp_path / "b")
    restore(tmp_path / "b", tmp_path / "again")
    with Catalog.open(tmp_path / "again") as catalog:
        assert catalog.manifest.tuning is not None
        assert catalog.similar("i003", 24).hits == expected


def test_holes_take_no_room(root: Path, archive: Path) -> None:
    size = sum(file.stat().st_size for file in shop.catalog_of(root).rglob("*") if file.is_file())
    assert size > 100e6
    assert archive.stat().st_size < 5e6


@pytest.mark.parametrize("kind", ["flip", "cut", "lengthen the middle"])
def test_damage_is_noticed_wherever_it_is(archive: Path, tmp_path: Path, kind: str) -> None:
    whole, rng = archive.read_bytes(), random.Random(kind)  # noqa: S311
    with tarfile.open(archive) as tar:
        # what tar itself fills up with, and fields of its headers that nothing here reads, may be anything
        places = [m.offset_data + rng.randrange(m.size) for m in tar if m.size]
    for place in rng.sample(places, 10):
        if kind == "flip":
            damaged = bytearray(whole)
            damaged[place] ^= 1 << rng.randrange(8)
        elif kind == "cut":
            damaged = bytearray(whole[:place])
        else:
            damaged = bytearray(whole[:place] + bytes(512) + whole[place:])
        archive.write_bytes(damaged)
        with pytest.raises(DamagedError, match=str(archive)):
            verify(archive)
        with pytest.raises(DamagedError):
            restore(archive, tmp_path / "again")
        assert not (tmp_path / "again").exists()
        assert [p.name for p in tmp_path.iterdir()] == ["shop.backup"]


def rewritten(archive: Path, **changes: Any) -> None:
    """Write a backup anew with another manifest, and more members."""
    members: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            stream = tar.extractfile(member)
            assert stream is not None
            members[member.name] = member, stream.read()
    manifest = json.loads(members.pop("manifest.json")[1])
    for name, entry in changes.pop("files", {}).items():
        manifest["files"][name] = entry
    for info, data in changes.pop("members", []):
        members[info.name] = info, data
    with tarfile.open(archive, "w") as tar:
        for info, data in members.values():
            tar.addfile(info, io.BytesIO(data))
        data = json.dumps(manifest | changes).encode()
        info = tarfile.TarInfo("manifest.json")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


EMPTY = {"size": 0, "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "runs": []}


@pytest.mark.parametrize("name", ["../evil", "/srv/evil", "points/../../evil", "a\\..\\evil", "C:evil", "."])
def test_no_name_leads_out_of_the_directory(archive: Path, tmp_path: Path, name: str) -> None:
    rewritten(archive, files={name: EMPTY}, members=[(tarfile.TarInfo(name), b"")])
    with pytest.raises(DamagedError, match="outside of the catalogue"):
        restore(archive, tmp_path / "again")
    assert [p.name for p in tmp_path.iterdir()] == ["shop.backup"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_only_files_come_out(archive: Path, tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("passwd")
    member.type, member.linkname = kind, "/etc/passwd"
    rewritten(archive, files={"passwd": EMPTY}, members=[(member, b"")])
    with pytest.raises(DamagedError):
        restore(archive, tmp_path / "again")


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "something else"},
        {"catalog": 3},
        {"items": "many"},
        {"files": {"catalog.json": EMPTY}},
        {"files": {"not there": EMPTY}},
        {"files": {"catalog.json": {"size": 10**18, "sha256": "", "runs": [[0, 10**18]]}}},
        {"files": {"catalog.json": {"size": -1, "sha256": "", "runs": [[-5, 3]]}}},
        {"files": {"catalog.json": []}},
        {"members": [(tarfile.TarInfo("stowaway"), b"")]},
    ],
)
def test_a_manifest_that_is_wrong(archive: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    rewritten(archive, **changes)
    with pytest.raises(DamagedError):
        restore(archive, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("content", [b"", b"not a tar archive" * 100, bytes(10240)])
def test_what_is_no_backup(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(DamagedError):
        verify(tmp_path / "b")
    with pytest.raises(NotFoundError):
        verify(tmp_path / "nothing")


def test_nothing_is_overwritten(root: Path, archive: Path, tmp_path: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(ConflictError):
        backup(shop.catalog_of(root), archive)
    assert archive.read_bytes() == before
    with pytest.raises(ConflictError):
        restore(archive, shop.catalog_of(root))
    with pytest.raises(ConflictError):
        backup(shop.catalog_of(root), shop.catalog_of(root) / "backup")
    with pytest.raises(UnavailableError):
        backup(shop.catalog_of(root), tmp_path / "nothing" / "b")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConflictError):
        restore(archive, tmp_path / "file")


def test_a_damaged_catalogue_is_not_backed_up(root: Path, tmp_path: Path) -> None:
    (mappings,) = shop.catalog_of(root).rglob("mutable_id_tracker.mappings")
    mappings.unlink()
    with pytest.raises(DamagedError, match=f"{mappings}: is missing"):
        backup(shop.catalog_of(root), tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_a_held_catalogue_is_not_backed_up(root: Path, tmp_path: Path) -> None:
    with (
        Catalog.open(shop.catalog_of(root)),
        pytest.raises(ConflictError, match="--wait"),
    ):
        backup(shop.catalog_of(root), tmp_path / "b")


def test_photos_that_came_through_the_api_come_back(root: Path, tmp_path: Path) -> None:
    with Catalog.open(shop.catalog_of(root)) as catalog:
        Uploads(catalog).add("sent", shop.photo(root, 60).read_bytes(), None, {"price": 3.0})
    backup(shop.catalog_of(root), tmp_path / "b")
    restore(tmp_path / "b", tmp_path / "again")
    with Catalog.open(tmp_path / "again") as catalog:
        sent = catalog.get("sent")
        assert Path(sent.image).parent == tmp_path / "again" / "photos"
        assert Path(sent.image).read_bytes() == shop.photo(root, 60).read_bytes()
        assert sent.attributes == {"price": 3.0}
        assert catalog.get("i001") == shop.item(root, "i001", (1, 1))
        Uploads(catalog).remove("sent")
        assert not Path(sent.image).exists()


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "serupa", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_commands(root: Path, tmp_path: Path) -> None:
    catalog = shop.catalog_of(root)
    done = run("check", "-c", catalog)
    assert (done.returncode, done.stderr) == (0, f"{catalog} is whole: 24 items.\n")
    done = run("backup", "-c", catalog, tmp_path / "b", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"] == 24
    assert "written and verified; 24 items" in done.stderr
    done = run("restore", tmp_path / "b", "--check")
    assert (done.returncode, "is whole; 24 items" in done.stderr) == (0, True)
    assert run("restore", tmp_path / "b").returncode == 2
    done = run("restore", tmp_path / "b", "-c", tmp_path / "again")
    assert (done.returncode, "restored into" in done.stderr) == (0, True)
    done = run("restore", tmp_path / "b", "-c", tmp_path / "again")
    assert (done.returncode, "is not empty" in done.stderr, "Traceback" in done.stderr) == (4, True, False)


def test_an_open_catalogue_is_backed_up_as_it_was_at_a_moment(
    root: Path, tmp_path: Path, stock: States
) -> None:
    with Catalog.open(shop.catalog_of(root)) as catalog:
        Uploads(catalog).add("sent", shop.photo(root, 60).read_bytes(), None, {"season": "summer"})
        snapshot = Snapshot(catalog, tmp_path / "b")
        Uploads(catalog).add("later", shop.photo(root, 61).read_bytes(), None, {})
        Uploads(catalog).remove("sent")
        assert snapshot.write().items == len(stock) + 1
        assert "later" in catalog
        assert [path.name for path in tmp_path.iterdir()] == ["b"]
    verify(tmp_path / "b")
    restore(tmp_path / "b", tmp_path / "again")
    with Catalog.open(tmp_path / "again") as catalog:
        assert Path(catalog.get("sent").image).read_bytes() == shop.photo(root, 60).read_bytes()
        assert [item.id for item in catalog.items({"season": "summer"})] == ["sent"]
        assert "later" not in catalog
    assert check(tmp_path / "again") == len(stock) + 1


def test_a_snapshot_that_finds_no_room_leaves_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1_000_000

    with Catalog.open(shop.catalog_of(root)) as catalog:
        monkeypatch.setattr("serupa.storage.local.guard.shutil.disk_usage", lambda _: Usage)
        with pytest.raises(UnavailableError):
            Snapshot(catalog, tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_a_backup_is_read_again_before_it_is_said_to_be_written(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that keeps something else than what was written to it."""
    fsync = os.fsync

    def damages(descriptor: int) -> None:
        fsync(descriptor)
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == ".b.new":
            os.pwrite(descriptor, b"\xff", 1000 * 512)

    monkeypatch.setattr("serupa.catalog.archive.os.fsync", damages)
    with pytest.raises(DamagedError):
        backup(shop.catalog_of(root), tmp_path / "b")
    assert not list(tmp_path.iterdir())
