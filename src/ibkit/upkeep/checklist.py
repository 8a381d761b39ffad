"""What production needs, point by point: looked at here, or confirmed by a person who is named, with the day.

    ok       it was looked at and is right, or a person has confirmed it within a year
    fail     it was looked at and is not right; nobody can confirm it away
    manual   it cannot be seen from here, and nobody has confirmed it

What `ibkit security audit` and `ibkit doctor` look at is asked there. Confirmations stand in the audit log and nowhere
else, so they are signed, and who gave them is known. Source: requirement OPS-01.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ibkit.errors import IbkitError
from ibkit.model import AuthMethod, Environment
from ibkit.settings import production_problems
from ibkit.settings.production import is_production
from ibkit.upkeep.audit import Weakness

if TYPE_CHECKING:
    from ibkit.settings import Settings
    from ibkit.settings.problems import Problem
    from ibkit.store.audit import AuditLog

__all__ = ["CONFIRM", "HOLDS_FOR", "WITHDRAW", "Item", "State", "production"]

CONFIRM, WITHDRAW = "checklist.confirm", "checklist.withdraw"
HOLDS_FOR = timedelta(days=365)
"""A person's word, then it is asked again."""
_DRILL_HOLDS_FOR = timedelta(days=90)
_KEYS = ("IB_SIGNATURE_KEY_PATH", "IB_ENCRYPTION_KEY_PATH", "IBKR_PRIVATE_KEY_PATH")


class State(enum.Enum):
    """value: as `--json` says it."""

    OK = "ok"
    FAIL = "fail"
    MANUAL = "manual"

    @property
    def shown(self) -> str:
        return {State.OK: "ok", State.FAIL: "not ok", State.MANUAL: "by hand"}[self]


@dataclass(frozen=True, slots=True)
class Item:
    """name: as `ibkit checklist confirm` takes it. said: what was found. remedy: what to do, unless it is ok.

    by, at: who confirmed it, and when.
    """

    name: str
    title: str
    state: State
    said: str
    remedy: str = ""
    by: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """What several points are read from."""

    settings: Settings
    weak: Mapping[str, list[Weakness]]
    problems: Mapping[str, Problem]
    now: datetime


async def production(settings: Settings, *, now: datetime, folder: Path) -> list[Item]:
    """All points, in the order of the requirement. folder: where to look for a git repository."""
    from ibkit.upkeep import audit

    weak: dict[str, list[Weakness]] = {}
    for each in audit.audit(settings, now=now, folder=folder):
        weak.setdefault(each.name, []).append(each)
    problems = {name: each for each in production_problems(settings) for name in each.names}
    seen = _Seen(settings, weak, problems, now)
    items = {item.name: item for item in _of_settings(seen)}
    for item in (*await _of_audit_log(settings, now), await _rotation(seen), await _paper(settings)):
        items[item.name] = item
    ordered = [items[name] for name in _ORDER]
    return await _confirmed(settings, ordered, now)


def _of_settings(seen: _Seen) -> Iterator[Item]:
    yield _entropy(seen)
    yield _key_service(seen.settings)
    yield _monitoring(seen.settings)
    yield Item(
        "firewall",
        "firewall",
        State.MANUAL,
        "its rules cannot be read from here",
        "`ibkit firewall plan` prints them, `ibkit firewall check` tries them.",
    )
    yield Item(
        "runbooks",
        "runbooks at hand",
        State.MANUAL,
        "whether two people know where docs/runbooks is, nobody sees from here",
        "Read its README.md; print what has to be there when this machine is not.",
    )
    yield _live_credentials(seen.settings)
    yield _static_ip(seen)
    yield _whitelist(seen)
    yield _minimal_errors(seen)
    yield _tls(seen)
    yield _backups(seen)


def _verdict(name: str, title: str, faults: list[Weakness | Problem], good: str) -> Item:
    """Not ok with the first fault's words and remedy; of a setting's problem its message has the name."""
    if not faults:
        return Item(name, title, State.OK, good)
    first = faults[0]
    said = f"{first.name}: {first.said}" if isinstance(first, Weakness) else first.message
    return Item(name, title, State.FAIL, said, first.remedy or "")


def _faults(seen: _Seen, *names: str) -> list[Weakness | Problem]:
    weak = [each for name in names for each in seen.weak.get(name, ())]
    return [*weak, *(seen.problems[name] for name in names if name in seen.problems)]


def _entropy(seen: _Seen) -> Item:
    names = ("ENCRYPTION_KEY", "JWT_SECRET", "DB_PASSWORD", "DATABASE_URL", "SMTP_PASSWORD", *_KEYS)
    faults = [each for each in _faults(seen, *names) if "days old" not in getattr(each, "said", "")]
    return _verdict("entropy", "keys made by chance", faults, "no key or password that can be guessed")


