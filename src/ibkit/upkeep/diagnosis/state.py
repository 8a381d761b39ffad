"""What lasts, looked at without touching it: journal and mark, database, sealed tokens, worker, locks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ibkit.errors import IbkitError
from ibkit.upkeep.checks import Check, Mark

if TYPE_CHECKING:
    from ibkit.settings import Settings
    from ibkit.store.journal_look import JournalLook

__all__ = ["check_backups", "check_state"]

_LATE = timedelta(minutes=3)
"""A round is made each minute; where `ibkit worker --poll` says otherwise, two of those and a minute."""
_OLD_BACKUP = timedelta(days=2)
"""The worker makes one each day."""


def check_state(settings: Settings, *, now: datetime) -> Iterator[Check]:
    from ibkit.bootstrap.desks import journal_path

    path = journal_path(settings)
    look: JournalLook | None = None
    if settings.mock:
        yield Check("order journal", Mark.SKIP, "BROKER_PROVIDER=mock keeps none")
    elif not path.exists():
        yield from _no_journal(path)
    else:
        try:
            from ibkit.store.journal_look import look_at_journal

            look = look_at_journal(path)
        except IbkitError as error:
            yield Check("order journal", Mark.FAIL, error.message, error.code, error.remedy)
    if look is not None:
        yield from _journal(path, look)
    yield _database(settings)
    yield _tokens(settings)
    yield from _worker(settings, look, now)
    yield from _locks(settings.state_dir)
    yield check_backups(settings, has_journal=path.exists(), now=now)
    yield _security_audit(settings, now=now)


def _no_journal(path: Path) -> Iterator[Check]:
    if path.with_name(f"{path.name}.mark").exists():
        said = f"{path} is gone, and a mark beside it says that orders were sent"
        remedy = "Put it back: `ibkit backup list`, `ibkit restore PATH` (docs/runbooks/journal-restored.md)."
        yield Check("order journal", Mark.FAIL, said, "E-DB", remedy)
    else:
        yield Check("order journal", Mark.OK, f"{path} (made by the first order)")


def _journal(path: Path, look: JournalLook) -> Iterator[Check]:
    from ibkit.store.journal_look import versions_wanted

    name = "order journal"
    if look.damage is not None:
        remedy = (
            "Do not delete it. Stop everything, then `ibkit restore` the last backup (docs/runbooks/database-down.md)."
        )
        yield Check(name, Mark.FAIL, f"{path} is damaged: {look.damage}", "E-DB", remedy)
        return
    wanted = versions_wanted()["journal"]
    if look.version > wanted:
        said = f"version {look.version}, this ibkit knows {wanted}"
        yield Check(name, Mark.FAIL, said, "E-DB", "Update ibkit: a newer one has written it.")
        return
    orders = sum(look.states.values())
    if look.version < wanted:
        said = f"version {look.version}, this ibkit needs {wanted}"
        yield Check(name, Mark.FAIL, said, "E-DB", "`ibkit db upgrade`, which makes a backup first.")
    else:
        yield Check(name, Mark.OK, f"whole, {orders} intents, version {look.version}")
    if look.restored:
        remedy = (
            "Compare with `ibkit orders list`, then `ibkit db accept-restored` (docs/runbooks/journal-restored.md)."
        )
        yield Check(
            "journal's mark", Mark.FAIL, "the journal is an older copy of itself: nothing is sent", "E-DB", remedy
        )
    else:
        yield Check("journal's mark", Mark.OK, "the journal is the one used last")
    if look.unknown:
        remedy = "`ibkit intents list --state unknown`, then docs/runbooks/order-unknown.md."
        said = f"{len(look.unknown)} may or may not stand at IBKR"
        yield Check("unknown orders", Mark.FAIL, said, "E-ORD-UNKNOWN", remedy)
    else:
        yield Check("unknown orders", Mark.OK, "none")
    for alert in look.alerts:
        critical = alert.severity == "critical"
        mark, code = (Mark.FAIL, _CODES.get(alert.kind)) if critical else (Mark.WARN, None)
        yield Check(f"alert {alert.kind}", mark, f"{alert.at[:16]} {alert.message}", code, "docs/runbooks/README.md")
    if look.halts:
        said = f"{look.halts} stand(s): `ibkit kill --status` shows what is stopped"
        yield Check("kill switch", Mark.WARN, said, None, "`ibkit kill --release`, once the reason is gone.")


_CODES = {"unprotected": "E-STOP-FAILED", "unknown_order": "E-ORD-UNKNOWN"}


def _database(settings: Settings) -> Check:
    from ibkit.store.database import sqlite_path
    from ibkit.store.journal_look import versions_there, versions_wanted

    name = "database version"
    url = settings.database_url.reveal()
    try:
        file = sqlite_path(url)
        if file is not None and not file.exists():
            return Check(name, Mark.OK, f"{file} (made when needed)")
        there = versions_there(url)
    except IbkitError as error:
        return Check(name, Mark.FAIL, error.message, error.code, f"{error.remedy} See docs/runbooks/database-down.md.")
    wanted = {part: version for part, version in versions_wanted().items() if part != "journal"}
    newer = [part for part in there if there[part] > wanted.get(part, 0)]
    older = [part for part, version in there.items() if version < wanted[part]]
    if newer:
        said = f"{', '.join(newer)}: written by a newer ibkit"
        return Check(name, Mark.FAIL, said, "E-DB", "Update ibkit, or restore the backup of before the update.")
    if older:
        said = f"not up to date: {', '.join(older)}"
        return Check(name, Mark.FAIL, said, "E-DB", "`ibkit db upgrade`, which makes a backup first")
    return Check(name, Mark.OK, ", ".join(f"{part} {version}" for part, version in there.items()))


def _tokens(settings: Settings) -> Check:
    """Each file says which key sealed it, so nothing has to be opened (and none is discarded) to compare."""
    from ibkit.bootstrap import ring_of

    name = "stored tokens"
    sealed = sorted(path for path in (settings.state_dir / "tokens").glob("*") if path.is_file())
    if not sealed:
        return Check(name, Mark.OK, "none")
    try:
        ring = ring_of(settings)
    except IbkitError as error:
        return Check(name, Mark.FAIL, error.message, error.code, error.remedy)
    if ring is None:
        said = f"{len(sealed)} are there, and ENCRYPTION_KEY is not set: they cannot be read"
        return Check(
            name, Mark.WARN, said, None, "Set ENCRYPTION_KEY to the key they were sealed with, or delete them."
        )
    try:
        heads = [path.read_bytes()[:64].split(b".") for path in sealed]
    except OSError as error:
        return Check(name, Mark.FAIL, f"cannot be read: {error.strerror}", "E-KEY-PERMS", "Make them yours, mode 600.")
    strange = [head for head in heads if len(head) < 3 or ring.key(head[1].decode("ascii", "replace")) is None]
    if strange:
        said = f"{len(strange)} of {len(sealed)} were sealed with a key that is not configured"
        remedy = "List the old key in ENCRYPTION_KEY_PREVIOUS, or sign in anew: `ibkit auth login`."
        return Check(name, Mark.FAIL, said, "E-ENC", remedy)
    return Check(name, Mark.OK, f"{len(sealed)}, sealed with a key that is configured")


def _worker(settings: Settings, look: JournalLook | None, now: datetime) -> Iterator[Check]:
    from ibkit.bootstrap.worker import worker_status

    name = "worker"
    if settings.mock or settings.choice is None:
        yield Check(name, Mark.SKIP, "no sign-in is set up")
        return
    try:
        status = worker_status(settings)
    except (IbkitError, ValueError) as error:
        said = error.message if isinstance(error, IbkitError) else str(error)
        yield Check(name, Mark.FAIL, said, "E-DB", "Look into the folder worker of the state directory.")
        return
    if status is None:
        busy = look is not None and look.states.get("acked", 0) > 0
        remedy = "`ibkit worker`: without one nobody watches over stops between commands."
        yield Check(name, Mark.WARN if busy else Mark.OK, "none runs", None, remedy if busy else None)
        return
    said = f"process {status.get('pid', '?')}, {status.get('state')}"
    last = status.get("last_round_at") or status.get("since")
    moment = datetime.fromisoformat(last) if isinstance(last, str) else None
    poll_s = status.get("poll_s")
    late = max(_LATE, timedelta(seconds=2 * poll_s + 60)) if isinstance(poll_s, int | float) else _LATE
    silent = moment is not None and abs(_time_of_worker(settings, now) - moment) > late
    if status.get("state") == "running" and silent:
        remedy = "`ibkit worker stop`, then start it again (docs/runbooks/worker-silent.md)."
        yield Check(name, Mark.FAIL, f"{said}, no round since {last}", "E-TIMEOUT", remedy)
        return
    failures = status.get("failures") or []
    if failures:
        yield Check(name, Mark.WARN, f"{said}: {'; '.join(map(str, failures))[:200]}", None, "docs/runbooks/README.md")
    else:
        yield Check(name, Mark.OK, said)


def _time_of_worker(settings: Settings, now: datetime) -> datetime:
    """A worker at a simulator lives in that one's time."""
    if settings.general.clock is None:
        return now
    from ibkit.bootstrap.clients import clock_of

    try:
        return clock_of(settings).now()
    except IbkitError:  # the simulator has ended, so its worker is lost as well
        return now


