"""Portfolios over HTTP: the books, what connects them to IBKR, and their syncs. Source: requirements SYN-01 to SYN-14.

The name of an account stands in the address as it is, encoded: blanks, slashes and letters of any script.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from litestar import Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler

from ibkit.bootstrap.connections import Connection
from ibkit.bootstrap.portfolio_files import ENDINGS, EXPORTS, exported, portfolio_of_file
from ibkit.bootstrap.portfolios import PortfolioDesk, pause_between
from ibkit.client.core import Core
from ibkit.errors import AuthError, IbkitError, NotFound, TradingError, Unreachable
from ibkit.model import AccountId
from ibkit.portfolio.book import Link, Portfolio, PortfolioAccount, check_currency, check_name
from ibkit.portfolio.files import LARGEST_FILE
from ibkit.portfolio.ports import SyncOutcome
from ibkit.service.connection_documents import shown_id
from ibkit.service.orders import Answer
from ibkit.service.people import may_keep_books, may_read, may_read_books
from ibkit.service.portfolio_documents import (
    BrokerAccount,
    BrokerAccounts,
    ConnectionProblem,
    ConnectionTestAnswer,
    ConnectionTestResult,
    DeletedPortfolio,
    PortfolioList,
    SyncStatusInfo,
    account_info,
    broker_account,
    link_info,
    portfolio_info,
    summary_of,
    sync_answer,
)
from ibkit.service.portfolio_forms import AccountForm, ConnectForm, PortfolioForm, account_of, edited
from ibkit.service.reading import read_struct
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest, address_of, once
from ibkit.service.responses import response
from ibkit.users.principal import Principal

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["LARGEST_BOOK", "Room", "account_name", "portfolio_id_of", "portfolio_routes"]

log = logging.getLogger(__name__)

LARGEST_BOOK = LARGEST_FILE
"""Bytes of a portfolio that is written whole."""
_TYPES = {
    "json": "application/json",
    "yaml": "application/yaml",
    "csv": "text/csv; charset=utf-8",
    "beancount": "text/plain",  # the framework adds the charset
    "portfolio-performance": "application/zip",
}
_KINDS = {"application/json": "json", "application/yaml": "yaml", "application/x-yaml": "yaml", "text/csv": "csv"}
_ONE = ["/portfolio/{portfolio_id:str}", "/api/portfolio/{portfolio_id:str}"]
_ACCOUNTS = [f"{path}/accounts" for path in _ONE]
_ACCOUNT = [f"{path}/{{name:str}}" for path in _ACCOUNTS]


def _below(tail: str) -> list[str]:
    return [f"{path}/{tail}" for path in _ACCOUNT]


def portfolio_routes(service: Service) -> list[HTTPRouteHandler]:
    return [*_books(service), *_accounts(service), *_connecting(service), *_broker(service)]


class Room:
    """What the handlers share."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.every = pause_between(service.settings)

    @property
    def desk(self) -> PortfolioDesk:
        return self.service.portfolios

    async def reader(self, request: AnyRequest) -> Principal:
        who = await self.service.asked.who(request)
        may_read_books(who)
        return who

    async def keeper(self, request: AnyRequest) -> Principal:
        who = await self.service.asked.who(request)
        may_keep_books(who)
        self.service.people.changes.take(who.user_id)
        return who

    def noting(self, request: AnyRequest, who: Principal) -> Callable[..., Any]:
        return self.service.people.by(who, address_of(request))

    async def form(self, kind: type[Any], request: AnyRequest) -> Any:
        return read_struct(kind, await self.service.asked.body(request, largest=LARGEST_BOOK))

    def answer(self, portfolio: Portfolio, status: int = 200) -> Response[bytes]:
        told = portfolio_info(portfolio, now=self.desk.clock.now(), every=self.every)
        return response(Answer(status, told))

    def of_account(self, account: PortfolioAccount) -> Response[bytes]:
        return response(Answer(200, account_info(account, now=self.desk.clock.now(), every=self.every)))

    async def login(self, who: Principal, connection_id: str | None, request: AnyRequest) -> Connection:
        return await self.service.own.connection(who, connection_id or None, address=address_of(request))


# -- the books --------------------------------------------------------------------------------------------------------


