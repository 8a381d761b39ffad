"""The portfolios: all of them, one with its worth, accounts, holdings and charts, and what is edited of it.

Requirements UI-08, UI-09, SYN-11, SYN-17, FUT-05. Accounts have pages of their own (`account_pages`), and so do
transactions and differences (`ledger_pages`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from ibkit.service.web.inside import Told
from ibkit.service.web.portfolio_views import (
    GROUPINGS,
    PERIODS,
    account_address,
    bars,
    chart_of,
    groups_of,
    known_worth,
    listens_to,
    missing_of,
    period_start,
    portfolio_address,
    prices_of,
    rows_of,
    security_form,
)
from ibkit.service.web.site import Made, Site, Visit

__all__ = ["KINDS", "api", "keeps", "open_differences", "portfolio_of", "portfolio_pages"]

KINDS: Final = (
    *("stock", "etf", "option", "future", "future-option", "bond", "fund", "cash", "forex", "crypto"),
    *("warrant", "cfd", "index", "commodity", "other"),
)
FILES: Final = ("json", "yaml", "csv", "beancount", "portfolio-performance")
_MOST_WORTHS: Final = 12
"""Portfolios of a list whose worth is worked out."""


def portfolio_pages(site: Site) -> None:
    _listed(site)
    _one(site)
    _edited(site)
    _securities(site)


def api(visit: Visit, tail: str = "") -> str:
    """Where our own interface tells of this visit's portfolio."""
    found = f"/portfolio/{quote(visit.part('portfolio_id'), safe='')}"
    return f"{found}/{tail}" if tail else found


def keeps(visit: Visit) -> bool:
    """Whether this visitor may change portfolios, so that a page offers it; the interface decides."""
    me = visit.me
    return me is not None and me.role != "viewer" and any(scope != "read" for scope in me.scopes)


async def portfolio_of(visit: Visit) -> Mapping[str, Any]:
    found: Mapping[str, Any] = await visit.need(api(visit))
    return found


async def open_differences(visit: Visit) -> int:
    """How many wait in the inbox; zero where it cannot be told, which the inbox itself tells then."""
    told = await visit.get(api(visit, "inbox"))
    return sum(each["state"] == "open" for each in told.data["differences"]) if told.ok else 0


# -- all --------------------------------------------------------------------------------------------------------------


def _listed(site: Site) -> None:
    @site.get("/portfolios")
    async def listed(visit: Visit) -> Made:
        return await _list(visit)

    @site.post("/portfolios")
    async def create(visit: Visit) -> Made:
        form = await visit.form()
        body = {"name": form.text("name"), "currency": form.text("currency") or "USD"}
        told = await visit.send("POST", "/portfolio", body)
        if told.ok:
            return visit.go(portfolio_address(told.data["id"]))
        return await _list(visit, told, typed=form.kept())


async def _list(visit: Visit, failed: Told | None = None, *, typed: Mapping[str, str] | None = None) -> Made:
    portfolios = []
    for number, each in enumerate((await visit.need("/portfolio"))["portfolios"]):
        figures = await visit.get(f"/portfolio/{each['id']}/analytics") if number < _MOST_WORTHS else None
        worth, whole = known_worth(figures.data) if figures is not None and figures.ok else (None, True)
        day = figures.data["day_pnl"] if figures is not None and figures.ok else None
        portfolios.append({**each, "href": portfolio_address(each["id"]), "worth": worth, "whole": whole, "day": day})
    return await visit.page(
        "portfolio/list.html",
        200 if failed is None else failed.status,
        portfolios=portfolios,
        keeps=keeps(visit),
        typed=typed or {},
        errors={} if failed is None else failed.field_errors,
        problem={} if failed is None else failed.problem,
    )


# -- one --------------------------------------------------------------------------------------------------------------


