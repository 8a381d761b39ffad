"""Positions that wait for their orders while IBKR takes none: found in our own books, and told with the penalty box."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fakes import ACCOUNT
from ibkit.errors import AuthError, RateLimited, Unreachable
from ibkit.model import AccountId
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.alerting.events import EventKind
from ibkit.trading.alerting.signs import Signs
from ibkit.trading.connection import pause_of
from ibkit.trading.selling.exits import ExitPlan
from ibkit.trading.selling.trade import RecordState
from ibkit.trading.watching.waiting import waiting_positions
from watching import Watch, sold

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("LIM-03")]

T0 = datetime(2026, 11, 27, 15, 0, tzinfo=UTC)
UNTIL = T0 + timedelta(minutes=10)
BOXED = RateLimited("IBKR blocks this address until about 15:10:00 UTC", code="E-PENALTY", retry_at=UNTIL)


async def waiting(watch: Watch, account: str = ACCOUNT) -> tuple[str, ...]:
    return await waiting_positions(watch.room.trades, watch.room.journal.alerts, (AccountId(account),))


async def test_a_position_with_its_stop_waits_for_nothing_and_one_without_is_named() -> None:
    watch = await sold()
    assert await waiting(watch) == ()
    trade = watch.trade
    watch.room.trades.rows[trade.trade_id] = dataclasses.replace(trade, stop_loss_order_id=None)
    assert await waiting(watch) == ("3 sold SPY 20261120 629 P",)
    assert await waiting(watch, "DU999") == (), "another login's"
    watch.plan(ExitPlan(take_profit=Decimal("0.5")))
    assert await waiting(watch) == (), "its plan demands no stop"
    watch.room.trades.rows[trade.trade_id] = dataclasses.replace(
        trade, stop_loss_order_id=None, record_state=RecordState.PENDING
    )
    assert await waiting(watch) == (), "nothing is sold yet"


async def test_one_whose_stop_was_found_missing_is_named() -> None:
    watch = await sold()
    alert = Alert(
        kind=AlertKind.UNPROTECTED,
        severity=Severity.CRITICAL,
        subject=watch.trade.trade_id,
        message="no working stop",
        at=T0,
    )
    await watch.room.journal.alerts.put(alert)
    assert await waiting(watch) == ("3 sold SPY 20261120 629 P",)


def test_the_alert_of_the_penalty_box_has_the_time_and_the_positions_and_is_told_once() -> None:
    signs = Signs("paper oauth1a")
    first = signs.failed(BOXED, T0, ["3 sold SPY 20261120 629 P"])
    [told] = [each for each in first if each.event is EventKind.CONNECTION_LOST]
    assert told.severity is Severity.CRITICAL
    assert "until about 15:10:00 UTC" in told.message
    assert "3 sold SPY 20261120 629 P" in told.message
    again = signs.failed(BOXED, T0 + timedelta(seconds=30), ["3 sold SPY 20261120 629 P"])
    assert [each for each in again if each.event is EventKind.CONNECTION_LOST] == []
    more = signs.failed(BOXED, T0 + timedelta(seconds=60), ["3 sold SPY 20261120 629 P", "1 sold QQQ 20261120 500 P"])
    assert "QQQ" in more[-1].message


def test_a_round_that_met_the_box_first_does_not_keep_the_positions_from_being_told() -> None:
    signs = Signs("paper oauth1a")
    [plain] = signs.failed(BOXED, T0)
    assert (plain.event, plain.severity) == (EventKind.CONNECTION_LOST, None)
    assert [each.severity for each in signs.failed(BOXED, T0, ["x"])] == [Severity.CRITICAL]
    signs.heard(None, T0)
    assert [each.severity for each in signs.failed(BOXED, T0, ["x"])] == [Severity.CRITICAL], "the next box"


def test_many_positions_are_counted() -> None:
    [told] = Signs("paper").failed(BOXED, T0, [f"1 sold X{number}" for number in range(12)])
    assert "and 2 more" in told.message
    assert "X10" not in told.message


@pytest.mark.parametrize(
    ("error", "until"),
    [
        (BOXED, UNTIL),
        (Unreachable("paused", code="E-CIRCUIT", details={"until": UNTIL.isoformat()}), UNTIL),
        (Unreachable("maintenance", code="E-MAINT", details={"until": UNTIL.isoformat()}), UNTIL),
        (AuthError("paused", code="E-AUTH-BACKOFF", details={"until": UNTIL.isoformat()}), UNTIL),
        (Unreachable("maintenance", code="E-MAINT"), None),
        (Unreachable("refused"), None),
    ],
    ids=["box", "circuit", "maintenance", "sign-ins", "no time known", "outage"],
)
def test_until_when_calls_pause(error: Unreachable, until: datetime | None) -> None:
    assert pause_of(error) == until
