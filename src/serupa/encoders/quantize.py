"""Quantises an encoder to 8-bit integers, calibrated and checked on the user's own photos."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serupa.encoders.cards import HUB, Card, WeightsSource, card_toml, load_card
from serupa.encoders.encoder import OUR_PORTS, Encoder
from serupa.encoders.hub import with_precision
from serupa.encoders.session import (
    NEEDS,
    available_cpus,
    has_vnni,
    model_file,
    open_session,
    session_options,
)
from serupa.encoders.weights import find_weights
from serupa.errors import InvalidInputError, SerupaError, UnavailableError, UsageError
from serupa.files.atomic import write_atomic
from serupa.items import Item
from serupa.sources import read_source
from serupa.vectors import unit

if TYPE_CHECKING:
    import onnx

MEAN_COSINE = 0.99
"""Smallest mean cosine between an embedding and its quantised self."""

PRECISION_LOSS = 0.01
"""Largest loss of precision at 1, same product."""

_FAITHFUL = 0.998  # mean cosine from which no layer needs to stay in float: to look for one takes minutes

_PHOTOS = 1_000  # measured on at most this many
_RUN = 50  # neighbours in a source are often photos of one product, so they are taken in runs
_CALIBRATION = 64  # photos; 48 and 64 gave the same ranges to 1 %
_FEWEST = 16
_PROBES = 24  # photos that tell a layer's sensitivity
_TIMED = 16
_ROUNDS = 5
_AS_FAST = 1.1  # times the processor time of the fastest candidate
_CHUNK = 8
_METHODS = ("minmax", "percentile", "entropy")
_KEPT = (1, 2, 3, 5, 8, 12)  # how many of the most sensitive layers may stay in float
_LAYERS = ("Conv", "Gemm", "MatMul")

Pixels = NDArray[np.uint8]
Embeddings = NDArray[np.float32]
Ranges = Any  # onnxruntime.quantization.TensorsData


@dataclass(frozen=True, slots=True)
class Quantized:
    """A quantised encoder, and how near it comes to the one in float.

    Parameters
    ----------
    card, model : Path
        The files that were written.
    method : {"minmax", "percentile", "entropy"}
        The calibration that kept the embeddings best.
    kept_float : tuple of str
        The layers that were left in float.
    photos : int
        How many photos it was measured on.
    cosine, cosine_min : float
        Mean and smallest cosine between embeddings in float and quantised.
    precision : tuple of 2 floats, optional
        Precision at 1, same product, in float and quantised; None where no product has two photos.
    speed : float
        Processor time in float over processor time quantised, on this machine.
    """

    card: Path
    model: Path
    method: str
    kept_float: tuple[str, ...]
    photos: int
    cosine: float
    cosine_min: float
    precision: tuple[float, float] | None
    speed: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {
            "card": str(self.card),
            "model": str(self.model),
            "method": self.method,
            "kept_float": list(self.kept_float),
            "photos": self.photos,
            "cosine": round(self.cosine, 5),
            "cosine_min": round(self.cosine_min, 5),
            "precision_at_1": None if self.precision is None else [round(p, 4) for p in self.precision],
            "speed": round(self.speed, 2),
        }


def quantize(
    name: str,
    source: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Quantized:
    """Write an encoder with 8-bit integers: an ONNX model and a card to use it by.

    Activations and weights are quantised statically, weights per output channel. The way to find the ranges
    (smallest and largest, percentile, entropy) is the one that keeps the embeddings of the given photos best;
    the layers whose quantisation changes them most stay in float. How many, several numbers are tried for: of
    the models that pass the limits and are within a tenth of the fastest, the most faithful one is written.
    Where a mean cosine of 0.998 is kept with every layer quantised, no further one is tried.

    Where the processor has no VNNI instructions, weights take 7 bits: with 8, sums of its 16-bit products
    overflow. A model made with 8 bits says so in its metadata and is refused on such a processor.

    Parameters
    ----------
    name : str
        An encoder's name, or the path of a card.
    source : path
        A folder or a table of photos such as will be indexed; a thousand of them are used.
    weights : path, optional
        The encoder's weights, where they are not to be looked for.
    out : path, optional
        The folder to write to; ``<name>-int8`` unless given.
    tell : callable
        Told what is being done, one line at a time.

    Returns
    -------
    Quantized

    Raises
    ------
    UsageError
        If the encoder is one of the hub, which has its own files in 8 bits.
    InvalidInputError
        If fewer than 16 photos can be read, or no model keeps a mean cosine of `MEAN_COSINE` and loses at
        most `PRECISION_LOSS` of precision at 1.
    """
    if name.startswith(HUB):
        raise UsageError(
            name, "is not quantised here", f"take the hub's own files: {with_precision(name, 'int8')}"
        )
    card = load_card(name)
    file = find_weights(card, weights)
    exact = Encoder(card, file.sha256, open_session(card, file))
    photos = _read(exact, source)
    tell(f"{len(photos.pixels)} photos read")
    with tempfile.TemporaryDirectory(prefix="serupa-") as folder:
        quantizer = _Quantizer(card, model_file(card, file), Path(folder))
        method, ranges = _best_ranges(quantizer, photos, tell)
        tries = [photos.measure(quantizer.model(ranges))]
        if not (tries[0].passes and tries[0].cosine >= _FAITHFUL):
            layers = _by_sensitivity(quantizer, ranges, photos, tell)
            counts = [count for count in _KEPT if count < len(layers)]
            tries += [photos.measure(quantizer.model(ranges, layers[:count])) for count in counts]
    passing = [one for one in tries if one.passes]
    if not passing:
        raise _refusal(card, tries)
    best, speed = _choose(exact, passing, photos.pixels[:_TIMED])
    model, written = _write(card, best.model.content, Path(out if out is not None else f"{card.name}-int8"))
    return Quantized(
        card=written,
        model=model,
        method=method,
        kept_float=best.model.kept_float,
        photos=len(photos.pixels),
        cosine=best.cosine,
        cosine_min=best.cosine_min,
        precision=best.precision,
        speed=speed,
    )


@dataclass(frozen=True, slots=True)
class _Model:
    """A model with 8-bit integers, but for some layers, and the encoder that it makes."""

    content: bytes
    kept_float: tuple[str, ...]
    encoder: Encoder


@dataclass(frozen=True, slots=True)
class _Measured:
    """How near a model comes to the one in float: see `Quantized`."""

    model: _Model
    cosine: float
    cosine_min: float
    precision: tuple[float, float] | None

    @property
    def passes(self) -> bool:
        lost = 0.0 if self.precision is None else self.precision[0] - self.precision[1]
        return self.cosine >= MEAN_COSINE and lost <= PRECISION_LOSS + 1e-9


@dataclass(frozen=True, slots=True)
class _Photos:
    """What models are measured on: pixels, products, and embeddings in float."""

    pixels: Pixels
    labels: NDArray[np.str_]
    expected: Embeddings

    def measure(self, model: _Model, count: int | None = None) -> _Measured:
        """Compare a model with the one in float, on about so many of the photos, or on all."""
        some = slice(None, None, max(1, len(self.pixels) // count) if count else 1)
        expected, embeddings = self.expected[some], model.encoder.encode(self.pixels[some])
        cosines = (unit(embeddings) * unit(expected)).sum(axis=1)
        before, after = (_precision_at_1(rows, self.labels[some]) for rows in (expected, embeddings))
        precision = None if before is None or after is None else (before, after)
        return _Measured(model, float(cosines.mean()), float(cosines.min()), precision)


def _read(encoder: Encoder, source: str | os.PathLike[str]) -> _Photos:
    """Read at most `_PHOTOS` photos of a source, and leave out those that cannot be used."""
    items = _spread(list(read_source(source).items()))

    def pixels_of(item: Item) -> Pixels | None:
        try:
            return encoder.preprocess(item.image)
        except SerupaError:
            return None

    with ThreadPoolExecutor(available_cpus()) as threads:
        read = list(zip(items, threads.map(pixels_of, items), strict=True))
    usable = [(item, pixels) for item, pixels in read if pixels is not None]
    if len(usable) < _FEWEST:
        problem = f"{len(usable)} photos can be used; calibration needs {_FEWEST}, better {_PHOTOS}"
        raise InvalidInputError(source, problem)
    pixels = np.stack([pixels for _, pixels in usable])
    labels = np.array([item.product_id or f"\0{number}" for number, (item, _) in enumerate(usable)])
    return _Photos(pixels, labels, encoder.encode(pixels))


def _spread(items: list[Item]) -> list[Item]:
    """Take at most `_PHOTOS` items, in runs that are spread evenly."""
    if len(items) <= _PHOTOS:
        return items
    starts = np.linspace(0, len(items) - _RUN, _PHOTOS // _RUN).astype(int)
    return [item for start in starts for item in items[start : start + _RUN]]


def _precision_at_1(embeddings: Embeddings, labels: NDArray[np.str_]) -> float | None:
    """Return how often the nearest other photo is of the same product, over products with several photos."""
    _, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    asked = np.flatnonzero(counts[numbers] > 1)
    if len(asked) == 0:
        return None
    rows = unit(embeddings)
    likeness = rows[asked] @ rows.T
    likeness[np.arange(len(asked)), asked] = -np.inf
    return float((numbers[likeness.argmax(axis=1)] == numbers[asked]).mean())


def _best_ranges(quantizer: _Quantizer, photos: _Photos, tell: Callable[[str], None]) -> tuple[str, Ranges]:
    """Calibrate by every method; return the one that keeps the embeddings best, no layer in float."""
    shown = photos.pixels[:: max(1, len(photos.pixels) // _CALIBRATION)][:_CALIBRATION]
    cosines, ranges = {}, {}
    for method in _METHODS:
        ranges[method] = quantizer.calibrate(method, shown)
        cosines[method] = photos.measure(quantizer.model(ranges[method]), 4 * _PROBES).cosine
        tell(f"{method}: mean cosine {cosines[method]:.4f} with every layer quantised")
    best = max(_METHODS, key=cosines.__getitem__)
    return best, ranges[best]


def _by_sensitivity(
    quantizer: _Quantizer, ranges: Ranges, photos: _Photos, tell: Callable[[str], None]
) -> list[str]:
    """Return the layers, first the one that alone, quantised, changes the embeddings most."""
    cosines = {}
    for layer in quantizer.layers:
        others = [other for other in quantizer.layers if other != layer]
        cosines[layer] = photos.measure(quantizer.model(ranges, others), _PROBES).cosine
    ordered = sorted(cosines, key=cosines.__getitem__)
    tell("most sensitive: " + ", ".join(f"{layer} {cosines[layer]:.4f}" for layer in ordered[:5]))
    return ordered


class _Quantizer:
    """Makes models with 8-bit integers of one in float."""

    def __init__(self, card: Card, model: bytes, folder: Path) -> None:
        self._card = _quantized_card(card, "model.onnx")
        self._folder = folder
        self._prepared = _prepare(model, folder)
        self._full_range = has_vnni()
        kinds = {node.name: node.op_type for node in self._load().graph.node}
        self.layers = [name for name, kind in kinds.items() if kind in _LAYERS]
        # the pooled mean is the embedding itself: quantising it saves nothing and costs accuracy
        self._pools = [name for name, kind in kinds.items() if kind in ("GlobalAveragePool", "ReduceMean")]
        if not self.layers:
            raise InvalidInputError(card.name, "its model has no convolution that could be quantised")

    def calibrate(self, method: str, pixels: Pixels) -> Ranges:
        """Return the range of every activation on some photos."""
        from onnxruntime.quantization import CalibrationMethod, create_calibrator

        kinds = {
            "minmax": CalibrationMethod.MinMax,
            "percentile": CalibrationMethod.Percentile,
            "entropy": CalibrationMethod.Entropy,
        }
        in_float = self._encoder(self._prepared.read_bytes())
        with _quiet():
            calibrator = create_calibrator(
                str(self._prepared),
                augmented_model_path=str(self._folder / f"{method}.onnx"),
                calibrate_method=kinds[method],
            )
            # in pieces: the calibrator holds the activations of all photos that it is given at once
            for start in range(0, len(pixels), _CHUNK):
                calibrator.collect_data(_inputs(in_float, pixels[start : start + _CHUNK]))
            return calibrator.compute_data()

    def model(self, ranges: Ranges, kept_float: Sequence[str] = ()) -> _Model:
        """Quantise all layers but these."""
        import onnx
        from onnxruntime.quantization import QDQQuantizer, QuantType
        from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

        with _quiet():
            quantizer = QDQQuantizer(
                self._load(),
                per_channel=True,
                reduce_range=not self._full_range,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,  # processors multiply unsigned by signed
                tensors_range=ranges,
                nodes_to_quantize=[],
                nodes_to_exclude=[*self._pools, *kept_float],
                op_types_to_quantize=list({*QDQRegistry, *QLinearOpsRegistry}),
                extra_options={},
            )
            model = quantizer.quantize_model()
        if self._full_range:
            onnx.helper.set_model_props(model, {NEEDS: "vnni"})
        content = bytes(model.SerializeToString())
        return _Model(content, tuple(kept_float), self._encoder(content))

    def _load(self) -> onnx.ModelProto:
        import onnx

        return onnx.load(str(self._prepared))

    def _encoder(self, model: bytes) -> Encoder:
        import onnxruntime as ort

        options = session_options(available_cpus())
        return Encoder(
            self._card, "", ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        )


def _prepare(model: bytes, folder: Path) -> Path:
    """Write a model with constants and batch norm folded, and every node named."""
    import onnx
    import onnxruntime as ort

    prepared = folder / "prepared.onnx"
    options = session_options(1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(prepared)
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    named = onnx.load(str(prepared))
    for number, node in enumerate(named.graph.node):
        node.name = f"{node.op_type}_{number}"
    onnx.save(named, str(prepared))
    return prepared


def _inputs(encoder: Encoder, photos: Pixels) -> Any:
    """Return the reader that calibrators take: one photo a call, None at the end."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._inputs = iter([encoder.model_inputs(photo[None]) for photo in photos])

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(self._inputs, None)

    return Reader()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the calibrators print, and warnings that do not concern the user, to ourselves."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _choose(exact: Encoder, passing: Sequence[_Measured], pixels: Pixels) -> tuple[_Measured, float]:
    """Return the most faithful of the fast models, and how many times faster than in float it is."""
    encoders = [exact, *(one.model.encoder for one in passing)]
    taken: list[list[float]] = [[] for _ in encoders]
    for _ in range(_ROUNDS):
        for encoder, times in zip(encoders, taken, strict=True):
            started = time.process_time()
            encoder.encode(pixels)
            times.append(time.process_time() - started)
    in_float, *quantized = [statistics.median(times) for times in taken]
    fast = [i for i, seconds in enumerate(quantized) if seconds <= _AS_FAST * min(quantized)]
    best = max(fast, key=lambda i: passing[i].cosine)
    return passing[best], in_float / quantized[best]


