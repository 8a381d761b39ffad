"""The kill switch and the limits over HTTP, for owners and administrators. Each change stands in the audit log.

What stops trading is taken from whoever may administer, however old the sign-in; what lets it go on, or changes a
limit, needs a person's sign-in of the last 15 minutes, and for live money a second person. Threat TM-29.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from ibkit.bootstrap.connections import Connection
from ibkit.bootstrap.desks import journal_path
from ibkit.errors import NotFound
from ibkit.model import AccountId, Environment, environment_of
from ibkit.service.brokers import Login
from ibkit.service.cancelling import CancelRun
from ibkit.service.orders import ANSWER_WITHIN_S, RETRY_AFTER_S, Answer
from ibkit.service.people import administers, may_administer, may_read, must_be_fresh
from ibkit.service.reading import read_struct
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest, address_of, once
from ibkit.service.responses import response
from ibkit.service.risk_forms import (
    CancellingInfo,
    HaltAnswer,
    HaltForm,
    HaltInfo,
    LeftInfo,
    LimitAnswer,
    LimitChangeInfo,
    LimitForm,
    LimitInfo,
    LimitsAnswer,
    LimitsInfo,
    OutInfo,
    ReleaseAnswer,
    ReleaseForm,
    ReleaseInfo,
)
from ibkit.store import open_journal
from ibkit.trading import RiskBook
from ibkit.trading.intent import Intent
from ibkit.trading.ports import Journal
from ibkit.trading.risk import Halt, HaltMode, Layer, LimitChange, Scope, scope_of, standings
from ibkit.users import Principal

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["risk_routes"]

_WHOSE = ("account_id", "symbol", "user", "key")
_MOST_RECENT = 500
_MOST_CHANGES = 200
"""Among the latest of them those are looked for that wait for a second person."""


def risk_routes(service: Service) -> list[HTTPRouteHandler]:
    return [*_kill_switch(service), *_release(service), *_reading_limits(service), *_changing_limits(service)]


@dataclasses.dataclass(frozen=True, slots=True)
class _Book:
    book: RiskBook
    journal: Journal
    environment: Environment
    now: datetime


@asynccontextmanager
async def _book(service: Service) -> AsyncIterator[_Book]:
    """That of the open login, else of the settings' journal: what stops trading needs no broker."""
    connection = service.connection
    if connection is not None:
        yield _Book(connection.books.risk, connection.books.journal, connection.environment, connection.clock.now())
        return
    async with open_journal(journal_path(service.settings), clock=service.clock) as journal:
        yield _Book(journal.risk, journal, service.settings.environment, service.clock.now())


async def _administrator(service: Service, request: AnyRequest, *, fresh: bool) -> Principal:
    who = await service.asked.who(request)
    may_administer(who)
    if fresh:
        must_be_fresh(who, now=service.people.users.clock.now())
    service.people.changes.take(who.user_id)
    return who


# -- the kill switch --------------------------------------------------------------------------------------------------


def _kill_switch(service: Service) -> list[HTTPRouteHandler]:
    @get("/api/kill")
    async def standing(request: AnyRequest) -> Response[bytes]:
        who = await service.asked.who(request)
        may_read(who)
        async with _book(service) as at:
            halts = [halt for halt in await at.book.halts() if halt.until is None or at.now < halt.until]
        if administers(who):
            return response(Answer(200, _halts(service, halts)))
        # Who is refused an order by them may know why; whose accounts the others are, and who pressed, they may not.
        theirs = {"", *service.logins.accounts_now(who)}
        told = [_halt(dataclasses.replace(each, by="", released_by="")) for each in halts if each.account_id in theirs]
        return response(Answer(200, HaltAnswer(data=told, already_out=[], cancelling=[])))

    @post("/api/kill", status_code=200)
    async def press(request: AnyRequest) -> Response[bytes]:
        who = await _administrator(service, request, fresh=False)
        form = read_struct(HaltForm, await service.asked.body(request))
        account_id, symbol = _scope(form)
        cancels = form.mode == HaltMode.CANCEL_ALL.value
        if cancels and symbol:
            raise invalid(
                ("symbol", "cancel-all is of an account: stop a symbol by reduce-only, and cancel its orders")
            )
        note = service.people.by(who, address_of(request))
        with note("kill.press", _words(account_id, symbol), mode=form.mode, note=form.note):
            async with _book(service) as at:
                pressed = Halt(
                    environment=at.environment,
                    mode=HaltMode(form.mode),
                    by=who.user_id,
                    note=form.note,
                    at=at.now,
                    account_id=account_id,
                    symbol=symbol,
                )
                where = _where(account_id)
                halts = await at.book.halt(*(dataclasses.replace(pressed, environment=each) for each in where))
                out = await _already_out(at, halts)
        if cancels:
            logins = {key: login for key, login in _logins(service).items() if login.environment in where}
            service.cancelling.begin(logins, account_id=account_id, by=who.user_id)
        done = not cancels or await service.cancelling.settled(ANSWER_WITHIN_S)
        headers = {} if done else {"Location": "/api/kill", "Retry-After": str(RETRY_AFTER_S)}
        return response(Answer(200 if done else 202, _halts(service, halts, out), headers))

    return [standing, press]


