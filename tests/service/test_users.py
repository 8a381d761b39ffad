"""Users, keys, failures and the audit log over HTTP, as owners and administrators keep them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from ibkit.bootstrap.alerting import open_alerting
from ibkit.users import Role, Scope
from service_desks import until
from service_people import OTHER, Caller, ServedPeople, served_people
from user_desks import PASSWORD

pytestmark = pytest.mark.requirement("VLT-10")
NAMES = itertools.count(1)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPeople]:
    with served_people(tmp_path_factory.mktemp("people")) as found:
        yield found


def name() -> str:
    return f"tom{next(NAMES)}"


def test_the_first_start_tells_one_link_with_which_the_owner_chooses_a_password(tmp_path: Path) -> None:
    with served_people(tmp_path) as people:
        (link,) = people.links
        address, _, token = link.partition("#")
        assert address == f"{people.service.address}/welcome"
        caller = people.caller()
        assert caller.ask("POST", "/api/sign-in/link", {"link": token, "password": "short"}).status == 422
        owner = caller.ask("POST", "/api/sign-in/link", {"link": token, "password": OTHER})
        assert (owner.status, owner.data["role"], owner.data["name"]) == (200, "owner", "owner")
        assert caller.ask("POST", "/api/sign-in/link", {"link": token, "password": OTHER}).status == 401
        assert caller.sign_in("owner", OTHER).status == 200
        log = "".join(str(each) for each in caller.bearing(owner.data["token"]).ask("GET", "/api/audit").data)
        assert token not in log
    with served_people(tmp_path) as again:
        assert again.links == []


@pytest.mark.requirement("UI-01")
def test_the_links_page_runs_its_own_script_alone_and_tells_its_link_to_nobody(people: ServedPeople) -> None:
    answer = people.caller().ask("GET", "/welcome")
    page, rules = answer.raw.decode(), answer.headers["content-security-policy"]
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in rules
    assert "frame-ancestors 'none'" in rules
    assert "unsafe" not in rules
    assert "script-src 'self'" in rules
    assert not re.search(r"<style|<script>|\sstyle=|\son\w+=|https?:", page)
    assert answer.headers["referrer-policy"] == "same-origin"  # the link stands behind the #, which no referrer holds
    assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == ("nosniff", "no-store")


def test_an_owner_invites_and_the_invited_chooses_the_password(people: ServedPeople) -> None:
    owner, tom = people.person(Role.OWNER), name()
    made = owner.ask("POST", "/api/users", {"name": tom.upper(), "role": "trader"})
    assert made.status == 201, made.raw
    assert (made.data["user"]["name"], made.data["user"]["has_password"]) == (tom, False)
    link = {"link": made.data["link"], "password": OTHER}
    assert people.caller().ask("POST", "/api/sign-in/link", link).data["name"] == tom
    user_id = made.data["user"]["user_id"]
    assert owner.ask("GET", f"/api/users/{user_id}").data["has_password"] is True

    renewed = owner.ask("POST", f"/api/users/{user_id}/link")
    assert renewed.status == 200, renewed.raw
    assert people.caller().sign_in(tom, OTHER).status == 200
    people.advance(hours=24)
    late = {"link": renewed.data["link"], "password": PASSWORD.reveal()}
    assert people.caller().ask("POST", "/api/sign-in/link", late).status == 401


def test_a_user_with_a_first_password_signs_in_and_is_listed_without_anything_secret(people: ServedPeople) -> None:
    owner, tom = people.person(Role.OWNER), name()
    made = owner.ask("POST", "/api/users", {"name": tom, "role": "viewer", "password": OTHER})
    assert (made.status, made.data["link"]) == (201, None)
    assert people.caller().sign_in(tom, OTHER).data["role"] == "viewer"
    listed = owner.ask("GET", "/api/users")
    assert tom in {each["name"] for each in listed.data}
    assert b"argon2" not in listed.raw
    assert b"hash" not in listed.raw
    for body, field in (
        ({"name": tom, "role": "viewer"}, "there is a user"),
        ({"name": "a b", "role": "viewer"}, "a user's name has"),
        ({"name": name(), "role": "viewer", "password": "password1234"}, "common"),
    ):
        refused = owner.ask("POST", "/api/users", body)
        assert (refused.status, field in refused.json["error"]["message"]) == (422, True), refused.raw


def test_a_role_that_is_changed_and_a_user_who_is_disabled_or_removed_count_at_once(people: ServedPeople) -> None:
    owner, tom = people.person(Role.OWNER), people.person(Role.ADMIN)
    key = people.machine(tom.user, Scope.READ, Scope.ADMIN)
    there = f"/api/users/{tom.user.user_id}"
    assert tom.ask("GET", "/api/users").status == 200
    assert owner.ask("PATCH", there, {"role": "trader"}).data["role"] == "trader"
    assert [each.ask("GET", "/api/users").status for each in (tom, key)] == [403, 403]
    assert owner.ask("PATCH", there, {"enabled": False}).data["enabled"] is False
    assert [each.ask("GET", "/api/me").status for each in (tom, key)] == [401, 401]
    assert owner.ask("PATCH", there, {"enabled": True, "role": "viewer"}).data["enabled"] is True
    again = tom.sign_in(tom.user.name)
    assert again.data["role"] == "viewer"
    assert owner.ask("DELETE", there).data["user_id"] == tom.user.user_id
    assert tom.bearing(again.data["token"]).ask("GET", "/api/me").status == 401
    assert owner.ask("GET", there).status == 404
    assert owner.ask("DELETE", there).status == 404
    assert owner.ask("DELETE", f"{there}?force=perhaps").status == 422
    assert owner.ask("PATCH", there, {}).status == 422


def test_the_last_owner_stays_over_http_too(tmp_path: Path) -> None:
    with served_people(tmp_path) as people:
        owner = people.person(Role.OWNER)
        (first,) = [each for each in owner.ask("GET", "/api/users").data if each["name"] == "owner"]
        assert owner.ask("DELETE", f"/api/users/{first['user_id']}").status == 200
        there = f"/api/users/{owner.user.user_id}"
        for method, body in (("DELETE", None), ("PATCH", {"enabled": False}), ("PATCH", {"role": "admin"})):
            refused = owner.ask(method, there, body)
            assert (refused.status, "last enabled owner" in refused.json["error"]["message"]) == (403, True)
        assert owner.ask("GET", "/api/me").data["role"] == "owner"


def test_an_owner_signs_others_out_and_takes_away_a_second_step_that_was_lost(people: ServedPeople) -> None:
    owner, tom = people.person(Role.OWNER), people.person()
    people.with_totp(tom.user)
    there = f"/api/users/{tom.user.user_id}"
    assert owner.ask("POST", f"{there}/sign-out").status == 200
    assert tom.ask("GET", "/api/me").status == 401
    assert tom.sign_in(tom.user.name).status == 202
    assert owner.ask("DELETE", f"{there}/second-step").data["second_step"] is False
    assert tom.sign_in(tom.user.name).status == 200


def test_changing_users_needs_a_persons_sign_in_of_the_last_quarter_of_an_hour(people: ServedPeople) -> None:
    owner = people.person(Role.OWNER)
    machine = people.machine(owner.user, *Scope)
    unproven = people.within(
        lambda desk: _unproven(desk, owner.user)  # as `ibkit user token` makes one
    )
    body = {"name": name(), "role": "viewer"}
    for caller in (machine, owner.bearing(unproven)):
        assert caller.ask("GET", "/api/users").status == 200
        refused = caller.ask("POST", "/api/users", body)
        assert (refused.status, refused.code) == (403, "E-FORBIDDEN")
    people.advance(minutes=15)
    assert owner.ask("POST", "/api/users", body).status == 201
    people.advance(seconds=1)
    assert owner.ask("POST", "/api/users", {**body, "name": name()}).status == 403


async def _unproven(desk: Any, user: Any) -> str:
    from datetime import timedelta

    token: str = desk.sign_ins.issue_unproven(user, life=timedelta(hours=1)).token.reveal()
    return token


def test_an_admin_keeps_those_below_the_owner(people: ServedPeople) -> None:
    admin, owner = people.person(Role.ADMIN), people.person(Role.OWNER)
    there = f"/api/users/{owner.user.user_id}"
    tries: list[tuple[str, str, Any]] = [
        ("POST", "/api/users", {"name": name(), "role": "owner"}),
        ("PATCH", there, {"role": "viewer"}),
        ("PATCH", there, {"enabled": False}),
        ("PATCH", f"/api/users/{admin.user.user_id}", {"role": "owner"}),
        ("POST", f"{there}/link", None),
        ("POST", f"{there}/sign-out", None),
        ("DELETE", f"{there}/second-step", None),
        ("DELETE", there, None),
        ("POST", "/api/keys", {"label": "x", "scopes": ["read"], "user_id": owner.user.user_id}),
    ]
    for method, path, body in tries:
        refused = admin.ask(method, path, body)
        assert (refused.status, refused.code) == (403, "E-FORBIDDEN"), (method, path, refused.raw)
    assert owner.ask("GET", "/api/me").data["role"] == "owner"


HOSTILE = [
    *("user_id", "tenant", "generation", "password_hash", "enabled", "scopes", "link_hash", "created_at"),
    *("totp_secret", "risk_override", "env", "__class__"),
]


@pytest.mark.requirement("GWY-04")
@pytest.mark.parametrize("field", HOSTILE)
def test_a_body_sets_nothing_but_what_it_may(people: ServedPeople, field: str) -> None:
    """Threat TM-12: unknown members are refused, and nothing happens."""
    owner, tom = people.person(Role.OWNER), people.person()
    before = owner.ask("GET", f"/api/users/{tom.user.user_id}").data
    bodies: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/api/users", {"name": name(), "role": "viewer"}),
        ("POST", "/api/sign-in", {"name": tom.user.name, "password": PASSWORD.reveal()}),
        ("POST", "/api/sign-in/code", {"challenge": "x", "code": "1"}),
        ("POST", "/api/sign-in/link", {"link": "x", "password": OTHER}),
        ("POST", "/api/me/password", {"old_password": PASSWORD.reveal(), "new_password": OTHER}),
        ("POST", "/api/me/second-step/confirm", {"code": "1"}),
    ]
    if field != "enabled":
        bodies.append(("PATCH", f"/api/users/{tom.user.user_id}", {"role": "admin"}))
    if field not in ("user_id", "scopes"):
        bodies.append(("POST", "/api/keys", {"label": "x", "scopes": ["read"]}))
    for method, path, body in bodies:
        if field == "scopes" and path.startswith("/api/sign-in"):
            continue
        refused = owner.ask(method, path, {**body, field: "x"})
        assert (refused.status, refused.fields) == (422, [field]), (path, refused.raw)
    assert owner.ask("GET", f"/api/users/{tom.user.user_id}").data == before
    assert owner.ask("GET", "/api/keys").data == []


# -- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_is_told_once_does_what_it_may_and_is_revoked(people: ServedPeople) -> None:
    tom = people.person()
    body = {"label": "rebalancing", "scopes": ["read"], "days": 2, "accounts": ["du1234567"]}
    made = tom.ask("POST", "/api/keys", body)
    assert made.status == 201, made.raw
    key, record = made.data["key"], made.data["record"]
    assert (record["accounts"], record["scopes"], record["user_id"]) == (["DU1234567"], ["read"], tom.user.user_id)
    listed = tom.ask("GET", "/api/keys")
    assert [each["key_id"] for each in listed.data] == [record["key_id"]]
    assert key.rpartition("_")[2] not in listed.raw.decode()
    machine = people.caller().bearing(key)
    me = machine.ask("GET", "/api/me").data
    assert (me["key_id"], me["accounts"], me["signed_in_at"]) == (record["key_id"], ["DU1234567"], None)
    assert machine.ask("POST", "/broker-order/preview", {}).status in (403, 422)
    for method, path in (("POST", "/api/sign-out"), ("POST", "/api/sign-in/refresh"), ("GET", "/api/keys")):
        assert machine.ask(method, path).status == 403, path
    revoked = tom.ask("DELETE", f"/api/keys/{record['key_id']}")
    assert revoked.data["revoked_at"] is not None
    assert machine.ask("GET", "/api/me").status == 401
    assert tom.ask("DELETE", f"/api/keys/{record['key_id']}").status == 404


def test_a_key_ends_by_itself_and_makes_no_other_key(people: ServedPeople) -> None:
    tom = people.person()
    made = tom.ask("POST", "/api/keys", {"label": "a day", "scopes": ["read"], "days": 1})
    machine = people.caller().bearing(made.data["key"])
    refused = machine.ask("POST", "/api/keys", {"label": "more", "scopes": ["read"]})
    assert (refused.status, refused.code) == (403, "E-FORBIDDEN")
    people.advance(days=1)
    assert machine.ask("GET", "/api/me").status == 401


def test_a_key_has_no_more_than_the_token_that_asks_for_it(people: ServedPeople) -> None:
    reader, viewer = people.person(scopes=["read"]), people.person(Role.VIEWER)
    for caller in (reader, viewer):
        refused = caller.ask("POST", "/api/keys", {"label": "x", "scopes": ["read", "orders:paper"]})
        assert (refused.status, refused.code) == (403, "E-FORBIDDEN")
    for body in ({"days": 367}, {"days": 0}, {"scopes": []}, {"scopes": ["all"]}, {"accounts": []}, {"label": ""}):
        refused = reader.ask("POST", "/api/keys", {"label": "x", "scopes": ["read"], **body})
        assert (refused.status, refused.fields) == (422, list(body)), refused.raw
    assert reader.ask("GET", "/api/keys").data == []


def test_a_foreign_key_is_not_there_but_for_those_who_manage_its_user(people: ServedPeople) -> None:
    tom, eve, owner = people.person(), people.person(), people.person(Role.OWNER)
    made = owner.ask("POST", "/api/keys", {"label": "for tom", "scopes": ["read"], "user_id": tom.user.user_id})
    assert made.data["record"]["user_id"] == tom.user.user_id
    there = f"/api/keys/{made.data['record']['key_id']}"
    theirs, nobodys = (f"/api/keys?user_id={each}" for each in (tom.user.user_id, "0" * 32))
    assert eve.ask("DELETE", there).status == 404
    assert [eve.ask("GET", path).status for path in (theirs, nobodys)] == [404, 404]
    assert [len(each.ask("GET", theirs).data) for each in (owner, tom)] == [1, 1]
    assert tom.ask("DELETE", there).status == 200


# -- looking up -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("MON-11")
@pytest.mark.parametrize("what", ["tokens", "passwords"])
def test_ten_failures_from_one_address_make_one_alert_with_it_and_stand_in_the_list(tmp_path: Path, what: str) -> None:
    with served_people(tmp_path) as people:
        owner, eve = people.person(Role.OWNER), people.caller()
        for number in range(10):
            if what == "tokens":
                assert eve.bearing(f"x.y.{number}").ask("GET", "/api/me").status == 401
            else:
                assert eve.sign_in(f"name-{number}").status == 401
        listed = owner.ask("GET", "/api/security/failures").data
        kind = {"tokens": "token", "passwords": "password"}[what]
        assert [(each["address"], each["kind"]) for each in listed] == [(eve.address, kind)] * 10
        assert [each["user"] for each in listed] == [None] * 10

        async def alerts() -> list[tuple[str, str, int]]:
            async with open_alerting(people.settings) as alerting:
                found = await alerting.incidents.incidents()
                return [(each.event.value, each.subject, each.count) for each in found]

        assert anyio.run(alerts) == [("security.finding", f"address {eve.address}", 1)]


@pytest.mark.requirement("SEC-03", "MON-11")
def test_an_address_that_may_not_connect_is_403_and_a_failure(people: ServedPeople) -> None:
    stranger = Caller(people.service, address="203.0.113.9")
    assert (stranger.ask("GET", "/api/me").status, stranger.ask("GET", "/livez").status) == (403, 403)
    owner = people.person(Role.OWNER)

    def kinds() -> list[str]:
        listed = owner.ask("GET", "/api/security/failures?limit=500").data
        return [each["kind"] for each in listed if each["address"] == stranger.address]

    until(lambda: kinds() == ["address"] * 2)


@pytest.mark.requirement("MON-09")
def test_each_thing_that_is_done_to_users_and_keys_stands_in_the_log_once(tmp_path: Path) -> None:
    with served_people(tmp_path) as people:
        owner, tom = people.person(Role.OWNER), "tom"
        made = owner.ask("POST", "/api/users", {"name": tom, "role": "trader"}).data
        there = f"/api/users/{made['user']['user_id']}"
        signed_in = owner.without("Authorization").ask(
            "POST", "/api/sign-in/link", {"link": made["link"], "password": OTHER}
        )
        at_tom = owner.bearing(signed_in.data["token"])
        key = at_tom.ask("POST", "/api/keys", {"label": "k", "scopes": ["read"]}).data
        at_tom.ask("DELETE", f"/api/keys/{key['record']['key_id']}")
        at_tom.ask("POST", "/api/sign-out")
        owner.ask("PATCH", there, {"role": "viewer", "enabled": False})
        owner.ask("PATCH", there, {"enabled": True})
        owner.ask("POST", f"{there}/link")
        owner.ask("POST", f"{there}/sign-out")
        owner.ask("DELETE", f"{there}/second-step")
        refused = people.person(Role.ADMIN).ask("DELETE", f"/api/users/{owner.user.user_id}")
        owner.ask("DELETE", there)
        owner.ask("POST", "/api/users", {"name": "uma", "role": "viewer", "password": OTHER})
        assert refused.status == 403

        def entries() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = owner.ask("GET", "/api/audit?limit=500").data
            return found

        expected = [
            ("auth.link", "ok"),
            ("api_keys.add", "ok"),
            ("api_keys.revoke", "ok"),
            ("auth.sign_out", "ok"),
            ("users.add", "ok"),
            ("users.disable", "ok"),
            ("users.enable", "ok"),
            ("users.invite", "ok"),
            ("users.link", "ok"),
            ("users.remove", "ok"),
            ("users.remove", "refused"),
            ("users.role", "ok"),
            ("users.second_step", "ok"),
            ("users.sign_out", "ok"),
        ]
        until(lambda: any(each["action"] == "users.add" for each in entries()))
        told = [
            (each["action"], each["result"])
            for each in entries()
            if each["action"] not in ("auth.sign_in", "settings.changed")
        ]
        assert sorted(told) == sorted(expected)
        (role,) = [each for each in entries() if each["action"] == "users.role"]
        assert (role["actor"], role["address"]) == (owner.user.user_id, owner.address)
        assert role["details"] == {"name": tom, "new": "viewer", "old": "trader"}
        text = owner.ask("GET", "/api/audit?limit=500").raw.decode()
        for secret in (made["link"], key["key"].rpartition("_")[2], OTHER, signed_in.data["token"]):
            assert secret not in text

        page = owner.ask("GET", "/api/audit?action=users.&limit=2")
        following = owner.ask("GET", f"/api/audit?action=users.&limit=2&before={page.json['next']}")
        numbers = [each["number"] for each in (*page.data, *following.data)]
        assert numbers == sorted(numbers, reverse=True)
        assert len(set(numbers)) == 4
        for wrong in ("limit=0", "limit=501", "since=never", "before=x", "colour=red", "actor=", "limit=1&limit=2"):
            assert owner.ask("GET", f"/api/audit?{wrong}").status == 422, wrong


@pytest.mark.requirement("GWY-11")
def test_changes_are_limited_for_each_user(people: ServedPeople) -> None:
    owner, other = people.person(Role.OWNER), people.person(Role.OWNER)
    statuses = [owner.ask("DELETE", f"/api/keys/{'0' * 16}").status for _ in range(61)]
    assert statuses == [404] * 60 + [429]
    assert other.ask("DELETE", f"/api/keys/{'0' * 16}").status == 404
