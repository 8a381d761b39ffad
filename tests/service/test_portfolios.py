"""Portfolios over HTTP: the books, connecting an account to IBKR, syncing and disconnecting it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gateway_service import at_the_gateway
from ibkit.users import Role
from people import People, person
from service_desks import Served, fast_mock, served, settings_of, until

NAME = "My IRA/1"
AT = quote(NAME, safe="")
ACCOUNT = "DU1000001"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("portfolios")
    people = People()
    with fast_mock(), served(settings_of(folder), people=people) as found:
        yield found


def ask(service: Served, method: str, path: str, body: Any = None, **given: Any) -> Any:
    return service.ask(method, path, body, **given)


def made(service: Served, **given: Any) -> dict[str, Any]:
    form = {
        "name": "Savings",
        "currency": "usd",
        "accounts": [{"name": NAME, "holdings": [{"symbol": "AAPL", "units": 1.5}, {"symbol": "GOLD", "units": 3}]}],
        "securities": [
            {"symbol": "GOLD", "name": "Bars", "type": "commodity", "tags": ["metal"], "unit_price": 2000.1}
        ],
    }
    answer = ask(service, "POST", "/portfolio", form | given)
    assert answer.status == 201, answer.raw
    return answer.json  # type: ignore[no-any-return]


def units(portfolio: dict[str, Any], account: int = 0) -> dict[str, float]:
    return {each["symbol"]: each["units"] for each in portfolio["accounts"][account]["holdings"]}


@pytest.mark.requirement("SYN-01")
def test_a_portfolio_is_read_back_as_it_was_written_and_nobody_else_finds_it(service: Served) -> None:
    service.people.holders["bob"] = person(name="bob", role=Role.TRADER)
    portfolio = made(service)
    path = f"/portfolio/{portfolio['id']}"
    assert ask(service, "GET", path).json == portfolio
    assert ask(service, "GET", f"/api{path}").json == portfolio
    assert b'"units":1.5' in ask(service, "GET", path).raw
    assert units(portfolio) == {"AAPL": 1.5, "GOLD": 3}
    assert portfolio["currency"] == "USD"
    assert portfolio["securities"][0]["tags"] == ["metal"]
    listed = ask(service, "GET", "/portfolio").json["portfolios"]
    assert portfolio["id"] in [each["id"] for each in listed]
    for method, at, body in (
        ("GET", path, None),
        ("PUT", path, {"name": "Mine"}),
        ("DELETE", path, None),
        ("POST", f"{path}/accounts", {"name": "B"}),
        ("GET", f"{path}/accounts/{AT}", None),
        ("PUT", f"{path}/accounts/{AT}", {"holdings": []}),
        ("POST", f"{path}/accounts/{AT}/disconnect", None),
        ("POST", f"{path}/accounts/{AT}/sync", None),
        ("POST", f"{path}/accounts/{AT}/connect/ibkr", {"account_id": ACCOUNT}),
    ):
        refused = ask(service, method, at, body, token="bob")
        assert (refused.status, refused.code) == (404, "E-NOT-FOUND"), (method, at, refused.raw)
    assert ask(service, "GET", path).json == portfolio
    assert ask(service, "DELETE", path).json == {"id": portfolio["id"], "deleted": True}
    assert ask(service, "GET", path).status == 404


@pytest.mark.requirement("SYN-01")
def test_accounts_and_holdings_are_edited_and_of_two_editors_the_second_is_told(service: Served) -> None:
    portfolio = made(service)
    path = f"/portfolio/{portfolio['id']}"
    more = ask(service, "POST", f"{path}/accounts", {"name": "Second", "holdings": [{"symbol": "X", "units": -2}]})
    assert (more.status, [each["name"] for each in more.json["accounts"]]) == (201, [NAME, "Second"])
    twice = ask(service, "POST", f"{path}/accounts", {"name": "Second"})
    assert (twice.status, twice.code) == (422, "E-VALIDATION")
    renamed = ask(service, "PUT", f"{path}/accounts/Second", {"name": "Zw\u00f6lf \U0001f680"})
    assert renamed.json["accounts"][1]["name"] == "Zw\u00f6lf \U0001f680"
    at = quote("Zw\u00f6lf \U0001f680", safe="")
    changed = ask(service, "PUT", f"{path}/accounts/{at}", {"holdings": [{"symbol": "Y", "units": 1}]})
    assert units(changed.json, 1) == {"Y": 1}
    late = ask(service, "PUT", path, {"name": "Late", "version": portfolio["version"]})
    assert (late.status, late.code) == (409, "E-CONFLICT")
    now = ask(service, "GET", path).json
    done = ask(service, "PUT", path, {"name": "New", "currency": "EUR", "version": now["version"]})
    assert (done.json["name"], done.json["currency"], len(done.json["accounts"])) == ("New", "EUR", 2)
    left = ask(service, "DELETE", f"{path}/accounts/{at}")
    assert [each["name"] for each in left.json["accounts"]] == [NAME]
    assert ask(service, "DELETE", f"{path}/accounts/{at}").status == 404
    assert ask(service, "GET", f"{path}/accounts/{AT}/nothing").status == 404


@pytest.mark.requirement("SYN-01")
@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"name": ""}, "name"),
        ({"name": "A", "currency": "dollars"}, "currency"),
        ({"name": "A", "accounts": [{"holdings": []}]}, "name"),
        (
            {"name": "A", "accounts": [{"name": "B", "holdings": [{"symbol": "X", "units": 1}] * 2}]},
            "accounts.B.holdings",
        ),
        (
            {"name": "A", "accounts": [{"name": "B", "holdings": [{"symbol": "X", "units": 1e30}]}]},
            "accounts.B.holdings.X.units",
        ),
        ({"name": "A\u202eB"}, "name"),
        ({"name": "A", "securities": [{"symbol": "X", "type": "sock"}]}, "securities"),
        ({"name": "A", "colour": "red"}, "colour"),
        ({}, "name"),
    ],
)
def test_what_is_wrong_with_a_portfolio_is_named(service: Served, body: dict[str, Any], named: str) -> None:
    before = ask(service, "GET", "/portfolio").raw
    answer = ask(service, "POST", "/portfolio", body)
    assert (answer.status, answer.code) == (422, "E-VALIDATION"), answer.raw
    assert named in answer.fields
    assert ask(service, "GET", "/portfolio").raw == before


@pytest.mark.requirement("SYN-01")
@pytest.mark.parametrize(
    ("form", "kind"), [("json", "application/json"), ("yaml", "application/yaml"), ("csv", "text/csv")]
)
def test_a_portfolio_goes_out_as_a_file_and_comes_back(service: Served, form: str, kind: str) -> None:
    portfolio = made(service)
    path = f"/portfolio/{portfolio['id']}/export"
    file = ask(service, "GET", f"{path}?format={form}")
    assert (file.status, file.headers["content-type"].partition(";")[0]) == (200, kind)
    assert file.headers["content-disposition"].startswith("attachment; filename=")
    back = ask(service, "POST", "/portfolio/import?name=Savings", raw=file.raw, headers={"Content-Type": kind})
    assert back.status == 201, back.raw
    assert units(back.json) == units(portfolio)
    assert {each["symbol"]: each["name"] for each in back.json["securities"]}["GOLD"] == "Bars"
    assert back.json["id"] != portfolio["id"]

    before = ask(service, "GET", "/portfolio").raw
    half = ask(
        service, "POST", "/portfolio/import?name=X", raw=file.raw[: len(file.raw) // 2], headers={"Content-Type": kind}
    )
    odd = ask(service, "POST", "/portfolio/import?name=X", raw=file.raw, headers={"Content-Type": "application/pdf"})
    assert (half.status, odd.status) == (422, 415), half.raw
    assert ask(service, "GET", "/portfolio").raw == before
    assert ask(service, "GET", f"{path}?format=pdf").fields == ["format"]
    assert ask(service, "GET", path, token="bob").status == 404


@pytest.mark.requirement("SYN-01")
def test_who_may_only_read_changes_nothing(service: Served) -> None:
    service.people.holders["eve"] = person(name="eve", role=Role.VIEWER)
    assert ask(service, "GET", "/portfolio", token="eve").json == {"portfolios": []}
    refused = ask(service, "POST", "/portfolio", {"name": "A"}, token="eve")
    assert (refused.status, refused.code) == (403, "E-FORBIDDEN")


@pytest.mark.requirement("SYN-03", "SYN-04", "SYN-13", "SYN-14")
def test_from_connect_to_disconnect_and_back_to_what_was_kept_by_hand(service: Served) -> None:
    ordered = service.order(symbol="AAPL", qty=12)
    assert ordered.status in (201, 202), ordered.raw
    at = f"/broker-order/{ordered.data['id']}"
    until(lambda: ask(service, "GET", at).data["status"] == "filled")
    portfolio = made(service)
    path = f"/portfolio/{portfolio['id']}/accounts/{AT}"
    unknown = ask(service, "POST", f"{path}/connect/ibkr", {"account_id": "U99"})
    assert (unknown.status, unknown.code) == (422, "E-VALIDATION")
    seen = ask(service, "GET", "/ibkr/accounts").json["accounts"]
    account = seen[0]["accountId"]
    assert account in unknown.json["error"]["message"]
    assert ask(service, "GET", f"{path}/sync-status").code == "E-NOT-CONNECTED"
    assert ask(service, "POST", f"{path}/sync").code == "E-NOT-CONNECTED"
    assert ask(service, "POST", f"{path}/disconnect").status == 409

    connected = ask(service, "POST", f"{path}/connect/ibkr", {"account_id": account})
    assert connected.status == 200, connected.raw
    link = connected.json["connection"]
    assert (link["provider"], link["account_id"], link["sync_status"]) == ("interactive_brokers", account, "success")
    assert (link["sync_enabled"], link["read_only"], link["stale"], link["sync_error"]) == (True, True, False, None)
    assert link["last_sync"]
    assert link["next_sync"] > link["last_sync"]
    held = {each["symbol"]: each for each in connected.json["holdings"]}
    assert (held["AAPL"]["units"], held["AAPL"]["source"], held["AAPL"]["type"]) == (12, "ibkr", "stock")
    assert held["USD"]["type"] == "cash"
    assert "GOLD" not in held
    again = ask(service, "POST", f"{path}/connect/ibkr", {"account_id": account})
    assert (again.status, again.code) == (409, "E-CONFLICT")
    seen = ask(service, "GET", "/ibkr/accounts").json["accounts"][0]
    assert seen["linked_to"] == {"portfolio_id": portfolio["id"], "portfolio": "Savings", "account": NAME}

    edit = ask(service, "PUT", path, {"holdings": [{"symbol": "AAPL", "units": 1}]})
    assert (edit.status, edit.code) == (409, "E-CONFLICT")
    synced = ask(service, "POST", f"{path}/sync").json
    assert (synced["success"], synced["added"], synced["changed"], synced["removed"]) == (True, 0, 0, 0)
    assert synced["holdings_count"] == len(held)
    status = ask(service, "GET", f"{path}/sync-status").json
    assert status["connection"]["last_sync"] >= link["last_sync"]

    before = ask(service, "GET", path).json["holdings"]
    alone = ask(service, "POST", f"{path}/disconnect").json
    assert alone["connection"] is None
    assert [each | {"source": "ibkr"} for each in alone["holdings"]] == before
    assert ask(service, "POST", f"{path}/disconnect").code == "E-NOT-CONNECTED"
    changed = ask(service, "PUT", path, {"holdings": [{"symbol": "AAPL", "units": 7}]})
    assert units(changed.json) == {"AAPL": 7}
    restored = ask(service, "POST", f"{path}/restore").json
    assert {each["symbol"]: each["units"] for each in restored["holdings"]} == {"AAPL": 1.5, "GOLD": 3}
    assert ask(service, "POST", f"{path}/restore").status == 409


@pytest.mark.requirement("SYN-15")
def test_of_ten_posts_at_once_one_syncs_and_nothing_is_there_twice(service: Served) -> None:
    portfolio = made(service)
    path = f"/portfolio/{portfolio['id']}/accounts/{AT}"
    account = ask(service, "GET", "/ibkr/accounts").json["accounts"][0]["accountId"]
    ask(service, "POST", f"{path}/connect/ibkr", {"account_id": account, "sync_now": False})
    found: list[tuple[int, str]] = []

    def post() -> None:
        answer = ask(service, "POST", f"{path}/sync")
        found.append((answer.status, "" if answer.status == 200 else answer.code))

    threads = [threading.Thread(target=post) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [each for each in found if each == (200, "")]
    busy = [each for each in found if each == (409, "E-SYNC-BUSY")]
    assert done
    assert len(done) + len(busy) == 10, found
    symbols = [each["symbol"] for each in ask(service, "GET", path).json["holdings"]]
    assert len(symbols) == len(set(symbols))


@pytest.mark.requirement("SYN-02")
def test_the_test_of_the_connection_counts_what_it_sees(service: Served) -> None:
    found = ask(service, "GET", "/ibkr/test-connection").json["connection_test"]
    assert (found["success"], found["authenticated"], found["accounts_accessible"]) == (True, True, True)
    assert (found["positions_accessible"], found["accounts_found"], found["error"]) == (True, 1, None)


@pytest.mark.requirement("SYN-02")
def test_a_gateway_that_nobody_is_logged_in_at_is_told_with_what_to_do(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path, "not-authenticated") as service:
        test = ask(service, "GET", "/ibkr/test-connection").json["connection_test"]
    assert (test["authenticated"], test["error"], test["code"]) == (False, "Not authenticated with IBKR", "E-GW-NOAUTH")
    assert all(word in " ".join(test["remedy"]) for word in ("in a browser", "2FA", "timed out"))


@pytest.mark.requirement("SYN-02")
@pytest.mark.requirement("SYN-06")
@pytest.mark.requirement("SYN-13")
def test_a_broker_that_is_gone_changes_no_holding(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        portfolio = made(service)
        path = f"/portfolio/{portfolio['id']}/accounts/{AT}"
        assert service.world is not None
        good = ask(service, "POST", f"{path}/connect/ibkr", {"account_id": ACCOUNT}).json
        assert good["connection"]["sync_status"] == "success"
        checksum = hashlib.sha256(repr(good["holdings"]).encode()).hexdigest()

        service.world.control(
            "POST", "faults", {"fault": "html", "endpoint": "POSITIONS", "times": 50, "params": {"status": 200}}
        )
        failed = ask(service, "POST", f"{path}/sync")
        assert (failed.status, failed.code) == (502, "E-SYNC-FAILED")
        service.world.control("DELETE", "faults")
        service.world.up = False
        gone = ask(service, "POST", f"{path}/sync")
        assert gone.code == "E-GW-DOWN"
        told = ask(service, "GET", "/ibkr/test-connection")
        test = told.json["connection_test"]
        assert (told.status, test["success"], test["code"]) == (200, False, "E-API-CONNECT")
        assert test["error"] == "Failed to connect to Interactive Brokers API"
        assert all(word in " ".join(test["remedy"]) for word in ("installed and running", "port is right", "firewall"))
        link = ask(service, "GET", f"{path}/sync-status").json["connection"]
        assert (link["sync_status"], link["failures"], link["last_sync"]) == (
            "error",
            2,
            good["connection"]["last_sync"],
        )
        assert link["sync_error"]["remedy"]
        there = ask(service, "GET", path).json
        assert hashlib.sha256(repr(there["holdings"]).encode()).hexdigest() == checksum
        assert ask(service, "POST", f"{path}/disconnect").status == 200


@pytest.mark.requirement("FUT-05")
def test_the_figures_are_told_of_what_a_sync_brought_and_of_no_day_before(service: Served) -> None:
    service.people.holders["bob"] = person(name="bob", role=Role.TRADER)
    account = ask(service, "GET", "/ibkr/accounts").json["accounts"][0]["accountId"]
    portfolio = made(service)
    path = f"/portfolio/{portfolio['id']}"
    at = f"{path}/analytics"
    by_hand = ask(service, "GET", at).json
    assert (by_hand["value"], by_hand["net_liquidation"]) == (None, None)  # nobody told what AAPL is worth
    assert [(each["name"], each["net"]) for each in by_hand["by_type"]] == [("commodity", 6000.3)]
    assert {each["figure"] for each in by_hand["missing"]} >= {"value", "net_liquidation", "performance", "income"}

    connected = ask(service, "POST", f"{path}/accounts/{AT}/connect/ibkr", {"account_id": account})
    assert connected.status == 200, connected.raw
    now = ask(service, "GET", at)
    assert (now.status, ask(service, "GET", f"/api{at}").json) == (200, now.json), now.raw
    held = connected.json["holdings"]
    assert now.json["value"] == pytest.approx(sum(each["market_value"] for each in held), abs=0.011 * len(held))
    assert now.json["net_liquidation"] == pytest.approx(connected.json["connection"]["total_value"], abs=0.01)
    for by in ("by_type", "by_currency", "by_sector", "by_account"):
        assert sum(round(each["gross_share"] * 100) for each in now.json[by]) == 100_00
    today = now.json["as_of"]
    kept = ask(service, "GET", f"{at}?as_of={today}&from={today}&to={today}&currency=usd").json
    assert kept["accounts"] == [{"name": NAME, "day": today, "net_liquidation": now.json["net_liquidation"]}]
    for figure in ("value", "gross", "by_type", "largest", "unrealized_pnl", "options"):
        assert kept[figure] == now.json[figure], figure
    asked = ask(service, "GET", f"{at}?greeks=true")
    assert asked.status == 200, asked.raw
    assert all(each["delta"] is not None for each in asked.json["options"]), asked.raw
    before = ask(service, "GET", f"{at}?as_of=2020-01-02").json
    assert (before["value"], before["by_type"]) == (None, [])
    assert {"figure": "value", "why": f"{NAME}: there is no snapshot of 2020-01-02 or before"} in before["missing"]
    strange = ask(service, "GET", f"{at}?currency=XTS").json
    assert (strange["value"], strange["net_liquidation"], strange["currency"]) == (None, None, "XTS")

    for query, field in (
        ("as_of=tomorrow", "as_of"),
        ("as_of=20261120", "as_of"),
        ("as_of=2999-01-01", "as_of"),
        ("from=2026-02-02&to=2026-02-01", "from"),
        ("currency=E1", "currency"),
        ("greeks=yes", "greeks"),
        ("until=2026-02-01", "until"),
        ("to=2026-02-01&to=2026-02-02", "to"),
    ):
        refused = ask(service, "GET", f"{at}?{query}")
        assert (refused.status, refused.code) == (422, "E-VALIDATION"), (query, refused.raw)
        assert field in str(refused.json["error"]), refused.raw
    assert ask(service, "GET", at, token="bob").status == 404