def _release(service: Service) -> list[HTTPRouteHandler]:
    @post("/api/kill/release", status_code=200)
    async def release(request: AnyRequest) -> Response[bytes]:
        who = await _administrator(service, request, fresh=True)
        form = read_struct(ReleaseForm, await service.asked.body(request))
        account_id, symbol = _scope(form)
        note = service.people.by(who, address_of(request))
        with note("kill.release", _words(account_id, symbol), note=form.note) as noted:
            async with _book(service) as at:
                where = (Environment(form.environment),) if form.environment else _where(account_id)
                found = [
                    halt.number
                    for halt in await at.book.halts()
                    if halt.environment in where and (halt.account_id, halt.symbol) == (account_id, symbol)
                ]
                if not found:
                    noted.skipped = True
                    raise NotFound(code="E-NOT-FOUND", details={"thing": "halt"})
                done = await at.book.release(*found, by=who.user_id, note=form.note, at=at.now)
            noted.details |= {"ended": len(done.ended), "waiting": len(done.waiting)}
            noted.waiting = bool(done.waiting)
        ended, waiting = [_halt(halt) for halt in done.ended], [_halt(halt) for halt in done.waiting]
        return response(Answer(200, ReleaseAnswer(data=ReleaseInfo(ended=ended, waiting=waiting))))

    return [release]


def _where(account_id: str) -> tuple[Environment, ...]:
    """Everything means everything: where no account is named, paper and live are stopped, and go on, alike.

    Of an account it is the account's own: users have connections of both, whatever the settings say.
    """
    return (environment_of(AccountId(account_id)),) if account_id else tuple(Environment)


def _environment(at: _Book, given: str | None, account_id: str) -> Environment:
    """Whose limits are meant: of an account its own, else the one that is named, else that of the settings."""
    if not account_id:
        return Environment(given) if given else at.environment
    found = environment_of(AccountId(account_id))
    if given and given != found.value:
        raise invalid(("environment", f"{account_id} is a {found.value} account"))
    return found


def _halts(service: Service, halts: Iterable[Halt], out: Iterable[Intent] = ()) -> HaltAnswer:
    return HaltAnswer(
        data=[_halt(halt) for halt in halts],
        already_out=[
            OutInfo(
                id=intent.intent_id,
                account_id=intent.planned.account_id,
                terms=intent.label,
                state=intent.state.value,
            )
            for intent in out
        ],
        cancelling=[_cancelling(run) for run in service.cancelling.runs],
    )


async def _already_out(at: _Book, halts: Sequence[Halt]) -> list[Intent]:
    """Bytes that have left cannot be called back. An order is under way for minutes, so it is among the latest."""
    recent = await at.journal.recent(limit=_MOST_RECENT)
    scopes = [(intent, scope_of(intent.planned)) for intent in recent if intent.state.may_have_left]
    return [intent for intent, scope in scopes if any(halt.holds(scope, at.now) for halt in halts)]


def _logins(service: Service) -> Mapping[str, Login]:
    """Those whose orders the halts are for: simulated ones beside a real one have a book of their own."""
    simulated = service.simulated
    return {
        key: login
        for key, login in service.brokers.opened.items()
        if not isinstance(login, Connection) or login.settings.mock == simulated
    }


def _cancelling(run: CancelRun) -> CancellingInfo:
    result = run.result
    errors = {} if result is None else dict(result.errors)
    return CancellingInfo(
        broker=run.broker,
        environment=run.environment.value,
        account_id=run.account_id,
        state=run.state,
        began_at=run.began_at,
        cancelled=[] if result is None else [str(each) for each in result.cancelled],
        left=[
            LeftInfo(
                order_id=row.order_id, terms=row.description, status=row.raw_status, error=errors.get(row.order_id)
            )
            for row in (() if result is None else result.left)
        ],
        error=None if run.error is None else run.error.message,
    )


def _scope(form: HaltForm | ReleaseForm) -> tuple[str, str]:
    return (form.account_id or "").strip().upper(), (form.symbol or "").strip().upper()


def _words(account_id: str, symbol: str) -> str:
    parts = [f"{word} {name}" for word, name in (("account", account_id), ("symbol", symbol)) if name]
    return ", ".join(parts) or "everything"


