"""How the server does, for Prometheus: a registry of its own, so that several apps may live in one process."""

import time
from collections.abc import Iterator
from typing import Protocol

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rediffuse.serving.api.errors import refusals
from rediffuse.serving.models import Served

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_LEFT = "499"  # nginx's number for a client that left before it was answered


class Followed(Protocol):
    """What is served, how often that was another before, and whether a newer one could not be."""

    @property
    def swaps(self) -> int: ...
    @property
    def trouble(self) -> str | None: ...
    def current(self) -> Served: ...


class Metrics:
    """Counters of one server; the batcher's `Told`, too."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        names, route = "rediffuse", ["method", "route"]
        self._requests = Counter(
            "requests", "Requests by route and status", [*route, "status"], namespace=names, registry=own
        )
        self._seconds = Histogram(
            "request_seconds", "Until the last byte", route, namespace=names, registry=own, buckets=_SECONDS
        )
        self._images = Counter("images", "Images drawn", namespace=names, registry=own)
        self._batch_images = Histogram(
            "batch_images", "Images asked for in each batch", namespace=names, registry=own, buckets=_IMAGES
        )
        self._batch_seconds = Histogram(
            "batch_seconds", "To draw a batch", namespace=names, registry=own, buckets=_SECONDS
        )
        self._waiting = Gauge("waiting_images", "Images that wait to be drawn", namespace=names, registry=own)

    def drawn(self, images: int, seconds: float) -> None:
        """A batch with so many images that somebody asked for."""
        self._images.inc(images)
        self._batch_images.observe(images)
        self._batch_seconds.observe(seconds)

    def waiting(self, images: int) -> None:
        """So many wait."""
        self._waiting.set(images)

    def answered(self, method: str, route: str, status: str, seconds: float) -> None:
        """A request is over."""
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)

    def follow(self, models: Followed) -> None:
        """Tell of the served model, as it is when somebody looks."""
        self.registry.register(_ServedModel(models))


class _ServedModel(Collector):
    def __init__(self, models: Followed) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        served = self._models.current()
        names = {
            "name": served.name,
            "version": served.version or "",
            "identity": served.answers.identity,
        }
        info = GaugeMetricFamily("rediffuse_model_info", "The served model", labels=list(names))
        info.add_metric(list(names.values()), 1)
        yield info
        yield GaugeMetricFamily("rediffuse_batch_size", "Places of a batch", value=served.answers.batch_size)
        yield CounterMetricFamily(
            "rediffuse_model_swaps", "Models that took the place of another", value=self._models.swaps
        )
        yield GaugeMetricFamily(
            "rediffuse_model_trouble", "1: what stands at the source can't be served", value=bool(self._models.trouble)
        )


class Counted:
    """Counts the requests of an app, by the route's pattern: a path of the client's own would be a name without end."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the app."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.perf_counter(), _LEFT

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.answered(method, route, status, time.perf_counter() - started)


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def metrics_router(metrics: Metrics) -> APIRouter:
    """`GET /metrics`."""
    router = APIRouter(tags=["server"])

    @router.get(
        "/metrics",
        summary="How the server does, for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **refusals()},
    )
    def read() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
