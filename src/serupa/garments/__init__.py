"""What a photo shows: kind, colour, pattern."""
