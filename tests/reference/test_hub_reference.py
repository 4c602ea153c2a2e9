"""Make encoders anew with PyTorch and transformers, and load them as the hub's: `pytest -m reference`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.encoders.hub import repository, serving
from tests.encoders.test_hub import ENCODE, NAMES, unit
from tests.reference.make_hub import HERE, make

pytestmark = pytest.mark.reference


def test_the_hubs_encoders_give_what_transformers_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", reason="needs it: run `make test-reference`")
    monkeypatch.setenv("SERUPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=":")
    make(tmp_path / "made")
    with serving({f"tiny/{name}": repository(tmp_path / "made" / name) for name in NAMES}) as hub:
        assert json.loads(hub.run(ENCODE, str(tmp_path / "found.npz"), *NAMES))
    with (
        np.load(tmp_path / "found.npz") as found,
        np.load(tmp_path / "made" / "hub.npz") as expected,
        np.load(HERE / "hub.npz") as stored,
    ):
        for name in expected.files:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-4, err_msg=name)
            np.testing.assert_allclose(stored[name], expected[name], atol=1e-4, err_msg=name)
        for side in ("images", "texts"):
            np.testing.assert_allclose(
                found[f"clip-joined.{side}"], unit(expected[f"clip.{side}"]), atol=1e-4
            )
    for name in NAMES[:3]:
        file = f"{name}/tokenizer.json"
        assert (HERE / file).read_bytes() == (tmp_path / "made" / file).read_bytes()
