"""Brokerage accounts and the portfolio family.

Source: docs/facts/accounts-and-portfolio.md §1-3.
"""

from __future__ import annotations

from ibkit.wire.endpoint import Endpoint, Lane, Limit, Needs

_FACTS = "docs/facts/accounts-and-portfolio.md"

ACCOUNTS = Endpoint("GET", "/iserver/accounts", lane=Lane.SESSION, source=f"{_FACTS} §1.1")
SWITCH_ACCOUNT = Endpoint("POST", "/iserver/account", source=f"{_FACTS} §1.2")
ACCOUNT_SUMMARY = Endpoint(
    "GET", "/iserver/account/{account_id}/summary", needs=Needs.PRIMED_ACCOUNTS, source=f"{_FACTS} §1.4"
)
PNL_PARTITIONED = Endpoint("GET", "/iserver/account/pnl/partitioned", limit=Limit(1, 5.0), source=f"{_FACTS} §1.6")
PORTFOLIO_ACCOUNTS = Endpoint(
    "GET", "/portfolio/accounts", needs=Needs.OUTER_SESSION, limit=Limit(1, 5.0), source=f"{_FACTS} §2.1"
)
PORTFOLIO_SUBACCOUNTS = Endpoint(
    "GET", "/portfolio/subaccounts", needs=Needs.OUTER_SESSION, limit=Limit(1, 5.0), source=f"{_FACTS} §2.2"
)
PORTFOLIO_META = Endpoint(
    "GET", "/portfolio/{account_id}/meta", needs=Needs.OUTER_SESSION, quiet_401=True, source=f"{_FACTS} §2.2"
)
PORTFOLIO_SUMMARY = Endpoint(
    "GET", "/portfolio/{account_id}/summary", needs=Needs.OUTER_SESSION, quiet_401=True, source=f"{_FACTS} §2.3"
)
LEDGER = Endpoint(
    "GET", "/portfolio/{account_id}/ledger", needs=Needs.OUTER_SESSION, quiet_401=True, source=f"{_FACTS} §2.4"
)
ALLOCATION = Endpoint(
    "GET",
    "/portfolio/{account_id}/allocation",
    needs=Needs.OUTER_SESSION,
    quiet_401=True,
    source=f"{_FACTS} §2.5",
)
POSITIONS = Endpoint(
    "GET",
    "/portfolio/{account_id}/positions/{page}",
    needs=Needs.OUTER_SESSION,
    quiet_401=True,
    source=f"{_FACTS} §3.1",
)
POSITION = Endpoint(
    "GET",
    "/portfolio/{account_id}/position/{conid}",
    needs=Needs.OUTER_SESSION,
    quiet_401=True,
    source=f"{_FACTS} §3.2",
)
POSITIONS_OF_CONID = Endpoint("GET", "/portfolio/positions/{conid}", needs=Needs.OUTER_SESSION, source=f"{_FACTS} §3.2")
POSITIONS_NOW = Endpoint(
    "GET",
    "/portfolio2/{account_id}/positions",
    needs=Needs.OUTER_SESSION,
    quiet_401=True,
    source=f"{_FACTS} §3.2",
)
INVALIDATE_POSITIONS = Endpoint(
    "POST",
    "/portfolio/{account_id}/positions/invalidate",
    needs=Needs.OUTER_SESSION,
    quiet_401=True,
    source=f"{_FACTS} §3.2",
)
