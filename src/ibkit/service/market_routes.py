"""Looking for contracts, and the options of a day: what a page needs before an order. Streams are at /quotes/events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from ibkit.bootstrap.connections import Connection
from ibkit.bootstrap.desks import Desk
from ibkit.client.api.chain import OptionChain
from ibkit.errors import ConfigError, IbkitError
from ibkit.service.brokers import Capability
from ibkit.service.logins import full_desk, need_open
from ibkit.service.market_documents import ChainAnswer, ContractsFound, chain_document, contract_document
from ibkit.service.orders import Answer
from ibkit.service.people import may_read, of_theirs
from ibkit.service.refusals import invalid
from ibkit.service.requests import LONGEST_SYMBOL, AnyRequest, by_the_clock, once
from ibkit.service.responses import response
from ibkit.service.sale_answer import in_fields
from ibkit.service.shared_reads import SharedReads
from ibkit.users.principal import Principal

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["MOST_FOUND", "MOST_STRIKES", "day_of", "market_routes"]

MOST_FOUND = 30
MOST_STRIKES = 40
"""Eighty options: a user name has a hundred market data lines. Source: docs/facts/contracts-and-market-data.md §2.1."""
CHAIN_S = 5.0
"""All who look at the options of a day within it see one reading."""
_STRIKES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Where:
    broker: str | None
    connection_id: str | None


def market_routes(service: Service) -> list[HTTPRouteHandler]:
    asked = service.asked
    chains = SharedReads[OptionChain](CHAIN_S)

    async def desk_of(who: Principal, where: _Where, *needs: Capability, by_clock: bool = False) -> tuple[str, Desk]:
        may_read(who)
        broker = where.broker or service.brokers.default
        login = await service.logins.of(who, broker, where.connection_id, *needs)
        if by_clock:
            need_open(login)
        only = who.accounts is not None and len(who.accounts) == 1
        account_id = of_theirs(who, None) if only else None
        try:
            return broker, await full_desk(login, account_id)
        except ConfigError as error:
            # Contracts and prices are the login's, whichever of its accounts asks.
            if error.code != "E-ACC-AMBIGUOUS" or not isinstance(login, Connection):
                raise
            return broker, await full_desk(login, min(login.desks))

    @get("/api/contracts")
    async def contracts(request: AnyRequest) -> Response[bytes]:
        who = await asked.who(request)
        where, text = _search_of(request.query_params.multi_items())
        _, desk = await desk_of(who, where, Capability.QUOTES)
        found = await desk.client.find(text, at_most=MOST_FOUND)
        return response(Answer(200, ContractsFound(data=[contract_document(each) for each in found])))

    @get("/api/options/chain")
    async def chain(request: AnyRequest) -> Response[bytes]:
        who = await asked.who(request)
        where, symbol, expiry, strikes = _chain_of(request.query_params.multi_items())
        broker, desk = await desk_of(who, where, Capability.OPTIONS, Capability.QUOTES, by_clock=by_the_clock(request))

        async def read() -> OptionChain:
            try:
                return await desk.client.chain(symbol, expiry=expiry, strikes=strikes)
            except IbkitError as error:
                error.remedy = in_fields(error.remedy)
                raise

        found = await chains.of(desk.client, (symbol, expiry, strikes), read, desk.clock.monotonic)
        told = chain_document(found, broker=broker, now=desk.clock.now())
        return response(Answer(200, ChainAnswer(data=told)))

    return [contracts, chain]


def _search_of(query: Iterable[tuple[str, str]]) -> tuple[_Where, str]:
    """ConfigError (E-VALIDATION, 422) naming what is wrong."""
    given, problems = once(query, ("q", "broker", "connection_id"))
    text, wrong = _symbol(given.get("q", ""))
    if wrong:
        problems.append(("q", wrong))
    if problems:
        raise invalid(*problems)
    return _Where(broker=given.get("broker"), connection_id=given.get("connection_id")), text


def _chain_of(query: Iterable[tuple[str, str]]) -> tuple[_Where, str, date | None, int]:
    """As `_search_of`."""
    given, problems = once(query, ("symbol", "expiry", "strikes", "broker", "connection_id"))
    symbol, wrong = _symbol(given.get("symbol", ""))
    if wrong:
        problems.append(("symbol", wrong))
    expiry = day_of(given["expiry"]) if "expiry" in given else None
    if "expiry" in given and expiry is None:
        problems.append(("expiry", "it is a day like 2026-11-20"))
    strikes = given.get("strikes", str(_STRIKES))
    if not strikes.isascii() or not strikes.isdigit() or not 1 <= int(strikes[:9]) <= MOST_STRIKES:
        problems.append(("strikes", f"it is a whole number from 1 to {MOST_STRIKES}"))
    if problems:
        raise invalid(*problems)
    where = _Where(broker=given.get("broker"), connection_id=given.get("connection_id"))
    return where, symbol, expiry, int(strikes)


def _symbol(text: str) -> tuple[str, str]:
    """As IBKR spells it, and what is wrong with it."""
    found = " ".join(text.upper().replace(".", " ").split())
    if not found:
        return "", "it is too short: give at least one letter or digit"
    if len(found) > LONGEST_SYMBOL or not found.isascii() or not found.replace(" ", "").isalnum():
        return "", f"it has 1 to {LONGEST_SYMBOL} of A-Z, 0-9, dot and blank"
    return found, ""


def day_of(text: str) -> date | None:
    """`2026-11-20` or `20261120`; None for what is no day."""
    plain = text.replace("-", "") if len(text) == len("2026-11-20") and text[4:5] == text[7:8] == "-" else text
    if len(plain) != len("20261120") or not plain.isascii() or not plain.isdigit():
        return None
    try:
        return datetime.strptime(plain, "%Y%m%d").date()  # noqa: DTZ007  # a day of the exchange, no moment
    except ValueError:
        return None
