"""Trades as a statement tells them: executions, the lots they closed, orders and symbols; and confirmations.

Source: docs/facts/accounts-and-portfolio.md §6.4. `cost` is what makes realized = net cash + cost, as in
the page's sample.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from ibkit.model import portion
from ibkit.sim.exchange.books import trade_day
from ibkit.sim.exchange.history import Converted, Traded
from ibkit.sim.flex.lots import TradeResult
from ibkit.sim.flex.period import Period
from ibkit.sim.market.instruments import Instrument
from ibkit.sim.market.names import name_of
from ibkit.sim.market.universe import FX_PAIRS

if TYPE_CHECKING:
    from ibkit.sim.world import World

__all__ = ["confirm_rows", "fx_pair", "instrument_columns", "order_id", "trade_rows", "transaction_id"]

_ZERO = Decimal(0)
_CODES = {"Assignment": "A", "Exercise": "Ex", "Expiration": "Ep", "Cash Settlement": "CD"}
"""Source: §6.6 (client: ibflex)."""


def transaction_id(number: int) -> str:
    """Of an entry; trades have it as tradeID, too."""
    return str(1_000_000_000 + number)


def order_id(number: int | None) -> str:
    """Flex numbers orders otherwise than the API. Source: §6.4, last line."""
    return "" if number is None else str(number + 500_000_000)


def instrument_columns(world: World, instrument: Instrument) -> dict[str, object]:
    option = instrument.is_option
    underlying = world.instruments.get(instrument.underlying_conid) if instrument.underlying_conid else None
    return {
        "assetCategory": instrument.sec_type,
        "subCategory": instrument.right if option else instrument.listing.kind,
        "symbol": instrument.local_symbol,
        "description": instrument.full_name if option else name_of(world, instrument),
        "conid": instrument.conid,
        "listingExchange": instrument.listing_exchange,
        "underlyingConid": instrument.underlying_conid or "",
        "underlyingSymbol": underlying.symbol if underlying else "",
        "multiplier": instrument.multiplier,
        "strike": instrument.strike if option else "",
        "expiry": instrument.expiry if option else "",
        "putCall": instrument.right if option else "",
    }


def fx_pair(currency: str) -> tuple[str, int | str, bool]:
    """Name and conid of the pair with the dollar, and whether the dollar stands first."""
    for name, conid in FX_PAIRS:
        if currency in name.split("."):
            return name, conid, name.startswith("USD.")
    return f"{currency}.USD", "", False


def trade_rows(world: World, period: Period) -> Iterator[tuple[str, Mapping[str, object]]]:
    """All levels, as a template with every option has them; only EXECUTION is counted."""
    by_order: dict[int, list[dict[str, object]]] = defaultdict(list)
    by_symbol: dict[tuple[object, object], list[dict[str, object]]] = defaultdict(list)
    for entry in period.entries:
        if isinstance(entry, Converted):
            yield "Trade", _conversion(period, entry)
        if not isinstance(entry, Traded):
            continue
        result = period.after.results[entry.number]
        row = _trade(world, period, entry, result)
        yield "Trade", row
        for closed in result.closed:
            yield (
                "Lot",
                {
                    **row,
                    "levelOfDetail": "CLOSED_LOT",
                    "quantity": closed.quantity,
                    "cost": closed.cost,
                    "fifoPnlRealized": closed.realized,
                    "openDateTime": closed.lot.opened_at,
                    "transactionID": transaction_id(closed.lot.entry),
                    **dict.fromkeys(("proceeds", "tradeMoney", "ibCommission", "netCash"), ""),
                },
            )
        if entry.order_id is not None:
            by_order[entry.order_id].append(row)
        by_symbol[row["conid"], row["buySell"]].append(row)
    for rows in by_order.values():
        yield "Order", _summed(rows, "ORDER")
    for rows in by_symbol.values():
        yield "SymbolSummary", {**_summed(rows, "SYMBOL_SUMMARY"), "ibOrderID": "", "orderReference": ""}


def _trade(world: World, period: Period, entry: Traded, result: TradeResult) -> dict[str, object]:
    net = entry.proceeds - entry.fee
    # Of a trade that turns a position round, the closing part comes first.
    indicator = ";".join(word for word, there in (("C", result.closed), ("O", result.opened)) if there)
    mark = period.mark(entry.instrument, period.told_on(entry))
    booked = entry.execution_id is None
    return {
        "accountId": period.account.id,
        "currency": entry.instrument.currency,
        "fxRateToBase": Decimal(1),
        **instrument_columns(world, entry.instrument),
        "tradeID": transaction_id(entry.number),
        "transactionID": transaction_id(entry.number),
        "ibOrderID": order_id(entry.order_id),
        "ibExecID": entry.execution_id or "",
        "orderReference": entry.ref or "",
        "relatedTradeID": "" if entry.related is None else transaction_id(entry.related),
        "reportDate": period.told_on(entry),
        "dateTime": entry.at,
        "tradeDate": trade_day(entry.at),
        "orderTime": entry.ordered_at or "",
        "settleDateTarget": world.calendar.next_day(trade_day(entry.at)),
        "transactionType": "BookTrade" if booked else "ExchTrade",
        "exchange": entry.exchange or "--",
        "buySell": entry.side,
        "openCloseIndicator": indicator,
        "quantity": entry.signed,
        "tradePrice": entry.price,
        "tradeMoney": -entry.proceeds,
        "proceeds": entry.proceeds,
        "taxes": _ZERO,
        "ibCommission": -entry.fee,
        "ibCommissionCurrency": entry.instrument.currency,
        "netCash": net,
        "netCashInBase": net,
        "closePrice": mark,
        "cost": result.realized - net,
        "fifoPnlRealized": result.realized,
        "mtmPnl": entry.signed * (mark - entry.price) * entry.instrument.multiplier,
        "fxPnl": _ZERO,
        "notes": _CODES[entry.ending] if entry.ending else "A" if entry.related is not None else "",
        "orderType": entry.order_type or "",
        "isAPIOrder": entry.ref is not None,
        "openDateTime": "",
        "levelOfDetail": "EXECUTION",
    }


def _summed(rows: list[dict[str, object]], level: str) -> dict[str, object]:
    sums = (
        *("quantity", "tradeMoney", "proceeds", "ibCommission", "netCash", "netCashInBase"),
        *("cost", "fifoPnlRealized", "mtmPnl"),
    )
    total = {name: sum((_decimal(row[name]) for row in rows), _ZERO) for name in sums}
    multiplier = _decimal(rows[0]["multiplier"])
    price = portion(total["tradeMoney"], Decimal(1), total["quantity"] * multiplier) if total["quantity"] else _ZERO
    blank = dict.fromkeys(("tradeID", "transactionID", "ibExecID", "exchange", "relatedTradeID"), "")
    return {**rows[0], **blank, **total, "tradePrice": price, "levelOfDetail": level}


def _decimal(value: object) -> Decimal:
    assert isinstance(value, Decimal)
    return value


def _conversion(period: Period, entry: Converted) -> dict[str, object]:
    """quantity is in the pair's first currency, proceeds in its second; the commission in the account's own."""
    name, conid, dollars_first = fx_pair(entry.currency)
    dollars = -entry.quantity * entry.rate
    quantity, proceeds = (dollars, entry.quantity) if dollars_first else (entry.quantity, dollars)
    currency = name.split(".")[1]
    rate = period.rate(currency, period.told_on(entry))
    return {
        "accountId": period.account.id,
        "currency": currency,
        "fxRateToBase": rate,
        "assetCategory": "CASH",
        "symbol": name,
        "description": name,
        "conid": conid,
        "multiplier": Decimal(1),
        "tradeID": transaction_id(entry.number),
        "transactionID": transaction_id(entry.number),
        "reportDate": period.told_on(entry),
        "dateTime": entry.at,
        "tradeDate": trade_day(entry.at),
        "settleDateTarget": trade_day(entry.at),
        "transactionType": "ExchTrade",
        "exchange": "IDEALFX",
        "buySell": "BUY" if quantity > 0 else "SELL",
        "quantity": quantity,
        "tradePrice": portion(Decimal(1), Decimal(1), entry.rate) if dollars_first else entry.rate,
        "tradeMoney": -proceeds,
        "proceeds": proceeds,
        "taxes": _ZERO,
        "ibCommission": -entry.fee,
        "ibCommissionCurrency": entry.base,
        "netCash": _ZERO,
        "fifoPnlRealized": _ZERO,
        "notes": "",
        "levelOfDetail": "EXECUTION",
    }


def confirm_rows(world: World, period: Period) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Fills alone, in three levels: the symbol's sum, and each order before its executions. Source: §6.4."""
    fills = [e for e in period.entries if isinstance(e, Traded) and e.execution_id is not None]
    symbols: dict[tuple[int, str], list[Traded]] = defaultdict(list)
    for fill in fills:
        symbols[fill.instrument.conid, fill.side].append(fill)
    for same in symbols.values():
        yield "SymbolSummary", {**_confirm(world, period, same, "SYMBOL_SUMMARY"), "exchange": "MULTI"}
        orders: dict[int | None, list[Traded]] = defaultdict(list)
        for fill in same:
            orders[fill.order_id].append(fill)
        for of_order in orders.values():
            yield "Order", _confirm(world, period, of_order, "ORDER")
            for fill in of_order:
                yield "TradeConfirm", _confirm(world, period, [fill], "EXECUTION")


