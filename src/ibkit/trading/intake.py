"""What is asked for, written down before anything else: one intent for a key, whoever asks and however often.

It needs no broker, so a process that only takes orders in can do it; another carries them out (`OrderGateway.resume`).
Source: requirements GWY-03, GWY-06; reliability rules S8.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from ibkit.clock import Clock
from ibkit.errors import KeyReused
from ibkit.model import AccountId, Environment, GroupKind, Key, OrderId, OrderTicket, Username
from ibkit.trading.events import IntentId, Operation, Planned
from ibkit.trading.fingerprint import cancel_terms, differing, fingerprint, group_terms, ticket_terms
from ibkit.trading.groups import check_group
from ibkit.trading.intent import Intent
from ibkit.trading.ports import Journal
from ibkit.trading.ref import check_key, derive_ref
from ibkit.trading.risk import RiskBook, scope_of

__all__ = ["CANCEL_MAX_AGE_S", "Asked", "Intake"]

CANCEL_MAX_AGE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asks, and what a person allowed: everything of a wish but the order itself.

    confirm: question ids allowed for this order. reduces: the intent whose fill this one undoes.
    user, api_key, strategy: whose limits apply besides those of the account; "" is nobody's.
    """

    purpose: str = "order"
    confirm: tuple[str, ...] = ()
    reduces: IntentId | None = None
    user: str = ""
    api_key: str = ""
    strategy: str = ""
    allow_duplicate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """tenant: whose keys these are. risk: says how old an order may be when it is sent (control RC-26).

    user, api_key: who asks where a wish names nobody; "" is nobody's.
    """

    journal: Journal
    clock: Clock
    tenant: str
    environment: Environment
    risk: RiskBook
    user: str = ""
    api_key: str = ""

    def order(
        self,
        username: Username,
        ticket: OrderTicket,
        *,
        key: Key,
        others: tuple[OrderTicket, ...] = (),
        group: GroupKind | None = None,
        asked: Asked,
    ) -> Planned:
        """The wish for an order or a group. Raises ConfigError (E-VALIDATION)."""
        check_group(ticket, others, group)
        terms = ticket_terms(ticket) if group is None else group_terms(ticket, others, group)
        planned = self._planned(username, Operation.PLACE, terms, key=key, account_id=ticket.account_id, asked=asked)
        return dataclasses.replace(planned, ticket=ticket, others=others, group=group)

    def change(self, username: Username, order_id: OrderId, ticket: OrderTicket, *, key: Key, asked: Asked) -> Planned:
        terms = ticket_terms(ticket, order_id=order_id)
        planned = self._planned(username, Operation.MODIFY, terms, key=key, account_id=ticket.account_id, asked=asked)
        return dataclasses.replace(planned, ticket=ticket, target=order_id)

    def cancel(
        self, username: Username, account_id: AccountId, order_id: OrderId, *, key: Key, user: str = ""
    ) -> Planned:
        terms = cancel_terms(account_id, order_id)
        asked = Asked(purpose="cancel", user=user)
        planned = self._planned(username, Operation.CANCEL, terms, key=key, account_id=account_id, asked=asked)
        return dataclasses.replace(planned, target=order_id)

    async def known(self, planned: Planned) -> Intent | None:
        """The stored intent of this key. KeyReused where it asks for something else."""
        known = await self.journal.by_key(tenant=planned.tenant, environment=planned.environment, key=planned.key)
        if known is not None:
            _same(known, planned)
        return known

    async def store(self, planned: Planned) -> tuple[Intent, bool]:
        """The intent of `planned`'s key, on disk when this returns: stored now (True), or the one that was there.

        From here on its age counts. Raises KeyReused, StorageError (nothing was stored).
        """
        now = self.clock.now()
        age_s = CANCEL_MAX_AGE_S
        if planned.operation is not Operation.CANCEL:
            age_s = (await self.risk.limits(scope_of(planned))).max_age_s
        intent, new = await self.journal.plan(
            dataclasses.replace(planned, at=now, expires_at=now + timedelta(seconds=age_s))
        )
        _same(intent, planned)
        return intent, new

    def _planned(
        self,
        username: Username,
        operation: Operation,
        terms: Mapping[str, str],
        *,
        key: Key,
        account_id: AccountId,
        asked: Asked,
    ) -> Planned:
        ref = derive_ref(tenant=self.tenant, environment=self.environment, key=check_key(key))
        now = self.clock.now()
        return Planned(
            at=now,
            intent_id=IntentId(ref),
            operation=operation,
            tenant=self.tenant,
            environment=self.environment,
            username=username,
            key=key,
            ref=ref,
            account_id=account_id,
            ticket=None,
            target=None,
            terms=dict(terms),
            fingerprint=fingerprint(terms),
            expires_at=now,
            purpose=asked.purpose,
            reduces=asked.reduces,
            confirm=asked.confirm,
            user=asked.user or self.user,
            api_key=asked.api_key or self.api_key,
            strategy=asked.strategy,
            allow_duplicate=asked.allow_duplicate,
        )


def _same(known: Intent, planned: Planned) -> None:
    if known.planned.fingerprint == planned.fingerprint:
        return
    fields = differing(known.planned.terms, planned.terms)
    raise KeyReused(
        f"Key {planned.key} was used for a different order: {', '.join(fields)}",
        remedy="Use a new key.",
        details={"fields": list(fields), "intent": known.intent_id},
    )
