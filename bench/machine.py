"""What the machine is that figures were measured on: `python -m bench.machine`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

_PACKAGES = (
    "serupa",
    "numpy",
    "pillow",
    "onnxruntime",
    "qdrant-edge-py",
    "torch",
    "fastembed",
    "faiss-cpu",
    "hnswlib",
    "usearch",
    "scikit-learn",
)


def describe() -> dict[str, Any]:
    """Return what a reader needs to judge figures by."""
    return {
        "processor": _processor(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "vector instructions": _vector_instructions(),
        "float32 matrix product": f"{_matrix_product():.0f} GFLOP/s",
        "memory": _memory(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load at the start": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def markdown(found: dict[str, Any]) -> str:
    lines = [f"- {name}: {value}" for name, value in found.items() if name != "packages"]
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    return "\n".join([*lines, f"- packages: {packages}"])


def _cpuinfo(key: str) -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(key)), "")


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _vector_instructions() -> str:
    flags = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return ", ".join(
        name for name in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimd") if name in flags
    )


def _matrix_product(size: int = 2_048) -> float:
    """Return what all processors do together, the best of five: what a network cannot be much faster than."""
    one, other = np.random.default_rng(0).random((2, size, size), np.float32)
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        one @ other
        taken.append(time.perf_counter() - started)
    return 2e-9 * size**3 / min(taken)


def _memory() -> str:
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):
        return "unknown"
    return f"{pages * size / 2**30:.0f} GiB"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    print(markdown(describe()))
