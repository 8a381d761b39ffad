"""Credentials of the user who asks, over HTTP: given, tested, put in use, deleted; read as masks only.

With ENABLE_MULTI_USER=false there are no such addresses (404). Whose credentials they are says the token alone.
Source: requirements VLT-07, VLT-08, CFG-08; reliability rules §6.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import msgspec
from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from ibkit.bootstrap.connections import was_refused
from ibkit.bootstrap.credential_desk import Asker, ConnectionCredentials, CredentialDesk, age_of
from ibkit.errors import ConfigError, IbkitError, InvalidRequest, NotFound, discreet
from ibkit.model import AuthMethod, Environment, Secret
from ibkit.service.connection_status import StepResult, results_of
from ibkit.service.people import may_keep_credentials, may_read
from ibkit.service.people_desk import refused_by_broker
from ibkit.service.problems import encode
from ibkit.service.reading import problems_of
from ibkit.service.refusals import Refusal, invalid
from ibkit.service.requests import AnyRequest, Asked
from ibkit.store.licences import Licence
from ibkit.vault import FIELDS, MaskedCredential
from ibkit.vault.credential import is_never_stored

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = [
    "CredentialInfo",
    "CredentialOverview",
    "CredentialTest",
    "CredentialWish",
    "DeletedCredentials",
    "KeptCredentials",
    "LicenceInfo",
    "credential_routes",
]

DEFAULT = "default"
_RESERVED = ("test", "activate")
"""Names of verbs in the address, so of no connection."""
_Text = Annotated[str, Meta(min_length=1, max_length=64 * 1024)] | None


class CredentialWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which of them belong together says `method`; every text is write-only.

    oauth2: clientId, clientKeyId, privateKey, credential, allowedIp; keyPassphrase, scope.
    oauth1a: consumerKey, signatureKey, encryptionKey, dhParams; accessToken with accessTokenSecret, keyPassphrase,
    realm, username. gateway: address; ca, username. accountId with each of them.
    """

    method: Literal["gateway", "oauth1a", "oauth2"]
    environment: Literal["paper", "live"] = "paper"
    label: Annotated[str, Meta(max_length=200)] = ""
    account_id: _Text = None
    client_id: _Text = None
    client_key_id: _Text = None
    private_key: _Text = None
    key_passphrase: _Text = None
    credential: _Text = None
    allowed_ip: _Text = None
    scope: _Text = None
    consumer_key: _Text = None
    access_token: _Text = None
    access_token_secret: _Text = None
    signature_key: _Text = None
    encryption_key: _Text = None
    dh_params: _Text = None
    realm: _Text = None
    username: _Text = None
    address: _Text = None
    ca: _Text = None

    def __repr__(self) -> str:
        return f"CredentialWish({self.method})"

    @classmethod
    @discreet
    def read(cls, value: object) -> Self:
        """From the JSON of a body. ConfigError (E-VALIDATION, 422) naming every field that is missing or wrong."""
        if not isinstance(value, dict):
            raise invalid(("body", "it is not an object"))
        found, problems = problems_of(cls, value)
        told = [(name, _NEVER if is_never_stored(name) else why) for name, why in problems]
        method = found.method if found is not None else value.get("method")
        if method in _METHODS:
            told += _belonging(AuthMethod(method), value, {name for name, _ in told})
        if told or found is None:
            raise invalid(*told)
        return found

    @property
    def fields(self) -> dict[str, Secret[str]]:
        given = {name: getattr(self, name) for name in _CAMEL}
        return {name: Secret(value) for name, value in given.items() if value is not None}


_METHODS = tuple(each.value for each in AuthMethod)
_NEVER = "passwords of IBKR and codes of its second factor are never stored; leave it out"
_CAMEL: Mapping[str, str] = {
    each.name: each.encode_name
    for each in msgspec.structs.fields(CredentialWish)
    if each.name not in ("method", "environment", "label")
}
"""Field of the vault → its name in JSON."""


def _camel(name: str) -> str:
    return _CAMEL.get(name, name)


