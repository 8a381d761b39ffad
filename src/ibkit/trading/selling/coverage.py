"""What stands of each sold option, and what covers it: the arithmetic of the watchdog, without any I/O.

    the exits of a trade filled all that it sold        Over
    nothing stands at the broker any more               Gone
    exits that work cover what stands                   Covered
    they cover less                                     Missing
    they would buy more than stands                     TooMuch
    of a spread the bought leg is gone, the sold is not Broken: naked, and no order on the whole protects that
    one of them is in an unknown state                  Doubtful: a second stop beside it could turn the position round

Positions tell what stands, not our books: somebody may have dealt by hand. What was closed by hand is taken from the
oldest trade of a contract; what was added by hand is counted to the newest.
Source: requirements TRD-14, TRD-20.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import TypeAlias
from zoneinfo import ZoneInfo

from ibkit.model import Conid, Contract, Order, OrderStatus, OrderType, Position, Side
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.selling.exits import ExitPlan, OnMissing
from ibkit.trading.selling.trade import Trade

__all__ = [
    "SETTLE",
    "Broken",
    "Covered",
    "Doubtful",
    "ExitOrder",
    "Gone",
    "Missing",
    "Over",
    "Selling",
    "SoldNothing",
    "TooMuch",
    "Verdict",
    "Watched",
    "judge",
    "protective",
    "standing",
]

SETTLE = timedelta(seconds=60)
"""So long after a fill a position may not show it yet: until then nothing follows from its absence or its growth."""
NEW_YORK = ZoneInfo("America/New_York")
_CLOSE = time(16, 0)
_NOTHING = Decimal(0)
_PROTECTIVE = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAIL, OrderType.TRAIL_LIMIT})
_PROTECTIVE_WORDS = frozenset(kind.value for kind in _PROTECTIVE)
_RESTING = (OrderStatus.PRE_SUBMITTED, OrderStatus.SUBMITTED)


def protective(row: Order) -> bool:
    """Whether an order of the broker, of whomever, bounds the loss of a short position."""
    return row.side is Side.BUY and row.order_type in _PROTECTIVE_WORDS and row.status in _RESTING


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitOrder:
    """One order that may end a trade. row: how the broker shows it now; None where it does not.

    unseen: it should work, but neither a complete list nor its number shows it; perhaps it was cancelled unwatched.
    """

    intent: Intent
    row: Order | None = None
    unseen: bool = False

    @property
    def protects(self) -> bool:
        """It bounds the loss: a stop of some kind, by the broker's word where it is shown.

        The intent of a group whose answer was lost may have the number of the order beside its stop.
        """
        if self.row is not None:
            return self.row.order_type in _PROTECTIVE_WORDS
        return self.intent.ticket.order_type in _PROTECTIVE

    @property
    def closes(self) -> bool:
        """It buys at once, at whatever price."""
        return self.intent.ticket.order_type is OrderType.MARKET

    @property
    def works(self) -> bool:
        resting = self.intent.state is IntentState.ACKED and self.intent.order_status in _RESTING
        return resting and not self.unseen

    @property
    def doubtful(self) -> bool:
        """It may exist, or may be on its way, and is not seen working."""
        unproven = self.intent.state is IntentState.UNKNOWN_NEEDS_HUMAN and not self.intent.resolved
        return unproven or (not self.intent.state.final and not self.works)

    @property
    def left(self) -> Decimal:
        """What it may still buy; by the broker's word, for somebody may have changed it by hand."""
        if self.intent.state.final:
            return _NOTHING
        if self.row is not None:
            return max(self.row.total - self.row.filled, _NOTHING)
        return max(self.intent.ticket.quantity - self.intent.filled, _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One open trade and all orders that may end it, as they stood when it was looked at.

    busy: who is at work on it this very moment, in another process; empty where nobody is.
    """

    trade: Trade
    entry: Intent | None
    exits: tuple[ExitOrder, ...] = ()
    busy: str = ""

    @property
    def plan(self) -> ExitPlan:
        """Its own; a record from before there were plans demands its stop by a person."""
        return self.trade.exit_plan or ExitPlan(on_missing=OnMissing.ALERT)

    @property
    def demands_stop(self) -> bool:
        return self.trade.exit_plan is None or self.trade.exit_plan.protects

    @property
    def contract(self) -> Contract:
        assert self.entry is not None, "what was sold has an entry"
        return self.entry.ticket.contract

    @property
    def bought(self) -> Decimal:
        return sum((each.intent.filled for each in self.exits), _NOTHING)

    @property
    def remaining(self) -> Decimal:
        """What our books say stands."""
        sold = _NOTHING if self.entry is None else self.entry.filled
        return max(sold - self.bought, _NOTHING)

    @property
    def working(self) -> tuple[ExitOrder, ...]:
        return tuple(each for each in self.exits if each.works)

    @property
    def stops(self) -> tuple[ExitOrder, ...]:
        return tuple(each for each in self.working if each.protects)

    @property
    def doubtful(self) -> tuple[ExitOrder, ...]:
        return tuple(each for each in self.exits if each.doubtful)

    @property
    def covered(self) -> Decimal:
        """By our own orders."""
        return sum((each.left for each in self.working if each.protects or each.closes), _NOTHING)

    def settled(self, now: datetime) -> bool:
        """Its last fill is so long ago that positions show it."""
        filled = [each.intent for each in self.exits if each.intent.filled]
        return all(now - intent.updated_at >= SETTLE for intent in (*filled, *filter(None, [self.entry])))

    def past_expiry(self, now: datetime) -> bool:
        """Its last trading day is over: nothing can be bought any more."""
        local = now.astimezone(NEW_YORK)
        return (local.date(), local.time()) >= (self.trade.expiration, _CLOSE)


@dataclass(frozen=True, slots=True)
class SoldNothing:
    watched: Watched


@dataclass(frozen=True, slots=True)
class Selling:
    """Its sale is under way, or what it sold cannot be seen in the positions yet."""

    watched: Watched
    reason: str


@dataclass(frozen=True, slots=True)
class Over:
    watched: Watched


@dataclass(frozen=True, slots=True)
class Gone:
    """quantity: what our books thought stood, and does not."""

    watched: Watched
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Covered:
    """stands: how much of it there is."""

    watched: Watched
    stands: Decimal


@dataclass(frozen=True, slots=True)
class Missing:
    """quantity: what nothing covers. stands: all of it. grown: what was added by hand, and is part of both."""

    watched: Watched
    quantity: Decimal
    stands: Decimal
    grown: Decimal = _NOTHING


@dataclass(frozen=True, slots=True)
class TooMuch:
    """quantity: what its stops would buy beyond what stands, which would open a long position.

    foreign: stops of others do, beside ours; those are not ours to change.
    """

    watched: Watched
    quantity: Decimal
    stands: Decimal
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Doubtful:
    watched: Watched
    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """Of a spread. naked: contracts of its sold leg that stand without the bought one. stands: whole ones."""

    watched: Watched
    naked: Decimal
    stands: Decimal


Verdict: TypeAlias = SoldNothing | Selling | Over | Gone | Covered | Missing | TooMuch | Doubtful | Broken


def standing(contract: Contract, held: Mapping[Conid, Decimal]) -> Decimal:
    """How many of `contract` are sold, by what is held (signed); of a combination, how many whole ones."""
    if not contract.legs:
        return max(-held.get(contract.conid, _NOTHING), _NOTHING)
    whole = [-held.get(leg.contract.conid, _NOTHING) / leg.ratio for leg in contract.legs]
    return max(min(whole).to_integral_value(rounding="ROUND_FLOOR"), _NOTHING)


def judge(
    watched: Sequence[Watched], positions: Iterable[Position], rows: Iterable[Order], *, now: datetime
) -> tuple[Verdict, ...]:
    """What is to be said of each trade; positions and rows (the complete list of orders) as the broker shows them."""
    verdicts: list[Verdict] = []
    sold: defaultdict[str, list[Watched]] = defaultdict(list)
    for each in watched:
        plain = _by_our_books(each)
        if plain is not None:
            verdicts.append(plain)
        else:
            sold[each.contract.conidex].append(each)
    held: dict[Conid, Decimal] = {}
    for position in positions:
        held[position.contract.conid] = held.get(position.contract.conid, _NOTHING) + position.quantity
    strangers = _strangers(watched, rows)
    singles: defaultdict[Conid, Decimal] = defaultdict(Decimal)
    for each in (one for group in sold.values() for one in group if not one.contract.legs):
        singles[each.contract.conid] += each.remaining
    # Combinations first: what belongs to them is no single option's.
    for group in sorted(sold.values(), key=lambda group: not group[0].contract.legs):
        verdicts.extend(_judge_contract(group, held, singles, strangers, now))
    return tuple(verdicts)


def _by_our_books(each: Watched) -> Verdict | None:
    """The verdict that needs no position; None where it stands by our books."""
    entry = each.entry
    unproven = entry is not None and entry.state is IntentState.UNKNOWN_NEEDS_HUMAN and not entry.resolved
    if entry is None or (entry.final and not entry.filled and not unproven):
        return SoldNothing(each)
    if not entry.filled:
        if each.busy:
            return Selling(each, f"{each.busy} is selling it")
        return Doubtful(
            each, f"the entry order {entry.order_id or entry.ref} is {entry.state.value} and may fill without a stop"
        )
    return Over(each) if not each.remaining else None


def _strangers(watched: Sequence[Watched], rows: Iterable[Order]) -> dict[str, Decimal]:
    """What stops that are not ours cover, by contract."""
    ours = {each.intent.order_id for one in watched for each in one.exits}
    covered: dict[str, Decimal] = {}
    for row in rows:
        if protective(row) and row.order_id not in ours:
            name = row.conidex or str(row.conid)
            covered[name] = covered.get(name, _NOTHING) + max(row.total - row.filled, _NOTHING)
    return covered


def _judge_contract(
    group: list[Watched],
    held: dict[Conid, Decimal],
    singles: Mapping[Conid, Decimal],
    strangers: dict[str, Decimal],
    now: datetime,
) -> Iterable[Verdict]:
    """singles: what was sold of a contract by itself, which a leg of a spread is not."""
    newest_first = sorted(group, key=lambda each: each.trade.created_at, reverse=True)
    contract = newest_first[0].contract
    left = standing(contract, held)
    shares = []
    for each in newest_first:
        share = min(each.remaining, left)
        shares.append(share)
        left -= share
    settled = all(each.settled(now) for each in group)
    grown = left if settled and not contract.legs else _NOTHING
    for leg in contract.legs:
        held[leg.contract.conid] = held.get(leg.contract.conid, _NOTHING) + leg.ratio * sum(shares, _NOTHING)
    naked = _naked(contract, held, singles)
    foreign = strangers.get(contract.conidex, _NOTHING)
    mores = [grown, *(_NOTHING for _ in newest_first[1:])]
    used = []
    for each, share, more in zip(newest_first, shares, mores, strict=True):
        used.append(min(foreign, max(share + more - each.covered, _NOTHING)))
        foreign -= used[-1]
    for each, share, more, theirs in zip(newest_first, shares, mores, used, strict=True):
        alone = min(naked, each.remaining - share)
        naked -= alone
        verdict = _judge_one(each, share, more, theirs, now, naked=alone)
        if foreign and isinstance(verdict, Covered) and each.demands_stop and not each.past_expiry(now):
            verdict, foreign = TooMuch(each, foreign, verdict.stands, foreign=True), _NOTHING
        yield verdict


def _naked(contract: Contract, held: Mapping[Conid, Decimal], singles: Mapping[Conid, Decimal]) -> Decimal:
    """Of the sold leg of a spread, what stands although the bought one does not; held: without what stands whole."""
    sold = [leg.contract.conid for leg in contract.legs if leg.ratio > 0]
    left = (-held.get(conid, _NOTHING) - singles.get(conid, _NOTHING) for conid in sold)
    return max(sum((max(each, _NOTHING) for each in left), _NOTHING), _NOTHING)


def _judge_one(
    each: Watched, share: Decimal, grown: Decimal, foreign: Decimal, now: datetime, *, naked: Decimal = _NOTHING
) -> Verdict:
    """share: what stands of what it sold. grown: what was added by hand. foreign: what stops of others cover of it.

    naked: of what does not stand whole, the sold leg alone.
    """
    stands = share + grown
    lost = each.remaining - share
    if lost and not each.settled(now):
        return Selling(each, "the positions do not show its last fill yet")
    if naked and not each.busy:
        # After its last day nobody can buy it any more: it is waited for until IBKR shows nothing of it.
        return Covered(each, stands) if each.past_expiry(now) else Broken(each, naked, stands)
    if not stands:
        return Gone(each, lost)
    if each.busy:
        return Selling(each, f"{each.busy} is at work on it")
    if each.past_expiry(now) or not each.demands_stop:
        return Covered(each, stands)
    if each.doubtful:
        names = ", ".join(
            f"{one.intent.order_id or one.intent.ref} ({'not shown by IBKR' if one.unseen else one.intent.state.value})"
            for one in each.doubtful
        )
        return Doubtful(each, f"order {names} may work or not")
    covered = each.covered + foreign
    if covered < stands:
        return Missing(each, stands - covered, stands, grown)
    beyond = max(_buying(each, protects=kind) for kind in (True, False)) - stands
    return TooMuch(each, beyond, stands) if beyond > 0 else Covered(each, stands)


def _buying(each: Watched, *, protects: bool) -> Decimal:
    """What its stops would buy together, or what the others would: of each pair only one does."""
    return sum((one.left for one in each.working if one.protects is protects), _NOTHING)
