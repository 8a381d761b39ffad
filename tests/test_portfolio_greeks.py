"""Delta and theta of what is held: asked of the logins that are open, and of no others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clients import make_client
from desks import Desk
from ibkit.bootstrap.portfolio_greeks import greeks_of
from ibkit.client.core import Core
from ibkit.client.holdings import IbkrSource
from ibkit.errors import Unreachable
from ibkit.model import AccountId
from ibkit.portfolio.analytics.options import exposures_of
from ibkit.portfolio.book import Link, PortfolioAccount
from ibkit.portfolio.mapping import holdings_of
from ibkit.wire.endpoint import Needs
from ledger_lives import put, trade
from portfolio_room import NOW, make_portfolio

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("FUT-05")]


async def test_an_open_login_tells_them_and_one_without_a_session_is_not_signed_in() -> None:
    sim = Desk()
    option = put(sim)
    trade(sim, -2, "3.15", option)
    trade(sim, 100)
    async with make_client(sim.simulator, open_to=Needs.OUTER_SESSION) as ib:
        picture = await IbkrSource(ib).picture(AccountId(sim.account))
        holdings = holdings_of(picture.positions, picture.cash, at=NOW)
        account = PortfolioAccount(name="A", holdings=holdings, link=Link(account_id=sim.account, connection_id="a"))
        broken = replace(account, name="B", link=Link(account_id=sim.account, connection_id="b"))
        portfolio = make_portfolio(account, broken, PortfolioAccount(name="by hand", holdings=holdings))

        async def login_of(link: Link) -> Core | None:
            if link.connection_id == "b":
                raise Unreachable("it is down")
            return ib

        before = ib.keeper.level
        assert await greeks_of(portfolio, login_of) == {}
        assert ib.keeper.level == before, "no brokerage session is opened for it"
        await ib.connect()
        found = await greeks_of(portfolio, login_of)
        assert set(found) == {option}
        (exposure,), _ = exposures_of(holdings, found, lambda amount, currency: amount)
        assert exposure.delta is not None
        assert exposure.theta is not None
        assert exposure.delta > 0, "of sold puts"
        assert exposure.theta > 0
