"""An account and what it holds, as it stands at IBKR now: for pages, from one reading for all who look.

They are not counted for the rate of reads: at most one read goes to IBKR in five seconds, whoever asks how often.
Source: requirement SYN-17.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from ibkit.bootstrap.connections import Connection
from ibkit.bootstrap.desks import Desk
from ibkit.errors import ConfigError
from ibkit.service.account_documents import account_answer, positions_answer
from ibkit.service.logins import need_open
from ibkit.service.orders import Answer
from ibkit.service.people import may_read, of_theirs
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest, address_of, by_the_clock, once
from ibkit.service.responses import response

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["account_routes"]

_LONGEST = {"account_id": 32, "broker": 32, "connection_id": 64}


def account_routes(service: Service) -> list[HTTPRouteHandler]:
    async def desk(request: AnyRequest) -> tuple[Connection, Desk]:
        who = await service.asked.who(request, counted=False)
        may_read(who)
        given, problems = once(request.query_params.multi_items(), tuple(_LONGEST))
        problems += [
            (name, f"it has 1 to {most} characters")
            for name, most in _LONGEST.items()
            if not _fits(given.get(name), most)
        ]
        if problems:
            raise invalid(*problems)
        name = given.get("broker") or service.brokers.default
        login = await service.logins.of(who, name, given.get("connection_id"), address=address_of(request))
        if not isinstance(login, Connection):
            names = ", ".join(sorted(service.brokers.adapters))
            why = f"Broker {name} does not tell accounts"
            raise ConfigError(why, code="E-BROKER", details={"name": name, "list": names, "field": "broker"})
        if by_the_clock(request):
            need_open(login)
        return login, await login.desk(of_theirs(who, given.get("account_id")))

    @get("/api/account")
    async def account(request: AnyRequest) -> Response[bytes]:
        connection, at = await desk(request)
        return response(Answer(200, account_answer(connection, await connection.reader.figures(at))))

    @get("/api/positions")
    async def positions(request: AnyRequest) -> Response[bytes]:
        connection, at = await desk(request)
        return response(Answer(200, positions_answer(connection, await connection.reader.held(at))))

    return [account, positions]


def _fits(text: str | None, most: int) -> bool:
    return text is None or 1 <= len(text) <= most
