"""The paper's artefacts, written for others to load; Serupa reads none of them back."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serupa.errors import InvalidInputError, MissingExtraError, UnavailableError
from serupa.evaluation.experiment import embedded_items
from serupa.items import Item

if TYPE_CHECKING:
    from serupa.catalog import Catalog

_NEIGHBORS = 10


def write_artefacts(catalog: Catalog, directory: str | Path, *, label: str | None = None) -> list[Path]:
    """Write a catalogue as the paper's files, and once more in a format that is safe to load.

    ``features.npy`` is an ``(n, d)`` float32 array of the vectors that the catalogue's search compares,
    without the kind of garment;
    ``labels.npy`` ``(n,)`` int64 positions in ``class_names.pkl`` (-1 where an item has no label);
    ``image_paths.pkl`` a list of texts; ``knn_<metric>.pkl`` a fitted scikit-learn
    ``NearestNeighbors`` (brute force) for each metric. ``items.parquet`` has one row an item, in the same
    order: id, product_id, image, label, attributes (JSON) and vector.

    Parameters
    ----------
    catalog : Catalog
        What to write.
    directory : path
        Where to; made if it is not there.
    label : str, optional
        What the classes are: ``category`` where there is one, else ``product_id``.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InvalidInputError
        If the catalogue is empty, or the label holds lists.
    UsageError
        If the catalogue has no such label.
    UnavailableError
        If the files cannot be written.
    MissingExtraError
        If scikit-learn or pyarrow are not installed.
    """
    try:
        import pyarrow.parquet as pq
        from sklearn.neighbors import NearestNeighbors
    except ImportError as error:
        raise MissingExtraError("serupa export", "report,parquet") from error
    label = label or ("category" if "category" in catalog.manifest.fields else "product_id")
    gallery = embedded_items(catalog, label, look_alone=True)
    if not gallery.ids:
        raise InvalidInputError(catalog.path, "is empty, there is nothing to export")
    if any(isinstance(value, list) for value in gallery.labels):
        raise InvalidInputError(label, "holds lists; classes need a label with one value an item")
    items = {item.id: item for item in catalog.items()}
    rows = [items[one] for one in gallery.ids]
    names = sorted({str(value) for value in gallery.labels if value is not None})
    position = {name: number for number, name in enumerate(names)}
    folder = Path(directory)
    written: dict[str, Any] = {
        "image_paths.pkl": [item.image for item in rows],
        "class_names.pkl": names,
    }
    for metric in catalog.manifest.metrics:
        model = NearestNeighbors(n_neighbors=min(_NEIGHBORS, len(rows)), algorithm="brute", metric=metric)
        written[f"knn_{metric}.pkl"] = model.fit(gallery.embeddings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "features.npy", gallery.embeddings)
        labels = [-1 if value is None else position[str(value)] for value in gallery.labels]
        np.save(folder / "labels.npy", np.array(labels, np.int64))
        for name, value in written.items():
            with (folder / name).open("wb") as stream:
                pickle.dump(value, stream)
        pq.write_table(_table(rows, label, gallery.embeddings), folder / "items.parquet")
    except OSError as error:
        raise UnavailableError(folder, f"cannot be written: {error.strerror or error}") from error
    names_written = ["features.npy", "labels.npy", *written, "items.parquet"]
    return [folder / name for name in names_written]


def _table(items: list[Item], label: str, vectors: np.ndarray[Any, np.dtype[np.float32]]) -> Any:
    import pyarrow as pa

    flat = pa.array(vectors.ravel(), pa.float32())
    return pa.table(
        {
            "id": [item.id for item in items],
            "product_id": pa.array([item.product_id for item in items], pa.string()),
            "image": [item.image for item in items],
            "label": pa.array([_text(item.label(label)) for item in items], pa.string()),
            "attributes": [json.dumps(dict(item.attributes), ensure_ascii=False) for item in items],
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
