"""How much photos may take together."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from serupa.images import decoding, open_photo


def test_large_photos_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It bounds memory: a photo of 100 million pixels takes up to 1.5 GB."""
    monkeypatch.setattr(decoding, "LARGE_BYTES", 10)
    inside, most = [], []
    load = PngImagePlugin.PngImageFile.load

    def slowly(self: PngImagePlugin.PngImageFile) -> Any:
        inside.append(self)
        most.append(len(inside))
        time.sleep(0.02)
        try:
            return load(self)
        finally:
            inside.remove(self)

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", slowly)
    out = io.BytesIO()
    Image.new("RGB", (20, 20)).save(out, "PNG")
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(open_photo, [out.getvalue()] * 8))
    assert max(most) == 1
