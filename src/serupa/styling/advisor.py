"""What is learned from a shop's catalogue once, and then advises without it.

Written down as numbers and text in one ``.npz`` file: no object in it is ever unpickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from serupa.errors import DamagedError
from serupa.files.atomic import replacing
from serupa.garments.calibration import Calibration
from serupa.garments.garments import Classifier, Eye, Garment, eye_of
from serupa.styling.compatibility import Compatibility, compatibility_of
from serupa.styling.ownership import Check, Ownership, Verdict, ownership_of
from serupa.styling.pieces import Match, Piece
from serupa.vectors import unit

if TYPE_CHECKING:
    from serupa.catalog import Catalog
    from serupa.images import Photo

FORMAT = 1
_SAME_ADVICE = 0.05  # of the items may be others before it is learned anew
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether something is owned.

    Parameters
    ----------
    verdict : {"owned", "similar", "new", "unknown"}
        Unknown where no shop could teach what a similarity is worth.
    matches : tuple of Match
        The most likely first.
    """

    verdict: Verdict
    matches: tuple[Match, ...]


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
    items : array of uint32
        A checksum of each item that taught it, sorted.
    """

    encoder: str
    eye: Eye
    ownership: Ownership | None
    compatibility: Compatibility | None = None
    items: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))

    @classmethod
    def learn(cls, catalog: Catalog, related: str | os.PathLike[str] | None = None) -> Self:
        """Learn from a catalogue, and from a table of pairs of products that it shows together.

        Raises
        ------
        InvalidInputError
            If the table cannot be used.
        """
        compatibility = None if related is None else compatibility_of(catalog, related)
        eye, ownership = eye_of(catalog), ownership_of(catalog)
        return cls(catalog.manifest.card.name, eye, ownership, compatibility, _checksums(catalog))

    @classmethod
    def kept(cls, catalog: Catalog, file: Path) -> Self:
        """Return what a catalogue taught when a file was written; learn it anew where much has changed since.

        What a few items more or less would teach is the same: references, and what a similarity is worth.
        """
        with contextlib.suppress(DamagedError):
            known = cls.load(file)
            now = _checksums(catalog)
            same = len(np.intersect1d(known.items, now))
            changed = max(len(now), len(known.items)) - same
            if known.encoder == catalog.manifest.card.name and changed <= _SAME_ADVICE * len(now):
                return known
        learned = cls.learn(catalog)
        with contextlib.suppress(OSError):  # a catalogue that may only be read is learned from each time
            learned.save(file)
        return learned

    def look(self, photo: Photo, embedding: NDArray[np.float32]) -> Garment:
        """Say what a photo shows; the embedding is its raw one."""
        return self.eye.look(photo, embedding)

    def own(self, embedding: NDArray[np.float32], pieces: Sequence[Piece], k: int = 5) -> Answer:
        """Answer which pieces are like a photo, and whether one of them is the same product.

        Parameters
        ----------
        embedding : (d,) array of float32
            The photo's raw embedding.
        pieces : sequence of Piece
            What is owned.
        k : int
            How many matches to name.
        """
        if not pieces:
            return Answer("new", ())
        rows = np.stack([piece.embedding for piece in pieces])
        similarities = (unit(rows) @ unit(embedding)).astype(np.float64)
        model = self.ownership
        scores = similarities if model is None else model.scores(embedding[None], rows)[0]
        order = sorted(range(len(pieces)), key=lambda n: (-scores[n], -similarities[n], pieces[n].id))[:k]
        chances = [None if model is None else model.calibration(float(scores[n])) for n in order]
        matches = tuple(
            Match(pieces[n], float(similarities[n]), chance) for n, chance in zip(order, chances, strict=True)
        )
        verdict = "unknown" if model is None or chances[0] is None else model.verdict(chances[0])
        return Answer(verdict, matches)

    def to_dict(self) -> dict[str, Any]:
        """Return what it knows, as JSON-ready values."""
        check = self.ownership.check if self.ownership else None
        return {
            "encoder": self.encoder,
            "category": list(self.eye.category.classes) if self.eye.category else None,
            "pattern": list(self.eye.pattern.classes) if self.eye.pattern else None,
            "ownership": asdict(check) if check else None,
            "pairs": self.compatibility.evidence.to_dict() if self.compatibility else None,
        }

    def save(self, file: Path) -> None:
        """Write it down, in one step."""
        arrays: dict[str, NDArray[Any]] = {"items": self.items}
        notes: dict[str, Any] = {"format": FORMAT, "encoder": self.encoder, "voters": {}}
        for name, classifier in (("category", self.eye.category), ("pattern", self.eye.pattern)):
            if classifier is not None:
                notes["voters"][name] = [list(classifier.classes), *_numbers(classifier.calibration)]
                arrays |= {
                    f"{name}_rows": classifier.rows.astype(np.float16),
                    f"{name}_codes": classifier.codes.astype(np.int32),
                    f"{name}_crowding": classifier.hubness,
                    f"{name}_mean": classifier.mean,
                }
        if self.ownership is not None:
            check = self.ownership.check
            notes["ownership"] = [*_numbers(self.ownership.calibration), asdict(check) if check else None]
            arrays["own_mean"] = self.ownership.mean
            arrays["own_references"] = self.ownership.references.astype(np.float16)
        if self.compatibility is not None:
            notes["compatibility"], tables = self.compatibility.to_arrays()
            arrays |= {f"pairs_{name}": table for name, table in tables.items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as stream:
            np.savez(stream, notes=np.array(json.dumps(notes)), **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        DamagedError
            If the file is missing, damaged, or of another format.
        """
        try:
            with np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            notes = json.loads(str(arrays["notes"]))
            if notes["format"] != FORMAT:
                raise ValueError(f"it is of format {notes['format']}, this Serupa reads {FORMAT}")
            eye = Eye(_classifier("category", notes, arrays), _classifier("pattern", notes, arrays))
            items = arrays.get("items", np.empty(0, np.uint32))  # written since items were noted
            return cls(notes["encoder"], eye, _ownership(notes, arrays), _compatibility(notes, arrays), items)
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            hint = f"learn it again with: serupa wardrobe learn -w {file.parent} -c SHOP"
            raise DamagedError(file, f"cannot be read ({error})", hint) from error


