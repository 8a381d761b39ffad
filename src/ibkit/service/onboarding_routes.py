"""Getting started over HTTP: what is missing and what was found here, keys for IBKR's portal, and the demo.

Nothing here calls IBKR. What makes keys, or lets the simulator stand in, stands in the audit log. Source: requirements
UI-05, UI-06, SET-01, SET-07 to SET-09, VLT-07.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import anyio
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from ibkit.bootstrap import keyfiles
from ibkit.bootstrap.auditing import audit_clock, audit_log, record_now
from ibkit.bootstrap.credential_desk import Asker
from ibkit.bootstrap.key_making import FILES, TO_UPLOAD, TRIES_ON_AVERAGE, Kind
from ibkit.errors import ConfigError, IbkitError, InvalidRequest, NotFound
from ibkit.model import AuthMethod, Environment, Secret
from ibkit.service.connection_status import LastError, status_document
from ibkit.service.key_making import CONNECTION, KeyJob, directory_of
from ibkit.service.onboarding_documents import (
    DemoForm,
    FoundGateway,
    FoundKeys,
    KeyJobInfo,
    KeysAnswer,
    KeysForm,
    KeysInfo,
    OnboardingAnswer,
    OnboardingInfo,
    SettingsFile,
    TokenForm,
)
from ibkit.service.orders import Answer
from ibkit.service.people import administers, may_administer, may_keep_credentials, may_read
from ibkit.service.reading import read_struct
from ibkit.service.refusals import Refusal, invalid
from ibkit.service.requests import AnyRequest, address_of, once
from ibkit.service.responses import response
from ibkit.settings import Settings
from ibkit.settings.addresses import is_loopback
from ibkit.settings.method import missing_for
from ibkit.settings.sources import SEARCHED
from ibkit.users import Principal
from ibkit.vault import Act, Result

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["demo_wanted", "onboarding_routes"]

MOCK = "mock"
_LOOK_S = 0.5
_DEMO = "demo.switch"


def onboarding_routes(service: Service) -> list[HTTPRouteHandler]:
    return [*_state(service), *_keys(service)]


def _state(service: Service) -> list[HTTPRouteHandler]:
    @get("/api/onboarding")
    async def show(request: AnyRequest) -> Response[bytes]:
        who = await service.asked.who(request, counted=False)
        may_read(who)
        _nothing_asked(request)
        return response(Answer(200, OnboardingAnswer(data=await _info(service, who, address_of(request)))))

    @post("/api/onboarding/demo", status_code=200)
    async def demo(request: AnyRequest) -> Response[bytes]:
        who = await service.asked.who(request)
        may_administer(who)
        service.people.changes.take(who.user_id)
        form = read_struct(DemoForm, await service.asked.body(request))
        if form.on and not _demo_possible(service):
            raise invalid(("on", "a connection is configured, or each user has their own: nothing stands in for it"))
        if not form.on and not _is_demo(service):
            raise invalid(("on", "no demo is on"))
        await _switched(service, who, address_of(request), on=form.on)
        return response(Answer(200, OnboardingAnswer(data=await _info(service, who, address_of(request)))))

    return [show, demo]


async def _info(service: Service, who: Principal, address: str) -> OnboardingInfo:
    settings, connection = service.settings, None
    try:
        if not _is_demo(service):  # the simulated one stands for nothing that was set up
            connection = await service.own.connection(who, None, address=address)
            settings = connection.settings
    except ConfigError as error:
        if error.code != "E-NOT-CONFIGURED":
            raise
    except NotFound:
        pass  # of users, who have none yet
    status = status_document(settings, connection)
    up = status.connected
    return OnboardingInfo(
        state="connected" if up else "configured" if status.configured else "not_configured",
        method=status.method,
        environment=status.environment,
        region=settings.general.region,
        multi_user=status.multi_user_mode,
        read_only=status.read_only,
        missing=status.missing,
        missing_for={each.value: list(missing_for(each, service.settings.sources)) for each in AuthMethod},
        settings_file=_file(service.settings) if administers(who) else None,
        gateway=await _gateway(settings, up=up and status.method == AuthMethod.GATEWAY.value),
        keys_found=[kind for kind in FILES if _there(service.settings, kind) == FILES[kind]],
        demo=_is_demo(service),
        demo_possible=_demo_possible(service),
    )


def _file(settings: Settings) -> SettingsFile:
    looked_in = [str(each.absolute()) for each in SEARCHED]
    used = None if settings.file is None else str(settings.file)
    return SettingsFile(used=used, looked_in=looked_in if used is None or used in looked_in else [used])


async def _gateway(settings: Settings, *, up: bool) -> FoundGateway:
    """up: the login is by it, and stands."""
    place = settings.gateway_address
    if up or not is_loopback(place.host):
        return FoundGateway(address=place.base, listening=True if up else None)
    with anyio.move_on_after(_LOOK_S):
        try:
            await (await anyio.connect_tcp(place.host, place.port)).aclose()
            return FoundGateway(address=place.base, listening=True)
        except OSError:
            pass
    return FoundGateway(address=place.base, listening=False)


# -- the demo ---------------------------------------------------------------------------------------------------------


def _is_demo(service: Service) -> bool:
    return service.simulated and not service.settings.mock


def _demo_possible(service: Service) -> bool:
    """Only where there is no connection that could be mistaken for it, and the simulator's libraries are there."""
    adapters = service.brokers.adapters
    ours = adapters[service.settings.general.provider]
    alone = not service.settings.general.multi_user and not service.settings.mock
    return alone and bool(ours.missing()) and not adapters[MOCK].missing() and not service.simulated


async def demo_wanted(service: Service) -> bool:
    """Whether somebody switched it on before this start, and it is possible still."""
    if not _demo_possible(service):
        return False
    async with audit_log(service.settings) as log:
        last = await log.entries(action=_DEMO, limit=1)
    return bool(last) and last[0].result == Result.OK and last[0].details.get("on") == "true"


async def _switched(service: Service, who: Principal, address: str, *, on: bool) -> None:
    """In the audit log before it holds: there the next start finds it."""
    act = Act(
        at=audit_clock().now(),
        actor=who.user_id,
        address=address,
        action=_DEMO,
        object=MOCK,
        result=Result.OK,
        details={"on": "true" if on else "false", "by": who.name},
    )
    if on:
        service.own.opened_one(MOCK, await service.brokers.login(MOCK))
    await record_now(service.settings, act)
    service.brokers.default = MOCK if on else service.settings.general.provider


# -- keys -------------------------------------------------------------------------------------------------------------


def _keys(service: Service) -> list[HTTPRouteHandler]:
    making, vault = service.keys, service.keys.desk is not None

    async def reader(request: AnyRequest) -> Principal:
        """Of one's own vault; the files are the installation's, so for those who look after it."""
        who = await service.asked.who(request)
        (may_read if vault else may_administer)(who)
        _nothing_asked(request)
        return who

    async def keeper(request: AnyRequest) -> Principal:
        who = await service.asked.who(request)
        if vault:
            may_keep_credentials(who, now=service.people.users.clock.now())
        else:
            may_administer(who)
        service.people.changes.take(who.user_id)
        return who

    @get("/api/onboarding/keys")
    async def show(request: AnyRequest) -> Response[bytes]:
        who = await reader(request)
        return response(Answer(200, KeysAnswer(data=await _keys_info(service, who.user_id))))

    @post("/api/onboarding/keys", status_code=202)
    async def make(request: AnyRequest) -> Response[bytes]:
        who = await keeper(request)
        form = read_struct(KeysForm, await service.asked.body(request))
        if vault:
            await _into_vault(service, who, address_of(request), form)
        else:
            place = str(directory_of(service.settings, form.kind))
            noting = _noting(service, who, address_of(request), form.kind, place)
            making.into_files(form.kind, noting, replace=form.replace)
        return response(Answer(202, KeysAnswer(data=await _keys_info(service, who.user_id))))

    @get("/api/onboarding/keys/{name:str}")
    async def download(request: AnyRequest) -> Response[bytes]:
        who, name = await reader(request), str(request.path_params["name"])
        text = await making.public_file(who.user_id, name)
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(text.encode("ascii"), media_type="application/x-pem-file", headers=headers)

    @post("/api/onboarding/token", status_code=200)
    async def token(request: AnyRequest) -> Response[bytes]:
        who = await keeper(request)
        form = read_struct(TokenForm, await service.asked.body(request))
        fields = {
            "access_token": Secret(form.access_token.strip()),
            "access_token_secret": Secret(form.access_token_secret.strip()),
            **({"account_id": Secret(form.account_id.strip())} if form.account_id.strip() else {}),
        }
        try:
            await making.add_token(_asker(who, address_of(request)), fields)
        except (ConfigError, InvalidRequest) as error:
            # In settings these are a state of the installation (409); here it is the body that is wrong.
            raise Refusal(422, _with_field(error)) from None
        return response(Answer(200, KeysAnswer(data=await _keys_info(service, who.user_id))))

    return [show, make, download, token]


