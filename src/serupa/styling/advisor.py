"""What is learned from a shop's catalogue once, and then advises without it.

Written down as numbers and text in one ``.npz`` file: no object in it is ever unpickled.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from serupa.errors import CatalogError
from serupa.garments.garments import Eye, Garment, Voters, eye_of
from serupa.styling.calibration import Calibration
from serupa.styling.compatibility import Compatibility, compatibility_of
from serupa.styling.ownership import Check, Ownership, ownership_of

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.images import Crop, Photo

FORMAT = 1
Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Owned pieces, compared with one photo.

    Parameters
    ----------
    scores, similarities : (n,) array of float64
        What decides, and the cosine.
    calibration : Calibration or None
    """

    scores: NDArray[np.float64]
    similarities: NDArray[np.float64]
    calibration: Calibration | None

    def probability(self, place: int) -> float | None:
        """Return how likely the photo shows the piece at this place; None where that could not be learned."""
        return None if self.calibration is None else self.calibration(float(self.scores[place]))


@dataclass(frozen=True, slots=True, eq=False)
class Advisor:
    """What a shop taught. Make one with `learn`.

    Parameters
    ----------
    encoder : str
        The encoder of the embeddings that it judges.
    eye : Eye
        Guesses category and pattern, and sees colours.
    ownership : Ownership or None
        Knows what a similarity is worth; None where the shop has too few products with several photos.
    compatibility : Compatibility or None
        Knows what goes with what; None where no pairs taught it, or they taught nothing.
    """

    encoder: str
    eye: Eye
    ownership: Ownership | None
    compatibility: Compatibility | None = None

    @classmethod
    def learn(cls, catalog: Catalog, related: str | os.PathLike[str] | None = None) -> Self:
        """Learn from a catalogue, and from a table of pairs of products that it shows together.

        Raises
        ------
        SourceError
            If the table cannot be read.
        """
        try:
            ownership = ownership_of(catalog)
        except CatalogError:
            ownership = None
        compatibility = None if related is None else compatibility_of(catalog, related)
        return cls(catalog.card.name, eye_of(catalog), ownership, compatibility)

    def look(self, photo: Photo, embedding: Rows, crop: Crop | None = None) -> Garment:
        """Say what a photo shows; the embedding is its raw one."""
        return self.eye.look(photo, embedding, crop)

    def compare(self, photo: Rows, owned: Rows) -> Judged:
        """Compare a photo's raw embedding ``(d,)`` with those of owned pieces ``(n, d)``."""
        lengths = np.linalg.norm(owned, axis=1) * np.linalg.norm(photo)
        dots = (owned @ photo).astype(np.float64)
        similarities = np.divide(dots, lengths, out=np.zeros(len(owned)), where=lengths > 0)
        if self.ownership is None or not len(owned):
            calibration = None if self.ownership is None else self.ownership.calibration
            return Judged(similarities, similarities, calibration)
        scores = self.ownership.scores(photo[None], owned)[0]
        return Judged(scores, similarities, self.ownership.calibration)

    def verdict(self, probability: float | None) -> str:
        """Put the probability of the best match into one word."""
        if self.ownership is None or probability is None:
            return "unknown"
        return self.ownership.verdict(probability)

    def save(self, file: Path) -> None:
        """Write it down, in one step."""
        arrays: dict[str, NDArray[Any]] = {}
        notes: dict[str, Any] = {"format": FORMAT, "encoder": self.encoder, "voters": {}}
        for name, voters in (("category", self.eye.category), ("pattern", self.eye.pattern)):
            if voters is not None:
                notes["voters"][name] = [list(voters.classes), *_pair(voters.calibration)]
                arrays |= {
                    f"{name}_rows": voters.rows.astype(np.float16),
                    f"{name}_codes": voters.codes.astype(np.int32),
                    f"{name}_crowding": voters.crowding,
                    f"{name}_mean": voters.mean,
                }
        if self.ownership is not None:
            check = self.ownership.check
            notes["ownership"] = [*_pair(self.ownership.calibration), check.to_dict() if check else None]
            arrays["own_mean"] = self.ownership.mean
            arrays["own_references"] = self.ownership.references.astype(np.float16)
        if self.compatibility is not None:
            own, tables = self.compatibility.to_arrays()
            notes["compatibility"] = own
            arrays |= {f"pairs_{name}": table for name, table in tables.items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_name(file.name + ".new")
        with unfinished.open("wb") as stream:
            np.savez(stream, notes=np.array(json.dumps(notes)), **arrays)  # type: ignore[arg-type]
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(file)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        CatalogError
            If the file is missing, damaged, or of another format.
        """
        try:
            with np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            notes = json.loads(str(arrays["notes"]))
            if notes["format"] != FORMAT:
                raise ValueError(f"it is of format {notes['format']}, this Serupa reads {FORMAT}")
            return cls(
                notes["encoder"], _eye(notes, arrays), _ownership(notes, arrays), _pairs(notes, arrays)
            )
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise CatalogError(
                f"{file}: cannot be read ({error}); learn it again with: "
                f"serupa wardrobe learn -w {file.parent} -c SHOP"
            ) from error

    def with_pairs(self, catalog: Catalog, related: str | os.PathLike[str]) -> Self:
        """Return this advisor, taught by a table of pairs what goes with what."""
        return replace(self, compatibility=compatibility_of(catalog, related))


def _pair(calibration: Calibration) -> tuple[float, float]:
    return calibration.slope, calibration.offset


def _eye(notes: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Eye:
    found: dict[str, Voters | None] = {"category": None, "pattern": None}
    for name, (classes, slope, offset) in notes["voters"].items():
        found[name] = Voters(
            name,
            tuple(classes),
            arrays[f"{name}_rows"].astype(np.float32),
            arrays[f"{name}_codes"].astype(np.intp),
            arrays[f"{name}_crowding"],
            arrays[f"{name}_mean"],
            Calibration(slope, offset),
        )
    return Eye(found["category"], found["pattern"])


def _ownership(notes: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Ownership | None:
    if "ownership" not in notes:
        return None
    slope, offset, check = notes["ownership"]
    references = arrays["own_references"].astype(np.float32)
    return Ownership(
        arrays["own_mean"], references, Calibration(slope, offset), Check(**check) if check else None
    )


def _pairs(notes: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Compatibility | None:
    if "compatibility" not in notes:
        return None
    tables = {name.removeprefix("pairs_"): a for name, a in arrays.items() if name.startswith("pairs_")}
    return Compatibility.from_arrays(notes["compatibility"], tables)
