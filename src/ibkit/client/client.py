"""The one client, with all its verbs.

    async with Client(auth=auth, base_url="https://api.ibkr.com", transport=transport) as ib:
        print(await ib.accounts())

The verbs are the functions of `client/api`, which take the client as their first argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibkit.client.api import accounts as _accounts
from ibkit.client.api import chain as _chain
from ibkit.client.api import contracts as _contracts
from ibkit.client.api import marketdata as _marketdata
from ibkit.client.api import orders as _orders
from ibkit.client.api import portfolio as _portfolio
from ibkit.client.api import session as _session
from ibkit.client.core import Core

if TYPE_CHECKING:
    from ibkit.client.stream import Stream

__all__ = ["Client"]


class Client(Core):
    """One IBKR login and what can be asked of it. Constructing does nothing; `async with` opens and closes."""

    def stream(self, *, bound: int = 1000) -> Stream:
        """Events as they happen, for `async with`; see `Stream`. One is enough for a login."""
        from ibkit.client.stream import Stream

        return Stream(self, bound=bound)

    status = _session.status
    tickle = _session.tickle
    validate = _session.validate
    whoami = _session.whoami
    logout = _session.logout

    accounts = _accounts.accounts
    brokerage_accounts = _accounts.brokerage_accounts
    brokerage_accounts_now = _accounts.brokerage_accounts_now
    switch_account = _accounts.switch_account
    selected_account = _accounts.selected_account

    summary = _portfolio.summary
    ledger = _portfolio.ledger
    positions = _portfolio.positions
    positions_now = _portfolio.positions_now

    search = _contracts.search
    underlying = _contracts.underlying
    strikes = _contracts.strikes
    expiries = _contracts.expiries
    option = _contracts.option
    option_strikes = _contracts.option_strikes
    contract_info = _contracts.contract_info
    increments = _contracts.increments
    trading_schedule = _contracts.trading_schedule

    find = _chain.find
    chain = _chain.chain

    snapshot = _marketdata.snapshot
    quote = _marketdata.quote
    quotes = _marketdata.quotes
    unsubscribe_all = _marketdata.unsubscribe_all

    preview = _orders.preview
    orders = _orders.orders
    order = _orders.order
    fills = _orders.fills
