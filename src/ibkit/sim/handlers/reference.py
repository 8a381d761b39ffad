"""What is known without a brokerage session (/trsrv, trading schedules), and currencies.

Source: docs/facts/contracts-and-market-data.md §1.5-1.10, §1.16.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from ibkit.sim.handlers.contract_details import increment_rules
from ibkit.sim.handlers.contracts import bad_request, conid_of, number_list
from ibkit.sim.market.calendar import NEW_YORK, Calendar, new_york_date
from ibkit.sim.market.instruments import Instrument
from ibkit.sim.market.universe import FX_PAIRS, FX_RATES
from ibkit.sim.routing import Call, Json, handles
from ibkit.wire.contracts import (
    CURRENCY_PAIRS,
    EXCHANGE_RATE,
    TRADING_SCHEDULE,
    TRSRV_ALL_CONIDS,
    TRSRV_FUTURES,
    TRSRV_SCHEDULE,
    TRSRV_SECDEF,
    TRSRV_STOCKS,
)

__all__: list[str] = []

_MAX_CONIDS = 200
_SCHEDULE_DAYS = 6
_EXTENDED = ("0400", "2000")
_EARLY_EXTENDED = "1700"
"""Stocks trade until 17:00 on half days: public knowledge of the NYSE, no source in the facts."""
_VENUES = {
    "ARCA": ("p102082", "v13133", "NYSE Arca"),
    "NASDAQ": ("p102083", "v13134", "NASDAQ"),
    "NYSE": ("p101781", "v13038", "New York Stock Exchange"),
    "AMEX": ("p102084", "v13135", "NYSE American"),
    "CBOE": ("p102085", "v13136", "Cboe"),
}
"""Ids of ARCA and NYSE as in the sources, the others ours; nothing else refers to them."""


def _symbols(call: Call) -> list[str]:
    found = [part.strip().upper() for part in (call.query.get("symbols") or "").split(",") if part.strip()]
    if not found:
        raise bad_request("symbols are required")
    return found


# --- /trsrv -------------------------------------------------------------------------------------------------------


@handles(TRSRV_SECDEF)
def secdef(call: Call) -> Json:
    """§1.5: unknown conids are silently missing."""
    given = call.body.get("conids") if isinstance(call.body, dict) else call.query.get("conids")
    conids = number_list(given)
    if len(conids) > _MAX_CONIDS:
        raise bad_request("at most 200 conids")
    found = (call.world.instruments.get(conid) for conid in conids)
    return {"secdef": [_secdef_row(instrument) for instrument in found if instrument is not None]}


def _secdef_row(instrument: Instrument) -> dict[str, Any]:
    listing, option = instrument.listing, instrument.is_option
    day = f"{instrument.expiry:%Y%m%d}" if instrument.expiry else None
    return {
        "incrementRules": increment_rules(instrument),
        "displayRule": {
            "magnification": 0,
            "displayRuleStep": [{"decimalDigits": 2, "lowerEdge": 0.0, "wholeDigits": 4}],
        },
        "conid": instrument.conid,
        "currency": instrument.currency,
        "time": 41,
        "chineseName": instrument.name,
        "allExchanges": ",".join(name for name in instrument.valid_exchanges if name != "SMART"),
        "listingExchange": instrument.listing_exchange,
        "countryCode": listing.country,
        "name": instrument.name,
        "assetClass": instrument.sec_type,
        "expiry": day,
        "lastTradingDay": day,
        "group": None,
        "putOrCall": instrument.right,
        "sector": None,
        "sectorGroup": None,
        "strike": instrument.strike_text,
        "ticker": instrument.symbol,
        "undConid": instrument.underlying_conid or 0,
        "multiplier": float(instrument.multiplier) if option else 0.0,
        "type": listing.kind if instrument.sec_type == "STK" else None,
        "hasOptions": not option and instrument.quoted,
        "fullName": instrument.full_name,
        "isUS": listing.is_us,
        "isEventContract": False,
        "pageSize": 100,
    }


@handles(TRSRV_STOCKS)
def stocks(call: Call) -> Json:
    """§1.6: grouped by issuer; an unknown symbol's key is absent."""
    answer: dict[str, list[dict[str, Any]]] = {}
    for symbol in _symbols(call):
        issuers: dict[str, list[dict[str, Any]]] = {}
        for row in call.world.instruments.listings:
            if row.symbol == symbol and row.sec_type == "STK":
                contract = {"conid": row.conid, "exchange": row.listing_exchange, "isUS": row.listing.is_us}
                issuers.setdefault(row.name, []).append(contract)
        if issuers:
            answer[symbol] = [
                {"name": name, "chineseName": name, "assetClass": "STK", "contracts": contracts}
                for name, contracts in issuers.items()
            ]
    return answer


@handles(TRSRV_FUTURES)
def futures(call: Call) -> Json:
    """§1.7: the simulated world has no futures, so every symbol is an unknown one."""
    _symbols(call)
    return {}


@handles(TRSRV_ALL_CONIDS)
def all_conids(call: Call) -> Json:
    """§1.8: ascending by conid; `exchange` is the local tape's name."""
    exchange = (call.query.get("exchange") or "").upper()
    if not exchange:
        raise bad_request("exchange is required")
    rows = [
        row
        for row in call.world.instruments.listings
        if row.listing_exchange == exchange and row.sec_type == (call.query.get("assetClass") or "STK")
    ]
    return [
        {"ticker": row.symbol, "conid": row.conid, "exchange": "NMS" if exchange == "NASDAQ" else exchange}
        for row in sorted(rows, key=lambda row: row.conid)
    ]


