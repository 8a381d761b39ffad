"""Brokerage accounts, their summaries and profit and loss.

Source: docs/facts/accounts-and-portfolio.md §0, §1.
"""

from __future__ import annotations

from collections.abc import Mapping

from ibkit.sim.exchange.account_rows import PARTS, accounts_row, pnl_row, summary_part, summary_row
from ibkit.sim.logins.logins import Brokerage
from ibkit.sim.routing import ApiError, Call, Reply, handles
from ibkit.wire.accounts import ACCOUNT_SUMMARY, ACCOUNT_SUMMARY_PART, ACCOUNTS, PNL_PARTITIONED, SWITCH_ACCOUNT


def brokerage_of(call: Call) -> Brokerage:
    """The caller's brokerage session; the server has seen to it that there is one."""
    assert call.session.brokerage is not None, "this endpoint needs a brokerage session"
    return call.session.brokerage


def known_account(call: Call, account_id: str) -> str:
    """The account's id, if it is one of this user's. Source: docs/facts/orders.md §0.1 row 4."""
    if account_id not in {account.id for account in call.session.user.accounts}:
        text = f"Bad Request: accountId is not valid: {account_id}"
        raise ApiError(400, {"error": text, "statusCode": 400})
    call.world.exchange.holdings.apply()
    return account_id


@handles(ACCOUNTS)
def accounts(call: Call) -> Reply:
    return Reply(accounts_row(call.session.user, brokerage_of(call)))


@handles(SWITCH_ACCOUNT)
def switch_account(call: Call) -> Reply:
    wanted = call.body.get("acctId") if isinstance(call.body, Mapping) else None
    if wanted is None:
        raise ApiError(400, {"error": "Bad Request: acctId needed", "statusCode": 400})
    if wanted not in {account.id for account in call.session.user.accounts}:
        raise ApiError(500, {"error": "Invalid account ID"})
    brokerage = brokerage_of(call)
    if brokerage.selected_account == wanted:
        return Reply({"success": "Account already set"})
    brokerage.selected_account, brokerage.switched = wanted, True
    brokerage.pnl_primed = False
    if call.world.quirks.after_switch != "kept":
        brokerage.orders_primed = brokerage.trades_primed = False
    return Reply({"set": True, "acctId": wanted})


@handles(ACCOUNT_SUMMARY)
def account_summary(call: Call) -> Reply:
    account = known_account(call, call.path["account_id"])
    return Reply(summary_row(call.world.books.portfolio(account, call.now)))


@handles(ACCOUNT_SUMMARY_PART)
def account_summary_part(call: Call) -> Reply:
    account = known_account(call, call.path["account_id"])
    part = call.path["part"]
    if part not in PARTS:
        raise ApiError(404, "<html><body><h1>Resource not found</h1></body></html>", content_type="text/html")
    return Reply(summary_part(call.world.books.portfolio(account, call.now), part))


@handles(PNL_PARTITIONED)
def pnl_partitioned(call: Call) -> Reply:
    brokerage = brokerage_of(call)
    account = brokerage.selected_account
    if not brokerage.pnl_primed or account is None:
        brokerage.pnl_primed = True
        return Reply({"upnl": {}})
    call.world.exchange.holdings.apply()
    return Reply({"upnl": {f"{account}.Core": pnl_row(call.world.books.portfolio(account, call.now))}})
