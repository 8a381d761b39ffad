"""Credentials of users as they keep them: stored, tested at IBKR, put in use, deleted; each act in the audit log.

    put       judged (`credential_material`), sealed, inactive; those in use stay in use
    test      the four steps of a real sign-in, with nothing of an earlier one: passed → in use, failed → the reason
    delete    all sets of a connection

Of the values nothing comes back: masks, fingerprints and times. Requirements VLT-07, VLT-08, VLT-14, MON-09.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import anyio
import anyio.to_thread

from ibkit.bootstrap.auditing import AuditQueue, audit_clock, local_actor
from ibkit.bootstrap.clients import client_of, token_cache_of
from ibkit.bootstrap.credential_material import checked_draft
from ibkit.bootstrap.vault_logins import check_gateway, settings_for
from ibkit.bootstrap.vaults import open_vault
from ibkit.client.opening import Step
from ibkit.clock import Clock
from ibkit.errors import ConfigError, IbkitError, NotFound, TradingError, Unreachable
from ibkit.model import AccountId, AuthMethod, Environment, Secret, environment_of
from ibkit.settings import Settings
from ibkit.store.credentials import SqlCredentials
from ibkit.store.licences import Licence, SqlLicences
from ibkit.store.vault import SqlVault
from ibkit.vault import HERE, Act, Draft, MaskedCredential, OpenCredential, Result, Status
from ibkit.wire.endpoint import Needs

__all__ = ["Asker", "ConnectionCredentials", "CredentialDesk", "Trial", "Verified", "age_of", "open_credential_desk"]

log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 20
"""Of one user: everything has a bound."""
TEST_WITHIN_S = 60.0
_SHORT = len("SHA256:") + 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who does it, as the audit log is to name them. user_id: whose credentials."""

    user_id: str
    actor: str
    address: str = HERE

    @classmethod
    def here(cls, user_id: str) -> Asker:
        """Who works on this machine, for a user."""
        return cls(user_id=user_id, actor=local_actor())


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionCredentials:
    """in_use, waiting: at most one each. The one that waits has not been tested yet, or has failed its test."""

    connection_id: str
    in_use: MaskedCredential | None = None
    waiting: MaskedCredential | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A sign-in that was tried. steps: by name, in their order. failure: why it did not work, None where it did."""

    steps: Mapping[str, Step]
    began: datetime
    failure: IbkitError | None
    accounts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """failure: what its keys and parameters are wrong in, or that they cannot be opened; None where they fit."""

    stored: MaskedCredential
    failure: IbkitError | None


@dataclass(kw_only=True)
class CredentialDesk:
    """tell: takes an act for the audit log, without waiting. kept: waits until what was told is on disk.

    changed: told of the user and connection after other credentials are in use, or none; whoever has signed in with the
    former ones has to let go of them.
    """

    settings: Settings
    vault: SqlVault
    tell: Callable[[Callable[[], Act]], None]
    kept: Callable[[], Awaitable[bool]]
    audit_clock: Clock
    changed: Callable[[str, str], Awaitable[None]] | None = None
    _testing: dict[tuple[str, str], anyio.Lock] = field(default_factory=dict)

    @property
    def credentials(self) -> SqlCredentials:
        return SqlCredentials(self.vault)

    async def licence(self) -> Licence | None:
        """IBKR's approval, as somebody vouched for it."""
        return await SqlLicences(self.vault.database).accepted()

    async def of_user(self, user_id: str) -> tuple[ConnectionCredentials, ...]:
        """By connection."""
        found: dict[str, list[MaskedCredential]] = {}
        for each in await self.credentials.of_user(user_id):
            found.setdefault(each.connection_id, []).append(each)
        return tuple(_paired(name, sets) for name, sets in found.items())

    async def of_connection(self, user_id: str, connection_id: str) -> ConnectionCredentials:
        """Both None where nothing is stored."""
        return _paired(connection_id, await self.credentials.of_connection(user_id, connection_id))

    async def put(
        self,
        who: Asker,
        connection_id: str,
        *,
        method: AuthMethod,
        environment: Environment,
        fields: Mapping[str, Secret[str]],
        label: str = "",
        named: Callable[[str], str] = lambda name: name,
    ) -> ConnectionCredentials:
        """Keep them, inactive; the very same ones again change nothing. named: how the asker calls a field.

        ConfigError, InvalidRequest (`checked_draft`, `check_gateway`, `Draft`) with nothing stored.
        """
        if method.value not in self.settings.general.methods_allowed:
            raise ConfigError(
                f"Invalid request: method: {method.value} is not allowed here",
                code="E-VALIDATION",
                remedy=f"Use one of {', '.join(self.settings.general.methods_allowed)} (IBKR_AUTH_METHODS_ALLOWED).",
                details={"field": "method"},
            )
        draft = await self._draft(who.user_id, connection_id, method, environment, fields, label, named)
        known = await self.of_user(who.user_id)
        before = next((each for each in known if each.connection_id == connection_id), None)
        if before is None and len(known) >= _MOST_CONNECTIONS:
            raise ConfigError(
                f"Invalid request: connection_id: there are {len(known)} connections, no more are kept for a user",
                code="E-VALIDATION",
                remedy="Delete one that is not needed.",
            )
        stored = await self.credentials.put(draft)
        same = before is not None and stored.credential_id in _ids(before)
        self._note(
            who,
            "credentials.put",
            connection_id,
            method=method,
            environment=environment,
            version=stored.version,
            unchanged="yes" if same else "",
            **_key_details(stored),
        )
        return await self.of_connection(who.user_id, connection_id)

    async def _draft(
        self,
        user_id: str,
        connection_id: str,
        method: AuthMethod,
        environment: Environment,
        fields: Mapping[str, Secret[str]],
        label: str,
        named: Callable[[str], str],
    ) -> Draft:
        def judged() -> Draft:
            return checked_draft(
                method,
                fields,
                user_id=user_id,
                connection_id=connection_id,
                environment=environment,
                label=label,
                named=named,
            )

        draft = await anyio.to_thread.run_sync(judged)
        if method is AuthMethod.GATEWAY:
            check_gateway(self.settings, draft.fields["address"].reveal())
        return draft

    async def verify(self, who: Asker, connection_id: str | None = None) -> tuple[Verified, ...]:
        """Each stored set judged anew as when it was given, without the network; None: of every connection.

        NotFound where nothing is stored; StorageError.
        """
        found = []
        for each in await self.credentials.of_user(who.user_id):
            if connection_id not in (None, each.connection_id):
                continue
            failure: IbkitError | None = None
            try:
                opened = await self.credentials.open_for_test(each.credential_id)
                await self._draft(
                    each.user_id,
                    each.connection_id,
                    each.method,
                    each.environment,
                    opened.fields,
                    each.label,
                    lambda name: name,
                )
            except IbkitError as error:
                failure = error
            result = Result.OK if failure is None else Result.FAILED
            self._note(who, "credentials.verify", each.connection_id, result, status=each.status.value)
            found.append(Verified(stored=each, failure=failure))
        if not found:
            raise _not_found(connection_id or "default")
        return tuple(found)

    async def test(self, who: Asker, connection_id: str) -> Trial:
        """Try what waits, else what is in use, at IBKR. Passed: it is in use from now on. Failed: kept with the reason.

        NotFound where nothing is stored.
        """
        await self._to_be_tried(who.user_id, connection_id)
        async with self._testing.setdefault((who.user_id, connection_id), anyio.Lock()):
            tried = await self._to_be_tried(who.user_id, connection_id)
            trial = await self._tried(tried.credential_id)
            await self._settle(who, tried, trial)
        return trial

    async def _to_be_tried(self, user_id: str, connection_id: str) -> MaskedCredential:
        now = await self.of_connection(user_id, connection_id)
        tried = now.waiting or now.in_use
        if tried is None:
            raise _not_found(connection_id)
        return tried

    async def _settle(self, who: Asker, tried: MaskedCredential, trial: Trial) -> None:
        failure, place = trial.failure, tried.connection_id
        told: dict[str, Any] = {"method": tried.method, "environment": tried.environment, "version": tried.version}
        if failure is not None:
            await self.credentials.fail(tried.credential_id, f"{failure.code}: {failure.message}")
            self._note(who, "credentials.test", place, Result.FAILED, **told, code=failure.code)
            return
        self._note(who, "credentials.test", place, **told)
        await self.credentials.activate(tried.credential_id)
        if tried.status is not Status.ACTIVE:
            self._note(who, "credentials.activate", place, **told)
            await self._changed(who.user_id, place)

    async def _tried(self, credential_id: str) -> Trial:
        began = self.vault.clock.now()
        steps: Mapping[str, Step] = {}
        try:
            opened = await self.credentials.open_for_test(credential_id)
            ib = client_of(settings_for(self.settings, opened), upto=None, keep_alive=False, kept_sign_in=False)
        except IbkitError as error:
            return Trial(steps=steps, began=began, failure=error, accounts=())
        began, steps = ib.clock.now(), ib.steps
        late = Unreachable(f"The sign-in did not end within {TEST_WITHIN_S:g} s")
        failure: IbkitError | None = None
        accounts: tuple[str, ...] = ()
        try:
            with anyio.move_on_after(TEST_WITHIN_S) as limit:
                async with ib:
                    await ib.connect(upto=Needs.PRIMED_ACCOUNTS)
                    accounts = tuple(each.account_id for each in await ib.accounts())
                    _check_accounts(opened, accounts, (await ib.brokerage_accounts()).is_paper)
            if limit.cancelled_caught:
                failure = late
        except IbkitError as error:
            failure = error
        return Trial(steps=dict(ib.steps), began=began, failure=failure, accounts=() if failure else accounts)

    async def activate(self, who: Asker, connection_id: str) -> ConnectionCredentials:
        """Put what waits in use, after its test. NotFound; whatever the test failed by, with nothing changed in use."""
        now = await self.of_connection(who.user_id, connection_id)
        if now.waiting is not None:
            trial = await self.test(who, connection_id)
            if trial.failure is not None:
                raise trial.failure
        elif now.in_use is None:
            raise _not_found(connection_id)
        return await self.of_connection(who.user_id, connection_id)

    async def delete(self, who: Asker, connection_id: str) -> int:
        """How many sets there were; the sign-in that is kept of them goes, too. NotFound where there was none."""
        await self._forget_sign_in(who, connection_id)
        count = await self.credentials.delete(user_id=who.user_id, connection_id=connection_id)
        if not count:
            raise _not_found(connection_id)
        self._testing.pop((who.user_id, connection_id), None)
        self._note(who, "credentials.delete", connection_id, sets=count)
        await self._changed(who.user_id, connection_id)
        return count

    async def _forget_sign_in(self, who: Asker, connection_id: str) -> None:
        """A session token would open IBKR's door without what it was made of."""
        try:
            opened = await self.credentials.use(user_id=who.user_id, connection_id=connection_id)
            settings = settings_for(self.settings, opened)
            cache = token_cache_of(settings, settings.credentials())
        except IbkitError as error:  # none is in use, or it can be opened no more: then no sign-in is kept by it
            log.info("no kept sign-in is looked for", extra={"code": error.code})
            return
        if cache is not None:
            await anyio.to_thread.run_sync(cache.discard)

    async def use(self, who: Asker, connection_id: str) -> Settings:
        """The settings that this user's connection signs in with. ConfigError (E-NOT-CONFIGURED), StorageError."""
        opened = await self.credentials.use(user_id=who.user_id, connection_id=connection_id)
        told: dict[str, Any] = {"method": opened.method, "environment": opened.environment, "version": opened.version}
        self._note(who, "credentials.use", connection_id, **told)
        return settings_for(self.settings, opened)

    async def _changed(self, user_id: str, connection_id: str) -> None:
        if self.changed is not None:
            await self.changed(user_id, connection_id)

    def _note(self, who: Asker, action: str, place: str, result: Result = Result.OK, **details: Any) -> None:
        at = self.audit_clock.now()

        def act() -> Act:
            return Act(
                at=at,
                actor=who.actor,
                address=who.address,
                action=action,
                object=f"{who.user_id or 'the owner'}/{place}",
                result=result,
                details=details,
            )

        self.tell(act)


