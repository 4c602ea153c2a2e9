"""Tables in memory as sources: pandas, Polars, Arrow, and data sets of Hugging Face."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from serupa.errors import MissingExtraError
from serupa.sources.listing import Row, RowOrFailure, Table
from serupa.sources.table import python_rows

_BATCH_ROWS = 1024


def is_frame(value: object) -> bool:
    """Tell whether a value is a table: it gives Arrow's stream, or is a data set of Hugging Face."""
    return hasattr(value, "__arrow_c_stream__") or _is_dataset(value) or _is_pandas(value)


def _is_dataset(value: object) -> bool:
    return hasattr(value, "features") and hasattr(value, "with_format")


def _is_pandas(value: object) -> bool:
    return hasattr(value, "iloc") and hasattr(value, "to_dict")


def frame_table(frame: Any) -> Table:
    """Return a table in memory as a `Table`; its own index is no column.

    Parameters
    ----------
    frame : pandas, Polars or Arrow table, or datasets.Dataset

    Raises
    ------
    MissingExtraError
        If pyarrow is not installed; pandas does without.
    """
    batches = _batches(frame)

    def rows() -> Iterator[RowOrFailure]:
        number = 0
        for batch in batches():
            for cells in batch:
                number += 1
                yield Row(number, {str(name): _plain(value) for name, value in cells.items()})

    return Table("the table", _columns(frame), rows, _length(frame), unit="row")


def _columns(frame: Any) -> tuple[str, ...]:
    names = getattr(frame, "column_names", None)
    if names is None:
        names = getattr(frame, "columns", None)
    return tuple(str(name) for name in names) if names is not None else ()


def _length(frame: Any) -> Callable[[], int | None]:
    return lambda: len(frame) if hasattr(frame, "__len__") else None


def _batches(frame: Any) -> Callable[[], Iterator[list[dict[str, Any]]]]:
    if _is_dataset(frame):
        return lambda: _dataset_batches(frame)
    if _is_pandas(frame):
        return lambda: _pandas_batches(frame)
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingExtraError("indexing a table in memory", "parquet") from None
    return lambda: (python_rows(batch) for batch in pa.RecordBatchReader.from_stream(frame))


def _pandas_batches(frame: Any) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(frame), _BATCH_ROWS):
        yield frame.iloc[start : start + _BATCH_ROWS].to_dict("records")


def _dataset_batches(dataset: Any) -> Iterator[list[dict[str, Any]]]:
    names = {
        column: feature.names
        for column, feature in (dataset.features or {}).items()
        if getattr(feature, "names", None)
    }
    for batch in dataset.with_format("arrow").iter(_BATCH_ROWS):
        rows = python_rows(batch)
        for row in rows:
            row |= {c: classes[row[c]] for c, classes in names.items() if row.get(c) is not None}
        yield rows


def _plain(value: Any) -> Any:
    """Return a value as Python's own: numbers of numpy, and pandas' ways of saying that there is none."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "to_pydatetime"):
        return value.to_pydatetime()
    if hasattr(value, "tolist") and getattr(value, "ndim", 2) < 2:  # an array of two dimensions is a picture
        return value.tolist()
    return list(value) if isinstance(value, tuple | set | frozenset) else value
