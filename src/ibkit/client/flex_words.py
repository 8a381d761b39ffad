"""IBKR's words in Flex statements, and ours for them. Source: docs/facts/accounts-and-portfolio.md §6.4, §6.6."""

from __future__ import annotations

from typing import Final

from ibkit.portfolio.transactions import ActionKind, Ending, PaymentKind
from ibkit.wire.flex import Trade, TradeConfirm

__all__ = [
    "ACTIONS",
    "DEPOSITS",
    "EAE",
    "EXERCISES",
    "OPTIONS",
    "PAYMENTS",
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
