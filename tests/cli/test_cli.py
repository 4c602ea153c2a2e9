from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import draw_photo


def serupa(*arguments: object, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run a command; its exit status must be the code, or that of any error (None)."""
    done = subprocess.run(
        [sys.executable, "-m", "serupa", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode in ((code,) if code is not None else range(1, 7)), done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos, and a catalogue made of it by the command line."""
    folder = tmp_path_factory.mktemp("shop")
    for number in range(12):
        draw_photo(folder / "photos" / ("hats", "shoes")[number % 2] / f"{number:02}.png", number)
    (folder / "photos" / "hats" / "broken.png").write_text("no photo")
    done = serupa("index", folder / "photos", "-c", folder / "catalog", "--json")
    report = json.loads(done.stdout)
    assert (report["added"], report["items"], len(report["failed"])) == (12, 12, 1)
    assert "failed:" in done.stderr
    assert "broken.png" in done.stderr
    return folder


def test_index_again(shop: Path) -> None:
    done = serupa("index", shop / "photos", "-c", shop / "catalog", "--profile")
    assert done.stdout == ""
    assert "0 added, 0 updated, 12 unchanged, 1 failed" in done.stderr
    assert "decode" in done.stderr


def test_search_table_and_json(shop: Path) -> None:
    photo = shop / "photos" / "hats" / "04.png"
    table = serupa("search", photo, "-c", shop / "catalog", "-k", 3).stdout
    for word in ("Rank", "Name", "Category", "Distance", "Similarity", "hats/04.png"):
        assert word in table
    found = json.loads(serupa("search", photo, "-c", shop / "catalog", "-k", 3, "--json").stdout)
    assert found["metric"] == "cosine"
    assert found["encoder"] == "serupa-clothes"
    assert set(found["timing_ms"]) == {"decode", "encode", "search"}
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3]
    assert found["hits"][0]["id"] == "hats/04.png"
    assert found["hits"][0]["attributes"] == {"category": "hats"}
    assert found["hits"][0]["similarity"] == pytest.approx(1, abs=1e-4)
    assert set(found["hits"][0]) == {
        "rank",
        "id",
        "product_id",
        "image",
        "distance",
        "similarity",
        "words",
        "attributes",
    }


def test_search_with_filter_and_crop(shop: Path) -> None:
    photo = shop / "photos" / "hats" / "04.png"
    done = serupa(
        "search",
        photo,
        "-c",
        shop / "catalog",
        "--where",
        "category=shoes",
        "--crop",
        "0,0,0.5,0.5",
        "--json",
    )
    hits = json.loads(done.stdout)["hits"]
    assert len(hits) == 6
    assert {hit["attributes"]["category"] for hit in hits} == {"shoes"}
    nothing = serupa("search", photo, "-c", shop / "catalog", "--where", "category=ties")
    assert "Nothing found" in nothing.stdout


def test_search_with_the_garments_in_a_photo(shop: Path) -> None:
    photo = shop / "photos" / "hats" / "04.png"
    told = json.loads(serupa("search", photo, "-c", shop / "catalog", "--garments", "--json").stdout)
    assert len(told["hits"]) == 10
    assert all(len(region["box"]) == 4 for region in told["regions"])


def test_similar(shop: Path) -> None:
    hits = json.loads(serupa("similar", "hats/04.png", "-c", shop / "catalog", "--json").stdout)["hits"]
    assert len(hits) == 10
    assert "hats/04.png" not in {hit["id"] for hit in hits}


def test_sheet(shop: Path, tmp_path: Path) -> None:
    photo = shop / "photos" / "hats" / "04.png"
    sheet = tmp_path / "sheet.png"
    serupa("search", photo, "-c", shop / "catalog", "-k", 7, "--sheet", sheet, "--crop", "0.1,0.1,0.5,0.5")
    with Image.open(sheet) as picture:
        assert picture.width > 1200
        assert len(picture.convert("RGB").resize((64, 64)).getcolors(4096) or ()) > 50
    serupa(
        "similar", "hats/04.png", "-c", shop / "catalog", "--sheet", tmp_path / "none" / "x.png", code=None
    )


