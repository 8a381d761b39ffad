"""`ibkit sim`: a simulated Interactive Brokers on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import cyclopts

from ibkit.errors import ConfigError

if TYPE_CHECKING:
    from ibkit.sim.quirks import Quirks
    from ibkit.sim.serving.running import SimOptions

__all__ = ["app"]

_FASTEST = 86_400
"""A day in a second; any faster and a world has no time for a request."""
_LONGEST_S = 1e9

app = cyclopts.App(name="sim", help="Simulate Interactive Brokers on this machine, until Ctrl-C.")


@app.default
def sim(
    *,
    gateway_port: int = 5000,
    cloud_port: int = 5001,
    host: str = "127.0.0.1",
    directory: Annotated[Path, cyclopts.Parameter(name="--dir")] = Path(".ibkit/sim"),
    scenario: Annotated[tuple[str, ...], cyclopts.Parameter(show_default=" ".join)] = ("ok",),
    seed: int = 7,
    clock: Literal["real", "manual"] = "real",
    speed: float = 1.0,
    start: Annotated[str, cyclopts.Parameter(show_default=False)] = "",
    idle_timeout: float = 360.0,
    max_age: float = 86400.0,
    quirk: tuple[str, ...] = (),
) -> int:
    """Serve both faces of IBKR over one simulated world, each with a certificate of the simulator's own authority.

    When both accept, DIR/simulator.json tells their addresses, users and ready settings files (DIR/env).

    Parameters
    ----------
    gateway_port
        Port of the Client Portal Gateway's face; 0 picks a free one.
    cloud_port
        Port of api.ibkr.com's face (OAuth 1.0a and 2.0); 0 picks a free one.
    host
        Address to listen on.
    directory
        Where keys, certificates and settings files are kept.
    scenario
        A trouble to imitate; may be given several times.
    seed
        The same seed, clock and requests give the same answers.
    clock
        Whether the world's time runs, or moves only by POST /__sim/clock.
    speed
        How much faster than real the world's time runs.
    start
        First moment of the world, as ISO time (UTC unless it says otherwise) or "now"; by default one at which the
        US market is open.
    idle_timeout
        Seconds without a call after which a brokerage session is lost.
    max_age
        Seconds after which a login is over.
    quirk
        NAME=VALUE: another reading of something IBKR leaves open; may be given several times.
    """
    from ibkit.sim.serving.running import SimOptions

    if not 0 < speed <= _FASTEST:
        raise _wrong("--speed", f"above 0 and at most {_FASTEST} (a clock that stands still is --clock manual)")
    for name, seconds in (("--idle-timeout", idle_timeout), ("--max-age", max_age)):
        if not 0 < seconds < _LONGEST_S:
            raise _wrong(name, f"seconds above 0 and below {_LONGEST_S}")
    if gateway_port == cloud_port != 0:
        raise _wrong("--cloud-port", f"{cloud_port} is the gateway's port already")
    quirks = _quirks(quirk, {"idle_timeout_s": idle_timeout, "max_age_s": max_age}, manual=clock == "manual")
    options = SimOptions(
        gateway_port=_port("--gateway-port", gateway_port),
        cloud_port=_port("--cloud-port", cloud_port),
        host=host,
        folder=directory,
        scenarios=_scenarios(scenario),
        seed=seed,
        manual=clock == "manual",
        speed=speed,
        start=_start(start),
        quirks=quirks,
    )
    return asyncio.run(_until_stopped(options))


async def _until_stopped(options: SimOptions) -> int:
    from ibkit.sim.serving.running import run

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no signal handlers on its loop; there Ctrl-C arrives as KeyboardInterrupt.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    await run(options, stop, say=_say)
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _wrong(name: str, reason: str) -> ConfigError:
    return ConfigError(f"Invalid request: {name}: {reason}", code="E-VALIDATION", remedy="Correct the option.")


def _port(name: str, port: int) -> int:
    if not 0 <= port <= 65535:
        raise _wrong(name, f"{port} is no port (0 to 65535)")
    return port


def _scenarios(names: tuple[str, ...]) -> tuple[str, ...]:
    from ibkit.sim.faults import Faults

    try:
        Faults(names)
    except ValueError as error:
        raise _wrong("--scenario", str(error)) from error
    return names


def _quirks(pairs: tuple[str, ...], given: dict[str, object], *, manual: bool) -> Quirks:
    from ibkit.sim.quirks import Quirks

    values: dict[str, object] = dict(given)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise _wrong("--quirk", f"{pair}: NAME=VALUE is wanted")
        values[name.strip()] = value
    try:
        return (Quirks().standing_still() if manual else Quirks()).with_values(values)
    except ValueError as error:
        raise _wrong("--quirk", str(error)) from error


def _start(text: str) -> datetime | Literal["now"] | None:
    from ibkit.sim.market.market import check_start

    if not text:
        return None
    if text == "now":
        return "now"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _wrong("--start", f"{text} is no ISO time (2026-11-20T15:30:00Z)") from error
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    try:
        check_start(moment)
    except (ValueError, OverflowError) as error:
        raise _wrong("--start", str(error)) from error
    return moment
