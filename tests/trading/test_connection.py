"""A connection's states, warnings and availability: values alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from ibkit.errors import (
    AuthError,
    ConfigError,
    CredentialsRejected,
    IbkitError,
    OutcomeUnknown,
    RateLimited,
    SessionExpired,
    SessionTaken,
    SessionUnavailable,
    UnexpectedAnswer,
    Unreachable,
)
from ibkit.trading.connection import (
    LABELS,
    ConnectionEvent,
    ConnectionState,
    EventName,
    HistoryEvent,
    SessionRecord,
    availability,
    due_warnings,
    event_of,
    heals,
    move,
    retry_after,
    warning_name,
)

S, E = ConnectionState, ConnectionEvent
NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
# state: what each event makes of it, in the order of EVENTS; "." is "stays".
EVENTS = (
    E.CREDENTIALS_GIVEN,
    E.CREDENTIALS_GONE,
    E.TRYING,
    E.WORKED,
    E.WORKED_PARTLY,
    E.FAILED,
    E.LOGIN_NEEDED,
    E.TAKEN,
    E.HELD_UP,
    E.LEFT,
    E.LOGGED_OUT,
)
LOOKED_AT = ". not_configured connecting connected degraded error needs_login competing paused configured disconnected"
TABLE = {
    "not_configured": "configured not_configured . . . . . . . . .",
    "configured": ". not_configured connecting . . . . . . . disconnected",
    "disconnected": ". not_configured connecting . . . . . . . disconnected",
    "connecting": LOOKED_AT,
    "connected": LOOKED_AT,
    "degraded": LOOKED_AT,
    "needs_login": LOOKED_AT,
    "competing": LOOKED_AT,
    "error": LOOKED_AT,
    "paused": LOOKED_AT,
}


@pytest.mark.requirement("SES-12")
@pytest.mark.parametrize(("state", "event"), list(product(S, E)))
def test_every_event_in_every_state_does_what_the_table_says(state: S, event: E) -> None:
    told = TABLE[state.value].split()[EVENTS.index(event)]
    assert move(state, event) is (state if told == "." else S(told))


@pytest.mark.requirement("SES-12")
def test_each_state_has_its_label() -> None:
    assert [LABELS[state] for state in S] == [
        "Not Configured",
        "Configured but Not Connected",
        "Connecting",
        "Connected",
        "Connected (limited)",
        "Login required",
        "In use elsewhere",
        "Error",
        "Paused",
        "Disconnected",
    ]


ERRORS = [
    (Unreachable(code="E-GW-DOWN"), S.ERROR, True),
    (OutcomeUnknown(), S.ERROR, True),
    (UnexpectedAnswer(), S.ERROR, True),
    (SessionUnavailable(), S.ERROR, True),
    (SessionExpired(), S.NEEDS_LOGIN, False),
    (SessionExpired(code="E-GW-NOAUTH"), S.NEEDS_LOGIN, False),
    (AuthError(code="E-SES-USER"), S.NEEDS_LOGIN, False),
    (SessionExpired(code="E-OA2-VALIDATE"), S.ERROR, True),
    (SessionTaken(), S.COMPETING, False),
    (AuthError(code="E-AUTH-BACKOFF"), S.PAUSED, False),
    (IbkitError(code="E-MAINT"), S.PAUSED, False),
    (RateLimited(), S.PAUSED, False),
    (CredentialsRejected(), S.ERROR, False),
    (ConfigError(code="E-CONFIG-PARTIAL"), S.ERROR, False),
]


@pytest.mark.requirement("SES-07", "SES-12")
@pytest.mark.parametrize(("error", "state", "again"), ERRORS, ids=lambda value: getattr(value, "code", ""))
def test_a_failure_leads_to_its_state_and_is_tried_again_only_where_that_may_help(
    error: IbkitError, state: S, again: bool
) -> None:
    assert move(S.CONNECTED, event_of(error)) is state
    assert heals(error) is again


@pytest.mark.requirement("SES-12")
def test_no_failure_leaves_a_connection_connected() -> None:
    from ibkit.error_catalogue import CATALOGUE

    for code in CATALOGUE:
        for kind in (IbkitError, AuthError, Unreachable, RateLimited, SessionExpired):
            assert not move(S.CONNECTED, event_of(kind(code=code))).is_up, code


@pytest.mark.requirement("SES-07")
def test_retries_wait_longer_each_time_and_a_person_is_waited_for_passively() -> None:
    lost = Unreachable()
    assert [retry_after(lost, attempt, 1.0) for attempt in range(1, 8)] == [2, 4, 8, 16, 30, 30, 30]
    assert retry_after(lost, 1, 0.0) == 1.5
    assert {retry_after(SessionExpired(), attempt, 0.3) for attempt in (1, 2, 9)} == {25.0}


def session(**changes: object) -> SessionRecord:
    given: dict[str, object] = {
        "session_id": "s1",
        "user_id": "",
        "connection_id": "default",
        "login": "",
        "method": "gateway",
        "environment": "paper",
        "created_at": NOW,
        "expires_at": NOW + timedelta(hours=24),
        "last_activity_at": NOW,
        "status": "connected",
    }
    return SessionRecord(**(given | changes))  # type: ignore[arg-type]


@pytest.mark.requirement("SES-09")
def test_each_warning_is_due_once() -> None:
    told: list[tuple[int, float]] = []
    kept = session()
    for second in range(0, 86_401, 30):
        for minutes in due_warnings(kept, (10, 60), NOW + timedelta(seconds=second)):
            told.append((second, minutes))
            kept = session(warned=(*kept.warned, warning_name(minutes)))
    assert told == [(82_800, 60), (85_800, 10)]
    assert due_warnings(session(), (10, 60), NOW + timedelta(hours=24)) == ()


def change(seconds: float, state: S) -> HistoryEvent:
    at = NOW + timedelta(seconds=seconds)
    return HistoryEvent(user_id="", connection_id="default", at=at, name=EventName.STATE, was=S.ERROR, state=state)


@pytest.mark.requirement("SES-14")
def test_availability_is_the_share_of_the_time_in_which_it_was_wanted() -> None:
    until = NOW + timedelta(seconds=200)
    outage = [change(0, S.CONNECTED), change(100, S.ERROR), change(120, S.CONNECTED)]
    assert availability(outage, NOW, until).percent == pytest.approx(90)
    assert availability([], NOW, until).percent is None
    assert availability([], NOW, until, before=S.DEGRADED).percent == 100
    logged_out = [change(50, S.DISCONNECTED)]
    told = availability(logged_out, NOW, until, before=S.CONNECTED)
    assert (told.up_s, told.wanted_s, told.percent) == (50, 50, 100)
    tried = HistoryEvent(
        user_id="", connection_id="default", at=NOW, name=EventName.RECONNECT, was=S.ERROR, state=S.ERROR
    )
    assert availability([tried], NOW, until, before=S.CONNECTED).percent == 100
