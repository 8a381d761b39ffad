"""A trading desk for a command: books first (they need no network), then the sign-in, then the locks on live money."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from ibkit.bootstrap.live_locks import refuse_before_connecting
from ibkit.cli import context, output
from ibkit.cli.flags import ByUser
from ibkit.cli.live import confirm_live
from ibkit.cli.running import go
from ibkit.errors import IbkitError
from ibkit.model import Environment, Key
from ibkit.settings import Settings
from ibkit.vault import Result

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk
    from ibkit.trading import Observer, Step

__all__ = ["at_desk", "enter_desk", "key_or_new", "look_after_earlier", "watch"]


def at_desk(
    work: Callable[[Desk], Awaitable[int]],
    *,
    account: str | None,
    live: bool,
    yes_live: str | None,
    compete: bool,
    json: bool,
    by: ByUser = None,
) -> int:
    """`work` at the desk of the settings' account or a user's: the frame of every command that changes something."""
    settings = context.load_settings({"IBKR_ACCOUNT_ID": account}, by=by)
    refuse_before_connecting(settings, live=live)

    async def run() -> int:
        async with AsyncExitStack() as stack:
            desk = await enter_desk(stack, settings, yes_live=yes_live, compete=compete, json=json)
            return await work(desk)

    return go(run)


async def enter_desk(
    stack: AsyncExitStack,
    settings: Settings,
    *,
    yes_live: str | None,
    compete: bool,
    json: bool,
    no_db: bool = False,
    changes: bool = True,
) -> Desk:
    """changes: False where nothing will be sent that changes anything, so that live money needs no confirmation."""
    from ibkit.bootstrap.clients import client_of
    from ibkit.bootstrap.desks import desk_of, open_books
    from ibkit.cli.causes import causes

    try:
        client = client_of(settings, compete=compete or None)
        books = await stack.enter_async_context(open_books(settings, no_db=no_db, clock=client.clock))
        await stack.enter_async_context(client)
    except IbkitError as error:
        if error.code != "E-DB":
            error.details["causes"] = await causes(settings, error)
        raise
    if books.audit is None and changes:
        output.warn("note: --no-db: what is done here is not in the audit log")
    confirmed = settings.environment is Environment.LIVE and changes
    if confirmed:
        account_id = await client.selected_account(settings.account_id)
        validated = await books.paper_validated()
        try:
            confirm_live(account_id, yes_live=yes_live, validated=validated, json=json)
        except IbkitError as error:
            if books.audit is not None:
                books.audit.note("live.confirm", account_id, result=Result.REFUSED, reason=error.message)
            raise
    from ibkit.cli.person import asker_of

    user_id, _ = settings.of_user or ("", "")
    if books.audit is not None and user_id:
        books.audit.act_here()
    return await desk_of(
        settings,
        client,
        books,
        live_confirmed=confirmed,
        asker=asker_of(json=json),
        observe=watch(),
        user_id=user_id,
    )


async def look_after_earlier(desk: Desk) -> None:
    """Settle what an earlier run left, and say which sold options stand without a stop (TRD-14)."""
    # An account of which nothing is open is compared right before its first order, while other things are looked up.
    for intent in await desk.gateway.recover():
        output.warn(f"note: an order of an earlier run is now {intent.state.value}: {intent.label}")
    for alert in await desk.guard().check():
        output.warn(alert.message)


def key_or_new(given: str | None, desk: Desk | None = None) -> Key:
    """desk: whose orders it is for: at a user's connection the key is that user's own, as it is over HTTP."""
    from ibkit.bootstrap import edges
    from ibkit.trading import check_key, make_key
    from ibkit.trading.ref import key_of_user

    key = check_key(given) if given is not None else make_key(edges().random)
    return key_of_user(desk.user_id, key) if desk is not None and desk.user_id else key


def watch() -> Observer:
    """Only what a person should know while it happens; the rest is in the result."""
    from ibkit.trading import StepKind

    loud = {StepKind.QUESTION, StepKind.RECONCILING, StepKind.UNKNOWN, StepKind.BUY_BACK, StepKind.RECOVERY}

    def tell(step: Step) -> None:
        if step.kind in loud or step.text.startswith("interrupted"):
            output.warn(f"{step.at:%H:%M:%S} {step.kind.value}: {output.one_line(step.text)}")

    return tell
