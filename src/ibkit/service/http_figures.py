"""How many requests the service answered, how, and how long they took: by route, so that no id is ever a label."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

__all__ = ["HttpFigures"]

_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class HttpFigures:
    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ibkit_http_requests", "Requests answered", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "ibkit_http_request_duration_seconds",
            "From a request's head to the head of its answer; a stream's life is not in it",
            ("method", "route"),
            buckets=_BOUNDS_S,
            registry=self._registry,
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """route: as it is registered, `/broker-order/{order_id}`; "" where the address is none of ours."""
        named = method if method in _METHODS else "other"
        self._requests.labels(named, route or "other", str(status)).inc()
        self._seconds.labels(named, route or "other").observe(seconds)

    def exposition(self) -> str:
        return generate_latest(self._registry).decode()