async def _into_vault(service: Service, who: Principal, address: str, form: KeysForm) -> None:
    if form.kind != "oauth1a":
        raise invalid(("kind", "a key of OAuth 2 is stored together with its ids: make it yourself, and give all"))
    if form.consumer_key is None:
        raise invalid(("consumer_key", "the vault keeps keys together with the consumer key that you choose"))
    await service.keys.into_vault(
        _asker(who, address),
        _noting(service, who, address, form.kind, CONNECTION),
        consumer_key=form.consumer_key.upper(),
        environment=Environment(form.environment),
        replace=form.replace,
    )


def _with_field(error: IbkitError) -> IbkitError:
    """Which field it is about, as a client finds it in every other 422."""
    name = str(error.details.get("field") or error.details.get("setting") or "")
    if name and "errors" not in error.details:
        error.details["errors"] = [{"field": name, "message": error.message}]
    return error


def _asker(who: Principal, address: str) -> Asker:
    return Asker(user_id=who.user_id, actor=who.user_id, address=address)


def _noting(service: Service, who: Principal, address: str, kind: str, place: str) -> AbstractContextManager[Any]:
    noting: AbstractContextManager[Any] = service.people.by(who, address)("keys.generate", place, kind=kind)
    return noting


async def _keys_info(service: Service, user_id: str) -> KeysInfo:
    making, settings = service.keys, service.settings
    job = making.job_of(user_id)
    told = None if job is None else _job_info(job)
    if making.desk is None:
        kinds: tuple[Kind, ...] = ("oauth1a", "oauth2")
        return KeysInfo(place="files", keys=[_found(settings, kind) for kind in kinds], job=told)
    kept = await making.kept(user_id)
    found = FoundKeys(
        kind="oauth1a",
        directory=None,
        present=[] if kept is None else list(TO_UPLOAD["oauth1a"]),
        to_upload=[] if kept is None or "key_passphrase" in kept.fields else list(TO_UPLOAD["oauth1a"]),
        made_at=None if kept is None else kept.created_at,
    )
    return KeysInfo(place="vault", keys=[found], job=told)


def _there(settings: Settings, kind: Kind) -> tuple[str, ...]:
    return keyfiles.existing(directory_of(settings, kind), FILES[kind])


def _found(settings: Settings, kind: Kind) -> FoundKeys:
    directory, present = directory_of(settings, kind), _there(settings, kind)
    return FoundKeys(
        kind=kind,
        directory=str(directory),
        present=list(present),
        to_upload=[name for name in TO_UPLOAD[kind] if name in present],
        made_at=keyfiles.made_at(directory, TO_UPLOAD[kind]),
    )


def _job_info(job: KeyJob) -> KeyJobInfo:
    error: IbkitError | None = job.error
    return KeyJobInfo(
        kind=job.kind,
        state="running" if job.ended_at is None else "done" if error is None else "failed",
        stage=job.stage.value,
        tried=job.tried,
        on_average=TRIES_ON_AVERAGE,
        began_at=job.began_at,
        ended_at=job.ended_at,
        replaced=job.replaced,
        error=None if error is None else LastError(code=error.code, message=error.message, remedy=error.remedy),
    )


def _nothing_asked(request: AnyRequest) -> None:
    _, problems = once(request.query_params.multi_items(), ())
    if problems:
        raise invalid(*problems)
