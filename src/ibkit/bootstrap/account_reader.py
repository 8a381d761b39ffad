"""The accounts of one login, read once for all who look: pages, programs, however many.

    asked, young     what is held is given; no call
    asked, old       one read, which everybody who asks meanwhile waits for
    not read         what is held is given with its age and the reason; after ten minutes the reason alone

While somebody asked within the last minute, the login's stream of quotes tells the prices of what is held between two
reads. Nothing runs for an account that nobody looks at. Source: requirement SYN-17.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio

from ibkit.client.account_reads import AccountFigures, AccountReads, Holdings
from ibkit.errors import IbkitError, Unreachable
from ibkit.model import AccountId, Availability, Conid, Position, Quote
from ibkit.trading.risk import DailyPnl
from ibkit.trading.selling.coverage import judge
from ibkit.trading.watching.protecting import Guard, guards, unknown_guards

if TYPE_CHECKING:
    from ibkit.bootstrap.connections import Connection
    from ibkit.bootstrap.desks import Desk

__all__ = ["AccountReader", "FiguresTold", "HeldTold", "PositionTold", "repriced"]

log = logging.getLogger(__name__)

FIGURES_S: Final = 10.0
HOLDINGS_S: Final = 5.0
ORDERS_S: Final = 30.0
PNL_ONCE_IN_S: Final = 30.0
"""IBKR tells it of one account at a time; of another nothing comes, and it would be asked for again and again."""
WATCHED_S: Final = 60.0
"""How long after the last question prices are still listened to."""
TOO_OLD_S: Final = 600.0
MOST_LINES: Final = 30
"""Of the login's ninety: listeners of their own come first."""
_LOOK_S: Final = 1.0
_AGAIN_S: Final = 30.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class FiguresTold:
    """day_pnl: None where IBKR tells it of another account. problem: why it could not be read anew."""

    account_id: AccountId
    figures: AccountFigures
    day_pnl: DailyPnl | None
    at: datetime
    problem: IbkitError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionTold:
    """price_at: of when its price is."""

    position: Position
    price_at: datetime
    guard: Guard


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTold:
    account_id: AccountId
    positions: tuple[PositionTold, ...]
    at: datetime
    problem: IbkitError | None = None


