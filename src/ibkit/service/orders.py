"""The orders of a user: placed at most once for a key, read, changed, cancelled and previewed.

    key known  → compared with what is stored, answered from the intent; nothing new is sent
    key free   → rights, contract, INTENT on disk, and from there the gateway, in a task that outlives the request

Whoever waits is answered within 5 s: with the outcome, with 202 (the first), or with 409 (a twin).
Source: requirements GWY-01 to GWY-07; reliability rules §4.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from ibkit.bootstrap.connections import Connection
from ibkit.clock import Clock
from ibkit.errors import IbkitError, InFlight, KeyReused, NotFound, TradingError, Unreachable
from ibkit.model import AccountId, Key, OrderTicket
from ibkit.service.brokers import Capability, Login, OrderDesk, broker_of
from ibkit.service.carrying import Carrying, Run
from ibkit.service.idempotency_key import conflict, field_names, named
from ibkit.service.logins import Logins, sent_by
from ibkit.service.open_orders import OpenOrders, age_of
from ibkit.service.order_answer import OrderAnswer, OrderData, OrderList, order_data, status_of
from ibkit.service.order_listing import LONGEST_PAGE, OPEN, Page, wanted
from ibkit.service.order_timeline import timeline_of
from ibkit.service.order_wish import OrderChange, OrderWish, Tickets, ticket_at_broker
from ibkit.service.people import may_order, of_theirs
from ibkit.service.previews import preview_of
from ibkit.service.refusals import invalid
from ibkit.trading.events import IntentId, Operation
from ibkit.trading.fingerprint import differing, group_terms, ticket_terms
from ibkit.trading.intake import Asked
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.outcome import Outcome
from ibkit.trading.ref import keys_of_user
from ibkit.users.principal import Principal

__all__ = ["ANSWER_WITHIN_S", "Answer", "Orders"]

ANSWER_WITHIN_S = 5.0
RETRY_AFTER_S = 2
_MOST_READ = 2_000
"""Of a filtered list: so many orders are looked at for one page."""
_AGAIN_S = 0.2
_ALONE = ("order", "modify")
"""Purposes of orders that are whole by themselves."""
TENANT = "local"
_LONGEST_ID = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """status: of HTTP. body: what `encode` takes."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Home:
    """Where an order is kept: the broker's name and its login."""

    broker: str
    login: Login


