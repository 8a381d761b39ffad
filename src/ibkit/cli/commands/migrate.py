"""`ibkit migrate`: from one way of running ibkit to another. Requirement VLT-13."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, flag, option
from ibkit.cli.running import go

if TYPE_CHECKING:
    from ibkit.bootstrap.credential_desk import Asker, CredentialDesk
    from ibkit.bootstrap.multi_user import Moved
    from ibkit.settings import Settings
    from ibkit.users import User

__all__ = ["app"]

app = cyclopts.App(name="migrate", help="From one way of running ibkit to another.")


@app.command
def multi_user(
    *,
    owner: Annotated[str | None, option("Whose they become [default: the only owner].")] = None,
    undo: Annotated[bool, flag("Take it back: only what was moved.")] = False,
    json: Json = False,
) -> None:
    """Make the login of the settings, and the orders placed so far, those of one user. It may be run again.

    Nothing is taken out of the settings: ENABLE_MULTI_USER says which of the two holds.
    """
    settings = context.load_settings(require_method=not undo)
    user = go(lambda: _owner(settings, owner))
    action = "migrate.undo_multi_user" if undo else "migrate.multi_user"
    with audited(action, user.name, settings=settings) as entry:
        moved = _with_desk(settings, user, _undone if undo else _moved)
        entry.details |= {"copied": "yes" if moved.copied else "", "attached": "yes" if moved.attached else ""}
    if json:
        output.emit(
            {"owner": user.name, "copied": moved.copied, "attached": moved.attached, "removable": moved.removable}
        )
        return
    _tell(user, moved, undo=undo)


async def _moved(desk: CredentialDesk, who: Asker) -> Moved:
    from ibkit.bootstrap.multi_user import to_several_users

    return await to_several_users(desk.settings, desk, who)


async def _undone(desk: CredentialDesk, who: Asker) -> Moved:
    from ibkit.bootstrap.multi_user import to_one_user

    return await to_one_user(desk, who)


def _with_desk(settings: Settings, user: User, work: Callable[[CredentialDesk, Asker], Awaitable[Moved]]) -> Moved:
    from ibkit.bootstrap.credential_desk import Asker, open_credential_desk

    async def run() -> Moved:
        async with open_credential_desk(settings) as desk:
            return await work(desk, Asker.here(user.user_id))

    return go(run)


async def _owner(settings: Settings, name: str | None) -> User:
    from ibkit.bootstrap.users import open_users
    from ibkit.clock import SystemClock
    from ibkit.users import Role

    async with open_users(settings, clock=SystemClock()) as users:
        if name is not None:
            return await users.keeper.named(name)
        owners = [user for user in await users.keeper.users() if user.role is Role.OWNER and user.enabled]
    if len(owners) != 1:
        there = ", ".join(user.name for user in owners) or "none yet; `ibkit user add NAME --role owner` adds one"
        raise wrong("--owner", f"name one of the owners: {there}")
    return owners[0]


def _tell(user: User, moved: Moved, *, undo: bool) -> None:
    if undo:
        output.say(f"Deleted the copy of the credentials of {user.name}." if moved.copied else "No copy is left.")
        output.say(f"The earlier orders are {user.name}'s no more." if moved.attached else "No orders were attached.")
        output.say("-> Set ENABLE_MULTI_USER=false, so that the settings' login holds again.")
        return
    kept = "Copied the settings' credentials into the vault" if moved.copied else "Credentials are in the vault already"
    output.say(f"{kept}: {user.name}, connection default.")
    orders = "The orders placed so far are theirs now" if moved.attached else "The earlier orders are theirs already"
    output.say(f"{orders}; nobody else sees them.")
    if moved.connection.in_use is None:
        output.say(f"-> `ibkit credentials test {user.name}` signs in with them and puts them in use.")
    output.say("-> `ibkit admin licence accept --reference TEXT`, then ENABLE_MULTI_USER=true.")
    if moved.removable:
        output.say(f"-> When it works, remove from the settings: {', '.join(moved.removable)}")
