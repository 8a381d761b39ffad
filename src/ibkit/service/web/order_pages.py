"""Orders: the ticket with its preview, the blotter, one order from intent to reconciliation, kill switch.

A ticket carries the key that names its order, made with the page: a double click, the back button or a second try sends
the same key, which never makes a second order.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from ibkit.service.order_answer import STATUSES
from ibkit.service.web.banners import pill_of
from ibkit.service.web.catalogue import text
from ibkit.service.web.form_keys import conflicts, is_busy, kept_key, key_of, was_refused
from ibkit.service.web.inside import Told
from ibkit.service.web.kill_pages import kill_pages, stops
from ibkit.service.web.payoff import PayoffLeg, draw
from ibkit.service.web.question_pages import asked_at
from ibkit.service.web.reading import Form
from ibkit.service.web.site import Made, Site, Visit

__all__ = ["order_pages"]

_PAGE = 50


def order_pages(site: Site) -> None:
    _blotter(site)
    _ticket(site)
    _one_order(site)
    kill_pages(site, _page)


async def _listed(visit: Visit) -> dict[str, Any]:
    asked = {name: visit.query.get(name, "") for name in ("status", "symbol", "cursor")}
    orders = await visit.get("/broker-order", {**asked, "limit": _PAGE})
    return {"orders": orders, "next": orders.body.get("next") if orders.ok else None, "asked": asked}


async def _page(
    visit: Visit,
    status: int = 200,
    *,
    typed: dict[str, str] | None = None,
    told: Told | None = None,
    errors: Mapping[str, str] | None = None,
    key: str = "",
    earlier: Mapping[str, Any] | None = None,
    stopping: Mapping[str, Any] | None = None,
) -> Made:
    given = typed if typed is not None else _from_query(visit)
    return await visit.page(
        "orders.html",
        status,
        typed=given,
        errors=errors or ({} if told is None else told.field_errors),
        problem={} if told is None else told.problem,
        key=key or visit.site.key(),
        next_key=visit.site.key(),
        earlier=earlier,
        statuses=STATUSES,
        **(stopping or await stops(visit)),
        **await _listed(visit),
        **await asked_at(visit, "/orders"),
    )


def _from_query(visit: Visit) -> dict[str, str]:
    """A link from elsewhere may fill in the ticket; nothing is sent by it. `symbol` is the blotter's filter."""
    names = ("action", "qty", "order_type", "limit_price", "stop_price", "expiry", "strike", "right")
    given = {name: visit.query[name] for name in names if name in visit.query}
    return given | ({"symbol": visit.query["ticket"]} if "ticket" in visit.query else {})


def _blotter(site: Site) -> None:
    @site.get("/orders")
    async def orders(visit: Visit) -> Made:
        return await _page(visit)

    @site.get("/_orders", used=False)
    async def renewed(visit: Visit) -> Made:
        return visit.fragment("parts/blotter.html", statuses=STATUSES, **await _listed(visit))

    @site.get("/_contracts")
    async def contracts(visit: Visit) -> Made:
        symbol = visit.query.get("symbol", "").strip()
        found = await visit.get("/api/contracts", {"q": symbol}) if symbol else None
        return visit.fragment("parts/contracts.html", found=found)


def _ids(form: Form) -> list[str]:
    """Of IBKR's questions that are allowed."""
    return form.text("confirm").replace(",", " ").split()


def wish_of(form: Form, *, broker: str) -> dict[str, Any]:
    """The body of POST /broker-order; what cannot be a number stays text, and the interface names the field."""
    kind = form.text("order_type", "market")
    wish: dict[str, Any] = {
        "broker": broker,
        "action": form.text("action"),
        "symbol": form.text("symbol").upper(),
        "qty": form.number("qty"),
        "order_type": kind,
        "time_in_force": form.text("time_in_force", "day"),
        "outside_rth": form.ticked("outside_rth"),
        "allow_duplicate": form.ticked("allow_duplicate"),
        "confirm": _ids(form),
    }
    if account_id := form.text("confirm_account").upper() or form.text("account_id"):
        wish["account_id"] = account_id
    if form.text("conid"):
        wish["conid"] = form.whole("conid")
    if kind in ("limit", "stop_limit"):
        wish["limit_price"] = form.number("limit_price")
    if kind in ("stop", "stop_limit"):
        wish["stop_price"] = form.number("stop_price")
    if form.text("instrument") == "option":
        wish |= {
            "expiry": form.text("expiry").replace("-", ""),
            "strike": form.number("strike"),
            "right": form.text("right"),
        }
    for name in ("take_profit", "stop_loss"):
        if form.text(name):
            wish[name] = form.number(name)
    return {name: value for name, value in wish.items() if value not in (None, [], False) or name == "qty"}


def _ticket(site: Site) -> None:
    @site.post("/orders/preview")
    async def preview(visit: Visit) -> Made:
        wish = wish_of(await visit.form(), broker=await _broker(visit))
        told = await visit.send("POST", "/broker-order/preview", wish)
        return visit.fragment(
            "parts/preview.html",
            told.status,
            told=told,
            drawing=draw(_legs(wish, told)),
            loss=_most_lost(wish, told),
        )

    @site.post("/orders")
    async def place(visit: Visit) -> Made:
        form = await visit.form()
        key = key_of(form)
        if faults := await _account_faults(visit, form):
            return await _page(visit, 422, typed=form.kept(), errors=faults, key=key)
        told = await visit.send("POST", "/broker-order", wish_of(form, broker=await _broker(visit)), key=key)
        if was_refused(told):
            return await _page(visit, 409, typed=form.kept(), earlier=_earlier("refused", told.data))
        if told.ok:
            return visit.go(_page_of(told.data["id"]))
        known = told.problem.get("details", {}).get("id")
        if is_busy(told) and known:
            return visit.go(_page_of(str(known)))
        earlier = await _in_the_way(visit, str(known or "")) if conflicts(told) else None
        return await _page(visit, told.status, typed=form.kept(), told=told, key=kept_key(key, told), earlier=earlier)


