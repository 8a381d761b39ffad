"""Signing in and out over HTTP, and what people do to their own sign-in. Source: requirements GWY-02, UI-01, FUT-06."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler

from ibkit.errors import AuthError, NotFound, NotPermitted
from ibkit.model import AccountId, Secret
from ibkit.service.browsers import check_own_page, cookie_of, cookie_over, cookie_with
from ibkit.service.orders import Answer
from ibkit.service.people import bearer_of, must_be_fresh
from ibkit.service.people_desk import ANONYMOUS, PeopleDesk
from ibkit.service.people_forms import (
    CodeForm,
    CodeNeededAnswer,
    CodeNeededInfo,
    Done,
    DoneAnswer,
    LinkForm,
    Me,
    MeAnswer,
    PasswordForm,
    RecoveryCodes,
    RecoveryCodesAnswer,
    SecondStepAnswer,
    SecondStepForm,
    SecondStepInfo,
    SessionInfo,
    SessionList,
    SignedInAnswer,
    SignedInInfo,
    SignInForm,
    accounts_of,
)
from ibkit.service.reading import read_struct
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest, Asked, address_of, headers_of
from ibkit.service.responses import response
from ibkit.users import (
    CodeNeeded,
    Issued,
    Principal,
    Role,
    Scope,
    SignedIn,
    User,
    allowed_scopes,
    csrf_token,
    parse_scopes,
)
from ibkit.users.api_keys import is_api_key
from ibkit.users.attempts import account_key
from ibkit.users.browser import ABSOLUTE, session_id_of
from ibkit.users.sign_in import Step
from ibkit.vault import Result

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["sign_in_routes"]

_DONE = Answer(200, DoneAnswer(data=Done()))
_Wishes = SignInForm | CodeForm | LinkForm


def sign_in_routes(service: Service) -> list[HTTPRouteHandler]:
    return [*_entrance(service), *_exit(service), *_oneself(service), *_sessions(service)]


def _entrance(service: Service) -> list[HTTPRouteHandler]:
    asked, desk = service.asked, service.people
    sign_ins = desk.users.sign_ins

    @post("/api/sign-in", status_code=200)
    async def sign_in(request: AnyRequest) -> Response[bytes]:
        form, address = read_struct(SignInForm, await asked.body(request)), _let_in(desk, request)
        user = await desk.users.store.named(form.name.strip().lower())
        # Of a name that is nobody's not even the letters: people type passwords there.
        object_ = user.user_id if user is not None else f"unknown {account_key(form.name)[:12]}"
        with desk.noting("auth.sign_in", actor=ANONYMOUS, address=address, object_=object_) as noted:
            step = await sign_ins.sign_in(form.name, Secret(form.password), address=address)
            noted.skipped = isinstance(step, CodeNeeded)
            noted.actor = object_
            return await _stepped(service, request, step, form)

    @post("/api/sign-in/code", status_code=200)
    async def enter_code(request: AnyRequest) -> Response[bytes]:
        form, address = read_struct(CodeForm, await asked.body(request)), _let_in(desk, request)
        with desk.noting("auth.code", actor=ANONYMOUS, address=address, object_="second step") as noted:
            signed_in = await sign_ins.enter_code(Secret(form.challenge), form.code, address=address)
            noted.actor = noted.object = signed_in.user.user_id
            return await _stepped(service, request, signed_in, form)

    @post("/api/sign-in/link", status_code=200)
    async def use_link(request: AnyRequest) -> Response[bytes]:
        form, address = read_struct(LinkForm, await asked.body(request)), _let_in(desk, request)
        with desk.noting("auth.link", actor=ANONYMOUS, address=address, object_="link") as noted:
            step = await sign_ins.use_link(Secret(form.link), Secret(form.password), address=address)
            noted.skipped = isinstance(step, CodeNeeded)
            if isinstance(step, SignedIn):
                noted.actor = noted.object = step.user.user_id
            return await _stepped(service, request, step, form)

    @post("/api/sign-in/refresh", status_code=200)
    async def refresh(request: AnyRequest) -> Response[bytes]:
        token, address = _own_token(request), address_of(request)
        issued = await sign_ins.refresh(token, address=address)
        return _with_token(await _user(desk, issued.claims.user_id), issued)

    return [sign_in, enter_code, use_link, refresh]


def _let_in(desk: PeopleDesk, request: AnyRequest) -> str:
    """The address that may try now. RateLimited; NotPermitted where another site's page makes a browser try."""
    check_own_page(request)
    address = address_of(request)
    desk.one_sign_in(address)
    return address


