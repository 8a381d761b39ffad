"""Ledgers, statements and differences as the interface tells them. Each figure names the row that it came from.

Source: requirement FUT-08.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal

import msgspec

from ibkit.bootstrap.flex_books import FlexImport
from ibkit.portfolio.ledger import Ledger
from ibkit.portfolio.statements import StatementTold
from ibkit.portfolio.transactions import (
    Converted,
    Listed,
    Paid,
    RowSource,
    Traded,
    Transaction,
    cash_of,
    kind_of_transaction,
    quantities_of,
)
from ibkit.store.inbox import InboxItem

__all__ = [
    "DifferenceInfo",
    "FlexImportInfo",
    "InboxInfo",
    "IncomeInfo",
    "LedgerInfo",
    "LotsInfo",
    "RawRowInfo",
    "StatementsInfo",
    "TransactionsInfo",
    "difference_info",
    "flex_import_info",
    "inbox_info",
    "income_info",
    "ledger_info",
    "lots_info",
    "statements_info",
    "transaction_info",
    "transactions_info",
]

_ZERO = Decimal(0)


class SourceInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The raw row: of which payload (its SHA-256), which statement in it, section and row, each counted from 0."""

    digest: str
    statement: int
    section: str
    row: int


class TransactionInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """cash: what it moved, by currency. commission: null where it is not told yet. struck: it was taken back."""

    key: str
    kind: str
    at: datetime
    day: date
    booked_on: date
    conid: int | None
    symbol: str
    quantity: Decimal
    price: Decimal | None
    commission: Decimal | None
    cash: dict[str, Decimal]
    description: str
    told_by: str
    struck: bool
    source: SourceInfo


class TransactionsInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Oldest first. next: where the next page begins, null after the last one."""

    account: str
    as_of: datetime | None
    transactions: list[TransactionInfo]
    next: int | None = None


class LotInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """cost: with its commission, in `currency`. opened_by: the key of the transaction, whose row `source` is."""

    conid: int
    symbol: str
    currency: str
    quantity: Decimal
    cost: Decimal
    opened_on: date
    opened_by: str
    source: SourceInfo | None


class ClosedLotInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """proceeds: after its commission. source: of the row that closed it."""

    conid: int
    symbol: str
    currency: str
    quantity: Decimal
    cost: Decimal
    proceeds: Decimal
    realized: Decimal
    opened_on: date
    opened_by: str
    closed_at: datetime
    booked_on: date
    closed_by: str
    source: SourceInfo | None


class LotsInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    account: str
    as_of: datetime | None
    lot_order: str
    open: list[LotInfo]
    closed: list[ClosedLotInfo]


class IncomeRowInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """sources: the rows that it is the sum of."""

    kind: str
    currency: str
    amount: Decimal
    sources: list[SourceInfo]


class IncomeInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came and went without a trade, commissions and taxes, and what trades realized, of the days asked for."""

    account: str
    since: date | None
    until: date | None
    income: list[IncomeRowInfo]
    commissions: dict[str, Decimal]
    realized: dict[str, Decimal]


class HeldInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    conid: int
    symbol: str
    currency: str
    quantity: Decimal
    cost: Decimal
    sources: list[SourceInfo]


class LedgerInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """currency_gains: by exchange rates, in `base`; null where a rate is not known."""

    account: str
    as_of: datetime | None
    base: str
    lot_order: str
    cash: dict[str, Decimal]
    positions: list[HeldInfo]
    realized: dict[str, Decimal]
    commissions: dict[str, Decimal]
    paid: dict[str, dict[str, Decimal]]
    transferred: dict[str, Decimal]
    currency_gains: dict[str, Decimal | None]
    transactions: int


class PeriodInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    first: date
    last: date


class StatementInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """missing: what its query leaves out, and where it is switched on. unbooked: rows that no ledger is made of yet."""

    digest: str
    number: int
    kind: str
    first: date
    last: date
    made_at: datetime | None
    missing: list[str]
    unbooked: list[str]


class StatementsInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """gaps: days that none tells of."""

    account: str
    statements: list[StatementInfo]
    gaps: list[PeriodInfo]


class FlexImportInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """known: transactions that were there already. holdings_count: null where holdings come from a session."""

    account: str
    digest: str
    first: date
    last: date
    statements: int
    added: int
    corrected: int
    known: int
    missing: list[str]
    unbooked: list[str]
    gaps: list[PeriodInfo]
    holdings_count: int | None


class DifferenceInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """told: by the statement, or live; ours: by the ledger. amount: told less ours. currency: of cash, or of a listing.

    figure: size (of a position, or of cash), cost (of what is held), realized (by a listing's trades).

    first, last: days of the statement to fetch, null where none is.
    """

    id: str
    account: str
    state: str
    against: str
    subject: str
    conid: int | None
    symbol: str
    currency: str
    told: Decimal
    ours: Decimal
    amount: Decimal
    cause: str
    why: str
    fix: str
    first: date | None
    last: date | None
    day: date
    digest: str | None
    found_at: datetime
    seen_at: datetime
    settled_at: datetime | None
    settled_by: str
    note: str
    figure: str = "size"


class InboxInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    differences: list[DifferenceInfo]


class RawRowInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of a payload, as it came."""

    source: SourceInfo
    what: str
    row: dict[str, str]


# -- from the values --------------------------------------------------------------------------------------------------


def source_info(source: RowSource) -> SourceInfo:
    return SourceInfo(digest=source.digest, statement=source.statement, section=source.section, row=source.row)


def transactions_info(
    account: str,
    ledger: Ledger,
    *,
    since: date | None = None,
    until: date | None = None,
    skip: int = 0,
    most: int | None = None,
) -> TransactionsInfo:
    """since, until: by the day whose statement tells of it, both inclusive."""
    struck = {each.key for each in ledger.struck}
    these = sorted((*ledger.transactions, *ledger.struck), key=lambda each: each.order)
    these = [each for each in these if _within(each.booked_on, since, until)]
    page = these[skip:] if most is None else these[skip : skip + most]
    ends = skip + len(page)
    return TransactionsInfo(
        account=account,
        as_of=ledger.until,
        transactions=[transaction_info(each, struck=each.key in struck) for each in page],
        next=ends if ends < len(these) else None,
    )


def _within(day: date, since: date | None, until: date | None) -> bool:
    return (since is None or since <= day) and (until is None or day <= until)


def transaction_info(this: Transaction, *, struck: bool = False) -> TransactionInfo:
    listed = getattr(this, "listed", None)
    quantity = next(iter(quantities_of(this).values()), _ZERO)
    if isinstance(this, Converted):
        quantity = this.quantity
    return TransactionInfo(
        key=this.key,
        kind=kind_of_transaction(this),
        at=this.at,
        day=this.day,
        booked_on=this.booked_on,
        conid=listed.conid if isinstance(listed, Listed) and listed.conid else None,
        symbol=this.pair if isinstance(this, Converted) else "" if listed is None else listed.symbol,
        quantity=quantity,
        price=this.price if isinstance(this, Traded | Converted) else None,
        commission=this.commission if isinstance(this, Traded | Converted) else None,
        cash=dict(cash_of(this)),
        description=getattr(this, "description", ""),
        told_by=this.origin.name.lower(),
        struck=struck,
        source=source_info(this.source),
    )


def _sources(ledger: Ledger) -> dict[str, SourceInfo]:
    return {each.key: source_info(each.source) for each in ledger.transactions}


def lots_info(account: str, ledger: Ledger) -> LotsInfo:
    sources = _sources(ledger)
    return LotsInfo(
        account=account,
        as_of=ledger.until,
        lot_order=ledger.rules.order.value,
        open=[
            LotInfo(
                conid=conid,
                symbol=held.listed.symbol,
                currency=held.listed.currency,
                quantity=lot.quantity,
                cost=lot.cost,
                opened_on=lot.opened_on,
                opened_by=lot.key,
                source=sources.get(lot.key),
            )
            for conid, held in ledger.held.items()
            for lot in held.lots
        ],
        closed=[
            ClosedLotInfo(
                conid=each.conid,
                symbol=each.symbol,
                currency=each.currency,
                quantity=each.quantity,
                cost=each.cost,
                proceeds=each.proceeds,
                realized=each.realized,
                opened_on=each.opened_on,
                opened_by=each.opened_by,
                closed_at=each.closed_at,
                booked_on=each.booked_on,
                closed_by=each.closed_by,
                source=sources.get(each.closed_by),
            )
            for each in ledger.closed
        ],
    )


def income_info(account: str, ledger: Ledger, *, since: date | None = None, until: date | None = None) -> IncomeInfo:
    rows: dict[tuple[str, str], list[Paid]] = {}
    for each in ledger.transactions:
        if isinstance(each, Paid) and _within(each.booked_on, since, until):
            rows.setdefault((each.kind.value, each.currency), []).append(each)
    return IncomeInfo(
        account=account,
        since=since,
        until=until,
        income=[
            IncomeRowInfo(
                kind=kind,
                currency=currency,
                amount=sum((each.amount for each in paid), _ZERO),
                sources=[source_info(each.source) for each in paid],
            )
            for (kind, currency), paid in sorted(rows.items())
        ],
        commissions=ledger.commissions(since, until),
        realized=ledger.realized(since, until),
    )


def ledger_info(account: str, ledger: Ledger) -> LedgerInfo:
    sources = _sources(ledger)
    return LedgerInfo(
        account=account,
        as_of=ledger.until,
        base=ledger.rules.base,
        lot_order=ledger.rules.order.value,
        cash=dict(ledger.cash),
        positions=[
            HeldInfo(
                conid=conid,
                symbol=held.listed.symbol,
                currency=held.listed.currency,
                quantity=held.quantity,
                cost=held.cost,
                sources=[sources[lot.key] for lot in held.lots if lot.key in sources],
            )
            for conid, held in ledger.held.items()
        ],
        realized=ledger.realized(),
        commissions=ledger.commissions(),
        paid={kind.value: amounts for kind, amounts in ledger.paid().items()},
        transferred=dict(ledger.transferred),
        currency_gains=ledger.gains_of_currencies(),
        transactions=len(ledger.transactions),
    )


def _periods(these: Iterable[tuple[date, date]]) -> list[PeriodInfo]:
    return [PeriodInfo(first=first, last=last) for first, last in these]


def statements_info(
    account: str, statements: Iterable[StatementTold], gaps: Iterable[tuple[date, date]]
) -> StatementsInfo:
    return StatementsInfo(
        account=account,
        statements=[
            StatementInfo(
                digest=each.digest,
                number=each.number,
                kind=each.origin.name.lower(),
                first=each.first,
                last=each.last,
                made_at=each.made_at,
                missing=list(each.missing),
                unbooked=list(each.unbooked),
            )
            for each in statements
        ],
        gaps=_periods(gaps),
    )


def flex_import_info(account: str, taken: FlexImport) -> FlexImportInfo:
    return FlexImportInfo(
        account=account,
        digest=taken.kept.digest,
        first=taken.first,
        last=taken.last,
        statements=taken.kept.statements,
        added=len(taken.kept.added),
        corrected=len(taken.kept.corrected),
        known=taken.kept.known,
        missing=list(taken.missing),
        unbooked=list(taken.unbooked),
        gaps=_periods(taken.gaps),
        holdings_count=None if taken.outcome is None else taken.outcome.holdings_count,
    )


def difference_info(account: str, item: InboxItem) -> DifferenceInfo:
    found = item.difference
    return DifferenceInfo(
        id=item.item_id,
        account=account,
        state=item.state.value,
        against=found.against.value,
        subject=found.subject,
        conid=None if found.listed is None else found.listed.conid,
        symbol="" if found.listed is None else found.listed.symbol,
        currency=found.currency,
        told=found.told,
        ours=found.ours,
        amount=found.amount,
        cause=found.cause.value,
        why=found.why,
        fix=found.fix.value,
        first=found.first,
        last=found.last,
        day=found.day,
        digest=found.digest or None,
        found_at=item.found_at,
        seen_at=item.seen_at,
        settled_at=item.settled_at,
        settled_by=item.settled_by,
        note=item.note,
        figure=found.figure.value,
    )


def inbox_info(items: Mapping[str, Iterable[InboxItem]]) -> InboxInfo:
    """By the account's name."""
    return InboxInfo(differences=[difference_info(name, each) for name, found in items.items() for each in found])
