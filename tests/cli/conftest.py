"""Runs of the command line inside the test's process, in an empty directory with an empty environment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ibkit import cli
from ibkit.bootstrap import Edges, using
from ibkit.settings import Settings
from ibkit.sim.serving.inprocess import CLOUD_URL, GATEWAY_URL, Simulator
from simulators import make_simulator


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error object of a `--json` run."""
        return json.loads(self.err[self.err.index("{") :])


Run = Callable[..., Ran]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, the home and the only source of settings."""
    for name in list(os.environ):
        if name not in ("PATH", "LANG", "PYTHONPATH", "UPDATE_GOLDEN"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ibkit(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = cli.run(list(arguments))
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


@dataclass(slots=True)
class Bench:
    """A simulator in the process, and the command line signed in to it by any of the methods."""

    run: Run
    home: Path
    simulator: Simulator

    def orders(self) -> list[dict[str, Any]]:
        """What the broker's ledger holds, placed by whomever."""
        return [dict(row) for row in self.simulator.control("GET", "ledger") if row["event"] == "accepted"]

    def posted(self, *, whatif: bool = False) -> list[str]:
        """Paths of the order calls that the simulator saw."""
        calls = [r for r in self.simulator.control("GET", "requests") if r["method"] == "POST"]
        paths = [str(call["path"]) for call in calls if str(call["path"]).endswith(("/orders", "/orders/whatif"))]
        return [path for path in paths if whatif or not path.endswith("whatif")]


def env_of(simulator: Simulator, method: str, user: int = 0) -> str:
    """A settings file as the simulator writes it, for the in-process faces."""
    keys = simulator.users[user]
    for path in (keys.signature_key, keys.encryption_key, keys.oauth2_key):
        path.chmod(0o600)  # a checkout does not keep the modes of private keys
    lines = {"IBKR_AUTH_METHOD": method, "IBKR_ENV": "paper" if keys.user.is_paper else "live", "APP_ENV": "test"}
    match method:
        case "gateway":
            lines["IBKR_API_ENDPOINT"] = GATEWAY_URL
        case "oauth1a":
            lines |= {
                "IBKR_BASE_URL": CLOUD_URL,
                "IB_CONSUMER_KEY": keys.consumer_key,
                "IB_ACCESS_TOKEN": keys.access_token,
                "IB_ACCESS_TOKEN_SECRET": keys.access_token_secret,
                "IB_SIGNATURE_KEY_PATH": str(keys.signature_key),
                "IB_ENCRYPTION_KEY_PATH": str(keys.encryption_key),
                "IB_DH_PARAM_PATH": str(keys.dhparam),
            }
        case _:
            lines |= {
                "IBKR_BASE_URL": CLOUD_URL,
                "IBKR_CLIENT_ID": keys.client_id,
                "IBKR_CLIENT_KEY_ID": keys.client_key_id,
                "IBKR_PRIVATE_KEY_PATH": str(keys.oauth2_key),
                "IBKR_CREDENTIAL": keys.user.username,
                "IBKR_ALLOWED_IP": "127.0.0.1",
            }
    return "".join(f'{name}="{value}"\n' for name, value in lines.items())


@pytest.fixture
def bench(ibkit: Run, home: Path) -> Iterator[Callable[..., Bench]]:
    """`bench("order-question", method="oauth2")`: a simulator with that scenario, .env written for it."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def make(*scenarios: str, method: str = "oauth1a", user: int = 0, **options: Any) -> Bench:
            simulator = make_simulator(*scenarios, **options)

            def transport(settings: Settings) -> Any:
                face = "gateway" if settings.method.value == "gateway" else "cloud"
                return simulator.transport(face)  # type: ignore[arg-type]  # one of the two words

            stack.enter_context(using(Edges(transport=transport, clock=simulator.clock, keep_alive=False)))
            env = home / ".env"
            env.write_text(env_of(simulator, method, user))
            env.chmod(0o600)
            return Bench(ibkit, home, simulator)

        yield make
