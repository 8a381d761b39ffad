"""The numbers as Prometheus reads them, and as a document: what GET /metrics and GET /api/metrics answer with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ibkit.notify.figures import BOUNDS_S, Figures
from ibkit.notify.metrics import METRICS, Metrics

if TYPE_CHECKING:
    from prometheus_client.core import Metric as PrometheusMetric

__all__ = ["CONTENT_TYPE", "document_of", "exposition"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BY_CALL: Mapping[str, Callable[[Figures], float]] = {
    "ibkit_calls_total": lambda figures: figures.calls,
    "ibkit_retries_total": lambda figures: figures.retries,
    "ibkit_sent_bytes_total": lambda figures: figures.bytes_sent,
    "ibkit_received_bytes_total": lambda figures: figures.bytes_received,
    "ibkit_rate_limit_waits_total": lambda figures: figures.waits,
    "ibkit_rate_limit_wait_seconds_total": lambda figures: figures.waited_s,
    "ibkit_pool_in_use_max": lambda figures: figures.at_once,
}


@dataclass(frozen=True, slots=True)
class _Collector:
    """Fits prometheus_client's collectors."""

    metrics: Metrics

    def collect(self) -> Iterable[PrometheusMetric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for name, metric in METRICS.items():
            if metric.kind == "histogram":
                histogram = HistogramMetricFamily(name, metric.help, labels=metric.labels)
                for key, figures in self.metrics.calls.items():
                    histogram.add_metric(key, buckets=_cumulated(figures), sum_value=figures.seconds)
                yield histogram
                continue
            counts = metric.kind == "counter"
            family = (CounterMetricFamily if counts else GaugeMetricFamily)(name, metric.help, labels=metric.labels)
            for labels, value in _samples(name, self.metrics):
                family.add_metric(labels, value)
            yield family


def exposition(metrics: Metrics) -> str:
    """The text of GET /metrics."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(metrics))
    return generate_latest(registry).decode()


def document_of(figures: Mapping[tuple[str, str], Figures]) -> list[dict[str, Any]]:
    """The rows of GET /api/metrics, by connection and endpoint. Times in seconds; error_rate 0 to 1."""
    return [
        {
            "connection": connection,
            "endpoint": endpoint,
            "count": each.calls,
            "errors": dict(sorted(each.errors.items())),
            "error_rate": each.error_rate,
            "mean_s": each.mean_s,
            "p50_s": each.quantile_s(0.5),
            "p95_s": each.quantile_s(0.95),
            "p99_s": each.quantile_s(0.99),
            "attempts": each.attempts,
            "retries": each.retries,
            "bytes_sent": each.bytes_sent,
            "bytes_received": each.bytes_received,
            "rate_limit_waits": each.waits,
            "rate_limit_wait_s": each.waited_s,
            "pool_in_use_max": each.at_once,
        }
        for (connection, endpoint), each in sorted(figures.items())
    ]


def _samples(name: str, metrics: Metrics) -> Iterable[tuple[tuple[str, ...], float]]:
    if name == "ibkit_call_errors_total":
        for labels, figures in metrics.calls.items():
            for code, number in figures.errors.items():
                yield (*labels, code), number
    elif name in _BY_CALL:
        for labels, figures in metrics.calls.items():
            yield labels, _BY_CALL[name](figures)
    else:
        for (held, given), value in metrics.values.items():
            if held == name:
                yield given, value


def _cumulated(figures: Figures) -> list[tuple[str, float]]:
    found, total = [], 0
    for bound, count in zip((*BOUNDS_S, float("inf")), figures.buckets, strict=True):
        total += count
        found.append(("+Inf" if bound == float("inf") else f"{bound:g}", float(total)))
    return found
