"""Contract look-up: search, strikes, info, rules, schedules, and the sessionless /trsrv family.

Source: docs/facts/contracts-and-market-data.md §1.
"""

from __future__ import annotations

from ibkit.wire.endpoint import Endpoint, Needs

_FACTS = "docs/facts/contracts-and-market-data.md"

SECDEF_SEARCH = Endpoint("GET", "/iserver/secdef/search", also=("POST",), source=f"{_FACTS} §1.1")
SECDEF_STRIKES = Endpoint("GET", "/iserver/secdef/strikes", source=f"{_FACTS} §1.2")
SECDEF_INFO = Endpoint("GET", "/iserver/secdef/info", source=f"{_FACTS} §1.3")
TRSRV_SECDEF = Endpoint("GET", "/trsrv/secdef", needs=Needs.OUTER_SESSION, also=("POST",), source=f"{_FACTS} §1.5")
TRSRV_STOCKS = Endpoint("GET", "/trsrv/stocks", needs=Needs.OUTER_SESSION, source=f"{_FACTS} §1.6")
TRSRV_FUTURES = Endpoint("GET", "/trsrv/futures", needs=Needs.OUTER_SESSION, source=f"{_FACTS} §1.7")
TRSRV_ALL_CONIDS = Endpoint("GET", "/trsrv/all-conids", needs=Needs.OUTER_SESSION, source=f"{_FACTS} §1.8")
TRSRV_SCHEDULE = Endpoint("GET", "/trsrv/secdef/schedule", needs=Needs.OUTER_SESSION, source=f"{_FACTS} §1.9")
TRADING_SCHEDULE = Endpoint("GET", "/contract/trading-schedule", needs=Needs.OUTER_SESSION, source=f"{_FACTS} §1.10")
CONTRACT_INFO = Endpoint("GET", "/iserver/contract/{conid}/info", source=f"{_FACTS} §1.11")
CONTRACT_INFO_AND_RULES = Endpoint("GET", "/iserver/contract/{conid}/info-and-rules", source=f"{_FACTS} §1.12")
CONTRACT_RULES = Endpoint("POST", "/iserver/contract/rules", source=f"{_FACTS} §1.13")
CONTRACT_ALGOS = Endpoint("GET", "/iserver/contract/{conid}/algos", source=f"{_FACTS} §1.14")
CURRENCY_PAIRS = Endpoint("GET", "/iserver/currency/pairs", source=f"{_FACTS} §1.16")
EXCHANGE_RATE = Endpoint("GET", "/iserver/exchangerate", source=f"{_FACTS} §1.16")
