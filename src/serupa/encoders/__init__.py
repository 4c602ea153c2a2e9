"""Encoders: what turns pixels into an embedding. Importing this imports no ONNX Runtime."""

from serupa.encoders.cards import Card, list_cards, load_card
from serupa.encoders.encoder import DEFAULT, Encoder, load_encoder
from serupa.encoders.weights import describe, fetch

__all__ = ["DEFAULT", "Card", "Encoder", "describe", "fetch", "list_cards", "load_card", "load_encoder"]
