"""The main job as people run it, and killed at the worst moments: processes, sockets, signals, the disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from running import RunningSimulator, command, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")]

ORDERS = "/iserver/account/*/orders"
STATUS = "/iserver/account/order/status/*"
KEY = "journey-0123456789abcdef"
WITHIN_S = 150


@dataclass(frozen=True)
class Person:
    """Somebody with a home of their own at a simulator of their own."""

    world: RunningSimulator
    home: Path
    method: str = "oauth1a"

    def start(self, *words: str) -> subprocess.Popen[str]:
        self.home.mkdir(exist_ok=True)
        return subprocess.Popen(
            command("--env-file", str(self.world.env(self.method)), *words),
            cwd=self.home,
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit code, what was printed, what was warned of."""
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=WITHIN_S)
        finally:
            process.kill()
        assert "Traceback" not in err, err
        return process.returncode, out, err

    def hold(self, path: str, *, method: str = "POST", after: int = 0, seconds: float = 30) -> None:
        """The answer to the next such call comes late; the call itself is carried out at once."""
        fault = {"path": path, "method": method, "fault": "delay", "times": 1, "after": after}
        self.world.control("POST", "faults", {**fault, "params": {"seconds": seconds}})

    def calls(self, path_end: str, method: str = "POST") -> list[dict[str, Any]]:
        return [call for call in self.world.requests() if call["method"] == method and call["path"].endswith(path_end)]

    def orders(self) -> list[tuple[str, str, str]]:
        """Every order that was ever accepted: side, type, state."""
        return [(row["side"], row["order_type"], row["state"]) for row in self.world.ledger() if row["accepted"]]


def side_by_side(work: Callable[[Any], Any], things: Sequence[Any]) -> list[Any]:
    with ThreadPoolExecutor(len(things)) as pool:
        return list(pool.map(work, things))


SALE = ("sell-option", "--side", "put", "--key", KEY, "--json")
SOLD_AND_PROTECTED = [("BUY", "STP", "live"), ("SELL", "MKT", "filled")]


@pytest.mark.requirement("AUTH-04", "OPT-02", "OPT-06", "TRD-13")
def test_each_sign_in_makes_the_same_sale(worlds: list[RunningSimulator], tmp_path: Path) -> None:
    people = [
        Person(world, tmp_path / method, method)
        for world, method in zip(worlds, ("gateway", "oauth1a", "oauth2"), strict=True)
    ]
    for person in people:
        person.world.reset()
        for right, bid in (("P", "1.60"), ("C", "1.55")):
            conid = option(person.world, right)
            person.world.control("POST", "market", {"conid": conid, "bid": bid, "ask": str(float(bid) + 0.02)})

    results = side_by_side(lambda person: person.run("sell-option", "--side", "both", "--key", KEY, "--json"), people)

    told = []
    for person, (code, out, err) in zip(people, results, strict=True):
        assert code == 0, err
        document = json.loads(out)
        assert document["message"] == "Completed: 2 of 2 legs sold, each with a working stop."
        assert [order["status"] for order in document["working_orders"]] == ["PreSubmitted"] * 2
        assert sorted(person.orders()) == sorted(SOLD_AND_PROTECTED * 2)
        told.append([{name: leg[name] for name in leg if name != "details"} for leg in document["legs"]])
    assert told[0] == told[1] == told[2]
    assert [(leg["entry_price"], leg["stop_loss"], leg["filled_quantity"]) for leg in told[0]] == [
        ("1.60", "8.00", "3.0"),
        ("1.55", "7.75", "3.0"),
    ]


def option(world: RunningSimulator, right: str) -> int:
    """The conid of today's SPY option at the default strike, as anybody finds it through the gateway."""
    import urllib.request

    def ask(path: str) -> Any:
        request = urllib.request.Request(f"{world.gateway}/v1/api{path}", headers={"User-Agent": "test"})
        with urllib.request.urlopen(request, timeout=20, context=world.trust()) as answer:
            return json.load(answer)

    ask("/iserver/secdef/search?symbol=SPY")
    strike = {"P": 629, "C": 631}[right]
    rows = ask(f"/iserver/secdef/info?conid=756733&sectype=OPT&month=NOV26&strike={strike}&right={right}")
    return next(row["conid"] for row in rows if row["maturityDate"] == "20261120")


