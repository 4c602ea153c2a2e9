"""Where a catalogue lives: a directory of this machine, or a Qdrant server."""

from serupa.formats import FORMAT
from serupa.places.place import Place, Settings, checked_metrics, place_of

__all__ = ["FORMAT", "Place", "Settings", "checked_metrics", "place_of"]