def _key_service(settings: Settings) -> Item:
    name, title, provider = "key-service", "key management service", settings.vault.provider
    if provider == "aws-kms":
        return Item(name, title, State.OK, "ENCRYPTION_KEY_PROVIDER=aws-kms")
    said = f"ENCRYPTION_KEY_PROVIDER={provider}: whether the key is kept apart from the data, nobody sees from here"
    remedy = "Set ENCRYPTION_KEY_PROVIDER=aws-kms, or keep the key away from backups and confirm it."
    return Item(name, title, State.MANUAL, said, remedy)


async def _rotation(seen: _Seen) -> Item:
    from ibkit.bootstrap.vaults import open_vault

    name, title = "rotation", "keys are renewed in time"
    old = [each for key in _KEYS for each in seen.weak.get(key, ()) if "days old" in each.said]
    if old or not seen.settings.vault.has_key:
        missing = "there is no key to renew: ENCRYPTION_KEY is not set"
        remedy = "`ibkit vault generate-keys --write`"
        return _verdict(name, title, [*old], "") if old else Item(name, title, State.FAIL, missing, remedy)
    days = seen.settings.vault.rotation_days
    try:
        async with open_vault(seen.settings) as vault:
            late = await vault.keys_older_than(seen.now - timedelta(days=days))
    except IbkitError as error:
        return _unreadable(name, title, error)
    if late:
        said = f"the vault's key {late[0].key_id} is older than {days} days (KEY_ROTATION_DAYS)"
        return Item(name, title, State.FAIL, said, "`ibkit vault rotate`")
    return Item(name, title, State.OK, f"none is overdue (KEY_ROTATION_DAYS={days})")


def _monitoring(settings: Settings) -> Item:
    from ibkit.bootstrap.alerting import fixed_channels

    name, title = "monitoring", "monitoring and alerting"
    channels = [channel for channel in fixed_channels(settings) if channel != "log"]
    if not channels:
        remedy = "Set ALERT_WEBHOOK_URL, or SMTP_HOST and ADMIN_EMAILS; then `ibkit alerts test`."
        return Item(name, title, State.FAIL, "alerts reach the log alone", remedy)
    return Item(name, title, State.OK, f"alerts go by {', '.join(channels)}")


def _live_credentials(settings: Settings) -> Item:
    from ibkit.settings import VARIABLES

    name, title = "live-credentials", "live credentials of their own"
    if settings.environment is Environment.LIVE:
        found = [each for key, each in settings.sources.items() if VARIABLES[key].credential and VARIABLES[key].hidden]
        if found and all(each.name.endswith("_LIVE") for each in found):
            return Item(name, title, State.OK, "each secret of the sign-in is one of live alone (_LIVE)")
    said = "whether paper and live have different keys and user names, nobody sees from here"
    return Item(name, title, State.MANUAL, said, "Name those of live with _LIVE, those of paper with _PAPER.")


def _static_ip(seen: _Seen) -> Item:
    name, title = "static-ip", "an address that stays"
    chosen = seen.settings.choice
    if chosen is not None and chosen.method is AuthMethod.OAUTH2 and not seen.settings.oauth2.allowed_ip:
        return _verdict(name, title, _faults(seen, "IBKR_ALLOWED_IP"), "")
    said = "whether this server keeps its public address, nobody sees from here"
    return Item(name, title, State.MANUAL, said, "Ask who runs the network; set IBKR_ALLOWED_IP for OAuth 2.")


def _whitelist(seen: _Seen) -> Item:
    name, title = "whitelist", "only known addresses"
    faults = _faults(seen, "ALLOWED_CLIENT_IPS")
    if faults:
        return _verdict(name, title, faults, "")
    said = "ALLOWED_CLIENT_IPS is not open to all; IBKR's own list of addresses cannot be read from here"
    return Item(name, title, State.MANUAL, said, "Restrict the user name to this server's address in Client Portal.")


def _minimal_errors(seen: _Seen) -> Item:
    name, title = "minimal-errors", "errors tell outsiders little"
    if not is_production(seen.settings):
        said = f"APP_ENV={seen.settings.general.app_env}"
        return Item(name, title, State.FAIL, said, "Set APP_ENV=production.")
    return _verdict(name, title, _faults(seen, "LOG_LEVEL"), "APP_ENV=production, and no debug log")


