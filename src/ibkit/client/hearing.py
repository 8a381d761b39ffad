"""What each frame of the stream tells, taken down in the order view and the market lines, and told to who listens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from ibkit.client.listeners import Listeners
from ibkit.client.market_lines import MarketLines
from ibkit.client.order_view import OrderView
from ibkit.client.stream_link import Link
from ibkit.clock import Clock
from ibkit.model import AccountId, Complained, Fresh, Notice, OrderId, PnlUpdate, SessionLost, Source, Unread
from ibkit.wire import stream as wire
from ibkit.wire.executions import fill_from_wire

__all__ = ["EXPLAIN_WITHIN_S", "Hearing"]

EXPLAIN_WITHIN_S: Final = 5.0
"""What one topic told and the other did not is read after this long."""


@dataclass(frozen=True, slots=True)
class Hearing:
    view: OrderView
    lines: MarketLines
    to: Listeners
    clock: Clock

    async def hear(self, link: Link, frame: wire.Frame) -> str | None:
        """Take down what a frame tells and pass it on; why the line must end, where it must."""
        match frame:
            case wire.Market():
                self._hear_market(frame)
            case wire.Orders():
                self._fresh(link, "sor")
                await self.to.tell_each(self.to.orders, (partial(self.view.hear_row, row) for row in frame.rows))
            case wire.Trades():
                link.confirm_by = None
                link.confirmed.set()
                self._fresh(link, "str")
                await self._hear_trades(frame)
            case wire.ProfitAndLoss():
                link.pnl_heard_at, link.pnl_asked = link.heard_at, False
                if link.pnl_stale:
                    link.pnl_stale = False
                    self.to.tell(Fresh("spl"))
                for row in frame.rows:
                    self._put_pnl(row)
            case wire.Notices():
                for notice in frame.rows:
                    await self.to.tell_each(self.to.notices, (partial(_notice, notice),))
            case wire.SessionNews(authenticated=False) | wire.SessionNews(competing=True):
                self.to.tell(SessionLost(competing=frame.competing is True))
                return "the brokerage session is gone"
            case wire.Complaint():
                self.to.tell(Complained(frame.text))
            case wire.Unreadable():
                self.view.doubt()
                self.to.tell(Unread(frame.why))
                if link.too_odd():
                    return "too many frames that cannot be read"
            case wire.WaitingForSession():
                return "the server waits for a session"
            case _:
                pass  # heartbeats, replies to tic, bulletins, accounts: that they came is what they tell
        if link.explain_at is None and self.view.doubts:
            link.explain_at = link.heard_at + EXPLAIN_WITHIN_S
        return None

    def _fresh(self, link: Link, topic: str) -> None:
        link.heard_topics[topic] = link.heard_at
        if topic in link.stale_topics:
            link.stale_topics.discard(topic)
            self.to.tell(Fresh(topic))

    async def _hear_trades(self, frame: wire.Trades) -> None:
        for row in frame.rows:
            try:
                fill = fill_from_wire(row, AccountId(row.account or ""))
            except ValueError as error:
                self.view.doubt()
                self.to.tell(Unread(f"str: {error}"))
                continue
            await self.to.tell_each(self.to.fills, (partial(self.view.see_fill, fill, Source.STREAM),))

    def _hear_market(self, frame: wire.Market) -> None:
        try:
            heard = self.lines.hear(frame, self.clock.monotonic())
        except ValueError as error:
            self.to.tell(Unread(f"smd: {error}"))
            return
        if heard.was_stale:
            self.to.tell(Fresh(f"smd+{frame.conid}"))
        if heard.quote is not None:
            self.to.tell_quote(heard.quote)

    def _put_pnl(self, row: wire.PnlRow) -> None:
        update = PnlUpdate(
            account_id=AccountId(row.account),
            daily=row.daily,
            unrealized=row.unrealized,
            net_liquidation=row.net_liquidation,
            excess_liquidity=row.excess_liquidity,
            market_value=row.market_value,
        )
        self.to.tell_pnl(update)


def _notice(row: wire.NoticeRow) -> Notice:
    order_id = None if row.order_id is None else OrderId(row.order_id)
    return Notice(row.text, row.id or row.message_id, order_id, row.request_id, row.options)
