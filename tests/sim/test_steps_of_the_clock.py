"""However the clock is moved, the same orders come to the same end: one large step or many small ones."""

from __future__ import annotations

from typing import Any

import pytest

from desks import Desk

pytestmark = pytest.mark.requirement("TST-01", "TRD-12")

_SHORT_STOP = {"trailingAmt": 0.15, "trailingType": "amt"}


def tickets(desk: Desk) -> dict[str, list[dict[str, Any]]]:
    """Orders near the market, by name; each list is one request."""
    stock, put = desk.stock("TSLA"), desk.option(offset=-2, days=3)
    long = desk.option(offset=-7, days=3)
    last = float(desk.quote(stock).last)
    bid, ask = float(desk.quote(put).bid), float(desk.quote(put).ask)
    net = float(desk.quote(put).bid - desk.quote(long).ask)
    spread: dict[str, Any] = {"conid": None, "conidex": f"28812380;;;{put.conid}/1,{long.conid}/-1"}

    def price(number: float) -> float:
        return round(number, 2)

    return {
        "limit": [desk.ticket(put, "SELL", 2, "LMT", price=price(ask + 0.20))],
        "stop": [desk.ticket(put, "BUY", 2, "STP", price=price(ask + 0.10))],
        "trail": [desk.ticket(put, "BUY", 2, "TRAIL", **_SHORT_STOP)],
        "trail limit": [
            desk.ticket(put, "SELL", 2, "TRAILLMT", price=price(bid - 0.3), auxPrice=price(bid - 0.2), **_SHORT_STOP)
        ],
        "trail stock": [desk.ticket(stock, "SELL", 2, "TRAIL", trailingAmt=0.3, trailingType="%")],
        "touched": [desk.ticket(put, "BUY", 2, "MIT", price=price(ask - 0.15))],
        "touched limit": [desk.ticket(put, "SELL", 2, "LIT", price=price(bid + 0.1), auxPrice=price(bid + 0.1))],
        "relative": [desk.ticket(stock, "BUY", 2, "REL", price=price(last + 5), auxPrice=0.01)],
        "middle": [desk.ticket(stock, "SELL", 2, "MIDPRICE", price=price(last + 0.5))],
        "close": [desk.ticket(stock, "BUY", 2, "LOC", price=price(last + 50))],
        "combo": [desk.ticket(put, "SELL", 2, "LMT", price=price(net + 0.2), **spread)],
        "combo stop": [desk.ticket(put, "BUY", 2, "STP", price=price(net + 0.25), **spread)],
        "combo trail": [desk.ticket(put, "BUY", 2, "TRAIL", **_SHORT_STOP, **spread)],
        "group": [
            desk.ticket(put, "SELL", 2, "LMT", price=price(ask + 0.15), isSingleGroup=True),
            desk.ticket(put, "SELL", 2, "STP", price=price(bid - 0.15), isSingleGroup=True),
        ],
        "bracket": [
            desk.ticket(put, "SELL", 2, "LMT", price=price(ask + 0.05), cOID="p"),
            desk.ticket(put, "BUY", 2, "TRAIL", parentId="p", tif="GTC", **_SHORT_STOP),
            desk.ticket(put, "BUY", 2, "LMT", price=price(bid - 0.20), parentId="p", tif="GTC"),
        ],
    }


def story(name: str, seed: int, step_s: float) -> list[Any]:
    """What became of a request in the rest of its day."""
    desk = Desk(seed=seed, value_limit="1e12", stop_question="no")
    desk.brokerage.suppressed.update({"o403"})
    status, rows = desk.send(*tickets(desk)[name])
    assert status == 200, rows
    assert all("order_id" in row for row in rows), rows
    left = 6.0 * 3600
    while left > 0:
        desk.pass_time(min(step_s, left))
        left -= step_s
    return [
        (o.state, o.elected_at, o.stop, o.limit, o.ended_at, [(e.at, e.price, e.quantity) for e in o.executions])
        for o in desk.exchange.orders.values()
    ]


NAMES = sorted(tickets(Desk()))


@pytest.mark.parametrize("name", NAMES)
def test_the_size_of_a_step_decides_nothing(name: str) -> None:
    for seed in (3, 4):
        told = story(name, seed, 6 * 3600)
        assert told == story(name, seed, 613.0), seed
        assert told == story(name, seed, 97.3), seed


def test_the_stories_have_something_to_tell() -> None:
    filled = [name for name in NAMES if any(fate[5] for fate in story(name, 3, 6 * 3600) + story(name, 4, 6 * 3600))]
    assert set(NAMES) - set(filled) <= {"relative", "combo stop"}, "with these seeds nearly all of them trade"
