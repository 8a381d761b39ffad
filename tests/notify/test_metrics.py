"""What is counted of the calls to IBKR, how it is told, and how long it is kept."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from clients import make_client
from ibkit.bootstrap.measuring import write_text
from ibkit.clock import ManualClock
from ibkit.errors import IbkitError, StorageError
from ibkit.model import Secret
from ibkit.notify.exposition import document_of, exposition
from ibkit.notify.figures import BOUNDS_S, Figures
from ibkit.notify.metrics import METRICS, Metrics
from ibkit.notify.minutes import KEPT, Recorder, total
from ibkit.store.metric_minutes import SqlMinutes
from ibkit.store.records import open_records
from ibkit.wire.accounts import ACCOUNTS
from ibkit.wire.marketdata import SNAPSHOT
from notify.conftest import START
from simulators import make_simulator

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


def counted(simulator: Any) -> dict[str, int]:
    """Bytes of the bodies as the simulator's server sees them come and go."""
    seen = {"in": 0, "out": 0}
    handle = simulator.server.handle

    def counting(request: Any, **more: Any) -> Any:
        outcome = handle(request, **more)
        seen["in"] += len(request.body)
        seen["out"] += len(outcome.body)
        return outcome

    simulator.server.handle = counting
    return seen


@pytest.mark.requirement("MON-05")
async def test_ten_of_a_hundred_calls_fail_and_every_byte_is_counted() -> None:
    simulator = make_simulator()
    seen = counted(simulator)
    metrics = Metrics()
    async with make_client(simulator, meter=metrics.meter("paper oauth1a")) as ib:
        for number in range(100):
            simulator.advance(6)
            if number % 10 == 3:
                with pytest.raises(IbkitError):
                    await ib.request(SNAPSHOT, query={"conids": "x", "fields": "31"})
            else:
                await ib.request(SNAPSHOT, query={"conids": "265598", "fields": "31"})

    key = ("paper oauth1a", f"{SNAPSHOT.method} {SNAPSHOT.path}")
    figures = metrics.calls[key]
    assert (figures.calls, figures.errors.total(), figures.error_rate) == (100, 10, 0.1)
    assert sum(each.bytes_received for each in metrics.calls.values()) == seen["out"] > 0
    assert sum(each.bytes_sent for each in metrics.calls.values()) == seen["in"] > 0
    [row] = [each for each in document_of(metrics.calls) if each["endpoint"] == key[1]]
    assert (row["count"], row["error_rate"]) == (100, 0.1)
    text = exposition(metrics)
    samples = {
        (sample.name, sample.labels.get("endpoint"), sample.labels.get("code")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["ibkit_calls_total", key[1], None] == 100
    assert sum(value for (name, *_), value in samples.items() if name == "ibkit_call_errors_total") == 10
    assert samples["ibkit_attempt_duration_seconds_count", key[1], None] >= 100
    accounts = {str(each) for user in simulator.users for each in user.user.accounts}
    assert not any(account in text for account in accounts)


async def test_a_repeated_read_and_a_wait_for_the_rate_limit_are_counted() -> None:
    simulator = make_simulator()
    metrics = Metrics()
    async with make_client(simulator, meter=metrics.meter("c")) as ib:
        simulator.control(
            "POST", "faults", {"fault": "status", "endpoint": "ACCOUNTS", "times": 1, "params": {"status": 503}}
        )
        for _ in range(60):
            await ib.request(ACCOUNTS)
    figures = metrics.calls["c", "GET /iserver/accounts"]
    assert (figures.retries, figures.errors.total()) == (1, 0)
    assert figures.attempts >= figures.calls + 1
    assert sum(each.waits for each in metrics.calls.values()) > 0
    assert sum(each.waited_s for each in metrics.calls.values()) > 0


@pytest.mark.requirement("MON-05")
async def test_the_connections_that_carry_a_request_are_counted_now_and_at_most() -> None:
    simulator, metrics = make_simulator(), Metrics()
    line = simulator.transport("cloud")
    send, on_the_line, go = line.send, [], anyio.Event()

    async def held(request: Any, *, timeout_s: float) -> Any:
        on_the_line.append(metrics.value("ibkit_pool_in_use", "c"))
        await go.wait()
        return await send(request, timeout_s=timeout_s)

    async with make_client(simulator, meter=metrics.meter("c"), transport=line) as ib:
        assert metrics.value("ibkit_pool_in_use", "c") == 0
        line.send = held  # type: ignore[method-assign]
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(partial(ib.request, ACCOUNTS))
            await anyio.wait_all_tasks_blocked()
            assert on_the_line == [1, 2, 3, 4]
            assert metrics.value("ibkit_pool_in_use", "c") == 4
            go.set()
        assert metrics.value("ibkit_pool_in_use", "c") == 0
        await ib.request(ACCOUNTS)
    figures = metrics.calls["c", "GET /iserver/accounts"]
    assert figures.at_once == 4
    [row] = [each for each in document_of(metrics.calls) if each["endpoint"] == "GET /iserver/accounts"]
    assert row["pool_in_use_max"] == 4
    assert 'ibkit_pool_in_use_max{connection="c",endpoint="GET /iserver/accounts"} 4.0' in exposition(metrics)


@pytest.mark.requirement("MON-05")
async def test_a_request_that_breaks_holds_no_connection_any_more() -> None:
    simulator, metrics = make_simulator(), Metrics()
    async with make_client(simulator, meter=metrics.meter("c")) as ib:
        simulator.control("POST", "faults", {"fault": "drop-answer", "endpoint": "ACCOUNTS", "times": 3})
        with pytest.raises(IbkitError):
            await ib.request(ACCOUNTS)
    assert metrics.value("ibkit_pool_in_use", "c") == 0


@pytest.mark.requirement("MON-05")
async def test_the_most_connections_at_once_are_those_of_each_minute(minutes: SqlMinutes, monkeypatch: Any) -> None:
    clock, metrics = ManualClock(START), Metrics()

    async def nothing_else() -> None:
        """All of it is counted."""

    recorders = [Recorder(metrics, minutes, clock, process="test", measure=nothing_else) for _ in range(2)]
    meter = metrics.meter("paper")

    def at_once(number: int) -> None:
        for _ in range(number):
            meter.began(SNAPSHOT)
        for _ in range(number):
            meter.attempted(SNAPSHOT, seconds=0.1, sent=1, received=1, status=200)

    at_once(3)
    with monkeypatch.context() as patch:
        patch.setattr(minutes, "add", Mock(side_effect=StorageError("away")))
        with pytest.raises(StorageError):
            await recorders[0].once()
    clock.advance(60)
    await recorders[0].once()
    at_once(2)
    clock.advance(60)
    await recorders[0].once()
    rows = await minutes.rows(START - timedelta(hours=1), START + timedelta(hours=1))
    assert [row["at_once"] for _, row in rows] == [3, 2]
    assert [each.at_once for each in total(rows).values()] == [3]
    at_once(1)
    await recorders[1].once()  # the same minute, told in a second part
    rows = await minutes.rows(START - timedelta(hours=1), START + timedelta(hours=1))
    assert [row["at_once"] for _, row in rows] == [3, 2]


async def test_without_a_meter_a_call_takes_the_short_way() -> None:
    simulator = make_simulator()
    async with make_client(simulator) as ib:
        assert ib._meter is None
        assert (await ib.request(ACCOUNTS)).accounts


@pytest.mark.requirement("MON-05")
def test_percentiles_lie_where_the_times_lie() -> None:
    figures = Figures()
    for milliseconds in range(1, 1001):
        figures.took(milliseconds / 1000)
    assert figures.mean_s == pytest.approx(0.5005)
    assert figures.quantile_s(0.5) == pytest.approx(0.5, abs=0.01)
    assert figures.quantile_s(0.95) == pytest.approx(0.95, abs=0.01)
    assert figures.quantile_s(0.99) == pytest.approx(0.99, abs=0.01)
    assert Figures().quantile_s(0.5) is None
    slow = Figures()
    slow.took(100.0)
    assert slow.quantile_s(0.5) == BOUNDS_S[-1]


@pytest.fixture(params=["sqlite", "postgresql"])
async def minutes(request, tmp_path):
    url = f"sqlite:///{tmp_path}/a.db" if request.param == "sqlite" else request.getfixturevalue("postgres_database")
    opened = open_records(Secret(url), parts=("metrics",))
    yield SqlMinutes(opened)
    await opened.close()


@pytest.mark.requirement("MON-05")
async def test_figures_are_kept_by_the_minute_for_thirty_days(minutes: SqlMinutes) -> None:
    clock, metrics = ManualClock(START), Metrics()

    async def nothing_else() -> None:
        """All of it is counted."""

    recorder = Recorder(metrics, minutes, clock, process="test", measure=nothing_else)
    meter = metrics.meter("paper")
    for code in ("", "E-RATE", ""):
        meter.began(SNAPSHOT)
        meter.attempted(SNAPSHOT, seconds=0.2, sent=10, received=100, status=200)
        meter.answered(SNAPSHOT, code)
        clock.advance(60)
        assert await recorder.once() == 1
    clock.advance(60)
    assert await recorder.once() == 0  # a minute without calls is no row

    rows = await minutes.rows(START, START + timedelta(hours=1))
    assert [row["minute"] for _, row in rows] == [START + timedelta(minutes=n) for n in range(3)]
    [figures] = total(rows).values()
    assert dataclasses.replace(figures, at_once=0) == metrics.calls["paper", f"GET {SNAPSHOT.path}"]
    assert (figures.calls, figures.errors, figures.bytes_received) == (3, {"E-RATE": 1}, 300)
    assert await minutes.rows(START, START + timedelta(hours=1), connection="live") == []

    clock.advance(KEPT.total_seconds() - 60)
    for _ in range(60):
        await recorder.once()
    left = await minutes.rows(START, START + timedelta(hours=1))
    assert len(left) < 3
    assert all(row["minute"] >= clock.now() - KEPT for _, row in left)


@pytest.mark.requirement("MON-05")
def test_what_several_logins_count_is_told_together() -> None:
    one, two = Metrics(), Metrics()
    for metrics, codes in ((one, ("", "E-RATE")), (two, ("",))):
        for code in codes:
            metrics.meter("paper oauth1a").attempted(SNAPSHOT, seconds=0.2, sent=1, received=10, status=200)
            metrics.meter("paper oauth1a").answered(SNAPSHOT, code)
        metrics.count("ibkit_orders_total", "accepted")
        metrics.set("ibkit_open_intents", len(codes))
        metrics.set("ibkit_oldest_open_intent_seconds", 10.0 * len(codes))
        metrics.set("ibkit_connection_up", float(metrics is one), "paper oauth1a")
    two.meter("live oauth2").answered(SNAPSHOT, "")

    both = Metrics.merged((one, two))

    figures = both.calls["paper oauth1a", f"GET {SNAPSHOT.path}"]
    assert (figures.calls, figures.errors, figures.bytes_received) == (3, {"E-RATE": 1}, 30)
    assert both.calls["live oauth2", f"GET {SNAPSHOT.path}"].calls == 1
    assert both.value("ibkit_orders_total", "accepted") == 2
    assert both.value("ibkit_open_intents") == 3
    assert both.value("ibkit_oldest_open_intent_seconds") == 20
    assert both.value("ibkit_connection_up", "paper oauth1a") == 0  # one of them is down
    assert exposition(both).count("ibkit_calls_total{") == 2
    assert one.calls["paper oauth1a", f"GET {SNAPSHOT.path}"].calls == 2  # theirs are left alone
    assert Metrics.merged(()).calls == {}


@pytest.mark.requirement("MON-05")
async def test_two_parts_of_a_minute_are_one_row(minutes: SqlMinutes) -> None:
    clock, metrics = ManualClock(START), Metrics()

    async def nothing_else() -> None:
        """All of it is counted."""

    recorder = Recorder(metrics, minutes, clock, process="test", measure=nothing_else)
    clock.advance(10)
    for code in ("E-RATE", "E-DB", "E-RATE"):
        metrics.meter("paper").answered(SNAPSHOT, code)
        await recorder.once()
    [(_, row)] = await minutes.rows(START, START + timedelta(hours=1))
    assert (row["calls"], row["errors"]) == (3, {"E-RATE": 2, "E-DB": 1})


def test_what_is_no_metric_or_has_the_wrong_labels_is_a_mistake_of_ours() -> None:
    metrics = Metrics()
    with pytest.raises(KeyError):
        metrics.count("ibkit_nonsense_total")
    with pytest.raises(AssertionError):
        metrics.count("ibkit_open_intents")
    with pytest.raises(AssertionError):
        metrics.count("ibkit_orders_total")
    for number in range(3_000):
        metrics.of("c", f"GET /{number}").calls += 1
    assert len(metrics.calls) <= 2_001


def test_every_name_follows_the_conventions_and_no_label_is_unbounded() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"ibkit_[a-z_]+", name)
        assert name.endswith("_total") == (metric.kind == "counter"), name
        assert set(metric.labels) <= {"connection", "endpoint", "code", "outcome", "severity"}, name


@pytest.mark.parametrize("file", ["deploy/grafana/ibkit.json", "deploy/prometheus/alerts.yml"])
@pytest.mark.requirement("MON-05")
def test_dashboards_and_rules_name_only_metrics_that_there_are(file: str) -> None:
    text = (ROOT / file).read_text()
    named = set(re.findall(r"\bibkit_[a-z_]+\b", text))
    told = set(METRICS) | {
        f"{name}{end}" for name, m in METRICS.items() if m.kind == "histogram" for end in ("_bucket", "_sum", "_count")
    }
    assert named
    assert named <= told


def test_the_dashboard_is_json_with_a_query_in_each_panel() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/ibkit.json").read_text())
    assert dashboard["uid"]
    assert all(panel["targets"][0]["expr"] for panel in dashboard["panels"])
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.mark.requirement("MON-07")
def test_every_rule_says_how_bad_it_is_and_links_its_runbook() -> None:
    text = (ROOT / "deploy/prometheus/alerts.yml").read_text()
    rules = re.split(r"\n\s+- alert: ", text)[1:]
    assert len(rules) >= 8
    for rule in rules:
        assert re.search(r"severity: (info|warning|critical)\n", rule), rule
        assert re.search(r"runbook_url: \S*docs/runbooks/[a-z-]+\.md", rule), rule
        assert "expr: " in rule
        assert "summary: " in rule


@pytest.mark.requirement("MON-05", "SEC-02")
def test_the_text_for_a_collector_is_whole_and_its_owners_alone(tmp_path):
    file = tmp_path / "paper.prom"
    metrics = Metrics()
    for _ in range(2):
        metrics.count("ibkit_orders_total", "accepted")
        write_text(file, metrics)

    assert 'ibkit_orders_total{outcome="accepted"} 2.0' in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]
