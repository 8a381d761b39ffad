"""Snapshots over the server: warm-up, formats, lines, troubles."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from ibkit.sim.market.snapshot import FIELDS
from simulators import Caller, OAuth1Caller, make_simulator

pytestmark = pytest.mark.requirement("TST-01", "TRD-07")

API = "/v1/api"
SPY = 756733
FIELD_LIST = "31,84,85,86,88,87,6509,7308,7633,7638"
METADATA = {"conid", "conidEx", "server_id", "_updated", "6119", "6509"}


class Gateway(Caller):
    def get(self, path: str, status: int = 200, wait: float = 0.25) -> Any:
        answer = self("GET", API + path, wait=wait)
        assert answer.status == status, answer.body
        return json.loads(answer.body)

    def snapshot(self, *conids: object, fields: str = FIELD_LIST, wait: float = 0.5) -> list[dict[str, Any]]:
        listed = ",".join(str(conid) for conid in conids)
        return self.get(f"/iserver/marketdata/snapshot?conids={listed}&fields={fields}", wait=wait)

    def warm(self, *conids: object, fields: str = FIELD_LIST) -> list[dict[str, Any]]:
        """After everything has come."""
        self.snapshot(*conids, fields=fields)
        return self.snapshot(*conids, fields=fields, wait=5)

    def put(self) -> int:
        """Today's 629 P, searched for."""
        self.get("/iserver/secdef/search?symbol=SPY")
        return self.get(f"/iserver/secdef/info?conid={SPY}&sectype=OPT&month=NOV26&strike=629&right=P")[0]["conid"]


@pytest.fixture
def gateway() -> Gateway:
    return Gateway(make_simulator())


# --- warm-up ----------------------------------------------------------------------------------------------------


def test_a_quote_comes_field_by_field(gateway):
    (first,) = gateway.snapshot(SPY)
    assert first == {"conidEx": "756733", "conid": 756733}
    (second,) = gateway.snapshot(SPY)
    assert second.keys() - METADATA == {"31", "84"}
    assert list(second)[:6] == ["conidEx", "conid", "server_id", "_updated", "6119", "6509"]
    (third,) = gateway.snapshot(SPY)
    assert {"31", "84", "85", "86", "88", "87", "87_raw"} == third.keys() - METADATA


def test_greeks_come_later(gateway):
    conid = gateway.put()
    gateway.snapshot(conid)
    (early,) = gateway.snapshot(conid, wait=1.5)
    assert "86" in early
    assert "7308" not in early
    (late,) = gateway.snapshot(conid, wait=2)
    assert {"7308", "7633", "7638"} <= late.keys()


def test_a_new_field_warms_up_by_itself(gateway):
    gateway.warm(SPY, fields="31")
    (row,) = gateway.snapshot(SPY, fields="31,86")
    assert "31" in row
    assert "86" not in row
    assert "86" in gateway.snapshot(SPY, fields="31,86", wait=1)[0]


def test_later_calls_may_leave_the_fields_out(gateway):
    gateway.warm(SPY, fields="31,86")
    (row,) = gateway.get(f"/iserver/marketdata/snapshot?conids={SPY}")
    assert row.keys() - METADATA == {"31", "86"}


def test_without_fields_ever_given_nothing_comes(gateway):
    for _ in range(4):
        (row,) = gateway.get(f"/iserver/marketdata/snapshot?conids={SPY}", wait=1)
    assert row == {"conidEx": "756733", "conid": 756733}


def test_a_client_that_polls_as_required_has_bid_and_ask_within_six_seconds(gateway):
    conid = gateway.put()
    for _ in range(12):
        (row,) = gateway.snapshot(conid, fields="31,84,85,86,88,6509")
        if "84" in row and "86" in row:
            break
    assert Decimal(row["84"]) < Decimal(row["86"])


def test_without_waits_everything_comes_with_the_second_call_even_if_no_time_passes():
    gateway = Gateway(make_simulator(snapshot_first_s=0, snapshot_full_s=0, snapshot_computed_s=0))
    conid = gateway.put()
    (first,) = gateway.snapshot(conid, wait=0)
    assert first == {"conidEx": str(conid), "conid": conid}
    (second,) = gateway.snapshot(conid, wait=0)
    assert {"31", "84", "86", "7308", "7638"} <= second.keys()


# --- what stands in it ------------------------------------------------------------------------------------------


def test_values_are_those_of_the_market(gateway):
    simulator = gateway.simulator
    (row,) = gateway.warm(SPY)
    quote = simulator.world.market.quote(SPY, simulator.clock.now())
    assert (row["31"], row["84"], row["86"]) == (f"{quote.last}", f"{quote.bid}", f"{quote.ask}")
    assert row["88"].replace(",", "") == str(quote.bid_size)
    assert row["85"].replace(",", "") == str(quote.ask_size)
    assert row["6509"] == "RpB"
    assert row["_updated"] == int(simulator.clock.now().timestamp()) * 1000
    assert row["server_id"] == row["6119"]


