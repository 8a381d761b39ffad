"""What an order call was answered: told apart by shape, for HTTP 200 is used for success, questions and refusals.

Source: docs/facts/orders.md §2-4.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from decimal import Decimal

import msgspec

from ibkit.errors import Effect, OutcomeUnknown, UnexpectedAnswer
from ibkit.model import (
    Accepted,
    AcceptedRow,
    AccountId,
    AlreadyRegistered,
    Answer,
    Asked,
    OrderStatus,
    Question,
    QuestionId,
    Ref,
    Rejected,
)
from ibkit.wire.codec import excerpt, hidden_error, said
from ibkit.wire.http import Response
from ibkit.wire.orders import AnswerRow, PlaceAnswer, order_id_from_wire, status_from_wire

__all__ = ["RefusedCancel", "already_registered", "answer_from_wire", "refused_cancel", "registered_in"]

_REGISTERED = re.compile(r"Local order ID\s*=\s*(.*?)\s*is already registered", re.IGNORECASE | re.DOTALL)


def already_registered(text: str) -> Ref | None:
    """The ref that an answer of any status calls registered; "" is a ref that could not be read. Source: §4.

    >>> already_registered("Order couldn't be submitted: Local order ID=cs1-0001 is already registered.")
    'cs1-0001'
    >>> already_registered("Order couldn't be submitted:Local order ID=a-1 is already registered.")
    'a-1'
    """
    found = _REGISTERED.search(text)
    return Ref(found[1]) if found else None


def answer_from_wire(
    response: Response,
    *,
    account_id: AccountId | None = None,
    ref: Ref | None = None,
    to_reply: bool | None = None,
) -> Answer:
    """What a placement, reply or modify was answered, told apart by shape and by nothing else. Source: §2.

    to_reply: the `confirmed` we sent, None for a placement or modify. After a confirmation an error proves nothing
              (the order may be live), after a decline it is the expected end.
    ref:      of a group that of its first order, which the answer is about; `others` tells of the rest.

    Raises OutcomeUnknown where the answer says nothing about the order, UnexpectedAnswer where it says something
    impossible (an acknowledgement without id or for another order). A status of 300 and more has to be dealt with
    before, but for "already registered", which counts under any status.
    """
    rows = _rows(response)
    asking = [row for row in rows if row.message and row.id]
    if asking and len(rows) > 1:
        # Several question objects: each would need its own reply, and none of them alone is the order's answer.
        raise _impossible(response, "asks several questions at once")
    if len(rows) == 1:
        return _answer(rows[0], response, account_id=account_id, ref=ref, to_reply=to_reply)
    return _group_answer(rows, response, account_id=account_id, ref=ref, to_reply=to_reply)


_answer_decoder = msgspec.json.Decoder(PlaceAnswer, float_hook=Decimal)


def _rows(response: Response) -> list[AnswerRow]:
    if not response.body.strip():
        raise OutcomeUnknown("IBKR answered an order call with nothing", code="E-ORD-UNKNOWN")
    try:
        decoded = _answer_decoder.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _impossible(response, "cannot be read") from error
    rows = decoded if isinstance(decoded, list) else [decoded]
    if not rows:
        raise OutcomeUnknown("IBKR answered an order call with an empty list", code="E-ORD-UNKNOWN")
    return rows


def _group_answer(
    rows: list[AnswerRow], response: Response, *, account_id: AccountId | None, ref: Ref | None, to_reply: bool | None
) -> Answer:
    """The rows of a bracket or OCA group: ours by its ref, never by index, and what became of the others.

    Ours refused while another lives is no refusal: it is an error that says which orders exist, and trading looks.
    Source: §1.7 items 1 and 3, §2 shape 1b.
    """
    living = [row for row in rows if not _failed(row)]
    if not living:
        return _all_refused(rows, response, ref=ref, to_reply=to_reply)
    ours = [row for row in living if ref is not None and row.local_order_id == ref]
    if len(ours) != 1:
        found = [str(row.order_id) for row in living]
        why = f"has {len(rows)} rows, {len(ours)} of them ours; these orders exist: {', '.join(found)}"
        raise _impossible(response, why, orders=found)
    first = _accepted(ours[0], response, account_id=account_id, ref=ref)
    others = [_other(row, response, first, account_id=account_id) for row in rows if row is not ours[0]]
    return dataclasses.replace(first, others=tuple(others))


def _other(row: AnswerRow, response: Response, first: Accepted, *, account_id: AccountId | None) -> AcceptedRow:
    """A row beside ours. A child names its parent's number, an order of an OCA group has a ref that begins with ours.

    A row with neither is one of the others, too: ours is known by name, and nothing else was sent with it.
    """
    ref = Ref(row.local_order_id) if row.local_order_id else None
    if _failed(row):
        text = _text(row)
        if not text or already_registered(text) is not None:
            raise _impossible(response, "leaves open what became of a part of the group", orders=[first.order_id])
        return AcceptedRow(order_id=None, status=OrderStatus.UNKNOWN, ref=ref, text=text)
    told = _accepted(row, response, account_id=account_id, ref=None)
    parent_id = order_id_from_wire(row.parent_order_id)
    foreign = ref is not None and not ref.startswith(f"{first.ref}-")
    if foreign or told.order_id == first.order_id or parent_id not in (None, first.order_id):
        raise _impossible(response, f"has an order {told.order_id} that is not of our group", orders=[first.order_id])
    return AcceptedRow(order_id=told.order_id, status=told.status, ref=ref, parent_id=parent_id)


def _all_refused(rows: list[AnswerRow], response: Response, *, ref: Ref | None, to_reply: bool | None) -> Answer:
    if not all(_refuses(row) for row in rows):
        # An order that has no number in the answer may live: the refusal of another row says nothing about it.
        raise _impossible(response, "leaves open what became of a part of the group")
    texts = list(dict.fromkeys(text for row in rows if (text := _text(row))))
    registered = next((found for text in texts if (found := already_registered(text)) is not None), None)
    if registered is not None:
        return AlreadyRegistered(ref or registered)
    return _refused(rows[0], "; ".join(texts), response, ref=ref, to_reply=to_reply)


def _answer(
    row: AnswerRow, response: Response, *, account_id: AccountId | None, ref: Ref | None, to_reply: bool | None
) -> Answer:
    if row.options is not None and row.prompt:
        # The order is refused unless the prompt is answered, and we never answer it. Source: §2 shape 4.
        return Rejected(
            f"{row.text or 'advanced reject'} [{row.messageId or 'prompt'}]", order_id_from_wire(row.orderId)
        )
    if row.id and row.message:
        messages = (row.message,) if isinstance(row.message, str) else tuple(row.message)
        ids = tuple(row.messageIds or ())
        # A message without an id stays unknown to every allow-list.
        ids += ("",) * (len(messages) - len(ids))
        return Asked(Question(QuestionId(row.id), ids, messages))
    if _failed(row):
        return _refused(row, _text(row), response, ref=ref, to_reply=to_reply)
    if ref is not None and row.local_order_id is None and row.parent_order_id is not None:
        raise _impossible(response, f"tells of a child only; order {row.order_id} exists", orders=[str(row.order_id)])
    return _accepted(row, response, account_id=account_id, ref=ref)


def _failed(row: AnswerRow) -> bool:
    return row.order_id is None or str(row.order_id) == "-1" or row.order_status == "Failed"


def _refuses(row: AnswerRow) -> bool:
    """Whether a row that names no order refuses it, and does not only lack the number."""
    return str(row.order_id) == "-1" or row.order_status == "Failed" or (row.order_status is None and bool(_text(row)))


def _text(row: AnswerRow) -> str:
    return ((row.error if isinstance(row.error, str) else "") or row.text or "").strip()


def _accepted(row: AnswerRow, response: Response, *, account_id: AccountId | None, ref: Ref | None) -> Accepted:
    order_id = order_id_from_wire(row.order_id)
    if order_id is None:
        raise _impossible(response, "acknowledges an order without a number")
    told = row.account or row.acct
    if account_id is not None and told is not None and told != account_id:
        raise _impossible(response, "acknowledges an order of another account")
    if ref is not None and row.local_order_id is not None and row.local_order_id != ref:
        raise _impossible(response, "acknowledges another order than ours")
    return Accepted(
        order_id=order_id,
        status=status_from_wire(row.order_status),
        ref=Ref(row.local_order_id) if row.local_order_id else ref,
        raw=row.order_status or "",
    )


def _refused(row: AnswerRow, text: str, response: Response, *, ref: Ref | None, to_reply: bool | None) -> Answer:
    if not text or not _refuses(row):
        raise _impossible(response, "is neither an acknowledgement, a question nor a refusal")
    registered = already_registered(text)
    if registered is not None:
        return AlreadyRegistered(registered or ref)
    if to_reply:
        # The confirmation may have worked before the error arose. Source: §3.1; TRD-11.
        raise OutcomeUnknown(
            f"IBKR answered our confirmation with an error: {text}",
            code="E-ORD-UNKNOWN",
            details={"status": response.status, "reason": text},
        )
    return Rejected(text, None if str(row.order_id) == "-1" else order_id_from_wire(row.order_id))


def _impossible(response: Response, why: str, *, orders: list[str] | None = None) -> UnexpectedAnswer:
    """orders: those that exist all the same."""
    return UnexpectedAnswer(
        f"IBKR's answer to an order call {why}",
        code="E-ORD-UNKNOWN",
        effect=Effect.UNKNOWN,
        excerpt=excerpt(response.body),
        details={"status": response.status} | ({"orders": orders} if orders else {}),
    )


def registered_in(response: Response) -> AlreadyRegistered | None:
    """ "Already registered" under any status. Source: §4."""
    found = already_registered(said(response).text)
    return None if found is None else AlreadyRegistered(found)


class RefusedCancel(enum.Enum):
    """What IBKR's own words say of a cancel that it did not take."""

    UNKNOWN_ORDER = "unknown order"
    NOT_POSSIBLE = "not possible"


_UNKNOWN_ORDER = re.compile(r"doesn't exist|needs to be cancelled is not found", re.IGNORECASE)
_NOT_POSSIBLE = re.compile(r"order is inactive|can ?not be cancelled", re.IGNORECASE)


def refused_cancel(response: Response) -> RefusedCancel | None:
    """A refusal of a cancel in words known to be IBKR's; None for anything else, which proves nothing (fault F27).

    Source: docs/facts/orders.md §7: `OrderID 123456 doesn't exist`, `Order is inactive`, `OrderId 5 that needs to be
    cancelled is not found`, `… can not be cancelled, state: Filled`.
    """
    text = said(response).text
    if _UNKNOWN_ORDER.search(text):
        return RefusedCancel.UNKNOWN_ORDER
    if _NOT_POSSIBLE.search(text) or (response.status == 200 and hidden_error(response.body) is not None):
        return RefusedCancel.NOT_POSSIBLE
    return None
