"""Reads checkpoints, ``.safetensors`` and both formats of ``.pth``, without executing anything in the file.

A ``.pth`` file is a pickle: a program for a small machine that can call whatever it names. Here that program
is run by `_Machine`, which knows only the instructions that ``torch.save`` writes for dicts of tensors, and
whose only callables are the four of `_CALLABLES`. Python's own pickle machine is never started.

The formats are described by what writes them: ``torch/serialization.py`` (``_save``, ``_legacy_save``) and
https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import io
import math
import os
import pickletools
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from serupa.errors import InvalidInputError, NotFoundError, UnavailableError

Array = NDArray[Any]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_WRAPPERS = ("state_dict", "model", "model_state_dict")
_LARGEST_PICKLE = 64 * 2**20
_LARGEST_RANK = 32

_BF16 = "bfloat16"
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": _BF16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}
_SAFETENSORS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": _BF16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "<u1",
    "BOOL": "|b1",
}


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Read the named arrays of a checkpoint.

    A state dict within ``{"state_dict": ...}`` or ``{"model": ...}`` is found, and the ``module.`` that
    training on several devices puts before every name is taken away. ``bfloat16`` becomes ``float32``; other
    types stay.

    Parameters
    ----------
    path : str or path-like
        A ``.safetensors`` or ``.pth`` / ``.pt`` / ``.bin`` file; its content decides, not its name.

    Returns
    -------
    dict of str to ndarray
        The arrays; they may be read-only and share memory.

    Raises
    ------
    NotFoundError, UnavailableError
        If the file is missing, or cannot be read.
    InvalidInputError
        If it is damaged, of another kind, or asks for anything but tensors.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(path, "there is no such weights file") from None
    except OSError as error:
        raise UnavailableError(path, f"the weights cannot be read ({error.strerror})") from error
    try:
        return _named_arrays(_read(data))
    except _UnfitError as error:
        raise InvalidInputError(path, str(error)) from error


class _UnfitError(Exception):
    """What is wrong with a file; the file's name is put before it further up."""


def _read(data: bytes) -> object:
    if data.startswith(b"PK"):
        return _read_zip(data)
    if data.startswith(
        b"\x80\x02\x8a\x0a"
    ):  # a pickle that begins with a long of ten bytes: the legacy magic
        return _read_legacy(data)
    if data[8:9] == b"{":
        return _read_safetensors(data)
    raise _UnfitError(
        "not a checkpoint: neither .safetensors nor what torch.save writes" if data else "the file is empty"
    )


