"""`ibkit user`: who may use the service, by the word of who runs this machine. Requirement VLT-10."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, flag, option
from ibkit.cli.passwords import ask_code, ask_new_password, ask_password
from ibkit.cli.running import go

if TYPE_CHECKING:
    from ibkit.bootstrap.user_removal import Ties
    from ibkit.bootstrap.users import UserDesk
    from ibkit.model import AccountId
    from ibkit.users import ApiKey, Attempt, FirstLink, Issued, User

__all__ = ["app"]

app = cyclopts.App(name="user", help="Who may use the service: users, roles, tokens, keys.")
key_app = cyclopts.App(name="key", help="Keys of programs: made, listed, revoked.")
app.command(key_app)

T = TypeVar("T")
_Role = Literal["owner", "admin", "trader", "viewer"]
_Scope = Literal["read", "orders:paper", "orders:live", "credentials", "admin"]
_Accounts = Annotated[tuple[str, ...], option("Only this account; may be repeated [default: all of the user's].")]


@app.command
def add(
    name: str, /, *, role: Annotated[_Role, option("What they may do at most.")] = "viewer", json: Json = False
) -> None:
    """Add a user. The password is asked for, or read from stdin."""
    from ibkit.users import Role
    from ibkit.users.user import check_name

    plain = check_name(name)
    password = ask_new_password(plain)
    with audited("users.add", plain, name=plain, role=role) as entry:
        user = _with_users(lambda desk: desk.keeper.add(plain, Role(role), password))
        entry.object = user.user_id
    _tell(user, json=json, text=f"Added {user.name} ({user.role}).")


@app.command
def invite(
    name: str, /, *, role: Annotated[_Role, option("What they may do at most.")] = "viewer", json: Json = False
) -> None:
    """Add a user who chooses the password: prints a one-time link that is good for 24 hours.

    For one who is there already, `ibkit user link` prints another.
    """
    from ibkit.users import Role
    from ibkit.users.user import check_name

    plain = check_name(name)
    with audited("users.invite", plain, name=plain, role=role) as entry:
        link = _with_users(lambda desk: desk.keeper.invite(plain, Role(role)))
        entry.object = link.user.user_id
    _tell_link(link, json=json, text=f"Added {link.user.name} ({link.user.role}).")


@app.command(name="link")
def new_link(name: str, /, *, json: Json = False) -> None:
    """Print another one-time link, for a forgotten password or an invitation that ran out; an earlier one is over."""
    with audited("users.link", name, name=name) as entry:
        link = _with_users(lambda desk: desk.keeper.new_link(name))
        entry.object = link.user.user_id
    _tell_link(link, json=json, text=f"The password of {link.user.name} stays good until the link is used.")


@app.command
def remove(
    name: str,
    /,
    *,
    force: Annotated[
        bool,
        flag("Although orders of theirs stand at IBKR, which go on there, or a connection is up: it is logged out."),
    ] = False,
    json: Json = False,
) -> None:
    """Remove a user for good: sessions, tokens, keys, connections, portfolios; credentials are destroyed.

    What they did stays: their orders, and the audit log. Refused while they have open orders or a live connection;
    `ibkit user disable` keeps all of it.
    """
    from ibkit.bootstrap.credential_desk import Asker
    from ibkit.bootstrap.edge import machine_clock
    from ibkit.bootstrap.user_removal import open_removal

    settings = context.load_settings(require_method=False)
    with audited("users.remove", name, settings=settings, name=name) as entry:

        async def work() -> tuple[User, Ties]:
            async with open_removal(settings, clock=machine_clock()) as removal:
                user = await removal.keeper.named(name)
                entry.object, entry.details["role"] = user.user_id, user.role
                if force:
                    entry.details["force"] = True
                return user, await removal.remove(user, Asker.here(user.user_id), force=force)

        user, ties = go(work)
        if ties:
            entry.details["forced"] = ties.text
    if json:
        output.emit(_row(user) | {"removed": True, "orders": ties.orders, "connections": ties.connections})
        return
    output.say(
        f"Removed {user.name}, with all that was theirs here; orders and the audit log keep the id {user.user_id}."
    )
    if ties:
        output.warn(f"{user.name} had {ties.text}; what stands at IBKR goes on there: look at `ibkit orders list`.")


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """The users, by name."""
    found = _with_users(lambda desk: desk.keeper.users())
    if json:
        output.emit([_row(user) for user in found])
        return
    rows = [
        (
            user.name,
            user.role,
            "enabled" if user.enabled else "disabled",
            "set" if user.password_hash else "none yet",
            "on" if user.needs_code else "off",
            _when(user.created_at),
        )
        for user in found
    ]
    head = ("User", "Role", "State", "Password", "Second step", "Since")
    output.say(output.table(head, rows) if rows else "No users. `ibkit user add NAME --role owner` adds the first.")


@app.command
def disable(name: str, /, *, json: Json = False) -> None:
    """End the tokens, browser sessions and keys of a user at once; they cannot sign in any more."""
    user = _changed("users.disable", name, lambda desk: desk.keeper.disable(name))
    _tell(user, json=json, text=f"Disabled {user.name}: tokens, sessions and keys are over.")


@app.command
def enable(name: str, /, *, json: Json = False) -> None:
    """Let a disabled user sign in again. Tokens and keys from before stay over."""
    user = _changed("users.enable", name, lambda desk: desk.keeper.enable(name))
    _tell(user, json=json, text=f"Enabled {user.name}. They sign in anew; keys have to be made anew.")


@app.command
def sign_out(name: str, /, *, json: Json = False) -> None:
    """End the tokens and browser sessions of a user, everywhere; keys stay."""
    user = _changed("users.sign_out", name, lambda desk: desk.keeper.sign_out(name))
    _tell(user, json=json, text=f"{user.name} is signed out everywhere.")


@app.command
def password(name: str, /, *, json: Json = False) -> None:
    """Give a user a new password, asked for or read from stdin. It ends their tokens and browser sessions."""
    _with_users(lambda desk: desk.keeper.named(name))  # before somebody types one for nobody
    new = ask_new_password(name)
    user = _changed("users.password", name, lambda desk: desk.keeper.set_password(name, new))
    _tell(user, json=json, text=f"Changed the password of {user.name}; their tokens and sessions are over.")


@app.command
def role(name: str, role: _Role, /, *, json: Json = False) -> None:
    """Give a user another role. It holds for the tokens that they have, too."""
    from ibkit.users import Role

    user = _changed("users.role", name, lambda desk: desk.keeper.set_role(name, Role(role)), new=role)
    _tell(user, json=json, text=f"{user.name} is {user.role} now.")


@app.command
def token(
    name: str,
    /,
    *,
    scope: Annotated[tuple[_Scope, ...], option("Only this; may be repeated [default: all of the role].")] = (),
    account: _Accounts = (),
    hours: Annotated[float, option("How long it is good.")] = 24,
    sign_in: Annotated[bool, flag("Ask for the password (and code): only then with orders:live.")] = False,
    json: Json = False,
) -> None:
    """Print a token (JWT) for `Authorization: Bearer`.

    Without --sign-in nobody proves who they are, so it never has the scope orders:live.
    """
    from ibkit.users import parse_scopes
    from ibkit.users.tokens import LONGEST_LIFE

    scopes = parse_scopes(scope) if scope else None
    accounts = _confined(account)
    life = _span("--hours", hours, timedelta(hours=1), LONGEST_LIFE)
    if "orders:live" in scope and not sign_in:
        raise wrong("--scope", "orders:live needs --sign-in; for a program use `ibkit user key add`")
    secret = ask_password(name) if sign_in else None

    async def work(desk: UserDesk) -> Issued:
        user = await desk.keeper.named(name)
        if secret is None:
            if not user.enabled:
                raise wrong("NAME", f"{user.name} is disabled; `ibkit user enable {user.name}` first")
            return desk.sign_ins.issue_unproven(user, scopes=scopes, accounts=accounts, life=life)
        from ibkit.users import CodeNeeded

        step = await desk.sign_ins.sign_in(name, secret, address=_HERE)
        if isinstance(step, CodeNeeded):
            step = await desk.sign_ins.enter_code(step.challenge, ask_code(), address=_HERE)
        return desk.sign_ins.issue(step, scopes=scopes, accounts=accounts, life=life)

    with audited("users.token", name, name=name, signed_in="yes" if sign_in else "no") as entry:
        issued = _with_users(work)
        entry.object = issued.claims.user_id
        entry.details |= {"scopes": " ".join(sorted(issued.claims.scopes)), "until": _when(issued.claims.expires_at)}
    if json:
        claims = issued.claims
        output.emit(
            {
                "token": issued.token.reveal(),
                "token_id": claims.token_id,
                "expires_at": claims.expires_at,
                "scopes": sorted(claims.scopes),
            }
        )
    else:
        output.say(issued.token.reveal())
        output.warn(f"Good until {_when(issued.claims.expires_at)}, for {', '.join(sorted(issued.claims.scopes))}.")


@app.command
def totp(
    name: str,
    /,
    *,
    off: Annotated[bool, flag("Take the second step away.")] = False,
    json: Json = False,
) -> None:
    """Set up a second step of the sign-in: codes of an authenticator app (TOTP)."""
    if off:
        user = _changed("users.second_step", name, lambda desk: desk.keeper.remove_totp(name), state="off")
        _tell(user, json=json, text=f"{user.name} signs in without a second step now.")
        return
    address = _with_users(lambda desk: desk.keeper.begin_totp(name)).reveal()
    # On stderr: with --json stdout is for the one document at the end.
    output.warn("Give this to the authenticator app (as a QR code, or the part after secret= by hand):")
    output.warn(f"  {address}")
    output.warn("Then enter the code that it shows.")
    code = ask_code()

    async def confirm(desk: UserDesk) -> tuple[Any, ...]:
        from ibkit.errors import AuthError

        try:
            return await desk.keeper.confirm_totp(name, code)
        except AuthError:
            raise wrong("code", "it does not fit; nothing was changed. Check the clocks of phone and machine") from None

    with audited("users.second_step", name, name=name, state="on"):
        codes = [each.reveal() for each in _with_users(confirm)]
    if json:
        output.emit({"name": name, "recovery_codes": codes})
        return
    output.say(f"{name} now signs in with a code. Recovery codes, each good once, shown only now:")
    output.say("\n".join(f"  {each}" for each in codes))


@app.command
def failures(
    *,
    days: Annotated[float, option("How far back, at most 30.")] = 1,
    json: Json = False,
) -> None:
    """Sign-ins, tokens and keys that were refused, newest first."""
    from ibkit.users.attempts import KEPT

    span = _span("--days", days, timedelta(days=1), KEPT)

    async def work(desk: UserDesk) -> tuple[tuple[Attempt, ...], dict[str, str]]:
        found = await desk.store.failures(since=desk.clock.now() - span)
        return tuple(found), {user.user_id: user.name for user in await desk.store.users()}

    found, names = _with_users(work)
    rows = [(each.at, names.get(each.user_id), each.address, each.kind) for each in found]
    if json:
        output.emit([dict(zip(("at", "user", "address", "kind"), row, strict=True)) for row in rows])
        return
    cells = [(_when(row[0]), *row[1:]) for row in rows]
    output.say(output.table(("When", "User", "From", "What"), cells) if cells else "No failures.")


@key_app.command(name="add")
def key_add(
    name: str,
    /,
    *,
    label: Annotated[str, option("What it is for.")],
    scope: Annotated[tuple[_Scope, ...], option("What it may do; may be repeated.")],
    days: Annotated[int, option("How long it is good, at most 366.")] = 90,
    account: _Accounts = (),
    json: Json = False,
) -> None:
    """Make a key for a program of a user's. It is printed once; only its hash is kept."""
    from ibkit.users import parse_scopes
    from ibkit.users.api_keys import LONGEST_KEY_LIFE

    scopes, life = parse_scopes(scope), _span("--days", days, timedelta(days=1), LONGEST_KEY_LIFE)
    accounts = _confined(account)
    with audited("api_keys.add", "none", name=name, label=label, scopes=" ".join(sorted(scopes)), days=days) as entry:
        made = _with_users(
            lambda desk: desk.keeper.add_key(name, label=label, scopes=scopes, life=life, accounts=accounts)
        )
        entry.object = made.record.key_id
    if json:
        output.emit({"key": made.key.reveal()} | _key_row(made.record, name))
    else:
        output.say(made.key.reveal())
        output.warn(f"Good until {_when(made.record.expires_at)}. It is not shown again.")


