"""What an order call was answered, by shape. Source: docs/facts/orders.md §2-4."""

from __future__ import annotations

import json

import pytest

from ibkit.errors import Effect, OutcomeUnknown, UnexpectedAnswer
from ibkit.model import Accepted, AcceptedRow, AccountId, AlreadyRegistered, Asked, OrderStatus, Ref, Rejected
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
        {"order_id": "7", "order_status": "PendingSubmit", "parent_order_id": "1370093239"},
        [SUCCESS, {"order_id": "2", "order_status": "Submitted", "local_order_id": "somebody-elses"}],
        [SUCCESS, {"order_id": "2", "order_status": "PendingSubmit", "parent_order_id": "99"}],
        [SUCCESS, {"order_id": "1370093239", "order_status": "PendingSubmit"}],
        [SUCCESS, {"order_status": "PendingSubmit"}],
        [SUCCESS, {"order_id": "-1", "text": f"Local order ID={REF}-1 is already registered."}],
        [SUCCESS, QUESTION],
        [{"order_id": "-1", "order_status": "Failed", "text": "margin"}, {"order_status": "PreSubmitted"}],
        [{"order_status": "PreSubmitted", "local_order_id": REF}, {"order_id": "-1", "text": "margin"}],
        [{"order_status": "PreSubmitted", "text": "held for the open"}],
        42,
    ],
    ids=lambda body: str(body)[:40],
)
def test_what_cannot_be_our_orders_answer_is_unknown_not_success(body) -> None:
    with pytest.raises(UnexpectedAnswer) as caught:
        answered(body)
    assert caught.value.effect is Effect.UNKNOWN


CHILD = {
    "order_id": "2088581832",
    "order_status": "PendingSubmit",
    "parent_order_id": "1370093239",
    "encrypt_message": "1",
}
FAILED = {
    "order_id": "-1",
    "order_status": "Failed",
    "error": None,
    "warning_message": "-1",
    "text": f"Order couldn't be submitted: Parent order ID={REF} isn't recognized.",
}


@pytest.mark.requirement("TRD-10", "TRD-11")
@pytest.mark.parametrize("to_reply", [None, True], ids=["placed", "replied"])
def test_a_bracket_is_read_by_refs_and_parents_not_by_index(to_reply) -> None:
    """The recorded answer has its child first (docs/facts/orders.md §1.7)."""
    answer = answered([CHILD, SUCCESS], to_reply=to_reply)
    assert answer == Accepted(
        "1370093239",
        OrderStatus.PRE_SUBMITTED,
        REF,
        "PreSubmitted",
        others=(AcceptedRow("2088581832", OrderStatus.PENDING_SUBMIT, None, "1370093239"),),
    )


@pytest.mark.requirement("TRD-10", "TRD-11")
def test_the_orders_of_an_oca_group_are_told_apart_by_their_refs() -> None:
    sibling = {"order_id": "1370093240", "order_status": "PreSubmitted", "local_order_id": f"{REF}-1"}
    answer = answered([sibling, SUCCESS])
    assert isinstance(answer, Accepted)
    assert answer.order_id == "1370093239"
    assert answer.others == (AcceptedRow("1370093240", OrderStatus.PRE_SUBMITTED, Ref(f"{REF}-1")),)


@pytest.mark.requirement("TRD-11")
@pytest.mark.parametrize("status", ["Inactive", "PreSubmitted"])
def test_a_refused_child_of_an_accepted_parent_is_told_with_its_words(status) -> None:
    """Shape 1b: both outcomes for the parent were measured, so neither says that the group is whole."""
    answer = answered([FAILED, {**SUCCESS, "order_status": status}])
    assert isinstance(answer, Accepted)
    assert answer.raw == status
    (refused,) = answer.others
    assert refused.order_id is None
    assert "isn't recognized" in refused.text


@pytest.mark.requirement("TRD-11")
def test_a_group_of_which_no_order_exists_is_refused_with_all_its_words() -> None:
    answer = answered([FAILED, {"order_id": "-1", "order_status": "Failed", "text": "margin"}])
    assert isinstance(answer, Rejected)
    assert "isn't recognized" in answer.reason
    assert "margin" in answer.reason
    with pytest.raises(OutcomeUnknown):
        answered([FAILED, FAILED], to_reply=True)


@pytest.mark.requirement("TRD-11", "TRD-22")
@pytest.mark.parametrize(
    "living", [CHILD, {"order_id": "2088581832", "order_status": "PreSubmitted", "local_order_id": f"{REF}-1"}]
)
def test_a_refused_first_order_beside_a_living_one_is_no_refusal(living) -> None:
    with pytest.raises(UnexpectedAnswer) as caught:
        answered([FAILED, living])
    assert caught.value.effect is Effect.UNKNOWN
    assert caught.value.details["orders"] == ["2088581832"]
    assert "2088581832" in caught.value.message


@pytest.mark.requirement("TRD-22")
def test_a_group_that_is_registered_already_is_never_a_refusal() -> None:
    text = f"Order couldn't be submitted: Local order ID={REF} is already registered."
    assert answered([{"order_id": "-1", "order_status": "Failed", "text": text}, FAILED]) == AlreadyRegistered(REF)


@pytest.mark.requirement("TRD-10")
def test_a_complete_bracket_is_asked_about_with_one_question() -> None:
    answer = answered([{**QUESTION, "messageIds": ["o10331"]}])
    assert isinstance(answer, Asked)
    assert answer.question.message_ids == ("o10331",)


@pytest.mark.requirement("TRD-10")
def test_our_row_is_found_by_ref_not_by_index() -> None:
    answer = answered([CHILD, SUCCESS])
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
