"""Option sales of a user: each made at most once for its key, in a task that outlives the request.

    key free   → rights, the locks on live money, and from there `ibkit sell-option`'s own way: plan, legs, look back
    key known  → compared with what was asked; running: waited for; complete: told; else it goes on where it was

What a process knows of a sale ends with it; the orders and trades do not, so an earlier one is told from those, and a
repeated key goes on from them and never sells twice. Source: requirements OPT-01 to OPT-08, GWY-03, TRD-13 to TRD-16.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from ibkit.bootstrap.connections import Connection
from ibkit.bootstrap.desks import Desk
from ibkit.bootstrap.live_locks import check_named, check_validated, refuse_before_connecting
from ibkit.bootstrap.sales import Plan, look_back, plan_of
from ibkit.clock import Clock
from ibkit.errors import ConfigError, IbkitError, InFlight, KeyReused, NotFound
from ibkit.model import Environment, Key, Right
from ibkit.service.brokers import Capability, Login, broker_of
from ibkit.service.carrying import Carrying, Run
from ibkit.service.logins import Logins, full_desk
from ibkit.service.orders import ANSWER_WITHIN_S, RETRY_AFTER_S, TENANT, Answer
from ibkit.service.people import may_order, of_theirs
from ibkit.service.sale_answer import (
    SaleAnswer,
    SaleData,
    SaleOutcome,
    SalePreviewAnswer,
    in_fields,
    legs_of,
    preview_document,
    recorded_leg,
)
from ibkit.service.sale_wish import SaleWish
from ibkit.trading.intent import Intent
from ibkit.trading.ref import key_of_user, own_key
from ibkit.trading.selling.legs import Sale, leg_keys, sell_legs
from ibkit.trading.selling.sale import trade_id_of
from ibkit.users.principal import Principal
from ibkit.vault import Result

__all__ = ["Sales", "unlock"]

_MOST_HELD = 1_000
_BOTH = (Right.PUT, Right.CALL)


@dataclass(slots=True, kw_only=True)
class _Held:
    """One sale as this process knows it. begun: an earlier process was at it. plan: None until it is made."""

    key: Key
    wish: SaleWish
    broker: str
    desk: Desk
    began_at: datetime
    sale: Sale = field(default_factory=Sale)
    plan: Plan | None = None
    begun: bool = False
    run: Run[Sale] | None = None
    ended_at: datetime | None = None

    @property
    def running(self) -> bool:
        return self.run is not None and not self.run.done.is_set()

    def leave_out_the_rest(self, error: Exception) -> None:
        """What broke off in the middle has not sold the sides that nothing is known of."""
        done = {leg.right for leg, _ in self.sale.results} | {leg.right for leg in self.sale.not_started}
        self.sale.not_started += [leg for leg in (self.plan.legs if self.plan else ()) if leg.right not in done]
        self.sale.notes.append(error.message if isinstance(error, IbkitError) else "ibkit broke off: see its log")

    def check_same(self, wish: SaleWish) -> None:
        """KeyReused where this is not the sale that is wished for; one that came to nothing leaves its key free."""
        if not self.running and self.sale.outcome == "failed":
            return
        fields = wish.differs_from(self.wish)
        if fields:
            raise KeyReused(
                f"Idempotency-Key was used for a different order: {', '.join(fields)}",
                remedy="Use a new key for a new sale.",
                details={"fields": list(fields), "key": own_key(self.key)},
            )

    @property
    def error(self) -> IbkitError | None:
        """What kept it from beginning."""
        return None if self.run is None or self.sale.results else self.run.error


class Sales:
    """clock: of people, for the age of a sign-in."""

    def __init__(self, logins: Logins, carrying: Carrying, clock: Clock) -> None:
        self._logins = logins
        self._carrying = carrying
        self._clock = clock
        self._held: OrderedDict[Key, _Held] = OrderedDict()

    async def preview(self, who: Principal, wish: SaleWish, key: Key) -> Answer:
        """What it would be; nothing is stored or sent. key: names nothing.

        A side that cannot be sold says why; NotFound, NotPermitted where no strikes can be chosen.
        """
        _, desk = await self._desk(who, wish, Capability.PREVIEW)
        try:
            plan, _ = await plan_of(wish.ask(), desk, key=key, dry_run=True)
        except IbkitError as error:
            error.remedy = in_fields(error.remedy)
            raise
        sale = await sell_legs(desk.seller(), plan.legs, plan.keys, **plan.terms(dry_run=True))
        legs = [preview_document(leg, result) for leg, result in sale.results]
        return Answer(
            200,
            SalePreviewAnswer(
                allowed=all(leg.allowed for leg in legs) and not sale.not_started,
                account_id=desk.account_id,
                environment=desk.settings.environment.value,
                symbol=plan.symbol,
                expiry=plan.expiry,
                quantity=Decimal(plan.ask.quantity),
                exit_at=plan.ask.exit_at,
                credit=_total([leg.credit for leg in legs]),
                commission=_total([leg.commission for leg in legs]),
                legs=legs,
            ),
        )

    async def sell(self, who: Principal, wish: SaleWish, key: Key) -> Answer:
        """201 once it is over, 202 where that takes longer than 5 s, 200 for a repeated key.

        Nothing sold is the error of the first side that failed. KeyReused (E-IDEM-CONFLICT) for another sale's key,
        InFlight (E-IDEM-BUSY) for a twin of one that takes long.
        """
        known = self._held.get(key)
        if known is not None:
            known.check_same(wish)
            may_order(who, known.desk.settings.environment, now=self._clock.now(), lessens=True)
            if known.running or known.sale.complete:
                return await self._repeated(known)
        broker, desk = await self._desk(who, wish)
        await unlock(who, wish, desk)
        # Nothing is awaited from here on: of twins one begins.
        present = self._held.get(key)
        if present is not None and present is not known:
            present.check_same(wish)
            return await self._repeated(present)
        return await self._first(self._begin(key, wish, broker, desk))

    async def show(self, who: Principal, text: str) -> Answer:
        """The sale of that key. NotFound, the same where it is another's."""
        try:
            key = key_of_user(who.user_id, Key(text))
        except ConfigError:
            raise _unknown() from None
        held = self._held.get(key)
        data = await self._recorded(who, key) if held is None else _data(held)
        if data is None or (who.accounts is not None and data.account_id not in who.accounts):
            raise _unknown()
        return Answer(200, SaleAnswer(data=data, cached=True))

    async def known(self, who: Principal, key: Key) -> object | None:
        """What there is of the sale of that key, as its user wrote it or not; None for nothing."""
        return self._held.get(key) or await self._recorded(who, key)

    # -- one sale -------------------------------------------------------------------------------------------------

    def _begin(self, key: Key, wish: SaleWish, broker: str, desk: Desk) -> _Held:
        held = _Held(key=key, wish=wish, broker=broker, desk=desk, began_at=desk.clock.now())
        self._held[key] = held
        self._held.move_to_end(key)
        for old in [each for each, other in self._held.items() if not other.running and other is not held]:
            if len(self._held) <= _MOST_HELD:
                break
            del self._held[old]  # the records have it

        async def work() -> Sale:
            try:
                held.plan, held.begun = await plan_of(wish.ask(), desk, key=key)
                terms = held.plan.terms(dry_run=False)
                await sell_legs(desk.seller(), held.plan.legs, held.plan.keys, into=held.sale, **terms)
                if any(result.sold or result.critical for _, result in held.sale.results):
                    await look_back(desk, held.sale, held.plan.symbol)
            except Exception as error:
                held.leave_out_the_rest(error)
                raise
            finally:
                held.ended_at = desk.clock.now()
            return held.sale

        held.run = self._carrying.begin(f"sale {key}", work)
        return held

    async def _first(self, held: _Held) -> Answer:
        assert held.run is not None, "it was begun"
        if not await held.run.wait(ANSWER_WITHIN_S):
            headers = {**_at(held), "Retry-After": str(RETRY_AFTER_S)}
            return Answer(202, SaleAnswer(data=_data(held), cached=False), headers)
        return _told(held, status=200 if held.begun else 201, cached=False)

    async def _repeated(self, held: _Held) -> Answer:
        """A twin sends nothing: it is told what the first one came to."""
        if held.run is not None and not await held.run.wait(ANSWER_WITHIN_S):
            raise InFlight(
                "The sale with this Idempotency-Key is in progress",
                remedy=f"Read GET {_at(held)['Location']}, or repeat with the same key after Retry-After.",
                details={"key": own_key(held.key), "retry_after": RETRY_AFTER_S},
            )
        return _told(held, status=200, cached=True)

    # -- who and where --------------------------------------------------------------------------------------------

    async def _desk(self, who: Principal, wish: SaleWish, *needs: Capability) -> tuple[str, Desk]:
        """The broker's name, and a desk whose orders are that user's."""
        broker = wish.broker or self._logins.brokers.default
        login = await self._logins.of(who, broker, wish.connection_id, Capability.OPTIONS, *needs)
        may_order(who, login.environment, now=self._clock.now())
        desk = await full_desk(login, of_theirs(who, wish.account_id))
        gateway = desk.gateway.acting_for(who.user_id, api_key=who.api_key_id)
        return broker, dataclasses.replace(desk, gateway=gateway)

    # -- from the records -----------------------------------------------------------------------------------------

    async def _recorded(self, who: Principal, key: Key) -> SaleData | None:
        """What journal and trades tell of a sale that this process did not make."""
        for name, login in await self._logins.visible(who):
            if not isinstance(login, Connection):
                continue
            entries = {
                right: entry
                for right, own in zip(_BOTH, leg_keys(key, _BOTH), strict=True)
                if (entry := await _entry(login, own)) is not None
            }
            if entries:
                return await _from_records(name, login, key, entries)
        return None


