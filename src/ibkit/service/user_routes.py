"""Users and keys as owners and administrators keep them over HTTP, and what they may look up. Source: VLT-10, MON-09.

Whoever is no administrator hears the same of every user: that it is not theirs to ask. A key of somebody else's is not
there for them.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from litestar import Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler

from ibkit.bootstrap.auditing import audit_log
from ibkit.bootstrap.credential_desk import Asker
from ibkit.bootstrap.user_removal import Removal, desk_of_vault
from ibkit.errors import NotFound, NotPermitted
from ibkit.model import Secret
from ibkit.service.orders import Answer
from ibkit.service.people import may_administer, may_read, must_be_fresh
from ibkit.service.people_desk import PeopleDesk
from ibkit.service.people_forms import (
    ApiKeyAnswer,
    ApiKeyForm,
    ApiKeyInfo,
    ApiKeyList,
    AuditEntryInfo,
    AuditList,
    FailureInfo,
    FailureList,
    InvitationAnswer,
    InvitationInfo,
    NewApiKeyAnswer,
    NewApiKeyInfo,
    UserAnswer,
    UserChangeForm,
    UserForm,
    UserInfo,
    UserList,
    accounts_of,
)
from ibkit.service.reading import read_struct
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest, Asked, address_of, moment, once
from ibkit.service.responses import response
from ibkit.users import ApiKey, FirstLink, Principal, Role, Scope, User, parse_scopes
from ibkit.users.attempts import KEPT
from ibkit.vault.chain import Entry

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["user_routes"]

_USER_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_KEY_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)
_LONGEST_PAGE, _PAGE = 500, 100


def user_routes(service: Service) -> list[HTTPRouteHandler]:
    return [*_users(service), *_one_user(service), *_keys(service), *_looks(service)]


# -- users ------------------------------------------------------------------------------------------------------------


def _users(service: Service) -> list[HTTPRouteHandler]:
    asked, desk = service.asked, service.people
    keeper = desk.users.keeper

    @get("/api/users")
    async def listed(request: AnyRequest) -> Response[bytes]:
        may_administer(await asked.who(request))
        _nothing_asked(request)
        return response(Answer(200, UserList(data=[_info(user) for user in await keeper.users()])))

    @post("/api/users", status_code=201)
    async def add(request: AnyRequest) -> Response[bytes]:
        who = await _administrator(desk, asked, request)
        form = read_struct(UserForm, await asked.body(request))
        role, note = Role(form.role), desk.by(who, address_of(request))
        if form.password is None:
            with note("users.invite", form.name.strip().lower(), role=role) as noted:
                link = await keeper.invite(form.name, role, by=who)
                noted.details["user_id"] = link.user.user_id
            return response(Answer(201, _invitation(link)))
        with note("users.add", form.name.strip().lower(), role=role) as noted:
            user = await keeper.add(form.name, role, Secret(form.password), by=who)
            noted.details["user_id"] = user.user_id
        return response(Answer(201, InvitationAnswer(data=InvitationInfo(user=_info(user)))))

    return [listed, add]


def _one_user(service: Service) -> list[HTTPRouteHandler]:
    asked, desk = service.asked, service.people
    keeper = desk.users.keeper

    @get("/api/users/{user_id:str}")
    async def show(request: AnyRequest) -> Response[bytes]:
        may_administer(await asked.who(request))
        return response(_answer(await _named(desk, request)))

    @patch("/api/users/{user_id:str}")
    async def change(request: AnyRequest) -> Response[bytes]:
        who = await _administrator(desk, asked, request)
        form = read_struct(UserChangeForm, await asked.body(request))
        if form.role is None and form.enabled is None:
            raise invalid(("body", "it changes nothing; give role, enabled or both"))
        user = await _named(desk, request)
        note = desk.by(who, address_of(request))
        if form.role is not None:
            with note("users.role", user.user_id, name=user.name, old=user.role, new=form.role):
                user = await keeper.set_role(user.name, Role(form.role), by=who)
        if form.enabled is not None:
            with note("users.enable" if form.enabled else "users.disable", user.user_id, name=user.name):
                do = keeper.enable if form.enabled else keeper.disable
                user = await do(user.name, by=who)
        return response(_answer(user))

    @delete("/api/users/{user_id:str}", status_code=200)
    async def remove(request: AnyRequest) -> Response[bytes]:
        who = await _administrator(desk, asked, request)
        force = _once_each(request, ("force",)).get("force") == "true"
        user = await _named(desk, request)
        await _remove(service, user, force=force, by=who, address=address_of(request))
        return response(_answer(user))

    @post("/api/users/{user_id:str}/link", status_code=200)
    async def new_link(request: AnyRequest) -> Response[bytes]:
        who = await _administrator(desk, asked, request)
        user = await _named(desk, request)
        with desk.by(who, address_of(request))("users.link", user.user_id, name=user.name):
            link = await keeper.new_link(user.name, by=who)
        return response(Answer(200, _invitation(link)))

    @post("/api/users/{user_id:str}/sign-out", status_code=200)
    async def sign_out(request: AnyRequest) -> Response[bytes]:
        who = await _administrator(desk, asked, request)
        user = await _named(desk, request)
        with desk.by(who, address_of(request))("users.sign_out", user.user_id, name=user.name):
            user = await keeper.sign_out(user.name, by=who)
        return response(_answer(user))

    @delete("/api/users/{user_id:str}/second-step", status_code=200)
    async def remove_step(request: AnyRequest) -> Response[bytes]:
        who = await _administrator(desk, asked, request)
        user = await _named(desk, request)
        with desk.by(who, address_of(request))("users.second_step", user.user_id, name=user.name, state="off"):
            user = await keeper.remove_totp(user.name, by=who)
        return response(_answer(user))

    return [show, change, remove, new_link, sign_out, remove_step]


async def _remove(service: Service, user: User, *, force: bool, by: Principal, address: str) -> None:
    """See `Removal.remove`; in the audit log, that it was forced also where it broke off."""
    asker = Asker(user_id=user.user_id, actor=by.user_id, address=address)
    with service.people.by(by, address)("users.remove", user.user_id, name=user.name, role=user.role) as noted:
        if force:
            noted.details["force"] = True
        async with _removal(service) as removal:
            ties = await removal.remove(user, asker, force=force, by=by)
        if ties:
            noted.details["forced"] = ties.text


@asynccontextmanager
async def _removal(service: Service) -> AsyncIterator[Removal]:
    async with AsyncExitStack() as stack:
        desk = service.credentials
        yield Removal(
            settings=service.settings,
            keeper=service.people.users.keeper,
            rows=service.own.rows,
            credentials=desk or await stack.enter_async_context(desk_of_vault(service.settings)),
            books=service.portfolios.books,
            clock=service.people.users.clock,
        )


async def _administrator(desk: PeopleDesk, asked: Asked, request: AnyRequest) -> Principal:
    """Who may change users now: by role and scope, signed in within 15 minutes. RateLimited."""
    who = await asked.who(request)
    may_administer(who)
    must_be_fresh(who, now=desk.users.clock.now())
    desk.changes.take(who.user_id)
    return who


async def _named(desk: PeopleDesk, request: AnyRequest) -> User:
    """The user of the path. NotFound."""
    return await _with_id(desk, str(request.path_params["user_id"]))


async def _with_id(desk: PeopleDesk, user_id: str) -> User:
    user = await desk.users.store.get(user_id) if _USER_ID.fullmatch(user_id) else None
    if user is None:
        raise NotFound(code="E-NOT-FOUND", details={"thing": "user"})
    return user


def _answer(user: User) -> Answer:
    return Answer(200, UserAnswer(data=_info(user)))


def _info(user: User) -> UserInfo:
    return UserInfo(
        user_id=user.user_id,
        name=user.name,
        role=user.role.value,
        enabled=user.enabled,
        has_password=bool(user.password_hash),
        second_step=user.needs_code,
        created_at=user.created_at,
        password_at=user.password_at,
    )


def _invitation(link: FirstLink) -> InvitationAnswer:
    info = InvitationInfo(user=_info(link.user), link=link.token.reveal(), expires_at=link.expires_at)
    return InvitationAnswer(data=info)


# -- keys -------------------------------------------------------------------------------------------------------------


def _keys(service: Service) -> list[HTTPRouteHandler]:
    asked, desk = service.asked, service.people
    keeper = desk.users.keeper

    @get("/api/keys")
    async def listed(request: AnyRequest) -> Response[bytes]:
        who = await asked.who(request)
        may_read(who)
        given = _once_each(request, ("user_id",))
        user = await _subject(desk, who, given.get("user_id"))
        found = await keeper.keys(user.name)
        return response(Answer(200, ApiKeyList(data=[_key_info(key) for key, _ in found])))

    @post("/api/keys", status_code=201)
    async def add(request: AnyRequest) -> Response[bytes]:
        who = await asked.who(request)
        must_be_fresh(who, now=desk.users.clock.now())
        desk.changes.take(who.user_id)
        form = read_struct(ApiKeyForm, await asked.body(request))
        user = await _subject(desk, who, form.user_id)
        accounts = accounts_of(form.accounts)
        told = {"label": form.label, "scopes": " ".join(form.scopes), "days": form.days, "user": user.user_id}
        confined = "all" if accounts is None else ", ".join(sorted(accounts))
        with desk.by(who, address_of(request))("api_keys.add", "none", **told, accounts=confined) as noted:
            made = await keeper.add_key(
                user.name,
                label=form.label,
                scopes=parse_scopes(form.scopes),
                life=timedelta(days=form.days),
                accounts=accounts,
                by=who,
            )
            noted.object = made.record.key_id
        told_once = NewApiKeyInfo(key=made.key.reveal(), record=_key_info(made.record))
        return response(Answer(201, NewApiKeyAnswer(data=told_once)))

    @delete("/api/keys/{key_id:str}", status_code=200)
    async def revoke(request: AnyRequest) -> Response[bytes]:
        who = await asked.who(request)
        desk.changes.take(who.user_id)
        key_id = str(request.path_params["key_id"])
        if not _KEY_ID.fullmatch(key_id):
            raise NotFound(code="E-NOT-FOUND", details={"thing": "key"})
        # No fresh sign-in for this: what takes power away must not wait.
        with desk.by(who, address_of(request))("api_keys.revoke", key_id):
            await keeper.revoke_key(key_id, by=who)
        found = await desk.users.store.key(key_id)
        assert found is not None, "it was there a moment ago, and keys are kept"
        return response(Answer(200, ApiKeyAnswer(data=_key_info(found[0]))))

    return [listed, add, revoke]


async def _subject(desk: PeopleDesk, who: Principal, user_id: str | None) -> User:
    """Whose keys: one's own, or for an administrator anybody's. A machine key has none to look at but as one.

    NotFound (E-NOT-FOUND) for a user who is not theirs to manage, as for one who does not exist.
    """
    manages = who.role in (Role.OWNER, Role.ADMIN) and Scope.ADMIN in who.scopes
    if not manages and who.api_key_id:
        raise NotPermitted(
            "Forbidden: keys are for a person to look at, not for a machine key",
            code="E-FORBIDDEN",
            remedy="Sign in for it.",
        )
    if user_id is not None and user_id != who.user_id and not manages:
        raise NotFound(code="E-NOT-FOUND", details={"thing": "user"})
    return await _with_id(desk, user_id or who.user_id)


def _key_info(key: ApiKey) -> ApiKeyInfo:
    return ApiKeyInfo(
        key_id=key.key_id,
        user_id=key.user_id,
        label=key.label,
        scopes=sorted(key.scopes),
        accounts=None if key.accounts is None else sorted(key.accounts),
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        used_at=key.used_at,
    )


# -- looking up -------------------------------------------------------------------------------------------------------


def _looks(service: Service) -> list[HTTPRouteHandler]:
    asked, desk = service.asked, service.people

    @get("/api/security/failures")
    async def failures(request: AnyRequest) -> Response[bytes]:
        may_administer(await asked.who(request))
        given = _once_each(request, ("since", "limit"), whole={"limit": _LONGEST_PAGE})
        since = moment(given["since"]) if "since" in given else desk.users.clock.now() - KEPT
        assert since is not None, "looked at by _once_each"
        found = await desk.users.store.failures(since=since, most=int(given.get("limit", _PAGE)))
        names = {user.user_id: user.name for user in await desk.users.store.users()}
        rows = [
            FailureInfo(
                at=each.at,
                user_id=each.user_id or None,
                user=names.get(each.user_id),
                address=each.address,
                kind=each.kind.value,
            )
            for each in found
        ]
        return response(Answer(200, FailureList(data=rows)))

    @get("/api/audit")
    async def audit(request: AnyRequest) -> Response[bytes]:
        may_administer(await asked.who(request))
        known = ("actor", "action", "object", "since", "until", "before", "limit")
        given = _once_each(request, known, whole={"limit": _LONGEST_PAGE, "before": 2**63 - 1})
        limit = int(given.get("limit", _PAGE))
        async with audit_log(service.settings) as log:
            found = await log.entries(
                actor=given.get("actor"),
                action=given.get("action"),
                object_=given.get("object"),
                since=moment(given["since"]) if "since" in given else None,
                until=moment(given["until"]) if "until" in given else None,
                before=int(given["before"]) if "before" in given else None,
                limit=limit,
            )
        following = found[-1].number if len(found) == limit else None
        return response(Answer(200, AuditList(data=[_entry(each) for each in found], next=following)))

    return [failures, audit]


def _entry(entry: Entry) -> AuditEntryInfo:
    return AuditEntryInfo(
        number=entry.number,
        at=entry.at,
        actor=entry.actor,
        address=entry.address,
        action=entry.action,
        object=entry.object,
        result=entry.result,
        details=entry.details,
        hash=entry.hash,
    )


def _nothing_asked(request: AnyRequest) -> None:
    _once_each(request, ())


def _once_each(
    request: AnyRequest, known: tuple[str, ...], *, whole: Mapping[str, int] | None = None
) -> Mapping[str, str]:
    """The filters that are given. ConfigError (E-VALIDATION, 422) naming each that is wrong.

    whole: names of whole numbers from 1 to the given one; `since` and `until` are moments.
    """
    items: Iterable[tuple[str, Any]] = request.query_params.multi_items()
    given, problems = once(items, known)
    for name, most in (whole or {}).items():
        text = given.get(name, "1")
        if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= most):
            problems.append((name, f"it is a whole number from 1 to {most}"))
    for name in ("since", "until"):
        if name in given and moment(given[name]) is None:
            problems.append((name, "it is a day or a moment like 2026-11-20 or 2026-11-20T15:30:00Z"))
    if given.get("force", "true") not in ("true", "false"):
        problems.append(("force", "it is true or false"))
    for name in ("actor", "action", "object", "user_id"):
        if not given.get(name, "x").strip() or len(given.get(name, "")) > 200 or "\0" in given.get(name, ""):
            problems.append((name, "it has 1 to 200 characters"))
    if problems:
        raise invalid(*problems)
    return given