def _belonging(method: AuthMethod, value: Mapping[str, Any], told: set[str]) -> list[tuple[str, str]]:
    """What the method needs and was not given, and what was given and is none of it."""
    known = FIELDS[method]
    missing = [_camel(name) for name, field in known.items() if field.required and value.get(_camel(name)) is None]
    strange = [camel for name, camel in _CAMEL.items() if name not in known and value.get(camel) is not None]
    return [
        *((name, f"{method.value} needs it") for name in missing if name not in told),
        *((name, f"it does not belong to {method.value}") for name in strange if name not in told),
    ]


class CredentialInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """fields: what may be seen of each; null where it cannot be opened. fingerprints: of keys, by their public half.

    renewalDue: older than CREDENTIAL_MAX_AGE_DAYS.
    """

    method: str
    environment: str
    label: str
    status: str
    last_error: str | None
    created_at: datetime
    changed_at: datetime
    last_used_at: datetime | None
    last_connected_at: datetime | None
    age_days: int
    renewal_due: bool
    version: int
    fields: dict[str, str | None]
    fingerprints: dict[str, str]


class KeptCredentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """inUse: what is signed in with. waiting: given later; not tested yet, or its test failed.

    status: active (one is in use), inactive, error, or none (nothing is stored).
    """

    connection_id: str
    status: str
    in_use: CredentialInfo | None
    waiting: CredentialInfo | None


class LicenceInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    reference: str
    accepted_by: str
    accepted_at: datetime


