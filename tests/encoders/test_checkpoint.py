from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serupa.encoders.checkpoint import read_checkpoint
from serupa.errors import InvalidInputError, NotFoundError, UnavailableError
from tests.encoders.checkpoints import Array, write_safetensors

ARRAYS: dict[str, Array] = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 7,
    "norm.running_mean": np.array([0.5, -1.0]),
    "half": np.array([1.5, 2.5], np.float16),
    "norm.num_batches_tracked": np.array(7, np.int64),
    "empty": np.zeros((0, 4), np.float32),
}


def same(left: dict[str, Array], right: dict[str, Array]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == array.dtype
        and left[name].shape == array.shape
        and np.array_equal(left[name], array)
        for name, array in right.items()
    )


def test_the_arrays_of_a_file_whatever_its_name(tmp_path: Path) -> None:
    assert same(read_checkpoint(write_safetensors(tmp_path / "weights", ARRAYS)), ARRAYS)


def test_the_prefix_of_parallel_training_is_taken_away(tmp_path: Path) -> None:
    arrays = {f"module.{key}": array for key, array in ARRAYS.items()}
    assert same(read_checkpoint(write_safetensors(tmp_path / "w.safetensors", arrays)), ARRAYS)


class Malicious:
    """What executes a command when Python unpickles it."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self._command,)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_is_refused_unread(tmp_path: Path, protocol: int) -> None:
    trace, path = tmp_path / "trace", tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"weight": Malicious(f"touch {trace}")}, protocol))
    with pytest.raises(InvalidInputError, match=r"evil\.pth: is a pickle.*safetensors\.torch\.save_file"):
        read_checkpoint(path)
    path.write_bytes(b"PK\x03\x04 as torch.save writes today")
    with pytest.raises(InvalidInputError, match="is a pickle"):
        read_checkpoint(path)
    assert not trace.exists()


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    for content in (b"", b"hello, this is text"):
        path.write_bytes(content)
        with pytest.raises(InvalidInputError, match=r"w\.safetensors: not a whole \.safetensors file"):
            read_checkpoint(path)
    with pytest.raises(InvalidInputError, match="holds no tensors"):
        read_checkpoint(write_safetensors(path, {}))
    with pytest.raises(NotFoundError):
        read_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(UnavailableError):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "tensor",
    [
        {"dtype": "F32", "shape": [0, 2**47, 2**47], "data_offsets": [0, 0]},
        {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]},
        {"dtype": "F32", "shape": [1] * 40, "data_offsets": [0, 4]},
    ],
)
def test_a_tensor_that_cannot_be_taken(tmp_path: Path, tensor: dict[str, Any]) -> None:
    header = json.dumps({"a": tensor}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(tensor["data_offsets"][1]))
    with pytest.raises(InvalidInputError, match=r"w\.safetensors: "):
        read_checkpoint(path)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "w.safetensors", ARRAYS)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidInputError):
            read_checkpoint(path)


def test_damage_never_raises_anything_else(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "damaged", ARRAYS)
    whole = path.read_bytes()
    places = st.integers(0, len(whole) - 1)

    @settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(st.tuples(places, st.binary(min_size=1, max_size=9)), min_size=1, max_size=6), st.booleans()
    )
    def damage(changes: list[tuple[int, bytes]], insert: bool) -> None:
        data = bytearray(whole)
        for place, change in changes:
            data[place : place if insert else place + len(change)] = change
        path.write_bytes(data)
        try:
            arrays = read_checkpoint(path)
        except InvalidInputError as error:
            assert str(error).startswith(str(path))
        else:
            assert all(np.asarray(array).sum() is not None for array in arrays.values())

    damage()
