"""`ibkit` as people run it: the simulator and the client each a process of its own, with real sockets between them."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["RunningSimulator", "command", "running_simulator", "until"]

KEYS = Path(__file__).resolve().parent / "keys"
STARTS_WITHIN_S = 60


def command(*words: str) -> list[str]:
    """The console command, by the interpreter that runs the tests."""
    return [sys.executable, "-c", "from ibkit.cli import main; main()", *words]


def until(seen: Any, *, within_s: float = 30.0, what: str = "it") -> Any:
    """What `seen()` gives once that is true; a failure of the test if it does not come in time."""
    ends = time.monotonic() + within_s
    while not (found := seen()):
        assert time.monotonic() < ends, f"{what} did not come within {within_s:g} s"
        time.sleep(0.05)  # another process is waited for: nothing here could move a clock instead
    return found


@dataclass(frozen=True)
class RunningSimulator:
    """folder: where simulator.json, the settings files and the certificates are."""

    process: subprocess.Popen[str]
    folder: Path

    @property
    def given(self) -> dict[str, Any]:
        return json.loads((self.folder / "simulator.json").read_text())

    @property
    def gateway(self) -> str:
        return self.given["gateway_url"]

    @property
    def cloud(self) -> str:
        return self.given["cloud_url"]

    @property
    def ca(self) -> Path:
        return self.folder / self.given["ca"]

    def user(self, name: str = "simpaper1") -> dict[str, Any]:
        return next(user for user in self.given["users"] if user["username"] == name)

    def env(self, method: str, name: str = "simpaper1") -> Path:
        """A ready settings file."""
        return self.folder / self.user(name)["env"][method]

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def control(self, method: str, name: str, body: object = None) -> Any:
        """A call of the control face, e.g. `control("POST", "clock", {"advance": 60})`."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.given['control_url']}/__sim/{name}", data, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def requests(self) -> list[dict[str, Any]]:
        return self.control("GET", "requests")

    def ledger(self) -> list[dict[str, Any]]:
        return self.control("GET", "ledger")

    def reset(self, *scenarios: str) -> None:
        """The world as at the start, without faults."""
        self.control("POST", "reset", {})
        self.control("DELETE", "faults")
        self.control("POST", "scenario", {"scenario": list(scenarios) or "ok"})


@contextmanager
def running_simulator(folder: Path, *options: str) -> Iterator[RunningSimulator]:
    """`ibkit sim` on free ports, with keys that are made already, until the block ends."""
    shutil.copytree(KEYS, folder / "keys")
    for path in (folder / "keys").rglob("private_*.pem"):
        path.chmod(0o600)  # a checkout does not keep the modes of private keys
    words = command("sim", "--gateway-port", "0", "--cloud-port", "0", "--dir", str(folder), *options)
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("IB_", "IBKR_", "APP_"))}
    log = folder / "simulator.log"
    with (
        log.open("w") as out,
        subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, text=True, env=settings) as process,
    ):
        try:
            until(
                lambda: (folder / "simulator.json").exists() or process.poll() is not None,
                within_s=STARTS_WITHIN_S,
                what="the simulator",
            )
            assert process.poll() is None, log.read_text()
            yield RunningSimulator(process, folder)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
