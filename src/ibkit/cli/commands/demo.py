"""`ibkit demo`: the main job on a simulator of its own: sign in, sell a put and a call, protect both, show it.

Then the whole product on it: service, worker, pages, an owner with a one-time link, orders, a portfolio.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn
from zoneinfo import ZoneInfo

import cyclopts

from ibkit.cli import demo_product, output
from ibkit.cli.demo_product import Product
from ibkit.cli.flags import flag, option
from ibkit.cli.running import go
from ibkit.errors import IbkitError, StorageError, Unreachable

if TYPE_CHECKING:
    from ibkit.trading import Step
    from ibkit.trading.selling.legs import Sale

__all__ = ["app"]

app = cyclopts.App(name="demo", help="See the main job done on the simulator, then the pages.")

_NEW_YORK: Final = ZoneInfo("America/New_York")
_UP_WITHIN_S: Final = 240.0
"""The first start of a folder looks for a safe prime, which takes about half a minute, on slow machines longer."""
_STOPS_WITHIN_S: Final = 10.0
_METHODS: Final = ("oauth1a", "oauth2", "gateway")


@app.default
def demo(
    *,
    directory: Annotated[Path, option("Where the simulator keeps its keys and files.", "--dir")] = Path(".ibkit/demo"),
    exit: Annotated[bool, flag("End after the sale instead of staying up; for scripts.")] = False,  # noqa: A002
    seed: Annotated[int, option("Of the simulated market.")] = 7,
) -> int:
    """Sell a put and a call on a simulator with a stop for each, and open the pages on it."""
    started = time.monotonic()
    folder = directory.absolute()
    output.say("ibkit demo: a simulated Interactive Brokers on this machine. No account, no network, no money.\n")
    with _simulator(folder, seed) as simulator:
        output.say(f"Simulator up: gateway {simulator.gateway_url}, cloud {simulator.cloud_url}\n")
        code = _sale(simulator)
        if code == 0:
            output.say("\n4. The service with its pages, on the same market and the same books\n")
            with demo_product.opened(simulator.env["oauth1a"], folder) as product:
                go(lambda: demo_product.seed(product))
                output.say(f"That took {time.monotonic() - started:.0f} seconds, simulator included.\n")
                output.say(f"Open this in a browser; it signs the owner in, once:\n\n  {product.link.reveal()}")
                if not exit:
                    _stay(simulator, product)
    return code


@dataclass(frozen=True, slots=True)
class _Simulator:
    """env: the settings file of each method, for the first user."""

    process: subprocess.Popen[bytes]
    gateway_url: str
    cloud_url: str
    control_url: str
    ca: Path
    username: str
    password: str
    env: dict[str, Path]


@contextmanager
def _simulator(folder: Path, seed: int) -> Iterator[_Simulator]:
    """A simulator in a process of its own, on free ports; ended at the end."""
    announcement = folder / "simulator.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            announcement.unlink()
        log = (folder / "simulator.log").open("wb")
    except OSError as error:
        raise StorageError(
            f"Demo folder cannot be used: {folder}: {error.strerror or error}", remedy="Name another with --dir."
        ) from error
    if not (folder / "keys" / "dhparam.pem").exists():
        output.say("First run: making the simulator's keys (about half a minute) ...")
    command = [sys.executable, "-m", "ibkit", "sim", "--gateway-port", "0", "--cloud-port", "0"]
    command += ["--dir", str(folder), "--seed", str(seed)]
    # A session of its own: Ctrl-C is for us, and we end the simulator.
    process = subprocess.Popen(  # noqa: S603  # our own interpreter, fixed arguments
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    log.close()
    # Being terminated must not leave the simulator behind.
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        _wait_for(announcement, process, folder)
        yield _read(announcement, process, folder)
    finally:
        signal.signal(signal.SIGTERM, before)
        process.terminate()
        try:
            process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _wait_for(announcement: Path, process: subprocess.Popen[bytes], folder: Path) -> None:
    """The simulator writes its file when both faces accept."""
    deadline = time.monotonic() + _UP_WITHIN_S
    while not announcement.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            said = (folder / "simulator.log").read_text(encoding="utf-8", errors="replace").strip()
            raise Unreachable(
                f"The simulator did not start: {output.one_line(said, 300) or 'no reason given'}",
                remedy=f"See {folder / 'simulator.log'}.",
            )
        time.sleep(0.05)


def _read(announcement: Path, process: subprocess.Popen[bytes], folder: Path) -> _Simulator:
    told = json.loads(announcement.read_text(encoding="utf-8"))
    user = told["users"][0]
    state = folder / "state"
    # The simulated world begins anew each time, so what was known of the one before is of no use.
    shutil.rmtree(state, ignore_errors=True)
    env = {method: _env_file(folder, method, folder / user["env"][method], state) for method in _METHODS}
    return _Simulator(
        process=process,
        gateway_url=told["gateway_url"],
        cloud_url=told["cloud_url"],
        control_url=told["control_url"],
        ca=folder / told["ca"],
        username=user["username"],
        password=user["password"],
        env=env,
    )


def _env_file(folder: Path, method: str, source: Path, state: Path) -> Path:
    """The simulator's settings file for a method, with a state directory of the demo's own."""
    path = folder / f"{method}.env"
    with suppress(FileNotFoundError):
        path.unlink()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(source.read_text(encoding="utf-8") + f'IBKIT_STATE_DIR="{state}"\n')
    return path


def _sale(simulator: _Simulator) -> int:
    """Both legs over OAuth 1.0a, told as they happen."""
    from ibkit.settings import load

    # Only the simulator's own settings: whatever stands in the environment must not reach a real broker from here.
    settings = load(environ={"HOME": str(Path.home())}, env_file=simulator.env["oauth1a"])
    return go(lambda: _sell(settings))


async def _sell(settings: Any) -> int:
    from ibkit.bootstrap import open_desk
    from ibkit.bootstrap.sales import CALL_STRIKE, PUT_STRIKE, look_back
    from ibkit.cli.asking import today_in_new_york
    from ibkit.cli.desk import key_or_new
    from ibkit.cli.sale_text import last_line, tables
    from ibkit.cli.selling import interruptible
    from ibkit.model import Right
    from ibkit.trading.selling.legs import Leg, leg_keys, sell_legs

    output.say("1. Sign in over OAuth 1.0a: live session token, brokerage session, account")
    async with open_desk(settings, observe=_timeline) as desk:
        for name, step in desk.client.steps.items():
            output.say(f"     {name:<10}{step.message}" + (f" (HTTP {step.status})" if step.status else ""))
        output.say(f"     account   {desk.account_id}, {settings.environment.value}\n")
        output.say("2. Sell 3 SPY puts at 629 and 3 calls at 631, expiring today; stop at 5 times the entry price\n")
        legs = [Leg(Right.PUT, PUT_STRIKE), Leg(Right.CALL, CALL_STRIKE)]
        key = key_or_new(None)
        sale: Sale = await sell_legs(
            desk.seller(),
            legs,
            leg_keys(key, [leg.right for leg in legs]),
            run=interruptible,
            symbol="SPY",
            stop_multiple=Decimal(5),
            quantity=3,
            expiry=today_in_new_york(desk.clock.now()),
            options={},
        )
        output.say("\n3. What IBKR (the simulated one) shows now\n")
        await look_back(desk, sale, "SPY")
        output.say(tables(sale, "SPY"))
        await desk.client.logout()
    for _, result in sale.results:
        if not result.success:
            output.report(IbkitError(result.message, code=result.code, remedy=result.remedy), json=False)
    output.say(f"\n{last_line(sale, dry_run=False)}")
    return sale.exit_code


def _timeline(step: Step) -> None:
    at: datetime = step.at.astimezone(_NEW_YORK)
    output.say(
        f"     {at:%H:%M:%S}.{at.microsecond // 1000:03}  {step.kind.value:<13}{output.one_line(step.text, 110)}"
    )
    if step.kind.value == "done":
        output.say()


def _stay(simulator: _Simulator, product: Product) -> None:
    """How to go on by hand; until Ctrl-C, or the end of one of the two."""
    ibkit = "ibkit" if shutil.which("ibkit") else _shown(Path(sys.executable).with_name("ibkit"))
    files = {method: _shown(path) for method, path in simulator.env.items()}
    output.say(
        f"""
Service and simulator stay up until you press Ctrl-C. Go on in another terminal, with any of the three sign-ins:

  {ibkit} --env-file {files["oauth1a"]} status --connect
  {ibkit} --env-file {files["oauth2"]} sell-option --side put --quantity 1
  {ibkit} --env-file {files["gateway"]} orders list

The gateway's login page is {simulator.gateway_url}: {simulator.username}, {simulator.password}, and a second factor
that the page explains. Its certificate is signed by {_shown(simulator.ca)}. By hand:

  curl --cacert {_shown(simulator.ca)} -X POST -d '' {simulator.gateway_url}/v1/api/tickle
  curl {simulator.control_url}/__sim/requests
"""
    )
    try:
        while simulator.process.poll() is None and product.process.poll() is None:
            time.sleep(0.2)
        output.warn("The simulator has ended." if simulator.process.poll() is not None else "The service has ended.")
    except KeyboardInterrupt:
        output.say("\nStopping service and simulator.")


def _shown(path: Path) -> str:
    with suppress(ValueError):
        return str(path.absolute().relative_to(Path.cwd()))
    return str(path)
