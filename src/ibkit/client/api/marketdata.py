"""Verbs of market data: snapshots, warmed up.

Source: docs/facts/contracts-and-market-data.md §2.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import anyio

from ibkit.client.api.contracts import search
from ibkit.errors import Effect, IbkitError, NotPermitted, UnexpectedAnswer
from ibkit.model import Availability, Conid, Contract, Quote, SecType
from ibkit.wire.marketdata import (
    QUOTE_FIELDS,
    SNAPSHOT,
    SNAPSHOT_CONIDS,
    UNSUBSCRIBE_ALL,
    SnapshotRow,
    has_both_sides,
    has_data,
    quote_from_wire,
)

if TYPE_CHECKING:
    from ibkit.client.core import Core

log = logging.getLogger(__name__)

WARM_UP_STEP_S: Final = 0.5
WARM_UP_S: Final = 6.0
LINE_WITHIN_S: Final = 5.0
"""Source: §2.1."""


async def snapshot(
    ib: Core, conids: Sequence[Conid], *, fields: Sequence[str] = QUOTE_FIELDS
) -> tuple[SnapshotRow, ...]:
    """One look, as it comes: the first one only opens the stream. In the order asked; at most 100 a call."""
    rows: dict[int, SnapshotRow] = {}
    for start in range(0, len(conids), SNAPSHOT_CONIDS):
        part = conids[start : start + SNAPSHOT_CONIDS]
        query = {"conids": ",".join(str(conid) for conid in part), "fields": ",".join(fields)}
        for row in await ib.request(SNAPSHOT, query=query):
            rows[_conid_of(row)] = row
        ib.caches.lines.update(part)
    return tuple(rows.get(conid, {"conid": conid}) for conid in conids)


async def glance(ib: Core, conid: Conid) -> Quote:
    """One look as it comes, also where nothing has come yet: `missing_of` tells."""
    (row,) = await snapshot(ib, (conid,))
    try:
        return quote_from_wire(row)
    except ValueError as error:
        raise UnexpectedAnswer(f"a quote that cannot be read: {error}", effect=Effect.NONE) from error


async def quote(ib: Core, conid: Conid, *, kept: bool = False) -> Quote:
    """A warmed-up quote. NotPermitted E-MD-NONE without data or subscription, E-MD-ACK without the agreement.

    kept: as in `quotes`.
    """
    (found,) = await quotes(ib, (conid,), kept=kept)
    error = missing_of(found)
    if error is not None:
        raise error
    return found


async def quotes(ib: Core, conids: Sequence[Conid], *, kept: bool = False) -> tuple[Quote, ...]:
    """Quotes in the order asked, each waited for until bid and ask are there or the time is up.

    kept: one of the last second will do. Whoever decides about money by it asks anew.

    NotPermitted as in `quote`, where none of them has any data.
    """
    shelf, now = ib.caches.quotes, ib.clock.monotonic()
    known = {conid: held for conid in conids if kept and (held := shelf.get(conid, now)) is not None}
    missing = tuple(conid for conid in conids if conid not in known)
    if missing:
        known |= zip(missing, await _quotes_now(ib, missing), strict=True)
    found = tuple(known[conid] for conid in conids)
    errors = [missing_of(each) for each in found]
    if errors and all(error is not None for error in errors):
        assert errors[0] is not None
        raise errors[0]
    return found


async def _quotes_now(ib: Core, conids: Sequence[Conid]) -> tuple[Quote, ...]:
    shelf = ib.caches.quotes
    turn = shelf.turn
    rows = await _warmed_up(ib, conids)
    try:
        found = tuple(quote_from_wire(row) for row in rows)
    except ValueError as error:
        raise UnexpectedAnswer(f"a quote that cannot be read: {error}", effect=Effect.NONE) from error
    for conid, each in zip(conids, found, strict=True):
        if missing_of(each) is None:
            shelf.put(conid, each, ib.clock.monotonic(), asked_in=turn)
    return found


async def unsubscribe_all(ib: Core) -> None:
    """Give all market data lines of this session back."""
    await ib.request(UNSUBSCRIBE_ALL)
    ib.caches.lines.clear()


async def open_line(ib: Core, contract: Contract) -> None:
    """The contract's stream, where this brokerage session has not opened it: a new session begins without any.

    Of a combination the streams of its legs.

    An order for a contract without one raises o354, which may not be confirmed blindly: a stop would then fail just
    when the session was lost. Raises nothing of IBKR's: the order itself will say what is wrong.
    Source: docs/facts/contracts-and-market-data.md §0.1 (an option stays dark until its underlying was searched).
    """
    wanted = [conid for conid in conids_of(contract) if conid not in ib.caches.lines]
    if not wanted:
        return
    with anyio.move_on_after(LINE_WITHIN_S):  # a stop must not wait for a market data call that hangs
        try:
            if contract.sec_type in (SecType.OPTION, SecType.COMBO):
                await search(ib, contract.symbol)
            await snapshot(ib, wanted)
        except IbkitError as error:
            log.info("no stream for %s before its order: %s", contract.label, error.message)


def conids_of(contract: Contract) -> tuple[Conid, ...]:
    """What is quoted of it: itself, or of a combination its legs, for its own number names no instrument."""
    return tuple(leg.contract.conid for leg in contract.legs) or (contract.conid,)


async def _warmed_up(ib: Core, conids: Sequence[Conid]) -> tuple[SnapshotRow, ...]:
    """Look again until every row has what can be waited for. A cash index has no bid and ask: any value will do."""
    deadline = ib.clock.monotonic() + WARM_UP_S
    enough: list[Callable[[SnapshotRow], bool]] = [has_data if _one_sided(ib, conid) else _settled for conid in conids]
    while True:
        rows = await snapshot(ib, conids)
        done = all(fits(row) for fits, row in zip(enough, rows, strict=True))
        if done or ib.clock.monotonic() + WARM_UP_STEP_S > deadline:
            return rows
        await ib.clock.sleep(WARM_UP_STEP_S)


def _settled(row: SnapshotRow) -> bool:
    # Waiting does not bring a subscription: N and O are final. Source: §2.3.
    return has_both_sides(row) or str(row.get("6509", ""))[:1] in ("N", "O")


def _one_sided(ib: Core, conid: Conid) -> bool:
    known = ib.caches.known.get(conid)
    return known is not None and known.sec_type is SecType.INDEX


def _conid_of(row: SnapshotRow) -> int:
    return int(row.get("conid") or str(row.get("conidEx", "0")).split("@")[0])


def missing_of(quote: Quote) -> NotPermitted | None:
    """Why this is no quote at all, if so. A delayed or frozen one is a quote. TRD-08."""
    if quote.availability is Availability.NO_ACKNOWLEDGEMENT:
        return NotPermitted("Market Data API acknowledgement missing", code="E-MD-ACK")
    if quote.availability is Availability.NOT_SUBSCRIBED:
        return NotPermitted(f"No market data available for {quote.conid}: not subscribed", code="E-MD-NONE")
    if all(value is None for value in (quote.bid, quote.ask, quote.last, quote.mark)):
        return NotPermitted(f"No market data available for {quote.conid}", code="E-MD-NONE")
    return None
