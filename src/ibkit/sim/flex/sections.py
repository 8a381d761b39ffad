"""The sections of an activity statement, as rows of attributes in IBKR's spelling.

What no source settles: how conversions look (`Trade` of CASH with cash in both currencies), that what becomes of
options also stands among the trades (`BookTrade` with the codes A, Ex, Ep), the codes of the cash book, the words of a
split. All assumed. Source of the rest: docs/facts/accounts-and-portfolio.md §6.4, §6.6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from ibkit.model import portion
from ibkit.sim.exchange.books import trade_day
from ibkit.sim.exchange.history import CashMoved, Converted, Ending, Split, Traded, TransferredIn
from ibkit.sim.flex.lots import Lot
from ibkit.sim.flex.period import Period
from ibkit.sim.flex.trades import fx_pair, instrument_columns, trade_rows, transaction_id

if TYPE_CHECKING:
    from ibkit.sim.world import World

__all__ = ["ROWS", "Row"]

Row: TypeAlias = tuple[str, Mapping[str, object]]
"""Element and attributes."""

_ZERO, _HUNDRED = Decimal(0), Decimal(100)
_BASE = "BASE_SUMMARY"
_CASH_BOOK = {
    "Dividends": "DIV",
    "Payment In Lieu Of Dividends": "PIL",
    "Withholding Tax": "FRTAX",
    "Broker Interest Received": "CINT",
    "Broker Interest Paid": "DINT",
    "Other Fees": "OFEE",
}


def _account_information(world: World, period: Period) -> Iterator[Row]:
    account = world.accounts[period.account.id]
    yield (
        "AccountInformation",
        {
            "accountId": account.id,
            "acctAlias": "",
            "currency": account.currency,
            "name": account.title,
            "accountType": "Individual",
            "customerType": "Individual",
            "accountCapabilities": "Portfolio Margin",
            "tradingPermissions": "Stocks,Options,Forex",
            "dateOpened": trade_day(world.config.start),
        },
    )


def _equity_summary(_world: World, period: Period) -> Iterator[Row]:
    for day in period.days:
        worth = period.worth(day)
        yield (
            "EquitySummaryByReportDateInBase",
            {
                "accountId": period.account.id,
                "currency": period.account.currency,
                "reportDate": day,
                "cash": worth.cash,
                "stock": worth.stock,
                "options": worth.options,
                "interestAccruals": _ZERO,
                "dividendAccruals": _ZERO,
                "total": worth.total,
            },
        )


def _flows(period: Period, currency: str) -> dict[str, Decimal]:
    """What moved a currency's cash, in the words of a cash report."""
    sums = dict.fromkeys(
        (
            *("commissions", "deposits", "withdrawals", "dividends", "paymentInLieu", "withholdingTax"),
            *("brokerInterest", "otherFees", "netTradesSales", "netTradesPurchases"),
        ),
        _ZERO,
    )
    words = {
        "Dividends": "dividends",
        "Payment In Lieu Of Dividends": "paymentInLieu",
        "Withholding Tax": "withholdingTax",
        "Broker Interest Received": "brokerInterest",
        "Broker Interest Paid": "brokerInterest",
        "Other Fees": "otherFees",
    }
    for entry in period.entries:
        match entry:
            case Traded() if entry.instrument.currency == currency:
                sums["commissions"] -= entry.fee
                sums["netTradesSales" if entry.side == "SELL" else "netTradesPurchases"] += entry.proceeds
            case CashMoved() if entry.currency == currency:
                word = words.get(entry.kind) or ("deposits" if entry.amount > 0 else "withdrawals")
                sums[word] += entry.amount
            case Converted():
                amount = entry.cash.get(currency, _ZERO)
                if currency == entry.base:
                    sums["commissions"] -= entry.fee
                    amount += entry.fee
                sums["netTradesSales" if amount < 0 else "netTradesPurchases"] += amount
            case _:
                pass
    return sums


