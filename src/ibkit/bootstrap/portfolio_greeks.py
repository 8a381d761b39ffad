"""Delta and theta of the options of a portfolio, asked of the logins that are open anyway. Requirement FUT-05.

Each quote takes one of a user name's hundred lines of market data, which whoever trades needs, too; so they are asked
for when somebody wants them, and never more than `MOST_OPTIONS`. Source: docs/facts/contracts-and-market-data.md §2.1.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import anyio

from ibkit.client.api.chain import option_looks
from ibkit.client.api.contracts import search
from ibkit.client.core import Core
from ibkit.errors import IbkitError
from ibkit.model import Conid
from ibkit.portfolio.analytics.options import OPTIONS, Greeks, underlying_of
from ibkit.portfolio.book import Link, Portfolio
from ibkit.wire.marketdata import SNAPSHOT

__all__ = ["MOST_OPTIONS", "greeks_of"]

log = logging.getLogger(__name__)

MOST_OPTIONS: Final = 80
"""Of one login."""
WITHIN_S: Final = 8.0
"""Longer than a look waits for greeks to be computed."""


async def greeks_of(portfolio: Portfolio, login_of: Callable[[Link], Awaitable[Core | None]]) -> Mapping[int, Greeks]:
    """By conid, what is held now; what no quote tells is not in it, and the figures name it.

    login_of: that of a link, None where there is none. One without a brokerage session is not asked: none is opened.
    """
    wanted: dict[str, tuple[Link, dict[Conid, str]]] = {}
    for account in portfolio.accounts:
        if account.link is not None:
            _, conids = wanted.setdefault(account.link.connection_id, (account.link, {}))
            for each in account.holdings:
                if each.kind in OPTIONS and each.units and each.conid:
                    conids[Conid(each.conid)] = underlying_of(each)
    found: dict[int, Greeks] = {}

    async def ask(link: Link, conids: Mapping[Conid, str]) -> None:
        try:
            ib = await login_of(link)
            if ib is None or ib.keeper.level < SNAPSHOT.needs.value:
                return
            asked = sorted(conids)[:MOST_OPTIONS]
            # An option stays dark in a session that has not searched for its underlying. Source: §0.1.
            for symbol in sorted({conids[conid] for conid in asked}):
                await search(ib, symbol)
            looks = await option_looks(ib, asked)
        except IbkitError as error:
            log.warning("no quotes of options could be read", extra={"code": error.code})
            return
        for conid, (quote, greeks) in looks.items():
            found[int(conid)] = Greeks(delta=None if quote.delta is None else float(quote.delta), theta=greeks.theta)

    with anyio.move_on_after(WITHIN_S):
        async with anyio.create_task_group() as tasks:
            for link, conids in wanted.values():
                if conids:
                    tasks.start_soon(ask, link, conids)
    return dict(found)
