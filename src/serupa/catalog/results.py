"""What a search and a recommendation return."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, overload

from serupa.errors import MissingExtraError, SerupaError
from serupa.items import Hit
from serupa.vectors import Metric

if TYPE_CHECKING:
    import pandas as pd

    from serupa.catalog.words import Understood
    from serupa.garments.head import KindGuess
    from serupa.recommend.engine import Group

By = Literal["item", "product"]

_HIT_COLUMNS = ["rank", "id", "product_id", "distance", "similarity", "image"]
_DRAWN = 160  # pixels of a photo's long side in a notebook


@dataclass(frozen=True, slots=True)
class SearchResult(Sequence[Hit]):
    """The hits of one search, nearest first, and how they were found.

    Parameters
    ----------
    hits : tuple of Hit
        Nearest first; with words, by both.
    metric : {"cosine", "euclidean", "manhattan"}
        The metric of the distances.
    encoder : str
        The encoder's name.
    timing_ms : dict of str to float
        Milliseconds of words (understanding them), decode, encode and search, where there was need of it.
    kind : KindGuess or None
        What the photo was taken for; None where kinds do not count, and for an item.
    close : bool or None
        Whether the first hit is likely of that kind and looks alike; None where nobody can say.
    understood : tuple of Understood
        What the words of the search were taken for, piece by piece.
    """

    hits: tuple[Hit, ...]
    metric: Metric
    encoder: str
    timing_ms: Mapping[str, float] = field(default_factory=dict)
    kind: KindGuess | None = None
    close: bool | None = None
    understood: tuple[Understood, ...] = ()

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | Sequence[Hit]:
        return self.hits[index]

    def to_pandas(self) -> pd.DataFrame:
        """Return the hits as a table: a row each, its item's attributes as columns.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("a table of pandas", "pandas") from None
        return pd.DataFrame([_flat(hit) for hit in self.hits], columns=None if self.hits else _HIT_COLUMNS)

    def _repr_html_(self) -> str:
        """Draw the hits as notebooks show them: photos with names and distances."""
        cells = "".join(_cell(hit) for hit in self.hits)
        return f'<div style="display:flex;flex-wrap:wrap;gap:8px">{cells}</div>'

    def to_dict(self) -> dict[str, Any]:
        """Return the search as JSON-ready values."""
        return {
            "metric": self.metric,
            "encoder": self.encoder,
            "kind": None if self.kind is None else self.kind.name,
            "kind_probability": None if self.kind is None else round(self.kind.probability, 4),
            "close": self.close,
            "understood": [one.to_dict() for one in self.understood],
            "timing_ms": {name: round(ms, 2) for name, ms in self.timing_ms.items()},
            "hits": [
                {
                    "rank": hit.rank,
                    "id": hit.item.id,
                    "product_id": hit.item.product_id,
                    "image": hit.item.image,
                    "distance": hit.distance,
                    "similarity": hit.similarity,
                    "words": hit.words,
                    "attributes": dict(hit.item.attributes),
                }
                for hit in self.hits
            ],
        }


@dataclass(frozen=True, slots=True)
class Recommendation(SearchResult):
    """What somebody may like, best first.

    Parameters
    ----------
    because : tuple of int or None
        For each hit the nearest like, by its place in what was passed in; its distance is the hit's.
    groups : tuple of Group
        The likes that belong together, the weightiest group first.
    """

    because: tuple[int | None, ...] = ()
    groups: tuple[Group, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the recommendation as JSON-ready values."""
        found = SearchResult.to_dict(self)
        for hit, like in zip(found["hits"], self.because, strict=True):
            hit["because"] = like
        groups = [{"likes": list(group.likes), "weight": group.weight} for group in self.groups]
        return found | {"groups": groups}


def _flat(hit: Hit) -> dict[str, Any]:
    own = {
        "rank": hit.rank,
        "id": hit.item.id,
        "product_id": hit.item.product_id,
        "distance": hit.distance,
        "similarity": hit.similarity,
        "image": hit.item.image,
    }
    return own | {
        f"attribute_{name}" if name in own else name: value for name, value in hit.item.attributes.items()
    }


def _cell(hit: Hit) -> str:
    name = html.escape(hit.item.name)
    photo = _drawn(hit.item.image, name)
    caption = f"<figcaption>{hit.rank}. {name}<br>{hit.distance:.4f}</figcaption>"
    return f'<figure style="margin:0;width:{_DRAWN}px;font-size:12px">{photo}{caption}</figure>'


def _drawn(image: str, name: str) -> str:
    """Return a photo as HTML: one on the web by its address, any other as it is, small."""
    style = f'alt="{name}" style="max-width:{_DRAWN}px;max-height:{_DRAWN}px"'
    if image.startswith(("http://", "https://")):
        return f'<img src="{html.escape(image)}" {style}>'
    from serupa.images import read_bytes, thumbnail

    try:
        data = base64.b64encode(thumbnail(read_bytes(image), _DRAWN)).decode("ascii")
    except SerupaError as error:
        return f"<em>{html.escape(str(error))}</em>"
    return f'<img src="data:image/jpeg;base64,{data}" {style}>'
