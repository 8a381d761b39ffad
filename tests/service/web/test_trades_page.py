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
