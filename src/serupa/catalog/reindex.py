"""Writing a catalogue's points anew beside the old ones, and bringing the copy up to date."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING

import numpy as np

from serupa.catalog import words
from serupa.catalog.schema import PointSchema, schema_of
from serupa.items import OWN_FIELDS, FieldKind, is_attribute_name
from serupa.progress import Progress, silent
from serupa.storage.base import Point, VectorStore
from serupa.storage.manifest import CatalogManifest, replace

if TYPE_CHECKING:
    from serupa.catalog.catalog import Catalog
    from serupa.learning.whitening import Whitening


Alone = Callable[[], AbstractContextManager[None]]
"""Makes a context in which no other thread uses a catalogue."""


def rewrite(
    catalog: Catalog,
    wanted: CatalogManifest,
    whitening: Whitening | None,
    progress: Progress | None = None,
    alone: Alone = nullcontext,
) -> None:
    """Write all points anew, as a manifest wants them, and switch to them.

    Parameters
    ----------
    catalog : Catalog
        Is of the new points afterwards.
    wanted : CatalogManifest
        Says what is searched (tuning, kinds) and how a server keeps it.
    whitening : Whitening or None
        What its tuning is.
    progress : callable, optional
    alone : callable, optional
        Makes a context in which no other thread uses the catalogue: that of the last step.
    """
    data = None if whitening is None else whitening.to_bytes()
    wanted = replace(wanted, words=words.VERSION)
    with ExitStack() as stack:
        draft = stack.enter_context(catalog.backend.begin(catalog.store))
        store = draft.create(wanted, data, words.terms_of)
        after = schema_of(wanted, lambda _: data or b"", catalog.own)
        copying = Copying(catalog.store.for_writing(), store.for_writing(), catalog.schema, after)
        copying.copy(catalog.manifest.fields, progress or silent)
        with alone():
            manifest = draft.commit(copying.catch_up)
            catalog.manifest, catalog.store, catalog.schema = manifest, store, after
            stack.close()  # what was replaced is closed while nobody reads it
    catalog.own.forget()


class Copying:
    """A copy of a store's points whose vectors are laid out in another way.

    Parameters
    ----------
    old, new : VectorStore
        Read from, and written to.
    before, after : PointSchema
        How the vectors of each are laid out.
    """

    def __init__(self, old: VectorStore, new: VectorStore, before: PointSchema, after: PointSchema) -> None:
        self._old, self._new = old, new
        self._before, self._after = before, after
        self._names = (before.embedding_name,)

    def copy(self, fields: Mapping[str, FieldKind], progress: Progress) -> None:
        """Fill the new store with what the old one holds, and build its index."""
        for name, kind in (OWN_FIELDS | dict(fields)).items():
            if name in OWN_FIELDS or is_attribute_name(name):
                self._new.index_field(name, kind)
        done, total = 0, self._old.count()
        for batch in self._old.scroll(vectors=self._names):
            progress("writing vectors", done, total)
            done += len(batch)
            self._write(batch)
        progress("building the index", done, total)
        self._new.optimize()

    def catch_up(self) -> None:
        """Repeat on the new store what was done to the old one after its points were copied."""
        for batch in self._old.scroll():
            copied = self._new.get([point.id for point in batch])
            late = [p.id for p in batch if p.id not in copied or copied[p.id].payload != p.payload]
            if late:
                self._write(list(self._old.get(late, vectors=self._names).values()))
        for batch in self._new.scroll():
            ids = [point.id for point in batch]
            self._new.delete([i for i in ids if i not in self._old.get(ids)])

    def _write(self, batch: Sequence[Point]) -> None:
        embeddings = np.stack([self._before.embedding(point) for point in batch])
        self._new.upsert(self._after.points([point.payload for point in batch], embeddings))
