"""Alerts on their way: once for equal events, at least once over crashes, and never in the way of an order."""

from __future__ import annotations

import dataclasses
import logging
import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from ibkit.bootstrap.alerting import beside
from ibkit.errors import StorageError
from ibkit.model import Secret
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.alerting import Channel, ChannelKind, DeliveryState, EventKind
from notify.conftest import KEY, START, Make
from receivers import hook, mailbox

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


def mail_settings(port: int) -> dict[str, str]:
    return {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(port),
        "ADMIN_EMAILS": "one@example.org",
        "ALERT_EMAIL_FROM": "ibkit@example.org",
    }


@pytest.mark.requirement("MON-07")
async def test_fifty_equal_events_are_one_message_and_later_one_with_their_count(desk_of: Make) -> None:
    async with hook() as web, mailbox() as mail:
        desk = desk_of(ALERT_WEBHOOK_URL=web.url, **mail_settings(mail.port))
        for _ in range(50):
            await desk.hears(desk.event())
            desk.clock.advance(1)
        assert (len(web.requests), len(mail.mails)) == (1, 1)
        assert web.documents[0]["count"] == 1

        desk.clock.advance(30 * 60)
        await desk.dispatcher.once()
        desk.clock.advance(30 * 60)
        await desk.dispatcher.once()

        assert [each["count"] for each in web.documents] == [1, 50]
        assert [each["reason"] for each in web.documents] == ["first", "count"]
        assert len(mail.mails) == 2
        assert "(50 times)" in mail.mails[1]["Subject"]
        assert "50 times from" in mail.mails[1].get_content()
        assert mail.recipients == [["one@example.org"]] * 2


@pytest.mark.requirement("MON-07")
async def test_a_webhook_can_be_verified_with_ten_lines(desk_of: Make) -> None:
    async with hook() as web:
        desk = desk_of(ALERT_WEBHOOK_URL=web.url, ALERT_WEBHOOK_SECRET=KEY)
        await desk.hears(desk.event())
    headers, body = web.requests[0]
    [program] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guide/alerts.md").read_text(), re.DOTALL)
    receiver: dict[str, Any] = {}
    exec(program, receiver)
    verified, now = receiver["verified"], START.timestamp()
    assert verified(headers, body, KEY, now)
    assert not verified(headers, body + b" ", KEY, now)
    assert not verified({**headers, "webhook-id": "other"}, body, KEY, now)
    assert not verified(headers, body, "another secret", now)
    assert not verified(headers, body, KEY, now + 301)
    assert int(headers["webhook-timestamp"]) == int(START.timestamp())
    assert headers["webhook-id"] == web.documents[0]["id"]


@pytest.mark.requirement("MON-07")
async def test_a_failed_delivery_is_tried_three_times_more_and_then_shown(desk_of: Make) -> None:
    async with hook() as web:
        web.answers = [500] * 10
        desk = desk_of(ALERT_WEBHOOK_URL=web.url)
        await desk.hears(desk.event())
        for _ in range(10):
            desk.clock.advance(160)
            await desk.dispatcher.once()
    assert len(web.requests) == 4
    assert len({headers.get("webhook-id") for headers, _ in web.requests} | {each["id"] for each in web.documents}) <= 2
    failed = [each for each in await desk.incidents.deliveries() if each.channel == "webhook"]
    assert [(each.state, each.attempts) for each in failed] == [(DeliveryState.FAILED, 4)]
    assert failed[0].error == "the receiver answered HTTP 500"