def test_remove_and_info(shop: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    serupa("index", shop / "photos", "-c", catalog)
    removed = json.loads(serupa("remove", "hats/04.png", "hats/06.png", "-c", catalog, "--json").stdout)
    assert removed == {"removed": 2, "items": 10}
    assert (
        json.loads(serupa("remove", "--where", "category=shoes", "-c", catalog, "--json").stdout)["items"]
        == 4
    )
    known = json.loads(serupa("info", "-c", catalog, "--json").stdout)
    assert (known["items"], known["encoder"], known["metrics"]) == (4, "serupa-clothes", ["cosine"])
    assert "4 photos" in serupa("info", "-c", catalog).stdout


def test_metrics_of_a_new_catalogue(shop: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    serupa("index", shop / "photos", "-c", catalog, "--metrics", "euclidean,cosine", "--resize", "squash")
    known = json.loads(serupa("info", "-c", catalog, "--json").stdout)
    assert (known["metrics"], known["resize"]) == (["euclidean", "cosine"], "squash")
    done = serupa("index", shop / "photos", "-c", catalog, "--metrics", "cosine", code=None)
    assert "its metrics are euclidean,cosine" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "none.jpg", "-c", "CATALOG"], 3, "none.jpg"),
        (["search", "PHOTO", "-c", "none"], None, "no catalogue there"),
        (["search", "PHOTO", "-c", "CATALOG", "--metric", "hamming"], 2, "'hamming'; it has cosine"),
        (["search", "PHOTO", "-c", "CATALOG", "--where", "nonsense"], 2, "'nonsense'"),
        (["search", "PHOTO", "-c", "CATALOG", "--where", "colour=red"], 2, "'colour'"),
        (["search", "PHOTO", "-c", "CATALOG", "--crop", "1,2,3"], 2, "x,y,w,h"),
        (["search", "PHOTO", "-c", "CATALOG", "--by", "shop"], 2, "item or product"),
        (["similar", "nothing", "-c", "CATALOG"], 3, "no item 'nothing'"),
        (["remove", "-c", "CATALOG"], 2, "give ids or a filter"),
        (["index", "none", "-c", "CATALOG"], 3, "none"),
        (["index", "PHOTOS", "-c", "CATALOG", "--encoder", "nothing"], 3, "nothing"),
        (["index", "PHOTOS", "-c", "NEW", "--resize", "stretch"], 1, "stretch"),
        (["encoders", "show", "nothing"], 3, "nothing"),
        (["encoders", "fetch", "resnet50"], 6, "--weights"),
    ],
)
def test_wrong_input_is_one_line(
    shop: Path, tmp_path: Path, arguments: list[str], code: int | None, message: str
) -> None:
    words = {
        "CATALOG": shop / "catalog",
        "PHOTOS": shop / "photos",
        "PHOTO": shop / "photos" / "hats" / "04.png",
        "NEW": tmp_path / "new",
    }
    done = serupa(*(words.get(word, word) for word in arguments), code=code)
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["search"], ["search", "x.jpg"], ["index", "x", "-c", "y", "--odd"], ["odd"]]
)
def test_wrong_usage(arguments: list[str]) -> None:
    serupa(*arguments, code=2)


def test_nothing_usable(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("no photo")
    done = serupa("index", tmp_path / "photos", "-c", tmp_path / "catalog", code=None)
    assert "none of its 1 photos could be used" in done.stderr


def test_encoders(tmp_path: Path) -> None:
    cards = json.loads(serupa("encoders", "list", "--json").stdout)
    assert {"serupa-clothes", "resnet50"} <= {card["name"] for card in cards}
    assert "resnet50" in serupa("encoders").stdout
    shown = json.loads(serupa("encoders", "show", "serupa-clothes", "--json").stdout)
    assert shown["card"]["dimension"] == 1280
    assert shown["weights"]["present"]
    missing = serupa("encoders", "show", "resnet50")
    assert "--weights" in missing.stderr
    assert serupa("encoders", "fetch", "efficientnet-lite0").stderr.strip().endswith(".safetensors")


def test_doctor() -> None:
    found = json.loads(serupa("doctor", "--json").stdout)
    assert found["encoding"]["ok"]
    assert "photos/s" in found["encoding"]["found"]
    assert found["cache"]["ok"]
    assert not found["model hub"]["ok"]
    assert "onnxruntime" in serupa("doctor").stdout


def test_version_and_help() -> None:
    assert serupa("--version").stdout.startswith("serupa ")
    assert "index" in serupa("--help").stdout
