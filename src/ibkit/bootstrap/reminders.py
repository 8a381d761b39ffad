"""What grows old and has to be told: users' credentials, keys and passwords, and the look at who has access.

Once a month each, until it is renewed.
Source: requirements VLT-05 (KEY_ROTATION_DAYS), VLT-14 (CREDENTIAL_MAX_AGE_DAYS), OPS-05, SEC-09.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from ibkit.bootstrap.access import EVERY, access_now
from ibkit.bootstrap.alerting import Alerting
from ibkit.bootstrap.auditing import audit_log
from ibkit.bootstrap.rotation import renewables
from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.settings import Settings
from ibkit.store.credentials import SqlCredentials
from ibkit.store.vault import SqlVault
from ibkit.trading.alert import Severity
from ibkit.trading.alerting.events import EventKind
from ibkit.trading.alerting.incident import Happening
from ibkit.vault import Act

__all__ = ["AGAIN_AFTER", "Reminders"]

log = logging.getLogger(__name__)

AGAIN_AFTER = timedelta(days=30)
_REMINDED = "access.remind"
_ROTATION_REMINDED = "rotation.remind"
_OTHERS = ("OAuth key", "JWT secret", "password")
_LOOK_EVERY_S = 6 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminders:
    """clock: of the vault, by which the ages count."""

    settings: Settings
    vault: SqlVault
    alerting: Alerting

    @property
    def _clock(self) -> Clock:
        return self.vault.clock

    async def look(self) -> int:
        """Tell what is due: how many. It is noted as told only once its alert is on disk."""
        now = self._clock.now()
        return await self._credentials(now) + await self._keys(now) + await self._others(now) + await self._access(now)

    async def run(self) -> None:
        """Until it is cancelled; a database that is away is asked again."""
        while True:
            try:
                await self.look()
            except IbkitError as error:
                log.warning("reminders could not be looked after", extra={"code": error.code})
            except Exception:  # whoever runs this beside orders must not fall with it
                log.exception("reminders could not be looked after")
            await self._clock.sleep(_LOOK_EVERY_S)

    async def _credentials(self, now: datetime) -> int:
        credentials = SqlCredentials(self.vault)
        most = self.settings.vault.max_age_days
        due = await credentials.due_for_reminder(
            changed_before=now - timedelta(days=most), reminded_before=now - AGAIN_AFTER
        )
        for each in due:
            days = (now - each.changed_at).days
            await self._tell(
                Happening(
                    event=EventKind.CREDENTIAL_OLD,
                    subject=f"{each.user_id}/{each.connection_id}",
                    user=each.user_id,
                    message=f"The credentials of the connection {each.connection_id} are {days} days old "
                    f"(CREDENTIAL_MAX_AGE_DAYS={most})",
                    at=now,
                )
            )
            await credentials.reminded(each.credential_id, now)
        return len(due)

    async def _keys(self, now: datetime) -> int:
        most = self.settings.vault.rotation_days
        due = await self.vault.keys_due_for_reminder(
            since_before=now - timedelta(days=most), reminded_before=now - AGAIN_AFTER
        )
        for key_id in due:
            await self._tell(
                Happening(
                    event=EventKind.KEY_ROTATION_DUE,
                    subject=f"vault key {key_id}",
                    message=f"The vault's key {key_id} is older than {most} days (KEY_ROTATION_DAYS)",
                    remedy="Make a new one: `ibkit vault rotate`. Both open what is stored meanwhile.",
                    at=now,
                )
            )
            await self.vault.key_reminded(key_id, now)
        return len(due)

    async def _others(self, now: datetime) -> int:
        """Keys and passwords of the installation of which only files and the audit log know the age."""
        told = 0
        for each in await renewables(self.settings):
            if each.kind not in _OTHERS or not each.is_overdue(now):
                continue
            async with audit_log(self.settings) as log:
                since = now - AGAIN_AFTER
                if await log.entries(action=_ROTATION_REMINDED, object_=each.name, since=since, limit=1):
                    continue
                await self._tell(
                    Happening(
                        event=EventKind.KEY_ROTATION_DUE,
                        subject=each.name,
                        message=f"{each.name} ({each.kind}) is older than {each.allowed.days} days",
                        remedy=f"{each.remedy}. `ibkit rotation status` shows all.",
                        at=now,
                    )
                )
                await log.record(Act(at=now, actor="ibkit", action=_ROTATION_REMINDED, object=each.name))
            told += 1
        return told

    async def _access(self, now: datetime) -> int:
        """One who serves several users looks every quarter at who may do what. Told is noted in the audit log."""
        access = await access_now(self.settings, clock=self._clock)
        if len(access.holders) < 2 or access.due_at is None or now < access.due_at:
            return 0
        async with audit_log(self.settings) as log:
            if await log.entries(action=_REMINDED, since=now - AGAIN_AFTER, limit=1):
                return 0
            last = f"last signed off on {access.last.at:%Y-%m-%d}" if access.last else "never signed off"
            await self._tell(
                Happening(
                    event=EventKind.SECURITY_FINDING,
                    severity=Severity.WARNING,
                    subject="access review",
                    message=f"Who may do what here is to be looked at, as every {EVERY.days} days: {last}",
                    remedy="`ibkit access-review`; at IBKR the permissions of each user name and its addresses, too. "
                    "Then sign off with --sign-off.",
                    at=now,
                )
            )
            await log.record(Act(at=now, actor="ibkit", action=_REMINDED, object="users"))
        return 1

    async def _tell(self, happening: Happening) -> None:
        await self.alerting.incidents.note(happening, channels=await self.alerting.channels.all())
