"""What an order call was answered, by shape. Source: docs/facts/orders.md §2-4."""

from __future__ import annotations

import json

import pytest

from ibkit.errors import Effect, OutcomeUnknown, UnexpectedAnswer
from ibkit.model import Accepted, AccountId, AlreadyRegistered, Asked, OrderStatus, Ref, Rejected
from ibkit.wire import Response, answer_from_wire, registered_in
from ibkit.wire.order_answers import RefusedCancel, refused_cancel

REF = Ref("cs1-20260706-0001")
ACCOUNT = AccountId("DU1234567")
QUESTION = {
    "id": "5f3c2a9e-0f6b-4b44-9d0c-3d1f0f9b7a10",
    "message": ["price exceeds \nthe Percentage constraint of 3%."],
    "isSuppressed": False,
    "messageIds": ["o163"],
    "messageOptions": ["Yes", "No"],
}
SUCCESS = {"order_id": "1370093239", "order_status": "PreSubmitted", "encrypt_message": "1", "local_order_id": REF}
PROMPT = {
    "orderId": 987654321,
    "reqId": "22170",
    "dismissable": [],
    "text": "Use the Price Management Algo?",
    "options": ["Yes", "No"],
    "type": "M",
    "messageId": "p12",
    "prompt": True,
}


def answered(body: object, *, status: int = 200, to_reply: bool | None = None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return answer_from_wire(Response(status, {}, raw), account_id=ACCOUNT, ref=REF, to_reply=to_reply)


@pytest.mark.requirement("TRD-10", "TRD-11")
@pytest.mark.parametrize("body", [[SUCCESS], SUCCESS], ids=["array", "bare object"])
def test_success_names_the_order(body) -> None:
    answer = answered(body)
    assert answer == Accepted("1370093239", OrderStatus.PRE_SUBMITTED, REF, "PreSubmitted")


@pytest.mark.requirement("TRD-10")
@pytest.mark.parametrize("body", [[QUESTION], QUESTION], ids=["array", "bare object"])
def test_a_question_keeps_its_ids_and_texts(body) -> None:
    answer = answered(body)
    assert isinstance(answer, Asked)
    assert answer.question.message_ids == ("o163",)
    assert "exceeds \nthe" in answer.question.messages[0]


@pytest.mark.requirement("TRD-10")
def test_a_message_without_an_id_stays_unknown() -> None:
    answer = answered([{**QUESTION, "message": ["one", "two"]}])
    assert isinstance(answer, Asked)
    assert answer.question.message_ids == ("o163", "")


@pytest.mark.requirement("TRD-11")
@pytest.mark.parametrize(
    "body",
    [
        {"error": "We cannot accept an order at the limit price you selected."},
        [{"error": "We cannot accept an order at the limit price you selected."}],
        [
            {
                "order_id": "-1",
                "order_status": "Failed",
                "error": None,
                "warning_message": "-1",
                "text": "We cannot accept an",
            }
        ],
    ],
    ids=["object", "array", "failed row"],
)
def test_a_refusal_keeps_the_brokers_words(body) -> None:
    answer = answered(body)
    assert isinstance(answer, Rejected)
    assert answer.reason.startswith("We cannot accept an")


@pytest.mark.requirement("TRD-10")
def test_an_advanced_reject_is_a_refusal_that_names_its_prompt() -> None:
    answer = answered(PROMPT)
    assert isinstance(answer, Rejected)
    assert "p12" in answer.reason
    assert answer.order_id == "987654321"


@pytest.mark.requirement("TRD-11", "TRD-22")
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("blank", ["", " "])
def test_already_registered_is_never_a_refusal_under_any_status(status, blank) -> None:
    text = f"Order couldn't be submitted:{blank}Local order ID={REF} is already registered."
    assert registered_in(Response(status, {}, json.dumps({"error": text}).encode())) == AlreadyRegistered(REF)
    if status == 200:
        assert answered({"error": text}) == AlreadyRegistered(REF)


@pytest.mark.requirement("TRD-22")
@pytest.mark.parametrize("body", [b"", b"  ", b"[]"])
def test_an_empty_answer_proves_nothing(body) -> None:
    with pytest.raises(OutcomeUnknown) as caught:
        answered(body)
    assert caught.value.effect is Effect.UNKNOWN


@pytest.mark.requirement("TRD-22")
@pytest.mark.parametrize(
    "body",
    [
        b"<html>busy</html>",
        b'"Success"',
        b'[{"order_id":"137',
        b"null",
        [{"order_id": "abc", "order_status": "Submitted"}],
        [{"order_status": "Submitted"}],
        [{**SUCCESS, "account": "DU7654321"}],
        [{**SUCCESS, "local_order_id": "another"}],
        [QUESTION, {**QUESTION, "id": "2"}],
        [{"order_id": "1", "order_status": "Submitted"}, {"order_id": "2", "order_status": "Submitted"}],
        [[SUCCESS]],
        {"order_id": None},
        42,
    ],
    ids=lambda body: str(body)[:40],
)
def test_what_cannot_be_our_orders_answer_is_unknown_not_success(body) -> None:
    with pytest.raises(UnexpectedAnswer) as caught:
        answered(body)
    assert caught.value.effect is Effect.UNKNOWN


@pytest.mark.requirement("TRD-10")
def test_our_row_is_found_by_ref_not_by_index() -> None:
    child = {"order_id": "2088581832", "order_status": "PendingSubmit", "parent_order_id": "1370093239"}
    answer = answered([child, SUCCESS])
    assert isinstance(answer, Accepted)
    assert answer.order_id == "1370093239"


@pytest.mark.requirement("TRD-11", "TRD-22")
def test_an_error_after_a_confirmation_proves_nothing_and_after_a_decline_it_is_the_end() -> None:
    body = {"error": "Order not confirmed "}
    with pytest.raises(OutcomeUnknown):
        answered(body, to_reply=True)
    assert answered(body, to_reply=False) == Rejected("Order not confirmed")


@pytest.mark.requirement("TRD-11")
def test_a_status_word_nobody_knows_is_kept_and_never_terminal() -> None:
    answer = answered([{**SUCCESS, "order_status": "Sleeping"}])
    assert isinstance(answer, Accepted)
    assert answer.status is OrderStatus.UNKNOWN
    assert answer.raw == "Sleeping"


@pytest.mark.requirement("TRD-12")
@pytest.mark.parametrize(
    ("status", "text", "meaning"),
    [
        (400, "OrderID 123456 doesn't exist", RefusedCancel.UNKNOWN_ORDER),
        (400, "OrderId 5 that needs to be cancelled is not found", RefusedCancel.UNKNOWN_ORDER),
        (400, "Order is inactive", RefusedCancel.NOT_POSSIBLE),
        (400, "OrderId 5 that needs to be cancelled can not be cancelled, state: Filled", RefusedCancel.NOT_POSSIBLE),
        (200, "no", RefusedCancel.NOT_POSSIBLE),
        (400, "Bad Request: timed out", None),
    ],
)
def test_only_ibkrs_own_words_refuse_a_cancel(status: int, text: str, meaning: RefusedCancel | None) -> None:
    body = json.dumps({"error": text, "statusCode": status}).encode()
    assert refused_cancel(Response(status, {}, body)) is meaning
