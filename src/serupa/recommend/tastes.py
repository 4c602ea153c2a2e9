"""A person's taste: what they liked and disliked, and when. Plain data that the person keeps.

A server needs it for the length of one request and stores nothing. It can be written down (`Taste.to_dict`),
read again, and forgotten (drop it). Old likes count less: a like that is `HALF_LIFE_DAYS` old counts half.
Decay of this kind ranks what is new first and never quite forgets [1]_.

References
----------
.. [1] A. Pal et al., "PinnerSage: multi-modal user embedding framework for recommendations at Pinterest",
   KDD 2020, section 3.3 (importance of a cluster: the sum of ``exp(-lambda * age)``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serupa.errors import ItemNotFoundError, TasteError
from serupa.recommend.engine import Example

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.vectors import Vector

FORMAT = 1
HALF_LIFE_DAYS = 90.0
"""A season: what somebody liked last summer says less about what they want this winter."""

MOST = 1_000
"""Likes and dislikes that a taste holds; the oldest go first."""

_LEAST = 1e-6  # weight of what is very old: above 0, so that it still counts where there is nothing newer


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """One like or dislike.

    Parameters
    ----------
    what : str or (d,) array of float32
        An item's id, or the raw embedding of a photo.
    at : datetime
        When; with a time zone.
    encoder : str, optional
        The encoder of the embedding.
    """

    what: str | Vector
    at: datetime
    encoder: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        at = self.at.astimezone(UTC).isoformat(timespec="seconds")
        if isinstance(self.what, str):
            return {"id": self.what, "at": at}
        return {"embedding": [float(v) for v in self.what], "encoder": self.encoder, "at": at}

    @classmethod
    def from_dict(cls, data: object) -> Mark:
        """Read what `to_dict` gives.

        Raises
        ------
        TasteError
            If it is something else.
        """
        if isinstance(data, str):
            return cls(data, datetime.now(UTC))
        if not isinstance(data, Mapping):
            raise TasteError(f"a like is an id or an object, not {_short(data)}")
        at = _time(data.get("at"))
        if isinstance(data.get("id"), str):
            return cls(data["id"], at)
        try:
            embedding = np.asarray(data["embedding"], np.float32)
        except (KeyError, TypeError, ValueError):
            raise TasteError(f"a like needs an id or an embedding: {_short(dict(data))}") from None
        if embedding.ndim != 1 or not len(embedding) or not np.isfinite(embedding).all():
            raise TasteError("a like's embedding must be a list of finite numbers")
        encoder = data.get("encoder")
        return cls(embedding, at, encoder if isinstance(encoder, str) else None)


@dataclass(frozen=True, slots=True)
class Examples:
    """A taste as a catalogue understands it.

    Parameters
    ----------
    likes, dislikes : tuple of Example
        With their weights of now.
    unknown : tuple of str
        Ids that the catalogue does not have (any more).
    """

    likes: tuple[Example, ...]
    dislikes: tuple[Example, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Taste:
    """What somebody liked and disliked, oldest first. It does not change: each change gives a new one.

    Examples
    --------
    >>> taste = Taste().liking("coat-1").liking("hat-2").disliking("coat-1")
    >>> [mark.what for mark in taste.likes], [mark.what for mark in taste.dislikes]
    (['hat-2'], ['coat-1'])
    """

    likes: tuple[Mark, ...] = ()
    dislikes: tuple[Mark, ...] = ()

    def liking(self, what: str | Vector, *, at: datetime | None = None, encoder: str | None = None) -> Taste:
        """Return this taste with one like more; what was disliked no longer is."""
        rest = self.without(what)
        mark = Mark(what, at or datetime.now(UTC), encoder)
        return replace(rest, likes=(*rest.likes, mark)[-MOST:])

    def disliking(
        self, what: str | Vector, *, at: datetime | None = None, encoder: str | None = None
    ) -> Taste:
        """Return this taste with one dislike more; what was liked no longer is."""
        rest = self.without(what)
        mark = Mark(what, at or datetime.now(UTC), encoder)
        return replace(rest, dislikes=(*rest.dislikes, mark)[-MOST:])

    def without(self, what: str | Vector) -> Taste:
        """Return this taste without an item: neither liked nor disliked."""
        if not isinstance(what, str):
            return self

        def others(marks: tuple[Mark, ...]) -> tuple[Mark, ...]:
            return tuple(m for m in marks if not (isinstance(m.what, str) and m.what == what))

        return Taste(others(self.likes), others(self.dislikes))

    def examples(
        self,
        catalog: Catalog,
        *,
        now: datetime | None = None,
        half_life_days: float = HALF_LIFE_DAYS,
        strict: bool = False,
    ) -> Examples:
        """Return what a catalogue's `recommend` takes.

        Parameters
        ----------
        catalog : Catalog
        now : datetime, optional
            What ages are counted to.
        half_life_days : float
            After how many days a like counts half.
        strict : bool
            Refuse ids that the catalogue does not have, instead of passing over them.

        Raises
        ------
        ItemNotFoundError
            If `strict` and an id is not in the catalogue.
        TasteError
            If an embedding is another encoder's.
        """
        moment = now or datetime.now(UTC)
        ids = [m.what for m in (*self.likes, *self.dislikes) if isinstance(m.what, str)]
        unknown = catalog.missing(ids)
        if unknown and strict:
            raise ItemNotFoundError(f"{catalog.path}: no item {', '.join(map(repr, unknown[:3]))}")

        def known(marks: Sequence[Mark]) -> tuple[Example, ...]:
            return tuple(
                self._example(mark, catalog, decayed(mark.at, moment, half_life_days))
                for mark in marks
                if not (isinstance(mark.what, str) and mark.what in unknown)
            )

        return Examples(known(self.likes), known(self.dislikes), tuple(unknown))

    @staticmethod
    def _example(mark: Mark, catalog: Catalog, weight: float) -> Example:
        if isinstance(mark.what, str):
            return Example(mark.what, weight=weight)
        if mark.encoder not in (None, catalog.card.name) or len(mark.what) != catalog.card.dimension:
            raise TasteError(
                f"a liked photo was encoded by {mark.encoder or 'another encoder'}, this catalogue's encoder "
                f"is {catalog.card.name}; leave it out"
            )
        return Example(embedding=mark.what, weight=weight)

    def to_dict(self) -> dict[str, Any]:
        """Return the taste as JSON-ready values: its export."""
        return {
            "format": FORMAT,
            "likes": [mark.to_dict() for mark in self.likes],
            "dislikes": [mark.to_dict() for mark in self.dislikes],
        }

    @classmethod
    def from_dict(cls, data: object) -> Taste:
        """Read what `to_dict` gives; of an item that is named twice the later entry counts.

        Raises
        ------
        TasteError
            If it is something else, or of a newer format.
        """
        if not isinstance(data, Mapping):
            raise TasteError(f"a taste is an object with likes and dislikes, not {_short(data)}")
        version = data.get("format", FORMAT)
        if version != FORMAT:
            raise TasteError(f"a taste of format {_short(version)}; this Serupa reads {FORMAT}")
        marks = {}
        for kind in ("likes", "dislikes"):
            given = data.get(kind, [])
            if not isinstance(given, list):
                raise TasteError(f"a taste's {kind} are a list, not {_short(given)}")
            marks[kind] = [Mark.from_dict(one) for one in given]
        taste = cls()
        both = [(m, True) for m in marks["likes"]] + [(m, False) for m in marks["dislikes"]]
        for mark, liked in sorted(both, key=lambda pair: pair[0].at):
            add = taste.liking if liked else taste.disliking
            taste = add(mark.what, at=mark.at, encoder=mark.encoder)
        return taste


def taste_from_file(file: Path) -> Taste:
    """Read a taste that was exported.

    Raises
    ------
    TasteError
        If the file cannot be read or is no taste.
    """
    try:
        return Taste.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise TasteError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (ValueError, TasteError) as error:
        raise TasteError(f"{file}: is no taste: {error}") from error


def decayed(at: datetime, now: datetime, half_life_days: float) -> float:
    """Return what a like counts now: 1 when it is new, 1/2 after the half-life."""
    age_days = max(0.0, (now - at).total_seconds() / 86_400)
    return max(_LEAST, math.exp2(-age_days / half_life_days))


def _time(value: object) -> datetime:
    if value is None:
        return datetime.now(UTC)
    try:
        at = datetime.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TasteError(f"{_short(value)} is no time; write it as 2026-08-31T12:00:00Z (ISO 8601)") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
