"""Syncs by the clock, in the process that keeps the login, and at once when its session comes back.

    due        the account's stretch of SYNC_INTERVAL_MINUTES has begun, and no good sync is younger
    not        within IBKR's reset window, while the login is down or rests, while IBKR makes it wait
    put        as a durable job, one for each account and stretch, in one queue with a partition for each user
    orders     go first: every call of a sync stands in the pacer's last lane (client/pacing.py; fault F115)

Times are those of the login's clock. The engine is started when the first account is due, not before.
Source: requirements SYN-12, SYN-15.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ibkit.bootstrap.jobs import JobEngine, missing
from ibkit.bootstrap.portfolios import PortfolioDesk
from ibkit.client.core import Core
from ibkit.client.holdings import IbkrSource
from ibkit.clock import Clock
from ibkit.errors import IbkitError, StorageError, TradingError
from ibkit.notify.metrics import Metrics
from ibkit.portfolio.ports import LinkedAccount
from ibkit.portfolio.schedule import due_since
from ibkit.settings import Settings
from ibkit.wire import maintenance_until

__all__ = ["AutomaticSyncs", "KeptLogin"]

log = logging.getLogger(__name__)

_GLANCE_S: Final = 1.0
"""How soon it is noticed that a session is back."""
_LOOK_EVERY_S: Final = 10.0
_AGAIN_S: Final = 30.0
_AT_ONCE: Final = 4
_MOST_ELSEWHERE: Final = 20
_BUSY_AGAIN_S: Final = 5.0
_BUSY_TRIES: Final = 60
"""Longer than a sync may take (portfolio/syncing.py), and than the claim of one whose process died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLogin:
    """user_id: "" for the login of the settings. up: its brokerage session is. name: as figures call it."""

    user_id: str
    connection_id: str
    client: Core
    up: bool
    metrics: Metrics
    name: str


