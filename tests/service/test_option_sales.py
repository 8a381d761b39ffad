"""Options sold over HTTP as `ibkit sell-option` sells them: protected, once for a key, and told as they stand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from gateway_service import at_the_gateway
from ibkit.errors import IbkitError
from ibkit.model import AccountId
from ibkit.service.sale_wish import SaleWish
from ibkit.service.sales import unlock
from people import People, account, person
from service_desks import Answered, Served, fast_world, new_key, served, settings_of, unhurried, until

PUT = {"side": "put", "symbol": "SPY", "expiry": "2026-11-20", "quantity": 1, "put_strike": 627}
BOTH = {**PUT, "side": "both", "call_strike": 633}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """SPY stands near 630 here. Nobody is paced: at this speed a busy machine's pauses would be whole seconds."""
    with at_the_gateway(tmp_path_factory.mktemp("sales"), people=People(), pace=6) as found:  # prices stay young
        assert found.world is not None
        found.world.world.quirks = found.world.world.quirks.with_values({"pacing": False})
        yield found


@pytest.fixture(autouse=True)
def unhurried_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ibkit.service.rates.ORDERS_PER_MINUTE", 100_000)


def orders_of(service: Served) -> list[str]:
    """What the simulated broker was asked to place: `SELL MKT 1`, `BUY STP 1`."""
    assert service.world is not None
    found = []
    for call in service.world.control("GET", "requests"):
        if call["method"] == "POST" and str(call["path"]).endswith("/orders"):
            body = call["body"] if isinstance(call["body"], dict) else json.loads(call["body"])
            found += [f"{each['side']} {each['orderType']} {each['quantity']}" for each in body["orders"]]
    return found


@contextmanager
def scenario(service: Served, *names: str) -> Iterator[None]:
    assert service.world is not None
    service.world.control("POST", "scenario", {"scenario": list(names)})
    try:
        yield
    finally:
        service.world.control("POST", "scenario", {"scenario": ["ok"]})


def sell(service: Served, wish: dict[str, Any], key: str | None = None, token: str = "ada") -> Answered:
    """The answer, or that of the sale once it is over."""
    key = key or new_key()
    answer = service.ask("POST", "/api/option-sale", wish, key=key, token=token)
    if answer.status != 202:
        return answer
    return over(service, key, token)


def over(service: Served, key: str, token: str = "ada") -> Answered:
    until(lambda: shown(service, key, token).data["state"] == "over")
    return shown(service, key, token)


def shown(service: Served, key: str, token: str = "ada") -> Answered:
    answer = service.ask("GET", f"/api/option-sale/{key}", token=token)
    assert answer.status == 200, answer.raw
    return answer


@pytest.mark.requirement("OPT-02", "OPT-05", "TRD-13", "GWY-03")
def test_both_sides_are_sold_the_put_first_each_with_a_stop_and_a_repeated_key_sends_nothing(service: Served) -> None:
    key, before = new_key(), orders_of(service)
    answer = sell(service, BOTH, key)
    assert answer.status in (200, 201), answer.raw
    told = answer.data
    assert (told["state"], told["outcome"], told["key"]) == ("over", "completed", key)
    assert [(leg["side"], leg["outcome"]) for leg in told["legs"]] == [
        ("put", "sold_and_protected"),
        ("call", "sold_and_protected"),
    ]
    for leg in told["legs"]:
        assert leg["stop_price"] == pytest.approx(5 * leg["entry_price"], abs=0.05)
        assert leg["credit"] == pytest.approx(100 * leg["entry_price"], abs=0.01)
        assert leg["order_id"] != leg["stop_order_id"]
    sent = orders_of(service)
    assert sent[len(before) :] == ["SELL MKT 1", "BUY STP 1"] * 2
    again = service.ask("POST", "/api/option-sale", {**BOTH, "confirm": ["o163"]}, key=key)
    assert (again.status, again.json["cached"]) == (200, True), again.raw
    assert again.data == told == shown(service, key).data
    assert orders_of(service) == sent
    listed = service.ask("GET", "/broker-order?limit=10").data
    assert {leg["order_id"] for leg in told["legs"]} <= {each["broker_order_id"] for each in listed}


