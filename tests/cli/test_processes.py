"""The command as a process of its own against a simulator that listens: sockets, signals, sudden death."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simulators import KEYS

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")]

UP_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Listening:
    folder: Path
    control_url: str

    def env(self, method: str) -> Path:
        return self.folder / "env" / f"simpaper1-{method}.env"

    def control(self, method: str, name: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.control_url}/__sim/{name}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def order_posts(self) -> list[dict[str, Any]]:
        calls = self.control("GET", "requests")
        return [call for call in calls if call["method"] == "POST" and call["path"].endswith("/orders")]

    def until(self, met: Callable[[], bool], within_s: float = 30.0) -> None:
        deadline = time.monotonic() + within_s
        while not met():
            assert time.monotonic() < deadline, "it did not come to pass"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    folder = tmp_path_factory.mktemp("sim")
    shutil.copytree(KEYS, folder / "keys")
    for path in (folder / "keys").rglob("private_*.pem"):
        path.chmod(0o600)
    command = [sys.executable, "-m", "ibkit", "sim", "--gateway-port", "0", "--cloud-port", "0", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder, env=plain_environment(folder)) as process:
        try:
            announcement = folder / "simulator.json"
            deadline = time.monotonic() + UP_WITHIN_S
            while not announcement.exists():
                assert process.poll() is None, "the simulator ended"
                assert time.monotonic() < deadline, "the simulator did not come up"
                time.sleep(0.05)
            yield Listening(folder, json.loads(announcement.read_text())["control_url"])
        finally:
            process.terminate()


def plain_environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(home)}


def start(listening: Listening, home: Path, *arguments: str, method: str = "oauth1a") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ibkit", "--env-file", str(listening.env(method)), *arguments]
    return subprocess.Popen(
        command,
        cwd=home,
        env=plain_environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.requirement("AUTH-04", "OPT-06")
@pytest.mark.parametrize("method", ["oauth1a", "oauth2", "gateway"])
def test_each_sign_in_sells_over_real_tls_without_a_terminal(listening: Listening, tmp_path: Path, method: str) -> None:
    listening.control("POST", "reset", {})
    process = start(listening, tmp_path, "sell-option", "--side", "put", "--json", method=method)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 0, err
    assert json.loads(out)["message"] == "Completed: 1 of 1 legs sold, each with a working stop."


@pytest.mark.requirement("TRD-22", "TRD-14")
def test_killed_right_after_the_bytes_left_and_run_again_makes_one_order(listening: Listening, tmp_path: Path) -> None:
    listening.control("POST", "reset", {})
    delay = {"path": "/iserver/account/*/orders", "method": "POST", "fault": "delay", "params": {"seconds": 5}}
    listening.control("POST", "faults", {**delay, "times": 1})
    sale = ("sell-option", "--side", "put", "--key", "killed-in-the-middle", "--json")
    process = start(listening, tmp_path, *sale)
    listening.until(lambda: bool(listening.order_posts()))
    process.kill()
    process.communicate()

    again = start(listening, tmp_path, *sale)
    out, err = again.communicate(timeout=120)

    assert again.returncode == 0, err
    assert json.loads(out)["legs"][0]["success"] is True
    bodies = [json.dumps(call["body"]) for call in listening.order_posts()]
    assert sum("SELL" in body for body in bodies) == 1
    assert sum("STP" in body for body in bodies) == 1


@pytest.mark.requirement("OPT-06", "TRD-14")
def test_ctrl_c_in_the_middle_of_a_sale_still_places_the_stop(listening: Listening, tmp_path: Path) -> None:
    listening.control("POST", "reset", {})
    delay = {"path": "/iserver/account/*/orders", "method": "POST", "fault": "delay", "params": {"seconds": 2}}
    listening.control("POST", "faults", {**delay, "times": 1})
    process = start(listening, tmp_path, "sell-option", "--json")
    listening.until(lambda: bool(listening.order_posts()))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    said = json.loads(out)
    assert process.returncode == 6, err
    assert said["interrupted"] is True
    assert said["legs"][0]["success"] is True
    assert said["working_orders"][0]["order_id"] == said["legs"][0]["stop_order_id"]
    assert said["not_started"] == ["call"]
    assert "Traceback" not in err


@pytest.mark.requirement("TST-01")
def test_the_demo_shows_two_working_stops_opens_the_pages_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(KEYS, folder / "keys")
    for path in (folder / "keys").rglob("private_*.pem"):
        path.chmod(0o600)
    command = [sys.executable, "-m", "ibkit", "demo", "--dir", str(folder)]
    output = tmp_path / "output"
    with output.open("w") as file:
        process = subprocess.Popen(command, cwd=tmp_path, env=plain_environment(tmp_path), stdout=file, stderr=file)
        deadline = time.monotonic() + 2 * UP_WITHIN_S
        while "Go on in another terminal" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        said = output.read_text()
        address = said.partition("/welcome#")[0].rpartition(" ")[2]
        with urllib.request.urlopen(f"{address}/welcome", timeout=10) as page:
            assert b"look-around" in page.read()
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    for word in ("intent", "checks", "question", "answer", "fill", "stop working"):
        assert said.count(f"  {word} ") >= 2, word
    assert "Completed: 2 of 2 legs sold, each with a working stop." in said
    assert said.count("PreSubmitted\n") >= 2
    assert not (folder / "simulator.json").exists()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{address}/livez", timeout=5)
