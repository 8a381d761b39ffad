"""An account of a portfolio: what it holds, what connects it to IBKR, and what is edited of it.

The part `portfolio/account_body.html` (connection and holdings) is shown by the page and put in place anew by a sync.
Requirements UI-08, UI-09, SYN-04 to SYN-06, SYN-11, SYN-13, SYN-14.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibkit.service.portfolio_routes import account_name
from ibkit.service.web.inside import Told
from ibkit.service.web.portfolio_pages import keeps, open_differences, portfolio_of
from ibkit.service.web.portfolio_views import account_address, listens_to, portfolio_address, rows_of
from ibkit.service.web.reading import Form
from ibkit.service.web.site import Made, Site, Visit

__all__ = ["account_pages"]

AT = "/portfolios/{portfolio_id:str}/accounts/{name:str}"
NEW_ROWS = 3


def account_pages(site: Site) -> None:
    _shown(site)
    _edited(site)
    _connecting(site)
    _syncing(site)


def _api(visit: Visit, tail: str = "") -> str:
    return account_address(visit.part("portfolio_id"), account_name(visit.request), tail, inside=True)


def _address(visit: Visit, tail: str = "") -> str:
    return account_address(visit.part("portfolio_id"), account_name(visit.request), tail)


# -- the page ---------------------------------------------------------------------------------------------------------


def _shown(site: Site) -> None:
    @site.get(AT)
    async def show(visit: Visit) -> Made:
        return await _page(visit, editing=False)

    @site.get(f"{AT}/edit")
    async def edit(visit: Visit) -> Made:
        return await _page(visit, editing=True)


async def _page(
    visit: Visit,
    failed: Told | None = None,
    *,
    editing: bool,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> Made:
    values = await _values(visit, editing=editing)
    flex = await visit.get(_api(visit, "flex"))
    told = {} if failed is None else failed.field_errors
    return await visit.page(
        "portfolio/account_edit.html" if editing else "portfolio/account.html",
        200 if failed is None else failed.status,
        flex=flex.data if flex.ok else None,
        differences=await open_differences(visit),
        problem={} if failed is None else failed.problem,
        **{**values, "typed": typed or {}, "errors": told if errors is None else errors},
    )


async def _values(visit: Visit, *, editing: bool) -> dict[str, Any]:
    """What the page and its part need."""
    portfolio = await portfolio_of(visit)
    account = await visit.need(_api(visit))
    rows = rows_of(portfolio, [account])
    return {
        "portfolio": portfolio,
        "account": account,
        "connection": account["connection"],
        "rows": rows,
        "listens": listens_to(rows),
        "here": portfolio_address(portfolio["id"]),
        "at": account_address(portfolio["id"], account["name"]),
        "inside": account_address(portfolio["id"], account["name"], inside=True),
        "keeps": keeps(visit),
        "editing": editing,
        "blank": range(NEW_ROWS),
        "told": "",
        "sync_problem": {},
        "typed": {},
        "errors": {},
    }


# -- what is edited ---------------------------------------------------------------------------------------------------


def _edited(site: Site) -> None:
    @site.post(f"{AT}/edit")
    async def rename(visit: Visit) -> Made:
        form = await visit.form()
        name = form.text("name")
        told = await visit.send("PUT", _api(visit), {"name": name, "version": form.whole("version")})
        if told.ok:
            return visit.go(account_address(told.data["id"], name))
        return await _page(visit, told, editing=True, typed=form.kept())

    @site.post(f"{AT}/holdings")
    async def write(visit: Visit) -> Made:
        form = await visit.form()
        account = await visit.need(_api(visit))
        holdings, endings = _holdings(form, account["holdings"])
        told = await visit.send("PUT", _api(visit), {"holdings": holdings, "version": form.whole("version")})
        if told.ok:
            return visit.go(_address(visit, "edit"))
        typed = form.kept()
        if told.status == 409:  # the rows are others by now, new ones are what they were
            typed = {name: value for name, value in typed.items() if "-new-" in name}
        errors = _placed(told.field_errors, endings)
        return await _page(visit, told, editing=True, typed=typed, errors=errors)

    @site.post(f"{AT}/delete")
    async def delete(visit: Visit) -> Made:
        told = await visit.send("DELETE", _api(visit))
        if told.ok:
            return visit.go(portfolio_address(visit.part("portfolio_id")))
        return await _page(visit, told, editing=True)

    @site.post(f"{AT}/restore")
    async def restore(visit: Visit) -> Made:
        told = await visit.send("POST", _api(visit, "restore"))
        return visit.go(_address(visit, "edit")) if told.ok else await _page(visit, told, editing=True)


def _holdings(form: Form, there: list[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of before as their fields say, by their numbers at the version that was seen, and the new ones.

    And the ending of each one's fields on the page.
    """
    found: list[dict[str, Any]] = []
    endings: list[str] = []
    for number, each in enumerate(there):
        if form.ticked(f"remove-{number}"):
            continue
        units = form.number(f"units-{number}") if form.ticked(f"units-{number}") else each["units"]
        found.append({"symbol": each["symbol"], "units": units, "currency": each["currency"], "conid": each["conid"]})
        endings.append(str(number))
    for number in range(NEW_ROWS):
        symbol, units = form.text(f"symbol-new-{number}"), form.number(f"units-new-{number}")
        if symbol or units is not None:
            found.append({"symbol": symbol, "units": units, "currency": form.optional(f"currency-new-{number}")})
            endings.append(f"new-{number}")
    written = [{name: value for name, value in each.items() if value is not None or name == "units"} for each in found]
    return written, endings


