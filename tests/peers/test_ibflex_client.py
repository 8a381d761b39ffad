"""ibflex 1.1, client and reader, against our Flex Web Service: unmodified, over TLS, as its users call it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

from flex_oracle import compared
from running import RunningSimulator

theirs = pytest.importorskip("ibflex.client")
reader = pytest.importorskip("ibflex.parser")
pytestmark = [pytest.mark.peers, pytest.mark.requirement("FUT-08", "TST-01")]


UNKNOWN = {
    "Order has no attribute 'netCashInBase'; skipping",
    "SymbolSummary has no attribute 'fxPnl'; skipping",
}
"""Attributes of ours that it has for trades only."""


@pytest.fixture
def flex(world: RunningSimulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningSimulator]:
    """A world in which its client need not wait, at the address where it asks first."""
    world.reset()
    world.control("POST", "quirks", {"flex_polls": 0, "flex_pacing": False, "flex_data": "now"})
    path = world.control("GET", "flex")["path"]
    monkeypatch.setattr(theirs, "REQUEST_URL", f"{world.cloud}{path}/SendRequest")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(world.ca))
    yield world
    world.reset()


def token(world: RunningSimulator, username: str = "simpaper1") -> str:
    return next(row["token"] for row in world.control("GET", "flex")["tokens"] if row["username"] == username)


def query(world: RunningSimulator, kind: str) -> str:
    rows = world.control("GET", "flex")["queries"]
    return next(row["id"] for row in rows if row["username"] == "simpaper1" and row["type"] == kind)


def test_their_client_downloads_what_their_reader_reads(flex: RunningSimulator) -> None:
    account = "DU1000001"
    world = flex.control("GET", "world")
    assert account in world["books"]
    flex.control("POST", "events", {"event": "deposit", "account": account, "amount": "2500.00"})
    flex.control("POST", "order", {"account": account, "ticket": _buy(10)})
    body = theirs.download(token(flex), query(flex, "AF"))
    with warnings.catch_warnings(record=True) as unknown:
        warnings.simplefilter("always")
        parsed = reader.parse(body.replace(b"Deposits/Withdrawals", b"Deposits &amp; Withdrawals"))
    assert {str(each.message) for each in unknown} == UNKNOWN
    (statement,) = parsed.FlexStatements
    assert statement.accountId == account
    assert [row.quantity for row in statement.Trades if row.levelOfDetail == "EXECUTION"] == [10]
    assert [row.amount for row in statement.CashTransactions if row.levelOfDetail == "DETAIL"] == [2500]
    assert compared(body) > 100
    assert "…" in {entry["query"].get("t") for entry in flex.requests()}


def test_their_client_is_told_the_codes_that_it_knows(flex: RunningSimulator) -> None:
    for q, t, code in (("1", token(flex), "1014"), (query(flex, "AF"), "123", "1015")):
        with pytest.raises(theirs.ResponseCodeError) as caught:
            theirs.download(t, q)
        assert caught.value.code == code


def _buy(shares: int) -> dict[str, object]:
    return {"conid": 756733, "side": "BUY", "quantity": shares, "orderType": "LMT", "price": 9000, "tif": "DAY"}