def _earlier(kind: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """What a form has sent already (`parts/earlier.html`)."""
    return {"kind": kind, "order": order, "address": _page_of(order["id"])}


async def _in_the_way(visit: Visit, order_id: str) -> dict[str, Any]:
    """The order that has this key."""
    found = await visit.get(f"/broker-order/{quote(order_id, safe='')}") if order_id else None
    if found is None or not found.ok:
        return {"kind": "conflict", "order": None, "address": "/orders"}
    return _earlier("conflict", found.data)


async def _account_faults(visit: Visit, form: Form) -> dict[str, str]:
    """Of several accounts one is chosen. Of what is not known to be paper it is typed, and the order goes there."""
    chosen, typed = form.text("account_id"), form.text("confirm_account").upper()
    if form.ticked("account_id") and not chosen:
        return {"account_id": text("ticket.account_missing")}
    if chosen and typed and typed != chosen.upper():
        return {"confirm_account": text("ticket.account_other")}
    known = pill_of(await visit.state()).environment in ("paper", "simulated")
    return {} if known or typed else {"confirm_account": text("ticket.confirm_missing")}


async def _broker(visit: Visit) -> str:
    """The one by default, as the connection's status tells it."""
    return str((await visit.state()).get("provider") or "ibkr")


def _legs(wish: dict[str, Any], told: Told) -> list[PayoffLeg]:
    """None where the price of what is ordered is not known, or how much of the underlying one contract is."""
    price, strike, qty = (wish.get(name) for name in ("limit_price", "strike", "qty"))
    units = told.data.get("multiplier") if told.ok else None
    known = isinstance(price, Decimal) and isinstance(strike, Decimal) and isinstance(qty, Decimal)
    if wish.get("right") not in ("P", "C") or not known or units is None:
        return []
    sign = 1 if wish["action"] == "buy" else -1
    return [
        PayoffLeg(
            right=wish["right"],
            strike=Decimal(str(strike)),
            quantity=sign * Decimal(str(qty)),
            price=Decimal(str(price)),
            multiplier=Decimal(units),
        )
    ]


def _most_lost(wish: dict[str, Any], told: Told) -> Decimal | str | None:
    """Of the order by itself, whatever is held: `unlimited` where nothing bounds it, None where it is not known.

    A stop bounds nothing: it becomes a market order, which may fill anywhere (docs/guarantee.md). Of shares that are
    sold it depends on whether they are held, which the preview does not tell.
    """
    if not told.ok:
        return None
    if wish["action"] == "buy":
        amount = told.data.get("amount")
        return None if amount is None else Decimal(amount)
    if wish.get("right") == "C":
        return "unlimited"
    legs = _legs(wish, told)
    return -legs[0].at(Decimal(0)) if legs else None


def _page_of(order_id: str) -> str:
    return f"/orders/{quote(order_id, safe='')}"


def _of_order(visit: Visit) -> str:
    """Where the interface has the order of the page."""
    return f"/broker-order/{quote(visit.part('order_id'), safe='')}"


def _one_order(site: Site) -> None:
    async def shown(
        visit: Visit, status: int = 200, told: Told | None = None, typed: Any = None, key: str = ""
    ) -> Made:
        return await visit.page(
            "order.html",
            status,
            order=await visit.need(_of_order(visit)),
            timeline=await visit.get(f"{_of_order(visit)}/timeline"),
            problem={} if told is None else told.problem,
            errors={} if told is None else told.field_errors,
            typed=typed or {},
            key=key or visit.site.key(),
            **await asked_at(visit, _page_of(visit.part("order_id"))),
        )

    @site.get("/orders/{order_id:str}")
    async def order(visit: Visit) -> Made:
        return await shown(visit)

    @site.get("/_order/{order_id:str}", used=False)
    async def renewed(visit: Visit) -> Made:
        told = await visit.need(_of_order(visit))
        timeline = await visit.get(f"{_of_order(visit)}/timeline")
        return visit.fragment("parts/order.html", order=told, timeline=timeline)

    @site.post("/orders/{order_id:str}/cancel")
    async def cancel(visit: Visit) -> Made:
        told = await visit.send("DELETE", _of_order(visit))
        return visit.go(_page_of(visit.part("order_id"))) if told.ok else await shown(visit, told.status, told)

    @site.post("/orders/{order_id:str}/change")
    async def change(visit: Visit) -> Made:
        form = await visit.form()
        given = {name: form.number(name) for name in ("qty", "limit_price", "stop_price")}
        body: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if allowed := _ids(form):
            body["confirm"] = allowed
        told = await visit.send("PATCH", _of_order(visit), body, key=form.text("key"))
        if told.ok:
            return visit.go(_page_of(visit.part("order_id")))
        # A change says what shall be, so a second one doubles nothing: a key that was used for another is left behind.
        key = "" if conflicts(told) else kept_key(form.text("key"), told)
        return await shown(visit, told.status, told, form.kept(), key)