def killed_while_the_entry_is_unanswered(person: Person) -> None:
    person.hold(ORDERS)
    process = person.start(*SALE)
    until(lambda: person.calls("/orders"), what="the entry order")
    process.kill()
    process.communicate()
    assert person.orders() == [("SELL", "MKT", "filled")]


def killed_between_fill_and_stop(person: Person) -> None:
    person.hold(STATUS, method="GET")
    process = person.start(*SALE)
    until(lambda: person.orders() == [("SELL", "MKT", "filled")], what="the fill")
    until(lambda: any("/order/status/" in call["path"] for call in person.world.requests()), what="the first look")
    process.kill()
    process.communicate()
    assert len(person.calls("/orders")) == 1, "no stop was sent"


def killed_while_the_confirmation_is_unanswered(person: Person) -> None:
    """The stop's question was answered with yes; nobody has read what came of it."""
    person.hold("/iserver/reply/*")
    process = person.start(*SALE)
    until(lambda: any("/iserver/reply/" in call["path"] for call in person.world.requests()), what="the reply")
    process.kill()
    process.communicate()


MOMENTS = (
    killed_while_the_entry_is_unanswered,
    killed_between_fill_and_stop,
    killed_while_the_confirmation_is_unanswered,
)


@pytest.mark.requirement("TRD-14", "TRD-22", "OPT-01")
def test_killed_at_any_moment_and_run_again_there_is_one_sale_and_one_stop(
    worlds: list[RunningSimulator], tmp_path: Path
) -> None:
    def live_through(number: int) -> tuple[int, str, str]:
        person = Person(worlds[number], tmp_path / str(number))
        person.world.reset()
        MOMENTS[number](person)
        return person.run(*SALE)

    for number, (code, out, err) in enumerate(side_by_side(live_through, range(len(MOMENTS)))):
        told = MOMENTS[number].__name__
        assert code == 0, (told, err)
        assert json.loads(out)["legs"][0]["success"] is True, told
        assert sorted(Person(worlds[number], tmp_path).orders()) == SOLD_AND_PROTECTED, told


def told_of_what_has_no_stop(person: Person) -> None:
    """Another sale begins by looking after what stands without a stop; repeating the first one's key mends it."""
    killed_between_fill_and_stop(person)
    code, out, err = person.run("sell-option", "--side", "call")
    assert code == 0, err
    assert "CRITICAL: SPY 20261120 629 P has no working stop" in err
    assert out.splitlines()[-1] == "Completed: 1 of 1 legs sold, each with a working stop."
    code, out, err = person.run(*SALE)
    assert code == 0, err
    assert sorted(person.orders()) == sorted(SOLD_AND_PROTECTED * 2)


def interrupted_between_fill_and_stop(person: Person) -> None:
    """Ctrl-C ends the waiting, not the protecting; the second leg is not begun."""
    person.hold(STATUS, method="GET", seconds=2)
    process = person.start("sell-option", "--side", "both", "--json")
    until(lambda: person.orders() == [("SELL", "MKT", "filled")], what="the fill")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 6, err
    document = json.loads(out)
    assert document["interrupted"] is True
    assert document["legs"][0]["success"] is True
    assert document["not_started"] == ["call"]
    assert sorted(person.orders()) == SOLD_AND_PROTECTED
    assert "Traceback" not in err


@pytest.mark.requirement("TRD-14", "TRD-20", "OPT-05", "OPT-06")
def test_what_happens_between_fill_and_stop_is_told_truly(worlds: list[RunningSimulator], tmp_path: Path) -> None:
    incidents = (told_of_what_has_no_stop, interrupted_between_fill_and_stop)

    def live_through(number: int) -> None:
        person = Person(worlds[number], tmp_path / str(number))
        person.world.reset()
        incidents[number](person)

    side_by_side(live_through, range(len(incidents)))
