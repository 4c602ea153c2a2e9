"""What schemathesis is told of this API: ``binary`` fields are photos, and now and then are not."""

from __future__ import annotations

import io

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def _photo(color: tuple[int, int, int], side: int, kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side + 8), color).save(out, kind)
    return out.getvalue()


_COLORS = st.tuples(*[st.integers(0, 255)] * 3)
_PHOTOS = st.builds(_photo, _COLORS, st.integers(16, 64), st.sampled_from(["PNG", "JPEG", "WEBP"]))

schemathesis.openapi.format("binary", st.one_of(_PHOTOS, _PHOTOS, st.binary(max_size=64)))
