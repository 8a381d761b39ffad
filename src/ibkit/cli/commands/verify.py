"""`ibkit verify`: are settings and keys complete, and do they belong together? No network."""

from __future__ import annotations

import stat
from datetime import datetime
from pathlib import Path
from typing import Annotated

import cyclopts

from ibkit.bootstrap import keyfiles
from ibkit.cli import context, output
from ibkit.cli.flags import ByUser, Json, UserLogin, flag
from ibkit.cli.running import go
from ibkit.clock import SystemClock
from ibkit.errors import ConfigError, IbkitError
from ibkit.model import AuthMethod
from ibkit.settings import Settings
from ibkit.upkeep.checks import Check, Mark, check_all, method_shown
from ibkit.vault import Status

__all__ = ["app"]

app = cyclopts.App(name="verify", help="Check the settings and keys, without the network.")

INCOMPLETE = 3
_DONE = "ibkit auth test"
_TEST = "ibkit credentials test, with the user's name"


@app.default
def verify(
    *,
    fix: Annotated[bool, flag("Close files that are open to others, keep keys out of git.")] = False,
    by: ByUser = None,
    json: Json = False,
) -> int:
    """Check the settings and keys, without the network. Exit code 0: complete; 3: something is missing.

    With --user what is kept of that user's connections is judged, as when it was given, and not the settings' login.
    """
    fixed: list[str] = []
    settings, unreadable = _load(fixed if fix else None)
    if settings is not None and by is not None:
        checks = _of_user(settings, by)
    elif settings is None:
        assert unreadable is not None
        checks = [Check("settings file", Mark.FAIL, unreadable.message, unreadable.code, unreadable.remedy)]
    else:
        if fix:
            fixed += _closed(settings)
        checks = check_all(settings, now=SystemClock().now())
    steps = _steps(checks)
    complete = not any(check.mark is Mark.FAIL for check in checks)
    if json:
        _emit(settings, checks, fixed, steps)
    else:
        _print(checks, fixed, steps, complete=complete)
    return 0 if complete else INCOMPLETE


def _of_user(settings: Settings, by: UserLogin) -> list[Check]:
    """A check for each set that is kept, of all their connections or of the one that is named."""
    from ibkit.bootstrap.credential_desk import Asker, Verified, age_of, open_credential_desk
    from ibkit.bootstrap.users import user_called

    user = context.user_of(by)

    async def work() -> tuple[tuple[Verified, ...], datetime]:
        who = Asker.here((await user_called(settings, user)).user_id)
        async with open_credential_desk(settings) as desk:
            return await desk.verify(who, by.connection), desk.vault.clock.now()

    try:
        found, now = go(work)
    except IbkitError as error:
        return [Check("connection", Mark.FAIL, error.message, error.code, error.remedy)]
    checks, most = [], settings.vault.max_age_days
    for each in found:
        stored, failure = each.stored, each.failure
        name = f"{stored.connection_id} ({'in use' if stored.status is Status.ACTIVE else 'waiting'})"
        if failure is not None:
            checks.append(Check(name, Mark.FAIL, failure.message, failure.code, failure.remedy))
            continue
        days = age_of(stored, now).days
        said = f"{stored.method.value}, {stored.environment.value}; keys and parameters fit, {days} days old"
        if days > most:
            remedy = f"older than CREDENTIAL_MAX_AGE_DAYS={most}: give new ones"
            checks.append(Check(name, Mark.WARN, said, remedy=remedy))
        elif stored.status is Status.ERROR:
            checks.append(Check(name, Mark.WARN, f"{said}; its last test failed: {stored.last_error}", remedy=_TEST))
        else:
            checks.append(Check(name, Mark.OK, said))
    return checks


def _load(fixed: list[str] | None) -> tuple[Settings | None, ConfigError | None]:
    """fixed: where to note what was mended; None to mend nothing."""
    from ibkit.bootstrap import read_settings
    from ibkit.settings import load

    def read() -> Settings:
        file = context.current().env_file
        found = load(env_file=file, require_method=False, strict=False)
        # Only faultless settings can be completed with what an earlier authorisation stored.
        return found if found.problems else read_settings(env_file=file, require_method=False)

    try:
        return read(), None
    except ConfigError as error:
        path = error.details.get("path")
        if fixed is None or error.code != "E-ENV-FILE" or not isinstance(path, str) or not Path(path).is_file():
            return None, error
        Path(path).chmod(0o600)
        fixed.append(f"{path}: mode 600")
    try:
        return read(), None
    except ConfigError as error:
        return None, error


def _closed(settings: Settings) -> list[str]:
    """Closes what is open to others; says what it did."""
    done = []
    given = settings.oauth1
    private = {AuthMethod.OAUTH1A: [given.signature_key_path, given.encryption_key_path]}.get(
        method_shown(settings), []
    )
    if method_shown(settings) is AuthMethod.OAUTH2 and settings.oauth2.private_key_path is not None:
        private = [settings.oauth2.private_key_path]
    for path in private:
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(keyfiles.PRIVATE_MODE)
            done.append(f"{path}: mode 600")
    default = Path("config/keys")
    if default.is_dir():
        if stat.S_IMODE(default.stat().st_mode) & 0o077:
            default.chmod(keyfiles.DIRECTORY_MODE)
            done.append(f"{default}: mode 700")
        if keyfiles.add_to_gitignore(default, output.warn):
            done.append(f".gitignore: {default}/")
    return done


def _steps(checks: list[Check]) -> list[str]:
    """What to do, each thing once, in order. Missing key files are one step: one command makes them all."""
    steps: dict[str, None] = {}
    for check in checks:
        if check.mark is not Mark.FAIL or not check.remedy:
            continue
        step = check.remedy if check.code in ("E-KEY-MISSING", "E-NOT-CONFIGURED") else f"{check.name}: {check.remedy}"
        steps[" ".join(step.split())] = None
    return list(steps)


def _print(checks: list[Check], fixed: list[str], steps: list[str], *, complete: bool) -> None:
    for line in fixed:
        output.say(f"fixed  {line}")
    width = max(len(check.name) for check in checks)
    for check in checks:
        code = f" [{check.code}]" if check.code and check.mark is Mark.FAIL else ""
        output.say(f"{check.mark.value:<4}  {check.name:<{width}}  {check.said}{code}")
        if check.mark is Mark.WARN and check.remedy:
            output.say(f"{'':<4}  {'':<{width}}  -> {check.remedy}")
    output.say()
    if complete:
        output.say(f"Next: {_DONE}")
        return
    output.say("Next:")
    for number, step in enumerate([*steps, "ibkit verify again"], 1):
        output.say(f"  {number}. {step}")


def _emit(settings: Settings | None, checks: list[Check], fixed: list[str], steps: list[str]) -> None:
    complete = not any(check.mark is Mark.FAIL for check in checks)
    output.emit(
        {
            "complete": complete,
            "file": settings.file if settings else None,
            "method": settings.choice.method.value if settings and settings.choice else None,
            "checks": checks,
            "fixed": fixed,
            "next": [_DONE] if complete else steps,
        }
    )
