from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tools.sizing import FIGURES, Demand, size, tables

DOCUMENT = Path(__file__).parents[1] / "docs" / "scale.md"


def test_one_million_by_hand() -> None:
    """Int8: 1,280 bytes and 32 links of 4 bytes a vector, half as much again, two replicas."""
    one = size(Demand(1_000_000, searches_per_s=20))
    assert one.memory_gb == pytest.approx(2 * 1e6 * (1280 + 32 * 4) * 1.5 / 1e9)
    assert one.disk_gb == pytest.approx(
        2 * 1e6 * (4 * 1280 + 1280 + 128 + FIGURES["payload_bytes"].value) * 2 / 1e9
    )
    assert (one.shards, one.nodes, one.bound_by) == (1, 3, "majority")
    hourly = 3 * FIGURES["node_hour"].value + one.api_cpus * FIGURES["cpu_hour"].value
    assert one.search_cost == pytest.approx(hourly / (20 * 3600) * 1e6)


def test_everything_grows_with_what_it_depends_on() -> None:
    small = Demand(10_000_000)
    for more in (
        {"photos": 20_000_000},
        {"dimension": 2048},
        {"metrics": 3},
        {"replicas": 3},
        {"on_disk": False},
    ):
        assert size(replace(small, **more)).memory_gb > size(small).memory_gb
    assert size(replace(small, tuned=True)).disk_gb > size(small).disk_gb
    assert size(replace(small, tuned=True)).memory_gb == size(small).memory_gb
    quantized = [size(replace(small, quantization=q)).memory_gb for q in ("binary", "int8", "none")]
    assert quantized == sorted(quantized)
    assert size(Demand(20_000_000)).encode_cpu_hours == pytest.approx(2 * size(small).encode_cpu_hours)


def test_what_binds() -> None:
    assert size(Demand(10**9)).bound_by == "memory"
    kept = Demand(10**9, dimension=128, tuned=True, quantization="binary", searches_per_s=10)
    assert size(kept).bound_by == "disk"
    assert size(Demand(10**6, searches_per_s=100_000)).bound_by == "searches"
    assert size(Demand(10**6, replicas=1)).nodes == 1
    assert size(Demand(10**6, replicas=5)).bound_by == "replicas"


def test_a_search_costs_the_root_of_a_shard() -> None:
    """10 million in one shard: as 3.2 of a million each would."""
    busy = 10_000 * FIGURES["search_ms"].value / 1e3 * 10**0.5
    nodes = busy / FIGURES["utilization"].value / FIGURES["node_cpus"].value
    one = size(Demand(10**7, searches_per_s=10_000))
    assert (one.shards, one.bound_by, one.nodes) == (1, "searches", math.ceil(nodes))
    assert size(Demand(10**7, dimension=128, searches_per_s=10_000)).nodes < one.nodes / 2


@pytest.mark.parametrize("wrong", [{"photos": 0}, {"replicas": 0}, {"searches_per_s": 0.0}])
def test_nothing_is_no_demand(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        size(replace(Demand(10), **wrong))  # type: ignore[arg-type]


def test_the_document_has_these_tables() -> None:
    """After a change: python -m tools.sizing writes them."""
    document = DOCUMENT.read_text()
    for table in tables().split("\n\n"):
        assert table.strip() in document


def test_every_figure_has_a_source() -> None:
    for name, figure in FIGURES.items():
        assert figure.value > 0 and figure.note, name
        assert figure.source in ("measured", "documented", "assumed")
