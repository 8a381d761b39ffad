"""One contract in detail: info, rules, algorithms.

Source: docs/facts/contracts-and-market-data.md §1.11-1.14.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ibkit.sim.handlers.contracts import bad_request, conid_of
from ibkit.sim.market.algos import ALGOS
from ibkit.sim.market.instruments import Instrument
from ibkit.sim.routing import ApiError, Call, Json, handles
from ibkit.wire.contracts import CONTRACT_ALGOS, CONTRACT_INFO, CONTRACT_INFO_AND_RULES, CONTRACT_RULES

__all__: list[str] = []

_MAX_ALGOS = 8
_ORDER_TYPES = [
    *("limit", "midprice", "market", "stop", "stop_limit", "mit", "lit", "trailing_stop", "trailing_stop_limit"),
    *("relative", "marketonclose", "limitonclose"),
]
_OPTION_ORDER_TYPES = [
    *("limit", "market", "stop", "stop_limit", "mit", "lit", "trailing_stop", "trailing_stop_limit", "relative"),
]
_ALGO_TYPES = ["limit", "stop_limit", "lit", "trailing_stop_limit", "relative", "marketonclose", "limitonclose"]
_CASH_TYPES = ["limit", "market", "stop", "stop_limit", "mit", "lit", "trailing_stop", "trailing_stop_limit"]
_OUTSIDE_TYPES = ["limit", "stop_limit", "lit", "trailing_stop_limit", "relative"]
_TIFS = [
    "IOC/MARKET,LIMIT,RELATIVE,MARKETONCLOSE,MIDPRICE,LIMITONCLOSE,MKT_PROTECT,STPPRT,a",
    "GTC/o,a",
    "OPG/LIMIT,MARKET,a",
    "GTD/o,a",
    "DAY/o,a",
]


def _known(call: Call, conid: object, *, status: int = 400) -> Instrument:
    found = call.world.instruments.get(conid_of(conid))
    if found is None and status != 400:
        raise ApiError(status, {"error": "Service Unavailable", "statusCode": status})
    if found is None:
        raise bad_request("contract is not known")
    return found


@handles(CONTRACT_INFO)
def contract_info(call: Call) -> Json:
    return _info(_known(call, call.path["conid"]))


@handles(CONTRACT_INFO_AND_RULES)
def contract_info_and_rules(call: Call) -> Json:
    instrument = _known(call, call.path["conid"])
    return _info(instrument) | {"rules": _rules(call, instrument)}


@handles(CONTRACT_RULES)
def contract_rules(call: Call) -> Json:
    if not isinstance(call.body, dict):
        raise bad_request("a JSON object is required")
    return _rules(call, _known(call, call.body.get("conid")))


def _info(instrument: Instrument) -> dict[str, Any]:
    """§1.11. An option has the members strike and right, and no industry and category."""
    option, listing = instrument.is_option, instrument.listing
    day = f"{instrument.expiry:%Y%m%d}" if instrument.expiry else None
    answer: dict[str, Any] = {
        "cfi_code": f"O{instrument.right}XXXS" if option else "",
        "symbol": instrument.symbol,
        "cusip": None,
        "expiry_full": day,
        "con_id": instrument.conid,
        "maturity_date": day,
    }
    if not option:
        answer["industry"] = listing.industry or ""
    answer |= {
        "instrument_type": instrument.sec_type,
        "has_related_contracts": not option and instrument.quoted,
        "trading_class": instrument.trading_class,
        "valid_exchanges": ",".join(instrument.valid_exchanges),
        "allow_sell_long": False,
        "is_zero_commission_security": False,
        "local_symbol": instrument.local_symbol,
        "contract_clarification_type": None,
        "classifier": None,
        "currency": instrument.currency,
        "text": instrument.terms or None,
        "underlying_con_id": instrument.underlying_conid or 0,
        "r_t_h": not option,
        "multiplier": str(instrument.multiplier) if option else None,
    }
    if option:
        answer |= {"strike": instrument.strike_text, "right": "CALL" if instrument.right == "C" else "PUT"}
    answer |= {
        "underlying_issuer": None,
        "contract_month": f"{instrument.expiry:%Y%m}" if instrument.expiry else None,
        "company_name": instrument.name,
        "smart_available": "SMART" in instrument.valid_exchanges,
        "exchange": "SMART" if "SMART" in instrument.valid_exchanges else instrument.listing_exchange,
    }
    return answer if option else answer | {"category": listing.category or ""}


def _rules(call: Call, instrument: Instrument) -> dict[str, Any]:
    """§1.13. An index cannot be traded, so its lists are empty."""
    option, tradable = instrument.is_option, instrument.sec_type != "IND"
    order_types = (_OPTION_ORDER_TYPES if option else _ORDER_TYPES) if tradable else []
    size = 1 if option else instrument.listing.size_increment
    price = call.world.market.quote(instrument.conid, call.now).mark
    step = instrument.increments.at(price or Decimal(0))
    stock = tradable and not option
    answer: dict[str, Any] = {
        "algoEligible": tradable,
        "overnightEligible": stock and instrument.quoted,
        "allOrNoneEligible": tradable,
        "costReport": False,
        "canTradeAcctIds": [account.id for account in call.session.user.accounts],
        "error": None,
        "orderTypes": order_types,
        "ibAlgoTypes": [kind for kind in _ALGO_TYPES if kind in order_types],
        "fraqTypes": _CASH_TYPES if stock else [],
        "forceOrderPreview": False,
        "cqtTypes": _CASH_TYPES if stock else [],
        "orderTypesOutside": [kind for kind in _OUTSIDE_TYPES if kind in order_types] if stock else [],
        "defaultSize": 1 if option else 100,
        "cashSize": 0.0,
        "sizeIncrement": size,
        "tifTypes": _TIFS if tradable else [],
        "tifDefaults": {"TIF": "DAY", "SIZE": "1.00" if option else "100.00"},
        "orderOrigination": None,
        "preview": True,
        "displaySize": None,
        "fraqInt": 4 if stock else 0,
        "cashCcy": instrument.currency,
        "cashQtyIncr": 500,
        "priceMagnifier": None,
        "negativeCapable": False,
        "incrementType": 1,
        "incrementRules": increment_rules(instrument),
        "hasSecondary": True,
        "modTypes": ["LIT", "LMT", "STP", "TRAIL"],
        "increment": step,
        "incrementDigits": 2,
    }
    if price is not None:
        answer |= {"orderDefaults": {"LMT": {"LP": str(price)}}, "limitPrice": price, "stopprice": price}
    return answer


def increment_rules(instrument: Instrument) -> list[dict[str, float]]:
    return [{"lowerEdge": float(edge), "increment": float(step)} for edge, step in instrument.increments.steps]


@handles(CONTRACT_ALGOS)
def contract_algos(call: Call) -> Json:
    """§1.14. Which algorithms options take is not known: Adaptive alone is assumed [sim]."""
    instrument = _known(call, call.path["conid"], status=503)
    wanted = [name for name in (call.query.get("algos") or "").split(";") if name]
    if len(wanted) > _MAX_ALGOS:
        raise bad_request("at most 8 algos")
    possible = {"STK": ALGOS, "OPT": ALGOS[:1], "IND": ()}[instrument.sec_type]
    by_id = {algo["id"]: algo for algo in possible}
    shown = [by_id[name] for name in wanted if name in by_id] if wanted else list(possible)
    with_text, with_parameters = (call.query.get(name) == "1" for name in ("addDescription", "addParams"))
    return {
        "algos": [
            {
                "name": algo["name"],
                "id": algo["id"],
                **({"description": algo["description"]} if with_text else {}),
                "parameters": algo["parameters"] if with_parameters else [],
            }
            for algo in shown
        ]
    }
