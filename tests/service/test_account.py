"""An account and its positions over HTTP: true, with their age, and read once for all who look."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from ibkit.bootstrap import account_reader
from service_desks import Answered, Served, until

pytestmark = pytest.mark.requirement("SYN-17")

READS = ("/summary", "/ledger", "/portfolio2/")


@pytest.fixture(scope="module")
def holding(mock_service: Served) -> Served:
    """With ten AAPL, at least."""
    assert mock_service.order(qty=10).status in (201, 202)
    until(lambda: position(mock_service) is not None)
    return mock_service


def looked(service: Served, path: str) -> Any:
    answer = service.ask("GET", path)
    assert answer.status == 200, answer.raw
    return answer.json


def position(service: Served, symbol: str = "AAPL") -> Any:
    found = [each for each in looked(service, "/api/positions")["data"] if each["contract"]["symbol"] == symbol]
    return found[0] if found else None


def reads(service: Served) -> int:
    assert service.world is not None
    return sum(any(part in each.path for part in READS) for each in service.world.requests)


def test_an_account_is_told_with_its_figures_and_their_age(holding: Served) -> None:
    told = looked(holding, "/api/account")["data"]
    assert told["currency"] == "USD"
    assert told["net_liquidation"] > 900_000
    for name in ("cash", "buying_power", "available_funds", "initial_margin", "maintenance_margin", "unrealized_pnl"):
        assert isinstance(told[name], int | float), name
    assert told["problem"] is None
    assert told["age_seconds"] >= 0
    assert datetime.fromisoformat(told["as_of"]).tzinfo is not None
    assert looked(holding, f"/api/account?account_id={told['account_id']}")["data"]["account_id"] == told["account_id"]


def test_a_position_is_told_with_contract_prices_and_what_it_needs(holding: Served) -> None:
    told = position(holding)
    assert told["contract"]["kind"] == "STK"
    assert told["contract"]["expiry"] is None
    assert told["quantity"] >= 10
    assert told["market_value"] == pytest.approx(told["market_price"] * told["quantity"], rel=1e-6)
    assert told["day_pnl"] is None, "what IBKR does not tell is not zero"
    assert told["protection"] == {"state": "not needed", "stop_price": None, "order_id": None}


def test_ten_tabs_add_no_call_to_ibkr(holding: Served) -> None:
    assert holding.world is not None
    looked(holding, "/api/positions")
    before, began = reads(holding), holding.world.clock.monotonic()
    paths = ["/api/account", "/api/positions"] * 10

    def tab(path: str) -> list[int]:
        return [holding.ask("GET", path).status for _ in range(4)]

    with ThreadPoolExecutor(10) as tabs:
        assert {status for statuses in tabs.map(tab, paths) for status in statuses} == {200}
    seconds = holding.world.clock.monotonic() - began
    most = 2 * (1 + seconds / account_reader.FIGURES_S) + 1 + seconds / account_reader.HOLDINGS_S
    assert reads(holding) - before <= most, "80 questions, as many calls as one page would make"


def test_a_price_is_seen_within_65_seconds_by_reads_alone(holding: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_reader.AccountReader, "_conids", lambda self: frozenset())
    assert holding.world is not None
    price = position(holding)["market_price"]
    began = holding.world.clock.monotonic()
    holding.world.control("POST", "market", {"symbol": "AAPL", "price": round(price * 1.1, 2)})
    until(lambda: position(holding)["market_price"] > price * 1.05)
    assert holding.world.clock.monotonic() - began <= 65


def test_a_price_is_seen_within_3_seconds_by_the_stream(holding: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of this machine; no list of positions is read meanwhile."""
    position(holding)
    monkeypatch.setattr(account_reader, "HOLDINGS_S", 10_000.0)
    assert holding.world is not None
    before = position(holding)
    until(lambda: position(holding)["price_as_of"] != before["price_as_of"])  # it is listened to
    holding.world.control("POST", "market", {"symbol": "AAPL", "price": round(before["market_price"] * 1.1, 2)})
    until(lambda: position(holding)["market_price"] > before["market_price"] * 1.05, within_s=3)
    after = position(holding)
    assert after["market_value"] == pytest.approx(after["market_price"] * after["quantity"])
    gain = after["market_value"] - before["market_value"]
    assert after["unrealized_pnl"] - before["unrealized_pnl"] == pytest.approx(gain)


def test_what_cannot_be_read_anew_is_told_with_its_age_and_the_reason(
    holding: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked(holding, "/api/account")
    monkeypatch.setattr(account_reader, "FIGURES_S", 0.0)
    assert holding.world is not None
    holding.world.control("POST", "faults", {"endpoint": "PORTFOLIO_SUMMARY", "fault": "status", "times": 9})
    try:
        told = looked(holding, "/api/account")["data"]
        assert told["problem"]["code"].startswith("E-")
        assert told["net_liquidation"] > 0
    finally:
        holding.world.control("DELETE", "faults", {})
    assert looked(holding, "/api/account")["data"]["problem"] is None


def refused(service: Served, path: str, **more: Any) -> Answered:
    return service.ask("GET", path, **more)


@pytest.mark.parametrize("path", ["/api/account", "/api/positions"])
def test_an_account_of_others_is_not_there(holding: Served, path: str) -> None:
    answer = refused(holding, f"{path}?account_id=U0000000")
    assert (answer.status, answer.code) == (404, "E-NOT-FOUND")
    assert refused(holding, f"{path}?connection_id=anothers").status == 404
    assert refused(holding, f"{path}?broker=nobody").code == "E-BROKER"
    assert refused(holding, f"{path}?account=U0000000").fields == ["account"]
    assert refused(holding, path, token=None).status == 401


@pytest.mark.requirement("TRD-20")
def test_a_sold_option_is_unprotected_until_a_stop_works_for_all_of_it(holding: Served) -> None:
    """Sold by hand, so that no record of ours knows it: the orders at IBKR tell."""
    assert holding.world is not None
    option = {"symbol": "SPY", "expiry": "20260104", "strike": 600, "right": "P", "qty": 2}
    expiry = holding.order(action="sell", **option).json["error"]["details"]["expiries"][-1]  # the mock lives now
    option["expiry"] = expiry
    sold = holding.order(action="sell", order_type="market", **option)
    assert sold.status in (201, 202), sold.raw
    until(lambda: (position(holding, "SPY") or {"quantity": 0})["quantity"] == -2)
    told = position(holding, "SPY")
    assert (told["contract"]["kind"], told["contract"]["right"], told["contract"]["strike"]) == ("OPT", "P", 600)
    assert (told["contract"]["expiry"].replace("-", ""), told["contract"]["multiplier"]) == (expiry, 100)
    assert told["protection"]["state"] == "unprotected"

    stop = holding.order(action="buy", order_type="stop", stop_price=25, time_in_force="gtc", **option)
    assert stop.status in (201, 202), stop.raw
    until(lambda: position(holding, "SPY")["protection"]["state"] == "protected")
    protection = position(holding, "SPY")["protection"]
    assert protection == {"state": "protected", "stop_price": 25, "order_id": stop.data["broker_order_id"]}
    assert holding.ask("DELETE", f"/broker-order/{stop.data['id']}").status in (200, 202)
