"""How often: RC-18 rate of orders, RC-19 repeats of one order, RC-20 refusals by the broker.

All three count what actually left, as the journal has it, and not what was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from ibkit.model import Contract, Side
from ibkit.trading.events import Operation
from ibkit.trading.risk.book import Halt, HaltMode
from ibkit.trading.risk.case import Case, Reading
from ibkit.trading.risk.loss import BREAKER

__all__ = ["REJECT_HALT", "WINDOW", "order_rate", "rejects", "repeats"]

WINDOW = timedelta(seconds=60)
REJECT_HALT = timedelta(minutes=5)
_SECOND = timedelta(seconds=1)
_LOOP = 3
"""So many times its quantity may have left of an open order before it is taken for a loop."""


def order_rate(case: Case) -> Reading:
    """RC-18: orders of the account in a second, a minute, a day, with those of this request."""
    control, name, limits, new = "RC-18", "order_rate", case.limits, len(case.tickets)
    # The day counts whole; of the windows the moments are known. A send from "the future" (the clock went back) counts.
    counts = (
        ("in a second", limits.orders_per_second, _since(case, _SECOND)),
        ("in a minute", limits.orders_per_minute, _since(case, WINDOW)),
        ("in a day", limits.orders_per_day, case.usage.sent_today - len(case.own_sent)),
    )
    worst: Reading | None = None
    for words, most, before in counts:
        if most is None:
            continue
        count = before + new
        shown, limit, left = f"{count} {words}", f"{most} {words}", Decimal(most - count)
        if count > most:
            return case.refuses(control, name, shown, limit, headroom=left)
        if worst is None or left < (worst.headroom or Decimal(0)):
            worst = case.passes(control, name, shown, limit, left)
    return worst or case.off(control, name)


def repeats(case: Case) -> Reading:
    """RC-19: the same contract and side too often, or an open order that left several times. Halts the symbol."""
    control, name, most = "RC-19", "repeat_breaker", case.limits.repeat_breaker
    if most is None:
        return case.off(control, name)
    worst = 0
    for contract, side in dict.fromkeys((ticket.contract, ticket.side) for ticket in case.openers):
        count = _repeated(case, contract, side)
        if count > most:
            words = f"{count} orders to {side.value} {contract.label} within a minute"
            return _tripped(case, contract, f"{count}", f"{most}", words)
        sent, intended = _sent_and_intended(case, contract, side)
        if sent > _LOOP * intended:
            words = f"{sent:f} of {contract.label} left, {intended:f} were wanted"
            return _tripped(case, contract, f"{sent:f}", f"{_LOOP * intended:f}", words)
        worst = max(worst, count)
    return case.passes(control, name, f"{worst} in a minute", f"{most} in a minute", Decimal(most - worst))


def rejects(case: Case) -> Reading:
    """RC-20: so many refusals by the broker within a minute halt the account for five minutes."""
    control, name, most = "RC-20", "reject_breaker", case.limits.reject_breaker
    if most is None:
        return case.off(control, name)
    tripped = _tripped_at(sorted(case.usage.rejects), most)
    if tripped is not None and case.now < tripped + REJECT_HALT:
        until = tripped + REJECT_HALT
        halt = Halt(
            environment=case.scope.environment,
            mode=HaltMode.BLOCK_NEW,
            by=BREAKER,
            note=f"{most} refusals by the broker within a minute",
            at=case.now,
            account_id=case.account_id,
            until=until,
            control=control,
        )
        message = f"The broker refused {most} orders within a minute; nothing new until {until:%H:%M:%S} UTC"
        return case.refuses(control, name, f"{most}", f"{most - 1}", message=message, halt=halt)
    recent = sum(at > case.now - WINDOW for at in case.usage.rejects)
    return case.passes(control, name, f"{recent} in a minute", f"{most} in a minute", Decimal(most - recent))


def _since(case: Case, window: timedelta) -> int:
    since = case.now - window
    return sum([sent.at > since for sent in case.sent])


def _repeated(case: Case, contract: Contract, side: Side) -> int:
    """Placements of that contract and side in the last minute, with those of this request."""
    since, wanted = case.now - WINDOW, contract.conidex
    before = sum(
        sent.operation is Operation.PLACE and sent.side is side and sent.contract == wanted and sent.at > since
        for sent in case.sent
    )
    if case.operation is Operation.MODIFY:
        return before
    return before + sum((t.contract, t.side) == (contract, side) for t in case.openers)


def _sent_and_intended(case: Case, contract: Contract, side: Side) -> tuple[Decimal, Decimal]:
    """Of our open orders of that contract and side: what left in all, and what was wanted."""
    orders = [o for o in case.open if o.ticket.side is side and o.ticket.contract.conidex == contract.conidex]
    orders = [order for order in orders if not order.ended]
    zero = Decimal(0)
    return sum((o.sent for o in orders), zero), sum((o.ticket.quantity for o in orders), zero)


def _tripped(case: Case, contract: Contract, value: str, limit: str, words: str) -> Reading:
    halt = Halt(
        environment=case.scope.environment,
        mode=HaltMode.BLOCK_NEW,
        by=BREAKER,
        note=words,
        at=case.now,
        account_id=case.account_id,
        symbol=contract.symbol,
        control="RC-19",
    )
    message = f"Too many of the same order: {words}; {contract.symbol} is halted"
    return case.refuses("RC-19", "repeat_breaker", value, limit, message=message, halt=halt)


def _tripped_at(moments: Sequence[datetime], most: int) -> datetime | None:
    """When the last run of `most` refusals within a minute was complete, None where there was none."""
    found = None
    for index in range(most - 1, len(moments)):
        if moments[index] - moments[index - most + 1] <= WINDOW:
            found = moments[index]
    return found
