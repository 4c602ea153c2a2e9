"""What an encoder is trained on: photos with what is known of them, and views of them made beforehand.

The part of the network that stays as it is gives the same for the same view at every step. So a number of
views of each photo goes through it once; what comes out (half precision, a memory-mapped file) is all that
training reads, together with the starting network's embeddings of the same views.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serupa.encoders.efficientnet import FRONT, build_graph
from serupa.encoders.session import available_cpus, session_options
from serupa.errors import InvalidInputError, SerupaError
from serupa.files.atomic import write_atomic
from serupa.images import open_photo, photo_pixels
from serupa.items import Failure, Item
from serupa.learning import views
from serupa.sources import Source, read_source

if TYPE_CHECKING:
    from serupa.encoders.cards import Card

Progress = Callable[[str, int, int], None]
Held = Mapping[str, frozenset[str]]
"""Values of fields, by field: photos that have one of them are not learned from."""

_BATCH = 64
_SPLIT = 10
_LARGEST = 8 * 2**30  # bytes of prepared views
_FEWEST_VIEWS = 4


@dataclass(frozen=True, eq=False)
class Material:
    """Photos to learn from and photos to judge by.

    Parameters
    ----------
    items : list of n Item
    photos : list of n Photo
        Shrunk, and where their garments are.
    centres : (n, s, s, 3) array of uint8
        What the encoder sees of each when a catalogue is indexed.
    products, kinds : (n,) arrays of int64
        Numbers of the product and the kind of garment; -1 where it is not known.
    kind_names : tuple of str
        The kinds by number.
    studio : (n,) array of bool
        Whether a photo was taken before white.
    held : (n,) array of bool
        Whether it is only judged by.
    failures : list of Failure
        What could not be used.
    """

    items: list[Item]
    photos: list[views.Photo]
    centres: NDArray[np.uint8]
    products: NDArray[np.int64]
    kinds: NDArray[np.int64]
    kind_names: tuple[str, ...]
    studio: NDArray[np.bool_]
    held: NDArray[np.bool_]
    failures: list[Failure]

    def fingerprint(self) -> str:
        """Return a hash of what the photos are and what is known of them."""
        digest = hashlib.sha256(self.centres.tobytes())
        for array in (self.products, self.kinds, self.held):
            digest.update(array.tobytes())
        return digest.hexdigest()


def read_held(path: Path) -> dict[str, frozenset[str]]:
    """Read which photos to keep aside: a line each, ``product_id=MH05``; # begins a comment.

    Raises
    ------
    InvalidInputError
        If a line is something else, or the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InvalidInputError(path, f"cannot be read ({error})") from error
    found: dict[str, set[str]] = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        field, equals, value = text.partition("=")
        if not equals or not field.strip() or not value.strip():
            raise InvalidInputError(path, f"line {number} is not FIELD=VALUE")
        found.setdefault(field.strip(), set()).add(value.strip())
    return {field: frozenset(values) for field, values in found.items()}


def read_material(
    sources: Sequence[Source],
    *,
    label: str,
    kind_of: Callable[[Item], str | None],
    apart: str | None,
    held: Held | None,
    side: int,
    seed: int,
    progress: Progress,
) -> Material:
    """Read sources into what `train` learns from; see there for the parameters.

    Raises
    ------
    InvalidInputError
        If too few photos can be used.
    """
    items: list[Item] = []
    failures: list[Failure] = []
    origin: list[int] = []
    for number, source in enumerate(sources):
        for entry in read_source(source):
            if isinstance(entry, Failure):
                failures.append(entry)
            else:
                items.append(entry)
                origin.append(number)
    read: list[tuple[views.Photo, NDArray[np.uint8]] | Failure] = []
    with ThreadPoolExecutor(2) as threads:
        for photo in threads.map(lambda item: _read(item, side), items):
            read.append(photo)
            progress("reading photos", len(read), len(items))
    usable = [i for i, photo in enumerate(read) if not isinstance(photo, Failure)]
    failures += [photo for photo in read if isinstance(photo, Failure)]
    if len(usable) < _SPLIT:
        raise InvalidInputError("the sources", f"{len(usable)} photos can be used, too few to learn from")
    photos, centres = zip(*(read[i] for i in usable), strict=True)
    kept = [items[i] for i in usable]
    # the same id in two shops is not the same product
    products = _numbers([_keyed(origin[i], items[i].label(label)) for i in usable])
    names = [kind_of(item) for item in kept]
    kind_names = tuple(sorted({name for name in names if name is not None}))
    groups = [
        _keyed(origin[i], items[i].label(apart) if apart is not None else None)
        or _keyed(origin[i], items[i].label(label))
        or _keyed(origin[i], items[i].id)
        for i in usable
    ]
    return Material(
        items=kept,
        photos=list(photos),
        centres=np.stack(centres),
        products=products,
        kinds=np.array([kind_names.index(name) if name is not None else -1 for name in names], np.int64),
        kind_names=kind_names,
        studio=np.array([_is_studio(photo.pixels) for photo in photos]),
        held=_held_by_list(kept, held) if held is not None else _held_by_chance(groups, seed),
        failures=failures,
    )