def _placed(errors: Mapping[str, str], endings: list[str]) -> dict[str, str]:
    """`holdings: … at $[2].units` beside the field of that row; what names no row beside all of them."""
    found: dict[str, str] = {}
    for name, why in errors.items():
        words, _, place = why.partition(" - at $[")
        number, _, field = place.partition("].")
        if name == "holdings" and number.isdigit() and int(number) < len(endings) and field:
            found[f"{field}-{endings[int(number)]}"] = words
        else:
            found["holdings" if ".holdings" in name else name] = why
    return found


# -- connecting -------------------------------------------------------------------------------------------------------


def _connecting(site: Site) -> None:
    @site.get(f"{AT}/connect")
    async def look(visit: Visit) -> Made:
        """The dialog's inside: the connection is tested now; accounts to choose from, or why there are none."""
        return await _dialog(visit)

    @site.post(f"{AT}/connect/ibkr")
    async def connect(visit: Visit) -> Made:
        form = await visit.form()
        account_id, _, named = form.text("account_id").partition("@")
        connection_id = named or form.text(f"connection-{account_id}")
        body: dict[str, Any] = {
            "account_id": account_id,
            "username": form.text("username"),
            "sync_enabled": form.ticked("sync_enabled"),
            "keep_manual": form.ticked("keep_manual"),
        }
        if connection_id:
            body["connection_id"] = connection_id
        told = await visit.send("POST", _api(visit, "connect/ibkr"), body)
        if told.ok:
            return visit.go(_address(visit, "edit" if form.text("back") == "edit" else ""))
        if visit.by_script:
            return await _dialog(visit, told, typed=form.kept())
        return await _page(visit, told, editing=True)


async def _dialog(visit: Visit, failed: Told | None = None, *, typed: Mapping[str, str] | None = None) -> Made:
    test = await visit.need("/ibkr/test-connection")
    result = test["connection_test"]
    accounts = await visit.get("/ibkr/accounts") if result["success"] else None
    if accounts is not None and not accounts.ok:
        result = {**result, "success": False, "error": accounts.problem["message"]}
        result["remedy"] = accounts.problem["remedy"]
    return visit.fragment(
        "portfolio/connect.html",
        200,
        result=result,
        accounts=accounts.data["accounts"] if accounts is not None and accounts.ok else [],
        others=accounts.data["problems"] if accounts is not None and accounts.ok else [],
        at=_address(visit),
        back=visit.query.get("back", (typed or {}).get("back", "")),
        portfolio_id=visit.part("portfolio_id"),
        typed=typed or {},
        errors={} if failed is None else failed.field_errors,
        problem={} if failed is None else failed.problem,
    )


# -- syncing ----------------------------------------------------------------------------------------------------------


def _syncing(site: Site) -> None:
    @site.get(f"{AT}/body")
    async def body(visit: Visit) -> Made:
        """The part anew, while a sync of another runs."""
        return visit.fragment("portfolio/account_body.html", **await _values(visit, editing=_editing(visit.query)))

    @site.post(f"{AT}/sync")
    async def sync(visit: Visit) -> Made:
        form = await visit.form()
        editing = form.text("back") == "edit"
        told = await visit.send("POST", _api(visit, "sync"))
        if not visit.by_script:
            return (
                visit.go(_address(visit, "edit" if editing else ""))
                if told.ok
                else await _page(visit, told, editing=editing)
            )
        values = await _values(visit, editing=editing)
        if told.ok:
            values["told"] = told.data["message"]
        else:
            values["sync_problem"] = told.problem
        return visit.fragment("portfolio/account_body.html", **values)

    @site.post(f"{AT}/disconnect")
    async def disconnect(visit: Visit) -> Made:
        told = await visit.send("POST", _api(visit, "disconnect"))
        return visit.go(_address(visit, "edit")) if told.ok else await _page(visit, told, editing=True)

    @site.post(f"{AT}/flex/fetch")
    async def fetch(visit: Visit) -> Made:
        told = await visit.send("POST", _api(visit, "flex/fetch"))
        return visit.go(_address(visit)) if told.ok else await _page(visit, told, editing=False)


def _editing(query: Mapping[str, str]) -> bool:
    return query.get("back") == "edit"
