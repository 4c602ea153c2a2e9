"""Opens ONNX Runtime sessions: threads, providers, and the graphs that are kept in the cache."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from serupa.encoders.cards import Card, WeightsSource
from serupa.encoders.weights import Weights
from serupa.errors import DamagedError, InvalidInputError, UnavailableError, UsageError
from serupa.files.cache import cache_dir, discard, file_sha256, write_whole

if TYPE_CHECKING:
    import onnxruntime as ort

# The module that builds the graph of an architecture, and a number that is raised whenever that graph changes
_BUILDERS = {"efficientnet-lite0": ("efficientnet", 1), "resnet50": ("resnet", 1)}
_CPU = "CPUExecutionProvider"
_ERRORS_ONLY = 3
_LARGEST_KEPT = 256 * 2**20  # of weights: what is optimized once is kept, as large as they are

NEEDS = "serupa.needs"
"""Key of a model's metadata that names what its processor must have: only ``vnni`` so far."""


Side = Literal["image", "text"]


def open_session(
    card: Card,
    weights: Weights,
    side: Side = "image",
    *,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
) -> ort.InferenceSession:
    """Open the session of one side of an encoder.

    Parameters
    ----------
    card : Card
        The encoder.
    weights : Weights
        The weights of that side.
    side : {"image", "text"}
    threads : int, optional
        How many threads a call uses; as many as the process has processors by default.
    providers : sequence of str, optional
        ONNX Runtime's execution providers, best first: see `choose_providers`.

    Raises
    ------
    UnavailableError
        If a provider, or what the model needs of a processor, is not there.
    InvalidInputError
        If the model cannot be loaded, or the weights do not fit the architecture.
    """
    names = choose_providers(providers)
    options = session_options(available_cpus() if threads is None else threads)
    beside = _source(card, side).external
    size = weights.path.stat().st_size + ((beside and beside.size) or 0)
    if names == [_CPU] and size <= _LARGEST_KEPT:
        session = _open_optimized(card, weights, side, options)
    else:
        session = _start(_graph(card, weights, side), options, names, weights.path)
    _refuse_processor(session, weights.path)
    return session


def model_file(card: Card, weights: Weights) -> bytes:
    """Return the ONNX model of an encoder, whether it is one already or built from a state dict.

    Raises
    ------
    InvalidInputError
        As `open_session`.
    """
    graph = _graph(card, weights, "image")
    return graph.read_bytes() if isinstance(graph, Path) else graph


def available_cpus() -> int:
    """Return how many processors this process may use.

    ``SERUPA_THREADS`` says it where the system does not: in a container that may use a share of them, or
    beside other processes that encode.
    """
    threads = os.environ.get("SERUPA_THREADS", "")
    if threads.isdecimal() and int(threads) > 0:
        return int(threads)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_providers(wanted: Sequence[str] | None = None) -> list[str]:
    """Return the execution providers to use: those wanted, else those of ``SERUPA_PROVIDERS``, else the CPU.

    Names are ONNX Runtime's, with or without "ExecutionProvider", in any case: ``cuda``, ``coreml``.

    Raises
    ------
    UnavailableError
        If one is not there; it lists those that are.
    """
    if wanted is None:
        wanted = [name for name in os.environ.get("SERUPA_PROVIDERS", "").split(",") if name.strip()]
    if not wanted:
        return [_CPU]
    import onnxruntime as ort

    available = {_short(name): name for name in ort.get_available_providers()}
    names = []
    for name in wanted:
        if _short(name) not in available:
            there = ", ".join(available.values())
            raise UnavailableError(
                name, "ONNX Runtime here has no such execution provider", f"it has {there}"
            )
        names.append(available[_short(name)])
    return names


def _short(provider: str) -> str:
    """Short name: ``cuda`` for ``CUDAExecutionProvider``, ``directml`` for ``DmlExecutionProvider``."""
    short = provider.strip().lower().removesuffix("executionprovider")
    return "directml" if short == "dml" else short


