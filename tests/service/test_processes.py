"""The service as people run it: killed between store and send, and ended in good order."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import pytest

from ibkit.bootstrap.users import open_users
from ibkit.clock import SystemClock
from ibkit.model import Secret
from ibkit.settings import load
from ibkit.users import Role
from ibkit.users.totp import STEP_S, code_at
from running import RunningSimulator, command, running_simulator
from running import until as comes
from service_desks import ORDER, Served, new_key
from service_people import secret_of
from user_desks import CHEAP, PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")]

SCRIPT = Path(__file__).with_name("serve_for_test.py")
WISH = {**ORDER, "broker": "ibkr", "qty": 3}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    with running_simulator(tmp_path_factory.mktemp("world") / "sim", "--start", "2026-11-20T15:30:00Z") as found:
        yield found


@contextmanager
def serving(
    world: RunningSimulator, home: Path, *words: str, die: str = "", own_users: bool = False, **more: str
) -> Iterator[tuple[Served, subprocess.Popen]]:
    """own_users: those of the installation instead of the tests'. more: of its environment."""
    home.mkdir(exist_ok=True)
    env = {"PATH": os.environ.get("PATH", ""), "HOME": str(home), "DIE": die, **more}
    all_words = ["--env-file", str(world.env("oauth1a")), "serve", "--port", "0", *words]
    whole = command(*all_words) if own_users else [sys.executable, str(SCRIPT), *all_words]
    log = home / f"log-{die or 'whole'}"
    with (
        log.open("w") as out,
        subprocess.Popen(whole, stdout=out, stderr=subprocess.STDOUT, cwd=home, env=env) as process,
    ):
        try:
            comes(lambda: "Serving http" in log.read_text() or process.poll() is not None, what="the service")
            assert process.poll() is None, log.read_text()
            served = Served(address=log.read_text().split("Serving ")[1].split()[0])
            yield served, process
        finally:
            process.kill()
    assert "Traceback" not in log.read_text(), log.read_text()


def settled(service: Served, path: str) -> str:
    """Its status once nothing more will come of it by itself."""
    return comes(
        lambda: next((s for s in (service.ask("GET", path).data["status"],) if s != "pending"), None),
        within_s=60,
        what="an end",
    )


def orders(world: RunningSimulator) -> list[dict]:
    return [row for row in world.ledger() if row["accepted"]]


