"""What a catalogue of a given size needs: memory, disk, machines, and time to encode.

Every figure that goes in is a `Figure` with its source: measured by a script in ``bench/``, stated by the
engine's documentation, or assumed. ``docs/scale.md`` has the tables that `tables` writes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from serupa.storage.manifest import Quantization

Source = Literal["measured", "documented", "assumed"]

_GB = 1e9
_BYTES = {"int8": 1.0, "binary": 1 / 8, "none": 4.0}


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that the model takes as given.

    Parameters
    ----------
    value : float
    unit : str
    source : {"measured", "documented", "assumed"}
    note : str
        By which script, where it stands, or why it is thought so.
    """

    value: float
    unit: str
    source: Source
    note: str


FIGURES = {
    "payload_bytes": Figure(
        850, "bytes an item", "measured", "bench/scale.py: 824 as JSON, on a shop of 10 fields"
    ),
    "links": Figure(16, "links a vector", "documented", "store/qdrant.py makes every collection so"),
    "link_bytes": Figure(
        4,
        "bytes a link",
        "assumed",
        "a 32-bit number; 2 x links at the lowest layer, which is most of the graph",
    ),
    "overhead": Figure(
        1.5, "times", "documented", "Qdrant's capacity planning: for metadata and segments being optimised"
    ),
    "disk_spare": Figure(
        2, "times", "assumed", "optimising and switching over hold the points twice for a while"
    ),
    "node_memory": Figure(64, "GB", "assumed", "a common size"),
    "node_fill": Figure(0.8, "share", "assumed", "the rest is for the system and its page cache"),
    "node_disk": Figure(2_000, "GB", "assumed", "NVMe beside the node"),
    "node_cpus": Figure(16, "processors", "assumed", "a common size beside 64 GB"),
    "node_hour": Figure(0.80, "$ an hour", "assumed", "16 processors, 64 GB and NVMe; put in your own price"),
    "search_ms": Figure(
        16.2,
        "ms of a processor, in a shard of a million x 1,280",
        "measured",
        "on a server: p50 8.1 at 250,000 over gRPC, the client's part in it; from there by the root",
    ),
    "search_growth": Figure(
        0.5,
        "power of a shard's points",
        "measured",
        "on a server: 0.46 from 60,000 to 250,000; beyond assumed",
    ),
    "search_fixed": Figure(
        0.4,
        "share of it, whatever the dimension",
        "measured",
        "bench/tuning.py: p50 1.7 to 1.9 ms, 0.7 to 0.8 with 64 values; in between a line",
    ),
    "shard_points": Figure(10e6, "points a shard", "assumed", "small enough to move between nodes"),
    "utilization": Figure(0.5, "share", "assumed", "above it, waiting grows faster than load"),
    "encode_cpu": Figure(
        95,
        "photos/s a processor",
        "measured",
        "bench/scale.py: 98.6, EfficientNet-Lite0 in float32 with AVX2",
    ),
    "decode_cpu": Figure(65, "photos/s a processor", "measured", "bench/scale.py: 67, JPEG of 1080 x 1340"),
    "encode_gpu": Figure(2_000, "photos/s a GPU", "assumed", "not measured; processors beside it decode"),
    "cpu_hour": Figure(
        0.04, "$ an hour", "assumed", "one processor of a large machine; put in your own price"
    ),
    "gpu_hour": Figure(1.00, "$ an hour", "assumed", "a small inference GPU; put in your own price"),
}
"""Everything that is not worked out."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is wanted.

    Parameters
    ----------
    photos : int
    dimension : int
        Values of an embedding.
    metrics : int
        Named vectors that are searched.
    tuned : bool
        Whether raw embeddings are kept beside.
    raw_dimension : int
        Values of a raw embedding.
    quantization : {"int8", "binary", "none"}
        What stays in memory.
    on_disk : bool
        Whether full vectors are read from disk.
    replicas : int
        Copies of everything.
    searches_per_s : float
        At the busiest hour.
    """

    photos: int
    dimension: int = 1280
    metrics: int = 1
    tuned: bool = False
    raw_dimension: int = 1280
    quantization: Quantization = "int8"
    on_disk: bool = True
    replicas: int = 2
    searches_per_s: float = 50.0


