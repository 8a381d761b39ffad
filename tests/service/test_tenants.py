"""Whose is what: every route of the description, asked by everybody, about things that are not theirs. Threat TM-10.

who     ROUTES says who gets past the door of each route; a route that is not in it fails the first test
whose   an order, a key or a user of somebody else's answers as one that does not exist, and is as it was after
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from litestar import Litestar

from credential_desks import fields_for
from ibkit.bootstrap.alert_desk import MOST_CHANNELS
from ibkit.bootstrap.credential_desk import open_credential_desk
from ibkit.bootstrap.flex_tokens import FlexTokens
from ibkit.model import AuthMethod
from ibkit.service.door import Door
from ibkit.service.openapi import document
from ibkit.service.serving import open_service
from ibkit.sim.serving.inprocess import Simulator
from ibkit.sim.world import SimConfig
from ibkit.users import Role, Scope
from service_desks import ORDER, Answered, FastClock, new_key, settings_of, until
from service_people import Caller, Person, ServedPeople, served_people
from simulators import KEYS
from user_desks import PASSWORD, START

pytestmark = pytest.mark.requirement("GWY-02", "VLT-10")

ROLES = ("owner", "admin", "trader", "viewer")
CALLERS = ("nobody", *ROLES, "reader", "machine", "owner's machine")
"""reader: a trader's token with the scope read alone; machine: a trader's key with it; the owner's has all scopes."""

NOBODY = frozenset(CALLERS)
SIGNED = NOBODY - {"nobody"}
PERSONS = SIGNED - {"machine", "owner's machine"}
TRADERS = frozenset({"owner", "admin", "trader", "owner's machine"})
LOOKING = frozenset({"owner", "admin", "owner's machine"})
KEEPING = frozenset({"owner", "admin"})


@dataclass(frozen=True)
class Rule:
    """may: who gets past the door. thing: what its path names, for which see THINGS; "" where it names nothing."""

    may: frozenset[str]
    thing: str = ""


