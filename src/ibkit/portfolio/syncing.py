"""One sync of one account: claimed, fetched whole, written at once; or only its status changes. SYN-06, SYN-15."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import anyio

from ibkit.clock import Clock
from ibkit.errors import Effect, IbkitError, SessionUnavailable, StorageError, UnexpectedAnswer
from ibkit.model import AccountId
from ibkit.portfolio.book import Link, SyncError
from ibkit.portfolio.ports import Books, Claim, Claims, Source, SyncOutcome

__all__ = ["FETCH_WITHIN_S", "Syncer", "check_user"]

log = logging.getLogger(__name__)

FETCH_WITHIN_S: Final = 300.0
"""For all of the pages of one account."""
PROLONG_EVERY_S: Final = 10.0
_OWN: Final = frozenset({"E-SYNC-FAILED", "E-SYNC-BUSY", "E-NOT-CONNECTED", "E-SES-USER"})


async def _untold(*_: object) -> None:
    """Nobody asked to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Syncer:
    """with_cash: whether cash becomes holdings (SYNC_CASH).

    failed: told of each failure, and how many in a row. worked: of each good sync, with the link as it was before.
    """

    books: Books
    claims: Claims
    clock: Clock
    with_cash: bool = True
    failed: Callable[[Claim, SyncError, int], Awaitable[None]] = _untold
    worked: Callable[[Claim], Awaitable[None]] = _untold

    async def sync(self, portfolio_id: str, account_name: str, source_of: Callable[[Link], Source]) -> SyncOutcome:
        """What changed.

        source_of: the login of a link; an error of it is one of the sync.

        NotFound; TradingError (E-NOT-CONNECTED, E-SYNC-BUSY). E-SES-USER and the sign-in's own errors as they are; any
        other is UnexpectedAnswer (E-SYNC-FAILED) with the reason. Of all but the first two the account tells the error.
        """
        return await self._under(await self.claims.claim(portfolio_id, account_name), source_of)

    async def sync_due(
        self, account_key: str, since: datetime, source_of: Callable[[Link], Source]
    ) -> SyncOutcome | None:
        """The same by the clock; None where it is not to be synced, or was since `since`."""
        claim = await self.claims.claim_due(account_key, since)
        return None if claim is None else await self._under(claim, source_of)

    async def _under(self, claim: Claim, source_of: Callable[[Link], Source]) -> SyncOutcome:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._prolong_for_ever, claim)
                found = await self._carried_out(claim, source_of)
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self.claims.let_go(claim)
        if isinstance(found, IbkitError):
            raise found
        await self.worked(claim)
        return found

    async def _prolong_for_ever(self, claim: Claim) -> None:
        while True:
            await self.clock.sleep(PROLONG_EVERY_S)
            try:
                await self.claims.prolong(claim)
            except StorageError as error:  # the claim ends by itself, and whoever writes under it finds it out
                log.warning("the claim of a sync could not be prolonged", extra={"code": error.code})

    async def _carried_out(self, claim: Claim, source_of: Callable[[Link], Source]) -> SyncOutcome | IbkitError:
        """What it changed, or its error, which the account tells by then."""
        try:
            with anyio.fail_after(FETCH_WITHIN_S):
                source = source_of(claim.link)
                await check_user(source, claim.link)
                picture = await source.picture(AccountId(claim.link.account_id))
            return await self.books.synced(claim, picture, with_cash=self.with_cash)
        except IbkitError as error:
            told = as_sync_error(error)
            told.__cause__ = error if told is not error else error.__cause__
        except TimeoutError as error:
            told = _failed(f"not all of the account was told within {FETCH_WITHIN_S:g} s")
            told.__cause__ = error
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._note(claim, _failed("it was stopped before its end"))
            raise
        await self._note(claim, told)
        return told

    async def _note(self, claim: Claim, error: IbkitError) -> None:
        if error.code == "E-SYNC-BUSY":  # the claim went to another sync, whose status it is now
            return
        told = SyncError(code=error.code, message=error.message, remedy=error.remedy or "")
        try:
            in_a_row = await self.books.sync_failed(claim, told, at=self.clock.now())
        except IbkitError as worse:  # the reason itself is what has to be told
            log.warning("the failure of a sync could not be written down", extra={"code": worse.code})
            return
        await self.failed(claim, told, in_a_row)


def _failed(why: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(f"Sync failed: {why}", code="E-SYNC-FAILED", effect=Effect.NONE)


async def check_user(source: Source, link: Link) -> None:
    """SessionUnavailable (E-SES-USER) where the login is another user's than the link wants. SYN-05."""
    if not link.username:
        return
    there = await source.logged_in_as()
    if there and there.lower() != link.username.lower():
        raise SessionUnavailable(
            f"Gateway is logged in as {there}, not as {link.username}",
            code="E-SES-USER",
            details={"wanted": link.username, "found": there},
        )


def as_sync_error(error: IbkitError) -> IbkitError:
    """As it is where it says what to do (sign-in, gateway, user); else E-SYNC-FAILED with its reason and remedy."""
    if error.code in _OWN or error.code.startswith(("E-GW-", "E-SES-", "E-AUTH-", "E-ACC-")):
        return error
    return UnexpectedAnswer(
        f"Sync failed: {error.message}",
        code="E-SYNC-FAILED",
        remedy=f"Holdings were left unchanged. {error.remedy or ''}".strip(),
        effect=Effect.NONE,
        details={"cause": error.code},
    )
