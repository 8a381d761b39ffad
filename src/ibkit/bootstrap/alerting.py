"""Settings → channels and the dispatcher: the log, the settings' webhook and mail, and what users have stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit

import anyio
import anyio.to_thread

from ibkit.bootstrap.clients import clock_of
from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.vaults import sealer_of
from ibkit.clock import Clock
from ibkit.model import Secret
from ibkit.notify import Dispatcher, Guard, Services, Webhook
from ibkit.notify.dispatcher import JournalAlerts, Whose, installations
from ibkit.settings import Settings
from ibkit.store.alert_channels import FixedChannel, SqlChannels
from ibkit.store.connections import SqlConnections
from ibkit.store.database import Database
from ibkit.store.incidents import SqlIncidents
from ibkit.store.records import open_records
from ibkit.trading.alert import Alert, Severity
from ibkit.trading.alerting import Channel, ChannelKind
from ibkit.trading.alerting.incident import Happening

__all__ = [
    "PARTS",
    "Alerting",
    "alerting_of",
    "beside",
    "connection_of",
    "fixed_channels",
    "guard_of",
    "open_alerting",
]

PARTS = ("alerts", "metrics")
"""Parts of the database that these rooms keep."""
_SERVICE_HOSTS = ("discord.com", "discordapp.com", "ptb.discord.com", "hooks.slack.com")
"""Where ALERT_WEBHOOK_URL takes the form of that service instead of our JSON."""
_TLS_AT_ONCE = 465
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerting:
    incidents: SqlIncidents
    channels: SqlChannels
    dispatcher: Dispatcher
    services: Services
    guard: Guard
    clock: Clock

    async def tell(self, happening: Happening) -> None:
        """As one of now by the clock of the alerts, which may be a simulator's: one of another hour would wait."""
        self.dispatcher.tell(replace(happening, at=self.clock.now()))


def alerting_of(
    settings: Settings,
    database: Database,
    *,
    alerts: JournalAlerts | None,
    clock: Clock,
    whose: Whose = installations,
) -> Alerting:
    """alerts: those of the journal; None where only what is told by others is delivered. whose: each of them is."""
    guard = guard_of(settings)
    incidents = SqlIncidents(database)
    channels = _channels_of(settings, database, clock=clock)
    services = Services(guard)
    dispatcher = Dispatcher(
        incidents=incidents,
        channels=channels,
        alerts=alerts,
        webhook=Webhook(guard, clock),
        services=services,
        clock=clock,
        chance=edges().chance,
        whose=whose,
    )
    return Alerting(
        incidents=incidents, channels=channels, dispatcher=dispatcher, services=services, guard=guard, clock=clock
    )


def whose_of(settings: Settings, database: Database) -> Whose:
    """database: with the part `connections`. Everything is the installation's where users have no connections."""
    return whose_connection(SqlConnections(database)) if settings.general.multi_user else installations


def whose_connection(connections: SqlConnections) -> Whose:
    """Who alone has a connection to an alert's account. What several share, or nobody has, is the installation's."""

    async def whose(alert: Alert) -> str:
        account = alert.details.get("account", "")
        owners = {row.user_id for row in await connections.all() if account in row.accounts}
        return owners.pop() if len(owners) == 1 else ""

    return whose


async def reseal_channels(settings: Settings, *, clock: Clock) -> tuple[int, tuple[str, ...]]:
    """Seal what users' channels hold with the vault's present key: how many, and what opens with no key."""
    database = await anyio.to_thread.run_sync(lambda: open_records(settings.database_url, parts=("alerts",)))
    try:
        return await _channels_of(settings, database, clock=clock).reseal()
    finally:
        await database.close()


async def forget_channels(settings: Settings, user_id: str, *, clock: Clock) -> int:
    """Delete a user's channels, addresses and all: how many there were. No key is needed. StorageError."""
    database = await anyio.to_thread.run_sync(lambda: open_records(settings.database_url, parts=("alerts",)))
    try:
        return await _channels_of(settings, database, clock=clock).remove_of(user_id)
    finally:
        await database.close()


