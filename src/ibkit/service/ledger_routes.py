"""Ledgers over HTTP: Flex statements in, transactions, lots and income out, raw rows, and the inbox of differences.

Source: requirement FUT-08.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from ibkit.bootstrap.raw_rows import raw_row
from ibkit.bootstrap.reconciliation import accept_difference, fix_difference, inbox_shown
from ibkit.portfolio.statements import gaps
from ibkit.service import ledger_documents as documents
from ibkit.service import ledger_forms as forms
from ibkit.service.orders import Answer
from ibkit.service.portfolio_routes import Room, account_name, portfolio_id_of
from ibkit.service.reading import read_struct
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest, moment, once
from ibkit.service.responses import response
from ibkit.store.ledgers import FLEX
from ibkit.users.principal import Principal

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["LARGEST_UPLOAD", "MOST_AT_ONCE", "ledger_routes", "number_in", "only_account"]

LARGEST_UPLOAD = 32 * 1024 * 1024
"""Bytes of a file of statements over HTTP. Our own bound: a year of a busy account has some MB."""
FETCH_WITHIN_S = 50.0
"""A request waits no longer; asked again, it goes on with the statement that is being made."""
MOST_AT_ONCE = 1_000
_XML = ("application/xml", "text/xml")
_ONE = ["/portfolio/{portfolio_id:str}", "/api/portfolio/{portfolio_id:str}"]


def ledger_routes(service: Service) -> list[HTTPRouteHandler]:
    return [*_flex(service), *_ledger(service), *_raw(service), *_inbox(service)]


def _at(tail: str) -> list[str]:
    return [f"{path}/{tail}" for path in _ONE]


# -- statements -------------------------------------------------------------------------------------------------------


def _flex(service: Service) -> list[HTTPRouteHandler]:
    room = Room(service)

    @get(_at("accounts/{name:str}/flex"))
    async def listed(request: AnyRequest) -> Response[bytes]:
        who = await room.reader(request)
        name = account_name(request)
        there = await room.desk.ledgers.statements(who.user_id, portfolio_id_of(request), name)
        return response(Answer(200, documents.statements_info(name, there, gaps(there))))

    @post(_at("accounts/{name:str}/flex"), status_code=200)
    async def take(request: AnyRequest) -> Response[bytes]:
        who, portfolio_id, name = await room.keeper(request), portfolio_id_of(request), account_name(request)
        await room.desk.books.account(who.user_id, portfolio_id, name)
        _, body = await service.asked.raw(request, _XML, largest=LARGEST_UPLOAD)
        with room.noting(request, who)("portfolios.flex", portfolio_id):
            taken = await service.flex.take(who.user_id, portfolio_id, name, body)
        return response(Answer(200, documents.flex_import_info(name, taken)))

    @post(_at("accounts/{name:str}/flex/fetch"), status_code=200)
    async def fetch(request: AnyRequest) -> Response[bytes]:
        who, portfolio_id, name = await room.keeper(request), portfolio_id_of(request), account_name(request)
        service.acts.take(who.user_id)
        given, problems = once(request.query_params.multi_items(), ("from", "to"))
        first, last = _day(given, "from", problems), _day(given, "to", problems)
        if problems:
            raise invalid(*problems)
        with room.noting(request, who)("portfolios.flex", portfolio_id):
            taken = await service.flex.fetch(
                who.user_id, portfolio_id, name, first=first, last=last, within_s=FETCH_WITHIN_S
            )
        return response(Answer(200, documents.flex_import_info(name, taken)))

    return [listed, take, fetch]


# -- what happened ----------------------------------------------------------------------------------------------------


def _ledger(service: Service) -> list[HTTPRouteHandler]:
    room = Room(service)

    async def asked(request: AnyRequest, *names: str) -> tuple[Any, str, dict[str, Any]]:
        """The ledger as of `as_of`, the account's name, and the other filters."""
        who, portfolio_id = await room.reader(request), portfolio_id_of(request)
        given, problems = once(request.query_params.multi_items(), ("account", "as_of", *names))
        as_of = _as_of(given, problems)
        found: dict[str, Any] = {name: _day(given, name, problems) for name in ("from", "to") if name in names}
        for name in ("limit", "offset"):
            if name in names:
                found[name] = number_in(given, name, problems)
        if problems:
            raise invalid(*problems)
        name = await only_account(room, who, portfolio_id, given.get("account"))
        return await room.desk.ledger_of(who.user_id, portfolio_id, name, as_of=as_of), name, found

    @get(_at("transactions"))
    async def transactions(request: AnyRequest) -> Response[bytes]:
        ledger, name, found = await asked(request, "from", "to", "limit", "offset")
        told = documents.transactions_info(
            name,
            ledger,
            since=found["from"],
            until=found["to"],
            skip=found["offset"] or 0,
            most=min(found["limit"] or MOST_AT_ONCE, MOST_AT_ONCE),
        )
        return response(Answer(200, told))

    @get(_at("lots"))
    async def lots(request: AnyRequest) -> Response[bytes]:
        ledger, name, _ = await asked(request)
        return response(Answer(200, documents.lots_info(name, ledger)))

    @get(_at("income"))
    async def income(request: AnyRequest) -> Response[bytes]:
        ledger, name, found = await asked(request, "from", "to")
        return response(Answer(200, documents.income_info(name, ledger, since=found["from"], until=found["to"])))

    @get(_at("ledger"))
    async def whole(request: AnyRequest) -> Response[bytes]:
        ledger, name, _ = await asked(request)
        return response(Answer(200, documents.ledger_info(name, ledger)))

    return [transactions, lots, income, whole]


