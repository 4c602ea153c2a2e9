"""What a shop's own photos teach the search."""
