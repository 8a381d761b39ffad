"""Guides as check-lists: what to do at IBKR and here; a point is seen by itself where it can be, else ticked by hand.

    ok       it was looked at and is done, or a person has said so
    fail     it was looked at and is not done
    manual   it cannot be seen from here, and nobody has said so

Ticks stand in the audit log, as those of `ibkit checklist production`. Source: requirements SEC-09, SET-07 to SET-09,
SET-14 to SET-16; docs/facts/auth-and-sessions.md §1.1 and §3.1.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ibkit.errors import IbkitError
from ibkit.model import AuthMethod
from ibkit.upkeep.checklist import CONFIRM, Item, State

if TYPE_CHECKING:
    from ibkit.settings import Settings

__all__ = ["GUIDES", "Guide", "Known", "Step", "items_of"]

_PORTAL = "https://ndcdyn.interactivebrokers.com/sso/Login?action=OAUTH&RL=1&ip2loc=US"


@dataclass(frozen=True, slots=True)
class Known:
    """What points are seen by. up: whether the login stands, None where nobody looked. accounts: that it sees."""

    settings: Settings
    up: bool | None = None
    accounts: tuple[str, ...] = ()

    def signed_in(self, method: AuthMethod) -> bool:
        return bool(self.up) and self.settings.choice is not None and self.settings.choice.method is method


Look = Callable[[Known], tuple[State, str] | None]
"""What is seen of a point; None where nothing can be, as of any other point."""


@dataclass(frozen=True, slots=True)
class Step:
    """how: what to do. look: None for what only a person can tell. says: more of how, as it is here."""

    name: str
    title: str
    how: str
    look: Look | None = None
    says: Callable[[Settings], str] = lambda settings: ""


@dataclass(frozen=True, slots=True)
class Guide:
    """about: why, and what it costs."""

    name: str
    title: str
    about: str
    steps: tuple[Step, ...]


def _is(done: bool, said: str, open_: str) -> tuple[State, str]:
    return (State.OK, said) if done else (State.FAIL, open_)


def _set(*names: str) -> Look:
    """Whether these settings are given, by whichever of their spellings."""

    def look(known: Known) -> tuple[State, str]:
        missing = [name for name in names if name not in known.settings.sources]
        return _is(not missing, f"{', '.join(names)}: set", f"not set: {', '.join(missing)}")

    return look


def _up(method: AuthMethod) -> Look:
    def look(known: Known) -> tuple[State, str] | None:
        return (State.OK, f"signed in, {', '.join(known.accounts)}") if known.signed_in(method) else None

    return look


def _connected(known: Known) -> tuple[State, str] | None:
    return (State.OK, f"the login is up and sees {', '.join(known.accounts)}") if known.up and known.accounts else None


def _account(known: Known) -> tuple[State, str] | None:
    if known.up is None or not known.up:
        return None
    return _is(
        bool(known.accounts), f"{', '.join(known.accounts)} can be read", "the login sees no account (E-ACC-NONE)"
    )


def _files(known: Known) -> tuple[State, str]:
    missing = [str(path) for path in _key_paths(known.settings) if not path.exists()]
    return _is(not missing, "all three are there", f"not there: {', '.join(missing)}")


def _key_paths(settings: Settings) -> tuple[Path, ...]:
    given = settings.oauth1
    return given.signature_key_path, given.encryption_key_path, given.dh_param_path


def _uploads(settings: Settings) -> str:
    signing, opening, primes = _key_paths(settings)
    return ", ".join(
        str(path.absolute())
        for path in (
            signing.with_name(signing.name.replace("private", "public")),
            opening.with_name(opening.name.replace("private", "public")),
            primes,
        )
    )


def _oauth2_key(known: Known) -> tuple[State, str]:
    given = known.settings.oauth2
    return _is(
        given.private_key is not None or (given.private_key_path is not None and given.private_key_path.exists()),
        "the private key is there",
        "neither IBKR_PRIVATE_KEY nor the file of IBKR_PRIVATE_KEY_PATH is there",
    )


def _gateway(known: Known) -> tuple[State, str]:
    chosen, run = known.settings.choice, known.settings.gateway.directory / "bin" / "run.sh"
    if chosen is not None and chosen.method is not AuthMethod.GATEWAY:
        return State.OK, f"not needed: the sign-in is by {chosen.method.value}"
    return _is(run.exists(), f"{run.absolute()}", f"{run.absolute()} is not there")


def _java(known: Known) -> tuple[State, str] | None:
    found = shutil.which("java")
    return None if found else (State.FAIL, "no `java` is on the PATH (E-GW-JAVA)")


def _gateway_here(settings: Settings) -> str:
    return f"Here: IBKR_GATEWAY_DIR={settings.gateway.directory.absolute()}"


GUIDES: tuple[Guide, ...] = (
    Guide(
        "prerequisites",
        "Prerequisites",
        "What an account needs before a program may trade with it.",
        (
            Step("account-active", "The account is active", "Client Portal shows it without open tasks.", _account),
            Step(
                "account-kind",
                "Individual or institutional",
                "Know which: OAuth 2 is open to institutions first; individuals sign in by OAuth 1.0a or the gateway.",
            ),
            Step("account-funded", "Fully opened and funded", "An account without money reads, but does not trade."),
            Step("ibkr-pro", "IBKR Pro", "IBKR Lite has no access by program. Change it in Client Portal, Settings."),
            Step(
                "api-enabled", "Access by program works", "Connect once; the settings page tries all steps.", _connected
            ),
            Step("second-factor", "Second factor", "Set it up for the user name that logs in (IB Key)."),
            Step(
                "user-name",
                "User name and its permissions",
                "The user name may trade what you mean to trade. A refused order says E-ORD-PERM.",
            ),
            Step("market-data", "Market data", "Subscriptions belong to the user name; see the guide below."),
            Step("gateway-installed", "Gateway installed", "Only where you sign in by it.", _gateway, _gateway_here),
        ),
    ),
    Guide(
        "oauth1a",
        "OAuth 1.0a at the portal",
        "A sign-in without a browser. Paper and live each need a consumer key, keys and a token of their own.",
        (
            Step("key-files", "Make the key files", "`ibkit keys generate --kind oauth1a`", _files),
            Step("portal", "Log in to the self-service portal", f"With the user name that is to trade: {_PORTAL}"),
            Step(
                "consumer-key",
                "Choose a consumer key",
                "Type and save it; set IB_CONSUMER_KEY.",
                _set("IB_CONSUMER_KEY"),
            ),
            Step(
                "upload",
                "Upload three files",
                "Public signature key, public encryption key, parameters:",
                None,
                _uploads,
            ),
            Step(
                "token",
                "Generate the token, and copy both texts at once",
                "The secret is shown once only. Then switch the access on.",
            ),
            Step(
                "settings",
                "Put them into the settings",
                "IB_ACCESS_TOKEN and IB_ACCESS_TOKEN_SECRET, in the settings file.",
                _set("IB_ACCESS_TOKEN", "IB_ACCESS_TOKEN_SECRET"),
            ),
            Step(
                "activation",
                "Wait until IBKR activates the key",
                "After its nightly restart, sometimes only after that of the weekend. Until then: invalid consumer.",
                _up(AuthMethod.OAUTH1A),
            ),
            Step("test", "Test it", "On the settings page, or `ibkit doctor --connect`.", _up(AuthMethod.OAUTH1A)),
        ),
    ),
    Guide(
        "oauth2",
        "OAuth 2 at the portal",
        "Whether you may use it depends on IBKR, which gives it to institutions first.",
        (
            Step(
                "enable",
                "Enable it and create an application",
                "portal.ibkr.com, Settings, API: enable API trading and OAuth 2.0 applications; create one.",
            ),
            Step(
                "ids",
                "Save both ids",
                "Client ID and Client Key ID: IBKR_CLIENT_ID, IBKR_CLIENT_KEY_ID.",
                _set("IBKR_CLIENT_ID", "IBKR_CLIENT_KEY_ID"),
            ),
            Step(
                "key",
                "Make an RSA key and store it safely",
                "`ibkit keys generate --kind oauth2`; upload the public half; set IBKR_PRIVATE_KEY_PATH.",
                _oauth2_key,
            ),
            Step(
                "whitelist",
                "Whitelist this server's address",
                "In the portal, and here: IBKR_ALLOWED_IP; IBKR_CREDENTIAL names the user.",
                _set("IBKR_ALLOWED_IP", "IBKR_CREDENTIAL"),
            ),
            Step("test", "Test it", "On the settings page, or `ibkit doctor --connect`.", _up(AuthMethod.OAUTH2)),
        ),
    ),
    Guide(
        "gateway",
        "Gateway",
        "IBKR's own program beside ours; a person logs in at a browser, at least once a day.",
        (
            Step("java", "Java", "Version 8u192 or newer: `java -version`.", _java),
            Step(
                "download",
                "Download and unpack",
                "clientportal.gw.zip from IBKR's page on the Client Portal API.",
                _gateway,
                _gateway_here,
            ),
            Step(
                "start", "Start it", "In its folder: bin/run.sh root/conf.yaml (Windows: bin\\run.bat root\\conf.yaml)"
            ),
            Step(
                "login",
                "Log in at a browser",
                "On the same machine, https://localhost:5000, with the second factor.",
                _up(AuthMethod.GATEWAY),
            ),
            Step("test", "Test it", "On the settings page, or `ibkit doctor --connect`.", _up(AuthMethod.GATEWAY)),
        ),
    ),
    Guide(
        "market-data",
        "Market data",
        "Each user name pays for its own subscriptions; without them prices are late, or there are none (E-MD-NONE).",
        (
            Step("open", "Open the subscriptions", "Client Portal, Settings, Market Data Subscriptions, as that user."),
            Step(
                "stocks",
                "US stocks and ETFs",
                "The bundle of US exchanges in real time: for stocks, and what options stand on.",
            ),
            Step("options", "US options (OPRA)", "Quotes of options: for option chains and every sale of an option."),
            Step("indices", "US indices (Cboe)", "Levels of indices: only for options on SPX, VIX and their like."),
            Step("test-stock", "Try a stock", "`ibkit quote SPY` says real time, not delayed."),
            Step("test-option", "Try an option", "The page Options shows a bid and an ask beside the strikes."),
        ),
    ),
    Guide(
        "secondary-user",
        "A second user name",
        "The program has a login of its own: no conflict with yours, and no second factor of yours in its way. "
        "Which factor it needs is for IBKR to say. It needs market data of its own.",
        (
            Step("settings", "Open the users", "Client Portal, Settings, Users & Access Rights."),
            Step("add", "Add a user", "The plus beside Users."),
            Step("name", "User name and password", "Its own; it is kept nowhere here."),
            Step("permissions", "Permissions", "Trading, and the accounts that it is for; nothing else."),
            Step("notifications", "Notifications", "Its e-mail address, and what is told there."),
            Step("activate", "Activation code", "Comes by e-mail; enter it, then log in once."),
        ),
    ),
    Guide(
        "ibkr-security",
        "Security at IBKR",
        "What protects the account where ibkit cannot. Look at it each quarter; with several users you are reminded.",
        (
            Step("own-user", "A user name for the program", "Not the one that you log in with: see the guide above."),
            Step(
                "password",
                "A strong password of its own",
                "Long, made by a password manager, used nowhere else, and new each year.",
            ),
            Step(
                "addresses",
                "Only from known addresses",
                "Restrict the user name to this server's address in Client Portal; OAuth 2 asks for it anyway.",
            ),
            Step(
                "minimal",
                "No more rights than it needs",
                "No trading for a login that only looks; no transfer of money, no second account, for any program.",
            ),
            Step(
                "review",
                "Users and rights looked through",
                "At IBKR every user name with its rights and addresses; here `ibkit access-review`, then sign it off.",
            ),
        ),
    ),
)


async def items_of(guide: Guide, known: Known) -> list[Item]:
    """Each point as it stands. What cannot be read of the ticks leaves points to be done by hand."""
    from ibkit.bootstrap.auditing import audit_log

    found = [_seen(step, known) for step in guide.steps]
    try:
        async with audit_log(known.settings) as log:
            return [await _ticked(log, guide, item) for item in found]
    except IbkitError:
        return found


def _seen(step: Step, known: Known) -> Item:
    how = " ".join(part for part in (step.how, step.says(known.settings)) if part)
    told = step.look(known) if step.look is not None else None
    if told is None:
        return Item(step.name, step.title, State.MANUAL, "", how)
    return Item(step.name, step.title, told[0], told[1], how)


async def _ticked(log: object, guide: Guide, item: Item) -> Item:
    from ibkit.store.audit import AuditLog

    assert isinstance(log, AuditLog)
    if item.state is not State.MANUAL:
        return item
    entries = await log.entries(action="checklist.", object_=f"{guide.name}.{item.name}", limit=1)
    if not entries or entries[0].action != CONFIRM or entries[0].result != "ok":
        return item
    by, at = str(entries[0].details.get("by", entries[0].actor)), datetime.fromisoformat(entries[0].at)
    return replace(item, state=State.OK, by=by, at=at)
