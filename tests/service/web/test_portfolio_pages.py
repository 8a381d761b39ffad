"""The pages of portfolios: what they show is the interface's, what is wrong stands beside its field, no name runs."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from desks import Desk
from ibkit.portfolio.analytics.figures import Missing
from ibkit.portfolio.reconciling import Against, Cause, Figure, Fix
from ibkit.portfolio.transactions import ActionKind, Ending, Origin, PaymentKind
from ibkit.service.web.catalogue import catalogue
from ibkit.service.web.formats import money
from ibkit.service.web.portfolio_views import (
    account_address,
    bars,
    known_worth,
    listens_to,
    missing_of,
    prices_of,
    row_address,
    rows_of,
)
from ibkit.store.inbox import InboxState
from ibkit.users import Role
from ledger_lives import body_of, trade
from service_people import Caller, Person, ServedPeople, served_people

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
EVIL = 'a/b 50% "><script>alert(1)</script> ü\U0001f680'


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPeople]:
    with served_people(tmp_path_factory.mktemp("portfolio-pages"), mock=True) as found:
        yield found


@pytest.fixture(scope="module")
def keeper(people: ServedPeople) -> Person:
    return people.person()


@pytest.fixture(scope="module")
def browser(people: ServedPeople, keeper: Person) -> Caller:
    return people.caller().at_browser(people.caller().sign_in(keeper.user.name, browser=True))


def send(browser: Caller, path: str, **fields: str) -> Any:
    body = {
        "csrf": browser.auth["X-CSRF-Token"],
        **{name.replace("_new", "-new"): each for name, each in fields.items()},
    }
    return browser.ask("POST", path, raw=urlencode(body).encode(), headers=FORM)


def page(browser: Caller, path: str) -> str:
    answer = browser.ask("GET", path)
    assert answer.status == 200, (path, answer.raw[-600:])
    return str(answer.raw.decode())


def made(keeper: Person, *accounts: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = keeper.ask("POST", "/portfolio", {"name": "Savings", "accounts": list(accounts), **more})
    assert answer.status == 201, answer.raw
    return dict(answer.json)


@pytest.mark.requirement("UI-08")
@pytest.mark.requirement("UI-16")
def test_names_with_slashes_and_scripts_survive_and_never_run(browser: Caller, keeper: Person) -> None:
    went = send(browser, "/portfolios", name=EVIL, currency="usd")
    assert went.status == 303, went.raw
    portfolio_id = went.headers["location"].rpartition("/")[2]
    added = send(browser, f"/portfolios/{portfolio_id}/accounts", name=EVIL)
    assert added.headers["location"] == account_address(portfolio_id, EVIL, "edit")
    at = account_address(portfolio_id, EVIL)
    assert keeper.ask("GET", account_address(portfolio_id, EVIL, inside=True)).json["name"] == EVIL
    paths = ["/portfolios", f"/portfolios/{portfolio_id}", at, f"{at}/edit"]
    paths += [
        f"/portfolios/{portfolio_id}/{tail}"
        for tail in ("securities", "transactions", "lots", "income", "inbox", "edit")
    ]
    for path in paths:
        shown = page(browser, path)
        assert "<script>alert" not in shown, path
        assert html.escape(EVIL, quote=True).replace("&quot;", "&#34;") in shown.replace("&quot;", "&#34;"), path


@pytest.mark.requirement("UI-09")
@pytest.mark.requirement("SYN-11")
def test_an_account_is_connected_synced_and_disconnected_and_shows_what_the_interface_tells(
    browser: Caller, keeper: Person
) -> None:
    portfolio = made(keeper, {"name": "IRA"}, {"name": "Home", "holdings": [{"symbol": "GOLD", "units": 3}]})
    at, inside = (account_address(portfolio["id"], "IRA", inside=each) for each in (False, True))
    manual = page(browser, f"{at}/edit")
    assert 'data-testid="connect-ibkr"' in manual
    for name in ("ibkr-badge", "sync-button", "disconnect-button", "last-sync", "sync-status"):
        assert f'data-testid="{name}"' not in manual
    dialog = page(browser, f"{at}/connect")
    (account_id,) = re.findall(r'<option value="([A-Z0-9]+)"', dialog)
    assert re.search(r'data-testid="connect-account" disabled', dialog)
    wrong = send(browser, f"{at}/connect/ibkr", account_id="U0000000", username="")
    assert wrong.status == 422
    assert account_id in wrong.raw.decode()
    assert send(browser, f"{at}/connect/ibkr", account_id=account_id, username="").status == 303
    told = keeper.ask("GET", inside).json
    assert (told["connection"]["account_id"], told["connection"]["sync_status"]) == (account_id, "success")
    shown = page(browser, at)
    assert re.search(r'data-testid="sync-status" data-status="success"', shown)
    assert f'<time datetime="{told["connection"]["last_sync"].replace("Z", "+00:00")}"' in shown
    for holding in told["holdings"]:
        assert holding["symbol"] in shown
        assert money(holding["market_value"]) in shown
    assert send(browser, f"{at}/sync").status == 303
    figures = keeper.ask("GET", f"/portfolio/{portfolio['id']}/analytics").json
    overview = page(browser, f"/portfolios/{portfolio['id']}")
    assert money(figures["by_account"][0]["net"]) in overview
    assert 'data-testid="account-edit"' in overview
    assert send(browser, f"{at}/disconnect").headers["location"] == f"{at}/edit"
    after = page(browser, f"{at}/edit")
    assert 'name="units-0"' in after
    assert 'data-testid="sync-button"' not in after
    left = keeper.ask("GET", inside).json
    assert [(each["symbol"], each["units"]) for each in left["holdings"]] == [
        (each["symbol"], each["units"]) for each in told["holdings"]
    ]


@pytest.mark.requirement("SYN-01")
def test_what_is_wrong_stands_beside_its_field_with_what_was_typed(browser: Caller, keeper: Person) -> None:
    named = send(browser, "/portfolios", name="", currency="nonsense")
    assert named.status == 422
    assert 'data-testid="fault-name"' in named.raw.decode()
    assert 'value="nonsense"' in named.raw.decode()
    portfolio = made(keeper, {"name": "IRA", "holdings": [{"symbol": "GOLD", "units": 3}]})
    at = account_address(portfolio["id"], "IRA")
    version = str(portfolio["version"])
    fields = {"version": version, "units-0": "4", "symbol-new-0": "X", "units-new-0": "many"}
    wrong = send(browser, f"{at}/holdings", **fields)
    assert wrong.status == 422
    assert re.search(r'name="units-new-0"[^>]*value="many" aria-invalid="true"', wrong.raw.decode())
    assert 'data-testid="fault-units-new-0"' in wrong.raw.decode()
    inside = account_address(portfolio["id"], "IRA", inside=True)
    assert keeper.ask("GET", inside).json["holdings"][0]["units"] == 3
    assert send(browser, f"{at}/holdings", **{**fields, "units-new-0": "-1.25"}).status == 303
    held = {each["symbol"]: each["units"] for each in keeper.ask("GET", inside).json["holdings"]}
    assert held == {"GOLD": 4, "X": -1.25}
    late = send(browser, f"{at}/holdings", **{"version": version, "remove-0": "on"})
    assert late.status == 409
    assert len(keeper.ask("GET", inside).json["holdings"]) == 2
    securities = f"/portfolios/{portfolio['id']}/securities"
    now = str(keeper.ask("GET", f"/portfolio/{portfolio['id']}").json["version"])
    priced = {"symbol": "GOLD", "type": "commodity", "currency": "USD", "unit_price": "2000.1", "version": now}
    assert send(browser, securities, **priced).status == 303
    assert money(4 * 2000.1) in page(browser, at)


@pytest.mark.requirement("VLT-08")
def test_a_viewer_sees_and_cannot_change_and_nobody_sees_anothers(people: ServedPeople, keeper: Person) -> None:
    viewer = people.person(Role.VIEWER)
    looks = people.caller().at_browser(people.caller().sign_in(viewer.user.name, browser=True))
    assert 'data-testid="create-portfolio"' not in page(looks, "/portfolios")
    refused = send(looks, "/portfolios", name="Mine")
    assert (refused.status, "E-FORBIDDEN" in refused.raw.decode()) == (403, True)
    portfolio = made(keeper, {"name": "IRA"})
    for path in (
        f"/portfolios/{portfolio['id']}",
        account_address(portfolio["id"], "IRA"),
        f"/portfolios/{portfolio['id']}/inbox",
    ):
        assert looks.ask("GET", path).status == 404, path


@pytest.mark.requirement("FUT-08")
def test_each_transaction_leads_to_its_row_and_differences_can_be_accepted(browser: Caller, keeper: Person) -> None:
    sim = Desk()
    trade(sim, 100)
    body = body_of(sim)
    portfolio = made(keeper, {"name": EVIL})
    inside = account_address(portfolio["id"], EVIL, "flex", inside=True)
    taken = browser.ask("POST", inside, raw=body, headers={"Content-Type": "application/xml"})
    assert taken.status == 200, taken.raw
    path = f"/portfolios/{portfolio['id']}"
    told = keeper.ask("GET", f"/portfolio/{portfolio['id']}/transactions?account={quote(EVIL)}").json["transactions"]
    shown = page(browser, f"{path}/transactions?account={quote(EVIL)}")
    for each in told:
        href = row_address(portfolio["id"], each["source"])
        assert html.escape(href) in shown
        assert 'data-testid="raw-row"' in page(browser, href)
    assert page(browser, f"{path}/transactions?to=2001-01-01").count('data-testid="no-transactions"') == 1
    wrong = browser.ask("GET", f"{path}/transactions?from=never")
    assert (wrong.status, b'data-testid="fault-from"' in wrong.raw) == (422, True)
    assert 'data-testid="open-lots"' in page(browser, f"{path}/lots")
    assert 'data-testid="inbox-empty"' in page(browser, f"{path}/inbox")
    assert browser.ask("GET", f"{path}/raw/{'0' * 64}").status == 404
    costly = re.sub(rb'costBasisMoney="[^"]*"', b'costBasisMoney="12345.5"', body)
    assert browser.ask("POST", inside, raw=costly, headers={"Content-Type": "application/xml"}).status == 200
    differing = page(browser, f"{path}/inbox")
    assert differing.count('data-testid="difference"') == 1
    assert f'<span class="tag">{catalogue()["portfolio.figure_is.cost"]}</span>' in differing
    assert 'data-testid="fix-difference"' in differing
    assert 'name="cost"' not in differing, "the statement tells it"


@pytest.mark.requirement("UI-16")
def test_every_word_of_the_books_has_its_text() -> None:
    kinds = [*PaymentKind, *ActionKind, *Ending]
    words = [f"kind.{each.value}" for each in kinds] + [
        f"kind.{each}" for each in ("trade", "cancellation", "transfer")
    ]
    words += [f"cause_is.{each.value}" for each in Cause] + [f"fix_is.{each.value}" for each in Fix]
    words += [f"fix_hint.{each.value}" for each in Fix] + [f"against.{each.value}" for each in Against]
    words += [f"figure_is.{each.value}" for each in Figure if each is not Figure.SIZE]
    words += [f"told_by.{each.name.lower()}" for each in Origin]
    words += [f"state_is.{each.value}" for each in InboxState if each is not InboxState.OPEN]
    assert [each for each in words if f"portfolio.{each}" not in catalogue()] == []


def test_a_part_of_the_worth_is_never_told_as_all_of_it() -> None:
    slices = [{"name": f"S{n}", "net": n, "gross": n, "gross_share": None, "net_share": None} for n in range(1, 11)]
    assert known_worth({"value": None, "net_liquidation": None, "by_account": slices}) == (55, False)
    assert known_worth({"value": None, "net_liquidation": None, "by_account": []}) == (None, False)
    shown = bars(slices)
    assert [each["name"] for each in shown][-2:] == ["S3", None]
    assert (shown[-1]["net"], shown[-1]["fraction"], shown[0]["width"]) == (3, None, 100.0)
    told = [Missing(figure=figure, why="no") for figure in ("value", "income", "performance.benchmark")]
    figures = {"missing": [{"figure": each.figure, "why": each.why} for each in told]}
    assert missing_of(figures) == [("no", ["value", "income"])]


def synced(conid: int, units: str, price: str | None, value: str | None, **more: Any) -> dict[str, Any]:
    return {
        "symbol": f"S{conid}",
        "type": "stock",
        "currency": "USD",
        "conid": conid,
        "multiplier": 1,
        "units": Decimal(units),
        "market_price": None if price is None else Decimal(price),
        "market_value": None if value is None else Decimal(value),
        "synced_at": "2026-11-20T15:30:00Z",
        **more,
    }


@pytest.mark.requirement("SYN-17")
def test_only_what_is_price_times_units_is_moved_by_a_price_alone() -> None:
    option = synced(2, "-2", "1.50", "-300", type="option", multiplier=100)
    bond = synced(3, "10000", "98.5", "9850", type="bond")  # its price is in per cent of its face
    holdings = [synced(1, "1", "270", "270"), bond, option, synced(4, "5", None, None)]
    portfolio = {
        "id": "one",
        "currency": "USD",
        "securities": [],
        "accounts": [{"name": "IRA", "holdings": holdings}, {"name": "B", "holdings": [synced(1, "9", "270", "2430")]}],
    }
    rows = rows_of(portfolio)
    assert [each["moves"] for each in rows] == [True, False, True, False, True]
    assert listens_to(rows) == [1, 2, 3, 4]
    told = [(each["account"], each["conid"], each["value"]) for each in prices_of(portfolio)]
    assert told == [("IRA", 1, 270), ("IRA", 3, 9850), ("IRA", 2, -300), ("B", 1, 2430)]


@pytest.mark.requirement("SYN-17")
def test_prices_that_a_page_asks_for_by_the_clock_are_for_those_who_see_the_portfolio(
    people: ServedPeople, browser: Caller, keeper: Person
) -> None:
    portfolio_id = made(keeper, {"name": "IRA"})["id"]
    answer = browser.ask("GET", f"/portfolios/{portfolio_id}/_prices")
    assert (answer.status, answer.json) == (200, [])
    other = people.caller().at_browser(people.caller().sign_in(people.person().user.name, browser=True))
    assert other.ask("GET", f"/portfolios/{portfolio_id}/_prices").status == 404