ROUTES: dict[str, Rule] = {
    "POST /broker-order": Rule(TRADERS),
    "GET /broker-order": Rule(SIGNED),
    "POST /broker-order/preview": Rule(TRADERS),
    "GET /broker-order/events": Rule(SIGNED),  # whose events: test_events.py
    "GET /broker-order/{order_id}": Rule(SIGNED, "order"),
    "GET /broker-order/{order_id}/timeline": Rule(SIGNED, "order"),
    "DELETE /broker-order/{order_id}": Rule(TRADERS, "order"),
    "PATCH /broker-order/{order_id}": Rule(TRADERS, "order"),
    "GET /quotes/events": Rule(SIGNED),
    "GET /api/questions": Rule(SIGNED),
    "POST /api/questions/{question_id}/answer": Rule(SIGNED, "question"),  # looked for among one's own first
    "POST /api/option-sale": Rule(TRADERS),
    "POST /api/option-sale/preview": Rule(TRADERS),
    "GET /api/option-sale/{key}": Rule(SIGNED, "sale"),
    "GET /api/contracts": Rule(SIGNED),
    "GET /api/options/chain": Rule(SIGNED),
    "GET /api/brokers": Rule(SIGNED),
    "GET /api/checklist": Rule(SIGNED),
    "POST /api/checklist/{item}": Rule(LOOKING, "point"),
    "GET /api/onboarding": Rule(SIGNED),
    "POST /api/onboarding/demo": Rule(LOOKING),
    "GET /api/onboarding/keys": Rule(SIGNED),
    "POST /api/onboarding/keys": Rule(TRADERS),
    "GET /api/onboarding/keys/{name}": Rule(SIGNED, "public file"),
    "POST /api/onboarding/token": Rule(TRADERS),
    "GET /api/support": Rule(SIGNED),
    "GET /api/support/contents": Rule(LOOKING),
    "GET /api/support/bundle": Rule(LOOKING),
    "GET /api/account": Rule(SIGNED),
    "GET /api/positions": Rule(SIGNED),
    "GET /api/trades": Rule(SIGNED),
    "GET /api/trades/performance": Rule(SIGNED),
    "GET /api/alerts": Rule(SIGNED),
    "POST /api/alerts/{alert_id}/acknowledge": Rule(TRADERS, "alert"),
    "GET /api/alerts/channels": Rule(SIGNED),
    "POST /api/alerts/test": Rule(TRADERS),
    "POST /api/alerts/channels": Rule(TRADERS),
    "DELETE /api/alerts/channels/{name}": Rule(TRADERS, "channel"),
    "POST /api/alerts/channels/{name}/switch": Rule(TRADERS, "channel"),
    "GET /api/ibkr/status": Rule(SIGNED),
    "POST /api/ibkr/test": Rule(SIGNED),
    "GET /api/ibkr/session": Rule(SIGNED),
    "GET /api/ibkr/session/history": Rule(SIGNED),
    "GET /api/ibkr/events": Rule(SIGNED),
    "POST /api/ibkr/connect": Rule(TRADERS),
    "POST /api/ibkr/reconnect": Rule(TRADERS),
    "POST /api/ibkr/take-over": Rule(TRADERS),
    "POST /api/ibkr/logout": Rule(TRADERS),
    "GET /api/ibkr/connections": Rule(SIGNED),
    "POST /api/ibkr/connections": Rule(TRADERS),
    "DELETE /api/ibkr/connections/{connection_id}": Rule(TRADERS, "connection"),
    "POST /api/ibkr/connections/{connection_id}/default": Rule(TRADERS, "connection"),
    "GET /api/settings/ibkr": Rule(SIGNED),
    "POST /api/settings/ibkr": Rule(TRADERS),
    "DELETE /api/settings/ibkr": Rule(TRADERS),
    "POST /api/settings/ibkr/test": Rule(TRADERS),
    "POST /api/settings/ibkr/activate": Rule(TRADERS),
    "GET /api/settings/ibkr/{connection_id}": Rule(SIGNED, "connection"),
    "POST /api/settings/ibkr/{connection_id}": Rule(TRADERS, "connection"),
    "DELETE /api/settings/ibkr/{connection_id}": Rule(TRADERS, "connection"),
    "POST /api/settings/ibkr/{connection_id}/test": Rule(TRADERS, "connection"),
    "POST /api/settings/ibkr/{connection_id}/activate": Rule(TRADERS, "connection"),
    "GET /livez": Rule(NOBODY),
    "GET /readyz": Rule(NOBODY),
    "GET /health": Rule(NOBODY),
    "GET /health/broker": Rule(NOBODY),
    "GET /health/broker/{connection_id}": Rule(SIGNED, "connection"),
    "POST /api/sign-in": Rule(NOBODY),
    "POST /api/sign-in/code": Rule(NOBODY),
    "POST /api/sign-in/link": Rule(NOBODY),
    "POST /api/sign-in/refresh": Rule(PERSONS),
    "POST /api/sign-out": Rule(PERSONS),
    "POST /api/sign-out/everywhere": Rule(PERSONS),
    "GET /api/me": Rule(SIGNED),
    "POST /api/me/password": Rule(PERSONS),
    "GET /api/me/sessions": Rule(PERSONS),
    "DELETE /api/me/sessions/{session_id}": Rule(PERSONS, "session"),
    "POST /api/me/second-step": Rule(PERSONS),
    "POST /api/me/second-step/confirm": Rule(PERSONS),
    "DELETE /api/me/second-step": Rule(PERSONS),
    "GET /api/users": Rule(LOOKING),
    "POST /api/users": Rule(KEEPING),
    "GET /api/users/{user_id}": Rule(LOOKING, "user"),
    "PATCH /api/users/{user_id}": Rule(KEEPING, "user"),
    "DELETE /api/users/{user_id}": Rule(KEEPING, "user"),
    "POST /api/users/{user_id}/link": Rule(KEEPING, "user"),
    "POST /api/users/{user_id}/sign-out": Rule(KEEPING, "user"),
    "DELETE /api/users/{user_id}/second-step": Rule(KEEPING, "user"),
    "GET /api/keys": Rule(SIGNED - {"machine"}),
    "POST /api/keys": Rule(PERSONS),
    "DELETE /api/keys/{key_id}": Rule(SIGNED, "key"),
    "GET /api/security/failures": Rule(LOOKING),
    "GET /api/audit": Rule(LOOKING),
    "GET /api/metrics": Rule(LOOKING),
    "GET /api/kill": Rule(SIGNED),  # of whoever does not administer, what holds for them: test_risk.py
    "POST /api/kill": Rule(LOOKING),
    "POST /api/kill/release": Rule(KEEPING),
    "GET /api/limits": Rule(LOOKING),
    "POST /api/limits": Rule(KEEPING),
    "POST /api/limits/{number}/confirm": Rule(KEEPING, "change"),
    "GET /portfolio": Rule(SIGNED),
    "POST /portfolio": Rule(TRADERS),
    "GET /portfolio/{portfolio_id}": Rule(SIGNED, "portfolio"),
    "PUT /portfolio/{portfolio_id}": Rule(TRADERS, "portfolio"),
    "DELETE /portfolio/{portfolio_id}": Rule(TRADERS, "portfolio"),
    "POST /portfolio/{portfolio_id}/accounts": Rule(TRADERS, "portfolio"),
    "GET /portfolio/{portfolio_id}/analytics": Rule(SIGNED, "portfolio"),
    "POST /portfolio/{portfolio_id}/analytics": Rule(SIGNED, "portfolio"),
    "GET /portfolio/{portfolio_id}/report": Rule(SIGNED, "portfolio"),
    "POST /portfolio/{portfolio_id}/report": Rule(SIGNED, "portfolio"),
    "GET /portfolio/{portfolio_id}/export": Rule(SIGNED, "portfolio"),
    "GET /portfolio/{portfolio_id}/transactions": Rule(SIGNED, "portfolio"),
    "GET /portfolio/{portfolio_id}/lots": Rule(SIGNED, "portfolio"),
    "GET /portfolio/{portfolio_id}/income": Rule(SIGNED, "portfolio"),
    "GET /portfolio/{portfolio_id}/ledger": Rule(SIGNED, "portfolio"),
    "GET /portfolio/{portfolio_id}/corrections": Rule(SIGNED, "portfolio"),
    "GET /portfolio/{portfolio_id}/accounts/{name}/ledger-rules": Rule(SIGNED, "portfolio"),
    "PUT /portfolio/{portfolio_id}/accounts/{name}/ledger-rules": Rule(TRADERS, "portfolio"),
    "GET /portfolio/{portfolio_id}/raw/{digest}": Rule(SIGNED, "portfolio"),
    "GET /portfolio/{portfolio_id}/raw/{digest}/row": Rule(SIGNED, "portfolio"),
    "GET /portfolio/{portfolio_id}/inbox": Rule(SIGNED, "portfolio"),
    "POST /portfolio/{portfolio_id}/inbox/{item_id}/accept": Rule(TRADERS, "portfolio"),
    "POST /portfolio/{portfolio_id}/inbox/{item_id}/fix": Rule(TRADERS, "portfolio"),
    "GET /portfolio/{portfolio_id}/accounts/{name}/flex": Rule(SIGNED, "portfolio"),
    "POST /portfolio/{portfolio_id}/accounts/{name}/flex": Rule(TRADERS, "portfolio"),
    "POST /portfolio/{portfolio_id}/accounts/{name}/flex/fetch": Rule(TRADERS, "portfolio"),
    "GET /api/settings/flex": Rule(SIGNED),
    "POST /api/settings/flex": Rule(TRADERS),
    "DELETE /api/settings/flex": Rule(TRADERS),
    "POST /portfolio/import": Rule(TRADERS),
    "GET /portfolio/{portfolio_id}/accounts/{name}": Rule(SIGNED, "portfolio"),
    "PUT /portfolio/{portfolio_id}/accounts/{name}": Rule(TRADERS, "portfolio"),
    "DELETE /portfolio/{portfolio_id}/accounts/{name}": Rule(TRADERS, "portfolio"),
    "POST /portfolio/{portfolio_id}/accounts/{name}/connect/ibkr": Rule(TRADERS, "portfolio"),
    "GET /portfolio/{portfolio_id}/accounts/{name}/sync-status": Rule(SIGNED, "portfolio"),
    "POST /portfolio/{portfolio_id}/accounts/{name}/sync": Rule(TRADERS, "portfolio"),
    "POST /portfolio/{portfolio_id}/accounts/{name}/disconnect": Rule(TRADERS, "portfolio"),
    "POST /portfolio/{portfolio_id}/accounts/{name}/restore": Rule(TRADERS, "portfolio"),
    "GET /ibkr/test-connection": Rule(SIGNED),
    "GET /ibkr/accounts": Rule(SIGNED),
}
UNDESCRIBED = {"GET /openapi.json", "GET /metrics"}
"""Served without a token, and nobody's: the description itself, and figures without names.

Pages are not described either: they ask this interface as their visitor, which tests/service/web tries for each.
"""
SALE = {"broker": "mock", "side": "put", "symbol": "SPY", "quantity": 1, "put_strike": 600}

