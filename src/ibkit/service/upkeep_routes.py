"""Check-lists of setting up and of production, contacts, and the support bundle, over HTTP. UI-13, UI-15, OPS-11.

Everybody who may read sees the guides; what production lacks, ticks and the bundle are for administrators. A tick
stands in the audit log, where `ibkit checklist` finds it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Literal

import anyio.to_thread
import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from ibkit.bootstrap.auditing import audit_clock, record_now
from ibkit.errors import NotFound
from ibkit.service.operation import Operation, query
from ibkit.service.orders import Answer
from ibkit.service.people import administers, may_administer, may_read
from ibkit.service.reading import read_struct
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest, address_of, once
from ibkit.service.responses import response
from ibkit.upkeep import checklist
from ibkit.upkeep.bundle import contents, packed
from ibkit.upkeep.checklist import CONFIRM, WITHDRAW, Item, State
from ibkit.upkeep.checks import Check, Mark
from ibkit.upkeep.diagnosis import of_installation
from ibkit.upkeep.guides import GUIDES, Known, items_of
from ibkit.users import Principal
from ibkit.vault import Act, Result

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["UPKEEP", "upkeep_routes"]

PRODUCTION = "production"


class ChecklistItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """id: for POST. by_hand: a person ticks it, or takes the tick back. how: what to do. by, at: whose tick it is."""

    id: str
    title: str
    state: Literal["ok", "fail", "manual"]
    by_hand: bool
    said: str
    how: str
    by: str | None
    at: datetime | None


class Checklist(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    title: str
    about: str
    complete: bool
    items: list[ChecklistItem]


class ChecklistList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: list[Checklist]


class ChecklistAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: ChecklistItem


class TickForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """done: false takes a tick back. note: what was seen."""

    done: bool
    note: Annotated[str, Meta(max_length=500)] = ""


class SupportContact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """contact: an address, or null where SUPPORT_* does not name one. setting: which says it."""

    topic: Literal["broker", "platform", "security"]
    contact: str | None
    setting: str


class BundleFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    bytes: int


class SupportInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: str
    contacts: list[SupportContact]


class SupportAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: SupportInfo


class BundleContents(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: list[BundleFile]


_ITEM: Mapping[str, object] = {
    "name": "item",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[a-z0-9-]{1,40}[.][a-z0-9-]{1,40}$"},
    "example": "secondary-user.add",
}
_TERMS = (query("terms", {"type": "boolean", "default": False}, "Also what the orders were."),)

UPKEEP: tuple[Operation, ...] = (
    Operation(
        path="/api/checklist",
        method="get",
        name="listChecklists",
        summary="What is to be done to set up, and for production; seen where it can be, else ticked by a person",
        answers={200: ChecklistList},
        errors=(400, 401, 403, 422, 503),
    ),
    Operation(
        path="/api/checklist/{item}",
        method="post",
        name="tickChecklistItem",
        summary="Tick a point that nobody sees from here, or take the tick back; it stands in the audit log",
        answers={200: ChecklistAnswer},
        errors=(400, 401, 403, 404, 413, 415, 422, 429, 503),
        takes=TickForm,
        examples={"done": {"done": True, "note": "seen in Client Portal"}, "not": {"done": False}},
        parameters=(_ITEM,),
    ),
    Operation(
        path="/api/support",
        method="get",
        name="showSupport",
        summary="Whom to ask about what, and which version this is",
        answers={200: SupportAnswer},
        errors=(400, 401, 403, 422, 503),
    ),
    Operation(
        path="/api/support/contents",
        method="get",
        name="listSupportBundle",
        summary="What a support bundle would hold",
        answers={200: BundleContents},
        errors=(400, 401, 403, 422, 429, 500, 503),
        parameters=_TERMS,
    ),
    Operation(
        path="/api/support/bundle",
        method="get",
        name="downloadSupportBundle",
        summary="What helps to find a fault, without secrets: a zip of diagnosis, versions, settings, logs and figures",
        answers={200: None},
        errors=(400, 401, 403, 422, 429, 500, 503),
        parameters=_TERMS,
        gives_file=("application/zip",),
    ),
)


def upkeep_routes(service: Service) -> list[HTTPRouteHandler]:
    return [*_checklists(service), *_support(service)]


# -- check-lists ------------------------------------------------------------------------------------------------------


def _checklists(service: Service) -> list[HTTPRouteHandler]:
    @get("/api/checklist")
    async def listed(request: AnyRequest) -> Response[bytes]:
        who = await service.asked.who(request)
        may_read(who)
        _asked(request)
        found = [await _guide(service, each.name) for each in GUIDES]
        if administers(who):
            found.append(await _guide(service, PRODUCTION))
        return response(Answer(200, ChecklistList(data=found)))

    @post("/api/checklist/{item:str}", status_code=200)
    async def tick(request: AnyRequest) -> Response[bytes]:
        who = await service.asked.who(request)
        may_administer(who)
        service.people.changes.take(who.user_id)
        form = read_struct(TickForm, await service.asked.body(request))
        name = str(request.path_params["item"])
        item = await _named(service, name)
        if not item.by_hand:
            raise invalid(("done", f"it is looked at, not ticked: {item.said}"))
        await _note(service, who, address_of(request), name, form)
        return response(Answer(200, ChecklistAnswer(data=await _named(service, name))))

    return [listed, tick]


async def _note(service: Service, who: Principal, address: str, name: str, form: TickForm) -> None:
    """In the audit log before it is answered: there alone the tick stands."""
    note = form.note.strip()
    act = Act(
        at=audit_clock().now(),
        actor=who.user_id,
        address=address,
        action=CONFIRM if form.done else WITHDRAW,
        object=name.removeprefix(f"{PRODUCTION}."),
        result=Result.OK,
        details={"by": who.name} | ({"note": note} if note else {}),
    )
    await record_now(service.settings, act)


async def _named(service: Service, name: str) -> ChecklistItem:
    place, _, _ = name.partition(".")
    if place not in (PRODUCTION, *(each.name for each in GUIDES)):
        raise NotFound(code="E-NOT-FOUND", details={"thing": "item"})
    for item in (await _guide(service, place)).items:
        if item.id == name:
            return item
    raise NotFound(code="E-NOT-FOUND", details={"thing": "item"})


async def _guide(service: Service, name: str) -> Checklist:
    if name == PRODUCTION:
        settings = service.settings
        items = await checklist.production(settings, now=audit_clock().now(), folder=settings.state_dir)
        about = "What a service needs that trades for others, or with more than you would lose."
        return _checklist(PRODUCTION, "Production", about, items)
    guide = next(each for each in GUIDES if each.name == name)
    return _checklist(guide.name, guide.title, guide.about, await items_of(guide, _known(service)))


def _known(service: Service) -> Known:
    login = service.connection
    if login is None:
        return Known(service.settings)
    return Known(service.settings, login.connected, tuple(login.desks))


def _checklist(name: str, title: str, about: str, items: list[Item]) -> Checklist:
    shown = [
        ChecklistItem(
            id=f"{name}.{each.name}",
            title=each.title,
            state=each.state.value,
            by_hand=each.state is State.MANUAL or bool(each.by),
            said=each.said,
            how=each.remedy,
            by=each.by or None,
            at=each.at,
        )
        for each in items
    ]
    return Checklist(
        name=name, title=title, about=about, complete=all(each.state == "ok" for each in shown), items=shown
    )


# -- support ----------------------------------------------------------------------------------------------------------


def _support(service: Service) -> list[HTTPRouteHandler]:
    @get("/api/support")
    async def show(request: AnyRequest) -> Response[bytes]:
        may_read(await service.asked.who(request))
        _asked(request)
        given = service.settings.support
        contacts = [
            SupportContact(topic="broker", contact=given.broker, setting="SUPPORT_BROKER"),
            SupportContact(topic="platform", contact=given.platform, setting="SUPPORT_PLATFORM"),
            SupportContact(topic="security", contact=given.security, setting="SUPPORT_SECURITY"),
        ]
        return response(Answer(200, SupportAnswer(data=SupportInfo(version=version("ibkit"), contacts=contacts))))

    @get("/api/support/contents")
    async def contents_of(request: AnyRequest) -> Response[bytes]:
        files, _ = await _bundle(service, request)
        data = [BundleFile(name=name, bytes=len(text.encode())) for name, text in files.items()]
        return response(Answer(200, BundleContents(data=data)))

    @get("/api/support/bundle")
    async def bundle(request: AnyRequest) -> Response[bytes]:
        files, who = await _bundle(service, request)
        with service.people.by(who, address_of(request))("support.bundle", "bundle"):
            raw = await anyio.to_thread.run_sync(packed, files)
        name = f"ibkit-support-{audit_clock().now():%Y%m%dT%H%M%SZ}.zip"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(raw, media_type="application/zip", headers=headers)

    return [show, contents_of, bundle]


async def _bundle(service: Service, request: AnyRequest) -> tuple[Mapping[str, str], Principal]:
    who = await service.asked.who(request)
    may_administer(who)
    service.people.changes.take(who.user_id)
    terms = _asked(request, "terms").get("terms", "false")
    if terms not in ("true", "false"):
        raise invalid(("terms", "it is true or false"))
    settings, now = service.settings, audit_clock().now()
    seen = await anyio.to_thread.run_sync(lambda: of_installation(settings, os.environ, now=now))
    checks = [*seen, Check("IBKR", Mark.SKIP, "not looked for: made by the service")]
    return await contents(settings, checks, with_terms=terms == "true"), who


def _asked(request: AnyRequest, *known: str) -> Mapping[str, str]:
    given, problems = once(request.query_params.multi_items(), known)
    if problems:
        raise invalid(*problems)
    return given