@dataclass(frozen=True, slots=True)
class Size:
    """What it takes; bytes are those of the whole cluster.

    Parameters
    ----------
    memory_gb, disk_gb : float
    shards, nodes : int
    bound_by : {"memory", "disk", "searches", "replicas"}
        What the number of nodes comes from.
    search_cost : float
        $ a million searches at the demanded rate, of the nodes and the API's processors.
    api_cpus : int
        Processors of the API.
    encode_cpu_hours, encode_gpu_hours : float
        Hours of one processor (decode and encode), or of one GPU, to encode all photos once.
    encode_cpu_cost, encode_gpu_cost : float
        $ for that; with GPUs, the processors that decode for them included.
    """

    memory_gb: float
    disk_gb: float
    shards: int
    nodes: int
    bound_by: str
    search_cost: float
    api_cpus: int
    encode_cpu_hours: float
    encode_gpu_hours: float
    encode_cpu_cost: float
    encode_gpu_cost: float
    demand: Demand = field(repr=False, compare=False)


def size(demand: Demand) -> Size:
    """Work out what a demand takes.

    Raises
    ------
    ValueError
        If something demanded is not above 0.
    """
    numbers = (demand.photos, demand.dimension, demand.metrics, demand.replicas, demand.searches_per_s)
    if min(numbers) <= 0:
        raise ValueError("photos, dimension, metrics, replicas and searches must be above 0")
    memory_gb, disk_gb = _memory_gb(demand), _disk_gb(demand)
    shards = max(1, math.ceil(demand.photos / _of("shard_points")))
    needed = {
        "memory": math.ceil(memory_gb / (_of("node_memory") * _of("node_fill"))),
        "disk": math.ceil(disk_gb / _of("node_disk")),
        "searches": math.ceil(_busy_cpus(demand, shards) / _of("utilization") / _of("node_cpus")),
        "replicas": demand.replicas,
    }
    bound_by = max(needed, key=lambda name: needed[name])
    nodes = max(needed[bound_by], 3 if demand.replicas > 1 else 1)  # a cluster decides by majority
    a_query_s = 1 / _of("encode_cpu") + 1 / _of("decode_cpu")
    api_cpus = math.ceil(demand.searches_per_s * a_query_s / _of("utilization"))
    hourly = nodes * _of("node_hour") + api_cpus * _of("cpu_hour")
    cpu_hours, gpu_hours, decode_hours = _encode_hours(demand.photos)
    return Size(
        memory_gb,
        disk_gb,
        shards,
        nodes,
        bound_by if nodes == needed[bound_by] else "majority",
        hourly / (3600 * demand.searches_per_s) * 1e6,
        api_cpus,
        cpu_hours,
        gpu_hours,
        cpu_hours * _of("cpu_hour"),
        gpu_hours * _of("gpu_hour") + decode_hours * _of("cpu_hour"),
        demand,
    )


def _of(name: str) -> float:
    return FIGURES[name].value


def _memory_gb(demand: Demand) -> float:
    """Quantised vectors (or whole ones) and the graph, with the engine's overhead."""
    values = demand.dimension * _BYTES[demand.quantization]
    if not demand.on_disk and demand.quantization != "none":
        values += 4 * demand.dimension
    graph = 2 * _of("links") * _of("link_bytes")
    a_photo = demand.metrics * (values + graph) * _of("overhead")
    return demand.photos * demand.replicas * a_photo / _GB


