"""`ibkit sell-option` against the simulator in the process, over each sign-in and through each trouble."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from fakes import ACCOUNT
from ibkit.bootstrap.sales import look_back
from ibkit.errors import IbkitError
from ibkit.model import OrderStatus, Right
from ibkit.trading import AlertKind
from ibkit.trading.selling.legs import Leg, Sale
from trading_room import make_room

GOLDEN = Path(__file__).parent / "golden"
SUNDAY = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
LATE = datetime(2026, 11, 20, 20, 56, tzinfo=UTC)

Make = Callable[..., Any]


def sent(bench: Any) -> list[str]:
    """The orders the broker was asked for, in order: `SELL P MKT 3`, `BUY P STP 3`."""
    found = []
    for call in bench.simulator.control("GET", "requests"):
        if call["method"] == "POST" and str(call["path"]).endswith("/orders"):
            body = call["body"] if isinstance(call["body"], dict) else json.loads(call["body"])
            order = body["orders"][0]
            right = bench.simulator.world.instruments.get(order["conid"]).right
            found.append(f"{order['side']} {right} {order['orderType']} {order['quantity']}")
    return found


@pytest.mark.requirement("OPT-01", "OPT-02", "OPT-06", "AUTH-02", "TRD-13")
@pytest.mark.parametrize("method", ["oauth1a", "oauth2", "gateway"])
def test_each_sign_in_sells_both_sides_and_protects_them(bench: Make, method: str) -> None:
    ib = bench(method=method)

    ran = ib.run("sell-option")

    assert ran.code == 0, ran.err
    assert sent(ib) == ["SELL P MKT 3", "BUY P STP 3", "SELL C MKT 3", "BUY C STP 3"]
    assert ran.out.splitlines()[-1] == "Completed: 2 of 2 legs sold, each with a working stop."
    assert method in ran.out


def pin(ib: Any) -> None:
    """Prices that do not follow the simulated market: SPY at 630, both options 0.62 to 0.63."""
    ib.simulator.control("POST", "market", {"symbol": "SPY", "price": 630})
    for right, strike in (("P", Decimal(629)), ("C", Decimal(631))):
        option = ib.simulator.world.instruments.chain("SPY", date(2026, 11, 20))
        found = next(o for o in option if o.strike == strike and o.right == right and o.expiry == date(2026, 11, 20))
        quote = {"conid": found.conid, "bid": "0.62", "ask": "0.63", "bid_size": 40, "ask_size": 25}
        ib.simulator.control("POST", "market", quote)


def _comparable(text: str) -> str:
    text = re.sub(r"\bib-[a-z2-7]{32}\b", "<ref>", text)
    text = re.sub(r"\b[a-z2-7]{24}\b", "<key>", text)
    text = re.sub(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "<uuid>", text)
    text = re.sub(r'(underlying_price": ")[0-9.]+', r"\1<moves>", text)
    text = re.sub(r"(initial|maintenance) \+[0-9.]+ to [0-9.]+", r"\1 <moves>", text)
    text = re.sub(r"(  0\.625  )[+-]0\.\d\d", r"\1<delta>", text)
    return re.sub(r"\b19543\d{5}\b", "<order>", text)


@pytest.mark.requirement("OPT-05")
@pytest.mark.parametrize(
    ("name", "arguments", "scenario"),
    [
        ("sale.txt", [], "ok"),
        ("sale.json", ["--json"], "ok"),
        ("dry_run.txt", ["--dry-run"], "ok"),
        ("refused.txt", [], "order-reject-200"),
        ("stop_rejected.txt", ["--side", "put"], "stop-reject"),
    ],
)
def test_the_output_is_as_agreed(bench: Make, name: str, arguments: list[str], scenario: str) -> None:
    """Golden files; UPDATE_GOLDEN=1 writes them anew."""
    ib = bench(scenario)
    pin(ib)
    said = _comparable(ib.run("sell-option", *arguments).out)

    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(said, encoding="utf-8")
    assert said == file.read_text(encoding="utf-8")


@pytest.mark.requirement("OPT-05")
def test_json_is_one_document_with_the_facts_of_each_leg(bench: Make) -> None:
    said = bench().run("sell-option", "--side", "put", "--json").json

    (leg,) = said["legs"]
    assert (said["outcome"], said["exit_code"], said["account_id"]) == ("completed", 0, "DU1000001")
    assert leg["success"] is True
    assert leg["filled_quantity"] == "3.0" or leg["filled_quantity"] == "3"
    assert {order["order_id"] for order in said["working_orders"]} == {leg["stop_order_id"]}
    assert said["positions"][0]["quantity"].startswith("-3")


@pytest.mark.requirement("OPT-02")
@pytest.mark.parametrize(("side", "first"), [("put", "SELL P MKT 3"), ("call", "SELL C MKT 3")])
def test_one_side_only(bench: Make, side: str, first: str) -> None:
    ib = bench()
    assert ib.run("sell-option", "--side", side).code == 0
    assert [order for order in sent(ib) if order.startswith("SELL")] == [first]


@pytest.mark.requirement("OPT-06", "ERR-03", "TRD-08", "TRD-11")
@pytest.mark.parametrize(
    ("scenario", "exit_code", "code"),
    [
        ("order-reject-200", 5, "E-ORD-REJECT"),
        ("order-no-permission", 5, "E-ORD-PERM"),
        ("order-question-unknown", 5, "E-ORD-QUESTION"),
        ("no-fill", 5, "E-ORD-TIMEOUT"),
        ("no-market-data", 5, "E-MD-NONE"),
        ("md-not-subscribed", 5, "E-MD-NONE"),
        ("md-no-ack", 5, "E-MD-ACK"),
        ("stop-reject", 7, "E-STOP-FAILED"),
        ("no-account", 5, "E-ACC-NONE"),
        ("multi-account", 3, "E-ACC-AMBIGUOUS"),
        ("invalid-consumer", 4, "E-OA1-CONSUMER"),
        ("bad-signature", 4, "E-OA1-SIGNATURE"),
        ("lst-mismatch", 4, "E-OA1-LST"),
        ("clock-skew", 4, "E-OA1-CLOCK"),
        ("competing", 4, "E-SES-COMPETING"),
        ("init-refused", 4, "E-SES-INIT"),
        ("rate-429", 8, None),
    ],
)
def test_each_trouble_has_its_exit_code(bench: Make, scenario: str, exit_code: int, code: str | None) -> None:
    ran = bench(scenario).run("sell-option", "--side", "put")

    assert ran.code == exit_code, ran.err
    if code is not None:
        assert f"{code}: " in ran.err
    assert "-> " in ran.err
    assert re.search(r"^trace [0-9a-f-]+", ran.err, re.MULTILINE)
    assert "Completed" not in ran.out
    assert "Traceback" not in ran.err


@pytest.mark.requirement("ERR-03", "OPT-05")
def test_a_failure_as_json_goes_to_stderr_and_stdout_stays_empty(bench: Make) -> None:
    ran = bench("order-reject-200").run("sell-option", "--json")
    assert (ran.code, ran.out) == (5, "")
    assert ran.error["code"] == "E-ORD-REJECT"
    assert ran.error["remedy"]
    assert len(ran.error["details"]["legs"]) == 2

    ran = bench("invalid-consumer").run("sell-option", "--json")
    assert (ran.code, ran.out) == (4, "")
    assert ran.error["code"] == "E-OA1-CONSUMER"


@pytest.mark.requirement("OPT-02", "OPT-06", "TRD-14")
@pytest.mark.parametrize("policy", ["close", "alert"])
def test_a_stop_that_cannot_be_placed_ends_the_run(bench: Make, policy: str) -> None:
    ib = bench("stop-reject")

    ran = ib.run("sell-option", "--on-stop-failure", policy, "--json")

    assert ran.code == 7
    said = ran.json
    assert said["outcome"] == "critical"
    assert said["message"].startswith("CRITICAL")
    assert said["not_started"] == ["call"]
    assert not any(" C " in order for order in sent(ib))
    assert ("BUY P MKT 3" in sent(ib)) is (policy == "close")
    assert bool(said["positions"]) is (policy == "alert")


@pytest.mark.requirement("OPT-02", "OPT-06")
def test_a_leg_that_fails_does_not_stop_the_other(bench: Make) -> None:
    ib = bench()

    ran = ib.run("sell-option", "--put-strike", "629.3", "--json")

    assert ran.code == 6
    assert [leg["code"] for leg in ran.json["legs"]] == ["E-CONTRACT", None]
    assert ran.json["outcome"] == "partly"


@pytest.mark.requirement("TRD-13")
def test_a_partial_fill_is_protected_as_far_as_it_went(bench: Make) -> None:
    ran = bench("partial-fill").run("sell-option", "--side", "put", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["legs"][0]["filled_quantity"].startswith("2")
    assert ran.json["working_orders"][0]["total"].startswith("2")


@pytest.mark.requirement("TRD-22")
def test_a_lost_answer_makes_one_order(bench: Make) -> None:
    ib = bench("lost-order-reply")
    ran = ib.run("sell-option", "--side", "put")
    assert ran.code == 0, ran.err
    assert sent(ib) == ["SELL P MKT 3", "BUY P STP 3"]


@pytest.mark.requirement("OPT-01", "TRD-22")
def test_the_same_key_never_sells_twice(bench: Make) -> None:
    ib = bench()
    key = "a-key-of-mine-2026"

    first = ib.run("sell-option", "--key", key)
    again = ib.run("sell-option", "--key", key)

    assert (first.code, again.code) == (0, 0), again.err
    assert len(sent(ib)) == 4
    assert key in first.out


@pytest.mark.requirement("OPT-01")
@pytest.mark.parametrize(
    "arguments",
    [
        ["--side", "straddle"],
        ["--quantity", "0"],
        ["--quantity", "three"],
        ["--stop-multiple", "1"],
        ["--stop-multiple", "nan"],
        ["--put-strike", "abc"],
        ["--put-strike", "-5"],
        ["--order-type", "limit"],
        ["--limit-price", "1.0"],
        ["--expiry", "20261332"],
        ["--key", "short"],
        ["--on-stop-failure", "shrug"],
        ["--quantiy", "3"],
        ["--symbol", " "],
    ],
)
def test_wrong_flags_are_usage_errors_and_nothing_is_sent(bench: Make, arguments: list[str]) -> None:
    ib = bench()
    ran = ib.run("sell-option", *arguments)
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert ran.err.startswith("E-VALIDATION: ")
    assert ib.simulator.control("GET", "requests") == []


@pytest.mark.requirement("OPT-01")
def test_help_lists_all_flags(ibkit: Make) -> None:
    said = ibkit("sell-option", "--help").out
    names = (
        "side put-strike call-strike stop-multiple quantity start-cleanup symbol expiry account env live dry-run "
        "order-type limit-price on-stop-failure key yes-live allow-delayed compete confirm force json no-db"
    )
    for name in names.split(" "):
        assert f"--{name}" in said
    assert "Examples" in said


@pytest.mark.requirement("TRD-16")
def test_a_dry_run_sends_previews_only(bench: Make) -> None:
    ib = bench()
    ran = ib.run("sell-option", "--dry-run", "--json")
    assert ran.code == 0, ran.err
    assert ib.posted() == []
    assert len(ib.posted(whatif=True)) == 2
    assert ran.json["legs"][0]["details"]["initial_margin_change"]


@pytest.mark.requirement("OPT-04")
@pytest.mark.parametrize(("start", "force", "code"), [(SUNDAY, False, 5), (LATE, False, 5), (LATE, True, 0)])
def test_no_expiry_on_a_closed_day_and_none_in_the_last_minutes(
    bench: Make, start: datetime, force: bool, code: int
) -> None:
    ib = bench(start=start)
    if start is LATE:
        pin(ib)
    ran = ib.run("sell-option", "--side", "put", *(["--force"] if force else []))
    assert ran.code == code, ran.err
    if code:
        assert "E-EXPIRY: " in ran.err
        assert ib.posted() == []


@pytest.mark.requirement("OPT-04")
@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone of a process is POSIX's")
def test_the_default_expiry_is_new_yorks_day(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """08:00 on Saturday in Hong Kong is Friday evening in New York."""
    monkeypatch.setenv("TZ", "Asia/Hong_Kong")
    time.tzset()
    ran = bench(start=datetime(2026, 11, 21, 0, 0, tzinfo=UTC)).run("sell-option", "--dry-run", "--json", "--force")
    monkeypatch.delenv("TZ")
    time.tzset()
    assert "20261120" in ran.out + ran.err


@pytest.mark.requirement("OPT-03")
def test_far_strikes_are_refused_with_nearer_ones(bench: Make) -> None:
    ib = bench()
    ib.simulator.control("POST", "market", {"symbol": "SPY", "price": 700})

    ran = ib.run("sell-option", "--json")

    assert ran.code == 5
    legs = ran.error["details"]["legs"]
    assert [leg["code"] for leg in legs] == ["E-STRIKE-GUARD", "E-STRIKE-GUARD"]
    assert "Nearest out of the money" in legs[0]["remedy"]
    assert ib.posted() == []
    assert ib.run("sell-option", "--put-strike", "695", "--call-strike", "705").code == 0


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """A person at a terminal who gives one answer; the questions asked are collected."""

    def answer(said: str) -> list[str]:
        asked: list[str] = []
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda question="": asked.append(question) or said)
        return asked

    return answer


@pytest.mark.requirement("OPT-03")
@pytest.mark.parametrize(("said", "code"), [("y", 0), ("n", 5), ("", 5)])
def test_at_a_terminal_strikes_are_suggested_by_delta_and_asked_for(
    bench: Make, terminal: Any, said: str, code: int
) -> None:
    ib = bench()
    asked = terminal(said)

    ran = ib.run("sell-option")

    assert ran.code == code, ran.err
    assert len(asked) == 1
    deltas = [abs(float(found)) for found in re.findall(r"delta ([+-]\d\.\d+)", ran.out)]
    assert len(deltas) == 2
    assert all(0.08 < delta < 0.26 for delta in deltas)
    assert (ib.posted() == []) is (code == 5)


@pytest.mark.requirement("OPT-08", "CFG-05")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "--live was not given"), (["--live"], "paper validation")],
)
def test_live_money_is_locked(bench: Make, arguments: list[str], said: str) -> None:
    ib = bench(user=2)
    ran = ib.run("sell-option", "--side", "put", *arguments)
    assert ran.code == 5
    assert "E-LIVE: " in ran.err
    assert said in ran.err
    assert ib.posted() == []


@pytest.mark.requirement("OPT-08", "TST-04")
def test_after_a_paper_validation_a_named_live_account_may_trade(bench: Make, home: Path) -> None:
    paper = bench()
    assert paper.run("trade", "validate").code == 0

    live = bench(user=2)
    nobody = live.run("sell-option", "--side", "put", "--quantity", "1", "--live")
    assert (nobody.code, "--yes-live" in nobody.err) == (5, True)
    other = live.run("sell-option", "--side", "put", "--quantity", "1", "--live", "--yes-live", "U1")
    assert other.code == 5
    assert live.posted() == []

    closed = live.run("sell-option", "--side", "put", "--quantity", "1", "--live", "--yes-live", "U3000001")
    assert (closed.code, "Live trading is not enabled" in closed.err) == (5, True)  # nothing is allowed until listed
    assert live.posted() == []
    allowed = {
        "live_enabled_until": "2026-12-15",
        "allowed_accounts": "U3000001",
        "allowed_symbols": "SPY",
        "market_spread_pct": "10",
    }
    for number, (name, value) in enumerate(allowed.items(), start=1):
        assert live.run("risk", "set", name, value, "--note", "begin", "--by", "ada").code == 0
        assert live.run("risk", "confirm", str(number), "--by", "bob").code == 0

    ran = live.run("sell-option", "--side", "put", "--quantity", "1", "--live", "--yes-live", "U3000001", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["environment"] == "live"


@pytest.mark.requirement("CFG-05")
def test_an_account_of_the_other_kind_is_refused_before_anything_is_sent(bench: Make) -> None:
    ib = bench()
    ran = ib.run("sell-option", "--account", "U1234567")
    assert ran.code == 5
    assert ran.err.startswith("E-ACC-ENV: ")
    assert ib.simulator.control("GET", "requests") == []


@pytest.mark.requirement("TRD-17")
def test_read_only_mode_refuses_to_sell(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBKR_READ_ONLY", "true")
    ib = bench()
    ran = ib.run("sell-option")
    assert (ran.code, ran.err.split(":")[0]) == (5, "E-READONLY")
    assert ib.run("positions", "list").code == 0
    assert ib.posted() == []


@pytest.mark.requirement("OPT-07")
def test_trades_are_recorded(bench: Make) -> None:
    ib = bench()
    assert ib.run("sell-option").code == 0

    rows = ib.run("trades", "list", "--json").json

    assert sorted((row["option_type"], row["status"]) for row in rows) == [("CALL", "open"), ("PUT", "open")]
    assert all(row["record_state"] == "complete" and row["quantity"].startswith("3") for row in rows)
    assert all(row["market_snapshot"]["bid"] for row in rows)


@pytest.mark.requirement("OPT-07", "OPT-06")
def test_without_a_database_nothing_is_sold_unless_asked_for(
    bench: Make, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "a-file").write_text("")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{home}/a-file/trades.db")
    ib = bench()
    ran = ib.run("sell-option")
    assert (ran.code, ran.err.split(":")[0]) == (1, "E-DB")
    assert ib.posted() == []

    ran = ib.run("sell-option", "--no-db")
    assert ran.code == 0, ran.err
    journal = home / ".local/state/ibkit/trades.jsonl"
    assert len(journal.read_text().splitlines()) == 2
    assert len(ib.run("trades", "list", "--no-db", "--json").json) == 2

    monkeypatch.delenv("DATABASE_URL")
    assert ib.run("trades", "import-journal", "--json").json["stored"] == 2
    assert ib.run("trades", "import-journal", "--json").json["stored"] == 0
    assert len(ib.run("trades", "list", "--json").json) == 2


def test_an_unwritable_state_directory_is_said_before_anything_is_sent(
    bench: Make, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "a-file").write_text("")
    monkeypatch.setenv("IBKIT_STATE_DIR", f"{home}/a-file/state")
    ib = bench()
    ran = ib.run("sell-option")
    assert ran.code == 1
    assert ran.err.startswith("E-DB: ")
    assert "IBKIT_STATE_DIR" in ran.err
    assert ib.simulator.control("GET", "requests") == []


@pytest.mark.requirement("OPT-11")
@pytest.mark.parametrize(("started", "said"), [(True, "was started"), (False, "runs already"), (None, "no worker")])
def test_the_cleanup_flag_makes_sure_of_a_worker(
    bench: Make, monkeypatch: pytest.MonkeyPatch, started: bool | None, said: str
) -> None:
    """The process itself is tests/journeys/test_worker_processes.py's; a sale stands whatever comes of it."""

    def start(settings: Any) -> bool:
        if started is None:
            raise IbkitError("The worker could not be started", code="E-INTERNAL")
        return started

    monkeypatch.setattr("ibkit.bootstrap.start_worker_if_none", start, raising=False)
    ib = bench()
    for form in ([], ["--json"]):
        ran = ib.run("sell-option", "--side", "put", "--quantity", "1", "--start-cleanup", *form)
        assert ran.code == 0
        assert said in ran.err