THINGS = {
    "order": "ib-" + "a2c4e6" * 5 + "a2",
    "user": "0" * 32,
    "key": "0" * 16,
    "connection": "nothing-there",
    "public file": "dhparam.pem",
    "portfolio": "0" * 32,
    "alert": "0a4c2f0e-6f0b-4f6e-9d67-0a8f3c1f5b11",
    "question": "07a13a5a-4a48-44a5-bb25-5ab37b79186c",
    "sale": "00000000-0000-0000-0000-000000000000",
    "channel": "none-of-theirs",
    "session": "0" * 32,
    "point": "nothing.there",  # of a check-list: the installation's, and nobody's in particular
    "change": "999999",  # of a limit: the installation's, and nobody's in particular
}
"""kind → an id of its form that is nobody's."""
ELSEWHERE = {"change", "point", "alert", "question", "public file", "channel", "session"}
"""Kinds that are nobody's in particular, or are tried with somebody's in test_alerts.py and test_questions.py."""
MANAGED = {"user": KEEPING | LOOKING, "key": KEEPING | LOOKING}
"""kind → who may do it to those of others, by role; everybody else finds nothing."""


def described() -> dict[str, dict[str, Any]]:
    """Every operation of the description, but for the second names under /api, which are the same handlers."""
    found = {}
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            if not operation["operationId"].endswith("UnderApi"):
                found[f"{method.upper()} {path}"] = operation
    return found