def session_options(threads: int) -> ort.SessionOptions:
    """Return the options that every session of ours shares."""
    import onnxruntime as ort

    if threads < 1:
        raise UsageError("threads", f"an encoder needs at least one, not {threads}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that spin while they wait take the processors from those that decode photos: with both at work
    # on 2 cores, 12 % more photos a second without; alone, a batch is as fast and one photo 1 ms slower.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _ERRORS_ONLY
    return options


def _start(
    model: Path | bytes, options: ort.SessionOptions, providers: list[str], weights: Path
) -> ort.InferenceSession:
    import onnxruntime as ort

    try:
        # Given a path, ONNX Runtime maps the file: three times as fast as from bytes
        source = str(model) if isinstance(model, Path) else model
        session = ort.InferenceSession(source, options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidInputError(weights, f"ONNX Runtime cannot load the model ({reason:.200})") from error
    # ONNX Runtime goes on without a provider whose libraries do not load; whoever asked for it wants to know.
    for provider in providers:
        if provider not in session.get_providers():
            problem = "is built in but does not start here"
            raise UnavailableError(provider, problem, "check its drivers and libraries")
    return session


def _source(card: Card, side: Side) -> WeightsSource:
    return card.weights if side == "image" or card.text is None else card.text.weights


def _open_optimized(
    card: Card, weights: Weights, side: Side, options: ort.SessionOptions
) -> ort.InferenceSession:
    """Open the graph as ONNX Runtime optimised it on this processor before, or optimise it now."""
    import onnxruntime as ort

    path = (
        cache_dir()
        / "optimized"
        / f"{_digest([_graph_key(card, weights, side), ort.__version__, *_cpu_identity()])}.onnx"
    )
    if _is_whole(path):
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return _start(path, options, [_CPU], weights.path)
        except InvalidInputError:
            discard(path)
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    graph = _graph(card, weights, side)
    with tempfile.TemporaryDirectory(prefix="serupa-") as folder:
        written = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(written)
        session = _start(graph, options, [_CPU], weights.path)
        _refuse_processor(session, weights.path)
        _keep(path, written.read_bytes())
    return session


def _graph(card: Card, weights: Weights, side: Side) -> Path | bytes:
    """Return the weights where they are a graph already; else find it in the cache, or make it."""
    if card.architecture == "onnx":
        _refuse_external_data(weights, _source(card, side).external)
        if not card.joined:
            return weights.path
    path = cache_dir() / "graphs" / f"{_graph_key(card, weights, side)}.onnx"
    if _is_whole(path):
        return path
    if card.joined:
        graph = _cut(card, weights, side)
        _keep(path, graph)
        return graph
    from serupa.encoders.checkpoint import read_checkpoint

    if file_sha256(weights.path, remember=False) != weights.sha256:  # that may have come from a note
        raise DamagedError(weights.path, "its bytes have changed", "delete it, or get it again")
    builder: Any = importlib.import_module(f"serupa.encoders.{_BUILDERS[card.architecture][0]}")
    state = read_checkpoint(weights.path)
    try:
        graph = bytes(builder.build_graph(state, card))
    except InvalidInputError as error:
        raise InvalidInputError(weights.path, error.problem) from error
    _keep(path, graph)
    return graph


def _cut(card: Card, weights: Weights, side: Side) -> bytes:
    """Cut one side out of a graph that holds both."""
    import onnx

    model = onnx.load_model_from_string(weights.path.read_bytes())
    if side == "image" or card.text is None:
        inputs, output = [card.onnx.input if card.onnx else ""], card.onnx.output if card.onnx else ""
    else:
        inputs = [one.name for one in model.graph.input if card.onnx is None or one.name != card.onnx.input]
        output = card.text.output
    try:
        cut = onnx.utils.Extractor(model).extract_model(inputs, [output])
    except ValueError as error:
        raise InvalidInputError(weights.path, f"its {side} side cannot be cut out ({error:.100})") from error
    return bytes(cut.SerializeToString())


def _graph_key(card: Card, weights: Weights, side: Side) -> str:
    if card.joined:
        return _digest([weights.sha256, side])
    if card.architecture == "onnx":
        return weights.sha256
    code = [card.architecture, _BUILDERS[card.architecture][1]]
    return _digest([weights.sha256, *code, card.dimension, card.input_size, card.mean, card.std])


def _digest(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]


def has_vnni() -> bool:
    """Tell whether products of 8-bit integers are summed without overflow: VNNI, or any ARM."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return True
    return any("avx512_vnni" in line or "avx_vnni" in line for line in _cpu_identity())


def _refuse_processor(session: ort.InferenceSession, model: Path) -> None:
    needed = session.get_modelmeta().custom_metadata_map.get(NEEDS)
    if needed == "vnni" and not has_vnni():
        raise UnavailableError(
            model,
            "was quantised for processors with VNNI instructions, and would be wrong on this one",
            "quantise it here (serupa encoders quantize), or use the encoder that it was made from",
        )


def _cpu_identity() -> list[str]:
    """Return what ONNX Runtime's choice of layout and kernels depends on."""
    try:
        first = Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n", 1)[0]
    except OSError:
        return [platform.machine(), platform.processor()]
    telling = ("model name", "flags", "Features")
    return [platform.machine(), *(line for line in first.splitlines() if line.startswith(telling))]


def _keep(path: Path, model: bytes) -> None:
    """Keep a model in the cache with its hash: ONNX Runtime would not notice a weight that is damaged."""
    write_whole(path, model)
    write_whole(path.with_suffix(".sha256"), hashlib.sha256(model).hexdigest().encode("ascii"))


def _is_whole(path: Path) -> bool:
    """Tell whether a model in the cache is there, and what was put there: its bytes, not what is noted."""
    try:
        if file_sha256(path, remember=False) == path.with_suffix(".sha256").read_text("ascii"):
            return True
    except (OSError, ValueError):
        return False
    discard(path)
    return False


def _refuse_external_data(weights: Weights, external: WeightsSource | None) -> None:
    """Refuse a model that names files that its card does not: no hash would cover them.

    Looking means parsing the whole model, so what was found to be in order is noted under its hash.
    """
    allowed = Path(external.file).name if external is not None else "one-piece"
    note = cache_dir() / "onnx" / f"{weights.sha256}.{allowed}"
    with contextlib.suppress(OSError):  # a cache that may not be read makes things slow, never wrong
        if note.is_file():
            return
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(weights.path.read_bytes())
    except (OSError, DecodeError) as error:
        raise InvalidInputError(weights.path, "not an ONNX model") from error
    apart = [one for one in _tensors(model) if one.data_location == onnx.TensorProto.EXTERNAL]
    named = {entry.value for tensor in apart for entry in tensor.external_data if entry.key == "location"}
    if apart and (external is None or named != {allowed}):
        raise InvalidInputError(
            weights.path,
            "keeps its weights in further files, which is not supported",
            "save it in one piece (onnx.save without save_as_external_data)",
        )
    write_whole(note, b"")


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor of a model, wherever it hides: initializers, attributes, subgraphs, functions."""
    if message.DESCRIPTOR.full_name == "onnx.TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from _tensors(item)
