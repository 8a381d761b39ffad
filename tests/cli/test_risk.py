"""`ibkit risk` and `ibkit kill`: no network is needed for either."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.requirement("TRD-18")
Run = Callable[..., Any]


@pytest.fixture
def live(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home.is_dir()
    monkeypatch.setenv("IBKR_ENV", "live")


def shown(ibkit: Run, *arguments: str) -> dict[str, dict[str, Any]]:
    ran = ibkit("risk", "show", "--json", *arguments)
    assert ran.code == 0, ran.err
    return {row["name"]: row for row in json.loads(ran.out)["limits"]}


def test_every_limit_is_shown_with_where_it_comes_from(ibkit: Run) -> None:
    ran = ibkit("risk", "show")

    assert ran.code == 0
    assert "Limits paper-default-1" in ran.out
    assert "name it with --account" in ran.out  # what is used up is an account's
    assert shown(ibkit)["max_daily_value"]["used"] is None
    row = shown(ibkit, "--account", "DU1")["max_daily_value"]
    assert (row["control"], row["value"], row["used"], row["headroom"], row["from"]) == (
        "RC-17",
        "10000000",
        "0",
        "10000000",
        "default",
    )


def test_a_limit_is_set_for_one_account_and_taken_back(ibkit: Run) -> None:
    ran = ibkit("risk", "set", "max_shares", "20", "--account", "du1", "--note", "careful")

    assert (ran.code, ran.out) == (0, "Change 1: max_shares of account DU1: 10000 -> 20\n")
    assert shown(ibkit, "--account", "DU1")["max_shares"]["from"] == "account DU1, change 1"
    assert shown(ibkit, "--account", "DU2")["max_shares"]["value"] == "10000"
    assert ibkit("risk", "set", "max_shares", "default", "--account", "DU1", "--note", "again").code == 0
    assert shown(ibkit, "--account", "DU1")["max_shares"]["value"] == "10000"


@pytest.mark.parametrize(
    "arguments",
    [
        ("max_shares", "lots", "--note", "x"),
        ("no_such_limit", "1", "--note", "x"),
        ("max_shares", "1", "--note", " "),
        ("max_shares", "1", "--note", "x", "--account", "DU1", "--symbol", "SPY"),
        ("max_shares", "1", "--note", "x", "--symbol", " "),
        ("max_shares", "1", "--note", "x", "--by", " "),
    ],
)
def test_what_is_no_change_is_refused(ibkit: Run, arguments: tuple[str, ...]) -> None:
    ran = ibkit("risk", "set", *arguments)

    assert ran.code == 2
    assert ran.err.startswith("E-VALIDATION: ")
    assert "Nothing was changed" in ibkit("risk", "history").out


@pytest.mark.usefixtures("live")
def test_a_raise_for_live_money_needs_another_person(ibkit: Run) -> None:
    ran = ibkit("risk", "set", "max_shares", "900", "--note", "larger", "--by", "ada")
    assert "it waits for another person: ibkit risk confirm 1 --by NAME" in ran.out
    assert shown(ibkit)["max_shares"]["value"] == "500"

    assert ibkit("risk", "confirm", "1", "--by", "Ada").code == 5
    done = ibkit("risk", "confirm", "1", "--by", "bob")

    assert (done.code, done.out) == (
        0,
        "Change 1: max_shares of environment live: 500 -> 900 (confirmed by bob)\n",
    )
    assert shown(ibkit)["max_shares"]["value"] == "900"
    entries = json.loads(ibkit("risk", "history", "--json").out)
    assert [(entry["kind"], entry["by"], entry["confirmed_by"]) for entry in entries] == [("limit", "ada", "bob")]


def test_kill_stops_everything_and_needs_no_sign_in(ibkit: Run) -> None:
    ran = ibkit("kill", "--note", "too hot", "--by", "ada")

    assert (ran.code, ran.out) == (
        0,
        "Halt 1: paper, block-new, everything\nHalt 2: live, block-new, everything\n",
    )
    status = ibkit("kill", "--status").out
    assert "too hot" in status
    assert "block-new" in status
    assert len(json.loads(ibkit("risk", "show", "--json").out)["halts"]) == 1


def test_one_person_releases_on_paper_once_it_is_confirmed(ibkit: Run) -> None:
    ibkit("kill", "--reduce-only", "--symbol", "spy", "--by", "ada")

    assert ibkit("kill", "--release", "--yes", "--by", "ada").code == 5  # that would be everything
    assert ibkit("kill", "--release", "--symbol", "SPY", "--by", "ada").code == 2  # nobody can be asked here
    ran = ibkit("kill", "--release", "--symbol", "SPY", "--yes", "--by", "ada")
    assert (ran.code, ran.out.splitlines()) == (
        0,
        [
            "Ended: Halt 1: paper, reduce-only, symbol SPY",
            "Still standing: Halt 2: live, reduce-only, symbol SPY",  # each environment is released by itself
        ],
    )
    assert "live" in ibkit("kill", "--status").out


@pytest.mark.usefixtures("live")
def test_two_people_release_live_money(ibkit: Run) -> None:
    ibkit("kill", "--account", "u7", "--by", "ada")

    first = ibkit("kill", "--release", "--account", "U7", "--yes", "--by", "ada")
    assert (first.code, "Waits for a second person" in first.out) == (5, True)
    again = ibkit("kill", "--release", "--account", "U7", "--yes", "--by", "ADA")
    assert again.code == 5
    second = ibkit("kill", "--release", "--account", "U7", "--yes", "--by", "bob", "--json")
    assert second.code == 0
    assert json.loads(second.out)["ended"][0]["released_by"] == "ada\nbob"
    assert ibkit("kill", "--status").out == "Nothing is stopped.\n"


def test_one_thing_at_a_time(ibkit: Run) -> None:
    assert ibkit("kill", "--release", "--status").code == 2
    assert ibkit("kill", "--block-new", "--reduce-only").code == 2
    assert ibkit("kill", "--status", "--json").out == "[]\n"
