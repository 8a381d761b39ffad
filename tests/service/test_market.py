"""Contracts by their symbol, and the options of a day with their greeks, on the simulated broker."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import pytest

from ibkit.service.shared_reads import SharedReads
from service_desks import Served

TODAY = date(2026, 11, 20)


def calls(service: Served) -> Counter[str]:
    """What the simulated broker was asked, by path."""
    assert service.world is not None
    return Counter(each.path.rpartition("/v1/api")[2].partition("?")[0] for each in service.world.requests)


def test_a_symbol_is_found_with_what_is_traded_of_it(mock_service: Served) -> None:
    answer = mock_service.ask("GET", "/api/contracts?q=spy")
    assert answer.status == 200, answer.raw
    first = answer.data[0]
    assert set(first) == {"conid", "symbol", "name", "exchange", "currency", "kinds", "option_months"}
    assert (first["symbol"], first["exchange"], first["currency"]) == ("SPY", "ARCA", "USD")
    assert {"STK", "OPT"} <= set(first["kinds"])
    assert first["option_months"][0] == "NOV26"
    before = calls(mock_service)
    assert mock_service.ask("GET", "/api/contracts?q=SPY").raw == answer.raw
    assert calls(mock_service) == before, "what is kept for a day was asked again"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 422, "E-VALIDATION"),
        ("?q=", 422, "E-VALIDATION"),
        ("?q=%20", 422, "E-VALIDATION"),
        ("?q=ABCDEFGHIJKLM", 422, "E-VALIDATION"),
        ("?q=S%3BPY", 422, "E-VALIDATION"),
        ("?q=SPY&name=true", 422, "E-VALIDATION"),
        ("?q=ZZZZQ", 404, "E-CONTRACT"),
        ("?q=SPY&connection_id=another", 404, "E-NOT-FOUND"),
    ],
)
def test_a_search_that_finds_nothing_says_why(mock_service: Served, query: str, status: int, code: str) -> None:
    answer = mock_service.ask("GET", f"/api/contracts{query}")
    assert (answer.status, answer.code) == (status, code), answer.raw


def test_the_chain_of_a_day_has_both_sides_of_each_strike_with_greeks(mock_service: Served) -> None:
    answer = mock_service.ask("GET", "/api/options/chain?symbol=SPY&expiry=2026-11-30&strikes=4")
    assert answer.status == 200, answer.raw
    told = answer.data
    assert (told["symbol"], told["expiry"], told["broker"]) == ("SPY", "2026-11-30", "mock")
    assert told["expiry"] in told["expiries"]
    assert told["expiries"] == sorted(told["expiries"])
    assert told["expiries"][0] >= TODAY.isoformat()
    under = told["underlying"]
    assert under["price"] > 0
    assert under["age_s"] >= 0
    strikes = [row["strike"] for row in told["strikes"]]
    assert strikes == sorted(strikes)
    assert 1 <= len(strikes) <= 4
    assert all(abs(strike - under["price"]) < 10 for strike in strikes)
    for row in told["strikes"]:
        put, call = row["put"], row["call"]
        assert put["conid"] != call["conid"]
        assert -1 < put["delta"] < 0 < call["delta"] < 1
        assert put["gamma"] > 0 > put["theta"]
        assert put["vega"] > 0
        assert 0 < put["implied_volatility"] < 2
        assert put["open_interest"] is None or put["open_interest"] >= 0
        assert 0 < put["bid"] <= put["ask"]
        assert put["as_of"]


def test_without_an_expiry_it_is_the_next_one_and_looking_again_at_once_asks_nothing(mock_service: Served) -> None:
    first = mock_service.ask("GET", "/api/options/chain?symbol=QQQ&strikes=2")
    assert first.status == 200, first.raw
    assert first.data["expiry"] == first.data["expiries"][0]
    before = calls(mock_service)
    again = mock_service.ask("GET", "/api/options/chain?symbol=QQQ&strikes=2")
    after = calls(mock_service)
    assert again.status == 200
    looked_up = {path for path in after - before if "secdef" in path}
    assert looked_up == set(), "what is kept for a day was asked again"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 422, "E-VALIDATION"),
        ("?symbol=SPY&expiry=soon", 422, "E-VALIDATION"),
        ("?symbol=SPY&strikes=0", 422, "E-VALIDATION"),
        ("?symbol=SPY&strikes=41", 422, "E-VALIDATION"),
        ("?symbol=ZZZZQ", 404, "E-CONTRACT"),
        ("?symbol=SPY&expiry=2026-11-22", 422, "E-EXPIRY"),
        ("?symbol=SPY&expiry=2020-01-17", 422, "E-EXPIRY"),
        ("?symbol=SPY&broker=nobody", 422, "E-BROKER"),
    ],
)
def test_a_chain_that_is_not_there_says_why(mock_service: Served, query: str, status: int, code: str) -> None:
    answer = mock_service.ask("GET", f"/api/options/chain{query}")
    assert (answer.status, answer.code) == (status, code), answer.raw


@pytest.mark.requirement("UI-04")
def test_all_who_look_at_the_options_of_a_day_share_one_reading_of_their_login(
    mock_service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: list[tuple[object, object]] = []
    of = SharedReads.of

    async def noted(self: SharedReads[Any], whose: object, what: Any, *given: Any) -> Any:
        shared.append((whose, what))
        return await of(self, whose, what, *given)

    monkeypatch.setattr(SharedReads, "of", noted)
    for token in ("ada", "bob"):
        answer = mock_service.ask("GET", "/api/options/chain?symbol=SPY&strikes=5", token=token)
        assert answer.status == 200, answer.raw
    assert len(shared) == 2
    assert shared[0] == shared[1]
    assert shared[0][1] == ("SPY", None, 5)
