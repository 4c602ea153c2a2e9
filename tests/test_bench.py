"""What the comparisons in bench/ stand on; they themselves are run by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bench import machine, photos, run, tables, vectors
from serupa.images import open_photo


def test_tables_come_back_as_values() -> None:
    text = tables.markdown(
        ["what", "ms"],
        [["one", tables.spread([1234.5, 2.0, 3.0], 1)], ["`two`", tables.spread([4.0])], ["none", ""]],
    )
    assert "| one | 3.0 (2.0 to 1,234.5) |" in text
    assert tables.parse(f"# Title\n\n{text}\n\nWords.\n\n{text}") == 2 * [
        [
            {"what": "one", "ms": {"median": 3.0, "low": 2.0, "high": 1234.5}},
            {"what": "two", "ms": 4.0},
            {"what": "none", "ms": ""},
        ]
    ]


def test_targets_are_judged() -> None:
    assert tables.judged(1.6, 1.5, at_least=True) == "1.60 (>= 1.5: holds)"
    assert tables.judged(1.6, 1.5, at_least=False) == "1.60 (<= 1.5: falls short)"


def test_every_script_is_there() -> None:
    folder = Path(run.__file__).parent
    assert all((folder / f"{script.name}.py").is_file() for script in run.SCRIPTS)
    assert machine.describe()["processors"] >= 1


def test_generated_photos_differ_in_content(tmp_path: Path) -> None:
    paths = list(photos.generated(tmp_path, 205, (64, 80)))
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in paths}) == 205
    assert open_photo(str(paths[204])).size == (64, 80)


def test_vectors_have_their_neighbours(tmp_path: Path) -> None:
    import numpy as np

    vectors.write(tmp_path, 500)
    made, asked = np.load(tmp_path / "vectors.npy"), np.load(tmp_path / "queries.npy")
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    nearest = np.argsort(-(asked @ made.T), axis=1)[:, : vectors.NEIGHBORS]
    assert (np.load(tmp_path / "truth.npy") == nearest).mean() > 0.99