@pytest.mark.requirement("OPT-02", "OPT-05")
def test_both_sides_with_a_width_are_a_condor_whose_loss_is_bounded(service: Served) -> None:
    told = sell(service, {**BOTH, "width": 3}).data
    assert told["outcome"] == "completed", told
    put, call = told["legs"]
    assert (put["strike"], put["long_strike"], call["strike"], call["long_strike"]) == (627, 624, 633, 636)
    assert all(0 < leg["max_loss"] < 300 for leg in (put, call))


@pytest.mark.requirement("OPT-03", "OPT-05")
def test_a_preview_has_legs_deltas_margin_losses_and_limits_and_sends_nothing(service: Served) -> None:
    sent = orders_of(service)
    wish = {**PUT, "side": "both", "put_strike": None, "delta": 0.16, "width": 2, "take_profit_pct": 50}
    answer = service.ask("POST", "/api/option-sale/preview", wish)
    assert answer.status == 200, answer.raw
    told = answer.json
    assert told["allowed"] is True
    assert told["credit"] == pytest.approx(sum(leg["credit"] for leg in told["legs"]))
    for leg, sign in zip(told["legs"], (-1, 1), strict=True):
        short = leg["options"][0]
        assert short["side"] == "SELL"
        assert 0.11 <= sign * short["delta"] <= 0.21
        assert leg["stop"] > leg["entry"] > leg["take_profit"]
        assert leg["max_loss"] > 0
        assert leg["initial_margin_change"] is not None
        assert leg["commission"] is not None
        limits = {each["control"]: each for each in leg["limits"]}
        assert limits["RC-07"]["headroom"] > 0
    assert orders_of(service) == sent


@pytest.mark.requirement("OPT-03")
def test_a_strike_far_from_the_price_is_refused_and_its_key_stays_free(service: Served) -> None:
    key, sent = new_key(), orders_of(service)
    refused = service.ask("POST", "/api/option-sale", {**PUT, "put_strike": 560}, key=key)
    assert (refused.status, refused.code) == (422, "E-STRIKE-GUARD"), refused.raw
    assert refused.json["error"]["details"]["legs"][0]["outcome"] == "refused"
    assert "--" not in " ".join(refused.json["error"]["remedy"])
    assert shown(service, key).data["outcome"] == "failed"
    assert orders_of(service) == sent
    assert sell(service, {**PUT, "put_strike": 625}, key).data["outcome"] == "completed"


@pytest.mark.requirement("OPT-04")
@pytest.mark.parametrize("expiry", ["2026-11-22", "2026-11-19"])
def test_a_day_without_that_expiry_is_refused_before_any_order(service: Served, expiry: str) -> None:
    sent = orders_of(service)
    refused = service.ask("POST", "/api/option-sale", {**PUT, "expiry": expiry}, key=new_key())
    assert (refused.status, refused.code) == (422, "E-EXPIRY"), refused.raw
    assert orders_of(service) == sent


@pytest.mark.requirement("GWY-03", "TRD-22")
def test_twins_of_one_key_are_one_sale(service: Served) -> None:
    key, sent = new_key(), len(orders_of(service))
    wish = {**PUT, "put_strike": 628}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: service.ask("POST", "/api/option-sale", wish, key=key), range(8)))
    assert {answer.status for answer in answers} <= {200, 201}, [answer.raw for answer in answers]
    assert [answer.status for answer in answers].count(201) == 1
    assert len({answer.data["legs"][0]["order_id"] for answer in answers}) == 1
    assert orders_of(service)[sent:] == ["SELL MKT 1", "BUY STP 1"]


