"""From what somebody likes to products."""
