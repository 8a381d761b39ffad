"""`ibkit audit`: who did what, the same for others to keep, and whether any of it was changed since."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import confirmed, day, wrong
from ibkit.cli.flags import Json, Yes, flag, option
from ibkit.cli.running import go
from ibkit.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from ibkit.settings import Settings
    from ibkit.store.audit import AuditLog, Verdict
    from ibkit.vault import Act
    from ibkit.vault.chain import Entry, SignedLink

__all__ = ["app"]

T = TypeVar("T")

app = cyclopts.App(name="audit", help="Who did what; export it, and verify that it is whole.")

_LINES_AT_ONCE = 1000


@app.command(name="list")
def list_(
    *,
    actor: Annotated[str | None, option("Only what this user did, e.g. cli:ada.")] = None,
    action: Annotated[str | None, option("Only this action, or with a dot at its end all of a kind: orders.")] = None,
    object: Annotated[str | None, option("Only what was done to this.")] = None,  # noqa: A002
    since: Annotated[str | None, option("First day (UTC), YYYYMMDD.")] = None,
    until: Annotated[str | None, option("Last day (UTC), YYYYMMDD.")] = None,
    before: Annotated[int | None, option("Only entries before this number: the next page.")] = None,
    count: Annotated[int, option("How many at most, 1000 at a time.")] = 50,
    json: Json = False,
) -> None:
    """The latest entries, newest first."""
    first = None if since is None else datetime.combine(day("--since", since), time.min, UTC)
    last = None if until is None else datetime.combine(day("--until", until), time.min, UTC) + timedelta(days=1)

    async def work(log: AuditLog) -> tuple[Entry, ...]:
        return await log.entries(
            actor=actor, action=action, object_=object, since=first, until=last, before=before, limit=count
        )

    found = _with_log(work)
    if json:
        output.emit(found)
        return
    head = ("Entry", "When (UTC)", "Who", "From", "What", "To", "Result", "Details")
    rows = [
        (
            entry.number,
            entry.at[:19].replace("T", " "),
            entry.actor,
            entry.address,
            entry.action,
            output.one_line(entry.object, 40),
            entry.result,
            output.one_line(", ".join(f"{name} {value}" for name, value in entry.details.items()), 100),
        )
        for entry in found
    ]
    output.say(output.table(head, rows, right={0}) if rows else "No entries.")
    if len(found) >= count:
        output.warn(f"older ones: --before {found[-1].number}")


@app.command
def export(
    *,
    out: Annotated[Path | None, option("A new file for it [default: stdout].")] = None,
    after: Annotated[int, option("Only entries after this number; the head covers all.")] = 0,
    head: Annotated[bool, flag("Only the signed head: keep it where nobody who can write the database can.")] = False,
    public_key: Annotated[bool, flag("Only the public key that checks heads, as PEM.")] = False,
    json: Json = False,
) -> None:
    """One JSON object a line: each entry, and at the end the signed head of the chain. It is an entry itself."""
    if sum((head, public_key, after > 0)) > 1:
        raise wrong("export", "give one of --after, --head and --public-key")
    settings = context.load_settings(require_method=False)
    if public_key:
        text = _public_key(settings)
        with _Lines(out) as lines:
            lines.put(text.strip())
        _told(out, json=json, said="the public key")
        return

    async def work(log: AuditLog) -> tuple[SignedLink, int]:
        with _Lines(out) as lines:
            if head:
                signed = await log.head()
                lines.put(_line(signed.document))
            else:
                await log.record(_export_act(out, after))
                signed = await log.export(lambda each: lines.put(_line(each)), after=after)
        return signed, lines.count

    signed, count = _with_log(work, settings)
    _told(out, json=json, said=f"{count} lines, up to entry {signed.number}", head=signed)


@app.command
def verify(
    *,
    head: Annotated[Path | None, option("An earlier export, or its head: finds a tail that was cut off.")] = None,
    after_head: Annotated[bool, flag("Look only at what came after that head.")] = False,
    public_key: Annotated[tuple[Path, ...], option("Key (PEM) of another machine that signs; may be repeated.")] = (),
    json: Json = False,
) -> int:
    """Look at every entry. Exit code 1 names the first that is missing, changed or out of its order."""
    from ibkit.bootstrap.auditing import trusted_keys
    from ibkit.store.audit_key import public_key_of
    from ibkit.vault.chain import read_head

    if after_head and head is None:
        raise wrong("--after-head", "it needs --head")
    settings = context.load_settings(require_method=False)
    trusted = trusted_keys(settings).union(public_key_of(file) for file in public_key)
    signed = None if head is None else read_head(_last_line(head))

    async def work(log: AuditLog) -> Verdict:
        return await log.verify(trusted=trusted, head=signed, only_after_head=after_head)

    verdict = _with_log(work, settings)
    broken = verdict.broken
    if json:
        output.emit(
            {
                "whole": broken is None,
                "entry": None if broken is None else broken.number,
                "what": None if broken is None else str(broken),
                "first": verdict.first,
                "last": verdict.last,
                "checked": verdict.checked,
                "head": None if signed is None else signed.number,
                "notes": verdict.notes,
            }
        )
    else:
        _say(verdict, signed)
    return 0 if broken is None else 1


@app.command
def purge(*, yes: Yes = False, json: Json = False) -> int:
    """Take away what is older than 400 days. It goes by itself once a day, unless the clock or the extent is doubtful.

    Such a doubt only you can put aside; what is not whole, or begins with an anchor of a stranger, stays in any case.
    """
    from ibkit.bootstrap.auditing import local_actor
    from ibkit.store.audit_retention import ASK_A_PERSON

    async def work(log: AuditLog) -> int | None:
        try:
            return await log.purge(actor=local_actor())
        except StorageError as error:
            if error.details.get("withheld") not in ASK_A_PERSON:
                raise
            output.warn(f"{error.message}.")
            if not yes and not confirmed("Is the clock right, and shall these entries go for good? [y/N] "):
                return None
            return await log.purge(actor=local_actor(), confirmed=True)

    gone = _with_log(work)
    if gone is None:
        output.warn("Nothing was changed.")
        return 5
    if json:
        output.emit({"gone": gone})
    else:
        output.say(f"{gone} entries were taken away behind a signed anchor." if gone else "No entry is due.")
    return 0


def _say(verdict: Verdict, signed: SignedLink | None) -> None:
    for note in verdict.notes:
        output.warn(f"note: {note}")
    if verdict.broken is not None:
        output.say(f"BROKEN: {verdict.broken}.")
        output.say(f"{verdict.checked} entries before it are whole.")
        return
    if not verdict.checked:
        output.say("No entries to look at." if verdict.last == 0 else f"Nothing came after entry {verdict.last}.")
        return
    output.say(f"Whole: entries {verdict.first} to {verdict.last}, {verdict.checked} looked at.")
    if signed is None:
        output.say("A tail that was cut off is seen only with an earlier head: --head FILE of `ibkit audit export`.")
    elif not verdict.notes:
        output.say(f"The head of {signed.at[:19]} (entry {signed.number}) is among them.")


def _with_log(work: Callable[[AuditLog], Awaitable[T]], settings: Settings | None = None) -> T:
    from ibkit.bootstrap.auditing import audit_log

    used = settings or context.load_settings(require_method=False)

    async def run() -> T:
        async with audit_log(used) as log:
            return await work(log)

    return go(run)


def _export_act(out: Path | None, after: int) -> Act:
    from ibkit.bootstrap.auditing import audit_clock, local_actor
    from ibkit.vault import Act

    return Act(
        at=audit_clock().now(),
        actor=local_actor(),
        action="audit.export",
        object="stdout" if out is None else str(out),
        details={"after": after} if after else {},
    )


def _public_key(settings: Settings) -> str:
    from ibkit.bootstrap import edges
    from ibkit.bootstrap.auditing import audit_path
    from ibkit.store.audit_key import public_pem, signer_at

    return public_pem(signer_at(audit_path(settings), edges().random).public_key)


def _line(each: object) -> str:
    import msgspec

    return msgspec.json.encode(each).decode()


def _last_line(file: Path) -> bytes:
    """The end of the file: a head is its last line, and an export may be large."""
    try:
        with file.open("rb") as opened:
            opened.seek(0, os.SEEK_END)
            opened.seek(max(0, opened.tell() - 4096))
            return opened.read()
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror}", code="E-VALIDATION", remedy="Name the file of an export."
        ) from error


class _Lines:
    """Lines to a new file, readable by us alone, or to stdout; a thousand at a time."""

    def __init__(self, out: Path | None) -> None:
        self._out = out
        self._waiting: list[str] = []
        self.count = 0

    def __enter__(self) -> _Lines:
        self._file = None
        if self._out is not None:
            try:
                handle = os.open(self._out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except OSError as error:
                raise wrong("--out", f"{self._out}: {error.strerror}") from error
            self._file = os.fdopen(handle, "w", encoding="utf-8")
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self._flush()
        finally:
            if self._file is not None:
                self._file.close()

    def put(self, line: str) -> None:
        self._waiting.append(line)
        self.count += 1
        if len(self._waiting) >= _LINES_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        lines, self._waiting = self._waiting, []
        if not lines:
            return
        if self._file is None:
            output.say("\n".join(lines))
            return
        try:
            self._file.write("\n".join(lines) + "\n")
            self._file.flush()
        except OSError as error:
            raise wrong("--out", f"{self._out}: {error.strerror}") from error


def _told(out: Path | None, *, json: bool, said: str, head: SignedLink | None = None) -> None:
    if out is None:
        return
    if json:
        output.emit({"file": out, **({} if head is None else head.document)})
    else:
        output.say(f"Wrote {said} to {out}.")
