"""Reads the weights of a checkpoint: ``.safetensors`` alone, since a pickle is a program."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from serupa.errors import InvalidInputError, NotFoundError, UnavailableError
from serupa.files.atomic import read_bounded

_LARGEST_BYTES = 8 * 2**30
_LARGEST_RANK = 32


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read the named arrays of a ``.safetensors`` file.

    The ``module.`` that training on several devices puts before every name is taken away.

    Parameters
    ----------
    path : str or path-like
        Its content decides, not its name.

    Returns
    -------
    dict of str to ndarray
        The arrays; they may be read-only and share memory.

    Raises
    ------
    NotFoundError, UnavailableError
        If the file is missing, or cannot be read.
    InvalidInputError
        If it is damaged or of another kind.
    """
    from safetensors import SafetensorError, deserialize
    from safetensors.numpy import load

    path = Path(path)
    try:
        data = read_bounded(path, _LARGEST_BYTES)
    except FileNotFoundError:
        raise NotFoundError(path, "there is no such weights file") from None
    except OSError as error:
        raise UnavailableError(path, f"the weights cannot be read ({error.strerror})") from error
    if data[8:9] != b"{" and data.startswith((b"PK", b"\x80")):
        raise InvalidInputError(
            path,
            "is a pickle, a program that is never run here",
            "save it as .safetensors: safetensors.torch.save_file(state_dict, FILE)",
        )
    try:
        # NumPy takes no shape that is too large, even of nothing
        for name, entry in deserialize(data):  # type: ignore[no-untyped-call]
            if len(entry["shape"]) > _LARGEST_RANK or math.prod(max(1, n) for n in entry["shape"]) >= 2**48:
                raise ValueError(f"tensor {name!r:.80} has a shape that cannot be")
        arrays = load(data)
    except (SafetensorError, ValueError, OverflowError) as error:
        raise InvalidInputError(path, f"not a whole .safetensors file ({error!s:.200})") from error
    except KeyError as error:
        raise InvalidInputError(path, f"a tensor has type {error!s:.40}, which is not supported") from error
    if not arrays:
        raise InvalidInputError(path, "holds no tensors")
    if all(name.startswith("module.") for name in arrays):
        arrays = {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays
