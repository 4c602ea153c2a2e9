"""Encoder: a session with its card; photos and pixels in, embeddings and feature maps out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serupa.encoders.cards import Card, OnnxPorts, load_card
from serupa.encoders.weights import find_weights
from serupa.errors import DamagedError, InvalidInputError, UnavailableError, UsageError

if TYPE_CHECKING:
    import onnxruntime as ort

    from serupa.encoders.text import TextEncoder
    from serupa.images import Crop, Photo, Resize

DEFAULT = "serupa-clothes"

OUR_PORTS = OnnxPorts("pixels", "NHWC", "embedding", "feature_map")
"""Of the graphs that are built from a state dict."""

# On a processor, small pieces stay in its caches, beside the photos that are decoded meanwhile: 4 at once are
# 1.05 times as fast as 8 there, and 8 are 1.1 times as fast as 32
_CPU_CHUNK = 4
_CHUNK = 32
_INPUT_TYPES: dict[str, Any] = {
    "tensor(uint8)": np.uint8,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}


def load_encoder(
    name: str | Card = DEFAULT,
    *,
    weights: str | os.PathLike[str] | None = None,
    resize: Resize | None = None,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
) -> Encoder:
    """Load an encoder.

    Parameters
    ----------
    name : str or Card
        A name from `list_cards`, ``hf:OWNER/REPO``, the path of a card of one's own (``.toml``), or a card.
    weights : str or path-like, optional
        A weights file to use instead of the card's.
    resize : {"squash", "crop", "pad"}, optional
        Instead of the card's.
    threads : int, optional
        How many threads a call uses; as many as the process has processors by default.
    providers : sequence of str, optional
        ONNX Runtime's execution providers, best first, such as ``["cuda"]``; else those named in the
        environment variable ``SERUPA_PROVIDERS``, separated by commas; else the CPU.

    Raises
    ------
    NotFoundError
        If there is no such encoder, or no such weights file.
    InvalidInputError
        If its card is wrong, or its weights are not of its architecture.
    UnavailableError
        If it has no weights here, or cannot run on this machine.
    DamagedError
        If its weights are not those that the card names.
    """
    from serupa.encoders.session import open_session

    card = name if isinstance(name, Card) else load_card(name)
    if resize is not None:
        card = Card.from_dict({**card.to_dict(), "resize": resize})
    file = find_weights(card, weights)
    session = open_session(card, file, threads=threads, providers=providers)
    return Encoder(card, file.sha256, session)


class Encoder:
    """Turns photos into embeddings. Use `load_encoder` to get one; several threads may share it.

    Parameters
    ----------
    card : Card
        What is known of it.
    weights_sha256 : str
        Which weights it has.
    session : onnxruntime.InferenceSession
        What runs it.

    Raises
    ------
    InvalidInputError
        If the session's model is not what the card says.
    """

    card: Card
    weights_sha256: str

    def __init__(self, card: Card, weights_sha256: str, session: ort.InferenceSession) -> None:
        self.card = card
        self.weights_sha256 = weights_sha256
        self._session = session
        self._lock = Lock()
        self._text: TextEncoder | None = None
        self._ports = card.onnx or OUR_PORTS
        self._input_type, self._chunk = _check_input(card, self._ports, session)
        _check_outputs(card, self._ports, session)
        # pixels / 255 - mean, over std, as one multiplication and one addition
        self._scale = (1 / (255 * np.array(card.std))).astype(np.float32)
        self._shift = (-np.array(card.mean) / np.array(card.std)).astype(np.float32)

    def __repr__(self) -> str:
        return f"Encoder({self.name!r}, weights {self.weights_sha256[:12]})"

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return self.card.dimension

    @property
    def input_size(self) -> int:
        """Side of the square input, in pixels."""
        return self.card.input_size

    @property
    def understands_words(self) -> bool:
        """Whether `encode_texts` works."""
        return self.card.understands_words

    def preprocess(self, photo: Photo, crop: Crop | None = None) -> NDArray[np.uint8]:
        """Read a photo, or a part of it, as the pixels that `encode` takes.

        Returns
        -------
        ndarray of uint8, shape (s, s, 3)
            ``s`` is `input_size`.

        Raises
        ------
        SerupaError
            If it cannot be read as a photo: see `serupa.images.open_photo`.
        """
        from serupa.images import photo_pixels

        card = self.card
        return photo_pixels(
            photo,
            card.input_size,
            resize=card.resize,
            resample=card.resample,
            short_side=card.short_side,
            crop=crop,
        )

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return embeddings, raw: not normalised.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (n, s, s, 3)
            Any n; it is worked off in pieces, so memory does not grow with it.

        Returns
        -------
        ndarray of float32, shape (n, d)

        Raises
        ------
        UsageError
            If the pixels have another shape or type.
        DamagedError, UnavailableError
            If an embedding is not finite, or the model fails.
        """
        self._check_pixels(pixels)
        embeddings = np.empty((len(pixels), self.card.dimension), np.float32)
        for start in range(0, len(pixels), self._chunk):
            chunk = pixels[start : start + self._chunk]
            embeddings[start : start + len(chunk)] = self._pooled(chunk)
        return embeddings

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return embeddings of texts, raw, in the space of the photos'.

        Parameters
        ----------
        texts : sequence of str
            What is longer than the encoder can take is cut off.

        Returns
        -------
        ndarray of float32, shape (n, d)

        Raises
        ------
        UsageError
            If the encoder does not understand words.
        MissingExtraError
            If `tokenizers` is not installed.
        UnavailableError, DamagedError
            If its text side cannot be had, or fails.
        """
        if self.card.text is None:
            hint = "index with one that does: serupa encoders list"
            raise UsageError(self.name, "does not understand words", hint)
        with self._lock:
            if self._text is None:
                from serupa.encoders.text import TextEncoder

                self._text = TextEncoder(self.card, self.card.text)
        return self._text.encode(texts)

    def _pooled(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embeddings of one piece."""
        count, dimension, output = len(pixels), self.card.dimension, self._ports.output
        if self._ports.pooling is None:
            # Some exports leave the pooled axes in place: (n, d, 1, 1)
            return self._run(output, pixels, (count, dimension, 1, 1), (2, 4)).reshape(count, dimension)
        tokens = self._run(output, pixels, (count,), (3,))
        if tokens.shape[2] != dimension:
            raise InvalidInputError(
                self.name, f"output {output!r} has shape {tokens.shape}", "correct the card"
            )
        return tokens[:, 0] if self._ports.pooling == "first" else tokens.mean(axis=1)

    def feature_maps(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the last feature maps; the mean of one over (h, w) is the embedding.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (n, s, s, 3)
            Any n; the result holds some 60 times as many values as the embeddings.

        Returns
        -------
        ndarray of float32, shape (n, d, h, w)

        Raises
        ------
        UsageError, DamagedError, UnavailableError
            As `encode`; and if the encoder's card names no feature map.
        """
        self._check_pixels(pixels)
        output = self._ports.feature_map
        if output is None:
            raise UsageError(self.name, "gives no feature maps: its card names none (onnx.feature_map)")
        side = self.card.input_size
        # No photo still has a shape: that of a grey one's map tells it
        shown = pixels if len(pixels) else np.zeros((1, side, side, 3), np.uint8)
        maps = [
            self._run(output, chunk, (len(chunk), self.card.dimension), (4,))
            for chunk in (shown[start : start + self._chunk] for start in range(0, len(shown), self._chunk))
        ]
        return np.concatenate(maps)[: len(pixels)]

    def encode_photo(self, photo: Photo, crop: Crop | None = None) -> NDArray[np.float32]:
        """Return the embedding of one photo, or of a part of it, shape (d,).

        Raises
        ------
        SerupaError
            As `preprocess` and `encode`.
        """
        embedding: NDArray[np.float32] = self.encode(self.preprocess(photo, crop)[None])[0]
        return embedding

    def _check_pixels(self, pixels: NDArray[np.uint8]) -> None:
        side = self.card.input_size
        if (
            not isinstance(pixels, np.ndarray)
            or pixels.dtype != np.uint8
            or pixels.shape[1:] != (side, side, 3)
        ):
            got = (
                f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
            )
            raise UsageError(self.name, f"takes pixels as uint8 (n, {side}, {side}, 3), not {got}")

    def _run(
        self, output: str, pixels: NDArray[np.uint8], shape: tuple[int, ...], ranks: tuple[int, ...]
    ) -> NDArray[np.float32]:
        """Run one piece; ``shape`` is compared as far as both it and the result go."""
        try:
            (values,) = self._session.run([output], self.model_inputs(pixels))
        except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UnavailableError(self.name, f"failed on {len(pixels)} photos ({reason:.200})") from error
        result: NDArray[np.float32] = np.asarray(values, np.float32)
        if result.ndim not in ranks or any(a != b for a, b in zip(result.shape, shape, strict=False)):
            problem = f"output {output!r} has shape {result.shape}"
            raise InvalidInputError(self.name, problem, "correct the card")
        if not np.isfinite(result).all():
            problem = f"output {output!r} holds values that are not finite: its weights are damaged"
            raise DamagedError(self.name, problem)
        return result

    def model_inputs(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Return what the model itself is given for pixels (n, s, s, 3): a calibrator needs it."""
        values: NDArray[Any] = pixels
        if self._input_type != np.uint8:
            values = (pixels * self._scale + self._shift).astype(self._input_type, copy=False)
        if self._ports.layout == "NCHW":
            values = values.transpose(0, 3, 1, 2)
        return {self._ports.input: np.ascontiguousarray(values)}


def _check_input(card: Card, ports: OnnxPorts, session: ort.InferenceSession) -> tuple[Any, int]:
    """Check the model's input against the card; return its type, and how many photos it takes at once."""
    unfit = partial(InvalidInputError, card.name)
    inputs = {entry.name: entry for entry in session.get_inputs()}
    if ports.input not in inputs:
        raise unfit(f"the model has no input {ports.input!r}, only {', '.join(inputs)}")
    if len(inputs) > 1:
        raise unfit(f"the model has more inputs than pixels: {', '.join(inputs)}")
    entry = inputs[ports.input]
    side = card.input_size
    wanted = (3, side, side) if ports.layout == "NCHW" else (side, side, 3)
    shape = list(entry.shape)
    if len(shape) != 4 or any(
        isinstance(got, int) and got != want for got, want in zip(shape[1:], wanted, strict=True)
    ):
        raise unfit(
            f"the model's input {ports.input!r} is {shape}; its card says {ports.layout} and input_size "
            f"{side}, which is (n, {', '.join(map(str, wanted))})"
        )
    if entry.type not in _INPUT_TYPES:
        raise unfit(f"the model's input is {entry.type}: use one of {', '.join(_INPUT_TYPES)}")
    batch = shape[0]
    if isinstance(batch, int) and batch != 1:
        raise unfit(f"the model takes exactly {batch} photos at once: export it for any number")
    chunk = _CPU_CHUNK if session.get_providers()[0] == "CPUExecutionProvider" else _CHUNK
    return _INPUT_TYPES[entry.type], 1 if batch == 1 else chunk


def _check_outputs(card: Card, ports: OnnxPorts, session: ort.InferenceSession) -> None:
    unfit = partial(InvalidInputError, card.name)
    outputs = {entry.name: list(entry.shape) for entry in session.get_outputs()}
    ranks_of = {"output": (2, 4) if ports.pooling is None else (3,), "feature_map": (4,)}
    for field, ranks in ranks_of.items():
        name = getattr(ports, field)
        if name is None:
            continue
        if name not in outputs:
            raise unfit(f"the model has no output {name!r} ({field}), only {', '.join(outputs)}")
        shape = outputs[name]
        values = shape[len(shape) - 1 if ranks == (3,) else 1] if len(shape) > 1 else None
        wrong_rank = bool(shape) and len(shape) not in ranks
        if wrong_rank or (isinstance(values, int) and values != card.dimension):
            kinds = {(2, 4): "n, d", (3,): "n, t, d", (4,): "n, d, h, w"}
            wanted = f"({kinds[ranks].replace('d', str(card.dimension))})"
            raise unfit(f"the model's output {name!r} ({field}) is {shape}; its card says {wanted}")
