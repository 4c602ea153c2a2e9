"""Serupa: visual search and recommendation for fashion catalogues.

>>> from serupa import Catalog
>>> with Catalog.create("shop") as catalog:            # doctest: +SKIP
...     catalog.add("photos/")
...     for hit in catalog.search("street.jpg", k=5):
...         print(hit.rank, hit.item.product_id, hit.similarity)
"""

from serupa.errors import (
    EARLIER_NAMES,
    ConflictError,
    DamagedError,
    InvalidInputError,
    MissingExtraError,
    NotFoundError,
    SerupaError,
    UnavailableError,
    UsageError,
)

TYPE_CHECKING = False  # as typing has it, which takes longer to load than all of this
if TYPE_CHECKING:
    from serupa.catalog import Catalog as Catalog
    from serupa.catalog.ingest import AddReport as AddReport
    from serupa.catalog.query import SearchRequest as SearchRequest
    from serupa.catalog.results import Recommendation as Recommendation
    from serupa.catalog.results import SearchResult as SearchResult
    from serupa.encoders import Encoder as Encoder
    from serupa.encoders import load_encoder as load_encoder
    from serupa.images import Crop as Crop
    from serupa.items import Hit as Hit
    from serupa.items import Item as Item
    from serupa.recommend.engine import Example as Example

__version__ = "0.1.0"

# Imported when first used: numpy, Pillow and the engines take longer to load than `serupa --help`.
_LATER = {
    "AddReport": "serupa.catalog.ingest",
    "Catalog": "serupa.catalog.catalog",
    "Crop": "serupa.images",
    "Encoder": "serupa.encoders",
    "Example": "serupa.recommend.engine",
    "Hit": "serupa.items",
    "Item": "serupa.items",
    "Recommendation": "serupa.catalog.results",
    "SearchRequest": "serupa.catalog.query",
    "SearchResult": "serupa.catalog.results",
    "load_encoder": "serupa.encoders",
}

__all__ = [
    "AddReport",
    "Catalog",
    "ConflictError",
    "Crop",
    "DamagedError",
    "Encoder",
    "Example",
    "Hit",
    "InvalidInputError",
    "Item",
    "MissingExtraError",
    "NotFoundError",
    "Recommendation",
    "SearchRequest",
    "SearchResult",
    "SerupaError",
    "UnavailableError",
    "UsageError",
    "__version__",
    "load_encoder",
]


def __getattr__(name: str) -> object:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)
    if name in EARLIER_NAMES:
        return SerupaError
    raise AttributeError(f"module 'serupa' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
