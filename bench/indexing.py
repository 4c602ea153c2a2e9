"""How fast photos become searchable, beside the paper's pipeline and fastembed; and what 8 bits are worth.

    python -m bench.indexing [PHOTOS] [--rounds 3] [--limit N] [--quick]

PHOTOS is a folder or a table; the sample catalogue, enlarged to 1080 x 1340, if it is left out. ResNet-50 has
random weights: speed does not depend on them. Each measurement is a process of its own; they take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import photos
from bench.tables import judged, markdown, spread

RESNET_LIMIT = 160  # photos for the slow pipelines, unless --limit says otherwise
DEFAULT = "efficientnet-lite0"


@dataclass
class Job:
    """One thing to measure, and what it took each time."""

    title: str
    command: list[str]
    photos_per_s: list[float] = field(default_factory=list)
    whole_per_s: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def run(self, scratch: Path) -> None:
        catalog = scratch / "catalog"
        shutil.rmtree(catalog, ignore_errors=True)
        before, started = os.times(), time.perf_counter()
        done = subprocess.run(self.command, check=True, capture_output=True, text=True)
        seconds, after = time.perf_counter() - started, os.times()
        report = json.loads(done.stdout[done.stdout.index("{") :])
        count = report.get("encoded") or report["photos"]
        busy = after.children_user + after.children_system - before.children_user - before.children_system
        self.photos_per_s.append(count / report["seconds"])
        self.whole_per_s.append(count / seconds)
        self.cpu_ms.append(1e3 * busy / count)

    @property
    def rate(self) -> float:
        return statistics.median(self.photos_per_s)

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpu_ms)


class Bench:
    def __init__(self, scratch: Path, given: str | None, limits: tuple[int | None, int | None]) -> None:
        self.scratch = scratch
        self.paths = photos.source(given, scratch, limits[0])
        chosen = limits[1] or len(self.paths)
        self.few = photos.source(given, scratch, chosen) if given else self.paths[:chosen]
        self.table = photos.table(self.paths, scratch / "photos.csv", given)
        self.few_table = photos.table(self.few, scratch / "few.csv", given)
        self.models = make_resnet(scratch)
        self.jobs: dict[str, Job] = {}

    def pipeline(
        self, key: str, title: str, name: str, encoder: str = DEFAULT, weights: str | None = None
    ) -> None:
        few = "lite0" not in encoder or name.startswith(("paper", "fastembed"))
        setup = {
            "photos": self.few if few else self.paths,
            "encoder": encoder,
            "weights": weights,
            "checkpoint": self.models["checkpoint"],
            "fastembed_model": self.models["fastembed"],
        }
        file = self.scratch / f"{key}.json"
        file.write_text(json.dumps(setup))
        self.jobs[key] = Job(title, [sys.executable, "-m", "bench.pipelines", name, str(file)])

    def index(self, key: str, title: str, encoder: str, weights: str | None = None) -> None:
        table = self.table if "lite0" in encoder else self.few_table
        command = [sys.executable, "-m", "serupa", "index", str(table), "-c", str(self.scratch / "catalog")]
        command += ["--encoder", encoder, "--json", *(["--weights", weights] if weights else [])]
        self.jobs[key] = Job(title, command)

    def quantize(self, encoder: str, weights: str | None = None) -> dict[str, Any]:
        command = [sys.executable, "-m", "serupa", "encoders", "quantize", encoder, "--json"]
        command += ["--calibrate", str(self.table), "--out", str(self.scratch / f"{encoder}-int8")]
        command += ["--weights", weights] if weights else []
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"{encoder}: {done.stderr.splitlines()[-1]}\n")
            return {}
        made: dict[str, Any] = json.loads(done.stdout)
        return made

    def measure(self, rounds: int) -> None:
        for job in self.jobs.values():  # once, to warm disks and caches
            if job.title.startswith("Serupa"):
                job.run(self.scratch)
                job.photos_per_s.clear(), job.whole_per_s.clear(), job.cpu_ms.clear()
        for _ in range(rounds):
            for job in self.jobs.values():
                job.run(self.scratch)


def make_resnet(scratch: Path) -> dict[str, str]:
    """Write one ResNet-50 with random weights as a checkpoint, and as an ONNX file that takes any library."""
    import onnx
    import torch
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.torch import save_file

    from bench.resnet import random_state
    from serupa.encoders import load_card
    from serupa.encoders.checkpoint import read_checkpoint
    from serupa.encoders.resnet import build_graph

    state = random_state()
    torch.save(state, scratch / "resnet50.pth")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, scratch / "resnet50.safetensors")
    card = load_card("resnet50")
    model = onnx.load_model_from_string(build_graph(read_checkpoint(scratch / "resnet50.safetensors"), card))
    graph = model.graph
    # its own first steps go: float planes come in, normalised, as other libraries give them
    cut = next(i for i, node in enumerate(graph.node) if node.op_type == "Sub")
    centred = graph.node[cut].output[0]
    del graph.node[: cut + 1]
    import numpy as np

    scale = (255 * np.array(card.std, np.float32)).reshape(1, 3, 1, 1)
    graph.initializer.append(numpy_helper.from_array(scale, "scale"))
    graph.node.insert(0, helper.make_node("Mul", ["pixel_values", "scale"], [centred]))
    del graph.input[:], graph.output[1:]
    shape = ("n", 3, card.input_size, card.input_size)
    graph.input.append(helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, shape))
    folder = scratch / "resnet50-onnx"
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    size = {"height": 224, "width": 224}
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        **dict.fromkeys(
            ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"), True
        ),
        "size": {"shortest_edge": 224},
        "crop_size": size,
        "resample": 2,
        "rescale_factor": 1 / 255,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    values = card.to_dict()
    lines = [
        f"{key} = {json.dumps(values[key])}"
        for key in ("dimension", "input_size", "mean", "std", "resize", "resample", "licence")
    ]
    ports = 'input = "pixel_values"\nlayout = "NCHW"\noutput = "embedding"'
    same = folder / "same-file.toml"
    same.write_text(
        "\n".join(['architecture = "onnx"', *lines, '[weights]\nfile = "model.onnx"', f"[onnx]\n{ports}\n"])
    )
    return {
        "checkpoint": str(scratch / "resnet50.pth"),
        "weights": str(scratch / "resnet50.safetensors"),
        "fastembed": str(folder),
        "card": str(same),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="photos; all of them unless given")
    parser.add_argument("--quick", action="store_true", help="32 photos, one round, ResNet-50 in float only")
    asked = parser.parse_args()
    limits = (32, 32) if asked.quick else (asked.limit, asked.limit or RESNET_LIMIT)
    with tempfile.TemporaryDirectory(prefix="serupa-bench-") as scratch:
        bench = Bench(Path(scratch), asked.photos, limits)
        quantized = {DEFAULT: bench.quantize(DEFAULT)}
        weights = bench.models["weights"]
        if not asked.quick:
            quantized["resnet50"] = bench.quantize("resnet50", weights)
        add_jobs(bench, quantized, weights, everything=not asked.quick)
        bench.measure(1 if asked.quick else asked.rounds)
        print(f"{len(bench.paths)} photos ({len(bench.few)} where ResNet-50 is at work).\n")
        show(bench, quantized)


def add_jobs(bench: Bench, quantized: dict[str, Any], weights: str, *, everything: bool) -> None:
    bench.pipeline("paper", "(a) the paper's: PyTorch, Pillow, scikit-learn", "paper")
    bench.pipeline("fastembed", "(b) fastembed, same ONNX file", "fastembed")
    if everything:
        bench.pipeline("paper-2", "(a) with 2 loading processes", "paper-2-workers")
        bench.pipeline("fastembed-2", "(b) with parallel=2", "fastembed-parallel")
    bench.index("same-file", "Serupa, ResNet-50, same ONNX file", bench.models["card"])
    encoders = {"resnet50": ("ResNet-50", weights), DEFAULT: ("EfficientNet-Lite0", None)}
    for name, (title, file) in encoders.items():
        bench.index(name, f"Serupa, {title}", name, file)
        bench.pipeline(f"{name} decode", f"decode alone, for {title}", "decode", name, file)
        if everything:
            plain = f"decode alone, for {title}, memory returned each time"
            bench.pipeline(f"{name} decode, returning", plain, "decode-returning-memory", name, file)
        bench.pipeline(f"{name} encode", f"encode alone, {title}", "encode", name, file)
        if card := quantized.get(name, {}).get("card"):
            bench.index(f"{name}-int8", f"Serupa, {title}, int8", card)
            bench.pipeline(f"{name}-int8 encode", f"encode alone, {title}, int8", "encode", card)


def show(bench: Bench, quantized: dict[str, Any]) -> None:
    jobs = bench.jobs
    columns = ["what", "photos/s", "whole process", "times (a)", "times (b)", "CPU ms a photo"]
    rows = []
    for job in jobs.values():
        alone = "alone" in job.title
        times = (
            ["", ""] if alone else [f"{job.rate / jobs[peer].rate:.1f}" for peer in ("paper", "fastembed")]
        )
        whole = "" if alone else spread(job.whole_per_s, 1)
        rows.append([job.title, spread(job.photos_per_s, 1), whole, *times, spread(job.cpu_ms, 1)])
    print(markdown(columns, rows))
    print(
        "\n`whole process` and processor time hold imports and loading the model, too; the other two do not."
    )
    print("fastembed's own worker processes are not in its processor time.\n")
    print(markdown(["target", "by the clock", "by processor time"], targets(jobs)))
    if kept := [(name, made) for name, made in quantized.items() if made]:
        print("\nQuality of the quantised encoders, on the photos they were calibrated with:\n")
        columns = ["encoder", "mean cosine", "smallest", "P@1 float", "P@1 int8", "left in float"]
        print(markdown(columns, [quality(name, made) for name, made in kept]))


def quality(name: str, made: dict[str, Any]) -> list[str]:
    precision = made["precision_at_1"] or ["", ""]
    layers = f"{len(made['kept_float'])} layers"
    return [name, f"{made['cosine']:.4f}", f"{made['cosine_min']:.4f}", *map(str, precision), layers]


def targets(jobs: dict[str, Job]) -> list[list[str]]:
    """Judge what was measured by the clock, and by processor time, which a busy machine changes less."""
    rows = []

    def ratio(title: str, mine: str, peer: str, target: float) -> None:
        if mine in jobs:
            by_clock = jobs[mine].rate / jobs[peer].rate
            by_cpu = jobs[peer].cpu / jobs[mine].cpu
            rows.append([title, *(judged(value, target, at_least=True) for value in (by_clock, by_cpu))])

    ratio("ResNet-50 over (a)", "resnet50", "paper", 3)
    ratio("ResNet-50 int8 over (a)", "resnet50-int8", "paper", 4.5)
    ratio("ResNet-50, same file, over (b)", "same-file", "fastembed", 1.6)
    ratio("default encoder over (a)", DEFAULT, "paper", 12)
    for name, target in (("resnet50", 1.5), (DEFAULT, 1.25)):
        ratio(f"{name}: encode, int8 over float", f"{name}-int8 encode", f"{name} encode", target)
        for variant in (name, f"{name}-int8"):
            if variant in jobs:
                alone = 1 / jobs[f"{name} decode"].rate + 1 / jobs[f"{variant} encode"].rate
                share = judged(jobs[variant].rate * alone, 0.85, at_least=True)
                rows.append([f"{variant}: share of the bound", share, ""])
    return rows


if __name__ == "__main__":
    main()