def _cash_report(_world: World, period: Period) -> Iterator[Row]:
    head = {"accountId": period.account.id, "fromDate": period.first, "toDate": period.last}
    rows: list[dict[str, object]] = []
    base: dict[str, Decimal] = {}
    start_base = end_base = _ZERO
    for currency in period.currencies:
        start, end = period.before.cash.get(currency, _ZERO), period.after.cash.get(currency, _ZERO)
        flows = _flows(period, currency)
        rate = period.rate(currency, period.last)
        start_base += start * period.rate(currency, period.days[0] if period.days else period.last)
        end_base += end * rate
        for name, amount in flows.items():
            base[name] = base.get(name, _ZERO) + amount * rate
        rows.append(
            {
                **head,
                "currency": currency,
                "levelOfDetail": "Currency",
                "startingCash": start,
                **flows,
                "depositWithdrawals": flows["deposits"] + flows["withdrawals"],
                "fxTranslationGainLoss": _ZERO,
                "endingCash": end,
                "endingSettledCash": end,
            }
        )
    translation = end_base - start_base - sum(base.values(), _ZERO)
    yield (
        "CashReportCurrency",
        {
            **head,
            "currency": _BASE,
            "levelOfDetail": "BaseCurrency",
            "startingCash": start_base,
            **base,
            "depositWithdrawals": base["deposits"] + base["withdrawals"],
            "fxTranslationGainLoss": translation,
            "endingCash": end_base,
            "endingSettledCash": end_base,
        },
    )
    for row in rows:
        yield "CashReportCurrency", row


def _change_in_nav(_world: World, period: Period) -> Iterator[Row]:
    flows: dict[str, Decimal] = {}
    for currency in period.currencies:
        rate = period.rate(currency, period.last)
        for name, amount in _flows(period, currency).items():
            flows[name] = flows.get(name, _ZERO) + amount * rate
    start, end = period.worth_before.total, period.worth(period.last, period.after).total
    transfers = sum(
        (e.quantity * e.price * e.instrument.multiplier for e in period.entries if isinstance(e, TransferredIn)), _ZERO
    )
    told = {
        "depositsWithdrawals": flows["deposits"] + flows["withdrawals"],
        "assetTransfers": transfers,
        "dividends": flows["dividends"] + flows["paymentInLieu"],
        "withholdingTax": flows["withholdingTax"],
        "interest": flows["brokerInterest"],
        "otherFees": flows["otherFees"],
        "commissions": flows["commissions"],
    }
    yield (
        "ChangeInNAV",
        {
            "accountId": period.account.id,
            "currency": period.account.currency,
            "fromDate": period.first,
            "toDate": period.last,
            "startingValue": start,
            # What prices and rates did is what is left.
            "mtm": end - start - sum(told.values(), _ZERO),
            **told,
            "endingValue": end,
        },
    )


def _cash_book(_world: World, period: Period) -> Iterator[Row]:
    balances = dict(period.before.cash)
    for entry in period.entries:
        for currency, amount in entry.cash.items():
            balances[currency] = balances.get(currency, _ZERO) + amount
            code, words = _line(entry, amount)
            yield (
                "StatementOfFundsLine",
                {
                    "accountId": period.account.id,
                    "currency": currency,
                    "fxRateToBase": period.rate(currency, period.told_on(entry)),
                    "reportDate": period.told_on(entry),
                    "date": trade_day(entry.at),
                    "activityCode": code,
                    "activityDescription": words,
                    "debit": min(amount, _ZERO),
                    "credit": max(amount, _ZERO),
                    "amount": amount,
                    "balance": balances[currency],
                    "transactionID": transaction_id(entry.number),
                    "levelOfDetail": "Currency",
                },
            )


def _line(entry: object, amount: Decimal) -> tuple[str, str]:
    match entry:
        case CashMoved():
            code = _CASH_BOOK.get(entry.kind) or ("DEP" if amount > 0 else "WITH")
            return code, entry.description
        case Converted():
            return "FOREX", f"{fx_pair(entry.currency)[0]} CONVERSION"
        case Traded():
            return entry.side, f"{entry.side} {entry.quantity.normalize():f} {entry.instrument.full_name}"
    return "", ""


def _open_positions(world: World, period: Period) -> Iterator[Row]:
    total = period.worth(period.last, period.after).total
    for lots in period.after.held:
        instrument = lots[0].instrument
        quantity = sum((lot.quantity for lot in lots), _ZERO)
        cost = sum((lot.cost for lot in lots), _ZERO)
        yield "OpenPosition", _position(world, period, lots[0], quantity, cost, total, "SUMMARY")
        for lot in lots:
            yield (
                "OpenPosition",
                {
                    **_position(world, period, lot, lot.quantity, lot.cost, total, "LOT"),
                    "openDateTime": lot.opened_at,
                    "holdingPeriodDateTime": lot.opened_at,
                    "originatingOrderID": "" if lot.order_id is None else lot.order_id + 500_000_000,
                    "originatingTransactionID": transaction_id(lot.entry),
                },
            )
        assert instrument.currency == period.account.currency, "all that is quoted here is in dollars"


