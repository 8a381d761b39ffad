"""The trace id of an answer finds its lines and spans: of the request, of the order that it began, of IBKR's calls."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ibkit.bootstrap.logs import set_up_logs
from ibkit.settings import load
from recorded_spans import spans as spans  # a fixture
from service.test_login import at_the_gateway
from service_desks import until

pytestmark = pytest.mark.requirement("MON-13")


@pytest.fixture
def lines() -> Iterator[Any]:
    """What the service has logged so far, as JSON, from DEBUG up."""
    root, ours = logging.getLogger(), logging.getLogger("ibkit")
    before = (list(root.handlers), root.level, ours.level)
    stream = io.StringIO()
    settings = load(
        flags={"APP_ENV": "test", "LOG_FORMAT": "json", "LOG_LEVEL": "debug"}, environ={}, require_method=False
    )
    set_up_logs(settings, stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    for each in [each for each in root.handlers if each not in before[0]]:
        root.removeHandler(each)
    root.setLevel(before[1])
    ours.setLevel(before[2])


def test_the_trace_id_of_an_answer_finds_exactly_its_lines(tmp_path: Path, lines: Any) -> None:
    """Of an order that fails for want of its contract, and of one that is sent: it goes on after its request."""
    with at_the_gateway(tmp_path) as service:
        before = service.order(broker="ibkr", token="bob")
        failed = service.order(broker="ibkr", symbol="NOSUCH")
        placed = service.order(broker="ibkr", qty=3)
        after = service.ask("GET", "/broker-order/ib-none", token="bob")
        assert [each.status for each in (before, failed, placed, after)] == [201, 404, 201, 404]
        traces = [each.headers["x-trace-id"] for each in (before, failed, placed, after)]
        assert len(set(traces)) == 4
        assert failed.json["error"]["trace_id"] == traces[1]

        def of(number: str, event: str = "") -> list[Any]:
            return [line for line in lines() if line.get("trace_id") == number and event in ("", line["event"])]

        until(lambda: any(line["path"].endswith("/orders") for line in of(traces[2], "broker call")))
    assert {"broker call", "refused"} <= {line["event"] for line in of(traces[1])}
    assert of(traces[1])[-1]["code"] == "E-CONTRACT"
    for line in of(traces[1], "broker call"):
        assert {"timestamp", "level", "logger", "method", "path", "status", "ms"} <= line.keys()
    [sent] = [
        each for each in of(traces[2], "broker call") if each["path"].endswith("/orders") and each["method"] == "POST"
    ]
    assert sent["status"] == 200
    for number, user in zip(traces, ("bob", "ada", "ada", "bob"), strict=True):
        assert {line.get("user") for line in of(number)} == {user}


@pytest.mark.requirement("MON-05")
def test_the_span_of_an_order_has_its_number_and_nothing_of_its_terms(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    with at_the_gateway(tmp_path) as service:
        placed = service.order(broker="ibkr", qty=3, token="ada")
        assert placed.status == 201

        def orders() -> list[Any]:
            return [each for each in spans.get_finished_spans() if each.name == "order.place"]

        # A turn behind another talk with IBKR ends without a state and is taken again: a span of its own.
        until(lambda: any("ibkit.order.state" in each.attributes for each in orders()))
        [_] = [each for each in orders() if "ibkit.order.state" in each.attributes]
        assert {each.attributes["ibkit.order.id"] for each in orders()} == {placed.data["id"]}
        told = " ".join(each.to_json() for each in spans.get_finished_spans())
        for hidden in ("AAPL", "DU1000001", placed.data["idempotency_key"], "Bearer", '"ada"'):
            assert hidden not in told
