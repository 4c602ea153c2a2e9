"""Where a catalogue's points and manifest are kept: a directory or a Qdrant server."""
