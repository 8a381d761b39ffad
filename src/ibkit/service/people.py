"""Who asks, and what they may do. Source: requirements GWY-02, GWY-09; threat TM-09.

A token that is none, or no more, is 401, always the same; so the caller throws it away. One that is good, of a person
who signed in too long ago for what is asked, is 403 (409 E-LIVE for a live order): it goes on to serve for the rest.
"""

from __future__ import annotations

from datetime import datetime

from ibkit.errors import AuthError, ConfigError, NotFound, NotPermitted, TradingError
from ibkit.model import AccountId, Environment, Secret
from ibkit.service.refusals import Refusal
from ibkit.users import is_fresh
from ibkit.users.principal import Authenticator, Principal, Role, Scope

__all__ = [
    "administers",
    "bearer_of",
    "check_second_step",
    "may_acknowledge",
    "may_administer",
    "may_connect",
    "may_keep_books",
    "may_keep_credentials",
    "may_order",
    "may_read",
    "may_read_books",
    "must_be_fresh",
    "of_theirs",
    "who_asks",
]

_MOST_TOKEN = 8 * 1024
_TRADERS = frozenset({Role.OWNER, Role.ADMIN, Role.TRADER})
_ADMINISTRATORS = frozenset({Role.OWNER, Role.ADMIN})


async def who_asks(authenticator: Authenticator, headers: list[str], *, address: str) -> Principal:
    """The holder of the bearer token. headers: every Authorization of the request.

    AuthError (E-APP-AUTH, 401) without one, and whatever is wrong with it; Refusal 400 where it is no bearer form, or
    there are two.
    """
    return await authenticator.authenticate(bearer_of(headers), address=address)


def bearer_of(headers: list[str]) -> Secret[str]:
    """The token, not looked at yet. Errors as for `who_asks`."""
    if not headers:
        raise AuthError(code="E-APP-AUTH")
    if len(headers) > 1:
        raise _malformed("the header Authorization stands twice")
    kind, _, token = headers[0].partition(" ")
    if kind.lower() != "bearer" or not token.strip() or " " in token.strip():
        raise _malformed("the header Authorization is not `Bearer <token>`")
    if len(token) > _MOST_TOKEN:
        raise AuthError(code="E-APP-AUTH")
    return Secret(token.strip())


def check_second_step(who: Principal) -> None:
    """NotPermitted (E-FORBIDDEN) for whoever has to set up a second step before anything else."""
    if who.second_step_due:
        raise NotPermitted(
            "Forbidden: a second step of the sign-in has to be set up first",
            code="E-FORBIDDEN",
            remedy="Settings, Your sign-in; or POST /api/me/second-step, then confirm a code of the app.",
            details={"second_step": True},
        )


def may_read(who: Principal) -> None:
    """NotPermitted (E-FORBIDDEN) without the scope."""
    if not who.scopes:
        raise _forbidden("this token may not read")


def may_order(who: Principal, environment: Environment, *, now: datetime, lessens: bool = False) -> None:
    """Whether they may place or change an order there. Nothing of it is stored.

    lessens: a cancel, which never waits for a newer sign-in.

    NotPermitted (E-FORBIDDEN) by role or scope; TradingError (E-LIVE) where a sign-in is too old for live money.
    """
    if who.role not in _TRADERS:
        raise _forbidden(f"a {who.role.value} may not order")
    if not who.scopes.intersection({Scope.ORDERS_PAPER, Scope.ORDERS_LIVE}):
        raise _forbidden(f"this token lacks the scope {Scope.ORDERS_PAPER.value}")
    if environment is not Environment.LIVE:
        return
    if Scope.ORDERS_LIVE not in who.scopes:
        raise _forbidden(f"this token lacks the scope {Scope.ORDERS_LIVE.value}")
    if not lessens and _is_stale(who, now):
        raise TradingError(
            "Live trading not confirmed: the sign-in is older than 15 minutes",
            code="E-LIVE",
            remedy="Sign in again (at most 15 minutes before the order), or use a machine key with the scope "
            "orders:live. Nothing was stored or sent; the key is still free.",
        )


def may_read_books(who: Principal) -> None:
    """Whether they may look at their portfolios. NotPermitted (E-FORBIDDEN) for a token of certain accounts only."""
    may_read(who)
    if who.accounts is not None:
        raise _forbidden("this token is for certain accounts only, a portfolio may hold others")