def _confirm(world: World, period: Period, fills: list[Traded], level: str) -> dict[str, object]:
    first, one = fills[0], level == "EXECUTION"
    quantity = sum((fill.signed for fill in fills), _ZERO)
    proceeds = sum((fill.proceeds for fill in fills), _ZERO)
    fees = sum((fill.fee for fill in fills), _ZERO)
    ordered = level != "SYMBOL_SUMMARY"
    return {
        "accountId": period.account.id,
        "currency": first.instrument.currency,
        **instrument_columns(world, first.instrument),
        "transactionType": "ExchTrade" if one else "",
        "tradeID": transaction_id(first.number) if one else "",
        "orderID": order_id(first.order_id) if ordered else "",
        "execID": first.execution_id if one else "",
        "orderReference": first.ref or "" if ordered else "",
        "orderTime": first.ordered_at if ordered else "",
        "dateTime": first.at if ordered else "",
        "reportDate": period.told_on(first),
        "settleDate": world.calendar.next_day(trade_day(first.at)),
        "tradeDate": trade_day(first.at),
        "exchange": first.exchange if one else "",
        "buySell": first.side,
        "quantity": quantity,
        "price": portion(-proceeds, Decimal(1), quantity * first.instrument.multiplier),
        "amount": -proceeds,
        "proceeds": proceeds,
        "netCash": proceeds - fees,
        "commission": -fees,
        "commissionCurrency": first.instrument.currency,
        "tax": _ZERO,
        "code": "",
        "orderType": first.order_type or "",
        "levelOfDetail": level,
        "isAPIOrder": first.ref is not None if one else "",
    }