async def unlock(who: Principal, wish: SaleWish, desk: Desk) -> None:
    """OPT-08: live money is asked for by name, on an installation that has sold and closed on paper. E-LIVE."""
    refuse_before_connecting(desk.settings, live=wish.live, flag="live")
    if desk.settings.environment is not Environment.LIVE:
        return
    audit = desk.books.audit
    try:
        check_validated(await desk.books.paper_validated())
        check_named(desk.account_id, wish.confirm_account or "")
    except IbkitError as error:
        if audit is not None:
            audit.note("live.confirm", desk.account_id, actor=who.user_id, result=Result.REFUSED, reason=error.message)
        raise
    if audit is not None:
        audit.note("live.confirm", desk.account_id, actor=who.user_id)


async def _entry(login: Login, key: Key) -> Intent | None:
    found = await login.journal.by_key(tenant=TENANT, environment=login.environment, key=key)
    return found if found is not None and found.planned.purpose == "entry" else None


async def _from_records(name: str, login: Connection, key: Key, entries: dict[Right, Intent]) -> SaleData:
    legs = [
        recorded_leg(right, entry, await login.books.trades.get(trade_id_of(entry.ref)))
        for right, entry in entries.items()
    ]
    first = next(iter(entries.values()))
    contract = first.ticket.contract
    expiry = contract.expiry or next((leg.contract.expiry for leg in contract.legs), None)
    words = {leg.outcome for leg in legs}
    over = "unknown" not in words
    good = sum(leg.outcome in ("sold_and_protected", "closed") for leg in legs)
    outcome: SaleOutcome = "partly" if good else "failed"
    if "unprotected" in words:
        outcome = "critical"
    elif good == len(legs):
        outcome = "completed"
    return SaleData(
        key=own_key(key),
        state="over" if over else "interrupted",
        outcome=outcome if over else None,
        message="from the records of an earlier process",
        broker=broker_of(name),
        account_id=first.planned.account_id,
        environment=first.planned.environment.value,
        simulated=login.settings.mock,
        symbol=contract.symbol,
        expiry=expiry,
        quantity=first.ticket.quantity,
        legs=legs,
        notes=["sides that were not begun are not in the records"],
        created_at=first.planned.at,
        ended_at=max(entry.updated_at for entry in entries.values()) if over else None,
    )


