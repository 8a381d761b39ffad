"""How a page comes about: who visits, what the interface told, a template, and one policy for what a page may load.

    @site.get("/monitoring")                     a page
    async def monitoring(visit: Visit) -> Made:
        metrics = await visit.get("/api/metrics")        our own interface, as this visitor
        return await visit.page("monitoring.html", metrics=metrics)

Who is not signed in goes to the sign-in and comes back. A failure becomes a page with what happened, what to do and the
trace id (UI-14). Requirements UI-01 to UI-16; threats TM-06, TM-09.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.service.door import App
from ibkit.service.problems import Reply, problem_of
from ibkit.service.refusals import Refusal
from ibkit.service.requests import AnyRequest, headers_of
from ibkit.service.web import assets
from ibkit.service.web.account_choice import OF_AN_ACCOUNT, accounts_of, chosen_of
from ibkit.service.web.banners import banners_of, pill_of, tone_of
from ibkit.service.web.catalogue import text
from ibkit.service.web.formats import FILTERS
from ibkit.service.web.inside import Inside, Told
from ibkit.service.web.navigation import entries_for
from ibkit.service.web.reading import Form, read_form

__all__ = ["POLICY", "Made", "Page", "Site", "Visit", "Visitor"]

log = logging.getLogger(__name__)

Made = Response[bytes]
Page = Callable[["Visit"], Awaitable[Made]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
}
POLL_S = 30
_BEFORE_THE_SECOND_STEP = ("/settings/me/", "/sign-out/", "/_state/")
_encoder = msgspec.json.Encoder(decimal_format="number")


class SignInNeededError(Exception):
    """Nobody is signed in at this browser, or not any more."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Of /api/me."""

    name: str
    role: str
    scopes: tuple[str, ...]
    csrf: str = field(repr=False)
    more: Mapping[str, Any] = field(default_factory=dict)

    def may(self, scope: str) -> bool:
        return scope in self.scopes

    @property
    def trades(self) -> bool:
        return self.may("orders:paper") or self.may("orders:live")

    @property
    def must_enrol(self) -> bool:
        """Nothing is answered to them before they have a second step."""
        return bool(self.more.get("second_step_due"))

    @property
    def administers(self) -> bool:
        """As the interface sees it: by role, and with the scope of one."""
        return self.role in ("owner", "admin") and self.may("admin")


