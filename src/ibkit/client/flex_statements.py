"""Flex statements as the values of `portfolio`: each row that counts once, with where it stands.

Fits `portfolio.statements`. What a row must say and does not, is an error of the whole file: half a statement would be
wrong money. Source: docs/facts/accounts-and-portfolio.md §6.4, §6.6; the words of cancelled trades (TradeCancel,
origTradeID, origTransactionID) are those of ibflex.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, TypeAlias

from ibkit.client.flex_words import (
    ACTIONS,
    DEPOSITS,
    EAE,
    EXERCISES,
    OPTIONS,
    PAYMENTS,
    cancelled_ids,
    cost_of,
    ending_of,
    execution_of,
    takes_back,
)
from ibkit.errors import Effect, UnexpectedAnswer
from ibkit.portfolio.fills import execution_key
from ibkit.portfolio.kinds import IN_PERCENT, PAIRS, SETTLED_DAILY
from ibkit.portfolio.statements import CashTold, PositionTold, StatementTold
from ibkit.portfolio.transactions import (
    ActionKind,
    Converted,
    CorporateAction,
    Listed,
    Origin,
    Paid,
    PaymentKind,
    RowSource,
    Traded,
    Transaction,
    Transferred,
)
from ibkit.wire.flex import (
    HISTORY_NEEDS,
    CashReportCurrency,
    CashTransaction,
    ConversionRate,
    FlexRow,
    FlexStatement,
    OpenPosition,
    OptionEAE,
    Trade,
    TradeConfirm,
    Transfer,
    codes,
    counts,
    decode_flex,
    missing_sections,
)
from ibkit.wire.flex import CorporateAction as ActionRow
from ibkit.wire.flex.values import FLEX_ZONE
from ibkit.wire.numbers import figure

__all__ = ["statements_of"]

_Named: TypeAlias = Trade | TradeConfirm | CashTransaction | ActionRow | Transfer | OpenPosition | OptionEAE
"""Rows that name what they are of."""
_ZERO = Decimal(0)


def statements_of(body: bytes, *, accounts: Collection[str] | None = None) -> tuple[StatementTold, ...]:
    """All statements of a file.

    accounts: ids that may stand in it; None takes any.
    Raises UnexpectedAnswer: E-FLEX-STATEMENT for a file that is cut, broken or lacks a figure, E-FLEX-ACCOUNT.
    """
    digest = hashlib.sha256(body).hexdigest()
    query = decode_flex(body, accounts=accounts)
    confirmations = query.type == "TCF"
    missing = (
        () if confirmations else tuple(f"{each} ({each.where})" for each in missing_sections(query, HISTORY_NEEDS))
    )
    told = tuple(_Reading(each, digest, confirmations).told(missing) for each in query.statements)
    if not told:
        raise _unreadable("it has no statement")
    return told


def _unreadable(reason: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"The Flex statement cannot be read: {reason}",
        code="E-FLEX-STATEMENT",
        effect=Effect.NONE,
        details={"reason": reason},
    )


class _Reading:
    """One statement."""

    def __init__(self, statement: FlexStatement, digest: str, confirmations: bool) -> None:
        self._statement = statement
        self._digest = digest
        self._origin = Origin.CONFIRMATION if confirmations else Origin.ACTIVITY
        self._account = statement.accountId or ""
        self._unbooked: list[str] = []
        made = statement.whenGenerated
        self._made_at = made if isinstance(made, datetime) else _moment(made)
        rows = statement.trade_confirms if confirmations else statement.trades
        execs = Counter(execution_of(row) for row in rows if not takes_back(row))
        self._said: Counter[str] = Counter()
        self._shared = {each for each, count in execs.items() if count > 1}

    def told(self, missing: tuple[str, ...]) -> StatementTold:
        statement = self._statement
        if not self._account:
            raise _unreadable("a statement does not say of which account it is")
        transactions = tuple(self._transactions())
        days = [each.booked_on for each in transactions]
        first, last = statement.fromDate or min(days, default=None), statement.toDate or max(days, default=None)
        if first is None or last is None:
            raise _unreadable("a statement does not say of which days it is")
        return StatementTold(
            account_id=self._account,
            origin=self._origin,
            digest=self._digest,
            number=statement.number,
            first=first,
            last=last,
            made_at=self._made_at,
            base=self._base(),
            transactions=transactions,
            cash=tuple(self._cash(row) for row in statement.cash_report),
            positions=tuple(self._position(row) for row in statement.open_positions if row.position),
            sections=frozenset(statement.sections),
            missing=missing,
            unbooked=tuple(self._unbooked),
            rates=self._rates(),
            closing_rates=self._rates(newest=True),
            worth=self._worth(last),
        )

    def _base(self) -> str:
        statement = self._statement
        rows: list[FlexRow | None] = [statement.account_information, statement.change_in_nav]
        rows += statement.equity_summaries[:1]
        return next((row.currency for row in rows if row is not None and row.currency), "")

    def _worth(self, last: date) -> Decimal | None:
        totals = {row.reportDate: row.total for row in self._statement.equity_summaries}
        nav = self._statement.change_in_nav
        return totals.get(last) if nav is None or nav.endingValue is None else nav.endingValue

    def _rates(self, *, newest: bool = False) -> dict[str, Decimal]:
        base = self._base()
        rows = [row for row in self._statement.conversion_rates if row.toCurrency == base and row.rate is not None]
        rates: dict[str, Decimal] = {}
        for row in sorted(rows, key=_rate_day, reverse=newest):
            rates.setdefault(row.fromCurrency or "", row.rate or _ZERO)
        return rates

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _transactions(self) -> Iterator[Transaction]:
        ours: list[Traded] = []
        for section, rows in self._statement.sections.items():
            for number, row in enumerate(rows):
                if not counts(section, row):
                    continue
                source = RowSource(
                    digest=self._digest,
                    statement=self._statement.number,
                    section=section,
                    row=number,
                    told_at=self._made_at,
                )
                found = self._transaction(row, source)
                if isinstance(found, Traded):
                    ours.append(found)
                if found is not None:
                    yield found
        known = {each_id for each in ours for each_id in each.ids}
        ends = {_end_of_option(each) for each in ours}
        for number, row in enumerate(self._statement.sections.get("OptionEAE", ())):
            if isinstance(row, OptionEAE):
                source = RowSource(
                    digest=self._digest,
                    statement=self._statement.number,
                    section="OptionEAE",
                    row=number,
                    told_at=self._made_at,
                )
                ended = self._ended(row, source)
                if ended is not None and known.isdisjoint(ended.ids) and _end_of_option(ended) not in ends:
                    yield ended

    def _transaction(self, row: FlexRow, source: RowSource) -> Transaction | None:
        match row:
            case Trade() | TradeConfirm():
                return self._trade(row, source)
            case CashTransaction():
                return self._payment(row, source)
            case ActionRow():
                return self._action(row, source)
            case Transfer():
                return self._transfer(row, source)
            case _:
                return None

    def _trade(self, row: Trade | TradeConfirm, source: RowSource) -> Traded | Converted | None:
        kind = row.assetCategory or ""
        if kind in SETTLED_DAILY:
            self._unbooked.append(f"{source.section} row {source.row}: {kind} settle daily, which no ledger keeps yet")
            return None
        quantity = self._figure(row.quantity, "quantity", source)
        if isinstance(row, TradeConfirm):
            price, taxes, settles_on = row.price, row.tax, row.settleDate
            commission, currency, noted = row.commission, row.commissionCurrency, row.code
            number, related, realized = row.tradeID, None, None
        else:
            price, taxes, settles_on = row.tradePrice, row.taxes, row.settleDateTarget
            commission, currency, noted = row.ibCommission, row.ibCommissionCurrency, row.notes
            number, related, realized = row.transactionID or row.tradeID, row.relatedTradeID, row.fifoPnlRealized
        price = self._figure(price, "price", source)
        at, day, booked = self._when(row.dateTime, row.tradeDate, row.reportDate, source)
        is_cancellation = takes_back(row)
        listed = self._listed(row)
        proceeds = row.proceeds
        if proceeds is None and kind in IN_PERCENT:
            money = row.tradeMoney if isinstance(row, Trade) else None
            proceeds = -self._figure(money, "proceeds", source)
        elif proceeds is None:
            proceeds = -quantity * price * listed.multiplier
        head: dict[str, Any] = {
            "account_id": self._account,
            "ids": self._trade_ids(row, is_cancellation, source),
            "at": at,
            "day": day,
            "booked_on": booked,
            "settles_on": settles_on,
            "sequence": _sequence(number),
            "fx_rate": row.fxRateToBase,
            "origin": self._origin,
            "source": source,
            "commission": commission or _ZERO,
            "commission_currency": currency or "",
            "is_cancellation": is_cancellation,
            "cancels": cancelled_ids(row) if is_cancellation else (),
        }
        if kind == PAIRS:
            return Converted(
                **head,
                pair=row.symbol or "",
                currency=(row.symbol or "").split(".")[0],
                quantity=quantity,
                other_currency=row.currency or "",
                proceeds=proceeds,
                price=price,
            )
        words = set(codes(noted))
        return Traded(
            **head,
            listed=listed,
            quantity=quantity,
            price=price,
            proceeds=proceeds,
            taxes=taxes or _ZERO,
            ending=ending_of(words) if kind in OPTIONS else None,
            delivery=kind not in OPTIONS and bool(words & {"A", *EXERCISES}),
            related=f"trade:{related}" if related else "",
            told_realized=realized,
            order_ref=row.orderReference or "",
        )

    def _trade_ids(self, row: Trade | TradeConfirm, is_cancellation: bool, source: RowSource) -> tuple[str, ...]:
        """A cancellation may carry the execution it takes back: that is no id of its own."""
        execution = execution_of(row)
        ids: list[str] = []
        if execution and not is_cancellation and execution not in self._shared:
            ids.append(execution_key(execution))
        if isinstance(row, Trade) and row.transactionID:
            ids.append(f"trade-tx:{row.transactionID}")
        if row.tradeID:
            ids.append(f"trade:{row.tradeID}")
        if not ids:
            raise _unreadable(f"{_place(source)} has none of ibExecID, transactionID, tradeID to know it again by")
        return tuple(ids)

    def _ended(self, row: OptionEAE, source: RowSource) -> Traded | None:
        """What became of an option, for statements whose trades do not tell it."""
        ending = EAE.get(row.transactionType or "")
        stock = row.transactionType in ("Buy", "Sell")
        if not (ending or stock) or not row.tradeID or row.date is None:
            return None
        quantity = self._figure(row.quantity, "quantity", source)
        listed = self._listed(row)
        price = row.tradePrice or _ZERO
        return Traded(
            account_id=self._account,
            ids=(f"trade:{row.tradeID}",),
            at=_end_of(row.date),
            day=row.date,
            booked_on=row.date,
            sequence=_sequence(row.tradeID),
            fx_rate=row.fxRateToBase,
            origin=self._origin,
            source=source,
            listed=listed,
            quantity=quantity,
            price=price,
            proceeds=row.proceeds if row.proceeds is not None else -quantity * price * listed.multiplier,
            commission=row.commisionsAndTax or _ZERO,
            commission_currency=row.currency or "",
            ending=ending,
            delivery=stock,
            related=f"trade:{row.relatedTradeID}" if row.relatedTradeID else "",
            told_realized=row.realizedPnl,
        )

    def _payment(self, row: CashTransaction, source: RowSource) -> Paid:
        amount = self._figure(row.amount, "amount", source)
        at, day, booked = self._when(row.dateTime, row.settleDate, row.reportDate, source)
        kind = PAYMENTS.get(row.type or "", PaymentKind.OTHER)
        if row.type in DEPOSITS:
            kind = PaymentKind.DEPOSIT if amount > 0 else PaymentKind.WITHDRAWAL
        return Paid(
            account_id=self._account,
            ids=(self._cash_id(row),),
            at=at,
            day=day,
            booked_on=booked,
            settles_on=row.settleDate,
            sequence=_sequence(row.transactionID),
            fx_rate=row.fxRateToBase,
            origin=self._origin,
            source=source,
            kind=kind,
            currency=self._currency(row.currency, source),
            amount=amount,
            description=row.description or "",
            listed=self._listed(row) if row.conid else None,
            action_id=row.actionID or "",
        )

    def _cash_id(self, row: CashTransaction) -> str:
        """Without an id of IBKR's: all that it says, and which of those that say it."""
        if row.transactionID:
            return f"cash-tx:{row.transactionID}"
        said = repr(sorted(row.raw.items()))
        alike = self._said[said]
        self._said[said] += 1
        return f"cash:{hashlib.sha256(f'{said} {alike}'.encode()).hexdigest()[:40]}"

    def _action(self, row: ActionRow, source: RowSource) -> CorporateAction:
        at, day, booked = self._when(row.dateTime, row.reportDate, row.reportDate, source)
        made = f"action:{row.actionID}:{row.conid}:{row.type}:{booked.isoformat()}" if row.actionID else ""
        ids = tuple(each for each in (f"action-tx:{row.transactionID}" if row.transactionID else "", made) if each)
        if not ids:
            raise _unreadable(f"{_place(source)} has neither transactionID nor actionID to know it again by")
        told_cost = row.costBasis if row.costBasis is not None else _tolerant(row.raw.get("cost"))
        return CorporateAction(
            account_id=self._account,
            ids=ids[:1],
            at=at,
            day=day,
            booked_on=booked,
            sequence=_sequence(row.transactionID),
            fx_rate=row.fxRateToBase,
            origin=self._origin,
            source=source,
            kind=ACTIONS.get(row.type or "", ActionKind.OTHER),
            listed=self._listed(row),
            quantity=self._figure(row.quantity, "quantity", source),
            proceeds=row.proceeds or _ZERO,
            action_id=row.actionID or "",
            description=row.actionDescription or row.description or "",
            told_realized=row.fifoPnlRealized,
            told_cost=told_cost,
        )

    def _transfer(self, row: Transfer, source: RowSource) -> Transferred:
        at, day, booked = self._when(row.dateTime, row.date, row.reportDate, source)
        if not row.transactionID:
            raise _unreadable(f"{_place(source)} has no transactionID to know it again by")
        holds = row.assetCategory not in (None, "CASH")
        quantity = self._figure(row.quantity, "quantity", source) if holds else _ZERO
        cost = cost_of(row) if holds else _ZERO
        sign = -1 if row.direction == "OUT" and quantity > 0 else 1
        return Transferred(
            account_id=self._account,
            ids=(f"transfer-tx:{row.transactionID}",),
            at=at,
            day=day,
            booked_on=booked,
            settles_on=row.settleDate,
            sequence=_sequence(row.transactionID),
            fx_rate=row.fxRateToBase,
            origin=self._origin,
            source=source,
            listed=self._listed(row) if holds else None,
            quantity=sign * quantity,
            cost=sign * cost,
            currency=row.currency or "",
            cash=row.cashTransfer or _ZERO,
            description=row.description or "",
        )

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _listed(self, row: _Named) -> Listed:
        return Listed(
            conid=row.conid or 0,
            symbol=row.symbol or "",
            asset_class=row.assetCategory or "",
            currency=row.currency or "",
            multiplier=row.multiplier or Decimal(1),
            expiry=row.expiry,
            strike=row.strike,
            right=row.putCall or "",
            underlying_conid=row.underlyingConid,
            description=row.description or "",
        )

    def _cash(self, row: CashReportCurrency) -> CashTold:
        source = RowSource(digest=self._digest, statement=self._statement.number, section="CashReport")
        return CashTold(
            currency=self._currency(row.currency, source),
            starting=row.startingCash,
            ending=self._figure(row.endingCash, "endingCash", source),
        )

    def _position(self, row: OpenPosition) -> PositionTold:
        return PositionTold(
            listed=self._listed(row),
            quantity=row.position or _ZERO,
            cost=row.costBasisMoney,
            price=row.markPrice,
            value=row.positionValue,
            name=row.description or "",
            kind=(row.subCategory or "") if row.assetCategory == "STK" else "",
            exchange=row.listingExchange or "",
        )

    def _figure(self, value: Decimal | None, name: str, source: RowSource) -> Decimal:
        if value is None:
            raise _unreadable(f"{_place(source)} has no {name}")
        return value

    def _currency(self, value: str | None, source: RowSource) -> str:
        if not value:
            raise _unreadable(f"{_place(source)} has no currency")
        return value

    def _when(
        self, at: datetime | date | None, day: date | None, booked: date | None, source: RowSource
    ) -> tuple[datetime, date, date]:
        """Moment, trading day, day of the statement that tells of it. One without a time is at the end of its day."""
        moment = at if isinstance(at, datetime) else _moment(at or day or booked)
        if moment is None:
            raise _unreadable(f"{_place(source)} does not say when it was")
        on = day or moment.astimezone(FLEX_ZONE).date()
        return moment, on, booked or on


def _place(source: RowSource) -> str:
    return f"row {source.row} of {source.section} in statement {source.statement}"


def _moment(day: date | None) -> datetime | None:
    return None if day is None else _end_of(day)


def _end_of(day: date) -> datetime:
    return datetime.combine(day, time(23, 59, 59), FLEX_ZONE).astimezone(UTC)


def _sequence(number: str | None) -> int:
    """IBKR's numbers grow: of two things at one moment the higher is the later."""
    return int(number) if number and number.isdecimal() and len(number) < 19 else 0


def _end_of_option(this: Traded) -> tuple[int, Decimal, date, Decimal]:
    """By which the section of endings and that of trades tell of one."""
    return this.listed.conid, this.quantity, this.day, this.price


def _tolerant(text: str | None) -> Decimal | None:
    try:
        return figure(text or "")
    except ValueError:
        return None


def _rate_day(row: ConversionRate) -> date:
    return row.reportDate or date.min
