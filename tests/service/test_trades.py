"""The option seller's trades over HTTP: filtered as `ibkit trades list` does, and never another account's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import anyio
import pytest

from gateway_service import at_the_gateway
from ibkit.model import AccountId, Conid, Environment, OrderId, Right
from ibkit.store import open_trades
from ibkit.trading import Trade
from ibkit.trading.selling.exits import ExitPlan
from ibkit.trading.selling.trade import ExitReason, RecordState, TradeStatus
from people import People, account, person
from service_desks import Served

pytestmark = pytest.mark.requirement("OPT-10", "GWY-02")

START = datetime(2026, 11, 16, 20, 0, tzinfo=UTC)
HOLDERS = {"ada": person("ada"), "tim": person("tim", accounts=account("DU2"))}


def trade(day: int, pnl: str | None, **changes: Any) -> Trade:
    at = START + timedelta(days=day)
    made = Trade(
        trade_id=f"0000000{day}-0000-4000-8000-000000000000",
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
        entry_time=at,
        entry_price=Decimal("0.62"),
        stop_loss_order_id=OrderId("77"),
        stop_loss_price=Decimal("1.86"),
        exit_plan=ExitPlan(stop_multiple=Decimal(3)),
    )
    if pnl is not None:
        closed = {"status": TradeStatus.CLOSED, "exit_time": at, "exit_reason": ExitReason.MANUAL}
        made = dataclasses.replace(made, **closed, realized_pnl=Decimal(pnl))
    return dataclasses.replace(made, **changes)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("trades")
    with at_the_gateway(folder, "not-authenticated", people=People(dict(HOLDERS))) as found:

        async def fill() -> None:
            assert found.settings is not None
            async with open_trades(found.settings.database_url.reveal()) as trades:
                await trades.put(trade(0, "61.30"))
                await trades.put(trade(1, "-125.00", account_id=AccountId("DU2")))
                await trades.put(trade(2, None, symbol="QQQ"))

        anyio.run(fill)
        yield found


def told(service: Served, query: str = "", token: str = "ada") -> Any:
    answer = service.ask("GET", f"/api/trades{query}", token=token)
    assert answer.status == 200, answer.raw
    return answer.json


def days(service: Served, query: str = "", token: str = "ada") -> list[int]:
    return [int(each["trade_id"][:8]) for each in told(service, query, token)["data"]]


def test_trades_are_told_newest_first_with_their_columns(service: Served) -> None:
    newest, _, first = told(service)["data"]
    assert (newest["status"], newest["realized_pnl"], newest["exit_reason"]) == ("open", None, None)
    assert (newest["stop_loss_price"], newest["stop_loss_order_id"]) == (1.86, "77")
    assert newest["plan"]["stop_multiple"] == 3
    assert first["option_type"] == "PUT"
    assert (first["option"], first["realized_pnl"], first["exit_reason"]) == ("SPY 20261120 629 P", 61.3, "manual")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?status=open", [2]),
        ("?status=closed", [1, 0]),
        ("?symbol=spy", [1, 0]),
        ("?since=2026-11-17", [2, 1]),
        ("?until=2026-11-17", [1, 0]),
        ("?account_id=DU2", [1]),
        ("?account_id=DU9", []),
        ("?limit=1", [2]),
    ],
)
def test_filters(service: Served, query: str, found: list[int]) -> None:
    assert days(service, query) == found
    assert told(service, query)["more"] is (query == "?limit=1")


def test_closed_trades_as_a_whole(service: Served) -> None:
    found = service.ask("GET", "/api/trades/performance").data
    assert (found["trades"], found["wins"], found["losses"], found["total"]) == (2, 1, 1, -63.7)
    assert found["best_day"] == {"day": "2026-11-16", "total": 61.3}
    nothing = service.ask("GET", "/api/trades/performance?symbol=QQQ").data
    assert (nothing["trades"], nothing["win_rate"], nothing["best_day"]) == (0, None, None)


def test_a_token_of_one_account_sees_that_account_alone(service: Served) -> None:
    assert days(service, token="tim") == [1]
    assert service.ask("GET", "/api/trades/performance", token="tim").data["total"] == -125
    assert service.ask("GET", "/api/trades?account_id=DU1", token="tim").status == 404
    assert service.ask("GET", "/api/trades?connection_id=anothers").status == 404


@pytest.mark.parametrize("query", ["status=filled", "since=20261117", "until=never", "limit=0", "symbol=", "zero=1"])
def test_a_filter_that_is_none_is_refused(service: Served, query: str) -> None:
    answer = service.ask("GET", f"/api/trades?{query}")
    assert (answer.status, answer.fields) == (422, [query.partition("=")[0]])
