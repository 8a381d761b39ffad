"""`ibkit doctor`: what it finds, what it names first, and that it changes and tells nothing it should not."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from canaries import Canaries
from ibkit.bootstrap import Edges, using
from ibkit.bootstrap.worker import worker_lease
from ibkit.clock import ManualClock, SystemClock
from ibkit.error_catalogue import CATALOGUE
from ibkit.settings import load

Make = Callable[..., Any]
Run = Callable[..., Any]
STATE = Path(".local/state/ibkit")
pytestmark = pytest.mark.requirement("SET-05")


def _marks(ran: Any) -> dict[str, str]:
    return {check["name"]: check["mark"] for check in ran.json["checks"]}


def _check(ran: Any, name: str) -> dict[str, Any]:
    (found,) = [check for check in ran.json["checks"] if check["name"] == name]
    return found


def _buy(bench: Any, key: str = "order-a-0000000001") -> None:
    words = ("orders", "place", "buy", "1", "SPY", "--limit-price", "100", "--key", key, "--yes")
    assert bench.run(*words).code == 0


def _change(state: Path, statement: str) -> None:
    with closing(sqlite3.connect(state / "journal.db", isolation_level=None)) as connection:
        connection.execute(statement)


@pytest.mark.parametrize("method", ["oauth1a", "oauth2", "gateway"])
def test_a_good_set_up_is_in_order_and_quickly_looked_at(bench: Make, method: str) -> None:
    ib = bench(method=method)
    before = time.process_time()
    ran = ib.run("doctor", "--json")
    assert time.process_time() - before < 2
    assert ran.code == 0, [check for check in ran.json["checks"] if check["mark"] == "FAIL"]
    assert ran.json["ok"] is True
    assert ran.json["first_cause"] is None
    reached = "gateway" if method == "gateway" else "IBKR"
    assert _marks(ran)[reached] == "OK"
    assert {"python", "disk", "file modes", "order journal", "database version", "clock", "worker"} <= set(_marks(ran))
    assert not (ib.home / STATE / "journal.db").exists(), "looking makes nothing"
    assert ib.posted(whatif=True) == []


def test_offline_asks_nobody(bench: Make) -> None:
    ib = bench()
    before = len(ib.simulator.control("GET", "requests"))
    ran = ib.run("doctor", "--offline", "--json")
    assert ran.code == 0
    assert _check(ran, "IBKR")["mark"] == "SKIP"
    assert len(ib.simulator.control("GET", "requests")) == before


def test_connect_signs_in_and_looks_at_accounts_and_market_data(bench: Make) -> None:
    ran = bench().run("doctor", "--connect", "--json")
    assert ran.code == 0
    assert "DU1000001" in _check(ran, "accounts")["said"]
    assert "SPY" in _check(ran, "market data")["said"]


@pytest.mark.requirement("ERR-04")
@pytest.mark.parametrize(
    ("scenario", "method", "code"),
    [
        ("not-authenticated", "gateway", "E-GW-NOAUTH"),
        ("competing", "gateway", "E-SES-COMPETING"),
        ("expired", "gateway", "E-GW-NOAUTH"),
        ("invalid-consumer", "oauth1a", "E-OA1-CONSUMER"),
        ("bad-signature", "oauth1a", "E-OA1-SIGNATURE"),
        ("clock-skew", "oauth1a", "E-OA1-CLOCK"),
        ("lst-mismatch", "oauth1a", "E-OA1-LST"),
        ("oauth2-refused", "oauth2", "E-OA2-TOKEN"),
        ("sso-refused", "oauth2", "E-OA2-SSO"),
        ("validate-refused", "oauth2", "E-OA2-VALIDATE"),
        ("init-refused", "oauth1a", "E-SES-INIT"),
        ("ip-refused", "oauth2", "E-IP"),
        ("gw-ip-denied", "gateway", "E-GW-IP"),
        ("no-account", "oauth1a", "E-ACC-NONE"),
        ("multi-account", "oauth1a", "E-ACC-AMBIGUOUS"),
        ("perm-403", "oauth1a", "E-PERM-API"),
        ("md-not-subscribed", "oauth1a", "E-MD-NONE"),
        ("md-no-ack", "oauth1a", "E-MD-ACK"),
        ("rate-429", "oauth1a", "E-RATE"),
        ("maintenance-503", "oauth1a", "E-MAINT"),
        ("garbage", "oauth1a", "E-API-CONNECT"),
        ("garbage", "gateway", "E-GW-PORT-TAKEN"),
    ],
)
def test_the_first_cause_of_each_trouble_is_its_own(bench: Make, scenario: str, method: str, code: str) -> None:
    ran = bench(scenario, method=method).run("doctor", "--connect", "--json")
    assert ran.json["first_cause"]["code"] == code, [c for c in ran.json["checks"] if c["mark"] != "OK"]
    assert ran.code == CATALOGUE[code].exit
    failed = next(check for check in ran.json["checks"] if check["mark"] == "FAIL")
    assert failed["remedy"]


def test_a_gateway_that_is_down_is_told_from_another_program_on_its_ports(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ibkit.upkeep.diagnosis import network

    ib = bench(method="gateway")
    ib.simulator.up = False
    open_ports: set[int] = set()

    async def look(port: int) -> bool:
        return port in open_ports

    monkeypatch.setattr(network, "_open", look)
    assert ib.run("doctor", "--json").json["first_cause"] == {"name": "gateway", "code": "E-GW-DOWN"}
    open_ports.add(4001)
    assert ib.run("doctor", "--json").json["first_cause"] == {"name": "gateway", "code": "E-GW-WRONG"}


def test_the_folder_of_the_gateway_is_looked_into(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ib = bench(method="gateway")
    conf = ib.home / "clientportal.gw/root/conf.yaml"
    conf.parent.mkdir(parents=True)
    conf.write_text("listenPort: 5001\nproxyRemotePort: 443\n")
    monkeypatch.setattr("shutil.which", lambda name: None)
    found = {check["code"] for check in ib.run("doctor", "--json").json["checks"]}
    assert {"E-GW-JAVA", "E-GW-CONF", "E-GW-PORT-MISMATCH"} <= found


@pytest.mark.requirement("SEC-02")
def test_what_stands_open_is_named_and_fix_closes_it(bench: Make) -> None:
    ib = bench()
    _buy(ib)
    state = ib.home / STATE
    for path, mode in ((state, 0o755), (state / "journal.db", 0o644)):
        path.chmod(mode)
    ran = ib.run("doctor", "--offline", "--json")
    assert ran.code == 3
    assert ran.json["first_cause"] == {"name": "file modes", "code": "E-KEY-PERMS"}
    assert len([check for check in ran.json["checks"] if check["name"] == "file modes"]) == 2

    fixed = ib.run("doctor", "--offline", "--fix", "--json")

    assert fixed.code == 0
    assert len(fixed.json["fixed"]) == 2
    assert (stat.S_IMODE(state.stat().st_mode), stat.S_IMODE((state / "journal.db").stat().st_mode)) == (0o700, 0o600)


@pytest.mark.requirement("SEC-02")
def test_a_settings_file_that_others_can_read_is_named_and_fixed(bench: Make) -> None:
    ib = bench()
    (ib.home / ".env").chmod(0o644)
    ran = ib.run("doctor", "--offline", "--json")
    assert (ran.code, ran.json["first_cause"]["code"]) == (3, "E-ENV-FILE")
    assert ib.run("doctor", "--offline", "--fix").code == 0
    assert stat.S_IMODE((ib.home / ".env").stat().st_mode) == 0o600


def test_what_the_journal_holds_is_told(bench: Make) -> None:
    ib = bench()
    _buy(ib)
    state = ib.home / STATE
    ran = ib.run("doctor", "--offline", "--json")
    assert _check(ran, "journal's mark")["mark"] == "OK"
    assert "1 intents" in _check(ran, "order journal")["said"]
    assert _check(ran, "worker")["mark"] == "WARN", "an order stands, and nobody watches"
    assert _check(ran, "backups")["mark"] == "WARN"

    _change(state, "UPDATE intents SET state = 'unknown_needs_human', final = 1")
    _change(
        state,
        "INSERT INTO alerts (alert_id, kind, severity, subject, message, at, details, closed_note)"
        " VALUES ('a', 'unprotected', 'critical', 'x', 'no stop', '2026-11-27T00:00', '{}', '')",
    )
    ran = ib.run("doctor", "--offline", "--json")
    assert ran.json["first_cause"] == {"name": "unknown orders", "code": "E-ORD-UNKNOWN"}
    assert ran.code == CATALOGUE["E-ORD-UNKNOWN"].exit
    assert _check(ran, "alert unprotected")["code"] == "E-STOP-FAILED"
    assert ib.run("kill").code == 0
    assert _check(ib.run("doctor", "--offline", "--json"), "kill switch")["mark"] == "WARN"


def test_an_older_copy_a_missing_and_a_damaged_journal_are_told(bench: Make) -> None:
    ib = bench()
    _buy(ib)
    state = ib.home / STATE
    _change(state, "PRAGMA journal_mode = DELETE")
    older = (state / "journal.db").read_bytes()
    _buy(ib, "order-b-0000000001")
    _change(state, "PRAGMA journal_mode = DELETE")
    (state / "journal.db").write_bytes(older)
    ran = ib.run("doctor", "--offline", "--json")
    assert _check(ran, "journal's mark")["mark"] == "FAIL"
    assert "accept-restored" in _check(ran, "journal's mark")["remedy"]
    assert (state / "journal.db").read_bytes() == older, "looking changes nothing"

    damaged = bytearray(older)
    damaged[4096 * 2 : 4096 * 6] = os.urandom(4096 * 4)
    (state / "journal.db").write_bytes(damaged)
    assert _check(ib.run("doctor", "--offline", "--json"), "order journal")["mark"] == "FAIL"
    (state / "journal.db").unlink()
    gone = _check(ib.run("doctor", "--offline", "--json"), "order journal")
    assert (gone["mark"], "ibkit restore" in gone["remedy"]) == ("FAIL", True)


def test_a_database_of_another_version_is_told(bench: Make) -> None:
    ib = bench()
    assert ib.run("db", "upgrade").code == 0
    file = ib.home / STATE / "ibkit.db"
    for change, mark in (("DELETE FROM schema_versions WHERE version = 2", "FAIL"), (_NEWER, "FAIL")):
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute(change)
        assert _check(ib.run("doctor", "--offline", "--json"), "database version")["mark"] == mark


_NEWER = "INSERT INTO schema_versions VALUES ('trades', 99, 'later', '2027')"


def test_tokens_of_a_key_that_is_not_configured_are_told_and_not_thrown_away(bench: Make) -> None:
    ib = bench()
    env = ib.home / ".env"
    text = env.read_text()
    env.write_text(text + "ENCRYPTION_KEY=" + "a1" * 32 + "\n")
    assert ib.run("auth", "login").code == 0
    assert _check(ib.run("doctor", "--offline", "--json"), "stored tokens")["mark"] == "OK"
    env.write_text(text + "ENCRYPTION_KEY=" + "b2" * 32 + "\n")
    ran = ib.run("doctor", "--offline", "--json")
    assert ran.json["first_cause"] == {"name": "stored tokens", "code": "E-ENC"}
    assert list((ib.home / STATE / "tokens").glob("*"))


def test_a_silent_worker_and_one_that_was_killed_are_told(bench: Make) -> None:
    ib = bench()
    settings = load(environ=dict(os.environ), directory=ib.home)
    lease = worker_lease(settings)
    seen: list[Any] = []

    async def hold() -> None:
        async with lease.hold(clock=SystemClock(), what="the watch"):
            lease.write({"pid": 4242, "state": "running", "last_round_at": "2026-01-01T00:00:00+00:00"})
            seen.append(ib.run("doctor", "--offline", "--json"))
            lease.write({"pid": 4242, "state": "running", "last_round_at": SystemClock().now().isoformat()})
            seen.append(ib.run("doctor", "--offline", "--json"))
            said = {"pid": 4242, "state": "running", "poll_s": 600.0}
            for minutes in (15, 22):
                lease.write({**said, "last_round_at": (SystemClock().now() - timedelta(minutes=minutes)).isoformat()})
                seen.append(ib.run("doctor", "--offline", "--json"))

    import anyio

    before = os.umask(0o022)  # as a shell has it; the units set 0077
    try:
        anyio.run(hold)
    finally:
        os.umask(before)
    marks = [_check(ran, "worker")["mark"] for ran in seen]
    assert marks == ["FAIL", "OK", "OK", "FAIL"], "silent; busy; one that looks every ten minutes; that one silent"
    assert _check(seen[1], "file modes")["mark"] == "OK", "what a worker writes is open to nobody"
    lease._said.write_text(json.dumps({"pid": 4242}))
    assert "4242" in _check(ib.run("doctor", "--offline", "--json"), "locks")["said"]


def test_a_broker_that_dates_by_the_machine_while_its_market_has_a_time_of_its_own_is_no_wrong_clock() -> None:
    """`ibkit sim` opens its market whenever it is started."""
    from ibkit.upkeep.diagnosis.network import _clock
    from ibkit.wire.http import Response

    def answer(hours: float) -> Response:
        date = format_datetime(SystemClock().now() + timedelta(hours=hours), usegmt=True)
        return Response(200, {"date": date}, b"")

    settings = load(environ={"APP_ENV": "test"}, require_method=False)
    with using(Edges(clock=ManualClock(SystemClock().now() - timedelta(hours=6)))):
        assert _clock(settings, answer(0)).mark.value == "OK"
        assert _clock(settings, answer(-6)).mark.value == "OK"
        assert _clock(settings, answer(3)).mark.value == "FAIL"


def test_the_environment_is_looked_at_and_only_names_are_told(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ib = bench()
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hush-hush@proxy.example")
    monkeypatch.setenv("TWSPASSWORD", "hush-hush")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/other.pem")
    ran = ib.run("doctor", "--offline", "--json")
    assert {name: _marks(ran)[name] for name in ("proxy", "other programs", "certificates")} == dict.fromkeys(
        ("proxy", "other programs", "certificates"), "WARN"
    )
    assert ran.code == 0
    monkeypatch.setenv("SSLKEYLOGFILE", "/tmp/keys.log")
    ran = ib.run("doctor", "--offline", "--json")
    assert ran.json["first_cause"]["name"] == "SSLKEYLOGFILE"
    assert "hush-hush" not in ran.out


@pytest.mark.parametrize(("free", "mark"), [(1, "FAIL"), (500 << 20, "WARN"), (5 << 30, "OK")])
def test_a_full_disk_is_told(bench: Make, monkeypatch: pytest.MonkeyPatch, free: int, mark: str) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage._replace(free=free))
    assert _check(bench().run("doctor", "--offline", "--json"), "disk")["mark"] == mark


@pytest.mark.requirement("CFG-06")
def test_settings_that_are_not_fit_for_production_are_told(ibkit: Run, home: Path) -> None:
    (home / ".env").write_text("APP_ENV=production\nLOG_LEVEL=debug\n")
    found = {
        check["name"] for check in ibkit("doctor", "--offline", "--json").json["checks"] if check["mark"] == "FAIL"
    }
    assert {"JWT_SECRET", "ENCRYPTION_KEY", "TRUSTED_PROXY", "LOG_LEVEL"} <= found


def test_nothing_secret_is_told(bench: Make) -> None:
    canaries = Canaries()
    with canaries.learning():
        ib = bench()
        env = ib.home / ".env"
        env.write_text(env.read_text() + "ENCRYPTION_KEY=" + "c3" * 32 + "\nJWT_SECRET=" + "j" * 40 + "\n")
        keys = ib.simulator.users[0]
        canaries.add("access token", keys.access_token)
        canaries.add("vault key", "c3" * 32)
        text, document = ib.run("doctor", "--connect"), ib.run("doctor", "--connect", "--json")
    assert len(canaries) > 3
    assert text.code == document.code == 0
    assert canaries.found_in(text.out + text.err + document.out + document.err) == set()


def test_people_see_the_first_cause_and_its_remedy(ibkit: Run) -> None:
    ran = ibkit("doctor", "--offline")
    assert ran.code == 3
    line = next(line for line in ran.out.splitlines() if "<- first cause" in line)
    assert line.startswith("FAIL")
    assert "E-NOT-CONFIGURED" in line


def test_a_simulated_broker_needs_nobody(ibkit: Run, home: Path) -> None:
    (home / ".env").write_text("BROKER_PROVIDER=mock\nIBKR_AUTH_METHOD=gateway\n")
    with using(Edges()):
        ran = ibkit("doctor", "--json")
    assert ran.code == 0
    assert _check(ran, "IBKR")["mark"] == "SKIP"
