"""Files, caches, paths and URLs."""
