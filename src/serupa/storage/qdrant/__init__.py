"""A catalogue on a Qdrant server or cluster."""
