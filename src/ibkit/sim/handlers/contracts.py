"""Finding contracts: search, strikes, and the definitions at one strike.

Source: docs/facts/contracts-and-market-data.md §1.1-1.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from ibkit.sim.market.calendar import new_york_date
from ibkit.sim.market.instruments import Instrument
from ibkit.sim.routing import ApiError, Call, Json, handles
from ibkit.wire.contracts import SECDEF_INFO, SECDEF_SEARCH, SECDEF_STRIKES

__all__ = ["bad_request", "conid_of", "number_list"]

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_NOTHING_FOUND = {"error": "No symbol found"}
"""§1.1 [client], §10 row 1."""


def bad_request(why: str) -> ApiError:
    """400. The facts give the status; the words after the colon are ours."""
    return ApiError(400, {"error": f"Bad Request: {why}", "statusCode": 400})


def no_contracts(status: int = 500) -> ApiError:
    """The blank at the end is IBKR's. §0.1."""
    return ApiError(status, {"error": "No Contracts retrieved "})


def conid_of(text: object) -> int:
    """A conid as it comes in a query, a path or a body; 400 for anything else."""
    try:
        return int(str(text))
    except ValueError:
        raise bad_request("conid is not a number") from None


def number_list(given: object) -> list[int]:
    """Conids as `1,2` or as a JSON array; 400 for anything else, and for none."""
    parts = given if isinstance(given, list) else [part for part in str(given or "").split(",") if part.strip()]
    if not parts:
        raise bad_request("conids are required")
    return [conid_of(part) for part in parts]


def _given(call: Call) -> Mapping[str, Any]:
    """GET brings its arguments in the query, POST in the body."""
    return {**call.query, **(call.body if isinstance(call.body, dict) else {})}


# --- search -------------------------------------------------------------------------------------------------------


@handles(SECDEF_SEARCH)
def search(call: Call) -> Json:
    """§1.1: fuzzy, foreign listings among the rows; it primes strikes and info for what it finds."""
    given = _given(call)
    text = str(given.get("symbol") or "").strip().upper()
    if not text:
        raise bad_request("symbol is required")
    by_name = str(given.get("name", "")).lower() == "true"
    found = _found(call, text, str(given.get("secType") or "STK").upper(), by_name=by_name)
    if not found:
        return _NOTHING_FOUND
    brokerage = call.session.brokerage
    assert brokerage is not None, "the server lets nobody in without a brokerage session"
    symbols = {row.symbol for row in found}
    if by_name:
        # A search by company name spoils what an earlier one primed. §1.1, §8 row 6.
        brokerage.searched_symbols -= symbols
    else:
        brokerage.searched_symbols |= symbols
    return [_row(call, instrument, reduced=by_name) for instrument in found]


def _found(call: Call, text: str, sec_type: str, *, by_name: bool) -> list[Instrument]:
    """Symbols first, then company names. `STK`, the default, finds indices as well (§1.1: SPX)."""
    kinds = {"STK": ("STK", "IND"), "IND": ("IND",)}.get(sec_type, ())
    rows = [row for row in call.world.instruments.listings if row.sec_type in kinds]
    by_symbol = [row for row in rows if row.symbol == text and not by_name]
    return by_symbol + [row for row in rows if text in row.name.upper() and row not in by_symbol]


def _row(call: Call, instrument: Instrument, *, reduced: bool) -> dict[str, Any]:
    sections = _sections(call, instrument)
    if reduced:
        sections = [{"secType": section["secType"]} for section in sections]
    return {
        "conid": str(instrument.conid),
        "companyHeader": f"{instrument.name} - {instrument.listing_exchange}",
        "companyName": instrument.name,
        "symbol": instrument.symbol,
        "description": instrument.listing_exchange,
        "restricted": "IND" if instrument.sec_type == "IND" else None,
        "sections": sections,
    }


def _sections(call: Call, instrument: Instrument) -> list[dict[str, Any]]:
    listing = instrument.listing
    if not listing.is_us:
        return [{"secType": "STK", "exchange": f"{listing.exchange};"}]
    months = call.world.instruments.months(instrument.symbol, new_york_date(call.now))
    options = {"secType": "OPT", "months": ";".join(months), "exchange": ";".join(listing.option_exchanges)}
    if instrument.sec_type == "IND":
        return [{"secType": "IND", "exchange": f"{listing.exchange};"}, options]
    cfd = [{"secType": "CFD", "exchange": "SMART", "conid": str(listing.cfd)}] if listing.cfd else []
    return [{"secType": "STK"}, options, *cfd, {"secType": "BAG"}]


# --- strikes and info ---------------------------------------------------------------------------------------------


def _sec_type(call: Call) -> str:
    return (call.query.get("sectype") or call.query.get("secType") or "").upper()


