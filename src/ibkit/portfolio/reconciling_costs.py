"""Whether our lots cost, and realized, what the newest statement says: of listings whose size is beyond doubt.

A statement counts first in, first out (`fifoPnlRealized`); what `costBasisMoney` counts is assumed to be the same. So
there is nothing to compare where a person chose other lots or booked a holding, and where a commission in another
currency, which our cost does not hold, may be inside of theirs. Whether an assigned option's premium goes into the
stock no source tells: what is right by either rule does not differ.
Source: requirement FUT-08; docs/facts/accounts-and-portfolio.md §6.4, §6.6.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from ibkit.portfolio.ledger import Ledger, Opening, Rules, fold_ledger
from ibkit.portfolio.lots import LotOrder
from ibkit.portfolio.reconciling import Against, Cause, Difference, Figure, Fix, end_of
from ibkit.portfolio.statements import StatementTold
from ibkit.portfolio.told_holdings import newest_told
from ibkit.portfolio.transactions import Origin, Traded, Transaction, Transferred

__all__ = ["reconcile_costs"]

_ZERO = Decimal(0)
_CENT: Final = Decimal("0.005")
_COST: Final = "the statement tells another cost of the same holding"
_REALIZED: Final = "its trades closed other lots, or lots of another cost, by what the statements say"


def reconcile_costs(
    statements: Sequence[StatementTold],
    transactions: Sequence[Transaction],
    opening: Opening,
    rules: Rules,
    *,
    known: Collection[Difference] = (),
) -> tuple[Difference, ...]:
    """known: what differs already; of a listing whose size does, nothing can be said."""
    told = newest_told(statements)
    if told is None or rules.order is not LotOrder.FIFO:
        return ()
    in_doubt = {each.listed.conid for each in known if each.against is Against.STATEMENT and each.listed is not None}
    in_doubt |= _paid_otherwise(transactions) | _said_by_a_person(transactions)
    counted = [each for each in transactions if each.booked_on <= told.last]
    ledger = fold_ledger(told.account_id, counted, opening=opening, rules=rules)
    found = {each.subject: each for each in _differing(_Told.of(told, counted), ledger, in_doubt)}
    if found:
        other = replace(rules, premium_into_stock=not rules.premium_into_stock)
        otherwise = fold_ledger(told.account_id, counted, opening=opening, rules=other)
        either = {each.subject for each in _differing(_Told.of(told, counted), otherwise, in_doubt)}
        found = {subject: each for subject, each in found.items() if subject in either}
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class _Told:
    """realized: what the statements say of our trades, by the trade's key."""

    statement: StatementTold
    realized: Mapping[str, Decimal]

    @classmethod
    def of(cls, told: StatementTold, counted: Sequence[Transaction]) -> _Told:
        said = {e.key: e.told_realized for e in counted if isinstance(e, Traded) and e.told_realized is not None}
        return cls(told, said)


def _differing(told: _Told, ledger: Ledger, in_doubt: Collection[int]) -> Iterator[Difference]:
    last = told.statement.last
    for conid, held in ledger.held.items():
        rows = [row for row in told.statement.positions if row.listed.conid == conid]
        costs = [row.cost for row in rows if row.cost is not None]
        if conid in in_doubt or not rows or len(costs) < len(rows):
            continue
        cost = sum(costs, _ZERO)
        if abs(cost - held.cost) >= _CENT:
            yield Difference(
                against=Against.STATEMENT,
                figure=Figure.COST,
                listed=held.listed,
                currency=held.listed.currency,
                told=cost,
                ours=held.cost,
                cause=Cause.LOTS,
                why=_COST,
                fix=Fix.BOOK,
                at=end_of(last),
                day=last,
                digest=told.statement.digest,
            )
    yield from _realized(told, ledger, in_doubt)


def _realized(told: _Told, ledger: Ledger, in_doubt: Collection[int]) -> Iterator[Difference]:
    last = told.statement.last
    by_trade: dict[str, Decimal] = {}
    for part in ledger.closed:
        by_trade[part.closed_by] = by_trade.get(part.closed_by, _ZERO) + part.realized
    sums: dict[int, tuple[Decimal, Decimal]] = {}
    listings = {}
    for each in ledger.transactions:
        if not isinstance(each, Traded) or each.key not in told.realized or each.listed.conid in in_doubt:
            continue
        listings[each.listed.conid] = each.listed
        theirs, ours = sums.get(each.listed.conid, (_ZERO, _ZERO))
        sums[each.listed.conid] = theirs + told.realized[each.key], ours + by_trade.get(each.key, _ZERO)
    for conid, (theirs, ours) in sorted(sums.items()):
        if abs(theirs - ours) >= _CENT:
            yield Difference(
                against=Against.STATEMENT,
                figure=Figure.REALIZED,
                listed=listings[conid],
                currency=listings[conid].currency,
                told=theirs,
                ours=ours,
                cause=Cause.LOTS,
                why=_REALIZED,
                fix=Fix.ACCEPT,
                at=end_of(last),
                day=last,
                digest=told.statement.digest,
            )


def _said_by_a_person(transactions: Sequence[Transaction]) -> set[int]:
    """Who booked a holding by hand said what it cost."""
    return {
        each.listed.conid
        for each in transactions
        if isinstance(each, Transferred) and each.origin is Origin.PERSON and each.listed is not None and each.quantity
    }


def _paid_otherwise(transactions: Sequence[Transaction]) -> set[int]:
    return {
        each.listed.conid
        for each in transactions
        if isinstance(each, Traded)
        and each.commission
        and (each.commission_currency or each.listed.currency) != each.listed.currency
    }
