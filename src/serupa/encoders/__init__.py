"""Encoders: what turns pixels into an embedding. Importing this imports no ONNX Runtime."""

from serupa.encoders.cards import Card, is_name_of, list_cards, load_card
from serupa.encoders.encoder import DEFAULT, Encoder, load_encoder
from serupa.encoders.known import KnownEncoder, known_encoders
from serupa.encoders.weights import describe, fetch

__all__ = [
    "DEFAULT",
    "Card",
    "Encoder",
    "KnownEncoder",
    "describe",
    "fetch",
    "is_name_of",
    "known_encoders",
    "list_cards",
    "load_card",
    "load_encoder",
]
