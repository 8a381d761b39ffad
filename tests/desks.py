"""A gateway caller for tests of orders and portfolio: short calls, ready contracts, lines to the market."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from ibkit.sim.exchange.books import trade_day
from ibkit.sim.exchange.order import SimOrder
from ibkit.sim.market.instruments import Instrument
from simulators import Caller, make_simulator

__all__ = ["Desk"]


class Desk:
    """One user's gateway session that may trade, with market data for whatever it names.

    quiet: o10331, o354 and o163 are suppressed from the start.
    """

    def __init__(self, *scenarios: str, quiet: bool = True, **options: Any) -> None:
        # A login that lasts: these tests let days pass.
        lasting = {"idle_timeout_s": "1e9", "max_age_s": "1e9", "gateway_midnight": "no", "maintenance": "no"}
        self.simulator = make_simulator(*scenarios, **{**lasting, **options})
        self._caller = Caller(self.simulator)
        self.world = self.simulator.world
        self.brokerage = self.world.logins.gateway.brokerage
        self.brokerage.accounts_primed = True
        self.account = self.world.users_at_start[0].accounts[0].id
        if quiet:
            self.brokerage.suppressed.update({"o10331", "o354", "o163"})

    @property
    def now(self):
        return self.world.now

    @property
    def exchange(self):
        return self.world.exchange

    @property
    def book(self):
        return self.world.books[self.account]

    def call(self, method: str, path: str, body: object = b"", *, wait: float = 0.25) -> tuple[int, Any]:
        answer = self._caller(method, f"/v1/api{path}", body, wait=wait)
        if "html" in answer.headers.get("content-type", ""):
            return answer.status, answer.body.decode()
        return answer.status, json.loads(answer.body) if answer.body else None

    def get(self, path: str, *, wait: float = 0.25) -> Any:
        status, body = self.call("GET", path, wait=wait)
        assert status == 200, (path, status, body)
        return body

    def stock(self, symbol: str = "SPY") -> Instrument:
        found = self.world.instruments.by_symbol(symbol)
        assert found is not None
        return found

    def option(self, right: str = "P", offset: int = -3, symbol: str = "SPY", days: int = 0) -> Instrument:
        """An option `offset` from the present price, expiring on the first listed day at least `days` away."""
        price = self.world.market.quote(self.stock(symbol).conid, self.now).last
        today = trade_day(self.now)
        expiry = next(e for e in self.world.calendar.expiries(symbol, today) if (e.day - today).days >= days)
        step = 5 if symbol == "SPX" else 1
        strike = (price / step).to_integral_value() * step + offset
        found = self.world.instruments.option(symbol, expiry.day, strike, right, expiry.trading_class)
        assert found is not None, (expiry, strike)
        return found

    def quote(self, contract: Instrument):
        return self.world.market.quote(contract.conid, self.now)

    def hold(self, contract: Instrument, bid: str, ask: str, bid_size: int = 40, ask_size: int = 25) -> None:
        """Hold a contract's quote from this moment on."""
        self.world.market.set_quote(contract.conid, Decimal(bid), Decimal(ask), bid_size, ask_size, at=self.now)

    def ticket(
        self, contract: Instrument, side: str, quantity: object, order_type: str = "MKT", **more: object
    ) -> dict:
        return {
            "conid": contract.conid,
            "side": side,
            "quantity": quantity,
            "orderType": order_type,
            "tif": "DAY",
            **more,
        }

    def send(self, *tickets: dict, account: str | None = None) -> tuple[int, Any]:
        return self.call("POST", f"/iserver/account/{account or self.account}/orders", {"orders": list(tickets)})

    def place(self, contract: Instrument, side: str, quantity: object, order_type: str = "MKT", **more: object):
        """Place one order that is accepted at once."""
        status, body = self.send(self.ticket(contract, side, quantity, order_type, **more))
        assert status == 200, (status, body)
        assert isinstance(body, list), body
        assert "order_id" in body[0], body
        return self.order(body[0]["order_id"])

    def order(self, order_id: object) -> SimOrder:
        return self.exchange.orders[int(str(order_id))]

    def reply(self, question: Any, confirmed: object = True) -> tuple[int, Any]:
        return self.call("POST", f"/iserver/reply/{question[0]['id']}", {"confirmed": confirmed})

    def confirm_all(self, answer: Any) -> Any:
        """Say yes until there is nothing more to say."""
        for _ in range(20):
            if not (isinstance(answer, list) and answer and "message" in answer[0]):
                return answer
            answer = self.reply(answer)[1]
        raise AssertionError("it never ends")

    def live(self) -> dict[int, dict]:
        """Rows of the live list by order id, read twice as one must."""
        self.get("/iserver/account/orders", wait=6)
        answer = self.get("/iserver/account/orders", wait=6)
        assert answer["snapshot"] is True
        return {row["orderId"]: row for row in answer["orders"]}

    def pass_time(self, seconds: float) -> None:
        self.simulator.advance(seconds)
