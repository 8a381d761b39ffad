"""Answers of the real service, as recorded by others, must decode: a witness that is not ours."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ibkit.model import Accepted, AccountId, Asked, OrderStatus, Ref, SecType
from ibkit.wire import (
    ENDPOINTS,
    Endpoint,
    Response,
    account_from_wire,
    answer_from_wire,
    decode,
    hidden_error,
    position_from_wire,
)
from ibkit.wire.accounts import ledger_from_wire, summary_from_wire
from ibkit.wire.orders import order_from_status, order_from_wire

FOLDERS = ("Accounts", "Contracts", "Orders", "Portfolio", "Session")
# Calls that this version has no endpoint for.
NOT_YET = re.compile(
    r"/account/search|/dynaccount|/summary/(balances|market_value)|bond-filters|/pa/|subaccounts2|combo|/notification"
)


def _endpoint_of(method: str, path: str) -> Endpoint | None:
    for endpoint in ENDPOINTS.values():
        pattern = re.sub(r"\\{(\w+)\\}", r"[^/]+", re.escape(endpoint.base.value + endpoint.path))
        if method in endpoint.methods and re.fullmatch(pattern, path):
            return endpoint
    return None


def _recorded(shared: Path) -> list[tuple[str, Endpoint, bytes]]:
    found = []
    for folder in FOLDERS:
        for file in sorted((shared / "ibkr" / "recorded" / folder).glob("*.json")):
            exchange = json.loads(file.read_text())
            path, method = exchange["Request"]["Path"], exchange["Request"]["Methods"][0]
            if NOT_YET.search(path):
                continue
            endpoint = _endpoint_of(method, path)
            assert endpoint is not None, f"{file.name}: no endpoint for {method} {path}"
            found.append((file.name, endpoint, json.dumps(exchange["Response"]["Body"]).encode()))
    return found


@pytest.mark.requirement("TRD-02", "TRD-03", "TRD-04", "TRD-05", "TRD-11")
def test_every_recorded_answer_decodes_to_its_struct(shared) -> None:
    recorded = _recorded(shared)
    assert len(recorded) >= 30
    for name, endpoint, body in recorded:
        assert hidden_error(body) is None, name
        assert decode(endpoint, Response(200, {}, body)) is not None, name


def _one(shared: Path, name: str):
    ((endpoint, body),) = [(endpoint, body) for file, endpoint, body in _recorded(shared) if file == name]
    return decode(endpoint, Response(200, {}, body))


@pytest.mark.requirement("TRD-04")
@pytest.mark.parametrize(
    ("name", "quantity", "price"),
    [("GET-portfolio-position-by-conid.json", "44.0", "652.47477275"), ("GET-portfolio2-positions.json", "3.0", None)],
)
def test_positions_of_both_families_become_the_same_value(shared, name, quantity, price) -> None:
    position = position_from_wire(_one(shared, name)[0], AccountId("U1234567"))
    assert str(position.quantity) == quantity
    assert position.contract.sec_type is SecType.STOCK
    assert position.contract.symbol in ("SPY", "QQQ")
    assert position.market_price is not None
    if price:
        assert str(position.average_price) == price


@pytest.mark.requirement("TRD-03")
def test_money_keeps_its_digits_and_what_is_missing_stays_none(shared) -> None:
    summary = summary_from_wire(AccountId("U1234567"), _one(shared, "GET-portfolio-summary.json"))
    assert str(summary.buying_power) == "3984328.97"
    assert summary.available_funds is None
    (cash,) = ledger_from_wire(_one(shared, "GET-portfolio-ledger.json"))
    assert (cash.currency, str(cash.cash)) == ("USD", "971869.6")
    account = account_from_wire(_one(shared, "GET-portfolio-meta.json"))
    assert account.kind == "DEMO"


@pytest.mark.requirement("TRD-12")
def test_a_filled_order_reads_the_same_from_the_list_and_from_its_status(shared) -> None:
    listed = order_from_wire(_one(shared, "GET-live-orders.json").orders[0])
    asked = order_from_status(_one(shared, "GET-order-status.json"))
    for order in (listed, asked):
        assert (order.order_id, order.status.value, order.order_type, order.tif) == (
            "473740665",
            "Filled",
            "MKT",
            "DAY",
        )
        assert (str(order.average_price), order.filled, order.remaining) == ("647.09", 1, 0)


@pytest.mark.requirement("TRD-10", "TRD-11")
@pytest.mark.parametrize(
    ("name", "order_id"),
    [("POST-place-order-submitted.json", "123456789"), ("POST-reply-submitted.json", "987654321")],
)
def test_a_recorded_acknowledgement_is_one(shared, name, order_id) -> None:
    """These were sent without a ref, so none came back: ours is kept."""
    answer = answer_from_wire(_response(shared, name), ref=Ref("r-1"))
    assert answer == Accepted(order_id, OrderStatus.PRE_SUBMITTED, Ref("r-1"), "PreSubmitted")


@pytest.mark.requirement("TRD-10")
def test_a_recorded_question_is_one(shared) -> None:
    answer = answer_from_wire(_response(shared, "POST-place-order-confirmation.json"), ref=Ref("r-1"))
    assert isinstance(answer, Asked)
    assert answer.question.message_ids == ("o354",)


def _response(shared: Path, name: str) -> Response:
    ((_, body),) = [(endpoint, body) for file, endpoint, body in _recorded(shared) if file == name]
    return Response(200, {}, body)
