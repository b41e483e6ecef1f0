"""Numbers for Prometheus: what is asked, how long it takes, who waits, what is kept."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.concurrency import run_in_threadpool

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")


class Metrics:
    """One server's numbers."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter("bifseg_requests", "Requests", ["method", "route", "status"], registry=registry)
        self._seconds = Histogram(
            "bifseg_request_seconds", "Time until the reply was sent", ["route"], buckets=SECONDS, registry=registry
        )
        self._interactions = Counter("bifseg_interactions", "Interactions done", ["kind"], registry=registry)
        self._stages = Counter("bifseg_stage_seconds", "Time spent computing, by stage", ["stage"], registry=registry)
        self._pool = Gauge("bifseg_pool", "Jobs waiting and running, workers alive, ...", ["what"], registry=registry)
        self._private = CollectorRegistry()
        self._store = Gauge("bifseg_store", "Sessions, and bytes of their arrays", ["what"], registry=self._private)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; ``route`` is its template, not its path."""
        self._requests.labels(method if method in METHODS else "other", route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def interaction(self, told: Mapping) -> None:
        """Count an interaction by its summary."""
        self._interactions.labels(told["kind"]).inc()
        for stage, milliseconds in told.get("milliseconds", {}).items():
            self._stages.labels(stage).inc(milliseconds / 1e3)

    def text(self, pool: Mapping[str, float], store: Mapping[str, float] | None = None) -> bytes:
        """All numbers in Prometheus' format; ``store``: None for who may not know what others keep."""
        for gauge, values in ((self._pool, pool), (self._store, store or {})):
            for what, value in values.items():
                gauge.labels(what).set(value)
        return generate_latest(self.registry) + (b"" if store is None else generate_latest(self._private))


router = APIRouter(tags=["server"])


@router.get("/healthz")
async def healthz() -> dict:
    """Whether the server answers."""
    return {"ok": True}


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Numbers for Prometheus; those of the store for an administrator alone, for it grows by what is new to it."""
    service = request.app.state.service

    def stored() -> dict:
        ((sessions,),) = service.store.read("SELECT count(*) FROM sessions")
        return {"sessions": sessions, "bytes": service.store.used()}

    held = await run_in_threadpool(stored) if request.state.admin else None
    text = service.metrics.text(service.pool.statistics(), held)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