@pytest.mark.requirement("GWY-03", "GWY-06", "TRD-22")
def test_a_service_killed_between_store_and_send_gives_one_order_after_its_restart(
    world: RunningSimulator, tmp_path: Path
) -> None:
    """Carried on by the next process while it is young, else failed. A kill after the send: `make chaos`."""
    world.reset()
    key = new_key()
    with serving(world, tmp_path / "home", die="before") as (service, process):
        with pytest.raises((http.client.HTTPException, OSError)):
            service.ask("POST", "/broker-order", WISH, key=key)
        assert process.wait(20) == -signal.SIGKILL
    assert orders(world) == []
    with serving(world, tmp_path / "home") as (service, process):
        (row,) = service.ask("GET", "/broker-order").data
        status = settled(service, f"/broker-order/{row['id']}")
        again = service.ask("POST", "/broker-order", WISH, key=key)
        assert (again.status, again.data["id"]) == (200, row["id"]), again.raw
        other = service.ask("POST", "/broker-order", {**WISH, "qty": 4}, key=key)
        assert (other.status, other.code) == (422, "E-IDEM-CONFLICT")
        assert status in ("submitted", "partially_filled", "filled", "failed")
        assert len(orders(world)) == (0 if status == "failed" else 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.requirement("GWY-06", "MON-03", "GWY-05")
def test_a_service_without_the_watch_takes_orders_follows_them_and_ends_in_good_order(
    world: RunningSimulator, tmp_path: Path
) -> None:
    world.reset()
    with serving(world, tmp_path / "home", "--no-worker") as (service, process):
        comes(lambda: service.ask("GET", "/health/broker").status == 200, what="the login")
        assert service.ask("GET", "/readyz").json == {"status": "ready", "down": []}
        order = service.ask("POST", "/broker-order", WISH, key=new_key())
        assert order.status == 201, order.raw
        path = f"/broker-order/{order.data['id']}"
        comes(lambda: service.ask("GET", path).data["status"] == "filled", within_s=10, what="the fill")
        assert service.ask("GET", path).data["filled_quantity"] == 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(12) == 0


@pytest.mark.requirement("GWY-02", "VLT-10")
def test_at_a_simulator_people_keep_their_own_time_and_orders_that_of_the_market(
    world: RunningSimulator, tmp_path: Path
) -> None:
    """A phone knows nothing of the hour at which a simulated market was opened."""
    world.reset()
    key, home = "9d" * 16 + "3e" * 16, tmp_path / "home"
    given = {"HOME": str(home), "ENCRYPTION_KEY": key}
    real = SystemClock()

    def code(secret: Secret[bytes]) -> str:
        return code_at(secret, int(real.now().timestamp()) // STEP_S)

    async def enrol() -> Secret[bytes]:
        async with open_users(
            load(environ=given, directory=home, require_method=False), clock=real, cost=CHEAP
        ) as desk:
            await desk.keeper.add("anna", Role.TRADER, PASSWORD)
            secret = secret_of((await desk.keeper.begin_totp("anna")).reveal())
            earlier = code_at(secret, int(real.now().timestamp()) // STEP_S - 1)  # a code is good once
            await desk.keeper.confirm_totp("anna", earlier)
            return secret

    home.mkdir()
    secret = anyio.run(enrol)
    with serving(world, home, own_users=True, ENCRYPTION_KEY=key) as (service, process):
        words = {"name": "anna", "password": PASSWORD.reveal()}
        first = service.ask("POST", "/api/sign-in", words, token=None)
        assert first.status == 202, first.raw
        step = {"challenge": first.data["challenge"], "code": code(secret)}
        signed_in = service.ask("POST", "/api/sign-in/code", step, token=None)
        assert signed_in.status == 200, signed_in.raw
        ends = datetime.fromisoformat(signed_in.data["expires_at"]) - real.now()
        assert timedelta(hours=23) < ends < timedelta(hours=25)
        comes(lambda: service.ask("GET", "/health/broker").status == 200, what="the login")
        order = service.ask("POST", "/broker-order", WISH, key=new_key(), token=signed_in.data["token"])
        assert order.status in (201, 202), order.raw
        assert order.data["created_at"].startswith("2026-11-20T")

        by_command = subprocess.run(
            command("--env-file", str(world.env("oauth1a")), "user", "token", "anna"),
            env={"PATH": os.environ.get("PATH", ""), **given},
            cwd=home,
            capture_output=True,
            text=True,
            check=True,
        )
        assert service.ask("GET", "/api/me", token=by_command.stdout.strip()).status == 200

        for _ in range(5):
            service.ask("POST", "/api/sign-in", {**words, "password": "not the password"}, token=None)
        waits = service.ask("POST", "/api/sign-in", words, token=None)
        assert (waits.status, waits.code) == (429, "E-RATE")
        assert 1 <= int(waits.headers["retry-after"]) <= 15 * 60
        for number in range(5):
            service.ask("GET", "/api/me", token=f"x.y.{number}")
        comes(lambda: "failed sign-ins or bad tokens of address" in (home / "log-whole").read_text(), what="the alert")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.requirement("GWY-01", "GWY-02", "DOC-01")
def test_a_user_with_a_token_of_theirs_trades_on_the_simulated_market(tmp_path: Path) -> None:
    """As the guide says it: no account, no settings file, the real users of the installation."""
    env = {"PATH": os.environ.get("PATH", ""), "HOME": str(tmp_path), "BROKER_PROVIDER": "mock"}

    def ibkit(*words: str) -> str:
        password = "correct horse battery staple 9\n"
        ran = subprocess.run(
            command(*words), input=password, env=env, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    ibkit("user", "add", "anna", "--role", "trader")
    token = ibkit("user", "token", "anna")
    log = tmp_path / "log"
    with (
        log.open("w") as out,
        subprocess.Popen(
            command("serve", "--port", "0"), stdout=out, stderr=subprocess.STDOUT, cwd=tmp_path, env=env
        ) as process,
    ):
        try:
            comes(lambda: "Serving http" in log.read_text() or process.poll() is not None, what="the service")
            service = Served(address=log.read_text().split("Serving ")[1].split()[0])
            order = service.ask("POST", "/broker-order", {**ORDER, "qty": 3}, key=new_key(), token=token)
            assert order.status in (201, 202), order.raw
            header, body, _ = token.split(".")
            for forged in (f"{header}.{body}.", f"{header}.{body}.{'A' * 43}", token[:-2], "a.b.c"):
                refused = service.ask("GET", "/broker-order", token=forged)
                assert (refused.status, refused.code) == (401, "E-APP-AUTH")
            ibkit("user", "disable", "anna")
            assert service.ask("GET", "/broker-order", token=token).status == 401
            process.send_signal(signal.SIGTERM)
            assert process.wait(12) == 0
        finally:
            process.kill()