def test_every_route_of_the_description_says_here_who_may_and_what_it_names() -> None:
    there = described()
    assert sorted(there) == sorted(ROUTES), "a route is new or gone: say in ROUTES who may, and what its path names"
    for name, rule in ROUTES.items():
        assert (not there[name]["security"]) == (rule.may == NOBODY), name
        assert bool(rule.thing) == ("{" in name), name
        assert not rule.thing or rule.thing in THINGS, f"{name}: there is no {rule.thing} to try it with"


@pytest.mark.anyio
async def test_no_route_is_served_that_is_not_described(tmp_path: Path) -> None:
    async with open_service(settings_of(tmp_path, BROKER_PROVIDER="ibkr", IBKR_AUTH_METHOD="oauth2")) as running:
        assert isinstance(running.app, Door)
        inner: Any = running.app.app
        assert isinstance(inner, Litestar)
        pages = {"/assets/{path}"} | {
            route.path_format
            for route in inner.routes
            if any(str(each.name).startswith(("page ", "form ")) for each in getattr(route, "route_handlers", ()))
        }
        served = {
            f"{method} {route.path_format}"
            for route in inner.routes
            for method in getattr(route, "methods", ())
            if method != "OPTIONS" and route.path_format not in pages
        }
    told = {f"{m.upper()} {path}" for path, methods in document()["paths"].items() for m in methods}
    assert served - told == UNDESCRIBED
    assert told - served == set()


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPeople]:
    with served_people(tmp_path_factory.mktemp("tenants"), mock=True, ENABLE_MULTI_USER="true") as found:
        yield found


