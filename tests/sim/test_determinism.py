"""The same seed, clock and requests give the same bytes."""

from __future__ import annotations

import hashlib

import pytest

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
