"""Quantises an encoder to 8-bit integers, calibrated and checked on the user's own photos."""

from __future__ import annotations

import contextlib
import io
import json
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

import numpy as np
from numpy.typing import NDArray

from serupa.encoders.cards import Card, OnnxPorts, load_card
from serupa.encoders.encoder import OUR_PORTS, Encoder
from serupa.encoders.session import (
    NEEDS,
    available_cpus,
    has_vnni,
    model_file,
    open_session,
    session_options,
)
from serupa.encoders.weights import Weights, find_weights
from serupa.errors import InvalidInputError, SerupaError, UnavailableError
from serupa.files.cache import write_whole
from serupa.items import Item
from serupa.sources import read_source

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


@dataclass(frozen=True, slots=True)
class _Candidate:
    model: bytes
    encoder: Encoder
    kept_float: tuple[str, ...]
    cosines: Embeddings
    precision: tuple[float, float] | None

    @property
    def cosine(self) -> float:
        return float(self.cosines.mean())

    @property
    def passes(self) -> bool:
        lost = 0.0 if self.precision is None else self.precision[0] - self.precision[1]
        return self.cosine >= MEAN_COSINE and lost <= PRECISION_LOSS + 1e-9


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
    InvalidInputError
        If fewer than 16 photos can be read, or no model keeps a mean cosine of `MEAN_COSINE` and loses at
        most `PRECISION_LOSS` of precision at 1.
    """
    card = load_card(name)
    found = find_weights(card, weights)
    exact = Encoder(card, found.sha256, open_session(card, found))
    items, pixels = _read(exact, source)
    tell(f"{len(items)} photos read")
    labels = np.array([item.product_id or f"\0{i}" for i, item in enumerate(items)])
    expected = exact.encode(pixels)
    with tempfile.TemporaryDirectory(prefix="serupa-") as folder:
        prepared = _prepare(card, found, Path(folder))
        work = _Work(
            card,
            prepared=prepared,
            folder=Path(folder),
            pixels=pixels,
            expected=expected,
            labels=labels,
        )
        method, ranges = work.best_ranges(tell)
        candidates = [work.candidate(ranges, ())]
        if not (candidates[0].passes and candidates[0].cosine >= _FAITHFUL):
            layers = work.by_sensitivity(ranges, tell)
            candidates += [work.candidate(ranges, layers[:kept]) for kept in _KEPT if kept < len(layers)]
        passing = [candidate for candidate in candidates if candidate.passes]
        if not passing:
            raise _refusal(card, candidates)
        chosen, speed = _choose(exact, passing, pixels[:_TIMED])
    target = Path(out if out is not None else f"{card.name}-int8")
    model, written = _write(card, chosen.model, target)
    return Quantized(
        card=written,
        model=model,
        method=method,
        kept_float=chosen.kept_float,
        photos=len(items),
        cosine=chosen.cosine,
        cosine_min=float(chosen.cosines.min()),
        precision=chosen.precision,
        speed=speed,
    )


def _read(encoder: Encoder, source: str | os.PathLike[str]) -> tuple[list[Item], Pixels]:
    items = _spread(list(read_source(source).items()))

    def pixels_of(item: Item) -> Pixels | None:
        try:
            return encoder.preprocess(item.image)
        except SerupaError:
            return None

    with ThreadPoolExecutor(available_cpus()) as threads:
        read = list(threads.map(pixels_of, items))
    usable = [(item, pixels) for item, pixels in zip(items, read, strict=True) if pixels is not None]
    if len(usable) < _FEWEST:
        problem = f"{len(usable)} photos can be used; calibration needs {_FEWEST}, better {_PHOTOS}"
        raise InvalidInputError(source, problem)
    return [item for item, _ in usable], np.stack([pixels for _, pixels in usable])


def _spread(items: list[Item]) -> list[Item]:
    """Take at most `_PHOTOS` items, in runs that are spread evenly."""
    if len(items) <= _PHOTOS:
        return items
    starts = np.linspace(0, len(items) - _RUN, _PHOTOS // _RUN).astype(int)
    return [item for start in starts for item in items[start : start + _RUN]]


def _prepare(card: Card, weights: Weights, folder: Path) -> Path:
    """Write the model with constants folded, batch norm folded and every node named."""
    import onnx
    import onnxruntime as ort

    plain, prepared = folder / "plain.onnx", folder / "prepared.onnx"
    plain.write_bytes(model_file(card, weights))
    options = session_options(1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(prepared)
    ort.InferenceSession(str(plain), options, providers=["CPUExecutionProvider"])
    model = onnx.load(str(prepared))
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    onnx.save(model, str(prepared))
    return prepared


class _Work:
    """The model that is being quantised, and the photos that it is measured on."""

    def __init__(
        self,
        card: Card,
        *,
        prepared: Path,
        folder: Path,
        pixels: Pixels,
        expected: Embeddings,
        labels: NDArray[np.str_],
    ) -> None:
        import onnx

        self._card = _quantized_card(card, "model.onnx")
        self._prepared = prepared
        self._folder = folder
        self._pixels = pixels
        self._expected = expected
        self._labels = labels
        self._full_range = has_vnni()
        nodes = onnx.load(str(prepared)).graph.node
        self._layers = [node.name for node in nodes if node.op_type in _LAYERS]
        # the pooled mean is the embedding itself: quantising it saves nothing and costs accuracy
        self._never = [node.name for node in nodes if node.op_type in ("GlobalAveragePool", "ReduceMean")]
        if not self._layers:
            raise InvalidInputError(card.name, "its model has no convolution that could be quantised")

    def best_ranges(self, tell: Callable[[str], None]) -> tuple[str, Ranges]:
        """Calibrate by every method; return the one that keeps the embeddings best, no layer in float."""
        probes = slice(0, None, max(1, len(self._pixels) // (4 * _PROBES)))
        found = []
        for method in _METHODS:
            ranges = self._calibrate(method)
            kept = self._encoder(self._quantize(ranges, ())).encode(self._pixels[probes])
            found.append((float(_cosines(kept, self._expected[probes]).mean()), method, ranges))
            tell(f"{method}: mean cosine {found[-1][0]:.4f} with every layer quantised")
        _, method, ranges = max(found, key=lambda entry: entry[0])
        return method, ranges

    def by_sensitivity(self, ranges: Ranges, tell: Callable[[str], None]) -> list[str]:
        """Return the layers, first the one that alone, quantised, changes the embeddings most."""
        probes = slice(0, None, max(1, len(self._pixels) // _PROBES))
        kept = {}
        for layer in self._layers:
            others = [other for other in self._layers if other != layer]
            embeddings = self._encoder(self._quantize(ranges, others)).encode(self._pixels[probes])
            kept[layer] = float(_cosines(embeddings, self._expected[probes]).mean())
        ordered = sorted(self._layers, key=lambda layer: kept[layer])
        tell("most sensitive: " + ", ".join(f"{layer} {kept[layer]:.4f}" for layer in ordered[:5]))
        return ordered

    def candidate(self, ranges: Ranges, kept_float: Sequence[str]) -> _Candidate:
        """Quantise all layers but these, and measure."""
        model = self._quantize(ranges, kept_float)
        encoder = self._encoder(model)
        embeddings = encoder.encode(self._pixels)
        before, after = (_precision_at_1(e, self._labels) for e in (self._expected, embeddings))
        precision = None if before is None or after is None else (before, after)
        cosines = _cosines(embeddings, self._expected)
        return _Candidate(model, encoder, tuple(kept_float), cosines, precision)

    def _calibrate(self, method: str) -> Ranges:
        from onnxruntime.quantization import CalibrationMethod, create_calibrator

        chosen = {
            "minmax": CalibrationMethod.MinMax,
            "percentile": CalibrationMethod.Percentile,
            "entropy": CalibrationMethod.Entropy,
        }[method]
        photos = self._pixels[:: max(1, len(self._pixels) // _CALIBRATION)][:_CALIBRATION]
        given = Encoder(self._card, "", self._session(self._prepared.read_bytes()))
        with _quiet():
            calibrator = create_calibrator(
                str(self._prepared),
                augmented_model_path=str(self._folder / f"{method}.onnx"),
                calibrate_method=chosen,
            )
            # in pieces: the calibrator holds the activations of all photos that it is given at once
            for start in range(0, len(photos), _CHUNK):
                calibrator.collect_data(_inputs(given, photos[start : start + _CHUNK]))
            return calibrator.compute_data()

    def _quantize(self, ranges: Ranges, kept_float: Sequence[str]) -> bytes:
        import onnx
        from onnxruntime.quantization import QDQQuantizer, QuantType
        from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

        with _quiet():
            quantizer = QDQQuantizer(
                onnx.load(str(self._prepared)),
                per_channel=True,
                reduce_range=not self._full_range,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,  # processors multiply unsigned by signed
                tensors_range=ranges,
                nodes_to_quantize=[],
                nodes_to_exclude=[*self._never, *kept_float],
                op_types_to_quantize=list({*QDQRegistry, *QLinearOpsRegistry}),
                extra_options={},
            )
            model: onnx.ModelProto = quantizer.quantize_model()
        if self._full_range:
            onnx.helper.set_model_props(model, {NEEDS: "vnni"})
        return bytes(model.SerializeToString())

    def _encoder(self, model: bytes) -> Encoder:
        return Encoder(self._card, "", self._session(model))

    def _session(self, model: bytes) -> Any:
        import onnxruntime as ort

        options = session_options(available_cpus())
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


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


def _cosines(a: Embeddings, b: Embeddings) -> Embeddings:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: Embeddings = (a * b).sum(axis=1) / np.maximum(lengths, 1e-12)
    return cosines


def _precision_at_1(embeddings: Embeddings, labels: NDArray[np.str_]) -> float | None:
    """Return how often the nearest other photo is of the same product, over products with several photos."""
    _, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    asked = np.flatnonzero(counts[numbers] > 1)
    if len(asked) == 0:
        return None
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    likeness = unit[asked] @ unit.T
    likeness[np.arange(len(asked)), asked] = -np.inf
    return float((numbers[likeness.argmax(axis=1)] == numbers[asked]).mean())


def _choose(exact: Encoder, candidates: Sequence[_Candidate], pixels: Pixels) -> tuple[_Candidate, float]:
    """Return the most faithful of the fast candidates, and how many times faster than in float it is."""
    encoders = [exact, *(candidate.encoder for candidate in candidates)]
    taken: list[list[float]] = [[] for _ in encoders]
    for _ in range(_ROUNDS):
        for encoder, times in zip(encoders, taken, strict=True):
            started = time.process_time()
            encoder.encode(pixels)
            times.append(time.process_time() - started)
    in_float, *quantized = [statistics.median(times) for times in taken]
    fast = [i for i, seconds in enumerate(quantized) if seconds <= _AS_FAST * min(quantized)]
    best = max(fast, key=lambda i: candidates[i].cosine)
    return candidates[best], in_float / quantized[best]


def _refusal(card: Card, candidates: Sequence[_Candidate]) -> InvalidInputError:
    nearest = max(candidates, key=lambda candidate: candidate.cosine)
    lost = ""
    if nearest.precision is not None:
        lost = f", P@1 {nearest.precision[0]:.3f} to {nearest.precision[1]:.3f}"
    return InvalidInputError(
        card.name,
        f"not quantised: the best of {len(candidates)} tries keeps a mean cosine of {nearest.cosine:.4f}"
        f"{lost}, and at least {MEAN_COSINE} with at most {PRECISION_LOSS} of P@1 lost is asked for",
        "give more photos, or stay with float",
    )


def _quantized_card(card: Card, file: str) -> Card:
    ports: OnnxPorts = card.onnx or OUR_PORTS
    return Card.from_dict(
        {
            **card.to_dict(),
            "name": f"{card.name}-int8",
            "title": f"{card.title}, quantised to 8 bits",
            "architecture": "onnx",
            "weights": {"file": file},
            "onnx": {
                "input": ports.input,
                "layout": ports.layout,
                "output": ports.output,
                **({"feature_map": ports.feature_map} if ports.feature_map else {}),
            },
        }
    )


def _write(card: Card, model: bytes, folder: Path) -> tuple[Path, Path]:
    """Write the model, then the card that names it."""
    made = _quantized_card(card, f"{card.name}-int8.onnx")
    files = folder / made.weights.file, folder / f"{made.name}.toml"
    for path, content in zip(files, (model, _toml(made).encode()), strict=True):
        if not write_whole(path, content):
            raise UnavailableError(path, "cannot be written", "choose another folder with --out")
    return files


def _toml(card: Card) -> str:
    """Return a card as TOML, whose texts, numbers and lists are written as in JSON."""
    values = card.to_dict()
    tables = {name: values.pop(name) for name in ("weights", "onnx")}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"
