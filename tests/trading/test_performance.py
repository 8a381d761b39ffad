"""Closed trades as a whole."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from ibkit.model import AccountId, Conid, Environment, Right
from ibkit.trading import Trade
from ibkit.trading.selling.performance import performance_of
from ibkit.trading.selling.trade import ExitReason, RecordState, TradeStatus

START = datetime(2026, 11, 16, 20, 0, tzinfo=UTC)


def closed(day: int, pnl: str | None, *, sold: bool = True) -> Trade:
    at = START + timedelta(days=day)
    return Trade(
        trade_id=f"{day}-{pnl}",
        account_id=AccountId("DU1"),
        environment=Environment.PAPER,
        symbol="SPY",
        conid=Conid(1),
        multiplier=Decimal(100),
        strike_price=Decimal(629),
        right=Right.PUT,
        expiration=date(2026, 11, 20),
        quantity=Decimal(1),
        created_at=at,
        updated_at=at,
        record_state=RecordState.COMPLETE,
        status=TradeStatus.CLOSED,
        entry_price=Decimal("0.62") if sold else None,
        exit_time=at,
        exit_reason=ExitReason.MANUAL,
        realized_pnl=None if pnl is None else Decimal(pnl),
    )


@pytest.mark.requirement("OPT-10")
def test_figures_of_six_trades() -> None:
    found = performance_of(
        [
            closed(0, "10.00"),
            closed(0, "-4.50"),
            closed(1, "20.25"),
            closed(2, "-30"),
            closed(3, "0"),
            closed(4, "5.75"),
        ]
    )
    assert (found.trades, found.wins, found.losses) == (6, 3, 2)
    assert found.win_rate == Decimal("50.0")
    assert found.total == Decimal("1.50")
    assert found.average_day == Decimal("0.30")
    assert found.best_day == (date(2026, 11, 17), Decimal("20.25"))
    assert found.worst_day == (date(2026, 11, 18), Decimal("-30"))


@pytest.mark.requirement("OPT-10")
def test_what_was_not_sold_or_has_no_result_counts_in_nothing() -> None:
    found = performance_of([closed(0, None), closed(0, None, sold=False), closed(1, "2")])
    assert (found.trades, found.without_result, found.total) == (1, 1, Decimal("2.00"))
    empty = performance_of([])
    assert (empty.trades, empty.win_rate, empty.best_day) == (0, None, None)
    assert "Closed trades  0" in empty.text
