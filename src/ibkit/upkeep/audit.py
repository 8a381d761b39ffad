"""What of an installation is weaker than it need be: findings, each with its remedy. Nothing is sent. SEC-06.

Of the users of a service: `audit_users.py`.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from ibkit.errors import IbkitError, discreet
from ibkit.model import Environment, Secret

if TYPE_CHECKING:
    from ibkit.settings import Settings

__all__ = ["Severity", "Weakness", "audit", "last_audit_path", "score"]

_COMMON = frozenset(
    {"password", "postgres", "admin", "ibkit", "secret", "changeme", "letmein", "qwerty", "trading"}
) | {
    *("12345678", "123456", "root", "test", "ibkr", "default"),
}
_KNOWN = {
    # Fixed in: CVE-2025-53643 (request smuggling), CVE-2024-12797 (OpenSSL inside the wheels).
    "aiohttp": "3.12.14",
    "cryptography": "44.0.1",
}
"""Libraries with a weakness that concerns us, and the version in which it was mended. An offline list: it ages."""


class Severity(enum.Enum):
    """value: what a finding takes off the score."""

    HIGH = 20
    MEDIUM = 10
    LOW = 5


@dataclass(frozen=True, slots=True)
class Weakness:
    name: str
    severity: Severity
    said: str
    remedy: str


def audit(settings: Settings, *, now: datetime, folder: Path) -> list[Weakness]:
    """All findings. folder: where to look for a git repository."""
    return [
        *_modes(settings),
        *_vault_key(settings),
        *_weak_secrets(settings),
        *_tls(settings),
        *_reach(settings),
        *_debug(settings),
        *_keys(settings, now),
        *_permissions(settings),
        *_libraries(),
        *_tracked(folder),
    ]


def score(found: list[Weakness]) -> int:
    """100 without findings, never below 0."""
    return max(0, 100 - sum(each.severity.value for each in found))


def last_audit_path(state: Path) -> Path:
    """When it was run last, for the reminder of `ibkit doctor` (SECURITY_AUDIT_DAYS)."""
    return state / "security-audit.json"


def _modes(settings: Settings) -> Iterator[Weakness]:
    from ibkit.upkeep.diagnosis.modes import open_files

    for each in open_files(settings):
        said = f"{each.path} is open to others ({each.mode:04o})"
        yield Weakness("file modes", Severity.HIGH, said, "`ibkit doctor --fix`")


def _vault_key(settings: Settings) -> Iterator[Weakness]:
    vault = settings.vault
    tokens = any((settings.state_dir / "tokens").glob("*"))
    if vault.key is None and vault.provider == "env" and tokens:
        said = "sealed tokens are there and no key to read them"
        yield Weakness("ENCRYPTION_KEY", Severity.LOW, said, "Set the key, or delete the folder tokens.")
    if vault.iv is not None:
        said = "a fixed IV serves only to read data of an older product"
        yield Weakness("ENCRYPTION_IV", Severity.MEDIUM, said, "Read that data, remove it, `ibkit vault rotate`.")


@discreet
def _weak_secrets(settings: Settings) -> list[Weakness]:
    found = []
    for name, secret in (("ENCRYPTION_KEY", settings.vault.key), ("JWT_SECRET", settings.web.jwt_secret)):
        if secret is not None and _is_monotonous(secret):
            said = "it repeats itself: it was not made by chance"
            found.append(
                Weakness(name, Severity.HIGH, said, "`ibkit vault generate-keys`, or `ibkit init`, makes one.")
            )
    named = (
        ("DB_PASSWORD", settings.database.password, settings.database.user),
        ("SMTP_PASSWORD", settings.alerts.smtp_password, settings.alerts.smtp_user),
        ("DATABASE_URL", *_login_of(settings.database.url)),
    )
    for name, secret, user in named:
        if secret is not None and _is_common(secret, user):
            said = "a password that everybody tries first"
            found.append(Weakness(name, Severity.HIGH, said, "Choose one by chance, at the server and here."))
    return found


def _is_monotonous(secret: Secret[str]) -> bool:
    """A key of 64 hex digits made by chance practically never has fewer than eight different ones; `aaaa…` has one."""
    return len(set(secret.reveal())) < 8


def _is_common(secret: Secret[str], user: str | None) -> bool:
    word = secret.reveal().casefold()
    return word in _COMMON or len(word) < 6 or (user is not None and word == user.casefold())


def _login_of(url: Secret[str] | None) -> tuple[Secret[str] | None, str | None]:
    from urllib.parse import unquote, urlsplit

    if url is None:
        return None, None
    try:
        parts = urlsplit(url.reveal())
    except ValueError:
        return None, None
    return (Secret(unquote(parts.password)) if parts.password else None), parts.username


def _tls(settings: Settings) -> Iterator[Weakness]:
    try:
        plain = settings.gateway.endpoint is not None and settings.gateway_address.scheme == "http"
    except ValueError:
        plain = False
    if plain:
        said = "the gateway is spoken to without TLS"
        yield Weakness("IBKR_API_ENDPOINT", Severity.HIGH, said, "Set listenSsl in conf.yaml, and use https.")
    if settings.oauth2.base_ca is not None and settings.environment is Environment.LIVE:
        said = "an authority of a simulator is trusted while live money is traded"
        yield Weakness("IBKR_BASE_CA", Severity.HIGH, said, "Remove IBKR_BASE_CA and IBKR_BASE_URL.")
    if os.environ.get("SSLKEYLOGFILE"):
        said = "keys of every connection are written to a file"
        yield Weakness("SSLKEYLOGFILE", Severity.HIGH, said, "Unset it, delete the file, renew the keys.")


def _reach(settings: Settings) -> Iterator[Weakness]:
    from ibkit.settings.addresses import is_loopback

    web = settings.web
    if "0.0.0.0/0" in web.allowed_client_ips or "::/0" in web.allowed_client_ips:
        said = "everybody may connect"
        yield Weakness("ALLOWED_CLIENT_IPS", Severity.HIGH, said, "Name the addresses or networks that may.")
    if not is_loopback(web.host) and web.trusted_proxy is None:
        said = f"the service listens on {web.host} without a proxy that ends TLS"
        yield Weakness("HOST", Severity.HIGH, said, "Set HOST=127.0.0.1, or TRUSTED_PROXY to a proxy with TLS.")


def _debug(settings: Settings) -> Iterator[Weakness]:
    production = settings.general.app_env == "production"
    if settings.runtime.log_level == "debug" and (production or settings.environment is Environment.LIVE):
        yield Weakness("LOG_LEVEL", Severity.MEDIUM, "debug tells more than a log should", "Set LOG_LEVEL=info.")


def _keys(settings: Settings, now: datetime) -> Iterator[Weakness]:
    from ibkit.bootstrap.rotation import OAUTH_KEY_DAYS
    from ibkit.settings import read_private_key
    from ibkit.wire.keys import load_private_key

    oauth1, oauth2 = settings.oauth1, settings.oauth2
    named = (
        ("IB_SIGNATURE_KEY_PATH", oauth1.signature_key_path, oauth1.key_passphrase),
        ("IB_ENCRYPTION_KEY_PATH", oauth1.encryption_key_path, oauth1.key_passphrase),
        ("IBKR_PRIVATE_KEY_PATH", oauth2.private_key_path, oauth2.private_key_passphrase),
    )
    for name, path, passphrase in named:
        if path is None or not path.is_file():
            continue
        age = (now.timestamp() - path.stat().st_mtime) / 86_400
        if age > OAUTH_KEY_DAYS:
            said = f"{path} is {age:.0f} days old"
            yield Weakness(name, Severity.LOW, said, "docs/runbooks/key-rotation.md")
        try:
            load_private_key(read_private_key(name, path), what=name, passphrase=passphrase, thorough=False)
        except IbkitError as error:
            if error.code == "E-KEY-FORMAT" and "bits" in error.message:
                yield Weakness(name, Severity.HIGH, error.message, "`ibkit keys generate`, then register the new key.")


def _permissions(settings: Settings) -> Iterator[Weakness]:
    """A live login that may trade and never has: reading is all it needs."""
    from ibkit.bootstrap.desks import journal_path

    live = settings.environment is Environment.LIVE and settings.choice is not None
    if live and not settings.general.read_only and not journal_path(settings).exists():
        said = "this live login may trade, and no order was ever sent from here"
        yield Weakness("IBKR_READ_ONLY", Severity.LOW, said, "Set IBKR_READ_ONLY=true while you only look.")


def _libraries() -> Iterator[Weakness]:
    for name, mended in _KNOWN.items():
        try:
            there = version(name)
        except PackageNotFoundError:
            continue
        if _numbers(there) < _numbers(mended):
            said = f"{name} {there} has a known weakness, mended in {mended}"
            yield Weakness("libraries", Severity.MEDIUM, said, f"pip install --upgrade {name}")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _tracked(folder: Path) -> Iterator[Weakness]:
    from ibkit.upkeep.secret_scan import is_repository, scan

    if not is_repository(folder):
        return
    for path in dict.fromkeys(finding.path for finding in scan(folder)):
        said = f"git tracks {path}, which is or holds a secret"
        remedy = "docs/runbooks/leaked-secret.md: renew it, then take it out of the history."
        yield Weakness("git", Severity.HIGH, said, remedy)
