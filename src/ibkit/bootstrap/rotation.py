"""What has to be renewed, how old it is, and when it is due: keys, tokens and passwords of one installation.

    kind                 allowed                              its age is told by
    live session token   TOKEN_ROTATION_HOURS; by itself      when it was got
    vault key            KEY_ROTATION_DAYS                    when the vault first saw it
    credentials          CREDENTIAL_MAX_AGE_DAYS, each user's when they were given
    OAuth key            365 days                             its file
    JWT secret           180 days                             its file, or the audit log: since when the setting is so
    password             90 days                              the audit log, likewise

The audit log knows settings since a service or worker began with them (`settings.changed`). Source: requirement OPS-05.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ibkit.bootstrap.auditing import audit_log
from ibkit.bootstrap.users import JWT_FILE
from ibkit.bootstrap.vaults import open_vault
from ibkit.store.credentials import SqlCredentials

if TYPE_CHECKING:
    from ibkit.settings import Settings
    from ibkit.store.audit import AuditLog
    from ibkit.store.vault import SqlVault

__all__ = ["OAUTH_KEY_DAYS", "Renewable", "renewables"]

OAUTH_KEY_DAYS: Final = 365
"""OAuth keys are renewed yearly. Source: requirement OPS-05."""
_JWT_DAYS: Final = 180
_PASSWORD_DAYS: Final = 90
_PASSWORDS: Final = ("DB_PASSWORD", "SMTP_PASSWORD", "IB_KEY_PASSPHRASE", "IBKR_PRIVATE_KEY_PASSPHRASE")
_KEY_FILES: Final = ("IB_SIGNATURE_KEY_PATH", "IB_ENCRYPTION_KEY_PATH", "IBKR_PRIVATE_KEY_PATH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewable:
    """One thing. since: None where nobody knows. by_itself: nobody has to do anything."""

    kind: str
    name: str
    since: datetime | None
    allowed: timedelta
    remedy: str
    by_itself: bool = False

    @property
    def due_at(self) -> datetime | None:
        return None if self.since is None else self.since + self.allowed

    def is_overdue(self, now: datetime) -> bool:
        return not self.by_itself and self.due_at is not None and now >= self.due_at


async def renewables(settings: Settings) -> tuple[Renewable, ...]:
    """What there is, in the order of the table. ConfigError (E-ENC-KEY), StorageError."""
    found = [*_session_tokens(settings)]
    if settings.vault.has_key:
        async with open_vault(settings) as vault:
            found += await _of_vault(settings, vault)
    found += _of_files(settings)
    async with audit_log(settings) as log:
        return (*found, *await _of_settings(settings, log))


def _session_tokens(settings: Settings) -> Iterator[Renewable]:
    for path in sorted((settings.state_dir / "tokens").glob("*.grant")):
        yield Renewable(
            kind="live session token",
            name=path.stem,
            since=_written(path),
            allowed=timedelta(hours=settings.oauth1.rotation_hours),
            remedy="`ibkit auth rotate`, where you do not trust it any more",
            by_itself=True,
        )


async def _of_vault(settings: Settings, vault: SqlVault) -> list[Renewable]:
    keys = [
        Renewable(
            kind="vault key",
            name=each.key_id,
            since=each.since,
            allowed=timedelta(days=settings.vault.rotation_days),
            remedy="`ibkit vault rotate`",
        )
        for each in await vault.keys()
        if each.current
    ]
    credentials = [
        Renewable(
            kind="credentials",
            name=f"{each.user_id or 'settings'}/{each.connection_id}",
            since=each.changed_at,
            allowed=timedelta(days=settings.vault.max_age_days),
            remedy="Give new ones on the page of credentials, or by `ibkit credentials put`",
        )
        for each in await SqlCredentials(vault).older_than(vault.clock.now() + timedelta(days=1))
    ]
    return [*keys, *credentials]


def _of_files(settings: Settings) -> Iterator[Renewable]:
    paths = (settings.oauth1.signature_key_path, settings.oauth1.encryption_key_path, settings.oauth2.private_key_path)
    for name, path in zip(_KEY_FILES, paths, strict=True):
        written = None if path is None else _written(path)
        if written is None:
            continue
        yield Renewable(
            kind="OAuth key",
            name=name,
            since=written,
            allowed=timedelta(days=OAUTH_KEY_DAYS),
            remedy="`ibkit keys generate --force`, then register the new key at IBKR",
        )
    made = settings.state_dir / JWT_FILE
    if settings.web.jwt_secret is None and (written := _written(made)) is not None:
        yield _jwt(JWT_FILE, written, f"Delete {made}: the service makes another, and everybody signs in anew")


async def _of_settings(settings: Settings, log: AuditLog) -> list[Renewable]:
    found = []
    if settings.web.jwt_secret is not None:
        found.append(_jwt("JWT_SECRET", await _set_at(log, "JWT_SECRET"), "Set another; everybody signs in anew"))
    for name in _PASSWORDS:
        if name in settings.sources:
            found.append(
                Renewable(
                    kind="password",
                    name=name,
                    since=await _set_at(log, name),
                    allowed=timedelta(days=_PASSWORD_DAYS),
                    remedy="Change it where it is asked for, then here",
                )
            )
    return found


def _jwt(name: str, since: datetime | None, remedy: str) -> Renewable:
    return Renewable(kind="JWT secret", name=name, since=since, allowed=timedelta(days=_JWT_DAYS), remedy=remedy)


async def _set_at(log: AuditLog, name: str) -> datetime | None:
    """Since when a service or worker has known the setting as it is."""
    entries = await log.entries(action="settings.changed", object_=name, limit=1)
    return datetime.fromisoformat(entries[0].at) if entries else None


def _written(path: Path) -> datetime | None:
    """None where there is no such file, or nobody may look."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
