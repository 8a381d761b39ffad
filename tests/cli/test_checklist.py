"""`ibkit checklist production`: open on a fresh installation, complete once each point was seen to."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., Any]
STATE = Path(".local/state/ibkit")
POINTS = {
    "entropy",
    "key-service",
    "rotation",
    "monitoring",
    "firewall",
    "audit-log",
    "recovery",
    "runbooks",
    "live-credentials",
    "static-ip",
    "whitelist",
    "minimal-errors",
    "tls",
    "backups",
    "paper-validation",
}
BY_HAND = ("key-service", "firewall", "runbooks", "live-credentials", "static-ip", "whitelist")
pytestmark = pytest.mark.requirement("OPS-01")


def _points(ran: Any) -> dict[str, Any]:
    return {item["name"]: item for item in ran.json["items"]}


def _set(ib: Any, **lines: str) -> None:
    env = ib.home / ".env"
    kept = [line for line in env.read_text().splitlines() if line.partition("=")[0] not in lines]
    env.write_text("\n".join([*kept, *(f'{name}="{value}"' for name, value in lines.items()), ""]))


def ready(bench: Make) -> Any:
    """Whatever can be done without a person is done."""
    ib = bench(method="gateway")
    assert ib.run("trade", "validate").code == 0
    _set(
        ib,
        APP_ENV="production",
        ENCRYPTION_KEY=secrets.token_hex(32),
        JWT_SECRET=secrets.token_urlsafe(32),
        TRUSTED_PROXY="127.0.0.1",
        ALERT_WEBHOOK_URL="https://alerts.example.com/hook",
    )
    assert ib.run("backup").code == 0
    assert ib.run("drill", "recovery").code == 0
    return ib


def test_a_fresh_installation_has_open_points_each_with_its_remedy(ibkit: Any, home: Path) -> None:
    ran = ibkit("checklist", "production", "--json")
    assert ran.code == 1
    points = _points(ran)
    assert (set(points), ran.json["complete"]) == (POINTS, False)
    states = {name: item["state"] for name, item in points.items()}
    assert {states[name] for name in BY_HAND} == {"manual"}
    failed = {name for name, state in states.items() if state == "fail"}
    assert failed >= {"entropy", "rotation", "monitoring", "recovery", "minimal-errors", "tls", "backups"}
    assert "paper-validation" in failed
    assert all(item["remedy"] for item in points.values() if item["state"] != "ok")
    text = ibkit("checklist", "production")
    assert text.code == 1
    assert {"ok", "not", "by"} <= {line.split()[0] for line in text.out.splitlines() if line[:1].strip()}


def test_it_is_complete_once_each_point_is_done_or_confirmed_by_a_person(bench: Make) -> None:
    ib = ready(bench)
    ran = ib.run("checklist", "production", "--json")
    open_now = {name for name, item in _points(ran).items() if item["state"] != "ok"}
    assert open_now == set(BY_HAND), [item for item in ran.json["items"] if item["state"] == "fail"]
    for point in BY_HAND:
        done = ib.run("checklist", "confirm", point, "--by", "Ada Lovelace", "--note", "seen on the machine", "--json")
        assert done.code == 0, done.err

    ran = ib.run("checklist", "production", "--json")

    assert (ran.code, ran.json["complete"]) == (0, True)
    firewall = _points(ran)["firewall"]
    assert firewall["by"] == "Ada Lovelace"
    assert firewall["at"]
    assert "seen on the machine" in firewall["said"]
    acts = ib.run("audit", "list", "--action", "checklist.", "--json").json
    assert {act["object"] for act in acts} == set(BY_HAND)

    assert ib.run("checklist", "withdraw", "firewall").code == 0
    again = ib.run("checklist", "production", "--json")
    assert (again.code, _points(again)["firewall"]["state"]) == (1, "manual")


def test_what_is_checked_is_not_confirmed_away_and_nobody_confirms_without_a_name(bench: Make) -> None:
    ib = bench()
    for words, why in (
        (("confirm", "tls", "--by", "Ada"), "it is checked"),
        (("confirm", "audit-log", "--by", "Ada"), "it is checked"),
        (("confirm", "firewall", "--by", " "), "it is empty"),
        (("confirm", "moon", "--by", "Ada"), "no such point"),
        (("withdraw", "firewall"), "nobody has confirmed it"),
    ):
        ran = ib.run("checklist", *words)
        assert (ran.code, why in ran.err) == (2, True), ran.err
    assert ib.run("audit", "list", "--action", "checklist.", "--json").json == []


def test_a_word_of_more_than_a_year_ago_counts_no_more(bench: Make) -> None:
    ib = bench()
    assert ib.run("checklist", "confirm", "firewall", "--by", "Ada").code == 0
    assert _points(ib.run("checklist", "production", "--json"))["firewall"]["state"] == "ok"
    ib.simulator.advance(366 * 86_400)
    assert _points(ib.run("checklist", "production", "--json"))["firewall"]["state"] == "manual"


def test_what_changes_for_the_worse_is_open_again(bench: Make) -> None:
    ib = ready(bench)
    for change, point in (
        ({"ENCRYPTION_KEY": "ab" * 32}, "entropy"),
        ({"ALERT_WEBHOOK_URL": ""}, "monitoring"),
        ({"LOG_LEVEL": "debug"}, "minimal-errors"),
        ({"TRUSTED_PROXY": ""}, "tls"),
        ({"ALLOWED_CLIENT_IPS": "0.0.0.0/0"}, "whitelist"),
    ):
        before = (ib.home / ".env").read_text()
        _set(ib, **change)
        assert _points(ib.run("checklist", "production", "--json"))[point]["state"] == "fail", point
        (ib.home / ".env").write_text(before)
    with closing(sqlite3.connect(ib.home / STATE / "ibkit.db", isolation_level=None)) as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("UPDATE audit_entries SET actor = 'somebody else' WHERE number = 1")
    assert _points(ib.run("checklist", "production", "--json"))["audit-log"]["state"] == "fail"