@dataclass(slots=True)
class _Kept(Generic[T]):
    """One account's latest. read_at: by the monotonic clock."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    value: T | None = None
    read_at: float = 0.0
    tried_at: float = -TOO_OLD_S
    problem: IbkitError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    holdings: Holdings
    guards: Mapping[Conid, Guard]


class AccountReader:
    """Of one connection. Whoever asks has its desk, so that the account is one of this login."""

    def __init__(self, connection: Connection) -> None:
        self._of = connection
        self._reads = AccountReads(connection.client)
        self._figures: dict[AccountId, _Kept[FiguresTold]] = {}
        self._held: dict[AccountId, _Kept[_Seen]] = {}
        self._pnl_due: dict[AccountId, float] = {}
        self._asked_at: dict[AccountId, float] = {}
        self._wanted = anyio.Event()
        self._quotes: dict[Conid, tuple[Quote, datetime]] = {}

    async def figures(self, desk: Desk) -> FiguresTold:
        """What the account is worth. Errors of the broker where nothing of the last ten minutes is known."""
        kept = self._figures.setdefault(desk.account_id, _Kept())
        told = await self._shared(kept, FIGURES_S, lambda: self._read_figures(desk))
        return dataclasses.replace(told, problem=kept.problem)

    async def held(self, desk: Desk) -> HeldTold:
        """What the account holds, at the latest prices. Errors as `figures`."""
        kept = self._held.setdefault(desk.account_id, _Kept())
        seen = await self._shared(kept, HOLDINGS_S, lambda: self._read_held(desk))
        self._asked_at[desk.account_id] = self._of.clock.monotonic()
        self._wanted.set()
        at = seen.holdings.at
        return HeldTold(
            account_id=desk.account_id,
            positions=tuple(self._priced(each, at, seen.guards) for each in seen.holdings.positions),
            at=at,
            problem=kept.problem,
        )

    async def _shared(self, kept: _Kept[T], age_s: float, read: Callable[[], Awaitable[T]]) -> T:
        async with kept.lock:
            if self._of.clock.monotonic() - kept.tried_at >= age_s:
                try:
                    kept.value = await read()
                    kept.read_at, kept.problem = self._of.clock.monotonic(), None
                except IbkitError as error:
                    kept.problem = error
                # After the read: one that took long is not asked for again by everybody who waited.
                kept.tried_at = self._of.clock.monotonic()
            if kept.value is not None and self._of.clock.monotonic() - kept.read_at < TOO_OLD_S:
                return kept.value
            assert kept.problem is not None, "what was read just now is young"
            raise kept.problem

    async def _read_figures(self, desk: Desk) -> FiguresTold:
        figures = await self._reads.figures(desk.account_id)
        return FiguresTold(
            account_id=desk.account_id,
            figures=figures,
            day_pnl=await self._day_pnl(desk),
            at=self._of.clock.now(),
        )

    async def _day_pnl(self, desk: Desk) -> DailyPnl | None:
        """Another account is never selected for it: that is for orders."""
        now = self._of.clock.monotonic()
        kept = self._figures[desk.account_id].value
        if now < self._pnl_due.get(desk.account_id, now):
            return None if kept is None else kept.day_pnl
        self._pnl_due[desk.account_id] = now + PNL_ONCE_IN_S
        try:
            return await desk.broker.daily_pnl(desk.account_id)
        except IbkitError as error:  # one figure of many
            log.info("the day's result could not be read", extra={"code": error.code})
            return None

    async def _read_held(self, desk: Desk) -> _Seen:
        holdings = await self._reads.holdings(desk.account_id)
        if not holdings.positions:
            return _Seen(holdings=holdings, guards={})
        try:
            known = await desk.watchdog(acts=False).known()  # before the list, see `Looker`
            read = await desk.broker.recent_orders(desk.account_id, within_s=ORDERS_S)
            if not read.complete or read.first:
                return _Seen(holdings=holdings, guards=unknown_guards(holdings.positions))
        except IbkitError as error:
            log.info("what protects positions could not be read", extra={"code": error.code})
            return _Seen(holdings=holdings, guards=unknown_guards(holdings.positions))
        verdicts = judge(known, holdings.positions, read.orders, now=self._of.clock.now())
        return _Seen(holdings=holdings, guards=guards(holdings.positions, verdicts, read.orders))

    # -- prices between two reads -------------------------------------------------------------------------------------

    def _priced(self, position: Position, at: datetime, told: Mapping[Conid, Guard]) -> PositionTold:
        guard = told[position.contract.conid]
        heard = self._quotes.get(position.contract.conid)
        if heard is None or heard[1] <= at:
            return PositionTold(position=position, price_at=at, guard=guard)
        quote, heard_at = heard
        return PositionTold(position=repriced(position, quote), price_at=heard_at, guard=guard)

    async def run(self) -> None:
        """For ever: listens to the prices of what is held while somebody looks."""
        while True:
            await self._wanted.wait()
            conids = self._conids()
            if not conids:
                self._wanted = anyio.Event()
                self._quotes.clear()
                continue
            try:
                await self._listen(conids)
            except IbkitError as error:  # prices then come with each read
                log.info("prices could not be listened to", extra={"code": error.code})
                await self._of.clock.sleep(_AGAIN_S)

    async def _listen(self, conids: frozenset[Conid]) -> None:
        """As long as these are what is held and looked at."""
        self._quotes = {conid: heard for conid, heard in self._quotes.items() if conid in conids}
        async with self._of.quote_lines.listen(conids) as quotes:
            while self._conids() == conids:
                quote: Quote | None = None
                with anyio.move_on_after(_LOOK_S) as limit:
                    quote = await anext(quotes, None)
                if quote is None and not limit.cancelled_caught:
                    raise Unreachable("the stream of quotes ended")
                if quote is not None and quote.availability is Availability.REAL_TIME:
                    self._quotes[quote.conid] = quote, self._of.clock.now()

    def _conids(self) -> frozenset[Conid]:
        """At most `MOST_LINES` of what is held in accounts that somebody looks at."""
        since = self._of.clock.monotonic() - WATCHED_S
        found: dict[Conid, None] = {}
        for account_id, asked_at in self._asked_at.items():
            seen = self._held[account_id].value
            if asked_at >= since and seen is not None:
                found |= dict.fromkeys(each.contract.conid for each in seen.holdings.positions)
        return frozenset(list(found)[:MOST_LINES])


def repriced(position: Position, quote: Quote) -> Position:
    """At the quote's mark, else its last price; as it was where neither is told, or its worth would be a guess."""
    price = quote.mark if quote.mark is not None else None if quote.last_is_close else quote.last
    value, multiplier = position.market_value, position.contract.multiplier
    if price is None or position.market_price is None or value is None or not position.contract.currency:
        return position
    new = price * position.quantity * multiplier
    before = position.market_price * position.quantity * multiplier
    if before and abs(value - before) > abs(before) / 100:
        return position  # its worth is not price x quantity x multiplier, as of a bond
    unrealized = position.unrealized_pnl
    return dataclasses.replace(
        position,
        market_price=price,
        market_value=new,
        unrealized_pnl=None if unrealized is None else unrealized + (new - value),
    )
