"""One account at one moment, whole: every page of its positions, its cash and what it is worth, or an error.

A picture is looked at before it counts: rows that stand twice, and an empty list although the account is worth
something, are no picture (SYN-06; faults F109, F111, F114).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ibkit.errors import Effect, UnexpectedAnswer
from ibkit.model import AccountId, AccountSummary, CashBalance, Fill, Position

__all__ = ["Execution", "Picture", "RawPayload", "sizes_of", "told_alike"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPayload:
    """An answer as it came. what: the endpoint; part: which of several, as the number of a page."""

    what: str
    part: int = 0
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A fill with what its row says of the listing. row: its place in the answer, counted from 0.

    multiplier: as its amount of money tells it, None where that does not.
    """

    fill: Fill
    row: int
    symbol: str = ""
    asset_class: str = ""
    multiplier: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """position_value: what all positions are worth by the account's summary, None where it did not say.

    incomplete: conids of rows that lacked a currency or had a figure that is none: their units count, no more.
    executions: of the last days, where the login may read them; told_by: the answer that they stand in.
    """

    account_id: AccountId
    currency: str
    positions: tuple[Position, ...]
    cash: tuple[CashBalance, ...]
    summary: AccountSummary | None = None
    net_liquidation: Decimal | None
    position_value: Decimal | None
    taken_at: datetime
    incomplete: tuple[int, ...] = ()
    raw: tuple[RawPayload, ...] = ()
    executions: tuple[Execution, ...] = ()
    told_by: RawPayload | None = None

    def __post_init__(self) -> None:
        for position in self.positions:
            if position.account_id != self.account_id:
                raise torn(f"a position of account {position.account_id} among those of {self.account_id}")
        twice = _twice((int(each.contract.conid), each.model) for each in self.positions)
        if twice is not None:
            raise torn(f"the position of conid {twice[0]} stands twice: its pages moved while they were read")
        if any(position.quantity for position in self.positions):
            return
        if self.position_value is None:
            raise torn("no position was told, and the account's summary does not say that there is none")
        if self.position_value != 0:
            raise torn(f"no position was told, but the account holds {self.position_value} {self.currency} in them")


def sizes_of(positions: Iterable[Position]) -> Mapping[tuple[int, str], Decimal]:
    """Quantity by conid and model, those of zero left out."""
    return {(int(each.contract.conid), each.model): each.quantity for each in positions if each.quantity != 0}


def told_alike(paged: Iterable[Position], uncached: Iterable[Position]) -> bool:
    """Whether two reads tell the same positions. A change between them makes them differ: they are read again."""
    return sizes_of(paged) == sizes_of(uncached)


def torn(why: str) -> UnexpectedAnswer:
    """E-SYNC-FAILED."""
    return UnexpectedAnswer(f"Sync failed: {why}", code="E-SYNC-FAILED", effect=Effect.NONE)


def _twice(keys: Iterable[tuple[int, str]]) -> tuple[int, str] | None:
    seen: set[tuple[int, str]] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    return None