def _named_arrays(value: object) -> dict[str, Array]:
    """Find the state dict in what a file holds."""
    for wrapper in _WRAPPERS:
        if isinstance(value, Mapping) and isinstance(value.get(wrapper), Mapping):
            value = value[wrapper]
    if not isinstance(value, Mapping):
        raise _UnfitError(f"holds no state dict but a {type(value).__name__}")
    arrays = {str(key): _array(item) for key, item in value.items() if isinstance(item, np.ndarray | _Tensor)}
    if not arrays:
        raise _UnfitError("holds no tensors by name")
    if all(name.startswith("module.") for name in arrays):
        arrays = {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays


def _array(value: Array | _Tensor) -> Array:
    return value.array() if isinstance(value, _Tensor) else value


# --- .safetensors


def _read_safetensors(data: bytes) -> dict[str, Array]:
    from safetensors import SafetensorError, deserialize

    try:
        entries = deserialize(data)  # type: ignore[no-untyped-call]
    except (SafetensorError, ValueError, OverflowError) as error:
        raise _UnfitError(f"not a whole .safetensors file ({error})") from error
    arrays = {}
    for name, entry in entries:
        if entry["dtype"] not in _SAFETENSORS:
            raise _UnfitError(f"tensor {name!r} has type {entry['dtype']}, which is not supported")
        flat = _decode(entry["data"], _SAFETENSORS[entry["dtype"]])
        if not _can_be(entry["shape"]):
            raise _UnfitError(f"tensor {name!r:.80} has a shape that cannot be")
        arrays[name] = flat.reshape(entry["shape"])
    return arrays


def _can_be(shape: Sequence[int]) -> bool:
    """Tell whether NumPy takes a shape; the sides of a tensor without numbers may be any."""
    return len(shape) <= _LARGEST_RANK and math.prod(max(side, 1) for side in shape) < 2**48


def _decode(data: bytes | memoryview, dtype: str) -> Array:
    if dtype != _BF16:
        return np.frombuffer(data, dtype)
    # bfloat16 is the upper half of a float32
    return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")


# --- .pth: torch/serialization.py, _save and _legacy_save


@dataclass(frozen=True, slots=True)
class _StorageType:
    dtype: str

    @property
    def item_bytes(self) -> int:
        return 2 if self.dtype == _BF16 else np.dtype(self.dtype).itemsize


@dataclass(eq=False, slots=True)
class _Storage:
    """A run of numbers that tensors look into; in the legacy format its data come after all tensors."""

    type: _StorageType
    count: int
    data: Array | None = None


@dataclass(frozen=True, eq=False, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> Array:
        """View the storage; every index is known to be within it."""
        data = self.storage.data
        if data is None:
            raise _UnfitError("the data of a tensor are missing")
        strides = [stride * data.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(data[self.offset :], self.shape, strides, writeable=False)


def _read_zip(data: bytes) -> object:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read_archive(archive, len(data))
    except _UnfitError:
        raise
    except Exception as error:  # the library's own, and what a table of contents that is wrong makes of it
        raise _UnfitError(f"not a whole .pth file ({error})") from error


def _read_archive(archive: zipfile.ZipFile, size: int) -> object:
    entries = archive.infolist()
    # torch.save compresses nothing: an archive that unpacks to more than itself was made to fill the memory
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or size < sum(
        entry.file_size for entry in entries
    ):
        raise _UnfitError("not a .pth file: torch.save writes no compressed entries")
    names = {entry.filename for entry in entries}
    programs = [name for name in names if name.split("/")[1:] == ["data.pkl"]]
    if len(programs) != 1:
        raise _UnfitError("not a .pth file: a zip archive without data.pkl")
    root = programs[0].removesuffix("data.pkl")
    if root + "byteorder" in names and archive.read(root + "byteorder") != b"little":
        raise _UnfitError("written on a big-endian machine, which is not supported")

    storages: dict[str, _Storage] = {}

    def find_storage(kind: _StorageType, key: str, count: int) -> _Storage:
        if key not in storages:
            if f"{root}data/{key}" not in names:
                raise _UnfitError(f"the data of storage {key!r:.40} are missing")
            raw = archive.read(f"{root}data/{key}")
            if len(raw) != count * kind.item_bytes:
                raise _UnfitError(f"storage {key!r:.40} has {len(raw)} bytes, not those of {count} numbers")
            storages[key] = _Storage(kind, count, _decode(raw, kind.dtype))
        return _same_storage(storages[key], kind, count)

    return _Machine(find_storage).run(io.BytesIO(archive.read(programs[0])))


def _read_legacy(data: bytes) -> object:
    file = io.BytesIO(data)
    magic, _version, system = (_Machine(_no_storage).run(file) for _ in range(3))
    if magic != _LEGACY_MAGIC or not isinstance(system, dict):
        raise _UnfitError("not a .pth file: a pickle of something else")
    if system.get("little_endian") is not True:
        raise _UnfitError("written on a big-endian machine, which is not supported")

    storages: dict[str, _Storage] = {}

    def find_storage(kind: _StorageType, key: str, count: int) -> _Storage:
        if count * kind.item_bytes > len(data):
            raise _UnfitError(f"storage {key!r:.40} is larger than the file")
        return _same_storage(storages.setdefault(key, _Storage(kind, count)), kind, count)

    value = _Machine(find_storage).run(file)
    keys = _Machine(_no_storage).run(file)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise _UnfitError("the list of storages is wrong")
    rest = memoryview(data)[file.tell() :]
    for key in keys:
        storage = storages.get(key)
        if storage is None:
            raise _UnfitError(f"storage {key!r:.40} belongs to no tensor")
        end = 8 + storage.count * storage.type.item_bytes
        if int.from_bytes(rest[:8], "little") != storage.count or len(rest) < end:
            raise _UnfitError("the file is truncated or its storages are in disorder")
        storage.data = _decode(rest[8:end], storage.type.dtype)
        rest = rest[end:]
    return value


def _same_storage(storage: _Storage, kind: _StorageType, count: int) -> _Storage:
    if (storage.type, storage.count) != (kind, count):
        raise _UnfitError("two tensors disagree about the storage that they share")
    return storage


def _no_storage(kind: _StorageType, key: str, count: int) -> _Storage:
    raise _UnfitError("a tensor stands where none belongs")


_FindStorage = Callable[[_StorageType, str, int], _Storage]


def _rebuild_tensor(*arguments: object) -> _Tensor:
    """``torch._utils._rebuild_tensor_v2``: storage, offset, shape, strides and what only training needs."""
    storage, offset, shape, strides = arguments[:4] if 4 <= len(arguments) <= 7 else (None,) * 4
    numbers = _is_count(offset) and _are_counts(shape) and _are_counts(strides)
    if not isinstance(storage, _Storage) or not numbers:
        raise _UnfitError("a tensor is not described as torch.save does")
    tensor = _Tensor(storage, cast(Any, offset), cast(Any, shape), cast(Any, strides))
    if len(tensor.shape) != len(tensor.strides) or not _can_be(tensor.shape):
        raise _UnfitError("a tensor's shape and strides do not fit")
    # A stride of 0 repeats a number: no tensor may outgrow its storage that way
    count = math.prod(tensor.shape)
    last = sum((side - 1) * stride for side, stride in zip(tensor.shape, tensor.strides, strict=True))
    if count > storage.count or tensor.offset + (last + 1 if count else 0) > storage.count:
        raise _UnfitError("a tensor reaches beyond its storage")
    return tensor


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**48


def _are_counts(value: object) -> bool:
    return isinstance(value, tuple) and all(_is_count(number) for number in value)


def _rebuild_parameter(*arguments: object) -> _Tensor:
    """``torch._utils._rebuild_parameter``: the tensor and what only training needs."""
    if not arguments or not isinstance(arguments[0], _Tensor):
        raise _UnfitError("a parameter holds no tensor")
    return arguments[0]


def _ordered_dict(*arguments: object) -> dict[object, object]:
    """``OrderedDict()`` or ``OrderedDict([[key, value], ...])``."""
    items: dict[object, object] = {}
    pairs = arguments[0] if arguments else []
    for pair in pairs if len(arguments) <= 1 and isinstance(pairs, list) else [None]:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise _UnfitError("an OrderedDict is not described as torch.save does")
        items[_key(pair[0])] = pair[1]
    return items


def _size(*arguments: object) -> tuple[object, ...]:
    """``torch.Size((...))``."""
    if len(arguments) != 1 or not isinstance(arguments[0], tuple):
        raise _UnfitError("a shape is not described as torch.save does")
    return arguments[0]


def _key(value: object) -> object:
    """Only plain keys: the hash of tuples within tuples can take for ever."""
    if not isinstance(value, str | int | float | bool | None):
        raise _UnfitError(f"a dictionary has a key that is a {type(value).__name__}")
    return value


_CALLABLES: dict[str, Callable[..., object]] = {
    "collections OrderedDict": _ordered_dict,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
    "torch Size": _size,
}
_GLOBALS: dict[str, object] = {
    **_CALLABLES,
    **{f"torch {name}": _StorageType(dtype) for name, dtype in _STORAGES.items()},
}
_MARK = object()
_NONSENSE = "the pickle in the file is damaged"

_PUSH = frozenset(
    ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
)
_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
}


class _Machine:
    """Runs the few pickle instructions that describe dictionaries of tensors; refuses all others."""

    def __init__(self, find_storage: _FindStorage) -> None:
        self._find_storage = find_storage
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, file: io.BytesIO) -> object:
        """Run one pickle and leave the file behind it."""
        start = file.tell()
        try:
            for opcode, argument, position in pickletools.genops(file):
                if position is not None and position - start > _LARGEST_PICKLE:
                    raise _UnfitError("the pickle in the file is too long")
                if opcode.name == "STOP":
                    return self._pop()
                self._step(opcode.name, argument)
        except (ValueError, OverflowError, MemoryError, IndexError) as error:
            raise _UnfitError("the file is truncated or damaged") from error
        raise _UnfitError("the pickle in the file does not end")

    def _step(self, name: str, argument: Any) -> None:
        """Run an instruction that puts a value on the stack, or remembers one."""
        if name in _PUSH:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if argument is None else argument] = self._top()
        elif name in ("BINGET", "LONG_BINGET"):
            if argument not in self._memo:
                raise _UnfitError(_NONSENSE)
            self._stack.append(self._memo[argument])
        elif name not in ("PROTO", "FRAME"):
            self._combine(name, argument)

    def _combine(self, name: str, argument: Any) -> None:
        """Run an instruction that makes something of the values on the stack."""
        match name:
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._stack.append(tuple([self._pop() for _ in range(int(name[-1]))][::-1]))
            case "TUPLE":
                self._stack.append(tuple(self._pop_to_mark()))
            case "APPEND" | "APPENDS":
                items = [self._pop()] if name == "APPEND" else self._pop_to_mark()
                self._top(list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = [self._pop(), self._pop()][::-1] if name == "SETITEM" else self._pop_to_mark()
                self._set_items(items)
            case "GLOBAL":
                self._stack.append(_global(argument))
            case "STACK_GLOBAL":
                word, module = self._pop(), self._pop()
                if not isinstance(word, str) or not isinstance(module, str):
                    raise _UnfitError(_NONSENSE)
                self._stack.append(_global(f"{module} {word}"))
            case "REDUCE":
                self._call()
            case "BUILD":  # a module's _metadata, or attributes of a tensor: nothing that an encoder needs
                self._pop()
                self._top()
            case "BINPERSID":
                self._stack.append(self._storage(self._pop()))
            case _:
                raise _UnfitError(f"asks for the pickle instruction {name}, and only tensors are read")

    def _call(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not any(function is one for one in _CALLABLES.values()) or not isinstance(arguments, tuple):
            raise _UnfitError("the pickle in the file calls what is not a function")
        self._stack.append(function(*arguments))

    def _storage(self, identity: object) -> _Storage:
        """Find ``("storage", type, key, device, count)``; the legacy format adds a view, None by now."""
        match identity:
            case ("storage", _StorageType() as kind, str(key), _, count, *rest) if rest in ([], [None]):
                if _is_count(count):
                    return self._find_storage(kind, key, cast(int, count))
        raise _UnfitError("a storage is not described as torch.save does")

    def _set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise _UnfitError(_NONSENSE)
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _top(self, kind: type = object) -> Any:
        if not self._stack or self._stack[-1] is _MARK or not isinstance(self._stack[-1], kind):
            raise _UnfitError(_NONSENSE)
        return self._stack[-1]

    def _pop(self) -> Any:
        self._top()
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while self._stack:
            item = self._stack.pop()
            if item is _MARK:
                return items[::-1]
            items.append(item)
        raise _UnfitError(_NONSENSE)


def _global(name: str) -> object:
    if name not in _GLOBALS:
        readable = name.replace(" ", ".")
        raise _UnfitError(f"asks for {readable!r:.120}, and only tensors are read: it may not be safe")
    return _GLOBALS[name]