async def channels_by_key(settings: Settings, *, clock: Clock) -> Counter[str]:
    """Key id of the vault → how many users' channels need it. StorageError."""
    database = await anyio.to_thread.run_sync(lambda: open_records(settings.database_url, parts=("alerts",)))
    try:
        return await _channels_of(settings, database, clock=clock).by_key()
    finally:
        await database.close()


def _channels_of(settings: Settings, database: Database, *, clock: Clock) -> SqlChannels:
    sealer = sealer_of(settings, clock=clock, what="the address of an alert channel")
    return SqlChannels(database, fixed=fixed_channels(settings), sealer=sealer)


@asynccontextmanager
async def open_alerting(settings: Settings) -> AsyncIterator[Alerting]:
    """For a command that looks at alerts, or a process without a journal. StorageError."""
    database = await anyio.to_thread.run_sync(lambda: open_records(settings.database_url, parts=("alerts",)))
    try:
        yield alerting_of(settings, database, alerts=None, clock=clock_of(settings))
    finally:
        await database.close()


@asynccontextmanager
async def beside(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """`work` on a task of its own while the block runs; an error of the block leaves as it is, not in a group."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        try:
            yield
        except Exception as error:  # noqa: BLE001  - raised again below, outside of the group
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def connection_of(settings: Settings) -> str:
    """How the login's connection is called in alerts and figures: `paper oauth1a`, `simulated`; nothing private."""
    return "simulated" if settings.mock else f"{settings.environment.value} {settings.method.value}"


def guard_of(settings: Settings) -> Guard:
    return Guard(development=settings.general.app_env != "production")


def fixed_channels(settings: Settings) -> dict[str, FixedChannel]:
    """By name: `log` always, `webhook` where ALERT_WEBHOOK_URL is set, `mail` where SMTP_HOST and ADMIN_EMAILS are."""
    found: dict[str, FixedChannel] = {
        "log": (
            Channel(name="log", kind=ChannelKind.LOG, by_operator=True, shown="this process's log"),
            Secret(""),
            None,
        )
    }
    alerts = settings.alerts
    if alerts.webhook_url is not None:
        host = urlsplit(alerts.webhook_url.reveal()).hostname or ""
        service = host in _SERVICE_HOSTS
        channel = Channel(
            name="webhook",
            kind=ChannelKind.SERVICE if service else ChannelKind.WEBHOOK,
            by_operator=True,
            shown=f"{host}, {'its own form' if service else 'signed' if alerts.webhook_secret else 'not signed'}",
        )
        found["webhook"] = (channel, alerts.webhook_url, alerts.webhook_secret)
    if alerts.smtp_host and alerts.admin_emails:
        channel = Channel(
            name="mail",
            kind=ChannelKind.SERVICE,
            severities=frozenset({Severity.WARNING, Severity.CRITICAL}),
            by_operator=True,
            shown=f"{len(alerts.admin_emails)} administrators by {alerts.smtp_host}",
        )
        found["mail"] = (channel, _mail_address(settings), None)
    return found


def _mail_address(settings: Settings) -> Secret[str]:
    """apprise's form. TLS always, but for a server on this machine outside production."""
    alerts = settings.alerts
    assert alerts.smtp_host
    assert alerts.admin_emails
    host = alerts.smtp_host
    plain = host in _LOOPBACK and settings.general.app_env != "production"
    mode = "insecure" if plain else "ssl" if alerts.smtp_port == _TLS_AT_ONCE else "starttls"
    sign_in = f"{quote(alerts.smtp_user, safe='')}:" if alerts.smtp_user else ""
    if alerts.smtp_user and alerts.smtp_password:
        sign_in += quote(alerts.smtp_password.reveal(), safe="")
    sign_in = f"{sign_in.removesuffix(':')}@" if sign_in else ""
    sender = quote(alerts.email_from or alerts.admin_emails[0], safe="@")
    to = quote(",".join(alerts.admin_emails), safe="@,")
    scheme = "mailto" if plain else "mailtos"
    named = f"[{host}]" if ":" in host else host
    return Secret(
        f"{scheme}://{sign_in}{named}:{alerts.smtp_port}/?smtp={named}&from={sender}&to={to}&mode={mode}&format=text"
    )
