"""The same seed, clock and requests give the same bytes."""

from __future__ import annotations

import hashlib

import pytest

from desks import Desk
from ibkit.sim.serving.inprocess import Simulator
from simulators import Caller, OAuth1Caller, OAuth2Caller, make_simulator

ORDER = {
    "orders": [
        {
            "conid": 265598,
            "orderType": "LMT",
            "price": 150.0,
            "side": "BUY",
            "quantity": 10,
            "tif": "DAY",
            "cOID": "same-bytes-1",
        }
    ]
}


def play(simulator: Simulator) -> str:
    """A morning with all three sign-ins, quotes, an order and a jump of the clock, as one digest of every byte."""
    digest = hashlib.sha256()

    def note(caller: Caller, method: str, path: str, body: object = b"") -> None:
        answer = caller(method, path, body, wait=6)
        digest.update(f"{method} {path} {answer.status} {sorted(answer.headers.items())}".encode())
        digest.update(answer.body)

    gateway = Caller(simulator)
    note(gateway, "POST", "/v1/api/tickle")
    note(gateway, "GET", "/sso/Login")
    for caller in (OAuth1Caller(simulator), OAuth2Caller(simulator, 1)):
        caller.sign_in()
        note(caller, "GET", "/v1/api/iserver/accounts")
        note(caller, "POST", "/v1/api/tickle")
        note(caller, "GET", "/v1/api/iserver/secdef/search?symbol=SPY")
        for _ in range(3):
            note(caller, "GET", "/v1/api/iserver/marketdata/snapshot?conids=756733,265598&fields=31,84,86")
        account = caller.keys.user.accounts[0].id
        note(caller, "POST", f"/v1/api/iserver/account/{account}/orders", ORDER)
        note(caller, "GET", "/v1/api/iserver/account/orders")
        note(caller, "GET", f"/v1/api/portfolio/{account}/summary")
    simulator.advance(7200)
    note(gateway, "GET", "/v1/api/iserver/auth/status")
    return digest.hexdigest()


@pytest.mark.requirement("TST-01")
def test_two_worlds_of_one_seed_answer_alike_to_the_byte() -> None:
    assert play(make_simulator(seed=7)) == play(make_simulator(seed=7))


@pytest.mark.requirement("TST-01")
def test_another_seed_gives_another_world() -> None:
    assert play(make_simulator(seed=7)) != play(make_simulator(seed=8))


@pytest.mark.requirement("TST-01")
def test_a_reset_world_answers_as_at_the_first_time() -> None:
    simulator = make_simulator()
    first = play(simulator)
    simulator.control("POST", "reset")
    assert play(simulator) == first


def trade_everything(seed: int) -> str:
    """A day with every form of order and all that is read of them, as one digest of every byte."""
    desk = Desk(seed=seed, value_limit="1e12", stop_question="no", size_limit="1e6")
    desk.brokerage.suppressed.update({"o403", "o10164", "o10223"})
    put, long, stock = desk.option(days=3), desk.option(offset=-8, days=3), desk.stock("TSLA")
    spread = {"conid": None, "conidex": f"28812380;;;{put.conid}/1,{long.conid}/-1"}
    trail = {"trailingAmt": 0.3, "trailingType": "%"}
    last = float(desk.quote(stock).last)
    requests = [
        [
            desk.ticket(put, "SELL", 60, "LMT", price=0.5, cOID="p"),
            desk.ticket(put, "BUY", 60, "TRAIL", parentId="p", **trail),
        ],
        [
            desk.ticket(put, "SELL", 3, "MKT", **spread),
            desk.ticket(put, "BUY", 3, "STP", price=9, parentId="x", **spread),
        ],
        [desk.ticket(put, "SELL", 3, "MKT", **spread)],
        [desk.ticket(stock, "BUY", 5, "MOC")],
        [desk.ticket(stock, "SELL", 5, "TRAIL", isSingleGroup=True, **trail)],
        [desk.ticket(stock, "BUY", 5, "REL", price=round(last + 1, 2), auxPrice=0.01)],
        [desk.ticket(stock, "BUY", 5, "MIDPRICE")],
        [desk.ticket(stock, "BUY", None, "MIT", price=round(last - 1, 2), cashQty=2000)],
    ]
    said: list[object] = []
    for tickets in requests:
        said.append(desk.send(*tickets))
        said.append(desk.call("POST", f"/iserver/account/{desk.account}/orders/whatif", {"orders": tickets}, wait=6))
    for _ in range(4):
        desk.pass_time(2 * 3600)
        said += [desk.call("GET", f"/iserver/account/{what}", wait=6) for what in ("orders", "trades?days=1")]
        said += [desk.call("GET", f"/iserver/account/order/status/{id_}") for id_ in desk.exchange.orders]
    desk.get("/portfolio/accounts", wait=6)
    said.append(desk.get(f"/portfolio/{desk.account}/combo/positions"))
    said.append(desk.simulator.control("GET", "ledger"))
    assert sum(len(order.executions) for order in desk.exchange.orders.values()) >= 5, "there is something to compare"
    return hashlib.sha256(repr(said).encode()).hexdigest()


@pytest.mark.requirement("TST-01", "TRD-12")
def test_every_form_of_order_comes_to_the_same_bytes() -> None:
    assert trade_everything(7) == trade_everything(7)
    assert trade_everything(7) != trade_everything(8)
