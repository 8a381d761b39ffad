"""The Flex token of the user who asks, over HTTP: given with its query, shown as a mask, taken away.

With ENABLE_MULTI_USER=false there is no such address (404): there it is FLEX_TOKEN of the settings. It is a credential
like those of a sign-in: kept in the vault, changed by the same people. Requirements FUT-08, VLT-07.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from ibkit.bootstrap.flex_tokens import FlexAccess, FlexTokens
from ibkit.errors import NotFound
from ibkit.model import Secret
from ibkit.service.orders import Answer
from ibkit.service.people import may_keep_credentials, may_read
from ibkit.service.reading import read_struct
from ibkit.service.requests import AnyRequest, address_of
from ibkit.service.responses import response
from ibkit.users.principal import Principal

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["FlexTokenForm", "FlexTokenInfo", "flex_token_routes"]

_AT = "/api/settings/flex"


class FlexTokenForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """token: write-only. query_id: of the query that tells of the accounts. expires_on: the token's day."""

    token: Annotated[str, Meta(pattern=r"^[!-~]{4,200}$", description="As the Client Portal shows it.")]
    query_id: Annotated[str, Meta(pattern=r"^\d{1,20}$", description="The number beside the query.")]
    expires_on: date | None = None

    def __repr__(self) -> str:
        return f"FlexTokenForm({self.query_id})"


class FlexTokenInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """token: what may be seen of it; null where none is kept."""

    token: str | None
    query_id: str | None
    expires_on: date | None
    changed_at: datetime | None


def flex_token_routes(service: Service) -> list[HTTPRouteHandler]:
    def tokens() -> FlexTokens:
        if service.credentials is None:
            raise NotFound(code="E-NOT-FOUND", details={"thing": "address"})
        return FlexTokens(service.credentials.vault)

    async def keeper(request: AnyRequest) -> Principal:
        who = await service.asked.who(request)
        tokens()
        may_keep_credentials(who, now=service.people.users.clock.now())
        service.acts.take(who.user_id)
        return who

    def told(access: FlexAccess | None) -> Response[bytes]:
        info = FlexTokenInfo(
            token=None if access is None else access.shown,
            query_id=None if access is None else access.query_id,
            expires_on=None if access is None else access.expires_on,
            changed_at=None if access is None else access.changed_at,
        )
        return response(Answer(200, info))

    @get(_AT)
    async def show(request: AnyRequest) -> Response[bytes]:
        who = await service.asked.who(request)
        kept = tokens()
        may_read(who)
        return told(await kept.of(who.user_id))

    @post(_AT, status_code=200)
    async def put(request: AnyRequest) -> Response[bytes]:
        who = await keeper(request)
        form = read_struct(FlexTokenForm, await service.asked.body(request))
        access = FlexAccess(
            token=Secret(form.token),
            query_id=form.query_id,
            expires_on=form.expires_on,
            changed_at=service.people.users.clock.now(),
        )
        with service.people.by(who, address_of(request))("flex_token.put", form.query_id):
            await tokens().put(who.user_id, access)
        return told(access)

    @delete(_AT, status_code=200)
    async def remove(request: AnyRequest) -> Response[bytes]:
        who = await keeper(request)
        with service.people.by(who, address_of(request))("flex_token.delete", ""):
            await tokens().forget(who.user_id)
        return told(None)

    return [show, put, remove]
