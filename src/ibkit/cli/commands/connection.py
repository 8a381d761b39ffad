"""`ibkit connection`: the gateway's login tested; the connections of users: list, create, choose, delete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, option
from ibkit.cli.running import go
from ibkit.errors import IbkitError

if TYPE_CHECKING:
    from ibkit.bootstrap.connection_desk import ConnectionDesk
    from ibkit.bootstrap.credential_desk import Asker
    from ibkit.settings import Settings
    from ibkit.store.connection_rows import ConnectionRow

__all__ = ["app"]

app = cyclopts.App(name="connection", help="Test the gateway's login; the connections of users.")

T = TypeVar("T")


@app.command(name="test")
def check(
    *,
    username: Annotated[str | None, option("The IBKR user name that should be logged in.")] = None,
    json: Json = False,
) -> None:
    """Whether the gateway runs and somebody is logged in. No password is asked for: a browser does the login."""
    from ibkit.bootstrap import run
    from ibkit.bootstrap.probing import probe

    settings = context.load_settings({"IBKR_AUTH_METHOD": "gateway"})
    found = run(lambda: probe(settings, username))
    if not found.success:
        raise IbkitError(found.error, code=found.code, remedy=found.remedy)
    if json:
        output.emit(found)
    else:
        who = f" as {found.username}" if found.username else ""
        output.say(f"The gateway at {settings.gateway_address.base} is running and logged in{who}.")


@app.command(name="list")
def list_(name: str | None = None, /, *, json: Json = False) -> None:
    """The connections of a user, or of all, as whoever keeps them left them; with one user that of the settings."""
    settings = context.load_settings(require_method=False)
    rows, names = go(lambda: _found(settings, name))
    if json:
        output.emit([_document(row, names.get(row.user_id, "")) for row in rows])
        return
    if not rows:
        output.say("There is no connection. `ibkit connection create` makes one, `ibkit credentials put` fills it.")
        return
    head = ("User", "Connection", "Default", "State", "Checked (UTC)", "Method", "Environment", "Accounts", "Trouble")
    output.say(output.table(head, [_line(row, names.get(row.user_id, "")) for row in rows]))


async def _found(settings: Settings, name: str | None) -> tuple[tuple[ConnectionRow, ...], dict[str, str]]:
    """The rows, and the users' names by id."""
    from ibkit.bootstrap.connection_desk import open_connection_desk
    from ibkit.bootstrap.session_book import open_connection_rows
    from ibkit.bootstrap.users import user_called, users_now

    if not settings.general.multi_user:
        if name is not None:
            from ibkit.bootstrap.connection_desk import needs_users

            raise needs_users()
        async with open_connection_rows(settings) as rows:
            return await rows.of_user(""), {}
    users = await users_now(settings) if name is None else (await user_called(settings, name),)
    async with open_connection_desk(settings) as desk:
        found = [row for user in users for row in await desk.of_user(user.user_id)]
    return tuple(found), {user.user_id: user.name for user in users}


@app.command
def create(
    name: str,
    connection: str,
    /,
    *,
    method: Annotated[Literal["gateway", "oauth1a", "oauth2"], option("How it signs in.")],
    env: Annotated[Literal["paper", "live"], option("Whose money.")] = "paper",
    label: Annotated[str, option("What to call it.")] = "",
    address: Annotated[str, option("Of a gateway.")] = "",
    username: Annotated[str, option("Who logs in to that gateway.")] = "",
    json: Json = False,
) -> None:
    """Make a connection of a user, for credentials to follow. A gateway holds one login: none of two user names.

    ibkit connection create anna second --method gateway --address https://localhost:5001 --username annapaper
    """
    from ibkit.model import AuthMethod, Environment

    async def work(desk: ConnectionDesk, who: Asker) -> ConnectionRow:
        return await desk.create(
            who.user_id,
            connection,
            method=AuthMethod(method),
            environment=Environment(env),
            label=label,
            address=address,
            username=username,
        )

    row = _act("connections.create", name, connection, work, method=method)
    if json:
        output.emit(_document(row, name))
    else:
        default = ", their default" if row.is_default else ""
        output.say(f"Made {connection} of {name} ({row.method}, {row.environment}{default}).")
        output.say(f"-> `ibkit credentials put {name} --connection {connection} --from FILE` gives it credentials.")


@app.command(name="default")
def choose(name: str, connection: str, /, *, json: Json = False) -> None:
    """Make a connection of a user the one that is meant where none is named."""

    async def work(desk: ConnectionDesk, who: Asker) -> ConnectionRow:
        await desk.rows.set_default(who.user_id, connection)
        return (await desk.of_user(who.user_id))[0]

    row = _act("connections.set_default", name, connection, work)
    if json:
        output.emit(_document(row, name))
    else:
        output.say(f"{connection} is the default of {name} now.")


@app.command
def delete(name: str, connection: str, /, *, json: Json = False) -> None:
    """Delete a connection of a user with its history and credentials; a running service logs it out within seconds."""
    _act("connections.delete", name, connection, lambda desk, who: desk.delete(who, connection))
    if json:
        output.emit({"user": name, "connection_id": connection, "deleted": True})
    else:
        output.say(f"Deleted {connection} of {name}, with its history and its credentials.")


def _act(
    action: str,
    name: str,
    connection: str,
    work: Callable[[ConnectionDesk, Asker], Awaitable[T]],
    **details: Any,
) -> T:
    """For the user of that name, with its entry in the audit log. NotFound, also with ENABLE_MULTI_USER=false."""
    settings = context.load_settings(require_method=False)

    with audited(action, f"{name}/{connection}", settings=settings, **details) as entry:

        async def run() -> T:
            from ibkit.bootstrap.connection_desk import open_connection_desk
            from ibkit.bootstrap.credential_desk import Asker
            from ibkit.bootstrap.users import user_called

            async with open_connection_desk(settings) as desk:
                who = Asker.here((await user_called(settings, name)).user_id)
                entry.object = f"{who.user_id}/{connection}"
                return await work(desk, who)

        return go(run)


def _line(row: ConnectionRow, name: str) -> tuple[object, ...]:
    from ibkit.trading.connection import LABELS

    return (
        name or "-",
        row.connection_id,
        "yes" if row.is_default else "",
        LABELS[row.state],
        f"{row.checked_at:%Y-%m-%d %H:%M:%S}" if row.checked_at else "never",
        f"{row.method} {row.address}".strip(),
        row.environment,
        " ".join(row.accounts) or "-",
        row.error_code,
    )


def _document(row: ConnectionRow, name: str) -> dict[str, Any]:
    return {
        "user": name,
        "connection_id": row.connection_id,
        "label": row.label,
        "is_default": row.is_default,
        "method": row.method,
        "environment": row.environment,
        "address": row.address,
        "username": row.username,
        "state": row.state.value,
        "since": row.since,
        "wanted": row.wanted,
        "checked_at": row.checked_at,
        "last_success": row.succeeded_at,
        "last_error": None
        if not row.error_code
        else {"code": row.error_code, "message": row.error_message, "remedy": row.error_remedy},
        "accounts": row.accounts,
    }