async def _stepped(service: Service, request: AnyRequest, step: Step, form: _Wishes) -> Response[bytes]:
    sign_ins = service.people.users.sign_ins
    if isinstance(step, SignedIn) and step.user.role is Role.OWNER:
        # What was kept by commands before there was a user: here, as no read may write.
        await service.portfolios.books.adopt(step.user.user_id)
    match step:
        case CodeNeeded(challenge=challenge, expires_at=expires_at):
            needed = CodeNeededInfo(challenge=challenge.reveal(), expires_at=expires_at)
            return response(Answer(202, CodeNeededAnswer(data=needed)))
        case SignedIn() if form.browser and form.accounts is not None:
            raise invalid(("accounts", "a browser's session is of all of the user's accounts; confine a token"))
        case SignedIn() if form.browser:
            agent, address = (headers_of(request, "user-agent") or [""])[0], address_of(request)
            cookie = await sign_ins.begin_session(step, address=address, agent=agent, replaces=cookie_of(request))
            info = _info(step.user, allowed_scopes(step.user.role), step.at + ABSOLUTE, csrf=csrf_token(cookie))
            return response(Answer(200, SignedInAnswer(data=info), {"Set-Cookie": cookie_with(cookie)}))
        case SignedIn():
            scopes = None if form.scopes is None else parse_scopes(form.scopes)
            accounts = accounts_of(form.accounts)
            life = timedelta(hours=form.hours)
            return _with_token(step.user, sign_ins.issue(step, scopes=scopes, accounts=accounts, life=life))
        case _:
            assert_never(step)


def _with_token(user: User, issued: Issued) -> Response[bytes]:
    claims = issued.claims
    info = _info(
        user,
        claims.scopes,
        claims.expires_at,
        accounts=claims.accounts,
        token=issued.token,
        token_id=claims.token_id,
    )
    return response(Answer(200, SignedInAnswer(data=info)))


def _info(
    user: User,
    scopes: frozenset[Scope],
    expires_at: datetime,
    *,
    accounts: frozenset[AccountId] | None = None,
    token: Secret[str] | None = None,
    token_id: str | None = None,
    csrf: Secret[str] | None = None,
) -> SignedInInfo:
    return SignedInInfo(
        user_id=user.user_id,
        name=user.name,
        role=user.role.value,
        scopes=sorted(scopes),
        expires_at=expires_at,
        accounts=None if accounts is None else sorted(accounts),
        token=None if token is None else token.reveal(),
        token_id=token_id,
        csrf_token=None if csrf is None else csrf.reveal(),
    )


def _exit(service: Service) -> list[HTTPRouteHandler]:
    asked, desk = service.asked, service.people
    sign_ins = desk.users.sign_ins

    @post("/api/sign-out", status_code=200)
    async def sign_out(request: AnyRequest) -> Response[bytes]:
        address, cookie = address_of(request), _own_cookie(request)
        if cookie is None:
            token = _own_token(request)
            who = await asked.who(request)
            with desk.by(who, address)("auth.sign_out", who.user_id):
                await sign_ins.sign_out(token, address=address)
            return response(_DONE)
        who = await asked.who(request)
        with desk.by(who, address)("auth.sign_out", who.user_id):
            await sign_ins.end_session(cookie)
        return response(Answer(200, _DONE.body, {"Set-Cookie": cookie_over()}))

    @post("/api/sign-out/everywhere", status_code=200)
    async def everywhere(request: AnyRequest) -> Response[bytes]:
        who, user = await _person(desk, asked, request)
        with desk.by(who, address_of(request))("auth.sign_out_everywhere", who.user_id):
            await desk.users.keeper.sign_out(user.name, by=who)
        return response(_over(request))

    return [sign_out, everywhere]