def _books(service: Service) -> list[HTTPRouteHandler]:
    room = Room(service)

    @get(["/portfolio", "/api/portfolio"])
    async def listed(request: AnyRequest) -> Response[bytes]:
        who = await room.reader(request)
        found = await room.desk.books.summaries(who.user_id)
        return response(Answer(200, PortfolioList(portfolios=[summary_of(each) for each in found])))

    @post(["/portfolio", "/api/portfolio"], status_code=201)
    async def create(request: AnyRequest) -> Response[bytes]:
        who = await room.keeper(request)
        form: PortfolioForm = await room.form(PortfolioForm, request)
        now = room.desk.clock.now()
        empty = Portfolio(
            portfolio_id=room.desk.new_id(),
            user_id=who.user_id,
            name=check_name(form.name),
            currency=check_currency(form.currency),
            created_at=now,
            updated_at=now,
        )
        with room.noting(request, who)("portfolios.create", empty.portfolio_id):
            made = await room.desk.books.add(edited(empty, form))
        return room.answer(made, 201)

    @get(_ONE)
    async def show(request: AnyRequest) -> Response[bytes]:
        who = await room.reader(request)
        return room.answer(await room.desk.books.get(who.user_id, portfolio_id_of(request)))

    @put(_ONE)
    async def change(request: AnyRequest) -> Response[bytes]:
        who = await room.keeper(request)
        form: PortfolioForm = await room.form(PortfolioForm, request)
        portfolio_id = portfolio_id_of(request)
        with room.noting(request, who)("portfolios.change", portfolio_id):
            changed = await room.desk.books.change(
                who.user_id, portfolio_id, lambda there: edited(there, form), seen=form.version
            )
        return room.answer(changed)

    @delete(_ONE, status_code=200)
    async def remove(request: AnyRequest) -> Response[bytes]:
        who, portfolio_id = await room.keeper(request), portfolio_id_of(request)
        with room.noting(request, who)("portfolios.delete", portfolio_id):
            await room.desk.books.delete(who.user_id, portfolio_id)
        return response(Answer(200, DeletedPortfolio(id=portfolio_id, deleted=True)))

    return [listed, create, show, change, remove, *_files(room)]


def _files(room: Room) -> list[HTTPRouteHandler]:
    @get([f"{path}/export" for path in _ONE])
    async def export(request: AnyRequest) -> Response[bytes]:
        who = await room.reader(request)
        given, problems = once(request.query_params.multi_items(), ("format",))
        wanted = given.get("format", "json")
        if wanted not in EXPORTS:
            problems.append(("format", f"it is one of {', '.join(EXPORTS)}"))
        if problems:
            raise invalid(*problems)
        portfolio = await room.desk.books.get(who.user_id, portfolio_id_of(request))
        headers = {
            "Content-Disposition": f'attachment; filename="portfolio-{portfolio.portfolio_id}.{ENDINGS[wanted]}"'
        }
        body = await exported(room.desk, who.user_id, portfolio, wanted)
        return Response(body, headers=headers, media_type=_TYPES[wanted])

    @post(["/portfolio/import", "/api/portfolio/import"], status_code=201)
    async def read_in(request: AnyRequest) -> Response[bytes]:
        who = await room.keeper(request)
        given, problems = once(request.query_params.multi_items(), ("name", "currency"))
        kind, body = await room.service.asked.raw(request, tuple(_KINDS), largest=LARGEST_FILE)
        if _KINDS[kind] == "csv" and not given.get("name"):
            problems.append(("name", "a table has no place for the portfolio's name: give it in the address"))
        if problems:
            raise invalid(*problems)
        named = {"name": given.get("name", ""), "currency": given.get("currency", "USD")}
        ids = {"portfolio_id": room.desk.new_id(), "user_id": who.user_id}
        portfolio = portfolio_of_file(body, _KINDS[kind], at=room.desk.clock.now(), **named, **ids)
        with room.noting(request, who)("portfolios.create", portfolio.portfolio_id):
            made = await room.desk.books.add(portfolio)
        return room.answer(made, 201)

    return [export, read_in]


def portfolio_id_of(request: AnyRequest) -> str:
    return str(request.path_params["portfolio_id"])


# -- accounts ---------------------------------------------------------------------------------------------------------


