"""What keeps points and finds neighbours: the ``Store`` protocol and its implementations."""
