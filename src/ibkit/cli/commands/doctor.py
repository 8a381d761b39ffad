"""`ibkit doctor`: everything that may be wrong, each with its remedy, and which of it to mend first."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.flags import ByUser, Compete, Json, flag
from ibkit.cli.running import banner_of, go
from ibkit.clock import SystemClock
from ibkit.error_catalogue import CATALOGUE
from ibkit.errors import ConfigError, IbkitError
from ibkit.upkeep.checks import Check, Mark

if TYPE_CHECKING:
    from ibkit.settings import Settings

__all__ = ["app", "diagnose", "first_cause", "report_of"]

app = cyclopts.App(name="doctor", help="Everything that may be wrong, each with its remedy.")


@app.default
def doctor(
    *,
    fix: Annotated[bool, flag("Close files of ours that are open to others.")] = False,
    offline: Annotated[bool, flag("Without the network.")] = False,
    connect: Annotated[bool, flag("Sign in, too, and look at accounts and market data.")] = False,
    compete: Compete = False,
    by: ByUser = None,
    json: Json = False,
) -> int:
    """Look at everything that may be wrong. Exit code 0: nothing is; else that of the first cause."""
    settings, unreadable = _load(fix=fix)
    fixed: list[str] = []
    if settings is None:
        assert unreadable is not None
        checks = [Check("settings file", Mark.FAIL, unreadable.message, unreadable.code, unreadable.remedy)]
    else:
        if fix:
            from ibkit.upkeep.diagnosis.modes import close

            fixed = close(settings)
        checks = diagnose(settings, offline=offline, connect=connect, compete=compete, by=by)
    first = first_cause(checks)
    if json:
        output.emit(report_of(checks, fixed))
    else:
        _print(checks, fixed, first)
    return 0 if first is None else _exit_code(first)


def diagnose(
    settings: Settings, *, offline: bool, connect: bool = False, compete: bool = False, by: ByUser = None
) -> list[Check]:
    """All checks, in the order in which to mend what they find. Nothing is mended, nothing sent but one question.

    by: whose connection is looked at in place of the settings' login. What its credentials are was judged when they
    were stored; here it is whether they can be used, and that is in the audit log as any use.
    """
    from ibkit.upkeep.diagnosis import of_installation

    checks = of_installation(settings, os.environ, now=SystemClock().now(), of_settings=by is None)
    if by is not None:
        try:
            settings = context.load_settings(by=by)
        except IbkitError as error:
            return [*checks, Check("connection", Mark.FAIL, error.message, error.code, error.remedy)]
        checks.append(
            Check("connection", Mark.OK, f"{by.connection or 'the default one'} of {by.user}: {banner_of(settings)}")
        )
    if settings.mock:
        return [*checks, Check("IBKR", Mark.SKIP, "BROKER_PROVIDER=mock: there is nobody to reach")]
    if offline or settings.choice is None:
        why = "--offline" if offline else "no sign-in is complete"
        return [*checks, Check("IBKR", Mark.SKIP, f"not looked for: {why}")]

    async def look() -> list[Check]:
        from ibkit.upkeep.diagnosis.network import check_network, check_sign_in

        found = [check async for check in check_network(settings)]
        if connect and not any(check.mark is Mark.FAIL for check in found):
            found += [check async for check in check_sign_in(settings, compete=compete)]
        return found

    return [*checks, *go(look)]


def first_cause(checks: list[Check]) -> Check | None:
    """The first that failed: what comes after it may only follow from it."""
    return next((check for check in checks if check.mark is Mark.FAIL), None)


def report_of(checks: list[Check], fixed: list[str]) -> dict[str, object]:
    """As the document of `--json`."""
    first = first_cause(checks)
    return {
        "ok": first is None,
        "first_cause": None if first is None else {"name": first.name, "code": first.code},
        "checks": checks,
        "fixed": fixed,
    }


def _load(*, fix: bool) -> tuple[Settings | None, ConfigError | None]:
    from ibkit.bootstrap import read_settings
    from ibkit.settings import load

    file = context.current().env_file
    for again in (fix, False):
        try:
            found = load(env_file=file, require_method=False, strict=False)
            # Only faultless settings can be completed with what an earlier authorisation stored.
            return (found if found.problems else read_settings(env_file=file, require_method=False)), None
        except ConfigError as error:
            if not (again and _closed(error)):
                return None, error
    raise AssertionError("the second attempt returns")


def _closed(error: ConfigError) -> bool:
    """Whether the settings file could be closed to others, which kept it from being read."""
    from pathlib import Path

    path = error.details.get("path")
    if error.code != "E-ENV-FILE" or not isinstance(path, str) or not Path(path).is_file():
        return False
    Path(path).chmod(0o600)
    output.warn(f"fixed  {path}: mode 600")
    return True


def _exit_code(first: Check) -> int:
    return CATALOGUE[first.code].exit if first.code else 1


def _print(checks: list[Check], fixed: list[str], first: Check | None) -> None:
    for line in fixed:
        output.say(f"fixed  {line}")
    width = max(len(check.name) for check in checks)
    for check in checks:
        code = f" [{check.code}]" if check.code and check.mark is Mark.FAIL else ""
        cause = "  <- first cause" if check is first else ""
        output.say(f"{check.mark.value:<4}  {check.name:<{width}}  {check.said}{code}{cause}")
        if check.remedy and check.mark in (Mark.WARN, Mark.FAIL):
            for line in check.remedy.split("\n"):
                output.say(f"{'':<4}  {'':<{width}}  -> {line}")
    warned = sum(check.mark is Mark.WARN for check in checks)
    failed = sum(check.mark is Mark.FAIL for check in checks)
    output.say()
    output.say(f"{failed} failed, {warned} to look at." if failed or warned else "Everything is in order.")
