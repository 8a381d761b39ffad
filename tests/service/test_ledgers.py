"""Ledgers over HTTP: statements in, what happened out, each figure's row, and the inbox."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from desks import Desk
from ibkit.users import Role
from ledger_lives import ACTIVITY, CONFIRMS, body_of, event, trade
from people import People, person
from service_desks import Served, fast_mock, served, settings_of

pytestmark = pytest.mark.requirement("FUT-08")
XML = {"Content-Type": "application/xml"}
SPY = 756733


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("ledgers")
    with fast_mock(), served(settings_of(folder), people=People()) as found:
        yield found


def made(service: Served) -> str:
    answer = service.ask("POST", "/portfolio", {"name": "Savings", "accounts": [{"name": "IRA"}]})
    assert answer.status == 201, answer.raw
    return f"/portfolio/{answer.json['id']}"


def get(service: Served, path: str) -> Any:
    answer = service.ask("GET", path)
    assert answer.status == 200, answer.raw
    return answer.json


def test_a_statement_is_taken_and_every_figure_leads_to_its_row(service: Served) -> None:
    sim = Desk()
    trade(sim, 100)
    first = sim.now
    sim.simulator.advance(timedelta(days=3).total_seconds())
    trade(sim, -40, "650.00")
    event(sim, event="dividend", symbol="SPY", per_share="1.00", tax_pct="15")
    body, path = body_of(sim), made(service)
    flex = f"{path}/accounts/IRA/flex"
    taken = service.ask("POST", flex, raw=body, headers=XML)
    assert taken.status == 200, taken.raw
    assert (taken.json["added"], taken.json["missing"], taken.json["digest"]) == (
        4,
        [],
        hashlib.sha256(body).hexdigest(),
    )
    told = get(service, f"{path}/transactions")
    assert [each["kind"] for each in told["transactions"]] == ["trade", "trade", "dividend", "withholding tax"]
    page = get(service, f"{path}/transactions?limit=3")
    rest = get(service, f"{path}/transactions?limit=3&offset={page['next']}")
    assert page["transactions"] + rest["transactions"] == told["transactions"]
    assert rest["next"] is None
    for each in told["transactions"]:
        source = each["source"]
        query = f"statement={source['statement']}&section={source['section']}&row={source['row']}"
        row = get(service, f"{path}/raw/{source['digest']}/row?{query}")["row"]
        assert float(row.get("quantity") or row["amount"]) in (each["quantity"], *each["cash"].values())
    raw = service.ask("GET", f"{path}/raw/{taken.json['digest']}")
    assert raw.raw == body
    assert [each["quantity"] for each in get(service, f"{path}/lots")["open"]] == [60]
    income = get(service, f"{path}/income?from=2026-01-01&to=2099-01-01")["income"]
    assert {each["kind"]: each["amount"] for each in income} == {"dividend": 60, "withholding tax": -9}
    assert get(service, f"{path}/income?to=2020-01-01")["income"] == []
    now = get(service, f"{path}/ledger")
    assert (now["positions"][0]["quantity"], now["cash"]["USD"]) == (60, float(sim.book.cash))
    for as_of in (first.isoformat().replace("+00:00", "Z"), first.date().isoformat()):
        assert get(service, f"{path}/ledger?as_of={as_of}")["positions"][0]["quantity"] == 100
    assert get(service, flex)["statements"][0]["digest"] == taken.json["digest"]
    assert get(service, f"{path}/inbox") == {"differences": []}
    assert service.ask("POST", f"{path}/accounts/IRA/sync").json["success"] is True


def test_lots_are_closed_by_the_rule_that_is_chosen_and_what_was_told_before_is_shown(service: Served) -> None:
    service.people.holders["bob"] = person(name="bob", role=Role.TRADER)
    sim, path = Desk(), made(service)
    trade(sim, 100)
    trade(sim, 100, "610.00")
    trade(sim, -50, "650.00")
    sim.simulator.advance(timedelta(days=1).total_seconds())
    for query in (ACTIVITY, CONFIRMS):
        body = body_of(sim, query=query)
        assert service.ask("POST", f"{path}/accounts/IRA/flex", raw=body, headers=XML).status == 200
    at = f"{path}/accounts/IRA/ledger-rules"
    first = get(service, at)
    assert (first["lot_order"], first["picks"], first["currency"]) == ("fifo", [], "USD")
    assert [each["quantity"] for each in get(service, f"{path}/lots")["open"]] == [50, 100]
    assert service.ask("PUT", at, {"lot_order": "lifo"}).json == first | {"lot_order": "lifo"}
    assert [each["quantity"] for each in get(service, f"{path}/lots")["open"]] == [100, 50]
    bought, _, sold = [each["key"] for each in get(service, f"{path}/transactions")["transactions"]]
    picks = [{"closed_by": sold, "lots": [{"opened_by": bought, "quantity": 20}]}]
    chosen = service.ask("PUT", at, {"lot_order": "specific", "picks": picks})
    assert (chosen.json["picks"], get(service, at)) == (picks, chosen.json)
    assert [each["quantity"] for each in get(service, f"{path}/lots")["open"]] == [50, 100]
    for form in (
        {"lot_order": "hifo"},
        {"picks": [{"closed_by": sold, "lots": [{"opened_by": "exec:none", "quantity": 1}]}]},
        {"picks": [{"closed_by": sold, "lots": [{"opened_by": bought, "quantity": 0}]}]},
        {"picks": [*picks, *picks]},
        {"order": "lifo"},
    ):
        refused = service.ask("PUT", at, form)
        assert (refused.status, refused.code) == (422, "E-VALIDATION"), refused.raw
    assert get(service, at) == chosen.json
    assert service.ask("PUT", at, {"picks": [{"closed_by": sold, "lots": []}]}).json["picks"] == []
    assert service.ask("PUT", at, {"lot_order": "lifo"}, token="bob").status == 404
    assert service.ask("GET", f"{path}/corrections", token="bob").status == 404


def test_what_was_told_otherwise_before_is_shown(service: Served) -> None:
    sim, path = Desk(), made(service)
    trade(sim, 100)
    trade(sim, -40, "650.00")
    sim.simulator.advance(timedelta(days=1).total_seconds())
    assert get(service, f"{path}/corrections") == {"account": "IRA", "corrections": [], "next": None}
    for query in (CONFIRMS, ACTIVITY):
        body = body_of(sim, query=query)
        taken = service.ask("POST", f"{path}/accounts/IRA/flex", raw=body, headers=XML)
        assert taken.status == 200, taken.raw
    told = get(service, f"{path}/corrections")["corrections"]
    assert len(told) == taken.json["corrected"] == 2
    assert {each["digest"] for each in told} == {hashlib.sha256(body).hexdigest()}
    assert [(each["before"][0]["told_by"], each["after"]["told_by"]) for each in told] == [
        ("confirmation", "activity")
    ] * 2
    page = get(service, f"{path}/corrections?limit=1")
    assert (page["corrections"], page["next"]) == (told[:1], 1)
    assert get(service, f"{path}/corrections?limit=1&offset=1")["corrections"] == told[1:]
    assert service.ask("GET", f"{path}/corrections?limit=x").status == 422


def test_what_is_bad_changes_nothing_and_is_named(service: Served) -> None:
    sim = Desk()
    trade(sim, 100)
    body, path = body_of(sim), made(service)
    flex = f"{path}/accounts/IRA/flex"
    assert service.ask("POST", flex, raw=body, headers=XML).status == 200
    places = (path, f"{path}/ledger", f"{path}/transactions", flex)
    before = [service.ask("GET", each).raw for each in places]
    for wrong, code in (
        (body[: len(body) // 2], "E-FLEX-STATEMENT"),
        (b"", "E-FLEX-STATEMENT"),
        (body.replace(sim.account.encode(), b"U7654321"), "E-FLEX-ACCOUNT"),
    ):
        refused = service.ask("POST", flex, raw=wrong, headers=XML)
        assert refused.code == code, refused.raw
        assert b"U7654321" not in refused.raw
    assert service.ask("POST", flex, raw=body, headers={"Content-Type": "text/plain"}).status == 415
    assert service.ask("POST", f"{path}/accounts/None/flex", raw=body, headers=XML).status == 404
    assert service.ask("POST", f"{flex}/fetch").code == "E-CONFIG"
    for query in ("as_of=never", "as_of=2026-13-01", "account=", "offset=-1", "limit=x", "other=1", "from=20260101"):
        assert service.ask("GET", f"{path}/transactions?{query}").status in (404, 422), query
    for address in (f"{path}/raw/{'0' * 64}", f"{path}/raw/{'0' * 64}/row"):
        assert service.ask("GET", address).status == 404
    assert [service.ask("GET", each).raw for each in places] == before


def test_a_difference_is_accepted_or_booked_and_nobody_else_sees_any(service: Served) -> None:
    service.people.holders["bob"] = person(name="bob", role=Role.TRADER)
    sim = Desk()
    trade(sim, 100)
    sim.simulator.advance(timedelta(days=3).total_seconds())
    path = made(service)
    taken = service.ask("POST", f"{path}/accounts/IRA/flex", raw=body_of(sim, first=sim.now.date()), headers=XML)
    (found,) = get(service, f"{path}/inbox")["differences"]
    assert (found["cause"], found["fix"], found["amount"]) == ("an opening that is not known", "book", 100)
    for method, address, form in (
        ("GET", f"{path}/inbox", None),
        ("GET", f"{path}/ledger", None),
        ("GET", f"{path}/raw/{taken.json['digest']}", None),
        ("POST", f"{path}/inbox/{found['id']}/accept", {"note": "x"}),
        ("POST", f"{path}/inbox/{found['id']}/fix", {}),
    ):
        refused = service.ask(method, address, form, token="bob")
        assert (refused.status, refused.code) == (404, "E-NOT-FOUND"), (method, address, refused.raw)
    accepted = service.ask("POST", f"{path}/inbox/{found['id']}/accept", {"note": "known"})
    assert (accepted.json["state"], accepted.json["note"]) == ("accepted", "known")
    assert service.ask("POST", f"{path}/inbox/{'0' * 32}/fix", {}).status == 404
    fixed = service.ask("POST", f"{path}/inbox/{found['id']}/fix", {"note": "bought elsewhere", "cost": 60000})
    assert fixed.json == {"differences": []}, fixed.raw
    (held,) = get(service, f"{path}/ledger")["positions"]
    assert (held["conid"], held["cost"]) == (SPY, 60000)
    row = get(service, f"{path}/raw/{held['sources'][0]['digest']}/row?section=adjustment")["row"]
    assert row["why"] == "bought elsewhere"
