"""Order tickets as they come over the wire, read strictly: what cannot be read is refused before anything is booked.

Source: docs/facts/orders.md §1.2-1.6, §0.1 row 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal, cast

from ibkit.sim.exchange.kinds import KINDS, Kind, OrderType

if TYPE_CHECKING:
    from ibkit.sim.market.instruments import Instrument, Instruments

__all__ = ["BadTicket", "OrderType", "Side", "SimTicket", "Tif", "Trail", "read_ticket"]

Side = Literal["BUY", "SELL"]
Tif = Literal["DAY", "GTC", "IOC", "OPG"]

_TIFS = ("DAY", "GTC", "IOC", "OPG")
_MAX_REF = 64


class BadTicket(Exception):
    """The ticket cannot be read. `error` is the text of IBKR's body; None means a 500 with an empty body."""

    def __init__(self, error: str | None = None, *, status: int = 500) -> None:
        super().__init__(error)
        self.error = error
        self.status = status


@dataclass(frozen=True, slots=True)
class Trail:
    """How far a trailing stop stays behind the market: an amount per unit, or per cent of the price."""

    amount: Decimal
    per_cent: bool

    @property
    def form(self) -> str:
        """`trailingType`."""
        return "%" if self.per_cent else "amt"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimTicket:
    """One order as asked for. limit: where it has one; the cap of REL and MIDPRICE.

    stop:      what it waits for: a stop, the trigger of MIT and LIT, the first stop of a trailing order.
    offset:    of REL, by how much it is better than the best price of its own side.
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
    trail: Trail | None = None
    offset: Decimal | None = None
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
    def kind(self) -> Kind:
        return KINDS[self.order_type]

    @property
    def is_stop(self) -> bool:
        return self.kind.waits == "stop"

    @property
    def buys(self) -> bool:
        return self.side == "BUY"

    def with_quantity(self, quantity: Decimal) -> SimTicket:
        return replace(self, quantity=quantity)


def read_ticket(body: Any, instruments: Instruments) -> SimTicket:
    """The ticket in a JSON object.

    Raises BadTicket: 500 with an empty body for a value that is not in IBKR's lists or of the wrong type, with its text
    for an attribute that the product does not take.
    """
    if not isinstance(body, Mapping):
        raise BadTicket
    instrument = _instrument(body, instruments)
    order_type = _word(body, "orderType")
    tif = _word(body, "tif", default="DAY")
    side = _word(body, "side")
    if order_type not in KINDS or tif not in _TIFS or side not in ("BUY", "SELL"):
        raise BadTicket
    kind = KINDS[order_type]
    if instrument.sec_type not in kind.products:
        raise BadTicket(f"invalid order attribute : {order_type}")
    limit, stop, offset = _prices(body, kind, signed=instrument.sec_type == "BAG")
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
        trail=_trail(body) if kind.trails else None,
        offset=offset,
        ref=_ref(body),
        parent=_text(body, "parentId"),
        one_group=_flag(body, "isSingleGroup"),
        outside_rth=_flag(body, "outsideRTH"),
        all_or_none=_flag(body, "allOrNone"),
        account=_text(body, "acctId"),
        deactivated=_flag(body, "deactivated"),
        adaptive=_flag(body, "useAdaptive"),
    )


def _instrument(body: Mapping[str, Any], instruments: Instruments) -> Instrument:
    """The contract or combo that a ticket names; where both are sent, `conid` wins (§1.2)."""
    conidex = body.get("conidex")
    if body.get("conid") is None and isinstance(conidex, str) and ";" in conidex:
        combo = instruments.combo(conidex) if not conidex.startswith("0;") else None
        if combo is None:
            # The text has the form of another attribute's [recorded, §0.1]; that it is this is assumed.
            raise BadTicket("invalid order attribute : conidex")
        return combo
    found = instruments.get(_conid(body))
    if found is None or found.sec_type == "IND":
        raise BadTicket
    return found


def _conid(body: Mapping[str, Any]) -> int:
    conid = body.get("conid")
    if conid is None:
        # 265598@NASDAQ routes directly.
        head = str(body.get("conidex") or "").partition("@")[0]
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


def _prices(
    body: Mapping[str, Any], kind: Kind, *, signed: bool
) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    """Limit, stop and offset. signed: those of a combo may be zero or negative (§1.6)."""
    price, aux = _number(body, "price"), _number(body, "auxPrice")
    sent = {"price": price, "auxPrice": aux, "price or auxPrice": price if price is not None else aux, None: None}
    found = {"limit": sent[kind.limit], "stop": sent[kind.stop], "offset": sent[kind.offset]}
    for name, source in (("limit", kind.limit), ("stop", kind.stop), ("offset", kind.offset)):
        value = found[name]
        if source is not None and value is None and name not in kind.optional:
            raise BadTicket
        if value is not None and (value < 0 if name == "offset" else value <= 0 and not signed):
            raise BadTicket
    return found["limit"], found["stop"], found["offset"]


def _trail(body: Mapping[str, Any]) -> Trail:
    """Both members are needed. Source: docs/facts/orders.md §1.2."""
    amount, form = _number(body, "trailingAmt"), body.get("trailingType")
    if amount is None or amount <= 0 or form not in ("amt", "%") or (form == "%" and amount >= 100):
        raise BadTicket
    return Trail(amount, form == "%")


def _amount(body: Mapping[str, Any]) -> tuple[Decimal, Decimal | None]:
    quantity, cash = _number(body, "quantity"), _number(body, "cashQty")
    if (quantity is None) == (cash is None):
        raise BadTicket
    if (quantity or cash or Decimal(0)) <= 0:
        raise BadTicket
    return quantity or Decimal(0), cash