def _tls(seen: _Seen) -> Item:
    names = ("IBKR_API_ENDPOINT", "IBKR_BASE_CA", "SSLKEYLOGFILE", "HOST", "TRUSTED_PROXY")
    return _verdict("tls", "TLS everywhere", _faults(seen, *names), "to IBKR, and by the proxy of TRUSTED_PROXY")


def _backups(seen: _Seen) -> Item:
    from ibkit.bootstrap.backups import last_backup
    from ibkit.upkeep.checks import Mark
    from ibkit.upkeep.diagnosis.state import check_backups

    check = check_backups(seen.settings, has_journal=True, now=seen.now)
    good = check.mark is Mark.OK and last_backup(seen.settings) is not None
    state = State.OK if good else State.FAIL
    return Item("backups", "backups", state, check.said, "" if good else check.remedy or "`ibkit backup`")


async def _of_audit_log(settings: Settings, now: datetime) -> list[Item]:
    from ibkit.bootstrap.auditing import audit_log, trusted_keys

    titles = {"audit-log": "audit log", "recovery": "disaster recovery tried"}
    try:
        async with audit_log(settings) as log:
            verdict = await log.verify(trusted=trusted_keys(settings))
            return [_chain(verdict.checked, verdict.broken), await _drill(settings, log, now)]
    except IbkitError as error:
        return [_unreadable(name, title, error) for name, title in titles.items()]


def _chain(checked: int, broken: object) -> Item:
    name, title = "audit-log", "audit log"
    if broken is not None:
        return Item(name, title, State.FAIL, f"it is broken: {broken}", "docs/runbooks/security-finding.md")
    return Item(name, title, State.OK, f"{checked} entries, unbroken")


async def _drill(settings: Settings, log: AuditLog, now: datetime) -> Item:
    from ibkit.store.database import sqlite_path

    name, title, days = "recovery", "disaster recovery tried", _DRILL_HOLDS_FOR.days
    if sqlite_path(settings.database_url.reveal()) is None:
        said = "`ibkit drill recovery` restores into files, and the database is a server's"
        return Item(name, title, State.MANUAL, said, "Restore the newest backup into an empty database, look at it.")
    entries = await log.entries(action="drill.recovery", since=now - _DRILL_HOLDS_FOR, limit=1)
    if not entries:
        return Item(name, title, State.FAIL, f"not within {days} days", "`ibkit drill recovery`")
    last = entries[0]
    if last.result != "ok":
        return Item(name, title, State.FAIL, f"it failed on {last.at[:10]}", "docs/runbooks/disaster-recovery.md")
    return Item(name, title, State.OK, f"`ibkit drill recovery` on {last.at[:10]}")


async def _paper(settings: Settings) -> Item:
    from ibkit.bootstrap.desks import paper_validated
    from ibkit.store import open_trades

    name, title = "paper-validation", "validated on paper"
    try:
        async with open_trades(settings.database_url.reveal()) as trades:
            done = await paper_validated(trades)
    except IbkitError as error:
        return _unreadable(name, title, error)
    if not done:
        return Item(name, title, State.FAIL, "not yet", "`ibkit trade validate` on a paper account")
    return Item(name, title, State.OK, "sold, protected and closed once on paper")


async def _confirmed(settings: Settings, items: list[Item], now: datetime) -> list[Item]:
    """The points that only a person can tick, with the last word of one; older than a year it does not count."""
    from ibkit.bootstrap.auditing import audit_log

    try:
        async with audit_log(settings) as log:
            return [await _with_word(log, item, now) for item in items]
    except IbkitError:
        return items  # that it cannot be read is said by its own point


async def _with_word(log: AuditLog, item: Item, now: datetime) -> Item:
    if item.state is not State.MANUAL:
        return item
    entries = await log.entries(action="checklist.", object_=item.name, since=now - HOLDS_FOR, limit=1)
    if not entries or entries[0].action != CONFIRM or entries[0].result != "ok":
        return item
    by, at = str(entries[0].details.get("by", entries[0].actor)), datetime.fromisoformat(entries[0].at)
    note = entries[0].details.get("note")
    said = f"confirmed by {by} on {at:%Y-%m-%d}{f': {note}' if note else ''}"
    return replace(item, state=State.OK, said=said, remedy="", by=by, at=at)


def _unreadable(name: str, title: str, error: IbkitError) -> Item:
    return Item(name, title, State.FAIL, error.message, error.remedy)


_ORDER = (
    "entropy",
    "key-service",
    "rotation",
    "monitoring",
    "firewall",
    "audit-log",
    "recovery",
    "runbooks",
    "live-credentials",
    "static-ip",
    "whitelist",
    "minimal-errors",
    "tls",
    "backups",
    "paper-validation",
)
