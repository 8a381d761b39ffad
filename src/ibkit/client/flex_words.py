"""IBKR's words in Flex statements, and ours for them. Source: docs/facts/accounts-and-portfolio.md §6.4, §6.6."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from ibkit.portfolio.transactions import ActionKind, Ending, PaymentKind
from ibkit.wire.flex import Trade, TradeConfirm, Transfer

__all__ = [
    "ACTIONS",
    "DEPOSITS",
    "EAE",
    "EXERCISES",
    "OPTIONS",
    "PAYMENTS",
    "cancelled_ids",
    "cost_of",
    "ending_of",
    "execution_of",
    "takes_back",
]

PAYMENTS: Final = {
    "Dividends": PaymentKind.DIVIDEND,
    "Payment In Lieu Of Dividends": PaymentKind.PAYMENT_IN_LIEU,
    "Withholding Tax": PaymentKind.WITHHOLDING_TAX,
    "Broker Interest Paid": PaymentKind.INTEREST,
    "Broker Interest Received": PaymentKind.INTEREST,
    "Bond Interest Paid": PaymentKind.INTEREST,
    "Bond Interest Received": PaymentKind.INTEREST,
    "Other Fees": PaymentKind.FEE,
    "Advisor Fees": PaymentKind.FEE,
    "Commission Adjustments": PaymentKind.COMMISSION_ADJUSTMENT,
}
DEPOSITS: Final = ("Deposits/Withdrawals", "Deposits & Withdrawals")
ACTIONS: Final = {
    **dict.fromkeys(("FS", "RS", "CS", "FI"), ActionKind.SPLIT),
    **dict.fromkeys(("TC", "TO"), ActionKind.MERGER),
    **dict.fromkeys(("SO", "CO"), ActionKind.SPIN_OFF),
    "IC": ActionKind.SYMBOL_CHANGE,
    "SD": ActionKind.STOCK_DIVIDEND,
}
EXERCISES: Final = frozenset({"Ex", "AEx", "MEx"})
EAE: Final = {
    "Assignment": Ending.ASSIGNMENT,
    "Exercise": Ending.EXERCISE,
    "Expiration": Ending.EXPIRATION,
    "Cash Settlement": Ending.CASH_SETTLEMENT,
}
OPTIONS: Final = ("OPT", "FOP", "WAR")
CANCELLATIONS: Final = ("TradeCancel", "FracShareCancel")


def ending_of(noted: set[str]) -> Ending | None:
    """How an option left, by the codes of its row; None where it was traded."""
    if "CD" in noted:
        return Ending.CASH_SETTLEMENT
    if "A" in noted:
        return Ending.ASSIGNMENT
    if noted & EXERCISES:
        return Ending.EXERCISE
    return Ending.EXPIRATION if "Ep" in noted else None


def execution_of(row: Trade | TradeConfirm) -> str | None:
    return row.execID if isinstance(row, TradeConfirm) else row.ibExecID


def takes_back(row: Trade | TradeConfirm) -> bool:
    """It cancels a trade, whose execution it may name."""
    return row.transactionType in CANCELLATIONS or "(Ca.)" in (row.buySell or "")


def cancelled_ids(row: Trade | TradeConfirm) -> tuple[str, ...]:
    """Of the trade that it takes back."""
    names = (("trade-tx", "origTransactionID"), ("trade", "origTradeID"))
    return tuple(f"{prefix}:{row.raw[name]}" for prefix, name in names if row.raw.get(name) not in (None, "", "0"))


def cost_of(row: Transfer) -> Decimal:
    """What a transferred holding cost, as far as its row tells.

    Source: assumed; no source that we have names the columns of Transfers. What stands in `positionAmount` may as well
    be what it was worth on that day. The inbox compares the cost with that of the next statement's position, and books
    what differs (`reconciling_costs`); a recorded transfer would tell.
    """
    return row.positionAmount or Decimal(0)
