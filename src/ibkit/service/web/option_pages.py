"""Options: the chain of a day, and selling a put, a call, a strangle, verticals or a condor, each with its stop.

The same use case as `ibkit sell-option`, with its defaults. A form carries the key that names its sale: a double click
or the back button sends the same key, which never sells twice.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote

from ibkit.service.web.inside import Told
from ibkit.service.web.order_pages import kept_key
from ibkit.service.web.payoff import Drawing, PayoffLeg, draw, payoff
from ibkit.service.web.reading import Form
from ibkit.service.web.site import Made, Site, Visit

__all__ = ["option_pages"]

SYMBOL, DELTA, QUANTITY, STOP_MULTIPLE = "SPY", "0.16", "3", "5"
_STRIKES = 14
_MOST_SENT = 200


def option_pages(site: Site) -> None:
    _chain(site)
    _sale(site)
    _trades(site)


async def _of_day(visit: Visit, symbol: str) -> Told:
    asked = {"symbol": symbol, "expiry": visit.query.get("expiry", ""), "strikes": _STRIKES}
    return await visit.get("/api/options/chain", asked)


async def _page(
    visit: Visit, status: int = 200, *, typed: dict[str, str] | None = None, told: Told | None = None, key: str = ""
) -> Made:
    symbol = (typed or {}).get("symbol") or visit.query.get("symbol", SYMBOL).strip().upper() or SYMBOL
    return await visit.page(
        "options.html",
        status,
        symbol=symbol,
        chain=await _of_day(visit, symbol),
        typed=typed or {},
        defaults={"delta": DELTA, "quantity": QUANTITY, "stop_multiple": STOP_MULTIPLE},
        errors={} if told is None else told.field_errors,
        problem={} if told is None else told.problem,
        key=key or visit.site.key(),
    )


def _chain(site: Site) -> None:
    @site.get("/options")
    async def options(visit: Visit) -> Made:
        return await _page(visit)

    @site.get("/_chain", used=False)
    async def renewed(visit: Visit) -> Made:
        symbol = visit.query.get("symbol", SYMBOL)
        return visit.fragment("parts/chain.html", symbol=symbol, chain=await _of_day(visit, symbol))


def wish_of(form: Form) -> dict[str, Any]:
    """The body of POST /api/option-sale; what cannot be a number stays text, and the interface names the field."""
    strategy = form.text("strategy", "put")
    side = {"put": "put", "call": "call", "put-spread": "put", "call-spread": "call"}.get(strategy, "both")
    wish: dict[str, Any] = {
        "symbol": form.text("symbol").upper(),
        "side": side,
        "quantity": form.whole("quantity"),
        "expiry": form.optional("expiry"),
        "order_type": form.text("order_type", "market"),
        "on_stop_failure": form.text("on_stop_failure", "close"),
    }
    match form.text("by", "delta"):
        case "strike":
            names = ["put_strike"] * (side != "call") + ["call_strike"] * (side != "put")
            wish |= {name: form.number(name) for name in names}
        case "premium":
            wish["premium"] = form.number("premium")
        case _:
            wish["delta"] = form.number("delta")
    if strategy in ("put-spread", "call-spread", "condor"):
        wish["width"] = form.number("width")
    stop = form.text("stop", "stop_multiple")
    if stop in ("stop_multiple", "trail_pct", "trail_amount"):
        wish[stop] = form.number(stop)
    if wish["order_type"] == "limit":
        wish["limit_price"] = form.number("limit_price")
    if form.text("take_profit_pct"):
        wish["take_profit_pct"] = form.number("take_profit_pct")
    for name in ("live", "force", "allow_delayed"):
        if form.ticked(name):
            wish[name] = True
    if form.text("confirm_account"):
        wish["confirm_account"] = form.text("confirm_account")
    return {name: value for name, value in wish.items() if value is not None or name in ("quantity", "width")}


def _sale(site: Site) -> None:
    @site.post("/options/preview")
    async def preview(visit: Visit) -> Made:
        told = await visit.send("POST", "/api/option-sale/preview", wish_of(await visit.form()))
        drawing = _drawing(told.data) if told.ok else None
        return visit.fragment("parts/sale_preview.html", told.status, told=told, drawing=drawing)

    @site.post("/options/sell")
    async def sell(visit: Visit) -> Made:
        form = await visit.form()
        key = form.text("key")[:_MOST_SENT]
        told = await visit.send("POST", "/api/option-sale", wish_of(form), key=key)
        if told.ok:
            return visit.go(f"/options/sales/{quote(key, safe='')}")
        return await _page(visit, told.status, typed=form.kept(), told=told, key=kept_key(key, told))

    @site.get("/options/sales/{key:str}")
    async def sale(visit: Visit) -> Made:
        return await visit.page("sale.html", sale=await visit.need(_of_key(visit)))

    @site.get("/_sale/{key:str}", used=False)
    async def renewed(visit: Visit) -> Made:
        return visit.fragment("parts/sale.html", sale=await visit.need(_of_key(visit)))


def _of_key(visit: Visit) -> str:
    return f"/api/option-sale/{quote(visit.part('key'), safe='')}"


def _drawing(preview: dict[str, Any]) -> Drawing | None:
    """Of all sides together, before commission; None where what a leg brings is not known."""
    legs: list[PayoffLeg] = []
    for side in preview["legs"]:
        right = "P" if side["side"] == "put" else "C"
        entry, quantity = _decimal(side["entry"]), _decimal(preview["quantity"])
        strike, other = _decimal(side["strike"]), _decimal(side["long_strike"])
        if entry is None or quantity is None or strike is None:
            return None
        legs.append(PayoffLeg(right, strike, -quantity, entry))
        if other is not None:
            legs.append(PayoffLeg(right, other, quantity, Decimal(0)))  # the entry is of both together
    return draw(payoff(legs))


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
