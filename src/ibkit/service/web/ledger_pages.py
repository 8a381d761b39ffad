"""What happened in a portfolio's accounts, the rows that told it, and where the books differ. Requirement FUT-08."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote, urlencode

from ibkit.service.web.inside import Told
from ibkit.service.web.portfolio_pages import api, keeps, open_differences, portfolio_of
from ibkit.service.web.portfolio_views import account_address, portfolio_address, row_address
from ibkit.service.web.site import Made, Site, Visit

__all__ = ["ledger_pages"]

AT: Final = "/portfolios/{portfolio_id:str}"
PAGE: Final = 50


def ledger_pages(site: Site) -> None:
    _transactions(site)
    _lots(site)
    _raw(site)
    _inbox(site)


# -- what happened ----------------------------------------------------------------------------------------------------


def _transactions(site: Site) -> None:
    @site.get(f"{AT}/transactions")
    async def transactions(visit: Visit) -> Made:
        portfolio, account, filters = await _asked(visit)
        offset = _whole(visit.query.get("offset", "0"))
        told = await _told(visit, account, "transactions", {**filters, "limit": PAGE, "offset": offset})
        rows = [] if told is None or not told.ok else told.data["transactions"]
        after = told.data["next"] if told is not None and told.ok else None
        return await _page(
            visit,
            "portfolio/transactions.html",
            told,
            portfolio=portfolio,
            account=account,
            filters=filters,
            transactions=[{**each, "href": row_address(portfolio["id"], each["source"])} for each in rows],
            offset=offset,
            after=_with(visit, offset=after) if after is not None else "",
            before=_with(visit, offset=max(0, offset - PAGE)) if offset else "",
        )


def _lots(site: Site) -> None:
    @site.get(f"{AT}/lots")
    async def lots(visit: Visit) -> Made:
        portfolio, account, filters = await _asked(visit)
        told = await _told(visit, account, "lots", {"as_of": filters["as_of"]})
        nothing: dict[str, Any] = {"open": [], "closed": [], "lot_order": ""}
        found = told.data if told is not None and told.ok else nothing
        sides = {
            side: [{**each, "href": row_address(portfolio["id"], each["source"])} for each in found[side]]
            for side in ("open", "closed")
        }
        return await _page(
            visit,
            "portfolio/lots.html",
            told,
            portfolio=portfolio,
            account=account,
            filters=filters,
            lots=sides["open"],
            closed=list(reversed(sides["closed"])),
            realized=_sums(sides["closed"]),
            lot_order=found["lot_order"],
        )

    @site.get(f"{AT}/income")
    async def income(visit: Visit) -> Made:
        portfolio, account, filters = await _asked(visit)
        told = await _told(visit, account, "income", {name: filters[name] for name in ("from", "to", "as_of")})
        nothing: dict[str, Any] = {"income": [], "commissions": {}, "realized": {}}
        found = told.data if told is not None and told.ok else nothing
        rows = [
            {**each, "rows": [row_address(portfolio["id"], source) for source in each["sources"]]}
            for each in found["income"]
        ]
        return await _page(
            visit,
            "portfolio/income.html",
            told,
            portfolio=portfolio,
            account=account,
            filters=filters,
            income=rows,
            commissions=found["commissions"],
            realized=found["realized"],
        )


async def _asked(visit: Visit) -> tuple[Mapping[str, Any], str, dict[str, str]]:
    """The portfolio, the account looked at (the first connected one, if none is named), and the filters."""
    portfolio = await portfolio_of(visit)
    names = [each["name"] for each in portfolio["accounts"]]
    linked = [each["name"] for each in portfolio["accounts"] if each["connection"] is not None]
    account = visit.query.get("account") or next(iter([*linked, *names]), "")
    return portfolio, account, {name: visit.query.get(name, "") for name in ("from", "to", "as_of")}


async def _told(visit: Visit, account: str, tail: str, query: Mapping[str, Any]) -> Told | None:
    """None where the portfolio has no account yet."""
    return await visit.get(api(visit, tail), {"account": account, **query}) if account else None


async def _page(visit: Visit, template: str, told: Told | None, **values: Any) -> Made:
    portfolio = values["portfolio"]
    failed = told is not None and not told.ok
    return await visit.page(
        template,
        told.status if failed and told is not None else 200,
        here=portfolio_address(portfolio["id"]),
        at=account_address(portfolio["id"], values["account"]) if values["account"] else "",
        names=[each["name"] for each in portfolio["accounts"]],
        keeps=keeps(visit),
        differences=await open_differences(visit),
        problem=told.problem if failed and told is not None else {},
        errors=told.field_errors if failed and told is not None else {},
        **values,
    )


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _with(visit: Visit, **changes: Any) -> str:
    """The same page with other filters."""
    return "?" + urlencode({**visit.query, **changes})


def _sums(closed: list[dict[str, Any]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for each in closed:
        found[each["currency"]] = found.get(each["currency"], Decimal(0)) + each["realized"]
    return found


# -- rows as they came ------------------------------------------------------------------------------------------------


def _raw(site: Site) -> None:
    @site.get(f"{AT}/raw/{{digest:str}}")
    async def row(visit: Visit) -> Made:
        portfolio = await portfolio_of(visit)
        payload = api(visit, f"raw/{quote(visit.part('digest'), safe='')}")
        query = {name: visit.query.get(name, "") for name in ("statement", "section", "row")}
        found = await visit.need(f"{payload}/row", query)
        return await visit.page(
            "portfolio/raw.html",
            portfolio=portfolio,
            here=portfolio_address(portfolio["id"]),
            keeps=keeps(visit),
            differences=await open_differences(visit),
            found=found,
            payload=payload,
        )


# -- differences ------------------------------------------------------------------------------------------------------


def _inbox(site: Site) -> None:
    @site.get(f"{AT}/inbox")
    async def inbox(visit: Visit) -> Made:
        return await _list(visit)

    @site.post(f"{AT}/inbox/{{item_id:str}}/accept")
    async def accept(visit: Visit) -> Made:
        form = await visit.form()
        return await _settled(visit, "accept", {"note": form.text("note")})

    @site.post(f"{AT}/inbox/{{item_id:str}}/fix")
    async def fix(visit: Visit) -> Made:
        form = await visit.form()
        body: dict[str, Any] = {"note": form.text("note"), "adjust": form.text("adjust") == "yes"}
        if form.text("cost"):
            body["cost"] = form.number("cost")
        return await _settled(visit, "fix", body)


async def _settled(visit: Visit, how: str, body: Mapping[str, Any]) -> Made:
    form = await visit.form()
    item = visit.part("item_id")
    path = api(visit, f"inbox/{quote(item, safe='')}/{how}")
    told = await visit.send("POST", path, body, query={"account": form.text("account")})
    if told.ok:
        return visit.go(f"{portfolio_address(visit.part('portfolio_id'))}/inbox")
    return await _list(visit, told, item=item, typed=form.kept())


async def _list(
    visit: Visit, failed: Told | None = None, *, item: str = "", typed: Mapping[str, str] | None = None
) -> Made:
    portfolio = await portfolio_of(visit)
    found = (await visit.need(api(visit, "inbox")))["differences"]
    here = portfolio_address(portfolio["id"])
    for each in found:
        each["href"] = account_address(portfolio["id"], each["account"])
    waiting = [each for each in found if each["state"] == "open"]
    return await visit.page(
        "portfolio/inbox.html",
        200 if failed is None else failed.status,
        portfolio=portfolio,
        here=here,
        keeps=keeps(visit),
        waiting=waiting,
        settled=[each for each in found if each["state"] != "open"],
        differences=len(waiting),
        item=item,
        typed=typed or {},
        errors={} if failed is None else failed.field_errors,
        problem={} if failed is None else failed.problem,
    )
