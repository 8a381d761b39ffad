"""Events as they happen: one WebSocket, kept up, and everything that it told once and in order.

    async with ib.stream() as stream:
        async for update in stream.orders():
            ...

    connect ── tickle, upgrade, greeting ──> subscribe (paced) ── orders and trades read by REST ──> live
    live ── silence, close, session lost ──> down ── back-off ──> connect

One task reads the socket and does the chores between two frames: `tic`, renewal of market data, the watch over each
subscription, the paced sending. REST reads run beside it. What the socket lost in a gap, and what it lost without
one, the reads bring; `OrderView` sees to it that nothing is told twice.

Source: docs/facts/websocket.md §1-8.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import anyio

from ibkit.client.api.orders import fills, orders
from ibkit.client.channels import Every, Latest, Recent
from ibkit.client.hearing import EXPLAIN_WITHIN_S, Hearing
from ibkit.client.listeners import Listeners
from ibkit.client.market_lines import MarketLines
from ibkit.client.order_view import OrderView
from ibkit.client.stream_link import Link, connect
from ibkit.client.transport import Socket
from ibkit.errors import IbkitError, UnexpectedAnswer, Unreachable
from ibkit.model import (
    AccountId,
    Conid,
    Connecting,
    Down,
    FillUpdate,
    Lifecycle,
    Live,
    Notice,
    OrderUpdate,
    PnlUpdate,
    Quote,
    Source,
    Stale,
)
from ibkit.wire import stream as wire
from ibkit.wire.marketdata import QUOTE_FIELDS

if TYPE_CHECKING:
    from ibkit.client.core import Core

__all__ = ["Stream"]

log = logging.getLogger(__name__)

TIC_EVERY_S: Final = 30.0
SILENCE_S: Final = 25.0
"""Without any frame for this long, two heartbeats, the line is taken for dead. Source: §3; F79: noticed in 30 s."""
PNL_ASK_S: Final = 22.0
"""`spl` tells only what changed: after so long without it is asked for anew, which brings a frame (§4)."""
PNL_STALE_S: Final = 29.0
REREAD_EVERY_S: Final = 20.0
"""Orders and trades are read anew this often: what a standing line lost shows in no other way. With the time that the
topic then has to tell it after all, one that fell silent alone is noticed within 30 s (F79)."""
CONFIRM_WITHIN_S: Final = 5.0
CONFIRM_TRIES: Final = 3
"""The first `str` frame says that it, and `sor` sent before it, were heard. F125."""
SNAPSHOT_TRIES: Final = 4
FIRST_BACKOFF_S: Final = 2.0
LONGEST_BACKOFF_S: Final = 60.0


class Stream:
    """Everything that happens to one login. Made by `Client.stream()`; `async with` opens and closes it.

    bound: how many events a listener to orders, fills or notices may lag behind before the reader waits for it.
    """

    def __init__(self, ib: Core, *, bound: int = 1000) -> None:
        self._ib = ib
        self._bound = bound
        self._view = OrderView()
        self._lines = MarketLines()
        self._days = 1
        self._trading_wanted = False
        self._pnl_wanted = False
        self._first_reads: set[tuple[str | None, AccountId]] = set()
        self._to = Listeners(self._while_waiting)
        self._hearing = Hearing(self._view, self._lines, self._to, ib.clock)
        self._stack: AsyncExitStack | None = None
        self._link: Link | None = None
        self._was_live_at: float | None = None
        self._opened = anyio.Event()
        self._refused: IbkitError | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._to.end)
            group = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(group.cancel_scope.cancel)
            group.start_soon(self._run)
            await self._opened.wait()
            self._stack = stack.pop_all()
        if self._refused is not None:
            await self.__aexit__(None, None, None)
            raise self._refused
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    # --- what one may listen to --------------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """Everything is told as it happens."""
        return self._link is not None and self._link.live

    def orders(self) -> AsyncIterator[OrderUpdate]:
        """Every change of every order of the login: first the orders of today as they are, then each change once.

        Nothing is dropped: a listener that lags `bound` events behind slows everything.
        """
        channel: Every[OrderUpdate] = Every(self._want_trading, bound=self._bound)
        for order in self._view.orders:
            channel.put(OrderUpdate(order, None, Source.READ))
        self._to.orders.add(channel)
        return channel

    def fills(self, *, days: int = 1) -> AsyncIterator[FillUpdate]:
        """Every execution of the last `days` (1-7) and from now on, once; and once more when its fee is known."""
        self._days = max(self._days, days)
        channel: Every[FillUpdate] = Every(self._want_trading, bound=self._bound)
        for fill in self._view.fills:
            channel.put(FillUpdate(fill, None, Source.READ))
        self._to.fills.add(channel)
        return channel

    def quotes(self, conids: Sequence[Conid], *, fields: Sequence[str] = QUOTE_FIELDS) -> AsyncIterator[Quote]:
        """Quotes as they change; a listener that lags gets the newest of each contract.

        What a snapshot needs, this needs: options want their underlying searched for in this session.
        """
        wanted = frozenset(conids)

        async def begin() -> None:
            for conid in conids:
                if self._lines.want(conid, fields):
                    self._lines.now(conid)
            self._wake()

        channel: Latest[Quote] = Latest(begin, key=lambda quote: quote.conid, fits=lambda quote: quote.conid in wanted)
        self._to.quotes[channel] = wanted
        for quote in self._lines.known(wanted):
            channel.put(quote)
        return channel

    def pnl(self) -> AsyncIterator[PnlUpdate]:
        """Profit and loss per account, the newest of each."""

        async def begin() -> None:
            link = self._link
            if not self._pnl_wanted and link is not None:
                self._pnl_wanted = True
                self._subscribe_pnl(link)
            self._pnl_wanted = True

        channel: Latest[PnlUpdate] = Latest(begin, key=lambda update: update.account_id)
        self._to.pnl.add(channel)
        return channel

    def notices(self) -> AsyncIterator[Notice]:
        """What IBKR says to a person: `ntf`, unasked."""
        channel: Every[Notice] = Every(_nothing, bound=self._bound)
        self._to.notices.add(channel)
        return channel

    def lifecycle(self) -> AsyncIterator[Lifecycle]:
        """How the line is doing; the newest thousand of what nobody read."""
        channel: Recent[Lifecycle] = Recent(_nothing, bound=self._bound)
        self._to.lifecycle.add(channel)
        return channel

    async def _while_waiting(self) -> None:
        if self._link is not None:
            await self._link.socket.send(wire.TIC)

    async def _want_trading(self) -> None:
        link = self._link
        if not self._trading_wanted and link is not None and link.live:
            self._trading_wanted = True
            self._subscribe_trading(link)
            link.group.start_soon(self._read_first, link)
        self._trading_wanted = True

    # --- the line ----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        attempt = 0
        while True:
            attempt += 1
            self._to.tell(Connecting(attempt))
            was_live = False
            try:
                socket = await connect(self._ib)
            except IbkitError as error:
                if not self._opened.is_set():
                    self._refused = error
                    self._opened.set()
                    return
                reason = error.message
            else:
                reason, was_live = await self._serve(socket)
            if was_live:
                attempt = 0
                log.warning("stream down", extra={"reason": reason})
            wait = min(FIRST_BACKOFF_S * 2 ** min(attempt, 10), LONGEST_BACKOFF_S)
            wait *= 0.75 + 0.5 * self._ib.chance()
            self._to.tell(Down(reason, wait))
            await self._ib.clock.sleep(wait)

    async def _serve(self, socket: Socket) -> tuple[str, bool]:
        """Read until the line breaks: why, and whether it was live."""
        async with anyio.create_task_group() as group:
            link = self._link = Link(socket, group, self._ib.clock.monotonic())
            group.start_soon(self._bring_up, link)
            try:
                reason = await self._pump(link)
            finally:
                self._link = None
                with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                    await socket.aclose()
            group.cancel_scope.cancel()
        if link.live:
            self._was_live_at = link.heard_at
        return link.failure or reason, link.live

    async def _bring_up(self, link: Link) -> None:
        """Subscribe to all that is wanted, close the gap, say live."""
        if self._pnl_wanted:
            self._subscribe_pnl(link)
        self._lines.restart()
        if self._trading_wanted:
            self._subscribe_trading(link)
            if not await self._read_first(link):
                return
        now, before = self._ib.clock.monotonic(), self._was_live_at
        link.live = True
        self._to.tell(Live(self._ib.clock.now(), None if before is None else now - before))
        log.info("stream live")
        self._opened.set()
        if self._trading_wanted and not link.trading:
            # Somebody began to listen while the line came up.
            self._subscribe_trading(link)
            await self._read_first(link)

    async def _read_first(self, link: Link) -> bool:
        """Once the subscription is known to stand, what was before it is read. False: the line is given up."""
        await link.confirmed.wait()
        return await self._reread(link)

    async def _reread(self, link: Link) -> bool:
        """Orders and trades by REST, told where they are news. A failure ends the connection, never the promise."""
        link.reading = True
        try:
            for account in self._ib.keeper.opening.accounts:
                await self._read_account(account, standing=link.live)
        except IbkitError as error:
            link.failure = f"orders could not be read: {error.message}"
            await link.socket.aclose()
            return False
        finally:
            link.reading = False
        self._view.settle()
        link.explain_at = None
        now = self._ib.clock.monotonic()
        link.reread_at = now + REREAD_EVERY_S
        link.unheard_at = now + EXPLAIN_WITHIN_S if self._view.unheard else None
        self._wake()
        return True

    async def _read_account(self, account: AccountId, *, standing: bool) -> None:
        ib, view = self._ib, self._view
        for _ in range(SNAPSHOT_TRIES):
            rows, snapshot = await orders(ib, account)
            if snapshot:
                break
        else:
            raise UnexpectedAnswer("the live orders stay incomplete")
        await self._to.tell_each(self._to.orders, (partial(view.read_order, row, standing=standing) for row in rows))
        mark = (ib.keeper.opening.session, account)
        if mark not in self._first_reads:
            self._first_reads.add(mark)  # the first read of a session may be empty; docs/facts/orders.md §11
            await fills(ib, account, days=self._days)
        found = sorted(await fills(ib, account, days=self._days), key=lambda fill: fill.at)
        seeing = (partial(view.see_fill, fill, Source.READ, standing=standing) for fill in found)
        await self._to.tell_each(self._to.fills, seeing)

    # --- reading -----------------------------------------------------------------------------------------------

    async def _pump(self, link: Link) -> str:
        """The one reader: frames, and between them the chores. Returns why it ended."""
        clock = self._ib.clock
        while True:
            try:
                wait = await self._chores(link)
                data = await link.socket.receive(wait)
                if data is not None:
                    link.heard_at = clock.monotonic()
                    ended = await self._hearing.hear(link, wire.read_frame(data))
                    if ended is not None:
                        return ended
                if clock.monotonic() - link.heard_at >= SILENCE_S:
                    return f"no frame for {SILENCE_S:g} s"
            except Unreachable as error:
                return error.message

    # --- chores ------------------------------------------------------------------------------------------------

    async def _chores(self, link: Link) -> float:
        """Do what is due; seconds until there is something to do again."""
        now = self._ib.clock.monotonic()
        if now - link.tic_at >= TIC_EVERY_S:
            link.tic_at = now
            await link.socket.send(wire.TIC)
        self._watch_pnl(link, now)
        self._confirm(link, now)
        self._watch_trading(link, now)
        self._look_again(link, now)
        link.outbox.extend(self._lines.due(now, self._to.conids))
        for topic, silent_s in self._lines.gone_stale(now):
            self._to.tell(Stale(topic, silent_s))
        next_send = await link.flush(now)
        moments = [
            next_send,
            link.tic_at + TIC_EVERY_S,
            link.heard_at + SILENCE_S,
            self._lines.next_at(),
            link.confirm_by,
            link.unheard_at,
            None if link.reading else link.reread_at,
            None if link.reading else link.explain_at,
        ]
        if link.pnl_heard_at is not None and not link.pnl_stale:
            moments.append(link.pnl_heard_at + (PNL_STALE_S if link.pnl_asked else PNL_ASK_S))
        return max(0.0, min(moment for moment in moments if moment is not None) - now)

    def _watch_pnl(self, link: Link, now: float) -> None:
        if link.pnl_heard_at is None or link.pnl_stale:
            return
        silent_s = now - link.pnl_heard_at
        if silent_s >= PNL_ASK_S and not link.pnl_asked:
            link.pnl_asked = True
            link.outbox.append(wire.subscribe_pnl())
        if silent_s >= PNL_STALE_S:
            link.pnl_stale = True
            self._to.tell(Stale("spl", silent_s))
            link.outbox.append(wire.subscribe_pnl())

    def _watch_trading(self, link: Link, now: float) -> None:
        """A read found what `sor` or `str` had to tell: still untold, the topic is dead while the line stands."""
        if link.unheard_at is None or now < link.unheard_at:
            return
        link.unheard_at = None
        silent = [topic for topic in self._view.unheard if topic not in link.stale_topics]
        self._view.forgive()
        for topic in silent:
            link.stale_topics.add(topic)
            self._to.tell(Stale(topic, now - link.heard_topics.get(topic, now)))
        if silent:
            link.confirm_tries = 0
            self._subscribe_trading(link)

    def _confirm(self, link: Link, now: float) -> None:
        if link.confirm_by is None or now < link.confirm_by:
            return
        if link.confirm_tries >= CONFIRM_TRIES:
            raise Unreachable("the subscription to orders and trades is not heard", details={"cause": "timeout"})
        self._subscribe_trading(link)

    def _look_again(self, link: Link, now: float) -> None:
        """Start a read of orders and trades where one is due."""
        if link.reading or not link.live or not link.trading:
            return
        if link.explain_at is not None and now >= link.explain_at:
            link.explain_at = None
            if self._view.lacking:
                link.reread_at = now
        if link.reread_at is not None and now >= link.reread_at:
            link.reread_at = None
            link.reading = True
            link.group.start_soon(self._reread, link)

    def _subscribe_trading(self, link: Link) -> None:
        link.trading = True
        for topic in ("sor", "str"):
            link.heard_topics.setdefault(topic, self._ib.clock.monotonic())
        link.confirm_tries += 1
        link.confirm_by = self._ib.clock.monotonic() + CONFIRM_WITHIN_S
        # In this order: when the first `str` frame comes, `sor` was heard.
        link.outbox.extend((wire.subscribe_orders(), wire.subscribe_trades(days=self._days)))
        self._wake()

    def _subscribe_pnl(self, link: Link) -> None:
        link.pnl_heard_at = self._ib.clock.monotonic()
        link.outbox.append(wire.subscribe_pnl())
        self._wake()

    def _wake(self) -> None:
        """Have the reader look at its chores now: what is new is sent at once, not after the next heartbeat."""
        link = self._link
        if link is not None:
            link.group.start_soon(self._flush, link)

    async def _flush(self, link: Link) -> None:
        clock = self._ib.clock
        try:
            link.outbox.extend(self._lines.due(clock.monotonic(), self._to.conids))
            while (free_at := await link.flush(clock.monotonic())) is not None:
                await clock.sleep(max(0.0, free_at - clock.monotonic()))  # it may have come meanwhile
        except Unreachable:
            pass  # the reader meets the same and acts on it


async def _nothing() -> None:
    """Some topics come unasked."""