KEPT: dict[str, tuple[Caller, int]] = {}
"""kind → somebody of it, and how often they have asked: to make and sign in one for each question took minutes."""
OFTEN = 20
"""Fewer than the requests that a user may make in a minute."""


def caller_of(people: ServedPeople, kind: str, name: str = "") -> Caller:
    """name: of the route that they will ask; one that changes who asks gets somebody of its own."""
    caller, asked = KEPT.get(kind, (None, 0))
    if caller is None or asked >= OFTEN or " /api/sign" in name or " /api/me" in name:
        caller, asked = new_caller(people, kind), 0
    KEPT[kind] = caller, asked + 1
    if " /api/sign" in name or " /api/me" in name:
        del KEPT[kind]
    return caller


def new_caller(people: ServedPeople, kind: str) -> Caller:
    match kind:
        case "nobody":
            return people.caller()
        case "reader":
            return people.person(Role.TRADER, scopes=["read"])
        case "machine":
            return people.machine(people.person().user, Scope.READ)
        case "owner's machine":
            return people.machine(people.person(Role.OWNER).user, *(set(Scope) - {Scope.ORDERS_LIVE}))
        case role:
            return people.person(Role(role))


def request_of(name: str, *, thing_id: str = "") -> tuple[str, str, Any]:
    """Method, path and a body that is good in itself."""
    method, _, path = name.partition(" ")
    if "{" in path:
        first, _, rest = path.partition("{")
        path = first + thing_id + rest.partition("}")[2].replace("{name}", "Savings").replace("{digest}", "0" * 64)
    if name in ("POST /broker-order", "POST /broker-order/preview"):
        return method, path, {**ORDER, "dry_run": name == "POST /broker-order"}
    if name in ("POST /api/option-sale", "POST /api/option-sale/preview"):  # of a day that is over: nothing is sold
        return method, path, {**SALE, "expiry": "2020-01-17"}
    if name == "POST /api/keys":
        return method, path, {"label": "x", "scopes": ["read"]}
    if name == "POST /api/kill":  # of an account that is nobody's: others trade beside this
        return method, path, {"note": "tests", "account_id": "DU0000000"}
    if name == "POST /api/limits":
        return method, path, {"name": "max_shares", "value": "20", "layer": "symbol", "whose": "ZZZ", "note": "tests"}
    if path.endswith("/events"):
        return method, path + "?since=never", None  # a stream that is let in does not end
    content = described()[name].get("requestBody", {}).get("content", {}).get("application/json", {})
    examples = list(content.get("examples", {}).values())
    return method, path, examples[0]["value"] if examples else None


def ask(caller: Caller, name: str, *, thing_id: str = "") -> Answered:
    method, path, body = request_of(name, thing_id=thing_id)
    return caller.ask(method, path, body, key=new_key() if "broker-order" in path or "option-sale" in path else None)


@pytest.mark.parametrize("name", ROUTES)
def test_who_may_is_let_in_and_nobody_else(people: ServedPeople, name: str) -> None:
    """About a thing that is nobody's, so that whoever is let in finds nothing, and changes nothing."""
    rule = ROUTES[name]
    for kind in CALLERS:
        caller = caller_of(people, kind, name)
        answer = ask(caller, name, thing_id=THINGS.get(rule.thing, ""))
        said = (name, kind, answer.status, answer.raw[:300])
        if name.startswith("POST /api/sign-in") and rule.may == NOBODY:
            assert answer.status in (401, 429), said  # the examples are nobody's; a name that fails often waits
        elif kind == "nobody" and kind not in rule.may:
            assert (answer.status, answer.code) == (401, "E-APP-AUTH"), said
        elif kind in rule.may:
            assert answer.status not in (401, 403), said
            assert answer.status < 500, said
            # A connection's name is its user's own to choose; the example's keys are cut short.
            assert not rule.thing or answer.status == 404 or (rule.thing == "connection" and answer.status == 422), said
        elif rule.thing == "order":
            assert answer.status in (403, 404), said  # looked for among one's own first
        else:
            assert (answer.status, answer.code) == (403, "E-FORBIDDEN"), said


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


