"""Whether three tell the same of an account: our ledger, its newest statement, and what is held live.

Each difference has a cause, as far as one can be told, and what to do about it; at 0.00 it is none. A cause is a guess
with a reason: the reason stands beside it.
Source: requirement FUT-08; docs/facts/accounts-and-portfolio.md §6.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from ibkit.portfolio.book import Holding
from ibkit.portfolio.days import NEW_YORK
from ibkit.portfolio.kinds import SETTLED_DAILY
from ibkit.portfolio.ledger import Opening
from ibkit.portfolio.mapping import CASH_CLASS
from ibkit.portfolio.statements import StatementTold, covered, gaps
from ibkit.portfolio.told_holdings import newest_told
from ibkit.portfolio.transactions import Listed, Origin, Traded, Transaction, cash_of, quantities_of

__all__ = ["Against", "Cause", "Difference", "Figure", "Fix", "Live", "end_of", "live_of", "reconcile"]

_ZERO = Decimal(0)
_CENT: Final = Decimal("0.005")
"""Cash that differs by less than half a cent does not."""
_DAY: Final = timedelta(days=1)
_SPLITS: Final = frozenset(
    ratio for each in (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 50) for ratio in (Fraction(each), Fraction(1, each))
) | {Fraction(3, 2), Fraction(2, 3), Fraction(4, 3), Fraction(5, 4)}
"""What a position is of itself after a split, forward or reverse."""
_OF_POSITIONS: Final = ("Trades", "CorporateActions", "OptionEAE", "Transfers")
_OF_CASH: Final = ("CashTransactions", "Trades", "CorporateActions", "Transfers")


class Against(enum.Enum):
    """What tells otherwise than the ledger."""

    STATEMENT = "statement"
    LIVE = "live"


class Figure(enum.Enum):
    """SIZE: of a position, or of cash. COST: of what is held. REALIZED: by the trades of a listing."""

    SIZE = "size"
    COST = "cost"
    REALIZED = "realized"


class Cause(enum.Enum):
    TIMING = "after the newest statement"
    MISSING_SECTION = "a section is missing"
    GAP = "a gap between statements"
    UNBOOKED = "a row that is not booked"
    CORPORATE_ACTION = "a corporate action that is not told"
    UNKNOWN_OPENING = "an opening that is not known"
    CONVERSION = "a conversion that is not told"
    COMMISSION = "a commission that is not told yet"
    LOTS = "other lots or costs"
    UNKNOWN = "not known"


class Fix(enum.Enum):
    """FETCH: the statement of the days named. BOOK: what is missing, as of the opening. ADJUST: by hand, as of now.

    SWITCH_ON: in the query's template, then fetch. WAIT: it ends by itself. ACCEPT: nothing can be booked for it.
    """

    FETCH = "fetch"
    BOOK = "book"
    ADJUST = "adjust"
    SWITCH_ON = "switch on"
    WAIT = "wait"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """quantities: by conid. cash: by currency, None where it is not told."""

    at: datetime
    quantities: Mapping[int, Decimal]
    cash: Mapping[str, Decimal] | None
    listed: Mapping[int, Listed] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """told: by the statement or live; ours: by the ledger. listed: None for cash in `currency`. figure: what differs.

    first, last: days of a statement to fetch. cost: of what would be booked, None where nobody said. at: as of when.
    digest: of the payload that tells otherwise, "" where it is live.
    """

    against: Against
    listed: Listed | None
    currency: str
    told: Decimal
    ours: Decimal
    cause: Cause
    why: str
    fix: Fix
    at: datetime
    day: date
    first: date | None = None
    last: date | None = None
    cost: Decimal | None = None
    digest: str = ""
    figure: Figure = Figure.SIZE

    @property
    def subject(self) -> str:
        """The same as long as it differs, whatever by how much."""
        named = "position" if self.figure is Figure.SIZE else self.figure.value
        what = f"cash {self.currency}" if self.listed is None else f"{named} {self.listed.conid}"
        return f"{self.against.value} {what}"

    @property
    def amount(self) -> Decimal:
        return self.told - self.ours


def live_of(holdings: Iterable[Holding], at: datetime, *, with_cash: bool) -> Live:
    """What a sync wrote. with_cash: whether cash is among the holdings (SYNC_CASH)."""
    quantities: dict[int, Decimal] = {}
    cash: dict[str, Decimal] = {}
    listed: dict[int, Listed] = {}
    for each in holdings:
        if each.synced_at is None:
            continue
        if each.asset_class == CASH_CLASS:
            cash[each.currency] = cash.get(each.currency, _ZERO) + each.units
        elif each.conid is not None:
            quantities[each.conid] = quantities.get(each.conid, _ZERO) + each.units
            listed[each.conid] = Listed(
                conid=each.conid,
                symbol=each.symbol,
                asset_class=each.asset_class,
                currency=each.currency,
                multiplier=each.multiplier,
                expiry=each.expiry,
                strike=each.strike,
                right=each.right,
                underlying_conid=each.underlying_conid,
            )
    return Live(at=at, quantities=quantities, cash=cash if with_cash else None, listed=listed)


def reconcile(
    statements: Sequence[StatementTold],
    transactions: Sequence[Transaction],
    opening: Opening,
    live: Live | None,
) -> tuple[Difference, ...]:
    """All that differs. transactions: each once, of the account of the statements. opening: as the ledger has it."""
    found = _Reconciling(statements, transactions, opening)
    differences = found.against_statement()
    if live is not None:
        differences += found.against_live(live, differences)
    return tuple(differences)


class _Reconciling:
    def __init__(
        self, statements: Sequence[StatementTold], transactions: Sequence[Transaction], opening: Opening
    ) -> None:
        self._statements = statements
        self._transactions = transactions
        self._opening = opening
        self._newest = newest_told(statements)
        self._oldest = min(
            (each for each in statements if each.tells_holdings), key=lambda each: (each.first, each.last), default=None
        )
        self._quantities_by: dict[date | None, Mapping[int, Decimal]] = {}
        self._gaps = gaps(statements)
        self._until = max((last for _, last in covered(statements)), default=None)
        self._listed = {
            listed.conid: listed for each in transactions if isinstance(listed := getattr(each, "listed", None), Listed)
        }

    # -- what the ledger has ------------------------------------------------------------------------------------------

    def _quantities(self, last: date | None) -> Mapping[int, Decimal]:
        """By conid. last: of what the statements of these days tell; None: all."""
        if last not in self._quantities_by:
            self._quantities_by[last] = self._summed_quantities(last)
        return self._quantities_by[last]

    def _summed_quantities(self, last: date | None) -> dict[int, Decimal]:
        sums: dict[int, Decimal] = {}
        for each in self._transactions:
            if last is None or each.booked_on <= last:
                for conid, quantity in quantities_of(each).items():
                    sums[conid] = sums.get(conid, _ZERO) + quantity
        return sums

    def _cash(self, last: date | None) -> dict[str, Decimal]:
        sums = dict(self._opening.cash)
        for each in self._transactions:
            if last is None or each.booked_on <= last:
                for currency, amount in cash_of(each).items():
                    sums[currency] = sums.get(currency, _ZERO) + amount
        return sums

    # -- against the newest statement ---------------------------------------------------------------------------------

    def against_statement(self) -> list[Difference]:
        told = self._newest
        if told is None:
            return []
        found: list[Difference] = []
        ours, theirs = self._quantities(told.last), _positions(told)
        rows = {row.listed.conid: row for row in told.positions}
        head: dict[str, Any] = {
            "against": Against.STATEMENT,
            "day": told.last,
            "at": end_of(told.last),
            "digest": told.digest,
        }
        for conid in sorted(ours.keys() | theirs.keys()):
            mine, other = ours.get(conid, _ZERO), theirs.get(conid, _ZERO)
            if mine == other:
                continue
            row = rows.get(conid)
            listed = row.listed if row is not None else self._listed[conid]
            cost = row.cost if row is not None and not mine else None
            cause = _settled_daily(listed) or self._of_position(conid, other - mine, mine, other, told)
            found.append(
                _made(cause, listed=listed, currency=listed.currency, told=other, ours=mine, cost=cost, **head)
            )
        money, cash = self._cash(told.last), {row.currency: row.ending for row in told.cash}
        for currency in sorted(money.keys() | cash.keys()):
            mine, other = money.get(currency, _ZERO), cash.get(currency, _ZERO)
            if abs(other - mine) >= _CENT:
                cause = self._of_cash(currency, other - mine, told)
                found.append(_made(cause, listed=None, currency=currency, told=other, ours=mine, cost=None, **head))
        return found

    def _of_position(self, conid: int, amount: Decimal, mine: Decimal, other: Decimal, told: StatementTold) -> _Cause:
        common = self._common(told, _OF_POSITIONS)
        if common is not None:
            return common
        oldest = self._oldest
        if oldest is not None:
            before = _positions(oldest).get(conid, _ZERO) - self._quantities(oldest.last).get(conid, _ZERO)
            if before == amount:
                why = f"it differs by the same since the first statement, of {oldest.first} to {oldest.last}"
                return _Cause(Cause.UNKNOWN_OPENING, why, Fix.BOOK, oldest.first - _DAY)
        return _split(mine, other) or _Cause(Cause.UNKNOWN, "no statement says why", Fix.ADJUST)

    def _of_cash(self, currency: str, amount: Decimal, told: StatementTold) -> _Cause:
        common = self._common(told, _OF_CASH)
        if common is not None:
            return common
        if currency not in self._opening.cash:
            oldest = self._oldest
            if oldest is not None and self._cash_differs(oldest, currency) == amount:
                return _Cause(
                    Cause.UNKNOWN_OPENING, "no statement tells what there was of it before the first day", Fix.ADJUST
                )
        return _Cause(Cause.UNKNOWN, "no statement says why", Fix.ADJUST)

    def _cash_differs(self, told: StatementTold, currency: str) -> Decimal:
        there = next((row.ending for row in told.cash if row.currency == currency), _ZERO)
        return there - self._cash(told.last).get(currency, _ZERO)

    def _common(self, told: StatementTold, sections: Sequence[str]) -> _Cause | None:
        missing = self._missing(sections)
        if missing is not None:
            statement, section = missing
            why = f"the statement of {statement.first} to {statement.last} leaves out {section}"
            return _Cause(Cause.MISSING_SECTION, why, Fix.SWITCH_ON, first=statement.first, last=statement.last)
        if self._gaps:
            first, last = self._gaps[0]
            return _Cause(Cause.GAP, f"no statement tells of {first} to {last}", Fix.FETCH, first=first, last=last)
        unbooked = next((each for each in self._statements if each.unbooked), None)
        if unbooked is not None:
            return _Cause(Cause.UNBOOKED, unbooked.unbooked[0], Fix.ADJUST)
        return None

    def _missing(self, sections: Sequence[str]) -> tuple[StatementTold, str] | None:
        """A section that a statement does not have at all, unless another one of the same days has it."""
        for told in self._statements:
            for section in sections:
                if told.origin is not Origin.ACTIVITY or section in told.sections:
                    continue
                others = (each for each in self._statements if section in each.sections)
                if not any(each.first <= told.first and told.last <= each.last for each in others):
                    return told, section
        return None

    # -- against what is held live ------------------------------------------------------------------------------------

    def against_live(self, live: Live, known: Sequence[Difference]) -> list[Difference]:
        found: list[Difference] = []
        day = live.at.astimezone(NEW_YORK).date()
        head: dict[str, Any] = {"against": Against.LIVE, "day": day, "at": live.at}
        explained = {(each.listed.conid if each.listed else each.currency): each for each in known}
        ours = self._quantities(None)
        for conid in sorted(ours.keys() | live.quantities.keys()):
            mine, other = ours.get(conid, _ZERO), live.quantities.get(conid, _ZERO)
            if mine == other:
                continue
            listed = live.listed.get(conid) or self._listed[conid]
            cause = _settled_daily(listed) or self._live_position(explained.get(conid), mine, other, day)
            found.append(
                _made(cause, listed=listed, currency=listed.currency, told=other, ours=mine, cost=None, **head)
            )
        if live.cash is None:
            return found
        money = self._cash(None)
        amounts = {
            currency: live.cash.get(currency, _ZERO) - money.get(currency, _ZERO)
            for currency in sorted(money.keys() | live.cash.keys())
        }
        for currency, amount in amounts.items():
            if abs(amount) < _CENT:
                continue
            mine = money.get(currency, _ZERO)
            cause = self._live_cash(explained.get(currency), currency, amounts, day)
            found.append(_made(cause, listed=None, currency=currency, told=mine + amount, ours=mine, cost=None, **head))
        return found

    def _live_position(self, known: Difference | None, mine: Decimal, other: Decimal, day: date) -> _Cause:
        if known is not None and known.amount == other - mine:
            return _Cause(
                known.cause, f"as against the statement: {known.why}", known.fix, known.day, known.first, known.last
            )
        if self._until is None:
            why = "no statement of this account has been imported yet"
            return _Cause(Cause.UNKNOWN_OPENING, why, Fix.FETCH, last=day)
        split = _split(mine, other)
        if split is not None:
            return split
        return self._later(day) or _Cause(Cause.UNKNOWN, "the statements of these days do not tell it", Fix.ADJUST)

    def _live_cash(self, known: Difference | None, currency: str, amounts: Mapping[str, Decimal], day: date) -> _Cause:
        amount = amounts[currency]
        if known is not None and abs(known.amount - amount) < _CENT:
            return _Cause(
                known.cause, f"as against the statement: {known.why}", known.fix, known.day, known.first, known.last
            )
        if self._until is None:
            why = "no statement of this account has been imported yet"
            return _Cause(Cause.UNKNOWN_OPENING, why, Fix.FETCH, last=day)
        waiting = [each for each in self._transactions if isinstance(each, Traded) and each.commission is None]
        if amount < 0 and any(each.listed.currency == currency for each in waiting):
            why = f"the commission of {len(waiting)} executions is not told yet"
            return _Cause(Cause.COMMISSION, why, Fix.WAIT, first=self._until + _DAY, last=day)
        opposite = [each for each, other in amounts.items() if other * amount < 0 and abs(other) >= _CENT]
        later = self._later(day)
        if opposite:
            why = f"{', '.join(opposite)} went the other way; the live list tells no conversions"
            if later is not None:
                return _Cause(Cause.CONVERSION, why, Fix.FETCH, first=later.first, last=later.last)
            return _Cause(Cause.CONVERSION, why, Fix.ADJUST)
        return later or _Cause(Cause.UNKNOWN, "the statements of these days do not tell it", Fix.ADJUST)

    def _later(self, day: date) -> _Cause | None:
        """Where days after the newest statement are untold yet."""
        if self._until is None or day <= self._until:
            return None
        why = f"the newest statement ends on {self._until}"
        return _Cause(Cause.TIMING, why, Fix.FETCH, first=self._until + _DAY, last=day)


@dataclass(frozen=True, slots=True)
class _Cause:
    cause: Cause
    why: str
    fix: Fix
    day: date | None = None
    first: date | None = None
    last: date | None = None


def _made(cause: _Cause, *, day: date, at: datetime, **given: Any) -> Difference:
    """An opening is booked as of its own day."""
    as_of = cause.day if cause.cause is Cause.UNKNOWN_OPENING and cause.day is not None else day
    return Difference(
        cause=cause.cause,
        why=cause.why,
        fix=cause.fix,
        first=cause.first,
        last=cause.last,
        day=as_of,
        at=at if as_of == day else end_of(as_of),
        **given,
    )


def _settled_daily(listed: Listed) -> _Cause | None:
    """It ends with the position. Booked by hand it would be worth its whole price, which nobody paid."""
    if listed.asset_class not in SETTLED_DAILY:
        return None
    return _Cause(Cause.UNBOOKED, f"{listed.asset_class} settle daily, which no ledger keeps yet", Fix.ACCEPT)


def _split(mine: Decimal, other: Decimal) -> _Cause | None:
    if not mine or not other or mine * other < 0 or Fraction(other) / Fraction(mine) not in _SPLITS:
        return None
    ratio = Fraction(other) / Fraction(mine)
    why = f"it is {ratio.numerator} for {ratio.denominator} of what the ledger has, as after a split"
    return _Cause(Cause.CORPORATE_ACTION, why, Fix.ADJUST)


def _positions(told: StatementTold) -> dict[int, Decimal]:
    sums: dict[int, Decimal] = {}
    for row in told.positions:
        sums[row.listed.conid] = sums.get(row.listed.conid, _ZERO) + row.quantity
    return sums


def end_of(day: date) -> datetime:
    """In New York."""
    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=NEW_YORK)
