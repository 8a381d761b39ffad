"""The worker as people run it: after a kill, in the background, one for a login, ended in good order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ibkit.store.lease import Lease
from journeys.test_processes import SALE, SOLD_AND_PROTECTED, Person, killed_between_fill_and_stop, side_by_side
from running import RunningSimulator, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX"),
    pytest.mark.requirement("OPS-10"),
]


def status(person: Person) -> dict[str, Any]:
    """As `ibkit worker status` finds it, without starting a process each time."""
    folder = person.home / ".local" / "state" / "ibkit" / "worker"
    for place in folder.glob("login-*.lock"):
        if (said := Lease(folder, place.stem).read()) is not None:
            return said
    return {}


def told(person: Person) -> dict[str, Any]:
    _, out, _ = person.run("worker", "status", "--json")
    return json.loads(out)


@contextmanager
def working(person: Person, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A worker that has made its first round."""
    process = person.start("worker", "--json", *words)
    try:
        until(lambda: status(person).get("rounds", 0) >= 1 or process.poll() is not None, within_s=90, what="a round")
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


def found_after_a_kill(person: Person) -> None:
    """kill -9 between fill and stop: the next round tells of it, with exit code 7, and places the stop; once."""
    killed_between_fill_and_stop(person)
    code, out, err = person.run("worker", "--once", "--json")
    assert code == 7, (out, err)
    (alert,) = json.loads(out)["unprotected"]
    assert alert.startswith("CRITICAL: SPY 20261120 629 P has no working stop: 3 short"), alert
    _, out, _ = person.run("status", "--json")
    assert any("has no working stop" in alert for alert in json.loads(out)["alerts"])
    assert sorted(person.orders()) == sorted(SOLD_AND_PROTECTED)
    code, out, err = person.run("worker", "--once", "--json")
    assert (code, json.loads(out)["safe"]) == (0, True), err
    code, out, err = person.run(*SALE)
    assert code == 0, err
    assert sorted(person.orders()) == sorted(SOLD_AND_PROTECTED)


def one_for_a_login(person: Person) -> None:
    """Shown by its status; a second one is refused; ended by `stop`, with exit code 0, within ten seconds."""
    with working(person) as process:
        shown = told(person)
        assert (shown["pid"], shown["state"], shown["username"]) == (process.pid, "running", "simpaper1")
        assert shown["accounts"] == ["DU1000001"]
        until(lambda: status(person).get("stream") == "live", within_s=90, what="the stream")

        code, _, err = person.run("worker")
        assert "already" in err, err
        assert code != 0

        code, out, err = person.run("worker", "stop")
        assert (code, out) == (0, "The worker has ended.\n"), err
        assert process.wait(20) == 0
        said = [json.loads(line) for line in process.communicate()[0].splitlines()]
        assert [line["kind"] for line in said if line["kind"] in ("started", "ended")] == ["started", "ended"]
        assert told(person)["running"] is False


def after_a_kill_another_takes_over(person: Person) -> None:
    with working(person) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(5)
        assert status(person) == {}
        with working(person) as another:
            until(lambda: status(person).get("pid") == another.pid, within_s=30, what="its own status")
            another.send_signal(signal.SIGTERM)
            assert another.wait(20) == 0


@pytest.mark.requirement("TRD-14", "TRD-20")
def test_a_worker_lives_through_kills_and_is_one_for_a_login(worlds: list[RunningSimulator], tmp_path: Path) -> None:
    incidents = (found_after_a_kill, one_for_a_login, after_a_kill_another_takes_over)

    def live_through(number: int) -> None:
        person = Person(worlds[number], tmp_path / str(number))
        person.world.reset()
        incidents[number](person)

    side_by_side(live_through, range(len(incidents)))


_START = "\n".join(
    (
        "import sys",
        "from pathlib import Path",
        "from ibkit.bootstrap import read_settings, start_worker_if_none",
        "print(start_worker_if_none(read_settings(env_file=Path(sys.argv[1]))))",
    )
)


def started_by_another_program(person: Person) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", _START, str(person.world.env(person.method))],
        cwd=person.home,
        env={"PATH": os.environ.get("PATH", ""), "HOME": str(person.home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def started_in_the_background(person: Person) -> None:
    """It outlives who started it, and is not started twice."""
    try:
        assert started_by_another_program(person) == "True"
        until(lambda: status(person).get("rounds", 0) >= 1, within_s=90, what="a round")
        pid = status(person)["pid"]
        assert started_by_another_program(person) == "False"
        assert status(person)["pid"] == pid
    finally:
        person.run("worker", "stop")
    assert status(person) == {}


def one_for_a_user_name(person: Person) -> None:
    """Two sign-ins of one user name are one login to IBKR: the second worker leaves."""
    with working(person) as process:
        code, _, err = Person(person.world, person.home, "oauth2").run("worker", "--once")
        assert code != 0
        assert "IBKR user simpaper1" in err, err
        assert process.poll() is None


@pytest.mark.requirement("OPT-11", "SES-05")
def test_a_worker_is_started_once_and_watches_a_user_name_alone(worlds: list[RunningSimulator], tmp_path: Path) -> None:
    incidents = (started_in_the_background, one_for_a_user_name)

    def live_through(number: int) -> None:
        person = Person(worlds[number], tmp_path / str(number))
        person.world.reset()
        person.home.mkdir(exist_ok=True)
        incidents[number](person)

    side_by_side(live_through, range(len(incidents)))