# --- schedules ----------------------------------------------------------------------------------------------------


@handles(TRADING_SCHEDULE)
def trading_schedule(call: Call) -> Json:
    """§1.10: epoch seconds, the next six trading days; a holiday's key is absent."""
    found = call.world.instruments.get(conid_of(call.query.get("conid", "0")))
    if found is None or not found.quoted:
        raise bad_request("contract is not known")
    calendar, today = call.world.calendar, new_york_date(call.now)
    days = calendar.days_between(today, today + timedelta(days=3 * _SCHEDULE_DAYS))[:_SCHEDULE_DAYS]
    return {
        "exchange_time_zone": "US/Central" if found.symbol == "SPX" else "US/Eastern",
        "schedules": {f"{day:%Y%m%d}": _day(calendar, found, day) for day in days},
    }


def _day(calendar: Calendar, instrument: Instrument, day: date) -> dict[str, Any]:
    session = calendar.session(day)
    assert session is not None, day
    opening, close = session
    wide = (opening, close)
    if instrument.sec_type == "STK":
        ends = _EARLY_EXTENDED if _is_early(close) else _EXTENDED[1]
        wide = (_new_york(day, _EXTENDED[0]), _new_york(day, ends))
    return {
        "liquid_hours": [{"opening": int(opening.timestamp()), "closing": int(close.timestamp())}],
        "extended_hours": [
            {"cancel_daily_orders": True, "opening": int(wide[0].timestamp()), "closing": int(wide[1].timestamp())}
        ],
    }


def _new_york(day: date, hours: str) -> datetime:
    return datetime(day.year, day.month, day.day, int(hours[:2]), int(hours[2:]), tzinfo=NEW_YORK)


def _is_early(close: datetime) -> bool:
    return close.astimezone(NEW_YORK).hour < 16


@handles(TRSRV_SCHEDULE)
def venue_schedule(call: Call) -> Json:
    """§1.9: five weekdays (as dates of January 2000), then the days of the coming month that differ."""
    query = call.query
    if "conid" in query or not query.get("assetClass") or not query.get("symbol"):
        raise bad_request("assetClass and symbol are required, conid is not taken")
    found = call.world.instruments.by_symbol(query["symbol"])
    if found is None or query["assetClass"].upper() not in (found.sec_type, "OPT"):
        return []
    wanted = query.get("exchangeFilter") or query.get("exchange") or found.listing_exchange
    names = [name.strip().upper() for name in wanted.split(",")]
    return [_venue(call, found, name) for name in names if name in _VENUES and name in found.valid_exchanges]


def _venue(call: Call, instrument: Instrument, name: str) -> dict[str, Any]:
    venue_id, trade_id, description = _VENUES[name]
    zone = "America/Chicago" if instrument.symbol == "SPX" else "America/New_York"
    calendar, today = call.world.calendar, new_york_date(call.now)
    # Monday to Friday of the first week of 2000, which stand for every such weekday.
    rows = [_weekday_row(f"200001{day:02d}", zone, "1600") for day in range(3, 8)]
    for offset in range(31):
        day = today + timedelta(days=offset)
        session = calendar.session(day)
        if session is None and day.weekday() < 5:
            rows.append({"clearingCycleEndTime": "0000", "tradingScheduleDate": f"{day:%Y%m%d}", "sessions": []})
        elif session is not None and _is_early(session[1]):
            rows.append(_weekday_row(f"{day:%Y%m%d}", zone, "1300"))
    return {
        "id": venue_id,
        "tradeVenueId": trade_id,
        "exchange": name,
        "description": description,
        "timezone": zone,
        "schedules": rows,
    }


def _weekday_row(label: str, zone: str, close: str) -> dict[str, Any]:
    def local(hours: str) -> str:
        return f"{_new_york(date(2000, 1, 3), hours).astimezone(ZoneInfo(zone)):%H%M}"

    ends = local(_EXTENDED[1] if close == "1600" else _EARLY_EXTENDED)
    return {
        "clearingCycleEndTime": ends,
        "tradingScheduleDate": label,
        "sessions": [{"openingTime": local("0930"), "closingTime": local(close), "prop": "LIQUID"}],
        "tradingtimes": [{"openingTime": local(_EXTENDED[0]), "closingTime": ends, "cancelDayOrders": "Y"}],
    }


# --- currencies ---------------------------------------------------------------------------------------------------


@handles(CURRENCY_PAIRS)
def currency_pairs(call: Call) -> Json:
    """§1.16: `ccyPair` is the other currency."""
    currency = (call.query.get("currency") or "").upper()
    if not currency:
        raise bad_request("currency is required")
    return {
        currency: [
            {"symbol": symbol, "conid": conid, "ccyPair": next(part for part in symbol.split(".") if part != currency)}
            for symbol, conid in FX_PAIRS
            if currency in symbol.split(".")
        ]
    }


@handles(EXCHANGE_RATE)
def exchange_rate(call: Call) -> Json:
    """§1.16: units of the target currency for one of the source."""
    source, target = (FX_RATES.get((call.query.get(name) or "").upper()) for name in ("source", "target"))
    if source is None or target is None:
        raise bad_request("currency is not known")
    return {"rate": float((target / source).quantize(Decimal("0.00000001")))}