def _position(
    world: World, period: Period, lot: Lot, quantity: Decimal, cost: Decimal, total: Decimal, level: str
) -> dict[str, object]:
    instrument = lot.instrument
    mark = period.mark(instrument, period.last)
    value = quantity * mark * instrument.multiplier
    price = portion(cost, Decimal(1), quantity * instrument.multiplier)
    return {
        "accountId": period.account.id,
        "currency": instrument.currency,
        "fxRateToBase": Decimal(1),
        **instrument_columns(world, instrument),
        "reportDate": period.last,
        "position": quantity,
        "markPrice": mark,
        "positionValue": value,
        "positionValueInBase": value,
        "openPrice": price,
        "costBasisPrice": price,
        "costBasisMoney": cost,
        "percentOfNAV": portion(value, _HUNDRED, total) if total else _ZERO,
        "fifoPnlUnrealized": value - cost,
        "side": "Long" if quantity > 0 else "Short",
        "levelOfDetail": level,
        "openDateTime": "",
        "holdingPeriodDateTime": "",
        "originatingOrderID": "",
        "originatingTransactionID": "",
        "code": "",
        "accruedInt": "",
    }


def _fx_positions(_world: World, period: Period) -> Iterator[Row]:
    for currency in period.currencies[1:]:
        quantity = period.after.cash.get(currency, _ZERO)
        rate = period.rate(currency, period.last)
        if quantity:
            yield (
                "FxLot",
                {
                    "accountId": period.account.id,
                    "assetCategory": "CASH",
                    "reportDate": period.last,
                    "functionalCurrency": period.account.currency,
                    "fxCurrency": currency,
                    "quantity": quantity,
                    "closePrice": rate,
                    "value": quantity * rate,
                    "levelOfDetail": "SUMMARY",
                },
            )


def _option_events(world: World, period: Period) -> Iterator[Row]:
    numbers = {e.number: e.ending for e in period.entries if isinstance(e, Traded) and e.ending is not None}
    for entry in period.entries:
        if not isinstance(entry, Traded):
            continue
        ending: Ending | None = entry.ending
        if ending is None and entry.related not in numbers:
            continue
        result = period.after.results[entry.number]
        yield (
            "OptionEAE",
            {
                "accountId": period.account.id,
                "currency": entry.instrument.currency,
                "fxRateToBase": Decimal(1),
                **instrument_columns(world, entry.instrument),
                "date": trade_day(entry.at),
                # The stock's side of it is a Buy or a Sell. Source: §6.6 (client).
                "transactionType": ending or entry.side.capitalize(),
                "quantity": entry.signed,
                "tradePrice": entry.price,
                "proceeds": entry.proceeds,
                "commisionsAndTax": -entry.fee,
                "costBasis": result.realized - entry.proceeds + entry.fee,
                "realizedPnl": result.realized,
                "tradeID": transaction_id(entry.number),
                "relatedTradeID": "" if entry.related is None else transaction_id(entry.related),
            },
        )


def _fx_transactions(_world: World, period: Period) -> Iterator[Row]:
    for entry in period.entries:
        for currency, amount in entry.cash.items():
            if currency == period.account.currency:
                continue
            yield (
                "FxTransaction",
                {
                    "accountId": period.account.id,
                    "assetCategory": "CASH",
                    "reportDate": period.told_on(entry),
                    "functionalCurrency": period.account.currency,
                    "fxCurrency": currency,
                    "activityDescription": _line(entry, amount)[1],
                    "dateTime": entry.at,
                    "quantity": amount,
                    "proceeds": -amount * period.rate(currency, period.told_on(entry)),
                    "levelOfDetail": "TRANSACTION",
                },
            )


def _transfers(world: World, period: Period) -> Iterator[Row]:
    for entry in period.entries:
        if isinstance(entry, TransferredIn):
            amount = entry.quantity * entry.price * entry.instrument.multiplier
            yield (
                "Transfer",
                {
                    "accountId": period.account.id,
                    "currency": entry.instrument.currency,
                    "fxRateToBase": Decimal(1),
                    **instrument_columns(world, entry.instrument),
                    "reportDate": period.told_on(entry),
                    "date": trade_day(entry.at),
                    "dateTime": entry.at,
                    "settleDate": trade_day(entry.at),
                    "type": "FOP",
                    "direction": "IN" if entry.quantity > 0 else "OUT",
                    "quantity": entry.quantity,
                    "transferPrice": entry.price,
                    "positionAmount": amount,
                    "positionAmountInBase": amount,
                    "pnlAmount": _ZERO,
                    "cashTransfer": _ZERO,
                    "transactionID": transaction_id(entry.number),
                    "levelOfDetail": "TRANSFER",
                },
            )


