"""Accounts and portfolio through the gateway face. Source: docs/facts/accounts-and-portfolio.md §0-3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from desks import Desk
from shapes import assert_same_shape

pytestmark = pytest.mark.requirement("TST-01", "TRD-02", "TRD-03", "TRD-04")


def opened(*scenarios: str, **options: Any) -> Desk:
    """A desk whose session has asked for its portfolio accounts."""
    desk = Desk(*scenarios, **options)
    desk.get("/portfolio/accounts", wait=6)
    return desk


def number(text: str) -> float:
    return float(text.split(" ")[0].replace(",", ""))


def test_accounts_name_the_session_and_its_environment() -> None:
    desk = Desk()
    body = desk.get("/iserver/accounts")
    assert body["accounts"] == [desk.account]
    assert body["selectedAccount"] == desk.account
    assert body["isPaper"] is True
    assert isinstance(body["allowFeatures"]["allowedAssetTypes"], str)
    left, right = body["sessionId"].split(".")
    assert int(left, 16)
    assert int(right, 16) >= 0


def test_switching_the_account() -> None:
    desk = Desk("multi-account")
    other = desk.world.users_at_start[0].spare_accounts[0].id
    assert desk.get("/iserver/accounts")["accounts"] == [desk.account, other]
    path = "/iserver/account"
    assert desk.call("POST", path, {"acctId": desk.account}) == (200, {"success": "Account already set"})
    assert desk.call("POST", path, {"acctId": other}) == (200, {"set": True, "acctId": other})
    assert desk.get("/iserver/accounts")["selectedAccount"] == other
    assert desk.call("POST", path, {"acctId": "U9"}) == (500, {"error": "Invalid account ID"})
    assert desk.call("POST", path, {})[0] == 400


def test_a_user_without_accounts_sees_empty_lists() -> None:
    desk = Desk("no-account")
    assert desk.get("/iserver/accounts")["accounts"] == []
    assert desk.get("/portfolio/accounts", wait=6) == []
    assert desk.get("/iserver/account/orders", wait=6)["orders"] == []
    assert desk.send(desk.ticket(desk.stock(), "BUY", 1))[0] == 400


def test_the_portfolio_opens_with_its_accounts() -> None:
    desk = Desk()
    assert desk.call("GET", f"/portfolio/{desk.account}/summary") == (401, None)
    assert desk.get("/portfolio/accounts", wait=6)[0]["brokerageAccess"] is True
    assert desk.get(f"/portfolio/{desk.account}/meta")["brokerageAccess"] is False
    assert desk.get("/portfolio/subaccounts", wait=6)[0]["brokerageAccess"] is False
    for path in ("positions/0", "summary", "ledger", "meta", "allocation", "position/1", "combo/positions"):
        assert desk.call("GET", f"/portfolio/U9/{path}") == (401, None)


def test_the_first_read_of_positions_is_sparse_and_the_second_enriched() -> None:
    desk = opened()
    put = desk.option()
    desk.place(put, "SELL", 2)
    path = f"/portfolio/{desk.account}/positions/0"
    (sparse,) = desk.get(path)
    assert (len(sparse), sparse["strike"], sparse["multiplier"], sparse["expiry"]) == (21, 0.0, None, None)
    (row,) = desk.get(path)
    assert (row["conid"], row["position"], row["multiplier"], row["putOrCall"]) == (put.conid, -2.0, 100.0, "P")
    assert row["strike"] == f"{put.strike:f}".removesuffix(".0")
    assert row["avgCost"] == pytest.approx(row["avgPrice"] * 100)
    assert row["mktValue"] == pytest.approx(-2 * row["mktPrice"] * 100)
    assert row["unrealizedPnl"] == pytest.approx(row["mktValue"] - row["position"] * row["avgCost"])
    assert row["fullName"].endswith("Put")
    waited = opened()
    waited.place(waited.option(), "SELL", 1)
    assert len(waited.get(f"/portfolio/{waited.account}/positions/0?waitForSecDef=true")[0]) > 40


def test_positions_lag_behind_a_fill_until_a_minute_or_invalidate_has_passed() -> None:
    desk = opened()
    path = f"/portfolio/{desk.account}/positions/0"
    assert desk.get(path) == []
    desk.place(desk.option(), "SELL", 1)
    assert desk.get(path) == []
    assert len(desk.get(f"/portfolio2/{desk.account}/positions")) == 1
    assert desk.call("POST", f"/portfolio/{desk.account}/positions/invalidate") == (200, {"message": "success"})
    assert len(desk.get(path)) == 1
    desk.place(desk.option(), "BUY", 1)
    assert len(desk.get(path)) == 1
    desk.pass_time(60)
    assert desk.get(path) == []


def test_many_positions_come_in_three_pages() -> None:
    desk = opened("many-positions")
    pages = [desk.get(f"/portfolio/{desk.account}/positions/{page}?sort=position&direction=a") for page in range(4)]
    assert [len(page) for page in pages] == [100, 100, 30, 0]
    conids = {row["conid"] for page in pages for row in page}
    assert len(conids) == 230
    assert len(desk.get(f"/portfolio2/{desk.account}/positions")) == 230
    assert desk.book.balanced
    desk.simulator.control("POST", "scenario", {"scenario": "ok"})
    assert desk.get(f"/portfolio2/{desk.account}/positions") == []
    assert desk.book.balanced


def test_one_position_by_conid() -> None:
    desk = opened()
    stock = desk.stock()
    assert desk.get(f"/portfolio/{desk.account}/position/{stock.conid}") == []
    desk.place(stock, "BUY", 5)
    desk.call("POST", f"/portfolio/{desk.account}/positions/invalidate")
    (row,) = desk.get(f"/portfolio/{desk.account}/position/{stock.conid}")
    assert (row["ticker"], row["type"], row["multiplier"], row["strike"]) == ("SPY", "ETF", 0.0, "0")
    by_account = desk.get(f"/portfolio/positions/{stock.conid}")
    assert list(by_account) == [desk.account, f"{desk.account}C"]
    assert desk.get("/portfolio/positions/999") == {}


def test_summary_ledger_and_positions_agree_to_the_cent() -> None:
    desk = opened(portfolio_cache_s="0")
    desk.place(desk.option(), "SELL", 3)
    desk.place(desk.stock(), "BUY", 7)
    desk.place(desk.stock(), "SELL", 2)
    account = desk.account

    def seen() -> tuple[Any, ...]:
        return (
            desk.call("GET", f"/portfolio/{account}/summary", wait=0)[1],
            desk.call("GET", f"/portfolio/{account}/ledger", wait=0)[1],
            desk.call("GET", f"/portfolio/{account}/positions/0", wait=0)[1],
            desk.call("GET", f"/iserver/account/{account}/summary", wait=0)[1],
        )

    summary, ledger, positions, brokerage = seen()
    usd = ledger["USD"]
    values = sum(row["mktValue"] for row in positions)
    assert usd["cashbalance"] + values == pytest.approx(usd["netliquidationvalue"], abs=0.004)
    assert usd["stockmarketvalue"] + usd["stockoptionmarketvalue"] == pytest.approx(values, abs=0.004)
    assert usd["unrealizedpnl"] == pytest.approx(sum(row["unrealizedPnl"] for row in positions), abs=0.004)
    assert usd["realizedpnl"] == pytest.approx(sum(row["realizedPnl"] for row in positions), abs=0.006)
    assert summary["netliquidation"]["amount"] == usd["netliquidationvalue"]
    assert summary["totalcashvalue"]["amount"] == usd["cashbalance"]
    assert summary["netliquidation"]["value"] == f"{usd['netliquidationvalue']:.2f}".rstrip("0").rstrip(".")
    assert brokerage["netLiquidationValue"] == pytest.approx(usd["netliquidationvalue"], abs=0.51)
    assert ledger["BASE"]["cashbalance"] == usd["cashbalance"]
    trades = [e for order in desk.exchange.orders.values() for e in order.executions]
    cash = 1_000_000 - sum(
        float((1 if e.order.ticket.side == "BUY" else -1) * e.net_amount + e.commission) for e in trades
    )
    assert usd["cashbalance"] == pytest.approx(cash, abs=0.004)


def test_detail_summaries_carry_both_spellings() -> None:
    desk = Desk()
    path = f"/iserver/account/{desk.account}/summary"
    funds = desk.get(f"{path}/available_funds")
    assert set(funds) == {"total", "Crypto at Paxos", "commodities", "securities"}
    assert funds["total"]["current_available"] == "1,000,000 USD"
    assert funds["total"]["Lk Ahd Avlbl Fnds"] == funds["total"]["look_ahead_available"]
    assert number(funds["total"]["buying_power"]) == 4_000_000
    assert number(desk.get(f"{path}/balances")["total"]["cash"]) == 1_000_000
    assert "projected_liquidity_inital_margin" in desk.get(f"{path}/margins")["total"]
    assert set(desk.get(f"{path}/market_value")) == {"USD", "Total (in USD)"}
    assert desk.call("GET", f"{path}/other")[0] == 404


def test_profit_and_loss_needs_a_second_call() -> None:
    desk = Desk()
    path = "/iserver/account/pnl/partitioned"
    assert desk.get(path, wait=6) == {"upnl": {}}
    row = desk.get(path, wait=6)["upnl"][f"{desk.account}.Core"]
    assert row["nl"] == 1_000_000
    assert row["el"] == row["uel"]


def test_allocation_splits_long_and_short() -> None:
    desk = opened()
    empty = {"long": {}, "short": {}}
    path = f"/portfolio/{desk.account}/allocation"
    assert desk.get(path) == {"assetClass": empty, "sector": empty, "group": empty}
    desk.place(desk.option(), "SELL", 1)
    desk.place(desk.stock("AAPL"), "BUY", 2)
    desk.call("POST", f"/portfolio/{desk.account}/positions/invalidate")
    rows = desk.get(path)
    assert set(rows["assetClass"]["long"]) == {"STK", "CASH"}
    assert set(rows["assetClass"]["short"]) == {"OPT"}
    assert desk.call("POST", "/portfolio/allocation", {"acctIds": [desk.account]})[1] == rows
    assert desk.call("POST", "/portfolio/allocation", {"acctIds": ["U9"]})[0] == 401


def recorded(shared: Path, name: str) -> Any:
    return json.loads((shared / "ibkr" / "recorded" / f"{name}.json").read_text())["Response"]["Body"]


def test_answers_have_the_recorded_shapes(shared: Path) -> None:
    desk = opened()
    account, stock = desk.account, desk.stock()
    desk.place(stock, "BUY", 44)

    def same(path: str, name: str, **how: Any) -> None:
        assert_same_shape(desk.get(path, wait=6), recorded(shared, name), **how)

    summary = f"/iserver/account/{account}/summary"
    same(summary, "Accounts/GET-account-summary")
    same(f"{summary}/balances", "Accounts/GET-account-summary-balances", trimmed=True)
    same(f"{summary}/market_value", "Accounts/GET-account-summary-market-value", trimmed=True)
    switched = desk.call("POST", "/iserver/account", {"acctId": account})[1]
    assert_same_shape(switched, recorded(shared, "Accounts/POST-switch-account"))
    same(f"/portfolio/{account}/meta", "Portfolio/GET-portfolio-meta")
    same("/portfolio/subaccounts", "Portfolio/GET-portfolio-subaccounts")
    same("/portfolio/subaccounts2", "Portfolio/GET-subaccounts2")
    same(f"/portfolio/{account}/ledger", "Portfolio/GET-portfolio-ledger")
    same(f"/portfolio/{account}/summary", "Portfolio/GET-portfolio-summary", trimmed=True)
    same(f"/portfolio/{account}/combo/positions", "Portfolio/GET-portfolio-combo-positions-empty")
    same(f"/portfolio/{account}/position/{stock.conid}", "Portfolio/GET-portfolio-position-by-conid", trimmed=True)
    same(f"/portfolio2/{account}/positions", "Portfolio/GET-portfolio2-positions")
    by_conid = desk.get(f"/portfolio/positions/{stock.conid}")
    like = recorded(shared, "Portfolio/GET-portfolio-positions-by-conid")
    for (name, rows), (old_name, old_rows) in zip(by_conid.items(), like.items(), strict=True):
        assert name.endswith("C") == old_name.endswith("C")
        assert_same_shape(rows, old_rows)


@pytest.mark.requirement("CFG-09")
@pytest.mark.parametrize(("quirk", "first"), [("unprimed", ([], False)), ("empty", ([], True)), ("kept", ([1], True))])
def test_after_a_switch_lists_and_profit_begin_anew(quirk, first) -> None:
    desk = Desk("multi-account", after_switch=quirk)
    other = desk.world.users_at_start[0].spare_accounts[0].id
    desk.place(desk.stock(), "BUY", 1)
    orders = f"/iserver/account/orders?accountId={desk.account}"
    for _ in range(2):
        before = desk.get(orders, wait=6), desk.get(f"/iserver/account/trades?accountId={desk.account}", wait=6)
    assert (len(before[0]["orders"]), before[0]["snapshot"], len(before[1])) == (1, True, 1)
    desk.get("/iserver/account/pnl/partitioned", wait=6)

    desk.call("POST", "/iserver/account", {"acctId": other})

    assert desk.get("/iserver/account/pnl/partitioned", wait=6) == {"upnl": {}}
    assert list(desk.get("/iserver/account/pnl/partitioned", wait=6)["upnl"]) == [f"{other}.Core"]
    listed = desk.get(orders, wait=6)
    assert ([1 for _ in listed["orders"]], listed["snapshot"]) == first
    trades = [len(desk.get(f"/iserver/account/trades?accountId={desk.account}", wait=6)) for _ in range(2)]
    assert trades == ([1, 1] if quirk == "kept" else [0, 1])
    assert len(desk.get(orders, wait=6)["orders"]) == 1
