"""A service with users of its own, for tests: a clock that is moved, cheap hashes, an address for each caller."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from ibkit.bootstrap import Edges
from ibkit.bootstrap.users import UserDesk, open_users
from ibkit.clock import ManualClock
from ibkit.model import Secret
from ibkit.service.people_desk import open_people
from ibkit.settings import Settings
from ibkit.sim.serving.inprocess import Simulator
from ibkit.users import Role, Scope, User
from ibkit.users.totp import STEP_S, code_at
from service_desks import Answered, Served, fast_mock, served, settings_of
from user_desks import CHEAP, KEY, PASSWORD

__all__ = ["OTHER", "Caller", "Person", "ServedPeople", "secret_of", "served_people"]

T = TypeVar("T")
OTHER = "another long pass phrase"
_NETWORKS = itertools.count(1)


@dataclass
class Caller:
    """Somebody at a network of their own. auth: headers that say who they are."""

    service: Served
    auth: dict[str, str] = field(default_factory=dict)
    address: str = field(default_factory=lambda: "10.{}.{}.7".format(*divmod(next(_NETWORKS), 250)))

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Answered:
        headers = {"X-Forwarded-For": self.address, **self.auth, **options.pop("headers", {})}
        return self.service.ask(method, path, body, token=None, headers=headers, **options)

    def sign_in(self, name: str, password: str = PASSWORD.reveal(), **more: Any) -> Answered:
        return self.ask("POST", "/api/sign-in", {"name": name, "password": password, **more})

    def bearing(self, token: str) -> Caller:
        return Caller(self.service, {"Authorization": f"Bearer {token}"}, self.address)

    def at_browser(self, answer: Answered) -> Caller:
        """As a page of ours would ask after that sign-in."""
        cookie = answer.headers["set-cookie"].split(";")[0]
        host = urlsplit(self.service.address).netloc
        own = {"Cookie": cookie, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        return Caller(self.service, {**own, "X-CSRF-Token": answer.data["csrf_token"]}, self.address)

    def without(self, *names: str) -> Caller:
        return Caller(self.service, {k: v for k, v in self.auth.items() if k not in names}, self.address)

    def with_(self, headers: Mapping[str, str]) -> Caller:
        return Caller(self.service, {**self.auth, **headers}, self.address)


@dataclass
class Person(Caller):
    """One who has signed in with a token of all their scopes."""

    user: User = field(kw_only=True)


@dataclass
class ServedPeople:
    service: Served
    settings: Settings
    clock: ManualClock
    links: list[str]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def caller(self) -> Caller:
        return Caller(self.service)

    def within(self, work: Callable[[UserDesk], Awaitable[T]]) -> T:
        """`work` on the users, as a command on this machine does it."""

        async def run() -> T:
            async with open_users(self.settings, clock=self.clock, cost=CHEAP) as desk:
                return await work(desk)

        with ThreadPoolExecutor(1) as beside:  # the test's own thread may have a loop: Playwright's
            return beside.submit(anyio.run, run).result()

    def person(self, role: Role = Role.TRADER, *, scopes: list[str] | None = None) -> Person:
        """A new user of that role, signed in from a network of their own."""
        name = f"{role.value}-{next(self._numbers):04d}"
        user = self.within(lambda desk: desk.keeper.add(name, role, PASSWORD))
        caller = self.caller()
        answer = caller.sign_in(name, **({} if scopes is None else {"scopes": scopes}))
        assert answer.status == 200, answer.raw
        auth = {"Authorization": f"Bearer {answer.data['token']}"}
        return Person(self.service, auth, caller.address, user=user)

    def machine(self, user: User, *scopes: Scope) -> Caller:
        """A program of that user's, with a key of those scopes."""
        made = self.within(
            lambda desk: desk.keeper.add_key(user.name, label="tests", scopes=frozenset(scopes), life=timedelta(days=1))
        )
        return self.caller().bearing(made.key.reveal())

    def with_totp(self, user: User) -> Secret[bytes]:
        """A second step in force; the step of its first code is over."""
        address = self.within(lambda desk: desk.keeper.begin_totp(user.name)).reveal()
        secret = secret_of(address)
        self.within(lambda desk: desk.keeper.confirm_totp(user.name, self.code(secret)))
        self.clock.advance(2 * STEP_S)
        return secret

    def code(self, secret: Secret[bytes]) -> str:
        return code_at(secret, int(self.clock.now().timestamp()) // STEP_S)

    def advance(self, **span: float) -> None:
        self.clock.advance(timedelta(**span).total_seconds())


def secret_of(address: str) -> Secret[bytes]:
    """That of an `otpauth://` address."""
    return Secret(base64.b32decode(parse_qs(urlsplit(address).query)["secret"][0]))


@contextmanager
def served_people(
    folder: Path,
    *,
    mock: bool = False,
    world: Simulator | None = None,
    start: datetime | None = None,
    wait: bool = True,
    open_edges: Edges | None = None,
    **flags: str,
) -> Iterator[ServedPeople]:
    """mock: with the simulated broker, so that there are orders; else with no login at all, which starts at once.

    world: a gateway that the service signs in at, as IBKR's. start: of the users' clock, now if not given.
    wait: until it takes orders. open_edges: where logins of the users' own lead.
    """
    settings = settings_of(
        folder,
        BROKER_PROVIDER="mock" if mock else "ibkr",
        IBKR_AUTH_METHOD="oauth2" if world is None else "gateway",
        JWT_SECRET=KEY.reveal(),
        ENCRYPTION_KEY="5b" * 16 + "c1" * 16,
        TRUSTED_PROXY="127.0.0.1",
        ALLOWED_CLIENT_IPS="127.0.0.1,10.0.0.0/8",
        **flags,
    )
    clock, links = ManualClock(start or datetime.now(UTC).replace(microsecond=0)), list[str]()

    def opened(settings: Settings, **options: Any) -> Any:
        return open_people(settings, **{**options, "clock": clock, "monotonic": clock.monotonic})

    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("ibkit.service.serving.open_people", opened)
        patch.setattr("ibkit.service.people_desk.open_users", partial(open_users, cost=CHEAP))
        worlds = stack.enter_context(fast_mock()) if mock else []
        service = stack.enter_context(
            served(
                settings,
                own_users=True,
                world=world,
                open_edges=open_edges,
                wait=wait and (mock or world is not None),
                welcome=lambda link, until: links.append(link.reveal()),
            )
        )
        service.world = worlds[0] if worlds else world
        yield ServedPeople(service, settings, clock, links)