def _corporate_actions(world: World, period: Period) -> Iterator[Row]:
    for entry in period.entries:
        if isinstance(entry, Split):
            symbol = entry.instrument.symbol
            yield (
                "CorporateAction",
                {
                    "accountId": period.account.id,
                    "currency": entry.instrument.currency,
                    "fxRateToBase": Decimal(1),
                    **instrument_columns(world, entry.instrument),
                    "reportDate": period.told_on(entry),
                    "dateTime": entry.at,
                    "actionDescription": f"{symbol} SPLIT {entry.new} FOR {entry.old}",
                    "type": "FS" if entry.new > entry.old else "RS",
                    "amount": _ZERO,
                    "proceeds": _ZERO,
                    "value": _ZERO,
                    "quantity": entry.change,
                    "fifoPnlRealized": _ZERO,
                    "actionID": entry.action_id,
                    "transactionID": transaction_id(entry.number),
                    "levelOfDetail": "DETAIL",
                },
            )


def _cash_transactions(world: World, period: Period) -> Iterator[Row]:
    for entry in period.entries:
        if not isinstance(entry, CashMoved):
            continue
        columns = instrument_columns(world, entry.instrument) if entry.instrument else {"symbol": "", "conid": ""}
        row = {
            "accountId": period.account.id,
            "currency": entry.currency,
            "fxRateToBase": period.rate(entry.currency, period.told_on(entry)),
            **columns,
            "description": entry.description,
            "dateTime": entry.at,
            "settleDate": trade_day(entry.at),
            "amount": entry.amount,
            "type": entry.kind,
            "tradeID": "",
            "code": "",
            "reportDate": period.told_on(entry),
            "exDate": trade_day(entry.at) if entry.action_id is not None else "",
            "clientReference": "",
            "actionID": "" if entry.action_id is None else entry.action_id,
        }
        yield "CashTransaction", {**row, "transactionID": transaction_id(entry.number), "levelOfDetail": "DETAIL"}
        # The same once more, as a template with both levels has it.
        yield "CashTransaction", {**row, "transactionID": "", "levelOfDetail": "SUMMARY"}


def _interest_accruals(_world: World, _period: Period) -> Iterator[Row]:
    """Nothing accrues here: interest is paid when it is earned. [sim]"""
    yield from ()


def _securities(world: World, period: Period) -> Iterator[Row]:
    seen = {lots[0].instrument.conid: lots[0].instrument for lots in period.after.held}
    for entry in period.entries:
        instrument = getattr(entry, "instrument", None)
        if instrument is not None:
            seen[instrument.conid] = instrument
    for _, instrument in sorted(seen.items()):
        columns = instrument_columns(world, instrument)
        yield "SecurityInfo", {"currency": instrument.currency, **columns, "type": "", "code": ""}


def _conversion_rates(_world: World, period: Period) -> Iterator[Row]:
    for day in period.days:
        for currency in period.currencies[1:]:
            yield (
                "ConversionRate",
                {
                    "reportDate": day,
                    "fromCurrency": currency,
                    "toCurrency": period.account.currency,
                    "rate": period.rate(currency, day),
                },
            )


ROWS: Mapping[str, Callable[[World, Period], Iterator[Row]]] = {
    "AccountInformation": _account_information,
    "CashReport": _cash_report,
    "CashTransactions": _cash_transactions,
    "ChangeInNAV": _change_in_nav,
    "ConversionRates": _conversion_rates,
    "CorporateActions": _corporate_actions,
    "EquitySummaryInBase": _equity_summary,
    "FxPositions": _fx_positions,
    "FxTransactions": _fx_transactions,
    "InterestAccruals": _interest_accruals,
    "OpenPositions": _open_positions,
    "OptionEAE": _option_events,
    "SecuritiesInfo": _securities,
    "StmtFunds": _cash_book,
    "Trades": trade_rows,
    "Transfers": _transfers,
}