@pytest.mark.requirement("GWY-01", "GWY-03")
def test_a_sale_that_takes_long_is_202_then_told_and_a_repeat_meanwhile_sells_nothing(
    service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, sent = new_key(), len(orders_of(service))
    wish = {**PUT, "put_strike": 624}
    monkeypatch.setattr("ibkit.service.sales.ANSWER_WITHIN_S", 0.01)
    first = service.ask("POST", "/api/option-sale", wish, key=key)
    assert (first.status, first.data["state"], first.data["outcome"]) == (202, "running", None), first.raw
    assert (first.headers["location"], first.headers["retry-after"]) == (f"/api/option-sale/{key}", "2")
    twin = service.ask("POST", "/api/option-sale", wish, key=key)
    assert (twin.status, twin.code, twin.headers["retry-after"]) == (409, "E-IDEM-BUSY", "2"), twin.raw
    other = service.ask("POST", "/api/option-sale", {**wish, "quantity": 2}, key=key)
    assert (other.status, other.code) == (422, "E-IDEM-CONFLICT"), other.raw
    assert other.json["error"]["details"]["fields"] == ["quantity"]
    assert over(service, key).data["outcome"] == "completed"
    last = service.ask("POST", "/api/option-sale", wish, key=key)
    assert (last.status, last.json["cached"]) == (200, True)
    assert orders_of(service)[sent:] == ["SELL MKT 1", "BUY STP 1"]


@pytest.mark.requirement("GWY-02")
def test_a_sale_is_its_users_own(service: Served) -> None:
    key = new_key()
    assert sell(service, {**PUT, "put_strike": 623}, key).data["outcome"] == "completed"
    for path in (f"/api/option-sale/{key}", "/api/option-sale/x", f"/api/option-sale/{new_key()}"):
        answer = service.ask("GET", path, token="bob")
        assert (answer.status, answer.code) == (404, "E-NOT-FOUND"), answer.raw
    service.people.holders["carl"] = person("carl", accounts=account("DU0000000"))
    elsewhere = service.ask("POST", "/api/option-sale", PUT, key=key, token="carl")
    assert (elsewhere.status, elsewhere.code) == (404, "E-NOT-FOUND"), elsewhere.raw


@pytest.mark.requirement("OPT-02", "OPT-06")
def test_one_side_sold_and_the_other_refused_is_partly_and_its_key_goes_on_with_the_other_alone(
    service: Served,
) -> None:
    key, sent = new_key(), len(orders_of(service))
    wish = {**BOTH, "put_strike": 622, "call_strike": 700}
    first = sell(service, wish, key).data
    assert first["outcome"] == "partly"
    assert [leg["outcome"] for leg in first["legs"]] == ["sold_and_protected", "refused"]
    assert first["legs"][1]["code"] == "E-STRIKE-GUARD"
    again = sell(service, {**wish, "force": True}, key).data
    assert [leg["outcome"] for leg in again["legs"]][:1] == ["sold_and_protected"]
    assert again["legs"][0]["order_id"] == first["legs"][0]["order_id"]
    entries = [each for each in orders_of(service)[sent:] if each.startswith("SELL")]
    assert len(entries) == 1 + (again["legs"][1]["order_id"] is not None)


@pytest.mark.requirement("GWY-03", "GWY-06")
def test_after_a_restart_a_sale_is_told_from_its_records_and_its_key_sells_nothing_more(tmp_path: Path) -> None:
    world, key = fast_world(), new_key()
    settings = settings_of(tmp_path, BROKER_PROVIDER="ibkr", IBKR_AUTH_METHOD="gateway")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ibkit.service.brokers.open_connection", unhurried)
        with served(settings, world=world) as before:
            first = sell(before, PUT, key).data["legs"][0]
            sent = orders_of(before)
        with served(settings, world=world) as after:
            told = shown(after, key).data
            assert (told["state"], told["outcome"], told["symbol"]) == ("over", "completed", "SPY")
            (leg,) = told["legs"]
            same = ("outcome", "strike", "entry_price", "stop_price", "order_id", "stop_order_id", "trade_id", "credit")
            assert {name: leg[name] for name in same} == {name: first[name] for name in same}
            again = sell(after, PUT, key)
            assert again.data["legs"][0]["stop_order_id"] == first["stop_order_id"], again.raw
            other = after.ask("POST", "/api/option-sale", {**PUT, "quantity": 2}, key=key)
            assert (other.status, other.code) == (422, "E-IDEM-CONFLICT"), other.raw
            assert orders_of(after) == sent


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"side": "straddle"}, ["side"]),
    ({"quantity": 0}, ["quantity"]),
    ({"stop_multiple": 1}, ["stop_multiple"]),
    ({"put_strike": None}, ["put_strike"]),
    ({"call_strike": 640}, ["call_strike"]),
    ({"delta": 0.16}, ["put_strike"]),
    ({"put_strike": None, "delta": 1.2}, ["delta"]),
    ({"put_strike": None, "delta": 0.2, "premium": 1}, ["premium"]),
    ({"width": 700}, ["width"]),
    ({"trail_pct": 50, "stop_multiple": 3}, ["trail_pct"]),
    ({"take_profit_pct": 100}, ["take_profit_pct"]),
    ({"order_type": "limit"}, ["limit_price"]),
    ({"limit_price": 1}, ["limit_price"]),
    ({"expiry": "2026-13-01"}, ["expiry"]),
    ({"dte": 3}, ["dte"]),
    ({"exit_at": "15:45"}, ["exit_at"]),
    ({"stop": 3}, ["stop"]),
]


