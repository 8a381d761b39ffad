"""`ibkit credentials`: what users' connections sign in with, kept by who runs this machine. VLT-07, VLT-08.

Secrets come from a settings file and its key files, never from the command line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.flags import Json, option
from ibkit.cli.running import go

if TYPE_CHECKING:
    from ibkit.bootstrap.credential_desk import Asker, ConnectionCredentials, CredentialDesk, Trial
    from ibkit.settings import Settings
    from ibkit.vault import MaskedCredential

__all__ = ["app"]

app = cyclopts.App(name="credentials", help="What users' connections sign in with: store, test, delete.")

T = TypeVar("T")
_Connection = Annotated[str, option("Which of the user's connections.")]
_DEFAULT = "default"


@app.command(name="list")
def list_(name: str, /, *, json: Json = False) -> None:
    """The credentials of a user, as masks."""
    found = _with_desk(name, lambda desk, who: desk.of_user(who.user_id))
    sets = [each for kept in found for each in (kept.in_use, kept.waiting) if each is not None]
    if json:
        output.emit([_row(each) for each in sets])
        return
    if not sets:
        output.say(f"No credentials of {name}. `ibkit credentials put {name} --from FILE` stores some.")
        return
    head = ("Connection", "State", "Method", "Environment", "Changed", "Used", "Fields")
    rows = [
        (
            each.connection_id,
            each.status.value,
            each.method.value,
            each.environment.value,
            f"{each.changed_at:%Y-%m-%d}",
            f"{each.last_used_at:%Y-%m-%d %H:%M}" if each.last_used_at else "never",
            " ".join(f"{field}={shown or '?'}" for field, shown in each.fields.items() if shown != "****"),
        )
        for each in sets
    ]
    output.say(output.table(head, rows))
    for each in sets:
        if each.last_error:
            output.say(f"\n{each.connection_id} ({each.status.value}): {each.last_error}")


@app.command
def put(
    name: str,
    /,
    *,
    connection: _Connection = _DEFAULT,
    label: Annotated[str, option("What to call them.")] = "",
    file: Annotated[
        Path | None,
        cyclopts.Parameter(
            name="--from", help="Settings file that has them [default: these settings].", show_default=None
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Store credentials as those of a user, inactive until their test. They come from a settings file, as for oneself.

    ibkit credentials put anna --connection paper --from anna.env
    """

    async def work(desk: CredentialDesk, who: Asker) -> ConnectionCredentials:
        from ibkit.bootstrap.vault_logins import fields_of

        settings = desk.settings if file is None else _settings_in(file)
        return await desk.put(
            who,
            connection,
            method=settings.method,
            environment=settings.environment,
            fields=fields_of(settings),
            label=label,
        )

    kept = _with_desk(name, work)
    _tell(kept, json=json)
    if kept.waiting is not None and not json:
        output.say(f"-> `ibkit credentials test {name} --connection {connection}` puts them in use.")


@app.command(name="test")
def sign_in(name: str, /, *, connection: _Connection = _DEFAULT, json: Json = False) -> int:
    """Sign in with what waits, else with what is in use; what passes is in use from then on. Exits with 4 if not."""

    async def work(desk: CredentialDesk, who: Asker) -> tuple[Trial, ConnectionCredentials]:
        trial = await desk.test(who, connection)
        return trial, await desk.of_connection(who.user_id, connection)

    trial, kept = _with_desk(name, work)
    failure = trial.failure
    if json:
        steps = {each: {"success": step.success, "message": step.message} for each, step in trial.steps.items()}
        output.emit(
            {
                "success": failure is None,
                "code": None if failure is None else failure.code,
                "message": "Connection works" if failure is None else failure.message,
                "remedy": None if failure is None else failure.remedy,
                "steps": steps,
                "accounts": trial.accounts,
                "connection": _document(kept),
            }
        )
        return 0 if failure is None else failure.exit_code
    for each, step in trial.steps.items():
        mark = {True: "ok", False: "FAILED", None: "-"}[step.success]
        output.say(f"{each:<10} {mark:<7} {step.message}")
    _tell(kept, json=False)
    if failure is not None:
        raise failure
    return 0


@app.command
def delete(name: str, /, *, connection: _Connection = _DEFAULT, json: Json = False) -> None:
    """Delete all that is stored of a connection of a user; running services drop it within seconds."""
    count = _with_desk(name, lambda desk, who: desk.delete(who, connection))
    if json:
        output.emit({"connection_id": connection, "deleted": count})
    else:
        output.say(f"Deleted the credentials of {name}, {connection} ({count}).")


def _settings_in(file: Path) -> Settings:
    """What the file says, whatever the environment has: it may be another person's login."""
    import os

    from ibkit.settings import load

    return load(env_file=file.absolute(), environ={"HOME": os.environ.get("HOME", "")})


def _with_desk(name: str, work: Callable[[CredentialDesk, Asker], Awaitable[T]]) -> T:
    """For the user of that name. NotFound."""
    settings = context.load_settings(require_method=False)

    async def run() -> T:
        from ibkit.bootstrap.credential_desk import Asker, open_credential_desk
        from ibkit.bootstrap.users import user_called

        who = Asker.here((await user_called(settings, name)).user_id)
        async with open_credential_desk(settings) as desk:
            return await work(desk, who)

    return go(run)


def _tell(kept: ConnectionCredentials, *, json: bool) -> None:
    if json:
        output.emit(_document(kept))
        return
    for each, what in ((kept.in_use, "in use"), (kept.waiting, "waiting")):
        if each is not None:
            reason = f": {each.last_error}" if each.last_error else ""
            output.say(f"{kept.connection_id}: {each.method.value} {each.environment.value}, {what}{reason}")


def _document(kept: ConnectionCredentials) -> dict[str, Any]:
    return {
        "connection_id": kept.connection_id,
        "in_use": None if kept.in_use is None else _row(kept.in_use),
        "waiting": None if kept.waiting is None else _row(kept.waiting),
    }


def _row(each: MaskedCredential) -> dict[str, Any]:
    return {
        "connection_id": each.connection_id,
        "status": each.status,
        "method": each.method,
        "environment": each.environment,
        "label": each.label,
        "created_at": each.created_at,
        "changed_at": each.changed_at,
        "last_used_at": each.last_used_at,
        "last_connected_at": each.last_connected_at,
        "last_error": each.last_error,
        "version": each.version,
        "fields": each.fields,
        "fingerprints": each.fingerprints,
    }
