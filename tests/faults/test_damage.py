"""Damaged, missing and unreadable files, and full disks: named, and nothing else is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serupa import Catalog
from serupa.catalog.backup import check
from serupa.errors import DamagedError, NotFoundError, UnavailableError
from serupa.files.cache import cache_dir
from serupa.storage.local import guard as fence
from serupa.storage.local import store as edge
from tests.faults import shop
from tests.faults.conftest import Nursery, copy_tree

_NOBODY = 65534


def delete(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def halve(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def flip(file: Path) -> None:
    """Change four bytes among the first 400, which is where the few items of a test are."""
    rng = random.Random(file.name)  # noqa: S311
    size = min(400, file.stat().st_size)
    with file.open("r+b") as stream:
        for place in rng.sample(range(size), min(4, size)):
            stream.seek(place)
            byte = stream.read(1)[0]
            stream.seek(place)
            stream.write(bytes([byte ^ rng.randrange(1, 256)]))


def overwrite(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.write(random.Random(file.name).randbytes(min(4096, file.stat().st_size)))  # noqa: S311


DAMAGES = (delete, empty, halve, flip, overwrite)


def kinds_of_files(catalog: Path) -> Iterator[Path]:
    """Yield one file of each kind that the engine writes."""
    seen = set()
    for file in sorted((catalog / "points").rglob("*")):
        kind = (file.parent.name, file.name)
        if file.is_file() and kind not in seen:
            seen.add(kind)
            yield file


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_of_the_engine_are_named_or_do_not_matter(
    nursery: Nursery, root: Path, stock: dict[str, Any], damage: Callable[[Path], None]
) -> None:
    """The engine alone opens as an empty store without one of its files."""
    catalog = shop.catalog_of(root)
    whole = copy_tree(catalog, root / "whole")
    named = 0
    for file in kinds_of_files(catalog):
        damage(file)
        answer = nursery.ask({"job": "look", "args": {"root": str(root)}})
        told = answer["events"][-1] if answer["events"] else {}
        what = (damage.__name__, file.name, answer["code"], told)
        if "holds" in told:
            assert told["holds"] == stock, what
        else:
            assert str(catalog / "points") in told.get("refused", ""), what
            assert answer["code"] == 0, what
            if "segments" in file.parts and file.name not in ("segment.json", "tracker_journal.dat"):
                assert str(file) in told["refused"], what
                named += 1
        shutil.rmtree(catalog)
        copy_tree(whole, catalog)
    assert named > 20


def test_damage_deep_in_a_large_file_is_found_by_check(
    root: Path, stock: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serupa.storage.local.integrity._READ_WHOLE", 1000)
    catalog = shop.catalog_of(root)
    assert check(catalog) == len(stock)
    (vectors,) = catalog.rglob("vector_storage-cosine/vectors/chunk_0.mmap")
    flip(vectors)
    with Catalog.open(catalog) as opened:  # by size alone nothing is wrong
        assert len(opened) == len(stock)
    with pytest.raises(DamagedError) as told:
        check(catalog)
    assert told.value.subject == vectors


def test_a_broken_seal_is_named_and_can_be_taken_off(root: Path, stock: dict[str, Any]) -> None:
    seal = shop.catalog_of(root) / "points" / "seal.json"
    for content in (b"", b"[]", b'{"files": {"a": 1}}', b"\xff"):
        seal.write_bytes(content)
        with pytest.raises(DamagedError) as told:
            Catalog.open(shop.catalog_of(root))
        assert told.value.subject == seal
    seal.unlink()
    with Catalog.open(shop.catalog_of(root)) as opened:
        assert len(opened) == len(stock)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_settings_are_named(root: Path, damage: Callable[[Path], None]) -> None:
    file = shop.catalog_of(root) / "catalog.json"
    damage(file)
    with pytest.raises((DamagedError, NotFoundError, UnavailableError)):
        Catalog.open(shop.catalog_of(root)).close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", 0),
        ("format", "2"),
        ("format", True),
        ("points", "../elsewhere"),
        ("points", "/etc"),
        ("points", "points.new"),
        ("points", 1),
        ("metrics", []),
        ("metrics", ["cosine", "cosine"]),
        ("metrics", "cosine"),
        ("metrics", {"cosine": 1}),
        ("fields", []),
        ("fields", {"price": "euros"}),
        ("encoder", {}),
        ("encoder", None),
        ("weights_sha256", "12"),
        ("weights", 3),
        ("tuning", {"file": "../../etc/passwd", "sha256": "", "dimension": 3}),
        ("tuning", {"file": "tuning-2.npz", "sha256": "", "dimension": -3}),
        ("tuning", {"file": "tuning-2.npz", "sha256": "", "dimension": 10**9}),
        ("tuning", []),
    ],
)
def test_settings_that_nobody_wrote_are_refused(root: Path, name: str, value: Any) -> None:
    """Settings that lead to other files, or nowhere: the catalogue may come from somebody else."""
    file = shop.catalog_of(root) / "catalog.json"
    values = json.loads(file.read_text()) | {"format": 2}
    del values["checksum"]
    file.write_text(json.dumps(values | {name: value}))
    with pytest.raises(DamagedError):
        Catalog.open(shop.catalog_of(root))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_tuning_is_named_and_leaves_the_way_back(
    nursery: Nursery, root: Path, stock: dict[str, Any], damage: Callable[[Path], None]
) -> None:
    nursery.run("tune", root=root)
    (file,) = shop.catalog_of(root).glob("tuning-*.npz")
    damage(file)
    (told,) = nursery.run("look", root=root)
    assert str(file) in told["refused"]
    nursery.run("tune", root=root, seed=None)
    (told,) = nursery.run("look", root=root)
    assert told == {"holds": stock, "tuned": False}


def test_another_tuning_in_its_place_is_named(nursery: Nursery, root: Path) -> None:
    """A whole file, but not the one that the points were made with."""
    nursery.run("tune", root=root)
    (file,) = shop.catalog_of(root).glob("tuning-*.npz")
    file.write_bytes(shop.whitening(2).to_bytes())
    (told,) = nursery.run("look", root=root)
    assert str(file) in told["refused"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_cached_model_is_made_anew(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    """The optimised graph in the cache: whatever happens to it, the embeddings stay what they are."""
    monkeypatch.setenv("SERUPA_CACHE", str(tmp_path / "cache"))
    photo = next(photos.rglob("*.png"))
    with Catalog.create(tmp_path / "catalog") as catalog:
        expected = catalog.encoder.encode_photo(photo)
    kept = [file for file in cache_dir().rglob("*") if file.is_file() and "thumbnails" not in file.parts]
    assert kept
    for file in kept:
        damage(file)
    with Catalog.open(tmp_path / "catalog") as catalog:
        assert abs(catalog.encoder.encode_photo(photo) - expected).max() < 1e-3


def test_unreadable_files_are_named(nursery: Nursery, root: Path, stock: dict[str, Any]) -> None:
    user = {"user": _NOBODY} if os.geteuid() == 0 else {}  # root reads everything
    catalog = shop.catalog_of(root)
    root.parent.chmod(0o755)
    subprocess.run(["chmod", "-R", "a+rwX", root], check=True)
    (segment,) = (catalog / "points" / "segments").iterdir()
    for file in (
        catalog / "catalog.json",
        segment / "mutable_id_tracker.mappings",
        catalog / "points" / "seal.json",
        catalog / "points",
        catalog,
    ):
        mode = file.stat().st_mode
        file.chmod(0)
        try:
            answer = nursery.ask({"job": "look", "args": {"root": str(root)}, **user})
        finally:
            file.chmod(mode)
        told = answer["events"][-1]
        assert str(catalog) in told.get("refused", ""), (file, answer)
        assert "ermission denied" in told["refused"], (file, told)
    (told,) = nursery.run("look", root=root)
    assert told["holds"] == stock


def test_a_photo_that_cannot_be_read_fails_alone(nursery: Nursery, root: Path, tmp_path: Path) -> None:
    user = {"user": _NOBODY} if os.geteuid() == 0 else {}
    root.parent.chmod(0o755)
    subprocess.run(["chmod", "-R", "a+rwX", root], check=True)
    folder = root / "more"
    folder.mkdir()
    for number in range(3):
        shutil.copy(shop.photo(root, 40 + number), folder / f"{number}.png")
    folder.chmod(0o755)
    (folder / "1.png").chmod(0)
    events = nursery.run("add_folder", root=root, folder=folder, **user)
    assert events[-1]["added"] == 2
    assert events[-1]["failed"] == [f"{folder / '1.png'}: no permission to read it"]


# Full disks


@pytest.fixture(params=[48])
def small_disk(drawn: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk of some MB with a shop without a catalogue on it; needs the right to mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={request.param}m", "tmpfs", disk],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk; the next tests do without")
    try:
        yield copy_tree(drawn, disk / "shop")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_full_disk(nursery: Nursery, small_disk: Path) -> None:
    """The engine alone is ended by SIGBUS, on opening too (see `serupa.storage.local.guard`)."""
    events = nursery.run("add_until_full", root=small_disk)
    assert "its disk is full" in events[-1]["refused"]
    acknowledged = sum("done" in event for event in events) * 40
    assert acknowledged > 1000
    filler = leave(small_disk, 1_000_000)
    (told,) = nursery.run("count", root=small_disk)
    assert "its disk is full (1 MB free" in told["refused"]
    filler.unlink()
    (told,) = nursery.run("count", root=small_disk)
    assert acknowledged <= told["items"] <= acknowledged + 40  # a part of what was refused may be there


@pytest.mark.parametrize("small_disk", [480], indirect=True)
def test_full_disk_under_a_graph(nursery: Nursery, small_disk: Path) -> None:
    """On a disk in memory, what the engine maps for small vectors is filled at once, on opening too."""
    reserve = edge._CHUNK_BYTES * len(shop.METRICS)
    nursery.run("fill", root=small_disk, count=600, exact_below=400)
    leave(small_disk, fence.WRITING_BYTES + 2 * reserve + 2_000_000)
    events = nursery.run("add_until_full", root=small_disk, exact_below=400)
    assert "its disk is full" in events[-1]["refused"]
    acknowledged = 600 + sum("done" in event for event in events) * 40
    holes_kept = copy_tree(small_disk, small_disk.parent / "copy")
    shutil.rmtree(small_disk)
    leave(holes_kept, fence.OPENING_BYTES + reserve // 2)
    (told,) = nursery.run("count", root=holes_kept, exact_below=400)
    assert "its disk is full" in told["refused"]
    leave(holes_kept, fence.OPENING_BYTES + reserve + 1_000_000)
    (told,) = nursery.run("count", root=holes_kept, exact_below=400)
    assert acknowledged <= told["items"] <= acknowledged + 40


def leave(folder: Path, free: int) -> Path:
    """Fill the disk that a folder is on until so many bytes are left; return the file that does."""
    filler = folder.parent / "filler"
    filler.unlink(missing_ok=True)
    with filler.open("wb", buffering=0) as stream:
        while shutil.disk_usage(folder).free > free:
            stream.write(bytes(500_000))
    return filler


def test_nearly_full_disk_is_met_before_it_is_hit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = fence.WRITING_BYTES - 1

    with Catalog.open(shop.catalog_of(root)) as catalog:
        before = shop.held(root, catalog)
        monkeypatch.setattr("serupa.storage.local.guard.shutil.disk_usage", lambda _: Usage)
        with pytest.raises(UnavailableError, match="its disk is full .* make room"):
            catalog.add([shop.item(root, "one more", (50, 50))])
        with pytest.raises(UnavailableError, match="its disk is full"):
            catalog.remove(["i000"])
        with pytest.raises(UnavailableError, match="its disk is full"):
            catalog.use_whitening(shop.whitening(1))
        assert shop.held(root, catalog) == before
        monkeypatch.undo()
        assert catalog.add([shop.item(root, "one more", (50, 50))]).added == 1


def test_files_that_may_not_grow(nursery: Nursery, root: Path, new: Path, stock: dict[str, Any]) -> None:
    """A limit on the size of files, as quotas have it: refused in one line, and nothing is lost."""
    events = nursery.run("add_until_full", root=new, file_limit=2_000_000)
    assert "File too large" in events[-1]["refused"]
    nursery.run("tune", root=root, file_limit=300, expect=None)
    nursery.run("add_some", root=root, file_limit=300, expect=None)
    (told,) = nursery.run("look", root=root)
    assert stock.keys() <= told["holds"].keys()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("megabytes", [360, 400, 440, 600])
def test_where_memory_is_limited_it_ends_at_once(root: Path, megabytes: int) -> None:
    """The engine stands still where it gets no memory."""
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import resource, sys\n"
            f"resource.setrlimit(resource.RLIMIT_AS, ({megabytes} * 2**20,) * 2)\n"
            "from serupa.cli import main\n"
            f"sys.argv = ['serupa', 'info', '-c', {str(shop.catalog_of(root))!r}]\n"
            "main()",
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 6, done.stderr
    assert "memory left to this process" in done.stderr and "Traceback" not in done.stderr


def test_panics_of_the_engine_are_errors_of_ours(tmp_path: Path) -> None:
    class PanicException(BaseException):
        pass

    def panic() -> None:
        raise PanicException("index out of bounds:\nthe len is 0")

    with pytest.raises(UnavailableError, match=r"points: the store .*index out of bounds: the len is 0"):
        fence.guarded(tmp_path / "points", panic)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fence.guarded(tmp_path, stop)


def test_what_was_lost_is_noticed_after_a_kill(nursery: Nursery, root: Path) -> None:
    """A process that is killed leaves no checksums; how many items there were, and which, is known."""
    catalog = shop.catalog_of(root)
    nursery.run("add_and_die", root=root, expect=-9)
    assert not (catalog / "points" / "seal.json").exists()
    copy_tree(catalog, root / "whole")
    for name in ("mutable_id_tracker.mappings", "mutable_id_tracker.versions", "page_0.dat", "chunk_0.mmap"):
        shutil.rmtree(catalog)
        copy_tree(root / "whole", catalog)
        for file in catalog.rglob(name):
            empty(file)
        answer = nursery.ask({"job": "look", "args": {"root": str(root)}})
        assert str(catalog) in answer["events"][-1].get("refused", ""), (name, answer)
        with pytest.raises((DamagedError, UnavailableError)):
            check(catalog)
    shutil.rmtree(catalog)
    copy_tree(root / "whole", catalog)
    assert check(catalog) == 30


def test_indexes_of_fields_are_made_anew_after_a_kill(nursery: Nursery, root: Path) -> None:
    """Nothing is known of their files then, and a filter that passes over an item says nothing."""
    catalog = shop.catalog_of(root)
    nursery.run("add_and_die", root=root, expect=-9)
    trackers = list(catalog.rglob("payload_index/*-map/tracker.dat"))
    assert trackers
    for tracker in trackers:
        tracker.write_bytes(bytes(tracker.stat().st_size))
    (told,) = nursery.run("look", root=root)
    assert len(told["holds"]) == 30


def test_damage_to_a_graph_is_noticed_after_a_kill(nursery: Nursery, new: Path) -> None:
    """The engine writes these files once, and searches by them without a word."""
    catalog = shop.catalog_of(new)
    nursery.run("fill", root=new, count=1_100, exact_below=60)
    nursery.run("add_and_die", root=new, exact_below=60, expect=-9)
    (told,) = nursery.run("look", root=new, exact_below=60)
    assert len(told["holds"]) == 1_106
    nursery.run("add_and_die", root=new, exact_below=60, expect=-9)
    copy_tree(catalog, new / "whole")
    for name in ("links_compressed.bin", "quantized.data", "matrix.dat"):
        files = list(catalog.rglob(name))
        assert files
        flip(files[0])
        (told,) = nursery.run("look", root=new, exact_below=60)
        assert str(files[0]) in told.get("refused", ""), (name, told)
        shutil.rmtree(catalog)
        copy_tree(new / "whole", catalog)


def test_a_store_that_is_gone_is_no_empty_one(root: Path) -> None:
    shutil.rmtree(shop.catalog_of(root) / "points")
    for look in (Catalog.open, check):
        with pytest.raises(DamagedError) as told:
            look(shop.catalog_of(root))
        assert told.value.subject == shop.catalog_of(root) / "points"


def test_the_engine_is_not_told_to_make_endless_room(nursery: Nursery, root: Path) -> None:
    nursery.run("add_and_die", root=root, expect=-9)
    for status in shop.catalog_of(root).rglob("vector_storage-*/deleted/status.dat"):
        whole = status.read_bytes()
        status.write_bytes(whole[:4] + b"\x80" + whole[5:])
        answer = nursery.ask({"job": "look", "args": {"root": str(root)}})
        assert str(status) in answer["events"][-1].get("refused", ""), answer
        status.write_bytes(whole)
