"""`ibkit access-review`: who may do what, what stands out, and a person's word in the audit log."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ibkit.bootstrap import Edges, using
from ibkit.clock import ManualClock
from user_desks import START

pytestmark = pytest.mark.requirement("OPS-09", "SEC-09")
Run = Callable[..., Any]
PASSWORD = "violet lamps near the harbour\n"
DAY = timedelta(days=1).total_seconds()


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    found = ManualClock(START)
    with using(Edges(clock=found)):
        yield found


@pytest.fixture
def people(ibkit: Run, monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> Run:
    for name, role in (("anna", "owner"), ("bob", "trader")):
        monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD))
        assert ibkit("user", "add", name, "--role", role).code == 0
    made = ibkit("user", "key", "add", "bob", "--label", "ci", "--scope", "read", "--days", "365")
    assert made.code == 0, made.err
    return ibkit


def test_without_users_it_says_how_to_make_the_first(ibkit: Run, clock: ManualClock) -> None:
    assert ibkit("access-review").out.startswith("No user yet: `ibkit user add")
    assert ibkit("access-review", "--json").json == {"holders": [], "last": None, "due_at": None}


def test_users_their_keys_and_what_stands_out_are_told(people: Run, clock: ManualClock) -> None:
    told = people("access-review")
    assert "anna  owner   enabled  off          never" in told.out
    assert "  ! owner without a second step" in told.out
    assert "key ci: read; last used never, ends " in told.out
    assert f"Nobody has signed off yet; due on {START + timedelta(days=90):%Y-%m-%d}." in told.out
    assert "nothing done" not in told.out
    clock.advance(91 * DAY)
    anna, bob = people("access-review", "--json").json["holders"]
    assert anna["notes"] == ["nothing done for 91 days: still needed?", "owner without a second step"]
    assert bob["notes"] == ["nothing done for 91 days: still needed?", "key ci: not used for 91 days"]
    assert people("user", "disable", "bob").code == 0
    _, bob = people("access-review", "--json").json["holders"]
    assert (bob["enabled"], bob["notes"], bob["keys"]) == (False, [], []), "their keys ended with it"


def test_a_sign_off_stands_in_the_audit_log_and_counts_for_a_quarter(people: Run, clock: ManualClock) -> None:
    clock.advance(10 * DAY)
    for flags, name in ((("--sign-off",), "--by"), (("--by", "Anna"), "--by"), (("--note", "x"), "--note")):
        refused = people("access-review", *flags, "--json")
        assert (refused.code, refused.error["code"]) == (2, "E-VALIDATION")
        assert name in refused.error["message"]
    signed = people("access-review", "--sign-off", "--by", "Anna  Meier", "--note", "bob stays")
    assert signed.code == 0
    assert f"Signed off by Anna Meier on {clock.now():%Y-%m-%d}: bob stays." in signed.out
    (entry,) = people("audit", "list", "--action", "access.review", "--json").json
    assert (entry["object"], entry["details"]["by"], entry["details"]["users"]) == ("users", "Anna Meier", "2")
    told = people("access-review", "--json").json
    assert told["last"]["by"] == "Anna Meier"
    assert told["due_at"] == (clock.now() + timedelta(days=90)).isoformat()


def test_nothing_secret_is_in_it(people: Run, home: Path) -> None:
    said = people("access-review").out + people("access-review", "--json").out
    assert "hash" not in said
    assert "ibk_" not in said
