"""Contracts that were found, and the options of a day, as documents."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import msgspec

from ibkit.client.api.chain import Found, OptionChain, OptionSide
from ibkit.model import Quote
from ibkit.trading.fingerprint import plain

__all__ = [
    "ChainAnswer",
    "ChainData",
    "ChainStrike",
    "ContractFound",
    "ContractsFound",
    "OptionData",
    "UnderlyingData",
    "chain_document",
    "contract_document",
    "spelled",
]


class ContractFound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """kinds: what is traded of it (STK, IND, OPT, …). option_months: nearest first. null: the broker did not say."""

    conid: int
    symbol: str
    name: str
    exchange: str | None
    currency: str | None
    kinds: list[str]
    option_months: list[str]


class ContractsFound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: list[ContractFound]


class UnderlyingData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """price: last, else mark, else the middle. age_s: how old it is. last_is_close: it is the close of the day before.

    availability: real_time, delayed, frozen, …
    """

    conid: int
    symbol: str
    price: Decimal | None
    bid: Decimal | None
    ask: Decimal | None
    availability: str
    last_is_close: bool
    halted: bool
    as_of: datetime | None
    age_s: float | None


class OptionData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices per unit; greeks are estimates: theta for a day, vega for a point of volatility. null: not told.

    implied_volatility: 0.15 is 15 %. open_interest: contracts, maybe rounded by the broker. as_of: of the prices.
    """

    conid: int
    bid: Decimal | None
    ask: Decimal | None
    last: Decimal | None
    delta: float | None
    gamma: float | None
    theta: float | None
    vega: float | None
    implied_volatility: float | None
    open_interest: Decimal | None
    availability: str
    as_of: datetime | None


class ChainStrike(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """null: there is no such option at this strike on that day."""

    strike: Decimal
    put: OptionData | None
    call: OptionData | None


class ChainData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """expiries: the next days, and the one asked for; `expiry` is the one whose strikes these are."""

    broker: str
    symbol: str
    underlying: UnderlyingData
    expiry: date
    expiries: list[date]
    strikes: list[ChainStrike]
    as_of: datetime


class ChainAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: ChainData


def contract_document(found: Found) -> ContractFound:
    return ContractFound(
        conid=found.conid,
        symbol=found.symbol,
        name=found.name,
        exchange=found.exchange,
        currency=found.currency,
        kinds=list(found.kinds),
        option_months=list(found.months),
    )


def chain_document(chain: OptionChain, *, broker: str, now: datetime) -> ChainData:
    """now: by the clock of the login, for the age of the price."""
    return ChainData(
        broker=broker,
        symbol=chain.underlying.symbol,
        underlying=_underlying(chain, now),
        expiry=chain.expiry,
        expiries=list(chain.expiries),
        strikes=[
            ChainStrike(strike=spelled(row.strike), put=_option(row.put), call=_option(row.call)) for row in chain.rows
        ],
        as_of=now,
    )


def _underlying(chain: OptionChain, now: datetime) -> UnderlyingData:
    price = chain.price
    return UnderlyingData(
        conid=chain.underlying.conid,
        symbol=chain.underlying.symbol,
        price=price.best,
        bid=price.bid,
        ask=price.ask,
        availability=_word(price),
        last_is_close=price.last_is_close,
        halted=price.halted,
        as_of=price.at,
        age_s=None if price.at is None else round(max(0.0, (now - price.at).total_seconds()), 1),
    )


def _option(side: OptionSide | None) -> OptionData | None:
    if side is None:
        return None
    quote, greeks = side.quote, side.greeks
    return OptionData(
        conid=side.contract.conid,
        bid=quote.bid,
        ask=quote.ask,
        last=quote.last,
        delta=quote.delta,
        gamma=greeks.gamma,
        theta=greeks.theta,
        vega=greeks.vega,
        implied_volatility=quote.implied_volatility,
        open_interest=greeks.open_interest,
        availability=_word(quote),
        as_of=quote.at,
    )


def _word(quote: Quote) -> str:
    return quote.availability.name.lower()


def spelled(value: Decimal) -> Decimal:
    """In its one spelling: `10`, not `10.0` nor `1E+1`."""
    return Decimal(plain(value))
