"""Orders that show up after they were denied are taken over at the next start, in whatever session that is."""

from __future__ import annotations

import pytest

from fakes import stock_ticket
from ibkit.model import Key
from ibkit.trading.alert import AlertKind
from ibkit.trading.intent import IntentState

KEY = Key("key-0123456789abcdef")

pytestmark = pytest.mark.anyio


@pytest.mark.requirement("TRD-22")
async def test_a_late_order_is_adopted_in_a_new_session_whose_first_list_is_empty(room):
    """It surfaced after the settle window, and the next start has a session that has read nothing yet."""
    room.plan("lost_after", delay_s=400.0)
    denied = await room.gateway.submit(stock_ticket(), key=KEY)
    assert denied.state is IntentState.NOT_PLACED
    room.clock.advance(600)
    room.broker.new_session()
    room.restart()

    (adopted,) = await room.gateway.recover()

    assert adopted.key == KEY
    (alert,) = await room.journal.alerts.open(kind=AlertKind.LATE_ORDER)
    assert "taken for not placed" in alert.message