@key_app.command(name="list")
def key_list(name: str | None = None, /, *, json: Json = False) -> None:
    """The keys of a user, or of all."""
    found = _with_users(lambda desk: desk.keeper.keys(name))
    if json:
        output.emit([_key_row(key, user.name) for key, user in found])
        return
    rows = [
        (
            key.key_id,
            user.name,
            key.label,
            " ".join(sorted(key.scopes)),
            " ".join(sorted(key.accounts)) if key.accounts is not None else "all",
            f"revoked {_when(key.revoked_at)}" if key.revoked_at else _when(key.expires_at),
            _when(key.used_at) if key.used_at else "never",
        )
        for key, user in found
    ]
    head = ("Key", "User", "For", "Scopes", "Accounts", "Until", "Last used")
    output.say(output.table(head, rows) if rows else "No keys.")


@key_app.command(name="revoke")
def key_revoke(key_id: str, /, *, json: Json = False) -> None:
    """End a key at once. KEY_ID: as `ibkit user key list` shows it, not the key itself."""
    if len(key_id) > 20:
        raise wrong("KEY_ID", "give the id of 16 digits; a key does not belong on a command line")
    with audited("api_keys.revoke", key_id):
        _with_users(lambda desk: desk.keeper.revoke_key(key_id))
    if json:
        output.emit({"key_id": key_id, "revoked": True})
    else:
        output.say(f"Revoked {key_id}.")


