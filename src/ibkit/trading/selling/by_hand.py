"""Whether a sold position is still there: a person may have closed it before its key was repeated.

A stop for a position that is gone would open a new one when it triggers. So before a stop is placed for an entry of an
earlier run, the account's positions are read; only two reads that agree, some seconds apart, count as gone. A read
that fails, or an entry too young for positions to show it, places the stop as before: naked is worse than one too many.

Decision: docs/adr/0006-closed-by-hand.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.model import Contract, Position
from ibkit.trading.intent import Intent
from ibkit.trading.ports import Broker

__all__ = ["Held", "HeldPositions", "held_of"]

YOUNG = timedelta(seconds=60)
"""An entry sent less than this ago may have filled a moment ago: positions are not asked about it."""
_BETWEEN_READS_S = 5.0


@dataclass(frozen=True, slots=True)
class Held:
    """short: contracts of the sold leg that the account is short. whole: how many of the whole it holds.

    They differ only for a spread whose legs no longer match.
    """

    short: Decimal
    whole: Decimal


@dataclass(frozen=True, slots=True)
class HeldPositions:
    broker: Broker
    clock: Clock

    async def of(self, entry: Intent, *, expected: Decimal) -> Held | None:
        """What the account holds of what `entry` sold; None where it is all of `expected`, or not to be relied on."""
        if entry.sent_at is None or self.clock.now() - entry.sent_at < YOUNG:
            return None
        first = await self._read(entry)
        if first is None or first.whole >= expected:
            return None
        await self.clock.sleep(_BETWEEN_READS_S)
        second = await self._read(entry)
        if second is None or second.whole >= expected:
            return None
        return Held(short=max(first.short, second.short), whole=max(first.whole, second.whole))

    async def _read(self, entry: Intent) -> Held | None:
        try:
            positions = await self.broker.positions(entry.planned.account_id)
        except IbkitError:
            return None
        return held_of(entry.ticket.contract, positions)


def held_of(contract: Contract, positions: tuple[Position, ...]) -> Held:
    """What of `contract`, sold short, stands in `positions`; of a combination by its legs."""
    quantities = {position.contract.conid: position.quantity for position in positions}
    parts = [(leg.contract.conid, leg.ratio) for leg in contract.legs] or [(contract.conid, 1)]
    by_leg = [max(-quantities.get(conid, Decimal(0)) / ratio, Decimal(0)) for conid, ratio in parts]
    return Held(short=by_leg[0], whole=min(by_leg))