async def test_a_receiver_that_recovers_gets_the_message_late_but_once(desk_of: Make) -> None:
    async with hook() as web:
        web.answers = [503]
        desk = desk_of(ALERT_WEBHOOK_URL=web.url)
        await desk.hears(desk.event())
        desk.clock.advance(4)
        assert await desk.dispatcher.once() == 0 or len(web.requests) == 2
        desk.clock.advance(10)
        await desk.dispatcher.once()
        desk.clock.advance(600)
        await desk.dispatcher.once()
    assert len(web.requests) == 2
    assert web.documents[0]["id"] == web.documents[1]["id"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_and_not_tried_again(desk_of: Make, status: int) -> None:
    async with hook() as web:
        web.answers = [status]
        desk = desk_of(ALERT_WEBHOOK_URL=web.url)
        await desk.hears(desk.event())
        desk.clock.advance(600)
        await desk.dispatcher.once()
    assert len(web.requests) == 1
    [failed] = [each for each in await desk.incidents.deliveries() if each.channel == "webhook"]
    assert failed.state is DeliveryState.FAILED
    assert "redirect" in failed.error


async def test_what_a_process_took_and_did_not_settle_is_delivered_after_its_end(desk_of: Make) -> None:
    async with hook() as web:
        first = desk_of(ALERT_WEBHOOK_URL=web.url)
        first.dispatcher.tell(first.event())
        await first.dispatcher.look()
        taken = await first.incidents.claim(first.clock.now(), most=8)  # and then it is killed
        assert {each.channel for each in taken} == {"log", "webhook"}

        second = desk_of(ALERT_WEBHOOK_URL=web.url)
        await second.dispatcher.once()
        assert web.requests == []  # the other may still be at it
        second.clock.advance(121)
        await second.dispatcher.once()
        assert len(web.requests) == 1
        second.clock.advance(121)
        await second.dispatcher.once()
    assert len(web.requests) == 1


class OpenAlerts:
    def __init__(self, *alerts: Alert) -> None:
        self.alerts = alerts

    async def open(self, *, kind: AlertKind | None = None) -> tuple[Alert, ...]:
        return self.alerts


NAKED = Alert(
    kind=AlertKind.UNPROTECTED,
    severity=Severity.CRITICAL,
    subject="trade-1",
    message="SPY 629 P has no working stop",
    at=START,
    alert_id="0b8f9a52-0000-5000-8000-000000000001",
)


async def test_an_open_alert_of_the_journal_is_told_once_and_closed_when_it_is_settled(desk_of: Make) -> None:
    async with hook() as web:
        alerts = OpenAlerts(NAKED)
        desk = desk_of(alerts=alerts, ALERT_WEBHOOK_URL=web.url)
        for _ in range(3):
            await desk.dispatcher.once()
        again = desk_of(alerts=alerts, ALERT_WEBHOOK_URL=web.url)  # a restart is no new event
        await again.dispatcher.once()
        assert [each["event"] for each in web.documents] == ["position.unprotected"]
        [standing] = await again.incidents.incidents()
        assert (standing.count, standing.severity) == (1, Severity.CRITICAL)

        alerts.alerts = ()
        await again.dispatcher.once()
    assert await again.incidents.incidents() == []


async def test_an_alert_of_the_journal_goes_to_the_channels_of_whose_it_is(desk_of: Make) -> None:
    """A stop that is missing is nothing the operator of many users can mend: its trader has to hear."""

    async def whose(alert: Alert) -> str:
        return {"DU1": "ada"}.get(alert.details["account"], "")

    of_ada = dataclasses.replace(NAKED, details={"account": "DU1"})
    others = {"alert_id": "0b8f9a52-0000-5000-8000-000000000002", "subject": "trade-2", "details": {"account": "DU2"}}
    async with hook() as operator, hook() as ada:
        desk = desk_of(
            alerts=OpenAlerts(of_ada, dataclasses.replace(NAKED, **others)), whose=whose, ALERT_WEBHOOK_URL=operator.url
        )
        await desk.channels.put(
            Channel(name="ada's", kind=ChannelKind.WEBHOOK, user="ada", created_at=START), Secret(ada.url), Secret(KEY)
        )
        await desk.dispatcher.once()
        told = [[each["subject"] for each in heard.documents] for heard in (ada, operator)]
    assert told == [["unprotected trade-1"], ["unprotected trade-2"]]
    assert {each.user for each in await desk.incidents.incidents()} == {"ada", ""}


async def test_changed_words_of_an_open_alert_count_as_another_event(desk_of: Make) -> None:
    alerts = OpenAlerts(NAKED)
    desk = desk_of(alerts=alerts)
    await desk.dispatcher.once()
    alerts.alerts = (dataclasses.replace(NAKED, message="SPY 629 P has no working stop; buying back failed"),)
    await desk.dispatcher.once()
    [standing] = await desk.incidents.incidents()
    assert (standing.count, standing.message) == (2, alerts.alerts[0].message)


async def test_a_critical_alert_goes_to_the_next_level_until_it_is_acknowledged(desk_of: Make) -> None:
    async with hook() as first, hook() as second:
        desk = desk_of(ALERT_WEBHOOK_URL=first.url)
        await desk.channels.put(
            Channel(name="on call", kind=ChannelKind.WEBHOOK, level=1, created_at=START),
            Secret(second.url),
            Secret(KEY),
        )
        await desk.hears(desk.event(EventKind.POSITION_UNPROTECTED))
        desk.clock.advance(14 * 60)
        await desk.dispatcher.once()
        assert (len(first.requests), len(second.requests)) == (1, 0)
        desk.clock.advance(60)
        await desk.dispatcher.once()
        assert (len(first.requests), [each["reason"] for each in second.documents]) == (1, ["escalation"])
        desk.clock.advance(3600)
        await desk.dispatcher.once()
        assert len(second.requests) == 2

        [standing] = await desk.incidents.incidents()
        await desk.incidents.acknowledge(standing.incident_id[:8], by="anna", at=desk.clock.now())
        desk.clock.advance(7200)
        await desk.dispatcher.once()
    assert (len(first.requests), len(second.requests)) == (1, 2)


async def test_a_receiver_that_hangs_delays_neither_the_others_nor_who_tells(desk_of: Make) -> None:
    async with hook() as slow, hook() as quick:
        slow.slow_s = 5.0
        desk = desk_of(ALERT_WEBHOOK_URL=slow.url)
        await desk.channels.put(
            Channel(name="quick", kind=ChannelKind.WEBHOOK, created_at=START), Secret(quick.url), None
        )
        with anyio.move_on_after(2.0) as scope:
            await desk.hears(desk.event())
        assert scope.cancelled_caught  # the slow one was still waited for
        assert len(quick.requests) == 1
        begun = anyio.current_time()
        for _ in range(5_000):
            desk.dispatcher.tell(desk.event())
        assert anyio.current_time() - begun < 1.0


async def test_a_database_that_fails_loses_nothing_that_was_told(desk_of: Make, monkeypatch: Any) -> None:
    desk = desk_of()
    note = desk.incidents.note

    async def failing(*args: Any, **more: Any) -> Any:
        raise StorageError("Database problem: disk full")

    monkeypatch.setattr(desk.incidents, "note", failing)
    with pytest.raises(StorageError):
        await desk.hears(desk.event())
    monkeypatch.setattr(desk.incidents, "note", note)
    await desk.dispatcher.once()
    assert len(await desk.incidents.incidents()) == 1


async def test_an_address_never_reaches_a_log_or_a_receipt(desk_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with hook() as web, mailbox() as mail:
        mail.refuse = True
        web.answers = [500] * 9
        desk = desk_of(
            ALERT_WEBHOOK_URL=web.url, SMTP_USER="robot", SMTP_PASSWORD="hunter2-canary", **mail_settings(mail.port)
        )
        await desk.channels.put(
            Channel(name="chat", kind=ChannelKind.SERVICE, created_at=START),
            Secret("ntfys://ntfy.invalid/topic-canary"),
            None,
        )
        await desk.hears(desk.event())
    said = caplog.text + " ".join(each.error for each in await desk.incidents.deliveries())
    said += " ".join(str(vars(record)) for record in caplog.records if record.name.startswith("ibkit"))
    assert "an alert was not delivered" in said
    for canary in ("very-secret-path", "hunter2-canary", "topic-canary"):
        assert canary not in said


async def test_a_restored_connection_ends_the_alert_of_its_loss(desk_of: Make) -> None:
    desk = desk_of()
    await desk.hears(desk.event(EventKind.CONNECTION_LOST, "paper oauth1a"), desk.event(EventKind.CONNECTION_LOST, "x"))
    await desk.hears(desk.event(EventKind.CONNECTION_RESTORED, "paper oauth1a"))
    standing = {(each.event, each.subject) for each in await desk.incidents.incidents()}
    assert standing == {(EventKind.CONNECTION_LOST, "x"), (EventKind.CONNECTION_RESTORED, "paper oauth1a")}
    desk.clock.advance(1801)
    await desk.dispatcher.once()
    assert {each.subject for each in await desk.incidents.incidents()} == {"x"}


async def test_beside_other_work_it_delivers_and_a_fault_of_it_ends_nothing(desk_of: Make, monkeypatch: Any) -> None:
    async with hook() as web:
        desk = desk_of(ALERT_WEBHOOK_URL=web.url)
        broken = [ValueError("a fault of ours")]
        look = desk.dispatcher.look
        told = anyio.Event()

        async def faulty() -> None:
            if broken:
                raise broken.pop()
            await look()

        async def until_taken(seconds: float) -> None:
            if web.requests:
                told.set()
            desk.clock.advance(seconds)
            await anyio.sleep(0.01)

        monkeypatch.setattr(desk.dispatcher, "look", faulty)
        monkeypatch.setattr(desk.clock, "sleep", until_taken)

        async def work() -> None:
            async with beside(desk.dispatcher.run):
                desk.dispatcher.tell(desk.event())
                with anyio.fail_after(10):
                    await told.wait()
                raise StorageError("of the work itself")

        with pytest.raises(StorageError):  # as it was raised, not in a group
            await work()
    assert [each["event"] for each in web.documents] == ["order.rejected"]


async def test_a_database_that_is_away_is_told_by_the_channels_that_need_none(desk_of: Make, monkeypatch: Any) -> None:
    """An alert that waits for the database to come back says nothing of its absence."""
    async with hook() as web:
        web.answers = [500]
        desk = desk_of(ALERT_WEBHOOK_URL=web.url)
        looks = 0
        enough = anyio.Event()

        async def away() -> None:
            nonlocal looks
            looks += 1
            if looks == 2:
                assert web.requests == [], "one look that fails may be a lock of a moment"
            raise StorageError("Database problem: trades database: connection refused")

        async def sleep(seconds: float) -> None:
            desk.clock.advance(seconds)
            await anyio.sleep(0.01)
            if looks > 12 and len(web.requests) > 1:
                enough.set()

        async def no_database() -> Any:
            raise StorageError("Database problem: trades database: connection refused")

        monkeypatch.setattr(desk.dispatcher, "look", away)
        monkeypatch.setattr(desk.channels, "all", no_database)
        monkeypatch.setattr(desk.clock, "sleep", sleep)
        async with beside(desk.dispatcher.run):
            with anyio.fail_after(30):
                await enough.wait()
    documents = web.documents
    assert len(documents) == 2, "refused once, taken the second time, and told once for the outage"
    assert {each["id"] for each in documents} == {documents[0]["id"]}
    assert (documents[0]["event"], documents[0]["severity"]) == ("storage.problem", "critical")
    assert documents[0]["runbook"] == "docs/runbooks/storage-problem.md"
    assert "connection refused" in documents[0]["message"]