CONNECTION = "a-connection-of-theirs"
FLEX = {"token": "776655443322110099887766", "query_id": "31415926"}


@dataclass
class Property:
    """What somebody has: a trader with an order at rest, a key, a connection with credentials, a portfolio, a name."""

    holder: Person
    order_id: str
    order_key: str
    key_id: str
    portfolio_id: str
    sale_key: str

    @property
    def ids(self) -> dict[str, str]:
        user_id = self.holder.user.user_id
        kept = {"order": self.order_id, "key": self.key_id, "portfolio": self.portfolio_id, "sale": self.sale_key}
        return kept | {"user": user_id, "connection": CONNECTION}

    def as_it_is(self) -> list[Any]:
        order = self.look(f"/broker-order/{self.order_id}")["data"]
        keys = self.look("/api/keys")["data"]
        credentials = self.look(f"/api/settings/ibkr/{CONNECTION}")
        connections = self.look("/api/ibkr/connections")["data"]
        assert [each["connection_id"] for each in connections] == [CONNECTION]
        me = self.look("/api/me")["data"]
        portfolio = self.look(f"/portfolio/{self.portfolio_id}")
        sale = self.look(f"/api/option-sale/{self.sale_key}")
        flex = self.look("/api/settings/flex")
        assert flex["query_id"] == FLEX["query_id"]
        keys = [{**each, "used_at": None} for each in keys]
        return [order, keys, me, credentials, connections, portfolio, sale, flex]

    def look(self, path: str) -> Any:
        """Again where they have read too often within the second."""
        answers: list[Answered] = []

        def told() -> bool:
            answers[:] = [self.holder.ask("GET", path)]
            return answers[0].status != 429

        until(told)
        assert answers[0].status == 200, answers[0].raw
        return answers[0].json


def give_credentials(holder: Person) -> None:
    material = fields_for(Simulator(SimConfig(start=START), FastClock(START), keys=KEYS), AuthMethod.OAUTH1A, 0)
    body = {"method": "oauth1a", **{camel(name): value for name, value in material.items()}}
    assert holder.ask("POST", f"/api/settings/ibkr/{CONNECTION}", body).status == 200


def sale_of(holder: Person) -> str:
    """The key of a sale that was refused for its day: it is theirs to look at all the same."""
    key = new_key()
    refused = holder.ask("POST", "/api/option-sale", {**SALE, "expiry": "2020-01-17"}, key=key)
    assert refused.code == "E-EXPIRY", refused.raw
    assert holder.ask("GET", f"/api/option-sale/{key}").data["outcome"] == "failed"
    return key


@pytest.fixture(scope="module")
def theirs(people: ServedPeople) -> Property:
    holder, key = people.person(), new_key()
    resting = {**ORDER, "order_type": "limit", "limit_price": 150, "time_in_force": "gtc"}
    placed = holder.ask("POST", "/broker-order", resting, key=key)
    assert placed.status == 201, placed.raw
    made = holder.ask("POST", "/api/keys", {"label": "theirs", "scopes": ["read"]})
    give_credentials(holder)
    assert holder.ask("POST", "/api/settings/flex", FLEX).status == 200
    connection = {"connection_id": CONNECTION, "method": "oauth1a"}
    assert holder.ask("POST", "/api/ibkr/connections", connection).status == 201
    book = {"name": "Theirs", "accounts": [{"name": "Savings", "holdings": [{"symbol": "AAPL", "units": 1}]}]}
    portfolio = holder.ask("POST", "/portfolio", book)
    assert portfolio.status == 201, portfolio.raw
    return Property(
        holder, placed.data["id"], key, made.data["record"]["key_id"], portfolio.json["id"], sale_of(holder)
    )


def plain(answer: Answered, thing_id: str) -> tuple[int, str]:
    """Status and body without the trace id, and without the id that was asked for."""
    body = answer.json
    body.get("error", {}).pop("trace_id", None)
    return answer.status, json.dumps(body, sort_keys=True).replace(thing_id, "…")


STRANGERS = ("owner", "admin", "trader", "viewer", "reader", "machine", "owner's machine")


