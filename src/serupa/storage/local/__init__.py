"""A catalogue in a directory, on the embedded engine."""
