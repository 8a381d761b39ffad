"""What happens between two calls: the session is lost, taken, replaced; the disk fails; the clock is set.

Each is a fate of its own kind; `SESSION_FAULTS` and `DISK_FAULTS` tell the rows of the fault model.
"""

from __future__ import annotations

from ibkit.model import AuthMethod
from ibkit.sim.exchange.tickets import read_ticket
from ibkit.sim.logins import sessions
from ibkit.sim.serving.inprocess import Simulator

from .broker import USERNAME, Broker
from .clock import ChaosClock
from .fates import Fates
from .faults import SESSION_FAULTS, Weather
from .process import ACCOUNT, SkewedClock

__all__ = ["Troubles"]

_OAUTH1_ONLY = frozenset({"proof"})
_OAUTH_ONLY = frozenset({"signature", "date"})
_SCENARIO = {
    "maintenance": "maintenance-503",
    "pacing": "rate-429",
    "proof": "lst-mismatch",
    "signature": "bad-signature",
    "date": "clock-skew",
}
"""Troubles that are a scenario of the simulator, on for a while."""
OTHER_ACCOUNT = "DU1000002"


class Troubles:
    """The world around the calls of one schedule. rates: chance of each kind at each of its occasions."""

    def __init__(
        self,
        fates: Fates,
        simulator: Simulator,
        broker: Broker,
        weather: Weather,
        clock: ChaosClock,
        wall: SkewedClock,
        *,
        method: AuthMethod,
        scenarios: tuple[str, ...],
    ) -> None:
        self._fates = fates
        self._simulator = simulator
        self._broker = broker
        self._weather = weather
        self._clock = clock
        self._wall = wall
        self._method = method
        self.scenarios = scenarios
        self._now: set[str] = set(scenarios)
        self.session_rate = self.disk_rate = self.pause_rate = self.skew_rate = 0.0
        self._fitting = [
            name
            for name in SESSION_FAULTS
            if (name not in _OAUTH_ONLY or method is not AuthMethod.GATEWAY)
            and (name not in _OAUTH1_ONLY or method is AuthMethod.OAUTH1A)
        ]
        simulator.world.faults.set_scenarios(scenarios)
        sessions.apply_scenarios(simulator.world)

    def add_scenario(self, name: str) -> None:
        """One that lasts the whole schedule, the healing included."""
        self.scenarios = (*self.scenarios, name)
        self._switch(name, on=True)

    # --- the disk and the machine ------------------------------------------------------------------------------

    def disk_fault(self, row: str) -> str:
        """What is wrong with the disk for the row that is about to be written, or for the "lock"."""
        if self._weather.calm:
            return ""
        dice = self._fates.roll("disk", self.disk_rate if row != "lock" else self.disk_rate / 2)
        if dice is None:
            return ""
        names = ["full", "full", "busy", "fsync lost", "fsync kept"] if row != "lock" else ["no descriptors"]
        fault = dice.choice(names)
        self._weather.fired[f"disk {fault}"] += 1
        self._weather.pairs[f"disk {fault}", f"before {row}"] += 1
        self._fates.tell(f"disk at {row}: {fault}")
        return fault

    def pause(self) -> None:
        """The process is stopped after a commit, as by a SIGSTOP or a moved machine (F91)."""
        if self._weather.calm:
            return
        dice = self._fates.roll("pause", self.pause_rate)
        if dice is not None:
            seconds = dice.choice([1.9, 2.1, 10.0, 90.0])
            self._weather.fired["process stopped"] += 1
            self._fates.tell(f"stopped for {seconds} s")
            self._clock.advance(seconds)

    def set_clock(self) -> None:
        """Somebody sets the wall clock (F101)."""
        dice = self._fates.roll("clock", self.skew_rate)
        if dice is not None:
            self._wall.offset_s = dice.choice([-3600.0, -30.0, 0.0, 30.0, 3600.0])
            self._weather.fired["wall clock set"] += 1
            self._fates.tell(f"the wall clock is set {self._wall.offset_s:+.0f} s off")

    # --- the session -------------------------------------------------------------------------------------------

    def disturb_session(self) -> None:
        """Perhaps something happens to the login, now or while the next call is under way."""
        dice = self._fates.roll("session", self.session_rate)
        if dice is None:
            return
        name = dice.choice(self._fitting)
        self._weather.fired[name] += 1
        delay, pause = dice.choice([0.0, 0.5, 3.0, 31.0]), dice.choice([2.0, 20.0, 90.0])
        self._fates.tell(f"session: {name} in {delay} s, for {pause} s")
        self._clock.later(delay, lambda: self._strike(name, pause))

    def _strike(self, name: str, pause: float) -> None:
        world = self._simulator.world
        if self._weather.calm:
            return
        self._broker.note(f"session: {name}")
        match name:
            case "reset":
                for session in sessions.sessions_of(world, USERNAME):
                    sessions.lose_brokerage(session)
            case "relogin":
                self._log_in()
            case "logout":
                for session in list(sessions.sessions_of(world, USERNAME)):
                    sessions.end(world, session)
                self._clock.later(pause, self._log_in)
            case "taken":
                sessions.take_elsewhere(world, USERNAME)
                self._clock.later(pause, self._log_in)
            case "account":
                brokerage = self._broker.brokerage
                if brokerage is not None and "multi-account" in self.scenarios:
                    brokerage.selected_account = OTHER_ACCOUNT
            case "questions":
                self._switch("order-question", on="order-question" not in self._now)
            case _:
                self._switch(_SCENARIO[name], on=True)
                self._clock.later(pause, lambda: self._switch(_SCENARIO[name], on=False))

    def _switch(self, scenario: str, *, on: bool) -> None:
        (self._now.add if on else self._now.discard)(scenario)
        self._simulator.world.faults.set_scenarios(sorted(self._now))

    def _log_in(self) -> None:
        """At the gateway somebody logs in; over OAuth the brokerage session is replaced where one is open."""
        world = self._simulator.world
        world.logins.elsewhere.discard(USERNAME)
        if self._method is AuthMethod.GATEWAY:
            sessions.gateway_login(world, USERNAME, ready=True)
            return
        for session in sessions.sessions_of(world, USERNAME):
            if session.method != "gateway" and session.brokerage is not None:
                sessions.open_brokerage(world, session, ready=True, primed=True)

    def type_into_tws(self, mark: str = "") -> None:
        """A person at the same account enters an order of their own. mark: a ref of the form of ours."""
        world = self._simulator.world
        body = {"conid": 756733, "side": "BUY", "orderType": "LMT", "price": 500, "quantity": 77, "tif": "DAY"}
        if mark:
            body["cOID"] = mark
        world.exchange.enter_external(ACCOUNT, read_ticket(body, world.instruments), world.now)

    def heal(self) -> None:
        """Everything works again, and stays so."""
        world = self._simulator.world
        world.advance(self._clock.now())
        self._weather.calm = True
        self._wall.offset_s = 0.0
        self.session_rate = self.disk_rate = self.pause_rate = self.skew_rate = 0.0
        self._now = {name for name in self.scenarios if "question" not in name}
        world.faults.set_scenarios(sorted(self._now))
        world.logins.elsewhere.clear()
        if self._method is AuthMethod.GATEWAY and (
            world.logins.gateway is None or world.logins.gateway.brokerage is None
        ):
            sessions.gateway_login(world, USERNAME, ready=True)
        self._simulator.server.pacing.clear()  # a penalty box of ten minutes is the broker's, not ours to heal