@pytest.mark.requirement("OPT-11")
def test_a_worker_of_another_account_is_no_comfort(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ibkit.bootstrap.start_worker_if_none", lambda settings: False, raising=False)
    monkeypatch.setattr("ibkit.bootstrap.worker.worker_status", lambda settings: {"accounts": ["DU7654321"]})
    ran = bench().run("sell-option", "--side", "put", "--start-cleanup", "--exit-in", "2h")
    assert ran.code == 0
    assert "note: the worker that runs watches DU7654321 and not " in ran.err
    assert "would not close it at its time" in ran.err


@pytest.mark.requirement("OPT-09")
def test_what_was_looked_at_is_listed_when_connecting_fails(bench: Make) -> None:
    ib = bench()
    ib.simulator.up = False
    ran = ib.run("sell-option")
    assert ran.code == 4
    assert "Checked:\n  credentials present: yes (oauth1a)\n  keys readable: yes\n  network reachable: " in ran.err

    (ib.home / ".env").write_text((ib.home / ".env").read_text().replace("private_signature", "nothing"))
    ran = ib.run("sell-option")
    assert ran.code == 3
    assert "keys readable: no" in ran.err


@pytest.mark.requirement("OPT-09", "ERR-01")
def test_a_key_that_is_cut_is_the_cause_and_no_broker_is_blamed(bench: Make) -> None:
    ib = bench()
    line = next(line for line in (ib.home / ".env").read_text().splitlines() if line.startswith("IB_SIGNATURE"))
    whole = Path(line.partition("=")[2].strip('"')).read_text()
    cut = ib.home / "cut.pem"
    cut.write_text(whole[:900])
    cut.chmod(0o600)
    (ib.home / ".env").write_text((ib.home / ".env").read_text().replace(line, f'IB_SIGNATURE_KEY_PATH="{cut}"'))
    ran = ib.run("sell-option")
    assert ran.code == 3
    assert "E-KEY-FORMAT" in ran.err
    assert "keys readable: no" in ran.err
    assert "broker endpoint" not in ran.err
    assert ib.simulator.requests == []


@pytest.mark.requirement("TRD-14", "OPT-02", "OPT-06")
@pytest.mark.parametrize(("status", "code"), [(OrderStatus.CANCELLED, 7), (OrderStatus.FILLED, 0)])
def test_a_stop_that_is_gone_when_the_sale_is_looked_back_on_is_no_success(status, code) -> None:
    """The last look at the working orders decides: the proof that a stop exists must not be an old one."""
    room = make_room()
    leg, sale = Leg(Right.PUT, Decimal(629)), Sale()

    async def run() -> None:
        result = await room.seller.sell_option_with_stop("SPY", 629, "P", 5, 3, "20261120", key="sale-0123456789ab:put")
        assert result.success
        room.broker._held(result.stop_order_id).status = status
        sale.results.append((leg, result))
        desk = SimpleNamespace(broker=room.broker, account_id=ACCOUNT, guard=lambda: room.guard)
        await look_back(desk, sale, "SPY")
        alerts = await room.journal.alerts.open(kind=AlertKind.UNPROTECTED)
        assert bool(alerts) is (code == 7)

    anyio.run(run)
    assert sale.exit_code == code
    if code == 7:
        assert ":put" not in sale.results[0][1].remedy
        assert "--key sale-0123456789ab" in sale.results[0][1].remedy
