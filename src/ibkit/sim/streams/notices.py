"""Topic `ntf`, which nobody asks for: notices, and prompts that want an answer.

Source: docs/facts/websocket.md §6.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ibkit.sim.exchange.desk import Prompted
from ibkit.sim.exchange.order import SimOrder
from ibkit.sim.handlers.orders import prompt_row
from ibkit.sim.market.names import contract_line, plain, price_text
from ibkit.sim.streams.orders import OrderFeed
from ibkit.sim.streams.view import View

__all__ = ["Notices"]

_MET = ZoneInfo("Europe/Zurich")


class Notices:
    """What one socket has not heard: said by hand, prompts of the desk, the end of a GTC order."""

    def __init__(self, view: View) -> None:
        self._heard = len(view.world.notices)
        self._prompts = set(view.world.exchange.desk.open_prompts(view.session.user.username))
        self._feed = OrderFeed(view.world)

    def frames(self, view: View) -> Iterator[dict[str, Any]]:
        user = view.session.user
        said, self._heard = view.world.notices[self._heard :], len(view.world.notices)
        for username, row in said:
            if username == user.username:
                yield {"topic": "ntf", "args": [row]}
        prompts = view.world.exchange.desk.open_prompts(user.username)
        for order_id, request in prompts.items():
            if order_id not in self._prompts:
                order = view.world.exchange.orders[order_id]
                yield {"topic": "ntf", "args": [prompt_row(Prompted(order, request))]}
        self._prompts = set(prompts)
        mine = {account.id for account in user.accounts}
        for order, index in self._feed.read(view.world):
            if order.account in mine and order.events[index]["event"] == "accepted" and order.ticket.tif == "GTC":
                yield {"topic": "ntf", "args": [_gtc_notice(order, view.world.now)]}


def _gtc_notice(order: SimOrder, now: datetime) -> dict[str, Any]:
    """Warning 118 [recorded]: the day is the end of the next quarter, as the one recorded in September has it."""
    ticket = order.ticket
    price = price_text(ticket.limit if ticket.limit is not None else ticket.stop)
    kind = ticket.kind.display
    what = f"{ticket.side} {plain(order.total)} {contract_line(ticket.instrument)} {ticket.instrument.listing_exchange}"
    until = f"{_end_of_next_quarter(now):%Y%m%d} 22:00:00 MET"
    text = f"Order {what} {kind}{f' {price}' if price else ''} will be automatically canceled at {until}"
    return {"id": "118", "text": text, "title": None, "url": None}


def _end_of_next_quarter(now: datetime) -> datetime:
    local = now.astimezone(_MET)
    months = local.year * 12 + (local.month - 1) // 3 * 3 + 6
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=_MET) - timedelta(days=1)
