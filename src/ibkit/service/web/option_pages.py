"""Options: the chain of a day, and selling a put, a call, a strangle, verticals or a condor, each with its stop.

The same use case as `ibkit sell-option`, with its defaults. A form carries the key that names its sale: a double click
or the back button sends the same key, which never sells twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote, urlencode

from ibkit.service.web.form_keys import conflicts, is_busy, kept_key, key_of
from ibkit.service.web.inside import Told
from ibkit.service.web.payoff import Drawing, PayoffLeg, draw
from ibkit.service.web.question_pages import asked_at
from ibkit.service.web.sale_form import faults_of, recorded, wish_of, wished
from ibkit.service.web.site import Made, Site, Visit

__all__ = ["option_pages"]

SYMBOL, DELTA, QUANTITY, STOP_MULTIPLE = "SPY", "0.16", "3", "5"
_STRIKES = 14
_MOST_SENT = 200


def option_pages(site: Site) -> None:
    _chain(site)
    _sale(site)
    _trades(site)


def _asked(given: Mapping[str, str]) -> tuple[str, str]:
    """Underlying and day of an address or of a form that is shown again."""
    return given.get("symbol", "").strip().upper() or SYMBOL, given.get("expiry", "").strip()


async def _of_day(visit: Visit, symbol: str, expiry: str) -> Told:
    return await visit.get("/api/options/chain", {"symbol": symbol, "expiry": expiry, "strikes": _STRIKES})


async def _page(
    visit: Visit,
    status: int = 200,
    *,
    typed: Mapping[str, str] | None = None,
    told: Told | None = None,
    errors: Mapping[str, str] | None = None,
    key: str = "",
    earlier: Mapping[str, Any] | None = None,
) -> Made:
    symbol, expiry = _asked(visit.query if typed is None else typed)
    chain = await _of_day(visit, symbol, expiry)
    return await visit.page(
        "options.html",
        status,
        symbol=symbol,
        expiry=chain.data["expiry"] if chain.ok else expiry,
        chain=chain,
        typed=typed or {},
        defaults={"delta": DELTA, "quantity": QUANTITY, "stop_multiple": STOP_MULTIPLE},
        errors=errors or ({} if told is None else told.field_errors),
        problem={} if told is None else told.problem,
        key=key or visit.site.key(),
        next_key=visit.site.key(),
        earlier=earlier,
    )


def _chain(site: Site) -> None:
    @site.get("/options")
    async def options(visit: Visit) -> Made:
        """`carries`: the key of a sale that broke off; the form goes on with it, by the terms of the address."""
        key = visit.query.get("carries", "")[:_MOST_SENT]
        return await _page(visit, typed=visit.query, key=key) if key else await _page(visit)

    @site.get("/_chain", used=False)
    async def renewed(visit: Visit) -> Made:
        symbol, expiry = _asked(visit.query)
        return visit.fragment("parts/chain.html", symbol=symbol, chain=await _of_day(visit, symbol, expiry))

    @site.get("/_options")
    async def chosen(visit: Visit) -> Made:
        """Another underlying or day was chosen: its page, so that what is sold is what is looked at."""
        symbol, expiry = _asked(visit.query)
        return visit.go(f"/options?{urlencode({'symbol': symbol, 'expiry': expiry})}")


def _sale(site: Site) -> None:
    @site.post("/options/preview")
    async def preview(visit: Visit) -> Made:
        form = await visit.form()
        if faults := faults_of(form):
            return visit.fragment("parts/form_faults.html", 422, faults=faults, group="sell")
        told = await visit.send("POST", "/api/option-sale/preview", wish_of(form))
        drawing = _drawing(told.data) if told.ok else None
        return visit.fragment("parts/sale_preview.html", told.status, told=told, drawing=drawing)

    @site.post("/options/sell")
    async def sell(visit: Visit) -> Made:
        form = await visit.form()
        key = key_of(form)[:_MOST_SENT]
        if faults := faults_of(form):
            return await _page(visit, 422, typed=form.kept(), errors=faults, key=key)
        told = await visit.send("POST", "/api/option-sale", wish_of(form), key=key)
        address = f"/options/sales/{quote(key, safe='')}"
        if told.ok or is_busy(told):
            return visit.go(f"{address}?{urlencode(wished(form))}")
        earlier = {"kind": "conflict", "order": None, "address": address} if conflicts(told) else None
        return await _page(visit, told.status, typed=form.kept(), told=told, key=kept_key(key, told), earlier=earlier)

    @site.get("/options/sales/{key:str}")
    async def sale(visit: Visit) -> Made:
        asked = await asked_at(visit, f"/options/sales/{quote(visit.part('key'), safe='')}")
        return await visit.page("sale.html", **await _told(visit), **asked)

    @site.get("/_sale/{key:str}", used=False)
    async def renewed(visit: Visit) -> Made:
        return visit.fragment("parts/sale.html", **await _told(visit))


def _of_key(visit: Visit) -> str:
    return f"/api/option-sale/{quote(visit.part('key'), safe='')}"


async def _told(visit: Visit) -> dict[str, Any]:
    """The sale of the address, and what its form was: that carries it on, should it break off."""
    sale = await visit.need(_of_key(visit))
    form = dict(visit.query) if "symbol" in visit.query else recorded(sale)
    return {"sale": sale, "wished": form, "carries": {**form, "carries": sale["key"]}}


def _drawing(preview: dict[str, Any]) -> Drawing | None:
    """Of all sides together, before commission; None where what a leg brings is not known."""
    legs: list[PayoffLeg] = []
    for side in preview["legs"]:
        right = "P" if side["side"] == "put" else "C"
        entry, quantity = _decimal(side["entry"]), _decimal(preview["quantity"])
        strike, other = _decimal(side["strike"]), _decimal(side["long_strike"])
        units = _decimal(side["multiplier"])
        if entry is None or quantity is None or strike is None or units is None:
            return None
        legs.append(PayoffLeg(right=right, strike=strike, quantity=-quantity, price=entry, multiplier=units))
        if other is not None:  # the entry is of both together
            bought = PayoffLeg(right=right, strike=other, quantity=quantity, price=Decimal(0), multiplier=units)
            legs.append(bought)
    return draw(legs)


def _decimal(value: Any) -> Decimal | None:
    try:
        return None if value is None else Decimal(str(value))
    except InvalidOperation:
        return None


def _trades(site: Site) -> None:
    @site.get("/trades")
    async def trades(visit: Visit) -> Made:
        asked = {name: visit.query.get(name, "") for name in ("status", "symbol", "since")}
        return await visit.page(
            "trades.html",
            trades=await visit.get("/api/trades", asked),
            performance=await visit.get("/api/trades/performance", asked),
            asked=asked,
        )
