"""What sort of thing a security is: our fifteen words, and IBKR's for them. Source: requirement SYN-09."""

from __future__ import annotations

import enum
import logging
from typing import Final

__all__ = ["IN_PERCENT", "PAIRS", "SETTLED_DAILY", "SecurityKind", "kind_of"]

SETTLED_DAILY: Final = frozenset({"FUT", "CFD"})
"""IBKR's classes of what is not paid for when it is bought: its gains and losses come and go as cash. Not in ledgers.

How their rows of a statement, and that cash, look is told by no source that we have: §3.1 of
docs/facts/accounts-and-portfolio.md has no capture of one, §6.4 no row of theirs.
"""
IN_PERCENT: Final = frozenset({"BOND", "BILL"})
"""IBKR's classes of what is priced in per cent of its face: quantity, price and multiplier do not make what was paid.

Source: docs/facts/accounts-and-portfolio.md §3.1, of a bond's `mktPrice` [sim]; assumed of bills and of executions. A
recorded execution of one would tell.
"""
PAIRS: Final = "CASH"
"""IBKR's class of a pair of currencies: an execution of it is a conversion, no holding. Source: §3.1, §6.6."""

log = logging.getLogger(__name__)


class SecurityKind(enum.Enum):
    STOCK = "stock"
    ETF = "etf"
    OPTION = "option"
    FUTURE = "future"
    FUTURE_OPTION = "future-option"
    BOND = "bond"
    FUND = "fund"
    CASH = "cash"
    FOREX = "forex"
    CRYPTO = "crypto"
    WARRANT = "warrant"
    CFD = "cfd"
    INDEX = "index"
    COMMODITY = "commodity"
    OTHER = "other"


_BY_CLASS: Final = {
    "STK": SecurityKind.STOCK,
    "OPT": SecurityKind.OPTION,
    "FUT": SecurityKind.FUTURE,
    "FOP": SecurityKind.FUTURE_OPTION,
    "BOND": SecurityKind.BOND,
    "BILL": SecurityKind.BOND,
    "FUND": SecurityKind.FUND,
    # A position of class CASH is a pair of currencies; cash itself comes from the ledger (§3.1).
    "CASH": SecurityKind.FOREX,
    "CRYPTO": SecurityKind.CRYPTO,
    "WAR": SecurityKind.WARRANT,
    "IOPT": SecurityKind.WARRANT,
    "CFD": SecurityKind.CFD,
    "IND": SecurityKind.INDEX,
    "CMDTY": SecurityKind.COMMODITY,
}


def kind_of(asset_class: str, further: str = "") -> SecurityKind:
    """further: the type that IBKR tells of a stock. An unknown class is `other`, and logged.

    >>> kind_of("STK", "ETF").value, kind_of("STK", "COMMON").value, kind_of("PDC").value
    ('etf', 'stock', 'other')
    """
    if asset_class == "STK" and further.upper() == "ETF":
        return SecurityKind.ETF
    found = _BY_CLASS.get(asset_class)
    if found is None:
        log.warning("a position of unknown class is put down as other", extra={"asset_class": asset_class[:20]})
    return found or SecurityKind.OTHER