def _accounts(service: Service) -> list[HTTPRouteHandler]:
    room = Room(service)

    @post(_ACCOUNTS, status_code=201)
    async def add(request: AnyRequest) -> Response[bytes]:
        who = await room.keeper(request)
        form: AccountForm = await room.form(AccountForm, request)
        wanted, portfolio_id = account_of(form), portfolio_id_of(request)
        with room.noting(request, who)("portfolios.change", portfolio_id):
            changed = await room.desk.books.change(
                who.user_id, portfolio_id, lambda there: _with(there, wanted), seen=form.version
            )
        return room.answer(changed, 201)

    @get(_ACCOUNT)
    async def show(request: AnyRequest) -> Response[bytes]:
        who = await room.reader(request)
        return room.of_account(await _account(room, who, request))

    @put(_ACCOUNT)
    async def change(request: AnyRequest) -> Response[bytes]:
        who, name, portfolio_id = await room.keeper(request), account_name(request), portfolio_id_of(request)
        form: AccountForm = await room.form(AccountForm, request)
        books = room.desk.books
        wanted = AccountForm(name=name, holdings=form.holdings)
        new_name = name if form.name is None else check_name(form.name)

        def edit(there: Portfolio) -> Portfolio:
            _named(there, name)
            return there if form.holdings is None else _replaced(there, name, wanted)

        with room.noting(request, who)("portfolios.change", portfolio_id):
            changed = await books.change(
                who.user_id,
                portfolio_id,
                edit,
                seen=form.version,
                rename=(name, new_name) if new_name != name else None,
            )
        return room.answer(changed)

    @delete(_ACCOUNT, status_code=200)
    async def remove(request: AnyRequest) -> Response[bytes]:
        who, portfolio_id = await room.keeper(request), portfolio_id_of(request)
        with room.noting(request, who)("portfolios.change", portfolio_id):
            changed = await room.desk.books.delete_account(who.user_id, portfolio_id, account_name(request))
        return room.answer(changed)

    return [add, show, change, remove]


async def _account(room: Room, who: Principal, request: AnyRequest) -> PortfolioAccount:
    """NotFound."""
    return await room.desk.books.account(who.user_id, portfolio_id_of(request), account_name(request))


def account_name(request: AnyRequest) -> str:
    """The account's name, from the address as it was sent: it may hold a slash, and `%2F` itself."""
    sent = bytes(request.scope.get("raw_path") or b"").partition(b"?")[0].decode("latin-1")
    try:
        return unquote(sent.partition("/accounts/")[2].partition("/")[0], errors="strict")
    except UnicodeDecodeError:
        raise invalid(("name", "it is not UTF-8")) from None


def _named(portfolio: Portfolio, name: str) -> PortfolioAccount:
    found = portfolio.account(name)
    if found is None:
        raise NotFound("account not found", code="E-NOT-FOUND", details={"thing": "account"})
    return found


def _with(portfolio: Portfolio, account: PortfolioAccount) -> Portfolio:
    return replace(portfolio, accounts=(*portfolio.accounts, account))


def _replaced(portfolio: Portfolio, name: str, form: AccountForm) -> Portfolio:
    _named(portfolio, name)
    accounts = tuple(account_of(form, each) if each.name == name else each for each in portfolio.accounts)
    return replace(portfolio, accounts=accounts)


# -- connecting and syncing -------------------------------------------------------------------------------------------


def _connecting(service: Service) -> list[HTTPRouteHandler]:
    room = Room(service)

    @get(_below("sync-status"))
    async def status(request: AnyRequest) -> Response[bytes]:
        who = await room.reader(request)
        account = await _account(room, who, request)
        told = link_info(_linked(account), now=room.desk.clock.now(), every=room.every)
        return response(Answer(200, SyncStatusInfo(name=account.name, connection=told)))

    @post(_below("connect/ibkr"), status_code=200)
    async def connect(request: AnyRequest) -> Response[bytes]:
        who = await room.keeper(request)
        service.acts.take(who.user_id)
        form: ConnectForm = await room.form(ConnectForm, request)
        account, portfolio_id = await _account(room, who, request), portfolio_id_of(request)
        login = await room.login(who, form.connection_id, request)
        link = Link(
            account_id=form.account_id,
            connection_id=shown_id(login.book.row),
            username=form.username.strip(),
            sync_enabled=form.sync_enabled,
            read_only=form.read_only,
            keep_manual=form.keep_manual,
        )
        with room.noting(request, who)("portfolios.connect", portfolio_id, account_id=form.account_id):
            account = await room.desk.connect(who.user_id, portfolio_id, account.name, link, login.client)
        if form.sync_now:
            try:
                await room.desk.sync(who.user_id, portfolio_id, account.name, lambda link: login.client)
            except IbkitError as error:  # it is connected; its status tells why nothing was read yet
                log.info("the first sync failed", extra={"code": error.code})
            account = await _account(room, who, request)
        return room.of_account(account)

    @post(_below("sync"), status_code=200)
    async def sync(request: AnyRequest) -> Response[bytes]:
        who = await room.keeper(request)
        service.acts.take(who.user_id)
        account = await _account(room, who, request)
        return response(Answer(200, sync_answer(await _synced(room, who, account, request))))

    @post(_below("disconnect"), status_code=200)
    async def disconnect(request: AnyRequest) -> Response[bytes]:
        who, portfolio_id = await room.keeper(request), portfolio_id_of(request)
        with room.noting(request, who)("portfolios.disconnect", portfolio_id):
            account = await room.desk.books.disconnect(
                who.user_id, portfolio_id, account_name(request), at=room.desk.clock.now()
            )
        return room.of_account(account)

    @post(_below("restore"), status_code=200)
    async def restore(request: AnyRequest) -> Response[bytes]:
        who, portfolio_id = await room.keeper(request), portfolio_id_of(request)
        with room.noting(request, who)("portfolios.restore", portfolio_id):
            account = await room.desk.books.restore(
                who.user_id, portfolio_id, account_name(request), at=room.desk.clock.now()
            )
        return room.of_account(account)

    return [status, connect, sync, disconnect, restore]


