"""Streams of a browser that has signed in: its cookie opens them for pages of the service, and for no other page."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from ibkit.service.browsers import from_own_page
from ibkit.users import Role
from service_people import Caller, ServedPeople, served_people
from user_desks import PASSWORD

pytestmark = pytest.mark.requirement("GWY-02", "GWY-06")
PATHS = ["/broker-order/events", "/quotes/events?symbols=AAPL&broker=mock", "/api/ibkr/events"]
EVIL = "https://evil.example"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPeople]:
    folder: Path = tmp_path_factory.mktemp("streams")
    with served_people(folder) as found:
        yield found


@pytest.fixture
def browser(people: ServedPeople) -> Caller:
    tom = people.person(Role.TRADER)
    caller = people.caller()
    return caller.at_browser(caller.sign_in(tom.user.name, PASSWORD.reveal(), browser=True))


def of(browser: Caller, **changes: str | None) -> dict[str, str]:
    """Its headers, as the upgrade carries them: a page cannot add the CSRF token there. None takes one away."""
    headers: dict[str, str | None] = {"X-Forwarded-For": browser.address, **browser.auth, "X-CSRF-Token": None}
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in headers.items() if value is not None}


def upgraded(browser: Caller, path: str, **changes: str | None) -> ClientConnection:
    where = browser.service.address.replace("http://", "ws://") + path
    return connect(where, additional_headers=of(browser, **changes), close_timeout=1)


def closed(line: ClientConnection) -> tuple[int, Any]:
    told = json.loads(line.recv(timeout=15))
    with pytest.raises(ConnectionClosed) as caught:
        line.recv(timeout=15)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, told["data"]["code"]


def opened(browser: Caller, path: str, **changes: str | None) -> tuple[int, http.client.HTTPResponse, Any]:
    where = urlsplit(browser.service.address)
    call = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    call.request("GET", path, headers=of(browser, **changes))
    answer = call.getresponse()
    return answer.status, answer, call


@pytest.mark.parametrize("path", PATHS)
def test_a_page_of_ours_listens_by_its_cookie_over_both_ways(browser: Caller, path: str) -> None:
    for changes in ({}, {"Origin": None}):  # a browser names no Origin with a GET of its own site
        status, answer, call = opened(browser, path, **changes)
        assert status == 200, answer.read()
        assert answer.readline() == b"retry: 2000\n"
        call.close()
    with upgraded(browser, path) as line, suppress(TimeoutError):  # nothing happened yet, and nobody closed it
        assert json.loads(line.recv(timeout=0.5))["event"] != "error"


def test_what_it_hears_is_its_users_own(people: ServedPeople, browser: Caller) -> None:
    other = people.person(Role.TRADER)
    with upgraded(browser, "/broker-order/events") as line:
        body = {"symbol": "AAPL", "action": "buy", "qty": 3, "order_type": "market", "broker": "mock"}
        theirs = other.ask("POST", "/broker-order", body, key="a-key-of-somebody-else")
        mine = browser.ask("POST", "/broker-order", body, key="a-key-of-the-browsers")
        told = json.loads(line.recv(timeout=15))
    assert {theirs.status, mine.status} <= {201, 202}, (theirs.raw, mine.raw)
    assert told["data"]["id"] == mine.data["id"]


@pytest.mark.requirement("GWY-10", "UI-01")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "changes",
    [
        {"Origin": EVIL},
        {"Origin": EVIL, "Sec_Fetch_Site": None},
        {"Origin": "null", "Sec_Fetch_Site": None},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_a_page_of_another_site_hears_nothing_with_the_cookie(
    browser: Caller, path: str, changes: dict[str, str | None]
) -> None:
    with upgraded(browser, path, **changes) as line:
        assert closed(line) == (4403, "E-FORBIDDEN")
    status, answer, call = opened(browser, path, **changes)
    assert (status, json.loads(answer.read())["error"]["code"]) == (403, "E-FORBIDDEN")
    call.close()


@pytest.mark.requirement("GWY-10", "UI-01")
def test_an_upgrade_with_a_cookie_and_no_origin_is_refused(browser: Caller) -> None:
    for more in ({}, {"Sec_Fetch_Site": None}):
        with upgraded(browser, "/broker-order/events", Origin=None, **more) as line:
            assert closed(line) == (4403, "E-FORBIDDEN")


@pytest.mark.requirement("GWY-10", "UI-01")
@pytest.mark.parametrize(
    ("origin", "host", "ours"),
    [
        ("https://ibkit.example", "ibkit.example", True),
        ("https://ibkit.example:8443", "ibkit.example:8443", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://localhost:8000", "localhost:8000", True),
        ("http://ibkit.example", "ibkit.example", False),  # whoever is on the way could have made that page
        ("https://evil.example", "ibkit.example", False),
        ("null", "ibkit.example", False),
    ],
)
def test_which_pages_are_ours(origin: str, host: str, ours: bool) -> None:
    asking = SimpleNamespace(scope={"headers": [(b"origin", origin.encode()), (b"host", host.encode())]})
    assert from_own_page(asking) is ours


def test_a_cookie_that_is_none_or_no_more_opens_nothing(people: ServedPeople, browser: Caller) -> None:
    with upgraded(browser, "/broker-order/events", Cookie="__Host-ibkit=" + "x" * 43) as line:
        assert closed(line) == (4401, "E-APP-AUTH")
    assert browser.ask("POST", "/api/sign-out").status == 200
    with upgraded(browser, "/broker-order/events") as line:
        assert closed(line) == (4401, "E-APP-AUTH")
    status, _, call = opened(browser, "/broker-order/events")
    assert status == 401
    call.close()


def test_a_stream_ends_with_its_browsers_session_and_keeps_none_alive(
    people: ServedPeople, browser: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that somebody left open is idle, however much comes to it."""
    monkeypatch.setattr("ibkit.service.events.ASK_AGAIN_S", 0.1)
    with upgraded(browser, "/broker-order/events") as line:
        for _ in range(2):
            people.clock.advance(20 * 60)  # of 30 minutes
            try:
                told = json.loads(line.recv(timeout=1))
            except TimeoutError:
                continue
            assert told["data"]["code"] == "E-APP-AUTH"
            return
        pytest.fail("the stream outlived its session")


@pytest.mark.parametrize("by", ["events", "socket"])
def test_opening_a_stream_again_and_again_keeps_no_session_alive(
    people: ServedPeople, browser: Caller, by: str
) -> None:
    """A page does it whenever it is looked at, and after every break: nobody has done anything then."""
    for minutes in (20, 20):  # of 30
        people.clock.advance(minutes * 60)
        if by == "events":
            status, _, call = opened(browser, "/quotes/events?symbols=AAPL&broker=mock")
            call.close()
        else:
            with upgraded(browser, "/broker-order/events") as line, suppress(TimeoutError):
                status = 401 if json.loads(line.recv(timeout=0.5))["event"] == "error" else 200
    assert status == 401