def _one(site: Site) -> None:
    @site.get("/portfolios/{portfolio_id:str}")
    async def overview(visit: Visit) -> Made:
        return await _overview(visit)

    @site.get("/portfolios/{portfolio_id:str}/_prices", used=False)
    async def prices(visit: Visit) -> Made:
        """As they are synced, asked by the clock where no stream tells them."""
        return visit.data(prices_of(await portfolio_of(visit)))

    @site.post("/portfolios/{portfolio_id:str}/accounts")
    async def add(visit: Visit) -> Made:
        form = await visit.form()
        body = {"name": form.text("name"), "version": form.whole("version")}
        told = await visit.send("POST", api(visit, "accounts"), body)
        if told.ok:
            name = told.data["accounts"][-1]["name"]
            return visit.go(account_address(told.data["id"], name, "edit"))
        return await _overview(visit, told, typed=form.kept())


async def _overview(visit: Visit, failed: Told | None = None, *, typed: Mapping[str, str] | None = None) -> Made:
    portfolio = await portfolio_of(visit)
    period = _chosen(visit, "period", PERIODS, "all")
    grouping = _chosen(visit, "group", GROUPINGS, "account")
    today = visit.site.clock.now().date()
    figures = await visit.get(api(visit, "analytics"), {"from": period_start(period, today)})
    told = figures.data if figures.ok else None
    slices = [] if told is None else told[f"by_{grouping}"]
    rows = rows_of(portfolio, rates={} if told is None else {each["currency"]: each["rate"] for each in told["rates"]})
    worth, whole = (None, True) if told is None else known_worth(told)
    return await visit.page(
        "portfolio/overview.html",
        200 if failed is None else failed.status,
        portfolio=portfolio,
        accounts=[_account(portfolio, each, told) for each in portfolio["accounts"]],
        figures=told,
        missing=[] if told is None else missing_of(told),
        figures_problem={} if figures.ok else figures.problem,
        worth=worth,
        whole=whole,
        groups=groups_of(rows, grouping, slices),
        grouping=grouping,
        groupings=GROUPINGS,
        allocation=_allocation(told),
        chart=None if told is None else chart_of(told["performance"]),
        period=period,
        periods=PERIODS,
        listens=listens_to(rows),
        differences=await open_differences(visit),
        files=FILES,
        today=today,
        **_common(visit, portfolio, failed, typed),
    )


def _common(
    visit: Visit, portfolio: Mapping[str, Any], failed: Told | None, typed: Mapping[str, str] | None
) -> dict[str, Any]:
    return {
        "here": portfolio_address(portfolio["id"]),
        "keeps": keeps(visit),
        "typed": typed or {},
        "errors": {} if failed is None else failed.field_errors,
        "problem": {} if failed is None else failed.problem,
    }


def _chosen(visit: Visit, name: str, known: tuple[str, ...], default: str) -> str:
    found = visit.query.get(name, default)
    return found if found in known else default


def _account(
    portfolio: Mapping[str, Any], account: Mapping[str, Any], figures: Mapping[str, Any] | None
) -> dict[str, Any]:
    """net: what its holdings are worth in the portfolio's currency, None where nobody told."""
    slices = [] if figures is None else figures["by_account"]
    net = next((each["net"] for each in slices if each["name"] == account["name"]), None)
    address = account_address(portfolio["id"], account["name"])
    return {**account, "href": address, "edit": f"{address}/edit", "net": net}


def _allocation(figures: Mapping[str, Any] | None) -> list[tuple[str, list[dict[str, Any]]]]:
    if figures is None:
        return []
    found = [(name, bars(figures[f"by_{name}"])) for name in ("type", "currency", "sector", "account")]
    return [(name, these) for name, these in found if these]


# -- what is edited ---------------------------------------------------------------------------------------------------


