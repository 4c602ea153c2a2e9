"""What bench/indexing.py compares, one process each: `python -m bench.pipelines NAME SETUP.json`.

Prints one JSON line: photos, and seconds from the first photo to the last result; loading libraries and
models is not in it. ``paper`` and ``fastembed`` are written as their own documentation shows.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

_BATCH = 32


def paper(setup: dict[str, Any]) -> dict[str, float]:
    """PyTorch's ResNet-50, eager, batches of 32; Pillow decodes in full; scikit-learn finds neighbours."""
    import torch
    from PIL import Image
    from sklearn.neighbors import NearestNeighbors

    from bench.resnet import ResNet50

    network = ResNet50()
    network.load_state_dict(torch.load(setup["checkpoint"], weights_only=True), strict=False)
    network.eval()
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

    class Photos(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(setup["photos"])

        def __getitem__(self, number: int) -> torch.Tensor:
            with Image.open(setup["photos"][number]) as image:
                small = image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
            return (torch.from_numpy(np.array(small)).permute(2, 0, 1).float().div(255) - mean) / std

    started = time.perf_counter()
    loader = torch.utils.data.DataLoader(Photos(), batch_size=_BATCH, num_workers=setup.get("workers", 0))
    with torch.no_grad():
        features = np.concatenate([network(batch).numpy() for batch in loader])
    for metric in ("cosine", "euclidean", "manhattan"):
        NearestNeighbors(n_neighbors=11, metric=metric).fit(features)
    return {"photos": len(features), "seconds": time.perf_counter() - started}


def paper_two_workers(setup: dict[str, Any]) -> dict[str, float]:
    """`paper` with two processes that decode."""
    return paper(setup | {"workers": 2})


def fastembed(setup: dict[str, Any]) -> dict[str, float]:
    """`fastembed` on a given ONNX file; it embeds and stores nothing."""
    from fastembed import ImageEmbedding

    model = ImageEmbedding("Qdrant/resnet50-onnx", specific_model_path=setup["fastembed_model"])
    started = time.perf_counter()
    embeddings = list(model.embed(setup["photos"], parallel=setup.get("parallel")))
    return {"photos": len(embeddings), "seconds": time.perf_counter() - started}


def fastembed_parallel(setup: dict[str, Any]) -> dict[str, float]:
    """`fastembed` with two processes."""
    return fastembed(setup | {"parallel": 2})


def decode(setup: dict[str, Any]) -> dict[str, float]:
    """Reading and decoding alone, as Serupa does it, on all processors."""
    from serupa.files.memory import keep_freed_memory

    keep_freed_memory()
    return decode_returning_memory(setup)


def decode_returning_memory(setup: dict[str, Any]) -> dict[str, float]:
    """`decode` with the C library as it is: what a photo frees goes back to the system."""
    from serupa import load_encoder

    encoder = load_encoder(setup["encoder"], weights=setup["weights"])
    with ThreadPoolExecutor(_processors()) as pool:
        started = time.perf_counter()
        done = sum(1 for _ in pool.map(encoder.preprocess, setup["photos"]))
        return {"photos": done, "seconds": time.perf_counter() - started}


def encode(setup: dict[str, Any]) -> dict[str, float]:
    """Encoding alone: the pixels are there."""
    from serupa import load_encoder

    encoder = load_encoder(setup["encoder"], weights=setup["weights"])
    with ThreadPoolExecutor(_processors()) as pool:
        pixels = np.stack(list(pool.map(encoder.preprocess, setup["photos"][:_BATCH])))
    encoder.encode(pixels[:8])
    rounds = max(1, len(setup["photos"]) // _BATCH)
    started = time.perf_counter()
    for _ in range(rounds):
        encoder.encode(pixels)
    return {"photos": rounds * len(pixels), "seconds": time.perf_counter() - started}


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


PIPELINES = {
    "paper": paper,
    "paper-2-workers": paper_two_workers,
    "fastembed": fastembed,
    "fastembed-parallel": fastembed_parallel,
    "decode": decode,
    "decode-returning-memory": decode_returning_memory,
    "encode": encode,
}

if __name__ == "__main__":
    print(json.dumps(PIPELINES[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))))
