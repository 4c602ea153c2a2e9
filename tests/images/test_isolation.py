"""Photos that are decoded in processes of their own: what one of them does stays there."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serupa.errors import InvalidInputError, SerupaError, UnavailableError
from serupa.images import Crop, open_photo, photo_pixels, thumbnail
from serupa.images.isolation import Decoders

MB = 10**6


def encoded(image: Image.Image, kind: str, **more: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)  # type: ignore[arg-type]
    return out.getvalue()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (600, 400, 3), np.uint8), "RGB")


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    made = Decoders(2, 300 * MB, 5.0)
    made.start()
    yield made
    made.stop()


def processes(decoders: Decoders) -> list[int]:
    return [one._process.pid for one in decoders._all if one._process is not None]


def test_photos_are_the_same(decoders: Decoders) -> None:
    photos = [
        encoded(NOISE, "JPEG", quality=95),
        encoded(NOISE.convert("RGBA"), "PNG"),
        encoded(NOISE, "WEBP"),
        encoded(NOISE.convert("CMYK"), "JPEG"),
    ]
    asked = [(photo, crop) for photo in photos for crop in (None, Crop(0.1, 0.2, 0.5, 0.6))]
    with ThreadPoolExecutor(4) as threads:
        apart = list(threads.map(lambda one: photo_pixels(one[0], 64, crop=one[1]), asked))
    decoders.stop()
    here = [photo_pixels(photo, 64, crop=crop) for photo, crop in asked]
    for one, other in zip(apart, here, strict=True):
        np.testing.assert_array_equal(one, other)
    decoders._stopped.clear()
    decoders.start()


@pytest.mark.parametrize("bad", [b"no photo", b"\xff\xd8\xff\xe0 cut short", b"GIF89a", b"<svg/>"])
def test_errors_are_the_same(decoders: Decoders, bad: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(bad)
    told = []
    for photo in (bad, tmp_path / "a.jpg"):
        with pytest.raises(SerupaError) as caught:
            open_photo(photo)
        told.append((type(caught.value), str(caught.value)))
    decoders.stop()
    for photo, before in zip((bad, tmp_path / "a.jpg"), told, strict=True):
        with pytest.raises(SerupaError) as caught:
            open_photo(photo)
        assert (type(caught.value), str(caught.value)) == before
    decoders._stopped.clear()
    decoders.start()


def test_one_that_takes_too_long_is_ended_and_the_next_is_not(decoders: Decoders) -> None:
    decoders._all[0]._seconds = decoders._all[1]._seconds = 0.5
    assert thumbnail(encoded(NOISE, "PNG"), 64)
    for pid in processes(decoders):
        os.kill(pid, signal.SIGSTOP)  # as stuck as can be
    with pytest.raises(InvalidInputError, match=r"took over 0\.5 s to decode"):
        thumbnail(encoded(NOISE, "PNG"), 64)
    for pid in processes(decoders):
        os.kill(pid, signal.SIGCONT)
    decoders._all[0]._seconds = decoders._all[1]._seconds = 5.0
    assert thumbnail(encoded(NOISE, "PNG"), 64)


def test_one_that_breaks_its_decoder_is_refused_and_the_next_is_not(decoders: Decoders) -> None:
    assert thumbnail(encoded(NOISE, "PNG"), 64)
    for pid in processes(decoders):
        os.kill(pid, signal.SIGSTOP)  # so that it ends in the middle of the work

    def kill() -> None:
        for pid in processes(decoders):
            os.kill(pid, signal.SIGKILL)

    killing = threading.Timer(0.2, kill)
    killing.start()
    with pytest.raises(InvalidInputError, match="broke its decoder"):
        thumbnail(encoded(NOISE, "PNG"), 64)
    killing.join()
    assert thumbnail(encoded(NOISE, "PNG"), 64)


def test_memory_of_all_together_is_bounded(decoders: Decoders) -> None:
    """Photos that take more than all of it are refused; the others wait for each other."""
    with pytest.raises(
        InvalidInputError, match=r"would take \d+ MB of memory to decode, over the limit of 300"
    ):
        thumbnail(encoded(Image.new("RGB", (5000, 5000)), "WEBP", lossless=True, method=0), 64)
    large = encoded(Image.new("RGB", (3500, 3500)), "WEBP", lossless=True, method=0)
    inside, most = [0], []
    taken = decoders._room.taken

    def counting(needed: int):
        inside[0] += needed
        most.append(decoders._room.size - decoders._room._free)
        return taken(needed)

    decoders._room.taken = counting  # type: ignore[method-assign]
    with ThreadPoolExecutor(6) as threads:
        assert len(list(threads.map(lambda _: thumbnail(large, 64), range(6)))) == 6
    assert inside[0] > 300 * MB
    assert max(most) < 300 * MB and decoders._room._free == decoders._room.size


@pytest.mark.parametrize(
    "photo",
    [
        encoded(Image.new("RGBA", (3000, 3000), (1, 2, 3, 99)), "WEBP", lossless=True, method=0),
        encoded(Image.new("RGB", (3000, 3000)), "AVIF", speed=10, subsampling="4:4:4"),
        encoded(Image.new("LA", (3000, 3000)), "PNG"),
        encoded(Image.new("I;16", (3000, 3000)), "PNG"),
        encoded(Image.new("F", (3000, 3000)), "TIFF", compression="tiff_lzw"),
        encoded(Image.new("CMYK", (3000, 3000)), "JPEG", progressive=True),
        encoded(Image.new("RGB", (3000, 3000)), "JPEG", progressive=True, subsampling=0),
        encoded(Image.new("P", (3000, 3000)), "GIF", transparency=0),
    ],
    ids=["webp", "avif", "png-la", "png-16", "tiff-float", "jpeg-cmyk", "jpeg-444", "gif"],
)
@pytest.mark.parametrize("side", [64, 2000])
def test_no_photo_takes_more_than_it_says(decoders: Decoders, photo: bytes, side: int) -> None:
    """The system refuses more than that, and 64 MB, to the process; here without those."""
    assert thumbnail(photo, side)


def test_what_tells_the_server_to_stop_is_not_for_its_decoders(decoders: Decoders) -> None:
    """It answers first what was begun, and a terminal or a supervisor tells all of its processes."""
    assert thumbnail(encoded(NOISE, "PNG"), 64)
    before = processes(decoders)
    for pid in before:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    for _ in range(4):
        assert thumbnail(encoded(NOISE, "PNG"), 64)
    assert processes(decoders) == before


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_it_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERUPA_API_KEY", "a-key-that-nobody-else-knows")
    made = Decoders(1, 300 * MB, 5.0)
    made.start()
    assert thumbnail(encoded(NOISE, "PNG"), 64)
    (pid,) = processes(made)
    assert b"SERUPA" not in Path(f"/proc/{pid}/environ").read_bytes()
    made.stop()


def test_after_stopping_nothing_is_decoded_there() -> None:
    made = Decoders(1, 300 * MB, 5.0)
    made.start()
    decode = made.decode
    made.stop()
    assert thumbnail(encoded(NOISE, "PNG"), 64)  # here again
    from serupa.images.decoding import Wanted

    with pytest.raises(UnavailableError, match="stopped"):
        decode(encoded(NOISE, "PNG"), Wanted("a photo"))