def _checksums(catalog: Catalog) -> NDArray[np.uint32]:
    """Return a checksum of each item: its photo, and what is learned of it."""
    sums = [
        zlib.crc32(repr([payload[name] for name in ("id", "product_id", "content")]).encode())
        ^ zlib.crc32(repr([payload["attributes"].get(name) for name in ("category", "pattern")]).encode())
        for batch in catalog.store.scroll()
        for payload in (point.payload for point in batch)
    ]
    return np.sort(np.array(sums, np.uint32))


def _numbers(calibration: Calibration) -> tuple[float, float]:
    return calibration.slope, calibration.offset


def _classifier(name: str, notes: Mapping[str, Any], arrays: Arrays) -> Classifier | None:
    if name not in notes["voters"]:
        return None
    classes, slope, offset = notes["voters"][name]
    return Classifier(
        tuple(classes),
        arrays[f"{name}_rows"].astype(np.float32),
        arrays[f"{name}_codes"].astype(np.intp),
        arrays[f"{name}_crowding"],
        arrays[f"{name}_mean"],
        Calibration(slope, offset),
    )


def _ownership(notes: Mapping[str, Any], arrays: Arrays) -> Ownership | None:
    if "ownership" not in notes:
        return None
    slope, offset, check = notes["ownership"]
    references = arrays["own_references"].astype(np.float32)
    calibration = Calibration(slope, offset)
    return Ownership(arrays["own_mean"], references, calibration, Check(**check) if check else None)


def _compatibility(notes: Mapping[str, Any], arrays: Arrays) -> Compatibility | None:
    if "compatibility" not in notes:
        return None
    tables = {name.removeprefix("pairs_"): a for name, a in arrays.items() if name.startswith("pairs_")}
    return Compatibility.from_arrays(notes["compatibility"], tables)