class Visit:
    """One request of one visitor. `form` is read at most once."""

    def __init__(self, site: Site, request: AnyRequest, *, used: bool = True) -> None:
        self.site = site
        self.request = request
        self.query: dict[str, str] = dict(request.query_params.multi_items())
        self.inside = Inside(site.api, request.scope, used=used)  # type: ignore[arg-type]  # Litestar's own kind of scope
        self.me: Visitor | None = None
        self._form: Form | None = None
        self._state: Mapping[str, Any] | None = None

    @property
    def path(self) -> str:
        return str(self.request.scope["path"])

    def part(self, name: str) -> str:
        """Of the path."""
        return str(self.request.path_params[name])

    @property
    def address(self) -> str:
        """The path as it was sent: a name in it may hold a slash, `%` or letters of any script."""
        sent = bytes(self.request.scope.get("raw_path") or b"").partition(b"?")[0]
        return sent.decode("latin-1") or quote(self.request.scope["path"])

    @property
    def wanted(self) -> str:
        """The page to come back to: the one that is asked for, or where the script or the form stands that asks."""
        if self.request.method == "GET" and not self.by_script:
            return self.address
        where = headers_of(self.request, "hx-current-url" if self.by_script else "referer") or ["/"]
        try:
            standing = urlsplit(where[0])
        except ValueError:
            return "/"
        return f"{standing.path}?{standing.query}" if standing.query else standing.path or "/"

    @property
    def by_script(self) -> bool:
        """Whether htmx asks, which takes a part of a page."""
        return bool(headers_of(self.request, "hx-request"))

    async def who(self) -> Visitor:
        """SignInNeededError."""
        if self.me is None:
            told = await self.inside.get("/api/me")
            if told.status == 401:
                raise SignInNeededError
            me = self.done(told)
            given = self.csrf_given()
            csrf = given if given is not None else str(me.get("csrf_token") or "")
            self.inside = Inside(self.inside.app, self.inside.scope, csrf=csrf, used=self.inside.used)
            self.me = Visitor(me["name"], me["role"], tuple(me["scopes"]), str(me.get("csrf_token") or ""), me)
        return self.me

    def csrf_given(self) -> str | None:
        """What a form or a script brought; None for a page that is only looked at."""
        if self.request.method == "GET":
            return None
        header = headers_of(self.request, "x-csrf-token")
        return header[0] if header else self._form.text("csrf") if self._form is not None else ""

    async def form(self) -> Form:
        """What was sent. Refusal for one that is too large."""
        if self._form is None:
            self._form = await read_form(self.request)
        return self._form

    async def get(self, path: str, query: Mapping[str, Any] | None = None) -> Told:
        """Of the interface; what it tells of one account, of the one that was chosen. SignInNeededError."""
        if path in OF_AN_ACCOUNT:
            _, chosen = await self.accounts()
            query = {"account_id": chosen, **(query or {})}
        return self._heard(await self.inside.get(path, query))

    async def accounts(self) -> tuple[tuple[str, ...], str]:
        """Those that there are to choose from, and the one that was chosen; empty where none was."""
        found = accounts_of(await self.state())
        return found, chosen_of(self.request, found)

    async def need(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """The data; a refusal becomes the page's own (`FailedError`)."""
        return self.done(await self.get(path, query))

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Told:
        return self._heard(await self.inside.send(method, path, body, key=key, query=query))

    def _heard(self, told: Told) -> Told:
        if told.status == 401 and told.problem.get("code") == "E-APP-AUTH":
            raise SignInNeededError
        return told

    def done(self, told: Told) -> Any:
        if not told.ok:
            raise FailedError(told)
        return told.data

    async def page(self, template: str, status: int = 200, **values: Any) -> Made:
        """The whole page, with what every page shows: who, the connection, banners."""
        me = await self.who()
        state = await self.state()
        accounts, account = await self.accounts()
        return self.site.made(
            template,
            status,
            login_accounts=accounts,
            login_account=account,
            back_here=self.wanted,
            me=me,
            path=self.path,
            address=self.address,
            entries=entries_for(me.role),
            query=self.query,
            **self.site.told_of_state(state),
            **values,
        )

    async def state(self) -> Mapping[str, Any]:
        """Of /api/ibkr/status: from memory, no call to IBKR. Empty where it cannot be told: then nothing is known."""
        if self._state is None and (await self.who()).must_enrol:
            self._state = {"secondStepDue": True}
        if self._state is None:
            told = await self.get("/api/ibkr/status")
            more = {"clocks": told.data["session"], "simulated": self.site.simulated} if told.ok else {}
            self._state = {**told.data, **more} if told.ok else {}
        return self._state

    def fragment(self, template: str, status: int = 200, **values: Any) -> Made:
        """A part of a page, for a script."""
        return self.site.made(template, status, me=self.me, query=self.query, **values)

    def data(self, value: Any) -> Made:
        """For a script; amounts as numbers, with their own digits."""
        return Response(_encoder.encode(value), media_type="application/json", headers=HEADERS)

    def go(self, path: str) -> Made:
        """Another page; never another site, whatever `path` is."""
        return self.site.go(path, by_script=self.by_script)


class FailedError(Exception):
    def __init__(self, told: Told) -> None:
        super().__init__(str(told.status))
        self.told = told


class Site:
    """The pages, and how they are rendered. api: the application that the pages ask.

    key: makes an Idempotency-Key. clock: of the login. simulated: the broker is none. poll_s: between two looks at
    the state.
    """

    def __init__(
        self,
        trace_id: Callable[[], str],
        key: Callable[[], str],
        clock: Clock,
        *,
        simulated: Callable[[], bool] = lambda: False,
        poll_s: int = POLL_S,
    ) -> None:
        self.api: App = _not_yet
        self.handlers: list[HTTPRouteHandler] = list(assets.asset_routes())
        self.key = key
        self.clock = clock
        self.poll_s = poll_s
        self._simulated = simulated
        self._trace_id = trace_id
        self._room = Environment(
            loader=PackageLoader("ibkit.service.web", "templates"),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._room.filters.update(FILTERS)
        self._room.globals.update(t=text, asset=assets.address, poll_s=poll_s, now=clock.now, tone_of=tone_of)

    @property
    def simulated(self) -> bool:
        return self._simulated()

    def get(self, path: str, *, signed_in: bool = True, used: bool = True) -> Callable[[Page], Page]:
        """used: False for what a script asks by the clock, which keeps no sign-in alive."""
        return self._registered(get(path, name=f"page {path}"), signed_in=signed_in, used=used)

    def post(self, path: str, *, signed_in: bool = True) -> Callable[[Page], Page]:
        return self._registered(post(path, name=f"form {path}", status_code=200), signed_in=signed_in, used=True)

    def _registered(self, route: HTTPRouteHandler, *, signed_in: bool, used: bool) -> Callable[[Page], Page]:
        def register(work: Page) -> Page:
            async def handler(request: AnyRequest) -> Response[bytes]:
                return await self._answer(work, request, signed_in=signed_in, used=used)

            self.handlers.append(route(handler))
            return work

        return register

    def made(self, template: str, status: int = 200, **values: Any) -> Made:
        found = self._room.get_template(template).render(**values)
        return Response(found.encode(), status_code=status, media_type="text/html", headers=HEADERS)

    def told_of_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return {"state": state, "pill": pill_of(state), "banners": banners_of(state)}

    def go(self, path: str, *, by_script: bool = False, cookies: tuple[str, ...] = ()) -> Made:
        own = path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"
        own = quote(own, safe="/%?&=#:;,+!$'()*@~-._")
        where = "HX-Redirect" if by_script else "Location"
        answer = Response(b"", status_code=200 if by_script else 303, headers={**HEADERS, where: own})
        for each in cookies:
            answer.headers["Set-Cookie"] = each
        return answer

    async def _answer(self, work: Page, request: AnyRequest, *, signed_in: bool, used: bool) -> Made:
        visit = Visit(self, request, used=used)
        try:
            if request.method == "POST":
                await visit.form()
            if signed_in:
                me = await visit.who()
                if me.must_enrol and not f"{visit.path}/".startswith(_BEFORE_THE_SECOND_STEP):
                    return self.go("/settings/me", by_script=visit.by_script)
            return await work(visit)
        except SignInNeededError:
            return self.go(f"/sign-in?next={quote(visit.wanted)}", by_script=visit.by_script)
        except FailedError as error:
            return await self._failed(visit, error.told.status, error.told.problem)
        except Exception as error:
            trace_id = str(request.scope.get("state", {}).get("trace_id") or self._trace_id())
            if not isinstance(error, IbkitError | Refusal):
                log.error("a fault of a page", exc_info=error, extra={"trace_id": trace_id, "path": visit.path})
                error = IbkitError(code="E-INTERNAL")
            reply = problem_of(error, trace_id=trace_id, path=visit.path)
            return await self._failed(visit, reply.status, _problem_in(reply))

    def failed_alone(self, reply: Reply) -> Made:
        """A failure as a page of its own, for an address that has none."""
        return self.made("failed_alone.html", reply.status, problem=_problem_in(reply))

    async def _failed(self, visit: Visit, status: int, problem: Mapping[str, Any]) -> Made:
        if visit.by_script:
            answer = self.made("parts/failure.html", status, problem=problem)
            # A part that renews itself must stay, or nothing would ask again; an act's place is filled, not replaced.
            answer.headers["HX-Reswap"] = "innerHTML" if visit.inside.used else "none"
            return answer
        if visit.me is None or status >= 500:  # the frame may be what failed
            return self.made("failed_alone.html", status, problem=problem)
        return await visit.page("failed.html", status, problem=problem)


def _problem_in(reply: Reply) -> Mapping[str, Any]:
    return Told(reply.status, msgspec.json.decode(reply.body)).problem


async def _not_yet(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("the pages were asked before the application was made")