def _read(item: Item, side: int) -> tuple[views.Photo, NDArray[np.uint8]] | Failure:
    try:
        centre = photo_pixels(item.image, side, resize="crop", resample="bilinear")
        image = open_photo(item.image, min_side=views.SHORT_SIDE)
    except SerupaError as error:
        return Failure(item.id, item.image, str(error))
    scale = views.SHORT_SIDE / min(image.size)
    size = (
        max(views.SHORT_SIDE, round(image.width * scale)),
        max(views.SHORT_SIDE, round(image.height * scale)),
    )
    pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC, reducing_gap=2))
    return views.Photo(pixels, views.find_garment(pixels)), centre


def _is_studio(pixels: NDArray[np.uint8]) -> bool:
    return bool(np.median(pixels[:8].reshape(-1, 3), axis=0).min() > 235)


def _keyed(source: int, value: Any) -> tuple[int, str] | None:
    return None if value is None or value == "" else (source, str(value))


def _numbers(values: Iterable[Hashable | None]) -> NDArray[np.int64]:
    numbers: dict[Hashable, int] = {}
    return np.array(
        [-1 if value is None else numbers.setdefault(value, len(numbers)) for value in values], np.int64
    )


def _held_by_list(items: Sequence[Item], held: Held) -> NDArray[np.bool_]:
    return np.array(
        [any(str(item.label(field)) in values for field, values in held.items()) for item in items], bool
    )


def _held_by_chance(groups: Sequence[Hashable], seed: int) -> NDArray[np.bool_]:
    """Hold every tenth product (or whatever photos are kept apart by) back, drawn by a hash of its name."""

    def draw(group: Hashable) -> int:
        return int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:8])

    drawn = {group: draw(group) for group in groups}
    held = sorted(drawn, key=lambda group: drawn[group])[: max(1, round(len(drawn) / _SPLIT))]
    chosen = set(held)
    return np.array([group in chosen for group in groups], bool)