@pytest.mark.parametrize("name", [name for name, rule in ROUTES.items() if rule.thing in ELSEWHERE ^ THINGS.keys()])
def test_what_is_anothers_answers_as_what_is_not_there(people: ServedPeople, theirs: Property, name: str) -> None:
    rule, before = ROUTES[name], theirs.as_it_is()
    foreign, absent = theirs.ids[rule.thing], THINGS[rule.thing]
    for kind in STRANGERS:
        if kind in MANAGED.get(rule.thing, ()):
            continue  # it is theirs to manage: test_users.py
        caller = caller_of(people, kind, name)
        there = plain(ask(caller, name, thing_id=foreign), foreign)
        missing = plain(ask(caller, name, thing_id=absent), absent)
        assert there == missing, (name, kind)
        assert there[0] in (403, 404) or name == "POST /api/settings/ibkr/{connection_id}", (name, kind)
    assert theirs.as_it_is() == before


@pytest.mark.requirement("VLT-07")
def test_the_credentials_of_who_is_removed_go_with_them(people: ServedPeople) -> None:
    ada, owner = people.person(), people.person(Role.OWNER)
    give_credentials(ada)
    assert ada.ask("POST", "/api/settings/flex", FLEX).status == 200
    assert owner.ask("DELETE", f"/api/users/{ada.user.user_id}").status == 200

    async def left() -> tuple[int, object]:
        async with open_credential_desk(people.settings) as desk:
            flex = await FlexTokens(desk.vault).of(ada.user.user_id)
            return len(await desk.of_user(ada.user.user_id)), flex

    assert anyio.run(left) == (0, None)


@pytest.mark.requirement("FUT-08", "VLT-07")
def test_a_flex_token_is_kept_shown_as_a_mask_and_forgotten(people: ServedPeople) -> None:
    ada, at = people.person(), "/api/settings/flex"
    nothing = {"token": None, "query_id": None, "expires_on": None, "changed_at": None}
    assert ada.ask("GET", at).json == nothing
    kept = ada.ask("POST", at, {**FLEX, "expires_on": "2099-05-01"})
    assert kept.status == 200, kept.raw
    assert FLEX["token"].encode() not in kept.raw
    assert (kept.json["query_id"], kept.json["expires_on"]) == (FLEX["query_id"], "2099-05-01")
    assert ada.ask("GET", at).json == kept.json
    for wrong, field in (({}, "token"), ({**FLEX, "token": "a b"}, "token"), ({**FLEX, "query_id": "x"}, "query_id")):
        refused = ada.ask("POST", at, wrong)
        assert (refused.status, refused.code) == (422, "E-VALIDATION")
        assert field in {each["field"] for each in refused.json["error"]["details"]["errors"]}
    assert ada.ask("GET", at).json == kept.json
    assert ada.ask("DELETE", at).json == nothing
    assert ada.ask("GET", at).json == nothing


@pytest.mark.parametrize("name", [name for name in ROUTES if name.startswith("GET ") and "{" not in name])
def test_no_list_holds_anything_of_anothers(people: ServedPeople, theirs: Property, name: str) -> None:
    whole = {"GET /api/users", "GET /api/audit", "GET /api/security/failures"}
    for kind in CALLERS:
        if name in whole and kind in ROUTES[name].may:
            continue
        text = ask(caller_of(people, kind, name), name).raw.decode(errors="replace")
        for thing, thing_id in (*theirs.ids.items(), ("name", theirs.holder.user.name), ("key", theirs.order_key)):
            assert thing_id not in text, (name, kind, thing)


