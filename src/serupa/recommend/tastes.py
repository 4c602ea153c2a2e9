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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import numpy as np

from serupa.errors import InvalidInputError, NotFoundError, SerupaError
from serupa.recommend.engine import Example

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.vectors import Vector

FORMAT: Literal[1] = 1
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


class TasteExamples(NamedTuple):
    """A taste as a catalogue understands it: examples with their weights of now, and ids that it lacks."""

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
    ) -> TasteExamples:
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
        NotFoundError
            If `strict` and an id is not in the catalogue.
        InvalidInputError
            If an embedding is another encoder's.
        """
        moment = now or datetime.now(UTC)
        ids = [mark.what for mark in (*self.likes, *self.dislikes) if isinstance(mark.what, str)]
        stored = catalog.store.get(ids)
        unknown = tuple(dict.fromkeys(item_id for item_id in ids if item_id not in stored))
        if unknown and strict:
            raise NotFoundError(catalog.path, f"no item {', '.join(map(repr, unknown[:3]))}")

        def examples(marks: Sequence[Mark]) -> tuple[Example, ...]:
            return tuple(
                _example(mark, catalog, decayed(mark.at, moment, half_life_days))
                for mark in marks
                if not (isinstance(mark.what, str) and mark.what in unknown)
            )

        return TasteExamples(examples(self.likes), examples(self.dislikes), unknown)

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
        InvalidInputError
            If it is something else, or of a newer format.
        """
        try:
            export = msgspec.convert(data, _Export)
        except msgspec.ValidationError as error:
            raise InvalidInputError("taste", f"cannot be read: {error}") from error
        likes, dislikes = map(_mark, export.likes), map(_mark, export.dislikes)
        marks = [(mark, cls.liking) for mark in likes] + [(mark, cls.disliking) for mark in dislikes]
        taste = cls()
        for mark, add in sorted(marks, key=lambda pair: pair[0].at):
            taste = add(taste, mark.what, at=mark.at, encoder=mark.encoder)
        return taste


class _Entry(msgspec.Struct):
    """A like in an export: an item's id or a photo's embedding; its time is now unless given."""

    id: str | None = None
    embedding: list[float] | None = None
    encoder: str | None = None
    at: datetime | None = None


class _Export(msgspec.Struct):
    format: Literal[1] = FORMAT
    likes: list[str | _Entry] = []
    dislikes: list[str | _Entry] = []


def _mark(entry: str | _Entry) -> Mark:
    if isinstance(entry, str):
        return Mark(entry, datetime.now(UTC))
    at = entry.at or datetime.now(UTC)
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    if entry.id is not None:
        return Mark(entry.id, at)
    embedding = np.array(entry.embedding or [], np.float32)
    if not len(embedding) or not np.isfinite(embedding).all():
        raise InvalidInputError("taste", "a like needs an id, or an embedding of finite numbers")
    return Mark(embedding, at, entry.encoder)


def _example(mark: Mark, catalog: Catalog, weight: float) -> Example:
    if isinstance(mark.what, str):
        return Example(mark.what, weight=weight)
    if (
        mark.encoder not in (None, catalog.manifest.card.name)
        or len(mark.what) != catalog.manifest.card.dimension
    ):
        raise InvalidInputError(
            "taste",
            f"a liked photo was encoded by {mark.encoder or 'another encoder'}, this catalogue's encoder is "
            f"{catalog.manifest.card.name}",
            "leave it out",
        )
    return Example(embedding=mark.what, weight=weight)


def taste_from_file(file: Path) -> Taste:
    """Read a taste that was exported.

    Raises
    ------
    NotFoundError
        If the file cannot be read.
    InvalidInputError
        If it is no taste.
    """
    try:
        return Taste.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise NotFoundError(file, f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InvalidInputError(file, f"is no taste: {error}") from error
    except SerupaError as error:
        raise InvalidInputError(file, error.problem, error.hint) from error


def decayed(at: datetime, now: datetime, half_life_days: float) -> float:
    """Return what a like counts now: 1 when it is new, 1/2 after the half-life."""
    age_days = max(0.0, (now - at).total_seconds() / 86_400)
    return max(_LEAST, math.exp2(-age_days / half_life_days))
