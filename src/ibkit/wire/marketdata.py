"""Snapshots: a subscription plus a cache read, field by field.

Source: docs/facts/contracts-and-market-data.md §2.
"""

from __future__ import annotations

from ibkit.wire.endpoint import Endpoint, Limit, Needs

_FACTS = "docs/facts/contracts-and-market-data.md"

SNAPSHOT = Endpoint(
    "GET",
    "/iserver/marketdata/snapshot",
    needs=Needs.PRIMED_ACCOUNTS,
    limit=Limit(10, 1.0),
    source=f"{_FACTS} §2.1",
)
UNSUBSCRIBE = Endpoint("POST", "/iserver/marketdata/unsubscribe", source=f"{_FACTS} §2")
UNSUBSCRIBE_ALL = Endpoint("GET", "/iserver/marketdata/unsubscribeall", source=f"{_FACTS} §2")
