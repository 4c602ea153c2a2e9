"""What a search and a recommendation return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, overload

from serupa.items import Hit
from serupa.vectors import Metric

if TYPE_CHECKING:
    from serupa.recommend.engine import Group

By = Literal["item", "product"]


@dataclass(frozen=True, slots=True)
class SearchResult(Sequence[Hit]):
    """The hits of one search, nearest first, and how they were found.

    Parameters
    ----------
    hits : tuple of Hit
        Nearest first.
    metric : {"cosine", "euclidean", "manhattan"}
        The metric of the distances.
    encoder : str
        The encoder's name.
    timing_ms : dict of str to float
        Milliseconds of decode, encode and search; a search from a stored item has only the last.
    """

    hits: tuple[Hit, ...]
    metric: Metric
    encoder: str
    timing_ms: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | Sequence[Hit]:
        return self.hits[index]

    def to_dict(self) -> dict[str, Any]:
        """Return the search as JSON-ready values."""
        return {
            "metric": self.metric,
            "encoder": self.encoder,
            "timing_ms": {name: round(ms, 2) for name, ms in self.timing_ms.items()},
            "hits": [
                {
                    "rank": hit.rank,
                    "id": hit.item.id,
                    "product_id": hit.item.product_id,
                    "image": hit.item.image,
                    "distance": hit.distance,
                    "similarity": hit.similarity,
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
