from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serupa.encoders.checkpoint import read_checkpoint
from serupa.errors import InvalidInputError, NotFoundError, UnavailableError
from tests.encoders.checkpoints import (
    Array,
    hostile_zip,
    integer,
    integers,
    text,
    write_legacy,
    write_safetensors,
    write_zip,
)

REFERENCE = Path(__file__).parents[1] / "reference"
ARRAYS: dict[str, Array] = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 7,
    "norm.running_mean": np.array([0.5, -1.0]),
    "half": np.array([1.5, 2.5], np.float16),
    "norm.num_batches_tracked": np.array(7, np.int64),
    "empty": np.zeros((0, 4), np.float32),
}
WRITERS: dict[str, Callable[..., Path]] = {
    "model.safetensors": write_safetensors,
    "zip.pth": write_zip,
    "legacy.pth": write_legacy,
}
EVERY_FORMAT = pytest.mark.parametrize("name", WRITERS)


def same(left: dict[str, Array], right: dict[str, Array]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == array.dtype
        and left[name].shape == array.shape
        and np.array_equal(left[name], array)
        for name, array in right.items()
    )


@EVERY_FORMAT
def test_every_format_gives_the_same_arrays(tmp_path: Path, name: str) -> None:
    assert same(read_checkpoint(WRITERS[name](tmp_path / name, ARRAYS)), ARRAYS)


@EVERY_FORMAT
def test_the_content_decides_and_not_the_name(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name, ARRAYS).rename(tmp_path / "weights")
    assert same(read_checkpoint(path), ARRAYS)


@pytest.mark.parametrize("name", ["torch-zip.pth", "torch-legacy.pth"])
def test_what_torch_itself_saved(name: str) -> None:
    """Strides, views, parameters, bfloat16, a scalar, a wrapper: see make_reference.py."""
    with np.load(REFERENCE / "torch-checkpoint.npz") as expected:
        found = read_checkpoint(REFERENCE / name)
        assert found.keys() == set(expected.files)
        for key in expected.files:
            np.testing.assert_array_equal(found[key].astype(np.float32), expected[key])
    assert found["bfloat16"].dtype == np.float32
    assert found["half"].dtype == np.float16
    assert found["norm.num_batches_tracked"].dtype == np.int64


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_a_wrapped_state_dict_is_found(tmp_path: Path, write: Callable[..., Path], wrapper: str) -> None:
    assert same(read_checkpoint(write(tmp_path / "w.pth", ARRAYS, wrapper=wrapper)), ARRAYS)


@EVERY_FORMAT
def test_the_prefix_of_parallel_training_is_taken_away(tmp_path: Path, name: str) -> None:
    arrays = {f"module.{key}": array for key, array in ARRAYS.items()}
    assert same(read_checkpoint(WRITERS[name](tmp_path / name, arrays)), ARRAYS)


def test_bfloat16_of_safetensors(tmp_path: Path) -> None:
    values = np.array([1.0, -2.5, 3.140625], np.float32)
    header = json.dumps({"a": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}).encode()
    data = (values.view("<u4") >> 16).astype("<u2").tobytes()
    path = tmp_path / "b.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    np.testing.assert_array_equal(read_checkpoint(path)["a"], values)