def test_what_a_body_or_a_filter_names_of_anothers_is_not_there_either(people: ServedPeople, theirs: Property) -> None:
    before, user_id = theirs.as_it_is(), theirs.holder.user.user_id
    for kind in ("trader", "viewer", "reader"):
        caller = caller_of(people, kind)
        for there, absent in (
            (f"/api/keys?user_id={user_id}", f"/api/keys?user_id={THINGS['user']}"),
            (f"/broker-order?cursor={theirs.order_id}", f"/broker-order?cursor={THINGS['order']}"),
        ):
            found, missing = caller.ask("GET", there), caller.ask("GET", absent)
            assert plain(found, user_id)[0] == plain(missing, THINGS["user"])[0], (kind, there)
            assert found.status in (404, 422), (kind, there)
        form = {"label": "x", "scopes": ["read"]}
        made = [caller.ask("POST", "/api/keys", {**form, "user_id": each}) for each in (user_id, THINGS["user"])]
        assert plain(made[0], user_id) == plain(made[1], THINGS["user"])
        assert made[0].status == 404
    stranger = people.person()
    body = {**ORDER, "order_type": "limit", "limit_price": 149}
    own = stranger.ask("POST", "/broker-order", body, key=theirs.order_key)  # the same words are another key
    assert (own.status, own.data["id"] == theirs.order_id) == (201, False), own.raw
    assert theirs.as_it_is() == before


def test_a_role_that_was_taken_away_no_longer_reaches_ones_own_order(people: ServedPeople) -> None:
    ada, owner = people.person(), people.person(Role.OWNER)
    resting = {**ORDER, "order_type": "limit", "limit_price": 148, "time_in_force": "gtc"}
    order = ada.ask("POST", "/broker-order", resting, key=new_key())
    there = f"/broker-order/{order.data['id']}"
    assert owner.ask("PATCH", f"/api/users/{ada.user.user_id}", {"role": "viewer"}).status == 200
    assert ada.ask("GET", there).status == 200
    for method, body in (("DELETE", None), ("PATCH", {"limit_price": 147})):
        refused = ada.ask(method, there, body, key=new_key())
        assert (refused.status, refused.code) == (403, "E-FORBIDDEN"), refused.raw


def test_who_was_removed_leaves_their_order_to_nobody(people: ServedPeople) -> None:
    ada, owner = people.person(), people.person(Role.OWNER)
    resting = {**ORDER, "order_type": "limit", "limit_price": 146, "time_in_force": "gtc"}
    order = ada.ask("POST", "/broker-order", resting, key=new_key())
    assert order.status in (200, 201, 202), order.raw
    assert owner.ask("DELETE", f"/api/users/{ada.user.user_id}").status == 200
    people.within(lambda desk: desk.keeper.add(ada.user.name, Role.TRADER, PASSWORD))
    token = people.caller().sign_in(ada.user.name).data["token"]
    heir = people.caller().bearing(token)
    assert heir.ask("GET", f"/broker-order/{order.data['id']}").status == 404
    assert heir.ask("GET", "/broker-order").data == []


@pytest.mark.requirement("MON-07", "VLT-09")
def test_each_keeps_channels_of_their_own_and_finds_nobody_elses(people: ServedPeople) -> None:
    ada, bob, at = people.person(), people.person(), "/api/alerts/channels"
    kept = ada.ask("POST", at, {"name": "phone", "address": "https://hooks.example.com/ada"})
    assert (kept.status, kept.data["of_installation"]) == (200, False), kept.raw
    assert [each["name"] for each in ada.ask("GET", at).data] == ["phone"]
    assert bob.ask("GET", at).data == []
    assert bob.ask("DELETE", f"{at}/phone").status == 404
    assert bob.ask("POST", f"{at}/phone/switch", {"enabled": False}).status == 404
    assert bob.ask("POST", at, {"name": "phone", "address": "https://hooks.example.com/bob"}).status == 200
    assert bob.ask("DELETE", f"{at}/phone").status == 200
    assert [each["name"] for each in ada.ask("GET", at).data] == ["phone"], "of one name, and another's"
    for number in range(MOST_CHANNELS - 1):
        form = {"name": f"n{number}", "address": "https://hooks.example.com/x"}
        assert ada.ask("POST", at, form).status == 200
    full = ada.ask("POST", at, {"name": "more", "address": "https://hooks.example.com/x"})
    assert (full.status, full.code) == (422, "E-VALIDATION"), full.raw
    assert ada.ask("POST", at, {"name": "phone", "address": "https://hooks.example.com/new"}).status == 200