_HERE = "local"
"""The address of who sits at this machine, in the list of failures."""


def _with_users(work: Callable[[UserDesk], Awaitable[T]]) -> T:
    from ibkit.bootstrap.edge import machine_clock
    from ibkit.bootstrap.users import open_users

    settings = context.load_settings(require_method=False)

    async def run() -> T:
        async with open_users(settings, clock=machine_clock()) as desk:
            return await work(desk)

    return go(run)


def _changed(action: str, name: str, work: Callable[[UserDesk], Awaitable[User]], **details: Any) -> User:
    """A change of that user, which stands in the audit log under their id."""
    with audited(action, name, name=name, **details) as entry:
        user = _with_users(work)
        entry.object = user.user_id
    return user


def _confined(accounts: tuple[str, ...]) -> frozenset[AccountId] | None:
    """To those that were named; None for all of the user's."""
    from ibkit.model import AccountId

    return frozenset(AccountId(each.strip().upper()) for each in accounts) or None


def _span(name: str, amount: float, unit: timedelta, most: timedelta) -> timedelta:
    if not 0 < amount <= most / unit:
        raise wrong(name, f"more than 0 and at most {most / unit:g}")
    return amount * unit


def _tell(user: User, *, json: bool, text: str) -> None:
    if json:
        output.emit(_row(user))
    else:
        output.say(text)


def _tell_link(link: FirstLink, *, json: bool, text: str) -> None:
    """The link is seen this once; its secret stands behind the #, so that no server and no proxy sees it."""
    settings = context.load_settings(require_method=False)
    token = link.token.reveal()
    if json:
        output.emit(_row(link.user) | {"link": token, "expires_at": link.expires_at})
        return
    host = f"[{settings.web.host}]" if ":" in settings.web.host else settings.web.host
    output.say(f"http://{host}:{settings.web.port}/welcome#{token}")
    output.warn(f"{text} The link is good once, until {_when(link.expires_at)}; it is not shown again.")


def _row(user: User) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "name": user.name,
        "role": user.role,
        "enabled": user.enabled,
        "has_password": bool(user.password_hash),
        "second_step": user.needs_code,
        "created_at": user.created_at,
        "password_at": user.password_at,
    }


def _key_row(key: ApiKey, name: str) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "user": name,
        "label": key.label,
        "scopes": sorted(key.scopes),
        "accounts": None if key.accounts is None else sorted(key.accounts),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "used_at": key.used_at,
    }


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
