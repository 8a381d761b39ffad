"""The guide's requests by hand: sent as they stand there, answered in the shape of what a real account was answered."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from running import RunningSimulator
from shapes import assert_same_shape

pytestmark = [pytest.mark.peers, pytest.mark.requirement("TST-01", "DOC-02")]

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "curl.md"
# Recordings that were trimmed by hand: their members must be there, others may be.
TRIMMED = ("Contracts/", "Portfolio/GET-portfolio-summary")
MAY_HAVE = {
    "Orders/POST-reply-submitted": {"local_order_id"},
    # Recorded over OAuth; a gateway says more. Source: docs/facts/auth-and-sessions.md §3.7.
    "Session/POST-tickle": {"ssoExpires", "collission", "userId"},
}


@dataclass(frozen=True)
class Call:
    """recorded: the answer to compare with; empty where it only prepares the next one."""

    recorded: str
    line: str

    def words(self, values: dict[str, str]) -> list[str]:
        def value(name: re.Match[str]) -> str:
            return values[name[1]]

        return shlex.split(re.sub(r"\$([A-Z]+)", value, self.line))


def calls_of_the_guide() -> list[Call]:
    blocks = re.findall(r"```\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith(("#", "curl"))]
    pairs = zip(lines[::2], lines[1::2], strict=True)
    named = re.compile(r"# ([A-Z]\w+/[\w-]+)")
    return [Call(found[1] if (found := named.match(note)) else "", line) for note, line in pairs]


def by_urllib(words: list[str], world: RunningSimulator) -> Any:
    """What curl would send, sent by the standard library."""
    rest = words[1:]
    url = rest.pop()
    options: dict[str, str] = {}
    while rest:
        name = rest.pop(0)
        options[name] = "" if name == "-s" else rest.pop(0)
    assert options.keys() <= {"-s", "--cacert", "-X", "-d", "-H"}
    data = options["-d"].encode() if "-d" in options else None
    headers = dict([options["-H"].split(": ")]) if "-H" in options else {}
    request = urllib.request.Request(url, data, {"User-Agent": "by hand", **headers}, method=options.get("-X"))
    with urllib.request.urlopen(request, timeout=20, context=world.trust()) as answer:
        assert answer.headers["Content-Type"].startswith("application/json")
        return json.load(answer)


def by_curl(words: list[str], world: RunningSimulator) -> Any:
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    done = subprocess.run([*words, "--fail"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return json.loads(done.stdout)


def send_all(world: RunningSimulator, send: Callable[[list[str], RunningSimulator], Any]) -> dict[str, Any]:
    world.reset()
    values = {"IBKR": f"{world.gateway}/v1/api", "CA": str(world.ca), "ACCOUNT": world.user()["accounts"][0]}
    answers = {}
    for call in calls_of_the_guide():
        answer = send(call.words(values), world)
        time.sleep(0.12)  # a hand is slower than ten calls a second, which is all that a gateway takes
        answers[call.recorded or call.line] = answer
        if "place-order" in call.recorded:
            values["QUESTION"] = answer[0]["id"]
    return answers


def test_the_guide_has_at_least_ten_requests_with_a_recorded_answer() -> None:
    assert sum(bool(call.recorded) for call in calls_of_the_guide()) >= 10


@pytest.mark.parametrize("send", [by_urllib, by_curl])
def test_requests_by_hand_are_answered_as_recorded(
    world: RunningSimulator, shared: Path, send: Callable[[list[str], RunningSimulator], Any]
) -> None:
    for name, answer in send_all(world, send).items():
        recording = shared / "ibkr" / "recorded" / f"{name}.json"
        if "/" in name and not name.startswith("curl"):
            like = json.loads(recording.read_text())["Response"]["Body"]
            if name.startswith("Contracts/"):
                assert_members(answer, like, name)
            else:
                assert_same_shape(
                    answer, like, trimmed=name.startswith(TRIMMED), more=MAY_HAVE.get(name, ()), where=name
                )


def assert_members(answer: Any, like: Any, where: str) -> None:
    """Every member of the recording is there; a contract of the simulator may have more rows, or fewer exchanges."""
    assert type(answer) is type(like) or answer is None or like is None, f"{where}: {answer!r} instead of {like!r}"
    if isinstance(like, dict) and isinstance(answer, dict):
        assert not like.keys() - answer.keys(), f"{where}: lacks {like.keys() - answer.keys()}"
        for name, value in like.items():
            assert_members(answer[name], value, f"{where}.{name}")
    elif isinstance(like, list) and isinstance(answer, list):
        assert answer or not like, f"{where} is empty"
        for index, (left, right) in enumerate(zip(answer, like, strict=False)):
            assert_members(left, right, f"{where}[{index}]")


def test_they_are_answered_without_the_recordings_too(world: RunningSimulator) -> None:
    answers = send_all(world, by_urllib)
    assert answers["Session/POST-tickle"]["iserver"]["authStatus"]["authenticated"] is True
    assert answers["Orders/POST-reply-submitted"][0]["order_status"] == "Submitted"
    assert [row["state"] for row in world.ledger()] == ["live"]
