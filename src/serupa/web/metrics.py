"""What a server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BATCHES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The measures of one app, in a registry of its own.

    Parameters
    ----------
    waiting : callable
        Returns how many photos wait for the encoder or are in it.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        route = ("method", "route")
        self.requests = Counter(
            "serupa_requests", "Requests answered.", (*route, "status"), registry=self.registry
        )
        self.latency = self._histogram("serupa_request_seconds", "Time to answer a request.", route)
        self.decode = self._histogram("serupa_decode_seconds", "Time to decode one photo.")
        self.encode = self._histogram("serupa_encode_seconds", "Time to encode one batch.")
        self.search = self._histogram("serupa_search_seconds", "Time to search the store.")
        self.batch = Histogram(
            "serupa_batch_photos", "Photos encoded at once.", buckets=_BATCHES, registry=self.registry
        )
        self.refused = Counter(
            "serupa_refused",
            "Requests refused to keep the server alive.",
            ("reason",),
            registry=self.registry,
        )
        self.thumbnails = Counter(
            "serupa_thumbnails", "Thumbnails by where they came from.", ("source",), registry=self.registry
        )
        queue = Gauge(
            "serupa_queue_photos", "Photos waiting for the encoder or in it.", registry=self.registry
        )
        queue.set_function(waiting)
        self._items = Gauge("serupa_catalog_items", "Items in the catalogue.", registry=self.registry)

    def _histogram(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(name, text, labels, buckets=_SECONDS, registry=self.registry)

    def text(self, items: int) -> bytes:
        """Return everything in Prometheus' text format, with the catalogue's size as it is now."""
        self._items.set(items)
        return generate_latest(self.registry)