@asynccontextmanager
async def open_credential_desk(settings: Settings) -> AsyncIterator[CredentialDesk]:
    """The desk over the vault of these settings. ConfigError (E-ENC-KEY), StorageError (E-ENC, E-DB)."""
    queue = AuditQueue(settings)
    async with open_vault(settings) as vault:
        try:
            yield CredentialDesk(
                settings=settings, vault=vault, tell=queue.tell, kept=queue.kept, audit_clock=audit_clock()
            )
        finally:
            await queue.close()


def age_of(credential: MaskedCredential, now: datetime) -> timedelta:
    """Since these secrets were given."""
    return max(timedelta(0), now - credential.changed_at)


def _check_accounts(opened: OpenCredential, accounts: tuple[str, ...], is_paper: bool | None) -> None:
    """That the login is of the environment and account that it is kept for: paper keys must not stand under live."""
    wanted = opened.environment
    others = [each for each in accounts if environment_of(AccountId(each)) is not wanted]
    if others or (is_paper is not None and is_paper is not (wanted is Environment.PAPER)):
        found = Environment.LIVE if wanted is Environment.PAPER else Environment.PAPER
        raise TradingError(
            f"These credentials are kept as {wanted.value}, and the login is {found.value}",
            code="E-ACC-ENV",
            remedy=f"Store them with the environment {found.value}, or give those of a {wanted.value} login.",
        )
    if opened.account_id is not None and opened.account_id not in accounts:
        raise NotFound(
            "The account is none of this login",
            code="E-NOT-FOUND",
            remedy="Leave the account out, or name one of the login's own.",
        )


def _paired(connection_id: str, sets: Any) -> ConnectionCredentials:
    in_use = next((each for each in sets if each.status is Status.ACTIVE), None)
    waiting = next((each for each in sets if each.status is not Status.ACTIVE), None)
    return ConnectionCredentials(connection_id=connection_id, in_use=in_use, waiting=waiting)


def _ids(kept: ConnectionCredentials) -> set[str]:
    return {each.credential_id for each in (kept.in_use, kept.waiting) if each is not None}


def _key_details(stored: MaskedCredential) -> dict[str, Any]:
    """By which a reviewer tells which key it was; as much of a fingerprint as the audit log does not take for a key."""
    return {f"{name}_fingerprint": told[:_SHORT] for name, told in stored.fingerprints.items()}


def _not_found(connection_id: str) -> NotFound:
    return NotFound(
        "Credentials not found",
        code="E-NOT-FOUND",
        remedy=f"Store credentials for the connection {connection_id} first.",
    )
