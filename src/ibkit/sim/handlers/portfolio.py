"""The portfolio family: accounts, summary, ledger, allocation, positions. It needs no brokerage session.

Source: docs/facts/accounts-and-portfolio.md §0, §2, §3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ibkit.sim.exchange.books import Portfolio, PositionView
from ibkit.sim.exchange.combo_positions import combos_held
from ibkit.sim.exchange.portfolio_rows import (
    PAGE,
    account_row,
    allocation_rows,
    enriched_row,
    ledger_rows,
    live_position_row,
    sparse_row,
    summary_rows,
    terms_row,
)
from ibkit.sim.routing import ApiError, Call, Reply, handles
from ibkit.wire.accounts import (
    ALLOCATION,
    ALLOCATION_OF_ACCOUNTS,
    COMBO_POSITIONS,
    INVALIDATE_POSITIONS,
    LEDGER,
    PORTFOLIO_ACCOUNTS,
    PORTFOLIO_META,
    PORTFOLIO_SUBACCOUNTS,
    PORTFOLIO_SUBACCOUNTS_PAGED,
    PORTFOLIO_SUMMARY,
    POSITION,
    POSITIONS,
    POSITIONS_NOW,
    POSITIONS_OF_CONID,
)


def _account(call: Call, account_id: str | None = None) -> str:
    """The path's account. One of somebody else's, or any before the first call: 401 without a body (§0)."""
    account_id = account_id or call.path["account_id"]
    primed = call.session.portfolio_primed or not call.world.quirks.portfolio_gate
    if not primed or account_id not in {account.id for account in call.session.user.accounts}:
        raise ApiError(401, None)
    call.world.exchange.holdings.apply()
    return account_id


def _seen(call: Call) -> Portfolio:
    return call.world.books.cached_portfolio(_account(call), call.now)


@handles(PORTFOLIO_ACCOUNTS)
def portfolio_accounts(call: Call) -> Reply:
    call.session.portfolio_primed = True
    return Reply([account_row(account, brokerage_access=True) for account in call.session.user.accounts])


@handles(PORTFOLIO_SUBACCOUNTS, PORTFOLIO_SUBACCOUNTS_PAGED)
def portfolio_subaccounts(call: Call) -> Reply:
    """A bare array, also for the paged call: these are individual accounts (§2.2)."""
    call.session.portfolio_primed = True
    return Reply([account_row(account, brokerage_access=False) for account in call.session.user.accounts])


@handles(PORTFOLIO_META)
def portfolio_meta(call: Call) -> Reply:
    return Reply(account_row(call.world.accounts[_account(call)], brokerage_access=False))


@handles(PORTFOLIO_SUMMARY)
def portfolio_summary(call: Call) -> Reply:
    return Reply(summary_rows(_seen(call)))


@handles(LEDGER)
def portfolio_ledger(call: Call) -> Reply:
    return Reply(ledger_rows(_seen(call)))


@handles(ALLOCATION)
def portfolio_allocation(call: Call) -> Reply:
    return Reply(allocation_rows([_seen(call)]))


@handles(ALLOCATION_OF_ACCOUNTS)
def allocation_of_accounts(call: Call) -> Reply:
    """Ids come in the body of a POST, or in the query of the GET that one client sends (§2.5)."""
    asked = call.body.get("acctIds") if isinstance(call.body, Mapping) else None
    ids = asked if isinstance(asked, list) else call.query.get("acctIds", "").split(",")
    accounts = [_account(call, str(account_id)) for account_id in ids if account_id]
    if not accounts:
        raise ApiError(400, {"error": "Bad Request: acctIds needed", "statusCode": 400})
    return Reply(allocation_rows([call.world.books.cached_portfolio(account, call.now) for account in accounts]))


_SORTS: dict[str, Callable[[PositionView], Any]] = {
    "name": lambda view: (view.instrument.symbol, view.instrument.conid),
    "position": lambda view: (view.quantity, view.instrument.conid),
    "conid": lambda view: view.instrument.conid,
    "mktPrice": lambda view: (view.mark, view.instrument.conid),
    "mktValue": lambda view: (view.market_value, view.instrument.conid),
    "avgCost": lambda view: (view.average_cost, view.instrument.conid),
    "unrealizedPnl": lambda view: (view.unrealized, view.instrument.conid),
}


@handles(POSITIONS)
def positions(call: Call) -> Reply:
    """A hundred rows a page; a session's first read is sparse unless it waits for the definitions (§3.1)."""
    seen = _seen(call)
    page = call.path["page"]
    if not page.isdigit():
        raise ApiError(400, {"error": "Bad Request: page needed", "statusCode": 400})
    key = _SORTS.get(call.query.get("sort", "name"), _SORTS["name"])
    views = sorted(seen.positions, key=key, reverse=call.query.get("direction", "a") == "d")
    rows = views[int(page) * PAGE : (int(page) + 1) * PAGE]
    waits = call.query.get("waitForSecDef", "").lower() == "true"
    mark = f"{seen.account}/{int(page)}"
    sparse = call.world.quirks.positions_sparse_first and not waits and mark not in call.session.positions_seen
    call.session.positions_seen.add(mark)
    if sparse:
        return Reply([sparse_row(seen, view) for view in rows])
    return Reply([enriched_row(call.world, seen, view) for view in rows])


@handles(POSITION)
def position(call: Call) -> Reply:
    seen = _seen(call)
    rows = [enriched_row(call.world, seen, view) for view in seen.positions if _is(call, view)]
    if not rows and call.world.quirks.empty_position == "nothing":
        return Reply(None)
    return Reply(rows)


@handles(POSITIONS_OF_CONID)
def positions_of_conid(call: Call) -> Reply:
    """An object by account; the shadow segment `...C` shows the same holding again (§3.2, recorded)."""
    found: dict[str, Any] = {}
    for account in call.session.user.accounts:
        seen = call.world.books.cached_portfolio(_account(call, account.id), call.now)
        for view in seen.positions:
            if _is(call, view):
                found[account.id] = [terms_row(seen, view)]
                found[f"{account.id}C"] = [sparse_row(seen, view) | {"acctId": f"{account.id}C"}]
    return Reply(found)


@handles(POSITIONS_NOW)
def positions_now(call: Call) -> Reply:
    """Near real time, past the cache (§3.2)."""
    seen = call.world.books.portfolio(_account(call), call.now)
    return Reply([live_position_row(view, call.now) for view in seen.positions])


@handles(COMBO_POSITIONS)
def combo_positions(call: Call) -> Reply:
    """Those of combo orders (§3.2)."""
    account = _account(call)
    seen = call.world.books.portfolio(account, call.now)
    rows = {view.instrument.conid: sparse_row(seen, view) for view in seen.positions}
    held = combos_held(call.world.books[account])
    return Reply([combo.row([rows[conid] for conid, _ in combo.legs]) for combo in held])


@handles(INVALIDATE_POSITIONS)
def invalidate_positions(call: Call) -> Reply:
    call.world.books.invalidate(_account(call))
    return Reply({"message": "success"})


def _is(call: Call, view: PositionView) -> bool:
    return str(view.instrument.conid) == call.path["conid"]
