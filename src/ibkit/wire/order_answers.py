"""What an order call was answered: told apart by shape, for HTTP 200 is used for success, questions and refusals.

Source: docs/facts/orders.md §2-4.
"""

from __future__ import annotations

import enum
import re
from decimal import Decimal

import msgspec

from ibkit.errors import Effect, OutcomeUnknown, UnexpectedAnswer
from ibkit.model import (
    Accepted,
    AccountId,
    AlreadyRegistered,
    Answer,
    Asked,
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

    Raises OutcomeUnknown where the answer says nothing about the order, UnexpectedAnswer where it says something
    impossible (an acknowledgement without id or for another order). A status of 300 and more has to be dealt with
    before, but for "already registered", which counts under any status.
    """
    rows = _rows(response)
    if len(rows) != 1:
        return _one_of(rows, response, account_id=account_id, ref=ref, to_reply=to_reply)
    return _answer(rows[0], response, account_id=account_id, ref=ref, to_reply=to_reply)


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


def _one_of(
    rows: list[AnswerRow], response: Response, *, account_id: AccountId | None, ref: Ref | None, to_reply: bool | None
) -> Answer:
    """The row of our order among several: by ref, never by index. Source: §1.7."""
    if any(row.message and row.id for row in rows):
        # Several question objects: each would need its own reply, and none of them alone is the order's answer.
        raise _impossible(response, "asks several questions at once")
    ours = [row for row in rows if ref is not None and row.local_order_id == ref]
    if len(ours) != 1:
        raise _impossible(response, f"has {len(rows)} rows, {len(ours)} of them ours")
    return _answer(ours[0], response, account_id=account_id, ref=ref, to_reply=to_reply)


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
    text = row.error if isinstance(row.error, str) else ""
    if row.order_id is None or str(row.order_id) == "-1" or row.order_status == "Failed":
        return _refused(row, text or row.text or "", response, ref=ref, to_reply=to_reply)
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
    if not text:
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
    return Rejected(text.strip(), None if str(row.order_id) == "-1" else order_id_from_wire(row.order_id))


def _impossible(response: Response, why: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"IBKR's answer to an order call {why}",
        code="E-ORD-UNKNOWN",
        effect=Effect.UNKNOWN,
        excerpt=excerpt(response.body),
        details={"status": response.status},
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
