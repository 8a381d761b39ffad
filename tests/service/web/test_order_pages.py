"""What a ticket keeps after a failure, and what its preview calls the most that can be lost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ibkit.service.web.inside import Told
from ibkit.service.web.order_pages import _most_lost, kept_key

OPTION = {"strike": Decimal(600), "qty": Decimal(2), "limit_price": Decimal("1.50")}


@pytest.mark.requirement("UI-11")
@pytest.mark.parametrize("status", [408, 409, 424, 429, 500, 502, 503, 504, 507])
def test_the_key_of_an_order_that_may_be_at_the_broker_stays(status: int) -> None:
    assert kept_key("the key", Told(status, {})) == "the key"


@pytest.mark.requirement("UI-11")
@pytest.mark.parametrize("status", [400, 403, 404, 413, 415, 422])
def test_after_an_answer_that_nothing_was_sent_the_next_try_is_another_order(status: int) -> None:
    assert kept_key("the key", Told(status, {})) == ""


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
    assert _most_lost(wish, Told(200, {"amount": Decimal(300)})) == most
