"""The simulator's whole state: one seeded world, moved to a given time from outside. No clock, no socket."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ibkit.sim.faults import Faults
from ibkit.sim.flex.queries import SimFlexQuery
from ibkit.sim.logins.logins import Logins, SimAccount, User
from ibkit.sim.logins.sessions import advance_sessions, lose_all_brokerage
from ibkit.sim.quirks import Quirks
from ibkit.sim.serving.maintenance import resets_between

if TYPE_CHECKING:
    from ibkit.sim.exchange.books import Books
    from ibkit.sim.exchange.exchange import Exchange
    from ibkit.sim.flex.service import FlexService
    from ibkit.sim.market.calendar import Calendar
    from ibkit.sim.market.instruments import Instruments
    from ibkit.sim.market.market import Market

__all__ = ["SimConfig", "World"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimConfig:
    """start: the world's first moment, aware. scenarios: names of `faults.SCENARIOS`.

    flex_queries: saved Flex queries besides those that each user has.
    """

    start: datetime
    seed: int = 7
    scenarios: tuple[str, ...] = ("ok",)
    quirks: Quirks = field(default_factory=Quirks)
    flex_queries: tuple[SimFlexQuery, ...] = ()


@dataclass(slots=True, eq=False)
class World:
    """Everything that both faces look at. `now` is the world's time of the request being served.

    Parts that outlive a `POST /__sim/quirks` read `world.quirks` when they need one, and keep no copy.
    """

    config: SimConfig
    quirks: Quirks
    faults: Faults
    logins: Logins
    calendar: Calendar
    instruments: Instruments
    market: Market
    books: Books = field(init=False)
    exchange: Exchange = field(init=False)
    flex: FlexService = field(init=False)
    now: datetime = field(init=False)
    users_at_start: tuple[User, ...] = field(init=False)
    request_id: int = 0
    """Number of the request being served, as in GET /__sim/requests; 0 between requests. The ledger notes it."""
    notices: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """What was said by `ntf`, to which user name; sockets remember how far they have read."""
    _streams: dict[str, random.Random] = field(init=False, default_factory=dict)

    @classmethod
    def create(cls, config: SimConfig, logins: Logins) -> World:
        """A new world at `config.start`, with every account at its starting cash."""
        # numpy and the trading calendar are heavy: they load when a world is made, not when `ibkit --help` runs.
        from ibkit.sim.exchange.books import Books
        from ibkit.sim.exchange.exchange import Exchange
        from ibkit.sim.flex.service import FlexService
        from ibkit.sim.market.calendar import Calendar
        from ibkit.sim.market.instruments import Instruments
        from ibkit.sim.market.market import Market

        calendar = Calendar()
        instruments = Instruments(calendar, seed=config.seed)
        world = cls(
            config=config,
            quirks=config.quirks,
            faults=Faults(config.scenarios),
            logins=logins,
            calendar=calendar,
            instruments=instruments,
            market=Market(calendar, instruments, seed=config.seed, start=config.start),
        )
        world.now = config.start.astimezone(UTC)
        world.users_at_start = tuple(logins.users.values())
        world.books = Books(world)
        world.exchange = Exchange(world)
        world.flex = FlexService(world)
        return world

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def accounts(self) -> dict[str, SimAccount]:
        """All accounts that the books know, by id, whoever sees them now."""
        return {a.id: a for user in self.users_at_start for a in (*user.accounts, *user.spare_accounts)}

    @property
    def users(self) -> tuple[User, ...]:
        return tuple(self.logins.users.values())

    def rng(self, name: str) -> random.Random:
        """The stream of chance for one purpose; draws for another purpose do not disturb it."""
        if name not in self._streams:
            self._streams[name] = random.Random(f"{self.seed}/{name}")  # noqa: S311  # a seeded world, not a secret
        return self._streams[name]

    def advance(self, now: datetime) -> None:
        """Move everything to `now`; the same moment again, or an earlier one, changes nothing."""
        if now <= self.now:
            return
        earlier, self.now = self.now, now
        self.exchange.advance(now)
        advance_sessions(self, now)
        for user, reset in resets_between(self, earlier, now):
            lose_all_brokerage(self, user, opened_before=reset)
