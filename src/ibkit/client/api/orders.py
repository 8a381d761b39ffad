"""Verbs of orders: each is one call and what it was answered. What it means for an intent, `trading` decides.

Source: docs/facts/orders.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ibkit.client.api.marketdata import conids_of, snapshot
from ibkit.errors import Effect, InvalidRequest, NotFound, Refused, UnexpectedAnswer
from ibkit.model import (
    AccountId,
    Answer,
    CancelAck,
    Fill,
    GroupKind,
    Order,
    OrderId,
    OrderTicket,
    Preview,
    QuestionId,
    Ref,
    SendPermit,
)
from ibkit.trading.ref import leg_ref
from ibkit.wire.codec import decode, said
from ibkit.wire.endpoint import Endpoint
from ibkit.wire.executions import TRADES, TradeRow, fill_from_wire
from ibkit.wire.http import Response
from ibkit.wire.order_answers import RefusedCancel, answer_from_wire, refused_cancel, registered_in
from ibkit.wire.orders import (
    CANCEL_ORDER,
    LIVE_ORDERS,
    MODIFY_ORDER,
    ORDER_STATUS,
    PLACE_ORDERS,
    PREVIEW_ORDERS,
    REPLY,
    LiveOrders,
    ReplyRequest,
    cancel_from_wire,
    order_from_status,
    order_from_wire,
)
from ibkit.wire.previews import preview_from_wire
from ibkit.wire.tickets import PlaceOrders, order_body_list, ticket_to_wire

if TYPE_CHECKING:
    from ibkit.client.core import Core

_Row = TypeVar("_Row")
_Value = TypeVar("_Value")


async def place(
    ib: Core,
    ticket: OrderTicket,
    *,
    ref: Ref,
    others: tuple[OrderTicket, ...] = (),
    group: GroupKind | None = None,
    permit: SendPermit | None = None,
) -> Answer:
    """Send one order or one group, once. OutcomeUnknown for every status but 200: `details` has `status` and `reason`.

    permit: as in `Core.exchange`, here and in the verbs below; without it nothing leaves. ValueError where `others` are
    no group.
    """
    sibling_refs = [leg_ref(ref, number) for number in range(1, len(others) + 1)] if group is GroupKind.OCA else ()
    body = PlaceOrders(order_body_list(ticket, others, group, ref=ref, sibling_refs=sibling_refs))
    response = await _sent(ib, PLACE_ORDERS, body, permit, account_id=ticket.account_id)
    return registered_in(response) or _answered(ib, PLACE_ORDERS, response, account_id=ticket.account_id, ref=ref)


async def reply(
    ib: Core,
    question_id: QuestionId,
    *,
    confirmed: bool,
    ref: Ref | None = None,
    permit: SendPermit | None = None,
) -> Answer:
    """Answer a question, once. After a confirmation an error means OutcomeUnknown, never a refusal.

    ref: of the order asked about; by it the answer to a group is read.
    """
    response = await _sent(ib, REPLY, ReplyRequest(confirmed), permit, question_id=question_id)
    return registered_in(response) or _answered(ib, REPLY, response, ref=ref, to_reply=confirmed)


async def modify(ib: Core, order_id: OrderId, ticket: OrderTicket, *, permit: SendPermit | None = None) -> Answer:
    """Change an order to `ticket` in full."""
    body = ticket_to_wire(ticket, ref=None)
    response = await _sent(ib, MODIFY_ORDER, body, permit, account_id=ticket.account_id, order_id=order_id)
    return _answered(ib, MODIFY_ORDER, response, account_id=ticket.account_id)


async def cancel(ib: Core, account_id: AccountId, order_id: OrderId, *, permit: SendPermit | None = None) -> CancelAck:
    """Ask for a cancel; only the order's status says whether it worked.

    NotFound where IBKR does not know the order, Refused where it is past or waits behind a question, each in words
    that are IBKR's own for it; any other refusal may come from a proxy in front of a cancel that is carried out.
    """
    response = await _sent(ib, CANCEL_ORDER, None, permit, account_id=account_id, order_id=order_id)
    if response.status in (200, 400):
        words, kind = said(response), refused_cancel(response)
        if kind is not None:
            unknown = kind is RefusedCancel.UNKNOWN_ORDER
            raise (NotFound if unknown else Refused)(
                f"IBKR did not cancel order {order_id}: {words.text}", code="E-ORD-REJECT", details=_said(response)
            )
    if response.status != 200:
        raise ib.told(CANCEL_ORDER, response)
    return cancel_from_wire(decode(CANCEL_ORDER, response), order_id)


async def preview(ib: Core, ticket: OrderTicket) -> Preview:
    """What the order would do. IBKR wants market data asked for before; a ref is left out. Source: §5."""
    await snapshot(ib, conids_of(ticket.contract))
    body = PlaceOrders([ticket_to_wire(ticket, ref=None)])
    try:
        told = await ib.request(PREVIEW_ORDERS, path={"account_id": ticket.account_id}, body=body)
    except (Refused, InvalidRequest) as error:
        if error.details.get("status") != 200:
            raise
        return Preview(error=str(error.details.get("reason")))
    return preview_from_wire(told)


async def orders(ib: Core, account_id: AccountId | None = None) -> tuple[tuple[Order, ...], bool]:
    """The live orders, unfiltered, and whether IBKR called the list a snapshot. The first read proves nothing."""
    query = {"accountId": account_id} if account_id is not None else None
    told: LiveOrders = await ib.request(LIVE_ORDERS, query=query)
    return tuple(_read(order_from_wire, row) for row in told.orders), told.snapshot is True


async def order(ib: Core, order_id: OrderId) -> Order | None:
    """One order; None where IBKR does not know it, or it waits behind a question. Source: §10."""
    try:
        row = await ib.request(ORDER_STATUS, path={"order_id": order_id})
    except (NotFound, InvalidRequest) as error:
        if error.details.get("status") in (400, 404):
            return None
        raise
    return _read(order_from_status, row)


async def fills(ib: Core, account_id: AccountId, *, days: int = 1) -> tuple[Fill, ...]:
    """Executions of the last `days` trading days (1-7), told once each. The first read may be empty. Source: §11."""
    rows: list[TradeRow] = await ib.request(TRADES, query={"days": days, "accountId": account_id})
    found = [_read(lambda each: fill_from_wire(each, account_id), row) for row in rows]
    return tuple({fill.execution_id: fill for fill in found if fill.account_id == account_id}.values())


async def _sent(ib: Core, endpoint: Endpoint, body: Any, permit: SendPermit | None, **path: object) -> Response:
    return await ib.exchange(endpoint, path=path, body=body, errors=False, permit=permit)


def _answered(ib: Core, endpoint: Endpoint, response: Response, **expected: Any) -> Answer:
    if response.status != 200:
        raise ib.told(endpoint, response)
    return answer_from_wire(response, **expected)


def _said(response: Response) -> dict[str, object]:
    return {"status": response.status, "reason": said(response).text}


def _read(from_wire: Callable[[_Row], _Value], row: _Row) -> _Value:
    try:
        return from_wire(row)
    except ValueError as error:
        raise UnexpectedAnswer(f"an answer about orders that cannot be read: {error}", effect=Effect.NONE) from error