def _disk_gb(demand: Demand) -> float:
    """Whole vectors, quantised vectors, graph and payloads."""
    quantized = 0.0 if demand.quantization == "none" else demand.dimension * _BYTES[demand.quantization]
    graph = 2 * _of("links") * _of("link_bytes")
    a_photo = demand.metrics * (4 * demand.dimension + quantized + graph) + _of("payload_bytes")
    a_photo += 4 * demand.raw_dimension if demand.tuned else 0
    return demand.photos * demand.replicas * a_photo * _of("disk_spare") / _GB


def _busy_cpus(demand: Demand, shards: int) -> float:
    """Processors that searches keep busy: each search looks into one replica of every shard."""
    millions = demand.photos / shards / 1e6
    of_dimension = _of("search_fixed") + (1 - _of("search_fixed")) * demand.dimension / 1_280
    a_shard_ms = _of("search_ms") * of_dimension * math.pow(millions, _of("search_growth"))
    return demand.searches_per_s * shards * a_shard_ms / 1e3


def _encode_hours(photos: int) -> tuple[float, float, float]:
    """Hours of a processor for all of it, of a GPU for encoding, and of a processor for decoding."""
    decode = photos / _of("decode_cpu") / 3600
    return decode + photos / _of("encode_cpu") / 3600, photos / _of("encode_gpu") / 3600, decode


CASES = {
    "1 million": Demand(1_000_000, searches_per_s=20),
    "100 million": Demand(100_000_000, searches_per_s=200),
    "100 million, tuned to 128": Demand(100_000_000, dimension=128, tuned=True, searches_per_s=200),
    "1 billion": Demand(1_000_000_000, searches_per_s=1_000),
    "1 billion, tuned to 128": Demand(1_000_000_000, dimension=128, tuned=True, searches_per_s=1_000),
    "1 billion, tuned to 128, binary": Demand(
        1_000_000_000, dimension=128, tuned=True, quantization="binary", searches_per_s=1_000
    ),
}
"""The cases that ``docs/scale.md`` works out."""


def tables() -> str:
    """Return the tables of ``docs/scale.md``, as Markdown."""
    sizes = {name: size(demand) for name, demand in CASES.items()}
    return "\n".join([_cluster_table(sizes), "", _encode_table(), "", _figures_table()]) + "\n"


def _cluster_table(sizes: dict[str, Size]) -> str:
    head = (
        "| photos | searches/s | memory, GB | disk, GB | shards | nodes | bound by | API processors "
        "| $ a million searches |"
    )
    rows = [head, "| --- |" + " ---: |" * 5 + " --- |" + " ---: |" * 2]
    for name, one in sizes.items():
        rows.append(
            f"| {name} | {one.demand.searches_per_s:,.0f} | {one.memory_gb:,.0f} | {one.disk_gb:,.0f} "
            f"| {one.shards} | {one.nodes} | {one.bound_by} | {one.api_cpus} | {one.search_cost:,.2f} |"
        )
    return "\n".join(rows)


def _encode_table() -> str:
    rows = [
        "| photos | hours of one processor | on 64 processors | $ | hours of one GPU | on 8 GPUs | $ |",
        "| --- |" + " ---: |" * 6,
    ]
    for photos, name in ((10**6, "1 million"), (10**8, "100 million"), (10**9, "1 billion")):
        one = size(Demand(photos))
        rows.append(
            f"| {name} | {one.encode_cpu_hours:,.1f} | {_time(one.encode_cpu_hours / 64)} "
            f"| {one.encode_cpu_cost:,.2f} | {one.encode_gpu_hours:,.1f} | {_time(one.encode_gpu_hours / 8)} "
            f"| {one.encode_gpu_cost:,.2f} |"
        )
    return "\n".join(rows)


def _figures_table() -> str:
    rows = ["| figure | value | source | |", "| --- | ---: | --- | --- |"]
    for name, one in FIGURES.items():
        rows.append(f"| {name} | {one.value:,g} {one.unit} | {one.source} | {one.note} |")
    return "\n".join(rows)


def _time(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


if __name__ == "__main__":
    print(tables(), end="")