def _data(held: _Held) -> SaleData:
    plan, over = held.plan, not held.running
    outcome = held.sale.outcome if over else None
    return SaleData(
        key=own_key(held.key),
        state="over" if over else "running",
        outcome=outcome,
        message=_message(held),
        broker=held.broker,
        account_id=held.desk.account_id,
        environment=held.desk.settings.environment.value,
        simulated=held.desk.settings.mock,
        symbol=held.wish.ask().symbol,
        expiry=None if plan is None else plan.expiry,
        quantity=Decimal(held.wish.quantity),
        legs=[] if plan is None else legs_of(held.sale, plan.legs, over=over),
        notes=list(held.sale.notes),
        created_at=held.began_at,
        ended_at=held.ended_at,
    )


def _message(held: _Held) -> str:
    if held.running:
        return "the sale is under way"
    if held.error is not None:
        return f"nothing was sold: {held.error.message}"
    sale = held.sale
    of = len(sale.results) + len(sale.not_started)
    match sale.outcome:
        case "completed":
            return f"{sale.good} of {of} sides sold, each with a working stop or closed again"
        case "critical":
            return next(result.message for _, result in sale.results if result.critical)
        case "partly":
            return f"{sale.good} of {of} sides sold and protected"
        case _:
            return "nothing was sold"


def _told(held: _Held, *, status: int, cached: bool) -> Answer:
    """The sale that is over; of one that sold nothing its reason as an error."""
    failure = held.sale.first_failure
    error = held.error
    if error is None and held.sale.outcome == "failed" and failure is not None:
        error = IbkitError(failure.message, code=failure.code or "E-UPSTREAM", remedy=failure.remedy)
    if error is not None:
        data = _data(held)
        error.remedy = in_fields(error.remedy)
        error.details |= {"key": data.key, "outcome": "failed", "legs": data.legs}
        raise error
    return Answer(status, SaleAnswer(data=_data(held), cached=cached), _at(held))


def _total(parts: list[Decimal | None]) -> Decimal | None:
    known = [each for each in parts if each is not None]
    return sum(known, Decimal(0)) if parts and len(known) == len(parts) else None


def _at(held: _Held) -> dict[str, str]:
    return {"Location": f"/api/option-sale/{own_key(held.key)}"}


def _unknown() -> NotFound:
    return NotFound(code="E-NOT-FOUND", details={"thing": "sale"})
