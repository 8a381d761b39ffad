"""Topic `spl`: profit and loss per account. Source: docs/facts/websocket.md §5.6."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ibkit.sim.exchange.account_rows import pnl_row
from ibkit.sim.streams.view import View

__all__ = ["PnlTopic"]

_EVERY_S = 1.0


class PnlTopic:
    """Told on change, at most once a second."""

    def __init__(self) -> None:
        self._told: dict[str, Any] | None = None
        self._told_at = 0.0
        self._next_at = 0.0

    def ask(self, view: View, args: Mapping[str, Any]) -> None:
        self._told = None
        self._next_at = view.at

    def frames(self, view: View) -> Iterable[dict[str, Any]]:
        if view.at < self._next_at:
            return
        self._next_at = view.at + _EVERY_S
        world = view.world
        world.exchange.holdings.apply()
        rows = {}
        for number, account in enumerate(view.session.user.accounts, start=1):
            row = pnl_row(world.books.portfolio(account.id, world.now)) | {"rowType": number}
            rows[f"{account.id}.Core"] = {name: value for name, value in row.items() if name != "el"}
        if rows and (rows != self._told or view.at - self._told_at >= world.quirks.spl_every_s):
            self._told, self._told_at = rows, view.at
            yield {"topic": "spl", "args": rows}

    def end(self, view: View) -> None:
        """Nothing is held."""
