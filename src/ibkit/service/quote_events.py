"""Quotes as they change: the newest of each contract that a user listens to.

A listener that lags behind gets the newest quote of each contract and none of those between; nothing is kept to resume
from. Prices are for display: an order is checked against a quote of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import anyio
import msgspec

from ibkit.bootstrap.quote_lines import QuoteLines
from ibkit.errors import RateLimited
from ibkit.model import Conid, Quote
from ibkit.service.brokers import Capability
from ibkit.service.events import HEARTBEAT_S, Event, Source
from ibkit.service.logins import Logins
from ibkit.service.people import of_theirs
from ibkit.users.principal import Principal

__all__ = ["MOST_LINES_EACH", "QuoteData", "QuoteEvents", "QuotesWanted"]

MOST_LINES_EACH = 30
"""Of the login's ninety, for one user in all of their streams."""
_LOOK_S = 1.0


class QuoteData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices per unit; null: the broker did not say. mark: by which IBKR values a position. availability: real_time,
    delayed, frozen, …

    at: when the broker updated it. halted, last_is_close: what `last` is.
    """

    broker: str
    conid: int
    symbol: str | None
    bid: Decimal | None
    ask: Decimal | None
    last: Decimal | None
    mark: Decimal | None
    bid_size: Decimal | None
    ask_size: Decimal | None
    availability: str
    halted: bool
    last_is_close: bool
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotesWanted:
    """broker, connection_id: None for the default. symbols: of stocks, upper case."""

    broker: str | None
    connection_id: str | None = None
    symbols: tuple[str, ...] = ()
    conids: tuple[Conid, ...] = ()


class QuoteEvents:
    """stopping: whether the process is about to end, and every stream with it."""

    def __init__(self, logins: Logins, stopping: Callable[[], bool]) -> None:
        self._logins = logins
        self._stopping = stopping
        self._lines: dict[str, Counter[tuple[str, Conid]]] = {}

    async def stream(self, who: Principal, wanted: QuotesWanted) -> Source:
        """Each change as an event `quote`.

        ConfigError (E-BROKER), NotFound (E-CONTRACT), AuthError (nobody is signed in), RateLimited (too many lines).
        """
        name = wanted.broker or self._logins.brokers.default
        self._check(who, name, wanted.conids, more=len(wanted.symbols))
        login = await self._logins.of(who, name, wanted.connection_id, Capability.QUOTES)
        desk = await login.desk(of_theirs(who, None) if who.accounts and len(who.accounts) == 1 else None)
        names: dict[Conid, str | None] = dict.fromkeys(wanted.conids)
        for symbol in wanted.symbols:
            names[(await desk.broker.underlying(symbol)).conid] = symbol
        self._check(who, name, names)
        lines: QuoteLines = login.quote_lines
        lines.check(names.keys())
        return self._told(who, name, lines, names)

    async def _told(
        self, who: Principal, name: str, lines: QuoteLines, names: Mapping[Conid, str | None]
    ) -> AsyncIterator[Event | None]:
        with self._held(who, name, names):
            async with lines.listen(names.keys()) as quotes:
                quiet = 0.0
                while not self._stopping():
                    quote: Quote | None = None
                    with anyio.move_on_after(_LOOK_S):
                        quote = await anext(quotes, None)
                        if quote is None:
                            return  # the login's stream is over
                    if quote is not None:
                        quiet = 0.0
                        yield Event("quote", _data(name, names.get(quote.conid), quote))
                        continue
                    quiet += _LOOK_S
                    if quiet >= HEARTBEAT_S:
                        quiet = 0.0
                        yield None

    def _check(self, who: Principal, broker: str, conids: Iterable[Conid], *, more: int = 0) -> None:
        """more: of which it is not known yet whether they are others. A contract in two streams is one line."""
        held = self._lines.get(who.user_id, Counter())
        wanted = held.keys() | {(broker, conid) for conid in conids}
        if max(len(wanted), more) > MOST_LINES_EACH:
            raise RateLimited(
                f"Rate limit reached: {MOST_LINES_EACH} market data lines for each user",
                remedy="Listen to fewer contracts, or close another stream first.",
                details={"retry_after": 5},
            )

    @contextmanager
    def _held(self, who: Principal, broker: str, conids: Iterable[Conid]) -> Iterator[None]:
        taken = Counter((broker, conid) for conid in conids)
        held = self._lines.setdefault(who.user_id, Counter())
        held.update(taken)
        try:
            yield
        finally:
            held.subtract(taken)
            for line in taken:
                if not held[line]:
                    del held[line]
            if not held:
                self._lines.pop(who.user_id, None)


def _data(broker: str, symbol: str | None, quote: Quote) -> QuoteData:
    return QuoteData(
        broker=broker,
        conid=quote.conid,
        symbol=symbol,
        bid=quote.bid,
        ask=quote.ask,
        last=quote.last,
        mark=quote.mark,
        bid_size=quote.bid_size,
        ask_size=quote.ask_size,
        availability=quote.availability.name.lower(),
        halted=quote.halted,
        last_is_close=quote.last_is_close,
        at=quote.at,
    )