class Orders:
    """clock: of people, for the age of a sign-in.

    earlier_owner: whose the orders of before there were several users are.
    """

    def __init__(self, logins: Logins, carrying: Carrying, clock: Clock, *, earlier_owner: str = "") -> None:
        self._logins = logins
        self._brokers = logins.brokers
        self._earlier_owner = earlier_owner
        self._carrying = carrying
        self._clock = clock
        self._open = OpenOrders(clock.monotonic)

    # -- placing --------------------------------------------------------------------------------------------------

    async def place(self, who: Principal, wish: OrderWish, key: Key) -> Answer:
        """201 with the order, 202 where it is not settled within 5 s, 200 for a repeated key; else its error."""
        known = await self.of_key(who, key)
        if known is not None:
            home, intent = known
            may_order(who, home.login.environment, now=self._clock.now(), lessens=True)  # nothing new comes of it
            self._same_order(wish, intent, home)
            return await self._repeated(home, intent)
        home = await self._home_for(who, wish)
        desk = await home.login.desk(of_theirs(who, wish.account_id))
        tickets = wish.tickets(await wish.contract(desk.broker), desk.account_id)
        if wish.dry_run:
            return await self._tried(who, wish, home, desk, tickets, key)
        planned = desk.gateway.intake.order(
            desk.broker.username,
            tickets.first,
            key=key,
            others=tickets.others,
            group=tickets.group,
            asked=_asked(who, wish.confirm, wish.allow_duplicate),
        )
        try:
            intent, new = await desk.gateway.intake.store(planned)
        except KeyReused as error:
            raise named(error) from None
        if not new:
            return await self._repeated(home, intent)
        return await self._first(home, desk, intent)

    async def _home_for(self, who: Principal, wish: OrderWish) -> _Home:
        needs = [Capability.OPTIONS if wish.is_option else Capability.STOCKS]
        if wish.take_profit is not None or wish.stop_loss is not None:
            needs.append(Capability.BRACKETS)
        login = await self._logins.of(who, wish.broker, wish.connection_id, *needs)
        may_order(who, login.environment, now=self._clock.now())
        return _Home(wish.broker, login)

    async def _first(self, home: _Home, desk: OrderDesk, intent: Intent) -> Answer:
        run = self._carry(home, desk, intent)
        if not await run.wait(ANSWER_WITHIN_S):
            return await self._pending(home, intent)
        settled = _result(run, intent)
        error = Outcome(settled).error
        if error is not None and not Outcome(settled).accepted:
            error.details["id"] = settled.intent_id
            raise error
        # Nobody can have changed it yet: no look for changes, which would cost another read.
        return Answer(201, OrderAnswer(data=order_data(settled, broker=home.broker), cached=False), _at(intent))

    async def _pending(self, home: _Home, intent: Intent) -> Answer:
        now = await home.login.journal.get(intent.intent_id) or intent
        headers = {**_at(intent), "Retry-After": str(RETRY_AFTER_S)}
        return Answer(202, OrderAnswer(data=await self._data(home, now), cached=False), headers)

    async def _repeated(self, home: _Home, intent: Intent) -> Answer:
        """Answered from the intent; one that is in progress is waited for, and carried on where nobody is at it."""
        if intent.state.in_progress:
            desk = await home.login.desk(intent.planned.account_id)
            run = self._carry(home, desk, intent)
            done = await run.wait(ANSWER_WITHIN_S)
            intent = await home.login.journal.get(intent.intent_id) or intent
            if intent.state.in_progress:
                if done and run.error is not None and not isinstance(run.error, InFlight):
                    raise run.error
                raise InFlight(
                    f"Order {intent.intent_id} with this Idempotency-Key is in progress",
                    remedy=f"Repeat with the same key after Retry-After, or read GET /broker-order/{intent.intent_id}.",
                    details={"id": intent.intent_id, "retry_after": RETRY_AFTER_S},
                )
        return Answer(200, OrderAnswer(data=await self._data(home, intent), cached=True), _at(intent))

    def _carry(self, home: _Home, desk: OrderDesk, intent: Intent) -> Run[Intent]:
        async def work() -> Intent:
            while True:
                try:
                    return (await desk.gateway.resume(intent)).intent
                except InFlight:
                    # Another order of this login is being talked about, here or in another process.
                    if home.login.clock.now() > intent.planned.expires_at:
                        raise
                await home.login.clock.sleep(_AGAIN_S)

        return self._carrying.begin(intent.intent_id, work)

    async def resume_left(self, home_name: str, *, before: datetime) -> int:
        """Carry on what an earlier process took in `before` and did not send, while it is young enough: how many."""
        login = self._brokers.opened[home_name]
        desk = await login.desk()
        # Of users each login carries on its own user's, whoever else may see the account.
        user_id = login.book.row.user_id if isinstance(login, Connection) else ""
        theirs = keys_of_user(user_id) if user_id else ""
        left = [
            intent
            for intent in await desk.gateway.unfinished()
            if intent.state is IntentState.INTENT
            and (intent.key.startswith(theirs) if theirs else "@" in intent.key)
            and intent.planned.at < before
            # What is part of a sale is not: alone it would sell and protect nothing. Its key goes on with all of it.
            and intent.planned.purpose in _ALONE
        ]
        for intent in left:
            with suppress(NotFound):  # an account that the settings leave to another login
                account_desk = await login.desk(intent.planned.account_id)
                self._carry(_Home(broker_of(home_name), login), account_desk, intent)
        return len(left)

    # -- the same key ---------------------------------------------------------------------------------------------

    async def of_key(self, who: Principal, key: Key) -> tuple[_Home, Intent] | None:
        for name, login in await self._logins.visible(who):
            try:
                found = await login.journal.by_key(tenant=TENANT, environment=login.environment, key=key)
            except KeyReused as error:
                raise named(error) from None
            if found is not None:
                return await self._home(who, name, login, found), found
        return None

    async def _home(self, who: Principal, name: str, login: Login, intent: Intent) -> _Home:
        """The connections of an installation share a journal: of theirs it is the one whose login the order was of."""
        if broker_of(name) != name:
            there = [each for _, each in await self._logins.visible(who)]
            login = next((each for each in there if sent_by(each, intent)), login)
        if isinstance(login, Connection):
            login.used()
        return _Home(broker_of(name), login)

    def _same_order(self, wish: OrderWish, known: Intent, home: _Home) -> None:
        """KeyReused (E-IDEM-CONFLICT) naming the fields in which `wish` is another order."""
        if known.operation is not Operation.PLACE:
            raise conflict(known, ("operation",))
        fields = [] if wish.broker == home.broker else ["broker"]
        if isinstance(home.login, Connection) and not home.login.is_called(wish.connection_id):
            fields.append("connection_id")
        fields += [] if not wish.dry_run else ["dry_run"]
        fields += wish.differs_from(known.ticket.contract)
        account_id = known.planned.account_id if wish.account_id is None else AccountId(wish.account_id)
        asked = wish.tickets(known.ticket.contract, account_id)
        fields += field_names(differing(known.planned.terms, _terms(asked)))
        if fields:
            raise conflict(known, tuple(dict.fromkeys(fields)))

    # -- reading --------------------------------------------------------------------------------------------------

    async def show(self, who: Principal, order_id: str) -> Answer:
        home, intent = await self._owned(who, order_id)
        return Answer(200, OrderAnswer(data=await self._data(home, intent), cached=True))

    async def timeline(self, who: Principal, order_id: str) -> Answer:
        """What happened to it so far, oldest first."""
        home, intent = await self._owned(who, order_id)
        return Answer(200, timeline_of(intent, await home.login.journal.events(intent.intent_id)))

    async def listed(self, who: Principal, page: Page) -> Answer:
        """Their orders at one broker, newest first."""
        name = page.broker or self._brokers.default
        login = await self._logins.of(who, name, page.connection_id)
        home = _Home(name, login)
        found: list[OrderData] = []
        before = await self._cursor(who, page.cursor)
        if page.status == OPEN:
            return await self._open_page(who, page, home, before)
        read = 0
        while len(found) < page.limit and read < _MOST_READ:
            intents = await login.journal.of_keys(
                keys_of_user(who.user_id),
                environment=login.environment,
                operation=Operation.PLACE,
                before=before,
                or_nobodys=self._owns_earlier(who),
                limit=LONGEST_PAGE,
            )
            changes = await login.journal.changes_of(intents)
            for intent in intents:
                read, before = read + 1, intent.intent_id
                if page.since is not None and intent.planned.at < page.since:
                    return Answer(200, OrderList(data=found, next=None))
                if self._shows(who, page, login, intent):
                    found.append(order_data(intent, broker=home.broker, changes=changes))
                if len(found) >= page.limit:
                    break
            if len(intents) < LONGEST_PAGE and (not intents or before == intents[-1].intent_id):
                return Answer(200, OrderList(data=found, next=None))
        return Answer(200, OrderList(data=found, next=before))

    async def _open_page(self, who: Principal, page: Page, home: _Home, before: IntentId | None) -> Answer:
        where = f"{home.broker} {page.connection_id or ''}"
        intents = await self._open.of(home.login, who.user_id, where=where, or_nobodys=self._owns_earlier(who))
        after = None if before is None else await home.login.journal.get(before)
        found = [
            each
            for each in intents
            if (after is None or age_of(each) < age_of(after)) and self._shows(who, page, home.login, each)
        ]
        shown = found[: page.limit]
        changes = await home.login.journal.changes_of(tuple(shown))
        data = [order_data(each, broker=home.broker, changes=changes) for each in shown]
        return Answer(200, OrderList(data=data, next=data[-1].id if len(found) > page.limit else None))

    def _shows(self, who: Principal, page: Page, login: Login, intent: Intent) -> bool:
        of_this = page.connection_id is None or sent_by(login, intent)
        return of_this and wanted(intent, page) and self.may_see(who, intent)

    async def _cursor(self, who: Principal, cursor: str | None) -> IntentId | None:
        if cursor is None:
            return None
        try:
            return (await self._owned(who, cursor))[1].intent_id
        except NotFound:
            raise invalid(("cursor", "it is not the `next` of a list")) from None

    # -- changing -------------------------------------------------------------------------------------------------

    async def cancel(self, who: Principal, order_id: str) -> Answer:
        """The order once it has ended, or 202 where that takes longer; one that has ended is told as it is."""
        home, intent = await self._owned(who, order_id)
        may_order(who, home.login.environment, now=self._clock.now(), lessens=True)
        if intent.state.in_progress:
            raise _in_progress(intent)
        if intent.state is not IntentState.ACKED:
            return Answer(200, OrderAnswer(data=await self._data(home, intent), cached=True))
        self._brokers.adapter(home.broker, Capability.CANCEL)
        desk = await home.login.desk(intent.planned.account_id)
        work = partial(desk.gateway.cancel_rest, intent, user=who.user_id)
        run = self._carrying.begin(_side_task(intent, "cancel"), work)
        if not await run.wait(ANSWER_WITHIN_S):
            return await self._pending(home, intent)
        run.result()
        return await self.show(who, order_id)

    async def change(self, who: Principal, order_id: str, change: OrderChange, key: Key) -> Answer:
        """The order as it is after the change, which is made at most once for its key."""
        home, intent = await self._owned(who, order_id)
        may_order(who, home.login.environment, now=self._clock.now())
        self._brokers.adapter(home.broker, Capability.MODIFY)
        if intent.state.in_progress:
            raise _in_progress(intent)
        known = await self.of_key(who, key)
        if known is None and intent.state is not IntentState.ACKED:
            raise TradingError(
                f"Order {intent.intent_id} is {status_of(intent)}: there is nothing left to change",
                code="E-ORD-REJECT",
                remedy="Place a new order with a new key.",
                details={"id": intent.intent_id, "status": status_of(intent)},
            )
        assert intent.order_id is not None, "an acknowledged order has its number"
        desk = await home.login.desk(intent.planned.account_id)
        # A repeated key is answered by what it made: asked of that, the same change leaves all as it is.
        made = None if known is None else _change_of(intent, known[1])
        present = await self._ticket_now(home, desk, intent) if made is None else made
        planned = desk.gateway.intake.change(
            desk.broker.username,
            intent.order_id,
            change.applied(present),
            key=key,
            asked=Asked(purpose="modify", confirm=tuple(change.confirm), user=who.user_id, api_key=who.api_key_id),
        )
        try:
            stored, new = await desk.gateway.intake.store(planned)
        except KeyReused as error:
            raise named(error) from None
        if stored.state.in_progress:
            run = self._carry(home, desk, stored)
            if not await run.wait(ANSWER_WITHIN_S):
                return await self._pending(home, intent)
            stored = _result(run, stored)
        if (error_of := Outcome(stored).error) is not None:
            error_of.details["id"] = intent.intent_id
            raise error_of
        data = await self._data(home, await home.login.journal.get(intent.intent_id) or intent)
        return Answer(200, OrderAnswer(data=data, cached=not new))

    async def _ticket_now(self, home: _Home, desk: OrderDesk, intent: Intent) -> OrderTicket:
        """The order as IBKR holds it: whoever changed it last, here, by a command or in IBKR's own programs.

        What a change leaves out would count as changed, too; so nothing is taken from what we remember of it.
        """
        assert intent.order_id is not None, "an acknowledged order has its number"
        there = await desk.broker.order(intent.order_id)
        if there is None:
            raise Unreachable(
                f"IBKR does not show order {intent.intent_id} now, so nothing was changed",
                remedy="Look at it again in a few seconds; then change it with the same key.",
                details={"id": intent.intent_id},
            )
        changes = await home.login.journal.changes_of((intent,))
        return ticket_at_broker(changes[0].ticket if changes else intent.ticket, there)

    # -- trying ---------------------------------------------------------------------------------------------------

    async def preview(self, who: Principal, wish: OrderWish) -> Answer:
        """What it would cost, and what each control says of it; nothing is stored or sent."""
        home = await self._home_for(who, wish)
        self._brokers.adapter(wish.broker, Capability.PREVIEW)
        desk = await home.login.desk(of_theirs(who, wish.account_id))
        tickets = wish.tickets(await wish.contract(desk.broker), desk.account_id)
        asked = _asked(who, wish.confirm, wish.allow_duplicate)
        return Answer(200, await preview_of(desk, tickets, asked, home.login.environment))

    async def _tried(
        self, who: Principal, wish: OrderWish, home: _Home, desk: OrderDesk, tickets: Tickets, key: Key
    ) -> Answer:
        """A dry run: the same form, status dry_run, and the preview in metadata. The key stays free."""
        asked = _asked(who, wish.confirm, wish.allow_duplicate)
        planned = desk.gateway.intake.order(
            desk.broker.username, tickets.first, key=key, others=tickets.others, group=tickets.group, asked=asked
        )
        now = home.login.clock.now()
        data = order_data(Intent(planned=planned, updated_at=now), broker=home.broker)
        preview = await preview_of(desk, tickets, asked, home.login.environment)
        changes: dict[str, Any] = {"id": None, "status": "dry_run", "metadata": {**data.metadata, "preview": preview}}
        fields = {name: getattr(data, name) for name in data.__struct_fields__}
        return Answer(200, OrderAnswer(data=OrderData(**{**fields, **changes}), cached=False))

    # -- what all of it needs -------------------------------------------------------------------------------------

    async def _owned(self, who: Principal, order_id: str) -> tuple[_Home, Intent]:
        """NotFound (404), the same for an order that is not there, not theirs, or no order."""
        if len(order_id) <= _LONGEST_ID:
            for name, login in await self._logins.visible(who):
                intent = await login.journal.get(IntentId(order_id))
                if intent is not None and intent.operation is Operation.PLACE and self.may_see(who, intent):
                    return await self._home(who, name, login, intent), intent
        raise NotFound(code="E-NOT-FOUND", details={"thing": "order"})

    def may_see(self, who: Principal, intent: Intent) -> bool:
        """Whether it is an order of theirs, at an account that is."""
        theirs = intent.key.startswith(keys_of_user(who.user_id)) or ("@" not in intent.key and self._owns_earlier(who))
        mine = theirs and intent.planned.leg_of is None
        return mine and (who.accounts is None or intent.planned.account_id in who.accounts)

    def _owns_earlier(self, who: Principal) -> bool:
        return bool(self._earlier_owner) and who.user_id == self._earlier_owner

    async def _data(self, home: _Home, intent: Intent) -> OrderData:
        return order_data(intent, broker=home.broker, changes=await home.login.journal.changes_of((intent,)))