async def only_account(room: Room, who: Principal, portfolio_id: str, named: str | None) -> str:
    """The one named, or the only one there is. NotFound; ConfigError (E-VALIDATION) where there are several."""
    if named is not None:
        return (await room.desk.books.account(who.user_id, portfolio_id, named)).name
    names = [each.name for each in (await room.desk.books.get(who.user_id, portfolio_id)).accounts]
    if len(names) != 1:
        raise invalid(("account", f"name one of the {len(names)} accounts"))
    return names[0]


# -- the rows that figures came from ----------------------------------------------------------------------------------


def _raw(service: Service) -> list[HTTPRouteHandler]:
    room = Room(service)

    @get(_at("raw/{digest:str}"))
    async def payload(request: AnyRequest) -> Response[bytes]:
        who = await room.reader(request)
        digest = str(request.path_params["digest"])
        found = await room.desk.ledgers.raw(who.user_id, portfolio_id_of(request), digest)
        kind = "xml" if found.what == FLEX else "json"
        headers = {"Content-Disposition": f'attachment; filename="{digest[:12]}.{kind}"'}
        return Response(found.body, headers=headers, media_type=f"application/{kind}")

    @get(_at("raw/{digest:str}/row"))
    async def row(request: AnyRequest) -> Response[bytes]:
        who = await room.reader(request)
        given, problems = once(request.query_params.multi_items(), ("statement", "section", "row"))
        numbers = {name: number_in(given, name, problems) or 0 for name in ("statement", "row")}
        if problems:
            raise invalid(*problems)
        digest = str(request.path_params["digest"])
        found = await room.desk.ledgers.raw(who.user_id, portfolio_id_of(request), digest)
        source = {"section": given.get("section", ""), **numbers}
        fields = await anyio.to_thread.run_sync(partial(raw_row, found, **source))  # type: ignore[arg-type]
        told = documents.RawRowInfo(
            source=documents.SourceInfo(digest=digest, **source),  # type: ignore[arg-type]
            what=found.what,
            row=dict(fields),
        )
        return response(Answer(200, told))

    return [payload, row]


# -- differences ------------------------------------------------------------------------------------------------------


def _inbox(service: Service) -> list[HTTPRouteHandler]:
    room = Room(service)

    @get(_at("inbox"))
    async def listed(request: AnyRequest) -> Response[bytes]:
        who, portfolio_id = await room.reader(request), portfolio_id_of(request)
        given, problems = once(request.query_params.multi_items(), ("account",))
        if problems:
            raise invalid(*problems)
        names = [each.name for each in (await room.desk.books.get(who.user_id, portfolio_id)).accounts]
        if "account" in given:
            names = [(await room.desk.books.account(who.user_id, portfolio_id, given["account"])).name]
        found = {name: await inbox_shown(room.desk, who.user_id, portfolio_id, name) for name in names}
        return response(Answer(200, documents.inbox_info(found)))

    async def account_in(request: AnyRequest, who: Principal) -> str:
        given, problems = once(request.query_params.multi_items(), ("account",))
        if problems:
            raise invalid(*problems)
        return await only_account(room, who, portfolio_id_of(request), given.get("account"))

    @post(_at("inbox/{item_id:str}/accept"), status_code=200)
    async def accept(request: AnyRequest) -> Response[bytes]:
        who, portfolio_id = await room.keeper(request), portfolio_id_of(request)
        form = read_struct(forms.NoteForm, await service.asked.body(request))
        name, item_id = await account_in(request, who), str(request.path_params["item_id"])
        with room.noting(request, who)("portfolios.reconcile", portfolio_id):
            done = await accept_difference(
                room.desk, who.user_id, portfolio_id, name, item_id, by=who.name, note=form.note
            )
        return response(Answer(200, documents.difference_info(name, done)))

    @post(_at("inbox/{item_id:str}/fix"), status_code=200)
    async def fix(request: AnyRequest) -> Response[bytes]:
        who, portfolio_id = await room.keeper(request), portfolio_id_of(request)
        form = read_struct(forms.FixForm, await service.asked.body(request))
        name, item_id = await account_in(request, who), str(request.path_params["item_id"])
        service.acts.take(who.user_id)

        async def fetch(first: date, last: date) -> object:
            return await service.flex.fetch(
                who.user_id, portfolio_id, name, first=first, last=last, within_s=FETCH_WITHIN_S
            )

        with room.noting(request, who)("portfolios.reconcile", portfolio_id):
            left = await fix_difference(
                room.desk,
                who.user_id,
                portfolio_id,
                name,
                item_id,
                by=who.name,
                note=form.note,
                adjust=form.adjust,
                cost=form.cost,
                fetch=fetch if await service.flex.can_fetch(who.user_id) else None,
            )
        return response(Answer(200, documents.inbox_info({name: left})))

    return [listed, accept, fix]


# -- filters ----------------------------------------------------------------------------------------------------------


def _as_of(given: Any, problems: list[tuple[str, str]]) -> datetime | date | None:
    """A day means its end in New York."""
    text = given.get("as_of")
    if text is None:
        return None
    found: datetime | date | None = moment(text)
    if found is not None and len(text) == len("2026-11-20"):
        found = date.fromisoformat(text)
    if found is None:
        problems.append(("as_of", "it is a day or a moment like 2026-11-20 or 2026-11-20T15:30:00Z"))
    return found


def _day(given: Any, name: str, problems: list[tuple[str, str]]) -> date | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        if len(text) == len("2026-11-20"):
            return date.fromisoformat(text)
    except ValueError:
        pass
    problems.append((name, "it is a day like 2026-11-20"))
    return None


def number_in(given: Any, name: str, problems: list[tuple[str, str]]) -> int | None:
    """A count among the filters; what is none goes into `problems`."""
    text = given.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        problems.append((name, "it is a whole number from 0 to 999999999"))
        return None
    return int(text)
