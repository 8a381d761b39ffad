"""What can be traded."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ibkit.model.identity import Conid

__all__ = ["ComboLeg", "Contract", "Right", "SecType"]


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
class ComboLeg:
    """A part of a combination. ratio: how many in one, positive where buying the whole buys it, else negative."""

    contract: Contract
    ratio: int


@dataclass(frozen=True, slots=True)
class Contract:
    """A tradable thing. For options `expiry` to `underlying_conid` are set; for combinations `legs`.

    multiplier: units of the underlying in one contract (100 for US options, 1 for stocks).
    expiry:     the last trading day (an AM-settled index option settles a day later).
    conid:      of a combination IBKR's number for spreads in its currency, the same for all of them (model/combo.py).
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
    legs: tuple[ComboLeg, ...] = ()

    @property
    def conidex(self) -> str:
        """What names it at IBKR: the conid, and of a combination its legs. Source: docs/facts/orders.md §1.6.

        >>> Contract(Conid(756733), "SPY", SecType.STOCK).conidex
        '756733'
        """
        if not self.legs:
            return str(self.conid)
        return f"{self.conid};;;" + ",".join(f"{leg.contract.conid}/{leg.ratio}" for leg in self.legs)

    @property
    def label(self) -> str:
        """How a person says it: `SPY 20261120 629 P`, `AAPL`, `+1 SPY … 629 P -1 SPY … 624 P`."""
        if self.sec_type is SecType.OPTION and self.expiry and self.strike is not None and self.right:
            strike = format(self.strike.normalize(), "f")
            return f"{self.symbol} {self.expiry:%Y%m%d} {strike} {self.right.value}"
        if self.legs:
            return " ".join(f"{leg.ratio:+d} {leg.contract.label}" for leg in self.legs)
        return self.symbol
