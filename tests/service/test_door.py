"""Who may connect, from which pages, and how often."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from ibkit.errors import ConfigError, RateLimited, StorageError
from ibkit.service.door import Addresses, Door, check_binding, origins_of
from ibkit.service.rates import READS, READS_WITHIN_S, Rates, rates_of_reads
from service_desks import new_key, served, settings_of

PAGE = "https://app.example.com"


async def inner(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["state"]["address"].encode()})


def through(
    door: Door, *, peer: str = "127.0.0.1", method: str = "GET", path: str = "/x", **headers: str
) -> tuple[int, dict, bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": given, "client": (peer, 5)}
        await door(scope, None, send)  # type: ignore[arg-type]

    anyio.run(run)
    told = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, sent[1]["body"]


async def nobody_told(address: str) -> None:
    """Of those who are turned away."""


SEEN: list[tuple[object, ...]] = []


async def nothing_noted() -> None:
    """Of what was changed."""


def door(allowed: tuple[str, ...] = ("127.0.0.1", "::1"), proxy: str | None = None, pages: str = PAGE) -> Door:
    return Door(
        app=inner,
        addresses=Addresses.of(allowed, proxy),
        origins=origins_of(pages),
        trace_id=lambda: "0" * 16,
        tell=nobody_told,
        noted=nothing_noted,
        answered=lambda *seen: SEEN.append(seen),
        monotonic=time.monotonic,
    )


@pytest.mark.requirement("SEC-03")
@pytest.mark.parametrize("peer", ["203.0.113.9", "10.8.0.1", "::2", "", "not an address"])
def test_a_foreign_address_is_turned_away_and_counted(peer: str) -> None:
    ours = door()
    status, headers, body = through(ours, peer=peer)
    assert (status, headers["content-type"]) == (403, "application/problem+json")
    assert b"E-FORBIDDEN" in body
    assert ours.refused == {peer: 1}


@pytest.mark.requirement("SEC-03")
def test_only_the_trusted_proxy_may_say_whose_request_it_is() -> None:
    allowed = ("198.51.100.0/24",)
    assert through(door(allowed), peer="127.0.0.1", x_forwarded_for="198.51.100.7")[0] == 403
    behind = door(allowed, proxy="127.0.0.1")
    assert through(behind, peer="127.0.0.1", x_forwarded_for="198.51.100.7")[2] == b"198.51.100.7"
    forged = through(behind, peer="127.0.0.1", x_forwarded_for="198.51.100.7, 203.0.113.9")
    assert forged[0] == 403
    assert through(behind, peer="203.0.113.9", x_forwarded_for="198.51.100.7")[0] == 403
    assert through(door(), peer="::ffff:127.0.0.1")[0] == 200


@pytest.mark.requirement("SEC-03")
def test_a_browser_is_told_to_keep_to_tls_where_the_trusted_proxy_ends_it() -> None:
    behind = door(("127.0.0.0/8", "10.0.0.0/8"), proxy="127.0.0.1")
    for peer, proto, told in (
        ("127.0.0.1", "https", True),
        ("127.0.0.1", "http, https", True),
        ("127.0.0.1", "https, http", False),
        ("10.0.0.7", "https", False),
    ):
        named = {"x_forwarded_for": "10.0.0.9"} if peer == "127.0.0.1" else {}
        status, headers, _ = through(behind, peer=peer, x_forwarded_proto=proto, **named)
        assert (status, "strict-transport-security" in headers) == (200, told), (peer, proto)
    assert "strict-transport-security" not in through(door(), peer="127.0.0.1", x_forwarded_proto="https")[1]
    for host, told in (
        ("ibkit.example.com", True),
        ("localhost:8443", False),
        ("[::1]:8443", False),
        ("10.0.0.7", False),
    ):
        named = {"x_forwarded_for": "10.0.0.9", "x_forwarded_proto": "https", "host": host}
        assert ("strict-transport-security" in through(behind, peer="127.0.0.1", **named)[1]) == told, host


@pytest.mark.requirement("SEC-03")
def test_production_does_not_listen_to_others_without_saying_to_whom() -> None:
    loopback = ("127.0.0.1", "::1")
    with pytest.raises(ConfigError, match="ALLOWED_CLIENT_IPS names none"):
        check_binding("0.0.0.0", loopback, production=True)
    check_binding("0.0.0.0", ("10.8.0.0/24",), production=True)
    check_binding("0.0.0.0", loopback, production=False)
    check_binding("localhost", loopback, production=True)
    with pytest.raises(ConfigError, match=r"10\.8\.0\.300 is no address"):
        Addresses.of(("10.8.0.300",), None)


@pytest.mark.requirement("GWY-10")
def test_a_page_of_ours_is_allowed_and_another_origin_carries_no_header() -> None:
    asked = {"method": "OPTIONS", "access_control_request_method": "POST"}
    status, headers, _ = through(door(), origin=PAGE, **asked)
    assert (status, headers["access-control-allow-origin"]) == (204, PAGE)
    assert {"GET", "POST", "DELETE"} <= set(headers["access-control-allow-methods"].split(", "))
    assert headers["access-control-allow-headers"] == "Authorization, Idempotency-Key, Content-Type"
    for origin in ("https://evil.example.com", "null", PAGE + ".evil.com", "http://app.example.com"):
        for method in (asked, {}):
            _, headers, _ = through(door(), origin=origin, **method)
            assert not [name for name in headers if name.startswith("access-control")]
    assert not [n for n in through(door(pages=""), origin=PAGE, **asked)[1] if n.startswith("access-control")]


@pytest.mark.requirement("GWY-10")
@pytest.mark.parametrize("text", ["*", "https://*", "https://a.com/path", "ftp://a.com", "a.com"])
def test_a_wildcard_or_no_origin_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ConfigError, match="FRONTEND_URL"):
        origins_of(text)
    assert origins_of(" https://A.com/ , https://b.com:8443") == {"https://a.com", "https://b.com:8443"}


@pytest.mark.requirement("GWY-11")
def test_the_61st_request_of_a_minute_is_told_when_to_come_back() -> None:
    now = [1000.0]
    rates = Rates(lambda: now[0])
    for _ in range(60):
        rates.take("ada")
        now[0] += 0.5
    with pytest.raises(RateLimited) as refused:
        rates.take("ada")
    assert refused.value.details["retry_after"] == 30
    rates.take("bob")
    now[0] += 30.1
    rates.take("ada")


@pytest.mark.requirement("GWY-11")
def test_two_processes_of_a_service_count_a_users_orders_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibkit.service.serving.Rates", partial(Rates, limit=5))
    one, other = (
        settings_of(tmp_path / name, DATABASE_URL=f"sqlite:///{tmp_path}/records.sqlite") for name in ("one", "other")
    )
    with served(one) as first, served(other) as second:
        wrong = [service.order(qty=0).status for service in (first, second, first, second, first)]
        assert wrong == [422] * 5
        for service in (first, second):
            late = service.order()
            assert (late.status, late.code) == (429, "E-RATE"), late.raw
            assert 1 <= int(late.headers["retry-after"]) <= 60
        assert second.order(token="bob").status in (201, 202)


@pytest.mark.requirement("GWY-11", "GWY-03")
def test_what_cannot_be_counted_sends_no_order_but_lets_a_cancel_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(settings_of(tmp_path)) as service:
        placed = service.order(order_type="limit", limit_price=1)
        assert placed.status in (201, 202), placed.raw  # a busy machine is slower than an answer may be

        async def broken(*_: object, **__: object) -> None:
            raise StorageError("Database problem: users: locked by another program")

        monkeypatch.setattr("ibkit.store.users.SqlUsers.requested", broken)
        key, sent = new_key(), len(service.ask("GET", "/broker-order").data)
        refused = service.order(key=key)
        assert (refused.status, refused.code) == (503, "E-DB"), refused.raw
        assert len(service.ask("GET", "/broker-order").data) == sent
        assert service.ask("DELETE", f"/broker-order/{placed.data['id']}").status in (200, 202)
        monkeypatch.undo()
        assert service.order(key=key).status in (201, 202), "the key is free"


@pytest.mark.requirement("GWY-11")
def test_whoever_placed_or_asked_too_much_can_still_take_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibkit.service.serving.Rates", partial(Rates, limit=3))
    with served(settings_of(tmp_path)) as service:
        for _ in range(3):  # each of these goes to the broker, and takes no order's place
            assert service.ask("POST", "/api/ibkr/test").status == 200
        asked = service.ask("POST", "/api/ibkr/test")
        assert (asked.status, asked.code) == (429, "E-RATE")
        orders = [service.order(order_type="limit", limit_price=1) for _ in range(3)]
        assert [each.status // 100 for each in orders] == [2, 2, 2]
        late = service.order()
        assert (late.status, late.code) == (429, "E-RATE")
        for each in orders:
            gone = service.ask("DELETE", f"/broker-order/{each.data['id']}")
            assert gone.status in (200, 202), gone.raw
        beyond = service.ask("DELETE", f"/broker-order/{orders[0].data['id']}")
        assert (beyond.status, beyond.code) == (429, "E-RATE")
        assert "the kill switch cancels all" in str(beyond.json["error"]["remedy"])


@pytest.mark.requirement("GWY-11")
def test_a_user_reads_fifty_times_a_second_and_a_page_all_it_needs_at_once() -> None:
    now = [1000.0]
    rates = rates_of_reads(lambda: now[0])
    for _ in range(READS):
        rates.take("ada")
    with pytest.raises(RateLimited, match="100 reads in 2 s") as refused:
        rates.take("ada")
    assert refused.value.details["retry_after"] == READS_WITHIN_S
    rates.take("bob")
    now[0] += READS_WITHIN_S
    rates.take("ada")


@pytest.mark.requirement("GWY-11", "MON-01")
def test_reads_are_counted_for_each_user_and_the_status_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = partial(Rates, limit=3, what="reads")
    monkeypatch.setattr("ibkit.service.serving.rates_of_reads", few)
    with served(settings_of(tmp_path)) as service:
        for path in ("/broker-order", "/api/brokers", "/broker-order"):
            assert service.ask("GET", path).status == 200
        late = service.ask("GET", "/broker-order")
        assert (late.status, late.code) == (429, "E-RATE")
        assert 1 <= int(late.headers["retry-after"]) <= 60
        assert service.ask("GET", "/broker-order", token="bob").status == 200
        assert {service.ask("GET", "/api/ibkr/status").status for _ in range(20)} == {200}
        assert service.order().status in (201, 202)  # orders have a rate of their own
        assert service.ask("GET", "/health", token=None).status == 200


@pytest.mark.requirement("MON-09")
@pytest.mark.parametrize(
    ("method", "path", "waits"),
    [
        ("POST", "/orders/kill", True),
        ("POST", "/orders/release", True),
        ("POST", "/orders/questions/1", True),
        ("DELETE", "/api/users/1", True),
        ("POST", "/api/broker-order", False),
        ("POST", "/broker-order", False),
        ("POST", "/api/option-sale", False),
        ("GET", "/orders", False),
    ],
)
def test_what_changes_something_is_answered_once_the_audit_log_has_it_and_orders_at_once(
    method: str, path: str, waits: bool
) -> None:
    waited: list[str] = []

    async def noted() -> None:
        waited.append(path)

    ours = door()
    ours.noted = noted
    assert through(ours, method=method, path=path)[0] == 200
    assert waited == [path] * waits
