"""The page of trades, from what the interface tells."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from fakes import START
from ibkit.clock import ManualClock
from ibkit.service.web.inside import Told
from ibkit.service.web.navigation import entries_for
from ibkit.service.web.site import Site, Visitor

ME = Visitor("ada", "owner", ("orders:paper",), "csrf")
PERFORMANCE = {
    "trades": 3,
    "wins": 2,
    "losses": 1,
    "win_rate": Decimal("66.7"),
    "total": Decimal("61.30"),
    "average_day": None,
    "best_day": None,
    "worst_day": None,
    "without_result": 0,
}


def page(
    trades: list[Any] | None = None, *, more: bool = False, asked: dict[str, str] | None = None, **changes: Any
) -> str:
    """In plain words."""
    site = Site(lambda: "", lambda: "", ManualClock(START))
    made = site.made(
        "trades.html",
        me=ME,
        path="/trades",
        address="/trades",
        login_accounts=(),
        login_account="",
        entries=entries_for(ME.role),
        query={},
        trades=Told(200, {"data": trades or [], "more": more}),
        performance=Told(200, {"data": {**PERFORMANCE, **changes}}),
        asked={"status": "", "symbol": "", "since": "", **(asked or {})},
        **site.told_of_state({}),
    )
    return " ".join(re.sub(r"<[^>]*>", " ", bytes(made.content).decode()).split())


@pytest.mark.requirement("UI-11")
def test_the_rate_of_wins_is_shown_as_it_is_told_in_per_cent() -> None:
    assert "Win rate 66.7 %" in page()
    assert "Win rate –" in page(win_rate=None)


VERTICAL = {
    "symbol": "SPY",
    "expiration": "2026-11-20",
    "strike_price": Decimal(630),
    "option_type": "PUT",
    "quantity": 1,
    **dict.fromkeys(("entry_price", "stop_loss_price", "exit_price", "exit_reason", "realized_pnl", "entry_time")),
    "status": "open",
    "legs": [{"strike": Decimal(630), "right": "P", "ratio": 1}, {"strike": Decimal(625), "right": "P", "ratio": -1}],
}


@pytest.mark.requirement("UI-11")
def test_of_a_vertical_both_legs_are_shown() -> None:
    assert "SPY 2026-11-20 630 Put hedged with 625 Put" in page([VERTICAL])
    assert "hedged" not in page([{**VERTICAL, "legs": VERTICAL["legs"][:1]}])  # type: ignore[index]


@pytest.mark.requirement("UI-11")
def test_what_is_not_shown_or_not_counted_is_told() -> None:
    assert "without a known result" not in page([VERTICAL])
    assert "2 more closed without a known result" in page([VERTICAL], without_result=2)
    assert "The newest 1 are shown" not in page([VERTICAL])
    assert "The newest 1 are shown" in page([VERTICAL], more=True)
    assert "No option was sold yet" in page()
    assert "No trade is of that kind" in page(asked={"symbol": "QQQ"})
