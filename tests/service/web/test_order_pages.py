"""What a ticket keeps after a failure, and what its preview calls the most that can be lost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ibkit.service.web.form_keys import kept_key
from ibkit.service.web.inside import Told
from ibkit.service.web.order_pages import _most_lost
from ibkit.trading.intent import IntentState

OPTION = {"strike": Decimal(600), "qty": Decimal(2), "limit_price": Decimal("1.50")}


def refused(status: int, **details: Any) -> Told:
    return Told(status, {"error": {"code": "E-X", "details": details}})


@pytest.mark.requirement("UI-11")
@pytest.mark.parametrize("status", [400, 403, 404, 408, 409, 413, 415, 422, 424, 429, 500, 502, 503, 504, 507])
def test_no_status_by_itself_proves_that_a_key_has_sent_nothing(status: int) -> None:
    assert kept_key("the key", Told(status, {})) == "the key"
    assert kept_key("the key", Told(status, None)) == "the key"


@pytest.mark.requirement("UI-11")
@pytest.mark.parametrize("state", list(IntentState))
def test_only_an_end_that_denies_the_order_gives_another_key(state: IntentState) -> None:
    absent = {"rejected_local", "rejected_policy", "rejected_broker", "expired_local", "not_placed"}
    kept = kept_key("the key", refused(409, state=state.value))
    assert kept == ("" if state.value in absent else "the key")


@pytest.mark.requirement("UI-11", "OPT-06")
@pytest.mark.parametrize(
    ("legs", "kept"),
    [
        (["refused"], ""),
        (["refused", "refused"], ""),
        (["refused", "not_started"], "the key"),
        (["unknown"], "the key"),
        ([], "the key"),
    ],
)
def test_a_sale_has_another_key_only_where_each_side_was_refused(legs: list[str], kept: str) -> None:
    told = refused(502, outcome="failed", legs=[{"outcome": each} for each in legs])
    assert kept_key("the key", told) == kept


@pytest.mark.parametrize(
    ("wish", "most"),
    [
        ({"action": "buy", "qty": Decimal(3), "limit_price": Decimal(100), "stop_loss": Decimal(95)}, Decimal(300)),
        ({"action": "sell", "qty": Decimal(3)}, None),
        ({"action": "sell", "right": "C", **OPTION}, "unlimited"),
        ({"action": "sell", "right": "P", **OPTION}, Decimal(119_700)),
    ],
    ids=["bought, whatever its stop", "sold shares", "sold call", "sold put"],
)
def test_the_most_that_can_be_lost_is_never_told_too_small(wish: dict[str, Any], most: Any) -> None:
    assert _most_lost(wish, Told(200, {"amount": Decimal(300), "multiplier": Decimal(100)})) == most