def test_sizes_are_not_prices_and_have_commas(gateway):
    conid = gateway.put()
    market = gateway.simulator.world.market
    market.set_quote(conid, Decimal("0.62"), Decimal("0.63"), at=gateway.simulator.clock.now())
    (row,) = gateway.warm(conid)
    assert (row["84"], row["86"], row["88"], row["85"]) == ("0.62", "0.63", "40", "25")
    market.set_quote(conid, Decimal("0.62"), Decimal("0.63"), 1300, 25, at=gateway.simulator.clock.now())
    assert gateway.snapshot(conid)[0]["88"] == "1,300"


def test_greeks_are_texts_with_three_decimals_and_volatility_has_its_sign(gateway):
    (row,) = gateway.warm(gateway.put(), fields="7308,7309,7310,7311,7633,7638")
    assert -1 < float(row["7308"]) < 0
    assert float(row["7310"]) < 0
    assert all(len(row[name].split(".")[1]) == 3 for name in ("7308", "7309", "7310", "7311"))
    assert row["7633"].endswith("%")


def test_formats_that_are_open_questions_can_be_switched():
    gateway = Gateway(make_simulator(iv_percent_sign=False, abbreviated_interest=False, change_percent_number=False))
    (row,) = gateway.warm(gateway.put(), fields="7633,7638,83")
    assert float(row["7633"]) > 5
    assert row["7638"].isdigit()
    assert row["83"].endswith("%")


def test_volume_is_abbreviated_with_its_numeric_twin(gateway):
    (row,) = gateway.warm(SPY, fields="87,7762,82,83,7741,31")
    assert row["87"].endswith("M")
    assert row["87_raw"] == float(row["7762"])
    change = Decimal(row["31"]) - Decimal(row["7741"])
    assert Decimal(row["82"]) == change
    assert isinstance(row["83"], float)


def test_the_index_has_a_last_price_only(gateway):
    (row,) = gateway.warm(416904, fields="31,84,85,86,88,7635")
    assert row.keys() - METADATA == {"31", "7635"}


def test_before_the_opening_the_last_price_is_marked_as_a_close():
    gateway = Gateway(make_simulator(start=datetime(2026, 11, 20, 13, 0, tzinfo=UTC)))
    (row,) = gateway.warm(SPY)
    assert row["31"].startswith("C")
    assert row["6509"] == "ZB"
    assert "87" not in row


def test_in_the_evening_the_quote_is_frozen_with_the_days_close():
    gateway = Gateway(make_simulator(start=datetime(2026, 11, 20, 22, 0, tzinfo=UTC)))
    (row,) = gateway.warm(SPY, fields="31,7296")
    assert row["6509"] == "ZB"
    assert row["31"] == row["7296"]


def test_a_halted_stock_is_marked(gateway):
    gateway.simulator.world.market.halt("SPY", gateway.simulator.clock.now())
    (row,) = gateway.warm(SPY)
    assert row["31"].startswith("H")
    assert "84" not in row
    assert "86" not in row


def test_every_field_of_the_table_can_be_asked_for(gateway):
    conid = gateway.put()
    names = list(FIELDS)
    for start in range(0, len(names), 50):
        rows = gateway.warm(SPY, 416904, conid, fields=",".join(names[start : start + 50]))
        for row in rows:
            assert None not in row.values()
            assert len(row) > 10


def test_availability_can_be_asked_for_alone(gateway):
    (row,) = gateway.warm(SPY, fields="6509")
    assert row.keys() == METADATA


def test_unknown_fields_never_come(gateway):
    (row,) = gateway.warm(SPY, fields="31,99999")
    assert row.keys() - METADATA == {"31"}


# --- who gets a line --------------------------------------------------------------------------------------------


def test_a_derivative_stays_dark_until_its_underlying_was_searched(gateway):
    from datetime import date

    conid = gateway.simulator.world.instruments.option("SPY", date(2026, 11, 20), Decimal(629), "P").conid
    assert gateway.warm(conid) == [{"conidEx": str(conid), "conid": conid}]
    gateway.put()
    assert "84" in gateway.warm(conid)[0]


def test_the_hundred_and_first_line_stays_dark(gateway):
    gateway.put()
    chain = gateway.simulator.world.instruments.chain("SPY", gateway.simulator.clock.now().date(), "DEC26")
    conids = [option.conid for option in chain][:101]
    gateway.snapshot(*conids[:100], fields="31")
    gateway.snapshot(conids[100], fields="31")
    assert gateway.snapshot(conids[100], fields="31", wait=5) == [
        {"conidEx": str(conids[100]), "conid": conids[100]},
    ]
    assert gateway.get("/iserver/marketdata/unsubscribeall") == {"unsubscribed": True}
    assert "31" in gateway.warm(conids[100], fields="31")[0]


def test_unsubscribing_gives_the_line_back_and_starts_anew(gateway):
    gateway.warm(SPY)
    stop = f"{API}/iserver/marketdata/unsubscribe"
    assert json.loads(gateway("POST", stop, {"conid": SPY}).body) == {"success": True}
    again = gateway("POST", stop, {"conid": SPY})
    assert (again.status, json.loads(again.body)) == (500, {"error": "unknown"})
    assert gateway.snapshot(SPY) == [{"conidEx": "756733", "conid": 756733}]


