"""`ibkit auth`: sign in, authorise a third party, renew, and test the whole way step by step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.auditing import Noted, audited, login_of
from ibkit.cli.flags import Compete, Json, option
from ibkit.cli.running import go
from ibkit.errors import ConfigError, IbkitError
from ibkit.model import AuthMethod
from ibkit.vault import Result

if TYPE_CHECKING:
    from ibkit.cli.selftest import Report
    from ibkit.settings import Settings
    from ibkit.upkeep.checks import Check

__all__ = ["app"]

app = cyclopts.App(name="auth", help="Sign in, authorise, test the sign-in step by step.")


@app.command(name="test")
def try_out(*, compete: Compete = False, json: Json = False) -> int:
    """Test settings, sign-in, session, accounts, contracts, quotes, positions, orders and a sale that is only priced.

    No order is sent. Exit code 0 when all passed, else that of the first failure.
    """
    from ibkit.cli.selftest import Report

    report = Report(tell=(lambda _: None) if json else _print_step)
    with audited("auth.test", "not configured") as entry:
        _try_out(report, entry, compete=compete)
    if json:
        passed = report.first_failure is None
        output.emit({"passed": passed, "verdict": report.verdict, "steps": report.steps})
    else:
        output.say(report.verdict)
    return report.exit_code


def _try_out(report: Report, entry: Noted, *, compete: bool) -> None:
    from ibkit.bootstrap import client_of, clock_of, read_settings
    from ibkit.cli.selftest import self_test

    try:
        settings = read_settings(env_file=context.current().env_file, require_method=False)
        entry.object = login_of(settings)
        entry.details["environment"] = settings.environment.value
        clock = clock_of(settings)
        go(
            lambda: self_test(
                settings,
                report,
                lambda: client_of(settings, compete=compete or None, upto=None, keep_alive=False),
                now=clock.now,
            )
        )
    except IbkitError as error:
        report.trouble("settings and keys", error)
    failure = report.first_failure
    if failure is not None:
        entry.settled = Result.FAILED
        entry.details |= {"code": failure.code, "failed_at": failure.name, "reason": failure.said}


@app.command
def login(*, compete: Compete = False, json: Json = False) -> None:
    """Sign in as far as the accounts; without an access token, ask for the user's authorisation first."""
    from ibkit.bootstrap import open_client

    settings = context.load_settings() if _has_token() else _authorised_by_hand()

    async def work() -> None:
        async with open_client(settings, compete=compete or None, keep_alive=False) as ib:
            grant, opening = ib.keeper.grant, ib.keeper.opening
            ends = grant.expires_at if grant else None
            if json:
                document = {
                    "method": ib.method,
                    "accounts": opening.accounts,
                    "selected": opening.selected,
                    "expires_at": ends,
                }
                output.emit(document)
                return
            until = f", token good until {ends:%Y-%m-%d %H:%M} UTC" if ends else ""
            output.say(f"Signed in over {ib.method.value}{until}.")
            output.say(f"Accounts: {', '.join(opening.accounts) or 'none'}")

    with audited("auth.login", login_of(settings), environment=settings.environment.value):
        go(work)


@app.command
def rotate() -> None:
    """Get a new live session token (or SSO session) now, whatever the age of the old one."""
    from ibkit.bootstrap import open_client, token_cache_of
    from ibkit.wire.endpoint import Needs

    settings = context.load_settings()
    if settings.mock or settings.method is AuthMethod.GATEWAY:
        output.say("Nothing to rotate: the gateway holds the login itself.")
        return
    cache = token_cache_of(settings, settings.credentials())
    if cache is not None:
        cache.discard()

    async def work() -> None:
        async with open_client(settings, upto=Needs.OUTER_SESSION, keep_alive=False) as ib:
            grant = ib.keeper.grant
            until = f", good until {grant.expires_at:%Y-%m-%d %H:%M} UTC" if grant and grant.expires_at else ""
            output.say(f"New token for {grant.label if grant else settings.method.value}{until}.")
        if cache is None or not cache.keeps:
            output.warn("note: ENCRYPTION_KEY is not set, so it is not kept for the next run")

    with audited("auth.rotate", login_of(settings), environment=settings.environment.value):
        go(work)


@app.command
def authorize(
    *,
    verifier: Annotated[str | None, option("The verifier that IBKR's page showed.")] = None,
    token: Annotated[str | None, option("The request token of the first step, where it could not be kept.")] = None,
    json: Json = False,
) -> None:
    """Let a user authorise this third-party application (OAuth 1.0a, three-legged).

    Without --verifier: prints the page to open. With it: fetches the access token and keeps it, encrypted.
    """
    from ibkit.cli import authorising

    settings = authorising.third_party_settings(context.load_settings(require_method=False))
    if verifier is None:
        request_token, url, kept = go(lambda: authorising.begin(settings))
        if json:
            output.emit({"request_token": request_token, "url": url, "kept": kept})
            return
        output.say(f"Open this page within 10 minutes, log in and allow access:\n\n  {url}\n")
        again = "ibkit auth authorize --verifier V" + ("" if kept else f" --token {request_token}")
        output.say(f"It ends with a verifier, shown or as oauth_verifier in the last address. Then: {again}")
        output.say(
            "Serving other people needs IBKR's compliance approval (8-14 weeks). Applicants need a business entity, "
            "a public website describing the product, a proof of concept and the completed compliance process."
        )
        return
    if not settings.vault.has_key:
        # Found out before the verifier is spent: it works once.
        raise ConfigError(
            "The access token could not be kept: ENCRYPTION_KEY is not set, and it is never written unencrypted",
            code="E-ENC-KEY",
        )
    with audited("auth.authorize", login_of(settings), environment=settings.environment.value):
        access, _ = go(lambda: authorising.finish(settings, verifier, token))
    kind = {True: "paper", False: "live", None: "unknown"}[access.is_paper]
    if json:
        output.emit({"authorised": True, "is_paper": access.is_paper})
        return
    output.say(f"Authorised ({kind}). The access token is kept, encrypted. Next: ibkit auth test")


def _has_token() -> bool:
    """Whether the settings are complete, or incomplete in another way than an access token that is missing."""
    from ibkit.bootstrap import read_settings

    found = read_settings(env_file=context.current().env_file, require_method=False)
    return found.choice is not None or not any(each.code == "E-SECRET-MISSING" for each in found.method_problems)


def _authorised_by_hand() -> Settings:
    """The whole three-legged way in one go: the verifier is typed, or piped in."""
    from ibkit.cli import authorising

    settings = authorising.third_party_settings(context.load_settings(require_method=False))
    request_token, url, _ = go(lambda: authorising.begin(settings))
    output.warn(f"Open this page within 10 minutes, log in and allow access:\n\n  {url}\n\nThen type the verifier:")
    verifier = sys.stdin.readline().strip()
    if not verifier:
        raise ConfigError(code="E-SECRET-MISSING")
    with audited("auth.authorize", login_of(settings), environment=settings.environment.value):
        access, kept = go(lambda: authorising.finish(settings, verifier, request_token))
    if not kept:
        output.warn("note: ENCRYPTION_KEY is not set, so the access token lives for this run only")
    return authorising.with_access_token(settings, access)


def _print_step(step: Check) -> None:
    code = f" [{step.code}]" if step.code else ""
    output.say(f"{step.mark.value:<4}  {step.name:<18}  {step.said}{code}")
    if step.remedy and step.mark.value in ("WARN", "FAIL"):
        for line in step.remedy.splitlines():
            output.say(f"{'':<4}  {'':<18}  -> {line}")
