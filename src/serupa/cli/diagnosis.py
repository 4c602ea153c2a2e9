"""What is installed, reachable and writable on this machine, and how fast it encodes."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import serupa
from serupa.encoders import describe, list_cards, load_encoder
from serupa.encoders.session import available_cpus
from serupa.errors import SerupaError
from serupa.files.cache import cache_dir

_EXTRAS = {
    "web": "fastapi",
    "report": "matplotlib",
    "parquet": "pyarrow",
    "heif": "pillow-heif",
    "qdrant": "qdrant-client",
    "ray": "ray",
    "text": "tokenizers",
}
_CORE = ("numpy", "pillow", "onnxruntime", "qdrant-edge-py")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    name, found : str
        What was looked at, and what was found.
    ok : bool
        Whether it is as it should be.
    needed : bool
        Whether the main job fails without it.
    """

    name: str
    found: str
    ok: bool = True
    needed: bool = False


def diagnose(encoder: str = "serupa-clothes") -> list[Finding]:
    """Look at this machine; nothing is changed but a cache that may be filled.

    Parameters
    ----------
    encoder : str
        The encoder whose speed is tried.
    """
    return [
        Finding("serupa", f"{serupa.__version__}, Python {platform.python_version()}, {platform.platform()}"),
        *_packages(),
        _providers(),
        _writable(),
        *_weights(),
        _hub(),
        _speed(encoder),
    ]


def _packages() -> Iterator[Finding]:
    core = {name: _version(name) for name in _CORE}
    found = ", ".join(f"{name} {version or 'missing'}" for name, version in core.items())
    yield Finding("packages", found, all(core.values()), needed=True)
    for extra, package in _EXTRAS.items():
        version = _version(package)
        found = f"{package} {version}" if version else f"not installed: pip install 'serupa[{extra}]'"
        yield Finding(f"extra {extra}", found, version is not None)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _providers() -> Finding:
    import onnxruntime

    providers = ", ".join(onnxruntime.get_available_providers())
    return Finding("encoding on", f"{providers}; {available_cpus()} cores")


def _writable() -> Finding:
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding("cache", f"{folder}: {error.strerror}; set SERUPA_CACHE to a folder", ok=False)
    held = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    return Finding("cache", f"{folder}, writable, {held / 1e6:.0f} MB")


def _weights() -> Iterator[Finding]:
    for card in list_cards():
        availability = describe(card)
        yield Finding(f"weights of {card.name}", str(availability), availability.weights is not None)


def _hub() -> Finding:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return Finding("model hub", "not asked: HF_HUB_OFFLINE is set", ok=False)
    try:
        socket.create_connection(("huggingface.co", 443), timeout=3).close()
    except OSError as error:
        return Finding("model hub", f"cannot be reached ({error})", ok=False)
    return Finding("model hub", "reachable")


def _speed(name: str) -> Finding:
    """Encode noise, of which there is enough: the time does not depend on what a photo shows."""
    try:
        encoder = load_encoder(name)
    except SerupaError as error:
        return Finding("encoding", str(error), ok=False, needed=True)
    size = encoder.input_size
    pixels = np.random.default_rng(0).integers(0, 256, (32, size, size, 3), np.uint8)
    encoder.encode(pixels[:8])
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        encoder.encode(pixels)
        seconds.append(time.perf_counter() - start)
    rate = len(pixels) / statistics.median(seconds)
    return Finding("encoding", f"{name}: {rate:.0f} photos/s in batches of {len(pixels)}", needed=True)