def may_keep_books(who: Principal) -> None:
    """Whether they may change and sync portfolios of their own. NotPermitted (E-FORBIDDEN) by role or scope."""
    may_read_books(who)
    if who.role not in _TRADERS:
        raise _forbidden(f"a {who.role.value} may not change a portfolio")
    if not who.scopes - {Scope.READ}:
        raise _forbidden("this token may only read")


def administers(who: Principal) -> bool:
    """Whether they are an owner or administrator, and ask with the scope of one."""
    return who.role in _ADMINISTRATORS and Scope.ADMIN in who.scopes


def may_acknowledge(who: Principal) -> None:
    """Whether they may say that they look after an alert, and try channels. NotPermitted (E-FORBIDDEN)."""
    if who.role not in _TRADERS:
        raise _forbidden(f"a {who.role.value} may not look after alerts")
    if not who.scopes - {Scope.READ}:
        raise _forbidden("this token may only read")


def may_administer(who: Principal) -> None:
    """NotPermitted (E-FORBIDDEN) for whoever is no owner or administrator, or asks with less."""
    if not administers(who):
        raise _forbidden("that is for owners and administrators, with the scope admin")


def must_be_fresh(who: Principal, *, now: datetime) -> None:
    """NotPermitted (E-FORBIDDEN) unless a person proved who they are within 15 minutes: what opens doors. TM-09."""
    if not is_fresh(who, now):
        raise _too_long_ago("Sign in again and repeat it; a machine key cannot do this.")


def may_connect(who: Principal) -> None:
    """Whether they may connect, log out and take over a connection that is theirs. NotPermitted (E-FORBIDDEN)."""
    if who.role not in _TRADERS:
        raise _forbidden(f"a {who.role.value} may not connect or log out")
    if not who.scopes - {Scope.READ}:
        raise _forbidden("this token may only read")
    if who.accounts is not None:
        raise _forbidden("this token is for certain accounts only, a connection is for all of its own")


def may_keep_credentials(who: Principal, *, now: datetime) -> None:
    """Whether they may give, test and delete credentials of their own.

    NotPermitted (E-FORBIDDEN) by role or scope, and where a person's sign-in is too old: a session that somebody left
    open must not change what money is reached by (TM-09).
    """
    if who.role not in _TRADERS:
        raise _forbidden(f"a {who.role.value} keeps no credentials")
    if Scope.CREDENTIALS not in who.scopes:
        raise NotPermitted(
            f"Forbidden: this token lacks the scope {Scope.CREDENTIALS.value}",
            code="E-FORBIDDEN",
            remedy="Sign in, or use a token or key that was made with this scope by name.",
        )
    if who.accounts is not None:
        raise _forbidden("this token is for certain accounts only")
    if _is_stale(who, now):
        raise _too_long_ago("Sign in again, then change credentials within 15 minutes.")


def of_theirs(who: Principal, account_id: str | None) -> AccountId | None:
    """The account to trade: the one asked for, or the only one that the token is confined to; None: the login's.

    NotFound (E-NOT-FOUND) for one that is not theirs, as for one that does not exist.
    """
    if who.accounts is None:
        return None if account_id is None else AccountId(account_id)
    if account_id is not None and account_id in who.accounts:
        return AccountId(account_id)
    if account_id is None and len(who.accounts) == 1:
        return next(iter(who.accounts))
    if account_id is None:
        raise ConfigError(
            "Account ambiguous: this token is for several",
            code="E-ACC-AMBIGUOUS",
            remedy="Name one in account_id.",
            details={"accounts": sorted(who.accounts)},
        )
    raise NotFound(code="E-NOT-FOUND", details={"thing": "account"})


def _is_stale(who: Principal, now: datetime) -> bool:
    """Whether a person signed in too long ago for what opens doors or moves live money; a machine never did."""
    return who.signed_in_at is not None and not is_fresh(who, now)


def _too_long_ago(remedy: str) -> NotPermitted:
    why = "Forbidden: that needs a person's sign-in of the last 15 minutes"
    return NotPermitted(why, code="E-FORBIDDEN", remedy=remedy)


def _forbidden(why: str) -> NotPermitted:
    return NotPermitted(f"Forbidden: {why}", code="E-FORBIDDEN")


def _malformed(why: str) -> Refusal:
    error = ConfigError(f"Invalid request: {why}", code="E-VALIDATION", remedy="Send it once, as `Bearer <token>`.")
    return Refusal(400, error)
