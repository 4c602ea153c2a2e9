"""What a catalogue is (encoder, metrics, fields, tuning, store): read, checked and upgraded here alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec.structs import replace

import serupa
from serupa.encoders import Card, load_card
from serupa.errors import DamagedError, SerupaError, UnavailableError
from serupa.items import FieldKind
from serupa.vectors import Metric

__all__ = [
    "CatalogManifest",
    "KindsInfo",
    "Quantization",
    "StoreLayout",
    "TuningInfo",
    "replace",
]

FORMAT = 3
"""Version of a manifest; raised when an older Serupa could not read a newer catalogue."""

EDGE_ENGINE = "qdrant-edge 0.9"
"""What wrote the points of a directory. An engine that cannot read them needs another name here."""


Quantization = Literal["int8", "binary", "none"]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Count = Annotated[int, msgspec.Meta(ge=1)]

_RESTORE = "restore a backup (serupa restore), or index again into a new directory"


class StoreLayout(msgspec.Struct, frozen=True, kw_only=True):
    """How a server keeps a catalogue: settled when it is made, and kept when it is switched over.

    Parameters
    ----------
    shards : int, optional
        Pieces that the points are dealt into; the server chooses (one a node) unless given.
    replicas : int
        Nodes that keep each piece.
    write_consistency : int
        Replicas that must have a write before it is acknowledged.
    quantization : {"int8", "binary", "none"}
        What of each vector stays in memory: a byte or a bit a value, or all of it.
    on_disk : bool
        Whether full vectors are read from disk when needed, or are kept in memory.
    """

    shards: Count | None = None
    replicas: Count = 1
    write_consistency: Count = 1
    quantization: Quantization = "int8"
    on_disk: bool = True


class TuningInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The whitening that a tuned search goes through: where it is kept, and what to remember it by.

    Parameters
    ----------
    dimension : int
        Values of a whitened embedding.
    when : str
        When it was put in, in ISO 8601.
    file, sha256 : str
        Its name in the store's backend and the hash of its content; given when it is stored.
    notes : mapping
        JSON-ready values: what it was learned from, and what it gained.
    """

    dimension: Count
    when: str = ""
    file: str = ""
    sha256: str = ""
    notes: dict[str, Any] = {}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what `to_dict` made these values from; raise `msgspec.ValidationError` if it did not."""
        own = {name: values[name] for name in cls.__struct_fields__ if name in values and name != "notes"}
        notes = {name: value for name, value in values.items() if name not in cls.__struct_fields__}
        return msgspec.convert(own | {"notes": notes}, cls)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values: the notes, and the rest beside them."""
        own = {name: getattr(self, name) for name in ("when", "dimension", "file", "sha256")}
        return self.notes | own


class KindsInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How kinds of garment count in a catalogue's search.

    Parameters
    ----------
    names : tuple of str
        The kinds that its vectors have a value for.
    share : float
        The share of the kind in a similarity, above 0 and below 1.
    """

    names: Annotated[tuple[str, ...], msgspec.Meta(min_length=2)]
    share: Annotated[float, msgspec.Meta(gt=0, lt=1)]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {"names": list(self.names), "share": self.share}


class CatalogManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a catalogue's encoder and its store must agree on.

    Parameters
    ----------
    card : Card
        The encoder's, with the resize mode that this catalogue uses.
    weights_sha256 : str
        The hash of the encoder's weights.
    weights : str, optional
        The file of the weights, where they are not to be looked for.
    metrics : tuple of {"cosine", "euclidean", "manhattan"}
        The metrics that it can be searched by; the first is the default.
    fields : dict of str to {"text", "number", "words"}
        The attributes seen so far.
    tuning : TuningInfo, optional
        None while the search is as the encoder made it.
    kinds : KindsInfo, optional
        None where the look alone is compared.
    words : int
        How its items are found by words (`serupa.catalog.words.VERSION`); 0 where they are not.
    store : str
        The name of the store in use: a directory of the catalogue's, or a collection.
    engine : str
        What wrote the store.
    layout : StoreLayout, optional
        How a server keeps it; None in a directory.
    serupa, created : str
        The version that made the catalogue, and when, in ISO 8601.
    """

    card: Card = msgspec.field(name="encoder")
    weights_sha256: Sha256
    weights: str | None = None
    metrics: Annotated[tuple[Metric, ...], msgspec.Meta(min_length=1)]
    fields: dict[str, FieldKind] = {}
    tuning: TuningInfo | None = None
    kinds: KindsInfo | None = None
    words: Annotated[int, msgspec.Meta(ge=0)] = 0
    store: str = msgspec.field(name="points", default="points")
    engine: str = EDGE_ENGINE
    layout: StoreLayout | None = msgspec.field(name="server", default=None)
    serupa: str = serupa.__version__
    created: str = msgspec.field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def __post_init__(self) -> None:
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError("a metric is named twice")
        if self.tuning is not None and self.tuning.dimension > self.card.dimension:
            raise ValueError(f"its tuning gives {self.tuning.dimension} values")

    @property
    def dimensions(self) -> dict[str, int]:
        """The named vectors of each point: one a metric and, of a tuned catalogue, ``raw``."""
        kinds = 0 if self.kinds is None else len(self.kinds.names)
        if self.tuning is None:
            return dict.fromkeys(self.metrics, self.card.dimension + kinds)
        return dict.fromkeys(self.metrics, self.tuning.dimension + kinds) | {"raw": self.card.dimension}

    def same_encoder(self, other: CatalogManifest) -> bool:
        """Return whether embeddings of the two can be compared."""
        return self.card == other.card and self.weights_sha256 == other.weights_sha256

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], subject: object) -> Self:
        """Read a manifest of this format or an older one.

        Parameters
        ----------
        values : mapping
            JSON values, from wherever.
        subject : object
            What errors are about.

        Raises
        ------
        UnavailableError
            If a newer Serupa wrote it.
        DamagedError
            If nobody wrote it like this.
        """
        try:
            version = msgspec.convert(values["format"], Count)
            if version > FORMAT:
                raise UnavailableError(
                    subject,
                    f"was written by a newer Serupa ({values.get('serupa')!s:.40})",
                    "pip install -U serupa",
                )
            current = dict(values)
            for older in range(version, FORMAT):
                current = _UPGRADES[older](current)
            current = _unpickled(current)
            current["encoder"] = Card.from_dict(current["encoder"])
            if current["tuning"] is not None:
                current["tuning"] = TuningInfo.from_dict(current["tuning"])
            return msgspec.convert(current, cls)
        except UnavailableError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SerupaError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DamagedError(subject, f"damaged or unreadable: {reason}", _RESTORE) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON-ready values."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        values["encoder"] = self.card.to_dict()
        values["tuning"] = None if self.tuning is None else self.tuning.to_dict()
        if self.layout is None:
            del values["server"]
        if self.kinds is None:
            del values["kinds"]
        if not self.words:
            del values["words"]
        return {"format": FORMAT, **values}

    @classmethod
    def from_json(cls, data: bytes, subject: object) -> Self:
        """Read a ``catalog.json`` as `from_dict` reads its values; its checksum must be right."""
        try:
            values = msgspec.json.decode(data, type=dict[str, Any])
        except (ValueError, RecursionError) as error:
            raise DamagedError(subject, f"damaged or unreadable: {error}", _RESTORE) from error
        manifest = cls.from_dict(values, subject)
        has_one = values["format"] >= _FIRST_WITH_CHECKSUM or "checksum" in values
        if has_one and values.get("checksum") != _checksum(values):
            raise DamagedError(subject, "damaged or edited: its checksum is wrong", _RESTORE)
        return manifest

    def to_json(self) -> bytes:
        """Return the manifest as the content of a ``catalog.json``."""
        values = self.to_dict()
        values["checksum"] = _checksum(values)
        return json.dumps(values, indent=2, ensure_ascii=False).encode()


_FIRST_WITH_CHECKSUM = 3


def _checksum(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything in a ``catalog.json`` but the checksum itself."""
    content = {name: value for name, value in values.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _from_1(values: dict[str, Any]) -> dict[str, Any]:
    """Format 1 did not say which engine its points are of, nor always where they are."""
    return {"points": "points", "tuning": None} | values | {"engine": EDGE_ENGINE}


_PICKLED_LITE0 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def _unpickled(values: dict[str, Any]) -> dict[str, Any]:
    """Name the file that holds EfficientNet-Lite0's weights now: it was a pickle, in single precision.

    Kernels are of half precision since; embeddings keep a cosine above 0.9999.
    """
    if values["weights_sha256"] != _PICKLED_LITE0:
        return values
    card = load_card("efficientnet-lite0")
    encoder = card.to_dict() | {"resize": values["encoder"]["resize"]}
    return values | {"encoder": encoder, "weights_sha256": card.weights.sha256, "weights": None}


_UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: _from_1,
    2: lambda values: values,  # format 2 had no checksum
}
"""By the format that an upgrade starts from; each leads to the next."""