async def _synced(room: Room, who: Principal, account: PortfolioAccount, request: AnyRequest) -> SyncOutcome:
    """By the login of its link; one without a session by its newest statement."""
    portfolio_id, link = portfolio_id_of(request), _linked(account)
    if room.desk.is_without_session(link):
        return await room.desk.sync_from_statements(who.user_id, portfolio_id, account.name)
    login = await room.login(who, link.connection_id, request)
    return await room.desk.sync(who.user_id, portfolio_id, account.name, lambda link: login.client)


def _linked(account: PortfolioAccount) -> Link:
    """TradingError (E-NOT-CONNECTED)."""
    if account.link is None:
        raise TradingError(code="E-NOT-CONNECTED", details={"account": account.name})
    return account.link


# -- the broker -------------------------------------------------------------------------------------------------------


def _broker(service: Service) -> list[HTTPRouteHandler]:
    room = Room(service)

    @get(["/ibkr/test-connection", "/api/ibkr/test-connection"])
    async def test(request: AnyRequest) -> Response[bytes]:
        who = await service.asked.who(request)
        may_read(who)
        service.acts.take(who.user_id)
        return response(Answer(200, ConnectionTestAnswer(connection_test=await _tested(room, who, request))))

    @get(["/ibkr/accounts", "/api/ibkr/accounts"])
    async def accounts(request: AnyRequest) -> Response[bytes]:
        who = await room.reader(request)
        service.acts.take(who.user_id)
        return response(Answer(200, await _seen(room, who, request)))

    return [test, accounts]


def _connection_id(request: AnyRequest) -> str | None:
    given, problems = once(request.query_params.multi_items(), ("connection_id",))
    if problems:
        raise invalid(*problems)
    return given.get("connection_id")


async def _seen(room: Room, who: Principal, request: AnyRequest) -> BrokerAccounts:
    """Of the connection named, or of all of theirs; what one fails by does not hide the others."""
    named = _connection_id(request)
    own = room.service.own
    wanted: list[str | None] = [named] if named else [shown_id(row) for row in await own.listed(who)]
    linked = {each.link.account_id: each for each in await room.desk.books.linked(who.user_id)}
    found: list[BrokerAccount] = []
    failed: list[ConnectionProblem] = []
    first: IbkitError | None = None
    for each in wanted or [None]:
        try:
            login = await room.login(who, each, request)
            name = shown_id(login.book.row)
            seen = await room.desk.seen_by(login.client)
        except IbkitError as error:
            first = first or error
            failed.append(
                ConnectionProblem(connection_id=each or "", code=error.code, message=error.message, remedy=error.remedy)
            )
            continue
        found += [broker_account(account, name, linked.get(account.account_id)) for account in seen]
    if first is not None and not found:
        raise first
    return BrokerAccounts(accounts=found, problems=failed)


async def _tested(room: Room, who: Principal, request: AnyRequest) -> ConnectionTestResult:
    """Every failure is an answer: the step that failed, and what to do.

    Whatever kept us from reaching IBKR is told by one code, whose remedy goes through all of them. SYN-02.
    """
    authenticated = accessible = False
    found = counted = 0
    try:
        login = await room.login(who, _connection_id(request), request)
        ib: Core = login.client
        seen = await room.desk.seen_by(ib)
        authenticated, found = True, len(seen)
        accessible = True
        for account in seen:
            counted += await room.desk.count_positions(ib, AccountId(account.account_id))
    except IbkitError as failed:
        error = IbkitError(code="E-API-CONNECT") if isinstance(failed, Unreachable) else failed
        return ConnectionTestResult(
            success=False,
            authenticated=authenticated and not isinstance(error, AuthError),
            accounts_accessible=accessible,
            positions_accessible=False,
            accounts_found=found,
            positions_count=counted,
            error=error.message,
            code=error.code,
            remedy=[line for line in error.remedy.split("\n") if line],
        )
    return ConnectionTestResult(
        success=True,
        authenticated=True,
        accounts_accessible=True,
        positions_accessible=True,
        accounts_found=found,
        positions_count=counted,
        error=None,
        code=None,
        remedy=[],
    )