def _oneself(service: Service) -> list[HTTPRouteHandler]:
    asked, desk = service.asked, service.people
    keeper = desk.users.keeper

    @get("/api/me")
    async def me(request: AnyRequest) -> Response[bytes]:
        who, cookie = await asked.who(request), _own_cookie(request)
        user = await _user(desk, who.user_id)
        told = Me(
            user_id=who.user_id,
            name=who.name,
            role=who.role.value,
            scopes=sorted(who.scopes),
            second_step=user.needs_code,
            second_step_due=who.second_step_due,
            signed_in_at=who.signed_in_at,
            key_id=who.api_key_id or None,
            accounts=None if who.accounts is None else sorted(who.accounts),
            csrf_token=None if cookie is None else csrf_token(cookie).reveal(),
        )
        return response(Answer(200, MeAnswer(data=told)))

    @post("/api/me/password", status_code=200)
    async def password(request: AnyRequest) -> Response[bytes]:
        who, user = await _person(desk, asked, request)
        form, address = read_struct(PasswordForm, await asked.body(request)), _let_in(desk, request)
        with desk.by(who, address)("users.password", who.user_id):
            # The old one is guessed at as anywhere: counted, and with waits.
            try:
                await desk.users.sign_ins.sign_in(user.name, Secret(form.old_password), address=address)
            except AuthError:
                desk.audit.note("users.password", who.user_id, actor=who.user_id, address=address, result=Result.FAILED)
                raise invalid(("old_password", "it is not the present one")) from None
            await keeper.set_password(user.name, Secret(form.new_password), by=who)
        return response(_over(request))

    @post("/api/me/second-step", status_code=200)
    async def begin(request: AnyRequest) -> Response[bytes]:
        who, user = await _person(desk, asked, request, fresh=True)
        address = await keeper.begin_totp(user.name, by=who)
        return response(Answer(200, SecondStepAnswer(data=SecondStepInfo(address=address.reveal()))))

    @post("/api/me/second-step/confirm", status_code=200)
    async def confirm(request: AnyRequest) -> Response[bytes]:
        who, user = await _person(desk, asked, request, fresh=True)
        form = read_struct(SecondStepForm, await asked.body(request))
        with desk.by(who, address_of(request))("users.second_step", who.user_id, state="on"):
            try:
                codes = await keeper.confirm_totp(user.name, form.code, by=who)
            except AuthError:
                raise invalid(("code", "it does not fit, or no second step was begun")) from None
        told = RecoveryCodes(recovery_codes=[each.reveal() for each in codes])
        return response(Answer(200, RecoveryCodesAnswer(data=told)))

    @delete("/api/me/second-step", status_code=200)
    async def remove(request: AnyRequest) -> Response[bytes]:
        who, user = await _person(desk, asked, request, fresh=True)
        with desk.by(who, address_of(request))("users.second_step", who.user_id, state="off"):
            await keeper.remove_totp(user.name, by=who)
        return response(_DONE)

    return [me, password, begin, confirm, remove]


def _sessions(service: Service) -> list[HTTPRouteHandler]:
    asked, desk = service.asked, service.people

    @get("/api/me/sessions")
    async def sessions(request: AnyRequest) -> Response[bytes]:
        who, _ = await _person(desk, asked, request)
        found = [
            SessionInfo(
                session_id=session_id_of(each),
                signed_in_at=each.signed_in_at,
                seen_at=each.seen_at,
                ends_at=min(each.seen_at + desk.users.sign_ins.idle, each.signed_in_at + ABSOLUTE),
                address=each.address,
                agent=each.agent,
                current=session_id_of(each) == who.token_id,
            )
            for each in await desk.users.sign_ins.sessions(who.user_id)
        ]
        return response(Answer(200, SessionList(data=found)))

    @delete("/api/me/sessions/{session_id:str}", status_code=200)
    async def end(request: AnyRequest) -> Response[bytes]:
        who, _ = await _person(desk, asked, request)
        session_id = str(request.path_params["session_id"])
        with desk.by(who, address_of(request))("auth.session_end", who.user_id) as noted:
            try:
                await desk.users.sign_ins.end_one(who.user_id, session_id)
            except NotFound:
                noted.skipped = True
                raise
        return response(_DONE)

    return [sessions, end]


async def _person(
    desk: PeopleDesk, asked: Asked, request: AnyRequest, *, fresh: bool = False
) -> tuple[Principal, User]:
    """Who asks for a change of their own, no machine; fresh: signed in within 15 minutes. RateLimited."""
    who = await asked.who(request)
    if who.api_key_id:
        raise NotPermitted(
            "Forbidden: that is for a person, not for a machine key", code="E-FORBIDDEN", remedy="Sign in for it."
        )
    if fresh:
        must_be_fresh(who, now=desk.users.clock.now())
    desk.changes.take(who.user_id)
    return who, await _user(desk, who.user_id)


async def _user(desk: PeopleDesk, user_id: str) -> User:
    user = await desk.users.store.get(user_id)
    if user is None:  # removed between two looks
        raise NotFound(code="E-NOT-FOUND", details={"thing": "user"})
    return user


def _own_cookie(request: AnyRequest) -> Secret[str] | None:
    """The cookie by which the request is judged: none where it has a token."""
    return None if headers_of(request, "authorization") else cookie_of(request)


def _own_token(request: AnyRequest) -> Secret[str]:
    """NotPermitted for a machine key: it is revoked, not signed out or made younger."""
    token = bearer_of(headers_of(request, "authorization"))
    if is_api_key(token):
        raise NotPermitted(
            "Forbidden: a machine key has no sign-in",
            code="E-FORBIDDEN",
            remedy="End it with DELETE /api/keys/{key_id}.",
        )
    return token


def _over(request: AnyRequest) -> Answer:
    """Done, and the browser's cookie is worth nothing any more."""
    return Answer(200, _DONE.body, {"Set-Cookie": cookie_over()} if _own_cookie(request) is not None else {})
