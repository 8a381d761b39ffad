"""Order tickets as they come over the wire, read strictly: what cannot be read is refused before anything is booked.

Source: docs/facts/orders.md §1.2-1.5, §0.1 row 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from ibkit.sim.market.instruments import Instrument, Instruments

__all__ = ["BadTicket", "OrderType", "Side", "SimTicket", "Tif", "read_ticket"]

Side = Literal["BUY", "SELL"]
OrderType = Literal["MKT", "LMT", "STP", "STOP_LIMIT"]
Tif = Literal["DAY", "GTC", "IOC", "OPG"]

_TYPES = ("MKT", "LMT", "STP", "STOP_LIMIT")
_NOT_SIMULATED = frozenset({"MIDPRICE", "TRAIL", "TRAILLMT", "LOC", "MOC", "MIT", "LIT", "REL"})
"""Order types that IBKR knows and this exchange does not match."""
_TIFS = ("DAY", "GTC", "IOC", "OPG")
_MAX_REF = 64


class BadTicket(Exception):
    """The ticket cannot be read. `error` is the text of IBKR's body; None means a 500 with an empty body."""

    def __init__(self, error: str | None = None, *, status: int = 500) -> None:
        super().__init__(error)
        self.error = error
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class SimTicket:
    """One order as asked for. limit: of LMT and STOP_LIMIT. stop: of STP and STOP_LIMIT.

    quantity:  None for an order by amount; then cash_quantity is set.
    parent:    a cOID of the same request, or the digits of an order id.
    one_group: isSingleGroup, part of an explicit OCA group.
    """

    instrument: Instrument
    side: Side
    order_type: OrderType
    tif: Tif
    quantity: Decimal
    cash_quantity: Decimal | None = None
    limit: Decimal | None = None
    stop: Decimal | None = None
    ref: str | None = None
    parent: str | None = None
    one_group: bool = False
    outside_rth: bool = False
    all_or_none: bool = False
    account: str | None = None
    deactivated: bool = False
    adaptive: bool = False

    @property
    def conid(self) -> int:
        return self.instrument.conid

    @property
    def is_stop(self) -> bool:
        return self.order_type in ("STP", "STOP_LIMIT")

    def with_quantity(self, quantity: Decimal) -> SimTicket:
        return replace(self, quantity=quantity)


def read_ticket(body: Any, instruments: Instruments) -> SimTicket:
    """The ticket in a JSON object.

    Raises BadTicket: 500 with an empty body for a value that is not in IBKR's lists or of the wrong type, with its text
    for an attribute that the product does not take.
    """
    if not isinstance(body, Mapping):
        raise BadTicket
    instrument = instruments.get(_conid(body))
    if instrument is None or instrument.sec_type == "IND":
        raise BadTicket
    order_type = _word(body, "orderType")
    if order_type in _NOT_SIMULATED:
        raise BadTicket(f"invalid order attribute : {order_type}")
    tif = _word(body, "tif", default="DAY")
    side = _word(body, "side")
    if order_type not in _TYPES or tif not in _TIFS or side not in ("BUY", "SELL"):
        raise BadTicket
    limit, stop = _prices(body, order_type)
    quantity, cash = _amount(body)
    return SimTicket(
        instrument=instrument,
        side=cast("Side", side),
        order_type=cast("OrderType", order_type),
        tif=cast("Tif", tif),
        quantity=quantity,
        cash_quantity=cash,
        limit=limit,
        stop=stop,
        ref=_ref(body),
        parent=_text(body, "parentId"),
        one_group=_flag(body, "isSingleGroup"),
        outside_rth=_flag(body, "outsideRTH"),
        all_or_none=_flag(body, "allOrNone"),
        account=_text(body, "acctId"),
        deactivated=_flag(body, "deactivated"),
        adaptive=_flag(body, "useAdaptive"),
    )


def _conid(body: Mapping[str, Any]) -> int:
    conid = body.get("conid")
    if conid is None:
        # 265598@NASDAQ routes directly; a combo (28812380;;;...) is not simulated.
        head = str(body.get("conidex") or "").partition("@")[0]
        if ";" in head:
            raise BadTicket("invalid order attribute : conidex")
        conid = int(head) if head.isdigit() else None
    if isinstance(conid, str) and conid.isdigit():
        conid = int(conid)
    if isinstance(conid, Decimal) and conid == conid.to_integral_value():
        conid = int(conid)
    if not isinstance(conid, int) or isinstance(conid, bool):
        raise BadTicket
    return conid


def _word(body: Mapping[str, Any], name: str, *, default: str = "") -> str:
    value = body.get(name, default)
    if not isinstance(value, str):
        raise BadTicket
    return value.upper() if name in ("side", "tif") else value


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadTicket
    return str(value)


def _ref(body: Mapping[str, Any]) -> str | None:
    ref = _text(body, "cOID")
    if ref is not None and len(ref) > _MAX_REF:
        raise BadTicket
    return ref


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise BadTicket
    return value


def _number(body: Mapping[str, Any], name: str) -> Decimal | None:
    value = body.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise BadTicket
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise BadTicket from None
    if not number.is_finite():
        raise BadTicket
    return number


def _prices(body: Mapping[str, Any], order_type: str) -> tuple[Decimal | None, Decimal | None]:
    """Limit and stop. Source: docs/facts/orders.md §1.3 (a plain stop's price stands in `price`)."""
    price, aux = _number(body, "price"), _number(body, "auxPrice")
    limit, stop = {
        "MKT": (None, None),
        "LMT": (price, None),
        "STP": (None, price if price is not None else aux),
        "STOP_LIMIT": (price, aux),
    }[order_type]
    if order_type in ("LMT", "STOP_LIMIT") and (limit is None or limit <= 0):
        raise BadTicket
    if order_type in ("STP", "STOP_LIMIT") and (stop is None or stop <= 0):
        raise BadTicket
    return limit, stop


def _amount(body: Mapping[str, Any]) -> tuple[Decimal, Decimal | None]:
    quantity, cash = _number(body, "quantity"), _number(body, "cashQty")
    if (quantity is None) == (cash is None):
        raise BadTicket
    if (quantity or cash or Decimal(0)) <= 0:
        raise BadTicket
    return quantity or Decimal(0), cash
