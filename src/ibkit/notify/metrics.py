"""What a process counts, in memory: calls to IBKR by endpoint and connection, and the few numbers of `METRICS`.

Names follow Prometheus: a unit in the name, `_total` for what only grows. Labels come from small closed sets: paths of
the catalogue, error codes, names of connections; never an account, an order or a person.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ibkit.notify.figures import Figures
from ibkit.wire.endpoint import Endpoint

__all__ = ["METRICS", "ConnectionMeter", "Metric", "Metrics"]

_MOST_SERIES: Final = 2_000
"""More label values than this are a mistake of ours: what comes then is counted under `other`."""


@dataclass(frozen=True, slots=True)
class Metric:
    """kind: counter, gauge or histogram."""

    kind: str
    help: str
    labels: tuple[str, ...] = ()
    joined: Callable[[Iterable[float]], float] = sum
    """What several logins of one process make together, where they have the same labels."""


_CALL = ("connection", "endpoint")
METRICS: Mapping[str, Metric] = {
    "ibkit_calls_total": Metric("counter", "Calls to IBKR that were asked for", _CALL),
    "ibkit_call_errors_total": Metric("counter", "Calls to IBKR that failed, by error code", (*_CALL, "code")),
    "ibkit_attempt_duration_seconds": Metric("histogram", "Response time of each request to IBKR", _CALL),
    "ibkit_retries_total": Metric("counter", "Requests to IBKR that were repeated", _CALL),
    "ibkit_sent_bytes_total": Metric("counter", "Bytes of request bodies sent to IBKR", _CALL),
    "ibkit_received_bytes_total": Metric("counter", "Bytes of answers received from IBKR", _CALL),
    "ibkit_rate_limit_waits_total": Metric("counter", "Requests held back for the rate limit", _CALL),
    "ibkit_rate_limit_wait_seconds_total": Metric("counter", "Time that requests were held back", _CALL),
    "ibkit_pool_in_use": Metric("gauge", "Connections to IBKR that carry a request now", ("connection",)),
    "ibkit_pool_in_use_max": Metric("gauge", "Most of them at once, in the minute under way", _CALL),
    "ibkit_orders_total": Metric("counter", "What became of orders", ("outcome",)),
    "ibkit_open_intents": Metric("gauge", "Orders under way: neither taken by IBKR nor ended"),
    "ibkit_oldest_open_intent_seconds": Metric("gauge", "Age of the oldest of them", joined=max),
    "ibkit_reconciled_intents_total": Metric("counter", "Orders of earlier runs that were settled or adopted"),
    "ibkit_session_age_seconds": Metric(
        "gauge", "Time since the login was opened, 0 without one", ("connection",), joined=max
    ),
    "ibkit_connection_up": Metric("gauge", "1 while the last round reached IBKR", ("connection",), joined=min),
    "ibkit_stream_up": Metric("gauge", "1 while the stream is live", ("connection",), joined=min),
    "ibkit_last_round_timestamp_seconds": Metric(
        "gauge", "When the worker's last whole round ended", ("connection",), joined=min
    ),
    "ibkit_unprotected_positions": Metric("gauge", "Sold options without a working stop", ("connection",)),
    "ibkit_open_alerts": Metric("gauge", "Open alerts of the order journal", ("severity",)),
}
"""Every number that is told. Dashboards and rules name no other (a test compares)."""


class ConnectionMeter:
    """Counts the calls of one connection; fits `ibkit.client.metering.Meter`."""

    def __init__(self, metrics: Metrics, connection: str) -> None:
        self._metrics = metrics
        self._connection = connection
        self._under_way = 0

    def waited(self, endpoint: Endpoint, seconds: float) -> None:
        figures = self._of(endpoint)
        figures.waits += 1
        figures.waited_s += seconds

    def began(self, endpoint: Endpoint) -> None:
        self._holds(1)
        figures = self._of(endpoint)
        figures.at_once = max(figures.at_once, self._under_way)

    def attempted(self, endpoint: Endpoint, *, seconds: float, sent: int, received: int, status: int) -> None:
        self._holds(-1)
        figures = self._of(endpoint)
        figures.took(seconds)
        figures.bytes_sent += sent
        figures.bytes_received += received

    def repeated(self, endpoint: Endpoint) -> None:
        self._of(endpoint).retries += 1

    def answered(self, endpoint: Endpoint, code: str) -> None:
        figures = self._of(endpoint)
        figures.calls += 1
        if code:
            figures.errors[code] += 1

    def _holds(self, more: int) -> None:
        # One request has one connection at a time: HTTP/1.1 (docs/adr/0003-pinning-transport.md).
        self._under_way += more
        self._metrics.set("ibkit_pool_in_use", float(self._under_way), self._connection)

    def _of(self, endpoint: Endpoint) -> Figures:
        return self._metrics.of(self._connection, f"{endpoint.method} {endpoint.path}")


class Metrics:
    """The numbers of this process. Not for several threads: all of it happens on the event loop."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], Figures] = {}
        self._values: dict[tuple[str, tuple[str, ...]], float] = {}

    @classmethod
    def merged(cls, several: Iterable[Metrics]) -> Metrics:
        """Those of several logins as one process tells them."""
        found, values = cls(), defaultdict[tuple[str, tuple[str, ...]], list[float]](list)
        for each in several:
            for (connection, endpoint), figures in each.calls.items():
                found.of(connection, endpoint).add(figures)
            for key, value in each.values.items():
                values[key].append(value)
        found._values = {key: METRICS[key[0]].joined(those) for key, those in values.items()}
        return found

    def meter(self, connection: str) -> ConnectionMeter:
        return ConnectionMeter(self, connection)

    def of(self, connection: str, endpoint: str) -> Figures:
        found = self._calls.get((connection, endpoint))
        if found is None:
            if len(self._calls) >= _MOST_SERIES:
                endpoint = "other"
            found = self._calls.setdefault((connection, endpoint), Figures())
        return found

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """One more. labels: values in the order of the metric's table row."""
        key = self._key(name, labels, "counter")
        self._values[key] = self._values.get(key, 0.0) + by

    def set(self, name: str, value: float, *labels: str) -> None:
        self._values[self._key(name, labels, "gauge")] = value

    def value(self, name: str, *labels: str) -> float | None:
        return self._values.get((name, labels))

    @property
    def calls(self) -> Mapping[tuple[str, str], Figures]:
        """(connection, endpoint) → its figures since the start."""
        return self._calls

    @property
    def values(self) -> Mapping[tuple[str, tuple[str, ...]], float]:
        """(name, labels) → value."""
        return self._values

    def _key(self, name: str, labels: tuple[str, ...], kind: str) -> tuple[str, tuple[str, ...]]:
        metric = METRICS[name]
        assert metric.kind == kind, f"{name} is a {metric.kind}"
        assert len(labels) == len(metric.labels), f"{name} takes {metric.labels}"
        return name, labels