def _underlying(call: Call) -> Instrument | None:
    """What the conid names, if it was searched in this brokerage session. §0.1."""
    brokerage = call.session.brokerage
    found = call.world.instruments.get(conid_of(call.query.get("conid")))
    if brokerage is None or found is None or not found.quoted or found.is_option:
        return None
    return found if found.symbol in brokerage.searched_symbols else None


def _month(text: str) -> str:
    """`NOV26`; `202611` means the same (§10 row 6)."""
    if len(text) == 6 and text.isdigit() and 1 <= int(text[4:]) <= 12:
        return f"{_MONTHS[int(text[4:]) - 1]}{text[2:4]}"
    return text.upper()


def _trades_on(underlying: Instrument, exchange: str) -> bool:
    return exchange.upper() in underlying.listing.option_exchanges


@handles(SECDEF_STRIKES)
def strikes(call: Call) -> Json:
    """§1.2: the union over all expiries of the month; empty rather than an error for nearly all that is wrong."""
    if not call.query.get("month") or not _sec_type(call):
        raise bad_request("sectype and month are required")
    underlying = _underlying(call)
    if underlying is None and call.world.quirks.strict_priming:
        raise no_contracts()
    values: list[float] = []
    if (
        underlying is not None
        and _sec_type(call) == "OPT"
        and _trades_on(underlying, call.query.get("exchange") or "SMART")
    ):
        instruments, today = call.world.instruments, new_york_date(call.now)
        expiries = instruments.expiries(underlying.symbol, today, _month(call.query["month"]))
        union = {strike for expiry in expiries for strike in instruments.strikes(underlying.symbol, expiry.day)}
        values = [float(strike) for strike in sorted(union)]
    return {"call": values, "put": list(values)}


@handles(SECDEF_INFO)
def info(call: Call) -> Json:
    """§1.3: one row for each expiry, trading class and right of the month at that strike."""
    if _sec_type(call) in ("", "STK", "IND") and not call.query.get("strike"):
        return [_final(call)]
    strike, right = _strike(call), (call.query.get("right") or "").upper()[:1] or None
    if right not in (None, "C", "P"):
        raise bad_request("right is C or P")
    underlying = _underlying(call)
    if underlying is None or _sec_type(call) != "OPT":
        raise no_contracts()
    exchange = (call.query.get("exchange") or "SMART").upper()
    # Only MMMYY is understood here, unlike in strikes. §1.3, §8 row 3.
    month = call.query.get("month", "").upper()
    instruments, today = call.world.instruments, new_york_date(call.now)
    if not _trades_on(underlying, exchange) or not instruments.expiries(underlying.symbol, today, month):
        raise no_contracts()
    found = instruments.at_strike(underlying.symbol, today, month, strike, right)
    if not found:
        raise no_contracts(call.world.quirks.unlisted_strike_status)
    return [_option_row(option, exchange) for option in found]


def _strike(call: Call) -> Decimal:
    """One number: none and a list are refused with 400. §1.3."""
    try:
        strike = Decimal(call.query.get("strike", ""))
    except InvalidOperation:
        raise bad_request("strike is required") from None
    if not strike.is_finite() or strike <= 0:
        raise bad_request("strike is required")
    return strike


def _option_row(option: Instrument, exchange: str) -> dict[str, Any]:
    assert option.expiry is not None
    assert option.strike is not None
    return {
        "conid": option.conid,
        "symbol": option.symbol,
        "secType": "OPT",
        "exchange": exchange,
        "listingExchange": None,
        "right": option.right,
        "strike": float(option.strike),
        "currency": option.currency,
        "cusip": None,
        "coupon": "No Coupon",
        "desc1": option.symbol,
        "desc2": option.terms,
        "maturityDate": f"{option.expiry:%Y%m%d}",
        "multiplier": str(option.multiplier),
        "tradingClass": option.trading_class,
        "validExchanges": ",".join(option.valid_exchanges),
    }


def _final(call: Call) -> dict[str, Any]:
    """A contract asked for by its own conid. §1.3, last item."""
    found = call.world.instruments.get(conid_of(call.query.get("conid")))
    if found is None:
        raise no_contracts()
    return {
        "conid": found.conid,
        "ticker": found.symbol,
        "secType": found.sec_type,
        "listingExchange": found.listing_exchange,
        "exchange": "SMART" if "SMART" in found.valid_exchanges else found.listing_exchange,
        "companyName": found.name,
        "currency": found.currency,
        "validExchanges": ",".join(found.valid_exchanges),
        "priceRendering": None,
        "maturityDate": f"{found.expiry:%Y%m%d}" if found.expiry else None,
        "right": found.right or "?",
        "strike": float(found.strike or 0),
    }