class AutomaticSyncs:
    """clock: of the logins. logins: those of this process, asked again each time.

    of_users: they are users' own (ENABLE_MULTI_USER); else every account is synced by the one of the settings.
    engine: others may register jobs of theirs before `run`.
    """

    def __init__(
        self,
        settings: Settings,
        desk: PortfolioDesk,
        clock: Clock,
        logins: Callable[[], Sequence[KeptLogin]],
        *,
        of_users: bool,
        engine: JobEngine,
    ) -> None:
        self._every = timedelta(minutes=settings.sync.interval_minutes)
        self._desk = desk
        self._clock = clock
        self._logins = logins
        self._multi_user = settings.general.multi_user
        self._of_users = of_users
        self._engine = engine
        self.paused: Callable[[], bool] = lambda: False
        """Whether nothing new is begun just now: while the service is worked on."""
        self._queue = "portfolio-syncs" if of_users else "portfolio-syncs-settings"
        self._was_up: dict[tuple[str, str], bool] = {}
        self._back_at: dict[tuple[str, str], datetime] = {}
        self._put: dict[str, str] = {}
        self._skipped: Counter[str] = Counter()
        """By account: jobs that came when the login was down; the next one of the same stretch needs another key."""
        if self._every:
            engine.register(self._queue, self._sync, at_once=_AT_ONCE)

    async def run(self) -> None:
        """Until it is cancelled."""
        if not self._every and not self._engine.has_periodic:
            return
        if missing():
            log.warning("nothing is synced by the clock: a library is missing", extra={"remedy": missing()})
            return
        while not self._engine.has_periodic and not await self._anything():
            await self._clock.sleep(_LOOK_EVERY_S)
        while True:
            try:
                async with self._engine.running():
                    await self._look_for_ever()
            except IbkitError as error:
                log.warning("jobs by the clock wait", extra={"code": error.code, "why": error.message})
            await self._clock.sleep(_AGAIN_S)

    async def _anything(self) -> bool:
        try:
            return bool(await self._due())
        except StorageError as error:
            log.warning("what is to be synced could not be read", extra={"code": error.code})
            return False

    async def _look_for_ever(self) -> None:
        looked_at: float | None = None
        pause = min(_LOOK_EVERY_S, self._every.total_seconds() / 6) if self._every else _LOOK_EVERY_S
        while True:
            back = self._came_back()
            if self._every and (back or looked_at is None or self._clock.monotonic() - looked_at >= pause):
                looked_at = self._clock.monotonic()
                try:
                    await self.look()
                except StorageError as error:
                    log.warning("what is to be synced could not be read", extra={"code": error.code})
            await self._clock.sleep(_GLANCE_S)

    def _came_back(self) -> bool:
        """Whether a session that was up in this process, and then was not, is up again."""
        back = False
        for login in self._logins():
            key = (login.user_id, login.connection_id)
            if login.up and self._was_up.get(key) is False:
                self._back_at[key] = self._clock.now().replace(second=0, microsecond=0)
                back = True
            if login.up or key in self._was_up:
                self._was_up[key] = login.up
        return back

    async def look(self) -> int:
        """Put a job for each account that is due: how many. The engine runs. StorageError."""
        found = 0
        if self.paused():
            return 0
        for account, since in await self._due():
            key = f"{account.account_key}/{since:%Y%m%dT%H%M%S}/{self._skipped[account.account_key]}"
            if self._put.get(account.account_key) == key:
                continue
            argument = f"{account.account_key} {since.isoformat()} 0"
            await self._engine.put(self._queue, argument, key=key, partition=account.user_id)
            self._put[account.account_key] = key
            found += 1
        return found

    async def _due(self) -> list[tuple[LinkedAccount, datetime]]:
        """With the time since when a good sync would do."""
        now, found, oldest = self._clock.now(), [], dict[str, float]()
        logins = self._logins()
        if not logins:
            return []
        for account in await self._desk.syncs.enabled():
            login = self._login_of(account, logins)
            if login is None:
                continue
            last = account.link.last_sync
            if last is not None:
                oldest[login.name] = max(oldest.get(login.name, 0.0), (now - last).total_seconds())
                login.metrics.set("ibkit_oldest_sync_age_seconds", oldest[login.name], login.name)
            if not self._may(login, now):
                continue
            since = due_since(account.link, now, self._every)
            back_at = self._back_at.get((login.user_id, login.connection_id))
            since = since if back_at is None else max(since, back_at)
            if last is None or last < since:
                found.append((account, since))
        return found

    def _login_of(self, account: LinkedAccount, logins: Sequence[KeptLogin]) -> KeptLogin | None:
        for login in logins:
            if not self._multi_user:
                return login
            if (login.user_id, login.connection_id) == (account.user_id, account.link.connection_id):
                return login
        return None

    def _may(self, login: KeptLogin, now: datetime) -> bool:
        paused_until = login.client.paused_until
        waits = paused_until is not None and paused_until > now
        return login.up and not waits and maintenance_until(now, login.client.region) is None

    async def _sync(self, argument: str) -> None:
        """One job. Whatever it fails by stands in the account's status already."""
        account_key, since_text, tries = argument.split(" ")
        account = next((each for each in await self._desk.syncs.enabled() if each.account_key == account_key), None)
        if account is None:
            return
        login = self._login_of(account, self._logins())
        if login is None:
            await self._elsewhere(account, since_text, int(tries))
            return
        if not self._may(login, self._clock.now()):
            self._skipped[account_key] += 1
            return
        outcome = "worked"
        try:
            done = await self._patiently(account_key, datetime.fromisoformat(since_text), login.client)
        except BaseException:
            outcome = "failed"
            raise
        else:
            if done:
                log.info("an account was synced", extra={"account": account_key})
            else:
                outcome = "spared"  # another process, or a person, was quicker
        finally:
            login.metrics.count("ibkit_syncs_total", login.name, outcome)

    async def _patiently(self, account_key: str, since: datetime, ib: Core) -> bool:
        for _ in range(_BUSY_TRIES):
            try:
                return await self._desk.syncer.sync_due(account_key, since, lambda link: IbkrSource(ib)) is not None
            except TradingError as error:
                if error.code != "E-SYNC-BUSY":
                    raise
            await self._clock.sleep(_BUSY_AGAIN_S)
        return False

    async def _elsewhere(self, account: LinkedAccount, since: str, tries: int) -> None:
        """Back into the queue: another process keeps that login, or this one opens it in a moment."""
        self._skipped[account.account_key] += tries >= _MOST_ELSEWHERE
        if tries >= _MOST_ELSEWHERE:
            return
        await self._clock.sleep(_GLANCE_S)
        key = f"{account.account_key}/{since}/elsewhere-{tries + 1}"
        argument = f"{account.account_key} {since} {tries + 1}"
        await self._engine.put(self._queue, argument, key=key, partition=account.user_id)