def test_snapshots_need_accounts_to_have_been_asked_for():
    simulator = make_simulator()
    caller = OAuth1Caller(simulator).sign_in(prime=False)
    answer = caller("GET", f"{API}/iserver/marketdata/snapshot?conids=756733&fields=31")
    assert answer.status == 500
    assert "query /accounts first" in json.loads(answer.body)["error"]


def test_unknown_conids_are_identity_only_in_combos_too(gateway):
    rows = gateway.warm(0, 5, "756733@ARCA", "0;;;756733/1,5/-1")
    assert rows[0] == {"conidEx": "0", "conid": 0}
    assert rows[1] == {"conidEx": "5", "conid": 5}
    assert (rows[2]["conidEx"], rows[2]["conid"]) == ("756733@ARCA", 756733)
    assert "31" in rows[2]
    assert rows[3] == {"conidEx": "0;;;756733/1,5/-1", "conid": 0}


@pytest.mark.parametrize("query", ["", "conids=", "conids=abc", "conids=" + ",".join(str(n) for n in range(101))])
def test_malformed_requests_are_a_400(gateway, query):
    gateway.get(f"/iserver/marketdata/snapshot?{query}", 400)


# --- the market in the test's hand ------------------------------------------------------------------------------


def test_control_sets_quotes_prices_and_halts(gateway):
    conid, control = gateway.put(), gateway.simulator.control
    gateway.warm(conid, SPY)
    control("POST", "market", {"conid": conid, "bid": 0.62, "ask": 0.63})
    row, _ = gateway.snapshot(conid, SPY)
    assert (row["84"], row["86"]) == ("0.62", "0.63")
    control("POST", "market", {"conid": conid, "bid": None, "ask": 0.01})
    assert "84" not in gateway.snapshot(conid, SPY)[0]
    control("POST", "market", {"conid": conid, "release": True})
    assert Decimal(gateway.snapshot(conid, SPY)[0]["84"]) > 1
    control("POST", "market", {"symbol": "SPY", "price": 700})
    put, stock = gateway.snapshot(conid, SPY)
    assert abs(Decimal(stock["31"]) - 700) < 1
    assert "84" not in put
    control("POST", "market", {"symbol": "SPY", "halted": True})
    assert gateway.snapshot(SPY)[0]["31"].startswith("H")
    control("POST", "market", {"symbol": "SPY", "halted": False})
    assert "84" in gateway.snapshot(SPY)[0]


@pytest.mark.requirement("OPT-03")
def test_after_a_jump_to_700_strikes_around_it_are_listed_and_quoted(gateway):
    gateway.put()
    gateway.simulator.control("POST", "market", {"symbol": "SPY", "price": 700})
    conids = []
    for strike, right in ((695, "P"), (705, "C")):
        query = f"conid={SPY}&sectype=OPT&month=NOV26&strike={strike}&right={right}"
        conids.append(gateway.get(f"/iserver/secdef/info?{query}")[0]["conid"])
    for row in gateway.warm(*conids):
        assert Decimal(row["84"]) >= Decimal("0.05")


# --- troubles ---------------------------------------------------------------------------------------------------


def test_no_market_data_leaves_rows_empty():
    gateway = Gateway(make_simulator("no-market-data"))
    assert gateway.warm(SPY) == [{"conidEx": "756733", "conid": 756733}]


@pytest.mark.requirement("TRD-08")
@pytest.mark.parametrize(("scenario", "letter"), [("md-not-subscribed", "N"), ("md-no-ack", "O")])
def test_missing_permissions_say_so_and_show_no_price(scenario, letter):
    gateway = Gateway(make_simulator(scenario))
    (row,) = gateway.warm(SPY)
    assert row["6509"].startswith(letter)
    assert row.keys() == METADATA


@pytest.mark.requirement("TRD-08")
def test_delayed_quotes_are_a_quarter_of_an_hour_old():
    gateway = Gateway(make_simulator("delayed-quotes"))
    (row,) = gateway.warm(SPY)
    assert row["6509"].startswith("D")
    simulator = gateway.simulator
    assert int(simulator.clock.now().timestamp() * 1000) - row["_updated"] >= 900_000


def test_an_empty_first_snapshot_comes_good_within_six_seconds():
    gateway = Gateway(make_simulator("empty-first-snapshot"))
    seen = [gateway.snapshot(SPY, fields="31,84,86")[0] for _ in range(10)]
    empty = [row.keys() <= {"conid", "conidEx"} for row in seen]
    assert empty[:4] == [True, True, True, False]
    assert {"31", "84", "86"} <= seen[-1].keys()


def test_the_same_requests_give_the_same_bytes():
    def bodies() -> list[bytes]:
        gateway = Gateway(make_simulator())
        conid = gateway.put()
        path = f"{API}/iserver/marketdata/snapshot?conids={SPY},{conid}&fields={FIELD_LIST}"
        return [gateway("GET", path, wait=0.5).body for _ in range(8)]

    assert bodies() == bodies()
