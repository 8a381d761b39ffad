"""Connections and their sessions over HTTP: how they stand, connecting, logging out, taking over, and whose they are.

Every address takes `connection_id`, by default the user's own default. Each act is in the audit log, with its outcome.
Source: requirements SES-08, SES-10, SES-13, SES-15, MON-01, MON-02, MON-03, MON-09.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler

from ibkit.bootstrap.auditing import audit_clock, result_of
from ibkit.bootstrap.connection_desk import no_such_connection
from ibkit.bootstrap.connections import Connection
from ibkit.errors import ConfigError, IbkitError
from ibkit.model import AuthMethod, Environment
from ibkit.service.connection_documents import (
    ConnectionList,
    ConnectionWish,
    DeletedConnection,
    LoggedOut,
    TakeOver,
    history_document,
    info_of,
    session_document,
    shown_id,
)
from ibkit.service.connection_status import LastError, MaintenanceInfo, SignInTest, status_document
from ibkit.service.health import of_row
from ibkit.service.orders import Answer
from ibkit.service.own_connections import OwnConnections
from ibkit.service.people import may_connect, may_read
from ibkit.service.reading import read_struct
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest
from ibkit.service.responses import response
from ibkit.users.principal import Principal
from ibkit.vault import Act, Result

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["connection_routes"]

YOUNG_S = 5.0
"""A look that is not older is not taken again for whoever asks for the session."""
LONGEST_DAYS = 90


def connection_routes(service: Service) -> list[HTTPRouteHandler]:
    return [*_looks(service), *_acts(service), *_own(service)]


def _looks(service: Service) -> list[HTTPRouteHandler]:
    asked, own = service.asked, service.own

    async def reader(request: AnyRequest) -> Principal:
        who = await asked.who(request)
        may_read(who)
        return who

    @get("/api/ibkr/status")
    async def status(request: AnyRequest) -> Response[bytes]:
        who = await asked.who(request, counted=False)
        may_read(who)
        try:
            connection = await own.connection(who, _connection_id(request), address=_address(request))
        except ConfigError as error:
            if error.code != "E-NOT-CONFIGURED":
                raise
            connection = None
        told = status_document(service.settings if connection is None else connection.settings, connection)
        planned = MaintenanceInfo.of(service.maintenance)
        return response(Answer(200, msgspec.structs.replace(told, maintenance=planned)))

    @post("/api/ibkr/test", status_code=200)
    async def test(request: AnyRequest) -> Response[bytes]:
        who = await reader(request)
        service.acts.take(who.user_id)  # each run may sign in anew
        connection = await own.connection(who, _connection_id(request), address=_address(request))
        key = f"{connection.book.row.user_id}/{connection.book.row.connection_id}"
        tester = service.tests.get(key)
        if tester is None or not tester.of(connection):
            tester = service.tests[key] = SignInTest(connection)
        return response(Answer(200, await tester.run()))

    @get("/api/ibkr/session")
    async def session(request: AnyRequest) -> Response[bytes]:
        connection = await own.connection(await reader(request), _connection_id(request), address=_address(request))
        await connection.check(older_than_s=YOUNG_S)
        return response(Answer(200, session_document(connection)))

    @get("/api/ibkr/session/history")
    async def history(request: AnyRequest) -> Response[bytes]:
        who = await reader(request)
        days = _days(request)
        connection = await own.connection(who, _connection_id(request, "days"), address=_address(request))
        told = await history_document(own.record, connection.book.row, days=days, now=connection.clock.now())
        return response(Answer(200, told))

    @get("/health/broker/{connection_id:str}")
    async def health(request: AnyRequest) -> Response[bytes]:
        """Nothing is opened for it: whoever watches asks often."""
        who = await asked.who(request, counted=False)
        may_read(who)
        wanted = str(request.path_params["connection_id"])
        row = next((each for each in await own.listed(who) if shown_id(each) == wanted), None)
        if row is None:
            raise no_such_connection()
        told = of_row(row)
        return response(Answer(200 if told.status == "up" else 503, told))

    return [status, test, session, history, health]


def _acts(service: Service) -> list[HTTPRouteHandler]:
    asked, own = service.asked, service.own

    async def acted(
        request: AnyRequest, action: str, work: Callable[[Connection], Awaitable[Any]], **details: Any
    ) -> tuple[Connection, Any]:
        """What `work` gives, and in the audit log who did it and how it ended."""
        who = await asked.who(request)
        may_connect(who)
        service.acts.take(who.user_id)
        connection = await own.connection(who, _connection_id(request), address=_address(request))
        try:
            found = await work(connection)
        except IbkitError as error:
            _tell(own, request, who, action, _name(connection), result_of(error), code=error.code, **details)
            raise
        _tell(own, request, who, action, _name(connection), Result.OK, **details)
        return connection, found

    @post("/api/ibkr/connect", status_code=200)
    async def connect(request: AnyRequest) -> Response[bytes]:
        connection, _ = await acted(request, "sessions.connect", lambda each: each.bring_up())
        return response(Answer(200, session_document(connection)))

    @post("/api/ibkr/reconnect", status_code=200)
    async def reconnect(request: AnyRequest) -> Response[bytes]:
        connection, _ = await acted(request, "sessions.reconnect", lambda each: each.reopen())
        return response(Answer(200, session_document(connection)))

    @post("/api/ibkr/take-over", status_code=200)
    async def take_over(request: AnyRequest) -> Response[bytes]:
        may_connect(await asked.who(request))
        if not read_struct(TakeOver, await asked.body(request)).confirm:
            raise invalid(("confirm", "it is true: the other login loses its session at once"))
        connection, _ = await acted(request, "sessions.take_over", lambda each: each.reopen(compete=True))
        return response(Answer(200, session_document(connection)))

    @post("/api/ibkr/logout", status_code=200)
    async def logout(request: AnyRequest) -> Response[bytes]:
        connection, failure = await acted(request, "sessions.logout", lambda each: each.log_out())
        warning = None
        if failure is not None:
            warning = LastError(
                code=failure.code,
                message=f"IBKR was not told: {failure.message}",
                remedy="Nothing is sent any more; the login at IBKR ends by itself, or at its own page.",
            )
        state = connection.state.value
        told = LoggedOut(connection_id=_name(connection), state=state, warning=warning)
        return response(Answer(200, told))

    return [connect, reconnect, take_over, logout]


def _own(service: Service) -> list[HTTPRouteHandler]:
    asked, own = service.asked, service.own

    async def owner(request: AnyRequest) -> Principal:
        who = await asked.who(request)
        may_connect(who)
        service.acts.take(who.user_id)
        return who

    @get("/api/ibkr/connections")
    async def listed(request: AnyRequest) -> Response[bytes]:
        who = await asked.who(request)
        may_read(who)
        return response(Answer(200, ConnectionList(data=[info_of(each) for each in await own.listed(who)])))

    @post("/api/ibkr/connections", status_code=201)
    async def create(request: AnyRequest) -> Response[bytes]:
        who = await owner(request)
        wish = read_struct(ConnectionWish, await asked.body(request))
        row = await own.create(
            who,
            wish.connection_id,
            method=AuthMethod(wish.method),
            environment=Environment(wish.environment),
            label=wish.label,
            address=wish.address,
            username=wish.username,
        )
        _tell(own, request, who, "connections.create", row.connection_id, method=row.method)
        place = {"Location": f"/api/ibkr/connections/{row.connection_id}"}
        return response(Answer(201, info_of(row), place))

    @post("/api/ibkr/connections/{connection_id:str}/default", status_code=200)
    async def set_default(request: AnyRequest) -> Response[bytes]:
        who, name = await owner(request), str(request.path_params["connection_id"])
        await own.set_default(who, name)
        _tell(own, request, who, "connections.set_default", name)
        return response(Answer(200, ConnectionList(data=[info_of(each) for each in await own.listed(who)])))

    @delete("/api/ibkr/connections/{connection_id:str}", status_code=200)
    async def remove(request: AnyRequest) -> Response[bytes]:
        who, name = await owner(request), str(request.path_params["connection_id"])
        await own.delete(who, name, address=_address(request))
        _tell(own, request, who, "connections.delete", name)
        return response(Answer(200, DeletedConnection(connection_id=name, deleted=True)))

    return [listed, create, set_default, remove]


def _name(connection: Connection) -> str:
    return shown_id(connection.book.row)


def _tell(
    own: OwnConnections,
    request: AnyRequest,
    who: Principal,
    action: str,
    name: str,
    result: Result = Result.OK,
    **details: Any,
) -> None:
    act = Act(
        at=audit_clock().now(),
        actor=who.user_id,
        address=_address(request),
        action=action,
        object=f"{who.user_id}/{name}" if own.of_users else name,
        result=result,
        details={"api_key": who.api_key_id, **details},
    )
    own.audit.tell(lambda: act)


def _address(request: AnyRequest) -> str:
    return str(request.scope.get("state", {}).get("address", ""))


def _connection_id(request: AnyRequest, *others: str) -> str | None:
    """ConfigError (E-VALIDATION) for a filter that is none, or stands twice."""
    query = list(request.query_params.multi_items())
    problems = [(name[:40], "there is no such filter") for name, _ in query if name not in ("connection_id", *others)]
    given = [value for name, value in query if name == "connection_id"]
    if len(given) > 1:
        problems.append(("connection_id", "it stands twice"))
    if problems:
        raise invalid(*problems)
    return given[0] if given else None


def _days(request: AnyRequest) -> int:
    given = [value for each, value in request.query_params.multi_items() if each == "days"]
    text = given[0] if given else "7"
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= LONGEST_DAYS):
        raise invalid(("days", f"it is a whole number from 1 to {LONGEST_DAYS}"))
    return int(text)
