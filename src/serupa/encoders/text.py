"""Words in, embeddings out: the text side of an encoder that has one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serupa.encoders.cards import Card, TextSide
from serupa.encoders.session import open_session
from serupa.encoders.weights import find_source
from serupa.errors import DamagedError, InvalidInputError, MissingExtraError, UnavailableError

_CHUNK = 32


class TextEncoder:
    """Turns texts into embeddings; several threads may share it.

    Parameters
    ----------
    card : Card
        Of the encoder.
    side : TextSide
        Its text side.

    Raises
    ------
    MissingExtraError
        If `tokenizers` is not installed.
    InvalidInputError, UnavailableError, DamagedError
        If its files cannot be had, or are not what the card says.
    """

    def __init__(self, card: Card, side: TextSide) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise MissingExtraError("search by words with this encoder", "text") from None
        self._name, self._side, self._dimension = card.name, side, card.dimension
        tokenizer = find_source(card, side.tokenizer).path
        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # the library raises plain exceptions
            raise InvalidInputError(tokenizer, f"not a tokenizer ({error!s:.100})") from error
        self._tokenizer.enable_truncation(side.context)
        self._tokenizer.enable_padding(pad_id=side.pad, length=side.context if side.fill else None)
        self._session = open_session(card, find_source(card, side.weights), "text")
        self._inputs = [one.name for one in self._session.get_inputs()]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings ``(n, d)`` of texts, raw."""
        rows = [self._run(texts[start : start + _CHUNK]) for start in range(0, len(texts), _CHUNK)]
        return np.concatenate([np.empty((0, self._dimension), np.float32), *rows])

    def _run(self, texts: Sequence[str]) -> NDArray[np.float32]:
        tokens = self._tokenizer.encode_batch(list(texts))
        ids = np.array([one.ids for one in tokens], np.int64)
        # A text that is filled up is read whole, as in training
        mask = (
            np.ones_like(ids)
            if self._side.fill
            else np.array([one.attention_mask for one in tokens], np.int64)
        )
        values = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(ids),
            "position_ids": np.broadcast_to(np.arange(ids.shape[1]), ids.shape).copy(),
        }
        try:
            (found,) = self._session.run([self._side.output], {name: values[name] for name in self._inputs})
        except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UnavailableError(self._name, f"failed on {len(texts)} texts ({reason:.200})") from error
        rows = np.asarray(found, np.float32)
        if rows.shape != (len(texts), self._dimension):
            problem = f"text output {self._side.output!r} has shape {rows.shape}"
            raise InvalidInputError(self._name, problem, f"photos have {self._dimension} values")
        if not np.isfinite(rows).all():
            raise DamagedError(self._name, "an embedding of words is not finite: its weights are damaged")
        return rows
