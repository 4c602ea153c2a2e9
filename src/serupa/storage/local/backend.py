"""A catalogue in a directory: its points embedded in this process, one process at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serupa.errors import CatalogError
from serupa.storage import manifest as formats
from serupa.storage.base import Store
from serupa.storage.local import generations
from serupa.storage.local.lock import Hold
from serupa.storage.opening import Settings

if TYPE_CHECKING:
    from serupa.learning.whitening import Whitening


class Directory:
    """A directory; see `serupa.storage.opening.Place`.

    Parameters
    ----------
    path : Path
    """

    engine = formats.ENGINE
    first_points = generations.FIRST_POINTS

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hold: Hold | None = None

    @property
    def address(self) -> Path:
        """The directory."""
        return self._path

    @property
    def folder(self) -> Path:
        """The directory."""
        return self._path

    def has_catalog(self) -> bool:
        """Whether there is a catalog.json."""
        return (self._path / "catalog.json").exists()

    def refuse_occupied(self) -> None:
        """Refuse a directory that has something else in it."""
        path, ours = self._path, ("catalog.json", "lock", "holder.json")
        try:
            strangers = [entry.name for entry in path.iterdir() if not entry.name.startswith(ours)]
        except FileNotFoundError:
            return
        except OSError as error:
            raise CatalogError(
                f"{path}: cannot be a catalogue's directory: {error.strerror or error}"
            ) from error
        if strangers:
            raise CatalogError(f"{path}: is not empty (it has {strangers[0]}); choose a new directory")

    def claim(self, wait_s: float) -> None:
        """Take the directory's lock; make the directory if it is not there."""
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CatalogError(f"{self._path}: cannot be made: {error.strerror or error}") from error
        self._hold = Hold(self._path, wait_s)

    def release(self) -> None:
        """Let the next process in."""
        if self._hold is not None:
            self._hold.release()

    def create(self, settings: Settings, dimensions: Mapping[str, int]) -> Settings:
        """Write catalog.json; the lock sees to it that nobody is faster."""
        formats.write_json(self._path / "catalog.json", settings)
        return settings

    def read(self) -> Settings:
        """Read catalog.json."""
        return formats.read_settings(self._path)

    def note_fields(self, settings: Settings, new: Mapping[str, str]) -> None:
        """Write catalog.json."""
        formats.write_json(self._path / "catalog.json", settings)

    def open_store(self, settings: Settings, dimensions: Mapping[str, int], *, new: bool = False) -> Store:
        """Open the embedded engine's directory."""
        from serupa.storage.local.store import EdgeStore

        directory = self._path / settings["points"]
        if settings["points"] != generations.FIRST_POINTS and not new and not directory.exists():
            raise CatalogError(f"{directory}: is missing; restore it, or index into a new directory")
        return EdgeStore(directory, dimensions)

    def next_number(self) -> int:
        """Return a number that no file has."""
        return generations.next_number(self._path)

    def points_name(self, number: int) -> str:
        """Return the name of a directory."""
        return generations.points_name(number)

    def save_tuning(self, number: int, whitening: Whitening) -> dict[str, str]:
        """Write a file."""
        file = generations.tuning_name(number)
        return {"file": file, "sha256": whitening.save(self._path / file)}

    def load_tuning(self, tuning: Mapping[str, Any]) -> Whitening:
        """Read the file."""
        from serupa.learning.whitening import Whitening

        return Whitening.load(self._path / tuning["file"], tuning["sha256"])

    def switch(self, settings: Settings, catch_up: Callable[[], None]) -> None:
        """Replace catalog.json: nobody else can have written meanwhile."""
        formats.write_json(self._path / "catalog.json", settings)

    def clear_leftovers(self, settings: Settings) -> None:
        """Remove files that are not in use, and bring settings of an older format up to date."""
        formats.upgrade(self._path, settings)
        generations.clear_leftovers(self._path, settings)

    def describe(self) -> dict[str, Any]:
        """Say how much of the disk it takes."""
        size = sum(f.stat().st_blocks * 512 for f in self._path.rglob("*") if f.is_file())
        return {"path": str(self._path), "size_bytes": size}
