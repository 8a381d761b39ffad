"""Forged tokens at the service's own door: none gets in, whatever is wrong with it is answered alike. Threat TM-13."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from forged_tokens import FORGED, GOOD, HEADER, made
from ibkit.model import Secret
from ibkit.users import Role
from service_desks import ORDER, new_key
from service_people import OTHER, Person, ServedPeople, served_people
from user_desks import START

pytestmark = pytest.mark.requirement("GWY-02")


@dataclass
class Victim:
    people: ServedPeople
    ada: Person

    def forged(self, name: str, patch: pytest.MonkeyPatch) -> str:
        """By one who knows the user, a token's id and its generation: only how it is made can give it away."""
        for claim, value in (("sub", self.ada.user.user_id), ("jti", "2" * 32), ("gen", self.ada.user.generation)):
            patch.setitem(GOOD, claim, value)
        assert self.tried(made(HEADER, GOOD)) == (200, ""), "the pattern itself is good"
        return FORGED[name]()

    def tried(self, token: str, *, order: bool = False) -> tuple[int, str]:
        """Status and body without its trace id, of a request whose header has exactly these letters."""
        where = urlsplit(self.people.service.address)
        body = json.dumps({**ORDER, "broker": "mock"}).encode() if order else b""
        lines = [
            f"{'POST /broker-order' if order else 'GET /api/me'} HTTP/1.1",
            f"Host: {where.netloc}",
            f"Authorization: Bearer {token}",
            f"Idempotency-Key: {new_key()}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        with socket.create_connection((where.hostname or "", where.port or 0), timeout=20) as line:
            line.settimeout(20)
            raw = "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body
            answer = b""
            with contextlib.suppress(OSError):  # it is closed before a megabyte is through
                line.sendall(raw)
            with contextlib.suppress(OSError):
                while part := line.recv(65536):
                    answer += part
        head, _, text = answer.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1]) if head else 0
        if status != 401:
            return status, ""
        told = json.loads(text)
        told["error"].pop("trace_id")
        return status, json.dumps(told, sort_keys=True)


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    with served_people(tmp_path_factory.mktemp("forged"), mock=True, start=START) as people:
        yield Victim(people, people.person())


NO_BEARER_FORM = {
    *("empty", "white space", "NUL", "a megabyte", "lone surrogate", "full-width dots"),
    "a machine key that is SQL",
}
"""These do not get as far as a token: the header itself is refused."""


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_gets_in_nowhere(name: str, victim: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    forged = victim.forged(name, monkeypatch)
    expected = victim.tried("x.y.z")
    assert expected[0] == 401
    for order in (False, True):
        answer = victim.tried(forged, order=order)
        if name in NO_BEARER_FORM:
            assert answer[0] in (400, 401, 431), answer
        else:
            assert answer == expected, name
    assert victim.people.service.sent() == []


def test_of_the_forged_tokens_more_than_thirty_are_judged_as_tokens() -> None:
    assert len(FORGED.keys() - NO_BEARER_FORM) >= 40
    assert FORGED.keys() >= NO_BEARER_FORM


ENDED: dict[str, Callable[[ServedPeople, Person], str]] = {}


def ended(make: Callable[[ServedPeople, Person], str]) -> Callable[[ServedPeople, Person], str]:
    ENDED[make.__name__] = make
    return make


def token_of(person: Person) -> str:
    return person.auth["Authorization"].removeprefix("Bearer ")


@ended
def signed_out(people: ServedPeople, ada: Person) -> str:
    assert ada.ask("POST", "/api/sign-out").status == 200
    return token_of(ada)


@ended
def signed_out_everywhere(people: ServedPeople, ada: Person) -> str:
    assert ada.ask("POST", "/api/sign-out/everywhere").status == 200
    return token_of(ada)


@ended
def refreshed(people: ServedPeople, ada: Person) -> str:
    assert ada.ask("POST", "/api/sign-in/refresh").status == 200
    return token_of(ada)


@ended
def password_changed(people: ServedPeople, ada: Person) -> str:
    people.within(lambda desk: desk.keeper.set_password(ada.user.name, Secret(OTHER)))
    return token_of(ada)


@ended
def user_disabled(people: ServedPeople, ada: Person) -> str:
    people.within(lambda desk: desk.keeper.disable(ada.user.name))
    return token_of(ada)


@ended
def user_disabled_and_enabled(people: ServedPeople, ada: Person) -> str:
    people.within(lambda desk: desk.keeper.disable(ada.user.name))
    people.within(lambda desk: desk.keeper.enable(ada.user.name))
    return token_of(ada)


@ended
def user_removed(people: ServedPeople, ada: Person) -> str:
    people.within(lambda desk: desk.keeper.remove(ada.user.name))
    return token_of(ada)


@ended
def user_removed_and_the_name_taken(people: ServedPeople, ada: Person) -> str:
    people.within(lambda desk: desk.keeper.remove(ada.user.name))
    people.within(lambda desk: desk.keeper.add(ada.user.name, Role.OWNER, Secret(OTHER)))
    return token_of(ada)


@ended
def challenge_of_the_second_step(people: ServedPeople, ada: Person) -> str:
    people.with_totp(ada.user)
    challenge: str = people.caller().sign_in(ada.user.name).data["challenge"]
    return challenge


@ended
def over(people: ServedPeople, ada: Person) -> str:
    short: str = ada.sign_in(ada.user.name, hours=1).data["token"]
    people.advance(hours=1, seconds=30)
    return short


@pytest.mark.parametrize("name", ENDED)
def test_a_token_that_was_good_once_is_refused_as_a_forged_one(name: str, victim: Victim) -> None:
    ada = victim.people.person()
    assert victim.tried(token_of(ada)) == (200, "")
    token = ENDED[name](victim.people, ada)
    expected = victim.tried("x.y.z")
    assert victim.tried(token) == expected
    assert victim.tried(token, order=True) == expected
    assert victim.people.service.sent() == []


def test_two_headers_are_refused_whichever_is_good(victim: Victim) -> None:
    ada = victim.people.person()
    good, bad = token_of(ada), "x.y.z"
    for first, second in ((good, good), (good, bad), (bad, good)):
        assert victim.tried(f"{first}\r\nAuthorization: Bearer {second}") == (400, "")