def _asked(who: Principal, confirm: list[str], allow_duplicate: bool) -> Asked:
    return Asked(confirm=tuple(confirm), user=who.user_id, api_key=who.api_key_id, allow_duplicate=allow_duplicate)


def _result(run: Run[Intent], intent: Intent) -> Intent:
    try:
        return run.result()
    except IbkitError as error:
        error.details.setdefault("id", intent.intent_id)
        raise


def _at(intent: Intent) -> dict[str, str]:
    return {"Location": f"/broker-order/{intent.intent_id}"}


def _side_task(intent: Intent, what: str) -> IntentId:
    return IntentId(f"{intent.intent_id} {what}")


def _change_of(order: Intent, known: Intent) -> OrderTicket | None:
    """What the intent of a key made of this order; None where it is of another one, or no change at all."""
    same = known.operation is Operation.MODIFY and known.planned.target == order.order_id
    return known.ticket if same else None


def _terms(tickets: Tickets) -> dict[str, str]:
    if tickets.group is None:
        return ticket_terms(tickets.first)
    return group_terms(tickets.first, tickets.others, tickets.group)


def _in_progress(intent: Intent) -> InFlight:
    return InFlight(
        f"Order {intent.intent_id} is in progress",
        remedy="Try again after Retry-After, once the broker has taken it.",
        details={"id": intent.intent_id, "retry_after": RETRY_AFTER_S},
    )