def _edited(site: Site) -> None:
    @site.get("/portfolios/{portfolio_id:str}/edit")
    async def edit(visit: Visit) -> Made:
        return await _edit(visit)

    @site.post("/portfolios/{portfolio_id:str}/edit")
    async def change(visit: Visit) -> Made:
        form = await visit.form()
        body = {"name": form.text("name"), "currency": form.text("currency"), "version": form.whole("version")}
        told = await visit.send("PUT", api(visit), body)
        if told.ok:
            return visit.go(portfolio_address(told.data["id"]))
        return await _edit(visit, told, typed=form.kept())

    @site.post("/portfolios/{portfolio_id:str}/delete")
    async def delete(visit: Visit) -> Made:
        told = await visit.send("DELETE", api(visit))
        return visit.go("/portfolios") if told.ok else await _edit(visit, told)


async def _edit(visit: Visit, failed: Told | None = None, *, typed: Mapping[str, str] | None = None) -> Made:
    portfolio = await portfolio_of(visit)
    return await visit.page(
        "portfolio/edit.html",
        200 if failed is None else failed.status,
        portfolio=portfolio,
        differences=await open_differences(visit),
        **_common(visit, portfolio, failed, typed),
    )


def _securities(site: Site) -> None:
    """What the user keeps of each thing they hold: name, type, tags, and a price where no broker tells one."""

    @site.get("/portfolios/{portfolio_id:str}/securities")
    async def listed(visit: Visit) -> Made:
        return await _list_of_securities(visit)

    @site.post("/portfolios/{portfolio_id:str}/securities")
    async def change(visit: Visit) -> Made:
        """One security; the others are sent back as they are. Of two editors the second is told (`version`)."""
        form = await visit.form()
        portfolio = await portfolio_of(visit)
        wanted = {
            "symbol": form.text("symbol"),
            "name": form.text("name"),
            "type": form.text("type"),
            "currency": form.text("currency"),
            "tags": [each.strip() for each in form.text("tags").split(",") if each.strip()],
            "unit_price": form.number("unit_price"),
            "conid": form.whole("conid"),
        }
        old = [security_form(each) for each in portfolio["securities"]]
        others = [each for each in old if (each["symbol"], each["conid"]) != (wanted["symbol"], wanted["conid"])]
        securities = others if form.text("do") == "remove" else [*others, wanted]
        body = {
            "name": portfolio["name"],
            "currency": portfolio["currency"],
            "securities": securities,
            "version": form.whole("version"),
        }
        told = await visit.send("PUT", api(visit), body)
        if told.ok:
            return visit.go(f"{portfolio_address(portfolio['id'])}/securities")
        return await _list_of_securities(visit, told, typed=form.kept())


async def _list_of_securities(
    visit: Visit, failed: Told | None = None, *, typed: Mapping[str, str] | None = None
) -> Made:
    portfolio = await portfolio_of(visit)
    held = {each["symbol"] for account in portfolio["accounts"] for each in account["holdings"]}
    known = {each["symbol"] for each in portfolio["securities"]}
    common = _common(visit, portfolio, failed, typed)
    chosen = visit.query.get("symbol", "")
    conid = visit.query.get("conid", "")
    found = next(
        (each for each in portfolio["securities"] if (each["symbol"], str(each["conid"] or "")) == (chosen, conid)),
        None,
    )
    if found is not None and failed is None:
        common["typed"] = {**found, "tags": ", ".join(found["tags"])}
    elif chosen and failed is None:
        common["typed"] = {"symbol": chosen}
    common["errors"] = {_field_of(name): why for name, why in common["errors"].items()}
    return await visit.page(
        "portfolio/securities.html",
        200 if failed is None else failed.status,
        portfolio=portfolio,
        unknown=sorted(held - known),
        held=held,
        kinds=KINDS,
        differences=await open_differences(visit),
        **common,
    )


def _field_of(name: str) -> str:
    """`securities.GOLD.unit_price` is the field `unit_price`."""
    return name.rpartition(".")[2] if name.startswith("securities.") else name
