"""Spans for whoever records them: an order's way and each call to IBKR, no secret in any."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from clients import make_client
from ibkit.errors import IbkitError
from ibkit.model import Key, OrderTicket, OrderType, Side
from ibkit.spans import span, trace_id, traced
from ibkit.wire.marketdata import SNAPSHOT
from recorded_spans import spans as spans  # a fixture
from sale_desks import desk
from simulators import make_simulator

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("MON-05")]


async def test_an_order_s_way_is_one_span_with_its_calls_within(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    simulator = make_simulator()
    async with desk(simulator, tmp_path) as it:
        (account,) = await it.broker.accounts()
        ticket = OrderTicket(
            account_id=account.account_id,
            contract=await it.broker.underlying("SPY"),
            side=Side.BUY,
            order_type=OrderType.MARKET,
            quantity=Decimal(1),
        )
        spans.clear()
        outcome = await it.gateway.submit(ticket, key=Key("span-0123456789abcdef"))

    found = spans.get_finished_spans()
    [order] = [each for each in found if each.name == "order.place"]
    assert order.attributes["ibkit.order.state"] == outcome.state.value
    posts = [each for each in found if (each.attributes or {}).get("http.request.method") == "POST"]
    assert any(each.attributes["http.route"].endswith("/orders") for each in posts)
    calls = [each for each in found if each.name == "ibkr.call"]
    # A service that another test of this process keeps running makes calls of its own.
    placed = [each for each in calls if each.context.trace_id == order.context.trace_id]
    assert any(each.attributes["http.route"].endswith("/orders") for each in placed)
    told = " ".join(str(dict(each.attributes or {})) + each.name for each in found)
    assert account.account_id not in told
    assert "SPY" not in told


async def test_a_call_that_fails_has_its_code_and_neither_text_nor_secret(spans: InMemorySpanExporter) -> None:
    simulator = make_simulator()
    async with make_client(simulator) as ib:
        spans.clear()
        with pytest.raises(IbkitError) as failed:
            await ib.request(SNAPSHOT, query={"conids": "x-canary", "fields": "31"})
    [call] = [each for each in spans.get_finished_spans() if each.name == "ibkr.call"]
    assert call.attributes["error.type"] == failed.value.code
    assert call.status.status_code is trace.StatusCode.ERROR
    assert call.events == ()
    assert failed.value.request_id == format(call.context.trace_id, "032x")
    assert "canary" not in call.to_json()


def test_a_request_s_own_id_comes_first(spans: InMemorySpanExporter) -> None:
    with span("outer"):
        recorded = trace_id()
        with traced("request-1"):
            assert trace_id() == "request-1"
        assert trace_id() == recorded
    assert recorded == format(spans.get_finished_spans()[0].context.trace_id, "032x")
    assert trace_id() is None


def test_without_opentelemetry_nothing_of_it_is_loaded() -> None:
    code = """
import sys
import ibkit.client.core, ibkit.trading
from ibkit.spans import span, recording, trace_id
with span("x", a=1) as current:
    current.set("b", 2)
    current.failed("E-DB")
assert not recording() and trace_id() is None
assert not any(name.startswith("opentelemetry") for name in sys.modules), "loaded"
print("fine")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout == "fine\n", ran.stderr
