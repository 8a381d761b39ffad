"""Orders as they are sent: one ticket, or the tickets of a bracket or OCA group in one request.

Source: docs/facts/orders.md §1.2-1.7.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec

from ibkit.model import GroupKind, OrderTicket, OrderType, Ref, SecType

__all__ = ["OrderBody", "PlaceOrders", "order_body_list", "ticket_to_wire"]


class OrderBody(msgspec.Struct, omit_defaults=True):
    """One ticket. Source: §1.2."""

    acctId: str
    conid: int | None = None
    conidex: str | None = None
    secType: str | None = None
    cOID: str | None = None
    parentId: str | None = None
    isSingleGroup: bool | None = None
    orderType: str | None = None
    price: Decimal | None = None
    auxPrice: Decimal | None = None
    trailingType: str | None = None
    trailingAmt: Decimal | None = None
    side: str | None = None
    quantity: Decimal | None = None
    tif: str | None = None
    outsideRTH: bool | None = None


class PlaceOrders(msgspec.Struct):
    orders: list[OrderBody]


def ticket_to_wire(
    ticket: OrderTicket, *, ref: Ref | None, parent_ref: Ref | None = None, one_group: bool = False
) -> OrderBody:
    """The ticket in IBKR's words.

    parent_ref: of a bracket's child the ref of its parent in the same request. one_group: it belongs to an OCA group.
    """
    contract, price, trail = ticket.contract, _prices(ticket), ticket.trail
    if contract.legs:
        # Of conid and conidex the conid would win (§13 item 20): a combination has its legs alone. Source: §1.6.
        named = {"conidex": contract.conidex, "secType": SecType.COMBO.value}
    else:
        kind = contract.sec_type
        named = {} if kind is SecType.OTHER else {"secType": f"{contract.conid}:{kind.value}"}
    return OrderBody(
        acctId=ticket.account_id,
        conid=None if contract.legs else contract.conid,
        **named,
        cOID=ref,
        parentId=parent_ref or ticket.parent_id,
        isSingleGroup=True if one_group else None,
        orderType=ticket.order_type.value,
        price=price.price,
        auxPrice=price.aux,
        trailingType=None if trail is None else trail.kind.value,
        trailingAmt=None if trail is None else trail.amount,
        side=ticket.side.value,
        quantity=_plain(ticket.quantity),
        tif=ticket.tif.value,
        outsideRTH=ticket.outside_rth,
    )


def order_body_list(
    ticket: OrderTicket,
    others: Sequence[OrderTicket] = (),
    group: GroupKind | None = None,
    *,
    ref: Ref,
    sibling_refs: Sequence[Ref] = (),
) -> list[OrderBody]:
    """The tickets of one request: `ticket` under `ref` first, then the others of its group. Source: §1.7.

    A bracket's children name the parent by its ref and have none of their own; in an OCA group each has one.
    sibling_refs: of an OCA group, those of `others`, in their order.

    Raises ValueError for orders that are no group: unrelated ones in one request are not supported (§1.1).
    """
    if not others and group is None:
        return [ticket_to_wire(ticket, ref=ref)]
    if not others or group is None:
        raise ValueError("a group has a kind and more than one order")
    if any(other.account_id != ticket.account_id for other in others):
        raise ValueError("the orders of a group belong to one account")
    if group is GroupKind.BRACKET:
        if any(other.parent_id is not None for other in (ticket, *others)):
            raise ValueError("the parent of a bracket's child is the first order of the same request")
        if any(other.side is ticket.side for other in others):
            raise ValueError("the children of a bracket are on the other side than their parent")
        children = [ticket_to_wire(other, ref=None, parent_ref=ref) for other in others]
        return [ticket_to_wire(ticket, ref=ref), *children]
    if len(sibling_refs) != len(others):
        raise ValueError("each order of an OCA group has its own ref")
    siblings = zip(others, sibling_refs, strict=True)
    return [
        ticket_to_wire(ticket, ref=ref, one_group=True),
        *(ticket_to_wire(other, ref=own, one_group=True) for other, own in siblings),
    ]


class _Prices(NamedTuple):
    price: Decimal | None = None
    aux: Decimal | None = None


def _prices(ticket: OrderTicket) -> _Prices:
    """Which of a ticket's prices is `price` and which `auxPrice`. Source: §1.3."""
    match ticket.order_type:
        case OrderType.MARKET | OrderType.MARKET_ON_CLOSE:
            return _Prices()
        case OrderType.LIMIT | OrderType.LIMIT_ON_CLOSE | OrderType.MIDPRICE:
            return _Prices(ticket.limit_price)
        case OrderType.STOP | OrderType.TRAIL | OrderType.MARKET_IF_TOUCHED:
            return _Prices(ticket.stop_price)
        case OrderType.STOP_LIMIT | OrderType.TRAIL_LIMIT | OrderType.LIMIT_IF_TOUCHED:
            return _Prices(ticket.limit_price, ticket.stop_price)
        case OrderType.RELATIVE:
            return _Prices(ticket.limit_price, ticket.offset)


def _plain(quantity: Decimal) -> Decimal:
    """3, never 3.0 or 3E+2: the digits go out as they are."""
    whole_part = quantity.to_integral_value()
    return whole_part.quantize(Decimal(1)) if quantity == whole_part else quantity.normalize()