class CredentialOverview(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The connection `default`, and all. licence: IBKR's approval of several users, as it was recorded."""

    connection_id: str
    status: str
    in_use: CredentialInfo | None
    waiting: CredentialInfo | None
    connections: list[KeptCredentials]
    licence: LicenceInfo | None


class CredentialTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What the sign-in reached, and how the connection stands after it."""

    success: bool
    message: str
    steps: dict[str, StepResult]
    accounts: list[str]
    connection: KeptCredentials


class DeletedCredentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    connection_id: str
    deleted: int


def credential_routes(service: Service) -> list[HTTPRouteHandler]:
    door = _Door(service)
    return [*_reading(door), *_keeping(door)]


@dataclass(frozen=True, slots=True)
class _Door:
    """Who may do what here; without the desk nobody finds anything."""

    service: Service

    @property
    def asked(self) -> Asked:
        return self.service.asked

    @property
    def desk(self) -> CredentialDesk:
        if self.service.credentials is None:
            raise NotFound(code="E-NOT-FOUND", details={"thing": "address"})
        return self.service.credentials

    async def reader(self, request: AnyRequest) -> str:
        """The user's id."""
        who = await self.asked.who(request)
        _ = self.desk
        may_read(who)
        return who.user_id

    async def keeper(self, request: AnyRequest) -> Asker:
        who = await self.asked.who(request)
        _ = self.desk
        may_keep_credentials(who, now=self.service.people.users.clock.now())
        self.service.acts.take(who.user_id)
        address = str(request.scope.get("state", {}).get("address", ""))
        return Asker(user_id=who.user_id, actor=who.user_id, address=address)

    def told(self, kept: ConnectionCredentials) -> KeptCredentials:
        days = self.service.settings.vault.max_age_days
        return _kept(kept, now=self.desk.vault.clock.now(), most=timedelta(days=days))


def _reading(door: _Door) -> list[HTTPRouteHandler]:
    @get("/api/settings/ibkr")
    async def overview(request: AnyRequest) -> Response[bytes]:
        user_id = await door.reader(request)
        connections = [door.told(each) for each in await door.desk.of_user(user_id)]
        first = next((each for each in connections if each.connection_id == DEFAULT), _NOTHING)
        return _answer(
            CredentialOverview(
                connection_id=DEFAULT,
                status=first.status,
                in_use=first.in_use,
                waiting=first.waiting,
                connections=connections,
                licence=_licence(await door.desk.licence()),
            )
        )

    @get("/api/settings/ibkr/{connection_id:str}")
    async def show(request: AnyRequest) -> Response[bytes]:
        user_id = await door.reader(request)
        found = await door.desk.of_connection(user_id, _connection_id(request))
        if found.in_use is None and found.waiting is None:
            raise NotFound(code="E-NOT-FOUND", details={"thing": "connection"})
        return _answer(door.told(found))

    return [overview, show]


def _keeping(door: _Door) -> list[HTTPRouteHandler]:
    @post(["/api/settings/ibkr", "/api/settings/ibkr/{connection_id:str}"], status_code=200)
    async def put(request: AnyRequest) -> Response[bytes]:
        who = await door.keeper(request)
        place = _connection_id(request)
        if place in _RESERVED:
            raise invalid(("connection_id", f"{' and '.join(_RESERVED)} are no names of connections"))
        wish = CredentialWish.read(await door.asked.body(request))
        return _answer(door.told(await _put(door.desk, who, place, wish)))

    @delete(["/api/settings/ibkr", "/api/settings/ibkr/{connection_id:str}"], status_code=200)
    async def remove(request: AnyRequest) -> Response[bytes]:
        who = await door.keeper(request)
        place = _connection_id(request)
        return _answer(DeletedCredentials(connection_id=place, deleted=await door.desk.delete(who, place)))

    @post(["/api/settings/ibkr/test", "/api/settings/ibkr/{connection_id:str}/test"], status_code=200)
    async def test(request: AnyRequest) -> Response[bytes]:
        who = await door.keeper(request)
        place = _connection_id(request)
        trial = await door.desk.test(who, place)
        if was_refused(trial.failure):
            await refused_by_broker(door.service.people, who.user_id, address=who.address)
        return _answer(
            CredentialTest(
                success=trial.failure is None,
                message="Connection works" if trial.failure is None else trial.failure.message,
                steps=results_of(trial.steps, trial.began, trial.failure),
                accounts=list(trial.accounts),
                connection=door.told(await door.desk.of_connection(who.user_id, place)),
            )
        )

    @post(["/api/settings/ibkr/activate", "/api/settings/ibkr/{connection_id:str}/activate"], status_code=200)
    async def activate(request: AnyRequest) -> Response[bytes]:
        who = await door.keeper(request)
        return _answer(door.told(await door.desk.activate(who, _connection_id(request))))

    return [put, remove, test, activate]


def _licence(licence: Licence | None) -> LicenceInfo | None:
    if licence is None:
        return None
    return LicenceInfo(reference=licence.reference, accepted_by=licence.accepted_by, accepted_at=licence.accepted_at)


async def _put(desk: CredentialDesk, who: Asker, place: str, wish: CredentialWish) -> ConnectionCredentials:
    try:
        return await desk.put(
            who,
            place,
            method=AuthMethod(wish.method),
            environment=Environment(wish.environment),
            fields=wish.fields,
            label=wish.label,
            named=_camel,
        )
    except (ConfigError, InvalidRequest) as error:
        # In settings these are a state of the installation (409); here it is the body that is wrong.
        raise Refusal(422, _with_field(error)) from None


def _with_field(error: IbkitError) -> IbkitError:
    """Which field it is about, as a client finds it in every other 422."""
    name = str(error.details.get("field") or error.details.get("setting") or "")
    if name and "errors" not in error.details:
        error.details["errors"] = [{"field": _camel(name), "message": error.message}]
    return error


def _connection_id(request: AnyRequest) -> str:
    return str(request.path_params.get("connection_id", DEFAULT))


_NOTHING = KeptCredentials(connection_id=DEFAULT, status="none", in_use=None, waiting=None)


def _kept(kept: ConnectionCredentials, *, now: datetime, most: timedelta) -> KeptCredentials:
    first = kept.in_use or kept.waiting
    return KeptCredentials(
        connection_id=kept.connection_id,
        status="none" if first is None else first.status.value,
        in_use=None if kept.in_use is None else _info(kept.in_use, now=now, most=most),
        waiting=None if kept.waiting is None else _info(kept.waiting, now=now, most=most),
    )


def _info(credential: MaskedCredential, *, now: datetime, most: timedelta) -> CredentialInfo:
    age = age_of(credential, now)
    return CredentialInfo(
        method=credential.method.value,
        environment=credential.environment.value,
        label=credential.label,
        status=credential.status.value,
        last_error=credential.last_error,
        created_at=credential.created_at,
        changed_at=credential.changed_at,
        last_used_at=credential.last_used_at,
        last_connected_at=credential.last_connected_at,
        age_days=age.days,
        renewal_due=age > most,
        version=credential.version,
        fields={_camel(name): shown for name, shown in credential.fields.items()},
        fingerprints={_camel(name): shown for name, shown in credential.fingerprints.items()},
    )


def _answer(body: msgspec.Struct) -> Response[bytes]:
    return Response(encode(body), media_type="application/json")
