"""Contract look-ups over the server, as a client sees them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from simulators import Caller, OAuth1Caller, make_simulator

pytestmark = pytest.mark.requirement("TST-01", "TRD-05", "TRD-06")

API = "/v1/api"
NO_CONTRACTS = {"error": "No Contracts retrieved "}


class Gateway(Caller):
    """GET and POST on the gateway face, JSON out."""

    def get(self, path: str, status: int = 200) -> Any:
        return self._read(self("GET", API + path), status)

    def post(self, path: str, body: object, status: int = 200) -> Any:
        return self._read(self("POST", API + path, body), status)

    def _read(self, answer: Any, status: int) -> Any:
        assert answer.status == status, answer.body
        return json.loads(answer.body)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway(make_simulator())


def spy_puts(gateway: Gateway, **query: str) -> list[dict[str, Any]]:
    """Info rows for 629 P of November after a search."""
    gateway.get("/iserver/secdef/search?symbol=SPY")
    asked = {"conid": "756733", "sectype": "OPT", "month": "NOV26", "strike": "629", "right": "P"} | query
    return gateway.get("/iserver/secdef/info?" + "&".join(f"{name}={value}" for name, value in asked.items()))


# --- search -----------------------------------------------------------------------------------------------------


def test_search_finds_the_american_listing_first_and_its_twin_after(gateway):
    arca, mexi = gateway.get("/iserver/secdef/search?symbol=SPY")
    assert (arca["conid"], arca["description"]) == ("756733", "ARCA")
    assert (mexi["conid"], mexi["sections"]) == ("38709152", [{"secType": "STK", "exchange": "MEXI;"}])
    options = next(section for section in arca["sections"] if section["secType"] == "OPT")
    assert options["months"].startswith("NOV26;DEC26;JAN27")


def test_get_and_post_search_alike(gateway):
    by_get = gateway.get("/iserver/secdef/search?symbol=aapl")
    assert gateway.post("/iserver/secdef/search", {"symbol": "AAPL"}) == by_get
    assert [row["description"] for row in by_get] == ["NASDAQ", "MEXI", "EBS", "TSE"]


def test_the_index_is_restricted_and_has_its_own_sections(gateway):
    (row,) = gateway.get("/iserver/secdef/search?symbol=SPX")
    assert (row["conid"], row["restricted"], row["companyHeader"]) == ("416904", "IND", "S&P 500 Stock Index - CBOE")
    assert [section["secType"] for section in row["sections"]] == ["IND", "OPT"]
    assert gateway.get("/iserver/secdef/search?symbol=SPX&secType=IND") == [row]


def test_a_symbol_without_an_american_listing_is_ambiguous(gateway):
    assert [row["description"] for row in gateway.get("/iserver/secdef/search?symbol=TWIN")] == ["LSE", "IBIS"]


def test_nothing_found_is_a_200_with_an_error_in_it(gateway):
    assert gateway.get("/iserver/secdef/search?symbol=NOPE") == {"error": "No symbol found"}


def test_a_search_needs_a_symbol(gateway):
    gateway.get("/iserver/secdef/search", 400)


def test_a_search_by_company_name_finds_less_and_spoils_the_strikes(gateway):
    assert spy_puts(gateway)
    rows = gateway.get("/iserver/secdef/search?symbol=SPDR&name=true")
    assert rows[0]["symbol"] == "SPY"
    assert {"secType": "OPT"} in rows[0]["sections"]
    assert gateway.get("/iserver/secdef/strikes?conid=756733&sectype=OPT&month=NOV26") == {"call": [], "put": []}


# --- strikes and info -------------------------------------------------------------------------------------------


def test_strikes_and_info_need_a_search_in_the_session(gateway):
    assert gateway.get("/iserver/secdef/strikes?conid=756733&sectype=OPT&month=NOV26") == {"call": [], "put": []}
    query = "conid=756733&sectype=OPT&month=NOV26&strike=629&right=P"
    assert gateway.get(f"/iserver/secdef/info?{query}", 500) == NO_CONTRACTS
    # A search for another symbol does not help.
    gateway.get("/iserver/secdef/search?symbol=QQQ")
    assert gateway.get(f"/iserver/secdef/info?{query}", 500) == NO_CONTRACTS
    gateway.get("/iserver/secdef/search?symbol=SPY")
    assert gateway.get(f"/iserver/secdef/info?{query}")


def test_strict_priming_refuses_strikes():
    gateway = Gateway(make_simulator(strict_priming=True))
    assert gateway.get("/iserver/secdef/strikes?conid=756733&sectype=OPT&month=NOV26", 500) == NO_CONTRACTS


def test_a_new_brokerage_session_has_to_search_again():
    simulator = make_simulator()
    caller = OAuth1Caller(simulator).sign_in()
    caller("GET", f"{API}/iserver/secdef/search?symbol=SPY")
    strikes = f"{API}/iserver/secdef/strikes?conid=756733&sectype=OPT&month=NOV26"
    assert json.loads(caller("GET", strikes).body)["call"]
    caller("POST", f"{API}/logout")
    again = OAuth1Caller(simulator).sign_in()
    assert json.loads(again("GET", strikes).body) == {"call": [], "put": []}


def test_strikes_are_ascending_floats_alike_for_both_rights(gateway):
    gateway.get("/iserver/secdef/search?symbol=SPY")
    found = gateway.get("/iserver/secdef/strikes?conid=756733&sectype=OPT&month=NOV26")
    assert found["call"] == found["put"] == sorted(found["call"])
    assert all(isinstance(strike, float) for strike in found["call"])
    assert {629.0, 631.0, 695.0, 705.0} <= set(found["call"])


def test_strikes_take_other_spellings(gateway):
    gateway.get("/iserver/secdef/search?symbol=SPX")
    usual = gateway.get("/iserver/secdef/strikes?conid=416904&sectype=OPT&month=NOV26")
    assert usual["call"]
    assert gateway.get("/iserver/secdef/strikes?conid=416904&secType=OPT&month=202611&exchange=CBOE") == usual


@pytest.mark.parametrize("query", ["month=999999", "month=NOV20", "month=NOV26&exchange=NYMEX"])
def test_a_wrong_month_or_exchange_has_no_strikes(gateway, query):
    gateway.get("/iserver/secdef/search?symbol=SPY")
    assert gateway.get(f"/iserver/secdef/strikes?conid=756733&sectype=OPT&{query}") == {"call": [], "put": []}


@pytest.mark.parametrize("query", ["conid=756733&sectype=OPT", "conid=x&sectype=OPT&month=NOV26", "month=NOV26"])
def test_strikes_need_their_arguments(gateway, query):
    gateway.get(f"/iserver/secdef/strikes?{query}", 400)


def test_info_has_a_row_for_each_expiry_of_the_month(gateway):
    rows = spy_puts(gateway)
    days = [row["maturityDate"] for row in rows]
    assert days == ["20261120", "20261123", "20261124", "20261125", "20261127", "20261130"]
    assert {row["tradingClass"] for row in rows} == {"SPY"}
    first = rows[0]
    assert isinstance(first["conid"], int)
    assert (first["desc2"], first["strike"], first["multiplier"]) == ("NOV 20 '26 629 Put", 629.0, "100")
    assert first["validExchanges"].startswith("SMART,AMEX,CBOE")


def test_info_without_right_has_both(gateway):
    gateway.get("/iserver/secdef/search?symbol=SPY")
    rows = gateway.get("/iserver/secdef/info?conid=756733&sectype=OPT&month=NOV26&strike=629")
    assert {row["right"] for row in rows} == {"C", "P"}


def test_an_index_strike_can_have_two_classes_on_one_day():
    gateway = Gateway(make_simulator(start=datetime(2026, 11, 16, 15, 30, tzinfo=UTC)))
    gateway.get("/iserver/secdef/search?symbol=SPX")
    rows = gateway.get("/iserver/secdef/info?conid=416904&sectype=OPT&month=NOV26&strike=6300&right=C&exchange=CBOE")
    thursday = {row["tradingClass"]: row["desc2"] for row in rows if row["maturityDate"] == "20261119"}
    assert thursday == {"SPX": "NOV 19 '26 6300 Call (AM)", "SPXW": "NOV 19 '26 6300 Call"}
    assert {row["exchange"] for row in rows} == {"CBOE"}


@pytest.mark.parametrize("strike", ["629.3", "10000"])
def test_an_unlisted_strike_retrieves_no_contracts(gateway, strike):
    gateway.get("/iserver/secdef/search?symbol=SPY")
    query = f"conid=756733&sectype=OPT&month=NOV26&strike={strike}"
    assert gateway.get(f"/iserver/secdef/info?{query}", 500) == NO_CONTRACTS


@pytest.mark.parametrize("month", ["OCT26", "20261120", "202611", ""])
def test_a_wrong_or_past_month_retrieves_no_contracts(gateway, month):
    gateway.get("/iserver/secdef/search?symbol=SPY")
    query = f"conid=756733&sectype=OPT&month={month}&strike=629"
    assert gateway.get(f"/iserver/secdef/info?{query}", 500) == NO_CONTRACTS


@pytest.mark.parametrize("query", ["", "&strike=629,630", "&strike=NaN", "&strike=629&right=X"])
def test_info_needs_one_strike(gateway, query):
    gateway.get("/iserver/secdef/search?symbol=SPY")
    gateway.get(f"/iserver/secdef/info?conid=756733&sectype=OPT&month=NOV26{query}", 400)


def test_info_of_a_final_conid_alone(gateway):
    (row,) = gateway.get("/iserver/secdef/info?conid=265598")
    assert (row["ticker"], row["listingExchange"], row["right"], row["strike"]) == ("AAPL", "NASDAQ", "?", 0.0)


# --- one contract -----------------------------------------------------------------------------------------------


def test_contract_info_of_an_option(gateway):
    conid = spy_puts(gateway)[0]["conid"]
    found = gateway.get(f"/iserver/contract/{conid}/info")
    assert found["local_symbol"] == "SPY   261120P00629000"
    assert (found["cfi_code"], found["right"], found["strike"]) == ("OPXXXS", "PUT", "629")
    assert (found["contract_month"], found["expiry_full"], found["multiplier"]) == ("202611", "20261120", "100")
    assert (found["underlying_con_id"], found["r_t_h"], found["text"]) == (756733, False, "NOV 20 '26 629 Put")
    assert "industry" not in found


def test_info_and_rules_are_both(gateway):
    conid = spy_puts(gateway)[0]["conid"]
    found = gateway.get(f"/iserver/contract/{conid}/info-and-rules?isBuy=true")
    rules = found.pop("rules")
    assert found == gateway.get(f"/iserver/contract/{conid}/info")
    assert rules["canTradeAcctIds"] == ["DU1000001"]
    assert {"limit", "market", "stop", "stop_limit"} <= set(rules["orderTypes"])


def test_rules_tell_the_price_grid(gateway):
    gateway.get("/iserver/secdef/search?symbol=AAPL")
    query = "conid=265598&sectype=OPT&month=DEC26&strike=270&right=C"
    conid = gateway.get(f"/iserver/secdef/info?{query}")[-1]["conid"]
    rules = gateway.post("/iserver/contract/rules", {"conid": conid, "exchange": "SMART", "isBuy": True})
    assert rules["incrementRules"] == [{"lowerEdge": 0.0, "increment": 0.01}, {"lowerEdge": 3.0, "increment": 0.05}]
    assert rules["increment"] == (0.05 if rules["limitPrice"] >= 3 else 0.01)
    assert rules["sizeIncrement"] == 1


def test_rules_of_a_stock_carry_the_wire_spelling(gateway):
    rules = gateway.post("/iserver/contract/rules", {"conid": 756733, "exchange": "SMART", "isBuy": True})
    assert "stopprice" in rules
    assert "stopPrice" not in rules
    assert rules["sizeIncrement"] == 40
    assert rules["orderDefaults"] == {"LMT": {"LP": f"{rules['limitPrice']:.2f}"}}


@pytest.mark.parametrize("path", ["/iserver/contract/1/info", "/iserver/contract/0/info-and-rules"])
def test_an_unknown_contract_is_a_400(gateway, path):
    gateway.get(path, 400)


def test_rules_of_an_unknown_contract_are_a_400(gateway):
    gateway.post("/iserver/contract/rules", {"conid": 0, "isBuy": True}, 400)
    gateway.post("/iserver/contract/rules", [], 400)


def test_algorithms_show_parameters_when_asked(gateway):
    bare = gateway.get("/iserver/contract/265598/algos")["algos"]
    assert len(bare) == 10
    assert all(algo["parameters"] == [] and "description" not in algo for algo in bare)
    adaptive, vwap = gateway.get("/iserver/contract/265598/algos?algos=Adaptive;Vwap&addDescription=1&addParams=1")[
        "algos"
    ]
    assert adaptive["parameters"][0]["required"] == "true"
    assert vwap["parameters"][0]["maxValue"] == 50
    assert vwap["description"].startswith("<p>")
    gateway.get("/iserver/contract/1/algos", 503)


# --- reference data ---------------------------------------------------------------------------------------------


def test_reference_data_needs_no_brokerage_session():
    caller = OAuth1Caller(make_simulator()).sign_in(init=False)
    assert caller("GET", f"{API}/trsrv/secdef?conids=756733").status == 200
    assert caller("GET", f"{API}/trsrv/stocks?symbols=SPY").status == 200
    assert caller("GET", f"{API}/contract/trading-schedule?conid=756733").status == 200
    assert caller("GET", f"{API}/iserver/secdef/search?symbol=SPY").status >= 400


def test_secdef_leaves_out_what_it_does_not_know(gateway):
    option = spy_puts(gateway)[0]["conid"]
    rows = gateway.get(f"/trsrv/secdef?conids=756733,5,{option}")["secdef"]
    assert [row["conid"] for row in rows] == [756733, option]
    assert (rows[1]["assetClass"], rows[1]["putOrCall"], rows[1]["strike"]) == ("OPT", "P", "629")
    assert (rows[1]["fullName"], rows[1]["multiplier"], rows[1]["undConid"]) == ("SPY Nov20'26 629 Put", 100.0, 756733)
    assert gateway.post("/trsrv/secdef", {"conids": [756733, 5, option]})["secdef"] == rows
    assert gateway.get("/trsrv/secdef?conids=5") == {"secdef": []}


def test_secdef_takes_two_hundred_conids(gateway):
    gateway.get("/trsrv/secdef", 400)
    gateway.get("/trsrv/secdef?conids=" + ",".join(["756733"] * 201), 400)


def test_stocks_group_their_listings_by_issuer(gateway):
    found = gateway.get("/trsrv/stocks?symbols=AAPL,NOPE")
    assert list(found) == ["AAPL"]
    apple, cdr = found["AAPL"]
    assert apple["contracts"][0] == {"conid": 265598, "exchange": "NASDAQ", "isUS": True}
    assert cdr["name"] == "APPLE INC-CDR"
    gateway.get("/trsrv/stocks", 400)


def test_all_conids_of_an_exchange_ascend(gateway):
    rows = gateway.get("/trsrv/all-conids?exchange=NASDAQ")
    assert [row["conid"] for row in rows] == sorted(row["conid"] for row in rows)
    assert {row["exchange"] for row in rows} == {"NMS"}


def test_there_are_no_futures(gateway):
    assert gateway.get("/trsrv/futures?symbols=ES") == {}


def test_the_trading_schedule_leaves_out_holidays_and_ends_half_days_early(gateway):
    found = gateway.get("/contract/trading-schedule?conid=756733")
    assert found["exchange_time_zone"] == "US/Eastern"
    assert list(found["schedules"]) == ["20261120", "20261123", "20261124", "20261125", "20261127", "20261130"]
    (liquid,) = found["schedules"]["20261127"]["liquid_hours"]
    assert liquid["closing"] - liquid["opening"] == 3.5 * 3600
    assert gateway.get("/contract/trading-schedule?conid=416904")["exchange_time_zone"] == "US/Central"
    gateway.get("/contract/trading-schedule?conid=0", 400)


def test_the_venue_schedule_has_weekdays_and_exceptions(gateway):
    (venue,) = gateway.get("/trsrv/secdef/schedule?assetClass=STK&symbol=SPY&exchange=ARCA")
    by_date = {row["tradingScheduleDate"]: row for row in venue["schedules"]}
    assert by_date["20000103"]["sessions"] == [{"openingTime": "0930", "closingTime": "1600", "prop": "LIQUID"}]
    assert by_date["20261126"]["sessions"] == []
    assert by_date["20261127"]["sessions"][0]["closingTime"] == "1300"
    both = gateway.get("/trsrv/secdef/schedule?assetClass=STK&symbol=SPY&exchangeFilter=ARCA,NYSE")
    assert [row["exchange"] for row in both] == ["ARCA", "NYSE"]
    gateway.get("/trsrv/secdef/schedule?assetClass=STK&symbol=SPY&exchange=ARCA&conid=756733", 400)


def test_currencies(gateway):
    pairs = gateway.get("/iserver/currency/pairs?currency=USD")["USD"]
    assert {"symbol": "EUR.USD", "conid": 12087792, "ccyPair": "EUR"} in pairs
    assert gateway.get("/iserver/exchangerate?source=USD&target=EUR") == {"rate": 0.86656614}
    assert gateway.get("/iserver/exchangerate?source=EUR&target=EUR") == {"rate": 1.0}
    gateway.get("/iserver/exchangerate?source=USD&target=XXX", 400)


# --- the recorded answers ---------------------------------------------------------------------------------------

RECORDED = {
    "GET-secdef-search": "/iserver/secdef/search?symbol=SPY",
    "GET-secdef-strikes": "/iserver/secdef/strikes?conid=756733&sectype=OPT&month=NOV26",
    "GET-contract-info": "/iserver/contract/756733/info",
    "GET-contract-algos": "/iserver/contract/265598/algos?algos=Adaptive;Vwap;Twap&addParams=1",
    "GET-currency-pairs": "/iserver/currency/pairs?currency=USD",
    "GET-trading-schedule": "/contract/trading-schedule?conid=756733",
    "GET-trsrv-all-conids": "/trsrv/all-conids?exchange=NASDAQ",
    "GET-trsrv-secdef": "/trsrv/secdef?conids=756733",
    "GET-trsrv-stocks": "/trsrv/stocks?symbols=AAPL",
}


def assert_shape(recorded: Any, ours: Any, path: str = "$") -> None:
    """Every member of the recording is there, of the same JSON type; ours may have more, and more rows."""
    assert type(recorded) is type(ours), f"{path}: {recorded!r} became {ours!r}"
    if isinstance(recorded, list):
        assert not recorded or ours, f"{path} is empty"
        for index, (left, right) in enumerate(zip(recorded, ours, strict=False)):
            assert_shape(left, right, f"{path}[{index}]")
    elif isinstance(recorded, dict):
        if path.endswith(".schedules"):  # keyed by day
            recorded, ours = ({"day": next(iter(part.values()))} for part in (recorded, ours))
        missing = recorded.keys() - ours.keys()
        assert not missing, f"{path} lacks {missing}"
        for name, value in recorded.items():
            assert_shape(value, ours[name], f"{path}.{name}")


@pytest.mark.parametrize("name", RECORDED)
def test_answers_have_the_recorded_shape(gateway, shared: Path, name):
    recorded = json.loads((shared / "ibkr/recorded/Contracts" / f"{name}.json").read_text())["Response"]["Body"]
    gateway.get("/iserver/secdef/search?symbol=SPY")
    assert_shape(recorded, gateway.get(RECORDED[name]))


def test_a_posted_search_has_the_recorded_shape(gateway, shared: Path):
    recorded = json.loads((shared / "ibkr/recorded/Contracts/POST-secdef-search.json").read_text())["Response"]["Body"]
    assert_shape(recorded, gateway.post("/iserver/secdef/search", {"symbol": "AAPL"}))