class StartingNetwork:
    """The network as it is before training, by ONNX Runtime: five times as fast as the one that is trained.

    Parameters
    ----------
    state : mapping of str to ndarray
        Its weights.
    card : Card
    frozen : int
        How many blocks stay as they are.
    side : int
        Of the views, in pixels.
    """

    def __init__(self, state: Mapping[str, NDArray[Any]], card: Card, *, frozen: int, side: int) -> None:
        import onnxruntime as ort

        self.side, self.dimension = side, card.dimension
        model = build_graph(state, msgspec.structs.replace(card, input_size=side), front=frozen)
        self._session = ort.InferenceSession(model, session_options(available_cpus()))
        self.front_shape = self(np.zeros((1, side, side, 3), np.uint8))[0].shape[1:]

    def __call__(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what the frozen part makes of views (n, s, s, 3), and the embeddings (n, d)."""
        fronts, embeddings = self._session.run([FRONT, "embedding"], {"pixels": pixels})
        return np.asarray(fronts), np.asarray(embeddings)


class PreparedViews:
    """Views of the photos to learn from, as the frozen part of the network gives them.

    Made one round after the other, a view of every photo each; what is there already is not made again.

    Parameters
    ----------
    folder : Path
        Where they are kept.
    material : Material
    starting : StartingNetwork
    rounds : int
        How many views of each photo.
    seed : int
    progress : callable
    """

    GREY = 1
    WORN = 2
    NONE = 255

    def __init__(
        self,
        folder: Path,
        material: Material,
        starting: StartingNetwork,
        *,
        rounds: int,
        seed: int,
        progress: Progress,
    ) -> None:
        self.rows = np.flatnonzero(~material.held)
        rows: list[int] = self.rows.tolist()
        self._material, self._starting, self._seed = material, starting, seed
        front = starting.front_shape
        plan = [_TYPES[number % len(_TYPES)] for number in range(rounds)]
        plan += ["worn"] * max(1, rounds // _PLAIN_FOR_WORN)
        size = len(self.rows) * (2 * int(np.prod(front)) + 2 * starting.dimension)
        while len(plan) > _FEWEST_VIEWS and len(plan) * size > _LARGEST:
            plan.pop()
        self.plan = tuple(plan)
        shape = (len(plan), len(self.rows))
        self.fronts = _array(folder / "fronts.npy", np.float16, (*shape, *front))
        self.teachers = _array(folder / "teachers.npy", np.float16, (*shape, starting.dimension))
        self.types = _array(folder / "types.npy", np.uint8, shape)
        made = folder / "made.json"
        done = json.loads(made.read_text()) if made.exists() else 0
        learned = [material.photos[row] for row in rows]
        scenes = [
            photo
            for photo, row in zip(learned, rows, strict=True)
            if photo.mask is not None and not material.studio[row]
        ]
        worn = views.Worn([(material.photos[row], self._kind(row)) for row in rows if material.studio[row]])
        for number in range(done, len(plan)):
            self._make(number, scenes, worn, progress)
            for array in (self.fronts, self.teachers, self.types):
                array.flush()
            write_atomic(made, json.dumps(number + 1).encode())

    def _kind(self, row: int) -> str | None:
        number = self._material.kinds[row]
        return None if number < 0 else self._material.kind_names[number]

    def _make(self, number: int, scenes: Sequence[views.Photo], worn: views.Worn, progress: Progress) -> None:
        self.types[number] = self.NONE
        with ThreadPoolExecutor(available_cpus()) as threads:
            for start in range(0, len(self.rows), _BATCH):
                batch = range(start, min(start + _BATCH, len(self.rows)))
                made = threads.map(lambda place: self._view(number, place, scenes, worn), batch)
                pixels = {place: view for place, view in zip(batch, made, strict=True) if view is not None}
                if pixels:
                    places = list(pixels)
                    fronts, teachers = self._starting(np.stack(list(pixels.values())))
                    self.fronts[number, places] = fronts
                    self.teachers[number, places] = teachers
                    self.types[number, places] = {"grey": self.GREY, "worn": self.WORN}.get(
                        self.plan[number], 0
                    )
                done = number * len(self.rows) + start
                progress("preparing views", done, len(self.plan) * len(self.rows))

    def _view(
        self, number: int, place: int, scenes: Sequence[views.Photo], worn: views.Worn
    ) -> NDArray[np.uint8] | None:
        row = int(self.rows[place])
        photo, rng = self._material.photos[row], np.random.default_rng((self._seed, number, row))
        match self.plan[number]:
            case "grey":
                return views.grey(photo, self._starting.side, rng)
            case "elsewhere":
                scene = scenes[int(rng.integers(len(scenes)))] if scenes else None
                return views.elsewhere(photo, scene, self._starting.side, rng)
            case "worn":
                kind = self._kind(row)
                if self._material.studio[row] or photo.mask is None or kind is None or not worn.wears(kind):
                    return None
                return worn.view(photo, kind, self._starting.side, rng)
            case _:
                return views.plain(photo, self._starting.side, rng)


_TYPES = ("plain", "plain", "plain", "elsewhere", "plain", "plain", "grey", "elsewhere")
_PLAIN_FOR_WORN = 4


def _array(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Open an array that is kept in a file, or make it."""
    if path.exists():
        found = np.lib.format.open_memmap(path, mode="r+")
        if found.shape == shape and found.dtype == dtype:
            return found
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
