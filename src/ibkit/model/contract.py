"""What can be traded."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ibkit.model.identity import Conid

__all__ = ["Contract", "Right", "SecType"]


class SecType(enum.Enum):
    STOCK = "STK"
    INDEX = "IND"
    OPTION = "OPT"
    FUTURE = "FUT"
    FUTURE_OPTION = "FOP"
    CASH = "CASH"
    BOND = "BOND"
    FUND = "FUND"
    COMBO = "BAG"
    OTHER = "OTHER"


class Right(enum.Enum):
    PUT = "P"
    CALL = "C"


@dataclass(frozen=True, slots=True)
class Contract:
    """A tradable thing. For options the last five fields are set.

    multiplier: units of the underlying in one contract (100 for US options, 1 for stocks).
    expiry:     the last trading day (an AM-settled index option settles a day later).
    """

    conid: Conid
    symbol: str
    sec_type: SecType
    exchange: str = "SMART"
    currency: str = "USD"
    multiplier: Decimal = Decimal(1)
    description: str = ""
    expiry: date | None = None
    strike: Decimal | None = None
    right: Right | None = None
    trading_class: str | None = None
    underlying_conid: Conid | None = None

    @property
    def label(self) -> str:
        """How a person says it: `SPY 20261120 629 P`, `AAPL`."""
        if self.sec_type is SecType.OPTION and self.expiry and self.strike is not None and self.right:
            strike = format(self.strike.normalize(), "f")
            return f"{self.symbol} {self.expiry:%Y%m%d} {strike} {self.right.value}"
        return self.symbol
