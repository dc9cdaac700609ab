"""What is counted for Prometheus: numbers of requests, images and seconds, and nothing about an image."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one server."""

    def __init__(self, inside: Callable[[], float], held: Callable[[], float]) -> None:
        """Begins at zero; `inside` and `held` tell how many requests and bytes are in work."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "lmd_requests", "Requests by route and status", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "lmd_request_seconds", "Seconds of a request", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.images = Counter("lmd_images", "Images that were answered", registry=self.registry)
        self.unreadable = Counter(
            "lmd_images_unreadable", "Images that could not be read", registry=self.registry
        )
        self.unlike = Counter(
            "lmd_images_unlike", "Images unlike anything that the model has seen", registry=self.registry
        )
        self.batches = Histogram(
            "lmd_batch_images", "Images that were answered together", buckets=_IMAGES, registry=self.registry
        )
        self._gauge("lmd_requests_inside", "Requests that are in work or wait", inside)
        self._gauge("lmd_upload_bytes", "Bytes of uploads in memory", held)

    def _gauge(self, name: str, words: str, value: Callable[[], float]) -> None:
        Gauge(name, words, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """Returns all of them as Prometheus reads them."""
        return generate_latest(self.registry)
