"""The ``Place`` protocol: what a catalogue asks of where it lives, besides its points."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from serupa.encoders import Card
from serupa.errors import CatalogError
from serupa.storage.base import Store
from serupa.storage.manifest import FORMAT
from serupa.storage.qdrant.address import ServerAddress, is_server, parse_address
from serupa.vectors import METRICS, Metric

if TYPE_CHECKING:
    from serupa.learning.whitening import Whitening

Settings = dict[str, Any]
"""What a catalogue's encoder and store must agree on (``catalog.json``)."""


class Place(Protocol):
    """Keeps a catalogue's settings, its points and what they were tuned with.

    What is in use is named by the settings; whatever replaces it is made beside it and then switched to in
    one step.
    """

    @property
    def address(self) -> Path | ServerAddress:
        """Where it is; messages begin with it."""

    @property
    def folder(self) -> Path | None:
        """The directory for what stands beside the points; None where there is none."""

    @property
    def engine(self) -> str:
        """Which engine keeps the points."""

    @property
    def first_points(self) -> str:
        """The name of a new catalogue's points."""

    def has_catalog(self) -> bool:
        """Whether there is a catalogue."""

    def refuse_occupied(self) -> None:
        """Raise `CatalogError` if something else is there."""

    def claim(self, wait_s: float) -> None:
        """Make sure of whatever exclusive right a catalogue needs, waiting for it that long."""

    def release(self) -> None:
        """Give it up, and let go of everything else."""

    def create(self, settings: Settings, dimensions: Mapping[str, int]) -> Settings:
        """Keep a new catalogue's settings; return those in force: another's if it was faster."""

    def read(self) -> Settings:
        """Return the settings; raise `CatalogError` if there is no catalogue, or it cannot be read."""

    def note_fields(self, settings: Settings, new: Mapping[str, str]) -> None:
        """Keep the kinds of fields that were not known; the settings have them already."""

    def open_store(self, settings: Settings, dimensions: Mapping[str, int], *, new: bool = False) -> Store:
        """Open the points that settings name, or make them."""

    def next_number(self) -> int:
        """Return a number that nothing here has."""

    def points_name(self, number: int) -> str:
        """Return the name of points with this number."""

    def save_tuning(self, number: int, whitening: Whitening) -> dict[str, str]:
        """Keep a whitening; return what settings must say to find it."""

    def load_tuning(self, tuning: Mapping[str, Any]) -> Whitening:
        """Return the whitening that settings speak of."""

    def switch(self, settings: Settings, catch_up: Callable[[], None]) -> None:
        """Put other settings, and the points they name, in the place of those in use.

        ``catch_up`` brings the new points up to date once more where others may have written meanwhile.
        """

    def clear_leftovers(self, settings: Settings) -> None:
        """Remove what these settings, in use, do not name; never what another process still makes."""

    def describe(self) -> dict[str, Any]:
        """Return what `Catalog.info` says of it: ``path``, ``size_bytes`` and more, as JSON-ready values."""


def place_of(path: str | os.PathLike[str]) -> Place:
    """Return the place that a path or an address names; nothing is opened yet.

    Raises
    ------
    CatalogError
        If it is an address that cannot be understood.
    MissingExtraError
        If it is on a server and the ``qdrant`` extra is not installed.
    """
    if is_server(path):
        from serupa.storage.qdrant.backend import Server

        return Server(parse_address(str(path)))
    from serupa.storage.local.backend import Directory

    return Directory(Path(path))


def checked_settings(settings: Settings, where: object) -> Settings:
    """Return settings that are whole and not too new.

    Raises
    ------
    CatalogError
        If a newer Serupa wrote them.
    ValueError, KeyError, TypeError
        If they are damaged.
    """
    if settings["format"] > FORMAT:
        raise CatalogError(
            f"{where}: was written by a newer Serupa ({settings['serupa']}); pip install -U serupa"
        )
    Card.from_dict(settings["encoder"])
    checked_metrics(settings["metrics"])
    return settings


def checked_metrics(metrics: Sequence[str]) -> tuple[Metric, ...]:
    """Return metrics in the order given, each once.

    Raises
    ------
    CatalogError
        If one is unknown, or there is none.
    """
    chosen = tuple(m for m in METRICS if m in metrics)
    unknown = [m for m in metrics if m not in METRICS]
    if unknown or not chosen:
        raise CatalogError(
            f"unknown metric {', '.join(unknown) or '(none)'}; choose from {', '.join(METRICS)}"
        )
    return tuple(sorted(chosen, key=list(metrics).index))