def _halt(halt: Halt) -> HaltInfo:
    return HaltInfo(
        number=halt.number,
        environment=halt.environment.value,
        mode=halt.mode.value,
        account_id=halt.account_id,
        symbol=halt.symbol,
        by=halt.by,
        note=halt.note,
        at=halt.at,
        until=halt.until,
        control=halt.control,
        released_by=halt.released_by.split("\n") if halt.released_by else [],
    )


# -- limits -----------------------------------------------------------------------------------------------------------


def _reading_limits(service: Service) -> list[HTTPRouteHandler]:
    @get("/api/limits")
    async def standing(request: AnyRequest) -> Response[bytes]:
        may_administer(await service.asked.who(request))
        names = _names_of(request)
        async with _book(service) as at:
            account_id = names["account_id"].upper() or service.settings.account_id or ""
            environment = _environment(at, names["environment"], account_id)
            scope = Scope(
                environment=environment,
                account_id=AccountId(account_id),
                user=names["user"],
                api_key=names["key"],
                symbol=names["symbol"].upper(),
            )
            state, changes = await at.book.state(scope, at.now), await at.book.history(limit=_MOST_CHANGES)
        found = LimitsInfo(
            version=state.limits.version,
            environment=environment.value,
            account_id=account_id,
            limits=[LimitInfo(**dataclasses.asdict(each)) for each in standings(state, counted=bool(account_id))],
            halts=[_halt(halt) for halt in state.halts],
            waiting=[_change(each) for each in changes if isinstance(each, LimitChange) and not each.in_force],
        )
        return response(Answer(200, LimitsAnswer(data=found)))

    return [standing]


def _changing_limits(service: Service) -> list[HTTPRouteHandler]:
    @post("/api/limits", status_code=200)
    async def change(request: AnyRequest) -> Response[bytes]:
        who = await _administrator(service, request, fresh=True)
        form = read_struct(LimitForm, await service.asked.body(request))
        if (form.layer == "environment") != (form.whose is None):
            raise invalid(("whose", "it is needed for every layer but environment, which has none"))
        note = service.people.by(who, address_of(request))
        with note("limits.set", form.name, new=form.value or "default", note=form.note) as noted:
            async with _book(service) as at:
                layer = Layer(form.layer)
                account_id = (form.whose or "").upper() if layer is Layer.ACCOUNT else ""
                environment = _environment(at, form.environment, account_id)
                whose = form.whose or environment.value
                stored = await at.book.change(
                    LimitChange(
                        environment=environment,
                        layer=layer,
                        whose=whose.upper() if layer in (Layer.ACCOUNT, Layer.SYMBOL) else whose,
                        name=form.name,
                        new=form.value,
                        by=who.user_id,
                        note=form.note,
                        at=at.now,
                    )
                )
            noted.details |= {"layer": layer, "whose": stored.whose, "old": stored.old, "number": stored.number}
            noted.waiting = not stored.in_force
        return response(Answer(200, LimitAnswer(data=_change(stored))))

    @post("/api/limits/{number:int}/confirm", status_code=200)
    async def confirm(request: AnyRequest) -> Response[bytes]:
        who = await _administrator(service, request, fresh=True)
        number = int(request.path_params["number"])
        if not 0 < number < 2**63:
            raise NotFound(code="E-NOT-FOUND", details={"thing": "change"})
        note = service.people.by(who, address_of(request))
        with note("limits.confirm", f"change {number}", number=number) as noted:
            async with _book(service) as at:
                confirmed = await at.book.confirm(number, by=who.user_id, at=at.now)
            noted.object = confirmed.name
            noted.details |= {"whose": confirmed.whose, "old": confirmed.old, "new": confirmed.new or "default"}
        return response(Answer(200, LimitAnswer(data=_change(confirmed))))

    return [change, confirm]


def _names_of(request: AnyRequest) -> dict[str, str]:
    """Whom the limits are asked for; ConfigError (E-VALIDATION, 422) naming each that is wrong."""
    given, problems = once(request.query_params.multi_items(), (*_WHOSE, "environment"))
    environment = given.get("environment", "")
    if environment not in ("", *(each.value for each in Environment)):
        problems.append(("environment", "it is paper or live"))
    problems += [
        (name, "it has 1 to 40 letters, digits, dots and blanks") for name in given if not _is_name(given[name])
    ]
    if problems:
        raise invalid(*problems)
    return {"environment": environment} | {name: given.get(name, "").strip() for name in _WHOSE}


def _is_name(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9. ]{1,40}", text) is not None and bool(text.strip())


def _change(change: LimitChange) -> LimitChangeInfo:
    return LimitChangeInfo(
        number=change.number,
        name=change.name,
        layer=change.layer.value,
        whose=change.whose,
        old=change.old,
        new=change.new,
        by=change.by,
        note=change.note,
        at=change.at,
        in_force=change.in_force,
    )
