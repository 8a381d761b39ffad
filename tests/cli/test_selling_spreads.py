"""Spreads, chosen strikes and exits from the command line, and what follows: rolling and closing. On the simulator."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cli.test_sell_option import GOLDEN, Make, _comparable, terminal
from ibkit.cli.preview_text import limits_table, preview_text
from ibkit.cli.sale_flags import duration_of, exit_moment, profit_part, trail_of
from ibkit.errors import ConfigError
from ibkit.model import Preview, Side, Trail, TrailKind
from ibkit.trading.selling.preview import LegPreview, LimitReading, SalePreview

__all__ = ["terminal"]

FRIDAY = date(2026, 11, 20)


def sent(ib: Any) -> list[str]:
    """What was asked of the broker, one for each request: `SELL 3 combo MKT`, `BUY 3 combo STP + BUY 3 combo LMT`."""
    found = []
    for call in ib.simulator.control("GET", "requests"):
        if call["method"] == "POST" and str(call["path"]).endswith("/orders"):
            body = call["body"] if isinstance(call["body"], dict) else json.loads(call["body"])
            words = [
                f"{each['side']} {each['quantity']} {'combo' if 'conidex' in each else 'option'} {each['orderType']}"
                for each in body["orders"]
            ]
            found.append(" + ".join(words))
    return found


def pin(ib: Any) -> None:
    """Prices that stand still: SPY at 630, options 629 and 631 at 0.62, 624 and 636 at 0.20."""
    ib.simulator.control("POST", "market", {"symbol": "SPY", "price": 630})
    prices = {("P", 629): "0.62", ("C", 631): "0.62", ("P", 624): "0.20", ("C", 636): "0.20"}
    for (right, strike), bid in prices.items():
        found = ib.simulator.world.instruments.option("SPY", FRIDAY, Decimal(strike), right, "SPY")
        ask = f"{Decimal(bid) + Decimal('0.01')}"
        quote = {"conid": found.conid, "bid": bid, "ask": ask, "bid_size": 40, "ask_size": 25}
        ib.simulator.control("POST", "market", quote)


@pytest.mark.requirement("OPT-05", "TRD-13", "TRD-16")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("condor.txt", ["--width", "5", "--take-profit", "50%"]),
        ("condor.json", ["--width", "5", "--take-profit", "50%", "--json"]),
        ("condor_dry_run.txt", ["--width", "5", "--trail", "50%", "--exit-at", "15:45", "--dry-run"]),
        ("condor_dry_run.json", ["--width", "5", "--take-profit", "50%", "--dry-run", "--json"]),
    ],
)
def test_the_output_of_an_iron_condor_is_as_agreed(bench: Make, name: str, arguments: list[str]) -> None:
    """Two verticals, the put spread first. Golden files; UPDATE_GOLDEN=1 writes them anew."""
    ib = bench()
    pin(ib)
    said = _comparable(ib.run("sell-option", *arguments).out)
    said = re.sub(r"(  0\.\d{3} +)[+-]0\.\d\d", r"\1<delta>", said)
    said = re.sub(r'"(delta|\w+_(?:change|after))": "?-?[0-9.]+(e-\d+)?"?', r'"\1": "<moves>"', said)

    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(said, encoding="utf-8")
    assert said == file.read_text(encoding="utf-8")


@pytest.mark.requirement("TRD-13", "TRD-14", "OPT-02", "OPT-07")
def test_each_vertical_is_one_order_with_its_exits_in_one_request(bench: Make) -> None:
    ib = bench()
    ran = ib.run("sell-option", "--width", "5", "--take-profit", "50%")

    assert ran.code == 0, ran.err
    exits = "BUY 3 combo STP + BUY 3 combo LMT"
    assert sent(ib) == ["SELL 3 combo MKT", exits, "SELL 3 combo MKT", exits]
    rows = ib.run("trades", "list", "--json").json
    assert [len(row["legs"]) for row in rows] == [2, 2]
    assert all(row["take_profit_order_id"] and row["exit_plan"]["take_profit"] == "0.5" for row in rows)


@pytest.mark.requirement("TRD-14", "OPT-06")
def test_a_spread_whose_stop_is_refused_is_bought_back_and_exits_7(bench: Make) -> None:
    ib = bench("stop-reject")
    ran = ib.run("sell-option", "--side", "put", "--width", "5", "--take-profit", "50%")

    assert ran.code == 7
    assert ran.out.splitlines()[-1].startswith("CRITICAL")
    assert "E-STOP-FAILED" in ran.err
    assert sent(ib)[0] == "SELL 3 combo MKT"
    assert sent(ib)[-1] == "BUY 3 combo MKT"
    assert ib.run("positions", "list", "--json").json == []


@pytest.mark.requirement("OPT-01", "OPT-03")
@pytest.mark.parametrize("delta", [0.10, 0.16, 0.30])
def test_strikes_by_delta_are_the_nearest_of_the_chain(bench: Make, delta: float) -> None:
    ib = bench()
    ran = ib.run("sell-option", "--delta", str(delta), "--dte", "0", "--dry-run", "--json")

    assert ran.code == 0, ran.err
    for leg in ran.json["legs"]:
        (shown,) = leg["preview"]["legs"]
        assert abs(abs(shown["delta"]) - delta) <= 0.05
        assert leg["expiry"] == "20261120"


@pytest.mark.requirement("OPT-01", "OPT-03")
def test_a_delta_that_no_strike_is_near_is_refused_with_the_nearest(bench: Make) -> None:
    ib = bench()
    ran = ib.run("sell-option", "--delta", "0.95")

    assert ran.code == 5, ran.err
    assert ran.err.startswith("E-CONTRACT: ")
    assert "Nearest: SPY 20261120" in ran.err
    assert sent(ib) == []


@pytest.mark.requirement("OPT-01", "OPT-03")
def test_strikes_by_premium_bring_at_least_that_and_as_little_more_as_there_is(bench: Make) -> None:
    ib = bench()
    ran = ib.run("sell-option", "--premium", "0.50", "--dry-run", "--json")

    assert ran.code == 0, ran.err
    for leg in ran.json["legs"]:
        (shown,) = leg["preview"]["legs"]
        assert Decimal("0.45") <= Decimal(shown["bid"]) < Decimal("0.80")
    refused = ib.run("sell-option", "--premium", "99")
    assert (refused.code, refused.err.split(":")[0]) == (5, "E-CONTRACT")


@pytest.mark.requirement("OPT-04")
@pytest.mark.parametrize(("days", "expiry"), [("0", "20261120"), ("1", "20261123"), ("7", "20261127")])
def test_days_to_expiry_take_the_next_listed_day(bench: Make, days: str, expiry: str) -> None:
    ran = bench().run("sell-option", "--side", "put", "--dte", days, "--delta", "0.2", "--dry-run", "--json")

    assert ran.code == 0, ran.err
    assert ran.json["expiry"] == expiry


@pytest.mark.requirement("OPT-04")
def test_an_expiry_beyond_the_chain_is_refused_with_the_next_three(bench: Make) -> None:
    ib = bench()
    ran = ib.run("sell-option", "--dte", "3000")

    assert ran.code == 5, ran.err
    assert ran.err.startswith("E-EXPIRY: ")
    assert len(re.findall(r"\b20\d{6}\b", ran.err)) == 3
    assert sent(ib) == []


@pytest.mark.requirement("OPT-01")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--delta", "0.2", "--put-strike", "629"], ("--delta", "--put-strike")),
        (["--premium", "0.5", "--call-strike", "631"], ("--premium", "--call-strike")),
        (["--delta", "0.2", "--premium", "0.5"], ("--delta", "--premium")),
        (["--dte", "0", "--expiry", "20261120"], ("--dte", "--expiry")),
        (["--trail", "50%", "--stop-multiple", "5"], ("--trail", "--stop-multiple")),
        (["--exit-at", "15:45", "--exit-in", "2h"], ("--exit-at", "--exit-in")),
        (["--delta", "1.5"], ("--delta",)),
        (["--width", "0"], ("--width",)),
        (["--premium", "-1"], ("--premium",)),
        (["--dte", "-1"], ("--dte",)),
        (["--trail", "0"], ("--trail",)),
        (["--trail", "150%"], ("--trail",)),
        (["--take-profit", "0.5"], ("--take-profit",)),
        (["--take-profit", "100%"], ("--take-profit",)),
        (["--exit-in", "soon"], ("--exit-in",)),
    ],
)
def test_flags_that_say_nothing_or_two_things_are_named(
    bench: Make, arguments: list[str], named: tuple[str, ...]
) -> None:
    ib = bench()
    ran = ib.run("sell-option", *arguments)

    assert ran.code == 2, (ran.code, ran.err)
    assert all(name in ran.err for name in named)
    assert ib.simulator.control("GET", "requests") == []


@pytest.mark.requirement("TRD-16", "OPT-03")
@pytest.mark.parametrize(("said", "code"), [("y", 0), ("n", 5)])
def test_a_person_sees_the_preview_before_the_question(bench: Make, terminal: Any, said: str, code: int) -> None:
    ib = bench()
    asked = terminal(said)

    ran = ib.run("sell-option", "--width", "5", "--put-strike", "629")

    assert ran.code == code, ran.err
    assert asked == ["Sell these? [y/N] "]
    for word in ("Bid", "Delta", "Credit", "Stop", "Max loss", "Margin", "Commission", "break-even"):
        assert word in ran.out
    assert (sent(ib) == []) is (code == 5)


@pytest.mark.requirement("OPT-03")
def test_yes_asks_nothing_and_takes_the_defaults(bench: Make, terminal: Any) -> None:
    ib = bench()
    asked = terminal("n")

    ran = ib.run("sell-option", "--yes")

    assert (ran.code, asked) == (0, []), ran.err
    assert "put 629 and call 631" in ran.out


@pytest.mark.requirement("OPT-01", "TRD-22")
def test_a_key_that_has_begun_goes_on_with_its_strikes_and_asks_nothing(bench: Make, terminal: Any) -> None:
    """The market has moved since, so that another strike would have the delta; and a person need not say yes twice."""
    ib = bench()
    words = ("sell-option", "--side", "put", "--delta", "0.2", "--width", "5", "--key", "sale-0123456789abcdef")
    first = ib.run(*words, "--json").json
    ib.simulator.control("POST", "market", {"symbol": "SPY", "price": 640})
    asked = terminal("n")

    again = ib.run(*words)

    assert (again.code, asked) == (0, []), again.err
    assert first["legs"][0]["order_id"] in again.out
    assert sent(ib) == ["SELL 3 combo MKT", "BUY 3 combo STP"]


@pytest.mark.requirement("TRD-13")
def test_a_time_exit_says_so_when_no_worker_runs(bench: Make) -> None:
    ran = bench().run("sell-option", "--side", "put", "--exit-in", "2h")

    assert ran.code == 0, ran.err
    assert "no worker runs" in ran.err
    assert "2026-11-20 12:30 in New York" in ran.out


@pytest.mark.requirement("TRD-13")
def test_a_time_that_is_past_sells_nothing(bench: Make) -> None:
    ib = bench()
    ran = ib.run("sell-option", "--side", "put", "--exit-at", "09:30")

    assert ran.code == 2
    assert "exit_at" in ran.err
    assert sent(ib) == []


# -- what follows -------------------------------------------------------------------------------------------------


@pytest.fixture
def spread(bench: Make) -> tuple[Any, dict[str, Any]]:
    """A put spread with a take profit, sold."""
    ib = bench()
    ran = ib.run("sell-option", "--side", "put", "--width", "5", "--take-profit", "50%", "--json")
    assert ran.code == 0, ran.err
    return ib, ib.run("trades", "list", "--json").json[0]


@pytest.mark.requirement("TRD-19")
def test_a_roll_is_shown_then_done_then_not_done_again(spread: Any) -> None:
    ib, trade = spread
    short = trade["trade_id"][:8]
    looked = ib.run("trade", "roll", short, "--dte", "1", "--strike", "624", "--dry-run")
    assert looked.code == 0, looked.err
    assert "Close  3 SPY 20261120 629/624 P" in looked.out
    assert "SPY 20261123 624 P" in looked.out
    assert "Net          about" in looked.out
    before = len(sent(ib))

    words = ("trade", "roll", short, "--dte", "1", "--strike", "624", "--key", "roll-0123456789abcdef", "--yes")
    ran = ib.run(*words)

    assert ran.code == 0, ran.err
    assert re.search(r"net (credit|debit) \d", ran.out)
    exits = "BUY 3 combo STP + BUY 3 combo LMT"
    assert sent(ib)[before:] == ["BUY 3 combo MKT", "SELL 3 combo MKT", exits]
    new, old = ib.run("trades", "list", "--json").json
    assert (old["status"], old["exit_reason"], new["status"]) == ("closed", "manual", "open")
    assert (new["expiration"], new["strike_price"], new["exit_plan"]) == ("2026-11-23", "624.0", old["exit_plan"])
    again = ib.run(*words)
    assert again.code == 0, again.err
    assert len(sent(ib)) == before + 3


@pytest.mark.requirement("TRD-19")
def test_a_roll_to_nowhere_is_named(spread: Any) -> None:
    ib, trade = spread
    assert ib.run("trade", "roll", trade["trade_id"]).code == 2
    assert ib.run("trade", "roll", "nothing", "--dte", "1").code != 0
    refused = ib.run("trade", "roll", trade["trade_id"], "--strike", "629.37", "--yes")
    assert refused.code == 5, refused.err
    assert "nothing was touched" in refused.err


@pytest.mark.requirement("TRD-19")
def test_closing_a_leg_closes_the_spread_and_its_record(spread: Any) -> None:
    ib, trade = spread
    ran = ib.run("positions", "close", str(trade["legs"][1]["conid"]), "--json")

    assert ran.code == 0, ran.err
    assert ran.json["success"] is True
    assert ib.run("positions", "list", "--json").json == []
    assert not [o for o in ib.run("orders", "list", "--json").json if o["status"] in ("Submitted", "PreSubmitted")]
    (row,) = ib.run("trades", "list", "--json").json
    assert (row["status"], row["exit_reason"], row["exit_price"]) == ("closed", "manual", ran.json["exit_price"])


@pytest.mark.requirement("TRD-19")
def test_close_all_needs_a_yes_and_reports_each(spread: Any) -> None:
    ib, _ = spread
    assert ib.run("sell-option", "--side", "call", "--quantity", "1").code == 0
    before = sent(ib)
    assert ib.run("positions", "close-all").code == 2
    assert sent(ib) == before

    ran = ib.run("positions", "close-all", "--yes")

    assert ran.code == 0, ran.err
    assert "SPY 20261120 629/624 P" in ran.out
    assert "SPY 20261120 631 C" in ran.out
    assert ran.out.splitlines()[-1].startswith("All closed: 2 of 2, result ")
    assert ib.run("positions", "list", "--json").json == []
    assert ib.run("positions", "close-all", "--yes").out == "No options are held.\n"


# -- words and numbers ----------------------------------------------------------------------------------------------


@pytest.mark.requirement("OPT-01")
def test_flags_are_read_as_people_write_them() -> None:
    assert trail_of("--trail", "50%") == Trail(Decimal(50), TrailKind.PERCENT)
    assert trail_of("--trail", "0.50") == Trail(Decimal("0.50"))
    assert profit_part("--take-profit", "50%") == Decimal("0.5")
    assert profit_part("--take-profit", "75%") == Decimal("0.25")
    assert duration_of("--exit-in", "1h30m") == timedelta(hours=1, minutes=30)
    now = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
    assert exit_moment("15:45", None, now=now) == datetime(2026, 11, 20, 20, 45, tzinfo=UTC)
    assert exit_moment("20270319-15:45", None, now=now) == datetime(2027, 3, 19, 19, 45, tzinfo=UTC)
    assert exit_moment(None, "45m", now=now) == datetime(2026, 11, 20, 16, 15, tzinfo=UTC)
    assert exit_moment(None, None, now=now) is None
    with pytest.raises(ConfigError):
        exit_moment("25:00", None, now=now)


@pytest.mark.requirement("TRD-16", "TRD-18")
def test_a_preview_shows_each_limit_with_what_is_left() -> None:
    from fakes import option, quote

    contract = option()
    preview = SalePreview(
        legs=(LegPreview(side=Side.SELL, contract=contract, quote=quote(contract.conid, "0.62", "0.63")),),
        quantity=Decimal(3),
        entry=Decimal("0.62"),
        credit=Decimal("186.00"),
        stop=Decimal("3.10"),
        trail=None,
        take_profit=Decimal("0.31"),
        exit_at=datetime(2026, 11, 20, 20, 45, tzinfo=UTC),
        max_risk=Decimal("744.00"),
        max_loss=None,
        break_even=Decimal("628.38"),
        margin=Preview(initial_margin_change=Decimal(12000), initial_margin_after=Decimal(20637)),
        limits=(
            LimitReading(name="max_option_contracts", state="ok", value="3", limit="10", headroom=Decimal(7)),
            LimitReading(name="max_daily_loss", state="off"),
            LimitReading(name="quote_stale", state="not known", value="no quote", limit="5 s"),
        ),
    )

    said = preview_text(preview)

    assert re.search(r"max_option_contracts +3 +10 +7 +ok", said)
    assert re.search(r"quote_stale +no quote +5 s +- +not known", said)
    assert "max_daily_loss" not in limits_table(preview.limits)
    assert "Max loss     unlimited" in said
    assert "initial +12000 to 20637, maintenance -" in said
    assert "Exit at      2026-11-20 15:45 in New York, by the worker" in said
    assert "Take profit  bought back at 0.31" in said


@pytest.mark.requirement("DOC-02")
def test_the_help_names_the_new_flags_and_commands(bench: Make) -> None:
    ib = bench()
    said = ib.run("sell-option", "--help").out
    new = ("delta", "dte", "premium", "width", "trail", "take-profit", "exit-at", "exit-in", "yes")
    assert [name for name in new if f"--{name}" not in said] == []
    assert "close-all" in ib.run("positions", "--help").out
    assert "roll" in ib.run("trade", "--help").out
    assert Path(GOLDEN).is_dir()
