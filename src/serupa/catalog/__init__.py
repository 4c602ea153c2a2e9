"""The catalogue: items in, hits out."""

from serupa.catalog.catalog import Catalog

__all__ = ["Catalog"]
