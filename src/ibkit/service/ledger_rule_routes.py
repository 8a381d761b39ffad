"""The rules of a ledger over HTTP, and what was told otherwise before. Source: requirement FUT-08."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Response, get, put
from litestar.handlers import HTTPRouteHandler

from ibkit.portfolio.lots import LotOrder
from ibkit.service import ledger_rule_documents as documents
from ibkit.service.ledger_routes import MOST_AT_ONCE, number_in, only_account
from ibkit.service.orders import Answer
from ibkit.service.portfolio_routes import Room, account_name, portfolio_id_of
from ibkit.service.reading import read_struct
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest, once
from ibkit.service.responses import response

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["ledger_rule_routes"]

_ONE = ["/portfolio/{portfolio_id:str}", "/api/portfolio/{portfolio_id:str}"]
_RULES = [f"{path}/accounts/{{name:str}}/ledger-rules" for path in _ONE]


def ledger_rule_routes(service: Service) -> list[HTTPRouteHandler]:
    room = Room(service)

    @get(_RULES)
    async def rules(request: AnyRequest) -> Response[bytes]:
        who, name = await room.reader(request), account_name(request)
        told = await room.desk.ledgers.told(who.user_id, portfolio_id_of(request), name)
        return response(Answer(200, documents.rules_info(name, told.rules)))

    @put(_RULES)
    async def change(request: AnyRequest) -> Response[bytes]:
        who, portfolio_id, name = await room.keeper(request), portfolio_id_of(request), account_name(request)
        form = read_struct(documents.LedgerRulesForm, await service.asked.body(request))
        picks = {each.closed_by: [(lot.opened_by, lot.quantity) for lot in each.lots] for each in form.picks}
        if len(picks) < len(form.picks):
            raise invalid(("picks", "a closing trade stands in it twice"))
        with room.noting(request, who)("portfolios.change", portfolio_id):
            made = await room.desk.ledgers.set_rules(
                who.user_id,
                portfolio_id,
                name,
                order=None if form.lot_order is None else LotOrder(form.lot_order),
                premium_into_stock=form.premium_into_stock,
                picks=picks,
            )
        return response(Answer(200, documents.rules_info(name, made)))

    @get([f"{path}/corrections" for path in _ONE])
    async def corrections(request: AnyRequest) -> Response[bytes]:
        who, portfolio_id = await room.reader(request), portfolio_id_of(request)
        given, problems = once(request.query_params.multi_items(), ("account", "limit", "offset"))
        most, skip = number_in(given, "limit", problems), number_in(given, "offset", problems)
        if problems:
            raise invalid(*problems)
        name = await only_account(room, who, portfolio_id, given.get("account"))
        found = await room.desk.ledgers.corrections(who.user_id, portfolio_id, name)
        told = documents.corrections_info(name, found, skip=skip or 0, most=min(most or MOST_AT_ONCE, MOST_AT_ONCE))
        return response(Answer(200, told))

    return [rules, change, corrections]