class Malicious:
    """What executes a command when Python unpickles it."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self._command,)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_nothing_in_the_file_is_executed(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    program = pickle.dumps({"weight": Malicious(f"touch {trace}")}, protocol)
    path = tmp_path / "evil.pth"
    path.write_bytes(hostile_zip(program))
    with pytest.raises(
        InvalidInputError, match=r"evil\.pth: asks for 'posix\.system', and only tensors are read"
    ):
        read_checkpoint(path)
    legacy = write_legacy(tmp_path / "legacy.pth", {}).read_bytes()
    path.write_bytes(
        legacy.replace(
            b"\x80\x02ccollections\nOrderedDict\n)R(u.", pickle.dumps(Malicious(f"touch {trace}"), 2)
        )
    )
    with pytest.raises(InvalidInputError, match=r"posix\.system"):
        read_checkpoint(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval",
        "torch load",
        "torch.hub load",
        "torch._utils _rebuild_tensor_v2.__globals__",
        "collections OrderedDict.fromkeys",
        "serupa.encoders.checkpoint os",
        "numpy._core.multiarray _reconstruct",
    ],
)
def test_only_tensors_are_known(tmp_path: Path, name: str) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(hostile_zip(b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n)R."))
    with pytest.raises(InvalidInputError, match="only tensors are read"):
        read_checkpoint(path)


STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + integer(4) + b"tQ"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def of_storage(offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    tensor = REBUILD + b"(" + STORAGE + integer(offset) + integers(shape) + integers(strides) + b"\x89NtR"
    return b"\x80\x02}" + text("a") + tensor + b"s."


def write_program(path: Path, program: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", np.arange(4, dtype=np.float32).tobytes())
    return path


def test_a_tensor_may_be_any_view_of_its_storage(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    assert read_checkpoint(write_program(path, of_storage(0, (2, 2), (1, 2))))["a"].tolist() == [
        [0, 2],
        [1, 3],
    ]
    assert read_checkpoint(write_program(path, of_storage(1, (3,), (0,))))["a"].tolist() == [1, 1, 1]
    assert read_checkpoint(write_program(path, of_storage(4, (0,), (1,))))["a"].shape == (0,)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (5,), (1,)),
        (1, (4,), (1,)),
        (-1, (2,), (1,)),
        (5, (0,), (1,)),
        (0, (2, 2), (1, 3)),
        (0, (4,), (-1,)),
        (0, (100_000, 100_000), (0, 0)),
        (0, (2,), (1, 1)),
        (0, (1,) * 65, (1,) * 65),
        (0, (0, 2**31 - 1, 2**31 - 1), (0, 0, 0)),  # no numbers, and yet more than can be counted
    ],
)
def test_a_tensor_may_not_leave_its_storage(
    tmp_path: Path, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    path = write_program(tmp_path / "w.pth", of_storage(offset, shape, strides))
    with pytest.raises(InvalidInputError, match=r"w\.pth: a tensor"):
        read_checkpoint(path)


DOUBLING = b"]q\x00" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60))


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(b"\x80\x02", id="without an end"),
        pytest.param(b"\x80\x02.", id="nothing on the stack"),
        pytest.param(b"\x80\x02}X\x04\x00\x00\x00abcdh\x07s.", id="a place in the memo that is empty"),
        pytest.param(b"\x80\x02Nr\xff\xff\xff\x7f.", id="a place in the memo that is far away"),
        pytest.param(b"\x80\x02X\xff\xff\xff\x7fabc.", id="a text longer than the file"),
        pytest.param(b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.", id="a text longer than memory"),
        pytest.param(b"\x80\x02})Ns.", id="a tuple as a key"),
        pytest.param(b"\x80\x02]a.", id="append with nothing to append"),
        pytest.param(b"\x80\x02}(u.", id="an empty state dict"),
        pytest.param(b"\x80\x02K\x01.", id="a number"),
        pytest.param(b"\x80\x02" + DOUBLING + b"h\x3c\x93.", id="a global of lists of lists of lists"),
        pytest.param(b"\x80\x02}" + DOUBLING + b"Ns.", id="a key of lists of lists of lists"),
        pytest.param(b"\x80\x02N)R.", id="a call of None"),
        pytest.param(REBUILD + b")R.", id="a tensor of nothing"),
        pytest.param(b"ctorch\nFloatStorage\n)R.", id="a call of a storage"),
        pytest.param(b"cos\nsystem\n.", id="a global outside a dictionary"),
        pytest.param(b"(i__builtin__\neval\n.", id="an instruction that makes instances"),
        pytest.param(b"\x82\x01.", id="an instruction of registered extensions"),
    ],
)
def test_a_damaged_program_is_refused(tmp_path: Path, program: bytes) -> None:
    with pytest.raises(InvalidInputError, match=r"w\.pth: "):
        read_checkpoint(write_program(tmp_path / "w.pth", program))


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    for content, message in (
        (b"", "the file is empty"),
        (b"hello, this is text", "not a checkpoint"),
        (pickle.dumps({"a": 1}, 2), "not a checkpoint"),
        (b"PK\x03\x04 and no more", "not a whole .pth file"),
    ):
        path.write_bytes(content)
        with pytest.raises(InvalidInputError, match=rf"w\.pth: {message}"):
            read_checkpoint(path)
    with pytest.raises(NotFoundError):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(UnavailableError):
        read_checkpoint(tmp_path)


def test_safetensors_of_a_shape_that_cannot_be(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [0, 2**47, 2**47], "data_offsets": [0, 0]}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InvalidInputError):
        read_checkpoint(path)


def test_a_zip_that_unpacks_to_more_than_itself(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", of_storage(0, (4,), (1,)))
        archive.writestr("archive/data/0", bytes(50_000_000))
    with pytest.raises(InvalidInputError, match="writes no compressed entries"):
        read_checkpoint(path)


@EVERY_FORMAT
def test_every_truncation_is_noticed(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name, ARRAYS)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidInputError):
            read_checkpoint(path)


@pytest.mark.parametrize("name", [*WRITERS, "torch-zip.pth", "torch-legacy.pth"])
def test_damage_never_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    whole = (WRITERS[name](folder / name, ARRAYS) if name in WRITERS else REFERENCE / name).read_bytes()
    path = folder / "damaged"
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