def _locks(state: Path) -> Iterator[Check]:
    """A lock's file that nobody holds is normal; what a holder said of itself and left is of a killed process."""
    from ibkit.store.lease import Lease

    left = []
    try:
        for said in sorted((state / "worker").glob("*.json")):
            if not Lease(said.parent, said.stem).held():
                left.append((said, _pid(said)))
    except IbkitError as error:
        yield Check("locks", Mark.FAIL, error.message, error.code, error.remedy)
        return
    for path, pid in left:
        text = f"{path.name} was left by process {pid or '?'}, which no longer runs"
        yield Check(
            "locks", Mark.WARN, text, None, "It was killed, or the power went. Start it again; the rest heals itself."
        )
    if not left:
        yield Check("locks", Mark.OK, "none is left behind")


def _pid(path: Path) -> int | None:
    try:
        pid = json.loads(path.read_bytes()).get("pid")
    except (OSError, ValueError, AttributeError):
        return None
    return pid if isinstance(pid, int) else None


def check_backups(settings: Settings, *, has_journal: bool, now: datetime) -> Check:
    from ibkit.bootstrap.backups import backups_folder, last_backup

    folder, name = backups_folder(settings), "backups"
    kept = settings.database.backup_keep
    remedy = "`ibkit backup`; a worker that runs makes one each day" if kept else "`ibkit backup --keep 30`, daily"
    found = len(list(folder.glob("*.ibkit-backup")))
    last = last_backup(settings)
    if last is None:
        if has_journal or found:
            said = f"none of {found} in {folder} can be read" if found else f"none in {folder}"
            return Check(name, Mark.WARN, said, None, remedy)
        return Check(name, Mark.OK, f"none in {folder}; there is nothing to back up yet")
    age = now - last[1].made_at
    said = f"{found}, the newest of {last[1].made_at:%Y-%m-%d %H:%M} UTC ({max(age.days, 0)} days old)"
    late = age > _OLD_BACKUP
    return Check(name, Mark.WARN if late else Mark.OK, said, None, remedy if late else None)


def _security_audit(settings: Settings, *, now: datetime) -> Check:
    """The reminder of SECURITY_AUDIT_DAYS."""
    from ibkit.upkeep.audit import last_audit_path

    name, remedy = "security audit", "`ibkit security audit`"
    try:
        said = json.loads(last_audit_path(settings.state_dir).read_bytes())
        at, points = datetime.fromisoformat(said["at"]), int(said["score"])
    except FileNotFoundError:
        return Check(name, Mark.SKIP, f"not run yet: {remedy}")
    except (OSError, ValueError, KeyError, TypeError):
        return Check(name, Mark.WARN, "its date cannot be read", None, remedy)
    days = (now - at).days
    late = days > settings.vault.audit_days
    told = f"{days} days ago, score {points} of 100"
    return Check(name, Mark.WARN if late else Mark.OK, told, None, remedy if late else None)
