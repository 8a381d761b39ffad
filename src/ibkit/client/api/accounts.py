"""Verbs of the accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibkit.client.opening import Opening
from ibkit.errors import ConfigError, NotPermitted
from ibkit.model import Account, AccountId
from ibkit.wire.accounts import (
    ACCOUNTS,
    PORTFOLIO_ACCOUNTS,
    SWITCH_ACCOUNT,
    BrokerageAccounts,
    PortfolioAccount,
    SwitchAccount,
    account_from_wire,
)
from ibkit.wire.endpoint import Needs

if TYPE_CHECKING:
    from ibkit.client.core import Core


async def accounts(ib: Core) -> tuple[Account, ...]:
    """The accounts of this login. NotPermitted E-ACC-NONE where there are none; kept for five minutes."""
    now = ib.clock.monotonic()
    known = ib.caches.accounts.get("all", now)
    if known is not None:
        return known
    rows: list[PortfolioAccount] = await ib.request(PORTFOLIO_ACCOUNTS)
    found = tuple(account_from_wire(row) for row in rows if row.accountId or row.id)
    if not found:
        raise NotPermitted("No IBKR accounts found", code="E-ACC-NONE")
    return ib.caches.accounts.put("all", found, now)


async def brokerage_accounts(ib: Core) -> Opening:
    """What the brokerage session told of its accounts: ids, the selected one, paper or live."""
    return await ib.keeper.reach(Needs.PRIMED_ACCOUNTS)


async def brokerage_accounts_now(ib: Core) -> Opening:
    """The same, asked again: another session may answer than the one that was opened."""
    told: BrokerageAccounts = await ib.request(ACCOUNTS)
    return await ib.keeper.answered_by(told.sessionId, told.selectedAccount)


async def switch_account(ib: Core, account_id: AccountId) -> None:
    """Select the account of calls that name none; what they told of another is to be asked anew. Source: §1.2."""
    await ib.request(SWITCH_ACCOUNT, body=SwitchAccount(account_id))
    await brokerage_accounts_now(ib)


async def selected_account(ib: Core, account_id: AccountId | None = None) -> AccountId:
    """The named account, the configured one, or the only one: never the first of several (D-32).

    ConfigError E-ACC-AMBIGUOUS where none of the three is there.
    """
    wanted = account_id or ib.account_id
    if wanted is not None:
        return wanted
    found = await accounts(ib)
    if len(found) > 1:
        ids = ", ".join(account.account_id for account in found)
        raise ConfigError(f"More than one IBKR account: {ids}", code="E-ACC-AMBIGUOUS", details={"ids": ids})
    return found[0].account_id