@pytest.mark.requirement("OPT-01")
@pytest.mark.parametrize(("changes", "fields"), WRONG)
def test_what_is_wrong_with_a_sale_is_named(changes: dict[str, Any], fields: list[str]) -> None:
    with pytest.raises(IbkitError) as error:
        SaleWish.read({**PUT, **changes})
    assert error.value.code == "E-VALIDATION"
    assert [each["field"] for each in error.value.details["errors"]] == fields  # type: ignore[union-attr]


@pytest.mark.requirement("OPT-08")
def test_live_asked_for_at_paper_and_no_key_at_all_are_refused(service: Served) -> None:
    refused = service.ask("POST", "/api/option-sale", {**PUT, "live": True}, key=new_key())
    assert (refused.status, refused.code) == (409, "E-LIVE"), refused.raw
    missing = service.ask("POST", "/api/option-sale", PUT)
    assert (missing.status, missing.code) == (400, "E-IDEM-MISSING")


@pytest.mark.requirement("OPT-08")
@pytest.mark.parametrize(
    ("changes", "validated", "code", "word"),
    [
        ({}, True, "E-LIVE", "live was not given"),
        ({"live": True}, True, "E-LIVE", "nothing is not U1234567"),
        ({"live": True, "confirm_account": "U7654321"}, True, "E-LIVE", "U7654321 is not U1234567"),
        ({"live": True, "confirm_account": "U1234567"}, False, "E-LIVE", "paper validation"),
        ({"live": True, "confirm_account": "U1234567"}, True, "", ""),
    ],
)
def test_live_money_is_asked_for_by_name_after_a_paper_validation(
    tmp_path: Path, changes: dict[str, Any], validated: bool, code: str, word: str
) -> None:
    settings = settings_of(tmp_path, BROKER_PROVIDER="ibkr", IBKR_AUTH_METHOD="gateway", IBKR_ENV="live")

    async def paper_validated() -> bool:
        return validated

    books = SimpleNamespace(paper_validated=paper_validated, audit=None)
    desk: Any = SimpleNamespace(settings=settings, account_id=AccountId("U1234567"), books=books)

    async def run() -> None:
        await unlock(person("ada"), SaleWish.read({**PUT, **changes}), desk)

    if not code:
        anyio.run(run)
        return
    with pytest.raises(IbkitError, match=word) as error:
        anyio.run(run)
    assert error.value.code == code


@pytest.mark.requirement("OPT-02", "TRD-14")
@pytest.mark.parametrize(("policy", "first"), [("close", "bought_back"), ("alert", "unprotected")])
def test_a_stop_that_is_refused_ends_the_sale_by_its_policy_and_the_call_is_not_started(
    service: Served, policy: str, first: str
) -> None:
    """The last of this file: so many refusals stop trading for a while."""
    sent = orders_of(service)
    with scenario(service, "stop-reject"):
        answer = sell(service, {**BOTH, "put_strike": 626, "on_stop_failure": policy})
    told = answer.data
    assert (answer.status, told["outcome"]) in ((200, "critical"), (201, "critical")), answer.raw
    put, call = told["legs"]
    assert (put["outcome"], put["code"], call["outcome"]) == (first, "E-STOP-FAILED", "not_started")
    assert told["message"].startswith("CRITICAL")
    new = [each for each in orders_of(service)[len(sent) :] if "STP" not in each]
    assert new == ["SELL MKT 1"] + (["BUY MKT 1"] if policy == "close" else [])
