"""The paper's results beside an evaluation's."""

from __future__ import annotations

import numpy as np
import pytest

from serupa.evaluation import EmbeddedItems, evaluate
from serupa.evaluation.intervals import wilson_interval
from serupa.paper.table import beside_paper, difference_interval


def test_the_paper_beside_ours() -> None:
    rng = np.random.default_rng(0)
    gallery = EmbeddedItems(
        [f"i{i}" for i in range(40)], ["tee", "hat"] * 20, rng.normal(size=(40, 4)).astype("f4")
    )
    result = evaluate(gallery, label="product_id", metrics=["cosine", "euclidean"], resamples=50)
    table = beside_paper(result).to_markdown()
    assert "| cosine | paper | 0.230 (0.158 to 0.322) | 0.160 | 0.126 | 0.002 | 0.006 | 0.009 |" in table
    assert f"| cosine | here | {result.metrics['cosine'].estimates['precision@1']} |" in table
    assert table.count("| here |") == 2  # Manhattan was not measured
    assert "P@1 by euclidean" in table


def test_difference_interval_is_newcombes() -> None:
    # Newcombe 1998, table II, method 10: 56/70 against 48/80 gives 0.0524 to 0.3339
    first = (56 / 70, *wilson_interval(56 / 70, 70))
    second = (48 / 80, *wilson_interval(48 / 80, 80))
    assert difference_interval(first, second) == pytest.approx((0.0524, 0.3339), abs=5e-5)