def _refusal(card: Card, tries: Sequence[_Measured]) -> InvalidInputError:
    nearest = max(tries, key=lambda one: one.cosine)
    lost = ""
    if nearest.precision is not None:
        lost = f", P@1 {nearest.precision[0]:.3f} to {nearest.precision[1]:.3f}"
    return InvalidInputError(
        card.name,
        f"not quantised: the best of {len(tries)} tries keeps a mean cosine of {nearest.cosine:.4f}{lost}, "
        f"and at least {MEAN_COSINE} with at most {PRECISION_LOSS} of P@1 lost is asked for",
        "give more photos, or stay with float",
    )


def _quantized_card(card: Card, file: str) -> Card:
    return msgspec.structs.replace(
        card,
        name=f"{card.name}-int8",
        title=f"{card.title}, quantised to 8 bits",
        architecture="onnx",
        weights=WeightsSource(file=file),
        onnx=card.onnx or OUR_PORTS,
    )


def _write(card: Card, model: bytes, folder: Path) -> tuple[Path, Path]:
    """Write the model, then the card that names it."""
    made = _quantized_card(card, f"{card.name}-int8.onnx")
    files = folder / made.weights.file, folder / f"{made.name}.toml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in zip(files, (model, card_toml(made).encode()), strict=True):
            write_atomic(path, content)
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise UnavailableError(folder, problem, "choose another folder with --out") from error
    return files
