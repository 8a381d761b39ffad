"""When something is told: the rules alone, with the time given."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from ibkit.errors import (
    CredentialsRejected,
    SessionExpired,
    SessionTaken,
    StorageError,
    UnexpectedAnswer,
    Unreachable,
)
from ibkit.trading.alert import AlertKind, Severity
from ibkit.trading.alerting import (
    ABOUT,
    Audience,
    Channel,
    ChannelKind,
    Downtime,
    EventKind,
    Failures,
    Happening,
    Incident,
    Reason,
    Repeats,
    Signs,
    Usage,
    next_try,
    noted,
    pending,
    route,
    sees_no_more,
)
from ibkit.trading.alerting.channel import last_level
from ibkit.trading.alerting.translation import EVENT_OF

T0 = datetime(2026, 11, 27, 15, 0, tzinfo=UTC)
LISTED = [
    "session.expiring",
    "session.expired",
    "session.needs_login",
    "session.competing",
    "connection.lost",
    "connection.restored",
    "auth.failed",
    "auth.paused",
    "order.rejected",
    "order.unknown",
    "stop.failed",
    "position.unprotected",
    "sync.failed",
    "key.rotation_due",
    "credential.old",
    "storage.problem",
    "maintenance.planned",
    "gateway.update",
    "security.finding",
    "persistent.issue",
]


def at(**passed: float) -> datetime:
    return T0 + timedelta(**passed)


def event(kind: EventKind = EventKind.ORDER_REJECTED, when: datetime = T0, **more: str) -> Happening:
    return Happening(event=kind, subject="AAPL", message="refused", at=when, **more)


def one(kind: EventKind = EventKind.ORDER_REJECTED) -> Incident:
    return noted(None, event(kind), incident_id="one")


@pytest.mark.requirement("MON-07")
def test_every_event_of_the_requirement_is_there_with_what_helps() -> None:
    assert set(LISTED) <= {kind.value for kind in EventKind}
    assert set(ABOUT) == set(EventKind)
    assert all(about.title and about.remedy and about.runbook for about in ABOUT.values())
    assert set(EVENT_OF) == set(AlertKind)


@pytest.mark.requirement("MON-07")
def test_an_event_is_told_at_once_and_its_repetitions_half_an_hour_later() -> None:
    told = pending(one(), T0, last_level=0)
    assert told is not None
    assert (told.reason, told.incident.told_count) == (Reason.FIRST, 1)
    again = noted(told.incident, event(when=at(minutes=1)), incident_id="two")
    assert (again.incident_id, again.count) == ("one", 2)
    assert pending(again, at(minutes=29, seconds=59), last_level=0) is None
    later = pending(again, at(minutes=30), last_level=0)
    assert later is not None
    assert (later.reason, later.incident.told_count) == (Reason.COUNT, 2)
    assert pending(later.incident, at(hours=9), last_level=0) is None


def test_only_what_is_critical_escalates_and_only_until_it_is_acknowledged() -> None:
    for kind, wanted in ((EventKind.ORDER_REJECTED, None), (EventKind.ORDER_UNKNOWN, Reason.ESCALATION)):
        told = pending(one(kind), T0, last_level=2)
        assert told is not None
        assert pending(told.incident, at(minutes=14), last_level=2) is None
        next_ = pending(told.incident, at(minutes=15), last_level=2)
        assert (next_ and next_.reason) == wanted
        if next_ is not None:
            assert next_.level == 1
            second = pending(next_.incident, at(minutes=30), last_level=2)
            assert second is not None
            assert second.level == 2
            assert pending(second.incident, at(minutes=80), last_level=2) is None
            last = pending(second.incident, at(minutes=90), last_level=2)
            assert last is not None
            assert last.level == 2
            known = dataclasses.replace(last.incident, acknowledged_at=at(minutes=91))
            assert pending(known, at(days=2), last_level=2) is None


def test_what_grows_worse_is_told_anew_although_it_was_acknowledged() -> None:
    told = pending(one(), T0, last_level=0)
    assert told is not None
    known = dataclasses.replace(told.incident, acknowledged_at=T0, acknowledged_by="anna")
    same = noted(known, event(when=at(minutes=1)), incident_id="-")
    assert pending(same, at(hours=2), last_level=0) is None
    worse = noted(known, dataclasses.replace(event(when=at(minutes=1)), severity=Severity.CRITICAL), incident_id="-")
    assert worse.acknowledged_at is None
    again = pending(worse, at(minutes=1), last_level=0)
    assert again is not None
    assert again.incident.severity is Severity.CRITICAL


def test_a_notice_is_over_by_itself_and_a_warning_is_not() -> None:
    notice = pending(one(EventKind.CONNECTION_RESTORED), T0, last_level=0)
    warning = pending(one(), T0, last_level=0)
    assert notice is not None
    assert warning is not None
    assert sees_no_more(notice.incident, at(minutes=29)) is None
    assert sees_no_more(notice.incident, at(minutes=30))
    assert sees_no_more(warning.incident, at(days=30)) is None
    assert sees_no_more(dataclasses.replace(warning.incident, acknowledged_at=T0), at(days=1))


def test_each_hears_what_they_chose_and_nobody_is_left_out() -> None:
    hook = Channel(name="hook", kind=ChannelKind.WEBHOOK)
    anna = Channel(name="chat", kind=ChannelKind.SERVICE, user="anna", severities=frozenset({Severity.CRITICAL}))
    log = Channel(name="log", kind=ChannelKind.LOG)
    off = Channel(name="off", kind=ChannelKind.WEBHOOK, enabled=False)
    everybody = (hook, anna, log, off)
    hers = dataclasses.replace(one(EventKind.ORDER_UNKNOWN), user="anna")
    assert route(hers, 0, everybody) == (log, anna)
    assert route(dataclasses.replace(hers, severity=Severity.WARNING), 0, everybody) == (log, hook)
    assert route(dataclasses.replace(hers, user="ben"), 0, everybody) == (log, hook)
    admins = dataclasses.replace(hers, event=EventKind.PERSISTENT_ISSUE)
    assert admins.audience is Audience.ADMINISTRATORS
    assert route(admins, 0, everybody) == (log, hook)


@pytest.mark.requirement("MON-07")
def test_a_message_is_tried_three_times_more_with_growing_pauses() -> None:
    pauses = [(next_try(n, T0, chance=0.5), n) for n in (1, 2, 3, 4)]
    assert [(when - T0).total_seconds() if when else None for when, _ in pauses] == [5, 25, 125, None]


@pytest.mark.requirement("MON-08")
def test_six_equal_failures_are_exactly_one_persistent_issue() -> None:
    repeats = Repeats()
    found = [repeats.failed("E-UPSTREAM", "paper", at(minutes=n), trace_id=f"t{n}", remedy="Wait.") for n in range(6)]
    assert [each is not None for each in found] == [False] * 4 + [True, False]
    issue = found[4]
    assert issue is not None
    assert (issue.event, ABOUT[issue.event].audience) == (EventKind.PERSISTENT_ISSUE, Audience.ADMINISTRATORS)
    assert issue.details["first_at"] == T0.isoformat()
    assert (issue.details["count"], issue.details["trace_ids"], issue.remedy) == ("5", "t0 t1 t2 t3 t4", "Wait.")


@pytest.mark.requirement("MON-08")
def test_failures_of_other_kinds_or_too_far_apart_are_none() -> None:
    repeats = Repeats()
    assert all(repeats.failed(f"E-{n}", "paper", T0) is None for n in range(6))
    assert all(repeats.failed("E-DB", f"c{n}", T0) is None for n in range(6))
    assert all(repeats.failed("E-RATE", "paper", at(minutes=3 * n)) is None for n in range(20))


@pytest.mark.requirement("MON-08")
def test_an_outage_of_more_than_fifteen_minutes_is_one_issue() -> None:
    downtime = Downtime()
    told = [each.event.value for n in range(40) for each in downtime.down("paper", "no answer", at(minutes=n))]
    assert told == ["connection.lost", "persistent.issue"]
    [back] = downtime.up("paper", at(minutes=40))
    assert (back.event, back.message) == (EventKind.CONNECTION_RESTORED, "paper is back after 2400 s")
    assert downtime.up("paper", at(minutes=41)) == ()


@pytest.mark.requirement("MON-11")
def test_ten_bad_tokens_of_one_address_are_one_finding_with_the_address() -> None:
    failures = Failures()
    found = [failures.failed("address", "203.0.113.7", at(seconds=n)) for n in range(25)]
    [finding] = [each for each in found if each is not None]
    assert (finding.event, finding.details["address"]) == (EventKind.SECURITY_FINDING, "203.0.113.7")
    assert "203.0.113.7" in finding.message
    assert all(failures.failed("address", f"203.0.113.{n}", at(seconds=n)) is None for n in range(20, 40))
    assert failures.failed("address", "203.0.113.7", at(hours=2)) is None


@pytest.mark.requirement("MON-06")
def test_the_eighty_first_of_a_hundred_snapshots_is_one_warning_a_day() -> None:
    usage = Usage()
    found = [usage.used("snapshots", 100, T0) for _ in range(100)]
    [warning] = [(n, each) for n, each in enumerate(found, 1) if each is not None]
    assert warning[0] == 81
    assert warning[1].message == "81 of 100 snapshots are used today"
    assert ABOUT[warning[1].event].severity is Severity.WARNING
    assert usage.counts() == {("", "snapshots"): 100}
    tomorrow = [usage.used("snapshots", 100, at(days=1)) for _ in range(81)]
    assert [each is not None for each in tomorrow].count(True) == 1
    assert usage.standing("lines", 79, 100, at(days=1)) is None
    assert usage.standing("lines", 90, 100, at(days=1), user="") is not None
    assert usage.standing("lines", 50, 100, at(days=1)) is None
    assert usage.standing("lines", 95, 100, at(days=1)) is None
    assert usage.used("history", 0, T0) is None


@pytest.mark.parametrize(
    ("error", "events"),
    [
        (SessionExpired(), ["session.expired"]),
        (SessionTaken(), ["session.competing"]),
        (CredentialsRejected(), ["auth.failed"]),
        (CredentialsRejected(code="E-AUTH-BACKOFF"), ["auth.paused"]),
        (Unreachable(code="E-GW-NOAUTH"), ["session.needs_login"]),
        (StorageError("full"), ["storage.problem"]),
        (Unreachable("refused"), ["connection.lost"]),
        (UnexpectedAnswer("maintenance", code="E-MAINT"), []),
    ],
)
def test_a_failure_of_the_connection_is_told_as_what_it_is(error: StorageError, events: list[str]) -> None:
    signs = Signs("paper oauth1a")
    assert [each.event.value for each in signs.heard(error, T0)] == events


@pytest.mark.requirement("MON-08")
def test_a_connection_that_goes_on_failing_is_an_issue_and_its_return_a_notice() -> None:
    signs = Signs("paper oauth1a")
    told = [each.event.value for n in range(30) for each in signs.heard(Unreachable("refused"), at(minutes=n))]
    assert told == ["connection.lost", "persistent.issue"]  # one of it, though it repeats and is down for long
    assert [each.event.value for each in signs.heard(None, at(minutes=30))] == ["connection.restored"]
    seldom = [each.event.value for n in range(3) for each in signs.heard(Unreachable("no"), at(hours=2, minutes=8 * n))]
    assert seldom == ["connection.lost", "persistent.issue"]  # too seldom to repeat, but down for more than 15 minutes


@pytest.mark.requirement("LIM-08")
def test_maintenance_is_no_alarm_unless_it_lasts_longer_than_half_an_hour() -> None:
    planned = UnexpectedAnswer("maintenance", code="E-MAINT")
    signs = Signs("paper oauth1a")
    told = [each.event.value for n in range(31) for each in signs.heard(planned, at(minutes=n))]
    assert told == []
    assert [each.event.value for each in signs.heard(planned, at(minutes=31))] == ["connection.lost"]
    assert [each.event.value for each in signs.heard(planned, at(minutes=47))] == ["persistent.issue"]
    assert [each.event.value for each in signs.heard(None, at(minutes=50))] == ["connection.restored"]
    assert signs.heard(planned, at(hours=24)) == ()  # the next night's begins anew
    assert signs.heard(planned, at(hours=24, minutes=29)) == ()


@pytest.mark.requirement("LIM-08")
def test_what_outlasts_the_window_by_another_error_is_told_at_once() -> None:
    signs = Signs("paper oauth1a")
    assert signs.heard(UnexpectedAnswer("maintenance", code="E-MAINT"), T0) == ()
    assert [each.event.value for each in signs.heard(Unreachable("refused"), at(minutes=15))] == ["connection.lost"]


@pytest.mark.requirement("MON-07")
def test_a_new_process_ends_what_the_one_before_it_left_open_and_says_nothing_else() -> None:
    """A person logs in and starts the worker again: `Login needed` must not be told every hour from then on."""
    signs = Signs("paper gateway")
    [first] = signs.heard(None, T0)
    assert (first.event, first.only_ends) == (EventKind.CONNECTION_RESTORED, True)
    assert {EventKind.SESSION_NEEDS_LOGIN, EventKind.PERSISTENT_ISSUE} <= set(ABOUT[first.event].ends)
    assert signs.heard(None, at(minutes=1)) == ()


@pytest.mark.requirement("MON-07")
def test_the_issue_of_an_outage_is_about_what_its_end_is_about() -> None:
    signs = Signs("paper gateway")
    told = [each for n in range(0, 30, 9) for each in signs.heard(Unreachable("no"), at(minutes=n))]
    [back] = signs.heard(None, at(minutes=40))
    assert [each.event.value for each in told] == ["connection.lost", "persistent.issue"]
    assert {each.subject for each in told} == {back.subject}
    assert not back.only_ends


def test_another_users_channels_make_no_level_of_an_alert() -> None:
    """Else a critical that nobody acknowledged would climb to where nobody hears of it, and stay there."""
    of_all, hers = (
        Channel(name="pager", kind=ChannelKind.WEBHOOK),
        Channel(name="b", kind=ChannelKind.WEBHOOK, user="ben"),
    )
    far = dataclasses.replace(hers, level=5)
    critical = dataclasses.replace(one(), severity=Severity.CRITICAL, user="anna")
    assert last_level(critical, [of_all, far]) == 0
    assert last_level(dataclasses.replace(critical, user="ben"), [of_all, far]) == 5
    assert last_level(critical, [of_all, dataclasses.replace(of_all, name="late", level=2)]) == 2
    assert last_level(critical, [dataclasses.replace(of_all, level=3, severities=frozenset({Severity.INFO}))]) == 0
    assert route(critical, 0, [of_all, hers]) == (of_all,)
